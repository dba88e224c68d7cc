/* SPDX-License-Identifier: MIT
 * fresh_context.h - a clattn_context for each test, on one cl_context for all tests of a program.
 *
 * PoCL loads its built-in functions, which takes a second, once for each cl_context that compiles. */
#ifndef FRESH_CONTEXT_H
#define FRESH_CONTEXT_H

#include <check.h>
#include <clattn.h>
#include <stdlib.h>

/* For the device under test; the caller closes it. */
static inline clattn_context *fresh_context(void)
{
    static clattn_context *first; /* open to the program's end */
    clattn_context *ctx;
    if (!first)
        ck_assert_int_eq(clattn_context_open(&first, getenv("CLATTN_TEST_DEVICE")), CLATTN_OK);
    ck_assert_int_eq(clattn_context_wrap(&ctx, clattn_context_cl(first), clattn_context_device(first)),
                     CLATTN_OK);
    return ctx;
}

#endif
