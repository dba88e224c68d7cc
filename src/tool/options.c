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

int read_count(const char *option, const char *text, long long least, long long *value)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    if (errno || end == text || *end || *value < least)
        return mistake("%s '%s' is not a whole number of %lld or more", option, text, least);
    return 0;
}

/* ---- the options themselves ---- */
/* What getopt_long did not take: it says '?' for all three. */
static void explain_option(const char *command, const char *given, const struct option *options)
{
    size_t n = strcspn(given, "="), matches = 0;
    for (int i = 0; !strncmp(given, "--", 2) && options[i].name; i++)
        matches += !strncmp(options[i].name, given + 2, n - 2);
    if (matches == 0)
        mistake("'%s' is not an option of `clattn %s'; `clattn %s --help' lists them", given, command,
                command);
    else if (matches == 1)
        mistake("%.*s takes no value, and '%s' is given", (int)n, given, given + n + (given[n] == '='));
    else
        mistake("'%s' begins several options of `clattn %s'; write it out", given, command);
}

int next_option(int argc, char **argv, const struct option *options)
{
    int before = optind;
    opterr = 0; /* getopt's own sentences do not say what would be right */
    int c = getopt_long(argc, argv, ":", options, NULL);
    if (c == ':')
        mistake("%s needs a value; `clattn %s --help' says which", argv[optind - 1], argv[0]);
    if (c == '?')
        explain_option(argv[0], argv[optind > before ? optind - 1 : optind], options);
    return c == ':' ? '?' : c;
}

static int add_name(const char **list, int *count, int most, const char *option)
{
    if (*count == most)
        return mistake("%s may be given %d times at most", option, most);
    list[(*count)++] = optarg;
    return 0;
}

int take_problem_option(struct problem_options *o, int option)
{
    switch (option) {
    case OPTION_ENGINE: o->engine = optarg; return 0;
    case OPTION_MASK: o->mask = optarg; return 0;
    case OPTION_CORNER: o->corner = optarg; return 0;
    case OPTION_SCALAR: return add_name(o->scalars, &o->n_scalars, CLATTN_MAX_SCALARS, "--scalar");
    case OPTION_ARRAY: return add_name(o->arrays, &o->n_arrays, CLATTN_MAX_ARRAYS, "--array");
    default: return EXIT_MISTAKE; /* '?': next_option has said it */
    }
}

bool options_need_problem(const struct problem_options *o)
{
    return o->mask || o->corner || o->n_scalars || o->n_arrays;
}

static void print_option(FILE *to, const char *name, const char *value)
{
    fprintf(to, " %s '", name);
    for (; *value; value++)
        if (*value == '\'')
            fputs("'\\''", to);
        else
            fputc(*value, to);
    fputc('\'', to);
}

void print_problem_options(FILE *to, const struct problem_options *o)
{
    if (o->engine)
        print_option(to, "--engine", o->engine);
    if (o->mask)
        print_option(to, "--mask", o->mask);
    if (o->corner)
        print_option(to, "--corner", o->corner);
    for (int i = 0; i < o->n_scalars; i++)
        print_option(to, "--scalar", o->scalars[i]);
    for (int i = 0; i < o->n_arrays; i++)
        print_option(to, "--array", o->arrays[i]);
}

/* ---- from options to a problem ---- */
/* Splits "NAME=REST"; returns REST, "" where there is no '=', or NULL if the name is too long or empty. */
static const char *split_name(const char *text, char name[CLATTN_NAME_SIZE])
{
    size_t n = strcspn(text, "=");
    if (n == 0 || n >= CLATTN_NAME_SIZE)
        return NULL;
    memcpy(name, text, n);
    name[n] = 0;
    return text + n + (text[n] == '=');
}

static int read_scalar(clattn_scalar *scalar, const char *text)
{
    long long value;
    const char *rest = split_name(text, scalar->name);
    if (!rest || !strchr(text, '='))
        return mistake("--scalar '%s' is not NAME=VALUE with a name of 15 letters at most", text);
    if (read_count("--scalar", rest, INT32_MIN, &value))
        return EXIT_MISTAKE;
    if (value > INT32_MAX)
        return mistake("--scalar '%s' does not fit 32 bits", text);
    scalar->value = (int32_t)value;
    return 0;
}

static int read_names(clattn_attention *problem, const struct problem_options *o)
{
    for (int i = 0; i < o->n_scalars; i++)
        if (read_scalar(&problem->scalars[i], o->scalars[i]))
            return EXIT_MISTAKE;
    problem->n_scalars = o->n_scalars;
    for (int i = 0; i < o->n_arrays; i++) {
        if (!split_name(o->arrays[i], problem->arrays[i].name))
            return mistake("--array '%s' is not NAME or NAME=FILE.npy with a name of 15 letters at most",
                           o->arrays[i]);
        problem->arrays[i].count = problem->batch > 0 ? problem->batch : 1;
    }
    problem->n_arrays = o->n_arrays;
    return 0;
}

static int read_mask(clattn_attention *problem, const struct problem_options *o)
{
    clattn_corner corner = CLATTN_NO_CORNER;
    if (o->corner && !strcmp(o->corner, "tl"))
        corner = CLATTN_TOP_LEFT;
    else if (o->corner && !strcmp(o->corner, "br"))
        corner = CLATTN_BOTTOM_RIGHT;
    else if (o->corner)
        return mistake("--corner takes tl or br, not '%s'", o->corner);
    if (o->corner && !o->mask)
        return mistake(
            "--corner goes with --mask; the problem's own pattern ends in its corner, as causal-%s",
            o->corner);
    if (o->mask)
        problem->pattern = clattn_both(problem->pattern, clattn_mask(o->mask, corner));
    return 0;
}

int read_problem(clattn_attention *problem, const char *text, const struct problem_options *o)
{
    static const clattn_attention init = CLATTN_ATTENTION_INIT;
    char message[1024];
    *problem = init;
    clattn_status status = clattn_problem_parse(problem, text, message, sizeof message);
    if (status)
        return mistake("problem '%s': %s", text, message);
    if (read_names(problem, o) || read_mask(problem, o))
        return EXIT_MISTAKE;
    if (o->engine) {
        if (strlen(o->engine) >= sizeof problem->engine)
            return mistake("--engine '%s' is not an engine; `clattn devices' lists them", o->engine);
        strcpy(problem->engine, o->engine);
    }
    status = clattn_attention_check(problem, message, sizeof message);
    return status ? mistake("problem '%s': %s", text, message) : 0;
}
