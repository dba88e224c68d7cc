/* SPDX-License-Identifier: MIT
 * run.c - clattn run: one problem on files or random input, its result to files or compared with expected
 * ones. */
#include "tool/delta.h"
#include "tool/extended.h"

#include <math.h>
#include <unistd.h>

struct run_options {
    struct problem_options problem;
    const char *q, *k, *v, *o, *lse, *key_lengths, *check, *check_lse, *device, *list, *list_out;
    long long seed, repeat, delta;
    bool explain;
    long long careful; /* seconds of a build helper; 0: none */
    double plan_seconds;     /* out: how long the plan took */
    double select_seconds;   /* out: the best selection, or INFINITY */
    struct selection pruned; /* out: w NULL if nothing is selected */
};

static int load_inputs(const struct run_options *o, struct workload *w)
{
    return load_tensor(o->q, w, 'q') || load_tensor(o->k, w, 'k') || load_tensor(o->v, w, 'v') ||
                   load_lengths(o->key_lengths, w) || load_arrays(&o->problem, w)
               ? EXIT_MISTAKE
               : 0;
}

static int check(const char *path, const struct workload *w, char name)
{
    struct comparison c;
    if (!path)
        return EXIT_GOOD;
    if (compare_tensor(path, w, name, &c))
        return EXIT_MISTAKE;
    printf("check    %s: largest error %.3g, %.2f of what is allowed: %s\n", name == 'l' ? "lse" : "o",
           c.error, c.part, c.pass ? "passed" : "FAILED");
    return c.pass ? EXIT_GOOD : EXIT_CHECK_FAILED;
}

static void print_selection(const struct run_options *o)
{
    char text[4096], lists[128];
    const struct selection *x = &o->pruned;
    if (!x->w)
        return;
    if (o->explain && x->plan && clattn_select_plan_explain(x->plan, text, sizeof text) == CLATTN_OK)
        printf("%s", text);
    printf("lists    %s\n", selection_text(x, lists));
    if (x->plan)
        printf("select   %.3f ms, plan %.3f s\n", o->select_seconds * 1e3, x->plan_seconds);
}

static double operations(const struct run_options *o, const struct workload *w)
{
    return o->pruned.w ? selection_flops(&o->pruned)
                       : clattn_problem_flops(&w->problem, (const void *const *)w->arrays);
}

/* Problem, device, engine, time. */
static void print_run(const struct run_options *o, clattn_context *ctx, const char *engine,
                      const struct workload *w, double seconds)
{
    const clattn_attention *problem = &w->problem;
    char text[1024];
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_device_describe(clattn_context_device(ctx), &facts);
    clattn_problem_print(o->pruned.w ? &o->pruned.dense.problem : problem, text, sizeof text);
    printf("problem  %s", text);
    if (o->pruned.w && !clattn_select_print(&o->pruned.s, text, sizeof text))
        printf(":%s", text);
    if (o->problem.mask || (o->problem.mechanism && problem->pattern.text[0]))
        printf("   mask %s", problem->pattern.text);
    if (problem->score.text[0])
        printf("   score %s", problem->score.text);
    if (problem->weight.text[0])
        printf("   weight %s", problem->weight.text);
    printf("\ndevice   %s\nengine   %s\nplan     %.3f s\ntime     %.3f ms", facts.name, engine,
           o->plan_seconds, seconds * 1e3);
    if (seconds > 0)
        printf(", %.1f GFLOP/s", operations(o, w) / seconds * 1e-9);
    printf("\n");
}

static int run_delta(const struct run_options *o, clattn_context *ctx, struct workload *w)
{
    struct delta d;
    char why[512];
    clattn_status status = apply_delta(ctx, w, &o->pruned.dense, o->delta, &d, why);
    if (status)
        return why[0] ? mistake("--delta: %s", why) : failed(ctx, status, "--delta");
    printf("delta    every %lld rows: %lld dense rows of each head %.3f ms, correction %.3f ms; distance "
           "from dense attention %.4f, "
           "before %.4f\n",
           o->delta, (long long)d.rows, d.anchor_seconds * 1e3, d.seconds * 1e3, d.after, d.before);
    return 0;
}

/* The result to files, and compared. */
static int finish(const struct run_options *o, const struct workload *w)
{
    if (save_tensor(o->o, w, 'o') || save_tensor(o->lse, w, 'l'))
        return EXIT_MISTAKE;
    int code = check(o->check, w, 'o'), code_lse = check(o->check_lse, w, 'l');
    return code > code_lse ? code : code_lse;
}

