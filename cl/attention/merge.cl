/* SPDX-License-Identifier: MIT
 * merge.cl - merge partial attention results over disjoint keys:
 *
 *     lse[r] = log sum_p exp(lse_p[r]),   o[r,:] = sum_p exp(lse_p[r] - lse[r]) o_p[r,:]
 *
 * One work-group of GROUP items per row; items share its columns.  Layouts: merge_args.clh.
 * With SUM the parts are sums that nothing was divided by: o[r,:] = sum_p o_p[r,:], lse[r] = 0, or -inf where no part saw a key.
 * -D parameters: T_P storage of the parts, T_O of the result; DIM_V; LSE, PACKED, SUM 0 or 1; GROUP items.
 * Numerics: f32, parts in rising order; a part with lse = -inf counts nothing, whatever its o holds; all parts -inf gives
 * o = 0 and lse = -inf; a NaN in a part's lse makes the row NaN.  Source: Dao et al. 2022; Rabe and Staats 2021.
 */
#if !defined(T_P) || !defined(T_O) || !defined(DIM_V) || !defined(LSE) || !defined(PACKED) || !defined(SUM) || !defined(GROUP)
#error "merge.cl: T_P, T_O, DIM_V, LSE, PACKED, SUM, GROUP must be defined"
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

/* The weight of a part before normalising; exactly 0 for a part that saw nothing. */
static inline float part_weight(float lse, float largest)
{
    return lse == -INFINITY ? 0.0f : exp2_neg((lse - largest) * LOG2E);
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void merge(const struct merge_args a,
                                                                      __global const STORED(T_P) *part_o,
                                                                      __global const float *part_lse,
                                                                      __global STORED(T_O) *o LSE_PARAM OFFSET_PARAM)
{
    long row = (long)get_group_id(0);
    long token = row % a.q_len, head = row / a.q_len % a.heads, batch = row / a.q_len / a.heads;
    long first = 0;
#if PACKED
    first = clamp((long)q_offsets[batch], 0L, a.q_total);
    if (token >= min((long)q_offsets[batch + 1], a.q_total) - first)
        return;
    batch = 0; /* the offsets say where an entry begins */
#endif
    __global const float *lses = part_lse + a.part_lse_at + row;
    float largest = -INFINITY, sum = 0.0f;
    for (int p = 0; p < a.parts; p++) {
        float x = lses[p * a.part_lse_stride];
        largest = x > largest || x != x ? x : largest;
    }
    for (int p = 0; p < a.parts; p++)
        sum += part_weight(lses[p * a.part_lse_stride], largest);

    float inverse = sum == 0.0f ? 0.0f : SUM ? 1.0f : 1.0f / sum;
    long to = a.o_at[0] + batch * a.o_at[1] + head * a.o_at[2] + (first + token) * a.o_at[3];
    for (int d = (int)get_local_id(0); d < DIM_V; d += GROUP) {
        float x = 0.0f;
        for (int p = 0; p < a.parts; p++) {
            float w = part_weight(lses[p * a.part_lse_stride], largest);
            long from = a.part_o_at + p * a.part_o_stride + row * a.row_stride + d;
            x = lses[p * a.part_lse_stride] == -INFINITY ? x : MULTIPLY_ADD(w, LOAD1(T_P, part_o, from), x); /* a NaN stays */
        }
        x *= inverse;
        STORE1(T_O, x, o, to + d);
    }
#if LSE
    if (get_local_id(0) == 0) {
        long at = a.lse_at[0] + batch * a.lse_at[1] + head * a.lse_at[2] + (first + token) * a.lse_at[3];
        lse[at] = sum == 0.0f ? -INFINITY : SUM ? 0.0f : largest + log(sum);
    }
#endif
}
