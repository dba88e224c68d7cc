/* SPDX-License-Identifier: MIT
 * check_parse.c - texts to graphs: grammar, types, messages, caps, names, hostile texts. */
#include "expr/tree.h"
#include "tests/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT 8192
#define KERNEL_TEXT (1 << 20)

static const clattn_scalar scalars[] = {{"width", CLATTN_I32, 0, 4}, {"alpha", CLATTN_F32, 0, 0.5}};
static const clattn_array arrays[] = {
    {"prefix", CLATTN_I32, 1, {3}}, {"doc", CLATTN_I32, 2, {3, 100}}, {"bias", CLATTN_F16, 4, {1, 2, 8, 9}},
    {"keep", CLATTN_BITS, 2, {3, 100}}, {"slope", CLATTN_F32, 1, {8}},
};
static const struct clattn__names names = {LEN(scalars), LEN(arrays), scalars, arrays};

static char *kernel[2];

static void set_up(void)
{
    for (int i = 0; i < 2; i++)
        kernel[i] = malloc(KERNEL_TEXT);
}

static void tear_down(void)
{
    for (int i = 0; i < 2; i++)
        free(kernel[i]);
}

static clattn_status parse(enum clattn__use use, const char *text, struct clattn__expr **expr, char *message,
                           size_t size)
{
    ck_assert_int_eq(clattn__expr_create(expr, &names, message, size), CLATTN_OK);
    clattn_status status = clattn__expr_add(*expr, use, text, message, size);
    if (!status)
        return status;
    ck_assert_msg(!clattn__expr_has(*expr, use), "'%s' was refused and left a rule", text);
    clattn__expr_free(*expr);
    *expr = NULL;
    return status;
}

static struct clattn__expr *must_parse(enum clattn__use use, const char *text)
{
    struct clattn__expr *expr;
    char message[CLATTN__MESSAGE_SIZE] = "";
    clattn_status status = parse(use, text, &expr, message, sizeof message);
    ck_assert_msg(status == CLATTN_OK, "'%s': %s %s", text, clattn_status_name(status), message);
    return expr;
}

static clattn_status status_of(enum clattn__use use, const char *text)
{
    struct clattn__expr *expr;
    clattn_status status = parse(use, text, &expr, NULL, 0);
    clattn__expr_free(expr);
    return status;
}

/* Whether two texts print alike and make the same kernel text. */
static void same_graph(enum clattn__use use, const char *a, const char *b)
{
    struct clattn__expr *graph[] = {must_parse(use, a), must_parse(use, b)};
    char print[2][TEXT];
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(clattn__expr_print(graph[i], use, print[i], TEXT), CLATTN_OK);
        ck_assert_int_eq(clattn__expr_kernel_text(graph[i], kernel[i], KERNEL_TEXT), CLATTN_OK);
        clattn__expr_free(graph[i]);
    }
    ck_assert_msg(!strcmp(print[0], print[1]), "'%s' and '%s' print '%s' and '%s'", a, b, print[0], print[1]);
    ck_assert_msg(!strcmp(kernel[0], kernel[1]), "'%s' and '%s' make different kernels", a, b);
}

