/* SPDX-License-Identifier: MIT
 * forward_portable.cl - fused attention for any OpenCL 1.2 device: work-groups, local memory, barriers,
 * scalar code.
 *
 *     S = Q K^T (a block of BK keys),  P = exp2(S - max),  O = alpha O + P V
 *
 * A work-group of GROUP items owns BQ rows.  Scores: an item computes tiles of RQ rows x RK keys in
 * registers; Q and K pass through local memory in chunks of CHUNK columns, transposed, so that an item's rows
 * lie side by side.  Output: item i owns columns i, i + GROUP, ... of every row and keeps them in private
 * memory, BQ x COLUMNS of them.
 *
 *     local:  q_tile [CHUNK][QS]   k_tile [CHUNK][BK + 1]   p [BK][QS]   m, l, alpha [BQ];   QS = BQ rounded
 *     up to 4, and 4 more bytes:  4 * (CHUNK * (QS + BK + 1) + BK * QS + 3 * BQ)
 *
 * -D parameters beside those of forward.clh: GROUP items, 1 or more; BQ, BK any; CHUNK is 32.
 * Numerics: f32, fma, keys of a block in rising order from 0, then blocks in rising order, so that one large
 * weight does not swallow the many small ones after it.  A masked pair is marked by the weight HIDDEN and
 * left out of every sum, so what its key and value hold never matters.  Barriers stand in control flow that
 * is the same for the whole group: the class of a block and the bounds of its loops depend on the group
 * alone.  Rows and keys past the end are computed from zeros and never stored.
 */
#include "forward.clh"

#ifndef GROUP
#error "forward_portable.cl: GROUP must be defined"
#endif
#define CHUNK 32
#define QS ((BQ + 3) / 4 * 4 + 4)
#define KS (BK + 1)
#define COLUMNS ((DIM_V + GROUP - 1) / GROUP)
#if BQ % 4 == 0 && BK % 4 == 0 && BQ * BK >= 16 * GROUP
#define RQ 4
#define RK 4
#elif BQ % 2 == 0 && BK % 2 == 0 && BQ * BK >= 4 * GROUP
#define RQ 2
#define RK 2
#else
#define RQ 1
#define RK 1
#endif
#define TILES_Q (BQ / RQ)
#define TILES_K (BK / RK)
#define TILES ((TILES_Q * TILES_K + GROUP - 1) / GROUP) /* of an item, at most */
#define HIDDEN MASKED_SCORE

/* Tile t of an item: its first row, and its first key; the other keys follow in steps of TILES_K. */
static inline int tile_row(int t) { return t / TILES_K * RQ; }
static inline int tile_key(int t) { return t % TILES_K; }

/* Copy `width` columns of the group's rows, from column d0, to local memory. */
static inline void stage_q(__local float *q_tile, __global const STORED(T_Q) *q, const struct forward_args *a,
                           const struct place *at, int count, int d0, int width, int item)
{
    for (int i = item; i < BQ * CHUNK; i += GROUP) {
        int r = i / CHUNK, d = i % CHUNK;
        q_tile[d * QS + r] = r < count && d < width
                                 ? LOAD1(T_Q, q, at->q0 + row_offset(a->q_at, a->pack, at->row0 + r) + d0 + d)
                                 : 0.0f;
    }
}

/* The same for the block's n keys; k points to the first key's column d0. */
static inline void stage_k(__local float *k_tile, __global const STORED(T_K) *k, long stride, int n,
                           int width, int item)
{
    for (int i = item; i < BK * CHUNK; i += GROUP) {
        int c = i / CHUNK, d = i % CHUNK;
        k_tile[d * KS + c] = c < n && d < width ? LOAD1(T_K, k, c * stride + d) : 0.0f;
    }
}

