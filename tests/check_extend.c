/* SPDX-License-Identifier: MIT
 * check_extend.c - attention over lists at positions of its own (clattn/extend.h), whole, against double
 * precision: every row of every rule, scope and type; what is copied, bit by bit; edges and misuse. */
#include "tests/draw.h"
#include "tests/on_queue.h"
#include "tests/suite.h"
#include "tool/workload.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define BASE       100.0

/* ---- a problem, its lists and tables ---- */
struct trial {
    clattn_attention a;
    clattn_select s;
    struct workload w;
    clattn_list list;
    int32_t *lists;
    uint64_t list_bytes;
    float *cosines, *sines;
    struct ref_extend e;
};

/* 6 query heads, 2 key heads, 45 rows, 130 keys; lists of up to 24 keys, 5 sinks, a window of 20. */
static void begin(struct trial *t)
{
    static const clattn_attention a = CLATTN_ATTENTION_INIT;
    static const clattn_select s = CLATTN_SELECT_INIT;
    *t = (struct trial){.a = a, .s = s};
    t->a.batch = 2;
    t->a.heads = 6;
    t->a.kv_heads = 2;
    t->a.q_len = 45;
    t->a.kv_len = 130;
    t->a.dim = t->a.dim_v = 16;
    t->a.flags = CLATTN_WANT_LSE;
    t->a.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
    t->s.block_q = 16;
    t->s.block_k = 8;
    t->s.budget = 24;
    t->s.sink = 5;
    t->s.window = 20;
    t->s.extend = CLATTN_EXTEND_STREAMING;
    t->s.rope_positions = 400;
}

/* Any blocks, also those that the window or the sinks have, or that nothing may see. */
static void draw_lists(struct trial *t)
{
    const clattn_list *l = &t->list;
    for (int64_t r = 0; r < l->batch * l->scopes * l->q_blocks; r++) {
        int32_t *ids = t->lists + l->ids_at / 4 + r * l->capacity, n = 0;
        int64_t wanted = l->capacity ? below(4) ? l->capacity : below(l->capacity + 1) : 0;
        for (int64_t g = 0; g < l->k_blocks; g++)
            if (below(l->k_blocks - g) < wanted - n)
                ids[n++] = (int32_t)g;
        t->lists[l->counts_at / 4 + r] = n;
        for (int64_t j = n; j < l->capacity; j++)
            ids[j] = -1;
    }
}

static void fill_tables(struct trial *t)
{
    const int64_t half = t->a.dim / 2, n = t->s.rope_positions * half;
    t->cosines = malloc((size_t)n * sizeof(float));
    t->sines = malloc((size_t)n * sizeof(float));
    for (int64_t i = 0; i < n; i++) {
        const double angle = (double)(i / half) * pow(BASE, -2 * (double)(i % half) / (double)t->a.dim);
        t->cosines[i] = (float)cos(angle);
        t->sines[i] = (float)sin(angle);
    }
}

static void make(struct trial *t)
{
    char text[512];
    ck_assert_msg(!clattn_select_check(&t->s, &t->a, text, sizeof text), "%s", text);
    ck_assert_int_eq(workload_make(&t->w, &t->a, (uint64_t)below(1 << 20), WORKLOAD_NORMAL), CLATTN_OK);
    t->list = (clattn_list)CLATTN_LIST_INIT;
    ck_assert_int_eq(clattn_select_list(&t->list, &t->s, &t->a), CLATTN_OK);
    ck_assert_int_eq(clattn_list_bytes(&t->list, &t->list_bytes), CLATTN_OK);
    t->lists = malloc(t->list_bytes + 4);
    draw_lists(t);
    fill_tables(t);
    const clattn_list *l = &t->list;
    t->e = (struct ref_extend){.rule = t->s.extend,
                               .sink = t->s.sink,
                               .window = t->s.window,
                               .dense_below = t->s.dense_below,
                               .share = t->s.extend_share,
                               .length = t->s.extend_length,
                               .base = BASE,
                               .list = {t->lists + l->counts_at / 4, t->lists + l->ids_at / 4, l->scopes,
                                        l->q_blocks, l->capacity, l->block_q, l->block_k,
                                        t->a.heads / l->scopes}};
    t->w.extend = &t->e;
}

