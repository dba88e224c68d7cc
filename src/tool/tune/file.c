/* SPDX-License-Identifier: MIT
 * file.c - the file of tuning lines: read whole, written whole aside and renamed. */
#include "tool/tune/tune.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_LINE "clattn-tuning 1\n"
#define MOST_BYTES (4 << 20)

/* Two texts as one, malloc'ed; NULL after a sentence. */
static char *join(const char *what, const char *older, const char *newer)
{
    char message[512] = "";
    const size_t size = strlen(older) + (newer ? strlen(newer) : 0) + 1;
    char *merged = malloc(size);
    clattn_status status = merged ? clattn_tuning_merge(older, newer, merged, size, message, sizeof message)
                                  : CLATTN_OUT_OF_HOST_MEMORY;
    if (!status)
        return merged;
    free(merged);
    mistake("%s: %s", what, message[0] ? message : clattn_status_text(status));
    return NULL;
}

static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = malloc(MOST_BYTES + 1);
    size_t n = 0;
    if (!file && errno == ENOENT && text)
        strcpy(text, FIRST_LINE);
    else if (file && text) {
        n = fread(text, 1, MOST_BYTES + 1, file);
        text[n <= MOST_BYTES ? n : 0] = 0;
    }
    bool bad = (!file && errno != ENOENT) || !text || n > MOST_BYTES || (file && ferror(file)),
         zero = !bad && file && strlen(text) < n;
    if (zero)
        mistake("%s: it is no text: there is a zero in it", path);
    else if (bad)
        mistake("%s: it cannot be read, or has more than 4 MiB: %s", path, strerror(errno));
    if (file)
        fclose(file);
    if (!bad && !zero)
        return text;
    free(text);
    return NULL;
}

char *tuning_read(const char *path)
{
    char *text = read_whole(path), *merged = text ? join(path, text, NULL) : NULL;
    free(text);
    return merged;
}

static void make_folders(const char *path)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *p = folder + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(folder, 0755);
            *p = '/';
        }
}

int tuning_write(const char *path, const char *text)
{
    char aside[4096];
    make_folders(path);
    if (snprintf(aside, sizeof aside, "%s.%ld", path, (long)getpid()) >= (int)sizeof aside)
        return mistake("%s: the path is too long", path);
    FILE *file = fopen(aside, "w");
    if (!file)
        return mistake("%s: it cannot be written: %s", aside, strerror(errno));
    fputs(text, file);
    if (close_written(file, aside)) {
        unlink(aside);
        return EXIT_MISTAKE;
    }
    if (rename(aside, path) == 0)
        return 0;
    int code = mistake("%s: it cannot be written: %s", path, strerror(errno));
    unlink(aside);
    return code;
}

int tuning_join(const char *path, char **text, const char *line)
{
    char whole[2048];
    snprintf(whole, sizeof whole, FIRST_LINE "%s\n", line);
    char *disk = tuning_read(path); /* another process may tune too */
    char *all = disk ? join("the lines so far", *text, disk) : NULL,
         *merged = all ? join("a line", all, whole) : NULL;
    free(disk);
    free(all);
    if (!merged)
        return EXIT_MISTAKE;
    free(*text);
    *text = merged;
    return tuning_write(path, merged);
}

int tuning_merge_files(int n, char **paths)
{
    char *all = strdup(FIRST_LINE);
    for (int i = 0; all && i < n; i++) {
        char *next = access(paths[i], R_OK) ? NULL : tuning_read(paths[i]),
             *merged = next ? join(paths[i], all, next) : NULL;
        if (!next && access(paths[i], R_OK))
            mistake("%s: %s", paths[i], strerror(errno));
        free(next);
        free(all);
        all = merged;
    }
    if (!all)
        return EXIT_MISTAKE;
    printf("%s", all);
    free(all);
    return EXIT_GOOD;
}
