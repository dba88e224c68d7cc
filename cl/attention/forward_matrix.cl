/* SPDX-License-Identifier: MIT
 * forward_matrix.cl - fused attention for matrix units: a work-group keeps scores and output in the fragments of a tile's products.
 *
 *     S = Q K^T (a block of BK keys),  P = exp2(S - max),  O = alpha O + P V
 *
 * A work-group of GROUP items owns BQ rows.  Queries are read once and kept by the items; blocks of keys and values pass through
 * local memory, two of each, so that the next ones are on their way while products of these are made.  Scores never leave the
 * items: the fragments of S become those of P.
 *
 *     local:  memory [2][BK][KEY_PITCH] keys, then [2][BK][VALUE_PITCH] values; before the loop [BQ][KEY_PITCH] queries
 *
 * This file is the loop nest: blocks, masks, maxima, sums.  The products are a tile's, a file of cl/engine that says who holds
 * what:
 *     ITEMS_OF_ROW                         items that share a row
 *     FRAG_ROWS, frag_row(item, i)         rows of an item; row number i of them in the group's tile
 *     FRAG_KEYS, frag_key(item, c)         keys of an item in each row; key number c of them in the block
 *     FRAG_COLUMNS, frag_column(item, c)   the same for columns of the output
 *     S_AT(i, c), O_AT(i, c)               where an item keeps them in its arrays s and o
 *     struct queries, load_queries         an item's part of the queries
 *     KEY_PITCH, VALUE_PITCH               elements from a row to the next in local memory
 *     stage, STAGED, STAGED_BUT_LAST       start copying rows to local memory; all are there; all but the last started
 *     multiply_keys(s, q, tile, item)      s = Q K^T
 *     multiply_values(o, sum, s, tile, item)   o += P V; sum += the rounded weights of a row, at SUM_AT(i) of SUMS numbers
 *     UNROLL                               how loops over fragments are unrolled
 *     join_max, join_sum                   over the items of a row;  from_item(x, t): what item t of them has
 *     any_near(x)                          whether any item of the hardware's group says so
 *     weight(x)                            2^x for x <= 8
 *     any_special(tile, n, item)           whether of n keys' values some of an item's share are not finite
 *
 * -D parameters beside those of forward.clh: MATRIX which tile: 0 generic, 1 mma; GROUP, BQ, BK as the tile says; ALIGNED 1: rows
 * of q, k, v and o start at multiples of 16 bytes.
 * Numerics: scores and sums f32; weights are rounded to the values' storage, and a row is divided by the sum of these; its
 * log-sum-exp comes from the weights as they were.  A row's weights are taken relative to a maximum that is at most 2^8 too small: o
 * and the sums are rescaled only if it grows by more.  A masked pair has weight +0 exactly; where values of a PARTIAL block are not
 * finite, these count in the rows that see them, and 0 takes their place in the product.
 * Limits: a softmax, scale from 1e-10 to 1e6; q, k and v of one storage.
 */
#include "forward.clh"
#define TEAM GROUP /* items that share a tile */
#include "stage.clh"

#if MATRIX == 1
#include "tile_mma.clh"
#else
#include "tile_generic.clh"
#endif
#include "fragments.clh"

#define KEY_BLOCK (BK * KEY_PITCH)
#define VALUE_BLOCK (BK * VALUE_PITCH)
#define BLOCKS (2 * KEY_BLOCK + 2 * VALUE_BLOCK)
#define MEMORY (BQ * KEY_PITCH > BLOCKS ? BQ * KEY_PITCH : BLOCKS)

