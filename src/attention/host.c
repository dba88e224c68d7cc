/* SPDX-License-Identifier: MIT
 * host.c - the operator on host memory: copy in, run, wait, copy out.  For small programs and tests. */
#include "attention/attention.h"

#include <string.h>

#define MAX_COPIES (CLATTN__TENSORS + 3 + CLATTN_MAX_ARRAYS + 2)

/* One host array and its buffer. */
struct copy {
    const char *name;
    void *host;
    size_t bytes;
    bool out;    /* an output: copied both ways, so that elements between rows keep their values */
    cl_mem *mem; /* where in the clattn_io its buffer goes */
};

struct copies {
    struct copy list[MAX_COPIES];
    size_t count;
};

static void add_copy(struct copies *copies, const char *name, const void *host, int64_t bytes, bool out,
                     cl_mem *mem)
{
    if (bytes > 0)
        copies->list[copies->count++] = (struct copy){name, (void *)(uintptr_t)host, (size_t)bytes, out, mem};
}

static void collect(const struct clattn__problem *p, const clattn_host_io *host, clattn_io *io,
                    struct copies *copies)
{
    const clattn_attention *a = &p->a;
    const int64_t word = sizeof(cl_int);
    const void *data[] = {host->q, host->k, host->v, host->o, host->lse};
    cl_mem *mems[] = {&io->q, &io->k, &io->v, &io->o, &io->lse};
    static const char *const names[] = {"q", "k", "v", "o", "lse"};
    for (int i = CLATTN__Q; i < CLATTN__TENSORS; i++)
        if (i < CLATTN__LSE || a->flags & CLATTN_WANT_LSE)
            add_copy(copies, names[i], data[i], p->extents[i] * clattn__type_bytes(clattn__tensor_type(a, i)),
                     i >= CLATTN__O, mems[i]);
    if (a->flags & CLATTN_PACKED) {
        add_copy(copies, "q_offsets", host->q_offsets, (a->batch + 1) * word, false, &io->q_offsets);
        add_copy(copies, "k_offsets", host->k_offsets, (a->batch + 1) * word, false, &io->k_offsets);
    }
    if (a->flags & CLATTN_KEY_LENGTHS)
        add_copy(copies, "key_lengths", host->key_lengths, a->batch * word, false, &io->key_lengths);
    for (int i = 0; i < a->n_arrays; i++)
        if (clattn__expr_uses_array(p->rules, i))
            add_copy(copies, a->arrays[i].name, host->arrays[i], clattn__array_bytes(&a->arrays[i]), false,
                     &io->arrays[i]);
    if (p->reads_list)
        add_copy(copies, "list", host->list, clattn__list_bytes(a), false, &io->list);
    if (a->flags & CLATTN_COUNT_TILES)
        add_copy(copies, "counters", host->counters, 4 * word, true, &io->counters);
}

static clattn_status make_buffers(clattn_context *ctx, struct copies *copies)
{
    for (size_t i = 0; i < copies->count; i++) {
        struct copy *copy = &copies->list[i];
        cl_int code;
        if (!copy->host)
            return clattn__fail(ctx, CLATTN_NULL_ARGUMENT, CL_SUCCESS, "io.%s", copy->name);
        cl_mem mem =
            clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, copy->bytes, copy->host, &code);
        if (code != CL_SUCCESS)
            return clattn__fail_cl(ctx, "clCreateBuffer", code);
        *copy->mem = mem;
    }
    return CLATTN_OK;
}

static cl_int read_back(cl_command_queue queue, const struct copies *copies)
{
    cl_int code = CL_SUCCESS;
    for (size_t i = 0; code == CL_SUCCESS && i < copies->count; i++) {
        const struct copy *copy = &copies->list[i];
        if (copy->out)
            code = clEnqueueReadBuffer(queue, *copy->mem, CL_TRUE, 0, copy->bytes, copy->host, 0, NULL, NULL);
    }
    return code;
}

static cl_int event_seconds(cl_event begin, cl_event end, double *seconds)
{
    cl_ulong first = 0, last = 0;
    cl_int code = clGetEventProfilingInfo(begin, CL_PROFILING_COMMAND_END, sizeof first, &first, NULL);
    if (code == CL_SUCCESS)
        code = clGetEventProfilingInfo(end, CL_PROFILING_COMMAND_END, sizeof last, &last, NULL);
    *seconds = last > first ? (double)(last - first) * 1e-9 : 0.0;
    return code;
}

/* Marker, kernels, wait, read: the time between the marker's end and the last kernel's end is the
 * kernels'. */
static clattn_status run_on_queue(clattn_plan *plan, cl_command_queue queue, const clattn_io *io,
                                  clattn_host_io *host, const struct copies *copies)
{
    clattn_context *ctx = plan->ctx;
    cl_event begin = NULL, end = NULL;
    cl_int code = clEnqueueMarkerWithWaitList(queue, 0, NULL, &begin);
    if (code != CL_SUCCESS)
        return clattn__fail_cl(ctx, "clEnqueueMarkerWithWaitList", code);
    clattn_status status = clattn_enqueue_forward(plan, queue, io, 0, NULL, &end);
    if (!status) {
        code = clFinish(queue);
        if (code == CL_SUCCESS)
            code = event_seconds(begin, end, &host->seconds);
        if (code == CL_SUCCESS)
            code = read_back(queue, copies);
        if (code != CL_SUCCESS)
            status = clattn__fail_cl(ctx, "running the kernels", code);
    }
    if (end)
        clReleaseEvent(end);
    clReleaseEvent(begin);
    return status;
}

clattn_status clattn_run_forward(clattn_plan *plan, clattn_host_io *host)
{
    clattn_status status = clattn__plan_check(plan);
    if (status)
        return status;
    clattn_context *ctx = plan->ctx;
    if (!host)
        return clattn__fail(ctx, CLATTN_NULL_ARGUMENT, CL_SUCCESS, "io");
    if (host->size != sizeof *host)
        return clattn__fail(ctx, CLATTN_BAD_STRUCT_SIZE, CL_SUCCESS,
                            "clattn_host_io.size is %zu, this library's is %zu", host->size, sizeof *host);
    clattn_io io = CLATTN_IO_INIT;
    struct copies copies = {.count = 0};
    cl_int code = CL_SUCCESS;
    cl_command_queue queue = NULL;
    host->seconds = 0.0;
    collect(&plan->problem, host, &io, &copies);
    status = make_buffers(ctx, &copies);
    if (!status && plan->problem.a.flags & CLATTN_CALLER_WORKSPACE && plan->workspace_bytes > 0) {
        io.workspace = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE, (size_t)plan->workspace_bytes, NULL, &code);
        if (code != CL_SUCCESS) {
            io.workspace = NULL;
            status = clattn__fail_cl(ctx, "clCreateBuffer for the workspace", code);
        }
    }
    if (!status) {
        queue = clCreateCommandQueue(ctx->cl, ctx->device, CL_QUEUE_PROFILING_ENABLE, &code);
        status = code == CL_SUCCESS ? run_on_queue(plan, queue, &io, host, &copies)
                                    : clattn__fail_cl(ctx, "clCreateCommandQueue", code);
        if (code == CL_SUCCESS)
            clReleaseCommandQueue(queue);
    }
    for (size_t i = 0; i < copies.count; i++)
        if (*copies.list[i].mem)
            clReleaseMemObject(*copies.list[i].mem);
    if (io.workspace)
        clReleaseMemObject(io.workspace);
    return status;
}
