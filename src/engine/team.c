/* SPDX-License-Identifier: MIT
 * team.c - the tiles of cl/engine by which a team of items multiplies what lies in local memory: of decoding,
 * of searches. */
#include "engine/engine.h"

static const struct clattn__team plain = {
    .matrix = CLATTN_MATRIX_NONE, .items = 1, .name = "generic",
    .products = "the matrix engine's loops with plain products",
};
static const struct clattn__team mma = {
    .matrix = CLATTN_MATRIX_MMA, .items = 32, .name = "mma", .products = "mma.sync",
};

const struct clattn__team *clattn__team_of(int32_t matrix_unit)
{
    return matrix_unit >= CLATTN_MATRIX_MMA ? &mma : &plain;
}

/* Whole sixteens. */
int64_t clattn__row_pitch(int64_t dim)
{
    return 16 * clattn__ceil_div(dim, 16);
}
