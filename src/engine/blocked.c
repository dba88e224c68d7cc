/* SPDX-License-Identifier: MIT
 * blocked.c - the engines for GPUs in plain OpenCL C: register tiles fed from local memory.
 *
 * Loads of local memory bound them, and shapes are measured (doc/performance-nvidia.md): an item that makes 8
 * x 16 numbers at a time needs six 128-bit loads for 128 multiply-adds, one of 8 x 8 four for 64.  The former
 * wants more local memory than OpenCL grants on NVIDIA. */
#include "engine/engine.h"
#include "door.clh"

#include <stdio.h>

#define ROWS 8        /* of an item */
#define RESERVED 1024 /* bytes of a unit's local memory that the hardware takes for each group */
#define SHARED 16     /* bytes of local memory beside the places and the weights */
/* of a group of the large tile */
#define LARGE_BYTES (4 * (2 * 8 * (128 + 128 + 8) + 128 * (128 + 4)) + SHARED + RESERVED)

/* Rows of a group, keys of a block, items beside each other, columns of a chunk. */
struct shape {
    int32_t rows, keys, across, chunk;
};

/* Fill in what follows from a shape; the bytes of local memory are as the kernel's head says. */
static int64_t take_shape(const struct shape *shape, const struct clattn__task *task,
                          struct clattn__spec *spec)
{
    const int64_t down = shape->rows / ROWS;
    spec->NQ = ROWS;
    spec->MK = shape->keys / shape->across;
    spec->MD = 4 * (int32_t)clattn__ceil_div(task->dim_v, 4 * shape->across);
    spec->BQ = shape->rows;
    spec->BK = shape->keys;
    spec->NT = shape->chunk;
    spec->GROUP = shape->across * (int32_t)down;
    const int64_t columns = (shape->rows + shape->keys + 8) * shape->chunk,
                  values = down * shape->across * spec->MD;
    return 4 * (2 * (columns > values ? columns : values) + shape->keys * (shape->rows + 4));
}

static const char *refuse_device(const clattn_device_facts *facts)
{
    return !facts->has_compiler ? "the device has no compiler"
           : (facts->type & CL_DEVICE_TYPE_CPU) && facts->slow_wide_vectors
               ? "this driver needs too long to compile it for a CPU"
           : facts->largest_group < 64 || facts->local_bytes < 16384
               ? "it needs groups of 64 items and 16 KiB of local memory"
               : NULL;
}

static const char *refuse_task(const struct clattn__task *task)
{
    return task->dim > 256 || task->dim_v > 256 ? "head sizes above 256 do not fit the registers" : NULL;
}

static bool answer(const char *why, char *reason, size_t size)
{
    snprintf(reason, size, "%s", why);
    return false;
}

static void finish(const clattn_device_facts *facts, const struct clattn__task *task, int32_t pack,
                   struct clattn__launch *launch)
{
    struct clattn__spec *spec = &launch->spec;
    launch->kernel_text = "forward_blocked";
    spec->UNROLLED = (facts->type & CL_DEVICE_TYPE_GPU) != 0; /* elsewhere it would only cost compile time */
    spec->ALIGNED = task->aligned && task->dim % 4 == 0 && task->dim_v % 4 == 0;
    clattn__launch_geometry(task, pack, spec->BK, 4 * (int64_t)facts->compute_units, launch);
    if (facts->type & CL_DEVICE_TYPE_GPU)
        clattn__launch_sections(task, launch);
}

/* Query heads share keys while a tile holds them all. */
static int32_t packed_heads(const struct clattn__task *task)
{
    const int64_t heads = task->heads / task->kv_heads;
    return task->q_len * heads <= 64 ? (int32_t)heads : 1;
}

/* ---- within what OpenCL grants ---- */
static bool fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    const char *why = refuse_device(facts);
    answer(why ? why : "a device with groups of 64 items and 16 KiB of local memory", reason, size);
    return !why;
}

/* Whether a shape fits registers and local memory; spec is filled in then. */
static bool holds(const clattn_device_facts *facts, const struct clattn__task *task,
                  const struct shape *shape, struct clattn__spec *spec)
{
    const int64_t bytes = take_shape(shape, task, spec);
    const bool many = shape->keys == 128 && (shape->rows < 64 || spec->MD > 8);
    spec->LOCAL = (int32_t)bytes;
    return !many && spec->MD <= 16 && bytes + SHARED <= (int64_t)facts->local_bytes;
}

/* What a setting says in the place of the choice; an item keeps its columns of keys where the items are not
 * set. */
static struct shape set_shape(const struct clattn__setting *set, struct shape shape)
{
    if (CLATTN__KNOB(set, rows))
        shape.rows = CLATTN__KNOB(set, rows);
    if (CLATTN__KNOB(set, keys))
        shape.keys = CLATTN__KNOB(set, keys);
    if (CLATTN__KNOB(set, chunk))
        shape.chunk = CLATTN__KNOB(set, chunk);
    if (CLATTN__KNOB(set, items))
        shape.across = CLATTN__KNOB(set, items) * ROWS / shape.rows;
    return shape;
}

