/* SPDX-License-Identifier: MIT
 * selection.c - the lists of a workload: shaped, made on a device, read back. */
#include "tool/selection.h"

#include <math.h>
#include <stdlib.h>

/* ---- reading ---- */
int read_selected(clattn_attention *problem, clattn_select *select, const char *text,
                  const struct problem_options *options)
{
    static const clattn_select init = CLATTN_SELECT_INIT;
    char message[1024], own[1024];
    clattn_attention parsed = CLATTN_ATTENTION_INIT;
    *select = init;
    clattn_status status = clattn_select_parse(select, &parsed, text, message, sizeof message);
    if (status == CLATTN_BAD_SELECTOR) {
        select->size = 0;
        return read_problem(problem, text, options);
    }
    /* these bring a corner */
    if (status && !(status == CLATTN_BAD_CORNER && (options->mask || options->mechanism)))
        return mistake("problem '%s': %s", text, message);
    if (clattn_problem_print(&parsed, own,
                             sizeof own)) /* the problem's own text, to which the options apply */
        return mistake("problem '%s': it is too long", text);
    if (read_problem(problem, own, options))
        return EXIT_MISTAKE;
    return clattn_select_check(select, problem, message, sizeof message)
               ? mistake("problem '%s': %s", text, message)
               : 0;
}

int read_selector(clattn_attention *problem, clattn_select *select, const char *text,
                  const struct problem_options *options)
{
    if (read_selected(problem, select, text, options))
        return EXIT_MISTAKE;
    if (select->size && select->method == CLATTN_EXTERNAL_LIST)
        return mistake(
            "problem '%s': nothing selects given lists; `clattn run --list STEM' takes them from files",
            text);
    return 0;
}

/* ---- making ---- */
/* Sums of bits of the seed: enough for a look. */
static void fill_scores(float *scores, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        scores[i] = (float)((int64_t)(seed >> 40) - (1 << 23)) * 0x1p-23f;
    }
}

int64_t selection_lists(const struct selection *x)
{
    return x->list.batch * x->list.scopes * x->list.q_blocks;
}

static int64_t table_count(const struct selection *x)
{
    return x->s.rope_positions * (x->w->problem.dim / 2);
}

static bool make_tables(struct selection *x)
{
    const int64_t pairs = x->w->problem.dim / 2, n = table_count(x);
    if (x->s.rope_positions == 0)
        return true;
    x->rope_cos = malloc((size_t)n * sizeof *x->rope_cos);
    x->rope_sin = malloc((size_t)n * sizeof *x->rope_sin);
    for (int64_t i = 0; x->rope_cos && x->rope_sin && i < n; i++) {
        const double angle = (double)(i / pairs) * pow(10000, -(double)(i % pairs) / (double)pairs);
        x->rope_cos[i] = (float)cos(angle);
        x->rope_sin[i] = (float)sin(angle);
    }
    return x->rope_cos && x->rope_sin;
}

static int64_t score_count(const struct selection *x)
{
    return selection_lists(x) * x->list.k_blocks;
}

/* From 0 to the whole budget. */
static bool make_budgets(struct selection *x)
{
    uint64_t seed = x->w->seed + 1;
    if (!(x->s.flags & CLATTN_BUDGET_EACH))
        return true;
    x->budgets = malloc((size_t)x->list.scopes * sizeof *x->budgets + 4);
    for (int64_t u = 0; x->budgets && u < x->list.scopes; u++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x->budgets[u] = (int32_t)((seed >> 33) % (uint64_t)(x->s.budget + 1));
    }
    return x->budgets;
}

static clattn_status make_input(struct selection *x)
{
    if (x->s.method == CLATTN_EXTERNAL_LIST)
        x->given = calloc(1, x->list_bytes + 4);
    if (x->s.method == CLATTN_EXTERNAL_SCORE)
        x->scores = malloc((size_t)score_count(x) * sizeof *x->scores + 4);
    if (x->s.flags & CLATTN_CERTIFY)
        x->certified = calloc((size_t)selection_lists(x) + 1, sizeof *x->certified);
    if (x->scores)
        fill_scores(x->scores, score_count(x), x->w->seed);
    return !make_tables(x) || !make_budgets(x) || (x->s.method == CLATTN_EXTERNAL_LIST && !x->given) ||
                   (x->s.method == CLATTN_EXTERNAL_SCORE && !x->scores) ||
                   (x->s.flags & CLATTN_CERTIFY && !x->certified)
               ? CLATTN_OUT_OF_HOST_MEMORY
               : CLATTN_OK;
}

