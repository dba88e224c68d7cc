/* SPDX-License-Identifier: MIT
 * check_mechanism_traps.c - where papers and their released code differ, and what must hold of each mechanism
 * whatever the numbers.
 *
 * Traps have the numbers of doc/mechanisms.md.  On every engine that fits the device.  Bits are compared as
 * bits; two results of real numbers within two bars of doc/numerics.md: values are at most 2, and scores
 * small enough for the bar to cover their rounding. */
#include "tests/suite.h"
#include "tests/trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIT 0x1p-24
#define BARS (2 * 16 * UNIT * 2)
#define N 70
#define EACH_ENGINE(e) int e = 0; e < trial_n_engines; e++

/* ---- helpers ---- */
static struct trial square(const char *name)
{
    clattn_attention a = trial_mechanism(name, 2, N, N);
    return trial_make(&a);
}

/* The largest difference of rows i0 to i1 - 1; 0: the same numbers; infinite: one is NaN. */
static double apart(const struct trial *s, const struct trial *t, int64_t i0, int64_t i1)
{
    double most = 0;
    ck_assert(s->a.q_len == t->a.q_len && s->o_count == t->o_count);
    for (int64_t n = 0; n < s->o_count; n++) {
        int64_t i = n / s->a.dim_v % s->a.q_len;
        double difference = fabs((double)s->o[n] - (double)t->o[n]);
        if (i >= i0 && i < i1)
            most = isnan(difference) ? INFINITY : fmax(most, difference);
    }
    return most;
}

static double changes(struct trial *t, float *before, int64_t i0, int64_t i1)
{
    struct trial old = *t;
    old.o = before;
    return apart(&old, t, i0, i1);
}

static float *copy_of(const float *values, int64_t count)
{
    float *copy = malloc((size_t)count * sizeof *copy);
    ck_assert_ptr_nonnull(copy);
    return memcpy(copy, values, (size_t)count * sizeof *copy);
}

/* The difference between two mechanisms' rows on the same tensors. */
static double between(struct trial *s, struct trial *t, const char *engine, int64_t i0, int64_t i1)
{
    trial_run(s, engine);
    trial_run(t, engine);
    return apart(s, t, i0, i1);
}

/* What a score may be off by (doc/numerics.md): (dim / 2 + 3) u of the dot product's size, u of the largest
 * result for each rounding of a rule, and 2 u of it for the factor log2(e). */
static double score_error(double size, double largest, int roundings)
{
    return UNIT * ((16 / 2 + 3) * size + (roundings + 2) * largest);
}

/* How far apart two runs may be whose scores (logarithms of weights) are off by e each.  Values are within 2,
 * so no value is further than 4 from a result, and a result is off by at most 4 (exp(e) - 1) exp(e) beside
 * the bar. */
static double two_runs(double e)
{
    return BARS + 2 * 4 * expm1(e) * exp(e);
}

/* Write x into the values k0 to k1 - 1, and -x, 0 or x into the keys; NaN poisons. */
static void overwrite(struct trial *t, int64_t k0, int64_t k1, float x)
{
    for (int64_t b = 0; b < t->a.batch; b++)
        for (int64_t g = 0; g < t->a.kv_heads; g++)
            for (int64_t k = k0; k < k1; k++)
                for (int64_t d = 0; d < 16; d++) {
                    trial_k(t, b, g, k)[d] = x * (float)(d % 3 - 1);
                    trial_v(t, b, g, k)[d] = x;
                }
}

/* Put the given order in place of the tokens of a tensor. */
static void reorder(float *values, int64_t heads, int64_t tokens, const int64_t *order)
{
    float *old = copy_of(values, heads * tokens * 16);
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < tokens; i++)
            memcpy(values + (h * tokens + i) * 16, old + (h * tokens + order[i]) * 16, 16 * sizeof *old);
    free(old);
}

static void reorder_all(struct trial *t, const int64_t *order)
{
    reorder(t->q, t->a.batch * t->a.heads, t->a.q_len, order);
    reorder(t->k, t->a.batch * t->a.kv_heads, t->a.kv_len, order);
    reorder(t->v, t->a.batch * t->a.kv_heads, t->a.kv_len, order);
}

/* Whether batch entry b's pair is seen. */
static bool sees(const struct trial *t, int64_t b, int64_t q, int64_t k)
{
    static uint8_t map[N * N];
    ck_assert_int_eq(clattn_tile_map(&t->a, (const void *const *)t->arrays, b, 0, 1, 1, map, sizeof map),
                     CLATTN_OK);
    ck_assert_int_ne(map[q * t->a.kv_len + k], CLATTN_TILE_PARTIAL);
    return map[q * t->a.kv_len + k] == CLATTN_TILE_FULL;
}

/* Number of pairs seen in batch entry 0. */
static int seen_pairs(const struct trial *t)
{
    static uint8_t map[N * N];
    int count = 0;
    ck_assert_int_eq(clattn_tile_map(&t->a, (const void *const *)t->arrays, 0, 0, 1, 1, map, sizeof map),
                     CLATTN_OK);
    for (int64_t n = 0; n < t->a.q_len * t->a.kv_len; n++)
        count += map[n] == CLATTN_TILE_FULL;
    return count;
}

static double everywhere(int64_t i, int64_t j)
{
    return i >= 0 && j >= 0;
}

static double position(int64_t b, int64_t k)
{
    return b >= 0 ? (double)k : 0;
}

static double one_image(int64_t b, int64_t k) /* tokens 10 to 29 */
{
    return b >= 0 && k >= 10 && k < 30 ? 4 : -1;
}

static double most_keys(int64_t b, int64_t k)
{
    return (k * 5 + b) % 7 != 0;
}

