/* SPDX-License-Identifier: MIT
 * select_bounds.cl - what is kept of key blocks as a whole, made again when keys are new.
 *
 *     METHOD 2   [batch][kv_heads][k_blocks][2][DIM]   minima, then maxima, of k's storage: exact; NaN is
 *                                                      passed over unless all are
 *     METHOD 3   [batch][kv_heads][k_blocks][DIM]      f32 means: sums in the keys' order times 1 / how many,
 *                                                      rounded
 *
 * A group a block of a kv head, an item a column.
 */
#if !defined(METHOD)
#error "select_bounds.cl: METHOD must be defined"
#endif
#if METHOD == 2
#define DATA STORED(T_K)
#else
#define DATA float
#endif
#define OWN_PARAMS , __global const STORED(T_K) *restrict k, __global DATA *restrict data
#include "select.clh"
#include "mean.clh"

/* Of a column of a block. */
static inline void summarise(__global const STORED(T_K) *from, long stride, int n, __global DATA *to)
{
    float low = LOAD1(T_K, from, 0), high = low, sum = low;
    for (int t = 1; t < n; t++) {
        const float x = LOAD1(T_K, from, t * stride);
        low = fmin(low, x);
        high = fmax(high, x);
        sum += x;
    }
#if METHOD == 2
    STORE1(T_K, low, to, 0);
    STORE1(T_K, high, to, DIM);
#else
    to[0] = sum * reciprocal((uint)n);
#endif
}

KERNEL bounds(SELECT_PARAMS)
{
    /* a.first: the first block of each head that is new; a.count: how many */
    const int new_block = (int)get_group_id(0) % a.count, head = (int)get_group_id(0) / a.count;
    const int batch = head / a.kv_heads, kv_head = head % a.kv_heads, block = (int)a.first + new_block;
    long k_first = 0;
    int k_len = a.kv_len;
#if PACKED
    (void)q_offsets;
    k_first = clamp_int(k_offsets[batch], 0, a.kv_total);
    k_len = clamp_int(k_offsets[batch + 1] - k_first, 0, min((long)a.kv_len, a.kv_total - k_first));
#elif KEY_LENGTHS
    k_len = clamp_int(key_lengths[batch], 0, a.kv_len);
#endif
    const int first = block * a.block_k, n = min(a.block_k, k_len - first);
    __global const STORED(T_K) *from =
        k + a.k_at[0] + batch * a.k_at[1] + kv_head * a.k_at[2] + (k_first + first) *a.k_at[3];
    __global DATA *to = data + ((long)head * a.k_blocks + block) * (METHOD == 2 ? 2 * DIM : DIM);
    for (int d = (int)get_local_id(0); d < DIM && n > 0; d += GROUP)
        summarise(from + d, a.k_at[3], n, to + d);
    (void)workspace;
    (void)kept;
}
