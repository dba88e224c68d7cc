/* SPDX-License-Identifier: MIT
 * attention.c - which keys a token reads.
 *
 *     dense            all that it may see: those before it, and the prefix
 *     window:W[,SINK]  of these the W last, its own included, and the SINK first of the text
 *     hip:WORDS        of these the ones that a selector lists, the nearest and the first (selection.c)
 *     rule:CONDITION   of these the ones that a condition of clattn_expr(7) names: rule:(q - k) % 8 == 0
 *
 * One problem serves the prompt, its chunks, and single tokens: the corner is bottom right, so that the last
 * row is the last of the key_lengths keys, which each enqueue reads from a buffer.  Nothing is planned again
 * while a text grows. */
#include "attention.h"

#include "model.h"
#include <stdio.h>
#include <string.h>

/* ---- the choice ---- */
/* The keys near a row and the first ones; `text' is what follows "window:". */
static clattn_pattern window_pattern(const char *text)
{
    char rule[CLATTN_PATTERN_TEXT];
    int width = 0, sink = 0, used = 0;
    if (sscanf(text, "%9d%n,%9d%n", &width, &used, &sink, &used) < 1 || text[used] || width < 1 || sink < 0)
        stop("--attention window:%s is not window:W or window:W,SINK", text);
    snprintf(rule, sizeof rule, "q - k < %d | k < %d", width, sink);
    return clattn_mask(rule, CLATTN_BOTTOM_RIGHT);
}

static clattn_pattern chosen_pattern(const char *words)
{
    if (!strcmp(words, "dense") || !strncmp(words, "hip:", 4)) /* its lists are joined later, for each plan */
        return clattn_full();
    if (!strncmp(words, "window:", 7))
        return window_pattern(words + 7);
    if (!strncmp(words, "rule:", 5))
        return clattn_mask(words + 5, CLATTN_BOTTOM_RIGHT);
    stop("--attention '%s' is not dense, window:W[,SINK], hip:WORDS or rule:CONDITION", words);
}

void attention_open(struct attention *a, const struct device *d, const struct attention_shape *shape)
{
    clattn_pattern seen = shape->prefix ? clattn_prefix(shape->prefix, CLATTN_BOTTOM_RIGHT)
                                        : clattn_causal(CLATTN_BOTTOM_RIGHT);
    *a = (struct attention){.device = d, .problem = CLATTN_ATTENTION_INIT};
    clattn_attention *p = &a->problem;
    p->heads = HEADS;
    p->kv_heads = KV_HEADS;
    p->kv_len = shape->capacity;
    p->dim = p->dim_v = HEAD_DIM;
    p->type_q = p->type_k = p->type_v = (int32_t)shape->type;
    p->flags = CLATTN_KEY_LENGTHS;
    p->o.head = HEAD_DIM; /* rows of o are those of the next product */
    p->o.token = HEADS * HEAD_DIM;
    p->pattern = clattn_both(seen, chosen_pattern(shape->words));
    a->selects = !strncmp(shape->words, "hip:", 4);
    if (a->selects)
        selection_open(&a->selection, d, &(struct selection_shape){shape->words + 4, shape->refresh,
                                                                   (int32_t)shape->capacity, shape->prefix});
    a->key_lengths = device_buffer(d, sizeof(int32_t), NULL);
}

void attention_close(struct attention *a)
{
    for (int i = 0; i < a->n_plans; i++) {
        clattn_plan_destroy(a->plans[i].forward);
        if (a->selects)
            selection_plan_close(&a->plans[i].selection);
    }
    if (a->selects)
        selection_close(&a->selection);
    clReleaseMemObject(a->key_lengths);
}

/* ---- plans ---- */
static struct attention_plan *find_plan(struct attention *a, int64_t rows)
{
    for (int i = 0; i < a->n_plans; i++)
        if (a->plans[i].rows == rows)
            return &a->plans[i];
    return NULL;
}

bool attention_plan(struct attention *a, int64_t rows)
{
    clattn_attention problem = a->problem;
    struct attention_plan *plan = &a->plans[a->n_plans];
    if (find_plan(a, rows))
        return false;
    if (a->n_plans == MOST_PLANS)
        stop("more than %d numbers of rows in one run", MOST_PLANS);
    problem.q_len = plan->rows = rows;
    if (a->selects)
        selection_plan(&plan->selection, &a->selection, &problem);
    check(a->device, clattn_plan_create(&plan->forward, a->device->clattn, &problem));
    a->n_plans++;
    return true;
}

void attention_restart(struct attention *a)
{
    for (int i = 0; i < a->n_plans; i++)
        memset(a->plans[i].selection.made, 0, sizeof a->plans[i].selection.made);
}

/* ---- the work ---- */
void attention_set_keys(struct attention *a, int32_t keys)
{
    a->keys = keys;
    device_fill(a->device, a->key_lengths, keys, 1);
}

void attention_enqueue(struct attention *a, int layer, int64_t rows, const struct attention_buffers *buffers,
                       struct parts *parts)
{
    struct attention_plan *plan = find_plan(a, rows);
    clattn_io io = CLATTN_IO_INIT;
    io.q = buffers->q;
    io.k = buffers->k;
    io.v = buffers->v;
    io.o = buffers->o;
    io.key_lengths = a->key_lengths;
    if (a->selects) {
        io.list = selection_enqueue(&a->selection, &plan->selection, layer, &io, rows, a->keys);
        parts_mark(parts, PART_SELECTION);
    }
    check(a->device, clattn_enqueue_forward(plan->forward, a->device->queue, &io, 0, NULL, NULL));
    parts_mark(parts, PART_ATTENTION);
}
