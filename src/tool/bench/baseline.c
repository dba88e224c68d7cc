/* SPDX-License-Identifier: MIT
 * baseline.c - what a program without a fused operator does: S = scale Q K^T, softmax of each row, O = P V,
 * in f32, the two products by CLBlast.
 *
 * Inputs are widened to f32 once, outside the timing.  The query heads of a group lie one after the other, so
 * that their rows are one matrix: a product per key/value head, and nothing is copied for sharing. */
#include "tool/bench/bench.h"

#ifndef HAVE_CLBLAST

struct baseline measure_baseline(clattn_context *ctx, struct peak *peak, const struct workload *w)
{
    (void)ctx;
    (void)peak;
    (void)w;
    return (struct baseline){.why = "built without CLBlast"};
}

double expect_baseline(const clattn_attention *a, double rate)
{
    (void)a;
    (void)rate;
    return 0;
}

#else

#include <clblast_c.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define UNIT 0x1p-24
#define MAX_SCORE_BYTES ((int64_t)1 << 30)
#define LEAST_RUNS 3
#define MOST_RUNS 9
#define BUDGET_SECONDS 0.8 /* further runs begin while this lasts */
#define LONGEST_SECONDS 1  /* and those that are least while this does: quick is to end within a minute */
#define SLOWEST_SECONDS 5  /* a run that takes longer is not repeated */

extern const char clattn__cl_softmax_rows[];

/* Which keys row i of a head sees: the first prefix, and those up to i + shift. */
struct rule {
    bool causal;
    int64_t prefix, shift;
};

struct pipeline {
    cl_command_queue queue;
    cl_program program;
    cl_kernel softmax;
    cl_mem q, k, v, o, s;
    size_t products, rows, keys; /* a product for each key/value head: its group's rows by its keys */
    size_t dim, dim_v;
    size_t heads, q_len;
    float scale;
    struct rule rule;
};

/* ---- what it can do ---- */
/* Reads the patterns of the problem language that hide keys only at the end of a row. */
static bool read_rule(const clattn_attention *a, struct rule *rule)
{
    const char *text = a->pattern.text;
    int n = 0, prefix = 0;
    *rule = (struct rule){.causal = text[0] != 0,
                          .shift = a->pattern.corner == CLATTN_BOTTOM_RIGHT ? a->kv_len - a->q_len : 0};
    if (!text[0] || !strcmp(text, "k <= q"))
        return true;
    if ((sscanf(text, "k < %d | k <= q%n", &prefix, &n) == 1 && n > 0 && !text[n]) ||
        (sscanf(text, "k <= q | k < %d%n", &prefix, &n) == 1 && n > 0 && !text[n])) {
        rule->prefix = prefix > 0 ? prefix : 0;
        return true;
    }
    return false;
}

static const char *refusal(const clattn_attention *a, struct rule *rule)
{
    if (a->flags & (CLATTN_PACKED | CLATTN_KEY_LENGTHS))
        return "lengths";
    if (!read_rule(a, rule))
        return "pattern";
    if ((double)a->batch * (double)a->heads * (double)a->q_len * (double)a->kv_len * 4 >
        (double)MAX_SCORE_BYTES)
        return "scores over 1 GiB";
    return a->batch * a->q_len * a->kv_len == 0 ? "empty" : NULL;
}

/* ---- setting up ---- */
/* A tensor as dense f32 [batch][head][token][width] on the host; the caller frees it. */
static float *widen(const struct ref_tensor *t, int64_t batch, int64_t heads, int64_t tokens, int64_t width)
{
    float *to = malloc((size_t)(batch * heads * tokens * width) * sizeof *to), *at = to;
    for (int64_t row = 0; to && row < batch * heads * tokens; row++) {
        int64_t first = t->offset + row / tokens / heads * t->batch + row / tokens % heads * t->head +
                        row % tokens * t->token;
        for (int64_t d = 0; d < width; d++)
            *at++ = (float)ref_widen(t->type, t->data, first + d);
    }
    return to;
}

