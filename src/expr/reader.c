/* SPDX-License-Identifier: MIT
 * reader.c - tokens, numbers and names of rule texts, and failures that show the place.
 *
 * Nothing here depends on the locale.  What is echoed of a user's text is printable ASCII, a short stretch of
 * it. */
#include "expr/reader.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ECHO 20  /* characters of a name shown in a message */
#define SHOWN 64 /* characters of the text shown above the caret */

/* ---- tokens ---- */
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

static size_t symbol_length(const char *p)
{
    if (((*p == '<' || *p == '>' || *p == '=' || *p == '!') && p[1] == '=') || (*p == '/' && p[1] == '/'))
        return 2;
    return *p && strchr("<>!+-*/%&|^?:()[],", *p) ? 1 : 0;
}

/* Digits, a point, an exponent: as far as they look like a number. */
static size_t number_length(const char *p)
{
    size_t n = 0;
    while (is_word(p[n]) || p[n] == '.' ||
           ((p[n] == '-' || p[n] == '+') && (p[n - 1] == 'e' || p[n - 1] == 'E')))
        n++;
    return n;
}

void clattn__reader_next(struct reader *r)
{
    r->at += r->length;
    while (r->text[r->at] == ' ' || r->text[r->at] == '\t')
        r->at++;
    const char *p = r->text + r->at;
    r->length = 0;
    if (!*p) {
        r->token = TOKEN_END;
    } else if (is_digit(*p)) {
        r->token = TOKEN_NUMBER;
        r->length = number_length(p);
    } else if (is_word(*p)) {
        r->token = is_letter(*p) ? TOKEN_NAME : TOKEN_BAD;
        while (is_word(p[r->length]))
            r->length++;
    } else {
        r->length = symbol_length(p);
        r->token = r->length ? TOKEN_SYMBOL : TOKEN_BAD;
    }
}

bool clattn__reader_is(const struct reader *r, const char *text)
{
    return r->length == strlen(text) && !strncmp(r->text + r->at, text, r->length);
}

bool clattn__reader_accept(struct reader *r, const char *symbol)
{
    if (r->status || r->token != TOKEN_SYMBOL || !clattn__reader_is(r, symbol))
        return false;
    clattn__reader_next(r);
    return true;
}

bool clattn__reader_expect(struct reader *r, const char *symbol, const char *what)
{
    return clattn__reader_accept(r, symbol) || clattn__reader_expected(r, what) == 0;
}

/* ---- numbers ---- */
static bool whole_number(struct reader *r, bool negative, struct reader_number *number)
{
    uint64_t value = 0;
    for (size_t i = 0; i < r->length; i++)
        value = value > UINT32_MAX ? value : value * 10 + (uint64_t)(r->text[r->at + i] - '0');
    if (value > (uint64_t)INT32_MAX + negative) {
        clattn__reader_fail(r, CLATTN_EXPR_NUMBER, r->at,
                            "the whole number must be from -2147483648 to 2147483647; 1e10 is a real number");
        return false;
    }
    *number = (struct reader_number){true, wrap(negative ? 0u - (uint32_t)value : (uint32_t)value)};
    return true;
}

/* digits [. digits] [e [sign] digits]: mantissa and exponent of 10 of what is written.  false: written
 * otherwise. */
static bool decimal_parts(const char *p, size_t length, double *mantissa, int *exponent)
{
    size_t i = 0, digits = 0;
    int sign = 1, written = 0;
    *mantissa = 0;
    *exponent = 0;
    for (; i < length && is_digit(p[i]); i++, digits++)
        *mantissa = *mantissa * 10 + (p[i] - '0');
    if (i < length && p[i] == '.') {
        size_t first = ++i;
        for (; i < length && is_digit(p[i]); i++, digits++, --*exponent)
            *mantissa = *mantissa * 10 + (p[i] - '0');
        if (i == first)
            return false;
    }
    if (i < length && (p[i] == 'e' || p[i] == 'E')) {
        if (++i < length && (p[i] == '-' || p[i] == '+'))
            sign = p[i++] == '-' ? -1 : 1;
        size_t first = i;
        for (; i < length && is_digit(p[i]) && written < 1000; i++)
            written = written * 10 + (p[i] - '0');
        if (i == first)
            return false;
    }
    *exponent += sign * written;
    return i == length && digits <= 17;
}

static bool real_number(struct reader *r, bool negative, struct reader_number *number)
{
    double mantissa;
    int exponent;
    if (!decimal_parts(r->text + r->at, r->length, &mantissa, &exponent)) {
        clattn__reader_fail(r, CLATTN_EXPR_SYNTAX, r->at,
                            "expected a number such as 12, 0.5 or 2e-3, of 17 digits at most");
        return false;
    }
    double value = exponent < 0 ? mantissa / pow(10.0, -exponent) : mantissa * pow(10.0, exponent);
    if (!(value < 0x1.ffffffp127)) { /* what rounds to the largest f32 is that; its shortest text is above */
        clattn__reader_fail(r, CLATTN_EXPR_NUMBER, r->at, "the number does not fit 32-bit floating point");
        return false;
    }
    *number = (struct reader_number){false, float_bits((float)(negative ? -value : value))};
    return true;
}

bool clattn__reader_number(struct reader *r, bool negative, struct reader_number *number)
{
    bool whole = true;
    for (size_t i = 0; i < r->length; i++)
        whole = whole && is_digit(r->text[r->at + i]);
    bool good = whole ? whole_number(r, negative, number) : real_number(r, negative, number);
    if (good)
        clattn__reader_next(r);
    return good;
}

