/* SPDX-License-Identifier: MIT
 * say.c - sentences on stderr. */
#include "tool/tool.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

int mistake(const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "clattn: ");
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\n");
    return EXIT_MISTAKE;
}

int failed(const clattn_context *ctx, clattn_status status, const char *what)
{
    char message[1024] = "";
    if (ctx)
        clattn_context_message(ctx, message, sizeof message);
    return mistake("%s: %s", what, message[0] ? message : clattn_status_text(status));
}

int close_written(FILE *file, const char *path)
{
    bool whole = !ferror(file);
    errno = 0;
    if (fclose(file) || !whole)
        return mistake("%s: it cannot be written: %s", path,
                       errno ? strerror(errno) : "not all of it arrived");
    return 0;
}
