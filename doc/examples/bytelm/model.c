/* SPDX-License-Identifier: MIT
 * model.c - takes the weights from the file, f16 there, and widens them to f32 on the device. */
#include "model.h"

#include "safetensors.h"
#include <stdio.h>

/* Where weights go: a buffer that is filled tensor by tensor. */
struct matrix {
    const struct device *device;
    const struct safetensors *file;
    cl_mem mem;
    cl_uint filled; /* numbers */
};

static struct matrix new_matrix(const struct device *d, const struct safetensors *file, size_t rows,
                                size_t columns)
{
    cl_mem mem = device_buffer(d, rows * columns * sizeof(float), NULL);
    return (struct matrix){.device = d, .file = file, .mem = mem};
}

/* Appends tensor blocks.LAYER.NAME.weight, or NAME.weight for layer -1; columns as safetensors_find. */
static void append(struct matrix *to, int layer, const char *name, int64_t rows, int64_t columns)
{
    char full[64];
    size_t count = (size_t)(rows * (columns ? columns : 1));
    if (layer < 0)
        snprintf(full, sizeof full, "%s.weight", name);
    else
        snprintf(full, sizeof full, "blocks.%d.%s.weight", layer, name);
    cl_mem halves = device_buffer(to->device, count * 2, safetensors_find(to->file, full, rows, columns));
    device_launch(to->device, WIDEN, (size_t[]){count, 1, 1}, NULL,
                  ARGUMENTS(ARGUMENT(halves), ARGUMENT(to->mem), ARGUMENT(to->filled)));
    clReleaseMemObject(halves); /* OpenCL keeps it until the kernel is done */
    to->filled += (cl_uint)count;
}

static cl_mem one_tensor(const struct device *d, const struct safetensors *file, int layer, const char *name,
                         int64_t rows, int64_t columns)
{
    struct matrix m = new_matrix(d, file, (size_t)rows, columns ? (size_t)columns : 1);
    append(&m, layer, name, rows, columns);
    return m.mem;
}

static struct layer read_layer(const struct device *d, const struct safetensors *file, int i)
{
    struct matrix qkv = new_matrix(d, file, QKV, WIDTH), gate_up = new_matrix(d, file, 2 * HIDDEN, WIDTH);
    append(&qkv, i, "wq", HEADS * HEAD_DIM, WIDTH);
    append(&qkv, i, "wk", KV_HEADS * HEAD_DIM, WIDTH);
    append(&qkv, i, "wv", KV_HEADS * HEAD_DIM, WIDTH);
    append(&gate_up, i, "w1", HIDDEN, WIDTH);
    append(&gate_up, i, "w3", HIDDEN, WIDTH);
    return (struct layer){.norm_attention = one_tensor(d, file, i, "n1", WIDTH, 0),
                          .norm_hidden = one_tensor(d, file, i, "n2", WIDTH, 0),
                          .qkv = qkv.mem,
                          .from_heads = one_tensor(d, file, i, "wo", WIDTH, HEADS * HEAD_DIM),
                          .gate_up = gate_up.mem,
                          .down = one_tensor(d, file, i, "w2", WIDTH, HIDDEN)};
}

void model_open(struct model *m, const struct device *d, const char *path)
{
    struct safetensors file;
    safetensors_open(&file, path);
    m->embedding = one_tensor(d, &file, -1, "emb", ALL_TOKENS, WIDTH);
    m->norm_last = one_tensor(d, &file, -1, "nf", WIDTH, 0);
    for (int i = 0; i < LAYERS; i++)
        m->layers[i] = read_layer(d, &file, i);
    safetensors_close(&file);
}

void model_close(struct model *m)
{
    clReleaseMemObject(m->embedding);
    clReleaseMemObject(m->norm_last);
    for (int i = 0; i < LAYERS; i++) {
        const struct layer *l = &m->layers[i];
        cl_mem mems[] = {l->norm_attention, l->norm_hidden, l->qkv, l->from_heads, l->gate_up, l->down};
        for (size_t j = 0; j < sizeof mems / sizeof mems[0]; j++)
            clReleaseMemObject(mems[j]);
    }
}
