/* SPDX-License-Identifier: MIT
 * ref_rule.c - the oracle's own reading of a rule text: evaluates while it reads, with no tree.
 *
 * Ints are 32 bits and wrap; floats are doubles, literals and scalars of them rounded to f32 once, because
 * that is what they are; bools are bools.  Binary operators are read by climbing their levels, all else by
 * descent.
 *
 * Beside each value goes what an evaluation in f32 may be off by (running error analysis, Wilkinson 1960; the
 * counts of doc/numerics.md).  An int or a bool is off by 0, or by INFINITY: the rounding of floats may have
 * changed it to anything. */
#include "tests/ref.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIT 0x1p-24
#define LARGEST 0x1.fffffep127
#define TINY 0x1p-126 /* a device may flush what is smaller to 0 */
#define MAX_DIMS 4

enum kind { INT, FLOAT, BOOL };
struct value {
    enum kind kind;
    int32_t i; /* of an int or a bool */
    double x;  /* of a float */
    double e;  /* error */
};

struct reading {
    const char *text, *at;
    const struct ref_rules *rules;
    const struct ref_point *point;
    const struct ref_number *score; /* NULL in masks */
    bool bounded;                   /* errors are wanted */
};

static struct value read_expression(struct reading *r);

static void fail(const struct reading *r, const char *why)
{
    fprintf(stderr, "ref_rule: '%s' at '%s': %s\n", r->text, r->at, why);
    abort();
}

/* ---- values ---- */
static int32_t wrap(int64_t x)
{
    return (int32_t)(uint32_t)(uint64_t)x;
}

static struct value whole(enum kind kind, int64_t i, double e)
{
    return (struct value){kind, wrap(i), 0, e > 0 || isnan(e) ? INFINITY : 0};
}

/* Whether rounding to nearest, of what is exact, changes nothing. */
static bool is_f32(double x)
{
    return x == (double)(float)x && (x == 0 || fabs(x) >= TINY);
}

/* A float off by e, and by so many units of its own rounding; one unit is rounding to nearest.  Where abs(x)
 * - e > LARGEST no f32 is that near but an infinity.  An infinity and a NaN are off by 0, or by INFINITY:
 * anything. */
static struct value real(const struct reading *r, double x, double e, double units)
{
    if (!r->bounded)
        return (struct value){FLOAT, 0, x, 0};
    if (isnan(e))
        e = INFINITY;
    if (isfinite(x) && units > 0 && !(units == 1 && e == 0 && is_f32(x)))
        e += units * UNIT * fabs(x) + TINY;
    if (fabs(x) < TINY && !r->rules->subnormals) /* an operand may be flushed too */
        e = fmax(e, fabs(x));
    if (isfinite(x) && fabs(x) - e > LARGEST && r->rules->overflow)
        x = copysign(INFINITY, x);
    if (isfinite(x) && fabs(x) + e > LARGEST)
        e = INFINITY;
    return (struct value){FLOAT, 0, x, isfinite(x) || e == INFINITY ? e : 0};
}

/* Whether a float that is off may be 0. */
static bool near_zero(struct value a)
{
    return a.e > 0 && fabs(a.x) <= a.e;
}

static struct value as_float(const struct reading *r, struct value a)
{
    if (a.kind == BOOL)
        fail(r, "a condition where a number is needed");
    if (a.kind == FLOAT)
        return a;
    return real(r, a.i, a.e, a.i > -(1 << 24) && a.i < 1 << 24 ? 0 : 1);
}

static void need_kind(const struct reading *r, struct value a, enum kind kind)
{
    if (a.kind != kind)
        fail(r, kind == BOOL ? "a condition is needed" : "a whole number is needed");
}

/* Whether an operator of two numbers works on ints; else both become floats. */
static bool are_ints(const struct reading *r, struct value *a, struct value *b)
{
    if (a->kind == INT && b->kind == INT)
        return true;
    *a = as_float(r, *a);
    *b = as_float(r, *b);
    return false;
}

/* ---- words and symbols ---- */
static void skip_blanks(struct reading *r)
{
    while (*r->at == ' ' || *r->at == '\t')
        r->at++;
}

static bool take(struct reading *r, char symbol)
{
    skip_blanks(r);
    if (*r->at != symbol)
        return false;
    r->at++;
    return true;
}

static void need(struct reading *r, char symbol)
{
    const char why[] = {'\'', symbol, '\'', ' ', 'i', 's', ' ', 'n', 'e', 'e', 'd', 'e', 'd', 0};
    if (!take(r, symbol))
        fail(r, why);
}

