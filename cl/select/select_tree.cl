/* SPDX-License-Identifier: MIT
 * select_tree.cl - TREE: halve nodes of candidates, score each half by one block, keep the best, until nodes
 * are blocks.
 *
 * A group a list, lists in turn.  Nodes are disjoint and in order at all times, and so is what is kept of
 * their halves: nothing is sorted.  The number of rounds comes from the candidates alone, the same for all
 * items.
 *
 *     scratch   start, size of keep nodes; start, size, key of 2 keep halves
 *
 * -D parameters: NODES_GLOBAL 1: scratch is a part of the workspace, else local memory; PRODUCTS 1: scores
 * are products of a tile (products.clh), else of rows that select_rows.cl left (scores.clh).
 */
#if !defined(NODES_GLOBAL) || !defined(PRODUCTS)
#error "select_tree.cl: NODES_GLOBAL, PRODUCTS must be defined"
#endif
#if NODES_GLOBAL
#define SPACE __global
#define SCRATCH_PARAM
#define NODE_FENCE (CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
#else
#define SPACE __local
#define SCRATCH_PARAM , __local uint *scratch
#define NODE_FENCE CLK_LOCAL_MEM_FENCE
#endif
#if PRODUCTS
#define Q_PARAM , __global const STORED(T_K) *restrict q
#else
#define Q_PARAM
#define T_S T_K
#define BOUNDS 0
#endif
#define OWN_PARAMS Q_PARAM, __global const STORED(T_K) *restrict k KEY_ROPE_PARAMS, __global int *restrict list SCRATCH_PARAM
#include "select.clh"
#include "order.clh"
#include "candidates.clh"
#include "budget.clh"
#include "emit_list.clh"
#include "rope.clh"
#include "rows.clh"
#if PRODUCTS
#include "products.clh"
#else
#include "scores.clh"
#endif

/* Set in the size of a right half whose keys turn by another position than a left one's. */
#define RIGHT_HALF (ROPE == 1 ? 1u << 31 : 0u)

struct nodes {
    SPACE uint *start, *size;           /* of keep nodes */
    SPACE uint *half_start, *half_size; /* of their halves */
    SPACE uint *key;                    /* a half's score */
};

static inline struct nodes find_nodes(SPACE uint *scratch, int keep)
{
    const struct nodes n = {scratch, scratch + keep, scratch + 2 * keep, scratch + 4 * keep,
                            scratch + 6 * keep};
    return n;
}

/* An even split of n candidates. */
static inline void begin_nodes(const struct nodes *nodes, int n, int keep)
{
    for (int i = (int)get_local_id(0); i < keep; i += GROUP) {
        const uint begin = (uint)((long)i * n / keep), end = (uint)((long)(i + 1) * n / keep);
        nodes->start[i] = begin;
        nodes->size[i] = end - begin;
    }
    BARRIER(NODE_FENCE);
}

/* The halves of every node that is more than a block, in order.  Returns how many. */
static inline int halve_nodes(const struct nodes *nodes, int keep, __local uint *shared)
{
    const int item = (int)get_local_id(0), begin = part_begin(keep, item), end = part_begin(keep, item + 1);
    uint count = 0u, total;
    for (int i = begin; i < end; i++)
        count += nodes->size[i] > 1u ? 2u : 1u;
    uint to = scan(count, &total, shared);
    for (int i = begin; i < end; i++) {
        const uint start = nodes->start[i], size = nodes->size[i], left = size / 2u;
        if (left > 0u) {
            nodes->half_start[to] = start;
            nodes->half_size[to++] = left;
        }
        nodes->half_start[to] = start + left;
        nodes->half_size[to++] = (size - left) | (left > 0u ? RIGHT_HALF : 0u);
    }
    BARRIER(NODE_FENCE);
    return (int)total;
}

/* The best halves become the nodes; all of them if they are no more. */
static inline void keep_halves(const struct nodes *nodes, int halves, int keep, __local uint *shared)
{
    struct keeper k = find_keeper(nodes->key, halves, keep, shared);
    for (int i = k.begin; i < k.end; i++)
        if (keeps(&k, nodes->key[i])) {
            nodes->start[k.place] = nodes->half_start[i];
            nodes->size[k.place++] = nodes->half_size[i] & ~RIGHT_HALF;
        }
    BARRIER(NODE_FENCE);
}

/* The block that stands for a half. */
static inline int representative(const struct select_args *a, const struct candidates *c, uint start,
                                 uint size)
{
    const uint offset = a->representative == 0 ? size / 2u : a->representative == 1 ? 0u : size - 1u;
    return block_of(c, (int)(start + offset));
}

