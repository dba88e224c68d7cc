/* SPDX-License-Identifier: MIT
 * check_selectors.c - selections on a device against the oracle, list for list; named after the acceptance tests of the
 * specification. */
#include "tests/select_trial.h"
#include "tests/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const int32_t methods[] = {CLATTN_EXTERNAL_SCORE, CLATTN_TREE, CLATTN_STAGED, CLATTN_MINMAX, CLATTN_POOL_MEAN};

static void once(struct select_trial *t, bool whole, const char *what)
{
    select_trial_fill(t, whole);
    select_trial_check(t, what);
    select_trial_free(t);
}

START_TEST(at_02_some_shapes)
{
    for (int n = 0; n < 100; n++) {
        char what[80];
        struct select_trial t = select_trial_new(4, 2, 1 + select_below(40), 1 + select_below(120), 3);
        t.s.block_q = 16;
        t.s.scope = (int32_t)select_below(3);
        t.s.sink = select_below(2) ? select_below(9) : 0;
        t.s.window = select_below(2) ? select_below(9) : 0;
        t.s.block_k = (int32_t)(1 + select_below(6));
        t.s.stride_k = (int32_t)(1 + select_below(t.s.block_k));
        select_trial_method(&t, methods[_i], 1 + select_below(40));
        snprintf(what, sizeof what, "method %d, case %d", (int)methods[_i], n);
        once(&t, n % 2, what);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("selectors");
    TCase *device = tcase_create("device");
    tcase_add_checked_fixture(device, select_trial_set_up, select_trial_tear_down);
    tcase_add_loop_test(device, at_02_some_shapes, 0, (int)CLATTN__LEN(methods));
    suite_add_tcase(suite, device);
    return run_suite(suite);
}
