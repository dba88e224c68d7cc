/* SPDX-License-Identifier: MIT
 * forward_stream.cl - fused attention for matrix units that work by themselves: a producer streams blocks of
 * keys and values into local memory, the other items multiply, and take weights of a block while the products
 * of the one before it run.
 *
 *     S = Q K^T (a block of BK keys),  P = exp2(S - max),  O = alpha O + P V
 *
 * A work-group of GROUP = 128 + 2 BQ items works on one tile of BQ rows after the other (plan.clh).  Of the
 * first 128 items PRODUCERS are the producer, and where there is a mask as many the planner, who finds the
 * blocks; every further 128 are a consumer of 64 rows.  NT blocks of keys and as many of values are in local
 * memory, and the producer goes on to the next tile while consumers store this one.  A consumer's loop, where
 * S and O are its fragments:
 *
 *     start S = Q K^T of the next block;  look what it is;  sum P;  start O += P V of this one;  wait for
 *     S;  weights;  wait for O;  P = weights
 *
 * Weights are taken relative to the maximum of the blocks before; only where their sum shows that it was too
 * small, S is made again, the maximum follows, and O is rescaled.
 *
 *     local:  memory  [BQ rows] queries, NT x [BK rows] keys, NT x [BK rows] values, as the tile lays rows;
 *                     its ONES_BYTES
 *             barriers  queries there, queries read; for each place: keys there, keys read, values there,
 *                       values read; for each plan: there, read
 *             blocks  which block of keys is in which place
 *             plans   tiles, and blocks that the producer may bring, as the planner found them
 *             places  this tile and the next, as the producer found them: consumers divide for none
 *             care    how to take these two
 *     scratch: a counter of tiles; from the next multiple of 128 bytes on [group][3] maps of q, k and v, made
 *              by the producer
 *
 * The products are a tile's; beside what fragments.clh wants it has load_queries, start_keys, start_values,
 * waits, pack_weights, sum_packed or SUM_COLUMNS, make_ones, any_special, VALUE_AT, QUERIES_STAY (they stay
 * in local memory until the tile is done), and what stream.clh, plan.clh and produce.clh want.
 *
 * -D parameters beside those of forward.clh: MATRIX 2; NT places for blocks; GROUP, BQ, BK and more as the
 * tile says; ALIGNED 1: rows start at multiples of 16 bytes.
 * Numerics: scores and sums f32; weights are rounded to the values' storage, and a row is divided by the
 * sum of these.  A row's weights are relative to a maximum that is too small by at most the LARGEST_SUM;
 * masked pairs and values that are not finite as in forward_matrix.cl.
 * Limits: a softmax, scale from 1e-10 to 1e6; q, k and v of one storage.
 */
#define SCRATCH_PARAM , __global uint *scratch
#define EDITED_UNIT LOG2E
#include "native.clh"
#include "forward.clh"
#include "tile_wgmma.clh"
#include "fragments.clh"
#include "stream.clh"
#include "plan.clh"
#include "produce.clh"

#if MASK_RULE
/* Values of a PARTIAL block that are not finite become 0 for the product; add_special counts them in the rows
 * that see them once the tile is done.  Each consumer looks for itself: another may have made them 0 already,
 * and has said so before.  Returns whether there were any. */
