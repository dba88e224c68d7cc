/* SPDX-License-Identifier: MIT
 * dense_below.c - from how many keys on a selection pays, as measured (doc/pruning.md): so many times the
 * tokens that a row reads, and no fewer than launches of their own are worth. */
#include "select/select.h"

#define FEW_ROWS 16 /* a step of decoding, also of some drafted tokens */

struct crossover {
    int64_t times, least;
};

/* Of few rows, with a search at each step, and of many.  STAGED, of few: as its stages are kept for later
 * steps, or not. */
static const struct crossover few[] =
    {
        [CLATTN_TREE] = {12, 8192},     [CLATTN_STAGED] = {20, 65536},       [CLATTN_MINMAX] = {2, 8192},
        [CLATTN_POOL_MEAN] = {2, 8192}, [CLATTN_EXTERNAL_SCORE] = {2, 8192}, [CLATTN_EXTERNAL_LIST] = {2, 0},
        [CLATTN_STREAMING] = {2, 0},
},
                              few_kept = {5, 16384};
static const struct crossover many[] = {
    [CLATTN_TREE] = {6, 0},      [CLATTN_STAGED] = {6, 0},         [CLATTN_MINMAX] = {3, 0},
    [CLATTN_POOL_MEAN] = {3, 0}, [CLATTN_EXTERNAL_SCORE] = {3, 0}, [CLATTN_EXTERNAL_LIST] = {2, 0},
    [CLATTN_STREAMING] = {2, 0},
};

clattn_status clattn_select_dense_below(const clattn_select *s, const clattn_attention *problem,
                                        int64_t *tokens)
{
    if (!tokens)
        return CLATTN_NULL_ARGUMENT;
    clattn_status status = clattn_select_check(s, problem, NULL, 0);
    if (status)
        return status;
    const bool kept = s->method == CLATTN_STAGED && s->flags & CLATTN_KEEP_STAGES;
    const struct crossover at = problem->q_len > FEW_ROWS ? many[s->method]
                                : kept                    ? few_kept
                                                          : few[s->method];
    const int64_t read = at.times * (s->budget + s->sink + s->window);
    *tokens = read > at.least ? read : at.least;
    return CLATTN_OK;
}
