/* SPDX-License-Identifier: MIT
 * pruned.c - a problem with a selection: what selecting takes and what attention takes, beside the dense
 * problem, and what is kept.
 *
 * The lists are made once, and attention over them is checked and timed as that of any problem.  A step of
 * decoding selects as its schedule says, so its selection is a mean over a period of the schedule. */
#include "tool/bench/bench.h"

#include <stdlib.h>

#define MOST_TIMES 200
#define MOST_STEPS 65536

/* ---- the schedule ---- */
int read_refresh(const char *text, clattn_refresh *refresh)
{
    static const clattn_refresh init = CLATTN_REFRESH_INIT;
    char *end = NULL;
    *refresh = init;
    refresh->n_stages = 0;
    for (const char *p = text; refresh->n_stages < CLATTN_MAX_STAGES; p = end + 1) {
        long n = strtol(p, &end, 10);
        if (end == p || n < 1 || n > 65536 || (*end && *end != '/'))
            break;
        refresh->intervals[refresh->n_stages++] = (int32_t)n;
        if (!*end)
            return 0;
    }
    return mistake("--refresh '%s' is not N or N/N..., %d at most: steps between selections, from 1 to 65536",
                   text, CLATTN_MAX_STAGES);
}

/* A schedule with as many stages as the selection, the last number for those that are not said; why: the
 * sentence of one that does not go with it. */
static clattn_status fit_schedule(clattn_refresh *refresh, const char *text, const clattn_select *s,
                                  char why[512])
{
    if (read_refresh(text ? text : "1", refresh))
        return CLATTN_BAD_COUNT;
    const int stages = s->method == CLATTN_STAGED ? s->n_stages : 1;
    while (refresh->n_stages < stages) {
        refresh->intervals[refresh->n_stages] = refresh->intervals[refresh->n_stages - 1];
        refresh->n_stages++;
    }
    refresh->dense_below = s->dense_below;
    return clattn_refresh_check(refresh, s, why, 512);
}

/* Steps after which all stages are due together, or so many that a mean over them is as good. */
static int64_t period(const clattn_refresh *refresh)
{
    int64_t steps = 1;
    for (int i = 0; i < refresh->n_stages && steps < MOST_STEPS; i++)
        for (const int64_t once = steps; steps % refresh->intervals[i]; steps += once)
            ;
    return steps < MOST_STEPS ? steps : MOST_STEPS;
}

/* ---- selection ---- */
/* The median of runs from a stage on, or of the metadata of a step's keys (stage -1); 0 on failure. */
static double median_seconds(struct selection *x, int stage, double seconds)
{
    double times[MOST_TIMES], begin = now_seconds();
    int n = 0;
    for (; n < MOST_TIMES && !enough(n, now_seconds() - begin, seconds); n++) {
        const double from = now_seconds();
        if (stage < 0 ? selection_run_bounds(x, false) : selection_run(x, stage))
            return 0;
        times[n] = now_seconds() - from;
    }
    return quantile(times, n, 0.5);
}

/* began: of a period's steps, how many begin at each stage. */
static clattn_status time_stages(struct selection *x, const int64_t *began, int64_t steps, double seconds,
                                 struct result *result)
{
    double all = 0, once;
    for (int stage = 0; stage < CLATTN_MAX_STAGES; stage++) {
        if (began[stage] == 0)
            continue;
        if (stage > 0 && !x->io.kept) {
            snprintf(result->failed, sizeof result->failed,
                     "stages are made alone, and the selection has not the word keep");
            return CLATTN_BAD_FLAGS;
        }
        if ((once = median_seconds(x, stage, seconds)) <= 0)
            return CLATTN_OPENCL_FAILED;
        all += once * (double)began[stage];
    }
    result->select_seconds = all / (double)steps;
    if (x->io.bounds)
        result->select_seconds += median_seconds(x, -1, seconds);
    return CLATTN_OK;
}

