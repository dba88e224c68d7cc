/* SPDX-License-Identifier: MIT
 * verify.c - clattn verify: random or given problems against the double-precision reference. */
#include "tool/extended.h"

#include <string.h>
#include <unistd.h>

struct sweep {
    clattn_context *ctx;
    const char *device;
    struct problem_options options;
    long long seed, problems, rows, seconds; /* seconds 0: no limit */
    double begin, told;
    bool progress, pruned;       /* pruned: all random problems have a selection */
    const clattn_select *select; /* of the random problem at work, or NULL */
    int passed, failures, selections;
    double worst;              /* largest error / bound */
    double error, bound;       /* of that row */
    long long judged, unbounded; /* rows compared; of them those whose rounding lets nothing be said */
};

static void print_rules(const clattn_attention *a)
{
    const char *const words[] = {"mask", "score", "weight"};
    const char *const texts[] = {a->pattern.text, a->score.text, a->weight.text};
    for (int i = 0; i < 3; i++)
        if (texts[i][0])
            printf("  %s '%s'", words[i], texts[i]);
    if (a->normaliser > 0 && a->normaliser < 4)
        printf("  normaliser %s", normaliser_words[a->normaliser]);
}

/* given: the problem's text on the command line, NULL in a random sweep. */
static void report_failure(struct sweep *s, const clattn_attention *problem, uint64_t seed, const char *given,
                           const char *what)
{
    char text[1024];
    if (clattn_problem_print(problem, text, sizeof text))
        snprintf(text, sizeof text, "(a problem that does not print)");
    printf("FAILED  %s", text);
    if (s->select && !clattn_select_print(s->select, text, sizeof text))
        printf("  selection %s", text);
    print_rules(problem);
    printf("\n        %s\n", what);
    printf("        again: clattn verify --problems 1 --seed %llu%s", (unsigned long long)seed,
           s->pruned ? " --pruned" : "");
    if (s->device)
        printf(" --device '%s'", s->device);
    print_problem_options(stdout, &s->options);
    printf("%s%s\n", given ? " " : "", given ? given : "");
    s->failures++;
}

/* status: of the run that made the workload's result. */
static void check_workload(struct sweep *s, struct workload *w, clattn_status status, uint64_t seed,
                           const char *given)
{
    struct verdict verdict;
    char text[512];
    if (status) {
        clattn_context_message(s->ctx, text, sizeof text);
        report_failure(s, &w->problem, seed, given, text);
        return;
    }
    workload_check(w, s->rows, &verdict);
    if (verdict.ratio > s->worst) {
        s->worst = verdict.ratio;
        s->error = verdict.error;
        s->bound = verdict.bound;
    }
    s->judged += verdict.rows;
    s->unbounded += verdict.unbounded;
    if (!verdict.pass) {
        snprintf(text, sizeof text, "%s (error %.3g, bound %.3g; lse error %.3g, bound %.3g)", verdict.where,
                 verdict.error, verdict.bound, verdict.lse_error, verdict.lse_bound);
        report_failure(s, &w->problem, seed, given, text);
    } else if (!workload_guards_intact(w)) {
        report_failure(s, &w->problem, seed, given, "memory outside the output's rows was written");
    } else {
        s->passed++;
    }
}

/* Makes the lists of a pruned problem; what is wrong with them goes to text. */
static bool lists_are_right(struct sweep *s, struct selection *x, const clattn_select *select,
                            struct workload *w, char *text, size_t size)
{
    clattn_status status = selection_of(x, select, w, s->ctx);
    if (status) {
        clattn_context_message(s->ctx, text, size);
        if (!text[0])
            snprintf(text, size, "%s", clattn_status_text(status));
        return false;
    }
    const long long differ = selection_differs(x);
    const long long wrong = differ ? 0 : selection_miscertified(x);
    if (differ)
        snprintf(text, size, "%lld of %lld lists differ from the reference", differ,
                 (long long)selection_lists(x));
    else
        snprintf(text, size, "%lld of %lld certificates are wrong", wrong, (long long)selection_lists(x));
    return differ == 0 && wrong == 0;
}

/* The plan of a workload, and its result. */
static void check_plan(struct sweep *s, struct workload *w, uint64_t seed, const char *given)
{
    char text[1024];
    clattn_plan *plan;
    clattn_status status = clattn_plan_create(&plan, s->ctx, &w->problem);
    if (status) {
        clattn_context_message(s->ctx, text, sizeof text);
        report_failure(s, &w->problem, seed, given, text);
    } else {
        check_workload(s, w, workload_run(w, plan, NULL), seed, given);
        clattn_plan_destroy(plan);
    }
}

/* The same of attention at positions of its own. */
static void check_extended(struct sweep *s, struct selection *x, uint64_t seed, const char *given)
{
    struct extended e;
    check_workload(s, x->w, run_extended(x, 1, &e), seed, given);
    close_extended(&e);
}

/* select: NULL, or the selection whose lists are judged first; then the result is, by those lists. */
static void verify_one(struct sweep *s, const clattn_attention *problem, const clattn_select *select,
                       uint64_t seed, const char *given)
{
    static const enum workload_fill fills[] = {WORKLOAD_NORMAL, WORKLOAD_POISON, WORKLOAD_NORMAL,
                                               WORKLOAD_LARGE};
    struct workload w;
    struct selection x = {.w = NULL};
    char text[1024];
    clattn_status status = workload_make(&w, problem, seed, fills[seed % 4]);
    if (status) {
        report_failure(s, problem, seed, given, clattn_status_text(status));
        return;
    }
    if (select && !lists_are_right(s, &x, select, &w, text, sizeof text))
        report_failure(s, &w.problem, seed, given, text);
    else if (select && select->extend)
        check_extended(s, &x, seed, given);
    else
        check_plan(s, &w, seed, given);
    selection_free(&x);
    workload_free(&w);
}

