/* SPDX-License-Identifier: MIT
 * check_budgets.c - lists as long as their budget says, and certificates, on a device: against the oracle,
 * and against what both promise; named after the acceptance tests of the specification. */
#include "select/select.h"
#include "tests/select_trial.h"
#include "tests/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) ((int)CLATTN__LEN(array))

static const int32_t methods[] = {CLATTN_EXTERNAL_SCORE, CLATTN_MINMAX, CLATTN_POOL_MEAN, CLATTN_TREE,
                                  CLATTN_STAGED};

static void once(struct select_trial *t, bool whole, const char *what)
{
    select_trial_fill(t, whole);
    select_trial_check(t, what);
    select_trial_free(t);
}

/* ---- AT-30: how long lists are ---- */
static const int32_t modes[] = {CLATTN_MASS, CLATTN_MARGIN, CLATTN_RATIO};
static const double shares[] = {1, 0.5, 0.9, 0.99, 0x1p-32, 1.0 / 3}, margins[] = {0, 0.5, 2, 8, 40, 1e300};

static void draw_budget(struct select_trial *t, int32_t method, int32_t mode)
{
    draw_selection(t, method);
    select_trial_method(t, method, (1 + select_below(40)) * t->s.block_k);
    t->s.budget_mode = mode;
    t->s.budget_value =
        mode == CLATTN_MARGIN ? margins[select_below(LEN(margins))] : shares[select_below(LEN(shares))];
}

/* As the formulas have them, number by number. */
START_TEST(at_30_budgets)
{
    const int32_t mode = modes[_i % 3];
    pretend_groups(_i < 3 ? 0 : 16);
    for (int m = 0; m < LEN(methods); m++)
        for (int n = 0; n < select_cases(80) && (m < 3 || mode == CLATTN_RATIO); n++) {
            char what[80];
            struct select_trial t = select_trial_new(4, 2, 1 + select_below(40), select_below(300), 3);
            draw_budget(&t, methods[m], mode);
            t.a.scale = n % 5 == 4 ? -1.0 : (double)(1 + select_below(40)) / 16;
            snprintf(what, sizeof what, "method %d, budget %d of %g, case %d", (int)methods[m], (int)mode,
                     t.s.budget_value, n);
            once(&t, n % 2, what);
        }
}
END_TEST

/* Scores of all kinds; the mass by exp, which the whole numbers are near to. */
static struct select_trial trial_of_scores(int64_t blocks, int n)
{
    static const float odd[] = {NAN, -INFINITY, -0.0f, 0.0f, -3.4e38f, 3.4e38f, INFINITY};
    struct select_trial t = select_trial_new(1, 1, 1, blocks, 1);
    t.s.block_k = t.s.stride_k = t.s.block_q = t.s.stride_q = 1;
    t.a.scale = 0.25;
    select_trial_mask(&t, "", CLATTN_TOP_LEFT);
    select_trial_method(&t, CLATTN_EXTERNAL_SCORE, blocks);
    t.s.budget_mode = CLATTN_MASS;
    t.s.budget_value = 0.5;
    select_trial_fill(&t, true);
    for (int64_t i = 0; i < blocks; i++)
        t.scores[i] = n % 4 == 3 && select_below(9) == 0
                          ? odd[select_below(n % 8 == 3 ? 5 : LEN(odd))]
                          : (float)select_below(n % 2 ? 64 : 1 << 20) / (n % 2 ? 1 : 1 << 14);
    return t;
}

static double mass_of(const struct select_trial *t, float top, float score)
{
    return score == top ? 1 : isnan(score) ? 0 : exp(t->a.scale * ((double)score - (double)top));
}