/* ---- Croc ---- */
START_TEST(trap_1_croc_paper_and_release_differ)
{
    struct trial paper = square("croc"), released = square("croc_released");
    trial_fill(&paper, "span", one_image);
    trial_fill(&released, "keep", most_keys); /* of entry 0: 14 and 42 are padding */
    for (int64_t b = 0; b < 2; b++)
        trial_put(&released, "prompt", b, 0, 40); /* text, image, question */
    ck_assert(sees(&paper, 0, 12, 25) && sees(&released, 0, 12, 25));  /* inside the image */
    ck_assert(!sees(&paper, 0, 2, 12) && sees(&released, 0, 2, 12));   /* text before it */
    ck_assert(!sees(&paper, 0, 32, 38) && sees(&released, 0, 32, 38)); /* inside the question */
    ck_assert(!sees(&paper, 0, 45, 50) && !sees(&released, 0, 45, 50)); /* the answer is causal */
    /* padding is hidden behind the prompt only */
    ck_assert(sees(&released, 0, 2, 14) && !sees(&released, 0, 50, 42));
    trial_free(&paper);
    trial_free(&released);
}
END_TEST

START_TEST(croc_between_causal_and_full)
{
    struct trial t = square("croc_released"), causal = square("causal"), full = square("full");
    trial_fill(&t, "keep", everywhere);
    for (EACH_ENGINE(e)) {
        for (int64_t b = 0; b < 2; b++)
            trial_put(&t, "prompt", b, 0, 0);
        ck_assert(between(&t, &causal, trial_engines[e], 0, N) == 0);
        for (int64_t b = 0; b < 2; b++)
            trial_put(&t, "prompt", b, 0, N);
        ck_assert(between(&t, &full, trial_engines[e], 0, N) == 0);
    }
    trial_free(&t);
    trial_free(&causal);
    trial_free(&full);
}
END_TEST

START_TEST(croc_image_tokens_have_no_order)
{
    struct trial t = square("croc"), moved = square("croc");
    int64_t order[N];
    for (int64_t i = 0; i < N; i++)
        order[i] = i < 10 || i >= 30 ? i : 10 + (i - 10) * 7 % 20;
    trial_fill(&t, "span", one_image);
    trial_fill(&moved, "span", one_image);
    reorder_all(&moved, order);
    for (EACH_ENGINE(e)) {
        trial_run(&t, trial_engines[e]);
        trial_run(&moved, trial_engines[e]);
        reorder(t.o, t.a.batch * t.a.heads, N, order);
        ck_assert(apart(&t, &moved, 0, N) <= BARS);
        overwrite(&t, 10, 30, 1.5f); /* text before the image does not hang on it */
        float *before = copy_of(moved.o, moved.o_count);
        trial_run(&t, trial_engines[e]);
        ck_assert(changes(&t, before, 0, 10) == 0 && changes(&t, before, 30, N) > 0.01);
        free(before);
        trial_noise(&t, t.k, t.k_count, 2);
        trial_noise(&t, t.v, t.v_count, 3);
    }
    trial_free(&t);
    trial_free(&moved);
}
END_TEST

/* ---- EE-MLLM ---- */
static double image_first(int64_t b, int64_t k)
{
    return b >= 0 && k < 30;
}

START_TEST(trap_2_ee_mllm_text_reads_images)
{
    struct trial t = square("ee_mllm"), causal = square("causal");
    trial_fill(&t, "image", image_first);
    ck_assert(sees(&t, 0, 40, 5) && !sees(&t, 0, 5, 40) && sees(&t, 0, 5, 5) && !sees(&t, 0, 5, 4));
    for (EACH_ENGINE(e)) {
        ck_assert(between(&t, &causal, trial_engines[e], 30, N) == 0); /* with its own keys text is causal */
        for (int64_t n = 0; n < 2 * 4 * 30; n++) {
            int64_t b = n / 120, h = n / 30 % 4, i = n % 30;
            /* an image row is its value */
            ck_assert_mem_eq(trial_o(&t, b, h, i), trial_v(&t, b, h / 2, i), 16 * sizeof(float));
        }
        float *before = copy_of(t.o, t.o_count);
        overwrite(&t, 30, N, 1.25f);
        trial_run(&t, trial_engines[e]);
        ck_assert(changes(&t, before, 0, 30) == 0 && changes(&t, before, 30, N) > 0.01);
        free(before);
        trial_noise(&t, t.k, t.k_count, 2);
        trial_noise(&t, t.v, t.v_count, 3);
    }
    trial_free(&t);
    trial_free(&causal);
}
END_TEST

/* ---- AKI ---- */
/* Text 0-9, image 10-29, question 30-44, answer from 45 on; roles 0 text, 1 image. */
static struct trial aki_trial(const char *name)
{
    struct trial t = square(name);
    bool by_roles = !strcmp(name, "aki_roles");
    for (int64_t b = 0; b < 2 && !by_roles; b++) {
        trial_put(&t, "bounds", b, 0, 10);
        trial_put(&t, "bounds", b, 1, 30);
        trial_put(&t, "bounds", b, 2, 45);
    }
    for (int64_t b = 0; b < 2 && by_roles; b++) {
        trial_put(&t, "answer", b, 0, 45);
        for (int64_t k = 10; k < 30; k++)
            trial_put(&t, "role", b, k, 1);
    }
    if (by_roles)
        trial_put(&t, "reads", 1, 0, 1);
    return t;
}

START_TEST(trap_3_aki_is_limited_to_the_input)
{
    struct trial two[] = {aki_trial("aki"), aki_trial("aki_roles")}, causal = square("causal");
    ck_assert_int_eq(seen_pairs(&two[0]), N * (N + 1) / 2 + 20 * 15);
    ck_assert_int_eq(seen_pairs(&two[1]), N * (N + 1) / 2 + 20 * 15);
    for (EACH_ENGINE(e)) {
        for (int m = 0; m < 2; m++) {
            struct trial *t = &two[m];
            /* text is causal */
            ck_assert(between(t, &causal, trial_engines[e], 0, 10) == 0 && apart(t, &causal, 30, N) == 0);
            ck_assert(apart(t, &causal, 10, 30) > 0.01);
            float *before = copy_of(t->o, t->o_count);
            overwrite(t, 60, 61, 1.75f); /* an answer's token */
            trial_run(t, trial_engines[e]);
            ck_assert(changes(t, before, 0, 60) == 0 && changes(t, before, 60, N) > 0.01);
            overwrite(t, 40, 41, 1.75f); /* a question's: the image sees it */
            trial_run(t, trial_engines[e]);
            ck_assert(changes(t, before, 10, 30) > 0.001 && changes(t, before, 30, 40) == 0);
            free(before);
            trial_noise(t, t->k, t->k_count, 2);
            trial_noise(t, t->v, t->v_count, 3);
        }
        ck_assert(between(&two[0], &two[1], trial_engines[e], 0, N) == 0);
    }
    trial_free(&two[0]);
    trial_free(&two[1]);
    trial_free(&causal);
}
END_TEST

