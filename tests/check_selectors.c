/* SPDX-License-Identifier: MIT
 * check_selectors.c - selections on a device against the oracle, list for list; named after the acceptance
 * tests of the specification.
 *
 * Every kernel takes a second to compile and none to run: cases differ in what is an argument (lengths,
 * blocks, budgets, near keys, representatives) as much as they like, and in the rest only where that is the
 * point. */
#include "select/select.h"
#include "tests/select_trial.h"
#include "tests/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEN(array) ((int)CLATTN__LEN(array))

static const int32_t methods[] = {CLATTN_EXTERNAL_SCORE, CLATTN_TREE, CLATTN_STAGED, CLATTN_MINMAX,
                                  CLATTN_POOL_MEAN};
static const int32_t searches[] = {CLATTN_TREE, CLATTN_STAGED};

/* ---- AT-17: given keys ---- */
START_TEST(at_17_given_scores)
{
    static const float odd[] = {NAN, -INFINITY, INFINITY, -0.0f, 0.0f, -NAN, 3.4e38f, -3.4e38f};
    const int items[] = {0, 16};
    pretend_groups(items[_i]);
    for (int n = 0; n < 24; n++) {
        char what[80];
        const int64_t blocks = 1 + select_below(n % 4 ? 60 : 3000);
        struct select_trial t = select_trial_new(2, 1, 3, blocks, 1);
        t.s.scope = (int32_t)select_below(2);
        t.s.block_k = 1;
        select_trial_mask(&t, "", CLATTN_TOP_LEFT);
        select_trial_method(&t, CLATTN_EXTERNAL_SCORE, 1 + select_below(blocks));
        select_trial_fill(&t, true);
        for (int64_t i = 0; i < blocks; i++)
            if (select_below(3) == 0)
                t.scores[i] = odd[select_below(LEN(odd))];
        snprintf(what, sizeof what, "%d items, case %d", items[_i], n);
        select_trial_check(&t, what);
        select_trial_free(&t);
    }
}
END_TEST

/* ---- AT-02: structure, by being the oracle's ---- */
START_TEST(at_02_random_shapes)
{
    for (int n = 0; n < select_cases(200); n++) {
        char what[80];
        struct select_trial t = select_trial_new(4, 2, 1 + select_below(40), select_below(120), 3);
        draw_selection(&t, methods[_i]);
        t.a.scale = n % 5 ? 0.0 : -1.0;
        snprintf(what, sizeof what, "method %d, case %d", (int)methods[_i], n);
        select_trial_once(&t, n % 2, what);
    }
}
END_TEST

static struct select_trial drawn(int32_t method, int64_t q_len, int64_t kv_len, int64_t dim)
{
    struct select_trial t = select_trial_new(4, 2, q_len, kv_len, dim);
    draw_selection(&t, method);
    return t;
}

START_TEST(at_07_edges)
{
    select_trial_edges(drawn, methods[_i], 3);
}
END_TEST

/* ---- AT-03, AT-35: rounding, groups, local memory ---- */
START_TEST(at_03_at_04_dims)
{
    static const int64_t dims[] = {80, 576};
    static const int32_t types[] = {CLATTN_F16, CLATTN_BF16};
    for (int n = 0; n < 3; n++) {
        struct select_trial t = select_trial_new(4, 2, 20, 200, dims[_i]);
        t.a.type_q = t.a.type_k = types[_i];
        draw_selection(&t, _i ? CLATTN_TREE : CLATTN_STAGED);
        t.s.stride_q = _i ? 1 : 16; /* more than three vectors of rows, or one */
        select_trial_once(&t, false, "dim");
    }
}
END_TEST

START_TEST(at_03_at_04_groups)
{
    pretend_groups(16);
    for (int n = 0; n < 20; n++) {
        /* 20: loads by fours */
        struct select_trial t = select_trial_new(4, 2, 20, 1 + select_below(400), n / 2 % 2 ? 20 : 3);
        draw_selection(&t, searches[n / 2 % 2]);
        select_trial_once(&t, n % 2, "16 items");
    }
}
END_TEST