START_TEST(at_30_mass_is_a_shortest_beginning)
{
    enum { BLOCKS = 500 };
    for (int n = 0; n < 30; n++) {
        struct select_trial t = trial_of_scores(BLOCKS, n);
        int32_t before = 0;
        double all = 0;
        float top = -INFINITY;
        for (int i = 0; i < BLOCKS; i++)
            top = fmaxf(top, t.scores[i]);
        for (int i = 0; i < BLOCKS; i++)
            all += mass_of(&t, top, t.scores[i]);
        for (int p = 1; p <= 10; p++) {
            t.s.budget_value = p / 10.0;
            select_trial_check(&t, "mass");
            const int32_t *ids = t.lists + t.list.ids_at / 4, count = t.lists[t.list.counts_at / 4];
            double mass = 0, least = INFINITY;
            for (int32_t j = 0; j < count; j++) {
                mass += mass_of(&t, top, t.scores[ids[j]]);
                least = fmin(least, mass_of(&t, top, t.scores[ids[j]]));
            }
            ck_assert_msg(mass >= all * (t.s.budget_value - 1e-4), "case %d: %g of %g is less than %g", n,
                          mass, all, t.s.budget_value);
            ck_assert_msg(mass - least <= all * (t.s.budget_value + 1e-4),
                          "case %d: without %g, %g is %g of %g too", n, least, mass, t.s.budget_value, all);
            ck_assert_int_ge(count, before);
            before = count;
        }
        ck_assert_int_eq(before, BLOCKS); /* p = 1 is dense */
        t.s.budget = 7;
        select_trial_fill(&t, true);
        select_trial_check(&t, "as far as a list goes");
        ck_assert_int_eq(t.lists[t.list.counts_at / 4], 7);
        select_trial_free(&t);
    }
}
END_TEST

/* Two blocks, the better of which has the mass for just that p and no larger one: so each bit of a distance
 * weighs what it should. */
START_TEST(at_30_weights_to_the_last_bit)
{
    for (int bit = 0; bit < 21; bit++) {
        struct select_trial t = trial_of_scores(2, 0);
        t.a.scale = log(2.0);
        t.scores[0] = 4096;
        t.scores[1] = 4096 - ldexpf(1, bit - 16);
        const struct ref_problem p = select_trial_problem(&t);
        const uint64_t all = (1u << 30) + ref_block_mass(&p, t.scores[0], t.scores[1]),
                       share = ((uint64_t)1 << 62) / all;
        for (int more = 0; more < 2; more++) {
            t.s.budget_value = ldexp((double)(share + (uint64_t)more), -32);
            select_trial_check(&t, "weights");
            ck_assert_msg(t.lists[t.list.counts_at / 4] == 1 + more, "bit %d, %d", bit, more);
        }
        select_trial_free(&t);
    }
}
END_TEST

/* ---- AT-29: certificates ---- */
enum { ALIKE, RANDOM, CANCEL, WHOLE, ODD, CERTIFIED_KINDS };

/* Keys of a kind: neighbours that are alike, all random, columns that cancel so that sums round, ties, what
 * is no number. */
static void fill_kind(struct select_trial *t, int kind)
{
    select_trial_fill(t, kind == WHOLE);
    const int64_t dim = t->a.dim, rows = t->a.kv_len;
    for (int64_t i = 0; i < t->a.kv_heads * rows; i++)
        for (int64_t d = 0; d < dim; d++) {
            float *x = (float *)t->k + i * dim + d;
            if (kind == ALIKE && i % rows > 0)
                *x = 0.98f * x[-dim] + 0.1f * *x;
            if (kind == CANCEL && d > 0 && d % 2 == 0)
                *x = -x[-1];
            else if (kind == CANCEL && d > 0)
                *x *= 1 << (t->a.kv_len % 2 ? 20 : 14);
            if (kind == ODD && select_below(200) == 0)
                *x = select_below(2) ? NAN : select_below(2) ? INFINITY : -3e38f;
        }
    for (int64_t i = 0; kind == CANCEL && i < t->a.heads * t->a.q_len * dim; i++)
        ((float *)t->q)[i] = i % dim == 0 ? ((float *)t->q)[i] : 1.5f;
}

/* As many are proved as have larger products in double precision than what is left, at most, and all whose
 * gap is beyond rounding, at least.  Adds to the blocks listed of lists that leave some, and to those
 * proved. */
