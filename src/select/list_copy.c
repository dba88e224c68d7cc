/* SPDX-License-Identifier: MIT
 * list_copy.c - the lists of some batch entries from one buffer to another. */
#include "select/select.h"

/* counts and ids of an entry lie together. */
struct list_copy {
    const clattn_list *list;
    cl_mem from, to;
    const int32_t *marks;
    int32_t mark;
};

static bool is_marked(const struct list_copy *copy, int64_t b)
{
    return !copy->marks || copy->marks[b] == copy->mark;
}

static cl_int copy_part(struct clattn__chain *c, const struct list_copy *copy, int64_t at, int64_t bytes)
{
    const struct clattn__wait wait = clattn__chain_wait(c);
    cl_event next = NULL;
    if (bytes == 0)
        return CL_SUCCESS;
    cl_int code = clEnqueueCopyBuffer(c->queue, copy->from, copy->to, (size_t)at, (size_t)at, (size_t)bytes,
                                      wait.count, wait.count ? wait.events : NULL, &next);
    clattn__chain_follow(c, next);
    return code;
}

/* Of n entries from b on. */
static cl_int copy_entries(struct clattn__chain *c, const struct list_copy *copy, int64_t b, int64_t n)
{
    const clattn_list *l = copy->list;
    const int64_t lists = l->scopes * l->q_blocks;
    cl_int code = copy_part(c, copy, l->counts_at + 4 * b * lists, 4 * n * lists);
    return code == CL_SUCCESS
               ? copy_part(c, copy, l->ids_at + 4 * b * lists * l->capacity, 4 * n * lists * l->capacity)
               : code;
}

/* Marked entries that follow one another at once; a marker where there are none, for the event. */
static cl_int copy_lists(struct clattn__chain *c, void *cookie)
{
    const struct list_copy *copy = cookie;
    const int64_t batch = copy->list->batch;
    cl_int code = CL_SUCCESS;
    for (int64_t b = 0, end; code == CL_SUCCESS && b < batch; b = end) {
        for (end = b; end < batch && is_marked(copy, end); end++)
            ;
        if (end > b)
            code = copy_entries(c, copy, b, end - b);
        else
            end++;
    }
    if (code != CL_SUCCESS || c->last)
        return code;
    return clEnqueueMarkerWithWaitList(c->queue, c->first.count, c->first.count ? c->first.events : NULL,
                                       &c->last);
}

static clattn_status check_buffers(clattn_context *ctx, const struct list_copy *copy)
{
    uint64_t bytes;
    clattn_status status = clattn_list_bytes(copy->list, &bytes);
    if (status)
        return clattn__fail(ctx, status, CL_SUCCESS, "%s", "list");
    const struct clattn__buffer_rule rules[] = {
        {"from", copy->from, 0, (int64_t)bytes, CLATTN_LIST_TOO_SMALL, false},
        {"to", copy->to, 0, (int64_t)bytes, CLATTN_LIST_TOO_SMALL, true}};
    for (size_t i = 0; !status && i < CLATTN__LEN(rules); i++)
        status = clattn__check_buffer(ctx, &rules[i]);
    return status ? status : clattn__check_aliases(ctx, rules, CLATTN__LEN(rules));
}

clattn_status clattn_enqueue_list_copy(clattn_context *ctx, cl_command_queue queue, const clattn_list *list,
                                       cl_mem from, cl_mem to, const int32_t *marks, int32_t mark,
                                       cl_uint n_wait, const cl_event *wait, cl_event *event)
{
    const struct clattn__wait waits = {n_wait, wait};
    struct list_copy copy = {list, from, to, marks, mark};
    clattn_status status = clattn__context_check(ctx);
    if (!status)
        status = check_buffers(ctx, &copy);
    if (!status)
        status = clattn__check_order(ctx, queue, waits);
    if (status)
        return status;
    const cl_int code = clattn__chain_enqueue(NULL, queue, waits, event, copy_lists, &copy);
    return code == CL_SUCCESS ? CLATTN_OK : clattn__fail_cl(ctx, "enqueueing the copy of lists", code);
}
