/* SPDX-License-Identifier: MIT
 * check_expr.c - the expression language: reading, refusing, printing, values, tile classes, and kernels on the default device.
 *
 * The oracle for values is an interpreter of fully parenthesised text (below), which shares nothing with the parser; the
 * oracle for tile classes is every pair of a small tile.  The random texts come from a fixed seed. */
#include "expr/expr.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 4096, RANDOM_TREES = 3000, RANDOM_CLASSES = 3500, TILES = 3, KERNEL_TEXT_SIZE = 32768 };

static const struct clattn__names names = {3, 2, {"width", "w2", "n_sinks"}, {"prefix", "len"}};
static const int32_t scalars[] = {4, -3, 2147483647};
static const int32_t prefix[] = {3, 0, 7}, len[] = {5, 2147483647, -6, 2};
static const int32_t *const arrays[] = {prefix, len};
static const int64_t counts[] = {3, 4};
static const struct clattn__expr_values values = {scalars, arrays, counts};

static struct clattn__expr *must_parse(const char *text)
{
    struct clattn__expr *e;
    char message[CLATTN__MESSAGE_SIZE];
    clattn_status status = clattn__expr_parse(&e, text, &names, message, sizeof message);
    ck_assert_msg(status == CLATTN_OK, "'%s': %s %s", text, clattn_status_name(status), message);
    return e;
}

/* ---- random numbers and texts ---- */
static uint64_t seed;

static uint32_t below(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % n);
}

static void write_number(struct clattn__text *out, int depth)
{
    static const char *const leaves[] = {"q", "k", "b", "h", "g", "q_len", "k_len", "width", "w2", "n_sinks"};
    static const char *const literals[] = {"0", "1", "2", "3", "7", "16", "-1", "-5", "65536", "2147483647", "-2147483648"};
    static const char *const indices[] = {"b", "(b + 1)", "(g - 2)", "w2", "99", "len[b]", "min(b, g)"};
    static const char *const operators[] = {"+", "-", "*", "-"};
    uint32_t choice = below(depth > 0 ? 10 : 5);
    if (choice < 3) {
        clattn__text_add(out, "%s", leaves[choice == 0 ? below(2) : below(10)]);
    } else if (choice == 3) {
        clattn__text_add(out, "%s", literals[below(below(4) ? 8 : 11)]);
    } else if (choice == 4) {
        clattn__text_add(out, "%s[%s]", below(2) ? "prefix" : "len", indices[below(7)]);
    } else if (choice == 5) {
        clattn__text_add(out, "-(");
        write_number(out, depth - 1);
        clattn__text_add(out, ")");
    } else {
        bool call = choice == 6;
        clattn__text_add(out, call ? below(2) ? "min(" : "max(" : "(");
        write_number(out, depth - 1);
        clattn__text_add(out, "%s ", call ? "," : "");
        if (!call)
            clattn__text_add(out, "%s ", operators[below(4)]);
        write_number(out, depth - 1);
        clattn__text_add(out, ")");
    }
}

static void write_condition(struct clattn__text *out, int depth)
{
    static const char *const comparisons[] = {"<", "<=", ">", ">=", "==", "!="};
    uint32_t choice = below(depth > 2 ? 5 : 2);
    if (choice == 4) {
        clattn__text_add(out, "!(");
        write_condition(out, depth - 1);
        clattn__text_add(out, ")");
        return;
    }
    clattn__text_add(out, "(");
    if (choice < 2) {
        write_number(out, depth - 1);
        clattn__text_add(out, " %s ", comparisons[below(6)]);
        write_number(out, depth - 1);
    } else {
        write_condition(out, depth - 1);
        clattn__text_add(out, choice == 2 ? " & " : " | ");
        write_condition(out, depth - 1);
    }
    clattn__text_add(out, ")");
}

/* A random condition, fully parenthesised, within the language's limits. */
static void random_text(char text[TEXT], int depth)
{
    int digits, other;
    do {
        struct clattn__text out = clattn__text_into(text, TEXT);
        write_condition(&out, depth);
        ck_assert(!out.cut);
        digits = other = 0; /* over-counts numbers and nodes */
        for (const char *c = text; *c; c++) {
            digits += *c >= '0' && *c <= '9' && !(c > text && ((c[-1] >= '0' && c[-1] <= '9') || c[-1] == 'w'));
            other += *c == ' ' || *c == '(' || *c == '[';
        }
    } while (digits > 24 || other > 100);
}

/* ---- the oracle: an interpreter of fully parenthesised text, in double ---- */
struct oracle {
    const char *at;
    const struct clattn__expr_point *point;
};

/* To the 32-bit number with the same remainder by 2^32.  Products of two 32-bit numbers need 64 bits, so those are split. */
static double wrapped(double x)
{
    double turns = (double)(int64_t)(x / 4294967296.0);
    x -= turns * 4294967296.0;
    return x > 2147483647.0 ? x - 4294967296.0 : x < -2147483648.0 ? x + 4294967296.0 : x;
}

static double times(double a, double b)
{
    double high = (double)(int64_t)(a / 65536.0), low = a - high * 65536.0;
    return wrapped(wrapped(wrapped(high * b) * 65536.0) + low * b);
}

static bool skip(struct oracle *o, const char *word)
{
    size_t n = strlen(word);
    while (*o->at == ' ')
        o->at++;
    if (strncmp(o->at, word, n))
        return false;
    o->at += n;
    return true;
}

static double oracle(struct oracle *o);

static double oracle_element(struct oracle *o, const int32_t *array, int count)
{
    double i = oracle(o);
    ck_assert(skip(o, "]"));
    return array[i < 0 ? 0 : i > count - 1 ? count - 1 : (int)i];
}

