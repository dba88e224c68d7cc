/* SPDX-License-Identifier: MIT
 * extend.c - attention over lists at positions of its own: copies of what lists read, turned, and attention
 * over them. */
#include "select/extend.h"

#include <stdlib.h>
#include <string.h>

#define LAUNCH_BYTES ((int64_t)64 << 20)

/* ---- the problem ---- */
/* Whether the score rule asks nothing but the score: positions of the copies are not the caller's. */
static bool asks_score_alone(const clattn_attention *a)
{
    struct clattn__problem p;
    clattn_attention scores = *a;
    scores.pattern = clattn_full();
    scores.list.size = 0;
    bool alone = clattn__problem_resolve(&p, &scores, NULL, 0) == CLATTN_OK;
    for (int i = CLATTN__INDEX_Q; alone && i < CLATTN__INDEX_SCORE; i++)
        alone = !clattn__expr_uses_index(p.rules, (enum clattn__index)i);
    for (int i = 0; alone && i < a->n_arrays; i++)
        alone = !clattn__expr_uses_array(p.rules, i);
    clattn__problem_free(&p);
    return alone;
}

static clattn_status check_problem(clattn_extend_plan *plan)
{
    const clattn_attention *a = &plan->problem.a;
    char mask[2 * CLATTN_PATTERN_TEXT];
    const bool square = a->q_len == a->kv_len && !(a->flags & CLATTN_KEY_LENGTHS);
    if (a->flags & (CLATTN_PACKED | CLATTN_CALLER_WORKSPACE | CLATTN_COUNT_TILES))
        return clattn__fail(
            plan->ctx, CLATTN_BAD_FLAGS, CL_SUCCESS,
            "extended attention takes neither packed rows nor a caller's workspace, nor does it count tiles");
    if (plan->select.flags & CLATTN_GROW_WINDOW)
        return clattn__fail(plan->ctx, CLATTN_BAD_FLAGS, CL_SUCCESS,
                            "the window does not grow with the list's age; make it longer instead");
    if (clattn__expr_print(plan->problem.rules, CLATTN__MASK, mask, sizeof mask) || strcmp(mask, "k <= q") ||
        !(plan->problem.bottom_right || square))
        return clattn__fail(plan->ctx, CLATTN_BAD_CORNER, CL_SUCCESS,
                            "positions are counted from the newest row: the pattern must be "
                            "causal alone, with the corner bottom right");
    if (a->normaliser != CLATTN_SOFTMAX)
        return clattn__fail(plan->ctx, CLATTN_BAD_NORMALISER, CL_SUCCESS,
                            "extended attention has the softmax");
    if (!asks_score_alone(a))
        return clattn__fail(plan->ctx, CLATTN_EXPR_NAME, CL_SUCCESS,
                            "a score rule of extended attention may name the score and scalars, as a soft "
                            "cap does; positions are the lists' own");
    return CLATTN_OK;
}

static clattn_status resolve(clattn_extend_plan *plan, const clattn_select *select,
                             const clattn_attention *problem)
{
    char details[CLATTN__MESSAGE_SIZE];
    clattn_status status = clattn_select_check(select, problem, details, sizeof details);
    if (status)
        return clattn__fail(plan->ctx, status, CL_SUCCESS, "%s",
                            strchr(details, ':') ? strchr(details, ':') + 2 : details);
    if (select->extend == CLATTN_EXTEND_NONE)
        return clattn__fail(plan->ctx, CLATTN_BAD_SELECTOR, CL_SUCCESS,
                            "extend is NONE; plain attention reads lists by clattn_selected");
    clattn_attention a = *problem;
    plan->select = *select;
    a.list = (clattn_list)CLATTN_LIST_INIT;
    status = clattn_select_list(&a.list, select, problem);
    details[0] = 0;
    if (!status)
        status = clattn__problem_resolve(&plan->problem, &a, details, sizeof details);
    return status ? clattn__fail(plan->ctx, status, CL_SUCCESS, "%s", details) : check_problem(plan);
}