/* 1 KiB of local memory, which no nodes fit: they lie in the workspace. */
START_TEST(at_35_embedded)
{
    pretend_groups(16);
    select_ctx->facts.local_bytes = 1024;
    for (int n = 0; n < 6; n++) {
        struct select_trial t = select_trial_new(4, 2, 40, 700, 3);
        draw_selection(&t, CLATTN_TREE);
        t.s.block_k = 2;
        t.s.stride_k = 1;
        select_trial_method(&t, CLATTN_TREE, 90);
        select_trial_once(&t, n % 2, "nodes in the workspace");
    }
}
END_TEST

/* By products and sums where there is no fma. */
START_TEST(at_03_products_and_sums)
{
    select_ctx->facts.has_fma = !select_ctx->facts.has_fma;
    for (int n = 0; n < 6; n++) {
        struct select_trial t = select_trial_new(4, 2, 20, 300, 3);
        draw_selection(&t, CLATTN_TREE);
        select_trial_once(&t, false, "the other arithmetic");
    }
}
END_TEST

/* ---- AT-04: presets ---- */
START_TEST(at_04_presets)
{
    static const struct {
        int n;
        clattn_stage stages[3];
    } presets[] = {{3, {{256, 32768}, {32, 8192}, {8, 2048}}},
                   {3, {{64, 32768}, {32, 16384}, {16, 4096}}},
                   {1, {{32, 16384}}},
                   {3, {{64, 2048}, {16, 512}, {4, 128}}}};
    struct select_trial t = select_trial_new(4, 2, 1, 100003, 3);
    draw_selection(&t, CLATTN_STAGED);
    t.s.stride_k = 1;
    t.s.method = CLATTN_STAGED;
    t.s.n_stages = presets[_i].n;
    memcpy(t.s.stages, presets[_i].stages, sizeof presets[_i].stages);
    t.s.block_k = (int32_t)t.s.stages[t.s.n_stages - 1].chunk;
    t.s.budget = t.s.stages[t.s.n_stages - 1].keep;
    t.s.sink = 256;
    t.s.window = 1024;
    select_trial_once(&t, false, "preset");
}
END_TEST

/* ---- AT-05, AT-06 ---- */
START_TEST(at_05_scaled_queries)
{
    struct select_trial t = select_trial_new(4, 2, 20, 150, 3);
    uint64_t bytes;
    draw_selection(&t, methods[1 + _i]);
    select_trial_fill(&t, false);
    ck_assert_int_eq(select_trial_run(&t), CLATTN_OK);
    ck_assert_int_eq(clattn_list_bytes(&t.list, &bytes), CLATTN_OK);
    int32_t *before = malloc(bytes);
    memcpy(before, t.lists, bytes);
    for (int64_t i = 0; i < 4 * 20 * 3; i++)
        ((float *)t.q)[i] *= 0x1p20f;
    t.a.scale = 7;
    select_trial_check(&t, "scaled");
    ck_assert(!memcmp(before, t.lists, bytes));
    free(before);
    select_trial_free(&t);
}
END_TEST

/* Constant keys: the lowest blocks; keys that are no numbers: the last; and rows that see nothing. */
START_TEST(at_06_ties)
{
    for (int n = 0; n < 6; n++) {
        struct select_trial t = select_trial_new(4, 2, 20, 150, 3);
        draw_selection(&t, methods[1 + _i]);
        select_trial_fill(&t, true);
        for (int64_t i = 0; i < 2 * 150 * 3; i++)
            ((float *)t.k)[i] = n < 2 ? 1 : i / 3 % (n + 2) < 2 ? NAN : n == 3 ? INFINITY : ((float *)t.k)[i];
        select_trial_check(&t, "ties");
        select_trial_free(&t);
    }
}
END_TEST

/* ---- AT-13: keys that were not looked at ---- */
START_TEST(at_13_unprobed_keys)
{
    select_trial_unprobed(drawn, searches[_i], 3);
}
END_TEST

