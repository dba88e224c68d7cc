/* SPDX-License-Identifier: MIT
 * check_mass.c - the oracle of kept mass (ref_mass.h): by hand, and what must hold of any list. */
#include "tests/draw.h"
#include "tests/ref_mass.h"
#include "tests/suite.h"

#include <math.h>
#include <string.h>

enum { MAX_TENSOR = 4096, MAX_HEADS = 8, DRAWS = 300 };

static float q_data[MAX_TENSOR], k_data[MAX_TENSOR];
static struct ref_mass masses[MAX_HEADS];

static struct ref_tensor dense(const float *data, int64_t heads, int64_t tokens, int64_t width)
{
    struct ref_tensor t = {data, REF_F32, 0, heads * tokens * width, tokens * width, width};
    return t;
}

static struct ref_problem problem(int64_t heads, int64_t kv_heads, int64_t q_len, int64_t kv_len, int64_t dim)
{
    struct ref_problem p = {.batch = 1, .heads = heads, .kv_heads = kv_heads, .q_len = q_len,
                            .kv_len = kv_len, .dim = dim, .scale = 1};
    ck_assert(heads <= MAX_HEADS && heads * q_len * dim <= MAX_TENSOR &&
              kv_heads * kv_len * dim <= MAX_TENSOR);
    p.q = dense(q_data, heads, q_len, dim);
    p.k = p.v = dense(k_data, kv_heads, kv_len, dim);
    p.rules.mask = "k <= q";
    p.rules.bottom_right = true;
    for (int i = 0; i < MAX_TENSOR; i++) {
        q_data[i] = (float)below(1000) / 250 - 2;
        k_data[i] = (float)below(1000) / 250 - 2;
    }
    return p;
}

static struct ref_select selector(int64_t block_q, int64_t block_k, int64_t budget)
{
    return (struct ref_select){.method = REF_TREE, .scope = REF_HEAD, .block_q = block_q, .stride_q = 1,
                               .block_k = block_k, .stride_k = 1, .budget = budget};
}

/* A list that is what the test says. */
static struct ref_list list_of(int32_t *count, int32_t *ids, int64_t capacity)
{
    return (struct ref_list){1, 1, 1, capacity, count, ids};
}

static void check(double got, double wanted)
{
    ck_assert_double_eq_tol(got, wanted, 1e-12);
}

/* One query 1 at the end of 8 keys whose weights are 1 2 8 1 16 1 2 1 of 32. */
static struct ref_problem weights_of_32(void)
{
    static const int weights[] = {1, 2, 8, 1, 16, 1, 2, 1};
    struct ref_problem p = problem(1, 1, 1, 8, 1);
    q_data[0] = 1;
    for (int k = 0; k < 8; k++)
        k_data[k] = (float)log2(weights[k]);
    p.scale = log(2);
    return p;
}

START_TEST(by_hand)
{
    /* Blocks of two: 3 9 17 3.  The sink is key 0, the window key 7; block 0 is listed: keys 0, 1, 7.  Best
     * is block 2, and a window of three keys has 0, 6, 7. */
    struct ref_problem p = weights_of_32();
    struct ref_select s = selector(1, 2, 2);
    int32_t count = 1, ids[] = {0};
    struct ref_list list = list_of(&count, ids, 1);
    s.sink = s.window = 1;
    memset(masses, 0, sizeof masses);
    ref_list_mass(&p, &s, &list, 0, 0, 0, 1, masses);
    ck_assert_int_eq(masses[0].rows, 1);
    check(masses[0].kept, (1 + 2 + 1) / 32.0);
    check(masses[0].best, (1 + 1 + 16 + 1) / 32.0);
    check(masses[0].window, (1 + 2 + 1) / 32.0);
    ids[0] = 1; /* a key more is visited: the window has 0 and 5, 6, 7 */
    ref_list_mass(&p, &s, &list, 0, 0, 0, 1, masses);
    check(masses[0].kept, (4 + 1 + 8 + 1 + 1) / 32.0);
    check(masses[0].window, (4 + 1 + 1 + 2 + 1) / 32.0);
    check(masses[0].best, 2 * 19 / 32.0);
}
END_TEST

