/* SPDX-License-Identifier: MIT
 * check_extension.c - a context that is longer than positions go, as clattn/select.h has it: keys stored
 * without rotation, lists by a selector that turns rows and keys itself, and attention by two problems that
 * are merged, keys of the window at their own distances, sinks and listed keys all at the window's; against
 * double precision. */
#include "tests/draw.h"
#include "tests/on_queue.h"
#include "tests/suite.h"

#include <check.h>
#include <clattn.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADS = 4,
    KV_HEADS = 2,
    ROWS = 24,
    KEYS = 300,
    DIM = 16,
    SINK = 5,
    WINDOW = 32,
    POSITIONS = KEYS,
    MOST_LISTS = 1 << 12
};

static float q[HEADS * ROWS * DIM], k[KV_HEADS * KEYS * DIM], v[KV_HEADS * KEYS * DIM],
    cosines[POSITIONS * DIM / 2], sines[POSITIONS * DIM / 2];
static float parts[2][HEADS * ROWS * DIM], parts_lse[2][HEADS * ROWS], merged[HEADS * ROWS * DIM];
static int32_t lists[MOST_LISTS];

static void fill(float *data, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        data[i] = (float)below(1 << 16) / (1 << 15) - 1;
}

static void fill_all(void)
{
    fill(q, HEADS * ROWS * DIM);
    fill(k, KV_HEADS * KEYS * DIM);
    fill(v, KV_HEADS * KEYS * DIM);
    for (int i = 0; i < POSITIONS * DIM / 2; i++) {
        const double angle = (double)(i / (DIM / 2)) * pow(100, -(double)(i % (DIM / 2)) / (DIM / 2));
        cosines[i] = (float)cos(angle);
        sines[i] = (float)sin(angle);
    }
}

/* Column d of a row turned by a position. */
static double turned(const float *row, int d, int position)
{
    const int half = DIM / 2, pair = d % half;
    const double c = (double)cosines[position * half + pair], s = (double)sines[position * half + pair];
    return (double)row[d] * c + (double)row[d < half ? d + half : pair] * (d < half ? -s : s);
}

/* Rows turned by `at', or each by its own number and what comes before the first. */
static void turn_rows(const float *from, int64_t rows, int64_t tokens, int first, int at, float *to)
{
    for (int64_t r = 0; r < rows; r++)
        for (int d = 0; d < DIM; d++)
            to[r * DIM + d] = (float)turned(from + r * DIM, d, at >= 0 ? at : first + (int)(r % tokens));
}

/* ---- selection and attention ---- */
static clattn_attention problem(const char *mask)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    a.heads = HEADS;
    a.kv_heads = KV_HEADS;
    a.q_len = ROWS;
    a.kv_len = KEYS;
    a.dim = a.dim_v = DIM;
    a.flags = CLATTN_WANT_LSE;
    a.pattern = clattn_both(clattn_causal(CLATTN_BOTTOM_RIGHT), clattn_mask(mask, CLATTN_BOTTOM_RIGHT));
    return a;
}

