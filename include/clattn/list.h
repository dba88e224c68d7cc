/* SPDX-License-Identifier: MIT
 * list.h - lists of key blocks: which keys a block of queries reads.
 *
 *     key block g      keys    g block_k <= k < (g + 1) block_k    of a batch entry
 *     query block m    tokens  m block_q <= i < (m + 1) block_q    of a batch entry, at its own position
 *     scope u          the heads that share a list: each head, the heads / kv_heads of a group, or all
 *
 * A list belongs to one (batch entry, scope, query block).  A clattn_list says how all lists of a problem lie
 * in one buffer, which is the caller's, as every buffer is: it may be kept, read back, written to a file, and
 * used by other layers and steps.
 *
 *     counts [batch][scopes][q_blocks]              int32: blocks of each list, 0 to capacity
 *     ids    [batch][scopes][q_blocks][capacity]    int32: strictly rising blocks, 0 to k_blocks - 1, then -1
 *
 * Blocks are numbers, never bytes or tokens, so 32 bits suffice for 2^30 keys; places in the buffer are
 * 64-bit.  A short batch entry's query blocks past its end have counts of 0.  The device trusts no list: a
 * count beyond the capacity counts as the capacity, a block out of range as none; one that does not rise
 * gives wrong numbers, never a wild address.
 *
 * Rules read lists by the word `listed': true where the key's block is in the list of the row's query block
 * and head's scope.  A problem whose rules have the word has a clattn_list, and its clattn_io a buffer for
 * it.
 *
 *     clattn_list list = CLATTN_LIST_INIT;
 *     clattn_list_fit(&list, &problem, CLATTN_SCOPE_GROUP, 64, 8, 256);
 *     clattn_list_bytes(&list, &bytes);                        of the buffer
 *     clattn_list_import(&list, data, starts, ids, n, 0, text, sizeof text);    data: on the host
 *
 * Block-sparse rows, as other libraries write them, are starts and ids: list r is ids[starts[r]] to
 * ids[starts[r + 1] - 1], lists in the order of counts.
 *
 * Block masks are bits, 1 where a list has a block:
 *
 *     bits [batch][scopes][q_blocks][k_blocks]      as a CLATTN_BITS array lies: 32 a word, lowest bit first,
 *                                                   each list from a word on, ceil(k_blocks / 32) words
 */
#ifndef CLATTN_LIST_H
#define CLATTN_LIST_H

#include <clattn/export.h>
#include <clattn/status.h>

struct clattn_attention;

typedef enum clattn_scope {
    CLATTN_SCOPE_HEAD = 0,
    CLATTN_SCOPE_GROUP = 1, /* the query heads of one kv head */
    CLATTN_SCOPE_ALL = 2
} clattn_scope;

#define CLATTN_MAX_BLOCK 65536
typedef struct clattn_list {
    size_t size;
    int64_t batch, scopes, q_blocks, k_blocks;
    int64_t capacity;          /* 0 to k_blocks */
    int32_t block_q, block_k;  /* tokens; 1 to CLATTN_MAX_BLOCK */
    int64_t counts_at, ids_at; /* bytes from the buffer's beginning, multiples of 4 */
} clattn_list;
#define CLATTN_LIST_INIT                                                                                  \
    {                                                                                                     \
        sizeof(clattn_list), 0, 0, 0, 0, 0, 1, 1, 0, 0                                                    \
    }

/* flags of an import */
#define CLATTN_LIST_SORT 0x1u /* order lists that do not rise and drop what is twice, instead of refusing */

CLATTN_BEGIN
/* Shape a list for a problem: its blocks, and dense places, counts at 0, ids at the next multiple of 64
 * bytes.  capacity is cut to the number of key blocks.  The problem's own list does not matter.
 * NULL_ARGUMENT, BAD_STRUCT_SIZE, BAD_BLOCK, BAD_COUNT, BAD_SELECTOR (the scope), SIZE_OVERFLOW, and the
 * statuses of clattn_attention_check. */
CLATTN_API clattn_status clattn_list_fit(clattn_list *list, const struct clattn_attention *problem,
                                         clattn_scope scope, int32_t block_q, int32_t block_k,
                                         int64_t capacity);

/* Return in *bytes how far a list reaches into its buffer.  NULL_ARGUMENT, BAD_STRUCT_SIZE, BAD_BLOCK,
 * BAD_COUNT, BAD_OFFSET, SIZE_OVERFLOW. */
CLATTN_API clattn_status clattn_list_bytes(const clattn_list *list, uint64_t *bytes);

/* Check contents on the host: clattn_list_bytes bytes of data.  BAD_LIST, with the first place that is wrong
 * in the sentence that goes to text (size bytes; may be NULL, 0), and the statuses of clattn_list_bytes. */
CLATTN_API clattn_status clattn_list_check(const clattn_list *list, const int32_t *data, char *text,
                                           size_t size);

/* Write block-sparse rows into data.  n_ids: how many ids there are; no start is trusted to lie below it.  On
 * failure data is as before.  BAD_LIST: starts that do not rise from 0 to n_ids, a list that is longer than
 * the capacity, a block that is out of range or, without CLATTN_LIST_SORT, not above the one before;
 * BAD_FLAGS, OUT_OF_HOST_MEMORY, and the statuses of clattn_list_bytes. */
CLATTN_API clattn_status clattn_list_import(const clattn_list *list, int32_t *data, const int64_t *starts,
                                            const int32_t *ids, int64_t n_ids, uint32_t flags, char *text,
                                            size_t size);

/* Write data as block-sparse rows: starts[lists + 1], and ids, or NULL to ask for starts, whose last is how
 * many.  BAD_LIST as clattn_list_check; BAD_COUNT: ids has room for n_ids, and there are more. */
CLATTN_API clattn_status clattn_list_export(const clattn_list *list, const int32_t *data, int64_t *starts,
                                            int32_t *ids, int64_t n_ids);

/* Write a block mask into data; bits has n_words.  What stands in a list's last word behind k_blocks is not
 * read.  On failure data is as before.  BAD_LIST: a list that is longer than the capacity, the first of which
 * is in the sentence; BAD_COUNT: n_words is not how many the lists' mask has; SIZE_OVERFLOW, and the statuses
 * of clattn_list_bytes. */
CLATTN_API clattn_status clattn_list_import_bits(const clattn_list *list, int32_t *data, const uint32_t *bits,
                                                 int64_t n_words, char *text, size_t size);

/* Write data as a block mask; 0 behind k_blocks.  *n_words: how many words bits has room for, and then how
 * many the mask has; bits NULL asks for that alone.  BAD_LIST as clattn_list_check; BAD_COUNT: there are
 * more; SIZE_OVERFLOW. */
CLATTN_API clattn_status clattn_list_export_bits(const clattn_list *list, const int32_t *data, uint32_t *bits,
                                                 int64_t *n_words);
CLATTN_END

#endif
