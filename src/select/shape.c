/* SPDX-License-Identifier: MIT
 * shape.c - how the kernels of a selection are made: items of a group, vectors of rows, where nodes lie.
 *
 * On CPUs an item is a group, and rows are the lanes of vectors; a row of 8 floats and 8 sums on their way
 * keep both multipliers busy whether registers hold 8 or 16.  On other devices lanes are items, and a vector
 * is what an item computes of one key. */
#include "select/select.h"

#define MOST_SUMS 12 /* vectors on their way on a CPU: 16 registers less what is multiplied */

static int32_t least(int64_t a, int64_t b)
{
    return (int32_t)(a < b ? a : b);
}

/* Not one whose compiler takes items for lanes by itself, and ends a loop after 2^16 turns, nor one that has
 * local memory of its own (Oclgrind, which looks for races): there items share the work. */
static bool is_cpu(const clattn_device_facts *facts)
{
    return facts->type & CL_DEVICE_TYPE_CPU && !facts->slow_wide_vectors && !facts->local_is_dedicated;
}

/* TREE and blocks score the heads of a kv head together; STAGED's searches part ways at the first key. */
static void choose_sets(struct clattn__select_shape *s, const clattn_select *select, const clattn_list *list,
                        const clattn_attention *a)
{
    const int64_t heads = a->heads / list->scopes, per_kv = a->heads / a->kv_heads;
    s->scored = select->method <= CLATTN_POOL_MEAN;
    s->set_heads = select->method == CLATTN_STAGED ? 1 : least(heads, per_kv);
    s->sets = (int32_t)(heads / s->set_heads);
}

/* Whether rows of k, and of metadata, begin at multiples of four elements, so that devices load four at once;
 * CPUs do not ask. */
static bool is_aligned(const clattn_device_facts *facts, const clattn_attention *a)
{
    const clattn_layout *k = &a->k;
    return !is_cpu(facts) && (a->dim | k->offset | k->batch | k->head | k->token) % 4 == 0;
}

/* Vectors that cover a set's rows with as few as may be over, and no more sums than there are registers. */
static void choose_vectors(struct clattn__select_shape *s, const clattn_device_facts *facts,
                           const clattn_select *select)
{
    const int64_t rows = (int64_t)s->set_heads * (select->block_q / select->stride_q);
    const bool cpu = is_cpu(facts), two = select->method == CLATTN_STAGED; /* keys of a search */
    s->lanes = cpu && facts->vector_width_float >= 8 ? 8 : 4;
    const int64_t vectors = clattn__ceil_div(rows, s->lanes), turns = clattn__ceil_div(vectors, cpu ? 3 : 2);
    s->vectors = (int32_t)clattn__ceil_div(vectors, turns);
    s->rows = (int32_t)(turns * s->vectors * s->lanes);
    s->keys = !cpu ? (two ? 2 : 1) : s->vectors == 1 ? 8 : MOST_SUMS / 3;
    if (!s->scored)
        s->keys = 1;
}

/* Nodes lie in local memory if it holds them. */
static void choose_nodes(struct clattn__select_shape *s, const clattn_device_facts *facts)
{
    const int64_t bytes = 4 * s->scratch,
                  others = s->tile.items > 0 ? s->tile.bytes : 4 * (s->group_list + 16);
    const int64_t room = (int64_t)facts->local_bytes - others;
    s->nodes_global = bytes > room;
}

/* A stage cuts what the one before keeps, which is all of its chunks where there are few. */
int64_t clattn__stage_chunks(const clattn_select *select, const clattn_list *list, int stage)
{
    const clattn_stage *s = &select->stages[stage];
    const int64_t tokens = list->k_blocks * list->block_k;
    if (stage == 0)
        return clattn__ceil_div(tokens, s->chunk);
    const int64_t all = clattn__ceil_div(tokens, s[-1].chunk) * s[-1].chunk;
    return (s[-1].keep < all ? s[-1].keep : all) / s->chunk;
}

static int64_t longest_keys(const clattn_select *select, const clattn_list *list)
{
    if (select->method == CLATTN_TREE || select->method >= CLATTN_EXTERNAL_LIST)
        return 0;
    if (select->method != CLATTN_STAGED)
        return list->k_blocks;
    int64_t most = 0;
    for (int i = 0; i < select->n_stages; i++) {
        const int64_t chunks = clattn__stage_chunks(select, list, i);
        most = chunks > most ? chunks : most;
    }
    return most;
}

void clattn__select_sizes(struct clattn__select_shape *s, const clattn_select *select,
                          const clattn_list *list)
{
    s->scratch = select->method == CLATTN_TREE ? 8 * list->capacity : 0;
    s->max_keys = longest_keys(select, list);
}

/* Items that have something to do: with the keys of a round's halves, or with those that are ordered. */
static int32_t useful_items(const struct clattn__select_shape *s, const clattn_select *select,
                            const clattn_list *list)
{
    const int64_t keys = select->method == CLATTN_TREE
                             ? 2 * list->capacity * (select->block_k / select->stride_k)
                             : s->max_keys;
    return keys <= 64 ? 64 : keys <= 128 ? 128 : 256;
}

void clattn__select_shape(struct clattn__select_shape *s, const clattn_device_facts *facts,
                          const clattn_select *select, const clattn_list *list,
                          const struct clattn__problem *problem)
{
    const bool cpu = is_cpu(facts);
    const struct clattn__expr *rules = problem->rules;
    clattn__select_sizes(s, select, list);
    choose_sets(s, select, list, &problem->a);
    choose_vectors(s, facts, select);
    s->aligned = is_aligned(facts, &problem->a);
    s->group_list = cpu ? 1 : least((int64_t)facts->largest_group, useful_items(s, select, list));
    s->group_strip = cpu ? 1 : least((int64_t)facts->largest_group, 64);
    s->strip = 64;
    s->words = s->group_list == 1 ? 32 : 1;
    s->by_head =
        clattn__expr_uses_index(rules, CLATTN__INDEX_H) || clattn__expr_uses_index(rules, CLATTN__INDEX_G);
    if (!s->no_tile)
        s->no_tile = clattn__select_tile(s, facts, select, &problem->a);
    choose_nodes(s, facts);
}
