/* SPDX-License-Identifier: MIT
 * geometry.c - from a tile's shape to a launch: how many tiles, and into how many parts the keys are cut. */
#include "engine/engine.h"
#include "door.clh"

#define FEW_QUERIES 16

/* Parts of the keys: those asked for, or enough to give wanted_groups; each a whole number of grains.  Parts
 * of many queries cost more to write and to merge: they are made only if compute units would have nothing to
 * do, and of many keys. */
static int64_t choose_splits(const struct clattn__task *task, int32_t grain, int64_t groups,
                             int64_t wanted_groups)
{
    int64_t splits = task->splits, most = clattn__ceil_div(task->kv_len, grain);
    bool few = task->q_len <= FEW_QUERIES;
    if (splits == 0) {
        splits = 1;
        if (groups > 0 && groups < (few ? wanted_groups : wanted_groups / 4))
            splits = clattn__ceil_div(few ? wanted_groups : wanted_groups / 2, groups);
        if (!few && most > task->kv_len / CLATTN__LEAST_PART)
            most = task->kv_len / CLATTN__LEAST_PART;
    }
    if (splits > most)
        splits = most;
    return splits < 1 ? 1 : splits;
}

void clattn__launch_geometry(const struct clattn__task *task, int32_t pack, int32_t grain,
                             int64_t wanted_groups, struct clattn__launch *launch)
{
    int64_t q_tiles = clattn__ceil_div(task->q_len * pack, launch->spec.BQ);
    int64_t groups = task->batch * (task->heads / pack) * q_tiles;
    int64_t grains = clattn__ceil_div(task->kv_len, grain);
    int64_t splits = choose_splits(task, grain, groups, wanted_groups);
    int64_t grains_each = grains > 0 ? clattn__ceil_div(grains, splits) : 1;
    splits = grains > 0 ? clattn__ceil_div(grains, grains_each) : 1; /* no part without keys */
    launch->pack = pack;
    launch->q_tiles = (int32_t)q_tiles;
    launch->splits = (int32_t)splits;
    launch->split_keys = (int32_t)(grains_each * grain);
    launch->section = 1;
    launch->tiles = launch->groups = (size_t)(groups * splits);
    CLATTN__KNOB(&launch->setting, splits) = launch->splits;
}

void clattn__launch_sections(const struct clattn__task *task, struct clattn__launch *launch)
{
    const int64_t sharing = task->heads / task->kv_heads / launch->pack; /* head tiles of a key head */
    const int64_t heads = task->batch * (task->heads / launch->pack);
    const int64_t bytes = task->kv_len * (task->dim * clattn__type_bytes(task->type_k) +
                                          task->dim_v * clattn__type_bytes(task->type_v));
    int64_t most = bytes > 0 ? CLATTN__HELD_BYTES * sharing / bytes : 1;
    if (!task->masked || heads == 0)
        return;
    most = most < 1 ? 1 : most > INT32_MAX ? INT32_MAX : most;
    launch->section = (int32_t)clattn__ceil_div(heads, clattn__ceil_div(heads, most)); /* all about as wide */
}

void clattn__launch_memory(struct clattn__launch *launch, int64_t bytes)
{
    if (bytes > DOOR_BYTES) {
        launch->rewrite = clattn__ptx_edit;
        launch->wish = (struct clattn__ptx_wish){.group = launch->spec.GROUP, .local_bytes = (int32_t)bytes};
    }
}
