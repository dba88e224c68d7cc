/* SPDX-License-Identifier: MIT
 * check_intervals.c - classes of tiles: random masks against every pair of small boxes, named masks that must
 * be exact, and tables of minima and maxima made on a device. */
#include "expr/expr.h"
#include "expr/tree.h"
#include "tests/on_device.h"
#include "tests/random_rule.h"
#include "tests/suite.h"

#include <check.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What OpenCL C has and C has not: lookups in tables are tried here too. */
#define I64 int64_t
#define I32 int32_t
#define __global
#define as_float bits_float
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#include "rule_interval.clh"
#include "tables_args.clh"

enum { MASKS = 20000, TEXT = 1024, BYTES = 1 << 16, TYPES = 6, TABLES = 40 };

static uint64_t seed;

static int pick(int lo, int hi)
{
    return lo + (int)random_below(&seed, (uint32_t)(hi - lo + 1));
}

static int sometimes(int often, int seldom)
{
    return pick(0, 19) ? often : seldom;
}

/* ---- what rules name: an array of each type, and scalars of both ---- */
static clattn_scalar scalars[] = {
    {"w", CLATTN_I32, 0, 0}, {"n", CLATTN_I32, 0, 0}, {"x", CLATTN_F32, 0, 0}, {"y", CLATTN_F32, 0, 0}};
static clattn_array arrays[TYPES];
static union {
    uint32_t words[BYTES / 4];
    float f32[BYTES / 4];
    int32_t i32[BYTES / 4];
    uint16_t u16[BYTES / 2];
    int8_t i8[BYTES];
} store[TYPES];
static const void *data[TYPES];
static const struct clattn__names names = {4, TYPES, scalars, arrays};
/* Lists of short blocks: a count may be out of range, and is clamped. */
enum { LISTS_BATCH = 4, SCOPES = 3, Q_BLOCKS = 5, CAPACITY = 12, LISTS = LISTS_BATCH * SCOPES * Q_BLOCKS };
static clattn_list shape = {.size = sizeof shape, .batch = LISTS_BATCH, .scopes = SCOPES,
                            .q_blocks = Q_BLOCKS, .k_blocks = 64, .capacity = CAPACITY, .counts_at = 4,
                            .ids_at = 4 * (1 + LISTS)};
static int32_t list_data[1 + LISTS + LISTS * CAPACITY];
static struct clattn__lists lists = {&shape, list_data, 3, false};
static const struct clattn__expr_values values = {scalars, arrays, data, &lists};

/* Small numbers, and now and then one at an end of its type. */
static float random_float(void)
{
    static const float ends[] = {INFINITY, -INFINITY, NAN,     FLT_MAX, -FLT_MAX,
                                 1e-42f,   -1e-42f,   FLT_MIN, -0.0f};
    return sometimes(0, 1) ? ends[pick(0, 8)] : (float)pick(-64, 64) / (float)pick(1, 9);
}

static int random_int(void)
{
    static const int ends[] = {INT_MIN, INT_MAX, -65536, 1 << 20};
    return sometimes(0, 1) ? ends[pick(0, 3)] : pick(-4, 14);
}

/* The first elements of a type's store (of bits: words). */
static void fill(int type, int count)
{
    static const uint16_t halves[] = {0x0000, 0x3c00, 0xc000, 0x4900, 0x0001, 0x7c00, 0x7e00, 0xfbff};
    const int pattern = pick(0, 3); /* the same all over, or rising, or anything */
    ck_assert_int_le(count, BYTES / 4);
    const int step = pick(3, 40), one = random_int();
    const float real = random_float();
    for (int i = 0; i < count; i++) {
        int n = pattern == 0 ? one : pattern == 1 ? i / step : random_int();
        float x = pattern == 0 ? real : pattern == 1 ? (float)(i / step) * 0.5f : random_float();
        switch (type) {
        case CLATTN_F16:
            store[type].u16[i] = pattern == 2 ? halves[pick(0, 7)] : (uint16_t)(0x3800 + 64 * (n & 31));
            break;
        case CLATTN_BF16: store[type].u16[i] = (uint16_t)((uint32_t)float_bits(x) >> 16); break;
        case CLATTN_I32: store[type].i32[i] = n; break;
        case CLATTN_I8: store[type].i8[i] = (int8_t)n; break;
        case CLATTN_BITS:
            store[type].words[i] =
                pattern == 0 ? 0u - (uint32_t)(one & 1) : (uint32_t)pick(0, 65535) * 65539u;
            break;
        default: store[type].f32[i] = x;
        }
    }
}

