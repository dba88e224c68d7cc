/* SPDX-License-Identifier: MIT
 * text.c - find a kernel text: a developer's override folder first, else what was built in. */
#include "core/core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TEXT_BYTES (4 << 20)

char *clattn__read_text(int fd)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (st.st_mode & S_IWOTH) || st.st_size > MAX_TEXT_BYTES)
        return NULL;
    size_t size = (size_t)st.st_size, used = 0;
    char *text = malloc(size + 1);
    while (text && used < size) {
        ssize_t n = read(fd, text + used, size - used);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    if (text)
        text[used] = 0;
    if (text && strlen(text) < size) { /* cut short, or no text */
        free(text);
        return NULL;
    }
    return text;
}

static clattn_status read_override(clattn_context *ctx, const char *directory, const char *name, char **text)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s.cl", directory, name);
    *text = NULL;
    if (n < 0 || (size_t)n >= sizeof path)
        return clattn__fail(ctx, CLATTN_KERNEL_TEXT, CL_SUCCESS, "CLATTN_KERNEL_DIR is too long");
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return CLATTN_OK; /* not overridden */
    if (fd >= 0) {
        *text = clattn__read_text(fd);
        close(fd);
    }
    if (*text)
        return CLATTN_OK;
    return clattn__fail(ctx, CLATTN_KERNEL_TEXT, CL_SUCCESS,
                        "%s must be a readable plain file, 4 MiB at most, no link, not writable by all",
                        path);
}

clattn_status clattn__kernel_text(clattn_context *ctx, const char *name, const char **text, char **owned)
{
    const char *directory = clattn__env_kernel_directory();
    *owned = NULL;
    if (directory) {
        clattn_status status = read_override(ctx, directory, name, owned);
        if (status)
            return status;
        if (*owned) {
            clattn__log(ctx, "program %s: text from %s", name, directory);
            *text = *owned;
            return CLATTN_OK;
        }
    }
    for (size_t i = 0; clattn__kernel_texts[i].name; i++)
        if (!strcmp(clattn__kernel_texts[i].name, name)) {
            *text = clattn__kernel_texts[i].text;
            return CLATTN_OK;
        }
    return clattn__fail(ctx, CLATTN_KERNEL_TEXT, CL_SUCCESS, "'%s' is not built in", name);
}