/* Without sinks, window and mask nearest keys are on both sides of the query at 0 to 7; at 3 with two keys
 * the lower of 2 and 4. */
START_TEST(nearest_of_two_sides)
{
    struct ref_problem p = weights_of_32();
    struct ref_select s = selector(8, 2, 2);
    int32_t count = 1, ids[] = {3};
    struct ref_list list = list_of(&count, ids, 1);
    p.rules.mask = "";
    p.q_len = 8;
    for (int i = 0; i < 8; i++)
        q_data[i] = 1;
    memset(masses, 0, sizeof masses);
    ref_list_mass(&p, &s, &list, 0, 0, 0, 1, masses); /* one row: the middle, 4, and of 3 and 5 the lower */
    check(masses[0].kept, 3 / 32.0);
    check(masses[0].best, 17 / 32.0);
    check(masses[0].window, 17 / 32.0);
    memset(masses, 0, sizeof masses);
    ref_list_mass(&p, &s, &list, 0, 0, 0, 99, masses); /* all: 0 1, 0 1, 1 2, 2 3, 3 4, 4 5, 5 6, 6 7 */
    ck_assert_int_eq(masses[0].rows, 8);
    check(masses[0].window, (3 + 3 + 10 + 9 + 17 + 17 + 3 + 3) / 32.0);
}
END_TEST

/* Two rows share a list, and the best block is that of their sum: weights 6 1 3 of 10 and 1 6 3 of 10. */
START_TEST(best_is_of_all_rows)
{
    struct ref_problem p = problem(1, 1, 2, 3, 2);
    struct ref_select s = selector(2, 1, 1);
    const double keys[3][2] = {{log(6), 0}, {0, log(6)}, {log(3), log(3)}};
    int32_t count = 1, ids[] = {0};
    struct ref_list list = list_of(&count, ids, 1);
    p.rules.mask = "";
    for (int i = 0; i < 6; i++)
        k_data[i] = (float)keys[i / 2][i % 2];
    q_data[0] = q_data[3] = 1;
    q_data[1] = q_data[2] = 0;
    memset(masses, 0, sizeof masses);
    ref_list_mass(&p, &s, &list, 0, 0, 0, 2, masses);
    ck_assert_double_eq_tol(masses[0].kept, 0.7, 1e-6); /* keys are f32 */
    ck_assert_double_eq_tol(masses[0].best, 0.7, 1e-6);
    k_data[4] = k_data[5] = (float)log(5); /* 6 1 5: of 12 */
    memset(masses, 0, sizeof masses);
    ref_list_mass(&p, &s, &list, 0, 0, 0, 2, masses);
    ck_assert_double_eq_tol(masses[0].kept, 7 / 12.0, 1e-6);
    ck_assert_double_eq_tol(masses[0].best, 10 / 12.0, 1e-6);
}
END_TEST

START_TEST(rows_that_see_nothing)
{
    struct ref_problem p = weights_of_32();
    struct ref_select s = selector(1, 2, 2);
    int32_t count = 1, ids[] = {0};
    struct ref_list list = list_of(&count, ids, 1);
    p.rules.mask = "false";
    memset(masses, 0, sizeof masses);
    ref_list_mass(&p, &s, &list, 0, 0, 0, 1, masses);
    ck_assert(masses[0].kept == 1 && masses[0].best == 1 && masses[0].window == 1);
}
END_TEST

/* A score rule and another normaliser: weights |score| 1 to 4 of 10. */
START_TEST(other_weights)
{
    struct ref_problem p = problem(1, 1, 1, 4, 1);
    struct ref_select s = selector(1, 1, 1);
    int32_t count = 1, ids[] = {1};
    struct ref_list list = list_of(&count, ids, 1);
    q_data[0] = 1;
    for (int k = 0; k < 4; k++)
        k_data[k] = (float)(k + 1);
    p.rules.weight = "-score";
    p.rules.normaliser = REF_COUNT;
    memset(masses, 0, sizeof masses);
    ref_list_mass(&p, &s, &list, 0, 0, 0, 1, masses);
    check(masses[0].kept, 0.2);
    check(masses[0].best, 0.4);
    p.rules.score = "score * score"; /* 1 4 9 16 of 30 */
    memset(masses, 0, sizeof masses);
    ref_list_mass(&p, &s, &list, 0, 0, 0, 1, masses);
    check(masses[0].kept, 4 / 30.0);
}
END_TEST