/* ---- meaning ---- */
START_TEST(precedence)
{
    static const char *const rows[][2] = {
        {"k <= q & q - k < 4", "(k <= q) & ((q - k) < 4)"},
        {"k < 3 | k <= q & h > 1", "(k < 3) | ((k <= q) & (h > 1))"},
        {"k < 3 & k <= q | h > 1", "((k < 3) & (k <= q)) | (h > 1)"},
        {"k < 3 ^ k <= q & h > 1 | h < 9", "((k < 3) ^ ((k <= q) & (h > 1))) | (h < 9)"},
        {"!k <= q & h > 1", "(!(k <= q)) & (h > 1)"},
        {"!!k <= q", "k <= q"},
        {"q - k - 1 < h", "((q - k) - 1) < h"},
        {"q - k * 2 + b == 0", "((q - (k * 2)) + b) == 0"},
        {"q // 4 * 2 % 3 != 0", "(((q // 4) * 2) % 3) != 0"},
        {"-q * k >= 1", "((-q) * k) >= 1"},
        {"q - -k > 1", "q - (-k) > 1"},
        {"min(q + 1, k) < max(q, k * 2)", "(min((q + 1), (k))) < (max(q, (k * 2)))"},
        {"prefix[b + 1] > k", "(prefix[((b) + (1))]) > k"},
        {"k<=q&q-k<width", "  k <= q\t&  q - k  <  width "},
        {"k < q ? h < 1 : k < 9 ? h < 2 : h < 3", "(k < q) ? (h < 1) : ((k < 9) ? (h < 2) : (h < 3))"},
        {"k < q | h < 1 ? true : false", "((k < q) | (h < 1)) ? true : false"},
    };
    for (size_t i = 0; i < LEN(rows); i++)
        same_graph(CLATTN__MASK, rows[i][0], rows[i][1]);
}
END_TEST

/* What a conversion does is seen in the value. */
START_TEST(values)
{
    static const struct {
        const char *text;
        double value;
    } rows[] = {
        {"7 / 2 + 0 * score", 3.5}, {"7 // 2", 3}, {"-7 // 2", -4}, {"7 // -2", -4}, {"-7 % 3", 2}, {"7 % -3", -2},
        {"7 // 0", 0},
        {"7 % 0", 0}, {"2147483647 + 1", -2147483648.0}, {"floor(2.75)", 2}, {"floor(-2.25)", -3},
        {"floor(1e10)", 2147483647},
        {"abs(-3)", 3}, {"relu(-3)", 0}, {"min(2, 2.5)", 2}, {"max(2, 2.5)", 2.5}, {"q // 4", 2}, {"k % 4", 3},
        {"q / 4", 2.25},
        {"k < q ? 1 : 2", 1}, {"k < q ? 1 : 2.5", 1}, {"exp2(3)", 8}, {"log2(8.0)", 3}, {"sqrt(16)", 4}, {"tanh(0)", 0},
        {"sigmoid(0)", 0.5}, {"score * score", 6.25}, {"relu(score - 10)", 0}, {"exp(0) + log(1)", 1},
        {"alpha * width", 2},
        {"1 / floor(-0.0 * score)", INFINITY},
    };
    const struct clattn__expr_values held = {scalars, arrays, NULL, NULL};
    const struct clattn__expr_point at = {.q = 9, .k = 7, .q_len = 10, .k_len = 20, .score = 2.5};
    for (size_t i = 0; i < LEN(rows); i++) {
        struct clattn__expr *e = must_parse(CLATTN__SCORE, rows[i].text);
        double got = clattn__expr_eval(e, CLATTN__SCORE, &at, &held, false);
        double want = rows[i].value == 2147483647 ? 2147483648.0 : rows[i].value; /* as f32 */
        ck_assert_msg(got == want, "'%s' is %.17g, not %.17g", rows[i].text, got, want);
        clattn__expr_free(e);
    }
}
END_TEST

