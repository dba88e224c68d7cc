/* SPDX-License-Identifier: MIT
 * ref_extend.h - the oracle of attention at positions that fit a shorter text.
 *
 * Written from InfiniteHiP's description (arXiv 2502.08910) with positions as they are in a whole text;
 * depends on tests/ref.h alone.  p and P are the positions of the first and the last row of a row's query
 * block, w the window.  A row sees, up to itself, keys t > p - w, the first `sink' ones, and those of its
 * block's list.  Rows turn by their own positions, keys by
 *
 *     REF_EXTEND_STREAMING   t > p - w: t; else, of n keys that are kept before, number j: p - w + 1 - n + j
 *     REF_EXTEND_SELF        t >= P - length: t; else floor((t - p) / share) + p, 0 or more
 *     REF_EXTEND_DYNAMIC     P <= length or t >= P - v: t, with v = floor(length / 4); else
 *                            floor((t - p + v) (length - v) / (p - v)) + p - v, P - length or more
 */
#ifndef REF_EXTEND_H
#define REF_EXTEND_H

#include "tests/ref.h"

enum ref_extend_rule { REF_EXTEND_STREAMING = 1, REF_EXTEND_SELF = 2, REF_EXTEND_DYNAMIC = 3 };

struct ref_extend {
    int rule;
    int64_t sink, window, dense_below; /* of fewer than dense_below keys all are of the window */
    int64_t share, length;
    double base;            /* pair d of columns turns by position / base^(2 d / dim) */
    struct ref_blocks list; /* ids may be NULL: nothing is listed */
};

/* Position by which key t turns for the block of row i; kept: NULL, or whether the row sees it. */
int64_t ref_extend_position(const struct ref_problem *p, const struct ref_extend *e, int64_t b, int64_t h,
                            int64_t i, int64_t t, bool *kept);
/* ref_pairs of a row, and in `turned' of each what a rotation in f32, stored as q and k are, may move its raw
 * score by. */
void ref_extend_pairs(const struct ref_problem *p, const struct ref_extend *e, int64_t b, int64_t h,
                      int64_t i, struct ref_pair *pairs);

#endif
