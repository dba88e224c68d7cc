/* SPDX-License-Identifier: MIT
 * ref.c - attention in double precision, row by row, from the formula in clattn/attention.h. */
#include "tests/ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- storage ---- */
static double widen_f16(uint16_t bits)
{
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double x =
        exponent == 31 ? (mantissa ? NAN : INFINITY)
        : exponent == 0
            ? mantissa * 0x1p-24
            : (1024 + mantissa) * (0x1p-25 * (1 << exponent)); /* all exact, and many times ldexp's speed */
    return bits & 0x8000 ? -x : x;
}

static double widen_bf16(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, sizeof x);
    return x;
}

double ref_widen(int type, const void *data, int64_t index)
{
    if (type == REF_F32)
        return ((const float *)data)[index];
    uint16_t bits = ((const uint16_t *)data)[index];
    return type == REF_F16 ? widen_f16(bits) : widen_bf16(bits);
}

/* Nearest multiple of the spacing at |value|, ties to even, for `digits` significant bits and least exponent
 * `least`. */
static double round_to(double value, int digits, int least)
{
    int exponent;
    if (value == 0 || !isfinite(value))
        return value;
    frexp(value, &exponent);
    if (exponent < least)
        exponent = least;
    double spacing = ldexp(1.0, exponent - digits);
    return nearbyint(value / spacing) * spacing;
}

double ref_round(int type, double value)
{
    if (type == REF_F32)
        return (float)value;
    if (type == REF_BF16)
        return (float)round_to(value, 8, -125);
    double x = round_to(value, 11, -13);
    return fabs(x) > 65504 ? copysign(INFINITY, x) : x;
}

static uint16_t f16_bits(double x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    int exponent;
    x = fabs(x);
    if (isnan(x))
        return sign | 0x7e00;
    if (isinf(x))
        return sign | 0x7c00;
    double m = frexp(x, &exponent); /* x = m 2^exponent, m in [1/2, 1) */
    if (x < ldexp(1.0, -14))
        return sign | (uint16_t)ldexp(x, 24);
    return (uint16_t)(sign | (exponent + 14) << 10 | ((int)(m * 2048) & 1023));
}

void ref_narrow(int type, double value, void *data, int64_t index)
{
    double x = ref_round(type, value);
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (type == REF_F32)
        ((float *)data)[index] = f;
    else
        ((uint16_t *)data)[index] = type == REF_F16 ? f16_bits(x)
                                    : isnan(x)      ? 0x7fc0
                                                    : (uint16_t)(bits >> 16);
}

/* ---- the operator ---- */
int64_t ref_q_len(const struct ref_problem *p, int64_t b)
{
    return p->q_offsets ? p->q_offsets[b + 1] - p->q_offsets[b] : p->q_len;
}

int64_t ref_k_len(const struct ref_problem *p, int64_t b)
{
    if (p->k_offsets)
        return p->k_offsets[b + 1] - p->k_offsets[b];
    return p->key_lengths ? p->key_lengths[b] : p->kv_len;
}

int64_t ref_row_at(const struct ref_tensor *t, const int32_t *offsets, int64_t b, int64_t head, int64_t token)
{
    if (offsets)
        return t->offset + head * t->head + (offsets[b] + token) * t->token;
    return t->offset + b * t->batch + head * t->head + token * t->token;
}

struct ref_point ref_point_of(const struct ref_problem *p, int64_t b, int64_t h, int64_t i, int64_t k)
{
    int64_t q_len = ref_q_len(p, b), k_len = ref_k_len(p, b);
    struct ref_point at = {
        i + (p->rules.bottom_right ? k_len - q_len : 0), k, b, h, h / (p->heads / p->kv_heads), q_len, k_len};
    return at;
}

static void *allocate(int64_t count, size_t each)
{
    void *data = calloc((size_t)count + 1, each);
    if (!data)
        abort();
    return data;
}

void ref_pairs(const struct ref_problem *p, int64_t b, int64_t h, int64_t i, struct ref_pair *pairs)
{
    int64_t g = h / (p->heads / p->kv_heads), q0 = ref_row_at(&p->q, p->q_offsets, b, h, i);
    double *q = allocate(p->dim, sizeof *q);
    for (int64_t d = 0; d < p->dim; d++)
        q[d] = ref_widen(p->q.type, p->q.data, q0 + d);
    for (int64_t k = 0; k < ref_k_len(p, b); k++) {
        struct ref_point at = ref_point_of(p, b, h, i, k);
        double dot = 0, size = 0;
        pairs[k] = (struct ref_pair){ref_visible(&p->rules, &at), 0, 0, 0};
        if (!pairs[k].seen)
            continue;
        int64_t k0 = ref_row_at(&p->k, p->k_offsets, b, g, k);
        for (int64_t d = 0; d < p->dim; d++) {
            double term = q[d] * ref_widen(p->k.type, p->k.data, k0 + d);
            dot += term;
            size += fabs(term);
        }
        pairs[k].raw = dot * p->scale;
        pairs[k].size = size * fabs(p->scale);
    }
    free(q);
}

/* What the weights are divided by: 0 for a row whose result is 0. */
struct divisor {
    double n, lse;
};

