/* SPDX-License-Identifier: MIT
 * check_listed.c - attention over sinks, window and lists, on every engine, against the oracle: the oracle's
 * lists, all candidates, any blocks, lists that are none.
 *
 * Keys that no row keeps are full of NaN. */
#include "tests/fresh_context.h"
#include "tests/ref_select.h"
#include "tests/suite.h"
#include "tests/trial.h"
#include "tool/workload.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) ((int)(sizeof(array) / sizeof((array)[0])))

enum { BATCH = 2, Q_LEN = 45, KV_LEN = 130, BLOCK_Q = 16, BLOCK_K = 8 };

/* A pattern over what a selection keeps; the list is fitted to it. */
static void prune(clattn_attention *a, const clattn_select *s, int64_t capacity)
{
    static const clattn_list init = CLATTN_LIST_INIT;
    a->pattern = clattn_both(a->pattern, clattn_selected(s, (clattn_corner)a->pattern.corner));
    a->list = init;
    ck_assert_int_eq(clattn_list_fit(&a->list, a, (clattn_scope)s->scope, s->block_q, s->block_k, capacity),
                     CLATTN_OK);
}

static clattn_attention problem(int scope, int64_t capacity)
{
    clattn_attention a = trial_problem(BATCH, Q_LEN, KV_LEN);
    clattn_select s = CLATTN_SELECT_INIT;
    s.scope = scope;
    s.block_q = BLOCK_Q;
    s.block_k = BLOCK_K;
    s.sink = 5;
    s.window = 11;
    a.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
    prune(&a, &s, capacity);
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
    const clattn_list *l = &t->a.list;
    const int64_t lists = list->batch * list->scopes * list->q_blocks;
    ck_assert(l->batch == list->batch && l->scopes == list->scopes && l->q_blocks == list->q_blocks &&
              l->capacity == list->capacity);
    memcpy(t->list + l->counts_at / 4, list->counts, (size_t)lists * sizeof *t->list);
    if (list->capacity > 0)
        memcpy(t->list + l->ids_at / 4, list->ids, (size_t)(lists * list->capacity) * sizeof *t->list);
    ck_assert_int_eq(clattn_list_check(l, t->list, NULL, 0), CLATTN_OK);
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
        clattn_attention a = problem(scope, methods[_i] == REF_STREAMING ? 0 : 32 / BLOCK_K);
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
    clattn_attention a = problem(REF_KV_GROUP, 160 / BLOCK_K), all = trial_problem(BATCH, Q_LEN, KV_LEN);
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

/* ---- AT-08, AT-09: every key counts once, and a row without keys is 0 ----
 *
 * Scores of 0 and values that are one-hot: o[d] is 1 / n where the row sees key d and n - 1 others, else
 * exactly 0.  Sinks, window and listed blocks overlap; without sinks and window, rows of empty lists see
 * nothing, and so do the first rows of a short entry. */
enum { COUNTED = 40, ROWS = 21 };
static const struct {
    int scope, sink, window, blocks; /* blocks: of a list, at most */
} counted[] = {
    {CLATTN_SCOPE_HEAD, 0, 0, 10}, {CLATTN_SCOPE_HEAD, 5, 7, 10}, {CLATTN_SCOPE_GROUP, 0, 1, 10},
    {CLATTN_SCOPE_ALL, 3, 0, 10},  {CLATTN_SCOPE_ALL, 0, 0, 0},
};

static bool is_listed(int64_t list, int64_t block)
{
    return list % 3 != 1 && (list + 2 * block) % 5 < 2;
}

static int64_t list_of(const clattn_list *l, int64_t b, int64_t h, int64_t i)
{
    return (b * l->scopes + h * l->scopes / 4) * l->q_blocks + i / l->block_q;
}

static void list_some(const struct trial *t)
{
    const clattn_list *l = &t->a.list;
    for (int64_t r = 0; r < l->batch * l->scopes * l->q_blocks; r++) {
        int32_t *ids = t->list + l->ids_at / 4 + r * l->capacity, n = 0;
        for (int32_t block = 0; block < l->k_blocks && l->capacity > 0; block++)
            if (is_listed(r, block))
                ids[n++] = block;
        t->list[l->counts_at / 4 + r] = n;
    }
    ck_assert_int_eq(clattn_list_check(l, t->list, NULL, 0), CLATTN_OK);
}

/* Returns how many keys the row sees. */
static int count_row(const struct trial *t, int c, int64_t b, int64_t h, int64_t i)
{
    const double u = 0x1p-24;
    const clattn_list *l = &t->a.list;
    const int64_t length = t->key_lengths[b], position = i + length - ROWS;
    bool seen[COUNTED];
    int n = 0;
    for (int64_t k = 0; k < COUNTED; k++) {
        const bool listed = l->capacity > 0 && is_listed(list_of(l, b, h, i), k / l->block_k);
        seen[k] = k < length && k <= position &&
                  (listed || k < counted[c].sink || position - k < counted[c].window);
        n += seen[k];
    }
    for (int d = 0; d < COUNTED; d++) {
        const double o = (double)trial_o(t, b, h, i)[d];
        ck_assert_msg(seen[d] ? fabs(o - 1.0 / n) <= 16 * u : o == 0,
                      "case %d, entry %d head %d row %d: key %d of %d weighs %g", c, (int)b, (int)h, (int)i,
                      d, n, o);
    }
    const double lse = (double)t->lse[(b * 4 + h) * ROWS + i];
    ck_assert(n ? fabs(lse - log(n)) <= 16 * u * (1 + log(n)) : lse == -INFINITY);
    return n;
}

START_TEST(every_key_counts_once)
{
    clattn_attention a = trial_problem(BATCH, ROWS, COUNTED);
    clattn_select s = CLATTN_SELECT_INIT;
    a.dim_v = COUNTED;
    a.flags |= CLATTN_KEY_LENGTHS;
    a.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
    s.scope = counted[_i].scope;
    s.block_q = 5;
    s.block_k = 4;
    s.sink = counted[_i].sink;
    s.window = counted[_i].window;
    prune(&a, &s, counted[_i].blocks);
    struct trial t = trial_make(&a);
    t.key_lengths[1] = ROWS - 3;
    list_some(&t);
    memset(t.q, 0, (size_t)t.q_count * sizeof *t.q);
    for (int64_t n = 0; n < t.v_count; n++)
        t.v[n] = n / COUNTED % COUNTED == n % COUNTED;
    for (int e = 0; e < trial_n_engines; e++) {
        int empty = 0;
        trial_run(&t, trial_engines[e]);
        for (int64_t row = 0; row < BATCH * 4 * ROWS; row++)
            empty += count_row(&t, _i, row / (4 * ROWS), row / ROWS % 4, row % ROWS) == 0;
        ck_assert_int_ge(empty, 4 * 3); /* the short entry's first */
    }
    trial_free(&t);
}
END_TEST

/* ---- any blocks: the workload's lists, which differ from head to head and from block to block ---- */
static clattn_context *ctx;

static void open_context(void)
{
    ctx = fresh_context();
}

static void close_context(void)
{
    clattn_context_close(ctx);
}

/* Engines that refuse a device are tried by name: a GPU may lack the memory, a small CPU the vectors. */
static const struct {
    const char *engine, *problem;
    int scope, block_q, block_k, capacity, sink, window;
} kinds[] = {
    {"vector", "attn:f32:b2:h6/2:q100:k300:d40/24:causal-br:lse", CLATTN_SCOPE_HEAD, 16, 8, 12, 3, 17},
    {"vector", "attn:f32:b2:h4/2:q70:k333:d40/24:lse", CLATTN_SCOPE_ALL, 7, 12, 20, 9, 0},
    {"vector", "attn:f16:b3:h4/2:q66:k140:d64:prefix30-br:keylens", CLATTN_SCOPE_GROUP, 64, 64, 2, 1, 5},
    /* heads and lists share a tile */
    {"vector", "attn:f32:b2:h6/2:q9:k500:d24/20:causal-tl:lse", CLATTN_SCOPE_GROUP, 2, 8, 30, 0, 40},
    /* few */
    {"vector", "attn:f32:b2:h6/2:q1:k2500:d64:causal-br:lse:splits=3", CLATTN_SCOPE_HEAD, 64, 8, 40, 4, 100},
    {"vector", "attn:f16:b3:h2/1:q2:k1300:d40/24:packed:qtotal=5:ktotal=3000:causal-br", CLATTN_SCOPE_HEAD, 1, 24, 20, 0, 1},
    {"portable", "attn:f32:b3:h4/2:q40:k200:d24/20:causal-br:lse:packed:qtotal=90:ktotal=400", CLATTN_SCOPE_HEAD, 9, 8, 9, 2, 8},
    {"portable", "attn:bf16:b2:h6/2:q3:k700:d24/20:keylens:splits=4", CLATTN_SCOPE_HEAD, 2, 16, 10, 3, 0},
    {"matrix-generic", "attn:f16:b2:h4/2:q50:k200:d32:causal-br:lse", CLATTN_SCOPE_HEAD, 16, 8, 9, 2, 8},
    {"matrix-generic", "attn:f16:b2:h4/1:q5:k300:d32:keylens:splits=2", CLATTN_SCOPE_HEAD, 3, 8, 20, 0, 0},
    {"decode-generic", "attn:f16:b2:h6/2:q2:k700:d64:causal-br:lse", CLATTN_SCOPE_HEAD, 1, 8, 20, 2, 30},
};

static clattn_attention kind_of(int i)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    clattn_select s = CLATTN_SELECT_INIT;
    char message[256];
    ck_assert_msg(clattn_problem_parse(&a, kinds[i].problem, message, sizeof message) == CLATTN_OK, "%s",
                  message);
    snprintf(a.engine, sizeof a.engine, "%s", kinds[i].engine);
    s.scope = kinds[i].scope;
    s.block_q = kinds[i].block_q;
    s.block_k = kinds[i].block_k;
    s.sink = kinds[i].sink;
    s.window = kinds[i].window;
    prune(&a, &s, kinds[i].capacity);
    return a;
}

