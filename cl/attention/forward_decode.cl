/* SPDX-License-Identifier: MIT
 * forward_decode.cl - fused attention of few rows against many keys, for matrix units: what counts is that keys and values are always
 * on their way.
 *
 *     S = Q K^T (a block of BK keys),  P = exp2(S - max),  O = alpha O + P V
 *
 * A work-group of GROUP items owns BQ rows, all of a head tile.  Its items are TEAMS teams of TEAM, each of one hardware group: a team
 * takes every TEAMS-th block of keys for all the rows, and has its own sums, its own place in local memory and no barrier with the
 * others until they are joined at the end.  The loop is that of forward_matrix.cl: two blocks of keys and of values a team, so that the
 * next ones are on their way while products of these are made.
 *
 *     local:  memory  for each team [2][BK][KEY_PITCH] keys, then [2][BK][VALUE_PITCH] values; before the loop, behind the first team's
 *                     first block of keys, [BQ][KEY_PITCH] queries; after it, for each team but the first, [KEPT][TEAM] sums
 *
 * The tile is one of forward_matrix.cl, and its `item` counts in a team; beside what is said there it has
 *     TEAM_BARRIER                         the items of a team see each other's local memory
 *
 * -D parameters, numerics and limits: forward_matrix.cl; LOCAL: bytes of local memory that a group takes at least, by which the host
 * limits how many groups run at a time.  A row's sums of each team are relative to maxima of their own; they are joined
 * in the order of teams, as merge.cl joins parts.
 */
#include "forward.clh"
#define TEAM (MATRIX == 1 ? 32 : 1)
#include "stage.clh"

#if MATRIX == 1
#include "tile_mma.clh"
#else
#include "tile_generic.clh"
#endif
#define TEAMS (GROUP / TEAM)
#define BLOCK_STEP (TEAMS * BK)
#include "fragments.clh"

#define KEY_BLOCK (BK * KEY_PITCH)
#define VALUE_BLOCK (BK * VALUE_PITCH)
#define BLOCKS (2 * KEY_BLOCK + 2 * VALUE_BLOCK)
#define BEFORE (KEY_BLOCK + BQ * KEY_PITCH)
#define PLACE (BLOCKS > BEFORE ? BLOCKS : BEFORE) /* of a team */
#define OUTPUTS (FRAG_ROWS * FRAG_COLUMNS)
#define KEPT (OUTPUTS + SUMS + 2 * FRAG_ROWS) /* an item's outputs, sums of rounded weights and of weights, maxima */
#define PLACES_BYTES (TEAMS * PLACE * (T_K == 0 ? 4 : 2))
#define BOX_BYTES (4 * (TEAMS - 1) * KEPT * TEAM)
#define NEEDED (PLACES_BYTES > BOX_BYTES ? PLACES_BYTES : BOX_BYTES)

#if MASK_RULE
/* Values of a PARTIAL block that are not finite count in the rows that see them, and become 0 for the product. */
static inline void take_out(float *o, const float *s, __local STORED(T_V) *values, __global const STORED(T_V) *source, long stride,
                            const struct rows *rows, const struct rule_env *env, const struct block *b, int item)
{
    if (!any_near(any_special(values, b->n, item)))
        return;
    add_special(o, s, source, stride, rows, env, b, item);
    TEAM_BARRIER;
    clear_special(values, b->n, DIM_V, VALUE_PITCH, item);
    TEAM_BARRIER;
}
#endif

/* What an item has summed. */
struct sums {
    float o[OUTPUTS], rounded[SUMS]; /* rounded: its weights, as the product took them */
};

/* Let the maxima follow the scores, and what was summed until now follow the maxima. */
static inline void make_room(const float *s, struct sums *sums, struct rows *rows, float unit)
{
    const struct growth g = follow_maxima(s, rows, unit);
    rescale(sums->o, &g);
    if (g.any)
        UNROLL for (int i = 0; i < FRAG_ROWS; i++)
            sums->rounded[SUM_AT(i)] *= g.alpha[i];
}

/* An item's numbers to its column of a team's box. */
static inline void put_sums(__local float *box, const struct sums *sums, const struct rows *rows)
{
    UNROLL for (int i = 0; i < OUTPUTS; i++)
        box[i * TEAM] = sums->o[i];
    UNROLL for (int i = 0; i < SUMS; i++)
        box[(OUTPUTS + i) * TEAM] = sums->rounded[i];
    UNROLL for (int i = 0; i < FRAG_ROWS; i++) {
        box[(OUTPUTS + SUMS + i) * TEAM] = rows->l[i];
        box[(OUTPUTS + SUMS + FRAG_ROWS + i) * TEAM] = rows->m[i];
    }
}

