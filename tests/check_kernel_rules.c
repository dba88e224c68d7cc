/* SPDX-License-Identifier: MIT
 * check_kernel_rules.c - rules on a device: one pair, sixteen queries, sixteen keys, classes of tiles; and
 * the engines' programs.
 *
 * Each rule is evaluated for a grid of pairs by a kernel, by the host's evaluator and by the oracle
 * (tests/ref_rule.c), which shares no line with either and bounds what f32 may be off by.  Rules of + - * and
 * whole numbers alone are the same to the bit on device and host, infinities and NaN included.  Compilers
 * differ in speed: a test stops after SECONDS, after three programs at least, and says how far it came. */
#include "expr/tree.h"
#include "tests/fresh_context.h"
#include "tests/on_device.h"
#include "tests/random_rule.h"
#include "tests/ref.h"
#include "tests/suite.h"

#define I64 int64_t
#define I32 int32_t
#include "list_args.clh"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = 32, KEYS = 48, PAIRS = ROWS * KEYS, HEADS = 4, CLASS_KEYS = 8, CLASSES = ROWS / 16 * (KEYS / CLASS_KEYS),
       FIRST_Q = -3, BATCH_ENTRY = 1, GROUP = 2, TEXT = 1 << 16, KERNEL_SIZE = 1 << 20, STORE = 1 << 16,
       TABLES = 1 << 16, RANDOM_PROGRAMS = 14, SECONDS = 25, SCOPES = 2, Q_BLOCKS = 5, CAPACITY = 7,
       LISTS = (BATCH_ENTRY + 1) * SCOPES * Q_BLOCKS };

static const struct clattn__expr_point middle = {0, 0, BATCH_ENTRY, 0, GROUP, 29, KEYS, 0};

struct grid_args {
    int64_t table_at[CLATTN_MAX_ARRAYS];
    int32_t q0, b, g, q_len, k_len, first, bottom_right, rest;
};

