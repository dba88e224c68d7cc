/* SPDX-License-Identifier: MIT
 * select_top.cl - the best of a list's keys, in order: blocks of the list, or chunks to be cut for the next
 * stage.
 *
 *     OUT 0   places are candidates, and the best are the list
 *     OUT 1   places are chunks, and the best are cut into smaller ones
 *     OUT 2   places are chunks of a block each, and the best are the list
 *
 * A group a list, each item a part of the places.
 */
#ifndef OUT
#error "select_top.cl: OUT must be defined"
#endif
#define SPACE __global
#define OWN_PARAMS , __global int *restrict list
#include "select.clh"
#include "order.clh"
#include "candidates.clh"
#include "emit_list.clh"
#include "chunks.clh"
#include "budget.clh"
#include "measure.clh"

/* What is kept goes to place number `place' of what is written. */
struct target {
    const struct select_args *a;
    const struct candidates *c;
    __global const int *chunks; /* of this stage */
    __global int *to;           /* ids, or the next stage's chunks */
};

static inline void put(const struct target *t, int i, int place)
{
#if OUT == 0
    t->to[place] = block_of(t->c, i);
#elif OUT == 2
    t->to[place] = block_of(t->c, chunk_begin(t->a, t->c, t->chunks, i) / t->a->block_k);
#else
    const int begin = chunk_begin(t->a, t->c, t->chunks, i), each = t->a->chunk / t->a->smaller;
    const int end = min(begin + t->a->chunk, t->c->end);
    for (int j = 0; begin + j * t->a->smaller < end; j++)
        t->to[1 + place * each + j] = begin + j * t->a->smaller;
    if (end < begin + t->a->chunk) /* the last of all */
        t->to[0] = place * each + (end - begin + t->a->smaller - 1) / t->a->smaller;
#endif
}

/* Of n places the best `keep'; all of them if there are no more, whatever their keys are: those have not been
 * computed then. */
static inline void keep_best(const struct target *t, __global const uint *keys, int n, int keep,
                             __local uint *shared)
{
    struct keeper k = find_keeper(keys, n, keep, shared);
    for (int i = k.begin; i < k.end; i++)
        if (keeps(&k, keys[i]))
            put(t, i, k.place++);
}

KERNEL top(SELECT_PARAMS)
{
    __local uint shared[SHARED_WORDS];
#if BUDGET == 1
    __local ulong wide[GROUP];
#endif
    const int number = (int)get_group_id(0);
    const struct list_place p =
        find_list_place(&a, number / a.scopes, number % a.scopes, a.scopes LENGTH_ARGS);
    const struct candidates c = find_candidates(&a, &p, kept);
    __global const uint *keys = workspace + a.keys_at + (long)number * a.max_keys;
#if OUT == 0
    const struct target t = {&a, &c, 0, list_ids(&a, &p, list)};
    const int n = c.n;
#if BUDGET == 1
    const int keep =
        count_measured(&a, &p, keys, workspace + a.weights_at + (long)number * a.max_keys, n, shared, wide);
#elif BUDGET == 2
    const int keep = count_measured(&a, &p, keys, n, shared);
#else
    const int keep = most_kept(&a, &p, n);
#endif
#else
    __global const int *chunks = chunk_list(&a, &p, a.chunks_at, a.chunk_words, kept);
    const struct target t = {
        &a, &c, chunks, OUT == 1 ? chunk_list(&a, &p, a.cut_at, a.cut_words, kept) : list_ids(&a, &p, list)};
    const int n = chunk_count(&a, &c, chunks), keep = chunks_kept(&a, &p, c.n);
#endif
#if OUT == 1
    if (get_local_id(0) == 0 && !is_idle(&a, &p))
        t.to[0] = min(n, keep) * (a.chunk / a.smaller);
    BARRIER(CLK_GLOBAL_MEM_FENCE);
#endif
    keep_best(&t, keys, n, keep, shared);
#if OUT != 1
    write_tail(&a, &p, min(n, keep), list);
#endif
}
