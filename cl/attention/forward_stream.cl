/* SPDX-License-Identifier: MIT
 * forward_stream.cl - fused attention for matrix units that work by themselves: some items stream blocks of keys and values into local
 * memory, the others multiply, and take weights of a block while the products of the one before it run.
 *
 *     S = Q K^T (a block of BK keys),  P = exp2(S - max),  O = alpha O + P V
 *
 * A work-group of GROUP = 128 + 2 BQ items owns BQ rows.  The first 128 items are the producer; every further 128 are a consumer of
 * 64 rows.  NT blocks of keys and as many of values are in local memory.  A consumer's loop, where S and O are its fragments:
 *
 *     start S = Q K^T of the next block;  start O += P V of this one;  wait for S;  weights;  wait for O;  P = weights
 *
 * Weights are taken relative to the maximum of the blocks before; only where their sum shows that it was too small, S is made again,
 * the maximum follows, and O is rescaled.
 *
 *     local:  memory  [BQ rows] queries, NT x [BK rows] keys, NT x [BK rows] values, as the tile lays rows
 *             barriers  queries there; for each place: keys there, keys read, values there, values read
 *             blocks  which block of keys is in which place, as the producer found it
 *
 * The products are a tile's; beside what fragments.clh wants it has load_queries, start_keys, start_values, waits, pack_weights, stage,
 * any_special, VALUE_AT, and barriers.
 *
 * -D parameters beside those of forward.clh: MATRIX 2; NT places for blocks; GROUP, BQ, BK and more as the tile says; ALIGNED 1: rows
 * start at multiples of 16 bytes.
 * Numerics: scores and sums f32; weights are rounded to the values' storage, and a row is divided by the sum of these.
 * A row's weights are relative to a maximum that is too small by at most the LARGEST_SUM; masked pairs and values that are not finite
 * as in forward_matrix.cl.
 * Limits: a softmax, scale from 1e-10 to 1e6; q, k and v of one storage.
 */
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
#define BARRIERS (1 + 4 * NT)
struct barriers {
    uint queries, keys, keys_read, values, values_read;
};

static inline struct barriers name_barriers(uint first)
{
    struct barriers b;
    b.queries = first;
    b.keys = first + 8;
    b.keys_read = b.keys + 8 * NT;
    b.values = b.keys_read + 8 * NT;
    b.values_read = b.values + 8 * NT;
    return b;
}