/* Text 0-9, image 10-29, its question 30-39, image 40-49, its question 50-59, answer from 60 on. */
START_TEST(trap_3_aki_with_several_images)
{
    struct trial t = aki_trial("aki_roles");
    for (int64_t b = 0; b < 2; b++) {
        trial_put(&t, "answer", b, 0, 60);
        for (int64_t k = 40; k < 50; k++)
            trial_put(&t, "role", b, k, 1);
    }
    ck_assert_int_eq(seen_pairs(&t), N * (N + 1) / 2 + 20 * (10 + 10) + 10 * 10);
    /* both questions; its own */
    ck_assert(sees(&t, 0, 12, 35) && sees(&t, 0, 12, 55) && sees(&t, 0, 42, 55));
    ck_assert(!sees(&t, 0, 12, 42) && !sees(&t, 0, 12, 25) && !sees(&t, 0, 42, 45)); /* images are causal */
    ck_assert(!sees(&t, 0, 5, 12) && !sees(&t, 0, 35, 42)); /* text does not read later images */
    ck_assert(!sees(&t, 0, 12, 60) && !sees(&t, 0, 42, 65)); /* nor do images the answer */
    trial_put(&t, "reads", 0, 1, 1); /* fully mutual: it does, in the input */
    ck_assert(sees(&t, 0, 5, 12) && sees(&t, 0, 35, 42) && !sees(&t, 0, 5, 8) && !sees(&t, 0, 12, 60));
    trial_free(&t);
}
END_TEST

/* A second turn: 30-44 is a question, 45-54 its answer with role 2, 55-59 a question, the answer from 60
 * on. */
START_TEST(trap_3_aki_earlier_answers_stay_causal)
{
    struct trial t = aki_trial("aki_roles"), causal = square("causal");
    for (int64_t b = 0; b < 2; b++) {
        trial_put(&t, "answer", b, 0, 60);
        for (int64_t k = 45; k < 55; k++)
            trial_put(&t, "role", b, k, 2);
    }
    ck_assert_int_eq(seen_pairs(&t), N * (N + 1) / 2 + 20 * (15 + 5));
    ck_assert(sees(&t, 0, 12, 44) && !sees(&t, 0, 12, 45) && !sees(&t, 0, 12, 54) && sees(&t, 0, 12, 55));
    for (EACH_ENGINE(e)) {
        ck_assert(between(&t, &causal, trial_engines[e], 10, 30) > 0.01 && apart(&t, &causal, 30, N) == 0);
        float *before = copy_of(t.o, t.o_count);
        overwrite(&t, 50, 51, 1.75f); /* of the first answer */
        trial_run(&t, trial_engines[e]);
        ck_assert(changes(&t, before, 0, 50) == 0 && changes(&t, before, 50, N) > 0.01);
        free(before);
        trial_noise(&t, t.k, t.k_count, 2);
        trial_noise(&t, t.v, t.v_count, 3);
    }
    trial_free(&t);
    trial_free(&causal);
}
END_TEST

START_TEST(aki_without_rectangle_is_causal)
{
    struct trial t = aki_trial("aki"), roles = aki_trial("aki_roles"), causal = square("causal");
    for (int64_t b = 0; b < 2; b++)
        trial_put(&t, "bounds", b, 2, 30);
    trial_put(&roles, "reads", 1, 0, 0);
    for (EACH_ENGINE(e)) {
        ck_assert(between(&t, &causal, trial_engines[e], 0, N) == 0);
        ck_assert(between(&roles, &causal, trial_engines[e], 0, N) == 0);
    }
    trial_free(&t);
    trial_free(&roles);
    trial_free(&causal);
}
END_TEST

/* Two layers on the same weights: the second's q, k and v are the first's output. */
static void second_layer(struct trial *t, const char *engine)
{
    trial_run(t, engine);
    memcpy(t->q, t->o, (size_t)t->o_count * sizeof *t->o);
    for (int64_t n = 0; n < 2 * 2 * N; n++) {
        int64_t b = n / (2 * N), g = n / N % 2, k = n % N;
        memcpy(trial_k(t, b, g, k), trial_o(t, b, 2 * g, k), 16 * sizeof(float));
        memcpy(trial_v(t, b, g, k), trial_o(t, b, 2 * g + 1, k), 16 * sizeof(float));
    }
    trial_run(t, engine);
    trial_noise(t, t->q, t->q_count, 1);
    trial_noise(t, t->k, t->k_count, 2);
    trial_noise(t, t->v, t->v_count, 3);
}

START_TEST(trap_3_aki_question_tokens_leak)
{
    struct trial two[] = {aki_trial("aki"), square("causal")};
    for (EACH_ENGINE(e))
        for (int m = 0; m < 2; m++) {
            struct trial *t = &two[m];
            second_layer(t, trial_engines[e]);
            float *before = copy_of(t->o, t->o_count);
            overwrite(t, 44, 45, 1.75f); /* the question's last token */
            second_layer(t, trial_engines[e]);
            double leak = changes(t, before, 30, 44); /* in what its earlier tokens give */
            ck_assert(m == 0 ? leak > 1e-4 : leak == 0);
            free(before);
        }
    trial_free(&two[0]);
    trial_free(&two[1]);
}
END_TEST

/* ---- BICO ---- */
static double from_twenty(int64_t b, int64_t k)
{
    return b >= 0 && k >= 20;
}

