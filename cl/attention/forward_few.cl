/* SPDX-License-Identifier: MIT
 * forward_few.cl - fused attention of few rows for CPUs: one work-item streams a long stretch of keys, then
 * their values.
 *
 *     S[row][key] = sum_d Q[row][d] K[key][d],   P = exp2(S - max),
 *     O[row][d] += sum_key P[row][key] V[key][d]
 *
 * Where rows are few, memory is what limits: lanes lie along the head, so a key is read once, in whole
 * vectors, for all rows, and alone: four side by side are four streams, a third slower.
 * The sums over d of sixteen keys are finished together, by a tree of fifteen additions that also turns them,
 * so that scores have keys in their lanes.  Keys of a block are all read before its values: the prefetchers
 * of CPUs follow one long stream at a time.
 *
 *     q [BQ][DIM16]  the queries, scaled; DIM16 = ceil(DIM / 16), of a last part only new columns count
 *     p [BQ][BK / 16]  scores, then weights of one block of keys
 *     o [BQ][DIM_V16]  the unnormalised output; of a last part only new columns count
 *
 * -D parameters beside those of forward.clh: BQ rows of a group, 1 to 4; BK a multiple of 16; GROUP = 1.
 * Numerics: f32 by fma: d in 16 * CHAINS partial sums of rising order, joined by a tree; sixteen values in
 * rising order from 0, then the sixteens of a block, then blocks, so that one large weight does not swallow
 * the many small ones after it.  Masked pairs have weight +0; where values are not finite, they are left out
 * of the sum.
 */
#define RULE_LANES 16
#include "forward.clh"
#define KEYS_OF_TILE 16
#include "gather.clh"

#if GROUP != 1 || BK % 16 != 0 || BQ > 4
#error "forward_few.cl: GROUP = 1, 16 divides BK, BQ is 1 to 4"
#endif
#define UNROLL _Pragma("unroll")
#define LANES ((int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#if GATHERS
#define KEYS_16(keys, c) vload16(0, (keys)->at + (c))
#else
#define KEYS_16(keys, c) ((int16)((keys) + (c)) + LANES)
#endif
#define DIM16 ((DIM + 15) / 16)
#define DIM_V16 ((DIM_V + 15) / 16)
#define CHAINS (4 / BQ) /* partial sums of a score: BQ * CHAINS independent ones hide the latency of fma */
#define ROWS_AT_ONCE (BQ == 4 ? 2 : BQ)
#define COLUMNS_AT_ONCE (DIM_V16 < 8 ? DIM_V16 : 8) /* vectors of values */

/* Part i of a row of `width` columns as a vector.  The last part of a width that 16 does not divide ends with
 * the row, and its columns that the part before has are 0; a row below 16 columns is filled with 0. */
#define PART_FIRST(width, i) ((width) < 16 ? 0 : min(16 * (i), (width)-16))
#define READ_PART(T, name)                                                                              \
    static inline float16 name(__global const STORED(T) *row, int width, int i)                         \
    {                                                                                                   \
        if (width < 16) {                                                                               \
            float lane[16];                                                                             \
            for (int d = 0; d < 16; d++)                                                                \
                lane[d] = d < width ? LOAD1(T, row, d) : 0.0f;                                          \
            return vload16(0, lane);                                                                    \
        }                                                                                               \
        float16 x = LOAD16(T, row, PART_FIRST(width, i));                                               \
        if (16 * i + 16 > width)                                                                        \
            x = select((float16)(0.0f), x, LANES >= (int16)(16 * i - PART_FIRST(width, i)));            \
        return x;                                                                                       \
    }
READ_PART(T_Q, read_query)
READ_PART(T_K, read_key)
READ_PART(T_V, read_value)

/* What the work-item keeps of its rows. */
struct rows {
    int count;
    int position[BQ], head[BQ];
    float m[BQ], l[BQ];
    struct span span;
};

static inline void find_rows(struct rows *rows, const struct place *at, int pack)
{
    rows->count = min(BQ, at->rows - at->row0);
    rows->span = find_span(at, at->row0, rows->count, pack);
    for (int r = 0; r < BQ; r++) {
        int row = at->row0 + min(r, rows->count - 1);
        rows->position[r] = row / pack + at->q_shift;
        rows->head[r] = at->head0 + row % pack;
        rows->m[r] = LOWEST_MAX;
        rows->l[r] = 0.0f;
    }
}

