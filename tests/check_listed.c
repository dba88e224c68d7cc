/* SPDX-License-Identifier: MIT
 * check_listed.c - attention over sinks, window and the oracle's lists, on every engine, against the oracle.
 *
 * A list reaches the kernels as an array of bits, a bit for each block of queries and of keys, which a mask
 * reads: what rules can say without a word for lists.  Keys that no row keeps are full of NaN. */
#include "tests/ref_select.h"
#include "tests/suite.h"
#include "tests/trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) ((int)(sizeof(array) / sizeof((array)[0])))

enum { BATCH = 2, Q_LEN = 45, KV_LEN = 130, BLOCK_Q = 16, BLOCK_K = 8 };

static const char mask[] =
    "k <= q & (kept[(b * scopes + h // (4 // scopes)) * 3 + (q - 85) // 16, k // 8] | k < 5 | q - k < 11)";

static clattn_attention problem(int64_t scopes)
{
    clattn_attention a = trial_problem(BATCH, Q_LEN, KV_LEN);
    a.pattern = clattn_mask(mask, CLATTN_BOTTOM_RIGHT);
    a.n_arrays = a.n_scalars = 1;
    snprintf(a.arrays[0].name, sizeof a.arrays[0].name, "kept");
    a.arrays[0].type = CLATTN_BITS;
    a.arrays[0].n_dims = 2;
    a.arrays[0].dims[0] = BATCH * scopes * ((Q_LEN + BLOCK_Q - 1) / BLOCK_Q);
    a.arrays[0].dims[1] = (KV_LEN + BLOCK_K - 1) / BLOCK_K;
    snprintf(a.scalars[0].name, sizeof a.scalars[0].name, "scopes");
    a.scalars[0].type = CLATTN_I32;
    a.scalars[0].value = (double)scopes;
    return a;
}

static struct ref_tensor dense(const float *data, int64_t heads, int64_t tokens, int64_t width)
{
    struct ref_tensor t = {data, REF_F32, 0, heads * tokens * width, tokens * width, width};
    return t;
}

/* The same without lists: what selection and the kept pairs start from. */
static struct ref_problem reference(const struct trial *t)
{
    struct ref_problem p = {.batch = BATCH,
                            .heads = 4,
                            .kv_heads = 2,
                            .q_len = Q_LEN,
                            .kv_len = KV_LEN,
                            .dim = 16,
                            .dim_v = 16,
                            .scale = 0.25,
                            .rules = {.mask = "k <= q", .bottom_right = true}};
    p.q = dense(t->q, 4, Q_LEN, 16);
    p.k = dense(t->k, 2, KV_LEN, 16);
    p.v = dense(t->v, 2, KV_LEN, 16);
    return p;
}

static struct ref_select selection(int method, int scope)
{
    struct ref_select s = {.method = method,
                           .representative = REF_CENTER,
                           .scope = scope,
                           .arithmetic = REF_FMA,
                           .block_q = BLOCK_Q,
                           .stride_q = 2,
                           .block_k = BLOCK_K,
                           .stride_k = 1,
                           .budget = 32,
                           .sink = 5,
                           .window = 11,
                           .n_stages = 2,
                           .stages = {{32, 64}, {8, 32}}};
    return s;
}

static void show_list(struct trial *t, const struct ref_list *list)
{
    for (int64_t r = 0; r < list->batch * list->scopes * list->q_blocks; r++)
        for (int64_t j = 0; j < list->counts[r]; j++)
            trial_put(t, "kept", r, list->ids[r * list->capacity + j], 1);
}

/* NaN where no row of the kv head's keeps the key. */
static void poison(struct trial *t, const struct ref_problem *p, const struct ref_select *s,
                   const struct ref_list *list)
{
    int poisoned = 0;
    for (int64_t b = 0; b < BATCH; b++)
        for (int64_t g = 0; g < 2; g++) {
            bool kept[KV_LEN] = {false};
            struct ref_pair pairs[KV_LEN];
            for (int64_t h = 2 * g; h < 2 * g + 2; h++)
                for (int64_t i = 0; i < Q_LEN; i++) {
                    ref_kept_pairs(p, s, list, b, h, i, pairs);
                    for (int64_t k = 0; k < KV_LEN; k++)
                        kept[k] |= pairs[k].seen;
                }
            for (int64_t k = 0; k < KV_LEN; k++)
                for (int d = 0; d < 16 && !kept[k]; d++, poisoned++)
                    trial_k(t, b, g, k)[d] = trial_v(t, b, g, k)[d] = NAN;
        }
    ck_assert_int_gt(poisoned, 0);
}

