/* SPDX-License-Identifier: MIT
 * ref_mass.c - the mass that lists keep, row by row from the formulas of ref_mass.h. */
#include "tests/ref_mass.h"

#include <math.h>
#include <stdlib.h>

static void *allocate(int64_t count, size_t each)
{
    void *data = calloc((size_t)count + 1, each);
    if (!data)
        abort();
    return data;
}

/* ---- a row ---- */
struct row {
    const struct ref_problem *p;
    const struct ref_select *s;
    int64_t b, h, i, k_len;
    struct ref_pair *pairs;
    double *parts; /* of the row's weights, 0 for a key that is not seen */
};

static double weight_of(const struct row *r, int64_t k, double largest)
{
    struct ref_point at = ref_point_of(r->p, r->b, r->h, r->i, k);
    double score = ref_score(&r->p->rules, &at, r->pairs[k].raw);
    return r->p->rules.normaliser == REF_SOFTMAX ? exp(score - largest)
                                                 : fabs(ref_weight(&r->p->rules, &at, score));
}

static double largest_score(const struct row *r)
{
    double largest = -INFINITY;
    for (int64_t k = 0; k < r->k_len; k++) {
        struct ref_point at = ref_point_of(r->p, r->b, r->h, r->i, k);
        if (r->pairs[k].seen)
            largest = fmax(largest, ref_score(&r->p->rules, &at, r->pairs[k].raw));
    }
    return largest;
}

/* false: the row sees nothing. */
static bool weigh(struct row *r)
{
    double largest, sum = 0;
    ref_pairs(r->p, r->b, r->h, r->i, r->pairs);
    largest = largest_score(r);
    for (int64_t k = 0; k < r->k_len; k++)
        sum += r->parts[k] = r->pairs[k].seen ? weight_of(r, k, largest) : 0;
    for (int64_t k = 0; k < r->k_len; k++)
        r->parts[k] /= sum;
    return sum != 0;
}

static bool is_near(const struct row *r, int64_t k)
{
    struct ref_point at = ref_point_of(r->p, r->b, r->h, r->i, k);
    return ref_near(r->s, &at);
}

/* What is near, and of each block what is not; *visited: keys that are seen, and near or in a block that is
 * listed. */
static double split(const struct row *r, const bool *listed, double *blocks, int64_t *visited)
{
    double near = 0;
    *visited = 0;
    for (int64_t k = 0; k < r->k_len; k++) {
        const bool is = r->pairs[k].seen && is_near(r, k);
        *(is ? &near : &blocks[k / r->s->block_k]) += r->parts[k];
        *visited += is || (r->pairs[k].seen && listed[k / r->s->block_k]);
    }
    return near;
}

/* A key at a distance, if it is one that the window may have and no sink. */
static double take(const struct row *r, int64_t k, int64_t *left)
{
    if (k < r->s->sink || k >= r->k_len || !r->pairs[k].seen || *left == 0)
        return 0;
    --*left;
    return r->parts[k];
}

/* `left': keys that the row visits. */
static double window_mass(const struct row *r, int64_t left)
{
    const int64_t q = ref_point_of(r->p, r->b, r->h, r->i, 0).q;
    double mass = 0;
    for (int64_t k = 0; k < r->s->sink && k < r->k_len; k++) {
        mass += r->parts[k];
        left -= r->pairs[k].seen;
    }
    for (int64_t far = 0; left > 0 && (q - far >= 0 || q + far < r->k_len); far++) {
        mass += q - far >= 0 ? take(r, q - far, &left) : 0;
        mass += far > 0 && q + far >= 0 ? take(r, q + far, &left) : 0;
    }
    return mass;
}

/* ---- a list ---- */
struct ranked {
    double mass;
    int64_t block;
};

static int by_mass(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->mass > y->mass ? -1 : x->mass < y->mass ? 1 : x->block < y->block ? -1 : 1;
}

/* Marks the n blocks of the largest sums over all rows. */
static void mark_best(const double *masses, int64_t rows, int64_t n_blocks, int64_t n, bool *best)
{
    struct ranked *ranked = allocate(n_blocks, sizeof *ranked);
    for (int64_t g = 0; g < n_blocks; g++) {
        ranked[g].block = g;
        for (int64_t r = 0; r < rows; r++)
            ranked[g].mass += masses[r * n_blocks + g];
    }
    qsort(ranked, (size_t)n_blocks, sizeof *ranked, by_mass);
    for (int64_t j = 0; j < n && j < n_blocks; j++)
        best[ranked[j].block] = true;
    free(ranked);
}

static double marked(const double *masses, int64_t n_blocks, const bool *marks)
{
    double sum = 0;
    for (int64_t g = 0; g < n_blocks; g++)
        sum += marks[g] ? masses[g] : 0;
    return sum;
}

/* Counts a row; returns its mass of near keys, and of each block's others in blocks. */
static double measure(struct row *r, const bool *listed, double *blocks, struct ref_mass *mass)
{
    int64_t visited;
    mass->rows++;
    if (!weigh(r)) {
        mass->window += 1;
        return 1;
    }
    double near = split(r, listed, blocks, &visited);
    mass->window += window_mass(r, visited);
    return near;
}

void ref_list_mass(const struct ref_problem *p, const struct ref_select *s, const struct ref_list *list,
                   int64_t b, int64_t scope, int64_t m, int64_t rows, struct ref_mass *masses)
{
    const int64_t row0 = m * s->block_q, end = ref_q_len(p, b) - row0,
                  has = end < s->block_q ? end : s->block_q;
    const int64_t n = has < rows ? has : rows, heads = p->heads / list->scopes, n_blocks = ref_k_blocks(p, s);
    const int64_t at = ref_list_at(list, b, scope, m), count = list->counts[at];
    if (n <= 0)
        return;
    struct row r = {.p = p, .s = s, .b = b, .k_len = ref_k_len(p, b)};
    r.pairs = allocate(r.k_len, sizeof *r.pairs);
    r.parts = allocate(r.k_len, sizeof *r.parts);
    bool *listed = allocate(n_blocks, sizeof *listed), *best = allocate(n_blocks, sizeof *best);
    double *blocks = allocate(heads * n * n_blocks, sizeof *blocks),
           *near = allocate(heads * n, sizeof *near);
    for (int64_t j = 0; j < count; j++)
        listed[list->ids[at * list->capacity + j]] = true;
    for (int64_t x = 0; x < heads * n; x++) {
        r.h = scope * heads + x / n;
        r.i = row0 + (2 * (x % n) + 1) * has / (2 * n);
        near[x] = measure(&r, listed, blocks + x * n_blocks, &masses[r.h]);
    }
    mark_best(blocks, heads * n, n_blocks, count, best);
    for (int64_t x = 0; x < heads * n; x++) {
        masses[scope * heads + x / n].kept += near[x] + marked(blocks + x * n_blocks, n_blocks, listed);
        masses[scope * heads + x / n].best += near[x] + marked(blocks + x * n_blocks, n_blocks, best);
    }
    free(r.pairs);
    free(r.parts);
    free(listed);
    free(best);
    free(blocks);
    free(near);
}