/* Weights from scores by the stable softmax. */
static struct divisor softmax(double *score, const struct ref_pair *pairs, int64_t k_len)
{
    double sum = 0, largest = -INFINITY;
    for (int64_t k = 0; k < k_len; k++)
        if (pairs[k].seen && !isnan(largest) &&
            !(score[k] <= largest)) /* a NaN becomes the largest and stays it */
            largest = score[k];
    for (int64_t k = 0; k < k_len; k++) {
        score[k] = !pairs[k].seen || largest == -INFINITY ? 0 : exp(score[k] - largest);
        sum += score[k];
    }
    return (struct divisor){sum, sum == 0 ? -INFINITY : largest + log(sum)};
}

/* Without a softmax.  Weights that are all 0 have the sum 0, but a row's keys count whatever they weigh:
 * parts of a row could not be merged otherwise. */
static struct divisor other_normaliser(int normaliser, const double *weight, const struct ref_pair *pairs,
                                       int64_t k_len)
{
    double sum = 0, seen = 0;
    for (int64_t k = 0; k < k_len; k++) {
        sum += weight[k];
        seen += pairs[k].seen;
    }
    double n = normaliser == REF_L1 ? sum : normaliser == REF_COUNT || seen == 0 ? seen : 1;
    return (struct divisor){n, log(n)};
}

#define EXACT (-1) /* no storage type: nothing is rounded */

static double stored(int type, double x)
{
    return type == EXACT ? x : ref_round(type, x);
}

/* Weights of a row, not yet divided; what an unfused pipeline stores between its steps is rounded to type. */
static struct divisor row_weights(const struct ref_problem *p, int type, int64_t b, int64_t h, int64_t i,
                                  const struct ref_pair *pairs, double *weight)
{
    int64_t k_len = ref_k_len(p, b);
    for (int64_t k = 0; k < k_len; k++) {
        weight[k] = 0;
        if (!pairs[k].seen)
            continue;
        struct ref_point at = ref_point_of(p, b, h, i, k);
        weight[k] = stored(type, ref_score(&p->rules, &at, stored(type, pairs[k].raw)));
        if (p->rules.normaliser != REF_SOFTMAX)
            weight[k] = ref_weight(&p->rules, &at, weight[k]);
    }
    return p->rules.normaliser == REF_SOFTMAX ? softmax(weight, pairs, k_len)
                                              : other_normaliser(p->rules.normaliser, weight, pairs, k_len);
}

/* The caller's pairs, or a row's own in *made. */
static const struct ref_pair *pairs_of(const struct ref_problem *p, int64_t b, int64_t h, int64_t i,
                                       const struct ref_pair *pairs, struct ref_pair **made)
{
    *made = NULL;
    if (pairs)
        return pairs;
    *made = allocate(ref_k_len(p, b), sizeof **made);
    ref_pairs(p, b, h, i, *made);
    return *made;
}

void ref_row(const struct ref_problem *p, int64_t b, int64_t h, int64_t i, const struct ref_pair *pairs,
             double *o, double *lse)
{
    int64_t k_len = ref_k_len(p, b), g = h / (p->heads / p->kv_heads);
    struct ref_pair *made;
    double *weight = allocate(k_len, sizeof *weight);
    pairs = pairs_of(p, b, h, i, pairs, &made);
    struct divisor by = row_weights(p, EXACT, b, h, i, pairs, weight);
    if (lse)
        *lse = by.lse;
    for (int64_t d = 0; d < p->dim_v; d++)
        o[d] = 0;
    for (int64_t k = 0; k < k_len; k++) {
        int64_t v0 = ref_row_at(&p->v, p->k_offsets, b, g, k);
        if (pairs[k].seen)
            for (int64_t d = 0; d < p->dim_v; d++)
                o[d] += weight[k] * ref_widen(p->v.type, p->v.data, v0 + d);
    }
    for (int64_t d = 0; d < p->dim_v; d++)
        o[d] = by.n == 0 ? 0 : o[d] / by.n;
    free(weight);
    free(made);
}

void ref_plain_row(const struct ref_problem *p, int type, int type_o, int64_t b, int64_t h, int64_t i,
                   const struct ref_pair *pairs, double *o)
{
    int64_t k_len = ref_k_len(p, b), g = h / (p->heads / p->kv_heads);
    struct ref_pair *made;
    double *weight = allocate(k_len, sizeof *weight);
    float *total = allocate(p->dim_v, sizeof *total);
    pairs = pairs_of(p, b, h, i, pairs, &made);
    struct divisor by = row_weights(p, type, b, h, i, pairs, weight);
    for (int64_t k = 0; k < k_len; k++)
        weight[k] = by.n == 0 ? 0 : ref_round(type, weight[k] / by.n);
    for (int64_t k = 0; k < k_len; k++) {
        const int64_t v0 = ref_row_at(&p->v, p->k_offsets, b, g, k);
        for (int64_t d = 0; pairs[k].seen && d < p->dim_v; d++)
            total[d] += (float)(weight[k] * ref_widen(p->v.type, p->v.data, v0 + d));
    }
    for (int64_t d = 0; d < p->dim_v; d++)
        o[d] = ref_round(type_o, total[d]);
    free(total);
    free(weight);
    free(made);
}
