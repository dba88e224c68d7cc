/* SPDX-License-Identifier: MIT
 * extend_selftest.c - the first launch of extend.cl's kernels, by a problem whose copies are known: rows at 6
 * and 7 of 8 keys, a sink, a window of 2, block 2 of two keys. */
#include "select/extend.h"

#include <stdlib.h>
#include <string.h>

enum { TINY_ROWS = 2, TINY_KEYS = 8, TINY_READ = 5 };
static const int tiny_read[TINY_READ] = {0, 4, 5, 6, 7};
/* Their positions: streaming; self, two keys before 6 sharing one; dynamic, within 4. */
static const int tiny_turns[][TINY_READ] = {{3, 4, 5, 6, 7}, {3, 5, 5, 6, 7}, {3, 4, 5, 6, 7}};
/* What kernels read, and write; each a buffer. */
enum tiny_part {
    TINY_Q,
    TINY_K,
    TINY_V,
    TINY_LIST,
    TINY_LENGTHS,
    TINY_COS,
    TINY_SIN,
    TINY_O,
    TINY_LSE,
    TINY_NEW,
    TINY_PARTS = TINY_NEW + PARTS
};
struct tiny {
    size_t bytes[TINY_PARTS];
    unsigned char *host[TINY_PARTS];
    cl_mem mem[TINY_PARTS];
};

static uint32_t element(int32_t type, int64_t row, int64_t d)
{
    return clattn__stored_whole(type, (float)((row * 3 + d) % 7 + 1));
}

/* By a row of the tables: odd ones turn by a quarter, x, y to -y, x; even ones not at all. */
static uint32_t turned_element(int32_t type, int64_t row, int64_t d, int64_t dim, int turn)
{
    const uint32_t sign = type == CLATTN_F32 ? 0x80000000u : 0x8000u;
    return turn % 2 == 0 ? element(type, row, d)
           : d < dim / 2 ? element(type, row, d + dim / 2) ^ sign
                         : element(type, row, d - dim / 2);
}

static void put(unsigned char *data, int32_t type, int64_t at, uint32_t bits)
{
    const uint16_t half = (uint16_t)bits;
    memcpy(data + at * clattn__type_bytes(type),
           type == CLATTN_F32 ? (const void *)&bits : (const void *)&half, (size_t)clattn__type_bytes(type));
}

static void fill_whole(unsigned char *data, int32_t type, int64_t rows, int64_t width)
{
    for (int64_t i = 0; i < rows * width; i++)
        put(data, type, i, element(type, i / width, i % width));
}

/* Inputs, and what attention would have written; all else is 0. */
static void fill_tiny(const clattn_attention *a, struct tiny *t)
{
    const int32_t list[] = {1, 2}, length = TINY_KEYS;
    fill_whole(t->host[TINY_Q], a->type_q, TINY_ROWS, a->dim);
    fill_whole(t->host[TINY_K], a->type_k, TINY_KEYS, a->dim);
    fill_whole(t->host[TINY_V], a->type_v, TINY_KEYS, a->dim_v);
    fill_whole(t->host[TINY_NEW + PART_O], a->type_o, TINY_ROWS, a->dim_v);
    fill_whole(t->host[TINY_NEW + PART_LSE], CLATTN_F32, TINY_ROWS, 1);
    memcpy(t->host[TINY_LIST], list, sizeof list);
    memcpy(t->host[TINY_LENGTHS], &length, sizeof length);
    for (int64_t i = 0; i < TINY_KEYS * (a->dim / 2); i++)
        put(t->host[i / (a->dim / 2) % 2 ? TINY_SIN : TINY_COS], CLATTN_F32, i,
            clattn__stored_whole(CLATTN_F32, 1));
}

/* The first part that is wrong, or NULL. */
static const char *compare_tiny(const clattn_extend_plan *plan, const struct tiny *t, unsigned char *right)
{
    const clattn_attention *a = &plan->problem.a;
    const int *turns = tiny_turns[plan->select.extend - CLATTN_EXTEND_STREAMING];
    const int32_t n = TINY_READ;
    for (int64_t i = 0; i < TINY_ROWS * a->dim; i++)
        put(right, a->type_q, i,
            turned_element(a->type_q, i / a->dim, i % a->dim, a->dim,
                           TINY_KEYS - TINY_ROWS + (int)(i / a->dim)));
    if (memcmp(t->host[TINY_NEW + PART_Q], right, t->bytes[TINY_NEW + PART_Q]))
        return "rows";
    for (int64_t i = 0; i < TINY_READ * a->dim; i++) {
        const int place = (int)(i / a->dim), key = tiny_read[place];
        put(right, a->type_k, i,
            turned_element(a->type_k, key, i % a->dim, a->dim,
                           turns[place]));
    }
    if (memcmp(t->host[TINY_NEW + PART_K], right, t->bytes[TINY_NEW + PART_K]))
        return "keys";
    for (int64_t i = 0; i < TINY_READ * a->dim_v; i++)
        put(right, a->type_v, i, element(a->type_v, tiny_read[i / a->dim_v], i % a->dim_v));
    if (memcmp(t->host[TINY_NEW + PART_V], right, t->bytes[TINY_NEW + PART_V]))
        return "values";
    if (memcmp(t->host[TINY_NEW + LENGTHS], &n, sizeof n))
        return "how many keys";
    if (plan->direct) /* nothing is put anywhere */
        return NULL;
    if (memcmp(t->host[TINY_O], t->host[TINY_NEW + PART_O], t->bytes[TINY_O]))
        return "results";
    return a->flags & CLATTN_WANT_LSE &&
                   memcmp(t->host[TINY_LSE], t->host[TINY_NEW + PART_LSE], t->bytes[TINY_LSE])
               ? "log-sum-exps"
               : NULL;
}

