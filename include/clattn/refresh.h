/* SPDX-License-Identifier: MIT
 * refresh.h - when a decoder selects again: a schedule, and a counter for each sequence; on the host alone.
 *
 * What a step selects serves the next ones too.  Of STAGED each stage has an interval, for the first stages
 * cost most and change least; other methods have one stage.  Step s of a sequence begins
 *
 *     at stage 0 where s is 0, else at the first i with s % intervals[i] == 0, else nowhere: CLATTN_REUSE
 *
 * and makes that stage and all after it again.  Candidates are found at stage 0 and end where the window
 * began then; a key that leaves the window later is in neither, until stage 0 is made again.  So let the
 * window grow by the age, the tokens since then: CLATTN_GROW_WINDOW of clattn_select, whose pattern reads the
 * array `age'.
 *
 *     clattn_refresh refresh = CLATTN_REFRESH_INIT;       one for all layers, or each its own
 *     clattn_refresh_state states[BATCH] = {{0}};         of a layer, one a sequence
 *     each step, with lengths as io.key_lengths has them:
 *         clattn_refresh_step(&refresh, states, BATCH, lengths, starts, ages, NULL);
 *         clEnqueueWriteBuffer(..., ages, ...);            to the array `age', i32 [BATCH]
 *         select_io.starts = starts;
 *         clattn_enqueue_select(...);                      nothing, where all reuse
 *         clattn_enqueue_forward(...);
 *
 * A state is the caller's and nothing but numbers: {0} begins a sequence, a copy moves it to another place of
 * the batch (its list and kept stages move along).  A step allocates nothing and takes no lock.
 *
 * Query history: a step's list may be made of the last n queries, so that it serves the next ones too.  They
 * are a buffer of the caller's, the newest last; the selection's problem has it as q, with q_len n, and its
 * block_q is n.  Attention, of q_len 1, reads the list as it is, which has one query block for both, and may
 * read its q there, from the last row on (offset (n - 1) dim of clattn_layout).  Rows of a sequence that has
 * fewer stand before its first key and see none.
 *
 * Late lists (off by default): a step that selects lets attention go on with the list of the refresh before,
 * so that the new one may be made beside, in another queue, until the next refresh.  Then there are two
 * lists: the selector writes `made', attention reads `used', and takes says who takes over, when:
 *
 *     clattn_enqueue_list_copy(.., made, used, takes, CLATTN_TAKE_BEFORE, ..);
 *     clattn_enqueue_select(..);                                                  io.list = made
 *     clattn_enqueue_list_copy(.., made, used, takes, CLATTN_TAKE_AFTER, ..);     sequences that begin
 *
 * Source of the schedule: InfiniteHiP, Lee et al. 2025, arXiv 2502.08910.
 */
#ifndef CLATTN_REFRESH_H
#define CLATTN_REFRESH_H

#include <clattn/select.h>

/* flag of a schedule */
#define CLATTN_LATE_LISTS 0x1u

/* A schedule.  Start from CLATTN_REFRESH_INIT: InfiniteHiP's for three stages, whose faster ones are {32, 16,
 * 8} and {96, 24, 8}; HiP's is {8}. */
typedef struct clattn_refresh {
    size_t size;
    uint32_t flags;   /* 0 or CLATTN_LATE_LISTS */
    int32_t n_stages; /* STAGED: as many as the selection has; else 1 */
    int32_t intervals[CLATTN_MAX_STAGES]; /* steps, 1 or more */
    int64_t dense_below; /* tokens, the selection's: a sequence of fewer keys begins
                            nowhere, and at stage 0 as soon as it has as many */
} clattn_refresh;
#define CLATTN_REFRESH_INIT                                                                               \
    {                                                                                                     \
        sizeof(clattn_refresh), 0, 3, {16, 8, 4}, 0                                                          \
    }

/* Of one sequence and layer.  {0}: nothing has been selected. */
typedef struct clattn_refresh_state {
    int64_t steps;                        /* so far */
    int64_t made, used;                   /* steps whose queries the newest list has, and the one in use */
    int64_t began[CLATTN_MAX_STAGES + 1]; /* steps that began at each stage; [CLATTN_REUSE] at none */
    int32_t made_at, used_at;             /* tokens there were when candidates were found for these */
    int32_t stale;                        /* the next step begins at stage 0 and uses what it makes */
    int32_t reserved;                     /* 0 */
} clattn_refresh_state;

/* When an entry takes the newest list over: for clattn_enqueue_list_copy. */
#define CLATTN_TAKE_BEFORE 1 /* before it is made again */
#define CLATTN_TAKE_AFTER 2  /* after */

/* What is known of a sequence after a step. */
typedef struct clattn_refresh_report {
    int64_t steps;
    int64_t began[CLATTN_MAX_STAGES + 1];
    int64_t list_age;  /* steps since the query of the list in use */
    int64_t age;       /* tokens since its candidates were found */
    int64_t uncovered; /* tokens past the sinks that have left the window since; 0 if it grows.  Those in a
                          listed block are read all the same. */
} clattn_refresh_report;

CLATTN_BEGIN
/* Check a schedule for a selection.  On failure the sentence goes to text (size bytes; may be NULL, 0).
 * NULL_ARGUMENT, BAD_STRUCT_SIZE, BAD_FLAGS, BAD_COUNT (intervals; stages or dense_below that the selection
 * has not). */
CLATTN_API clattn_status clattn_refresh_check(const clattn_refresh *refresh, const clattn_select *select,
                                              char *text, size_t size);

/* Take one step with each of n sequences.  lengths: keys that each one has now.  Written are, of each
 * sequence: where the step begins (starts), the age of the list it uses (ages), and with CLATTN_LATE_LISTS
 * what it takes over, 0 for nothing (takes; else it may be NULL).  On failure all is as before.
 * NULL_ARGUMENT, BAD_STRUCT_SIZE, BAD_FLAGS, BAD_COUNT. */
CLATTN_API clattn_status clattn_refresh_step(const clattn_refresh *refresh, clattn_refresh_state *states,
                                             int64_t n, const int32_t *lengths, int32_t *starts,
                                             int32_t *ages, int32_t *takes);

/* Say that keys from `first' on have changed, as when drafted tokens are taken back: if any was a candidate,
 * the next step begins at stage 0.  NULL_ARGUMENT, BAD_STRUCT_SIZE. */
CLATTN_API clattn_status clattn_refresh_invalidate(clattn_refresh_state *state, const clattn_select *select,
                                                   int64_t first);

/* Report on a sequence that has `length' keys.  NULL_ARGUMENT, BAD_STRUCT_SIZE. */
CLATTN_API clattn_status clattn_refresh_describe(const clattn_refresh_state *state,
                                                 const clattn_select *select, int64_t length,
                                                 clattn_refresh_report *report);

/* Enqueue a copy of lists from one buffer to another, both laid out as list says: of the batch entries whose
 * mark is `mark' (marks, on the host, are read during the call; NULL: of all).  Never blocks.  As
 * clattn_enqueue_forward; the statuses of clattn_list_bytes, LIST_TOO_SMALL. */
CLATTN_API clattn_status clattn_enqueue_list_copy(clattn_context *ctx, cl_command_queue queue,
                                                  const clattn_list *list, cl_mem from, cl_mem to,
                                                  const int32_t *marks, int32_t mark, cl_uint n_wait,
                                                  const cl_event *wait, cl_event *event);
CLATTN_END

#endif
