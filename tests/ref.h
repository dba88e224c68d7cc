/* SPDX-License-Identifier: MIT
 * ref.h - the oracle: attention in double precision, written from the formula; depends on nothing of clattn.
 *
 * It reads tensors as they are stored, has its own f16 and bf16 widening, and its own interpreter of mask texts (no tree,
 * no generated code), so that a wrong library cannot lend it a bug.
 */
#ifndef REF_H
#define REF_H

#include <stdbool.h>
#include <stdint.h>

enum ref_type { REF_F32 = 0, REF_F16 = 1, REF_BF16 = 2 };

double ref_widen(int type, const void *data, int64_t index);   /* element as a double */
void ref_narrow(int type, double value, void *data, int64_t index); /* round to nearest even and store */
double ref_round(int type, double value);                       /* narrow, then widen */

struct ref_tensor { /* element [b][head][t][d] is data[offset + b*batch + head*head_ + t*token + d] */
    const void *data;
    int type;
    int64_t offset, batch, head, token;
};

struct ref_mask { /* NULL or "" text: every key */
    const char *text;
    bool bottom_right;
    int n_scalars, n_arrays;
    const char *scalar_names[8];
    int32_t scalar_values[8];
    const char *array_names[4];
    const int32_t *arrays[4];
};

struct ref_problem {
    int64_t batch, heads, kv_heads, q_len, kv_len, dim, dim_v;
    double scale; /* a number, never "default" */
    struct ref_tensor q, k, v;
    struct ref_mask mask;
    const int32_t *key_lengths;           /* NULL: kv_len each */
    const int32_t *q_offsets, *k_offsets; /* NULL: not packed */
};

struct ref_point {
    int64_t q, k, b, h, g, q_len, k_len; /* q: absolute position */
};
/* Whether the mask shows a pair.  Aborts the program on a text it cannot read: tests must not guess. */
bool ref_visible(const struct ref_mask *mask, const struct ref_point *at);

/* This batch entry's lengths. */
int64_t ref_q_len(const struct ref_problem *p, int64_t b);
int64_t ref_k_len(const struct ref_problem *p, int64_t b);

/* One row: o[dim_v] and, if not NULL, *lse (-inf for a row that sees nothing, whose o is 0). */
void ref_row(const struct ref_problem *p, int64_t b, int64_t h, int64_t i, double *o, double *lse);

/* The same row by a plain computation in a storage type: scores and weights f32, both rounded to `type` as an unfused
 * pipeline stores them, sums in f32, result rounded to type_o.  Its error is the b of the accuracy rule. */
void ref_plain_row(const struct ref_problem *p, int type, int type_o, int64_t b, int64_t h, int64_t i, double *o);

#endif
