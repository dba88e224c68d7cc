/* SPDX-License-Identifier: MIT
 * check_properties.c - what must hold of attention whatever the numbers, without a reference.
 *
 * On every engine that fits the device.  Properties of bits are compared as bits; those of real numbers
 * within twice the f32 bar of doc/numerics.md, 16 * 2^-24 * max|v|, because two results are compared. */
#include "tests/engines.h"
#include "tests/fresh_context.h"
#include "tests/suite.h"

#include <clattn.h>

#include <check.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))
#define BAR (16 * 0x1p-24)
#define MAX_ENGINES 12

static clattn_context *ctx;
static const char *engines[MAX_ENGINES];
static int n_engines;

static void set_up(void)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    char message[256];
    ctx = fresh_context();
    ck_assert_int_eq(clattn_problem_parse(&a, "attn:f32:q70:k133:d24/20", message, sizeof message),
                     CLATTN_OK);
    n_engines = engines_taking(ctx, &a, engines, MAX_ENGINES);
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    ck_assert_int_eq(clattn_device_describe(clattn_context_device(ctx), &facts), CLATTN_OK);
    if (!is_long_run())
        n_engines = engines_without(&facts, engines, n_engines, is_for_others);
    ck_assert_int_ge(n_engines, 1);
}

static void tear_down(void)
{
    clattn_context_close(ctx);
    n_engines = 0;
}

/* ---- a dense f32 problem and its tensors ---- */
struct tensors {
    clattn_attention a;
    size_t q_count, k_count, v_count, o_count, rows;
    float *q, *k, *v, *o, *lse;
    const int32_t *array; /* the problem's, if it has one */
    uint32_t counters[4];
};

static float *allocate(size_t count)
{
    float *data = malloc((count + 1) * sizeof *data);
    ck_assert_ptr_nonnull(data);
    return data;
}

static void fill(float *data, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (float)((int)(seed >> 8) % 40001 - 20000) / 10000.0f;
    }
}

static struct tensors make(const char *engine, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static struct tensors make(const char *engine, const char *fmt, ...)
{
    struct tensors t = {.a = CLATTN_ATTENTION_INIT};
    char text[256], message[256];
    va_list list;
    va_start(list, fmt);
    vsnprintf(text, sizeof text, fmt, list);
    va_end(list);
    ck_assert_msg(clattn_problem_parse(&t.a, text, message, sizeof message) == CLATTN_OK, "%s: %s", text,
                  message);
    ck_assert_int_eq(t.a.type_o, CLATTN_F32);
    snprintf(t.a.engine, sizeof t.a.engine, "%s", engine);
    t.a.flags |= CLATTN_WANT_LSE;
    t.rows = (size_t)(t.a.batch * t.a.heads * t.a.q_len);
    t.q_count = t.rows * (size_t)t.a.dim;
    t.k_count = (size_t)(t.a.batch * t.a.kv_heads * t.a.kv_len * t.a.dim);
    t.v_count = (size_t)(t.a.batch * t.a.kv_heads * t.a.kv_len * t.a.dim_v);
    t.o_count = t.rows * (size_t)t.a.dim_v;
    t.q = allocate(t.q_count);
    t.k = allocate(t.k_count);
    t.v = allocate(t.v_count);
    t.o = allocate(t.o_count);
    t.lse = allocate(t.rows);
    fill(t.q, t.q_count, 1);
    fill(t.k, t.k_count, 2);
    fill(t.v, t.v_count, 3);
    return t;
}

static void drop(struct tensors *t)
{
    free(t->q);
    free(t->k);
    free(t->v);
    free(t->o);
    free(t->lse);
}

static clattn_plan *plan_of(const struct tensors *t)
{
    clattn_plan *plan;
    char text[700];
    if (clattn_plan_create(&plan, ctx, &t->a)) {
        clattn_context_message(ctx, text, sizeof text);
        ck_abort_msg("%s", text);
    }
    ck_assert_str_eq(clattn_plan_engine(plan), t->a.engine);
    return plan;
}

/* Run with outputs full of NaN before, which no row may keep unless it is meant to. */
static void run_with(struct tensors *t, clattn_plan *plan)
{
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    memset(t->o, 0xff, t->o_count * sizeof *t->o);
    memset(t->lse, 0xff, t->rows * sizeof *t->lse);
    memset(t->counters, 0, sizeof t->counters);
    io.q = t->q;
    io.k = t->k;
    io.v = t->v;
    io.o = t->o;
    io.lse = t->lse;
    io.arrays[0] = t->array;
    io.counters = t->a.flags & CLATTN_COUNT_TILES ? t->counters : NULL;
    ck_assert_int_eq(clattn_run_forward(plan, &io), CLATTN_OK);
}

static void run(struct tensors *t)
{
    clattn_plan *plan = plan_of(t);
    run_with(t, plan);
    clattn_plan_destroy(plan);
}

static float *copy_of(const float *data, size_t count)
{
    float *copy = allocate(count);
    memcpy(copy, data, count * sizeof *copy);
    return copy;
}

static bool same_bits(const float *a, const float *b, size_t count)
{
    return memcmp(a, b, count * sizeof *a) == 0;
}

static float largest(const float *data, size_t count)
{
    float most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmaxf(most, fabsf(data[i]));
    return most;
}

/* Both finite and within tolerance of each other. */
static void close_to(const float *got, const float *expected, size_t count, double tolerance,
                     const char *what)
{
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(fabs((double)got[i] - (double)expected[i]) <= tolerance,
                      "%s: element %zu is %.9g, not %.9g (tolerance %.3g)", what, i, (double)got[i],
                      (double)expected[i], tolerance);
}

static double two_bars(const struct tensors *t)
{
    return 2 * BAR * (double)largest(t->v, t->v_count);
}
static double two_lse_bars(const struct tensors *t)
{
    return 2 * BAR * (1 + (double)largest(t->lse, t->rows));
}

/* ---- properties of numbers ---- */
START_TEST(constant_values_give_the_constant)
{
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:h2:q70:k133:d24/20:causal-br");
        for (size_t i = 0; i < t.v_count; i++)
            t.v[i] = 0.7f;
        run(&t);
        for (size_t i = 0; i < t.o_count; i++)
            ck_assert_msg(fabsf(t.o[i] - 0.7f) <= BAR * 0.7f, "element %zu is %.9g", i, (double)t.o[i]);
        drop(&t);
    }
}
END_TEST