/* ---- names ---- */
int clattn__reader_index(const struct reader *r)
{
    for (int i = 0; clattn__expr_indices[i]; i++)
        if (clattn__reader_is(r, clattn__expr_indices[i]))
            return i;
    return -1;
}

/* A function, or a condition of one word. */
static bool is_word_of_ours(enum kind kind)
{
    return clattn__expr_kinds[kind].level == LEVEL_PRIMARY && clattn__expr_kinds[kind].symbol[0];
}

enum kind clattn__reader_function(const struct reader *r)
{
    for (enum kind kind = 0; kind < KIND_COUNT; kind++)
        if (is_word_of_ours(kind) && clattn__reader_is(r, clattn__expr_kinds[kind].symbol))
            return kind;
    return KIND_COUNT;
}

const struct reader_binding *clattn__reader_binding(const struct reader *r)
{
    for (int i = 0; r->bindings && i < r->bindings->count; i++)
        if (clattn__reader_is(r, r->bindings->list[i].name))
            return &r->bindings->list[i];
    return NULL;
}

const struct clattn__named_rule *clattn__reader_named_rule(const struct reader *r)
{
    for (const struct clattn__named_rule *rule = clattn__named_rules; rule->name; rule++)
        if (clattn__reader_is(r, rule->name))
            return rule;
    return NULL;
}

void clattn__reader_parameters(const struct clattn__named_rule *rule, struct reader_bindings *bindings)
{
    const char *p = rule->parameters;
    bindings->count = 0;
    while (*p && bindings->count < READER_MAX_PARAMETERS) {
        struct reader_binding *b = &bindings->list[bindings->count++];
        size_t n = strcspn(p, "[,");
        snprintf(b->name, sizeof b->name, "%.*s", (int)n, p);
        b->is_array = p[n] == '[';
        b->array = -1;
        p += n + (b->is_array ? 2 : 0);
        p += strspn(p, ", ");
    }
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
    for (enum kind kind = 0; kind < KIND_COUNT; kind++)
        if (is_word_of_ours(kind) && !strcmp(name, clattn__expr_kinds[kind].symbol))
            return CLATTN_DUPLICATE_NAME;
    return strcmp(name, "true") && strcmp(name, "false") ? CLATTN_OK : CLATTN_DUPLICATE_NAME;
}

/* ---- failures ---- */
int clattn__reader_fail(struct reader *r, clattn_status status, size_t at, const char *what)
{
    if (!r->status) {
        r->status = status;
        r->failed_at = at;
        clattn__text_add(&r->message, "column %zu: %s", at + 1, what);
    }
    return -1;
}

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

int clattn__reader_expected(struct reader *r, const char *what)
{
    if (r->status)
        return -1;
    clattn__reader_fail(r, CLATTN_EXPR_SYNTAX, r->at, "expected ");
    char c = r->text[r->at];
    clattn__text_add(&r->message, "%s, found ", what);
    if (!c)
        clattn__text_add(&r->message, "the end");
    else if (is_word(c) || r->token == TOKEN_SYMBOL)
        clattn__text_add(&r->message, "'%.*s'", (int)(r->length < ECHO ? r->length : ECHO), r->text + r->at);
    else if (is_printable(c))
        clattn__text_add(&r->message, "'%c'", c);
    else
        clattn__text_add(&r->message, "a character that is not printable ASCII");
    return -1;
}

int clattn__reader_unknown(struct reader *r)
{
    if (r->status)
        return -1;
    clattn__reader_fail(r, CLATTN_EXPR_NAME, r->at, "'");
    clattn__text_add(&r->message,
                     "%.*s' is neither an index nor a function, a declared scalar or array, or a named rule",
                     (int)(r->length < ECHO ? r->length : ECHO), r->text + r->at);
    return -1;
}

/* The stretch of the text around the place, unprintable characters as '?', and a caret below. */
static void show_place(struct reader *r)
{
    size_t length = strnlen(r->text, CLATTN__EXPR_MAX_TEXT),
           at = r->failed_at < length ? r->failed_at : length;
    size_t first = at > SHOWN * 3 / 4 ? at - SHOWN * 3 / 4 : 0,
           shown = length - first < SHOWN ? length - first : SHOWN;
    clattn__text_add(&r->message, "\n    ");
    for (size_t i = first; i < first + shown; i++)
        clattn__text_add(&r->message, "%c",
                         is_printable(r->text[i]) ? r->text[i]
                         : r->text[i] == '\t'     ? ' '
                                                  : '?');
    clattn__text_add(&r->message, "\n    %*s^", (int)(at - first), "");
}

void clattn__reader_explain(struct reader *r)
{
    const struct clattn__expr *e = r->expr;
    show_place(r);
    clattn__text_add(&r->message, "\n    names: q k b h g q_len k_len listed%s",
                     r->use == CLATTN__MASK ? "" : " score");
    for (int i = 0; i < e->n_scalars; i++)
        clattn__text_add(&r->message, "%s %s", i ? "," : "; scalars", e->scalars[i].name);
    for (int i = 0; i < e->n_arrays; i++) {
        static const char *const indices[] = {"", "[.]", "[.,.]", "[.,.,.]", "[.,.,.,.]"};
        clattn__text_add(&r->message, "%s %s%s", i ? "," : "; arrays", e->arrays[i].name,
                         indices[e->arrays[i].n_dims]);
    }
    clattn__text_add(&r->message, "; functions and named rules: clattn_expr(7)");
}
