/* SPDX-License-Identifier: MIT
 * expr.h - the expression language: parse, check, print, evaluate, classify tiles.
 *
 *     condition  or    := and ('|' and)*            and := not ('&' not)*        not := '!' not | comparison
 *     comparison       := sum (('<'|'<='|'>'|'>='|'=='|'!=') sum)?               (a parenthesised condition is one too)
 *     sum              := product (('+'|'-') product)*                          product := unary ('*' unary)*
 *     unary            := '-' unary | primary
 *     primary          := integer | index | scalar | array '[' sum ']' | min(sum, sum) | max(sum, sum) | '(' ... ')'
 *     index            := q k b h g q_len k_len
 *
 * Numbers are 32-bit integers; arithmetic wraps.  Conditions and numbers do not mix.  The text never reaches a
 * compiler: what is printed is made from the tree, literals and scalars become numbered kernel arguments,
 * so a new width or length never makes a new program.
 */
#ifndef CLATTN_EXPR_H
#define CLATTN_EXPR_H

#include "core/core.h"

#define CLATTN__EXPR_MAX_NODES 256
#define CLATTN__EXPR_MAX_DEPTH 48
#define CLATTN__EXPR_MAX_NUMBERS 32 /* literals and scalars that become kernel arguments */

/* What an expression may name. */
struct clattn__names {
    int n_scalars, n_arrays;
    const char *scalars[CLATTN_MAX_SCALARS];
    const char *arrays[CLATTN_MAX_ARRAYS];
};

struct clattn__expr; /* immutable once parsed */

/* Parse a condition ("" is: always true).  On failure the sentence, with the column and what was expected, goes to message. */
clattn_status clattn__expr_parse(struct clattn__expr **expr, const char *text, const struct clattn__names *names,
                                 char *message, size_t size);
void clattn__expr_free(struct clattn__expr *expr);

/* A name is a letter followed by letters, digits, '_', at most 15, and not an index or function of the language. */
clattn_status clattn__name_check(const char *name);

/* Canonical text: parse(print(x)) equals x, and print(parse(print(x))) is print(x). */
clattn_status clattn__expr_print(const struct clattn__expr *expr, char *text, size_t size);

enum clattn__index { CLATTN__INDEX_Q, CLATTN__INDEX_K, CLATTN__INDEX_B, CLATTN__INDEX_H, CLATTN__INDEX_G,
                     CLATTN__INDEX_Q_LEN, CLATTN__INDEX_K_LEN };
bool clattn__expr_uses_index(const struct clattn__expr *expr, enum clattn__index index);
bool clattn__expr_uses_array(const struct clattn__expr *expr, int array);
bool clattn__expr_is_always(const struct clattn__expr *expr); /* the constant true */

/* The numbers that the kernel takes as int arguments n0, n1, ..., in order, given the scalars' values; returns how many. */
int clattn__expr_numbers(const struct clattn__expr *expr, const int32_t *scalars, const int64_t *array_counts, int32_t *numbers);

/* The #define lines that cl/common/pattern.clh completes: PATTERN_PARAMS, PATTERN_FIELDS, PATTERN_FILL, PATTERN(P). Kernel
 * arguments are: the numbers as ints, then a __global const int * for each array used (in the order of names). */
clattn_status clattn__expr_kernel_text(const struct clattn__expr *expr, char *text, size_t size);

/* The same meaning on the host, for self-tests, reports and the tests of the classifier. */
struct clattn__expr_values { /* what the names hold */
    const int32_t *scalars;
    const int32_t *const *arrays; /* arrays[i] may be NULL if not used */
    const int64_t *array_counts;
};
struct clattn__expr_point {
    int32_t q, k, b, h, g, q_len, k_len;
};
bool clattn__expr_eval(const struct clattn__expr *expr, const struct clattn__expr_point *at,
                       const struct clattn__expr_values *values);

/* Class of the tile q0..q1 x k0..k1 x h0..h1 (bounds included) by interval arithmetic.  Conservative: EMPTY only if no pair is
 * visible, FULL only if every pair is.  The numbers are those of the tile counters. */
enum clattn__class { CLATTN__EMPTY = 0, CLATTN__PARTIAL = 1, CLATTN__FULL = 2 };
struct clattn__expr_box {
    int32_t q0, q1, k0, k1, h0, h1, g, b, q_len, k_len; /* g of h0 and h1 is the same */
};
enum clattn__class clattn__expr_classify(const struct clattn__expr *expr, const struct clattn__expr_box *box,
                                         const struct clattn__expr_values *values);

#endif
