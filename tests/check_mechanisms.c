/* SPDX-License-Identifier: MIT
 * check_mechanisms.c - every mechanism against its paper's formula, written here as C over (query, key) in
 * double precision.
 *
 * Engines are forced by name: whole sequences on those that fit the device, and one to three queries with
 * splits and with key lengths (formula_of_paper says which).  The bounds are those of doc/numerics.md;
 * what a score rule adds is worked out beside its formula.  The masks are compared pair by pair as well, with
 * the classes of tiles of one pair.  Traps and properties of the papers: check_mechanism_traps.c. */
#include "tests/ref.h"
#include "tests/suite.h"
#include "tests/trial.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))
#define UNIT 0x1p-24
#define LOG_DIM 2.772588722239781 /* log 16 */
#define BATCH 3
#define KEYS 70
#define CROSS_KEYS 53

/* ---- what the arrays hold, as functions of their indices ---- */
static uint32_t mix(int64_t i, int64_t j)
{
    uint32_t x = (uint32_t)(i * 8191 + j * 131 + 7) * 2654435761u;
    return x >> 13 ^ x >> 24;
}

static double prompt(int64_t b, int64_t unused)
{
    (void)unused;
    return (const int[]){0, 23, KEYS}[b];
}

static double answer(int64_t b, int64_t unused)
{
    (void)unused;
    return (const int[]){44, KEYS, 30}[b];
}

static double opened(int64_t b, int64_t unused)
{
    (void)unused;
    return (const int[]){0, 5, 40}[b];
}

static double span(int64_t b, int64_t k) /* two images side by side, a third after text */
{
    k -= 3 * b;
    return k >= 5 && k < 20 ? 0 : k >= 20 && k < 33 ? 1 : k >= 50 && k < 61 ? 2 : -1;
}

static double caption(int64_t b, int64_t k) /* padding at the end */
{
    return k >= 64 ? -1 : (double)((k + 7 * b) / 16);
}

static double document(int64_t b, int64_t k)
{
    return (double)((k + 5 * b) / 23);
}

static double part(int64_t b, int64_t k)
{
    return k >= 40 + b;
}

static double image(int64_t b, int64_t k)
{
    return k >= b && k < 30 + b;
}

static double bounds(int64_t b, int64_t which)
{
    return (const int[BATCH][3]){{4, 20, 44}, {0, 33, 33}, {10, 30, 61}}[b][which];
}

static double role(int64_t b, int64_t k)
{
    return (double)((k / 9 + b) % 4);
}

static double reads(int64_t row, int64_t column)
{
    return row < 4 && column < 4 && (3 * row + 5 * column) % 4 == 1;
}

static double keep(int64_t b, int64_t k)
{
    return mix(b, k) % 5 != 0;
}

static double covered(int64_t b, int64_t q)
{
    return mix(b + 5, q) % 3 == 0;
}

static double order(int64_t b, int64_t k)
{
    return mix(b, k) % 4 == 0 ? (double)(7 * k % 18) : -1;
}

static double rank(int64_t b, int64_t k) /* 29 and 70 share no divisor: a permutation */
{
    return (double)((29 * k + 11 * b) % KEYS);
}

static double kind(int64_t b, int64_t k)
{
    return mix(b + 9, k) % 3;
}

static double slope(int64_t h, int64_t unused) /* 4 heads: 1/4, 1/16, 1/64, 1/256 */
{
    (void)unused;
    return exp2(-2.0 * (double)(h + 1));
}

static double bias(int64_t h, int64_t bucket)
{
    return (double)((7 * h + 13 * bucket) % 32 - 16) / 16;
}

static double seen_in_window(int64_t b, int64_t q)
{
    (void)b;
    return q < 16 ? (double)q + 1 : 16;
}

static const struct {
    const char *name;
    double (*element)(int64_t, int64_t);
} contents[] = {
    {"n", prompt},        {"prompt", prompt}, {"answer", answer}, {"opened", opened},   {"span", span},
    {"caption", caption}, {"doc", document},  {"part", part},     {"image", image},     {"bounds", bounds},
    {"role", role},       {"reads", reads},   {"keep", keep},     {"covered", covered}, {"order", order},
    {"rank", rank},       {"kind", kind},     {"slope", slope},   {"bias", bias},       {"seen", seen_in_window},
};

/* ---- the formulas ---- */
struct place { /* of a pair; q is the query's position */
    int64_t b, h, q, k, q_len, k_len;
};

static bool all(const struct place *p) { return p->k >= 0; }
static bool causal(const struct place *p) { return p->k <= p->q; }
static bool prefix(const struct place *p) { return p->k < (int64_t)prompt(p->b, 0) || p->k <= p->q; }
static bool sliding(const struct place *p) { return p->k <= p->q && p->k > p->q - 16; }

static bool dilated(const struct place *p) /* q, q - 3, q - 6, ... five of them */
{
    for (int64_t n = 0; n < 5; n++)
        if (p->k == p->q - 3 * n)
            return true;
    return false;
}

