/* SPDX-License-Identifier: MIT
 * model.h - the weights, on the device: a llama-like decoder over bytes. */
#ifndef BYTELM_MODEL_H
#define BYTELM_MODEL_H

#include "device.h"

/* What the file does not say about itself; its tensors' shapes are checked against these. */
enum {
    LAYERS = 6,
    WIDTH = 384,
    HEADS = 6,
    KV_HEADS = 2,
    HEAD_DIM = 64,
    HIDDEN = 1024,
    BYTES = 256,     /* tokens that are predicted */
    ALL_TOKENS = 260 /* and those that only begin a text, below */
};
enum { MASK_TOKEN = 256, CAUSAL_TOKEN = 257, PREFIX_TOKEN = 258, BIDIRECTIONAL_TOKEN = 259 };
#define ROPE_BASE 500000.0

enum { QKV = (HEADS + 2 * KV_HEADS) * HEAD_DIM }; /* columns of q, k and v together */

/* f32, [out][in].  Matrices that read the same rows lie one under the other: one product does for all. */
struct layer {
    cl_mem norm_attention, norm_hidden;
    cl_mem qkv;       /* wq, wk, wv */
    cl_mem from_heads; /* wo */
    cl_mem gate_up;   /* w1, w3 */
    cl_mem down;      /* w2 */
};

struct model {
    cl_mem embedding; /* [ALL_TOKENS][WIDTH]; its first BYTES rows are the last product too */
    cl_mem norm_last;
    struct layer layers[LAYERS];
};

void model_open(struct model *m, const struct device *d, const char *path);
void model_close(struct model *m);

#endif