static inline void make_barriers(const struct barriers *b)
{
    barrier_init(b->queries, 128);
    for (uint i = 0; i < 8 * NT; i += 8) {
        barrier_init(b->keys + i, 128);
        barrier_init(b->values + i, 128);
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

/* What a work-group's items share in local memory. */
struct shared {
    uint memory; /* address */
    __local uchar *bytes;
    __local struct block *blocks;
    __local volatile int *special; /* of the values in a place some were not finite, and are 0 now */
    struct barriers barriers;
};

static inline void produce(const struct shared *shared, const struct forward_args *a, const struct place *at, const struct rule_env *env,
                           __global const STORED(T_Q) *q, __global const STORED(T_K) *k, __global const STORED(T_V) *v,
                           int item COUNT_PARAM)
{
    const struct barriers *on = &shared->barriers;
    const int rows = min(BQ, at->rows - at->row0);
    const struct span span = find_span(at, at->row0, rows, a->pack);
    stage(shared->memory, q + at->q0, a->q_at, a->pack, at->row0, rows, BQ, DIM, item);
    close_copies();
    uint landing = on->queries; /* told once its copies are there, while the next are on their way */
    struct turn t = {0, 1};
    struct block b = find_block(at, &span, env, at->key0, item COUNT_ARG);
    for (; b.n > 0; b = find_block(at, &span, env, b.key + BK, item COUNT_ARG), advance(&t)) {
        const uint place = t.place;
        wait_phase(on->keys_read + 8 * place, t.phase);
        if (item == 0)
            shared->blocks[place] = b;
        stage(shared->memory + KEYS_AT + place * KEY_BYTES, k + at->k0, a->k_at, 1, b.key, b.n, BK, DIM, item);
        close_copies();
        await_copies_but_last();
        arrive(landing);
        wait_phase(on->values_read + 8 * place, t.phase);
        if (item == 0)
            shared->special[place] = 0;
        stage(shared->memory + VALUES_AT + place * VALUE_BYTES, v + at->v0, a->v_at, 1, b.key, b.n, BK, DIM_V, item);
        close_copies();
        await_copies_but_last();
        arrive(on->keys + 8 * place);
        landing = on->values + 8 * place;
    }
    await_copies();
    arrive(landing);
    wait_phase(on->keys_read + 8 * t.place, t.phase);
    if (item == 0)
        shared->blocks[t.place] = b; /* the end */
    arrive(on->keys + 8 * t.place);
}

#if MASK_RULE
/* Values of a PARTIAL block that are not finite count in the rows that see them, and become 0 for the product.  Each consumer looks for
 * itself, and takes them from device memory: another may have made them 0 already, and has said so before. */
static inline void take_out(float *o, const float *s, const struct shared *shared, uint place, __global const STORED(T_V) *source,
                            long stride, const struct rows *rows, const struct rule_env *env, const struct block *b, int item)
{
    __local STORED(T_V) *values = (__local STORED(T_V) *)(shared->bytes + VALUES_AT + place * VALUE_BYTES);
    const int group = 1 + item / 128;
    if (any_special(values, b->n, item % 128))
        shared->special[place] = 1;
    warpgroup_barrier(group);
    if (!shared->special[place])
        return;
    add_special(o, s, source, stride, rows, env, b, item);
    for (int i = item % 128; i < b->n * DIM_V; i += 128) {
        const int at = VALUE_AT(i / DIM_V, i % DIM_V);
        if (!isfinite(LOAD1(T_V, values, at)))
            STORE1(T_V, 0.0f, values, at);
    }
    show_to_products();
    warpgroup_barrier(group);
}
#endif

static inline void consume(const struct shared *shared, const struct forward_args *a, const struct place *at, const struct rule_env *env,
                           __global const STORED(T_V) *v, __global STORED(T_O) *out LSE_PARAM, int item)
{
    const struct barriers *on = &shared->barriers;
    const uint keys = shared->memory + KEYS_AT, values = shared->memory + VALUES_AT;
    const float unit = EDITED ? 1.0f : a->scale;
    struct rows rows;
    struct queries queries;
    float s[FRAG_ROWS * FRAG_KEYS], o[FRAG_ROWS * FRAG_COLUMNS];
    struct sums totals = {{0}, {0}};
    uint p[BK / 4]; /* weights, packed */
    find_rows(&rows, at, a->pack, item);
    UNROLL for (int i = 0; i < FRAG_ROWS * FRAG_COLUMNS; i++)
        o[i] = 0.0f;
    wait_phase(on->queries, 0);
    load_queries(&queries, shared->memory, item);

    struct turn tk = {0, 0}, tv = {0, 0};
    wait_phase(on->keys, 0);
    struct block b = shared->blocks[0];
    if (b.n > 0) {
        start_keys(s, &queries, keys);
        wait_all_keys(s);
        tell_read(on->keys_read, &tk, item);
        edit_block(s, &rows, env, &b, a->scale, item);
        follow_maxima(s, &rows, unit);
        struct sums sums = take_weights(s, &rows, unit);
        add_sums(&totals, &sums);
        pack_weights(p, s);
        for (;;) {
            advance(&tk);
            wait_phase(on->keys + 8 * tk.place, tk.phase);
            const struct block next = shared->blocks[tk.place];
            wait_phase(on->values + 8 * tv.place, tv.phase);
#if MASK_RULE
            if (b.class == 1)
                take_out(o, s, shared, tv.place, v + at->v0, a->v_at[3], &rows, env, &b, item);
#endif
            if (next.n == 0)
                break;
            start_keys(s, &queries, keys + tk.place * KEY_BYTES);
            start_values(o, p, values + tv.place * VALUE_BYTES);
            wait_keys(s);
            edit_block(s, &rows, env, &next, a->scale, item);
            struct growth g = {0};
            sums = take_weights(s, &rows, unit);
            if (are_too_large(&sums)) { /* scores again, and their true maxima */
                multiply_keys(s, &queries, keys + tk.place * KEY_BYTES, item);
                edit_block(s, &rows, env, &next, a->scale, item);
                g = follow_maxima(s, &rows, unit);
                rescale_sums(&totals, &g);
                sums = take_weights(s, &rows, unit);
            }
            tell_read(on->keys_read, &tk, item);
            add_sums(&totals, &sums);
            wait_values(o);
            tell_read(on->values_read, &tv, item);
            advance(&tv);
            rescale(o, &g);
            pack_weights(p, s);
            b = next;
        }
        start_values(o, p, values + tv.place * VALUE_BYTES);
        wait_values(o);
    }
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        totals.rounded[i] = join_sum(totals.rounded[i]);
    store_rows(out, o, totals.rounded, at, a, item);
#if LSE
    store_lse(lse, &rows, totals.exact, unit, at, a, item);
#endif
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void forward(FORWARD_PARAMS)
{
    __local uchar memory[DOOR_BYTES] __attribute__((aligned(1024)));
    __local ulong barriers[BARRIERS];
    __local struct block blocks[NT];
    __local int special[NT];
    const int item = (int)get_local_id(0);
    const struct place at = find_place(&a, get_group_id(0) LENGTH_ARGS);
    if (at.row0 >= at.rows)
        return;
    RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
    const struct shared shared = {shared_address(memory), memory, blocks, special, name_barriers(shared_address((__local uchar *)barriers))};
    if (item == 0)
        make_barriers(&shared.barriers);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < 128) {
        GIVE_REGISTERS;
        produce(&shared, &a, &at, &env, q, k, v, item COUNT_ARG);
    } else {
        TAKE_REGISTERS;
        consume(&shared, &a, &at, &env, v, o LSE_ARG, item - 128);
    }
}
