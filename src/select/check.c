/* SPDX-License-Identifier: MIT
 * check.c - a caller's selection: every field is checked here, and nowhere else. */
#include "select/select.h"

#include <float.h>

#define MAX_TOKENS ((int64_t)1 << 30)

static clattn_status check_choices(const clattn_select *s, char *text, size_t size)
{
    const uint32_t searches = CLATTN_PLAIN_SEARCH | CLATTN_MATRIX_SEARCH;
    if (s->flags & ~(CLATTN_COUNT_PROBES | CLATTN_KEEP_STAGES | CLATTN_GROW_WINDOW | CLATTN_CERTIFY |
                     CLATTN_BUDGET_EACH | searches))
        return clattn__refuse(text, size, CLATTN_BAD_FLAGS, "flags is 0x%x", (unsigned)s->flags);
    if (s->method < CLATTN_TREE || s->method > CLATTN_STREAMING)
        return clattn__refuse(text, size, CLATTN_BAD_SELECTOR, "method is %d", (int)s->method);
    if (s->scope < CLATTN_SCOPE_HEAD || s->scope > CLATTN_SCOPE_ALL)
        return clattn__refuse(text, size, CLATTN_BAD_SELECTOR, "scope is %d", (int)s->scope);
    if (s->representative < CLATTN_CENTER || s->representative > CLATTN_LAST)
        return clattn__refuse(text, size, CLATTN_BAD_SELECTOR, "representative is %d",
                              (int)s->representative);
    if (s->flags & CLATTN_CERTIFY && s->method != CLATTN_MINMAX)
        return clattn__refuse(text, size, CLATTN_BAD_FLAGS,
                              "a certificate needs bounds of all blocks; of the methods MINMAX has them");
    if (s->flags & CLATTN_BUDGET_EACH && s->method >= CLATTN_EXTERNAL_LIST)
        return clattn__refuse(
            text, size, CLATTN_BAD_FLAGS,
            "budgets of scopes go with methods that score; a given or empty list is as it is");
    if (s->rows < CLATTN_ROWS_LAST || s->rows > CLATTN_ROWS_MEAN)
        return clattn__refuse(text, size, CLATTN_BAD_SELECTOR, "rows is %d", (int)s->rows);
    if (s->rows && s->method > CLATTN_POOL_MEAN)
        return clattn__refuse(
            text, size, CLATTN_BAD_SELECTOR,
            "rows are averaged, and method %d asks none; TREE, STAGED, MINMAX and POOL_MEAN do",
            (int)s->method);
    if (s->rows && s->flags & CLATTN_CERTIFY)
        return clattn__refuse(text, size, CLATTN_BAD_FLAGS,
                              "a certificate is of rows as they are, and these are averaged");
    if (s->flags & searches && s->method != CLATTN_TREE && s->method != CLATTN_STAGED)
        return clattn__refuse(text, size, CLATTN_BAD_FLAGS,
                              "flags say how to search, and method %d does not; TREE and STAGED do",
                              (int)s->method);
    if ((s->flags & searches) == searches)
        return clattn__refuse(text, size, CLATTN_BAD_FLAGS,
                              "flags ask for the plain search and for the matrix engines'");
    return CLATTN_OK;
}

/* How long lists are: what the method does not compute cannot say it. */
static clattn_status check_budget(const clattn_select *s, char *text, size_t size)
{
    static const char *const names[] = {"TOP_K", "MASS", "MARGIN", "RATIO"};
    const int32_t mode = s->budget_mode, method = s->method;
    const bool each =
        method == CLATTN_MINMAX || method == CLATTN_POOL_MEAN || method == CLATTN_EXTERNAL_SCORE;
    const double most = mode == CLATTN_TOP_K ? 0 : mode == CLATTN_MARGIN ? DBL_MAX : 1;
    const bool above_0 = mode == CLATTN_MASS || mode == CLATTN_RATIO;
    if (mode < CLATTN_TOP_K || mode > CLATTN_RATIO)
        return clattn__refuse(text, size, CLATTN_BAD_SELECTOR, "budget_mode is %d", (int)mode);
    if ((mode == CLATTN_MASS || mode == CLATTN_MARGIN) && !each)
        return clattn__refuse(
            text, size, CLATTN_BAD_COUNT,
            "the budget %s asks the score of every candidate: MINMAX, POOL_MEAN and EXTERNAL_SCORE have them",
            names[mode]);
    if (mode == CLATTN_RATIO && method >= CLATTN_EXTERNAL_LIST)
        return clattn__refuse(
            text, size, CLATTN_BAD_COUNT,
            "the budget RATIO goes with methods that score; a given or empty list is as it is");
    if (!(s->budget_value >= 0 && s->budget_value <= most) || (above_0 && s->budget_value == 0))
        return clattn__refuse(text, size, CLATTN_BAD_COUNT, "budget_value is %g; with the budget %s %s",
                              s->budget_value, names[mode],
                              mode == CLATTN_TOP_K    ? "it is 0"
                              : mode == CLATTN_MARGIN ? "it is 0 or more, and finite"
                                                      : "it is above 0, and 1 at most");
    if (s->rope < CLATTN_ROPE_NONE || s->rope > CLATTN_ROPE_INFLLM)
        return clattn__refuse(text, size, CLATTN_BAD_SELECTOR, "rope is %d", (int)s->rope);
    if (s->rope && s->method > (s->rope == CLATTN_ROPE_INFLLM ? CLATTN_POOL_MEAN : CLATTN_STAGED))
        return clattn__refuse(text, size, CLATTN_BAD_SELECTOR, "rope is %d, which method %d cannot",
                              (int)s->rope, (int)s->method);
    return CLATTN_OK;
}

