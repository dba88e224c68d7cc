/* SPDX-License-Identifier: MIT
 * buffers.c - what an enqueue is given, checked before anything is enqueued.
 *
 * Drivers do not do this for us: a buffer that is too small or of another context is a crash on a CPU
 * device. */
#include "attention/attention.h"

static clattn_status check_kind(clattn_context *ctx, const struct clattn__buffer_rule *rule)
{
    cl_mem_object_type type = 0;
    cl_context context = NULL;
    cl_int code = clGetMemObjectInfo(rule->mem, CL_MEM_TYPE, sizeof type, &type, NULL);
    if (code == CL_SUCCESS)
        code = clGetMemObjectInfo(rule->mem, CL_MEM_CONTEXT, sizeof context, &context, NULL);
    if (code != CL_SUCCESS)
        return clattn__fail_cl(ctx, "clGetMemObjectInfo", code);
    if (type != CL_MEM_OBJECT_BUFFER)
        return clattn__fail(ctx, CLATTN_BAD_MEM_OBJECT, CL_SUCCESS, "%s", rule->name);
    if (context != ctx->cl)
        return clattn__fail(ctx, CLATTN_WRONG_CONTEXT, CL_SUCCESS, "%s", rule->name);
    return CLATTN_OK;
}

clattn_status clattn__check_buffer(clattn_context *ctx, const struct clattn__buffer_rule *rule)
{
    size_t bytes = 0;
    cl_mem_flags flags = 0;
    if (!rule->mem) {
        if (rule->last == 0)
            return CLATTN_OK; /* an empty tensor needs no buffer */
        return clattn__fail(ctx, CLATTN_NULL_BUFFER, CL_SUCCESS, "io.%s", rule->name);
    }
    clattn_status status = check_kind(ctx, rule);
    if (status)
        return status;
    cl_int code = clGetMemObjectInfo(rule->mem, CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    if (code == CL_SUCCESS)
        code = clGetMemObjectInfo(rule->mem, CL_MEM_FLAGS, sizeof flags, &flags, NULL);
    if (code != CL_SUCCESS)
        return clattn__fail_cl(ctx, "clGetMemObjectInfo", code);
    if ((uint64_t)bytes < (uint64_t)rule->last)
        return clattn__fail(ctx, rule->too_small, CL_SUCCESS, "%s has %zu bytes and needs %lld", rule->name,
                            bytes, (long long)rule->last);
    if (rule->output && flags & CL_MEM_READ_ONLY)
        return clattn__fail(ctx, CLATTN_BUFFER_READ_ONLY, CL_SUCCESS, "%s", rule->name);
    return CLATTN_OK;
}

/* The memory object under a sub-buffer, and where it begins in it. */
static cl_mem root_buffer(cl_mem mem, size_t *origin)
{
    cl_mem root = NULL;
    *origin = 0;
    if (clGetMemObjectInfo(mem, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof root, &root, NULL) != CL_SUCCESS || !root)
        return mem;
    if (clGetMemObjectInfo(mem, CL_MEM_OFFSET, sizeof *origin, origin, NULL) != CL_SUCCESS)
        *origin = 0;
    return root;
}

static bool share_memory(const struct clattn__buffer_rule *a, const struct clattn__buffer_rule *b)
{
    size_t a0, b0;
    if (!a->mem || !b->mem || a->first >= a->last || b->first >= b->last)
        return false;
    if (root_buffer(a->mem, &a0) != root_buffer(b->mem, &b0))
        return false;
    return a0 + (size_t)a->first < b0 + (size_t)b->last && b0 + (size_t)b->first < a0 + (size_t)a->last;
}

clattn_status clattn__check_aliases(clattn_context *ctx, const struct clattn__buffer_rule *rules,
                                    size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; rules[i].output && j < count; j++)
            if (i != j && share_memory(&rules[i], &rules[j]))
                return clattn__fail(ctx, CLATTN_OUTPUT_ALIASES_INPUT, CL_SUCCESS, "%s and %s share bytes",
                                    rules[i].name, rules[j].name);
    return CLATTN_OK;
}

