/* SPDX-License-Identifier: MIT
 * select.c - clattn select: the key blocks that a selection lists, on files or random input; to files, or compared with the
 * double reference. */
#include "tool/npy.h"
#include "tool/tool.h"

#include "tests/ref_select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct select_options {
    struct problem_options problem;
    const char *q, *k, *given, *out, *device;
    long long seed, repeat, mass;
    bool explain, check, dense;
};

/* A selection on its way: the workload's tensors on host and device, and the lists. */
struct selection {
    struct workload w;
    clattn_select s;
    clattn_list list;
    clattn_context *ctx;
    clattn_select_plan *plan;
    cl_command_queue queue;
    clattn_select_io io;
    float *scores;
    int32_t *given, *lists;
    uint64_t list_bytes;
    uint64_t counters[2];
    double plan_seconds, bounds_seconds, seconds;
};

/* ---- lists as files: STEM-starts.npy, STEM-ids.npy ---- */
static const char *file_name(char name[4096], const char *stem, const char *what)
{
    snprintf(name, 4096, "%s-%s.npy", stem, what);
    return name;
}

static int read_ints(struct npy *array, const char *stem, const char *what)
{
    char name[4096], message[512];
    if (npy_read(array, file_name(name, stem, what), message, sizeof message))
        return mistake("%s: %s", name, message);
    if (array->type == NPY_I4 && array->n_dims == 1)
        return 0;
    npy_free(array);
    return mistake("%s: it is not int32 of one dimension", name);
}

static int import_given(struct selection *x, const char *stem)
{
    struct npy starts, ids;
    char message[1024];
    if (read_ints(&starts, stem, "starts"))
        return EXIT_MISTAKE;
    if (read_ints(&ids, stem, "ids")) {
        npy_free(&starts);
        return EXIT_MISTAKE;
    }
    const int64_t lists = x->list.batch * x->list.scopes * x->list.q_blocks;
    int64_t *wide = calloc((size_t)starts.count + 1, sizeof *wide);
    for (int64_t i = 0; wide && i < starts.count; i++)
        wide[i] = ((int32_t *)starts.data)[i];
    int code = !wide ? failed(NULL, CLATTN_OUT_OF_HOST_MEMORY, stem)
               : starts.count != lists + 1 ? mistake("%s-starts.npy has %lld numbers, and there are %lld lists", stem,
                                                     (long long)starts.count, (long long)lists)
               : clattn_list_import(&x->list, x->given, wide, ids.data, ids.count, 0, message, sizeof message) ? mistake("%s: %s", stem, message)
                                                                                                              : 0;
    free(wide);
    npy_free(&starts);
    npy_free(&ids);
    return code;
}

static int write_ints(const char *stem, const char *what, const int32_t *data, int64_t n)
{
    char name[4096], message[512];
    return npy_write(file_name(name, stem, what), NPY_I4, 1, &n, data, message, sizeof message) ? mistake("%s: %s", name, message) : 0;
}

static int export_lists(const struct selection *x, const char *stem)
{
    const int64_t lists = x->list.batch * x->list.scopes * x->list.q_blocks;
    int64_t *starts = calloc((size_t)lists + 1, sizeof *starts);
    int32_t *narrow = calloc((size_t)lists + 1, sizeof *narrow), *ids = NULL;
    clattn_status status = starts && narrow ? clattn_list_export(&x->list, x->lists, starts, NULL, 0) : CLATTN_OUT_OF_HOST_MEMORY;
    if (!status && starts[lists] > INT32_MAX)
        status = CLATTN_SIZE_OVERFLOW;
    if (!status && !(ids = malloc((size_t)starts[lists] * sizeof *ids + 1)))
        status = CLATTN_OUT_OF_HOST_MEMORY;
    if (!status)
        status = clattn_list_export(&x->list, x->lists, starts, ids, starts[lists]);
    for (int64_t i = 0; !status && i <= lists; i++)
        narrow[i] = (int32_t)starts[i];
    int code = status ? failed(NULL, status, stem) : write_ints(stem, "starts", narrow, lists + 1) || write_ints(stem, "ids", ids, starts[lists]);
    free(starts);
    free(narrow);
    free(ids);
    return code ? EXIT_MISTAKE : 0;
}

