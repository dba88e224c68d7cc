/* SPDX-License-Identifier: MIT
 * parse.c - text to graph by recursive descent; see expr.h for the grammar.
 *
 * The first error ends the work: later calls see that the reader has failed and return -1.  A named rule is
 * read from its own text, and at each of its parameters the argument's text is read again: so it means what
 * its text written out means. */
#include "expr/tree.h"

#include "expr/reader.h"

#include <stdlib.h>
#include <string.h>

#define MAX_STEPS 4096

static int parse_expression(struct reader *r);

static enum type type_of(const struct reader *r, int node)
{
    return r->expr->nodes[node].type;
}

/* ---- nodes ---- */
/* error by address: the call that sets it is an argument too, and arguments are computed in any order. */
static int added(struct reader *r, int node, const enum tree_error *error)
{
    if (*error == TREE_NODES)
        return clattn__reader_fail(r, CLATTN_EXPR_LIMIT, r->at, "more than 512 operators, names and numbers");
    if (*error == TREE_DEPTH)
        return clattn__reader_fail(r, CLATTN_EXPR_LIMIT, r->at, "more than 64 operations inside one another");
    return node;
}

static const char *wanted_by(enum signature sign)
{
    return sign == SIGN_LOGIC ? "conditions" : sign == SIGN_WHOLE ? "whole numbers" : "numbers";
}

/* Operands of an operator are of the kind it takes. */
static bool check_operands(struct reader *r, enum kind kind, const int *args, size_t at)
{
    enum signature sign = clattn__expr_kinds[kind].signature;
    for (int i = 0; i < clattn__expr_kinds[kind].operands; i++) {
        enum type type = type_of(r, args[i]);
        bool good = sign == SIGN_LOGIC   ? type == TYPE_BOOL
                    : sign == SIGN_WHOLE ? type == TYPE_INT
                                         : type != TYPE_BOOL;
        if (good)
            continue;
        static const char *const given[] = {"a whole number", "a real number", "a condition"};
        clattn__reader_fail(r, CLATTN_EXPR_TYPE, at, "'");
        clattn__text_add(&r->message, "%s' takes %s, and it was given %s", clattn__expr_kinds[kind].symbol,
                         wanted_by(sign), given[type]);
        return false;
    }
    return true;
}

/* Named rules inside one another could be read for ages: every operator takes a step, and the steps are
 * counted. */
static bool step(struct reader *r)
{
    if (!r->status && ++*r->steps > MAX_STEPS)
        clattn__reader_fail(r, CLATTN_EXPR_LIMIT, r->at,
                            "more than 4096 operators after named rules are written out");
    return !r->status;
}

static int make(struct reader *r, enum kind kind, const int *args, size_t at)
{
    enum tree_error error = TREE_OK;
    if (!step(r) || !check_operands(r, kind, args, at))
        return -1;
    return added(r, clattn__tree_operator(r->expr, kind, args, &error), &error);
}

static int make_leaf(struct reader *r, enum kind kind, int32_t value, const int *args, int n_args)
{
    enum tree_error error = TREE_OK;
    return !step(r) ? -1 : added(r, clattn__tree_leaf(r->expr, kind, value, args, n_args, &error), &error);
}

static int make_literal(struct reader *r, enum type type, int32_t bits)
{
    enum tree_error error = TREE_OK;
    return !step(r) ? -1 : added(r, clattn__tree_literal(r->expr, type, bits, &error), &error);
}

/* A printed operator needs at most a parenthesis of its own and one around it, so every graph's text can be
 * read. */
static bool enter(struct reader *r)
{
    if (++r->nesting > 2 * CLATTN__EXPR_MAX_DEPTH)
        clattn__reader_fail(r, CLATTN_EXPR_LIMIT, r->at,
                            "more than 128 parentheses, brackets and signs inside one another");
    return !r->status;
}

