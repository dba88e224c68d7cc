/* SPDX-License-Identifier: MIT
 * check_tuning.c - lines of tuning: what the reader takes, which line serves a problem, and what becomes of a
 * plan by them. */
#include "engine/engine.h"
#include "tests/fresh_context.h"
#include "tests/suite.h"
#include "tool/workload.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEAD "clattn-tuning 1\n"
#define GOOD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector rows=32 | 2026-11-26 gain=1.050 ms=3\n"

static char root[64];
/* a folder of the build's, as tests/local.mk says */
static const char systems_path[] = SYSCONFDIR "/clattn/tuning";
static clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT; /* of a device that is nowhere */

static void set_up(void)
{
    snprintf(root, sizeof root, "/tmp/clattn-check.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    unlink(systems_path); /* of a test that was stopped */
    strcpy(facts.platform, "Portable Computing Language");
    strcpy(facts.name, "dev");
    strcpy(facts.driver, "1.0");
    facts.type = CL_DEVICE_TYPE_CPU;
    facts.compute_units = 2;
    facts.vector_width_float = 16;
    facts.has_compiler = 1;
    facts.largest_group = 4096;
    facts.local_bytes = 1 << 20;
}

static void tear_down(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    ck_assert_int_eq(system(command), 0);
}

/* ---- the reader ---- */
static const struct {
    const char *text, *message; /* NULL: it is taken */
} texts[] = {
    {HEAD, NULL},
    {HEAD GOOD, NULL},
    {HEAD "\n# a comment | whatever\n" GOOD, NULL},
    {HEAD GOOD "tune | dev | 1.0 | f32 d64", NULL}, /* a writer was stopped */
    {HEAD "block | dev | * | * * * * | vector | 2026-11-26 it hung\n", NULL},
    {HEAD "tune | * | 535.* | f16-f32 d128/64 decode k1048576 | matrix-decode | 2026-11-26 gain=12.000\n", NULL},
    {HEAD "tune | a b | c | f16-bf16-f32-f16 d1 few k64 | portable rows=8 | 2026-11-26 gain=0.990 x\n", NULL},
    {"", "line 1"},
    {"clattn-tuning 1", "line 1"},
    {"clattn-tuning 2\n", "line 1"},
    {"clattn-tuning 1 \n", "line 1"},
    {HEAD "tune\n", "line 2: not six fields"},
    {HEAD GOOD "\ntun | dev | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.050\n", "line 4: the first field"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.050 | more\n", "six fields"},
    {HEAD "tune |dev | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.050\n", "six fields"},
    {HEAD "tune | dev  | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.050\n", "six fields"},
    {HEAD "tune |  | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.050\n", "six fields"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.050 \n", "six fields"},
    {HEAD "tune | dev | 1.0 | f32x d64 prefill k2048 | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32- d64 prefill k2048 | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32-f16-f16 d64 prefill k2048 | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32-f16-f16-f16-f16 d64 prefill k2048 | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32 d064 prefill k2048 | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32 d64/64 prefill k2048 | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32 d prefill k2048 | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefills k2048 | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2047 | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k32 | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k99999999999 | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 k64 | vector | 2026-11-26 gain=1.050\n", "class"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector rows=5 | 2026-11-26 gain=1.050\n", "not a value"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | wonder | 2026-11-26 gain=1.050\n", "not an engine"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | matrix-generic | 2026-11-26 gain=1.050\n", "not an engine"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector | 26-11-2026 gain=1.050\n", "date"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26\n", "gain"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.05\n", "gain"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=.050\n", "gain"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=999999999.000\n", "gain"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.0.50\n", "gain"},
    {HEAD "tune | dev\t | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.050\n", "ASCII"},
    {HEAD "tune | d\303\251v | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.050\n", "ASCII"},
    {HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.050\r\n", "ASCII"},
};

START_TEST(reader)
{
    char merged[4096], message[256];
    for (size_t i = 0; i < CLATTN__LEN(texts); i++) {
        struct clattn__tuning *table = clattn__tuning_new();
        char *text = strdup(texts[i].text);
        message[0] = 0;
        bool good = clattn__tuning_fill(table, &facts, text, CLATTN__LAYER_USER, message, sizeof message);
        ck_assert_msg(good == !texts[i].message && (good || strstr(message, texts[i].message)), "'%s': %s",
                      text, good ? "taken" : message);
        ck_assert(good || !strncmp(message, "line ", 5));
        clattn_status status =
            clattn_tuning_merge(text, NULL, merged, sizeof merged, message, sizeof message);
        ck_assert_int_eq(status, good ? CLATTN_OK : CLATTN_BAD_TUNING);
        clattn__tuning_free(table);
        free(text);
    }
    char *lines = malloc((size_t)16400 * 128), *at = lines; /* too many, and too long */
    at += sprintf(at, HEAD);
    for (int i = 0; i < 16385; i++)
        at += sprintf(at, "block | d%d | * | * * * * | vector | 2026-11-26\n", i);
    struct clattn__tuning *table = clattn__tuning_new();
    ck_assert(!clattn__tuning_fill(table, &facts, lines, 0, message, sizeof message) &&
              strstr(message, "line 16386: more than"));
    sprintf(lines, HEAD "block | d | * | * * * * | vector | 2026-11-26 %01000d\n", 0);
    ck_assert(!clattn__tuning_fill(table, &facts, lines, 0, message, sizeof message) &&
              strstr(message, "longer"));
    clattn__tuning_free(table);
    free(lines);
}
END_TEST

/* ---- classes ---- */
static clattn_attention problem_of(const char *text)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    char message[256];
    ck_assert_msg(clattn_problem_parse(&a, text, message, sizeof message) == CLATTN_OK, "%s: %s", text,
                  message);
    return a;
}

START_TEST(classes)
{
    static const char *const pairs[][2] = {
        {"attn:f32:h32:q2048:k2048:d64", "f32 d64 prefill k2048"},
        {"attn:f32:h32:q2048:k2049:d64", "f32 d64 prefill k4096"},
        {"attn:f16-f32:h32:q2048:k1:d64/40", "f16-f32 d64/40 prefill k64"},
        {"attn:f16-bf16-f32-f16:h32:q2048:k65:d64", "f16-bf16-f32-f16 d64 prefill k128"},
        {"attn:f32:h32/8:q1:k1073741824:d128", "f32 d128 decode k1048576"},
        {"attn:f32:h32/4:q1:k100:d128", "f32 d128 few k128"},
        {"attn:f32:h32/8:q16:k100:d128", "f32 d128 few k128"},
        {"attn:f32:h32/8:q17:k100:d128", "f32 d128 few k128"}, /* 68 rows are no tile, 17 of a head are */
        {"attn:f32:h32/8:q65:k100:d128", "f32 d128 prefill k128"},
        /* 8 tiles of 64 rows for 2 compute units */
        {"attn:f32:h1:q512:k100:d128", "f32 d128 narrow k128"},
        {"attn:f32:h2:q512:k100:d128", "f32 d128 prefill k128"},
        {"attn:f32:h1:q0:k0:d8", "f32 d8 decode k64"},
    };
    char key[512], expected[512];
    for (size_t i = 0; i < CLATTN__LEN(pairs); i++) {
        clattn_attention a = problem_of(pairs[i][0]);
        ck_assert_int_eq(clattn_tuning_key(&facts, &a, key, sizeof key), CLATTN_OK);
        snprintf(expected, sizeof expected, "dev | 1.0 | %s", pairs[i][1]);
        ck_assert_str_eq(key, expected);
        char text[1024], message[256];
        snprintf(text, sizeof text, HEAD "tune | %s | vector | 2026-11-26 gain=1.000\n", key);
        struct clattn__tuning *table = clattn__tuning_new(); /* read as printed, it holds for its problem */
        struct clattn__problem_class class;
        struct clattn__entry entry;
        ck_assert_msg(clattn__tuning_fill(table, &facts, text, 0, message, sizeof message), "%s: %s", text,
                      message);
        struct clattn__task task = {.batch = a.batch,
                                    .heads = a.heads,
                                    .kv_heads = a.kv_heads,
                                    .q_len = a.q_len,
                                    .kv_len = a.kv_len,
                                    .dim = (int32_t)a.dim,
                                    .dim_v = (int32_t)a.dim_v,
                                    .type_q = a.type_q,
                                    .type_k = a.type_k,
                                    .type_v = a.type_v,
                                    .type_o = a.type_o};
        clattn__problem_class_of(&facts, &task, &class);
        ck_assert(clattn__tuning_find(table, &class, 0, &entry) &&
                  !clattn__tuning_find(table, &class, 1, &entry));
        clattn__tuning_free(table);
    }
    clattn_device_facts odd = facts;
    clattn_attention a = problem_of("attn:f32:h1:q1:k1:d1");
    strcpy(odd.name, "  a|b*c\td  ");
    strcpy(odd.driver, "   ");
    ck_assert_int_eq(clattn_tuning_key(&odd, &a, key, sizeof key), CLATTN_OK);
    ck_assert_str_eq(key, "a?b?c?d | ? | f32 d1 decode k64");
    ck_assert_int_eq(clattn_tuning_key(&odd, &a, key, 9), CLATTN_BUFFER_TOO_SHORT);
}
END_TEST

/* ---- which line serves ---- */
static void add(struct clattn__tuning *table, int layer, const char *text)
{
    char message[256];
    ck_assert_msg(clattn__tuning_fill(table, &facts, text, layer, message, sizeof message), "%s: %s", text,
                  message);
}

/* The settings of a class, best first, with '; ' between. */
static const char *served(const struct clattn__tuning *table, const char *problem)
{
    static char text[1024];
    clattn_attention a = problem_of(problem);
    struct clattn__task task = {.batch = 1, .heads = a.heads, .kv_heads = a.kv_heads, .q_len = a.q_len,
                                .kv_len = a.kv_len, .dim = (int32_t)a.dim, .dim_v = (int32_t)a.dim_v};
    struct clattn__problem_class class;
    struct clattn__entry entry;
    struct clattn__text out = clattn__text_into(text, sizeof text);
    clattn__problem_class_of(&facts, &task, &class);
    for (int i = 0; clattn__tuning_find(table, &class, i, &entry); i++) {
        clattn__text_add(&out, "%s", i ? "; " : "");
        clattn__setting_print(entry.engine, &entry.setting, &out);
    }
    return text;
}

START_TEST(layers)
{
    static const char problem[] = "attn:f32:h32:q2048:k2048:d64";
    struct clattn__tuning *table = clattn__tuning_new();
    ck_assert_str_eq(served(table, problem), "");
    ck_assert_str_eq(served(NULL, problem), "");
    add(table, CLATTN__LAYER_USER,
        HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector rows=32 | 2026-11-26 gain=1.050\n"
             "tune | dev | 1.0 | f32 d64 prefill k2048 | vector rows=16 | 2026-11-26 gain=1.040\n"
             "tune | dev | 1.1 | f32 d64 prefill k2048 | vector rows=48 | 2026-11-26 gain=1.060\n"
             "tune | dev | 1.0 | f16 d64 prefill k2048 | vector rows=48 | 2026-11-26 gain=1.060\n"
             "tune | dev | 1.0 | f32 d64/32 prefill k2048 | vector rows=48 | 2026-11-26 gain=1.060\n"
             "tune | de? | 1.0 | f32 d64 prefill k2048 | vector rows=48 | 2026-11-26 gain=1.060\n");
    ck_assert_str_eq(served(table, problem), "vector rows=32; vector rows=16");
    add(table, CLATTN__LAYER_SYSTEM, HEAD "tune | * | * | * * * * | portable | 2026-11-26 gain=9.000\n");
    add(table, CLATTN__LAYER_BUILT_IN,
        HEAD "tune | d*v | 1* | * d64 * k2048 | vector keys=64 | 2026-11-26 gain=9.000\n"
             "tune | d*v | 1* | * d64 * * | vector keys=96 | 2026-11-26 gain=9.900\n");
    ck_assert_str_eq(served(table, problem),
                     "vector rows=32; vector rows=16; portable; vector keys=64; vector keys=96");
    ck_assert_str_eq(served(table, "attn:f32:h32:q2048:k100:d80"), "portable");
    add(table, CLATTN__LAYER_ADDED,
        HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.000\n"
             "tune | dev | 1.0 | f32 d64 * * | vector rows=64 | 2026-11-26 gain=3.000\n");
    ck_assert_str_eq(
        served(table, problem),
        "vector; vector rows=64; vector rows=32; vector rows=16; portable; vector keys=64; vector keys=96");
    char message[256]; /* what is refused changes nothing */
    ck_assert(!clattn__tuning_fill(table, &facts, HEAD GOOD "nonsense\n", CLATTN__LAYER_ADDED, message,
                                   sizeof message));
    ck_assert_str_eq(
        served(table, "attn:f32:h32:q2048:k2048:d64"),
        "vector; vector rows=64; vector rows=32; vector rows=16; portable; vector keys=64; vector keys=96");
    clattn__tuning_free(table);
}
END_TEST

START_TEST(blocked)
{
    struct clattn__tuning *table = clattn__tuning_new();
    struct clattn__problem_class class = {0, 64, 64, 3, 2048}, other = {0, 128, 128, 3, 2048};
    struct clattn__setting setting = {{32, 128, 8}}, rows_16 = {{16, 128, 16}};
    add(table, CLATTN__LAYER_SYSTEM, HEAD "block | d* | * | * * * * | vector rows=32 step=8 | 2026-11-26\n"
                                          "block | dev | * | * d64 * * | portable | 2026-11-26 wrong\n"
                                          "block | other | * | * * * * | blocked | 2026-11-26 wrong\n");
    ck_assert(clattn__tuning_blocks(table, &class, "vector", &setting) &&
              clattn__tuning_blocks(table, &other, "vector", &setting));
    ck_assert(!clattn__tuning_blocks(table, &class, "vector", &rows_16) &&
              !clattn__tuning_blocks(table, &class, "blocked", &setting));
    ck_assert(clattn__tuning_blocks(table, &class, "portable", &setting) &&
              !clattn__tuning_blocks(table, &other, "portable", &setting));
    ck_assert(!clattn__tuning_blocks(NULL, &class, "vector", &setting));
    clattn__tuning_free(table);
}
END_TEST

/* ---- merging ---- */
static const char *merge(const char *a, const char *b)
{
    static char out[2][4096];
    static int turn;
    turn = 1 - turn;
    ck_assert_int_eq(clattn_tuning_merge(a, b, out[turn], sizeof out[0], NULL, 0), CLATTN_OK);
    return out[turn];
}

START_TEST(merging)
{
    static const char a[] =
        HEAD "tune | dev | 2.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.000\n# noise\n"
             "tune | dev | 1.0 | f32 d64 prefill k2048 | vector rows=32 | 2026-11-25 gain=1.100\n";
    static const char b[] =
        HEAD "tune | dev | 1.0 | f32 d64 prefill k2048 | vector rows=32 | 2026-11-26 gain=1.050\n\n"
             "block | dev | 1.0 | * * * * | vector rows=32 | 2026-11-20 why\n";
    static const char both[] =
        HEAD "block | dev | 1.0 | * * * * | vector rows=32 | 2026-11-20 why\n"
             "tune | dev | 1.0 | f32 d64 prefill k2048 | vector rows=32 | 2026-11-26 gain=1.050\n"
             "tune | dev | 2.0 | f32 d64 prefill k2048 | vector | 2026-11-26 gain=1.000\n";
    char message[256], small[40];
    ck_assert_str_eq(merge(a, b), both);
    ck_assert_str_eq(merge(b, a), both);
    ck_assert_str_eq(merge(merge(a, b), both), both);
    ck_assert_str_eq(merge(HEAD, NULL), HEAD);
    ck_assert_int_eq(clattn_tuning_merge(a, "rubbish", small, sizeof small, message, sizeof message),
                     CLATTN_BAD_TUNING);
    ck_assert_ptr_nonnull(strstr(message, ": line 1: "));
    ck_assert_int_eq(clattn_tuning_merge(a, b, small, sizeof small, NULL, 0), CLATTN_BUFFER_TOO_SHORT);
    ck_assert_int_eq(clattn_tuning_merge(NULL, b, small, sizeof small, NULL, 0), CLATTN_NULL_ARGUMENT);
}
END_TEST

/* ---- what a look costs ---- */
START_TEST(cost)
{
    char *text = malloc((size_t)4001 * 128), *at = text;
    struct clattn__tuning *table = clattn__tuning_new();
    struct clattn__problem_class class = {0, 64, 64, 3, 2048};
    struct clattn__entry entry;
    struct timespec begin, end;
    at += sprintf(at, HEAD);
    for (int i = 0; i < 4000; i++)
        at += sprintf(at, "tune | dev | 1.0 | f32 d%d few k2048 | vector | 2026-11-26 gain=1.000\n",
                      i % 576 + 1);
    add(table, 0, text);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < 1000; i++)
        ck_assert(!clattn__tuning_find(table, &class, 0, &entry));
    clock_gettime(CLOCK_MONOTONIC, &end);
    double micro = ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / 1e6;
    printf("# a look through 4000 lines: %.1f microseconds\n", micro);
    ck_assert_msg(micro < 500, "%.1f microseconds", micro); /* 5 to 20 where nothing else runs */
    clattn__tuning_free(table);
    free(text);
}
END_TEST

/* ---- plans ---- */
static const char tuned_problem[] = "attn:f32:h4:q300:k500:d40:causal-br";

static clattn_context *open_context(void)
{
    clattn_context *ctx;
    char folder[128];
    snprintf(folder, sizeof folder, "%s/cache", root);
    ctx = fresh_context();
    ck_assert_int_eq(clattn_context_set_cache(ctx, CLATTN_CACHE_AUTO, folder), CLATTN_OK);
    return ctx;
}

static void context_facts(clattn_context *ctx, clattn_device_facts *f)
{
    static const clattn_device_facts init = CLATTN_DEVICE_FACTS_INIT;
    *f = init;
    ck_assert_int_eq(clattn_device_describe(clattn_context_device(ctx), f), CLATTN_OK);
}

/* Whether only one engine suits the device. */
static bool has_one_engine(clattn_context *ctx)
{
    clattn_device_facts f;
    clattn_engine_fit fit = CLATTN_ENGINE_FIT_INIT;
    int n = 0;
    context_facts(ctx, &f);
    for (size_t i = 0; clattn_engine_describe(&f, i, &fit) == CLATTN_OK; i++)
        n += fit.fits;
    if (n == 1)
        printf("# one engine suits this device: there is no other to take\n");
    return n == 1;
}

/* A text of one line for the problem's class on the context's device; word: tune or block. */
static const char *line_for(clattn_context *ctx, const clattn_attention *a, const char *word,
                            const char *setting, double gain)
{
    static char text[1024];
    char key[512];
    clattn_device_facts f;
    context_facts(ctx, &f);
    ck_assert_int_eq(clattn_tuning_key(&f, a, key, sizeof key), CLATTN_OK);
    snprintf(text, sizeof text, HEAD "%s | %s | %s | 2026-11-26 gain=%.3f\n", word, key, setting, gain);
    return text;
}

static void add_line(clattn_context *ctx, const clattn_attention *a, const char *word, const char *setting,
                     double gain)
{
    ck_assert_int_eq(clattn_context_add_tuning(ctx, line_for(ctx, a, word, setting, gain)), CLATTN_OK);
}

/* A plan's explanation; its result is compared with the reference. */
static const char *explain(clattn_context *ctx, const clattn_attention *a)
{
    static char text[4096];
    char message[1024];
    clattn_plan *plan;
    struct workload w;
    struct verdict verdict;
    clattn_status status = clattn_plan_create(&plan, ctx, a);
    clattn_context_message(ctx, message, sizeof message);
    ck_assert_msg(status == CLATTN_OK, "%s", message);
    ck_assert_int_eq(clattn_plan_explain(plan, text, sizeof text), CLATTN_OK);
    ck_assert_int_eq(workload_make(&w, a, 7, WORKLOAD_NORMAL), CLATTN_OK);
    ck_assert_int_eq(workload_run(&w, plan, NULL), CLATTN_OK);
    workload_check(&w, 40, &verdict);
    ck_assert_msg(verdict.pass, "%s: %s", text, verdict.where);
    workload_free(&w);
    clattn_plan_destroy(plan);
    return text;
}

static void expect(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "no '%s' in\n%s", part, text);
}

/* Some other setting of the engine that the device chooses by itself, and that of portable. */
static const char portable_8[] = "portable rows=8 keys=16", portable_4[] = "portable rows=4 keys=16";

START_TEST(plans)
{
    clattn_context *ctx = open_context();
    clattn_attention a = problem_of(tuned_problem);
    char untuned[4096];
    strcpy(untuned, explain(ctx, &a));
    ck_assert_ptr_null(strstr(untuned, "tuned by"));
    add_line(ctx, &a, "tune", portable_8, 1.5);
    expect(explain(ctx, &a), "tuned by the program: portable rows=8 keys=16, 1.500 times as fast");
    expect(explain(ctx, &a), "tile of 8 rows x 16 keys");
    add_line(ctx, &a, "tune", "blocked rows=32 keys=32 chunk=8 items=128", 2); /* which cannot be */
    expect(explain(ctx, &a), "tuned by the program: portable rows=8");
    add_line(ctx, &a, "tune", portable_4, 1.6);
    expect(explain(ctx, &a), "tuned by the program: portable rows=4");
    add_line(ctx, &a, "block", portable_4, 1);
    expect(explain(ctx, &a), "tuned by the program: portable rows=8");
    expect(explain(ctx, &a), "refuses portable rows=4 keys=16: a line of tuning blocks it");
    a.flags = CLATTN_STRICT; /* the device's best engine may be another */
    ck_assert_int_eq(strstr(explain(ctx, &a), "tuned by") != NULL,
                     strstr(untuned, "engine     portable") != NULL);
    a.flags = 0;
    if (!has_one_engine(ctx)) {
        add_line(ctx, &a, "block", "portable", 1);
        ck_assert_ptr_null(strstr(explain(ctx, &a), "tuned by"));
    }
    strcpy(a.engine, "portable"); /* who names an engine has it */
    expect(explain(ctx, &a), "engine     portable");
    a.engine[0] = 0;
    clattn_attention other = problem_of("attn:f32:h4:q300:k500:d41"); /* another class */
    ck_assert_ptr_null(strstr(explain(ctx, &other), "tuned by"));
    /* what was added is gone */
    ck_assert_int_eq(clattn_context_set_tuning(ctx, CLATTN_TUNING_ALL), CLATTN_OK);
    ck_assert_ptr_null(strstr(explain(ctx, &a), "refuses portable"));
    ck_assert_int_eq(clattn_context_set_tuning(ctx, CLATTN_TUNING_USER), CLATTN_OK);
    ck_assert_int_eq(clattn_context_add_tuning(ctx, HEAD), CLATTN_BAD_FLAGS);
    clattn_context_close(ctx);
}
END_TEST

/* What settings make of the kernels gives right numbers: sizes that no tile divides, whatever the engine that
 * the device chooses. */
START_TEST(settings_are_right)
{
    static const struct {
        const char *problem, *setting;
    } trials[] = {
        {"attn:f32:h3:q101:k203:d40/33:causal-br:lse", "vector rows=48 keys=64 step=5 tiles=3 depth=1"},
        {"attn:f16:h3:q101:k203:d40/33:window30-br:lse", "vector rows=16 keys=32 step=12 tiles=2"},
        {"attn:bf16:h3:q101:k203:d40/33:lse", "vector rows=32 step=6 tiles=1 splits=4"},
        {"attn:f32:h4/2:q1:k2000:d40/33:lse", "vector keys=256 splits=8"},
        {"attn:f32:h4/2:q2:k5000:d40:causal-br", "vector keys=4096 splits=1"},
        {"attn:f32:h3:q101:k203:d40/33:causal-br:lse", "portable rows=64 keys=64 items=256"},
        {"attn:f16:h3:q11:k203:d40/33:lse", "portable rows=1 keys=8 items=16 splits=4"},
        {"attn:f32:h3:q101:k203:d40/33:causal-br:lse", "blocked rows=32 keys=32 chunk=16 items=32 splits=2"},
        {"attn:f32:h3:q101:k203:d40/33:causal-br:lse", "blocked rows=64 keys=64 chunk=8 items=128"},
    };
    int taken = 0;
    for (size_t i = 0; i < CLATTN__LEN(trials); i++) {
        clattn_context *ctx = open_context();
        clattn_attention a = problem_of(trials[i].problem);
        char text[512];
        clattn_device_facts f;
        context_facts(ctx, &f);
        if (clattn_tuning_resolve(&f, &a, trials[i].setting, text, sizeof text) == CLATTN_OK) {
            add_line(ctx, &a, "tune", trials[i].setting, 1);
            expect(explain(ctx, &a), trials[i].setting);
            taken++;
        }
        clattn_context_close(ctx);
    }
    printf("# %d of %zu settings are ones of this device\n", taken, CLATTN__LEN(trials));
    ck_assert_int_ge(taken, 1); /* one of portable's */
}
END_TEST

/* An engine that a line blocks is passed over as one that failed. */
START_TEST(blocked_engine)
{
    clattn_context *ctx = open_context();
    clattn_attention a = problem_of(tuned_problem);
    clattn_plan *plan;
    bool alone = has_one_engine(ctx);
    ck_assert_int_eq(clattn_plan_create(&plan, ctx, &a), CLATTN_OK);
    char best[CLATTN_NAME_SIZE];
    strcpy(best, clattn_plan_engine(plan));
    clattn_plan_destroy(plan);
    add_line(ctx, &a, "block", best, 1);
    ck_assert_int_eq(clattn_plan_create(&plan, ctx, &a), alone ? CLATTN_NO_ENGINE : CLATTN_OK);
    ck_assert(alone || strcmp(clattn_plan_engine(plan), best));
    clattn_plan_destroy(plan);
    a.flags = CLATTN_STRICT;
    ck_assert_int_eq(clattn_plan_create(&plan, ctx, &a), CLATTN_ENGINE_REFUSED);
    clattn_context_close(ctx);
}
END_TEST

/* The user's file: read once, and passed over if it is not right: rubbish, a zero in it, others may write
 * it. */
START_TEST(users_file)
{
    char path[128];
    clattn_attention a = problem_of(tuned_problem);
    snprintf(path, sizeof path, "%s/tuning", root);
    for (int round = 0; round < 5; round++) {
        clattn_context *ctx = open_context();
        FILE *file = fopen(path, "w");
        ck_assert_ptr_nonnull(file);
        fprintf(file, "%s%s", line_for(ctx, &a, "tune", portable_8, 1.25),
                round == 1   ? "tune | half a li"
                : round == 2 ? "rubbish\n"
                             : "");
        fwrite("", 1, round == 4, file);
        ck_assert(!fclose(file) && !chmod(path, round == 3 ? 0666 : 0600));
        setenv("CLATTN_TUNING", path, 1);
        bool used = strstr(explain(ctx, &a),
                           "tuned by the user's file: portable rows=8 keys=16, 1.250 times") != NULL;
        ck_assert_int_eq(used, round < 2);
        ck_assert_int_eq(clattn_context_set_tuning(ctx, CLATTN_TUNING_ADDED | CLATTN_TUNING_SYSTEM),
                         CLATTN_OK);
        ck_assert_ptr_null(strstr(explain(ctx, &a), "tuned by"));
        setenv("CLATTN_TUNING", "", 1);
        clattn_context_close(ctx);
    }
}
END_TEST

/* What each layer says, and what comes of it: the later layer serves, and a block in any of them wins. */
enum { SYSTEM_SAYS, USER_SAYS, PROGRAM_SAYS, N_SAY };
static const char portable_16[] = "portable rows=16 keys=16";
static const struct {
    struct {
        const char *tune, *block;
    } layer[N_SAY];
    const char *expected; /* NULL: no line serves */
    const char *refused;  /* the setting that a block took away, or NULL */
} layered[] = {
    {{{portable_8, 0}, {0, 0}, {0, 0}}, "tuned by the system's file: portable rows=8 keys=16, 3.000 times", NULL},
    {{{portable_8, 0}, {portable_4, 0}, {0, 0}}, "tuned by the user's file: portable rows=4 keys=16, 2.000 times", NULL},
    {{{portable_8, 0}, {portable_4, 0}, {portable_16, 0}}, "tuned by the program: portable rows=16 keys=16, 1.000 times", NULL},
    {{{portable_8, portable_16}, {portable_4, 0}, {portable_16, 0}}, "tuned by the user's file: portable rows=4", portable_16},
    {{{portable_8, 0}, {portable_4, portable_16}, {portable_16, 0}}, "tuned by the user's file: portable rows=4", portable_16},
    {{{portable_8, 0}, {portable_4, 0}, {portable_16, portable_16}}, "tuned by the user's file: portable rows=4", portable_16},
    {{{portable_8, portable_4}, {portable_4, 0}, {0, 0}}, "tuned by the system's file: portable rows=8", portable_4},
    {{{portable_8, portable_8}, {0, portable_4}, {portable_4, 0}}, NULL, portable_8},
    {{{portable_8, 0}, {0, 0}, {0, portable_8}}, NULL, portable_8},
};

/* The text of a layer; a lower one has the higher gain. */
static void layer_text(char text[2048], clattn_context *ctx, const clattn_attention *a, size_t row, int layer)
{
    strcpy(text, HEAD);
    if (layered[row].layer[layer].tune)
        strcat(text, line_for(ctx, a, "tune", layered[row].layer[layer].tune, 3 - layer) + strlen(HEAD));
    if (layered[row].layer[layer].block)
        strcat(text, line_for(ctx, a, "block", layered[row].layer[layer].block, 1) + strlen(HEAD));
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_msg(file != NULL, "%s", path);
    fputs(text, file);
    ck_assert(!fclose(file) && !chmod(path, 0644));
}

START_TEST(systems_file)
{
    char users_path[128], text[2048];
    clattn_attention a = problem_of(tuned_problem);
    snprintf(users_path, sizeof users_path, "%s/tuning", root);
    ck_assert_int_eq(system("mkdir -p '" SYSCONFDIR "/clattn'"), 0);
    setenv("CLATTN_TUNING", users_path, 1);
    for (size_t row = 0; row < CLATTN__LEN(layered); row++) {
        clattn_context *ctx = open_context();
        layer_text(text, ctx, &a, row, SYSTEM_SAYS);
        write_text(systems_path, text);
        layer_text(text, ctx, &a, row, USER_SAYS);
        write_text(users_path, text);
        layer_text(text, ctx, &a, row, PROGRAM_SAYS);
        ck_assert_int_eq(clattn_context_add_tuning(ctx, text), CLATTN_OK);
        const char *said = explain(ctx, &a);
        if (layered[row].expected)
            expect(said, layered[row].expected);
        else
            ck_assert_msg(!strstr(said, "tuned by"), "%zu: %s", row, said);
        if (layered[row].refused) {
            snprintf(text, sizeof text, "refuses %s: a line of tuning blocks it", layered[row].refused);
            expect(said, text);
        }
        clattn_context_close(ctx);
    }
    clattn_context *ctx = open_context(); /* what switches the system's file off */
    layer_text(text, ctx, &a, 0, SYSTEM_SAYS);
    write_text(systems_path, text);
    write_text(users_path, HEAD);
    ck_assert_int_eq(clattn_context_set_tuning(ctx, CLATTN_TUNING_ALL & ~CLATTN_TUNING_SYSTEM), CLATTN_OK);
    ck_assert_ptr_null(strstr(explain(ctx, &a), "tuned by"));
    ck_assert_int_eq(clattn_context_set_tuning(ctx, CLATTN_TUNING_SYSTEM), CLATTN_OK);
    expect(explain(ctx, &a), "tuned by the system's file");
    ck_assert_int_eq(chmod(systems_path, 0666), 0);
    ck_assert_int_eq(clattn_context_set_tuning(ctx, CLATTN_TUNING_SYSTEM), CLATTN_OK);
    ck_assert_ptr_null(strstr(explain(ctx, &a), "tuned by"));
    ck_assert_int_eq(chmod(systems_path, 0644), 0);
    setenv("CLATTN_TUNING", "", 1);
    ck_assert_int_eq(clattn_context_set_tuning(ctx, CLATTN_TUNING_SYSTEM), CLATTN_OK);
    ck_assert_ptr_null(strstr(explain(ctx, &a), "tuned by"));
    ck_assert_int_eq(unlink(systems_path), 0);
    clattn_context_close(ctx);
}
END_TEST

/* The lines that block on a device: of the user's file, then the system's, then built in; each with where it
 * stands. */
START_TEST(block_lines)
{
    char path[128];
    clattn_tuning_block block = CLATTN_TUNING_BLOCK_INIT;
    snprintf(path, sizeof path, "%s/tuning", root);
    ck_assert_int_eq(system("mkdir -p '" SYSCONFDIR "/clattn'"), 0);
    write_text(path, HEAD "block | dev | 2.* | * * * * | vector | 2026-11-26 another driver\n" GOOD
                          "block | d* | 1.0 | f32 d64 * * | vector rows=32 | 2026-11-26 it hung\n"
                          "block | dev | * | * * * * | portable | 2026-11-25\n");
    write_text(systems_path,
               HEAD "block | * | * | f16 * few k64 | blocked rows=64 | 2026-11-24  two blanks\n");
    setenv("CLATTN_TUNING", path, 1);
    ck_assert_int_eq(clattn_tuning_block_describe(&facts, 0, &block), CLATTN_OK);
    ck_assert(block.layer == CLATTN_TUNING_USER && !strcmp(block.file, path) &&
              !strcmp(block.problems, "f32 d64 * *"));
    ck_assert(!strcmp(block.setting, "vector rows=32") && !strcmp(block.date, "2026-11-26") &&
              !strcmp(block.reason, "it hung"));
    ck_assert_int_eq(clattn_tuning_block_describe(&facts, 1, &block), CLATTN_OK);
    ck_assert(!strcmp(block.setting, "portable") && !strcmp(block.date, "2026-11-25") &&
              !strcmp(block.reason, ""));
    ck_assert_int_eq(clattn_tuning_block_describe(&facts, 2, &block), CLATTN_OK);
    ck_assert(block.layer == CLATTN_TUNING_SYSTEM && !strcmp(block.file, systems_path) &&
              !strcmp(block.reason, " two blanks"));
    ck_assert_int_eq(clattn_tuning_block_describe(&facts, 3, &block), CLATTN_BAD_COUNT);
    write_text(path, HEAD "block | dev | 1.0 | * * * * | vector | 2026-11-26 it hung\nrubbish\n");
    ck_assert_int_eq(clattn_tuning_block_describe(&facts, 0, &block), CLATTN_OK);
    ck_assert_int_eq(block.layer, CLATTN_TUNING_SYSTEM);
    setenv("CLATTN_TUNING", "", 1);
    ck_assert_int_eq(clattn_tuning_block_describe(&facts, 0, &block), CLATTN_BAD_COUNT);
    ck_assert_int_eq(unlink(systems_path), 0);
}
END_TEST

static void log_line(void *cookie, const char *line)
{
    int *failures = cookie;
    *failures += strstr(line, "tuned engine portable failed") != NULL;
}

/* A line whose kernel is wrong here: found at its first launch whatever the flags, remembered, and the next
 * one serves. */
START_TEST(wrong_lines)
{
    char folder[128], path[256], built[256];
    clattn_attention a = problem_of(tuned_problem);
    clattn_quarantine entry = CLATTN_QUARANTINE_INIT;
    clattn_device_facts f;
    snprintf(folder, sizeof folder, "%s/kernels", root);
    snprintf(path, sizeof path, "%s/forward_portable.cl", folder);
    snprintf(built, sizeof built, "%s/cl/flat/forward_portable.cl",
             getenv("top_builddir") ? getenv("top_builddir") : ".");
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    char command[1024]; /* of tiles of 4 rows the products lose their sums */
    snprintf(command, sizeof command,
             "{ printf '#if BQ == 4\\n#define fma(a, b, c) ((a) * (b))\\n#undef FMA\\n#define FMA 1\\n#endif\\n'; cat "
             "'%s'; } > '%s' && chmod 600 '%s'",
             built, path, path);
    ck_assert_int_eq(system(command), 0);
    setenv("CLATTN_KERNEL_DIR", folder, 1);
    a.flags = CLATTN_NO_SELF_TEST;
    for (int round = 0; round < 2; round++) {
        int failures = 0;
        clattn_context *ctx = open_context();
        context_facts(ctx, &f);
        clattn_context_set_log(ctx, log_line, &failures);
        add_line(ctx, &a, "tune", portable_4, 1.9);
        add_line(ctx, &a, "tune", portable_8, 1.2);
        expect(explain(ctx, &a), "tuned by the program: portable rows=8");
        ck_assert_int_eq(failures, 1);
        char cache[128];
        snprintf(cache, sizeof cache, "%s/cache", root);
        ck_assert_int_eq(clattn_quarantine_describe(&f, cache, 0, &entry), CLATTN_OK);
        ck_assert_str_eq(entry.fault, "its numbers were wrong");
        ck_assert_str_eq(entry.engine, "portable");
        ck_assert_int_eq(clattn_quarantine_describe(&f, cache, 1, &entry), CLATTN_BAD_COUNT);
        clattn_context_close(ctx);
    }
    unsetenv("CLATTN_KERNEL_DIR");
}
END_TEST

/* ---- threads ---- */
static clattn_context *shared;

static void *make_plans(void *cookie)
{
    clattn_attention a = problem_of(tuned_problem);
    for (int i = 0; i < 20; i++) {
        clattn_plan *plan = NULL;
        if (i % 5 == 0 && cookie && clattn_context_add_tuning(shared, cookie))
            return NULL;
        if (clattn_plan_create(&plan, shared, &a))
            return NULL;
        clattn_plan_destroy(plan);
    }
    return shared;
}

START_TEST(threads)
{
    pthread_t thread[4];
    void *done;
    clattn_attention a = problem_of(tuned_problem);
    shared = open_context();
    char *line = strdup(line_for(shared, &a, "tune", portable_8, 1.5));
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, make_plans, i % 2 ? line : NULL), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(thread[i], &done), 0);
        ck_assert_ptr_nonnull(done);
    }
    expect(explain(shared, &a), "tuned by the program");
    clattn_context_close(shared);
    free(line);
}
END_TEST

