/* SPDX-License-Identifier: MIT
 * expr.h - the expression language: parse, print, evaluate, classify tiles, differentiate, make kernel text.
 *
 *     expression  := or ('?' expression ':' expression)?
 *     or          := xor ('|' xor)*                     xor     := and ('^' and)*
 *     and         := not ('&' not)*                     not     := '!' not | comparison
 *     comparison  := sum (('<'|'<='|'>'|'>='|'=='|'!=') sum)?
 *     sum         := product (('+'|'-') product)*       product := unary (('*'|'/'|'//'|'%') unary)*
 *     unary       := '-' unary | primary
 *     primary     := number | index | scalar | array '[' expression (',' expression)* ']'
 *                  | function '(' ... ')' | named rule | listed | true | false | '(' expression ')'
 *     index       := q k b h g q_len k_len, and score in score and weight rules
 *     function    := min max abs relu floor float exp exp2 log log2 sqrt tanh sigmoid softplus
 *
 * Types are int (32 bits, arithmetic wraps), float (f32) and bool.  An int becomes a float where its partner
 * is one, under '/', the functions of real numbers and float(); nothing else converts.  '//' is division
 * rounded down and '%' its remainder, both 0 when the divisor is 0; floor gives an int.  The index of an
 * array is clamped to its dimension.  `listed' is a condition: the key's block is in the list of the query's
 * row and head (clattn/list.h).
 *
 * The rules of one operator - mask, score, weight - are one graph, so that what they share is computed once.
 * Text never reaches a compiler: what is printed is made from the graph, literals and scalars become numbered
 * kernel arguments, so a new width or length never makes a new program.
 */
#ifndef CLATTN_EXPR_H
#define CLATTN_EXPR_H

#include "core/core.h"

#define CLATTN__EXPR_MAX_TEXT 4096
#define CLATTN__EXPR_MAX_NODES 512
#define CLATTN__EXPR_MAX_DEPTH 64
#define CLATTN__EXPR_MAX_NUMBERS 64 /* literals, scalars and dimensions that become kernel arguments */

/* What a rule is for: a condition; a new score; a weight. */
enum clattn__use { CLATTN__MASK, CLATTN__SCORE, CLATTN__WEIGHT, CLATTN__USES };

/* What expressions may name; borrowed until clattn__expr_create returns. */
struct clattn__names {
    int n_scalars, n_arrays;
    const clattn_scalar *scalars;
    const clattn_array *arrays;
};

struct clattn__expr;

/* Start the rules of an operator: none yet.  On failure the offending name goes to message. */
clattn_status clattn__expr_create(struct clattn__expr **expr, const struct clattn__names *names,
                                  char *message, size_t size);
/* Add a rule; "" adds none.  On failure the graph is as before, and message says the column, what was found
 * and what was expected, shows the place with a caret, and lists the names in scope. */
clattn_status clattn__expr_add(struct clattn__expr *expr, enum clattn__use use, const char *text,
                               char *message, size_t size);
void clattn__expr_free(struct clattn__expr *expr);

/* A name is a letter followed by letters, digits, '_', at most 15, and not a word of the language.  Named
 * rules may be hidden by a declared name. */
clattn_status clattn__name_check(const char *name);

/* Canonical text of a rule, "" for none: adding it again gives the same graph, and it is the same for texts
 * that differ in blanks, in parentheses, in the order of commuting operands, in > for <, in named rules or in
 * what folds to a constant. */
clattn_status clattn__expr_print(const struct clattn__expr *expr, enum clattn__use use, char *text,
                                 size_t size);

enum clattn__index { CLATTN__INDEX_Q, CLATTN__INDEX_K, CLATTN__INDEX_B, CLATTN__INDEX_H, CLATTN__INDEX_G,
                     CLATTN__INDEX_Q_LEN, CLATTN__INDEX_K_LEN, CLATTN__INDEX_SCORE };
