/* SPDX-License-Identifier: MIT
 * extended.c - attention over the lists of a workload whose queries and keys are stored without rotation. */
#include "tool/extended.h"

#include <math.h>

/* Of the same selection, lists, and angles as those of the selection's tables. */
static struct ref_extend reference_of(const struct selection *x)
{
    const clattn_select *s = &x->s;
    const clattn_list *l = &x->list;
    return (struct ref_extend){.rule = s->extend,
                               .sink = s->sink,
                               .window = s->window,
                               .dense_below = s->dense_below,
                               .share = s->extend_share,
                               .length = s->extend_length,
                               .base = 10000,
                               .list = {x->w->list + l->counts_at / 4, x->w->list + l->ids_at / 4, l->scopes,
                                        l->q_blocks, l->capacity, l->block_q, l->block_k,
                                        x->dense.problem.heads / l->scopes}};
}

static cl_mem buffer(clattn_context *ctx, const void *data, int64_t bytes, cl_int *code)
{
    if (*code != CL_SUCCESS || !data)
        return NULL;
    return clCreateBuffer(clattn_context_cl(ctx), CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                          (size_t)(bytes > 4 ? bytes : 4), (void *)(uintptr_t)data, code);
}

cl_int open_extended_io(const struct selection *x, clattn_extend_io *io)
{
    static const clattn_extend_io init = CLATTN_EXTEND_IO_INIT;
    clattn_context *ctx = x->ctx;
    const struct workload *w = x->w;
    const clattn_attention *a = &x->dense.problem;
    const int64_t table = x->s.rope_positions * (a->dim / 2) * 4;
    cl_int code = CL_SUCCESS;
    *io = init;
    io->q = buffer(ctx, w->q, w->q_count * workload_type_bytes(a->type_q), &code);
    io->k = buffer(ctx, w->k, w->k_count * workload_type_bytes(a->type_k), &code);
    io->v = buffer(ctx, w->v, w->v_count * workload_type_bytes(a->type_v), &code);
    io->o = buffer(ctx, w->o, w->o_count * workload_type_bytes(a->type_o), &code);
    io->lse = a->flags & CLATTN_WANT_LSE ? buffer(ctx, w->lse, w->lse_count * 4, &code) : NULL;
    io->key_lengths = buffer(ctx, w->key_lengths, a->batch * 4, &code);
    io->list = buffer(ctx, w->list, (int64_t)x->list_bytes, &code);
    io->rope_cos = buffer(ctx, x->rope_cos, table, &code);
    io->rope_sin = buffer(ctx, x->rope_sin, table, &code);
    return code;
}

void close_extended_io(clattn_extend_io *io)
{
    cl_mem all[] = {io->q,           io->k,    io->v,        io->o,       io->lse,
                    io->key_lengths, io->list, io->rope_cos, io->rope_sin};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i])
            clReleaseMemObject(all[i]);
}

static cl_int read_back(cl_command_queue queue, cl_mem mem, int64_t bytes, void *to)
{
    return mem && bytes ? clEnqueueReadBuffer(queue, mem, CL_TRUE, 0, (size_t)bytes, to, 0, NULL, NULL)
                        : CL_SUCCESS;
}

static clattn_status run(const struct selection *x, cl_command_queue queue, const clattn_extend_io *io,
                         long long times, struct extended *e)
{
    clattn_status status = CLATTN_OK;
    for (long long i = 0; !status && i < times; i++) {
        const double begin = now_seconds();
        status = clattn_enqueue_extend(e->plan, queue, io, 0, NULL, NULL);
        if (!status && clFinish(queue) != CL_SUCCESS)
            status = CLATTN_OPENCL_FAILED;
        e->seconds = fmin(e->seconds, now_seconds() - begin);
    }
    if (!status && (read_back(queue, io->o, x->w->o_count * workload_type_bytes(x->w->problem.type_o),
                              x->w->o) != CL_SUCCESS ||
                    read_back(queue, io->lse, x->w->lse_count * 4, x->w->lse) != CL_SUCCESS))
        status = CLATTN_OPENCL_FAILED;
    return status;
}

clattn_status run_extended(const struct selection *x, long long times, struct extended *e)
{
    clattn_extend_io io;
    const double begin = now_seconds();
    *e = (struct extended){.reference = reference_of(x), .seconds = INFINITY};
    clattn_status status = clattn_extend_plan_create(&e->plan, x->ctx, &x->s, &x->dense.problem);
    e->plan_seconds = now_seconds() - begin;
    if (status)
        return status;
    cl_int code;
    cl_command_queue queue =
        clCreateCommandQueue(clattn_context_cl(x->ctx), clattn_context_device(x->ctx), 0, &code);
    if (code != CL_SUCCESS)
        return CLATTN_OUT_OF_DEVICE_MEMORY;
    status = open_extended_io(x, &io) == CL_SUCCESS ? run(x, queue, &io, times, e)
                                                    : CLATTN_OUT_OF_DEVICE_MEMORY;
    close_extended_io(&io);
    clReleaseCommandQueue(queue);
    x->w->extend = &e->reference;
    return status;
}

void close_extended(struct extended *e)
{
    clattn_extend_plan_destroy(e->plan);
    e->plan = NULL;
}

int refuse_extended(const clattn_select *select, const char *command)
{
    return select->size && select->extend
               ? mistake("clattn %s has not the word extend", command)
               : 0;
}