START_TEST(trap_5_bico_hides_keys_not_queries)
{
    struct trial t = square("bico_denoise"), ntp = square("bico_ntp");
    trial_fill(&t, "keep", most_keys); /* of entry 1: 4, 11, 18 are hidden */
    trial_fill(&ntp, "keep", from_twenty);
    ck_assert(!sees(&t, 1, 11, 11) && sees(&t, 1, 11, 12) && sees(&t, 1, 11, 10));
    for (EACH_ENGINE(e)) {
        trial_run(&t, trial_engines[e]);
        float *before = copy_of(t.o, t.o_count);
        for (int d = 0; d < 16; d++)
            ck_assert(before[((1 * 4 + 0) * N + 11) * 16 + d] != 0); /* the masked token's query runs */
        for (int64_t b = 0; b < 2; b++)
            for (int64_t n = 0; n < 2 * N; n++)
                for (int d = 0; d < 16 && most_keys(b, n % N) == 0; d++)
                    trial_k(&t, b, n / N, n % N)[d] = trial_v(&t, b, n / N, n % N)[d] = NAN;
        trial_run(&t, trial_engines[e]);
        ck_assert(changes(&t, before, 0, N) == 0);
        free(before);
        trial_noise(&t, t.k, t.k_count, 2);
        trial_noise(&t, t.v, t.v_count, 3);
        trial_run(&ntp, trial_engines[e]); /* padding on the left: its rows see nothing */
        for (int64_t i = 0; i < N; i++)
            ck_assert((trial_o(&ntp, 0, 0, i)[0] == 0) == (i < 20) && (ntp.lse[i] == -INFINITY) == (i < 20));
    }
    trial_free(&t);
    trial_free(&ntp);
}
END_TEST

START_TEST(bico_reverses_with_its_tokens)
{
    struct trial t = square("bico_denoise"), back = square("bico_denoise");
    int64_t order[N];
    for (int64_t i = 0; i < N; i++)
        order[i] = N - 1 - i;
    trial_fill(&t, "keep", everywhere);
    trial_fill(&back, "keep", everywhere);
    reorder_all(&back, order);
    for (EACH_ENGINE(e)) {
        trial_run(&t, trial_engines[e]);
        trial_run(&back, trial_engines[e]);
        reorder(t.o, 2 * 4, N, order);
        ck_assert(apart(&t, &back, 0, N) <= BARS);
    }
    trial_free(&t);
    trial_free(&back);
}
END_TEST

/* ---- graph-based captioning ---- */
#define EDGES 3
static double edge_covers(int64_t edge, int64_t q) /* 0-4 by none, 5-9 by 0, 10-14 by 0 and 1, 15-19 by all */
{
    return q >= 5 * (edge + 1);
}

static double child_tokens(int64_t edge, int64_t k)
{
    return k < 20 + 3 * edge;
}

/* One token's output over all edges that cover it. */
static void mean_of_edges(const struct trial *t, int64_t h, int64_t i, double *o)
{
    double edges = 0;
    for (int64_t e = 0; e < EDGES; e++)
        edges += edge_covers(e, i);
    for (int d = 0; d < 16; d++) {
        o[d] = 0;
        for (int64_t e = 0; e < EDGES; e++)
            o[d] += (double)trial_o(t, e, h, i)[d];
        o[d] /= fmax(1, edges);
    }
}

START_TEST(trap_6_gbc_divides_by_max)
{
    clattn_attention a = trial_mechanism("gbc_cross", EDGES, 20, 30);
    clattn_attention apart_a = trial_mechanism("bert4rec", EDGES, 20, 30);
    struct trial t = trial_make(&a), each = trial_make(&apart_a);
    trial_fill(&t, "covered", edge_covers);
    trial_fill(&t, "keep", child_tokens);
    trial_fill(&each, "keep", child_tokens);
    for (int64_t e = 1; e < EDGES; e++) /* the queries are of one caption */
        for (int m = 0; m < 2; m++)
            memcpy(trial_q(m ? &each : &t, e, 0, 0), trial_q(m ? &each : &t, 0, 0, 0),
                   4 * 20 * 16 * sizeof(float));
    for (EACH_ENGINE(e)) {
        double o[16];
        trial_run(&t, trial_engines[e]);
        trial_run(&each, trial_engines[e]);
        mean_of_edges(&t, 1, 2, o); /* no edge: 0, no division by it */
        for (int d = 0; d < 16; d++)
            ck_assert(o[d] == 0);
        mean_of_edges(&t, 1, 12, o); /* two children: the mean of two softmaxes, not one over both */
        double w0 = exp((double)each.lse[1 * 20 + 12]), w1 = exp((double)each.lse[(4 + 1) * 20 + 12]),
               far = 0;
        for (int d = 0; d < 16; d++) {
            double first = (double)trial_o(&each, 0, 1, 12)[d], second = (double)trial_o(&each, 1, 1, 12)[d];
            ck_assert(fabs(o[d] - (first + second) / 2) <= BARS);
            far = fmax(far, fabs(o[d] - (w0 * first + w1 * second) / (w0 + w1)));
        }
        ck_assert(far > 0.01);
    }
    trial_free(&t);
    trial_free(&each);
}
END_TEST

/* ---- T5 ---- */
static double some_bias(int64_t h, int64_t bucket)
{
    return (double)((5 * h + 3 * bucket) % 16) / 8 - 1;
}

static double higher_bias(int64_t h, int64_t bucket)
{
    return some_bias(h, bucket) + 0.5;
}

static struct trial t5_trial(bool bidirectional)
{
    int32_t buckets[257];
    struct trial t = square(bidirectional ? "t5_encoder" : "t5_decoder");
    ck_assert_int_eq(clattn_t5_buckets(buckets, 128, bidirectional), CLATTN_OK);
    for (int64_t r = 0; r < 257; r++)
        trial_put(&t, "bucket", r, 0, buckets[r]);
    trial_fill(&t, "bias", some_bias);
    for (int64_t n = 0; n < t.q_count; n++) /* T5 has sqrt(dim) in its weights instead */
        t.q[n] /= 4;
    return t;
}