static bool documents(const struct place *p)
{
    return document(p->b, p->q) == document(p->b, p->k) && p->k <= p->q;
}

static bool croc(const struct place *p)
{
    bool both_images = span(p->b, p->q) >= 0 && span(p->b, p->k) >= 0;
    return p->k <= p->q || (both_images && span(p->b, p->q) == span(p->b, p->k));
}

static bool croc_released(const struct place *p)
{
    return p->k < (int64_t)prompt(p->b, 0) || (p->k <= p->q && keep(p->b, p->k) != 0);
}

static bool ee_mllm(const struct place *p)
{
    if (image(p->b, p->q) != 0)
        return p->k == p->q;
    return p->k <= p->q;
}

static bool aki(const struct place *p)
{
    double first = bounds(p->b, 0), last = bounds(p->b, 1), question = bounds(p->b, 2);
    double q = (double)p->q, k = (double)p->k;
    return k <= q || (first <= q && q < last && last <= k && k < question);
}

static bool aki_roles(const struct place *p)
{
    bool in_input = (double)p->q < answer(p->b, 0) && (double)p->k < answer(p->b, 0);
    return p->k <= p->q || (in_input && reads((int64_t)role(p->b, p->q), (int64_t)role(p->b, p->k)) != 0);
}

static bool kept(const struct place *p) { return keep(p->b, p->k) != 0; }
static bool kept_causal(const struct place *p) { return keep(p->b, p->k) != 0 && p->k <= p->q; }

static bool same_caption(const struct place *p)
{
    return caption(p->b, p->k) >= 0 && caption(p->b, p->q) == caption(p->b, p->k);
}

static bool same_caption_causal(const struct place *p) { return same_caption(p) && p->k <= p->q; }
static bool child(const struct place *p) { return covered(p->b, p->q) != 0 && keep(p->b, p->k) != 0; }

static bool same_part(const struct place *p) /* layer 0 of 9 lower ones */
{
    return part(p->b, p->q) == part(p->b, p->k);
}

static bool bpdec(const struct place *p)
{
    bool is_mask = order(p->b, p->k) >= 0;
    return !is_mask || p->k == p->q || order(p->b, p->k) < opened(p->b, 0);
}

static bool content(const struct place *p) { return rank(p->b, p->k) <= rank(p->b, p->q); }
static bool query(const struct place *p) { return rank(p->b, p->k) < rank(p->b, p->q); }

/* A real number, and what f32 may be off by: every operation rounds by UNIT of its result, functions by what
 * doc/numerics.md says. */
struct number {
    double x, e;
};

static struct number rounded(double x, double e)
{
    return (struct number){x, e + UNIT * fabs(x)};
}

static struct number score_alibi(const struct place *p, struct number s)
{
    double penalty = slope(p->h, 0) * (double)(p->q - p->k); /* exact: a power of two */
    return rounded(s.x - penalty, s.e);
}

static struct number score_cap(const struct place *p, struct number s) /* the derivative is at most 1 */
{
    (void)p;
    double ratio = s.x / 50;
    return rounded(50 * tanh(ratio), s.e + 50 * (6 * UNIT * fabs(ratio) + 10 * UNIT * fabs(tanh(ratio))));
}

/* T5's bucket of a distance, by logarithms: 1e-9 keeps powers of two, where they are exact, from falling
 * below. */
static int64_t t5_bucket(int64_t distance, bool bidirectional)
{
    int64_t buckets = bidirectional ? 16 : 32, first = bidirectional && distance > 0 ? 16 : 0;
    int64_t n = bidirectional ? llabs(distance) : distance < 0 ? -distance : 0, exact = buckets / 2;
    if (n < exact)
        return first + n;
    double far = log((double)n / (double)exact) / log(128.0 / (double)exact) * (double)(buckets - exact);
    int64_t bucket = exact + (int64_t)(far + 1e-9);
    return first + (bucket < buckets - 1 ? bucket : buckets - 1);
}

static struct number score_t5_encoder(const struct place *p, struct number s)
{
    return rounded(s.x + bias(p->h, t5_bucket(p->k - p->q, true)), s.e);
}

static struct number score_t5_decoder(const struct place *p, struct number s)
{
    return rounded(s.x + bias(p->h, t5_bucket(p->k - p->q, false)), s.e);
}

static struct number by_log(double n, struct number s)
{
    double factor = log(n), off = 8 * UNIT * factor;
    return rounded(s.x * factor, s.e * factor + fabs(s.x) * off + s.e * off);
}

static struct number score_lssa_causal(const struct place *p, struct number s)
{
    return by_log((double)p->q + 1, s);
}

static struct number score_lssa(const struct place *p, struct number s)
{
    return by_log(seen_in_window(p->b, p->q), s);
}

