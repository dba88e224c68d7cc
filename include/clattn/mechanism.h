/* SPDX-License-Identifier: MIT
 * mechanism.h - attention as papers name it: a mask, rules of score and weight, a normaliser, a scale, what
 * they read.
 *
 *     a.heads = ...; a.q_len = ...;                          sizes first: arrays take dimensions from them
 *     clattn_mechanism_apply(&a, "alibi", NULL, 0);
 *     clattn_mechanism_apply(&a, "sliding_window", NULL, 0); what it does not speak of stays: two may join
 *     a.pattern = clattn_both(a.pattern, clattn_valid_keys("n"));
 *
 * doc/mechanisms.md lists them.
 */
#ifndef CLATTN_MECHANISM_H
#define CLATTN_MECHANISM_H

#include <clattn/attention.h>

#define CLATTN_LOG_DIM_SCALE (-1.0)

/* A mechanism; texts are static.  An empty text, CLATTN_SOFTMAX or CLATTN_DEFAULT_SCALE says nothing. */
typedef struct clattn_mechanism {
    size_t size;
    const char *name;   /* "croc" */
    const char *title;  /* one line */
    const char *paper;  /* its arXiv number */
    const char *mask, *score, *weight;
    const char *arrays; /* "span=i32[b,k] keep=bits[b,k]": batch, heads, g kv_heads, query positions, keys */
    const char *note;   /* one sentence: what is easily got wrong */
    double scale;       /* CLATTN_LOG_DIM_SCALE: log(dim) */
    int32_t normaliser; /* clattn_normaliser */
    int32_t corner;     /* clattn_corner, unless the problem has one */
    int32_t n_scalars;
    int32_t reserved;
    clattn_scalar scalars[CLATTN_MAX_SCALARS]; /* with their defaults */
} clattn_mechanism;
#define CLATTN_MECHANISM_INIT                                                                             \
    {                                                                                                     \
        sizeof(clattn_mechanism), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0.0, 0, 0, 0, 0, {{"", 0, 0, 0.0}} \
    }

CLATTN_BEGIN
/* Describe mechanism number index, from 0; BAD_COUNT past the last. */
CLATTN_API clattn_status clattn_mechanism_describe(size_t index, clattn_mechanism *mechanism);

/* Write a mechanism into a problem whose sizes are set: the rules it has replace the problem's; arrays and
 * scalars are declared after those that are there, and one that is declared already keeps its type,
 * dimensions or value; a corner that is set is kept.  On failure the problem is as before.  message (size
 * bytes; may be NULL, 0) gets a sentence.  NULL_ARGUMENT, BAD_STRUCT_SIZE, UNKNOWN_MECHANISM, BAD_COUNT (no
 * room for its names), DUPLICATE_NAME (a scalar has an array's name), BAD_DIM (log(1) is no scale). */
CLATTN_API clattn_status clattn_mechanism_apply(clattn_attention *problem, const char *name, char *message,
                                                size_t size);

/* T5's buckets of the distances k - q from -n to n: 2 n + 1 numbers below 32.  Beyond 113 to either side they
 * are constant, so n = 128 serves for all. */
CLATTN_API clattn_status clattn_t5_buckets(int32_t *table, int64_t n, int bidirectional);

/* ALiBi's slopes: 2^(-8 i / heads) for i = 1, 2, ...; where heads is no power of two, those of the one below
 * it, then every second one of the one above. */
CLATTN_API clattn_status clattn_alibi_slopes(float *slopes, int64_t heads);
CLATTN_END

#endif
