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
 * of q, k and v start at multiples of 16 bytes.
 * Numerics: scores and sums f32; weights are rounded to the values' storage, and a row is divided by the sum of these; its
 * log-sum-exp comes from the weights as they were.  A row's weights are taken relative to a maximum that is at most 2^8 too small: o
 * and the sums are rescaled only if it grows by more.  A masked pair has weight +0 exactly; where values of a PARTIAL block are not
 * finite, these count in the rows that see them, and 0 takes their place in the product.
 * Limits: a softmax, scale from 1e-10 to 1e6; q, k and v of one storage.
 */
#include "forward.clh"
#include "stage.clh"

#if MATRIX == 1
#include "tile_mma.clh"
#else
#include "tile_generic.clh"
#endif

#define KEY_BLOCK (BK * KEY_PITCH)
#define VALUE_BLOCK (BK * VALUE_PITCH)
#define BLOCKS (2 * KEY_BLOCK + 2 * VALUE_BLOCK)
#define MEMORY (BQ * KEY_PITCH > BLOCKS ? BQ * KEY_PITCH : BLOCKS)
#define NEAR 8.0f /* how far the maximum may grow before sums are rescaled */

/* A block of keys that some row sees. */
struct block {
    int key, n, class; /* first key and how many; n 0: there is none */
};

/* The first block from `key` on that is not EMPTY. */
static inline struct block find_block(const struct place *at, const struct span *span, const struct rule_env *env, int key,
                                      int item COUNT_PARAM)
{
    struct block b = {key, 0, 0};
    for (; b.key < at->key1; b.key += BK) {
        b.n = min(BK, at->key1 - b.key);
        b.class = class_of(env, span, b.key, b.n);
        if (item == 0) {
            COUNT_TILE(b.class);
        }
        if (b.class != 0)
            return b;
    }
    b.n = 0;
    return b;
}

/* What an item keeps of its rows. */
struct rows {
    int token[FRAG_ROWS], head[FRAG_ROWS]; /* position of the query, number of the head */
    float m[FRAG_ROWS], l[FRAG_ROWS];      /* maximum; for the log-sum-exp: sum of this item's weights */
};

static inline void find_rows(struct rows *rows, const struct place *at, int pack, int item)
{
    UNROLL for (int i = 0; i < FRAG_ROWS; i++) {
        int row = min(at->row0 + frag_row(item, i), at->rows - 1);
        rows->token[i] = row / pack + at->q_shift;
        rows->head[i] = at->head0 + row % pack;
        rows->m[i] = LOWEST_MAX;
        rows->l[i] = 0.0f;
    }
}

/* Edit and mask an item's scores: times unit they are then what the exponential takes. */
static inline void edit_block(float *s, const struct rows *rows, const struct rule_env *env, const struct block *b, float scale,
                              int item)
{
    (void)scale;
#if EDITED
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        UNROLL for (int c = 0; c < FRAG_KEYS; c++)
            s[S_AT(i, c)] = edit_score(env, rows->token[i], rows->head[i], b->key + frag_key(item, c), s[S_AT(i, c)] * scale);
#endif
    if (b->class == 1 || b->n < BK)
        UNROLL for (int i = 0; i < FRAG_ROWS; i++)
            UNROLL for (int c = 0; c < FRAG_KEYS; c++) {
                const int k = frag_key(item, c);
                const int visible = k < b->n && (b->class != 1 || IS_VISIBLE(env, rows->token[i], rows->head[i], b->key + k));
                s[S_AT(i, c)] = visible ? s[S_AT(i, c)] : MASKED_SCORE;
            }
}

/* Scores to weights; maxima and sums follow. */
static inline void weigh(float *s, float *o, float *sum, struct rows *rows, float unit)
{
    float top[FRAG_ROWS];
    int grows = 0;
    UNROLL for (int i = 0; i < FRAG_ROWS; i++) {
        top[i] = s[S_AT(i, 0)];
        UNROLL for (int c = 1; c < FRAG_KEYS; c++)
            top[i] = fmax(top[i], s[S_AT(i, c)]);
        grows |= (top[i] - rows->m[i]) * unit > NEAR;
    }
    if (any_near(grows)) {
        UNROLL for (int i = 0; i < FRAG_ROWS; i++) {
            float m = fmax(rows->m[i], join_max(top[i])), alpha = weight((rows->m[i] - m) * unit);
            rows->m[i] = m;
            rows->l[i] *= alpha;
            sum[SUM_AT(i)] *= alpha;
            UNROLL for (int c = 0; c < FRAG_COLUMNS; c++)
                o[O_AT(i, c)] *= alpha;
        }
    }
    UNROLL for (int i = 0; i < FRAG_ROWS; i++) {
        const float minus_m = -rows->m[i] * unit;
        float whole = 0.0f;
        UNROLL for (int c = 0; c < FRAG_KEYS; c++) {
            float w = weight(MULTIPLY_ADD(s[S_AT(i, c)], unit, minus_m));
            s[S_AT(i, c)] = w;
            whole += w;
        }
        if (LSE)
            rows->l[i] += whole;
    }
}