/* Launch both kernels, as of a plan for the tiny problem. */
static cl_int launch_tiny(const clattn_extend_plan *plan, struct tiny *t, cl_command_queue queue)
{
    const clattn_attention *a = &plan->problem.a;
    const struct clattn__wait none = {0, NULL};
    clattn_extend_plan tiny = *plan;
    const clattn_extend_io io = {sizeof io,        t->mem[TINY_Q],   t->mem[TINY_K],       t->mem[TINY_V],
                                 t->mem[TINY_O],   t->mem[TINY_LSE], t->mem[TINY_LENGTHS], t->mem[TINY_LIST],
                                 t->mem[TINY_COS], t->mem[TINY_SIN]};
    const struct extend_args args = {.q_at = {0, 0, 0, a->dim},
                                     .k_at = {0, 0, 0, a->dim},
                                     .v_at = {0, 0, 0, a->dim_v},
                                     .o_at = {0, 0, 0, a->dim_v},
                                     .lse_at = {0, 0, 0, 1},
                                     .list = {.counts_at = 0,
                                              .ids_at = 1,
                                              .scopes = 1,
                                              .q_blocks = 1,
                                              .capacity = 1,
                                              .heads = 1,
                                              .block_q = TINY_ROWS,
                                              .block_k = 2},
                                     .lists = 1,
                                     .q_len = TINY_ROWS,
                                     .kv_len = TINY_KEYS,
                                     .rows = TINY_ROWS,
                                     .keys = TINY_READ,
                                     .heads = 1,
                                     .kv_heads = 1,
                                     .group = 1,
                                     .sink = 1,
                                     .window = 2,
                                     .positions = TINY_KEYS,
                                     .share = 2,
                                     .length = plan->select.extend == CLATTN_EXTEND_SELF ? 1 : 4,
                                     .strips = 1};
    memcpy(tiny.parts, t->mem + TINY_NEW, sizeof tiny.parts);
    tiny.launch = 1;
    cl_int code = clattn__extend_gather(&tiny, &args, &io, queue, none, NULL);
    if (code == CL_SUCCESS && !plan->direct)
        code = clattn__extend_scatter(&tiny, &args, &io, queue, none, NULL);
    for (int i = TINY_O; code == CL_SUCCESS && i < TINY_PARTS; i++)
        code = clEnqueueReadBuffer(queue, t->mem[i], CL_TRUE, 0, t->bytes[i], t->host[i], 0, NULL, NULL);
    return code;
}

static cl_int run_tiny(const clattn_extend_plan *plan, struct tiny *t)
{
    cl_int code = CL_SUCCESS;
    cl_command_queue queue = clCreateCommandQueue(plan->ctx->cl, plan->ctx->device, 0, &code);
    for (int i = 0; code == CL_SUCCESS && i < TINY_PARTS; i++) {
        t->mem[i] = clCreateBuffer(plan->ctx->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, t->bytes[i],
                                   t->host[i], &code);
        if (code != CL_SUCCESS)
            t->mem[i] = NULL;
    }
    if (code == CL_SUCCESS)
        code = launch_tiny(plan, t, queue);
    for (int i = 0; i < TINY_PARTS; i++)
        if (t->mem[i])
            clReleaseMemObject(t->mem[i]);
    if (queue)
        clReleaseCommandQueue(queue);
    return code;
}

clattn_status clattn__extend_self_test(const clattn_extend_plan *plan)
{
    const clattn_attention *a = &plan->problem.a;
    const size_t q = (size_t)(a->dim * clattn__type_bytes(a->type_q)),
                 k = (size_t)(a->dim * clattn__type_bytes(a->type_k)),
                 v = (size_t)(a->dim_v * clattn__type_bytes(a->type_v)),
                 o = (size_t)(a->dim_v * clattn__type_bytes(a->type_o)),
                 table = TINY_KEYS * (size_t)(a->dim / 2) * 4;
    struct tiny t = {.bytes = {TINY_ROWS * q, TINY_KEYS * k, TINY_KEYS * v, 8, 4, table, table, TINY_ROWS * o,
                               TINY_ROWS * 4, TINY_ROWS * q, TINY_READ * k, TINY_READ * v, TINY_ROWS * o,
                               TINY_ROWS * 4, 4}};
    size_t all = 0;
    for (int i = 0; i < TINY_PARTS; i++)
        all += (t.bytes[i] + 7) / 8 * 8;
    unsigned char *data =
        calloc(1, all + t.bytes[TINY_K] + t.bytes[TINY_V]); /* at the end: what is right, of one part */
    if (!data)
        return clattn__fail(plan->ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "extend self-test");
    unsigned char *at = data;
    for (int i = 0; i < TINY_PARTS; at += (t.bytes[i] + 7) / 8 * 8, i++)
        t.host[i] = at;
    fill_tiny(a, &t);
    const cl_int code = run_tiny(plan, &t);
    clattn_status status =
        code == CL_SUCCESS ? CLATTN_OK : clattn__fail_cl(plan->ctx, "the first launch of extend", code);
    const char *wrong = status ? NULL : compare_tiny(plan, &t, at);
    if (wrong && !(a->flags & CLATTN_NO_SELF_TEST))
        status = clattn__fail(plan->ctx, CLATTN_SELF_TEST_FAILED, CL_SUCCESS, "extend: %s", wrong);
    free(data);
    if (!status && !wrong)
        clattn__kept_prove(plan->ctx, plan->kernels[GATHER].program);
    return status;
}
