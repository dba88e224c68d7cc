/* SPDX-License-Identifier: MIT
 * forward_blocked.cl - fused attention for GPUs in plain OpenCL C: register tiles, fed from local memory by
 * fours of floats.
 *
 *     S = Q K^T (a block of BK keys),  P = exp2(S - max),  O = alpha O + P V
 *
 * A work-group of ACROSS x DOWN items owns BQ rows.  Item (x, y) makes NQ x MK scores and NQ x MD outputs in
 * registers: fours of rows y, y + DOWN ..., fours of keys and of columns x, x + ACROSS ...  Everything passes
 * through local memory as f32, so that a step of a product reads rows of it: queries and keys column by
 * column, in chunks of NT columns; weights by key; values in chunks of VALUE_ROWS rows.  There are two places
 * for chunks: while one is multiplied, items hold the next in registers, and put it into the other; a chunk
 * costs one barrier.
 *
 *     local:  places [2] of [NT][QUERY_PITCH] queries and [NT][KEY_PITCH] keys, or of
 *             [VALUE_ROWS][VALUE_PITCH] values
 *             weights [BK][WEIGHT_PITCH]; while maxima are joined [ACROSS][WEIGHT_PITCH]
 *     bytes:  4 * (2 * PLACE + BK * WEIGHT_PITCH), and 16
 *     banks:  of 32 neighbours eight x and four y, half of them two y: each half reads at most eight
 *             different fours, which lie in different banks; they write fours of columns of 16 rows, 16 banks
 *             from each other
 *
 * -D parameters beside those of forward.clh: GROUP, BQ, BK; NQ rows, MK keys and MD columns of an item,
 * multiples of 4; NT columns of a chunk, 8 or 16; LOCAL bytes of local memory, or DOOR_BYTES, which the
 * editor of assembly makes as many; UNROLLED 1: loops over an item's arrays are unrolled, so that these lie
 * in registers; ALIGNED 1: rows of q, k, v, o start at multiples of 16 bytes, DIM, DIM_V are multiples of 4.
 * Numerics: f32, fma; keys in rising order from 0 over FOLD of them, then such sums in rising order.  Weights
 * are taken relative to the maximum of the blocks before; only where their sum shows that it was too small
 * the true maximum is found, and all that was summed is rescaled.  exp2 is the device's.  A masked pair has
 * weight +0 exactly; values that are not finite are added apart in PARTIAL blocks, in the rows that see them,
 * and 0 takes their place in the product.
 */
#include "door.clh"
#include "forward.clh"

#define ACROSS (BK / MK)
#define DOWN (BQ / NQ)
#if GROUP != ACROSS * DOWN || ACROSS % 8 != 0 || DOWN % 4 != 0 || NQ % 4 != 0 || MK % 4 != 0 ||              \
    MD % 4 != 0 || ACROSS * MD < DIM_V
#error "forward_blocked.cl: ACROSS a multiple of 8, DOWN, NQ, MK and MD of 4"
#endif
#define ITEM_X(item) ((item) / 32 % (ACROSS / 8) * 8 + (item) / 2 % 8)
#define ITEM_Y(item) ((item) / 32 / (ACROSS / 8) * 4 + (item) % 32 / 16 * 2 + (item) % 2)
#define FRAG_ROWS NQ
#define FRAG_KEYS MK
#define FRAG_COLUMNS MD
#define S_AT(i, c) ((i) * MK + (c))
#define O_AT(i, c) ((i) * MD + (c))
#if UNROLLED
#define UNROLL _Pragma("unroll")
#define UNROLL_4 _Pragma("unroll 4")
#else
#define UNROLL
#define UNROLL_4
#endif