/* ---- AT-14: what is looked at, counted ---- */
START_TEST(at_14_probes)
{
    select_trial_probes(drawn, searches[_i], 3);
}
END_TEST

/* ---- AT-15, AT-16, AT-19 ---- */
/* Heads of a group have lists of their own, a group's, or all one. */
START_TEST(at_15_scopes)
{
    for (int32_t scope = CLATTN_SCOPE_HEAD; scope <= CLATTN_SCOPE_ALL; scope++)
        for (int n = 0; n < 4; n++) { /* groups of 1, 4 and 8 heads: sets of rows have as many vectors */
            struct select_trial t = select_trial_new(8, n < 2 ? 2 : scope ? 8 : 1, 17, 150, 3);
            draw_selection(&t, n % 2 ? CLATTN_STAGED : CLATTN_TREE);
            t.s.scope = scope;
            select_trial_once(&t, false, "scope");
        }
}
END_TEST

START_TEST(at_16_lengths)
{
    for (int n = 0; n < 12; n++) {
        struct select_trial t = drawn(n % 2 ? CLATTN_TREE : CLATTN_POOL_MEAN, 40, 150, 3);
        if (n % 2)
            select_trial_pack(&t, 3);
        else
            select_trial_lengths(&t, 3);
        select_trial_once(&t, n % 3 == 0, n % 2 ? "packed" : "key lengths");
    }
}
END_TEST

/* Masks with holes, of both sides, that differ from head to head, without positions. */
START_TEST(at_19_masks)
{
    static const char *const masks[] = {"k // 16 == q // 16 | k % 50 == 7",
                                        "k <= q & (k + h) // 20 % 3 != 0"};
    for (int n = 0; n < 6; n++) {
        struct select_trial t = select_trial_new(4, 2, 40, 300, 3);
        select_trial_mask(&t, masks[_i], CLATTN_BOTTOM_RIGHT);
        draw_selection(&t, _i ? CLATTN_STAGED : CLATTN_TREE);
        t.s.window = select_below(30);
        select_trial_once(&t, n % 2, masks[_i]);
    }
}
END_TEST

/* ---- AT-20: given lists ---- */
/* Of a list what rises, is there and is seen. */
START_TEST(at_20_given_lists)
{
    struct select_trial t = select_trial_new(4, 2, 40, 300, 3);
    uint64_t bytes;
    draw_selection(&t, CLATTN_EXTERNAL_LIST);
    t.s.block_k = 4;
    t.s.stride_k = 1;
    t.s.budget = 40;
    t.s.sink = 10;
    t.s.window = 20;
    select_trial_fill(&t, false);
    ck_assert_int_eq(clattn_list_bytes(&t.list, &bytes), CLATTN_OK);
    t.given = calloc(1, bytes);
    const int32_t ids[] = {0, 2, 1, 17, 17, 70, 65, 66, INT32_MAX, -5};
    for (int r = 0; r < 6; r++) {
        t.given[t.list.counts_at / 4 + r] = r == 5 ? -3 : 10 + r;
        memcpy(t.given + t.list.ids_at / 4 + 10 * r, ids, sizeof ids);
    }
    ck_assert_int_eq(select_trial_run(&t), CLATTN_OK);
    for (int r = 0; r < 6; r++) { /* rows of block m see keys up to 275 + 16 m, but 299, that are not near */
        static const int32_t wanted[] = {2, 17, 65, 66};
        const int32_t *got = t.lists + t.list.ids_at / 4 + 10 * r, count = t.lists[t.list.counts_at / 4 + r];
        const int n = r == 5 ? 0 : r % 3 == 0 ? 2 : 4;
        ck_assert_int_eq(count, n);
        for (int j = 0; j < 10; j++)
            ck_assert_int_eq(got[j], j < n ? wanted[j] : -1);
    }
    select_trial_free(&t);
}
END_TEST

