/* SPDX-License-Identifier: MIT
 * generate.c - goes on with a text: the prompt fills the cache, then each byte is one row against it. */
#include "commands.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A number from 0 on, below 1 (xorshift64*, Vigna 2016). */
static double draw(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * 2685821657736338717u) >> 11) * 0x1p-53;
}

/* The likeliest byte, or with a temperature one by exp(logit / temperature). */
static int32_t choose(const float logits[BYTES], double temperature, uint64_t *state)
{
    double weights[BYTES], sum = 0, left;
    int32_t best = 0;
    for (int32_t i = 1; i < BYTES; i++)
        if (logits[i] > logits[best])
            best = i;
    if (temperature <= 0)
        return best;
    for (int32_t i = 0; i < BYTES; i++)
        sum += weights[i] = exp(((double)logits[i] - (double)logits[best]) / temperature);
    left = draw(state) * sum;
    for (int32_t i = 0; i < BYTES; i++)
        if ((left -= weights[i]) < 0)
            return i;
    return best;
}

/* The prompt in chunks; the logits behind its last byte. */
static void read_prompt(struct forward *f, const int32_t *tokens, int64_t rows, float logits[BYTES])
{
    int64_t n = 0;
    for (int64_t row = 0; row < rows; row += n) {
        n = f->most_rows < rows - row ? f->most_rows : rows - row;
        forward_run(f, tokens + row, n);
        parts_collect(&f->parts);
    }
    forward_last_logits(f, n, logits);
}

static void write_text(struct forward *f, const struct options *o, float logits[BYTES])
{
    uint64_t state = o->seed * 2 + 1;
    for (int64_t i = 0; i < o->tokens; i++) {
        int32_t byte = choose(logits, o->temperature, &state);
        putchar(byte);
        fflush(stdout);
        forward_run(f, &byte, 1);
        forward_last_logits(f, 1, logits);
    }
}

void generate(const struct options *o, const unsigned char *prompt, size_t bytes)
{
    struct device d;
    struct model m;
    struct forward f;
    float logits[BYTES];
    int64_t rows = (int64_t)bytes + 1, chunk = o->chunk && o->chunk < rows ? o->chunk : rows;
    struct attention_shape shape = {o->attention, o->type, rows + o->tokens, 0, o->refresh};
    int32_t *tokens = malloc((size_t)rows * sizeof *tokens);
    if (!tokens)
        stop("out of memory");
    tokens[0] = CAUSAL_TOKEN;
    for (size_t i = 0; i < bytes; i++)
        tokens[i + 1] = prompt[i];
    device_open(&d, o->device, o->type);
    model_open(&m, &d, o->model);
    forward_open(&f, &d, &m, &shape, chunk);
    forward_prepare(&f, chunk);
    if (rows % chunk)
        forward_prepare(&f, rows % chunk);
    forward_prepare(&f, 1);
    double begin = now_seconds();
    read_prompt(&f, tokens, rows, logits);
    double middle = now_seconds();
    fwrite(prompt, 1, bytes, stdout);
    write_text(&f, o, logits);
    fprintf(stderr, "\n%ld tokens of prompt in %.3f s, then %.1f tokens per second\n", (long)rows,
            middle - begin, (double)o->tokens / (now_seconds() - middle));
    forward_close(&f);
    model_close(&m);
    device_close(&d);
    free(tokens);
}