START_TEST(order_of_keys_does_not_matter)
{
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:q70:k133:d24/20");
        run(&t);
        float *o = copy_of(t.o, t.o_count), *lse = copy_of(t.lse, t.rows);
        float *k = copy_of(t.k, t.k_count), *v = copy_of(t.v, t.v_count);
        for (size_t i = 0; i < 133; i++) { /* 50 has no factor in common with 133 */
            memcpy(t.k + i * 24, k + i * 50 % 133 * 24, 24 * sizeof *k);
            memcpy(t.v + i * 20, v + i * 50 % 133 * 20, 20 * sizeof *v);
        }
        run(&t);
        close_to(t.o, o, t.o_count, two_bars(&t), "permuted keys");
        close_to(t.lse, lse, t.rows, two_lse_bars(&t), "lse of permuted keys");
        free(o), free(lse), free(k), free(v);
        drop(&t);
    }
}
END_TEST

/* Every key moved by the same vector c: each row's scores move by scale q.c, its weights stay. */
START_TEST(shifted_logits_move_lse_alone)
{
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:q70:k133:d24/20");
        for (size_t i = 0; i < t.q_count; i++)
            if (i % 24 == 23)
                t.q[i] = 1; /* and the last column of every key 0, then 2: exact in f32 */
        for (size_t i = 23; i < t.k_count; i += 24)
            t.k[i] = 0;
        run(&t);
        float *o = copy_of(t.o, t.o_count), *lse = copy_of(t.lse, t.rows);
        for (size_t i = 23; i < t.k_count; i += 24)
            t.k[i] = 2;
        run(&t);
        close_to(t.o, o, t.o_count, two_bars(&t), "shifted logits");
        for (size_t i = 0; i < t.rows; i++)
            lse[i] += (float)(2 / sqrt(24.0));
        close_to(t.lse, lse, t.rows, two_lse_bars(&t), "lse of shifted logits");
        free(o), free(lse);
        drop(&t);
    }
}
END_TEST