static struct value read_number(struct reading *r)
{
    const char *at = r->at, *first = at;
    char *end;
    bool integer = true;
    at += strspn(at, "0123456789");
    if (*at == '.') {
        integer = false;
        at++;
        at += strspn(at, "0123456789");
    }
    if (*at == 'e' || *at == 'E') {
        integer = false;
        at += 1 + (at[1] == '+' || at[1] == '-');
        at += strspn(at, "0123456789");
    }
    double x = strtod(first, &end);
    if (end != at || isalnum((unsigned char)*at) || *at == '_' || (integer && x > 2147483648.0))
        fail(r, "not a number");
    r->at = at;
    return integer ? whole(INT, (int64_t)x, 0) : real(r, (double)(float)x, 0, 0);
}

/* ---- functions ---- */
static double sigmoid(double x)
{
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}

static double softplus(double x)
{
    return isnan(x) ? x : fmax(x, 0) + log1p(exp(-fabs(x)));
}

/* Real functions, all of them rising.  On a device the argument may be off by so many units of itself, and
 * the result by so many of itself. */
static const struct function {
    const char *name;
    double (*of)(double);
    double argument, result;
} functions[] = {
    {"exp", exp, 2, 6},   {"exp2", exp2, 0, 6}, {"log", log, 0, 8},          {"log2", log2, 0, 6},
    {"sqrt", sqrt, 0, 6}, {"tanh", tanh, 0, 10}, {"sigmoid", sigmoid, 2, 12}, {"softplus", softplus, 2, 12}, {0}};

static double distance(double a, double b)
{
    return a == b ? 0 : fabs(a - b);
}

static struct value apply_function(const struct reading *r, const struct function *f, struct value a)
{
    double y = f->of(a.x);
    if (!r->bounded || a.e == INFINITY) /* what may be NaN stays so, even in tanh */
        return real(r, y, a.e, 0);
    double reach = a.e + f->argument * UNIT * (isfinite(a.x) ? fabs(a.x) : 0);
    double low = f->of(a.x - reach), high = f->of(a.x + reach);
    if (isnan(high)) /* so is all below */
        return real(r, NAN, 0, 0);
    return real(r, y, isnan(low) ? INFINITY : fmax(distance(y, low), distance(y, high)), f->result);
}

static struct value apply_floor(const struct reading *r, struct value a)
{
    if (a.kind == INT)
        return a;
    a = as_float(r, a);
    double x = floor(a.x);
    bool same = !(a.e > 0) || floor(a.x + a.e) == floor(a.x - a.e);
    int32_t i = isnan(x) ? 0 : x >= 2147483647.0 ? INT32_MAX : x <= -2147483648.0 ? INT32_MIN : (int32_t)x;
    return whole(INT, i, same ? 0 : INFINITY);
}

static struct value apply_abs(const struct reading *r, struct value a)
{
    if (a.kind == INT)
        return whole(INT, a.i < 0 ? -(int64_t)a.i : a.i, a.e);
    a = as_float(r, a);
    return real(r, fabs(a.x), a.e, 0);
}

/* NaN goes through relu, min and max: a NaN score must make its row NaN whatever the rule. */
static struct value apply_relu(const struct reading *r, struct value a)
{
    if (a.kind == INT)
        return whole(INT, a.i < 0 ? 0 : a.i, a.e);
    a = as_float(r, a);
    return real(r, a.x < 0 ? 0 : a.x, a.e, 0);
}

static struct value apply_min_max(const struct reading *r, bool min, struct value a, struct value b)
{
    if (are_ints(r, &a, &b))
        return whole(INT, min == (a.i < b.i) ? a.i : b.i, a.e + b.e);
    double x = isnan(a.x) || isnan(b.x) ? NAN : min ? fmin(a.x, b.x) : fmax(a.x, b.x);
    return real(r, x, fmax(a.e, b.e), 0);
}

/* After the name of a function; false if it is none. */
static bool read_function(struct reading *r, const char *name, struct value *result)
{
    static const char *const others[] = {"min", "max", "abs", "relu", "floor", "float", NULL};
    const struct function *f = functions;
    int n = 0;
    while (others[n] && strcmp(name, others[n]))
        n++;
    while (!others[n] && f->name && strcmp(name, f->name))
        f++;
    if (!others[n] && !f->name)
        return false;
    need(r, '(');
    struct value a = read_expression(r), b = a;
    if (n < 2) {
        need(r, ',');
        b = read_expression(r);
    }
    need(r, ')');
    *result = n < 2    ? apply_min_max(r, n == 0, a, b)
              : n == 2 ? apply_abs(r, a)
              : n == 3 ? apply_relu(r, a)
              : n == 4 ? apply_floor(r, a)
              : n == 5 ? as_float(r, a)
                       : apply_function(r, f, as_float(r, a));
    return true;
}

