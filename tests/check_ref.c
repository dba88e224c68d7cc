/* SPDX-License-Identifier: MIT
 * check_ref.c - the oracle itself, against results worked out by hand, C's own float and predicates written in C.
 *
 * It judges everything else, so nothing here uses the library: every bit pattern of the 16-bit types, rounding at every tie,
 * softmax of two and three keys, and the mask interpreter over all pairs of a small grid. */
#include "tests/ref.h"

#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        double low = ref_widen(type, &bits, 0), high = ref_widen(type, &next, 0), middle = low + (high - low) / 2;
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

static struct ref_problem small(const float *q, const float *k, const float *v, int64_t q_len, int64_t kv_len, int64_t dim,
                                int64_t dim_v)
{
    struct ref_problem p = {.batch = 1, .heads = 1, .kv_heads = 1, .q_len = q_len, .kv_len = kv_len, .dim = dim,
                            .dim_v = dim_v, .scale = 1.0};
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
    ref_row(&p, 0, 0, 0, o, &lse);
    near(o[0], 8 / (1 + w));
    near(o[1], (4 + 12 * w) / (1 + w));
    near(lse, log(1 + w));
    ck_assert(fabs(o[0] - 2) < 1e-6 && fabs(o[1] - 10) < 1e-6 && fabs(lse - log(4)) < 1e-6);
    p.scale = 0; /* every score 0: the mean */
    ref_row(&p, 0, 0, 0, o, &lse);
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
    ref_row(&p, 0, 0, 0, &o, &lse);
    near(o, 2);
    near(lse, 1e4 + log(2));
}
END_TEST

START_TEST(rows_that_see_nothing)
{
    const float q[] = {1, NAN}, k[] = {NAN, 2}, v[] = {3, NAN};
    struct ref_problem p = small(q, k, v, 2, 2, 1, 1);
    double o = 7, lse = 7;
    p.mask.text = "k < 0";
    for (int64_t i = 0; i < 2; i++) {
        ref_row(&p, 0, 0, i, &o, &lse);
        ck_assert(o == 0 && lse == -INFINITY);
    }
    const int32_t none = 0;
    p.mask.text = NULL;
    p.key_lengths = &none;
    ref_row(&p, 0, 0, 0, &o, &lse);
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
        ref_row(&p, 0, 0, 0, &o, &lse);
        ck_assert_msg(isnan(o) && isnan(lse), "scores %zu gave %g, lse %g", i, o, lse);
    }
    const float low[] = {-INFINITY, -INFINITY, -INFINITY}, one[] = {-INFINITY, 5, -INFINITY};
    struct ref_problem p = small(q, low, v, 1, 3, 1, 1);
    ref_row(&p, 0, 0, 0, &o, &lse);
    ck_assert(o == 0 && lse == -INFINITY);
    p = small(q, one, v, 1, 3, 1, 1);
    ref_row(&p, 0, 0, 0, &o, &lse);
    ck_assert(o == 2 && lse == 5);
    p = small(q, scores[0], v, 1, 3, 1, 1); /* hidden, they do not matter */
    p.mask.text = "k == 2";
    ref_row(&p, 0, 0, 0, &o, &lse);
    ck_assert(o == 3 && lse == 0);
}
END_TEST

