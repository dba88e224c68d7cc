/* SPDX-License-Identifier: MIT
 * forward_vector.cl - fused attention for CPUs: one work-item computes the transposed scores of NT tiles of
 * 16 * NQ rows.
 *
 *     S^T[key][row] = sum_d K[key][d] Q^T[d][row],   P = exp2(S - max),
 *     O^T[d][row] += sum_key V[key][d] P[key][row]
 *
 * Rows lie in the lanes of float16 vectors, so keys and values are read in their natural layout by scalar
 * broadcast: nothing is packed, the maximum, the sum and the rescaling are vertical, there is no barrier
 * and no horizontal step, and any head size comes from one source.
 *
 *     qt [NT][STEPS][NQ]  the queries, transposed, in vectors of DOT columns; STEPS = ceil(DIM / DOT)
 *     p  [BK][NQ]         scores, then weights of one block of keys
 *     ot [NT][DIM_V][NQ]  the unnormalised output, transposed
 *
 * This file is the loop nest: rows, masks, maxima, sums.  The products are a tile's, a file of cl/engine that
 * says how queries, keys, values and weights lie: tile_fma.clh (DOT 1: f32), tile_dot.clh (DOT 2: pairs of
 * bf16).  A tile gives
 *     QUERY1, QUERY16                                a step of a row's query, and sixteen of them
 *     pack_query(row, i, scale), pack_queries        step i of a row; the sixteen steps from it on
 *     SCORE_UNIT(args)                               what its scores lack: they are times this
 *     KEY_ROW, KEY_STRIDE, VALUE_ROW, VALUE_STRIDE   a block's keys and values, as pointers to its first
 *     WIDENS_KEYS, WIDENS_VALUES,                    whether they are copied, once a block, into 32 bits an
 *     widen_keys, widen_values                       element; if GATHERS they are, each run behind the last
 *     key_at(row, i), multiply(sum, x, y)            step i of a key's row; sum + x y: sixteen steps by one
 *     weigh                                          scores to weights and their sums
 *     weight_of, value_of, values_finite             single ones, for blocks where a value is not finite
 *
 * -D parameters beside those of forward.clh: DOT; NQ 1 to 6; MK, MD with MK * NQ and MD * NQ up to 24, MD <=
 * DIM_V, MK even if DOT is 2; NT 1 or more: tiles that share each block of keys and values while it lies in
 * the nearest cache, for keys that outgrow the second; BQ = 16 * NQ * NT; BK a multiple of MK; GROUP = 1;
 * AHEAD 0 or 1: ask for the next block while working on this one.
 * Register tiles: MK keys x NQ vectors for S^T, MD columns x NQ vectors for O^T; the last column tile
 * overlaps the one before it and stores its new columns alone.
 * Numerics: f32 sums in rising order of columns, of a block's keys, and of blocks, hence the same bits
 * whatever the number of threads; a block is summed from 0, so that one large weight does not swallow the
 * many small ones of later blocks.  A masked pair has weight +0 exactly; where values are not finite, masked
 * pairs are left out of the sum, since 0 * NaN is NaN.
 * Tried and dropped (see doc/performance.md): copying f32 blocks (-8 %), prefetching the next tile in one go
 * (-1 to -3 %), unrolling over d (-2 %).
 */
#define RULE_LANES 16
#include "forward.clh"

#define TILE (16 * NQ)
#if BQ != TILE * NT || BK % MK != 0 || GROUP != 1 || MD > DIM_V
#error "forward_vector.cl: BQ = 16 NQ NT, MK divides BK, GROUP = 1, MD <= DIM_V"
#endif
#if DOT != 1 && (DOT != 2 || T_Q != 2 || T_K != 2 || T_V != 2 || NORMALISER != 0 || MK % 2 != 0)
#error "forward_vector.cl: DOT is 1, or 2 with bf16 queries, keys and values, a softmax and an even MK"
#endif

#define UNROLL _Pragma("unroll")
#define LANES ((int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))