/* ---- the layout ---- */
static void copy_layout(cl_long at[4], const clattn_layout *layout)
{
    at[0] = layout->offset;
    at[1] = layout->batch;
    at[2] = layout->head;
    at[3] = layout->token;
}

static void fill_args(clattn_extend_plan *plan)
{
    const clattn_attention *a = &plan->problem.a;
    const clattn_list *l = &a->list;
    struct extend_args *args = &plan->args;
    const int64_t heads = a->heads / l->scopes;
    copy_layout(args->q_at, &a->q);
    copy_layout(args->k_at, &a->k);
    copy_layout(args->v_at, &a->v);
    copy_layout(args->o_at, &a->o);
    copy_layout(args->lse_at, &a->lse);
    plan->problem.reads_list = true; /* by the kernel, if not by rules */
    clattn__problem_list(&plan->problem);
    args->list = plan->problem.list_args;
    args->lists = (cl_int)(l->batch * l->scopes * l->q_blocks);
    args->q_len = (cl_int)a->q_len;
    args->kv_len = (cl_int)a->kv_len;
    args->rows = (cl_int)(l->block_q < a->q_len ? l->block_q : a->q_len);
    args->keys = (cl_int)clattn__extended_keys(&plan->select, a);
    args->heads = (cl_int)heads;
    args->group = (cl_int)(a->heads / a->kv_heads);
    args->kv_heads = (cl_int)clattn__ceil_div(heads, args->group);
    args->sink = (cl_int)plan->select.sink;
    args->window = (cl_int)plan->select.window;
    args->dense_below = (cl_int)plan->select.dense_below;
    args->positions = (cl_int)plan->select.rope_positions;
    args->share = plan->select.extend_share;
    args->length = (cl_int)plan->select.extend_length;
    args->strips = (cl_int)clattn__ceil_div(args->keys, plan->strip);
}

/* Whether lists lie in o as batch entries of attention, each with its heads: where they are of all rows, in
 * one launch. */
static bool lies_straight(const clattn_extend_plan *plan, const clattn_layout *layout)
{
    const clattn_list *l = &plan->problem.a.list;
    return l->q_blocks == 1 && plan->launch == plan->args.lists &&
           (l->batch == 1 || l->scopes == 1 || layout->batch == layout->head * plan->problem.a.heads);
}

static void straighten(const clattn_extend_plan *plan, clattn_layout *layout)
{
    if (plan->problem.a.list.scopes > 1)
        layout->batch = layout->head * plan->args.heads;
}

/* How many lists a launch has, and what of the workspace they take.  false: overflow. */
static bool lay_out(clattn_extend_plan *plan)
{
    const clattn_attention *a = &plan->problem.a;
    const struct extend_args *args = &plan->args;
    const int64_t rows = (int64_t)args->heads * args->rows, keys = (int64_t)args->kv_heads * args->keys;
    const int64_t bytes[PARTS] = {
        rows * a->dim * clattn__type_bytes(a->type_q),   keys * a->dim * clattn__type_bytes(a->type_k),
        keys * a->dim_v * clattn__type_bytes(a->type_v), rows * a->dim_v * clattn__type_bytes(a->type_o),
        a->flags & CLATTN_WANT_LSE ? rows * 4 : 0,       4};
    const int64_t lists = a->list.batch * a->list.scopes * a->list.q_blocks;
    int64_t all = 0;
    for (int i = 0; i < PARTS; i++)
        all += bytes[i];
    plan->launch = LAUNCH_BYTES / all > 1 ? LAUNCH_BYTES / all : 1;
    plan->launch = plan->launch < lists ? plan->launch : lists;
    plan->direct =
        lies_straight(plan, &a->o) && (!(a->flags & CLATTN_WANT_LSE) || lies_straight(plan, &a->lse));
    for (int i = 0; i < PARTS; i++)
        plan->bytes[i] = plan->direct && (i == PART_O || i == PART_LSE) ? 0 : bytes[i] * plan->launch;
    return lists <= INT32_MAX;
}

