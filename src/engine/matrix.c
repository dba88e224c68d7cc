/* SPDX-License-Identifier: MIT
 * matrix.c - the engine for matrix units: products of whole tiles by a group of items; two rows of the table of engines, since its loop
 * nest also runs with a tile of plain OpenCL C, which is there to test it. */
#include "engine/engine.h"

#include <stdio.h>

#define GAP 8 /* elements between rows in local memory, against conflicts of banks */

static int64_t round_up(int64_t n, int64_t to)
{
    return clattn__ceil_div(n, to) * to;
}

/* Local memory of a group, in elements: two blocks of keys and of values; before them, in the same place, the queries. */
static int64_t memory(const struct clattn__spec *spec, int64_t key_pitch, int64_t value_pitch)
{
    int64_t blocks = 2 * spec->BK * (key_pitch + value_pitch), queries = spec->BQ * key_pitch;
    return blocks > queries ? blocks : queries;
}

#define SHARED 64 /* bytes beside the blocks */

static bool choose_block(const clattn_device_facts *facts, struct clattn__spec *spec, int64_t key_pitch, int64_t value_pitch,
                         int64_t bytes)
{
    while (spec->BK > 16 && memory(spec, key_pitch, value_pitch) * bytes + SHARED > (int64_t)facts->local_bytes)
        spec->BK /= 2;
    return memory(spec, key_pitch, value_pitch) * bytes + SHARED <= (int64_t)facts->local_bytes;
}

static void finish(const clattn_device_facts *facts, const struct clattn__task *task, struct clattn__launch *launch)
{
    struct clattn__spec *spec = &launch->spec;
    int64_t group = task->heads / task->kv_heads;
    launch->kernel_text = "forward_matrix";
    spec->NQ = spec->MK = spec->MD = spec->NT = spec->DOT = 1;
    int32_t pack = group > 1 && task->q_len * group <= spec->BQ ? (int32_t)group : 1;
    clattn__launch_geometry(task, pack, spec->BK, 2 * (int64_t)facts->compute_units, launch);
}

/* ---- matrix ---- */
static bool matrix_fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    bool fits = facts->matrix_unit == CLATTN_MATRIX_MMA && facts->has_compiler;
    snprintf(reason, size, "%s", fits ? "a GPU with mma.sync" : "no matrix unit that clattn knows");
    return fits;
}

static const char *why_not(const struct clattn__task *task)
{
    int32_t type = task->type_q;
    if ((type != CLATTN_F16 && type != CLATTN_BF16) || task->type_k != type || task->type_v != type || task->type_o != type)
        return "its tile takes f16 or bf16 throughout";
    if (!task->softmax)
        return "its tile takes the weights of a softmax";
    if (!(task->scale > 1e-10 && task->scale < 1e6))
        return "its tile takes scales from 1e-10 to 1e6";
    if (task->dim > 256 || task->dim_v > 256)
        return "head sizes above 256 do not fit the registers";
    return NULL;
}

static bool matrix_launch(const clattn_device_facts *facts, const struct clattn__task *task, struct clattn__launch *launch, char *reason,
                          size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    const char *why = why_not(task);
    int64_t key_pitch = round_up(task->dim, 16) + GAP, value_pitch = round_up(task->dim_v, 16) + GAP;
    spec->MATRIX = facts->matrix_unit;
    spec->GROUP = 128;
    spec->BQ = task->q_len > 64 && task->dim <= 128 && task->dim_v <= 128 ? 128 : 64; /* of 255 registers, 252 at 128 */
    spec->BK = task->dim <= 64 && task->dim_v <= 64 ? 64 : 32;
    spec->ALIGNED = task->aligned && task->dim % 8 == 0 && task->dim_v % 8 == 0;
    if (!why && !choose_block(facts, spec, key_pitch, value_pitch, 2))
        why = "no tile fits its local memory";
    if (why) {
        snprintf(reason, size, "%s", why);
        return false;
    }
    finish(facts, task, launch);
    return true;
}

const struct clattn__engine clattn__engine_matrix = {
    .name = "matrix", .may_fail = true, .fits = matrix_fits, .launch = matrix_launch,
};

/* ---- generic: the same loop nest, chosen by name alone ---- */
static bool generic_fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    bool fits = facts->has_compiler;
    snprintf(reason, size, "%s", fits ? "taken by name alone: the matrix engine's loops with plain products, to test them" :
                                        "the device has no compiler");
    return fits;
}

static bool generic_launch(const clattn_device_facts *facts, const struct clattn__task *task, struct clattn__launch *launch, char *reason,
                           size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    bool alike = task->type_q == task->type_k && task->type_k == task->type_v && (task->type_k == CLATTN_F32 || task->type_o == task->type_k);
    bool usual = task->softmax && task->scale > 1e-10 && task->scale < 1e6;
    spec->MATRIX = CLATTN_MATRIX_NONE;
    spec->GROUP = facts->largest_group < 8 ? 1 : 8;
    spec->BQ = 2 * spec->GROUP;
    spec->BK = 32;
    bool fits = choose_block(facts, spec, task->dim + GAP, task->dim_v + GAP, task->type_k == CLATTN_F32 ? 4 : 2);
    if (!alike || !usual || !fits) {
        snprintf(reason, size, "%s", !alike ? "one storage is wanted, or f32 inputs" : !usual ? "a softmax of usual scale is wanted" :
                                     "no tile fits its local memory");
        return false;
    }
    finish(facts, task, launch);
    return true;
}

const struct clattn__engine clattn__engine_generic = {
    .name = "matrix-generic", .by_name = true, .fits = generic_fits, .launch = generic_launch,
};
