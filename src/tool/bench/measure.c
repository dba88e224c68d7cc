/* SPDX-License-Identifier: MIT
 * measure.c - one problem on one device, as a median and as a fraction of the device's own peak.
 *
 * A repetition is: peak, problem (as often as 50 ms take), peak.  Its fraction is the problem's rate over the
 * mean of the two peaks: a machine whose clock or neighbours change between repetitions shows it in the peaks
 * too.  The median of the fractions is printed.  Times are wall clock from enqueue to finish; in each
 * repetition a run more, of short ones a few, is timed by the device's own clock, behind another in a queue of
 * its own, so that this costs the others nothing and no launch is waited for.
 *
 * From memory (--cold) all runs are timed by the device's clock, each after a buffer larger than its caches
 * was written, so that nothing of a problem is in them. */
#include "tool/bench/bench.h"
#include "tool/extended.h"
#include "tool/upload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_REPETITIONS 200
#define LEAST_REPETITIONS 6 /* fewer have no interval of 95 % */
#define REPETITION_SECONDS 0.05
#define SURE 0.02 /* the interval is sought to be the median by this part, up or down */
#define UNSURE 0.1 /* a warning says so */
#define LONGER 3  /* for so many times the time asked for at most */
#define LEAST_COLD ((size_t)256 << 20) /* bytes that are written before a run from memory, */
#define COLD_CACHES 4                  /* and of a large cache so many times its size */

/* ---- a plan with its buffers ---- */
struct device_run {
    clattn_context *ctx;
    clattn_plan *plan;
    clattn_extend_plan *extended; /* instead, with its buffers */
    clattn_extend_io extended_io;
    cl_command_queue queue, profiled; /* profiled: NULL where the device has no clock for us */
    struct upload tensors;
    struct meter *meter;
    cl_mem cold; /* what is written before each run from memory, or NULL */
    size_t cold_bytes;
};

static clattn_status open_queues(struct device_run *r)
{
    cl_int code;
    r->queue = clCreateCommandQueue(clattn_context_cl(r->ctx), clattn_context_device(r->ctx), 0, &code);
    if (code != CL_SUCCESS)
        return CLATTN_OPENCL_FAILED;
    r->profiled = clCreateCommandQueue(clattn_context_cl(r->ctx), clattn_context_device(r->ctx),
                                       CL_QUEUE_PROFILING_ENABLE, &code);
    return CLATTN_OK;
}

static clattn_status open_run(struct device_run *r, const struct workload *w)
{
    clattn_status status = upload_workload(&r->tensors, r->ctx, w);
    return status ? status : open_queues(r);
}

static clattn_status open_extended(struct device_run *r, const struct selection *x)
{
    return open_extended_io(x, &r->extended_io) == CL_SUCCESS ? open_queues(r) : CLATTN_OUT_OF_DEVICE_MEMORY;
}

static void close_run(struct device_run *r)
{
    close_extended_io(&r->extended_io);
    upload_release(&r->tensors);
    if (r->cold)
        clReleaseMemObject(r->cold);
    if (r->queue)
        clReleaseCommandQueue(r->queue);
    if (r->profiled)
        clReleaseCommandQueue(r->profiled);
    clattn_plan_destroy(r->plan);
}

static clattn_status launch(struct device_run *r, cl_command_queue queue, cl_event *event)
{
    return r->extended ? clattn_enqueue_extend(r->extended, queue, &r->extended_io, 0, NULL, event)
                       : clattn_enqueue_forward(r->plan, queue, &r->tensors.io, 0, NULL, event);
}

/* Seconds of one of n enqueues, each finished; 0 on failure.  A byte of the last result is read, because some
 * drivers' clFinish is done before the kernels are (rusticl of Mesa 22.3). */