static cl_mem upload(cl_context cl, float *data, size_t count, cl_int *code)
{
    cl_mem mem = NULL;
    if (*code == CL_SUCCESS && !data)
        *code = CL_OUT_OF_HOST_MEMORY;
    if (*code == CL_SUCCESS)
        mem = clCreateBuffer(cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, count * sizeof *data, data, code);
    free(data);
    return mem;
}

static cl_int make_buffers(struct pipeline *p, cl_context cl, const struct workload *w)
{
    const clattn_attention *a = &w->problem;
    struct ref_problem r = workload_reference(w);
    cl_int code = CL_SUCCESS;
    size_t all_rows = p->products * p->rows, all_keys = p->products * p->keys;
    p->q = upload(cl, widen(&r.q, a->batch, a->heads, a->q_len, a->dim), all_rows * p->dim, &code);
    p->k = upload(cl, widen(&r.k, a->batch, a->kv_heads, a->kv_len, a->dim), all_keys * p->dim, &code);
    p->v = upload(cl, widen(&r.v, a->batch, a->kv_heads, a->kv_len, a->dim_v), all_keys * p->dim_v, &code);
    if (code == CL_SUCCESS)
        p->o = clCreateBuffer(cl, CL_MEM_READ_WRITE, all_rows * p->dim_v * sizeof(float), NULL, &code);
    if (code == CL_SUCCESS)
        p->s = clCreateBuffer(cl, CL_MEM_READ_WRITE, all_rows * p->keys * sizeof(float), NULL, &code);
    return code;
}

static cl_int make_softmax(struct pipeline *p, cl_context cl, cl_device_id device)
{
    const char *text = clattn__cl_softmax_rows;
    cl_int code, columns = (cl_int)p->keys;
    p->program = clCreateProgramWithSource(cl, 1, &text, NULL, &code);
    if (code == CL_SUCCESS)
        code = clBuildProgram(p->program, 1, &device, "-cl-std=CL1.2", NULL, NULL);
    if (code == CL_SUCCESS)
        p->softmax = clCreateKernel(p->program, "softmax_rows", &code);
    if (code == CL_SUCCESS)
        code = clSetKernelArg(p->softmax, 0, sizeof p->s, &p->s);
    if (code == CL_SUCCESS)
        code = clSetKernelArg(p->softmax, 1, sizeof columns, &columns);
    return code;
}

