/* SPDX-License-Identifier: MIT
 * check_layout.c - strides, extents and overlaps of tensors, against 128-bit arithmetic and brute force. */
#include "tests/draw.h"
#include "core/core.h"
#include "tests/suite.h"

#include <check.h>
#include <string.h>

enum { EXTREME_CASES = 200000, SMALL_CASES = 20000, NESTED_CASES = 5000, SPAN = 4096 };

/* From 0 to INT64_MAX, every order of magnitude alike, the ends often. */
static int64_t any_size(void)
{
    static const int64_t ends[] = {0, 1, 2, INT32_MAX, (int64_t)1 << 32, (int64_t)1 << 60, (int64_t)1 << 61,
                                   (int64_t)1 << 62, INT64_MAX - 1, INT64_MAX};
    if (below(4) == 0)
        return ends[below((int64_t)CLATTN__LEN(ends))];
    return (int64_t)(random_bits() >> (1 + below(63)));
}

/* The product of two numbers of 0 or more, if it fits 64 bits. */
static bool product_fits(int64_t a, int64_t b, int64_t *out)
{
    __int128 wide = (__int128)a * b;
    *out = (int64_t)wide;
    return wide <= INT64_MAX;
}

/* ---- checked arithmetic ---- */

START_TEST(arithmetic)
{
    static const int64_t ends[] = {INT64_MIN, INT64_MIN + 1, -2, -1, 0, 1, 2, INT64_MAX - 1, INT64_MAX};
    int overflows = 0;
    for (int i = 0; i < EXTREME_CASES; i++) {
        int64_t a = below(2) ? ends[below((int64_t)CLATTN__LEN(ends))] : any_size();
        int64_t b = below(2) ? ends[below((int64_t)CLATTN__LEN(ends))] : -any_size();
        int64_t got = 0;
        __int128 sum = (__int128)a + b, product = (__int128)a * b;
        bool sum_fits = sum >= INT64_MIN && sum <= INT64_MAX;
        bool fits = product >= INT64_MIN && product <= INT64_MAX;
        ck_assert_int_eq(clattn__add(a, b, &got), sum_fits);
        if (sum_fits)
            ck_assert(got == sum);
        ck_assert_int_eq(clattn__mul(a, b, &got), fits);
        if (fits)
            ck_assert(got == product);
        overflows += !fits + !sum_fits;
    }
    ck_assert_int_gt(overflows, EXTREME_CASES / 20);
}
END_TEST

/* ---- dense strides ---- */

START_TEST(dense_by_hand)
{
    clattn_layout layout = CLATTN_LAYOUT_DENSE;
    const struct clattn__shape shape = {2, 3, 5, 7};
    ck_assert(clattn__layout_resolve(&layout, &shape));
    ck_assert_int_eq(layout.token, 7);
    ck_assert_int_eq(layout.head, 35);
    ck_assert_int_eq(layout.batch, 105);
    ck_assert_int_eq(layout.offset, 0);
    clattn_layout given = {11, 0, CLATTN_DENSE, 9}; /* what was given stays */
    ck_assert(clattn__layout_resolve(&given, &shape));
    ck_assert_int_eq(given.offset, 11);
    ck_assert_int_eq(given.batch, 0);
    ck_assert_int_eq(given.head, 35);
    ck_assert_int_eq(given.token, 9);
}
END_TEST

