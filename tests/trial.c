/* SPDX-License-Identifier: MIT
 * trial.c - a small dense problem with its tensors in floats: made, run on an engine, taken apart. */
#include "tests/trial.h"

#include "tests/engines.h"
#include "tests/fresh_context.h"
#include "tests/ref.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *trial_engines[TRIAL_ENGINES];
int trial_n_engines;
static clattn_context *ctx;

static clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;

/* Trials have weights of every kind and storages mixed; check_forward and check_properties have these engines. */
static bool takes_softmax_alone(const clattn_device_facts *of, const char *engine)
{
    (void)of;
    return !strncmp(engine, "matrix-", 7);
}

/* With the engines that take all trials here, but for those that leave_out names. */
static void set_up(bool (*leave_out)(const clattn_device_facts *, const char *))
{
    clattn_attention a = trial_problem(1, 5, 5);
    ctx = fresh_context();
    trial_n_engines = engines_taking(ctx, &a, trial_engines, TRIAL_ENGINES);
    ck_assert_int_eq(clattn_device_describe(clattn_context_device(ctx), &facts), CLATTN_OK);
    trial_n_engines = engines_without(&facts, trial_engines, trial_n_engines, leave_out);
    trial_n_engines = engines_without(&facts, trial_engines, trial_n_engines, takes_softmax_alone);
    ck_assert_int_ge(trial_n_engines, 1);
}

void trial_set_up(void)
{
    set_up(is_for_others);
}

void trial_set_up_native(void)
{
    set_up(is_long_run() ? is_for_others : is_foreign);
}

bool trial_is_turn(int engine, int kernel)
{
    return is_its_turn(&facts, trial_engines[engine], kernel, engine);
}

void trial_tear_down(void)
{
    clattn_context_close(ctx);
    trial_n_engines = 0;
}

clattn_attention trial_problem(int64_t batch, int64_t q_len, int64_t kv_len)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    a.batch = batch;
    a.heads = 4;
    a.kv_heads = 2;
    a.q_len = q_len;
    a.kv_len = kv_len;
    a.dim = a.dim_v = 16;
    a.flags = CLATTN_WANT_LSE;
    return a;
}

clattn_attention trial_mechanism(const char *name, int64_t batch, int64_t q_len, int64_t kv_len)
{
    clattn_attention a = trial_problem(batch, q_len, kv_len);
    char message[1024];
    ck_assert_msg(clattn_mechanism_apply(&a, name, message, sizeof message) == CLATTN_OK, "%s", message);
    return a;
}

/* ---- memory ---- */
static void *allocate(int64_t count, size_t bytes)
{
    void *data = calloc((size_t)count + 1, bytes);
    ck_assert_ptr_nonnull(data);
    return data;
}

static int64_t row_elements(const clattn_array *array) /* of storage, along the last index */
{
    int64_t width = array->dims[array->n_dims - 1];
    return array->type == CLATTN_BITS ? (width + 31) / 32 : width;
}

static int64_t array_elements(const clattn_array *array)
{
    int64_t count = row_elements(array);
    for (int d = 0; d < array->n_dims - 1; d++)
        count *= array->dims[d];
    return count;
}

void trial_noise(const struct trial *t, float *values, int64_t count, uint32_t seed)
{
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)ref_round(t->a.type_q, (double)((int)(seed >> 8) % 40001 - 20000) / 10000);
    }
}

struct trial trial_make(const clattn_attention *a)
{
    struct trial t = {.a = *a};
    t.rows = a->batch * a->heads * a->q_len;
    t.q_count = t.rows * a->dim;
    t.k_count = a->batch * a->kv_heads * a->kv_len * a->dim;
    t.v_count = a->batch * a->kv_heads * a->kv_len * a->dim_v;
    t.o_count = t.rows * a->dim_v;
    t.q = allocate(t.q_count, sizeof *t.q);
    t.k = allocate(t.k_count, sizeof *t.k);
    t.v = allocate(t.v_count, sizeof *t.v);
    t.o = allocate(t.o_count, sizeof *t.o);
    t.lse = allocate(t.rows, sizeof *t.lse);
    t.key_lengths = allocate(a->batch, sizeof *t.key_lengths);
    for (int64_t b = 0; b < a->batch; b++)
        t.key_lengths[b] = (int32_t)a->kv_len;
    for (int i = 0; i < a->n_arrays; i++)
        t.arrays[i] = allocate(array_elements(&a->arrays[i]), 4);
    uint64_t bytes = 0;
    if (a->list.size > 0) {
        ck_assert_int_eq(clattn_list_bytes(&a->list, &bytes), CLATTN_OK);
        t.list = allocate((int64_t)bytes, 1);
    }
    trial_noise(&t, t.q, t.q_count, 1);
    trial_noise(&t, t.k, t.k_count, 2);
    trial_noise(&t, t.v, t.v_count, 3);
    return t;
}