/* ---- messages ---- */
START_TEST(errors_say_where_and_what)
{
    static const struct {
        enum clattn__use use;
        const char *text;
        clattn_status status;
        const char *message; /* how it begins */
    } rows[] = {
        {CLATTN__MASK, "k <", CLATTN_EXPR_SYNTAX,
         "column 4: expected a number, a name, '-', '!' or '(', found the end"},
        {CLATTN__MASK, "k <= q &", CLATTN_EXPR_SYNTAX, "column 9: expected a number, a name"},
        {CLATTN__MASK, "k <= q )", CLATTN_EXPR_SYNTAX, "column 8: expected '&', '|', '^', '?' or the end, found ')'"},
        {CLATTN__MASK, "k < q < 3", CLATTN_EXPR_SYNTAX, "column 7: expected '&', '|', '^', '?' or the end, found '<'"},
        {CLATTN__MASK, "k q", CLATTN_EXPR_SYNTAX, "column 3: expected an operator or the end, found 'q'"},
        {CLATTN__MASK, "(k < q", CLATTN_EXPR_SYNTAX, "column 7: expected an operator or ')', found the end"},
        {CLATTN__MASK, "min(q k) < 3", CLATTN_EXPR_SYNTAX, "column 7: expected ',' and the second number"},
        {CLATTN__MASK, "min q", CLATTN_EXPR_SYNTAX, "column 5: expected '(' after a function's name, found 'q'"},
        {CLATTN__MASK, "exp(1, 2) < 3", CLATTN_EXPR_SYNTAX, "column 6: expected ')' after the one number"},
        {CLATTN__MASK, "prefix < k", CLATTN_EXPR_SYNTAX, "column 8: expected '[' and an index"},
        {CLATTN__MASK, "prefix[b", CLATTN_EXPR_SYNTAX, "column 9: expected ']'"},
        {CLATTN__MASK, "doc[b] < k", CLATTN_EXPR_SYNTAX, "column 6: expected ',' and the array's next index"},
        {CLATTN__MASK, "k < 3#", CLATTN_EXPR_SYNTAX, "column 6: expected '&', '|', '^', '?' or the end, found '#'"},
        {CLATTN__MASK, "k < 3\001", CLATTN_EXPR_SYNTAX,
         "column 6: expected '&', '|', '^', '?' or the end, found a character that"},
        {CLATTN__MASK, "k < 12x", CLATTN_EXPR_SYNTAX, "column 5: expected a number such as"},
        {CLATTN__MASK, "k < 1.", CLATTN_EXPR_SYNTAX, "column 5: expected a number such as"},
        {CLATTN__MASK, "k < q ? h < 1", CLATTN_EXPR_SYNTAX, "column 14: expected ':'"},
        {CLATTN__MASK, "k + 1", CLATTN_EXPR_TYPE, "column 1: a mask is a condition"},
        {CLATTN__SCORE, "score < 1", CLATTN_EXPR_TYPE, "column 1: a rule of this kind is a number"},
        {CLATTN__MASK, "k + (k < q) < 3", CLATTN_EXPR_TYPE,
         "column 3: '+' takes numbers, and it was given a condition"},
        {CLATTN__MASK, "k < q & h", CLATTN_EXPR_TYPE,
         "column 7: '&' takes conditions, and it was given a whole number"},
        {CLATTN__MASK, "!h", CLATTN_EXPR_TYPE, "column 1: '!' takes conditions"},
        {CLATTN__MASK, "k // 2.5 < q", CLATTN_EXPR_TYPE,
         "column 3: '//' takes whole numbers, and it was given a real number"},
        {CLATTN__MASK, "prefix[k / 2] < k", CLATTN_EXPR_TYPE,
         "column 8: an array is indexed by whole numbers; floor()"},
        {CLATTN__MASK, "k ? h < 1 : h < 2", CLATTN_EXPR_TYPE, "column 3: '?' takes a condition before it"},
        {CLATTN__MASK, "k < 1 ? h : h < 2", CLATTN_EXPR_TYPE, "column 7: both sides of ':'"},
        {CLATTN__MASK, "score < 1", CLATTN_EXPR_NAME, "column 1: a mask cannot read the score"},
        {CLATTN__MASK, "k < foo", CLATTN_EXPR_NAME, "column 5: 'foo' is neither an index"},
        {CLATTN__MASK, "soft_cap(2)", CLATTN_EXPR_TYPE, "column 1: this named rule is a score rule"},
        {CLATTN__MASK, "window", CLATTN_EXPR_SYNTAX, "column 7: expected '(' and the arguments"},
        {CLATTN__MASK, "documents(width)", CLATTN_EXPR_SYNTAX, "column 11: expected the name of a declared array"},
        {CLATTN__MASK, "documents(prefix)", CLATTN_EXPR_SYNTAX, "column 1: the arguments do not suit this named rule"},
        {CLATTN__MASK, "k < 2147483648", CLATTN_EXPR_NUMBER,
         "column 5: the whole number must be from -2147483648 to 2147483647"},
        {CLATTN__MASK, "k < -2147483649", CLATTN_EXPR_NUMBER, "column 6: the whole number"},
        {CLATTN__SCORE, "score * 1e39", CLATTN_EXPR_NUMBER, "column 9: the number does not fit"},
    };
    for (size_t i = 0; i < LEN(rows); i++) {
        struct clattn__expr *e;
        char message[CLATTN__MESSAGE_SIZE] = "", tiny[4] = "xxx";
        clattn_status status = parse(rows[i].use, rows[i].text, &e, message, sizeof message);
        ck_assert_msg(status == rows[i].status, "'%s' gave %s: %s", rows[i].text, clattn_status_name(status),
                      message);
        ck_assert_msg(!strncmp(message, rows[i].message, strlen(rows[i].message)), "'%s': %s", rows[i].text,
                      message);
        ck_assert_int_eq(parse(rows[i].use, rows[i].text, &e, tiny, 2), rows[i].status);
        ck_assert_int_eq(tiny[2], 'x');
    }
}
END_TEST

