/* SPDX-License-Identifier: MIT
 * selection_check.c - lists and what they keep, by the double reference. */
#include "tool/selection.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MASS_ROWS 48 /* in all, and one of each head at least */
#define VISITED_ROWS 64
#define MOST_PAIRS 4e6 /* that are all asked: a second */
#define GOLDEN 0.6180339887498949

static struct ref_select reference(const struct selection *x)
{
    static const int methods[] = {REF_TREE,           REF_STAGED,    REF_MINMAX,   REF_POOL_MEAN,
                                  REF_EXTERNAL_SCORE, REF_STREAMING, REF_STREAMING};
    static const int representatives[] = {REF_CENTER, REF_FIRST, REF_LAST};
    const clattn_select *s = &x->s;
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_device_describe(clattn_context_device(x->ctx), &facts);
    struct ref_select r = {.method = methods[s->method],
                           .representative = representatives[s->representative],
                           .scope = s->scope,
                           .mean_rows = s->rows == CLATTN_ROWS_MEAN,
                           .arithmetic = facts.has_fma ? REF_FMA : REF_MULTIPLY_ADD,
                           .block_q = s->block_q,
                           .stride_q = s->stride_q,
                           .block_k = s->block_k,
                           .stride_k = s->stride_k,
                           .budget = s->budget,
                           .budgets = x->budgets,
                           .budget_mode = s->budget_mode,
                           .budget_value = s->budget_value,
                           .sink = s->sink,
                           .window = s->window,
                           .dense_below = s->dense_below,
                           .n_stages = s->n_stages,
                           .scores = x->scores,
                           .rope = s->rope,
                           .rope_positions = s->rope_positions,
                           .rope_cos = x->rope_cos,
                           .rope_sin = x->rope_sin};
    for (int i = 0; i < s->n_stages; i++) {
        r.stages[i].chunk = s->stages[i].chunk;
        r.stages[i].keep = s->stages[i].keep;
    }
    return r;
}

/* The device's lists as the reference has its own. */
static struct ref_list device_lists(const struct selection *x)
{
    return (struct ref_list){x->list.batch,
                             x->list.scopes,
                             x->list.q_blocks,
                             x->list.capacity,
                             x->w->list + x->list.counts_at / 4,
                             x->w->list + x->list.ids_at / 4};
}

/* Whether a search may sum as a matrix unit does: then lists are the reference's where its decisions are
 * further apart than that rounds. */
static bool may_round(const struct selection *x)
{
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_device_describe(clattn_context_device(x->ctx), &facts);
    return facts.matrix_unit != CLATTN_MATRIX_NONE &&
           (x->s.method == CLATTN_TREE || x->s.method == CLATTN_STAGED) && x->s.rope == CLATTN_ROPE_NONE &&
           !(x->s.flags & CLATTN_PLAIN_SEARCH);
}

int64_t selection_differs(const struct selection *x)
{
    const struct ref_problem p = workload_reference(&x->dense);
    const struct ref_select s = reference(x);
    const struct ref_list made = device_lists(x);
    struct ref_list wanted = ref_list_make(&p, &s);
    const size_t bytes = (size_t)wanted.capacity * sizeof *wanted.ids;
    const bool rounds = may_round(x);
    int64_t differ = 0;
    for (int64_t r = 0; r < wanted.batch * wanted.scopes * wanted.q_blocks; r++)
        if (made.counts[r] != wanted.counts[r] ||
            memcmp(made.ids + r * made.capacity, wanted.ids + r * wanted.capacity, bytes))
            differ +=
                made.counts[r] != wanted.counts[r] || !(rounds && ref_list_is_close(&p, &s, &wanted, r));
    ref_list_free(&wanted);
    return differ;
}

int64_t selection_miscertified(const struct selection *x)
{
    const struct ref_problem p = workload_reference(&x->dense);
    const struct ref_select s = reference(x);
    const struct ref_list made = device_lists(x);
    double *products = malloc((size_t)made.capacity * sizeof *products + 8);
    int64_t wrong = 0;
    for (int64_t r = 0; x->certified && products && r < selection_lists(x); r++) {
        const int64_t pair = r / made.q_blocks;
        const struct ref_proof proof =
            ref_proof_of(&p, &s, pair / made.scopes, pair % made.scopes, r % made.q_blocks,
                         made.ids + r * made.capacity, made.counts[r], products);
        int64_t above = 0;
        for (int64_t j = 0; j < made.counts[r]; j++)
            above += products[j] > proof.left || proof.left == -INFINITY;
        wrong += x->certified[r] > above;
    }
    free(products);
    return wrong;
}

