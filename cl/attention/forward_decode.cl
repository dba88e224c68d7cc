/* SPDX-License-Identifier: MIT
 * forward_decode.cl - fused attention of few rows against many keys, for matrix units: what counts is that
 * keys and values are always on their way.
 *
 *     S = Q K^T (a block of BK keys),  P = exp2(S - max),  O = alpha O + P V
 *
 * A work-group of GROUP items owns BQ rows, all of a head tile.  It is TEAMS teams: a team takes every
 * TEAMS-th block of keys for all the rows, and has its own sums, its own place in local memory and no barrier
 * with the others until they are joined at the end.  Of keys and of values a team has two blocks, so that the
 * next ones are on their way while products of these are made; a block is one piece.
 *
 *     local:  memory  for each team twice [BK][KEY_PITCH] keys and [BK][VALUE_PITCH] values; before the loop,
 *                     from the first team's second block on, [BQ][KEY_PITCH] queries; after it, for each of
 *                     half of the teams, [KEPT][TEAM] sums
 *
 * The tile is one of forward_matrix.cl, queries in registers (QUERIES_STAY); beside what is said there it has
 *     LOT_ENDS, STAGED_BUT_LAST            what was staged so far is a lot; all lots but the last are there
 *
 * -D parameters, numerics and limits: forward_matrix.cl; LOCAL: bytes of local memory that a group takes at
 * least, by which the host limits how many groups run at a time.  Maxima follow before weights are taken.  A
 * row's sums of each team are relative to maxima of their own; those of two teams are joined, then of two pairs, as
 * merge.cl joins parts.
 * JOINS: 1, 2: parts of the keys are joined here, too (join.clh); o and lse are the parts' then.
 */
#define EDITED_UNIT LOG2E
#define WHOLE_GROUPS 1
#define I64 long
#define I32 int
#include "merge_args.clh"
#if JOINS > 1
#define JOINED_LSE_PARAM , __global float *joined_lse
#define JOINED_LSE_ARG , joined_lse
#else
#define JOINED_LSE_PARAM
#define JOINED_LSE_ARG
#endif
#if JOINS
#define SCRATCH_PARAM                                                                              \
    , const struct merge_args joined, __global STORED(T_JOINED) *joined_o JOINED_LSE_PARAM,        \
        __global volatile uint *arrivals
#endif
#if MATRIX == 1
#include "native.clh"
#endif
#include "forward.clh"
#include "stage.clh"

#if MATRIX == 1
#include "quads.clh"
#include "copies.clh"
#include "tile_mma.clh"
#else
#include "tile_generic.clh"
#endif
#define BLOCK_STEP (TEAMS * BK) /* teams take blocks by turns */
#include "fragments.clh"
#if JOINS
#include "join.clh"
#endif

#if PIECE != BK || !QUERIES_STAY
#error "forward_decode.cl: MK is all of a block, NQ all of the queries' columns"
#endif
#define KEY_BLOCK (BK * KEY_PITCH)
#define VALUE_BLOCK (BK * VALUE_PITCH)
#define BLOCK (KEY_BLOCK + VALUE_BLOCK)
#define BEFORE (BLOCK + BQ * KEY_PITCH)
#define PLACE (2 * BLOCK > BEFORE ? 2 * BLOCK : BEFORE) /* of a team */
#define OUTPUTS (FRAG_ROWS * (FRAG_COLUMNS + SUM_COLUMNS))
#define KEPT (OUTPUTS + 2 * FRAG_ROWS) /* an item's outputs; rows' sums of weights, not rounded; maxima */
#define PLACES_BYTES (TEAMS * PLACE * (T_K == 0 ? 4 : 2))
#define BOX_BYTES (4 * (TEAMS / 2) * KEPT * TEAM)
#define NEEDED (PLACES_BYTES > BOX_BYTES ? PLACES_BYTES : BOX_BYTES)
#define THROUGH_DOOR (LOCAL_BYTES(LOCAL) < LOCAL)
#define DECLARED (THROUGH_DOOR ? LOCAL_BYTES(LOCAL) : LOCAL > NEEDED ? LOCAL : NEEDED)
#if (TEAMS & (TEAMS - 1)) != 0 || THROUGH_DOOR && LOCAL < NEEDED
#error "forward_decode.cl: a power of two teams, whose blocks and sums LOCAL holds"
#endif