static cl_int open_pipeline(struct pipeline *p, clattn_context *ctx, const struct workload *w)
{
    const clattn_attention *a = &w->problem;
    cl_int code;
    p->products = (size_t)(a->batch * a->kv_heads);
    p->rows = (size_t)(a->heads / a->kv_heads * a->q_len);
    p->keys = (size_t)a->kv_len;
    p->dim = (size_t)a->dim;
    p->dim_v = (size_t)a->dim_v;
    p->heads = (size_t)(a->batch * a->heads);
    p->q_len = (size_t)a->q_len;
    p->scale = (float)a->scale; /* a workload's is a number */
    p->queue = clCreateCommandQueue(clattn_context_cl(ctx), clattn_context_device(ctx), 0, &code);
    if (code == CL_SUCCESS)
        code = make_buffers(p, clattn_context_cl(ctx), w);
    return code == CL_SUCCESS ? make_softmax(p, clattn_context_cl(ctx), clattn_context_device(ctx)) : code;
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

/* ---- one run ---- */
/* Rows first to first + count - 1 of all scores; row i sees (i mod period) + 1 + shift keys, all of them
 * without a limit. */
static cl_int weigh(struct pipeline *p, size_t first, size_t count, bool limit, size_t period, int64_t shift)
{
    cl_int rows = (cl_int)period, limited = limit, by = (cl_int)shift, code;
    if (count == 0)
        return CL_SUCCESS;
    code = clSetKernelArg(p->softmax, 2, sizeof rows, &rows);
    if (code == CL_SUCCESS)
        code = clSetKernelArg(p->softmax, 3, sizeof limited, &limited);
    if (code == CL_SUCCESS)
        code = clSetKernelArg(p->softmax, 4, sizeof by, &by);
    return code == CL_SUCCESS
               ? clEnqueueNDRangeKernel(p->queue, p->softmax, 1, &first, &count, NULL, 0, NULL, NULL)
               : code;
}

/* The rows of a head up to the prefix see just it (a period of 1 makes every row the first); the others are
 * causal. */
static cl_int softmax(struct pipeline *p)
{
    const struct rule *r = &p->rule;
    int64_t q_len = (int64_t)p->q_len, short_rows = r->prefix - r->shift;
    cl_int code = CL_SUCCESS;
    if (r->prefix == 0)
        return weigh(p, 0, p->heads * p->q_len, r->causal, p->q_len, r->shift);
    short_rows = short_rows < 0 ? 0 : short_rows < q_len ? short_rows : q_len;
    for (size_t h = 0; h < p->heads && code == CL_SUCCESS; h++) {
        size_t first = h * p->q_len, n = (size_t)short_rows;
        code = weigh(p, first, n, true, 1, r->prefix - 1);
        if (code == CL_SUCCESS)
            code = weigh(p, first + n, p->q_len - n, true, p->q_len, r->shift);
    }
    return code;
}

/* Once through, finished; seconds, or 0 on failure. */
static double run_once(struct pipeline *p)
{
    size_t m = p->rows, n = p->keys, dk = p->dim, dv = p->dim_v;
    char byte;
    double begin = now_seconds();
    CLBlastStatusCode code = CLBlastSgemmStridedBatched(
        CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeYes, m, n, dk, p->scale, p->q, 0, dk,
        m * dk, p->k, 0, dk, n * dk, 0.0f, p->s, 0, n, m * n, p->products, &p->queue, NULL);
    if (code == CLBlastSuccess && softmax(p) != CL_SUCCESS)
        return 0;
    if (code == CLBlastSuccess)
        code = CLBlastSgemmStridedBatched(CLBlastLayoutRowMajor, CLBlastTransposeNo, CLBlastTransposeNo, m,
                                          dv, n, 1.0f, p->s, 0, n, m * n, p->v, 0, dv, n * dv, 0.0f, p->o, 0,
                                          dv, m * dv, p->products, &p->queue, NULL);
    if (code != CLBlastSuccess || clFinish(p->queue) != CL_SUCCESS ||
        clEnqueueReadBuffer(p->queue, p->o, CL_TRUE, 0, 1, &byte, 0, NULL, NULL) !=
            CL_SUCCESS) /* as time_runs in measure.c */
        return 0;
    return now_seconds() - begin;
}

/* ---- is it right? ---- */
/* The largest Euclidean length of a row. */
static double longest_row(const float *rows, size_t count, size_t width)
{
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        for (size_t d = 0; d < width; d++)
            sum += (double)rows[i * width + d] * (double)rows[i * width + d];
        most = fmax(most, sum);
    }
    return sqrt(most);
}

static double largest(const float *values, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)values[i]));
    return most;
}

/* What two f32 pipelines may differ by at most, in any order of their sums: each score is off by (dim + 4) u
 * |q| |k| scale, which moves weights by as much in the ratio, and sums of n weighted values by n + 8 u; both
 * pipelines, twice for numerator and denominator. */
static double allowed(const struct pipeline *p, const struct workload *w)
{
    const clattn_attention *a = &w->problem;
    struct ref_problem r = workload_reference(w);
    size_t rows = p->heads * p->q_len, keys = p->products * p->keys;
    float *q = widen(&r.q, a->batch, a->heads, a->q_len, a->dim),
          *k = widen(&r.k, a->batch, a->kv_heads, a->kv_len, a->dim);
    float *v = widen(&r.v, a->batch, a->kv_heads, a->kv_len, a->dim_v);
    double bound = 0;
    if (q && k && v) {
        double score = fabs(a->scale) * longest_row(q, rows, p->dim) * longest_row(k, keys, p->dim);
        bound = 4 * UNIT * largest(v, keys * p->dim_v) * (((double)p->dim + 4) * score + (double)p->keys + 8);
    }
    free(q);
    free(k);
    free(v);
    return bound;
}