/* Blocks that rise: all of them, runs, or here and there. */
static void random_lists(void)
{
    const int step = pick(1, 3);
    shape.block_q = pick(1, 9);
    shape.block_k = pick(1, 9);
    lists.bottom_right = pick(0, 1);
    for (int r = 0; r < LISTS; r++) {
        int block = pick(-1, 3);
        list_data[1 + r] = sometimes(pick(0, CAPACITY), pick(0, 1) ? -5 : INT_MAX);
        for (int i = 0; i < CAPACITY; i++, block += pick(1, step))
            list_data[1 + LISTS + r * CAPACITY + i] = block;
    }
}

static void random_values(void)
{
    random_lists();
    for (int i = 0; i < 4; i++)
        scalars[i].value = scalars[i].type == CLATTN_F32 ? (double)random_float() : (double)random_int();
    for (int type = 0; type < TYPES; type++) {
        clattn_array *a = &arrays[type];
        memset(a, 0, sizeof *a);
        snprintf(a->name, sizeof a->name, "a%d", type);
        a->type = type;
        a->n_dims = pick(1, CLATTN_MAX_DIMS);
        for (int d = 0; d < a->n_dims; d++)
            a->dims[d] = pick(0, 2) ? pick(1, 9) : 1;
        if (a->n_dims < 3 && pick(0, 2) == 0)
            a->dims[a->n_dims - 1] = pick(10, 80);
        data[type] = pick(0, 9) ? &store[type] : NULL;
        int count = 1;
        for (int d = 0; d < a->n_dims; d++)
            count *= (int)a->dims[d];
        fill(type, count);
    }
}

static struct clattn__expr *expr_of(const char *text, const struct clattn__names *with)
{
    struct clattn__expr *e;
    char message[1024] = "";
    clattn_status status = clattn__expr_create(&e, with, message, sizeof message);
    if (!status)
        status = clattn__expr_add(e, CLATTN__MASK, text, message, sizeof message);
    ck_assert_msg(status == CLATTN_OK, "'%s': %s %s", text, clattn_status_name(status), message);
    return e;
}

/* ---- every pair of a box ---- */
static enum clattn__class truth(const struct clattn__expr *e, const struct clattn__expr_box *box,
                                const struct clattn__expr_values *with)
{
    bool any = false, all = true;
    struct clattn__expr_point at = {.b = box->b, .g = box->g, .q_len = box->q_len, .k_len = box->k_len};
    for (at.h = box->h0; at.h <= box->h1; at.h++)
        for (at.q = box->q0; at.q <= box->q1; at.q++)
            for (at.k = box->k0; at.k <= box->k1; at.k++) {
                bool visible = clattn__expr_eval(e, CLATTN__MASK, &at, with, false) != 0;
                any |= visible;
                all &= visible;
            }
    return all ? CLATTN__FULL : any ? CLATTN__PARTIAL : CLATTN__EMPTY;
}

static struct clattn__expr_box random_box(void)
{
    struct clattn__expr_box box = {.q0 = sometimes(pick(-3, 30), pick(0, 1) ? 2147483600 : 100000),
                                   .k0 = pick(0, 30), .h0 = pick(0, 5), .g = pick(0, 2), .b = pick(0, 3),
                                   .q_len = pick(0, 40), .k_len = pick(0, 40)};
    box.q1 = box.q0 + pick(0, 11);
    box.k1 = box.k0 + pick(0, 11);
    box.h1 = box.h0 + pick(0, 2);
    return box;
}

