/* SPDX-License-Identifier: MIT
 * host.c - lists of a tiny problem on the host, for the self-test: small whole numbers, whose sums are exact
 * in every arithmetic (means of rows aside), so that many scores are equal and order is all that counts. */
#include "select/host.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A list on its way.  Arrays are of MOST_BLOCKS candidates or of their keys. */
struct view {
    const struct clattn__tiny_select *t;
    const clattn_attention *a;
    const clattn_select *s;
    int64_t scope, block, list, q_len, k_len, row0, rows, sampled;
    int64_t blocks[CLATTN__TINY_BLOCKS]; /* candidates */
    int64_t n, end;
    int64_t chunks, position; /* rope: of the stage; of the key asked for */
};

double clattn__tiny_value(int of_k, int64_t index)
{
    uint32_t hash = ((uint32_t)index + 977u * (uint32_t)of_k) * 2654435761u;
    return (double)((int)(hash >> 20) % 5 - 2);
}

/* A pair turns by 1, 2 or 3 quarters from position to position. */
double clattn__tiny_turn(bool sine, int64_t position, int64_t pair)
{
    static const double cosines[] = {1, 0, -1, 0};
    return cosines[(position * (1 + pair % 3) + (sine ? 3 : 0)) % 4];
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

static bool matters(const struct view *v, int64_t h, int64_t i, int64_t k)
{
    const struct clattn__problem *p = &v->t->plan.problem;
    const struct clattn__expr_values values = {.scalars = p->a.scalars, .arrays = p->a.arrays,
                                               .data = v->t->zeros};
    const struct clattn__expr_point at = {
        .q = (int32_t)(i + (p->bottom_right ? v->k_len - v->q_len : 0)), .k = (int32_t)k, .h = (int32_t)h,
        .g = (int32_t)(h / (v->a->heads / v->a->kv_heads)), .q_len = (int32_t)v->q_len,
        .k_len = (int32_t)v->k_len,
    };
    return clattn__expr_eval(p->rules, CLATTN__MASK, &at, &values, false) != 0;
}

static int64_t sampled_row(const struct view *v, int64_t i)
{
    return v->row0 + (v->rows < v->s->stride_q ? v->rows - 1 : (i + 1) * v->s->stride_q - 1);
}

static int64_t heads_of(const struct view *v)
{
    return v->a->heads / v->t->plan.list.scopes;
}

static void find_candidates(struct view *v)
{
    const int64_t block = v->s->block_k, heads = heads_of(v);
    for (int64_t k = 0; k < v->k_len; k++) {
        bool any = false;
        for (int64_t h = v->scope * heads; h < (v->scope + 1) * heads; h++)
            for (int64_t i = v->row0; i < v->row0 + v->rows; i++)
                any = any || matters(v, h, i, k);
        if (any && (v->n == 0 || v->blocks[v->n - 1] != k / block))
            v->blocks[v->n++] = k / block;
        if (any)
            v->end = (v->n - 1) * block + k % block + 1;
    }
}

/* ---- scores; -inf where no row sees ---- */
/* Column d of row number `row' of q or k; of q it may be the mean of a stride that ends there, as f32 has
 * it. */
static double element(const struct view *v, int of_k, int64_t row, int64_t d)
{
    const int64_t n = of_k || v->s->rows == CLATTN_ROWS_LAST ? 1
                      : v->rows < v->s->stride_q             ? v->rows
                                                             : v->s->stride_q;
    const volatile float part = 1 / (float)n;
    volatile float sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (float)clattn__tiny_value(of_k, (row - i) * v->a->dim + d);
    sum *= part;
    return sum;
}

/* The same turned by a position. */
static double turned(const struct view *v, int of_k, int64_t row, int64_t d, int64_t position)
{
    const int64_t half = v->a->dim / 2, pair = d % (half > 0 ? half : 1),
                  other = d < half ? d + half : d - half;
    const double x = element(v, of_k, row, d);
    if (v->s->rope == CLATTN_ROPE_NONE || (of_k && v->s->rope == CLATTN_ROPE_INFLLM))
        return x;
    const double y = element(v, of_k, row, other), sine = clattn__tiny_turn(true, position, pair);
    return x * clattn__tiny_turn(false, position, pair) + (d < half ? -y : y) * sine;
}

static double q_value(const struct view *v, int64_t h, int64_t i, int64_t d)
{
    const int64_t w = v->s->window, p = i + (v->t->plan.problem.bottom_right ? v->k_len - v->q_len : 0);
    const int64_t position = v->s->rope != CLATTN_ROPE_CHUNKS ? w + (v->s->rope == CLATTN_ROPE_RELATIVE)
                             : p < v->chunks + w              ? p
                                                              : v->chunks + w;
    const double x = turned(v, 0, h * v->a->q_len + i, d, position);
    return v->a->scale < 0 ? -x : x;
}

static double k_value(const struct view *v, int64_t h, int64_t k, int64_t d)
{
    const int64_t g = h / (v->a->heads / v->a->kv_heads);
    return turned(v, 1, g * v->a->kv_len + k, d, v->position);
}

/* What of a column of keys k0 to k1 a row is multiplied by: the key, the bound that makes more of it, or
 * their mean. */
static double column_of(const struct view *v, int64_t h, double q, int64_t k0, int64_t k1, int64_t d)
{
    const double first = k_value(v, h, k0, d);
    double low = first, high = first, sum = first;
    for (int64_t k = k0 + 1; k <= k1; k++) {
        const double x = k_value(v, h, k, d);
        low = least(low, x);
        high = x > high ? x : high;
        sum += x;
    }
    return v->s->method == CLATTN_MINMAX ? (q < 0 ? low : high) : sum / (double)(k1 - k0 + 1);
}

/* Means of rows are no whole numbers: then sums round as the device's do. */
static double add_product(const struct view *v, double sum, double x, double y)
{
    const volatile float product = (float)x * (float)y, apart = (float)sum + product;
    return v->t->plan.ctx->facts.has_fma ? fmaf((float)x, (float)y, (float)sum) : apart;
}

/* The largest score of a head's sampled rows that see any of the keys k0 to k1. */
static double head_score(const struct view *v, int64_t h, int64_t k0, int64_t k1)
{
    double top = -INFINITY;
    for (int64_t i = 0; i < v->sampled; i++) {
        bool sees = false;
        double sum = 0;
        for (int64_t k = k0; k <= k1; k++)
            sees = sees || matters(v, h, sampled_row(v, i), k);
        for (int64_t d = 0; sees && d < v->a->dim; d++) {
            const double q = q_value(v, h, sampled_row(v, i), d);
            sum = add_product(v, sum, q, column_of(v, h, q, k0, k1, d));
        }
        top = sees && sum > top ? sum : top;
    }
    return top;
}

static double candidate_score(const struct view *v, int64_t n)
{
    const int64_t first = v->blocks[n] * v->s->block_k,
                  last = first + v->s->block_k < v->k_len ? first + v->s->block_k : v->k_len;
    const bool whole = v->s->method == CLATTN_MINMAX || v->s->method == CLATTN_POOL_MEAN;
    double top = -INFINITY;
    if (v->s->method == CLATTN_EXTERNAL_SCORE)
        return v->t->scores[v->list * v->t->plan.list.k_blocks + v->blocks[n]];
    for (int64_t h = v->scope * heads_of(v); h < (v->scope + 1) * heads_of(v); h++)
        for (int64_t k = whole ? first : first + v->s->stride_k - 1; k < last;
             k += whole ? last : v->s->stride_k) {
            const double x = head_score(v, h, k, whole ? last - 1 : k);
            top = x > top ? x : top;
        }
    return top;
}

/* ---- order ---- */
/* Mark the best of n scores: each is kept if fewer than keep come before it. */
static void mark_best(const double *scores, int64_t n, int64_t keep, bool *kept)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t before = 0;
        for (int64_t j = 0; j < n; j++)
            before += scores[j] > scores[i] || (scores[j] == scores[i] && j < i);
        kept[i] = before < keep;
    }
}

