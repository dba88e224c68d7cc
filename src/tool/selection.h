/* SPDX-License-Identifier: MIT
 * selection.h - pruned attention for the commands: a problem with the words of a selection behind it, its
 * lists made on a device, and what the reference says of them. */
#ifndef SELECTION_H
#define SELECTION_H

#include "tests/ref_mass.h"
#include "tool/tool.h"

/* A problem and the selection behind its text; select->size 0: there is none.  0, or EXIT_MISTAKE after a
 * sentence. */
int read_selected(clattn_attention *problem, clattn_select *select, const char *text,
                  const struct problem_options *options);
/* The same where no lists come from files: a selection without a selector is a mistake. */
int read_selector(clattn_attention *problem, clattn_select *select, const char *text,
                  const struct problem_options *options);

/* ---- selection.c: lists on a device ---- */
struct selection {
    clattn_select s;
    clattn_list list;
    uint64_t list_bytes;
    struct workload *w;    /* attention that reads the lists: w->list is theirs */
    struct workload dense; /* the same tensors, borrowed, and the problem without lists */
    float *scores;         /* CLATTN_EXTERNAL_SCORE */
    int32_t *given;        /* CLATTN_EXTERNAL_LIST */
    int32_t *budgets;      /* CLATTN_BUDGET_EACH */
    int32_t *certified;    /* CLATTN_CERTIFY: of each list, how many blocks are proved */
    float *rope_cos, *rope_sin; /* rope, extend: of the angles position / 10000^(2 pair / dim) */
    uint64_t counters[2];
    clattn_context *ctx;
    clattn_select_plan *plan;
    double plan_seconds;
    cl_command_queue queue;
    clattn_select_io io;
};

/* Shapes the lists of a workload made without, and joins what they let see to its problem; scores and scopes'
 * budgets are random.
 */
clattn_status selection_make(struct selection *x, const clattn_select *select, struct workload *w);
/* The plan, its buffers, and the metadata of all keys. */
clattn_status selection_open(struct selection *x, clattn_context *ctx);
/* One selection, from a stage on, to its end. */
clattn_status selection_run(struct selection *x, int stage);
/* The metadata of the last keys, as many as there are queries (all: of all keys), to its end. */
clattn_status selection_run_bounds(struct selection *x, bool all);
/* Lists and counters to the host. */
clattn_status selection_read(struct selection *x);
void selection_free(struct selection *x); /* opened or not; the workload stays */
/* Make, open, run and read: the lists of a workload. */
clattn_status selection_of(struct selection *x, const clattn_select *select, struct workload *w,
                           clattn_context *ctx);
int64_t selection_lists(const struct selection *x);     /* how many */
struct list_lengths {
    double mean; /* blocks */
    int64_t least, most;
};
struct list_lengths selection_lengths(const struct selection *x);
double selection_certified(const struct selection *x);  /* proved part of listed blocks; below 0: not asked */
/* "128, of 16.0 blocks of 8 keys on average, 1 to 32, 12.0 % of them certified" */
const char *selection_text(const struct selection *x, char text[128]);

/* ---- selection_check.c: by the reference ---- */
/* How many lists are not those of the reference, which are made one after the other: slow. */
int64_t selection_differs(const struct selection *x);
/* How many lists have a certificate of more blocks than are above all that is not listed. */
int64_t selection_miscertified(const struct selection *x);
/* The mass that lists keep, the best ones and a window (tests/ref_mass.h), of `rows' rows of each head or so,
 * the same ones of all: an eighth of them from each of eight query blocks, or all rows of as many more blocks
 * as have fewer.  heads: out, their means. */
void selection_mass(const struct selection *x, int64_t rows, struct ref_mass *heads);
/* The same of 48 rows in all. */
struct kept_mass {
    double mean, least; /* of all rows; of the head that keeps least */
};
struct kept_mass selection_kept_mass(const struct selection *x);
struct kept_mass kept_mass_of(const struct ref_mass *heads, int64_t n);
/* Pairs that rows visit, as a part of those that they would see without lists: of some rows, if there are
 * many. */
double selection_visited(const struct selection *x);
/* Operations of attention over the lists, by that part of the dense ones. */
double selection_flops(const struct selection *x);

/* ---- list_files.c: STEM-starts.npy, STEM-ids.npy, block-sparse rows as clattn_list_import has them ---- */
/* A NULL stem is nothing to do; 0, or EXIT_MISTAKE after a sentence. */
int read_lists(const char *stem, const clattn_list *list,
               int32_t *lists); /* every start and block is checked */
int write_lists(const char *stem, const clattn_list *list, const int32_t *lists);

#endif