/* Start copying a block's rows, if there is one: a lot, without rows else. */
static inline void stage_block(__local STORED(T_K) *to, __global const STORED(T_K) *from, const I64 *at,
                               const struct block *b, int width, int pitch, int item)
{
    if (b->n > 0)
        stage(to, from, at, 1, b->key, b->n, BK, width, pitch, item);
    LOT_ENDS;
}

#if MASK_RULE
/* Values of a PARTIAL block that are not finite count in the rows that see them, and become 0 for the
 * product. */
static inline void take_out(float *o, const float *s, __local STORED(T_V) *values,
                            __global const STORED(T_V) *source, long stride, const struct rows *rows,
                            const struct rule_env *env, const struct block *b, int item)
{
    if (!any_near(any_special(values, b->n, item)))
        return;
    add_special(o, s, source, stride, rows, env, b, item, item);
    team_barrier();
    CLEAR_SPECIAL(values, b->n, item)
    team_barrier();
}
#endif

/* Let the maxima follow the scores, and what was summed until now follow the maxima. */
static inline void make_room(const float *s, float *o, struct sums *totals, struct rows *rows, float unit)
{
    const struct growth g = follow_maxima(s, rows, unit);
    rescale(o, &g);
    rescale_sums(totals, &g);
}

/* An item's numbers to its column of a team's box, of rows that there may be. */
static inline void put_sums(__local float *box, const float *o, const struct sums *totals,
                            const struct rows *rows, int n_rows)
{
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        if (frag_row(0, i) < n_rows) {
            UNROLL for (int c = 0; c < FRAG_COLUMNS + SUM_COLUMNS; c++)
                box[O_AT(i, c) * TEAM] = o[O_AT(i, c)];
            box[(OUTPUTS + i) * TEAM] = totals->exact[i];
            box[(OUTPUTS + FRAG_ROWS + i) * TEAM] = rows->m[i];
        }
}

/* Add what the same item of another team has. */
static inline void join_sums(float *o, struct sums *totals, struct rows *rows, __local const float *box,
                             float unit, int n_rows)
{
    UNROLL for (int i = 0; i < FRAG_ROWS; i++) {
        if (frag_row(0, i) >= n_rows)
            continue;
        const float other = box[(OUTPUTS + FRAG_ROWS + i) * TEAM], m = fmax(rows->m[i], other);
        const float mine = weight((rows->m[i] - m) * unit), theirs = weight((other - m) * unit);
        UNROLL for (int c = 0; c < FRAG_COLUMNS + SUM_COLUMNS; c++)
            o[O_AT(i, c)] = mine * o[O_AT(i, c)] + theirs * box[O_AT(i, c) * TEAM];
        totals->exact[i] = mine * totals->exact[i] + theirs * box[(OUTPUTS + i) * TEAM];
        rows->m[i] = m;
    }
}

