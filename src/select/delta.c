/* SPDX-License-Identifier: MIT
 * delta.c - the correction of pruned attention by dense attention of every n-th row: those rows as a problem,
 * and the operator that adds what they differ by. */
#include "select/select.h"

#define I64 cl_long
#define I32 cl_int
#include "delta_args.clh"
#undef I64
#undef I32
_Static_assert(offsetof(struct delta_args, stretches) + sizeof(cl_int) == sizeof(struct delta_args),
               "no padding at a struct's end");

#include <stdlib.h>
#include <string.h>

#define MOST_EVERY    ((int64_t)1 << 30)
#define LARGEST_GROUP 64
#define PACKED_ROWS   "a correction of packed rows; correct each batch entry by a problem of its own"

static bool is_possible(int64_t every)
{
    return every >= 1 && every <= MOST_EVERY;
}

/* ---- the anchors' rows as a problem ---- */
/* A rule of rows 0, 1 ... as one of rows 0, every ...: q is written out, q_len a number, and listed true. */
static clattn_status space_rule(const struct clattn__problem *p, enum clattn__use use, int64_t every,
                                char text[CLATTN_PATTERN_TEXT])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    char own[4 * CLATTN_PATTERN_TEXT];
    clattn_status status = clattn__expr_print(p->rules, use, own, sizeof own);
    if (status)
        return status == CLATTN_BUFFER_TOO_SHORT ? CLATTN_EXPR_LIMIT : status;
    struct clattn__text out = clattn__text_into(text, CLATTN_PATTERN_TEXT);
    for (const char *at = own; *at;) {
        const size_t n = strspn(at, letters) > 0 ? strspn(at, letters) : 1;
        if (n == 5 && !memcmp(at, "q_len", 5))
            clattn__text_add(&out, "%lld", (long long)p->a.q_len);
        else if (n == 6 && !memcmp(at, "listed", 6))
            clattn__text_add(&out, "true");
        else if (n == 1 && *at == 'q' && every > 1 && p->bottom_right)
            clattn__text_add(&out, "(q * %lld + k_len - %lld)", (long long)every, (long long)p->a.q_len);
        else if (n == 1 && *at == 'q' && every > 1)
            clattn__text_add(&out, "(q * %lld)", (long long)every);
        else
            clattn__text_add(&out, "%.*s", (int)n, at);
        at += n;
    }
    return out.cut ? CLATTN_EXPR_LIMIT : CLATTN_OK;
}

static clattn_status space_rules(const struct clattn__problem *p, int64_t every, clattn_attention *rows)
{
    clattn_status status = space_rule(p, CLATTN__MASK, every, rows->pattern.text);
    if (!status)
        status = space_rule(p, CLATTN__SCORE, every, rows->score.text);
    if (!status)
        status = space_rule(p, CLATTN__WEIGHT, every, rows->weight.text);
    if (every > 1)
        rows->pattern.corner = CLATTN_TOP_LEFT;
    return status;
}

/* Of a resolved problem, whose strides are numbers. */
static clattn_status space_rows(const struct clattn__problem *p, int64_t every, clattn_attention *rows,
                                char *text, size_t size)
{
    static const clattn_layout dense = CLATTN_LAYOUT_DENSE;
    clattn_attention a = p->a;
    a.o = a.lse = dense;
    a.list.size = 0;
    a.flags &= ~CLATTN_WANT_LSE;
    a.q_len = clattn__ceil_div(a.q_len, every);
    if (a.flags & CLATTN_PACKED)
        return clattn__refuse(text, size, CLATTN_BAD_FLAGS, PACKED_ROWS);
    if (!clattn__mul(a.q.token, every, &a.q.token))
        return clattn__refuse(text, size, CLATTN_SIZE_OVERFLOW, "every times the stride of q's rows");
    clattn_status status = every > 1 || p->reads_list ? space_rules(p, every, &a) : CLATTN_OK;
    if (status)
        return clattn__refuse(text, size, status,
                              "a rule with q written out as a multiple of %lld; write it in fewer words",
                              (long long)every);
    status = clattn_attention_check(&a, text, size);
    if (!status)
        *rows = a;
    return status;
}

