/* SPDX-License-Identifier: MIT
 * eval.c - values of a graph on the host, and what kernels need to compute the same.
 *
 * All values are doubles: ints and bools are whole ones.  In f32 semantics every float operation is rounded
 * after it was computed in double, which gives the correctly rounded f32 result of + - * / and sqrt. */
#include "expr/tree.h"

#include <math.h>
#include <string.h>

/* ---- operators ---- */
static int32_t floor_div(int32_t a, int32_t b)
{
    if (b == 0)
        return 0;
    int64_t quotient = (int64_t)a / b;
    return wrap((uint32_t)(quotient - ((int64_t)a % b != 0 && (a < 0) != (b < 0))));
}

static int32_t apply_int(enum kind kind, int32_t a, int32_t b)
{
    switch (kind) {
    case KIND_NEG: return wrap(0u - (uint32_t)a);
    case KIND_ADD: return wrap((uint32_t)a + (uint32_t)b);
    case KIND_SUB: return wrap((uint32_t)a - (uint32_t)b);
    case KIND_MUL: return wrap((uint32_t)a * (uint32_t)b);
    case KIND_IDIV: return floor_div(a, b);
    case KIND_MOD: return b == 0 ? 0 : wrap((uint32_t)a - (uint32_t)floor_div(a, b) * (uint32_t)b);
    case KIND_MIN: return a < b ? a : b;
    case KIND_MAX: return a > b ? a : b;
    case KIND_ABS: return a < 0 ? wrap(0u - (uint32_t)a) : a;
    case KIND_RELU: return a < 0 ? 0 : a;
    default: return 0;
    }
}

static double softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x))) + (isnan(x) ? x : 0);
}

static double apply_float(enum kind kind, double a, double b)
{
    switch (kind) {
    case KIND_FLOAT: return a;
    case KIND_NEG: return -a;
    case KIND_ADD: return a + b;
    case KIND_SUB: return a - b;
    case KIND_MUL: return a * b;
    case KIND_DIV: return a / b;
    case KIND_MIN: return b < a || isnan(b) ? b : a;
    case KIND_MAX: return b > a || isnan(b) ? b : a;
    case KIND_ABS: return fabs(a);
    case KIND_RELU: return a < 0 ? 0 : a;
    case KIND_EXP: return exp(a);
    case KIND_EXP2: return exp2(a);
    case KIND_LOG: return log(a);
    case KIND_LOG2: return log2(a);
    case KIND_SQRT: return sqrt(a);
    case KIND_TANH: return tanh(a);
    case KIND_SIGMOID: return 1 / (1 + exp(-a));
    case KIND_SOFTPLUS: return softplus(a);
    default: return 0;
    }
}

/* The largest integer not above x; saturating, 0 for NaN and for -0, which is no whole number. */
static double floor_to_int(double x)
{
    double y = floor(x);
    return isnan(y) || y == 0 ? 0 : y < INT32_MIN ? INT32_MIN : y > INT32_MAX ? INT32_MAX : y;
}

static double compare(enum kind kind, double a, double b)
{
    switch (kind) {
    case KIND_LE: return a <= b;
    case KIND_LT: return a < b;
    case KIND_EQ: return a == b;
    case KIND_NE: return a != b;
    case KIND_NOT: return a == 0;
    case KIND_AND: return a != 0 && b != 0;
    case KIND_XOR: return (a != 0) != (b != 0);
    default: return a != 0 || b != 0;
    }
}

double clattn__expr_apply(enum kind kind, enum type type, const double *args, bool exact)
{
    enum signature sign = clattn__expr_kinds[kind].signature;
    if (kind == KIND_SELECT)
        return args[0] != 0 ? args[1] : args[2];
    if (sign == SIGN_COMPARE || sign == SIGN_LOGIC)
        return compare(kind, args[0], args[1]);
    if (sign == SIGN_FLOOR)
        return floor_to_int(args[0]);
    if (sign == SIGN_WHOLE || (sign == SIGN_SAME && type == TYPE_INT))
        return apply_int(kind, (int32_t)args[0], (int32_t)args[1]);
    double x = apply_float(kind, args[0], args[1]);
    return exact ? x : (double)(float)x;
}

enum type clattn__operand_type(const struct clattn__expr *expr, const struct node *node)
{
    return expr->nodes[node->args[clattn__expr_kinds[node->kind].signature == SIGN_CHOICE ? 1 : 0]].type;
}

/* ---- leaves ---- */
static double index_value(enum clattn__index index, const struct clattn__expr_point *at)
{
    switch (index) {
    case CLATTN__INDEX_Q: return at->q;
    case CLATTN__INDEX_K: return at->k;
    case CLATTN__INDEX_B: return at->b;
    case CLATTN__INDEX_H: return at->h;
    case CLATTN__INDEX_G: return at->g;
    case CLATTN__INDEX_Q_LEN: return at->q_len;
    case CLATTN__INDEX_K_LEN: return at->k_len;
    case CLATTN__INDEX_SCORE: return at->score;
    }
    return 0;
}

