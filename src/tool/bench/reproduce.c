/* SPDX-License-Identifier: MIT
 * reproduce.c - a line of a report measured again: its call, made from the record by the same checks as a
 * call that is typed, and never by a shell. */
#include "tool/bench/bench.h"

#include <stdlib.h>
#include <string.h>

/* The next of words as print_problem_options quotes them, cut off in place; NULL at the end or if it is none.
 * *text goes on behind it. */
static char *next_word(char **text)
{
    char *from = *text + strspn(*text, " "), *to = from, *word = from;
    bool quoted = false;
    for (; *from && (quoted || *from != ' '); from++)
        if (*from == '\'')
            quoted = !quoted;
        else if (!quoted && *from == '\\' && from[1] == '\'')
            *to++ = *++from;
        else
            *to++ = *from;
    const bool any = from > word && !quoted;
    *text = *from ? from + 1 : from;
    *to = 0;
    return any ? word : NULL;
}

static int option_of(const char *name)
{
    static const struct option options[] = {PROBLEM_OPTIONS, {0}};
    for (int i = 0; options[i].name; i++)
        if (!strncmp(name, "--", 2) && !strcmp(options[i].name, name + 2) && options[i].has_arg)
            return options[i].val;
    return 0;
}

/* text is kept: the options point into it. */
static int take_words(struct problem_options *o, char *text)
{
    while (text[strspn(text, " ")]) {
        char *name = next_word(&text), *value = name ? next_word(&text) : NULL;
        const int option = name && value ? option_of(name) : 0;
        if (!option)
            return mistake("the line's options are none of `clattn bench'");
        optarg = value;
        if (take_problem_option(o, option))
            return EXIT_MISTAKE;
    }
    return 0;
}

static bool plain_name(const char *name)
{
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(name);
}

void print_call(const struct bench *b, const struct result *r)
{
    printf("clattn bench --device");
    print_word(stdout, b->selectors[0]);
    print_problem_options(stdout, &b->options);
    if (r->tensors[0])
        printf(" --tensors %s", r->tensors);
    if (r->cold_bytes > 0)
        printf(" --cold");
    if (r->refresh[0])
        printf(" --refresh %s", r->refresh);
    if (r->delta > 0)
        printf(" --delta %lld", (long long)r->delta);
    print_word(stdout, r->problem);
    printf("\n");
}

int take_stored_line(struct bench *b, long long number, const char *path, struct report *kept)
{
    clattn_refresh ignored;
    if (read_report(path, kept))
        return EXIT_MISTAKE;
    if (number > (long long)kept->n_lines)
        return mistake("--reproduce %lld: %s has %zu lines", number, path, kept->n_lines);
    struct result *r = &kept->lines[number - 1];
    const struct report_device *d = device_of(kept, r);
    if (!d || !plain_name(r->tensors))
        return mistake("%s: line %lld names no device of the file, or no folder of tensors", path, number);
    if (take_words(&b->options, r->options) || (r->refresh[0] && read_refresh(r->refresh, &ignored)))
        return EXIT_MISTAKE;
    if (!b->n_selectors)
        b->selectors[b->n_selectors++] = d->name;
    b->tensors = r->tensors[0] ? r->tensors : NULL;
    b->refresh = r->refresh[0] ? r->refresh : NULL;
    b->delta = r->delta > 0 ? r->delta : 0;
    b->cold = r->cold_bytes > 0;
    b->reproduced = r;
    return 0;
}
