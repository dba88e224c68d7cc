/* SPDX-License-Identifier: MIT
 * launch.c - the kernels of a selection, a tile of query blocks after the other, with their arguments; checks
 * nothing. */
#include "select/select.h"

/* Tables for a kernel that turns rows, or keys. */
static void set_rope(struct clattn__setter *s, const struct clattn__select_run *run, bool turns)
{
    if (!turns)
        return;
    clattn__set_buffer(s, run->io->rope_cos);
    clattn__set_buffer(s, run->io->rope_sin);
}

/* A kernel's own arguments. */
static void set_own(struct clattn__setter *s, const struct clattn__select_run *run,
                    enum clattn__select_kernel kernel)
{
    const clattn_select_io *io = run->io;
    const struct clattn__select_shape *shape = &run->plan->shape;
    const int32_t rope = run->plan->select.rope;
    if (kernel == CLATTN__ROWS || clattn__select_by_tile(shape, kernel))
        clattn__set_buffer(s, io->q);
    if (kernel == CLATTN__CERTIFY)
        clattn__set_buffer(s, io->bounds);
    if (kernel == CLATTN__SELECT_TREE || kernel == CLATTN__SCAN || kernel == CLATTN__CERTIFY ||
        kernel == CLATTN__BOUNDS)
        clattn__set_either(s, io->k, io->list);
    set_rope(s, run,
             (kernel == CLATTN__ROWS && rope) || ((kernel == CLATTN__SELECT_TREE || kernel == CLATTN__SCAN) &&
                                                  rope && rope != CLATTN_ROPE_INFLLM));
    if (kernel == CLATTN__BLOCKS)
        clattn__set_either(s, run->plan->select.method == CLATTN_EXTERNAL_SCORE ? io->scores : io->bounds,
                           io->list);
    if (kernel == CLATTN__BOUNDS)
        clattn__set_buffer(s, io->bounds);
    if (kernel == CLATTN__GIVEN)
        clattn__set_either(s, io->given, io->list);
    if (kernel == CLATTN__SELECT_TREE || (kernel >= CLATTN__CERTIFY && kernel <= CLATTN__GIVEN))
        clattn__set_buffer(s, io->list);
    if (kernel == CLATTN__CERTIFY)
        clattn__set_buffer(s, io->certified);
    if (kernel == CLATTN__SELECT_TREE && !shape->nodes_global)
        clattn__set(s, (size_t)(shape->scratch > 0 ? shape->scratch : 1) * sizeof(cl_uint), NULL);
}

/* What every kernel takes after its own. */
static void set_common(struct clattn__setter *s, const struct clattn__select_run *run,
                       enum clattn__select_kernel kernel)
{
    const clattn_select_plan *plan = run->plan;
    const struct clattn__problem *problem = &plan->problem;
    const uint32_t flags = problem->a.flags;
    if (flags & CLATTN_PACKED) {
        clattn__set_buffer(s, run->io->q_offsets);
        clattn__set_buffer(s, run->io->k_offsets);
    } else if (flags & CLATTN_KEY_LENGTHS) {
        clattn__set_buffer(s, run->io->key_lengths);
    }
    if (clattn__select_each(&plan->select, kernel))
        clattn__set_buffer(s, run->io->budgets);
    if (plan->select.flags & CLATTN_COUNT_PROBES && (kernel == CLATTN__SELECT_TREE || kernel == CLATTN__SCAN))
        clattn__set_buffer(s, run->io->counters);
    if (!clattn__select_ruled(&plan->select, kernel))
        return;
    if (problem->n_numbers)
        clattn__set(s, (size_t)problem->n_numbers * sizeof(cl_int), problem->numbers);
    for (int i = 0; i < problem->a.n_arrays; i++)
        if (clattn__expr_uses_array(problem->rules, i))
            clattn__set_buffer(s, run->io->arrays[i]);
    if (plan->tables.count)
        clattn__set_buffer(s, run->workspace);
}

static cl_int launch(struct clattn__chain *c, const struct clattn__select_run *run,
                     enum clattn__select_kernel kernel, const struct select_args *args, size_t groups)
{
    struct clattn__setter s = {run->plan->kernels[kernel].kernel, 0, CL_SUCCESS};
    cl_event next = NULL;
    clattn__set(&s, sizeof *args, args);
    clattn__set_buffer(&s, run->workspace);
    clattn__set_either(&s, run->kept, run->workspace);
    set_own(&s, run, kernel);
    set_common(&s, run, kernel);
    if (s.code != CL_SUCCESS)
        return s.code;
    const size_t local = (size_t)clattn__select_items(&run->plan->shape, kernel), global = groups * local;
    const struct clattn__wait wait = clattn__chain_wait(c);
    cl_int code = clEnqueueNDRangeKernel(c->queue, s.kernel, 1, NULL, &global, &local, wait.count,
                                         wait.count ? wait.events : NULL, &next);
    clattn__chain_follow(c, next);
    return code;
}

/* Work at this stage on the entries that begin no later.  false: there is none. */
static bool activate(const struct clattn__select_run *run, struct select_args *args, int stage)
{
    const int32_t *starts = run->io->starts;
    const int64_t begin = args->first / args->q_blocks,
                  end = (args->first + args->count - 1) / args->q_blocks + 1;
    uint64_t active = starts ? 0 : ~(uint64_t)0;
    for (int64_t b = begin; b < end && starts; b++)
        active |= (uint64_t)(starts[b] <= stage) << b % 64;
    args->active = (cl_long)active;
    return active != 0;
}

