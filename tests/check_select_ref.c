/* SPDX-License-Identifier: MIT
 * check_select_ref.c - the oracle of selection itself: by hand, against another program, what papers promise.
 *
 * Nothing here uses the library.  Numbers marked "prototype" come from a program in another language that was
 * written from the same formulas, and judged on a language model. */
#include "tests/draw.h"
#include "tests/ref_select.h"
#include "tests/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

enum { MAX_TENSOR = 4096, SHAPES = 600, LISTS = 400 };

/* ---- problems ---- */
static float q_data[MAX_TENSOR], k_data[MAX_TENSOR], v_data[MAX_TENSOR];

static struct ref_tensor dense(const float *data, int64_t heads, int64_t tokens, int64_t width)
{
    struct ref_tensor t = {data, REF_F32, 0, heads * tokens * width, tokens * width, width};
    ck_assert_int_le(heads * tokens * width, MAX_TENSOR);
    return t;
}

static void fill(float *data, bool whole)
{
    for (int i = 0; i < MAX_TENSOR; i++)
        data[i] = whole ? (float)(below(9) - 4) : (float)(int64_t)(random_bits() >> 40) / 4194304.0f - 2.0f;
}

/* Random tensors; whole: of small whole numbers, of which many scores are equal. */
static struct ref_problem problem(int64_t batch, int64_t heads, int64_t kv_heads, int64_t q_len,
                                  int64_t kv_len, int64_t dim, bool whole)
{
    struct ref_problem p = {.batch = batch,
                            .heads = heads,
                            .kv_heads = kv_heads,
                            .q_len = q_len,
                            .kv_len = kv_len,
                            .dim = dim,
                            .dim_v = 2,
                            .scale = 0.5};
    p.q = dense(q_data, batch * heads, q_len, dim);
    p.k = dense(k_data, batch * kv_heads, kv_len, dim);
    p.v = dense(v_data, batch * kv_heads, kv_len, 2);
    p.q.batch = heads * q_len * dim;
    p.k.batch = kv_heads * kv_len * dim;
    p.v.batch = kv_heads * kv_len * 2;
    fill(q_data, whole);
    fill(k_data, whole);
    fill(v_data, whole);
    return p;
}

static struct ref_problem causal(struct ref_problem p)
{
    p.rules.mask = "k <= q";
    p.rules.bottom_right = true;
    return p;
}

static struct ref_select selector(int method, int64_t block_q, int64_t block_k, int64_t budget)
{
    struct ref_select s = {.method = method,
                           .representative = REF_CENTER,
                           .scope = REF_HEAD,
                           .arithmetic = REF_DOUBLE,
                           .block_q = block_q,
                           .stride_q = 1,
                           .block_k = block_k,
                           .stride_k = 1,
                           .budget = budget};
    if (method == REF_STAGED) { /* 4 blocks, 2 blocks, 1 block; each keeps twice what the next does */
        s.n_stages = 3;
        for (int i = 0; i < 3; i++) {
            s.stages[i].chunk = block_k << (2 - i);
            s.stages[i].keep = ((budget + block_k - 1) / block_k * block_k) << (2 - i);
        }
    }
    return s;
}

static const int all_methods[] = {REF_TREE, REF_STAGED, REF_MINMAX, REF_POOL_MEAN, REF_BEST};

static const float *some_scores(const struct ref_problem *p, const struct ref_select *s)
{
    static float scores[MAX_TENSOR];
    ck_assert_int_le(p->batch * ref_scopes(p, s) * ref_q_blocks(p, s) * ref_k_blocks(p, s), MAX_TENSOR);
    fill(scores, true);
    return scores;
}

/* A single query 1 against keys that are the scores. */
static struct ref_problem scores_as_keys(int64_t n)
{
    struct ref_problem p = problem(1, 1, 1, 1, n, 1, true);
    q_data[0] = 1;
    return p;
}

static void check_list(const struct ref_problem *p, const struct ref_select *s, const int32_t *expected,
                       int64_t n)
{
    struct ref_list list = ref_list_make(p, s);
    ck_assert_int_eq(list.counts[0], n);
    for (int64_t j = 0; j < n; j++)
        ck_assert_msg(list.ids[j] == expected[j], "entry %d is %d, not %d", (int)j, (int)list.ids[j],
                      (int)expected[j]);
    ref_list_free(&list);
}

static bool same_lists(const struct ref_list *a, const struct ref_list *b)
{
    int64_t rows = a->batch * a->scopes * a->q_blocks;
    return rows == b->batch * b->scopes * b->q_blocks && a->capacity == b->capacity &&
           !memcmp(a->counts, b->counts, (size_t)rows * sizeof *a->counts) &&
           !memcmp(a->ids, b->ids, (size_t)(rows * a->capacity) * sizeof *a->ids);
}

/* ---- by hand ---- */
static const float eight[] = {9, 1, 2, 8, 3, 4, 0, 5};

START_TEST(tree_by_hand)
{
    /* Nodes 0-3 and 4-7.  Center: halves 01 23 45 67 show keys 1 3 5 7, scores 1 8 4 5: 23 and 67 stay; then
     * 2 3 6 7: 3 and 7. First: they show 0 2 4 6, scores 9 2 3 0: 01 and 45 stay; then 0 and 5. */
    static const int32_t expected[][2] = {{0, 5}, {3, 7}, {3, 7}};
    struct ref_problem p = scores_as_keys(8);
    struct ref_select s = selector(REF_TREE, 1, 1, 2);
    memcpy(k_data, eight, sizeof eight);
    for (s.representative = REF_FIRST; s.representative <= REF_LAST; s.representative++)
        check_list(&p, &s, expected[s.representative], 2);
    s.method = REF_BEST;
    check_list(&p, &s, (const int32_t[]){0, 3}, 2);
}
END_TEST

