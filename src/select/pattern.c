/* SPDX-License-Identifier: MIT
 * pattern.c - what a selection lets a row see, as a condition of rules. */
#include "select/select.h"

clattn_pattern clattn_selected(const clattn_select *select, clattn_corner corner)
{
    char text[CLATTN_PATTERN_TEXT];
    struct clattn__text out = clattn__text_into(text, sizeof text);
    clattn_pattern failed = {.corner = (int32_t)corner};
    if (!select || select->size != sizeof *select) {
        failed.error = select ? CLATTN_BAD_STRUCT_SIZE : CLATTN_NULL_ARGUMENT;
        return failed;
    }
    if (select->sink < 0 || select->sink > INT32_MAX || select->window < 0 || select->window > INT32_MAX ||
        select->dense_below < 0 || select->dense_below > INT32_MAX) {
        failed.error = CLATTN_BAD_COUNT;
        return failed;
    }
    clattn__text_add(&out, "listed");
    if (select->sink > 0)
        clattn__text_add(&out, " | k < %d", (int)select->sink);
    if (select->flags & CLATTN_GROW_WINDOW) /* on the side it moves from, where a window of 0 grows too */
        clattn__text_add(&out, " | q - k < %d + age[b] & k - q < %d", (int)select->window,
                         (int)(select->window > 0 ? select->window : 1));
    else if (select->window > 0)
        clattn__text_add(&out, " | q - k < %d & k - q < %d", (int)select->window, (int)select->window);
    if (select->dense_below > 0)
        clattn__text_add(&out, " | k_len < %lld", (long long)select->dense_below);
    return clattn_mask(text, corner);
}