START_TEST(trap_7_t5_does_not_divide_by_sqrt_dim)
{
    struct trial t = t5_trial(true), divided = t5_trial(true), raised = t5_trial(true);
    divided.a.scale = CLATTN_DEFAULT_SCALE;
    trial_fill(&raised, "bias", higher_bias);
    for (EACH_ENGINE(e)) {
        ck_assert(between(&t, &divided, trial_engines[e], 0, N) > 0.01);
        /* a bias alike for all changes nothing: products of 1/2 and 2 make sizes of 16, and biases are below
         * 2 */
        double off = score_error(16, 18, 1);
        ck_assert(between(&t, &raised, trial_engines[e], 0, N) <= two_runs(off));
        for (int64_t n = 0; n < t.rows; n++) { /* but lse is off by off, and by 16 u (1 + |lse|) */
            double low = (double)t.lse[n], high = (double)raised.lse[n];
            ck_assert(fabs(high - low - 0.5) <= 2 * off + 16 * UNIT * (2 + fabs(low) + fabs(high)));
        }
    }
    trial_free(&t);
    trial_free(&divided);
    trial_free(&raised);
}
END_TEST

/* ---- finite negative constants ---- */
static double second_entry_only(int64_t b, int64_t k)
{
    return b == 1 && k % 2 == 0;
}

START_TEST(trap_8_hidden_is_hidden)
{
    struct trial t = square("bert4rec");
    trial_fill(&t, "keep", second_entry_only);
    for (int64_t n = 0; n < t.q_count; n++)
        t.q[n] = 100;
    /* visible scores of -40000, hidden ones of 40000: -10000 would not hide them */
    for (int64_t n = 0; n < t.k_count; n++)
        t.k[n] = n / 16 % N % 2 ? 100 : -100;
    for (EACH_ENGINE(e)) {
        trial_run(&t, trial_engines[e]);
        for (int64_t i = 0; i < N; i++)
            for (int d = 0; d < 16; d++) {
                double mean = 0;
                for (int64_t k = 0; k < N; k += 2)
                    mean += (double)trial_v(&t, 1, 1, k)[d] / (N / 2);
                ck_assert(trial_o(&t, 0, 3, i)[d] == 0); /* nothing seen: 0, not the mean of all values */
                ck_assert(fabs((double)trial_o(&t, 1, 3, i)[d] - mean) <= BARS);
            }
        ck_assert(t.lse[0] == -INFINITY);
    }
    trial_free(&t);
}
END_TEST

/* ---- BERT4Rec ---- */
static double first_fifty(int64_t b, int64_t k)
{
    return b >= 0 && k < 50;
}

START_TEST(bert4rec_padding_never_matters)
{
    struct trial t = square("bert4rec"), moved = square("bert4rec");
    int64_t order[N];
    for (int64_t i = 0; i < N; i++)
        order[i] = i < 50 ? i * 7 % 50 : i;
    trial_fill(&t, "keep", first_fifty);
    trial_fill(&moved, "keep", first_fifty);
    reorder_all(&moved, order);
    for (EACH_ENGINE(e)) {
        trial_run(&t, trial_engines[e]);
        trial_run(&moved, trial_engines[e]);
        float *before = copy_of(t.o, t.o_count);
        overwrite(&t, 50, N, NAN);
        trial_run(&t, trial_engines[e]);
        ck_assert(changes(&t, before, 0, N) == 0); /* padding's rows are numbers too */
        free(before);
        reorder(t.o, 2 * 4, N, order);
        ck_assert(apart(&t, &moved, 0, N) <= BARS);
        trial_noise(&t, t.k, t.k_count, 2);
        trial_noise(&t, t.v, t.v_count, 3);
    }
    trial_free(&t);
    trial_free(&moved);
}
END_TEST

/* ---- Pyramid-ERNIE ---- */
static double summary(int64_t b, int64_t k)
{
    return b >= 0 && k >= 40;
}

START_TEST(pyramid_ernie_layers)
{
    struct trial t = square("pyramid_ernie"), full = square("full");
    clattn_attention alone_a = trial_mechanism("full", 2, 40, 40);
    struct trial alone = trial_make(&alone_a);
    trial_fill(&t, "part", summary);
    for (int64_t b = 0; b < 2; b++) { /* query and title as a sequence of their own */
        for (int64_t h = 0; h < 4; h++)
            memcpy(trial_q(&alone, b, h, 0), trial_q(&t, b, h, 0), 40 * 16 * sizeof(float));
        for (int64_t g = 0; g < 2; g++) {
            memcpy(trial_k(&alone, b, g, 0), trial_k(&t, b, g, 0), 40 * 16 * sizeof(float));
            memcpy(trial_v(&alone, b, g, 0), trial_v(&t, b, g, 0), 40 * 16 * sizeof(float));
        }
    }
    for (EACH_ENGINE(e)) {
        ck_assert(between(&t, &full, trial_engines[e], 0, N) > 0.01);
        trial_run(&alone, trial_engines[e]);
        for (int64_t n = 0; n < 2 * 4 * 40 * 16; n++)
            ck_assert(fabs((double)alone.o[n] -
                           (double)trial_o(&t, n / 2560, n / 640 % 4, n / 16 % 40)[n % 16]) <= BARS);
        float *before = copy_of(t.o, t.o_count);
        overwrite(&t, 0, 40, 1.5f);
        trial_run(&t, trial_engines[e]);
        ck_assert(changes(&t, before, 40, N) == 0 && changes(&t, before, 0, 40) > 0.01);
        free(before);
        trial_noise(&t, t.k, t.k_count, 2);
        trial_noise(&t, t.v, t.v_count, 3);
        for (int upper = 0; upper < 2; upper++) { /* layer 9 of 9 lower ones, layer 0 of none */
            t.a.scalars[0].value = upper ? 9 : 0;
            t.a.scalars[1].value = upper ? 9 : 0;
            ck_assert(between(&t, &full, trial_engines[e], 0, N) == 0);
        }
        t.a.scalars[0].value = 0;
        t.a.scalars[1].value = 9;
    }
    trial_free(&t);
    trial_free(&full);
    trial_free(&alone);
}
END_TEST

/* ---- CroCo ---- */
START_TEST(croco_second_image_has_no_order)
{
    clattn_attention a = trial_mechanism("croco_cross", 2, N, 53);
    struct trial t = trial_make(&a), moved = trial_make(&a);
    int64_t order[53];
    for (int64_t i = 0; i < 53; i++)
        order[i] = i * 5 % 53;
    reorder(moved.k, 4, 53, order);
    reorder(moved.v, 4, 53, order);
    for (EACH_ENGINE(e))
        ck_assert(between(&t, &moved, trial_engines[e], 0, N) <= BARS);
    trial_free(&t);
    trial_free(&moved);
}
END_TEST