clattn_status clattn_delta_rows(const clattn_attention *problem, int64_t every, clattn_attention *rows,
                                char *text, size_t size)
{
    struct clattn__problem p;
    if (text && size)
        text[0] = 0;
    if (!problem || !rows)
        return clattn__refuse(text, size, CLATTN_NULL_ARGUMENT, "problem or rows");
    if (rows->size != sizeof *rows)
        return clattn__refuse(text, size, CLATTN_BAD_STRUCT_SIZE,
                              "rows.size is %zu, this library's is %zu; begin with CLATTN_ATTENTION_INIT",
                              rows->size, sizeof *rows);
    if (!is_possible(every))
        return clattn__refuse(text, size, CLATTN_BAD_COUNT, "every is %lld; from 1 to 2^30",
                              (long long)every);
    clattn_status status = clattn_attention_check(problem, text, size);
    if (!status)
        status = clattn__problem_resolve(&p, problem, NULL, 0);
    if (status)
        return status;
    status = space_rows(&p, every, rows, text, size);
    clattn__problem_free(&p);
    return status;
}

/* ---- the operator ---- */
struct clattn_delta_plan {
    uint32_t magic;
    clattn_context *ctx;
    struct clattn__kernel kernel;
    struct delta_args args;
    int32_t type, dim_v, group;
    int64_t first, last;  /* elements that o spans */
    pthread_mutex_t lock; /* guards the kernel's arguments */
};

static cl_int launch(const clattn_delta_plan *plan, const struct delta_args *args, cl_command_queue queue,
                     cl_mem anchor_o, cl_mem o, struct clattn__wait wait, cl_event *event)
{
    struct clattn__setter s = {plan->kernel.kernel, 0, CL_SUCCESS};
    clattn__set(&s, sizeof *args, args);
    clattn__set_buffer(&s, anchor_o);
    clattn__set_buffer(&s, o);
    if (s.code != CL_SUCCESS)
        return s.code;
    const size_t local = (size_t)plan->group,
                 global = (size_t)clattn__ceil_div(args->lists * plan->dim_v, plan->group) * local;
    return clEnqueueNDRangeKernel(queue, s.kernel, 1, NULL, &global, &local, wait.count,
                                  wait.count ? wait.events : NULL, event);
}

/* Rows 1 2 3 and anchors 5 7 of 2 rows each: 5 6 7, in every column. */
static const float tiny_o[] = {1, 2, 3}, tiny_anchors[] = {5, 7}, tiny_right[] = {5, 6, 7};
enum { TINY_ROWS = 3, TINY_EVERY = 2, TINY_STRETCHES = 2 };

uint32_t clattn__stored_whole(int32_t type, float x)
{
    static const uint16_t halves[] = {0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700};
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return type == CLATTN_F32 ? bits : type == CLATTN_F16 ? halves[(int)x] : bits >> 16;
}

static void fill(const clattn_delta_plan *plan, unsigned char *data, const float *rows, int64_t n)
{
    const size_t bytes = (size_t)clattn__type_bytes(plan->type);
    for (int64_t i = 0; i < n * plan->dim_v; i++) {
        uint32_t bits = clattn__stored_whole(plan->type, rows[i / plan->dim_v]);
        uint16_t half = (uint16_t)bits;
        memcpy(data + (size_t)i * bytes, bytes == 2 ? (void *)&half : (void *)&bits, bytes);
    }
}

