/* SPDX-License-Identifier: MIT
 * merge.c - the merge of partial results: the public operator, and the second kernel of a split plan. */
#include "attention/attention.h"

#include <stdlib.h>
#include <string.h>

#define WIDEST 32      /* items beside each other in a row */
#define MOST_COLUMNS 4 /* of an item */
#define MOST_LANES 32  /* items that share a column's parts */

/* A work-group, and how many of them a row takes. */
struct shape {
    int32_t items, lanes, columns; /* columns: of an item */
    size_t slices;
};

/* CPUs take one work-item a row; others items that share its columns and parts, as far as groups may be as
 * large. */
static struct shape choose_shape(const clattn_device_facts *facts, const struct clattn__merge_spec *spec)
{
    struct shape s = {1, 1, spec->dim_v, 1};
    if (facts->type & CL_DEVICE_TYPE_CPU)
        return s;
    while (s.items < spec->dim_v && s.items < WIDEST && 2 * (uint64_t)s.items <= facts->largest_group)
        s.items *= 2;
    s.columns = (int32_t)clattn__ceil_div(spec->dim_v, s.items);
    s.columns = s.columns < MOST_COLUMNS ? s.columns : MOST_COLUMNS;
    s.slices = (size_t)clattn__ceil_div(spec->dim_v, s.items * s.columns);
    const uint64_t bytes = (2 + (uint64_t)s.columns) * sizeof(float); /* of local memory for an item */
    while (s.lanes < MOST_LANES && s.lanes < spec->parts && 2 * (uint64_t)s.items <= facts->largest_group &&
           2 * (uint64_t)s.items * bytes <= facts->local_bytes) {
        s.items *= 2;
        s.lanes *= 2;
    }
    return s;
}

clattn_status clattn__merge_build(clattn_context *ctx, const struct clattn__merge_spec *spec,
                                  struct clattn__kernel *kernel)
{
    char options[160];
    const struct shape shape = choose_shape(&ctx->facts, spec);
    struct clattn__text text = clattn__text_into(options, sizeof options);
    clattn__text_add(
        &text,
        "-DT_P=%d -DT_O=%d -DDIM_V=%d -DLSE=%d -DPACKED=%d -DSUM=%d -DGROUP=%d -DLANES=%d -DCOLUMNS=%d",
        (int)spec->type_parts, (int)spec->type_o, (int)spec->dim_v, spec->lse, spec->packed, spec->sum,
        (int)shape.items, (int)shape.lanes, (int)shape.columns);
    struct clattn__program_request request = {.name = "merge", .options = options, .kernel = "merge"};
    return clattn__kernel_build(ctx, &request, kernel);
}

cl_int clattn__launch_merge(const clattn_device_facts *facts, cl_kernel kernel,
                            const struct clattn__merge_spec *spec, cl_command_queue queue,
                            const struct clattn__merge_run *run, struct clattn__wait wait, cl_event *event)
{
    struct clattn__setter s = {kernel, 0, CL_SUCCESS};
    clattn__set(&s, sizeof *run->args, run->args);
    const cl_mem buffers[] = {run->part_o, run->part_lse, run->o, spec->lse ? run->lse : NULL,
                              spec->packed ? run->q_offsets : NULL};
    for (size_t i = 0; i < CLATTN__LEN(buffers); i++)
        if (buffers[i])
            clattn__set_buffer(&s, buffers[i]);
    if (s.code != CL_SUCCESS)
        return s.code;
    size_t rows = (size_t)run->args->batch * (size_t)run->args->heads * (size_t)run->args->q_len;
    const struct shape shape = choose_shape(facts, spec);
    size_t group = (size_t)shape.items, global = rows * shape.slices * group;
    return clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, &group, wait.count,
                                  wait.count ? wait.events : NULL, event);
}

/* ---- the public operator ---- */
struct clattn_merge_plan {
    uint32_t magic;
    clattn_context *ctx;
    clattn_merge problem;
    struct clattn__merge_spec specs[2]; /* without and with lse */
    struct clattn__kernel kernels[2];
    struct merge_args args;
    pthread_mutex_t lock; /* guards the kernels' arguments */
};

