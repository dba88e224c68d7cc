/* SPDX-License-Identifier: MIT
 * select.h - selectors: operators that choose, for each block of queries, the blocks of keys worth reading.
 *
 *     attention over   seen by the pattern  AND  (listed  OR  k < sink  OR  |q - k| < window)
 *
 * A selector searches only where its list can matter.  The candidates of a query block are the key blocks
 * that hold a key which some of its rows sees and which is neither a sink nor in that row's window.  With K =
 * ceil(budget / block_k): if there are at most K candidates, all are listed and nothing is computed; else K
 * are, the same on every device that sums alike.
 *
 *     S(t) = max over sampled rows r that see key t, not near, of q_r . k_t      -inf without such a row
 *
 * Sampled rows are the last of every stride_q rows of a block (the last row of one without a full stride),
 * sampled keys the last of every stride_k.  With CLATTN_ROWS_MEAN the mean of a stride (of a block without a
 * full one, of all its rows) stands for its last row, and sees what that sees: f32 sums in rising order of
 * rows times the reciprocal of how many, rounded; rotation comes after.  Products are f32 sums in rising
 * order of columns, by fma where the device has it (clattn_select_plan_explain says which); they are not
 * scaled, for only the sign of the scale matters, and a score rule does not edit them.  TREE and STAGED
 * multiply q and k of f16, or of bf16, by a matrix unit where the device has one: f32 sums in its own order,
 * so that lists are those of other devices where scores differ by more than rounding (CLATTN_PLAIN_SEARCH for
 * the same lists everywhere).  A scope takes the maximum over its heads.  A higher score is better, then the
 * lower block; NaN comes after -inf.
 *
 *     CLATTN_TREE            K nodes of equal size; until they are single blocks: halve each, score halves
 *                            by one representative block, keep the best K in order.
 *                            2 K log2(blocks / K) block scores.
 *     CLATTN_STAGED          per stage: a search in every chunk, 2 log2(chunk) keys, whose best is the
 *                            chunk's score; the best keep / chunk chunks are cut into the next stage's.
 *     CLATTN_MINMAX          sum_d max(q_d min_d, q_d max_d) with the minima and maxima of a block's keys:
 *                            never below its largest product.  Reads 2 / block_k of the keys, from
 *                            metadata kept beside them.
 *     CLATTN_POOL_MEAN       the product with a block's mean key.
 *     CLATTN_EXTERNAL_SCORE  given scores, f32 [batch][scopes][q_blocks][k_blocks].
 *     CLATTN_EXTERNAL_LIST   given lists; checked and clipped to what the pattern lets see.
 *     CLATTN_STREAMING       empty lists: sinks and window alone.
 *
 * A list may be shorter: budget_mode and budget_value say how many of n candidates with scores S, the largest
 * of them S1, are kept, at most K of them.  s is the problem's scale; given scores are unscaled as ours are.
 *
 *     CLATTN_TOP_K           the best K
 *     CLATTN_RATIO r         the best ceil(r n), which takes the place of K in all that is said of methods
 *     CLATTN_MARGIN m        all with |s| (S1 - S) <= m: f32(S1 - S) times f32(|s|), rounded to f32
 *     CLATTN_MASS p          the fewest best ones that have a part p of the estimated mass of all candidates
 *
 * Heads differ: some find what they need in their window, others must search.  With CLATTN_BUDGET_EACH the
 * list of scope u has min(budget, io.budgets[u]) tokens at most, below 0 as 0, so K is a number of its scope
 * in all that is said of methods; of STAGED it cuts the last stage.  A budget of 0 is an empty list, as
 * STREAMING has, for which nothing is searched (nor kept, CLATTN_KEEP_STAGES).  The numbers are device memory
 * and may be other ones at each enqueue.
 *
 * RATIO goes with every method that scores, MARGIN and MASS with those that score every candidate: MINMAX,
 * POOL_MEAN, EXTERNAL_SCORE.  r and p count in whole 2^-32; p = 1 is dense, as far as K goes.
 *
 * The estimated mass of a block is 2^30 exp(|s| (S - S1)): a softmax over blocks as if they were keys,
 * without those that are near.  It is a whole number, so that sums have no order and all devices keep the
 * same blocks: with x = f32(S1 - S) times f32(|s| log2 e), rounded to f32, and t = floor(2^16 x), begin with
 * 2^30; for each bit 16 - j of t that is set, j from 1 to 16, multiply by floor(2^32 2^-(1/2^j)) and divide
 * by 2^32, rounding down; shift right by floor(t / 2^16).  It is 2^30 where S is S1, 1 where x is 30 or more
 * or S is NaN, and 1 at least.  What p comes to depends on the scores: MINMAX estimates too much, POOL_MEAN
 * too little, and a shared list asks its best row (doc/pruning.md).
 *
 * A certificate (CLATTN_CERTIFY, of MINMAX) is how many of a list's blocks have a larger product than every
 * candidate that is not listed, in exact arithmetic, of sampled rows and keys that they see, not near: so
 * many of the best are surely on the list, and where it is the list's count, the list is the exact best of
 * that many.  The proof: the block's largest product, computed, is above the largest bound of a candidate
 * that is not listed by more than both can be off, 4 (dim + 2) 2^-24 times the largest sum_d |q_d| max |k_d|,
 * twice what bounds the rounding errors of two sums.  A tie proves nothing.  Of a list of all candidates
 * every block counts; of another none, where a key or a sum is infinite.
 *
 * Short contexts: finding keys takes time, and reading all of few is faster.  So an entry of fewer than
 * dense_below keys has no candidates: nothing is searched, its lists are empty, and its rows see what the
 * pattern lets see, by the word k_len in clattn_selected.  As lengths stand on the device, one plan and one
 * problem serve short and long entries together.  Attention that is ready for lists takes a tenth longer than
 * without, so where all entries are known to be short a plan of its own is best.
 *
 * Context extension: keys are stored without rotation, and the search alone turns rows and keys, each by a
 * position that is not its own, so that no distance is longer than a model was trained for.  Pairs of columns
 * d, d + dim / 2 turn by the caller's tables; with w = window, p the row's position, n the chunks of a stage:
 *
 *     rope                   row                key
 *     CLATTN_ROPE_RELATIVE   w + 1              0 in a left half (or what is not halved), 1 in a right one
 *     CLATTN_ROPE_CHUNKS     min(p, n + w)      number of the chunk in its stage; TREE: of the half in its
 *                                               round, n = 2 K
 *     CLATTN_ROPE_INFLLM     w                  none: also for MINMAX, POOL_MEAN, whose metadata are of keys
 *                                               as stored
 *
 * Attention knows nothing of it: it multiplies q and k as they are.  clattn/extend.h has attention that
 * turns them, by `extend', by positions of its own.  Or a caller turns both, keys of the window by their own
 * positions; all others may take one distance, w, in a second problem without the window, whose q is turned
 * by w and k not at all, and clattn/merge.h joins the two.
 *
 * What holds: lists rise, have min(candidates, K) blocks with TOP_K and RATIO, and depend only on the keys
 * looked at.  STAGED: a smaller last budget lists a part of what a larger one does; so does any smaller
 * budget or budget_value of methods that score every candidate.  What does not: a larger budget of TREE may
 * lose blocks that a smaller one kept, and any search may miss a peak that is narrower than half of its
 * first nodes.
 *
 * Sources: HiP, Lee et al. 2024, arXiv 2406.09827 (TREE, sinks and window); InfiniteHiP, Lee et al. 2025,
 * 2502.08910 (STAGED; means of rows in its code); Quest, Tang et al. 2024, 2406.10774 (MINMAX); SpargeAttn,
 * Zhang et al. 2025, 2502.18137 (POOL_MEAN); StreamingLLM, Xiao et al. 2023, 2309.17453 (STREAMING);
 * DuoAttention, Xiao et al. 2024, 2410.10819 (heads that stream); Twilight, Lin et al. 2025, 2502.02770,
 * and XAttention, Xu et al. 2025, 2503.16428 (MASS); RoFormer, Su et al. 2021, 2104.09864 (rotation);
 * InfLLM, Xiao et al. 2024, 2402.04617 (one distance for all).
 */
