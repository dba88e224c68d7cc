/* SPDX-License-Identifier: MIT
 * extend.cl - what a list's rows read, behind each other and turned by new positions, so that attention over
 * it is causal attention of a short text; and its results back to where they belong (clattn/extend.h).
 *
 *     keys of a list    sinks, listed blocks before the window, rising (far); then all from its first key on
 *     extend_gather     item: some columns of a strip of rows
 *                       k, v [list][kv head][keys][DIM], [DIM_V]; q [list][head][rows][DIM], the last rows
 *                       of each; lengths [list]
 *     extend_scatter    item: some columns of a row of o [list][head][rows][DIM_V]; lse [list][head][rows]
 *
 * Positions are counted from the newest row of the list's block, which stands at the tables' last one;
 * rotation knows differences alone.  Of a rising list all blocks but the one that sinks end in and the one
 * that the window begins in are whole, so a key's place is found without a sum over blocks.  No list is
 * trusted: blocks and places are clamped.
 *
 * -D parameters: T_Q, T_K, T_V, T_O storage, DIM, DIM_V, EXTEND (1 streaming, 2 self, 3 dynamic),
 * KEY_LENGTHS, LSE, GROUP items of a work-group, STRIP rows of one.
 */
#if !defined(T_Q) || !defined(T_K) || !defined(T_V) || !defined(T_O) || !defined(DIM) || !defined(DIM_V) ||  \
    !defined(EXTEND) || !defined(KEY_LENGTHS) || !defined(LSE) || !defined(GROUP) || !defined(STRIP)
#error "extend.cl: T_Q, T_K, T_V, T_O, DIM, DIM_V, EXTEND, KEY_LENGTHS, LSE, GROUP, STRIP must be defined"
#endif
#include "storage.clh"
#define I64 long
#define I32 int
#include "list_args.clh"
#include "list_search.clh"
#include "extend_args.clh"
#include "multiply_add.clh"

#define HALF (DIM / 2)

/* A list and its query block. */
struct extended {
    int b, scope, row0, rows; /* batch entry; of it the rows */
    int first, last;          /* their positions */
    int near;                 /* first key of the window */
    int sinks, far, n;        /* keys: sinks; all before the window; all */
    int skipped;              /* keys of the first listed block that are sinks */
    int k_len;
    __global const int *ids; /* from the first block that has a key behind the sinks */
};

static inline struct extended place_list(const struct extend_args *a, int number)
{
    struct extended x;
    x.b = number / (a->list.scopes * a->list.q_blocks);
    x.scope = number / a->list.q_blocks % a->list.scopes;
    x.row0 = number % a->list.q_blocks * a->list.block_q;
    x.rows = min(a->list.block_q, a->q_len - x.row0);
    return x;
}

/* Which keys a list's rows read. */
static inline struct extended find_keys(const struct extend_args *a, int number, __global const int *data,
                                        int k_len)
{
    struct extended x = place_list(a, number);
    const int bk = a->list.block_k, count = max(0, min(data[a->list.counts_at + number], a->list.capacity));
    const struct list list = {data + a->list.ids_at + (long)number * a->list.capacity, count};
    x.k_len = k_len;
    x.first = x.row0 + k_len - a->q_len;
    x.last = x.first + x.rows - 1;
    x.near = k_len < a->dense_below ? 0 : max(0, x.first - a->window + 1);
    x.sinks = min(a->sink, x.near);
    const int from = blocks_below(&list, a->sink / bk), to = blocks_below(&list, (x.near + bk - 1) / bk);
    int listed = 0;
    x.skipped = 0;
    x.ids = list.ids + from;
    if (to > from && x.near > a->sink) {
        x.skipped = list.ids[from] == a->sink / bk ? a->sink % bk : 0;
        listed = (to - from) * bk - x.skipped - max(0, (list.ids[to - 1] + 1) * bk - x.near);
    }
    const int window = max(0, x.last + 1 - x.near);
    x.far = x.sinks + max(0, min(listed, a->keys - x.sinks - window));
    x.n = x.far + window;
    return x;
}

/* The key that stands at a place of the list. */
static inline int key_at(const struct extend_args *a, const struct extended *x, int place)
{
    const int bk = a->list.block_k, at = place - x->sinks + x->skipped;
    if (place < x->sinks || place >= x->far)
        return place < x->sinks ? place : x->near + place - x->far;
    return min(max(0, min(x->ids[at / bk], (x->k_len - 1) / bk)) * bk + at % bk, x->k_len - 1);
}

#if EXTEND > 1
/* b is above 0.  Not by the sign of a: of a widened int a compiler gets x < 0 wrong. */
static inline long floor_div(long a, long b)
{
    const long quotient = a / b;
    return quotient - (quotient * b > a);
}
#endif

/* The row of the tables by which a key turns. */
static inline int turn_of_key(const struct extend_args *a, const struct extended *x, int place, int key)
{
#if EXTEND == 1
    const int back = x->n - 1 - place;
#elif EXTEND == 2
    const int shared = max(0, (int)floor_div(key - x->first, a->share) + x->first);
    const int back = x->last - (key >= x->last - a->length ? key : shared);
#else
    const long kept = a->length / 4, far = a->length - kept;
    const int whole = x->last <= a->length || key >= x->last - kept;
    const long begin = x->first - kept; /* 0 or less where all is whole */
    const int squeezed = whole ? key : (int)(floor_div((key - begin) * far, begin) + begin);
    const int back = x->last - max(squeezed, whole ? 0 : x->last - a->length);
#endif
    return max(0, min(a->positions - 1, a->positions - 1 - back));
}

/* A row turned by a row of the tables, every pair of columns d, d + DIM / 2.  A group of one item takes
 * sixteen pairs at a time. */