/* ---- buffers ---- */
static cl_mem buffer(struct selection *x, const void *data, uint64_t bytes, cl_int *code)
{
    if (*code != CL_SUCCESS || (!data && bytes == 0))
        return NULL;
    return clCreateBuffer(clattn_context_cl(x->ctx), CL_MEM_READ_WRITE | (data ? CL_MEM_COPY_HOST_PTR : 0), bytes > 4 ? bytes : 4,
                          (void *)(uintptr_t)data, code);
}

static cl_int make_buffers(struct selection *x)
{
    static const clattn_select_io none = CLATTN_SELECT_IO_INIT;
    const struct workload *w = &x->w;
    const uint64_t lengths = 4 * (uint64_t)(w->problem.batch + 1);
    uint64_t bounds = 0;
    cl_int code = CL_SUCCESS;
    x->io = none;
    clattn_select_bounds_size(x->plan, &bounds);
    if (x->s.method <= CLATTN_POOL_MEAN) {
        x->io.q = buffer(x, w->q, (uint64_t)(w->q_count * workload_type_bytes(w->problem.type_q)), &code);
        x->io.k = buffer(x, w->k, (uint64_t)(w->k_count * workload_type_bytes(w->problem.type_k)), &code);
    }
    x->io.q_offsets = buffer(x, w->q_offsets, w->q_offsets ? lengths : 0, &code);
    x->io.k_offsets = buffer(x, w->k_offsets, w->k_offsets ? lengths : 0, &code);
    x->io.key_lengths = buffer(x, w->key_lengths, w->key_lengths ? lengths - 4 : 0, &code);
    for (int i = 0; i < w->problem.n_arrays; i++)
        x->io.arrays[i] = buffer(x, w->arrays[i], (uint64_t)workload_array_bytes(&w->problem.arrays[i]), &code);
    x->io.bounds = buffer(x, NULL, bounds, &code);
    if (x->scores)
        x->io.scores = buffer(x, x->scores, 4 * (uint64_t)(x->list.batch * x->list.scopes * x->list.q_blocks * x->list.k_blocks), &code);
    if (x->s.method == CLATTN_EXTERNAL_LIST)
        x->io.given = buffer(x, x->given, x->list_bytes, &code);
    x->io.list = buffer(x, x->lists, x->list_bytes, &code);
    if (x->s.flags & CLATTN_COUNT_PROBES)
        x->io.counters = buffer(x, x->counters, sizeof x->counters, &code);
    return code;
}

static void release(cl_mem mem)
{
    if (mem)
        clReleaseMemObject(mem);
}

static void release_buffers(struct selection *x)
{
    cl_mem all[] = {x->io.q, x->io.k, x->io.q_offsets, x->io.k_offsets, x->io.key_lengths, x->io.bounds, x->io.scores, x->io.given,
                    x->io.list, x->io.counters};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        release(all[i]);
    for (int i = 0; i < CLATTN_MAX_ARRAYS; i++)
        release(x->io.arrays[i]);
}

/* ---- running ---- */
static clattn_status run_once(struct selection *x)
{
    clattn_status status = CLATTN_OK;
    double begin = now_seconds();
    if (x->io.bounds)
        status = clattn_enqueue_bounds(x->plan, x->queue, &x->io, 0, x->w.problem.kv_len, 0, NULL, NULL);
    clFinish(x->queue);
    x->bounds_seconds = fmin(x->bounds_seconds, now_seconds() - begin);
    begin = now_seconds();
    if (!status)
        status = clattn_enqueue_select(x->plan, x->queue, &x->io, 0, NULL, NULL);
    if (!status && clFinish(x->queue) != CL_SUCCESS)
        status = CLATTN_OPENCL_FAILED;
    x->seconds = fmin(x->seconds, now_seconds() - begin);
    return status;
}

