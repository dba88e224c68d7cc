/* SPDX-License-Identifier: MIT
 * ref_select.h - the oracle of selection: which blocks of keys each block of queries keeps.
 *
 * Depends on tests/ref.h alone.  A query block is block_q rows of one batch entry; a scope is the heads that
 * share a list.  Key block g is keys g block_k <= k < (g + 1) block_k.  A pair is near if its key is among
 * the sink first, or if it and the query are less than window positions apart; near pairs are kept whatever
 * the list says.  The candidates of a query block are the blocks that hold a key which some of its rows sees
 * and which is not near it: exactly those can matter.  Candidates are numbered in rising order; their numbers
 * are what methods halve, so that holes of a mask cost nothing.
 *
 *     S(t)   the largest dot product of key t with a sampled row that sees it, not near; -inf without such a
 *            row.  Sampled rows are the last of every stride_q, and a block's last if it has no full stride.
 *     order  a larger score first, then the lower block; NaN after all others, even -inf.
 *
 *     budgets   a list has at most K = ceil(budget / block_k) blocks, and of n candidates with scores S, the
 *               largest of them S1, and c = |scale|: RATIO r the best ceil(r n); MARGIN m those with
 *               c (S1 - S) <= m; MASS p the shortest beginning of the order that has p of the sum of all
 *               weights 2^30 exp(c (S - S1)).  Weights are the whole numbers that clattn/select.h defines, r
 *               and p are multiples of 2^-32.
 *
 * Sources: HiP, arXiv 2406.09827 (TREE); InfiniteHiP, 2502.08910 (STAGED); Quest, 2406.10774 (MINMAX);
 * StreamingLLM, 2309.17453. */
#ifndef REF_SELECT_H
#define REF_SELECT_H

#include "tests/ref.h"

enum ref_method {
    REF_TREE,           /* halve nodes, keep the best by a representative block each, until they are blocks */
    REF_STAGED,         /* a search for a good key in every chunk, the best chunks cut smaller, and again */
    REF_MINMAX,         /* what a block's minima and maxima allow: sum_d max(q_d min_d, q_d max_d) */
    REF_POOL_MEAN,      /* a row's product with the mean of a block's keys */
    REF_BEST,           /* the blocks of the largest S(t): what the others try to find */
    REF_EXTERNAL_SCORE, /* given scores */
    REF_STREAMING       /* no block at all: near pairs */
};
enum ref_representative { REF_FIRST, REF_CENTER, REF_LAST };
enum ref_budget { REF_TOP_K, REF_MASS, REF_MARGIN, REF_RATIO };
enum ref_scope { REF_HEAD, REF_KV_GROUP, REF_ALL_HEADS };

/* How dot products round: not at all to speak of, or as a device does that sums in f32, by fma or by products
 * and sums. */
enum ref_arithmetic { REF_DOUBLE, REF_FMA, REF_MULTIPLY_ADD };

/* Rotation by positions that are not a key's own, of q and k stored without: pairs of columns d, d + dim / 2
 * by tables.  Window w, the row's position p, n chunks in a stage (TREE: 2 K halves in a round):
 *
 *     REF_ROPE_RELATIVE   row w + 1, key 0 in a left half or a whole, 1 in a right one
 *     REF_ROPE_CHUNKS     row min(p, n + w), key the number of its chunk or half
 *     REF_ROPE_INFLLM     row w, key as it is */
enum ref_rope { REF_ROPE_NONE, REF_ROPE_RELATIVE, REF_ROPE_CHUNKS, REF_ROPE_INFLLM };

#define REF_MAX_STAGES 4
struct ref_select {
    int method, representative, scope, arithmetic;
    bool mean_rows; /* sampled rows are means of strides, or of a block without a full one: summed in rising
                       order, times 1 / number, before they turn; each stands where its last row does */
    int64_t block_q, stride_q, block_k, stride_k; /* stride_k: TREE and BEST take the last key of each */
    int budget_mode;
    double budget_value;
    int64_t budget;                               /* keys; a list's blocks: at most ceil(budget / block_k) */
    const int32_t *budgets;                       /* NULL, or each scope's keys, up to budget; below 0 as 0 */
    int64_t sink, window, dense_below; /* all pairs of fewer than dense_below keys are near */
    int n_stages; /* STAGED: each chunk divides the one before, the last is block_k, the last keep budget */
    struct {
        int64_t chunk, keep;
    } stages[REF_MAX_STAGES];
    const float *scores; /* EXTERNAL_SCORE: [batch][scopes][q_blocks][k_blocks] */
    int rope;
    int64_t rope_positions;
    const float *rope_cos, *rope_sin; /* [rope_positions][dim / 2] */
};