/* The first team gets the sums of all, by halves. */
static inline void join_teams(float *o, struct sums *totals, struct rows *rows, __local float *boxes,
                              float unit, int n_rows, int team, int item)
{
    for (int far = TEAMS / 2; far > 0; far /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE); /* no team needs its blocks any more, nor a box */
        if (team >= far && team < 2 * far)
            put_sums(boxes + (team - far) * KEPT * TEAM + item, o, totals, rows, n_rows);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (team < far)
            join_sums(o, totals, rows, boxes + team * KEPT * TEAM + item, unit, n_rows);
    }
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void forward(FORWARD_PARAMS)
{
    __local uchar memory[DECLARED] __attribute__((aligned(128)));
    /* unsigned: compilers know then that addresses in local memory differ by constants */
    const int item = (int)((uint)get_local_id(0) % TEAM), team = find_team((int)get_local_id(0));
    __local STORED(T_K) *places = (__local STORED(T_K) *)memory, *keys = places + team * PLACE,
                        *values = keys + KEY_BLOCK;
    const struct place at = find_place(&a, (uint)get_group_id(0) LENGTH_ARGS);
    if (at.row0 >= at.rows)
        return;
    RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
    const int n_rows = min(BQ, at.rows - at.row0);
    const struct span span = find_span(&at, at.row0, n_rows, a.pack);
    const float unit = EDITED ? EDITED_UNIT : a.scale;
    struct rows rows;
    struct queries queries;
    struct sums totals = {{0}, {0}};
    float s[FRAG_ROWS * FRAG_KEYS], o_sums[OUTPUTS];
    packed p[PACKED_WEIGHTS];
    /* first of all copies of the first blocks begin: nothing else takes as long */
    struct block b = find_block(&at, &span, &env, at.key0 + team * BK, item COUNT_ARG);
    stage_block(keys, k + at.k0, a.k_at, &b, DIM, KEY_PITCH, item);
    stage_block(values, v + at.v0, a.v_at, &b, DIM_V, VALUE_PITCH, item);
    if (team == 0) {
        stage(places + BLOCK, q + at.q0, a.q_at, a.pack, at.row0, n_rows, BQ, DIM, KEY_PITCH, item);
        STAGED;
    }
    find_rows(&rows, &at, a.pack, item);
    UNROLL for (int i = 0; i < OUTPUTS; i++)
        o_sums[i] = 0.0f;
    barrier(CLK_LOCAL_MEM_FENCE); /* the queries are there */
    load_queries(&queries, places + BLOCK, item);
    barrier(CLK_LOCAL_MEM_FENCE); /* their place is free */

    for (int turn = 0; b.n > 0; turn ^= 1) {
        const struct block next = find_block(&at, &span, &env, b.key + TEAMS * BK, item COUNT_ARG);
        STAGED_BUT_LAST;
        team_barrier(); /* these keys are there; the others' place is free */
        stage_block(keys + (turn ^ 1) * BLOCK, k + at.k0, a.k_at, &next, DIM, KEY_PITCH, item);
        multiply_keys(s, &queries, keys + turn * BLOCK, 0, item);
        edit_block(s, &rows, &env, &b, a.scale, item);
        make_room(s, o_sums, &totals, &rows, unit);
        weigh(s, &rows, unit);
#if LSE
        float sums[FRAG_ROWS];
        sum_weights(sums, s);
        add_rows(totals.exact, sums);
#endif
        STAGED_BUT_LAST;
        team_barrier(); /* these values are there; the others' place is free */
        stage_block(values + (turn ^ 1) * BLOCK, v + at.v0, a.v_at, &next, DIM_V, VALUE_PITCH, item);
#if MASK_RULE
        if (b.class == 1)
            take_out(o_sums, s, values + turn * BLOCK, v + at.v0, a.v_at[3], &rows, &env, &b, item);
#endif
        pack_weights(p, s);
        multiply_values(o_sums, p, values + turn * BLOCK, 0, item);
        b = next;
    }

    join_teams(o_sums, &totals, &rows, (__local float *)memory, unit, n_rows, team, item);
    if (team == 0) {
        float l[FRAG_ROWS];
        UNROLL for (int i = 0; i < FRAG_ROWS; i++)
            l[i] = row_sum(o_sums, i);
        store_rows(o, o_sums, l, &at, &a, item);
#if LSE
        store_lse(lse, &rows, totals.exact, l, unit, &at, &a, item);
#endif
    }
#if JOINS
    __local int last;
    if (is_last(arrivals, &at, &a, &last, (int)get_local_id(0)))
        join_parts((__local float *)memory, o, lse, &at, &a, &joined, joined_o JOINED_LSE_ARG, (int)get_local_id(0));
#endif
}
