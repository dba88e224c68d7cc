/* SPDX-License-Identifier: MIT
 * check_forward.c - the operator against the double reference: a table of edge problems, then a random sweep.
 *
 * Every problem runs on every engine that fits the device, each forced by name; an engine that refuses it is
 * given its like in f16 or bf16.  Every run: outputs filled with NaN before, error within the bound of
 * doc/numerics.md, guard zones and the gaps between rows untouched, a second run equal bit for bit.
 *
 *     CLATTN_TEST_DEVICE     a device selector
 *     CLATTN_TEST_PROBLEMS   length of the random sweep (8; 160 in a long run)
 *     CLATTN_TEST_SEED       its first seed (1) */
#include "tests/engines.h"
#include "tests/fresh_context.h"
#include "tests/suite.h"
#include "tool/workload.h"

#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))
#define ROWS 48 /* compared of each problem */
#define MAX_ENGINES 12

static clattn_context *ctx;
static clattn_device_facts facts;
static const char *engines[MAX_ENGINES];
static int n_engines;
static int taken[MAX_ENGINES]; /* problems that each has run */

struct tally {
    int problems, failures, refused, passed_over;
    int64_t rows, unbounded;
    double ratio; /* the largest */
};
static struct tally tally;

static void set_up(void)
{
    clattn_engine_fit fit = CLATTN_ENGINE_FIT_INIT;
    ctx = fresh_context();
    facts = (clattn_device_facts)CLATTN_DEVICE_FACTS_INIT;
    ck_assert_int_eq(clattn_device_describe(clattn_context_device(ctx), &facts), CLATTN_OK);
    for (size_t i = 0; n_engines < MAX_ENGINES && clattn_engine_describe(&facts, i, &fit) == CLATTN_OK; i++)
        if (fit.fits && !is_for_others(&facts, fit.engine))
            engines[n_engines++] = fit.engine;
    ck_assert_int_ge(n_engines, 1);
}

static void tear_down(void)
{
    clattn_context_close(ctx);
    ctx = NULL;
    n_engines = 0;
}

/* ---- one problem ---- */
static const char *const fill_words[] = {"normal", "large", "constant v", "poison"};

static bool complain(const struct workload *w, enum workload_fill fill, const char *what)
{
    char text[1024];
    if (clattn_problem_print(&w->problem, text, sizeof text))
        snprintf(text, sizeof text, "(does not print)");
    fprintf(stderr, "FAILED %s mask '%s' seed %" PRIu64 " fill %s: %s\n", text, w->problem.pattern.text,
            w->seed, fill_words[fill], what);
    tally.failures++;
    return false;
}

static bool complain_status(const struct workload *w, enum workload_fill fill, const char *call)
{
    char text[900], what[1024];
    clattn_context_message(ctx, text, sizeof text);
    snprintf(what, sizeof what, "%s: %s", call, text);
    return complain(w, fill, what);
}

/* Run again on outputs full of NaN (all bits set is one in every type) and compare bits. */
static bool same_bits_again(struct workload *w, clattn_plan *plan)
{
    size_t o_bytes = (size_t)w->o_count * (size_t)workload_type_bytes(w->problem.type_o),
           lse_bytes = (size_t)w->lse_count * 4;
    char *before = malloc(o_bytes + lse_bytes + 1);
    ck_assert_ptr_nonnull(before);
    memcpy(before, w->o, o_bytes);
    memcpy(before + o_bytes, w->lse, lse_bytes);
    bool same = workload_run(w, plan, NULL) == CLATTN_OK && !memcmp(before, w->o, o_bytes) &&
                !memcmp(before + o_bytes, w->lse, lse_bytes);
    free(before);
    return same;
}

