/* SPDX-License-Identifier: MIT
 * check_delta.c - dense attention of every n-th row, against the double reference of the whole problem, and
 * the correction that is made of it (AT-31: with every row it is dense attention). */
#include "tests/on_queue.h"
#include "tests/suite.h"
#include "tool/workload.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* A problem with a mask whose rows are not all alike. */
static clattn_attention problem(const char *mask, clattn_corner corner)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    a.batch = 2;
    a.heads = 4;
    a.kv_heads = 2;
    a.q_len = 45;
    a.kv_len = 130;
    a.dim = a.dim_v = 16;
    a.pattern = clattn_mask(mask, corner);
    return a;
}

/* ---- the anchors' rows ---- */
static void run_rows(const struct workload *w, const clattn_attention *rows, float *o)
{
    clattn_plan *plan;
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    ck_assert_int_eq(clattn_plan_create(&plan, ctx, rows), CLATTN_OK);
    io.q = w->q;
    io.k = w->k;
    io.v = w->v;
    io.o = o;
    io.key_lengths = w->key_lengths;
    for (int i = 0; i < rows->n_arrays; i++)
        io.arrays[i] = w->arrays[i];
    ck_assert_int_eq(clattn_run_forward(plan, &io), CLATTN_OK);
    clattn_plan_destroy(plan);
}

/* Every row of o is the one of the problem that lies `every' times as far. */
static void compare_rows(const struct workload *w, const clattn_attention *rows, int64_t every,
                         const float *o)
{
    const struct ref_problem p = workload_reference(w);
    for (int64_t n = 0; n < rows->batch * rows->heads * rows->q_len; n++) {
        const int64_t i = n % rows->q_len, h = n / rows->q_len % rows->heads,
                      b = n / rows->q_len / rows->heads;
        double wanted[16], lse, bound = workload_f32_bound(w, b, h, i * every);
        ref_row(&p, b, h, i * every, NULL, wanted, &lse);
        for (int d = 0; d < 16; d++)
            ck_assert_msg(fabs((double)o[n * 16 + d] - wanted[d]) <= bound,
                          "%s, every %d: entry %d, head %d, row %d: %g, not %g", rows->pattern.text,
                          (int)every, (int)b, (int)h, (int)i, (double)o[n * 16 + d], wanted[d]);
    }
}

static void check_rows(const clattn_attention *a, int64_t every)
{
    struct workload w;
    clattn_attention rows = CLATTN_ATTENTION_INIT;
    ck_assert_int_eq(workload_make(&w, a, 7, WORKLOAD_NORMAL), CLATTN_OK);
    ck_assert_int_eq(clattn_delta_rows(&w.problem, every, &rows, NULL, 0), CLATTN_OK);
    ck_assert_int_eq(rows.q_len, (a->q_len + every - 1) / every);
    float *o = malloc((size_t)(rows.batch * rows.heads * rows.q_len) * 16 * sizeof *o);
    run_rows(&w, &rows, o);
    compare_rows(&w, &rows, every, o);
    free(o);
    workload_free(&w);
}

START_TEST(rows_of_the_problem)
{
    static const int64_t steps[] = {1, 2, 7, 44, 64};
    for (int n = 0; n < LEN(steps); n++) {
        clattn_attention a = problem("k <= q", _i ? CLATTN_TOP_LEFT : CLATTN_BOTTOM_RIGHT);
        check_rows(&a, steps[n]);
    }
}
END_TEST

/* Positions in scores, weights and arrays, lengths of queries and of keys, and rows that lie apart. */
START_TEST(rows_of_other_rules)
{
    clattn_attention a = problem("k < q_len / 2 | q - k < 20", CLATTN_BOTTOM_RIGHT);
    a.flags = CLATTN_KEY_LENGTHS | CLATTN_WANT_LSE;
    a.score = clattn_score("score - 0.125 * (q - k)");
    check_rows(&a, 8);
    a = problem("doc[b, q] == doc[b, k] & k <= q + 85", CLATTN_TOP_LEFT);
    a.weight = clattn_weight("softplus(score) + 0.01 * float(q)");
    a.normaliser = CLATTN_L1;
    a.n_arrays = 1;
    a.arrays[0] = (clattn_array){"doc", CLATTN_I32, 2, {2, 130}};
    a.q.token = 37;
    a.q.head = 37 * 45;
    a.q.batch = 4 * 37 * 45;
    check_rows(&a, 4);
}
END_TEST