static int run_plan(struct selection *x, const struct select_options *o)
{
    cl_int code = make_buffers(x);
    clattn_status status = code == CL_SUCCESS ? CLATTN_OK : CLATTN_OUT_OF_DEVICE_MEMORY;
    if (!status)
        x->queue = clCreateCommandQueue(clattn_context_cl(x->ctx), clattn_context_device(x->ctx), 0, &code);
    if (code != CL_SUCCESS)
        return failed(NULL, CLATTN_OUT_OF_DEVICE_MEMORY, "buffers");
    for (long long i = 0; !status && i < o->repeat; i++)
        status = run_once(x);
    if (!status && x->list_bytes > 0 && clEnqueueReadBuffer(x->queue, x->io.list, CL_TRUE, 0, x->list_bytes, x->lists, 0, NULL, NULL))
        status = CLATTN_OPENCL_FAILED;
    if (!status && x->io.counters && clEnqueueReadBuffer(x->queue, x->io.counters, CL_TRUE, 0, sizeof x->counters, x->counters, 0, NULL, NULL))
        status = CLATTN_OPENCL_FAILED;
    return status ? failed(x->ctx, status, "select") : 0;
}

/* ---- the reference ---- */
static struct ref_select reference(const struct selection *x, bool fma)
{
    static const int methods[] = {REF_TREE, REF_STAGED, REF_MINMAX, REF_POOL_MEAN, REF_EXTERNAL_SCORE, REF_STREAMING, REF_STREAMING};
    static const int representatives[] = {REF_CENTER, REF_FIRST, REF_LAST};
    const clattn_select *s = &x->s;
    struct ref_select r = {.method = methods[s->method], .representative = representatives[s->representative], .scope = s->scope,
                           .arithmetic = fma ? REF_FMA : REF_MULTIPLY_ADD, .block_q = s->block_q, .stride_q = s->stride_q,
                           .block_k = s->block_k, .stride_k = s->stride_k, .budget = s->budget, .sink = s->sink, .window = s->window,
                           .n_stages = s->n_stages, .scores = x->scores};
    for (int i = 0; i < s->n_stages; i++) {
        r.stages[i].chunk = s->stages[i].chunk;
        r.stages[i].keep = s->stages[i].keep;
    }
    return r;
}

static int check(const struct selection *x)
{
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_device_describe(clattn_context_device(x->ctx), &facts);
    if (x->s.method == CLATTN_EXTERNAL_LIST)
        return mistake("--check: given lists are not computed");
    const struct ref_problem p = workload_reference(&x->w);
    const struct ref_select s = reference(x, facts.has_fma);
    struct ref_list wanted = ref_list_make(&p, &s);
    const int32_t *counts = x->lists + x->list.counts_at / 4, *ids = x->lists + x->list.ids_at / 4;
    int64_t lists = wanted.batch * wanted.scopes * wanted.q_blocks, differ = 0;
    for (int64_t r = 0; r < lists; r++)
        differ += counts[r] != wanted.counts[r] ||
                  memcmp(ids + r * wanted.capacity, wanted.ids + r * wanted.capacity, (size_t)wanted.capacity * sizeof *ids);
    ref_list_free(&wanted);
    printf("check      %lld of %lld lists differ from the reference: %s\n", (long long)differ, (long long)lists, differ ? "FAILED" : "passed");
    return differ ? EXIT_CHECK_FAILED : EXIT_GOOD;
}

/* The part of the softmax of some rows, spread over heads and queries, that lies on what is kept. */
static void print_mass(const struct selection *x, int64_t rows)
{
    const struct ref_problem p = workload_reference(&x->w);
    const struct ref_select s = reference(x, true);
    struct ref_list list = {x->list.batch, x->list.scopes, x->list.q_blocks, x->list.capacity, x->lists + x->list.counts_at / 4,
                            x->lists + x->list.ids_at / 4};
    double sum = 0, least = 1;
    int64_t n = 0;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t b = r % p.batch, h = r / p.batch % p.heads, q_len = ref_q_len(&p, b);
        if (q_len == 0)
            continue;
        const double mass = ref_kept_mass(&p, &s, &list, b, h, q_len - 1 - r * (q_len - 1) / (rows > 1 ? rows - 1 : 1));
        sum += mass;
        least = fmin(least, mass);
        n++;
    }
    printf("mass       %.4f of the softmax is kept on average, %.4f at least, of %lld rows\n", n ? sum / (double)n : 1.0, least, (long long)n);
}