START_TEST(staged_by_hand)
{
    /* Chunk 0-3: middles of its halves are 1 and 3, then of 2-3 2 and 3: 8.  Chunk 4-7: 5 and 7, then 6 and
     * 7: 5.  The first stays, and of its keys 0 and 3. */
    struct ref_problem p = scores_as_keys(8);
    struct ref_select s = selector(REF_STAGED, 1, 1, 2);
    int32_t ids[2];
    unsigned char probed[8] = {0};
    struct ref_trace trace = {.probed = probed};
    memcpy(k_data, eight, sizeof eight);
    s.n_stages = 2;
    s.stages[0].chunk = s.stages[0].keep = 4;
    s.stages[1].chunk = 1;
    s.stages[1].keep = 2;
    ck_assert_int_eq(ref_select(&p, &s, 0, 0, 0, ids, &trace), 2);
    ck_assert(ids[0] == 0 && ids[1] == 3);
    ck_assert_int_eq(trace.dots, 2 * 4 + 4);
    ck_assert_int_eq(trace.rounds, 2);
    ck_assert(!probed[4] && probed[0] && probed[1] && probed[2] && probed[3] && probed[5] && probed[6] &&
              probed[7]);
}
END_TEST

/* The middles 2 and 6 are equal: the left half goes on, though the right one would meet 9.  It meets 7, so
 * its chunk stays. */
START_TEST(staged_ties_go_left)
{
    struct ref_problem p = scores_as_keys(16);
    struct ref_select s = selector(REF_STAGED, 1, 1, 1);
    memcpy(k_data, (const float[]){0, 0, 1, 7, 0, 9, 1, 0, 2, 2, 2, 2, 2, 2, 2, 2}, 16 * sizeof(float));
    s.n_stages = 2;
    s.stages[0].chunk = s.stages[0].keep = 8;
    s.stages[1].chunk = s.stages[1].keep = 1;
    check_list(&p, &s, (const int32_t[]){5}, 1);
    k_data[3] = 1; /* then it meets no more than 1, and the other chunk stays */
    check_list(&p, &s, (const int32_t[]){8}, 1);
}
END_TEST

/* Of rows 0 to 6 in blocks of 4, by threes: row 2; of 4 5 6, row 6.  By fours: row 3; of the rest, its last.
 */
START_TEST(sampled_rows)
{
    static const int32_t expected[][2] = {{2, 6}, {3, 6}};
    struct ref_problem p = problem(1, 1, 1, 7, 7, 7, true);
    for (int i = 0; i < 49; i++)
        q_data[i] = k_data[i] = i % 8 == 0; /* row i wants key i */
    for (int n = 0; n < 2; n++) {
        struct ref_select s = selector(REF_BEST, 4, 1, 1);
        s.stride_q = 3 + n;
        for (int m = 0; m < 2; m++) {
            int32_t id;
            ck_assert_int_eq(ref_select(&p, &s, 0, 0, m, &id, NULL), 1);
            ck_assert_int_eq(id, expected[n][m]);
        }
    }
}
END_TEST

/* Rows 1 2 -6 5 and 4, a block of four and one of one, by twos: means 1.5 and -0.5, then 4 alone; keys 7 and
 * -8. */
START_TEST(means_of_rows)
{
    struct ref_problem p = problem(1, 1, 1, 5, 2, 1, true);
    struct ref_select s = selector(REF_BEST, 4, 1, 1);
    int32_t blocks[2];
    double scores[2];
    memcpy(q_data, (const float[]){1, 2, -6, 5, 4}, 5 * sizeof(float));
    memcpy(k_data, (const float[]){7, -8}, 2 * sizeof(float));
    s.stride_q = 2;
    s.mean_rows = true;
    for (s.arithmetic = REF_DOUBLE; s.arithmetic <= REF_MULTIPLY_ADD; s.arithmetic++) {
        ck_assert_int_eq(ref_block_scores(&p, &s, 0, 0, 0, blocks, scores), 2);
        ck_assert(scores[0] == 10.5 && scores[1] == 4);
        ref_block_scores(&p, &s, 0, 0, 1, blocks, scores);
        ck_assert(scores[0] == 28 && scores[1] == -32);
    }
    s.stride_q = 3; /* -1 stands where -6 does; of a block without a full stride all: 4, of two rows 4.5 */
    ref_block_scores(&p, &s, 0, 0, 0, blocks, scores);
    ck_assert_double_eq_tol(scores[0], -7, 1e-5);
    p.q_len = 6;
    q_data[5] = 5;
    ref_block_scores(&p, &s, 0, 0, 1, blocks, scores);
    ck_assert(scores[0] == 31.5);
    p.rules.mask = "k < q - 1"; /* the last row of a stride sees key 0, others do not */
    s.stride_q = 2;
    ref_block_scores(&p, &s, 0, 0, 0, blocks, scores);
    ck_assert(scores[0] == -3.5);
}
END_TEST

/* Two blocks of two keys and one of one; nothing is read past it. */
START_TEST(last_block_is_short)
{
    static const int32_t expected[] = {[REF_MINMAX] = 1, [REF_POOL_MEAN] = 2, [REF_BEST] = 1};
    struct ref_problem p = scores_as_keys(5);
    memcpy(k_data, (const float[]){0, 0, 3, 0, 2, 100}, 6 * sizeof(float));
    for (int method = REF_MINMAX; method <= REF_BEST; method++) {
        struct ref_select s = selector(method, 1, 2, 2);
        check_list(&p, &s, expected + method, 1);
    }
}
END_TEST

/* Row 0 stands before key 2 and does not see it, however large their product. */
START_TEST(bounds_of_seen_blocks)
{
    struct ref_problem p = causal(problem(1, 1, 1, 2, 3, 1, true));
    struct ref_select s = selector(REF_MINMAX, 2, 1, 1);
    memcpy(k_data, (const float[]){1, 2, 3}, 3 * sizeof(float));
    q_data[0] = 100;
    q_data[1] = 1;
    check_list(&p, &s, (const int32_t[]){1}, 1);
    s.method = REF_POOL_MEAN;
    check_list(&p, &s, (const int32_t[]){1}, 1);
}
END_TEST