/* Add what the same item of another team has. */
static inline void add_sums(struct sums *sums, struct rows *rows, __local const float *box, float unit)
{
    UNROLL for (int i = 0; i < FRAG_ROWS; i++) {
        const float other = box[(OUTPUTS + SUMS + FRAG_ROWS + i) * TEAM], m = fmax(rows->m[i], other);
        const float mine = weight((rows->m[i] - m) * unit), theirs = weight((other - m) * unit);
        UNROLL for (int c = 0; c < FRAG_COLUMNS; c++)
            sums->o[O_AT(i, c)] = mine * sums->o[O_AT(i, c)] + theirs * box[O_AT(i, c) * TEAM];
        sums->rounded[SUM_AT(i)] = mine * sums->rounded[SUM_AT(i)] + theirs * box[(OUTPUTS + SUM_AT(i)) * TEAM];
        rows->l[i] = mine * rows->l[i] + theirs * box[(OUTPUTS + SUMS + i) * TEAM];
        rows->m[i] = m;
    }
}

/* The first team gets the sums of all. */
static inline void join_teams(struct sums *sums, struct rows *rows, __local float *boxes, float unit, int team, int item)
{
    barrier(CLK_LOCAL_MEM_FENCE); /* no team needs its blocks any more */
    if (team > 0)
        put_sums(boxes + (team - 1) * KEPT * TEAM + item, sums, rows);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (team == 0)
        for (int t = 1; t < TEAMS; t++)
            add_sums(sums, rows, boxes + (t - 1) * KEPT * TEAM + item, unit);
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void forward(FORWARD_PARAMS)
{
    __local uchar memory[LOCAL > NEEDED ? LOCAL : NEEDED] __attribute__((aligned(128)));
    const int team = (int)((uint)get_local_id(0) / TEAM), item = (int)((uint)get_local_id(0) % TEAM);
    __local STORED(T_K) *places = (__local STORED(T_K) *)memory, *keys = places + team * PLACE, *values = keys + 2 * KEY_BLOCK;
    const struct place at = find_place(&a, get_group_id(0) LENGTH_ARGS);
    if (at.row0 >= at.rows)
        return;
    RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
    const int n_rows = min(BQ, at.rows - at.row0);
    const struct span span = find_span(&at, at.row0, n_rows, a.pack);
    const float unit = EDITED ? 1.0f : a.scale;
    struct rows rows;
    struct queries queries;
    struct sums sums;
    float s[FRAG_ROWS * FRAG_KEYS];
    find_rows(&rows, &at, a.pack, item);
    UNROLL for (int i = 0; i < OUTPUTS; i++)
        sums.o[i] = 0.0f;
    UNROLL for (int i = 0; i < SUMS; i++)
        sums.rounded[i] = 0.0f;

    if (team == 0)
        stage(places + KEY_BLOCK, q + at.q0, a.q_at, a.pack, at.row0, n_rows, BQ, DIM, KEY_PITCH, item);
    struct block b = find_block(&at, &span, &env, at.key0 + team * BK, item COUNT_ARG);
    stage(keys, k + at.k0, a.k_at, 1, b.key, b.n, BK, DIM, KEY_PITCH, item);
    STAGED_BUT_LAST;
    barrier(CLK_LOCAL_MEM_FENCE); /* the queries are there */
    load_queries(&queries, places + KEY_BLOCK, item);
    barrier(CLK_LOCAL_MEM_FENCE); /* their place is free */
    stage(values, v + at.v0, a.v_at, 1, b.key, b.n, BK, DIM_V, VALUE_PITCH, item);

    for (int turn = 0; b.n > 0; turn ^= 1) {
        const struct block next = find_block(&at, &span, &env, b.key + BLOCK_STEP, item COUNT_ARG);
        STAGED_BUT_LAST;
        TEAM_BARRIER; /* these keys are there; the others' place is free */
        stage(keys + (turn ^ 1) * KEY_BLOCK, k + at.k0, a.k_at, 1, next.key, next.n, BK, DIM, KEY_PITCH, item);
        multiply_keys(s, &queries, keys + turn * KEY_BLOCK, item);
        edit_block(s, &rows, &env, &b, a.scale, item);
        make_room(s, &sums, &rows, unit);
        weigh(s, &rows, unit);
        if (LSE) {
            float exact[FRAG_ROWS];
            sum_weights(exact, s);
            UNROLL for (int i = 0; i < FRAG_ROWS; i++)
                rows.l[i] += exact[i];
        }
        STAGED_BUT_LAST;
        TEAM_BARRIER; /* these values are there; the others' place is free */
        stage(values + (turn ^ 1) * VALUE_BLOCK, v + at.v0, a.v_at, 1, next.key, next.n, BK, DIM_V, VALUE_PITCH, item);
#if MASK_RULE
        if (b.class == 1)
            take_out(sums.o, s, values + turn * VALUE_BLOCK, v + at.v0, a.v_at[3], &rows, &env, &b, item);
#endif
        multiply_values(sums.o, sums.rounded, s, values + turn * VALUE_BLOCK, item);
        b = next;
    }

    join_teams(&sums, &rows, (__local float *)memory, unit, team, item);
    if (team > 0)
        return;
    float weights[FRAG_ROWS];
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        weights[i] = sums.rounded[SUM_AT(i)];
    store_rows(o, sums.o, weights, &at, &a, item);
#if LSE
    store_lse(lse, &rows, rows.l, unit, &at, &a, item);
#endif
}