#define STEPS ((DIM + DOT - 1) / DOT)
#define KEYS_OF_TILE MK
#include "gather.clh"
#if DOT == 1
#include "tile_fma.clh"
#else
#include "dot_x86.clh"
#include "tile_dot.clh"
#endif
#include "fetch_ahead.clh"
#include "transpose.clh"


/* What a work-item keeps of a tile from block to block. */
struct rows {
    int row0, count;          /* first row, and how many there are */
    float16 m[NQ], l[NQ];     /* running maximum of the tile's scores, sum of the weights that meet values */
    float16 whole_l[NQ];      /* of a tile that rounds weights: the sum before, for the log-sum-exp */
    int16 position[NQ], head[NQ];
    struct rule_rows kept[NQ];        /* what rules keep of a row */
    float16 block_l[NQ];              /* without a softmax: the sum over one block */
    struct span span;
};

static inline void find_rows(struct rows *rows, const struct place *at, const struct rule_env *env, int pack,
                             int tile)
{
    rows->row0 = at->row0 + tile * TILE;
    rows->count = min(TILE, at->rows - rows->row0);
    UNROLL for (int j = 0; j < NQ; j++) {
        int16 r = min((int16)(rows->row0 + 16 * j) + LANES, (int16)(at->rows - 1));
        rows->position[j] = r / (int16)(pack) + (int16)(at->q_shift);
        rows->head[j] = (int16)(at->head0) + r % (int16)(pack);
        rows->m[j] = (float16)(LOWEST_MAX);
        rows->l[j] = rows->whole_l[j] = (float16)(0.0f);
        rule_rows_fill(env, &rows->kept[j], rows->position[j], rows->head[j]);
    }
    rows->span = find_span(at, rows->row0, rows->count, pack);
}

/* Sixteen rows of a tensor, from row row0 of the batch entry on; past the last row the last again. */
#define ROWS_OF(at_layout)                                                                                                       \
    for (int i = 0; i < 16; i++)                                                                                                 \
        row[i] = first + row_offset(at_layout, a->pack, min(row0 + i, at->rows - 1));
#if AHEAD
#define FETCH_ROWS(width)                                                                                                        \
    for (int i = 0; i < 16; i++)                                                                                                 \
        for (int byte = 0; byte < (int)sizeof *first * (width); byte += CACHE_LINE)                                              \
            FETCH((__global const char *)row[i] + byte);
#else
#define FETCH_ROWS(width)
#endif

#define WHOLE_STEPS (DIM / DOT)
#define FIRST_SINGLE (WHOLE_STEPS >= 16 ? WHOLE_STEPS : 0) /* steps from here on are taken one by one */

/* qt: sixteen rows and steps at a time, the last sixteen steps overlapping; what is left of small or odd
 * heads one by one. */
static inline void load_queries(QUERY16 *qt, __global const STORED(T_Q) *first, const struct place *at,
                                const struct forward_args *a, int row0)
{
    for (int j = 0; j < NQ; j++, row0 += 16) {
        __global const STORED(T_Q) *row[16];
        ROWS_OF(a->q_at)
        FETCH_ROWS(DIM)
        for (int i0 = 0; i0 < FIRST_SINGLE; i0 += 16) {
            const int step = min(i0, WHOLE_STEPS - 16);
            QUERY16 x[16];
            for (int i = 0; i < 16; i++)
                x[i] = pack_queries(row[i], step, a->scale);
            transpose_16((float16 *)x);
            for (int i = 0; i < 16; i++)
                qt[(step + i) * NQ + j] = x[i];
        }
        for (int step = FIRST_SINGLE; step < STEPS; step++)
            for (int i = 0; i < 16; i++)
                ((QUERY1 *)(qt + step * NQ + j))[i] = pack_query(row[i], step, a->scale);
    }
}

#include "vector_scores.clh"

#if SOFTMAX
/* A block's scores to weights; alpha: the maxima before, then what the sums so far are multiplied by since
 * they rose. */
