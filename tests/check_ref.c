/* SPDX-License-Identifier: MIT
 * check_ref.c - the oracle itself, against results worked out by hand, C's own float and predicates written
 * in C.
 *
 * It judges everything else, so nothing here uses the library: every bit pattern of the 16-bit types,
 * rounding at every tie, every normaliser of two and three keys, and the rule interpreter: masks over all
 * pairs of a small grid, values against libm, the error that it computes against f32 arithmetic. */
#include "tests/ref.h"
#include "tests/suite.h"

#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

/* ---- storage ---- */
static const int narrow_types[] = {REF_F16, REF_BF16};

static bool is_nan_pattern(int type, uint16_t bits)
{
    return type == REF_F16 ? (bits & 0x7fff) > 0x7c00 : (bits & 0x7fff) > 0x7f80;
}

START_TEST(every_pattern_survives)
{
    int type = narrow_types[_i], finite = 0, nans = 0;
    for (uint32_t n = 0; n < 65536; n++) {
        uint16_t bits = (uint16_t)n, back;
        double x = ref_widen(type, &bits, 0);
        ref_narrow(type, x, &back, 0);
        if (is_nan_pattern(type, bits)) {
            ck_assert_msg(isnan(x) && is_nan_pattern(type, back), "%04x: not a NaN any more", n);
            nans++;
        } else {
            ck_assert_msg(back == bits, "%04x came back as %04x", n, back);
            finite++;
        }
    }
    ck_assert_int_eq(finite + nans, 65536);
    ck_assert_int_eq(nans, type == REF_F16 ? 2 * 1023 : 2 * 127);
}
END_TEST

/* Between two neighbours: below the middle goes down, above goes up, the middle to the even pattern. */
START_TEST(every_tie_goes_to_even)
{
    int type = narrow_types[_i];
    uint16_t last = type == REF_F16 ? 0x7bff : 0x7f7f, got;
    for (uint16_t bits = 0; bits < last; bits++) {
        uint16_t next = (uint16_t)(bits + 1);
        double low = ref_widen(type, &bits, 0), high = ref_widen(type, &next, 0),
               middle = low + (high - low) / 2;
        ref_narrow(type, middle, &got, 0);
        ck_assert_msg(got == (bits & 1 ? next : bits), "tie above %04x went to %04x", bits, got);
        ref_narrow(type, nextafter(middle, -INFINITY), &got, 0);
        ck_assert_msg(got == bits, "below the tie above %04x: %04x", bits, got);
        ref_narrow(type, nextafter(middle, INFINITY), &got, 0);
        ck_assert_msg(got == next, "above the tie above %04x: %04x", bits, got);
        ref_narrow(type, -nextafter(middle, INFINITY), &got, 0);
        ck_assert_msg(got == (next | 0x8000), "minus, above the tie above %04x: %04x", bits, got);
    }
}
END_TEST

START_TEST(known_patterns)
{
    static const struct {
        int type;
        double value;
        uint16_t bits;
    } known[] = {
        {REF_F16, 1.0, 0x3c00},           {REF_F16, -2.0, 0xc000},          {REF_F16, 65504.0, 0x7bff},
        {REF_F16, 65519.999, 0x7bff},     {REF_F16, 65520.0, 0x7c00},       {REF_F16, 0x1p-24, 0x0001},
        {REF_F16, 0x1p-25, 0x0000},       {REF_F16, 0x1.8p-25, 0x0001},     {REF_F16, 0x1p-14, 0x0400},
        {REF_F16, -0.0, 0x8000},          {REF_F16, 1.0 / 3.0, 0x3555},     {REF_F16, INFINITY, 0x7c00},
        {REF_BF16, 1.0, 0x3f80},          {REF_BF16, 1.0 / 3.0, 0x3eab},    {REF_BF16, -INFINITY, 0xff80},
        {REF_BF16, 0x1p-133, 0x0001},     {REF_BF16, 0x1.fep127, 0x7f7f},   {REF_BF16, 0x1.ffp127, 0x7f80},
        {REF_BF16, 1.00390625, 0x3f80},   {REF_BF16, 1.01171875, 0x3f82},   {REF_BF16, -0.0, 0x8000},
    };
    for (size_t i = 0; i < LEN(known); i++) {
        uint16_t bits;
        ref_narrow(known[i].type, known[i].value, &bits, 0);
        ck_assert_msg(bits == known[i].bits, "%a became %04x, not %04x", known[i].value, bits, known[i].bits);
    }
    ck_assert(ref_round(REF_F32, 0.1) == (double)0.1f);
    ck_assert(ref_round(REF_F16, 1e6) == INFINITY && ref_round(REF_F16, -1e6) == -INFINITY);
    float f[2] = {1.5f, 0};
    ref_narrow(REF_F32, 1.0 / 3.0, f, 1);
    ck_assert(ref_widen(REF_F32, f, 0) == 1.5 && f[1] == (float)(1.0 / 3.0));
}
END_TEST

/* ---- the operator ---- */
static struct ref_tensor dense(const float *data, int64_t heads, int64_t tokens, int64_t width)
{
    struct ref_tensor t = {data, REF_F32, 0, heads * tokens * width, tokens * width, width};
    return t;
}

static struct ref_problem small(const float *q, const float *k, const float *v, int64_t q_len, int64_t kv_len,
                                int64_t dim, int64_t dim_v)
{
    struct ref_problem p = {.batch = 1, .heads = 1, .kv_heads = 1, .q_len = q_len, .kv_len = kv_len,
                            .dim = dim, .dim_v = dim_v, .scale = 1.0};
    p.q = dense(q, 1, q_len, dim);
    p.k = dense(k, 1, kv_len, dim);
    p.v = dense(v, 1, kv_len, dim_v);
    return p;
}

