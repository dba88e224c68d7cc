/* SPDX-License-Identifier: MIT
 * enqueue.c - checks one call's buffers and puts the kernels into the queue; compiles, blocks and allocates
 * nothing.
 *
 * The kernels' arguments are the plan's only mutable state: a lock is held while they are set and enqueued, a
 * few microseconds.  A plan that owns its workspace also keeps the event of the last work that uses it, and
 * the next waits. */
#include "attention/attention.h"

#include <string.h>

#define MAX_RULES (CLATTN__TENSORS + 3 + CLATTN_MAX_ARRAYS + 3)

struct rules {
    struct clattn__buffer_rule list[MAX_RULES];
    size_t count;
};

static void add_rule(struct rules *rules, const char *name, cl_mem mem, int64_t first, int64_t last,
                     clattn_status too_small, bool output)
{
    rules->list[rules->count++] = (struct clattn__buffer_rule){name, mem, first, last, too_small, output};
}

static void add_tensor(struct rules *rules, const struct clattn__problem *p, enum clattn__tensor tensor,
                       const char *name, cl_mem mem, clattn_status too_small)
{
    clattn_attention a = p->a;
    int64_t bytes = clattn__type_bytes(clattn__tensor_type(&a, tensor));
    add_rule(rules, name, mem, clattn__tensor_layout(&a, tensor)->offset * bytes, p->extents[tensor] * bytes,
             too_small, tensor >= CLATTN__O);
}

static void collect_rules(const clattn_plan *plan, const clattn_io *io, struct rules *rules)
{
    const struct clattn__problem *p = &plan->problem;
    const clattn_attention *a = &p->a;
    const int64_t word = sizeof(cl_int);
    add_tensor(rules, p, CLATTN__Q, "q", io->q, CLATTN_Q_TOO_SMALL);
    add_tensor(rules, p, CLATTN__K, "k", io->k, CLATTN_K_TOO_SMALL);
    add_tensor(rules, p, CLATTN__V, "v", io->v, CLATTN_V_TOO_SMALL);
    add_tensor(rules, p, CLATTN__O, "o", io->o, CLATTN_O_TOO_SMALL);
    if (a->flags & CLATTN_WANT_LSE)
        add_tensor(rules, p, CLATTN__LSE, "lse", io->lse, CLATTN_LSE_TOO_SMALL);
    if (a->flags & CLATTN_PACKED) {
        add_rule(rules, "q_offsets", io->q_offsets, 0, (a->batch + 1) * word, CLATTN_LENGTHS_TOO_SMALL,
                 false);
        add_rule(rules, "k_offsets", io->k_offsets, 0, (a->batch + 1) * word, CLATTN_LENGTHS_TOO_SMALL,
                 false);
    }
    if (a->flags & CLATTN_KEY_LENGTHS)
        add_rule(rules, "key_lengths", io->key_lengths, 0, a->batch * word, CLATTN_LENGTHS_TOO_SMALL, false);
    for (int i = 0; i < a->n_arrays; i++)
        if (clattn__expr_uses_array(p->rules, i))
            add_rule(rules, a->arrays[i].name, io->arrays[i], 0, clattn__array_bytes(&a->arrays[i]),
                     CLATTN_ARRAY_TOO_SMALL, false);
    if (p->reads_list)
        add_rule(rules, "list", io->list, 0, clattn__list_bytes(a), CLATTN_LIST_TOO_SMALL, false);
    if (a->flags & CLATTN_COUNT_TILES)
        add_rule(rules, "counters", io->counters, 0, 4 * word, CLATTN_COUNTERS_TOO_SMALL, true);
}

