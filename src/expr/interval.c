/* SPDX-License-Identifier: MIT
 * interval.c - the class of a tile by interval arithmetic: that of kernels, read from
 * cl/common/rule_interval.clh. */
#include "expr/tree.h"

#include <float.h>
#include <limits.h>
#include <math.h>

/* What OpenCL C has and C has not, for the text that both compile. */
#define I64 int64_t
#define I32 int32_t
#define __global
#define as_float bits_float
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#include "rule_interval.clh"
#include "rule_list.clh"

/* An array's elements are looked at one by one in a box of no more than these; else they may be anything. */
enum { SCAN = 4096 };

union range {
    struct irange i;
    struct frange f;
    int class;
};

/* ---- leaves ---- */
static union range of_bits(enum type type, int32_t bits)
{
    switch (type) {
    case TYPE_INT: return (union range){.i = xi_int(bits)};
    case TYPE_FLOAT: return (union range){.f = xi_frange(bits_float(bits))};
    default: return (union range){.class = xi_bool(bits != 0)};
    }
}

static union range scalar(const struct node *n, const struct clattn__expr_values *values)
{
    double x = values && values->scalars ? values->scalars[n->value].value : 0;
    return of_bits(n->type, scalar_bits(n->type == TYPE_FLOAT, x));
}

static struct irange index_range(enum clattn__index index, const struct clattn__expr_box *box)
{
    switch (index) {
    case CLATTN__INDEX_Q: return xi_span(box->q0, box->q1);
    case CLATTN__INDEX_K: return xi_span(box->k0, box->k1);
    case CLATTN__INDEX_B: return xi_int(box->b);
    case CLATTN__INDEX_H: return xi_span(box->h0, box->h1);
    case CLATTN__INDEX_G: return xi_int(box->g);
    case CLATTN__INDEX_Q_LEN: return xi_int(box->q_len);
    case CLATTN__INDEX_K_LEN: return xi_int(box->k_len);
    case CLATTN__INDEX_SCORE: break; /* in no mask */
    }
    return xi_span(INT_MIN, INT_MAX);
}

/* ---- arrays ---- */
struct elements {
    int n_dims;
    int64_t first[CLATTN_MAX_DIMS], last[CLATTN_MAX_DIMS], at[CLATTN_MAX_DIMS];
};

/* The elements that the indices, clamped, may mean; their number, or more than SCAN. */
static int64_t find_elements(struct elements *e, const clattn_array *array, const struct node *n,
                             const union range *ranges)
{
    int64_t total = 1;
    e->n_dims = n->n_args;
    for (int i = 0; i < e->n_dims; i++) {
        const struct irange index = ranges[n->args[i]].i;
        const int64_t end = array->dims[i] - 1;
        e->at[i] = e->first[i] = max(min(index.lo, end), 0);
        e->last[i] = max(min(index.hi, end), 0);
        total = total > SCAN ? total : total * min(e->last[i] - e->first[i] + 1, SCAN + 1);
    }
    return total;
}

static bool next_element(struct elements *e)
{
    for (int i = e->n_dims - 1; i >= 0; i--) {
        if (e->at[i]++ < e->last[i])
            return true;
        e->at[i] = e->first[i];
    }
    return false;
}

/* What any element of a type may be. */
static union range of_type(int32_t type)
{
    switch (type) {
    case CLATTN_I32: return (union range){.i = xi_span(INT_MIN, INT_MAX)};
    case CLATTN_I8: return (union range){.i = xi_span(SCHAR_MIN, SCHAR_MAX)};
    case CLATTN_BITS: return (union range){.class = CLATTN__PARTIAL};
    default: return (union range){.f = xi_anything()};
    }
}

static union range hull(enum type type, double lo, double hi, bool has_nan)
{
    switch (type) {
    case TYPE_INT: return (union range){.i = xi_span((int32_t)lo, (int32_t)hi)};
    case TYPE_FLOAT: return (union range){.f = has_nan ? xi_anything() : xi_floats((float)lo, (float)hi)};
    default: return (union range){.class = (int)(lo + hi)};
    }
}

static union range array_range(const struct node *n, const struct clattn__expr_values *values,
                               const union range *ranges)
{
    const clattn_array *array = values && values->arrays ? &values->arrays[n->value] : NULL;
    const void *data = array && values->data ? values->data[n->value] : NULL;
    struct elements e;
    double lo = INFINITY, hi = -INFINITY;
    bool has_nan = false;
    if (!data)
        return of_bits(n->type, 0);
    if (find_elements(&e, array, n, ranges) > SCAN)
        return of_type(array->type);
    do {
        double x = clattn__array_element(array, data, e.at);
        has_nan |= x != x;
        lo = min(x, lo);
        hi = max(x, hi);
    } while (next_element(&e));
    return hull(n->type, lo, hi, has_nan);
}

/* ---- lists ---- */
static int listed(const struct clattn__expr_box *box, const struct clattn__expr_values *values)
{
    const struct clattn__lists *lists = values ? values->lists : NULL;
    if (!lists || !lists->data)
        return CLATTN__EMPTY;
    const clattn_list *l = lists->shape;
    const struct list_args args = {l->counts_at / 4, l->ids_at / 4, (int32_t)l->scopes, (int32_t)l->q_blocks,
                                   (int32_t)l->capacity, lists->heads, l->block_q, l->block_k};
    const struct lists of_entry =
        find_lists(lists->data, &args, box->b, lists->bottom_right ? box->k_len - box->q_len : 0);
    return xi_listed(&of_entry, xi_span(box->q0, box->q1), xi_span(box->h0, box->h1),
                     xi_span(box->k0, box->k1));
}