/* Two entries, four heads on two kv heads, in a layout with gaps: with zero scores every row is the mean of its values. */
START_TEST(heads_entries_and_strides)
{
    enum { BATCH = 2, KV = 2, KEYS = 3, TOKEN = 5, HEAD = 100, ENTRY = 1000, OFFSET = 7 };
    static float q[64], k[3000], v[3000];
    struct ref_problem p = {.batch = BATCH, .heads = 4, .kv_heads = KV, .q_len = 2, .kv_len = KEYS, .dim = 1, .dim_v = 2,
                            .scale = 1.0};
    double o[2], lse;
    p.q = dense(q, 4, 2, 1);
    p.k = (struct ref_tensor){k, REF_F32, OFFSET, ENTRY, HEAD, TOKEN};
    p.v = (struct ref_tensor){v, REF_F32, OFFSET, ENTRY, HEAD, TOKEN};
    for (int b = 0; b < BATCH; b++)
        for (int g = 0; g < KV; g++)
            for (int t = 0; t < KEYS; t++)
                for (int d = 0; d < 2; d++)
                    v[OFFSET + b * ENTRY + g * HEAD + t * TOKEN + d] = (float)(1000 * b + 100 * g + 10 * t + d);
    for (int b = 0; b < BATCH; b++)
        for (int h = 0; h < 4; h++) {
            ref_row(&p, b, h, 1, o, &lse);
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
    ck_assert(ref_q_len(&p, 0) == 1 && ref_q_len(&p, 1) == 0 && ref_k_len(&p, 1) == 0 && ref_k_len(&p, 2) == 3);
    ref_row(&p, 0, 0, 0, &o, &lse);
    near(o, 2);
    ref_row(&p, 2, 0, 1, &o, &lse);
    near(o, 30);
    p.mask.text = "k <= q";
    ref_row(&p, 2, 0, 0, &o, &lse);
    near(o, 10);
    p.mask.bottom_right = true; /* 2 rows on 3 keys: row 0 stands at position 1 */
    ref_row(&p, 2, 0, 0, &o, &lse);
    near(o, 15);
}
END_TEST

/* The plain computation is exact where its storage is, and wrong by its storage's rounding elsewhere. */
START_TEST(plain_row_rounds)
{
    const float q[] = {1}, k[] = {0, 0, 0}, v[] = {3, 6, 9};
    struct ref_problem p = small(q, k, v, 1, 3, 1, 1);
    double o, third = ref_round(REF_F16, 1.0 / 3.0);
    ref_plain_row(&p, REF_F16, REF_F32, 0, 0, 0, &o);
    near(o, 18 * third); /* f32 holds these products and sums exactly */
    ck_assert(o != 6);
    p.kv_len = 2;
    ref_plain_row(&p, REF_F16, REF_F16, 0, 0, 0, &o);
    ck_assert(o == 4.5);
    p.mask.text = "k < 0";
    ref_plain_row(&p, REF_BF16, REF_BF16, 0, 0, 0, &o);
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
        const int32_t q = x->q, k = x->k, b = x->b, h = x->h, g = x->g, q_len = x->q_len, k_len = x->k_len, w = x->w, n = x->n; \
        const int32_t *len = x->len, *table = x->table;                                                   \
        (void)q, (void)k, (void)b, (void)h, (void)g, (void)q_len, (void)k_len, (void)w, (void)n, (void)len, (void)table; \
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
} rules[] = {
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
    const struct rule *rule = &rules[_i];
    struct ref_mask mask = {.text = rule->text, .n_scalars = 2, .n_arrays = 2, .scalar_names = {"w", "n"},
                            .scalar_values = {3, 4}, .array_names = {"len", "table"}, .arrays = {len, table}};
    int shown = 0, hidden = 0;
    for (int32_t b = 0; b < 3; b++)
        for (int32_t q = -4; q < 9; q++)
            for (int32_t k = 0; k < 9; k++) {
                struct world x = {q, k, b, 3 - b, b / 2, 9 - b, 8 + b, 3, 4, len, table};
                struct ref_point at = {q, k, b, x.h, x.g, x.q_len, x.k_len};
                bool expected = rule->holds(&x);
                ck_assert_msg(ref_visible(&mask, &at) == expected, "'%s' at q=%d k=%d b=%d is not %d", rule->text, q, k, b,
                              expected);
                shown += expected;
                hidden += !expected;
            }
    ck_assert_msg(hidden > 0 && (shown > 0 || rule->holds == rule_never), "'%s' tests nothing", rule->text);
}
END_TEST

START_TEST(no_mask_shows_all)
{
    struct ref_mask mask = {.text = NULL};
    struct ref_point at = {-5, 3, 0, 0, 0, 1, 4};
    ck_assert(ref_visible(&mask, &at));
    mask.text = "";
    ck_assert(ref_visible(&mask, &at));
}
END_TEST

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
    return operator;
}

int main(void)
{
    Suite *suite = suite_create("ref");
    TCase *storage = tcase_create("storage"), *masks = tcase_create("masks");
    tcase_add_loop_test(storage, every_pattern_survives, 0, (int)LEN(narrow_types));
    tcase_add_loop_test(storage, every_tie_goes_to_even, 0, (int)LEN(narrow_types));
    tcase_add_test(storage, known_patterns);
    tcase_add_loop_test(masks, masks_mean_what_they_say, 0, (int)LEN(rules));
    tcase_add_test(masks, no_mask_shows_all);
    suite_add_tcase(suite, storage);
    suite_add_tcase(suite, operator_case());
    suite_add_tcase(suite, masks);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
