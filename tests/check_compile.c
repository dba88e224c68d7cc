/* SPDX-License-Identifier: MIT
 * check_compile.c - compilers have nothing to say of our kernels: every kernel, storage, flag and kind of
 * rule, built anew.
 *
 * A driver that caches programs says nothing when it takes one from there, so PoCL gets a fresh folder. */
#include "tests/engines.h"
#include "tests/suite.h"

#include <clattn.h>

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

static char folder[64];
static clattn_context *ctx;
static int built, warnings;
static size_t engines_tried; /* bit i: engine number i has built something */

static void count_line(void *cookie, const char *line)
{
    (void)cookie;
    built += strstr(line, ": built") != NULL;
    if (strstr(line, ": compiler: ")) {
        warnings++;
        printf("# %s\n", line);
    }
}

static void set_up(void)
{
    snprintf(folder, sizeof folder, "/tmp/clattn-compile.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("POCL_CACHE_DIR", folder, 1);
    ck_assert_int_eq(clattn_context_open(&ctx, getenv("CLATTN_TEST_DEVICE")), CLATTN_OK);
    ck_assert_int_eq(clattn_context_set_log(ctx, count_line, NULL), CLATTN_OK);
    ck_assert_int_eq(clattn_context_set_cache(ctx, CLATTN_CACHE_OFF, NULL), CLATTN_OK);
}

static void tear_down(void)
{
    char command[128];
    clattn_context_close(ctx);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

static void declare(clattn_attention *a, const char *name, int32_t type, int n_dims)
{
    clattn_array *array = &a->arrays[a->n_arrays++];
    strcpy(array->name, name);
    array->type = type;
    array->n_dims = n_dims;
    for (int d = 0; d < n_dims; d++)
        array->dims[d] = 5;
}

static const struct {
    const char *problem, *mask, *score, *weight;
    int32_t normaliser;
} cases[] = {
    {"attn:f32:h2:q100:k200:d64", "", "", "", CLATTN_SOFTMAX},
    {"attn:f16:h2:q100:k200:d40/24:lse:keylens", "causal", "", "", CLATTN_SOFTMAX},
    {"attn:bf16-f32:h4/2:q30:k200:d1/3:lse:packed:qtotal=40:ktotal=220", "k < 7 | k <= q", "", "", CLATTN_SOFTMAX},
    {"attn:f32-f16:h8/2:q1:k900:d128:splits=3:lse:count", "window(33)", "", "", CLATTN_SOFTMAX},
    {"attn:f32:h3:q2:k300:d100:splits=2", "i[k] < q & j[b, q] != 3 & t[b, k] | listed", "score + r[h] * 0.5", "", CLATTN_SOFTMAX},
    {"attn:f16-f32:h2:q70:k70:d16:lse", "t[b, k] ^ (q - k) % 3 == 1 | q // 4 == k // 4",
     "k < q ? score : soft_cap(20)", "softplus(score)", CLATTN_L1},
    {"attn:f32:h2:q5:k70:d16:lse:splits=2", "j[q, k] > 0", "score / 3 + f[b, h, q, k] + abs(tanh(score)) - sqrt(exp2(-abs(score)))",
     "relu(score) * sigmoid(score) + log(2.0) - floor(log2(3.0))", CLATTN_NO_NORMALISER},
    {"attn:f16:h2:q100:k300:d64", "", "", "", CLATTN_SOFTMAX},
    {"attn:bf16:h2:q300:k300:d128:lse", "causal & (listed | around(9))", "", "", CLATTN_SOFTMAX},
    {"attn:f16:h4/2:q3:k300:d64:lse:splits=2", "j[q, k] > 0 & k <= q", "soft_cap(30) + r[h] * 0.5", "", CLATTN_SOFTMAX},
    {"attn:f16:h4/2:q20:k300:d40:lse:keylens:splits=2", "j[q, k] > 0 & listed", "soft_cap(30) + r[h] * 0.5", "", CLATTN_SOFTMAX},
};

static const char *const engines[] = {"vector",       "portable",   "blocked-large", "blocked",
                                      "matrix-wgmma", "matrix-mma", "matrix-small",  "matrix-tf32x3",
                                      "matrix-decode", "matrix-generic"};

START_TEST(no_words)
{
    const int before = warnings;
    clattn_attention a = CLATTN_ATTENTION_INIT;
    clattn_plan *plan;
    char message[1200];
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    ck_assert_int_eq(clattn_device_describe(clattn_context_device(ctx), &facts), CLATTN_OK);
    ck_assert_int_eq(clattn_problem_parse(&a, cases[_i].problem, message, sizeof message), CLATTN_OK);
    declare(&a, "i", CLATTN_I32, 1);
    declare(&a, "j", CLATTN_I8, 2);
    declare(&a, "t", CLATTN_BITS, 2);
    declare(&a, "r", CLATTN_BF16, 1);
    declare(&a, "f", CLATTN_F16, 4);
    a.pattern = clattn_mask(cases[_i].mask, CLATTN_BOTTOM_RIGHT);
    a.score = clattn_score(cases[_i].score);
    a.weight = clattn_weight(cases[_i].weight);
    a.normaliser = cases[_i].normaliser;
    a.list.size = sizeof a.list;
    ck_assert_int_eq(clattn_list_fit(&a.list, &a, CLATTN_SCOPE_GROUP, 16, 8, 4), CLATTN_OK);
    for (size_t e = 0; e < LEN(engines); e++) {
        if (!is_its_turn(&facts, engines[e], _i, (int)e))
            continue;
        strcpy(a.engine, engines[e]);
        clattn_status status = clattn_plan_create(&plan, ctx, &a);
        if (status == CLATTN_ENGINE_REFUSED)
            continue; /* the vector engine, on what is no CPU; matrix engines, of 16 bits and a softmax */
        clattn_context_message(ctx, message, sizeof message);
        ck_assert_msg(status == CLATTN_OK, "%s on %s: %s", cases[_i].problem, engines[e], message);
        clattn_plan_destroy(plan);
        engines_tried |= (size_t)1 << e;
    }
    ck_assert_int_gt(built, 0);
    ck_assert_int_eq(warnings, before);
}
END_TEST

/* Every engine that fits the device was among them. */
START_TEST(every_engine)
{
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_engine_fit fit = CLATTN_ENGINE_FIT_INIT;
    ck_assert_int_eq(clattn_device_describe(clattn_context_device(ctx), &facts), CLATTN_OK);
    for (size_t i = 0; clattn_engine_describe(&facts, i, &fit) == CLATTN_OK; i++) {
        bool tried = false;
        for (size_t e = 0; e < LEN(engines); e++)
            tried |= !strcmp(engines[e], fit.engine) && engines_tried >> e & 1;
        ck_assert_msg(tried || !fit.fits, "%s", fit.engine);
    }
}
END_TEST

/* The test can fail: a kernel that a compiler warns of is told. */
START_TEST(a_warning_is_told)
{
    char path[160], command[512];
    const char *build = getenv("top_builddir");
    const int before = warnings;
    clattn_attention a = CLATTN_ATTENTION_INIT;
    clattn_plan *plan;
    snprintf(path, sizeof path, "%s/kernels", folder);
    snprintf(command, sizeof command,
             "mkdir -m 700 '%s' && (echo '#warning odd'; cat '%s/cl/flat/forward_portable.cl') > "
             "'%s/forward_portable.cl'",
             path, build ? build : ".", path);
    ck_assert_int_eq(system(command), 0);
    setenv("CLATTN_KERNEL_DIR", path, 1);
    a.q_len = a.kv_len = a.dim = a.dim_v = 8;
    strcpy(a.engine, "portable");
    ck_assert_int_eq(clattn_plan_create(&plan, ctx, &a), CLATTN_OK);
    clattn_plan_destroy(plan);
    unsetenv("CLATTN_KERNEL_DIR");
    ck_assert_int_gt(warnings, before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("compile");
    TCase *compile = tcase_create("compile");
    tcase_add_unchecked_fixture(compile, set_up, tear_down);
    tcase_add_loop_test(compile, no_words, 0, (int)LEN(cases));
    tcase_add_test(compile, every_engine);
    tcase_add_test(compile, a_warning_is_told);
    suite_add_tcase(suite, compile);
    return run_suite(suite);
}
