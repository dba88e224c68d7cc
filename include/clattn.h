/* SPDX-License-Identifier: MIT
 * clattn.h - attention on any OpenCL device: the only header that a program names.
 *
 *     clattn_context *ctx;
 *     clattn_context_open(&ctx, "cpu");                  or clattn_context_wrap: your own cl_context
 *     clattn_attention a = CLATTN_ATTENTION_INIT;
 *     a.batch = 2; a.heads = 32; a.kv_heads = 8; a.q_len = a.kv_len = 4096; a.dim = a.dim_v = 128;
 *     a.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
 *     clattn_plan *plan;
 *     clattn_plan_create(&plan, ctx, &a);                slow: chooses an engine, builds, checks itself
 *     clattn_io io = CLATTN_IO_INIT;  io.q = q; io.k = k; io.v = v; io.o = o;
 *     clattn_enqueue_forward(plan, queue, &io, 0, NULL, &event);
 *
 * Threads: contexts and plans may be used by several threads at once; destroying one while another
 * thread is inside a call with it is the caller's error.  The library keeps no global state, never
 * prints, exits or aborts, and installs no handler.
 *
 * Failures: every call returns a clattn_status.  clattn_context_message gives the sentence that names
 * the wrong field and what would be right.
 */
#ifndef CLATTN_H
#define CLATTN_H

#include <clattn/export.h>
#include <clattn/version.h>
#include <clattn/status.h>
#include <clattn/context.h>
#include <clattn/device.h>
#include <clattn/pattern.h>
#include <clattn/attention.h>
#include <clattn/list.h>
#include <clattn/select.h>
#include <clattn/refresh.h>
#include <clattn/delta.h>
#include <clattn/extend.h>
#include <clattn/merge.h>
#include <clattn/rule.h>
#include <clattn/mechanism.h>
#include <clattn/problem.h>
#include <clattn/tune.h>

#endif
