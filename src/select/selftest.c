/* SPDX-License-Identifier: MIT
 * selftest.c - the first launch of a selection's kernels, on a tiny problem with ties, whose lists are
 * compared with the host's, number by number.
 *
 * The tiny problem has the plan's kernels, heads and rules, two blocks of queries, and 40 blocks of 1, 2 or 4
 * keys, of which 3 or 10 are kept; arrays hold 0. */
#include "select/host.h"

#include <stdlib.h>
#include <string.h>

#define BLOCKS 40
#define KEPT 3
#define KEPT_BY_SCORES 30 /* where the budget may make lists shorter */
#define KEPT_BY_TILE 10   /* nodes whose halves are several teams' */
#define LARGEST_DIM 8 /* of an array */

struct tiny {
    struct clattn__tiny_select host;
    clattn_select_io io;
    cl_mem workspace;
    cl_command_queue queue;
    int32_t *lists, *certified;
    uint64_t list_bytes;
};

static int64_t tiny_kept(const clattn_select_plan *plan)
{
    const clattn_select *s = &plan->select;
    const bool by_tile = s->method == CLATTN_TREE && plan->shape.tile.items > 0;
    return s->budget_mode != CLATTN_TOP_K ? KEPT_BY_SCORES : by_tile ? KEPT_BY_TILE : KEPT;
}

static int32_t at_most(int32_t x, int32_t most)
{
    return x < most ? x : most;
}

/* Smaller blocks, budget and near keys; stages that halve. */
static void shrink_select(clattn_select *s, int64_t kept)
{
    s->dense_below = s->dense_below > 0; /* the same text, and always pruned */
    s->block_q = at_most(s->block_q, 16);
    s->stride_q = at_most(s->stride_q, s->block_q);
    s->block_k = s->block_k >= 4 ? 4 : s->block_k >= 2 ? 2 : 1;
    s->stride_k = at_most(s->stride_k, s->block_k);
    s->flags &= ~CLATTN_KEEP_STAGES; /* another place of the same things */
    s->budget = kept * s->block_k;
    s->sink = s->sink < 3 ? s->sink : 3;
    s->window = s->window < 5 ? s->window : 5;
    s->rope_positions = s->rope ? CLATTN__TINY_POSITIONS : 0;
    for (int i = 0; i < s->n_stages; i++) {
        s->stages[i].chunk = (int64_t)s->block_k << (s->n_stages - 1 - i);
        s->stages[i].keep = kept * s->stages[i].chunk;
    }
}

static clattn_status shape_tiny(const clattn_select_plan *plan, struct tiny *t)
{
    static const clattn_layout dense = CLATTN_LAYOUT_DENSE;
    clattn_select_plan *tiny = &t->host.plan;
    clattn_attention a = plan->problem.a;
    *tiny = *plan;
    tiny->workspace = NULL;
    tiny->problem.rules = NULL; /* the plan's */
    const int64_t kept = tiny_kept(plan);
    shrink_select(&tiny->select, kept);
    a.pattern = clattn__select_pattern(&tiny->select, &plan->pattern);
    if (a.pattern.corner == CLATTN_NO_CORNER) /* rows are positions if there are as many keys: not here */
        a.pattern.corner = CLATTN_TOP_LEFT;
    a.batch = 1;
    a.q_len = a.q_total = tiny->select.block_q + 3;
    a.kv_len = a.kv_total = BLOCKS * tiny->select.block_k;
    a.q = a.k = a.v = a.o = a.lse = dense;
    for (int i = 0; i < a.n_arrays; i++)
        for (int d = 0; d < a.arrays[i].n_dims; d++)
            a.arrays[i].dims[d] = a.arrays[i].dims[d] < LARGEST_DIM ? a.arrays[i].dims[d] : LARGEST_DIM;
    char details[CLATTN__MESSAGE_SIZE];
    clattn_status status = clattn__problem_resolve(&tiny->problem, &a, details, sizeof details);
    if (!status)
        status = clattn_list_fit(&tiny->list, &tiny->problem.a, tiny->select.scope, tiny->select.block_q,
                                 tiny->select.block_k, kept);
    if (status)
        return status;
    clattn__select_sizes(&tiny->shape, &tiny->select, &tiny->list);
    t->host.k_len = a.flags & CLATTN_KEY_LENGTHS ? a.kv_len - tiny->select.block_k : a.kv_len;
    return clattn__select_layout(tiny) ? clattn_list_bytes(&tiny->list, &t->list_bytes)
                                       : CLATTN_SIZE_OVERFLOW;
}

