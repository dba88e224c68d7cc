/* SPDX-License-Identifier: MIT
 * on_queue.h - a fixture for one test program: a context for the device under test, and a queue of it. */
#ifndef ON_QUEUE_H
#define ON_QUEUE_H

#include "tests/fresh_context.h"

static clattn_context *ctx;
static cl_command_queue queue;

static void set_up(void)
{
    cl_int code;
    ctx = fresh_context();
    queue = clCreateCommandQueue(clattn_context_cl(ctx), clattn_context_device(ctx), 0, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
}

static void tear_down(void)
{
    clReleaseCommandQueue(queue);
    clattn_context_close(ctx);
}

#endif
