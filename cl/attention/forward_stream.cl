/* SPDX-License-Identifier: MIT
 * forward_stream.cl - fused attention for matrix units that work by themselves: a producer streams blocks of keys and values into local
 * memory, the other items multiply, and take weights of a block while the products of the one before it run.
 *
 *     S = Q K^T (a block of BK keys),  P = exp2(S - max),  O = alpha O + P V
 *
 * A work-group of GROUP = 128 + 2 BQ items works on tiles of BQ rows: on one of the first n, one of the next n, and so on, n groups in all.
 * Of the first 128 items PRODUCERS are the producer; every further 128 are a consumer of 64 rows.  NT blocks of keys and as many of
 * values are in local memory, and the producer goes on to the next tile while consumers store this one.  A consumer's loop, where S
 * and O are its fragments:
 *
 *     start S = Q K^T of the next block;  sum P;  start O += P V of this one;  wait for S;  weights;  wait for O;  P = weights
 *
 * Weights are taken relative to the maximum of the blocks before; only where their sum shows that it was too small, S is made again,
 * the maximum follows, and O is rescaled.
 *
 *     local:  memory  [BQ rows] queries, NT x [BK rows] keys, NT x [BK rows] values, as the tile lays rows
 *             barriers  queries there, queries read; for each place: keys there, keys read, values there, values read
 *             blocks  which block of keys is in which place, as the producer found it
 *     scratch: [group][3] maps of q, k and v, which the producer makes
 *
 * The products are a tile's; beside what fragments.clh wants it has load_queries, start_keys, start_values, waits, pack_weights,
 * sum_packed, copy_rows and stage, any_special, VALUE_AT, QUERIES_STAY (they stay in local memory until the tile is done), and barriers.
 *
 * -D parameters beside those of forward.clh: MATRIX 2; NT places for blocks; GROUP, BQ, BK and more as the tile says; ALIGNED 1: rows
 * start at multiples of 16 bytes.
 * Numerics: scores and sums f32; weights are rounded to the values' storage, and a row is divided by the sum of these.
 * A row's weights are relative to a maximum that is too small by at most the LARGEST_SUM; masked pairs and values that are not finite
 * as in forward_matrix.cl.
 * Limits: a softmax, scale from 1e-10 to 1e6; q, k and v of one storage.
 */
#define SCRATCH_PARAM , __global uint *scratch
#define EDITED_UNIT LOG2E
#include "forward.clh"
#include "tile_wgmma.clh"
#include "fragments.clh"

#define CONSUMERS (BQ / 64)
#if GROUP != 128 + 128 * CONSUMERS
#error "forward_stream.cl: GROUP = 128 + 2 BQ"
#endif
#define KEYS_AT QUERY_BYTES
#define VALUES_AT (KEYS_AT + NT * KEY_BYTES)

/* Barriers: addresses in local memory; of those for places the first, the others 8 bytes apart. */
#define BARRIERS (2 + 4 * NT)
struct barriers {
    uint queries, queries_read, keys, keys_read, values, values_read;
};

static inline struct barriers name_barriers(uint first)
{
    struct barriers b;
    b.queries = first;
    b.queries_read = first + 8;
    b.keys = first + 16;
    b.keys_read = b.keys + 8 * NT;
    b.values = b.keys_read + 8 * NT;
    b.values_read = b.values + 8 * NT;
    return b;
}

static inline void make_barriers(const struct barriers *b)
{
    barrier_init(b->queries, 1);
    barrier_init(b->queries_read, 4 * CONSUMERS);
    for (uint i = 0; i < 8 * NT; i += 8) {
        barrier_init(b->keys + i, 1);
        barrier_init(b->values + i, 1);
        barrier_init(b->keys_read + i, 4 * CONSUMERS);
        barrier_init(b->values_read + i, 4 * CONSUMERS);
    }
    barriers_are_made();
}

/* The place that is next, and the parity of its barrier's phase. */
struct turn {
    uint place;
    int phase;
};

static inline void advance(struct turn *t)
{
    t->place = t->place + 1 == NT ? 0 : t->place + 1;
    t->phase ^= t->place == 0;
}

static inline void tell_read(uint barrier, const struct turn *t, int item)
{
    if (item % 32 == 0)
        arrive(barrier + 8 * t->place);
}

/* A block of keys as the producer finds it: n 0: the tile has none; class PARTIAL or FULL for the group's rows; of the rows of consumer
 * number c the class is own >> 2 c & 3; last of its tile. */