START_TEST(summaries_by_hand)
{
    /* Blocks of two keys of two columns, the query (1, -1).  Bounds: 5 - 0, 3 - -3, 4 - 4; means: (3, 0.5),
     * (2, 0), (4, 4). */
    static const float keys[] = {5, 1, 1, 0, 3, 3, 1, -3, 4, 4, 4, 4};
    struct ref_problem p = problem(1, 1, 1, 1, 6, 2, true);
    q_data[0] = 1;
    q_data[1] = -1;
    memcpy(k_data, keys, sizeof keys);
    struct ref_select s = selector(REF_MINMAX, 1, 2, 2);
    check_list(&p, &s, (const int32_t[]){1}, 1);
    s.method = REF_POOL_MEAN;
    check_list(&p, &s, (const int32_t[]){0}, 1);
    s.method = REF_BEST; /* 4 1, 0 4, 0 0: the tie goes to the lower block */
    check_list(&p, &s, (const int32_t[]){0}, 1);
    p.scale = -1; /* the smallest are best now: -1 + 1, -1 + 3, -4 + 4; -2.5, -2, 0 */
    s.method = REF_MINMAX;
    check_list(&p, &s, (const int32_t[]){1}, 1);
    s.method = REF_POOL_MEAN;
    check_list(&p, &s, (const int32_t[]){2}, 1);
}
END_TEST

START_TEST(given_scores)
{
    struct ref_problem p = problem(1, 1, 1, 1, 8, 1, true);
    static const float scores[] = {1, NAN, -INFINITY, 7};
    struct ref_select s = selector(REF_EXTERNAL_SCORE, 1, 2, 2);
    s.scores = scores;
    check_list(&p, &s, (const int32_t[]){3}, 1);
    s.budget = 5; /* rounded up to three blocks */
    check_list(&p, &s, (const int32_t[]){0, 2, 3}, 3);
    s.method = REF_STREAMING;
    check_list(&p, &s, NULL, 0);
}
END_TEST

/* Weights 1, 1/2, 1/4 and 1/8 of the best: 8, 4, 2 and 1 of 15 parts. */
START_TEST(budgets_by_hand)
{
    static const struct {
        int mode;
        double value;
        int64_t count;
    } cases[] = {
        {REF_MASS, 0.53, 1}, {REF_MASS, 0.54, 2}, {REF_MASS, 0.79, 2}, {REF_MASS, 0.81, 3}, {REF_MASS, 0.93, 3}, {REF_MASS, 0.94, 4},
        {REF_MASS, 1, 4}, {REF_MASS, 1e-9, 1}, {REF_MARGIN, 0, 1}, {REF_MARGIN, 0.69, 1}, {REF_MARGIN, 0.7, 2}, {REF_MARGIN, 1.39, 3},
        {REF_MARGIN, 9, 4}, {REF_RATIO, 0.25, 1}, {REF_RATIO, 0.26, 2}, {REF_RATIO, 1, 4}, {REF_RATIO, 1e-9, 1}, {REF_TOP_K, 0, 4}};
    static const int32_t lists[][4] = {{2}, {1, 2}, {1, 2, 3}, {0, 1, 2, 3}};
    struct ref_problem p = problem(1, 1, 1, 1, 4, 1, true);
    float scores[] = {0, 4, 6, 2};
    struct ref_select s = selector(REF_EXTERNAL_SCORE, 1, 1, 4);
    s.scores = scores;
    p.scale = log(2.0) / 2;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        s.budget_mode = cases[i].mode;
        s.budget_value = cases[i].value;
        check_list(&p, &s, lists[cases[i].count - 1], cases[i].count);
    }
    s.budget = 1; /* is the most */
    check_list(&p, &s, lists[0], 1);
}
END_TEST

/* Whole numbers next to the exponential, never 0; what is no number weighs least, equal to the best as it
 * does. */
START_TEST(block_masses)
{
    struct ref_problem p = problem(1, 1, 1, 1, 1, 1, true);
    p.scale = 0.125;
    ck_assert(ref_block_mass(&p, 3, 3) == 1 << 30 && ref_block_mass(&p, NAN, NAN) == 1 << 30);
    ck_assert(ref_block_mass(&p, 3, NAN) == 1 && ref_block_mass(&p, 3, -INFINITY) == 1 &&
              ref_block_mass(&p, INFINITY, 3) == 1);
    for (int n = 0; n < 20000; n++) {
        const double score = 5 - (double)below(1 << 20) / 4096,
                     wanted = ldexp(exp(p.scale * (score - 5)), 30);
        const double got = (double)ref_block_mass(&p, 5, score);
        ck_assert_msg(fabs(got - wanted) <= 2 + 2e-5 * wanted, "%g: %g is not %g", score, got, wanted);
    }
}
END_TEST

/* Keys (5, 1) (1, 6) and (9, 0) (3, 10): products 6, 7 and 9, 13, bounds 5 + 6 and 9 + 10. */
START_TEST(proofs_by_hand)
{
    static const float keys[] = {5, 1, 1, 6, 9, 0, 3, 10}; /* blocks of two keys of two columns */
    struct ref_problem p = problem(1, 1, 1, 1, 4, 2, true);
    struct ref_select s = selector(REF_MINMAX, 1, 2, 2);
    const int32_t first = 0, second = 1;
    double product;
    memcpy(k_data, keys, sizeof keys);
    q_data[0] = q_data[1] = 1;
    struct ref_proof proof = ref_proof_of(&p, &s, 0, 0, 0, &first, 1, &product);
    ck_assert(product == 7 && proof.left == 13 && proof.bound == 19 && proof.magnitude == 19);
    proof = ref_proof_of(&p, &s, 0, 0, 0, &second, 1, &product);
    ck_assert(product == 13 && proof.left == 7 && proof.bound == 11);
    proof = ref_proof_of(&p, &s, 0, 0, 0, NULL, 0, NULL);
    ck_assert(proof.left == 13);
}
END_TEST

START_TEST(prototype_lists)
{
    struct ref_problem p = scores_as_keys(100);
    struct ref_select s = selector(REF_TREE, 1, 1, 8);
    for (int t = 0; t < 100; t++)
        k_data[t] = (float)((t * 37 + 11) % 101);
    check_list(&p, &s, (const int32_t[]){15, 24, 56, 65, 67, 75, 84, 86}, 8);
    s = selector(REF_TREE, 1, 4, 24);
    check_list(&p, &s, (const int32_t[]){1, 10, 11, 13, 19, 21}, 6);
    s = selector(REF_STAGED, 1, 4, 12);
    check_list(&p, &s, (const int32_t[]){4, 19, 21}, 3);

    p = scores_as_keys(90); /* with ties */
    for (int t = 0; t < 90; t++)
        k_data[t] = (float)(t * 7 % 13);
    s = selector(REF_TREE, 1, 1, 7);
    check_list(&p, &s, (const int32_t[]){9, 11, 22, 24, 37, 50, 63}, 7);
    s = selector(REF_STAGED, 1, 2, 10);
    s.stages[0].chunk = 32;
    s.stages[0].keep = 64;
    s.stages[1].chunk = 8;
    s.stages[1].keep = 32;
    check_list(&p, &s, (const int32_t[]){11, 37, 38, 43, 44}, 5);
}
END_TEST