static bool judge(struct workload *w, clattn_plan *plan, enum workload_fill fill)
{
    struct verdict verdict;
    char what[400];
    if (workload_run(w, plan, NULL))
        return complain_status(w, fill, "clattn_run_forward");
    workload_check(w, ROWS, &verdict);
    tally.rows += verdict.rows;
    tally.unbounded += verdict.unbounded;
    tally.ratio = verdict.ratio > tally.ratio ? verdict.ratio : tally.ratio;
    if (!verdict.pass) {
        snprintf(what, sizeof what, "%s (error %.3g, bound %.3g; lse error %.3g, bound %.3g)", verdict.where,
                 verdict.error, verdict.bound, verdict.lse_error, verdict.lse_bound);
        return complain(w, fill, what);
    }
    if (!(w->problem.flags & CLATTN_PACKED) && verdict.rows == 0 &&
        w->problem.batch * w->problem.heads * w->problem.q_len > 0)
        return complain(w, fill, "no row was compared");
    if (!workload_guards_intact(w))
        return complain(w, fill, "memory outside the output's rows was written");
    if (!same_bits_again(w, plan))
        return complain(w, fill, "a second run gave other bits");
    return true;
}

static bool is_dense(const clattn_layout *layout)
{
    return layout->batch == CLATTN_DENSE && layout->head == CLATTN_DENSE && layout->token == CLATTN_DENSE;
}

/* Whether an engine takes a problem, or its like in 16 bits throughout, or that with rows of whole 16 bytes,
 * where no strides say how long they are. */
static bool find_like(clattn_attention *a, uint64_t seed)
{
    const int32_t type = seed % 2 ? CLATTN_F16 : CLATTN_BF16;
    const int steps = is_dense(&a->q) && is_dense(&a->k) && is_dense(&a->v) && is_dense(&a->o) ? 3 : 2;
    for (int step = 0; step < steps; step++) {
        clattn_plan *plan;
        if (step == 1)
            a->type_q = a->type_k = a->type_v = a->type_o = type;
        if (step == 2) {
            a->dim = (a->dim + 7) / 8 * 8;
            a->dim_v = (a->dim_v + 7) / 8 * 8;
        }
        clattn_status status = clattn_plan_create(&plan, ctx, a);
        clattn_plan_destroy(plan);
        if (status != CLATTN_ENGINE_REFUSED)
            return true;
    }
    return false;
}

static bool run_on(const clattn_attention *problem, int number, uint64_t seed, enum workload_fill fill)
{
    struct workload w;
    clattn_plan *plan;
    clattn_attention a = *problem;
    const char *engine = engines[number];
    bool good;
    snprintf(a.engine, sizeof a.engine, "%s", engine);
    tally.problems++;
    /* these two take everything */
    if (strcmp(engine, "portable") && strcmp(engine, "vector") && !find_like(&a, seed)) {
        tally.refused++;
        return true;
    }
    taken[number]++;
    clattn_status status = workload_make(&w, &a, seed, fill);
    if (status) {
        w.problem = a;
        w.seed = seed;
        return complain(&w, fill, clattn_status_name(status));
    }
    if (clattn_plan_create(&plan, ctx, &w.problem)) {
        good = complain_status(&w, fill, "clattn_plan_create");
    } else {
        good = !strcmp(clattn_plan_engine(plan), engine) ? judge(&w, plan, fill)
                                                         : complain(&w, fill, "another engine ran");
        clattn_plan_destroy(plan);
    }
    workload_free(&w);
    return good;
}

static void run_everywhere(const clattn_attention *problem, uint64_t seed, enum workload_fill fill)
{
    for (int i = 0; i < n_engines; i++)
        run_on(problem, i, seed, fill);
}

/* The same for one of many kernels; problems of the same number are the same kernel. */
static void run_in_turn(const clattn_attention *problem, size_t kernel, uint64_t seed,
                        enum workload_fill fill)
{
    for (int i = 0; i < n_engines; i++)
        if (is_its_turn(&facts, engines[i], (int)kernel, i))
            run_on(problem, i, seed, fill);
        else
            tally.passed_over++;
}

/* A problem's text in printf's way. */
static clattn_attention problem_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static clattn_attention problem_of(const char *fmt, ...)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    char text[256], message[256];
    va_list list;
    va_start(list, fmt);
    vsnprintf(text, sizeof text, fmt, list);
    va_end(list);
    ck_assert_msg(clattn_problem_parse(&a, text, message, sizeof message) == CLATTN_OK, "%s: %s", text,
                  message);
    return a;
}

static void begin(void)
{
    tally = (struct tally){0};
}

