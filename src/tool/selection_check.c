/* SPDX-License-Identifier: MIT
 * selection_check.c - lists and what they keep, by the double reference. */
#include "tool/selection.h"

#include "tool/parallel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MASS_ROWS 48 /* in all, and one of each head at least */
#define VISITED_ROWS 64
#define MOST_PAIRS 4e6 /* that are all asked: a second */
#define PAIR_OPERATIONS 200 /* to ask whether one is seen, by the reference's tree of the rule */
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

/* Lists that are compared, one in each part. */
struct listing {
    struct ref_problem p;
    struct ref_select s;
    struct ref_list made, wanted;
    bool rounds;
    unsigned char *differs; /* of each list */
};

static void compare_list(void *context, int64_t r)
{
    const struct listing *c = context;
    const struct ref_list *made = &c->made, *wanted = &c->wanted;
    ref_list_fill(&c->p, &c->s, wanted, r, NULL);
    if (made->counts[r] != wanted->counts[r])
        c->differs[r] = 1;
    else if (memcmp(made->ids + r * made->capacity, wanted->ids + r * wanted->capacity,
                    (size_t)wanted->capacity * sizeof *wanted->ids))
        c->differs[r] = !(c->rounds && ref_list_is_close(&c->p, &c->s, wanted, r));
}

int64_t selection_differs(const struct selection *x)
{
    struct listing c = {workload_reference(&x->dense), reference(x), device_lists(x), {.batch = 0},
                           may_round(x), NULL};
    c.wanted = ref_list_open(&c.p, &c.s);
    const int64_t lists = ref_list_count(&c.wanted);
    int64_t differ = 0;
    c.differs = calloc((size_t)lists + 1, 1);
    if (!c.differs)
        abort();
    in_parallel(lists, compare_list, &c);
    for (int64_t r = 0; r < lists; r++)
        differ += c.differs[r];
    ref_list_free(&c.wanted);
    free(c.differs);
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
/* Rows of some query blocks; a part is one of these in one scope, with masses of its own for all heads. */
struct massing {
    struct ref_problem p;
    struct ref_select s;
    struct ref_list lists;
    int64_t all, blocks, rows; /* query blocks: that there are, that are looked at; of each so many rows */
    struct ref_mass *heads;    /* [part][p.heads] */
};

static void add_mass(void *context, int64_t part)
{
    const struct massing *m = context;
    const int64_t block = (2 * (part / m->lists.scopes) + 1) * m->all / (2 * m->blocks);
    ref_list_mass(&m->p, &m->s, &m->lists, block / m->lists.q_blocks, part % m->lists.scopes,
                  block % m->lists.q_blocks, m->rows, m->heads + part * m->p.heads);
}

static struct ref_mass mean_of_parts(const struct massing *m, int64_t h)
{
    struct ref_mass sum = {0, 0, 0, 0};
    for (int64_t part = 0; part < m->blocks * m->lists.scopes; part++) {
        const struct ref_mass *one = &m->heads[part * m->p.heads + h];
        sum.rows += one->rows;
        sum.kept += one->kept;
        sum.best += one->best;
        sum.window += one->window;
    }
    const double rows = (double)sum.rows;
    return sum.rows ? (struct ref_mass){sum.rows, sum.kept / rows, sum.best / rows, sum.window / rows}
                    : (struct ref_mass){0, 1, 1, 1};
}

void selection_mass(const struct selection *x, int64_t rows, struct ref_mass *heads)
{
    struct massing m = {.p = workload_reference(&x->dense), .s = reference(x), .lists = device_lists(x)};
    const int64_t eighth = rows < 8 ? 1 : rows / 8;
    m.rows = eighth < m.s.block_q ? eighth : m.s.block_q;
    const int64_t wanted = (rows + m.rows - 1) / m.rows;
    m.all = m.p.batch * m.lists.q_blocks;
    m.blocks = wanted < m.all ? wanted : m.all;
    const int64_t parts = m.blocks * m.lists.scopes;
    m.heads = calloc((size_t)(parts * m.p.heads) + 1, sizeof *m.heads);
    if (!m.heads)
        abort();
    in_parallel(parts, add_mass, &m);
    for (int64_t h = 0; h < m.p.heads; h++)
        heads[h] = mean_of_parts(&m, h);
    free(m.heads);
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

/* Rows of which pairs are counted: all, or VISITED_ROWS. */
struct counting {
    struct ref_problem dense, pruned;
    int64_t rows, counted, parts;
    int64_t (*pairs)[2]; /* of a part: that are seen without lists, and those of them that are visited */
};

static void count_row(const struct counting *c, int64_t row, int64_t pairs[2])
{
    const struct ref_problem *p = &c->dense;
    const int64_t b = row / p->q_len / p->heads, h = row / p->q_len % p->heads, i = row % p->q_len;
    if (i >= ref_q_len(p, b))
        return;
    for (int64_t k = 0; k < ref_k_len(p, b); k++) {
        const struct ref_point at = ref_point_of(p, b, h, i, k);
        const bool seen = ref_visible(&p->rules, &at);
        pairs[0] += seen;
        pairs[1] += seen && ref_visible(&c->pruned.rules, &at);
    }
}

/* Multiples of the golden ratio spread rows evenly, however many there are. */
static void count_part(void *context, int64_t part)
{
    const struct counting *c = context;
    const int64_t end = part_begin(c->counted, c->parts, part + 1);
    for (int64_t n = part_begin(c->counted, c->parts, part); n < end; n++) {
        const double spread = fmod(((double)n + 0.5) * GOLDEN, 1) * (double)c->rows;
        count_row(c, c->counted == c->rows ? n : (int64_t)spread, c->pairs[part]);
    }
}

double selection_visited(const struct selection *x)
{
    struct counting c = {.dense = workload_reference(&x->dense), .pruned = workload_reference(x->w)};
    const double keys = (double)c.dense.kv_len;
    int64_t seen = 0, visited = 0;
    c.rows = c.dense.batch * c.dense.heads * c.dense.q_len;
    c.counted = c.rows <= VISITED_ROWS || (double)c.rows * keys <= MOST_PAIRS ? c.rows : VISITED_ROWS;
    c.parts = parts_worth(c.counted, PAIR_OPERATIONS * keys);
    c.pairs = calloc((size_t)c.parts, sizeof *c.pairs);
    if (!c.pairs)
        abort();
    in_parallel(c.parts, count_part, &c);
    for (int64_t part = 0; part < c.parts; part++) {
        seen += c.pairs[part][0];
        visited += c.pairs[part][1];
    }
    free(c.pairs);
    return seen > 0 ? (double)visited / (double)seen : 1;
}

double selection_flops(const struct selection *x)
{
    return selection_visited(x) *
           clattn_problem_flops(&x->dense.problem, (const void *const *)x->dense.arrays);
}
