/* SPDX-License-Identifier: MIT
 * layout.c - what the kernels of a selection are told, and where each part of the workspace lies.
 *
 * Query blocks are worked on a tile at a time, as many as keep the workspace within TILE_BYTES: nothing grows
 * with their number. */
#include "select/select.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define TILE_BYTES ((int64_t)64 << 20)
#define CAND_WORDS 8 /* candidates.clh */

static void fill_layout(cl_long at[4], const clattn_layout *layout, bool packed)
{
    at[0] = layout->offset;
    at[1] = packed ? 0 : layout->batch;
    at[2] = layout->head;
    at[3] = layout->token;
}

/* What a budget's value is to kernels: clattn/select.h, cl/select/budget.clh. */
static void fill_budget(struct select_args *args, const clattn_select *s, double scale)
{
    const double log2_e = 1.4426950408889634,
                 unit = fabs(scale) * (s->budget_mode == CLATTN_MASS ? log2_e : 1);
    const bool is_share = s->budget_mode == CLATTN_MASS || s->budget_mode == CLATTN_RATIO;
    args->share = is_share ? (cl_long)fmax(1, rint(s->budget_value * 0x1p32)) : 0;
    args->unit = (float)fmin(unit, FLT_MAX);
    args->margin = s->budget_mode == CLATTN_MARGIN ? (float)fmin(s->budget_value, FLT_MAX) : 0;
}

static void fill_sizes(struct select_args *args, const clattn_select_plan *plan)
{
    const clattn_attention *a = &plan->problem.a;
    const clattn_select *s = &plan->select;
    const clattn_list *list = &plan->list;
    const struct clattn__select_shape *shape = &plan->shape;
    memset(args, 0, sizeof *args);
    fill_layout(args->q_at, &a->q, a->flags & CLATTN_PACKED);
    fill_layout(args->k_at, &a->k, a->flags & CLATTN_PACKED);
    args->q_total = a->q_total;
    args->kv_total = a->kv_total;
    args->counts_at = list->counts_at / 4;
    args->ids_at = list->ids_at / 4;
    args->batch = (cl_int)a->batch;
    args->heads = (cl_int)a->heads;
    args->kv_heads = (cl_int)a->kv_heads;
    args->q_len = (cl_int)a->q_len;
    args->kv_len = (cl_int)a->kv_len;
    args->bottom_right = plan->problem.bottom_right;
    args->negative = a->scale < 0;
    args->scopes = (cl_int)list->scopes;
    args->cand_scopes = shape->by_head ? args->scopes : 1;
    args->q_blocks = (cl_int)list->q_blocks;
    args->k_blocks = (cl_int)list->k_blocks;
    args->words = (cl_int)clattn__ceil_div(list->k_blocks, 32);
    args->capacity = (cl_int)list->capacity;
    args->keep = (cl_int)(list->capacity > 0 ? list->capacity : 1);
    args->block_q = s->block_q;
    args->stride_q = s->stride_q;
    args->block_k = s->block_k;
    args->stride_k = s->stride_k;
    args->sets = shape->sets;
    args->set_heads = shape->set_heads;
    args->max_keys = (cl_int)shape->max_keys;
    args->scratch = (cl_int)shape->scratch;
    args->representative = s->representative;
    fill_budget(args, s, a->scale);
    args->window = (cl_int)s->window;
    args->rope_positions = (cl_int)s->rope_positions;
}

/* A part of the workspace, or of what is kept: words for each pair. */
struct part {
    cl_long *at;
    int64_t words;
    bool kept;
};
enum { MOST_PARTS = 9 };

static int64_t words_of_rows(const clattn_select_plan *plan)
{
    const struct clattn__select_shape *s = &plan->shape;
    return s->scored && s->tile.items == 0 ? plan->list.scopes * s->sets * plan->problem.a.dim * s->rows : 0;
}

