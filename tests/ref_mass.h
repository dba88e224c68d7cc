/* SPDX-License-Identifier: MIT
 * ref_mass.h - the oracle of what lists keep: how much of a row's softmax, and how much could have been kept.
 *
 * The mass of a pair is its part of the row's weights, rules included: exp(score) over their sum (of other
 * weights than those of a softmax, their magnitudes).  Of some rows of a query block, which share a list of n
 * blocks in each scope:
 *
 *     kept     on keys that are near or in a listed block
 *     best     the same with the best list of n blocks: those whose keys, not near, have the largest mass,
 *              summed over these rows and the scope's heads.  So over a scope's heads kept is never above it.
 *     window   on the sinks and the nearest keys, the lower of two, as many as the row visits with the list
 *
 * A row that sees nothing keeps all. */
#ifndef REF_MASS_H
#define REF_MASS_H

#include "tests/ref_select.h"

/* Sums over rows; divide by how many. */
struct ref_mass {
    int64_t rows;
    double kept, best, window;
};

/* Adds up to `rows' rows of query block m, spread over it, to the scope's heads in masses [p->heads]. */
void ref_list_mass(const struct ref_problem *p, const struct ref_select *s, const struct ref_list *list,
                   int64_t b, int64_t scope, int64_t m, int64_t rows, struct ref_mass *masses);

#endif