#define TURN(T, SUFFIX, vector, load, from, to, d)                                                           \
    {                                                                                                        \
        const vector x_ = LOAD##SUFFIX(T, from, d), y_ = LOAD##SUFFIX(T, from, (d) + HALF);                  \
        const vector c_ = load(rope_cos, at_ + (d)), s_ = load(rope_sin, at_ + (d));                         \
        STORE##SUFFIX(T, MULTIPLY_ADD(x_, c_, -(y_ * s_)), to, d);                                           \
        STORE##SUFFIX(T, MULTIPLY_ADD(y_, c_, x_ * s_), to, (d) + HALF);                                     \
    }
#define AT1(p, i)  ((p)[i])
#define AT16(p, i) vload16(0, (p) + (i))
#define WIDE       (GROUP == 1 ? HALF / 16 * 16 : 0)
#define TURN_ROW(T, from, to, turn)                                                                          \
    {                                                                                                        \
        const long at_ = (long)(turn) * HALF;                                                                \
        for (int d = 0; d < WIDE; d += 16)                                                                   \
            TURN(T, 16, float16, AT16, from, to, d)                                                          \
        for (int d = WIDE + lane; d < HALF; d += GROUP)                                                      \
            TURN(T, 1, float, AT1, from, to, d)                                                              \
    }

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
extend_gather(const struct extend_args a, __global const STORED(T_Q) *restrict q,
              __global const STORED(T_K) *restrict k, __global const STORED(T_V) *restrict v,
              __global const int *restrict list,
#if KEY_LENGTHS
              __global const int *restrict key_lengths,
#endif
              __global const float *restrict rope_cos, __global const float *restrict rope_sin,
              __global STORED(T_Q) *restrict new_q, __global STORED(T_K) *restrict new_k,
              __global STORED(T_V) *restrict new_v, __global int *restrict lengths)
{
    const int strip = get_group_id(0), kv = get_group_id(1), l = get_group_id(2), lane = get_local_id(0);
    const int writes_length = strip == 0 && kv == 0 && lane == 0;
    if (a.first + l >= a.lists) {
        if (writes_length)
            lengths[l] = 0;
        return;
    }
    const int b = (a.first + l) / (a.list.scopes * a.list.q_blocks);
#if KEY_LENGTHS
    const int k_len = max(0, min(key_lengths[b], a.kv_len));
#else
    const int k_len = a.kv_len;
#endif
    const struct extended x = find_keys(&a, a.first + l, list, k_len);
    const int head0 = x.scope * a.heads, kv_head = head0 / a.group + kv;
    if (writes_length)
        lengths[l] = x.n;
    if (strip < a.strips) {
        const int end = min((strip + 1) * STRIP, x.n);
        for (int place = strip * STRIP; place < end; place++) {
            const int key = key_at(&a, &x, place);
            const long to = ((long)l * a.kv_heads + kv) * a.keys + place;
            __global const STORED(T_K) *k_from =
                k + a.k_at[0] + b * a.k_at[1] + kv_head * a.k_at[2] + key * a.k_at[3];
            __global const RAW(T_V) *v_from = (__global const RAW(T_V) *)v + a.v_at[0] + b * a.v_at[1] +
                                              kv_head * a.v_at[2] + key * a.v_at[3];
            __global RAW(T_V) *v_to = (__global RAW(T_V) *)new_v + to * DIM_V;
            __global STORED(T_K) *k_to = new_k + to * DIM;
            TURN_ROW(T_K, k_from, k_to, turn_of_key(&a, &x, place, key))
            for (int d = lane; d < DIM_V; d += GROUP)
                v_to[d] = v_from[d];
        }
        return;
    }
    const int heads = a.heads / a.kv_heads, end = min((strip - a.strips + 1) * STRIP, heads * a.rows);
    for (int r = (strip - a.strips) * STRIP; r < end; r++) {
        const int head = kv * heads + r / a.rows, i = r % a.rows - (a.rows - x.rows);
        __global STORED(T_Q) *to = new_q + (((long)l * a.heads + head) * a.rows + r % a.rows) * DIM;
        if (i < 0) {
            for (int d = lane; d < DIM; d += GROUP)
                STORE1(T_Q, 0.0f, to, d);
            continue;
        }
        __global const STORED(T_Q) *from =
            q + a.q_at[0] + b * a.q_at[1] + (head0 + head) * a.q_at[2] + (x.row0 + i) * a.q_at[3];
        TURN_ROW(T_Q, from, to, max(0, a.positions - x.rows + i))
    }
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
extend_scatter(const struct extend_args a, __global const RAW(T_O) *restrict new_o,
               __global RAW(T_O) *restrict o
#if LSE
               , __global const float *restrict new_lse, __global float *restrict lse
#endif
               )
{
    const int i = get_group_id(0), head = get_group_id(1), l = get_group_id(2), lane = get_local_id(0);
    if (a.first + l >= a.lists)
        return;
    const struct extended x = place_list(&a, a.first + l);
    if (i >= x.rows)
        return;
    const int h = x.scope * a.heads + head;
    const long row = ((long)l * a.heads + head) * a.rows + a.rows - x.rows + i;
    __global RAW(T_O) *to = o + a.o_at[0] + x.b * a.o_at[1] + h * a.o_at[2] + (x.row0 + i) * a.o_at[3];
    for (int d = lane; d < DIM_V; d += GROUP)
        to[d] = new_o[row * DIM_V + d];
#if LSE
    if (lane == 0)
        lse[a.lse_at[0] + x.b * a.lse_at[1] + h * a.lse_at[2] + (x.row0 + i) * a.lse_at[3]] = new_lse[row];
#endif
}