static inline void weigh_block(float16 *p, const int used[2], struct rows *rows, float unit, float16 *alpha)
{
    float16 m[NQ], l[NQ], whole_l[NQ];
    UNROLL for (int j = 0; j < NQ; j++) {
        m[j] = rows->m[j];
        alpha[j] = exp2_neg16((alpha[j] - m[j]) * (float16)(unit));
    }
    weigh(p, used, m, unit, l, whole_l);
    UNROLL for (int j = 0; j < NQ; j++) {
        rows->l[j] = MULTIPLY_ADD(rows->l[j], alpha[j], l[j]);
        if (DOT > 1 && LSE)
            rows->whole_l[j] = MULTIPLY_ADD(rows->whole_l[j], alpha[j], whole_l[j]);
    }
}
#endif

/* O^T = alpha O^T + V^T P over keys used[0] <= k < used[1]. */
static inline void add_values(float16 *ot, const float16 *p, const int used[2], const float16 *alpha,
                              VALUE_ROW values, long stride, struct ahead *ahead)
{
    for (int d = 0; d < DIM_V; d += MD) {
        int first = min(d, DIM_V - MD); /* the last tile overlaps; its columns before d are not stored */
        float16 s[MD][NQ];
        UNROLL for (int r = 0; r < MD; r++)
            UNROLL for (int j = 0; j < NQ; j++)
                s[r][j] = (float16)(0.0f);
        VALUE_ROW row = values + used[0] / DOT * stride + first;
        const QUERY16 *weights = (const QUERY16 *)p + used[0] / DOT * NQ;
        for (int k = used[0]; k < used[1]; k += DOT, row += stride, weights += NQ) {
            QUERY16 w[NQ];
            fetch_next(ahead);
            UNROLL for (int j = 0; j < NQ; j++)
                w[j] = weights[j];
            UNROLL for (int r = 0; r < MD; r++) {
                QUERY1 y = row[r];
                UNROLL for (int j = 0; j < NQ; j++)
                    s[r][j] = multiply(s[r][j], w[j], y);
            }
        }
        UNROLL for (int r = 0; r < MD; r++)
            if (first + r >= d)
                UNROLL for (int j = 0; j < NQ; j++)
                    ot[(first + r) * NQ + j] = MULTIPLY_ADD(ot[(first + r) * NQ + j], alpha[j], s[r][j]);
    }
}

#if MASK_RULE
/* The same sum with masked pairs left out, for blocks where a masked value may be NaN or infinite. */
static inline void add_values_carefully(float16 *ot, const float16 *p, const int used[2],
                                        const float16 *alpha, VALUE_ROW values, long stride,
                                        const struct rule_env *env, struct rows *rows, KEYS keys)
{
    for (int j = 0; j < NQ; j++) {
        float16 sum[DIM_V];
        for (int d = 0; d < DIM_V; d++)
            sum[d] = (float16)(0.0f);
        for (int k = used[0]; k < used[1]; k++) {
            int16 visible = VISIBLE(env, rows, j, KEY_AT(keys, k));
            float16 w = weight_of(p, k, j);
            for (int d = 0; d < DIM_V; d++)
                sum[d] = select(sum[d], MULTIPLY_ADD((float16)(value_of(values, stride, k, d)), w, sum[d]),
                                visible);
        }
        for (int d = 0; d < DIM_V; d++)
            ot[d * NQ + j] = MULTIPLY_ADD(ot[d * NQ + j], alpha[j], sum[d]);
    }
}
#endif

/* Divide by the sum of weights and store, sixteen rows and columns at a time; a row without weight gives
 * 0. */
static inline void store_rows(__global STORED(T_O) *first, const float16 *ot, const struct rows *rows,
                              const struct place *at, const struct forward_args *a)
{
    int row0 = rows->row0;
    for (int j = 0; j < NQ; j++, row0 += 16) {
        const int n = min(16, rows->count - 16 * j);
        const int16 none = rows->l[j] == (float16)(0.0f);
        const float16 inverse = NORMALISER == 3 ? (float16)(1.0f) : (float16)(1.0f) / rows->l[j];
        __global STORED(T_O) *row[16];
        ROWS_OF(a->o_at)
        FETCH_ROWS(DIM_V)
        for (int d0 = 0; d0 < DIM_V; d0 += 16) {
            const int d = DIM_V >= 16 ? min(d0, DIM_V - 16) : 0;
            float16 x[16];
            for (int i = 0; i < 16; i++)
                x[i] = select(ot[min(d + i, DIM_V - 1) * NQ + j] * inverse, (float16)(0.0f), none);
            transpose_16(x);
            for (int i = 0; i < n; i++)
                if (DIM_V >= 16)
                    STORE16(T_O, x[i], row[i], d);
                else
                    for (int lane = 0; lane < DIM_V; lane++)
                        STORE1(T_O, ((const float *)&x[i])[lane], row[i], lane);
        }
    }
}