/* ---- buffers ---- */
static int64_t list_count(const clattn_select_plan *plan)
{
    return plan->list.scopes * plan->list.q_blocks; /* of one batch entry */
}

static cl_mem make_buffer(const clattn_select_plan *plan, const void *data, int64_t bytes, cl_int *code)
{
    cl_mem mem = NULL;
    void *zeros = data || *code != CL_SUCCESS ? NULL : calloc(1, (size_t)bytes + 4);
    if (*code == CL_SUCCESS && !data && !zeros)
        *code = CL_OUT_OF_HOST_MEMORY;
    if (*code == CL_SUCCESS)
        mem = clCreateBuffer(plan->ctx->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                             (size_t)(bytes > 4 ? bytes : 4), (void *)(uintptr_t)(data ? data : zeros), code);
    free(zeros);
    return *code == CL_SUCCESS ? mem : NULL;
}

/* Small whole numbers: f32, or the upper half of that, or an f16 of them. */
static cl_mem make_tensor(const clattn_select_plan *plan, int of_k, cl_int *code)
{
    static const uint16_t halves[] = {0xc000, 0xbc00, 0, 0x3c00, 0x4000};
    const int64_t n = plan->problem.extents[of_k ? CLATTN__K : CLATTN__Q];
    const int32_t type = of_k ? plan->problem.a.type_k : plan->problem.a.type_q;
    unsigned char *data = malloc((size_t)n * 4 + 4);
    for (int64_t i = 0; data && i < n; i++) {
        const float x = (float)clattn__tiny_value(of_k, i);
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        if (type == CLATTN_F32)
            ((uint32_t *)data)[i] = bits;
        else
            ((uint16_t *)data)[i] = type == CLATTN_F16 ? halves[(int)x + 2] : (uint16_t)(bits >> 16);
    }
    if (!data && *code == CL_SUCCESS)
        *code = CL_OUT_OF_HOST_MEMORY;
    cl_mem mem = make_buffer(plan, data, n * clattn__type_bytes(type), code);
    free(data);
    return mem;
}

/* Cosines or sines of quarter turns. */
static cl_mem make_table(const clattn_select_plan *plan, bool sine, cl_int *code)
{
    const int64_t pairs = plan->problem.a.dim / 2, n = plan->select.rope_positions * pairs;
    float *data = calloc((size_t)n + 1, sizeof *data);
    for (int64_t i = 0; data && i < n; i++)
        data[i] = (float)clattn__tiny_turn(sine, i / pairs, i % pairs);
    if (!data && *code == CL_SUCCESS)
        *code = CL_OUT_OF_HOST_MEMORY;
    cl_mem mem = make_buffer(plan, data, n * (int64_t)sizeof *data, code);
    free(data);
    return mem;
}

static void make_lengths(const struct tiny *t, clattn_select_io *io, cl_int *code)
{
    const clattn_attention *a = &t->host.plan.problem.a;
    const cl_int q[] = {0, (cl_int)a->q_len}, k[] = {0, (cl_int)a->kv_len}, length = (cl_int)t->host.k_len;
    if (a->flags & CLATTN_PACKED) {
        io->q_offsets = make_buffer(&t->host.plan, q, sizeof q, code);
        io->k_offsets = make_buffer(&t->host.plan, k, sizeof k, code);
    } else if (a->flags & CLATTN_KEY_LENGTHS) {
        io->key_lengths = make_buffer(&t->host.plan, &length, sizeof length, code);
    }
}

