/* SPDX-License-Identifier: MIT
 * parts.h - where the device's time goes: marks in the queue, read when the work is done. */
#ifndef BYTELM_PARTS_H
#define BYTELM_PARTS_H

#include "device.h"

enum part { PART_BEGIN, PART_SMALL, PART_PRODUCTS, PART_SELECTION, PART_ATTENTION, N_PARTS };

enum { MOST_MARKS = 128 }; /* between two calls of parts_collect */
struct parts {
    cl_command_queue queue;
    double seconds[N_PARTS];
    int n;
    cl_event marks[MOST_MARKS];
    enum part of[MOST_MARKS];
};

/* What was enqueued since the mark before belongs to this part; after PART_BEGIN nothing was. */
void parts_mark(struct parts *p, enum part part);
/* Wait, and add up the times between the marks. */
void parts_collect(struct parts *p);

#endif
