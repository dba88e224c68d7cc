/* SPDX-License-Identifier: MIT
 * forward_matrix.cl - fused attention for matrix units: a work-group keeps scores and output in the fragments
 * of a tile's products.
 *
 *     S = Q K^T (a block of BK keys),  P = exp2(S - max),  O = alpha O + P V
 *
 * A work-group of GROUP items, one team, owns BQ rows.  Blocks of keys and values pass through local memory,
 * two of each.  A block is done in pieces of PIECE keys, and its weights are kept packed until the next turn
 * of the loop, so that there is always something to multiply while weights are taken:
 *
 *     for each piece:  S = Q K^T of the next block;  O += P V of this one;  P = weights of S
 *
 * These weights are relative to the maximum of the blocks before; only where their sum shows that it was too
 * small, the block is done again with care: scores of all its pieces, maxima, O rescaled, weights.  So are
 * blocks that are masked in part, and the first.
 *
 *     local:  [2][BK][KEY_PITCH] keys, [2][BK][VALUE_PITCH] values; [BQ][KEY_PITCH] queries: after them, or
 *             in the values' place where the items keep them; if LISTS_KEYS the notes, of four blocks' keys
 *
 * This file is the loop nest: blocks, masks, maxima, sums.  The products are a tile's, a file of cl/engine
 * that says who holds what:
 *     ITEMS_OF_ROW                         items that share a row
 *     FRAG_ROWS, frag_row(item, i)         rows of an item; row number i of them in the group's tile
 *     PIECE                                keys of a piece
 *     FRAG_KEYS, frag_key(item, c)         keys of an item in each row; key number c of them in the piece
 *     FRAG_COLUMNS, frag_column(item, c)   the same for columns of the output
 *     S_AT(i, c), O_AT(i, c)               where an item keeps them in its arrays s and o
 *     struct queries, load_queries         an item's part of the queries; QUERIES_STAY: their place in local
 *                                          memory is free then
 *     KEY_PITCH, VALUE_PITCH               elements from a row to the next in local memory
 *     LOCAL_BYTES(wanted)                  what is declared, if so much local memory is wanted
 *     stage, STAGED                        start copying rows to local memory; all are there
 *     stage_rows, stage_keys               the same of neighbouring keys, of any
 *     multiply_keys(s, q, tile, item)      s = Q K^T
 *     packed, PACKED_WEIGHTS,              weights as the next product takes them
 *     pack_weights(p, s), unpack_weights(s, p)
 *     sum_rounded(sums, s)                 what these sum to in each row, over all its items
 *     multiply_values(o, p, tile, item)    o += P V
 *     UNROLL                               how loops over fragments are unrolled
 *     join_max, join_sum                   over the items of a row;  from_item(x, t): what item t of them has
 *     OWN_ROWS                             rows of the items that the hardware runs as one (a warp): the
 *                                          group's BQ, in their order
 *     any_near(x)                          whether any of these items says so
 *     LANES, ballot(x)                     how many they are; a bit from each
 *     weight(x)                            2^x for x <= 8; above 16 it may be infinite
 *     any_special(tile, n, item)           whether of n keys' values some of an item's share are not finite
 *
 * -D parameters beside those of forward.clh: MATRIX which tile: 0 generic, 1 mma; GROUP, BQ, BK and more as
 * the tile says; ALIGNED 1: rows of q, k, v and o start at multiples of 16 bytes.
 * Numerics: scores and sums f32; weights are rounded to the values' storage, and a row is divided by the sum
 * of these; its log-sum-exp comes from the weights as they were.  A row's weights are relative to a maximum
 * that is too small by at most the LARGEST_SUM.  A masked pair has weight +0 exactly; where values of a
 * PARTIAL block are not finite, these count in the rows that see them, and 0 stands for them in the product.
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
#include "tile_mma.clh"
#else
#include "tile_generic.clh"
#endif
#include "fragments.clh"
#if LISTS_KEYS
#include "runs_together.clh"
#endif

#define PIECES (BK / PIECE)
#define KEY_BLOCK (BK * KEY_PITCH)
#define VALUE_BLOCK (BK * VALUE_PITCH)
#define VALUES_AT (2 * KEY_BLOCK)
#define BLOCKS_END (VALUES_AT + 2 * VALUE_BLOCK)
#define QUERIES_AT (QUERIES_STAY ? VALUES_AT : BLOCKS_END)
#define QUERIES_END (QUERIES_AT + BQ * KEY_PITCH)
#define INPUTS_END (QUERIES_END > BLOCKS_END ? QUERIES_END : BLOCKS_END)
#define MEMORY (INPUTS_END > BQ * VALUE_PITCH ? INPUTS_END : BQ * VALUE_PITCH)

/* A block as the items that run as one see it: `own.class` is of their rows, `class` of the group's. */
struct work {
    struct block own;
    int class;
};