#ifndef CLATTN_SELECT_H
#define CLATTN_SELECT_H

#include <clattn/attention.h>
#include <clattn/list.h>

typedef enum clattn_selector {
    CLATTN_TREE = 0,
    CLATTN_STAGED = 1,
    CLATTN_MINMAX = 2,
    CLATTN_POOL_MEAN = 3,
    CLATTN_EXTERNAL_SCORE = 4,
    CLATTN_EXTERNAL_LIST = 5,
    CLATTN_STREAMING = 6
} clattn_selector;

/* The block of a node that TREE looks at. */
typedef enum clattn_representative {
    CLATTN_CENTER = 0, /* number size / 2 of it */
    CLATTN_FIRST = 1,
    CLATTN_LAST = 2
} clattn_representative;

/* What is asked of each stride_q rows. */
typedef enum clattn_rows {
    CLATTN_ROWS_LAST = 0,
    CLATTN_ROWS_MEAN = 1 /* TREE, STAGED, MINMAX, POOL_MEAN; not with CLATTN_CERTIFY */
} clattn_rows;

/* What `budget_value' is, and so how long a list is; never longer than the budget. */
typedef enum clattn_budget {
    CLATTN_TOP_K = 0,  /* 0: lists are as long as the budget and the candidates let them be */
    CLATTN_MASS = 1,   /* a share of the estimated mass, above 0 to 1 */
    CLATTN_MARGIN = 2, /* how far scaled scores may be below the best, 0 or more; weights' ratio: e^-margin */
    CLATTN_RATIO = 3   /* a share of the candidates, above 0 to 1 */
} clattn_budget;
/* How a search turns rows and keys that are stored without rotation. */
typedef enum clattn_rope {
    CLATTN_ROPE_NONE = 0,
    CLATTN_ROPE_RELATIVE = 1,
    CLATTN_ROPE_CHUNKS = 2,
    CLATTN_ROPE_INFLLM = 3
} clattn_rope;