static double time_runs(struct device_run *r, int n)
{
    char byte;
    const cl_mem o = r->extended ? r->extended_io.o : r->tensors.io.o;
    double begin = now_seconds();
    for (int i = 0; i < n; i++)
        if (launch(r, r->queue, NULL) || clFinish(r->queue) != CL_SUCCESS)
            return 0;
    if (o && clEnqueueReadBuffer(r->queue, o, CL_TRUE, 0, 1, &byte, 0, NULL, NULL) != CL_SUCCESS)
        return 0;
    return (now_seconds() - begin) / n;
}

/* Seconds between the ends of two events; NAN if the device does not say. */
static double between(cl_event begin, cl_event end)
{
    cl_ulong first = 0, last = 0;
    if (clGetEventProfilingInfo(begin, CL_PROFILING_COMMAND_END, sizeof first, &first, NULL) != CL_SUCCESS ||
        clGetEventProfilingInfo(end, CL_PROFILING_COMMAND_END, sizeof last, &last, NULL) != CL_SUCCESS ||
        last <= first)
        return NAN;
    return (double)(last - first) * 1e-9;
}

/* What n timed runs begin at the end of: what fills the caches (cold), else a run, so that none waits for the
 * host. */
static bool enqueue_begin(struct device_run *r, cl_event *begin)
{
    if (!r->profiled)
        return false;
    if (r->cold)
        return clEnqueueMarkerWithWaitList(r->profiled, 0, NULL, begin) == CL_SUCCESS;
    return !launch(r, r->profiled, begin);
}

/* Seconds of one of n runs by the device's clock. */
static double time_events(struct device_run *r, int n)
{
    cl_event begin = NULL, end = NULL;
    bool enqueued = enqueue_begin(r, &begin);
    for (int i = 1; i <= n && enqueued; i++)
        enqueued = !launch(r, r->profiled, i < n ? NULL : &end);
    double seconds = NAN;
    if (begin && clFinish(r->profiled) == CL_SUCCESS && enqueued)
        seconds = between(begin, end) / n;
    if (begin)
        clReleaseEvent(begin);
    if (end)
        clReleaseEvent(end);
    return seconds;
}

/* ---- from memory ---- */
static size_t cold_bytes(const clattn_context *ctx)
{
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_device_describe(clattn_context_device(ctx), &facts);
    const uint64_t wanted = COLD_CACHES * facts.cache_bytes;
    return wanted > LEAST_COLD ? (size_t)wanted : LEAST_COLD;
}

static clattn_status open_cold(struct device_run *r, char why[512])
{
    cl_int code;
    if (!r->profiled) {
        snprintf(why, 512, "--cold times by the device's clock, which its driver does not show");
        return CLATTN_OPENCL_FAILED;
    }
    r->cold = clCreateBuffer(clattn_context_cl(r->ctx), CL_MEM_READ_WRITE, r->cold_bytes, NULL, &code);
    if (code != CL_SUCCESS)
        return CLATTN_OUT_OF_DEVICE_MEMORY;
    return CLATTN_OK;
}

/* Seconds of one of n runs, each after the caches were filled with something else; 0 on failure. */
static double time_cold(struct device_run *r, int n)
{
    const cl_uint zero = 0;
    double all = 0;
    for (int i = 0; i < n; i++) {
        if (clEnqueueFillBuffer(r->profiled, r->cold, &zero, sizeof zero, 0, r->cold_bytes, 0, NULL, NULL) !=
            CL_SUCCESS)
            return 0;
        const double once = time_events(r, 1);
        if (!(once > 0))
            return 0;
        all += once;
    }
    return all / n;
}

static double time_as_asked(struct device_run *r, int n)
{
    return r->cold ? time_cold(r, n) : time_runs(r, n);
}

/* ---- repetitions ---- */
#define SHORT_RUN 1e-3 /* of those a few are timed by the device's clock at a time */

struct series {
    int n;
    double times[MAX_REPETITIONS], of_peak[MAX_REPETITIONS], of_read[MAX_REPETITIONS], peaks[MAX_REPETITIONS],
        reads[MAX_REPETITIONS], launches[MAX_REPETITIONS], events[MAX_REPETITIONS], clocks[MAX_REPETITIONS];
    double joules; /* of all runs: a counter may move in steps longer than one of them */
};

