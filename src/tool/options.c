/* SPDX-License-Identifier: MIT
 * options.c - a problem from the command line: its text, and what the problem language cannot say. */
#include "tool/tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int read_count(const char *text, long long least, long long *value)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    if (errno || end == text || *end || *value < least)
        return mistake("'%s' is not a whole number of %lld or more", text, least);
    return 0;
}

/* Splits "NAME=REST"; returns REST, or NULL. */
static const char *split_name(const char *text, char name[CLATTN_NAME_SIZE])
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || (size_t)(equals - text) >= CLATTN_NAME_SIZE)
        return NULL;
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = 0;
    return equals + 1;
}

static int read_names(clattn_attention *problem, const struct problem_options *options)
{
    for (int i = 0; i < options->n_scalars; i++) {
        long long value;
        const char *rest = split_name(options->scalars[i], problem->scalars[i].name);
        if (!rest)
            return mistake("--scalar '%s' is not NAME=VALUE with a name of 15 letters at most", options->scalars[i]);
        if (read_count(rest, INT32_MIN, &value))
            return EXIT_MISTAKE;
        if (value > INT32_MAX)
            return mistake("--scalar '%s' does not fit 32 bits", options->scalars[i]);
        problem->scalars[i].value = (int32_t)value;
    }
    problem->n_scalars = options->n_scalars;
    for (int i = 0; i < options->n_arrays; i++) {
        if (!split_name(options->arrays[i], problem->arrays[i].name))
            return mistake("--array '%s' is not NAME=FILE.npy with a name of 15 letters at most", options->arrays[i]);
        problem->arrays[i].count = problem->batch > 0 ? problem->batch : 1;
    }
    problem->n_arrays = options->n_arrays;
    return 0;
}

int read_problem(clattn_attention *problem, const char *text, const struct problem_options *options)
{
    static const clattn_attention init = CLATTN_ATTENTION_INIT;
    char message[1024];
    *problem = init;
    clattn_status status = clattn_problem_parse(problem, text, message, sizeof message);
    if (status)
        return mistake("problem '%s': %s", text, message);
    if (read_names(problem, options))
        return EXIT_MISTAKE;
    if (options->mask) {
        clattn_corner corner = CLATTN_NO_CORNER;
        if (options->corner && !strcmp(options->corner, "tl"))
            corner = CLATTN_TOP_LEFT;
        else if (options->corner && !strcmp(options->corner, "br"))
            corner = CLATTN_BOTTOM_RIGHT;
        else if (options->corner)
            return mistake("--corner takes tl or br");
        problem->pattern = clattn_both(problem->pattern, clattn_mask(options->mask, corner));
    }
    if (options->engine) {
        if (strlen(options->engine) >= sizeof problem->engine)
            return mistake("--engine '%s' is not an engine; clattn devices lists them", options->engine);
        strcpy(problem->engine, options->engine);
    }
    status = clattn_attention_check(problem, message, sizeof message);
    return status ? mistake("problem '%s': %s", text, message) : 0;
}
