/* SPDX-License-Identifier: MIT
 * select_candidates.cl - the key blocks that matter to each query block: those with a key that some row sees.
 *
 * The pattern is the problem's and not near, so that nothing here speaks of sinks and windows.  A group a
 * pair and scope of candidates; an item looks at WORDS words of 32 blocks at once, then at each, then at each
 * block and at each pair, as far as classes leave it open.  What it writes: candidates.clh.
 */
#if !defined(WORDS) || !defined(NEEDS_END)
#error "select_candidates.cl: WORDS, NEEDS_END must be defined"
#endif
#define SPACE __global
#include "select.clh"
#include "order.clh"
#include "candidates.clh"

/* What a group finds out together, in local ints. */
enum { FIRST, LAST, FULL0, FULL_END, LAST_KEY, FOUND_WORDS };

/* Some heads of one kv head, for whose rows the pattern is asked. */
struct asker {
    struct list_place p;
    int h0, h1, block_k;
};

static inline int class_of_blocks(const struct rule_env *env, const struct asker *s, int from, int to)
{
    const int last = (int)min((long)s->p.k_len, (long)to * s->block_k) - 1;
    return class_of_keys(env, &s->p, s->h0, s->h1, from * s->block_k, last);
}

/* Whether any row sees a key; late rows see most. */
static inline int is_seen(const struct rule_env *env, const struct asker *s, int k)
{
    const int q0 = s->p.row0 + s->p.q_shift;
    for (int i = s->p.rows - 1; i >= 0; i--)
        for (int h = s->h0; h <= s->h1; h++)
            if (SEES(env, q0 + i, h, k))
                return 1;
    return 0;
}

static inline int matters(const struct rule_env *env, const struct asker *s, int block)
{
    const int last = min(s->p.k_len, (block + 1) * s->block_k);
    for (int k = block * s->block_k; k < last; k++)
        if (is_seen(env, s, k))
            return 1;
    return 0;
}

/* Of a word of blocks of a PARTIAL class: which matter, and which are FULL. */
static inline uint2 look_at_blocks(const struct rule_env *env, const struct asker *s, int word)
{
    uint2 marks = (uint2)(0u);
    const int n = min(32, s->p.k_blocks - 32 * word);
    for (int i = 0; i < n; i++) {
        const int block = 32 * word + i, class = class_of_blocks(env, s, block, block + 1);
        marks.x |= (uint)(class == 2 || (class == 1 && matters(env, s, block))) << i;
        marks.y |= (uint)(class == 2) << i;
    }
    return marks;
}

static inline uint2 look_at_word(const struct rule_env *env, const struct asker *s, int word, int class)
{
    const int n = min(32, s->p.k_blocks - 32 * word);
    if (class == 1)
        class = class_of_blocks(env, s, 32 * word, 32 * word + n);
    if (class == 1)
        return look_at_blocks(env, s, word);
    return class == 2 ? (uint2)(0xffffffffu >> (32 - n)) : (uint2)(0u);
}

/* Words begin, begin + WORDS ... of a group: what matters to one kv head is added, what is FULL is FULL for
 * all. */
static inline void mark_words(const struct rule_env *env, const struct asker *s, int first_head,
                              __global uint *bits, __global uint *full)
{
    const int words = (s->p.k_blocks + 31) / 32;
    for (int begin = (int)get_local_id(0) * WORDS; begin < words; begin += GROUP * WORDS) {
        const int end = min(words, begin + WORDS);
        const int class = class_of_blocks(env, s, 32 * begin, min(32 * end, s->p.k_blocks));
        for (int w = begin; w < end; w++) {
            const uint2 marks = look_at_word(env, s, w, class);
            bits[w] = first_head ? marks.x : bits[w] | marks.x;
            full[w] = first_head ? marks.y : full[w] & marks.y;
        }
    }
}

/* The last key of a block that matters to these heads, into found. */
static inline void find_last_key(const struct rule_env *env, const struct asker *s, int block,
                                 __local int *found)
{
    const int first = block * s->block_k;
    int k = min(s->p.k_len, first + s->block_k) - 1 - (int)get_local_id(0);
    while (k >= first && !is_seen(env, s, k))
        k -= GROUP;
    if (k >= first)
        atomic_max(found + LAST_KEY, k);
}

/* First and last block, and the first run of FULL ones: a word a bit at its lower and upper end. */
static inline void find_ends(const struct list_place *p, __global const uint *bits, __local int *found)
{
    const int words = (p->k_blocks + 31) / 32;
    for (int w = (int)get_local_id(0); w < words; w += GROUP)
        if (bits[w] != 0u) {
            atomic_min(found + FIRST, 32 * w + 31 - (int)clz(bits[w] & (0u - bits[w])));
            atomic_max(found + LAST, 32 * w + 31 - (int)clz(bits[w]));
        }
}

