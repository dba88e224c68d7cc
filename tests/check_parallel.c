/* SPDX-License-Identifier: MIT
 * check_parallel.c - work in parts: each is done once, parts cover what they are of, and a check of results
 * says the same whatever thread finds a wrong one. */
#include "tests/suite.h"
#include "tool/parallel.h"
#include "tool/workload.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 3000 };

static void count(void *context, int64_t part)
{
    int *times = context;
    times[part]++;
}

START_TEST(each_part_is_done_once)
{
    static const int64_t parts[] = {0, 1, 2, 3, 63, 64, 65, MOST};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        int times[MOST + 1] = {0};
        in_parallel(parts[i], count, times);
        for (int64_t part = 0; part <= MOST; part++)
            ck_assert_int_eq(times[part], part < parts[i]);
    }
}
END_TEST

START_TEST(parts_cover_what_they_are_of)
{
    static const int64_t numbers[] = {0, 1, 2, 7, 100, 12345, INT64_MAX / 2};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        for (int64_t parts = 1; parts <= 256; parts++) {
            const int64_t n = numbers[i];
            ck_assert_int_eq(part_begin(n, parts, 0), 0);
            ck_assert_int_eq(part_begin(n, parts, parts), n);
            for (int64_t part = 0; part < parts; part++) {
                const int64_t size = part_begin(n, parts, part + 1) - part_begin(n, parts, part);
                ck_assert(size == n / parts || size == n / parts + 1);
            }
        }
}
END_TEST

START_TEST(small_work_is_one_part)
{
    ck_assert_int_eq(parts_worth(0, 1e9), 1);
    ck_assert_int_eq(parts_worth(1, 1e9), 1);
    ck_assert_int_eq(parts_worth(1000, 100), 1);
    ck_assert_int_eq(parts_worth(3, 1e9), 3);
    for (double each = 1; each < 1e18; each *= 7) {
        const int64_t parts = parts_worth(100, each);
        ck_assert(parts >= 1 && parts <= 100);
    }
}
END_TEST

/* A row of the problem below; o is f32 and dense. */
static float *row_of(const struct workload *w, int64_t h, int64_t i)
{
    return (float *)w->o + (h * w->problem.q_len + i) * w->problem.dim_v;
}

static void make_right(struct workload *w)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    char message[200];
    double exact[64], lse;
    ck_assert_int_eq(clattn_problem_parse(&a, "attn:f32:h4:q16:k4096:d64", message, sizeof message), CLATTN_OK);
    ck_assert_int_eq(workload_make(w, &a, 1, WORKLOAD_NORMAL), CLATTN_OK);
    const struct ref_problem p = workload_reference(w);
    for (int64_t h = 0; h < a.heads; h++)
        for (int64_t i = 0; i < a.q_len; i++) {
            ref_row(&p, 0, h, i, NULL, exact, &lse);
            for (int64_t d = 0; d < a.dim_v; d++)
                row_of(w, h, i)[d] = (float)exact[d];
        }
}

START_TEST(the_first_wrong_row_is_named)
{
    struct workload w;
    struct verdict right, wrong;
    make_right(&w);
    ck_assert_int_gt(parts_worth(4 * 16, 4096 * 128.0), 4);
    workload_check(&w, 0, &right);
    ck_assert(right.pass && right.rows == 64 && right.ratio > 0 && right.ratio < 1);
    row_of(&w, 1, 9)[5] += 0.25f;
    row_of(&w, 3, 2)[7] += 2;
    row_of(&w, 3, 15)[0] += 1;
    workload_check(&w, 0, &wrong);
    ck_assert(!wrong.pass && wrong.rows == 64);
    ck_assert_msg(!strncmp(wrong.where, "o[b=0 h=1 i=9 d=5]", 18), "%s", wrong.where);
    ck_assert_msg(wrong.error > 1.99 && wrong.error < 2.01, "%g", wrong.error);
    workload_free(&w);
}
END_TEST

/* Tensors are the same however many threads fill them: what lies beyond the numbers that are drawn one by
 * one, and the tensor after it. */
START_TEST(tensors_follow_from_the_seed)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    char message[200];
    struct workload w[2];
    ck_assert_int_eq(clattn_problem_parse(&a, "attn:f16:h1:q1:k70001:d64", message, sizeof message), CLATTN_OK);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(workload_make(&w[i], &a, 3, WORKLOAD_NORMAL), CLATTN_OK);
    ck_assert(!memcmp(w[0].k, w[1].k, 70001 * 128) && !memcmp(w[0].v, w[1].v, 70001 * 128));
    ck_assert(memcmp(w[0].k, w[0].v, 70001 * 128));
    const char *k = w[0].k; /* no stretch that a thread fills is another's */
    for (int64_t at = 6; at <= 8; at++)
        ck_assert(memcmp(k + (at << 20), k + ((at - 2) << 20), 1 << 16));
    for (int i = 0; i < 2; i++)
        workload_free(&w[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("parallel");
    TCase *parts = tcase_create("parts");
    tcase_add_test(parts, each_part_is_done_once);
    tcase_add_test(parts, parts_cover_what_they_are_of);
    tcase_add_test(parts, small_work_is_one_part);
    suite_add_tcase(suite, parts);
    TCase *users = tcase_create("users");
    tcase_add_test(users, the_first_wrong_row_is_named);
    tcase_add_test(users, tensors_follow_from_the_seed);
    suite_add_tcase(suite, users);
    return run_suite(suite);
}
