/* SPDX-License-Identifier: MIT
 * bias.c - score rules that only add to the score: their bias, and by how much it grows from key to key, as
 * kernel text.
 *
 *     score - slope[h] * (q - k)    bias -(slope[h] * (q - k)),  step -(slope[h] * (0 - 1))
 *
 * A kernel then takes the bias of the first of its keys and adds steps, instead of computing each.
 */
#include "expr/emit.h"

static bool is_score(const struct node *n)
{
    return n->kind == KIND_INDEX && n->value == CLATTN__INDEX_SCORE;
}

/* -1: the rule does more. */
static int find_bias(const struct clattn__expr *e)
{
    if (e->root[CLATTN__SCORE] < 0)
        return -1;
    const struct node *n = &e->nodes[e->root[CLATTN__SCORE]];
    const bool sum = n->kind == KIND_ADD, difference = n->kind == KIND_SUB;
    int bias = -1;
    if ((sum || difference) && is_score(&e->nodes[n->args[0]]))
        bias = n->args[1];
    else if (sum && is_score(&e->nodes[n->args[1]]))
        bias = n->args[0];
    return bias >= 0 && !(e->nodes[bias].depends & DEPENDS_SCORE) ? bias : -1;
}

bool clattn__has_bias(const struct clattn__expr *e)
{
    return find_bias(e) >= 0;
}

static bool grows(const struct clattn__expr *e, int node)
{
    return e->nodes[node].depends & DEPENDS_K;
}

/* Whether a number grows by the same from key to key.  No products of ints: they may wrap. */
static bool is_even(const struct clattn__expr *e, int node)
{
    const struct node *n = &e->nodes[node];
    if (!grows(e, node) || n->kind == KIND_INDEX)
        return true;
    const int a = n->args[0], b = n->args[n->n_args - 1];
    switch (n->kind) {
    case KIND_FLOAT:
    case KIND_NEG: return is_even(e, a);
    case KIND_ADD:
    case KIND_SUB: return is_even(e, a) && is_even(e, b);
    case KIND_MUL:
        return n->type == TYPE_FLOAT && !(grows(e, a) && grows(e, b)) && is_even(e, a) && is_even(e, b);
    default: return false;
    }
}

bool clattn__has_bias_step(const struct clattn__expr *e)
{
    const int bias = find_bias(e);
    return bias >= 0 && grows(e, bias) && is_even(e, bias);
}

/* By how much an even number grows: an expression in what does not. */
static void emit_step(const struct emitter *m, int node)
{
    static const char *const between[KIND_COUNT] = {
        [KIND_ADD] = " + ", [KIND_SUB] = " - ", [KIND_MUL] = " * "};
    const struct node *n = &m->e->nodes[node];
    if (n->kind == KIND_INDEX) {
        clattn__text_add(m->out, "1.0f");
        return;
    }
    clattn__text_add(m->out, n->kind == KIND_NEG ? "-(" : "(");
    for (int i = 0; i < n->n_args; i++) {
        clattn__text_add(m->out, "%s", i > 0 ? between[n->kind] : "");
        if (grows(m->e, n->args[i]))
            emit_step(m, n->args[i]);
        else if (n->kind == KIND_MUL)
            clattn__emit_name(m, n->args[i]);
        else
            clattn__text_add(m->out, "0.0f");
    }
    clattn__text_add(m->out, ")");
}

void clattn__emit_bias(const struct emitter *m)
{
    static const char *const names[] = {"bias", "bias_step"};
    const int bias = find_bias(m->e), n = bias < 0 ? 0 : 1 + clattn__has_bias_step(m->e);
    const bool taken_away = n > 0 && m->e->nodes[m->e->root[CLATTN__SCORE]].kind == KIND_SUB;
    for (int i = 0; i < n; i++) {
        clattn__emit_head(m, "float", names[i]);
        clattn__text_add(m->out, ") \\\n{ \\\n");
        clattn__emit_statements(m, bias);
        clattn__text_add(m->out, "    return %s", taken_away ? "-" : "");
        (i == 0 ? clattn__emit_name : emit_step)(m, bias);
        clattn__text_add(m->out, "; \\\n} \\\n");
    }
}
