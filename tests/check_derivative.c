/* SPDX-License-Identifier: MIT
 * check_derivative.c - derivatives of score and weight rules, by hand and against central differences in
 * double.
 *
 * The bound of a difference quotient at h is computed: what halving h changes bounds the truncation, and the
 * rounding of f is followed through its graph.  Where the slopes on both sides of a point differ by more than
 * a smooth rule's do, or where the bound says nothing, the point is not counted. */
#include "expr/expr.h"
#include "expr/tree.h"
#include "random_rule.h"
#include "tests/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 1024, RULES = 2000, POINTS_A_RULE = 8, WANTED = 5000 };

#define H 0x1p-13
#define TELLING 1e-4 /* a larger bound, of the derivative's size, says nothing */

static const clattn_scalar scalars[] = {
    {"w", CLATTN_I32, 0, 5}, {"c", CLATTN_F32, 0, 2.5}, {"d", CLATTN_F32, 0, -0.75}};
static const clattn_array arrays[] = {{"slope", CLATTN_F32, 1, {4}},
                                      {"bias", CLATTN_F32, 2, {3, 5}},
                                      {"pos", CLATTN_I32, 1, {6}},
                                      {"keep", CLATTN_BITS, 1, {8}}};
static const float slope[] = {0.5f, 0.25f, 0.125f, -1.0f};
static const float bias[] = {0.5f, -1.0f, 2.0f, 0.0f,  3.5f,  1.0f, 0.25f, -0.5f,
                             4.0f, -2.0f, 1.5f, 0.75f, -3.0f, 2.5f, 1.25f};
static const int32_t pos[] = {0, 3, -2, 7, 1, 5};
static const uint32_t keep[] = {0xb5};
static const void *const data[] = {slope, bias, pos, keep};
static const struct clattn__names names = {3, 4, scalars, arrays};
static const struct clattn__expr_values values = {scalars, arrays, data, NULL};

static struct clattn__expr *expr_of(const char *text, enum clattn__use use)
{
    struct clattn__expr *e;
    char message[1024] = "";
    clattn_status status = clattn__expr_create(&e, &names, message, sizeof message);
    if (!status)
        status = clattn__expr_add(e, use, text, message, sizeof message);
    ck_assert_msg(status == CLATTN_OK, "'%s': %s %s", text, clattn_status_name(status), message);
    return e;
}

/* ---- by hand ---- */
static const struct {
    const char *text, *derivative;
} cases[] = {
    {"", "1.0"},
    {"score", "1.0"},
    {"k", "0.0"},
    {"-score", "-1.0"},
    {"score - slope[h] * (q - k)", "1.0"},
    {"c * score", "c"},
    {"score * score", "score + score"},
    {"2 * (3 * score)", "6.0"},
    {"score / c", "1.0 / c"},
    {"1 / score", "-(1.0 / score) / score"},
    {"30 * tanh(score / 30)", "1.0 - tanh(score / 30.0) * tanh(score / 30.0)"},
    {"c * tanh(score / c)", "c * ((1.0 - tanh(score / c) * tanh(score / c)) * (1.0 / c))"},
    {"exp(score)", "exp(score)"},
    {"exp2(score)", "0.6931472 * exp2(score)"},
    {"log(score)", "1.0 / score"},
    {"log2(score)", "1.0 / (0.6931472 * score)"},
    {"sqrt(score)", "1.0 / (sqrt(score) + sqrt(score))"},
    {"sigmoid(score)", "(1.0 - sigmoid(score)) * sigmoid(score)"},
    {"softplus(score)", "sigmoid(score)"},
    {"relu(score)", "0.0 < score ? 1.0 : 0.0"},
    {"relu(score) * relu(score)", "relu(score) * (0.0 < score ? 1.0 : 0.0) + relu(score) * (0.0 < score ? 1.0 : 0.0)"},
    {"abs(score)", "score < 0.0 ? -1.0 : 1.0"},
    {"max(score, 0.5)", "0.5 <= score ? 1.0 : 0.0"},
    {"min(score, c)", "score <= c ? 1.0 : 0.0"},
    {"floor(score)", "0.0"},
    {"floor(score) * score", "floor(score)"},
    {"bias[floor(score), k] * score", "bias[floor(score), k]"},
    {"k < q ? score : 2 * score", "k < q ? 1.0 : 2.0"},
    {"score < 0 ? 3 : 3.0", "0.0"},
    {"score < 0 ? score + 1 : score + 2", "1.0"},
    {"floor(score) // 2 + floor(score) % 3", "0.0"},
};

