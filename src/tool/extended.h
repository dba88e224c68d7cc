/* SPDX-License-Identifier: MIT
 * extended.h - attention of a selection with the word extend (clattn/extend.h) on a workload. */
#ifndef TOOL_EXTENDED_H
#define TOOL_EXTENDED_H

#include "tool/selection.h"

struct extended {
    clattn_extend_plan *plan;
    struct ref_extend reference;  /* what x->w is compared with from then on */
    double plan_seconds, seconds; /* of the best run */
};
/* Attention over the lists of x->w, `times' times; the result to its o and lse.  *e is to be closed, whatever
 * comes of it. */
clattn_status run_extended(const struct selection *x, long long times, struct extended *e);
void close_extended(struct extended *e);

/* Its buffers, for more runs; they are to be closed, whatever comes of it. */
cl_int open_extended_io(const struct selection *x, clattn_extend_io *io);
void close_extended_io(clattn_extend_io *io);

/* For commands that have no part in it: EXIT_MISTAKE after a sentence, if a selection says extend. */
int refuse_extended(const clattn_select *select, const char *command);

#endif