/* ---- attention without lists, in the same run ---- */
static int print_dense(struct selection *x, const struct select_options *o)
{
    clattn_plan *plan;
    double best = INFINITY, seconds;
    clattn_status status = clattn_plan_create(&plan, x->ctx, &x->w.problem);
    if (status)
        return failed(x->ctx, status, "dense attention");
    for (long long i = 0; !status && i < o->repeat; i++) {
        status = workload_run(&x->w, plan, &seconds);
        best = fmin(best, seconds);
    }
    if (!status)
        printf("dense      %.3f ms by engine %s: selection takes %.2f %% of it\n", best * 1e3, clattn_plan_engine(plan), 100 * x->seconds / best);
    clattn_plan_destroy(plan);
    return status ? failed(x->ctx, status, "dense attention") : 0;
}

/* ---- the command ---- */
static void print_lists(const struct selection *x)
{
    const int64_t lists = x->list.batch * x->list.scopes * x->list.q_blocks;
    const int32_t *counts = x->lists + x->list.counts_at / 4;
    int64_t blocks = 0;
    for (int64_t r = 0; r < lists; r++)
        blocks += counts[r];
    printf("lists      %lld, of %.1f blocks of %d keys on average\n", (long long)lists, lists ? (double)blocks / (double)lists : 0.0,
           (int)x->list.block_k);
    if (x->s.flags & CLATTN_COUNT_PROBES)
        printf("probes     %llu dot products, of %llu candidates\n", (unsigned long long)x->counters[1], (unsigned long long)x->counters[0]);
}

static void print_run(const struct selection *x, const struct select_options *o)
{
    char text[4096];
    if (clattn_select_plan_explain(x->plan, text, sizeof text) == CLATTN_OK)
        printf("%.*s", o->explain ? (int)strlen(text) : (int)(strchr(text, '\n') + 1 - text), text);
    print_lists(x);
    printf("plan       %.3f s\ntime       %.3f ms", x->plan_seconds, x->seconds * 1e3);
    if (x->io.bounds)
        printf(", metadata %.3f ms", x->bounds_seconds * 1e3);
    printf("\n");
}

/* Scores normal(0, 1)-like, enough for a look: sums of bits of the seed. */
static void fill_scores(float *scores, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        scores[i] = (float)((int64_t)(seed >> 40) - (1 << 23)) * 0x1p-23f;
    }
}

static int make_lists(struct selection *x, const struct select_options *o)
{
    clattn_status status = clattn_select_list(&x->list, &x->s, &x->w.problem);
    if (!status)
        status = clattn_list_bytes(&x->list, &x->list_bytes);
    if (status)
        return failed(NULL, status, "lists");
    const int64_t n = x->list.batch * x->list.scopes * x->list.q_blocks * x->list.k_blocks;
    x->lists = calloc(1, x->list_bytes + 4);
    x->given = calloc(1, x->list_bytes + 4);
    x->scores = x->s.method == CLATTN_EXTERNAL_SCORE ? malloc((size_t)n * sizeof *x->scores + 4) : NULL;
    if (!x->lists || !x->given || (x->s.method == CLATTN_EXTERNAL_SCORE && !x->scores))
        return failed(NULL, CLATTN_OUT_OF_HOST_MEMORY, "lists");
    if (x->scores)
        fill_scores(x->scores, n, (uint64_t)o->seed);
    if (x->s.method == CLATTN_EXTERNAL_LIST)
        return o->given ? import_given(x, o->given) : mistake("given lists come from files: --given STEM");
    return o->given ? mistake("--given goes with the method given=N") : 0;
}

static int select_on_device(struct selection *x, const struct select_options *o)
{
    double begin = now_seconds();
    clattn_status status = clattn_select_plan_create(&x->plan, x->ctx, &x->s, &x->w.problem);
    x->plan_seconds = now_seconds() - begin;
    if (status)
        return failed(x->ctx, status, "plan");
    int code = run_plan(x, o);
    if (!code) {
        print_run(x, o);
        code = o->out ? export_lists(x, o->out) : 0;
    }
    if (!code && o->mass > 0)
        print_mass(x, o->mass);
    if (!code && o->dense)
        code = print_dense(x, o);
    if (!code && o->check)
        code = check(x);
    release_buffers(x);
    if (x->queue)
        clReleaseCommandQueue(x->queue);
    clattn_select_plan_destroy(x->plan);
    return code;
}

