/* SPDX-License-Identifier: MIT
 * random_rule.h - random rule texts that the parser must take: for tests of whatever reads, evaluates or
 * compiles them. */
#ifndef RANDOM_RULE_H
#define RANDOM_RULE_H

#include "expr/expr.h"

/* Numbers from a seed, the same on every machine; from 0 to n - 1. */
uint32_t random_below(uint64_t *seed, uint32_t n);

/* A rule of at most size - 1 characters over the whole grammar and the given names, well typed and within the
 * language's limits: the same for the same arguments.  size is 16 or more.  It has at most 16 literals and 40
 * operators, so that three rules fit one operator whose names make no more than 16 kernel numbers.  Weights
 * may be negative. */
void random_rule(uint64_t seed, enum clattn__use use, char *text, size_t size,
                 const struct clattn__names *names);

#endif
