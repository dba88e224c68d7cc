/* SPDX-License-Identifier: MIT
 * ref.h - the oracle: attention in double precision, written from the formula; depends on nothing of clattn.
 *
 * It reads tensors as they are stored, has its own f16 and bf16 widening, and its own interpreter of rule
 * texts (no tree, no generated code), so that a wrong library cannot lend it a bug.
 */
#ifndef REF_H
#define REF_H

#include <stdbool.h>
#include <stdint.h>

enum ref_type { REF_F32 = 0, REF_F16 = 1, REF_BF16 = 2, REF_I32 = 3, REF_I8 = 4, REF_BITS = 5 };

double ref_widen(int type, const void *data, int64_t index);   /* element of a float type as a double */
void ref_narrow(int type, double value, void *data, int64_t index); /* round to nearest even and store */
double ref_round(int type, double value);                       /* narrow, then widen */

struct ref_tensor { /* element [b][head][t][d] is data[offset + b*batch + head*head_ + t*token + d] */
    const void *data;
    int type;
    int64_t offset, batch, head, token;
};

/* ---- rules ---- */
struct ref_scalar {
    const char *name;
    int type; /* REF_I32 or REF_F32; the value of an f32 is rounded to it */
    double value;
};

struct ref_array { /* dense, last index fastest; REF_BITS: rows of the last index begin with a 32-bit word */
    const char *name;
    int type, n_dims;
    int64_t dims[4];
    const void *data;
};

/* What the word `listed' reads: int32 counts [b][scope][query block] and ids [b][scope][query
 * block][capacity]. */
struct ref_blocks {
    const int32_t *counts, *ids; /* NULL: no list is there */
    int64_t scopes, q_blocks, capacity, block_q, block_k, heads; /* heads: that share a list */
};

enum ref_normaliser { REF_SOFTMAX = 0, REF_L1 = 1, REF_COUNT = 2, REF_NO_NORMALISER = 3 };

struct ref_rules {
    const char *mask, *score, *weight; /* without named rules; NULL or "": every key, the score, the score */
    bool bottom_right;
    bool overflow;   /* errors: what is too large for f32 is an infinity;
                        else, since it is none in double, nothing is known */
    bool subnormals; /* errors: the device has them and takes none for 0 as an operand */
    int normaliser;
    int n_scalars, n_arrays;
    struct ref_scalar scalars[8];
    struct ref_array arrays[8];
    struct ref_blocks list;
};

struct ref_point {
    int64_t q, k, b, h, g, q_len, k_len; /* q: absolute position */
};

/* Whether the mask shows a pair; the score that the score rule makes of a raw one; the weight of an edited
 * score.  They abort the program on a text they cannot read or whose types do not fit: tests must not
 * guess. */
bool ref_visible(const struct ref_rules *rules, const struct ref_point *at);
double ref_score(const struct ref_rules *rules, const struct ref_point *at, double raw);
double ref_weight(const struct ref_rules *rules, const struct ref_point *at, double score);

/* The same for a score that is known up to an error: besides the value what an evaluation in f32 may be off
 * by, infinite where nothing can be said (doc/numerics.md, "Rules"). */
struct ref_number {
    double value, error;
};
struct ref_number ref_score_bounded(const struct ref_rules *rules, const struct ref_point *at,
                                    struct ref_number raw);
struct ref_number ref_weight_bounded(const struct ref_rules *rules, const struct ref_point *at,
                                     struct ref_number score);

/* ---- the operator ---- */
struct ref_problem {
    int64_t batch, heads, kv_heads, q_len, kv_len, dim, dim_v;
    double scale; /* a number, never "default" */
    struct ref_tensor q, k, v;
    struct ref_rules rules;
    const int32_t *key_lengths;           /* NULL: kv_len each */
    const int32_t *q_offsets, *k_offsets; /* NULL: not packed */
};

/* This batch entry's lengths, and where a pair stands. */
int64_t ref_q_len(const struct ref_problem *p, int64_t b);
int64_t ref_k_len(const struct ref_problem *p, int64_t b);
/* Index of element 0 of a row; packed tensors (offsets not NULL) begin an entry at its offset, and have no
 * batch stride. */
int64_t ref_row_at(const struct ref_tensor *t, const int32_t *offsets, int64_t b, int64_t head,
                   int64_t token);
struct ref_point ref_point_of(const struct ref_problem *p, int64_t b, int64_t h, int64_t i, int64_t k);

/* The pairs of one row, ref_k_len of them: what several questions about the row share. */
struct ref_pair {
    bool seen;
    double raw, size; /* scale q . k and sum_d |scale q_d k_d|; 0 for a pair that is not seen */
    double turned;    /* what raw may be off by before anything is multiplied: ref_extend.h; else 0 */
};
void ref_pairs(const struct ref_problem *p, int64_t b, int64_t h, int64_t i, struct ref_pair *pairs);

/* One row: o[dim_v] and, if not NULL, *lse.  o is 0 and *lse -inf for a row that sees nothing and, where the
 * weights' sum is what they are divided by, for one whose weights are all 0.  pairs: of this row, or NULL. */
void ref_row(const struct ref_problem *p, int64_t b, int64_t h, int64_t i, const struct ref_pair *pairs,
             double *o, double *lse);

/* The same row by a plain computation in a storage type: raw scores, edited scores and weights rounded to
 * `type` as an unfused pipeline stores them, sums in f32, result rounded to type_o.  Its error is the b of
 * the accuracy rule. */
void ref_plain_row(const struct ref_problem *p, int type, int type_o, int64_t b, int64_t h, int64_t i,
                   const struct ref_pair *pairs, double *o);

#endif