/* The bar of doc/numerics.md, whose scores and values are at most 16 and 2 here. */
static void compare(const struct trial *t, const struct ref_problem *p, const struct ref_select *s,
                    const struct ref_list *list)
{
    const double u = 0x1p-24, spread = 2 * expm1(2 * (16 / 2 + 3) * u * 16);
    for (int64_t b = 0; b < BATCH; b++)
        for (int64_t h = 0; h < 4; h++)
            for (int64_t i = 0; i < Q_LEN; i++) {
                struct ref_pair pairs[KV_LEN];
                double o[16], lse;
                ref_kept_pairs(p, s, list, b, h, i, pairs);
                ref_row(p, b, h, i, pairs, o, &lse);
                for (int d = 0; d < 16; d++)
                    ck_assert_msg(fabs(trial_o(t, b, h, i)[d] - o[d]) <= 16 * u * 2 + 2 * spread,
                                  "entry %d head %d row %d: %g, not %g", (int)b, (int)h, (int)i,
                                  (double)trial_o(t, b, h, i)[d], o[d]);
                ck_assert(fabs(t->lse[(b * 4 + h) * Q_LEN + i] - lse) <= 16 * u * (1 + fabs(lse)) + spread);
            }
}

static const int methods[] = {REF_TREE, REF_STAGED, REF_MINMAX, REF_STREAMING};

START_TEST(kept_pairs_on_every_engine)
{
    for (int scope = REF_HEAD; scope <= REF_ALL_HEADS; scope++) {
        clattn_attention a = problem(scope == REF_HEAD ? 4 : scope == REF_KV_GROUP ? 2 : 1);
        struct trial t = trial_make(&a);
        struct ref_problem p = reference(&t);
        struct ref_select s = selection(methods[_i], scope);
        struct ref_list list = ref_list_make(&p, &s);
        show_list(&t, &list);
        poison(&t, &p, &s, &list);
        for (int e = 0; e < trial_n_engines; e++) {
            trial_run(&t, trial_engines[e]);
            compare(&t, &p, &s, &list);
        }
        ref_list_free(&list);
        trial_free(&t);
    }
}
END_TEST

/* A list of all candidates: what rows see is then all of k <= q, though near blocks are not listed, and to a
 * bit what attention without lists gives.  Not so on the matrix engines, where a block that is partly listed
 * is weighed by its true maxima. */
START_TEST(all_candidates_are_dense)
{
    clattn_attention a = problem(2), all = trial_problem(BATCH, Q_LEN, KV_LEN);
    all.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
    struct trial t = trial_make(&a), dense_trial = trial_make(&all);
    struct ref_problem p = reference(&t);
    struct ref_select s = selection(methods[_i], REF_KV_GROUP);
    s.budget = s.stages[0].keep = s.stages[1].keep = 160;
    struct ref_list list = ref_list_make(&p, &s);
    show_list(&t, &list);
    for (int e = 0; e < trial_n_engines; e++) {
        trial_run(&t, trial_engines[e]);
        trial_run(&dense_trial, trial_engines[e]);
        if (!strncmp(trial_engines[e], "matrix", 6))
            compare(&t, &p, &s, &list);
        else
            ck_assert(!memcmp(t.o, dense_trial.o, (size_t)t.o_count * sizeof *t.o) &&
                      !memcmp(t.lse, dense_trial.lse, (size_t)t.rows * sizeof *t.lse));
    }
    ref_list_free(&list);
    trial_free(&t);
    trial_free(&dense_trial);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listed");
    TCase *engines = tcase_create("engines");
    tcase_add_checked_fixture(engines, trial_set_up, trial_tear_down);
    tcase_add_loop_test(engines, kept_pairs_on_every_engine, 0, LEN(methods));
    tcase_add_loop_test(engines, all_candidates_are_dense, 0, LEN(methods) - 1); /* STREAMING has no list */
    suite_add_tcase(suite, engines);
    return run_suite(suite);
}
