/* SPDX-License-Identifier: MIT
 * check_select.c - selections: each mistake its own status and sentence, and the shape of the list that one
 * writes. */
#include "tests/suite.h"

#include <check.h>
#include <clattn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

static clattn_attention problem(void)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    a.batch = 2;
    a.heads = 8;
    a.kv_heads = 2;
    a.q_len = 100;
    a.kv_len = 100000;
    a.dim = a.dim_v = 16;
    a.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
    return a;
}

static const clattn_stage three_stages[] = {{256, 32768}, {32, 8192}, {8, 2048}};

static clattn_select selection(int32_t method)
{
    clattn_select s = CLATTN_SELECT_INIT;
    s.method = method;
    if (method == CLATTN_STREAMING)
        s.budget = 0;
    if (method == CLATTN_STAGED) {
        s.n_stages = 3;
        memcpy(s.stages, three_stages, sizeof three_stages);
        s.budget = 2048;
    }
    return s;
}

static void budget_of(clattn_select *s, int32_t mode, double value)
{
    s->budget_mode = mode;
    s->budget_value = value;
}

/* A change, the status and words of the sentence; of TREE, and of STAGED. */
#define MISTAKES(X)                                                                                       \
    X(TREE, s->size--, BAD_STRUCT_SIZE, "clattn_select.size")                                             \
    X(TREE, s->flags = 128, BAD_FLAGS, "flags is 0x80")                                                   \
    X(EXTERNAL_LIST, s->flags = CLATTN_BUDGET_EACH, BAD_FLAGS, "a given or empty list is as it is")       \
    X(STREAMING, s->flags = CLATTN_BUDGET_EACH, BAD_FLAGS, "budgets of scopes go with methods that score") \
    X(TREE, s->flags = CLATTN_CERTIFY, BAD_FLAGS, "of the methods MINMAX has them")                       \
    X(TREE, s->flags = CLATTN_PLAIN_SEARCH | CLATTN_MATRIX_SEARCH, BAD_FLAGS, "and for the matrix engines'")   \
    X(MINMAX, s->flags = CLATTN_PLAIN_SEARCH, BAD_FLAGS, "method 2 does not; TREE and STAGED do")          \
    X(POOL_MEAN, s->flags = CLATTN_MATRIX_SEARCH, BAD_FLAGS, "method 3 does not; TREE and STAGED do")      \
    X(EXTERNAL_SCORE, s->flags = CLATTN_PLAIN_SEARCH, BAD_FLAGS, "method 4 does not")                      \
    X(EXTERNAL_LIST, s->flags = CLATTN_MATRIX_SEARCH, BAD_FLAGS, "method 5 does not")                      \
    X(STREAMING, s->flags = CLATTN_PLAIN_SEARCH, BAD_FLAGS, "flags say how to search, and method 6 does not") \
    X(TREE, s->budget_mode = 4, BAD_SELECTOR, "budget_mode is 4")                                         \
    X(TREE, s->budget_value = 1, BAD_COUNT, "budget_value is 1; with the budget TOP_K it is 0")           \
    X(TREE, budget_of(s, CLATTN_MASS, 0.5), BAD_COUNT, "MASS asks the score of every candidate")       \
    X(STAGED, budget_of(s, CLATTN_MARGIN, 2), BAD_COUNT, "MARGIN asks the score of every candidate")   \
    X(STREAMING, budget_of(s, CLATTN_RATIO, 0.5), BAD_COUNT, "RATIO goes with methods that score")     \
    X(EXTERNAL_LIST, budget_of(s, CLATTN_RATIO, 0.5), BAD_COUNT, "RATIO goes with methods that score") \
    X(TREE, budget_of(s, CLATTN_RATIO, 0), BAD_COUNT, "it is above 0, and 1 at most")                     \
    X(TREE, budget_of(s, CLATTN_RATIO, 1.01), BAD_COUNT, "budget_value is 1.01; with the budget RATIO")   \
    X(MINMAX, budget_of(s, CLATTN_MASS, NAN), BAD_COUNT, "with the budget MASS")                          \
    X(MINMAX, budget_of(s, CLATTN_MARGIN, -1), BAD_COUNT, "it is 0 or more, and finite")                  \
    X(MINMAX, budget_of(s, CLATTN_MARGIN, INFINITY), BAD_COUNT, "it is 0 or more, and finite")            \
    X(TREE, s->method = 7, BAD_SELECTOR, "method is 7")                                                   \
    X(TREE, s->scope = -1, BAD_SELECTOR, "scope is -1")                                                   \
    X(TREE, s->representative = 3, BAD_SELECTOR, "representative is 3")                                   \
    X(TREE, s->block_q = 0, BAD_BLOCK, "block_q is 0")                                                    \
    X(TREE, s->stride_q = 65, BAD_BLOCK, "stride_q is 65, and block_q is 64")                             \
    X(TREE, s->block_k = CLATTN_MAX_BLOCK + 1, BAD_BLOCK, "block_k is 65537")                             \
    X(TREE, s->stride_k = 0, BAD_BLOCK, "stride_k is 0")                                                  \
    X(TREE, s->budget = 0, BAD_COUNT, "budget is 0")                                                      \
    X(TREE, s->budget = ((int64_t)1 << 30) + 1, BAD_COUNT, "budget is 1073741825")                        \
    X(TREE, s->sink = -1, BAD_COUNT, "sink is -1")                                                        \
    X(TREE, s->window = -1, BAD_COUNT, "window is -1")                                                    \
    X(TREE, s->dense_below = -1, BAD_COUNT, "dense_below is -1")                                          \
    X(TREE, s->rows = 2, BAD_SELECTOR, "rows is 2")                                                       \
    X(STREAMING, s->rows = CLATTN_ROWS_MEAN, BAD_SELECTOR, "method 6 asks none; TREE, STAGED")            \
    X(MINMAX, (s->rows = CLATTN_ROWS_MEAN, s->flags = CLATTN_CERTIFY), BAD_FLAGS, "rows as they are")     \
    X(TREE, s->rope = 4, BAD_SELECTOR, "rope is 4")                                                       \
    X(MINMAX, s->rope = CLATTN_ROPE_RELATIVE, BAD_SELECTOR, "rope is 1, which method 2 cannot")           \
    X(STREAMING, s->rope = CLATTN_ROPE_INFLLM, BAD_SELECTOR, "rope is 3, which method 6 cannot")          \
    X(TREE, s->rope_positions = 1, BAD_COUNT, "rope_positions is 1")                                      \
    X(TREE, (s->rope = CLATTN_ROPE_RELATIVE, s->rope_positions = 257), BAD_COUNT, "it is 258 or more")    \
    X(MINMAX, (s->rope = CLATTN_ROPE_INFLLM, s->rope_positions = 256), BAD_COUNT, "it is 257 or more")    \
    X(TREE, (s->rope = CLATTN_ROPE_CHUNKS, s->rope_positions = 384), BAD_COUNT, "it is 385 or more")      \
    X(STAGED, (s->rope = CLATTN_ROPE_CHUNKS, s->rope_positions = 1280), BAD_COUNT, "it is 1281 or more")  \
    X(TREE, (s->rope = CLATTN_ROPE_INFLLM, s->rope_positions = 257, a->dim = 15), BAD_DIM, "dim is 15")   \
    X(TREE, (s->rope = CLATTN_ROPE_CHUNKS, s->rope_positions = 999, s->window = 0, a->pattern = clattn_full()), BAD_CORNER, "rope by chunks") \
    X(TREE, s->extend = 4, BAD_SELECTOR, "extend is 4")                                                   \
    X(TREE, s->extend_length = 1, BAD_COUNT, "extend_length is 1; SELF takes 1 or more")                  \
    X(TREE, s->extend_share = 1, BAD_COUNT, "extend_share is 1; SELF takes 1 or more, others 0")          \
    X(TREE, (s->extend = CLATTN_EXTEND_SELF, s->extend_length = 9), BAD_COUNT, "extend_share is 0")       \
    X(TREE, (s->extend = CLATTN_EXTEND_DYNAMIC, s->extend_length = 255), BAD_COUNT, "four blocks of queries") \
    X(TREE, (s->extend = CLATTN_EXTEND_STREAMING, s->rope_positions = 846), BAD_COUNT, "it is 847 or more") \
    X(TREE, (s->extend = CLATTN_EXTEND_DYNAMIC, s->extend_length = 300, s->rope_positions = 300), BAD_COUNT, "it is 301 or more") \
    X(TREE, (s->extend = CLATTN_EXTEND_STREAMING, s->rope_positions = 999, a->dim = 15), BAD_DIM, "dim is 15") \
    X(TREE, s->n_stages = 1, BAD_COUNT, "n_stages is 1; with this method 0 to 0")                         \
    X(TREE, a->pattern = clattn_full(), BAD_CORNER, "no corner")                                          \
    X(TREE, a->heads = 0, BAD_HEADS, "heads is 0")                                                        \
    X(STREAMING, s->budget = 8, BAD_COUNT, "budget is 8; with this method 0 to 0")                        \
    X(STAGED, s->n_stages = 0, BAD_COUNT, "n_stages is 0; with this method 1 to 4")                       \
    X(STAGED, s->n_stages = 5, BAD_COUNT, "n_stages is 5")                                                \
    X(STAGED, s->stages[1].chunk = 24, BAD_BLOCK, "stages[1].chunk is 24")                                \
    X(STAGED, s->stages[1].chunk = 512, BAD_BLOCK, "stages[1].chunk is 512")                              \
    X(STAGED, s->stages[0].chunk = 0, BAD_BLOCK, "stages[0].chunk is 0")                                  \
    X(STAGED, s->stages[1].keep = 8200, BAD_BLOCK, "stages[1].keep is 8200")                              \
    X(STAGED, s->stages[2].keep = 16384, BAD_BLOCK, "stages[2].keep is 16384")                            \
    X(STAGED, s->budget = 1024, BAD_BLOCK, "keeps 2048; block_k is 8 and budget 1024")                    \
    X(STAGED, s->block_k = 4, BAD_BLOCK, "chunks of 8 and keeps 2048; block_k is 4")