/* ---- numbers ---- */
static int parse_number(struct reader *r, bool negative)
{
    size_t at = r->at;
    struct reader_number number;
    if (!clattn__reader_number(r, negative, &number))
        return -1;
    int node = make_literal(r, number.whole ? TYPE_INT : TYPE_FLOAT, number.bits);
    if (node < 0)
        r->failed_at = r->failed_at ? r->failed_at : at;
    return node;
}

/* ---- names ---- */
static int parse_function(struct reader *r, enum kind kind)
{
    int args[2] = {-1, -1}, n = clattn__expr_kinds[kind].operands;
    size_t at = r->at;
    clattn__reader_next(r);
    if (!enter(r) || !clattn__reader_expect(r, "(", "'(' after a function's name"))
        return -1;
    for (int i = 0; i < n && !r->status; i++) {
        args[i] = parse_expression(r);
        if (!r->status)
            clattn__reader_expect(r, i + 1 < n ? "," : ")",
                                  i + 1 < n ? "',' and the second number"
                                  : n == 1  ? "')' after the one number of a function"
                                            : "')' after two numbers");
    }
    r->nesting--;
    return make(r, kind, args, at);
}

static int parse_array(struct reader *r, int array)
{
    const clattn_array *a = &r->expr->arrays[array];
    int args[CLATTN_MAX_DIMS];
    clattn__reader_next(r);
    if (!enter(r) || !clattn__reader_expect(r, "[", "'[' and an index after an array's name"))
        return -1;
    for (int d = 0; d < a->n_dims; d++) {
        size_t at = r->at;
        args[d] = parse_expression(r);
        if (r->status)
            return -1;
        if (type_of(r, args[d]) != TYPE_INT)
            return clattn__reader_fail(r, CLATTN_EXPR_TYPE, at,
                                       "an array is indexed by whole numbers; floor() makes them");
        if (!clattn__reader_expect(r, d + 1 < a->n_dims ? "," : "]",
                                   d + 1 < a->n_dims ? "',' and the array's next index"
                                                     : "']' after the array's last index"))
            return -1;
    }
    r->nesting--;
    return make_leaf(r, KIND_ARRAY, array, args, a->n_dims);
}

/* ---- named rules ---- */
static int declared_array(const struct reader *r)
{
    for (int i = 0; i < r->expr->n_arrays; i++)
        if (clattn__reader_is(r, r->expr->arrays[i].name))
            return i;
    return -1;
}

/* One argument into its binding: an array's name where the parameter has [] behind it, else where an
 * expression stands. */
static void parse_argument(struct reader *r, struct reader_binding *to)
{
    to->outer = r;
    to->at = r->at;
    if (!to->is_array) {
        parse_expression(r);
        return;
    }
    const struct reader_binding *bound = clattn__reader_binding(r);
    to->array = bound ? (bound->is_array ? bound->array : -1) : declared_array(r);
    if (to->array < 0)
        clattn__reader_expected(r, "the name of a declared array");
    else
        clattn__reader_next(r);
}

/* What stands at a parameter: the argument, read where it was written. */
static int parse_bound(struct reader *r, const struct reader_binding *bound)
{
    struct reader inner = *bound->outer;
    inner.at = bound->at;
    inner.length = 0;
    inner.nesting = r->nesting;
    clattn__reader_next(r);
    if (!enter(&inner))
        return clattn__reader_fail(r, inner.status, r->at, "named rules too deep inside one another");
    clattn__reader_next(&inner);
    int node = parse_expression(&inner);
    return inner.status ? clattn__reader_fail(r, inner.status, r->at, "an argument of a named rule") : node;
}

static bool parse_arguments(struct reader *r, const struct clattn__named_rule *rule,
                            struct reader_bindings *bindings)
{
    clattn__reader_next(r);
    clattn__reader_parameters(rule, bindings);
    if (bindings->count == 0)
        return true;
    if (!enter(r) || !clattn__reader_expect(r, "(", "'(' and the arguments of a named rule"))
        return false;
    for (int i = 0; i < bindings->count && !r->status; i++) {
        parse_argument(r, &bindings->list[i]);
        if (!r->status)
            clattn__reader_expect(r, i + 1 < bindings->count ? "," : ")",
                                  i + 1 < bindings->count ? "',' and the rule's next argument"
                                                          : "')' after the rule's arguments");
    }
    r->nesting--;
    return !r->status;
}