static double oracle_pair(struct oracle *o)
{
    double a = oracle(o);
    static const char *const operators[] = {"+", "-", "*", "<=", "<", ">=", ">", "==", "!=", "&", "|", ","};
    int op = 0;
    while (op < 12 && !skip(o, operators[op]))
        op++;
    ck_assert_int_lt(op, 12);
    double b = oracle(o);
    ck_assert(skip(o, ")"));
    const double results[] = {wrapped(a + b), wrapped(a - b), times(a, b), a <= b, a < b, a >= b, a > b, a == b, a != b,
                              a * b, a + b > 0};
    ck_assert_int_lt(op, 11);
    return results[op];
}

static double oracle_call(struct oracle *o, bool smallest)
{
    double a = oracle(o);
    ck_assert(skip(o, ","));
    double b = oracle(o);
    ck_assert(skip(o, ")"));
    return smallest ? (a < b ? a : b) : (a > b ? a : b);
}

static double oracle(struct oracle *o)
{
    const struct clattn__expr_point *p = o->point;
    const struct {
        const char *name;
        double value;
    } leaves[] = {{"q_len", p->q_len}, {"k_len", p->k_len}, {"q", p->q}, {"k", p->k}, {"b", p->b}, {"h", p->h}, {"g", p->g},
                  {"width", scalars[0]}, {"w2", scalars[1]}, {"n_sinks", scalars[2]}};
    if (skip(o, "min("))
        return oracle_call(o, true);
    if (skip(o, "max("))
        return oracle_call(o, false);
    if (skip(o, "prefix["))
        return oracle_element(o, prefix, 3);
    if (skip(o, "len["))
        return oracle_element(o, len, 4);
    for (size_t i = 0; i < CLATTN__LEN(leaves); i++)
        if (skip(o, leaves[i].name))
            return leaves[i].value;
    bool negated = skip(o, "!("), negative = !negated && skip(o, "-(");
    if (negated || negative) {
        double x = oracle(o);
        ck_assert(skip(o, ")"));
        return negated ? x == 0 : wrapped(-x);
    }
    if (skip(o, "("))
        return oracle_pair(o);
    char *end;
    double x = strtod(o->at, &end);
    ck_assert_msg(end != o->at, "the oracle cannot read '%s'", o->at);
    o->at = end;
    return x;
}

static bool oracle_says(const char *text, const struct clattn__expr_point *point)
{
    struct oracle o = {text, point};
    double x = oracle(&o);
    ck_assert_msg(*o.at == 0, "left over: '%s'", o.at);
    return x != 0;
}

static struct clattn__expr_point random_point(void)
{
    return (struct clattn__expr_point){(int32_t)below(20) - 4, (int32_t)below(20), (int32_t)below(3), (int32_t)below(8),
                                       (int32_t)below(4), (int32_t)below(20), (int32_t)below(20)};
}

/* ---- reading ---- */
START_TEST(precedence)
{
    static const struct {
        const char *text, *same; /* both parse to one tree */
    } rows[] = {
        {"k <= q & q - k < 4", "(k <= q) & ((q - k) < 4)"},
        {"k < 3 | k <= q & h > 1", "(k < 3) | ((k <= q) & (h > 1))"},
        {"k < 3 & k <= q | h > 1", "((k < 3) & (k <= q)) | (h > 1)"},
        {"!k <= q & h > 1", "(!(k <= q)) & (h > 1)"},
        {"!!k <= q", "!(!(k <= q))"},
        {"q - k - 1 < h", "((q - k) - 1) < h"},
        {"q - k * 2 + b == 0", "((q - (k * 2)) + b) == 0"},
        {"q * k * 2 != 0", "((q * k) * 2) != 0"},
        {"-q * k >= 1", "((-q) * k) >= 1"},
        {"q - -k > 1", "q - (-k) > 1"},
        {"- 5 < k", "-5 < k"},
        {"--5 < k", "-(-5) < k"},
        {"min(q + 1, k) < max(q, k * 2)", "(min((q + 1), (k))) < (max(q, (k * 2)))"},
        {"prefix[b + 1] > k", "(prefix[((b) + (1))]) > k"},
        {"k<=q&q-k<width", "  k <= q\t&  q - k  <  width "},
        {"k < 1 | q < 2 | h < 3", "((k < 1) | (q < 2)) | (h < 3)"},
        {"", " \t "},
    };
    for (size_t i = 0; i < CLATTN__LEN(rows); i++) {
        char a[TEXT], b[TEXT];
        struct clattn__expr *x = must_parse(rows[i].text), *y = must_parse(rows[i].same);
        ck_assert_int_eq(clattn__expr_kernel_text(x, a, sizeof a), CLATTN_OK);
        ck_assert_int_eq(clattn__expr_kernel_text(y, b, sizeof b), CLATTN_OK);
        ck_assert_str_eq(a, b);
        clattn__expr_free(x);
        clattn__expr_free(y);
    }
}
END_TEST