#if !LISTS_KEYS
/* Classes of LANES blocks that are taken at a time, a block by each item: a bit each, the first block's the
 * lowest. */
struct classes {
    struct span span, own_span; /* of the group's rows, of those of the items that run as one */
    int has_rows;               /* these have rows */
    int key;                    /* first key after the blocks */
    uint some, full;            /* blocks to come that are not EMPTY; those that are FULL */
    uint own_some, own_full;
};

static inline struct classes begin_classes(const struct place *at, int pack, int item)
{
    struct classes c;
    const int own_row = item / LANES * OWN_ROWS % BQ, rows = min(BQ, at->rows - at->row0);
    c.has_rows = own_row < rows;
    c.span = find_span(at, at->row0, rows, pack);
    c.own_span = find_span(at, at->row0 + own_row, max(1, min(OWN_ROWS, rows - own_row)), pack);
    c.key = at->key0;
    c.some = 0;
    return c;
}

static inline void take_classes(struct classes *c, const struct place *at, const struct rule_env *env,
                                int item COUNT_PARAM)
{
    const int key = c->key + item % LANES * BK, n = min(BK, at->key1 - key);
    const int class = n > 0 ? class_of(env, &c->span, key, n) : 0;
    const int own = n > 0 && c->has_rows ? class_of(env, &c->own_span, key, n) : 0;
    if (item < LANES && n > 0) {
        COUNT_TILE(class);
    }
    c->some = ballot(class != 0);
    c->full = ballot(class == 2);
    c->own_some = ballot(own != 0);
    c->own_full = ballot(own == 2);
    c->key += LANES * BK;
}

/* The next block that is not EMPTY for the group; own.n 0: there is none. */
static inline struct work find_work(struct classes *c, const struct place *at, const struct rule_env *env,
                                    int item COUNT_PARAM)
{
    struct work w = {{0, 0, 0}, 0};
    while (c->some == 0 && (c->key = skip_unlisted(env, &c->span, c->key, at->key1, BK)) < at->key1)
        take_classes(c, at, env, item COUNT_ARG);
    if (c->some == 0)
        return w;
    const uint bit = c->some & -c->some;
    w.own.key = c->key - (int)(LANES - 31 + clz(bit)) * BK;
    w.own.n = min(BK, at->key1 - w.own.key);
    w.own.class = c->own_full & bit ? 2 : c->own_some & bit ? 1 : 0;
    w.class = c->full & bit ? 2 : 1;
    c->some ^= bit;
    return w;
}

#define ASKED struct work
#define ASK_WORK(number) find_work(&classes, &at, &env, item COUNT_ARG)
#define ASKED_WORK(asked) (asked)
#define STAGE_BLOCK(to, from, block, width, pitch) stage_rows(to, from, (block)->key, (block)->n, BK, width, pitch, item)
#else
/* Where the walk over the group's keys is, and the keys of four blocks: while one is noted, some items may
 * still be at the three before.  Arrays, not one struct in local memory: of that LLVM makes several
 * variables, and PoCL 3.1 does not expect them. */
struct notes {
    __local struct look *look; /* one */
    __local int *n, *class;    /* [4] */
    __local int *keys;         /* [4][BK] */
    __local char *known;
};
#define DECLARE_NOTES                                                                                         \
    __local struct look look_[1];                                                                             \
    __local int counts_[8], keys_[4 * BK];                                                                    \
    __local char known_[4 * BK];                                                                              \
    const struct notes notes = {look_, counts_, counts_ + 4, keys_, known_};

/* The next BK keys that the group's rows see are noted by the items that run as one, others for each
 * block. */
static inline int note_work(const struct notes *notes, const struct place *at, const struct rule_env *env,
                            int pack, int number, int item)
{
    const int slot = number % 4;
    if (item / LANES == number % (GROUP / LANES)) {
        struct look l;
        if (number == 0)
            l = begin_look(at, env, pack);
        else
            l = *notes->look;
        const struct noted x =
            note_keys(&l, env, notes->keys + slot * BK, notes->known + slot * BK, BK, item % LANES);
        if (item % LANES == 0) {
            *notes->look = l;
            notes->n[slot] = x.n;
            notes->class[slot] = x.n == 0 ? 0 : x.partial ? 1 : 2;
        }
    }
    return slot;
}

