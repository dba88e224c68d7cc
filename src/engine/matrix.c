/* SPDX-License-Identifier: MIT
 * matrix.c - the engines for matrix units, a row of the table of engines for each tile; the plain one is there to test the loops. */
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

/* Rows of a head's tiles, which all query heads of a key head share if their rows fit one tile. */
static int64_t packed_rows(const struct clattn__task *task, int64_t tile)
{
    int64_t group = task->heads / task->kv_heads;
    return task->q_len * group <= tile ? task->q_len * group : task->q_len;
}

/* wanted: groups that run at a time */
static void finish(const struct clattn__task *task, int64_t wanted, struct clattn__launch *launch)
{
    struct clattn__spec *spec = &launch->spec;
    launch->kernel_text = "forward_matrix";
    spec->NQ = spec->MK = spec->MD = spec->NT = spec->DOT = 1;
    int32_t pack = task->q_len > 0 ? (int32_t)(packed_rows(task, spec->BQ) / task->q_len) : 1;
    clattn__launch_geometry(task, pack, spec->BK, wanted, launch);
}

const char *clattn__matrix_refusal(const struct clattn__task *task)
{
    int32_t type = task->type_q;
    if ((type != CLATTN_F16 && type != CLATTN_BF16) || task->type_k != type || task->type_v != type || task->type_o != type)
        return "its tile takes f16 or bf16 throughout";
    if (!task->softmax)
        return "its tile takes the weights of a softmax";
    if (!(task->scale > 1e-10 && task->scale < 1e6))
        return "its tile takes scales from 1e-10 to 1e6";
    return NULL;
}

bool clattn__matrix_is_aligned(const struct clattn__task *task)
{
    return task->aligned && task->dim % 8 == 0 && task->dim_v % 8 == 0;
}

static bool refuse(const char *why, char *reason, size_t size)
{
    snprintf(reason, size, "%s", why);
    return false;
}

/* ---- wgmma: a producer of 128 items, consumers of 64 rows each ---- */
static bool wgmma_fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    bool fits = facts->matrix_unit == CLATTN_MATRIX_WGMMA && facts->has_compiler;
    snprintf(reason, size, "%s", fits ? "a GPU with wgmma" : "no matrix unit with wgmma");
    return fits;
}

/* Three consumers where their registers hold 96 keys; two, of 128; one for few rows. */
static void choose_wgmma_tile(const struct clattn__task *task, struct clattn__spec *spec)
{
    const int64_t rows = packed_rows(task, 128);
    const bool narrow = task->dim <= 64 && task->dim_v <= 64;
    spec->BQ = rows <= 64 ? 64 : rows <= 128 || !narrow ? 128 : 192;
    spec->BK = spec->BQ == 192 ? 96 : 128;
    spec->GROUP = 128 + 2 * spec->BQ;
}

static bool wgmma_launch(const clattn_device_facts *facts, const struct clattn__task *task, struct clattn__launch *launch, char *reason,
                         size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    const int32_t panels = (int32_t)round_up(task->dim, 64) / 64, panels_v = (int32_t)round_up(task->dim_v, 64) / 64;
    const char *why = clattn__matrix_refusal(task);
    if (!why && (task->dim > 128 || task->dim_v > 128))
        why = "its tile takes head sizes to 128";
    if (!why && !clattn__matrix_is_aligned(task))
        why = "its tile takes rows that begin at multiples of 16 bytes";
    if (why)
        return refuse(why, reason, size);
    spec->MATRIX = CLATTN_MATRIX_WGMMA;
    spec->ALIGNED = 1;
    choose_wgmma_tile(task, spec);
    finish(task, (int64_t)facts->compute_units, launch);
    spec->NQ = (int32_t)clattn__ceil_div(task->dim, 16);
    spec->MK = spec->BK / 16;
    spec->MD = (int32_t)clattn__ceil_div(task->dim_v, 16);
    spec->NT = 3;
    launch->kernel_text = "forward_stream";
    launch->rewrite = clattn__ptx_edit;
    launch->wish = (struct clattn__ptx_wish){
        .chip = 90, .group = spec->GROUP, .local_bytes = 128 * (spec->BQ * panels + spec->NT * spec->BK * (panels + panels_v)),
    };
    return true;
}

