/* SPDX-License-Identifier: MIT
 * names.c - rules that have names, each a text of the language itself.
 *
 * A corner is not part of a rule: q is an absolute position, and the problem says where query 0 stands. */
#include "expr/expr.h"

const struct clattn__named_rule clattn__named_rules[] = {
    /* masks */
    {"full", CLATTN__MASK, "", "true", "every key"},
    {"causal", CLATTN__MASK, "", "k <= q", "keys up to the query's own position"},
    {"strictly_causal", CLATTN__MASK, "", "k < q", "keys before the query's own position"},
    {"window", CLATTN__MASK, "w", "q - k < w", "the last w keys and all to come; with causal a sliding window"},
    {"around", CLATTN__MASK, "w", "q - k < w & k - q < w", "w keys on each side, the query's own counted in both"},
    {"dilated", CLATTN__MASK, "w, d", "q - k < w * d & (q - k) % d == 0",
     "every d-th key, the last w of them; with causal"},
    {"prefix", CLATTN__MASK, "n", "k < n | k <= q", "the first n keys for all, causal after them"},
    {"prefix_each", CLATTN__MASK, "n[]", "k < n[b] | k <= q", "the same, one length a batch entry"},
    {"sinks", CLATTN__MASK, "n", "k < n", "the first n keys; with window by |"},
    {"valid", CLATTN__MASK, "n[]", "k < n[b]", "the first n[b] keys: padding is hidden"},
    {"kept", CLATTN__MASK, "keep[]", "keep[b, k]", "keys whose bit is set"},
    {"dense", CLATTN__MASK, "mask[]", "mask[b, h, q, k]", "pairs whose bit is set; dimensions of 1 serve for all"},
    {"documents", CLATTN__MASK, "doc[]", "doc[b, q] == doc[b, k]", "keys of the query's own document"},
    {"spans", CLATTN__MASK, "span[]", "span[b, q] == span[b, k] & span[b, q] >= 0",
     "keys of the query's own span; below 0: of no span"},
    {"image_spans", CLATTN__MASK, "span[]", "k <= q | span[b, q] == span[b, k] & span[b, q] >= 0",
     "causal, and the query's own span whole: images inside a text"},
    {"blocks", CLATTN__MASK, "n", "q // n == k // n", "keys of the query's own block of n"},
    {"ranks", CLATTN__MASK, "rank[]", "rank[b, k] <= rank[b, q]", "keys of no later rank than the query's"},
    {"earlier_ranks", CLATTN__MASK, "rank[]", "rank[b, k] < rank[b, q]", "keys of earlier rank than the query's"},
    /* score rules */
    {"alibi", CLATTN__SCORE, "slope[]", "score - slope[h] * (q - k)", "a penalty that grows with distance to the left"},
    {"soft_cap", CLATTN__SCORE, "c", "c * tanh(score / c)", "scores bounded by c"},
    {"bias", CLATTN__SCORE, "bias[]", "score + bias[b, h, q, k]", "a dense bias; dimensions of 1 serve for all"},
    {"relative", CLATTN__SCORE, "bias[], n", "score + bias[h, k - q + n]",
     "a bias by distance from -n on, the ends serving beyond"},
    {"bucketed", CLATTN__SCORE, "bias[], bucket[], n", "score + bias[h, bucket[k - q + n]]",
     "a bias by the bucket of the distance, from -n on"},
    {"log_length", CLATTN__SCORE, "", "score * log(q + 1.0)", "sharper the more keys a causal row sees"},
    /* weight rules */
    {"exponential", CLATTN__WEIGHT, "", "exp(score)", "softmax without its maximum, under CLATTN_L1"},
    {NULL, CLATTN__MASK, NULL, NULL, NULL},
};
