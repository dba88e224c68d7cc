/* SPDX-License-Identifier: MIT
 * parts.c - the queue is in order, so a marker ends when all before it has ended.  On a driver that does not
 * time markers (rusticl) all parts take 0. */
#include "parts.h"

void parts_mark(struct parts *p, enum part part)
{
    if (p->n == MOST_MARKS)
        stop("more marks than a pass has parts");
    p->of[p->n] = part;
    check_cl(clEnqueueMarkerWithWaitList(p->queue, 0, NULL, &p->marks[p->n]), "clEnqueueMarkerWithWaitList");
    p->n++;
}

void parts_collect(struct parts *p)
{
    cl_ulong before = 0, now = 0;
    check_cl(clFinish(p->queue), "clFinish");
    for (int i = 0; i < p->n; i++) {
        check_cl(clGetEventProfilingInfo(p->marks[i], CL_PROFILING_COMMAND_END, sizeof now, &now, NULL),
                 "clGetEventProfilingInfo");
        if (p->of[i] != PART_BEGIN)
            p->seconds[p->of[i]] += 1e-9 * (double)(now - before);
        before = now;
        clReleaseEvent(p->marks[i]);
    }
    p->n = 0;
}
