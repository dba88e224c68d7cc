/* SPDX-License-Identifier: MIT
 * select_rows.cl - the sampled rows of q, widened and transposed: rows.clh.  A group a list and set, an item
 * a row.
 *
 * -D parameter MEAN_ROWS 1: a row is the mean of its stride, of which it is the last: the sum in rising order
 * times the reciprocal of how many.
 */
#ifndef MEAN_ROWS
#error "select_rows.cl: MEAN_ROWS must be defined"
#endif
#define SPACE __global
#if ROPE
#define OWN_PARAMS , __global const STORED(T_Q) *restrict q ROPE_PARAMS
#else
#define OWN_PARAMS , __global const STORED(T_Q) *restrict q
#endif
#include "select.clh"
#include "candidates.clh"
#include "budget.clh"
#include "chunks.clh"
#include "mean.clh"
#include "rope.clh"
#include "rows.clh"

/* Column d of the row that begins at `from', the last of `n' which lie `token' apart. */
static inline float column(__global const STORED(T_Q) *from, long token, int n, int d)
{
#if MEAN_ROWS
    float sum = LOAD1(T_Q, from - (n - 1) * token, d);
    for (int i = n - 2; i >= 0; i--)
        sum += LOAD1(T_Q, from - i * token, d);
    return sum * reciprocal((uint)n);
#else
    (void)token;
    (void)n;
    return LOAD1(T_Q, from, d);
#endif
}

#if ROPE
/* The position by which a row turns; chunks are of the stage at work, or the most halves of a round. */
static inline int row_position(const struct select_args *a, const struct list_place *p, int token,
                               __global uint *kept)
{
    const struct candidates c = find_candidates(a, p, kept);
    const int n = ROPE != 2      ? 0
                  : a->chunk > 0 ? chunk_count(a, &c, chunk_list(a, p, a->chunks_at, a->chunk_words, kept))
                                 : 2 * most_kept(a, p, c.n);
    return ROPE == 1 ? a->window + 1 : ROPE == 3 ? a->window : min(token + p->q_shift, n + a->window);
}
#endif

KERNEL rows(SELECT_PARAMS)
{
    const int number = (int)get_group_id(0), list = number / a.sets, set = number % a.sets;
    const struct list_place p = find_list_place(&a, list / a.scopes, list % a.scopes, a.scopes LENGTH_ARGS);
    __global float *to = (__global float *)workspace + rows_place(&a, &p, set);
    const int n = min(a.stride_q, p.rows); /* rows of a mean */
    if (p.rows == 0 || is_idle(&a, &p))
        return;
    for (int r = (int)get_local_id(0); r < ROWS; r += GROUP) {
        const int2 row = row_of(&a, &p, set, r);
        __global const STORED(T_Q) *from =
            q + a.q_at[0] + p.batch * a.q_at[1] + row.x * a.q_at[2] + (p.q_first + row.y) * a.q_at[3];
#if ROPE
        const long turn = turn_of(&a, row_position(&a, &p, row.y, kept));
#endif
        for (int d = 0; d < DIM; d++) {
            float x = column(from, a.q_at[3], n, d);
#if ROPE
            const int second = d >= DIM / 2, pair = d % (DIM / 2);
            x = turned_1(x, column(from, a.q_at[3], n, second ? pair : d + DIM / 2), rope_cos[turn + pair],
                         rope_sin[turn + pair], second);
#endif
            to[d * ROWS + r] = a.negative ? -x : x;
        }
    }
}
