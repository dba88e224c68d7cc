/* SPDX-License-Identifier: MIT
 * parallel.h - work in parts on all cores of the host: tensors are made and results compared so. */
#ifndef PARALLEL_H
#define PARALLEL_H

#include <stdint.h>

/* Calls run(context, part) once for every part from 0 to parts - 1, begun in this order, some at a time, and
 * returns when all are done.  No part may write what another reads or writes. */
void in_parallel(int64_t parts, void (*run)(void *context, int64_t part), void *context);

/* Where a part of n things begins; it ends where the next one begins. */
int64_t part_begin(int64_t n, int64_t parts, int64_t part);

/* Into how many parts to cut n things of `each' operations: one where threads would cost more than they
 * bring, no more than n. */
int64_t parts_worth(int64_t n, double each);

#endif
