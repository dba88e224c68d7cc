/* SPDX-License-Identifier: MIT
 * merge.cl - merge partial attention results over disjoint keys:
 *
 *     lse[r] = log sum_p exp(lse_p[r]),   o[r,:] = sum_p exp(lse_p[r] - lse[r]) o_p[r,:]
 *
 * One work-group of GROUP items for WIDTH * COLUMNS columns of a row: LANES lanes of WIDTH items, each of
 * COLUMNS columns.  A lane merges every LANES-th part, and then the lanes are merged by halves.  Layouts:
 * merge_args.clh.  With SUM the parts are sums that nothing was divided by: o[r,:] = sum_p o_p[r,:], lse[r]
 * = 0, or -inf where no part saw a key.
 * -D parameters: T_P storage of the parts, T_O of the result; DIM_V; LSE, PACKED, SUM 0 or 1; GROUP items;
 * LANES, a power of 2 that divides GROUP; COLUMNS.
 * Numerics: f32, in an order that parts and LANES fix; a part with lse = -inf counts nothing, whatever its o
 * holds; all parts -inf gives o = 0 and lse = -inf; a NaN in a part's lse makes the row NaN.  Source: Dao et
 * al. 2022; Rabe and Staats 2021.
 */
#if !defined(T_P) || !defined(T_O) || !defined(DIM_V) || !defined(LSE) || !defined(PACKED) || !defined(SUM) || !defined(GROUP) || \
    !defined(LANES) || !defined(COLUMNS)
#error "merge.cl: T_P, T_O, DIM_V, LSE, PACKED, SUM, GROUP, LANES, COLUMNS must be defined"
#endif
#include "storage.clh"
#include "exp2.clh"
#define I64 long
#define I32 int
#include "merge_args.clh"

#if LSE
#define LSE_PARAM , __global float *lse
#else
#define LSE_PARAM
#endif
#if PACKED
#define OFFSET_PARAM , __global const int *q_offsets
#else
#define OFFSET_PARAM
#endif

#define LOG2E 1.44269504088896340736f
#define WIDTH (GROUP / LANES)
#define SLICES ((DIM_V + WIDTH * COLUMNS - 1) / (WIDTH * COLUMNS)) /* groups of a row */

/* What an item has merged: sum and o relative to the largest log-sum-exp; 0 as long as that is -inf. */
struct merged {
    float largest, sum, o[COLUMNS];
};

/* A part's weight; that of a part that saw nothing is exactly 0. */
static inline float part_weight(float lse, float largest)
{
    return lse == -INFINITY ? 0.0f : exp2_neg((lse - largest) * LOG2E);
}

/* Add other to m. */
static inline void add(struct merged *m, const struct merged *other)
{
    const float x = other->largest, largest = x > m->largest || x != x ? x : m->largest; /* a NaN stays */
    const float mine = part_weight(m->largest, largest), others = part_weight(x, largest);
    for (int c = 0; c < COLUMNS; c++)
        m->o[c] = x == -INFINITY ? m->o[c] : MULTIPLY_ADD(others, other->o[c], mine * m->o[c]);
    m->sum = MULTIPLY_ADD(others, other->sum, mine * m->sum);
    m->largest = largest;
}

#if LANES > 1
/* The first lane gets what all have; box: 2 + COLUMNS numbers an item. */
static inline void join_lanes(struct merged *m, __local float *box, int lane, int item)
{
    for (int n = LANES / 2; n > 0; n /= 2) {
        box[item] = m->largest;
        box[GROUP + item] = m->sum;
        for (int c = 0; c < COLUMNS; c++)
            box[(2 + c) * GROUP + item] = m->o[c];
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < n) {
            __local const float *from = box + n * WIDTH + item;
            struct merged other = {from[0], from[GROUP], {0.0f}};
            for (int c = 0; c < COLUMNS; c++)
                other.o[c] = from[(2 + c) * GROUP];
            add(m, &other);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
#endif

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
merge(const struct merge_args a, __global const STORED(T_P) *part_o, __global const float *part_lse,
      __global STORED(T_O) *o LSE_PARAM OFFSET_PARAM)
{
#if LANES > 1
    __local float box[(2 + COLUMNS) * GROUP];
#endif
    const int item = (int)get_local_id(0), lane = item / WIDTH;
    /* the first; others WIDTH apart */
    const int column = (int)(get_group_id(0) % SLICES) * (WIDTH * COLUMNS) + item % WIDTH;
    const uint row = (uint)(get_group_id(0) / SLICES), q_len = (uint)a.q_len, heads = (uint)a.heads;
    const long token = row % q_len, head = row / q_len % heads;
    long batch = row / q_len / heads, first = 0;
#if PACKED
    first = clamp((long)q_offsets[batch], 0L, a.q_total);
    if (token >= min((long)q_offsets[batch + 1], a.q_total) - first)
        return;
    batch = 0; /* the offsets say where an entry begins */
#endif
    struct merged m = {-INFINITY, 0.0f, {0.0f}};
    for (int p = lane; p < a.parts; p += LANES) {
        struct merged part = {part_lse[a.part_lse_at + row + p * a.part_lse_stride], 1.0f, {0.0f}};
        const long from = a.part_o_at + row * a.row_stride + p * a.part_o_stride;
        for (int c = 0; c < COLUMNS; c++)
            part.o[c] = LOAD1(T_P, part_o, from + min(column + c * WIDTH, DIM_V - 1));
        add(&m, &part);
    }
#if LANES > 1
    join_lanes(&m, box, lane, item);
#endif
    if (lane > 0)
        return;
    const float inverse = m.sum == 0.0f ? 0.0f : SUM ? 1.0f : 1.0f / m.sum;
    const long to = a.o_at[0] + batch * a.o_at[1] + head * a.o_at[2] + (first + token) * a.o_at[3];
    for (int c = 0; c < COLUMNS; c++)
        if (column + c * WIDTH < DIM_V)
            STORE1(T_O, m.o[c] * inverse, o, to + column + c * WIDTH);
#if LSE
    if (column == 0) {
        const long at =
            a.lse_at[0] + batch * a.lse_at[1] + head * a.lse_at[2] + (first + token) *a.lse_at[3];
        lse[at] = m.sum == 0.0f ? -INFINITY : SUM ? 0.0f : m.largest + log(m.sum);
    }
#endif
}
