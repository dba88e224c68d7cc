/* SPDX-License-Identifier: MIT
 * attention.h - the attention of this program: all that speaks of clattn's problems, plans and buffers. */
#ifndef BYTELM_ATTENTION_H
#define BYTELM_ATTENTION_H

#include "device.h"
#include "parts.h"
#include "selection.h"
#include <stdbool.h>

/* What the whole run has in common. */
struct attention_shape {
    const char *words; /* of --attention */
    clattn_type type;  /* of q, k, v */
    int64_t capacity;  /* tokens that the cache has room for */
    int32_t prefix;    /* tokens that all may see; 0: causal */
    int64_t refresh;   /* single tokens that a list of hip:... serves */
};

/* A plan is for a fixed number of rows.  A run has three at most: a chunk, the last chunk, and one token. */
enum { MOST_PLANS = 3 };
struct attention {
    const struct device *device;
    clattn_attention problem; /* for any number of rows */
    bool selects; /* hip:... */
    struct selection selection;
    int32_t keys;       /* how many tokens the cache holds */
    cl_mem key_lengths; /* the same on the device */
    int n_plans;
    struct attention_plan {
        int64_t rows;
        struct selection_plan selection; /* if attention selects */
        clattn_plan *forward;
    } plans[MOST_PLANS];
};

/* q: [head][row][HEAD_DIM]; k, v: [kv head][token of capacity][HEAD_DIM]; o: f32 [row][head][HEAD_DIM]. */
struct attention_buffers {
    cl_mem q, k, v, o;
};

void attention_open(struct attention *a, const struct device *d, const struct attention_shape *shape);
void attention_close(struct attention *a);

/* Make the plan for this many rows, which may take seconds; false: there was one already. */
bool attention_plan(struct attention *a, int64_t rows);

/* Forget the lists that were made for other tokens than the next call's. */
void attention_restart(struct attention *a);

/* From now on the cache holds this many tokens, of which the next calls' rows are the last. */
void attention_set_keys(struct attention *a, int32_t keys);

/* Enqueue the attention of a layer, of as many rows as there is a plan for. */
void attention_enqueue(struct attention *a, int layer, int64_t rows,
                       const struct attention_buffers *buffers, struct parts *parts);

#endif