/* Lists count for nothing. */
START_TEST(rows_of_a_pruned_problem)
{
    clattn_attention rows = CLATTN_ATTENTION_INIT, of_dense = rows,
                     dense = problem("k <= q", CLATTN_BOTTOM_RIGHT), pruned = dense;
    clattn_select s = CLATTN_SELECT_INIT;
    for (int64_t every = 1; every < 9; every += 7) {
        char text[2][480];
        pruned.pattern = clattn_both(dense.pattern, clattn_selected(&s, CLATTN_BOTTOM_RIGHT));
        pruned.list = (clattn_list)CLATTN_LIST_INIT;
        ck_assert_int_eq(clattn_list_fit(&pruned.list, &pruned, CLATTN_SCOPE_HEAD, 16, 8, 4), CLATTN_OK);
        ck_assert_int_eq(clattn_delta_rows(&pruned, every, &rows, NULL, 0), CLATTN_OK);
        ck_assert_int_eq(clattn_delta_rows(&dense, every, &of_dense, NULL, 0), CLATTN_OK);
        ck_assert_int_eq(clattn_rule_print(&rows, CLATTN_MASK_RULE, text[0], 480), CLATTN_OK);
        ck_assert_int_eq(clattn_rule_print(&of_dense, CLATTN_MASK_RULE, text[1], 480), CLATTN_OK);
        ck_assert_str_eq(text[0], text[1]);
    }
}
END_TEST