static void near(double got, double expected)
{
    ck_assert_msg(fabs(got - expected) <= 4e-16 * (1 + fabs(expected)), "%.17g is not %.17g", got, expected);
}

START_TEST(two_keys_by_hand)
{
    /* scores 0 and log 3 (as f32 holds it): weights 1/4 and 3/4 up to that rounding */
    const float q[] = {1, 0}, k[] = {0, 5, 1.0986123f, -7}, v[] = {8, 4, 0, 12};
    struct ref_problem p = small(q, k, v, 1, 2, 2, 2);
    double o[2], lse, w = exp((double)1.0986123f);
    ref_row(&p, 0, 0, 0, NULL, o, &lse);
    near(o[0], 8 / (1 + w));
    near(o[1], (4 + 12 * w) / (1 + w));
    near(lse, log(1 + w));
    ck_assert(fabs(o[0] - 2) < 1e-6 && fabs(o[1] - 10) < 1e-6 && fabs(lse - log(4)) < 1e-6);
    p.scale = 0; /* every score 0: the mean */
    ref_row(&p, 0, 0, 0, NULL, o, &lse);
    near(o[0], 4);
    near(o[1], 8);
    near(lse, log(2));
}
END_TEST

START_TEST(large_scores_do_not_overflow)
{
    const float q[] = {1e4f}, k[] = {1, 1, -1}, v[] = {1, 3, 100};
    struct ref_problem p = small(q, k, v, 1, 3, 1, 1);
    double o, lse;
    ref_row(&p, 0, 0, 0, NULL, &o, &lse);
    near(o, 2);
    near(lse, 1e4 + log(2));
}
END_TEST

START_TEST(rows_that_see_nothing)
{
    const float q[] = {1, NAN}, k[] = {NAN, 2}, v[] = {3, NAN};
    struct ref_problem p = small(q, k, v, 2, 2, 1, 1);
    double o = 7, lse = 7;
    p.rules.mask = "k < 0";
    for (int64_t i = 0; i < 2; i++) {
        ref_row(&p, 0, 0, i, NULL, &o, &lse);
        ck_assert(o == 0 && lse == -INFINITY);
    }
    const int32_t none = 0;
    p.rules.mask = NULL;
    p.key_lengths = &none;
    ref_row(&p, 0, 0, 0, NULL, &o, &lse);
    ck_assert(o == 0 && lse == -INFINITY);
}
END_TEST

START_TEST(nan_and_infinity)
{
    const float q[] = {1}, v[] = {1, 2, 3};
    const float scores[][3] = {
        {NAN, -INFINITY, 0}, {-INFINITY, NAN, -INFINITY}, {NAN, -INFINITY, -INFINITY}, {0, 1, NAN}, {0, INFINITY, 1}};
    double o, lse;
    for (size_t i = 0; i < LEN(scores); i++) {
        struct ref_problem p = small(q, scores[i], v, 1, 3, 1, 1);
        ref_row(&p, 0, 0, 0, NULL, &o, &lse);
        ck_assert_msg(isnan(o) && isnan(lse), "scores %zu gave %g, lse %g", i, o, lse);
    }
    const float low[] = {-INFINITY, -INFINITY, -INFINITY}, one[] = {-INFINITY, 5, -INFINITY};
    struct ref_problem p = small(q, low, v, 1, 3, 1, 1);
    ref_row(&p, 0, 0, 0, NULL, &o, &lse);
    ck_assert(o == 0 && lse == -INFINITY);
    p = small(q, one, v, 1, 3, 1, 1);
    ref_row(&p, 0, 0, 0, NULL, &o, &lse);
    ck_assert(o == 2 && lse == 5);
    p = small(q, scores[0], v, 1, 3, 1, 1); /* hidden, they do not matter */
    p.rules.mask = "k == 2";
    ref_row(&p, 0, 0, 0, NULL, &o, &lse);
    ck_assert(o == 3 && lse == 0);
}
END_TEST

/* Two entries, four heads on two kv heads, a layout with gaps: with zero scores a row is the mean of its
 * values. */
START_TEST(heads_entries_and_strides)
{
    enum { BATCH = 2, KV = 2, KEYS = 3, TOKEN = 5, HEAD = 100, ENTRY = 1000, OFFSET = 7 };
    static float q[64], k[3000], v[3000];
    struct ref_problem p = {.batch = BATCH, .heads = 4, .kv_heads = KV, .q_len = 2, .kv_len = KEYS, .dim = 1,
                            .dim_v = 2,
                            .scale = 1.0};
    double o[2], lse;
    p.q = dense(q, 4, 2, 1);
    p.k = (struct ref_tensor){k, REF_F32, OFFSET, ENTRY, HEAD, TOKEN};
    p.v = (struct ref_tensor){v, REF_F32, OFFSET, ENTRY, HEAD, TOKEN};
    for (int b = 0; b < BATCH; b++)
        for (int g = 0; g < KV; g++)
            for (int t = 0; t < KEYS; t++)
                for (int d = 0; d < 2; d++)
                    v[OFFSET + b * ENTRY + g * HEAD + t * TOKEN + d] =
                        (float)(1000 * b + 100 * g + 10 * t + d);
    for (int b = 0; b < BATCH; b++)
        for (int h = 0; h < 4; h++) {
            ref_row(&p, b, h, 1, NULL, o, &lse);
            near(o[0], 1000 * b + 100 * (h / 2) + 10);
            near(o[1], 1000 * b + 100 * (h / 2) + 11);
            near(lse, log(3));
        }
}
END_TEST

