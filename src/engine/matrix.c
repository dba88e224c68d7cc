/* SPDX-License-Identifier: MIT
 * matrix.c - the engines for matrix units, a row of the table of engines for each tile; the plain one is
 * there to test the loops. */
#include "engine/engine.h"
#include "door.clh"

#include <math.h>
#include <stdio.h>

/* Elements of a tile's local memory (forward_matrix.cl): keys and values of two blocks; queries beside them, or in the
 * second ones' place if they stay in registers; then the output, and as many for its notes as it has rows. */
static int64_t tile_elements(const struct clattn__spec *spec, int64_t key_pitch, int64_t value_pitch, bool stay)
{
    const int64_t place = spec->BK * (key_pitch + value_pitch), queries = spec->BQ * key_pitch,
                  output = spec->BQ * (value_pitch + 1);
    const int64_t inputs = place + (!stay ? place + queries : place > queries ? place : queries);
    return inputs > output ? inputs : output;
}

/* Bytes of local memory beside the blocks: with lists the notes of four blocks' keys (forward_matrix.cl). */
static int64_t shared_bytes(const struct clattn__task *task, const struct clattn__spec *spec)
{
    return 64 + (task->list_rows > 0 ? 192 + 20 * spec->BK : 0);
}

/* Query heads whose rows a tile holds: all of a key head if they fit one tile, or if they read by the same
 * lists, so that a list's keys are found and copied once for all; a tile is of one list then. */
static int32_t packed_heads(const struct clattn__task *task, int64_t tile)
{
    const int64_t group = task->heads / task->kv_heads;
    const bool listed = task->list_rows > 0, apart = listed && task->list_heads < group;
    const bool one_list = listed && tile % group == 0 && task->list_rows % (tile / group) == 0;
    return !apart && (task->q_len * group <= tile || one_list) ? (int32_t)group : 1;
}

static int64_t packed_rows(const struct clattn__task *task, int64_t tile)
{
    return task->q_len * packed_heads(task, tile);
}

static int32_t widest(const struct clattn__task *task)
{
    return task->dim > task->dim_v ? task->dim : task->dim_v;
}

/* wanted: groups that run at a time */
static void finish(const struct clattn__task *task, int64_t wanted, struct clattn__launch *launch)
{
    struct clattn__spec *spec = &launch->spec;
    launch->kernel_text = "forward_matrix";
    spec->NQ = spec->MD = spec->NT = spec->DOT = 1;
    spec->MK = (spec->BK + 15) / 16;
    clattn__launch_geometry(task, packed_heads(task, spec->BQ), spec->BK, wanted, launch);
    clattn__launch_sections(task, launch);
}

static const char *refuse_weights(const struct clattn__task *task)
{
    if (!task->softmax)
        return "its tile takes the weights of a softmax";
    if (!(task->scale > 1e-10 && task->scale < 1e6))
        return "its tile takes scales from 1e-10 to 1e6";
    return NULL;
}

const char *clattn__matrix_refusal(const struct clattn__task *task)
{
    int32_t type = task->type_q;
    if ((type != CLATTN_F16 && type != CLATTN_BF16) || task->type_k != type || task->type_v != type ||
        task->type_o != type)
        return "its tile takes f16 or bf16 throughout";
    return refuse_weights(task);
}

