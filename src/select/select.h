/* SPDX-License-Identifier: MIT
 * select.h - what the files of the select room share. */
#ifndef CLATTN_SELECT_ROOM_H
#define CLATTN_SELECT_ROOM_H

#include "core/core.h"

/* Write a status's sentence with details into text, if there is one, and return the status. */
clattn_status clattn__refuse(char *text, size_t size, clattn_status status, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Where each part of a list lies, in int32s of its buffer. */
struct clattn__list_places {
    int64_t lists; /* batch * scopes * q_blocks */
    int64_t counts, ids;
    int64_t end; /* of all */
};
clattn_status clattn__list_places(const clattn_list *list, struct clattn__list_places *places, char *text, size_t size);

#endif
