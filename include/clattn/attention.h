/* SPDX-License-Identifier: MIT
 * attention.h - fused scaled dot-product attention, forward:
 *
 *     s_ij       = score(scale * q[b,h,i,:] . k[b,g,j,:])     score: a rule, by default the score itself
 *     o[b,h,i,:] = sum_j w_ij v[b,g,j,:] / n_i                over the keys j that pattern lets row i see
 *     lse[b,h,i] = log n_i                                    with CLATTN_NO_NORMALISER 0 (no division)
 *
 *     normaliser              w_ij             n_i
 *     CLATTN_SOFTMAX          exp(s_ij)        sum_j w_ij
 *     CLATTN_L1               weight(s_ij)     sum_j w_ij       weight: a rule that is never negative
 *     CLATTN_COUNT            weight(s_ij)     how many keys the row sees
 *     CLATTN_NO_NORMALISER    weight(s_ij)     1
 *
 * with g = h / (heads / kv_heads).  Sums are kept in f32 whatever the storage.  A row that sees no key, or
 * whose n_i is 0, gives o = 0, and lse = -inf.  NaN in a row of q stays in that row; what a masked key or
 * value holds never matters.
 * Sources: Vaswani et al. 2017 (the operator), Milakov and Gimelshein 2018 (online softmax),
 * Dao et al. 2022 (tiling).
 */
#ifndef CLATTN_ATTENTION_H
#define CLATTN_ATTENTION_H

#include <clattn/context.h>
#include <clattn/list.h>
#include <clattn/pattern.h>

/* Element types.  Tensors are of the first three; the arrays that expressions name are of any. */
typedef enum clattn_type {
    CLATTN_F32 = 0,
    CLATTN_F16 = 1,
    CLATTN_BF16 = 2,
    CLATTN_I32 = 3,
    CLATTN_I8 = 4,
    CLATTN_BITS = 5 /* conditions, 32 a word, lowest bit first; rows of the last index begin with a word */
} clattn_type;

/* Where element [b][head][token][d] of a tensor lies, in elements of its type:
 *     offset + b * batch + head * head + token * token + d
 * CLATTN_DENSE in a stride means that of the dense order [batch][head][token][d] (packed: [head][token][d]
 * with the batches' tokens one after the other).  Strides of 0 broadcast an input. */
#define CLATTN_DENSE ((int64_t)-1)
typedef struct clattn_layout {
    int64_t offset, batch, head, token;
} clattn_layout;
#define CLATTN_LAYOUT_DENSE {0, CLATTN_DENSE, CLATTN_DENSE, CLATTN_DENSE}

/* A number with a name, for expressions; the value is part of the plan, not of the program.  type is
 * CLATTN_I32 (the value is then a whole number that fits) or CLATTN_F32. */
typedef struct clattn_scalar {
    char name[CLATTN_NAME_SIZE];
    int32_t type;
    int32_t reserved; /* 0 */
    double value;
} clattn_scalar;

/* An array with a name, for expressions; its buffer comes with each enqueue.  Element [i0][i1]... of a dense
 * array, the last index fastest; expressions clamp every index to its dimension, so a dimension of 1 serves
 * for all. */
#define CLATTN_MAX_DIMS 4
typedef struct clattn_array {
    char name[CLATTN_NAME_SIZE];
    int32_t type;   /* clattn_type: F32, F16, BF16 hold numbers, I32, I8 whole numbers, BITS conditions */
    int32_t n_dims; /* 1 to 4 */
    int64_t dims[CLATTN_MAX_DIMS];
} clattn_array;

#define CLATTN_MAX_SCALARS 8
#define CLATTN_MAX_ARRAYS 8