/* ---- operators ---- */
static struct irange whole(const struct node *n, union range a, union range b, union range c)
{
    switch (n->kind) {
    case KIND_NEG: return xi_ineg(a.i);
    case KIND_ADD: return xi_iadd(a.i, b.i);
    case KIND_SUB: return xi_isub(a.i, b.i);
    case KIND_MUL: return xi_imul(a.i, b.i);
    case KIND_IDIV: return xi_idiv(a.i, b.i);
    case KIND_MOD: return xi_imod(a.i, b.i);
    case KIND_MIN: return xi_imin(a.i, b.i);
    case KIND_MAX: return xi_imax(a.i, b.i);
    case KIND_ABS: return xi_iabs(a.i);
    case KIND_RELU: return xi_irelu(a.i);
    case KIND_FLOOR: return xi_floor(a.f);
    case KIND_SELECT: return xi_iselect(a.class, b.i, c.i);
    default: return xi_span(INT_MIN, INT_MAX);
    }
}

static struct frange real(const struct node *n, union range a, union range b, union range c)
{
    switch (n->kind) {
    case KIND_FLOAT: return xi_float(a.i);
    case KIND_NEG: return xi_fneg(a.f);
    case KIND_ADD: return xi_fadd(a.f, b.f);
    case KIND_SUB: return xi_fsub(a.f, b.f);
    case KIND_MUL: return xi_fmul(a.f, b.f);
    case KIND_DIV: return xi_fdiv(a.f, b.f);
    case KIND_MIN: return xi_fmin(a.f, b.f);
    case KIND_MAX: return xi_fmax(a.f, b.f);
    case KIND_ABS: return xi_fabs(a.f);
    case KIND_RELU: return xi_frelu(a.f);
    case KIND_EXP: return xi_exp(a.f);
    case KIND_EXP2: return xi_exp2(a.f);
    case KIND_LOG: return xi_log(a.f);
    case KIND_LOG2: return xi_log2(a.f);
    case KIND_SQRT: return xi_sqrt(a.f);
    case KIND_TANH: return xi_tanh(a.f);
    case KIND_SIGMOID: return xi_sigmoid(a.f);
    case KIND_SOFTPLUS: return xi_softplus(a.f);
    case KIND_SELECT: return xi_fselect(a.class, b.f, c.f);
    default: return xi_anything();
    }
}

static int condition(const struct node *n, enum type operand, union range a, union range b, union range c)
{
    bool ints = operand == TYPE_INT;
    switch (n->kind) {
    case KIND_LE: return ints ? xi_ile(a.i, b.i) : xi_fle(a.f, b.f);
    case KIND_LT: return ints ? xi_ilt(a.i, b.i) : xi_flt(a.f, b.f);
    case KIND_EQ: return ints ? xi_ieq(a.i, b.i) : xi_feq(a.f, b.f);
    case KIND_NE: return ints ? xi_ine(a.i, b.i) : xi_fne(a.f, b.f);
    case KIND_NOT: return xi_not(a.class);
    case KIND_AND: return xi_and(a.class, b.class);
    case KIND_XOR: return xi_xor(a.class, b.class);
    case KIND_OR: return xi_or(a.class, b.class);
    case KIND_SELECT: return xi_bselect(a.class, b.class, c.class);
    default: return CLATTN__PARTIAL;
    }
}

static union range operator_range(const struct clattn__expr *expr, const struct node *n,
                                  const union range *ranges)
{
    const union range none = {.i = {0, 0}};
    const union range a = ranges[n->args[0]], b = n->n_args > 1 ? ranges[n->args[1]] : none,
                      c = n->n_args > 2 ? ranges[n->args[2]] : none;
    switch (n->type) {
    case TYPE_INT: return (union range){.i = whole(n, a, b, c)};
    case TYPE_FLOAT: return (union range){.f = real(n, a, b, c)};
    default: return (union range){.class = condition(n, clattn__operand_type(expr, n), a, b, c)};
    }
}

/* ---- the whole ---- */
enum clattn__class clattn__expr_classify(const struct clattn__expr *expr, const struct clattn__expr_box *box,
                                         const struct clattn__expr_values *values)
{
    union range ranges[CLATTN__EXPR_MAX_NODES];
    bool needed[CLATTN__EXPR_MAX_NODES];
    const int root = expr->root[CLATTN__MASK];
    if (root < 0)
        return CLATTN__FULL;
    /* what other rules look up may be costly, and a score has no range */
    clattn__expr_reach(expr, CLATTN__MASK, needed);
    for (int i = 0; i <= root; i++) {
        const struct node *n = &expr->nodes[i];
        if (!needed[i])
            continue;
        switch (n->kind) {
        case KIND_LITERAL: ranges[i] = of_bits(n->type, n->value); break;
        case KIND_SCALAR: ranges[i] = scalar(n, values); break;
        case KIND_INDEX: ranges[i].i = index_range((enum clattn__index)n->value, box); break;
        case KIND_ARRAY: ranges[i] = array_range(n, values, ranges); break;
        case KIND_LISTED: ranges[i].class = listed(box, values); break;
        default: ranges[i] = operator_range(expr, n, ranges);
        }
    }
    return (enum clattn__class)ranges[root].class;
}
