/* SPDX-License-Identifier: MIT
 * decode.c - the engines for few rows against many keys (forward_decode.cl): as a row of the table by
 * mma.sync, and with the plain tile, to test the loop. */
#include "engine/engine.h"

#include <stdio.h>

#define MOST_ROWS 32
#define REGISTERS 255 /* of an item: 12 for sixteen columns of sixteen rows, one for two of their keys */
#define AT_A_TIME 8 /* teams on a unit: so many have registers, and enough bytes on their way */
#define USUAL_TEAMS 2 /* of a group */
/* Bytes for each team, of which those of AT_A_TIME and a group more do not fit a multiprocessor of capability
 * 9.0: beside so many its cache holds what is on its way; with a fifth group of two 6 % are lost. */
#define HOPPER_SHARE ((45 << 10) / 2)

static int64_t rows_of(const struct clattn__task *task)
{
    return task->q_len * (task->heads / task->kv_heads);
}

/* Local memory of a group, in elements: as forward_decode.cl lays it. */
static int64_t memory(const struct clattn__spec *spec, int64_t teams, int64_t key_pitch, int64_t value_pitch)
{
    const int64_t block = spec->BK * (key_pitch + value_pitch), before = block + spec->BQ * key_pitch;
    return teams * (2 * block > before ? 2 * block : before);
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

/* Of how many teams a group takes the room: one alone as much as two. */
static int32_t room_of(int32_t teams)
{
    return teams > USUAL_TEAMS ? teams : USUAL_TEAMS;
}

/* Groups of so many teams that run at a time. */
static int64_t at_a_time(const clattn_device_facts *facts, int32_t teams)
{
    return (int64_t)facts->compute_units * AT_A_TIME / room_of(teams);
}

static int64_t parts_of(const clattn_device_facts *facts, const struct clattn__task *task,
                        const struct clattn__spec *spec, int32_t teams)
{
    return task->splits ? task->splits
                        : choose_splits(task->batch * task->kv_heads,
                                        clattn__ceil_div(task->kv_len, (int64_t)teams * spec->BK),
                                        at_a_time(facts, teams));
}

/* A group joins a tile's parts, whose sums of that size it reads by itself, before a kernel after this one would
 * begin. */
#define JOIN_BYTES (32 << 10)

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
    cut.splits = parts_of(facts, task, &launch->spec, teams);
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

/* Teams of a group: the more, the fewer parts are to be joined.  Through the door four or eight, whose groups
 * fill half a multiprocessor, or all of it, where so all run at a time and as many teams as in small ones. */
static int32_t choose_teams(const clattn_device_facts *facts, const struct clattn__task *task,
                            const struct clattn__spec *spec, int64_t bytes, bool through_door)
{
    const int64_t tiles = task->batch * task->kv_heads;
    const int32_t set = CLATTN__KNOB(&task->setting, tiles);
    if (set)
        return set;
    if (through_door && bytes <= HOPPER_SHARE) {
        const int64_t usual = tiles * parts_of(facts, task, spec, USUAL_TEAMS) * USUAL_TEAMS;
        for (int32_t teams = AT_A_TIME; teams > USUAL_TEAMS; teams /= 2) {
            const int64_t groups = tiles * parts_of(facts, task, spec, teams);
            if (groups <= at_a_time(facts, teams) && 20 * groups * teams >= 19 * usual)
                return teams;
        }
    }
    return USUAL_TEAMS * bytes <= (int64_t)facts->local_bytes ? USUAL_TEAMS : 1;
}

/* Bytes of local memory that a group takes at least: so only as many run at a time as should. */
static int32_t least_local(const clattn_device_facts *facts, int32_t teams)
{
    return facts->matrix_unit == CLATTN_MATRIX_WGMMA ? HOPPER_SHARE * room_of(teams) : 0;
}

static bool mma_launch(const clattn_device_facts *facts, const struct clattn__task *task,
                       struct clattn__launch *launch, bool through_door, char *reason, size_t size)
{
    struct clattn__spec *spec = &launch->spec;
    const int64_t steps = clattn__ceil_div(task->dim, 16), steps_v = clattn__ceil_div(task->dim_v, 16),
                  widest = steps > steps_v ? steps : steps_v;
    const char *why = why_not(task);
    if (why)
        return refuse(why, reason, size);
    spec->MATRIX = CLATTN_MATRIX_MMA;
    spec->ALIGNED = 1;
    spec->CACHED = facts->matrix_unit == CLATTN_MATRIX_WGMMA;
    spec->BQ = rows_of(task) <= 16 ? 16 : 32;
    spec->BK = widest <= 2 ? 64 : widest <= 4 ? 32 : 16; /* blocks of about 4 KiB */
    if (CLATTN__KNOB(&task->setting, keys))
        spec->BK = CLATTN__KNOB(&task->setting, keys);
    if (task->list_rows > 0 && 2 * task->list_keys < spec->BK) /* matrix-mma gathers */
        return refuse("most keys of its blocks would be listed by nobody", reason, size);
    if (spec->BQ / 16 * (12 * widest + spec->BK / 2) >= REGISTERS)
        return refuse("its registers do not hold so many keys", reason, size);
    const int64_t bytes = 2 * memory(spec, 1, clattn__row_pitch(task->dim), clattn__row_pitch(task->dim_v));
    const int32_t teams = choose_teams(facts, task, spec, bytes, through_door);
    const bool large = teams > USUAL_TEAMS;
    if (large ? !through_door || bytes > HOPPER_SHARE : teams * bytes > (int64_t)facts->local_bytes)
        return refuse("no tile fits its local memory", reason, size);
    spec->LOCAL = least_local(facts, teams);
    finish(facts, task, teams, launch);
    clattn__launch_memory(launch, spec->LOCAL);
    return true;
}

static bool decode_launch(const clattn_device_facts *facts, const struct clattn__task *task,
                          struct clattn__launch *launch, char *reason, size_t size)
{
    return mma_launch(facts, task, launch, facts->matrix_unit == CLATTN_MATRIX_WGMMA, reason, size);
}

const struct clattn__engine clattn__engine_decode = {
    .name = "matrix-decode", .few_rows = true, .may_fail = true, .test_blocks = 31, .fits = decode_fits,
    .launch = decode_launch,
};

/* The same within the local memory that OpenCL grants, where that is less. */
static bool small_fits(const clattn_device_facts *facts, char *reason, size_t size)
{
    bool fits = facts->matrix_unit == CLATTN_MATRIX_WGMMA && facts->has_compiler;
    const bool is_other = facts->matrix_unit >= CLATTN_MATRIX_MMA;
    snprintf(reason, size, "%s",
             fits       ? "matrix-decode in the local memory that OpenCL grants"
             : is_other ? "it would be matrix-decode"
                        : "no matrix unit that clattn knows");
    return fits;
}

static bool small_launch(const clattn_device_facts *facts, const struct clattn__task *task,
                         struct clattn__launch *launch, char *reason, size_t size)
{
    return mma_launch(facts, task, launch, false, reason, size);
}

const struct clattn__engine clattn__engine_decode_small = {
    .name = "decode-small", .few_rows = true, .may_fail = true, .test_blocks = 31, .fits = small_fits,
    .launch = small_launch,
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
    const int64_t joined = teams / 2 * spec->BQ * (int64_t)(task->dim_v + 3) * 4;
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
