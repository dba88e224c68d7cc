/* SPDX-License-Identifier: MIT
 * random_rule.c - random rule texts: a grammar run backwards.  Parentheses stand where they must and
 * sometimes where they need not, so that the texts also try precedence. */
#include "random_rule.h"

#include "expr/tree.h"

#include <string.h>

enum { FEW_OPERATORS = 10, MANY_OPERATORS = 40, LITERALS = 16, DEPTH = 14 };

struct writer {
    uint64_t seed;
    struct clattn__text out;
    enum clattn__use use;
    const struct clattn__names *names;
    int operators, literals; /* that may still be written */
};

uint32_t random_below(uint64_t *seed, uint32_t n)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*seed >> 33) % n);
}

static uint32_t below(struct writer *w, uint32_t n)
{
    return random_below(&w->seed, n);
}

/* A word of the grammar, with or without blanks where they mean nothing. */
static void put(struct writer *w, const char *text)
{
    clattn__text_add(&w->out, "%s", text);
}

static void put_symbol(struct writer *w, const char *symbol)
{
    static const char *const blanks[] = {" ", " ", " ", "", "  ", "\t"};
    put(w, blanks[below(w, 6)]);
    put(w, symbol);
    put(w, blanks[below(w, 6)]);
}

static void write_type(struct writer *w, enum type type, enum level least, int depth);

/* ---- leaves ---- */
static enum type array_type(const clattn_array *array)
{
    return array->type == CLATTN_BITS ? TYPE_BOOL : array->type == CLATTN_I32 || array->type == CLATTN_I8 ? TYPE_INT : TYPE_FLOAT;
}

/* One of the arrays of a type, or NULL: a random one of all is it, or none. */
static const clattn_array *some_array(struct writer *w, enum type type)
{
    const int n = w->names->n_arrays;
    for (int tries = 0; tries < 3 && n > 0; tries++) {
        const clattn_array *array = &w->names->arrays[below(w, (uint32_t)n)];
        if (array_type(array) == type)
            return array;
    }
    return NULL;
}

static const clattn_scalar *some_scalar(struct writer *w, enum type type)
{
    const int n = w->names->n_scalars;
    for (int tries = 0; tries < 3 && n > 0; tries++) {
        const clattn_scalar *scalar = &w->names->scalars[below(w, (uint32_t)n)];
        if ((scalar->type == CLATTN_F32) == (type == TYPE_FLOAT))
            return scalar;
    }
    return NULL;
}

static bool write_array(struct writer *w, enum type type, int depth)
{
    const clattn_array *array = depth < 0 ? NULL : some_array(w, type);
    if (!array)
        return false;
    put(w, array->name);
    put(w, "[");
    for (int d = 0; d < array->n_dims; d++) {
        if (d)
            put(w, below(w, 2) ? "," : ", ");
        write_type(w, TYPE_INT, LEVEL_SELECT, below(w, 3) ? -1 : depth - 1);
    }
    put(w, "]");
    return true;
}

static bool write_scalar(struct writer *w, enum type type)
{
    const clattn_scalar *scalar = some_scalar(w, type);
    if (scalar)
        put(w, scalar->name);
    return scalar != NULL;
}

static bool write_literal(struct writer *w, enum type type, enum level least)
{
    static const char *const ints[] = {"0",  "1",  "2",  "3",  "4",  "5",     "7",          "8",
                                       "12", "16", "-1", "-2", "-7", "65536", "2147483647", "-2147483648"};
    static const char *const floats[] = {"0.0",   "1.0",  "0.5",  "2.0",    "0.25",  "1.5",
                                         "3.75",  "10.5", "0.1",  "7e-1",   "1e1",   "-0.5",
                                         "-1.25", "-3.0", "1e-3", "3.4e38", "-1e30", "1e-42"};
    if (w->literals == 0)
        return false;
    w->literals--;
    const char *text =
        type == TYPE_INT ? ints[below(w, below(w, 8) ? 13 : 16)] : floats[below(w, below(w, 8) ? 15 : 18)];
    bool parentheses = *text == '-' && least > LEVEL_NEGATE;
    put(w, parentheses ? "(" : "");
    put(w, text);
    put(w, parentheses ? ")" : "");
    return true;
}

