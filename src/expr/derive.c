/* SPDX-License-Identifier: MIT
 * derive.c - the derivative of a rule with respect to the score, as a graph of its own.
 *
 * The new graph begins as a copy of the rule's nodes, so that what the derivative shares with the rule (the
 * exp of an exp) is the same node, and ends without those of no use.  Factors 0 and 1 are not written: most
 * nodes do not depend on the score, and those above the score itself have the derivative 1. */
#include "expr/tree.h"

#include <stdlib.h>
#include <string.h>

enum { ZERO = -1, ONE = -2 }; /* derivatives that need no node; others are nodes of the new graph */

#define LN_2 0.693147180559945309417f

struct derivation {
    struct clattn__expr *expr;
    enum tree_error error;
};

/* ---- nodes of the new graph; once one has failed, all give 0 and nothing is added ---- */
static int keep(struct derivation *d, int node)
{
    return d->error ? 0 : node;
}

static int literal(struct derivation *d, float x)
{
    return d->error ? 0 : keep(d, clattn__tree_literal(d->expr, TYPE_FLOAT, float_bits(x), &d->error));
}

static int operator_3(struct derivation *d, enum kind kind, int a, int b, int c)
{
    const int args[] = {a, b, c};
    return d->error ? 0 : keep(d, clattn__tree_operator(d->expr, kind, args, &d->error));
}

static int operator_1(struct derivation *d, enum kind kind, int a)
{
    return operator_3(d, kind, a, 0, 0);
}

static int operator_2(struct derivation *d, enum kind kind, int a, int b)
{
    return operator_3(d, kind, a, b, 0);
}

/* A derivative as a node. */
static int node_of(struct derivation *d, int x)
{
    return x == ZERO ? literal(d, 0.0f) : x == ONE ? literal(d, 1.0f) : x;
}

/* ---- arithmetic of derivatives: factor is a node, x and y may be ZERO or ONE ---- */
/* A constant joins that of a product, which begins with it: 30 * tanh(score / 30) has no factor left. */
static int join_constants(struct derivation *d, int factor, int *x)
{
    const struct node *nodes = d->expr->nodes, *product = &nodes[*x];
    if (nodes[factor].kind != KIND_LITERAL || product->kind != KIND_MUL ||
        nodes[product->args[0]].kind != KIND_LITERAL)
        return factor;
    *x = product->args[1];
    return operator_2(d, KIND_MUL, factor, product->args[0]);
}

static int times(struct derivation *d, int factor, int x)
{
    if (d->error || x == ZERO || x == ONE)
        return x == ONE ? factor : x;
    factor = join_constants(d, factor, &x);
    const struct node *f = &d->expr->nodes[factor];
    if (!d->error && f->kind == KIND_LITERAL && bits_float(f->value) == 1.0f)
        return x;
    return operator_2(d, KIND_MUL, factor, x);
}

static int over(struct derivation *d, int x, int divisor)
{
    return x == ZERO ? ZERO : operator_2(d, KIND_DIV, node_of(d, x), divisor);
}

static int minus(struct derivation *d, int x)
{
    return x == ZERO ? ZERO : x == ONE ? literal(d, -1.0f) : operator_1(d, KIND_NEG, x);
}

/* In this order, whatever the compiler's: it is that of the kernel's numbers. */
static int both(struct derivation *d, enum kind kind, int x, int y)
{
    x = node_of(d, x);
    y = node_of(d, y);
    return operator_2(d, kind, x, y);
}

static int sum(struct derivation *d, int x, int y)
{
    return x == ZERO ? y : y == ZERO ? x : both(d, KIND_ADD, x, y);
}

static int difference(struct derivation *d, int x, int y)
{
    return x == ZERO ? minus(d, y) : y == ZERO ? x : both(d, KIND_SUB, x, y);
}

/* condition ? x : y, which needs no condition where both are the same. */
static int choice(struct derivation *d, int condition, int x, int y)
{
    if (x == y)
        return x;
    x = node_of(d, x);
    y = node_of(d, y);
    return operator_3(d, KIND_SELECT, condition, x, y);
}

/* ---- rules ---- */
static int one_minus(struct derivation *d, int a)
{
    return operator_2(d, KIND_SUB, literal(d, 1.0f), a);
}

static int of_abs(struct derivation *d, int a, int da)
{
    int negative = operator_2(d, KIND_LT, a, literal(d, 0.0f));
    return choice(d, negative, minus(d, da), da);
}

static int of_relu(struct derivation *d, int a, int da)
{
    return choice(d, operator_2(d, KIND_LT, literal(d, 0.0f), a), da, ZERO);
}

