/* SPDX-License-Identifier: MIT
 * workload.h - a problem with its tensors: one description that run, verify, bench and the tests share.
 *
 * Made from a clattn_attention alone: host tensors with guard zones, filled reproducibly from a seed, the
 * lengths and arrays that the problem declares, OpenCL buffers, and the comparison with the double reference.
 * Public API only.
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <clattn.h>
#include <stdbool.h>

#include "tests/ref_extend.h"

enum workload_fill {
    WORKLOAD_NORMAL,  /* normal(0, 1)                                        */
    WORKLOAD_LARGE,   /* scores as large as 1e4                              */
    WORKLOAD_CONSTANT_V, /* every value of v the same                         */
    WORKLOAD_POISON   /* normal, with NaN and infinities in masked keys/values */
};

struct workload {
    clattn_attention problem; /* resolved: no default scale, no dense strides */
    uint64_t seed;
    /* host tensors; o and lse start as NaN; each has guard zones before and after, checked by
     * workload_guards_intact */
    void *q, *k, *v, *o;
    float *lse;
    int32_t *q_offsets, *k_offsets, *key_lengths;
    void *arrays[CLATTN_MAX_ARRAYS + 1]; /* workload_array_bytes each; after the last the list, if any */
    int32_t *list;                       /* that one; clattn_list_bytes */
    const struct ref_extend *extend;     /* NULL, or the caller's: what o is compared with turns q and k so */
    int64_t q_count, k_count, v_count, o_count, lse_count; /* elements, by clattn_attention_extent */
    void *private_state;
};

/* Make host tensors.  Lengths go from 0 to kv_len, packed offsets rise to the totals.  Named arrays: floats
 * normal(0, 1/2); bits 3/4 ones; i32 and i8 values from 0 to kv_len (i8: 127), but rising from 0 by steps of
 * 1 now and then, as documents do, along a last index as long as the queries or keys.  Lists: any number of
 * blocks, of all, none or about as many as fit. */
clattn_status workload_make(struct workload *w, const clattn_attention *problem, uint64_t seed,
                            enum workload_fill fill);
void workload_free(struct workload *w);
/* Joins lists, empty ones that the caller fills, and a condition that reads them to a problem made
 * without. */
clattn_status workload_join_list(struct workload *w, const clattn_list *list, clattn_pattern condition);
int workload_type_bytes(int32_t type); /* of an element, bits excepted */
/* Bytes of an array on host and device; 0 for dimensions that make no array. */
int64_t workload_array_bytes(const clattn_array *array);
/* The same problem for the double reference; borrows the tensors. */
struct ref_problem workload_reference(const struct workload *w);

/* Run on host memory through clattn_run_forward; *seconds (may be NULL) is the device time. */
clattn_status workload_run(struct workload *w, clattn_plan *plan, double *seconds);

/* Guard zones untouched, and every element between the rows of o untouched. */
bool workload_guards_intact(const struct workload *w);

struct verdict {
    bool pass;
    int64_t rows;              /* compared */
    int64_t unbounded;         /* rows without a bound for rounding: divided by sums of weights near 0 */
    double error, bound;       /* largest |o - o64| and what it may be */
    double ratio;              /* largest error / bound over rows: what pass is about */
    double lse_error, lse_bound;
    char where[160];           /* the worst element, as "o[b=0 h=1 i=17 d=3] = 1.25, expected 1.5" */
};
/* Compare o and lse with the double reference: all rows, or max_rows of them spread over the problem's edges
 * (first and last rows, heads and batch entries) and the rest at random.  Bounds: doc/numerics.md. */
void workload_check(const struct workload *w, int64_t max_rows, struct verdict *verdict);

/* What f32 arithmetic may be off by in one row of o, whatever the storage (doc/numerics.md). */
double workload_f32_bound(const struct workload *w, int64_t b, int64_t h, int64_t i);
/* Its part that all rows of a head share (the rest follows the row's scores and weights, and takes a row's
 * time to compute), and what rounded scores and weights add to the bound of a row's lse. */
double workload_bar(const struct workload *w, int64_t b, int64_t h);
double workload_lse_spread(const struct workload *w, int64_t b, int64_t h, int64_t i);

/* Make a random problem for a sweep: sizes at tile edges above all, every type, rule, normaliser, layout and
 * flag in turn. */
void workload_random_problem(uint64_t seed, clattn_attention *problem);
/* And a selection for it, of one in eight or, `always', of all: every method, budget, rotation, scope and
 * flag in turn.  false: it has none; so have problems with lists of their own, and those whose lists take the
 * reference seconds. */
bool workload_random_selection(uint64_t seed, bool always, const clattn_attention *problem,
                               clattn_select *select);

#endif