bool clattn__matrix_is_aligned(const struct clattn__task *task)
{
    const int32_t chunk = 16 / clattn__type_bytes(task->type_k);
    return task->aligned && task->dim % chunk == 0 && task->dim_v % chunk == 0;
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

#define WGMMA_LOCAL_BYTES (226 << 10) /* of 227 KiB that a group may have; barriers want some */
#define MAP_WORDS 32                  /* of a tensor map: cl/engine/tensor_map.clh */
#define MOST_GROUPS 512               /* whose work is added up */
#define MOST_TILES 8192
#define ENDS 2           /* blocks that a tile's beginning and end cost */
#define NOT_HELD 1.05    /* times as long, measured: keys and values not held, but shared by four groups */
#define KEPT_BYTES (20 << 20) /* of output, for what reads it next */

/* By what factor the group with most to do has more than the mean, where a tile sees keys up to its own rows:
 * tile number t of a head then costs t + 1 of its tiles and its ends.  The order is that of find_place
 * (cl/common/forward.clh) and forward_stream.cl. */
static double unevenness(const struct clattn__launch *launch, uint32_t pairs, uint32_t section)
{
    double load[MOST_GROUPS] = {0}, blocks = (double)launch->spec.BQ / launch->spec.BK, all = 0, most = 0;
    const uint32_t n = (uint32_t)launch->groups, tiles = (uint32_t)launch->q_tiles,
                   parts = (uint32_t)launch->splits;
    const uint32_t count = launch->tiles < MOST_TILES ? (uint32_t)launch->tiles : MOST_TILES;
    for (uint32_t number = 0; number < count; number++) {
        uint32_t first = number / (tiles * parts * section) * section, left = pairs - first;
        uint32_t width = left < section ? left : section, rest = (number - first * tiles * parts) / width;
        double cost = (double)(tiles - rest % tiles) * blocks + ENDS;
        uint32_t round = number / n, place = number % n;
        load[round % 2 ? n - 1 - place : place] += cost;
        all += cost;
    }
    for (uint32_t i = 0; i < n; i++)
        most = load[i] > most ? load[i] : most;
    return all > 0 ? most * n / all : 1;
}

/* Of how many head tiles a section is: as many as give the groups the most even work.  By a counter as many
 * as may be: where rows see keys up to their own, the tiles that come last then are those that see fewest. */
static int32_t choose_section(const struct clattn__task *task, const struct clattn__launch *launch)
{
    const int64_t head_bytes = task->kv_len * (task->dim + task->dim_v) * 2,
                  pairs = task->batch * (task->heads / launch->pack);
    const int64_t sharing = task->heads / task->kv_heads / launch->pack;
    int64_t best = 1;
    double least = INFINITY;
    if (launch->groups > MOST_GROUPS || launch->groups == 0)
        return 1;
    for (int64_t section = 1; section <= pairs;
         section = 2 * section > pairs && section < pairs ? pairs : 2 * section) {
        bool held = section * head_bytes <= CLATTN__HELD_BYTES * sharing,
             shared = 4 * section <= (int64_t)launch->groups * sharing;
        if (!held && !shared)
            break;
        double factor = launch->spec.COUNTED
                            ? 1.0 / (double)section
                            : unevenness(launch, (uint32_t)pairs, (uint32_t)section) * (held ? 1 : NOT_HELD);
        if (factor < least - 0.005) {
            least = factor;
            best = section;
        }
    }
    return (int32_t)best;
}

/* As many groups as multiprocessors take all tiles in turn, in an order of even work; where that is not
 * known, by a counter.  Where batch entries' lengths differ, four times as many, the next one as soon as one
 * is done. */
static void take_turns(const clattn_device_facts *facts, const struct clattn__task *task,
                       struct clattn__launch *launch)
{
    const size_t most = (size_t)facts->compute_units * (task->ragged ? 4 : 1);
    launch->in_turn = true;
    launch->groups = launch->tiles < most ? launch->tiles : most;
    launch->spec.COUNTED = task->uneven && !task->ragged && launch->tiles > most;
    launch->section = task->masked && !task->ragged ? choose_section(task, launch) : 1;
    launch->scratch = 3 * MAP_WORDS; /* of queries, keys and values */
}

/* Bytes of local memory: panels of 64 columns of queries, and of NT blocks of keys and values; 16 rows of
 * ones beside values that fill one panel, else one. */
static int64_t wgmma_bytes(const struct clattn__spec *spec, const struct clattn__task *task)
{
    int64_t panels = clattn__ceil_div(task->dim, 64), panels_v = clattn__ceil_div(task->dim_v, 64);
    int64_t ones = clattn__ceil_div(task->dim_v, 16) == 4 ? 16 : 1;
    return 128 * (spec->BQ * panels + spec->NT * spec->BK * (panels + panels_v) + ones);
}

/* Parts of the keys, where that gives multiprocessors work that would have none. */
static int64_t wgmma_parts(const clattn_device_facts *facts, const struct clattn__task *task,
                           const struct clattn__spec *spec)
{
    const int64_t head_tiles = task->batch * (task->heads / packed_heads(task, spec->BQ));
    const int64_t tiles = head_tiles * clattn__ceil_div(packed_rows(task, spec->BQ), spec->BQ);
    const int64_t fill = tiles > 0 ? (int64_t)facts->compute_units / tiles : 1,
                  most = task->kv_len / CLATTN__LEAST_PART;
    const int64_t parts = fill < most ? fill : most;
    return task->splits ? task->splits : parts < 1 ? 1 : parts;
}

/* Whether each tile reads a head of its own, of more than the second-level cache holds, and the output alone would
 * fit it.  Measured on an H100 (64 x 16 heads, 128 tokens, d 64): 1.08 times as fast; with outputs of 25 and 34 MB 0.98
 * and 0.93, since memory serves what leaves the cache first more slowly. */
static bool reads_once(const struct clattn__task *task, const struct clattn__launch *launch)
{
    const int64_t heads = task->batch * task->heads, keys = task->batch * task->kv_heads * task->kv_len;
    const int64_t out = 2 * heads * task->q_len * task->dim_v;
    const int64_t in = 2 * (heads * task->q_len * task->dim + keys * (task->dim + task->dim_v));
    return launch->q_tiles == 1 && launch->splits == 1 && launch->pack * task->kv_heads == task->heads &&
           !task->ragged && task->packed_tokens == 0 && task->list_rows == 0 && out <= KEPT_BYTES &&
           in + out > CLATTN__HELD_BYTES;
}

/* Three consumers where their registers hold 96 keys; two, of as many keys as they hold; one for few rows. */
static void choose_wgmma_tile(const struct clattn__task *task, struct clattn__spec *spec)
{
    const int64_t rows = packed_rows(task, 128);
    spec->BQ = rows <= 64 ? 64 : rows <= 128 || widest(task) > 64 ? 128 : 192;
    if (CLATTN__KNOB(&task->setting, rows))
        spec->BQ = CLATTN__KNOB(&task->setting, rows);
    spec->BK = spec->BQ == 192 ? 96 : widest(task) <= 128 ? 128 : widest(task) <= 192 ? 96 : 64;
    spec->GROUP = 128 + 2 * spec->BQ;
}

static bool wgmma_launch(const clattn_device_facts *facts, const struct clattn__task *task,
                         struct clattn__launch *launch, char *reason, size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    const char *why = clattn__matrix_refusal(task);
    if (!why && widest(task) > 256)
        why = "its tile takes head sizes to 256";
    if (!why && (!clattn__matrix_is_aligned(task) || task->packed_tokens > INT32_MAX))
        why = "its tile takes rows that begin at multiples of 16 bytes, 2^31 at most";
    choose_wgmma_tile(task, spec);
    if (!why && spec->BQ == 192 && widest(task) > 64)
        why = "192 rows are for head sizes to 64";
    if (!why && task->list_rows > 0 && task->list_keys < spec->BK)
        /* 64 of 128: three times as slow as mma.sync, which gathers */
        why = "its tiles would hold keys that nobody lists";
    if (why)
        return refuse(why, reason, size);
    spec->MATRIX = CLATTN_MATRIX_WGMMA;
    spec->ALIGNED = 1;
    struct clattn__task parted = *task;
    parted.splits = wgmma_parts(facts, task, spec);
    finish(&parted, (int64_t)facts->compute_units, launch);
    spec->NQ = (int32_t)clattn__ceil_div(task->dim, 16);
    spec->MK = spec->BK / 16;
    spec->MD = (int32_t)clattn__ceil_div(task->dim_v, 16);
    spec->NT = 3;
    while (spec->NT > 2 && wgmma_bytes(spec, task) > WGMMA_LOCAL_BYTES)
        spec->NT--;
    if (CLATTN__KNOB(&task->setting, depth) > spec->NT)
        return refuse("so many blocks do not fit its local memory", reason, size);
    if (CLATTN__KNOB(&task->setting, depth))
        spec->NT = CLATTN__KNOB(&task->setting, depth);
    CLATTN__KNOB(&launch->setting, rows) = spec->BQ;
    CLATTN__KNOB(&launch->setting, depth) = spec->NT;
    take_turns(facts, task, launch);
    /* measured: to 9 % faster with windows and documents; with other head sizes slower */
    spec->BACKWARD = task->masked && task->list_rows == 0 && spec->BQ == 128 && widest(task) > 64 &&
                     widest(task) <= 128;
    spec->READ_ONCE = reads_once(task, launch);
    launch->kernel_text = "forward_stream";
    launch->rewrite = clattn__ptx_edit;
    launch->wish = (struct clattn__ptx_wish){
        .chip = 90, .group = spec->GROUP, .local_bytes = (int32_t)wgmma_bytes(spec, task),
    };
    return true;
}

const struct clattn__engine clattn__engine_wgmma = {
    .name = "matrix-wgmma", .of_16_bits = true, .may_fail = true, .test_blocks = 7, .fits = wgmma_fits,
    .launch = wgmma_launch,
};

/* ---- mma: within a compute unit's local memory through the editor of assembly, or what OpenCL grants ----
 * Two tiles in one group, each with its own local memory and barriers, were 6 to 22 % slower on an H200. */
#define RESERVED 1024 /* bytes of a unit's local memory that the hardware takes for each group */
#define PAIRS 256     /* items of a group whose warps are pairs */
#define PIPELINE_BYTES 64 /* of their barriers (pipeline.clh) */

static int32_t sixteens(int32_t dim)
{
    return (int32_t)clattn__ceil_div(dim, 16);
}

/* Two warps for the same rows (pairs.clh): their values' rows are of pairs of sixteens, and they exchange weights. */
static int64_t pairs_bytes(const struct clattn__task *task, const struct clattn__spec *spec)
{
    const int64_t value_pitch = 32 * clattn__ceil_div(task->dim_v, 32), boxes = spec->BQ * (spec->BK + 16);
    return 2 * (tile_elements(spec, clattn__row_pitch(task->dim), value_pitch, false) + boxes) + PIPELINE_BYTES;
}

static int64_t mma_bytes(const struct clattn__task *task, const struct clattn__spec *spec)
{
    return spec->GROUP == PAIRS ? pairs_bytes(task, spec)
                                : 2 * tile_elements(spec, clattn__row_pitch(task->dim), clattn__row_pitch(task->dim_v),
                                                    spec->NQ >= sixteens(task->dim));
}

/* Blocks of the most keys of a list, which falls and ends with 0, up to `most', whose tile fits bytes; or of
 * those set, if it does.  beside: with what is beside the tile. */
static bool choose_keys(const struct clattn__task *task, struct clattn__spec *spec, const int32_t *keys,
                        int32_t most, int64_t (*tile_bytes)(const struct clattn__task *, const struct clattn__spec *),
                        int64_t bytes, bool beside)
{
    const int32_t set = CLATTN__KNOB(&task->setting, keys);
    for (; *keys; keys++) {
        spec->BK = *keys;
        if ((set ? set == *keys : *keys <= most) &&
            tile_bytes(task, spec) + (beside ? shared_bytes(task, spec) : 0) <= bytes)
            return true;
    }
    return false;
}

static bool choose_mma_keys(const struct clattn__task *task, struct clattn__spec *spec, int64_t bytes,
                            bool beside)
{
    static const int32_t keys[] = {64, 48, 32, 16, 0}, keys_of_pairs[] = {64, 0};
    if (spec->GROUP == PAIRS)
        return choose_keys(task, spec, keys_of_pairs, 64, mma_bytes, bytes, beside);
    return choose_keys(task, spec, keys, widest(task) > 192 ? 32 : 64, mma_bytes, bytes, beside);
}

/* 32 rows a warp where its registers hold their output, queries too where they leave room; with lists, whose
 * keys want some, 16. */
static void choose_mma_rows(const struct clattn__task *task, struct clattn__spec *spec, bool many)
{
    many = many && task->list_rows == 0;
    spec->BQ = many && widest(task) <= 128 ? 128 : 64;
    if (CLATTN__KNOB(&task->setting, rows) && widest(task) <= 128)
        spec->BQ = CLATTN__KNOB(&task->setting, rows);
    spec->GROUP = 128;
    const int32_t some = widest(task) <= 96 && !task->masked ? 2 : 0; /* of d 96 a third: 4 % */
    spec->NQ = spec->BQ == 128 && widest(task) > 80 ? some : sixteens(task->dim);
}

/* Above 128 columns 32 rows of two warps, if so much local memory is there. */
static bool choose_pairs(const struct clattn__task *task, struct clattn__spec *spec, int64_t bytes)
{
    const struct clattn__spec before = *spec;
    if (widest(task) <= 128 || task->q_len <= 96 || task->list_rows > 0 || CLATTN__KNOB(&task->setting, rows) == 64)
        return false;
    spec->BQ = 128;
    spec->NQ = 0;
    spec->GROUP = PAIRS;
    if (choose_mma_keys(task, spec, bytes, true))
        return true;
    *spec = before;
    return false;
}

/* Whether rows are set that the registers do not hold. */
static const char *refuse_rows(const struct clattn__task *task, const struct clattn__spec *spec)
{
    const int32_t set = CLATTN__KNOB(&task->setting, rows);
    return set && set != spec->BQ ? "above head size 128 tiles of 128 rows are of 64 keys, and want local memory for these" : NULL;
}

static void finish_mma(const clattn_device_facts *facts, const struct clattn__task *task,
                       struct clattn__launch *launch)
{
    struct clattn__spec *spec = &launch->spec;
    const int32_t queries = spec->NQ;
    spec->MATRIX = CLATTN_MATRIX_MMA;
    spec->ALIGNED = clattn__matrix_is_aligned(task);
    finish(task, (spec->GROUP == PAIRS ? 1 : 2) * (int64_t)facts->compute_units, launch);
    spec->NQ = queries;
    CLATTN__KNOB(&launch->setting, rows) = spec->BQ;
    CLATTN__KNOB(&launch->setting, keys) = spec->BK;
}

static bool mma_fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    bool fits = facts->matrix_unit >= CLATTN_MATRIX_MMA && facts->has_compiler;
    snprintf(reason, size, "%s", fits ? "a GPU with mma.sync" : "no matrix unit that clattn knows");
    return fits;
}

