/* SPDX-License-Identifier: MIT
 * forward_portable.cl - fused attention for any OpenCL 1.2 device: work-groups, local memory, barriers, scalar code.
 *
 *     S = Q K^T (a block of BK keys),  P = exp2(S - max),  O = alpha O + P V
 *
 * A work-group of GROUP items owns BQ rows.  Scores of a block: item i computes pairs i, i + GROUP, ... of BQ x BK, with Q and
 * K staged through local memory in chunks of CHUNK columns.  Output: item i owns columns i, i + GROUP, ... of every row and keeps
 * them in private memory, BQ x COLUMNS of them.
 *
 *     local:  q_tile [BQ][CHUNK + 1]   k_tile [BK][CHUNK + 1]   p [BQ][BK]   m, l, alpha [BQ]
 *     bytes:  4 * ((BQ + BK) * (CHUNK + 1) + BQ * BK + 3 * BQ)
 *
 * -D parameters beside those of forward.clh: GROUP items, 1 or more; BQ, BK any; CHUNK is 32.
 * Numerics: f32, fma, keys in rising order.  A masked pair is marked by the weight -1 and left out of every sum, so that what its key
 * and value hold never matters.  Barriers stand in control flow that is the same for the whole group: the class of a block and
 * the bounds of its loops depend on the group alone.
 */
#include "forward.clh"

#ifndef GROUP
#error "forward_portable.cl: GROUP must be defined"
#endif
#define CHUNK 32
#define COLUMNS ((DIM_V + GROUP - 1) / GROUP)
#define PAIRS ((BQ * BK + GROUP - 1) / GROUP)
#define HIDDEN (-1.0f)

/* The bounds of a tile's tokens and heads, for its class. */
struct span {
    int q_low, q_high, h_low, h_high, count;
};

static inline struct span find_span(const struct place *at, int pack)
{
    struct span s;
    int last = min(at->row0 + BQ, at->rows) - 1;
    int one_token = at->row0 / pack == last / pack;
    s.count = last + 1 - at->row0;
    s.q_low = at->row0 / pack + at->q_shift;
    s.q_high = last / pack + at->q_shift;
    s.h_low = at->head0 + (one_token ? at->row0 % pack : 0);
    s.h_high = at->head0 + (one_token ? last % pack : pack - 1);
    return s;
}

/* Scores of the block's n keys into p; a hidden pair becomes MASKED_SCORE and is marked in the sign of nothing else. */
static inline void store_scores(__local float *p, const float *s, const struct pattern_env *env, const struct place *at,
                                const struct span *span, int pack, int key, int n, int partial, float scale, int item)
{
    for (int i = 0; i < PAIRS; i++) {
        int pair = item + i * GROUP, r = pair / BK, c = pair % BK;
        if (r >= span->count || c >= n)
            continue;
        int row = at->row0 + r;
        int visible = !partial || pattern_1(env, row / pack + at->q_shift, at->head0 + row % pack, key + c);
        p[r * BK + c] = visible ? s[i] * scale : MASKED_SCORE;
    }
}