static int parse_named_rule(struct reader *r, const struct clattn__named_rule *rule)
{
    static const char *const other_use[] = {[CLATTN__MASK] = "this named rule is a mask",
                                            [CLATTN__SCORE] = "this named rule is a score rule",
                                            [CLATTN__WEIGHT] = "this named rule is a weight rule"};
    struct reader_bindings bindings;
    size_t at = r->at;
    if (rule->use != r->use)
        return clattn__reader_fail(r, CLATTN_EXPR_TYPE, at, other_use[rule->use]);
    if (!parse_arguments(r, rule, &bindings))
        return -1;
    struct reader inner = *r; /* the graph is shared; the text, the names and the place are its own */
    inner.text = rule->text;
    inner.at = inner.length = 0;
    inner.bindings = &bindings;
    int node = -1;
    if (enter(&inner)) {
        clattn__reader_next(&inner);
        node = parse_expression(&inner);
    }
    if (inner.status)
        clattn__reader_fail(r, inner.status, at, "the arguments do not suit this named rule");
    return r->status ? -1 : node;
}

static int parse_index(struct reader *r, int index)
{
    if (index == CLATTN__INDEX_SCORE && r->use == CLATTN__MASK)
        return clattn__reader_fail(r, CLATTN_EXPR_NAME, r->at,
                                   "a mask cannot read the score: score and weight rules can");
    clattn__reader_next(r);
    return make_leaf(r, KIND_INDEX, index, NULL, 0);
}

static int parse_listed(struct reader *r)
{
    clattn__reader_next(r);
    return make_leaf(r, KIND_LISTED, 0, NULL, 0);
}

static int parse_declared(struct reader *r)
{
    for (int i = 0; i < r->expr->n_scalars; i++)
        if (clattn__reader_is(r, r->expr->scalars[i].name)) {
            clattn__reader_next(r);
            return make_leaf(r, KIND_SCALAR, i, NULL, 0);
        }
    int array = declared_array(r);
    return array >= 0 ? parse_array(r, array) : -1;
}

static int parse_name(struct reader *r)
{
    const struct reader_binding *bound = clattn__reader_binding(r);
    if (bound && bound->is_array)
        return parse_array(r, bound->array);
    if (bound)
        return parse_bound(r, bound);
    int word = clattn__reader_index(r);
    if (word >= 0)
        return parse_index(r, word);
    enum kind function = clattn__reader_function(r);
    if (function == KIND_LISTED)
        return parse_listed(r);
    if (function != KIND_COUNT)
        return parse_function(r, function);
    if (clattn__reader_is(r, "true") || clattn__reader_is(r, "false")) {
        int32_t value = clattn__reader_is(r, "true");
        clattn__reader_next(r);
        return make_literal(r, TYPE_BOOL, value);
    }
    int node = r->bindings ? -1 : parse_declared(r); /* a named rule sees its parameters alone */
    if (node >= 0 || r->status)
        return node;
    const struct clattn__named_rule *rule = clattn__reader_named_rule(r);
    return rule ? parse_named_rule(r, rule) : clattn__reader_unknown(r);
}

/* ---- operators ---- */
static int parse_primary(struct reader *r)
{
    if (r->status)
        return -1;
    if (r->token == TOKEN_NUMBER)
        return parse_number(r, false);
    if (r->token == TOKEN_NAME)
        return parse_name(r);
    if (!clattn__reader_accept(r, "("))
        return clattn__reader_expected(r, "a number, a name, '-', '!' or '('");
    int node = enter(r) ? parse_expression(r) : -1;
    if (r->status || !clattn__reader_expect(r, ")", "an operator or ')'"))
        return -1;
    r->nesting--;
    return node;
}

/* A minus sign right before a number belongs to it, so that -2147483648 can be written. */
static int parse_unary(struct reader *r)
{
    size_t at = r->at;
    if (!clattn__reader_accept(r, "-"))
        return parse_primary(r);
    if (r->token == TOKEN_NUMBER)
        return parse_number(r, true);
    int node = enter(r) ? parse_unary(r) : -1;
    r->nesting--;
    return make(r, KIND_NEG, &node, at);
}

