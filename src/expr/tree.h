/* SPDX-License-Identifier: MIT
 * tree.h - the graph of an operator's rules, private to the expr room.
 *
 * Nodes lie in one array, operands before the node that uses them: whoever evaluates walks the array once and
 * needs no recursion.  Equal nodes are one node, except literals: a program must not depend on which numbers
 * happen to be equal.
 */
#ifndef CLATTN_EXPR_TREE_H
#define CLATTN_EXPR_TREE_H

#include "expr/expr.h"

/* How tightly an operator binds: a higher level is an operand of a lower one without parentheses. */
enum level { LEVEL_SELECT = 1, LEVEL_OR, LEVEL_XOR, LEVEL_AND, LEVEL_NOT, LEVEL_COMPARE, LEVEL_SUM, LEVEL_PRODUCT,
             LEVEL_NEGATE, LEVEL_PRIMARY };

enum type { TYPE_INT, TYPE_FLOAT, TYPE_BOOL };

/* What an operator takes and gives.  SAME: numbers of one type, which it gives; REAL: floats; WHOLE: ints;
 * FLOOR: float to int; CONVERT: int to float; COMPARE: numbers of one type to a bool; LOGIC: bools; CHOICE: a
 * bool and two of one type. */
enum signature { SIGN_LEAF, SIGN_SAME, SIGN_REAL, SIGN_WHOLE, SIGN_FLOOR, SIGN_CONVERT, SIGN_COMPARE, SIGN_LOGIC, SIGN_CHOICE };

/* X(kind, word in kernels, symbol in text, level, operands, signature).  Kernel words of SAME, COMPARE and
 * CHOICE are preceded by their type's letter: iadd, flt, bselect. */
#define EXPR_KINDS(X)                                                                                     \
    X(LITERAL, "", "", LEVEL_PRIMARY, 0, SIGN_LEAF)                                                       \
    X(SCALAR, "", "", LEVEL_PRIMARY, 0, SIGN_LEAF)                                                        \
    X(INDEX, "", "", LEVEL_PRIMARY, 0, SIGN_LEAF)                                                         \
    X(ARRAY, "", "", LEVEL_PRIMARY, 0, SIGN_LEAF)                                                         \
    X(LISTED, "listed", "listed", LEVEL_PRIMARY, 0, SIGN_LEAF)                                            \
    X(FLOAT, "float", "float", LEVEL_PRIMARY, 1, SIGN_CONVERT)                                            \
    X(NEG, "neg", "-", LEVEL_NEGATE, 1, SIGN_SAME)                                                        \
    X(ADD, "add", "+", LEVEL_SUM, 2, SIGN_SAME)                                                           \
    X(SUB, "sub", "-", LEVEL_SUM, 2, SIGN_SAME)                                                           \
    X(MUL, "mul", "*", LEVEL_PRODUCT, 2, SIGN_SAME)                                                       \
    X(IDIV, "idiv", "//", LEVEL_PRODUCT, 2, SIGN_WHOLE)                                                   \
    X(DIV, "fdiv", "/", LEVEL_PRODUCT, 2, SIGN_REAL)                                                      \
    X(MOD, "imod", "%", LEVEL_PRODUCT, 2, SIGN_WHOLE)                                                     \
    X(MIN, "min", "min", LEVEL_PRIMARY, 2, SIGN_SAME)                                                     \
    X(MAX, "max", "max", LEVEL_PRIMARY, 2, SIGN_SAME)                                                     \
    X(ABS, "abs", "abs", LEVEL_PRIMARY, 1, SIGN_SAME)                                                     \
    X(RELU, "relu", "relu", LEVEL_PRIMARY, 1, SIGN_SAME)                                                  \
    X(FLOOR, "floor", "floor", LEVEL_PRIMARY, 1, SIGN_FLOOR)                                              \
    X(EXP, "exp", "exp", LEVEL_PRIMARY, 1, SIGN_REAL)                                                     \
    X(EXP2, "exp2", "exp2", LEVEL_PRIMARY, 1, SIGN_REAL)                                                  \
    X(LOG, "log", "log", LEVEL_PRIMARY, 1, SIGN_REAL)                                                     \
    X(LOG2, "log2", "log2", LEVEL_PRIMARY, 1, SIGN_REAL)                                                  \
    X(SQRT, "sqrt", "sqrt", LEVEL_PRIMARY, 1, SIGN_REAL)                                                  \
    X(TANH, "tanh", "tanh", LEVEL_PRIMARY, 1, SIGN_REAL)                                                  \
    X(SIGMOID, "sigmoid", "sigmoid", LEVEL_PRIMARY, 1, SIGN_REAL)                                         \
    X(SOFTPLUS, "softplus", "softplus", LEVEL_PRIMARY, 1, SIGN_REAL)                                      \
    X(SELECT, "select", "?", LEVEL_SELECT, 3, SIGN_CHOICE)                                                \
    X(LE, "le", "<=", LEVEL_COMPARE, 2, SIGN_COMPARE)                                                     \
    X(LT, "lt", "<", LEVEL_COMPARE, 2, SIGN_COMPARE)                                                      \
    X(GE, "", ">=", LEVEL_COMPARE, 2, SIGN_COMPARE) /* parsed only: b <= a */                             \
    X(GT, "", ">", LEVEL_COMPARE, 2, SIGN_COMPARE)                                                        \
    X(EQ, "eq", "==", LEVEL_COMPARE, 2, SIGN_COMPARE)                                                     \
    X(NE, "ne", "!=", LEVEL_COMPARE, 2, SIGN_COMPARE)                                                     \
    X(NOT, "not", "!", LEVEL_NOT, 1, SIGN_LOGIC)                                                          \
    X(AND, "and", "&", LEVEL_AND, 2, SIGN_LOGIC)                                                          \
    X(XOR, "xor", "^", LEVEL_XOR, 2, SIGN_LOGIC)                                                          \
    X(OR, "or", "|", LEVEL_OR, 2, SIGN_LOGIC)

