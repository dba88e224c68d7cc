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
 *     scratch: two counters; from the next multiple of 128 bytes on [group][3] maps of q, k and v, made
 *              by the producer
 *
 * The products are a tile's; beside what fragments.clh wants it has load_queries, start_keys, start_values,
 * waits, multiply_keys and multiply_values (the same products at once, by a warp), pack_weights,
 * sum_packed or SUM_COLUMNS, make_ones, any_special, VALUE_AT, QUERIES_STAY (they stay in local memory until
 * the tile is done), CLASS_PARTS and CLASS_OF_PART (blocks.clh), and what stream.clh, plan.clh and produce.clh
 * want.  What consumers do is in consume.clh.
 *
 * -D parameters beside those of forward.clh: MATRIX 2; NT places for blocks; GROUP, BQ, BK and more as the
 * tile says; ALIGNED 1: rows start at multiples of 16 bytes; READ_ONCE: tensor_map.clh.
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
#include "consume.clh"

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
            const struct maps maps = make_maps(&a, scratch, q, k, v);
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
        const struct place first = find_place(&a, (uint)get_group_id(0) LENGTH_ARGS);
        ask_for_first_tile(&a, &first, q, k, v, item - 128);
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
