/* SPDX-License-Identifier: MIT
 * enqueue.c - checks one call's buffers and puts the kernels of a selection into the queue; compiles, blocks
 * and allocates nothing. */
#include "select/select.h"

#define MAX_RULES (15 + CLATTN_MAX_ARRAYS)

struct rules {
    struct clattn__buffer_rule list[MAX_RULES];
    size_t count;
};

static void add_rule(struct rules *rules, const char *name, cl_mem mem, int64_t first, int64_t last,
                     clattn_status too_small, bool output)
{
    rules->list[rules->count++] = (struct clattn__buffer_rule){name, mem, first, last, too_small, output};
}

static void add_lengths(const clattn_select_plan *plan, const clattn_select_io *io, struct rules *rules)
{
    const clattn_attention *a = &plan->problem.a;
    if (a->flags & CLATTN_PACKED) {
        add_rule(rules, "q_offsets", io->q_offsets, 0, (a->batch + 1) * 4, CLATTN_LENGTHS_TOO_SMALL, false);
        add_rule(rules, "k_offsets", io->k_offsets, 0, (a->batch + 1) * 4, CLATTN_LENGTHS_TOO_SMALL, false);
    }
    if (a->flags & CLATTN_KEY_LENGTHS)
        add_rule(rules, "key_lengths", io->key_lengths, 0, a->batch * 4, CLATTN_LENGTHS_TOO_SMALL, false);
}

static void add_keys(const clattn_select_plan *plan, const clattn_select_io *io, struct rules *rules)
{
    const clattn_attention *a = &plan->problem.a;
    const int64_t bytes = clattn__type_bytes(a->type_k);
    add_rule(rules, "k", io->k, a->k.offset * bytes, plan->problem.extents[CLATTN__K] * bytes,
             CLATTN_K_TOO_SMALL, false);
}

/* What the method reads: rows and keys, or metadata, or what is given. */
static void add_inputs(const clattn_select_plan *plan, const clattn_select_io *io, struct rules *rules,
                       int64_t list_bytes)
{
    const clattn_attention *a = &plan->problem.a;
    const clattn_list *list = &plan->list;
    const int32_t method = plan->select.method;
    const int64_t bytes = clattn__type_bytes(a->type_q);
    if (plan->shape.scored)
        add_rule(rules, "q", io->q, a->q.offset * bytes, plan->problem.extents[CLATTN__Q] * bytes,
                 CLATTN_Q_TOO_SMALL, false);
    if (method <= CLATTN_STAGED || plan->select.flags & CLATTN_CERTIFY)
        add_keys(plan, io, rules);
    for (int i = 0; plan->select.rope && i < 2; i++)
        add_rule(rules, i ? "rope_sin" : "rope_cos", i ? io->rope_sin : io->rope_cos, 0,
                 plan->select.rope_positions * a->dim * 2, CLATTN_ROPE_TOO_SMALL, false);
    if (plan->select.flags & CLATTN_BUDGET_EACH)
        add_rule(rules, "budgets", io->budgets, 0, 4 * list->scopes, CLATTN_BUDGETS_TOO_SMALL, false);
    if (clattn__select_uses(&plan->select, CLATTN__BOUNDS))
        add_rule(rules, "bounds", io->bounds, 0, clattn__bounds_bytes(plan), CLATTN_BOUNDS_TOO_SMALL, false);
    if (method == CLATTN_EXTERNAL_SCORE)
        add_rule(rules, "scores", io->scores, 0,
                 4 * list->batch * list->scopes * list->q_blocks * list->k_blocks, CLATTN_SCORES_TOO_SMALL,
                 false);
    if (method == CLATTN_EXTERNAL_LIST && io->given != io->list)
        add_rule(rules, "given", io->given, 0, list_bytes, CLATTN_LIST_TOO_SMALL, false);
    for (int i = 0; i < a->n_arrays; i++)
        if (method != CLATTN_STREAMING && clattn__expr_uses_array(plan->problem.rules, i))
            add_rule(rules, a->arrays[i].name, io->arrays[i], 0, clattn__array_bytes(&a->arrays[i]),
                     CLATTN_ARRAY_TOO_SMALL, false);
}

static clattn_status add_workspace(const clattn_select_plan *plan, const clattn_select_io *io,
                                   struct rules *rules)
{
    int64_t last;
    if (!(plan->problem.a.flags & CLATTN_CALLER_WORKSPACE) || plan->workspace_bytes == 0)
        return CLATTN_OK;
    const clattn_status status = clattn__check_workspace(plan->ctx, io->workspace, io->workspace_offset,
                                                         plan->workspace_bytes, &last);
    if (!status)
        add_rule(rules, "workspace", io->workspace, io->workspace_offset, last, CLATTN_WORKSPACE_TOO_SMALL,
                 true);
    return status;
}