#ifdef NO_SHUFFLES /* the same sums lane by lane, for checkers of memory that do not follow shuffles */
static inline float sum_of(float16 x)
{
    float lane[16];
    vstore16(x, 0, lane);
    for (int n = 8; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            lane[i] += lane[i + n];
    return lane[0];
}

static inline float max_of(float16 x)
{
    float lane[16], most;
    vstore16(x, 0, lane);
    most = lane[0];
    for (int i = 1; i < 16; i++)
        most = max(most, lane[i]);
    return most;
}

static inline float16 sums_of(const float16 *v)
{
    float lane[16];
    for (int i = 0; i < 16; i++)
        lane[i] = sum_of(v[i]);
    return vload16(0, lane);
}
#else
/* Lane i of the result is the sum of v[i]'s lanes. */
static inline float16 sums_of(const float16 *v)
{
    float16 a[8], b[4], c[2];
    UNROLL for (int i = 0; i < 8; i++)
        a[i] = (float16)(v[i].lo, v[i + 8].lo) + (float16)(v[i].hi, v[i + 8].hi);
    UNROLL for (int i = 0; i < 4; i++) {
        float16 x = a[i], y = a[i + 4];
        b[i] = (float16)(x.s0123, y.s0123, x.s89ab, y.s89ab) + (float16)(x.s4567, y.s4567, x.scdef, y.scdef);
    }
    UNROLL for (int i = 0; i < 2; i++) {
        float16 x = b[i], y = b[i + 2];
        c[i] = (float16)(x.s01, y.s01, x.s45, y.s45, x.s89, y.s89, x.scd, y.scd) +
               (float16)(x.s23, y.s23, x.s67, y.s67, x.sab, y.sab, x.sef, y.sef);
    }
    float16 x = c[0], y = c[1];
    return (float16)(x.s0, y.s0, x.s2, y.s2, x.s4, y.s4, x.s6, y.s6, x.s8, y.s8, x.sa, y.sa, x.sc, y.sc, x.se,
                     y.se) +
           (float16)(x.s1, y.s1, x.s3, y.s3, x.s5, y.s5, x.s7, y.s7, x.s9, y.s9, x.sb, y.sb, x.sd, y.sd, x.sf,
                     y.sf);
}

static inline float sum_of(float16 x)
{
    float8 a = x.lo + x.hi;
    float4 b = a.lo + a.hi;
    float2 c = b.lo + b.hi;
    return c.x + c.y;
}

static inline float max_of(float16 x)
{
    float8 a = max(x.lo, x.hi);
    float4 b = max(a.lo, a.hi);
    float2 c = max(b.lo, b.hi);
    return max(c.x, c.y);
}

#endif

/* Raw scores of sixteen keys for every row; past the last of n the last key is read again. */
static inline void score_keys_raw(float16 s[BQ], const float16 *q, __global const STORED(T_K) *k0,
                                  long stride, KEYS keys, int first, int n)
{
    float16 t[BQ * 16];
    for (int k = 0; k < 16; k++) { /* a key at a time: memory is one stream */
        __global const STORED(T_K) *row = k0 + KEY_AT(keys, first + min(k, n - 1)) * stride;
        float16 sum[BQ * CHAINS];
        UNROLL for (int i = 0; i < BQ * CHAINS; i++)
            sum[i] = (float16)(0.0f);
        UNROLL for (int d = 0; d < DIM16; d++) {
            float16 x = read_key(row, DIM, d);
            UNROLL for (int r = 0; r < BQ; r++)
                sum[r * CHAINS + d % CHAINS] = MULTIPLY_ADD(x, q[r * DIM16 + d], sum[r * CHAINS + d % CHAINS]);
        }
        UNROLL for (int r = 0; r < BQ; r++) {
            UNROLL for (int c = 1; c < CHAINS; c++)
                sum[r * CHAINS] += sum[r * CHAINS + c];
            t[r * 16 + k] = sum[r * CHAINS];
        }
    }
    UNROLL for (int r = 0; r < BQ; r++)
        s[r] = sums_of(t + r * 16);
}

#if MASK_RULE
#define VISIBLE(env, rows, r, keys) mask_keys(env, (rows)->position[r], (rows)->head[r], keys)
#else
#define VISIBLE(env, rows, r, keys) ((int16)(-1))
#endif

/* score and finish_score of forward.clh for sixteen keys. */
static inline float16 edit_keys(const struct rule_env *env, const struct rows *rows, int r, int16 k,
                                float16 s)
{
    const int q = rows->position[r], h = rows->head[r];
    (void)q;
    (void)h;
#if SCORE_RULE
    s = score_keys(env, q, h, k, s);
#endif
#if SOFTMAX && SCORE_RULE
    s *= (float16)(LOG2E);
#elif WEIGHT_RULE
    s = weight_keys(env, q, h, k, s);
#endif
    return s;
}

/* Scores (softmax) or weights of a block's n keys into p; the new maxima; without a softmax the block's sums.
 * used: the keys between the first and the last sixteen that are not EMPTY; returns 0 if there are none. */
static inline int score_block(float16 *p, int used[2], float block_l[BQ], struct rows *rows,
                              const struct rule_env *env, int partial, const float16 *q,
                              __global const STORED(T_K) *k0, long stride, KEYS keys, int n)
{
    float16 top[BQ], sum[BQ];
    used[0] = n;
    used[1] = 0;
    UNROLL for (int r = 0; r < BQ; r++) {
        top[r] = (float16)(LOWEST_MAX);
        sum[r] = (float16)(0.0f);
    }
    for (int k = 0; k < n; k += 16) {
        int left = min(16, n - k), class = 2;
        if (partial)
            class = CLASS_AT(env, &rows->span, keys, k, left);
        if (class == 0) {
            UNROLL for (int r = 0; r < BQ; r++)
                p[r * (BK / 16) + k / 16] = (float16)(SOFTMAX ? MASKED_SCORE : 0.0f);
            continue;
        }
        float16 s[BQ];
        int16 numbers = KEYS_16(keys, k);
        used[0] = min(used[0], k);
        used[1] = k + left;
        score_keys_raw(s, q, k0, stride, keys, k, left);
        UNROLL for (int r = 0; r < BQ; r++) {
            int16 visible = left < 16 ? LANES < (int16)(left) : (int16)(-1);
            if (class == 1)
                visible &= VISIBLE(env, rows, r, numbers);
#if EDITED
            s[r] = edit_keys(env, rows, r, numbers, s[r]);
#endif
#if SOFTMAX
            s[r] = select((float16)(MASKED_SCORE), s[r], visible);
            top[r] = max(top[r], s[r]);
#else
            s[r] = select((float16)(0.0f), s[r], visible);
            sum[r] += NORMALISER == 1 ? s[r] : select((float16)(0.0f), (float16)(1.0f), visible);
#endif
            p[r * (BK / 16) + k / 16] = s[r];
        }
    }
    UNROLL for (int r = 0; r < BQ; r++) {
        block_l[r] = SOFTMAX ? 0.0f : sum_of(sum[r]);
        rows->m[r] = SOFTMAX ? max(rows->m[r], max_of(top[r])) : rows->m[r];
    }
    return used[0] < used[1];
}

#if SOFTMAX
/* Scores of the used keys to weights, and their sums. */
static inline void weigh(float16 *p, const int used[2], float block_l[BQ], const struct rows *rows)
{
    UNROLL for (int r = 0; r < BQ; r++) {
        float16 sum = (float16)(0.0f);
        for (int k = used[0] / 16; k < (used[1] + 15) / 16; k++) {
            float16 w = exp2_neg16(p[r * (BK / 16) + k] - (float16)(rows->m[r]));
            p[r * (BK / 16) + k] = w;
            sum += w;
        }
        block_l[r] = sum_of(sum);
    }
}
#endif

/* o = alpha o + P V over keys used[0] <= k < used[1]. */
static inline void add_values(float16 *o, const float16 *p, const int used[2], const float *alpha,
                              __global const STORED(T_V) *v0, long stride, KEYS keys)
{
    const float *weight = (const float *)p;
    for (int k0 = used[0]; k0 < used[1]; k0 += 16) /* sixteen rows of values stay in the nearest cache */
        for (int r0 = 0; r0 < BQ; r0 += ROWS_AT_ONCE)
            for (int d0 = 0; d0 < DIM_V16; d0 += COLUMNS_AT_ONCE) {
                float16 sum[ROWS_AT_ONCE * COLUMNS_AT_ONCE];
                UNROLL for (int r = 0; r < ROWS_AT_ONCE; r++)
                    UNROLL for (int d = 0; d < COLUMNS_AT_ONCE; d++)
                        sum[r * COLUMNS_AT_ONCE + d] = (float16)(0.0f);
                for (int k = k0; k < min(k0 + 16, used[1]); k++)
                    UNROLL for (int d = 0; d < COLUMNS_AT_ONCE; d++) {
                        if (d0 + d >= DIM_V16)
                            continue;
                        float16 x = read_value(v0 + KEY_AT(keys, k) * stride, DIM_V, d0 + d);
                        UNROLL for (int r = 0; r < ROWS_AT_ONCE; r++)
                            sum[r * COLUMNS_AT_ONCE + d] =
                                MULTIPLY_ADD((float16)(weight[(r0 + r) * BK + k]), x, sum[r * COLUMNS_AT_ONCE + d]);
                    }
                UNROLL for (int r = 0; r < ROWS_AT_ONCE; r++)
                    UNROLL for (int d = 0; d < COLUMNS_AT_ONCE; d++)
                        if (d0 + d < DIM_V16)
                            o[(BQ + r0 + r) * DIM_V16 + d0 + d] =
                                k0 > used[0] ? o[(BQ + r0 + r) * DIM_V16 + d0 + d] + sum[r * COLUMNS_AT_ONCE + d]
                                             : sum[r * COLUMNS_AT_ONCE + d];
            }
    for (int r = 0; r < BQ; r++)
        for (int d = 0; d < DIM_V16; d++)
            o[r * DIM_V16 + d] =
                MULTIPLY_ADD(o[r * DIM_V16 + d], (float16)(alpha[r]), o[(BQ + r) *DIM_V16 + d]);
}

#if MASK_RULE
/* Whether every value of keys used[0] <= k < used[1] is finite. */
static inline int values_finite(const int used[2], __global const STORED(T_V) *v0, long stride, KEYS keys)
{
    int16 bad = (int16)(0);
    for (int k = used[0]; k < used[1]; k++)
        for (int d = 0; d < DIM_V16; d++)
            bad |= (as_int16(read_value(v0 + KEY_AT(keys, k) *stride, DIM_V, d)) & (int16)(0x7fffffff)) >=
                   (int16)(0x7f800000);
    return !any(bad);
}

/* The same sum with masked pairs left out, for blocks where a masked value may be NaN or infinite. */
static inline void add_values_carefully(float16 *o, const float16 *p, const int used[2], const float *alpha,
                                        __global const STORED(T_V) *v0, long stride,
                                        const struct rule_env *env, const struct rows *rows, KEYS keys)
{
    const float *weight = (const float *)p;
    for (int r = 0; r < BQ; r++)
        for (int d = 0; d < DIM_V16; d++) {
            float16 block = (float16)(0.0f);
            for (int k0 = used[0]; k0 < used[1]; k0 += 16) {
                float16 sum = (float16)(0.0f);
                for (int k = k0; k < min(k0 + 16, used[1]); k++)
                    if (mask_1(env, rows->position[r], rows->head[r], KEY_AT(keys, k)))
                        sum = MULTIPLY_ADD((float16)(weight[r * BK + k]),
                                           read_value(v0 + KEY_AT(keys, k) *stride, DIM_V, d), sum);
                block += sum;
            }
            o[r * DIM_V16 + d] = MULTIPLY_ADD(o[r * DIM_V16 + d], (float16)(alpha[r]), block);
        }
}
#endif

/* One block of n keys; k0 and v0 point at key 0 and its value. */
static inline void attend(struct rows *rows, float16 *o, float16 *p, const float16 *q,
                          const struct rule_env *env, int class, __global const STORED(T_K) *k0,
                          long key_stride, __global const STORED(T_V) *v0, long value_stride, KEYS keys,
                          int n)
{
    int used[2];
    float alpha[BQ], block_l[BQ];
    UNROLL for (int r = 0; r < BQ; r++)
        alpha[r] = SOFTMAX ? rows->m[r] : 1.0f;
    if (!score_block(p, used, block_l, rows, env, class == 1, q, k0, key_stride, keys, n))
        return;
#if SOFTMAX
    UNROLL for (int r = 0; r < BQ; r++)
        alpha[r] = exp2_neg(alpha[r] - rows->m[r]);
    weigh(p, used, block_l, rows);
#endif
    UNROLL for (int r = 0; r < BQ; r++)
        rows->l[r] = MULTIPLY_ADD(rows->l[r], alpha[r], block_l[r]);
#if MASK_RULE
    if (class == 1 && !values_finite(used, v0, value_stride, keys)) {
        add_values_carefully(o, p, used, alpha, v0, value_stride, env, rows, keys);
        return;
    }
#endif
    add_values(o, p, used, alpha, v0, value_stride, keys);
}

#if GATHERS
/* The next keys that the rows see, BK at most, the last again until sixteens are full.  Returns how many. */
static inline int gather(struct keys *keys, struct walk *walk, const struct rule_env *env,
                         const struct span *span)
{
    int n = 0;
    while (n < BK) {
        const struct run r = find_run(walk, env, span, BK - n);
        if (r.n == 0)
            break;
        add_run(keys, n, &r);
        n += r.n;
    }
    for (int i = n; n > 0 && i % 16 != 0; i++)
        keys->at[i] = keys->at[n - 1];
    return n;
}
#endif

static inline void store_row(__global STORED(T_O) *o, const float16 *row, float l)
{
    const float *x = (const float *)row;
    const float inverse = l == 0.0f ? 0.0f : NORMALISER == 3 ? 1.0f : 1.0f / l;
    for (int d = 0; d < DIM_V; d++) {
        const int part = d / 16, lane = d - PART_FIRST(DIM_V, part);
        STORE1(T_O, l == 0.0f ? 0.0f : x[part * 16 + lane] * inverse, o, d);
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void forward(FORWARD_PARAMS)
{
    const struct place at = find_place(&a, get_group_id(0) LENGTH_ARGS);
    if (at.row0 >= at.rows)
        return;
    RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
    struct rows rows;
    /* sums: o, then a block's part of it */
    float16 q_rows[BQ * DIM16], sums[2 * BQ * DIM_V16], p[BQ * (BK / 16)];
    find_rows(&rows, &at, a.pack);
    for (int r = 0; r < BQ; r++) {
        __global const STORED(T_Q) *row =
            q + at.q0 + row_offset(a.q_at, a.pack, at.row0 + min(r, rows.count - 1));
        for (int d = 0; d < DIM16; d++)
            q_rows[r * DIM16 + d] = read_query(row, DIM, d) * (float16)(a.scale);
    }
    for (int i = 0; i < BQ * DIM_V16; i++)
        sums[i] = (float16)(0.0f);

#if GATHERS
    struct walk walk = begin_walk(&at, &env, &rows.span);
    struct keys keys;
    int n;
    while ((n = gather(&keys, &walk, &env, &rows.span)) > 0) {
        const int class = keys.partial ? 1 : 2;
        COUNT_TILE(class);
        attend(&rows, sums, p, q_rows, &env, class, k + at.k0, a.k_at[3], v + at.v0, a.v_at[3], &keys, n);
    }
#else
    for (int key = at.key0; key < at.key1; key += BK) {
        const int n = min(BK, at.key1 - key);
        const int class = class_of(&env, &rows.span, key, n);
        COUNT_TILE(class);
        if (class != 0)
            attend(&rows, sums, p, q_rows, &env, class, k + at.k0, a.k_at[3], v + at.v0, a.v_at[3], key, n);
    }
#endif
    for (int r = 0; r < rows.count; r++) {
        store_row(o + at.o0 + row_offset(a.o_at, a.pack, at.row0 + r), sums + r * DIM_V16, rows.l[r]);
#if LSE
        lse[at.lse0 + row_offset(a.lse_at, a.pack, at.row0 + r)] = row_lse(rows.m[r], rows.l[r]);
#endif
    }
}
