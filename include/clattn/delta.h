/* SPDX-License-Identifier: MIT
 * delta.h - correct pruned attention by dense attention of a few rows:
 *
 *     o[i,:] = pruned[i,:] + dense[a,:] - pruned[a,:]        a = every * floor(i / every)
 *     o[a,:] = dense[a,:]
 *
 * What a row loses with the keys that it does not read is much the same for the rows behind it.  So every
 * `every'-th row, an anchor, is computed densely, and its difference is added to the rows of its stretch.
 * every = 1 is dense attention; 64 adds a 64th of its cost.  A sum, not a mean: a corrected row need not lie
 * between values, has no lse of its own, and a row that sees nothing gets its anchor's difference; NaN in an
 * anchor reaches its stretch.
 *
 *     clattn_attention rows = CLATTN_ATTENTION_INIT;
 *     clattn_delta_rows(&pruned, 64, &rows, NULL, 0);       the anchors, as a problem on the same q, k, v
 *     clattn_plan_create(&anchors, ctx, &rows);
 *     clattn_delta_plan_create(&delta, ctx, &pruned, 64);
 *     each time:  clattn_enqueue_forward(pruned plan, ...);     to o
 *                 clattn_enqueue_forward(anchors, ...);         to anchor_o
 *                 clattn_enqueue_delta(delta, queue, anchor_o, o, ...);
 *
 * Source: Delta Attention, Willette et al. 2025, arXiv 2505.11254.
 */
#ifndef CLATTN_DELTA_H
#define CLATTN_DELTA_H

#include <clattn/attention.h>

typedef struct clattn_delta_plan clattn_delta_plan;

CLATTN_BEGIN
/* In *rows, CLATTN_ATTENTION_INIT before: dense attention of rows 0, every, 2 every ... of a problem, in
 * whose rules the word `listed' counts as true.  Its q is the problem's with wider strides, its o dense
 * [batch][heads][ceil(q_len / every)][dim_v] of the problem's type, its rules speak of the rows' own
 * positions; no lse.  On failure *rows is as it was, and the sentence goes to text (size bytes; may be NULL,
 * 0).  NULL_ARGUMENT, BAD_STRUCT_SIZE, BAD_COUNT (every: 1 to 2^30), BAD_FLAGS (PACKED), EXPR_LIMIT (a rule,
 * written out, has no room), SIZE_OVERFLOW, and the statuses of clattn_attention_check. */
CLATTN_API clattn_status clattn_delta_rows(const clattn_attention *problem, int64_t every,
                                           clattn_attention *rows, char *text, size_t size);

/* Make, and destroy (NULL is allowed), a plan for correcting o of a problem, pruned or not, of which batch,
 * heads, q_len, dim_v and o with its type count.  As clattn_plan_create; BAD_COUNT, BAD_FLAGS as above. */
CLATTN_API clattn_status clattn_delta_plan_create(clattn_delta_plan **plan, clattn_context *ctx,
                                                  const clattn_attention *problem, int64_t every);
CLATTN_API void clattn_delta_plan_destroy(clattn_delta_plan *plan);

/* Enqueue the correction of o, in place, by the anchors' rows (clattn_delta_rows); o is pruned attention.  As
 * clattn_enqueue_forward; O_TOO_SMALL of either. */
CLATTN_API clattn_status clattn_enqueue_delta(clattn_delta_plan *plan, cl_command_queue queue,
                                              cl_mem anchor_o, cl_mem o, cl_uint n_wait, const cl_event *wait,
                                              cl_event *event);
CLATTN_END

#endif