START_TEST(a_caret_shows_the_place)
{
    struct clattn__expr *e;
    char message[CLATTN__MESSAGE_SIZE];
    ck_assert_int_eq(parse(CLATTN__MASK, "k <= q & q - k < wdth", &e, message, sizeof message),
                     CLATTN_EXPR_NAME);
    ck_assert_str_eq(
        message, "column 18: 'wdth' is neither an index nor a function, a declared scalar or array, or a named rule\n"
                 "    k <= q & q - k < wdth\n"
                 "                     ^\n"
                 "    names: q k b h g q_len k_len listed; scalars width, alpha; arrays prefix[.], doc[.,.], bias[.,.,.,.], "
                 "keep[.,.], slope[.]; functions and named rules: clattn_expr(7)");
}
END_TEST

/* ---- limits ---- */
static void repeat(char *text, const char *part, int n)
{
    for (; n > 0; n--)
        strcat(text, part);
}

START_TEST(caps)
{
    static const struct {
        const char *part, *middle, *close; /* part n times, middle, close n times */
        int largest;
    } rows[] = {
        {"(", "k < q", ")", 128}, {"!", "k < q", "", 128}, {"-", "k < q", "", 62}, {"k < 1 | ", "q < 1", "", 62},
        {"k + ", "k < q", "", 62}, {" ", "k < q", "", CLATTN__EXPR_MAX_TEXT - 5}, {"exp(", "1.5", ") < k", 0},
    };
    static char text[CLATTN__EXPR_MAX_TEXT * 2];
    for (size_t i = 0; i < LEN(rows); i++)
        for (int n = rows[i].largest; rows[i].largest && n <= rows[i].largest + 1; n++) {
            text[0] = 0;
            repeat(text, rows[i].part, n);
            strcat(text, rows[i].middle);
            repeat(text, rows[i].close, n);
            clattn_status want = n == rows[i].largest ? CLATTN_OK : CLATTN_EXPR_LIMIT,
                          got = status_of(CLATTN__MASK, text);
            ck_assert_msg(got == want, "%d times '%s': %s", n, rows[i].part, clattn_status_name(got));
        }
    memset(text, '(', CLATTN__EXPR_MAX_TEXT);
    text[CLATTN__EXPR_MAX_TEXT] = 0;
    ck_assert_int_eq(status_of(CLATTN__MASK, text), CLATTN_EXPR_LIMIT);
}
END_TEST