START_TEST(packed_lengths)
{
    const float q[] = {0, 0, 0}, k[] = {0, 0, 0, 0, 0}, v[] = {1, 3, 10, 20, 60};
    const int32_t q_offsets[] = {0, 1, 1, 3}, k_offsets[] = {0, 2, 2, 5};
    struct ref_problem p = small(q, k, v, 2, 3, 1, 1);
    double o, lse;
    p.batch = 3;
    p.q_offsets = q_offsets;
    p.k_offsets = k_offsets;
    ck_assert(ref_q_len(&p, 0) == 1 && ref_q_len(&p, 1) == 0 && ref_k_len(&p, 1) == 0 &&
              ref_k_len(&p, 2) == 3);
    ref_row(&p, 0, 0, 0, NULL, &o, &lse);
    near(o, 2);
    ref_row(&p, 2, 0, 1, NULL, &o, &lse);
    near(o, 30);
    p.rules.mask = "k <= q";
    ref_row(&p, 2, 0, 0, NULL, &o, &lse);
    near(o, 10);
    p.rules.bottom_right = true; /* 2 rows on 3 keys: row 0 stands at position 1 */
    ref_row(&p, 2, 0, 0, NULL, &o, &lse);
    near(o, 15);
}
END_TEST

/* The plain computation is exact where its storage is, and wrong by its storage's rounding elsewhere. */
START_TEST(plain_row_rounds)
{
    const float q[] = {1}, k[] = {0, 0, 0}, v[] = {3, 6, 9};
    struct ref_problem p = small(q, k, v, 1, 3, 1, 1);
    double o, third = ref_round(REF_F16, 1.0 / 3.0);
    ref_plain_row(&p, REF_F16, REF_F32, 0, 0, 0, NULL, &o);
    near(o, 18 * third); /* f32 holds these products and sums exactly */
    ck_assert(o != 6);
    p.kv_len = 2;
    ref_plain_row(&p, REF_F16, REF_F16, 0, 0, 0, NULL, &o);
    ck_assert(o == 4.5);
    p.rules.mask = "k < 0";
    ref_plain_row(&p, REF_BF16, REF_BF16, 0, 0, 0, NULL, &o);
    ck_assert(o == 0);
}
END_TEST

/* ---- masks ---- */
struct world { /* what a predicate in C sees */
    int32_t q, k, b, h, g, q_len, k_len, w, n;
    const int32_t *len, *table;
};
#define RULE(name, condition)                                                                             \
    static bool name(const struct world *x)                                                               \
    {                                                                                                     \
        const int32_t q = x->q, k = x->k, b = x->b, h = x->h, g = x->g, w = x->w, n = x->n;               \
        const int32_t q_len = x->q_len, k_len = x->k_len;                                                 \
        const int32_t *len = x->len, *table = x->table;                                                   \
        (void)q, (void)k, (void)b, (void)h, (void)g, (void)q_len, (void)k_len, (void)w, (void)n;          \
        (void)len, (void)table;                                                                           \
        return condition;                                                                                 \
    }
RULE(rule_causal, k <= q)
RULE(rule_window, k <= q && q - k < w)
RULE(rule_prefix, k < len[b] || k <= q)
RULE(rule_and_before_or, k == 1 || (k == 2 && q == 2))
RULE(rule_parentheses, (k == 1 || k == 2) && q == 2)
RULE(rule_not, !(k <= q) || !(q != 3))
RULE(rule_not_not, !!(k > q))
RULE(rule_minus, q - k - 1 >= -2)
RULE(rule_minus_of_minus, k - -q > 4)
RULE(rule_product, 2 * k + 1 < 3 * q - k * q)
RULE(rule_min_max, (k < q ? k : q) == 2 || (k > n ? k : n) <= 5)
RULE(rule_indices, k + b * 2 < q + h - g && q_len > k_len - 4)
RULE(rule_computed_index, table[b + 1] > k)
RULE(rule_number_in_brackets, (k + 1) * 2 <= (q + 3))
RULE(rule_wrapping, (int32_t)((uint32_t)k * 1000000000u * 3u) < 0)
RULE(rule_wrapping_minus, (int32_t)(0u - (2147483648u + (uint32_t)k - 1u)) < 0)
RULE(rule_never, k < 0)

static const struct rule {
    const char *text;
    bool (*holds)(const struct world *);
} masks[] = {
    {"k <= q", rule_causal},
    {"k<=q&q-k<w", rule_window},
    {"k < len[b] | k <= q", rule_prefix},
    {"k == 1 | k == 2 & q == 2", rule_and_before_or},
    {"(k == 1 | k == 2) & q == 2", rule_parentheses},
    {"!(k <= q) | !q != 3", rule_not}, /* '!' takes the whole comparison after it */
    {"!!(k > q)", rule_not_not},
    {"q - k - 1 >= -2", rule_minus},
    {"k - -q > 4", rule_minus_of_minus},
    {"2*k+1 < 3*q - k*q", rule_product},
    {"min(k, q) == 2 | max(k,n) <= 5", rule_min_max},
    {"k + b*2 < q + h - g & q_len > k_len - 4", rule_indices},
    {"table[b + 1] > k", rule_computed_index},
    {"\t(k + 1) * 2 <= ((q + 3)) ", rule_number_in_brackets},
    {"k * 1000000000 * 3 < 0", rule_wrapping},
    {"-(2147483647 + k) < 0", rule_wrapping_minus},
    {"k < 0", rule_never},
};

