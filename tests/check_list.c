/* SPDX-License-Identifier: MIT
 * check_list.c - lists on the host: shapes and places, contents that are refused, block-sparse rows and block
 * masks there and back. */
#include "tests/draw.h"
#include "tests/suite.h"

#include <check.h>
#include <clattn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

enum { RANDOM_LISTS = 2000, BAD_BYTES = 20000 };

static clattn_attention problem(int64_t batch, int64_t heads, int64_t kv_heads, int64_t q_len, int64_t kv_len)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    a.batch = batch;
    a.heads = heads;
    a.kv_heads = kv_heads;
    a.q_len = q_len;
    a.kv_len = kv_len;
    a.dim = a.dim_v = 8;
    return a;
}

/* ---- shape ---- */
START_TEST(shape_of_a_problem)
{
    static const int64_t scopes[] = {
        [CLATTN_SCOPE_HEAD] = 6, [CLATTN_SCOPE_GROUP] = 2, [CLATTN_SCOPE_ALL] = 1};
    clattn_attention a = problem(3, 6, 2, 65, 100);
    for (int scope = 0; scope < 3; scope++) {
        clattn_list l = CLATTN_LIST_INIT;
        uint64_t bytes;
        ck_assert_int_eq(clattn_list_fit(&l, &a, (clattn_scope)scope, 64, 8, 5), CLATTN_OK);
        ck_assert(l.batch == 3 && l.scopes == scopes[scope] && l.q_blocks == 2 && l.k_blocks == 13 &&
                  l.capacity == 5);
        int64_t lists = 6 * l.scopes;
        ck_assert(l.counts_at == 0 && l.ids_at >= 4 * lists && l.ids_at < 4 * lists + 64 &&
                  l.ids_at % 64 == 0);
        ck_assert_int_eq(clattn_list_bytes(&l, &bytes), CLATTN_OK);
        ck_assert_uint_eq(bytes, (uint64_t)(l.ids_at + 4 * lists * 5));
        ck_assert_int_eq(clattn_list_fit(&l, &a, (clattn_scope)scope, 64, 8, 99), CLATTN_OK);
        ck_assert_int_eq(l.capacity, 13);
    }
}
END_TEST

/* 2^30 tokens of many heads: places beyond 32 bits, and beyond 64. */
START_TEST(large_shapes)
{
    clattn_attention a = problem(2, 64, 64, 1 << 20, 1 << 20);
    clattn_list l = CLATTN_LIST_INIT;
    uint64_t bytes;
    ck_assert_int_eq(clattn_list_fit(&l, &a, CLATTN_SCOPE_HEAD, 1, 8, 512), CLATTN_OK);
    ck_assert_int_eq(clattn_list_bytes(&l, &bytes), CLATTN_OK);
    ck_assert_uint_eq(bytes, (uint64_t)4 * (1 << 27) * 513);
    l.q_blocks = INT64_MAX / 4;
    ck_assert_int_eq(clattn_list_bytes(&l, &bytes), CLATTN_SIZE_OVERFLOW);
    l.q_blocks = 1 << 20;
    l.ids_at = INT64_MAX - 3;
    ck_assert_int_eq(clattn_list_bytes(&l, &bytes), CLATTN_SIZE_OVERFLOW);
}
END_TEST

static const clattn_list small = {
    sizeof(clattn_list), 1, 2, 2, 7, 3, 4, 2, 0, 64}; /* 4 lists of 3 of 7 blocks */

