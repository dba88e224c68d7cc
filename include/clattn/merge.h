/* SPDX-License-Identifier: MIT
 * merge.h - merge partial attention results over disjoint sets of keys into one:
 *
 *     lse[r]  = log sum_p exp(lse_p[r])
 *     o[r,:]  = sum_p exp(lse_p[r] - lse[r]) o_p[r,:]
 *
 * Parts are added in rising order of p, so the bits do not depend on timing.  A part with lse = -inf
 * counts nothing, whatever its o holds.  Source: Dao et al. 2022; Rabe and Staats 2021.
 */
#ifndef CLATTN_MERGE_H
#define CLATTN_MERGE_H

#include <clattn/attention.h>

typedef struct clattn_merge {
    size_t size;
    int64_t parts;      /* 1 or more */
    int64_t rows;       /* 0 or more: batch * heads * q_len of the partial results */
    int64_t dim_v;      /* 1 to 576 */
    int32_t type_parts; /* clattn_type of parts' o, [parts][rows][dim_v] dense; their lse f32 [parts][rows] */
    int32_t type_o;     /* clattn_type of the result: [rows][dim_v], dense */
} clattn_merge;
#define CLATTN_MERGE_INIT                                                                                 \
    {                                                                                                     \
        sizeof(clattn_merge), 1, 0, 1, CLATTN_F32, CLATTN_F32                                             \
    }

typedef struct clattn_merge_plan clattn_merge_plan;

CLATTN_BEGIN
/* Make, and destroy (NULL is allowed), a plan for merging.  As clattn_plan_create. */
CLATTN_API clattn_status clattn_merge_plan_create(clattn_merge_plan **plan, clattn_context *ctx,
                                                  const clattn_merge *problem);
CLATTN_API void clattn_merge_plan_destroy(clattn_merge_plan *plan);

/* Enqueue the merge of part_o and part_lse into o and, if not NULL, lse (f32 [rows]).  As
 * clattn_enqueue_forward. */
CLATTN_API clattn_status clattn_enqueue_merge(clattn_merge_plan *plan, cl_command_queue queue, cl_mem part_o,
                                              cl_mem part_lse, cl_mem o, cl_mem lse, cl_uint n_wait,
                                              const cl_event *wait, cl_event *event);
CLATTN_END

#endif
