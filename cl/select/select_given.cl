/* SPDX-License-Identifier: MIT
 * select_given.cl - given lists, of which blocks are left that are candidates and rise.  An item a list; it
 * may be in place. */
#define SPACE __global
#define OWN_PARAMS , __global const int *from, __global int *list
#include "select.clh"
#include "candidates.clh"

KERNEL given(SELECT_PARAMS)
{
    const int number = (int)get_global_id(0);
    if (number >= a.count * a.scopes)
        return;
    const struct list_place p =
        find_list_place(&a, number / a.scopes, number % a.scopes, a.scopes LENGTH_ARGS);
    if (is_idle(&a, &p))
        return;
    const struct candidates c = find_candidates(&a, &p, kept);
    const long at = list_in_all(&a, &p), ids_at = a.ids_at + at * a.capacity;
    const int n = clamp_int(from[a.counts_at + at], 0, a.capacity);
    int count = 0, last = -1;
    for (int j = 0; j < n; j++) {
        const int block = from[ids_at + j];
        if (block <= last || block >= p.k_blocks || c.n == 0 || !is_candidate(&c, block))
            continue;
        list[ids_at + count++] = last = block;
    }
    for (int j = count; j < a.capacity; j++)
        list[ids_at + j] = -1;
    list[a.counts_at + at] = count;
}
