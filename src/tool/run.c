/* SPDX-License-Identifier: MIT
 * run.c - clattn run: one problem on files or random input, its result to files or compared with expected ones. */
#include "tool/tool.h"

#include "tool/npy.h"

#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct run_options {
    struct problem_options problem;
    const char *q, *k, *v, *o, *lse, *key_lengths, *check, *check_lse, *device;
    long long seed, repeat;
    bool explain;
};

/* Read a file into a tensor of the workload: type and number of elements must agree. */
static int load_tensor(const char *path, const char *name, void *to, int32_t type, int64_t count)
{
    static const enum npy_type file_types[] = {NPY_F4, NPY_F2};
    static const char *const words[] = {"float32", "float16", "int32"};
    struct npy array;
    char message[512];
    if (!path)
        return 0;
    if (npy_read(&array, path, message, sizeof message))
        return mistake("%s", message);
    int code = 0;
    if (type == CLATTN_BF16 || array.type != file_types[type])
        code = mistake("%s: it holds %s, and %s of this problem is %s", path, words[array.type], name,
                       type == CLATTN_F32 ? "f32" : type == CLATTN_F16 ? "f16" : "bf16 (which .npy cannot hold)");
    else if (array.count != count)
        code = mistake("%s: it holds %lld elements, and %s of this problem has %lld", path, (long long)array.count, name,
                       (long long)count);
    else
        memcpy(to, array.data, (size_t)count * (type == CLATTN_F32 ? 4 : 2));
    npy_free(&array);
    return code;
}

static int load_ints(const char *path, const char *name, int32_t *to, int64_t count)
{
    struct npy array;
    char message[512];
    if (npy_read(&array, path, message, sizeof message))
        return mistake("%s", message);
    int code = 0;
    if (array.type != NPY_I4 || array.count != count)
        code = mistake("%s: %s needs %lld int32 elements", path, name, (long long)count);
    else
        memcpy(to, array.data, (size_t)count * sizeof *to);
    npy_free(&array);
    return code;
}

static int load_inputs(const struct run_options *o, struct workload *w)
{
    const clattn_attention *a = &w->problem;
    int code = load_tensor(o->q, "q", w->q, a->type_q, w->q_count);
    if (!code)
        code = load_tensor(o->k, "k", w->k, a->type_k, w->k_count);
    if (!code)
        code = load_tensor(o->v, "v", w->v, a->type_v, w->v_count);
    if (!code && o->key_lengths)
        code = w->key_lengths ? load_ints(o->key_lengths, "--key-lengths", w->key_lengths, a->batch)
                              : mistake("--key-lengths needs the problem's option keylens");
    for (int i = 0; !code && i < a->n_arrays; i++)
        code = load_ints(strchr(o->problem.arrays[i], '=') + 1, a->arrays[i].name, w->arrays[i], a->arrays[i].count);
    return code;
}

static int save(const char *path, const struct workload *w, bool lse)
{
    const clattn_attention *a = &w->problem;
    const int64_t dims[] = {a->batch, a->heads, a->q_len, a->dim_v};
    char message[512];
    if (!path)
        return 0;
    if (!lse && a->type_o == CLATTN_BF16)
        return mistake("--o: .npy cannot hold bf16; ask for f32 output, as in attn:bf16-f32:...");
    if (a->flags & CLATTN_PACKED)
        return mistake("--o and --lse do not go with packed problems");
    if (npy_write(path, lse || a->type_o == CLATTN_F32 ? NPY_F4 : NPY_F2, lse ? 3 : 4, dims, lse ? (void *)w->lse : w->o,
                  message, sizeof message))
        return mistake("%s", message);
    return 0;
}

/* What row number `row` may be off by through f32 arithmetic (doc/numerics.md). */
static double row_bound(const struct workload *w, int64_t row)
{
    const clattn_attention *a = &w->problem;
    int64_t head = row / a->q_len;
    return workload_f32_bound(w, head / a->heads, head % a->heads, row % a->q_len);
}

/* Largest difference from an expected f32 file, as a part of what its row may be off by. */
static int compare_file(const char *path, const struct workload *w, bool lse)
{
    const clattn_attention *a = &w->problem;
    int64_t width = lse ? 1 : a->dim_v, count = a->batch * a->heads * a->q_len * width;
    struct npy expected;
    char message[512];
    static const double unit[] = {0, 0x1p-11, 0x1p-8};
    double worst = 0, ratio = 0, bound = 0;
    if (!path)
        return EXIT_GOOD;
    if (count != (lse ? w->lse_count : w->o_count))
        return mistake("--check needs a dense problem");
    if (npy_read(&expected, path, message, sizeof message))
        return mistake("%s", message);
    if (expected.type != NPY_F4 || expected.count != count) {
        npy_free(&expected);
        return mistake("%s: --check needs %lld float32 elements", path, (long long)count);
    }
    for (int64_t i = 0; i < count; i++) {
        double want = ((const float *)expected.data)[i];
        double got = lse ? (double)w->lse[i] : ref_widen(a->type_o, w->o, i), error = got == want ? 0 : fabs(got - want);
        if (i % width == 0)
            bound = row_bound(w, i / width);
        double part = error / (bound + fabs(want) * (lse ? 16 * 0x1p-24 : unit[a->type_o]) + (lse ? 16 * 0x1p-24 : 0));
        worst = error <= worst ? worst : error;
        ratio = error == 0 || part <= ratio ? ratio : part; /* a NaN stays */
    }
    npy_free(&expected);
    printf("check    %s: largest error %.3g, %.2f of what is allowed: %s\n", lse ? "lse" : "o", worst, ratio,
           ratio <= 1 ? "passed" : "FAILED");
    return ratio <= 1 ? EXIT_GOOD : EXIT_CHECK_FAILED;
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
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_device_describe(clattn_context_device(ctx), &facts);
    clattn_problem_print(&w->problem, text, sizeof text);
    printf("problem  %s%s%s\ndevice   %s\nengine   %s\n", text, w->problem.pattern.text[0] ? "   mask " : "",
           w->problem.pattern.text, facts.name, clattn_plan_engine(plan));
    printf("time     %.3f ms", best * 1e3);
    if (best > 0)
        printf(", %.1f GFLOP/s", clattn_problem_flops(&w->problem) / best * 1e-9);
    printf("\n");
    int code = save(o->o, w, false);
    if (!code)
        code = save(o->lse, w, true);
    if (code)
        return code;
    code = compare_file(o->check, w, false);
    int code_lse = compare_file(o->check_lse, w, true);
    return code > code_lse ? code : code_lse;
}