START_TEST(errors_say_where_and_what)
{
    static const struct {
        const char *text;
        clattn_status status;
        const char *message; /* how it begins */
    } rows[] = {
        {"k <", CLATTN_EXPR_SYNTAX, "column 4: expected an integer, a name, '-', '!' or '(', found the end"},
        {"k <= q &", CLATTN_EXPR_SYNTAX, "column 9: expected an integer, a name"},
        {"k <= q )", CLATTN_EXPR_SYNTAX, "column 8: expected '&', '|' or the end, found ')'"},
        {"k < q < 3", CLATTN_EXPR_SYNTAX, "column 7: expected '&', '|' or the end, found '<'"},
        {"k q", CLATTN_EXPR_SYNTAX, "column 3: expected an operator, found 'q'"},
        {"(k < q", CLATTN_EXPR_SYNTAX, "column 7: expected an operator or ')', found the end"},
        {"min(q k) < 3", CLATTN_EXPR_SYNTAX, "column 7: expected ',' between"},
        {"min q", CLATTN_EXPR_SYNTAX, "column 5: expected '(' after min or max, found 'q'"},
        {"prefix < k", CLATTN_EXPR_SYNTAX, "column 8: expected '[' and an index"},
        {"prefix[b < k", CLATTN_EXPR_SYNTAX, "column 10: expected ']'"},
        {"k < 3#", CLATTN_EXPR_SYNTAX, "column 6: expected '&', '|' or the end, found '#'"},
        {"k < 3\001", CLATTN_EXPR_SYNTAX, "column 6: expected '&', '|' or the end, found a character that is not"},
        {"k < 12x", CLATTN_EXPR_SYNTAX, "column 7: expected decimal digits only"},
        {"k + 1", CLATTN_EXPR_TYPE, "column 1: a condition is needed"},
        {"k + (k < q) < 3", CLATTN_EXPR_TYPE, "column 3: '+' takes numbers"},
        {"k < q & h", CLATTN_EXPR_TYPE, "column 7: '&' joins conditions"},
        {"!h", CLATTN_EXPR_TYPE, "column 1: '!' joins conditions"},
        {"prefix[q] < k", CLATTN_EXPR_TYPE, "column 8: an array is indexed by b, g"},
        {"prefix[b + len[k]] < k", CLATTN_EXPR_TYPE, "column 16: an array is indexed by b, g"},
        {"prefix[(b < 1)] < k", CLATTN_EXPR_TYPE, "column 1: an array's index is a number"},
        {"k < foo", CLATTN_EXPR_NAME, "column 5: 'foo' is neither an index"},
        {"k < 2147483648", CLATTN_EXPR_NUMBER, "column 5: the integer must be from -2147483648 to 2147483647"},
        {"k < -2147483649", CLATTN_EXPR_NUMBER, "column 6: the integer"},
        {"k < 99999999999999999999999999999", CLATTN_EXPR_NUMBER, "column 5: the integer"},
    };
    for (size_t i = 0; i < CLATTN__LEN(rows); i++) {
        struct clattn__expr *e = (void *)&names;
        char message[CLATTN__MESSAGE_SIZE];
        clattn_status status = clattn__expr_parse(&e, rows[i].text, &names, message, sizeof message);
        ck_assert_msg(status == rows[i].status, "'%s' gave %s", rows[i].text, clattn_status_name(status));
        ck_assert_ptr_null(e);
        ck_assert_msg(!strncmp(message, rows[i].message, strlen(rows[i].message)), "'%s': %s", rows[i].text, message);
        ck_assert_int_eq(clattn__expr_parse(&e, rows[i].text, &names, NULL, 0), rows[i].status);
        char tiny[4] = "xxx";
        ck_assert_int_eq(clattn__expr_parse(&e, rows[i].text, &names, tiny, 2), rows[i].status);
        ck_assert_int_eq(tiny[2], 'x');
    }
}
END_TEST

START_TEST(attacks_are_refused)
{
    static const char *const texts[] = {
        "#include \"/etc/passwd\"", "%:include <x>", "?\?=include <x>", "k <= q; }", "k <= q } __kernel void x() {", "k <= q \\",
        "k <= q\n", "k <= q\r", "k\n<= q", "\"k\" <= q", "'k' <= q", "k <= q // c", "k <= q /* c */", "k <= q /", "k / 2 < q",
        "k % 2 == 0", "k << 1 < q", "k >> 1 < q", "k ^ q", "~k < q", "k && q", "k < 1 && q < 1", "k < 1 || q < 1", "k = q",
        "k =< q", "k => q", "k <> q", "k == = q", "k ! = q", "k? q : h", "k <= q ? 1 : 0", "asm(\"hlt\")", "__kernel", "_x < k",
        "__builtin_trap() < k", "get_global_id(0) < k", "printf(\"%n\") < k", "e->n0 < k", "a0[0] < k", "n0 < k", "x0 < k",
        "k.x < q", "*k < q", "&k < q", "k, q", "(k < q, h < 1)", "(k < q", "k < q)", "()", "(", ")", "[", "]", "b[b] < k",
        "k[q] < 1", "prefix[] < k", "prefix[b][b] < k", "prefix(b) < k", "width[b] < k", "width() < k", "min() < k", "min(q) < k",
        "min(q, k, h) < k", "max(q < k, h) < k", "min < k", "0x10 < k", "1e3 < k", "1.5 < k", ".5 < k", "1u < k", "1L < k",
        "k < 1 2", "k < -", "k < !q", "k < q &", "& k < q", "| k < q", "k < q | | h < 1", "!", "-", "<", "k <= <= q", "true", "false",
        "1", "k", "K < q", "Q < k", "q__len < k", "q_lenx < k", "widthx < k", "widt < k", "wi dth < k", "k < q\001", "k < q\177",
        "k < q\377", "\303\251 < k", "\357\274\234k < q", "$k < q", "@k < q", "`k` < q", "k < q{", "k : q", "%n < k", "%s", "k\v< q",
        "k\f< q", "(k) (q)", "k < (q", "k < q))", "((k < q)", "-(k < q) < 1", "(k < q) == (h < 1)", "prefix[h] < k",
        "prefix[prefix[q]] < k", "prefix[k - k] < k", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz < k",
    };
    ck_assert_uint_ge(CLATTN__LEN(texts), 60);
    for (size_t i = 0; i < CLATTN__LEN(texts); i++) {
        struct clattn__expr *e;
        char message[CLATTN__MESSAGE_SIZE];
        clattn_status status = clattn__expr_parse(&e, texts[i], &names, message, sizeof message);
        ck_assert_msg(status <= CLATTN_EXPR_SYNTAX && status >= CLATTN_EXPR_NUMBER, "'%s' gave %s", texts[i],
                      clattn_status_name(status));
        ck_assert_msg(!strncmp(message, "column ", 7), "'%s': %s", texts[i], message);
        for (const char *c = message; *c; c++)
            ck_assert_msg(*c >= ' ' && *c <= '~', "'%s' echoes raw bytes", texts[i]);
    }
}
END_TEST

