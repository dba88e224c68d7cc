/* SPDX-License-Identifier: MIT
 * select_certify.cl - how many blocks of a list made by bounds are proved to have the largest products.
 *
 *     largest product of the block - largest bound of a candidate that is not listed > slack
 *     slack = 4 (DIM + 2) 2^-24 max_r (sum_d |q_rd| largest_d + 2^-100), largest_d of all keys of the kv head
 *
 * Products and bounds are sums of DIM terms in f32, each off by at most DIM 2^-24 / (1 - DIM 2^-24) of that
 * sum of magnitudes: together half of the slack, whose other half is for its own rounding; 2^-100 is for
 * products that are too small for f32.  Where a sum overflows, the slack is infinite and nothing is proved.
 *
 * A group a list.  Reads the list and the keys that select_top.cl chose from.
 */
#define SPACE __global
#define T_S T_K
#define BOUNDS 0
#define OWN_PARAMS                                                                                  \
    , __global const STORED(T_K) *restrict data, __global const STORED(T_K) *restrict k, __global const int *restrict list, \
        __global int *restrict certified
#include "select.clh"
#include "order.clh"
#include "candidates.clh"
#include "emit_list.clh"
#include "scores.clh"

#define SLACK (4.0f * (DIM + 2) * 0x1p-24f)
#define TINY 0x1p-100f

/* The largest bound of an item's part of the candidates that are not listed. */
static inline uint best_left(const struct candidates *c, __global const uint *keys, __global const int *ids,
                             int count)
{
    const int begin = part_begin(c->n, (int)get_local_id(0)),
              end = part_begin(c->n, (int)get_local_id(0) + 1);
    uint best = 0u;
    int j = 0;
    if (begin < end)
        for (int high = count; j < high;) { /* the first listed block that is no lower */
            const int middle = (j + high) / 2, lower = ids[middle] < block_of(c, begin);
            high = lower ? high : middle;
            j = lower ? middle + 1 : j;
        }
    for (int i = begin; i < end; i++) {
        const int listed = j < count && ids[j] == block_of(c, i);
        j += listed;
        best = listed ? best : max(best, keys[i]);
    }
    return best;
}

/* The key of the largest product of a block's keys with the rows of a set that see them. */
static inline uint largest_product(const struct select_args *a, const struct list_place *p, int set,
                                   const struct candidates *c, const struct rule_env *env,
                                   __global const float *rows, __global const STORED(T_K) *k, int block)
{
    const int first = block * a->block_k, last = min(p->k_len, first + a->block_k) - 1,
              h0 = set_head(a, p, set);
    const int full = first >= c->full0 && last < c->full1;
    uint best = 0u;
    for (int from = first; from <= last; from += KEYS) {
        struct unit units[KEYS];
        uint keys[KEYS];
        for (int j = 0; j < KEYS; j++) {
            const int key = min(from + j, last);
            units[j].k0 = units[j].k1 = key;
            units[j].class = full ? 2 : class_of_keys(env, p, h0, h0 + a->set_heads - 1, key, key);
            units[j].at = key * a->k_at[3];
        }
        score_units(a, p, set, env, rows, k, units, keys);
        for (int j = 0; j < KEYS; j++)
            best = max(best, keys[j]);
    }
    return best;
}

/* The largest magnitudes of a kv head's keys, column by column; each column is one item's alone. */
static inline void find_largest(__global const STORED(T_K) *data, int blocks, __local float *largest)
{
    for (int d = (int)get_local_id(0); d < DIM; d += GROUP)
        largest[d] = 0.0f;
    for (int block = 0; block < blocks; block++)
        for (int d = (int)get_local_id(0); d < DIM; d += GROUP) {
            __global const STORED(T_K) *of_block = data + (long)block * 2 * DIM;
            const float low = fabs(LOAD1(T_K, of_block, d)), high = fabs(LOAD1(T_K, of_block, DIM + d));
            largest[d] = fmax(largest[d], fmax(low, high)); /* which pass over NaN */
        }
}