/* flags of a problem */
#define CLATTN_WANT_LSE 0x1u         /* write the log-sum-exp of every row                              */
#define CLATTN_PACKED 0x2u           /* q_offsets and k_offsets give each batch entry's tokens          */
#define CLATTN_KEY_LENGTHS 0x4u      /* key_lengths gives each batch entry's number of keys             */
#define CLATTN_CALLER_WORKSPACE 0x8u /* every enqueue brings its own workspace                          */
#define CLATTN_STRICT 0x10u          /* refuse to fall back to another engine than the best fitting one */
#define CLATTN_COUNT_TILES 0x20u     /* count visited tiles into io.counters (for tests and reports)    */
#define CLATTN_NO_SELF_TEST 0x40u    /* skip the comparison, not the launch, inside clattn_plan_create  */
#define CLATTN_ARRAYS_STAY 0x80u     /* arrays hold in all enqueues the same: clattn_plan_arrays_changed */

/* A problem.  Start from CLATTN_ATTENTION_INIT; fields are only ever added at the end. */
typedef struct clattn_attention {
    size_t size;
    uint32_t flags;
    int32_t type_q, type_k, type_v, type_o; /* clattn_type */
    int32_t reserved;                       /* 0 */
    int64_t batch, heads, kv_heads;
    int64_t q_len, kv_len; /* per batch entry; with CLATTN_PACKED or CLATTN_KEY_LENGTHS the largest */
    int64_t q_total, kv_total; /* with CLATTN_PACKED: tokens in all */
    int64_t dim, dim_v;        /* 1 to 576 */
    double scale;              /* CLATTN_DEFAULT_SCALE: 1 / sqrt(dim) */
    clattn_layout q, k, v, o;
    clattn_layout lse; /* f32; token stride 1 when dense */
    clattn_pattern pattern;
    clattn_scalar scalars[CLATTN_MAX_SCALARS];
    int32_t n_scalars;
    int32_t n_arrays;
    clattn_array arrays[CLATTN_MAX_ARRAYS];
    char engine[CLATTN_NAME_SIZE]; /* "" lets the library choose; a name forces that engine,
                                      "matrix" the best "matrix-..." */
    clattn_rule score;             /* edits a score before the softmax; "" leaves it as it is */
    clattn_rule weight;            /* a score's weight under another normaliser than the softmax */
    int32_t normaliser;            /* clattn_normaliser */
    int32_t reserved2;             /* 0 */
    int64_t splits;                /* 0 lets the library choose; n: keys in n parts, merged in fixed order */
    clattn_list list;              /* what the word `listed' of rules reads; size 0: none */
} clattn_attention;

#define CLATTN_DEFAULT_SCALE 0.0
#define CLATTN_ATTENTION_INIT                                                                             \
    {                                                                                                     \
        sizeof(clattn_attention), 0, CLATTN_F32, CLATTN_F32, CLATTN_F32, CLATTN_F32, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, \
            CLATTN_DEFAULT_SCALE, CLATTN_LAYOUT_DENSE, CLATTN_LAYOUT_DENSE, CLATTN_LAYOUT_DENSE,          \
            CLATTN_LAYOUT_DENSE, CLATTN_LAYOUT_DENSE, {0, 0, ""}, {{"", 0, 0, 0.0}}, 0, 0, {{"", 0, 0, {0}}}, "", \
            {0, 0, ""}, {0, 0, ""}, CLATTN_SOFTMAX, 0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}        \
    }

/* The buffers of one enqueue, all of the plan's cl_context and all borrowed: they must live until the
 * work is done.  Those that the plan was not created for are NULL. */
typedef struct clattn_io {
    size_t size;
    cl_mem q, k, v, o;
    cl_mem lse;                       /* CLATTN_WANT_LSE */
    cl_mem q_offsets, k_offsets;      /* CLATTN_PACKED: int32[batch + 1], rising, from 0 */
    cl_mem key_lengths;               /* CLATTN_KEY_LENGTHS: int32[batch] */
    cl_mem arrays[CLATTN_MAX_ARRAYS]; /* in the order of the problem's arrays */
    cl_mem workspace;                 /* CLATTN_CALLER_WORKSPACE, when the plan needs one */
    int64_t workspace_offset;         /* bytes, a multiple of 4 */
    cl_mem counters;                  /* CLATTN_COUNT_TILES: uint32[4], added to: EMPTY, PARTIAL, FULL, 0 */
    cl_mem list;                      /* the lists, as the problem's list lays them out */
} clattn_io;
#define CLATTN_IO_INIT                                                                                    \
    {                                                                                                     \
        sizeof(clattn_io), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, {NULL}, NULL, 0, NULL, NULL    \
    }