static void judge(struct workload *w, clattn_plan *plan, const char *what)
{
    struct verdict verdict;
    clattn_status status = workload_run(w, plan, NULL);
    ck_assert_msg(status == CLATTN_OK, "%s: %s", what, clattn_status_name(status));
    workload_check(w, INT64_MAX, &verdict);
    ck_assert_msg(verdict.pass && verdict.rows > 0, "%s: %s, bound %g", what, verdict.where, verdict.bound);
    ck_assert_msg(workload_guards_intact(w), "%s wrote outside its rows", what);
}

/* Lists that are none: counts and ids out of range give some numbers, and no crash; other heads' rows stay as
 * they are. */
static void spoil(struct workload *w)
{
    const clattn_list *l = &w->problem.list;
    uint64_t bytes;
    ck_assert_int_eq(clattn_list_bytes(l, &bytes), CLATTN_OK);
    for (uint64_t i = 0; i < bytes / 4; i++) {
        static const int32_t odd[] = {-1, INT32_MIN, INT32_MAX, 1 << 20, 3, 7, 0, 65535};
        w->list[i] = odd[i * 2654435761u >> 7 & 7];
    }
}

START_TEST(any_blocks)
{
    const clattn_attention a = kind_of(_i);
    clattn_plan *plan;
    struct workload w;
    clattn_status status = clattn_plan_create(&plan, ctx, &a);
    if (status == CLATTN_ENGINE_REFUSED) {
        printf("# left out: %s\n", kinds[_i].problem);
        return;
    }
    ck_assert_msg(status == CLATTN_OK, "%s: %s", kinds[_i].problem, clattn_status_name(status));
    for (uint64_t seed = 1; seed <= 3; seed++) {
        ck_assert_int_eq(workload_make(&w, &a, seed, seed == 2 ? WORKLOAD_POISON : WORKLOAD_NORMAL),
                         CLATTN_OK);
        judge(&w, plan, kinds[_i].problem);
        if (seed == 3) {
            spoil(&w);
            ck_assert_int_eq(workload_run(&w, plan, NULL), CLATTN_OK);
            ck_assert(workload_guards_intact(&w));
        }
        workload_free(&w);
    }
    clattn_plan_destroy(plan);
}
END_TEST