/* As many queries as keys, a window, and no corner; two entries. */
START_TEST(squares_need_no_corner)
{
    struct select_trial t = select_trial_new(4, 2, 90, 90, 3);
    t.a.batch = 2;
    select_trial_mask(&t, "", CLATTN_NO_CORNER);
    draw_selection(&t, CLATTN_TREE);
    t.s.window = 7;
    select_trial_once(&t, false, "square");
}
END_TEST

/* The problem that reads the lists may say so. */
START_TEST(listed_counts_as_true)
{
    struct select_trial t = select_trial_new(4, 2, 20, 200, 3);
    draw_selection(&t, CLATTN_TREE);
    select_trial_fill(&t, false);
    t.a.pattern = clattn_both(t.a.pattern, clattn_selected(&t.s, CLATTN_BOTTOM_RIGHT));
    t.a.list = t.list;
    select_trial_check(&t, "listed");
    select_trial_free(&t);
}
END_TEST

START_TEST(streaming_lists_are_empty)
{
    struct select_trial t = select_trial_new(4, 2, 40, 300, 3);
    select_trial_method(&t, CLATTN_STREAMING, 0);
    select_trial_once(&t, false, "streaming");
}
END_TEST

/* ---- AT-34: a million keys ---- */
START_TEST(at_34_a_million_keys)
{
    struct select_trial t = select_trial_new(4, 2, 1, 1 << 20, 3);
    draw_selection(&t, searches[_i]);
    t.s.block_k = 8;
    t.s.stride_k = 1;
    select_trial_method(&t, searches[_i], 512);
    t.s.flags = CLATTN_COUNT_PROBES;
    t.s.sink = 16;
    t.s.window = 256;
    select_trial_fill(&t, false);
    select_trial_check(&t, "a million keys");
    ck_assert_int_lt((int64_t)t.counters[1], _i ? 1 << 21 : 1 << 17);
    select_trial_free(&t);
}
END_TEST

/* ---- rotation ---- */
/* Every kind by every method that has it; blocks of many sizes, and heads that share a list. */
START_TEST(rope_lists)
{
    for (int n = 0; n < 24; n++) {
        char what[80];
        const int32_t rope = 1 + n % 3,
                      method = rope == CLATTN_ROPE_INFLLM ? methods[2 + n / 3 % 2] : searches[n / 3 % 2];
        struct select_trial t = select_trial_new(4, 2, 20 + n, 200 + select_below(200), 6);
        t.a.scale = n % 5 ? 0.0 : -1.0;
        draw_selection(&t, method);
        select_trial_rope(&t, rope, 800); /* more than is asked for; with fewer positions the last serves */
        snprintf(what, sizeof what, "rope %d, method %d, case %d", (int)rope, (int)method, n);
        select_trial_once(&t, n % 4 == 0, what);
    }
}
END_TEST

/* Groups of 16 items and columns that a device would load by fours, lengths, f16. */
START_TEST(rope_groups)
{
    pretend_groups(16);
    for (int n = 0; n < 6; n++) {
        struct select_trial t = select_trial_new(4, 2, 20, 400, 20);
        t.a.type_k = CLATTN_F16;
        select_trial_lengths(&t, 2);
        draw_selection(&t, searches[n % 2]);
        select_trial_rope(&t, 1 + n % 2, 800);
        select_trial_once(&t, false, "16 items");
    }
}
END_TEST

/* ---- means of rows ---- */
/* Of every method that asks rows; strides that divide a block or leave a rest, a last block without a full
 * one; what a mean makes of the lists is no trifle. */
