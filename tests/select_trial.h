/* SPDX-License-Identifier: MIT
 * select_trial.h - one selection on a device and by the oracle, list for list. */
#ifndef SELECT_TRIAL_H
#define SELECT_TRIAL_H

#include "core/core.h"
#include "tests/ref_select.h"

extern clattn_context *select_ctx; /* its facts may be changed between trials */
extern cl_command_queue select_queue;
void select_trial_set_up(void); /* fixtures of a test case */
int select_cases(int all); /* of so many random cases a quarter, or with CLATTN_TEST_LONG all */
void select_trial_tear_down(void);

/* The same cases on every machine: xorshift64. */
int64_t select_below(int64_t n);

/* A selection for a problem with dense tensors of its own. */
struct select_trial {
    clattn_attention a;
    clattn_select s;
    const char *mask; /* in the oracle's words: a.pattern without named rules */
    void *q, *k;
    float *scores;    /* EXTERNAL_SCORE */
    int32_t *given;   /* EXTERNAL_LIST: a list's contents */
    int32_t *budgets; /* CLATTN_BUDGET_EACH: of each scope */
    int32_t *q_offsets, *k_offsets, *key_lengths;
    clattn_list list;
    int32_t *lists;      /* what the device wrote */
    int32_t *certified;  /* CLATTN_CERTIFY: one of each list */
    uint64_t counters[2];
    float *rope_cos, *rope_sin;
    bool rounds; /* the last plan's search sums as a matrix unit does:
                    lists with close decisions (ref_select.h) may differ */
};

/* f32 tensors of one batch entry, a causal mask of the last query, TREE. */
struct select_trial select_trial_new(int64_t heads, int64_t kv_heads, int64_t q_len, int64_t kv_len,
                                     int64_t dim);
void select_trial_free(struct select_trial *t);
/* STAGED in three stages of 4, 2 and 1 blocks, each keeping twice what the next does; others get the method
 * and budget. */
void select_trial_method(struct select_trial *t, int32_t method, int64_t budget);
void select_trial_mask(struct select_trial *t, const char *mask, clattn_corner corner);
/* Make the tensors, and scores: numbers of 24 bits from -2 to 2, or whole ones from -4 to 4, of which many
 * scores are equal. */
void select_trial_fill(struct select_trial *t, bool whole);
/* Before it is filled: rotation, with tables of a model's angles for so many positions. */
void select_trial_rope(struct select_trial *t, int32_t rope, int64_t positions);
/* So many entries of random lengths, up to those of the problem: packed, or keys alone. */
void select_trial_pack(struct select_trial *t, int64_t batch);
void select_trial_lengths(struct select_trial *t, int64_t batch);
void select_trial_put(struct select_trial *t, bool of_k, int64_t index, double value);

/* Blocks and near keys of all kinds; 16 rows of which every fourth is scored. */
void draw_selection(struct select_trial *t, int32_t method);
/* Groups of so many items, as on a device that is no CPU; 0: as it is.  Undone when the case's context is
 * closed. */
void pretend_groups(int items);

/* A plan and its buffers over several steps, at which the trial's q and key_lengths are written; the caller
 * sets io.starts.  The last session that was opened is closed first.  Every call returns the status of the
 * first one in it that fails. */
struct select_session {
    clattn_select_plan *plan;
    clattn_select_io io;
    int buffers; /* there were before */
};
clattn_status select_trial_open(struct select_trial *t, struct select_session *session);
clattn_status select_trial_step(struct select_trial *t, struct select_session *session);
void select_trial_close(struct select_session *session);

/* Select on the device: lists, counters.  Returns the status of the first call that fails. */
clattn_status select_trial_run(struct select_trial *t);
/* Run, and compare every count and id with the oracle's of the device's arithmetic. */
void select_trial_check(struct select_trial *t, const char *what);
struct ref_problem select_trial_problem(const struct select_trial *t);
struct ref_select select_trial_selection(const struct select_trial *t);

/* Fill, compare with the oracle, free. */
void select_trial_once(struct select_trial *t, bool whole, const char *what);

/* ---- cases that every way of selecting has; make: a trial of 4 heads in 2 groups, a selection drawn ---- */
typedef struct select_trial select_trial_maker(int32_t method, int64_t q_len, int64_t kv_len, int64_t dim);
/* No keys, and about one, two and four blocks; near keys that are none, some, all. */
void select_trial_edges(select_trial_maker *make, int32_t method, int64_t dim);
/* What a key holds that the oracle does not look at changes nothing: NAN in all of them. */
void select_trial_unprobed(select_trial_maker *make, int32_t method, int64_t dim);
/* What the device counts is what the oracle looks at. */
void select_trial_probes(select_trial_maker *make, int32_t method, int64_t dim);

#endif
