/* SPDX-License-Identifier: MIT
 * select.c - clattn select: the key blocks that a selection lists, on files or random input; to files, or
 * compared with the double reference. */
#include "tool/select_report.h"

#include <math.h>
#include <stdlib.h>

struct select_options {
    struct problem_options problem;
    const char *q, *k, *given, *budgets, *out, *device;
    long long seed, repeat, rows;
    bool explain, check, mass, json;
};

/* ---- running ---- */
/* The stages that a later step may begin with: of a selection that keeps none, the first. */
static int stage_count(const struct selection *x)
{
    return x->io.kept ? x->s.n_stages : 1;
}

static clattn_status run_once(struct selection *x, struct select_report *r)
{
    double begin = now_seconds();
    clattn_status status = selection_run_bounds(x, true);
    r->bounds = fmin(r->bounds, now_seconds() - begin);
    for (int stage = 0; !status && stage < r->n_stages; stage++) {
        begin = now_seconds();
        status = selection_run(x, stage);
        r->stages[stage] = fmin(r->stages[stage], now_seconds() - begin);
    }
    return status;
}

static int run_plan(struct selection *x, const struct select_options *o, struct select_report *r)
{
    clattn_status status = CLATTN_OK;
    for (long long i = 0; !status && i < o->repeat; i++)
        status = run_once(x, r);
    if (!status)
        status = selection_read(x);
    return status ? failed(x->ctx, status, "select") : 0;
}

static int check(const struct selection *x)
{
    if (x->s.method == CLATTN_EXTERNAL_LIST)
        return mistake("--check: given lists are not computed");
    const long long lists = selection_lists(x), differ = selection_differs(x),
                    wrong = selection_miscertified(x);
    printf("check      %lld of %lld lists differ from the reference: %s\n", differ, lists,
           differ ? "FAILED" : "passed");
    if (x->certified)
        printf("check      %lld of %lld certificates are wrong: %s\n", wrong, lists,
               wrong ? "FAILED" : "passed");
    return differ || wrong ? EXIT_CHECK_FAILED : EXIT_GOOD;
}

/* ---- the command ---- */
static int report(const struct selection *x, const struct select_options *o, const char *text,
                  struct select_report *r)
{
    if (o->mass && !(r->heads = malloc((size_t)x->dense.problem.heads * sizeof *r->heads)))
        return failed(x->ctx, CLATTN_OUT_OF_HOST_MEMORY, "--mass");
    if (r->heads)
        selection_mass(x, o->rows, r->heads);
    if (o->json)
        print_select_json(r, text);
    else
        print_select_text(r, o->explain);
    free(r->heads);
    return 0;
}

static int read_given(struct selection *x, const struct select_options *o)
{
    if (x->s.method != CLATTN_EXTERNAL_LIST)
        return o->given ? mistake("--given goes with the method given=N") : 0;
    return o->given ? read_lists(o->given, &x->list, x->given)
                    : mistake("given lists come from files: --given STEM");
}

/* N/N...: one of each scope. */
static int read_budgets(struct selection *x, const char *text)
{
    char *end = NULL;
    const char *at = text;
    int64_t n = 0;
    if (!text)
        return 0;
    if (!x->budgets)
        return mistake("--budgets goes with the word each of a selection");
    for (; n < x->list.scopes; n++, at = end + 1) {
        const long long value = strtoll(at, &end, 10);
        if (end == at || value < 0 || value > INT32_MAX || *end != (n == x->list.scopes - 1 ? 0 : '/'))
            break;
        x->budgets[n] = (int32_t)value;
    }
    return n == x->list.scopes ? 0
                               : mistake("--budgets '%s': it must be %lld whole numbers, as 512/0/64, one of "
                                         "each list of a query block",
                                         text, (long long)x->list.scopes);
}

static int select_on(struct selection *x, clattn_context *ctx, const struct select_options *o,
                     const char *text)
{
    struct select_report r = {x, INFINITY, {INFINITY, INFINITY, INFINITY, INFINITY}, 0, NULL};
    clattn_status status = selection_open(x, ctx);
    if (status)
        return failed(ctx, status, "plan");
    r.n_stages = stage_count(x);
    if (run_plan(x, o, &r) || report(x, o, text, &r) || write_lists(o->out, &x->list, x->w->list))
        return EXIT_MISTAKE;
    return o->check ? check(x) : EXIT_GOOD;
}

/* w: of the problem alone */
static int select_workload(const struct select_options *o, const clattn_select *s, struct workload *w,
                           const char *text)
{
    struct selection x;
    clattn_context *ctx = NULL;
    clattn_status status = selection_make(&x, s, w);
    int code = 0;
    if (status)
        code = failed(NULL, status, "lists");
    else if (read_given(&x, o) || read_budgets(&x, o->budgets))
        code = EXIT_MISTAKE;
    if (!code && (status = clattn_context_open(&ctx, o->device)))
        code = failed(NULL, status, o->device ? o->device : "devices");
    if (!code)
        code = select_on(&x, ctx, o, text);
    selection_free(&x);
    if (ctx)
        clattn_context_close(ctx);
    return code;
}