static const char grid_kernel[] =
    "struct grid_args { long table_at[8]; int q0, b, g, q_len, k_len, first, bottom_right, rest; };\n"
    "kernel void grid(global int *one, global int *lanes, global int *keys, global int *class,\n"
    "                 global const float *scores, const struct grid_args a RULE_PARAMS)\n"
    "{\n"
    "    int tile = get_global_id(0), q0 = a.q0 + 16 * tile;\n"
    "    RULE_ENV(env, a.b, a.g, a.q_len, a.k_len)\n"
    "    for (int p = 16 * tile * KEYS; p < 16 * (tile + 1) * KEYS; p++) {\n"
    "        int row = p / KEYS, k = p % KEYS, q = a.q0 + row, h = row % HEADS;\n"
    "#if MASK_RULE\n"
    "        one[3 * p] = mask_1(&env, q, h, k);\n"
    "#endif\n"
    "#if SCORE_RULE\n"
    "        one[3 * p + 1] = as_int(score_1(&env, q, h, k, scores[p]));\n"
    "#endif\n"
    "#if WEIGHT_RULE\n"
    "        one[3 * p + 2] = as_int(weight_1(&env, q, h, k, scores[p]));\n"
    "#endif\n"
    "    }\n"
    "    for (int c = 0; c < KEYS / CLASS_KEYS; c++)\n"
    "        class[tile * (KEYS / CLASS_KEYS) + c] =\n"
    "            mask_class(&env, q0, q0 + 15, 0, HEADS - 1, c * CLASS_KEYS, (c + 1) * CLASS_KEYS - 1);\n"
    "#if RULE_LANES == 16\n"
    "    int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);\n"
    "    int16 q16 = q0 + lane, h16 = (16 * tile + lane) % HEADS;\n"
    "    struct rule_rows rows;\n"
    "    rule_rows_fill(&env, &rows, q16, h16);\n"
    "    for (int k = a.first; k < KEYS; k++) {\n"
    "        global int *to = lanes + 3 * (16 * tile * KEYS + k);\n"
    "        float s[16];\n"
    "        int x[16];\n"
    "        for (int i = 0; i < 16; i++)\n"
    "            s[i] = scores[(16 * tile + i) * KEYS + k];\n"
    "#if MASK_RULE\n"
    "        vstore16(mask_16(&env, &rows, q16, h16, k), 0, x);\n"
    "        for (int i = 0; i < 16; i++)\n"
    "            to[3 * i * KEYS] = x[i];\n"
    "#endif\n"
    "#if SCORE_RULE\n"
    "        vstore16(as_int16(score_16(&env, &rows, q16, h16, k, vload16(0, s))), 0, x);\n"
    "        for (int i = 0; i < 16; i++)\n"
    "            to[3 * i * KEYS + 1] = x[i];\n"
    "#endif\n"
    "#if WEIGHT_RULE\n"
    "        vstore16(as_int16(weight_16(&env, &rows, q16, h16, k, vload16(0, s))), 0, x);\n"
    "        for (int i = 0; i < 16; i++)\n"
    "            to[3 * i * KEYS + 2] = x[i];\n"
    "#endif\n"
    "    }\n"
    "    for (int row = 16 * tile; row < 16 * tile + 16; row++)\n"
    "        for (int k = 0; k < KEYS; k += 16) {\n"
    "            global int *to = keys + 3 * (row * KEYS + k);\n"
    "            int q = a.q0 + row, h = row % HEADS, x[16];\n"
    "            float16 s = vload16(0, scores + row * KEYS + k);\n"
    "#if MASK_RULE\n"
    "            vstore16(mask_keys(&env, q, h, k + lane), 0, x);\n"
    "            for (int i = 0; i < 16; i++)\n"
    "                to[3 * i] = x[i];\n"
    "#endif\n"
    "#if SCORE_RULE\n"
    "            vstore16(as_int16(score_keys(&env, q, h, k + lane, s)), 0, x);\n"
    "            for (int i = 0; i < 16; i++)\n"
    "                to[3 * i + 1] = x[i];\n"
    "#endif\n"
    "#if WEIGHT_RULE\n"
    "            vstore16(as_int16(weight_keys(&env, q, h, k + lane, s)), 0, x);\n"
    "            for (int i = 0; i < 16; i++)\n"
    "                to[3 * i + 2] = x[i];\n"
    "#endif\n"
    "        }\n"
    "#endif\n"
    "}\n";

/* ---- what rules name ---- */
struct world {
    struct clattn__names names;
    clattn_scalar scalars[2];
    clattn_array arrays[CLATTN_MAX_ARRAYS];
    const void *data[CLATTN_MAX_ARRAYS];
};

static int32_t store[CLATTN_MAX_ARRAYS][STORE];
static float scores[PAIRS];
static const clattn_list shape = {.size = sizeof shape, .batch = BATCH_ENTRY + 1, .scopes = SCOPES,
                                  .q_blocks = Q_BLOCKS, .k_blocks = 10, .capacity = CAPACITY, .block_q = 6,
                                  .block_k = 5, .counts_at = 4 * LISTS * CAPACITY, .ids_at = 0};
static int32_t list[LISTS * (1 + CAPACITY)]; /* queries stand bottom right: the last of 29 at position 47 */
static const struct clattn__lists lists = {&shape, list, HEADS / SCOPES, true};

static void fill_lists(void)
{
    uint64_t seed = 17;
    for (int r = 0; r < LISTS; r++) {
        int block = (int)random_below(&seed, 3) - 1;
        list[LISTS * CAPACITY + r] = random_below(&seed, 6)   ? (int32_t)random_below(&seed, CAPACITY + 1)
                                     : random_below(&seed, 2) ? -1
                                                              : 99;
        for (int i = 0; i < CAPACITY; i++, block += 1 + (int)random_below(&seed, 3))
            list[r * CAPACITY + i] = block;
    }
}

static struct clattn__names names_of(const struct world *w, int n_arrays)
{
    return (struct clattn__names){2, n_arrays, w->scalars, w->arrays};
}

