/* SPDX-License-Identifier: MIT
 * tree.c - nodes of the graph: typed, converted, folded, ordered and shared as they are made, so that texts
 * of one meaning make one graph. */
#include "expr/tree.h"

#include <math.h>
#include <string.h>

const struct kind_facts clattn__expr_kinds[KIND_COUNT] = {
#define EXPR_KIND_FACTS(kind, word, symbol, level, operands, signature) {word, symbol, level, operands, signature},
    EXPR_KINDS(EXPR_KIND_FACTS)
#undef EXPR_KIND_FACTS
};
const char *const clattn__expr_indices[] = {"q", "k", "b", "h", "g", "q_len", "k_len", "score", NULL};

/* ---- adding ---- */
static bool same_node(const struct node *a, const struct node *b)
{
    return a->kind == b->kind && a->type == b->type && a->value == b->value && a->n_args == b->n_args &&
           !memcmp(a->args, b->args, sizeof a->args);
}

static int add(struct clattn__expr *e, struct node node, enum tree_error *error)
{
    node.depth = 1;
    for (int i = 0; i < node.n_args; i++) {
        const struct node *arg = &e->nodes[node.args[i]];
        node.depends |= arg->depends;
        if (arg->depth >= node.depth)
            node.depth = arg->depth + 1;
    }
    for (int i = 0; node.kind != KIND_LITERAL && i < e->n_nodes; i++)
        if (same_node(&e->nodes[i], &node))
            return i;
    if (e->n_nodes == CLATTN__EXPR_MAX_NODES || node.depth > CLATTN__EXPR_MAX_DEPTH) {
        *error = node.depth > CLATTN__EXPR_MAX_DEPTH ? TREE_DEPTH : TREE_NODES;
        return -1;
    }
    e->nodes[e->n_nodes] = node;
    return e->n_nodes++;
}

int clattn__tree_literal(struct clattn__expr *e, enum type type, int32_t bits, enum tree_error *error)
{
    return add(e, (struct node){.kind = KIND_LITERAL, .type = type, .value = bits, .slot = -1}, error);
}

static enum type array_type(const clattn_array *array)
{
    switch (array->type) {
    case CLATTN_BITS: return TYPE_BOOL;
    case CLATTN_I32:
    case CLATTN_I8: return TYPE_INT;
    default: return TYPE_FLOAT;
    }
}

int clattn__tree_leaf(struct clattn__expr *e, enum kind kind, int32_t value, const int *args, int n_args,
                      enum tree_error *error)
{
    struct node node = {.kind = kind, .type = TYPE_INT, .value = value, .slot = -1, .n_args = n_args};
    if (kind == KIND_SCALAR && e->scalars[value].type == CLATTN_F32)
        node.type = TYPE_FLOAT;
    if (kind == KIND_ARRAY)
        node.type = array_type(&e->arrays[value]);
    if (kind == KIND_LISTED) {
        node.type = TYPE_BOOL;
        node.depends = DEPENDS_Q | DEPENDS_K | DEPENDS_H;
    }
    if (kind == KIND_INDEX) {
        static const unsigned depends[] = {DEPENDS_Q, DEPENDS_K, 0, DEPENDS_H, 0, 0, 0, DEPENDS_SCORE};
        node.depends = depends[value];
        node.type = value == CLATTN__INDEX_SCORE ? TYPE_FLOAT : TYPE_INT;
    }
    if (n_args)
        memcpy(node.args, args, (size_t)n_args * sizeof *args);
    return add(e, node, error);
}

/* ---- folding ---- */
/* The literal that an operator over literals is, or -1 with *error TREE_OK if it is none; infinities and NaN
 * have no text. */
static int fold(struct clattn__expr *e, const struct node *node, enum tree_error *error)
{
    double values[CLATTN_MAX_DIMS] = {0};
    for (int i = 0; i < node->n_args; i++) {
        const struct node *arg = &e->nodes[node->args[i]];
        if (arg->kind != KIND_LITERAL)
            return -1;
        values[i] = literal_value(arg);
    }
    enum type operands = clattn__operand_type(e, node);
    double value = clattn__expr_apply(node->kind, operands, values, false);
    if (!isfinite(value))
        return -1;
    int32_t bits = node->type == TYPE_FLOAT ? float_bits((float)value) : (int32_t)value;
    return clattn__tree_literal(e, node->type, bits, error);
}

