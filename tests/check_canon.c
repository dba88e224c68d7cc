/* SPDX-License-Identifier: MIT
 * check_canon.c - graphs to texts: texts of one meaning are one, prints are read back, and kernel text is of
 * our words alone. */
#include "expr/tree.h"
#include "tests/random_rule.h"
#include "tests/suite.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static struct clattn__expr *must_parse(enum clattn__use use, const char *text)
{
    struct clattn__expr *expr;
    char message[CLATTN__MESSAGE_SIZE] = "";
    ck_assert_int_eq(clattn__expr_create(&expr, &names, message, sizeof message), CLATTN_OK);
    clattn_status status = clattn__expr_add(expr, use, text, message, sizeof message);
    ck_assert_msg(status == CLATTN_OK, "'%s': %s %s", text, clattn_status_name(status), message);
    return expr;
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

static void prints(enum clattn__use use, const char *text, const char *want)
{
    char got[TEXT];
    struct clattn__expr *expr = must_parse(use, text);
    ck_assert_int_eq(clattn__expr_print(expr, use, got, sizeof got), CLATTN_OK);
    ck_assert_msg(!strcmp(got, want), "'%s' prints '%s', not '%s'", text, got, want);
    clattn__expr_free(expr);
}

/* ---- one meaning, one text ---- */
START_TEST(equal_meanings_are_one)
{
    static const struct {
        enum clattn__use use;
        const char *a, *b;
    } rows[] = {
        {CLATTN__MASK, "q >= k", "k <= q"},
        {CLATTN__MASK, "q > k", "k < q"},
        {CLATTN__MASK, "q - k < 9 & k <= q", "k <= q & q - k < 9"},
        {CLATTN__MASK, "doc[b, k] == doc[b, q]", "doc[b,q] == doc[b,k]"},
        {CLATTN__MASK, "k * 2 + h < 3 + q", "h + 2 * k < q + 3"},
        {CLATTN__MASK, "k < 2 * 3 + 1", "k < 7"},
        {CLATTN__MASK, "k <= q & true", "k <= q"},
        {CLATTN__MASK, "1 < 2 ? k <= q : h < 3", "k <= q"},
        {CLATTN__MASK, "k <= q | k <= q", "k <= q"},
        {CLATTN__MASK, "min(k, q) < max(width, h)", "min(q, k) < max(h, width)"},
        {CLATTN__MASK, "causal & window(16)", "k <= q & q - k < 16"},
        {CLATTN__MASK, "prefix_each(prefix)", "k < prefix[b] | k <= q"},
        {CLATTN__MASK, "documents(doc) & causal", "doc[b, q] == doc[b, k] & k <= q"},
        {CLATTN__MASK, "k <= q & (k < 4 | listed)", "(listed | k < 4) & q >= k"},
        {CLATTN__MASK, "around(2 * width)", "q - k < 2 * width & k - q < 2 * width"},
        {CLATTN__SCORE, "soft_cap(30)", "30 * tanh(score / 30)"},
        {CLATTN__SCORE, "soft_cap(soft_cap(2.0))", "(2 * tanh(score / 2)) * tanh(score / (2 * tanh(score / 2)))"},
        {CLATTN__SCORE, "score / 2", "score / 2.0"},
        {CLATTN__SCORE, "1 / 2 * score", "0.5 * score"},
        {CLATTN__SCORE, "score + 1", "1.0 + score"},
        {CLATTN__SCORE, "alibi(slope)", "score - slope[h] * (q - k)"},
        {CLATTN__WEIGHT, "relu(score) * alpha", "alpha * relu(score)"},
    };
    for (size_t i = 0; i < LEN(rows); i++)
        same_graph(rows[i].use, rows[i].a, rows[i].b);
}
END_TEST

START_TEST(canonical_texts)
{
    prints(CLATTN__MASK, "(q>=k)", "k <= q");
    prints(CLATTN__MASK, "(!listed)&!(listed&k<q)", "!listed & !(listed & k < q)");
    prints(CLATTN__SCORE, "listed?score:score-1", "listed ? score : score - 1.0");
    prints(CLATTN__MASK, "!(k<=q)", "!k <= q");
    prints(CLATTN__MASK, "q-(k-1)<-(-5)", "q - (k - 1) < 5");
    prints(CLATTN__MASK, "(q+k)*2<(q//3)%2", "2 * (q + k) < q // 3 % 2");
    prints(CLATTN__MASK, "(k<1|k>2)&(h<1^h>2)", "(h < 1 ^ 2 < h) & (k < 1 | 2 < k)");
    prints(CLATTN__SCORE, "(k<q?score:0)+1", "(k < q ? score : 0.0) + 1.0");
    prints(CLATTN__SCORE, "score+0.1", "score + 0.1");
    prints(CLATTN__SCORE, "score*1e-30", "1e-30 * score");
    prints(CLATTN__SCORE, "score*123456.5", "123456.5 * score");
    prints(CLATTN__SCORE, "score*16777216", "1.6777216e7 * score");
    prints(CLATTN__SCORE, "float(k) + q", "float(q) + k");
    prints(CLATTN__SCORE, "float(k) + q + score", "score + (float(q) + k)");
    prints(CLATTN__SCORE, "k + q + score", "score + (q + k)");
    prints(CLATTN__SCORE, "-float(k) * 0.5", "0.5 * -float(k)");
    prints(CLATTN__SCORE, "score--0.25", "score - -0.25");
    prints(CLATTN__SCORE, "score * (floor(alpha) + k) / 2", "score * (k + floor(alpha)) / 2.0");
}
END_TEST

/* ---- round trips ---- */
START_TEST(print_round_trip)
{
    static char text[TEXT];
    for (uint64_t seed = 0; seed < 20000; seed++) {
        enum clattn__use use = (enum clattn__use)(seed % 3);
        char once[4 * TEXT], twice[4 * TEXT];
        random_rule(seed, use, text, sizeof text, &names);
        struct clattn__expr *x = must_parse(use, text);
        ck_assert_int_eq(clattn__expr_print(x, use, once, sizeof once), CLATTN_OK);
        struct clattn__expr *y = must_parse(use, once);
        ck_assert_int_eq(clattn__expr_print(y, use, twice, sizeof twice), CLATTN_OK);
        ck_assert_msg(!strcmp(once, twice), "'%s' prints '%s', which prints '%s'", text, once, twice);
        ck_assert_int_eq(clattn__expr_kernel_text(x, kernel[0], KERNEL_TEXT), CLATTN_OK);
        ck_assert_int_eq(clattn__expr_kernel_text(y, kernel[1], KERNEL_TEXT), CLATTN_OK);
        ck_assert_msg(!strcmp(kernel[0], kernel[1]), "'%s' and its print '%s' make different kernels", text,
                      once);
        clattn__expr_free(x);
        clattn__expr_free(y);
    }
}
END_TEST

/* ---- numbers ---- */
/* The f32 that a text's only number is. */
static int32_t number_in(const char *text, char print[64])
{
    struct clattn__expr *e = must_parse(CLATTN__SCORE, text);
    int32_t bits = e->n_numbers == 1 ? e->numbers[0].value : -1;
    if (clattn__expr_print(e, CLATTN__SCORE, print, 64) != CLATTN_OK)
        ck_abort_msg("'%s' prints too long a text", text);
    clattn__expr_free(e);
    return bits;
}

static int digits_of(const char *text)
{
    int n = 0, zeros = 0; /* zeros at the end do not count */
    for (; *text && *text != 'e' && *text != ' '; text++)
        if (*text >= '0' && *text <= '9') {
            n += *text != '0' || n ? 1 : 0;
            zeros = *text == '0' ? zeros + (n > 0) : 0;
        }
    return n - zeros;
}

/* Read back bit for bit from its print, which has no digit too many.  again: the same in the locale that is
 * set. */
static void check_float(float x)
{
    char text[64], print[64], again[64], shorter[64];
    snprintf(text, sizeof text, "score * %.9e", (double)x);
    for (char *c = text; *c; c++)
        *c = *c == ',' ? '.' : *c; /* the language knows no locale */
    if (number_in(text, print) != float_bits(x))
        ck_abort_msg("'%s' is not read as %a", text, (double)x);
    if (number_in(print, again) != float_bits(x) || strcmp(print, again) || strchr(print, ','))
        ck_abort_msg("'%s' prints '%s', and that '%s'", text, print, again);
    int digits = digits_of(print);
    snprintf(shorter, sizeof shorter, "%.*e", digits > 1 ? digits - 2 : 0, (double)x);
    if (digits > 9 || (digits > 1 && strtof(shorter, NULL) == x))
        ck_abort_msg("'%s' prints '%s', and '%s' would do", text, print, shorter);
}

static void check_floats(int count)
{
    uint32_t state = 1;
    static const uint32_t ends[] = {0,          1,          2,          0x7fffff,   0x800000,   0x800001,
                                    0x7f7fffff, 0x7f7ffffe, 0x3f800000, 0x3f7fffff, 0x3dcccccd, 0x4b800000,
                                    0x4b7fffff, 0x49742400, 0x4b189680, 0x38d1b717, 0x3f800001, 0x00000100};
    for (size_t i = 0; i < LEN(ends); i++)
        check_float(bits_float((int32_t)ends[i]));
    for (int exponent = 0; exponent < 255; exponent++)
        for (uint32_t mantissa = 0; mantissa < 3; mantissa++)
            check_float(bits_float(wrap(((uint32_t)exponent << 23 | mantissa) - (exponent > 0))));
    for (int i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        uint32_t bits = (i % 8 ? state : state >> 9) & 0x7fffffffu; /* every eighth is a denormal */
        if (bits < 0x7f800000u)
            check_float(bits_float((int32_t)bits));
    }
}

START_TEST(floats_round_trip)
{
    check_floats(150000);
}
END_TEST

START_TEST(floats_in_a_comma_locale)
{
    static const char *const tried[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE", "nl_NL.UTF-8",
                                        "pt_BR.UTF-8", "ru_RU.UTF-8"};
    size_t i = 0;
    while (i < LEN(tried) && !(setlocale(LC_ALL, tried[i]) && *localeconv()->decimal_point == ','))
        i++;
    if (i == LEN(tried))
        puts("# SKIP floats_in_a_comma_locale: no such locale is installed");
    else
        check_floats(20000);
    setlocale(LC_ALL, "C");
}
END_TEST

/* ---- kernel text ---- */
/* Kernel text is made of our words alone, whatever the names are. */
START_TEST(kernel_text_has_no_user_text)
{
    const clattn_scalar hostile[] = {{"asm", CLATTN_I32, 0, 1}, {"printf", CLATTN_F32, 0, 2}};
    const clattn_array evil[] = {{"__kernel", CLATTN_I32, 1, {4}}, {"kernel", CLATTN_I32, 1, {4}},
                                 {"barrier", CLATTN_BITS, 1, {4}}};
    struct clattn__names wrong = {0, 1, NULL, evil};
    struct clattn__expr *e;
    ck_assert_int_eq(clattn__expr_create(&e, &wrong, NULL, 0), CLATTN_BAD_NAME);
    const struct clattn__names own = {2, 2, hostile, evil + 1};
    ck_assert_int_eq(clattn__expr_create(&e, &own, NULL, 0), CLATTN_OK);
    ck_assert_int_eq(clattn__expr_add(e, CLATTN__MASK, "k < asm + kernel[k] & barrier[q] | 4711 < q", NULL, 0),
                     CLATTN_OK);
    ck_assert_int_eq(clattn__expr_add(e, CLATTN__SCORE, "score * printf + 0.1234567", NULL, 0), CLATTN_OK);
    ck_assert_int_eq(clattn__expr_kernel_text(e, kernel[0], KERNEL_TEXT), CLATTN_OK);
    static const char *const words[] = {"asm", "printf", "barrier", "4711", "1234567", "__kernel", " kernel"};
    for (size_t i = 0; i < LEN(words); i++)
        ck_assert_msg(!strstr(kernel[0], words[i]), "kernel text holds '%s'", words[i]);
    clattn__expr_free(e);
}
END_TEST

/* What kernels may add to a score with its scale: where the rule does no more. */
START_TEST(biases_are_told)
{
    static const struct {
        const char *score, *told, *body;
    } rules[] = {
        {"score - slope[h] * (q - k)", "#define SCORE_BIAS 1\n", "float bias_1(const struct rule_env *e, int q"},
        {"0.5 + score", "#define SCORE_BIAS 1\n", "return e->u"},
        {"score - alpha", "#define SCORE_BIAS 1\n", "return -e->u"},
        {"alpha - score", "#define SCORE_BIAS 0\n", "score_1"},
        {"score + 0.5 * score", "#define SCORE_BIAS 0\n", "score_1"},
        {"alpha * tanh(score / alpha)", "#define SCORE_BIAS 0\n", "score_1"},
        {"score - slope[h] * (q - k)", "#define BIAS_STEP 1\n", "float bias_step_1(const struct rule_env *e, int q"},
        {"score + (slope[h] * (k + h) - k)", "#define BIAS_STEP 1\n", "bias_step_1"},
        {"score + slope[h] * abs(q - k)", "#define SCORE_BIAS 1\n#define BIAS_STEP 0\n", "bias_1"},
        {"score + float(k * k)", "#define SCORE_BIAS 1\n#define BIAS_STEP 0\n", "bias_1"},
        {"score + slope[h]", "#define SCORE_BIAS 1\n#define BIAS_STEP 0\n", "bias_1"},
    };
    for (size_t i = 0; i < LEN(rules); i++) {
        struct clattn__expr *e = must_parse(CLATTN__SCORE, rules[i].score);
        ck_assert_int_eq(clattn__expr_kernel_text(e, kernel[0], KERNEL_TEXT), CLATTN_OK);
        clattn__expr_free(e);
        ck_assert_msg(strstr(kernel[0], rules[i].told) && strstr(kernel[0], rules[i].body), "'%s' gives\n%s",
                      rules[i].score, kernel[0]);
        ck_assert_msg(!strstr(kernel[0], "bias_1") == !strstr(rules[i].told, "1"), "'%s' gives\n%s",
                      rules[i].score, kernel[0]);
    }
}
END_TEST

/* ---- every word of kernel text ---- */
static bool is_one_of(const char *word, size_t length, const char *const *list)
{
    for (; *list; list++)
        if (strlen(*list) == length && !strncmp(word, *list, length))
            return true;
    return false;
}

static bool is_operator(const char *word, size_t length)
{
    static const char *const others[] = {"int",    "real", "bool", "frange", "itable", "ftable",
                                         "btable", "q",    "k",    "h",      "l",      NULL};
    static const char *const elements[] = {"f32", "f16", "bf16", "i32", "i8", "bits", NULL};
    if (is_one_of(word, length, others) || is_one_of(word, length, elements))
        return true;
    for (size_t skip = 4; skip <= 5; skip++)
        if (length > skip &&
            (!strncmp(word, "far_", skip) || !strncmp(word, "run_", skip) || !strncmp(word, "line_", skip) ||
             !strncmp(word, "key_", skip)) &&
            is_one_of(word + skip, length - skip, elements))
            return true;
    static const char *const of_lists[] = {"listed_keys", "find_lists", NULL};
    if (is_one_of(word, length, of_lists))
        return true;
    if (length > 4 && !strncmp(word, "run_", 4)) /* types: x16_run_int */
        return is_one_of(word + 4, length - 4, (const char *const[]){"int", "float", NULL});
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        const char *own = clattn__expr_kinds[kind].word;
        size_t typed = strchr("ifb", word[0]) && strlen(own) + 1 == length ? 1 : 0;
        if (*own && strlen(own) == length - typed && !strncmp(word + typed, own, length - typed))
            return true;
    }
    return false;
}