static struct number score_boost(const struct place *p, struct number s)
{
    double boost = kind(p->b, p->k) == 1 ? (double)0.7f : kind(p->b, p->k) == 2 ? (double)0.3f : 0;
    if (p->q != p->k_len - 1)
        return s;
    return rounded(s.x + boost * fabs(s.x), (1 + boost) * s.e + UNIT * boost * fabs(s.x));
}

static double softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double relu(double x)
{
    return fmax(x, 0);
}

/* A mechanism's formula; over: the mask, with its corner, that a mechanism without one is tried under. */
struct formula {
    const char *name;
    bool (*sees)(const struct place *);
    struct number (*score)(const struct place *, struct number);
    double (*weight)(double);
    enum { BY_SUM, BY_COUNT } divisor;
    double scale; /* 0: 1 / sqrt(16) */
    const char *over;
    int bidirectional_buckets;
    bool narrow, unit; /* f16 too; q and k of length 1 */
};

static const struct formula formulas[] = {
    {.name = "full", .sees = all},
    {.name = "causal", .sees = causal, .narrow = true},
    {.name = "prefix", .sees = prefix},
    {.name = "sliding_window", .sees = sliding},
    {.name = "dilated_window", .sees = dilated},
    {.name = "documents", .sees = documents},
    {.name = "image_spans", .sees = croc, .narrow = true},
    {.name = "soft_cap", .sees = causal, .score = score_cap, .over = "causal"},
    {.name = "alibi", .sees = causal, .score = score_alibi},
    {.name = "t5_encoder", .sees = all, .score = score_t5_encoder, .scale = 1, .bidirectional_buckets = 1},
    {.name = "t5_decoder", .sees = causal, .score = score_t5_decoder, .scale = 1, .narrow = true},
    {.name = "t5_cross", .sees = all, .scale = 1},
    {.name = "croc", .sees = croc},
    {.name = "croc_released", .sees = croc_released},
    {.name = "ee_mllm", .sees = ee_mllm},
    {.name = "aki", .sees = aki},
    {.name = "aki_roles", .sees = aki_roles},
    {.name = "bico_denoise", .sees = kept},
    {.name = "bico_ntp", .sees = kept_causal},
    {.name = "gbc_self", .sees = same_caption},
    {.name = "gbc_self_causal", .sees = same_caption_causal},
    {.name = "gbc_cross", .sees = child},
    {.name = "pyramid_ernie", .sees = same_part},
    {.name = "croco_self", .sees = all},
    {.name = "croco_cross", .sees = all},
    {.name = "bert4rec", .sees = kept},
    {.name = "bpdec", .sees = bpdec},
    {.name = "xlnet_content", .sees = content},
    {.name = "xlnet_query", .sees = query},
    {.name = "cab_ns", .sees = all},
    {.name = "cab_cs", .sees = causal},
    {.name = "cab_nc", .sees = all},
    {.name = "cab_cc", .sees = all},
    {.name = "lssa_causal", .sees = causal, .score = score_lssa_causal, .weight = softplus, .scale = LOG_DIM,
     .narrow = true, .unit = true},
    {.name = "lssa", .sees = sliding, .score = score_lssa, .weight = softplus, .scale = LOG_DIM,
     .over = "sliding_window", .unit = true},
    {.name = "relu_count", .sees = causal, .weight = relu, .divisor = BY_COUNT},
    {.name = "imbalanced", .sees = causal, .score = score_boost},
};

static const struct formula *find_formula(const char *name)
{
    for (size_t i = 0; i < LEN(formulas); i++)
        if (!strcmp(formulas[i].name, name))
            return &formulas[i];
    ck_abort_msg("mechanism '%s' has no formula here", name);
    return NULL;
}

/* ---- one row ---- */
struct row {
    int64_t b, h, i, q, k_len; /* q: position of query i */
    bool seen[KEYS];
    struct number s[KEYS], w[KEYS]; /* edited scores; weights, a softmax's as shares */
    double o[16], lse, bound, lse_bound;
};

static struct number raw_score(const struct trial *t, const struct formula *f, const struct row *r, int64_t j,
                               double *size)
{
    const float *q = trial_q(t, r->b, r->h, r->i), *k = trial_k(t, r->b, r->h / 2, j);
    double scale = f->scale != 0 ? f->scale : 0.25, s = 0;
    *size = 0;
    for (int d = 0; d < 16; d++) {
        s += scale * (double)q[d] * (double)k[d];
        *size += fabs(scale * (double)q[d] * (double)k[d]);
    }
    return (struct number){s, (16 / 2 + 3) * UNIT * *size};
}

static double round_to(int type, double x)
{
    return type == REF_F32 ? x : ref_round(type, x);
}

/* Scores of the row; type: what an unfused pipeline would store them in, REF_F32 for exact ones.  Errors are
 * dropped where the bar of 16 UNIT covers them. */