/* ---- names ---- */
static bool read_index(const struct reading *r, const char *name, struct value *result)
{
    const struct ref_point *p = r->point;
    const struct {
        const char *name;
        int64_t value;
    } indices[] = {{"q", p->q}, {"k", p->k}, {"b", p->b}, {"h", p->h}, {"g", p->g}, {"q_len", p->q_len},
                   {"k_len", p->k_len}};
    for (int i = 0; i < 7; i++)
        if (!strcmp(name, indices[i].name)) {
            *result = whole(INT, indices[i].value, 0);
            return true;
        }
    if (strcmp(name, "score"))
        return false;
    if (!r->score)
        fail(r, "a mask knows no score");
    *result = real(r, r->score->value, r->score->error, 0);
    return true;
}

static struct value element(const struct reading *r, const struct ref_array *a, const int64_t *index)
{
    int64_t row = 0, last = a->dims[a->n_dims - 1], i = index[a->n_dims - 1];
    for (int d = 0; d + 1 < a->n_dims; d++)
        row = row * a->dims[d] + index[d];
    switch (a->type) {
    case REF_I32:
        return whole(INT, ((const int32_t *)a->data)[row * last + i], 0);
    case REF_I8:
        return whole(INT, ((const int8_t *)a->data)[row * last + i], 0);
    case REF_BITS:
        return whole(BOOL, ((const uint32_t *)a->data)[row * ((last + 31) / 32) + i / 32] >> i % 32 & 1, 0);
    default:
        return real(r, ref_widen(a->type, a->data, row * last + i), 0, 0);
    }
}

static struct value read_element(struct reading *r, const struct ref_array *a)
{
    int64_t index[MAX_DIMS];
    double e = 0;
    if (!a->data || a->n_dims < 1 || a->n_dims > MAX_DIMS)
        fail(r, "an array without data");
    for (int d = 0; d < a->n_dims; d++) {
        need(r, d ? ',' : '[');
        struct value i = read_expression(r);
        need_kind(r, i, INT);
        index[d] = i.i < 0 ? 0 : i.i >= a->dims[d] ? a->dims[d] - 1 : i.i;
        e += i.e;
    }
    need(r, ']');
    struct value x = element(r, a, index);
    x.e += e;
    return x;
}

/* Whether the key's block stands in the list of the query's row and head; nothing of a list is trusted. */
static struct value read_listed(const struct reading *r)
{
    const struct ref_blocks *l = &r->rules->list;
    const struct ref_point *p = r->point;
    int64_t m = (p->q - (r->rules->bottom_right ? p->k_len - p->q_len : 0)) / l->block_q;
    if (!l->counts)
        fail(r, "no list is there");
    m = m < 0 ? 0 : m >= l->q_blocks ? l->q_blocks - 1 : m;
    const int64_t at = (p->b * l->scopes + p->h / l->heads) * l->q_blocks + m;
    bool found = false;
    for (int64_t j = 0; j < l->counts[at] && j < l->capacity; j++)
        found |= l->ids[at * l->capacity + j] == p->k / l->block_k;
    return whole(BOOL, found, 0);
}

static struct value read_name(struct reading *r)
{
    char name[32];
    size_t n = 0;
    const char *begin = r->at;
    struct value x;
    while ((isalnum((unsigned char)*r->at) || *r->at == '_') && n + 1 < sizeof name)
        name[n++] = *r->at++;
    name[n] = 0;
    if (read_index(r, name, &x))
        return x;
    for (int i = 0; i < r->rules->n_scalars; i++) {
        const struct ref_scalar *s = &r->rules->scalars[i];
        if (!strcmp(name, s->name))
            return s->type == REF_I32 ? whole(INT, (int64_t)s->value, 0)
                                      : real(r, (double)(float)s->value, 0, 0);
    }
    for (int i = 0; i < r->rules->n_arrays; i++)
        if (!strcmp(name, r->rules->arrays[i].name))
            return read_element(r, &r->rules->arrays[i]);
    if (!strcmp(name, "listed"))
        return read_listed(r);
    if (!strcmp(name, "true") || !strcmp(name, "false"))
        return whole(BOOL, name[0] == 't', 0);
    if (!read_function(r, name, &x)) {
        r->at = begin;
        fail(r, "an unknown name");
    }
    return x;
}

