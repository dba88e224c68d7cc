/* SPDX-License-Identifier: MIT
 * forward.h - the model on some tokens that follow those in the cache. */
#ifndef BYTELM_FORWARD_H
#define BYTELM_FORWARD_H

#include "attention.h"
#include "model.h"

struct forward {
    const struct device *device;
    const struct model *model;
    struct attention attention;
    struct parts parts;
    int64_t most_rows;      /* of one call */
    int64_t capacity, seen; /* tokens: of the cache, in it */
    cl_mem k[LAYERS], v[LAYERS];
    cl_mem turns;           /* [capacity][HEAD_DIM / 2] of cosine and sine */
    cl_mem tokens, next;    /* int32[most_rows] */
    cl_mem x, normed;       /* [most_rows][WIDTH]: the sum that layers add to, its norm */
    cl_mem qkv, q, o;       /* [most_rows][QKV]; q and o as in attention.h */
    cl_mem gate_up, hidden; /* [most_rows][2 HIDDEN], [most_rows][HIDDEN] */
    cl_mem logits, bits;    /* [most_rows][BYTES], [most_rows] */
};

/* most_rows: of one call. */
void forward_open(struct forward *f, const struct device *d, const struct model *m,
                  const struct attention_shape *shape, int64_t most_rows);
void forward_close(struct forward *f);

/* Before the first run: plan and compile what calls of this many rows need, so that no clock sees it. */
void forward_prepare(struct forward *f, int64_t rows);

/* Run the layers on tokens[rows], which from then on are in the cache. */
void forward_run(struct forward *f, const int32_t *tokens, int64_t rows);

/* Of the rows of the last run: what the bytes that came next cost, bits[rows]; the logits of the last row.
 * They wait, and add to parts.seconds. */
void forward_bits(struct forward *f, const int32_t *next, int64_t rows, float *bits);
void forward_last_logits(struct forward *f, int64_t rows, float logits[BYTES]);

#endif