void trial_free(struct trial *t)
{
    void *const all[] = {t->q, t->k, t->v, t->o, t->lse, t->key_lengths, t->list};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    for (int i = 0; i < t->a.n_arrays; i++)
        free(t->arrays[i]);
}

/* ---- arrays ---- */
static int find_array(const struct trial *t, const char *name)
{
    int n = 0;
    while (n < t->a.n_arrays && strcmp(t->a.arrays[n].name, name))
        n++;
    ck_assert_msg(n < t->a.n_arrays, "no array '%s' is declared", name);
    return n;
}

void trial_put(struct trial *t, const char *name, int64_t i, int64_t j, double value)
{
    int n = find_array(t, name);
    const clattn_array *array = &t->a.arrays[n];
    int64_t row = array->n_dims == 2 ? i : 0, column = array->n_dims == 2 ? j : i;
    int64_t at = row * row_elements(array) + (array->type == CLATTN_BITS ? column / 32 : column);
    uint32_t bit = (uint32_t)1 << column % 32;
    switch (array->type) {
    case CLATTN_F32: ((float *)t->arrays[n])[at] = (float)value; break;
    case CLATTN_I32: ((int32_t *)t->arrays[n])[at] = (int32_t)value; break;
    case CLATTN_I8: ((int8_t *)t->arrays[n])[at] = (int8_t)value; break;
    case CLATTN_BITS: {
        uint32_t *word = (uint32_t *)t->arrays[n] + at;
        *word = value != 0 ? *word | bit : *word & ~bit;
        break;
    }
    default: ck_abort_msg("array '%s' has type %d", name, (int)array->type);
    }
}

void trial_fill(struct trial *t, const char *name, double (*element)(int64_t i, int64_t j))
{
    const clattn_array *array = &t->a.arrays[find_array(t, name)];
    int64_t columns = array->n_dims == 2 ? array->dims[1] : 1;
    for (int64_t i = 0; i < array->dims[0]; i++)
        for (int64_t j = 0; j < columns; j++)
            trial_put(t, name, i, j, element(i, j));
}

/* ---- running ---- */
static void *narrowed(const float *values, int64_t count, int type)
{
    void *data = allocate(count, 4);
    for (int64_t i = 0; i < count; i++)
        ref_narrow(type, (double)values[i], data, i);
    return data;
}

void trial_run(struct trial *t, const char *engine)
{
    clattn_plan *plan;
    clattn_attention a = t->a;
    char text[1024] = "";
    snprintf(a.engine, sizeof a.engine, "%s", engine);
    if (clattn_plan_create(&plan, ctx, &a)) {
        clattn_context_message(ctx, text, sizeof text);
        ck_abort_msg("mask '%s' score '%s' on %s: %s", a.pattern.text, a.score.text, engine, text);
    }
    void *q = narrowed(t->q, t->q_count, a.type_q), *k = narrowed(t->k, t->k_count, a.type_k);
    void *v = narrowed(t->v, t->v_count, a.type_v), *o = allocate(t->o_count, 4);
    memset(o, 0xff, (size_t)t->o_count * 4); /* NaN in every type */
    memset(t->lse, 0xff, (size_t)t->rows * sizeof *t->lse);
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    io.q = q;
    io.k = k;
    io.v = v;
    io.o = o;
    io.lse = t->lse;
    io.key_lengths = a.flags & CLATTN_KEY_LENGTHS ? t->key_lengths : NULL;
    for (int i = 0; i < a.n_arrays; i++)
        io.arrays[i] = t->arrays[i];
    io.list = t->list;
    if (clattn_run_forward(plan, &io)) {
        clattn_context_message(ctx, text, sizeof text);
        ck_abort_msg("mask '%s' on %s: %s", a.pattern.text, engine, text);
    }
    for (int64_t i = 0; i < t->o_count; i++)
        t->o[i] = (float)ref_widen(a.type_o, o, i);
    free(q);
    free(k);
    free(v);
    free(o);
    clattn_plan_destroy(plan);
}

/* ---- rows ---- */
float *trial_q(const struct trial *t, int64_t b, int64_t h, int64_t i)
{
    return t->q + ((b * t->a.heads + h) * t->a.q_len + i) * t->a.dim;
}

float *trial_k(const struct trial *t, int64_t b, int64_t g, int64_t j)
{
    return t->k + ((b * t->a.kv_heads + g) * t->a.kv_len + j) * t->a.dim;
}

float *trial_v(const struct trial *t, int64_t b, int64_t g, int64_t j)
{
    return t->v + ((b * t->a.kv_heads + g) * t->a.kv_len + j) * t->a.dim_v;
}

float *trial_o(const struct trial *t, int64_t b, int64_t h, int64_t i)
{
    return t->o + ((b * t->a.heads + h) * t->a.q_len + i) * t->a.dim_v;
}