/* What settings come to. */
START_TEST(resolving)
{
    char text[256], again[256];
    clattn_attention a = problem_of("attn:f32:h8:q2048:k2048:d64");
    ck_assert_int_eq(clattn_tuning_resolve(&facts, &a, NULL, text, sizeof text), CLATTN_OK);
    ck_assert_str_eq(text, "vector rows=64 keys=128 step=4 tiles=2 depth=2 splits=1");
    ck_assert_int_eq(clattn_tuning_resolve(&facts, &a, text, again, sizeof again), CLATTN_OK);
    ck_assert_str_eq(text, again);
    ck_assert_int_eq(clattn_tuning_resolve(&facts, &a, "vector rows=32", text, sizeof text), CLATTN_OK);
    ck_assert_str_eq(text, "vector rows=32 keys=128 step=8 tiles=4 depth=2 splits=1");
    ck_assert_int_eq(clattn_tuning_resolve(&facts, &a, "vector rows=64 step=16", text, sizeof text),
                     CLATTN_ENGINE_REFUSED);
    ck_assert_str_eq(text, "the forced engine refuses this problem or device: the registers do not hold the "
                           "sums of rows x step");
    ck_assert_int_eq(clattn_tuning_resolve(&facts, &a, "matrix-mma rows=64", text, sizeof text),
                     CLATTN_ENGINE_REFUSED);
    ck_assert_ptr_nonnull(strstr(text, ": no matrix unit that clattn knows"));
    ck_assert_int_eq(clattn_tuning_resolve(&facts, &a, "vector rows=31", text, sizeof text),
                     CLATTN_BAD_TUNING);
    ck_assert_int_eq(clattn_tuning_resolve(&facts, &a, NULL, text, 8), CLATTN_BUFFER_TOO_SHORT);
    clattn_knob knob = CLATTN_KNOB_INIT;
    ck_assert_int_eq(clattn_knob_describe("vector", 1, &knob), CLATTN_OK);
    ck_assert(!strcmp(knob.name, "keys") && knob.count == 10 && knob.values[9] == 4096 && knob.meaning[0]);
    ck_assert_int_eq(clattn_knob_describe("vector", 6, &knob), CLATTN_BAD_COUNT);
    ck_assert_int_eq(clattn_knob_describe("nothing", 0, &knob), CLATTN_BAD_COUNT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tuning");
    TCase *cases = tcase_create("tuning");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, reader);
    tcase_add_test(cases, classes);
    tcase_add_test(cases, layers);
    tcase_add_test(cases, blocked);
    tcase_add_test(cases, merging);
    tcase_add_test(cases, cost);
    tcase_add_test(cases, resolving);
    tcase_add_test(cases, plans);
    tcase_add_test(cases, settings_are_right);
    tcase_add_test(cases, blocked_engine);
    tcase_add_test(cases, users_file);
    tcase_add_test(cases, systems_file);
    tcase_add_test(cases, block_lines);
    tcase_add_test(cases, wrong_lines);
    tcase_add_test(cases, threads);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