static void finish(const char *what, int at_least)
{
    printf("# %s: %d problems, %d of them refused, %" PRId64 " rows, largest error / bound %.3f\n", what,
           tally.problems, tally.refused, tally.rows, tally.ratio);
    ck_assert_int_ge(tally.problems + tally.passed_over, at_least * n_engines);
    ck_assert(tally.rows > 0);
    ck_assert_msg(tally.failures == 0, "%d of %d problems failed", tally.failures, tally.problems);
}

/* ---- the table ---- */
START_TEST(edge_lengths)
{
    static const int sizes[] = {0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 130};
    begin();
    for (size_t i = 0; i < LEN(sizes); i++)
        for (size_t j = 0; j < LEN(sizes); j++) {
            clattn_attention a = problem_of("attn:f32:h2:q%d:k%d:d24/20:causal-br:lse", sizes[i], sizes[j]);
            run_everywhere(&a, i * 100 + j, WORKLOAD_NORMAL);
        }
    finish("lengths", 256);
}
END_TEST

/* Head sizes are a kernel each: every third one, or with CLATTN_TEST_LONG all. */
static size_t next_size(void)
{
    return is_long_run() ? 1 : 3;
}

START_TEST(dims)
{
    static const int sizes[] = {1,  2,   3,   7,   8,   16,  40,  63,  64,  65,
                                72, 100, 127, 128, 129, 192, 256, 320, 512, 576};
    begin();
    for (size_t i = 0; i < LEN(sizes); i += next_size()) {
        int dim_v = sizes[i % 4 ? LEN(sizes) - 1 - i : i]; /* half of them paired with another */
        clattn_attention a = problem_of("attn:f32:h2/1:q70:k83:d%d/%d:causal-br:lse", sizes[i], dim_v);
        run_in_turn(&a, i, i, WORKLOAD_NORMAL);
        a.q_len = 3;
        run_in_turn(&a, i + 1, i + 50, WORKLOAD_NORMAL);
    }
    finish("dims", is_long_run() ? 40 : 14);
}
END_TEST

START_TEST(types)
{
    static const char *const words[] = {"f32",  "f16",  "bf16", "f16-f32", "bf16-f32", "f32-f16", "f32-bf16", "f32-f16-bf16-f32",
                                        "f16-bf16-f32-f16", "bf16-f32-f16-bf16", "f32-bf16-f32-f16",
                                        "f16-f32-bf16-bf16"};
    begin();
    for (size_t i = 0; i < LEN(words); i += i < 2 ? 1 : next_size()) /* f32, f16 and some of the others */
        for (int q_len = 5; q_len <= 85; q_len += 80) {
            clattn_attention a = problem_of("attn:%s:h2:q%d:k150:d40/24:lse", words[i], q_len);
            run_in_turn(&a, i, i, WORKLOAD_NORMAL);
        }
    finish("types", is_long_run() ? 24 : 12);
}
END_TEST

/* A free mask with a scalar w and an array len; rows that see nothing are among all of these. */
static clattn_attention masked(const char *text, clattn_corner corner, int q_len, int kv_len)
{
    clattn_attention a = problem_of("attn:f32:b2:h2:q%d:k%d:d16:lse", q_len, kv_len);
    a.pattern = clattn_mask(text, corner);
    strcpy(a.scalars[0].name, "w");
    a.scalars[0].type = CLATTN_I32;
    a.scalars[0].value = 20;
    strcpy(a.arrays[0].name, "len");
    a.arrays[0].type = CLATTN_I32;
    a.arrays[0].n_dims = 1;
    a.arrays[0].dims[0] = 2;
    a.n_scalars = strchr(text, 'w') != NULL;
    a.n_arrays = strstr(text, "len[") != NULL;
    return a;
}

