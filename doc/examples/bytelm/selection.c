/* SPDX-License-Identifier: MIT
 * selection.c - hip:METHOD,BUDGET[,KEY=VALUE]...
 *
 *     METHOD         tree, staged, minmax, mean (clattn/select.h), or best: scores of block_scores in kernels.cl
 *     BUDGET         tokens that a row reads beside the first and the nearest ones
 *     block=N[/S]    keys of a block (8), of which the last of every S counts (1)
 *     rows=N[/S]     rows that share a list (64), of which the last of every S counts (1)
 *     sink=N near=N  the first and the nearest tokens, which all rows read (32, 64)
 *     scope=head     group, all: heads that share a list
 *     rep=center     first, last: what tree looks at
 *     stages=A.B/..  staged: chunks of A tokens, of which the best B tokens stay; the last B is the budget
 *     refresh=N      single tokens that a list serves (1), `near' at most */
#include "selection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- words ---- */
/* The place of a word in a list that ends with NULL. */
static int32_t find_word(const char *word, const char *const *words)
{
    for (int32_t i = 0; words[i]; i++)
        if (!strcmp(word, words[i]))
            return i;
    stop("--attention hip: '%s' is not one of its words", word);
}

/* "N" or "N/S"; at most 2^30, which the library checks further. */
static void read_pair(const char *text, int64_t *n, int64_t *s)
{
    int used = 0;
    long first, second = *s;
    if (sscanf(text, "%9ld%n/%9ld%n", &first, &used, &second, &used) < 1 || text[used] || first < 0)
        stop("--attention hip: '%s' is not a number or two", text);
    *n = first;
    *s = second;
}

static void read_stages(const char *text, clattn_select *select)
{
    int used = 0;
    long chunk, keep;
    for (select->n_stages = 0; *text; text += used + (text[used] == '/')) {
        if (select->n_stages == CLATTN_MAX_STAGES || sscanf(text, "%9ld.%9ld%n", &chunk, &keep, &used) != 2 ||
            !strchr("/", text[used]))
            stop("--attention hip: stages=%s is not CHUNK.KEEP, %d times at most", text, CLATTN_MAX_STAGES);
        select->stages[select->n_stages++] = (clattn_stage){chunk, keep};
    }
}

static void read_key(struct selection *s, const char *key, const char *value)
{
    static const char *const keys[] = {"block", "rows", "sink", "near", "scope", "rep", "stages", "refresh", NULL};
    static const char *const scopes[] = {"head", "group", "all", NULL};
    static const char *const representatives[] = {"center", "first", "last", NULL};
    clattn_select *select = &s->select;
    int64_t n = 0, stride = 1, none = 0;
    int32_t which = find_word(key, keys);
    if (which < 4 || which == 7)
        read_pair(value, &n, which < 2 ? &stride : &none);
    switch (which) {
    case 0: select->block_k = (int32_t)n, select->stride_k = (int32_t)stride; break;
    case 1: select->block_q = (int32_t)n, select->stride_q = (int32_t)stride; break;
    case 2: select->sink = n; break;
    case 3: select->window = n; break;
    case 4: select->scope = find_word(value, scopes); break;
    case 5: select->representative = find_word(value, representatives); break;
    case 6: read_stages(value, select); break;
    default: s->refresh = n > 0 ? n : 1;
    }
}

/* Chunks of 64, 32 and 8 keys: an eighth of them stays, then a quarter, then half. */
static void default_stages(clattn_select *select)
{
    int64_t b = select->budget;
    select->n_stages = 3;
    select->stages[0] = (clattn_stage){64, 8 * b < 4096 ? 8 * b : 4096};
    select->stages[1] = (clattn_stage){32, 2 * b};
    select->stages[2] = (clattn_stage){8, b};
}

void selection_open(struct selection *s, const char *words, int64_t cache, int32_t prefix)
{
    static const char *const methods[] = {"tree", "staged", "minmax", "mean", "best", NULL};
    char text[256], *word, *value;
    int64_t none = 0;
    if (strlen(words) >= sizeof text)
        stop("--attention hip:%s is too long", words);
    strcpy(text, words);
    *s = (struct selection){
        .select = CLATTN_SELECT_INIT, .refresh = 1, .cache = (int32_t)cache, .prefix = prefix};
    clattn_select *select = &s->select;
    select->scope = CLATTN_SCOPE_HEAD;
    select->stride_q = 1;
    select->sink = 32;
    select->window = 64;
    word = strtok(text, ",");
    select->method = find_word(word ? word : "", methods); /* "best" stands where EXTERNAL_SCORE does */
    s->best = select->method == CLATTN_EXTERNAL_SCORE;
    word = strtok(NULL, ",");
    read_pair(word ? word : "", &select->budget, &none);
    while ((word = strtok(NULL, ","))) {
        value = strchr(word, '=');
        if (!value)
            stop("--attention hip: '%s' is not KEY=VALUE", word);
        *value++ = 0;
        read_key(s, word, value);
    }
    if (select->method == CLATTN_STAGED && select->n_stages == 0)
        default_stages(select);
}