/* Add the products of `width` staged columns to an item's scores. */
static inline void add_scores(float *s, __local const float *q_tile, __local const float *k_tile, int width,
                              int item)
{
    for (int i = 0; i < TILES; i++) {
        int t = item + i * GROUP;
        if (t >= TILES_Q * TILES_K)
            continue;
        for (int d = 0; d < width; d++) {
            float x[RQ], y[RK];
            for (int r = 0; r < RQ; r++)
                x[r] = q_tile[d * QS + tile_row(t) + r];
            for (int c = 0; c < RK; c++)
                y[c] = k_tile[d * KS + tile_key(t) + c * TILES_K];
            for (int r = 0; r < RQ; r++)
                for (int c = 0; c < RK; c++)
                    s[(i * RQ + r) * RK + c] = MULTIPLY_ADD(x[r], y[c], s[(i * RQ + r) * RK + c]);
        }
    }
}

/* Scale, edit and mask an item's scores, and show them to the group in p. */
static inline void share_scores(float *s, __local float *p, const struct rule_env *env,
                                const struct place *at, int pack, int key, int partial, float scale, int item)
{
    for (int i = 0; i < TILES; i++) {
        int t = item + i * GROUP;
        if (t >= TILES_Q * TILES_K)
            continue;
        for (int r = 0; r < RQ; r++) {
            int row = at->row0 + tile_row(t) + r, token = row / pack, head = row - token * pack;
            for (int c = 0; c < RK; c++) {
                int j = (i * RQ + r) * RK + c, column = tile_key(t) + c * TILES_K;
                int q = token + at->q_shift, h = at->head0 + head, k = key + column;
                int visible = !partial || IS_VISIBLE(env, q, h, k);
                s[j] = visible ? edit_product(env, q, h, k, s[j], scale) : MASKED_SCORE;
                p[column * QS + tile_row(t) + r] = s[j];
            }
        }
    }
}

/* Weights of an item's scores into p. */
static inline void share_weights(const float *s, __local float *p, __local const float *m, int partial,
                                 int item)
{
    for (int i = 0; i < TILES; i++) {
        int t = item + i * GROUP;
        if (t >= TILES_Q * TILES_K)
            continue;
        for (int r = 0; r < RQ; r++)
            for (int c = 0; c < RK; c++) {
                float x = s[(i * RQ + r) * RK + c], w = SOFTMAX ? exp2_neg(x - m[tile_row(t) + r]) : x;
                p[(tile_key(t) + c * TILES_K) *QS + tile_row(t) + r] =
                    partial && x == MASKED_SCORE ? HIDDEN : w;
            }
    }
}

/* Running maximum of row r over the block's n keys, and what it rescales the past by. */
static inline void raise_max(__local const float *p, __local float *m, __local float *alpha, int n, int r)
{
    float largest = m[r];
    for (int c = 0; SOFTMAX && c < n; c++)
        largest = fmax(largest, p[c * QS + r]);
    alpha[r] = exp2_neg(m[r] - largest);
    m[r] = largest;
}

/* Running sum of row r. */
static inline void add_weights(__local const float *p, __local const float *alpha, __local float *l, int n,
                               int r)
{
    float sum = 0.0f;
    for (int c = 0; c < n; c++) {
        float w = p[c * QS + r];
        sum += w == HIDDEN ? 0.0f : NORMALISER >= 2 ? 1.0f : w;
    }
    l[r] = MULTIPLY_ADD(l[r], alpha[r], sum);
}

/* acc = alpha acc + P V over the block's n keys, an item's columns; v points to the first key's column
 * `item`. */