START_TEST(linear_in_values)
{
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:q70:k133:d24/20:causal-br");
        float *v1 = copy_of(t.v, t.v_count), *v2 = allocate(t.v_count);
        fill(v2, t.v_count, 77);
        run(&t);
        float *o = copy_of(t.o, t.o_count);
        memcpy(t.v, v2, t.v_count * sizeof *v2);
        run(&t);
        for (size_t i = 0; i < t.o_count; i++)
            o[i] = 2 * o[i] - t.o[i];
        for (size_t i = 0; i < t.v_count; i++)
            t.v[i] = 2 * v1[i] - v2[i];
        run(&t);
        /* three results, their factors 2 and 1, and the rounding of the sums: all within the bar of the
         * largest |v| each */
        double tolerance = BAR * (2 * (double)largest(v1, t.v_count) + (double)largest(v2, t.v_count) +
                                  (double)largest(t.v, t.v_count));
        close_to(t.o, o, t.o_count, tolerance, "2 v1 - v2");
        /* a power of two is exact */
        memcpy(o, t.o, t.o_count * sizeof *o);
        for (size_t i = 0; i < t.v_count; i++)
            t.v[i] *= 4;
        run(&t);
        for (size_t i = 0; i < t.o_count; i++)
            ck_assert(t.o[i] == 4 * o[i]);
        free(o), free(v1), free(v2);
        drop(&t);
    }
}
END_TEST

/* One key takes nearly all, and each of the many others adds less than half a unit in the last place: one by
 * one they would all vanish.  An addition rounds by at most u; blocks of 32 to 128 keys (or sixteens in
 * longer ones) that are summed by themselves need 128 + n / 32 additions at most for a numerator of o, and as
 * many for its denominator. */
START_TEST(many_small_weights_count)
{
    static const int lengths[][2] = {{1, 1024}, {3, 1024}, {40, 1024}, {3, 40000}, {40, 40000}};
    static const float others[] = {1.15f, 0, -0.55f};
    const double w = exp((double)-16.8f);
    for (int e = 0; e < n_engines; e++)
        for (size_t n = 0; n < LEN(lengths); n++) {
            const int keys = lengths[n][1];
            struct tensors t = make(engines[e], "attn:f32:q%d:k%d:d1/3:splits=1", lengths[n][0], keys);
            for (size_t i = 0; i < t.q_count; i++)
                t.q[i] = 1;
            for (size_t i = 0; i < t.k_count; i++)
                t.k[i] = i > 0 ? -16.8f : 0;
            for (size_t i = 0; i < t.v_count; i++)
                t.v[i] = i < 3 ? 1 : others[i % 3];
            run(&t);
            double small = (keys - 1) * w, tolerance = BAR + 2 * (128 + keys / 32.0) * 0x1p-24;
            ck_assert_msg(small > 2 * tolerance, "the test cannot fail");
            for (size_t i = 0; i < t.o_count; i++) {
                double error = fabs((double)t.o[i] - (1 + (double)others[i % 3] * small) / (1 + small));
                ck_assert_msg(error <= tolerance, "%s, %d x %d: o is off by %.3g (tolerance %.3g)",
                              engines[e], lengths[n][0], keys, error, tolerance);
            }
            for (size_t i = 0; i < t.rows; i++) {
                double error = fabs((double)t.lse[i] - log1p(small));
                ck_assert_msg(error <= tolerance, "%s, %d x %d: lse is off by %.3g (tolerance %.3g)",
                              engines[e], lengths[n][0], keys, error, tolerance);
            }
            drop(&t);
        }
}
END_TEST

/* ---- splitting the keys ---- */
START_TEST(split_plans_agree)
{
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:h4/2:q5:k700:d24/20:causal-br:splits=1");
        run(&t);
        float *o = copy_of(t.o, t.o_count), *lse = copy_of(t.lse, t.rows);
        for (int64_t splits = 2; splits <= 5; splits++) {
            t.a.splits = splits;
            run(&t);
            close_to(t.o, o, t.o_count, two_bars(&t), "splits");
            close_to(t.lse, lse, t.rows, two_lse_bars(&t), "lse of splits");
        }
        free(o), free(lse);
        drop(&t);
    }
}
END_TEST

