/* SPDX-License-Identifier: MIT
 * workload_check.c - compare a result with the double reference; the bounds are derived in doc/numerics.md. */
#include "tool/workload.h"

#include "tests/ref.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define UNIT 0x1p-24

struct row {
    int64_t b, h, i;
};

struct checker {
    const struct workload *w;
    struct ref_problem p;
    struct verdict *verdict;
    double *exact, *plain;
    double score_error; /* what the f32 rounding of a score may do to a weight, relatively */
};

/* The largest finite |v| that a row's kv head holds. */
static double largest_value(const struct checker *c, int64_t b, int64_t g)
{
    const struct ref_tensor *v = &c->p.v;
    double largest = 0;
    int64_t first = v->offset + g * v->head + (c->p.k_offsets ? c->p.k_offsets[b] * v->token : b * v->batch);
    for (int64_t k = 0; k < ref_k_len(&c->p, b); k++)
        for (int64_t d = 0; d < c->p.dim_v; d++) {
            double x = fabs(ref_widen(v->type, v->data, first + k * v->token + d));
            if (isfinite(x) && x > largest)
                largest = x;
        }
    return largest;
}

/* What f32 may be off by in a row's scores: (sqrt(d) + 2) S 2^-24 with S the largest sum_d |scale q_d k_d| over its keys
 * (doc/numerics.md). */
static double score_rounding(const struct checker *c, const struct row *r)
{
    const struct ref_problem *p = &c->p;
    const struct ref_tensor *q = &p->q, *k = &p->k;
    int64_t g = r->h / (p->heads / p->kv_heads);
    int64_t q0 = q->offset + r->h * q->head + (p->q_offsets ? (p->q_offsets[r->b] + r->i) * q->token : r->b * q->batch + r->i * q->token);
    int64_t k0 = k->offset + g * k->head + (p->k_offsets ? p->k_offsets[r->b] * k->token : r->b * k->batch);
    double largest = 0;
    for (int64_t key = 0; key < ref_k_len(p, r->b); key++) {
        double sum = 0;
        for (int64_t d = 0; d < p->dim; d++)
            sum += fabs(ref_widen(q->type, q->data, q0 + d) * ref_widen(k->type, k->data, k0 + key * k->token + d));
        if (isfinite(sum) && sum > largest)
            largest = sum;
    }
    largest *= fabs(p->scale);
    return (sqrt((double)p->dim) + 2) * largest * UNIT;
}

static int64_t output_at(const struct checker *c, const clattn_layout *at, const struct row *r)
{
    int64_t token = c->p.q_offsets ? c->p.q_offsets[r->b] + r->i : r->i;
    return at->offset + (c->p.q_offsets ? 0 : r->b * at->batch) + r->h * at->head + token * at->token;
}

double workload_f32_bound(const struct workload *w, int64_t b, int64_t h, int64_t i)
{
    struct checker c = {.w = w, .p = workload_reference(w)};
    struct row row = {b, h, i};
    double vmax = largest_value(&c, b, h / (c.p.heads / c.p.kv_heads));
    double score = score_rounding(&c, &row), covered = (sqrt((double)c.p.dim) + 2) * 16 * UNIT; /* S <= 16: in the bar */
    return (16 * UNIT + (score > covered ? 2 * score : 0)) * vmax;
}

/* 2 b + 2 |(o + 0.3 - 0.3) - o| in the output type (the FlashAttention rule), on top of the f32 bar. */
static double row_bound(struct checker *c, const struct row *r)
{
    const clattn_attention *a = &c->w->problem;
    double bound = workload_f32_bound(c->w, r->b, r->h, r->i);
    int type = a->type_o;
    int storage = a->type_v != CLATTN_F32 ? a->type_v : a->type_k != CLATTN_F32 ? a->type_k : a->type_q;
    if (type == CLATTN_F32 && storage == CLATTN_F32)
        return bound;
    double plain_error = 0, rounding = 0;
    if (storage != CLATTN_F32)
        ref_plain_row(&c->p, storage, type, r->b, r->h, r->i, c->plain);
    for (int64_t d = 0; d < c->p.dim_v; d++) {
        double o = ref_round(type, c->exact[d]);
        if (storage != CLATTN_F32)
            plain_error = fmax(plain_error, fabs(c->plain[d] - c->exact[d]));
        rounding = fmax(rounding, fabs(ref_round(type, ref_round(type, o + 0.3) - 0.3) - o));
    }
    return bound + 2 * plain_error + 2 * rounding;
}