/* The operator of a level at the reader, or KIND_COUNT. */
static enum kind accept_operator(struct reader *r, enum level level)
{
    for (enum kind kind = KIND_ADD; kind < KIND_COUNT; kind++)
        if (clattn__expr_kinds[kind].level == level &&
            clattn__reader_accept(r, clattn__expr_kinds[kind].symbol))
            return kind;
    return KIND_COUNT;
}

static int parse_left_to_right(struct reader *r, enum level level, int (*operand)(struct reader *))
{
    int left = operand(r);
    for (;;) {
        size_t at = r->at;
        enum kind kind = accept_operator(r, level);
        if (kind == KIND_COUNT)
            return left;
        int right = operand(r);
        left = make(r, kind, (int[]){left, right}, at);
    }
}

static int parse_product(struct reader *r)
{
    return parse_left_to_right(r, LEVEL_PRODUCT, parse_unary);
}

static int parse_sum(struct reader *r)
{
    return parse_left_to_right(r, LEVEL_SUM, parse_product);
}

static int parse_comparison(struct reader *r)
{
    int left = parse_sum(r);
    size_t at = r->at;
    enum kind kind = accept_operator(r, LEVEL_COMPARE);
    if (kind == KIND_COUNT)
        return left;
    int right = parse_sum(r);
    return make(r, kind, (int[]){left, right}, at);
}

static int parse_not(struct reader *r)
{
    size_t at = r->at;
    if (!clattn__reader_accept(r, "!"))
        return parse_comparison(r);
    int node = enter(r) ? parse_not(r) : -1;
    r->nesting--;
    return make(r, KIND_NOT, &node, at);
}

static int parse_and(struct reader *r)
{
    return parse_left_to_right(r, LEVEL_AND, parse_not);
}

static int parse_xor(struct reader *r)
{
    return parse_left_to_right(r, LEVEL_XOR, parse_and);
}

static int parse_or(struct reader *r)
{
    return parse_left_to_right(r, LEVEL_OR, parse_xor);
}

/* c ? x : y, from right to left. */
static int parse_expression(struct reader *r)
{
    int args[3] = {parse_or(r), -1, -1};
    size_t at = r->at;
    if (!clattn__reader_accept(r, "?"))
        return args[0];
    args[1] = enter(r) ? parse_expression(r) : -1;
    if (!r->status)
        clattn__reader_expect(r, ":", "':' and what holds otherwise");
    args[2] = r->status ? -1 : parse_expression(r);
    r->nesting--;
    if (r->status)
        return -1;
    if (type_of(r, args[0]) != TYPE_BOOL)
        return clattn__reader_fail(r, CLATTN_EXPR_TYPE, at,
                                   "'?' takes a condition before it, and it was given a number");
    if ((type_of(r, args[1]) == TYPE_BOOL) != (type_of(r, args[2]) == TYPE_BOOL))
        return clattn__reader_fail(r, CLATTN_EXPR_TYPE, at,
                                   "both sides of ':' are numbers, or both are conditions");
    enum tree_error error = TREE_OK;
    return added(r, clattn__tree_operator(r->expr, KIND_SELECT, args, &error), &error);
}

/* ---- the whole ---- */
static int to_float(struct reader *r, int node)
{
    enum tree_error error = TREE_OK;
    const int args[] = {node};
    return added(r, clattn__tree_operator(r->expr, KIND_FLOAT, args, &error), &error);
}