/* The largest sum of magnitudes of an item's rows; a row with NaN has no products.  Infinite where a key
 * is. */
static inline float largest_sum(__global const float *rows, __local const float *largest)
{
    float most = 0.0f;
    for (int r = (int)get_local_id(0); r < ROWS; r += GROUP) {
        float sum = 0.0f;
        for (int d = 0; d < DIM; d++)
            sum = MULTIPLY_ADD(fabs(rows[d * ROWS + r]), largest[d], sum);
        most = fmax(most, sum);
    }
    for (int d = (int)get_local_id(0); d < DIM; d += GROUP)
        most = largest[d] < INFINITY ? most : INFINITY;
    return most;
}

/* The slack of an item's rows: of all sets, in turn. */
static inline float find_slack(const struct select_args *a, const struct list_place *p, int blocks,
                               __global const float *rows, __global const STORED(T_K) *data,
                               __local float *largest)
{
    float most = 0.0f;
    for (int set = 0; set < a->sets; set++) {
        const int kv_head = set_head(a, p, set) / (a->heads / a->kv_heads);
        find_largest(data + ((long)p->batch * a->kv_heads + kv_head) *a->k_blocks * 2 * DIM, blocks,
                     largest);
        BARRIER(CLK_LOCAL_MEM_FENCE);
        if (blocks > 0)
            most = fmax(most, largest_sum(rows + rows_place(a, p, set), largest));
        BARRIER(CLK_LOCAL_MEM_FENCE);
    }
    return SLACK * (most + TINY);
}

KERNEL certify(SELECT_PARAMS)
{
    __local uint shared[3]; /* the best bound left, the slack, as numbers that order; how many are proved */
    __local float largest[DIM];
    const int number = (int)get_group_id(0), item = (int)get_local_id(0);
    const struct list_place p =
        find_list_place(&a, number / a.scopes, number % a.scopes, a.scopes LENGTH_ARGS);
    const struct candidates c = find_candidates(&a, &p, kept);
    const long at = list_in_all(&a, &p);
    __global const float *rows = (__global const float *)workspace;
    __global const int *ids = list + a.ids_at + at * a.capacity;
    const int count = clamp_int(list[a.counts_at + at], 0, min(a.capacity, c.n));
    const int asked = count < c.n ? count : 0; /* where all are listed there is nothing to prove */
    if (item < 3)
        shared[item] = 0u;
#if GROUP < 3
    for (int i = GROUP; i < 3; i++)
        shared[i] = 0u;
#endif
    BARRIER(CLK_LOCAL_MEM_FENCE);
    const float own = find_slack(&a, &p, asked > 0 ? p.k_blocks : 0, rows, data, largest);
    atomic_max(shared,
               asked > 0 ? best_left(&c, workspace + a.keys_at + (long)number * a.max_keys, ids, count) : 0u);
    atomic_max(shared + 1, as_uint(own));
    BARRIER(CLK_LOCAL_MEM_FENCE);
    const float left = score_of(shared[0]), slack = as_float(shared[1]);
    for (int j = item; j < asked; j += GROUP) {
        const int block = clamp_int(ids[j], 0, p.k_blocks - 1);
        uint best = 0u;
        for (int set = 0; set < a.sets; set++) {
            const int kv_head = set_head(&a, &p, set) / (a.heads / a.kv_heads);
            RULE_ENV(env, p.batch, kv_head, p.q_len, p.k_len)
            __global const STORED(T_K) *from =
                k + a.k_at[0] + p.batch * a.k_at[1] + kv_head * a.k_at[2] + p.k_first * a.k_at[3];
            best = max(best,
                       largest_product(&a, &p, set, &c, &env, rows + rows_place(&a, &p, set), from, block));
        }
        if (score_of(best) - left > slack)
            atomic_inc(shared + 2);
    }
    BARRIER(CLK_LOCAL_MEM_FENCE);
    if (item == 0 && !is_idle(&a, &p))
        certified[at] = asked > 0 ? (int)shared[2] : count;
}