#define MAKE(method_, change, status_, words_)                                                            \
    {                                                                                                     \
        clattn_select made = selection(CLATTN_##method_), *s = &made;                                     \
        clattn_attention b = problem(), *a = &b;                                                          \
        (void)a;                                                                                          \
        change;                                                                                           \
        clattn_status got = clattn_select_check(s, a, text, sizeof text);                                 \
        ck_assert_msg(got == CLATTN_##status_, "%s: %s", #change, clattn_status_name(got));               \
        ck_assert_msg(strstr(text, words_) != NULL, "'%s' is not in: %s", words_, text);                  \
        ck_assert_int_eq(clattn_select_list(&list, s, a), CLATTN_##status_);                              \
    }

START_TEST(mistakes)
{
    char text[300];
    clattn_list list = CLATTN_LIST_INIT;
    MISTAKES(MAKE)
    clattn_attention a = problem();
    clattn_select s = selection(CLATTN_TREE);
    ck_assert_int_eq(clattn_select_check(NULL, &a, text, sizeof text), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_select_check(&s, NULL, NULL, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_select_list(NULL, &s, &a), CLATTN_NULL_ARGUMENT);
}
END_TEST

START_TEST(every_method_has_a_list)
{
    for (int32_t method = CLATTN_TREE; method <= CLATTN_STREAMING; method++) {
        clattn_select s = selection(method);
        clattn_attention a = problem();
        clattn_list list = CLATTN_LIST_INIT;
        char text[300];
        ck_assert_msg(clattn_select_check(&s, &a, text, sizeof text) == CLATTN_OK && !text[0], "%s", text);
        ck_assert_int_eq(clattn_select_list(&list, &s, &a), CLATTN_OK);
        ck_assert(list.batch == 2 && list.scopes == 2 && list.q_blocks == 2 && list.k_blocks == 12500);
        ck_assert(list.capacity == s.budget / 8 && list.block_q == 64 && list.block_k == 8);
        a.kv_len = 50;
        s.budget = s.budget ? s.budget + 1 : 0; /* a block begun counts as one */
        if (method != CLATTN_STAGED)
            ck_assert_int_eq(clattn_select_list(&list, &s, &a), CLATTN_OK);
        ck_assert(list.capacity == (method == CLATTN_STREAMING ? 0 : method == CLATTN_STAGED ? 256 : 7));
    }
}
END_TEST

/* Without positions there may be a list, but no window; with as many queries as keys a corner does not
 * matter. */
START_TEST(windows_need_positions)
{
    clattn_attention a = problem();
    clattn_select s = selection(CLATTN_TREE);
    a.pattern = clattn_full();
    s.window = 0;
    ck_assert_int_eq(clattn_select_check(&s, &a, NULL, 0), CLATTN_OK);
    s.window = 5;
    a.kv_len = a.q_len;
    ck_assert_int_eq(clattn_select_check(&s, &a, NULL, 0), CLATTN_OK);
}
END_TEST

/* A number for every method, more for few rows; of stages more if none is kept. */
START_TEST(measured_lengths)
{
    int64_t tokens, of_few, of_all;
    for (int32_t method = CLATTN_TREE; method <= CLATTN_STREAMING; method++) {
        clattn_select s = selection(method);
        clattn_attention a = problem();
        ck_assert_int_eq(clattn_select_dense_below(&s, &a, &tokens), CLATTN_OK);
        ck_assert_int_ge(tokens, 2 * (s.budget + s.sink + s.window));
        a.q_len = 1;
        ck_assert_int_eq(clattn_select_dense_below(&s, &a, &of_few), CLATTN_OK);
        ck_assert_int_ge(of_few, method == CLATTN_STREAMING ? tokens : 2 * (s.budget + s.sink + s.window));
        s.flags = CLATTN_KEEP_STAGES;
        ck_assert_int_eq(clattn_select_dense_below(&s, &a, &of_all), CLATTN_OK);
        ck_assert(method == CLATTN_STAGED ? of_all < of_few : of_all == of_few);
        s.method = 99;
        ck_assert_int_eq(clattn_select_dense_below(&s, &a, &of_all), CLATTN_BAD_SELECTOR);
        ck_assert_int_eq(clattn_select_dense_below(&s, &a, NULL), CLATTN_NULL_ARGUMENT);
    }
}
END_TEST

/* Rows of short entries see what the pattern lets see, whatever is listed. */
START_TEST(short_entries_are_dense)
{
    clattn_select s = selection(CLATTN_TREE);
    s.dense_below = 1000;
    clattn_pattern p = clattn_selected(&s, CLATTN_TOP_LEFT);
    ck_assert_int_eq(p.error, 0);
    ck_assert_str_eq(p.text, "listed | k < 16 | q - k < 256 & k - q < 256 | k_len < 1000");
    s.dense_below = -1;
    ck_assert_int_eq(clattn_selected(&s, CLATTN_TOP_LEFT).error, CLATTN_BAD_COUNT);
}
END_TEST

/* ---- words ---- */
static const char problem_text[] = "attn:f32:h8/2:q100:k100000:d16:causal-br";

/* Words that print as they are, and others for the same. */
START_TEST(words_of_selections)
{
    static const char *const words[][2] = {
        {"tree=512:bq=64/2:bk=8/1:sink=16:near=256:scope=group:rep=center", "tree=512"},
        {"tree=100:bq=32/8:bk=2/2:sink=0:near=0:scope=head:rep=last:count:keep:grow",
         "tree=100:rep=last:grow:bq=32/8:bk=2/2:sink=0:near=0:scope=head:keep:count"},
        {"staged=256.32768/32.8192/8.2048:bq=64/4:bk=8/1:sink=256:near=1024:scope=all:rep=center", "infinitehip-3k"},
        {"minmax=512:bq=1/1:bk=16/1:sink=0:near=0:scope=group:rep=center", "quest:minmax=512"},
        {"minmax=512:mass=0.95:bq=64/2:bk=8/1:sink=16:near=256:scope=group:rep=center:certify", "minmax=512:certify:mass=0.95"},
        {"mean=512:bq=64/2:bk=8/1:sink=16:near=256:scope=head:rep=center:each", "mean=512:each:scope=head"},
        {"tree=512:bq=64/2:bk=8/1:sink=16:near=256:scope=group:rep=center:search=matrix", "tree=512:search=matrix"},
        {"mean=512:margin=12.5:bq=64/2:bk=8/1:sink=16:near=256:scope=group:rep=center", "mean=512:margin=12.500"},
        {"scores=8:mass=1:bq=64/2:bk=8/1:sink=16:near=256:scope=group:rep=center", "scores=8:mass=#3ff0000000000000"},
        {"tree=512:ratio=#3fb999999999999b:bq=64/2:bk=8/1:sink=16:near=256:scope=group:rep=center", "tree=512:ratio=#3fb999999999999b"},
        {"tree=100:bq=64/2:bk=8/1:sink=16:near=256:scope=group:rep=center:rope=chunks/999", "tree=100:rope=chunks/999"},
        {"staged=8.8:bq=64/2:bk=8/1:sink=16:near=256:scope=group:rep=center:rope=relative/258", "staged=8.8:rope=relative/258"},
        {"mean=100:bq=64/2:bk=8/1:sink=16:near=256:scope=group:rep=center:rope=infllm/257", "mean=100:rope=infllm/257"},
        {"tree=100:bq=64/4:bk=8/1:sink=16:near=256:scope=group:rep=center:rows=mean:count", "tree=100:count:bq=64/4:rows=mean"},
        {"tree=100:bq=64/2:bk=8/1:sink=16:near=256:scope=group:rep=center", "tree=100:rows=mean:rows=last"},
        {"tree=100:bq=64/2:bk=8/1:sink=16:near=256:scope=group:rep=center:dense=99", "tree=100:dense=99"},
        {"tree=100:bq=64/2:bk=8/1:sink=0:near=9:scope=group:rep=center:dense=654", "tree=100:dense=measured:sink=0:near=9"},
        {"streaming:bq=64/2:bk=8/1:sink=16:near=5:scope=group:rep=center", "streaming:near=5"},
        {"streaming:bq=64/1:bk=8/1:sink=4:near=1020:scope=all:rep=center", "streaming-llm"},
    };
    for (size_t i = 0; i < LEN(words); i++)
        for (int which = 0; which < 2; which++) {
            char text[300], message[600];
            clattn_select s = CLATTN_SELECT_INIT;
            clattn_attention a = CLATTN_ATTENTION_INIT;
            snprintf(text, sizeof text, "%s:%s", problem_text, words[i][which]);
            ck_assert_msg(clattn_select_parse(&s, &a, text, message, sizeof message) == CLATTN_OK, "%s: %s",
                          text, message);
            ck_assert_int_eq(clattn_select_print(&s, text, sizeof text), CLATTN_OK);
            ck_assert_str_eq(text, words[i][0]);
            ck_assert_int_eq(a.kv_len, 100000);
        }
}
END_TEST

START_TEST(words_refused)
{
    static const struct {
        const char *words, *says;
    } wrong[] = {
        {"", "column 41"},           {":tree=", "column 42"},      {":tree=12:bq=", "column 50"},   {":tree=99999999999", "column 42"},
        {":staged=8", "column 42"},  {":tree=8:scope=x", "column 49"}, {":tree=8:lse", "column 49"}, {":hipp", "column 46"},
        {":tree=8:bq=0", "block_q is 0"}, {":staged=8.8/4.4:bk=2", "block_k is 2"}, {":tree=8:", "column 49"},
        {":staged=8.8/8.8/8.8/8.8/8.8", "column 42"},
        {":mass=0.5", "column 50"}, {":minmax=8:mass=", "column 51"}, {":minmax=8:mass=0.", "column 51"}, {":minmax=8:mass=0x1", "column 51"},
        {":minmax=8:mass=#3ff", "column 51"}, {":minmax=8:mass=1.5", "budget_value is 1.5"}, {":minmax=8:margin=-1", "column 51"},
        {":tree=8:certify", "of the methods MINMAX"}, {":tree=8:margin=1", "MINMAX, POOL_MEAN and EXTERNAL_SCORE"},
        {":tree=8:rows=max", "column 49"}, {":scores=8:rows=mean", "method 4 asks none"}, {":tree=8:rope=chunks", "column 49"}, {":tree=8:rope=infllm/1", "rope_positions is 1"}};
    for (size_t i = 0; i < LEN(wrong); i++) {
        char text[300], message[600] = "";
        clattn_select s = CLATTN_SELECT_INIT;
        clattn_attention a = CLATTN_ATTENTION_INIT;
        snprintf(text, sizeof text, "%s%s", problem_text, wrong[i].words);
        ck_assert_int_ne(clattn_select_parse(&s, &a, text, message, sizeof message), CLATTN_OK);
        ck_assert_msg(strstr(message, wrong[i].says) != NULL, "%s: '%s' is not in: %s", text, wrong[i].says,
                      message);
    }
}
END_TEST

START_TEST(presets_have_names)
{
    const char *name, *meaning = NULL;
    clattn_select s = CLATTN_SELECT_INIT;
    clattn_attention a = problem();
    for (size_t i = 0; (name = clattn_select_preset_name(i, &meaning)); i++) {
        ck_assert(meaning && meaning[0]);
        ck_assert_int_eq(clattn_select_preset(&s, name), CLATTN_OK);
        ck_assert_int_eq(clattn_select_check(&s, &a, NULL, 0), CLATTN_OK);
    }
    ck_assert_int_eq(clattn_select_preset(&s, "hop"), CLATTN_BAD_SELECTOR);
    ck_assert_int_eq(clattn_select_preset(NULL, "hip"), CLATTN_NULL_ARGUMENT);
    s.size--;
    ck_assert_int_eq(clattn_select_preset(&s, "hip"), CLATTN_BAD_STRUCT_SIZE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("select");
    TCase *checks = tcase_create("checks");
    tcase_add_test(checks, mistakes);
    tcase_add_test(checks, every_method_has_a_list);
    tcase_add_test(checks, windows_need_positions);
    tcase_add_test(checks, measured_lengths);
    tcase_add_test(checks, short_entries_are_dense);
    tcase_add_test(checks, words_of_selections);
    tcase_add_test(checks, words_refused);
    tcase_add_test(checks, presets_have_names);
    suite_add_tcase(suite, checks);
    return run_suite(suite);
}