START_TEST(shapes_refused)
{
    static const struct {
        clattn_list list;
        clattn_status status;
    } bad[] = {
        {{0, 1, 2, 2, 7, 3, 4, 2, 0, 64}, CLATTN_BAD_STRUCT_SIZE},
        {{sizeof(clattn_list), -1, 2, 2, 7, 3, 4, 2, 0, 64}, CLATTN_BAD_COUNT},
        {{sizeof(clattn_list), 1, -2, 2, 7, 3, 4, 2, 0, 64}, CLATTN_BAD_COUNT},
        {{sizeof(clattn_list), 1, 2, -2, 7, 3, 4, 2, 0, 64}, CLATTN_BAD_COUNT},
        {{sizeof(clattn_list), 1, 2, 2, (int64_t)1 << 31, 3, 4, 2, 0, 64}, CLATTN_BAD_COUNT},
        {{sizeof(clattn_list), 1, 2, 2, 7, 8, 4, 2, 0, 64}, CLATTN_BAD_COUNT},
        {{sizeof(clattn_list), 1, 2, 2, 7, -1, 4, 2, 0, 64}, CLATTN_BAD_COUNT},
        {{sizeof(clattn_list), 1, 2, 2, 7, 3, 0, 2, 0, 64}, CLATTN_BAD_BLOCK},
        {{sizeof(clattn_list), 1, 2, 2, 7, 3, 4, CLATTN_MAX_BLOCK + 1, 0, 64}, CLATTN_BAD_BLOCK},
        {{sizeof(clattn_list), 1, 2, 2, 7, 3, 4, 2, -4, 64}, CLATTN_BAD_OFFSET},
        {{sizeof(clattn_list), 1, 2, 2, 7, 3, 4, 2, 0, 62}, CLATTN_BAD_OFFSET},
        {{sizeof(clattn_list), 1, 2, 2, 7, 3, 4, 2, 0, 12},
         CLATTN_BAD_OFFSET}, /* the last count is the first id */
        {{sizeof(clattn_list), 1, 2, 2, 7, 3, 4, 2, 44, 0}, CLATTN_BAD_OFFSET},
    };
    uint64_t bytes;
    clattn_attention a = problem(1, 2, 1, 4, 4);
    clattn_list l = CLATTN_LIST_INIT;
    for (size_t i = 0; i < LEN(bad); i++)
        ck_assert_msg(clattn_list_bytes(&bad[i].list, &bytes) == bad[i].status && bytes == 0, "case %d",
                      (int)i);
    ck_assert_int_eq(clattn_list_bytes(NULL, &bytes), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_list_bytes(&small, NULL), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_list_fit(NULL, &a, CLATTN_SCOPE_ALL, 1, 1, 1), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_list_fit(&l, &a, (clattn_scope)3, 1, 1, 1), CLATTN_BAD_SELECTOR);
    ck_assert_int_eq(clattn_list_fit(&l, &a, CLATTN_SCOPE_ALL, 0, 1, 1), CLATTN_BAD_BLOCK);
    ck_assert_int_eq(clattn_list_fit(&l, &a, CLATTN_SCOPE_ALL, 1, 1, -1), CLATTN_BAD_COUNT);
    a.heads = 0;
    ck_assert_int_eq(clattn_list_fit(&l, &a, CLATTN_SCOPE_ALL, 1, 1, 1), CLATTN_BAD_HEADS);
}
END_TEST

/* ---- contents ---- */
enum { WORDS = 16 + 12 };

static void good_contents(int32_t data[WORDS])
{
    static const int32_t counts[] = {2, 0, 3, 1}, ids[] = {0, 6, -1, -1, -1, -1, 1, 2, 3, 5, -1, -1};
    memset(data, 0x7f, WORDS * sizeof *data);
    memcpy(data, counts, sizeof counts);
    memcpy(data + 16, ids, sizeof ids);
}