static double every_fifth(int64_t b, int64_t k)
{
    return b >= 0 && k % 5 == 0;
}

START_TEST(croco_gathered_is_hidden)
{
    clattn_attention a = trial_mechanism("croco_self", 2, N / 5, N / 5);
    struct trial whole = square("bert4rec"), gathered = trial_make(&a);
    trial_fill(&whole, "keep", every_fifth);
    for (int64_t n = 0; n < 2 * 4 * (N / 5); n++) {
        int64_t b = n / (4 * (N / 5)), h = n / (N / 5) % 4, i = n % (N / 5);
        memcpy(trial_q(&gathered, b, h, i), trial_q(&whole, b, h, 5 * i), 16 * sizeof(float));
        memcpy(trial_k(&gathered, b, h / 2, i), trial_k(&whole, b, h / 2, 5 * i), 16 * sizeof(float));
        memcpy(trial_v(&gathered, b, h / 2, i), trial_v(&whole, b, h / 2, 5 * i), 16 * sizeof(float));
    }
    for (EACH_ENGINE(e)) {
        trial_run(&whole, trial_engines[e]);
        trial_run(&gathered, trial_engines[e]);
        for (int64_t n = 0; n < gathered.o_count; n++) {
            int64_t row = n / 16, i = row % (N / 5);
            double want = (double)trial_o(&whole, row / (4 * (N / 5)), row / (N / 5) % 4, 5 * i)[n % 16];
            ck_assert(fabs((double)gathered.o[n] - want) <= BARS);
        }
    }
    trial_free(&whole);
    trial_free(&gathered);
}
END_TEST

/* ---- BPDec ---- */
static double mask_order(int64_t b, int64_t k) /* tokens 0, 4, 8 ...: 18, the last of the first rank */
{
    return b >= 0 && k % 4 == 0 ? (double)(17 - k / 4) : -1;
}

START_TEST(bpdec_opens_layer_by_layer)
{
    struct trial t = square("bpdec"), full = square("full");
    trial_fill(&t, "order", mask_order);
    int before = 0;
    for (int open = 0; open <= 18; open++) {
        trial_put(&t, "opened", 0, 0, open);
        int pairs = seen_pairs(&t);
        ck_assert_int_gt(pairs, before);
        before = pairs;
    }
    ck_assert_int_eq(before, N * N);
    for (EACH_ENGINE(e)) {
        for (int64_t b = 0; b < 2; b++)
            trial_put(&t, "opened", b, 0, 18);
        ck_assert(between(&t, &full, trial_engines[e], 0, N) == 0);
        for (int64_t b = 0; b < 2; b++)
            trial_put(&t, "opened", b, 0, 0);
        trial_run(&t, trial_engines[e]);
        float *old = copy_of(t.o, t.o_count);
        for (int64_t k = 0; k < N; k += 4)
            overwrite(&t, k, k + 1, 1.5f);
        trial_run(&t, trial_engines[e]);
        for (int64_t i = 0; i < N; i++) /* other rows do not hang on a [MASK] */
            ck_assert((changes(&t, old, i, i + 1) == 0) == (i % 4 != 0));
        free(old);
        trial_noise(&t, t.k, t.k_count, 2);
        trial_noise(&t, t.v, t.v_count, 3);
    }
    trial_free(&t);
    trial_free(&full);
}
END_TEST

/* ---- the survey's presets ---- */
START_TEST(presets_agree)
{
    struct trial causal = square("causal"), full = square("full"), prefix = square("prefix");
    struct trial content = square("xlnet_content"), query = square("xlnet_query"), strict = square("causal");
    strict.a.pattern = clattn_mask("strictly_causal", CLATTN_BOTTOM_RIGHT);
    trial_fill(&content, "rank", position);
    trial_fill(&query, "rank", position);
    for (EACH_ENGINE(e)) {
        for (int64_t b = 0; b < 2; b++)
            trial_put(&prefix, "n", b, 0, 0);
        ck_assert(between(&prefix, &causal, trial_engines[e], 0, N) == 0);
        for (int64_t b = 0; b < 2; b++)
            trial_put(&prefix, "n", b, 0, N);
        ck_assert(between(&prefix, &full, trial_engines[e], 0, N) == 0);
        ck_assert(between(&content, &causal, trial_engines[e], 0, N) == 0);
        ck_assert(between(&query, &strict, trial_engines[e], 0, N) == 0);
        ck_assert(query.o[0] == 0 && query.lse[0] == -INFINITY);
    }
    struct trial *const every[] = {&causal, &full, &prefix, &content, &query, &strict};
    for (size_t i = 0; i < sizeof every / sizeof every[0]; i++)
        trial_free(every[i]);
}
END_TEST

/* ---- CAB ---- */
/* Row i of a run of queries 0 to i alone. */
static void check_prefix_of_queries(const struct trial *whole, const char *engine, int64_t count)
{
    clattn_attention a = whole->a;
    a.q_len = count;
    struct trial part = trial_make(&a);
    memcpy(part.k, whole->k, (size_t)part.k_count * sizeof *part.k);
    memcpy(part.v, whole->v, (size_t)part.v_count * sizeof *part.v);
    for (int64_t n = 0; n < 2 * 4; n++)
        memcpy(trial_q(&part, n / 4, n % 4, 0), trial_q(whole, n / 4, n % 4, 0),
               (size_t)count * 16 * sizeof(float));
    trial_run(&part, engine);
    for (int64_t n = 0; n < 2 * 4; n++) {
        double sum = 0;
        for (int d = 0; d < 16; d++) /* the paper's tolerance of the sum is 1e-4 */
            sum += fabs((double)trial_o(&part, n / 4, n % 4, count - 1)[d] -
                        (double)trial_o(whole, n / 4, n % 4, count - 1)[d]);
        ck_assert(sum <= 16 * BARS && sum <= 1e-4);
    }
    trial_free(&part);
}

