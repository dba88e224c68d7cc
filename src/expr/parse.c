/* SPDX-License-Identifier: MIT
 * parse.c - text to tree by recursive descent; see expr.h for the grammar.
 *
 * The first error ends the work: later calls see that the reader has failed and return -1.  The user's text is
 * echoed in messages one printable character or one name at a time, never as a whole.
 */
#include "expr/tree.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TEXT 4096
#define ECHO 20 /* characters of a name shown in a message */

const struct kind_facts clattn__expr_kinds[KIND_COUNT] = {
#define EXPR_KIND_FACTS(kind, word, symbol, level) {word, symbol, level},
    EXPR_NUMBER_KINDS(EXPR_KIND_FACTS) EXPR_CONDITION_KINDS(EXPR_KIND_FACTS)
#undef EXPR_KIND_FACTS
};
const char *const clattn__expr_indices[] = {"q", "k", "b", "h", "g", "q_len", "k_len", NULL};

enum token { TOKEN_END, TOKEN_INTEGER, TOKEN_NAME, TOKEN_SYMBOL, TOKEN_BAD };

struct reader {
    const char *text;
    size_t at, length; /* the token: where, and how long */
    enum token token;
    int nesting;
    bool in_index; /* inside the brackets of an array */
    const struct clattn__names *names;
    struct clattn__expr *expr;
    clattn_status status;
    struct clattn__text message;
};

/* Locale-free character classes. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_letter(c) || is_digit(c) || c == '_';
}

/* ---- tokens ---- */
static size_t symbol_length(const char *p)
{
    if ((*p == '<' || *p == '>' || *p == '=' || *p == '!') && p[1] == '=')
        return 2;
    return *p && strchr("<>!+-*&|()[],", *p) ? 1 : 0;
}

static void next(struct reader *r)
{
    r->at += r->length;
    while (r->text[r->at] == ' ' || r->text[r->at] == '\t')
        r->at++;
    const char *p = r->text + r->at;
    r->length = 0;
    if (!*p) {
        r->token = TOKEN_END;
    } else if (is_word(*p)) {
        r->token = is_digit(*p) ? TOKEN_INTEGER : is_letter(*p) ? TOKEN_NAME : TOKEN_BAD;
        while (is_word(p[r->length]))
            r->length++;
    } else {
        r->length = symbol_length(p);
        r->token = r->length ? TOKEN_SYMBOL : TOKEN_BAD;
    }
}

static bool is_text(const struct reader *r, const char *text)
{
    return r->length == strlen(text) && !strncmp(r->text + r->at, text, r->length);
}

static bool accept(struct reader *r, const char *symbol)
{
    if (r->status || r->token != TOKEN_SYMBOL || !is_text(r, symbol))
        return false;
    next(r);
    return true;
}

/* ---- failures ---- */
static int fail(struct reader *r, clattn_status status, size_t at, const char *what)
{
    if (!r->status) {
        r->status = status;
        clattn__text_add(&r->message, "column %zu: %s", at + 1, what);
    }
    return -1;
}

static int expected(struct reader *r, const char *what)
{
    if (r->status)
        return -1;
    fail(r, CLATTN_EXPR_SYNTAX, r->at, "expected ");
    char c = r->text[r->at];
    clattn__text_add(&r->message, "%s, found ", what);
    if (!c)
        clattn__text_add(&r->message, "the end");
    else if (is_word(c) || r->token == TOKEN_SYMBOL)
        clattn__text_add(&r->message, "'%.*s'", (int)(r->length < ECHO ? r->length : ECHO), r->text + r->at);
    else if (c > ' ' && c <= '~')
        clattn__text_add(&r->message, "'%c'", c);
    else
        clattn__text_add(&r->message, "a character that is not printable ASCII");
    return -1;
}

static int expect_symbol(struct reader *r, const char *symbol, const char *what)
{
    return accept(r, symbol) ? 0 : expected(r, what);
}

/* ---- nodes ---- */
static int depth_of(const struct clattn__expr *e, int node)
{
    return node < 0 ? 0 : e->nodes[node].depth;
}