/* ---- plans ---- */
/* Metadata is of the cache, not of a plan's rows: the first plan makes its buffers, and all use them. */
static void make_bounds(struct selection *s, const clattn_select_plan *plan, const struct device *d)
{
    uint64_t bytes;
    check(d, clattn_select_bounds_size(plan, &bytes));
    for (int i = 0; i < LAYERS && bytes && !s->bounds[i]; i++)
        s->bounds[i] = device_buffer(d, (size_t)bytes, NULL);
}

void selection_plan(struct selection_plan *plan, struct selection *s, const struct device *d,
                    clattn_attention *problem)
{
    clattn_select select = s->select;
    uint64_t bytes;
    *plan = (struct selection_plan){.shape = CLATTN_LIST_INIT};
    if (problem->q_len == 1) /* what is near now need not be so for the last token that the list serves */
        select.window -= s->refresh - 1 < select.window ? s->refresh - 1 : select.window;
    check(d, clattn_select_plan_create(&plan->plan, d->clattn, &select, problem));
    check(d, clattn_select_list(&plan->shape, &select, problem));
    check(d, clattn_list_bytes(&plan->shape, &bytes));
    for (int i = 0; i < LAYERS; i++)
        plan->lists[i] = device_buffer(d, (size_t)bytes, NULL);
    make_bounds(s, plan->plan, d);
    if (s->best)
        plan->scores = device_buffer(
            d, (size_t)(plan->shape.scopes * plan->shape.q_blocks * plan->shape.k_blocks) * sizeof(float), NULL);
    problem->pattern = clattn_both(problem->pattern, clattn_selected(&s->select, CLATTN_BOTTOM_RIGHT));
    problem->list = plan->shape;
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
static void score_blocks(const struct selection *s, const struct selection_plan *plan, const struct device *d,
                         const clattn_io *io, int64_t n_rows, int64_t n_keys)
{
    const clattn_list *shape = &plan->shape;
    size_t size[] = {(size_t)shape->k_blocks, (size_t)shape->q_blocks, (size_t)shape->scopes};
    cl_int2 rows = {{(cl_int)n_rows, shape->block_q}}, keys = {{(cl_int)n_keys, shape->block_k}};
    cl_int4 heads = {{HEADS / (cl_int)shape->scopes, HEADS / KV_HEADS, HEAD_DIM}};
    cl_int4 near = {{s->prefix, (cl_int)s->select.sink, (cl_int)s->select.window}};
    device_launch(d, BLOCK_SCORES, size, NULL,
                  ARGUMENTS(ARGUMENT(io->q), ARGUMENT(io->k), ARGUMENT(plan->scores), ARGUMENT(rows),
                            ARGUMENT(keys), ARGUMENT(s->cache), ARGUMENT(heads), ARGUMENT(near)));
}

cl_mem selection_enqueue(const struct selection *s, struct selection_plan *plan, const struct device *d, int layer,
                         const clattn_io *attention, int64_t rows, int64_t keys)
{
    clattn_select_io io = CLATTN_SELECT_IO_INIT;
    io.q = attention->q;
    io.k = attention->k;
    io.key_lengths = attention->key_lengths;
    io.bounds = s->bounds[layer];
    io.scores = plan->scores;
    io.list = plan->lists[layer];
    if (io.bounds) /* the cache grew by these rows, whether or not a list is made now */
        check(d, clattn_enqueue_bounds(plan->plan, d->queue, &io, keys - rows, rows, 0, NULL, NULL));
    if (rows == 1 && plan->ages[layer]++ % s->refresh)
        return io.list;
    if (s->best)
        score_blocks(s, plan, d, attention, rows, keys);
    check(d, clattn_enqueue_select(plan->plan, d->queue, &io, 0, NULL, NULL));
    return io.list;
}