/* ---- methods: each leaves the numbers of candidates; returns how many ---- */
static int64_t tree(struct view *v, int64_t keep, int64_t *out)
{
    int64_t start[CLATTN__TINY_BLOCKS], size[CLATTN__TINY_BLOCKS], half[2 * CLATTN__TINY_BLOCKS],
        width[2 * CLATTN__TINY_BLOCKS];
    double scores[2 * CLATTN__TINY_BLOCKS] = {0};
    bool kept[2 * CLATTN__TINY_BLOCKS];
    v->chunks = 2 * keep;
    for (int64_t i = 0; i < keep; i++) {
        start[i] = i * v->n / keep;
        size[i] = (i + 1) * v->n / keep - start[i];
    }
    for (int64_t largest = clattn__ceil_div(v->n, keep); largest > 1; largest = (largest + 1) / 2) {
        int64_t n = 0, to = 0;
        for (int64_t i = 0; i < keep; i++)
            for (int right = size[i] == 1; right < 2; right++, n++) {
                half[n] = start[i] + right * (size[i] / 2);
                width[n] = right ? size[i] - size[i] / 2 : size[i] / 2;
                const int64_t stands = v->s->representative == CLATTN_CENTER ? width[n] / 2 : v->s->representative == CLATTN_FIRST ? 0 : width[n] - 1;
                v->position = v->s->rope == CLATTN_ROPE_RELATIVE ? right && size[i] > 1 : n;
                scores[n] = candidate_score(v, half[n] + stands);
            }
        mark_best(scores, n, keep, kept);
        for (int64_t i = 0; i < n; i++)
            if (kept[i]) {
                start[to] = half[i];
                size[to++] = width[i];
            }
    }
    memcpy(out, start, (size_t)keep * sizeof *out);
    return keep;
}