struct found {
    int key, n;
    short class, own;
    int last;
};

/* What a work-group's items share in local memory. */
struct shared {
    uint memory; /* address */
    __local uchar *bytes;
    __local struct found *blocks;
    __local volatile int *special; /* of the values in a place some were not finite, and are 0 now */
    struct barriers barriers;
};

/* How far an item has come in the stream of tiles and blocks. */
struct progress {
    int queries; /* parity of their barrier's phase */
    struct turn blocks, values;
};

/* ---- producer ---- */
struct maps {
    __global uint *q, *k, *v;
};

static inline struct maps make_maps(const struct forward_args *a, __global uint *scratch, __global const STORED(T_Q) *q,
                                    __global const STORED(T_K) *k, __global const STORED(T_V) *v, int item)
{
    const int q_rows = PACKED ? (int)a->q_total : a->q_len, k_rows = PACKED ? (int)a->kv_total : a->kv_len, batch = PACKED ? 1 : a->batch;
    __global uint *first = (__global uint *)(((ulong)(scratch + a->scratch_at) + 127) / 128 * 128) + get_group_id(0) * (3 * MAP_WORDS);
    const struct maps maps = {first, first + MAP_WORDS, first + 2 * MAP_WORDS};
    if (item == 0) {
        make_map(maps.q, (__global const ushort *)(q + a->q_at[0]), a->q_at, DIM, q_rows, a->heads, batch, BQ);
        make_map(maps.k, (__global const ushort *)(k + a->k_at[0]), a->k_at, DIM, k_rows, a->kv_heads, batch, BK);
        make_map(maps.v, (__global const ushort *)(v + a->v_at[0]), a->v_at, DIM_V, k_rows, a->kv_heads, batch, BK);
        show_map(maps.q);
        show_map(maps.k);
        show_map(maps.v);
    }
    return maps;
}

static inline void produce_queries(const struct shared *shared, const struct maps *maps, const struct forward_args *a,
                                   const struct place *at, __global const STORED(T_Q) *q, int item)
{
    const uint barrier = shared->barriers.queries;
    if (a->pack == 1) {
        if (item == 0)
            copy_rows(shared->memory, maps->q, BQ, DIM, at->q_first + at->row0, at->head0, PACKED ? 0 : at->batch, barrier);
    } else {
        stage(shared->memory, q + at->q0, a->q_at, a->pack, at->row0, min(BQ, at->rows - at->row0), BQ, DIM, item);
        await_copies();
        if (item == 0)
            arrive(barrier);
    }
}

static inline void produce_keys(const struct shared *shared, const struct maps *maps, const struct place *at, const struct found *b,
                                uint place, int item)
{
    const uint to = shared->memory + KEYS_AT + place * KEY_BYTES, barrier = shared->barriers.keys + 8 * place;
    if (item == 0 && b->n > 0)
        copy_rows(to, maps->k, BK, DIM, at->k_first + b->key, at->kv_head, PACKED ? 0 : at->batch, barrier);
    else if (item == 0)
        arrive(barrier);
}

/* Values past the last key of a batch entry are 0, whatever stands there: only where the tensor ends with it a map gives that. */
static inline void produce_values(const struct shared *shared, const struct maps *maps, const struct forward_args *a,
                                  const struct place *at, const struct found *b, uint place, __global const STORED(T_V) *v, int item)
{
    const uint to = shared->memory + VALUES_AT + place * VALUE_BYTES, barrier = shared->barriers.values + 8 * place;
    int whole = b->n == BK;
#if !PACKED && !KEY_LENGTHS
    whole |= b->n > 0 && b->key + b->n == a->kv_len;
#endif
    if (item == 0)
        shared->special[place] = 0;
    if (whole) {
        if (item == 0)
            copy_rows(to, maps->v, BK, DIM_V, at->k_first + b->key, at->kv_head, PACKED ? 0 : at->batch, barrier);
    } else {
        if (b->n > 0) {
            stage(to, v + at->v0, a->v_at, 1, b->key, b->n, BK, DIM_V, item);
            await_copies();
        }
        if (item == 0)
            arrive(barrier);
    }
}

/* The next blocks of a tile, of as many as there are producers, one by each. */
struct blocks {
    int key;   /* first key after them */
    uint some; /* those to come that are not EMPTY: a bit each, the first one's the lowest */
    int own;   /* classes of this item's */
};