static void write_index(struct writer *w)
{
    static const char *const often[] = {"q", "k"};
    put(w, below(w, 4) ? often[below(w, 2)] : clattn__expr_indices[below(w, CLATTN__INDEX_SCORE)]);
}

static void write_int_leaf(struct writer *w, enum level least, int depth)
{
    switch (below(w, 8)) {
    case 0:
        if (write_scalar(w, TYPE_INT))
            return;
        break;
    case 1:
        if (write_array(w, TYPE_INT, depth))
            return;
        break;
    case 2:
    case 3:
        if (write_literal(w, TYPE_INT, least))
            return;
    }
    write_index(w);
}

static void write_float_leaf(struct writer *w, enum level least, int depth)
{
    uint32_t choice = below(w, 6);
    if (w->use != CLATTN__MASK && choice < 3) {
        put(w, "score");
        return;
    }
    if (choice == 5 ? write_scalar(w, TYPE_FLOAT) : choice >= 3 && write_array(w, TYPE_FLOAT, depth))
        return;
    if (below(w, 3) && write_literal(w, TYPE_FLOAT, least))
        return;
    put(w, below(w, 2) ? "sqrt(" : "tanh(");
    write_index(w);
    put(w, ")");
}

static void write_bool_leaf(struct writer *w, int depth)
{
    static const char *const rules[] = {"causal",   "strictly_causal", "full",      "window(5)",
                                        "sinks(2)", "blocks(4)",       "around(3)", "dilated(4, 2)"};
    uint32_t choice = below(w, 7);
    if (choice < 2 && write_array(w, TYPE_BOOL, depth))
        return;
    if (choice == 2 && w->use == CLATTN__MASK && w->literals > 2) {
        w->literals -= 3;
        put(w, rules[below(w, CLATTN__LEN(rules))]);
    } else if (choice == 3 && below(w, 4) == 0) {
        put(w, below(w, 2) ? "true" : "false");
    } else if (choice == 6) {
        put(w, "listed");
    } else {
        put(w, "(");
        write_index(w);
        put_symbol(w, below(w, 2) ? "<=" : ">");
        write_index(w);
        put(w, ")");
    }
}

/* ---- operators ---- */
/* An operand of an operator over numbers of one type: ints may stand where floats do, if a float is their
 * partner. */
static enum type partner_type(struct writer *w, enum type type)
{
    return type == TYPE_FLOAT && below(w, 4) == 0 ? TYPE_INT : type;
}

static void write_binary(struct writer *w, enum kind kind, enum type left, enum type right, int depth)
{
    const enum level level = clattn__expr_kinds[kind].level;
    write_type(w, left, level == LEVEL_COMPARE ? LEVEL_SUM : level, depth);
    put_symbol(w, clattn__expr_kinds[kind].symbol);
    write_type(w, right, level + 1, depth);
}

static void write_call(struct writer *w, enum kind kind, enum type first, enum type second, int depth)
{
    put(w, clattn__expr_kinds[kind].symbol);
    put(w, below(w, 4) ? "(" : " ( ");
    write_type(w, first, LEVEL_SELECT, depth);
    if (clattn__expr_kinds[kind].operands == 2) {
        put(w, below(w, 2) ? ", " : ",");
        write_type(w, second, LEVEL_SELECT, depth);
    }
    put(w, ")");
}

static void write_select(struct writer *w, enum type type, int depth)
{
    enum type other = partner_type(w, type);
    bool turn = below(w, 2) != 0;
    write_type(w, TYPE_BOOL, LEVEL_OR, depth);
    put_symbol(w, "?");
    write_type(w, turn ? other : type, LEVEL_SELECT, depth);
    put_symbol(w, ":");
    write_type(w, turn ? type : other, LEVEL_SELECT, depth);
}