static int add_node(struct reader *r, enum kind kind, int left, int right, int32_t value)
{
    struct clattn__expr *e = r->expr;
    if (r->status)
        return -1;
    if (e->n_nodes == CLATTN__EXPR_MAX_NODES)
        return fail(r, CLATTN_EXPR_LIMIT, r->at, "more than 256 operators, names and numbers");
    int a = depth_of(e, left), b = depth_of(e, right), depth = 1 + (a > b ? a : b);
    if (depth > CLATTN__EXPR_MAX_DEPTH)
        return fail(r, CLATTN_EXPR_LIMIT, r->at, "more than 48 operations inside one another");
    e->nodes[e->n_nodes] = (struct node){kind, left, right, value, -1, depth};
    return e->n_nodes++;
}

/* The kernel argument of a literal (always a new one: a program must not depend on which numbers are equal) or a scalar. */
static int number_slot(struct reader *r, enum kind kind, int32_t value)
{
    struct clattn__expr *e = r->expr;
    for (int i = 0; i < e->n_numbers && kind == KIND_SCALAR; i++)
        if (e->numbers[i].kind == KIND_SCALAR && e->numbers[i].value == value)
            return i;
    if (e->n_numbers == CLATTN__EXPR_MAX_NUMBERS)
        return fail(r, CLATTN_EXPR_LIMIT, r->at, "more than 32 integers, scalars and arrays");
    e->numbers[e->n_numbers] = (struct number){kind, value};
    return e->n_numbers++;
}

static int add_number(struct reader *r, enum kind kind, int32_t value)
{
    int node = add_node(r, kind, -1, -1, value);
    if (node >= 0)
        r->expr->nodes[node].slot = number_slot(r, kind, value);
    return r->status ? -1 : node;
}

/* Both sides of an operator must be numbers, or both conditions. */
static bool check_type(struct reader *r, int node, bool condition, size_t at, enum kind kind)
{
    if (r->status || is_condition(r->expr->nodes[node].kind) == condition)
        return !r->status;
    fail(r, CLATTN_EXPR_TYPE, at, "'");
    clattn__text_add(&r->message, condition ? "%s' joins conditions, and it was given a number"
                                            : "%s' takes numbers, and it was given a condition",
                     clattn__expr_kinds[kind].symbol);
    return false;
}

static int add_operator(struct reader *r, enum kind kind, int left, int right, size_t at)
{
    bool joins = kind == KIND_NOT || kind == KIND_AND || kind == KIND_OR;
    if (r->status || !check_type(r, left, joins, at, kind) || (right >= 0 && !check_type(r, right, joins, at, kind)))
        return -1;
    return add_node(r, kind, left, right, 0);
}

/* ---- grammar ---- */
static int parse_or(struct reader *r);
static int parse_sum(struct reader *r);

static bool enter(struct reader *r)
{
    if (++r->nesting > CLATTN__EXPR_MAX_DEPTH)
        fail(r, CLATTN_EXPR_LIMIT, r->at, "more than 48 parentheses, brackets and signs inside one another");
    return !r->status;
}

static int parse_integer(struct reader *r, bool negative)
{
    uint64_t value = 0;
    for (size_t i = 0; i < r->length; i++) {
        char c = r->text[r->at + i];
        if (!is_digit(c))
            return fail(r, CLATTN_EXPR_SYNTAX, r->at + i, "expected decimal digits only");
        value = value > UINT32_MAX ? value : value * 10 + (uint64_t)(c - '0');
    }
    if (value > (uint64_t)INT32_MAX + negative)
        return fail(r, CLATTN_EXPR_NUMBER, r->at, "the integer must be from -2147483648 to 2147483647");
    int node = add_number(r, KIND_LITERAL, wrap(negative ? 0u - (uint32_t)value : (uint32_t)value));
    next(r);
    return node;
}

/* min(a, b) or max(a, b). */
static int parse_call(struct reader *r, enum kind kind)
{
    size_t at = r->at;
    next(r);
    if (!enter(r) || expect_symbol(r, "(", "'(' after min or max"))
        return -1;
    int left = parse_sum(r);
    if (r->status || expect_symbol(r, ",", "',' between the two numbers of min or max"))
        return -1;
    int right = parse_sum(r);
    if (r->status || expect_symbol(r, ")", "')' after the two numbers of min or max"))
        return -1;
    r->nesting--;
    return add_operator(r, kind, left, right, at);
}

