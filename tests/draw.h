/* SPDX-License-Identifier: MIT
 * draw.h - random numbers of a test program: xorshift64, the same cases on every machine. */
#ifndef DRAW_H
#define DRAW_H

#include <stdint.h>

static uint64_t random_state = 88172645463325252u;

static inline uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* From 0 to n - 1. */
static inline int64_t below(int64_t n)
{
    return (int64_t)(random_bits() % (uint64_t)n);
}

#endif