/* What a condition with a constant side is, or -1: true & x, c ? x : y with a constant c, !!x. */
static int simplify(const struct clattn__expr *e, const struct node *node)
{
    const struct node *a = &e->nodes[node->args[0]];
    if (node->kind == KIND_NOT && a->kind == KIND_NOT)
        return a->args[0];
    if (node->kind == KIND_SELECT && a->kind == KIND_LITERAL)
        return node->args[a->value ? 1 : 2];
    if (node->kind == KIND_SELECT && node->args[1] == node->args[2])
        return node->args[1];
    if (node->kind != KIND_AND && node->kind != KIND_OR)
        return -1;
    if (node->args[0] == node->args[1])
        return node->args[0];
    for (int i = 0; i < 2; i++) {
        const struct node *side = &e->nodes[node->args[i]];
        if (side->kind == KIND_LITERAL) /* the neutral one gives the other side, the other one itself */
            return (side->value != 0) == (node->kind == KIND_AND) ? node->args[1 - i] : node->args[i];
    }
    return -1;
}

/* ---- order of commuting operands ---- */
/* Literals come last, as in q + 1, save in products, as in 2 * x. */
static int rank(const struct node *n, bool literal_first)
{
    return n->kind == KIND_LITERAL ? (literal_first ? -2 : KIND_COUNT)
           : n->kind == KIND_INDEX ? -1
                                   : (int)n->kind;
}

/* By what they are; where `values', literals by their values too. */
static int compare_nodes(const struct clattn__expr *e, int a, int b, bool literal_first, bool values)
{
    const struct node *x = &e->nodes[a], *y = &e->nodes[b];
    if (a == b)
        return 0;
    if (rank(x, literal_first) != rank(y, literal_first))
        return rank(x, literal_first) - rank(y, literal_first);
    if (x->value != y->value && (values || x->kind != KIND_LITERAL))
        return x->value < y->value ? -1 : 1;
    for (int i = 0; i < x->n_args && i < y->n_args; i++) {
        int order = compare_nodes(e, x->args[i], y->args[i], literal_first, values);
        if (order)
            return order;
    }
    return x->n_args - y->n_args;
}

/* Values of literals decide last, so that texts which differ in them alone are one kernel, and its numbers in
 * one order. */
static bool are_turned(const struct clattn__expr *e, int a, int b, bool literal_first)
{
    const int order = compare_nodes(e, a, b, literal_first, false);
    return (order ? order : compare_nodes(e, a, b, literal_first, true)) > 0;
}

static bool commutes(enum kind kind)
{
    return kind == KIND_ADD || kind == KIND_MUL || kind == KIND_MIN || kind == KIND_MAX || kind == KIND_EQ ||
           kind == KIND_NE || kind == KIND_AND || kind == KIND_OR || kind == KIND_XOR;
}

static void order_operands(const struct clattn__expr *e, struct node *node)
{
    bool turn = commutes(node->kind) && are_turned(e, node->args[0], node->args[1], node->kind == KIND_MUL);
    if (node->kind == KIND_GE || node->kind == KIND_GT) {
        node->kind = node->kind == KIND_GE ? KIND_LE : KIND_LT;
        turn = true;
    }
    if (turn) {
        int first = node->args[0];
        node->args[0] = node->args[1];
        node->args[1] = first;
    }
}

/* ---- operators ---- */
static int to_float(struct clattn__expr *e, int node, enum tree_error *error)
{
    if (e->nodes[node].type == TYPE_FLOAT)
        return node;
    struct node made = {.kind = KIND_FLOAT, .type = TYPE_FLOAT, .slot = -1, .n_args = 1, .args = {node}};
    int folded = fold(e, &made, error);
    return folded >= 0 || *error ? folded : add(e, made, error);
}

/* Ints among the operands become floats where the signature or a partner asks for it. */
static bool convert(struct clattn__expr *e, struct node *node, enum tree_error *error)
{
    enum signature sign = clattn__expr_kinds[node->kind].signature;
    bool wanted = sign == SIGN_REAL || sign == SIGN_FLOOR;
    int first = sign == SIGN_CHOICE ? 1 : 0;
    if (sign == SIGN_SAME || sign == SIGN_COMPARE || sign == SIGN_CHOICE)
        for (int i = first; i < node->n_args; i++)
            wanted = wanted || e->nodes[node->args[i]].type == TYPE_FLOAT;
    for (int i = first; wanted && i < node->n_args; i++)
        if ((node->args[i] = to_float(e, node->args[i], error)) < 0)
            return false;
    return true;
}

