/* SPDX-License-Identifier: MIT
 * tile.c - whether the searches of TREE and STAGED multiply by a tile of the matrix engines
 * (cl/select/products.clh), and of what shape. */
#include "select/select.h"

#define SPARE 1024       /* bytes of local memory that drivers keep, or fill up */
#define QUERY_STEPS 8    /* sixteens of columns of 16 keys, 4 registers of an item each: the rest has room */

/* Teams and keys of a team, best first; the nodes of a tree are left in local memory where that leaves a
 * group two teams. */
static const struct {
    int32_t teams, keys;
} trials[] = {{4, 32}, {4, 16}, {2, 16}, {1, 16}};

/* Bytes of local memory of a group beside a tree's nodes: rows and keys; notes, what order.clh shares,
 * searches. */
static int64_t tile_bytes(const struct clattn__select_tile *t, int32_t method, int64_t dim)
{
    const int64_t elements = (t->rows + (int64_t)t->teams * t->keys) * clattn__row_pitch(dim),
                  notes = 2 * (int64_t)t->teams * t->keys;
    const int64_t words = method == CLATTN_STAGED ? (int64_t)t->teams * t->keys * 5 / 2 : t->items + 3;
    return 2 * elements + 4 * (notes + words) + SPARE;
}

/* The first shape of so many teams whose group's local memory holds `nodes' bytes too. */
static bool find_shape(struct clattn__select_tile *t, const clattn_device_facts *facts, int32_t method,
                       int64_t dim, int64_t nodes, int32_t least_teams)
{
    const int32_t team = clattn__team_of(t->matrix)->items;
    for (size_t i = 0; i < CLATTN__LEN(trials) && trials[i].teams >= least_teams; i++) {
        t->teams = trials[i].teams;
        t->keys = trials[i].keys;
        t->items = team * t->teams;
        t->bytes = tile_bytes(t, method, dim);
        if ((uint64_t)t->items <= facts->largest_group && t->bytes + nodes <= (int64_t)facts->local_bytes)
            return true;
    }
    return false;
}

/* Whether rows begin at multiples of 16 bytes. */
static bool is_aligned(const clattn_attention *a)
{
    const int64_t q = a->q.offset | a->q.batch | a->q.head | a->q.token,
                  k = a->k.offset | a->k.batch | a->k.head | a->k.token;
    return (a->dim | q | k) % 8 == 0;
}

static const char *refusal(const clattn_device_facts *facts, const clattn_select *select,
                           const clattn_attention *a)
{
    const bool wanted = select->flags & CLATTN_MATRIX_SEARCH;
    if (select->method != CLATTN_TREE && select->method != CLATTN_STAGED)
        return "only TREE and STAGED search";
    if (select->flags & CLATTN_PLAIN_SEARCH)
        return "the plain search is asked for";
    if (a->type_q != a->type_k || a->type_k == CLATTN_F32)
        return "its tile takes q and k of f16, or of bf16";
    if (select->rope != CLATTN_ROPE_NONE)
        return "its tile turns no rows";
    if (select->rows != CLATTN_ROWS_LAST)
        return "its tile takes rows as they are, not means";
    if (!facts->has_compiler)
        return "the device has no compiler";
    if (clattn__team_of(facts->matrix_unit)->matrix == CLATTN_MATRIX_NONE && !wanted)
        return "no matrix unit that clattn knows";
    return NULL;
}

const char *clattn__select_tile(struct clattn__select_shape *s, const clattn_device_facts *facts,
                                const clattn_select *select, const clattn_attention *a)
{
    const int64_t rows = (int64_t)s->set_heads * (select->block_q / select->stride_q), nodes = 4 * s->scratch;
    struct clattn__select_tile t = {.matrix = clattn__team_of(facts->matrix_unit)->matrix};
    const char *why = refusal(facts, select, a);
    if (why)
        return why;
    t.pieces = rows > 16 ? 2 : 1;
    t.rows = (int32_t)clattn__ceil_div(rows, 16 * t.pieces) * 16 * t.pieces;
    if (!find_shape(&t, facts, select->method, a->dim, nodes, 2) &&
        !find_shape(&t, facts, select->method, a->dim, 0, 1))
        return "no tile fits the local memory";
    const int64_t steps = clattn__ceil_div(a->dim, 16);
    /* where they are used again */
    t.steps = t.rows > 16 * t.pieces && steps * (t.keys / 16) <= QUERY_STEPS ? (int32_t)steps : 0;
    t.aligned = is_aligned(a);
    s->tile = t;
    return NULL;
}
