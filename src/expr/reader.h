/* SPDX-License-Identifier: MIT
 * reader.h - what the parser reads with: tokens, numbers, names in scope, and failures that show the
 * place. */
#ifndef CLATTN_EXPR_READER_H
#define CLATTN_EXPR_READER_H

#include "expr/tree.h"

enum token { TOKEN_END, TOKEN_NUMBER, TOKEN_NAME, TOKEN_SYMBOL, TOKEN_BAD };

/* A named rule's parameter and what it stands for: an array, or the text at a place of the reader that calls
 * the rule. */
#define READER_MAX_PARAMETERS 4
struct reader_binding {
    char name[CLATTN_NAME_SIZE];
    bool is_array;
    int array;
    const struct reader *outer;
    size_t at;
};
struct reader_bindings {
    int count;
    struct reader_binding list[READER_MAX_PARAMETERS];
};

struct reader {
    const char *text;
    size_t at, length; /* the token: where, and how long */
    enum token token;
    int nesting, *steps;
    enum clattn__use use;
    struct clattn__expr *expr;
    const struct reader_bindings *bindings; /* inside a named rule; else NULL */
    clattn_status status;
    size_t failed_at;
    struct clattn__text message;
};

struct reader_number {
    bool whole;
    int32_t bits;
};

void clattn__reader_next(struct reader *r);
bool clattn__reader_is(const struct reader *r, const char *text); /* the token's text */
bool clattn__reader_accept(struct reader *r, const char *symbol);
/* Accept, or fail with what was wanted. */
bool clattn__reader_expect(struct reader *r, const char *symbol, const char *what);
/* Read the number at the token and go on: whole numbers that fit 32 bits, or decimal fractions rounded to
 * f32. */
bool clattn__reader_number(struct reader *r, bool negative, struct reader_number *number);

/* ---- names ---- */
int clattn__reader_index(const struct reader *r);                              /* -1: none */
/* or LISTED; KIND_COUNT: none */
enum kind clattn__reader_function(const struct reader *r);
const struct reader_binding *clattn__reader_binding(const struct reader *r);   /* NULL: none */
const struct clattn__named_rule *clattn__reader_named_rule(const struct reader *r); /* NULL: none */
void clattn__reader_parameters(const struct clattn__named_rule *rule, struct reader_bindings *bindings);

/* ---- failures; all return -1 ---- */
int clattn__reader_fail(struct reader *r, clattn_status status, size_t at, const char *what);
int clattn__reader_expected(struct reader *r, const char *what);
int clattn__reader_unknown(struct reader *r); /* a name that is not in scope */
/* Add the text with a caret under the place, and the names in scope. */
void clattn__reader_explain(struct reader *r);

#endif
