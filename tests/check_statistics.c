/* SPDX-License-Identifier: MIT
 * check_statistics.c - what clattn bench says of repeated times: the interval against tables and on random
 * series of three shapes, drift on planted steps and slopes and on none. */
#include "tests/draw.h"
#include "tests/suite.h"
#include "tool/bench/statistics.h"

#include <check.h>
#include <math.h>

enum { SERIES = 4000 };

static double uniform(void)
{
    return ((double)(random_bits() >> 11) + 0.5) * 0x1p-53;
}

/* Ranks of the 95 % interval for a median, from the binomial distribution: sign test tables, as n = 20: the
 * 6th and the 15th. */
START_TEST(ranks_of_tables)
{
    static const struct {
        int n, rank;
    } rows[] = {{6, 1},  {8, 1},  {9, 2},   {10, 2},  {11, 2},   {12, 3},  {15, 4},
                {20, 6}, {25, 8}, {30, 10}, {50, 18}, {100, 40}, {200, 86}};
    double values[200];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int k = 0; k < rows[i].n; k++)
            values[k] = 1 + (k * 7) % rows[i].n; /* 1 to n in another order: 7 divides no n above */
        const struct summary s = summarise(values, rows[i].n);
        ck_assert_msg(s.low == rows[i].rank && s.high == rows[i].n + 1 - rows[i].rank, "n = %d: %g to %g",
                      rows[i].n, s.low, s.high);
        ck_assert(s.low <= s.median && s.median <= s.high);
    }
}
END_TEST

START_TEST(few_values_have_no_interval)
{
    const double values[] = {3, 1, 2, 5, 4};
    for (int n = 1; n <= 5; n++) {
        const struct summary s = summarise(values, n);
        ck_assert(isnan(s.low) && isnan(s.high) && isnan(s.drift) && !has_drifted(&s) &&
                  isnan(uncertainty(&s)));
    }
    ck_assert(summarise(values, 5).median == 3 && summarise(values, 5).spread == 2.0 / 3);
}
END_TEST

/* Times with the median 1: flat, with a long tail upwards, in two heaps. */
static double draw(int shape)
{
    const double u = uniform();
    return shape == 0   ? 0.9 + 0.2 * u
           : shape == 1 ? 0.5 + 0.5 * log(1 - u) / log(0.5)
           : u < 0.5    ? 0.8 + 0.4 * u
                        : 1 + 0.9 * (u - 0.5);
}

/* At least 95 of 100 intervals hold the median; 4000 series have them but for 3 sigma = 1 %. */
START_TEST(interval_holds_the_median)
{
    double values[64];
    for (int shape = 0; shape < 3; shape++)
        for (int n = 6; n <= 64; n = n * 3 / 2) {
            int held = 0;
            for (int i = 0; i < SERIES; i++) {
                for (int k = 0; k < n; k++)
                    values[k] = draw(shape);
                const struct summary s = summarise(values, n);
                held += s.low <= 1 && 1 <= s.high;
            }
            ck_assert_msg(held >= SERIES * 0.94, "shape %d, n = %d: %d of %d", shape, n, held, SERIES);
            ck_assert_msg(held < SERIES, "shape %d, n = %d: an interval that is never wrong is too wide",
                          shape, n);
        }
}
END_TEST

/* How many of random series of n have drifted, when noise is so wide and the last times are as much longer.
 */
static int drifted(int n, double noise, double step, double slope)
{
    double values[64];
    int count = 0;
    for (int i = 0; i < SERIES; i++) {
        for (int k = 0; k < n; k++)
            values[k] = (1 + noise * (uniform() - 0.5)) * (1 + (k >= n / 2 ? step : 0) + slope * k / n);
        const struct summary s = summarise(values, n);
        count += has_drifted(&s);
    }
    return count;
}

START_TEST(drift_is_seen)
{
    for (double noise = 0.06; noise < 0.6; noise *= 2)
        for (int n = 6; n <= 40; n = n * 3 / 2)
            ck_assert_msg(drifted(n, noise, 0, 0) < SERIES * 2 / 100, "n = %d: of steady series with %g", n,
                          noise);
    for (int n = 10; n <= 40; n *= 2) {
        ck_assert_msg(drifted(n, 0.06, 0.15, 0) > SERIES * 95 / 100, "n = %d: of steps %d", n,
                      drifted(n, 0.06, 0.15, 0));
        /* of ten times all of the second half have to be above all of the first, which this slope's are in
         * five of six series */
        ck_assert_msg(drifted(n, 0.06, 0, 0.3) > SERIES * (n < 20 ? 80 : 95) / 100, "n = %d: of slopes %d", n,
                      drifted(n, 0.06, 0, 0.3));
    }
}
END_TEST

START_TEST(the_order_of_the_caller_stays)
{
    double values[] = {7, 3, 9, 1, 5, 8, 2};
    summarise(values, 7);
    ck_assert(values[0] == 7 && values[3] == 1 && values[6] == 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("statistics");
    TCase *tests = tcase_create("statistics");
    tcase_add_test(tests, ranks_of_tables);
    tcase_add_test(tests, few_values_have_no_interval);
    tcase_add_test(tests, interval_holds_the_median);
    tcase_add_test(tests, drift_is_seen);
    tcase_add_test(tests, the_order_of_the_caller_stays);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