static int parse_array(struct reader *r, int array)
{
    struct clattn__expr *e = r->expr;
    size_t at = r->at;
    bool outer = r->in_index;
    next(r);
    if (!enter(r) || expect_symbol(r, "[", "'[' and an index after an array's name"))
        return -1;
    r->in_index = true;
    int index = parse_sum(r);
    r->in_index = outer;
    if (r->status || expect_symbol(r, "]", "']' after an array's index"))
        return -1;
    r->nesting--;
    if (is_condition(e->nodes[index].kind))
        return fail(r, CLATTN_EXPR_TYPE, at, "an array's index is a number, and it was given a condition");
    e->count_slot[array] = 0; /* counts follow all other numbers: parse() numbers them */
    int node = add_node(r, KIND_ARRAY, index, -1, array);
    if (node >= 0)
        e->nodes[node].slot = e->n_loads++;
    return node;
}

static int find_name(const struct reader *r, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (names[i] && is_text(r, names[i]))
            return i;
    return -1;
}

static int parse_name(struct reader *r)
{
    int i = find_name(r, clattn__expr_indices, CLATTN__INDEX_K_LEN + 1);
    if (i >= 0) {
        if (r->in_index && (i == CLATTN__INDEX_Q || i == CLATTN__INDEX_K || i == CLATTN__INDEX_H))
            return fail(r, CLATTN_EXPR_TYPE, r->at,
                        "an array is indexed by b, g, q_len, k_len, scalars and integers; q, k and h differ from pair to pair");
        next(r);
        return add_node(r, KIND_INDEX, -1, -1, i);
    }
    if (is_text(r, "min"))
        return parse_call(r, KIND_MIN);
    if (is_text(r, "max"))
        return parse_call(r, KIND_MAX);
    if ((i = find_name(r, r->names->scalars, r->names->n_scalars)) >= 0) {
        int node = add_number(r, KIND_SCALAR, i);
        next(r);
        return node;
    }
    if ((i = find_name(r, r->names->arrays, r->names->n_arrays)) >= 0)
        return parse_array(r, i);
    fail(r, CLATTN_EXPR_NAME, r->at, "'");
    clattn__text_add(&r->message, "%.*s' is neither an index (q k b h g q_len k_len) nor a declared scalar or array",
                     (int)(r->length < ECHO ? r->length : ECHO), r->text + r->at);
    return -1;
}

static int parse_primary(struct reader *r)
{
    if (r->status)
        return -1;
    if (r->token == TOKEN_INTEGER)
        return parse_integer(r, false);
    if (r->token == TOKEN_NAME)
        return parse_name(r);
    if (!accept(r, "("))
        return expected(r, "an integer, a name, '-', '!' or '('");
    int node = enter(r) ? parse_or(r) : -1;
    if (r->status || expect_symbol(r, ")", "an operator or ')'"))
        return -1;
    r->nesting--;
    return node;
}

/* A minus sign right before an integer belongs to it, so that -2147483648 can be written. */
static int parse_unary(struct reader *r)
{
    size_t at = r->at;
    if (!accept(r, "-"))
        return parse_primary(r);
    if (r->token == TOKEN_INTEGER)
        return parse_integer(r, true);
    if (!enter(r))
        return -1;
    int node = parse_unary(r);
    r->nesting--;
    return add_operator(r, KIND_NEG, node, -1, at);
}

/* The operator of a level at the reader, or KIND_COUNT. */
static enum kind accept_operator(struct reader *r, enum level level)
{
    for (enum kind kind = KIND_ADD; kind < KIND_COUNT; kind++)
        if (clattn__expr_kinds[kind].level == level && accept(r, clattn__expr_kinds[kind].symbol))
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
        left = add_operator(r, kind, left, right, at);
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
    return add_operator(r, kind, left, right, at);
}