#if MASK_RULE
/* Values of a PARTIAL block that are not finite count in the rows that see them, and become 0 for the product. */
static inline void take_out(float *o, const float *s, __local STORED(T_V) *values, __global const STORED(T_V) *source, long stride,
                            __local int *found, const struct rows *rows, const struct rule_env *env, const struct block *b, int item)
{
    if (any_special(values, b->n, item))
        *found = 1;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (*found) {
        add_special(o, s, source, stride, rows, env, b, item);
        barrier(CLK_LOCAL_MEM_FENCE);
        clear_special(values, b->n, DIM_V, VALUE_PITCH, item);
        *found = 0; /* all have read it before the barrier above */
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
#endif

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void forward(FORWARD_PARAMS)
{
    __local RAW(T_K) memory[MEMORY] __attribute__((aligned(128)));
    __local STORED(T_K) *keys = (__local STORED(T_K) *)memory, *values = keys + 2 * KEY_BLOCK;
#if MASK_RULE
    __local int found; /* a value that is not finite */
    found = 0;
#endif
    const int item = (int)get_local_id(0);
    const struct place at = find_place(&a, get_group_id(0) LENGTH_ARGS);
    if (at.row0 >= at.rows)
        return;
    RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
    const struct span span = find_span(&at, at.row0, min(BQ, at.rows - at.row0), a.pack);
    const float unit = EDITED ? 1.0f : a.scale;
    struct rows rows;
    struct queries queries;
    float o_sums[FRAG_ROWS * FRAG_COLUMNS], w_sums[SUMS], s[FRAG_ROWS * FRAG_KEYS];
    find_rows(&rows, &at, a.pack, item);
    UNROLL for (int i = 0; i < FRAG_ROWS * FRAG_COLUMNS; i++)
        o_sums[i] = 0.0f;
    UNROLL for (int i = 0; i < SUMS; i++)
        w_sums[i] = 0.0f;

    stage(keys, q + at.q0, a.q_at, a.pack, at.row0, min(BQ, at.rows - at.row0), BQ, DIM, KEY_PITCH, item);
    STAGED;
    barrier(CLK_LOCAL_MEM_FENCE);
    load_queries(&queries, keys, item);
    barrier(CLK_LOCAL_MEM_FENCE);

    struct block b = find_block(&at, &span, &env, at.key0, item COUNT_ARG);
    if (b.n > 0) {
        stage(keys, k + at.k0, a.k_at, 1, b.key, b.n, BK, DIM, KEY_PITCH, item);
        stage(values, v + at.v0, a.v_at, 1, b.key, b.n, BK, DIM_V, VALUE_PITCH, item);
    }
    for (int turn = 0; b.n > 0; turn ^= 1) {
        const struct block next = find_block(&at, &span, &env, b.key + BK, item COUNT_ARG);
        STAGED_BUT_LAST;
        barrier(CLK_LOCAL_MEM_FENCE); /* these keys are there; the others' place is free */
        stage(keys + (turn ^ 1) * KEY_BLOCK, k + at.k0, a.k_at, 1, next.key, next.n, next.n ? BK : 0, DIM, KEY_PITCH, item);
        multiply_keys(s, &queries, keys + turn * KEY_BLOCK, item);
        edit_block(s, &rows, &env, &b, a.scale, item);
        const struct growth g = follow_maxima(s, &rows, unit);
        rescale(o_sums, &g);
        if (g.any)
            UNROLL for (int i = 0; i < FRAG_ROWS; i++)
                w_sums[SUM_AT(i)] *= g.alpha[i];
        weigh(s, &rows, unit);
        if (LSE) {
            float sums[FRAG_ROWS];
            sum_weights(sums, s);
            UNROLL for (int i = 0; i < FRAG_ROWS; i++)
                rows.l[i] += sums[i];
        }
        STAGED_BUT_LAST;
        barrier(CLK_LOCAL_MEM_FENCE); /* these values are there; the others' place is free */
        stage(values + (turn ^ 1) * VALUE_BLOCK, v + at.v0, a.v_at, 1, next.key, next.n, next.n ? BK : 0, DIM_V, VALUE_PITCH,
              item);
#if MASK_RULE
        if (b.class == 1)
            take_out(o_sums, s, values + turn * VALUE_BLOCK, v + at.v0, a.v_at[3], &found, &rows, &env, &b, item);
#endif
        multiply_values(o_sums, w_sums, s, values + turn * VALUE_BLOCK, item);
        b = next;
    }

    float weights[FRAG_ROWS];
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        weights[i] = w_sums[SUM_AT(i)];
    store_rows(o, o_sums, weights, &at, &a, item);
#if LSE
    store_lse(lse, &rows, rows.l, unit, &at, &a, item);
#endif
}
