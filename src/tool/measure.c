/* SPDX-License-Identifier: MIT
 * measure.c - one problem on one device, as a median and as a fraction of the device's own peak.
 *
 * A repetition is: peak, problem (as often as 50 ms take), peak.  Its fraction is the problem's rate over the
 * mean of the two peaks: a machine whose clock or neighbours change between repetitions shows it in the peaks
 * too.  The median of the fractions is printed.  Times are wall clock from enqueue to finish. */
#include "tool/bench.h"

#include <stdlib.h>
#include <string.h>

#define MAX_REPETITIONS 200
#define LEAST_REPETITIONS 5
#define REPETITION_SECONDS 0.05

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double quantile(double *values, int n, double at)
{
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    return values[(int)(at * (n - 1) + 0.5)];
}

/* ---- a plan with its buffers ---- */
struct device_run {
    clattn_context *ctx;
    clattn_plan *plan;
    cl_command_queue queue;
    clattn_io io;
    cl_mem mems[10 + CLATTN_MAX_ARRAYS];
    int n_mems;
};

static cl_mem upload(struct device_run *r, const void *data, size_t bytes, clattn_status *status)
{
    cl_int code;
    if (*status || bytes == 0 || !data)
        return NULL;
    cl_mem mem = clCreateBuffer(clattn_context_cl(r->ctx), CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, bytes,
                                (void *)(uintptr_t)data, &code);
    if (code != CL_SUCCESS) {
        *status = CLATTN_OUT_OF_DEVICE_MEMORY;
        return NULL;
    }
    return r->mems[r->n_mems++] = mem;
}

static size_t tensor_bytes(int64_t count, int32_t type)
{
    return (size_t)count * (size_t)workload_type_bytes(type);
}

static size_t list_bytes(const clattn_list *list)
{
    uint64_t bytes;
    return clattn_list_bytes(list, &bytes) ? 0 : (size_t)bytes;
}

static clattn_status open_run(struct device_run *r, const struct workload *w)
{
    static const clattn_io init = CLATTN_IO_INIT;
    static const uint32_t zero[4];
    const clattn_attention *a = &w->problem;
    clattn_status status = CLATTN_OK;
    cl_int code;
    size_t lengths = (size_t)a->batch * sizeof(int32_t);
    r->io = init;
    r->io.q = upload(r, w->q, tensor_bytes(w->q_count, a->type_q), &status);
    r->io.k = upload(r, w->k, tensor_bytes(w->k_count, a->type_k), &status);
    r->io.v = upload(r, w->v, tensor_bytes(w->v_count, a->type_v), &status);
    r->io.o = upload(r, w->o, tensor_bytes(w->o_count, a->type_o), &status);
    if (a->flags & CLATTN_WANT_LSE)
        r->io.lse = upload(r, w->lse, (size_t)w->lse_count * 4, &status);
    r->io.q_offsets = upload(r, w->q_offsets, lengths + sizeof(int32_t), &status);
    r->io.k_offsets = upload(r, w->k_offsets, lengths + sizeof(int32_t), &status);
    r->io.key_lengths = upload(r, w->key_lengths, lengths, &status);
    for (int i = 0; i < a->n_arrays; i++)
        r->io.arrays[i] = upload(r, w->arrays[i], (size_t)workload_array_bytes(&a->arrays[i]), &status);
    if (w->list)
        r->io.list = upload(r, w->list, list_bytes(&a->list), &status);
    if (a->flags & CLATTN_COUNT_TILES)
        r->io.counters = upload(r, zero, sizeof zero, &status);
    if (status)
        return status;
    r->queue = clCreateCommandQueue(clattn_context_cl(r->ctx), clattn_context_device(r->ctx), 0, &code);
    return code == CL_SUCCESS ? CLATTN_OK : CLATTN_OPENCL_FAILED;
}

static void close_run(struct device_run *r)
{
    for (int i = 0; i < r->n_mems; i++)
        clReleaseMemObject(r->mems[i]);
    if (r->queue)
        clReleaseCommandQueue(r->queue);
    clattn_plan_destroy(r->plan);
}

/* Seconds of one of n enqueues, each finished; 0 on failure. */
static double time_runs(struct device_run *r, int n)
{
    double begin = now_seconds();
    for (int i = 0; i < n; i++)
        if (clattn_enqueue_forward(r->plan, r->queue, &r->io, 0, NULL, NULL) ||
            clFinish(r->queue) != CL_SUCCESS)
            return 0;
    return (now_seconds() - begin) / n;
}

/* ---- repetitions ---- */
struct series {
    int n;
    double times[MAX_REPETITIONS], of_peak[MAX_REPETITIONS], of_read[MAX_REPETITIONS], peaks[MAX_REPETITIONS], launches[MAX_REPETITIONS];
};

static bool repeat(struct device_run *r, struct peak *peak, int inner, double flops, double bytes,
                   struct series *s)
{
    double before = peak_flops(peak), read = peak_bytes(peak), launch = peak_launch(peak, inner), t = time_runs(r, inner),
           after = peak_flops(peak);
    if (t <= 0)
        return false;
    s->times[s->n] = t;
    s->launches[s->n] = launch;
    s->peaks[s->n] = (before + after) / 2;
    s->of_peak[s->n] = s->peaks[s->n] > 0 ? flops / t / s->peaks[s->n] : 0;
    s->of_read[s->n] = read > 0 ? bytes / t / read : 0;
    s->n++;
    return true;
}

