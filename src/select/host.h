/* SPDX-License-Identifier: MIT
 * host.h - the tiny problem of a selection's self-test, and its lists by the host. */
#ifndef CLATTN_SELECT_HOST_H
#define CLATTN_SELECT_HOST_H

#include "select/select.h"

#define CLATTN__TINY_BLOCKS 48 /* more than the tiny problem has */

struct clattn__tiny_select {
    clattn_select_plan plan; /* of other sizes, with the kernels of the plan under test */
    int64_t k_len;           /* of its one batch entry */
    const void *zeros[CLATTN_MAX_ARRAYS]; /* arrays that hold 0 */
    float *scores;
    int32_t *given, *budgets; /* budgets: of each scope, in tokens */
};
double clattn__tiny_value(int of_k, int64_t index); /* element of q or k: -2 to 2 */
int64_t clattn__tiny_list(const struct clattn__tiny_select *t, int64_t scope, int64_t block, int32_t *ids,
                          int64_t *proved);
#define CLATTN__TINY_POSITIONS 256 /* rows of its tables of cosines and sines, more than are asked for */
double clattn__tiny_turn(bool sine, int64_t position, int64_t pair); /* of quarter turns: -1, 0 or 1 */

#endif