/* From an item's first row, key or column to another. */
#define ROW(i) ((i) / 4 * (4 * DOWN) + (i) % 4)
#define COLUMN(c) ((c) / 4 * (4 * ACROSS) + (c) % 4)
static inline int frag_row(int item, int i) { return 4 * ITEM_Y(item) + ROW(i); }
static inline int frag_key(int item, int c) { return 4 * ITEM_X(item) + COLUMN(c); }
static inline int frag_column(int item, int c) { return 4 * ITEM_X(item) + COLUMN(c); }
static inline float join_sum(float x) { return x; }

#define SCORED_KEYS BK
#include "blocks.clh"

#define LARGEST_SUM 256.0f             /* of an item's weights of a row in a block */
#define FOLD (BK < 128 ? 128 / BK : 1) /* blocks whose products are summed from 0 */
#define WEIGHT_PITCH (BQ + 4)
#define VALUE_PITCH (ACROSS * MD)
#define QUERY_PITCH (BQ + 4)
#define KEY_PITCH (BK + 4)
#define KEYS_AT (NT * QUERY_PITCH)
#define COLUMNS_PLACE (KEYS_AT + NT * KEY_PITCH)
#define PLACE (COLUMNS_PLACE < DOWN * VALUE_PITCH ? DOWN * VALUE_PITCH : COLUMNS_PLACE)
#if 64 * VALUE_PITCH <= COLUMNS_PLACE && BK >= 64
#define VALUE_ROWS 64
#elif 32 * VALUE_PITCH <= COLUMNS_PLACE
#define VALUE_ROWS 32
#elif 16 * VALUE_PITCH <= COLUMNS_PLACE
#define VALUE_ROWS 16
#else
#define VALUE_ROWS DOWN
#endif
#define MEMORY (4 * (2 * PLACE + BK * WEIGHT_PITCH))
#if LOCAL < MEMORY && LOCAL != DOOR_BYTES
#error "forward_blocked.cl: LOCAL is too small"
#endif

#include "carry.clh"

/* What one step of a product takes: of a column or a key. */
struct step {
    float row[NQ], column[MK > MD ? MK : MD];
};

static inline void load_step(struct step *x, __local const float *row, __local const float *column,
                             int columns)
{
    UNROLL for (int i = 0; i < NQ; i += 4)
        vstore4(LOCAL4(row + ROW(i)), 0, x->row + i);
    UNROLL for (int c = 0; c < columns; c += 4)
        vstore4(LOCAL4(column + COLUMN(c)), 0, x->column + c);
}

/* To and fro, so that neighbours always share an operand. */
static inline void add_step(float *sums, const struct step *x, int columns)
{
    UNROLL for (int i = 0; i < NQ; i += 2) {
        float *even = sums + i * columns, *odd = even + columns;
        UNROLL for (int c = 0; c < columns; c++)
            even[c] = MULTIPLY_ADD(x->row[i], x->column[c], even[c]);
        UNROLL for (int c = columns - 1; c >= 0; c--)
            odd[c] = MULTIPLY_ADD(x->row[i + 1], x->column[c], odd[c]);
    }
}

/* s += products of a chunk of columns. */
static inline void multiply_keys(float *s, __local const float *place, int item)
{
    __local const float *query = place + 4 * ITEM_Y(item), *key = place + KEYS_AT + 4 * ITEM_X(item);
    struct step x[2];
    load_step(&x[0], query, key, MK);
    UNROLL for (int d = 0; d < NT; d++) {
        if (d + 1 < NT)
            load_step(&x[(d + 1) % 2], query + (d + 1) * QUERY_PITCH, key + (d + 1) * KEY_PITCH, MK);
        add_step(s, &x[d % 2], MK);
    }
}