START_TEST(classes_are_conservative)
{
    char text[TEXT];
    int counts[3][3] = {{0}}; /* by truth and class */
    seed = 1;
    for (int i = 0; i < MASKS; i++) {
        random_values();
        random_rule((uint64_t)i, CLATTN__MASK, text, sizeof text, &names);
        struct clattn__expr *e = expr_of(text, &names);
        struct clattn__expr_box box = random_box();
        enum clattn__class is = truth(e, &box, &values), class = clattn__expr_classify(e, &box, &values);
        ck_assert_msg(class == CLATTN__PARTIAL || class == is,
                      "mask %d '%s': class %d in q %d..%d k %d..%d h %d..%d, where %d holds", i, text,
                      (int)class, (int)box.q0, (int)box.q1, (int)box.k0, (int)box.k1, (int)box.h0,
                      (int)box.h1, (int)is);
        counts[is][class]++;
        clattn__expr_free(e);
    }
    int known = counts[0][0] + counts[2][2], missed = counts[0][1] + counts[2][1];
    printf("# %d random masks: %d partial; %d empty or full, of which %d (%.1f %%) were called partial\n",
           MASKS, counts[1][1], known + missed, missed, 100.0 * missed / (known + missed));
    ck_assert_int_gt(counts[0][0], MASKS / 20);
    ck_assert_int_gt(counts[1][1], MASKS / 20);
    ck_assert_int_gt(counts[2][2], MASKS / 20);
}
END_TEST

START_TEST(common_masks_are_exact)
{
    static const char *const texts[] = {
        "causal", "strictly_causal", "window(24)", "causal & window(24)", "causal & window(16)",
        "around(20)", "prefix(24)", "prefix_each(n)", "valid(n)", "causal & valid(n)", "documents(doc)",
        "causal & documents(doc)", "blocks(16)", "blocks(24)", "sinks(16) | window(32)",
        "k_len - k > 5 & q < q_len", "true", "false", "kept(keep)", "h < 2 ^ causal",
        "floor(q * 0.0625) == floor(k * 0.0625)", "q / 3 >= 0", "doc[b, q + 1000] == doc[b, 63]",
        "doc[b, -k] == doc[b, 0]", "q + 0.5 > k",
    };
    enum { TILE = 16, LENGTH = 64 };
    static int32_t doc[2][LENGTH], n[2] = {20, 48};
    static uint32_t keep[2][2] = {{0xffff0000u, 0x00ff00ffu}, {0x0000ffffu, 0xffffffffu}};
    static const clattn_array named[] = {{"doc", CLATTN_I32, 2, {2, LENGTH}},
                                         {"n", CLATTN_I32, 1, {2}},
                                         {"keep", CLATTN_BITS, 2, {2, LENGTH}}};
    const void *const held[] = {doc, n, keep};
    const struct clattn__names declared = {0, 3, NULL, named};
    const struct clattn__expr_values with = {NULL, named, held, NULL};
    for (int i = 0; i < LENGTH; i++) {
        doc[0][i] = i / 16;
        doc[1][i] = (i + 7) / 20;
    }
    for (size_t t = 0; t < CLATTN__LEN(texts); t++) {
        struct clattn__expr *e = expr_of(texts[t], &declared);
        for (int tile = 0; tile < 2 * 4 * 4; tile++) {
            int b = tile / 16, q = tile / 4 % 4 * TILE, k = tile % 4 * TILE;
            struct clattn__expr_box box = {q, q + TILE - 1, k, k + TILE - 1, 0, 1, 0, b, LENGTH, LENGTH};
            enum clattn__class is = truth(e, &box, &with), class = clattn__expr_classify(e, &box, &with);
            ck_assert_msg(class == is, "'%s': class %d, not %d, at q %d k %d b %d", texts[t], (int)class,
                          (int)is, q, k, b);
        }
        clattn__expr_free(e);
    }
}
END_TEST