static bool mma_launch(const clattn_device_facts *facts, const struct clattn__task *task,
                       struct clattn__launch *launch, char *reason, size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    const int64_t bytes = (int64_t)facts->unit_local_bytes - RESERVED;
    const char *why = clattn__matrix_refusal(task);
    if (!why && widest(task) > 256)
        why = "head sizes above 256 do not fit the registers";
    choose_mma_rows(task, spec, task->q_len > 64);
    const bool pairs = choose_pairs(task, spec, bytes);
    if (!why)
        why = refuse_rows(task, spec);
    if (!why && !pairs && !choose_mma_keys(task, spec, bytes, true))
        why = "no tile fits the local memory of a compute unit";
    if (why)
        return refuse(why, reason, size);
    finish_mma(facts, task, launch);
    clattn__launch_memory(launch, mma_bytes(task, spec));
    return true;
}

const struct clattn__engine clattn__engine_mma = {
    .name = "matrix-mma", .of_16_bits = true, .may_fail = true, .test_blocks = 7, .fits = mma_fits,
    .launch = mma_launch,
};

static bool mma_small_launch(const clattn_device_facts *facts, const struct clattn__task *task,
                             struct clattn__launch *launch, char *reason, size_t size)
{
    const char *why = clattn__matrix_refusal(task);
    choose_mma_rows(task, &launch->spec, task->q_len > 64 && widest(task) <= 64);
    if (!why)
        why = refuse_rows(task, &launch->spec);
    if (!why && (widest(task) > 256 || !choose_mma_keys(task, &launch->spec, DOOR_BYTES, false)))
        why = "no tile fits the local memory that OpenCL grants";
    if (why)
        return refuse(why, reason, size);
    finish_mma(facts, task, launch);
    return true;
}

