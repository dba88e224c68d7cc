/* SPDX-License-Identifier: MIT
 * delta.cl - add to the rows of a stretch what dense attention of its first row, the anchor, differs by from
 * the pruned one:
 *
 *     o[i] += anchor[s] - o[s every] for s every < i < (s + 1) every;    o[s every] = anchor[s]
 *
 * An item is a column of a stretch, so that the anchor's old value is read before it is overwritten.  anchor
 * is dense [batch][heads][stretches][DIM_V]; o_at is {offset, batch, head, token} in elements.  -D
 * parameters: T_O storage of both, DIM_V, GROUP items of a work-group.
 */
#if !defined(T_O) || !defined(DIM_V) || !defined(GROUP)
#error "delta.cl: T_O, DIM_V, GROUP must be defined"
#endif
#include "storage.clh"
#define I64 long
#define I32 int
#include "delta_args.clh"

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void delta(const struct delta_args a,
                                                                      __global const STORED(T_O) *anchor,
                                                                      __global STORED(T_O) *o)
{
    const long item = (long)get_global_id(0), number = item / DIM_V, column = item % DIM_V;
    if (number >= a.lists)
        return;
    const long stretch = number % a.stretches, list = number / a.stretches;
    const long head = list % a.heads, batch = list / a.heads;
    const long row0 = stretch * a.every, rows = min((long)a.every, a.q_len - row0);
    const long at = a.o_at[0] + batch * a.o_at[1] + head * a.o_at[2] + row0 * a.o_at[3] + column;
    const float dense = LOAD1(T_O, anchor, item), difference = dense - LOAD1(T_O, o, at);
    STORE1(T_O, dense, o, at);
    for (long i = 1; i < rows; i++)
        STORE1(T_O, LOAD1(T_O, o, at + i * a.o_at[3]) + difference, o, at + i * a.o_at[3]);
}
