/* SPDX-License-Identifier: MIT
 * check_search.c - TREE and STAGED by a tile of the matrix engines, here the plain one, whose sums are those
 * of the oracle: list for list.  On a matrix unit check_selectors runs its own.
 *
 * A kernel is compiled for each method, storage, head size, number of rows and mask: cases differ in the rest
 * as much as they like. */
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

static const int32_t searches[] = {CLATTN_TREE, CLATTN_STAGED};

static struct select_trial by_tile(int32_t method, int64_t q_len, int64_t kv_len, int64_t dim)
{
    struct select_trial t = select_trial_new(4, 2, q_len, kv_len, dim);
    t.a.type_q = t.a.type_k = method == CLATTN_TREE ? CLATTN_F16 : CLATTN_BF16;
    draw_selection(&t, method);
    t.s.flags = CLATTN_MATRIX_SEARCH;
    return t;
}

/* ---- AT-02, AT-07: structure, and rows that see little ---- */
START_TEST(random_shapes)
{
    for (int n = 0; n < select_cases(120); n++) {
        char what[80];
        struct select_trial t = by_tile(searches[_i], 1 + select_below(40), select_below(400), 20);
        t.a.scale = n % 5 ? 0.0 : -1.0;
        snprintf(what, sizeof what, "method %d, case %d", (int)searches[_i], n);
        select_trial_once(&t, n % 2, what);
    }
}
END_TEST

START_TEST(edges)
{
    select_trial_edges(by_tile, searches[_i], 20);
}
END_TEST

/* A short last block, of which no key is sampled, and strides. */
START_TEST(strides)
{
    for (int n = 0; n < 12; n++) {
        struct select_trial t = by_tile(CLATTN_TREE, 20, 301 + n, 20);
        t.s.block_k = 6;
        t.s.stride_k = 1 + n % 6;
        t.s.sink = t.s.window = 0;
        select_trial_method(&t, CLATTN_TREE, 60);
        select_trial_once(&t, n % 2, "stride");
    }
}
END_TEST

/* ---- AT-03, AT-04: how many rows, which head sizes, how many teams ---- */
START_TEST(rows_of_all_numbers)
{
    static const struct {
        int32_t block_q, stride_q, scope;
    } rows[] = {{64, 1, CLATTN_SCOPE_GROUP},
                {24, 1, CLATTN_SCOPE_HEAD},
                {8, 1, CLATTN_SCOPE_ALL},
                {64, 1, CLATTN_SCOPE_HEAD},
                {1, 1, CLATTN_SCOPE_HEAD}};
    for (int n = 0; n < 4; n++) {
        char what[80];
        if (!is_long_run() && (n + _i) % 2)
            continue; /* a kernel each: the searches take turns */
        struct select_trial t = by_tile(searches[n % 2], 70, 400, 20);
        t.s.block_q = rows[_i].block_q;
        t.s.stride_q = rows[_i].stride_q;
        t.s.scope = rows[_i].scope;
        snprintf(what, sizeof what, "%d rows, scope %d, method %d", (int)(t.s.block_q / t.s.stride_q),
                 (int)t.s.scope, (int)searches[n % 2]);
        select_trial_once(&t, n > 1, what);
    }
}
END_TEST

START_TEST(head_sizes)
{
    static const int64_t dims[] = {1, 128, 576, 17, 200};
    for (int n = 0; n < 2; n++) {
        if (!is_long_run() && (n + _i) % 2)
            continue;
        struct select_trial t = by_tile(searches[n], 20, 300, dims[_i]);
        select_trial_once(&t, false, "dim");
    }
}
END_TEST

/* One team, where groups of more are not possible; the plain kernels in groups as small.  Of these numbers
 * those that are one to sixteen teams of the device's tile. */
static const int group_items[] = {1, 16, 32, 64};

START_TEST(teams)
{
    const struct clattn__team *team = clattn__team_of(select_ctx->facts.matrix_unit);
    if (group_items[_i] < team->items || group_items[_i] > 16 * team->items) {
        printf("# left out: groups of %d items; a team has %d (%s)\n", group_items[_i], (int)team->items,
               team->products);
        return;
    }
    pretend_groups(group_items[_i]);
    for (int n = 0; n < 10; n++) {
        struct select_trial t = by_tile(searches[n % 2], 20, 1 + select_below(600), 20);
        select_trial_once(&t, n % 3 == 0, "teams");
    }
}
END_TEST