static clattn_status add_kept(const clattn_select_plan *plan, const clattn_select_io *io, struct rules *rules)
{
    int64_t last;
    if (plan->kept_bytes == 0)
        return CLATTN_OK;
    const clattn_status status =
        clattn__check_place(plan->ctx, "kept", io->kept_offset, plan->kept_bytes, &last);
    if (!status)
        add_rule(rules, "kept", io->kept, io->kept_offset, last, CLATTN_KEPT_TOO_SMALL, true);
    return status;
}

/* Where entries begin; *any: whether one does. */
static clattn_status check_starts(const clattn_select_plan *plan, const int32_t *starts, bool *any)
{
    const int32_t last =
        plan->select.flags & CLATTN_KEEP_STAGES && plan->select.n_stages > 0 ? plan->select.n_stages - 1 : 0;
    *any = !starts;
    for (int64_t b = 0; starts && b < plan->list.batch; b++) {
        if (starts[b] < 0 || (starts[b] > last && starts[b] != CLATTN_REUSE))
            return clattn__fail(plan->ctx, CLATTN_BAD_COUNT, CL_SUCCESS,
                                "starts[%lld] is %d; 0 to %d and CLATTN_REUSE are possible", (long long)b,
                                (int)starts[b], (int)last);
        *any |= starts[b] != CLATTN_REUSE;
    }
    return CLATTN_OK;
}

static clattn_status check_unused(const clattn_select_plan *plan, const clattn_select_io *io)
{
    const uint32_t flags = plan->problem.a.flags;
    const int32_t method = plan->select.method;
    const struct {
        const char *name;
        cl_mem mem;
        bool used;
    } optional[] = {
        {"q_offsets", io->q_offsets, flags & CLATTN_PACKED},
        {"k_offsets", io->k_offsets, flags & CLATTN_PACKED},
        {"key_lengths", io->key_lengths, flags & CLATTN_KEY_LENGTHS},
        {"bounds", io->bounds, method == CLATTN_MINMAX || method == CLATTN_POOL_MEAN},
        {"scores", io->scores, method == CLATTN_EXTERNAL_SCORE},
        {"given", io->given, method == CLATTN_EXTERNAL_LIST},
        {"counters", io->counters, plan->select.flags & CLATTN_COUNT_PROBES},
        {"workspace", io->workspace, flags & CLATTN_CALLER_WORKSPACE},
        {"kept", io->kept, plan->select.flags & CLATTN_KEEP_STAGES},
        {"certified", io->certified, plan->select.flags & CLATTN_CERTIFY},
        {"budgets", io->budgets, plan->select.flags & CLATTN_BUDGET_EACH},
        {"rope_cos", io->rope_cos, plan->select.rope != CLATTN_ROPE_NONE},
        {"rope_sin", io->rope_sin, plan->select.rope != CLATTN_ROPE_NONE},
    };
    for (size_t i = 0; i < CLATTN__LEN(optional); i++)
        if (optional[i].mem && !optional[i].used)
            return clattn__fail(plan->ctx, CLATTN_UNUSED_BUFFER, CL_SUCCESS, "io.%s", optional[i].name);
    for (int i = plan->problem.a.n_arrays; i < CLATTN_MAX_ARRAYS; i++)
        if (io->arrays[i])
            return clattn__fail(plan->ctx, CLATTN_UNUSED_BUFFER, CL_SUCCESS, "io.arrays[%d]", i);
    return CLATTN_OK;
}

static clattn_status check_rules(const clattn_select_plan *plan, const struct rules *rules)
{
    clattn_status status = CLATTN_OK;
    for (size_t i = 0; !status && i < rules->count; i++)
        status = clattn__check_buffer(plan->ctx, &rules->list[i]);
    return status ? status : clattn__check_aliases(plan->ctx, rules->list, rules->count);
}

static clattn_status check_select_io(const clattn_select_plan *plan, const clattn_select_io *io)
{
    struct rules rules = {.count = 0};
    uint64_t bytes;
    clattn_status status = check_unused(plan, io);
    if (!status)
        status = clattn_list_bytes(&plan->list, &bytes);
    if (status)
        return status;
    add_inputs(plan, io, &rules, (int64_t)bytes);
    add_lengths(plan, io, &rules);
    add_rule(&rules, "list", io->list, 0, (int64_t)bytes, CLATTN_LIST_TOO_SMALL, true);
    if (plan->select.flags & CLATTN_COUNT_PROBES)
        add_rule(&rules, "counters", io->counters, 0, 16, CLATTN_COUNTERS_TOO_SMALL, true);
    if (plan->select.flags & CLATTN_CERTIFY)
        add_rule(&rules, "certified", io->certified, 0,
                 4 * plan->list.batch * plan->list.scopes * plan->list.q_blocks, CLATTN_CERTIFIED_TOO_SMALL,
                 true);
    status = add_workspace(plan, io, &rules);
    if (!status)
        status = add_kept(plan, io, &rules);
    return status ? status : check_rules(plan, &rules);
}