START_TEST(masks_mean_what_they_say)
{
    static const int32_t len[] = {0, 3, 7}, table[] = {9, 0, 2, 5};
    const struct rule *rule = &masks[_i];
    struct ref_rules mask = {
        .mask = rule->text, .n_scalars = 2, .scalars = {{"w", REF_I32, 3}, {"n", REF_I32, 4}}, .n_arrays = 2,
        .arrays = {{"len", REF_I32, 1, {LEN(len)}, len}, {"table", REF_I32, 1, {LEN(table)}, table}}};
    int shown = 0, hidden = 0;
    for (int32_t b = 0; b < 3; b++)
        for (int32_t q = -4; q < 9; q++)
            for (int32_t k = 0; k < 9; k++) {
                struct world x = {q, k, b, 3 - b, b / 2, 9 - b, 8 + b, 3, 4, len, table};
                struct ref_point at = {q, k, b, x.h, x.g, x.q_len, x.k_len};
                bool expected = rule->holds(&x);
                ck_assert_msg(ref_visible(&mask, &at) == expected, "'%s' at q=%d k=%d b=%d is not %d",
                              rule->text, q, k, b, expected);
                shown += expected;
                hidden += !expected;
            }
    ck_assert_msg(hidden > 0 && (shown > 0 || rule->holds == rule_never), "'%s' tests nothing", rule->text);
}
END_TEST

START_TEST(no_mask_shows_all)
{
    struct ref_rules mask = {.mask = NULL};
    struct ref_point at = {-5, 3, 0, 0, 0, 1, 4};
    ck_assert(ref_visible(&mask, &at));
    mask.mask = "";
    ck_assert(ref_visible(&mask, &at));
}
END_TEST

/* ---- values of rules ---- */
static const float f32_array[] = {0.5f, -1.25f, 3};
static const uint16_t f16_array[] = {0x3c00, 0xc000, 0x3555, 0x7bff}; /* 1, -2, 0.333251953125, 65504 */
static const uint16_t bf16_array[] = {0x3f80, 0x3eab};                /* 1, 0.333984375 */
static const int8_t i8_array[] = {-128, 7, 127, 0, -1, 5};
static const int32_t i32_array[] = {INT32_MIN, -1, 0, INT32_MAX, 1000, 2, 3, 4};
static const uint32_t bits[] = {0x80000001, 0x00000005, 0, 2}; /* 2 rows of 35 */

static const struct ref_rules names = {
    .n_scalars = 3,
    .scalars = {{"n", REF_I32, -7}, {"cap", REF_F32, 0.1}, {"half", REF_F32, 0.5}},
    .n_arrays = 6,
    .arrays = {{"f", REF_F32, 1, {3}, f32_array},
               {"hf", REF_F16, 2, {2, 2}, f16_array},
               {"bf", REF_BF16, 3, {1, 2, 1}, bf16_array},
               {"c", REF_I8, 2, {2, 3}, i8_array},
               {"i", REF_I32, 4, {2, 1, 2, 2}, i32_array},
               {"bit", REF_BITS, 2, {2, 35}, bits}}};
static const struct ref_point somewhere = {5, 3, 1, 2, 0, 9, 11};

static double value_of(const char *text, double score)
{
    struct ref_rules rules = names;
    rules.score = text;
    return ref_score(&rules, &somewhere, score);
}

