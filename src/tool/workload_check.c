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

/* What the f32 rounding of large scores may move a row's o and lse by. */
struct spread {
    double o, lse;
};

struct checker {
    const struct workload *w;
    struct ref_problem p;
    struct verdict *verdict;
    double *exact, *plain;
    struct spread spread; /* of the row */
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

/* Index of element 0 of a row of q, or of a key's k or v. */
static int64_t element_at(const struct ref_tensor *t, const int32_t *offsets, int64_t b, int64_t head, int64_t token)
{
    return t->offset + head * t->head + (offsets ? (offsets[b] + token) * t->token : b * t->batch + token * t->token);
}

/* The score of key j for a row, and in *size the sum of its terms' magnitudes; NaN for a key that the row does not see. */
static double score_of(const struct ref_problem *p, const struct row *r, int64_t j, double *size)
{
    int64_t g = r->h / (p->heads / p->kv_heads), q_len = ref_q_len(p, r->b), k_len = ref_k_len(p, r->b);
    struct ref_point at = {r->i + (p->mask.bottom_right ? k_len - q_len : 0), j, r->b, r->h, g, q_len, k_len};
    double sum = 0, sizes = 0;
    if (!ref_visible(&p->mask, &at))
        return NAN;
    int64_t q0 = element_at(&p->q, p->q_offsets, r->b, r->h, r->i), k0 = element_at(&p->k, p->k_offsets, r->b, g, j);
    for (int64_t d = 0; d < p->dim; d++) {
        double term = ref_widen(p->q.type, p->q.data, q0 + d) * ref_widen(p->k.type, p->k.data, k0 + d);
        sum += term;
        sizes += fabs(term);
    }
    *size = fabs(p->scale) * sizes;
    return p->scale * sum;
}

/* The largest distance of a value from the row's result; columns that are not finite have none. */
static double value_distance(const struct ref_problem *p, const struct row *r, int64_t j, const double *o)
{
    int64_t v0 = element_at(&p->v, p->k_offsets, r->b, r->h / (p->heads / p->kv_heads), j);
    double most = 0;
    for (int64_t d = 0; d < p->dim_v; d++) {
        double distance = fabs(ref_widen(p->v.type, p->v.data, v0 + d) - o[d]);
        if (isfinite(distance) && distance > most)
            most = distance;
    }
    return most;
}

/* The spread of a row with the exact results o and lse (doc/numerics.md):
 *     delta_j = (dim / 2 + 3) u sum_d |scale q_d k_jd|
 *     sum_j p_j (e^delta_j - 1) |v_j - o| / sum_j p_j e^-delta_j        and        log sum_j p_j e^delta_j
 * 0 while sum_d |scale q_d k_jd| of the keys that the row sees stays within 16: the bar covers that. */
static struct spread score_spread(const struct ref_problem *p, const struct row *r, const double *o, double lse)
{
    struct spread none = {0, 0};
    double steps = (double)p->dim / 2 + 3, largest = 0, size = 0, moved = 0, least = 0, most = 0;
    int64_t k_len = ref_k_len(p, r->b);
    double *scores = malloc((size_t)(2 * k_len + 1) * sizeof *scores);
    if (!scores)
        abort();
    for (int64_t j = 0; j < k_len; j++) {
        scores[2 * j] = score_of(p, r, j, &size);
        scores[2 * j + 1] = steps * UNIT * size;
        if (!isnan(scores[2 * j]) && size > largest)
            largest = size;
    }
    for (int64_t j = 0; largest > 16 && isfinite(lse) && j < k_len; j++) {
        double weight = exp(scores[2 * j] - lse), delta = scores[2 * j + 1];
        if (!(weight > 0))
            continue;
        moved += weight * expm1(delta) * value_distance(p, r, j, o);
        least += weight * exp(-delta);
        most += weight * exp(delta);
    }
    free(scores);
    return least > 0 ? (struct spread){moved / least, log(most)} : none;
}

static int64_t output_at(const struct checker *c, const clattn_layout *at, const struct row *r)
{
    int64_t token = c->p.q_offsets ? c->p.q_offsets[r->b] + r->i : r->i;
    return at->offset + (c->p.q_offsets ? 0 : r->b * at->batch) + r->h * at->head + token * at->token;
}

static struct spread row_spread(const struct checker *c, const struct row *row)
{
    double lse, *o = malloc((size_t)c->p.dim_v * sizeof *o);
    if (!o)
        abort();
    ref_row(&c->p, row->b, row->h, row->i, o, &lse);
    struct spread spread = score_spread(&c->p, row, o, lse);
    free(o);
    return spread;
}

double workload_bar(const struct workload *w, int64_t b, int64_t h)
{
    struct checker c = {.w = w, .p = workload_reference(w)};
    return 16 * UNIT * largest_value(&c, b, h / (c.p.heads / c.p.kv_heads));
}

double workload_f32_bound(const struct workload *w, int64_t b, int64_t h, int64_t i)
{
    struct checker c = {.w = w, .p = workload_reference(w)};
    return workload_bar(w, b, h) + row_spread(&c, &(struct row){b, h, i}).o;
}

double workload_lse_spread(const struct workload *w, int64_t b, int64_t h, int64_t i)
{
    struct checker c = {.w = w, .p = workload_reference(w)};
    return row_spread(&c, &(struct row){b, h, i}).lse;
}

/* 2 b + 2 |(o + 0.3 - 0.3) - o| in the output type (the FlashAttention rule), on top of the f32 bar. */
static double row_bound(struct checker *c, const struct row *r)
{
    const clattn_attention *a = &c->w->problem;
    double bound = 16 * UNIT * largest_value(c, r->b, r->h / (c->p.heads / c->p.kv_heads)) + c->spread.o;
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
    double bound = 16 * UNIT * (1 + fabs(expected)) + c->spread.lse;
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
    ref_row(&c->p, r->b, r->h, r->i, c->exact, &lse);
    c->spread = score_spread(&c->p, r, c->exact, lse);
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