static cl_mem buffer(size_t bytes, void *data)
{
    cl_int code;
    cl_mem mem = clCreateBuffer(clattn_context_cl(ctx), CL_MEM_READ_WRITE | (data ? CL_MEM_COPY_HOST_PTR : 0),
                                bytes, data, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return mem;
}

static cl_command_queue make_queue(cl_command_queue_properties properties)
{
    cl_int code;
    cl_command_queue queue =
        clCreateCommandQueue(clattn_context_cl(ctx), clattn_context_device(ctx), properties, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return queue;
}

static void merge_parts(float *part_o, float *part_lse, struct tensors *t)
{
    clattn_merge problem = CLATTN_MERGE_INIT;
    clattn_merge_plan *plan;
    problem.parts = 2;
    problem.rows = (int64_t)t->rows;
    problem.dim_v = t->a.dim_v;
    ck_assert_int_eq(clattn_merge_plan_create(&plan, ctx, &problem), CLATTN_OK);
    cl_command_queue queue = make_queue(0);
    size_t o_bytes = t->o_count * sizeof(float), lse_bytes = t->rows * sizeof(float);
    cl_mem parts = buffer(2 * o_bytes, part_o), lses = buffer(2 * lse_bytes, part_lse);
    cl_mem o = buffer(o_bytes, NULL), lse = buffer(lse_bytes, NULL);
    ck_assert_int_eq(clattn_enqueue_merge(plan, queue, parts, lses, o, lse, 0, NULL, NULL), CLATTN_OK);
    ck_assert_int_eq(clEnqueueReadBuffer(queue, o, CL_TRUE, 0, o_bytes, t->o, 0, NULL, NULL), CL_SUCCESS);
    ck_assert_int_eq(clEnqueueReadBuffer(queue, lse, CL_TRUE, 0, lse_bytes, t->lse, 0, NULL, NULL),
                     CL_SUCCESS);
    cl_mem all[] = {parts, lses, o, lse};
    for (size_t i = 0; i < LEN(all); i++)
        clReleaseMemObject(all[i]);
    clReleaseCommandQueue(queue);
    clattn_merge_plan_destroy(plan);
}

/* Two halves of the keys by the mask, merged by the public operator; the first rows see nothing of the second
 * half. */
START_TEST(merged_halves_are_the_whole)
{
    static const char *const masks[][3] = {
        {"", "k < 61", "k >= 61"},
        {"k <= q", "k <= q & k < 61", "k <= q & k >= 61"},
        {"k < q", "k < q & k < 0", "k < q & k >= 0"}, /* an empty half; row 0 sees nothing at all */
    };
    for (int e = 0; e < n_engines; e++)
        for (size_t m = 0; m < LEN(masks); m++) {
            struct tensors t = make(engines[e], "attn:f32:h2:q100:k100:d24/20");
            float *part_o = allocate(2 * t.o_count), *part_lse = allocate(2 * t.rows);
            for (size_t part = 0; part < 2; part++) {
                t.a.pattern = clattn_mask(masks[m][1 + part], CLATTN_TOP_LEFT);
                run(&t);
                memcpy(part_o + part * t.o_count, t.o, t.o_count * sizeof *t.o);
                memcpy(part_lse + part * t.rows, t.lse, t.rows * sizeof *t.lse);
            }
            t.a.pattern = clattn_mask(masks[m][0], CLATTN_TOP_LEFT);
            run(&t);
            float *o = copy_of(t.o, t.o_count), *lse = copy_of(t.lse, t.rows);
            merge_parts(part_o, part_lse, &t);
            for (size_t i = 0; i < t.rows; i++)
                ck_assert_msg(isinf(lse[i]) ? t.lse[i] == lse[i]
                                            : fabs((double)t.lse[i] - (double)lse[i]) <= 2 * BAR * 10,
                              "lse of row %zu is %g, not %g", i, (double)t.lse[i], (double)lse[i]);
            close_to(t.o, o, t.o_count, two_bars(&t), masks[m][0]);
            free(o), free(lse), free(part_o), free(part_lse);
            drop(&t);
        }
}
END_TEST

/* ---- properties of bits ---- */
START_TEST(the_future_changes_no_bit)
{
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:q200:k200:d24/20:causal-tl");
        run(&t);
        float *o = copy_of(t.o, t.o_count), *lse = copy_of(t.lse, t.rows);
        /* falling: what changed before stays in the future */
        static const size_t at[] = {199, 128, 127, 65, 64, 63, 16, 15, 1};
        for (size_t n = 0; n < LEN(at); n++) {
            fill(t.k + at[n] * 24, (200 - at[n]) * 24, (uint32_t)(100 + n));
            fill(t.v + at[n] * 20, (200 - at[n]) * 20, (uint32_t)(200 + n));
            run(&t);
            ck_assert_msg(same_bits(t.o, o, at[n] * 20) && same_bits(t.lse, lse, at[n]),
                          "keys from %zu on changed earlier rows", at[n]);
            ck_assert_msg(!same_bits(t.o + at[n] * 20, o + at[n] * 20, 20), "key %zu changed nothing", at[n]);
        }
        free(o), free(lse);
        drop(&t);
    }
}
END_TEST

START_TEST(hidden_keys_may_hold_anything)
{
    static const float poisons[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:h2/1:q90:k300:d24/20");
        t.a.pattern = clattn_mask("k < 40 | k >= 170 & k < 181 & k != 175", CLATTN_NO_CORNER);
        run(&t);
        float *o = copy_of(t.o, t.o_count), *lse = copy_of(t.lse, t.rows);
        for (size_t n = 0; n < LEN(poisons); n++) {
            for (size_t k = 0; k < 300; k++)
                if (!(k < 40 || (k >= 170 && k < 181 && k != 175))) {
                    for (size_t d = 0; d < 24; d++)
                        t.k[k * 24 + d] = poisons[n];
                    for (size_t d = 0; d < 20; d++)
                        t.v[k * 20 + d] = poisons[(n + k) % LEN(poisons)];
                }
            run(&t);
            ck_assert_msg(same_bits(t.o, o, t.o_count) && same_bits(t.lse, lse, t.rows),
                          "%g in hidden keys changed bits", (double)poisons[n]);
        }
        free(o), free(lse);
        drop(&t);
    }
}
END_TEST

/* Keys that only later rows see: those rows become NaN, no earlier one changes. */
START_TEST(nan_reaches_only_who_sees_it)
{
    for (int e = 0; e < n_engines; e++)
        for (size_t at = 0; at < 150; at += 29) {
            struct tensors t = make(engines[e], "attn:f32:q150:k150:d24/20:causal-tl");
            run(&t);
            float *o = copy_of(t.o, t.o_count);
            t.v[at * 20 + 3] = NAN;
            run(&t);
            for (size_t i = 0; i < t.o_count; i++)
                if (i / 20 >= at && i % 20 == 3)
                    ck_assert_msg(isnan(t.o[i]), "row %zu lost the NaN of value %zu", i / 20, at);
            ck_assert_msg(same_bits(t.o, o, at * 20), "value %zu reached earlier rows", at);
            t.k[at * 24 + 5] = NAN;
            run(&t);
            ck_assert_msg(same_bits(t.o, o, at * 20), "key %zu reached earlier rows", at);
            for (size_t i = at; i < 150; i++)
                ck_assert_msg(isnan(t.lse[i]) && isnan(t.o[i * 20]), "row %zu lost the NaN of key %zu", i,
                              at);
            free(o);
            drop(&t);
        }
}
END_TEST

START_TEST(a_nan_query_stays_in_its_row)
{
    for (int e = 0; e < n_engines; e++)
        for (size_t at = 0; at < 70; at += 23) {
            struct tensors t = make(engines[e], "attn:f32:q70:k150:d24/20:causal-br");
            run(&t);
            float *o = copy_of(t.o, t.o_count), *lse = copy_of(t.lse, t.rows);
            t.q[at * 24 + 7] = NAN;
            run(&t);
            for (size_t i = 0; i < t.rows; i++)
                if (i == at)
                    ck_assert_msg(isnan(t.lse[i]) && isnan(t.o[i * 20]), "row %zu lost its NaN", i);
                else
                    ck_assert_msg(t.lse[i] == lse[i] && same_bits(t.o + i * 20, o + i * 20, 20),
                                  "row %zu changed", i);
            free(o), free(lse);
            drop(&t);
        }
}
END_TEST

/* Scores of -inf weigh nothing; a row of nothing else is a row that sees nothing; a NaN among them stays. */
START_TEST(infinite_scores)
{
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:q3:k70:d1/2");
        for (size_t i = 0; i < t.q_count; i++)
            t.q[i] = 1;
        for (size_t i = 0; i < t.k_count; i++)
            t.k[i] = -INFINITY;
        run(&t);
        for (size_t i = 0; i < t.rows; i++)
            ck_assert_msg(t.lse[i] == -INFINITY && t.o[2 * i] == 0 && t.o[2 * i + 1] == 0,
                          "row %zu: %g, lse %g", i, (double)t.o[2 * i], (double)t.lse[i]);
        t.k[40] = 3;
        run(&t);
        ck_assert_msg(t.o[0] == t.v[80] && t.o[1] == t.v[81] && fabsf(t.lse[0] - 3) <= 3 * BAR,
                      "%g %g, lse %g", (double)t.o[0], (double)t.o[1], (double)t.lse[0]);
        t.k[40] = NAN;
        run(&t);
        ck_assert_msg(isnan(t.o[0]) && isnan(t.lse[0]), "a NaN score gave %g", (double)t.o[0]);
        t.k[40] = INFINITY;
        run(&t);
        ck_assert_msg(isnan(t.o[0]), "a score of +inf gave %g", (double)t.o[0]);
        drop(&t);
    }
}
END_TEST