START_TEST(mean_rows)
{
    int changed = 0;
    for (int n = 0; n < 12; n++) {
        char what[80];
        struct select_trial t = select_trial_new(4, 2, 17 + 3 * n, 200 + select_below(200), 3);
        t.a.scale = n % 5 ? 0.0 : -1.0;
        t.a.type_q = n % 2 ? CLATTN_F16 : CLATTN_F32;
        draw_selection(&t, methods[1 + _i]);
        t.s.stride_q = n % 2 ? 3 : 4;
        t.s.rows = CLATTN_ROWS_MEAN;
        snprintf(what, sizeof what, "means of %d, method %d, case %d", (int)t.s.stride_q, (int)t.s.method, n);
        select_trial_fill(&t, n % 4 == 0);
        select_trial_check(&t, what);
        const struct ref_problem p = select_trial_problem(&t);
        struct ref_select last = select_trial_selection(&t);
        last.mean_rows = false;
        struct ref_list lists = ref_list_make(&p, &last);
        changed += memcmp(lists.ids, t.lists + t.list.ids_at / 4,
                          sizeof *lists.ids * (size_t)(lists.scopes * lists.q_blocks * lists.capacity)) != 0;
        ref_list_free(&lists);
        select_trial_free(&t);
    }
    ck_assert_int_ge(changed, 8);
}
END_TEST

/* Means that turn, of packed entries; by groups of 16 items; by products and sums. */
START_TEST(mean_rows_that_turn)
{
    if (_i == 1)
        pretend_groups(16);
    else if (_i == 2)
        select_ctx->facts.has_fma = !select_ctx->facts.has_fma;
    const int turned = _i == 0 || is_long_run() ? 6 : 2; /* of other kernels those of one kind of angles */
    for (int n = 0; n < turned; n++) {
        struct select_trial t = select_trial_new(4, 2, 40, 300, 6);
        select_trial_pack(&t, 3);
        draw_selection(&t, searches[n % 2]);
        t.s.rows = CLATTN_ROWS_MEAN;
        select_trial_rope(&t, 1 + n / 2 % 2, 800);
        select_trial_once(&t, n == 0, "means that turn");
    }
}
END_TEST

/* ---- AT-32: short entries ---- */
/* Of entries whose lengths are about the threshold, those below it have empty lists. */
START_TEST(at_32_short_entries)
{
    for (int n = 0; n < 8; n++) {
        struct select_trial t = select_trial_new(4, 2, 20, 160, 3);
        t.a.batch = 8;
        t.a.flags |= CLATTN_KEY_LENGTHS;
        t.key_lengths = calloc(8, sizeof *t.key_lengths);
        for (int b = 0; b < 8; b++)
            t.key_lengths[b] = 96 + b;
        draw_selection(&t, methods[1 + n % 2]);
        t.s.block_k = 4;
        t.s.stride_k = 1;
        t.s.sink = t.s.window = n < 4 ? 0 : 7;
        select_trial_method(&t, methods[1 + n % 2], 16);
        t.s.dense_below = 100;
        select_trial_fill(&t, false);
        select_trial_check(&t, "short entries");
        for (int64_t r = 0; r < 8 * t.list.scopes * t.list.q_blocks; r++)
            ck_assert_int_eq(t.lists[t.list.counts_at / 4 + r],
                             r / (t.list.scopes * t.list.q_blocks) < 4 ? 0 : 4);
        select_trial_free(&t);
    }
}
END_TEST

/* ---- misuse ---- */
static clattn_select_plan *misused;
static cl_command_queue misused_queue;
static cl_mem enough, small, scarce; /* 64 KiB twice, 16 bytes */