START_TEST(corners_of_types)
{
    static const struct {
        const char *text;
        enum clattn__class class; /* in q 0..3, k 0..3 */
    } rows[] = {
        {"q * 65536 * 65536 == 0", CLATTN__PARTIAL},            /* wraps: could be seen, and is not */
        {"q + 2147483647 < 0", CLATTN__PARTIAL},
        {"abs(q - 2147483647 - 1) < 0", CLATTN__PARTIAL},       /* of INT_MIN */
        {"(q - 2147483647 - 1) // -1 < 0", CLATTN__PARTIAL},
        {"q // 0 == 0", CLATTN__PARTIAL}, {"q // (k - k) <= 3", CLATTN__FULL}, {"k % 4 == k", CLATTN__PARTIAL},
        {"(k + 4) % 4 < 4", CLATTN__FULL}, {"(k + 8) // 4 == 2", CLATTN__FULL}, {"(k - 4) // 4 == -1", CLATTN__FULL},
        {"(k - 4) % 4 >= 0", CLATTN__FULL}, {"k % -4 > 0", CLATTN__EMPTY}, {"(k + 1) // (q + 1) >= 0", CLATTN__FULL},
        {"log(q - 1) < 100", CLATTN__PARTIAL}, {"log(q - 1) != 0.5", CLATTN__PARTIAL}, /* NaN */
        {"q / (k - 1) < 100", CLATTN__PARTIAL}, {"sqrt(q) <= 2", CLATTN__FULL}, {"exp(q) > 0.5", CLATTN__FULL},
        {"exp(-q) < 0.01", CLATTN__EMPTY}, {"sigmoid(q - k) > 1.1", CLATTN__EMPTY}, {"softplus(q) >= 0.5", CLATTN__FULL},
        {"tanh(q) <= -0.5", CLATTN__EMPTY}, {"floor(q * 1e30) >= 0", CLATTN__FULL}, {"floor(log(-q - 1)) == 0", CLATTN__PARTIAL},
        {"(q + 1) * 1e-42 > 0", CLATTN__PARTIAL},              /* a device may flush it to 0 */
        {"(q < 9 ? k : k + 100) < 4", CLATTN__FULL}, {"(q < 2 ? 1 : 3) > 0", CLATTN__FULL}, {"q < 2 ? k >= 0 : k < 9", CLATTN__FULL},
        {"(k < 9) ^ (q < 9)", CLATTN__EMPTY}, {"(k < 9) ^ (q > 9)", CLATTN__FULL}, {"relu(k - 3) == 0", CLATTN__FULL},
        {"min(q, 7) + max(k, -1) <= 6", CLATTN__FULL}, {"q * 1e38 * 1e38 >= 0", CLATTN__PARTIAL},
        {"abs(k - 5) >= 2 & abs(k - 5) <= 5", CLATTN__FULL}, {"abs(q - 1) >= 0 & abs(q - 1) <= 2", CLATTN__FULL},
        {"abs(q - 1.0) >= 0 & abs(k - 5.0) >= 2", CLATTN__FULL},
    };
    const struct clattn__expr_box box = {0, 3, 0, 3, 0, 0, 0, 0, 4, 4};
    for (size_t i = 0; i < CLATTN__LEN(rows); i++) {
        struct clattn__expr *e = expr_of(rows[i].text, NULL);
        enum clattn__class class = clattn__expr_classify(e, &box, NULL);
        ck_assert_msg(class == rows[i].class, "'%s': class %d", rows[i].text, (int)class);
        clattn__expr_free(e);
    }
    struct clattn__expr *none;
    ck_assert_int_eq(clattn__expr_create(&none, NULL, NULL, 0), CLATTN_OK);
    ck_assert_int_eq(clattn__expr_classify(none, &box, NULL), CLATTN__FULL);
    clattn__expr_free(none);
}
END_TEST