/* Sizes of a problem's lists, by its largest lengths. */
int64_t ref_scopes(const struct ref_problem *p, const struct ref_select *s);
int64_t ref_q_blocks(const struct ref_problem *p, const struct ref_select *s);
int64_t ref_k_blocks(const struct ref_problem *p, const struct ref_select *s);
int64_t ref_capacity(const struct ref_problem *p, const struct ref_select *s);

/* What a selection did. */
struct ref_trace {
    int64_t candidates, rounds;
    int64_t dots;          /* dot products of TREE, STAGED */
    unsigned char *probed; /* NULL, or kv_len marks: the keys that TREE, STAGED have looked at */
    bool judges;           /* set by the caller, of TREE and STAGED without rotation: count the decisions
                              between scores that are no further apart than both may be off in f32, summed in
                              any order by sixteens, as matrix units sum */
    int64_t close;         /* so many; with 0, every device makes this list */
};

/* The list of query block m: its count; ids rise.  trace: NULL, or begun by the caller: all 0, its marks. */
int64_t ref_select(const struct ref_problem *p, const struct ref_select *s, int64_t b, int64_t scope,
                   int64_t m, int32_t *ids, struct ref_trace *trace);

/* What a decoder keeps of one list's STAGED: its candidates, and what each stage began with. */
struct ref_stages {
    int64_t n, end, *blocks;
    int64_t counts[REF_MAX_STAGES], *chunks[REF_MAX_STAGES];
};
/* As ref_select, of STAGED from a stage on: from 0 all is found and kept, later what is kept serves. */
int64_t ref_select_from(const struct ref_problem *p, const struct ref_select *s, int64_t b, int64_t scope,
                        int64_t m, int start, struct ref_stages *stages, int32_t *ids);
void ref_stages_free(struct ref_stages *stages);

/* The candidates of a query block and what TREE and BEST rank them by.  Returns how many. */
int64_t ref_block_scores(const struct ref_problem *p, const struct ref_select *s, int64_t b, int64_t scope,
                         int64_t m, int32_t *blocks, double *scores);

/* Whether TREE must keep candidate j, by a proof: the number of candidates that are no worse than the worst
 * one which may stand for the node of j in any round is at most what is kept. */
bool ref_certified(const double *scores, int64_t n, int64_t keep, int representative, int64_t j);

/* What a certificate compares, in double precision: the largest product and the largest bound of a candidate
 * that is not listed, -inf of none; and the largest sum of magnitudes |q_d| max |k_d|, by which rounding
 * errors are measured.  products: out, of each listed block the largest. */
struct ref_proof {
    double left, bound, magnitude;
};
struct ref_proof ref_proof_of(const struct ref_problem *p, const struct ref_select *s, int64_t b,
                              int64_t scope, int64_t m, const int32_t *ids, int64_t count, double *products);

/* The estimated mass of a block, a whole number: 2^30 of the best one. */
uint64_t ref_block_mass(const struct ref_problem *p, double best, double score);

/* All lists of a problem; the tails of ids are -1. */
struct ref_list {
    int64_t batch, scopes, q_blocks, capacity;
    int32_t *counts, *ids; /* [batch][scopes][q_blocks], and [capacity] of each */
};
struct ref_list ref_list_make(const struct ref_problem *p, const struct ref_select *s);
void ref_list_free(struct ref_list *list);
int64_t ref_list_at(const struct ref_list *list, int64_t b, int64_t scope, int64_t m); /* index of a count */

/* The same one by one: all empty, then each by its number, from 0 to the count of lists. */
struct ref_list ref_list_open(const struct ref_problem *p, const struct ref_select *s);
int64_t ref_list_count(const struct ref_list *list);
void ref_list_fill(const struct ref_problem *p, const struct ref_select *s, const struct ref_list *list,
                   int64_t r, struct ref_trace *trace);
/* Whether list number r is made by close decisions (ref_trace): fills it again. */
bool ref_list_is_close(const struct ref_problem *p, const struct ref_select *s, const struct ref_list *list,
                       int64_t r);

/* ---- attention over what is kept ---- */
bool ref_near(const struct ref_select *s, const struct ref_point *at);
/* ref_pairs of a row, where pairs that are neither near nor listed are not seen: for ref_row. */
void ref_kept_pairs(const struct ref_problem *p, const struct ref_select *s, const struct ref_list *list,
                    int64_t b, int64_t h, int64_t i, struct ref_pair *pairs);
/* The part of a row's softmax, 0 to 1, that lies on kept pairs; 1 for a row that sees nothing. */
double ref_kept_mass(const struct ref_problem *p, const struct ref_select *s, const struct ref_list *list,
                     int64_t b, int64_t h, int64_t i);

#endif
