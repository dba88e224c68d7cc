/* SPDX-License-Identifier: MIT
 * portable.c - the engine for every OpenCL 1.2 device: right everywhere, and what the others are tested
 * against. */
#include "engine/engine.h"

#include <stdio.h>

#define CHUNK 32                 /* columns staged at a time: cl/attention/forward_portable.cl */
#define MAX_PRIVATE_OUTPUTS 72   /* output elements that an item keeps */

static bool fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    const char *why = NULL;
    if (!facts->has_compiler)
        why = "the device has no compiler";
    else if (facts->largest_group < 1 || facts->local_bytes < 2048)
        why = "it needs 2 KiB of local memory";
    snprintf(reason, size, "%s", why ? why : "any OpenCL 1.2 device with a compiler");
    return !why;
}

static int64_t local_bytes(int64_t bq, int64_t bk)
{
    int64_t row_stride = (bq + 3) / 4 * 4 + 4;
    return 4 * (CHUNK * (row_stride + bk + 1) + bk * row_stride + 3 * bq);
}

/* The tile that a setting asks for, with the choice's numbers where it is silent; false: the device does not
 * hold it. */
static bool set_tile(const clattn_device_facts *facts, const struct clattn__task *task,
                     struct clattn__spec *spec)
{
    const struct clattn__setting *set = &task->setting;
    if (CLATTN__KNOB(set, rows))
        spec->BQ = CLATTN__KNOB(set, rows);
    if (CLATTN__KNOB(set, keys))
        spec->BK = CLATTN__KNOB(set, keys);
    if (CLATTN__KNOB(set, items))
        spec->GROUP = CLATTN__KNOB(set, items);
    return (uint64_t)spec->GROUP <= facts->largest_group &&
           local_bytes(spec->BQ, spec->BK) <= (int64_t)facts->local_bytes &&
           spec->BQ * clattn__ceil_div(task->dim_v, spec->GROUP) <= MAX_PRIVATE_OUTPUTS;
}

/* The largest tile whose local memory and private outputs the device holds. */
static bool choose_tile(const clattn_device_facts *facts, int32_t dim_v, struct clattn__spec *spec)
{
    int64_t items = facts->largest_group < 64 ? (int64_t)facts->largest_group : 64;
    int64_t columns = (dim_v + items - 1) / items;
    int64_t bq = 32, bk = 32;
    while (bq > 1 && bq * columns > MAX_PRIVATE_OUTPUTS)
        bq /= 2;
    while (local_bytes(bq, bk) > (int64_t)facts->local_bytes && (bq > 1 || bk > 1)) {
        if (bk > bq)
            bk /= 2;
        else
            bq /= 2;
    }
    spec->BQ = (int32_t)bq;
    spec->BK = (int32_t)bk;
    spec->GROUP = (int32_t)items;
    spec->NQ = spec->MK = spec->MD = spec->NT = 1;
    return local_bytes(bq, bk) <= (int64_t)facts->local_bytes;
}

static bool launch(const clattn_device_facts *facts, const struct clattn__task *task,
                   struct clattn__launch *launch, char *reason, size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    launch->kernel_text = "forward_portable";
    if (!choose_tile(facts, task->dim_v, spec)) {
        snprintf(reason, size, "no tile fits %llu bytes of local memory",
                 (unsigned long long)facts->local_bytes);
        return false;
    }
    if (!clattn__setting_is_empty(&task->setting) && !set_tile(facts, task, spec)) {
        snprintf(reason, size, "the device does not hold that tile");
        return false;
    }
    int64_t group = task->heads / task->kv_heads; /* query heads that share keys, packed if all fit a tile */
    int32_t pack = group > 1 && task->q_len * group <= spec->BQ ? (int32_t)group : 1;
    while (spec->BQ > 1 && spec->BQ / 2 >= task->q_len * pack)
        spec->BQ /= 2; /* no empty rows */
    clattn__launch_geometry(task, pack, spec->BK, 8 * (int64_t)facts->compute_units, launch);
    CLATTN__KNOB(&launch->setting, rows) = spec->BQ;
    CLATTN__KNOB(&launch->setting, keys) = spec->BK;
    CLATTN__KNOB(&launch->setting, items) = spec->GROUP;
    return true;
}

const struct clattn__engine clattn__engine_portable = {.name = "portable", .fits = fits, .launch = launch};