static void repeat(char *text, const char *part, int n)
{
    for (; n > 0; n--)
        strcat(text, part);
}

static clattn_status status_of(const char *text)
{
    struct clattn__expr *e;
    clattn_status status = clattn__expr_parse(&e, text, &names, NULL, 0);
    clattn__expr_free(e);
    return status;
}

START_TEST(caps)
{
    static const struct {
        const char *part, *middle, *close; /* part n times, middle, close n times */
        int largest;
    } rows[] = {
        {"(", "k < q", ")", 48}, {"!", "k < q", "", 46}, {"-", "k < q", "", 46}, {"min(k, ", "q", ")", 0},
        {"0 < ", "q", "", 1},    {"k < q & ", "k < q", "", 46}, {"k < 1 | ", "q < 1", "", 31}, {"k + ", "k < q", "", 46},
        {" ", "k < q", "", TEXT - 5},
    };
    static char text[TEXT * 2];
    for (size_t i = 0; i < CLATTN__LEN(rows); i++)
        for (int n = rows[i].largest; n <= rows[i].largest + 1 && rows[i].largest; n++) {
            text[0] = 0;
            repeat(text, rows[i].part, n);
            strcat(text, rows[i].middle);
            repeat(text, rows[i].close, n);
            clattn_status want = n == rows[i].largest ? CLATTN_OK
                                 : rows[i].part[0] == '0' ? CLATTN_EXPR_SYNTAX : CLATTN_EXPR_LIMIT;
            ck_assert_msg(status_of(text) == want, "%d times '%s': %s", n, rows[i].part, clattn_status_name(status_of(text)));
        }
    strcpy(text, "k < 0"); /* nodes: a balanced tree of 64 comparisons is 255 */
    char level[TEXT * 2] = "k < q";
    for (int i = 0; i < 6; i++) {
        snprintf(text, sizeof text, "(%.2000s) & (%.2000s)", level, level);
        strcpy(level, text);
    }
    ck_assert_int_eq(status_of(level), CLATTN_OK);
    ck_assert_int_eq(status_of(strcat(level, " & k < q")), CLATTN_EXPR_LIMIT);
    memset(text, '(', TEXT);
    text[TEXT] = 0;
    ck_assert_int_eq(status_of(text), CLATTN_EXPR_LIMIT);
}
END_TEST

