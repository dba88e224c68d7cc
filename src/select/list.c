/* SPDX-License-Identifier: MIT
 * list.c - lists of key blocks on the host: their shape; block-sparse rows and block masks in and out, never
 * trusted. */
#include "select/select.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

clattn_status clattn__refuse(char *text, size_t size, clattn_status status, const char *fmt, ...)
{
    char details[CLATTN__MESSAGE_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(details, sizeof details, fmt, args);
    va_end(args);
    if (text && size)
        snprintf(text, size, "%s: %s", clattn_status_text(status), details);
    return status;
}

/* ---- shape ---- */
static clattn_status check_sizes(const clattn_list *l, char *text, size_t size)
{
    if (l->batch < 0 || l->scopes < 0 || l->q_blocks < 0 || l->k_blocks < 0 || l->k_blocks > INT32_MAX)
        return clattn__refuse(text, size, CLATTN_BAD_COUNT,
                              "batch is %lld, scopes %lld, q_blocks %lld, k_blocks %lld", (long long)l->batch,
                              (long long)l->scopes, (long long)l->q_blocks, (long long)l->k_blocks);
    if (l->capacity < 0 || l->capacity > l->k_blocks)
        return clattn__refuse(text, size, CLATTN_BAD_COUNT, "capacity is %lld, and there are %lld key blocks",
                              (long long)l->capacity, (long long)l->k_blocks);
    if (l->block_q < 1 || l->block_q > CLATTN_MAX_BLOCK || l->block_k < 1 || l->block_k > CLATTN_MAX_BLOCK)
        return clattn__refuse(text, size, CLATTN_BAD_BLOCK,
                              "block_q is %d and block_k is %d; 1 to %d are possible", (int)l->block_q,
                              (int)l->block_k, CLATTN_MAX_BLOCK);
    if (l->counts_at < 0 || l->counts_at % 4 || l->ids_at < 0 || l->ids_at % 4)
        return clattn__refuse(text, size, CLATTN_BAD_OFFSET,
                              "counts_at is %lld and ids_at is %lld; both are multiples of 4",
                              (long long)l->counts_at, (long long)l->ids_at);
    return CLATTN_OK;
}

static bool count_lists(const clattn_list *l, int64_t *lists)
{
    return clattn__mul(l->batch, l->scopes, lists) && clattn__mul(*lists, l->q_blocks, lists);
}

clattn_status clattn__list_places(const clattn_list *list, struct clattn__list_places *places, char *text,
                                  size_t size)
{
    int64_t n_ids, counts_end, ids_end, bytes;
    if (!list)
        return clattn__refuse(text, size, CLATTN_NULL_ARGUMENT, "list");
    if (list->size != sizeof *list)
        return clattn__refuse(text, size, CLATTN_BAD_STRUCT_SIZE,
                              "clattn_list.size is %zu, this library's is %zu", list->size, sizeof *list);
    clattn_status status = check_sizes(list, text, size);
    if (status)
        return status;
    places->counts = list->counts_at / 4;
    places->ids = list->ids_at / 4;
    if (!count_lists(list, &places->lists) || !clattn__mul(places->lists, list->capacity, &n_ids) ||
        !clattn__add(places->counts, places->lists, &counts_end) ||
        !clattn__add(places->ids, n_ids, &ids_end) ||
        !clattn__mul(counts_end > ids_end ? counts_end : ids_end, 4, &bytes))
        return clattn__refuse(text, size, CLATTN_SIZE_OVERFLOW, "the lists");
    places->end = bytes / 4;
    if (places->lists > 0 && n_ids > 0 && places->counts < ids_end && places->ids < counts_end)
        return clattn__refuse(text, size, CLATTN_BAD_OFFSET, "counts and ids overlap");
    return CLATTN_OK;
}

clattn_status clattn_list_bytes(const clattn_list *list, uint64_t *bytes)
{
    struct clattn__list_places at;
    if (!bytes)
        return CLATTN_NULL_ARGUMENT;
    clattn_status status = clattn__list_places(list, &at, NULL, 0);
    *bytes = status ? 0 : 4 * (uint64_t)at.end;
    return status;
}

clattn_status clattn_list_fit(clattn_list *list, const clattn_attention *problem, clattn_scope scope,
                              int32_t block_q, int32_t block_k, int64_t capacity)
{
    struct clattn__list_places at;
    clattn_attention fitted;
    clattn_list l = CLATTN_LIST_INIT;
    int64_t lists;
    if (!list || !problem)
        return CLATTN_NULL_ARGUMENT;
    if (list->size != sizeof *list)
        return CLATTN_BAD_STRUCT_SIZE;
    if (problem->size != sizeof *problem)
        return CLATTN_BAD_STRUCT_SIZE;
    if (block_q < 1 || block_k < 1)
        return CLATTN_BAD_BLOCK;
    if (scope != CLATTN_SCOPE_HEAD && scope != CLATTN_SCOPE_GROUP && scope != CLATTN_SCOPE_ALL)
        return CLATTN_BAD_SELECTOR;
    l.batch = problem->batch;
    l.scopes = scope == CLATTN_SCOPE_HEAD    ? problem->heads
               : scope == CLATTN_SCOPE_GROUP ? problem->kv_heads
                                             : 1;
    l.block_q = block_q;
    l.block_k = block_k;
    l.q_blocks = clattn__ceil_div(problem->q_len, block_q);
    l.k_blocks = clattn__ceil_div(problem->kv_len, block_k);
    fitted = *problem;
    fitted.list = l; /* as yet of no ids */
    clattn_status status = clattn_attention_check(&fitted, NULL, 0);
    if (status)
        return status;
    l.capacity = capacity < l.k_blocks ? capacity : l.k_blocks;
    if (!count_lists(&l, &lists) || !clattn__mul(clattn__ceil_div(lists, 16), 64, &l.ids_at))
        return CLATTN_SIZE_OVERFLOW;
    status = clattn__list_places(&l, &at, NULL, 0);
    if (!status)
        *list = l;
    return status;
}

/* ---- contents ---- */
/* Where a list stands, for a sentence. */
static clattn_status refuse_list(const clattn_list *l, int64_t r, const char *what, long long value,
                                 long long bound, char *text, size_t size)
{
    char place[CLATTN__MESSAGE_SIZE];
    snprintf(place, sizeof place, what, value, bound);
    return clattn__refuse(text, size, CLATTN_BAD_LIST,
                          "the list of batch entry %lld, scope %lld, query block %lld: %s",
                          (long long)(r / l->q_blocks / l->scopes), (long long)(r / l->q_blocks % l->scopes),
                          (long long)(r % l->q_blocks), place);
}

/* Whether n ids are blocks that rise. */
static clattn_status check_ids(const clattn_list *l, int64_t r, const int32_t *ids, int64_t n, bool rising,
                               char *text, size_t size)
{
    for (int64_t j = 0; j < n; j++) {
        if (ids[j] < 0 || ids[j] >= l->k_blocks)
            return refuse_list(l, r, "block %lld, and there are %lld", ids[j], l->k_blocks, text, size);
        if (rising && j > 0 && ids[j] <= ids[j - 1])
            return refuse_list(l, r, "block %lld stands after block %lld", ids[j], ids[j - 1], text, size);
    }
    return CLATTN_OK;
}

clattn_status clattn_list_check(const clattn_list *list, const int32_t *data, char *text, size_t size)
{
    struct clattn__list_places at;
    clattn_status status = clattn__list_places(list, &at, text, size);
    if (status)
        return status;
    if (!data && at.end > 0)
        return clattn__refuse(text, size, CLATTN_NULL_ARGUMENT, "data");
    for (int64_t r = 0; !status && r < at.lists; r++) {
        const int32_t count = data[at.counts + r];
        if (count < 0 || count > list->capacity)
            return refuse_list(list, r, "its count is %lld, and the capacity is %lld", count, list->capacity,
                               text, size);
        status = check_ids(list, r, data + at.ids + r * list->capacity, count, true, text, size);
    }
    return status;
}

static int by_number(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Sort, and drop what is twice.  Returns how many are left. */
static int64_t put_in_order(int32_t *ids, int64_t n)
{
    int64_t count = 0;
    qsort(ids, (size_t)n, sizeof *ids, by_number);
    for (int64_t j = 0; j < n; j++)
        if (count == 0 || ids[j] != ids[count - 1])
            ids[count++] = ids[j];
    return count;
}

/* One list in a scratch of its own: that of the caller stays as it is. */
static clattn_status import_list(const clattn_list *l, int64_t r, int32_t *scratch, int64_t *n, bool sort,
                                 char *text, size_t size)
{
    clattn_status status = check_ids(l, r, scratch, *n, !sort, text, size);
    if (status)
        return status;
    if (sort)
        *n = put_in_order(scratch, *n);
    if (*n > l->capacity)
        return refuse_list(l, r, "%lld blocks, and the capacity is %lld", *n, l->capacity, text, size);
    return CLATTN_OK;
}

/* Starts rise from 0 to n_ids; *longest: of the lists. */
static clattn_status check_starts(const clattn_list *l, int64_t lists, const int64_t *starts, int64_t n_ids,
                                  int64_t *longest, char *text, size_t size)
{
    *longest = 0;
    if (starts[0] != 0)
        return clattn__refuse(text, size, CLATTN_BAD_LIST, "starts[0] is %lld, not 0", (long long)starts[0]);
    for (int64_t r = 0; r < lists; r++) {
        if (starts[r + 1] < starts[r] || starts[r + 1] > n_ids)
            return refuse_list(l, r, "it ends at %lld, of %lld ids", starts[r + 1], n_ids, text, size);
        if (starts[r + 1] - starts[r] > *longest)
            *longest = starts[r + 1] - starts[r];
    }
    if (starts[lists] != n_ids)
        return clattn__refuse(text, size, CLATTN_BAD_LIST, "the last list ends at %lld, of %lld ids",
                              (long long)starts[lists], (long long)n_ids);
    return CLATTN_OK;
}

/* Every list checked and, with data, written. */
static clattn_status import_lists(const clattn_list *l, const struct clattn__list_places *at, int32_t *data,
                                  const int64_t *starts, const int32_t *ids, int32_t *scratch, bool sort,
                                  char *text, size_t size)
{
    for (int64_t r = 0; r < at->lists; r++) {
        int64_t n = starts[r + 1] - starts[r];
        if (n > 0)
            memcpy(scratch, ids + starts[r], (size_t)n * sizeof *ids);
        clattn_status status = import_list(l, r, scratch, &n, sort, text, size);
        if (status)
            return status;
        if (!data)
            continue;
        data[at->counts + r] = (int32_t)n;
        for (int64_t j = 0; j < l->capacity; j++)
            data[at->ids + r * l->capacity + j] = j < n ? scratch[j] : -1;
    }
    return CLATTN_OK;
}

clattn_status clattn_list_import(const clattn_list *list, int32_t *data, const int64_t *starts,
                                 const int32_t *ids, int64_t n_ids, uint32_t flags, char *text, size_t size)
{
    struct clattn__list_places at;
    int64_t longest;
    const bool sort = flags & CLATTN_LIST_SORT;
    clattn_status status = clattn__list_places(list, &at, text, size);
    if (status)
        return status;
    if (!starts || (!ids && n_ids > 0) || (!data && at.end > 0))
        return clattn__refuse(text, size, CLATTN_NULL_ARGUMENT, "data, starts or ids");
    if (flags & ~CLATTN_LIST_SORT)
        return clattn__refuse(text, size, CLATTN_BAD_FLAGS, "flags is 0x%x", (unsigned)flags);
    status = check_starts(list, at.lists, starts, n_ids, &longest, text, size);
    if (status)
        return status;
    int32_t *scratch = longest < INT64_MAX / 4 ? malloc((size_t)longest * sizeof *scratch + 1) : NULL;
    if (!scratch)
        return clattn__refuse(text, size, CLATTN_OUT_OF_HOST_MEMORY, "a list of %lld", (long long)longest);
    status = import_lists(list, &at, NULL, starts, ids, scratch, sort, text, size);
    if (!status)
        status = import_lists(list, &at, data, starts, ids, scratch, sort, text, size);
    free(scratch);
    return status;
}

clattn_status clattn_list_export(const clattn_list *list, const int32_t *data, int64_t *starts, int32_t *ids,
                                 int64_t n_ids)
{
    struct clattn__list_places at;
    clattn_status status = clattn_list_check(list, data, NULL, 0);
    if (status)
        return status;
    if (!starts)
        return CLATTN_NULL_ARGUMENT;
    clattn__list_places(list, &at, NULL, 0);
    starts[0] = 0;
    for (int64_t r = 0; r < at.lists; r++)
        starts[r + 1] = starts[r] + data[at.counts + r];
    if (!ids)
        return CLATTN_OK;
    if (starts[at.lists] > n_ids)
        return CLATTN_BAD_COUNT;
    for (int64_t r = 0; r < at.lists; r++)
        if (data[at.counts + r] > 0)
            memcpy(ids + starts[r], data + at.ids + r * list->capacity,
                   (size_t)data[at.counts + r] * sizeof *ids);
    return CLATTN_OK;
}

/* ---- block masks ---- */
static int64_t mask_width(const clattn_list *l) /* words of a list */
{
    return clattn__ceil_div(l->k_blocks, 32);
}

static bool has_block(const uint32_t *words, int64_t block)
{
    return words[block / 32] >> block % 32 & 1;
}

static clattn_status check_bits(const clattn_list *l, int64_t lists, const uint32_t *bits, char *text,
                                size_t size)
{
    const int64_t width = mask_width(l);
    for (int64_t r = 0; r < lists; r++) {
        int64_t n = 0;
        for (int64_t block = 0; block < l->k_blocks; block++)
            n += has_block(bits + r * width, block);
        if (n > l->capacity)
            return refuse_list(l, r, "%lld blocks, and the capacity is %lld", n, l->capacity, text, size);
    }
    return CLATTN_OK;
}

clattn_status clattn_list_import_bits(const clattn_list *list, int32_t *data, const uint32_t *bits,
                                      int64_t n_words, char *text, size_t size)
{
    struct clattn__list_places at;
    int64_t words;
    clattn_status status = clattn__list_places(list, &at, text, size);
    if (status)
        return status;
    if (!clattn__mul(at.lists, mask_width(list), &words))
        return clattn__refuse(text, size, CLATTN_SIZE_OVERFLOW, "the block mask");
    if (n_words != words)
        return clattn__refuse(text, size, CLATTN_BAD_COUNT, "n_words is %lld, and the block mask has %lld",
                              (long long)n_words, (long long)words);
    if ((!bits && words > 0) || (!data && at.end > 0))
        return clattn__refuse(text, size, CLATTN_NULL_ARGUMENT, "data or bits");
    status = check_bits(list, at.lists, bits, text, size);
    for (int64_t r = 0; !status && r < at.lists; r++) {
        int32_t *ids = data + at.ids + r * list->capacity;
        int32_t n = 0;
        for (int64_t block = 0; block < list->k_blocks; block++)
            if (has_block(bits + r * mask_width(list), block))
                ids[n++] = (int32_t)block;
        data[at.counts + r] = n;
        for (int64_t j = n; j < list->capacity; j++)
            ids[j] = -1;
    }
    return status;
}

clattn_status clattn_list_export_bits(const clattn_list *list, const int32_t *data, uint32_t *bits,
                                      int64_t *n_words)
{
    struct clattn__list_places at;
    int64_t words;
    clattn_status status = clattn_list_check(list, data, NULL, 0);
    if (status)
        return status;
    if (!n_words)
        return CLATTN_NULL_ARGUMENT;
    clattn__list_places(list, &at, NULL, 0);
    if (!clattn__mul(at.lists, mask_width(list), &words))
        return CLATTN_SIZE_OVERFLOW;
    if (bits && *n_words < words)
        return CLATTN_BAD_COUNT;
    *n_words = words;
    if (!bits || words == 0)
        return CLATTN_OK;
    memset(bits, 0, (size_t)words * sizeof *bits);
    for (int64_t r = 0; r < at.lists; r++)
        for (int32_t j = 0; j < data[at.counts + r]; j++) {
            const int32_t block = data[at.ids + r * list->capacity + j];
            bits[r * mask_width(list) + block / 32] |= (uint32_t)1 << block % 32;
        }
    return CLATTN_OK;
}