const struct clattn__engine clattn__engine_wgmma = {
    .name = "matrix-wgmma", .may_fail = true, .test_blocks = 7, .fits = wgmma_fits, .launch = wgmma_launch,
};

/* ---- mma ---- */
static bool mma_fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    bool fits = facts->matrix_unit >= CLATTN_MATRIX_MMA && facts->has_compiler;
    snprintf(reason, size, "%s", fits ? "a GPU with mma.sync" : "no matrix unit that clattn knows");
    return fits;
}

static bool mma_launch(const clattn_device_facts *facts, const struct clattn__task *task, struct clattn__launch *launch, char *reason,
                       size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    const char *why = clattn__matrix_refusal(task);
    int64_t key_pitch = round_up(task->dim, 16) + GAP, value_pitch = round_up(task->dim_v, 16) + GAP;
    if (!why && (task->dim > 256 || task->dim_v > 256))
        why = "head sizes above 256 do not fit the registers";
    spec->MATRIX = CLATTN_MATRIX_MMA;
    spec->GROUP = 128;
    spec->BQ = task->q_len > 64 && task->dim <= 128 && task->dim_v <= 128 ? 128 : 64; /* of 255 registers, 252 at 128 */
    spec->BK = task->dim <= 64 && task->dim_v <= 64 ? 64 : 32;
    spec->ALIGNED = clattn__matrix_is_aligned(task);
    if (!why && !choose_block(facts, spec, key_pitch, value_pitch, 2))
        why = "no tile fits its local memory";
    if (why)
        return refuse(why, reason, size);
    finish(task, 2 * (int64_t)facts->compute_units, launch);
    return true;
}

const struct clattn__engine clattn__engine_mma = {
    .name = "matrix-mma", .may_fail = true, .test_blocks = 7, .fits = mma_fits, .launch = mma_launch,
};

/* ---- generic: the same loop nest, chosen by name alone ---- */
static bool generic_fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    bool fits = facts->has_compiler;
    snprintf(reason, size, "%s", fits ? "taken by name alone: the matrix engine's loops with plain products, to test them" :
                                        "the device has no compiler");
    return fits;
}

const char *clattn__matrix_plain_refusal(const struct clattn__task *task)
{
    bool alike = task->type_q == task->type_k && task->type_k == task->type_v && (task->type_k == CLATTN_F32 || task->type_o == task->type_k);
    bool usual = task->softmax && task->scale > 1e-10 && task->scale < 1e6;
    return !alike ? "one storage is wanted, or f32 inputs" : !usual ? "a softmax of usual scale is wanted" : NULL;
}

static bool generic_launch(const clattn_device_facts *facts, const struct clattn__task *task, struct clattn__launch *launch, char *reason,
                           size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    const char *why = clattn__matrix_plain_refusal(task);
    spec->MATRIX = CLATTN_MATRIX_NONE;
    spec->GROUP = facts->largest_group < 8 ? 1 : 8;
    spec->BQ = 2 * spec->GROUP;
    spec->BK = 32;
    if (!why && !choose_block(facts, spec, task->dim + GAP, task->dim_v + GAP, task->type_k == CLATTN_F32 ? 4 : 2))
        why = "no tile fits its local memory";
    if (why)
        return refuse(why, reason, size);
    finish(task, 2 * (int64_t)facts->compute_units, launch);
    return true;
}

const struct clattn__engine clattn__engine_generic = {
    .name = "matrix-generic", .by_name = true, .test_blocks = 7, .fits = generic_fits, .launch = generic_launch,
};