START_TEST(trap_18_causal_cross_is_of_queries)
{
    clattn_attention cross = trial_mechanism("cab_cc", 2, N, 53), self = trial_problem(2, N, N);
    self.pattern.corner = CLATTN_TOP_LEFT; /* query i stays at i */
    ck_assert_int_eq(clattn_mechanism_apply(&self, "cab_cs", NULL, 0), CLATTN_OK);
    struct trial cc = trial_make(&cross), nc = trial_make(&cross), cs = trial_make(&self);
    ck_assert_int_eq(seen_pairs(&cc), N * 53);
    for (EACH_ENGINE(e)) {
        ck_assert(between(&cc, &nc, trial_engines[e], 0, N) == 0);
        trial_run(&cs, trial_engines[e]);
        for (int64_t count = 36; count <= N; count += 17) {
            check_prefix_of_queries(&cc, trial_engines[e], count);
            check_prefix_of_queries(&cs, trial_engines[e], count);
        }
        for (int64_t n = 0; n < cc.q_count; n++) /* later queries do not reach earlier rows */
            nc.q[n] = n / 16 % N >= 50 ? 1 : cc.q[n];
        trial_run(&nc, trial_engines[e]);
        ck_assert(apart(&cc, &nc, 0, 50) == 0 && apart(&cc, &nc, 50, N) > 0.01);
        memcpy(nc.q, cc.q, (size_t)cc.q_count * sizeof *cc.q);
    }
    trial_free(&cc);
    trial_free(&nc);
    trial_free(&cs);
}
END_TEST

/* One token at a time over a growing cache. */
START_TEST(cab_incremental_is_whole)
{
    struct trial whole = square("cab_cs");
    for (EACH_ENGINE(e)) {
        trial_run(&whole, trial_engines[e]);
        for (int64_t i = 35; i < N; i += 17) {
            clattn_attention a = trial_mechanism("cab_cs", 2, 1, i + 1);
            struct trial step = trial_make(&a);
            for (int64_t n = 0; n < 2 * 4; n++) {
                int64_t b = n / 4, h = n % 4;
                memcpy(trial_q(&step, b, h, 0), trial_q(&whole, b, h, i), 16 * sizeof(float));
                memcpy(trial_k(&step, b, h / 2, 0), trial_k(&whole, b, h / 2, 0),
                       (size_t)(i + 1) * 16 * sizeof(float));
                memcpy(trial_v(&step, b, h / 2, 0), trial_v(&whole, b, h / 2, 0),
                       (size_t)(i + 1) * 16 * sizeof(float));
            }
            trial_run(&step, trial_engines[e]);
            for (int64_t n = 0; n < step.o_count; n++)
                ck_assert(fabs((double)step.o[n] - (double)trial_o(&whole, n / 64, n / 16 % 4, i)[n % 16]) <=
                          BARS);
            trial_free(&step);
        }
    }
    trial_free(&whole);
}
END_TEST

/* ---- LSSA ---- */
static void unit_rows(float *rows, int64_t count)
{
    for (int64_t i = 0; i < count; i += 16) {
        double square_sum = 0;
        for (int d = 0; d < 16; d++)
            square_sum += (double)rows[i + d] * (double)rows[i + d];
        for (int d = 0; d < 16; d++)
            rows[i + d] = (float)((double)rows[i + d] / sqrt(square_sum));
    }
}

static double counted(int64_t b, int64_t q)
{
    return b >= 0 ? (double)q + 1 : 0;
}

START_TEST(lssa_rows)
{
    struct trial t = square("lssa_causal"), counts = square("lssa");
    counts.a.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
    trial_fill(&counts, "seen", counted);
    struct trial *const both[] = {&t, &counts};
    for (int m = 0; m < 2; m++) {
        unit_rows(both[m]->q, both[m]->q_count);
        unit_rows(both[m]->k, both[m]->k_count);
    }
    for (EACH_ENGINE(e)) {
        /* The two forms are one.  Rows of length 1: no dot product's size is above 1, and log(16) log(70) <
         * 12 bounds the scores.  A logarithm rounds by 8 u, the product by 1; softplus by 12, and it turns e
         * of a score into at most e of its own. */
        ck_assert(between(&t, &counts, trial_engines[e], 0, N) <=
                  two_runs(score_error(12, 12, 8 + 1) + 12 * UNIT));
        for (int64_t n = 0; n < 2 * 4 * 16; n++) /* row 0: log 1 = 0, one key, its value */
            ck_assert(fabs((double)trial_o(&t, n / 64, n / 16 % 4, 0)[n % 16] -
                           (double)trial_v(&t, n / 64, n / 16 % 4 / 2, 0)[n % 16]) <= BARS / 2);
        for (int64_t n = 0; n < t.v_count; n++) /* rows sum to 1 */
            t.v[n] = 1;
        trial_run(&t, trial_engines[e]);
        for (int64_t n = 0; n < t.o_count; n++)
            ck_assert(fabs((double)t.o[n] - 1) <= 16 * UNIT);
        trial_noise(&t, t.v, t.v_count, 3);
        for (int64_t n = 0; n < t.k_count; n++) /* keys alike: the mean of the values */
            t.k[n] = t.k[n % 16];
        trial_run(&t, trial_engines[e]);
        for (int d = 0; d < 16; d++) {
            double mean = 0;
            for (int64_t k = 0; k < N; k++)
                mean += (double)trial_v(&t, 1, 1, k)[d] / N;
            ck_assert(fabs((double)trial_o(&t, 1, 3, N - 1)[d] - mean) <= BARS);
        }
        trial_noise(&t, t.k, t.k_count, 2);
        unit_rows(t.k, t.k_count);
    }
    trial_free(&t);
    trial_free(&counts);
}
END_TEST

/* Keys after a row's own change nothing, whatever they hold. */
START_TEST(lssa_hidden_keys_change_nothing)
{
    struct trial t = square("lssa_causal");
    for (EACH_ENGINE(e)) {
        trial_run(&t, trial_engines[e]);
        float *before = copy_of(t.o, t.o_count);
        overwrite(&t, 40, N, NAN);
        trial_run(&t, trial_engines[e]);
        ck_assert(changes(&t, before, 0, 40) == 0);
        free(before);
        trial_noise(&t, t.k, t.k_count, 2);
        trial_noise(&t, t.v, t.v_count, 3);
    }
    trial_free(&t);
}
END_TEST