/* ---- what every method promises ---- */
static bool sees_any(const struct ref_problem *p, const struct ref_select *s, int64_t b, int64_t scope,
                     int64_t m, int64_t block)
{
    int64_t heads = p->heads / ref_scopes(p, s), q_len = ref_q_len(p, b);
    for (int64_t h = scope * heads; h < (scope + 1) * heads; h++)
        for (int64_t i = m * s->block_q; i < q_len && i < (m + 1) * s->block_q; i++)
            for (int64_t k = block * s->block_k; k < ref_k_len(p, b) && k < (block + 1) * s->block_k; k++) {
                struct ref_point at = ref_point_of(p, b, h, i, k);
                if (ref_visible(&p->rules, &at) && !ref_near(s, &at))
                    return true;
            }
    return false;
}

/* Rising, in range, each seen by a row that is not near it, and as many as there may be: all candidates or
 * the budget. */
static void check_structure(const struct ref_problem *p, const struct ref_select *s)
{
    struct ref_list list = ref_list_make(p, s);
    int64_t k_blocks = ref_k_blocks(p, s), keep = (s->budget + s->block_k - 1) / s->block_k;
    for (int64_t b = 0; b < list.batch; b++)
        for (int64_t u = 0; u < list.scopes; u++)
            for (int64_t m = 0; m < list.q_blocks; m++) {
                int64_t at = ref_list_at(&list, b, u, m), candidates = 0;
                const int32_t *ids = list.ids + at * list.capacity;
                for (int64_t g = 0; g < k_blocks; g++)
                    candidates += sees_any(p, s, b, u, m, g);
                ck_assert_int_eq(list.counts[at], candidates < keep ? candidates : keep);
                for (int64_t j = 0; j < list.counts[at]; j++) {
                    ck_assert(ids[j] >= 0 && ids[j] < k_blocks && (j == 0 || ids[j - 1] < ids[j]));
                    ck_assert(sees_any(p, s, b, u, m, ids[j]));
                }
                for (int64_t j = list.counts[at]; j < list.capacity; j++)
                    ck_assert_int_eq(ids[j], -1);
            }
    ref_list_free(&list);
}

/* An easy mask or a mixed one; a window is of both sides where the mask is. */
static void some_mask(struct ref_problem *p)
{
    static const char *const masks[] = {
        "k <= q", "", "k < 5 | k <= q", "k // 4 == q // 4", "k <= q & q - k < 9", "k != 3 & k % 7 < 4"};
    p->rules.mask = masks[below((int64_t)LEN(masks))];
    p->rules.bottom_right = below(3) > 0;
}

START_TEST(structure_of_random_shapes)
{
    for (int n = 0; n < SHAPES; n++) {
        int64_t kv_heads = 1 + below(2), dim = 1 + below(3), q_len = below(8), block_k = 1 + below(4);
        struct ref_problem p =
            problem(1 + below(2), kv_heads * (1 + below(2)), kv_heads, q_len, below(40), dim, below(2));
        struct ref_select s = selector(all_methods[_i], 1 + below(6), block_k, 1 + below(24));
        some_mask(&p);
        s.stride_q = 1 + below(s.block_q);
        s.stride_k = 1 + below(s.block_k);
        s.representative = (int)below(3);
        s.scope = (int)below(3);
        s.arithmetic = (int)below(3);
        s.sink = below(2) ? below(7) : 0;
        s.window = below(2) ? below(7) : 0;
        s.scores = some_scores(&p, &s);
        check_structure(&p, &s);
    }
}
END_TEST

static const int64_t lengths[] = {0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40};

/* Lengths around a block, and around budget, sinks and window together. */
START_TEST(structure_of_edges)
{
    for (size_t n = 0; n < LEN(lengths); n++)
        for (int64_t q_len = 0; q_len < 6; q_len += n % 2 ? 1 : 5)
            for (int near = 0; near < 4; near++) {
                struct ref_problem p = causal(problem(1, 1, 1, q_len, lengths[n], 2, false));
                struct ref_select s = selector(all_methods[_i], 4, 8, 16);
                s.sink = near & 1 ? 5 : 0;
                s.window = near & 2 ? 9 : 0;
                check_structure(&p, &s);
            }
}
END_TEST

/* A budget for all keys: every candidate, and attention over what is kept is attention, bit for bit. */
START_TEST(whole_budget_is_dense)
{
    for (int n = 0; n < 60; n++) {
        struct ref_problem p = problem(1, 2, 1, 1 + below(9), 1 + below(30), 2, false);
        struct ref_select s = selector(all_methods[_i], 4, 1 + below(5), 30 + below(9));
        some_mask(&p);
        s.sink = below(4);
        s.window = below(6);
        s.scope = (int)below(3);
        struct ref_list list = ref_list_make(&p, &s);
        for (int64_t h = 0; h < 2; h++)
            for (int64_t i = 0; i < p.q_len; i++) {
                struct ref_pair pairs[32];
                double o[2], lse, kept_o[2], kept_lse;
                ref_row(&p, 0, h, i, NULL, o, &lse);
                ref_kept_pairs(&p, &s, &list, 0, h, i, pairs);
                ref_row(&p, 0, h, i, pairs, kept_o, &kept_lse);
                ck_assert(o[0] == kept_o[0] && o[1] == kept_o[1] && (lse == kept_lse));
                ck_assert(ref_kept_mass(&p, &s, &list, 0, h, i) == 1);
            }
        ref_list_free(&list);
    }
}
END_TEST