START_TEST(name_rules)
{
    static const char *const good[] = {"a", "Z", "q_", "qq", "len", "abcdefghijklmno", "x_1", "MIN", "minimum", "b2"};
    static const char *const bad[] = {"", "_a", "1a", "a-b", "a b", "abcdefghijklmnop", "\303\251", "a.b", "a[", "a\n"};
    static const char *const taken[] = {"q", "k", "b", "h", "g", "q_len", "k_len", "min", "max"};
    for (size_t i = 0; i < CLATTN__LEN(good); i++)
        ck_assert_int_eq(clattn__name_check(good[i]), CLATTN_OK);
    for (size_t i = 0; i < CLATTN__LEN(bad); i++)
        ck_assert_int_eq(clattn__name_check(bad[i]), CLATTN_BAD_NAME);
    for (size_t i = 0; i < CLATTN__LEN(taken); i++)
        ck_assert_int_eq(clattn__name_check(taken[i]), CLATTN_DUPLICATE_NAME);
    ck_assert_int_eq(clattn__name_check(NULL), CLATTN_BAD_NAME);
    struct clattn__names wrong = {1, 0, {"min"}, {NULL}};
    struct clattn__expr *e;
    ck_assert_int_eq(clattn__expr_parse(&e, "k < q", &wrong, NULL, 0), CLATTN_DUPLICATE_NAME);
    wrong.n_scalars = CLATTN_MAX_SCALARS + 1;
    ck_assert_int_eq(clattn__expr_parse(&e, "k < q", &wrong, NULL, 0), CLATTN_BAD_COUNT);
    ck_assert_int_eq(clattn__expr_parse(&e, NULL, &names, NULL, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn__expr_parse(NULL, "", &names, NULL, 0), CLATTN_NULL_ARGUMENT);
}
END_TEST

START_TEST(what_an_expression_uses)
{
    struct clattn__expr *e = must_parse("k < prefix[b] & q_len - width < width * 7 + k"), *always = must_parse("");
    int32_t numbers[CLATTN__EXPR_MAX_NUMBERS];
    static const bool uses[] = {false, true, true, false, false, true, false};
    for (int i = 0; i <= CLATTN__INDEX_K_LEN; i++) {
        ck_assert_int_eq(clattn__expr_uses_index(e, (enum clattn__index)i), uses[i]);
        ck_assert(!clattn__expr_uses_index(always, (enum clattn__index)i));
    }
    ck_assert(clattn__expr_uses_array(e, 0) && !clattn__expr_uses_array(e, 1) && !clattn__expr_uses_array(e, 9));
    ck_assert(clattn__expr_is_always(always) && !clattn__expr_is_always(e));
    ck_assert_int_eq(clattn__expr_numbers(always, NULL, NULL, numbers), 0);
    ck_assert_int_eq(clattn__expr_numbers(e, scalars, counts, numbers), 3); /* width once, 7, the count of prefix */
    ck_assert(numbers[0] == 4 && numbers[1] == 7 && numbers[2] == 3);
    char small[8];
    ck_assert_int_eq(clattn__expr_print(e, small, sizeof small), CLATTN_BUFFER_TOO_SHORT);
    ck_assert_int_eq(clattn__expr_kernel_text(e, small, sizeof small), CLATTN_BUFFER_TOO_SHORT);
    clattn__expr_free(e);
    clattn__expr_free(always);
    clattn__expr_free(NULL);
}
END_TEST

/* ---- printing and values ---- */
static void check_kernel_words(const char *text)
{
    ck_assert_ptr_null(strstr(text, "width"));
    ck_assert_ptr_null(strstr(text, "prefix"));
    ck_assert_ptr_null(strstr(text, "sinks"));
}

START_TEST(kernel_text_has_no_user_text)
{
    char a[TEXT], b[TEXT];
    struct clattn__expr *x = must_parse("k <= q & q - k < 4096 & k < prefix[b]"), *y = must_parse("k<=q&q-k<5&k<prefix[b]");
    ck_assert_int_eq(clattn__expr_kernel_text(x, a, sizeof a), CLATTN_OK);
    ck_assert_int_eq(clattn__expr_kernel_text(y, b, sizeof b), CLATTN_OK);
    ck_assert_str_eq(a, b);
    ck_assert_str_eq(a, "#define PATTERN_PARAMS, const int n0, const int n1, __global const int *a0\n"
                        "#define PATTERN_FIELDS int n0; int n1; int x0;\n"
                        "#define PATTERN_FILL(e) (e).n0 = n0; (e).n1 = n1; (e).x0 = pattern_element(a0, n1, i1_u((e).b));\n"
                        "#define PATTERN_ALWAYS 0\n"
                        "#define PATTERN(P) P##_and(P##_and(P##_le(P##_k, P##_q), P##_lt(P##_sub(P##_q, P##_k), "
                        "P##_u(e->n0))), P##_lt(P##_k, P##_u(e->x0)))\n");
    clattn__expr_free(x);
    clattn__expr_free(y);
}
END_TEST

START_TEST(print_round_trip)
{
    int long_texts = 0;
    seed = 1;
    for (int i = 0; i < RANDOM_TREES; i++) {
        char text[TEXT], once[TEXT], twice[TEXT], kernel[KERNEL_TEXT_SIZE], again[KERNEL_TEXT_SIZE];
        int32_t numbers[2][CLATTN__EXPR_MAX_NUMBERS];
        random_text(text, 3 + i % 4);
        struct clattn__expr *x = must_parse(text);
        ck_assert_int_eq(clattn__expr_print(x, once, sizeof once), CLATTN_OK);
        struct clattn__expr *y = must_parse(once);
        ck_assert_int_eq(clattn__expr_print(y, twice, sizeof twice), CLATTN_OK);
        ck_assert_str_eq(once, twice);
        ck_assert_int_eq(clattn__expr_kernel_text(x, kernel, sizeof kernel), CLATTN_OK);
        ck_assert_int_eq(clattn__expr_kernel_text(y, again, sizeof again), CLATTN_OK);
        ck_assert_str_eq(kernel, again);
        check_kernel_words(kernel);
        int n = clattn__expr_numbers(x, scalars, counts, numbers[0]);
        ck_assert_int_eq(n, clattn__expr_numbers(y, scalars, counts, numbers[1]));
        ck_assert_mem_eq(numbers[0], numbers[1], (size_t)n * sizeof(int32_t));
        long_texts += strlen(once) > 60;
        clattn__expr_free(x);
        clattn__expr_free(y);
    }
    ck_assert_int_gt(long_texts, RANDOM_TREES / 10);
}
END_TEST

START_TEST(values_agree_with_the_oracle)
{
    int seen[2] = {0, 0};
    seed = 2;
    for (int i = 0; i < RANDOM_TREES; i++) {
        char text[TEXT];
        random_text(text, 3 + i % 4);
        struct clattn__expr *e = must_parse(text);
        for (int j = 0; j < 20; j++) {
            struct clattn__expr_point at = random_point();
            bool want = oracle_says(text, &at);
            ck_assert_msg(clattn__expr_eval(e, &at, &values) == want, "%s at q %d k %d b %d h %d g %d", text, (int)at.q,
                          (int)at.k, (int)at.b, (int)at.h, (int)at.g);
            seen[want]++;
        }
        clattn__expr_free(e);
    }
    ck_assert(seen[0] > RANDOM_TREES * 4 && seen[1] > RANDOM_TREES * 4);
}
END_TEST

/* ---- tile classes ---- */
/* The class by looking at every pair. */
static enum clattn__class true_class(const struct clattn__expr *e, const struct clattn__expr_box *box)
{
    bool any = false, all = true;
    for (int64_t q = box->q0; q <= box->q1; q++)
        for (int32_t k = box->k0; k <= box->k1; k++)
            for (int32_t h = box->h0; h <= box->h1; h++) {
                struct clattn__expr_point at = {(int32_t)q, k, box->b, h, box->g, box->q_len, box->k_len};
                bool visible = clattn__expr_eval(e, &at, &values);
                any |= visible;
                all &= visible;
            }
    return all ? CLATTN__FULL : any ? CLATTN__PARTIAL : CLATTN__EMPTY;
}

START_TEST(classes_are_conservative)
{
    int seen[3] = {0, 0, 0}, tight = 0;
    seed = 3;
    for (int i = 0; i < RANDOM_CLASSES; i++) {
        char text[TEXT];
        random_text(text, 3 + i % 3);
        struct clattn__expr *e = must_parse(text);
        for (int j = 0; j < TILES; j++) {
            struct clattn__expr_box box = {.q0 = (int32_t)below(16) - 4, .k0 = (int32_t)below(16), .h0 = (int32_t)below(4),
                                           .g = (int32_t)below(3), .b = (int32_t)below(3), .q_len = 12, .k_len = 16};
            if (below(8) == 0)
                box.q0 = INT32_MAX - 5 + (int32_t)below(3);
            box.q1 = box.q0 + (int32_t)below(4);
            box.k1 = box.k0 + (int32_t)below(5);
            box.h1 = box.h0 + (int32_t)below(3);
            enum clattn__class said = clattn__expr_classify(e, &box, &values), is = true_class(e, &box);
            ck_assert_msg(said == CLATTN__PARTIAL || said == is, "%s: class %d, is %d, q %d..%d k %d..%d", text, said, is,
                          (int)box.q0, (int)box.q1, (int)box.k0, (int)box.k1);
            seen[said]++;
            tight += said == is;
        }
        clattn__expr_free(e);
    }
    for (int c = 0; c < 3; c++)
        ck_assert_int_gt(seen[c], RANDOM_CLASSES * TILES / 50);
    ck_assert_int_gt(tight, RANDOM_CLASSES * TILES / 2);
}
END_TEST

typedef bool predicate(int32_t q, int32_t k, int32_t n);
static bool is_full(int32_t q, int32_t k, int32_t n) { return q + k + n > -1000; }
static bool is_causal(int32_t q, int32_t k, int32_t n) { return n > 0 && k <= q; }
static bool is_window(int32_t q, int32_t k, int32_t n) { return q - k < n; }
static bool is_around(int32_t q, int32_t k, int32_t n) { return q - k < n && k - q < n; }
static bool is_causal_window(int32_t q, int32_t k, int32_t n) { return k <= q && q - k < n; }
static bool is_prefix(int32_t q, int32_t k, int32_t n) { return k < n || k <= q; }
static bool is_valid(int32_t q, int32_t k, int32_t n) { return q > -1000 && k < n; }

static clattn_pattern named_pattern(int which, int32_t n)
{
    const clattn_corner br = CLATTN_BOTTOM_RIGHT;
    switch (which) {
    case 0: return clattn_full();
    case 1: return clattn_causal(br);
    case 2: return clattn_window(n, 0, br);
    case 3: return clattn_window(n, 1, br);
    case 4: return clattn_both(clattn_causal(br), clattn_window(n, 0, br));
    case 5: return clattn_prefix(n, br);
    case 6: return clattn_prefix_each("lengths", br);
    default: return clattn_valid_keys("lengths");
    }
}

START_TEST(named_patterns_are_exact)
{
    static predicate *const rules[] = {is_full, is_causal, is_window, is_around, is_causal_window, is_prefix, is_prefix, is_valid};
    static const struct clattn__names with_lengths = {0, 1, {NULL}, {"lengths"}};
    int seen[3] = {0, 0, 0};
    for (int which = 0; which < (int)CLATTN__LEN(rules); which++)
        for (int32_t n = 1; n <= 9; n += 4) {
            clattn_pattern p = named_pattern(which, n);
            ck_assert_int_eq(p.error, 0);
            struct clattn__expr *e;
            ck_assert_int_eq(clattn__expr_parse(&e, p.text, &with_lengths, NULL, 0), CLATTN_OK);
            const int32_t *lengths = &n;
            struct clattn__expr_values v = {NULL, &lengths, &(int64_t){1}};
            for (int32_t tile = 0; tile < 12 * 12; tile++)
                for (int32_t size = 1; size <= 4; size += 3) {
                    struct clattn__expr_box box = {.q0 = tile / 12, .q1 = tile / 12 + size - 1, .k0 = tile % 12,
                                                   .k1 = tile % 12 + 3 - size / 2, .q_len = 16, .k_len = 16};
                    int visible = 0, pairs = 0;
                    for (int32_t q = box.q0; q <= box.q1; q++)
                        for (int32_t k = box.k0; k <= box.k1; k++, pairs++) {
                            struct clattn__expr_point at = {.q = q, .k = k, .q_len = 16, .k_len = 16};
                            bool want = rules[which](q, k, n);
                            ck_assert_int_eq(clattn__expr_eval(e, &at, &v), want);
                            visible += want;
                        }
                    int want = visible == 0 ? CLATTN__EMPTY : visible == pairs ? CLATTN__FULL : CLATTN__PARTIAL;
                    ck_assert_int_eq(clattn__expr_classify(e, &box, &v), want);
                    seen[want]++;
                }
            clattn__expr_free(e);
        }
    ck_assert(seen[0] > 100 && seen[1] > 100 && seen[2] > 100);
}
END_TEST

START_TEST(constructors)
{
    const clattn_corner tl = CLATTN_TOP_LEFT, br = CLATTN_BOTTOM_RIGHT;
    clattn_pattern causal = clattn_causal(br), full = clattn_full(), p;
    ck_assert_str_eq(clattn_both(causal, full).text, "k <= q");
    ck_assert_str_eq(clattn_both(full, causal).text, "k <= q");
    ck_assert_int_eq(clattn_both(full, causal).corner, br);
    ck_assert_str_eq(clattn_either(causal, full).text, "");
    ck_assert_str_eq(clattn_either(full, causal).text, "");
    ck_assert_str_eq(clattn_both(clattn_prefix(3, br), clattn_window(-4, 1, br)).text,
                     "(k < 3 | k <= q) & (q - k < -4 & k - q < -4)");
    ck_assert_str_eq(clattn_either(clattn_valid_keys("len"), causal).text, "(k < len[b]) | (k <= q)");
    ck_assert_str_eq(clattn_window(INT32_MIN, 0, tl).text, "q - k < -2147483648");
    ck_assert_str_eq(clattn_mask(" \t", tl).text, "");
    ck_assert_int_eq(clattn_both(clattn_causal(tl), causal).error, CLATTN_CORNERS_DIFFER);
    ck_assert_int_eq(clattn_both(clattn_causal(CLATTN_NO_CORNER), causal).corner, br);
    ck_assert_int_eq(clattn_causal((clattn_corner)7).error, CLATTN_BAD_CORNER);
    ck_assert_int_eq(clattn_mask(NULL, tl).error, CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_valid_keys(NULL).error, CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_valid_keys("b").error, CLATTN_DUPLICATE_NAME);
    ck_assert_int_eq(clattn_prefix_each("x] < 1", br).error, CLATTN_BAD_NAME);
    ck_assert_int_eq(clattn_both(clattn_valid_keys(NULL), causal).error, CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_either(causal, clattn_causal((clattn_corner)7)).error, CLATTN_BAD_CORNER);
    ck_assert_int_eq(clattn_both(clattn_mask("k < 1) | (k > 2", br), causal).error, CLATTN_EXPR_SYNTAX);
    char text[CLATTN_PATTERN_TEXT + 1];
    memset(text, '!', sizeof text);
    text[CLATTN_PATTERN_TEXT] = 0;
    ck_assert_int_eq(clattn_mask(text, br).error, CLATTN_EXPR_LIMIT);
    text[CLATTN_PATTERN_TEXT - 1] = 0;
    ck_assert_int_eq(clattn_mask(text, br).error, 0);
    ck_assert_str_eq(clattn_mask(text, br).text, text);
    p = clattn_both(clattn_mask(text, br), causal);
    ck_assert_int_eq(p.error, CLATTN_EXPR_LIMIT);
    ck_assert_str_eq(p.text, "");
    memset(p.text, 'k', sizeof p.text);
    p.error = 0;
    ck_assert_int_eq(clattn_both(causal, p).error, CLATTN_EXPR_LIMIT);
}
END_TEST

/* ---- the same on a device ---- */
enum { GRID_Q = 48, GRID_K = 20, GRID_PAIRS = GRID_Q * GRID_K, CLASS_K = 5, CLASSES = GRID_Q / 16 * (GRID_K / CLASS_K),
       FIRST_Q = -4, GRID_H = 3, GRID_B = 2, GRID_G = 1, Q_LEN = 12, K_LEN = 16, SOURCE_SIZE = 65536 };

/* Row 16 t + i of the grid is query FIRST_Q + 16 t + i of head i % 3: one work-item a tile t. */
static const char grid_kernel[] =
    "__kernel void grid(__global int *one, __global int *lanes, __global int *class PATTERN_PARAMS) {\n"
    "    PATTERN_ENV(env, 2, 1, 12, 16);\n"
    "    int t = (int)get_global_id(0), q0 = 16 * t - 4;\n"
    "    for (int k = 0; k < 20; k++)\n"
    "        for (int i = 0; i < 16; i++)\n"
    "            one[(16 * t + i) * 20 + k] = pattern_1(&env, q0 + i, i % 3, k);\n"
    "    for (int j = 0; j < 4; j++)\n"
    "        class[t * 4 + j] = pattern_class(&env, q0, q0 + 15, 0, 2, 5 * j, 5 * j + 4);\n"
    "#if PATTERN_LANES == 16\n"
    "    const int16 i = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);\n"
    "    for (int k = 0; k < 20; k++) {\n"
    "        int lane[16];\n"
    "        vstore16(pattern_16(&env, (int16)(q0) + i, i % (int16)(3), k), 0, lane);\n"
    "        for (int j = 0; j < 16; j++)\n"
    "            lanes[(16 * t + j) * 20 + k] = lane[j];\n"
    "    }\n"
    "#endif\n"
    "}\n";

static struct {
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    bool wide; /* rusticl takes minutes for vectors of 16 */
    cl_mem arrays[2];
} cl;

static bool find_device(void)
{
    cl_platform_id platforms[16];
    cl_uint n = 0;
    char name[64] = "";
    clGetPlatformIDs(16, platforms, &n);
    for (cl_uint i = 0; i < n && i < 16; i++)
        if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &cl.device, NULL) == CL_SUCCESS) {
            clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof name, name, NULL);
            cl.wide = strcmp(name, "rusticl") != 0;
            return true;
        }
    return false;
}

