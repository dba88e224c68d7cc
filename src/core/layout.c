/* SPDX-License-Identifier: MIT
 * layout.c - where a tensor's elements lie, and whether they fit and are apart:
 *
 *     element [b][head][token][d] at offset + b * batch + head * head_stride + token * token_stride + d */
#include "core/core.h"

#define MAX_BYTES ((int64_t)1 << 62)

int clattn__type_bytes(int32_t type)
{
    return type == CLATTN_F32 ? 4 : type == CLATTN_F16 || type == CLATTN_BF16 ? 2 : 0;
}

const char *clattn__type_name(int32_t type)
{
    return type == CLATTN_F32 ? "f32" : type == CLATTN_F16 ? "f16" : type == CLATTN_BF16 ? "bf16" : "unknown";
}

bool clattn__layout_resolve(clattn_layout *layout, const struct clattn__shape *shape)
{
    int64_t head = 0, batch = 0;
    bool head_fits = clattn__mul(shape->tokens, shape->width, &head);
    bool batch_fits = head_fits && clattn__mul(shape->heads, head, &batch);
    if ((layout->head == CLATTN_DENSE && !head_fits) || (layout->batch == CLATTN_DENSE && !batch_fits))
        return false;
    if (layout->token == CLATTN_DENSE)
        layout->token = shape->width;
    if (layout->head == CLATTN_DENSE)
        layout->head = head;
    if (layout->batch == CLATTN_DENSE)
        layout->batch = batch;
    return true;
}

bool clattn__layout_extent(const clattn_layout *layout, const struct clattn__shape *shape, int type_bytes,
                           int64_t *extent)
{
    const int64_t counts[] = {shape->batch, shape->heads, shape->tokens};
    const int64_t strides[] = {layout->batch, layout->head, layout->token};
    *extent = 0;
    if (shape->batch == 0 || shape->heads == 0 || shape->tokens == 0 || shape->width == 0)
        return true;
    int64_t last = layout->offset, step, bytes;
    for (int i = 0; i < 3; i++)
        if (!clattn__mul(counts[i] - 1, strides[i], &step) || !clattn__add(last, step, &last))
            return false;
    if (!clattn__add(last, shape->width, &last) || !clattn__mul(last, type_bytes, &bytes) ||
        bytes > MAX_BYTES)
        return false;
    *extent = last;
    return true;
}

/* Apart if, from the smallest stride to the largest, each stride clears all that lies inside it. */
bool clattn__layout_disjoint(const clattn_layout *layout, const struct clattn__shape *shape)
{
    struct {
        int64_t count, stride;
    } axes[] = {{shape->batch, layout->batch}, {shape->heads, layout->head}, {shape->tokens, layout->token}};
    for (int i = 0; i < 3; i++) /* three axes: sort by stride in place */
        for (int j = i + 1; j < 3; j++)
            if (axes[j].stride < axes[i].stride) {
                int64_t count = axes[i].count, stride = axes[i].stride;
                axes[i] = axes[j];
                axes[j].count = count;
                axes[j].stride = stride;
            }
    int64_t inside = shape->width, step;
    if (shape->batch == 0 || shape->heads == 0 || shape->tokens == 0 || shape->width == 0)
        return true;
    for (int i = 0; i < 3; i++) {
        if (axes[i].count <= 1)
            continue;
        if (axes[i].stride < inside)
            return false;
        if (!clattn__mul(axes[i].count - 1, axes[i].stride, &step) || !clattn__add(inside, step, &inside))
            return false;
    }
    return true;
}