START_TEST(patterns)
{
    static const char *const texts[] = {
        "",
        "k <= q",
        "k < q",
        "k <= q & q - k < w",
        "q - k < w & k - q < w",
        "k < 37 | k <= q",
        "k < len[b]",
        "k < len[b] & k <= q",
        "k < len[b] | k <= q",
        "k <= q & (q - k < w | k < 4)",
        "!(k == 7) & k != q",
        "k < 0",
        "k == q | k == 2 * q",
        "min(k, w) < max(q - 3, 2) & h * 9 <= k + g",
        "k * k < q * 7 + q_len - k_len",
    };
    static const int lengths[][2] = {{90, 70}, {70, 140}, {5, 300}, {100, 1}, {64, 64}};
    begin();
    for (size_t i = 0; i < LEN(texts); i++)
        for (size_t j = 0; j < LEN(lengths); j++)
            for (int corner = CLATTN_TOP_LEFT; corner <= CLATTN_BOTTOM_RIGHT; corner++) {
                if (!is_long_run() && ((i + (size_t)corner) % 2 || i % 3 == 2))
                    continue; /* a corner is a kernel: one for each mask, and not for all masks */
                clattn_attention a = masked(texts[i], (clattn_corner)corner, lengths[j][0], lengths[j][1]);
                run_in_turn(&a, 2 * i + (size_t)corner, i * 10 + j,
                            j % 2 ? WORKLOAD_POISON : WORKLOAD_NORMAL);
            }
    finish("patterns", is_long_run() ? 150 : 50);
}
END_TEST

START_TEST(named_patterns)
{
    static const char *const words[] = {"full",       "causal-tl",   "causal-br",   "window20-causal-br",
                                        "around9-tl", "prefix30-tl", "window40-tl", "prefix64-br"};
    begin();
    for (size_t i = 0; i < LEN(words); i++) {
        clattn_attention a = problem_of("attn:f16:h4/2:q130:k190:d64:%s:lse", words[i]);
        run_in_turn(&a, i, i, WORKLOAD_POISON);
    }
    finish("named patterns", 8);
}
END_TEST

START_TEST(poison_beside_every_length)
{
    begin();
    for (int kv_len = 1; kv_len <= 161; kv_len += kv_len < 20 ? 1 : 7)
        for (int q_len = 1; q_len <= 71; q_len += 35) {
            clattn_attention a =
                problem_of("attn:f32:b3:h2/1:q%d:k%d:d24/20:causal-br:lse:keylens", q_len, kv_len);
            run_everywhere(&a, (uint64_t)(kv_len + q_len), WORKLOAD_POISON);
        }
    finish("poison", 60);
}
END_TEST

START_TEST(large_scores)
{
    static const char *const texts[] = {
        "attn:f32:h2:q70:k300:d64:lse",        "attn:f32:h2:q70:k300:d64:causal-br:lse",
        "attn:f16:h2:q70:k300:d64:lse",        "attn:bf16-f32:h2:q7:k300:d64:lse",
        "attn:f32:h2:q9:k300:d1/3:lse",        "attn:f32:h1:q20:k90:d576/24:lse",
        "attn:f32:h2:q3:k500:d64:lse:splits=3"};
    begin();
    for (size_t i = 0; i < LEN(texts); i++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            clattn_attention a = problem_of("%s", texts[i]);
            run_in_turn(&a, i, seed, WORKLOAD_LARGE);
        }
    finish("large scores", 21);
}
END_TEST

START_TEST(groups_and_splits)
{
    static const int heads[][2] = {{1, 1}, {2, 1}, {3, 1}, {6, 2}, {8, 1}, {12, 3}, {32, 2}};
    begin();
    for (size_t i = 0; i < LEN(heads); i++)
        for (int splits = 0; splits <= 5; splits++)
            for (int q_len = 1; q_len <= 19; q_len += 6) {
                clattn_attention a =
                    problem_of("attn:f32:b2:h%d/%d:q%d:k%d:d24/20:causal-br:lse:splits=%d", heads[i][0],
                               heads[i][1], q_len, 130 * splits + q_len, splits ? splits : 1);
                a.splits = splits;
                run_everywhere(&a, i, WORKLOAD_NORMAL);
            }
    finish("groups and splits", 168);
}
END_TEST

/* Parts whose keys are all hidden, and rows that only a later part's keys serve. */
START_TEST(splits_that_see_nothing)
{
    static const char *const texts[] = {"k < len[b]", "k >= 300", "k <= q & q - k < w", "k < 0"};
    begin();
    for (size_t i = 0; i < LEN(texts); i++)
        for (int splits = 2; splits <= 5; splits++) {
            clattn_attention a = masked(texts[i], CLATTN_BOTTOM_RIGHT, 4, 640);
            a.splits = splits;
            run_in_turn(&a, i, i + 10, WORKLOAD_POISON);
        }
    finish("splits that see nothing", 16);
}
END_TEST