const struct clattn__engine clattn__engine_mma_small = {
    .name = "matrix-small", .of_16_bits = true, .may_fail = true, .test_blocks = 7, .fits = mma_fits,
    .launch = mma_small_launch,
};

/* ---- mma, f32: three products of TF32 for one ---- */
#define TF32_ROWS 64

static const char *tf32_refusal(const struct clattn__task *task)
{
    return task->type_q != CLATTN_F32 || task->type_k != CLATTN_F32 || task->type_v != CLATTN_F32 ||
                   task->type_o != CLATTN_F32
               ? "its tile takes f32 throughout"
               : refuse_weights(task);
}

static int64_t tf32_bytes(const struct clattn__task *task, const struct clattn__spec *spec)
{
    return 4 * tile_elements(spec, 8 * clattn__ceil_div(task->dim, 8) + 8, clattn__row_pitch(task->dim_v) + 4,
                             false);
}

/* Blocks of as many keys as let `groups' share a unit's local memory, or of those set. */
static bool choose_tf32_keys(const clattn_device_facts *facts, const struct clattn__task *task,
                             struct clattn__spec *spec, int groups)
{
    static const int32_t keys[] = {64, 32, 16, 0};
    const int64_t bytes = (int64_t)facts->unit_local_bytes / groups - RESERVED;
    return choose_keys(task, spec, keys, keys[0], tf32_bytes, bytes, true);
}