static clattn_status make_parts(clattn_extend_plan *plan)
{
    cl_int code = CL_SUCCESS;
    for (int i = 0; code == CL_SUCCESS && i < PARTS; i++)
        if (plan->bytes[i] > 0) {
            plan->parts[i] =
                clCreateBuffer(plan->ctx->cl, CL_MEM_READ_WRITE, (size_t)plan->bytes[i], NULL, &code);
            if (code != CL_SUCCESS)
                plan->parts[i] = NULL;
        }
    return code == CL_SUCCESS ? CLATTN_OK
                              : clattn__fail_cl(plan->ctx, "clCreateBuffer for the workspace", code);
}

/* Attention over a launch's lists: causal, for the newest keys are the block's own, and the rest is older. */
static clattn_status make_attention(clattn_extend_plan *plan)
{
    static const clattn_layout dense = CLATTN_LAYOUT_DENSE;
    clattn_attention a = plan->problem.a;
    a.flags = (a.flags & (CLATTN_WANT_LSE | CLATTN_STRICT | CLATTN_NO_SELF_TEST)) | CLATTN_KEY_LENGTHS;
    a.batch = plan->launch;
    a.heads = plan->args.heads;
    a.kv_heads = plan->args.kv_heads;
    a.q_len = plan->args.rows;
    a.kv_len = plan->args.keys;
    a.q = a.k = a.v = dense;
    if (plan->direct) {
        straighten(plan, &a.o);
        straighten(plan, &a.lse);
    } else {
        a.o = a.lse = dense;
    }
    a.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
    a.n_arrays = 0;
    a.list.size = 0;
    return clattn_plan_create(&plan->attention, plan->ctx, &a);
}

/* ---- launches ---- */
cl_int clattn__extend_gather(const clattn_extend_plan *plan, const struct extend_args *args,
                             const clattn_extend_io *io, cl_command_queue queue, struct clattn__wait wait,
                             cl_event *event)
{
    struct clattn__setter s = {plan->kernels[GATHER].kernel, 0, CL_SUCCESS};
    const cl_mem lengths = plan->parts[LENGTHS]; /* in place of what is empty */
    const int64_t rows = (int64_t)(args->heads / args->kv_heads) * args->rows;
    clattn__set(&s, sizeof *args, args);
    clattn__set_either(&s, io->q, lengths);
    clattn__set_either(&s, io->k, lengths);
    clattn__set_either(&s, io->v, lengths);
    clattn__set_buffer(&s, io->list);
    if (plan->problem.a.flags & CLATTN_KEY_LENGTHS)
        clattn__set_buffer(&s, io->key_lengths);
    clattn__set_buffer(&s, io->rope_cos);
    clattn__set_buffer(&s, io->rope_sin);
    for (int i = PART_Q; i <= PART_V; i++)
        clattn__set_either(&s, plan->parts[i], lengths);
    clattn__set_buffer(&s, lengths);
    if (s.code != CL_SUCCESS)
        return s.code;
    const size_t local[3] = {(size_t)plan->group, 1, 1},
                 global[3] = {(size_t)(args->strips + clattn__ceil_div(rows, plan->strip)) * local[0],
                              (size_t)args->kv_heads, (size_t)plan->launch};
    return clEnqueueNDRangeKernel(queue, s.kernel, 3, NULL, global, local, wait.count,
                                  wait.count ? wait.events : NULL, event);
}

