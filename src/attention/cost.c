/* SPDX-License-Identifier: MIT
 * cost.c - a problem's operations and bytes: what speed is measured against. */
#include "attention/attention.h"

#define LEAF 8             /* tiles of LEAF x LEAF pairs are counted pair by pair */
#define MOST_LOOKS 4000000 /* pairs that are looked at, about a second */

struct counter {
    const struct clattn__expr *rules;
    struct clattn__expr_values values;
    struct clattn__expr_box box; /* q and k bounds are set for each tile */
    double looks;
};

static double count_pairs(struct counter *c)
{
    double pairs = 0, all = ((double)c->box.q1 - c->box.q0 + 1) * ((double)c->box.k1 - c->box.k0 + 1);
    c->looks += all;
    if (c->looks > MOST_LOOKS)
        return all;
    for (int32_t q = c->box.q0; q <= c->box.q1; q++)
        for (int32_t k = c->box.k0; k <= c->box.k1; k++) {
            struct clattn__expr_point at = {q, k, c->box.b, c->box.h0, c->box.g, c->box.q_len, c->box.k_len,
                                            0};
            pairs += clattn__expr_eval(c->rules, CLATTN__MASK, &at, &c->values, false);
        }
    return pairs;
}

/* Visible pairs of a box: whole if FULL, none if EMPTY, else those of its quarters. */
static double count_box(struct counter *c, int32_t q0, int32_t q1, int32_t k0, int32_t k1)
{
    if (q0 > q1 || k0 > k1)
        return 0;
    c->box.q0 = q0;
    c->box.q1 = q1;
    c->box.k0 = k0;
    c->box.k1 = k1;
    enum clattn__class class = clattn__expr_classify(c->rules, &c->box, &c->values);
    if (class == CLATTN__EMPTY)
        return 0;
    if (class == CLATTN__FULL)
        return ((double)q1 - q0 + 1) * ((double)k1 - k0 + 1);
    if (q1 - q0 < LEAF && k1 - k0 < LEAF)
        return count_pairs(c);
    int32_t q = q0 + (q1 - q0) / 2, k = k0 + (k1 - k0) / 2;
    if (q1 - q0 < LEAF)
        return count_box(c, q0, q1, k0, k) + count_box(c, q0, q1, k + 1, k1);
    if (k1 - k0 < LEAF)
        return count_box(c, q0, q, k0, k1) + count_box(c, q + 1, q1, k0, k1);
    return count_box(c, q0, q, k0, k) + count_box(c, q0, q, k + 1, k1) + count_box(c, q + 1, q1, k0, k) +
           count_box(c, q + 1, q1, k + 1, k1);
}

/* Arrays or lists. */
static bool mask_reads_arrays(const struct clattn__problem *p)
{
    for (int i = 0; i < p->a.n_arrays; i++)
        if (clattn__expr_rule_uses_array(p->rules, CLATTN__MASK, i))
            return true;
    return clattn__expr_rule_uses_list(p->rules, CLATTN__MASK);
}

/* Visible pairs of all heads and batch entries at their full lengths; what is alike for all is counted
 * once. */
static double visible_pairs(const struct clattn__problem *p, const void *const *arrays)
{
    const clattn_attention *a = &p->a;
    const int32_t shift = (int32_t)(p->bottom_right ? a->kv_len - a->q_len : 0);
    const struct clattn__lists lists =
        clattn__problem_lists(p, p->reads_list && arrays ? arrays[a->n_arrays] : NULL);
    struct counter c = {.rules = p->rules, .values = {a->scalars, a->arrays, arrays, &lists}};
    bool by_entry = p->reads_list || clattn__expr_uses_index(p->rules, CLATTN__INDEX_B);
    bool by_head = (p->reads_list && a->list.scopes > 1) ||
                   clattn__expr_uses_index(p->rules, CLATTN__INDEX_H) ||
                   clattn__expr_uses_index(p->rules, CLATTN__INDEX_G);
    int64_t entries = by_entry ? a->batch : 1, heads = by_head ? a->heads : 1;
    double pairs = 0, copies = (double)(a->batch / entries) * (double)(a->heads / heads);
    if (a->q_len == 0 || a->kv_len == 0)
        return 0;
    if (!arrays && mask_reads_arrays(p)) /* unknown before the arrays are */
        return (double)a->batch * (double)a->heads * (double)a->q_len * (double)a->kv_len;
    c.box.q_len = (int32_t)a->q_len;
    c.box.k_len = (int32_t)a->kv_len;
    for (int64_t i = 0; i < entries * heads; i++) {
        c.box.b = (int32_t)(i / heads);
        c.box.h0 = c.box.h1 = (int32_t)(i % heads);
        c.box.g = (int32_t)(c.box.h0 / (a->heads / a->kv_heads));
        pairs += count_box(&c, shift, shift + (int32_t)a->q_len - 1, 0, (int32_t)a->kv_len - 1);
    }
    return pairs * copies;
}

double clattn_problem_flops(const clattn_attention *problem, const void *const *arrays)
{
    struct clattn__problem p;
    if (clattn__problem_resolve(&p, problem, NULL, 0))
        return 0;
    double flops = 2.0 * (double)(p.a.dim + p.a.dim_v) * visible_pairs(&p, arrays);
    clattn__problem_free(&p);
    return flops;
}

double clattn_problem_bytes(const clattn_attention *problem)
{
    struct clattn__problem p;
    double bytes = 0;
    if (clattn__problem_resolve(&p, problem, NULL, 0))
        return 0;
    for (int t = CLATTN__Q; t < CLATTN__TENSORS; t++) {
        struct clattn__shape s = clattn__tensor_shape(&p.a, t);
        if (t < CLATTN__LSE || p.a.flags & CLATTN_WANT_LSE)
            bytes += (double)s.batch * (double)s.heads * (double)s.tokens * (double)s.width *
                     clattn__type_bytes(clattn__tensor_type(&p.a, t));
    }
    clattn__problem_free(&p);
    return bytes;
}