/* o += products of a chunk of values; weights: of its first key. */
static inline void multiply_values(float *o, __local const float *weights, __local const float *place,
                                   int item)
{
    __local const float *weight = weights + 4 * ITEM_Y(item), *value = place + 4 * ITEM_X(item);
    struct step x[2];
    load_step(&x[0], weight, value, MD);
    UNROLL_4 for (int k = 0; k < VALUE_ROWS; k += 2) {
        load_step(&x[1], weight + (k + 1) * WEIGHT_PITCH, value + (k + 1) * VALUE_PITCH, MD);
        add_step(o, &x[0], MD);
        if (k + 2 < VALUE_ROWS)
            load_step(&x[0], weight + (k + 2) * WEIGHT_PITCH, value + (k + 2) * VALUE_PITCH, MD);
        add_step(o, &x[1], MD);
    }
}

static inline float weight_of(float s, float m)
{
    return SOFTMAX ? exp2(s - m) : s == MASKED_SCORE ? 0.0f : s;
}

/* What a score adds to its row's sum. */
static inline float share_of(float s, float w)
{
    return NORMALISER < 2 ? w : s == MASKED_SCORE ? 0.0f : 1.0f;
}

/* Weights to local memory, and an item's sums of them. */
static inline void share_weights(float *sums, __local float *weights, const float *s, const struct rows *rows,
                                 int item)
{
    __local float *to = weights + 4 * ITEM_X(item) * WEIGHT_PITCH + 4 * ITEM_Y(item);
    UNROLL for (int i = 0; i < NQ; i++)
        sums[i] = 0.0f;
    UNROLL for (int c = 0; c < MK; c++)
        UNROLL for (int i = 0; i < NQ; i += 4) {
            float w[4];
            UNROLL for (int e = 0; e < 4; e++) {
                const float x = s[S_AT(i + e, c)];
                w[e] = weight_of(x, rows->m[i + e]);
                sums[i + e] += share_of(x, w[e]);
            }
            LOCAL4(to + COLUMN(c) * WEIGHT_PITCH + ROW(i)) = vload4(0, w);
        }
}

static inline int are_too_large(const float *sums)
{
    int any = 0;
    UNROLL for (int i = 0; i < NQ; i++)
        any |= !(sums[i] <= LARGEST_SUM);
    return any;
}

/* Show what an item has of each of its rows to the other items of the row. */
static inline void show_row(__local float *shown, const float *mine, int item)
{
    UNROLL for (int i = 0; i < NQ; i++)
        shown[ITEM_X(item) * WEIGHT_PITCH + frag_row(item, i)] = mine[i];
}

static inline float sum_row(__local const float *shown, int row)
{
    float sum = 0.0f;
    for (int x = 0; x < ACROSS; x++)
        sum += shown[x * WEIGHT_PITCH + row];
    return sum;
}

static inline float max_row(__local const float *shown, int row)
{
    float largest = MASKED_SCORE;
    for (int x = 0; x < ACROSS; x++)
        largest = fmax(largest, shown[x * WEIGHT_PITCH + row]);
    return largest;
}

/* The true maxima of the rows whose sums are too large for one of their items; alpha is what rescales their
 * sums until now.  Other rows keep theirs: what a row does not see changes no bit of it. */