/* ---- operators ---- */
/* Down: its remainder takes the divisor's sign; both 0 when the divisor is 0. */
static int64_t divide_down(int64_t a, int64_t b)
{
    if (b == 0)
        return 0;
    return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

static struct value apply_whole(const struct reading *r, char symbol, struct value a, struct value b)
{
    int64_t x = a.i, y = b.i, down = divide_down(x, y);
    need_kind(r, a, INT);
    need_kind(r, b, INT);
    int64_t result = symbol == '+'   ? x + y
                     : symbol == '-' ? x - y
                     : symbol == '*' ? x * y
                     : symbol == '%' ? (y ? x - down * y : 0)
                                     : down;
    return whole(INT, result, a.e + b.e);
}

/* An infinite factor decides, unless the other may be 0. */
static double product_error(struct value a, struct value b)
{
    if (isfinite(a.x) && isfinite(b.x))
        return fabs(a.x) * b.e + fabs(b.x) * a.e + a.e * b.e;
    return near_zero(a) || near_zero(b) ? INFINITY : a.e + b.e;
}

/* A divisor that may be flushed to 0 gives anything; a reciprocal that may be, 0 in place of up to abs(a)
 * TINY. */
static double quotient_error(struct value a, struct value b)
{
    double room = fabs(b.x) - b.e;
    if (b.x == 0 && b.e == 0)
        return near_zero(a) ? INFINITY : a.e;
    if (room < TINY)
        return INFINITY;
    double flushed = isfinite(b.x) && fabs(b.x) + b.e > 1 / TINY ? (fabs(a.x) + a.e) * TINY : 0;
    if (!isfinite(a.x) || !isfinite(b.x))
        return a.e + b.e + flushed;
    return (a.e + fabs(a.x / b.x) * b.e) / room + flushed;
}

/* '%' and '/' twice are of ints alone. */
static struct value apply_arithmetic(const struct reading *r, const char *symbol, struct value a,
                                     struct value b)
{
    if (symbol[0] == '%' || symbol[1] == '/')
        return apply_whole(r, symbol[1] ? 'd' : '%', a, b);
    if (symbol[0] == '/') {
        a = as_float(r, a);
        b = as_float(r, b);
        return real(r, a.x / b.x, quotient_error(a, b), 6);
    }
    if (are_ints(r, &a, &b))
        return apply_whole(r, symbol[0], a, b);
    if (symbol[0] == '*')
        return real(r, a.x * b.x, product_error(a, b), 1);
    return real(r, symbol[0] == '+' ? a.x + b.x : a.x - b.x, a.e + b.e, 1);
}

static struct value apply_comparison(const struct reading *r, const char *symbol, struct value a,
                                     struct value b)
{
    bool ints = are_ints(r, &a, &b);
    double x = ints ? a.i : a.x, y = ints ? b.i : b.x, e = a.e + b.e;
    bool equal = symbol[1] == '=';
    bool result = symbol[0] == '<'   ? (equal ? x <= y : x < y)
                  : symbol[0] == '>' ? (equal ? x >= y : x > y)
                  : symbol[0] == '=' ? x == y
                                     : x != y;
    return whole(BOOL, result, e == INFINITY || (e > 0 && fabs(x - y) <= e) ? INFINITY : 0);
}

static struct value apply_logic(const struct reading *r, char symbol, struct value a, struct value b)
{
    need_kind(r, a, BOOL);
    need_kind(r, b, BOOL);
    return whole(BOOL, symbol == '&' ? a.i & b.i : symbol == '|' ? a.i | b.i : a.i ^ b.i, a.e + b.e);
}

static struct value apply_not(const struct reading *r, struct value a)
{
    need_kind(r, a, BOOL);
    return whole(BOOL, !a.i, a.e);
}

static struct value apply_select(const struct reading *r, struct value c, struct value a, struct value b)
{
    need_kind(r, c, BOOL);
    if (a.kind == BOOL && b.kind == BOOL) {
        bool same = a.i == b.i && a.e == 0 && b.e == 0;
        return whole(BOOL, c.i ? a.i : b.i, (c.i ? a.e : b.e) + (same ? 0 : c.e));
    }
    if (are_ints(r, &a, &b)) {
        bool same = a.i == b.i && a.e == 0 && b.e == 0;
        return whole(INT, c.i ? a.i : b.i, (c.i ? a.e : b.e) + (same ? 0 : c.e));
    }
    double e = c.e > 0 ? fabs(a.x - b.x) + fmax(a.e, b.e) : c.i ? a.e : b.e;
    return real(r, c.i ? a.x : b.x, e, 0);
}

/* ---- grammar ---- */
enum level { LEVEL_NONE, LEVEL_OR, LEVEL_XOR, LEVEL_AND, LEVEL_NOT, LEVEL_COMPARE, LEVEL_SUM, LEVEL_PRODUCT };

/* The operator at this place: its level and its symbol; not yet taken. */
static enum level peek_operator(struct reading *r, char symbol[3])
{
    skip_blanks(r);
    symbol[0] = r->at[0];
    symbol[1] = symbol[2] = 0;
    bool equal = r->at[0] && r->at[1] == '=';
    switch (r->at[0]) {
    case '|': return LEVEL_OR;
    case '^': return LEVEL_XOR;
    case '&': return LEVEL_AND;
    case '<': case '>': case '=': case '!':
        symbol[1] = equal ? '=' : 0;
        return equal || r->at[0] == '<' || r->at[0] == '>' ? LEVEL_COMPARE : LEVEL_NONE;
    case '+': case '-': return LEVEL_SUM;
    case '/':
        symbol[1] = r->at[1] == '/' ? '/' : 0;
        return LEVEL_PRODUCT;
    case '*': case '%': return LEVEL_PRODUCT;
    default: return LEVEL_NONE;
    }
}

static struct value read_unary(struct reading *r)
{
    if (take(r, '-')) {
        struct value a = read_unary(r);
        if (a.kind == INT)
            return whole(INT, -(int64_t)a.i, a.e);
        a = as_float(r, a);
        return real(r, -a.x, a.e, 0);
    }
    if (take(r, '(')) {
        struct value a = read_expression(r);
        need(r, ')');
        return a;
    }
    return isdigit((unsigned char)*r->at) ? read_number(r) : read_name(r);
}

/* Operators of this level and tighter ones.  '!' takes a comparison with it, and comparisons do not chain. */
static struct value read_level(struct reading *r, enum level level)
{
    char symbol[3];
    enum level most = LEVEL_PRODUCT, next;
    struct value x;
    if (level <= LEVEL_NOT && take(r, '!')) {
        x = apply_not(r, read_level(r, LEVEL_NOT));
        most = LEVEL_AND;
    } else {
        x = read_unary(r);
    }
    while ((next = peek_operator(r, symbol)) >= level && next != LEVEL_NONE) {
        if (next > most)
            fail(r, "no operator can stand here");
        r->at += strlen(symbol);
        struct value y = read_level(r, next + 1);
        if (next == LEVEL_COMPARE) {
            x = apply_comparison(r, symbol, x, y);
            most = LEVEL_NOT;
        } else {
            x = next < LEVEL_NOT ? apply_logic(r, symbol[0], x, y) : apply_arithmetic(r, symbol, x, y);
        }
    }
    return x;
}

static struct value read_expression(struct reading *r)
{
    struct value c = read_level(r, LEVEL_OR);
    if (!take(r, '?'))
        return c;
    struct value a = read_expression(r);
    need(r, ':');
    return apply_select(r, c, a, read_expression(r));
}

static struct value read_all(struct reading *r)
{
    struct value x = read_expression(r);
    skip_blanks(r);
    if (*r->at)
        fail(r, "the end is needed");
    return x;
}

/* ---- rules ---- */
bool ref_visible(const struct ref_rules *rules, const struct ref_point *at)
{
    if (!rules->mask || !rules->mask[0])
        return true;
    struct reading r = {rules->mask, rules->mask, rules, at, NULL, false};
    struct value x = read_all(&r);
    need_kind(&r, x, BOOL);
    return x.i != 0;
}

static struct ref_number apply_rule(const char *text, const struct ref_rules *rules,
                                    const struct ref_point *at, struct ref_number score, bool bounded)
{
    if (!text || !text[0])
        return score;
    struct reading r = {text, text, rules, at, &score, bounded};
    struct value x = as_float(&r, read_all(&r));
    return (struct ref_number){x.x, x.e};
}

double ref_score(const struct ref_rules *rules, const struct ref_point *at, double raw)
{
    return apply_rule(rules->score, rules, at, (struct ref_number){raw, 0}, false).value;
}

double ref_weight(const struct ref_rules *rules, const struct ref_point *at, double score)
{
    return apply_rule(rules->weight, rules, at, (struct ref_number){score, 0}, false).value;
}

struct ref_number ref_score_bounded(const struct ref_rules *rules, const struct ref_point *at,
                                    struct ref_number raw)
{
    return apply_rule(rules->score, rules, at, raw, true);
}

struct ref_number ref_weight_bounded(const struct ref_rules *rules, const struct ref_point *at,
                                     struct ref_number score)
{
    return apply_rule(rules->weight, rules, at, score, true);
}