enum kind {
#define EXPR_KIND_ENUM(kind, word, symbol, level, operands, signature) KIND_##kind,
    EXPR_KINDS(EXPR_KIND_ENUM)
#undef EXPR_KIND_ENUM
        KIND_COUNT
};

struct kind_facts {
    const char *word, *symbol;
    enum level level;
    int operands;
    enum signature signature;
};
extern const struct kind_facts clattn__expr_kinds[KIND_COUNT];
extern const char *const clattn__expr_indices[]; /* by enum clattn__index; ends with NULL */

/* What a node's value differs with; without any of these it is the same for all of a work-group. */
#define DEPENDS_Q 1u
#define DEPENDS_K 2u
#define DEPENDS_H 4u
#define DEPENDS_SCORE 8u

struct node {
    enum kind kind;
    enum type type;
    unsigned depends;
    int n_args, args[CLATTN_MAX_DIMS]; /* operands; an array's indices */
    int32_t value;                     /* LITERAL: its bits; SCALAR, ARRAY, INDEX: which */
    int slot;                          /* LITERAL, SCALAR: which kernel number */
    int depth;                         /* 1 for a leaf */
};

/* Where kernel number nI comes from. */
struct number {
    enum kind kind; /* LITERAL: value; SCALAR: which; ARRAY: which array's dimension */
    int32_t value, dimension;
};

struct clattn__expr {
    int n_nodes, n_numbers;
    int root[CLATTN__USES]; /* -1: no such rule */
    struct node nodes[CLATTN__EXPR_MAX_NODES];
    struct number numbers[CLATTN__EXPR_MAX_NUMBERS];
    int n_scalars, n_arrays;
    clattn_scalar scalars[CLATTN_MAX_SCALARS];
    clattn_array arrays[CLATTN_MAX_ARRAYS];
    int dims_slot[CLATTN_MAX_ARRAYS]; /* number of the array's first dimension; -1: the array is not used */
};

/* ---- tree.c ---- */
enum tree_error { TREE_OK, TREE_NODES, TREE_DEPTH, TREE_NUMBERS };
/* Add an operator over nodes whose types its signature takes, ints where floats are needed included; the
 * canonical node for it: converted, folded, ordered, shared.  -1, with *error set, when a cap is reached. */
int clattn__tree_operator(struct clattn__expr *expr, enum kind kind, const int *args, enum tree_error *error);
int clattn__tree_literal(struct clattn__expr *expr, enum type type, int32_t bits, enum tree_error *error);
/* INDEX, SCALAR, LISTED (no args) or ARRAY (its indices). */
int clattn__tree_leaf(struct clattn__expr *expr, enum kind kind, int32_t value, const int *args, int n_args,
                      enum tree_error *error);
/* Leave out what no rule uses and number the kernel arguments anew; false: more than
 * CLATTN__EXPR_MAX_NUMBERS. */
bool clattn__tree_seal(struct clattn__expr *expr);

/* ---- eval.c ---- */
/* Values of an operator from those of its operands, in the semantics of expr.h.  Ints and bools are whole
 * doubles. */
double clattn__expr_apply(enum kind kind, enum type type, const double *args, bool exact);
/* Of a node's first operand: floats compare and round otherwise than ints. */
enum type clattn__operand_type(const struct clattn__expr *expr, const struct node *node);
/* The value of every node at a point. */
void clattn__expr_values_at(const struct clattn__expr *expr, const struct clattn__expr_point *at,
                            const struct clattn__expr_values *values, bool exact,
                            double result[CLATTN__EXPR_MAX_NODES]);
/* Whether a pair's block is in its row's list; false where there are no lists. */
bool clattn__expr_is_listed(const struct clattn__expr_point *at, const struct clattn__expr_values *values);
/* Which nodes a rule needs. */
void clattn__expr_reach(const struct clattn__expr *expr, enum clattn__use use,
                        bool reached[CLATTN__EXPR_MAX_NODES]);
/* An array's element at a flat position (of words for CLATTN_BITS: of bits, rows begun with a word). */
double clattn__array_element(const clattn_array *array, const void *data, const int64_t *index);

/* Wrapping arithmetic of two's complement, without undefined behaviour. */
static inline int32_t wrap(uint32_t x)
{
    return x <= INT32_MAX ? (int32_t)x : (int32_t)(x - 0x80000000u) + INT32_MIN;
}

static inline int32_t float_bits(float x)
{
    union {
        float f;
        int32_t i;
    } u = {.f = x};
    return u.i;
}

static inline float bits_float(int32_t bits)
{
    union {
        int32_t i;
        float f;
    } u = {.i = bits};
    return u.f;
}

static inline double literal_value(const struct node *n)
{
    return n->type == TYPE_FLOAT ? (double)bits_float(n->value) : (double)n->value;
}

/* A scalar's value as a kernel gets it. */
static inline int32_t scalar_bits(bool real, double value)
{
    return real ? float_bits((float)value) : (int32_t)value;
}

#endif