static void measure_all(const struct ref_problem *p, const struct ref_select *s, int64_t rows)
{
    struct ref_list list = ref_list_make(p, s);
    memset(masses, 0, sizeof masses);
    for (int64_t scope = 0; scope < list.scopes; scope++)
        for (int64_t m = 0; m < list.q_blocks; m++)
            ref_list_mass(p, s, &list, 0, scope, m, rows, masses);
    ref_list_free(&list);
}

/* Over the heads of a scope no list keeps more than the best one; and what is kept is what ref_kept_mass
 * says. */
START_TEST(no_list_beats_the_best)
{
    static const char *const masks[] = {"k <= q", "", "k // 4 == q // 4", "k <= q & q - k < 9"};
    for (int n = 0; n < DRAWS; n++) {
        const int64_t kv_heads = 1 + below(2);
        struct ref_problem p =
            problem(kv_heads * (1 + below(3)), kv_heads, 1 + below(20), 1 + below(60), 1 + below(4));
        struct ref_select s = selector(1 + below(8), 1 + below(5), 1 + below(24));
        const int methods[] = {REF_TREE, REF_MINMAX, REF_POOL_MEAN, REF_BEST, REF_STREAMING};
        s.method = methods[below(5)];
        s.scope = (int)below(3);
        s.sink = below(2) ? below(7) : 0;
        s.window = below(2) ? below(7) : 0;
        p.rules.mask = masks[below(4)];
        measure_all(&p, &s, s.block_q);
        const int64_t scopes = ref_scopes(&p, &s), heads = p.heads / scopes;
        struct ref_list list = ref_list_make(&p, &s);
        for (int64_t u = 0; u < scopes; u++) {
            double kept = 0, best = 0, window = 0, apart = 0;
            for (int64_t h = u * heads; h < (u + 1) * heads; h++) {
                ck_assert_int_eq(masses[h].rows, p.q_len);
                kept += masses[h].kept;
                best += masses[h].best;
                window += masses[h].window;
                for (int64_t i = 0; i < p.q_len; i++)
                    apart += ref_kept_mass(&p, &s, &list, 0, h, i);
            }
            check(kept, apart);
            ck_assert_msg(kept <= best + 1e-12, "draw %d: %g above the best, %g", n, kept, best);
            ck_assert_msg(best <= (double)(heads * p.q_len) + 1e-12 &&
                              window <= (double)(heads * p.q_len) + 1e-12,
                          "draw %d", n);
        }
        ref_list_free(&list);
    }
}
END_TEST

/* Of single keys for single queries the best are above the nearest too. */
START_TEST(no_window_beats_the_best)
{
    for (int n = 0; n < DRAWS; n++) {
        struct ref_problem p = problem(2, 1, 1 + below(20), 1 + below(60), 1 + below(4));
        struct ref_select s = selector(1, 1, 1 + below(24));
        s.sink = below(7);
        s.window = below(7);
        measure_all(&p, &s, 1);
        for (int h = 0; h < 2; h++)
            ck_assert_msg(masses[h].window <= masses[h].best + 1e-12, "draw %d: %g above the best, %g", n,
                          masses[h].window, masses[h].best);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mass");
    TCase *hand = tcase_create("by hand"), *any = tcase_create("any list");
    tcase_add_test(hand, by_hand);
    tcase_add_test(hand, nearest_of_two_sides);
    tcase_add_test(hand, best_is_of_all_rows);
    tcase_add_test(hand, rows_that_see_nothing);
    tcase_add_test(hand, other_weights);
    tcase_add_test(any, no_list_beats_the_best);
    tcase_add_test(any, no_window_beats_the_best);
    suite_add_tcase(suite, hand);
    suite_add_tcase(suite, any);
    return run_suite(suite);
}
