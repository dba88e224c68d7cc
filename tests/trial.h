/* SPDX-License-Identifier: MIT
 * trial.h - a small dense problem with its tensors in floats, for tests that write attention out by hand. */
#ifndef TRIAL_H
#define TRIAL_H

#include <clattn.h>
#include <stdbool.h>

#define TRIAL_ENGINES 12
extern const char *trial_engines[TRIAL_ENGINES]; /* those that fit the device */
extern int trial_n_engines;
void trial_set_up(void); /* fixtures of a test case */
void trial_set_up_native(void); /* with engines for this kind of device alone; CLATTN_TEST_LONG: as above */
void trial_tear_down(void);
/* Whether an engine has this one of many kernels: engines.h says which take turns, and why. */
bool trial_is_turn(int engine, int kernel);

/* Tensors are [batch][head][token][d]; values are ones that the problem's types hold exactly. */
struct trial {
    clattn_attention a;
    int64_t q_count, k_count, v_count, o_count, rows;
    float *q, *k, *v, *o, *lse;
    int32_t *key_lengths;
    void *arrays[CLATTN_MAX_ARRAYS];
    int32_t *list; /* of a.list, nothing listed; NULL: it has none */
};

/* f32, heads 4/2, dim 16, log-sum-exp wanted. */
clattn_attention trial_problem(int64_t batch, int64_t q_len, int64_t kv_len);
/* The same with a mechanism applied, which must succeed. */
clattn_attention trial_mechanism(const char *name, int64_t batch, int64_t q_len, int64_t kv_len);

/* Tensors of numbers from -2 to 2, key lengths of kv_len, arrays of zeros. */
struct trial trial_make(const clattn_attention *a);
void trial_free(struct trial *t);
/* Set element [i][j] of a named array ([i] of one with one dimension); all elements. */
void trial_put(struct trial *t, const char *array, int64_t i, int64_t j, double value);
void trial_fill(struct trial *t, const char *array, double (*element)(int64_t i, int64_t j));
/* Set a tensor's values, round one to the problem's storage. */
void trial_noise(const struct trial *t, float *values, int64_t count, uint32_t seed);

/* Run on an engine, outputs full of NaN before. */
void trial_run(struct trial *t, const char *engine);

/* The rows of the tensors. */
float *trial_q(const struct trial *t, int64_t b, int64_t h, int64_t i);
float *trial_k(const struct trial *t, int64_t b, int64_t g, int64_t j);
float *trial_v(const struct trial *t, int64_t b, int64_t g, int64_t j);
float *trial_o(const struct trial *t, int64_t b, int64_t h, int64_t i);

#endif
