/* SPDX-License-Identifier: MIT
 * delta.c - the output of pruned attention, corrected by dense attention of every n-th row, and how far
 * either is from dense attention of all rows. */
#include "tool/delta.h"

#include <math.h>
#include <stdlib.h>

#define DISTANCE_ROWS 256
#define GOLDEN        0.6180339887498949
#define TIMES         3

/* |o - dense| / |dense| of some rows of all batch entries and heads, by the double reference. */
static double distance(const struct workload *w, const struct workload *dense)
{
    const struct ref_problem p = workload_reference(dense);
    const clattn_attention *a = &w->problem;
    const int64_t all = a->batch * a->heads * a->q_len, n = all < DISTANCE_ROWS ? all : DISTANCE_ROWS;
    double apart = 0, whole = 0, *wanted = malloc((size_t)a->dim_v * sizeof *wanted), lse;
    for (int64_t j = 0; wanted && j < n; j++) {
        const int64_t r = (int64_t)(fmod(((double)j + 0.5) * GOLDEN, 1) * (double)all);
        const int64_t b = r / a->q_len / a->heads, h = r / a->q_len % a->heads, i = r % a->q_len;
        ref_row(&p, b, h, i, NULL, wanted, &lse);
        for (int64_t d = 0; d < a->dim_v; d++) {
            const double o =
                ref_widen(a->type_o, w->o, a->o.offset + b * a->o.batch + h * a->o.head + i * a->o.token + d);
            apart += (o - wanted[d]) * (o - wanted[d]);
            whole += wanted[d] * wanted[d];
        }
    }
    free(wanted);
    return whole > 0 ? sqrt(apart / whole) : 0;
}

/* Dense attention of the anchors, on host memory. */
static clattn_status run_anchors(clattn_context *ctx, const clattn_attention *rows,
                                 const struct workload *dense, void *o, double *seconds)
{
    clattn_plan *plan = NULL;
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    clattn_status status = clattn_plan_create(&plan, ctx, rows);
    io.q = dense->q;
    io.k = dense->k;
    io.v = dense->v;
    io.o = o;
    io.key_lengths = dense->key_lengths;
    for (int i = 0; i < rows->n_arrays; i++)
        io.arrays[i] = dense->arrays[i];
    *seconds = INFINITY;
    for (int i = 0; !status && i < TIMES; i++) {
        status = clattn_run_forward(plan, &io);
        *seconds = fmin(*seconds, io.seconds);
    }
    clattn_plan_destroy(plan);
    return status;
}

/* o is corrected in place, so each time it is first what it was. */
static clattn_status enqueue(clattn_delta_plan *plan, cl_command_queue queue, cl_mem anchors, cl_mem o,
                             const void *pruned, size_t bytes, double *seconds)
{
    clattn_status status = CLATTN_OK;
    *seconds = INFINITY;
    for (int i = 0; !status && i < TIMES; i++) {
        if (clEnqueueWriteBuffer(queue, o, CL_TRUE, 0, bytes, pruned, 0, NULL, NULL) != CL_SUCCESS)
            return CLATTN_OPENCL_FAILED;
        const double begin = now_seconds();
        status = clattn_enqueue_delta(plan, queue, anchors, o, 0, NULL, NULL);
        if (!status && clFinish(queue) != CL_SUCCESS)
            status = CLATTN_OPENCL_FAILED;
        *seconds = fmin(*seconds, now_seconds() - begin);
    }
    return status;
}

static clattn_status correct(clattn_context *ctx, struct workload *w, int64_t every, void *anchors,
                             size_t bytes, double *seconds)
{
    const size_t o_bytes = (size_t)(w->o_count * workload_type_bytes(w->problem.type_o));
    cl_int code, codes[2];
    clattn_delta_plan *plan = NULL;
    clattn_status status = clattn_delta_plan_create(&plan, ctx, &w->problem, every);
    cl_command_queue queue =
        clCreateCommandQueue(clattn_context_cl(ctx), clattn_context_device(ctx), 0, &code);
    cl_mem from = clCreateBuffer(clattn_context_cl(ctx), CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, bytes,
                                 anchors, &codes[0]);
    cl_mem o = clCreateBuffer(clattn_context_cl(ctx), CL_MEM_READ_WRITE, o_bytes, NULL, &codes[1]);
    if (!status && (code != CL_SUCCESS || codes[0] != CL_SUCCESS || codes[1] != CL_SUCCESS))
        status = CLATTN_OUT_OF_DEVICE_MEMORY;
    if (!status)
        status = enqueue(plan, queue, from, o, w->o, o_bytes, seconds);
    if (!status && clEnqueueReadBuffer(queue, o, CL_TRUE, 0, o_bytes, w->o, 0, NULL, NULL) != CL_SUCCESS)
        status = CLATTN_OPENCL_FAILED;
    if (codes[0] == CL_SUCCESS)
        clReleaseMemObject(from);
    if (codes[1] == CL_SUCCESS)
        clReleaseMemObject(o);
    if (code == CL_SUCCESS)
        clReleaseCommandQueue(queue);
    clattn_delta_plan_destroy(plan);
    return status;
}

clattn_status apply_delta(clattn_context *ctx, struct workload *w, const struct workload *dense,
                          int64_t every, struct delta *delta, char why[512])
{
    clattn_attention rows = CLATTN_ATTENTION_INIT;
    *delta = (struct delta){.rows = 0};
    clattn_status status = clattn_delta_rows(&dense->problem, every, &rows, why, 512);
    if (status || rows.batch * rows.heads * rows.q_len == 0)
        return status;
    const size_t bytes =
        (size_t)(rows.batch * rows.heads * rows.q_len * rows.dim_v * workload_type_bytes(rows.type_o));
    void *anchors = malloc(bytes);
    if (!anchors)
        return CLATTN_OUT_OF_HOST_MEMORY;
    delta->before = distance(w, dense);
    status = run_anchors(ctx, &rows, dense, anchors, &delta->anchor_seconds);
    if (!status)
        status = correct(ctx, w, every, anchors, bytes, &delta->seconds);
    free(anchors);
    if (status)
        return status;
    delta->after = distance(w, dense);
    delta->rows = rows.q_len;
    return CLATTN_OK;
}