/* The seen keys of a row are those of the window, of the sinks, and of its heads' blocks. */
START_TEST(near_keys_are_kept)
{
    struct ref_problem p = causal(problem(1, 4, 2, 8, 40, 2, false));
    struct ref_select s = selector(all_methods[_i], 4, 4, 4);
    s.scope = REF_KV_GROUP;
    s.sink = 3;
    s.window = 6;
    struct ref_list list = ref_list_make(&p, &s);
    ck_assert_msg(memcmp(list.ids, list.ids + 2, 2 * sizeof *list.ids),
                  "both groups have the same lists: the case shows nothing");
    for (int64_t h = 0; h < 4; h++)
        for (int64_t i = 0; i < p.q_len; i++) {
            struct ref_pair pairs[40];
            const int64_t at = i + 32, block = list.ids[h / 2 * 2 + i / 4];
            ref_kept_pairs(&p, &s, &list, 0, h, i, pairs);
            for (int64_t k = 0; k < 40; k++)
                ck_assert_int_eq(pairs[k].seen,
                                 k < 3 || (k > at - 6 && k <= at) || (k / 4 == block && k <= at));
            double mass = ref_kept_mass(&p, &s, &list, 0, h, i);
            ck_assert(mass > 0 && mass <= 1);
        }
    ref_list_free(&list);
}
END_TEST

START_TEST(ties_go_to_lower_blocks)
{
    struct ref_problem p = causal(problem(1, 2, 1, 4, 50, 2, false));
    for (int i = 0; i < MAX_TENSOR; i++)
        k_data[i] = 1; /* every key the same */
    struct ref_select s = selector(all_methods[_i], 4, 2, 10);
    s.sink = 4;
    s.window = 8;
    for (s.scope = REF_HEAD; s.scope <= REF_ALL_HEADS; s.scope++) {
        struct ref_list list = ref_list_make(&p, &s);
        for (int j = 0; j < 5; j++)
            ck_assert_int_eq(list.ids[j], 2 + j);
        ref_list_free(&list);
    }
    s.arithmetic = REF_FMA;
    p.scale = 0; /* then every key is */
    fill(k_data, false);
    check_list(&p, &s, (const int32_t[]){2, 3, 4, 5, 6}, 5);
}
END_TEST

/* NaN keys come last, and what no row may see is not asked for. */
START_TEST(keys_that_are_no_numbers)
{
    struct ref_problem p = causal(problem(1, 1, 1, 4, 36, 2, false));
    struct ref_select s = selector(all_methods[_i], 4, 4, 32);
    for (int64_t k = 8; k < 12; k++) /* one block */
        k_data[2 * k] = k_data[2 * k + 1] = NAN;
    struct ref_list list = ref_list_make(&p, &s);
    ck_assert_int_eq(list.counts[0], 8);
    for (int j = 0; j < 8; j++)
        ck_assert_int_eq(list.ids[j], j < 2 ? j : j + 1);
    ref_list_free(&list);
}
END_TEST

/* Scores of equal queries times a power of two, of a scale of the same sign: the same lists, in every
 * arithmetic. */
START_TEST(scale_does_not_matter)
{
    for (int arithmetic = REF_DOUBLE; arithmetic <= REF_MULTIPLY_ADD; arithmetic++) {
        struct ref_problem p = causal(problem(2, 2, 1, 7, 40, 5, false));
        struct ref_select s = selector(all_methods[_i], 4, 2, 12);
        s.arithmetic = arithmetic;
        s.window = 3;
        struct ref_list first = ref_list_make(&p, &s);
        for (int i = 0; i < MAX_TENSOR; i++)
            q_data[i] *= 1024.0f;
        p.scale = 17;
        struct ref_list second = ref_list_make(&p, &s);
        ck_assert(same_lists(&first, &second));
        ref_list_free(&first);
        ref_list_free(&second);
    }
}
END_TEST

/* On small whole numbers every arithmetic is exact (means of blocks of a power of two are, too). */
START_TEST(arithmetics_agree_where_exact)
{
    for (int n = 0; n < 20; n++) {
        struct ref_problem p = causal(problem(1, 2, 2, 6, 40, 4, true));
        struct ref_select s = selector(all_methods[_i], 3, 4, 12);
        struct ref_list lists[3];
        s.sink = below(6);
        for (s.arithmetic = REF_DOUBLE; s.arithmetic <= REF_MULTIPLY_ADD; s.arithmetic++)
            lists[s.arithmetic] = ref_list_make(&p, &s);
        ck_assert(same_lists(&lists[0], &lists[1]) && same_lists(&lists[0], &lists[2]));
        for (int i = 0; i < 3; i++)
            ref_list_free(&lists[i]);
    }
}
END_TEST

START_TEST(sums_round_as_said)
{
    /* 1 + 2 e - (1 + e)^2 with e = 2^-12 is -2^-24; the square rounds to 1 + 2 e, unless it is a part of an
     * fma. */
    struct ref_problem p = problem(1, 1, 1, 1, 4, 2, true);
    const float e = 0x1p-12f, keys[] = {1 + 2 * e, -1 - e, 0, 0, 0, 0, 0, 0};
    struct ref_select s = selector(REF_BEST, 1, 1, 1);
    int32_t blocks[4];
    double scores[4];
    static const double expected[] = {-0x1p-24, -0x1p-24, 0};
    memcpy(k_data, keys, sizeof keys);
    q_data[0] = 1;
    q_data[1] = 1 + e;
    for (s.arithmetic = REF_DOUBLE; s.arithmetic <= REF_MULTIPLY_ADD; s.arithmetic++) {
        ck_assert_int_eq(ref_block_scores(&p, &s, 0, 0, 0, blocks, scores), 4);
        ck_assert_msg(scores[0] == expected[s.arithmetic], "%a", scores[0]);
    }
}
END_TEST

