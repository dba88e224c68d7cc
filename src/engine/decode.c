/* SPDX-License-Identifier: MIT
 * decode.c - the engines for few rows against many keys (forward_decode.cl): as a row of the table by
 * mma.sync, and with the plain tile, to test the loop. */
#include "engine/engine.h"

#include <stdio.h>

#define MOST_ROWS 32
#define REGISTERS 255 /* of an item: 12 for sixteen columns of sixteen rows, one for two of their keys */
#define AT_A_TIME 4            /* groups on a unit: so many have registers, and enough bytes on their way */
#define HOPPER_FIFTH (45 << 10) /* bytes of which five groups do not fit a multiprocessor of capability 9.0 */

static int64_t rows_of(const struct clattn__task *task)
{
    return task->q_len * (task->heads / task->kv_heads);
}

/* Local memory of a group, in elements: as forward_decode.cl lays it. */
static int64_t memory(const struct clattn__spec *spec, int64_t teams, int64_t key_pitch, int64_t value_pitch)
{
    const int64_t blocks = 2 * spec->BK * (key_pitch + value_pitch),
                  before = (spec->BK + spec->BQ) * key_pitch;
    return teams * (blocks > before ? blocks : before);
}

/* ---- parts of the keys ---- */
#define ROUND_GRAINS 2 /* what a round costs beside its keys, in grains: wait for the first, store sums */
#define MERGE_GRAINS 2 /* and the second kernel */

/* Grains that pass while all groups of `splits` parts run, `most` at a time, times most.  A grain takes as
 * long as memory takes for those of all groups, but idle places make the others only so much faster (H200:
 * twice as fast where half of them, three times where nearly all are idle). */
static int64_t time_of(int64_t groups, int64_t grains, int64_t splits, int64_t most)
{
    const int64_t all = groups * splits, rounds = clattn__ceil_div(all, most),
                  rest = all - (rounds - 1) * most;
    const int64_t shared = rest + (most - rest) / 8, alone = most / 3;
    const int64_t last = shared > alone ? shared : alone;
    return clattn__ceil_div(grains, splits) * ((rounds - 1) * most + last) + rounds * ROUND_GRAINS * most +
           (splits > 1 ? MERGE_GRAINS * most : 0);
}

static int64_t choose_splits(int64_t groups, int64_t grains, int64_t most)
{
    int64_t best = 1;
    for (int64_t splits = 2; splits <= grains && splits <= most; splits++)
        if (time_of(groups, grains, splits, most) < time_of(groups, grains, best, most))
            best = splits;
    return best;
}

/* A group joins a tile's parts, whose sums of that size it reads by itself, before a kernel after this one would
 * begin. */
#define JOIN_BYTES (16 << 10)

static bool can_join(const struct clattn__task *task, int32_t splits)
{
    return splits > 1 && rows_of(task) * splits * task->dim_v * (int64_t)sizeof(float) <= JOIN_BYTES;
}

/* teams: of a group */
static void finish(const clattn_device_facts *facts, const struct clattn__task *task, int32_t teams,
                   struct clattn__launch *launch)
{
    const int32_t group = (int32_t)(task->heads / task->kv_heads);
    const int32_t grain = teams * launch->spec.BK;
    struct clattn__task cut = *task;
    if (task->splits == 0)
        cut.splits = choose_splits(task->batch * task->kv_heads, clattn__ceil_div(task->kv_len, grain),
                                   (int64_t)facts->compute_units * AT_A_TIME);
    launch->kernel_text = "forward_decode";
    launch->spec.NQ = (int32_t)clattn__ceil_div(task->dim, 16);
    launch->spec.MK = launch->spec.BK / 16;
    launch->spec.NT = teams;
    launch->spec.GROUP = teams * clattn__team_of(launch->spec.MATRIX)->items;
    launch->spec.MD = launch->spec.DOT = 1;
    clattn__launch_geometry(&cut, group, grain, 1, launch);
    launch->can_join = can_join(task, launch->splits);
    CLATTN__KNOB(&launch->setting, keys) = launch->spec.BK;
    CLATTN__KNOB(&launch->setting, tiles) = teams;
}

static bool refuse(const char *why, char *reason, size_t size)
{
    snprintf(reason, size, "%s", why);
    return false;
}

/* ---- mma.sync: a team is a warp ---- */
static bool decode_fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    bool fits = facts->matrix_unit >= CLATTN_MATRIX_MMA && facts->has_compiler;
    snprintf(reason, size, "%s",
             fits ? "a GPU with mma.sync, for few rows" : "no matrix unit that clattn knows");
    return fits;
}