#define SCORE 1.25 /* in all rows below */
static const struct {
    const char *text;
    double value;
} values[] = {
    /* numbers and types */
    {"7", 7}, {"1.5", 1.5}, {"2e-3", (double)2e-3f}, {"1E+2", 100}, {"0.1", (double)0.1f}, {"cap", (double)0.1f},
    {"-2147483648", -2147483648.0}, {"2147483647 + 1", -2147483648.0}, {"2147483647 + 1.0", 2147483648.0},
    {"16777217 + 0.0", 16777217}, {"n", -7}, {"7 / 2", 3.5}, {"3 * half", 1.5}, {"-score", -SCORE}, {"- -3", 3},
    {"abs(-2147483647 - 1)", -2147483648.0}, {"-(-2147483647 - 1)", -2147483648.0},
    /* precedence and grouping */
    {"2 + 3 * 4", 14}, {"(2 + 3) * 4", 20}, {"10 - 4 - 3", 3}, {"100 // 7 // 2", 7}, {"100 // (7 // 2)", 33},
    {"7 % 4 * 2", 6}, {"2 * 7 % 4", 2}, {"8 / 2 / 2", 2}, {"-7 // 2", -4}, {"-(7 // 2)", -3}, {"2 - -3 * 2", 8},
    {"true ? 1 : false ? 2 : 3", 1}, {"false ? 1 : false ? 2 : 3", 3}, {"true ? false ? 1 : 2 : 3", 2},
    {"1 < 2 & 3 < 2 | true ? 1 : 2", 1}, {"true | true ^ true ? 1 : 2", 1}, {"true ^ true & false ? 1 : 2", 1},
    {"(true ^ true) | false ? 1 : 2", 2}, {"!false & false ? 1 : 2", 2}, {"!1 < 2 ? 1 : 2", 2},
    {"!true ^ true ? 1 : 2", 1},
    {"true?1:2", 1}, {"1 + 1 == 2 ? 1.5 : 2", 1.5}, {"false ? 1.5 : 2", 2}, {"(true ? k < q : k > q) ? 4 : 5", 4},
    {"1 != 1.5 ? 1 : 2", 1}, {"3 >= 3.0 ? 1 : 2", 1}, {"q>k?1:2", 1}, {"!!true ? 1 : 2", 1},
    /* indices, elements: clamped, computed, of every type */
    {"q * 1000 + k * 100 + b * 10 + h", 5312}, {"g + q_len + k_len", 20}, {"score", SCORE},
    {"f[0]", 0.5}, {"f[1]", -1.25}, {"f[-5]", 0.5}, {"f[99]", 3}, {"f[k - 1]", 3}, {"f[c[0, 1] - 6] * 2", -2.5},
    {"hf[0, 0]", 1}, {"hf[0, 1]", -2}, {"hf[1, 0]", 0.333251953125}, {"hf[9, 9]", 65504}, {"hf[-1, 9]", -2},
    {"bf[7, 1, 7]", 0.333984375}, {"bf[0, 0, 0]", 1}, {"c[0, 0]", -128}, {"c[0, 2]", 127}, {"c[1, 1]", -1},
    {"c[5, 5]", 5},
    {"i[0, 0, 0, 0]", -2147483648.0}, {"i[0, 3, 1, 1]", 2147483647}, {"i[1, 0, 0, 1]", 2}, {"i[1, 0, 1, 0]", 3},
    {"i[0, 0, 1, 1] + 1", -2147483648.0}, {"bit[0, 0] ? 1 : 0", 1}, {"bit[0, 1] ? 1 : 0", 0}, {"bit[0, 31] ? 1 : 0", 1},
    {"bit[0, 32] ? 1 : 0", 1}, {"bit[0, 33] ? 1 : 0", 0}, {"bit[0, 34] ? 1 : 0", 1}, {"bit[0, 99] ? 1 : 0", 1},
    {"bit[1, 0] ? 1 : 0", 0}, {"bit[1, 33] ? 1 : 0", 1}, {"bit[7, 33] & !bit[1, 32] ? 1 : 0", 1},
    /* functions of whole numbers and of both */
    {"min(3, -4)", -4}, {"max(3, -4)", 3}, {"min(3, 2.5)", 2.5}, {"max(score, 1)", SCORE}, {"abs(-3)", 3},
    {"abs(-score)", SCORE},
    {"relu(-3)", 0}, {"relu(4)", 4}, {"relu(-score)", 0}, {"relu(score)", SCORE}, {"floor(score)", 1},
    {"floor(-score)", -2},
    {"floor(7)", 7}, {"floor(3e9)", 2147483647}, {"floor(-3e9)", -2147483648.0}, {"floor(log(-1.0))", 0},
    {"floor(exp(1000))", 2147483647}, {"floor(2.5) // 2", 1}, {"7 // 2 / 2", 1.5},
};

START_TEST(values_by_hand)
{
    double got = value_of(values[_i].text, SCORE);
    ck_assert_msg(got == values[_i].value, "'%s' is %.17g, not %.17g", values[_i].text, got,
                  values[_i].value);
}
END_TEST

START_TEST(division_and_remainder)
{
    static const int64_t table[][4] = {/* a, b, a // b, a % b */
                                       {7, 2, 3, 1},   {-7, 2, -4, 1},   {7, -2, -4, -1}, {-7, -2, 3, -1}, {6, 3, 2, 0},
                                       {-6, 3, -2, 0}, {6, -3, -2, 0},   {0, 5, 0, 0},    {0, -5, 0, 0},   {5, 0, 0, 0},
                                       {-5, 0, 0, 0},  {INT32_MIN, -1, INT32_MIN, 0},     {INT32_MIN, 1, INT32_MIN, 0},
                                       {INT32_MIN, 2, -1073741824, 0},   {INT32_MIN, INT32_MIN, 1, 0},
                                       {INT32_MAX, INT32_MIN, -1, -1},   {1, INT32_MAX, 0, 1},
                                       {-1, INT32_MAX, -1, INT32_MAX - 1}};
    struct ref_rules rules = {.n_scalars = 2, .scalars = {{"x", REF_I32, 0}, {"y", REF_I32, 0}}};
    for (size_t i = 0; i < LEN(table); i++) {
        rules.scalars[0].value = (double)table[i][0];
        rules.scalars[1].value = (double)table[i][1];
        rules.score = "x // y";
        double down = ref_score(&rules, &somewhere, 0);
        rules.score = "x % y";
        double rest = ref_score(&rules, &somewhere, 0);
        ck_assert_msg(down == (double)table[i][2] && rest == (double)table[i][3],
                      "%lld by %lld gave %g, rest %g", (long long)table[i][0], (long long)table[i][1], down,
                      rest);
    }
}
END_TEST

