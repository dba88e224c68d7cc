/* SPDX-License-Identifier: MIT
 * extend.h - attention over lists, of queries and keys that are stored without rotation, at positions that
 * fit a model trained for shorter texts:
 *
 *     o[i,:] = sum_t softmax_t(scale R(p_i) q[i,:] . R(p'_t) k[t,:]) v[t,:]      R(p): rotation by position p
 *
 * The keys t of a row are those of its block's list (clattn/list.h), the sinks and a window, up to the row:
 *
 *     t <= p_i  and  (listed  or  t < sink  or  t > p - window)      p: position of the block's first row
 *
 * so the window is the block's; of one row it is that of clattn_selected.  An entry of fewer than dense_below
 * keys reads all.  Rows stand at their own positions, p to P; keys, by `extend' of clattn_select:
 *
 *     CLATTN_EXTEND_STREAMING    t in the window: t; of n keys before it, number j (from 0):
 *                                p - window + 1 - n + j
 *     CLATTN_EXTEND_SELF         t >= P - L: t; else max(0, floor((t - p) / G) + p)
 *     CLATTN_EXTEND_DYNAMIC      P <= M or t >= P - v: t; else
 *                                max(P - M, floor((t - p + v) (M - v) / (p - v)) + p - v)
 *
 * with L or M extend_length, G extend_share, v = floor(M / 4).  STREAMING numbers keys one after the other,
 * the newest last, so no distance is longer than a list.  SELF brings keys behind L nearer than the last of
 * L: they begin at distance L / G again.
 *
 * Rotation is of pairs of columns d, d + dim / 2, by the tables that selection has.  As it knows differences
 * of positions alone, the block's last row takes the tables' last row, and all others are counted back from
 * it: tables are as long as the longest distance, whatever the text's length.
 *
 *     clattn_select s = CLATTN_SELECT_INIT;       s.extend, s.rope_positions, and s.rope of the search
 *     clattn_enqueue_select(selection, queue, &select_io, ...);        to the list
 *     clattn_extend_plan_create(&plan, ctx, &s, &problem);
 *     clattn_enqueue_extend(plan, queue, &io, 0, NULL, &event);
 *
 * A list that serves several steps wants a window that is longer by as many (in a copy of the clattn_select),
 * so that keys which the search took for near stay in it.
 *
 * How: what a list's rows read is copied behind each other and turned, in ranges of lists that 64 MiB hold,
 * and the attention that clattn_plan_create makes for short sequences serves.  So each list's keys and values
 * are read and written once more.
 *
 * Sources: InfiniteHiP, Lee et al. 2025, arXiv 2502.08910; StreamingLLM, Xiao et al. 2023, 2309.17453
 * (positions in the cache); Self-Extend, Jin et al. 2024, 2401.01325; RoFormer, Su et al. 2021, 2104.09864.
 */
#ifndef CLATTN_EXTEND_H
#define CLATTN_EXTEND_H

#include <clattn/select.h>

typedef struct clattn_extend_plan clattn_extend_plan;

/* The buffers of one enqueue, all of the plan's cl_context, borrowed until the work is done. */
typedef struct clattn_extend_io {
    size_t size;
    cl_mem q, k, v, o;         /* as clattn_io has them, by the problem's layouts; q and k not turned */
    cl_mem lse;                /* CLATTN_WANT_LSE */
    cl_mem key_lengths;        /* CLATTN_KEY_LENGTHS: int32[batch] */
    cl_mem list;               /* as clattn_select_list lays it out */
    cl_mem rope_cos, rope_sin; /* f32 [rope_positions][dim / 2], cosines and sines of each pair's angle */
} clattn_extend_io;
#define CLATTN_EXTEND_IO_INIT                                                                             \
    {                                                                                                     \
        sizeof(clattn_extend_io), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL                    \
    }

CLATTN_BEGIN
/* Make a plan, with the attention that it needs, as clattn_plan_create; it owns its workspace, 64 MiB or one
 * list's and what that attention needs, and its enqueues run one after the other.  select: of it blocks,
 * budget and scope (the list's shape), sink, window, dense_below, extend_..., rope_positions count.
 * problem: its pattern is clattn_causal, bottom right (or there are as many queries as keys); softmax; a
 * score rule names the score and scalars alone, as a soft cap.  engine, splits, flags are for the attention
 * inside.  The statuses of clattn_select_check, BAD_SELECTOR (extend is NONE), BAD_CORNER (another pattern),
 * BAD_NORMALISER, EXPR_NAME, BAD_FLAGS (PACKED, CALLER_WORKSPACE, COUNT_TILES; CLATTN_GROW_WINDOW),
 * SIZE_OVERFLOW, SELF_TEST_FAILED, memory, and those of clattn_plan_create.  Destroy: NULL is allowed. */
CLATTN_API clattn_status clattn_extend_plan_create(clattn_extend_plan **plan, clattn_context *ctx,
                                                   const clattn_select *select,
                                                   const clattn_attention *problem);
CLATTN_API void clattn_extend_plan_destroy(clattn_extend_plan *plan);
/* Lists of a launch, keys of a list at most, workspace, and then what clattn_plan_explain says of the
 * attention inside. */
CLATTN_API clattn_status clattn_extend_plan_explain(const clattn_extend_plan *plan, char *text, size_t size);

/* Enqueue: as clattn_enqueue_forward; also LIST_TOO_SMALL, ROPE_TOO_SMALL. */
CLATTN_API clattn_status clattn_enqueue_extend(clattn_extend_plan *plan, cl_command_queue queue,
                                               const clattn_extend_io *io, cl_uint n_wait,
                                               const cl_event *wait, cl_event *event);
CLATTN_END

#endif