/* ---- AT-26: keys in 1 to 64 parts ----
 *
 * 64 x 128 keys: 64 parts are one block each on the engine with the largest.  Few of 1024 blocks are listed,
 * so most parts have none; lists without blocks, and short batch entries, leave rows all of whose parts are
 * empty. */
static const int parts_tried[] = {1, 2, 3, 4, 5, 7, 10, 16, 22, 32, 63, 64};
static const struct {
    const char *problem;
    int scope, block_q, capacity, sink, window;
} parted[] = {
    {"attn:f32:b2:h2/1:q1:k8192:d16:causal-br:lse", CLATTN_SCOPE_HEAD, 1, 6, 3, 17},
    {"attn:f32:b2:h2:q2:k8192:d16:keylens:lse", CLATTN_SCOPE_GROUP, 1, 9, 0, 0},
    {"attn:f16:b2:h2/1:q2:k8192:d16:keylens:causal-br:lse", CLATTN_SCOPE_ALL, 2, 6, 0, 5},
};

static void judge_parted(struct workload *w, const char *engine, int parts)
{
    clattn_attention a = w->problem;
    clattn_plan *plan;
    char what[300];
    a.splits = parts;
    snprintf(a.engine, sizeof a.engine, "%s", engine);
    snprintf(what, sizeof what, "%s, %d parts", engine, parts);
    clattn_status status = clattn_plan_create(&plan, ctx, &a);
    ck_assert_msg(status == CLATTN_OK, "%s: %s", what, clattn_status_name(status));
    judge(w, plan, what);
    clattn_plan_destroy(plan);
}