/* Boxes of more elements than are scanned may hold all that the type can. */
START_TEST(large_boxes)
{
    static const struct {
        int32_t type;
        const char *text;
        enum clattn__class class;
    } rows[] = {
        {CLATTN_I8, "big[q, k] <= 127 & big[q, k] >= -128", CLATTN__FULL}, {CLATTN_I8, "big[q, k] < 127", CLATTN__PARTIAL},
        {CLATTN_I8, "big[q, k] > -128", CLATTN__PARTIAL}, {CLATTN_I32, "big[q, k] < 2147483647", CLATTN__PARTIAL},
        {CLATTN_I32, "big[q, k] > -2147483648", CLATTN__PARTIAL}, {CLATTN_BITS, "big[q, k]", CLATTN__PARTIAL},
        {CLATTN_F32, "big[q, k] == big[q, k]", CLATTN__PARTIAL}, {CLATTN_F16, "big[q, k] <= 65504", CLATTN__PARTIAL},
        {CLATTN_I32, "big[q % 32, k] == 0", CLATTN__FULL}, /* few enough */
    };
    const struct clattn__expr_box box = {0, 127, 0, 127, 0, 0, 0, 0, 128, 128};
    memset(&store[0], 0, sizeof store[0]);
    for (size_t i = 0; i < CLATTN__LEN(rows); i++) {
        const clattn_array big = {"big", rows[i].type, 2, {128, 128}};
        const void *const zeros = &store[0];
        const struct clattn__names declared = {0, 1, NULL, &big};
        const struct clattn__expr_values with = {NULL, &big, &zeros, NULL};
        struct clattn__expr *e = expr_of(rows[i].text, &declared);
        enum clattn__class class = clattn__expr_classify(e, &box, &with);
        ck_assert_msg(class == rows[i].class, "'%s' of type %d: class %d", rows[i].text, (int)rows[i].type,
                      (int)class);
        clattn__expr_free(e);
    }
}
END_TEST

/* ---- tables on a device ---- */
enum { GROUP = 8 };

static const char *kernel_text(void)
{
    for (int i = 0; clattn__kernel_texts[i].name; i++)
        if (!strcmp(clattn__kernel_texts[i].name, "tables"))
            return clattn__kernel_texts[i].text;
    ck_abort_msg("the kernel text of tables is not there");
    return NULL;
}

/* `share' items a block, or one that reads by `lanes'. */
struct variant {
    int share, lanes;
};

static cl_kernel build_tables(int element, const struct variant *v)
{
    char options[100];
    snprintf(options, sizeof options, "-cl-std=CL1.2 -DELEMENT=%d -DLANES=%d -DGROUP=%d -DSHARE=%d", element,
             v->lanes, (int)GROUP, v->share);
    return on_device_build("tables", kernel_text(), options);
}

static int blocks_of(int dim, int size)
{
    return (dim + size - 1) / size;
}

static int table_blocks(const struct tables_args *a)
{
    return a->dims[0] * a->dims[1] * blocks_of(a->dims[2], a->rows) * blocks_of(a->dims[3], a->columns);
}

/* Behind the table an int that the kernel may be asked to set to 0. */
static void run_tables(cl_kernel kernel, int share, int element, const struct tables_args *a, int32_t *table)
{
    size_t blocks = (size_t)table_blocks(a), size = (blocks * 2 + 2) * sizeof *table;
    cl_mem from = on_device_buffer(&store[element], sizeof store[0]), to = on_device_buffer(table, size);
    on_device_argument(kernel, 0, sizeof from, &from);
    on_device_argument(kernel, 1, sizeof to, &to);
    on_device_argument(kernel, 2, sizeof *a, a);
    on_device_run(kernel, (blocks * (size_t)share / GROUP + 2) * GROUP, GROUP); /* surplus items do nothing */
    on_device_read(to, table, size);
    clReleaseMemObject(from);
    clReleaseMemObject(to);
}

static struct tables_args random_shape(void)
{
    struct tables_args a = {.dims = {pick(1, 3), pick(1, 3), pick(1, 12), pick(1, 90)},
                            .rows = pick(0, 2) ? pick(1, 20) : 16,
                            .columns = pick(0, 2) ? pick(1, 70) : 64};
    a.counters_at = pick(0, 1) ? 2 * table_blocks(&a) : -1;
    return a;
}

/* The bounds of elements lo..hi of each dimension. */
static void element_bounds(int element, const struct tables_args *a, const int lo[4], const int hi[4],
                           double *least, double *most)
{
    clattn_array array = {"a", element, 4, {a->dims[0], a->dims[1], a->dims[2], a->dims[3]}};
    int64_t at[4];
    bool has_nan = false;
    *least = INFINITY;
    *most = -INFINITY;
    for (at[0] = lo[0]; at[0] <= hi[0]; at[0]++)
        for (at[1] = lo[1]; at[1] <= hi[1]; at[1]++)
            for (at[2] = lo[2]; at[2] <= hi[2]; at[2]++)
                for (at[3] = lo[3]; at[3] <= hi[3]; at[3]++) {
                    double x = clattn__array_element(&array, &store[element], at);
                    has_nan |= x != x;
                    *least = min(x, *least);
                    *most = max(x, *most);
                }
    *least = has_nan ? -INFINITY : *least;
    *most = has_nan ? INFINITY : *most;
}