START_TEST(by_hand)
{
    for (size_t i = 0; i < CLATTN__LEN(cases); i++)
        for (enum clattn__use use = CLATTN__SCORE; use <= CLATTN__WEIGHT; use++) {
            char text[TEXT], again[TEXT];
            struct clattn__expr *e = expr_of(cases[i].text, use), *d;
            ck_assert_int_eq(clattn__expr_derivative(e, use, &d), CLATTN_OK);
            ck_assert_int_eq(clattn__expr_print(d, use, text, sizeof text), CLATTN_OK);
            ck_assert_msg(!strcmp(text, cases[i].derivative), "'%s' gave '%s'", cases[i].text, text);
            struct clattn__expr *read = expr_of(text, use);
            ck_assert_int_eq(clattn__expr_print(read, use, again, sizeof again), CLATTN_OK);
            ck_assert_str_eq(again, text);
            clattn__expr_free(read);
            clattn__expr_free(d);
            clattn__expr_free(e);
        }
}
END_TEST

START_TEST(arguments)
{
    struct clattn__expr *e = expr_of("score", CLATTN__SCORE), *d = e;
    ck_assert_int_eq(clattn__expr_derivative(NULL, CLATTN__SCORE, &d), CLATTN_NULL_ARGUMENT);
    ck_assert_ptr_null(d);
    ck_assert_int_eq(clattn__expr_derivative(e, CLATTN__SCORE, NULL), CLATTN_NULL_ARGUMENT);
    /* no such rule: the score itself */
    ck_assert_int_eq(clattn__expr_derivative(e, CLATTN__WEIGHT, &d), CLATTN_OK);
    ck_assert(clattn__expr_has(d, CLATTN__WEIGHT) && !clattn__expr_has(d, CLATTN__SCORE) &&
              !clattn__expr_has(d, CLATTN__MASK));
    clattn__expr_free(d);
    clattn__expr_free(e);
}
END_TEST

/* A product of products is twice as deep when derived; the answer is a status, not a graph. */
START_TEST(too_deep)
{
    char text[4096] = "score";
    for (int i = 0; i < 50; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), " * tanh(score - bias[%s, k])",
                 i % 2 ? "h" : "q");
    struct clattn__expr *e = expr_of(text, CLATTN__SCORE), *d = e;
    ck_assert_int_eq(clattn__expr_derivative(e, CLATTN__SCORE, &d), CLATTN_EXPR_LIMIT);
    ck_assert_ptr_null(d);
    clattn__expr_free(e);
}
END_TEST

/* ---- rounding, followed through a graph ---- */
/* How much an operator's value moves with an operand's; steps move with nothing. */
static double gain(const struct clattn__expr *e, const struct node *n, int arg, const double *v, double value)
{
    if (e->nodes[n->args[arg]].type != TYPE_FLOAT)
        return 0;
    switch (n->kind) {
    case KIND_MUL: return fabs(v[n->args[1 - arg]]);
    case KIND_DIV: return fabs((arg ? value : 1) / v[n->args[1]]);
    case KIND_EXP:
    case KIND_EXP2: return fabs(value);
    case KIND_LOG:
    case KIND_LOG2: return 2 / fabs(v[n->args[0]]);
    case KIND_SQRT: return 1 / value;
    default: return n->type == TYPE_FLOAT ? 1 : 0;
    }
}

/* A bound of the error of a rule's value in double, where constants are off by literal_error of their
 * size. */
static double rounding(const struct clattn__expr *e, enum clattn__use use,
                       const struct clattn__expr_point *at, double literal_error)
{
    double v[CLATTN__EXPR_MAX_NODES], error[CLATTN__EXPR_MAX_NODES];
    clattn__expr_values_at(e, at, &values, true, v);
    for (int i = 0; i < e->n_nodes; i++) {
        const struct node *n = &e->nodes[i];
        bool constant = n->kind == KIND_LITERAL && n->type == TYPE_FLOAT;
        error[i] = constant ? literal_error * fmax(fabs(v[i]), 1) : 0;
        for (int j = 0; j < n->n_args; j++) {
            double g = error[n->args[j]] > 0 ? gain(e, n, j, v, v[i]) : 0;
            error[i] += g * error[n->args[j]];
        }
        if (n->type == TYPE_FLOAT && n->n_args > 0)
            error[i] += 4 * 0x1p-53 * fabs(v[i]);
    }
    return error[e->root[use]];
}