static struct world *random_world(void)
{
    static struct world w = {
        .scalars = {{"w", CLATTN_I32, 0, 5}, {"tau", CLATTN_F32, 0, 0.75}},
        .arrays = {{"len", CLATTN_I32, 1, {5}},
                   {"doc", CLATTN_I8, 2, {2, 70}},
                   {"keep", CLATTN_BITS, 2, {40, 75}},
                   {"bias", CLATTN_F16, 4, {1, 2, 20, 50}},
                   {"slope", CLATTN_F32, 1, {8}},
                   {"img", CLATTN_BF16, 3, {2, 3, 5}}},
    };
    uint64_t seed = 3;
    w.names = names_of(&w, 6);
    for (int i = 0; i < 6; i++) {
        w.data[i] = store[i];
        for (int j = 0; j < 4096; j++) {
            float x = (float)((int)random_below(&seed, 65) - 32) / 8;
            uint32_t half = random_below(&seed, 2) << 15 | (14 + random_below(&seed, 3)) << 10 |
                            random_below(&seed, 4) << 8;
            x = random_below(&seed, 40) ? x : random_below(&seed, 2) ? INFINITY : NAN;
            switch (w.arrays[i].type) {
            case CLATTN_F32: ((float *)store[i])[j] = x; break;
            case CLATTN_F16:
                ((uint16_t *)store[i])[j] = (uint16_t)(random_below(&seed, 40) ? half : 0x7c00);
                break;
            case CLATTN_BF16: ((uint16_t *)store[i])[j] = (uint16_t)((uint32_t)float_bits(x) >> 16); break;
            case CLATTN_I32:
                store[i][j] =
                    random_below(&seed, 9) ? (int32_t)random_below(&seed, 20) - 4 : INT32_MAX - (int32_t)j;
                break;
            default: store[i][j] = wrap(random_below(&seed, 65536) << 16 | random_below(&seed, 65536));
            }
        }
    }
    return &w;
}

static void fill_scores(void)
{
    uint64_t seed = 5;
    static const float odd[] = {0,      -0.0f,     INFINITY, -INFINITY, NAN, 3e38f,
                                -3e38f, 0x1p-126f, 1e-42f,   88,        -104};
    for (int i = 0; i < PAIRS; i++)
        scores[i] = random_below(&seed, 12) ? (float)((int)random_below(&seed, 4001) - 2000) / 256
                                            : odd[random_below(&seed, 11)];
}

/* ---- tables for the classes: what cl/attention/tables.cl makes ---- */
static int64_t make_table(const clattn_array *array, const void *data, struct clattn__table t, int32_t *table)
{
    static double bounds[TABLES];
    int64_t dims[4] = {1, 1, 1, 1}, n = 1, blocks;
    for (int d = 0; d < array->n_dims; d++)
        dims[4 - array->n_dims + d] = array->dims[d];
    const int64_t down = (dims[2] - 1) / t.rows + 1, across = (dims[3] - 1) / t.columns + 1;
    blocks = dims[0] * dims[1] * down * across;
    ck_assert_int_le(2 * blocks, TABLES);
    for (int64_t i = 0; i < blocks; i++) {
        bounds[2 * i] = INFINITY;
        bounds[2 * i + 1] = -INFINITY;
    }
    for (int d = 0; d < 4; d++)
        n *= dims[d];
    for (int64_t i = 0; i < n; i++) {
        const int64_t at[4] = {i / dims[3] / dims[2] / dims[1], i / dims[3] / dims[2] % dims[1],
                               i / dims[3] % dims[2], i % dims[3]};
        double x = clattn__array_element(array, data, at + 4 - array->n_dims);
        double *block =
            bounds + 2 * (((at[0] * dims[1] + at[1]) * down + at[2] / t.rows) * across + at[3] / t.columns);
        block[0] = x != x ? -INFINITY : fmin(block[0], x);
        block[1] = x != x ? INFINITY : fmax(block[1], x);
    }
    bool real = array->type == CLATTN_F32 || array->type == CLATTN_F16 || array->type == CLATTN_BF16;
    for (int64_t i = 0; i < 2 * blocks; i++)
        table[i] = real ? float_bits((float)bounds[i]) : (int32_t)bounds[i];
    return 2 * blocks;
}