START_TEST(packed_and_lengths)
{
    static const char *const texts[] = {
        "attn:f32:b5:h2:q40:k60:d24/20:causal-br:lse:packed:qtotal=150:ktotal=200",
        "attn:f32:b5:h2/1:q1:k60:d24/20:causal-br:lse:packed:qtotal=5:ktotal=250",
        "attn:f32:b4:h2:q0:k60:d24/20:causal-br:lse:packed:qtotal=0:ktotal=100",
        "attn:f16:b3:h2:q130:k70:d64:packed:qtotal=300:ktotal=150",
        "attn:f32:b4:h2:q70:k90:d24/20:lse:keylens",
        "attn:f32:b4:h6/2:q3:k400:d24/20:lse:keylens:splits=3",
        "attn:f32:b2:h3:q50:k90:d24/20:causal-tl:lse:keylens:layout=bthd",
    };
    begin();
    for (size_t i = 0; i < LEN(texts); i++)
        for (uint64_t seed = 0; seed < 6; seed++) {
            clattn_attention a = problem_of("%s", texts[i]);
            run_in_turn(&a, i, seed, seed % 2 ? WORKLOAD_POISON : WORKLOAD_NORMAL);
        }
    finish("packed and lengths", 42);
}
END_TEST

/* Strides: [token] outermost, rows far apart, an offset, heads interleaved, broadcast inputs. */
START_TEST(strides_and_offsets)
{
    static const clattn_layout layouts[] = {
        {0, CLATTN_DENSE, CLATTN_DENSE, CLATTN_DENSE}, {17, 40000, 40, 200}, {5, 300, 1000, 6000}, {3, 1, 64, 512},
        {1000001, 2000000, 500000, 7001},
    };
    begin();
    for (size_t i = 0; i < LEN(layouts); i++)
        for (int kind = 0; kind < 2; kind++) {
            clattn_attention a =
                problem_of("attn:%s:b2:h4/2:q33:k50:d24/20:causal-br:lse", kind ? "f16" : "f32");
            a.q = a.k = a.v = a.o = layouts[i];
            if (i == 3) { /* overlapping entries are for inputs only */
                a.k.batch = a.v.head = a.q.batch = 0;
                a.o = layouts[2];
            }
            a.lse = i ? (clattn_layout){3, 1000, 100, 2} : a.lse;
            run_everywhere(&a, i, i % 2 ? WORKLOAD_NORMAL : WORKLOAD_POISON);
        }
    clattn_attention a = problem_of("attn:f32:b2:h3:q20:k70:d24/20:layout=bthd");
    run_everywhere(&a, 1, WORKLOAD_NORMAL);
    finish("layouts", 11);
}
END_TEST

/* Storage bf16 throughout, where the vector engine may multiply pairs: of columns (odd head sizes) and of
 * keys (odd lengths). */