/* Five repetitions at least, unless they would take ten times as long as was asked for. */
bool enough(int n, double gone, double seconds)
{
    return n >= MAX_REPETITIONS || (n >= LEAST_REPETITIONS && gone >= seconds) ||
           (n > 0 && gone >= 10 * seconds);
}

/* Whether a device's products of bf16 pairs could serve a problem. */
static bool in_pairs(const clattn_attention *a)
{
    return a->type_q == CLATTN_BF16 && a->type_k == CLATTN_BF16 && a->type_v == CLATTN_BF16;
}

static clattn_status measure(struct device_run *r, struct peak *peak, const struct workload *w, double flops,
                             double seconds, struct result *result)
{
    struct series s = {.n = 0};
    const clattn_attention *problem = &w->problem;
    double bytes = w->list ? 0 : clattn_problem_bytes(problem); /* which keys lists leave unread is not known */
    double once = time_runs(r, 1) > 0 ? time_runs(r, 1) : 0; /* the first warms up */
    if (once <= 0)
        return CLATTN_OPENCL_FAILED;
    int inner = once < REPETITION_SECONDS ? (int)(REPETITION_SECONDS / once) + 1 : 1;
    for (double begin = now_seconds(); !enough(s.n, now_seconds() - begin, seconds);)
        if (!repeat(r, peak, inner, flops, bytes, &s))
            return CLATTN_OPENCL_FAILED;
    result->runs = s.n * inner;
    result->seconds = quantile(s.times, s.n, 0.5);
    result->spread = (quantile(s.times, s.n, 0.75) - quantile(s.times, s.n, 0.25)) / result->seconds;
    result->gflops = flops / result->seconds * 1e-9;
    result->gbytes = bytes / result->seconds * 1e-9;
    double more = in_pairs(problem) ? peak_pair_factor(peak) : 1;
    result->of_fma = quantile(s.of_peak, s.n, 0.5);
    result->of_peak = result->of_fma / more;
    result->of_read = quantile(s.of_read, s.n, 0.5);
    result->launch_seconds = quantile(s.launches, s.n, 0.5);
    double work = result->of_peak > result->of_read ? result->of_peak : result->of_read;
    result->of_floor = work + result->launch_seconds / result->seconds;
    result->peak_gflops = quantile(s.peaks, s.n, 0.5) * more * 1e-9;
    return CLATTN_OK;
}

/* ---- one line ---- */
void refuse(struct result *result, const clattn_context *ctx, clattn_status status)
{
    clattn_context_message(ctx, result->why, sizeof result->why);
    if (!result->why[0])
        snprintf(result->why, sizeof result->why, "%s", clattn_status_text(status));
}

/* What is wrong is not timed. */
static void check_result(const struct bench *b, const struct bench_line *line, const struct workload *w,
                         struct result *result)
{
    struct verdict verdict;
    workload_check(w, SAMPLE_ROWS, &verdict);
    result->error = verdict.error;
    result->bound = verdict.bound;
    if (!verdict.pass)
        snprintf(result->why, sizeof result->why, "wrong: %s", verdict.where);
    else
        line_agrees(line, b->data, w, result->why, sizeof result->why);
}

void measure_workload(const struct bench *b, clattn_context *ctx, struct peak *peak, const struct bench_line *line,
                      struct workload *w, double flops, struct result *result)
{
    struct device_run r = {.ctx = ctx};
    clattn_status status = clattn_plan_create(&r.plan, ctx, &w->problem);
    if (!status) {
        result->engine = clattn_plan_engine(r.plan);
        status = workload_run(w, r.plan, NULL);
    }
    if (!status)
        check_result(b, line, w, result);
    if (!status && !result->why[0])
        status = open_run(&r, w);
    if (!status && !result->why[0])
        status = measure(&r, peak, w, flops, (double)b->seconds, result);
    if (status)
        refuse(result, ctx, status);
    close_run(&r);
}

/* A machine that is slower now than when ours was timed is no merit of ours: both are measured by the peaks
 * around them. */
static double compare_baseline(const struct result *r)
{
    double operations = r->gflops * 1e9 * r->seconds;
    if (r->baseline.peak_operations > 0 && r->of_fma > 0)
        return r->baseline.peak_operations * r->of_fma / operations;
    return r->baseline.seconds / r->seconds;
}

static void measure_plain(const struct bench *b, clattn_context *ctx, struct peak *peak, const struct bench_line *line,
                          struct workload *w, struct result *result)
{
    const double flops = clattn_problem_flops(&w->problem, (const void *const *)w->arrays);
    measure_workload(b, ctx, peak, line, w, flops, result);
    result->baseline.why = b->no_baseline ? "off" : NULL;
    if (!result->why[0] && !b->no_baseline)
        result->baseline = measure_baseline(ctx, peak, w);
    if (result->baseline.seconds > 0)
        result->baseline_times = compare_baseline(result);
}

int measure_line(const struct bench *b, clattn_context *ctx, struct peak *peak, const struct bench_line *line,
                 struct result *result)
{
    clattn_attention problem;
    clattn_select select;
    struct workload w;
    if (read_selector(&problem, &select, line->problem, &b->options))
        return EXIT_MISTAKE;
    clattn_status status = workload_make(&w, &problem, 1, WORKLOAD_NORMAL);
    if (status)
        return failed(NULL, status, line->problem);
    int code = load_line(line, b->data, &w) || load_arrays(&b->options, &w) ? EXIT_MISTAKE : 0;
    if (!code && select.size)
        measure_pruned(b, ctx, peak, line, &select, &w, result);
    else if (!code)
        measure_plain(b, ctx, peak, line, &w, result);
    workload_free(&w);
    return code;
}
