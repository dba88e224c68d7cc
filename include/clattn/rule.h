/* SPDX-License-Identifier: MIT
 * rule.h - what the library makes of a problem's rules: canonical text, derivative, kernel text, classes of
 * tiles. */
#ifndef CLATTN_RULE_H
#define CLATTN_RULE_H

#include <clattn/attention.h>

/* A rule of a problem. */
typedef enum clattn_use { CLATTN_MASK_RULE = 0, CLATTN_SCORE_RULE = 1, CLATTN_WEIGHT_RULE = 2 } clattn_use;

/* Classes of a tile, the numbers of the tile counters. */
typedef enum clattn_tile_class { CLATTN_TILE_EMPTY = 0, CLATTN_TILE_PARTIAL = 1, CLATTN_TILE_FULL = 2 } clattn_tile_class;

/* A rule that has a name; texts are static. */
typedef struct clattn_named_rule {
    size_t size;
    const char *name;
    int32_t use;            /* clattn_use */
    int32_t reserved;
    const char *parameters; /* "w, d", "doc[]", "": with [] behind it an array's name, else an expression */
    const char *text;       /* in the language, of the parameters */
    const char *meaning;
} clattn_named_rule;
#define CLATTN_NAMED_RULE_INIT {sizeof(clattn_named_rule), NULL, 0, 0, NULL, NULL, NULL}

CLATTN_BEGIN
/* Describe named rule number index, from 0; BAD_COUNT past the last. */
CLATTN_API clattn_status clattn_named_rule_describe(size_t index, clattn_named_rule *rule);

/* Check a condition against the names that a problem declares, and make a pattern of it.  scope may be NULL:
 * no names; of it only the scalars and arrays matter.  On failure *pattern keeps the error, and message (size
 * bytes; may be NULL, 0) gets the column, what was found and expected, the text with a caret under the place,
 * and the names in scope.  NULL_ARGUMENT, BAD_STRUCT_SIZE, BAD_CORNER, EXPR_*, BAD_COUNT, BAD_NAME,
 * DUPLICATE_NAME, BAD_SCALAR, BAD_ARRAY, SIZE_OVERFLOW. */
CLATTN_API clattn_status clattn_pattern_parse(clattn_pattern *pattern, const char *text, clattn_corner corner,
                                              const clattn_attention *scope, char *message, size_t size);

/* Print a rule canonically: named rules written out, constants folded, commuting operands in one order; ""
 * for none.  Problems of one meaning have one text, as far as is cheap.  BUFFER_TOO_SHORT, BAD_COUNT and the
 * statuses of clattn_attention_check. */
CLATTN_API clattn_status clattn_rule_print(const clattn_attention *problem, clattn_use use, char *text,
                                           size_t size);

/* Print the derivative of the score rule or the weight rule with respect to the score, as an expression of
 * the language. */
CLATTN_API clattn_status clattn_rule_derivative(const clattn_attention *problem, clattn_use use, char *text,
                                                size_t size);

/* Print the lines of OpenCL C that the rules become; a few to some hundred KiB. */
CLATTN_API clattn_status clattn_rule_kernel_text(const clattn_attention *problem, char *text, size_t size);

/* Return a rough count of the operations that a rule takes for each pair, array elements counting 4 and
 * functions 16. */
CLATTN_API clattn_status clattn_rule_cost(const clattn_attention *problem, clattn_use use,
                                          int32_t *operations);

/* Classify the tiles of one batch entry and head, all of its keys and queries present: classes[i * columns +
 * j] is a clattn_tile_class, of rows i * tile_q on and keys j * tile_k on; rows = ceil(q_len / tile_q),
 * columns = ceil(kv_len / tile_k).  arrays: host memory of each declared array, NULL for one whose content is
 * not known, taken for 0; after them, of a problem whose rules say `listed', its list's; may itself be NULL.
 * BAD_COUNT when count is less than rows * columns. */
CLATTN_API clattn_status clattn_tile_map(const clattn_attention *problem, const void *const *arrays,
                                         int64_t batch, int64_t head, int64_t tile_q, int64_t tile_k,
                                         uint8_t *classes, size_t count);
CLATTN_END

#endif