/* Buffers that the plan was not created for are a mistake of the caller's that would go unseen. */
static clattn_status check_unused(const clattn_plan *plan, const clattn_io *io)
{
    const clattn_attention *a = &plan->problem.a;
    const struct {
        const char *name;
        cl_mem mem;
        bool used;
    } optional[] = {
        {"lse", io->lse, a->flags & CLATTN_WANT_LSE},
        {"q_offsets", io->q_offsets, a->flags & CLATTN_PACKED},
        {"k_offsets", io->k_offsets, a->flags & CLATTN_PACKED},
        {"key_lengths", io->key_lengths, a->flags & CLATTN_KEY_LENGTHS},
        {"counters", io->counters, a->flags & CLATTN_COUNT_TILES},
        {"list", io->list, a->list.size != 0},
        {"workspace", io->workspace, a->flags & CLATTN_CALLER_WORKSPACE},
    };
    for (size_t i = 0; i < CLATTN__LEN(optional); i++)
        if (optional[i].mem && !optional[i].used)
            return clattn__fail(plan->ctx, CLATTN_UNUSED_BUFFER, CL_SUCCESS, "io.%s", optional[i].name);
    for (int i = a->n_arrays; i < CLATTN_MAX_ARRAYS; i++)
        if (io->arrays[i])
            return clattn__fail(plan->ctx, CLATTN_UNUSED_BUFFER, CL_SUCCESS, "io.arrays[%d]", i);
    return CLATTN_OK;
}

static clattn_status add_workspace(const clattn_plan *plan, const clattn_io *io, struct rules *rules)
{
    if (!(plan->problem.a.flags & CLATTN_CALLER_WORKSPACE) || plan->workspace_bytes == 0)
        return CLATTN_OK;
    int64_t last;
    const clattn_status status = clattn__check_workspace(plan->ctx, io->workspace, io->workspace_offset,
                                                         plan->workspace_bytes, &last);
    if (!status)
        add_rule(rules, "workspace", io->workspace, io->workspace_offset, last, CLATTN_WORKSPACE_TOO_SMALL,
                 true);
    return status;
}

static clattn_status check_io(const clattn_plan *plan, const clattn_io *io)
{
    struct rules rules = {.count = 0};
    clattn_status status = check_unused(plan, io);
    if (status)
        return status;
    collect_rules(plan, io, &rules);
    status = add_workspace(plan, io, &rules);
    for (size_t i = 0; !status && i < rules.count; i++)
        status = clattn__check_buffer(plan->ctx, &rules.list[i]);
    return status ? status : clattn__check_aliases(plan->ctx, rules.list, rules.count);
}

static struct clattn__forward_run make_run(const clattn_plan *plan, const clattn_io *io)
{
    struct clattn__forward_run run = {
        .problem = &plan->problem, .args = &plan->args, .groups = plan->launch.groups, .q = io->q,
        .k = io->k, .v = io->v, .o = io->o, .lse = io->lse, .q_offsets = io->q_offsets,
        .k_offsets = io->k_offsets, .key_lengths = io->key_lengths, .counters = io->counters,
        .list = io->list,
    };
    memcpy(run.arrays, io->arrays, sizeof run.arrays);
    return run;
}

/* What an enqueue of a plan with a workspace puts into the queue. */
struct kernels {
    clattn_plan *plan;
    const clattn_io *io;
    cl_mem workspace;
    int64_t shift; /* words before this enqueue's part of it */
};