static clattn_status check_block(const char *name, int32_t block, int32_t stride, char *text, size_t size)
{
    if (block < 1 || block > CLATTN_MAX_BLOCK)
        return clattn__refuse(text, size, CLATTN_BAD_BLOCK, "block_%s is %d; 1 to %d are possible", name,
                              (int)block, CLATTN_MAX_BLOCK);
    if (stride < 1 || stride > block)
        return clattn__refuse(text, size, CLATTN_BAD_BLOCK, "stride_%s is %d, and block_%s is %d", name,
                              (int)stride, name, (int)block);
    return CLATTN_OK;
}

static clattn_status check_counts(const clattn_select *s, char *text, size_t size)
{
    const struct {
        const char *name;
        int64_t value, least, most;
    } counts[] = {
        {"budget", s->budget, s->method != CLATTN_STREAMING, s->method == CLATTN_STREAMING ? 0 : MAX_TOKENS},
        {"sink", s->sink, 0, MAX_TOKENS},
        {"window", s->window, 0, MAX_TOKENS},
        {"dense_below", s->dense_below, 0, MAX_TOKENS},
        {"n_stages", s->n_stages, s->method == CLATTN_STAGED,
         s->method == CLATTN_STAGED ? CLATTN_MAX_STAGES : 0},
    };
    for (size_t i = 0; i < CLATTN__LEN(counts); i++)
        if (counts[i].value < counts[i].least || counts[i].value > counts[i].most)
            return clattn__refuse(text, size, CLATTN_BAD_COUNT,
                                  "%s is %lld; with this method %lld to %lld are possible", counts[i].name,
                                  (long long)counts[i].value, (long long)counts[i].least,
                                  (long long)counts[i].most);
    return CLATTN_OK;
}

/* Chunks and what they keep fall from stage to stage, so that a kept chunk is cut without a rest. */
static clattn_status check_stages(const clattn_select *s, char *text, size_t size)
{
    int64_t chunk = MAX_TOKENS, keep = MAX_TOKENS;
    for (int i = 0; i < s->n_stages; i++) {
        const clattn_stage *stage = &s->stages[i];
        if (stage->chunk < 1 || stage->chunk > chunk || (i > 0 && chunk % stage->chunk))
            return clattn__refuse(text, size, CLATTN_BAD_BLOCK,
                                  "stages[%d].chunk is %lld; it must divide the one before", i,
                                  (long long)stage->chunk);
        if (stage->keep < 1 || stage->keep > keep || stage->keep % stage->chunk)
            return clattn__refuse(
                text, size, CLATTN_BAD_BLOCK,
                "stages[%d].keep is %lld; it must be a multiple of the chunk, %lld, and no more than before",
                i, (long long)stage->keep, (long long)stage->chunk);
        chunk = stage->chunk;
        keep = stage->keep;
    }
    if (s->n_stages > 0 && (chunk != s->block_k || keep != s->budget))
        return clattn__refuse(
            text, size, CLATTN_BAD_BLOCK,
            "the last stage has chunks of %lld and keeps %lld; block_k is %d and budget %lld",
            (long long)chunk, (long long)keep, (int)s->block_k, (long long)s->budget);
    return CLATTN_OK;
}