static clattn_status check_queue(clattn_context *ctx, cl_command_queue queue)
{
    cl_context context = NULL;
    cl_device_id device = NULL;
    if (!queue)
        return clattn__fail(ctx, CLATTN_NULL_QUEUE, CL_SUCCESS, "queue");
    cl_int code = clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL);
    if (code == CL_SUCCESS)
        code = clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL);
    if (code != CL_SUCCESS)
        return clattn__fail_cl(ctx, "clGetCommandQueueInfo", code);
    if (context != ctx->cl || device != ctx->device)
        return clattn__fail(ctx, CLATTN_WRONG_QUEUE, CL_SUCCESS, "its %s differs",
                            context != ctx->cl ? "context" : "device");
    return CLATTN_OK;
}

static clattn_status check_wait(clattn_context *ctx, struct clattn__wait wait)
{
    if ((wait.count > 0) != (wait.events != NULL))
        return clattn__fail(ctx, CLATTN_BAD_WAIT_LIST, CL_SUCCESS, "n_wait is %u and wait is %s",
                            (unsigned)wait.count, wait.events ? "not NULL" : "NULL");
    for (cl_uint i = 0; i < wait.count; i++) {
        cl_context context = NULL;
        cl_int state = 0;
        if (!wait.events[i])
            return clattn__fail(ctx, CLATTN_BAD_WAIT_LIST, CL_SUCCESS, "wait[%u] is NULL", (unsigned)i);
        cl_int code = clGetEventInfo(wait.events[i], CL_EVENT_CONTEXT, sizeof context, &context, NULL);
        if (code == CL_SUCCESS)
            code =
                clGetEventInfo(wait.events[i], CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
        if (code != CL_SUCCESS)
            return clattn__fail_cl(ctx, "clGetEventInfo", code);
        if (context != ctx->cl)
            return clattn__fail(ctx, CLATTN_WRONG_CONTEXT, CL_SUCCESS, "wait[%u]", (unsigned)i);
        if (state < 0)
            return clattn__fail(ctx, CLATTN_DEPENDENCY_FAILED, state, "wait[%u] ended with %d", (unsigned)i,
                                (int)state);
    }
    return CLATTN_OK;
}

clattn_status clattn__check_place(clattn_context *ctx, const char *name, int64_t offset, int64_t bytes,
                                  int64_t *last)
{
    if (offset >= 0 && offset % 4 == 0 && clattn__add(offset, bytes, last))
        return CLATTN_OK;
    return clattn__fail(ctx, CLATTN_BAD_OFFSET, CL_SUCCESS,
                        "%s_offset is %lld; it must be a multiple of 4, 0 or more", name, (long long)offset);
}

clattn_status clattn__check_workspace(clattn_context *ctx, cl_mem workspace, int64_t offset, int64_t bytes,
                                      int64_t *last)
{
    if (!workspace)
        return clattn__fail(ctx, CLATTN_WORKSPACE_MISSING, CL_SUCCESS, "io.workspace of %lld bytes",
                            (long long)bytes);
    return clattn__check_place(ctx, "workspace", offset, bytes, last);
}

clattn_status clattn__check_order(clattn_context *ctx, cl_command_queue queue, struct clattn__wait wait)
{
    clattn_status status = check_queue(ctx, queue);
    return status ? status : check_wait(ctx, wait);
}

clattn_status clattn__check_call(clattn_context *ctx, const void *io, const char *type, size_t size,
                                 cl_command_queue queue, struct clattn__wait wait)
{
    if (!io)
        return clattn__fail(ctx, CLATTN_NULL_ARGUMENT, CL_SUCCESS, "io");
    const size_t given = *(const size_t *)io; /* every such struct begins with it */
    if (given != size)
        return clattn__fail(ctx, CLATTN_BAD_STRUCT_SIZE, CL_SUCCESS, "%s.size is %zu, this library's is %zu",
                            type, given, size);
    return clattn__check_order(ctx, queue, wait);
}
