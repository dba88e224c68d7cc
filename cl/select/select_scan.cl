/* SPDX-License-Identifier: MIT
 * select_scan.cl - a stage of STAGED: in every chunk a search for one good key, whose best score is the
 * chunk's.
 *
 * The half whose middle scores better is cut again, the left one if they are equal.  A group STRIP chunks of
 * a list, an item KEYS / 2 of them at once, or with PRODUCTS a team BQ / 2, in step; every head searches for
 * itself, so that a set is a head.
 *
 * -D parameters: PRODUCTS 1: scores are products of a tile (products.clh), else of rows that select_rows.cl
 * left (scores.clh).
 */
#if !defined(STRIP) || !defined(PRODUCTS)
#error "select_scan.cl: STRIP, PRODUCTS must be defined"
#endif
#define SPACE __global
#if PRODUCTS
#define OWN_PARAMS , __global const STORED(T_K) *restrict q, __global const STORED(T_K) *restrict k
#else
#define T_S T_K
#define BOUNDS 0
#define OWN_PARAMS , __global const STORED(T_K) *restrict k KEY_ROPE_PARAMS
#endif
#include "select.clh"
#include "order.clh"
#include "candidates.clh"
#include "chunks.clh"
#include "budget.clh"
#include "rope.clh"
#include "rows.clh"
#if PRODUCTS
#include "products.clh"
#define CHUNKS (BQ / 2)
#else
#include "scores.clh"
#define CHUNKS (KEYS / 2)
#endif

/* The key with a number among the candidates' keys, one that there is, and its class; 0 of one that there is
 * not. */
struct asked {
    int key, class;
};

static inline struct asked ask_key(const struct select_args *a, const struct list_place *p,
                                   const struct candidates *c, const struct rule_env *env, int head,
                                   int number)
{
    const int key = key_of_number(c, a->block_k, number);
    const int class = key >= p->k_len                     ? 0
                      : key >= c->full0 && key < c->full1 ? 2
                                                          : class_of_keys(env, p, head, head, key, key);
    const struct asked found = {min(key, p->k_len - 1), class};
    return found;
}

/* A step of a search from what the middles of both halves scored.  A chunk of one key asks for it twice, in
 * its first step, which counts once.  Returns how many keys were asked for. */
static inline uint take_half(int *left, int *right, uint *best, uint on_left, uint on_right, int first)
{
    const int middle = (*left + *right) / 2, one = *right - *left == 1, goes_right = on_right > on_left;
    if (one && !first)
        return 0u;
    *best = max(*best, one ? on_left : max(on_left, on_right));
    *left = goes_right && !one ? middle : *left;
    *right = goes_right || one ? *right : middle;
    return one ? 1u : 2u;
}

#if PRODUCTS
/* The searches of each team on their way, in local memory: what is left of each, the best key met; scores of
 * the noted keys. */
#define SEARCH_WORDS (3 * CHUNKS + BQ)
struct searches {
    __local int *left, *right;
    __local uint *best, *scores;
};

static inline struct searches find_searches(__local int *words, const struct team *t)
{
    struct searches s;
    s.left = words + t->number * SEARCH_WORDS;
    s.right = s.left + CHUNKS;
    s.best = (__local uint *)(s.right + CHUNKS);
    s.scores = s.best + CHUNKS;
    return s;
}

static inline void begin_searches(const struct searches *s, const struct team *t, const struct select_args *a,
                                  const struct candidates *c, __global const int *chunks, int first, int n)
{
    for (int i = t->item; i < CHUNKS; i += TEAM) {
        s->left[i] = chunk_begin(a, c, chunks, min(first + i, n - 1));
        s->right[i] = min(s->left[i] + a->chunk, c->end);
        s->best[i] = 0u;
    }
}

static inline void note_middles(const struct searches *s, const struct team *t, const struct select_args *a,
                                const struct list_place *p, const struct candidates *c,
                                const struct rule_env *env, int head)
{
    for (int i = t->item; i < BQ; i += TEAM) {
        const int left = s->left[i / 2], right = s->right[i / 2], middle = (left + right) / 2;
        const struct asked asked =
            ask_key(a, p, c, env, head, i % 2 == 0 ? (left + middle) / 2 : (middle + right) / 2);
        t->keys[i] = asked.key;
        t->classes[i] = asked.class;
    }
}

/* Take a step of searches number 0 to n - 1, and of the others without counting it. */
static inline uint take_halves(const struct searches *s, const struct team *t, int n, int first)
{
    uint asked = 0u;
    for (int i = t->item; i < CHUNKS; i += TEAM) {
        int left = s->left[i], right = s->right[i];
        uint best = s->best[i];
        const uint count = take_half(&left, &right, &best, s->scores[2 * i], s->scores[2 * i + 1], first);
        asked += i < n ? count : 0u;
        s->left[i] = left;
        s->right[i] = right;
        s->best[i] = best;
    }
    return asked;
}