/* Chunks of a stage, or halves of a round, at most. */
static int64_t most_chunks(const clattn_select *s, const clattn_attention *problem)
{
    int64_t most = 2 * clattn__ceil_div(s->budget, s->block_k);
    if (s->n_stages > 0)
        most =
            clattn__ceil_div(clattn__ceil_div(problem->kv_len, s->block_k) * s->block_k, s->stages[0].chunk);
    for (int i = 1; i < s->n_stages; i++)
        if (s->stages[i - 1].keep / s->stages[i].chunk > most)
            most = s->stages[i - 1].keep / s->stages[i].chunk;
    return most;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t clattn__extended_keys(const clattn_select *s, const clattn_attention *problem)
{
    const int64_t listed = clattn__ceil_div(s->budget, s->block_k) * s->block_k;
    const int64_t rows = s->block_q < problem->q_len ? s->block_q : most(problem->q_len, 1);
    const int64_t keys = most(s->sink + listed + s->window + rows - 1, s->dense_below - 1);
    return keys < problem->kv_len ? keys : problem->kv_len;
}

static clattn_status check_extend(const clattn_select *s, char *text, size_t size)
{
    const int64_t least = s->extend < CLATTN_EXTEND_SELF    ? 0
                          : s->extend == CLATTN_EXTEND_SELF ? 1
                                                            : 4 * (int64_t)s->block_q;
    if (s->extend < CLATTN_EXTEND_NONE || s->extend > CLATTN_EXTEND_DYNAMIC)
        return clattn__refuse(text, size, CLATTN_BAD_SELECTOR, "extend is %d", (int)s->extend);
    if (s->extend_length < least || s->extend_length > (least ? MAX_TOKENS : 0))
        return clattn__refuse(text, size, CLATTN_BAD_COUNT,
                              "extend_length is %lld; SELF takes 1 or more, DYNAMIC four blocks of queries "
                              "or more, others 0",
                              (long long)s->extend_length);
    if (s->extend == CLATTN_EXTEND_SELF ? s->extend_share < 1 : s->extend_share != 0)
        return clattn__refuse(text, size, CLATTN_BAD_COUNT,
                              "extend_share is %d; SELF takes 1 or more, others 0", (int)s->extend_share);
    return CLATTN_OK;
}

/* Positions that a search asks of the tables. */
static int64_t searched_positions(const clattn_select *s, const clattn_attention *problem)
{
    return s->rope == CLATTN_ROPE_NONE       ? 0
           : s->rope == CLATTN_ROPE_RELATIVE ? s->window + 2
           : s->rope == CLATTN_ROPE_INFLLM   ? s->window + 1
                                             : most_chunks(s, problem) + s->window + 1;
}

/* Positions that attention asks: one more than the longest distance. */
static int64_t extended_positions(const clattn_select *s, const clattn_attention *problem)
{
    const int64_t keys = most(problem->kv_len, 1),
                  near = s->extend_length < keys ? s->extend_length : keys - 1;
    return s->extend == CLATTN_EXTEND_NONE        ? 0
           : s->extend == CLATTN_EXTEND_STREAMING ? most(clattn__extended_keys(s, problem), 1)
           : s->extend == CLATTN_EXTEND_SELF
               ? most(near, clattn__ceil_div(keys, s->extend_share) + s->block_q - 1) + 1
               : near + 1;
}

/* Tables have every position that may be asked of them. */
static clattn_status check_rope(const clattn_select *s, const clattn_attention *problem, char *text,
                                size_t size)
{
    const bool turns = s->rope || s->extend;
    const int64_t least = most(searched_positions(s, problem), extended_positions(s, problem));
    if (s->rope_positions < least || s->rope_positions > (turns ? MAX_TOKENS : 0))
        return clattn__refuse(
            text, size, CLATTN_BAD_COUNT,
            "rope_positions is %lld; with rope %d and extend %d it is %lld or more, without either 0",
            (long long)s->rope_positions, (int)s->rope, (int)s->extend, (long long)least);
    if (turns && problem->dim % 2)
        return clattn__refuse(text, size, CLATTN_BAD_DIM, "dim is %lld; rope turns pairs of columns",
                              (long long)problem->dim);
    return CLATTN_OK;
}

clattn_status clattn_select_check(const clattn_select *s, const clattn_attention *problem, char *text,
                                  size_t size)
{
    if (text && size)
        text[0] = 0;
    if (!s || !problem)
        return clattn__refuse(text, size, CLATTN_NULL_ARGUMENT, "select or problem");
    if (s->size != sizeof *s)
        return clattn__refuse(text, size, CLATTN_BAD_STRUCT_SIZE,
                              "clattn_select.size is %zu, this library's is %zu", s->size, sizeof *s);
    clattn_status status = clattn_attention_check(problem, text, size);
    if (!status)
        status = check_choices(s, text, size);
    if (!status)
        status = check_block("q", s->block_q, s->stride_q, text, size);
    if (!status)
        status = check_block("k", s->block_k, s->stride_k, text, size);
    if (!status)
        status = check_counts(s, text, size);
    if (!status)
        status = check_budget(s, text, size);
    if (!status)
        status = check_stages(s, text, size);
    if (!status)
        status = check_extend(s, text, size);
    if (!status)
        status = check_rope(s, problem, text, size);
    if (!status && (s->window > 0 || s->rope == CLATTN_ROPE_CHUNKS) &&
        problem->pattern.corner == CLATTN_NO_CORNER && problem->q_len != problem->kv_len)
        status =
            clattn__refuse(text, size, CLATTN_BAD_CORNER,
                           "a window, and rope by chunks, speak of positions, and the pattern has no corner");
    return status;
}

clattn_status clattn_select_list(clattn_list *list, const clattn_select *select,
                                 const clattn_attention *problem)
{
    clattn_status status = clattn_select_check(select, problem, NULL, 0);
    if (status)
        return status;
    return clattn_list_fit(list, problem, (clattn_scope)select->scope, select->block_q, select->block_k,
                           clattn__ceil_div(select->budget, select->block_k));
}
