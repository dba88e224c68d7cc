/* SPDX-License-Identifier: MIT
 * forward.c - the layers, as enqueues: products by CLBlast, attention by clattn, the rest by kernels.cl.
 *
 *     x = embedding[tokens]
 *     for each layer:  x += wo attention(turned heads of (wq, wk, wv) norm(x))
 *                      x += w2 (silu(w1 norm(x)) * w3 norm(x))
 *     logits = embedding norm(x) */
#include "forward.h"

#include <clblast_c.h>
#include <math.h>
#include <stdlib.h>

#define HALF_DIM (HEAD_DIM / 2)

/* ---- opening ---- */
/* The angles of all positions, in double: position 16384 in f32 would be off by a thousandth. */
static cl_mem make_turns(const struct device *d, int64_t capacity)
{
    size_t bytes = (size_t)capacity * HALF_DIM * 2 * sizeof(float);
    float *turns = malloc(bytes);
    if (!turns)
        stop("out of memory");
    for (int64_t i = 0; i < capacity * HALF_DIM; i++) {
        double angle = (double)(i / HALF_DIM) * pow(ROPE_BASE, -(double)(i % HALF_DIM) / HALF_DIM);
        turns[2 * i] = (float)cos(angle);
        turns[2 * i + 1] = (float)sin(angle);
    }
    cl_mem mem = device_buffer(d, bytes, turns);
    free(turns);
    return mem;
}

void forward_open(struct forward *f, const struct device *d, const struct model *m,
                  const struct attention_shape *shape, int64_t most_rows)
{
    size_t rows = (size_t)most_rows, number = sizeof(float), stored = shape->type == CLATTN_F32 ? 4 : 2;
    size_t cache = (size_t)shape->capacity * KV_HEADS * HEAD_DIM * stored;
    *f = (struct forward){.device = d,
                          .model = m,
                          .parts = {.queue = d->queue},
                          .most_rows = most_rows,
                          .capacity = shape->capacity};
    attention_open(&f->attention, d, shape);
    for (int i = 0; i < LAYERS; i++) {
        f->k[i] = device_buffer(d, cache, NULL);
        f->v[i] = device_buffer(d, cache, NULL);
    }
    f->turns = make_turns(d, shape->capacity);
    f->tokens = device_buffer(d, rows * sizeof(int32_t), NULL);
    f->next = device_buffer(d, rows * sizeof(int32_t), NULL);
    f->x = device_buffer(d, rows * WIDTH * number, NULL);
    f->normed = device_buffer(d, rows * WIDTH * number, NULL);
    f->qkv = device_buffer(d, rows * QKV * number, NULL);
    f->q = device_buffer(d, rows * HEADS * HEAD_DIM * stored, NULL);
    f->o = device_buffer(d, rows * HEADS * HEAD_DIM * number, NULL);
    f->gate_up = device_buffer(d, rows * 2 * HIDDEN * number, NULL);
    f->hidden = device_buffer(d, rows * HIDDEN * number, NULL);
    f->logits = device_buffer(d, rows * BYTES * number, NULL);
    f->bits = device_buffer(d, rows * number, NULL);
}

void forward_close(struct forward *f)
{
    cl_mem mems[] = {f->turns, f->tokens, f->next,    f->x,      f->normed, f->qkv,
                     f->q,     f->o,      f->gate_up, f->hidden, f->logits, f->bits};
    attention_close(&f->attention);
    for (int i = 0; i < LAYERS; i++) {
        clReleaseMemObject(f->k[i]);
        clReleaseMemObject(f->v[i]);
    }
    for (size_t i = 0; i < sizeof mems / sizeof mems[0]; i++)
        clReleaseMemObject(mems[i]);
}

/* ---- steps ---- */
static void check_clblast(CLBlastStatusCode code)
{
    if (code != CLBlastSuccess)
        stop("CLBlast gave %d", (int)code);
}

/* A product's matrix: w [outputs][inputs]. */
struct matrix {
    cl_mem w;
    size_t outputs, inputs;
};

/* y = w x[row] + keep y.  It takes as long as it takes to read w, which products of matrices do not know. */
static void multiply_row(struct forward *f, struct matrix m, cl_mem x, size_t row, cl_mem y, float keep)
{
    cl_command_queue queue = f->device->queue;
    check_clblast(CLBlastSgemv(CLBlastLayoutRowMajor, CLBlastTransposeNo, m.outputs, m.inputs, 1, m.w, 0,
                               m.inputs, x, row * m.inputs, 1, keep, y, 0, 1, &queue, NULL));
    parts_mark(&f->parts, PART_PRODUCTS);
}

/* y[row] = w x[row] + keep y[row] for all rows. */
static void multiply(struct forward *f, struct matrix m, cl_mem x, cl_mem y, size_t rows, float keep)
{
    cl_command_queue queue = f->device->queue;
    if (rows == 1) {
        multiply_row(f, m, x, 0, y, keep);
        return;
    }
    check_clblast(CLBlastSgemm(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, rows,
                               m.outputs, m.inputs, 1, x, 0, m.inputs, m.w, 0, m.inputs, keep, y, 0,
                               m.outputs, &queue, NULL));
    parts_mark(&f->parts, PART_PRODUCTS);
}

