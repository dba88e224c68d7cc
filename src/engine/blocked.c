/* SPDX-License-Identifier: MIT
 * blocked.c - the engine for GPUs in plain OpenCL C: register tiles fed from local memory.
 *
 * Shapes are measured (doc/performance-nvidia.md): with 64 scores and 64 outputs an item needs one 128-bit load of local memory for
 * sixteen multiply-adds.  What does not fit local memory takes fewer keys or narrower chunks. */
#include "engine/engine.h"

#include <stdio.h>

#define ROWS 8  /* of an item */
#define PART 64 /* keys whose weights are in local memory at a time */

static bool fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    const char *why = NULL;
    if (!facts->has_compiler)
        why = "the device has no compiler";
    else if ((facts->type & CL_DEVICE_TYPE_CPU) && facts->slow_wide_vectors)
        why = "this driver needs too long to compile it for a CPU";
    else if (facts->largest_group < 64 || facts->local_bytes < 16384)
        why = "it needs groups of 64 items and 16 KiB of local memory";
    snprintf(reason, size, "%s", why ? why : "a device with groups of 64 items and 16 KiB of local memory");
    return !why;
}

/* As the kernel's head says. */
static int64_t local_bytes(const struct clattn__spec *spec)
{
    int64_t across = spec->BK / spec->MK, down = spec->BQ / spec->NQ, weights = spec->BK < PART ? spec->BK : PART;
    int64_t columns = (spec->BQ + spec->BK) * (spec->NT + 4), values = down * across * spec->MD;
    return 4 * (2 * (columns > values ? columns : values) + weights * (spec->BQ + 4)) + 16;
}

/* Sixteen items beside each other, or eight where so they have eight columns each, or fewer; 128 keys where that makes 64 scores. */
static bool choose_tile(const clattn_device_facts *facts, const struct clattn__task *task, int64_t rows, struct clattn__spec *spec)
{
    static const struct {
        int32_t keys, chunk;
    } shapes[] = {{128, 16}, {64, 16}, {64, 8}, {32, 16}, {32, 8}};
    const int32_t across = task->dim_v <= 64 ? 8 : 16;
    spec->NQ = ROWS;
    spec->MD = 4 * (int32_t)clattn__ceil_div(task->dim_v, 4 * across);
    spec->BQ = rows <= 32 || facts->largest_group < 128 ? 32 : 64;
    spec->GROUP = across * (spec->BQ / spec->NQ);
    for (size_t i = 0; i < CLATTN__LEN(shapes); i++) {
        spec->BK = shapes[i].keys;
        spec->MK = spec->BK / across;
        spec->NT = shapes[i].chunk;
        bool few_registers = spec->BK < 128 || (spec->MK <= 8 && spec->MD <= 8 && spec->BQ == 64);
        if (few_registers && local_bytes(spec) <= (int64_t)facts->local_bytes)
            return true;
    }
    return false;
}

static bool launch(const clattn_device_facts *facts, const struct clattn__task *task, struct clattn__launch *launch, char *reason,
                   size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    int64_t heads = task->heads / task->kv_heads;
    int32_t pack = task->q_len * heads <= 64 ? (int32_t)heads : 1; /* query heads share keys while a tile holds them all */
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
    spec->UNROLLED = (facts->type & CL_DEVICE_TYPE_GPU) != 0; /* elsewhere it would only cost the compiler time */
    spec->ALIGNED = task->aligned && task->dim % 4 == 0 && task->dim_v % 4 == 0;
    clattn__launch_geometry(task, pack, spec->BK, 4 * (int64_t)facts->compute_units, launch);
    return true;
}

const struct clattn__engine clattn__engine_blocked = {
    .name = "blocked", .may_fail = true, .test_blocks = 5, .fits = fits, .launch = launch,
};
