/* SPDX-License-Identifier: MIT
 * rules.c - what the library makes of a problem's rules, told without a device. */
#include "attention/attention.h"

#include <string.h>

clattn_status clattn_pattern_parse(clattn_pattern *pattern, const char *text, clattn_corner corner,
                                   const clattn_attention *scope, char *message, size_t size)
{
    struct clattn__names names = {0};
    struct clattn__expr *rules = NULL;
    if (message && size)
        message[0] = 0;
    if (!pattern)
        return CLATTN_NULL_ARGUMENT;
    *pattern = clattn_mask(text, corner);
    if (pattern->error)
        return (clattn_status)pattern->error;
    clattn_status status = CLATTN_OK;
    if (scope && scope->size != sizeof *scope)
        status = CLATTN_BAD_STRUCT_SIZE;
    else if (scope)
        status = clattn__declared_check(scope, message, size);
    if (!status && scope)
        names = (struct clattn__names){scope->n_scalars, scope->n_arrays, scope->scalars, scope->arrays};
    if (!status)
        status = clattn__expr_create(&rules, &names, message, size);
    if (!status)
        status = clattn__expr_add(rules, CLATTN__MASK, pattern->text, message, size);
    clattn__expr_free(rules);
    if (status) {
        memset(pattern->text, 0, sizeof pattern->text);
        pattern->error = status;
    }
    return status;
}

clattn_status clattn_named_rule_describe(size_t index, clattn_named_rule *rule)
{
    if (!rule)
        return CLATTN_NULL_ARGUMENT;
    if (rule->size != sizeof *rule)
        return CLATTN_BAD_STRUCT_SIZE;
    for (size_t i = 0; i <= index; i++)
        if (!clattn__named_rules[i].name)
            return CLATTN_BAD_COUNT;
    const struct clattn__named_rule *from = &clattn__named_rules[index];
    rule->name = from->name;
    rule->use = (int32_t)from->use;
    rule->parameters = from->parameters;
    rule->text = from->text;
    rule->meaning = from->meaning;
    return CLATTN_OK;
}

/* Resolve a problem for a call about one of its rules. */
static clattn_status resolve(struct clattn__problem *p, const clattn_attention *problem, clattn_use use)
{
    if (use < CLATTN_MASK_RULE || use > CLATTN_WEIGHT_RULE)
        return CLATTN_BAD_COUNT;
    return clattn__problem_resolve(p, problem, NULL, 0);
}

clattn_status clattn_rule_print(const clattn_attention *problem, clattn_use use, char *text, size_t size)
{
    struct clattn__problem p;
    clattn_status status = resolve(&p, problem, use);
    if (status)
        return status;
    status = clattn__expr_print(p.rules, (enum clattn__use)use, text, size);
    clattn__problem_free(&p);
    return status;
}

clattn_status clattn_rule_derivative(const clattn_attention *problem, clattn_use use, char *text, size_t size)
{
    struct clattn__problem p;
    struct clattn__expr *derivative = NULL;
    clattn_status status = use == CLATTN_MASK_RULE ? CLATTN_BAD_COUNT : resolve(&p, problem, use);
    if (status)
        return status;
    status = clattn__expr_derivative(p.rules, (enum clattn__use)use, &derivative);
    if (!status)
        status = clattn__expr_print(derivative, (enum clattn__use)use, text, size);
    clattn__expr_free(derivative);
    clattn__problem_free(&p);
    return status;
}

clattn_status clattn_rule_kernel_text(const clattn_attention *problem, char *text, size_t size)
{
    struct clattn__problem p;
    clattn_status status = resolve(&p, problem, CLATTN_MASK_RULE);
    if (status)
        return status;
    status = clattn__expr_kernel_text(p.rules, text, size);
    clattn__problem_free(&p);
    return status;
}

clattn_status clattn_rule_cost(const clattn_attention *problem, clattn_use use, int32_t *operations)
{
    struct clattn__problem p;
    clattn_status status = operations ? resolve(&p, problem, use) : CLATTN_NULL_ARGUMENT;
    if (status)
        return status;
    *operations = clattn__expr_cost(p.rules, (enum clattn__use)use);
    clattn__problem_free(&p);
    return CLATTN_OK;
}

static int32_t last_of(int64_t first, int64_t step, int64_t end)
{
    return (int32_t)((first + step < end ? first + step : end) - 1);
}

static void classify(const struct clattn__problem *p, const struct clattn__expr_values *values,
                     struct clattn__expr_box box, int64_t tile_q, int64_t tile_k, uint8_t *classes)
{
    int64_t shift = p->bottom_right ? p->a.kv_len - p->a.q_len : 0;
    for (int64_t i = 0; i < p->a.q_len; i += tile_q)
        for (int64_t j = 0; j < p->a.kv_len; j += tile_k) {
            box.q0 = (int32_t)(i + shift);
            box.q1 = last_of(i, tile_q, p->a.q_len) + (int32_t)shift;
            box.k0 = (int32_t)j;
            box.k1 = last_of(j, tile_k, p->a.kv_len);
            *classes++ = (uint8_t)clattn__expr_classify(p->rules, &box, values);
        }
}

clattn_status clattn_tile_map(const clattn_attention *problem, const void *const *arrays, int64_t batch,
                              int64_t head, int64_t tile_q, int64_t tile_k, uint8_t *classes, size_t count)
{
    struct clattn__problem p;
    clattn_status status = resolve(&p, problem, CLATTN_MASK_RULE);
    if (status)
        return status;
    const clattn_attention *a = &p.a;
    bool good = tile_q > 0 && tile_k > 0 && tile_q <= INT32_MAX && tile_k <= INT32_MAX && batch >= 0 &&
                batch < a->batch && head >= 0 && head < a->heads;
    int64_t tiles = good ? clattn__ceil_div(a->q_len, tile_q) * clattn__ceil_div(a->kv_len, tile_k) : 0;
    if (good && tiles > 0 && !classes)
        status = CLATTN_NULL_ARGUMENT;
    else if (!good || count < (uint64_t)tiles)
        status = CLATTN_BAD_COUNT;
    if (!status) {
        const struct clattn__lists lists =
            clattn__problem_lists(&p, p.reads_list && arrays ? arrays[a->n_arrays] : NULL);
        const struct clattn__expr_values values = {a->scalars, a->arrays, arrays, &lists};
        const struct clattn__expr_box box = {
            .b = (int32_t)batch, .h0 = (int32_t)head, .h1 = (int32_t)head,
            .g = (int32_t)(head / (a->heads / a->kv_heads)), .q_len = (int32_t)a->q_len,
            .k_len = (int32_t)a->kv_len,
        };
        classify(&p, &values, box, tile_q, tile_k, classes);
    }
    clattn__problem_free(&p);
    return status;
}