static bool repeat(struct device_run *r, struct peak *peak, int inner, double flops, double bytes,
                   struct series *s)
{
    double before = peak_flops(peak), read = peak_bytes(peak), launch = peak_launch(peak, inner);
    const double joules = meter_joules(r->meter);
    const double t = time_as_asked(r, inner);
    s->clocks[s->n] = meter_mhz(r->meter);
    s->joules += meter_joules(r->meter) - joules;
    const double after = peak_flops(peak);
    if (t <= 0)
        return false;
    s->times[s->n] = t;
    s->launches[s->n] = launch;
    s->peaks[s->n] = (before + after) / 2;
    s->of_peak[s->n] = s->peaks[s->n] > 0 ? flops / t / s->peaks[s->n] : 0;
    s->reads[s->n] = read;
    s->of_read[s->n] = read > 0 ? bytes / t / read : 0;
    s->events[s->n] = time_events(r, t < SHORT_RUN ? 4 : 1);
    s->n++;
    return true;
}

/* Six repetitions at least, unless they would take ten times as long as was asked for, and ten seconds. */
bool enough(int n, double gone, double seconds)
{
    return n >= MAX_REPETITIONS || (n >= LEAST_REPETITIONS && gone >= seconds) ||
           (n > 0 && gone >= 10 * fmax(seconds, 1));
}

/* Enough, and the median is known well or will not be. */
static bool settled(const struct series *s, double gone, double seconds)
{
    if (!enough(s->n, gone, seconds))
        return false;
    const struct summary all = summarise(s->times, s->n);
    return s->n >= MAX_REPETITIONS || gone >= LONGER * seconds || uncertainty(&all) <= SURE;
}

/* A median, blank where it was never more than 0. */
static double median_or_blank(double *values, int n)
{
    const double median = quantile(values, n, 0.5);
    return median > 0 ? median : NAN;
}

/* Whether a device's products of bf16 pairs could serve a problem. */
static bool in_pairs(const clattn_attention *a)
{
    return a->type_q == CLATTN_BF16 && a->type_k == CLATTN_BF16 && a->type_v == CLATTN_BF16;
}

static void warn(struct result *r, const struct summary *s)
{
    if (has_drifted(s))
        snprintf(r->warning, sizeof r->warning,
                 "drift: the second half of its runs took %.2f times as long as the first: the clock or a "
                 "neighbour changed",
                 1 + s->drift);
    else if (uncertainty(s) > UNSURE)
        snprintf(r->warning, sizeof r->warning,
                 "noisy: after %d repetitions the median may still be off by %.0f%%", (int)r->repetitions,
                 100 * uncertainty(s));
}

/* The median of those that are told; NAN if none is. */
static double median_of_told(const double *values, int n)
{
    double told[MAX_REPETITIONS];
    int count = 0;
    for (int i = 0; i < n; i++)
        if (values[i] > 0)
            told[count++] = values[i];
    return count ? quantile(told, count, 0.5) : NAN;
}

static void fill_times(struct result *r, const struct series *s)
{
    const struct summary all = summarise(s->times, s->n);
    r->repetitions = s->n;
    r->seconds = all.median;
    r->low = all.low;
    r->high = all.high;
    r->spread = all.spread;
    r->drift = all.drift;
    r->event_seconds = median_of_told(s->events, s->n);
    r->mhz = median_of_told(s->clocks, s->n);
    warn(r, &all);
}

static void fill_energy(struct result *r, const struct series *s)
{
    double seconds = 0;
    for (int i = 0; i < s->n; i++)
        seconds += s->times[i] * (double)r->runs / s->n;
    if (s->joules > 0) {
        r->joules = s->joules / (double)r->runs;
        r->watts = s->joules / seconds;
    }
}

/* more: what the device's products of pairs reach, as a multiple of its multiply-adds, of a problem that they
 * could serve.  cold: times have no launch in them. */