/* ---- a grid on the device ---- */
struct grid {
    int32_t one[PAIRS][3], lanes[PAIRS][3], keys[PAIRS][3], class[CLASSES];
};

static cl_kernel build_grid(const struct clattn__expr *e)
{
    static char prelude[KERNEL_SIZE];
    struct clattn__text out = clattn__text_into(prelude, sizeof prelude);
    clattn__text_add(&out, "#define KEYS %d\n#define HEADS %d\n#define CLASS_KEYS %d\n", KEYS, HEADS,
                     CLASS_KEYS);
    ck_assert_int_eq(clattn__expr_kernel_text(e, prelude + out.used, sizeof prelude - out.used), CLATTN_OK);
    return on_device_kernel("grid", prelude, grid_kernel);
}

/* The arguments after the first six; returns how many buffers they are. */
static int pass_rules(cl_kernel kernel, const struct clattn__expr *e, const struct world *w,
                      struct grid_args *args, cl_mem *buffers)
{
    static int32_t tables[TABLES];
    int32_t numbers[CLATTN__EXPR_MAX_NUMBERS];
    int64_t used = 0;
    int n = 0;
    cl_uint at = 6;
    int count = clattn__expr_numbers(e, w->scalars, w->arrays, numbers);
    if (count)
        on_device_argument(kernel, at++, (size_t)count * sizeof *numbers, numbers);
    for (int i = 0; i < w->names.n_arrays; i++) {
        struct clattn__table table = clattn__expr_table(e, i);
        if (!clattn__expr_uses_array(e, i))
            continue;
        buffers[n] = on_device_buffer(store[i], sizeof store[i]);
        on_device_argument(kernel, at++, sizeof *buffers, &buffers[n++]);
        args->table_at[i] = used;
        if (table.needed)
            used += make_table(&w->arrays[i], w->data[i], table, tables + used);
    }
    if (clattn__expr_uses_list(e)) {
        const struct list_args of_lists = {
            shape.counts_at / 4, shape.ids_at / 4, SCOPES,       Q_BLOCKS, CAPACITY,
            lists.heads,         shape.block_q,    shape.block_k};
        on_device_argument(kernel, at++, sizeof of_lists, &of_lists);
        buffers[n] = on_device_buffer(list, sizeof list);
        on_device_argument(kernel, at++, sizeof *buffers, &buffers[n++]);
    }
    if (used) {
        buffers[n] = on_device_buffer(tables, sizeof tables);
        on_device_argument(kernel, at++, sizeof *buffers, &buffers[n++]);
    }
    return n;
}

static void run_grid(const struct clattn__expr *e, const struct world *w, int first, struct grid *grid)
{
    void *const to[] = {grid->one, grid->lanes, grid->keys, grid->class, scores};
    const size_t sizes[] = {sizeof grid->one, sizeof grid->lanes, sizeof grid->keys, sizeof grid->class,
                            sizeof scores};
    struct grid_args args = {{0}, FIRST_Q, BATCH_ENTRY, GROUP, middle.q_len, middle.k_len, first, true, 0};
    cl_mem buffers[CLATTN_MAX_ARRAYS + 7];
    cl_kernel kernel = build_grid(e);
    memset(grid, 0x55, sizeof *grid); /* so that what is not written is seen */
    for (cl_uint i = 0; i < 5; i++) {
        buffers[i] = on_device_buffer(to[i], sizes[i]);
        on_device_argument(kernel, i, sizeof buffers[i], &buffers[i]);
    }
    int n = 5 + pass_rules(kernel, e, w, &args, buffers + 5);
    on_device_argument(kernel, 5, sizeof args, &args);
    on_device_run(kernel, ROWS / 16, 1);
    for (int i = 0; i < 4; i++)
        on_device_read(buffers[i], to[i], sizes[i]);
    for (int i = 0; i < n; i++)
        clReleaseMemObject(buffers[i]);
    clReleaseKernel(kernel);
}