#if LSE
static inline void store_lse(__global float *lse, const struct rows *rows, const struct place *at,
                             const struct forward_args *a)
{
    const float *m = (const float *)rows->m, *l = (const float *)(DOT > 1 ? rows->whole_l : rows->l);
    const float unit = EDITED ? 1.0f : SCORE_UNIT(*a);
    for (int i = 0; i < rows->count; i++)
        lse[at->lse0 + row_offset(a->lse_at, a->pack, rows->row0 + i)] = row_lse(m[i] * unit, l[i]);
}
#endif

/* One tile against one block of n keys: key_rows and values point at the block.  next: the keys and the
 * values of the block after it, to be fetched. */
static inline void attend(struct rows *rows, float16 *ot, float16 *p, const QUERY16 *qt,
                          const struct rule_env *env, float unit, int class, KEY_ROW key_rows,
                          long key_stride, VALUE_ROW values, long value_stride, KEYS keys, int n,
                          struct ahead next[2])
{
    int used[2];
    float16 alpha[NQ];
    UNROLL for (int j = 0; j < NQ; j++)
        alpha[j] = SOFTMAX ? rows->m[j] : (float16)(1.0f);
    if (!score_block(p, used, rows, env, unit, class == 1, qt, key_rows, key_stride, keys, n, &next[0]))
        return;
#if SOFTMAX
    weigh_block(p, used, rows, EDITED ? 1.0f : unit, alpha);
#endif
#if MASK_RULE
    if (class == 1 && !values_finite(used, values, value_stride)) {
        add_values_carefully(ot, p, used, alpha, values, value_stride, env, rows, keys);
        return;
    }
#endif
    add_values(ot, p, used, alpha, values, value_stride, &next[1]);
}

#if GATHERS
/* The next keys that a tile sees, BK at most, their rows and their values' rows one after the other.  Returns
 * how many. */
static inline int gather(struct keys *keys, struct walk *walk, const struct rule_env *env,
                         const struct span *span, const struct forward_args *a, const struct place *at,
                         __global const STORED(T_K) *k, __global const STORED(T_V) *v, void *key_rows,
                         void *values)
{
    int n = 0;
    while (n < BK) {
        const struct run r = find_run(walk, env, span, BK - n);
        if (r.n == 0)
            break;
        widen_keys(key_rows, n, k + at->k0 + r.key * a->k_at[3], a->k_at[3], r.n, DIM);
        widen_values(values, n, v + at->v0 + r.key * a->v_at[3], a->v_at[3], r.n, DIM_V);
        add_run(keys, n, &r);
        n += r.n;
    }
    return n;
}

/* One tile against all that it sees. */
static inline void attend_gathered(struct rows *rows, float16 *ot, float16 *p, const QUERY16 *qt,
                                   const struct rule_env *env, const struct forward_args *a,
                                   const struct place *at, __global const STORED(T_K) *k,
                                   __global const STORED(T_V) *v, void *key_rows, void *values COUNT_PARAM)
{
    struct walk walk = begin_walk(at, env, &rows->span);
    struct ahead none[2] = {ahead_rows(k, 0, 0, 0), ahead_rows(v, 0, 0, 0)};
    struct keys keys;
    int n;
    while ((n = gather(&keys, &walk, env, &rows->span, a, at, k, v, key_rows, values)) > 0) {
        const int class = keys.partial ? 1 : 2;
        COUNT_TILE(class);
        attend(rows, ot, p, qt, env, SCORE_UNIT(*a), class, key_rows, KEY_STRIDE(0), values, VALUE_STRIDE(0),
               &keys, n, none);
    }
}
#else
/* The class of a block for each tile that has rows; returns whether any of them is not EMPTY. */
static inline int classify(int class[NT], const struct rows *rows, const struct rule_env *env, int key,
                           int n COUNT_PARAM)
{
    int any_visible = 0;
    for (int t = 0; t < NT; t++) {
        class[t] = 0;
        if (rows[t].count <= 0)
            continue;
        class[t] = class_of(env, &rows[t].span, key, n);
        COUNT_TILE(class[t]);
        any_visible |= class[t];
    }
    return any_visible;
}
#endif