/* How attention turns queries and keys that are stored without rotation: clattn/extend.h. */
typedef enum clattn_extension {
    CLATTN_EXTEND_NONE = 0,
    CLATTN_EXTEND_STREAMING = 1,
    CLATTN_EXTEND_SELF = 2,
    CLATTN_EXTEND_DYNAMIC = 3
} clattn_extension;

/* flags of a selection */
#define CLATTN_COUNT_PROBES 0x1u /* add what TREE and STAGED looked at to io.counters (tests and reports) */
#define CLATTN_KEEP_STAGES 0x2u  /* STAGED: keep what each stage begins with in io.kept: clattn/refresh.h */
#define CLATTN_GROW_WINDOW 0x4u  /* the window grows by the age of the list: clattn/refresh.h */
#define CLATTN_CERTIFY 0x8u      /* MINMAX: how many blocks are proved goes to io.certified */
#define CLATTN_BUDGET_EACH 0x10u /* scopes have budgets of their own in io.budgets: methods that score */
#define CLATTN_PLAIN_SEARCH 0x20u  /* TREE, STAGED: products one by one, as without a matrix unit */
#define CLATTN_MATRIX_SEARCH 0x40u /* TREE, STAGED: products by the matrix engines' tile, or ENGINE_REFUSED;
                                      without a matrix unit by a plain one, which is slower: for tests */

#define CLATTN_MAX_STAGES 4
#define CLATTN_REUSE CLATTN_MAX_STAGES /* a start behind all stages: the list stays as it is */
typedef struct clattn_stage {
    int64_t chunk, keep; /* tokens: of a chunk; how many leave the stage, a multiple of chunk */
} clattn_stage;

/* A selection.  Start from CLATTN_SELECT_INIT: TREE with HiP's rows, budget, sinks and window, blocks of 8
 * keys. */
typedef struct clattn_select {
    size_t size;
    uint32_t flags;
    int32_t method;         /* clattn_selector */
    int32_t scope;          /* clattn_scope */
    int32_t representative; /* clattn_representative; TREE */
    int32_t block_q, stride_q, block_k, stride_k; /* tokens; strides 1 to their block */
    int64_t budget;         /* tokens of a list at most; STREAMING: 0; EXTERNAL_LIST: the longest list */
    int64_t sink, window;   /* tokens all rows keep: the first ones, those less than window positions away */
    clattn_stage stages[CLATTN_MAX_STAGES]; /* STAGED: each chunk divides the one before;
                                               the last is block_k, the last keep the budget */
    int32_t n_stages;       /* STAGED: 1 to 4; else 0 */
    int32_t budget_mode;    /* clattn_budget */
    double budget_value;    /* as budget_mode says */
    int32_t rope;           /* clattn_rope; else than NONE an even dim */
    int32_t rows;           /* clattn_rows */
    int64_t rope_positions; /* rows of io's tables: all positions named above, and for extend; else 0 */
    int64_t dense_below;    /* tokens: a batch entry of fewer keys is not pruned, and its lists are empty; 0:
                               never; clattn_select_dense_below has a measured number */
    int32_t extend;         /* clattn_extension; else than NONE an even dim.  Selection passes over it */
    int32_t extend_share;   /* SELF: tokens that share a position; else 0 */
    int64_t extend_length;  /* tokens: SELF: whose positions stay; DYNAMIC: that the model knows; else 0 */
} clattn_select;
#define CLATTN_SELECT_INIT                                                                                \
    {                                                                                                     \
        sizeof(clattn_select), 0, CLATTN_TREE, CLATTN_SCOPE_GROUP, CLATTN_CENTER, 64, 2, 8, 1, 512, 16, 256, {{0, 0}}, 0, \
            CLATTN_TOP_K, 0, CLATTN_ROPE_NONE, 0, 0, 0, CLATTN_EXTEND_NONE, 0, 0                           \
    }

