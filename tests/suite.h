/* SPDX-License-Identifier: MIT
 * suite.h - how every test program runs its suite, and whether all of it. */
#ifndef SUITE_H
#define SUITE_H

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>

/* Whether everything is to run, which takes an hour: CLATTN_TEST_LONG. */
static inline bool is_long_run(void)
{
    return getenv("CLATTN_TEST_LONG") != NULL;
}

/* Run a suite and free it: what main returns.  No forks, because an OpenCL runtime does not survive them;
 * that no test ran is a failure. */
static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner) + (srunner_ntests_run(runner) == 0);
    srunner_free(runner);
    return failed != 0;
}

#endif