/* What the kernel's head asks for; the rest is holds. */
static bool is_legal(const clattn_device_facts *facts, const struct shape *shape)
{
    const int32_t keys = shape->across > 0 ? shape->keys / shape->across : 0;
    return (shape->across == 8 || shape->across == 16) && keys % 4 == 0 && keys >= 4 && keys <= 16 &&
           (uint64_t)(shape->across * shape->rows / ROWS) <= facts->largest_group;
}

static void note_setting(const struct clattn__spec *spec, struct clattn__setting *setting)
{
    CLATTN__KNOB(setting, rows) = spec->BQ;
    CLATTN__KNOB(setting, keys) = spec->BK;
    CLATTN__KNOB(setting, chunk) = spec->NT;
    CLATTN__KNOB(setting, items) = spec->GROUP;
}

static bool launch(const clattn_device_facts *facts, const struct clattn__task *task,
                   struct clattn__launch *launch, char *reason, size_t size)
{
    const int32_t pack = packed_heads(task), across = task->dim_v <= 64 ? 8 : 16;
    const char *why = refuse_task(task);
    struct shape shapes[] = {
        {64, 128, across, 8}, {64, 64, across, 16}, {64, 64, across, 8}, {32, 64, across, 8}, {32, 32, 8, 8}};
    size_t i = 0;
    for (; !why && i < CLATTN__LEN(shapes); i++) {
        if (task->q_len * pack <= 32 || facts->largest_group < 128)
            shapes[i].rows = 32;
        if (holds(facts, task, &shapes[i], &launch->spec))
            break;
    }
    if (!why && i == CLATTN__LEN(shapes))
        why = "no tile fits its local memory";
    if (!why && !clattn__setting_is_empty(&task->setting)) {
        const struct shape shape = set_shape(&task->setting, shapes[i]);
        if (!is_legal(facts, &shape) || !holds(facts, task, &shape, &launch->spec))
            why = "the device or the kernel does not hold that tile";
    }
    if (why)
        return answer(why, reason, size);
    finish(facts, task, pack, launch);
    note_setting(&launch->spec, &launch->setting);
    return true;
}

const struct clattn__engine clattn__engine_blocked = {
    .name = "blocked", .may_fail = true, .test_blocks = 5, .fits = fits, .launch = launch,
};

/* ---- 8 x 16 scores and outputs of an item ----
 * Two groups share the local memory of a compute unit.  Where OpenCL grants less to one, the editor of
 * assembly takes it. */
static const struct shape large_shape = {128, 128, 8, 8};

static int64_t unit_bytes(const clattn_device_facts *facts)
{
    return (int64_t)(facts->unit_local_bytes > facts->local_bytes ? facts->unit_local_bytes : facts->local_bytes);
}

/* Whether all units have work; if not, smaller tiles serve better. */
static bool fills(const clattn_device_facts *facts, const struct clattn__task *task)
{
    const int64_t tiles = task->batch * task->heads * clattn__ceil_div(task->q_len, large_shape.rows);
    return task->q_len > 64 && tiles > (int64_t)facts->compute_units;
}

static bool large_fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    const char *why = refuse_device(facts);
    if (!why && (facts->largest_group < 128 || unit_bytes(facts) < 2 * LARGE_BYTES))
        why = "it needs groups of 128 items and 168 KiB of local memory in a compute unit";
    answer(why ? why : "a device with groups of 128 items and 168 KiB of local memory in a compute unit",
           reason, size);
    return !why;
}

static bool large_launch(const clattn_device_facts *facts, const struct clattn__task *task,
                         struct clattn__launch *launch, char *reason, size_t size)
{
    const int64_t bytes = take_shape(&large_shape, task, &launch->spec);
    const char *why = refuse_task(task);
    if (!why && launch->spec.MD > 16)
        why = "more than 128 columns of values do not fit its registers";
    if (!why && bytes + SHARED + RESERVED > LARGE_BYTES)
        why = "no tile fits its local memory";
    if (!why && !task->named && !fills(facts, task))
        why = "its tiles would leave compute units without work";
    if (why)
        return answer(why, reason, size);
    launch->spec.LOCAL = (int32_t)bytes;
    if (bytes + SHARED > (int64_t)facts->local_bytes) {
        launch->spec.LOCAL = DOOR_BYTES;
        launch->rewrite = clattn__ptx_edit;
        launch->wish = (struct clattn__ptx_wish){.group = launch->spec.GROUP, .local_bytes = (int32_t)bytes};
    }
    finish(facts, task, 1, launch);
    return true;
}

const struct clattn__engine clattn__engine_blocked_large = {
    .name = "blocked-large", .may_fail = true, .test_blocks = 5, .fits = large_fits, .launch = large_launch,
};