/* Every block's two numbers. */
static void check_table(int element, const struct tables_args *a, const int32_t *table)
{
    const int down = blocks_of(a->dims[2], a->rows), across = blocks_of(a->dims[3], a->columns);
    for (int i = 0; i < table_blocks(a); i++) {
        const int r = i / across % down * a->rows, c = i % across * a->columns, matrix = i / across / down;
        const int lo[] = {matrix / a->dims[1], matrix % a->dims[1], r, c};
        const int hi[] = {lo[0], lo[1], min(r + a->rows, a->dims[2]) - 1,
                          min(c + a->columns, a->dims[3]) - 1};
        double least, most;
        element_bounds(element, a, lo, hi, &least, &most);
        bool real = element <= CLATTN_BF16;
        double got_least = real ? (double)bits_float(table[2 * i]) : (double)table[2 * i];
        double got_most = real ? (double)bits_float(table[2 * i + 1]) : (double)table[2 * i + 1];
        ck_assert_msg(got_least == least && got_most == most,
                      "type %d block %d of %dx%d in %dx%dx%dx%d: %g..%g, not %g..%g", element, i,
                      (int)a->rows, (int)a->columns, (int)a->dims[0], (int)a->dims[1], (int)a->dims[2],
                      (int)a->dims[3], got_least, got_most, least, most);
    }
}

/* A lookup holds all elements that its index intervals mean, and no more than the blocks around them. */
static void check_lookup(int element, const struct tables_args *a, const int32_t *table)
{
    const int sizes[] = {1, 1, a->rows, a->columns};
    struct irange index[4], found = {0, 0};
    struct frange real = {0, 0};
    int lo[4], hi[4], blocks = 1;
    for (int d = 0; d < 4; d++) {
        int first = sometimes(pick(-2, a->dims[d] + 1), pick(0, 1) ? INT_MIN : INT_MAX - 9);
        index[d] = xi_span(first, first + pick(0, 9));
        lo[d] = max(min(first, a->dims[d] - 1), 0) / sizes[d];
        hi[d] = (int)max(min(index[d].hi, a->dims[d] - 1), 0) / sizes[d];
        blocks *= hi[d] - lo[d] + 1;
        lo[d] *= sizes[d];
        hi[d] = min((hi[d] + 1) * sizes[d], a->dims[d]) - 1;
    }
#define LOOKUP(f, lo, hi)                                                                                          \
    f(table, a->dims[0], a->dims[1], a->dims[2], a->dims[3], a->rows, a->columns, index[0], index[1], index[2], index[3], lo, hi)
    double least, most;
    element_bounds(element, a, lo, hi, &least, &most);
    if (element <= CLATTN_BF16) {
        real = LOOKUP(xi_ftable, -INFINITY, INFINITY);
        struct frange want = blocks > XI_TABLE_BLOCKS ? xi_anything() : xi_floats((float)least, (float)most);
        ck_assert(real.lo == want.lo && real.hi == want.hi);
    } else if (element == CLATTN_BITS) {
        ck_assert_int_eq(LOOKUP(xi_btable, 0, 1), blocks > XI_TABLE_BLOCKS ? 1 : (int)(least + most));
    } else {
        found = LOOKUP(xi_itable, -1000, 1000);
        ck_assert_int_eq(found.lo, blocks > XI_TABLE_BLOCKS ? -1000 : (int64_t)least);
        ck_assert_int_eq(found.hi, blocks > XI_TABLE_BLOCKS ? 1000 : (int64_t)most);
    }
#undef LOOKUP
}