/* ---- the comparison ---- */
static struct ref_rules oracle_of(const struct world *w)
{
    struct ref_rules r = {.overflow = true,
                          .subnormals = on.denormals,
                          .bottom_right = true,
                          .list = {list + shape.counts_at / 4, list + shape.ids_at / 4, SCOPES, Q_BLOCKS,
                                   CAPACITY, shape.block_q, shape.block_k, lists.heads}};
    r.n_scalars = w->names.n_scalars;
    r.n_arrays = w->names.n_arrays;
    for (int i = 0; i < r.n_scalars; i++)
        r.scalars[i] = (struct ref_scalar){w->scalars[i].name, w->scalars[i].type, w->scalars[i].value};
    for (int i = 0; i < r.n_arrays; i++) {
        r.arrays[i] =
            (struct ref_array){w->arrays[i].name, w->arrays[i].type, w->arrays[i].n_dims, {0}, w->data[i]};
        memcpy(r.arrays[i].dims, w->arrays[i].dims, sizeof r.arrays[i].dims);
    }
    return r;
}

/* Whether a rule has no operation that devices may round each in its own way. */
static bool is_exact(const struct clattn__expr *e, enum clattn__use use)
{
    bool reached[CLATTN__EXPR_MAX_NODES];
    clattn__expr_reach(e, use, reached);
    for (int i = 0; i < e->n_nodes; i++) {
        enum kind kind = e->nodes[i].kind;
        if (reached[i] && (kind == KIND_DIV || (kind >= KIND_EXP && kind <= KIND_SOFTPLUS)))
            return false;
    }
    return on.denormals;
}

static bool same(double a, double b)
{
    return a == b || (a != a && b != b);
}

/* Whether a value may be what an evaluation in f32 gives. */
static bool fits(double x, struct ref_number bound)
{
    if (!isfinite(bound.error))
        return true;
    return isfinite(bound.value) ? fabs(x - bound.value) <= bound.error : same(x, bound.value);
}

static long compared, unknown;

struct comparison {
    const char *text; /* canonical, for the oracle a number */
    struct ref_rules oracle;
    enum clattn__use use;
    bool exact;
};

static void compare_value(const struct comparison *c, const char *family, int32_t bits, double host,
                          struct ref_number bound, const struct clattn__expr_point *at)
{
    bool lanes = family[0] != 'o';
    double x = c->use == CLATTN__MASK ? (lanes ? -(double)bits : (double)bits) : (double)bits_float(bits);
    if ((c->exact && !same(x, host)) || !fits(x, bound))
        ck_abort_msg("%s\n%s: %.9g at q %d k %d h %d score %.9g; the host has %.9g, the oracle %.9g +- %.3g",
                     c->text, family, x, (int)at->q, (int)at->k, (int)at->h, at->score, host, bound.value,
                     bound.error);
    compared++;
    unknown += !c->exact && !isfinite(bound.error);
}

static void compare_rule(const struct clattn__expr *e, const struct world *w, enum clattn__use use,
                         const struct grid *grid, int first)
{
    static char text[TEXT], print[TEXT];
    struct comparison c = {text, oracle_of(w), use, is_exact(e, use)};
    const struct clattn__expr_values values = {w->scalars, w->arrays, w->data, &lists};
    struct clattn__text out = clattn__text_into(text, sizeof text);
    ck_assert_int_eq(clattn__expr_print(e, use, print, sizeof print), CLATTN_OK);
    clattn__text_add(&out, use == CLATTN__MASK ? "(%s) ? 1.0 : 0.0" : "%s", print);
    ck_assert(!out.cut);
    c.oracle.score = text;
    for (int p = 0; p < PAIRS; p++) {
        struct clattn__expr_point at = middle;
        at.q = FIRST_Q + p / KEYS;
        at.k = p % KEYS;
        at.h = p / KEYS % HEADS;
        at.score = (double)scores[p];
        const struct ref_point point = {at.q, at.k, at.b, at.h, at.g, at.q_len, at.k_len};
        struct ref_number bound = ref_score_bounded(&c.oracle, &point, (struct ref_number){at.score, 0});
        double host = clattn__expr_eval(e, use, &at, &values, false);
        if (!fits(host, bound))
            ck_abort_msg("%s\nthe host has %.9g at q %d k %d h %d score %.9g, the oracle %.9g +- %.3g", text,
                         host, (int)at.q, (int)at.k, (int)at.h, at.score, bound.value, bound.error);
        compare_value(&c, "one pair", grid->one[p][use], host, bound, &at);
        if (on.wide && at.k >= first)
            compare_value(&c, "sixteen queries", grid->lanes[p][use], host, bound, &at);
        if (on.wide)
            compare_value(&c, "sixteen keys", grid->keys[p][use], host, bound, &at);
    }
}