static inline void find_full_begin(const struct list_place *p, __global const uint *full, __local int *found)
{
    const int words = (p->k_blocks + 31) / 32;
    for (int w = (int)get_local_id(0); w < words; w += GROUP)
        if (full[w] != 0u)
            atomic_min(found + FULL0, 32 * w + 31 - (int)clz(full[w] & (0u - full[w])));
}

static inline void find_full_end(const struct list_place *p, __global const uint *full, __local int *found)
{
    const int words = (p->k_blocks + 31) / 32, full0 = found[FULL0];
    for (int w = (int)get_local_id(0); w < words; w += GROUP) {
        const int passed = full0 - 32 * w; /* bits of the word before the run */
        const uint open = passed >= 32 ? 0u : ~full[w] & 0xffffffffu << max(0, passed);
        if (open != 0u)
            atomic_min(found + FULL_END, 32 * w + 31 - (int)clz(open & (0u - open)));
    }
}

/* How many bits are set before each word; returns how many in all. */
static inline int count_before(const struct list_place *p, __global const uint *bits, __global uint *before,
                               __local uint *shared)
{
    const int words = (p->k_blocks + 31) / 32, item = (int)get_local_id(0);
    const int begin = part_begin(words, item), end = part_begin(words, item + 1);
    uint sum = 0u, total;
    for (int w = begin; w < end; w++)
        sum += popcount(bits[w]);
    sum = scan(sum, &total, shared);
    for (int w = begin; w < end; w++) {
        before[w] = sum;
        sum += popcount(bits[w]);
    }
    return (int)total;
}

static inline void write_head(const struct select_args *a, const struct list_place *p, int n,
                              __local const int *found, __global int *head)
{
    const int holes = n > 0 && found[LAST] - found[FIRST] + 1 != n;
    head[0] = n;
    head[1] = n == 0 ? 0 : holes ? -1 : found[FIRST];
    head[2] = n == 0 ? 0
                     : (n - 1) *a->block_k +
                           (NEEDS_END ? found[LAST_KEY] - found[LAST] * a->block_k + 1 : a->block_k);
    head[3] = found[FULL0] == INT_MAX ? 0 : found[FULL0] * a->block_k;
    head[5] = (p->k_blocks + 31) / 32;
    head[4] = found[FULL0] == INT_MAX
                  ? 0
                  : (int)min((long)p->k_len, (long)min(found[FULL_END], p->k_blocks) *a->block_k);
}

KERNEL candidates(SELECT_PARAMS)
{
    __local uint shared[SHARED_WORDS];
    __local int found[FOUND_WORDS];
    const int number = (int)get_group_id(0), item = (int)get_local_id(0);
    struct asker s;
    s.p = find_list_place(&a, number / a.cand_scopes, number % a.cand_scopes, a.cand_scopes LENGTH_ARGS);
    s.block_k = a.block_k;
    s.p.k_blocks = s.p.rows > 0 && !is_idle(&a, &s.p) ? s.p.k_blocks : 0;
    __global uint *bits = kept + a.bits_at + (long)number * a.words;
    __global uint *before = kept + a.before_at + (long)number * a.words; /* until the end: what is FULL */
    const int per_kv = a.heads / a.kv_heads, g0 = s.p.head0 / per_kv;
    const int g1 = MASK_BY_HEAD ? (s.p.head0 + s.p.heads - 1) / per_kv : g0;
    if (item < FOUND_WORDS)
        found[item] = item == LAST || item == LAST_KEY ? -1 : INT_MAX;
#if GROUP < 5
    for (int i = GROUP; i < FOUND_WORDS; i++)
        found[i] = i == LAST || i == LAST_KEY ? -1 : INT_MAX;
#endif
    for (int g = g0; g <= g1; g++) {
        RULE_ENV(env, s.p.batch, g, s.p.q_len, s.p.k_len)
        s.h0 = MASK_BY_HEAD ? max(s.p.head0, g * per_kv) : 0;
        s.h1 = MASK_BY_HEAD ? min(s.p.head0 + s.p.heads, (g + 1) * per_kv) - 1 : 0;
        mark_words(&env, &s, g == g0, bits, before);
    }
    BARRIER(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    find_ends(&s.p, bits, found);
    find_full_begin(&s.p, before, found);
    BARRIER(CLK_LOCAL_MEM_FENCE);
    find_full_end(&s.p, before, found);
#if NEEDS_END
    const int last = found[LAST];
    for (int g = g0; g <= g1; g++) {
        RULE_ENV(env, s.p.batch, g, s.p.q_len, s.p.k_len)
        s.h0 = MASK_BY_HEAD ? max(s.p.head0, g * per_kv) : 0;
        s.h1 = MASK_BY_HEAD ? min(s.p.head0 + s.p.heads, (g + 1) * per_kv) - 1 : 0;
        if (last >= 0)
            find_last_key(&env, &s, last, found);
    }
#endif
    BARRIER(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    const int n = count_before(&s.p, bits, before, shared);
    if (item == 0 && !is_idle(&a, &s.p))
        write_head(&a, &s.p, n, found, (__global int *)kept + a.cands_at + (long)number * CAND_WORDS);
}