static int run_problem(struct run_options *o, const char *text)
{
    clattn_attention problem;
    struct workload w;
    clattn_context *ctx;
    clattn_plan *plan;
    if (read_problem(&problem, text, &o->problem))
        return EXIT_MISTAKE;
    if (o->lse || o->check_lse)
        problem.flags |= CLATTN_WANT_LSE;
    clattn_status status = workload_make(&w, &problem, (uint64_t)o->seed, WORKLOAD_NORMAL);
    if (status)
        return failed(NULL, status, text);
    int code = load_inputs(o, &w);
    if (!code && (status = clattn_context_open(&ctx, o->device)))
        code = failed(NULL, status, o->device ? o->device : "devices");
    if (!code) {
        status = clattn_plan_create(&plan, ctx, &w.problem);
        code = status ? failed(ctx, status, text) : run_plan(o, ctx, plan, &w);
        if (!status)
            clattn_plan_destroy(plan);
        clattn_context_close(ctx);
    }
    workload_free(&w);
    return code;
}

static const char help[] =
    "usage: clattn run [OPTIONS] PROBLEM\n\n"
    "Runs one problem, for example attn:f16-f32:h6/2:q2048:k2048:d64:causal-tl (clattn_problem(7)).\n\n"
    "  --q F --k F --v F      inputs as .npy (float32 or float16, C order); random where none is given\n"
    "  --o F --lse F          write the result as .npy\n"
    "  --check F              compare o with a float32 file: prints the largest error, exits 1 above the bound\n"
    "  --check-lse F          the same for lse\n"
    "  --mask EXPR            a condition beside the problem's pattern (clattn_expr(7)); --corner tl|br with it\n"
    "  --scalar NAME=V        a number that the condition names\n"
    "  --array NAME=F         an int32 .npy that the condition names, one element a batch entry\n"
    "  --key-lengths F        int32 .npy, with the problem's option keylens\n"
    "  --device S             number, cpu, gpu, or part of a name\n"
    "  --engine E             force an engine\n"
    "  --seed N --repeat N    of the random input (0); how often (1; the best time is printed)\n"
    "  --explain              say what the plan does and why\n"
    "  --help                 this\n";

int command_run(int argc, char **argv)
{
    static const struct option options[] = {
        {"q", required_argument, NULL, 'q'},         {"k", required_argument, NULL, 'k'},
        {"v", required_argument, NULL, 'v'},         {"o", required_argument, NULL, 'o'},
        {"lse", required_argument, NULL, 'l'},       {"check", required_argument, NULL, 'c'},
        {"check-lse", required_argument, NULL, 'C'}, {"mask", required_argument, NULL, 'm'},
        {"corner", required_argument, NULL, 'r'},    {"scalar", required_argument, NULL, 's'},
        {"array", required_argument, NULL, 'a'},     {"key-lengths", required_argument, NULL, 'K'},
        {"device", required_argument, NULL, 'd'},    {"engine", required_argument, NULL, 'e'},
        {"seed", required_argument, NULL, 'S'},      {"repeat", required_argument, NULL, 'n'},
        {"explain", no_argument, NULL, 'x'},         {"help", no_argument, NULL, 'h'},
        {0}};
    struct run_options o = {.repeat = 1};
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        int bad = 0;
        switch (c) {
        case 'q': o.q = optarg; break;
        case 'k': o.k = optarg; break;
        case 'v': o.v = optarg; break;
        case 'o': o.o = optarg; break;
        case 'l': o.lse = optarg; break;
        case 'c': o.check = optarg; break;
        case 'C': o.check_lse = optarg; break;
        case 'm': o.problem.mask = optarg; break;
        case 'r': o.problem.corner = optarg; break;
        case 's':
            if (o.problem.n_scalars == CLATTN_MAX_SCALARS)
                return mistake("%d --scalar are the most", CLATTN_MAX_SCALARS);
            o.problem.scalars[o.problem.n_scalars++] = optarg;
            break;
        case 'a':
            if (o.problem.n_arrays == CLATTN_MAX_ARRAYS)
                return mistake("%d --array are the most", CLATTN_MAX_ARRAYS);
            o.problem.arrays[o.problem.n_arrays++] = optarg;
            break;
        case 'K': o.key_lengths = optarg; break;
        case 'd': o.device = optarg; break;
        case 'e': o.problem.engine = optarg; break;
        case 'S': bad = read_count(optarg, 0, &o.seed); break;
        case 'n': bad = read_count(optarg, 1, &o.repeat); break;
        case 'x': o.explain = true; break;
        case 'h': printf("%s", help); return EXIT_GOOD;
        default: return EXIT_MISTAKE;
        }
        if (bad)
            return bad;
    }
    if (argc - optind != 1)
        return mistake("run takes one problem, as attn:f32:h8:q2048:k2048:d64");
    return run_problem(&o, argv[optind]);
}