/* ---- heads and batch entries ---- */
START_TEST(scopes)
{
    struct ref_problem p = causal(problem(1, 4, 2, 6, 40, 3, false)), one;
    struct ref_select s = selector(all_methods[_i], 3, 2, 8);
    struct ref_list of_head = ref_list_make(&p, &s);
    s.scope = REF_KV_GROUP;
    struct ref_list of_group = ref_list_make(&p, &s);
    s.scope = REF_ALL_HEADS;
    struct ref_list of_all = ref_list_make(&p, &s);
    ck_assert(of_head.scopes == 4 && of_group.scopes == 2 && of_all.scopes == 1);
    ck_assert_msg(memcmp(of_head.ids, of_head.ids + of_head.q_blocks * of_head.capacity,
                         (size_t)(of_head.q_blocks * of_head.capacity) * sizeof *of_head.ids),
                  "the heads of a group have the same list: the case shows nothing");
    one = p; /* a group of one head is that head; a problem of one group has one list for all */
    one.heads = one.kv_heads = 1;
    struct ref_list single = ref_list_make(&one, &s);
    ck_assert(
        !memcmp(single.ids, of_head.ids, (size_t)(single.q_blocks * single.capacity) * sizeof *single.ids));
    one.heads = 2;
    struct ref_list group = ref_list_make(&one, &s);
    ck_assert(
        !memcmp(group.ids, of_group.ids, (size_t)(group.q_blocks * group.capacity) * sizeof *group.ids));
    one.q.offset = 2 * 18;
    one.k.offset = 120;
    struct ref_list last = ref_list_make(&one, &s);
    ck_assert(!memcmp(last.ids, of_group.ids + of_group.q_blocks * of_group.capacity,
                      (size_t)(last.q_blocks * last.capacity) * sizeof *last.ids));
    one.q.offset = one.k.offset = 0;
    for (int i = 0; i < 18; i++) { /* exchange the heads of that group */
        float x = q_data[i];
        q_data[i] = q_data[18 + i];
        q_data[18 + i] = x;
    }
    struct ref_list exchanged = ref_list_make(&one, &s);
    ck_assert(same_lists(&group, &exchanged));
    struct ref_list *const lists[] = {&of_head, &of_group, &of_all, &single, &last, &group, &exchanged};
    for (size_t i = 0; i < LEN(lists); i++)
        ref_list_free(lists[i]);
}
END_TEST

/* A batch of different lengths is its entries, one by one. */
START_TEST(entries_are_on_their_own)
{
    static const int32_t key_lengths[] = {33, 0, 12, 40};
    struct ref_problem p = causal(problem(4, 2, 1, 5, 40, 2, false));
    struct ref_select s = selector(all_methods[_i], 3, 4, 8);
    s.window = 4;
    p.key_lengths = key_lengths;
    struct ref_list list = ref_list_make(&p, &s);
    for (int64_t b = 0; b < 4; b++) {
        struct ref_problem one = p;
        one.batch = 1;
        one.key_lengths = key_lengths + b;
        one.q.offset = b * p.q.batch;
        one.k.offset = b * p.k.batch;
        struct ref_list alone = ref_list_make(&one, &s);
        int64_t rows = alone.scopes * alone.q_blocks;
        ck_assert(!memcmp(alone.counts, list.counts + b * rows, (size_t)rows * sizeof *alone.counts));
        ck_assert(!memcmp(alone.ids, list.ids + b * rows * list.capacity,
                          (size_t)(rows * list.capacity) * sizeof *alone.ids));
        ref_list_free(&alone);
    }
    ref_list_free(&list);
}
END_TEST

/* Packed entries likewise, and queries of a shorter one have no list. */
START_TEST(packed_entries)
{
    static const int32_t q_offsets[] = {0, 2, 9}, k_offsets[] = {0, 17, 40};
    struct ref_problem p = causal(problem(1, 1, 1, 9, 40, 2, false));
    struct ref_select s = selector(all_methods[_i], 4, 4, 8);
    p.batch = 2;
    p.q_offsets = q_offsets;
    p.k_offsets = k_offsets;
    p.q_len = 7;
    p.kv_len = 23;
    struct ref_list list = ref_list_make(&p, &s);
    ck_assert(list.q_blocks == 2 && list.counts[0] == 2 && list.counts[1] == 0 && list.counts[2] == 2 &&
              list.counts[3] == 2);
    for (int64_t b = 0; b < 2; b++) {
        struct ref_problem one = p;
        one.batch = 1;
        one.q_offsets = one.k_offsets = NULL;
        one.q_len = q_offsets[b + 1] - q_offsets[b];
        one.kv_len = k_offsets[b + 1] - k_offsets[b];
        one.q.offset = 2 * q_offsets[b];
        one.k.offset = 2 * k_offsets[b];
        struct ref_list alone = ref_list_make(&one, &s);
        ck_assert(!memcmp(alone.ids, list.ids + 2 * b * list.capacity,
                          (size_t)(alone.q_blocks * alone.capacity) * sizeof *alone.ids));
        ref_list_free(&alone);
    }
    ref_list_free(&list);
}
END_TEST

/* ---- TREE and STAGED ---- */
static bool contains(const int32_t *ids, int64_t n, int32_t id)
{
    for (int64_t j = 0; j < n; j++)
        if (ids[j] == id)
            return true;
    return false;
}

START_TEST(certified_blocks_are_kept)
{
    int certified = 0;
    for (int n = 0; n < LISTS; n++) {
        int64_t kv_len = 20 + below(180);
        struct ref_problem p = scores_as_keys(kv_len);
        struct ref_select s = selector(REF_TREE, 1, 1, 4 + below(20));
        int32_t ids[32], blocks[200];
        double scores[200];
        s.representative = _i;
        for (int64_t t = 1; t < kv_len; t++) /* neighbours are alike */
            k_data[t] = 0.95f * k_data[t - 1] + (float)(below(2001) - 1000) / 1000.0f;
        int64_t count = ref_select(&p, &s, 0, 0, 0, ids, NULL),
                all = ref_block_scores(&p, &s, 0, 0, 0, blocks, scores);
        for (int64_t j = 0; j < all && count < all; j++)
            if (ref_certified(scores, all, s.budget, s.representative, j)) {
                ck_assert_msg(contains(ids, count, blocks[j]), "case %d: block %d is proved and not kept", n,
                              (int)blocks[j]);
                certified++;
            }
    }
    ck_assert_int_ge(certified, LISTS);
}
END_TEST