/* The sampled keys of a block: the last of each stride_k.  Returns how many. */
static inline int sampled_keys(const struct select_args *a, const struct list_place *p, int block)
{
    return min(a->block_k, p->k_len - block * a->block_k) / a->stride_k;
}

/* The class of a block for a set's rows; without a look where all of it is known to be seen. */
static inline int class_of_block(const struct select_args *a, const struct list_place *p, int set,
                                 const struct candidates *c, const struct rule_env *env, int block)
{
    const int k0 = block * a->block_k, k1 = min(p->k_len, k0 + a->block_k) - 1, h0 = set_head(a, p, set);
    return k0 >= c->full0 && k1 < c->full1 ? 2 : class_of_keys(env, p, h0, h0 + a->set_heads - 1, k0, k1);
}

/* A half's key rises; other items may raise it too. */
static inline void raise_key(SPACE uint *key, uint x)
{
#if GROUP == 1
    *key = max(*key, x);
#else
    atomic_max((volatile SPACE uint *)key, x);
#endif
}

#if PRODUCTS
/* Note units from number `from' on, `each' of a half: its sampled keys; those past the last repeat it.
 * Returns how many keys an item is to look at. */
static inline uint note_units(const struct team *t, const struct select_args *a, const struct list_place *p,
                              int set, const struct candidates *c, const struct rule_env *env,
                              const struct nodes *nodes, int halves, int each, int from)
{
    uint looked = 0u;
    for (int i = t->item; i < BQ; i += TEAM) {
        const int unit = min(from + i, halves * each - 1), j = unit / each, number = unit % each;
        const int block = representative(a, c, nodes->half_start[j], nodes->half_size[j]),
                  n = sampled_keys(a, p, block);
        const int has = from + i == unit && number < n;
        t->keys[i] = block * a->block_k + (has ? (number + 1) * a->stride_k - 1 : 0);
        t->classes[i] = has                               ? class_of_block(a, p, set, c, env, block)
                        : from + i == unit && number == 0 ? 0
                                                          : NOT_ASKED;
        looked += has ? 1u : 0u;
    }
    return looked;
}

/* What one set says of all halves: their keys rise to it.  Returns how many keys an item looked at. */
static inline uint score_halves(const struct select_args *a, const struct list_place *p, int set,
                                const struct candidates *c, const struct rule_env *env,
                                const struct nodes *nodes, int halves, const struct team *t,
                                __global const STORED(T_K) *k)
{
    const int each = a->block_k / a->stride_k;
    struct source from;
    uint looked = 0u;
    open_source(&from, k, a->k_at, KEY_PITCH, t->item);
    for (int first = t->number * BQ; first < halves * each; first += TEAMS * BQ) {
        uint scores[FRAG_ROWS];
        looked += note_units(t, a, p, set, c, env, nodes, halves, each, first);
        score_noted(scores, t, &from, a, p, set, env);
        UNROLL for (int i = 0; i < FRAG_ROWS; i++)
            if (answers(t) && scores[i] != 0u)
                raise_key(nodes->key + (first + frag_row(t->item, i)) / each, scores[i]);
    }
    return looked;
}
#else
/* How the sampled keys of halves are dealt out: `at_once' halves, or a part of one, whose keys fill the units
 * that an item scores together. */
struct deal {
    int each, at_once, parts; /* sampled keys of a whole block */
};

static inline struct deal deal_halves(const struct select_args *a)
{
    struct deal d;
    d.each = a->block_k / a->stride_k;
    d.at_once = d.each < KEYS ? KEYS / d.each : 1;
    d.parts = (d.each + KEYS - 1) / KEYS;
    return d;
}

/* What one set says of the halves from j on, `n' of them, of sampled keys number `from' on: their keys rise
 * to it.  A block without any counts as one key that no row sees.  Returns how many keys were looked at. */