START_TEST(contents_refused)
{
    static const struct {
        int place;
        int32_t value;
        const char *words;
    } bad[] = {
        {0, -1, "query block 0: its count is -1, and the capacity is 3"},
        {2, 4, "scope 1, query block 0: its count is 4"},
        {17, 7, "scope 0, query block 0: block 7, and there are 7"},
        {17, 0, "block 0 stands after block 0"},
        {24, 1, "scope 1, query block 0: block 1 stands after block 2"},
        {25, -1, "scope 1, query block 1: block -1, and there are 7"},
    };
    int32_t data[WORDS];
    char text[200];
    good_contents(data);
    ck_assert_int_eq(clattn_list_check(&small, data, text, sizeof text), CLATTN_OK);
    for (size_t i = 0; i < LEN(bad); i++) {
        good_contents(data);
        data[bad[i].place] = bad[i].value;
        ck_assert_int_eq(clattn_list_check(&small, data, text, sizeof text), CLATTN_BAD_LIST);
        ck_assert_msg(strstr(text, bad[i].words) != NULL, "'%s' is not in: %s", bad[i].words, text);
        ck_assert_int_eq(clattn_list_check(&small, data, NULL, 0), CLATTN_BAD_LIST);
    }
    ck_assert_int_eq(clattn_list_check(&small, NULL, text, sizeof text), CLATTN_NULL_ARGUMENT);
}
END_TEST

/* ---- block-sparse rows ---- */
START_TEST(rows_by_hand)
{
    static const int64_t starts[] = {0, 2, 2, 5, 6};
    static const int32_t ids[] = {0, 6, 1, 2, 3, 5};
    int32_t data[WORDS], expected[WORDS], back[6];
    int64_t back_starts[5];
    good_contents(expected);
    memset(data, 0x7f, sizeof data);
    ck_assert_int_eq(clattn_list_import(&small, data, starts, ids, 6, 0, NULL, 0), CLATTN_OK);
    ck_assert(!memcmp(data, expected, sizeof data)); /* and nothing between counts and ids */
    ck_assert_int_eq(clattn_list_export(&small, data, back_starts, NULL, 0), CLATTN_OK);
    ck_assert(!memcmp(back_starts, starts, sizeof starts));
    ck_assert_int_eq(clattn_list_export(&small, data, back_starts, back, 5), CLATTN_BAD_COUNT);
    ck_assert_int_eq(clattn_list_export(&small, data, back_starts, back, 6), CLATTN_OK);
    ck_assert(!memcmp(back, ids, sizeof ids));
    ck_assert_int_eq(clattn_list_export(&small, data, NULL, back, 6), CLATTN_NULL_ARGUMENT);
}
END_TEST