/* ---- what is kept ---- */
static void divide(struct ref_mass *mass)
{
    const double rows = (double)mass->rows;
    *mass = mass->rows
                ? (struct ref_mass){mass->rows, mass->kept / rows, mass->best / rows, mass->window / rows}
                : (struct ref_mass){0, 1, 1, 1};
}

void selection_mass(const struct selection *x, int64_t rows, struct ref_mass *heads)
{
    struct ref_problem p = workload_reference(&x->dense);
    const struct ref_select s = reference(x);
    const struct ref_list lists = device_lists(x);
    const int64_t eighth = rows < 8 ? 1 : rows / 8, each = eighth < s.block_q ? eighth : s.block_q;
    const int64_t all = p.batch * lists.q_blocks, wanted = (rows + each - 1) / each,
                  blocks = wanted < all ? wanted : all;
    memset(heads, 0, (size_t)p.heads * sizeof *heads);
    for (int64_t n = 0; n < blocks; n++) {
        const int64_t block = (2 * n + 1) * all / (2 * blocks);
        for (int64_t scope = 0; scope < lists.scopes; scope++)
            ref_list_mass(&p, &s, &lists, block / lists.q_blocks, scope, block % lists.q_blocks, each, heads);
    }
    for (int64_t h = 0; h < p.heads; h++)
        divide(&heads[h]);
}

struct kept_mass kept_mass_of(const struct ref_mass *heads, int64_t n)
{
    struct kept_mass mass = {n ? 0 : 1, 1};
    for (int64_t h = 0; h < n; h++) {
        mass.mean += heads[h].kept / (double)n;
        mass.least = fmin(mass.least, heads[h].kept);
    }
    return mass;
}

struct kept_mass selection_kept_mass(const struct selection *x)
{
    const int64_t n = x->dense.problem.heads;
    struct ref_mass *heads = malloc((size_t)n * sizeof *heads + 1);
    struct kept_mass mass = {NAN, NAN};
    if (heads) {
        selection_mass(x, n < MASS_ROWS ? MASS_ROWS / n : 1, heads);
        mass = kept_mass_of(heads, n);
    }
    free(heads);
    return mass;
}

/* Adds what a row sees without lists and of that what it visits. */
static void count_row(const struct ref_problem *dense, const struct ref_problem *pruned, int64_t row,
                      double count[2])
{
    const int64_t b = row / dense->q_len / dense->heads, h = row / dense->q_len % dense->heads,
                  i = row % dense->q_len;
    if (i >= ref_q_len(dense, b))
        return;
    for (int64_t k = 0; k < ref_k_len(dense, b); k++) {
        const struct ref_point at = ref_point_of(dense, b, h, i, k);
        const bool seen = ref_visible(&dense->rules, &at);
        count[0] += seen;
        count[1] += seen && ref_visible(&pruned->rules, &at);
    }
}

/* Multiples of the golden ratio spread rows evenly, however many there are. */
double selection_visited(const struct selection *x)
{
    const struct ref_problem dense = workload_reference(&x->dense), pruned = workload_reference(x->w);
    const int64_t rows = dense.batch * dense.heads * dense.q_len;
    const bool all = rows <= VISITED_ROWS || (double)rows * (double)dense.kv_len <= MOST_PAIRS;
    double count[2] = {0, 0};
    for (int64_t n = 0; n < (all ? rows : VISITED_ROWS); n++)
        count_row(&dense, &pruned, all ? n : (int64_t)(fmod(((double)n + 0.5) * GOLDEN, 1) * (double)rows),
                  count);
    return count[0] > 0 ? count[1] / count[0] : 1;
}

double selection_flops(const struct selection *x)
{
    return selection_visited(x) *
           clattn_problem_flops(&x->dense.problem, (const void *const *)x->dense.arrays);
}
