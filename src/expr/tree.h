/* SPDX-License-Identifier: MIT
 * tree.h - the parsed form of an expression, private to the expr room.
 *
 * Nodes lie in one array, operands before the node that uses them, the root last: whoever evaluates walks the
 * array once and needs no recursion.
 */
#ifndef CLATTN_EXPR_TREE_H
#define CLATTN_EXPR_TREE_H

#include "expr/expr.h"

/* How tightly an operator binds: a higher level is an operand of a lower one without parentheses. */
enum level { LEVEL_OR = 1, LEVEL_AND, LEVEL_NOT, LEVEL_COMPARE, LEVEL_SUM, LEVEL_PRODUCT, LEVEL_NEGATE, LEVEL_PRIMARY };

/* X(kind, word in kernels, symbol in text, level); numbers come before conditions. */
#define EXPR_NUMBER_KINDS(X)                                                                              \
    X(LITERAL, "u", "", LEVEL_PRIMARY) X(SCALAR, "u", "", LEVEL_PRIMARY) X(INDEX, "u", "", LEVEL_PRIMARY) \
    X(ARRAY, "u", "", LEVEL_PRIMARY)                                                                      \
    X(NEG, "neg", "-", LEVEL_NEGATE) X(ADD, "add", "+", LEVEL_SUM) X(SUB, "sub", "-", LEVEL_SUM)          \
    X(MUL, "mul", "*", LEVEL_PRODUCT) X(MIN, "min", "min", LEVEL_PRIMARY) X(MAX, "max", "max", LEVEL_PRIMARY)
#define EXPR_CONDITION_KINDS(X)                                                                           \
    X(ALWAYS, "true", "", LEVEL_PRIMARY)                                                                  \
    X(LT, "lt", "<", LEVEL_COMPARE) X(LE, "le", "<=", LEVEL_COMPARE) X(GT, "gt", ">", LEVEL_COMPARE)      \
    X(GE, "ge", ">=", LEVEL_COMPARE) X(EQ, "eq", "==", LEVEL_COMPARE) X(NE, "ne", "!=", LEVEL_COMPARE)    \
    X(NOT, "not", "!", LEVEL_NOT) X(AND, "and", "&", LEVEL_AND) X(OR, "or", "|", LEVEL_OR)

enum kind {
#define EXPR_KIND_ENUM(kind, word, symbol, level) KIND_##kind,
    EXPR_NUMBER_KINDS(EXPR_KIND_ENUM) EXPR_CONDITION_KINDS(EXPR_KIND_ENUM)
#undef EXPR_KIND_ENUM
        KIND_COUNT
};

struct kind_facts {
    const char *word, *symbol;
    enum level level;
};
extern const struct kind_facts clattn__expr_kinds[KIND_COUNT];
extern const char *const clattn__expr_indices[]; /* by enum clattn__index; ends with NULL */

static inline bool is_condition(enum kind kind)
{
    return kind >= KIND_ALWAYS;
}

struct node {
    enum kind kind;
    int left, right; /* operands, -1 for none; a unary operator and an array's index use left */
    int32_t value;   /* LITERAL: the number; SCALAR, ARRAY: which name; INDEX: enum clattn__index */
    int slot;        /* LITERAL, SCALAR: which kernel number; ARRAY: which element loaded at a kernel's start */
    int depth;       /* 1 for a leaf */
};

/* Where kernel argument nI comes from. */
struct number {
    enum kind kind; /* LITERAL, SCALAR, or ARRAY: its count */
    int32_t value;
};

struct clattn__expr {
    int n_nodes, n_numbers, n_loads;
    struct node nodes[CLATTN__EXPR_MAX_NODES];
    struct number numbers[CLATTN__EXPR_MAX_NUMBERS];
    int count_slot[CLATTN_MAX_ARRAYS]; /* which number is the array's count; -1: the array is not used */
    char scalars[CLATTN_MAX_SCALARS][CLATTN_NAME_SIZE];
    char arrays[CLATTN_MAX_ARRAYS][CLATTN_NAME_SIZE];
};

/* Wrapping arithmetic of two's complement, without undefined behaviour. */
static inline int32_t wrap(uint32_t x)
{
    return x <= INT32_MAX ? (int32_t)x : (int32_t)(x - 0x80000000u) + INT32_MIN;
}

/* eval.c: the value of every node at a point; conditions are 0 or 1. */
void clattn__expr_values_at(const struct clattn__expr *expr, const struct clattn__expr_point *at,
                            const struct clattn__expr_values *values, int32_t result[CLATTN__EXPR_MAX_NODES]);

#endif