/* Chunks first to first + CHUNKS - 1, those past the last repeating it, for one head: their keys in the
 * workspace rise to it.  Returns how many keys an item asked for. */
static inline uint search_chunks(const struct searches *s, const struct team *t, const struct source *from,
                                 const struct select_args *a, const struct list_place *p, int set,
                                 const struct candidates *c, const struct rule_env *env,
                                 __global const int *chunks, int first, int n, __global uint *keys)
{
    uint asked = 0u;
    begin_searches(s, t, a, c, chunks, first, n);
    for (int size = a->chunk;; size = (size + 1) / 2) {
        uint scores[FRAG_ROWS];
        team_barrier();
        note_middles(s, t, a, p, c, env, set_head(a, p, set));
        score_noted(scores, t, from, a, p, set, env);
        UNROLL for (int i = 0; i < FRAG_ROWS; i++)
            if (answers(t))
                s->scores[frag_row(t->item, i)] = scores[i];
        team_barrier();
        asked += take_halves(s, t, n - first, size == a->chunk);
        if (size <= 2)
            break;
    }
    for (int i = t->item; i < min(CHUNKS, n - first); i += TEAM)
        keys[first + i] = set == 0 ? s->best[i] : max(keys[first + i], s->best[i]);
    return asked;
}

#else
/* CHUNKS searches on their way: what is left of each, and the best key met. */
struct search {
    int number; /* of the first chunk; the others follow */
    int left[CHUNKS], right[CHUNKS];
    uint best[CHUNKS];
    int n; /* of them chunks of their own */
};

/* The key with a number among the candidates' keys, as something to score. */
static inline struct unit unit_of(const struct select_args *a, const struct list_place *p,
                                  const struct candidates *c, const struct rule_env *env, int head,
                                  int number)
{
    struct unit u;
    const struct asked asked = ask_key(a, p, c, env, head, number);
    u.k0 = u.k1 = asked.key;
    u.class = asked.class;
    u.at = u.k0 * a->k_at[3];
    return u;
}

/* One step of all: the middles of both halves; returns how many keys were asked for. */
static inline uint step_search(const struct select_args *a, const struct list_place *p, int set,
                               const struct candidates *c, const struct rule_env *env,
                               __global const float *rows, __global const STORED(T_K) *k, struct search *s,
                               int first KEY_ROPE_PARAMS)
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
        const uint count =
            take_half(s->left + i, s->right + i, s->best + i, keys[2 * i], keys[2 * i + 1], first);
        asked += i < s->n ? count : 0u;
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

/* Chunks i to i + CHUNKS - 1, those past the last repeating it, for one head: their keys in the workspace
 * rise to it.  Returns how many keys were asked for. */
static inline uint search_chunks(const struct select_args *a, const struct list_place *p, int set,
                                 const struct candidates *c, const struct rule_env *env,
                                 __global const float *rows, __global const STORED(T_K) *k,
                                 __global const int *chunks, int i, int n,
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
#endif

KERNEL scan_chunks(SELECT_PARAMS)
{
#if PRODUCTS
    PRODUCTS_MEMORY;
    __local int words[TEAMS * SEARCH_WORDS];
    const struct team team = find_team_place(memory, notes);
    const struct searches searches = find_searches(words, &team);
    int held = -1;
#endif
    const int lists = a.count * a.scopes, number = (int)get_group_id(0) % lists,
              strip = (int)get_group_id(0) / lists;
    const struct list_place p =
        find_list_place(&a, number / a.scopes, number % a.scopes, a.scopes LENGTH_ARGS);
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
        __global const STORED(T_K) *from =
            k + a.k_at[0] + p.batch * a.k_at[1] + kv_head * a.k_at[2] + p.k_first * a.k_at[3];
#if PRODUCTS
        struct source source;
        open_source(&source, from, a.k_at, KEY_PITCH, team.item);
        hold_rows(&team, &a, &p, set, q, &held);
        for (int i = strip * STRIP + team.number * CHUNKS; i < end; i += TEAMS * CHUNKS)
            asked += search_chunks(&searches, &team, &source, &a, &p, set, &c, &env, chunks, i, n, keys);
#else
        __global const float *rows = (__global const float *)workspace + rows_place(&a, &p, set);
        for (int i = strip * STRIP + (int)get_local_id(0) * CHUNKS; i < end; i += GROUP * CHUNKS)
            asked += search_chunks(&a, &p, set, &c, &env, rows, from, chunks, i, n, keys KEY_ROPE_ARGS);
#endif
    }
    COUNT_DOTS(asked * (uint)p.sampled);
}