static enum type result_type(const struct clattn__expr *e, const struct node *node)
{
    switch (clattn__expr_kinds[node->kind].signature) {
    case SIGN_REAL:
    case SIGN_CONVERT: return TYPE_FLOAT;
    case SIGN_WHOLE:
    case SIGN_FLOOR: return TYPE_INT;
    case SIGN_COMPARE:
    case SIGN_LOGIC: return TYPE_BOOL;
    default: return e->nodes[node->args[node->n_args - 1]].type;
    }
}

int clattn__tree_operator(struct clattn__expr *e, enum kind kind, const int *args, enum tree_error *error)
{
    struct node node = {.kind = kind, .slot = -1, .n_args = clattn__expr_kinds[kind].operands};
    if (kind == KIND_FLOAT)
        return to_float(e, args[0], error);
    memcpy(node.args, args, (size_t)node.n_args * sizeof *args);
    if (!convert(e, &node, error))
        return -1;
    order_operands(e, &node);
    node.type = result_type(e, &node);
    int made = fold(e, &node, error);
    if (made < 0 && !*error)
        made = simplify(e, &node);
    return made >= 0 || *error ? made : add(e, node, error);
}

/* ---- sealing ---- */
/* The order in which the rules need their nodes, operands first: it depends on the canonical graph alone, not
 * on the text. */
struct order {
    int to[CLATTN__EXPR_MAX_NODES]; /* a node's place; -1: no rule needs it */
    int from[CLATTN__EXPR_MAX_NODES], n;
};

static void visit(const struct clattn__expr *e, int node, struct order *order)
{
    if (order->to[node] >= 0)
        return;
    for (int j = 0; j < e->nodes[node].n_args; j++)
        visit(e, e->nodes[node].args[j], order);
    order->to[node] = order->n;
    order->from[order->n++] = node;
}

/* Leave out what no rule uses, and put the rest in order.  nodes is scratch. */
static void compact(struct clattn__expr *e, struct node *nodes)
{
    struct order order = {.n = 0};
    for (int i = 0; i < e->n_nodes; i++)
        order.to[i] = -1;
    for (int u = 0; u < CLATTN__USES; u++)
        if (e->root[u] >= 0)
            visit(e, e->root[u], &order);
    for (int i = 0; i < order.n; i++) {
        nodes[i] = e->nodes[order.from[i]];
        for (int j = 0; j < nodes[i].n_args; j++)
            nodes[i].args[j] = order.to[nodes[i].args[j]];
    }
    memcpy(e->nodes, nodes, (size_t)order.n * sizeof *nodes);
    e->n_nodes = order.n;
    for (int u = 0; u < CLATTN__USES; u++)
        if (e->root[u] >= 0)
            e->root[u] = order.to[e->root[u]];
}

static int add_number(struct clattn__expr *e, enum kind kind, int32_t value, int32_t dimension)
{
    if (e->n_numbers == CLATTN__EXPR_MAX_NUMBERS)
        return -1;
    e->numbers[e->n_numbers] = (struct number){kind, value, dimension};
    return e->n_numbers++;
}

/* Conditions need no number: a constant one is written as it is. */
static bool number_nodes(struct clattn__expr *e)
{
    for (int i = 0; i < e->n_nodes; i++) {
        struct node *n = &e->nodes[i];
        if ((n->kind == KIND_LITERAL && n->type != TYPE_BOOL) || n->kind == KIND_SCALAR)
            if ((n->slot = add_number(e, n->kind, n->value, 0)) < 0)
                return false;
    }
    for (int i = 0; i < e->n_nodes; i++) {
        const struct node *n = &e->nodes[i];
        if (n->kind != KIND_ARRAY || e->dims_slot[n->value] >= 0)
            continue;
        for (int d = 0; d < e->arrays[n->value].n_dims; d++) {
            int slot = add_number(e, KIND_ARRAY, n->value, d);
            if (slot < 0)
                return false;
            if (d == 0)
                e->dims_slot[n->value] = slot;
        }
    }
    return true;
}

bool clattn__tree_seal(struct clattn__expr *e)
{
    struct node nodes[CLATTN__EXPR_MAX_NODES];
    e->n_numbers = 0;
    for (int i = 0; i < CLATTN_MAX_ARRAYS; i++)
        e->dims_slot[i] = -1;
    compact(e, nodes);
    return number_nodes(e);
}
