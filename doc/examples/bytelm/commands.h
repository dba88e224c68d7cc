/* SPDX-License-Identifier: MIT
 * commands.h - what the program can be asked for. */
#ifndef BYTELM_COMMANDS_H
#define BYTELM_COMMANDS_H

#include "forward.h"
#include <stdbool.h>

struct options {
    const char *model;     /* file */
    const char *device;    /* NULL: the best */
    const char *attention; /* words of attention.c */
    clattn_type type;
    int64_t chunk; /* rows of a pass; 0: all at once */
    /* score */
    int64_t length, prefix; /* bytes; length 0: the whole file */
    bool last;
    /* generate */
    int64_t tokens;
    int64_t refresh;    /* tokens that a list of pruned attention serves */
    double temperature; /* 0: always the likeliest byte */
    uint64_t seed;
};

/* text: of `bytes' bytes, 1 or more. */
void score(const struct options *o, const unsigned char *text, size_t bytes);
void generate(const struct options *o, const unsigned char *prompt, size_t bytes);

double now_seconds(void);

#endif