static clattn_select_io good_io(void)
{
    clattn_select_io io = CLATTN_SELECT_IO_INIT;
    io.q = io.k = enough;
    io.list = small;
    cl_int code;
    io.workspace = clCreateBuffer(select_ctx->cl, CL_MEM_READ_WRITE, 1 << 20, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return io;
}

/* A change, the status, words of the sentence. */
#define MISUSES(X)                                                                                        \
    X(io.size--, BAD_STRUCT_SIZE, "clattn_select_io.size")                                                \
    X(io.q = NULL, NULL_BUFFER, "io.q")                                                                   \
    X(io.k = scarce, K_TOO_SMALL, "k has 16 bytes")                                                       \
    X(io.q = scarce, Q_TOO_SMALL, "q has 16 bytes")                                                       \
    X(io.list = scarce, LIST_TOO_SMALL, "list has 16 bytes")                                              \
    X(io.list = enough, OUTPUT_ALIASES_INPUT, "share bytes")                                              \
    X(io.workspace = NULL, WORKSPACE_MISSING, "io.workspace")                                             \
    X(io.workspace = scarce, WORKSPACE_TOO_SMALL, "workspace has 16 bytes")                               \
    X(io.workspace_offset = 2, BAD_OFFSET, "workspace_offset is 2")                                       \
    X(io.scores = scarce, UNUSED_BUFFER, "io.scores")                                                     \
    X(io.bounds = scarce, UNUSED_BUFFER, "io.bounds")                                                     \
    X(io.given = scarce, UNUSED_BUFFER, "io.given")                                                       \
    X(io.budgets = scarce, UNUSED_BUFFER, "io.budgets")                                                   \
    X(io.rope_cos = scarce, UNUSED_BUFFER, "io.rope_cos")                                                 \
    X(io.rope_sin = scarce, UNUSED_BUFFER, "io.rope_sin")                                                 \
    X(io.counters = scarce, UNUSED_BUFFER, "io.counters")                                                 \
    X(io.key_lengths = scarce, UNUSED_BUFFER, "io.key_lengths")                                           \
    X(io.arrays[7] = scarce, UNUSED_BUFFER, "io.arrays[7]")                                               \
    X(queue = NULL, NULL_QUEUE, "queue")                                                                  \
    X(n_wait = 1, BAD_WAIT_LIST, "n_wait is 1")

#define MISUSE(change, status_, words_)                                                                   \
    {                                                                                                     \
        clattn_select_io io = good_io();                                                                  \
        cl_mem workspace = io.workspace;                                                                  \
        cl_command_queue queue = misused_queue;                                                           \
        cl_uint n_wait = 0;                                                                               \
        change;                                                                                           \
        ck_assert_int_eq(clattn_enqueue_select(misused, queue, &io, n_wait, NULL, NULL), CLATTN_##status_); \
        clattn_context_message(select_ctx, text, sizeof text);                                            \
        ck_assert_msg(strstr(text, words_) != NULL, "'%s' is not in: %s", words_, text);                  \
        clReleaseMemObject(workspace);                                                                    \
    }

START_TEST(misuses)
{
    char text[1000];
    cl_int code;
    struct select_trial t = select_trial_new(4, 2, 20, 200, 3);
    draw_selection(&t, CLATTN_TREE);
    ck_assert_int_eq(clattn_select_plan_create(&misused, select_ctx, &t.s, &t.a), CLATTN_OK);
    misused_queue = clCreateCommandQueue(select_ctx->cl, select_ctx->device, 0, &code);
    enough = clCreateBuffer(select_ctx->cl, CL_MEM_READ_WRITE, 65536, NULL, NULL);
    small = clCreateBuffer(select_ctx->cl, CL_MEM_READ_WRITE, 65536, NULL, NULL);
    scarce = clCreateBuffer(select_ctx->cl, CL_MEM_READ_WRITE, 16, NULL, NULL);
    MISUSES(MISUSE)
    clattn_select_io io = good_io();
    ck_assert_int_eq(clattn_enqueue_select(NULL, misused_queue, &io, 0, NULL, NULL), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(
        clattn_enqueue_select((clattn_select_plan *)select_ctx, misused_queue, &io, 0, NULL, NULL),
        CLATTN_BAD_HANDLE);
    ck_assert_int_eq(clattn_enqueue_select(misused, misused_queue, NULL, 0, NULL, NULL),
                     CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_enqueue_bounds(misused, misused_queue, &io, 0, 1, 0, NULL, NULL),
                     CLATTN_BAD_COUNT);
    ck_assert_int_eq(clattn_select_workspace_size(misused, NULL), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_select_plan_explain(misused, text, 20), CLATTN_BUFFER_TOO_SHORT);
    ck_assert_int_eq(clattn_select_plan_create(NULL, select_ctx, &t.s, &t.a), CLATTN_NULL_ARGUMENT);
    t.s.block_k = 0;
    clattn_select_plan *none = misused;
    ck_assert_int_eq(clattn_select_plan_create(&none, select_ctx, &t.s, &t.a), CLATTN_BAD_BLOCK);
    ck_assert_ptr_null(none);
    clattn_select_plan_destroy(NULL);
    clattn_select_plan_destroy(misused);
    cl_mem all[] = {enough, small, scarce, io.workspace};
    for (int i = 0; i < LEN(all); i++)
        clReleaseMemObject(all[i]);
    clReleaseCommandQueue(misused_queue);
}
END_TEST

/* ---- a driver that is wrong ---- */
/* A kernel that writes nothing in the place of the one for given lists. */
START_TEST(wrong_lists_are_found)
{
    char folder[] = "/tmp/clattn-check.XXXXXX", path[64], text[200];
    struct select_trial t = select_trial_new(4, 2, 40, 300, 3);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/select_given.cl", folder);
    snprintf(text, sizeof text, "struct a { char x[%d]; }; kernel void given(const struct a a, global uint *w, global uint *k, global int *f, "
             "global int *l) { }", (int)sizeof(struct select_args));
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
    ck_assert_int_eq(chmod(path, 0600), 0);
    setenv("CLATTN_KERNEL_DIR", folder, 1);
    select_trial_method(&t, CLATTN_EXTERNAL_LIST, 40);
    select_trial_fill(&t, false);
    ck_assert_int_eq(select_trial_run(&t), CLATTN_SELF_TEST_FAILED);
    t.a.flags |= CLATTN_NO_SELF_TEST;
    t.given = calloc(1, 100000); /* more than its lists */
    ck_assert_int_eq(select_trial_run(&t), CLATTN_OK);
    unsetenv("CLATTN_KERNEL_DIR");
    unlink(path);
    rmdir(folder);
    select_trial_free(&t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("selectors");
    TCase *device = tcase_create("device");
    const int scored = LEN(methods) - 1;
    tcase_add_checked_fixture(device, select_trial_set_up, select_trial_tear_down);
    tcase_add_loop_test(device, at_17_given_scores, 0, 2);
    tcase_add_loop_test(device, at_02_random_shapes, 0, LEN(methods));
    tcase_add_loop_test(device, at_07_edges, 0, LEN(methods));
    tcase_add_loop_test(device, at_03_at_04_dims, 0, 2);
    tcase_add_test(device, at_03_at_04_groups);
    tcase_add_test(device, at_35_embedded);
    tcase_add_test(device, at_03_products_and_sums);
    tcase_add_loop_test(device, at_04_presets, 0, 4);
    tcase_add_loop_test(device, at_05_scaled_queries, 0, scored);
    tcase_add_loop_test(device, at_06_ties, 0, scored);
    tcase_add_loop_test(device, at_13_unprobed_keys, 0, 2);
    tcase_add_loop_test(device, at_14_probes, 0, 2);
    tcase_add_test(device, at_15_scopes);
    tcase_add_test(device, at_16_lengths);
    tcase_add_loop_test(device, at_19_masks, 0, 2);
    tcase_add_test(device, at_20_given_lists);
    tcase_add_test(device, squares_need_no_corner);
    tcase_add_test(device, listed_counts_as_true);
    tcase_add_test(device, streaming_lists_are_empty);
    tcase_add_test(device, misuses);
    tcase_add_test(device, wrong_lists_are_found);
    tcase_add_loop_test(device, at_34_a_million_keys, 0, 2);
    suite_add_tcase(suite, device);
    TCase *rope = tcase_create("rope and lengths");
    tcase_add_checked_fixture(rope, select_trial_set_up, select_trial_tear_down);
    tcase_add_test(rope, rope_lists);
    tcase_add_test(rope, rope_groups);
    tcase_add_test(rope, at_32_short_entries);
    suite_add_tcase(suite, rope);
    TCase *means = tcase_create("means");
    tcase_add_checked_fixture(means, select_trial_set_up, select_trial_tear_down);
    tcase_add_loop_test(means, mean_rows, 0, scored);
    tcase_add_loop_test(means, mean_rows_that_turn, 0, 3);
    suite_add_tcase(suite, means);
    return run_suite(suite);
}