static int run_plan(const struct run_options *o, clattn_context *ctx, clattn_plan *plan, struct workload *w)
{
    char text[4096];
    double best = INFINITY, seconds;
    if (o->explain && clattn_plan_explain(plan, text, sizeof text) == CLATTN_OK)
        printf("%s", text);
    for (long long i = 0; i < o->repeat; i++) {
        clattn_status status = workload_run(w, plan, &seconds);
        if (status)
            return failed(ctx, status, "run");
        best = fmin(best, seconds);
    }
    print_selection(o);
    print_run(o, ctx, clattn_plan_engine(plan), w, best);
    if (o->delta && run_delta(o, ctx, w))
        return EXIT_MISTAKE;
    return finish(o, w);
}

/* Attention at positions of its own. */
static int run_positions(struct run_options *o, clattn_context *ctx, struct workload *w)
{
    char text[4096];
    struct extended e;
    clattn_status status = run_extended(&o->pruned, o->repeat, &e);
    o->plan_seconds = e.plan_seconds;
    int code = status ? failed(ctx, status, "extend") : 0;
    if (!code) {
        if (o->explain && clattn_extend_plan_explain(e.plan, text, sizeof text) == CLATTN_OK)
            printf("%s", text);
        print_selection(o);
        print_run(o, ctx, "extend", w, e.seconds);
        code = finish(o, w);
    }
    close_extended(&e);
    return code;
}

/* ---- lists ---- */
static clattn_status repeat_selection(struct run_options *o, clattn_context *ctx)
{
    struct selection *x = &o->pruned;
    clattn_status status = selection_open(x, ctx);
    for (long long i = 0; !status && i < o->repeat; i++) {
        double begin = now_seconds();
        status = selection_run(x, 0);
        o->select_seconds = fmin(o->select_seconds, now_seconds() - begin);
    }
    return status ? status : selection_read(x);
}

/* Lists of a file are attended over as they are; a selector makes the others. */
static int make_lists(struct run_options *o, clattn_context *ctx, const clattn_select *s, struct workload *w)
{
    struct selection *x = &o->pruned;
    clattn_status status = selection_make(x, s, w);
    if (status)
        return failed(NULL, status, "lists");
    if (o->list)
        return read_lists(o->list, &x->list, w->list);
    if (s->method == CLATTN_EXTERNAL_LIST)
        return mistake("given lists come from files: --list STEM");
    status = repeat_selection(o, ctx);
    return status ? failed(ctx, status, "selection") : write_lists(o->list_out, &x->list, w->list);
}

/* ---- the command ---- */
static int run_on(struct run_options *o, clattn_context *ctx, const clattn_select *s, struct workload *w)
{
    clattn_plan *plan;
    if (s->size && make_lists(o, ctx, s, w))
        return EXIT_MISTAKE;
    if (s->size && s->extend)
        return run_positions(o, ctx, w);
    double begin = now_seconds();
    clattn_status status = clattn_plan_create(&plan, ctx, &w->problem);
    o->plan_seconds = now_seconds() - begin;
    if (status)
        return failed(ctx, status, "plan");
    int code = run_plan(o, ctx, plan, w);
    clattn_plan_destroy(plan);
    return code;
}

/* Options that would be passed over in silence. */
static int check_options(const struct run_options *o, const clattn_select *s)
{
    if (s->size == 0 && (o->list || o->list_out))
        return mistake("--list and --list-out go with a selection behind the problem, as tree=256 or the "
                       "name of a preset");
    if (s->size == 0 && o->delta)
        return mistake("--delta corrects pruned attention: it goes with a selection behind the problem, as "
                       "tree=256 or the name of a preset");
    if (o->delta && s->size && s->extend)
        return mistake("--delta adds rows of plain attention, and the word extend turns queries and keys");
    if (o->delta && (o->lse || o->check_lse))
        return mistake("--lse: rows that --delta corrects have none");
    return o->list && o->list_out ? mistake("--list-out would write the lists that --list reads") : 0;
}

/* This program as a build helper. */
static int be_careful(clattn_context *ctx, long long seconds)
{
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n < 0 ? 0 : n] = 0;
    clattn_status status = clattn_context_set_build_helper(
        ctx, program, (uint32_t)(seconds < UINT32_MAX ? seconds : UINT32_MAX));
    return status ? failed(ctx, status, "--careful") : 0;
}