static void list_parts(const clattn_select_plan *plan, struct select_args *args,
                       cl_long stages_at[CLATTN_MAX_STAGES], struct part parts[MOST_PARTS])
{
    const int64_t lists = plan->list.scopes;
    const bool kept = plan->select.flags & CLATTN_KEEP_STAGES && plan->select.method == CLATTN_STAGED;
    const struct part all[MOST_PARTS] = {
        {&args->cands_at, (int64_t)args->cand_scopes * CAND_WORDS, kept},
        {&args->bits_at, (int64_t)args->cand_scopes * args->words, kept},
        {&args->before_at, (int64_t)args->cand_scopes * args->words, kept},
        {&stages_at[1], lists * plan->stage_words[1], kept},
        {&stages_at[2], lists * plan->stage_words[2], kept},
        {&stages_at[3], lists * plan->stage_words[3], kept},
        {&args->rows_at, words_of_rows(plan), false},
        {&args->keys_at, lists * plan->shape.max_keys, false},
        {&args->weights_at, plan->select.budget_mode == CLATTN_MASS ? lists * plan->shape.max_keys : 0, false},
    };
    memcpy(parts, all, sizeof all);
}

struct select_args clattn__select_place(struct clattn__select_run *run, int64_t first)
{
    struct select_args args = run->plan->args;
    struct part parts[MOST_PARTS];
    memcpy(run->stages_at, run->plan->stages_at, sizeof run->stages_at);
    list_parts(run->plan, &args, run->stages_at, parts);
    for (int i = 0; i < MOST_PARTS; i++)
        *parts[i].at += parts[i].kept ? run->kept_shift + first * parts[i].words : run->shift;
    args.scratch_at += run->shift;
    for (int i = 0; i < CLATTN_MAX_ARRAYS; i++)
        args.table_at[i] += run->shift;
    args.first = first;
    return args;
}

/* Groups of select_tree.cl, each with its own nodes where these lie in the workspace. */
static void choose_groups(clattn_select_plan *plan)
{
    const int64_t lists = plan->tile * plan->list.scopes, most = 8 * (int64_t)plan->ctx->facts.compute_units;
    plan->tree_groups = (size_t)(plan->shape.nodes_global && lists > most ? most : lists);
}

bool clattn__select_layout(clattn_select_plan *plan)
{
    struct part parts[MOST_PARTS];
    struct forward_args tables_args = {.batch = 0};
    int64_t each = 0, kept_at = 0, words;
    fill_sizes(&plan->args, plan);
    for (int i = 1; i < plan->select.n_stages; i++)
        plan->stage_words[i] = 1 + (cl_int)clattn__stage_chunks(&plan->select, &plan->list, i);
    list_parts(plan, &plan->args, plan->stages_at, parts);
    for (int i = 0; i < MOST_PARTS; i++)
        each += parts[i].kept ? 0 : parts[i].words;
    plan->pairs = plan->list.batch * plan->list.q_blocks;
    plan->tile = each > 0 && TILE_BYTES / 4 / each < plan->pairs ? TILE_BYTES / 4 / each : plan->pairs;
    plan->tile = plan->tile < 1 ? 1 : plan->tile;
    clattn__tables_fill(&plan->tables, &plan->problem, 0, &tables_args);
    if (plan->tables.count)
        memcpy(plan->args.table_at, tables_args.table_at, sizeof plan->args.table_at);
    int64_t at = plan->tables.ints;
    for (int i = 0; i < MOST_PARTS; i++) {
        int64_t *end = parts[i].kept ? &kept_at : &at;
        *parts[i].at = *end;
        if (!clattn__mul(parts[i].words, parts[i].kept ? plan->pairs : plan->tile, &words) ||
            !clattn__add(*end, words, end))
            return false;
    }
    plan->args.scratch_at = at;
    choose_groups(plan);
    if (plan->shape.nodes_global)
        at += plan->shape.scratch * (int64_t)plan->tree_groups;
    plan->kept_bytes = 4 * kept_at;
    plan->workspace_bytes = plan->select.method == CLATTN_STREAMING || plan->pairs == 0 ? 0 : 4 * at;
    return plan->tile * plan->list.scopes <= INT32_MAX / 64 && at < INT64_MAX / 8 && kept_at < INT64_MAX / 8;
}

int64_t clattn__bounds_bytes(const clattn_select_plan *plan)
{
    const clattn_attention *a = &plan->problem.a;
    const int64_t rows = a->batch * a->kv_heads * plan->list.k_blocks * a->dim;
    return plan->select.method == CLATTN_MINMAX      ? 2 * rows * clattn__type_bytes(a->type_k)
           : plan->select.method == CLATTN_POOL_MEAN ? 4 * rows
                                                     : 0;
}