/* The problem's own text, to which the options apply. */
static int read_selection(struct selection *x, clattn_attention *problem, const char *text, const struct select_options *o)
{
    char message[1024], own[1024];
    clattn_select init = CLATTN_SELECT_INIT;
    clattn_attention parsed = CLATTN_ATTENTION_INIT;
    x->s = init;
    if (clattn_select_parse(&x->s, &parsed, text, message, sizeof message))
        return mistake("problem '%s': %s", text, message);
    if (clattn_problem_print(&parsed, own, sizeof own))
        return mistake("problem '%s': it is too long", text);
    return read_problem(problem, own, &o->problem);
}

static int select_problem(const struct select_options *o, const char *text)
{
    clattn_list list = CLATTN_LIST_INIT;
    struct selection x = {.list = list, .seconds = INFINITY, .bounds_seconds = INFINITY};
    clattn_attention problem;
    if (read_selection(&x, &problem, text, o))
        return EXIT_MISTAKE;
    clattn_status status = workload_make(&x.w, &problem, (uint64_t)o->seed, WORKLOAD_NORMAL);
    if (status)
        return failed(NULL, status, text);
    int code = load_tensor(o->q, &x.w, 'q') || load_tensor(o->k, &x.w, 'k') || load_arrays(&o->problem, &x.w) ? EXIT_MISTAKE : 0;
    if (!code)
        code = make_lists(&x, o);
    if (!code && (status = clattn_context_open(&x.ctx, o->device)))
        code = failed(NULL, status, o->device ? o->device : "devices");
    if (!code) {
        code = select_on_device(&x, o);
        clattn_context_close(x.ctx);
    }
    free(x.lists);
    free(x.given);
    free(x.scores);
    workload_free(&x.w);
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
    "Lists the key blocks worth reading, for example of attn:f32:h6/2:q4096:k4096:d64:causal-br:tree=256:bq=64/8:bk=8\n"
    "(clattn_problem(7)).\n\n"
    "  --q F --k F        inputs as .npy (float32 or float16, C order); random where none is given\n"
    "  --given STEM       given lists, for given=N: STEM-starts.npy and STEM-ids.npy\n"
    "  --out STEM         write the lists to STEM-starts.npy and STEM-ids.npy, int32, as block-sparse rows\n"
    "  --check            compare every list with the reference's (slow); exits 1 if one differs\n"
    "  --mass N           say how much of the softmax of N rows lies on what is kept\n"
    "  --dense            the time of attention without lists beside it\n"
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
    case 'o': o->out = optarg; return 0;
    case 'c': o->check = true; return 0;
    case 'd': o->device = optarg; return 0;
    case 'S': return read_count("--seed", optarg, 0, &o->seed);
    case 'n': return read_count("--repeat", optarg, 1, &o->repeat);
    case 'm': return read_count("--mass", optarg, 1, &o->mass);
    case 'D': o->dense = true; return 0;
    case 'x': o->explain = true; return 0;
    default: return take_problem_option(&o->problem, c);
    }
}

int command_select(int argc, char **argv)
{
    static const struct option options[] = {
        {"q", required_argument, NULL, 'q'},      {"k", required_argument, NULL, 'k'},    {"given", required_argument, NULL, 'g'},
        {"out", required_argument, NULL, 'o'},    {"check", no_argument, NULL, 'c'},      {"presets", no_argument, NULL, 'p'},
        {"device", required_argument, NULL, 'd'}, {"seed", required_argument, NULL, 'S'}, {"repeat", required_argument, NULL, 'n'},
        {"mass", required_argument, NULL, 'm'},   {"dense", no_argument, NULL, 'D'},      {"explain", no_argument, NULL, 'x'},
        PROBLEM_OPTIONS,                          {0}};
    struct select_options o = {.repeat = 1};
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
        return mistake("select takes one problem, as attn:f32:h8:q2048:k2048:d64:causal-br:tree=256, and %d are given", argc - optind);
    return select_problem(&o, argv[optind]);
}