/* A class that is certain holds for all pairs of its tile. */
static void compare_classes(const struct grid *grid, const char *text)
{
    for (int i = 0; i < CLASSES; i++)
        for (int j = 0; j < 16 * CLASS_KEYS; j++) {
            int row = i / (KEYS / CLASS_KEYS) * 16 + j / CLASS_KEYS,
                k = i % (KEYS / CLASS_KEYS) * CLASS_KEYS + j % CLASS_KEYS;
            bool seen = grid->one[row * KEYS + k][CLATTN__MASK] != 0;
            if (grid->class[i] < 0 || grid->class[i] > 2 || grid->class[i] == (seen ? 0 : 2))
                ck_abort_msg("%s\nclass %d of tile %d, and row %d key %d is %d", text, (int)grid->class[i], i,
                             row, k, seen);
        }
}

static struct clattn__expr *create(const struct world *w, const char *const texts[CLATTN__USES])
{
    struct clattn__expr *e;
    char message[CLATTN__MESSAGE_SIZE];
    ck_assert_int_eq(clattn__expr_create(&e, &w->names, message, sizeof message), CLATTN_OK);
    for (int u = 0; u < CLATTN__USES; u++)
        if (texts[u])
            ck_assert_msg(clattn__expr_add(e, (enum clattn__use)u, texts[u], message, sizeof message) ==
                              CLATTN_OK,
                          "'%s': %s", texts[u], message);
    return e;
}

static void compare(const struct world *w, const char *const texts[CLATTN__USES], int first)
{
    static struct grid grid;
    struct clattn__expr *e = create(w, texts);
    run_grid(e, w, first, &grid);
    for (int u = 0; u < CLATTN__USES; u++)
        if (clattn__expr_has(e, (enum clattn__use)u))
            compare_rule(e, w, (enum clattn__use)u, &grid, first);
    if (clattn__expr_has(e, CLATTN__MASK))
        compare_classes(&grid, texts[CLATTN__MASK]);
    clattn__expr_free(e);
}

/* The share of values that passed because the oracle knows nothing of them, which no more than this may
 * be. */
static void check_unknown(double limit)
{
    double share = (double)unknown / (double)compared;
    printf("# %ld values compared, %.3f %% of them with nothing known\n", compared, 100 * share);
    ck_assert_msg(share <= limit, "nothing is known of %.3f %%, more than %g %%", 100 * share, 100 * limit);
    compared = unknown = 0;
}

/* ---- random rules ---- */
START_TEST(random_rules)
{
    const struct world *w = random_world();
    const char *seed_text = getenv("CLATTN_TEST_SEED");
    const uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : 1;
    const time_t end = time(NULL) + SECONDS;
    int n = 0;
    for (; n < RANDOM_PROGRAMS && (n < 3 || time(NULL) < end); n++) {
        char text[CLATTN__USES][600];
        for (int u = 0; u < CLATTN__USES; u++)
            random_rule(seed * 1000 + (uint64_t)(3 * n + u), (enum clattn__use)u, text[u], sizeof text[u],
                        &w->names);
        compare(w, (const char *const[]){text[0], text[1], text[2]}, n % 3 * 5);
    }
    printf("# %d random rules\n", 3 * n);
    /* of the seed that is always run little, however early it ends; another may make a whole program of
     * nothing else */
    check_unknown(seed_text ? 1.0 / n : 0.01);
    ck_assert_int_ge(n, 3);
}
END_TEST