/* Against other formulas of libm where there are some. */
START_TEST(functions_of_real_numbers)
{
    static const double points[] = {-30, -2.5, -1, -0.125, 0, 0.1, 0.75, 1, 3.5, 30};
    for (size_t i = 0; i < LEN(points); i++) {
        double x = points[i];
        near(value_of("exp(score)", x), exp(x));
        near(value_of("exp2(score)", x), pow(2, x));
        near(value_of("tanh(score)", x), (exp(2 * x) - 1) / (exp(2 * x) + 1));
        near(value_of("sigmoid(score)", x), (1 + tanh(x / 2)) / 2);
        near(value_of("softplus(score)", x), log(1 + exp(x)));
        near(value_of("log(exp(score))", x), x);
        near(value_of("log2(exp2(score))", x), x);
        near(value_of("sqrt(abs(score))", x), pow(fabs(x), 0.5));
        near(value_of("score / 3", x), x / 3);
        near(value_of("30 * tanh(score / 30)", x), 30 * tanh(x / 30));
    }
    ck_assert(value_of("softplus(score)", -50) == exp(-50) && value_of("softplus(score)", 900) == 900);
    ck_assert(value_of("sigmoid(score)", -800) == 0 && value_of("sigmoid(score)", 800) == 1);
    ck_assert(value_of("log(score)", 0) == -INFINITY && isnan(value_of("sqrt(score)", -1)) &&
              isnan(value_of("log2(score)", -1)));
}
END_TEST

START_TEST(not_a_number_goes_through)
{
    static const char *const texts[] = {"score", "-score", "score + 1", "min(score, 2)", "min(2, score)",
                                        "max(score, 2)",
                                        "max(2, score)", "abs(score)", "relu(score)", "exp(score)",
                                        "softplus(score)", "sigmoid(score)", "tanh(score)",
                                        "score < 1 ? 1 : score", "0 * score"};
    for (size_t i = 0; i < LEN(texts); i++)
        ck_assert_msg(isnan(value_of(texts[i], NAN)), "'%s'", texts[i]);
    ck_assert(value_of("score != score ? 1 : 0", NAN) == 1 && value_of("!(score >= 0) ? 1 : 0", NAN) == 1);
    ck_assert(value_of("floor(score)", NAN) == 0);
}
END_TEST

/* ---- errors ---- */
static struct ref_number bounded(const char *text, double score, double error)
{
    struct ref_rules rules = names;
    rules.score = text;
    return ref_score_bounded(&rules, &somewhere, (struct ref_number){score, error});
}

START_TEST(errors_by_hand)
{
    const double u = 0x1p-24, e = 1e-4;
    ck_assert(bounded("", 3, e).error == e && bounded("score", 3, e).error == e &&
              bounded("-score", 3, 0).error == 0);
    near(bounded("score + 1", 3, e).error / e, (e + 4 * u + 0x1p-126) / e);
    near(bounded("2 * score", 3, e).error / e, (2 * e + 6 * u) / e);
    near(bounded("score * score", 3, e).error / e, (6 * e + e * e + 9 * u) / e);
    near(bounded("score / 4", 3, e).error / e, (e / 4 + 6 * 0.75 * u) / e);
    near(bounded("exp(score)", 3, e).error / e, (exp(3 + e + 6 * u) - exp(3) + 6 * u * exp(3)) / e);
    ck_assert(bounded("relu(score)", -3, e).error == e && bounded("max(score, 1)", 3, e).error == e);
    ck_assert(bounded("k - q", 3, e).error == 0 && bounded("16777217 + 0 * q", 3, e).error > 0);
    /* what rounding decides */
    ck_assert(bounded("floor(score)", 3.5, e).error == 0 && bounded("floor(score)", 3, e).error == INFINITY);
    ck_assert(bounded("score > 3 ? 2.0 : 1.0", 3, e).error == 1 &&
              bounded("score > 3 ? 2.0 : 1.0", 2, e).error == 0);
    ck_assert(bounded("score > 3 ? 1.5 : 1.5", 3, e).error == 0 &&
              bounded("f[floor(score)]", 1, e).error == INFINITY);
    ck_assert(bounded("log(score)", 0, e).error == INFINITY && bounded("1 / score", 0, e).error == INFINITY);
    ck_assert(bounded("sqrt(score)", -1, 0).error == 0 && bounded("float(k)", 3, 0).error == 0);
    /* rounding to nearest of what needs none */
    ck_assert(bounded("score + 1", 3, 0).error == 0 && bounded("score * score", 0x1.000002p0, 0).error > 0);
    ck_assert(bounded("score / 4", 3, 0).error > 0 && bounded("score * 0.5", 0x1p-126, 0).error > 0);
}
END_TEST

/* On a device with subnormals. */
static struct ref_number on_device(const char *text, double score, double error)
{
    struct ref_rules rules = names;
    rules.overflow = rules.subnormals = true;
    rules.score = text;
    return ref_score_bounded(&rules, &somewhere, (struct ref_number){score, error});
}

static bool is(struct ref_number x, double value)
{
    return x.error == 0 && (x.value == value || (isnan(x.value) && isnan(value)));
}

/* The ends of f32 in double, where an overflow leaves nothing known, and on a device, where it is an
 * infinity. */