#if MASK_RULE
static inline int classes_of(const struct place *at, int pack, const struct rule_env *env, int key, int n)
{
    int own = 0;
    UNROLL for (int i = 0; i < CONSUMERS; i++) {
        const int row0 = at->row0 + 64 * i, rows = min(64, at->rows - row0);
        const struct span span = find_span(at, row0, max(1, rows), pack);
        own |= (n > 0 && rows > 0 ? class_of(env, &span, key, n) : 0) << 2 * i;
    }
    return own;
}

/* The class for a group's rows. */
static inline int join_classes(const struct place *at, int own)
{
    int full = own != 0;
    UNROLL for (int i = 0; i < CONSUMERS; i++)
        full &= at->row0 + 64 * i >= at->rows || (own >> 2 * i & 3) == 2;
    return full ? 2 : own != 0;
}

/* The next block that is not EMPTY. */
static inline struct found next_block(struct blocks *c, const struct place *at, int pack, const struct rule_env *env, int item COUNT_PARAM)
{
    struct found b = {0, 0, 0, 0, 0};
#if MASK_LISTS
    const struct span span = find_span(at, at->row0, min(BQ, at->rows - at->row0), pack);
#endif
    while (c->some == 0 && (c->key = skip_unlisted(env, &span, c->key, at->key1, BK)) < at->key1) {
        const int key = c->key + item * BK, n = min(BK, at->key1 - key);
        c->own = classes_of(at, pack, env, key, n);
        c->some = ballot(c->own != 0);
        c->key += PRODUCERS * BK;
        if (n > 0) {
            COUNT_TILE(join_classes(at, c->own));
        }
    }
    if (c->some != 0) {
        const int first = 31 - (int)clz(c->some & -c->some);
        b.key = c->key - (PRODUCERS - first) * BK;
        b.n = min(BK, at->key1 - b.key);
        b.own = (short)of_lane(c->own, first);
        b.class = (short)join_classes(at, b.own);
        c->some &= c->some - 1;
    }
    return b;
}
#else
static inline struct found next_block(struct blocks *c, const struct place *at, int pack, const struct rule_env *env, int item COUNT_PARAM)
{
    const struct found b = {c->key, max(0, min(BK, at->key1 - c->key)), 2, 0, 0};
    if (item == 0 && b.n > 0) {
        COUNT_TILE(2);
    }
    c->key += BK;
    return b;
}
#endif

/* A tile's queries, and its blocks one after the other; of a tile without blocks one that is empty. */
static inline void produce(const struct shared *shared, const struct maps *maps, struct progress *t, const struct forward_args *a,
                           const struct place *at, const struct rule_env *env, __global const STORED(T_Q) *q,
                           __global const STORED(T_V) *v, int item COUNT_PARAM)
{
    const struct barriers *on = &shared->barriers;
    struct blocks blocks = {at->key0, 0, 0};
    wait_phase(on->queries_read, t->queries);
    t->queries ^= 1;
    produce_queries(shared, maps, a, at, q, item);
    struct found b = next_block(&blocks, at, a->pack, env, item COUNT_ARG);
    for (;;) {
        const struct found next = next_block(&blocks, at, a->pack, env, item COUNT_ARG);
        const uint place = t->blocks.place;
        b.last = next.n == 0;
        wait_phase(on->keys_read + 8 * place, t->blocks.phase);
        if (item == 0)
            shared->blocks[place] = b;
        produce_keys(shared, maps, at, &b, place, item);
        wait_phase(on->values_read + 8 * place, t->blocks.phase);
        produce_values(shared, maps, a, at, &b, place, v, item);
        advance(&t->blocks);
        if (b.last)
            break;
        b = next;
    }
}

/* ---- consumers ---- */
#if MASK_RULE
/* Values of a PARTIAL block that are not finite become 0 for the product; add_special counts them in the rows that see them once the
 * tile is done.  Each consumer looks for itself: another may have made them 0 already, and has said so before.  Returns whether there
 * were any. */
static inline int take_out(const struct shared *shared, uint place, int n, int item)
{
    __local STORED(T_V) *values = (__local STORED(T_V) *)(shared->bytes + VALUES_AT + place * VALUE_BYTES);
    item = only_here(item);
    const int group = 1 + item / 128;
    if (any_special(values, n, item % 128))
        shared->special[place] = 1;
    warpgroup_barrier(group);
    if (!shared->special[place])
        return 0;
    for (int i = item % 128; i < n * DIM_V; i += 128) {
        const int at = VALUE_AT(i / DIM_V, i % DIM_V);
        if (!isfinite(LOAD1(T_V, values, at)))
            STORE1(T_V, 0.0f, values, at);
    }
    show_to_products();
    warpgroup_barrier(group);
    return 1;
}
#endif