/* Running maximum, weights and sum of row r over the block's n keys, by one item. */
static inline void weigh_row(__local float *p, __local float *m, __local float *l, __local float *alpha, int n, int r)
{
    float largest = m[r];
    for (int c = 0; c < n; c++)
        largest = fmax(largest, p[r * BK + c]);
    float rescale = exp2_neg(m[r] - largest), sum = l[r] * rescale;
    for (int c = 0; c < n; c++) {
        float s = p[r * BK + c];
        float w = s == MASKED_SCORE ? HIDDEN : exp2_neg(s - largest);
        sum += s == MASKED_SCORE ? 0.0f : w;
        p[r * BK + c] = w;
    }
    m[r] = largest;
    l[r] = sum;
    alpha[r] = rescale;
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void forward(FORWARD_PARAMS)
{
    __local float q_tile[BQ * (CHUNK + 1)], k_tile[BK * (CHUNK + 1)], p[BQ * BK], m[BQ], l[BQ], alpha[BQ];
    const int item = (int)get_local_id(0);
    const struct place at = find_place(&a, get_group_id(0) LENGTH_ARGS);
    if (at.row0 >= at.rows)
        return;
    PATTERN_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
    const struct span span = find_span(&at, a.pack);
    float acc[BQ * COLUMNS];
    for (int i = 0; i < BQ * COLUMNS; i++)
        acc[i] = 0.0f;
    for (int r = item; r < BQ; r += GROUP) {
        m[r] = LOWEST_MAX;
        l[r] = 0.0f;
        alpha[r] = 1.0f;
    }

    for (int key = at.key0; key < at.key1; key += BK) {
        const int n = min(BK, at.key1 - key);
        const int class = pattern_class(&env, span.q_low, span.q_high, span.h_low, span.h_high, key, key + n - 1);
        if (item == 0) {
            COUNT_TILE(class);
        }
        if (class == 0)
            continue;

        float s[PAIRS];
        for (int i = 0; i < PAIRS; i++)
            s[i] = 0.0f;
        for (int d0 = 0; d0 < DIM; d0 += CHUNK) {
            const int width = min(CHUNK, DIM - d0);
            barrier(CLK_LOCAL_MEM_FENCE); /* the tiles and p of the round before are read */
            for (int i = item; i < BQ * CHUNK; i += GROUP) {
                int r = i / CHUNK, d = i % CHUNK;
                q_tile[r * (CHUNK + 1) + d] =
                    r < span.count && d < width ? LOAD1(T_Q, q, at.q0 + row_offset(a.q_at, a.pack, at.row0 + r) + d0 + d) : 0.0f;
            }
            for (int i = item; i < BK * CHUNK; i += GROUP) {
                int c = i / CHUNK, d = i % CHUNK;
                k_tile[c * (CHUNK + 1) + d] =
                    c < n && d < width ? LOAD1(T_K, k, at.k0 + (key + c) * a.k_at[3] + d0 + d) : 0.0f;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int i = 0; i < PAIRS; i++) {
                int pair = item + i * GROUP, r = pair / BK, c = pair % BK;
                if (r >= BQ)
                    continue;
                float sum = s[i];
                for (int d = 0; d < width; d++)
                    sum = fma(q_tile[r * (CHUNK + 1) + d], k_tile[c * (CHUNK + 1) + d], sum);
                s[i] = sum;
            }
        }
        store_scores(p, s, &env, &at, &span, a.pack, key, n, class == 1, a.scale_log2, item);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int r = item; r < span.count; r += GROUP)
            weigh_row(p, m, l, alpha, n, r);
        barrier(CLK_LOCAL_MEM_FENCE);

        for (int j = 0; j < COLUMNS; j++) {
            const int d = item + j * GROUP;
            if (d >= DIM_V)
                continue;
            for (int r = 0; r < span.count; r++)
                acc[r * COLUMNS + j] *= alpha[r];
            for (int c = 0; c < n; c++) {
                float x = LOAD1(T_V, v, at.v0 + (key + c) * a.v_at[3] + d);
                for (int r = 0; r < span.count; r++) {
                    float w = p[r * BK + c];
                    if (!(w < 0.0f))
                        acc[r * COLUMNS + j] = fma(w, x, acc[r * COLUMNS + j]);
                }
            }
        }
    }

    barrier(CLK_LOCAL_MEM_FENCE);
    for (int r = 0; r < span.count; r++) {
        const float sum = l[r], inverse = 1.0f / sum;
        for (int j = 0; j < COLUMNS; j++) {
            const int d = item + j * GROUP;
            if (d < DIM_V) {
                float x = sum == 0.0f ? 0.0f : acc[r * COLUMNS + j] * inverse;
                STORE1(T_O, x, o, at.o0 + row_offset(a.o_at, a.pack, at.row0 + r) + d);
            }
        }
    }
#if LSE
    for (int r = item; r < span.count; r += GROUP)
        lse[at.lse0 + row_offset(a.lse_at, a.pack, at.row0 + r)] = l[r] == 0.0f ? -INFINITY : (m[r] + log2(l[r])) * LN2;
#endif
}
