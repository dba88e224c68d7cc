/* SPDX-License-Identifier: MIT
 * forward_matrix.cl - fused attention for matrix units: a work-group keeps scores and output in the fragments
 * of a tile's products.
 *
 *     S = Q K^T (a block of BK keys),  P = exp2(S - max),  O = alpha O + P V
 *
 * A work-group of GROUP items, one team, owns BQ rows.  Blocks of keys and values pass through local memory,
 * two of each: while one is worked on, the next is on its way.  There is one barrier a block, and where a block
 * is seen by all rows no branch between the weights and the product with values, so that the assembler may mix
 * them:
 *
 *     S = Q K^T;  maxima;  P = weights of S;  O += P V
 *
 * O is rescaled only where the maximum of a row grew by more than 2^8 for its weights.
 *
 * Numbers that are not finite make NaN where they are not seen, by 0 x; with some tiles also where they are
 * (MAY_NEED_CARE).  They are rare: so such numbers are looked for in the output when a tile ends, and rows that
 * have any are done again, with the rest of their tile: with care 1 values of PARTIAL blocks are looked at
 * before they are multiplied; what is left then, with care 2 by other products.  So a row's bits do not depend
 * on numbers that it does not see.
 *
 *     local:  twice [BK][KEY_PITCH] keys and [BK][VALUE_PITCH] values; [BQ][KEY_PITCH] queries: after them, or
 *             in the second ones' place where the items keep them; BOX_ROW elements for each row, and barriers,
 *             if there are any; if LISTS_KEYS the notes, of four blocks' keys.  In the end [BQ][VALUE_PITCH]
 *             output in the same place, and a byte for each row
 *
 * This file is the loop nest: blocks, masks, maxima, sums.  The products are a tile's, a file of cl/engine
 * that says who holds what:
 *     ITEMS_OF_ROW                         items that share a row
 *     FRAG_ROWS, frag_row(item, i)         rows of an item; row number i of them in the group's tile
 *     FRAG_KEYS, frag_key(item, c)         keys of an item in each row; key number c of them in the block
 *     FRAG_COLUMNS, frag_column(item, c)   the same for columns of the output
 *     S_AT(i, c), O_AT(i, c)               where an item keeps them in its arrays s and o
 *     struct queries, load_queries         an item's part of the queries; QUERIES_STAY: their place in local
 *                                          memory is free then
 *     KEY_PITCH, VALUE_PITCH               elements from a row to the next in local memory (stage.clh)
 *     LOCAL_BYTES(wanted)                  what is declared, if so much local memory is wanted
 *     stage, STAGED                        start copying rows to local memory; all are there
 *     stage_rows, stage_keys               the same of neighbouring keys, of any
 *     multiply_keys(s, q, tile, care, item)
 *                                          s = Q K^T
 *     packed, PACKED_WEIGHTS,              weights as the next product takes them
 *     pack_weights(p, s), unpack_weights(s, p)
 *     multiply_values(o, p, tile, care, item)
 *                                          o += P V, and weights as packed to the SUM_COLUMNS after o's columns
 *     row_sum(o, i)                        what they sum to in row i, over all its items
 *     MAY_NEED_CARE                        1: operands that are not finite may make NaN of what is not one, but
 *                                          with care 2
 *     CARELESS_COPY                        1: the loops without care are compiled by themselves
 *     UNROLL                               how loops over fragments are unrolled
 *     join_max, join_sum                   over the items of a row;  from_item(x, t): what item t of them has
 *     OWN_ROWS, own_row(item)              rows of the items that the hardware runs as one (a warp); the first
 *                                          of them in the group's tile
 *     any_near(x)                          whether any of these items says so
 *     WARPS_OF_ROWS 2                      (by GROUP) two of their groups have the same rows, each half of s's keys:
 *     struct box, open_box(at, item)       where they exchange, in the rows;  BOX_ROW  elements of local memory
 *                                          that it takes for each of the group's rows
 *     exchange_rows(others, x, box)        numbers of an item's rows, and what the other group has
 *     any_of_pair(x, box)                  whether any item of both says so
 *     offer_weights(p, box)                the other group may take them
 *     read_weights(p, box)                 they were all offered before a barrier of the group: the other's
 *     multiply_others(o, p, tile, box, item)
 *                                          o += P V with the other's weights, which p has then
 *     PIPED                                the groups that run as one do not wait for all at a barrier (pipeline.clh)
 *     LANES, ballot(x)                     how many they are; a bit from each
 *     weight(x)                            2^x for x <= 8; above 16 it may be infinite
 *     any_special(tile, n, item)           whether of n keys' values some of an item's share are not finite
 *
 * -D parameters beside those of forward.clh: MATRIX which tile: 0 generic, 1 mma, of TF32 for f32; GROUP, BQ,
 * BK and more as the tile says; ALIGNED 1: rows of q, k, v and o start at multiples of 16 bytes.
 * Numerics: scores and sums f32; weights are rounded to the values' storage, and a row is divided by the sum
 * of these; its log-sum-exp comes from the weights as they were.  A row's weights are relative to a maximum
 * that is too small by at most 2^8.  A masked pair has weight +0 exactly; where values of a PARTIAL block are
 * not finite, these count in the rows that see them, and 0 stands for them in the product.
 * Limits: a softmax, scale from 1e-10 to 1e6; q, k and v of one storage.
 */