static void judge_proofs(const struct select_trial *t, const char *what, int64_t *blocks, int64_t *proved)
{
    const struct ref_problem p = select_trial_problem(t);
    const struct ref_select s = select_trial_selection(t);
    const double slack = 4 * ((double)t->a.dim + 2) * 0x1p-24;
    for (int64_t r = 0; r < t->list.batch * t->list.scopes * t->list.q_blocks; r++) {
        const int64_t scope = r / t->list.q_blocks % t->list.scopes,
                      b = r / t->list.q_blocks / t->list.scopes;
        const int32_t *ids = t->lists + t->list.ids_at / 4 + r * t->list.capacity;
        double products[64];
        const int count = t->lists[t->list.counts_at / 4 + r], certified = t->certified[r];
        const struct ref_proof proof =
            ref_proof_of(&p, &s, b, scope, r % t->list.q_blocks, ids, count, products);
        const bool whole = proof.bound == -INFINITY; /* nothing is left, or nothing that is asked for */
        int most = whole ? count : 0, least = 0;
        for (int j = 0; j < count && !whole; j++) {
            most += products[j] > proof.left && products[j] > proof.bound;
            least +=
                products[j] - proof.bound > 2 * slack * proof.magnitude + 0x1p-90 && proof.magnitude < 1e38;
        }
        ck_assert_msg(certified <= most, "%s: of list %d not %d, but %d of %d are proved", what, (int)r,
                      certified, most, count);
        ck_assert_msg(certified >= least, "%s: of list %d not %d, but at least %d of %d are proved", what,
                      (int)r, certified, least, count);
        *blocks += whole ? 0 : count;
        *proved += whole ? 0 : certified;
    }
}

START_TEST(at_29_certificates)
{
    const int kind = _i % CERTIFIED_KINDS;
    int64_t proved = 0, blocks = 0;
    pretend_groups(_i < CERTIFIED_KINDS ? 0 : 16);
    for (int n = 0; n < 40; n++) {
        char what[80];
        struct select_trial t =
            select_trial_new(4, 2, 1 + select_below(40), select_below(300), kind == RANDOM ? 20 : 3);
        draw_selection(&t, CLATTN_MINMAX);
        t.a.type_k = kind == WHOLE ? CLATTN_F16 : CLATTN_F32;
        t.s.scope = n % 2 ? CLATTN_SCOPE_GROUP : CLATTN_SCOPE_ALL;
        t.s.flags = CLATTN_CERTIFY;
        t.s.block_k = (int32_t)(1 + select_below(4));
        t.s.stride_k = 1;
        select_trial_method(&t, CLATTN_MINMAX, (1 + select_below(8)) * t.s.block_k);
        t.a.scale = n % 5 ? 0.0 : -1.0;
        if (kind == RANDOM)
            select_trial_lengths(&t, 3);
        fill_kind(&t, kind);
        snprintf(what, sizeof what, "kind %d, case %d", _i, n);
        select_trial_check(&t, what);
        judge_proofs(&t, what, &blocks, &proved);
        select_trial_free(&t);
    }
    ck_assert_msg((proved * 20 > blocks || kind == CANCEL || kind == ODD) && proved < blocks,
                  "%d of %d are proved", (int)proved, (int)blocks);
}
END_TEST

/* ---- AT-10: blocks that TREE must keep ---- */
static bool contains(const int32_t *ids, int count, int32_t id)
{
    for (int j = 0; j < count; j++)
        if (ids[j] == id)
            return true;
    return false;
}