/* Scores to weights, and the sums of these in each row, before they are rounded. */
static inline void weigh_and_sum(float *s, float *sums, const struct rows *rows, float unit)
{
    weigh(s, rows, unit);
    sum_weights(sums, s);
}

static inline void add_packed(struct sums *totals, const uint *p)
{
    float sums[FRAG_ROWS];
    sum_packed(sums, p);
    add_rows(totals->rounded, sums);
}

/* A block as a consumer takes it: its class for the group's rows, and in own.class for the consumer's. */
struct taken {
    struct block own;
    int class, last;
};

static inline struct taken look_at(const struct shared *shared, const struct turn *t, int item)
{
    wait_phase(shared->barriers.keys + 8 * t->place, t->phase);
    const struct found b = shared->blocks[t->place];
    const struct taken taken = {{b.key, b.n, MASK_RULE ? of_warp(b.own >> item / 128 * 2 & 3) : 2}, b.class, b.last};
    return taken;
}

static inline void give_back_unread(const struct shared *shared, struct turn *t, int item)
{
    wait_phase(shared->barriers.values + 8 * t->place, t->phase);
    tell_read(shared->barriers.keys_read, t, item);
    tell_read(shared->barriers.values_read, t, item);
    advance(t);
}

/* The next block, t's then, that some of a consumer's rows see; own.n is 0 if there is none. */
static inline struct taken find_seen(const struct shared *shared, struct turn *t, int item)
{
    struct taken b = look_at(shared, t, item);
#if MASK_RULE
    while (b.own.class == 0) {
        give_back_unread(shared, t, item);
        b.own.n = 0;
        if (b.last)
            break;
        b = look_at(shared, t, item);
    }
#endif
    return b;
}

/* A tile of which a consumer has no rows. */
static inline void pass_over(const struct shared *shared, struct progress *t, int item)
{
    int last;
    wait_phase(shared->barriers.queries, t->queries);
    t->queries ^= 1;
    if (item % 32 == 0)
        arrive(shared->barriers.queries_read);
    do {
        last = look_at(shared, &t->blocks, item).last;
        give_back_unread(shared, &t->blocks, item);
        advance(&t->values);
    } while (!last);
}

