/* SPDX-License-Identifier: MIT
 * eval.c - an expression's value at one point, and what kernels need to compute the same. */
#include "expr/tree.h"

static int32_t index_value(enum clattn__index index, const struct clattn__expr_point *at)
{
    switch (index) {
    case CLATTN__INDEX_Q: return at->q;
    case CLATTN__INDEX_K: return at->k;
    case CLATTN__INDEX_B: return at->b;
    case CLATTN__INDEX_H: return at->h;
    case CLATTN__INDEX_G: return at->g;
    case CLATTN__INDEX_Q_LEN: return at->q_len;
    case CLATTN__INDEX_K_LEN: return at->k_len;
    }
    return 0;
}

/* An element, its index clamped to the array as in kernels; an array that is not there holds 0. */
static int32_t element(const struct clattn__expr_values *values, int array, int32_t index)
{
    if (!values || !values->arrays || !values->arrays[array] || !values->array_counts || values->array_counts[array] < 1)
        return 0;
    int64_t last = values->array_counts[array] - 1;
    return values->arrays[array][index < 0 ? 0 : index > last ? last : index];
}

static int32_t leaf(const struct node *n, const struct clattn__expr_point *at, const struct clattn__expr_values *values)
{
    if (n->kind == KIND_INDEX)
        return index_value((enum clattn__index)n->value, at);
    if (n->kind == KIND_SCALAR)
        return values && values->scalars ? values->scalars[n->value] : 0;
    return n->kind == KIND_ALWAYS ? 1 : n->value;
}

static int32_t apply(enum kind kind, int32_t a, int32_t b)
{
    switch (kind) {
    case KIND_NEG: return wrap(0u - (uint32_t)a);
    case KIND_ADD: return wrap((uint32_t)a + (uint32_t)b);
    case KIND_SUB: return wrap((uint32_t)a - (uint32_t)b);
    case KIND_MUL: return wrap((uint32_t)a * (uint32_t)b);
    case KIND_MIN: return a < b ? a : b;
    case KIND_MAX: return a > b ? a : b;
    case KIND_LT: return a < b;
    case KIND_LE: return a <= b;
    case KIND_GT: return a > b;
    case KIND_GE: return a >= b;
    case KIND_EQ: return a == b;
    case KIND_NE: return a != b;
    case KIND_NOT: return !a;
    case KIND_AND: return a & b;
    case KIND_OR: return a | b;
    default: return 0;
    }
}

void clattn__expr_values_at(const struct clattn__expr *expr, const struct clattn__expr_point *at,
                            const struct clattn__expr_values *values, int32_t result[CLATTN__EXPR_MAX_NODES])
{
    for (int i = 0; i < expr->n_nodes; i++) {
        const struct node *n = &expr->nodes[i];
        if (n->left < 0)
            result[i] = leaf(n, at, values);
        else if (n->kind == KIND_ARRAY)
            result[i] = element(values, n->value, result[n->left]);
        else
            result[i] = apply(n->kind, result[n->left], n->right < 0 ? 0 : result[n->right]);
    }
}

bool clattn__expr_eval(const struct clattn__expr *expr, const struct clattn__expr_point *at,
                       const struct clattn__expr_values *values)
{
    int32_t result[CLATTN__EXPR_MAX_NODES];
    clattn__expr_values_at(expr, at, values, result);
    return result[expr->n_nodes - 1] != 0;
}

bool clattn__expr_uses_index(const struct clattn__expr *expr, enum clattn__index index)
{
    for (int i = 0; i < expr->n_nodes; i++)
        if (expr->nodes[i].kind == KIND_INDEX && expr->nodes[i].value == (int32_t)index)
            return true;
    return false;
}

bool clattn__expr_uses_array(const struct clattn__expr *expr, int array)
{
    return array >= 0 && array < CLATTN_MAX_ARRAYS && expr->count_slot[array] >= 0;
}

bool clattn__expr_is_always(const struct clattn__expr *expr)
{
    return expr->nodes[expr->n_nodes - 1].kind == KIND_ALWAYS;
}

int clattn__expr_numbers(const struct clattn__expr *expr, const int32_t *scalars, const int64_t *array_counts,
                         int32_t *numbers)
{
    for (int i = 0; i < expr->n_numbers; i++) {
        const struct number *n = &expr->numbers[i];
        int64_t count = n->kind == KIND_ARRAY && array_counts ? array_counts[n->value] : 0;
        if (n->kind == KIND_LITERAL)
            numbers[i] = n->value;
        else if (n->kind == KIND_SCALAR)
            numbers[i] = scalars ? scalars[n->value] : 0;
        else
            numbers[i] = count > INT32_MAX ? INT32_MAX : (int32_t)count;
    }
    return expr->n_numbers;
}