START_TEST(errors_at_the_ends)
{
    const double e = 1e-4, u = 0x1p-24, tiny = 0x1p-126, large = 0x1.fffffep127;
    ck_assert(bounded("score * 1e30", 1e10, 0).error == INFINITY &&
              bounded("log(score * 1e30)", 1e10, 0).error == INFINITY);
    ck_assert(is(on_device("score * 1e30", 1e10, 1), INFINITY) &&
              is(on_device("min(score * -1e38, 5)", 10, 1), -INFINITY));
    ck_assert(is(on_device("exp(score) > 1e38 ? 1 : 2", 100, e), 1) &&
              on_device("3 / exp(score)", 100, e).error <= tiny);
    ck_assert(on_device("score", large, 1e30).error == INFINITY &&
              on_device("score * 2", large / 1.99999999, 0).error == INFINITY);
    ck_assert(is(on_device("score * exp(1000)", e, e / 2), INFINITY) &&
              on_device("score * exp(1000)", e, e).error == INFINITY);
    ck_assert(is(on_device("score * exp(1000)", 0, 0), NAN) &&
              is(on_device("score + exp(1000)", -INFINITY, 0), NAN));
    ck_assert(is(on_device("sqrt(score)", -1, e), NAN) && on_device("sqrt(score)", 0, e).error == INFINITY);
    /* nothing known stays so in what is bounded */
    ck_assert(bounded("tanh(score)", 0, INFINITY).error == INFINITY &&
              bounded("score > 1 ? 1 : 2", NAN, INFINITY).error > 0);
    /* quotients */
    ck_assert(is(bounded("score / 0", 3, 0), INFINITY) && is(bounded("score / 0", -3, e), -INFINITY));
    ck_assert(is(bounded("score / 0", 0, 0), NAN) && bounded("score / 0", 0, e).error == INFINITY);
    ck_assert(bounded("3 / score", e, e).error == INFINITY &&
              bounded("3 / score", 1e-42, 0).error == INFINITY);
    ck_assert(is(bounded("score / 3", INFINITY, 0), INFINITY) &&
              bounded("score / 1e38", INFINITY, 0).error == INFINITY);
    near(bounded("score / 1e38", 3, 0).error / tiny, 3 + 1 + 18 * u / (double)1e38f / tiny);
    /* operands that may be flushed */
    ck_assert(bounded("-score", 0x1p-140, 0).error == 0x1p-140);
    ck_assert(is(on_device("-score", 0x1p-140, 0), -0x1p-140));
}
END_TEST

/* f32 arithmetic itself, over many scores that are off, stays inside, and the bound is not a hundred times
 * too wide. */
START_TEST(errors_hold)
{
    double largest = 0;
    for (int n = 0; n < 4000; n++) {
        double score = (n - 2000) * 0.0151, off = (n % 7 - 3) * 1e-7;
        float s = (float)(score + off), third = s / 30, got = 30 * (float)tanh((double)third);
        got = got * 0.7f + 0.125f;
        struct ref_number want =
            bounded("30 * tanh(score / 30) * 0.7 + 0.125", score, fabs(off) + 0x1p-24 * fabs(score));
        double error = fabs((double)got - want.value);
        ck_assert_msg(error <= want.error, "at %g: off by %g, bound %g", score, error, want.error);
        largest = fmax(largest, error / want.error);
    }
    ck_assert_msg(largest > 0.05, "the bound is %g times too wide", 1 / largest);
}
END_TEST

/* ---- normalisers ---- */
START_TEST(normalisers_by_hand)
{
    const float q[] = {1}, k[] = {-1, 2, 4, 9}, v[] = {8, 16, 32, 1000};
    struct ref_problem p = small(q, k, v, 1, 4, 1, 1);
    double o, lse;
    p.rules.mask = "k < 3";
    p.rules.score = "score / 2";
    p.rules.weight = "relu(score)"; /* 0, 1, 2 */
    p.rules.normaliser = REF_L1;
    ref_row(&p, 0, 0, 0, NULL, &o, &lse);
    near(o, 80.0 / 3);
    near(lse, log(3));
    p.rules.normaliser = REF_COUNT;
    ref_row(&p, 0, 0, 0, NULL, &o, &lse);
    near(o, 80.0 / 3); /* three keys */
    p.rules.mask = "k < 2 | k == 3";
    ref_row(&p, 0, 0, 0, NULL, &o, &lse);
    near(o, (16 + 4.5 * 1000) / 3);
    near(lse, log(3));
    p.rules.normaliser = REF_NO_NORMALISER;
    ref_row(&p, 0, 0, 0, NULL, &o, &lse);
    near(o, 16 + 4.5 * 1000);
    ck_assert(lse == 0);
    p.rules.normaliser = REF_SOFTMAX; /* has no weight rule */
    p.rules.mask = "k < 2";
    ref_row(&p, 0, 0, 0, NULL, &o, &lse);
    near(o, (8 * exp(-0.5) + 16 * exp(1)) / (exp(-0.5) + exp(1)));
    near(lse, log(exp(-0.5) + exp(1)));
    p.rules.normaliser = REF_L1;
    p.rules.weight = "exp(score)"; /* the same */
    ref_row(&p, 0, 0, 0, NULL, &o, &lse);
    near(o, (8 * exp(-0.5) + 16 * exp(1)) / (exp(-0.5) + exp(1)));
    near(lse, log(exp(-0.5) + exp(1)));
}
END_TEST

START_TEST(normalisers_of_nothing)
{
    const float q[] = {1}, k[] = {-1, -2, NAN}, v[] = {8, 16, NAN};
    struct ref_problem p = small(q, k, v, 1, 3, 1, 1);
    static const double all_zero[] = {-INFINITY, -INFINITY, 0.69314718055994530942, 0};
    double o, lse;
    for (int normaliser = REF_SOFTMAX; normaliser <= REF_NO_NORMALISER; normaliser++) {
        p.rules = (struct ref_rules){.mask = "false", .weight = "relu(score)", .normaliser = normaliser};
        ref_row(&p, 0, 0, 0, NULL, &o, &lse);
        ck_assert(o == 0 && lse == -INFINITY);
        p.rules.mask = "k < 2"; /* weights that are all 0 */
        p.rules.score = normaliser == REF_SOFTMAX ? "log(0 * score)" : "";
        ref_row(&p, 0, 0, 0, NULL, &o, &lse);
        ck_assert_msg(o == 0 && (lse == all_zero[normaliser] || fabs(lse - all_zero[normaliser]) < 1e-15),
                      "normaliser %d: %g, lse %g", normaliser, o, lse);
        p.rules.mask = ""; /* a NaN that is seen */
        p.rules.score = "";
        ref_row(&p, 0, 0, 0, NULL, &o, &lse);
        ck_assert(isnan(o));
    }
}
END_TEST