START_TEST(rows_refused)
{
    static const struct {
        int64_t starts[5];
        int32_t ids[6];
        int64_t n_ids;
        const char *words, *sorted; /* NULL: taken */
    } bad[] = {
        {{1, 2, 2, 5, 6}, {0, 6, 1, 2, 3, 5}, 6, "starts[0] is 1", "starts[0] is 1"},
        {{0, 3, 2, 5, 6},
         {0, 1, 2, 2, 3, 5},
         6,
         "query block 1: it ends at 2",
         "query block 1: it ends at 2"},
        {{0, 2, 2, 5, 7}, {0, 6, 1, 2, 3, 5}, 6, "it ends at 7, of 6 ids", "it ends at 7, of 6 ids"},
        {{0, 2, 2, 5, 5},
         {0, 6, 1, 2, 3, 5},
         6,
         "the last list ends at 5, of 6 ids",
         "the last list ends at 5"},
        {{0, 0, 0, 0, 0}, {0}, -1, "it ends at 0, of -1 ids", "it ends at 0, of -1 ids"},
        {{0, 0, 0, INT64_MAX, 6},
         {0, 6, 1, 2, 3, 5},
         6,
         "it ends at 9223372036854775807",
         "it ends at 9223372036854775807"},
        {{0, 2, 2, 5, 6}, {0, 7, 1, 2, 3, 5}, 6, "block 7, and there are 7", "block 7, and there are 7"},
        {{0, 2, 2, 5, 6}, {0, 6, 1, 2, 3, INT32_MIN}, 6, "block -2147483648", "block -2147483648"},
        {{0, 2, 2, 5, 6}, {6, 0, 1, 2, 3, 5}, 6, "block 0 stands after block 6", NULL},
        {{0, 2, 2, 5, 6}, {0, 6, 2, 2, 3, 5}, 6, "block 2 stands after block 2", NULL},
        {{0, 4, 4, 5, 6},
         {0, 1, 2, 3, 3, 5},
         6,
         "4 blocks, and the capacity is 3",
         "4 blocks, and the capacity is 3"},
        {{0, 4, 4, 5, 6}, {6, 1, 6, 1, 3, 5}, 6, "block 1 stands after block 6", NULL},
    };
    int32_t data[WORDS], before[WORDS];
    char text[200];
    good_contents(before);
    for (size_t i = 0; i < LEN(bad); i++)
        for (uint32_t sort = 0; sort <= CLATTN_LIST_SORT; sort++) {
            const char *words = sort ? bad[i].sorted : bad[i].words;
            good_contents(data);
            clattn_status status = clattn_list_import(&small, data, bad[i].starts, bad[i].ids, bad[i].n_ids,
                                                      sort, text, sizeof text);
            ck_assert_msg(status == (words ? CLATTN_BAD_LIST : CLATTN_OK), "case %d: %s", (int)i,
                          clattn_status_name(status));
            ck_assert_msg(!words || strstr(text, words), "'%s' is not in: %s", words, text);
            ck_assert(!words || !memcmp(data, before, sizeof data));
            ck_assert(words || clattn_list_check(&small, data, NULL, 0) == CLATTN_OK);
        }
    ck_assert_int_eq(clattn_list_import(&small, data, bad[8].starts, bad[8].ids, 6, 2, NULL, 0),
                     CLATTN_BAD_FLAGS);
    ck_assert_int_eq(clattn_list_import(&small, data, NULL, bad[8].ids, 6, 0, NULL, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_list_import(&small, NULL, bad[8].starts, bad[8].ids, 6, 0, NULL, 0),
                     CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_list_import(&small, data, bad[8].starts, NULL, 6, 0, NULL, 0),
                     CLATTN_NULL_ARGUMENT);
}
END_TEST

/* There and back, in any order and with what is twice. */
START_TEST(random_rows)
{
    for (int n = 0; n < RANDOM_LISTS; n++) {
        clattn_list l = {sizeof l, below(3), 1 + below(3), below(4), 1 + below(20), 0, 4, 2, 0, 0};
        l.capacity = below(l.k_blocks + 1);
        int64_t lists = l.batch * l.scopes * l.q_blocks, total = 0, starts[40], back_starts[40];
        int32_t *ids = malloc(1600 * sizeof *ids), *back = malloc(1600 * sizeof *back),
                *mixed = malloc(1600 * sizeof *mixed);
        int32_t data[36 + 36 * 20];
        l.ids_at = 4 * lists;
        starts[0] = 0;
        for (int64_t r = 0; r < lists; r++) {
            int64_t wanted = below(l.capacity + 1);
            for (int32_t g = 0; g < l.k_blocks && total - starts[r] < wanted; g++)
                if (below(2))
                    ids[total++] = g;
            starts[r + 1] = total;
        }
        ck_assert_int_eq(clattn_list_import(&l, data, starts, ids, total, 0, NULL, 0), CLATTN_OK);
        ck_assert_int_eq(clattn_list_check(&l, data, NULL, 0), CLATTN_OK);
        ck_assert_int_eq(clattn_list_export(&l, data, back_starts, back, total), CLATTN_OK);
        ck_assert(!memcmp(starts, back_starts, (size_t)(lists + 1) * sizeof *starts));
        ck_assert(total == 0 || !memcmp(ids, back, (size_t)total * sizeof *ids));
        int64_t twice[40] = {0};
        for (int64_t r = 0; r < lists; r++) { /* from the last on, twice */
            int64_t count = starts[r + 1] - starts[r];
            for (int64_t j = 0; j < 2 * count; j++)
                mixed[twice[r] + j] = ids[starts[r + 1] - 1 - j % count];
            twice[r + 1] = twice[r] + 2 * count;
        }
        int32_t sorted[36 + 36 * 20];
        ck_assert_int_eq(clattn_list_import(&l, sorted, twice, mixed, 2 * total, CLATTN_LIST_SORT, NULL, 0),
                         CLATTN_OK);
        ck_assert(lists == 0 || !memcmp(data, sorted, (size_t)(lists + lists * l.capacity) * sizeof *data));
        free(ids);
        free(back);
        free(mixed);
    }
}
END_TEST

/* Any bytes: an answer, and data that hold good lists or what they held. */
START_TEST(any_bytes)
{
    int taken = 0;
    for (int n = 0; n < BAD_BYTES; n++) {
        int64_t starts[5] = {0}, n_ids = below(7);
        int32_t ids[6], data[WORDS], before[WORDS];
        for (int r = 0; r < 4; r++)
            starts[r + 1] = below(8) ? starts[r] + below(3) : (int64_t)random_bits() >> below(64);
        for (int j = 0; j < 6; j++)
            ids[j] = below(8) ? (int32_t)below(8) - (below(16) == 0) : (int32_t)random_bits();
        good_contents(data);
        good_contents(before);
        clattn_status status =
            clattn_list_import(&small, data, starts, ids, n_ids, (uint32_t)(n % 2), NULL, 0);
        taken += status == CLATTN_OK;
        ck_assert(status == CLATTN_OK || status == CLATTN_BAD_LIST);
        ck_assert(status == CLATTN_OK || !memcmp(data, before, sizeof data));
        ck_assert_int_eq(clattn_list_check(&small, data, NULL, 0), CLATTN_OK);
    }
    ck_assert_int_gt(taken, 100);
}
END_TEST

/* ---- block masks ---- */
START_TEST(bits_by_hand)
{
    static const uint32_t bits[] = {0x41, 0, 0x0e, 0x20}; /* blocks 0 and 6; none; 1, 2, 3; 5 */
    int32_t data[WORDS], expected[WORDS];
    uint32_t odd[4], back[5];
    int64_t n = 0;
    good_contents(expected);
    memset(data, 0x7f, sizeof data);
    for (int r = 0; r < 4; r++)
        odd[r] = bits[r] | 0xffffff80u; /* behind the 7 blocks: not read */
    ck_assert_int_eq(clattn_list_import_bits(&small, data, odd, 4, NULL, 0), CLATTN_OK);
    ck_assert(!memcmp(data, expected, sizeof data));
    ck_assert_int_eq(clattn_list_export_bits(&small, data, NULL, &n), CLATTN_OK);
    ck_assert_int_eq(n, 4);
    memset(back, 0x7f, sizeof back);
    n = 3;
    ck_assert_int_eq(clattn_list_export_bits(&small, data, back, &n), CLATTN_BAD_COUNT);
    ck_assert(n == 3 && back[0] == 0x7f7f7f7f);
    n = 5;
    ck_assert_int_eq(clattn_list_export_bits(&small, data, back, &n), CLATTN_OK);
    ck_assert(n == 4 && !memcmp(back, bits, sizeof bits) && back[4] == 0x7f7f7f7f);
}
END_TEST

START_TEST(bits_refused)
{
    uint32_t bits[] = {0x41, 0, 0x0e, 0x20};
    int32_t data[WORDS], before[WORDS];
    int64_t n = 4;
    char text[200];
    clattn_list wide = {sizeof wide, INT64_MAX / 4, 1, 1, 321, 0, 1, 1, 0, 0};
    good_contents(data);
    good_contents(before);
    for (int64_t words = -1; words <= 8; words++)
        ck_assert_int_eq(clattn_list_import_bits(&small, data, bits, words, text, sizeof text),
                         words == 4 ? CLATTN_OK : CLATTN_BAD_COUNT);
    ck_assert(strstr(text, "n_words is 8, and the block mask has 4") != NULL);
    bits[3] = 0x55;
    ck_assert_int_eq(clattn_list_import_bits(&small, data, bits, 4, text, sizeof text), CLATTN_BAD_LIST);
    ck_assert(strstr(text, "scope 1, query block 1: 4 blocks, and the capacity is 3") != NULL);
    ck_assert(!memcmp(data, before, sizeof data));
    ck_assert_int_eq(clattn_list_import_bits(NULL, data, bits, 4, NULL, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_list_import_bits(&small, NULL, bits, 4, NULL, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_list_import_bits(&small, data, NULL, 4, NULL, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_list_import_bits(&wide, data, bits, 4, NULL, 0), CLATTN_SIZE_OVERFLOW);
    ck_assert_int_eq(clattn_list_export_bits(&small, data, bits, NULL), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_list_export_bits(&small, NULL, bits, &n), CLATTN_NULL_ARGUMENT);
    data[2] = 4;
    ck_assert_int_eq(clattn_list_export_bits(&small, data, bits, &n), CLATTN_BAD_LIST);
}
END_TEST

/* Any bits of any shape: lists that are no longer than the capacity, and the same bits back; or refused, and
 * data as before. */
START_TEST(any_bits)
{
    int taken = 0;
    for (int n = 0; n < RANDOM_LISTS; n++) {
        clattn_list l = {sizeof l, below(3), 1 + below(3), below(4), below(101), 0, 4, 2, 0, 0};
        const int64_t lists = l.batch * l.scopes * l.q_blocks, width = (l.k_blocks + 31) / 32;
        uint32_t bits[18 * 4], back[18 * 4];
        int32_t data[18 * 101], before[18 * 101];
        int64_t words = lists * width, longest = 0;
        l.capacity = below(l.k_blocks + 1);
        l.ids_at = 4 * lists;
        for (int64_t i = 0; i < words; i++) {
            bits[i] = (uint32_t)(random_bits() & random_bits());
            if (i % width == width - 1 && l.k_blocks % 32)
                bits[i] &= ((uint32_t)1 << l.k_blocks % 32) - 1;
        }
        for (int64_t r = 0; r < lists; r++) {
            int64_t count = 0;
            for (int64_t g = 0; g < l.k_blocks; g++)
                count += bits[r * width + g / 32] >> g % 32 & 1;
            longest = count > longest ? count : longest;
        }
        memset(data, 0x7f, sizeof data);
        memcpy(before, data, sizeof data);
        clattn_status status = clattn_list_import_bits(&l, data, bits, words, NULL, 0);
        ck_assert_int_eq(status, longest > l.capacity ? CLATTN_BAD_LIST : CLATTN_OK);
        if (status) {
            ck_assert(!memcmp(data, before, sizeof data));
            continue;
        }
        taken += words > 0;
        ck_assert_int_eq(clattn_list_check(&l, data, NULL, 0), CLATTN_OK);
        memset(back, 0x7f, sizeof back);
        ck_assert_int_eq(clattn_list_export_bits(&l, data, back, &words), CLATTN_OK);
        ck_assert(words == lists * width &&
                  (words == 0 || !memcmp(bits, back, (size_t)words * sizeof *bits)));
    }
    ck_assert_int_gt(taken, 100);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("list");
    TCase *shape = tcase_create("shape"), *contents = tcase_create("contents"), *rows = tcase_create("rows");
    tcase_add_test(shape, shape_of_a_problem);
    tcase_add_test(shape, large_shapes);
    tcase_add_test(shape, shapes_refused);
    tcase_add_test(contents, contents_refused);
    tcase_add_test(rows, rows_by_hand);
    tcase_add_test(rows, rows_refused);
    tcase_add_test(rows, random_rows);
    tcase_add_test(rows, any_bytes);
    suite_add_tcase(suite, shape);
    suite_add_tcase(suite, contents);
    suite_add_tcase(suite, rows);
    TCase *bits = tcase_create("bits");
    tcase_add_test(bits, bits_by_hand);
    tcase_add_test(bits, bits_refused);
    tcase_add_test(bits, any_bits);
    suite_add_tcase(suite, bits);
    return run_suite(suite);
}