cl_int clattn__extend_scatter(const clattn_extend_plan *plan, const struct extend_args *args,
                              const clattn_extend_io *io, cl_command_queue queue, struct clattn__wait wait,
                              cl_event *event)
{
    struct clattn__setter s = {plan->kernels[SCATTER].kernel, 0, CL_SUCCESS};
    clattn__set(&s, sizeof *args, args);
    clattn__set_buffer(&s, plan->parts[PART_O]);
    clattn__set_buffer(&s, io->o);
    if (plan->problem.a.flags & CLATTN_WANT_LSE) {
        clattn__set_buffer(&s, plan->parts[PART_LSE]);
        clattn__set_buffer(&s, io->lse);
    }
    if (s.code != CL_SUCCESS)
        return s.code;
    const size_t local[3] = {(size_t)plan->group, 1, 1},
                 global[3] = {(size_t)args->rows * local[0], (size_t)args->heads, (size_t)plan->launch};
    return clEnqueueNDRangeKernel(queue, s.kernel, 3, NULL, global, local, wait.count,
                                  wait.count ? wait.events : NULL, event);
}

/* One enqueue. */
struct run {
    clattn_extend_plan *plan;
    const clattn_extend_io *io;
    clattn_status status; /* of attention, which has its own words */
};

static cl_int attend(struct run *run, struct clattn__chain *c, cl_event *event)
{
    const clattn_extend_plan *plan = run->plan;
    const struct clattn__wait wait = clattn__chain_wait(c);
    clattn_io io = CLATTN_IO_INIT;
    io.q = plan->parts[PART_Q];
    io.k = plan->parts[PART_K];
    io.v = plan->parts[PART_V];
    io.o = plan->direct ? run->io->o : plan->parts[PART_O];
    io.lse = plan->direct ? run->io->lse : plan->parts[PART_LSE];
    io.key_lengths = plan->parts[LENGTHS];
    run->status = clattn_enqueue_forward(plan->attention, c->queue, &io, wait.count, wait.events, event);
    return run->status ? CL_INVALID_OPERATION : CL_SUCCESS;
}

/* Range by range: copy, attend, and put the results where they belong. */
static cl_int enqueue_ranges(struct clattn__chain *c, void *cookie)
{
    struct run *run = cookie;
    clattn_extend_plan *plan = run->plan;
    struct extend_args args = plan->args;
    cl_int code = CL_SUCCESS;
    for (int64_t first = 0; code == CL_SUCCESS && first < args.lists; first += plan->launch) {
        cl_event next = NULL;
        args.first = (cl_int)first;
        code = clattn__extend_gather(plan, &args, run->io, c->queue, clattn__chain_wait(c), &next);
        clattn__chain_follow(c, next);
        next = NULL;
        if (code == CL_SUCCESS)
            code = attend(run, c, &next);
        clattn__chain_follow(c, next);
        next = NULL;
        if (code == CL_SUCCESS && !plan->direct)
            code = clattn__extend_scatter(plan, &args, run->io, c->queue, clattn__chain_wait(c), &next);
        clattn__chain_follow(c, next);
    }
    return code;
}

/* ---- the plan ---- */
static clattn_status build(clattn_extend_plan *plan)
{
    static const char *const names[KERNELS] = {"extend_gather", "extend_scatter"};
    const clattn_attention *a = &plan->problem.a;
    char options[256];
    struct clattn__text text = clattn__text_into(options, sizeof options);
    clattn_status status = CLATTN_OK;
    clattn__text_add(&text,
                     "-DT_Q=%d -DT_K=%d -DT_V=%d -DT_O=%d -DDIM=%d -DDIM_V=%d -DEXTEND=%d -DKEY_LENGTHS=%d "
                     "-DLSE=%d -DGROUP=%d -DSTRIP=%d",
                     (int)a->type_q, (int)a->type_k, (int)a->type_v, (int)a->type_o, (int)a->dim,
                     (int)a->dim_v, (int)plan->select.extend, !!(a->flags & CLATTN_KEY_LENGTHS),
                     !!(a->flags & CLATTN_WANT_LSE), (int)plan->group, (int)plan->strip);
    for (int i = 0; !status && i < (plan->direct ? SCATTER : KERNELS); i++) {
        const struct clattn__program_request request = {
            .name = "extend", .options = options, .kernel = names[i]};
        status = clattn__kernel_build(plan->ctx, &request, &plan->kernels[i]);
    }
    return status;
}