static void normalise(struct forward *f, cl_mem weight, size_t rows)
{
    cl_int width = WIDTH;
    device_launch(f->device, RMS_NORM, (size_t[]){rows * GROUP, 1, 1}, (size_t[]){GROUP, 1, 1},
                  ARGUMENTS(ARGUMENT(f->x), ARGUMENT(weight), ARGUMENT(f->normed), ARGUMENT(width)));
    parts_mark(&f->parts, PART_SMALL);
}

static void attend(struct forward *f, int layer, size_t rows)
{
    const struct layer *w = &f->model->layers[layer];
    cl_int heads = HEADS, kv_heads = KV_HEADS, capacity = (cl_int)f->capacity, seen = (cl_int)f->seen;
    struct attention_buffers buffers = {f->q, f->k[layer], f->v[layer], f->o};
    normalise(f, w->norm_attention, rows);
    multiply(f, (struct matrix){w->qkv, QKV, WIDTH}, f->normed, f->qkv, rows, 0);
    device_launch(f->device, PLACE_HEADS, (size_t[]){HALF_DIM, HEADS + 2 * KV_HEADS, rows}, NULL,
                  ARGUMENTS(ARGUMENT(f->qkv), ARGUMENT(f->turns), ARGUMENT(f->q), ARGUMENT(f->k[layer]),
                            ARGUMENT(f->v[layer]), ARGUMENT(heads), ARGUMENT(kv_heads), ARGUMENT(capacity),
                            ARGUMENT(seen)));
    parts_mark(&f->parts, PART_SMALL);
    attention_enqueue(&f->attention, layer, (int64_t)rows, &buffers, &f->parts);
    multiply(f, (struct matrix){w->from_heads, WIDTH, HEADS * HEAD_DIM}, f->o, f->x, rows, 1);
}

static void think(struct forward *f, int layer, size_t rows)
{
    const struct layer *w = &f->model->layers[layer];
    normalise(f, w->norm_hidden, rows);
    multiply(f, (struct matrix){w->gate_up, 2 * HIDDEN, WIDTH}, f->normed, f->gate_up, rows, 0);
    device_launch(f->device, SWIGLU, (size_t[]){HIDDEN, rows, 1}, NULL,
                  ARGUMENTS(ARGUMENT(f->gate_up), ARGUMENT(f->hidden)));
    parts_mark(&f->parts, PART_SMALL);
    multiply(f, (struct matrix){w->down, WIDTH, HIDDEN}, f->hidden, f->x, rows, 1);
}

/* ---- the pass ---- */
static void embed(struct forward *f, size_t rows)
{
    device_launch(f->device, EMBED, (size_t[]){WIDTH, rows, 1}, NULL,
                  ARGUMENTS(ARGUMENT(f->tokens), ARGUMENT(f->model->embedding), ARGUMENT(f->x)));
}

void forward_run(struct forward *f, const int32_t *tokens, int64_t rows)
{
    if (rows < 1 || rows > f->most_rows || rows > f->capacity - f->seen)
        stop("%ld tokens do not fit behind %ld", (long)rows, (long)f->seen);
    device_write(f->device, f->tokens, (size_t)rows * sizeof *tokens, tokens);
    attention_set_keys(&f->attention, (int32_t)(f->seen + rows));
    parts_mark(&f->parts, PART_BEGIN);
    embed(f, (size_t)rows);
    for (int layer = 0; layer < LAYERS; layer++) {
        attend(f, layer, (size_t)rows);
        think(f, layer, (size_t)rows);
    }
    normalise(f, f->model->norm_last, (size_t)rows);
    f->seen += rows;
}

static void find_bits(struct forward *f, size_t rows)
{
    cl_int width = BYTES;
    multiply(f, (struct matrix){f->model->embedding, BYTES, WIDTH}, f->normed, f->logits, rows, 0);
    device_launch(f->device, ROW_BITS, (size_t[]){rows * GROUP, 1, 1}, (size_t[]){GROUP, 1, 1},
                  ARGUMENTS(ARGUMENT(f->logits), ARGUMENT(f->next), ARGUMENT(f->bits), ARGUMENT(width)));
    parts_mark(&f->parts, PART_SMALL);
}

void forward_bits(struct forward *f, const int32_t *next, int64_t rows, float *bits)
{
    device_write(f->device, f->next, (size_t)rows * sizeof *next, next);
    find_bits(f, (size_t)rows);
    device_read(f->device, f->bits, (size_t)rows * sizeof *bits, bits);
    parts_collect(&f->parts);
}

void forward_last_logits(struct forward *f, int64_t rows, float logits[BYTES])
{
    multiply_row(f, (struct matrix){f->model->embedding, BYTES, WIDTH}, f->normed, (size_t)rows - 1,
                 f->logits, 0);
    device_read(f->device, f->logits, BYTES * sizeof *logits, logits);
    parts_collect(&f->parts);
}

/* One layer stands for all.  What it leaves in the cache, the first run writes over. */
void forward_prepare(struct forward *f, int64_t rows)
{
    if (!attention_plan(&f->attention, rows))
        return;
    parts_mark(&f->parts, PART_BEGIN);
    device_fill(f->device, f->tokens, 0, (size_t)rows);
    device_fill(f->device, f->next, 0, (size_t)rows);
    attention_set_keys(&f->attention, (int32_t)rows);
    embed(f, (size_t)rows);
    attend(f, 0, (size_t)rows);
    think(f, 0, (size_t)rows);
    find_bits(f, (size_t)rows);
    attention_restart(&f->attention);
    parts_collect(&f->parts);
    f->parts = (struct parts){.queue = f->device->queue};
}