/* Numbers, numbered names, operators, and the words of src/expr/emit.c and bias.c. */
static bool is_ours(const char *word, size_t length)
{
    static const char *const words[] = {
        "define", "RULES", "MASK_RULE", "SCORE_RULE", "WEIGHT_RULE", "SCORE_BIAS", "BIAS_STEP", "RULE_NUMBERS", "RULE_PARAMS",
        "RULE_ENV_FIELDS", "RULE_ENV_FILL", "RULE_ROW_FIELDS", "RULE_ROW_FILL", "RULE_FUNCTIONS_1",
        "RULE_FUNCTIONS_16", "RULE_FUNCTIONS_KEYS", "RULE_FUNCTIONS_CLASS", "const", "struct",
        "rule_numbers", "rule_n", "__global", "float", "half", "ushort", "int", "char", "uint",
        "rule_tables", "e", "y", "a", "n", "as_float", "table_at", "first", "lists", "listed", "list_args",
        "rule_lists", "rule_list", "find_lists", "MASK_LISTS", "MASK_TABLES", "bottom_right", "INT_MIN", "INT_MAX",
        "INFINITY", "int16", "float16", "irange", "frange", "static", "inline", "return", "mask_1",
        "mask_16", "mask_keys", "mask_class_of", "score_1", "bias_1", "bias_step_1", "score_16", "score_keys", "weight_1",
        "weight_16", "weight_keys", "rule_env", "rule_rows", "q", "k", "b", "h", "g", "q_len", "k_len",
        "score", NULL};
    static const char *const families[] = {"x1_", "x16_", "xi_"};
    size_t digits = strspn(word, "0123456789");
    if (digits == length || (digits && length == digits + 2 && !strncmp(word + digits, "0f", 2)) ||
        (digits == 1 && word[1] == 'f'))
        return true; /* 16, and the two words of 1.0f */
    for (size_t i = 0; i < LEN(families); i++)
        if (!strncmp(word, families[i], strlen(families[i])))
            return is_operator(word + strlen(families[i]), length - strlen(families[i]));
    size_t letters = !strncmp(word, "rule_a", 6) ? 6 : strchr("nuvsyrat", word[0]) ? 1 : 0;
    if (letters && letters + strspn(word + letters, "0123456789") == length && length > letters)
        return true;
    return is_one_of(word, length, words);
}