/* Whether the pipeline's result is ours, but for rounding: ours to its storage type comes on top. */
static bool agrees(struct pipeline *p, const struct workload *w)
{
    static const double unit[] = {0, 0x1p-11, 0x1p-8};
    const clattn_attention *a = &w->problem;
    struct ref_tensor o = {w->o, a->type_o, a->o.offset, a->o.batch, a->o.head, a->o.token};
    size_t count = p->heads * p->q_len * p->dim_v;
    float *ours = widen(&o, a->batch, a->heads, a->q_len, a->dim_v), *theirs = malloc(count * sizeof *theirs);
    double bound = allowed(p, w);
    bool same = ours && theirs &&
                clEnqueueReadBuffer(p->queue, p->o, CL_TRUE, 0, count * sizeof *theirs, theirs, 0, NULL,
                                    NULL) == CL_SUCCESS;
    for (size_t i = 0; same && i < count; i++) /* a NaN is not the same */
        same = fabs((double)ours[i] - (double)theirs[i]) <= bound + unit[a->type_o] * fabs((double)ours[i]);
    free(ours);
    free(theirs);
    return same;
}

/* ---- the measurement ---- */
/* Whether a run follows after so many. */
static bool goes_on(int runs, double gone)
{
    return runs < MOST_RUNS && gone < (runs < LEAST_RUNS ? LONGEST_SECONDS : BUDGET_SECONDS);
}

/* What both products take at a device's own rate of multiply-adds. */
static double ideal_seconds(const clattn_attention *a, double rate)
{
    const double scores = (double)a->batch * (double)a->heads * (double)a->q_len * (double)a->kv_len;
    return 2 * scores * (double)(a->dim + a->dim_v) / rate;
}

static bool is_too_slow(double first)
{
    return first > 6 * SLOWEST_SECONDS;
}

/* Whether a hundredth of the device's rate would do for a run: if the first one, which compiles, takes long,
 * that was the compilers. */
static bool is_small(const clattn_attention *a, struct peak *peak)
{
    return 100 * ideal_seconds(a, peak_flops(peak)) <= SLOWEST_SECONDS;
}

double expect_baseline(const clattn_attention *a, double rate)
{
    struct rule rule;
    if (refusal(a, &rule))
        return 0;
    const double run = ideal_seconds(a, rate);
    double gone = 0;
    for (int runs = 0; !is_too_slow(run) && goes_on(runs, gone); runs++)
        gone += run;
    return run + gone;
}

static struct baseline time_pipeline(struct pipeline *p, struct peak *peak)
{
    struct baseline b = {.runs = 0};
    double times[MOST_RUNS], operations[MOST_RUNS], begin = now_seconds();
    while (goes_on(b.runs, now_seconds() - begin)) {
        double before = peak_flops(peak);
        times[b.runs] = run_once(p);
        operations[b.runs] = times[b.runs] * (before + peak_flops(peak)) / 2;
        if (times[b.runs] <= 0)
            return (struct baseline){.why = "failed"};
        if (times[b.runs++] > SLOWEST_SECONDS)
            return (struct baseline){.why = "over 5 s"};
    }
    b.seconds = quantile(times, b.runs, 0.5);
    b.peak_operations = quantile(operations, b.runs, 0.5);
    return b;
}

struct baseline measure_baseline(clattn_context *ctx, struct peak *peak, const struct workload *w)
{
    struct pipeline p;
    struct baseline b = {.why = "failed"};
    memset(&p, 0, sizeof p);
    const char *why = refusal(&w->problem, &p.rule);
    if (why)
        return (struct baseline){.why = why};
    const double first = open_pipeline(&p, ctx, w) == CL_SUCCESS ? run_once(&p) : 0;
    if (first > 0) {
        const bool slow = is_too_slow(first) && !is_small(&w->problem, peak);
        b.why = !agrees(&p, w) ? "wrong" : slow ? "over 5 s" : NULL;
        if (!b.why)
            b = time_pipeline(&p, peak);
    }
    close_pipeline(&p);
    return b;
}

#endif
