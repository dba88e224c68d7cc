/* SPDX-License-Identifier: MIT
 * geometry.c - from a tile's shape to a launch: how many tiles, and into how many parts the keys are cut. */
#include "engine/engine.h"

/* Parts of the keys: those asked for, or enough to give wanted_groups, each a whole number of grains. */
static int64_t choose_splits(const struct clattn__task *task, int64_t grains, int64_t groups, int64_t wanted_groups)
{
    int64_t splits = task->splits;
    if (splits == 0) {
        splits = 1;
        if (groups > 0 && groups < wanted_groups && task->q_len <= 16)
            splits = clattn__ceil_div(wanted_groups, groups);
    }
    if (splits > grains)
        splits = grains;
    return splits < 1 ? 1 : splits;
}

void clattn__launch_geometry(const struct clattn__task *task, int32_t pack, int32_t grain, int64_t wanted_groups,
                             struct clattn__launch *launch)
{
    int64_t q_tiles = clattn__ceil_div(task->q_len * pack, launch->spec.BQ);
    int64_t groups = task->batch * (task->heads / pack) * q_tiles;
    int64_t grains = clattn__ceil_div(task->kv_len, grain);
    int64_t splits = choose_splits(task, grains, groups, wanted_groups);
    int64_t grains_each = grains > 0 ? clattn__ceil_div(grains, splits) : 1;
    splits = grains > 0 ? clattn__ceil_div(grains, grains_each) : 1; /* no part without keys */
    launch->pack = pack;
    launch->q_tiles = (int32_t)q_tiles;
    launch->splits = (int32_t)splits;
    launch->split_keys = (int32_t)(grains_each * grain);
    launch->groups = (size_t)(groups * splits);
}