/* ---- the correction ---- */
static cl_mem buffer(const void *data, int64_t bytes)
{
    cl_int code;
    cl_mem mem = clCreateBuffer(clattn_context_cl(ctx), CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                                (size_t)bytes, (void *)(uintptr_t)data, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return mem;
}

static void correct(const clattn_attention *a, int64_t every, const void *anchors, int64_t anchor_bytes,
                    void *o, int64_t bytes)
{
    clattn_delta_plan *plan;
    cl_event event;
    cl_mem from = buffer(anchors, anchor_bytes), to = buffer(o, bytes);
    ck_assert_int_eq(clattn_delta_plan_create(&plan, ctx, a, every), CLATTN_OK);
    ck_assert_int_eq(clattn_enqueue_delta(plan, queue, from, to, 0, NULL, &event), CLATTN_OK);
    ck_assert_int_eq(clEnqueueReadBuffer(queue, to, CL_TRUE, 0, (size_t)bytes, o, 1, &event, NULL),
                     CL_SUCCESS);
    clReleaseEvent(event);
    clReleaseMemObject(from);
    clReleaseMemObject(to);
    clattn_delta_plan_destroy(plan);
}

/* Numbers whose sums are exact in every storage: whole ones. */
static void draw(int32_t type, void *data, int64_t n, uint32_t seed)
{
    for (int64_t i = 0; i < n; i++)
        ref_narrow(type, (double)((int)((((uint32_t)i + seed) * 2654435761u) >> 20) % 17 - 8), data, i);
}

/* Rows that lie apart, of every storage; what lies between them stays. */
START_TEST(sums_of_whole_numbers)
{
    static const int64_t steps[] = {1, 3, 16, 45, 1000};
    for (int n = 0; n < LEN(steps); n++) {
        const int64_t every = steps[n], stretches = (45 + every - 1) / every, count = 5 + 2 * 4 * 45 * 19;
        clattn_attention a = problem("k <= q", CLATTN_TOP_LEFT);
        a.type_o = _i;
        a.o = (clattn_layout){5, 4 * 45 * 19, 19,
                              4 * 19}; /* [batch][token][head][d], 3 elements after each row */
        float o[5 + 2 * 4 * 45 * 19], wanted[5 + 2 * 4 * 45 * 19], anchors[2 * 4 * 45 * 16];
        draw(_i, o, count, 1);
        draw(_i, anchors, 8 * stretches * 16, 2);
        memcpy(wanted, o, sizeof wanted);
        for (int64_t r = 0; r < 8 * 45 * 16; r++) {
            const int64_t d = r % 16, i = r / 16 % 45, h = r / 16 / 45 % 4, b = r / 16 / 45 / 4;
            const int64_t at = 5 + b * 4 * 45 * 19 + h * 19 + d, to = at + i * 76,
                          first = at + i / every * every * 76;
            const double dense = ref_widen(_i, anchors, ((b * 4 + h) * stretches + i / every) * 16 + d);
            ref_narrow(_i, ref_widen(_i, o, to) + dense - ref_widen(_i, o, first), wanted, to);
        }
        correct(&a, every, anchors, 8 * stretches * 16 * workload_type_bytes(_i), o,
                count * workload_type_bytes(_i));
        ck_assert(!memcmp(o, wanted, (size_t)(count * workload_type_bytes(_i))));
    }
}
END_TEST

/* Each row its own anchor: bit for bit dense attention. */
START_TEST(at_31_every_row)
{
    struct workload w, narrow;
    clattn_plan *plan;
    clattn_attention dense = problem("k <= q", CLATTN_BOTTOM_RIGHT),
                     pruned = problem("k <= q & q - k < 9", CLATTN_BOTTOM_RIGHT), rows = CLATTN_ATTENTION_INIT;
    float anchors[2 * 4 * 45 * 16];
    ck_assert_int_eq(workload_make(&w, &dense, 3, WORKLOAD_NORMAL), CLATTN_OK);
    ck_assert_int_eq(workload_make(&narrow, &pruned, 3, WORKLOAD_NORMAL), CLATTN_OK);
    ck_assert_int_eq(clattn_plan_create(&plan, ctx, &dense), CLATTN_OK);
    ck_assert_int_eq(workload_run(&w, plan, NULL), CLATTN_OK);
    clattn_plan_destroy(plan);
    ck_assert_int_eq(clattn_plan_create(&plan, ctx, &pruned), CLATTN_OK);
    ck_assert_int_eq(workload_run(&narrow, plan, NULL), CLATTN_OK);
    clattn_plan_destroy(plan);
    ck_assert(memcmp(w.o, narrow.o, sizeof anchors));
    ck_assert_int_eq(clattn_delta_rows(&dense, 1, &rows, NULL, 0), CLATTN_OK);
    run_rows(&w, &rows, anchors);
    correct(&narrow.problem, 1, anchors, sizeof anchors, narrow.o, sizeof anchors);
    ck_assert(!memcmp(w.o, narrow.o, sizeof anchors));
    workload_free(&w);
    workload_free(&narrow);
}
END_TEST

/* ---- misuse ---- */
START_TEST(misuses)
{
    char text[600];
    clattn_attention a = problem("k <= q", CLATTN_TOP_LEFT), rows = CLATTN_ATTENTION_INIT;
    clattn_delta_plan *plan, *none = (clattn_delta_plan *)ctx;
    static const char zeros[1 << 16];
    cl_mem enough = buffer(zeros, sizeof zeros), other = buffer(zeros, sizeof zeros),
           scarce = buffer(zeros, 16);
    ck_assert_int_eq(clattn_delta_rows(NULL, 1, &rows, NULL, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_delta_rows(&a, 1, NULL, NULL, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_delta_rows(&a, 0, &rows, text, sizeof text), CLATTN_BAD_COUNT);
    ck_assert_msg(strstr(text, "every is 0; from 1") != NULL, "%s", text);
    ck_assert_int_eq(clattn_delta_plan_create(NULL, ctx, &a, 8), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_delta_plan_create(&plan, NULL, &a, 8), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_delta_plan_create(&plan, ctx, NULL, 8), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_delta_plan_create(&plan, ctx, &a, ((int64_t)1 << 30) + 1), CLATTN_BAD_COUNT);
    ck_assert_ptr_null(plan);
    ck_assert_int_eq(clattn_delta_plan_create(&plan, ctx, &a, 8), CLATTN_OK);
    ck_assert_int_eq(clattn_enqueue_delta(NULL, queue, other, enough, 0, NULL, NULL), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_enqueue_delta(none, queue, other, enough, 0, NULL, NULL), CLATTN_BAD_HANDLE);
    ck_assert_int_eq(clattn_enqueue_delta(plan, NULL, other, enough, 0, NULL, NULL), CLATTN_NULL_QUEUE);
    ck_assert_int_eq(clattn_enqueue_delta(plan, queue, other, enough, 1, NULL, NULL), CLATTN_BAD_WAIT_LIST);
    ck_assert_int_eq(clattn_enqueue_delta(plan, queue, NULL, enough, 0, NULL, NULL), CLATTN_NULL_BUFFER);
    ck_assert_int_eq(clattn_enqueue_delta(plan, queue, enough, enough, 0, NULL, NULL),
                     CLATTN_OUTPUT_ALIASES_INPUT);
    ck_assert_int_eq(clattn_enqueue_delta(plan, queue, other, scarce, 0, NULL, NULL), CLATTN_O_TOO_SMALL);
    clattn_context_message(ctx, text, sizeof text);
    ck_assert_msg(strstr(text, "o has 16 bytes and needs 23040") != NULL, "%s", text);
    ck_assert_int_eq(clattn_enqueue_delta(plan, queue, scarce, enough, 0, NULL, NULL), CLATTN_O_TOO_SMALL);
    clattn_context_message(ctx, text, sizeof text);
    ck_assert_msg(strstr(text, "anchor_o has 16 bytes and needs 3072") != NULL, "%s", text);
    clattn_delta_plan_destroy(plan);
    clattn_delta_plan_destroy(NULL);
    a.flags = CLATTN_PACKED;
    a.q_total = 50;
    a.kv_total = 200;
    ck_assert_int_eq(clattn_delta_rows(&a, 8, &rows, text, sizeof text), CLATTN_BAD_FLAGS);
    ck_assert_msg(strstr(text, "packed rows; correct each batch entry") != NULL, "%s", text);
    ck_assert_int_eq(clattn_delta_plan_create(&plan, ctx, &a, 8), CLATTN_BAD_FLAGS);
    a = problem("k <= q", CLATTN_TOP_LEFT);
    for (int i = 0; i < 26; i++) /* different sums, none folds away: written out, longer than a rule may be */
        snprintf(a.pattern.text + strlen(a.pattern.text), 20, " | q * %d < k + 9", 10 + i);
    ck_assert_int_eq(clattn_delta_rows(&a, 8000, &rows, text, sizeof text), CLATTN_EXPR_LIMIT);
    ck_assert_msg(strstr(text, "a multiple of 8000; write it in fewer words") != NULL, "%s", text);
    cl_mem all[] = {enough, other, scarce};
    for (int i = 0; i < LEN(all); i++)
        clReleaseMemObject(all[i]);
}
END_TEST

/* No rows at all: nothing to do, and an event all the same. */
START_TEST(no_rows)
{
    clattn_delta_plan *plan;
    cl_event event;
    clattn_attention a = problem("k <= q", CLATTN_TOP_LEFT), rows = CLATTN_ATTENTION_INIT;
    a.q_len = 0;
    ck_assert_int_eq(clattn_delta_rows(&a, 8, &rows, NULL, 0), CLATTN_OK);
    ck_assert_int_eq(clattn_delta_plan_create(&plan, ctx, &a, 8), CLATTN_OK);
    ck_assert_int_eq(clattn_enqueue_delta(plan, queue, NULL, NULL, 0, NULL, &event), CLATTN_OK);
    ck_assert_int_eq(clWaitForEvents(1, &event), CL_SUCCESS);
    clReleaseEvent(event);
    clattn_delta_plan_destroy(plan);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("delta");
    TCase *device = tcase_create("device");
    tcase_add_checked_fixture(device, set_up, tear_down);
    tcase_add_loop_test(device, rows_of_the_problem, 0, 2);
    tcase_add_test(device, rows_of_other_rules);
    tcase_add_test(device, rows_of_a_pruned_problem);
    tcase_add_loop_test(device, sums_of_whole_numbers, 0, 3);
    tcase_add_test(device, at_31_every_row);
    tcase_add_test(device, misuses);
    tcase_add_test(device, no_rows);
    suite_add_tcase(suite, device);
    return run_suite(suite);
}