/* Scores with ties, or lists of which some blocks are no candidates; budgets of more than there is, of a
 * block, of nothing. */
static bool make_given(struct tiny *t)
{
    const clattn_list *list = &t->host.plan.list;
    const int64_t lists = list->scopes * list->q_blocks, scores = lists * list->k_blocks;
    t->lists = calloc(1, t->list_bytes + 4);
    t->certified = calloc((size_t)lists + 1, sizeof *t->certified);
    t->host.scores = malloc((size_t)scores * sizeof *t->host.scores + 4);
    t->host.given = calloc(1, t->list_bytes + 4);
    t->host.budgets = malloc((size_t)list->scopes * sizeof *t->host.budgets + 4);
    if (!t->host.budgets || !t->lists || !t->certified || !t->host.scores || !t->host.given)
        return false;
    for (int64_t i = 0; i < scores; i++)
        t->host.scores[i] = (float)clattn__tiny_value(2, i);
    for (int64_t u = 0; u < list->scopes; u++)
        t->host.budgets[u] = u % 3 == 0 ? INT32_MAX : u % 3 == 1 ? list->block_k : 0;
    for (int64_t r = 0; r < lists; r++) {
        t->host.given[list->counts_at / 4 + r] = KEPT;
        for (int64_t j = 0; j < list->capacity; j++)
            t->host.given[list->ids_at / 4 + r * list->capacity + j] = (int32_t)((r + 13 * j) % (BLOCKS + 5));
    }
    return true;
}

static cl_int make_buffers(struct tiny *t)
{
    const clattn_select_plan *plan = &t->host.plan;
    const clattn_list *list = &plan->list;
    clattn_select_io *io = &t->io;
    cl_int code = make_given(t) ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
    const clattn_select_io none = CLATTN_SELECT_IO_INIT;
    *io = none;
    io->q = make_tensor(plan, 0, &code);
    io->k = make_tensor(plan, 1, &code);
    io->rope_cos = make_table(plan, false, &code);
    io->rope_sin = make_table(plan, true, &code);
    make_lengths(t, io, &code);
    for (int i = 0; i < plan->problem.a.n_arrays; i++)
        if (clattn__expr_uses_array(plan->problem.rules, i))
            io->arrays[i] = make_buffer(plan, NULL, clattn__array_bytes(&plan->problem.a.arrays[i]), &code);
    io->bounds = make_buffer(plan, NULL, clattn__bounds_bytes(plan), &code);
    io->scores = make_buffer(plan, t->host.scores, 4 * list->scopes * list->q_blocks * list->k_blocks, &code);
    io->given = make_buffer(plan, t->host.given, (int64_t)t->list_bytes, &code);
    io->budgets = make_buffer(plan, t->host.budgets, 4 * list->scopes, &code);
    io->list = make_buffer(plan, NULL, (int64_t)t->list_bytes, &code);
    io->counters = make_buffer(plan, NULL, 16, &code);
    io->certified = make_buffer(plan, NULL, 4 * list_count(plan), &code);
    t->workspace = make_buffer(plan, NULL, plan->workspace_bytes, &code);
    if (code == CL_SUCCESS)
        t->queue = clCreateCommandQueue(plan->ctx->cl, plan->ctx->device, 0, &code);
    return code;
}

static void release_tiny(struct tiny *t)
{
    cl_mem all[] = {t->io.q,         t->io.k,        t->io.q_offsets, t->io.k_offsets, t->io.key_lengths,
                    t->io.bounds,    t->io.scores,   t->io.given,     t->io.list,      t->io.counters,
                    t->io.certified, t->io.rope_cos, t->io.rope_sin,  t->io.budgets,   t->workspace};
    for (size_t i = 0; i < CLATTN__LEN(all); i++)
        if (all[i])
            clReleaseMemObject(all[i]);
    for (int i = 0; i < CLATTN_MAX_ARRAYS; i++)
        if (t->io.arrays[i])
            clReleaseMemObject(t->io.arrays[i]);
    if (t->queue)
        clReleaseCommandQueue(t->queue);
    clattn__problem_free(&t->host.plan.problem);
    free(t->lists);
    free(t->certified);
    free(t->host.scores);
    free(t->host.given);
    free(t->host.budgets);
}

