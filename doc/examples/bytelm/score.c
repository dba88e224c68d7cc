/* SPDX-License-Identifier: MIT
 * score.c - how well the model foretells a text: bits per byte, and where the time goes.
 *
 * Row t sees the token of the mode and the bytes before t, and foretells byte t. */
#include "commands.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const part_names[N_PARTS] = {"", "small kernels", "projections", "selection", "attention"};

/* Keys that all rows see must be in the cache before the first row runs: no chunk ends in the prefix. */
static int64_t chunk_rows(const struct options *o, int64_t row, int64_t rows)
{
    int64_t wanted = o->chunk == 0 ? rows : row == 0 && o->chunk < o->prefix ? o->prefix : o->chunk;
    return wanted < rows - row ? wanted : rows - row;
}

static void run(struct forward *f, const struct options *o, const int32_t *tokens, const int32_t *next,
                int64_t rows, float *bits)
{
    for (int64_t row = 0, n; row < rows; row += n) {
        n = chunk_rows(o, row, rows);
        forward_run(f, tokens + row, n);
        forward_bits(f, next + row, n, bits + row);
    }
}

static void prepare(struct forward *f, const struct options *o, int64_t rows)
{
    for (int64_t row = 0, n; row < rows; row += n)
        forward_prepare(f, n = chunk_rows(o, row, rows));
}

static void report(const struct forward *f, const struct options *o, int64_t rows, const float *bits,
                   double seconds)
{
    int64_t first = o->last ? rows / 2 : o->prefix;
    double sum = 0;
    for (int64_t i = first; i < rows; i++)
        sum += (double)bits[i];
    printf("%.4f bits per byte on the last %ld of %ld bytes\n", sum / (double)(rows - first),
           (long)(rows - first), (long)rows);
    printf("%.3f s", seconds);
    for (int i = PART_SMALL; i < N_PARTS; i++)
        printf(", %s %.3f", part_names[i], f->parts.seconds[i]);
    printf("\n");
}

void score(const struct options *o, const unsigned char *text, size_t bytes)
{
    struct device d;
    struct model m;
    struct forward f;
    int64_t rows = (int64_t)bytes;
    struct attention_shape shape = {o->attention, o->type, rows, (int32_t)o->prefix, 1};
    int32_t *tokens = malloc(bytes * sizeof *tokens), *next = malloc(bytes * sizeof *next);
    float *bits = malloc(bytes * sizeof *bits);
    if (!tokens || !next || !bits)
        stop("out of memory");
    for (size_t i = 0; i < bytes; i++) {
        tokens[i] = i ? text[i - 1] : o->prefix ? PREFIX_TOKEN : CAUSAL_TOKEN;
        next[i] = text[i];
    }
    device_open(&d, o->device, o->type);
    model_open(&m, &d, o->model);
    forward_open(&f, &d, &m, &shape, chunk_rows(o, 0, rows));
    prepare(&f, o, rows);
    double begin = now_seconds();
    run(&f, o, tokens, next, rows, bits);
    report(&f, o, rows, bits, now_seconds() - begin);
    forward_close(&f);
    model_close(&m);
    device_close(&d);
    free(tokens);
    free(next);
    free(bits);
}