/* No more dot products than 2 rounds K R c, and of a chunk of c keys, a power of two, 2 log2 c. */
START_TEST(probes_are_counted)
{
    for (int n = 0; n < 100; n++) {
        struct ref_problem p = problem(1, 1, 1, 8, 10 + below(120), 1, false);
        struct ref_select s = selector(REF_TREE, 8, 1 + below(4), 1 + below(12));
        struct ref_trace trace = {0};
        int32_t ids[16];
        s.stride_q = 1 + below(8);
        s.stride_k = 1 + below(s.block_k);
        ref_select(&p, &s, 0, 0, 0, ids, &trace);
        int64_t keep = (s.budget + s.block_k - 1) / s.block_k, r = (8 + s.stride_q - 1) / s.stride_q,
                c = s.block_k / s.stride_k;
        int64_t halvings = 0;
        while (keep << halvings < trace.candidates)
            halvings++;
        ck_assert_int_eq(trace.rounds, halvings);
        ck_assert_int_le(trace.dots, 2 * halvings * keep * r * c);
    }
    struct ref_problem p = problem(1, 1, 1, 8, 256, 1, false);
    struct ref_select s = selector(REF_STAGED, 8, 8, 16);
    struct ref_trace trace = {0};
    int32_t ids[2];
    s.stride_q = 2;
    ref_select(&p, &s, 0, 0, 0, ids, &trace);
    ck_assert_int_eq(trace.dots, 4 * (8 * 2 * 5 + 4 * 2 * 4 +
                                      4 * 2 * 3)); /* 8 chunks of 32, 2 kept; 4 of 16, 2 kept; 4 of 8 */
}
END_TEST

/* With the earlier stages as they are, a smaller last budget keeps a part of what a larger one keeps. */
START_TEST(staged_lists_nest)
{
    for (int n = 0; n < LISTS; n++) {
        struct ref_problem p = scores_as_keys(16 + below(200));
        struct ref_select s = selector(REF_STAGED, 1, 2, 16);
        int32_t few[8], many[8];
        fill(k_data, n % 2);
        int64_t larger = ref_select(&p, &s, 0, 0, 0, many, NULL);
        s.budget = s.stages[2].keep = 2 * (1 + below(7));
        int64_t smaller = ref_select(&p, &s, 0, 0, 0, few, NULL);
        for (int64_t j = 0; j < smaller; j++)
            ck_assert(contains(many, larger, few[j]));
    }
}
END_TEST

/* No promise: a larger budget of TREE may lose a block that a smaller one keeps.  Here so that nobody asserts
 * it.  One: 01 shows 2 and 234 shows 1, so 01 stays, and of it 1.  Two: 0, 1, 2 and 34 show 0 2 3 4, so 1
 * goes. */
START_TEST(tree_lists_do_not_nest)
{
    struct ref_problem p = scores_as_keys(5);
    struct ref_select s = selector(REF_TREE, 1, 1, 1);
    memcpy(k_data, (const float[]){0, 2, 3, 1, 4}, 5 * sizeof(float));
    check_list(&p, &s, (const int32_t[]){1}, 1);
    s.budget = 2;
    check_list(&p, &s, (const int32_t[]){2, 4}, 2);
}
END_TEST

/* A key that was not looked at, whatever it holds, changes no list. */
START_TEST(unprobed_keys_do_not_matter)
{
    int untouched = 0;
    for (int n = 0; n < 100; n++) {
        struct ref_problem p = causal(problem(1, 1, 1, 2, 100, 1, false));
        struct ref_select s = selector(_i ? REF_STAGED : REF_TREE, 2, 2, 12);
        unsigned char probed[100] = {0};
        struct ref_trace trace = {.probed = probed};
        int32_t before[6], after[6];
        s.stride_k = 1 + n % 2;
        int64_t count = ref_select(&p, &s, 0, 0, 0, before, &trace);
        for (int t = 0; t < 100; t++)
            if (!probed[t]) {
                k_data[t] = n % 3 ? 1e30f : NAN;
                untouched++;
            }
        ck_assert_int_eq(ref_select(&p, &s, 0, 0, 0, after, NULL), count);
        ck_assert(!memcmp(before, after, (size_t)count * sizeof *before));
    }
    ck_assert_int_ge(untouched, 500);
}
END_TEST

/* ---- MINMAX and POOL_MEAN ---- */
/* The bound is no smaller than any score of its block, rounding included, so a peak of any width is found. */
START_TEST(bounds_hold)
{
    for (int n = 0; n < 100; n++) {
        struct ref_problem p = problem(1, 1, 1, 1, 64, 8, false);
        struct ref_select s = selector(REF_MINMAX, 1, 4, 4);
        int64_t peak = below(64);
        for (int d = 0; d < 8; d++)
            k_data[8 * peak + d] = 40 * q_data[d];
        s.arithmetic = n % 3;
        check_list(&p, &s, (const int32_t[]){(int32_t)(peak / 4)}, 1);
        s.block_k = 1; /* of one key the bound is its score */
        struct ref_list bounds = ref_list_make(&p, &s);
        s.method = REF_BEST;
        struct ref_list scores = ref_list_make(&p, &s);
        ck_assert(same_lists(&bounds, &scores));
        ref_list_free(&bounds);
        ref_list_free(&scores);
    }
}
END_TEST

START_TEST(mirrored_keys_give_mirrored_lists)
{
    for (int n = 0; n < 50; n++) {
        struct ref_problem p = problem(1, 1, 1, 3, 40, 2, false);
        struct ref_select s = selector(_i ? REF_POOL_MEAN : REF_MINMAX, 3, 4, 16);
        struct ref_list list = ref_list_make(&p, &s);
        for (int t = 0; t < 20; t++)
            for (int d = 0; d < 2; d++) {
                float x = k_data[2 * t + d];
                k_data[2 * t + d] = k_data[2 * (39 - t) + d];
                k_data[2 * (39 - t) + d] = x;
            }
        struct ref_list mirrored = ref_list_make(&p, &s);
        for (int j = 0; j < 4; j++)
            ck_assert_int_eq(list.ids[j], 9 - mirrored.ids[3 - j]);
        ref_list_free(&list);
        ref_list_free(&mirrored);
    }
}
END_TEST