static cl_program build_grid(const struct clattn__expr *e)
{
    static char source[SOURCE_SIZE], text[SOURCE_SIZE], log[4096];
    const char *srcdir = getenv("srcdir"), *part = text;
    char path[1024], prelude[KERNEL_TEXT_SIZE];
    snprintf(path, sizeof path, "%s/cl/common/pattern.clh", srcdir ? srcdir : ".");
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "cannot open %s", path);
    source[fread(source, 1, sizeof source - 1, file)] = 0;
    fclose(file);
    ck_assert_int_eq(clattn__expr_kernel_text(e, prelude, sizeof prelude), CLATTN_OK);
    struct clattn__text out = clattn__text_into(text, sizeof text);
    clattn__text_add(&out, "%s#define PATTERN_LANES %d\n%s\n%s", prelude, cl.wide ? 16 : 0, source, grid_kernel);
    ck_assert(!out.cut);
    cl_program program = clCreateProgramWithSource(cl.context, 1, &part, NULL, NULL);
    cl_int code = clBuildProgram(program, 1, &cl.device, "-cl-std=CL1.2", NULL, NULL);
    if (code != CL_SUCCESS)
        clGetProgramBuildInfo(program, cl.device, CL_PROGRAM_BUILD_LOG, sizeof log - 1, log, NULL);
    ck_assert_msg(code == CL_SUCCESS, "%d: %s\n%s", (int)code, prelude, log);
    return program;
}

