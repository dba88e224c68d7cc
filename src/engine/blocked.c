/* SPDX-License-Identifier: MIT
 * blocked.c - the engine for GPUs in plain OpenCL C: register tiles fed from local memory.
 *
 * Shapes are measured (doc/performance-nvidia.md): 64 scores and outputs an item need two 128-bit loads of local memory for sixteen
 * multiply-adds each; what does not fit local memory takes narrower chunks, then fewer keys. */
#include "engine/engine.h"

#include <stdio.h>

static bool fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    const char *why = NULL;
    if (!facts->has_compiler)
        why = "the device has no compiler";
    else if (facts->largest_group < 64 || facts->local_bytes < 16384)
        why = "it needs groups of 64 items and 16 KiB of local memory";
    snprintf(reason, size, "%s", why ? why : "a device with groups of 64 items and 16 KiB of local memory");
    return !why;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* As the kernel's head says. */
static int64_t local_bytes(const struct clattn__spec *spec)
{
    int64_t across = spec->BK / spec->MK, down = spec->BQ / spec->NQ, part = spec->BK < 64 ? spec->BK : 64;
    int64_t place = larger((spec->BQ + spec->BK) * (spec->NT + 4), down * across * spec->MD);
    return 4 * (2 * place + part * (spec->BQ + 4)) + 16;
}

/* Columns of an item, of `across` beside each other: fours that cover the head. */
static int32_t columns(int32_t dim_v, int32_t across)
{
    return 4 * (int32_t)clattn__ceil_div(dim_v, 4 * across);
}

/* Items beside each other: 16, or 8 where half of their columns would lie past the head's end. */
static int32_t choose_across(int32_t dim_v)
{
    return dim_v <= 32 ? 8 : 16;
}

static bool choose_tile(const clattn_device_facts *facts, const struct clattn__task *task, int64_t rows, struct clattn__spec *spec)
{
    static const struct {
        int32_t keys, chunk;
    } shapes[] = {{64, 16}, {64, 8}, {32, 16}, {32, 8}};
    int32_t across = choose_across(task->dim_v);
    spec->NQ = rows <= 16 ? 4 : 8;
    spec->BQ = rows <= 16 ? 16 : rows <= 32 || facts->largest_group < 128 ? 32 : 64;
    spec->MD = columns(task->dim_v, across);
    spec->GROUP = across * (spec->BQ / spec->NQ);
    for (size_t i = 0; i < CLATTN__LEN(shapes); i++) {
        spec->BK = shapes[i].keys;
        spec->MK = spec->BK / across;
        spec->NT = shapes[i].chunk;
        if (local_bytes(spec) <= (int64_t)facts->local_bytes)
            return true;
    }
    return false;
}

static bool launch(const clattn_device_facts *facts, const struct clattn__task *task, struct clattn__launch *launch, char *reason,
                   size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    int64_t heads = task->heads / task->kv_heads;
    int32_t pack = task->q_len * heads <= 64 ? (int32_t)heads : 1;
    const char *why = NULL;
    launch->kernel_text = "forward_blocked";
    if (task->dim > 256 || task->dim_v > 256)
        why = "head sizes above 256 do not fit the registers";
    else if (!choose_tile(facts, task, task->q_len * pack, spec))
        why = "no tile fits its local memory";
    if (why) {
        snprintf(reason, size, "%s", why);
        return false;
    }
    spec->UNROLLED = (facts->type & CL_DEVICE_TYPE_GPU) != 0; /* where registers are few, unrolling only costs the compiler's time */
    spec->ALIGNED = task->aligned && task->dim % 4 == 0 && task->dim_v % 4 == 0;
    clattn__launch_geometry(task, pack, spec->BK, 4 * (int64_t)facts->compute_units, launch);
    return true;
}

const struct clattn__engine clattn__engine_blocked = {.name = "blocked", .test_blocks = 5, .fits = fits, .launch = launch};