static void fill_scores(const struct trial *t, const struct formula *f, int type, struct row *r)
{
    double largest = 0, size;
    for (int64_t j = 0; j < r->k_len; j++) {
        struct place p = {r->b, r->h, r->q, j, t->a.q_len, r->k_len};
        r->seen[j] = f->sees(&p);
        if (!r->seen[j])
            continue;
        struct number s = raw_score(t, f, r, j, &size);
        s.x = round_to(type, s.x);
        if (f->score)
            s = f->score(&p, s);
        s.x = round_to(type, s.x);
        s.e += f->weight ? 0 : 2 * UNIT * fabs(s.x);
        r->s[j] = s;
        largest = fmax(largest, size);
    }
    for (int64_t j = 0; j < r->k_len && !f->score && !f->weight && largest <= 16; j++)
        r->s[j].e = 0;
}

/* Weights and what they are divided by; returns how many keys are seen. */
static int64_t fill_weights(const struct formula *f, int type, struct row *r, double *divisor)
{
    double top = -INFINITY, sum = 0;
    int64_t count = 0;
    for (int64_t j = 0; j < r->k_len; j++)
        if (r->seen[j])
            top = fmax(top, r->s[j].x);
    for (int64_t j = 0; j < r->k_len; j++) {
        if (!r->seen[j])
            continue;
        struct number s = r->s[j];
        double rounds = f->weight == softplus ? UNIT : 0; /* relu does not */
        double e = s.e + 2 * rounds * fabs(s.x), x = f->weight ? f->weight(s.x) : exp(s.x - top);
        r->w[j].x = round_to(type, x);
        if (f->weight)
            r->w[j].e = fmax(f->weight(s.x + e) - x, x - f->weight(s.x - e)) + 12 * rounds * x;
        sum += x;
        count++;
    }
    *divisor = f->divisor == BY_COUNT ? (double)count : sum;
    r->lse = count == 0               ? -INFINITY
             : f->divisor == BY_COUNT ? log((double)count)
                                      : log(sum) + (f->weight ? 0 : top);
    return count;
}

static void weigh(const struct trial *t, double divisor, struct row *r)
{
    memset(r->o, 0, sizeof r->o);
    for (int64_t j = 0; j < r->k_len && divisor > 0; j++)
        for (int d = 0; d < 16 && r->seen[j]; d++)
            r->o[d] += r->w[j].x / divisor * (double)trial_v(t, r->b, r->h / 2, j)[d];
}

static double distance(const struct trial *t, const struct row *r, int64_t j, bool from_o)
{
    double most = 0;
    for (int d = 0; d < 16; d++)
        most = fmax(most, fabs((double)trial_v(t, r->b, r->h / 2, j)[d] - (from_o ? r->o[d] : 0)));
    return most;
}

/* doc/numerics.md: the bar, and the spread of the scores' or the weights' errors. */
static void bound_row(const struct trial *t, const struct formula *f, double divisor, struct row *r)
{
    double largest = 0, moved = 0, off = 0, least = 0, most = 0, sum = 0;
    for (int64_t j = 0; j < r->k_len; j++) {
        largest = fmax(largest, distance(t, r, j, false));
        if (!r->seen[j])
            continue;
        double share = r->w[j].x / divisor, e = f->weight ? r->w[j].e / divisor : share * expm1(r->s[j].e);
        moved += e * distance(t, r, j, f->divisor == BY_SUM);
        off += e;
        least += share * exp(-r->s[j].e);
        most += share * exp(r->s[j].e);
        sum += share;
    }
    double rest = f->divisor == BY_COUNT ? 1 : f->weight ? 1 - off : least;
    r->bound = 16 * UNIT * largest * (f->divisor == BY_COUNT ? sum : 1) + moved / rest;
    double lse_moved = f->divisor == BY_COUNT ? 0 : f->weight ? -log(1 - off) : log(most);
    r->lse_bound = 16 * UNIT * (1 + fabs(r->lse)) + lse_moved;
}

/* Narrow storage: twice the error of a plain computation in it, and twice the rounding of the result. */
static void bound_narrow_row(const struct trial *t, const struct formula *f, struct row *r)
{
    struct row plain = *r;
    double divisor, error = 0, rounding = 0;
    int type = t->a.type_q;
    fill_scores(t, f, type, &plain);
    if (fill_weights(f, type, &plain, &divisor) == 0)
        return;
    weigh(t, divisor, &plain);
    for (int d = 0; d < 16; d++) {
        double o = ref_round(type, r->o[d]);
        error = fmax(error, fabs(ref_round(type, plain.o[d]) - r->o[d]));
        rounding = fmax(rounding, fabs(ref_round(type, ref_round(type, o + 0.3) - 0.3) - o));
    }
    r->bound += 2 * error + 2 * rounding;
}

