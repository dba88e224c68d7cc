/* SPDX-License-Identifier: MIT
 * fuzz_rules.c - a libFuzzer target: whatever the text, the language keeps its promises (src/expr/expr.h).
 *
 * The first byte of an input says the use of the rule, and whether the rest is a text or a seed of
 * tests/random_rule.c.  A refused text leaves no rule and a message that may be shown.  A taken one prints to
 * a text of the same graph, the same kernel and the same value, its kernel text has words of ours alone, and
 * the class of a box agrees with the points in it. */
#include "expr/tree.h"
#include "tests/random_rule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRINT_SIZE 65536
#define KERNEL_SIZE (2 << 20)
#define RANDOM_SIZE 2048

#define MUST(condition)                                                             \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "fuzz_rules.c:%d: not so: %s\n", __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const clattn_scalar scalars[] = {{"width", CLATTN_I32, 0, -3}, {"alpha", CLATTN_F32, 0, 0.75}};
static const clattn_array arrays[] = {
    {"prefix", CLATTN_I32, 1, {3}},       {"doc", CLATTN_I8, 2, {2, 9}},    {"bias", CLATTN_F16, 4, {1, 2, 3, 4}},
    {"keep", CLATTN_BITS, 2, {2, 40}},    {"slope", CLATTN_F32, 1, {8}},    {"img", CLATTN_BF16, 3, {2, 3, 5}},
    {"far", CLATTN_BITS, 3, {40000, 40000, 40000}},
};
static const struct clattn__names names = {CLATTN__LEN(scalars), CLATTN__LEN(arrays), scalars, arrays};
static const int32_t store[64] = {5,         -1,         7,  0x3c003e00, 0x7f800000, INT32_MIN,
                                  INT32_MAX, 0x12345678, -2, 0x40490fdb, 0x7e017c00};
static const void *const held[] = {store, store, store, store, store, store, NULL};
static const clattn_list shape = {.size = sizeof shape, .batch = 2, .scopes = 2, .q_blocks = 3,
                                  .k_blocks = 11, .capacity = 4, .block_q = 8, .block_k = 4, .counts_at = 0,
                                  .ids_at = 48};
/* Counts, two of them out of range, then lists; these rise, as of others nothing is promised but safety. */
static const int32_t list[12 + 48] = {
    4, 0, 3, 9, 1, 2, 4, 2, -7, 4, 4, 1, /* [batch][scope][block of queries] */
    0, 1, 2, 3, 5, 6, 9, 10, 2, 4, 6, 8, 0, 3, 7, 11, 8, 9, 10, 12, 1, 2, 3, 4,
    2, 3, 4, 5, 0, 9, 9, 9,  1, 2, 3, 4, 0, 1, 4, 5,  3, 6, 8,  10, 7, 9, 9, 9,
};
static const struct clattn__lists lists = {&shape, list, 4, true};
static const struct clattn__expr_values values = {scalars, arrays, held, &lists};

static char *prints[2], *kernels[2];

/* ---- refused ---- */
static void check_refusal(const struct clattn__expr *expr, enum clattn__use use, const char *text,
                          const char *message, clattn_status status)
{
    char tiny[3] = "xx";
    MUST(status <= CLATTN_EXPR_SYNTAX && status >= CLATTN_EXPR_NUMBER);
    MUST(!clattn__expr_has(expr, use) && expr->n_nodes == 0 && expr->n_numbers == 0);
    MUST(!strncmp(message, "column ", 7) && strlen(message) < CLATTN__MESSAGE_SIZE);
    for (const char *c = message; *c; c++)
        MUST((*c >= ' ' && *c <= '~') || *c == '\n');
    struct clattn__expr *again;
    MUST(clattn__expr_create(&again, &names, NULL, 0) == CLATTN_OK);
    MUST(clattn__expr_add(again, use, text, tiny, 1) == status && tiny[1] == 'x');
    clattn__expr_free(again);
}

