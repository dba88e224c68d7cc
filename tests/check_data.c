/* SPDX-License-Identifier: MIT
 * check_data.c - real attention (tests/data/README.md) through the API: o and lse against results stored in
 * double's precision.
 *
 * Inputs f16, outputs f32, so the f32 bar holds: |o - o64| <= 16 u max|v| and |lse - lse64| <= 16 u (1 +
 * |lse64|), u = 2^-24, plus what rounding the stored results to f32 may be off by.  Scores here reach some
 * tens: doc/numerics.md's term for large scores is added by the same function as everywhere
 * (workload_f32_bound). */
#include "tests/engines.h"
#include "tests/suite.h"
#include "tool/npy.h"
#include "tool/workload.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))
#define UNIT 0x1p-24

static const struct data_case {
    const char *folder, *problem;
} cases[] = {
    {"causal", "attn:f16-f32:h6/2:q512:k512:d64:causal-tl:lse"},
    {"mixed", "attn:f16-f32:h6/2:q896:k896:d64:prefix768-tl:lse"},
    {"bidirectional", "attn:f16-f32:h3/1:q1000:k1000:d64:lse"},
    {"cross", "attn:f16-f32:h6/2:q548:k1500:d64:lse"},
};

static clattn_context *ctx;

static void set_up(void)
{
    ck_assert_int_eq(clattn_context_open(&ctx, getenv("CLATTN_TEST_DEVICE")), CLATTN_OK);
}

static void tear_down(void)
{
    clattn_context_close(ctx);
}

static struct npy load(const char *folder, const char *name, enum npy_type type, int64_t count)
{
    struct npy array;
    char path[1024], message[1200];
    const char *root = getenv("top_srcdir");
    snprintf(path, sizeof path, "%s/tests/data/%s/%s.npy", root ? root : ".", folder, name);
    ck_assert_msg(npy_read(&array, path, message, sizeof message) == 0, "%s", message);
    ck_assert_msg(array.type == type && array.count == count, "%s has another type or size", path);
    return array;
}

static void load_inputs(struct workload *w, const char *folder)
{
    const struct {
        const char *name;
        void *to;
        int64_t count;
    } inputs[] = {{"q", w->q, w->q_count}, {"k", w->k, w->k_count}, {"v", w->v, w->v_count}};
    for (size_t i = 0; i < LEN(inputs); i++) {
        struct npy array = load(folder, inputs[i].name, NPY_F2, inputs[i].count);
        memcpy(inputs[i].to, array.data, (size_t)inputs[i].count * 2);
        npy_free(&array);
    }
}

/* The largest error of a row as a part of bound. */
static double row_ratio(const struct workload *w, const float *want, int64_t row, double bound)
{
    int64_t width = w->problem.dim_v;
    double worst = 0;
    for (int64_t d = 0; d < width; d++) {
        double expected = want[row * width + d], got = ((const float *)w->o)[row * width + d];
        double ratio = fabs(got - expected) / (bound + UNIT * fabs(expected));
        worst = ratio <= worst ? worst : ratio; /* a NaN stays */
    }
    return worst;
}

/* The largest error / bound of o and lse over every row.  The bar alone is most of a bound; what scores add
 * to it takes as long as the row itself, so only rows that are above the bar are given it. */
static double worst_ratio(const struct workload *w, const char *folder)
{
    const clattn_attention *a = &w->problem;
    struct npy o = load(folder, "o", NPY_F4, w->o_count), lse = load(folder, "lse", NPY_F4, w->lse_count);
    double worst = 0, worst_lse = 0;
    for (int64_t row = 0; row < w->lse_count; row++) {
        int64_t head = row / a->q_len;
        double ratio = row_ratio(w, o.data, row, workload_bar(w, 0, head));
        if (!(ratio <= 1))
            ratio = row_ratio(w, o.data, row, workload_f32_bound(w, 0, head, row % a->q_len));
        worst = ratio <= worst ? worst : ratio;
        double want = ((const float *)lse.data)[row];
        double ratio_lse = fabs((double)w->lse[row] - want) / (16 * UNIT * (1 + fabs(want)));
        worst_lse = ratio_lse <= worst_lse ? worst_lse : ratio_lse;
    }
    npy_free(&o);
    npy_free(&lse);
    printf("# %s on %s: largest error / bound %.3f of o, %.3f of lse\n", folder, a->engine, worst, worst_lse);
    return worst <= worst_lse || isnan(worst_lse) ? worst_lse : worst;
}

static double run_case(const struct data_case *c, const char *engine, const char *problem)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    struct workload w;
    clattn_plan *plan;
    char message[700];
    ck_assert_msg(clattn_problem_parse(&a, problem, message, sizeof message) == CLATTN_OK, "%s", message);
    snprintf(a.engine, sizeof a.engine, "%s", engine);
    ck_assert_int_eq(workload_make(&w, &a, 0, WORKLOAD_NORMAL), CLATTN_OK);
    load_inputs(&w, c->folder);
    if (clattn_plan_create(&plan, ctx, &w.problem)) {
        clattn_context_message(ctx, message, sizeof message);
        ck_abort_msg("%s", message);
    }
    ck_assert_int_eq(workload_run(&w, plan, NULL), CLATTN_OK);
    double ratio = worst_ratio(&w, c->folder);
    clattn_plan_destroy(plan);
    workload_free(&w);
    return ratio;
}

START_TEST(stored_results)
{
    const char *engines[8];
    clattn_attention a = CLATTN_ATTENTION_INIT;
    char message[256];
    ck_assert_int_eq(clattn_problem_parse(&a, cases[_i].problem, message, sizeof message), CLATTN_OK);
    int n = engines_taking(ctx, &a, engines, (int)LEN(engines));
    ck_assert_int_ge(n, 1);
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    ck_assert_int_eq(clattn_device_describe(clattn_context_device(ctx), &facts), CLATTN_OK);
    for (int i = 0; i < n; i++) {
        if (!is_its_turn(&facts, engines[i], _i, i))
            continue;
        double ratio = run_case(&cases[_i], engines[i], cases[_i].problem);
        ck_assert_msg(ratio <= 1, "%s on %s: %.3f of the bound", cases[_i].folder, engines[i], ratio);
    }
}
END_TEST

/* The comparison can fail: the causal rows under another mask are far off. */
START_TEST(a_wrong_mask_is_noticed)
{
    double ratio = run_case(&cases[0], "", "attn:f16-f32:h6/2:q512:k512:d64:lse");
    ck_assert(ratio > 1000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("data");
    TCase *data = tcase_create("data");
    tcase_add_unchecked_fixture(data, set_up, tear_down);
    tcase_add_loop_test(data, stored_results, 0, (int)LEN(cases));
    tcase_add_test(data, a_wrong_mask_is_noticed);
    suite_add_tcase(suite, data);
    return run_suite(suite);
}
