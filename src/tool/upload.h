/* SPDX-License-Identifier: MIT
 * upload.h - a workload's tensors in buffers of a device, as an enqueue takes them. */
#ifndef UPLOAD_H
#define UPLOAD_H

#include "tool/workload.h"

struct upload {
    clattn_io io;
    cl_mem mems[11 + CLATTN_MAX_ARRAYS]; /* all that io names */
    int n_mems;
};

/* *u is to be released, whatever comes of it. */
clattn_status upload_workload(struct upload *u, clattn_context *ctx, const struct workload *w);
void upload_release(struct upload *u);

#endif
