/* SPDX-License-Identifier: MIT
 * geometry.c - from a tile's shape to a launch: how many tiles, and into how many parts the keys are cut. */
#include "engine/engine.h"

static int64_t ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

/* Parts of the keys: those asked for, or enough to give wanted_groups, each a whole number of blocks. */
static int64_t choose_splits(const struct clattn__task *task, int64_t blocks, int64_t groups, int64_t wanted_groups)
{
    int64_t splits = task->splits;
    if (splits == 0) {
        splits = 1;
        if (groups > 0 && groups < wanted_groups && task->q_len <= 16)
            splits = ceil_div(wanted_groups, groups);
    }
    if (splits > blocks)
        splits = blocks;
    return splits < 1 ? 1 : splits;
}

void clattn__launch_geometry(const clattn_device_facts *facts, const struct clattn__task *task, int32_t pack,
                             struct clattn__launch *launch, int64_t wanted_groups)
{
    (void)facts;
    int64_t bk = launch->spec.BK;
    int64_t q_tiles = ceil_div(task->q_len * pack, launch->spec.BQ);
    int64_t groups = task->batch * (task->heads / pack) * q_tiles;
    int64_t blocks = ceil_div(task->kv_len, bk);
    int64_t splits = choose_splits(task, blocks, groups, wanted_groups);
    int64_t blocks_each = blocks > 0 ? ceil_div(blocks, splits) : 1;
    splits = blocks > 0 ? ceil_div(blocks, blocks_each) : 1; /* no part without keys */
    launch->pack = pack;
    launch->q_tiles = (int32_t)q_tiles;
    launch->splits = (int32_t)splits;
    launch->split_keys = (int32_t)(blocks_each * bk);
    launch->groups = (size_t)(groups * splits);
}