START_TEST(pairs_of_bf16)
{
    static const int lengths[] = {1, 2, 3, 4, 5, 15, 63, 127, 128, 129, 255, 257},
                     sizes[] = {1, 2, 3, 15, 17, 33, 64, 65, 129, 576};
    static const char *const masks[] = {"k <= q", "k < len[b]", "k != 3 & k % 2 == 0",
                                        "k >= 130 & k <= q + 7", "k < 0"};
    static const enum workload_fill fills[] = {WORKLOAD_NORMAL, WORKLOAD_POISON, WORKLOAD_LARGE};
    begin();
    for (size_t i = 0; i < LEN(lengths); i++) {
        clattn_attention a = problem_of("attn:bf16:h2:q%d:k%d:d33/20:lse", 9 + 11 * (int)i, lengths[i]);
        run_in_turn(&a, i, i, fills[i % 3]);
    }
    for (size_t i = 1; i < LEN(sizes); i += next_size()) {
        clattn_attention a =
            problem_of("attn:bf16:h4/2:q21:k133:d%d/%d:causal-br", sizes[i], sizes[LEN(sizes) - 1 - i]);
        run_in_turn(&a, i, i, fills[i % 3]);
    }
    for (size_t i = 0; i < LEN(masks); i += is_long_run() ? 1 : 2)
        for (int q_len = 9; q_len < 300; q_len += 120) {
            clattn_attention a = masked(masks[i], CLATTN_BOTTOM_RIGHT, q_len, 261);
            a.type_q = a.type_k = a.type_v = a.type_o = CLATTN_BF16;
            run_in_turn(&a, i, i, fills[i % 3]);
        }
    static const char *const others[] = {
        "attn:bf16:b3:h2:q130:k71:d64:packed:qtotal=300:ktotal=150",
        "attn:bf16:b2:h6/2:q9:k400:d24/20:lse:keylens:splits=3",
        "attn:bf16:b2:h3:q50:k91:d24/20:causal-tl:lse:keylens:layout=bthd",
        "attn:bf16:h2:q70:k301:d64:lse:scale=3",
    };
    for (size_t i = 0; i < LEN(others); i++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            clattn_attention a = problem_of("%s", others[i]);
            run_in_turn(&a, i, seed, fills[seed]);
        }
    clattn_attention capped = problem_of("attn:bf16:h2:q70:k301:d64:causal-br:lse"), negative = capped,
                     relu = capped;
    capped.score = clattn_score("30 * tanh(score / 30)");
    negative.scale = -0.2; /* this one and the next are not for pairs */
    relu.weight = clattn_weight("relu(score)");
    relu.normaliser = CLATTN_COUNT;
    run_in_turn(&capped, 0, 1, WORKLOAD_NORMAL);
    run_in_turn(&negative, 1, 1, WORKLOAD_NORMAL);
    run_in_turn(&relu, 2, 1, WORKLOAD_NORMAL);
    finish("pairs of bf16", is_long_run() ? 51 : 38);
}
END_TEST

/* ---- the sweep ---- */
static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

START_TEST(random_sweep)
{
    static const enum workload_fill fills[] = {WORKLOAD_NORMAL, WORKLOAD_POISON, WORKLOAD_NORMAL,
                                               WORKLOAD_LARGE};
    uint64_t count = number_from("CLATTN_TEST_PROBLEMS", is_long_run() ? 160 : 8),
             first = number_from("CLATTN_TEST_SEED", 1);
    begin();
    for (uint64_t seed = first; seed < first + count; seed++) {
        clattn_attention a;
        workload_random_problem(seed, &a);
        run_on(&a, (int)(seed / 4 % (uint64_t)n_engines), seed, fills[seed % 4]);
    }
    printf("# sweep: seeds %" PRIu64 " to %" PRIu64 ", %" PRId64 " rows, largest error / bound %.3f\n", first,
           first + count - 1, tally.rows, tally.ratio);
    ck_assert(count > 0 && tally.problems == (int)count);
    ck_assert(tally.rows > (int64_t)count);
    printf("# %.3f %% of the rows beyond any bound\n", 100 * (double)tally.unbounded / (double)tally.rows);
    ck_assert_msg(100 * tally.unbounded <= tally.rows, "more than 1 %% of the rows are beyond any bound");
    ck_assert_msg(tally.failures == 0, "%d of %d problems failed", tally.failures, tally.problems);
}
END_TEST

/* None has refused nearly everything. */
START_TEST(every_engine_ran)
{
    for (int i = 0; i < n_engines; i++) {
        printf("# %s: %d problems\n", engines[i], taken[i]);
        ck_assert_int_ge(taken[i], 200);
    }
}
END_TEST

/* A case each, so that CK_RUN_CASE may pick one. */
static void add(Suite *suite, const char *name, const TTest *test)
{
    TCase *one = tcase_create(name);
    tcase_add_unchecked_fixture(one, set_up, tear_down);
    tcase_add_test(one, test);
    suite_add_tcase(suite, one);
}

int main(void)
{
    Suite *suite = suite_create("forward");
    add(suite, "lengths", edge_lengths);
    add(suite, "dims", dims);
    add(suite, "types", types);
    add(suite, "patterns", patterns);
    add(suite, "named patterns", named_patterns);
    add(suite, "poison", poison_beside_every_length);
    add(suite, "large scores", large_scores);
    add(suite, "groups", groups_and_splits);
    add(suite, "nothing seen", splits_that_see_nothing);
    add(suite, "packed", packed_and_lengths);
    add(suite, "strides", strides_and_offsets);
    add(suite, "pairs", pairs_of_bf16);
    add(suite, "sweep", random_sweep);
    add(suite, "engines", every_engine_ran);
    return run_suite(suite);
}