START_TEST(dense_extremes)
{
    int refused = 0, taken = 0;
    for (int i = 0; i < EXTREME_CASES; i++) {
        const struct clattn__shape shape = {any_size(), any_size(), any_size(), 1 + below(576)};
        clattn_layout asked = {any_size(), CLATTN_DENSE, CLATTN_DENSE, CLATTN_DENSE};
        if (below(3) == 0)
            asked.batch = any_size();
        if (below(3) == 0)
            asked.head = any_size();
        if (below(3) == 0)
            asked.token = any_size();
        clattn_layout got = asked;
        int64_t head, batch;
        bool head_fits = product_fits(shape.tokens, shape.width, &head);
        bool batch_fits = head_fits && product_fits(shape.heads, head, &batch);
        bool fits = (asked.head != CLATTN_DENSE || head_fits) && (asked.batch != CLATTN_DENSE || batch_fits);
        ck_assert_int_eq(clattn__layout_resolve(&got, &shape), fits);
        refused += !fits;
        if (!fits)
            continue;
        taken++;
        ck_assert_int_eq(got.offset, asked.offset);
        ck_assert_int_eq(got.token, asked.token == CLATTN_DENSE ? shape.width : asked.token);
        ck_assert(got.head == (asked.head == CLATTN_DENSE ? head : asked.head));
        ck_assert(got.batch == (asked.batch == CLATTN_DENSE ? batch : asked.batch));
    }
    ck_assert_int_gt(refused, EXTREME_CASES / 20);
    ck_assert_int_gt(taken, EXTREME_CASES / 20);
}
END_TEST

/* ---- extents ---- */

/* Last element + 1 in 128 bits; each product is below 2^126, so clamp them before they add up past 2^127. */
static __int128 wide_extent(const clattn_layout *l, const struct clattn__shape *s)
{
    const __int128 far = (__int128)1 << 100;
    const __int128 steps[] = {(__int128)(s->batch - 1) * l->batch, (__int128)(s->heads - 1) * l->head,
                              (__int128)(s->tokens - 1) * l->token};
    __int128 extent = (__int128)l->offset + s->width;
    if (!s->batch || !s->heads || !s->tokens || !s->width)
        return 0;
    for (int i = 0; i < 3; i++)
        extent += steps[i] < far ? steps[i] : far;
    return extent;
}

START_TEST(extent_extremes)
{
    int refused = 0, taken = 0, empty = 0;
    for (int i = 0; i < EXTREME_CASES; i++) {
        const struct clattn__shape shape = {below(3) ? below(4) : any_size(),
                                            below(3) ? below(4) : any_size(),
                                            below(3) ? below(100) : any_size(), below(577)};
        const clattn_layout layout = {any_size(), any_size(), any_size(), any_size()};
        int bytes = below(2) ? 2 : 4;
        int64_t got = -1;
        __int128 wide = wide_extent(&layout, &shape);
        bool fits = wide * bytes <= (__int128)1 << 62;
        ck_assert_int_eq(clattn__layout_extent(&layout, &shape, bytes, &got), fits);
        if (fits)
            ck_assert(got == wide);
        refused += !fits;
        taken += fits && wide > 0;
        empty += wide == 0;
    }
    ck_assert_int_gt(refused, EXTREME_CASES / 20);
    ck_assert_int_gt(taken, EXTREME_CASES / 20);
    ck_assert_int_gt(empty, EXTREME_CASES / 20);
}
END_TEST

/* The edge itself: 2^62 bytes fit, one element more does not. */
START_TEST(extent_edge)
{
    const struct clattn__shape shape = {1, 1, 2, 1};
    int64_t got;
    for (int bytes = 2; bytes <= 4; bytes += 2) {
        clattn_layout layout = {0, 0, 0, ((int64_t)1 << 62) / bytes - 1};
        ck_assert(clattn__layout_extent(&layout, &shape, bytes, &got));
        ck_assert_int_eq(got, ((int64_t)1 << 62) / bytes);
        layout.token++;
        ck_assert(!clattn__layout_extent(&layout, &shape, bytes, &got));
    }
}
END_TEST

/* ---- overlaps ---- */

/* Mark every element; false if one is marked twice. */
static bool apart(const clattn_layout *l, const struct clattn__shape *s)
{
    static unsigned char taken[SPAN];
    memset(taken, 0, sizeof taken);
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < s->heads; h++)
            for (int64_t t = 0; t < s->tokens; t++)
                for (int64_t d = 0; d < s->width; d++) {
                    int64_t at = l->offset + b * l->batch + h * l->head + t * l->token + d;
                    ck_assert(at >= 0 && at < SPAN);
                    if (taken[at]++)
                        return false;
                }
    return true;
}

