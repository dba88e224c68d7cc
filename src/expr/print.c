/* SPDX-License-Identifier: MIT
 * print.c - a rule as canonical text of the language. */
#include "expr/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_node(struct clattn__text *out, const struct clattn__expr *e, int node);

/* The shortest decimal that is read back as the same f32, with a point or an exponent, whatever the
 * locale. */
static void print_float(struct clattn__text *out, float x)
{
    char digits[64], text[64];
    int precision = 0;
    do
        snprintf(digits, sizeof digits, "%.*e", precision, (double)x);
    while (strtof(digits, NULL) != x && ++precision < 9);
    size_t n = 0;
    const char *p = digits;
    for (; *p && *p != 'e'; p++) /* keep sign and digits; what the locale puts between becomes one point */
        if (*p == '-' || (*p >= '0' && *p <= '9'))
            text[n++] = *p;
        else if (text[n - 1] != '.')
            text[n++] = '.';
    text[n] = 0;
    int exponent = atoi(p + 1);
    size_t first = text[0] == '-';
    if (exponent == 0 || exponent < -4 || exponent > 6) {
        clattn__text_add(out, "%s", text);
        if (exponent)
            clattn__text_add(out, "e%d", exponent);
        else if (!precision)
            clattn__text_add(out, ".0");
        return;
    }
    char all[32]; /* the digits without the point */
    size_t count = 0;
    for (size_t i = first; i < n; i++)
        if (text[i] != '.')
            all[count++] = text[i];
    clattn__text_add(out, "%s", first ? "-" : "");
    if (exponent < 0) {
        clattn__text_add(out, "0.%.*s%.*s", -exponent - 1, "000000", (int)count, all);
    } else {
        int whole = exponent + 1, given = (int)count < whole ? (int)count : whole;
        clattn__text_add(out, "%.*s%.*s.", given, all, whole - given, "000000");
        clattn__text_add(out, "%.*s", (int)count > whole ? (int)count - whole : 1,
                         (int)count > whole ? all + whole : "0");
    }
}

/* Whether whoever reads the text converts operand i of a node again without being told: under an operator of
 * reals, and beside an operand that is shown as a float. */
static bool is_implied(const struct clattn__expr *e, const struct node *n, int i)
{
    enum signature sign = clattn__expr_kinds[n->kind].signature;
    int first = sign == SIGN_CHOICE ? 1 : 0;
    if (sign == SIGN_REAL || sign == SIGN_FLOOR)
        return true;
    for (int j = first; j < n->n_args; j++)
        if (e->nodes[n->args[j]].type == TYPE_FLOAT && e->nodes[n->args[j]].kind != KIND_FLOAT)
            return true;
    return i != first; /* all are converted: the first says so */
}

/* What is shown of operand i: without its conversion if that is implied. */
static int shown(const struct clattn__expr *e, const struct node *n, int i)
{
    int node = n->args[i];
    return e->nodes[node].kind == KIND_FLOAT && is_implied(e, n, i) ? e->nodes[node].args[0] : node;
}

static void print_operand(struct clattn__text *out, const struct clattn__expr *e, const struct node *n, int i,
                          enum level least)
{
    int node = shown(e, n, i);
    bool parentheses = clattn__expr_kinds[e->nodes[node].kind].level < least;
    clattn__text_add(out, "%s", parentheses ? "(" : "");
    print_node(out, e, node);
    clattn__text_add(out, "%s", parentheses ? ")" : "");
}

static void print_list(struct clattn__text *out, const struct clattn__expr *e, const struct node *n,
                       const char *open, const char *close)
{
    for (int i = 0; i < n->n_args; i++) {
        clattn__text_add(out, "%s", i ? ", " : open);
        print_node(out, e, n->kind == KIND_ARRAY || n->kind == KIND_FLOAT ? n->args[i] : shown(e, n, i));
    }
    clattn__text_add(out, "%s", close);
}

static void print_leaf(struct clattn__text *out, const struct clattn__expr *e, const struct node *n)
{
    if (n->kind == KIND_SCALAR)
        clattn__text_add(out, "%s", e->scalars[n->value].name);
    else if (n->kind == KIND_INDEX)
        clattn__text_add(out, "%s", clattn__expr_indices[n->value]);
    else if (n->kind == KIND_LISTED)
        clattn__text_add(out, "listed");
    else if (n->type == TYPE_BOOL)
        clattn__text_add(out, "%s", n->value ? "true" : "false");
    else if (n->type == TYPE_FLOAT)
        print_float(out, bits_float(n->value));
    else
        clattn__text_add(out, "%d", (int)n->value);
}

static void print_node(struct clattn__text *out, const struct clattn__expr *e, int node)
{
    const struct node *n = &e->nodes[node];
    const struct kind_facts *facts = &clattn__expr_kinds[n->kind];
    if (out->cut)
        return; /* a graph's text may be long */
    if (n->kind == KIND_ARRAY) {
        clattn__text_add(out, "%s", e->arrays[n->value].name);
        print_list(out, e, n, "[", "]");
    } else if (n->n_args == 0) {
        print_leaf(out, e, n);
    } else if (n->kind == KIND_SELECT) {
        print_operand(out, e, n, 0, LEVEL_SELECT + 1);
        clattn__text_add(out, " ? ");
        print_operand(out, e, n, 1, LEVEL_SELECT);
        clattn__text_add(out, " : ");
        print_operand(out, e, n, 2, LEVEL_SELECT);
    } else if (facts->level == LEVEL_PRIMARY) {
        clattn__text_add(out, "%s", facts->symbol);
        print_list(out, e, n, "(", ")");
    } else if (n->n_args == 1) {
        clattn__text_add(out, "%s", facts->symbol);
        print_operand(out, e, n, 0, facts->level);
    } else {
        print_operand(out, e, n, 0, facts->level);
        clattn__text_add(out, " %s ", facts->symbol);
        print_operand(out, e, n, 1, facts->level + 1);
    }
}

clattn_status clattn__expr_print(const struct clattn__expr *expr, enum clattn__use use, char *text,
                                 size_t size)
{
    if (!expr || !text || size == 0)
        return CLATTN_NULL_ARGUMENT;
    struct clattn__text out = clattn__text_into(text, size);
    int root = expr->root[use];
    if (root >= 0) /* a score and a weight are floats: their conversion is implied */
        print_node(&out, expr, expr->nodes[root].kind == KIND_FLOAT ? expr->nodes[root].args[0] : root);
    return out.cut ? CLATTN_BUFFER_TOO_SHORT : CLATTN_OK;
}