static inline void consume(const struct shared *shared, struct progress *t, const struct forward_args *a, const struct place *at,
                           const struct rule_env *env, __global const STORED(T_Q) *q, __global const STORED(T_K) *k,
                           __global const STORED(T_V) *v, __global STORED(T_O) *out LSE_PARAM, int item)
{
    const struct barriers *on = &shared->barriers;
    const uint keys = shared->memory + KEYS_AT, values = shared->memory + VALUES_AT;
    const float unit = EDITED ? EDITED_UNIT : a->scale;
    struct rows rows;
    struct queries queries;
    float s[FRAG_ROWS * FRAG_KEYS], o[FRAG_ROWS * FRAG_COLUMNS], sums[FRAG_ROWS];
    struct sums totals = {{0}, {0}};
    uint p[BK / 4];    /* weights, packed */
    int any_taken = 0; /* a value out of its block */
    find_rows(&rows, at, a->pack, item);
    UNROLL for (int i = 0; i < FRAG_ROWS * FRAG_COLUMNS; i++)
        o[i] = 0.0f;
    wait_phase(on->queries, t->queries);
    t->queries ^= 1;
    load_queries(&queries, shared->memory, item);
    if (!QUERIES_STAY && item % 32 == 0)
        arrive(on->queries_read);

    struct taken b = find_seen(shared, &t->blocks, item);
#if MASK_RULE
    t->values = t->blocks; /* this block's, while t->blocks is the next one's */
#endif
    if (b.own.n > 0) {
        start_keys(s, &queries, keys + t->blocks.place * KEY_BYTES, item);
        wait_all_keys(s);
        tell_read(on->keys_read, &t->blocks, item);
        edit_block(s, &rows, env, &b.own, a->scale, item);
        follow_maxima(s, &rows, unit);
        weigh_and_sum(s, totals.exact, &rows, unit);
        pack_weights(p, s);
        advance(&t->blocks);
        for (;;) {
#if MASK_RULE
            if (b.class == 1) {
                wait_phase(on->values + 8 * t->values.place, t->values.phase);
                any_taken |= take_out(shared, t->values.place, b.own.n, item);
            }
#endif
            if (b.last)
                break;
            const struct taken next = find_seen(shared, &t->blocks, item);
            if (MASK_RULE && next.own.n == 0)
                break;
            start_keys(s, &queries, keys + t->blocks.place * KEY_BYTES, item);
            wait_phase(on->values + 8 * t->values.place, t->values.phase);
            add_packed(&totals, p); /* here, behind a branch, so that it is not moved before the first product: now it costs nothing */
            start_values(o, p, values + t->values.place * VALUE_BYTES);
            wait_keys(s);
            edit_block(s, &rows, env, &next.own, a->scale, item);
            struct growth g = {0};
            weigh_and_sum(s, sums, &rows, unit);
            if (are_too_large(sums)) { /* scores again, and their true maxima */
                multiply_keys(s, &queries, keys + t->blocks.place * KEY_BYTES, item);
                edit_block(s, &rows, env, &next.own, a->scale, item);
                g = follow_maxima(s, &rows, unit);
                rescale_sums(&totals, &g);
                weigh_and_sum(s, sums, &rows, unit);
            }
            tell_read(on->keys_read, &t->blocks, item);
            if (LSE)
                add_rows(totals.exact, sums);
            wait_values(o);
            tell_read(on->values_read, &t->values, item);
            rescale(o, &g);
            pack_weights(p, s);
#if MASK_RULE
            t->values = t->blocks;
#else
            advance(&t->values);
#endif
            advance(&t->blocks);
            b = next;
        }
        wait_phase(on->values + 8 * t->values.place, t->values.phase);
        start_values(o, p, values + t->values.place * VALUE_BYTES);
        add_packed(&totals, p);
        wait_values(o);
        tell_read(on->values_read, &t->values, item);
        advance(&t->values);
    } else if (!MASK_RULE) {
        give_back_unread(shared, &t->blocks, item);
        advance(&t->values);
    }
    if (QUERIES_STAY && item % 32 == 0)
        arrive(on->queries_read);
#if MASK_RULE
    if (any_taken)
        add_special(o, &rows, at, a, env, q, k, v, only_here(item));
#endif
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        totals.rounded[i] = join_sum(totals.rounded[i]);
    store_rows(out, o, totals.rounded, at, a, item);
#if LSE
    store_lse(lse, &rows, totals.exact, unit, at, a, item);
#endif
}

/* The tiles of this work-group, `base + mine` of each n: to and fro, so that those who have the heavier one of n have the lighter one of
 * the next n. */
#define FOR_EACH_TILE                                                                                             \
    for (uint base = 0, mine = (uint)get_group_id(0), n = (uint)get_num_groups(0), all = (uint)a.tiles; base < all;        \
         base += n, mine = n - 1 - mine)                                                                          \
        if (base + mine < all)

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void forward(FORWARD_PARAMS)
{
    __local uchar memory[DOOR_BYTES] __attribute__((aligned(1024)));
    __local ulong barriers[BARRIERS];
    __local struct found blocks[NT] __attribute__((aligned(16)));
    __local int special[NT];
    const int item = (int)get_local_id(0);
    const struct shared shared = {shared_address(memory), memory, blocks, special, name_barriers(shared_address((__local uchar *)barriers))};
    if (item == 0)
        make_barriers(&shared.barriers);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < 128) {
        struct progress t = {1, {0, 1}, {0, 1}};
        GIVE_REGISTERS;
        if (item >= PRODUCERS)
            return;
        const struct maps maps = make_maps(&a, scratch, q, k, v, item);
        FOR_EACH_TILE {
            const struct place at = find_place(&a, base + mine LENGTH_ARGS);
            RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
            if (at.row0 < at.rows)
                produce(&shared, &maps, &t, &a, &at, &env, q, v, item COUNT_ARG);
        }
    } else {
        struct progress t = {0, {0, 0}, {0, 0}};
        const int consumer = of_warp((item - 128) / 128);
        TAKE_REGISTERS;
        FOR_EACH_TILE {
            const struct place at = find_place(&a, base + mine LENGTH_ARGS);
            RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
            if (at.row0 >= at.rows)
                continue;
            if (at.row0 + 64 * consumer < at.rows)
                consume(&shared, &t, &a, &at, &env, q, k, v, o LSE_ARG, item - 128);
            else
                pass_over(&shared, &t, item - 128);
        }
    }
}