static void note(struct verdict *v, const struct row *r, int64_t d, double got, double expected)
{
    snprintf(v->where, sizeof v->where, "o[b=%lld h=%lld i=%lld d=%lld] = %.9g, expected %.9g", (long long)r->b,
             (long long)r->h, (long long)r->i, (long long)d, got, expected);
}

static void check_lse(struct checker *c, const struct row *r, double expected)
{
    struct verdict *v = c->verdict;
    double got = c->w->lse[output_at(c, &c->w->problem.lse, r)];
    double bound = 16 * UNIT * (1 + fabs(expected)) + 2 * c->score_error;
    bool same = isinf(expected) || isnan(expected) ? (isnan(expected) ? isnan(got) : got == expected) : true;
    double error = isfinite(expected) ? fabs(got - expected) : same ? 0 : INFINITY;
    if (!(error <= bound) || !same) {
        if (v->pass)
            snprintf(v->where, sizeof v->where, "lse[b=%lld h=%lld i=%lld] = %.9g, expected %.9g", (long long)r->b,
                     (long long)r->h, (long long)r->i, got, expected);
        v->pass = false;
    }
    if (!(error <= v->lse_error)) {
        v->lse_error = error;
        v->lse_bound = bound;
    }
}

static void check_row(struct checker *c, const struct row *r)
{
    struct verdict *v = c->verdict;
    double lse;
    c->score_error = score_rounding(c, r);
    ref_row(&c->p, r->b, r->h, r->i, c->exact, &lse);
    double bound = row_bound(c, r);
    int64_t first = output_at(c, &c->w->problem.o, r);
    v->rows++;
    for (int64_t d = 0; d < c->p.dim_v; d++) {
        double got = ref_widen(c->w->problem.type_o, c->w->o, first + d), expected = c->exact[d];
        double error = isfinite(expected) ? fabs(got - expected) : isnan(got) || got == expected ? 0 : INFINITY;
        double ratio = error == 0 ? 0 : error / bound;
        if (!(error <= bound) && v->pass) {
            v->pass = false;
            note(v, r, d, got, expected);
        }
        if (!(ratio <= v->ratio)) {
            v->ratio = ratio;
            v->error = error;
            v->bound = bound;
            if (v->pass)
                note(v, r, d, got, expected);
        }
    }
    if (c->w->problem.flags & CLATTN_WANT_LSE)
        check_lse(c, r, lse);
}

/* Rows in order of interest: the last and first of the first and last heads and entries, then spread over the rest. */
static struct row pick_row(const struct ref_problem *p, int64_t n, int64_t total, int64_t wanted)
{
    int64_t index = wanted >= total ? n : n < 4 ? (n == 0 ? 0 : n == 1 ? total - 1 : n == 2 ? p->q_len - 1 : total - p->q_len)
                                                : (int64_t)((double)n / (double)wanted * (double)total);
    struct row r = {index / p->q_len / p->heads, index / p->q_len % p->heads, index % p->q_len};
    return r;
}

void workload_check(const struct workload *w, int64_t max_rows, struct verdict *verdict)
{
    *verdict = (struct verdict){.pass = true};
    struct checker c = {.w = w, .p = workload_reference(w), .verdict = verdict};
    int64_t total = c.p.batch * c.p.heads * c.p.q_len, wanted = max_rows > 0 && max_rows < total ? max_rows : total;
    c.exact = malloc((size_t)c.p.dim_v * sizeof *c.exact);
    c.plain = malloc((size_t)c.p.dim_v * sizeof *c.plain);
    if (!c.exact || !c.plain)
        abort();
    for (int64_t n = 0; n < wanted; n++) {
        struct row r = pick_row(&c.p, n, total, wanted);
        if (r.i < ref_q_len(&c.p, r.b))
            check_row(&c, &r);
    }
    free(c.exact);
    free(c.plain);
}