/* The same with host memory, for clattn_run_forward; sizes come from the problem. */
typedef struct clattn_host_io {
    size_t size;
    const void *q, *k, *v;
    void *o;
    float *lse;
    const int32_t *q_offsets, *k_offsets, *key_lengths;
    const void *arrays[CLATTN_MAX_ARRAYS];
    uint32_t *counters;
    double seconds;      /* out: device time of the kernels, without the copies */
    const int32_t *list; /* clattn_list_bytes of it */
} clattn_host_io;
#define CLATTN_HOST_IO_INIT                                                                               \
    {                                                                                                     \
        sizeof(clattn_host_io), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, {NULL}, NULL, 0.0, NULL   \
    }

typedef struct clattn_plan clattn_plan;

CLATTN_BEGIN
/* Check a problem without a device.  On failure the sentence goes to text (size bytes; may be NULL, 0). */
CLATTN_API clattn_status clattn_attention_check(const clattn_attention *problem, char *text, size_t size);

/* Return in *elements how many elements of its type tensor 'q', 'k', 'v', 'o' or 'l' (lse) spans, offset
 * included: the least size of its buffer. */
CLATTN_API clattn_status clattn_attention_extent(const clattn_attention *problem, char tensor,
                                                 int64_t *elements);

/* Make a plan: choose an engine, build its kernels (seconds, unless cached), launch them once on a tiny
 * problem and compare with the host.  Immutable afterwards; the caller destroys it.  On failure *plan is
 * NULL. */
CLATTN_API clattn_status clattn_plan_create(clattn_plan **plan, clattn_context *ctx,
                                            const clattn_attention *problem);
/* Destroy a plan; NULL is allowed.  Work already enqueued is finished by OpenCL. */
CLATTN_API void clattn_plan_destroy(clattn_plan *plan);

/* Say in a few lines what the plan will do: engine, tile, kernels, workspace, and each refused engine's
 * reason. */
CLATTN_API clattn_status clattn_plan_explain(const clattn_plan *plan, char *text, size_t size);
/* Return the name of the plan's engine; static; NULL for a NULL plan. */
CLATTN_API const char *clattn_plan_engine(const clattn_plan *plan);
/* With CLATTN_ARRAYS_STAY, say that the arrays of the next enqueue hold something else.  A mask tells by tables of
 * its arrays' minima and maxima which blocks it hides or shows whole; without the flag every enqueue makes
 * them, a kernel for each array, with it only the first one and the first one after this call.  Arrays that
 * change without it give wrong numbers, no wild address.  Layers that share a mask thus make tables once a
 * step.  No OpenCL call; may be called while work runs.  The flag wants a workspace of the plan's own. */
CLATTN_API clattn_status clattn_plan_arrays_changed(clattn_plan *plan);
/* Return in *bytes the workspace that an enqueue needs, 0 for none. */
CLATTN_API clattn_status clattn_workspace_size(const clattn_plan *plan, uint64_t *bytes);

/* Enqueue the operator.  Never compiles, blocks or allocates device memory; every argument is checked
 * before anything is enqueued.  The buffers may be reused once *event (may be NULL; the caller releases it)
 * is complete.  wait may be NULL when n_wait is 0.  Any number of threads may call it with one plan; a plan
 * that owns its workspace runs their work one after the other. */
CLATTN_API clattn_status clattn_enqueue_forward(clattn_plan *plan, cl_command_queue queue,
                                                const clattn_io *io, cl_uint n_wait, const cl_event *wait,
                                                cl_event *event);

/* Run the operator on host memory: copies in, runs, waits, copies out.  For small programs and tests. */
CLATTN_API clattn_status clattn_run_forward(clattn_plan *plan, clattn_host_io *io);
CLATTN_END

#endif