static double search(struct view *v, int64_t h, int64_t left, int64_t right, int64_t number)
{
    double top = -INFINITY;
    const int64_t block = v->s->block_k;
    bool one = right - left == 1;
    while (one || right - left > 1) {
        const int64_t middle = (left + right) / 2, at[2] = {(left + middle) / 2, (middle + right) / 2};
        double score[2] = {0, 0};
        for (int i = 0; i < (one ? 1 : 2); i++) {
            const int64_t k = v->blocks[at[i] / block] * block + at[i] % block;
            v->position = v->s->rope == CLATTN_ROPE_RELATIVE ? i : number;
            score[i] = k < v->k_len ? head_score(v, h, k, k) : -INFINITY;
            top = score[i] > top ? score[i] : top;
        }
        if (one)
            break;
        left = score[1] > score[0] ? middle : left;
        right = score[1] > score[0] ? right : middle;
    }
    return top;
}

static int64_t staged(struct view *v, int64_t keep, int64_t *out)
{
    int64_t chunks[CLATTN__TINY_BLOCKS] = {0}, n = 0, size = v->s->stages[0].chunk;
    for (int64_t at = 0; at < v->end; at += size)
        chunks[n++] = at;
    for (int i = 0; i < v->s->n_stages; i++) {
        int64_t cut[CLATTN__TINY_BLOCKS], m = 0;
        double scores[CLATTN__TINY_BLOCKS] = {0};
        bool kept[CLATTN__TINY_BLOCKS];
        const int64_t smaller = v->s->stages[i].chunk;
        for (int64_t j = 0; j < n; j++)
            for (int64_t at = chunks[j]; at < chunks[j] + size && at < v->end; at += smaller)
                cut[m++] = at;
        v->chunks = m;
        for (int64_t j = 0; j < m; j++) {
            scores[j] = -INFINITY;
            for (int64_t h = v->scope * heads_of(v); h < (v->scope + 1) * heads_of(v); h++)
                scores[j] = fmax(scores[j], search(v, h, cut[j],
                                                   cut[j] + smaller < v->end ? cut[j] + smaller : v->end, j));
        }
        mark_best(scores, m, i == v->s->n_stages - 1 ? keep : v->s->stages[i].keep / smaller, kept);
        n = 0;
        for (int64_t j = 0; j < m; j++)
            if (kept[j])
                chunks[n++] = cut[j];
        size = smaller;
    }
    for (int64_t j = 0; j < n; j++)
        out[j] = chunks[j] / v->s->block_k;
    return n;
}

/* ---- budgets, by the formulas of clattn/select.h ---- */
static uint64_t mass_of(const struct view *v, double top, double score)
{
    const volatile float below = (float)top - (float)score, x = below * v->t->plan.args.unit;
    if (score == top)
        return 1u << 30;
    if (!(x < 30))
        return 1;
    const uint32_t t = (uint32_t)(x * 65536);
    uint64_t w = 1u << 30;
    for (int j = 1; j <= 16; j++)
        if (t >> (16 - j) & 1)
            w = w * (uint64_t)ldexp(exp2(-ldexp(1, -j)), 32) >> 32;
    w >>= t >> 16;
    return w > 0 ? w : 1;
}

/* How many are kept of at most `keep': a beginning of their order. */
static int64_t measured(const struct view *v, const double *scores, int64_t keep)
{
    const struct select_args *args = &v->t->plan.args;
    const uint64_t share = (uint64_t)args->share, low = UINT32_MAX;
    bool first[CLATTN__TINY_BLOCKS];
    double top = -INFINITY;
    uint64_t all = 0;
    for (int64_t i = 0; i < v->n; i++)
        top = fmax(top, scores[i]);
    for (int64_t i = 0; i < v->n; i++)
        all += mass_of(v, top, scores[i]);
    const uint64_t part = (all & low) * share,
                   wanted = (all >> 32) * share + (part >> 32) + ((part & low) != 0);
    for (int64_t n = 0; n < keep && n < v->n; n++) {
        uint64_t mass = 0;
        int64_t within = 0;
        mark_best(scores, v->n, n, first);
        for (int64_t i = 0; i < v->n; i++) {
            const volatile float below = (float)top - (float)scores[i], x = below * args->unit;
            mass += first[i] ? mass_of(v, top, scores[i]) : 0;
            within += scores[i] == top || x <= args->margin;
        }
        if (v->s->budget_mode == CLATTN_MASS ? mass >= wanted : within <= n)
            return n;
    }
    return keep;
}