static void run_grid(const struct clattn__expr *e, int32_t one[GRID_PAIRS], int32_t lanes[GRID_PAIRS], int32_t class[CLASSES])
{
    int32_t *const to[] = {one, lanes, class}, numbers[CLATTN__EXPR_MAX_NUMBERS];
    const size_t sizes[] = {GRID_PAIRS * sizeof(int32_t), GRID_PAIRS * sizeof(int32_t), CLASSES * sizeof(int32_t)};
    const size_t tiles = GRID_Q / 16, alone = 1;
    cl_mem out[3];
    cl_program program = build_grid(e);
    cl_kernel kernel = clCreateKernel(program, "grid", NULL);
    cl_uint arg = 0;
    for (int i = 0; i < 3; i++) {
        out[i] = clCreateBuffer(cl.context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizes[i], to[i], NULL);
        clSetKernelArg(kernel, arg++, sizeof out[i], &out[i]);
    }
    int n = clattn__expr_numbers(e, scalars, counts, numbers);
    for (int i = 0; i < n; i++)
        clSetKernelArg(kernel, arg++, sizeof(cl_int), &numbers[i]);
    for (int i = 0; i < 2; i++)
        if (clattn__expr_uses_array(e, i))
            clSetKernelArg(kernel, arg++, sizeof cl.arrays[i], &cl.arrays[i]);
    ck_assert_int_eq(clEnqueueNDRangeKernel(cl.queue, kernel, 1, NULL, &tiles, &alone, 0, NULL, NULL), CL_SUCCESS);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(clEnqueueReadBuffer(cl.queue, out[i], CL_TRUE, 0, sizes[i], to[i], 0, NULL, NULL), CL_SUCCESS);
        clReleaseMemObject(out[i]);
    }
    clReleaseKernel(kernel);
    clReleaseProgram(program);
}