static void end(struct trial *t)
{
    workload_free(&t->w);
    free(t->lists);
    free(t->cosines);
    free(t->sines);
}

static cl_mem buffer(const void *data, int64_t bytes)
{
    cl_int code;
    if (bytes == 0)
        return NULL;
    cl_mem mem = clCreateBuffer(clattn_context_cl(ctx), CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                                (size_t)bytes, (void *)(uintptr_t)data, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return mem;
}

static void open_io(const struct trial *t, clattn_extend_io *io)
{
    static const clattn_extend_io init = CLATTN_EXTEND_IO_INIT;
    const struct workload *w = &t->w;
    const int64_t table = t->s.rope_positions * (t->a.dim / 2) * 4;
    *io = init;
    io->q = buffer(w->q, w->q_count * workload_type_bytes(t->a.type_q));
    io->k = buffer(w->k, w->k_count * workload_type_bytes(t->a.type_k));
    io->v = buffer(w->v, w->v_count * workload_type_bytes(t->a.type_v));
    io->o = buffer(w->o, w->o_count * workload_type_bytes(t->a.type_o));
    io->lse = t->a.flags & CLATTN_WANT_LSE ? buffer(w->lse, w->lse_count * 4) : NULL;
    io->key_lengths = t->a.flags & CLATTN_KEY_LENGTHS ? buffer(w->key_lengths, t->a.batch * 4) : NULL;
    io->list = buffer(t->lists, (int64_t)t->list_bytes);
    io->rope_cos = buffer(t->cosines, table);
    io->rope_sin = buffer(t->sines, table);
}

static void close_io(clattn_extend_io *io)
{
    cl_mem all[] = {io->q,           io->k,    io->v,        io->o,       io->lse,
                    io->key_lengths, io->list, io->rope_cos, io->rope_sin};
    for (int i = 0; i < LEN(all); i++)
        if (all[i])
            clReleaseMemObject(all[i]);
}

static void read_back(cl_mem mem, void *to, int64_t bytes, const cl_event *event)
{
    if (mem)
        ck_assert_int_eq(clEnqueueReadBuffer(queue, mem, CL_TRUE, 0, (size_t)bytes, to, 1, event, NULL),
                         CL_SUCCESS);
}

static void run(struct trial *t)
{
    char text[1024];
    clattn_extend_plan *plan;
    clattn_extend_io io;
    cl_event event;
    struct workload *w = &t->w;
    clattn_status status = clattn_extend_plan_create(&plan, ctx, &t->s, &w->problem);
    clattn_context_message(ctx, text, sizeof text);
    ck_assert_msg(!status, "%s", text);
    open_io(t, &io);
    status = clattn_enqueue_extend(plan, queue, &io, 0, NULL, &event);
    clattn_context_message(ctx, text, sizeof text);
    ck_assert_msg(!status, "%s", text);
    read_back(io.o, w->o, w->o_count * workload_type_bytes(t->a.type_o), &event);
    read_back(io.lse, w->lse, w->lse_count * 4, &event);
    clReleaseEvent(event);
    close_io(&io);
    clattn_extend_plan_destroy(plan);
}

static void check_rows(struct trial *t, int64_t rows)
{
    struct verdict v;
    char words[512];
    make(t);
    run(t);
    workload_check(&t->w, rows, &v);
    clattn_select_print(&t->s, words, sizeof words);
    ck_assert_msg(v.pass, "%s: %s (%.2f of the bound; lse %g of %g)", words, v.where, v.ratio, v.lse_error,
                  v.lse_bound);
    ck_assert(workload_guards_intact(&t->w));
    end(t);
}

static void check(struct trial *t)
{
    check_rows(t, INT64_MAX);
}

static void set_rule(struct trial *t, int rule)
{
    t->s.extend = rule;
    t->s.extend_length = rule == CLATTN_EXTEND_SELF ? 40 : rule == CLATTN_EXTEND_DYNAMIC ? 70 : 0;
    t->s.extend_share = rule == CLATTN_EXTEND_SELF ? 3 : 0;
}

/* ---- the oracle ---- */
/* One row at 100: InfiniteHiP's formula by hand, its number j of 6 keys before a window of 8: j + 100 - 8 - 6
 * + 1. */
START_TEST(positions_by_hand)
{
    static const int32_t count = 1, id = 5;
    struct ref_problem p = {.batch = 1, .heads = 1, .kv_heads = 1, .q_len = 1, .kv_len = 101};
    struct ref_extend e = {
        .rule = REF_EXTEND_STREAMING, .sink = 2, .window = 8, .list = {&count, &id, 1, 1, 1, 1, 4, 1}};
    static const struct {
        int64_t key, position;
        bool kept;
    } rows[] = {{0, 87, true},  {1, 88, true},    {20, 89, true},  {23, 92, true},
                {93, 93, true}, {100, 100, true}, {24, 93, false}, {92, 93, false}};
    for (int n = 0; n < LEN(rows); n++) {
        bool kept;
        const int64_t position = ref_extend_position(&p, &e, 0, 0, 0, rows[n].key, &kept);
        ck_assert_int_eq(kept, rows[n].kept);
        if (kept)
            ck_assert_int_eq(position, rows[n].position);
    }
    e.rule = REF_EXTEND_SELF;
    e.length = 40;
    e.share = 16;
    ck_assert_int_eq(ref_extend_position(&p, &e, 0, 0, 0, 60, NULL), 60);
    ck_assert_int_eq(ref_extend_position(&p, &e, 0, 0, 0, 59, NULL), 97); /* -41 / 16 rounded down, + 100 */
    ck_assert_int_eq(ref_extend_position(&p, &e, 0, 0, 0, 0, NULL), 93);
    e.rule = REF_EXTEND_DYNAMIC;
    ck_assert_int_eq(ref_extend_position(&p, &e, 0, 0, 0, 90, NULL), 90);
    ck_assert_int_eq(ref_extend_position(&p, &e, 0, 0, 0, 45, NULL), 75); /* -45 * 30 / 90 + 90 */
    ck_assert_int_eq(ref_extend_position(&p, &e, 0, 0, 0, 0, NULL), 60);
    e.length = 100;
    ck_assert_int_eq(ref_extend_position(&p, &e, 0, 0, 0, 45, NULL), 45);
}
END_TEST

/* ---- whole attention ---- */
START_TEST(prefill)
{
    struct trial t;
    begin(&t);
    set_rule(&t, 1 + _i / 3);
    t.s.scope = _i % 3;
    check(&t);
}
END_TEST

START_TEST(decode)
{
    struct trial t;
    begin(&t);
    t.a.q_len = 1;
    t.a.flags |= CLATTN_KEY_LENGTHS;
    set_rule(&t, 1 + _i / 3);
    t.s.scope = _i % 3;
    check(&t);
}
END_TEST

/* Rows that lie apart, and of other types. */
START_TEST(types)
{
    struct trial t;
    begin(&t);
    t.a.type_q = t.a.type_k = t.a.type_v = t.a.type_o = _i % 3;
    if (_i >= 3)
        t.a.type_q = t.a.type_o = CLATTN_F32;
    t.a.q_len = _i % 2 ? 7 : 1;
    t.a.dim = 48; /* 24 pairs: sixteen, and eight */
    t.a.dim_v = 10;
    t.a.q = (clattn_layout){3, 7 * 6 * 48, 48, 6 * 48};
    t.a.k = (clattn_layout){2, 130 * 2 * 49, 49, 2 * 49};
    t.a.o = (clattn_layout){5, 7 * 6 * 11, 11, 6 * 11};
    check(&t);
}
END_TEST

START_TEST(edges)
{
    static const struct {
        int64_t q_len, kv_len, budget, sink, window, dense_below;
        int32_t block_q, block_k;
        uint32_t flags;
    } rows[] = {
        {45, 130, 0, 5, 20, 0, 16, 8, 0},                    /* no list */
        {45, 130, 0, 0, 1, 0, 1, 8, 0},                      /* a row alone */
        {45, 130, 24, 0, 0, 0, 16, 8, 0},                    /* a list alone */
        {45, 130, 4096, 0, 0, 0, 16, 8, 0},                  /* of all keys */
        {45, 130, 24, 300, 20, 0, 16, 8, 0},                 /* sinks past the end */
        {45, 130, 24, 5, 300, 0, 16, 8, 0},                  /* a window of all */
        {45, 130, 21, 13, 7, 0, 11, 7, 0},                   /* odd sizes */
        {45, 130, 24, 3, 5, 0, 64, 1, 0},                    /* one block of queries, keys one by one */
        {45, 130, 128, 9, 12, 0, 9, 64, 0},                  /* sinks inside a block */
        {45, 30, 24, 5, 8, 0, 16, 8, 0},                     /* rows before the first key */
        {45, 0, 24, 5, 8, 0, 16, 8, 0},                      /* no keys */
        {1, 1, 8, 1, 1, 0, 1, 1, 0},                         /* one */
        {33, 130, 24, 5, 20, 90, 16, 8, CLATTN_KEY_LENGTHS}, /* short entries are dense */
        {1, 130, 24, 5, 20, 131, 16, 8, 0},                  /* all are */
    };
    struct trial t;
    begin(&t);
    t.a.batch = 3;
    t.a.q_len = rows[_i].q_len;
    t.a.kv_len = rows[_i].kv_len;
    t.a.flags |= rows[_i].flags;
    t.s.method = rows[_i].budget ? CLATTN_TREE : CLATTN_STREAMING;
    t.s.budget = rows[_i].budget;
    t.s.sink = rows[_i].sink;
    t.s.window = rows[_i].window;
    t.s.dense_below = rows[_i].dense_below;
    t.s.block_q = rows[_i].block_q;
    t.s.stride_q = 1;
    t.s.block_k = rows[_i].block_k;
    check(&t);
}
END_TEST

/* Any sizes, of every rule and scope in turn. */
START_TEST(random_sizes)
{
    for (int n = 0; n < 12; n++) {
        struct trial t;
        begin(&t);
        t.a.batch = 1 + below(3);
        t.a.heads = 4;
        t.a.q_len = 1 + below(40);
        t.a.kv_len = 1 + below(200);
        t.a.flags = (n / 3 % 2 ? 0 : CLATTN_WANT_LSE) | (below(2) ? CLATTN_KEY_LENGTHS : 0);
        t.s.scope = n % 3;
        t.s.block_q = (int32_t)(1 + below(30));
        t.s.stride_q = 1;
        t.s.block_k = (int32_t)(1 + below(20));
        t.s.budget = 1 + below(60);
        t.s.sink = below(30);
        t.s.window = below(50);
        t.s.dense_below = below(3) ? 0 : below(200);
        set_rule(&t, _i);
        t.s.extend_length = _i == CLATTN_EXTEND_SELF      ? 1 + below(150)
                            : _i == CLATTN_EXTEND_DYNAMIC ? 4 * t.s.block_q + below(100)
                                                          : 0;
        t.s.extend_share = _i == CLATTN_EXTEND_SELF ? (int32_t)(1 + below(40)) : 0;
        check(&t);
    }
}
END_TEST

/* A score rule that knows no position. */
START_TEST(soft_cap)
{
    struct trial t;
    begin(&t);
    t.a.n_scalars = 1;
    t.a.scalars[0] = (clattn_scalar){"cap", CLATTN_F32, 0, 2};
    t.a.score = clattn_score("cap * tanh(score / cap)");
    t.a.scale = 1;
    check(&t);
}
END_TEST

/* More than a launch holds: 40 lists of 4000 keys, 2 MiB each with their values. */
START_TEST(ranges)
{
    struct trial t;
    begin(&t);
    t.a.batch = 1;
    t.a.q_len = 20;
    t.a.kv_len = 5000;
    t.a.dim = t.a.dim_v = 64;
    t.s.block_q = t.s.stride_q = 1;
    t.s.block_k = 100;
    t.s.budget = 3900;
    t.s.window = 95;
    t.s.rope_positions = 4000;
    check_rows(&t, 12);
}
END_TEST

/* ---- copies ---- */
/* A row that sees one key gives its value, whatever turned. */
START_TEST(values_bit_by_bit)
{
    struct trial t;
    begin(&t);
    t.a.type_q = t.a.type_k = t.a.type_v = t.a.type_o = _i;
    t.a.dim_v = 19;
    t.s.scope = CLATTN_SCOPE_HEAD;
    t.s.sink = t.s.window = 0;
    t.s.block_q = t.s.stride_q = t.s.block_k = 1;
    t.s.budget = 1;
    make(&t);
    for (int64_t r = 0; r < 2 * 6 * 45; r++) {
        t.lists[t.list.counts_at / 4 + r] = 1;
        t.lists[t.list.ids_at / 4 + r] = (int32_t)below(130 - 45 + r % 45 + 1);
    }
    run(&t);
    const size_t bytes = 19 * (size_t)workload_type_bytes(_i);
    for (int64_t r = 0; r < 2 * 6 * 45; r++) {
        const int64_t key = t.lists[t.list.ids_at / 4 + r], v_row = r / 45 / 3 * 130 + key;
        ck_assert_msg(
            !memcmp((char *)t.w.o + (size_t)r * bytes, (char *)t.w.v + (size_t)v_row * bytes, bytes),
            "row %d", (int)r);
    }
    end(&t);
}
END_TEST

/* What no row sees never matters. */
START_TEST(unseen_keys_are_poison)
{
    struct trial t;
    begin(&t);
    make(&t);
    for (int64_t b = 0; b < 2; b++)
        for (int64_t g = 0; g < 2; g++)
            for (int64_t k = 0; k < 130; k++) {
                const struct ref_problem p = workload_reference(&t.w);
                bool seen = false, kept;
                for (int64_t i = 0; i < 45; i++) {
                    ref_extend_position(&p, &t.e, b, 3 * g, i, k, &kept);
                    seen |= kept;
                }
                for (int64_t d = 0; !seen && d < 16; d++) {
                    ((float *)t.w.k)[((b * 2 + g) * 130 + k) * 16 + d] = NAN;
                    ((float *)t.w.v)[((b * 2 + g) * 130 + k) * 16 + d] = NAN;
                }
            }
    struct verdict v;
    run(&t);
    workload_check(&t.w, INT64_MAX, &v);
    ck_assert_msg(v.pass, "%s", v.where);
    end(&t);
}
END_TEST

/* Nor does what an earlier enqueue left behind shorter lists: numbers that are none, of full ones. */
START_TEST(earlier_copies_never_matter)
{
    struct trial t;
    struct verdict v;
    clattn_extend_plan *plan;
    clattn_extend_io io, earlier;
    begin(&t);
    t.s.scope = _i;
    make(&t);
    for (int64_t r = 0; r < t.list.batch * t.list.scopes * t.list.q_blocks; r++)
        t.lists[t.list.counts_at / 4 + r] = 0;
    open_io(&t, &io);
    earlier = io;
    float *none = malloc((size_t)t.w.k_count * sizeof *none);
    for (int64_t i = 0; i < t.w.k_count; i++)
        none[i] = NAN;
    draw_lists(&t);
    earlier.k = earlier.v = buffer(none, t.w.k_count * 4);
    earlier.list = buffer(t.lists, (int64_t)t.list_bytes);
    ck_assert_int_eq(clattn_extend_plan_create(&plan, ctx, &t.s, &t.w.problem), CLATTN_OK);
    ck_assert_int_eq(clattn_enqueue_extend(plan, queue, &earlier, 0, NULL, NULL), CLATTN_OK);
    ck_assert_int_eq(clattn_enqueue_extend(plan, queue, &io, 0, NULL, NULL), CLATTN_OK);
    ck_assert_int_eq(
        clEnqueueReadBuffer(queue, io.o, CL_TRUE, 0, (size_t)t.w.o_count * 4, t.w.o, 0, NULL, NULL),
        CL_SUCCESS);
    ck_assert_int_eq(
        clEnqueueReadBuffer(queue, io.lse, CL_TRUE, 0, (size_t)t.w.lse_count * 4, t.w.lse, 0, NULL, NULL),
        CL_SUCCESS);
    memset(t.lists, 0, t.list_bytes);
    workload_check(&t.w, INT64_MAX, &v);
    ck_assert_msg(v.pass, "%s", v.where);
    clReleaseMemObject(earlier.k);
    clReleaseMemObject(earlier.list);
    free(none);
    close_io(&io);
    clattn_extend_plan_destroy(plan);
    end(&t);
}
END_TEST

/* Lists that are not ones give wrong numbers, and nothing else. */
START_TEST(lists_of_noise)
{
    struct trial t;
    begin(&t);
    t.s.scope = CLATTN_SCOPE_HEAD;
    make(&t);
    for (int turn = 0; turn < 3; turn++) {
        for (uint64_t i = 0; i < t.list_bytes / 4; i++)
            t.lists[i] = turn == 0   ? (int32_t)random_bits()
                         : turn == 1 ? (int32_t)below(300) - 100
                                     : INT32_MAX;
        run(&t);
        ck_assert(workload_guards_intact(&t.w));
    }
    end(&t);
}
END_TEST

/* ---- misuse ---- */
#define PLAN_MISUSES(X)                                                                                      \
    X((t.s.extend = CLATTN_EXTEND_NONE, t.s.rope_positions = 0), BAD_SELECTOR, "extend is NONE; plain")      \
    X(t.s.rope_positions = 63, BAD_COUNT, "rope_positions is 63; with rope 0 and extend 1 it is 64 or more") \
    X(t.s.flags = CLATTN_GROW_WINDOW, BAD_FLAGS, "make it longer instead")                                   \
    X(t.s.size = 1, BAD_STRUCT_SIZE, "clattn_select.size is 1")                                              \
    X(t.a.dim = 15, BAD_DIM, "dim is 15")                                                                    \
    X(t.a.heads = 0, BAD_HEADS, "heads is 0")                                                                \
    X(t.a.pattern = clattn_causal(CLATTN_TOP_LEFT), BAD_CORNER, "the corner bottom right")                   \
    X(t.a.pattern = clattn_mask("k <= q + 1", CLATTN_BOTTOM_RIGHT), BAD_CORNER, "causal alone")              \
    X(t.a.pattern = clattn_window(9, 0, CLATTN_BOTTOM_RIGHT), BAD_CORNER, "causal alone")                    \
    X(t.a.score = clattn_score("score - 0.1 * (q - k)"), EXPR_NAME, "positions are the lists' own")          \
    X(t.a.score = clattn_score("score * (h + 1)"), EXPR_NAME, "as a soft cap does")                          \
    X((t.a.weight = clattn_weight("relu(score)"), t.a.normaliser = CLATTN_L1), BAD_NORMALISER,               \
      "has the softmax")                                                                                     \
    X((t.a.flags = CLATTN_PACKED, t.a.q_total = 90, t.a.kv_total = 260), BAD_FLAGS, "neither packed rows")   \
    X(t.a.flags |= CLATTN_CALLER_WORKSPACE, BAD_FLAGS, "nor a caller's workspace")                           \
    X(t.a.flags |= CLATTN_COUNT_TILES, BAD_FLAGS, "nor does it count tiles")                                 \
    X(strcpy(t.a.engine, "steam"), BAD_ENGINE, "steam")

static void misuse_plan(struct trial t, clattn_status wanted, const char *words)
{
    char text[1024];
    clattn_extend_plan *plan = (clattn_extend_plan *)ctx;
    ck_assert_int_eq(clattn_extend_plan_create(&plan, ctx, &t.s, &t.a), wanted);
    ck_assert_ptr_null(plan);
    clattn_context_message(ctx, text, sizeof text);
    ck_assert_msg(strstr(text, words) != NULL, "%s", text);
}

START_TEST(misused_plans)
{
    clattn_extend_plan *plan;
    struct trial good;
    begin(&good);
    ck_assert_int_eq(clattn_extend_plan_create(NULL, ctx, &good.s, &good.a), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_extend_plan_create(&plan, NULL, &good.s, &good.a), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_extend_plan_create(&plan, ctx, NULL, &good.a), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_extend_plan_create(&plan, ctx, &good.s, NULL), CLATTN_NULL_ARGUMENT);
#define MISUSE(change, status, words)                                                                        \
    {                                                                                                        \
        struct trial t = good;                                                                               \
        change;                                                                                              \
        misuse_plan(t, CLATTN_##status, words);                                                              \
    }
    PLAN_MISUSES(MISUSE)
    clattn_extend_plan_destroy(NULL);
}
END_TEST

#define ENQUEUE_MISUSES(X)                                                                                   \
    X(io.size = 3, BAD_STRUCT_SIZE, "clattn_extend_io.size is 3")                                            \
    X(io.q = NULL, NULL_BUFFER, "io.q")                                                                      \
    X(io.list = NULL, NULL_BUFFER, "io.list")                                                                \
    X(io.rope_cos = NULL, NULL_BUFFER, "io.rope_cos")                                                        \
    X(io.key_lengths = io.q, UNUSED_BUFFER, "io.key_lengths")                                                \
    X(io.k = scarce, K_TOO_SMALL, "k has 16 bytes and needs 33280")                                          \
    X(io.v = scarce, V_TOO_SMALL, "v has 16 bytes")                                                          \
    X(io.o = scarce, O_TOO_SMALL, "o has 16 bytes")                                                          \
    X(io.lse = scarce, LSE_TOO_SMALL, "lse has 16 bytes")                                                    \
    X(io.list = scarce, LIST_TOO_SMALL, "list has 16 bytes")                                                 \
    X(io.rope_sin = scarce, ROPE_TOO_SMALL, "rope_sin has 16 bytes")                                         \
    X(io.o = io.q, OUTPUT_ALIASES_INPUT, "share bytes")

static void misuse_enqueue(clattn_extend_plan *plan, const clattn_extend_io *io, clattn_status wanted,
                           const char *words)
{
    char text[1024];
    ck_assert_int_eq(clattn_enqueue_extend(plan, queue, io, 0, NULL, NULL), wanted);
    clattn_context_message(ctx, text, sizeof text);
    ck_assert_msg(strstr(text, words) != NULL, "%s", text);
}

START_TEST(misused_enqueues)
{
    static const char zeros[16];
    char text[4096];
    struct trial t;
    clattn_extend_plan *plan;
    clattn_extend_io good;
    cl_mem scarce = buffer(zeros, sizeof zeros);
    begin(&t);
    make(&t);
    open_io(&t, &good);
    ck_assert_int_eq(clattn_extend_plan_create(&plan, ctx, &t.s, &t.a), CLATTN_OK);
    ck_assert_int_eq(clattn_enqueue_extend(NULL, queue, &good, 0, NULL, NULL), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_enqueue_extend((clattn_extend_plan *)ctx, queue, &good, 0, NULL, NULL),
                     CLATTN_BAD_HANDLE);
    ck_assert_int_eq(clattn_enqueue_extend(plan, NULL, &good, 0, NULL, NULL), CLATTN_NULL_QUEUE);
    ck_assert_int_eq(clattn_enqueue_extend(plan, queue, NULL, 0, NULL, NULL), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_enqueue_extend(plan, queue, &good, 1, NULL, NULL), CLATTN_BAD_WAIT_LIST);
#define MISUSED(change, status, words)                                                                       \
    {                                                                                                        \
        clattn_extend_io io = good;                                                                          \
        change;                                                                                              \
        misuse_enqueue(plan, &io, CLATTN_##status, words);                                                   \
    }
    ENQUEUE_MISUSES(MISUSED)
    ck_assert_int_eq(clattn_extend_plan_explain(NULL, text, sizeof text), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_extend_plan_explain(plan, NULL, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_extend_plan_explain(plan, text, 20), CLATTN_BUFFER_TOO_SHORT);
    ck_assert_int_eq(clattn_extend_plan_explain(plan, text, sizeof text), CLATTN_OK);
    ck_assert_msg(strstr(text, "12 lists, 12 a launch; 64 keys of each at most, at 400 positions") != NULL,
                  "%s", text);
    ck_assert_msg(strstr(text, "causal-br:lse:keylens") != NULL, "%s", text);
    clattn_extend_plan_destroy(plan);
    clReleaseMemObject(scarce);
    close_io(&good);
    end(&t);
}
END_TEST

/* No rows at all: nothing to do, and an event all the same. */
START_TEST(no_rows)
{
    struct trial t;
    begin(&t);
    t.a.q_len = _i ? 45 : 0;
    t.a.batch = _i ? 0 : 2;
    make(&t);
    run(&t);
    end(&t);
}
END_TEST

/* The words of a selection, there and back. */
START_TEST(words)
{
    static const char *const texts[] = {"extend=streaming/900", "extend=self/900/100/16",
                                        "extend=dynamic/900/300", "rope=relative/900:extend=self/900/7/3"};
    static const char *const wrong[] = {"extend=",
                                        "extend=none",
                                        "extend=streaming",
                                        "extend=self/900/100",
                                        "extend=dynamic/900",
                                        "extend=streaming/900/1",
                                        "extend=self/900/1/99999999999"};
    char text[512], message[512], whole[256];
    for (int n = 0; n < LEN(texts) + LEN(wrong); n++) {
        const char *field = n < LEN(texts) ? texts[n] : wrong[n - LEN(texts)];
        clattn_select s = CLATTN_SELECT_INIT;
        clattn_attention a = CLATTN_ATTENTION_INIT;
        snprintf(whole, sizeof whole, "attn:f32:h6/2:q64:k500:d64:causal-br:tree=256:%s", field);
        clattn_status status = clattn_select_parse(&s, &a, whole, message, sizeof message);
        ck_assert_msg(status == (n < LEN(texts) ? CLATTN_OK : CLATTN_PROBLEM_SYNTAX), "%s: %s", field,
                      message);
        if (n >= LEN(texts))
            continue;
        ck_assert_int_eq(clattn_select_print(&s, text, sizeof text), CLATTN_OK);
        ck_assert_msg(strstr(text, field) != NULL, "%s: %s", field, text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("extend");
    TCase *oracle = tcase_create("oracle"), *device = tcase_create("device");
    tcase_add_test(oracle, positions_by_hand);
    tcase_add_test(oracle, words);
    tcase_add_checked_fixture(device, set_up, tear_down);
    tcase_add_loop_test(device, prefill, 0, 9);
    tcase_add_loop_test(device, decode, 0, 9);
    tcase_add_loop_test(device, types, 0, 6);
    tcase_add_loop_test(device, edges, 0, 14);
    tcase_add_loop_test(device, random_sizes, CLATTN_EXTEND_STREAMING, CLATTN_EXTEND_DYNAMIC + 1);
    tcase_add_test(device, soft_cap);
    tcase_add_test(device, ranges);
    tcase_add_loop_test(device, values_bit_by_bit, 0, 3);
    tcase_add_test(device, unseen_keys_are_poison);
    tcase_add_loop_test(device, earlier_copies_never_matter, 0, 3);
    tcase_add_test(device, lists_of_noise);
    tcase_add_loop_test(device, no_rows, 0, 2);
    tcase_add_test(device, misused_plans);
    tcase_add_test(device, misused_enqueues);
    suite_add_tcase(suite, oracle);
    suite_add_tcase(suite, device);
    return run_suite(suite);
}