static void check_row(const struct trial *t, const struct formula *f, const char *engine, struct row *r)
{
    double divisor;
    fill_scores(t, f, REF_F32, r);
    int64_t count = fill_weights(f, REF_F32, r, &divisor);
    weigh(t, divisor, r);
    if (count > 0)
        bound_row(t, f, divisor, r);
    if (count > 0 && t->a.type_q != CLATTN_F32)
        bound_narrow_row(t, f, r);
    /* values are up to 2: bounds far below what a key too many or too few does */
    ck_assert_msg(count == 0 || r->bound <= (t->a.type_q == CLATTN_F32 ? 0x1p-14 : 0x1p-6), "%s: +- %g",
                  f->name, r->bound);
    double lse = (double)t->lse[(r->b * t->a.heads + r->h) * t->a.q_len + r->i];
    for (int d = 0; d < 16; d++) {
        double got = (double)trial_o(t, r->b, r->h, r->i)[d];
        ck_assert_msg(fabs(got - r->o[d]) <= (count ? r->bound : 0),
                      "%s on %s, %d queries: o[%d][%d][%d][%d] is %.9g, not %.9g +- %.3g", f->name, engine,
                      (int)t->a.q_len, (int)r->b, (int)r->h, (int)r->i, d, got, r->o[d], r->bound);
    }
    ck_assert_msg(count ? fabs(lse - r->lse) <= r->lse_bound : lse == -INFINITY,
                  "%s on %s: lse[%d][%d][%d] is %.9g, not %.9g +- %.3g", f->name, engine, (int)r->b,
                  (int)r->h, (int)r->i, lse, r->lse, r->lse_bound);
}

static int64_t check_rows(const struct trial *t, const struct formula *f, const char *engine)
{
    int64_t rows = 0;
    for (int64_t n = 0; n < t->rows; n++) {
        struct row r = {.b = n / t->a.q_len / t->a.heads, .h = n / t->a.q_len % t->a.heads,
                        .i = n % t->a.q_len};
        r.k_len = t->key_lengths[r.b];
        r.q = r.i + (t->a.pattern.corner == CLATTN_BOTTOM_RIGHT ? r.k_len - t->a.q_len : 0);
        if (r.q < 0) /* before the first token: no formula speaks of it */
            continue;
        check_row(t, f, engine, &r);
        rows++;
    }
    return rows;
}

/* ---- one mechanism ---- */
static void set_lengths_to_one(float *rows, int64_t count)
{
    for (int64_t i = 0; i < count; i += 16) {
        double square = 0;
        for (int d = 0; d < 16; d++)
            square += (double)rows[i + d] * (double)rows[i + d];
        for (int d = 0; d < 16; d++)
            rows[i + d] = (float)((double)rows[i + d] / sqrt(square));
    }
}

static void round_all(float *values, int64_t count, int type)
{
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)ref_round(type, (double)values[i]);
}

static void fill_arrays(struct trial *t, const struct formula *f)
{
    int32_t buckets[257];
    ck_assert_int_eq(clattn_t5_buckets(buckets, 128, f->bidirectional_buckets), CLATTN_OK);
    for (int i = 0; i < t->a.n_arrays; i++) {
        const char *name = t->a.arrays[i].name;
        size_t n = 0;
        while (n < LEN(contents) && strcmp(contents[n].name, name))
            n++;
        if (n < LEN(contents))
            trial_fill(t, name, contents[n].element);
        for (int64_t r = 0; r < 257 && !strcmp(name, "bucket"); r++)
            trial_put(t, name, r, 0, buckets[r]);
        ck_assert_msg(n < LEN(contents) || !strcmp(name, "bucket"), "nothing says what '%s' holds", name);
    }
}

struct shape {
    int64_t q_len, splits;
    bool lengths;
};
static const struct shape whole = {KEYS, 0, false}, few[] = {{2, 0, true}, {1, 3, false}, {3, 2, false}};

static struct trial make_trial(const struct formula *f, bool cross, const struct shape *shape, int type)
{
    clattn_attention a = trial_problem(BATCH, shape->q_len, cross ? CROSS_KEYS : KEYS);
    char message[1024];
    static const clattn_scalar small[] = {{"width", CLATTN_I32, 0, 16}, {"step", CLATTN_I32, 0, 3}};
    if (f->sees == sliding || f->sees == dilated) { /* smaller than the defaults */
        a.scalars[a.n_scalars++] = small[0];
        a.scalars[0].value = f->sees == dilated ? 5 : 16;
        a.scalars[a.n_scalars++] = small[1];
    }
    a.type_q = a.type_k = a.type_v = a.type_o = type;
    a.splits = shape->splits;
    a.flags |= shape->lengths ? CLATTN_KEY_LENGTHS : 0;
    if (f->over)
        ck_assert_int_eq(clattn_mechanism_apply(&a, f->over, NULL, 0), CLATTN_OK);
    ck_assert_msg(clattn_mechanism_apply(&a, f->name, message, sizeof message) == CLATTN_OK, "%s", message);
    struct trial t = trial_make(&a);
    for (int64_t b = 0; b < BATCH && shape->lengths; b++)
        t.key_lengths[b] = (int32_t)(const int64_t[]){a.kv_len, 41, 1}[b];
    if (f->unit) {
        set_lengths_to_one(t.q, t.q_count);
        set_lengths_to_one(t.k, t.k_count);
        round_all(t.q, t.q_count, type);
        round_all(t.k, t.k_count, type);
    }
    fill_arrays(&t, f);
    return t;
}

