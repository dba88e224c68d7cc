/* SPDX-License-Identifier: MIT
 * select_rows.cl - the sampled rows of q, widened and transposed: rows.clh.  A group a list and set, an item a row. */
#define SPACE __global
#define OWN_PARAMS , __global const STORED(T_Q) *restrict q
#include "select.clh"
#include "rows.clh"

KERNEL rows(SELECT_PARAMS)
{
    const int number = (int)get_group_id(0), list = number / a.sets, set = number % a.sets;
    const struct list_place p = find_list_place(&a, list / a.scopes, list % a.scopes, a.scopes LENGTH_ARGS);
    __global float *to = (__global float *)workspace + rows_place(&a, &p, set);
    if (p.rows == 0)
        return;
    for (int r = (int)get_local_id(0); r < ROWS; r += GROUP) {
        const int2 row = row_of(&a, &p, set, r);
        __global const STORED(T_Q) *from =
            q + a.q_at[0] + p.batch * a.q_at[1] + row.x * a.q_at[2] + (p.q_first + row.y) * a.q_at[3];
        for (int d = 0; d < DIM; d++) {
            const float x = LOAD1(T_Q, from, d);
            to[d * ROWS + r] = a.negative ? -x : x;
        }
    }
}