/* Whether there is time for another problem; says how far the sweep is. */
static bool go_on(struct sweep *s)
{
    double now = now_seconds();
    if (s->progress && now - s->told > 1) {
        fprintf(stderr, "\033[2K\rclattn verify: %d passed, %d failed, %.0f s\r", s->passed, s->failures,
                now - s->begin);
        s->told = now;
    }
    return s->seconds == 0 || now - s->begin <= (double)s->seconds;
}

static int verify_given(struct sweep *s, const char *text)
{
    clattn_attention problem;
    clattn_select select;
    if (read_selector(&problem, &select, text, &s->options))
        return EXIT_MISTAKE;
    for (long long n = 0; n < s->problems && go_on(s); n++)
        verify_one(s, &problem, select.size ? &select : NULL, (uint64_t)(s->seed + n), text);
    return 0;
}

static void verify_random(struct sweep *s)
{
    clattn_attention problem;
    clattn_select select;
    for (long long n = 0; n < s->problems && go_on(s); n++) {
        const uint64_t seed = (uint64_t)(s->seed + n);
        workload_random_problem(seed, &problem);
        if (s->options.engine)
            strncpy(problem.engine, s->options.engine, sizeof problem.engine - 1);
        s->select = workload_random_selection(seed, s->pruned, &problem, &select) ? &select : NULL;
        if (s->pruned && !s->select)
            continue;
        s->selections += s->select != NULL;
        verify_one(s, &problem, s->select, seed, NULL);
    }
}

static int run_sweep(struct sweep *s, int n_texts, char **texts)
{
    s->begin = s->told = now_seconds();
    for (int i = 0; i < n_texts; i++)
        if (verify_given(s, texts[i]))
            return EXIT_MISTAKE;
    if (n_texts == 0)
        verify_random(s);
    if (s->progress)
        fprintf(stderr, "\033[2K\r");
    printf("largest error / bound: %.3f (%.2e / %.2e), over %lld rows", s->worst, s->error, s->bound,
           s->judged);
    if (s->unbounded)
        printf(" (%lld of them beyond any bound)", s->unbounded);
    if (s->selections)
        printf("; lists of %d selections", s->selections);
    printf("\n%d passed, %d failed\n", s->passed, s->failures);
    return s->failures ? EXIT_CHECK_FAILED : EXIT_GOOD;
}

static const char help[] =
    "usage: clattn verify [OPTIONS] [PROBLEM[:SELECTION]...]\n\n"
    "Compares problems with the double-precision reference: random ones, or the given ones.  With a selection behind a\n"
    "problem its lists are compared, and then the result of attention over these lists.\n\n"
    "  --problems N       how many (100; with PROBLEM: how many seeds of each, 1)\n"
    "  --seconds S        begin no further problem after S seconds\n"
    "  --seed N           first seed (0)\n"
    "  --rows N           compare N rows of each problem instead of all\n"
    "  --pruned           random problems with selections alone, instead of one in eight; those that can have none are left out\n"
    "  --device S         number, cpu, gpu, accelerator, or part of a name\n" PROBLEM_HELP
    HELP_HELP
    "\nExit status: 0 all passed, 1 some failed, 2 a mistake in the call or an error.\n";

static int take_option(struct sweep *s, int c)
{
    switch (c) {
    case 'n': return read_count("--problems", optarg, 1, &s->problems);
    case 't': return read_count("--seconds", optarg, 1, &s->seconds);
    case 's': return read_count("--seed", optarg, 0, &s->seed);
    case 'r': return read_count("--rows", optarg, 1, &s->rows);
    case 'd': s->device = optarg; return 0;
    case 'p': s->pruned = true; return 0;
    default: return take_problem_option(&s->options, c);
    }
}

/* Options that would be passed over in silence. */
static int check_options(const struct sweep *s, int n_texts)
{
    if (n_texts == 0 && options_need_problem(&s->options))
        return mistake("--mechanism, --mask, --scalar and the like go with a problem, and none is given");
    if (n_texts > 0 && s->pruned)
        return mistake("--pruned goes with random problems; a given one has its selection behind it, as "
                       "PROBLEM:tree=256");
    for (int i = 0; i < s->options.n_arrays; i++)
        if (array_file(s->options.arrays[i]))
            return mistake("verify fills arrays with random numbers: --array takes NAME=TYPE[dims], not '%s'",
                           s->options.arrays[i]);
    return 0;
}

int command_verify(int argc, char **argv)
{
    static const struct option options[] = {
        {"problems", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 't'},
        {"seed", required_argument, NULL, 's'},     {"rows", required_argument, NULL, 'r'},
        {"device", required_argument, NULL, 'd'},   {"pruned", no_argument, NULL, 'p'},         PROBLEM_OPTIONS,
        {0}};
    struct sweep s = {.problems = -1, .progress = isatty(2)};
    for (int c; (c = next_option(argc, argv, options)) != -1;) {
        if (c == OPTION_HELP) {
            printf("%s", help);
            return EXIT_GOOD;
        }
        if (take_option(&s, c))
            return EXIT_MISTAKE;
    }
    if (check_options(&s, argc - optind))
        return EXIT_MISTAKE;
    if (s.problems < 0)
        s.problems = optind < argc ? 1 : 100;
    clattn_status status = clattn_context_open(&s.ctx, s.device);
    if (status)
        return failed(NULL, status, s.device ? s.device : "devices");
    int code = run_sweep(&s, argc - optind, argv + optind);
    clattn_context_close(s.ctx);
    return code;
}