/* Named rules inside one another double the text each time: refused soon, not in ages. */
START_TEST(named_rules_cannot_explode)
{
    static char text[CLATTN__EXPR_MAX_TEXT];
    for (int depth = 1; depth <= 60; depth++) {
        text[0] = 0;
        repeat(text, "soft_cap(", depth);
        strcat(text, "2");
        repeat(text, ")", depth);
        clattn_status status = status_of(CLATTN__SCORE, text);
        ck_assert(depth > 4 || status == CLATTN_OK);
        ck_assert_msg(depth < 20 || status == CLATTN_EXPR_LIMIT, "%d deep: %s", depth,
                      clattn_status_name(status));
    }
}
END_TEST

START_TEST(name_rules)
{
    static const char *const good[] = {"a",   "Z",   "q_",      "qq",     "len",   "abcdefghijklmno",
                                       "x_1", "MIN", "minimum", "causal", "window"};
    static const char *const bad[] = {"",         "_a",  "1a", "a-b", "a b", "abcdefghijklmnop",
                                      "\303\251", "a.b", "a[", "a\n"};
    static const char *const taken[] = {"q",     "k",   "b",    "h",        "g",    "q_len", "k_len",
                                        "score", "min", "tanh", "softplus", "true", "false"};
    for (size_t i = 0; i < LEN(good); i++)
        ck_assert_int_eq(clattn__name_check(good[i]), CLATTN_OK);
    for (size_t i = 0; i < LEN(bad); i++)
        ck_assert_int_eq(clattn__name_check(bad[i]), CLATTN_BAD_NAME);
    for (size_t i = 0; i < LEN(taken); i++)
        ck_assert_int_eq(clattn__name_check(taken[i]), CLATTN_DUPLICATE_NAME);
    ck_assert_int_eq(clattn__name_check(NULL), CLATTN_BAD_NAME);
}
END_TEST

/* A declared name hides a named rule's. */
START_TEST(declared_names_come_first)
{
    const clattn_scalar window = {"window", CLATTN_I32, 0, 8};
    const struct clattn__names own = {1, 0, &window, NULL};
    struct clattn__expr *e;
    char print[TEXT];
    ck_assert_int_eq(clattn__expr_create(&e, &own, NULL, 0), CLATTN_OK);
    ck_assert_int_eq(clattn__expr_add(e, CLATTN__MASK, "causal & q - k < window", NULL, 0), CLATTN_OK);
    ck_assert_int_eq(clattn__expr_print(e, CLATTN__MASK, print, sizeof print), CLATTN_OK);
    ck_assert_str_eq(print, "k <= q & q - k < window");
    clattn__expr_free(e);
}
END_TEST

/* Every named rule stands by itself, with arguments of the kinds that it names; declared names must not hide
 * it. */
START_TEST(every_named_rule_parses)
{
    static const clattn_array own[] = {{"a1", CLATTN_I32, 1, {3}}, {"a2", CLATTN_I32, 2, {3, 9}},
                                       {"a4", CLATTN_F32, 4, {1, 1, 9, 9}},
                                       {"bits2", CLATTN_BITS, 2, {3, 9}}, {"bits4", CLATTN_BITS, 4, {1, 1, 9, 9}},
                                       {"real1", CLATTN_F32, 1, {8}}, {"real2", CLATTN_F32, 2, {8, 9}}};
    const struct clattn__names own_names = {0, LEN(own), NULL, own};
    int n = 0;
    for (const struct clattn__named_rule *rule = clattn__named_rules; rule->name; rule++, n++) {
        char call[256];
        bool parsed = false;
        /* one of these suits as the first array, one as the others */
        for (size_t i = 0; i < LEN(own) * LEN(own) && !parsed; i++) {
            struct clattn__expr *e;
            struct clattn__text text = clattn__text_into(call, sizeof call);
            const char *p = rule->parameters;
            clattn__text_add(&text, "%s%s", rule->name, *p ? "(" : "");
            while (*p) {
                size_t length = strcspn(p, "[,");
                clattn__text_add(&text, "%s%s", p == rule->parameters ? "" : ", ",
                                 p[length] != '['        ? "7"
                                 : p == rule->parameters ? own[i % LEN(own)].name
                                                         : own[i / LEN(own)].name);
                p += length + (p[length] == '[' ? 2 : 0);
                p += strspn(p, ", ");
            }
            clattn__text_add(&text, "%s", rule->parameters[0] ? ")" : "");
            ck_assert_int_eq(clattn__expr_create(&e, &own_names, NULL, 0), CLATTN_OK);
            parsed = clattn__expr_add(e, rule->use, call, NULL, 0) == CLATTN_OK;
            clattn__expr_free(e);
        }
        ck_assert_msg(parsed, "named rule %s: '%s'", rule->name, call);
    }
    ck_assert_int_ge(n, 20);
}
END_TEST

