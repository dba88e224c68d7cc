/* SPDX-License-Identifier: MIT
 * select_blocks.cl - a score for every candidate, from what is kept of its block as a whole, or from given
 * ones.
 *
 *     METHOD 2   sum_d max(q_d min_d, q_d max_d)    minima and maxima, as select_bounds.cl leaves them
 *     METHOD 3   the product with the mean key      means, likewise
 *     METHOD 4   given scores, f32 [batch][scopes][q_blocks][k_blocks]
 *
 * A group STRIP candidates of a list, an item KEYS of them at once.
 */
#if !defined(METHOD) || !defined(STRIP)
#error "select_blocks.cl: METHOD, STRIP must be defined"
#endif
#define SPACE __global
#if METHOD == 2
#define DATA STORED(T_K)
#else
#define DATA float
#endif
#define OWN_PARAMS , __global const DATA *restrict data
#include "select.clh"
#include "order.clh"
#include "candidates.clh"
#include "budget.clh"

#if METHOD == 4
static inline void score_candidates(const struct select_args *a, const struct list_place *p,
                                    const struct candidates *c, __global const float *scores, int i,
                                    __global uint *keys)
{
    keys[i] = key_of(scores[list_in_all(a, p) * a->k_blocks + block_of(c, i)]);
}
#else
#if METHOD == 2
#define T_S T_K
#define BOUNDS 1
#define WIDTH (2 * DIM)
#else
#define T_S 0
#define BOUNDS 0
#define WIDTH DIM
#endif
#include "scores.clh"

/* Candidates i to i + KEYS - 1, those past the last repeating it, for one set. */
static inline void score_set(const struct select_args *a, const struct list_place *p, int set,
                             const struct candidates *c, const struct rule_env *env,
                             __global const float *rows, __global const DATA *data, int i,
                             __global uint *keys)
{
    struct unit units[KEYS];
    uint scored[KEYS];
    const int h0 = set_head(a, p, set);
    for (int j = 0; j < KEYS; j++) {
        const int block = block_of(c, min(i + j, c->n - 1));
        units[j].k0 = block * a->block_k;
        units[j].k1 = min(p->k_len, units[j].k0 + a->block_k) - 1;
        units[j].class = units[j].k0 >= c->full0 && units[j].k1 < c->full1
                             ? 2
                             : class_of_keys(env, p, h0, h0 + a->set_heads - 1, units[j].k0, units[j].k1);
        units[j].at = (long)block * WIDTH;
    }
    score_units(a, p, set, env, rows, data, units, scored);
    for (int j = 0; j < min(KEYS, c->n - i); j++)
        keys[i + j] = set == 0 ? scored[j] : max(keys[i + j], scored[j]);
}
#endif

KERNEL blocks(SELECT_PARAMS)
{
    const int lists = a.count * a.scopes, number = (int)get_group_id(0) % lists,
              strip = (int)get_group_id(0) / lists;
    const struct list_place p =
        find_list_place(&a, number / a.scopes, number % a.scopes, a.scopes LENGTH_ARGS);
    const struct candidates c = find_candidates(&a, &p, kept);
    __global uint *keys = workspace + a.keys_at + (long)number * a.max_keys;
    const int begin = strip * STRIP + (int)get_local_id(0) * KEYS, end = min(c.n, (strip + 1) * STRIP);
    if (keeps_all(&a, &p, c.n))
        return;
#if METHOD == 4
    for (int i = begin; i < end; i += GROUP * KEYS)
        score_candidates(&a, &p, &c, data, i, keys);
#else
    for (int set = 0; set < a.sets; set++) {
        const int kv_head = set_head(&a, &p, set) / (a.heads / a.kv_heads);
        RULE_ENV(env, p.batch, kv_head, p.q_len, p.k_len)
        __global const float *rows = (__global const float *)workspace + rows_place(&a, &p, set);
        __global const DATA *of_head = data + ((long)p.batch * a.kv_heads + kv_head) * a.k_blocks * WIDTH;
        for (int i = begin; i < end; i += GROUP * KEYS)
            score_set(&a, &p, set, &c, &env, rows, of_head, i, keys);
    }
#endif
}