static bool tf32_launch(const clattn_device_facts *facts, const struct clattn__task *task,
                        struct clattn__launch *launch, char *reason, size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    const char *why = tf32_refusal(task);
    const bool aligned = clattn__matrix_is_aligned(task);
    spec->BQ = TF32_ROWS;
    if (!why && widest(task) > 192)
        why = "head sizes above 192 do not fit the registers";
    if (!why && !aligned && !task->named)
        why = "rows that do not begin at multiples of 16 bytes take it longer than multiply-adds do";
    if (!why && !choose_tf32_keys(facts, task, spec, 2) && !choose_tf32_keys(facts, task, spec, 1))
        why = "no tile fits the local memory of a compute unit";
    if (why)
        return refuse(why, reason, size);
    spec->MATRIX = CLATTN_MATRIX_MMA;
    spec->ALIGNED = aligned;
    finish(task, 4 * (int64_t)facts->compute_units, launch);
    spec->GROUP = 128;
    CLATTN__KNOB(&launch->setting, keys) = spec->BK;
    clattn__launch_memory(launch, tf32_bytes(task, spec));
    return true;
}

const struct clattn__engine clattn__engine_tf32 = {
    .name = "matrix-tf32x3", .may_fail = true, .test_blocks = 7, .fits = mma_fits, .launch = tf32_launch,
};