START_TEST(grouped_heads_are_repeated_heads)
{
    static const int q_lens[] = {80, 130}; /* tiles of one head each: the grouping changes no shape */
    for (int e = 0; e < n_engines; e++)
        for (size_t n = 0; n < LEN(q_lens); n++) {
            struct tensors grouped = make(engines[e], "attn:f32:h6/2:q%d:k150:d24/20:causal-br", q_lens[n]);
            struct tensors repeated = make(engines[e], "attn:f32:h6:q%d:k150:d24/20:causal-br", q_lens[n]);
            size_t k_head = 150 * 24, v_head = 150 * 20;
            for (size_t h = 0; h < 6; h++) {
                memcpy(repeated.k + h * k_head, grouped.k + h / 3 * k_head, k_head * sizeof(float));
                memcpy(repeated.v + h * v_head, grouped.v + h / 3 * v_head, v_head * sizeof(float));
            }
            run(&grouped);
            run(&repeated);
            ck_assert(same_bits(grouped.o, repeated.o, grouped.o_count) &&
                      same_bits(grouped.lse, repeated.lse, grouped.rows));
            drop(&grouped);
            drop(&repeated);
        }
}
END_TEST

START_TEST(same_bits_every_time)
{
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:h4/2:q5:k700:d24/20:splits=4");
        clattn_plan *plan = plan_of(&t);
        run_with(&t, plan);
        float *o = copy_of(t.o, t.o_count), *lse = copy_of(t.lse, t.rows);
        for (int n = 0; n < 10; n++) {
            run_with(&t, plan);
            ck_assert(same_bits(t.o, o, t.o_count) && same_bits(t.lse, lse, t.rows));
        }
        clattn_plan_destroy(plan);
        free(o), free(lse);
        drop(&t);
    }
}
END_TEST