#define EDITED_UNIT LOG2E
#if MATRIX == 1
#include "native.clh"
#endif
#include "forward.clh"
#include "runs.clh"
#define LISTS_KEYS GATHERS /* blocks are made of keys that the group sees, wherever they lie */
#include "stage.clh"

#if MATRIX == 1
#define WARPS_OF_ROWS (GROUP / 128)
#include "quads.clh"
#include "copies.clh"
#if T_K == 0
#include "tile_tf32.clh"
#else
#include "tile_mma.clh"
#endif
#else
#define WARPS_OF_ROWS (2 * GROUP / BQ)
#include "tile_generic.clh"
#endif
#include "fragments.clh"
#if WARPS_OF_ROWS != 2
#define BOX_ROW 0
#endif
#if PIPED
#define BEGIN_COPIES(part, n) begin_copies(&pipeline, part, n)
#define COPIES_BEGUN(part, n) copies_begun(&pipeline, part, n)
#define AWAIT_BLOCK(part, n) await_block(&pipeline, part, n)
#define TELL_READ(part, n) tell_read(&pipeline, part, n, item)
#else /* the group waits for all copies, then at a barrier */
#define PIPED 0
#define PIPELINE_BYTES 0
#define BEGIN_COPIES(part, n)
#define COPIES_BEGUN(part, n)
#define AWAIT_BLOCK(part, n)
#define TELL_READ(part, n)
#endif
#if LISTS_KEYS
#include "runs_together.clh"
#endif

#if PIECE != BK
#error "forward_matrix.cl: MK is all of a block"
#endif
#define KEY_BLOCK (BK * KEY_PITCH)
#define VALUE_BLOCK (BK * VALUE_PITCH)
#define PLACE (KEY_BLOCK + VALUE_BLOCK) /* of a block: keys, then values */
#define QUERIES_AT (QUERIES_STAY ? PLACE : 2 * PLACE)
#define QUERIES_END (QUERIES_AT + BQ * KEY_PITCH)
#define BOXES_AT (QUERIES_END > 2 * PLACE ? QUERIES_END : 2 * PLACE)
#define PIPELINE_AT (BOXES_AT + BQ * BOX_ROW)
#define INPUTS_END (PIPELINE_AT + PIPELINE_BYTES / 2)
#define OUTPUT_END (BQ * (VALUE_PITCH + 1))
#define MEMORY (INPUTS_END > OUTPUT_END ? INPUTS_END : OUTPUT_END)

#include "work.clh"

#if PIPED
/* Start copying the values of block number n, once those in their place have been read.  A macro: as a function
 * it moves the code around it. */
#define COPY_VALUES(to, block, n)                                  \
    {                                                              \
        BEGIN_COPIES(PIPELINE_VALUES, n);                          \
        STAGE_BLOCK(to, &from_v, block, DIM_V, VALUE_PITCH);       \
        COPIES_BEGUN(PIPELINE_VALUES, n);                          \
    }
#endif

#define LEAST_CARE (MASK_RULE ? 1 : 2) /* of what is done again */
#define MOST_CARE (MAY_NEED_CARE ? 2 : MASK_RULE)
#define REPEATS (MOST_CARE > 0)

#if MASK_RULE
/* Values of a PARTIAL block that are not finite count in the rows that see them, and become 0 for the
 * product.  live: p has weights. */