/* They, for an item after a barrier; own.n 0: there are none. */
static inline struct work noted_work(const struct notes *notes, int slot, int has_rows, int item COUNT_PARAM)
{
    const int n = notes->n[slot], class = notes->class[slot];
    const struct work w = {{0, n, has_rows ? class : 0, notes->keys + slot * BK, notes->known + slot * BK},
                           class};
    if (item == 0 && n > 0) {
        COUNT_TILE(class);
    }
    return w;
}

#define ASKED int
#define ASK_WORK(number) note_work(&notes, &at, &env, a.pack, number, item)
#define ASKED_WORK(slot) noted_work(&notes, slot, has_rows, item COUNT_ARG)
#define STAGE_BLOCK(to, from, block, width, pitch) stage_keys(to, from, (block)->keys, (block)->n, BK, width, pitch, item)
#endif

static inline struct block piece_of(const struct block *b, int j)
{
    const struct block piece = {b->key + j * PIECE, b->n - j * PIECE, b->class
#if LISTS_KEYS
                                , b->keys + j * PIECE, b->known + j * PIECE
#endif
    };
    return piece;
}

#if MASK_RULE
/* Values of a PARTIAL block that are not finite count in the rows that see them, and become 0 for the
 * product.  live: p has weights. */
static inline void take_out(float *o, const packed p[PIECES][PACKED_WEIGHTS], int live,
                            __local STORED(T_V) *values, __global const STORED(T_V) *source, long stride,
                            __local int *found, const struct rows *rows, const struct rule_env *env,
                            const struct block *b, int item)
{
    if (any_special(values, b->n, item))
        *found = 1;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (*found) {
        if (live)
            UNROLL for (int j = 0; j < PIECES; j++) {
                const struct block piece = piece_of(b, j);
                float s[FRAG_ROWS * FRAG_KEYS];
                unpack_weights(s, p[j]);
                add_special(o, s, source, stride, rows, env, &piece, item);
            }
        barrier(CLK_LOCAL_MEM_FENCE);
        CLEAR_SPECIAL(values, b->n, item)
        *found = 0; /* all have read it before the barrier above */
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
#endif

/* Values of the block of weights p, while scores of the next one become its weights, all of which are
 * seen. */
static inline struct sums pass_block(float *o, packed p[PIECES][PACKED_WEIGHTS],
                                     __local const STORED(T_V) *values, const struct queries *queries,
                                     __local const STORED(T_K) *keys, const struct rows *rows,
                                     const struct rule_env *env, const struct block *next, float scale,
                                     float unit, int item)
{
    struct sums all = {{0}, {0}};
    ROLLED for (int j = 0; j < PIECES; j++) {
        struct block piece = piece_of(next, j);
        piece.n = PIECE;
        piece.class = 2;
        float s[FRAG_ROWS * FRAG_KEYS];
        multiply_keys(s, queries, keys + j * PIECE * KEY_PITCH, item);
        edit_block(s, rows, env, &piece, scale, item);
        const struct sums sums = take_weights(s, rows, unit);
        packed fresh[PACKED_WEIGHTS];
        pack_weights(fresh, s);
        multiply_values(o, p[0], values + j * PIECE * VALUE_PITCH, item);
        add_sums(&all, &sums);
        UNROLL for (int w = 0; w < PACKED_WEIGHTS; w++) {
            UNROLL for (int i = 0; i + 1 < PIECES; i++)
                p[i][w] = p[i + 1][w];
            p[PIECES - 1][w] = fresh[w];
        }
    }
    return all;
}

/* Weights of a block by its true maxima. */
static inline void begin_block(float *o, packed p[PIECES][PACKED_WEIGHTS], struct sums *totals,
                               const struct queries *queries, __local const STORED(T_K) *keys,
                               struct rows *rows, const struct rule_env *env, const struct block *b,
                               float scale, float unit, int item)
{
    float s[PIECES][FRAG_ROWS * FRAG_KEYS], top[FRAG_ROWS];
    UNROLL for (int j = 0; j < PIECES; j++) {
        const struct block piece = piece_of(b, j);
        float of_piece[FRAG_ROWS];
        multiply_keys(s[j], queries, keys + j * PIECE * KEY_PITCH, item);
        edit_block(s[j], rows, env, &piece, scale, item);
        find_tops(of_piece, s[j]);
        UNROLL for (int i = 0; i < FRAG_ROWS; i++)
            top[i] = j == 0 ? of_piece[i] : fmax(top[i], of_piece[i]);
    }
    const struct growth g = follow_tops(top, rows, unit);
    rescale(o, &g);
    rescale_sums(totals, &g);
    UNROLL for (int j = 0; j < PIECES; j++) {
        const struct sums sums = take_weights(s[j], rows, unit);
        add_sums(totals, &sums);
        pack_weights(p[j], s[j]);
    }
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void forward(FORWARD_PARAMS)
{
    __local uchar memory[LOCAL_BYTES(MEMORY * sizeof(RAW(T_K)))] __attribute__((aligned(128)));
#if MASK_RULE
    __local int found; /* a value that is not finite */
#endif
#if LISTS_KEYS
    DECLARE_NOTES
#endif
    const int item = (int)get_local_id(0);
    __local STORED(T_K) *keys = (__local STORED(T_K) *)memory, *values = keys + VALUES_AT;
    const struct place at = find_place(&a, (uint)get_group_id(0) LENGTH_ARGS);
    if (at.row0 >= at.rows)
        return;
#if MASK_RULE
    found = 0;
#endif
    RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
    const float unit = EDITED ? EDITED_UNIT : a.scale;
#if LISTS_KEYS
    /* those that run as one with this item */
    const int has_rows = item / LANES * OWN_ROWS % BQ < at.rows - at.row0;
#else
    struct classes classes = begin_classes(&at, a.pack, item);
#endif
    struct rows rows;
    struct queries queries;
    struct source from_k, from_v;
    struct sums totals = {{0}, {0}};
    float o_sums[FRAG_ROWS * FRAG_COLUMNS];
    packed p[PIECES][PACKED_WEIGHTS]; /* weights of `now`, if live */
    int live = 0;
    find_rows(&rows, &at, a.pack, item);
    open_source(&from_k, k + at.k0, a.k_at, KEY_PITCH, item);
    open_source(&from_v, v + at.v0, a.v_at, VALUE_PITCH, item);
    UNROLL for (int i = 0; i < FRAG_ROWS * FRAG_COLUMNS; i++)
        o_sums[i] = 0.0f;

    stage(keys + QUERIES_AT, q + at.q0, a.q_at, a.pack, at.row0, min(BQ, at.rows - at.row0), BQ, DIM,
          KEY_PITCH, item);
    const ASKED first = ASK_WORK(0);
#if LISTS_KEYS
    barrier(CLK_LOCAL_MEM_FENCE); /* its keys are noted */
#endif
    struct work now = {{0, 0, 0}, 0}, next = ASKED_WORK(first);
    if (next.own.n > 0)
        STAGE_BLOCK(keys, &from_k, &next.own, DIM, KEY_PITCH);
    STAGED;
    barrier(CLK_LOCAL_MEM_FENCE);
    load_queries(&queries, keys + QUERIES_AT, item);
    for (int number = 1, turn = 0;; number++, turn ^= 1) {
        __local STORED(T_K) *const keys_next = keys + turn * KEY_BLOCK;
        __local STORED(T_V) *const values_now = values + (turn ^ 1) * VALUE_BLOCK;
        const ASKED asked = ASK_WORK(number);
        STAGED;
        barrier(CLK_LOCAL_MEM_FENCE); /* the next keys and this block's values are there; others were read */
        const struct work later = ASKED_WORK(asked);
        if (later.own.n > 0)
            STAGE_BLOCK(keys + (turn ^ 1) * KEY_BLOCK, &from_k, &later.own, DIM, KEY_PITCH);
        if (next.own.n > 0)
            STAGE_BLOCK(values + turn * VALUE_BLOCK, &from_v, &next.own, DIM_V, VALUE_PITCH);
#if MASK_RULE
        if (now.class == 1)
            take_out(o_sums, p, live, values_now, v + at.v0, a.v_at[3], &found, &rows, &env, &now.own, item);
#endif
        int passed = live && next.own.class == 2 && next.own.n == BK;
        if (passed) {
            const struct sums sums = pass_block(o_sums, p, values_now, &queries, keys_next, &rows, &env,
                                                &next.own, a.scale, unit, item);
            passed = !are_too_large(sums.rounded);
            if (passed)
                add_sums(&totals, &sums);
        } else if (live) {
            UNROLL for (int j = 0; j < PIECES; j++)
                multiply_values(o_sums, p[j], values_now + j * PIECE * VALUE_PITCH, item);
        }
        live = next.own.class != 0;
        if (live && !passed)
            begin_block(o_sums, p, &totals, &queries, keys_next, &rows, &env, &next.own, a.scale, unit, item);
        if (next.own.n == 0)
            break;
        now = next;
        next = later;
    }
#if STORES_WIDE
    store_wide(o, o_sums, totals.rounded, keys, &at, &a, item);
#else
    store_rows(o, o_sums, totals.rounded, &at, &a, item);
#endif
#if LSE
    store_lse(lse, &rows, totals.exact, unit, &at, &a, item);
#endif
}