static void run_shape(const struct formula *f, bool cross, const struct shape *shape, int type, int engine)
{
    struct trial t = make_trial(f, cross, shape, type);
    const char *name = trial_engines[engine % trial_n_engines];
    trial_run(&t, name);
    ck_assert_int_gt(check_rows(&t, f, name), 0);
    trial_free(&t);
}

/* Pair by pair: a tile of one pair is empty or full, as the formula says. */
static void check_mask(const struct formula *f, bool cross)
{
    struct trial t = make_trial(f, cross, &whole, CLATTN_F32);
    static uint8_t classes[KEYS * KEYS];
    int64_t keys = t.a.kv_len;
    for (int64_t b = 0; b < BATCH; b++) {
        ck_assert_int_eq(
            clattn_tile_map(&t.a, (const void *const *)t.arrays, b, 1, 1, 1, classes, sizeof classes),
            CLATTN_OK);
        for (int64_t n = 0; n < KEYS * keys; n++) {
            struct place p = {b, 1, n / keys, n % keys, KEYS, keys};
            ck_assert_msg(classes[n] == (f->sees(&p) ? CLATTN_TILE_FULL : CLATTN_TILE_EMPTY),
                          "%s: batch %d, query %d, key %d is of class %d", f->name, (int)b, (int)p.q,
                          (int)p.k, classes[n]);
        }
    }
    trial_free(&t);
}

static clattn_mechanism describe(int index)
{
    clattn_mechanism m = CLATTN_MECHANISM_INIT;
    ck_assert_int_eq(clattn_mechanism_describe((size_t)index, &m), CLATTN_OK);
    return m;
}

/* How many different operators there are before number i; -1: it is one of them under another name. */
static int operators_before(int i)
{
    int count = 0;
    for (int j = 0; j < i; j++) {
        const struct formula *f = &formulas[i], *g = &formulas[j];
        if (f->sees == g->sees && f->score == g->score && f->weight == g->weight)
            return -1;
        count += operators_before(j) >= 0;
    }
    return count;
}

/* Compilers take nearly all of the time.  So each is run whole in f32, where engines take turns (engines.h);
 * with few queries, where an engine has kernels of its own, every score and weight rule and every second
 * mask, on engines and shapes in turn; and four in f16, because storage has little to do with rules. */
START_TEST(formula_of_paper)
{
    clattn_mechanism m = describe(_i);
    const struct formula *f = find_formula(m.name);
    bool cross = m.corner != CLATTN_BOTTOM_RIGHT && !f->over; /* queries of another sequence than the keys */
    int turn = operators_before(_i);
    check_mask(f, cross);
    for (int e = 0; e < trial_n_engines; e++)
        if (trial_is_turn(e, _i))
            run_shape(f, cross, &whole, CLATTN_F32, e);
    if (turn >= 0 && (f->score || f->weight || turn % 2))
        run_shape(f, cross, &few[turn % 3], CLATTN_F32, turn / 6);
    if (f->narrow)
        run_shape(f, cross, turn % 2 ? &few[turn % 3] : &whole, CLATTN_F16, turn / 6);
}
END_TEST

/* ---- the table and what writes a row ---- */
/* Abort unless a row of doc/mechanisms.md has before, text (a table writes \| for |) and after, one behind
 * another. */
static void check_cell(const char *row, const char *before, const char *text, const char *after)
{
    char cell[512];
    struct {
        const char *text;
        bool escaped;
    } parts[] = {{before, false}, {text, true}, {after, false}};
    size_t n = 0;
    for (size_t i = 0; i < LEN(parts); i++)
        for (const char *p = parts[i].text; *p && n < sizeof cell - 2; p++) {
            if (*p == '|' && parts[i].escaped)
                cell[n++] = '\\';
            cell[n++] = *p;
        }
    cell[n] = 0;
    ck_assert_msg(strstr(row, cell) != NULL, "'%s' is not in '%s'", cell, row);
}

static void check_page_row(const clattn_mechanism *m, const char *row)
{
    const char *const rules[][2] = {{"mask `", m->mask}, {"score `", m->score}, {"weight `", m->weight}};
    char start[160], arrays[128], scalar[64];
    snprintf(start, sizeof start, "| `%s` | %s | %s", m->name, m->title, m->paper);
    ck_assert_msg(!strncmp(row, start, strlen(start)), "'%s' does not begin with '%s'", row, start);
    for (size_t i = 0; i < LEN(rules); i++)
        if (rules[i][1][0])
            check_cell(row, rules[i][0], rules[i][1], "`");
    snprintf(arrays, sizeof arrays, "%s", m->arrays);
    for (char *array = strtok(arrays, " "); array; array = strtok(NULL, " "))
        check_cell(row, "`", array, "`");
    for (int i = 0; i < m->n_scalars; i++) {
        snprintf(scalar, sizeof scalar, "%s = %g", m->scalars[i].name, m->scalars[i].value);
        check_cell(row, "", scalar, "");
    }
    check_cell(row, "| ", m->note, " |");
}

