/* SPDX-License-Identifier: MIT
 * launch.c - the kernels of a selection, a tile of query blocks after the other, with their arguments; checks nothing. */
#include "select/select.h"

/* Sets arguments one after the other and keeps the first failure. */
struct setter {
    cl_kernel kernel;
    cl_uint next;
    cl_int code;
};

static void set(struct setter *s, size_t size, const void *value)
{
    if (s->code == CL_SUCCESS)
        s->code = clSetKernelArg(s->kernel, s->next++, size, value);
}

static void set_buffer(struct setter *s, cl_mem mem)
{
    set(s, sizeof mem, &mem);
}

/* An empty tensor may come without a buffer; the kernel never reads it, but wants an address. */
static cl_mem or_else(cl_mem mem, cl_mem other)
{
    return mem ? mem : other;
}

/* A kernel's own arguments. */
static void set_own(struct setter *s, const struct clattn__select_run *run, enum clattn__select_kernel kernel)
{
    const clattn_select_io *io = run->io;
    const struct clattn__select_shape *shape = &run->plan->shape;
    if (kernel == CLATTN__ROWS)
        set_buffer(s, io->q);
    if (kernel == CLATTN__SELECT_TREE || kernel == CLATTN__SCAN || kernel == CLATTN__BOUNDS)
        set_buffer(s, or_else(io->k, io->list));
    if (kernel == CLATTN__BLOCKS)
        set_buffer(s, run->plan->select.method == CLATTN_EXTERNAL_SCORE ? or_else(io->scores, io->list) : or_else(io->bounds, io->list));
    if (kernel == CLATTN__BOUNDS)
        set_buffer(s, io->bounds);
    if (kernel == CLATTN__GIVEN)
        set_buffer(s, or_else(io->given, io->list));
    if (kernel == CLATTN__SELECT_TREE || kernel == CLATTN__CUT || kernel == CLATTN__TOP || kernel == CLATTN__GIVEN)
        set_buffer(s, io->list);
    if (kernel == CLATTN__SELECT_TREE && !shape->nodes_global)
        set(s, (size_t)(shape->scratch > 0 ? shape->scratch : 1) * sizeof(cl_uint), NULL);
}

/* What every kernel takes after its own. */
static void set_common(struct setter *s, const struct clattn__select_run *run, enum clattn__select_kernel kernel)
{
    const clattn_select_plan *plan = run->plan;
    const struct clattn__problem *problem = &plan->problem;
    const uint32_t flags = problem->a.flags;
    if (flags & CLATTN_PACKED) {
        set_buffer(s, run->io->q_offsets);
        set_buffer(s, run->io->k_offsets);
    } else if (flags & CLATTN_KEY_LENGTHS) {
        set_buffer(s, run->io->key_lengths);
    }
    if (plan->select.flags & CLATTN_COUNT_PROBES && (kernel == CLATTN__SELECT_TREE || kernel == CLATTN__SCAN))
        set_buffer(s, run->io->counters);
    if (!clattn__select_ruled(&plan->select, kernel))
        return;
    if (problem->n_numbers)
        set(s, (size_t)problem->n_numbers * sizeof(cl_int), problem->numbers);
    for (int i = 0; i < problem->a.n_arrays; i++)
        if (clattn__expr_uses_array(problem->rules, i))
            set_buffer(s, run->io->arrays[i]);
    if (plan->tables.count)
        set_buffer(s, run->workspace);
}

static cl_int launch(struct clattn__chain *c, const struct clattn__select_run *run, enum clattn__select_kernel kernel,
                     const struct select_args *args, size_t groups)
{
    const struct clattn__select_shape *shape = &run->plan->shape;
    const bool of_list = kernel == CLATTN__CANDIDATES || kernel == CLATTN__SELECT_TREE || kernel == CLATTN__CUT || kernel == CLATTN__TOP;
    struct setter s = {run->plan->kernels[kernel].kernel, 0, CL_SUCCESS};
    cl_event next = NULL;
    set(&s, sizeof *args, args);
    set_buffer(&s, run->workspace);
    set_own(&s, run, kernel);
    set_common(&s, run, kernel);
    if (s.code != CL_SUCCESS)
        return s.code;
    const size_t local = (size_t)(of_list ? shape->group_list : shape->group_strip), global = groups * local;
    const struct clattn__wait wait = clattn__chain_wait(c);
    cl_int code = clEnqueueNDRangeKernel(c->queue, s.kernel, 1, NULL, &global, &local, wait.count,
                                         wait.count ? wait.events : NULL, &next);
    clattn__chain_follow(c, next);
    return code;
}

