/* SPDX-License-Identifier: MIT
 * tables.c - the tables of minima and maxima that masks with arrays are classified by: laid out, built,
 * enqueued. */
#include "attention/attention.h"

#include <string.h>

/* Blocks of an array's table: dims[0] * dims[1] * ceil(dims[2] / rows) * ceil(dims[3] / columns). */
static int64_t block_count(const struct tables_args *args)
{
    return (int64_t)args->dims[0] * args->dims[1] * clattn__ceil_div(args->dims[2], args->rows) *
           clattn__ceil_div(args->dims[3], args->columns);
}

static void fill_args(struct tables_args *args, const clattn_array *array, const struct clattn__table *table)
{
    memset(args, 0, sizeof *args);
    for (int d = 0; d < CLATTN_MAX_DIMS; d++) {
        int from = d - (CLATTN_MAX_DIMS - array->n_dims);
        args->dims[d] = from < 0 ? 1 : (cl_int)array->dims[from];
    }
    args->rows = table->rows;
    args->columns = table->columns;
    args->counters_at = -1;
}

void clattn__tables_fill(struct clattn__tables *tables, const struct clattn__problem *problem, int64_t first,
                         struct forward_args *args)
{
    tables->count = 0;
    tables->first = first;
    tables->ints = 0;
    for (int i = 0; i < problem->a.n_arrays; i++) {
        struct clattn__table table = clattn__expr_table(problem->rules, i);
        if (!table.needed)
            continue;
        struct tables_args *of = &tables->args[tables->count];
        fill_args(of, &problem->a.arrays[i], &table);
        of->at = first + tables->ints;
        args->table_at[i] = of->at;
        tables->blocks[tables->count] = (size_t)block_count(of);
        tables->ints += 2 * block_count(of);
        tables->array[tables->count++] = i;
    }
}

/* Work-items that share a block, and those of a group, as the kernel says too.  Where none are said PoCL chooses
 * another size for each number of blocks, and compiles the kernel for it, in an enqueue. */
static size_t items_of_block(const clattn_context *ctx)
{
    return ctx->facts.type & CL_DEVICE_TYPE_CPU || ctx->facts.largest_group < 32 ? 1 : 32;
}

static size_t group_items(const clattn_context *ctx)
{
    const size_t share = items_of_block(ctx);
    return share > 1 && ctx->facts.largest_group >= 2 * share ? 2 * share : share;
}

void clattn__tables_counters(struct clattn__tables *tables, int64_t at)
{
    if (tables->count)
        tables->args[0].counters_at = at;
}

clattn_status clattn__tables_build(clattn_context *ctx, const struct clattn__problem *problem,
                                   struct clattn__tables *tables)
{
    clattn_status status = CLATTN_OK;
    for (int i = 0; !status && i < tables->count; i++) {
        char options[100];
        const size_t share = items_of_block(ctx);
        struct clattn__text text = clattn__text_into(options, sizeof options);
        clattn__text_add(&text, "-DELEMENT=%d -DLANES=%d -DGROUP=%d -DSHARE=%d",
                         (int)problem->a.arrays[tables->array[i]].type,
                         share > 1 || ctx->facts.slow_wide_vectors ? 1 : 16, (int)group_items(ctx), (int)share);
        const struct clattn__program_request request = {.name = "tables", .options = options,
                                                        .kernel = "tables"};
        status = clattn__kernel_build(ctx, &request, &tables->kernel[i]);
    }
    return status;
}

void clattn__tables_free(struct clattn__tables *tables)
{
    for (int i = 0; i < tables->count; i++)
        clattn__kernel_free(&tables->kernel[i]);
}

static cl_int launch_one(const clattn_context *ctx, const struct clattn__tables *tables, int i,
                         cl_command_queue queue, cl_mem array, cl_mem workspace, int64_t shift,
                         struct clattn__wait wait, cl_event *event)
{
    cl_kernel kernel = tables->kernel[i].kernel;
    struct tables_args args = tables->args[i];
    args.at += shift;
    args.counters_at += args.counters_at < 0 ? 0 : shift;
    struct clattn__setter s = {kernel, 0, CL_SUCCESS};
    clattn__set_buffer(&s, array);
    clattn__set_buffer(&s, workspace);
    clattn__set(&s, sizeof args, &args);
    if (s.code != CL_SUCCESS)
        return s.code;
    /* items past the last block leave at once */
    const size_t local = group_items(ctx), items = tables->blocks[i] * items_of_block(ctx),
                 global = (items + local - 1) / local * local;
    return clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, &local, wait.count,
                                  wait.count ? wait.events : NULL, event);
}

cl_int clattn__launch_tables(const clattn_context *ctx, const struct clattn__tables *tables,
                             cl_command_queue queue, const cl_mem *arrays, cl_mem workspace, int64_t shift,
                             struct clattn__wait wait, cl_event *last)
{
    cl_event before = NULL;
    cl_int code = CL_SUCCESS;
    /* one after the other: the last one's event is all's */
    for (int i = 0; code == CL_SUCCESS && i < tables->count; i++) {
        cl_event done = NULL;
        code = launch_one(ctx, tables, i, queue, arrays[tables->array[i]], workspace, shift,
                          before ? (struct clattn__wait){1, &before} : wait, &done);
        if (code != CL_SUCCESS)
            break;
        if (before)
            clReleaseEvent(before);
        before = done;
    }
    *last = before; /* also after a failure: what was enqueued still writes the workspace */
    return code;
}