static int parse_not(struct reader *r)
{
    size_t at = r->at;
    if (!accept(r, "!"))
        return parse_comparison(r);
    int node = enter(r) ? parse_not(r) : -1;
    r->nesting--;
    return add_operator(r, KIND_NOT, node, -1, at);
}

static int parse_and(struct reader *r)
{
    return parse_left_to_right(r, LEVEL_AND, parse_not);
}

static int parse_or(struct reader *r)
{
    return parse_left_to_right(r, LEVEL_OR, parse_and);
}

/* ---- the whole ---- */
static void parse(struct reader *r)
{
    struct clattn__expr *e = r->expr;
    if (strnlen(r->text, MAX_TEXT + 1) > MAX_TEXT) {
        fail(r, CLATTN_EXPR_LIMIT, MAX_TEXT, "more than 4096 characters");
        return;
    }
    next(r);
    int root = r->token == TOKEN_END ? add_node(r, KIND_ALWAYS, -1, -1, 0) : parse_or(r);
    if (!r->status && r->token != TOKEN_END)
        expected(r, is_condition(e->nodes[root].kind) ? "'&', '|' or the end" : "an operator");
    if (!r->status && !is_condition(e->nodes[root].kind))
        fail(r, CLATTN_EXPR_TYPE, 0, "a condition is needed, such as k <= q, and this is a number");
    for (int i = 0; i < CLATTN_MAX_ARRAYS; i++)
        if (!r->status && e->count_slot[i] >= 0)
            e->count_slot[i] = number_slot(r, KIND_ARRAY, i);
}

static clattn_status keep_names(struct clattn__expr *e, const struct clattn__names *names)
{
    if (names->n_scalars < 0 || names->n_scalars > CLATTN_MAX_SCALARS || names->n_arrays < 0 ||
        names->n_arrays > CLATTN_MAX_ARRAYS)
        return CLATTN_BAD_COUNT;
    for (int i = 0; i < names->n_scalars + names->n_arrays; i++) {
        int array = i - names->n_scalars;
        const char *name = array < 0 ? names->scalars[i] : names->arrays[array];
        clattn_status status = clattn__name_check(name);
        if (status)
            return status;
        memcpy(array < 0 ? e->scalars[i] : e->arrays[array], name, strlen(name) + 1);
    }
    return CLATTN_OK;
}

clattn_status clattn__expr_parse(struct clattn__expr **expr, const char *text, const struct clattn__names *names,
                                 char *message, size_t size)
{
    static const struct clattn__names no_names;
    char unread[1];
    if (message && size)
        message[0] = 0;
    if (expr)
        *expr = NULL;
    if (!expr || !text)
        return CLATTN_NULL_ARGUMENT;
    struct clattn__expr *e = calloc(1, sizeof *e);
    if (!e)
        return CLATTN_OUT_OF_HOST_MEMORY;
    for (int i = 0; i < CLATTN_MAX_ARRAYS; i++)
        e->count_slot[i] = -1;
    struct reader r = {.text = text, .names = names ? names : &no_names, .expr = e};
    r.message = message && size ? clattn__text_into(message, size) : clattn__text_into(unread, sizeof unread);
    r.status = keep_names(e, r.names);
    if (!r.status)
        parse(&r);
    if (r.status) {
        clattn__expr_free(e);
        return r.status;
    }
    *expr = e;
    return CLATTN_OK;
}

void clattn__expr_free(struct clattn__expr *expr)
{
    free(expr);
}

clattn_status clattn__name_check(const char *name)
{
    size_t n = name ? strnlen(name, CLATTN_NAME_SIZE) : 0;
    if (n == 0 || n >= CLATTN_NAME_SIZE || !is_letter(name[0]))
        return CLATTN_BAD_NAME;
    for (size_t i = 0; i < n; i++)
        if (!is_word(name[i]))
            return CLATTN_BAD_NAME;
    for (int i = 0; clattn__expr_indices[i]; i++)
        if (!strcmp(name, clattn__expr_indices[i]))
            return CLATTN_DUPLICATE_NAME;
    return strcmp(name, "min") && strcmp(name, "max") ? CLATTN_OK : CLATTN_DUPLICATE_NAME;
}
