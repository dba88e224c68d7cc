/* SPDX-License-Identifier: MIT
 * vector.c - the engine for CPUs: one work-item a tile, queries in the lanes of float16 vectors.
 *
 * Shapes are measured (doc/performance.md): a register tile needs enough accumulators to hide the latency of
 * multiply-add units, and must fit the registers with the operands of a step. */
#include "engine/engine.h"

#include <stdio.h>

static bool fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    const char *why = NULL;
    if (!(facts->type & CL_DEVICE_TYPE_CPU))
        why = "it suits CPUs only: one work-item a tile leaves a GPU's lanes idle";
    else if (facts->slow_wide_vectors)
        why = "this driver needs minutes to compile float16 kernels";
    else if (!facts->has_compiler)
        why = "the device has no compiler";
    snprintf(reason, size, "%s", why ? why : "a CPU whose compiler keeps float16 in registers");
    return !why;
}

/* A register tile: keys (mk) or value columns (md) x nq vectors of sixteen rows, accumulated; for up to
 * `rows` rows. */
struct shape {
    int64_t rows;
    int32_t nq, mk, md;
};

/* How many float16 the registers hold: 32 of AVX-512; 8 of AVX2 and of NEON's 32 of 128 bits; 4 of SSE. */
static uint32_t held_vectors(const clattn_device_facts *facts)
{
    uint32_t width = facts->vector_width_float;
    uint32_t registers = facts->vector_registers ? facts->vector_registers : width >= 16 ? 32 : 16;
    return width * registers / 16;
}

static const struct shape *choose_shape(const clattn_device_facts *facts, int64_t rows)
{
    static const struct shape thirty_two[] = {{16, 1, 16, 16}, {32, 2, 8, 8}, {INT64_MAX, 4, 4, 4}};
    static const struct shape eight[] = {{INT64_MAX, 1, 6, 6}}, four[] = {{INT64_MAX, 1, 2, 2}};
    uint32_t held = held_vectors(facts);
    const struct shape *shape = held >= 32 ? thirty_two : held >= 8 ? eight : four;
    while (rows > shape->rows)
        shape++;
    return shape;
}

/* Keys of a block: the weights and, for narrow storage and lists, the copied block stay in the first two
 * cache levels. */
static int32_t block_keys(const struct clattn__task *task, int32_t mk)
{
    int32_t width = task->dim > task->dim_v ? task->dim : task->dim_v;
    bool widened = task->list_rows > 0 || task->type_k != CLATTN_F32 || task->type_v != CLATTN_F32;
    int32_t keys = widened && width > 256 ? 32 : widened && width > 128 ? 64 : 128;
    return keys / mk * mk;
}

/* Tiles that share a block of keys: more as the keys of a head outgrow the second cache level, as long as
 * every compute unit keeps several groups. */
static int32_t tiles_of_group(const clattn_device_facts *facts, const struct clattn__task *task,
                              int64_t tiles)
{
    int64_t bytes = task->kv_len * (task->dim + task->dim_v) * 4;
    int32_t nt = bytes >= 2 << 20 ? 4 : bytes >= 1 << 19 ? 2 : 1;
    if (nt > 2 && task->dim + task->dim_v > 512)
        nt = 2; /* the private tiles themselves must stay in the cache */
    while (nt > 1 && tiles / nt < 8 * (int64_t)facts->compute_units)
        nt /= 2;
    return nt;
}

/* Whether weights may be rounded to bf16, as a computation in that type does, and an instruction multiplies
 * such pairs.  The tile multiplies scores by the scale after it has looked for the largest: it must be a
 * usual, positive one. */
static bool takes_pairs(const clattn_device_facts *facts, const struct clattn__task *task)
{
    return facts->bf16_dot && task->softmax && task->type_q == CLATTN_BF16 && task->type_k == CLATTN_BF16 &&
           task->type_v == CLATTN_BF16 && task->type_o == CLATTN_BF16 && task->scale > 1e-10 &&
           task->scale < 1e10;
}