/* Of y = f(a), where a depends on the score. */
static int of_function(struct derivation *d, enum kind kind, int y, int a, int da)
{
    switch (kind) {
    case KIND_NEG: return minus(d, da);
    case KIND_ABS: return of_abs(d, a, da);
    case KIND_RELU: return of_relu(d, a, da);
    case KIND_EXP: return times(d, y, da);
    case KIND_EXP2: return times(d, operator_2(d, KIND_MUL, y, literal(d, LN_2)), da);
    case KIND_LOG: return over(d, da, a);
    case KIND_LOG2: return over(d, da, operator_2(d, KIND_MUL, a, literal(d, LN_2)));
    case KIND_SQRT: return over(d, da, operator_2(d, KIND_ADD, y, y));
    case KIND_TANH: return times(d, one_minus(d, operator_2(d, KIND_MUL, y, y)), da);
    case KIND_SIGMOID: return times(d, operator_2(d, KIND_MUL, y, one_minus(d, y)), da);
    case KIND_SOFTPLUS: return times(d, operator_1(d, KIND_SIGMOID, a), da);
    default: return ZERO; /* steps: floor, and ints made floats */
    }
}

/* Of y = a op b, where at least one depends on the score. */
static int of_pair(struct derivation *d, enum kind kind, int y, int a, int b, int da, int db)
{
    switch (kind) {
    case KIND_ADD: return sum(d, da, db);
    case KIND_SUB: return difference(d, da, db);
    case KIND_MUL:
        da = times(d, b, da);
        db = times(d, a, db);
        return sum(d, da, db);
    case KIND_DIV: return over(d, difference(d, da, times(d, y, db)), b);
    case KIND_MIN: return choice(d, operator_2(d, KIND_LE, a, b), da, db);
    case KIND_MAX: return choice(d, operator_2(d, KIND_LE, b, a), da, db);
    default: return ZERO; /* whole numbers */
    }
}

/* The derivative of a node; map and slope are those of the nodes before it. */
static int of_node(struct derivation *d, const struct node *n, int y, const int *map, const int *slope)
{
    const int *args = n->args;
    if (n->kind == KIND_INDEX && n->value == CLATTN__INDEX_SCORE)
        return ONE;
    if (n->type != TYPE_FLOAT || n->kind == KIND_ARRAY || n->n_args == 0)
        return ZERO;
    if (n->kind == KIND_SELECT)
        return slope[args[1]] == ZERO && slope[args[2]] == ZERO
                   ? ZERO
                   : choice(d, map[args[0]], slope[args[1]], slope[args[2]]);
    if (n->n_args == 1)
        return slope[args[0]] == ZERO ? ZERO : of_function(d, n->kind, y, map[args[0]], slope[args[0]]);
    if (slope[args[0]] == ZERO && slope[args[1]] == ZERO)
        return ZERO;
    return of_pair(d, n->kind, y, map[args[0]], map[args[1]], slope[args[0]], slope[args[1]]);
}

/* ---- the copy ---- */
static int copy(struct derivation *d, const struct node *n, const int *map)
{
    int args[CLATTN_MAX_DIMS] = {0};
    if (d->error)
        return 0;
    for (int i = 0; i < n->n_args; i++)
        args[i] = map[n->args[i]];
    switch (n->kind) {
    case KIND_LITERAL: return keep(d, clattn__tree_literal(d->expr, n->type, n->value, &d->error));
    case KIND_SCALAR:
    case KIND_INDEX:
    case KIND_LISTED:
    case KIND_ARRAY:
        return keep(d, clattn__tree_leaf(d->expr, n->kind, n->value, args, n->n_args, &d->error));
    default: return keep(d, clattn__tree_operator(d->expr, n->kind, args, &d->error));
    }
}

static int derive(struct derivation *d, const struct clattn__expr *expr, enum clattn__use use)
{
    const int root = expr->root[use];
    bool needed[CLATTN__EXPR_MAX_NODES];
    int map[CLATTN__EXPR_MAX_NODES], slope[CLATTN__EXPR_MAX_NODES];
    if (root < 0) /* without a rule the score stays as it is */
        return ONE;
    clattn__expr_reach(expr, use, needed);
    for (int i = 0; i <= root; i++) {
        map[i] = needed[i] ? copy(d, &expr->nodes[i], map) : 0;
        slope[i] = needed[i] ? of_node(d, &expr->nodes[i], map[i], map, slope) : ZERO;
    }
    return slope[root];
}

/* As clattn__expr_create leaves it. */
static struct clattn__expr *empty_like(const struct clattn__expr *expr)
{
    const struct clattn__names names = {expr->n_scalars, expr->n_arrays, expr->scalars, expr->arrays};
    struct clattn__expr *e = NULL;
    return clattn__expr_create(&e, &names, NULL, 0) == CLATTN_OK ? e : NULL;
}

clattn_status clattn__expr_derivative(const struct clattn__expr *expr, enum clattn__use use,
                                      struct clattn__expr **derivative)
{
    struct derivation d = {NULL, TREE_OK};
    if (derivative)
        *derivative = NULL;
    if (!expr || !derivative)
        return CLATTN_NULL_ARGUMENT;
    if (!(d.expr = empty_like(expr)))
        return CLATTN_OUT_OF_HOST_MEMORY;
    int root = node_of(&d, derive(&d, expr, use));
    d.expr->root[use] = root;
    if (d.error || !clattn__tree_seal(d.expr)) {
        clattn__expr_free(d.expr);
        return CLATTN_EXPR_LIMIT;
    }
    *derivative = d.expr;
    return CLATTN_OK;
}