static double half_value(uint16_t half)
{
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double magnitude = exponent == 31  ? (mantissa ? NAN : INFINITY)
                       : exponent == 0 ? ldexp(mantissa, -24)
                                       : ldexp(mantissa + 1024, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

double clattn__array_element(const clattn_array *array, const void *data, const int64_t *index)
{
    int64_t row = 0, last = index[array->n_dims - 1];
    for (int d = 0; d < array->n_dims - 1; d++)
        row = row * array->dims[d] + index[d];
    int64_t width = array->dims[array->n_dims - 1], at = row * width + last;
    switch (array->type) {
    case CLATTN_F16: return half_value(((const uint16_t *)data)[at]);
    case CLATTN_BF16: return bits_float(wrap((uint32_t)((const uint16_t *)data)[at] << 16));
    case CLATTN_I32: return ((const int32_t *)data)[at];
    case CLATTN_I8: return ((const int8_t *)data)[at];
    case CLATTN_BITS:
        return ((const uint32_t *)data)[row * ((width + 31) / 32) + last / 32] >> (last % 32) & 1;
    default: return ((const float *)data)[at];
    }
}

static double element(const struct clattn__expr_values *values, const struct node *n, const double *result)
{
    int64_t index[CLATTN_MAX_DIMS];
    if (!values || !values->data || !values->data[n->value])
        return 0;
    const clattn_array *array = &values->arrays[n->value];
    for (int d = 0; d < n->n_args; d++) {
        int64_t i = (int64_t)result[n->args[d]], most = array->dims[d] - 1;
        index[d] = i < 0 ? 0 : i > most ? most : i;
    }
    return clattn__array_element(array, values->data[n->value], index);
}

static double leaf(const struct node *n, const struct clattn__expr_point *at,
                   const struct clattn__expr_values *values)
{
    if (n->kind == KIND_INDEX)
        return index_value((enum clattn__index)n->value, at);
    if (n->kind == KIND_LITERAL)
        return literal_value(n);
    if (n->kind == KIND_LISTED)
        return clattn__expr_is_listed(at, values);
    double value = values && values->scalars ? values->scalars[n->value].value : 0;
    return n->type == TYPE_FLOAT ? (double)(float)value : value;
}

/* ---- lists ---- */
static int64_t at_most(int64_t x, int64_t most)
{
    return x < 0 ? 0 : x > most ? most : x;
}

bool clattn__expr_is_listed(const struct clattn__expr_point *at, const struct clattn__expr_values *values)
{
    const struct clattn__lists *lists = values ? values->lists : NULL;
    if (!lists || !lists->data)
        return false;
    const clattn_list *l = lists->shape;
    const int64_t row = (int64_t)at->q - (lists->bottom_right ? at->k_len - at->q_len : 0);
    const int64_t list =
        (at->b * l->scopes + at->h / lists->heads) * l->q_blocks + at_most(row / l->block_q, l->q_blocks - 1);
    const int32_t *ids = lists->data + l->ids_at / 4 + list * l->capacity, block = at->k / l->block_k;
    int64_t first = 0, end = at_most(lists->data[l->counts_at / 4 + list], l->capacity);
    while (first < end) {
        const int64_t middle = first + (end - first) / 2;
        if (ids[middle] == block)
            return true;
        if (ids[middle] < block)
            first = middle + 1;
        else
            end = middle;
    }
    return false;
}

/* ---- the graph ---- */
void clattn__expr_values_at(const struct clattn__expr *expr, const struct clattn__expr_point *at,
                            const struct clattn__expr_values *values, bool exact,
                            double result[CLATTN__EXPR_MAX_NODES])
{
    for (int i = 0; i < expr->n_nodes; i++) {
        const struct node *n = &expr->nodes[i];
        if (n->kind == KIND_ARRAY) {
            result[i] = element(values, n, result);
        } else if (n->n_args == 0) {
            result[i] = leaf(n, at, values);
        } else {
            double args[CLATTN_MAX_DIMS] = {0};
            for (int j = 0; j < n->n_args; j++)
                args[j] = result[n->args[j]];
            result[i] = clattn__expr_apply(n->kind, clattn__operand_type(expr, n), args, exact);
        }
    }
}

double clattn__expr_eval(const struct clattn__expr *expr, enum clattn__use use,
                         const struct clattn__expr_point *at, const struct clattn__expr_values *values,
                         bool exact)
{
    double result[CLATTN__EXPR_MAX_NODES];
    if (expr->root[use] < 0)
        return use == CLATTN__MASK ? 1 : at->score;
    clattn__expr_values_at(expr, at, values, exact, result);
    return result[expr->root[use]];
}

/* ---- what a graph uses ---- */
bool clattn__expr_has(const struct clattn__expr *expr, enum clattn__use use)
{
    return expr->root[use] >= 0;
}

static bool has_leaf(const struct clattn__expr *expr, enum kind kind, int32_t value)
{
    for (int i = 0; i < expr->n_nodes; i++)
        if (expr->nodes[i].kind == kind && expr->nodes[i].value == value)
            return true;
    return false;
}

bool clattn__expr_uses_index(const struct clattn__expr *expr, enum clattn__index index)
{
    return has_leaf(expr, KIND_INDEX, (int32_t)index);
}

bool clattn__expr_uses_array(const struct clattn__expr *expr, int array)
{
    return has_leaf(expr, KIND_ARRAY, array);
}

void clattn__expr_reach(const struct clattn__expr *expr, enum clattn__use use,
                        bool reached[CLATTN__EXPR_MAX_NODES])
{
    memset(reached, 0, CLATTN__EXPR_MAX_NODES * sizeof *reached);
    if (expr->root[use] >= 0)
        reached[expr->root[use]] = true;
    for (int i = expr->n_nodes - 1; i >= 0; i--)
        for (int j = 0; reached[i] && j < expr->nodes[i].n_args; j++)
            reached[expr->nodes[i].args[j]] = true;
}

static bool rule_has_leaf(const struct clattn__expr *expr, enum clattn__use use, enum kind kind,
                          int32_t value)
{
    bool reached[CLATTN__EXPR_MAX_NODES];
    clattn__expr_reach(expr, use, reached);
    for (int i = 0; i < expr->n_nodes; i++)
        if (reached[i] && expr->nodes[i].kind == kind && expr->nodes[i].value == value)
            return true;
    return false;
}

bool clattn__expr_rule_uses_array(const struct clattn__expr *expr, enum clattn__use use, int array)
{
    return rule_has_leaf(expr, use, KIND_ARRAY, array);
}

bool clattn__expr_uses_list(const struct clattn__expr *expr)
{
    return has_leaf(expr, KIND_LISTED, 0);
}

bool clattn__expr_rule_uses_list(const struct clattn__expr *expr, enum clattn__use use)
{
    return rule_has_leaf(expr, use, KIND_LISTED, 0);
}

int clattn__expr_cost(const struct clattn__expr *expr, enum clattn__use use)
{
    bool reached[CLATTN__EXPR_MAX_NODES];
    int cost = 0;
    clattn__expr_reach(expr, use, reached);
    for (int i = 0; i < expr->n_nodes; i++) {
        const struct node *n = &expr->nodes[i];
        bool varies = reached[i] && n->depends; /* the rest is computed once */
        bool function = n->kind >= KIND_EXP && n->kind <= KIND_SOFTPLUS;
        if (varies && (n->n_args > 0 || n->kind == KIND_LISTED))
            cost += n->kind == KIND_ARRAY ? 4 : n->kind == KIND_LISTED ? 16 : function || n->kind == KIND_IDIV || n->kind == KIND_MOD ? 16 : 1;
    }
    return cost;
}

int clattn__expr_numbers(const struct clattn__expr *expr, const clattn_scalar *scalars,
                         const clattn_array *arrays, int32_t *numbers)
{
    for (int i = 0; i < expr->n_numbers; i++) {
        const struct number *n = &expr->numbers[i];
        if (n->kind == KIND_LITERAL)
            numbers[i] = n->value;
        else if (n->kind == KIND_SCALAR)
            numbers[i] = scalar_bits(scalars[n->value].type == CLATTN_F32, scalars[n->value].value);
        else
            numbers[i] = (int32_t)arrays[n->value].dims[n->dimension];
    }
    return expr->n_numbers;
}

/* Blocks of 64 along the last index and of 16 along the one before it, where the mask reads them at places
 * that differ inside a tile; single elements elsewhere. */
struct clattn__table clattn__expr_table(const struct clattn__expr *expr, int array)
{
    bool reached[CLATTN__EXPR_MAX_NODES];
    struct clattn__table table = {false, 1, 1};
    clattn__expr_reach(expr, CLATTN__MASK, reached);
    for (int i = 0; i < expr->n_nodes; i++) {
        const struct node *n = &expr->nodes[i];
        if (!reached[i] || n->kind != KIND_ARRAY || n->value != array || !n->depends)
            continue;
        const unsigned inside = DEPENDS_Q | DEPENDS_K;
        table.needed = true;
        if (expr->nodes[n->args[n->n_args - 1]].depends & inside)
            table.columns = 64;
        if (n->n_args > 1 && expr->nodes[n->args[n->n_args - 2]].depends & inside)
            table.rows = 16;
    }
    return table;
}
