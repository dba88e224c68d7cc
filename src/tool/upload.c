/* SPDX-License-Identifier: MIT
 * upload.c - a workload's tensors in buffers of a device. */
#include "tool/upload.h"

static cl_mem upload(struct upload *u, clattn_context *ctx, const void *data, size_t bytes,
                     clattn_status *status)
{
    cl_int code;
    if (*status || bytes == 0 || !data)
        return NULL;
    cl_mem mem = clCreateBuffer(clattn_context_cl(ctx), CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, bytes,
                                (void *)(uintptr_t)data, &code);
    if (code != CL_SUCCESS) {
        *status = CLATTN_OUT_OF_DEVICE_MEMORY;
        return NULL;
    }
    return u->mems[u->n_mems++] = mem;
}

static size_t tensor_bytes(int64_t count, int32_t type)
{
    return (size_t)count * (size_t)workload_type_bytes(type);
}

static size_t list_bytes(const clattn_list *list)
{
    uint64_t bytes;
    return clattn_list_bytes(list, &bytes) ? 0 : (size_t)bytes;
}

clattn_status upload_workload(struct upload *u, clattn_context *ctx, const struct workload *w)
{
    static const uint32_t zero[4];
    const clattn_attention *a = &w->problem;
    const size_t lengths = (size_t)a->batch * sizeof(int32_t);
    clattn_status status = CLATTN_OK;
    *u = (struct upload){.io = CLATTN_IO_INIT};
    u->io.q = upload(u, ctx, w->q, tensor_bytes(w->q_count, a->type_q), &status);
    u->io.k = upload(u, ctx, w->k, tensor_bytes(w->k_count, a->type_k), &status);
    u->io.v = upload(u, ctx, w->v, tensor_bytes(w->v_count, a->type_v), &status);
    u->io.o = upload(u, ctx, w->o, tensor_bytes(w->o_count, a->type_o), &status);
    if (a->flags & CLATTN_WANT_LSE)
        u->io.lse = upload(u, ctx, w->lse, (size_t)w->lse_count * 4, &status);
    u->io.q_offsets = upload(u, ctx, w->q_offsets, lengths + sizeof(int32_t), &status);
    u->io.k_offsets = upload(u, ctx, w->k_offsets, lengths + sizeof(int32_t), &status);
    u->io.key_lengths = upload(u, ctx, w->key_lengths, lengths, &status);
    for (int i = 0; i < a->n_arrays; i++)
        u->io.arrays[i] = upload(u, ctx, w->arrays[i], (size_t)workload_array_bytes(&a->arrays[i]), &status);
    if (w->list)
        u->io.list = upload(u, ctx, w->list, list_bytes(&a->list), &status);
    if (a->flags & CLATTN_COUNT_TILES)
        u->io.counters = upload(u, ctx, zero, sizeof zero, &status);
    return status;
}

void upload_release(struct upload *u)
{
    for (int i = 0; i < u->n_mems; i++)
        clReleaseMemObject(u->mems[i]);
    u->n_mems = 0;
}