static clattn_status prepare(clattn_extend_plan *plan, const clattn_select *select,
                             const clattn_attention *problem)
{
    const clattn_device_facts *facts = &plan->ctx->facts;
    const bool cpu = facts->type & CL_DEVICE_TYPE_CPU && !facts->local_is_dedicated;
    plan->group = cpu || facts->largest_group < 32 ? 1 : 32;
    plan->strip = cpu ? 64 : 8;
    clattn_status status = resolve(plan, select, problem);
    if (status)
        return status;
    fill_args(plan);
    if (!lay_out(plan))
        return clattn__fail(plan->ctx, CLATTN_SIZE_OVERFLOW, CL_SUCCESS, "more than 2^31 - 1 lists");
    if (plan->launch == 0)
        return CLATTN_OK;
    status = build(plan);
    if (!status && !clattn__kept_is_proved(plan->ctx, plan->kernels[GATHER].program))
        status = clattn__extend_self_test(plan);
    if (!status)
        status = make_attention(plan);
    return status ? status : make_parts(plan);
}

clattn_status clattn_extend_plan_create(clattn_extend_plan **plan, clattn_context *ctx,
                                        const clattn_select *select, const clattn_attention *problem)
{
    if (!plan)
        return CLATTN_NULL_ARGUMENT;
    *plan = NULL;
    clattn_status status = clattn__context_check(ctx);
    if (status)
        return status;
    clattn_extend_plan *made = calloc(1, sizeof *made);
    if (!made)
        return clattn__fail(ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "extend plan");
    made->magic = CLATTN__EXTEND_MAGIC;
    made->ctx = ctx;
    clattn__context_retain(ctx);
    pthread_mutex_init(&made->lock, NULL);
    status = prepare(made, select, problem);
    if (status)
        clattn_extend_plan_destroy(made);
    else
        *plan = made;
    return status;
}

void clattn_extend_plan_destroy(clattn_extend_plan *plan)
{
    if (!plan || plan->magic != CLATTN__EXTEND_MAGIC)
        return;
    plan->magic = 0;
    if (plan->busy)
        clReleaseEvent(plan->busy);
    for (int i = 0; i < PARTS; i++)
        if (plan->parts[i])
            clReleaseMemObject(plan->parts[i]);
    for (int i = 0; i < KERNELS; i++)
        clattn__kernel_free(&plan->kernels[i]);
    clattn_plan_destroy(plan->attention);
    clattn__problem_free(&plan->problem);
    pthread_mutex_destroy(&plan->lock);
    clattn__context_release(plan->ctx);
    free(plan);
}

static clattn_status check_plan(const clattn_extend_plan *plan)
{
    if (!plan)
        return CLATTN_NULL_ARGUMENT;
    return plan->magic == CLATTN__EXTEND_MAGIC ? clattn__context_check(plan->ctx) : CLATTN_BAD_HANDLE;
}

clattn_status clattn_extend_plan_explain(const clattn_extend_plan *plan, char *text, size_t size)
{
    clattn_status status = check_plan(plan);
    int64_t bytes = 0;
    if (status)
        return status;
    if (!text || size == 0)
        return clattn__fail(plan->ctx, CLATTN_NULL_ARGUMENT, CL_SUCCESS, "text");
    for (int i = 0; i < PARTS; i++)
        bytes += plan->bytes[i];
    struct clattn__text out = clattn__text_into(text, size);
    clattn__text_add(&out, "extend     %d lists, %lld a launch; %d keys of each at most, at %d positions\n",
                     (int)plan->args.lists, (long long)plan->launch, (int)plan->args.keys,
                     (int)plan->args.positions);
    clattn__text_add(&out, "copies     %lld bytes, beside the workspace of attention; %s\n", (long long)bytes,
                     plan->direct ? "which writes to o itself" : "its results are copied to o");
    if (out.cut)
        return clattn__fail(plan->ctx, CLATTN_BUFFER_TOO_SHORT, CL_SUCCESS, "%zu bytes", size);
    return plan->attention ? clattn_plan_explain(plan->attention, text + out.used, size - out.used)
                           : CLATTN_OK;
}