clattn_status selection_make(struct selection *x, const clattn_select *select, struct workload *w)
{
    *x = (struct selection){
        .s = *select, .list = CLATTN_LIST_INIT, .w = w, .dense = *w, .io = CLATTN_SELECT_IO_INIT};
    clattn_status status = clattn_select_list(&x->list, select, &w->problem);
    if (!status)
        status = clattn_list_bytes(&x->list, &x->list_bytes);
    if (!status)
        status = workload_join_list(w, &x->list, clattn_selected(select, w->problem.pattern.corner));
    return status ? status : make_input(x);
}

/* ---- buffers ---- */
static cl_mem buffer(struct selection *x, const void *data, uint64_t bytes, cl_int *code)
{
    if (*code != CL_SUCCESS || (!data && bytes == 0))
        return NULL;
    return clCreateBuffer(clattn_context_cl(x->ctx), CL_MEM_READ_WRITE | (data ? CL_MEM_COPY_HOST_PTR : 0),
                          bytes > 4 ? bytes : 4, (void *)(uintptr_t)data, code);
}

static void make_inputs(struct selection *x, cl_int *code)
{
    const struct workload *w = &x->dense;
    const clattn_attention *a = &w->problem;
    const uint64_t lengths = 4 * (uint64_t)(a->batch + 1);
    if (x->s.method <= CLATTN_POOL_MEAN) {
        x->io.q = buffer(x, w->q, (uint64_t)(w->q_count * workload_type_bytes(a->type_q)), code);
        x->io.k = buffer(x, w->k, (uint64_t)(w->k_count * workload_type_bytes(a->type_k)), code);
    }
    x->io.q_offsets = buffer(x, w->q_offsets, w->q_offsets ? lengths : 0, code);
    x->io.k_offsets = buffer(x, w->k_offsets, w->k_offsets ? lengths : 0, code);
    x->io.key_lengths = buffer(x, w->key_lengths, w->key_lengths ? lengths - 4 : 0, code);
    for (int i = 0; i < a->n_arrays; i++)
        x->io.arrays[i] = buffer(x, w->arrays[i], (uint64_t)workload_array_bytes(&a->arrays[i]), code);
    if (x->s.rope) {
        x->io.rope_cos = buffer(x, x->rope_cos, 4 * (uint64_t)table_count(x), code);
        x->io.rope_sin = buffer(x, x->rope_sin, 4 * (uint64_t)table_count(x), code);
    }
    if (x->budgets)
        x->io.budgets = buffer(x, x->budgets, 4 * (uint64_t)x->list.scopes, code);
    if (x->scores)
        x->io.scores = buffer(x, x->scores, 4 * (uint64_t)score_count(x), code);
    if (x->given)
        x->io.given = buffer(x, x->given, x->list_bytes, code);
}

static clattn_status make_buffers(struct selection *x)
{
    cl_int code = CL_SUCCESS;
    uint64_t bounds = 0, kept = 0;
    clattn_select_bounds_size(x->plan, &bounds);
    clattn_select_kept_size(x->plan, &kept);
    make_inputs(x, &code);
    x->io.bounds = buffer(x, NULL, bounds, &code);
    x->io.kept = buffer(x, NULL, kept, &code);
    x->io.list = buffer(x, x->w->list, x->list_bytes, &code);
    if (x->s.flags & CLATTN_COUNT_PROBES)
        x->io.counters = buffer(x, x->counters, sizeof x->counters, &code);
    if (x->certified)
        x->io.certified = buffer(x, x->certified, 4 * (uint64_t)selection_lists(x), &code);
    return code == CL_SUCCESS ? CLATTN_OK : CLATTN_OUT_OF_DEVICE_MEMORY;
}

static void release_buffers(struct selection *x)
{
    cl_mem all[] = {x->io.q,           x->io.k,        x->io.q_offsets, x->io.k_offsets,
                    x->io.key_lengths, x->io.bounds,   x->io.scores,    x->io.given,
                    x->io.list,        x->io.counters, x->io.kept,      x->io.certified,
                    x->io.rope_cos,    x->io.rope_sin, x->io.budgets};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i])
            clReleaseMemObject(all[i]);
    for (int i = 0; i < CLATTN_MAX_ARRAYS; i++)
        if (x->io.arrays[i])
            clReleaseMemObject(x->io.arrays[i]);
}

/* ---- on the device ---- */
clattn_status selection_open(struct selection *x, clattn_context *ctx)
{
    cl_int code;
    const double begin = now_seconds();
    x->ctx = ctx;
    clattn_status status = clattn_select_plan_create(&x->plan, ctx, &x->s, &x->dense.problem);
    x->plan_seconds = now_seconds() - begin;
    if (!status)
        status = make_buffers(x);
    if (status)
        return status;
    x->queue = clCreateCommandQueue(clattn_context_cl(ctx), clattn_context_device(ctx), 0, &code);
    return code == CL_SUCCESS ? selection_run_bounds(x, true) : CLATTN_OUT_OF_DEVICE_MEMORY;
}