/* A search in every chunk, and what is kept of them, until chunks are blocks. */
static cl_int launch_stages(struct clattn__chain *c, const struct clattn__select_run *run, struct select_args *args, size_t lists)
{
    const clattn_select *select = &run->plan->select;
    cl_int code = CL_SUCCESS;
    for (int i = 0; code == CL_SUCCESS && i < select->n_stages; i++) {
        const bool last = i == select->n_stages - 1;
        args->stage = i;
        args->chunk = (cl_int)select->stages[i].chunk;
        args->smaller = last ? args->chunk : (cl_int)select->stages[i + 1].chunk;
        args->keep_chunks = (cl_int)(select->stages[i].keep / select->stages[i].chunk);
        if (i > 0) { /* what the stage before has cut */
            const cl_long cut = args->cut_at;
            args->cut_at = args->chunks_at;
            args->chunks_at = cut;
        }
        code = launch(c, run, CLATTN__SCAN, args, lists * (size_t)args->strips);
        if (code == CL_SUCCESS)
            code = launch(c, run, last ? CLATTN__TOP : CLATTN__CUT, args, lists);
    }
    return code;
}

/* The method's kernels, after the candidates are known. */
static cl_int launch_method(struct clattn__chain *c, const struct clattn__select_run *run, struct select_args *args, size_t lists)
{
    const clattn_select_plan *plan = run->plan;
    const size_t items = (size_t)plan->shape.group_strip, groups = lists < plan->tree_groups ? lists : plan->tree_groups;
    cl_int code = CL_SUCCESS;
    if (plan->shape.scored)
        code = launch(c, run, CLATTN__ROWS, args, lists * (size_t)args->sets);
    if (code != CL_SUCCESS)
        return code;
    if (plan->select.method == CLATTN_TREE)
        return launch(c, run, CLATTN__SELECT_TREE, args, groups);
    if (plan->select.method == CLATTN_STAGED)
        return launch_stages(c, run, args, lists);
    if (plan->select.method == CLATTN_EXTERNAL_LIST)
        return launch(c, run, CLATTN__GIVEN, args, (lists + items - 1) / items);
    code = launch(c, run, CLATTN__BLOCKS, args, lists * (size_t)args->strips);
    return code == CL_SUCCESS ? launch(c, run, CLATTN__TOP, args, lists) : code;
}

/* Places of the workspace that begins `shift' words later. */
static void shift_args(struct select_args *args, int64_t shift)
{
    cl_long *const places[] = {&args->cands_at, &args->bits_at, &args->before_at, &args->rows_at, &args->keys_at,
                               &args->chunks_at, &args->cut_at, &args->scratch_at};
    for (size_t i = 0; i < CLATTN__LEN(places); i++)
        *places[i] += shift;
    for (int i = 0; i < CLATTN_MAX_ARRAYS; i++)
        args->table_at[i] += shift;
}

static cl_int launch_tables(struct clattn__chain *c, const struct clattn__select_run *run)
{
    const clattn_select_plan *plan = run->plan;
    cl_event next = NULL;
    if (!plan->tables.count)
        return CL_SUCCESS;
    cl_int code = clattn__launch_tables(plan->ctx, &plan->tables, c->queue, run->io->arrays, run->workspace, run->shift, c->first, &next);
    clattn__chain_follow(c, next);
    return code;
}

/* Counts of 0, and no list. */
static cl_int launch_empty(struct clattn__chain *c, const struct clattn__select_run *run)
{
    const clattn_list *list = &run->plan->list;
    const cl_int zero = 0;
    cl_event next = NULL;
    cl_int code = clEnqueueFillBuffer(c->queue, run->io->list, &zero, sizeof zero, (size_t)list->counts_at,
                                      (size_t)(list->batch * list->scopes * list->q_blocks) * sizeof zero, c->first.count,
                                      c->first.count ? c->first.events : NULL, &next);
    clattn__chain_follow(c, next);
    return code;
}

cl_int clattn__launch_select(struct clattn__chain *c, void *cookie)
{
    const struct clattn__select_run *run = cookie;
    const clattn_select_plan *plan = run->plan;
    struct select_args args = plan->args;
    if (plan->select.method == CLATTN_STREAMING)
        return launch_empty(c, run);
    shift_args(&args, run->shift);
    args.strips = (cl_int)clattn__ceil_div(plan->shape.max_keys, plan->shape.strip);
    cl_int code = launch_tables(c, run);
    for (int64_t first = 0; code == CL_SUCCESS && first < plan->pairs; first += plan->tile) {
        args.first = first;
        args.count = (cl_int)(plan->pairs - first < plan->tile ? plan->pairs - first : plan->tile);
        code = launch(c, run, CLATTN__CANDIDATES, &args, (size_t)args.count * (size_t)args.cand_scopes);
        if (code == CL_SUCCESS)
            code = launch_method(c, run, &args, (size_t)args.count * (size_t)args.scopes);
    }
    return code;
}

cl_int clattn__launch_bounds(struct clattn__chain *c, void *cookie)
{
    const struct clattn__select_run *run = cookie;
    struct select_args args = run->plan->args;
    args.first = run->first;
    args.count = (cl_int)run->count;
    return launch(c, run, CLATTN__BOUNDS, &args, (size_t)(args.batch * (int64_t)args.kv_heads * run->count));
}