static inline uint score_some(const struct select_args *a, const struct list_place *p, int set,
                              const struct candidates *c, const struct rule_env *env,
                              const struct nodes *nodes, const struct deal *deal, int j, int n, int from,
                              __global const float *rows, __global const STORED(T_K) *k KEY_ROPE_PARAMS)
{
    int block[KEYS], class[KEYS], count[KEYS];
    struct unit units[KEYS];
    uint keys[KEYS], looked = 0u;
    for (int i = 0; i < n; i++) {
        block[i] = representative(a, c, nodes->half_start[j + i], nodes->half_size[j + i] & ~RIGHT_HALF);
        class[i] = class_of_block(a, p, set, c, env, block[i]);
        count[i] = sampled_keys(a, p, block[i]);
    }
    for (int i = 0; i < KEYS; i++) {
        const int which = min(i / deal->each, n - 1), number = from + i - which * deal->each,
                  has = number < count[which];
        units[i].k0 = units[i].k1 = block[which] * a->block_k + (has ? (number + 1) * a->stride_k - 1 : 0);
        units[i].class = has ? class[which] : 0;
        units[i].at = units[i].k0 * a->k_at[3];
        TURN_UNIT(units[i], a, ROPE == 1 ? (nodes->half_size[j + which] & RIGHT_HALF) != 0u : j + which);
        looked += has ? 1u : 0u;
    }
    score_units(a, p, set, env, rows, k, units, keys KEY_ROPE_ARGS);
    for (int i = 0; i < KEYS; i++) {
        const int which = min(i / deal->each, n - 1), number = from + i - which * deal->each;
        if (number < max(1, count[which]))
            raise_key(nodes->key + j + which, keys[i]);
    }
    return looked;
}

/* What one set says of all halves, as far as an item is to look.  Returns how many keys it looked at. */
static inline uint score_halves(const struct select_args *a, const struct list_place *p, int set,
                                const struct candidates *c, const struct rule_env *env,
                                const struct nodes *nodes, int halves, __global const float *rows,
                                __global const STORED(T_K) *k KEY_ROPE_PARAMS)
{
    const struct deal deal = deal_halves(a);
    const int deals = (halves + deal.at_once - 1) / deal.at_once * deal.parts;
    uint looked = 0u;
    for (int i = (int)get_local_id(0); i < deals; i += GROUP) {
        const int j = i / deal.parts * deal.at_once;
        looked += score_some(a, p, set, c, env, nodes, &deal, j, min(deal.at_once, halves - j),
                             i % deal.parts * KEYS, rows, k KEY_ROPE_ARGS);
    }
    return looked;
}
#endif

KERNEL tree(SELECT_PARAMS)
{
    __local uint shared[SHARED_WORDS];
#if NODES_GLOBAL
    __global uint *scratch = workspace + a.scratch_at + (long)get_group_id(0) * a.scratch;
#endif
    const struct nodes nodes = find_nodes(scratch, a.keep);
#if PRODUCTS
    PRODUCTS_MEMORY;
    const struct team team = find_team_place(memory, notes);
#endif
    for (int number = (int)get_group_id(0); number < a.count * a.scopes; number += (int)get_num_groups(0)) {
        const struct list_place p =
            find_list_place(&a, number / a.scopes, number % a.scopes, a.scopes LENGTH_ARGS);
        const struct candidates c = find_candidates(&a, &p, kept);
        const int most = most_kept(&a, &p, c.n), keep = min(c.n, most);
        uint dots = 0u;
#if PRODUCTS
        int held = -1; /* the set whose rows are in local memory */
#endif
        if (get_local_id(0) == 0)
            COUNT_CANDIDATES(c.n);
        begin_nodes(&nodes, c.n, keep);
        for (int largest = (c.n + most - 1) / most; largest > 1; largest = (largest + 1) / 2) {
            const int halves = halve_nodes(&nodes, keep, shared);
            for (int i = (int)get_local_id(0); i < halves; i += GROUP)
                nodes.key[i] = 0u;
            BARRIER(NODE_FENCE);
            for (int set = 0; set < a.sets; set++) {
                const int kv_head = set_head(&a, &p, set) / (a.heads / a.kv_heads);
                RULE_ENV(env, p.batch, kv_head, p.q_len, p.k_len)
                __global const STORED(T_K) *keys =
                    k + a.k_at[0] + p.batch * a.k_at[1] + kv_head * a.k_at[2] + p.k_first * a.k_at[3];
#if PRODUCTS
                hold_rows(&team, &a, &p, set, q, &held);
                dots += score_halves(&a, &p, set, &c, &env, &nodes, halves, &team, keys);
#else
                dots += score_halves(&a, &p, set, &c, &env, &nodes, halves,
                                     (__global const float *)workspace + rows_place(&a, &p, set),
                                     keys KEY_ROPE_ARGS);
#endif
            }
            BARRIER(NODE_FENCE);
            keep_halves(&nodes, halves, keep, shared);
        }
        COUNT_DOTS(dots * (uint)(a.set_heads * p.sampled));
        __global int *ids = list_ids(&a, &p, list);
        for (int j = (int)get_local_id(0); j < keep; j += GROUP)
            ids[j] = block_of(&c, (int)nodes.start[j]);
        write_tail(&a, &p, keep, list);
        BARRIER(NODE_FENCE);
    }
}
