/* SPDX-License-Identifier: MIT
 * worker.c - the process of clattn tune that builds, checks and measures candidates, one line after the other
 * (tune.h).
 *
 * A candidate runs beside the library's own choice, in turn, on the same buffers: of each round the quotient
 * of the two times counts, and their median is the answer.  What else the machine does, and how its clock
 * moves, meets both. */
#include "tool/bench/statistics.h"
#include "tool/tune/tune.h"
#include "tool/upload.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 1024
#define MOST_ROUNDS 99
#define ROUND_SECONDS 0.04 /* of each of the two in a round, at least */
#define SAMPLE_ROWS 24     /* compared with the double reference; fewer of many keys, for each takes long */
#define LONG_KEYS 16384
#define HOPELESS 0.9 /* times as fast: one round says enough */

struct runner {
    clattn_plan *plan;
    double once; /* seconds */
};

struct worker {
    clattn_context *plain, *tuned; /* without any line; with the candidate's alone */
    clattn_device_facts facts;
    clattn_attention problem;
    struct workload w;
    bool made;
    cl_command_queue queue;
    struct upload tensors;
    struct runner own;
    char key[512];
};

static int reply(const char *word, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int reply(const char *word, const char *fmt, ...)
{
    char text[LINE_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    text[strcspn(text, "\n")] = 0;
    printf("%s %s\n", word, text);
    return fflush(stdout);
}

static int reply_failure(const clattn_context *ctx, clattn_status status)
{
    char message[LINE_SIZE / 2] = "";
    if (ctx)
        clattn_context_message(ctx, message, sizeof message);
    return reply("failed", "%s", message[0] ? message : clattn_status_text(status));
}

/* ---- the problem and its buffers ---- */
static void drop_problem(struct worker *k)
{
    clattn_plan_destroy(k->own.plan);
    k->own.plan = NULL;
    upload_release(&k->tensors);
    if (k->made)
        workload_free(&k->w);
    k->made = false;
}

/* ---- runs ---- */
/* Seconds of one of n runs, each finished; 0 on failure. */
static double time_runs(const struct worker *k, const clattn_plan *plan, int n)
{
    const double begin = now_seconds();
    for (int i = 0; i < n; i++)
        if (clattn_enqueue_forward((clattn_plan *)(uintptr_t)plan, k->queue, &k->tensors.io, 0, NULL, NULL) ||
            clFinish(k->queue) != CL_SUCCESS)
            return 0;
    return (now_seconds() - begin) / n;
}

/* Its result against the double reference; "" or what is wrong. */
static clattn_status compare(struct worker *k, clattn_plan *plan, char *why, size_t size)
{
    struct verdict verdict;
    const clattn_attention *a = &k->w.problem;
    memset(k->w.o, 0xff, (size_t)(k->w.o_count * workload_type_bytes(a->type_o))); /* NaN in every storage */
    clattn_status status = workload_run(&k->w, plan, NULL);
    if (status)
        return status;
    workload_check(&k->w, a->kv_len > LONG_KEYS ? SAMPLE_ROWS / 4 : SAMPLE_ROWS, &verdict);
    snprintf(why, size, "%s", verdict.pass ? "" : verdict.where);
    return CLATTN_OK;
}

/* A plan that is right, and what it takes once warm. */
static clattn_status begin_runner(struct worker *k, struct runner *r, char *why, size_t size)
{
    clattn_status status = compare(k, r->plan, why, size);
    if (status || why[0])
        return status;
    r->once = time_runs(k, r->plan, 1); /* the comparison warmed it up */
    return r->once > 0 ? CLATTN_OK : CLATTN_OPENCL_FAILED;
}

static int runs_of(const struct runner *r)
{
    return r->once < ROUND_SECONDS ? (int)(ROUND_SECONDS / r->once) + 1 : 1;
}

/* Both in turn, in either order. */
static int race(struct worker *k, const struct runner *r, int rounds)
{
    double times[MOST_ROUNDS], seconds[MOST_ROUNDS];
    int n = 0;
    while (n < rounds && (n != 1 || times[0] >= HOPELESS)) {
        double theirs = n % 2 ? time_runs(k, r->plan, runs_of(r)) : 0;
        const double ours = time_runs(k, k->own.plan, runs_of(&k->own));
        if (n % 2 == 0)
            theirs = time_runs(k, r->plan, runs_of(r));
        if (ours <= 0 || theirs <= 0)
            return reply("failed", "a run failed");
        times[n] = ours / theirs;
        seconds[n++] = theirs;
    }
    return reply("ok", "%.5f %.9f %.5f", quantile(times, n, 0.5), quantile(seconds, n, 0.5),
                 quantile(times, n, 0.25));
}

/* ---- commands ---- */
static int take_problem(struct worker *k, const char *text)
{
    char message[512] = "";
    static const clattn_attention init = CLATTN_ATTENTION_INIT;
    drop_problem(k);
    k->problem = init;
    clattn_status status = clattn_problem_parse(&k->problem, text, message, sizeof message);
    if (status)
        return reply("failed", "%s", message);
    status = clattn_tuning_key(&k->facts, &k->problem, k->key, sizeof k->key);
    if (!status)
        status = workload_make(&k->w, &k->problem, 1, WORKLOAD_NORMAL);
    k->made = !status;
    if (!status)
        status = upload_workload(&k->tensors, k->plain, &k->w);
    if (status)
        return reply_failure(NULL, status);
    status = clattn_plan_create(&k->own.plan, k->plain, &k->problem);
    if (!status)
        status = begin_runner(k, &k->own, message, sizeof message);
    return status       ? reply_failure(k->plain, status)
           : message[0] ? reply("wrong", "%s", message)
                        : reply("ok", "%.9f", k->own.once);
}

/* Whether a plan is by the line that was added, and by no other choice in its place. */
static bool is_by_line(const clattn_plan *plan)
{
    static char text[8192];
    clattn_status status = clattn_plan_explain(plan, text, sizeof text);
    return (status == CLATTN_OK || status == CLATTN_BUFFER_TOO_SHORT) && strstr(text, "\ntuned by ");
}

static int take_candidate(struct worker *k, int rounds, const char *setting)
{
    char line[2 * LINE_SIZE], why[512] = "";
    struct runner r = {NULL, 0};
    snprintf(line, sizeof line, "clattn-tuning 1\ntune | %s | %s | 2000-01-01 gain=1.000\n", k->key, setting);
    clattn_status status = clattn_context_set_tuning(k->tuned, CLATTN_TUNING_ADDED);
    if (!status)
        status = clattn_context_add_tuning(k->tuned, line);
    if (!status)
        status = clattn_plan_create(&r.plan, k->tuned, &k->problem);
    if (status)
        return reply_failure(k->tuned, status);
    int code;
    if (!is_by_line(r.plan))
        code = reply(
            "refused",
            "it does not build here, or its first launch failed; `clattn devices' says what is quarantined");
    else if ((status = begin_runner(k, &r, why, sizeof why)))
        code = reply_failure(k->tuned, status);
    else
        code = why[0] ? reply("wrong", "%s", why) : race(k, &r, rounds);
    clattn_plan_destroy(r.plan);
    return code;
}

static int take_line(struct worker *k, char *line)
{
    int rounds, at = 0;
    line[strcspn(line, "\n")] = 0;
    if (!strncmp(line, "problem ", 8))
        return take_problem(k, line + 8);
    if (sscanf(line, "try %d %n", &rounds, &at) == 1 && at && rounds >= 1 && rounds <= MOST_ROUNDS &&
        k->own.plan)
        return take_candidate(k, rounds, line + at);
    return reply("failed", "the worker takes 'problem TEXT', then 'try ROUNDS SETTING'");
}

/* Two contexts of one cl_context, so that they share buffers. */
static clattn_status open_worker(struct worker *k, const char *device)
{
    static const clattn_device_facts init = CLATTN_DEVICE_FACTS_INIT;
    cl_int code;
    clattn_status status = clattn_context_open(&k->plain, device);
    if (status)
        return status;
    k->facts = init;
    cl_device_id id = clattn_context_device(k->plain);
    status = clattn_device_describe(id, &k->facts);
    if (!status)
        status = clattn_context_wrap(&k->tuned, clattn_context_cl(k->plain), id);
    if (!status)
        status = clattn_context_set_tuning(k->plain, 0);
    if (status)
        return status;
    k->queue = clCreateCommandQueue(clattn_context_cl(k->plain), id, 0, &code);
    return code == CL_SUCCESS ? CLATTN_OK : CLATTN_OPENCL_FAILED;
}

int tune_worker(const char *device)
{
    static struct worker k;
    static char line[LINE_SIZE];
    clattn_status status = open_worker(&k, device);
    int lost = 0;
    if (status) {
        reply_failure(NULL, status);
        return EXIT_MISTAKE;
    }
    while (!lost && fgets(line, sizeof line, stdin))
        lost = take_line(&k, line);
    drop_problem(&k);
    if (k.queue)
        clReleaseCommandQueue(k.queue);
    clattn_context_close(k.tuned);
    clattn_context_close(k.plain);
    return EXIT_GOOD;
}