static cl_int run_tiny(const clattn_delta_plan *plan, unsigned char *o, size_t o_bytes,
                       unsigned char *anchors, size_t bytes)
{
    const struct delta_args args = {.o_at = {0, 0, 0, plan->dim_v},
                                    .lists = TINY_STRETCHES,
                                    .every = TINY_EVERY,
                                    .q_len = TINY_ROWS,
                                    .heads = 1,
                                    .stretches = TINY_STRETCHES};
    const struct clattn__wait none = {0, NULL};
    clattn_context *ctx = plan->ctx;
    cl_int code;
    cl_command_queue queue = NULL;
    cl_mem mem[2] = {NULL, NULL};
    mem[0] = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, bytes, anchors, &code);
    if (code == CL_SUCCESS)
        mem[1] = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, o_bytes, o, &code);
    if (code == CL_SUCCESS)
        queue = clCreateCommandQueue(ctx->cl, ctx->device, 0, &code);
    if (code == CL_SUCCESS)
        code = launch(plan, &args, queue, mem[0], mem[1], none, NULL);
    if (code == CL_SUCCESS)
        code = clEnqueueReadBuffer(queue, mem[1], CL_TRUE, 0, o_bytes, o, 0, NULL, NULL);
    if (queue)
        clReleaseCommandQueue(queue);
    for (int i = 0; i < 2; i++)
        if (mem[i])
            clReleaseMemObject(mem[i]);
    return code;
}

static clattn_status self_test(const clattn_delta_plan *plan)
{
    const size_t row = (size_t)(plan->dim_v * clattn__type_bytes(plan->type)), o_bytes = TINY_ROWS * row;
    unsigned char *o = malloc(2 * o_bytes + TINY_STRETCHES * row);
    if (!o)
        return clattn__fail(plan->ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "delta self-test");
    unsigned char *right = o + o_bytes, *anchors = right + o_bytes;
    fill(plan, o, tiny_o, TINY_ROWS);
    fill(plan, right, tiny_right, TINY_ROWS);
    fill(plan, anchors, tiny_anchors, TINY_STRETCHES);
    cl_int code = run_tiny(plan, o, o_bytes, anchors, TINY_STRETCHES * row);
    clattn_status status =
        code == CL_SUCCESS ? CLATTN_OK : clattn__fail_cl(plan->ctx, "the first launch of delta", code);
    if (!status && memcmp(o, right, o_bytes))
        status = clattn__fail(plan->ctx, CLATTN_SELF_TEST_FAILED, CL_SUCCESS, "delta");
    free(o);
    return status;
}

/* What the plan keeps of a resolved problem. */
static void shape_plan(clattn_delta_plan *plan, const struct clattn__problem *p, int64_t every)
{
    const clattn_attention *a = &p->a;
    const uint64_t largest = plan->ctx->facts.largest_group;
    const int64_t stretches = clattn__ceil_div(a->q_len, every);
    plan->type = a->type_o;
    plan->dim_v = (int32_t)a->dim_v;
    plan->group = (int32_t)(largest < LARGEST_GROUP ? largest : LARGEST_GROUP);
    plan->first = a->o.offset;
    plan->last = p->extents[CLATTN__O];
    plan->args = (struct delta_args){.o_at = {a->o.offset, a->o.batch, a->o.head, a->o.token},
                                     .lists = a->batch * a->heads * stretches,
                                     .every = every,
                                     .q_len = a->q_len,
                                     .heads = (cl_int)a->heads,
                                     .stretches = (cl_int)stretches};
}

static clattn_status prepare(clattn_delta_plan *plan, const clattn_attention *problem, int64_t every)
{
    char text[CLATTN__MESSAGE_SIZE] = "";
    struct clattn__problem p;
    clattn_status status = problem ? CLATTN_OK : CLATTN_NULL_ARGUMENT;
    if (!status && !is_possible(every))
        return clattn__fail(plan->ctx, CLATTN_BAD_COUNT, CL_SUCCESS, "every is %lld; from 1 to 2^30",
                            (long long)every);
    if (!status)
        status = clattn__problem_resolve(&p, problem, text, sizeof text);
    if (status)
        return clattn__fail(plan->ctx, status, CL_SUCCESS, "%s", problem ? text : "problem");
    shape_plan(plan, &p, every);
    const bool packed = p.a.flags & CLATTN_PACKED;
    clattn__problem_free(&p);
    if (packed)
        return clattn__fail(plan->ctx, CLATTN_BAD_FLAGS, CL_SUCCESS, PACKED_ROWS);
    struct clattn__text options = clattn__text_into(text, sizeof text);
    clattn__text_add(&options, "-DT_O=%d -DDIM_V=%d -DGROUP=%d", (int)plan->type, (int)plan->dim_v,
                     (int)plan->group);
    const struct clattn__program_request request = {.name = "delta", .options = text, .kernel = "delta"};
    status = clattn__kernel_build(plan->ctx, &request, &plan->kernel);
    return status ? status : self_test(plan);
}

