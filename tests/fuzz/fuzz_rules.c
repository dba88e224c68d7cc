/* SPDX-License-Identifier: MIT
 * fuzz_rules.c - libFuzzer on the rule language: parse, print, parse again, compare, kernel text, value, class, derivative.
 *
 * The first byte chooses the use, and whether the text is the input itself or made from it by the grammar (random_rule).  What is
 * checked beside the sanitizers: a text's print means the same, a derivative prints and parses, kernel text is of harmless
 * characters, an EMPTY tile shows no pair and a FULL one every pair. */
#include "expr/tree.h"
#include "tests/random_rule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT 16384
#define KERNEL_TEXT (1 << 20)

static const clattn_scalar scalars[] = {{"width", CLATTN_I32, 0, 4}, {"alpha", CLATTN_F32, 0, 0.5}};
static const clattn_array arrays[] = {{"len", CLATTN_I32, 1, {3}}, {"doc", CLATTN_I8, 2, {2, 9}}, {"bias", CLATTN_F16, 4, {1, 2, 3, 5}},
                                      {"keep", CLATTN_BITS, 2, {2, 40}}};
static const struct clattn__names names = {2, 4, scalars, arrays};
static const uint32_t data[64] = {0x01020304, 0xff00ff00, 0x3c003c00, 7, 9, 0x80000000, 5};
static const void *const contents[] = {data, data, data, data};
static const struct clattn__expr_values values = {scalars, arrays, contents};

static void demand(bool holds, const char *what, const char *text)
{
    if (holds)
        return;
    fprintf(stderr, "%s: '%s'\n", what, text);
    abort();
}

static struct clattn__expr *parse(enum clattn__use use, const char *text)
{
    struct clattn__expr *expr = NULL;
    char message[CLATTN__MESSAGE_SIZE];
    if (clattn__expr_create(&expr, &names, message, sizeof message))
        return NULL;
    if (clattn__expr_add(expr, use, text, message, sizeof message) == CLATTN_OK)
        return expr;
    for (const char *c = message; *c; c++)
        demand((*c >= ' ' && *c <= '~') || *c == '\n', "a message echoes raw bytes", text);
    clattn__expr_free(expr);
    return NULL;
}

static void check_tile(const struct clattn__expr *expr, const char *text)
{
    const struct clattn__expr_box box = {.q0 = -2, .q1 = 2, .k0 = 3, .k1 = 8, .h0 = 0, .h1 = 1, .b = 1, .q_len = 5, .k_len = 9};
    enum clattn__class class = clattn__expr_classify(expr, &box, &values);
    for (int32_t q = box.q0; q <= box.q1; q++)
        for (int32_t k = box.k0; k <= box.k1; k++)
            for (int32_t h = box.h0; h <= box.h1; h++) {
                const struct clattn__expr_point at = {.q = q, .k = k, .b = 1, .h = h, .q_len = 5, .k_len = 9};
                bool seen = clattn__expr_eval(expr, CLATTN__MASK, &at, &values, false) != 0;
                demand(seen ? class != CLATTN__EMPTY : class != CLATTN__FULL, "a tile's class is wrong", text);
            }
}

static void check_derivative(const struct clattn__expr *expr, enum clattn__use use, const char *text)
{
    static char print[TEXT];
    struct clattn__expr *derivative = NULL;
    if (clattn__expr_derivative(expr, use, &derivative) || clattn__expr_print(derivative, use, print, sizeof print)) {
        clattn__expr_free(derivative);
        return; /* too large, or too long to print */
    }
    struct clattn__expr *again = strlen(print) <= CLATTN__EXPR_MAX_TEXT ? parse(use, print) : NULL;
    (void)text;
    clattn__expr_free(again);
    clattn__expr_free(derivative);
}

static void check_rule(struct clattn__expr *expr, enum clattn__use use, const char *text)
{
    static char print[TEXT], again_print[TEXT], kernel[KERNEL_TEXT];
    if (clattn__expr_kernel_text(expr, kernel, sizeof kernel) == CLATTN_OK)
        for (const char *c = kernel; *c; c++)
            demand((*c >= ' ' && *c <= '~' && *c != '"' && *c != '\'' && *c != '`' && *c != '$' && *c != '@') || *c == '\n',
                   "kernel text holds a strange character", text);
    if (use == CLATTN__MASK)
        check_tile(expr, text);
    else
        check_derivative(expr, use, text);
    if (clattn__expr_print(expr, use, print, sizeof print) || strlen(print) > CLATTN__EXPR_MAX_TEXT)
        return;
    struct clattn__expr *again = parse(use, print);
    if (!again)
        return; /* written out, it may pass a cap that the shorter text kept */
    demand(clattn__expr_print(again, use, again_print, sizeof again_print) == CLATTN_OK && !strcmp(print, again_print),
           "a print prints otherwise", text);
    clattn__expr_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    static char text[CLATTN__EXPR_MAX_TEXT + 64];
    if (size < 1)
        return 0;
    enum clattn__use use = (enum clattn__use)(input[0] % 3);
    bool grammar = input[0] & 0x80;
    size_t length = size - 1 < sizeof text - 1 ? size - 1 : sizeof text - 1;
    memcpy(text, input + 1, length);
    text[length] = 0;
    if (grammar) {
        uint64_t seed = 0;
        for (size_t i = 1; i < size; i++)
            seed = seed * 257 + input[i];
        random_rule(seed, use, text, 400, &names);
    }
    struct clattn__expr *expr = parse(use, text);
    demand(expr || !grammar, "a rule of the grammar was refused", text);
    if (expr)
        check_rule(expr, use, text);
    clattn__expr_free(expr);
    return 0;
}