/* doc/mechanisms.md has a row for every mechanism, with all that the table says of it, and no other. */
START_TEST(page_has_every_row)
{
    static char page[1 << 16];
    char path[512];
    const char *source = getenv("top_srcdir");
    snprintf(path, sizeof path, "%s/doc/mechanisms.md", source ? source : "..");
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s", path);
    page[fread(page, 1, sizeof page - 1, file)] = 0;
    fclose(file);
    size_t count = 0;
    for (char *line = page, *end = strchr(page, '\n'); end; line = end + 1, end = strchr(line, '\n')) {
        *end = 0;
        if (strncmp(line, "| `", 3))
            continue;
        ck_assert_uint_lt(count, LEN(formulas));
        clattn_mechanism m = describe((int)count++);
        check_page_row(&m, line);
    }
    ck_assert_uint_eq(count, LEN(formulas));
}
END_TEST

START_TEST(table_is_sound)
{
    clattn_mechanism m = CLATTN_MECHANISM_INIT, bad = {0};
    ck_assert_int_eq(clattn_mechanism_describe(0, NULL), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_mechanism_describe(0, &bad), CLATTN_BAD_STRUCT_SIZE);
    ck_assert_int_eq(clattn_mechanism_describe(LEN(formulas), &m), CLATTN_BAD_COUNT);
    for (size_t i = 0; i < LEN(formulas); i++) {
        char message[1024];
        m = describe((int)i);
        ck_assert_str_eq(m.name, formulas[i].name);
        ck_assert(m.title[0] && m.note[0] && strlen(m.paper) == 10 && m.size == sizeof m);
        clattn_attention a = trial_mechanism(m.name, 2, 8, 8);
        ck_assert_msg(clattn_attention_check(&a, message, sizeof message) == CLATTN_OK, "%s: %s", m.name,
                      message);
    }
}
END_TEST

START_TEST(apply_keeps_what_is_there)
{
    clattn_attention a = trial_problem(3, 5, 9), before;
    a.pattern.corner = CLATTN_TOP_LEFT;
    a.scalars[a.n_scalars++] = (clattn_scalar){"alpha", CLATTN_F32, 0, 0.125};
    a.arrays[a.n_arrays++] = (clattn_array){"kind", CLATTN_I32, 2, {1, 9}};
    ck_assert_int_eq(clattn_mechanism_apply(&a, "imbalanced", NULL, 0), CLATTN_OK);
    ck_assert_int_eq(a.pattern.corner, CLATTN_TOP_LEFT);
    ck_assert_int_eq(a.n_scalars, 2);
    ck_assert(a.scalars[0].value == 0.125 && a.scalars[1].value == 0.3 && a.n_arrays == 1 &&
              a.arrays[0].type == CLATTN_I32);
    ck_assert_int_eq(clattn_mechanism_apply(&a, "imbalanced", NULL, 0), CLATTN_OK); /* again: nothing new */
    ck_assert_int_eq(a.n_scalars, 2);
    /* the score rule stays */
    ck_assert_int_eq(clattn_mechanism_apply(&a, "sliding_window", NULL, 0), CLATTN_OK);
    ck_assert_str_eq(a.pattern.text, "causal & window(width)");
    ck_assert_ptr_nonnull(strstr(a.score.text, "alpha"));
    strcpy(a.scalars[0].name, "slope");
    before = a;
    ck_assert_int_eq(clattn_mechanism_apply(&a, "alibi", NULL, 0), CLATTN_DUPLICATE_NAME);
    ck_assert_mem_eq(&a, &before, sizeof a);
}
END_TEST

START_TEST(dimensions_of_arrays)
{
    clattn_attention a = trial_mechanism("lssa", 3, 5, 9);
    ck_assert(a.arrays[0].n_dims == 2 && a.arrays[0].dims[0] == 3 && a.arrays[0].dims[1] == 9 &&
              a.arrays[0].type == CLATTN_I32);
    a = trial_mechanism("gbc_cross", 3, 5, 9); /* queries from position 0 on */
    ck_assert(a.arrays[0].dims[1] == 5 && a.arrays[1].dims[1] == 9 && a.arrays[1].type == CLATTN_BITS);
    a = trial_mechanism("t5_encoder", 3, 5, 9);
    ck_assert(a.scale == 1 && a.arrays[0].dims[0] == 4 && a.arrays[0].dims[1] == 32 &&
              a.arrays[1].dims[0] == 257);
    ck_assert(trial_mechanism("lssa", 3, 5, 9).scale == log(16.0));
    a = trial_problem(1, 0, 0);
    ck_assert_int_eq(clattn_mechanism_apply(&a, "croc_released", NULL, 0), CLATTN_OK);
    ck_assert_int_eq(clattn_attention_check(&a, NULL, 0), CLATTN_OK);
}
END_TEST