/* The buffers of one selection, all of the plan's cl_context, borrowed until the work is done; those that the
 * method does not use are NULL.  q and k as clattn_io has them, with the problem's layouts. */
typedef struct clattn_select_io {
    size_t size;
    cl_mem q, k;
    cl_mem q_offsets, k_offsets, key_lengths; /* as the problem says */
    cl_mem arrays[CLATTN_MAX_ARRAYS];         /* what the pattern reads */
    cl_mem bounds;                            /* MINMAX, POOL_MEAN: clattn_enqueue_bounds */
    cl_mem scores;                            /* EXTERNAL_SCORE */
    cl_mem given;                             /* EXTERNAL_LIST: of the same shape, may be `list' itself */
    cl_mem list;                              /* out: as clattn_select_list lays it out */
    cl_mem workspace;                         /* CLATTN_CALLER_WORKSPACE of the problem */
    int64_t workspace_offset;                 /* bytes, a multiple of 4 */
    cl_mem counters;                          /* CLATTN_COUNT_PROBES: uint64[2] += candidates, dot products */
    cl_mem kept;                              /* CLATTN_KEEP_STAGES: one a layer, clattn_select_kept_size */
    int64_t kept_offset;                      /* bytes, a multiple of 4 */
    const int32_t *starts; /* on the host, read during the call: of each batch entry the first
                              stage that it makes again, or CLATTN_REUSE; NULL: 0 for all;
                              stages above 0 need CLATTN_KEEP_STAGES, an enqueue from 0 before */
    cl_mem certified;      /* CLATTN_CERTIFY: out, int32 [batch][scopes][q_blocks], kept as lists are */
    cl_mem rope_cos, rope_sin; /* rope: f32 [rope_positions][dim / 2], cosines and sines of pairs' angles */
    cl_mem budgets;        /* CLATTN_BUDGET_EACH: int32 [scopes], tokens */
} clattn_select_io;
#define CLATTN_SELECT_IO_INIT                                                                             \
    {                                                                                                     \
        sizeof(clattn_select_io), NULL, NULL, NULL, NULL, NULL, {NULL}, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, 0, NULL, \
            NULL, NULL, NULL, NULL                                                                             \
    }

typedef struct clattn_select_plan clattn_select_plan;

CLATTN_BEGIN
/* Check a selection for a problem, without a device.  On failure the sentence goes to text (size bytes; may
 * be NULL, 0).  NULL_ARGUMENT, BAD_STRUCT_SIZE, BAD_SELECTOR (method, scope, representative, budget_mode,
 * rope, rows, extend), BAD_DIM (odd, with rope or extend), BAD_BLOCK (blocks, strides, stages), BAD_COUNT
 * (budget, sink, window, rope_positions, dense_below, extend_...; a budget_mode or value that the method has
 * not), BAD_CORNER (a window, or rope, without positions), BAD_FLAGS (too: CLATTN_CERTIFY of another method
 * than MINMAX, CLATTN_BUDGET_EACH of one that does not score, CLATTN_PLAIN_SEARCH or CLATTN_MATRIX_SEARCH of
 * one that does not search, or both), and those of clattn_attention_check. */
CLATTN_API clattn_status clattn_select_check(const clattn_select *select, const clattn_attention *problem,
                                             char *text, size_t size);

/* Shape the list that a selection writes, with dense places.  The statuses of clattn_select_check,
 * SIZE_OVERFLOW. */
CLATTN_API clattn_status clattn_select_list(clattn_list *list, const clattn_select *select,
                                            const clattn_attention *problem);

/* Selections that papers and programs use, by name: hip, hip-ruler, pairs-192, pairs-256, means-256,
 * infinitehip-3k, infinitehip-5k, infinitehip-16k-shallow, quest, streaming-llm.  NULL_ARGUMENT,
 * BAD_STRUCT_SIZE, BAD_SELECTOR (the name).  preset_name: number index (0, 1 ...) and, if meaning is not
 * NULL, a line about it; NULL past the last.  Static. */
CLATTN_API clattn_status clattn_select_preset(clattn_select *select, const char *name);
CLATTN_API const char *clattn_select_preset_name(size_t index, const char **meaning);

/* Parse a problem text with the words of a selection behind it (clattn_problem(7)), as
 * attn:f32:h6/2:q4096:k4096:d64:causal-br:tree=256:bq=64/8:bk=8:sink=16:near=256, into both, whose sizes must
 * be set.  Print the words alone.  As clattn_problem_parse and clattn_problem_print; BAD_SELECTOR where no
 * word says a method. */