static clattn_status time_selection(const struct bench *b, struct selection *x, struct result *result)
{
    const clattn_attention *a = &x->dense.problem;
    const int32_t length = (int32_t)a->kv_len;
    int32_t start, age;
    clattn_refresh refresh;
    clattn_refresh_state state = {.steps = 0};
    const char *schedule = a->q_len == 1 ? b->refresh : NULL;
    PUT_TEXT(result->refresh, schedule ? schedule : "");
    clattn_status status = fit_schedule(&refresh, schedule, &x->s, result->failed);
    const int64_t steps = status ? 0 : period(&refresh);
    for (int64_t i = 0; !status && i < steps; i++)
        status = clattn_refresh_step(&refresh, &state, 1, &length, &start, &age, NULL);
    return status ? status : time_stages(x, state.began, steps, b->seconds, result);
}

/* ---- beside the dense problem ---- */
static void measure_dense(const struct bench *b, clattn_context *ctx, struct peak *peak,
                          const struct bench_line *line, struct workload *dense, double flops,
                          struct result *result)
{
    struct result r;
    blank_line(&r);
    measure_workload(b, ctx, peak, line, dense, flops, &r);
    if (r.failed[0]) {
        snprintf(result->failed, sizeof result->failed, "dense: %.480s", r.failed);
        return;
    }
    PUT_TEXT(result->dense_engine, r.engine);
    result->dense_seconds = r.seconds;
    result->dense_times = r.seconds * peak_change(peak, result->peak_gflops, r.peak_gflops) /
                          (result->seconds + result->select_seconds);
}

static clattn_status correct(const struct bench *b, struct selection *x, struct result *result)
{
    struct delta d = {.rows = 0};
    clattn_status status = apply_delta(x->ctx, x->w, &x->dense, b->delta, &d, result->failed);
    if (status)
        return status;
    result->delta = b->delta;
    result->delta_rows_seconds = d.anchor_seconds;
    result->delta_seconds = d.anchor_seconds + d.seconds;
    result->delta_distance = d.after;
    result->delta_distance_before = d.before;
    return CLATTN_OK;
}

/* The parts of the result, in their order; x has its lists. */
static clattn_status measure_parts(const struct bench *b, struct peak *peak, const struct bench_line *line,
                                   struct selection *x, struct result *result)
{
    const clattn_attention *a = &x->dense.problem;
    const double flops = clattn_problem_flops(a, (const void *const *)x->dense.arrays);
    result->visited = selection_visited(x);
    if (x->s.extend)
        measure_extended(b, peak, line, x, flops * result->visited, result);
    else
        measure_workload(b, x->ctx, peak, line, x->w, flops * result->visited, result);
    if (result->failed[0])
        return CLATTN_OK;
    clattn_status status = time_selection(b, x, result);
    if (status)
        return status;
    if (!x->s.extend) { /* whose softmax is of other scores than the dense problem's */
        const struct kept_mass mass = selection_kept_mass(x);
        result->kept_mass = mass.mean;
        result->kept_mass_least = mass.least;
    }
    if (x->certified)
        result->certified = selection_certified(x);
    if (b->delta)
        status = correct(b, x, result);
    if (!status && !b->no_baseline) /* last: it has the same o */
        measure_dense(b, x->ctx, peak, line, &x->dense, flops, result);
    return status;
}

void measure_pruned(const struct bench *b, clattn_context *ctx, struct peak *peak,
                    const struct bench_line *line, const clattn_select *select, struct workload *w,
                    struct result *result)
{
    struct selection x;
    if (b->cold) {
        PUT_TEXT(result->failed,
                 "--cold is for problems without a selection, whose steps are timed by the clock");
        return;
    }
    PUT_TEXT(result->no_baseline, b->no_baseline ? "off" : "pattern");
    clattn_status status = selection_of(&x, select, w, ctx);
    if (!status)
        status = measure_parts(b, peak, line, &x, result);
    if (status && !result->failed[0])
        refuse(result, ctx, status);
    selection_free(&x);
}
