/* SPDX-License-Identifier: MIT
 * ref_extend.c - attention at positions that fit a shorter text, in double precision. */
#include "tests/ref_extend.h"

#include <math.h>
#include <stddef.h>

/* ---- which keys ---- */
static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* First and last position of a row's query block. */
static int64_t block_first(const struct ref_problem *p, const struct ref_extend *e, int64_t b, int64_t i)
{
    return i / e->list.block_q * e->list.block_q + ref_k_len(p, b) - p->q_len;
}

static int64_t block_last(const struct ref_problem *p, const struct ref_extend *e, int64_t b, int64_t i)
{
    const int64_t end = (i / e->list.block_q + 1) * e->list.block_q;
    return (end < p->q_len ? end : p->q_len) - 1 + ref_k_len(p, b) - p->q_len;
}

static bool is_listed(const struct ref_extend *e, int64_t b, int64_t h, int64_t i, int64_t t)
{
    const struct ref_blocks *l = &e->list;
    if (!l->ids)
        return false;
    const int64_t at = (b * l->scopes + h / l->heads) * l->q_blocks + i / l->block_q;
    for (int32_t j = 0; j < l->counts[at] && j < l->capacity; j++)
        if (l->ids[at * l->capacity + j] == t / l->block_k)
            return true;
    return false;
}

/* The first key of a block's window. */
static int64_t window_begin(const struct ref_problem *p, const struct ref_extend *e, int64_t b, int64_t i)
{
    return ref_k_len(p, b) < e->dense_below ? 0 : larger(0, block_first(p, e, b, i) - e->window + 1);
}

static bool is_kept(const struct ref_problem *p, const struct ref_extend *e, int64_t b, int64_t h, int64_t i,
                    int64_t t)
{
    return t >= window_begin(p, e, b, i) || t < e->sink || is_listed(e, b, h, i, t);
}

/* ---- where they stand ---- */
static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Keys before `end' that are kept. */
static int64_t count_kept(const struct ref_problem *p, const struct ref_extend *e, int64_t b, int64_t h,
                          int64_t i, int64_t end)
{
    int64_t n = 0;
    for (int64_t t = 0; t < end; t++)
        n += is_kept(p, e, b, h, i, t);
    return n;
}

/* number: of the key among those that are kept; n: that are kept before the window. */
static int64_t position_of(const struct ref_problem *p, const struct ref_extend *e, int64_t b, int64_t i,
                           int64_t t, int64_t number, int64_t n)
{
    const int64_t first = block_first(p, e, b, i), last = block_last(p, e, b, i),
                  begin = window_begin(p, e, b, i), v = e->length / 4;
    if (e->rule == REF_EXTEND_STREAMING)
        return t >= begin ? t : begin - n + number;
    if (e->rule == REF_EXTEND_SELF)
        return t >= last - e->length ? t : larger(0, floor_div(t - first, e->share) + first);
    if (last <= e->length || t >= last - v)
        return t;
    return larger(last - e->length, floor_div((t - first + v) * (e->length - v), first - v) + first - v);
}

int64_t ref_extend_position(const struct ref_problem *p, const struct ref_extend *e, int64_t b, int64_t h,
                            int64_t i, int64_t t, bool *kept)
{
    if (kept)
        *kept = is_kept(p, e, b, h, i, t) && t <= i + ref_k_len(p, b) - p->q_len;
    return position_of(p, e, b, i, t, count_kept(p, e, b, h, i, t),
                       count_kept(p, e, b, h, i, window_begin(p, e, b, i)));
}

/* ---- scores ---- */
/* An element of a row, turned, and by how much a device may be off: a table's entry by 2^-25, products and
 * their sum by 3 roundings of f32, what is stored by one of its type. */
struct turned {
    double value, error;
};

/* A pair's first element, or its second. */
static struct turned turn(const struct ref_tensor *from, int64_t at, int64_t half, bool second, double cosine,
                          double sine)
{
    static const double units[] = {0, 0x1p-11, 0x1p-8}, tiniest[] = {0x1p-149, 0x1p-25, 0x1p-134};
    const double x = ref_widen(from->type, from->data, at), y = ref_widen(from->type, from->data, at + half);
    struct turned t;
    t.value = second ? y * cosine + x * sine : x * cosine - y * sine;
    t.error = (fabs(x) + fabs(y)) * 3.5 * 0x1p-24;
    t.error += (fabs(t.value) + t.error) * units[from->type] + tiniest[from->type];
    return t;
}

/* The product of a pair of columns. */
static void add_product(struct ref_pair *pair, struct turned x, struct turned y, double scale)
{
    const double error =
        fabs(scale) * (fabs(x.value) * y.error + fabs(y.value) * x.error + x.error * y.error);
    pair->raw += scale * x.value * y.value;
    pair->size += fabs(scale * x.value * y.value) + error;
    pair->turned += error;
}

void ref_extend_pairs(const struct ref_problem *p, const struct ref_extend *e, int64_t b, int64_t h,
                      int64_t i, struct ref_pair *pairs)
{
    const int64_t q0 = ref_row_at(&p->q, NULL, b, h, i), own = i + ref_k_len(p, b) - p->q_len,
                  half = p->dim / 2;
    const int64_t n = count_kept(p, e, b, h, i, window_begin(p, e, b, i));
    int64_t number = 0;
    for (int64_t t = 0; t < ref_k_len(p, b); t++) {
        const int64_t k0 = ref_row_at(&p->k, NULL, b, h / (p->heads / p->kv_heads), t);
        const bool kept = is_kept(p, e, b, h, i, t);
        const int64_t position = position_of(p, e, b, i, t, number, n);
        pairs[t] = (struct ref_pair){.seen = kept && t <= own};
        number += kept;
        for (int64_t d = 0; pairs[t].seen && d < half; d++) {
            const double angle = pow(e->base, -(double)d / (double)half);
            const double q_cos = cos((double)own * angle), q_sin = sin((double)own * angle);
            const double k_cos = cos((double)position * angle), k_sin = sin((double)position * angle);
            for (int second = 0; second < 2; second++)
                add_product(&pairs[t], turn(&p->q, q0 + d, half, second, q_cos, q_sin),
                            turn(&p->k, k0 + d, half, second, k_cos, k_sin), p->scale);
        }
    }
}