START_TEST(tables_agree_with_the_host)
{
    static int32_t table[2 * 3 * 3 * 12 * 90 + 2];
    on_device_open();
    seed = 3;
    static const struct variant variants[] = {{1, 1}, {4, 1}, {GROUP, 1}, {1, 16}};
    for (int number = 0; number < TYPES * (on.wide ? 4 : 3); number++) {
        const struct variant *variant = &variants[number / TYPES];
        const int element = number % TYPES;
        cl_kernel kernel = build_tables(element, variant);
        for (int i = 0; i < TABLES; i++) {
            const struct tables_args a = random_shape();
            fill(element, a.dims[0] * a.dims[1] * a.dims[2] * a.dims[3]);
            memset(table, 0x55, sizeof table);
            run_tables(kernel, variant->share, element, &a, table);
            check_table(element, &a, table);
            for (int j = 0; j < 2; j++)
                ck_assert_int_eq(table[2 * table_blocks(&a) + j], a.counters_at < 0 ? 0x55555555 : 0);
            for (int j = 0; j < 8; j++)
                check_lookup(element, &a, table);
        }
        clReleaseKernel(kernel);
    }
    on_device_close();
}
END_TEST

/* ---- operations, which are counted by classes ---- */
enum { COUNT_Q = 77, COUNT_K = 130, COUNT_HEADS = 4 };
static int32_t documents[2][COUNT_K];

static bool same_document(int b, int h, int q, int k)
{
    return h > 0 && documents[b][q] == documents[b][k];
}

static bool causal(int b, int h, int q, int k)
{
    return b >= 0 && h >= 0 && k <= q;
}

static bool by_group(int b, int h, int q, int k)
{
    return b >= 0 && q >= 0 && (h / 2 == 1 || k < 100);
}

START_TEST(operations_are_those_of_visible_pairs)
{
    static const struct {
        const char *mask;
        bool (*sees)(int b, int h, int q, int k);
    } masks[] = {{"h > 0 & doc[b, q] == doc[b, k]", same_document},
                 {"k <= q", causal},
                 {"g == 1 | k < 100", by_group}};
    const void *inputs[CLATTN_MAX_ARRAYS] = {documents};
    for (int i = 0; i < 2 * COUNT_K; i++)
        documents[i / COUNT_K][i % COUNT_K] = i % COUNT_K / (7 + i / COUNT_K);
    for (size_t m = 0; m < sizeof masks / sizeof masks[0]; m++) {
        clattn_attention a = CLATTN_ATTENTION_INIT;
        double pairs = 0;
        a.batch = 2;
        a.heads = COUNT_HEADS;
        a.kv_heads = 2;
        a.q_len = COUNT_Q;
        a.kv_len = COUNT_K;
        a.dim = 5;
        a.dim_v = 3;
        a.pattern = clattn_mask(masks[m].mask, CLATTN_BOTTOM_RIGHT);
        a.n_arrays = m == 0;
        a.arrays[0] = (clattn_array){"doc", CLATTN_I32, 2, {2, COUNT_K}};
        for (int i = 0; i < 2 * COUNT_HEADS * COUNT_Q * COUNT_K; i++)
            pairs +=
                masks[m].sees(i / (COUNT_HEADS * COUNT_Q * COUNT_K), i / (COUNT_Q * COUNT_K) % COUNT_HEADS,
                              i / COUNT_K % COUNT_Q + COUNT_K - COUNT_Q, i % COUNT_K);
        ck_assert_double_eq(clattn_problem_flops(&a, inputs), 2 * (5 + 3) * pairs);
        if (m == 0) /* without the arrays nothing is known */
            ck_assert_double_eq(clattn_problem_flops(&a, NULL),
                                2 * (5 + 3) * 2.0 * COUNT_HEADS * COUNT_Q * COUNT_K);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("intervals");
    TCase *cases = tcase_create("intervals");
    tcase_set_timeout(cases, 300);
    tcase_add_test(cases, classes_are_conservative);
    tcase_add_test(cases, common_masks_are_exact);
    tcase_add_test(cases, corners_of_types);
    tcase_add_test(cases, large_boxes);
    tcase_add_test(cases, operations_are_those_of_visible_pairs);
    if (on_device_find())
        tcase_add_test(cases, tables_agree_with_the_host);
    else
        puts("# SKIP tables_agree_with_the_host: no OpenCL device");
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