static int parse_rule(struct reader *r)
{
    clattn__reader_next(r);
    int root = parse_expression(r);
    if (!r->status && r->token != TOKEN_END)
        clattn__reader_expected(r, type_of(r, root) == TYPE_BOOL ? "'&', '|', '^', '?' or the end"
                                                                 : "an operator or the end");
    if (r->status)
        return -1;
    bool condition = type_of(r, root) == TYPE_BOOL;
    if (r->use == CLATTN__MASK && !condition)
        return clattn__reader_fail(r, CLATTN_EXPR_TYPE, 0,
                                   "a mask is a condition, such as k <= q, and this is a number");
    if (r->use != CLATTN__MASK && condition)
        return clattn__reader_fail(
            r, CLATTN_EXPR_TYPE, 0,
            "a rule of this kind is a number, such as 2 * score, and this is a condition");
    return condition ? root : to_float(r, root);
}

static clattn_status keep_names(struct clattn__expr *e, const struct clattn__names *names,
                                struct clattn__text *message)
{
    if (names->n_scalars < 0 || names->n_scalars > CLATTN_MAX_SCALARS || names->n_arrays < 0 ||
        names->n_arrays > CLATTN_MAX_ARRAYS)
        return CLATTN_BAD_COUNT;
    for (int i = 0; i < names->n_scalars + names->n_arrays; i++) {
        int array = i - names->n_scalars;
        const char *name = array < 0 ? names->scalars[i].name : names->arrays[array].name;
        clattn_status status = clattn__name_check(name);
        if (status) {
            clattn__text_add(message, "%s number %d", array < 0 ? "scalar" : "array", array < 0 ? i : array);
            return status;
        }
    }
    e->n_scalars = names->n_scalars;
    e->n_arrays = names->n_arrays;
    if (names->n_scalars)
        memcpy(e->scalars, names->scalars, (size_t)names->n_scalars * sizeof *names->scalars);
    if (names->n_arrays)
        memcpy(e->arrays, names->arrays, (size_t)names->n_arrays * sizeof *names->arrays);
    return CLATTN_OK;
}

/* A text to write into that may be nowhere. */
static struct clattn__text message_into(char *message, size_t size)
{
    static char nowhere[1];
    return message && size ? clattn__text_into(message, size) : clattn__text_into(nowhere, 0);
}

clattn_status clattn__expr_create(struct clattn__expr **expr, const struct clattn__names *names,
                                  char *message, size_t size)
{
    static const struct clattn__names no_names;
    struct clattn__text text = message_into(message, size);
    *expr = NULL;
    struct clattn__expr *e = calloc(1, sizeof *e);
    if (!e)
        return CLATTN_OUT_OF_HOST_MEMORY;
    for (int u = 0; u < CLATTN__USES; u++)
        e->root[u] = -1;
    clattn_status status = keep_names(e, names ? names : &no_names, &text);
    if (status) {
        clattn__expr_free(e);
        return status;
    }
    clattn__tree_seal(e);
    *expr = e;
    return CLATTN_OK;
}

clattn_status clattn__expr_add(struct clattn__expr *expr, enum clattn__use use, const char *text,
                               char *message, size_t size)
{
    int steps = 0;
    struct reader r = {.text = text, .use = use, .expr = expr, .steps = &steps,
                       .message = message_into(message, size)};
    if (!text)
        return CLATTN_NULL_ARGUMENT;
    if (strnlen(text, CLATTN__EXPR_MAX_TEXT + 1) > CLATTN__EXPR_MAX_TEXT) {
        clattn__reader_fail(&r, CLATTN_EXPR_LIMIT, CLATTN__EXPR_MAX_TEXT, "more than 4096 characters");
        return r.status;
    }
    if (!text[strspn(text, " \t")])
        return CLATTN_OK;
    struct clattn__expr *before = malloc(sizeof *before);
    if (!before)
        return CLATTN_OUT_OF_HOST_MEMORY;
    *before = *expr;
    int root = parse_rule(&r);
    if (!r.status) {
        expr->root[use] = root;
        if (!clattn__tree_seal(expr))
            clattn__reader_fail(&r, CLATTN_EXPR_LIMIT, 0,
                                "more than 64 numbers, scalars and dimensions of arrays in all");
    }
    if (r.status) {
        clattn__reader_explain(&r);
        *expr = *before;
    }
    free(before);
    return r.status;
}

void clattn__expr_free(struct clattn__expr *expr)
{
    free(expr);
}