/* ---- taken ---- */
static bool is_of_words(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* As a word of its own: bias_1 and far_f32 are ours. */
static bool has_word(const char *text, const char *word)
{
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        if ((at == text || !is_of_words(at[-1])) && !is_of_words(at[strlen(word)]))
            return true;
    return false;
}

/* Kernel text: letters, digits and the signs of C expressions, and no '#' but at the beginning of a line. */
static void check_kernel_text(const char *text)
{
    for (const char *c = text; *c; c++) {
        MUST(is_of_words(*c) || strchr("#\\\n (){}[]*&,;=+-./>", *c));
        MUST(*c != '#' || c == text || c[-1] == '\n');
        MUST(*c != '\\' || c[1] == '\n');
        MUST(!(*c == '/' && (c[1] == '/' || c[1] == '*')));
    }
    for (int i = 0; i < names.n_scalars; i++)
        MUST(!has_word(text, scalars[i].name));
    for (int i = 0; i < names.n_arrays; i++)
        MUST(!has_word(text, arrays[i].name));
}

static bool same_value(double a, double b)
{
    return a == b || (a != a && b != b);
}

static void check_values(const struct clattn__expr *x, const struct clattn__expr *y, enum clattn__use use,
                         const uint8_t *data, size_t size)
{
    struct clattn__expr_box box = {0, 0, 0, 0, 0, 0, 1, 1, 37, 41};
    unsigned sum = 1;
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + data[i];
    box.q0 = (int32_t)(sum % 40) - 3;
    box.k0 = (int32_t)(sum / 64 % 41);
    box.h0 = (int32_t)(sum / 4096 % 4);
    box.q1 = box.q0 + (int32_t)(sum / 16384 % 4);
    box.k1 = box.k0 + (int32_t)(sum / 65536 % 4);
    box.h1 = box.h0 + (int32_t)(sum / 262144 % 2);
    enum clattn__class class = clattn__expr_classify(x, &box, &values);
    MUST(class == CLATTN__EMPTY || class == CLATTN__PARTIAL || class == CLATTN__FULL);
    MUST(class == clattn__expr_classify(y, &box, &values));
    for (int32_t q = box.q0; q <= box.q1; q++)
        for (int32_t k = box.k0; k <= box.k1; k++)
            for (int32_t h = box.h0; h <= box.h1; h++) {
                const struct clattn__expr_point at = {
                    q, k, box.b, h, box.g, box.q_len, box.k_len, (double)(float)(q - k) / 8};
                double value = clattn__expr_eval(x, use, &at, &values, false);
                MUST(same_value(value, clattn__expr_eval(y, use, &at, &values, false)));
                MUST(use != CLATTN__MASK || value == 0 || value == 1);
                MUST(use != CLATTN__MASK || class == CLATTN__PARTIAL || value == (class == CLATTN__FULL));
                clattn__expr_eval(x, use, &at, &values, true);
            }
    const struct clattn__expr_point edge = {INT32_MIN, INT32_MAX, 0, 7, 0, INT32_MAX, 0, -1e30};
    MUST(same_value(clattn__expr_eval(x, use, &edge, &values, false),
                    clattn__expr_eval(y, use, &edge, &values, false)));
}

static void check_derivative(const struct clattn__expr *x, enum clattn__use use)
{
    struct clattn__expr *slope;
    const struct clattn__expr_point at = {3, 2, 0, 1, 0, 9, 9, 0.5};
    clattn_status status = clattn__expr_derivative(x, use, &slope);
    MUST(status == CLATTN_OK || status == CLATTN_EXPR_LIMIT);
    if (status)
        return;
    clattn__expr_eval(slope, use, &at, &values, false);
    if (clattn__expr_kernel_text(slope, kernels[1], KERNEL_SIZE) == CLATTN_OK)
        check_kernel_text(kernels[1]);
    clattn__expr_free(slope);
}

/* A print may be longer than a text may be, since what is shared is written out: then nobody reads it. */
static void check_taken(const struct clattn__expr *x, enum clattn__use use, const uint8_t *data, size_t size)
{
    char message[CLATTN__MESSAGE_SIZE] = "";
    struct clattn__expr *y;
    MUST(x->n_nodes <= CLATTN__EXPR_MAX_NODES && x->n_numbers <= CLATTN__EXPR_MAX_NUMBERS);
    clattn_status printed = clattn__expr_print(x, use, prints[0], PRINT_SIZE);
    MUST(printed == CLATTN_OK || printed == CLATTN_BUFFER_TOO_SHORT);
    MUST(clattn__expr_kernel_text(x, kernels[0], KERNEL_SIZE) == CLATTN_OK);
    check_kernel_text(kernels[0]);
    if (use != CLATTN__MASK)
        check_derivative(x, use);
    if (printed != CLATTN_OK || strlen(prints[0]) > CLATTN__EXPR_MAX_TEXT)
        return;
    MUST(clattn__expr_create(&y, &names, message, sizeof message) == CLATTN_OK);
    clattn_status status = clattn__expr_add(y, use, prints[0], message, sizeof message);
    if (status)
        fprintf(stderr, "%s: %s\n", clattn_status_name(status), message);
    MUST(status == CLATTN_OK);
    MUST(clattn__expr_print(y, use, prints[1], PRINT_SIZE) == CLATTN_OK && !strcmp(prints[0], prints[1]));
    MUST(clattn__expr_kernel_text(y, kernels[1], KERNEL_SIZE) == CLATTN_OK &&
         !strcmp(kernels[0], kernels[1]));
    check_values(x, y, use, data, size);
    clattn__expr_free(y);
}

/* ---- the input ---- */
/* A text of its own length, so that a read past its end is seen. */
static char *text_of(const uint8_t *data, size_t size, bool random, enum clattn__use use)
{
    char *text = malloc(random ? RANDOM_SIZE : size + 1);
    MUST(text != NULL);
    if (random) {
        uint64_t seed = 0;
        for (size_t i = 0; i < size; i++)
            seed = seed * 257 + data[i];
        random_rule(seed, use, text, RANDOM_SIZE, &names);
    } else {
        memcpy(text, data, size);
        text[size] = 0;
    }
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char message[CLATTN__MESSAGE_SIZE];
    struct clattn__expr *expr;
    if (size == 0)
        return 0;
    for (int i = 0; i < 2 && !prints[i]; i++) {
        prints[i] = malloc(PRINT_SIZE);
        kernels[i] = malloc(KERNEL_SIZE);
        MUST(prints[i] && kernels[i]);
    }
    enum clattn__use use = (enum clattn__use)(data[0] % CLATTN__USES);
    bool random = data[0] / 16 % 2 == 1; /* 'B', 'C', 'D': a text; '0', '1', '2': a seed */
    char *text = text_of(data + 1, size - 1, random, use);
    MUST(clattn__expr_create(&expr, &names, message, sizeof message) == CLATTN_OK);
    clattn_status status = clattn__expr_add(expr, use, text, message, sizeof message);
    if (status)
        fprintf(random ? stderr : stdout, "%s", random ? message : "");
    MUST(!random || status == CLATTN_OK);
    if (status)
        check_refusal(expr, use, text, message, status);
    else
        check_taken(expr, use, data, size);
    clattn__expr_free(expr);
    free(text);
    return 0;
}