static int64_t best(const struct view *v, int64_t keep, int64_t *out)
{
    double scores[CLATTN__TINY_BLOCKS] = {0};
    bool kept[CLATTN__TINY_BLOCKS];
    int64_t n = 0;
    for (int64_t i = 0; i < v->n; i++)
        scores[i] = candidate_score(v, i);
    if (v->s->budget_mode == CLATTN_MASS || v->s->budget_mode == CLATTN_MARGIN)
        keep = measured(v, scores, keep);
    mark_best(scores, v->n, keep, kept);
    for (int64_t i = 0; i < v->n; i++)
        if (kept[i])
            out[n++] = i;
    return n;
}

/* Those of a given list that are candidates and rise. */
static int64_t given(const struct view *v, int64_t *out)
{
    const clattn_list *l = &v->t->plan.list;
    int64_t n = 0, last = -1;
    for (int64_t j = 0; j < l->capacity; j++)
        for (int64_t i = 0; i < v->n; i++)
            if (v->blocks[i] == v->t->given[l->ids_at / 4 + v->list * l->capacity + j] &&
                v->blocks[i] > last) {
                last = v->blocks[i];
                out[n++] = i;
            }
    return n;
}

static int64_t keep_some(struct view *v, int64_t *out)
{
    const int64_t share = clattn__ceil_div(v->n * v->t->plan.args.share, (int64_t)1 << 32),
                  all = v->t->plan.list.capacity;
    const int64_t own = clattn__ceil_div(v->t->budgets[v->scope], v->s->block_k);
    const int64_t most = v->s->flags & CLATTN_BUDGET_EACH && own < all ? own : all;
    const int64_t keep = v->s->budget_mode == CLATTN_RATIO && share < most ? share : most;
    if (v->s->method == CLATTN_EXTERNAL_LIST)
        return given(v, out);
    if (most == 0)
        return 0;
    if (v->n > keep && v->s->method == CLATTN_TREE)
        return tree(v, keep, out);
    if (v->n > keep && v->s->method == CLATTN_STAGED)
        return staged(v, keep, out);
    return best(v, keep, out); /* of no more than keep all */
}

/* How many of those kept have a product above the bound of every other; whole numbers are exact. */
static int64_t count_proved(const struct view *v, const int64_t *kept, int64_t n)
{
    double products[CLATTN__TINY_BLOCKS], left = -INFINITY;
    int64_t proved = 0;
    for (int64_t i = 0, j = 0; i < v->n; i++) {
        const int64_t first = v->blocks[i] * v->s->block_k,
                      last = first + v->s->block_k < v->k_len ? first + v->s->block_k : v->k_len;
        double top = -INFINITY;
        if (j == n || kept[j] != i) {
            left = fmax(left, candidate_score(v, i));
            continue;
        }
        for (int64_t h = v->scope * heads_of(v); h < (v->scope + 1) * heads_of(v); h++)
            for (int64_t k = first; k < last; k++)
                top = fmax(top, head_score(v, h, k, k));
        products[j++] = top;
    }
    for (int64_t j = 0; j < n; j++)
        proved += n == v->n || products[j] > left;
    return proved;
}

int64_t clattn__tiny_list(const struct clattn__tiny_select *t, int64_t scope, int64_t block, int32_t *ids,
                          int64_t *proved)
{
    int64_t kept[CLATTN__TINY_BLOCKS];
    const clattn_attention *a = &t->plan.problem.a;
    struct view v = {.t = t, .a = a, .s = &t->plan.select, .scope = scope, .block = block, .q_len = a->q_len,
                     .k_len = t->k_len};
    v.list = scope * t->plan.list.q_blocks + block;
    v.row0 = block * v.s->block_q;
    v.rows = v.q_len - v.row0 < v.s->block_q ? v.q_len - v.row0 : v.s->block_q;
    v.sampled = v.rows / v.s->stride_q > 0 ? v.rows / v.s->stride_q : 1;
    find_candidates(&v);
    const int64_t n = keep_some(&v, kept);
    for (int64_t j = 0; j < n; j++)
        ids[j] = (int32_t)v.blocks[kept[j]];
    *proved = v.s->flags & CLATTN_CERTIFY ? count_proved(&v, kept, n) : 0;
    return n;
}