static inline int take_out(const struct shared *shared, uint place, int n, int item)
{
    __local STORED(T_V) *values = (__local STORED(T_V) *)(shared->bytes + VALUES_AT + place * VALUE_BYTES);
    item = only_here(item);
    const int group = 1 + item / 128;
    if (any_special(values, item % 128))
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

/* The weights of a block, packed, to a row's sum, unless the product does that. */
static inline void add_packed(struct sums *totals, const uint *p)
{
    if (!SUM_COLUMNS) {
        float sums[FRAG_ROWS];
        sum_packed(sums, p);
        add_rows(totals->rounded, sums);
    }
}

/* A block as a consumer takes it, with the class for its own rows. */
struct taken {
    struct block own;
    int run, last, next; /* as in struct found, next for its own rows */
};

static inline void await_keys_of(const struct shared *shared, const struct turn *t)
{
    wait_phase(shared->barriers.keys + 8 * t->place, t->phase);
}

static inline struct taken look_at(const struct shared *shared, const struct turn *t, int item)
{
    const struct found b = shared->blocks[t->place];
#if MASK_RULE
    const int mine = item / 128 * 2;
    const struct taken taken = {
        {b.key, b.n, of_warp(b.own >> mine & 3)}, b.run, b.last, of_warp(b.next >> mine & 3)};
#else
    const struct taken taken = {{b.key, b.n, 2}, 0, b.last, 2};
#endif
    return taken;
}

/* From block b to the next, this turn's: in a run there is nothing to look at. */
static inline void look_at_next(struct taken *b, const struct shared *shared, const struct turn *t, int item)
{
    if (MASK_RULE && b->run > 0) {
        b->run--;
        b->own.key += BK;
        b->own.class = 2;
        b->next = 2;
    } else {
        *b = look_at(shared, t, item);
    }
}

static inline void give_back_unread(const struct shared *shared, struct turn *t, int item)
{
    wait_phase(shared->barriers.values + 8 * t->place, t->phase);
    tell_read(shared->barriers.keys_read, t, item);
    tell_read(shared->barriers.values_read, t, item);
    advance(t);
}

/* Go on to the next block, t's then, that some of a consumer's rows see; returns whether there is one.  While
 * the consumer holds the values of place `held` the producer cannot fill it again: so the block before that is
 * taken, all masked, where none of the rows see it. */
static inline int find_seen(const struct shared *shared, struct turn *t, uint held, int item)
{
    for (;;) {
        await_keys_of(shared, t);
        const struct taken b = look_at(shared, t, item);
        if (b.own.class != 0)
            return b.own.n > 0;
        if (!b.last && place_after(t->place) == held)
            return 1;
        give_back_unread(shared, t, item);
        if (b.last)
            return 0;
    }
}

/* A tile of which a consumer has no rows. */
static inline void pass_over(const struct shared *shared, struct progress *t, int item)
{
    int last;
    if (item % 32 == 0)
        arrive(shared->barriers.queries_read);
    do {
        await_keys_of(shared, &t->blocks);
        last = look_at(shared, &t->blocks, item).last;
        give_back_unread(shared, &t->blocks, item);
        advance(&t->values);
    } while (!last);
}

/* A consumer at a tile. */
struct consumer {
    const struct shared *shared;
    const struct forward_args *a;
    const struct rule_env *env;
    struct progress *t;
    int item;
    float unit;
    struct rows rows;
    struct queries queries;
    float s[FRAG_ROWS * FRAG_KEYS], o[FRAG_ROWS * (FRAG_COLUMNS + SUM_COLUMNS)];
    uint p[BK / 4]; /* weights, packed */
    struct sums totals;
};

static inline void begin_tile(struct consumer *c, const struct place *at)
{
    find_rows(&c->rows, at, c->a->pack, c->item);
    UNROLL for (int i = 0; i < FRAG_ROWS * (FRAG_COLUMNS + SUM_COLUMNS); i++)
        c->o[i] = 0.0f;
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        c->totals.rounded[i] = c->totals.exact[i] = 0.0f;
    load_queries(&c->queries, c->shared->memory, c->item);
    if (!QUERIES_STAY && c->item % 32 == 0)
        arrive(c->shared->barriers.queries_read);
}

static inline uint keys_of(const struct consumer *c)
{
    return c->shared->memory + KEYS_AT + c->t->blocks.place * KEY_BYTES;
}

static inline void await_values(const struct consumer *c)
{
    wait_phase(c->shared->barriers.values + 8 * c->t->values.place, c->t->values.phase);
}

static inline uint values_of(const struct consumer *c)
{
    return c->shared->memory + VALUES_AT + c->t->values.place * VALUE_BYTES;
}

static inline void start_output(struct consumer *c)
{
    start_values(c->o, c->p, values_of(c), c->shared->memory + ONES_AT);
}

static inline void finish_output(struct consumer *c)
{
    wait_values(c->o);
    tell_read(c->shared->barriers.values_read, &c->t->values, c->item);
}

/* Scores to weights, and the sums of these in each row, before they are rounded. */
static inline void weigh_and_sum(struct consumer *c, float *sums)
{
    weigh(c->s, &c->rows, c->unit);
    sum_weights(sums, c->s);
}

/* Where packed weights are summed decides over 4 to 8 %: the assembler puts these instructions before, among
 * or behind the exponentials, as the text around them is.  With a mask, on an H200, this was the best of four
 * texts; without, sums before the product is started (doc/performance-nvidia.md). */
#define SUMS_WITH_WEIGHTS (MASK_RULE && !EDITED && !LSE && !SUM_COLUMNS)

/* Scores to weights, two and two, and the packed weights of the block before to its rows' sums. */
static inline void weigh_and_add(struct consumer *c)
{
    float minus_m[FRAG_ROWS];
    float2 sums[FRAG_ROWS] = {0.0f};
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        minus_m[i] = -c->rows.m[i] * c->unit;
    UNROLL for (int j = 0; j < BK / 8; j++)
        UNROLL for (int i = 0; i < FRAG_ROWS; i++) {
            UNROLL for (int k = 2 * j; k < 2 * j + 2; k++)
                c->s[S_AT(i, k)] = weight(MULTIPLY_ADD(c->s[S_AT(i, k)], c->unit, minus_m[i]));
            sums[i] += unpack2(c->p[2 * j + i]);
        }
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        c->totals.rounded[i] += sums[i].x + sums[i].y;
}

/* Scores to weights; returns whether they are too large for the product. */
static inline int weigh_and_check(struct consumer *c, float *sums)
{
#if LSE || SUM_COLUMNS /* with sums by the product this check was the faster one */
    weigh_and_sum(c, sums);
    return are_too_large(sums);
#else
    if (SUMS_WITH_WEIGHTS)
        weigh_and_add(c);
    else
        weigh(c->s, &c->rows, c->unit);
    return are_some_too_large(c->s);
#endif
}

/* Weights, packed, of a block's scores by their true maxima, which sums then follow. */
static inline struct growth weigh_afresh(struct consumer *c, const struct block *own)
{
    float sums[FRAG_ROWS];
    edit_block(c->s, &c->rows, c->env, own, c->a->scale, c->item);
    const struct growth g = follow_maxima(c->s, &c->rows, c->unit);
    rescale_sums(&c->totals, &g);
    weigh_and_sum(c, sums);
    if (LSE)
        add_rows(c->totals.exact, sums);
    pack_weights(c->p, c->s);
    return g;
}

/* Weights of a tile's first block: no product runs beside. */
static inline struct taken weigh_alone(struct consumer *c)
{
    const struct taken b = look_at(c->shared, &c->t->blocks, c->item);
    start_keys(c->s, &c->queries, keys_of(c), c->item);
    wait_all_keys(c->s);
    tell_read(c->shared->barriers.keys_read, &c->t->blocks, c->item);
    weigh_afresh(c, &b.own);
    return b;
}

/* Weights of the next block while the values of this one are multiplied.  What that block is, is asked once
 * its product runs. */
static inline void weigh_beside_output(struct consumer *c, struct taken *b)
{
    float sums[FRAG_ROWS];
    struct growth g = {0};
    start_keys(c->s, &c->queries, keys_of(c), c->item);
    look_at_next(b, c->shared, &c->t->blocks, c->item);
    await_values(c);
    if (!SUMS_WITH_WEIGHTS) /* behind a branch, so that it is not moved before the first product */
        add_packed(&c->totals, c->p);
    start_output(c);
    wait_keys(c->s);
    edit_block(c->s, &c->rows, c->env, &b->own, c->a->scale, c->item);
#if EDITED /* a rule may let scores grow from block to block, as ALiBi does: their maxima first */
    g = follow_maxima(c->s, &c->rows, c->unit);
    rescale_sums(&c->totals, &g);
    weigh_and_sum(c, sums);
#else
    if (weigh_and_check(c, sums)) { /* scores again, and their true maxima */
        multiply_keys(c->s, &c->queries, keys_of(c), c->item);
        edit_block(c->s, &c->rows, c->env, &b->own, c->a->scale, c->item);
        g = follow_maxima(c->s, &c->rows, c->unit);
        rescale_sums(&c->totals, &g);
        weigh_and_sum(c, sums);
    }
#endif
    tell_read(c->shared->barriers.keys_read, &c->t->blocks, c->item);
    if (LSE)
        add_rows(c->totals.exact, sums);
    finish_output(c);
    rescale(c->o, &g);
    pack_weights(c->p, c->s);
}

/* The blocks from this turn's on. */
static inline void consume_blocks(struct consumer *c)
{
    struct progress *t = c->t;
#if MASK_RULE
    t->values = t->blocks; /* this block's, while t->blocks is the next one's */
#endif
    struct taken b = weigh_alone(c);
    advance(&t->blocks);
    for (;;) {
        if (b.last || (b.next == 0 && !find_seen(c->shared, &t->blocks, t->values.place, c->item)))
            break;
        await_keys_of(c->shared, &t->blocks);
        weigh_beside_output(c, &b);
#if MASK_RULE
        t->values = t->blocks;
#else
        advance(&t->values);
#endif
        advance(&t->blocks);
    }
    await_values(c);
    start_output(c);
    add_packed(&c->totals, c->p);
    finish_output(c);
    advance(&t->values);
}

#if MASK_RULE
/* The same with a look at the values of PARTIAL blocks, step by step: each warp multiplies by itself.
 * Returns whether a value was taken out. */
static inline int consume_with_care(struct consumer *c, const struct place *at)
{
    const struct span span = find_span(at, at->row0, min(BQ, at->rows - at->row0), c->a->pack);
    struct progress *t = c->t;
    int any_taken = 0, last;
    do {
        await_keys_of(c->shared, &t->blocks);
        const struct taken b = look_at(c->shared, &t->blocks, c->item);
        const int class = b.own.class ? class_of(c->env, &span, b.own.key, b.own.n) : 0; /* of the tile */
        last = b.last;
        t->values = t->blocks;
        if (class == 0) {
            give_back_unread(c->shared, &t->blocks, c->item);
        } else {
            multiply_keys(c->s, &c->queries, keys_of(c), c->item);
            tell_read(c->shared->barriers.keys_read, &t->blocks, c->item);
            const struct growth g = weigh_afresh(c, &b.own);
            rescale(c->o, &g);
            add_packed(&c->totals, c->p);
            await_values(c);
            if (class == 1)
                any_taken |= take_out(c->shared, t->values.place, b.own.n, c->item);
            multiply_values(c->o, c->p, values_of(c), c->item);
            tell_read(c->shared->barriers.values_read, &t->values, c->item);
            advance(&t->blocks);
        }
    } while (!last);
    return any_taken;
}

/* Whether a row of the warp's that sees something has numbers which are not finite: then values that it does
 * not see may have made them so, by 0 x. */
static inline int is_spoilt(const struct consumer *c, const struct place *at)
{
    int any = 0;
    UNROLL for (int i = 0; i < FRAG_ROWS; i++) {
        float x = 0.0f;
        UNROLL for (int d = 0; d < FRAG_COLUMNS; d++)
            x = MULTIPLY_ADD(c->o[O_AT(i, d)], 0.0f, x);
        any |= x != 0.0f && c->totals.rounded[i] != 0.0f && at->row0 + frag_row(c->item, i) < at->rows;
    }
    return any_near(any);
}
#endif

static inline void consume(const struct shared *shared, struct progress *t, const struct forward_args *a,
                           __local const struct place *place, int slot, const struct rule_env *env,
                           __global const STORED(T_Q) *q, __global const STORED(T_K) *k,
                           __global const STORED(T_V) *v, __global STORED(T_O) *out LSE_PARAM, int item)
{
    struct place at = *place;
    struct consumer c;
#if MASK_RULE
    const int care = of_warp(shared->care[slot]);
    int any_taken = 0;
#endif
    c.shared = shared;
    c.a = a;
    c.env = env;
    c.t = t;
    c.item = item;
    c.unit = EDITED ? EDITED_UNIT : a->scale;
    begin_tile(&c, &at);
#if MASK_RULE
    if (care == CAREFUL)
        any_taken = consume_with_care(&c, &at);
    else if (find_seen(shared, &t->blocks, NT, item))
        consume_blocks(&c);
#else
    if (find_seen(shared, &t->blocks, NT, item)) {
        consume_blocks(&c);
    } else {
        give_back_unread(shared, &t->blocks, item);
        advance(&t->values);
    }
#endif
    if (QUERIES_STAY && item % 32 == 0)
        arrive(shared->barriers.queries_read);
    at = *place; /* it was not in registers all the time */
#if MASK_RULE
    if (any_taken)
        add_special(c.o, &c.rows, &at, a, env, q, k, v, only_here(item));
#endif
    UNROLL for (int i = 0; i < FRAG_ROWS; i++)
        c.totals.rounded[i] = SUM_COLUMNS ? c.o[O_AT(i, FRAG_COLUMNS)] : join_sum(c.totals.rounded[i]);
#if MASK_RULE
    if (care != CAREFUL && is_spoilt(&c, &at) && item % 32 == 0)
        shared->care[slot] = AGAIN;
#endif
    store_rows(out, c.o, c.totals.rounded, &at, a, item);
#if LSE
    store_lse(lse, &c.rows, c.totals.exact, c.unit, &at, a, item);
#endif
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void forward(FORWARD_PARAMS)
{
    __local uchar memory[DOOR_BYTES] __attribute__((aligned(1024)));
    __local ulong barriers[BARRIERS];
    __local struct found blocks[NT] __attribute__((aligned(16)));
    __local struct plan plans[NT];
    __local struct place places[2];
    __local int special[NT], care[2];
    const int item = (int)get_local_id(0);
    const struct shared shared = {shared_address(memory), memory, blocks, plans, places, special, care,
                                  name_barriers(shared_address((__local uchar *)barriers))};
    make_ones(memory + ONES_AT, item);
    if (item == 0) {
        make_barriers(&shared.barriers);
        care[0] = care[1] = CAREFUL;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < 128) {
        const int role = of_warp(item / 32); /* 0 the producer, 1 the planner */
        GIVE_REGISTERS;
        if (role == 0) {
            const struct maps maps = make_maps(&a, scratch, q, k, v, item);
            struct blocks blocks = start_blocks(&a, scratch);
            produce_tiles(&shared, &maps, &blocks, &a, q, v LENGTH_ARGS, item COUNT_ARG);
        }
#if MASK_RULE
        else if (role == 1) {
            struct turn t = {0, 1};
            struct tiles tiles = start_tiles(&a, scratch);
            for (uint number; (number = next_tile(&tiles, item % 32)) != NO_TILE;) {
                const struct place at = find_place(&a, number LENGTH_ARGS);
                RULE_ENV(env, at.batch, at.kv_head, at.q_len, at.k_len);
                if (at.row0 < at.rows)
                    plan_tile(&shared, &t, &a, number, &at, &env, item % 32 COUNT_ARG);
            }
            show_end(&shared, &t, item % 32);
        }
#endif
    } else {
        struct progress t = {0, {0, 0}, {0, 0}, {0, 0}};
        const int consumer = of_warp((item - 128) / 128);
        TAKE_REGISTERS;
        /* if a tile in local memory ended the loop, addresses would leave the warps' registers: after the end
         * it is found again */
        for (uint i = 0, most = most_tiles(&a) + (MASK_RULE ? 3 : 0); i < most; i++) {
            const int slot = t.queries;
            __local const struct place *at = places + slot;
            wait_phase(shared.barriers.queries, slot);
            t.queries ^= at->rows >= 0;
            RULE_ENV(env, at->batch, at->kv_head, at->q_len, at->k_len);
            if (at->row0 + 64 * consumer < at->rows)
                consume(&shared, &t, &a, at, slot, &env, q, k, v, o LSE_ARG, item - 128);
            else if (at->rows >= 0)
                pass_over(&shared, &t, item - 128);
        }
    }
}