/* ---- hostile texts ---- */
static bool harmless(char c)
{
    return (c >= ' ' && c <= '~') || c == '\n';
}

START_TEST(attacks_are_refused)
{
    static const char *const texts[] = {
        "#include \"/etc/passwd\"", "%:include <x>", "?\?=include <x>", "k <= q; }", "k <= q } __kernel void x() {",
        "k <= q \\", "k <= q\n", "k <= q\r", "k\n<= q", "k \\\n<= q", "\"k\" <= q", "'k' <= q", "k <= q // c",
        "k <= q /* c */", "k <= q /", "/**/ k <= q", "// k <= q", "k << 1 < q", "k >> 1 < q", "k ^ q", "~k < q",
        "k && q", "k < 1 && q < 1", "k < 1 || q < 1", "k = q", "k =< q", "k => q", "k <> q", "k == = q",
        "k ! = q", "k? q : h", "k <= q ? 1 : 0", "k <= q ? 1", "k <= q ?: 1", "asm(\"hlt\")",
        "asm volatile(\"int3\")", "__asm__(\"nop\")", "__kernel", "__attribute__((x))", "_x < k", "__x < k", "__builtin_trap() < k",
        "get_global_id(0) < k", "barrier(1) < k", "printf(\"%n\") < k", "e->n0 < k", "e.n0 < k", "a0[0] < k",
        "n0 < k", "x0 < k", "rule_n < k", "x1_iadd(k, q) < 1", "e < k", "y < k", "v0 < k",
        "rule_tables[0] < k", "k.x < q", "k.s0 < q", "*k < q", "&k < q", "k, q", "(k < q, h < 1)", "(k < q",
        "k < q)", "()", "(", ")", "[", "]", "{", "}", "b[b] < k", "k[q] < 1", "prefix[] < k",
        "prefix[b][b] < k", "prefix(b) < k", "width[b] < k", "width() < k", "min() < k", "min(q) < k",
        "min(q, k, h) < k", "max(q < k, h) < k", "min < k", "min[q, k] < 1", "0x10 < k", "0b1 < k",
        "017x < k", ".5 < k", "1. < k", "1u < k", "1L < k", "1f < k", "1.5f < k", "1e < k", "1e+ < k",
        "1e5.5 < k", "1..2 < k", "1.2.3 < k", "0x1p3 < k", "nan < k", "inf < k", "NAN < k", "INFINITY < k",
        "M_PI < k", "k < 1 2", "k < -", "k < !q", "k < q &", "& k < q", "| k < q", "^ k < q",
        "k < q | | h < 1", "k < q & & h < 1", "!", "-", "<", "k <= <= q", "1", "k", "1.5", "K < q", "Q < k",
        "q__len < k", "q_lenx < k", "widthx < k", "widt < k", "wi dth < k", "score < 1", "Score < 1",
        "k < q\001", "k < q\177", "k < q\377", "\303\251 < k", "\357\274\234k < q", "k \342\211\244 q",
        "\342\200\213k < q", "\033[31mk < q", "$k < q", "@k < q", "`k` < q", "k < q{", "k : q", "%n < k",
        "%s", "% < k", "k % < q", "k\v< q", "k\f< q", "(k) (q)", "k < (q", "k < q))", "((k < q)",
        "-(k < q) < 1", "(k < q) == (h < 1)", "(k < q) + 1 < 2", "true + 1 < 2", "true < false", "!1",
        "keep[b, k] == 1", "keep[b, k] + 1 < 2", "doc[b, q, k] < 1", "doc[b q] < 1", "doc[b;q] < 1",
        "prefix[b, ] < k", "prefix[,b] < k", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz < k",
        "window(1, 2)", "window(", "window(k < q)", "window)", "causal()", "causal causal",
        "documents(doc[b, q])", "documents()", "documents(causal)", "documents(2)", "alibi(slope)",
        "exponential", "soft_cap(2) < 1", "blocks(2.5)", "window(window(2))", "q_len k_len", "true false",
        "k < q #", "k < q ## q", "k < q \\u0041", "L\"x\" < k", "k < q\t\n", "k < 1'000", "k @ q",
        "k -> q < 1", "k :: q", "k := 1", "sizeof(k) < q", "(int)k < q", "(char*)k < q", "k++ < q", "return",
        "if (k < q)", "for (;;)", "goto x", "k < q, true", "struct x", "union", "typedef", "volatile k < q",
        "restrict < k", "half < k", "exp < k", "exp[1] < k", "exp() < k", "exp(k < q) < 1",
        "floor(true) < k", "sqrt(, 1) < k", "k < q ? (h < 1 : h < 2)", "k < q ? h < 1 : ", ": k < q",
    };
    ck_assert_uint_ge(LEN(texts), 150);
    for (size_t i = 0; i < LEN(texts); i++) {
        struct clattn__expr *e;
        char message[CLATTN__MESSAGE_SIZE] = "";
        clattn_status status = parse(CLATTN__MASK, texts[i], &e, message, sizeof message);
        ck_assert_msg(status <= CLATTN_EXPR_SYNTAX && status >= CLATTN_EXPR_NUMBER, "'%s' gave %s", texts[i],
                      clattn_status_name(status));
        ck_assert_msg(!strncmp(message, "column ", 7) && strchr(message, '^'), "'%s': %s", texts[i], message);
        for (const char *c = message; *c; c++)
            ck_assert_msg(harmless(*c), "'%s' echoes raw bytes", texts[i]);
    }
}
END_TEST