/* On an out-of-order queue the wait list alone orders the work: the operator's keys are an earlier operator's
 * output. */
START_TEST(events_order_the_work)
{
    cl_command_queue_properties has = 0;
    clGetDeviceInfo(clattn_context_device(ctx), CL_DEVICE_QUEUE_PROPERTIES, sizeof has, &has, NULL);
    cl_command_queue queue = make_queue(has & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:q200:k200:d24:splits=1");
        t.a.flags = 0;
        clattn_plan *plan = plan_of(&t);
        size_t bytes = t.q_count * sizeof(float);
        enum { LINKS = 8 };
        cl_mem chain[LINKS + 1], k = buffer(bytes, t.k), v = buffer(bytes, t.v);
        cl_event events[LINKS];
        float *results[3];
        for (int n = 0; n <= LINKS; n++)
            chain[n] = buffer(bytes, t.q);
        for (int trial = 0; trial < 3; trial++) {
            for (int n = 0; n < LINKS; n++) {
                clattn_io io = CLATTN_IO_INIT;
                io.q = chain[n];
                io.k = k;
                io.v = v;
                io.o = chain[n + 1];
                ck_assert_int_eq(clattn_enqueue_forward(plan, queue, &io, n > 0,
                                                        n > 0 ? &events[n - 1] : NULL, &events[n]),
                                 CLATTN_OK);
                if (trial == 0)
                    clFinish(queue); /* the order that the other trials must reach by events */
            }
            results[trial] = allocate(t.q_count);
            ck_assert_int_eq(clEnqueueReadBuffer(queue, chain[LINKS], CL_TRUE, 0, bytes, results[trial], 1,
                                                 &events[LINKS - 1], NULL),
                             CL_SUCCESS);
            for (int n = 0; n < LINKS; n++)
                clReleaseEvent(events[n]);
        }
        ck_assert(same_bits(results[0], results[1], t.q_count) &&
                  same_bits(results[0], results[2], t.q_count));
        ck_assert(!same_bits(results[0], t.q, t.q_count));
        for (int n = 0; n <= LINKS; n++)
            clReleaseMemObject(chain[n]);
        clReleaseMemObject(k);
        clReleaseMemObject(v);
        for (int trial = 0; trial < 3; trial++)
            free(results[trial]);
        clattn_plan_destroy(plan);
        drop(&t);
    }
    clReleaseCommandQueue(queue);
}
END_TEST

