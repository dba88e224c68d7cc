/* SPDX-License-Identifier: MIT
 * baseline.c - what a program without a fused operator does: S = scale Q K^T, softmax of each row, O = P V, in f32,
 * the two products by CLBlast. */
#include "tool/tool.h"

#ifndef HAVE_CLBLAST

double baseline_seconds(clattn_context *ctx, const clattn_attention *problem, const char **why)
{
    (void)ctx;
    (void)problem;
    *why = "built without CLBlast";
    return 0;
}

#else

#include <clblast_c.h>
#include <math.h>
#include <string.h>

#define MAX_SCORE_BYTES ((int64_t)1 << 30)

extern const char clattn__cl_softmax_rows[];

struct pipeline {
    cl_command_queue queue;
    cl_program program;
    cl_kernel softmax;
    cl_mem q, k, v, o, s;
};

static const char *refusal(const clattn_attention *a)
{
    if (a->type_q || a->type_k || a->type_v || a->type_o)
        return "not f32";
    if (a->flags & (CLATTN_PACKED | CLATTN_KEY_LENGTHS) || a->heads != a->kv_heads)
        return "grouped heads or lengths";
    if (a->pattern.text[0] && strcmp(a->pattern.text, "k <= q"))
        return "pattern";
    if (a->batch * a->heads * a->q_len * a->kv_len * 4 > MAX_SCORE_BYTES)
        return "scores over 1 GiB";
    return a->batch * a->heads * a->q_len * a->kv_len == 0 ? "empty" : NULL;
}

static cl_int open_pipeline(struct pipeline *p, clattn_context *ctx, const clattn_attention *a)
{
    cl_int code;
    const char *text = clattn__cl_softmax_rows;
    cl_context cl = clattn_context_cl(ctx);
    cl_device_id device = clattn_context_device(ctx);
    size_t heads = (size_t)(a->batch * a->heads), rows = heads * (size_t)a->q_len, keys = heads * (size_t)a->kv_len;
    const size_t counts[] = {rows * (size_t)a->dim, keys * (size_t)a->dim, keys * (size_t)a->dim_v, rows * (size_t)a->dim_v,
                             rows * (size_t)a->kv_len};
    cl_mem *mems[] = {&p->q, &p->k, &p->v, &p->o, &p->s};
    float fill = 0.01f;
    cl_int columns = (cl_int)a->kv_len, q_len = (cl_int)a->q_len, causal = a->pattern.text[0] != 0;
    cl_int shift = a->pattern.corner == CLATTN_BOTTOM_RIGHT ? (cl_int)(a->kv_len - a->q_len) : 0;
    p->queue = clCreateCommandQueue(cl, device, 0, &code);
    for (int i = 0; code == CL_SUCCESS && i < 5; i++) {
        *mems[i] = clCreateBuffer(cl, CL_MEM_READ_WRITE, counts[i] * 4, NULL, &code);
        if (code == CL_SUCCESS)
            code = clEnqueueFillBuffer(p->queue, *mems[i], &fill, sizeof fill, 0, counts[i] * 4, 0, NULL, NULL);
    }
    if (code == CL_SUCCESS)
        p->program = clCreateProgramWithSource(cl, 1, &text, NULL, &code);
    if (code == CL_SUCCESS)
        code = clBuildProgram(p->program, 1, &device, "-cl-std=CL1.2", NULL, NULL);
    if (code == CL_SUCCESS)
        p->softmax = clCreateKernel(p->program, "softmax_rows", &code);
    if (code != CL_SUCCESS)
        return code;
    code = clSetKernelArg(p->softmax, 0, sizeof p->s, &p->s);
    code |= clSetKernelArg(p->softmax, 1, sizeof columns, &columns);
    code |= clSetKernelArg(p->softmax, 2, sizeof q_len, &q_len);
    code |= clSetKernelArg(p->softmax, 3, sizeof causal, &causal);
    code |= clSetKernelArg(p->softmax, 4, sizeof shift, &shift);
    return code;
}

static void close_pipeline(struct pipeline *p)
{
    cl_mem mems[] = {p->q, p->k, p->v, p->o, p->s};
    for (int i = 0; i < 5; i++)
        if (mems[i])
            clReleaseMemObject(mems[i]);
    if (p->softmax)
        clReleaseKernel(p->softmax);
    if (p->program)
        clReleaseProgram(p->program);
    if (p->queue)
        clReleaseCommandQueue(p->queue);
}

/* Once through, finished; seconds, or 0 on failure. */
static double run_once(struct pipeline *p, const clattn_attention *a)
{
    size_t heads = (size_t)(a->batch * a->heads), m = (size_t)a->q_len, n = (size_t)a->kv_len;
    size_t dk = (size_t)a->dim, dv = (size_t)a->dim_v, rows = heads * m;
    float scale = a->scale == CLATTN_DEFAULT_SCALE ? 1.0f / sqrtf((float)a->dim) : (float)a->scale;
    double begin = now_seconds();
    CLBlastStatusCode code = CLBlastSgemmStridedBatched(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, m, n, dk,
                                                        scale, p->q, 0, dk, m * dk, p->k, 0, dk, n * dk, 0.0f, p->s, 0, n,
                                                        m * n, heads, &p->queue, NULL);
    if (code == CLBlastSuccess && clEnqueueNDRangeKernel(p->queue, p->softmax, 1, NULL, &rows, NULL, 0, NULL, NULL) != CL_SUCCESS)
        return 0;
    if (code == CLBlastSuccess)
        code = CLBlastSgemmStridedBatched(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeNo, m, dv, n, 1.0f, p->s, 0,
                                          n, m * n, p->v, 0, dv, n * dv, 0.0f, p->o, 0, dv, m * dv, heads, &p->queue, NULL);
    if (code != CLBlastSuccess || clFinish(p->queue) != CL_SUCCESS)
        return 0;
    return now_seconds() - begin;
}

double baseline_seconds(clattn_context *ctx, const clattn_attention *problem, const char **why)
{
    struct pipeline p;
    memset(&p, 0, sizeof p);
    *why = refusal(problem);
    if (*why)
        return 0;
    double best = 0;
    if (open_pipeline(&p, ctx, problem) == CL_SUCCESS && run_once(&p, problem) > 0) /* the first builds */
        best = run_once(&p, problem);
    close_pipeline(&p);
    if (best == 0)
        *why = "failed";
    return best;
}

#endif