static void compare_grid(const char *text)
{
    static int32_t one[GRID_PAIRS], lanes[GRID_PAIRS], class[CLASSES];
    struct clattn__expr *e = must_parse(text);
    memset(one, 0x55, sizeof one); /* so that what is not written is seen */
    memset(lanes, 0x55, sizeof lanes);
    memset(class, 0x55, sizeof class);
    run_grid(e, one, lanes, class);
    for (int i = 0; i < GRID_PAIRS; i++) {
        int row = i / GRID_K;
        struct clattn__expr_point at = {FIRST_Q + row, i % GRID_K, GRID_B, row % 16 % GRID_H, GRID_G, Q_LEN, K_LEN};
        int want = clattn__expr_eval(e, &at, &values);
        ck_assert_msg(one[i] == want, "%s: pattern_1 gave %d at q %d k %d", text, (int)one[i], (int)at.q, (int)at.k);
        ck_assert_msg(!cl.wide || lanes[i] == -want, "%s: pattern_16 gave %d at q %d k %d", text, (int)lanes[i], (int)at.q,
                      (int)at.k);
    }
    for (int i = 0; i < CLASSES; i++) {
        int q0 = FIRST_Q + 16 * (i / (GRID_K / CLASS_K)), k0 = CLASS_K * (i % (GRID_K / CLASS_K));
        struct clattn__expr_box box = {q0, q0 + 15, k0, k0 + CLASS_K - 1, 0, GRID_H - 1, GRID_G, GRID_B, Q_LEN, K_LEN};
        ck_assert_msg(class[i] == (int)clattn__expr_classify(e, &box, &values), "%s: class %d in tile %d", text,
                      (int)class[i], i);
    }
    clattn__expr_free(e);
}

START_TEST(kernels_agree_with_the_host)
{
    static const char *const texts[] = {
        "", "k <= q", "k <= q & q - k < width", "k < 3 | k <= q", "k < prefix[b] | k <= q", "k < len[b]", "q - k < 4 & k - q < 4",
        "!(k <= q) | h == 1", "k > q & k >= 3 & q != 7", "q * k * 65536 * 3 > k", "q + n_sinks < k", "-q < k - n_sinks * 2",
        "min(q, k) + max(h, 2) == 5", "k < len[prefix[b] - g]", "prefix[99] == 7 & len[-1] == 5 & k != g", "w2 < q - k",
        "k < k_len - q_len + h", "q == -2147483648 | -q == k", "q * 715827883 < k * 3", "h * g + b < k", "k_len - k > q_len - q",
    };
    cl_int code;
    cl.context = clCreateContext(NULL, 1, &cl.device, NULL, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    cl.queue = clCreateCommandQueue(cl.context, cl.device, 0, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    const int32_t copies[2][4] = {{prefix[0], prefix[1], prefix[2], 0}, {len[0], len[1], len[2], len[3]}};
    for (int i = 0; i < 2; i++)
        cl.arrays[i] = clCreateBuffer(cl.context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, (size_t)counts[i] * sizeof(int32_t),
                                      (void *)copies[i], NULL);
    for (size_t i = 0; i < CLATTN__LEN(texts); i++)
        compare_grid(texts[i]);
    seed = 4;
    for (int i = 0; i < 4; i++) {
        char text[TEXT];
        random_text(text, 5);
        compare_grid(text);
    }
    for (int i = 0; i < 2; i++)
        clReleaseMemObject(cl.arrays[i]);
    clReleaseCommandQueue(cl.queue);
    clReleaseContext(cl.context);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("expressions");
    TCase *cases = tcase_create("host");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, precedence);
    tcase_add_test(cases, errors_say_where_and_what);
    tcase_add_test(cases, attacks_are_refused);
    tcase_add_test(cases, caps);
    tcase_add_test(cases, name_rules);
    tcase_add_test(cases, what_an_expression_uses);
    tcase_add_test(cases, kernel_text_has_no_user_text);
    tcase_add_test(cases, print_round_trip);
    tcase_add_test(cases, values_agree_with_the_oracle);
    tcase_add_test(cases, classes_are_conservative);
    tcase_add_test(cases, named_patterns_are_exact);
    tcase_add_test(cases, constructors);
    if (find_device())
        tcase_add_test(cases, kernels_agree_with_the_host);
    else
        puts("# SKIP kernels_agree_with_the_host: no OpenCL device");
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