#if MASK_RULE
/* o += w v for the values that are not finite, in the rows that see them. */
static inline void add_special(float *o, const float *s, __local const STORED(T_V) *values, const struct rows *rows,
                               const struct rule_env *env, const struct block *b, int item)
{
    float weights[FRAG_ROWS * FRAG_KEYS]; /* a copy, so that s stays in registers */
    UNROLL for (int i = 0; i < FRAG_ROWS * FRAG_KEYS; i++)
        weights[i] = s[i];
    for (int c = 0; c < FRAG_KEYS; c++)
        for (int holder = 0; holder < ITEMS_OF_ROW; holder++) {
            const int k = frag_key(holder, c);
            float w[FRAG_ROWS];
            UNROLL for (int i = 0; i < FRAG_ROWS; i++)
                w[i] = from_item(weights[S_AT(i, c)], holder);
            UNROLL for (int column = 0; column < FRAG_COLUMNS; column++) {
                const int d = frag_column(item, column);
                const float v = k < b->n && d < DIM_V ? LOAD1(T_V, values, k * VALUE_PITCH + d) : 0.0f;
                if (!isfinite(v))
                    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
                        if (IS_VISIBLE(env, rows->token[i], rows->head[i], b->key + k))
                            o[O_AT(i, column)] += w[i] * v;
            }
        }
}

/* Values of a PARTIAL block that are not finite count in the rows that see them, and become 0 for the product. */
static inline void take_out(float *o, const float *s, __local STORED(T_V) *values, __local int *found, const struct rows *rows,
                            const struct rule_env *env, const struct block *b, int item)
{
    if (any_special(values, b->n, item))
        *found = 1;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (*found) {
        add_special(o, s, values, rows, env, b, item);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int i = item; i < b->n * DIM_V; i += GROUP) {
            const int at = i / DIM_V * VALUE_PITCH + i % DIM_V;
            if (!isfinite(LOAD1(T_V, values, at)))
                STORE1(T_V, 0.0f, values, at);
        }
        *found = 0; /* all have read it before the barrier above */
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
#endif

/* Divide by the sum of weights and store; a row without weight gives 0. */
static inline void store_rows(__global STORED(T_O) *out, const float *o, const struct rows *rows, const struct place *at,
                              const struct forward_args *a, const float *sum, int item)
{
    UNROLL for (int i = 0; i < FRAG_ROWS; i++) {
        const int row = at->row0 + frag_row(item, i);
        if (row >= at->rows)
            continue;
        __global STORED(T_O) *to = out + at->o0 + row_offset(a->o_at, a->pack, row);
        const float l = sum[SUM_AT(i)], inverse = l == 0.0f ? 0.0f : 1.0f / l;
        UNROLL for (int c = 0; c < FRAG_COLUMNS; c++)
            if (frag_column(item, c) < DIM_V)
                STORE1(T_O, l == 0.0f ? 0.0f : o[O_AT(i, c)] * inverse, to, frag_column(item, c));
    }
}

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
        weigh(s, o_sums, w_sums, &rows, unit);
        STAGED_BUT_LAST;
        barrier(CLK_LOCAL_MEM_FENCE); /* these values are there; the others' place is free */
        stage(values + (turn ^ 1) * VALUE_BLOCK, v + at.v0, a.v_at, 1, next.key, next.n, next.n ? BK : 0, DIM_V, VALUE_PITCH,
              item);
#if MASK_RULE
        if (b.class == 1)
            take_out(o_sums, s, values + turn * VALUE_BLOCK, &found, &rows, &env, &b, item);
#endif
        multiply_values(o_sums, w_sums, s, values + turn * VALUE_BLOCK, item);
        b = next;
    }

    store_rows(o, o_sums, &rows, &at, &a, w_sums, item);
#if LSE
    UNROLL for (int i = 0; i < FRAG_ROWS; i++) {
        const int row = at.row0 + frag_row(item, i);
        const float l = join_sum(rows.l[i]);
        if (row < at.rows && frag_key(item, 0) == 0) /* of the items of a row one */
            lse[at.lse0 + row_offset(a.lse_at, a.pack, row)] = row_lse(rows.m[i] * unit, l);
    }
#endif
}