/* ---- ReLU attention ---- */
START_TEST(trap_10_relu_divides_by_visible_keys)
{
    struct trial t = square("relu_count");
    for (int64_t n = 0; n < t.q_count; n++)
        t.q[n] = 1;
    for (int64_t n = 0; n < t.k_count; n++)
        t.k[n] = n / 16 % N == 3 ? 0.5f : -1; /* key 3 alone is positive: 0.25 * 16 * 0.5 = 2 */
    for (EACH_ENGINE(e)) {
        trial_run(&t, trial_engines[e]);
        for (int64_t i = 0; i < N; i++)
            for (int d = 0; d < 16; d++) {
                double want = i < 3 ? 0 : 2 * (double)trial_v(&t, 1, 0, 3)[d] / (double)(i + 1);
                /* one quotient */
                ck_assert(fabs((double)trial_o(&t, 1, 1, i)[d] - want) <= 6 * UNIT * fabs(want));
            }
    }
    trial_free(&t);
}
END_TEST

START_TEST(relu_scales_with_keys)
{
    struct trial t = square("relu_count"), twice = square("relu_count");
    for (int64_t n = 0; n < t.k_count; n++)
        twice.k[n] = 2 * t.k[n];
    for (EACH_ENGINE(e)) {
        trial_run(&t, trial_engines[e]);
        trial_run(&twice, trial_engines[e]);
        for (int64_t n = 0; n < t.o_count; n++)
            ck_assert(twice.o[n] == 2 * t.o[n]);
    }
    trial_free(&t);
    trial_free(&twice);
}
END_TEST

/* ---- fixing imbalanced attention ---- */
static struct trial one_head(const char *name)
{
    clattn_attention a = trial_problem(1, N, N);
    a.heads = a.kv_heads = 1;
    ck_assert_int_eq(clattn_mechanism_apply(&a, name, NULL, 0), CLATTN_OK);
    return trial_make(&a);
}

START_TEST(trap_13_negative_scores_rise_too)
{
    struct trial t = one_head("imbalanced"), scaled = one_head("causal"), plain = one_head("causal");
    trial_fill(&t, "kind", everywhere); /* all local */
    t.a.scalars[0].value = 0.5;
    for (int64_t k = 0; k < N; k++) {
        double s = 0;
        for (int d = 0; d < 16; d++)
            s += (double)trial_q(&t, 0, 0, N - 1)[d] * (double)trial_k(&t, 0, 0, k)[d];
        for (int d = 0; d < 16; d++)
            trial_k(&scaled, 0, 0, k)[d] *= s > 0 ? 1.5f : 0.5f;
    }
    for (EACH_ENGINE(e)) {
        /* sizes are at most 16, after the rule 24; it rounds twice, and the keys of the other run once */
        ck_assert(between(&t, &scaled, trial_engines[e], N - 1, N) <= two_runs(score_error(24, 24, 2)));
        /* another temperature is not the identity */
        ck_assert(between(&t, &plain, trial_engines[e], N - 1, N) > 0.001);
        ck_assert(apart(&t, &plain, 0, N - 1) <= BARS);
    }
    trial_free(&t);
    trial_free(&scaled);
    trial_free(&plain);
}
END_TEST

START_TEST(imbalanced_leaves_other_rows)
{
    struct trial t = square("imbalanced"), none = square("imbalanced"), plain = square("causal");
    trial_fill(&t, "kind", most_keys);
    trial_fill(&none, "kind", most_keys);
    none.a.scalars[0].value = none.a.scalars[1].value = 0;
    for (EACH_ENGINE(e)) {
        ck_assert(between(&t, &none, trial_engines[e], 0, N - 1) == 0 && apart(&t, &none, N - 1, N) > 0.001);
        ck_assert(between(&none, &plain, trial_engines[e], 0, N) <= BARS);
    }
    trial_free(&t);
    trial_free(&none);
    trial_free(&plain);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mechanism traps");
    TCase *traps = tcase_create("traps"), *properties = tcase_create("properties");
    tcase_add_unchecked_fixture(traps, trial_set_up_native, trial_tear_down);
    tcase_add_unchecked_fixture(properties, trial_set_up_native, trial_tear_down);
    tcase_add_test(traps, trap_1_croc_paper_and_release_differ);
    tcase_add_test(traps, trap_2_ee_mllm_text_reads_images);
    tcase_add_test(traps, trap_3_aki_is_limited_to_the_input);
    tcase_add_test(traps, trap_3_aki_with_several_images);
    tcase_add_test(traps, trap_3_aki_earlier_answers_stay_causal);
    tcase_add_test(traps, trap_3_aki_question_tokens_leak);
    tcase_add_test(traps, trap_5_bico_hides_keys_not_queries);
    tcase_add_test(traps, trap_6_gbc_divides_by_max);
    tcase_add_test(traps, trap_7_t5_does_not_divide_by_sqrt_dim);
    tcase_add_test(traps, trap_8_hidden_is_hidden);
    tcase_add_test(traps, trap_10_relu_divides_by_visible_keys);
    tcase_add_test(traps, trap_13_negative_scores_rise_too);
    tcase_add_test(traps, trap_18_causal_cross_is_of_queries);
    tcase_add_test(properties, croc_between_causal_and_full);
    tcase_add_test(properties, croc_image_tokens_have_no_order);
    tcase_add_test(properties, aki_without_rectangle_is_causal);
    tcase_add_test(properties, bico_reverses_with_its_tokens);
    tcase_add_test(properties, bert4rec_padding_never_matters);
    tcase_add_test(properties, pyramid_ernie_layers);
    tcase_add_test(properties, croco_second_image_has_no_order);
    tcase_add_test(properties, croco_gathered_is_hidden);
    tcase_add_test(properties, bpdec_opens_layer_by_layer);
    tcase_add_test(properties, presets_agree);
    tcase_add_test(properties, cab_incremental_is_whole);
    tcase_add_test(properties, lssa_rows);
    tcase_add_test(properties, lssa_hidden_keys_change_nothing);
    tcase_add_test(properties, relu_scales_with_keys);
    tcase_add_test(properties, imbalanced_leaves_other_rows);
    suite_add_tcase(suite, traps);
    suite_add_tcase(suite, properties);
    return run_suite(suite);
}
