/* SPDX-License-Identifier: MIT
 * pattern.h - which keys a query may see and how a score becomes a weight: rules in one line, never a tensor.
 *
 * A pattern is a value: a condition in the expression language (clattn_expr(7)) over
 *     q, k           absolute positions of query and key, from 0
 *     q_len, k_len   this batch entry's lengths
 *     b, h, g        batch entry, query head, key/value head
 *     names          scalars and arrays declared in the problem, as in k < prefix[b] or doc[b,q] == doc[b,k]
 *     named rules    causal, window(512), ...: `clattn rules' and clattn_named_rule_describe list them
 * and a corner that says where query row 0 stands: CLATTN_TOP_LEFT at position 0, CLATTN_BOTTOM_RIGHT so
 * that the last query and the last key have the same position (q = row + k_len - q_len).
 *
 * An error inside a constructor (text too long, corners that differ) is kept in the value and reported by
 * clattn_plan_create, so that patterns can be written as one expression of calls.
 */
#ifndef CLATTN_PATTERN_H
#define CLATTN_PATTERN_H

#include <clattn/export.h>
#include <clattn/status.h>

typedef enum clattn_corner {
    CLATTN_NO_CORNER = 0, /* the rule does not speak of q, or q_len == k_len always */
    CLATTN_TOP_LEFT = 1,
    CLATTN_BOTTOM_RIGHT = 2
} clattn_corner;

#define CLATTN_PATTERN_TEXT 480
#define CLATTN_NAME_SIZE 16

typedef struct clattn_pattern {
    int32_t corner;                 /* clattn_corner */
    int32_t error;                  /* clattn_status of the constructor that failed, else 0 */
    char text[CLATTN_PATTERN_TEXT]; /* the condition; "" means every key */
} clattn_pattern;

/* A score rule or a weight rule, of one number `score' and all that conditions may name:
 *     score - slope[h] * (q - k)      30 * tanh(score / 30)      softplus(score) */
typedef struct clattn_rule {
    int32_t error; /* clattn_status of the constructor that failed, else 0 */
    int32_t reserved;
    char text[CLATTN_PATTERN_TEXT];
} clattn_rule;

/* What the weights of a row are divided by (clattn/attention.h). */
typedef enum clattn_normaliser {
    CLATTN_SOFTMAX = 0,
    CLATTN_L1 = 1,
    CLATTN_COUNT = 2,
    CLATTN_NO_NORMALISER = 3
} clattn_normaliser;

CLATTN_BEGIN
/* Every key (bidirectional and cross attention). */
CLATTN_API clattn_pattern clattn_full(void);
/* k <= q. */
CLATTN_API clattn_pattern clattn_causal(clattn_corner corner);
/* q - k < width & k - q < width ahead: the width last keys including the query's own, and as many ahead
 * less one when both_sides is not 0.  Causality is not implied: combine with clattn_causal. */
CLATTN_API clattn_pattern clattn_window(int32_t width, int both_sides, clattn_corner corner);
/* k < length | k <= q: the first length keys for all, causal after them (mixed attention). */
CLATTN_API clattn_pattern clattn_prefix(int32_t length, clattn_corner corner);
/* k < name[b] | k <= q with a named array of one length a batch entry. */
CLATTN_API clattn_pattern clattn_prefix_each(const char *name, clattn_corner corner);
/* k < name[b]: the keys past a length of each batch entry's own are hidden. */
CLATTN_API clattn_pattern clattn_valid_keys(const char *name);
/* Any condition of the language.  The text is checked by clattn_plan_create and clattn_pattern_parse. */
CLATTN_API clattn_pattern clattn_mask(const char *condition, clattn_corner corner);
/* A score rule, a weight rule.  The text is checked by clattn_plan_create. */
CLATTN_API clattn_rule clattn_score(const char *expression);
CLATTN_API clattn_rule clattn_weight(const char *expression);
/* Both, either. */
CLATTN_API clattn_pattern clattn_both(clattn_pattern a, clattn_pattern b);
CLATTN_API clattn_pattern clattn_either(clattn_pattern a, clattn_pattern b);
CLATTN_END

#endif