/* One row, keys of which neighbours are alike. */
START_TEST(at_10_proved_blocks_are_kept)
{
    int proved = 0;
    for (int n = 0; n < 60; n++) {
        struct select_trial t = select_trial_new(1, 1, 1, 100 + select_below(500), 3);
        int32_t blocks[600];
        double scores[600];
        t.s.block_q = t.s.stride_q = 1;
        t.s.block_k = 1 + n % 3;
        t.s.stride_k = 1;
        t.s.representative = n % 3;
        t.s.budget_mode = n % 2 ? CLATTN_RATIO : CLATTN_TOP_K;
        t.s.budget_value = n % 2 ? 0.125 : 0;
        select_trial_method(&t, CLATTN_TREE, (n % 2 ? 200 : 4 + select_below(20)) * t.s.block_k);
        fill_kind(&t, ALIKE);
        select_trial_check(&t, "tree");
        const struct ref_problem p = select_trial_problem(&t);
        const struct ref_select s = select_trial_selection(&t);
        const int32_t *ids = t.lists + t.list.ids_at / 4, count = t.lists[t.list.counts_at / 4];
        const int64_t all = ref_block_scores(&p, &s, 0, 0, 0, blocks, scores);
        for (int64_t j = 0; j < all && count < all; j++)
            if (ref_certified(scores, all, count, s.representative, j)) {
                ck_assert_msg(contains(ids, count, blocks[j]), "case %d: block %d is proved and not kept", n,
                              (int)blocks[j]);
                proved++;
            }
        select_trial_free(&t);
    }
    ck_assert_int_ge(proved, 60);
}
END_TEST

/* ---- budgets of scopes ---- */
/* Every method that scores, with every way to make lists shorter that it has; of heads, groups and all. */
START_TEST(budgets_of_scopes)
{
    const int32_t method = methods[_i];
    int empty = 0, shorter = 0;
    for (int n = 0; n < 36; n++) {
        char what[80];
        const int32_t mode = n % 3 == 0 ? CLATTN_RATIO : n % 3 == 1 || method <= CLATTN_STAGED ? CLATTN_TOP_K : n % 2 ? CLATTN_MASS : CLATTN_MARGIN;
        struct select_trial t = select_trial_new(4, 2, 1 + select_below(40), 100 + select_below(200), 3);
        draw_selection(&t, method);
        t.s.flags = CLATTN_BUDGET_EACH | (method == CLATTN_MINMAX ? CLATTN_CERTIFY : 0);
        /* a scope is a shape, which is compiled: one for each way to make lists shorter */
        t.s.scope = n % 3 == 0 ? CLATTN_SCOPE_GROUP : CLATTN_SCOPE_HEAD;
        t.s.budget_mode = mode;
        t.s.budget_value = mode == CLATTN_TOP_K ? 0 : mode == CLATTN_MARGIN ? 1 : 0.5;
        select_trial_fill(&t, n % 2);
        snprintf(what, sizeof what, "method %d, mode %d, case %d", (int)method, (int)mode, n);
        select_trial_check(&t, what);
        for (int64_t r = 0; r < t.list.scopes * t.list.q_blocks; r++) {
            const int32_t own = t.budgets[r / t.list.q_blocks], count = t.lists[t.list.counts_at / 4 + r];
            ck_assert_int_le(count, own <= 0 ? 0 : ((int64_t)own + t.s.block_k - 1) / t.s.block_k);
            empty += own <= 0;
            shorter += own > 0 && own < t.s.budget;
        }
        select_trial_free(&t);
    }
    ck_assert(empty >= 5 && shorter >= 20);
}
END_TEST

/* By groups of 16 items, rotated by numbers of halves and of chunks, of short and of long entries. */
START_TEST(budgets_of_scopes_in_groups)
{
    pretend_groups(16);
    for (int n = 0; n < 8; n++) {
        struct select_trial t = select_trial_new(4, 2, 20, 400, 6);
        select_trial_lengths(&t, 2);
        draw_selection(&t, n % 2 ? CLATTN_STAGED : CLATTN_TREE);
        t.s.flags = CLATTN_BUDGET_EACH;
        t.s.scope = CLATTN_SCOPE_HEAD;
        select_trial_rope(&t, CLATTN_ROPE_CHUNKS, 800);
        select_trial_fill(&t, false);
        select_trial_check(&t, "16 items");
        select_trial_free(&t);
    }
}
END_TEST