clattn_status clattn_delta_plan_create(clattn_delta_plan **plan, clattn_context *ctx,
                                       const clattn_attention *problem, int64_t every)
{
    if (!plan)
        return CLATTN_NULL_ARGUMENT;
    *plan = NULL;
    clattn_status status = clattn__context_check(ctx);
    if (status)
        return status;
    clattn_delta_plan *made = calloc(1, sizeof *made);
    if (!made)
        return clattn__fail(ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "delta plan");
    made->magic = CLATTN__DELTA_MAGIC;
    made->ctx = ctx;
    clattn__context_retain(ctx);
    pthread_mutex_init(&made->lock, NULL);
    status = prepare(made, problem, every);
    if (status)
        clattn_delta_plan_destroy(made);
    else
        *plan = made;
    return status;
}

void clattn_delta_plan_destroy(clattn_delta_plan *plan)
{
    if (!plan || plan->magic != CLATTN__DELTA_MAGIC)
        return;
    plan->magic = 0;
    clattn__kernel_free(&plan->kernel);
    pthread_mutex_destroy(&plan->lock);
    clattn__context_release(plan->ctx);
    free(plan);
}

static clattn_status check_buffers(const clattn_delta_plan *plan, cl_mem anchor_o, cl_mem o)
{
    const int64_t bytes = clattn__type_bytes(plan->type);
    const struct clattn__buffer_rule rules[] = {
        {"anchor_o", anchor_o, 0, plan->args.lists * plan->dim_v * bytes, CLATTN_O_TOO_SMALL, false},
        {"o", o, plan->first * bytes, plan->last * bytes, CLATTN_O_TOO_SMALL, true},
    };
    clattn_status status = CLATTN_OK;
    for (size_t i = 0; !status && i < CLATTN__LEN(rules); i++)
        status = clattn__check_buffer(plan->ctx, &rules[i]);
    return status ? status : clattn__check_aliases(plan->ctx, rules, CLATTN__LEN(rules));
}

clattn_status clattn_enqueue_delta(clattn_delta_plan *plan, cl_command_queue queue, cl_mem anchor_o, cl_mem o,
                                   cl_uint n_wait, const cl_event *wait, cl_event *event)
{
    const struct clattn__wait waits = {n_wait, wait};
    if (!plan)
        return CLATTN_NULL_ARGUMENT;
    if (plan->magic != CLATTN__DELTA_MAGIC)
        return CLATTN_BAD_HANDLE;
    clattn_status status = clattn__context_check(plan->ctx);
    if (!status)
        status = clattn__check_order(plan->ctx, queue, waits);
    if (!status)
        status = check_buffers(plan, anchor_o, o);
    if (status)
        return status;
    cl_int code = CL_SUCCESS;
    if (plan->args.lists > 0) {
        pthread_mutex_lock(&plan->lock);
        code = launch(plan, &plan->args, queue, anchor_o, o, waits, event);
        pthread_mutex_unlock(&plan->lock);
    } else if (event) {
        code = clEnqueueMarkerWithWaitList(queue, waits.count, waits.events, event);
    }
    return code == CL_SUCCESS ? CLATTN_OK : clattn__fail_cl(plan->ctx, "enqueueing delta", code);
}