/* ---- launch and compare ---- */
static cl_int launch_tiny(struct tiny *t)
{
    const struct clattn__wait none = {0, NULL};
    struct clattn__select_run run = {.plan = &t->host.plan, .io = &t->io, .workspace = t->workspace,
                                     .count = t->host.plan.list.k_blocks};
    cl_int code = CL_SUCCESS;
    if (clattn__select_uses(&t->host.plan.select, CLATTN__BOUNDS))
        code = clattn__chain_enqueue(NULL, t->queue, none, NULL, clattn__launch_bounds, &run);
    if (code == CL_SUCCESS)
        code = clattn__chain_enqueue(NULL, t->queue, none, NULL, clattn__launch_select, &run);
    cl_int finished = clFinish(t->queue);
    if (code == CL_SUCCESS)
        code = finished;
    if (code == CL_SUCCESS)
        code = clEnqueueReadBuffer(t->queue, t->io.list, CL_TRUE, 0, t->list_bytes, t->lists, 0, NULL, NULL);
    if (code == CL_SUCCESS && t->host.plan.select.flags & CLATTN_CERTIFY)
        code = clEnqueueReadBuffer(t->queue, t->io.certified, CL_TRUE, 0,
                                   4 * (size_t)list_count(&t->host.plan), t->certified, 0, NULL, NULL);
    return code;
}

static bool is_same(const struct tiny *t, int64_t scope, int64_t block)
{
    int32_t ids[CLATTN__TINY_BLOCKS];
    int64_t proved;
    const clattn_list *list = &t->host.plan.list;
    const int64_t r = scope * list->q_blocks + block,
                  n = clattn__tiny_list(&t->host, scope, block, ids, &proved);
    const int32_t *got = t->lists + list->ids_at / 4 + r * list->capacity;
    bool same = t->lists[list->counts_at / 4 + r] == n;
    if (t->host.plan.select.flags & CLATTN_CERTIFY)
        same = same && t->certified[r] == proved;
    for (int64_t j = 0; j < list->capacity; j++)
        same = same && got[j] == (j < n ? ids[j] : -1);
    return same;
}

static clattn_status compare(const struct tiny *t)
{
    const clattn_list *list = &t->host.plan.list;
    for (int64_t scope = 0; scope < list->scopes; scope++)
        for (int64_t block = 0; block < list->q_blocks; block++)
            if (!is_same(t, scope, block))
                return clattn__fail(t->host.plan.ctx, CLATTN_SELF_TEST_FAILED, CL_SUCCESS,
                                    "selection, the list of scope %lld, query block %lld", (long long)scope,
                                    (long long)block);
    return CLATTN_OK;
}

clattn_status clattn__select_self_test(clattn_select_plan *plan)
{
    struct tiny *t = calloc(1, sizeof *t);
    if (!t)
        return clattn__fail(plan->ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "%s", "self-test");
    clattn_status status = shape_tiny(plan, t);
    if (status) {
        clattn__fail(plan->ctx, status, CL_SUCCESS, "%s", "self-test");
    } else {
        cl_int code = make_buffers(t);
        const bool sound = code == CL_SUCCESS;
        if (sound)
            code = launch_tiny(t);
        if (code != CL_SUCCESS)
            status = clattn__fail_cl(plan->ctx, "the first launch", code);
        else if (!(plan->problem.a.flags & CLATTN_NO_SELF_TEST))
            status = compare(t);
        if (sound && status == CLATTN_OPENCL_FAILED) /* not for want of memory */
            plan->fault = "its first launch failed";
        else if (status == CLATTN_SELF_TEST_FAILED)
            plan->fault = "its first lists were wrong";
    }
    release_tiny(t);
    free(t);
    return status;
}