/* ---- difference quotients ---- */
struct slopes {
    double left, right, both; /* at h: of x-h..x, x..x+h and x-h..x+h */
};

static struct slopes slopes_at(const struct clattn__expr *e, enum clattn__use use,
                               struct clattn__expr_point at, double h)
{
    double f[3], x = at.score;
    for (int i = 0; i < 3; i++) {
        at.score = x + (i - 1) * h;
        f[i] = clattn__expr_eval(e, use, &at, &values, true);
    }
    return (struct slopes){(f[1] - f[0]) / h, (f[2] - f[1]) / h, (f[2] - f[0]) / (2 * h)};
}

/* Whether a whole number or a condition changes near a point: steps may stand so close that quotients agree
 * by chance. */
static bool has_step(const struct clattn__expr *e, struct clattn__expr_point at)
{
    static double v[5][CLATTN__EXPR_MAX_NODES];
    const double x = at.score;
    for (int i = 0; i < 5; i++) {
        at.score = x + (i - 2) * (H / 2);
        clattn__expr_values_at(e, &at, &values, true, v[i]);
        for (int j = 0; j < e->n_nodes; j++)
            if (e->nodes[j].type != TYPE_FLOAT && v[i][j] != v[0][j])
                return true;
    }
    return false;
}

/* Checks a point; whether it counts. */
static bool check_point(const char *text, const struct clattn__expr *e, const struct clattn__expr *d,
                        enum clattn__use use, const struct clattn__expr_point *at)
{
    struct slopes wide = slopes_at(e, use, *at, H), narrow = slopes_at(e, use, *at, H / 2);
    double got = clattn__expr_eval(d, use, at, &values, true);
    double noise = 8 * rounding(e, use, at, 0) / H, bent = fabs(narrow.right - narrow.left);
    /* A smooth rule's sides differ by h f'': half as much at half the step.  A corner's keep their
     * difference. */
    if (has_step(e, *at) || bent > 0.6 * fabs(wide.right - wide.left) + noise)
        return false;
    /* Constants are folded in f32: each may be off by a few of its roundings. */
    double bound = 2 * fabs(wide.both - narrow.both) + noise + rounding(d, use, at, 0x1p-22);
    if (!(bound <= TELLING * (1 + fabs(narrow.both)))) /* NaN and infinities too */
        return false;
    ck_assert_msg(fabs(got - narrow.both) <= bound,
                  "'%s' at score %.17g q %d k %d: %.17g, not %.17g; bound %g", text, at->score, (int)at->q,
                  (int)at->k, got, narrow.both, bound);
    return true;
}

START_TEST(random_rules_against_differences)
{
    uint64_t seed = 5;
    int points = 0, limits = 0, sloping = 0;
    for (int i = 0; i < RULES; i++) {
        enum clattn__use use = i % 2 ? CLATTN__WEIGHT : CLATTN__SCORE;
        char text[TEXT];
        random_rule((uint64_t)i, use, text, sizeof text, &names);
        struct clattn__expr *e = expr_of(text, use), *d;
        clattn_status status = clattn__expr_derivative(e, use, &d);
        ck_assert(status == CLATTN_OK || status == CLATTN_EXPR_LIMIT);
        limits += status == CLATTN_EXPR_LIMIT;
        for (int j = 0; j < POINTS_A_RULE && d; j++) {
            struct clattn__expr_point at = {.q_len = 9, .k_len = 12};
            at.q = (int32_t)random_below(&seed, 9);
            at.k = (int32_t)random_below(&seed, 12);
            at.h = (int32_t)random_below(&seed, 4);
            at.score = ((double)random_below(&seed, 1 << 16) - (1 << 15)) * 0x1p-13;
            if (check_point(text, e, d, use, &at)) {
                points++;
                sloping += clattn__expr_eval(d, use, &at, &values, true) != 0;
            }
        }
        clattn__expr_free(d);
        clattn__expr_free(e);
    }
    printf("# %d random rules: %d points checked, %d with a slope; %d derivatives were too large\n", RULES,
           points, sloping, limits);
    ck_assert_int_ge(sloping, WANTED);
    ck_assert_int_lt(limits, RULES / 50);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("derivatives");
    TCase *all = tcase_create("derivatives");
    tcase_set_timeout(all, 120);
    tcase_add_test(all, by_hand);
    tcase_add_test(all, arguments);
    tcase_add_test(all, too_deep);
    tcase_add_test(all, random_rules_against_differences);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
