/* SPDX-License-Identifier: MIT
 * print.c - tree to text: the language itself, and the #define lines of kernels.
 *
 * Kernel text is made of fixed words and small decimal numbers alone: names become their place in the list of
 * kernel arguments, literals and scalars become n0, n1, ..., so no width or length makes a new program.
 */
#include "expr/tree.h"

/* ---- the language ---- */
static void print_node(struct clattn__text *out, const struct clattn__expr *e, int node);

static void print_operand(struct clattn__text *out, const struct clattn__expr *e, int node, bool parentheses)
{
    clattn__text_add(out, "%s", parentheses ? "(" : "");
    print_node(out, e, node);
    clattn__text_add(out, "%s", parentheses ? ")" : "");
}

static void print_prefix(struct clattn__text *out, const struct clattn__expr *e, const struct node *n)
{
    const struct node *operand = &e->nodes[n->left];
    enum level level = clattn__expr_kinds[operand->kind].level;
    bool literal = operand->kind == KIND_LITERAL && operand->value >= 0; /* -5 is a literal, -(5) is not */
    clattn__text_add(out, "%s", clattn__expr_kinds[n->kind].symbol);
    print_operand(out, e, n->left, literal || (level < LEVEL_PRIMARY && operand->kind != n->kind));
}

static void print_infix(struct clattn__text *out, const struct clattn__expr *e, const struct node *n)
{
    enum level level = clattn__expr_kinds[n->kind].level;
    print_operand(out, e, n->left, clattn__expr_kinds[e->nodes[n->left].kind].level < level);
    clattn__text_add(out, " %s ", clattn__expr_kinds[n->kind].symbol);
    print_operand(out, e, n->right, clattn__expr_kinds[e->nodes[n->right].kind].level <= level);
}

static void print_node(struct clattn__text *out, const struct clattn__expr *e, int node)
{
    const struct node *n = &e->nodes[node];
    switch (n->kind) {
    case KIND_ALWAYS:
        break;
    case KIND_LITERAL:
        clattn__text_add(out, "%d", (int)n->value);
        break;
    case KIND_SCALAR:
        clattn__text_add(out, "%s", e->scalars[n->value]);
        break;
    case KIND_INDEX:
        clattn__text_add(out, "%s", clattn__expr_indices[n->value]);
        break;
    case KIND_ARRAY:
        clattn__text_add(out, "%s[", e->arrays[n->value]);
        print_node(out, e, n->left);
        clattn__text_add(out, "]");
        break;
    case KIND_MIN:
    case KIND_MAX:
        clattn__text_add(out, "%s(", clattn__expr_kinds[n->kind].symbol);
        print_node(out, e, n->left);
        clattn__text_add(out, ", ");
        print_node(out, e, n->right);
        clattn__text_add(out, ")");
        break;
    case KIND_NEG:
    case KIND_NOT:
        print_prefix(out, e, n);
        break;
    default:
        print_infix(out, e, n);
    }
}

clattn_status clattn__expr_print(const struct clattn__expr *expr, char *text, size_t size)
{
    if (!expr || !text || size == 0)
        return CLATTN_NULL_ARGUMENT;
    struct clattn__text out = clattn__text_into(text, size);
    print_node(&out, expr, expr->n_nodes - 1);
    return out.cut ? CLATTN_BUFFER_TOO_SHORT : CLATTN_OK;
}

/* ---- kernels ---- */
/* One node in call form.  family: what precedes each word, "P##" or "i1"; env: how the environment's fields are reached. */
struct style {
    const char *family, *env;
};

static void call_leaf(struct clattn__text *out, const struct node *n, struct style s)
{
    bool varies = n->value == CLATTN__INDEX_Q || n->value == CLATTN__INDEX_K || n->value == CLATTN__INDEX_H;
    if (n->kind == KIND_INDEX && varies)
        clattn__text_add(out, "%s_%s", s.family, clattn__expr_indices[n->value]);
    else if (n->kind == KIND_INDEX)
        clattn__text_add(out, "%s_u(%s%s)", s.family, s.env, clattn__expr_indices[n->value]);
    else if (n->kind == KIND_ALWAYS)
        clattn__text_add(out, "%s_true", s.family);
    else
        clattn__text_add(out, "%s_u(%s%c%d)", s.family, s.env, n->kind == KIND_ARRAY ? 'x' : 'n', n->slot);
}

static void call(struct clattn__text *out, const struct clattn__expr *e, int node, struct style s)
{
    const struct node *n = &e->nodes[node];
    if (n->left < 0 || n->kind == KIND_ARRAY) {
        call_leaf(out, n, s);
        return;
    }
    clattn__text_add(out, "%s_%s(", s.family, clattn__expr_kinds[n->kind].word);
    call(out, e, n->left, s);
    if (n->right >= 0) {
        clattn__text_add(out, ", ");
        call(out, e, n->right, s);
    }
    clattn__text_add(out, ")");
}

static void define_params(struct clattn__text *out, const struct clattn__expr *e)
{
    clattn__text_add(out, "#define PATTERN_PARAMS "); /* the blank: a macro of arguments it is not */
    for (int i = 0; i < e->n_numbers; i++)
        clattn__text_add(out, ", const int n%d", i);
    for (int i = 0; i < CLATTN_MAX_ARRAYS; i++)
        if (e->count_slot[i] >= 0)
            clattn__text_add(out, ", __global const int *a%d", i);
    clattn__text_add(out, "\n#define PATTERN_FIELDS ");
    for (int i = 0; i < e->n_numbers; i++)
        clattn__text_add(out, " int n%d;", i);
    for (int i = 0; i < e->n_loads; i++)
        clattn__text_add(out, " int x%d;", i);
    clattn__text_add(out, "\n");
}

/* Elements are loaded here, once a work-item, and never for a pair; an inner element comes before the one it indexes. */
static void define_fill(struct clattn__text *out, const struct clattn__expr *e)
{
    clattn__text_add(out, "#define PATTERN_FILL(e) ");
    for (int i = 0; i < e->n_numbers; i++)
        clattn__text_add(out, " (e).n%d = n%d;", i, i);
    for (int i = 0; i < e->n_nodes; i++) {
        const struct node *n = &e->nodes[i];
        if (n->kind != KIND_ARRAY)
            continue;
        clattn__text_add(out, " (e).x%d = pattern_element(a%d, n%d, ", n->slot, (int)n->value, e->count_slot[n->value]);
        call(out, e, n->left, (struct style){"i1", "(e)."});
        clattn__text_add(out, ");");
    }
    clattn__text_add(out, "\n");
}

clattn_status clattn__expr_kernel_text(const struct clattn__expr *expr, char *text, size_t size)
{
    if (!expr || !text || size == 0)
        return CLATTN_NULL_ARGUMENT;
    struct clattn__text out = clattn__text_into(text, size);
    define_params(&out, expr);
    define_fill(&out, expr);
    clattn__text_add(&out, "#define PATTERN_ALWAYS %d\n#define PATTERN(P) ", clattn__expr_is_always(expr));
    call(&out, expr, expr->n_nodes - 1, (struct style){"P##", "e->"});
    clattn__text_add(&out, "\n");
    return out.cut ? CLATTN_BUFFER_TOO_SHORT : CLATTN_OK;
}