static clattn_status check_problem(clattn_context *ctx, const clattn_merge *p)
{
    int64_t elements;
    if (!p)
        return clattn__fail(ctx, CLATTN_NULL_ARGUMENT, CL_SUCCESS, "problem");
    if (p->size != sizeof *p)
        return clattn__fail(ctx, CLATTN_BAD_STRUCT_SIZE, CL_SUCCESS,
                            "clattn_merge.size is %zu, this library's is %zu", p->size, sizeof *p);
    if (p->parts < 1 || p->parts > 65536)
        return clattn__fail(ctx, CLATTN_BAD_COUNT, CL_SUCCESS, "parts is %lld; from 1 to 65536",
                            (long long)p->parts);
    if (p->rows < 0 || p->rows > INT32_MAX)
        return clattn__fail(ctx, CLATTN_BAD_COUNT, CL_SUCCESS, "rows is %lld; from 0 to 2^31 - 1",
                            (long long)p->rows);
    if (p->dim_v < 1 || p->dim_v > 576)
        return clattn__fail(ctx, CLATTN_BAD_DIM_V, CL_SUCCESS, "dim_v is %lld", (long long)p->dim_v);
    if (!clattn__type_bytes(p->type_parts) || !clattn__type_bytes(p->type_o))
        return clattn__fail(ctx, CLATTN_BAD_TYPE, CL_SUCCESS, "type_parts is %d and type_o is %d",
                            (int)p->type_parts, (int)p->type_o);
    if (!clattn__mul(p->rows * p->dim_v, p->parts, &elements))
        return clattn__fail(ctx, CLATTN_SIZE_OVERFLOW, CL_SUCCESS, "parts");
    return CLATTN_OK;
}

static void fill_args(struct merge_args *args, const clattn_merge *p)
{
    memset(args, 0, sizeof *args);
    args->part_o_stride = p->rows * p->dim_v;
    args->part_lse_stride = p->rows;
    args->row_stride = p->dim_v;
    args->o_at[3] = p->dim_v;
    args->lse_at[3] = 1;
    args->parts = (cl_int)p->parts;
    args->batch = args->heads = 1;
    args->q_len = (cl_int)p->rows;
}

/* Run both kernels on one row of two parts with equal sums: the mean must come out. */
static clattn_status merge_self_test(clattn_merge_plan *plan);

static clattn_status prepare(clattn_merge_plan *plan)
{
    const clattn_merge *p = &plan->problem;
    fill_args(&plan->args, p);
    for (int i = 0; i < 2; i++) {
        plan->specs[i] = (struct clattn__merge_spec){
            .type_parts = p->type_parts, .type_o = p->type_o, .dim_v = (int32_t)p->dim_v, .parts = p->parts,
            .lse = i == 1,
        };
        clattn_status status = clattn__merge_build(plan->ctx, &plan->specs[i], &plan->kernels[i]);
        if (status)
            return status;
    }
    return merge_self_test(plan);
}

clattn_status clattn_merge_plan_create(clattn_merge_plan **plan, clattn_context *ctx,
                                       const clattn_merge *problem)
{
    if (!plan)
        return CLATTN_NULL_ARGUMENT;
    *plan = NULL;
    clattn_status status = clattn__context_check(ctx);
    if (!status)
        status = check_problem(ctx, problem);
    if (status)
        return status;
    clattn_merge_plan *made = calloc(1, sizeof *made);
    if (!made)
        return clattn__fail(ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "merge plan");
    made->magic = CLATTN__MERGE_MAGIC;
    made->ctx = ctx;
    made->problem = *problem;
    clattn__context_retain(ctx);
    pthread_mutex_init(&made->lock, NULL);
    status = prepare(made);
    if (status) {
        clattn_merge_plan_destroy(made);
        return status;
    }
    *plan = made;
    return CLATTN_OK;
}

void clattn_merge_plan_destroy(clattn_merge_plan *plan)
{
    if (!plan || plan->magic != CLATTN__MERGE_MAGIC)
        return;
    plan->magic = 0;
    for (int i = 0; i < 2; i++)
        clattn__kernel_free(&plan->kernels[i]);
    pthread_mutex_destroy(&plan->lock);
    clattn__context_release(plan->ctx);
    free(plan);
}

static cl_int launch_plan(clattn_merge_plan *plan, const struct merge_args *args, cl_command_queue queue,
                          cl_mem part_o, cl_mem part_lse, cl_mem o, cl_mem lse, struct clattn__wait wait,
                          cl_event *event)
{
    int with_lse = lse != NULL;
    struct clattn__merge_run run = {args, part_o, part_lse, o, lse, NULL};
    pthread_mutex_lock(&plan->lock);
    cl_int code = clattn__launch_merge(&plan->ctx->facts, plan->kernels[with_lse].kernel,
                                       &plan->specs[with_lse], queue, &run, wait, event);
    pthread_mutex_unlock(&plan->lock);
    return code;
}