/* ---- what is kept ---- */
START_TEST(mass_by_hand)
{
    /* Scores 0, log 3, 0, log 3 after the scale: weights 1 3 1 3 of 8.  Block 0 of two keys is listed: a
     * half; with key 3 near: 7/8. */
    struct ref_problem p = scores_as_keys(4);
    struct ref_select s = selector(REF_BEST, 1, 2, 2);
    memcpy(k_data, (const float[]){0, 1, 0, 1}, 4 * sizeof(float));
    p.scale = log(3);
    p.rules.bottom_right = true;
    struct ref_list list = ref_list_make(&p, &s);
    ck_assert_int_eq(list.ids[0], 0);
    ck_assert_double_eq_tol(ref_kept_mass(&p, &s, &list, 0, 0, 0), 0.5, 1e-15);
    s.window = 1;
    ck_assert_double_eq_tol(ref_kept_mass(&p, &s, &list, 0, 0, 0), 0.875, 1e-15);
    p.rules.mask = "false";
    ck_assert(ref_kept_mass(&p, &s, &list, 0, 0, 0) == 1);
    ref_list_free(&list);
}
END_TEST

/* BEST keeps no less of the largest scores than any other method: its smallest is at least theirs, one by
 * one. */
START_TEST(no_method_beats_the_best)
{
    for (int n = 0; n < 40; n++) {
        struct ref_problem p = problem(1, 1, 1, 4, 60, 2, false);
        struct ref_select s = selector(all_methods[_i], 4, 3, 15);
        int32_t blocks[20];
        double scores[20], sums[2] = {0, 0};
        ref_block_scores(&p, &s, 0, 0, 0, blocks, scores);
        for (int which = 0; which < 2; which++) {
            struct ref_list list = ref_list_make(&p, &s);
            for (int j = 0; j < list.counts[0]; j++)
                sums[which] += scores[list.ids[j]];
            ref_list_free(&list);
            s.method = REF_BEST;
        }
        ck_assert(sums[0] <= sums[1] + 1e-9);
    }
}
END_TEST

/* Keys that are others but for the last bits: where an arithmetic makes another list, the oracle has called a
 * decision close, and without such keys it seldom does. */
START_TEST(close_decisions_are_counted)
{
    int differ = 0, far = 0;
    for (int n = 0; n < 200; n++) {
        struct ref_problem p = problem(1, 1, 1, 4, 200, 16, false);
        struct ref_select s = selector(_i ? REF_STAGED : REF_TREE, 4, 2, 16);
        struct ref_trace trace = {.judges = true};
        int32_t exact[16], rounded[16];
        if (_i) {
            s.n_stages = 2;
            s.stages[0].chunk = 8;
            s.stages[0].keep = 32;
            s.stages[1].chunk = 2;
            s.stages[1].keep = 16;
        }
        for (int i = 17 * 16; i < 200 * 16 && n % 2; i++)
            if (i / 16 % 3)
                k_data[i] = nextafterf(k_data[i - 17 * 16], below(2) ? 9.0f : -9.0f);
        int64_t count = ref_select(&p, &s, 0, 0, 0, exact, &trace);
        s.arithmetic = REF_MULTIPLY_ADD;
        ck_assert_int_eq(ref_select(&p, &s, 0, 0, 0, rounded, NULL), count);
        const bool same = !memcmp(exact, rounded, sizeof *exact * (size_t)count);
        ck_assert_msg(same || trace.close > 0, "case %d: another list, and no decision is close", n);
        differ += !same;
        far += n % 2 == 0 && trace.close == 0;
    }
    ck_assert_int_ge(differ, 5);
    ck_assert_int_ge(far, 90);
}
END_TEST

static TCase *promises_case(void)
{
    TCase *all = tcase_create("promises");
    const int n = (int)LEN(all_methods);
    tcase_add_loop_test(all, structure_of_random_shapes, 0, n);
    tcase_add_loop_test(all, structure_of_edges, 0, n);
    tcase_add_loop_test(all, whole_budget_is_dense, 0, n);
    tcase_add_loop_test(all, near_keys_are_kept, 0, n);
    tcase_add_loop_test(all, ties_go_to_lower_blocks, 0, n);
    tcase_add_loop_test(all, keys_that_are_no_numbers, 0, n);
    tcase_add_loop_test(all, scale_does_not_matter, 0, n);
    tcase_add_loop_test(all, arithmetics_agree_where_exact, 0, n);
    tcase_add_loop_test(all, scopes, 0, n);
    tcase_add_loop_test(all, entries_are_on_their_own, 0, n);
    tcase_add_loop_test(all, packed_entries, 0, n);
    tcase_add_loop_test(all, no_method_beats_the_best, 0, n);
    return all;
}

int main(void)
{
    Suite *suite = suite_create("select_ref");
    TCase *hand = tcase_create("by hand"), *search = tcase_create("searches"),
          *summary = tcase_create("summaries");
    tcase_add_test(hand, tree_by_hand);
    tcase_add_test(hand, staged_by_hand);
    tcase_add_test(hand, staged_ties_go_left);
    tcase_add_test(hand, sampled_rows);
    tcase_add_test(hand, means_of_rows);
    tcase_add_test(hand, last_block_is_short);
    tcase_add_test(hand, summaries_by_hand);
    tcase_add_test(hand, bounds_of_seen_blocks);
    tcase_add_test(hand, given_scores);
    tcase_add_test(hand, budgets_by_hand);
    tcase_add_test(hand, block_masses);
    tcase_add_test(hand, proofs_by_hand);
    tcase_add_test(hand, prototype_lists);
    tcase_add_test(hand, sums_round_as_said);
    tcase_add_test(hand, mass_by_hand);
    tcase_add_loop_test(search, certified_blocks_are_kept, REF_FIRST, REF_LAST + 1);
    tcase_add_test(search, probes_are_counted);
    tcase_add_loop_test(search, close_decisions_are_counted, 0, 2);
    tcase_add_test(search, staged_lists_nest);
    tcase_add_test(search, tree_lists_do_not_nest);
    tcase_add_loop_test(search, unprobed_keys_do_not_matter, 0, 2);
    tcase_add_test(summary, bounds_hold);
    tcase_add_loop_test(summary, mirrored_keys_give_mirrored_lists, 0, 2);
    suite_add_tcase(suite, hand);
    suite_add_tcase(suite, promises_case());
    suite_add_tcase(suite, search);
    suite_add_tcase(suite, summary);
    return run_suite(suite);
}