/* Rows turn by the number of halves in a round, which is that of the list's own budget. */
START_TEST(rotated_shares)
{
    for (int n = 0; n < 6; n++) {
        struct select_trial t = select_trial_new(4, 2, 20, 300, 6);
        draw_selection(&t, CLATTN_TREE);
        t.s.block_k = 2;
        t.s.stride_k = 1;
        t.s.sink = t.s.window = 1;
        select_trial_method(&t, CLATTN_TREE, 100);
        t.s.budget_mode = CLATTN_RATIO;
        t.s.budget_value = 0.0625;
        select_trial_rope(&t, CLATTN_ROPE_CHUNKS, 800);
        select_trial_fill(&t, false);
        select_trial_check(&t, "a share, rotated");
        select_trial_free(&t);
    }
}
END_TEST

/* ---- misuse ---- */
START_TEST(misuses)
{
    static const struct {
        const char *words;
        clattn_status status;
        size_t bytes; /* of certificates, or budgets; 0: none */
        uint32_t flags;
    } wrong[] = {{"io.certified", CLATTN_NULL_BUFFER, 0, CLATTN_CERTIFY},
                 {"certified has 16 bytes", CLATTN_CERTIFIED_TOO_SMALL, 16, CLATTN_CERTIFY},
                 {"io.certified", CLATTN_UNUSED_BUFFER, 64, 0},
                 {"", CLATTN_OK, 24, CLATTN_CERTIFY},
                 {"io.budgets", CLATTN_NULL_BUFFER, 0, CLATTN_BUDGET_EACH},
                 {"budgets has 4 bytes", CLATTN_BUDGETS_TOO_SMALL, 4, CLATTN_BUDGET_EACH},
                 {"", CLATTN_OK, 8, CLATTN_BUDGET_EACH}};
    for (int i = 0; i < LEN(wrong); i++) {
        char text[1000];
        cl_int code;
        struct select_session session;
        struct select_trial t = select_trial_new(4, 2, 40, 200, 3);
        draw_selection(&t, CLATTN_MINMAX);
        t.s.flags = wrong[i].flags;
        select_trial_fill(&t, false);
        ck_assert_int_eq(select_trial_open(&t, &session), CLATTN_OK);
        cl_mem own = wrong[i].bytes
                         ? clCreateBuffer(select_ctx->cl, CL_MEM_READ_WRITE, wrong[i].bytes, NULL, &code)
                         : NULL;
        *(t.s.flags & CLATTN_BUDGET_EACH ? &session.io.budgets : &session.io.certified) = own;
        ck_assert_int_eq(clattn_enqueue_select(session.plan, select_queue, &session.io, 0, NULL, NULL),
                         wrong[i].status);
        clattn_context_message(select_ctx, text, sizeof text);
        ck_assert_msg(strstr(text, wrong[i].words) != NULL, "'%s' is not in: %s", wrong[i].words, text);
        select_trial_close(&session);
        if (own)
            clReleaseMemObject(own);
        select_trial_free(&t);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("budgets");
    TCase *device = tcase_create("device");
    tcase_add_checked_fixture(device, select_trial_set_up, select_trial_tear_down);
    tcase_add_loop_test(device, at_30_budgets, 0, 2 * LEN(modes));
    tcase_add_test(device, at_30_weights_to_the_last_bit);
    tcase_add_test(device, misuses);
    tcase_add_test(device, at_10_proved_blocks_are_kept);
    tcase_add_test(device, at_30_mass_is_a_shortest_beginning);
    tcase_add_loop_test(device, at_29_certificates, 0, 2 * CERTIFIED_KINDS);
    suite_add_tcase(suite, device);
    TCase *scopes = tcase_create("scopes");
    tcase_add_checked_fixture(scopes, select_trial_set_up, select_trial_tear_down);
    tcase_add_test(scopes, rotated_shares);
    tcase_add_test(scopes, budgets_of_scopes_in_groups);
    tcase_add_loop_test(scopes, budgets_of_scopes, 0, LEN(methods));
    suite_add_tcase(suite, scopes);
    return run_suite(suite);
}