/* ---- generic: the same loop nest, chosen by name alone ---- */
#define PAIRED_ABOVE 64 /* columns, so that what matrix-mma does above 128 is tested as well */

static bool generic_fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    bool fits = facts->has_compiler;
    snprintf(reason, size, "%s",
             fits ? "taken by name alone: the matrix engine's loops with plain products, to test them"
                  : "the device has no compiler");
    return fits;
}

const char *clattn__matrix_plain_refusal(const struct clattn__task *task)
{
    bool alike = task->type_q == task->type_k && task->type_k == task->type_v &&
                 (task->type_k == CLATTN_F32 || task->type_o == task->type_k);
    bool usual = task->softmax && task->scale > 1e-10 && task->scale < 1e6;
    return !alike   ? "one storage is wanted, or f32 inputs"
           : !usual ? "a softmax of usual scale is wanted"
                    : NULL;
}

/* With pairs there are as many items as rows; each offers half of a block's weights of two rows, a number of each,
 * and one more. */
static int64_t generic_bytes(const struct clattn__task *task, const struct clattn__spec *spec)
{
    const int64_t boxes = spec->GROUP == spec->BQ ? 4 * spec->GROUP * (spec->BK + 3) : 0;
    return boxes + (task->type_k == CLATTN_F32 ? 4 : 2) *
                       tile_elements(spec, clattn__row_pitch(task->dim), clattn__row_pitch(task->dim_v), true);
}

static bool generic_launch(const clattn_device_facts *facts, const struct clattn__task *task,
                           struct clattn__launch *launch, char *reason, size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    const char *why = clattn__matrix_plain_refusal(task);
    spec->MATRIX = CLATTN_MATRIX_NONE;
    const bool pairs = widest(task) > PAIRED_ABOVE && facts->largest_group >= 16;
    spec->GROUP = pairs ? 16 : facts->largest_group < 8 ? 1 : 8;
    spec->BQ = pairs ? 16 : 2 * spec->GROUP;
    for (spec->BK = 32;
         spec->BK > 8 && generic_bytes(task, spec) + shared_bytes(task, spec) > (int64_t)facts->local_bytes;)
        spec->BK /= 2;
    if (!why && generic_bytes(task, spec) + shared_bytes(task, spec) > (int64_t)facts->local_bytes)
        why = "no tile fits its local memory";
    if (why)
        return refuse(why, reason, size);
    finish(task, 2 * (int64_t)facts->compute_units, launch);
    return true;
}

const struct clattn__engine clattn__engine_generic = {
    .name = "matrix-generic", .by_name = true, .test_blocks = 7, .fits = generic_fits,
    .launch = generic_launch,
};