static int select_problem(const struct select_options *o, const char *text)
{
    clattn_attention problem;
    clattn_select s;
    struct workload w;
    if (read_selected(&problem, &s, text, &o->problem))
        return EXIT_MISTAKE;
    if (s.size == 0)
        return mistake("problem '%s': it has no selection behind it, as tree=256 or the name of a preset",
                       text);
    clattn_status status = workload_make(&w, &problem, (uint64_t)o->seed, WORKLOAD_NORMAL);
    if (status)
        return failed(NULL, status, text);
    int code = load_tensor(o->q, &w, 'q') || load_tensor(o->k, &w, 'k') || load_arrays(&o->problem, &w)
                   ? EXIT_MISTAKE
                   : select_workload(o, &s, &w, text);
    workload_free(&w);
    return code;
}

static int print_presets(void)
{
    const char *name, *meaning;
    for (size_t i = 0; (name = clattn_select_preset_name(i, &meaning)); i++) {
        clattn_select s = CLATTN_SELECT_INIT;
        char words[512];
        if (!clattn_select_preset(&s, name) && !clattn_select_print(&s, words, sizeof words))
            printf("%-24s %s\n%-24s %s\n", name, meaning, "", words);
    }
    return EXIT_GOOD;
}

static const char help[] =
    "usage: clattn select [OPTIONS] PROBLEM:SELECTION\n\n"
    "Lists the key blocks worth reading, for example of "
    "attn:f32:h6/2:q4096:k4096:d64:causal-br:tree=256:bq=64/8:bk=8\n"
    "(clattn_problem(7)).\n\n"
    "  --q F --k F        inputs as .npy (float32 or float16, C order); random where none is given\n"
    "  --given STEM       given lists, for given=N: STEM-starts.npy and STEM-ids.npy\n"
    "  --budgets N/N...   tokens of each head's, group's or all one's lists, for the word each; random where not said\n"
    "  --out STEM         write the lists to STEM-starts.npy and STEM-ids.npy, int32, as block-sparse rows\n"
    "  --check            compare every list with the reference's (slow); exits 1 if one differs\n"
    "  --mass             print the part of some rows' softmax that lies on the keys they visit, in double precision; of each\n"
    "                     head beside what as many of the best blocks keep, and a window of as many keys\n"
    "  --rows N           of so many rows of each head (64)\n"
    "  --json             print all this as JSON\n"
    "  --presets          list the selections that have names\n"
    "  --device S         number, cpu, gpu, accelerator, or part of a name\n" PROBLEM_HELP
    "  --seed N           of the random input (0)\n"
    "  --repeat N         run N times (1); the best time is printed\n"
    "  --explain          say what the plan does\n" HELP_HELP
    "\nExit status: 0, 1 if lists differ, 2 after a mistake in the call or an error.\n";

static int take_option(struct select_options *o, int c)
{
    switch (c) {
    case 'q': o->q = optarg; return 0;
    case 'k': o->k = optarg; return 0;
    case 'g': o->given = optarg; return 0;
    case 'b': o->budgets = optarg; return 0;
    case 'o': o->out = optarg; return 0;
    case 'c': o->check = true; return 0;
    case 'm': o->mass = true; return 0;
    case 'r': return read_count("--rows", optarg, 1, &o->rows);
    case 'j': o->json = true; return 0;
    case 'd': o->device = optarg; return 0;
    case 'S': return read_count("--seed", optarg, 0, &o->seed);
    case 'n': return read_count("--repeat", optarg, 1, &o->repeat);
    case 'x': o->explain = true; return 0;
    default: return take_problem_option(&o->problem, c);
    }
}

int command_select(int argc, char **argv)
{
    static const struct option options[] = {
        {"q", required_argument, NULL, 'q'},      {"k", required_argument, NULL, 'k'},    {"given", required_argument, NULL, 'g'},
        {"budgets", required_argument, NULL, 'b'},
        {"out", required_argument, NULL, 'o'},    {"check", no_argument, NULL, 'c'},      {"presets", no_argument, NULL, 'p'},
        {"mass", no_argument, NULL, 'm'},         {"rows", required_argument, NULL, 'r'}, {"json", no_argument, NULL, 'j'},
        {"device", required_argument, NULL, 'd'}, {"seed", required_argument, NULL, 'S'}, {"repeat", required_argument, NULL, 'n'},
        {"explain", no_argument, NULL, 'x'},      PROBLEM_OPTIONS,                        {0}};
    struct select_options o = {.repeat = 1, .rows = 64};
    for (int c; (c = next_option(argc, argv, options)) != -1;) {
        if (c == OPTION_HELP) {
            printf("%s", help);
            return EXIT_GOOD;
        }
        if (c == 'p')
            return print_presets();
        if (take_option(&o, c))
            return EXIT_MISTAKE;
    }
    if (argc - optind != 1)
        return mistake(
            "select takes one problem, as attn:f32:h8:q2048:k2048:d64:causal-br:tree=256, and %d are given",
            argc - optind);
    if (o.json && (o.check || o.explain))
        return mistake("--json prints numbers; --check and --explain say what they say in words");
    return select_problem(&o, argv[optind]);
}