static void fill_rates(struct result *r, struct series *s, double more, bool cold)
{
    r->gflops = r->operations / r->seconds * 1e-9;
    r->gbytes = r->bytes / r->seconds * 1e-9;
    r->of_peak = median_or_blank(s->of_peak, s->n) / more;
    r->peak_gflops = median_or_blank(s->peaks, s->n) * more * 1e-9;
    r->of_read = median_or_blank(s->of_read, s->n);
    r->read_gbytes = median_or_blank(s->reads, s->n) * 1e-9;
    r->launch_seconds = median_or_blank(s->launches, s->n);
    r->of_floor = fmax(r->of_peak, r->of_read);
    if (!cold)
        r->of_floor += r->launch_seconds / r->seconds;
}

#define RATES_SECONDS 0.1 /* device's rates around a repetition: two launches of 20 to 40 ms, and reading */

double expect_measure(double run, double seconds)
{
    /* one by the device's clock, after another */
    const double repetition = fmax(run, REPETITION_SECONDS) + RATES_SECONDS + 2 * run;
    double gone = 0;
    for (int n = 0; !enough(n, gone, seconds); n++)
        gone += repetition;
    return gone + 4 * run; /* the one that is checked, and those that warm up */
}

static clattn_status measure(struct device_run *r, struct peak *peak, const struct workload *w, double flops,
                             double seconds, struct result *result)
{
    struct series s = {.n = 0};
    const double bytes =
        w->list ? 0 : clattn_problem_bytes(&w->problem);     /* which keys lists leave unread is not known */
    if (time_runs(r, 1) <= 0) /* warms up */
        return CLATTN_OPENCL_FAILED;
    const double from = now_seconds();
    if (time_as_asked(r, 1) <= 0)
        return CLATTN_OPENCL_FAILED;
    const double once = now_seconds() - from;
    time_events(r, 1);
    int inner = once < REPETITION_SECONDS ? (int)(REPETITION_SECONDS / once) + 1 : 1;
    for (double begin = now_seconds(); !settled(&s, now_seconds() - begin, seconds);)
        if (!repeat(r, peak, inner, flops, bytes, &s))
            return CLATTN_OPENCL_FAILED;
    result->runs = (int64_t)s.n * inner;
    result->operations = flops;
    result->bytes = bytes > 0 ? bytes : NAN;
    fill_times(result, &s);
    if (!r->cold)
        fill_energy(result, &s);
    fill_rates(result, &s, in_pairs(&w->problem) ? peak_pair_factor(peak) : 1, r->cold);
    return CLATTN_OK;
}

/* ---- one line ---- */
void refuse(struct result *result, const clattn_context *ctx, clattn_status status)
{
    char message[1024] = "";
    clattn_context_message(ctx, message, sizeof message);
    PUT_TEXT(result->failed, message[0] ? message : clattn_status_text(status));
}

/* What is wrong is not timed. */
static void check_result(const struct bench *b, const struct bench_line *line, const struct workload *w,
                         struct result *result)
{
    struct verdict verdict;
    workload_check(w, SAMPLE_ROWS, &verdict);
    if (verdict.bound > 0) {
        result->error = verdict.error;
        result->bound = verdict.bound;
    }
    if (!verdict.pass)
        snprintf(result->failed, sizeof result->failed, "wrong: %s", verdict.where);
    else
        line_agrees(line, b->data, w, result->failed, sizeof result->failed);
}

/* "tile of 64 rows x 128 keys, groups of 1 items", of the plan's own words. */
static void take_tile(struct result *result, const clattn_plan *plan)
{
    char text[8192];
    if (clattn_plan_explain(plan, text, sizeof text))
        return;
    const char *at = strstr(text, "\nengine "), *colon = at ? strstr(at, ": ") : NULL;
    const size_t line = at ? strcspn(at + 1, "\n") + 1 : 0;
    if (!colon || colon > at + line)
        return;
    text[at - text + (ptrdiff_t)line] = 0;
    PUT_TEXT(result->tile, colon + 2);
}

