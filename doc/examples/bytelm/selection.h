/* SPDX-License-Identifier: MIT
 * selection.h - pruned attention: before each attention a selector lists the blocks of keys that are worth reading. */
#ifndef BYTELM_SELECTION_H
#define BYTELM_SELECTION_H

#include "device.h"
#include "model.h"
#include <stdbool.h>

/* What is asked for, the same for all layers and rows. */
struct selection {
    clattn_select select;
    bool best;       /* by scores of our own kernel: the blocks that hold the largest products */
    int64_t refresh; /* single tokens that a list serves */
    int32_t cache, prefix; /* tokens: that the cache has room for, that all rows see */
    cl_mem bounds[LAYERS]; /* MINMAX, POOL_MEAN: of the cache's blocks; else NULL */
};

/* The plan for a number of rows, and its lists. */
struct selection_plan {
    clattn_select_plan *plan;
    clattn_list shape;
    cl_mem lists[LAYERS]; /* kept for later tokens */
    int64_t ages[LAYERS]; /* tokens that a list has served */
    cl_mem scores;        /* of our own kernel; else NULL */
};

/* words: METHOD,BUDGET[,KEY=VALUE]... */
void selection_open(struct selection *s, const char *words, int64_t cache, int32_t prefix);
void selection_close(struct selection *s);

/* Make the plan, and add to the attention's problem what reads the lists. */
void selection_plan(struct selection_plan *plan, struct selection *s, const struct device *d,
                    clattn_attention *problem);
void selection_plan_close(struct selection_plan *plan);

/* Enqueue what makes this layer's list for q's rows, which are the last of `keys' keys.  Returns the list. */
cl_mem selection_enqueue(const struct selection *s, struct selection_plan *plan, const struct device *d, int layer,
                         const clattn_io *attention, int64_t rows, int64_t keys);

#endif
