/* SPDX-License-Identifier: MIT
 * verify.c - clattn verify: random or given problems against the double-precision reference. */
#include "tool/tool.h"

#include <getopt.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

struct sweep {
    clattn_context *ctx;
    struct problem_options options;
    long long seed, problems, rows;
    double seconds; /* 0: no limit */
    bool progress;
    int passed, failures;
    double worst; /* largest error / bound */
};

static void report_failure(struct sweep *s, const clattn_attention *problem, uint64_t seed, bool random, const char *what)
{
    char text[1024];
    if (clattn_problem_print(problem, text, sizeof text))
        snprintf(text, sizeof text, "(a problem that does not print)");
    printf("FAILED  %s  mask '%s'\n        %s\n", text, problem->pattern.text, what);
    printf("        again: clattn verify --problems 1 --seed %llu%s%s%s%s\n", (unsigned long long)seed,
           s->options.engine ? " --engine " : "", s->options.engine ? s->options.engine : "", random ? "" : " ",
           random ? "" : text);
    s->failures++;
}

static void check_workload(struct sweep *s, struct workload *w, clattn_plan *plan, uint64_t seed, bool random)
{
    struct verdict verdict;
    char text[512];
    clattn_status status = workload_run(w, plan, NULL);
    if (status) {
        clattn_context_message(s->ctx, text, sizeof text);
        report_failure(s, &w->problem, seed, random, text);
        return;
    }
    workload_check(w, s->rows, &verdict);
    if (verdict.ratio > s->worst)
        s->worst = verdict.ratio;
    if (!verdict.pass) {
        snprintf(text, sizeof text, "%s (error %.3g, bound %.3g; lse error %.3g, bound %.3g)", verdict.where, verdict.error,
                 verdict.bound, verdict.lse_error, verdict.lse_bound);
        report_failure(s, &w->problem, seed, random, text);
    } else if (!workload_guards_intact(w)) {
        report_failure(s, &w->problem, seed, random, "memory outside the output's rows was written");
    } else {
        s->passed++;
    }
}

static void verify_one(struct sweep *s, const clattn_attention *problem, uint64_t seed, bool random)
{
    static const enum workload_fill fills[] = {WORKLOAD_NORMAL, WORKLOAD_POISON, WORKLOAD_NORMAL, WORKLOAD_LARGE};
    struct workload w;
    clattn_plan *plan;
    char text[1024];
    clattn_status status = workload_make(&w, problem, seed, fills[seed % 4]);
    if (status) {
        report_failure(s, problem, seed, random, clattn_status_text(status));
        return;
    }
    status = clattn_plan_create(&plan, s->ctx, &w.problem);
    if (status) {
        clattn_context_message(s->ctx, text, sizeof text);
        report_failure(s, &w.problem, seed, random, text);
    } else {
        check_workload(s, &w, plan, seed, random);
        clattn_plan_destroy(plan);
    }
    workload_free(&w);
}

static int run_sweep(struct sweep *s, int n_texts, char **texts)
{
    double begin = now_seconds(), told = begin;
    clattn_attention problem;
    for (int i = 0; i < n_texts; i++) {
        if (read_problem(&problem, texts[i], &s->options))
            return EXIT_MISTAKE;
        for (long long n = 0; n < s->problems; n++)
            verify_one(s, &problem, (uint64_t)(s->seed + n), false);
    }
    for (long long n = 0; n_texts == 0 && n < s->problems; n++) {
        workload_random_problem((uint64_t)(s->seed + n), &problem);
        if (s->options.engine)
            strncpy(problem.engine, s->options.engine, sizeof problem.engine - 1);
        verify_one(s, &problem, (uint64_t)(s->seed + n), true);
        double now = now_seconds();
        if (s->progress && now - told > 2) {
            fprintf(stderr, "clattn verify: %lld of %lld problems, %d failed, %.0f s\n", n + 1, s->problems, s->failures, now - begin);
            told = now;
        }
        if (s->seconds > 0 && now - begin > s->seconds)
            break;
    }
    printf("largest error / bound: %.3f\n%d passed, %d failed\n", s->worst, s->passed, s->failures);
    return s->failures ? EXIT_CHECK_FAILED : EXIT_GOOD;
}

static const char help[] =
    "usage: clattn verify [OPTIONS] [PROBLEM...]\n\n"
    "Compares problems with the double-precision reference: random ones, or the given ones.\n\n"
    "  --problems N    how many (100; with PROBLEM: how many seeds of each)\n"
    "  --seconds S     stop a random sweep after S seconds\n"
    "  --seed N        first seed (0)\n"
    "  --rows N        compare N rows of each problem instead of all\n"
    "  --device S      a device: number, cpu, gpu, or part of a name\n"
    "  --engine E      force an engine\n"
    "  --mask EXPR --corner tl|br --scalar NAME=V --array NAME=  a pattern beside PROBLEM; arrays are random\n"
    "  --help          this\n\n"
    "Exit status: 0 all passed, 1 some failed, 2 a mistake in the call.\n";

int command_verify(int argc, char **argv)
{
    static const struct option options[] = {
        {"problems", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 't'},
        {"seed", required_argument, NULL, 's'},     {"rows", required_argument, NULL, 'r'},
        {"device", required_argument, NULL, 'd'},   {"engine", required_argument, NULL, 'e'},
        {"mask", required_argument, NULL, 'm'},     {"corner", required_argument, NULL, 'c'},
        {"scalar", required_argument, NULL, 'v'},   {"array", required_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},           {0}};
    struct sweep s = {.problems = -1};
    const char *device = NULL;
    long long seconds = 0;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        int bad = 0;
        switch (c) {
        case 'n': bad = read_count(optarg, 1, &s.problems); break;
        case 't': bad = read_count(optarg, 1, &seconds); break;
        case 's': bad = read_count(optarg, 0, &s.seed); break;
        case 'r': bad = read_count(optarg, 1, &s.rows); break;
        case 'd': device = optarg; break;
        case 'e': s.options.engine = optarg; break;
        case 'm': s.options.mask = optarg; break;
        case 'c': s.options.corner = optarg; break;
        case 'v':
            if (s.options.n_scalars == CLATTN_MAX_SCALARS)
                return mistake("%d --scalar are the most", CLATTN_MAX_SCALARS);
            s.options.scalars[s.options.n_scalars++] = optarg;
            break;
        case 'a':
            if (s.options.n_arrays == CLATTN_MAX_ARRAYS)
                return mistake("%d --array are the most", CLATTN_MAX_ARRAYS);
            s.options.arrays[s.options.n_arrays++] = optarg;
            break;
        case 'h': printf("%s", help); return EXIT_GOOD;
        default: return EXIT_MISTAKE;
        }
        if (bad)
            return bad;
    }
    s.seconds = (double)seconds;
    s.progress = isatty(2);
    if (s.problems < 0)
        s.problems = optind < argc ? 1 : 100;
    clattn_status status = clattn_context_open(&s.ctx, device);
    if (status)
        return failed(NULL, status, device ? device : "devices");
    int code = run_sweep(&s, argc - optind, argv + optind);
    clattn_context_close(s.ctx);
    return code;
}