/* The rest of a line after its first run, which gave this status; x: an extended one's selection, or NULL. */
static void measure_run(const struct bench *b, struct peak *peak, const struct bench_line *line,
                        const struct workload *w, const struct selection *x, double flops,
                        struct device_run *r, clattn_status status, struct result *result)
{
    if (!status)
        check_result(b, line, w, result);
    if (!status && !result->failed[0])
        status = x ? open_extended(r, x) : open_run(r, w);
    if (!status && !result->failed[0] && r->cold_bytes)
        status = open_cold(r, result->failed);
    if (!status && !result->failed[0])
        status = measure(r, peak, w, flops, b->seconds, result);
    if (status && !result->failed[0])
        refuse(result, r->ctx, status);
    close_run(r);
}

void measure_workload(const struct bench *b, clattn_context *ctx, struct peak *peak,
                      const struct bench_line *line, struct workload *w, double flops, struct result *result)
{
    struct device_run r = {
        .ctx = ctx, .meter = b->meter, .cold_bytes = b->cold ? (size_t)result->cold_bytes : 0};
    clattn_status status = clattn_plan_create(&r.plan, ctx, &w->problem);
    if (!status) {
        PUT_TEXT(result->engine, clattn_plan_engine(r.plan));
        take_tile(result, r.plan);
        status = workload_run(w, r.plan, NULL);
    }
    measure_run(b, peak, line, w, NULL, flops, &r, status, result);
}

void measure_extended(const struct bench *b, struct peak *peak, const struct bench_line *line,
                      const struct selection *x, double flops, struct result *result)
{
    struct device_run r = {.ctx = x->ctx, .meter = b->meter};
    struct extended e;
    clattn_status status = run_extended(x, 1, &e);
    r.extended = e.plan;
    PUT_TEXT(result->engine, "extend");
    measure_run(b, peak, line, x->w, x, flops, &r, status, result);
    close_extended(&e);
}

/* A machine that is slower now than when ours was timed is no merit of ours: both are measured by the peaks
 * around them. */
static double compare_baseline(const struct result *r, const struct baseline *baseline, double more)
{
    if (baseline->peak_operations > 0 && r->of_peak > 0)
        return baseline->peak_operations * r->of_peak * more / r->operations;
    return baseline->seconds / r->seconds;
}

static void measure_plain(const struct bench *b, clattn_context *ctx, struct peak *peak,
                          const struct bench_line *line, struct workload *w, struct result *result)
{
    struct baseline baseline = {.why = b->no_baseline ? "off" : b->cold ? "cold" : NULL};
    const double flops = clattn_problem_flops(&w->problem, (const void *const *)w->arrays);
    measure_workload(b, ctx, peak, line, w, flops, result);
    if (!result->failed[0] && !baseline.why)
        baseline = measure_baseline(ctx, peak, w);
    PUT_TEXT(result->no_baseline, baseline.why ? baseline.why : "");
    if (baseline.seconds > 0) {
        result->baseline_runs = baseline.runs;
        result->baseline_seconds = baseline.seconds;
        result->baseline_times =
            compare_baseline(result, &baseline, in_pairs(&w->problem) ? peak_pair_factor(peak) : 1);
    }
}

int measure_line(const struct bench *b, clattn_context *ctx, struct peak *peak, const struct bench_line *line,
                 struct result *result)
{
    clattn_attention problem;
    clattn_select select;
    struct workload w;
    if (read_selector(&problem, &select, line->problem, &b->options))
        return EXIT_MISTAKE;
    result->cold_bytes = b->cold ? (int64_t)cold_bytes(ctx) : 0;
    clattn_status status = workload_make(&w, &problem, 1, WORKLOAD_NORMAL);
    if (status) { /* a problem larger than this machine */
        PUT_TEXT(result->failed, clattn_status_text(status));
        return 0;
    }
    int code = load_line(line, b->data, &w) || load_arrays(&b->options, &w) ? EXIT_MISTAKE : 0;
    if (!code && select.size)
        measure_pruned(b, ctx, peak, line, &select, &w, result);
    else if (!code)
        measure_plain(b, ctx, peak, line, &w, result);
    workload_free(&w);
    return code;
}
