/* SPDX-License-Identifier: MIT
 * version.c - the version of the library. */
#include "core/core.h"

const char *clattn_version(void)
{
    return CLATTN_VERSION;
}