static cl_mem buffer(const void *data, size_t bytes)
{
    cl_int code;
    cl_mem mem = clCreateBuffer(clattn_context_cl(ctx), CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, bytes,
                                (void *)(uintptr_t)data, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return mem;
}

static void select_blocks(const clattn_select *s, const clattn_list *list)
{
    uint64_t bytes;
    clattn_select_plan *plan;
    clattn_select_io io = CLATTN_SELECT_IO_INIT;
    const clattn_attention a = problem("");
    ck_assert_int_eq(clattn_select_plan_create(&plan, ctx, s, &a), CLATTN_OK);
    ck_assert_int_eq(clattn_list_bytes(list, &bytes), CLATTN_OK);
    ck_assert_uint_le(bytes, sizeof lists);
    io.q = buffer(q, sizeof q);
    io.k = buffer(k, sizeof k);
    io.rope_cos = buffer(cosines, sizeof cosines);
    io.rope_sin = buffer(sines, sizeof sines);
    io.list = buffer(lists, bytes);
    ck_assert_int_eq(clattn_enqueue_select(plan, queue, &io, 0, NULL, NULL), CLATTN_OK);
    ck_assert_int_eq(clEnqueueReadBuffer(queue, io.list, CL_TRUE, 0, bytes, lists, 0, NULL, NULL),
                     CL_SUCCESS);
    cl_mem all[] = {io.q, io.k, io.rope_cos, io.rope_sin, io.list};
    for (int i = 0; i < 5; i++)
        clReleaseMemObject(all[i]);
    clattn_select_plan_destroy(plan);
}

static void attend(const clattn_attention *a, const float *turned_q, const float *turned_k, int part)
{
    clattn_plan *plan;
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    ck_assert_int_eq(clattn_plan_create(&plan, ctx, a), CLATTN_OK);
    io.q = turned_q;
    io.k = turned_k;
    io.v = v;
    io.o = parts[part];
    io.lse = parts_lse[part];
    io.list = a->list.size ? lists : NULL;
    ck_assert_int_eq(clattn_run_forward(plan, &io), CLATTN_OK);
    clattn_plan_destroy(plan);
}

static void merge(void)
{
    clattn_merge m = CLATTN_MERGE_INIT;
    clattn_merge_plan *plan;
    m.parts = 2;
    m.rows = HEADS * ROWS;
    m.dim_v = DIM;
    cl_mem o = buffer(parts, sizeof parts), lse = buffer(parts_lse, sizeof parts_lse),
           to = buffer(merged, sizeof merged);
    ck_assert_int_eq(clattn_merge_plan_create(&plan, ctx, &m), CLATTN_OK);
    ck_assert_int_eq(clattn_enqueue_merge(plan, queue, o, lse, to, NULL, 0, NULL, NULL), CLATTN_OK);
    ck_assert_int_eq(clEnqueueReadBuffer(queue, to, CL_TRUE, 0, sizeof merged, merged, 0, NULL, NULL),
                     CL_SUCCESS);
    cl_mem all[] = {o, lse, to};
    for (int i = 0; i < 3; i++)
        clReleaseMemObject(all[i]);
    clattn_merge_plan_destroy(plan);
}

/* ---- by double precision ---- */
static bool is_listed(const clattn_list *l, int h, int i, int block)
{
    const int64_t at = h / (HEADS / l->scopes) * l->q_blocks + i / l->block_q;
    for (int64_t j = 0; j < lists[l->counts_at / 4 + at]; j++)
        if (lists[l->ids_at / 4 + at * l->capacity + j] == block)
            return true;
    return false;
}

/* One row over all that it keeps, far keys at the window's distance.  Returns how many far ones there were.
 */
static int row(const clattn_list *l, int h, int i, double o[DIM])
{
    const int p = i + KEYS - ROWS, g = h / (HEADS / KV_HEADS);
    const float *own = q + (h * ROWS + i) * DIM;
    double sum = 0;
    int far = 0;
    memset(o, 0, DIM * sizeof *o);
    for (int t = 0; t <= p; t++) {
        const bool near = p - t < WINDOW;
        const float *key = k + (g * KEYS + t) * DIM;
        double score = 0;
        if (!near && t >= SINK && !is_listed(l, h, i, t / l->block_k))
            continue;
        for (int d = 0; d < DIM; d++)
            score += turned(own, d, near ? p : WINDOW) * (near ? turned(key, d, t) : (double)key[d]);
        const double weight = exp(score / sqrt(DIM));
        far += !near;
        sum += weight;
        for (int d = 0; d < DIM; d++)
            o[d] += weight * (double)v[(g * KEYS + t) * DIM + d];
    }
    for (int d = 0; d < DIM; d++)
        o[d] /= sum;
    return far;
}

/* Scores are at most 8: q and k of length 4, scaled by a quarter, and turned ones rounded once; values at
 * most 1; two parts, and their merge, as doc/numerics.md has each. */
static void compare(const clattn_list *l)
{
    const double u = 0x1p-24, spread = 2 * expm1(2 * (DIM / 2 + 3) * u * 8),
                 bound = 3 * (16 * u + 2 * spread);
    int far = 0;
    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < ROWS; i++) {
            double o[DIM];
            far += row(l, h, i, o);
            for (int d = 0; d < DIM; d++)
                ck_assert_msg(fabs((double)merged[(h * ROWS + i) * DIM + d] - o[d]) <= bound,
                              "head %d, row %d: %g, not %g", h, i, (double)merged[(h * ROWS + i) * DIM + d],
                              o[d]);
        }
    ck_assert_int_ge(far, HEADS * ROWS * (SINK + 16)); /* sinks, and two blocks and more */
}

START_TEST(window_and_far_keys_merged)
{
    static float turned_q[HEADS * ROWS * DIM], far_q[HEADS * ROWS * DIM], turned_k[KV_HEADS * KEYS * DIM];
    clattn_select s = CLATTN_SELECT_INIT;
    s.rope = _i ? CLATTN_ROPE_INFLLM : CLATTN_ROPE_RELATIVE;
    s.rope_positions = POSITIONS;
    s.block_q = 16;
    s.budget = 32;
    s.sink = SINK;
    s.window = WINDOW;
    clattn_attention near = problem("q - k < 32"), far = problem("(listed | k < 5) & q - k >= 32");
    far.list = (clattn_list)CLATTN_LIST_INIT;
    ck_assert_int_eq(clattn_select_list(&far.list, &s, &near), CLATTN_OK);
    fill_all();
    select_blocks(&s, &far.list);
    turn_rows(q, HEADS * ROWS, ROWS, KEYS - ROWS, -1, turned_q);
    turn_rows(q, HEADS * ROWS, ROWS, 0, WINDOW, far_q);
    turn_rows(k, KV_HEADS * KEYS, KEYS, 0, -1, turned_k);
    attend(&near, turned_q, turned_k, 0);
    attend(&far, far_q, k, 1);
    merge();
    compare(&far.list);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("extension");
    TCase *device = tcase_create("device");
    tcase_add_checked_fixture(device, set_up, tear_down);
    tcase_add_loop_test(device, window_and_far_keys_merged, 0, 2);
    suite_add_tcase(suite, device);
    return run_suite(suite);
}