/* Nodes lie in the workspace where local memory holds the tile alone. */
START_TEST(nodes_in_the_workspace)
{
    for (int n = 0; n < 4; n++) {
        struct select_trial t = by_tile(CLATTN_TREE, 40, 900, 20);
        t.s.block_k = 2;
        t.s.stride_k = 1;
        select_trial_method(&t, CLATTN_TREE, 200);
        select_ctx->facts.local_bytes = 5000;
        select_trial_once(&t, n % 2, "nodes in the workspace");
    }
}
END_TEST

START_TEST(presets)
{
    static const char *const names[] = {"hip", "infinitehip-3k"};
    struct select_trial t = by_tile(CLATTN_TREE, 3, 20003, 3);
    const clattn_select drawn = t.s;
    ck_assert_int_eq(clattn_select_preset(&t.s, names[_i]), CLATTN_OK);
    t.s.flags = drawn.flags;
    select_trial_once(&t, false, names[_i]);
}
END_TEST

/* ---- AT-06, AT-13, AT-14 ---- */
START_TEST(ties_and_no_numbers)
{
    for (int n = 0; n < 8; n++) {
        struct select_trial t = by_tile(searches[n % 2], 20, 150, 20);
        select_trial_fill(&t, true);
        for (int64_t i = 0; i < 2 * 150 * 20; i++)
            if (n < 2 || i / 20 % (n / 2 + 2) < 2)
                select_trial_put(&t, true, i, n < 2 ? 1 : n < 6 ? NAN : INFINITY);
        select_trial_check(&t, "ties");
        select_trial_free(&t);
    }
}
END_TEST

START_TEST(unprobed_keys)
{
    select_trial_unprobed(by_tile, searches[_i], 20);
}
END_TEST

START_TEST(probes)
{
    select_trial_probes(by_tile, searches[_i], 20);
}
END_TEST

/* ---- AT-16, AT-19: lengths, masks ---- */
START_TEST(lengths)
{
    for (int n = 0; n < 8; n++) {
        struct select_trial t = by_tile(searches[_i], 40, 150, 20);
        if (_i)
            select_trial_pack(&t, 3);
        else
            select_trial_lengths(&t, 3);
        select_trial_once(&t, n % 3 == 0, _i ? "packed" : "key lengths");
    }
}
END_TEST

START_TEST(masks)
{
    static const char *const texts[] = {"k // 16 == q // 16 | k % 50 == 7", "k <= q & (k + h) // 20 % 3 != 0",
                                        "k < 100 | k <= q"};
    for (int n = 0; n < 8; n++) {
        struct select_trial t = by_tile(searches[n % 2], 40, 300, 20);
        select_trial_mask(&t, texts[_i], CLATTN_BOTTOM_RIGHT);
        t.s.window = select_below(30);
        select_trial_once(&t, n % 4 > 1, texts[_i]);
    }
}
END_TEST

/* ---- what has no tile, and what fails ---- */
START_TEST(refusals)
{
    char text[400];
    static const struct {
        int32_t method, type, rope;
        uint64_t local_bytes;
        const char *words;
    } rows[] = {{CLATTN_TREE, CLATTN_F32, 0, 1 << 20, "q and k of f16, or of bf16"},
                {CLATTN_STAGED, CLATTN_F16, CLATTN_ROPE_RELATIVE, 1 << 20, "turns no rows"},
                {CLATTN_TREE, CLATTN_BF16, 0, 1024, "no tile fits"}};
    for (size_t n = 0; n < CLATTN__LEN(rows); n++) {
        clattn_select_plan *plan;
        struct select_trial t = by_tile(CLATTN_TREE, 20, 200, 20);
        select_trial_method(&t, rows[n].method, 40);
        t.a.type_q = t.a.type_k = rows[n].type;
        t.s.rope = rows[n].rope;
        t.s.rope_positions = rows[n].rope ? 500 : 0;
        select_ctx->facts.local_bytes = rows[n].local_bytes;
        ck_assert_int_eq(clattn_select_plan_create(&plan, select_ctx, &t.s, &t.a), CLATTN_ENGINE_REFUSED);
        clattn_context_message(select_ctx, text, sizeof text);
        ck_assert_msg(strstr(text, rows[n].words) != NULL, "'%s' is not in: %s", rows[n].words, text);
        t.s.flags = 0;
        ck_assert_int_eq(clattn_select_plan_create(&plan, select_ctx, &t.s, &t.a), CLATTN_OK);
        ck_assert_int_eq(plan->shape.tile.items, 0);
        clattn_select_plan_destroy(plan);
    }
}
END_TEST