/* ---- texts that are large, or whose meaning is ---- */
static void refuse_soon(enum clattn__use use, const char *text)
{
    struct clattn__expr *e;
    char message[CLATTN__MESSAGE_SIZE] = "";
    clock_t begun = clock();
    clattn_status status = parse(use, text, &e, message, sizeof message);
    double seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
    ck_assert_msg(status <= CLATTN_EXPR_SYNTAX && status >= CLATTN_EXPR_NUMBER, "'%.40s...' gave %s", text,
                  clattn_status_name(status));
    ck_assert_msg(seconds < 0.5, "'%.40s...' took %g s", text, seconds);
    for (const char *c = message; *c; c++)
        ck_assert_msg(harmless(*c), "'%.40s...' echoes raw bytes", text);
}

START_TEST(large_attacks_are_refused_soon)
{
    static const struct {
        enum clattn__use use;
        const char *part, *middle, *close; /* part as often as there is room, middle, close as often */
    } rows[] = {
        {CLATTN__MASK, "(", "k < q", ")"}, {CLATTN__MASK, "!", "k < q", ""}, {CLATTN__MASK, "-", "k < q", ""},
        {CLATTN__MASK, "-(", "k", ") < q"}, {CLATTN__MASK, "a", " < q", ""}, {CLATTN__MASK, "k", " < q", ""},
        {CLATTN__MASK, "9", " < q", ""}, {CLATTN__MASK, "0", ".0 < q", ""}, {CLATTN__SCORE, "1e", "9", ""},
        {CLATTN__SCORE, "1e99999999999", "9", ""}, {CLATTN__MASK, "min(k, ", "q", ")"},
        {CLATTN__MASK, "prefix[", "0", "]"},
        {CLATTN__MASK, "k < q ? ", "true", " : false"}, {CLATTN__MASK, "k < ", "q", ""},
        {CLATTN__MASK, "k < q & ", "", ""},
        {CLATTN__MASK, "window(", "1", ")"}, {CLATTN__SCORE, "soft_cap(", "2", ")"},
        {CLATTN__MASK, "dilated(1, ", "2", ")"},
        {CLATTN__SCORE, "soft_cap(soft_cap(score) + ", "2", ")"}, {CLATTN__SCORE, "soft_cap(1) * ", "1", ""},
        {CLATTN__SCORE, "exp(", "score", ")"}, {CLATTN__SCORE, "tanh(score) + ", "score", ""},
        {CLATTN__SCORE, "score * ", "score", ""},
        {CLATTN__MASK, "causal causal", "", ""}, {CLATTN__MASK, "\303\251", "", ""}, {CLATTN__MASK, "\001", "", ""},
        {CLATTN__MASK, "#include \"x\" ", "", ""}, {CLATTN__MASK, "#define A A A ", "A", ""},
        {CLATTN__MASK, "?\?/", "", ""},
        {CLATTN__MASK, "%:", "", ""}, {CLATTN__MASK, "\\\n", "", ""}, {CLATTN__MASK, "/*", "k < q", "*/"},
        {CLATTN__MASK, ";", "", ""},
        {CLATTN__MASK, "{", "k < q", "}"}, {CLATTN__MASK, "k[", "q", "]"},
        {CLATTN__MASK, "doc[b, k] == doc[b, q] ^ ", "k < q", ""},
        {CLATTN__SCORE, "1.5 * ", "score", ""}, {CLATTN__MASK, "blocks(blocks(", "2", "))"},
        {CLATTN__MASK, "+", "k", ""},
    };
    static char text[2 * CLATTN__EXPR_MAX_TEXT];
    for (size_t i = 0; i < LEN(rows); i++)
        for (size_t size = 2000; size < sizeof text; size = size * 2 - 1) {
            size_t room = size - strlen(rows[i].middle) - 1,
                   n = room / (strlen(rows[i].part) + strlen(rows[i].close));
            text[0] = 0;
            repeat(text, rows[i].part, (int)n);
            strcat(text, rows[i].middle);
            repeat(text, rows[i].close, (int)n);
            refuse_soon(rows[i].use, text);
        }
}
END_TEST

/* A text ends at its first NUL, and what follows is never looked at. */
START_TEST(texts_end_at_nul)
{
    static const char text[] = "k <= q\0 } #include <x>";
    struct clattn__expr *e = must_parse(CLATTN__MASK, text);
    char print[TEXT];
    ck_assert_int_eq(clattn__expr_print(e, CLATTN__MASK, print, sizeof print), CLATTN_OK);
    ck_assert_str_eq(print, "k <= q");
    clattn__expr_free(e);
    refuse_soon(CLATTN__MASK, "k <=\0 q");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("parse");
    TCase *cases = tcase_create("rules");
    tcase_add_unchecked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, precedence);
    tcase_add_test(cases, values);
    tcase_add_test(cases, errors_say_where_and_what);
    tcase_add_test(cases, a_caret_shows_the_place);
    tcase_add_test(cases, caps);
    tcase_add_test(cases, named_rules_cannot_explode);
    tcase_add_test(cases, name_rules);
    tcase_add_test(cases, declared_names_come_first);
    tcase_add_test(cases, every_named_rule_parses);
    tcase_add_test(cases, attacks_are_refused);
    tcase_add_test(cases, large_attacks_are_refused_soon);
    tcase_add_test(cases, texts_end_at_nul);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
