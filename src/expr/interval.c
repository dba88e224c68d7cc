/* SPDX-License-Identifier: MIT
 * interval.c - the class of a tile by interval arithmetic; cl/common/pattern.clh says the same for devices.
 *
 *     number     ->  [lo, hi] in 64 bits; what leaves 32 bits becomes every 32-bit number, since arithmetic wraps
 *     condition  ->  EMPTY 0 < PARTIAL 1 < FULL 2:  and = min, or = max, not = 2 - x
 */
#include "expr/tree.h"

struct range {
    int64_t lo, hi; /* conditions: the class in both */
};

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static struct range whole_if_wide(int64_t lo, int64_t hi)
{
    if (lo < INT32_MIN || hi > INT32_MAX)
        return (struct range){INT32_MIN, INT32_MAX};
    return (struct range){lo, hi};
}

static struct range product(struct range a, struct range b)
{
    int64_t w = a.lo * b.lo, x = a.lo * b.hi, y = a.hi * b.lo, z = a.hi * b.hi;
    return whole_if_wide(min64(min64(w, x), min64(y, z)), max64(max64(w, x), max64(y, z)));
}

static struct range number(enum kind kind, struct range a, struct range b)
{
    switch (kind) {
    case KIND_NEG: return whole_if_wide(-a.hi, -a.lo);
    case KIND_ADD: return whole_if_wide(a.lo + b.lo, a.hi + b.hi);
    case KIND_SUB: return whole_if_wide(a.lo - b.hi, a.hi - b.lo);
    case KIND_MUL: return product(a, b);
    case KIND_MIN: return (struct range){min64(a.lo, b.lo), min64(a.hi, b.hi)};
    default: return (struct range){max64(a.lo, b.lo), max64(a.hi, b.hi)};
    }
}

static int class_if(bool all, bool none)
{
    return all ? CLATTN__FULL : none ? CLATTN__EMPTY : CLATTN__PARTIAL;
}

static int less(struct range a, struct range b)
{
    return class_if(a.hi < b.lo, a.lo >= b.hi);
}

static int equal(struct range a, struct range b)
{
    return class_if(a.lo == a.hi && b.lo == b.hi && a.lo == b.lo, a.hi < b.lo || b.hi < a.lo);
}

static int condition(enum kind kind, struct range a, struct range b)
{
    switch (kind) {
    case KIND_LT: return less(a, b);
    case KIND_LE: return 2 - less(b, a);
    case KIND_GT: return less(b, a);
    case KIND_GE: return 2 - less(a, b);
    case KIND_EQ: return equal(a, b);
    case KIND_NE: return 2 - equal(a, b);
    case KIND_NOT: return (int)(2 - a.lo);
    case KIND_AND: return (int)min64(a.lo, b.lo);
    case KIND_OR: return (int)max64(a.lo, b.lo);
    default: return CLATTN__FULL;
    }
}

static struct range leaf(const struct node *n, const struct clattn__expr_box *box, int32_t value)
{
    struct range one = {value, value};
    if (n->kind != KIND_INDEX)
        return one;
    switch ((enum clattn__index)n->value) {
    case CLATTN__INDEX_Q: return (struct range){box->q0, box->q1};
    case CLATTN__INDEX_K: return (struct range){box->k0, box->k1};
    case CLATTN__INDEX_H: return (struct range){box->h0, box->h1};
    default: return one;
    }
}

enum clattn__class clattn__expr_classify(const struct clattn__expr *expr, const struct clattn__expr_box *box,
                                         const struct clattn__expr_values *values)
{
    /* Array elements, literals, scalars and uniform indices have the same value all over the box. */
    const struct clattn__expr_point corner = {box->q0, box->k0, box->b, box->h0, box->g, box->q_len, box->k_len};
    int32_t value[CLATTN__EXPR_MAX_NODES];
    struct range range[CLATTN__EXPR_MAX_NODES];
    clattn__expr_values_at(expr, &corner, values, value);
    for (int i = 0; i < expr->n_nodes; i++) {
        const struct node *n = &expr->nodes[i];
        const struct range none = {0, 0};
        struct range a = n->left < 0 ? none : range[n->left], b = n->right < 0 ? none : range[n->right];
        if (is_condition(n->kind)) {
            int class = condition(n->kind, a, b);
            range[i] = (struct range){class, class};
        } else if (n->left < 0 || n->kind == KIND_ARRAY) {
            range[i] = leaf(n, box, value[i]);
        } else {
            range[i] = number(n->kind, a, b);
        }
    }
    return (enum clattn__class)range[expr->n_nodes - 1].lo;
}