static clattn_status finished(const struct selection *x, clattn_status status)
{
    return !status && clFinish(x->queue) != CL_SUCCESS ? CLATTN_OPENCL_FAILED : status;
}

clattn_status selection_run_bounds(struct selection *x, bool all)
{
    const clattn_attention *a = &x->dense.problem;
    const int64_t count = !all && a->q_len < a->kv_len ? a->q_len : a->kv_len;
    if (!x->io.bounds)
        return CLATTN_OK;
    return finished(
        x, clattn_enqueue_bounds(x->plan, x->queue, &x->io, a->kv_len - count, count, 0, NULL, NULL));
}

/* A later stage begins with what the first run kept; of the same queries, so that the lists are the same. */
clattn_status selection_run(struct selection *x, int stage)
{
    const int64_t batch = x->dense.problem.batch;
    int32_t *starts = malloc((size_t)batch * sizeof *starts + 4);
    if (!starts)
        return CLATTN_OUT_OF_HOST_MEMORY;
    for (int64_t b = 0; b < batch; b++)
        starts[b] = stage;
    x->io.starts = stage ? starts : NULL;
    clattn_status status = finished(x, clattn_enqueue_select(x->plan, x->queue, &x->io, 0, NULL, NULL));
    x->io.starts = NULL;
    free(starts);
    return status;
}

static clattn_status read_back(const struct selection *x, cl_mem mem, uint64_t bytes, void *to)
{
    return mem && bytes &&
                   clEnqueueReadBuffer(x->queue, mem, CL_TRUE, 0, bytes, to, 0, NULL, NULL) != CL_SUCCESS
               ? CLATTN_OPENCL_FAILED
               : CLATTN_OK;
}

clattn_status selection_read(struct selection *x)
{
    clattn_status status = read_back(x, x->io.list, x->list_bytes, x->w->list);
    if (!status)
        status = read_back(x, x->io.counters, sizeof x->counters, x->counters);
    return status ? status : read_back(x, x->io.certified, 4 * (uint64_t)selection_lists(x), x->certified);
}

void selection_free(struct selection *x)
{
    release_buffers(x);
    if (x->queue)
        clReleaseCommandQueue(x->queue);
    clattn_select_plan_destroy(x->plan);
    free(x->scores);
    free(x->given);
    free(x->budgets);
    free(x->certified);
    free(x->rope_cos);
    free(x->rope_sin);
    *x = (struct selection){.w = NULL};
}

clattn_status selection_of(struct selection *x, const clattn_select *select, struct workload *w,
                           clattn_context *ctx)
{
    clattn_status status = selection_make(x, select, w);
    if (!status)
        status = selection_open(x, ctx);
    if (!status)
        status = selection_run(x, 0);
    return status ? status : selection_read(x);
}

double selection_certified(const struct selection *x)
{
    int64_t certified = 0, blocks = 0;
    for (int64_t r = 0; x->certified && r < selection_lists(x); r++) {
        certified += x->certified[r];
        blocks += x->w->list[x->list.counts_at / 4 + r];
    }
    return !x->certified ? -1 : blocks ? (double)certified / (double)blocks : 1;
}

struct list_lengths selection_lengths(const struct selection *x)
{
    const int64_t lists = selection_lists(x);
    struct list_lengths blocks = {0, x->list.capacity, 0};
    for (int64_t r = 0; r < lists; r++) {
        const int64_t count = x->w->list[x->list.counts_at / 4 + r];
        blocks.mean += (double)count;
        blocks.least = count < blocks.least ? count : blocks.least;
        blocks.most = count > blocks.most ? count : blocks.most;
    }
    blocks.mean = lists ? blocks.mean / (double)lists : 0;
    return blocks;
}

const char *selection_text(const struct selection *x, char text[128])
{
    const int64_t lists = selection_lists(x);
    const struct list_lengths blocks = selection_lengths(x);
    int n = snprintf(text, 128, "%lld, of %.1f blocks of %d keys on average", (long long)lists, blocks.mean,
                     (int)x->list.block_k);
    if (x->s.budget_mode != CLATTN_TOP_K && lists)
        n += snprintf(text + n, 128 - (size_t)n, ", %lld to %lld", (long long)blocks.least,
                      (long long)blocks.most);
    if (x->certified)
        snprintf(text + n, 128 - (size_t)n, ", %.1f %% of them certified", 100 * selection_certified(x));
    return text;
}