/* A device without a matrix unit is not asked for one, and says so. */
START_TEST(choice)
{
    static const struct {
        uint32_t flags;
        const char *words;
    } rows[] = {{0, "one by one: no matrix unit"},
                {CLATTN_PLAIN_SEARCH, "one by one: the plain search is asked for"},
                {CLATTN_MATRIX_SEARCH, "the matrix engine's loops with plain products"}};
    for (size_t n = 0; n < CLATTN__LEN(rows); n++) {
        char text[4000];
        clattn_select_plan *plan;
        struct select_trial t = by_tile(CLATTN_TREE, 20, 200, 20);
        select_ctx->facts.matrix_unit = CLATTN_MATRIX_NONE;
        t.s.flags = rows[n].flags;
        ck_assert_int_eq(clattn_select_plan_create(&plan, select_ctx, &t.s, &t.a), CLATTN_OK);
        ck_assert_int_eq(clattn_select_plan_explain(plan, text, sizeof text), CLATTN_OK);
        ck_assert_msg(strstr(text, rows[n].words) != NULL, "'%s' is not in: %s", rows[n].words, text);
        clattn_select_plan_destroy(plan);
    }
}
END_TEST

/* Of the papers' presets on a GPU with 48 KiB of local memory: rows, teams, keys of a team, where the nodes
 * lie. */
START_TEST(shapes_of_presets)
{
    static const struct {
        const char *name;
        int32_t scope, rows, teams, keys;
        bool nodes_global;
    } wanted[] = {{"hip", CLATTN_SCOPE_HEAD, 32, 4, 16, false},
                  {"hip", CLATTN_SCOPE_GROUP, 128, 2, 16, true},
                  {"hip-ruler", CLATTN_SCOPE_HEAD, 32, 4, 32, true},
                  {"infinitehip-3k", CLATTN_SCOPE_ALL, 16, 4, 32, false}};
    for (size_t n = 0; n < CLATTN__LEN(wanted); n++) {
        clattn_device_facts facts = select_ctx->facts;
        struct clattn__select_shape shape = {0};
        struct clattn__problem problem;
        struct select_trial t = select_trial_new(32, 8, 4096, 131072, 128);
        char details[CLATTN__MESSAGE_SIZE];
        t.a.type_q = t.a.type_k = t.a.type_v = t.a.type_o = CLATTN_F16;
        ck_assert_int_eq(clattn_select_preset(&t.s, wanted[n].name), CLATTN_OK);
        t.s.scope = wanted[n].scope;
        facts.type = CL_DEVICE_TYPE_GPU;
        facts.matrix_unit = CLATTN_MATRIX_WGMMA;
        facts.local_bytes = 49152;
        facts.largest_group = 1024;
        ck_assert_int_eq(clattn_select_list(&t.list, &t.s, &t.a), CLATTN_OK);
        ck_assert_int_eq(clattn__problem_resolve(&problem, &t.a, details, sizeof details), CLATTN_OK);
        clattn__select_shape(&shape, &facts, &t.s, &t.list, &problem);
        ck_assert_ptr_null(shape.no_tile);
        ck_assert_int_eq(shape.tile.rows, wanted[n].rows);
        ck_assert_int_eq(shape.tile.teams, wanted[n].teams);
        ck_assert_int_eq(shape.tile.keys, wanted[n].keys);
        ck_assert_int_eq(shape.tile.aligned, true);
        ck_assert_int_eq(shape.nodes_global, wanted[n].nodes_global);
        ck_assert_int_lt(shape.tile.bytes + (shape.nodes_global ? 0 : 4 * shape.scratch), 49152);
        clattn__problem_free(&problem);
    }
}
END_TEST

/* Lists are right all the same, and explain says whose they are. */
static void falls_back(void)
{
    char text[4000];
    clattn_select_plan *plan;
    for (int n = 0; n < 2; n++) { /* the second time it is known */
        struct select_trial t = by_tile(CLATTN_TREE, 20, 300, 20);
        t.s.flags = 0;
        select_trial_fill(&t, false);
        ck_assert_int_eq(clattn_select_plan_create(&plan, select_ctx, &t.s, &t.a), CLATTN_OK);
        ck_assert_int_eq(clattn_select_plan_explain(plan, text, sizeof text), CLATTN_OK);
        ck_assert_msg(strstr(text, "one by one: its kernel failed here") != NULL, "%s", text);
        clattn_select_plan_destroy(plan);
        select_trial_check(&t, "after a failure");
        select_trial_free(&t);
    }
}