/* Every number of parts gives the single pass's numbers: each is as near to the oracle as doc/numerics.md
 * wants. */
START_TEST(any_number_of_parts)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    clattn_select s = CLATTN_SELECT_INIT;
    struct workload w;
    s.scope = parted[_i].scope;
    s.block_q = parted[_i].block_q;
    s.block_k = BLOCK_K;
    s.sink = parted[_i].sink;
    s.window = parted[_i].window;
    ck_assert_int_eq(clattn_problem_parse(&a, parted[_i].problem, NULL, 0), CLATTN_OK);
    prune(&a, &s, parted[_i].capacity);
    ck_assert_int_eq(workload_make(&w, &a, 26, WORKLOAD_POISON), CLATTN_OK);
    for (int e = 0; e < trial_n_engines; e++)
        for (int i = 0; i < LEN(parts_tried); i++)
            judge_parted(&w, trial_engines[e], parts_tried[i]);
    workload_free(&w);
}
END_TEST

/* Without ids there is still a list: sinks and window are all that rows see. */
START_TEST(capacity_0)
{
    clattn_attention a = kind_of(0);
    clattn_plan *plan;
    struct workload w;
    a.engine[0] = 0;
    ck_assert_int_eq(clattn_list_fit(&a.list, &a, CLATTN_SCOPE_GROUP, 5, 8, 0), CLATTN_OK);
    ck_assert_int_eq(clattn_plan_create(&plan, ctx, &a), CLATTN_OK);
    ck_assert_int_eq(workload_make(&w, &a, 5, WORKLOAD_POISON), CLATTN_OK);
    judge(&w, plan, "capacity 0");
    workload_free(&w);
    clattn_plan_destroy(plan);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listed");
    TCase *engines = tcase_create("engines");
    tcase_add_checked_fixture(engines, trial_set_up, trial_tear_down);
    tcase_add_loop_test(engines, kept_pairs_on_every_engine, 0, LEN(methods));
    tcase_add_loop_test(engines, all_candidates_are_dense, 0, LEN(methods) - 1); /* STREAMING has no list */
    tcase_add_loop_test(engines, every_key_counts_once, 0, LEN(counted));
    suite_add_tcase(suite, engines);
    TCase *others = tcase_create("kinds");
    tcase_add_checked_fixture(others, open_context, close_context);
    tcase_add_loop_test(others, any_blocks, 0, LEN(kinds));
    tcase_add_test(others, capacity_0);
    suite_add_tcase(suite, others);
    TCase *parts = tcase_create("parts");
    tcase_add_checked_fixture(parts, trial_set_up, trial_tear_down);
    tcase_add_checked_fixture(parts, open_context, close_context);
    tcase_add_loop_test(parts, any_number_of_parts, 0, LEN(parted));
    suite_add_tcase(suite, parts);
    return run_suite(suite);
}
