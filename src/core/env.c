/* SPDX-License-Identifier: MIT
 * env.c - the only reader of the environment; a privileged program sees none of it. */
#include "core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A path from the root that does not climb, else NULL. */
static const char *absolute(const char *path)
{
    size_t n = path ? strlen(path) : 0;
    bool climbs = n > 0 && (strstr(path, "/../") || (n >= 3 && !strcmp(path + n - 3, "/..")));
    return n > 0 && path[0] == '/' && !climbs ? path : NULL;
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

bool clattn__env_wants_tuning(void)
{
    const char *own = secure_getenv("CLATTN_TUNING");
    return !own || own[0];
}

const char *clattn__env_tuning_file(char *buffer, size_t size)
{
    const char *own = secure_getenv("CLATTN_TUNING");
    const char *xdg = absolute(secure_getenv("XDG_CONFIG_HOME")), *home = absolute(secure_getenv("HOME"));
    int n = 0;
    if (own)
        n = absolute(own) ? snprintf(buffer, size, "%s", own) : 0;
    else if (xdg)
        n = snprintf(buffer, size, "%s/clattn/tuning", xdg);
    else if (home)
        n = snprintf(buffer, size, "%s/.config/clattn/tuning", home);
    return n > 0 && (size_t)n < size ? buffer : NULL;
}