bool clattn__expr_has(const struct clattn__expr *expr, enum clattn__use use);
bool clattn__expr_uses_index(const struct clattn__expr *expr, enum clattn__index index); /* in any rule */
bool clattn__expr_uses_array(const struct clattn__expr *expr, int array);                /* in any rule */
bool clattn__expr_uses_list(const struct clattn__expr *expr);                             /* in any rule */
bool clattn__expr_rule_uses_list(const struct clattn__expr *expr, enum clattn__use use);
bool clattn__expr_rule_uses_array(const struct clattn__expr *expr, enum clattn__use use, int array);
/* A rough count of the operations of a rule a pair, array elements counting 4 and functions 16. */
int clattn__expr_cost(const struct clattn__expr *expr, enum clattn__use use);

/* ---- kernels ---- */
/* The int arguments of the kernel, floats as their bits: literals, scalars, dimensions of used arrays.
 * Returns how many. */
int clattn__expr_numbers(const struct clattn__expr *expr, const clattn_scalar *scalars,
                         const clattn_array *arrays, int32_t *numbers);

/* How the table of an array's minima and maxima is made, for arrays that the mask reads at places that differ
 * inside a tile: blocks of rows x columns of the last two dimensions. */
struct clattn__table {
    bool needed;
    int32_t rows, columns;
};
struct clattn__table clattn__expr_table(const struct clattn__expr *expr, int array);

/* The text that cl/common/rule.clh completes.  Kernel arguments for it: struct rule_numbers if there are
 * numbers; each used array's buffer; struct list_args and the buffer of lists, if rules say `listed'; the
 * buffer that holds all tables, if there are any. */
clattn_status clattn__expr_kernel_text(const struct clattn__expr *expr, char *text, size_t size);

/* ---- on the host ---- */
/* What `listed' reads: lists in an int32 buffer as a clattn_list lays them out. */
struct clattn__lists {
    const clattn_list *shape;
    const int32_t *data;
    int32_t heads;     /* that share a list */
    bool bottom_right; /* the row of a query is its position less k_len - q_len; else its position */
};
/* What the names hold.  A NULL array holds 0 everywhere; without lists nothing is listed. */
struct clattn__expr_values {
    const clattn_scalar *scalars;
    const clattn_array *arrays;
    const void *const *data; /* data[i]: array i */
    const struct clattn__lists *lists; /* NULL: none */
};
struct clattn__expr_point {
    int32_t q, k, b, h, g, q_len, k_len;
    double score;
};
/* A rule's value at a point: 0 or 1 for the mask (1 without one), the score without a score or weight rule.
 * exact: floats are doubles throughout; else every operation rounds to f32, as on a device. */
double clattn__expr_eval(const struct clattn__expr *expr, enum clattn__use use,
                         const struct clattn__expr_point *at, const struct clattn__expr_values *values,
                         bool exact);

/* Class of the tile q0..q1 x k0..k1 x h0..h1 (bounds included) by interval arithmetic.  Conservative: EMPTY
 * only if no pair is visible, FULL only if every pair is.  The numbers are those of the tile counters. */
enum clattn__class { CLATTN__EMPTY = 0, CLATTN__PARTIAL = 1, CLATTN__FULL = 2 };
struct clattn__expr_box {
    int32_t q0, q1, k0, k1, h0, h1, g, b, q_len, k_len; /* g of h0 and h1 is the same */
};
enum clattn__class clattn__expr_classify(const struct clattn__expr *expr, const struct clattn__expr_box *box,
                                         const struct clattn__expr_values *values);

/* The derivative of the score rule or the weight rule with respect to the score, as a graph whose rule of the
 * same use it is.  Where a function has a corner (abs, relu, min, max, floor, ?:) it is that of the side
 * taken. */
clattn_status clattn__expr_derivative(const struct clattn__expr *expr, enum clattn__use use,
                                      struct clattn__expr **derivative);

/* ---- names.c: rules that have names ---- */
/* A parameter is a number, or with [] behind it an array. */
struct clattn__named_rule {
    const char *name;
    enum clattn__use use;
    const char *parameters; /* "w, d", "doc[]", "" */
    const char *text;
    const char *meaning;
};
extern const struct clattn__named_rule clattn__named_rules[]; /* ends with a NULL name */

#endif