/* ---- the enqueue ---- */
static clattn_status check_buffers(const clattn_extend_plan *plan, const clattn_extend_io *io)
{
    const struct clattn__problem *p = &plan->problem;
    const clattn_attention *a = &p->a;
    const int64_t *extents = p->extents, table = plan->select.rope_positions * (a->dim / 2) * 4;
    const bool lengths = a->flags & CLATTN_KEY_LENGTHS, lse = a->flags & CLATTN_WANT_LSE;
    const int bytes[] = {clattn__type_bytes(a->type_q), clattn__type_bytes(a->type_k),
                         clattn__type_bytes(a->type_v), clattn__type_bytes(a->type_o)};
    const struct clattn__buffer_rule rules[] = {
        {"q", io->q, a->q.offset * bytes[0], extents[CLATTN__Q] * bytes[0], CLATTN_Q_TOO_SMALL, false},
        {"k", io->k, a->k.offset * bytes[1], extents[CLATTN__K] * bytes[1], CLATTN_K_TOO_SMALL, false},
        {"v", io->v, a->v.offset * bytes[2], extents[CLATTN__V] * bytes[2], CLATTN_V_TOO_SMALL, false},
        {"o", io->o, a->o.offset * bytes[3], extents[CLATTN__O] * bytes[3], CLATTN_O_TOO_SMALL, true},
        {"lse", io->lse, lse ? a->lse.offset * 4 : 0, lse ? extents[CLATTN__LSE] * 4 : 0,
         CLATTN_LSE_TOO_SMALL, true},
        {"key_lengths", io->key_lengths, 0, lengths ? a->batch * 4 : 0, CLATTN_LENGTHS_TOO_SMALL, false},
        {"list", io->list, 0, clattn__list_bytes(a), CLATTN_LIST_TOO_SMALL, false},
        {"rope_cos", io->rope_cos, 0, table, CLATTN_ROPE_TOO_SMALL, false},
        {"rope_sin", io->rope_sin, 0, table, CLATTN_ROPE_TOO_SMALL, false},
    };
    if ((io->lse && !lse) || (io->key_lengths && !lengths))
        return clattn__fail(plan->ctx, CLATTN_UNUSED_BUFFER, CL_SUCCESS, "io.%s",
                            io->lse && !lse ? "lse" : "key_lengths");
    clattn_status status = CLATTN_OK;
    for (size_t i = 0; !status && i < CLATTN__LEN(rules); i++)
        status = clattn__check_buffer(plan->ctx, &rules[i]);
    return status ? status : clattn__check_aliases(plan->ctx, rules, CLATTN__LEN(rules));
}

clattn_status clattn_enqueue_extend(clattn_extend_plan *plan, cl_command_queue queue,
                                    const clattn_extend_io *io, cl_uint n_wait, const cl_event *wait,
                                    cl_event *event)
{
    const struct clattn__wait waits = {n_wait, wait};
    clattn_status status = check_plan(plan);
    if (status)
        return status;
    status = clattn__check_call(plan->ctx, io, "clattn_extend_io", sizeof *io, queue, waits);
    if (!status)
        status = check_buffers(plan, io);
    if (status)
        return status;
    struct run run = {plan, io, CLATTN_OK};
    cl_int code = CL_SUCCESS;
    if (plan->launch > 0) {
        pthread_mutex_lock(&plan->lock);
        code = clattn__chain_enqueue(&plan->busy, queue, waits, event, enqueue_ranges, &run);
        pthread_mutex_unlock(&plan->lock);
    } else if (event) {
        code = clEnqueueMarkerWithWaitList(queue, waits.count, waits.events, event);
    }
    if (run.status)
        return run.status;
    return code == CL_SUCCESS ? CLATTN_OK : clattn__fail_cl(plan->ctx, "enqueueing the kernels", code);
}
