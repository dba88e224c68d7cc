/* SPDX-License-Identifier: MIT
 * workload_check.c - compare a result with the double reference; the bounds are derived in
 * doc/numerics.md. */
#include "tool/workload.h"

#include "tests/ref.h"
#include "tool/parallel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIT 0x1p-24

struct row {
    int64_t b, h, i;
};

/* What rounding may move a row's o and lse by: of sums (bar), of scores and weights. */
struct spread {
    double bar, o, lse;
};

struct checker {
    const struct workload *w;
    struct ref_problem p;
    struct verdict *verdict;
    double *exact, *plain;
    struct ref_pair *pairs; /* of the row */
    struct spread spread;
    int64_t b, g; /* the kv head that a largest value is known of; b is -1 before */
    double largest;
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

/* What rounded sums may move a head's o by, where weights sum to 1. */
static double head_bar(struct checker *c, int64_t b, int64_t h)
{
    const int64_t g = h / (c->p.heads / c->p.kv_heads);
    if (c->b != b || c->g != g)
        c->largest = largest_value(c, b, g);
    c->b = b;
    c->g = g;
    return 16 * UNIT * c->largest;
}

/* Index of element 0 of a row of q, or of a key's k or v. */
static int64_t element_at(const struct ref_tensor *t, const int32_t *offsets, int64_t b, int64_t head,
                          int64_t token)
{
    return t->offset + head * t->head +
           (offsets ? (offsets[b] + token) * t->token : b * t->batch + token * t->token);
}

/* The largest distance of a value from what it is compared with (NULL: 0); columns that are not finite have
 * none. */
static double value_distance(const struct ref_problem *p, const struct row *r, int64_t j, const double *o)
{
    int64_t v0 = element_at(&p->v, p->k_offsets, r->b, r->h / (p->heads / p->kv_heads), j);
    double most = 0;
    for (int64_t d = 0; d < p->dim_v; d++) {
        double distance = fabs(ref_widen(p->v.type, p->v.data, v0 + d) - (o ? o[d] : 0));
        if (isfinite(distance) && distance > most)
            most = distance;
    }
    return most;
}

/* A pair's edited score, off by the rounding of its products and of the rule. */
static struct ref_number score_number(const struct ref_problem *p, const struct row *r,
                                      const struct ref_pair *pairs, int64_t j)
{
    /* an infinite score is one in f32 too */
    struct ref_number raw = {
        pairs[j].raw,
        isfinite(pairs[j].raw) ? ((double)p->dim / 2 + 3) * UNIT * pairs[j].size + pairs[j].turned : 0};
    struct ref_point at = ref_point_of(p, r->b, r->h, r->i, j);
    if (!p->rules.score || !p->rules.score[0])
        return raw;
    struct ref_number s = ref_score_bounded(&p->rules, &at, raw);
    if (p->rules.normaliser == REF_SOFTMAX && isfinite(s.value)) /* times log2(e), after the rule */
        s.error += 2 * UNIT * fabs(s.value);
    return s;
}

static double nan_as_infinity(double x)
{
    return isnan(x) ? INFINITY : x;
}

/* Whether rows' scores are small enough, and of rows as they are, for the bar to cover their rounding. */
static bool scores_are_small(const struct ref_problem *p, const struct ref_pair *pairs, int64_t k_len)
{
    double largest = 0;
    bool turned = false;
    for (int64_t j = 0; j < k_len; j++) {
        largest = pairs[j].size > largest ? pairs[j].size : largest;
        turned |= pairs[j].turned > 0;
    }
    return !turned && (!p->rules.score || !p->rules.score[0]) && largest <= 16;
}

/* With delta_j the error of score j (doc/numerics.md):
 *     sum_j p_j (e^delta_j - 1) |v_j - o| / sum_j p_j e^-delta_j        and        log sum_j p_j e^delta_j */
static void softmax_spread(const struct ref_problem *p, const struct row *r, const struct ref_pair *pairs,
                           const double *o, double lse, struct spread *spread)
{
    double moved = 0, least = 0, most = 0;
    int64_t k_len = ref_k_len(p, r->b);
    if (!isfinite(lse) || scores_are_small(p, pairs, k_len))
        return;
    for (int64_t j = 0; j < k_len; j++) {
        if (!pairs[j].seen)
            continue;
        struct ref_number s = score_number(p, r, pairs, j);
        double weight = exp(s.value - lse),
               rise = weight > 0 ? weight * expm1(s.error) : exp(s.value + s.error - lse);
        if (rise != 0)
            moved += rise * value_distance(p, r, j, o);
        least += weight * exp(-s.error);
        most += weight + rise;
    }
    spread->o = least > 0 ? nan_as_infinity(moved / least) : INFINITY;
    spread->lse = fmax(nan_as_infinity(log(most)), 0);
}

/* The same for weights w_j with errors E_j.  Divided by their sum W: sum_j E_j |v_j - o| / (W - sum_j E_j)
 * and log(W / (W - sum_j E_j)); by another n: sum_j E_j |v_j| / n and 0, and the bar is that of all weights,
 * sum_j |w_j| / n. */
static void weight_spread(const struct ref_problem *p, const struct row *r, const struct ref_pair *pairs,
                          const double *o, struct spread *spread)
{
    bool l1 = p->rules.normaliser == REF_L1;
    double moved = 0, sum = 0, error = 0, seen = 0;
    for (int64_t j = 0; j < ref_k_len(p, r->b); j++) {
        if (!pairs[j].seen)
            continue;
        struct ref_point at = ref_point_of(p, r->b, r->h, r->i, j);
        struct ref_number w = ref_weight_bounded(&p->rules, &at, score_number(p, r, pairs, j));
        if (!isfinite(w.value)) /* the row is no number */
            return;
        sum += fabs(w.value);
        error += w.error;
        if (w.error > 0)
            moved += w.error * value_distance(p, r, j, l1 ? o : NULL);
        seen++;
    }
    double n = l1 ? sum - error : p->rules.normaliser == REF_COUNT ? seen : 1;
    spread->o = moved == 0 && error == 0 ? 0 : n > 0 ? nan_as_infinity(moved / n) : INFINITY;
    spread->lse = !l1 || error == 0 ? 0 : n > 0 ? log(sum / n) : INFINITY;
    spread->bar *= l1 || seen == 0 ? 1 : sum / n;
}

/* The spread of a row with the exact results o and lse. */
static struct spread row_spread(struct checker *c, const struct row *r, const double *o, double lse)
{
    struct spread spread = {head_bar(c, r->b, r->h), 0, 0};
    if (c->p.rules.normaliser == REF_SOFTMAX)
        softmax_spread(&c->p, r, c->pairs, o, lse, &spread);
    else
        weight_spread(&c->p, r, c->pairs, o, &spread);
    return spread;
}

static int64_t output_at(const struct checker *c, const clattn_layout *at, const struct row *r)
{
    int64_t token = c->p.q_offsets ? c->p.q_offsets[r->b] + r->i : r->i;
    return at->offset + (c->p.q_offsets ? 0 : r->b * at->batch) + r->h * at->head + token * at->token;
}

static void open_checker(struct checker *c, const struct workload *w)
{
    *c = (struct checker){.w = w, .p = workload_reference(w), .b = -1};
    int64_t longest = c->p.kv_len;
    c->exact = malloc((size_t)c->p.dim_v * sizeof *c->exact);
    c->plain = malloc((size_t)c->p.dim_v * sizeof *c->plain);
    c->pairs = calloc((size_t)longest + 1, sizeof *c->pairs);
    if (!c->exact || !c->plain || !c->pairs)
        abort();
}

static void close_checker(struct checker *c)
{
    free(c->exact);
    free(c->plain);
    free(c->pairs);
}

/* The exact row, its pairs and its spread; returns the lse. */
static double open_row(struct checker *c, const struct row *r)
{
    double lse;
    if (c->w->extend)
        ref_extend_pairs(&c->p, c->w->extend, r->b, r->h, r->i, c->pairs);
    else
        ref_pairs(&c->p, r->b, r->h, r->i, c->pairs);
    ref_row(&c->p, r->b, r->h, r->i, c->pairs, c->exact, &lse);
    c->spread = row_spread(c, r, c->exact, lse);
    return lse;
}

static struct spread spread_alone(const struct workload *w, int64_t b, int64_t h, int64_t i)
{
    struct checker c;
    struct row row = {b, h, i};
    open_checker(&c, w);
    open_row(&c, &row);
    close_checker(&c);
    return c.spread;
}

double workload_bar(const struct workload *w, int64_t b, int64_t h)
{
    struct checker c = {.w = w, .p = workload_reference(w), .b = -1};
    bool shared = c.p.rules.normaliser == REF_SOFTMAX || c.p.rules.normaliser == REF_L1;
    return shared ? head_bar(&c, b, h) : 0;
}

double workload_f32_bound(const struct workload *w, int64_t b, int64_t h, int64_t i)
{
    struct spread spread = spread_alone(w, b, h, i);
    return spread.bar + spread.o;
}

double workload_lse_spread(const struct workload *w, int64_t b, int64_t h, int64_t i)
{
    return spread_alone(w, b, h, i).lse;
}

/* What a row of f16 or bf16 throughout may be off by where its weights are rounded to that type, and its
 * result: with u_t = 2^-11 or 2^-8 sum_j p_j u_t / (1 - u_t) |v_j - o| + u_t max|o| (doc/numerics.md).  0 for
 * other rows: their weights are f32. */
static double rounded_weights_bound(const struct checker *c, const struct row *r, double lse)
{
    const clattn_attention *a = &c->w->problem;
    const int type = a->type_q;
    const double unit = type == CLATTN_F16 ? 0x1p-11 : 0x1p-8;
    double moved = 0, largest = 0;
    if (type == CLATTN_F32 || a->type_k != type || a->type_v != type || a->type_o != type ||
        c->p.rules.normaliser != REF_SOFTMAX || !isfinite(lse))
        return 0;
    for (int64_t j = 0; j < ref_k_len(&c->p, r->b); j++) {
        double weight = c->pairs[j].seen ? exp(score_number(&c->p, r, c->pairs, j).value - lse) : 0;
        if (weight > 0)
            moved += weight * value_distance(&c->p, r, j, c->exact);
    }
    for (int64_t d = 0; d < c->p.dim_v; d++)
        largest = fmax(largest, fabs(c->exact[d]));
    return unit / (1 - unit) * moved + unit * largest;
}

/* 2 b + 2 |(o + 0.3 - 0.3) - o| in the output type (the FlashAttention rule), or what rounding weights makes
 * if that is more, on top of the f32 bar. */
static double row_bound(struct checker *c, const struct row *r, double lse)
{
    const clattn_attention *a = &c->w->problem;
    double bound = c->spread.bar + c->spread.o;
    int type = a->type_o;
    int storage = a->type_v != CLATTN_F32 ? a->type_v : a->type_k != CLATTN_F32 ? a->type_k : a->type_q;
    if (type == CLATTN_F32 && storage == CLATTN_F32)
        return bound;
    double plain_error = 0, rounding = 0;
    if (storage != CLATTN_F32)
        ref_plain_row(&c->p, storage, type, r->b, r->h, r->i, c->pairs, c->plain);
    for (int64_t d = 0; d < c->p.dim_v; d++) {
        double o = ref_round(type, c->exact[d]);
        if (storage != CLATTN_F32)
            plain_error = fmax(plain_error, fabs(c->plain[d] - c->exact[d]));
        rounding = fmax(rounding, fabs(ref_round(type, ref_round(type, o + 0.3) - 0.3) - o));
    }
    return bound + fmax(2 * plain_error + 2 * rounding, rounded_weights_bound(c, r, lse));
}

static void note(struct verdict *v, const struct row *r, int64_t d, double got, double expected)
{
    snprintf(v->where, sizeof v->where, "o[b=%lld h=%lld i=%lld d=%lld] = %.9g, expected %.9g",
             (long long)r->b, (long long)r->h, (long long)r->i, (long long)d, got, expected);
}

static void check_lse(struct checker *c, const struct row *r, double expected)
{
    struct verdict *v = c->verdict;
    double got = c->w->lse[output_at(c, &c->w->problem.lse, r)];
    double bound = isfinite(expected) ? 16 * UNIT * (1 + fabs(expected)) + c->spread.lse : 0;
    bool same = isinf(expected) || isnan(expected) ? (isnan(expected) ? isnan(got) : got == expected) : true;
    double error = isfinite(expected) ? fabs(got - expected) : same ? 0 : INFINITY;
    if (!(error <= bound) || !same) {
        if (v->pass)
            snprintf(v->where, sizeof v->where, "lse[b=%lld h=%lld i=%lld] = %.9g, expected %.9g",
                     (long long)r->b, (long long)r->h, (long long)r->i, got, expected);
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
    double lse = open_row(c, r), bound = row_bound(c, r, lse);
    int64_t first = output_at(c, &c->w->problem.o, r);
    v->rows++;
    v->unbounded += isinf(bound);
    for (int64_t d = 0; !isinf(bound) && d < c->p.dim_v; d++) {
        double got = ref_widen(c->w->problem.type_o, c->w->o, first + d), expected = c->exact[d];
        double error = isfinite(expected)              ? fabs(got - expected)
                       : isnan(got) || got == expected ? 0
                                                       : INFINITY;
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
    if ((c->w->problem.flags & CLATTN_WANT_LSE) && !isinf(c->spread.lse))
        check_lse(c, r, lse);
}

/* Rows in order of interest: the last and first of the first and last heads and entries, then spread over the
 * rest. */
static struct row pick_row(const struct ref_problem *p, int64_t n, int64_t total, int64_t wanted)
{
    const int64_t ends[] = {0, total - 1, p->q_len - 1, total - p->q_len};
    int64_t index = n;
    if (wanted < total)
        index = n < 4 ? ends[n] : (int64_t)((double)n / (double)wanted * (double)total);
    struct row r = {index / p->q_len / p->heads, index / p->q_len % p->heads, index % p->q_len};
    return r;
}

/* What all parts of a check share; each has a verdict of its own. */
struct check {
    const struct workload *w;
    int64_t total, wanted, parts; /* rows: that there are, that are compared */
    struct verdict *verdicts;
};

static void check_part(void *context, int64_t part)
{
    const struct check *check = context;
    struct checker c;
    open_checker(&c, check->w);
    c.verdict = &check->verdicts[part];
    *c.verdict = (struct verdict){.pass = true};
    const int64_t end = part_begin(check->wanted, check->parts, part + 1);
    for (int64_t n = part_begin(check->wanted, check->parts, part); n < end; n++) {
        struct row r = pick_row(&c.p, n, check->total, check->wanted);
        if (r.i < ref_q_len(&c.p, r.b))
            check_row(&c, &r);
    }
    close_checker(&c);
}

/* The verdict of rows and of those after them. */
static void join_verdicts(struct verdict *all, const struct verdict *next)
{
    const bool is_worse = !(next->ratio <= all->ratio);
    all->rows += next->rows;
    all->unbounded += next->unbounded;
    if (all->pass && (is_worse || !next->pass))
        memcpy(all->where, next->where, sizeof all->where);
    all->pass = all->pass && next->pass;
    if (is_worse) {
        all->ratio = next->ratio;
        all->error = next->error;
        all->bound = next->bound;
    }
    if (!(next->lse_error <= all->lse_error)) {
        all->lse_error = next->lse_error;
        all->lse_bound = next->lse_bound;
    }
}

void workload_check(const struct workload *w, int64_t max_rows, struct verdict *verdict)
{
    const clattn_attention *a = &w->problem;
    const int64_t total = a->batch * a->heads * a->q_len;
    struct check check = {w, total, max_rows > 0 && max_rows < total ? max_rows : total, 1, NULL};
    check.parts = parts_worth(check.wanted, (double)a->kv_len * (double)(a->dim + a->dim_v));
    check.verdicts = calloc((size_t)check.parts, sizeof *check.verdicts);
    if (!check.verdicts)
        abort();
    in_parallel(check.parts, check_part, &check);
    *verdict = (struct verdict){.pass = true};
    for (int64_t part = 0; part < check.parts; part++)
        join_verdicts(verdict, &check.verdicts[part]);
    free(check.verdicts);
}