START_TEST(apply_refuses)
{
    clattn_attention a = trial_problem(1, 8, 8), b = a;
    char message[2048] = "";
    ck_assert_int_eq(clattn_mechanism_apply(NULL, "causal", NULL, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_mechanism_apply(&a, NULL, NULL, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_mechanism_apply(&a, "attention", message, sizeof message),
                     CLATTN_UNKNOWN_MECHANISM);
    ck_assert_ptr_nonnull(strstr(message, "attention; there are full, causal, "));
    ck_assert_int_eq(clattn_mechanism_apply(&a, "attention", message, 8), CLATTN_UNKNOWN_MECHANISM);
    ck_assert_uint_lt(strlen(message), 8);
    a.dim = 1;
    ck_assert_int_eq(clattn_mechanism_apply(&a, "lssa", message, sizeof message), CLATTN_BAD_DIM);
    a = b;
    for (a.n_scalars = 0; a.n_scalars < CLATTN_MAX_SCALARS; a.n_scalars++)
        snprintf(a.scalars[a.n_scalars].name, CLATTN_NAME_SIZE, "s%d", (int)a.n_scalars);
    ck_assert_int_eq(clattn_mechanism_apply(&a, "sliding_window", NULL, 0), CLATTN_BAD_COUNT);
    a.n_scalars = CLATTN_MAX_SCALARS + 1;
    ck_assert_int_eq(clattn_mechanism_apply(&a, "causal", NULL, 0), CLATTN_BAD_COUNT);
    a = b;
    a.size--;
    ck_assert_int_eq(clattn_mechanism_apply(&a, "causal", NULL, 0), CLATTN_BAD_STRUCT_SIZE);
    a.size++;
    ck_assert_mem_eq(&a, &b, sizeof a);
}
END_TEST

START_TEST(trap_7_t5_buckets_are_thresholds)
{
    static int32_t table[2001];
    for (int bidirectional = 0; bidirectional < 2; bidirectional++) {
        ck_assert_int_eq(clattn_t5_buckets(table, 1000, bidirectional), CLATTN_OK);
        for (int r = -1000; r <= 1000; r++)
            ck_assert_msg(table[r + 1000] == t5_bucket(r, bidirectional), "distance %d is in bucket %d", r,
                          (int)table[r + 1000]);
        /* n = 128 serves for all */
        ck_assert(table[1000 - 128] == table[0] && table[1000 + 128] == table[2000]);
    }
    for (int r = -7; r <= 0; r++) { /* the nearest to the left are alike */
        int32_t both[257];
        ck_assert_int_eq(clattn_t5_buckets(both, 128, 1), CLATTN_OK);
        ck_assert_int_eq(both[128 + r], table[1000 + r]);
    }
    ck_assert_int_eq(clattn_t5_buckets(NULL, 1, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_t5_buckets(table, -1, 0), CLATTN_BAD_COUNT);
    ck_assert_int_eq(clattn_t5_buckets(table, 0, 1), CLATTN_OK);
    ck_assert_int_eq(table[0], 0);
}
END_TEST

START_TEST(alibi_slopes)
{
    float slopes[16];
    ck_assert_int_eq(clattn_alibi_slopes(slopes, 8), CLATTN_OK);
    for (int i = 0; i < 8; i++)
        ck_assert(slopes[i] == ldexpf(1, -(i + 1)));
    ck_assert_int_eq(clattn_alibi_slopes(slopes, 12), CLATTN_OK); /* those of 8, then 1, 3, 5, 7 of 16 */
    for (int i = 0; i < 8; i++)
        ck_assert(slopes[i] == ldexpf(1, -(i + 1)));
    for (int i = 0; i < 4; i++)
        ck_assert(fabs((double)slopes[8 + i] - pow(2, -0.5 * (2 * i + 1))) <= 0x1p-25);
    ck_assert_int_eq(clattn_alibi_slopes(slopes, 1), CLATTN_OK);
    ck_assert(slopes[0] == 1 / 256.0f);
    ck_assert_int_eq(clattn_alibi_slopes(slopes, 0), CLATTN_BAD_HEADS);
    ck_assert_int_eq(clattn_alibi_slopes(NULL, 1), CLATTN_NULL_ARGUMENT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mechanisms");
    TCase *table = tcase_create("table"), *papers = tcase_create("papers");
    tcase_add_test(table, table_is_sound);
    tcase_add_test(table, page_has_every_row);
    tcase_add_test(table, apply_keeps_what_is_there);
    tcase_add_test(table, dimensions_of_arrays);
    tcase_add_test(table, apply_refuses);
    tcase_add_test(table, trap_7_t5_buckets_are_thresholds);
    tcase_add_test(table, alibi_slopes);
    tcase_add_unchecked_fixture(papers, trial_set_up_native, trial_tear_down);
    tcase_add_loop_test(papers, formula_of_paper, 0, (int)LEN(formulas));
    suite_add_tcase(suite, table);
    suite_add_tcase(suite, papers);
    return run_suite(suite);
}
