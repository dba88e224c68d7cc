/* SPDX-License-Identifier: MIT
 * status.c - names and sentences of the status codes, from the one list. */
#include "core/core.h"

static const struct {
    int code;
    const char *name, *text;
} statuses[] = {
#define STATUS_ROW(name, code, sentence) {code, "CLATTN_" #name, sentence},
    CLATTN_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

const char *clattn_status_name(clattn_status status)
{
    for (size_t i = 0; i < CLATTN__LEN(statuses); i++)
        if (statuses[i].code == (int)status)
            return statuses[i].name;
    return "CLATTN_UNKNOWN";
}

const char *clattn_status_text(clattn_status status)
{
    for (size_t i = 0; i < CLATTN__LEN(statuses); i++)
        if (statuses[i].code == (int)status)
            return statuses[i].text;
    return "not a status of this library";
}