/* An operator that gives a type. */
static enum kind some_operator(struct writer *w, enum type type)
{
    static const enum kind ints[] = {KIND_ADD, KIND_ADD, KIND_SUB,  KIND_SUB,   KIND_SUB,
                                     KIND_MUL, KIND_NEG, KIND_IDIV, KIND_MOD,   KIND_MIN,
                                     KIND_MAX, KIND_ABS, KIND_RELU, KIND_FLOOR, KIND_SELECT};
    static const enum kind floats[] = {
        KIND_ADD,  KIND_ADD,  KIND_SUB,  KIND_SUB,     KIND_MUL,      KIND_MUL,   KIND_NEG,  KIND_DIV,
        KIND_DIV,  KIND_MIN,  KIND_MAX,  KIND_ABS,     KIND_RELU,     KIND_EXP,   KIND_EXP2, KIND_LOG,
        KIND_LOG2, KIND_SQRT, KIND_TANH, KIND_SIGMOID, KIND_SOFTPLUS, KIND_SELECT};
    static const enum kind bools[] = {KIND_LE,  KIND_LT, KIND_GE, KIND_GT,  KIND_EQ,  KIND_NE,  KIND_NOT,
                                      KIND_AND, KIND_OR, KIND_OR, KIND_AND, KIND_AND, KIND_XOR, KIND_SELECT};
    switch (type) {
    case TYPE_INT: return ints[below(w, CLATTN__LEN(ints))];
    case TYPE_FLOAT: return floats[below(w, CLATTN__LEN(floats))];
    default: return bools[below(w, CLATTN__LEN(bools))];
    }
}

static void write_body(struct writer *w, enum kind kind, enum type type, int depth)
{
    const struct kind_facts *facts = &clattn__expr_kinds[kind];
    enum type left = type, right = partner_type(w, type);
    if (facts->signature == SIGN_COMPARE) {
        left = below(w, 3) ? TYPE_INT : TYPE_FLOAT;
        right = partner_type(w, left);
    } else if (facts->signature == SIGN_REAL) { /* takes ints too */
        left = partner_type(w, TYPE_FLOAT);
    } else if (facts->signature == SIGN_FLOOR) {
        left = TYPE_FLOAT;
    }
    if (kind == KIND_SELECT) {
        write_select(w, type, depth);
    } else if (facts->level == LEVEL_PRIMARY) {
        write_call(w, kind, left, right, depth);
    } else if (facts->operands == 1) {
        put(w, facts->symbol);
        write_type(w, type, facts->level, depth);
    } else if (below(w, 2)) {
        write_binary(w, kind, left, right, depth);
    } else {
        write_binary(w, kind, right, left, depth);
    }
}

static void write_leaf(struct writer *w, enum type type, enum level least, int depth)
{
    switch (type) {
    case TYPE_INT: write_int_leaf(w, least, depth); return;
    case TYPE_FLOAT: write_float_leaf(w, least, depth); return;
    default: write_bool_leaf(w, depth);
    }
}

/* Something of a type that may stand where operands bind at least so tightly. */
static void write_type(struct writer *w, enum type type, enum level least, int depth)
{
    if (depth <= 0 || w->operators <= 0 || below(w, type == TYPE_BOOL ? 8 : 3) == 0) {
        write_leaf(w, type, least, depth);
        return;
    }
    w->operators--;
    enum kind kind = some_operator(w, type);
    bool parentheses = clattn__expr_kinds[kind].level < least || below(w, 16) == 0;
    put(w, parentheses ? "(" : "");
    write_body(w, kind, type, depth - 1);
    put(w, parentheses ? ")" : "");
}

void random_rule(uint64_t seed, enum clattn__use use, char *text, size_t size,
                 const struct clattn__names *names)
{
    static const struct clattn__names no_names;
    struct writer w = {.seed = seed, .use = use, .names = names ? names : &no_names};
    int operators = 1 + (int)below(&w, below(&w, 4) ? FEW_OPERATORS : MANY_OPERATORS);
    do {
        w.out = clattn__text_into(text, size);
        w.operators = operators;
        w.literals = LITERALS;
        write_type(&w, use == CLATTN__MASK ? TYPE_BOOL : TYPE_FLOAT, LEVEL_SELECT, DEPTH);
        operators /= 2;
    } while (w.out.cut && operators > 0);
    if (w.out.cut) {
        w.out = clattn__text_into(text, size);
        put(&w, use == CLATTN__MASK ? "k <= q" : "score");
    }
}
