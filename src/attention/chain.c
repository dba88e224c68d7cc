/* SPDX-License-Identifier: MIT
 * chain.c - kernels one after the other in a queue, of which a workspace may be shared by all enqueues of a
 * plan. */
#include "attention/attention.h"

void clattn__chain_follow(struct clattn__chain *c, cl_event next)
{
    if (!next)
        return;
    if (c->last)
        clReleaseEvent(c->last);
    c->last = next;
}

struct clattn__wait clattn__chain_wait(const struct clattn__chain *c)
{
    return c->last ? (struct clattn__wait){1, &c->last} : c->first;
}

/* Wait for the caller's events and for the last user of the plan's own workspace, as one list of two at
 * most. */
static cl_int wait_with_busy(cl_event *busy, cl_command_queue queue, struct clattn__wait *wait,
                             cl_event joined[2])
{
    if (!*busy)
        return CL_SUCCESS;
    cl_int state = CL_COMPLETE;
    cl_int asked = clGetEventInfo(*busy, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    if (asked != CL_SUCCESS)
        return asked;
    if (state < 0) { /* it failed: nobody uses the workspace, and waiting for it would fail this work too */
        clReleaseEvent(*busy);
        *busy = NULL;
        return CL_SUCCESS;
    }
    cl_uint n = 0;
    if (wait->count) {
        cl_int code = clEnqueueMarkerWithWaitList(queue, wait->count, wait->events, &joined[0]);
        if (code != CL_SUCCESS)
            return code;
        n = 1;
    }
    joined[n++] = *busy;
    wait->count = n;
    wait->events = joined;
    return CL_SUCCESS;
}

/* Remember the last user of the plan's own workspace; takes the event over. */
static void keep_busy(cl_event *busy, cl_command_queue queue, cl_event last)
{
    if (*busy)
        clReleaseEvent(*busy);
    *busy = last;
    clFlush(queue); /* other queues' work may wait for it, and OpenCL promises progress only after a flush */
}

cl_int clattn__chain_enqueue(cl_event *busy, cl_command_queue queue, struct clattn__wait wait,
                             cl_event *event, clattn__chain_body *body, void *cookie)
{
    cl_event joined[2] = {NULL, NULL};
    cl_int code = busy ? wait_with_busy(busy, queue, &wait, joined) : CL_SUCCESS;
    struct clattn__chain c = {queue, wait, NULL};
    if (code == CL_SUCCESS)
        code = body(&c, cookie);
    if (joined[0] && joined[0] != (busy ? *busy : NULL))
        clReleaseEvent(joined[0]); /* the marker */
    if (event && code == CL_SUCCESS && busy)
        code = clRetainEvent(c.last); /* one for the caller, one for the plan */
    if (event && code == CL_SUCCESS)
        *event = c.last;
    if (busy && c.last) /* also after a failure: what is on its way still writes the workspace */
        keep_busy(busy, queue, c.last);
    else if (c.last && !(event && code == CL_SUCCESS))
        clReleaseEvent(c.last);
    return code;
}