CLATTN_API clattn_status clattn_select_parse(clattn_select *select, clattn_attention *problem,
                                             const char *text, char *message, size_t size);
CLATTN_API clattn_status clattn_select_print(const clattn_select *select, char *text, size_t size);

/* In *tokens: a number for dense_below, so many keys that the selection pays; for 16 queries and fewer with a
 * search at each step, of STAGED with CLATTN_KEEP_STAGES by a schedule.  From measurements on a CPU
 * (doc/pruning.md); not yet of GPUs.  The statuses of clattn_select_check. */
CLATTN_API clattn_status clattn_select_dense_below(const clattn_select *select,
                                                   const clattn_attention *problem, int64_t *tokens);

/* listed | k < sink | q - k < window & k - q < window | k_len < dense_below: what a selection lets a row see,
 * to be joined with the problem's own pattern by clattn_both.  CLATTN_GROW_WINDOW: q - k < window + age[b],
 * of an i32 array `age' of [batch] that the problem declares.  BAD_STRUCT_SIZE, BAD_COUNT are kept in the
 * pattern. */
CLATTN_API clattn_pattern clattn_selected(const clattn_select *select, clattn_corner corner);

/* Make a plan: choose where nodes lie (local memory, or the workspace where K or the device's local memory
 * asks for it), build, run a tiny problem with ties and compare its lists with the host's, number by number.
 * As clattn_plan_create.  problem: the attention that reads the lists; of it sizes, layouts of q and k,
 * pattern, corner, the scale (MASS and MARGIN; of others its sign) and the flags PACKED, KEY_LENGTHS,
 * CALLER_WORKSPACE, NO_SELF_TEST count.
 * Destroy: NULL is allowed.  The statuses of clattn_select_check, EXPR_LIMIT (the pattern leaves no room for
 * sinks and window), BUILD_FAILED, SELF_TEST_FAILED, memory. */
CLATTN_API clattn_status clattn_select_plan_create(clattn_select_plan **plan, clattn_context *ctx,
                                                   const clattn_select *select,
                                                   const clattn_attention *problem);
CLATTN_API void clattn_select_plan_destroy(clattn_select_plan *plan);
/* Method, kernels, where nodes lie, rounds, block scores of the longest row, arithmetic (fma or not),
 * workspace. */
CLATTN_API clattn_status clattn_select_plan_explain(const clattn_select_plan *plan, char *text, size_t size);
/* In *bytes: no more than a tile of query blocks needs, whatever q_len is; linear in the keys. */
CLATTN_API clattn_status clattn_select_workspace_size(const clattn_select_plan *plan, uint64_t *bytes);
/* In *bytes: of io.kept, which need not be filled with anything; 0 where nothing is kept. */
CLATTN_API clattn_status clattn_select_kept_size(const clattn_select_plan *plan, uint64_t *bytes);

/* Enqueue: writes every count and id, tails included, of the batch entries that do not reuse theirs.
 * Wherever entries begin, they share the launch of a stage; one that none needs is left out.  Never compiles,
 * blocks or allocates.  As clattn_enqueue_forward; also LIST_TOO_SMALL, SCORES_TOO_SMALL, BOUNDS_TOO_SMALL,
 * KEPT_TOO_SMALL, CERTIFIED_TOO_SMALL, ROPE_TOO_SMALL, BUDGETS_TOO_SMALL, BAD_COUNT (a start). */
CLATTN_API clattn_status clattn_enqueue_select(clattn_select_plan *plan, cl_command_queue queue,
                                               const clattn_select_io *io, cl_uint n_wait,
                                               const cl_event *wait, cl_event *event);

/* The metadata of key blocks: MINMAX [batch][kv_heads][k_blocks][2][dim], minima then maxima, in k's type, in
 * which they are exact (NaN is passed over unless all are); POOL_MEAN f32 [batch][kv_heads][k_blocks][dim];
 * else nothing.  first and count: the tokens of every batch entry that are new; blocks that hold one of them
 * are made again.  Of io k, the lengths and bounds are used.  BAD_COUNT: tokens that no entry has, or a
 * method without metadata. */
CLATTN_API clattn_status clattn_select_bounds_size(const clattn_select_plan *plan, uint64_t *bytes);
CLATTN_API clattn_status clattn_enqueue_bounds(clattn_select_plan *plan, cl_command_queue queue,
                                               const clattn_select_io *io, int64_t first, int64_t count,
                                               cl_uint n_wait, const cl_event *wait, cl_event *event);
CLATTN_END

#endif