/* ---- tiles ---- */
enum { EMPTY, PARTIAL, FULL };

/* Keys of a tile, as the plan tells; the same for a problem of this kind with or without its masks. */
static int tile_keys(const struct tensors *t)
{
    char text[8192];
    clattn_plan *plan = NULL;
    int rows, keys;
    ck_assert_int_eq(clattn_plan_create(&plan, ctx, &t->a), CLATTN_OK);
    ck_assert_int_eq(clattn_plan_explain(plan, text, sizeof text), CLATTN_OK);
    clattn_plan_destroy(plan);
    const char *tile = strstr(text, "tile of ");
    ck_assert_ptr_nonnull(tile);
    ck_assert_int_eq(sscanf(tile, "tile of %d rows x %d keys", &rows, &keys), 2);
    return keys;
}

/* The shares of tiles that a pattern lets be empty, partial or full, over 1024 x 1024. */
START_TEST(counted_tiles)
{
    static const struct {
        const char *pattern;
        double empty_low, empty_high, partial_low, partial_high;
    } cases[] = {
        {"full", 0, 0, 0, 0},
        {"causal-tl", 0.35, 0.50, 0.005, 0.20},
        {"window64-causal-tl", 0.70, 0.97, 0.01, 0.30},
        {"prefix512-tl", 0.28, 0.375, 0.001, 0.10}, /* hidden: a square of 1/4 and a triangle of 1/8 */
        {"around64-tl", 0.60, 0.95, 0.02, 0.40},
    };
    for (int e = 0; e < n_engines; e++)
        for (size_t i = 0; i < LEN(cases); i++) {
            struct tensors t = make(engines[e], "attn:f32:q1024:k1024:d16:%s:count", cases[i].pattern);
            run(&t);
            double all = (double)t.counters[EMPTY] + t.counters[PARTIAL] + t.counters[FULL];
            double empty = t.counters[EMPTY] / all, partial = t.counters[PARTIAL] / all;
            double across = 512 % tile_keys(&t) ? 0.05 : 0; /* of tiles that lie across a prefix's end */
            printf("# %s, %s: %u empty, %u partial, %u full\n", engines[e], cases[i].pattern,
                   t.counters[EMPTY], t.counters[PARTIAL], t.counters[FULL]);
            ck_assert(all >= 16 && t.counters[3] == 0);
            ck_assert_msg(empty >= cases[i].empty_low && empty <= cases[i].empty_high, "%s on %s: %.3f empty",
                          cases[i].pattern, engines[e], empty);
            ck_assert_msg(partial >= cases[i].partial_low && partial <= cases[i].partial_high + across,
                          "%s on %s: %.3f partial", cases[i].pattern, engines[e], partial);
            drop(&t);
        }
}
END_TEST

/* A pattern that ends in the middle, at most inside one tile of five: the keys behind it are empty tiles, and
 * not read. */
START_TEST(empty_tiles_are_not_read)
{
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:q256:k4096:d16:count:splits=1");
        t.a.pattern = clattn_mask("k < 2048", CLATTN_NO_CORNER);
        run(&t);
        uint32_t empty = t.counters[EMPTY], seen = t.counters[PARTIAL] + t.counters[FULL];
        bool across = 2048 % tile_keys(&t); /* a tile lies across the pattern's end */
        bool right =
            across ? t.counters[PARTIAL] <= seen / 5 && seen - t.counters[PARTIAL] <= empty && empty <= seen
                   : t.counters[PARTIAL] == 0 && empty == seen;
        ck_assert_msg(empty > 0 && right, "%s: %u empty, %u partial, %u full", engines[e], empty,
                      t.counters[PARTIAL], t.counters[FULL]);
        float *o = copy_of(t.o, t.o_count);
        for (size_t i = 2048 * 16; i < t.k_count; i++)
            t.k[i] = t.v[i] = NAN;
        run(&t);
        ck_assert(same_bits(t.o, o, t.o_count) && t.counters[PARTIAL] + t.counters[FULL] == seen);
        t.a.kv_len = 2048; /* the same without these keys at all */
        t.a.pattern = clattn_full();
        run(&t);
        ck_assert(same_bits(t.o, o, t.o_count) && t.counters[EMPTY] == 0 && t.counters[FULL] == seen);
        free(o);
        drop(&t);
    }
}
END_TEST

/* A NaN behind a causal edge that no tile of the last rows may touch: what no row sees is in empty or partial
 * tiles only. */
