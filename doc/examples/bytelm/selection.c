/* SPDX-License-Identifier: MIT
 * selection.c - hip:WORDS, the words of a selection as clattn_problem(7) has them, for example
 *
 *     hip:tree=512:bq=64/1:bk=2:scope=head:sink=32:near=64
 *
 * tree, staged, minmax, mean: clattn/select.h.  scores: the blocks with the largest products, by a kernel of
 * ours that looks at all of them. */
#include "selection.h"

#include <stdio.h>

void selection_open(struct selection *s, const struct device *d, const struct selection_shape *shape)
{
    char text[512], message[512];
    clattn_attention any = CLATTN_ATTENTION_INIT; /* words stand behind a problem; ours is attention.c's */
    *s = (struct selection){.select = CLATTN_SELECT_INIT, .device = d, .shape = *shape};
    int n = snprintf(text, sizeof text, "attn:f32:q1:k1:d1:causal-br:%s", shape->words);
    if (n < 0 || (size_t)n >= sizeof text)
        stop("--attention hip:%s is too long", shape->words);
    if (clattn_select_parse(&s->select, &any, text, message, sizeof message) != CLATTN_OK)
        stop("--attention hip:%s: %s", shape->words, message);
}

/* ---- plans ---- */
/* Metadata is of the cache, not of a plan's rows: the first plan makes its buffers, and all use them. */
static void make_bounds(struct selection *s, const clattn_select_plan *plan)
{
    uint64_t bytes;
    check(s->device, clattn_select_bounds_size(plan, &bytes));
    for (int i = 0; i < LAYERS && bytes && !s->bounds[i]; i++)
        s->bounds[i] = device_buffer(s->device, (size_t)bytes, NULL);
}

/* Of single tokens' lists: what is near now need not be so for the last token that a list serves. */
static clattn_select lasting(const struct selection *s)
{
    clattn_select select = s->select;
    select.window -= s->shape.refresh - 1 < select.window ? s->shape.refresh - 1 : select.window;
    return select;
}

void selection_plan(struct selection_plan *plan, struct selection *s, clattn_attention *problem)
{
    const struct device *d = s->device;
    clattn_select select = problem->q_len == 1 ? lasting(s) : s->select;
    uint64_t bytes;
    *plan = (struct selection_plan){.list = CLATTN_LIST_INIT};
    check(d, clattn_select_plan_create(&plan->plan, d->clattn, &select, problem));
    check(d, clattn_select_list(&plan->list, &select, problem));
    check(d, clattn_list_bytes(&plan->list, &bytes));
    for (int i = 0; i < LAYERS; i++)
        plan->lists[i] = device_buffer(d, (size_t)bytes, NULL);
    make_bounds(s, plan->plan);
    bytes = (uint64_t)(plan->list.scopes * plan->list.q_blocks * plan->list.k_blocks) * sizeof(float);
    if (select.method == CLATTN_EXTERNAL_SCORE)
        plan->scores = device_buffer(d, (size_t)bytes, NULL);
    problem->pattern = clattn_both(problem->pattern, clattn_selected(&s->select, CLATTN_BOTTOM_RIGHT));
    problem->list = plan->list;
}

void selection_plan_close(struct selection_plan *plan)
{
    clattn_select_plan_destroy(plan->plan);
    for (int i = 0; i < LAYERS; i++)
        clReleaseMemObject(plan->lists[i]);
    if (plan->scores)
        clReleaseMemObject(plan->scores);
}

void selection_close(struct selection *s)
{
    for (int i = 0; i < LAYERS; i++)
        if (s->bounds[i])
            clReleaseMemObject(s->bounds[i]);
}

/* ---- the work ---- */
static void score_blocks(const struct selection *s, const struct selection_plan *plan, const clattn_io *io,
                         int64_t n_rows, int64_t n_keys)
{
    const clattn_list *list = &plan->list;
    size_t size[] = {(size_t)list->k_blocks, (size_t)list->q_blocks, (size_t)list->scopes};
    cl_int2 rows = {{(cl_int)n_rows, list->block_q}}, keys = {{(cl_int)n_keys, list->block_k}};
    cl_int4 heads = {{HEADS / (cl_int)list->scopes, HEADS / KV_HEADS, HEAD_DIM}};
    cl_int4 near = {{s->shape.prefix, (cl_int)s->select.sink, (cl_int)s->select.window}};
    device_launch(s->device, BLOCK_SCORES, size, NULL,
                  ARGUMENTS(ARGUMENT(io->q), ARGUMENT(io->k), ARGUMENT(plan->scores), ARGUMENT(rows),
                            ARGUMENT(keys), ARGUMENT(s->shape.cache), ARGUMENT(heads), ARGUMENT(near)));
}

cl_mem selection_enqueue(const struct selection *s, struct selection_plan *plan, int layer,
                         const clattn_io *attention, int64_t rows, int64_t keys)
{
    const struct device *d = s->device;
    clattn_select_io io = CLATTN_SELECT_IO_INIT;
    io.q = attention->q;
    io.k = attention->k;
    io.key_lengths = attention->key_lengths;
    io.bounds = s->bounds[layer];
    io.scores = plan->scores;
    io.list = plan->lists[layer];
    if (io.bounds) /* the cache grew by these rows, whether or not a list is made now */
        check(d, clattn_enqueue_bounds(plan->plan, d->queue, &io, keys - rows, rows, 0, NULL, NULL));
    if (rows == 1 && plan->made[layer] && keys - plan->made[layer] < s->shape.refresh)
        return io.list;
    plan->made[layer] = keys;
    if (io.scores)
        score_blocks(s, plan, attention, rows, keys);
    check(d, clattn_enqueue_select(plan->plan, d->queue, &io, 0, NULL, NULL));
    return io.list;
}