static const char *why_not(const struct clattn__task *task)
{
    const char *why = clattn__matrix_refusal(task);
    if (!why && rows_of(task) > MOST_ROWS)
        why = "it takes up to 32 rows a key head";
    if (!why && !clattn__matrix_is_aligned(task))
        why = "it takes rows that begin at multiples of 16 bytes";
    if (!why && (task->dim > 256 || task->dim_v > 256))
        why = "head sizes above 256 do not fit the registers";
    if (!why && rows_of(task) > 16 && (task->dim > 128 || task->dim_v > 128))
        why = "head sizes above 128 fit the registers with up to 16 rows a key head";
    return why;
}

static bool decode_launch(const clattn_device_facts *facts, const struct clattn__task *task,
                          struct clattn__launch *launch, char *reason, size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    const int64_t steps = clattn__ceil_div(task->dim, 16), steps_v = clattn__ceil_div(task->dim_v, 16),
                  widest = steps > steps_v ? steps : steps_v;
    const int64_t key_pitch = clattn__row_pitch(task->dim), value_pitch = clattn__row_pitch(task->dim_v);
    int32_t teams = 2;
    const char *why = why_not(task);
    if (why)
        return refuse(why, reason, size);
    spec->MATRIX = CLATTN_MATRIX_MMA;
    spec->ALIGNED = 1;
    /* beside four groups its cache holds what is on its way; a fifth loses 6 % */
    if (facts->matrix_unit == CLATTN_MATRIX_WGMMA) {
        spec->CACHED = 1;
        spec->LOCAL = HOPPER_FIFTH;
    }
    spec->BQ = rows_of(task) <= 16 ? 16 : 32;
    spec->BK = widest <= 2 ? 64 : widest <= 4 ? 32 : 16; /* blocks of about 4 KiB */
    if (CLATTN__KNOB(&task->setting, keys))
        spec->BK = CLATTN__KNOB(&task->setting, keys);
    if (CLATTN__KNOB(&task->setting, tiles))
        teams = CLATTN__KNOB(&task->setting, tiles);
    if (task->list_rows > 0 && 2 * task->list_keys < spec->BK) /* matrix-mma gathers */
        return refuse("most keys of its blocks would be listed by nobody", reason, size);
    if (spec->BQ / 16 * (12 * widest + spec->BK / 2) >= REGISTERS)
        return refuse("its registers do not hold so many keys", reason, size);
    if (2 * memory(spec, teams, key_pitch, value_pitch) > (int64_t)facts->local_bytes)
        teams = 1;
    if (2 * memory(spec, teams, key_pitch, value_pitch) > (int64_t)facts->local_bytes ||
        teams < CLATTN__KNOB(&task->setting, tiles))
        return refuse("no tile fits its local memory", reason, size);
    finish(facts, task, teams, launch);
    return true;
}

const struct clattn__engine clattn__engine_decode = {
    .name = "matrix-decode", .few_rows = true, .may_fail = true, .test_blocks = 15, .fits = decode_fits,
    .launch = decode_launch,
};

/* ---- generic: the same loop nest, chosen by name alone; an item is a team ---- */
static bool generic_fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    bool fits = facts->has_compiler;
    snprintf(reason, size, "%s",
             fits ? "taken by name alone: the decode engine's loop with plain products, to test it"
                  : "the device has no compiler");
    return fits;
}

static bool generic_launch(const clattn_device_facts *facts, const struct clattn__task *task,
                           struct clattn__launch *launch, char *reason, size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    const char *why = clattn__matrix_plain_refusal(task);
    const int32_t teams = facts->largest_group < 2 ? 1 : 2, bytes = task->type_k == CLATTN_F32 ? 4 : 2;
    if (!why && rows_of(task) > MOST_ROWS)
        why = "it takes up to 32 rows a key head";
    spec->MATRIX = CLATTN_MATRIX_NONE;
    spec->BQ = rows_of(task) <= 16 ? 16 : 32;
    spec->BK = 32;
    const int64_t joined = (teams - 1) * spec->BQ * (int64_t)(task->dim_v + 3) * 4;
    const int64_t blocks =
        memory(spec, teams, clattn__row_pitch(task->dim), clattn__row_pitch(task->dim_v)) * bytes;
    if (!why && (blocks > joined ? blocks : joined) > (int64_t)facts->local_bytes)
        why = "no tile fits its local memory";
    if (why)
        return refuse(why, reason, size);
    finish(facts, task, teams, launch);
    /* its fence orders what other groups see on CPUs alone; and PoCL 3.1 compiles a mask's rare code, with barriers
     * behind it, to something else (rusticl and Oclgrind do not) */
    launch->can_join = launch->can_join && facts->type & CL_DEVICE_TYPE_CPU && !task->masked;
    return true;
}

const struct clattn__engine clattn__engine_decode_generic = {
    .name = "decode-generic", .by_name = true, .few_rows = true, .test_blocks = 15, .fits = generic_fits,
    .launch = generic_launch,
};