START_TEST(never_apart_when_shared)
{
    int shared = 0, disjoint = 0;
    for (int i = 0; i < SMALL_CASES; i++) {
        const struct clattn__shape shape = {below(5), below(5), below(5), below(6)};
        const clattn_layout layout = {below(8), below(160), below(160), below(160)};
        bool said = clattn__layout_disjoint(&layout, &shape), is = apart(&layout, &shape);
        ck_assert_msg(!said || is, "counts %d %d %d width %d, strides %d %d %d share elements",
                      (int)shape.batch, (int)shape.heads, (int)shape.tokens, (int)shape.width,
                      (int)layout.batch, (int)layout.head, (int)layout.token);
        shared += !is;
        disjoint += said && shape.batch > 1 && shape.heads > 1 && shape.tokens > 1 && shape.width > 0;
    }
    ck_assert_int_gt(shared, SMALL_CASES / 20);
    ck_assert_int_gt(disjoint, SMALL_CASES / 50);
}
END_TEST

/* Axes one inside the other, in any order, with gaps, are apart; with one stride an element too short not. */
START_TEST(nested_axes)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int i = 0; i < NESTED_CASES; i++) {
        int64_t counts[3], strides[3];
        const int *order = orders[i % 6];
        int64_t width = 1 + below(5), inside = width;
        for (int n = 0; n < 3; n++) {
            counts[order[n]] = 2 + below(3);
            strides[order[n]] = inside + (n == i / 6 % 3 ? 0 : below(4)); /* one axis without a gap */
            inside += (counts[order[n]] - 1) * strides[order[n]];
        }
        const struct clattn__shape shape = {counts[0], counts[1], counts[2], width};
        clattn_layout layout = {below(9), strides[0], strides[1], strides[2]};
        ck_assert(apart(&layout, &shape));
        ck_assert(clattn__layout_disjoint(&layout, &shape));
        int64_t *const at[] = {&layout.batch, &layout.head, &layout.token};
        *at[order[i / 6 % 3]] -= 1;
        bool still = apart(&layout, &shape);
        if (order[0] == order[i / 6 % 3])
            ck_assert(!still); /* inside the innermost axis nothing can save it */
        ck_assert(still || !clattn__layout_disjoint(&layout, &shape));
    }
}
END_TEST

START_TEST(overlaps_by_hand)
{
    const struct clattn__shape one = {1, 1, 4, 8}, many = {2, 3, 4, 8}, none = {2, 0, 4, 8};
    const clattn_layout zero = {0, 0, 0, 8}, nothing = {0, 0, 0, 0};
    const clattn_layout far = {0, INT64_MAX, INT64_MAX, INT64_MAX};
    ck_assert(clattn__layout_disjoint(&zero, &one)); /* strides of axes of one entry do not matter */
    ck_assert(!clattn__layout_disjoint(&zero, &many));
    ck_assert(!clattn__layout_disjoint(&nothing, &one));
    ck_assert(clattn__layout_disjoint(&nothing, &none)); /* an empty tensor shares nothing */
    ck_assert(!clattn__layout_disjoint(&far, &many));
}
END_TEST

START_TEST(types)
{
    ck_assert_int_eq(clattn__type_bytes(CLATTN_F32), 4);
    ck_assert_int_eq(clattn__type_bytes(CLATTN_F16), 2);
    ck_assert_int_eq(clattn__type_bytes(CLATTN_BF16), 2);
    ck_assert_int_eq(clattn__type_bytes(-1), 0);
    ck_assert_int_eq(clattn__type_bytes(3), 0);
    ck_assert_str_eq(clattn__type_name(CLATTN_F32), "f32");
    ck_assert_str_eq(clattn__type_name(CLATTN_F16), "f16");
    ck_assert_str_eq(clattn__type_name(CLATTN_BF16), "bf16");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("layout");
    TCase *cases = tcase_create("layout");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, arithmetic);
    tcase_add_test(cases, dense_by_hand);
    tcase_add_test(cases, dense_extremes);
    tcase_add_test(cases, extent_extremes);
    tcase_add_test(cases, extent_edge);
    tcase_add_test(cases, never_apart_when_shared);
    tcase_add_test(cases, nested_axes);
    tcase_add_test(cases, overlaps_by_hand);
    tcase_add_test(cases, types);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
