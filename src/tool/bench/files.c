/* SPDX-License-Identifier: MIT
 * files.c - the files that clattn bench writes: opened before anything is measured, written after all of it.
 */
#include "tool/bench/bench.h"

#include <errno.h>
#include <string.h>

int open_files(struct bench *b)
{
    for (int i = 0; i < FORMATS; i++)
        if (b->paths[i] && !(b->files[i] = fopen(b->paths[i], "w")))
            return mistake("%s: it cannot be written: %s", b->paths[i], strerror(errno));
    return 0;
}

int write_files(struct bench *b)
{
    static void (*const write[FORMATS])(FILE *, const struct report *) = {write_csv, write_json,
                                                                          write_markdown, write_html};
    int code = 0;
    for (int i = 0; i < FORMATS; i++)
        if (b->files[i]) {
            write[i](b->files[i], &b->report);
            code |= close_written(b->files[i], b->paths[i]);
        }
    return code;
}