#define AHEAD_ROWS(from, stride, width, rows)                                                                                    \
    ahead_rows(from, (long)sizeof *(from) * (stride), (int)sizeof *(from) * (width), rows)

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void forward(FORWARD_PARAMS)
{
    const struct place at = find_place(&a, get_group_id(0) LENGTH_ARGS);
    if (at.row0 >= at.rows)
        return;
    RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
    QUERY16 qt[NT * STEPS * NQ];
    float16 ot[NT * DIM_V * NQ], p[BK * NQ];
    struct rows rows[NT];
    for (int t = 0; t < NT; t++) {
        find_rows(&rows[t], &at, &env, a.pack, t);
        load_queries(qt + t * STEPS * NQ, q + at.q0, &at, &a, rows[t].row0);
    }
    for (int i = 0; i < NT * DIM_V * NQ; i++)
        ot[i] = (float16)(0.0f);
#if WIDENS_KEYS
    float16 widened_keys[(BK * DIM + 15) / 16];
#endif
#if WIDENS_VALUES
    float16 widened_values[(BK / DOT * DIM_V + 15) / 16];
#endif

#if GATHERS
    for (int t = 0; t < NT; t++)
        if (rows[t].count > 0)
            attend_gathered(&rows[t], ot + t * DIM_V * NQ, p, qt + t * STEPS * NQ, &env, &a, &at, k, v,
                            (void *)widened_keys, (void *)widened_values COUNT_ARG);
#else
    for (int key = at.key0; key < at.key1; key += BK) {
        int n = min(BK, at.key1 - key), class[NT];
        if (!classify(class, rows, &env, key, n COUNT_ARG))
            continue;
        __global const STORED(T_K) *stored_keys = k + at.k0 + key * a.k_at[3];
        __global const STORED(T_V) *stored_values = v + at.v0 + key * a.v_at[3];
#if WIDENS_KEYS
        widen_keys((void *)widened_keys, 0, stored_keys, a.k_at[3], n, DIM);
        KEY_ROW key_rows = (const void *)widened_keys;
#else
        KEY_ROW key_rows = stored_keys;
#endif
#if WIDENS_VALUES
        widen_values((void *)widened_values, 0, stored_values, a.v_at[3], n, DIM_V);
        VALUE_ROW values = (const void *)widened_values;
#else
        VALUE_ROW values = stored_values;
#endif
        const int left = at.key1 - key - n;
        struct ahead next[2] = {
#if WIDENS_VALUES
            AHEAD_ROWS(stored_values + n * a.v_at[3], a.v_at[3], DIM_V, min(left, BK)),
#else
            AHEAD_ROWS(stored_values, a.v_at[3], DIM_V, n),
#endif
            AHEAD_ROWS(stored_keys + n * a.k_at[3], a.k_at[3], DIM, min(left, BK)),
        };
        for (int t = 0; t < NT; t++)
            if (class[t] != 0)
                attend(&rows[t], ot + t * DIM_V * NQ, p, qt + t * STEPS * NQ, &env, SCORE_UNIT(a), class[t],
                       key_rows, KEY_STRIDE(a.k_at[3]), values, VALUE_STRIDE(a.v_at[3]), key, n, next);
    }
#endif
    for (int t = 0; t < NT; t++) {
        store_rows(o + at.o0, ot + t * DIM_V * NQ, &rows[t], &at, &a);
#if LSE
        store_lse(lse, &rows[t], &at, &a);
#endif
    }
}