static inline void take_out(float *o, const packed *p, int live, __local STORED(T_V) *values,
                            __global const STORED(T_V) *source, long stride, __local int *found,
                            const struct rows *rows, const struct rule_env *env, const struct block *b,
                            int item)
{
    if (any_special(values, b->n, item))
        *found = 1;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (*found) {
        if (live) {
            float s[FRAG_ROWS * FRAG_KEYS];
            unpack_weights(s, p);
            add_special(o, s, source, stride, rows, env, b, item, item);
#if WARPS_OF_ROWS == 2
            packed others[PACKED_WEIGHTS];
            read_weights(others, &rows->box);
            unpack_weights(s, others);
            add_special(o, s, source, stride, rows, env, b, item ^ LANES, item);
#endif
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        CLEAR_SPECIAL(values, b->n, item)
        *found = 0; /* all have read it before the barrier above */
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
#endif

/* Weights of a block by its products s, which the totals and o then follow. */
static inline void weigh_block(float *o, packed *p, float *s, struct sums *totals, struct rows *rows,
                               const struct rule_env *env, const struct block *b, float scale, float unit,
                               int item)
{
    edit_block(s, rows, env, b, scale, item);
    const struct growth g = follow_maxima(s, rows, unit);
    rescale(o, &g);
    rescale_sums(totals, &g);
    weigh(s, rows, unit);
#if LSE
    float sums[FRAG_ROWS];
    sum_weights(sums, s);
    add_rows(totals->exact, sums);
#endif
    pack_weights(p, s);
#if WARPS_OF_ROWS == 2
    offer_weights(p, &rows->box);
#endif
}

/* What the group's items share. */
struct shared {
    __local STORED(T_K) *places; /* of keys and values, by turns; then of queries */
    __local int *found; /* a number that is not finite; 0 but in between */
#if REPEATS
    __local uchar *spoilt; /* [BQ] rows of the output with numbers that are not finite */
#endif
#if LISTS_KEYS
    struct notes notes;
#endif
};

#if REPEATS
/* Rows that are left as they are get a sum that no row has. */
static inline void leave_sound_rows(float *l, const struct shared *shared, int item)
{
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        if (!shared->spoilt[frag_row(item, i)])
            l[i] = -1.0f;
}

/* Note which of the rows just stored have numbers that are not finite, but for those that see nothing; returns
 * whether there are any. */
static inline int note_spoilt(const struct shared *shared, const float *o, const float *l, int item)
{
    int is_spoilt[FRAG_ROWS];
    UNROLL for (int i = 0; i < FRAG_ROWS; i++) {
        is_spoilt[i] = l[i] != 0.0f && !(l[i] < 0.0f) && has_special(o, i);
        if (is_spoilt[i])
            *shared->found = 1;
    }
    barrier(CLK_LOCAL_MEM_FENCE); /* and the notes before were read */
    if (!*shared->found)
        return 0;
    for (int r = item; r < BQ; r += GROUP)
        shared->spoilt[r] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        if (is_spoilt[i])
            shared->spoilt[frag_row(item, i)] = 1;
    *shared->found = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    return 1;
}
#endif

/* The group's rows against all blocks, and their output: with care, of rows that are spoilt.  Returns whether
 * this has numbers that are not finite. */
static inline int attend(const struct shared *shared, const struct forward_args *a, const struct place *at,
                         const struct rule_env *env, __global const STORED(T_Q) *q,
                         __global const STORED(T_K) *k, __global const STORED(T_V) *v,
                         __global STORED(T_O) *o LSE_PARAM, const int care, int item COUNT_PARAM)
{
    const float unit = EDITED ? EDITED_UNIT : a->scale;
#if LISTS_KEYS
    /* those that run as one with this item */
    const int has_rows = own_row(item) < at->rows - at->row0;
#else
    struct classes classes = begin_classes(at, a->pack, item);
#endif
    struct rows rows;
    struct queries queries;
    struct source from_k, from_v;
    struct sums totals = {{0}, {0}};
    float s[FRAG_ROWS * FRAG_KEYS], o_sums[FRAG_ROWS * (FRAG_COLUMNS + SUM_COLUMNS)], l[FRAG_ROWS];
    find_rows(&rows, at, a->pack, item);
#if WARPS_OF_ROWS == 2
    rows.box = open_box(shared->places + BOXES_AT, item);
#endif
#if PIPED
    const struct pipeline pipeline = open_pipeline(shared->places + PIPELINE_AT, care, item);
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
    open_source(&from_k, k + at->k0, a->k_at, KEY_PITCH, item);
    open_source(&from_v, v + at->v0, a->v_at, VALUE_PITCH, item);
    UNROLL for (int i = 0; i < FRAG_ROWS * (FRAG_COLUMNS + SUM_COLUMNS); i++)
        o_sums[i] = 0.0f;

    stage(shared->places + QUERIES_AT, q + at->q0, a->q_at, a->pack, at->row0, min(BQ, at->rows - at->row0), BQ,
          DIM, KEY_PITCH, item);
    ASKED asked = ASK_WORK(0);
#if LISTS_KEYS
    barrier(CLK_LOCAL_MEM_FENCE); /* its keys are noted */
#endif
    struct work now = ASKED_WORK(asked);
    if (now.own.n > 0)
        STAGE_BLOCK(shared->places, &from_k, &now.own, DIM, KEY_PITCH);
    COPIES_BEGUN(PIPELINE_KEYS, 0);
    LOT_ENDS;
    if (now.own.n > 0)
        STAGE_BLOCK(shared->places + KEY_BLOCK, &from_v, &now.own, DIM_V, VALUE_PITCH);
    COPIES_BEGUN(PIPELINE_VALUES, 0);
    LOT_ENDS;
    STAGED_BUT_LAST;
    barrier(CLK_LOCAL_MEM_FENCE);
    load_queries(&queries, shared->places + QUERIES_AT, item);
    for (int number = 1, turn = 0; now.own.n > 0; number++, turn ^= 1) {
        __local STORED(T_K) *const keys = shared->places + turn * PLACE, *const values = keys + KEY_BLOCK;
        __local STORED(T_K) *const other = shared->places + (turn ^ 1) * PLACE;
        packed p[PACKED_WEIGHTS];
        asked = ASK_WORK(number);
#if !PIPED
        STAGED;
        barrier(CLK_LOCAL_MEM_FENCE); /* this block is there; the one before was read, or the queries */
#endif
        const struct work next = ASKED_WORK(asked);
        if (next.own.n > 0) {
            BEGIN_COPIES(PIPELINE_KEYS, number);
            STAGE_BLOCK(other, &from_k, &next.own, DIM, KEY_PITCH);
            COPIES_BEGUN(PIPELINE_KEYS, number);
            if (!PIPED)
                STAGE_BLOCK(other + KEY_BLOCK, &from_v, &next.own, DIM_V, VALUE_PITCH);
        }
        AWAIT_BLOCK(PIPELINE_KEYS, number - 1);
        if (now.own.class != 0)
            multiply_keys(s, &queries, keys, care, item);
        TELL_READ(PIPELINE_KEYS, number - 1);
#if PIPED && !MASK_RULE
        if (next.own.n > 0)
            COPY_VALUES(other + KEY_BLOCK, &next.own, number)
#endif
        if (now.own.class != 0)
            weigh_block(o_sums, p, s, &totals, &rows, env, &now.own, a->scale, unit, item);
#if PIPED && MASK_RULE /* earlier, addresses and what masks want would be spilled */
        if (next.own.n > 0)
            COPY_VALUES(other + KEY_BLOCK, &next.own, number)
#endif
        AWAIT_BLOCK(PIPELINE_VALUES, number - 1);
#if MASK_RULE
        if (care > 0 && now.class == 1)
            take_out(o_sums, p, now.own.class != 0, values, v + at->v0, a->v_at[3], shared->found, &rows, env,
                     &now.own, item);
#endif
        if (now.own.class != 0) {
            multiply_values(o_sums, p, values, care, item);
#if WARPS_OF_ROWS == 2
            multiply_others(o_sums, p, values, &rows.box, item);
#endif
        }
        TELL_READ(PIPELINE_VALUES, number - 1);
        now = next;
    }
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        l[i] = row_sum(o_sums, i);
#if REPEATS
    if (care)
        leave_sound_rows(l, shared, item);
#endif
#if LSE
    store_lse(lse, &rows, totals.exact, l, unit, at, a, item);
#endif
#if STORES_WIDE
    store_wide(o, o_sums, l, shared->places, at, a, item);
#else
    store_rows(o, o_sums, l, at, a, item);
#endif
#if REPEATS
    return note_spoilt(shared, o_sums, l, item);
#else
    return 0;
#endif
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void forward(FORWARD_PARAMS)
{
    __local uchar memory[LOCAL_BYTES(MEMORY * sizeof(RAW(T_K)))] __attribute__((aligned(128)));
    __local int found;
#if REPEATS
    __local uchar spoilt[BQ];
#endif
#if LISTS_KEYS
    DECLARE_NOTES
#endif
    const int item = (int)get_local_id(0);
    __local STORED(T_K) *const places = (__local STORED(T_K) *)memory;
    const struct shared shared = {places, &found
#if REPEATS
                                  , spoilt
#endif
#if LISTS_KEYS
                                  , NOTES
#endif
    };
    const struct place at = find_place(&a, (uint)get_group_id(0) LENGTH_ARGS);
    if (at.row0 >= at.rows)
        return;
    found = 0;
    RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
#if CARELESS_COPY
    int care = LEAST_CARE;
    if (attend(&shared, &a, &at, &env, q, k, v, o LSE_ARG, 0, item COUNT_ARG))
        while (care <= MOST_CARE && attend(&shared, &a, &at, &env, q, k, v, o LSE_ARG, care, item COUNT_ARG))
            care++;
#else
    int care = 0;
    while (care <= MOST_CARE && attend(&shared, &a, &at, &env, q, k, v, o LSE_ARG, care, item COUNT_ARG))
        care = care == 0 ? LEAST_CARE : care + 1;
#endif
}
