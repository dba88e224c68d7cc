/* SPDX-License-Identifier: MIT
 * env.c - the only reader of the environment; a privileged program sees none of it. */
#include "core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *absolute(const char *path)
{
    return path && path[0] == '/' && !strstr(path, "/../") ? path : NULL;
}

const char *clattn__env_cache_directory(char *buffer, size_t size)
{
    const char *own = secure_getenv("CLATTN_CACHE_DIR");
    const char *xdg = absolute(secure_getenv("XDG_CACHE_HOME")), *home = absolute(secure_getenv("HOME"));
    int n;
    if (own) {
        if (!absolute(own))
            return NULL; /* empty: off; relative: refused */
        n = snprintf(buffer, size, "%s", own);
    } else if (xdg) {
        n = snprintf(buffer, size, "%s/clattn", xdg);
    } else if (home) {
        n = snprintf(buffer, size, "%s/.cache/clattn", home);
    } else {
        return NULL;
    }
    return n > 0 && (size_t)n < size ? buffer : NULL;
}

const char *clattn__env_kernel_directory(void)
{
    return absolute(secure_getenv("CLATTN_KERNEL_DIR"));
}