#define TEST_PARTS 2
static clattn_status merge_self_test(clattn_merge_plan *plan)
{
    /* parts of zeros but for their lse: o = 0 whatever the type, lse = log(2) */
    clattn_merge tiny = plan->problem;
    clattn_context *ctx = plan->ctx;
    struct merge_args args;
    cl_int code = CL_SUCCESS;
    cl_mem mem[4] = {NULL, NULL, NULL, NULL};
    float got = -1.0f;
    tiny.parts = TEST_PARTS;
    tiny.rows = 1;
    fill_args(&args, &tiny);
    size_t bytes[4] = {(size_t)(TEST_PARTS * tiny.dim_v * clattn__type_bytes(tiny.type_parts)),
                       TEST_PARTS * sizeof(float), (size_t)(tiny.dim_v * clattn__type_bytes(tiny.type_o)),
                       sizeof(float)};
    void *zeros = calloc(1, bytes[0] + bytes[2] + 64);
    if (!zeros)
        return clattn__fail(ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "merge self-test");
    for (int i = 0; code == CL_SUCCESS && i < 4; i++)
        mem[i] = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, bytes[i], zeros, &code);
    cl_command_queue queue = code == CL_SUCCESS ? clCreateCommandQueue(ctx->cl, ctx->device, 0, &code) : NULL;
    struct clattn__wait none = {0, NULL};
    for (int i = 0; code == CL_SUCCESS && i < 2; i++) {
        code = launch_plan(plan, &args, queue, mem[0], mem[1], mem[2], i ? mem[3] : NULL, none, NULL);
        cl_int finished = clFinish(queue);
        code = code == CL_SUCCESS ? finished : code;
    }
    if (code == CL_SUCCESS)
        code = clEnqueueReadBuffer(queue, mem[3], CL_TRUE, 0, sizeof got, &got, 0, NULL, NULL);
    clattn_status status =
        code == CL_SUCCESS ? CLATTN_OK : clattn__fail_cl(ctx, "the first launch of merge", code);
    if (!status && !(got > 0.6931f && got < 0.6932f))
        status = clattn__fail(ctx, CLATTN_SELF_TEST_FAILED, CL_SUCCESS,
                              "merge gave lse %g where log(2) is right", (double)got);
    for (int i = 0; i < 4; i++)
        if (mem[i])
            clReleaseMemObject(mem[i]);
    if (queue)
        clReleaseCommandQueue(queue);
    free(zeros);
    return status;
}

static clattn_status check_buffers(const clattn_merge_plan *plan, cl_mem part_o, cl_mem part_lse, cl_mem o,
                                   cl_mem lse)
{
    const clattn_merge *p = &plan->problem;
    int64_t elements = p->rows * p->dim_v;
    const struct clattn__buffer_rule rules[] = {
        {"part_o", part_o, 0, elements * p->parts * clattn__type_bytes(p->type_parts), CLATTN_O_TOO_SMALL, false},
        {"part_lse", part_lse, 0, p->rows * p->parts * 4, CLATTN_LSE_TOO_SMALL, false},
        {"o", o, 0, elements * clattn__type_bytes(p->type_o), CLATTN_O_TOO_SMALL, true},
        {"lse", lse, 0, lse ? p->rows * 4 : 0, CLATTN_LSE_TOO_SMALL, true},
    };
    for (size_t i = 0; i < CLATTN__LEN(rules); i++) {
        clattn_status status = clattn__check_buffer(plan->ctx, &rules[i]);
        if (status)
            return status;
    }
    return clattn__check_aliases(plan->ctx, rules, CLATTN__LEN(rules));
}

clattn_status clattn_enqueue_merge(clattn_merge_plan *plan, cl_command_queue queue, cl_mem part_o,
                                   cl_mem part_lse, cl_mem o, cl_mem lse, cl_uint n_wait,
                                   const cl_event *wait, cl_event *event)
{
    struct clattn__wait waits = {n_wait, wait};
    if (!plan)
        return CLATTN_NULL_ARGUMENT;
    if (plan->magic != CLATTN__MERGE_MAGIC)
        return CLATTN_BAD_HANDLE;
    clattn_status status = clattn__context_check(plan->ctx);
    if (!status)
        status = clattn__check_order(plan->ctx, queue, waits);
    if (!status)
        status = check_buffers(plan, part_o, part_lse, o, lse);
    if (status)
        return status;
    cl_int code = CL_SUCCESS;
    if (plan->problem.rows > 0)
        code = launch_plan(plan, &plan->args, queue, part_o, part_lse, o, lse, waits, event);
    else if (event)
        code = clEnqueueMarkerWithWaitList(queue, n_wait, wait, event);
    return code == CL_SUCCESS ? CLATTN_OK : clattn__fail_cl(plan->ctx, "enqueueing merge", code);
}
