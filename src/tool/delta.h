/* SPDX-License-Identifier: MIT
 * delta.h - the option --delta: the correction of clattn/delta.h on a workload. */
#ifndef TOOL_DELTA_H
#define TOOL_DELTA_H

#include "tool/tool.h"

/* What a correction cost, and what came of it. */
struct delta {
    int64_t rows;                   /* dense ones of each head; 0: nothing was corrected */
    double anchor_seconds, seconds; /* of these rows, of adding what they differ by; the best of three each */
    double before, after;           /* |o - dense| / |dense| of some rows, by the double reference */
};
/* Corrects w->o, pruned attention, by every n-th row of the dense workload on the same tensors.  On failure a
 * sentence in why, if it is not the context's. */
clattn_status apply_delta(clattn_context *ctx, struct workload *w, const struct workload *dense,
                          int64_t every, struct delta *delta, char why[512]);

#endif