START_TEST(nothing_visible_visits_nothing)
{
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:q300:k300:d16:count");
        t.a.pattern = clattn_mask("k < 0", CLATTN_NO_CORNER);
        memset(t.k, 0xff, t.k_count * sizeof *t.k);
        memset(t.v, 0xff, t.v_count * sizeof *t.v);
        run(&t);
        ck_assert(t.counters[PARTIAL] == 0 && t.counters[FULL] == 0 && t.counters[EMPTY] > 0);
        for (size_t i = 0; i < t.o_count; i++)
            ck_assert(t.o[i] == 0);
        for (size_t i = 0; i < t.rows; i++)
            ck_assert(t.lse[i] == -INFINITY);
        drop(&t);
    }
}
END_TEST

/* What was made of arrays that stay serves until the caller says that they changed. */
START_TEST(arrays_that_stay)
{
    enum { LENGTH = 1024 };
    static int32_t apart[LENGTH], alike[LENGTH]; /* four documents, one */
    for (int i = 0; i < LENGTH; i++)
        apart[i] = i / (LENGTH / 4);
    for (int e = 0; e < n_engines; e++) {
        struct tensors t = make(engines[e], "attn:f32:q%d:k%d:d16:count:splits=1", LENGTH, LENGTH);
        t.a.n_arrays = 1;
        t.a.arrays[0] = (clattn_array){"doc", CLATTN_I32, 1, {LENGTH}};
        t.a.pattern = clattn_mask("doc[q] == doc[k]", CLATTN_NO_CORNER);
        t.array = apart;
        run(&t);
        const uint32_t empty = t.counters[EMPTY];
        float *o_apart = copy_of(t.o, t.o_count);
        t.array = alike;
        run(&t);
        float *o_alike = copy_of(t.o, t.o_count);
        ck_assert(empty > 0 && t.counters[EMPTY] == 0 && !same_bits(o_alike, o_apart, t.o_count));

        t.a.flags |= CLATTN_ARRAYS_STAY;
        clattn_plan *plan = plan_of(&t);
        for (int round = 0; round < 4; round++) { /* twice each, and once before the plan is told */
            t.array = round < 2 ? apart : alike;
            if (round == 2) {
                run_with(&t, plan);
                ck_assert_msg(t.counters[EMPTY] == empty, "%s: tables were made again", engines[e]);
                ck_assert_int_eq(clattn_plan_arrays_changed(plan), CLATTN_OK);
            }
            run_with(&t, plan);
            ck_assert_msg(same_bits(t.o, round < 2 ? o_apart : o_alike, t.o_count) &&
                              t.counters[EMPTY] == (round < 2 ? empty : 0),
                          "%s, round %d: %u empty", engines[e], round, t.counters[EMPTY]);
        }
        clattn_plan_destroy(plan);
        free(o_apart);
        free(o_alike);
        drop(&t);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("properties");
    TCase *numbers = tcase_create("numbers"), *bits = tcase_create("bits"), *tiles = tcase_create("tiles");
    TCase *cases[] = {numbers, bits, tiles};
    tcase_add_test(numbers, constant_values_give_the_constant);
    tcase_add_test(numbers, order_of_keys_does_not_matter);
    tcase_add_test(numbers, shifted_logits_move_lse_alone);
    tcase_add_test(numbers, linear_in_values);
    tcase_add_test(numbers, many_small_weights_count);
    tcase_add_test(numbers, split_plans_agree);
    tcase_add_test(numbers, merged_halves_are_the_whole);
    tcase_add_test(bits, the_future_changes_no_bit);
    tcase_add_test(bits, hidden_keys_may_hold_anything);
    tcase_add_test(bits, nan_reaches_only_who_sees_it);
    tcase_add_test(bits, a_nan_query_stays_in_its_row);
    tcase_add_test(bits, infinite_scores);
    tcase_add_test(bits, grouped_heads_are_repeated_heads);
    tcase_add_test(bits, same_bits_every_time);
    tcase_add_test(bits, events_order_the_work);
    tcase_add_test(tiles, counted_tiles);
    tcase_add_test(tiles, empty_tiles_are_not_read);
    tcase_add_test(tiles, nothing_visible_visits_nothing);
    tcase_add_test(tiles, arrays_that_stay);
    for (size_t i = 0; i < LEN(cases); i++) {
        tcase_add_unchecked_fixture(cases[i], set_up, tear_down);
        suite_add_tcase(suite, cases[i]);
    }
    return run_suite(suite);
}