/* Whether to ask for the next block while working on this one: where few rows share the keys, so that memory
 * limits, and where blocks are large or are read where they lie.  Small blocks that are widened anyway only
 * pay for the asking (2 %). */
static bool fetches_ahead(const clattn_device_facts *facts, const struct clattn__task *task, int64_t rows)
{
    bool in_place = task->type_k == CLATTN_F32 && task->type_v == CLATTN_F32;
    return clattn__driver_takes_fetches(facts) && (rows <= 64 || in_place || task->dim + task->dim_v >= 192);
}

/* Few rows: a tile of them all, and long blocks, since keys and values are read once and memory is what
 * limits. */
static const char *launch_few(const clattn_device_facts *facts, const struct clattn__task *task, int64_t rows,
                              int32_t pack, struct clattn__launch *launch)
{
    struct clattn__spec *spec = &launch->spec;
    const struct clattn__setting *set = &task->setting;
    if (CLATTN__KNOB(set, rows) || CLATTN__KNOB(set, step) || CLATTN__KNOB(set, tiles) ||
        CLATTN__KNOB(set, depth))
        return "few rows are one tile, of which keys and splits alone can be set";
    if (CLATTN__KNOB(set, keys) && CLATTN__KNOB(set, keys) < 256)
        return "few rows take blocks of 256 keys or more";
    launch->kernel_text = "forward_few";
    spec->BQ = rows < 1 ? 1 : (int32_t)rows;
    spec->BK = CLATTN__KNOB(set, keys) ? CLATTN__KNOB(set, keys) : 1024;
    spec->NQ = spec->MK = spec->MD = spec->NT = spec->DOT = 1;
    clattn__launch_geometry(task, pack, 128, 4 * (int64_t)facts->compute_units, launch);
    CLATTN__KNOB(&launch->setting, keys) = spec->BK;
    return NULL;
}

/* The shape of a tile, and how many make a group: smaller and fewer where a compute unit would have four
 * groups or less and keys are too few to be cut into parts: one group more or less must not matter. */
static const struct shape *choose_tiles(const clattn_device_facts *facts, const struct clattn__task *task,
                                        int64_t rows, int64_t heads, int32_t *tiles_out)
{
    const bool listed = task->list_rows > 0; /* tiles are of one list where they can, and share no keys */
    const struct shape *shape =
        choose_shape(facts, listed && rows > task->list_rows ? task->list_rows : rows);
    int64_t tiles = clattn__ceil_div(rows, 16 * shape->nq);
    if (listed)
        tiles = 1;
    else if (rows > 64)
        tiles = 4 / shape->nq * tiles_of_group(facts, task, heads * clattn__ceil_div(rows, 64));
    while (task->kv_len < 2 * CLATTN__LEAST_PART && (tiles > 1 || shape->nq > 1) &&
           heads * clattn__ceil_div(rows, 16 * shape->nq * tiles) <= 4 * (int64_t)facts->compute_units) {
        if (tiles > 1)
            tiles = (tiles + 1) / 2;
        else
            shape--;
    }
    *tiles_out = (int32_t)tiles;
    return shape;
}

/* What a setting says in the place of that choice.  A tile of other rows has as many sums, and a group as
 * many rows. */
static struct shape set_tiles(const struct clattn__task *task, struct shape shape, int32_t *tiles)
{
    const struct clattn__setting *set = &task->setting;
    const int32_t sums = shape.nq * shape.mk;
    if (CLATTN__KNOB(set, rows)) {
        const int32_t nq = CLATTN__KNOB(set, rows) / 16;
        *tiles = (int32_t)clattn__ceil_div((int64_t)*tiles * shape.nq, nq);
        shape.nq = nq;
        shape.mk = shape.md = sums > nq ? sums / nq : 1;
    }
    if (CLATTN__KNOB(set, step))
        shape.mk = shape.md = CLATTN__KNOB(set, step);
    if (CLATTN__KNOB(set, tiles))
        *tiles = CLATTN__KNOB(set, tiles);
    return shape;
}

