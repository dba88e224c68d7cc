/* SPDX-License-Identifier: MIT
 * selection.h - pruned attention: a selector lists blocks of keys worth reading, attention reads them. */
#ifndef BYTELM_SELECTION_H
#define BYTELM_SELECTION_H

#include "device.h"
#include "model.h"

/* What is asked for, the same for all layers and rows. */
struct selection_shape {
    const char *words;     /* of --attention, behind "hip:" */
    int64_t refresh;       /* single tokens that a list serves */
    int32_t cache, prefix; /* tokens: that the cache has room for, that all rows see */
};

struct selection {
    const struct device *device;
    struct selection_shape shape;
    clattn_select select;
    cl_mem bounds[LAYERS]; /* MINMAX, POOL_MEAN: of the cache's blocks; else NULL */
};

/* The plan for a number of rows, and its lists. */
struct selection_plan {
    clattn_select_plan *plan;
    clattn_list list;
    cl_mem lists[LAYERS];  /* kept for later tokens */
    int64_t made[LAYERS];  /* how many keys there were when the list was made; 0: there is none */
    cl_mem scores;         /* EXTERNAL_SCORE: of our own kernel; else NULL */
};

void selection_open(struct selection *s, const struct device *d, const struct selection_shape *shape);
void selection_close(struct selection *s);

/* Make the plan, and add to the attention's problem what reads the lists. */
void selection_plan(struct selection_plan *plan, struct selection *s, clattn_attention *problem);
void selection_plan_close(struct selection_plan *plan);

/* Enqueue what makes this layer's list for q's rows, which are the last of `keys' keys.  Returns the list. */
cl_mem selection_enqueue(const struct selection *s, struct selection_plan *plan, int layer,
                         const clattn_io *attention, int64_t rows, int64_t keys);

#endif