static int run_problem(struct run_options *o, const char *text)
{
    clattn_attention problem;
    clattn_select s;
    struct workload w;
    clattn_context *ctx;
    if (read_selected(&problem, &s, text, &o->problem) || check_options(o, &s))
        return EXIT_MISTAKE;
    if (o->lse || o->check_lse)
        problem.flags |= CLATTN_WANT_LSE;
    clattn_status status = workload_make(&w, &problem, (uint64_t)o->seed, WORKLOAD_NORMAL);
    if (status)
        return failed(NULL, status, text);
    int code =
        check_saving(o->o, &w, 'o') || check_saving(o->lse, &w, 'l') ? EXIT_MISTAKE : load_inputs(o, &w);
    if (!code && (status = clattn_context_open(&ctx, o->device)))
        code = failed(NULL, status, o->device ? o->device : "devices");
    if (!code) {
        code = o->careful ? be_careful(ctx, o->careful) : 0;
        if (!code)
            code = run_on(o, ctx, &s, &w);
        selection_free(&o->pruned);
        clattn_context_close(ctx);
    }
    workload_free(&w);
    return code;
}

static const char help[] =
    "usage: clattn run [OPTIONS] PROBLEM[:SELECTION]\n\n"
    "Runs one problem, for example attn:f16-f32:h6/2:q2048:k2048:d64:causal-tl (clattn_problem(7)).  With a selection\n"
    "behind it, as :hip or :tree=256:bk=8, key blocks are selected, and rows read those, the sinks and the window.\n\n"
    "  --q F --k F --v F  inputs as .npy (float32 or float16, C order); random where none is given\n"
    "  --o F --lse F      write the result as .npy\n"
    "  --check F          compare o with a float32 .npy: prints the largest error, exits 1 above the bound\n"
    "  --check-lse F      the same for lse\n"
    "  --key-lengths F    int32 .npy, with the problem's option keylens; random without it\n"
    "  --list STEM        take the lists from STEM-starts.npy and STEM-ids.npy instead of selecting\n"
    "  --delta N          correct pruned attention by dense attention of every N-th row\n"
    "  --list-out STEM    write the lists that were selected, as clattn select --out does\n"
    "  --device S         number, cpu, gpu, accelerator, or part of a name\n" PROBLEM_HELP
    "  --seed N           of the random input (0)\n"
    "  --repeat N         run N times (1); the best time is printed\n"
    "  --careful S        make plans first in a process of its own, S seconds at most: for compilers that crash or hang\n"
    "  --explain          say what the plan does and why\n" HELP_HELP
    "\nExit status: 0, 1 if a comparison failed, 2 after a mistake in the call or an error.\n";

static int take_option(struct run_options *o, int c)
{
    switch (c) {
    case 'q': o->q = optarg; return 0;
    case 'k': o->k = optarg; return 0;
    case 'v': o->v = optarg; return 0;
    case 'o': o->o = optarg; return 0;
    case 'l': o->lse = optarg; return 0;
    case 'c': o->check = optarg; return 0;
    case 'C': o->check_lse = optarg; return 0;
    case 'K': o->key_lengths = optarg; return 0;
    case 'L': o->list = optarg; return 0;
    case 'w': o->list_out = optarg; return 0;
    case 'd': o->device = optarg; return 0;
    case 'S': return read_count("--seed", optarg, 0, &o->seed);
    case 'n': return read_count("--repeat", optarg, 1, &o->repeat);
    case 'D': return read_count("--delta", optarg, 1, &o->delta);
    case 'x': o->explain = true; return 0;
    case 'f': return read_count("--careful", optarg, 1, &o->careful);
    default: return take_problem_option(&o->problem, c);
    }
}

int command_run(int argc, char **argv)
{
    static const struct option options[] = {
        {"q", required_argument, NULL, 'q'},         {"k", required_argument, NULL, 'k'},
        {"v", required_argument, NULL, 'v'},         {"o", required_argument, NULL, 'o'},
        {"lse", required_argument, NULL, 'l'},       {"check", required_argument, NULL, 'c'},
        {"check-lse", required_argument, NULL, 'C'}, {"key-lengths", required_argument, NULL, 'K'},
        {"device", required_argument, NULL, 'd'},    {"seed", required_argument, NULL, 'S'},
        {"repeat", required_argument, NULL, 'n'},    {"explain", no_argument, NULL, 'x'},
        {"careful", required_argument, NULL, 'f'},
        {"list", required_argument, NULL, 'L'},      {"list-out", required_argument, NULL, 'w'},
        {"delta", required_argument, NULL, 'D'},     PROBLEM_OPTIONS, {0}};
    struct run_options o = {.repeat = 1, .select_seconds = INFINITY};
    for (int c; (c = next_option(argc, argv, options)) != -1;) {
        if (c == OPTION_HELP) {
            printf("%s", help);
            return EXIT_GOOD;
        }
        if (take_option(&o, c))
            return EXIT_MISTAKE;
    }
    if (argc - optind != 1)
        return mistake("run takes one problem, as attn:f32:h8:q2048:k2048:d64, and %d are given",
                       argc - optind);
    return run_problem(&o, argv[optind]);
}