#define MOST_SUMS 24              /* vectors of a register tile: cl/attention/forward_vector.cl */
#define MOST_PRIVATE (640 << 10) /* bytes of tiles on a thread's stack that should stay in the second cache */

/* Why a set shape cannot be, or NULL. */
static const char *refuse_shape(const clattn_device_facts *facts, const struct clattn__task *task,
                                const struct clattn__spec *spec)
{
    const int64_t tile = 64 * (int64_t)spec->NQ * spec->NT * (task->dim + task->dim_v);
    if (spec->NQ * spec->MK > MOST_SUMS || spec->NQ * (spec->MK + 1) >= (int32_t)held_vectors(facts))
        return "the registers do not hold the sums of rows x step";
    if (spec->DOT == 2 && spec->MK % 2)
        return "products of pairs want an even step";
    if (spec->BK > 256)
        return "blocks of more than 256 keys are for few rows";
    if (spec->AHEAD && !clattn__driver_takes_fetches(facts))
        return "this driver stops at a request for the next block";
    return tile > MOST_PRIVATE ? "the group's tiles outgrow the second cache" : NULL;
}

static void note_setting(const struct clattn__spec *spec, struct clattn__setting *setting)
{
    CLATTN__KNOB(setting, rows) = 16 * spec->NQ;
    CLATTN__KNOB(setting, keys) = spec->BK;
    CLATTN__KNOB(setting, step) = spec->MK;
    CLATTN__KNOB(setting, tiles) = spec->NT;
    CLATTN__KNOB(setting, depth) = 1 + spec->AHEAD;
}

static const char *launch_many(const clattn_device_facts *facts, const struct clattn__task *task,
                               int64_t rows, int32_t pack, struct clattn__launch *launch)
{
    struct clattn__spec *spec = &launch->spec;
    const struct clattn__setting *set = &task->setting;
    const struct shape *chosen = choose_tiles(facts, task, rows, task->batch * task->heads / pack, &spec->NT);
    const struct shape shape = set_tiles(task, *chosen, &spec->NT);
    launch->kernel_text = "forward_vector";
    spec->NQ = shape.nq;
    spec->MK = shape.mk;
    spec->MD = shape.md < task->dim_v ? shape.md : task->dim_v;
    spec->BQ = 16 * spec->NQ * spec->NT;
    spec->BK =
        CLATTN__KNOB(set, keys) ? CLATTN__KNOB(set, keys) / shape.mk * shape.mk : block_keys(task, shape.mk);
    spec->DOT = takes_pairs(facts, task) ? 2 : 1;
    spec->AHEAD = CLATTN__KNOB(set, depth) ? CLATTN__KNOB(set, depth) > 1 : fetches_ahead(facts, task, rows);
    clattn__launch_geometry(task, pack, spec->BK, 4 * (int64_t)facts->compute_units, launch);
    note_setting(spec, &launch->setting);
    return clattn__setting_is_empty(set) ? NULL : refuse_shape(facts, task, spec);
}

static bool launch(const clattn_device_facts *facts, const struct clattn__task *task,
                   struct clattn__launch *launch, char *reason, size_t size)
{
    int64_t group = task->heads / task->kv_heads;
    int64_t rows = task->q_len * group; /* query heads of a group share keys: pack them if all fit a tile */
    bool apart = task->list_rows > 0 && task->list_heads < group; /* heads read different keys */
    int32_t pack = rows <= 64 && group > 1 && !apart ? (int32_t)group : 1;
    launch->spec.GROUP = 1;
    rows = task->q_len * pack;
    const char *why = (rows <= 4 ? launch_few : launch_many)(facts, task, rows, pack, launch);
    if (why)
        snprintf(reason, size, "%s", why);
    return !why;
}

const struct clattn__engine clattn__engine_vector = {.name = "vector", .fits = fits, .launch = launch};