/* Tables, forward, merge, as far as the plan has them. */
static cl_int enqueue_kernels(struct clattn__chain *c, void *cookie)
{
    const struct kernels *k = cookie;
    clattn_plan *plan = k->plan;
    bool split = plan->launch.splits > 1;
    cl_event next = NULL;
    struct forward_args args = plan->args;
    struct merge_args merge_args = plan->merge_args;
    struct clattn__forward_run run = make_run(plan, k->io);
    cl_int code = CL_SUCCESS;
    if (plan->tables.count) {
        if (!plan->has_tables)
            code = clattn__launch_tables(plan->ctx, &plan->tables, c->queue, k->io->arrays, k->workspace,
                                         k->shift, c->first, &next);
        clattn__chain_follow(c, next);
        plan->has_tables = code == CL_SUCCESS && plan->problem.a.flags & CLATTN_ARRAYS_STAY;
        run.tables = k->workspace;
        for (int i = 0; i < CLATTN_MAX_ARRAYS; i++)
            args.table_at[i] += k->shift;
    }
    if (split) {
        clattn__shift_workspace(&args, &merge_args, k->shift);
        run.o = run.lse = k->workspace;
    }
    if (plan->launch.spec.JOINS) {
        run.merge_args = &merge_args;
        run.joined_o = k->io->o;
        run.joined_lse = k->io->lse;
        run.arrivals = plan->arrivals;
    }
    args.scratch_at += k->shift;
    run.scratch = k->workspace;
    run.args = &args;
    next = NULL;
    if (code == CL_SUCCESS)
        code = clattn__launch_forward(plan, c->queue, &run, clattn__chain_wait(c), &next);
    clattn__chain_follow(c, next);
    if (code != CL_SUCCESS || !clattn__merges_after(&plan->launch))
        return code;
    struct clattn__merge_run merge = {&merge_args, run.o, run.o, k->io->o, k->io->lse, k->io->q_offsets};
    next = NULL;
    code = clattn__launch_merge(&plan->ctx->facts, plan->merge.kernel, &plan->merge_spec, c->queue, &merge,
                                clattn__chain_wait(c), &next);
    clattn__chain_follow(c, next);
    return code;
}

/* The lock is held. */
static cl_int enqueue_with_workspace(clattn_plan *plan, cl_command_queue queue, const clattn_io *io,
                                     struct clattn__wait wait, cl_event *event)
{
    bool own = plan->workspace != NULL;
    struct kernels k = {plan, io, own ? plan->workspace : io->workspace,
                        own ? 0 : io->workspace_offset / (int64_t)sizeof(cl_float)};
    return clattn__chain_enqueue(own ? &plan->busy : NULL, queue, wait, event, enqueue_kernels, &k);
}

static cl_int enqueue_locked(clattn_plan *plan, cl_command_queue queue, const clattn_io *io,
                             struct clattn__wait wait, cl_event *event)
{
    if (plan->launch.groups == 0) /* no rows: nothing to do but to be an event */
        return event ? clEnqueueMarkerWithWaitList(queue, wait.count, wait.events, event) : CL_SUCCESS;
    if (plan->workspace_bytes > 0)
        return enqueue_with_workspace(plan, queue, io, wait, event);
    struct clattn__forward_run run = make_run(plan, io);
    return clattn__launch_forward(plan, queue, &run, wait, event);
}

clattn_status clattn_enqueue_forward(clattn_plan *plan, cl_command_queue queue, const clattn_io *io,
                                     cl_uint n_wait, const cl_event *wait, cl_event *event)
{
    struct clattn__wait waits = {n_wait, wait};
    clattn_status status = clattn__plan_check(plan);
    if (status)
        return status;
    clattn_context *ctx = plan->ctx;
    status = clattn__check_call(ctx, io, "clattn_io", sizeof *io, queue, waits);
    if (!status)
        status = check_io(plan, io);
    if (status)
        return status;

    pthread_mutex_lock(&plan->lock);
    bool dead = plan->dead;
    cl_int code = dead ? CL_DEVICE_NOT_AVAILABLE : enqueue_locked(plan, queue, io, waits, event);
    if (code == CL_DEVICE_NOT_AVAILABLE || code == CL_INVALID_CONTEXT)
        plan->dead = true;
    pthread_mutex_unlock(&plan->lock);
    if (dead)
        return clattn__fail(ctx, CLATTN_PLAN_DEAD, CL_SUCCESS, "%s", "");
    return code == CL_SUCCESS ? CLATTN_OK : clattn__fail_cl(ctx, "enqueueing the kernels", code);
}

clattn_status clattn_plan_arrays_changed(clattn_plan *plan)
{
    const clattn_status status = clattn__plan_check(plan);
    if (status)
        return status;
    pthread_mutex_lock(&plan->lock);
    plan->has_tables = false;
    pthread_mutex_unlock(&plan->lock);
    return CLATTN_OK;
}