/* What every enqueue is given, before its buffers. */
static clattn_status check_call(const clattn_select_plan *plan, cl_command_queue queue,
                                const clattn_select_io *io, struct clattn__wait wait)
{
    clattn_status status = clattn__select_plan_check(plan);
    return status ? status
                  : clattn__check_call(plan->ctx, io, "clattn_select_io", sizeof *io, queue, wait);
}

/* Enqueue what body makes of a run; uses_workspace: as one of those that share the plan's own. */
static clattn_status enqueue(clattn_select_plan *plan, cl_command_queue queue, clattn__chain_body *body,
                             struct clattn__select_run *run, struct clattn__wait wait, cl_event *event)
{
    pthread_mutex_lock(&plan->lock);
    bool dead = plan->dead;
    cl_event *busy = plan->workspace && body == clattn__launch_select ? &plan->busy : NULL;
    cl_int code = dead ? CL_DEVICE_NOT_AVAILABLE : clattn__chain_enqueue(busy, queue, wait, event, body, run);
    if (code == CL_DEVICE_NOT_AVAILABLE || code == CL_INVALID_CONTEXT)
        plan->dead = true;
    pthread_mutex_unlock(&plan->lock);
    if (dead)
        return clattn__fail(plan->ctx, CLATTN_PLAN_DEAD, CL_SUCCESS, "%s", "");
    return code == CL_SUCCESS ? CLATTN_OK : clattn__fail_cl(plan->ctx, "enqueueing the kernels", code);
}

static clattn_status enqueue_nothing(clattn_select_plan *plan, cl_command_queue queue,
                                     struct clattn__wait wait, cl_event *event)
{
    cl_int code = event ? clEnqueueMarkerWithWaitList(queue, wait.count, wait.events, event) : CL_SUCCESS;
    return code == CL_SUCCESS ? CLATTN_OK : clattn__fail_cl(plan->ctx, "clEnqueueMarkerWithWaitList", code);
}

clattn_status clattn_enqueue_select(clattn_select_plan *plan, cl_command_queue queue,
                                    const clattn_select_io *io, cl_uint n_wait, const cl_event *wait,
                                    cl_event *event)
{
    const struct clattn__wait waits = {n_wait, wait};
    bool any;
    clattn_status status = check_call(plan, queue, io, waits);
    if (!status)
        status = check_select_io(plan, io);
    if (!status)
        status = check_starts(plan, io->starts, &any);
    if (status)
        return status;
    if (plan->pairs == 0 || !any)
        return enqueue_nothing(plan, queue, waits, event);
    const bool own = plan->workspace != NULL;
    struct clattn__select_run run = {.plan = plan, .io = io,
                                     .workspace = own ? plan->workspace : io->workspace,
                                     .shift = own ? 0 : io->workspace_offset / 4,
                                     .kept = plan->kept_bytes > 0 ? io->kept : NULL,
                                     .kept_shift = io->kept_offset / 4};
    return enqueue(plan, queue, clattn__launch_select, &run, waits, event);
}

/* The blocks that hold a new token. */
static clattn_status find_new_blocks(const clattn_select_plan *plan, int64_t first, int64_t count,
                                     struct clattn__select_run *run)
{
    const int64_t tokens = plan->problem.a.kv_len, block = plan->list.block_k;
    if (!clattn__select_uses(&plan->select, CLATTN__BOUNDS))
        return clattn__fail(plan->ctx, CLATTN_BAD_COUNT, CL_SUCCESS, "the method has no metadata");
    if (first < 0 || count < 0 || first > tokens || count > tokens - first)
        return clattn__fail(plan->ctx, CLATTN_BAD_COUNT, CL_SUCCESS,
                            "first is %lld and count %lld, and there are %lld tokens", (long long)first,
                            (long long)count, (long long)tokens);
    run->first = first / block;
    run->count = count > 0 ? (first + count - 1) / block - run->first + 1 : 0;
    return CLATTN_OK;
}

clattn_status clattn_enqueue_bounds(clattn_select_plan *plan, cl_command_queue queue,
                                    const clattn_select_io *io, int64_t first, int64_t count, cl_uint n_wait,
                                    const cl_event *wait, cl_event *event)
{
    const struct clattn__wait waits = {n_wait, wait};
    struct rules rules = {.count = 0};
    struct clattn__select_run run = {.plan = plan, .io = io};
    clattn_status status = check_call(plan, queue, io, waits);
    if (!status)
        status = find_new_blocks(plan, first, count, &run);
    if (status)
        return status;
    add_keys(plan, io, &rules);
    add_lengths(plan, io, &rules);
    add_rule(&rules, "bounds", io->bounds, 0, clattn__bounds_bytes(plan), CLATTN_BOUNDS_TOO_SMALL, true);
    status = check_rules(plan, &rules);
    if (status)
        return status;
    if (run.count == 0 || plan->list.batch == 0)
        return enqueue_nothing(plan, queue, waits, event);
    run.workspace = io->bounds; /* which no kernel of these reads, but an address must be */
    return enqueue(plan, queue, clattn__launch_bounds, &run, waits, event);
}
