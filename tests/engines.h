/* SPDX-License-Identifier: MIT
 * engines.h - the engines that a test goes through: those that fit its device and take a problem like the
 * test's. */
#ifndef ENGINES_H
#define ENGINES_H

#include "tests/suite.h"

#include <clattn.h>

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether an engine is for other devices than this one, and takes seconds to build a kernel here.  Long tests
 * leave it out: check_blocked.sh and check_data have it, with CLATTN_TEST_LONG check_properties too. */
static inline bool is_for_others(const clattn_device_facts *facts, const char *engine)
{
    return (facts->type & CL_DEVICE_TYPE_CPU) && !strncmp(engine, "blocked", 7);
}

/* Any engine that is not of this device's kind: on a CPU the tiles of matrix units by plain instructions,
 * too. */
static inline bool is_foreign(const clattn_device_facts *facts, const char *engine)
{
    return (facts->type & CL_DEVICE_TYPE_CPU) && strcmp(engine, "vector") && strcmp(engine, "portable");
}

/* Where each problem is a kernel, which takes a CPU's compiler seconds, engines take turns there: vector has
 * every kernel, portable every second, those of other devices every third.  CLATTN_TEST_LONG: all. */
static inline bool is_its_turn(const clattn_device_facts *facts, const char *engine, int kernel, int number)
{
    const int turns = is_foreign(facts, engine) ? 3 : (facts->type & CL_DEVICE_TYPE_CPU) && !strcmp(engine, "portable") ? 2 : 1;
    return is_long_run() || (kernel + number) % turns == 0;
}

/* Whether the script that runs the test wants this engine: CLATTN_TEST_ENGINES has names between spaces, or
 * is not there. */
static inline bool is_wanted(const char *engine)
{
    const char *names = getenv("CLATTN_TEST_ENGINES");
    char text[300], name[100];
    snprintf(text, sizeof text, " %s ", names ? names : engine);
    snprintf(name, sizeof name, " %s ", engine);
    return strstr(text, name) != NULL;
}

/* The names of up to `most` engines; returns how many.  Those that refuse the problem are named. */
static inline int engines_taking(clattn_context *ctx, const clattn_attention *problem, const char *engines[],
                                 int most)
{
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_engine_fit fit = CLATTN_ENGINE_FIT_INIT;
    char text[700] = "";
    int n = 0;
    ck_assert_int_eq(clattn_device_describe(clattn_context_device(ctx), &facts), CLATTN_OK);
    for (size_t i = 0; n < most && clattn_engine_describe(&facts, i, &fit) == CLATTN_OK; i++) {
        clattn_attention a = *problem;
        clattn_plan *plan;
        /* the kernel of blocked; check_blocked.sh has it */
        const bool twice = (facts.type & CL_DEVICE_TYPE_CPU) && !strcmp(fit.engine, "blocked-large");
        if (!fit.fits || twice || !is_wanted(fit.engine))
            continue;
        snprintf(a.engine, sizeof a.engine, "%s", fit.engine);
        clattn_status status = clattn_plan_create(&plan, ctx, &a);
        clattn_context_message(ctx, text, sizeof text);
        ck_assert_msg(status == CLATTN_OK || status == CLATTN_ENGINE_REFUSED, "%s: %s", fit.engine, text);
        if (status)
            printf("# left out: %s (%.*s)\n", fit.engine, (int)sizeof text, text);
        else
            engines[n++] = fit.engine;
        clattn_plan_destroy(plan);
    }
    return n;
}

/* Leave out those of n engines that a question names; returns how many are left. */
static inline int engines_without(const clattn_device_facts *facts, const char *engines[], int n,
                                  bool (*leave_out)(const clattn_device_facts *facts, const char *engine))
{
    for (int i = n - 1; i >= 0; i--)
        if (leave_out(facts, engines[i]))
            engines[i] = engines[--n];
    return n;
}

#endif
