/* SPDX-License-Identifier: MIT
 * delta.h - clattn run --delta: the correction of clattn/delta.h on a workload. */
#ifndef TOOL_DELTA_H
#define TOOL_DELTA_H

#include "tool/tool.h"

/* Corrects w->o, pruned attention, by every n-th row of the dense workload on the same tensors, and prints times and the distance
 * from dense attention, |o - dense| / |dense| of some rows by the double reference. */
clattn_status apply_delta(clattn_context *ctx, struct workload *w, const struct workload *dense, int64_t every);

#endif
