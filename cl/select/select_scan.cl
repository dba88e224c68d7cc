/* SPDX-License-Identifier: MIT
 * select_scan.cl - a stage of STAGED: in every chunk a search for one good key, whose best score is the chunk's.
 *
 * The half whose middle scores better is cut again, the left one if they are equal.  A group STRIP chunks of a list, an item
 * KEYS / 2 of them at once, in step; every head searches for itself, so that a set is a head.
 */
#ifndef STRIP
#error "select_scan.cl: STRIP must be defined"
#endif
#define SPACE __global
#define T_S T_K
#define BOUNDS 0
#define OWN_PARAMS , __global const STORED(T_K) *restrict k KEY_ROPE_PARAMS
#include "select.clh"
#include "order.clh"
#include "candidates.clh"
#include "chunks.clh"
#include "budget.clh"
#include "scores.clh"

#define CHUNKS (KEYS / 2)

/* CHUNKS searches on their way: what is left of each, and the best key met. */
struct search {
    int number; /* of the first chunk; the others follow */
    int left[CHUNKS], right[CHUNKS];
    uint best[CHUNKS];
    int n; /* of them chunks of their own */
};

/* The key with a number among the candidates' keys, as something to score. */
static inline struct unit unit_of(const struct select_args *a, const struct list_place *p, const struct candidates *c,
                                  const struct rule_env *env, int head, int number)
{
    struct unit u;
    const int key = key_of_number(c, a->block_k, number);
    u.k0 = u.k1 = min(key, p->k_len - 1);
    u.class = key >= p->k_len ? 0 : key >= c->full0 && key < c->full1 ? 2 : class_of_keys(env, p, head, head, key, key);
    u.at = u.k0 * a->k_at[3];
    return u;
}

/* One step of all: the middles of both halves; returns how many keys were asked for.  A chunk of one key asks for it twice, which
 * counts once. */
static inline uint step_search(const struct select_args *a, const struct list_place *p, int set, const struct candidates *c,
                               const struct rule_env *env, __global const float *rows, __global const STORED(T_K) *k,
                               struct search *s, int first KEY_ROPE_PARAMS)
{
    struct unit units[KEYS];
    uint keys[KEYS], asked = 0u;
    for (int i = 0; i < CHUNKS; i++) {
        const int middle = (s->left[i] + s->right[i]) / 2;
        units[2 * i] = unit_of(a, p, c, env, set_head(a, p, set), (s->left[i] + middle) / 2);
        units[2 * i + 1] = unit_of(a, p, c, env, set_head(a, p, set), (middle + s->right[i]) / 2);
        TURN_UNIT(units[2 * i], a, ROPE == 1 ? 0 : s->number + i);
        TURN_UNIT(units[2 * i + 1], a, ROPE == 1 ? 1 : s->number + i);
    }
    score_units(a, p, set, env, rows, k, units, keys KEY_ROPE_ARGS);
    for (int i = 0; i < CHUNKS; i++) {
        const int middle = (s->left[i] + s->right[i]) / 2, one = s->right[i] - s->left[i] == 1;
        const int right = keys[2 * i + 1] > keys[2 * i];
        if (one && !first)
            continue;
        asked += i < s->n ? (one ? 1u : 2u) : 0u;
        s->best[i] = max(s->best[i], one ? keys[2 * i] : max(keys[2 * i], keys[2 * i + 1]));
        s->left[i] = right && !one ? middle : s->left[i];
        s->right[i] = right || one ? s->right[i] : middle;
    }
    return asked;
}

static inline int longest(const struct search *s)
{
    int size = 0;
    for (int i = 0; i < CHUNKS; i++)
        size = max(size, s->right[i] - s->left[i]);
    return size;
}

/* Chunks i to i + CHUNKS - 1, those past the last repeating it, for one head: their keys in the workspace rise to it.  Returns how many
 * keys were asked for. */
static inline uint search_chunks(const struct select_args *a, const struct list_place *p, int set, const struct candidates *c,
                                 const struct rule_env *env, __global const float *rows,
                                 __global const STORED(T_K) *k, __global const int *chunks, int i, int n,
                                 __global uint *keys KEY_ROPE_PARAMS)
{
    struct search s;
    s.number = i;
    for (int j = 0; j < CHUNKS; j++) {
        s.left[j] = chunk_begin(a, c, chunks, min(i + j, n - 1));
        s.right[j] = min(s.left[j] + a->chunk, c->end);
        s.best[j] = 0u;
    }
    uint asked = 0u;
    int first = 1;
    s.n = min(CHUNKS, n - i);
    do {
        asked += step_search(a, p, set, c, env, rows, k, &s, first KEY_ROPE_ARGS);
        first = 0;
    } while (longest(&s) > 1);
    for (int j = 0; j < s.n; j++)
        keys[i + j] = set == 0 ? s.best[j] : max(keys[i + j], s.best[j]);
    return asked;
}

KERNEL scan_chunks(SELECT_PARAMS)
{
    const int lists = a.count * a.scopes, number = (int)get_group_id(0) % lists, strip = (int)get_group_id(0) / lists;
    const struct list_place p = find_list_place(&a, number / a.scopes, number % a.scopes, a.scopes LENGTH_ARGS);
    const struct candidates c = find_candidates(&a, &p, kept);
    __global const int *chunks = chunk_list(&a, &p, a.chunks_at, a.chunk_words, kept);
    __global uint *keys = workspace + a.keys_at + (long)number * a.max_keys;
    if (a.stage == 0 && strip == 0 && get_local_id(0) == 0)
        COUNT_CANDIDATES(c.n);
    if (keeps_all(&a, &p, c.n))
        return;
    const int n = chunk_count(&a, &c, chunks), end = min(n, (strip + 1) * STRIP);
    uint asked = 0u;
    if (n <= chunks_kept(&a, &p, c.n))
        return;
    for (int set = 0; set < a.sets; set++) {
        const int kv_head = set_head(&a, &p, set) / (a.heads / a.kv_heads);
        RULE_ENV(env, p.batch, kv_head, p.q_len, p.k_len)
        __global const float *rows = (__global const float *)workspace + rows_place(&a, &p, set);
        __global const STORED(T_K) *from = k + a.k_at[0] + p.batch * a.k_at[1] + kv_head * a.k_at[2] + p.k_first * a.k_at[3];
        for (int i = strip * STRIP + (int)get_local_id(0) * CHUNKS; i < end; i += GROUP * CHUNKS)
            asked += search_chunks(&a, &p, set, &c, &env, rows, from, chunks, i, n, keys KEY_ROPE_ARGS);
    }
    COUNT_DOTS(asked * (uint)p.sampled);
}