START_TEST(listed_everywhere)
{
    compare(random_world(),
            (const char *const[]){"listed", "listed ? score : -score", "listed ^ k <= q ? 1.0 : 2.0"}, 3);
    check_unknown(0);
}
END_TEST

/* ---- arrays: every type, every number of dimensions, indices far outside ---- */
/* Elements are 0 to 15, so that four of them make one exact number. */
static struct world *array_world(int type, bool far)
{
    static struct world w = {.scalars = {{"w", CLATTN_I32, 0, 5}, {"tau", CLATTN_F32, 0, 0.75}}};
    static const int64_t near_dims[4][4] = {{37}, {3, 33}, {2, 3, 20}, {2, 2, 5, 35}};
    static const int64_t far_dims[4][4] = {
        {INT32_MAX}, {70000, 70000}, {2, 70000, 70000}, {2, 1, 70000, 70000}};
    uint64_t seed = 11;
    w.names = names_of(&w, 4);
    for (int i = 0; i < 4; i++) {
        w.arrays[i] = (clattn_array){"a1", type, i + 1, {0}};
        w.arrays[i].name[1] = (char)('1' + i);
        memcpy(w.arrays[i].dims, far ? far_dims[i] : near_dims[i], sizeof w.arrays[i].dims);
        w.data[i] = store[i];
        for (int j = 0; j < STORE; j++) {
            int32_t x = (int32_t)random_below(&seed, 16);
            if (type == CLATTN_F32)
                ((float *)store[i])[j] = (float)x;
            else if (type == CLATTN_F16)
                ref_narrow(REF_F16, x, store[i], j);
            else if (type == CLATTN_BF16)
                ref_narrow(REF_BF16, x, store[i], j);
            else if (type == CLATTN_I8)
                ((int8_t *)store[i])[j] = (int8_t)x;
            else
                store[i][j] = type == CLATTN_I32
                                  ? x
                                  : wrap(random_below(&seed, 65536) << 16 | random_below(&seed, 65536));
        }
    }
    return &w;
}

/* One rule that reads the four arrays, each with the same last index and the same indices before it. */
static void write_arrays(char *text, size_t size, int type, bool mask, const char *before, const char *last)
{
    struct clattn__text out = clattn__text_into(text, size);
    static const char *const factors[] = {"", " + 16 * ", " + 256 * ", " + 4096 * "};
    for (int i = 0; i < 4; i++) {
        clattn__text_add(&out, "%s(a%d[", mask ? (i ? " ^ " : "") : factors[i], i + 1);
        for (int d = 0; d < i; d++)
            clattn__text_add(&out, "%s, ", before);
        clattn__text_add(&out, "%s]%s)", last,
                         mask                  ? (type == CLATTN_BITS ? "" : " > 7")
                         : type == CLATTN_BITS ? " ? 1 : 0"
                                               : "");
    }
    ck_assert(!out.cut);
}

/* Near arrays: anywhere.  Far ones: not past the buffer, which is smaller than the array is said to be. */
START_TEST(indices_outside)
{
    static const char *const near[][2] = {
        {"q", "k"},           {"h - 1", "k - 3"},        {"b", "k - q + 9"},   {"k - 20", "q"},
        {"-2147483648", "k + 2147483630"}, /* wraps inside a run */
        {"q * 2147483647", "k - 2147483647 - 1"}, {"2147483647", "-k"}, {"h", "q + h"}, {"q", "2 * k - 7"},
        {"k // 9", "b"},
        {"q", "k + q + 2147483640"},
    };
    static const char *const far[][2] = {
        {"0", "k"}, {"-q * q", "k - 30"}, {"0", "k - q"}, {"-2147483648", "q * 7"}, {"-1", "min(k + 2147483630, 600)"},
        {"0", "h - k"}, {"b - 1", "k * 11 - 100"}, {"-h", "q + k"}, {"-k", "5"},
    };
    const time_t end = time(NULL) + SECONDS;
    int n = 0;
    for (; n < 7 * (CLATTN_BITS + 1) && (n < 3 || time(NULL) < end); n++) {
        int type = n % (CLATTN_BITS + 1), set = n / (CLATTN_BITS + 1) * 4 % 7; /* far ones early */
        bool is_far = set >= 4;
        const char *const(*rows)[2] = is_far ? far + 3 * (set - 4) : near + (set < 3 ? 3 * set : 8);
        char text[CLATTN__USES][400];
        for (int u = 0; u < CLATTN__USES; u++)
            write_arrays(text[u], sizeof text[u], type, u == CLATTN__MASK, rows[u][0], rows[u][1]);
        /* tables of far arrays would be as large as they are */
        compare(array_world(type, is_far), (const char *const[]){is_far ? NULL : text[0], text[1], text[2]},
                set % 2 * 3);
    }
    printf("# %d programs of four arrays each\n", n);
    check_unknown(0);
    ck_assert_int_ge(n, 3);
}
END_TEST

