/* SPDX-License-Identifier: MIT
 * checked.c - 64-bit arithmetic that says when it overflows. */
#include "core/core.h"

bool clattn__add(int64_t a, int64_t b, int64_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

bool clattn__mul(int64_t a, int64_t b, int64_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

int64_t clattn__ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}