/* A search in every chunk, and what is kept of them, until chunks are blocks. */
static cl_int launch_stages(struct clattn__chain *c, const struct clattn__select_run *run,
                            struct select_args *args, size_t lists)
{
    const clattn_select *select = &run->plan->select;
    cl_int code = CL_SUCCESS;
    for (int i = 0; code == CL_SUCCESS && i < select->n_stages; i++) {
        const bool last = i == select->n_stages - 1;
        if (!activate(run, args, i))
            continue;
        args->stage = i;
        args->chunks_at = run->stages_at[i];
        args->chunk_words = run->plan->stage_words[i];
        args->cut_at = last ? 0 : run->stages_at[i + 1];
        args->cut_words = last ? 0 : run->plan->stage_words[i + 1];
        args->chunk = (cl_int)select->stages[i].chunk;
        args->smaller = last ? args->chunk : (cl_int)select->stages[i + 1].chunk;
        args->keep_chunks = (cl_int)(select->stages[i].keep / select->stages[i].chunk);
        args->strips = (cl_int)clattn__ceil_div(clattn__stage_chunks(select, &run->plan->list, i),
                                                run->plan->shape.strip);
        if (select->rope == CLATTN_ROPE_CHUNKS) /* rows turn by the number of chunks */
            code = launch(c, run, CLATTN__ROWS, args, lists * (size_t)args->sets);
        if (code == CL_SUCCESS)
            code = launch(c, run, CLATTN__SCAN, args, lists * (size_t)args->strips);
        if (code == CL_SUCCESS)
            code = launch(c, run, last ? CLATTN__TOP : CLATTN__CUT, args, lists);
    }
    return code;
}

/* The method's kernels, after the candidates are known. */
static cl_int launch_method(struct clattn__chain *c, const struct clattn__select_run *run,
                            struct select_args *args, size_t lists)
{
    const clattn_select_plan *plan = run->plan;
    const size_t items = (size_t)plan->shape.group_strip,
                 groups = lists < plan->tree_groups ? lists : plan->tree_groups;
    cl_int code = CL_SUCCESS;
    const bool rows = plan->shape.scored && plan->shape.tile.items == 0;
    if (rows && !(plan->select.rope == CLATTN_ROPE_CHUNKS && plan->select.method == CLATTN_STAGED))
        code = launch(c, run, CLATTN__ROWS, args, lists * (size_t)args->sets);
    if (code != CL_SUCCESS)
        return code;
    if (plan->select.method == CLATTN_TREE)
        return launch(c, run, CLATTN__SELECT_TREE, args, groups);
    if (plan->select.method == CLATTN_STAGED)
        return launch_stages(c, run, args, lists);
    if (plan->select.method == CLATTN_EXTERNAL_LIST)
        return launch(c, run, CLATTN__GIVEN, args, (lists + items - 1) / items);
    args->strips = (cl_int)clattn__ceil_div(plan->shape.max_keys, plan->shape.strip);
    code = launch(c, run, CLATTN__BLOCKS, args, lists * (size_t)args->strips);
    if (code == CL_SUCCESS)
        code = launch(c, run, CLATTN__TOP, args, lists);
    return code == CL_SUCCESS && plan->select.flags & CLATTN_CERTIFY
               ? launch(c, run, CLATTN__CERTIFY, args, lists)
               : code;
}

/* Pairs from args->first on: candidates for the entries that begin with them, then the rest for those that
 * begin at all. */
static cl_int launch_tile(struct clattn__chain *c, const struct clattn__select_run *run,
                          struct select_args *args)
{
    const int last = run->plan->select.n_stages > 0 ? run->plan->select.n_stages - 1 : 0;
    cl_int code = CL_SUCCESS;
    if (activate(run, args, 0))
        code = launch(c, run, CLATTN__CANDIDATES, args, (size_t)args->count * (size_t)args->cand_scopes);
    args->fresh = args->active;
    if (code != CL_SUCCESS || !activate(run, args, last))
        return code;
    return launch_method(c, run, args, (size_t)args->count * (size_t)args->scopes);
}

static cl_int launch_tables(struct clattn__chain *c, const struct clattn__select_run *run)
{
    const clattn_select_plan *plan = run->plan;
    cl_event next = NULL;
    if (!plan->tables.count)
        return CL_SUCCESS;
    cl_int code = clattn__launch_tables(plan->ctx, &plan->tables, c->queue, run->io->arrays, run->workspace,
                                        run->shift, c->first, &next);
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
                                      (size_t)(list->batch * list->scopes * list->q_blocks) * sizeof zero,
                                      c->first.count, c->first.count ? c->first.events : NULL, &next);
    clattn__chain_follow(c, next);
    return code;
}

cl_int clattn__launch_select(struct clattn__chain *c, void *cookie)
{
    struct clattn__select_run *run = cookie;
    const clattn_select_plan *plan = run->plan;
    if (plan->select.method == CLATTN_STREAMING)
        return launch_empty(c, run);
    const int64_t few = 63 * plan->list.q_blocks + 1; /* of 64 entries at most, each a bit of args.active */
    const int64_t tile = run->io->starts && few < plan->tile ? few : plan->tile;
    cl_int code = launch_tables(c, run);
    for (int64_t first = 0; code == CL_SUCCESS && first < plan->pairs; first += tile) {
        struct select_args args = clattn__select_place(run, first);
        args.count = (cl_int)(plan->pairs - first < tile ? plan->pairs - first : tile);
        code = launch_tile(c, run, &args);
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