/* Names of C, of OpenCL and of our own texts: none of them is one that kernels would need, and none reaches
 * them. */
static const clattn_scalar hostile_scalars[] = {{"asm", CLATTN_I32, 0, 5}, {"printf", CLATTN_F32, 0, 0.5},
                                                {"volatile", CLATTN_I32, 0, 7}};
static const clattn_array hostile_arrays[] = {
    {"kernel", CLATTN_I32, 1, {5}}, {"barrier", CLATTN_BITS, 2, {9, 70}}, {"goto", CLATTN_F16, 3, {2, 30, 30}},
    {"sizeof", CLATTN_I8, 1, {4}},
    {"while", CLATTN_F32, 2, {70000, 70000}}, {"typedef", CLATTN_BF16, 1, {6}}, {"get_global_id", CLATTN_BITS, 1, {64}},
};

START_TEST(kernel_text_is_of_words_of_ours)
{
    const struct clattn__names own = {LEN(hostile_scalars), LEN(hostile_arrays), hostile_scalars,
                                      hostile_arrays};
    static char text[TEXT];
    for (uint64_t seed = 0; seed < 3000; seed++) {
        struct clattn__expr *e;
        ck_assert_int_eq(clattn__expr_create(&e, &own, NULL, 0), CLATTN_OK);
        for (int u = 0; u < CLATTN__USES; u++) {
            random_rule(3 * seed + (uint64_t)u, (enum clattn__use)u, text, 1200, &own);
            clattn_status status =
                clattn__expr_add(e, (enum clattn__use)u, text, NULL, 0); /* three may be too many at once */
            ck_assert_msg(status == CLATTN_OK || status == CLATTN_EXPR_LIMIT, "'%s': %s", text,
                          clattn_status_name(status));
        }
        ck_assert_int_eq(clattn__expr_kernel_text(e, kernel[0], KERNEL_TEXT), CLATTN_OK);
        clattn__expr_free(e);
        for (const char *c = kernel[0]; *c;) {
            size_t length = strspn(c, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
            if (length ? !is_ours(c, length) : !strchr("#\\\n (){}[]*&,;=+-./>", *c))
                ck_abort_msg("seed %d: '%.*s' in kernel text", (int)seed, length ? (int)length : 1, c);
            c += length ? length : 1;
        }
    }
}
END_TEST

/* Texts of other numbers are the same program. */
START_TEST(numbers_are_arguments)
{
    static const char *const rows[][2] = {
        {"k <= q & q - k < 4096 & k < prefix[b]", "k<=q&q-k<5&k<prefix[b]"}, {"k < 4 | q < 4", "k < 4 | q < 5"},
        {"k * 1 < q + 0", "k * 7 < q + 9"}, {"k < 0.5", "k < 1e30"}, {"k >= 20 & k_len >= 62", "k >= 3 & k_len >= 1"},
    };
    for (size_t i = 0; i < LEN(rows); i++) {
        struct clattn__expr *graph[] = {must_parse(CLATTN__MASK, rows[i][0]),
                                        must_parse(CLATTN__MASK, rows[i][1])};
        for (int j = 0; j < 2; j++) {
            ck_assert_int_eq(clattn__expr_kernel_text(graph[j], kernel[j], KERNEL_TEXT), CLATTN_OK);
            clattn__expr_free(graph[j]);
        }
        ck_assert_str_eq(kernel[0], kernel[1]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("canon");
    TCase *cases = tcase_create("rules");
    tcase_set_timeout(cases, 300);
    tcase_add_unchecked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, equal_meanings_are_one);
    tcase_add_test(cases, canonical_texts);
    tcase_add_test(cases, print_round_trip);
    tcase_add_test(cases, floats_round_trip);
    tcase_add_test(cases, floats_in_a_comma_locale);
    tcase_add_test(cases, kernel_text_has_no_user_text);
    tcase_add_test(cases, biases_are_told);
    tcase_add_test(cases, kernel_text_is_of_words_of_ours);
    tcase_add_test(cases, numbers_are_arguments);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