static inline void find_maxima(int *grew, float *alpha, struct rows *rows, __local float *shown,
                               const float *s, const float *sums, int item)
{
    float mine[NQ];
    UNROLL for (int i = 0; i < NQ; i++)
        mine[i] = !(sums[i] <= LARGEST_SUM);
    show_row(shown, mine, item);
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL for (int i = 0; i < NQ; i++) {
        grew[i] = max_row(shown, frag_row(item, i)) > 0.0f;
        mine[i] = s[S_AT(i, 0)];
        UNROLL for (int c = 1; c < MK; c++)
            mine[i] = fmax(mine[i], s[S_AT(i, c)]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    show_row(shown, mine, item);
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL for (int i = 0; i < NQ; i++) {
        const float m = grew[i] ? fmax(rows->m[i], max_row(shown, frag_row(item, i))) : rows->m[i];
        alpha[i] = exp2(rows->m[i] - m);
        rows->m[i] = m;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* What was summed over all blocks before; it is seldom touched, and volatile, so that it lies in memory and
 * not in registers. */
struct totals {
    volatile float o[NQ * MD], l[NQ];
};

/* The sums of a row since the last fold go to the totals. */
static inline void fold_row(struct totals *totals, float *o, float *l, int i)
{
    totals->l[i] += l[i];
    l[i] = 0.0f;
    UNROLL for (int c = 0; c < MD; c++) {
        totals->o[O_AT(i, c)] += o[O_AT(i, c)];
        o[O_AT(i, c)] = 0.0f;
    }
}

static inline void fold(struct totals *totals, float *o, float *l)
{
    UNROLL for (int i = 0; i < NQ; i++)
        fold_row(totals, o, l, i);
}

static inline void rescale_row(struct totals *totals, float alpha, int i)
{
    totals->l[i] *= alpha;
    UNROLL for (int c = 0; c < MD; c++)
        totals->o[O_AT(i, c)] *= alpha;
}

#if MASK_RULE
/* o += w v for the values that are not finite of a chunk, in the rows that see them. */
static inline void add_special_values(float *o, __local const float *weights, const struct sources *from,
                                      const struct rows *rows, const struct rule_env *env,
                                      const struct block *b, int k0, int item)
{
    for (int k = k0; k < min(k0 + VALUE_ROWS, b->n); k++)
        UNROLL for (int c = 0; c < MD; c++) {
            const int d = frag_column(item, c);
            const float x = d < DIM_V ? LOAD1(T_V, from->first_v, (b->key + k) * from->v_stride + d) : 0.0f;
            if (!isfinite(x))
                UNROLL for (int i = 0; i < NQ; i++)
                    if (IS_VISIBLE(env, rows->token[i], rows->head[i], b->key + k))
                        o[O_AT(i, c)] += weights[(k - k0) * WEIGHT_PITCH + frag_row(item, i)] * x;
        }
}
#endif

/* Scores of a block, and the first of its values into the other place; the place of its first columns is
 * `turn`, and after that `turn` is the place of those values. */
static inline int make_scores(float *s, const struct shared *shared, const struct sources *from,
                              const struct block *b, int turn, int number, int item)
{
    float4 next[CARRIED];
    UNROLL for (int i = 0; i < NQ * MK; i++)
        s[i] = 0.0f;
    for (int d0 = NT;; d0 += NT) {
        const int last = d0 >= DIM;
        if (last)
            fetch_values(next, from, b, 0, item);
        else
            fetch_columns(next, from, d0, item);
        multiply_keys(s, shared->places + turn * PLACE, item);
        turn ^= 1;
        if (last)
            break;
        put_columns(shared->places + turn * PLACE, next, item);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    put_values(shared, next, b, turn, number, item);
    return turn;
}

/* Edited and masked scores to weights in local memory; with them the values put before are there. */
static inline void make_weights(const float *s, struct rows *rows, struct totals *totals, float *o, float *l,
                                const struct shared *shared, int number, int item)
{
    float sums[NQ];
    share_weights(sums, shared->weights, s, rows, item);
    if (SOFTMAX && are_too_large(sums))
        *shared->grown = number;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (SOFTMAX && *shared->grown == number) {
        int grew[NQ];
        float alpha[NQ];
        find_maxima(grew, alpha, rows, shared->weights, s, sums, item);
        UNROLL for (int i = 0; i < NQ; i++)
            if (grew[i]) {
                fold_row(totals, o, l, i);
                rescale_row(totals, alpha[i], i);
            }
        share_weights(sums, shared->weights, s, rows, item);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    UNROLL for (int i = 0; i < NQ; i++)
        l[i] += sums[i];
}

/* o += P V of a block, and the first columns for the next one into the place that is returned. */
static inline int add_values(float *o, const struct shared *shared, struct sources *from,
                             const struct rows *rows, const struct rule_env *env, const struct block *b,
                             const struct block *after, int turn, int number, int item)
{
    float4 next[CARRIED];
    for (int k0 = 0; k0 < b->n; k0 += VALUE_ROWS) {
        const int last = k0 + VALUE_ROWS >= b->n;
        if (!last)
            fetch_values(next, from, b, k0 + VALUE_ROWS, item);
        else if (after->n > 0) {
            aim_at(from, after, item);
            fetch_columns(next, from, 0, item);
        }
        multiply_values(o, shared->weights + k0 * WEIGHT_PITCH, shared->places + turn * PLACE, item);
#if MASK_RULE
        if (b->class == 1 && shared->special[turn] == number)
            add_special_values(o, shared->weights + k0 * WEIGHT_PITCH, from, rows, env, b, k0, item);
#endif
        turn ^= 1;
        if (!last)
            put_values(shared, next, b, turn, number, item);
        else if (after->n > 0)
            put_columns(shared->places + turn * PLACE, next, item);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return turn;
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void forward(FORWARD_PARAMS)
{
    __local uchar memory[LOCAL] __attribute__((aligned(16)));
    __local int grown, special[2];
    __local float *const places = (__local float *)memory, *const weights = places + 2 * PLACE;
    const struct shared shared = {places, weights, &grown, special};
    const int item = (int)get_local_id(0);
    const struct place at = find_place(&a, (uint)get_group_id(0) LENGTH_ARGS);
    if (at.row0 >= at.rows)
        return;
    RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
    const struct span span = find_span(&at, at.row0, min(BQ, at.rows - at.row0), a.pack);
    struct sources from = find_sources(&at, &a, q, k, v, item);
    struct rows rows;
    struct totals totals;
    float s[NQ * MK], o_sums[NQ * MD], w_sums[NQ];
    find_rows(&rows, &at, a.pack, item);
    UNROLL for (int i = 0; i < NQ * MD; i++)
        totals.o[i] = o_sums[i] = 0.0f;
    UNROLL for (int i = 0; i < NQ; i++)
        totals.l[i] = w_sums[i] = 0.0f;
    if (item == 0)
        grown = special[0] = special[1] = 0;

    struct block b = find_block(&at, &span, &env, at.key0, item COUNT_ARG);
    if (b.n > 0) {
        float4 first[CARRIED];
        aim_at(&from, &b, item);
        fetch_columns(first, &from, 0, item);
        put_columns(places, first, item);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    int turn = 0;
    for (int number = 1; b.n > 0; number++) {
        turn = make_scores(s, &shared, &from, &b, turn, number, item);
        UNROLL for (int i = 0; i < NQ * MK; i++)
            s[i] *= a.scale;
        edit_block(s, &rows, &env, &b, 1.0f, item);
        const struct block after = find_block(&at, &span, &env, b.key + BK, item COUNT_ARG);
        make_weights(s, &rows, &totals, o_sums, w_sums, &shared, number, item);
        turn = add_values(o_sums, &shared, &from, &rows, &env, &b, &after, turn, number, item);
        if (number % FOLD == 0)
            fold(&totals, o_sums, w_sums);
        b = after;
    }

    fold(&totals, o_sums, w_sums);
    float l[NQ];
    UNROLL for (int i = 0; i < NQ * MD; i++)
        o_sums[i] = totals.o[i];
    UNROLL for (int i = 0; i < NQ; i++)
        l[i] = totals.l[i];
    show_row(weights, l, item);
    barrier(CLK_LOCAL_MEM_FENCE);
    UNROLL for (int i = 0; i < NQ; i++)
        l[i] = sum_row(weights, frag_row(item, i));
#if LSE
    store_lse(lse, &rows, l, l, 1.0f, &at, &a, item);
#endif
    UNROLL for (int i = 0; i < NQ; i++)
        l[i] = NORMALISER == 3 && l[i] != 0.0f ? 1.0f : l[i];
    store_rows(o, o_sums, l, &at, &a, item);
}