/* What an unfused pipeline stores is rounded where it is stored: raw score, edited score, divided weight. */
START_TEST(plain_row_of_rules)
{
    const float q[] = {1}, k[] = {0.3f, 0.7f}, v[] = {1, 2};
    struct ref_problem p = small(q, k, v, 1, 2, 1, 1);
    double o, w[2];
    p.rules.score = "score * 1.1";
    p.rules.weight = "softplus(score)";
    p.rules.normaliser = REF_L1;
    for (int i = 0; i < 2; i++) {
        double s = ref_round(REF_BF16, ref_round(REF_BF16, k[i]) * (double)1.1f);
        w[i] = log1p(exp(s));
    }
    ref_plain_row(&p, REF_BF16, REF_F32, 0, 0, 0, NULL, &o);
    near(o, ref_round(REF_BF16, w[0] / (w[0] + w[1])) + 2 * ref_round(REF_BF16, w[1] / (w[0] + w[1])));
}
END_TEST

START_TEST(pairs_are_shared)
{
    const float q[] = {2}, k[] = {1, -3, 5}, v[] = {1, 2, 3};
    struct ref_problem p = small(q, k, v, 1, 3, 1, 1);
    struct ref_pair pairs[3];
    double o[2], lse[2];
    p.scale = -0.5;
    p.rules.mask = "k != 1";
    ref_pairs(&p, 0, 0, 0, pairs);
    ck_assert(pairs[0].seen && !pairs[1].seen && pairs[2].seen && pairs[0].raw == -1 && pairs[2].raw == -5 &&
              pairs[2].size == 5);
    ref_row(&p, 0, 0, 0, NULL, &o[0], &lse[0]);
    ref_row(&p, 0, 0, 0, pairs, &o[1], &lse[1]);
    ck_assert(o[0] == o[1] && lse[0] == lse[1]);
}
END_TEST

/* Texts that the reference must refuse to guess at. */
START_TEST(unreadable_texts_abort)
{
    static const char *const texts[] = {"score +", "1 < 2 < 3 ? 1 : 2", "causal ? 1 : 2", "k <= q", "1 + true",
                                        "1 & 2 ? 1 : 2",
                                        "1 ? 2 : 3", ".5", "1.5e", "2x", "1 % 2.0", "1.0 // 2", "f[score]",
                                        "f[0, 0]", "hf[0]", "(1", "1)", "min(1)", "exp(1, 2)",
                                        "1 < !true ? 1 : 2", "true ? 1", "3000000000", "!(1) ? 1 : 2",
                                        "-true", "true == true ? 1 : 2", "1 = 1 ? 1 : 2",
                                        "true && true ? 1 : 2", "nothing", "true ? 1 : false", "abs(true)"};
    for (size_t i = 0; i < LEN(texts); i++) {
        pid_t child = fork();
        int status = 0;
        if (child == 0) {
            if (!freopen("/dev/null", "w", stderr))
                _exit(1);
            value_of(texts[i], 1);
            _exit(0);
        }
        ck_assert(waitpid(child, &status, 0) == child);
        ck_assert_msg(WIFSIGNALED(status), "'%s' was read", texts[i]);
    }
}
END_TEST

static TCase *rule_case(void)
{
    TCase *rule = tcase_create("rules");
    tcase_add_loop_test(rule, masks_mean_what_they_say, 0, (int)LEN(masks));
    tcase_add_test(rule, no_mask_shows_all);
    tcase_add_loop_test(rule, values_by_hand, 0, (int)LEN(values));
    tcase_add_test(rule, division_and_remainder);
    tcase_add_test(rule, functions_of_real_numbers);
    tcase_add_test(rule, not_a_number_goes_through);
    tcase_add_test(rule, errors_by_hand);
    tcase_add_test(rule, errors_at_the_ends);
    tcase_add_test(rule, errors_hold);
    tcase_add_test(rule, unreadable_texts_abort);
    return rule;
}

static TCase *operator_case(void)
{
    TCase *operator = tcase_create("operator");
    tcase_add_test(operator, two_keys_by_hand);
    tcase_add_test(operator, large_scores_do_not_overflow);
    tcase_add_test(operator, rows_that_see_nothing);
    tcase_add_test(operator, nan_and_infinity);
    tcase_add_test(operator, heads_entries_and_strides);
    tcase_add_test(operator, packed_lengths);
    tcase_add_test(operator, plain_row_rounds);
    tcase_add_test(operator, normalisers_by_hand);
    tcase_add_test(operator, normalisers_of_nothing);
    tcase_add_test(operator, plain_row_of_rules);
    tcase_add_test(operator, pairs_are_shared);
    return operator;
}

int main(void)
{
    Suite *suite = suite_create("ref");
    TCase *storage = tcase_create("storage");
    tcase_add_loop_test(storage, every_pattern_survives, 0, (int)LEN(narrow_types));
    tcase_add_loop_test(storage, every_tie_goes_to_even, 0, (int)LEN(narrow_types));
    tcase_add_test(storage, known_patterns);
    suite_add_tcase(suite, storage);
    suite_add_tcase(suite, operator_case());
    suite_add_tcase(suite, rule_case());
    return run_suite(suite);
}