/* ---- programs of the engines ---- */
static void make_plan(clattn_context *ctx, const struct world *w, uint64_t number, const char *engine)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    clattn_plan *plan;
    char text[CLATTN_PATTERN_TEXT], message[CLATTN__MESSAGE_SIZE] = "";
    a.batch = 2;
    a.heads = 4;
    a.kv_heads = 2;
    a.q_len = 40;
    a.kv_len = 50;
    a.dim = a.dim_v = 32;
    a.flags = CLATTN_STRICT | CLATTN_NO_SELF_TEST;
    a.n_scalars = w->names.n_scalars;
    a.n_arrays = w->names.n_arrays;
    memcpy(a.scalars, w->scalars, sizeof w->scalars);
    memcpy(a.arrays, w->arrays, sizeof w->arrays);
    snprintf(a.engine, sizeof a.engine, "%s", engine);
    random_rule(3 * number, CLATTN__MASK, text, sizeof text, &w->names);
    a.pattern = clattn_mask(text, CLATTN_TOP_LEFT);
    random_rule(3 * number + 1, CLATTN__SCORE, text, sizeof text, &w->names);
    a.score = clattn_score(text);
    random_rule(3 * number + 2, CLATTN__WEIGHT, text, sizeof text, &w->names);
    a.weight = clattn_weight(text);
    a.normaliser = CLATTN_COUNT;
    a.list = shape;
    a.list.q_blocks = 7; /* of 40 queries */
    a.list.ids_at = 4096;
    a.list.counts_at = 0;
    clattn_status status = clattn_plan_create(&plan, ctx, &a);
    clattn_context_message(ctx, message, sizeof message);
    ck_assert_msg(status == CLATTN_OK, "%s: %s\nmask %s\nscore %s\nweight %s", engine, message,
                  a.pattern.text, a.score.text, a.weight.text);
    clattn_plan_destroy(plan);
}

START_TEST(random_rules_build)
{
    const struct world *w = random_world();
    const time_t end = time(NULL) + SECONDS;
    clattn_context *ctx;
    int n = 0;
    ctx = fresh_context();
    ck_assert_int_eq(clattn_context_set_cache(ctx, CLATTN_CACHE_OFF, NULL), CLATTN_OK);
    for (; n < RANDOM_PROGRAMS && (n < 3 || time(NULL) < end); n++) {
        make_plan(ctx, w, 5000 + (uint64_t)n, "portable");
        if (on.vector)
            make_plan(ctx, w, 5000 + (uint64_t)n, "vector");
    }
    printf("# %d random rules built\n", 3 * n);
    ck_assert_int_ge(n, 3);
    clattn_context_close(ctx);
}
END_TEST

static void open_device(void)
{
    on_device_open();
    fill_scores();
    fill_lists();
}

int main(void)
{
    Suite *suite = suite_create("kernel rules");
    TCase *cases = tcase_create("kernel rules");
    if (!on_device_find()) {
        puts("1..0 # SKIP no OpenCL device");
        return 0;
    }
    tcase_set_timeout(cases, 600);
    tcase_add_unchecked_fixture(cases, open_device, on_device_close);
    tcase_add_test(cases, random_rules);
    tcase_add_test(cases, listed_everywhere);
    tcase_add_test(cases, indices_outside);
    tcase_add_test(cases, random_rules_build);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