static inline void add_values(float *acc, __local const float *p, __local const float *alpha,
                              __global const STORED(T_V) *v, long stride, int n, int partial, int item)
{
    float part[BQ * COLUMNS];
    for (int i = 0; i < BQ * COLUMNS; i++)
        part[i] = 0.0f;
    for (int c = 0; c < n; c++) {
        float x[COLUMNS];
        for (int j = 0; j < COLUMNS; j++)
            x[j] = item + j * GROUP < DIM_V ? LOAD1(T_V, v, c * stride + j * GROUP) : 0.0f;
        for (int r = 0; r < BQ; r++) {
            float w = p[c * QS + r];
            for (int j = 0; j < COLUMNS; j++) {
                float sum = MULTIPLY_ADD(w, x[j], part[r * COLUMNS + j]);
                part[r * COLUMNS + j] = partial && w == HIDDEN ? part[r * COLUMNS + j] : sum;
            }
        }
    }
    for (int r = 0; r < BQ; r++)
        for (int j = 0; j < COLUMNS; j++)
            acc[r * COLUMNS + j] = MULTIPLY_ADD(acc[r * COLUMNS + j], alpha[r], part[r * COLUMNS + j]);
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void forward(FORWARD_PARAMS)
{
    __local float q_tile[CHUNK * QS] __attribute__((aligned(16))), p[BK * QS] __attribute__((aligned(16)));
    __local float k_tile[CHUNK * KS], m[BQ], l[BQ], alpha[BQ];
    const int item = (int)get_local_id(0);
    const struct place at = find_place(&a, get_group_id(0) LENGTH_ARGS);
    if (at.row0 >= at.rows)
        return;
    RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
    const int count = min(BQ, at.rows - at.row0); /* rows of this group that exist */
    const struct span span = find_span(&at, at.row0, count, a.pack);
    float acc[BQ * COLUMNS];
    for (int i = 0; i < BQ * COLUMNS; i++)
        acc[i] = 0.0f;
    for (int r = item; r < BQ; r += GROUP) {
        m[r] = LOWEST_MAX;
        l[r] = 0.0f;
    }

    for (int key = at.key0; (key = skip_unlisted(&env, &span, key, at.key1, BK)) < at.key1; key += BK) {
        const int n = min(BK, at.key1 - key);
        const int class = class_of(&env, &span, key, n);
        const int partial = class == 1;
        if (item == 0) {
            COUNT_TILE(class);
        }
        if (class == 0)
            continue;

        float s[TILES * RQ * RK];
        for (int i = 0; i < TILES * RQ * RK; i++)
            s[i] = 0.0f;
        for (int d0 = 0; d0 < DIM; d0 += CHUNK) {
            const int width = min(CHUNK, DIM - d0);
            barrier(CLK_LOCAL_MEM_FENCE); /* the tiles and p of the round before are read */
            stage_q(q_tile, q, &a, &at, count, d0, width, item);
            stage_k(k_tile, k + at.k0 + key * a.k_at[3] + d0, a.k_at[3], n, width, item);
            barrier(CLK_LOCAL_MEM_FENCE);
            add_scores(s, q_tile, k_tile, width, item);
        }
        share_scores(s, p, &env, &at, a.pack, key, partial, a.scale, item);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int r = item; r < BQ; r += GROUP)
            raise_max(p, m, alpha, n, r);
        barrier(CLK_LOCAL_MEM_FENCE);
        share_weights(s, p, m, partial, item);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int r = item; r < BQ; r += GROUP)
            add_weights(p, alpha, l, n, r);
        add_values(acc, p, alpha, v + at.v0 + key * a.v_at[3] + item, a.v_at[3], n, partial, item);
    }

    barrier(CLK_LOCAL_MEM_FENCE);
    for (int r = 0; r < BQ; r++)
        for (int j = 0; j < COLUMNS; j++) {
            const int d = item + j * GROUP;
            const float x = l[r] == 0.0f      ? 0.0f
                            : NORMALISER == 3 ? acc[r * COLUMNS + j]
                                              : acc[r * COLUMNS + j] / l[r];
            if (r < count && d < DIM_V)
                STORE1(T_O, x, o, at.o0 + row_offset(a.o_at, a.pack, at.row0 + r) + d);
        }
#if LSE
    for (int r = item; r < count; r += GROUP)
        lse[at.lse0 + row_offset(a.lse_at, a.pack, at.row0 + r)] = row_lse(m[r], l[r]);
#endif
}