/* No compiler for this device takes a matrix unit's instructions. */
START_TEST(kernels_that_do_not_build)
{
    clattn_select_plan *plan;
    struct select_trial t = by_tile(CLATTN_TREE, 20, 300, 20);
    if (select_ctx->facts.matrix_unit != CLATTN_MATRIX_NONE)
        return;
    select_ctx->facts.matrix_unit = CLATTN_MATRIX_MMA;
    ck_assert_int_eq(clattn_select_plan_create(&plan, select_ctx, &t.s, &t.a), CLATTN_BUILD_FAILED);
    ck_assert_ptr_null(plan);
    falls_back();
}
END_TEST

/* The whole text of a file. */
static char *read_all(const char *path)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s cannot be read", path);
    const size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = 0;
    return text;
}

/* A kernel that writes nothing in the place of the tile's. */
START_TEST(kernels_that_are_wrong)
{
    char folder[] = "/tmp/clattn-check.XXXXXX", path[64], flat[4096];
    const char *built = getenv("top_builddir");
    snprintf(flat, sizeof flat, "%s/cl/flat/select_tree.cl", built ? built : ".");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/select_tree.cl", folder);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "#if PRODUCTS\nstruct a { char x[%d]; };\nstruct rule_numbers { int x[RULE_NUMBERS]; };\n"
                  "kernel void tree(const struct a a, global uint *w, global uint *kept, global const ushort *q, global const ushort *k, "
                  "global int *list, local uint *scratch RULE_PARAMS) { }\n#else\n%s\n#endif\n",
            (int)sizeof(struct select_args), read_all(flat));
    fclose(file);
    ck_assert_int_eq(chmod(path, 0600), 0);
    setenv("CLATTN_KERNEL_DIR", folder, 1);
    select_ctx->facts.matrix_unit = CLATTN_MATRIX_MMA;
    falls_back();
    unsetenv("CLATTN_KERNEL_DIR");
    unlink(path);
    rmdir(folder);
}
END_TEST

static TCase *device_case(Suite *suite, const char *name)
{
    TCase *made = tcase_create(name);
    tcase_add_checked_fixture(made, select_trial_set_up, select_trial_tear_down);
    suite_add_tcase(suite, made);
    return made;
}

/* In a cache of their own, since kernels that fail are remembered. */
int main(void)
{
    char cache[] = "/tmp/clattn-search.XXXXXX", command[64];
    if (!mkdtemp(cache) || setenv("CLATTN_CACHE_DIR", cache, 1))
        return 1;
    Suite *suite = suite_create("search by a tile");
    TCase *structure = device_case(suite, "structure"), *shapes = device_case(suite, "shapes");
    TCase *contents = device_case(suite, "contents"), *choices = device_case(suite, "choices");
    tcase_add_loop_test(structure, random_shapes, 0, 2);
    tcase_add_loop_test(structure, edges, 0, 2);
    tcase_add_test(structure, strides);
    tcase_add_loop_test(shapes, rows_of_all_numbers, 0, is_long_run() ? 5 : 3);
    tcase_add_loop_test(shapes, head_sizes, 0, is_long_run() ? 5 : 3);
    tcase_add_loop_test(shapes, teams, 0, CLATTN__LEN(group_items));
    tcase_add_test(shapes, nodes_in_the_workspace);
    tcase_add_loop_test(shapes, presets, 0, 2);
    tcase_add_test(contents, ties_and_no_numbers);
    tcase_add_loop_test(contents, unprobed_keys, 0, 2);
    tcase_add_loop_test(contents, probes, 0, 2);
    tcase_add_loop_test(contents, lengths, 0, 2);
    tcase_add_loop_test(contents, masks, 0, 3);
    tcase_add_test(choices, refusals);
    tcase_add_test(choices, choice);
    tcase_add_test(choices, shapes_of_presets);
    tcase_add_test(choices, kernels_that_do_not_build);
    tcase_add_test(choices, kernels_that_are_wrong);
    const int code = run_suite(suite);
    snprintf(command, sizeof command, "rm -rf '%s'", cache);
    return system(command) ? 1 : code;
}
