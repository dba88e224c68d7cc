/* SPDX-License-Identifier: MIT
 * select_trial.c - one selection on a device and by the oracle; a kernel that goes past a buffer's end ends
 * this program where OpenCL uses the host's memory. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "select/select.h"
#include "tests/draw.h"
#include "tests/fresh_context.h"
#include "tests/select_trial.h"
#include "tests/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

clattn_context *select_ctx;
cl_command_queue select_queue;

int select_cases(int all)
{
    return is_long_run() ? all : all / 4;
}

void select_trial_set_up(void)
{
    cl_int code;
    select_ctx = fresh_context();
    select_queue = clCreateCommandQueue(select_ctx->cl, select_ctx->device, 0, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
}

void select_trial_tear_down(void)
{
    clReleaseCommandQueue(select_queue);
    clattn_context_close(select_ctx);
}

int64_t select_below(int64_t n)
{
    return below(n);
}

static void *allocate(int64_t count, size_t each)
{
    void *data = calloc((size_t)count + 1, each);
    ck_assert_ptr_nonnull(data);
    return data;
}

struct select_trial select_trial_new(int64_t heads, int64_t kv_heads, int64_t q_len, int64_t kv_len,
                                     int64_t dim)
{
    struct select_trial t = {.a = CLATTN_ATTENTION_INIT, .s = CLATTN_SELECT_INIT, .list = CLATTN_LIST_INIT};
    t.a.heads = heads;
    t.a.kv_heads = kv_heads;
    t.a.q_len = q_len;
    t.a.kv_len = kv_len;
    t.a.dim = dim;
    t.a.dim_v = 1;
    t.a.flags = CLATTN_CALLER_WORKSPACE;
    t.s.sink = t.s.window = 0;
    select_trial_mask(&t, "k <= q", CLATTN_BOTTOM_RIGHT);
    return t;
}

void select_trial_free(struct select_trial *t)
{
    void *all[] = {t->q,           t->k,     t->scores,    t->given,   t->q_offsets, t->k_offsets,
                   t->key_lengths, t->lists, t->certified, t->budgets, t->rope_cos,  t->rope_sin};
    for (size_t i = 0; i < CLATTN__LEN(all); i++)
        free(all[i]);
}

void select_trial_method(struct select_trial *t, int32_t method, int64_t budget)
{
    const int64_t block = t->s.block_k, blocks = (budget + block - 1) / block;
    t->s.method = method;
    t->s.budget = method == CLATTN_STREAMING ? 0 : method == CLATTN_STAGED ? blocks * block : budget;
    t->s.n_stages = method == CLATTN_STAGED ? 3 : 0;
    for (int i = 0; i < t->s.n_stages; i++)
        t->s.stages[i] = (clattn_stage){block << (2 - i), (blocks * block) << (2 - i)};
}

void select_trial_rope(struct select_trial *t, int32_t rope, int64_t positions)
{
    const int64_t pairs = t->a.dim / 2, n = positions * pairs;
    t->s.rope = rope;
    t->s.rope_positions = positions;
    t->rope_cos = allocate(n, sizeof *t->rope_cos);
    t->rope_sin = allocate(n, sizeof *t->rope_sin);
    for (int64_t i = 0; i < n; i++) {
        const double angle = (double)(i / pairs) * pow(10000, -(double)(i % pairs) / (double)pairs);
        t->rope_cos[i] = (float)cos(angle);
        t->rope_sin[i] = (float)sin(angle);
    }
}

void select_trial_mask(struct select_trial *t, const char *mask, clattn_corner corner)
{
    t->mask = mask;
    t->a.pattern = clattn_mask(mask, corner);
}

static int64_t tokens(const struct select_trial *t, bool of_k)
{
    const bool packed = t->a.flags & CLATTN_PACKED;
    return of_k ? (packed ? t->a.kv_total : t->a.batch * t->a.kv_len) * t->a.kv_heads
                : (packed ? t->a.q_total : t->a.batch * t->a.q_len) * t->a.heads;
}

void select_trial_pack(struct select_trial *t, int64_t batch)
{
    t->a.batch = batch;
    t->a.flags |= CLATTN_PACKED;
    t->k_offsets = allocate(batch + 1, sizeof *t->k_offsets);
    t->q_offsets = allocate(batch + 1, sizeof *t->q_offsets);
    for (int64_t b = 0; b < batch; b++) {
        t->k_offsets[b + 1] = t->k_offsets[b] + (int32_t)select_below(t->a.kv_len + 1);
        t->q_offsets[b + 1] = t->q_offsets[b] + (int32_t)select_below(t->a.q_len + 1);
    }
    t->a.kv_total = t->k_offsets[batch];
    t->a.q_total = t->q_offsets[batch];
}

void select_trial_lengths(struct select_trial *t, int64_t batch)
{
    t->a.batch = batch;
    t->a.flags |= CLATTN_KEY_LENGTHS;
    t->key_lengths = allocate(batch, sizeof *t->key_lengths);
    for (int64_t b = 0; b < batch; b++)
        t->key_lengths[b] = (int32_t)select_below(t->a.kv_len + 1);
}

void select_trial_put(struct select_trial *t, bool of_k, int64_t index, double value)
{
    ref_narrow(of_k ? t->a.type_k : t->a.type_q, value, of_k ? t->k : t->q, index);
}

static int64_t list_count(const struct select_trial *t)
{
    return t->list.batch * t->list.scopes * t->list.q_blocks;
}

void select_trial_fill(struct select_trial *t, bool whole)
{
    uint64_t bytes;
    ck_assert_int_eq(clattn_select_list(&t->list, &t->s, &t->a), CLATTN_OK);
    ck_assert_int_eq(clattn_list_bytes(&t->list, &bytes), CLATTN_OK);
    t->lists = allocate((int64_t)bytes / 4, 4);
    t->certified = allocate(list_count(t), 4);
    for (int of_k = 0; of_k < 2; of_k++) {
        const int64_t n = tokens(t, of_k) * t->a.dim;
        void *data = allocate(n, 4);
        *(of_k ? &t->k : &t->q) = data;
        for (int64_t i = 0; i < n; i++)
            select_trial_put(t, of_k, i,
                             whole ? (double)(select_below(9) - 4)
                                   : (double)select_below(1 << 24) / (1 << 22) - 2.0);
    }
    if (t->s.flags & CLATTN_BUDGET_EACH) /* most are below the budget; some above, 0 or below that */
        t->budgets = allocate(t->list.scopes, sizeof *t->budgets);
    for (int64_t u = 0; t->budgets && u < t->list.scopes; u++)
        t->budgets[u] = (int32_t)(select_below(3)   ? select_below(t->s.budget + 1)
                                  : select_below(2) ? INT32_MAX
                                                    : -9 * select_below(2));
    const int64_t n = t->list.batch * t->list.scopes * t->list.q_blocks * t->list.k_blocks;
    if (t->s.method != CLATTN_EXTERNAL_SCORE)
        return;
    t->scores = allocate(n, sizeof *t->scores);
    for (int64_t i = 0; i < n; i++)
        t->scores[i] = (float)(select_below(9) - 4);
}

void pretend_groups(int items)
{
    if (items == 0)
        return;
    select_ctx->facts.type = CL_DEVICE_TYPE_GPU;
    select_ctx->facts.largest_group = (uint64_t)items;
}

void draw_selection(struct select_trial *t, int32_t method)
{
    t->s.block_q = 16;
    t->s.stride_q = 4;
    t->s.scope = CLATTN_SCOPE_GROUP;
    t->s.sink = 1 + select_below(9);
    t->s.window = select_below(2) ? select_below(9) : 0;
    t->s.block_k = (int32_t)(1 + select_below(9));
    t->s.stride_k = (int32_t)(1 + select_below(t->s.block_k));
    t->s.representative = (int32_t)select_below(3);
    select_trial_method(t, method, 1 + select_below(40));
}

/* ---- the device: buffers of exact size that end at a page which may not be touched ---- */
enum { MOST_BUFFERS = 24 };
static struct fence {
    void *map;
    size_t bytes;
    cl_mem mem;
} fences[MOST_BUFFERS];
static int n_fences;

/* A buffer that begins as data, or with no content that anybody should read. */
static cl_mem buffer(const void *data, int64_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = bytes > 4 ? (size_t)bytes : 4,
                 body = (size + page - 1) / page * page;
    cl_int code;
    ck_assert_int_lt(n_fences, MOST_BUFFERS);
    struct fence *f = &fences[n_fences++];
    f->bytes = body + page;
    f->map = mmap(NULL, f->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(f->map != MAP_FAILED && !mprotect((char *)f->map + body, page, PROT_NONE));
    void *at = (char *)f->map + body - size;
    memset(f->map, 0x5a, body);
    if (data)
        memcpy(at, data, (size_t)bytes);
    f->mem = clCreateBuffer(select_ctx->cl, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, size, at, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return f->mem;
}

static cl_mem buffer_if(const void *data, int64_t bytes)
{
    return data ? buffer(data, bytes) : NULL;
}

/* Those made since there were so many. */
static void release_buffers(int left)
{
    while (n_fences > left) {
        clReleaseMemObject(fences[--n_fences].mem);
        munmap(fences[n_fences].map, fences[n_fences].bytes);
    }
}

static clattn_select_io make_io(const struct select_trial *t, const clattn_select_plan *plan)
{
    static const uint64_t zeros[2] = {0, 0};
    clattn_select_io io = CLATTN_SELECT_IO_INIT;
    uint64_t bytes, bounds, workspace, kept;
    const int64_t lengths = 4 * (t->a.batch + 1);
    ck_assert_int_eq(clattn_list_bytes(&t->list, &bytes), CLATTN_OK);
    ck_assert_int_eq(clattn_select_bounds_size(plan, &bounds), CLATTN_OK);
    ck_assert_int_eq(clattn_select_workspace_size(plan, &workspace), CLATTN_OK);
    ck_assert_int_eq(clattn_select_kept_size(plan, &kept), CLATTN_OK);
    io.q = buffer(t->q, tokens(t, false) * t->a.dim * (t->a.type_q ? 2 : 4));
    io.k = buffer(t->k, tokens(t, true) * t->a.dim * (t->a.type_k ? 2 : 4));
    io.q_offsets = buffer_if(t->q_offsets, lengths);
    io.k_offsets = buffer_if(t->k_offsets, lengths);
    io.key_lengths = buffer_if(t->key_lengths, lengths - 4);
    io.scores =
        buffer_if(t->scores, 4 * t->list.batch * t->list.scopes * t->list.q_blocks * t->list.k_blocks);
    io.given = buffer_if(t->given, (int64_t)bytes);
    io.budgets = buffer_if(t->budgets, 4 * t->list.scopes);
    io.rope_cos = buffer_if(t->rope_cos, t->s.rope_positions * t->a.dim * 2);
    io.rope_sin = buffer_if(t->rope_sin, t->s.rope_positions * t->a.dim * 2);
    io.list = buffer(NULL, (int64_t)bytes);
    io.bounds = bounds > 0 ? buffer(NULL, (int64_t)bounds) : NULL;
    io.workspace = buffer(NULL, (int64_t)workspace);
    io.kept = kept > 0 ? buffer(NULL, (int64_t)kept) : NULL;
    io.certified = t->s.flags & CLATTN_CERTIFY ? buffer(NULL, 4 * list_count(t)) : NULL;
    io.counters = t->s.flags & CLATTN_COUNT_PROBES ? buffer(zeros, 16) : NULL;
    return io;
}

/* What the caller may have changed since. */
static void write_input(cl_mem mem, const void *data, int64_t bytes)
{
    if (mem && bytes > 0)
        ck_assert_int_eq(
            clEnqueueWriteBuffer(select_queue, mem, CL_TRUE, 0, (size_t)bytes, data, 0, NULL, NULL),
            CL_SUCCESS);
}

clattn_status select_trial_open(struct select_trial *t, struct select_session *session)
{
    clattn_status status = clattn_select_plan_create(&session->plan, select_ctx, &t->s, &t->a);
    if (status)
        return status;
    t->rounds = session->plan->shape.tile.items > 0 && session->plan->shape.tile.matrix != CLATTN_MATRIX_NONE;
    session->buffers = n_fences;
    session->io = make_io(t, session->plan);
    if (session->io.bounds)
        status =
            clattn_enqueue_bounds(session->plan, select_queue, &session->io, 0, t->a.kv_len, 0, NULL, NULL);
    return status;
}

clattn_status select_trial_step(struct select_trial *t, struct select_session *session)
{
    uint64_t bytes;
    const clattn_select_io *io = &session->io;
    ck_assert_int_eq(clattn_list_bytes(&t->list, &bytes), CLATTN_OK);
    memset(t->counters, 0, sizeof t->counters);
    write_input(io->q, t->q, tokens(t, false) * t->a.dim * (t->a.type_q ? 2 : 4));
    write_input(io->key_lengths, t->key_lengths, 4 * t->a.batch);
    write_input(io->counters, t->counters, 16);
    clattn_status status = clattn_enqueue_select(session->plan, select_queue, io, 0, NULL, NULL);
    if (bytes > 0)
        ck_assert_int_eq(
            clEnqueueReadBuffer(select_queue, io->list, CL_TRUE, 0, bytes, t->lists, 0, NULL, NULL),
            CL_SUCCESS);
    if (io->certified && list_count(t) > 0)
        ck_assert_int_eq(clEnqueueReadBuffer(select_queue, io->certified, CL_TRUE, 0,
                                             4 * (size_t)list_count(t), t->certified, 0, NULL, NULL),
                         CL_SUCCESS);
    if (io->counters)
        ck_assert_int_eq(
            clEnqueueReadBuffer(select_queue, io->counters, CL_TRUE, 0, 16, t->counters, 0, NULL, NULL),
            CL_SUCCESS);
    return status;
}

void select_trial_close(struct select_session *session)
{
    clFinish(select_queue);
    release_buffers(session->buffers);
    clattn_select_plan_destroy(session->plan);
}

clattn_status select_trial_run(struct select_trial *t)
{
    struct select_session session;
    clattn_status status = select_trial_open(t, &session);
    if (!session.plan)
        return status;
    if (!status)
        status = select_trial_step(t, &session);
    select_trial_close(&session);
    return status;
}

/* ---- the oracle ---- */
static struct ref_tensor tensor(const struct select_trial *t, bool of_k)
{
    const int64_t width = t->a.dim, heads = of_k ? t->a.kv_heads : t->a.heads;
    const bool packed = t->a.flags & CLATTN_PACKED;
    const int64_t length = packed ? (of_k ? t->a.kv_total : t->a.q_total) : of_k ? t->a.kv_len : t->a.q_len;
    struct ref_tensor made = {of_k ? t->k : t->q, of_k ? t->a.type_k : t->a.type_q, 0, packed ? 0 : heads * length * width,
                              length * width, width};
    return made;
}

struct ref_problem select_trial_problem(const struct select_trial *t)
{
    struct ref_problem p = {.batch = t->a.batch, .heads = t->a.heads, .kv_heads = t->a.kv_heads,
                            .q_len = t->a.q_len, .kv_len = t->a.kv_len, .dim = t->a.dim, .dim_v = 1,
                            .scale = t->a.scale != 0 ? t->a.scale : 1 / sqrt((double)t->a.dim),
                            .q = tensor(t, false), .k = tensor(t, true), .key_lengths = t->key_lengths,
                            .q_offsets = t->q_offsets, .k_offsets = t->k_offsets};
    p.rules.mask = t->mask;
    p.rules.bottom_right = t->a.pattern.corner == CLATTN_BOTTOM_RIGHT;
    return p;
}

struct ref_select select_trial_selection(const struct select_trial *t)
{
    static const int methods[] = {REF_TREE,           REF_STAGED, REF_MINMAX,   REF_POOL_MEAN,
                                  REF_EXTERNAL_SCORE, -1,         REF_STREAMING};
    static const int representatives[] = {REF_CENTER, REF_FIRST, REF_LAST};
    struct ref_select s = {.method = methods[t->s.method],
                           .representative = representatives[t->s.representative], .scope = t->s.scope,
                           .mean_rows = t->s.rows == CLATTN_ROWS_MEAN,
                           .arithmetic = select_ctx->facts.has_fma ? REF_FMA : REF_MULTIPLY_ADD,
                           .block_q = t->s.block_q, .stride_q = t->s.stride_q, .block_k = t->s.block_k,
                           .stride_k = t->s.stride_k, .budget = t->s.budget, .budget_mode = t->s.budget_mode,
                           .budget_value = t->s.budget_value, .sink = t->s.sink, .window = t->s.window,
                           .dense_below = t->s.dense_below, .n_stages = t->s.n_stages, .scores = t->scores,
                           .budgets = t->budgets, .rope = t->s.rope, .rope_positions = t->s.rope_positions,
                           .rope_cos = t->rope_cos, .rope_sin = t->rope_sin};
    for (int i = 0; i < s.n_stages; i++) {
        s.stages[i].chunk = t->s.stages[i].chunk;
        s.stages[i].keep = t->s.stages[i].keep;
    }
    return s;
}

static void compare(const struct select_trial *t, struct ref_list *wanted, const char *what)
{
    const struct ref_problem p = select_trial_problem(t);
    const struct ref_select s = select_trial_selection(t);
    const int32_t *counts = t->lists + t->list.counts_at / 4, *ids = t->lists + t->list.ids_at / 4;
    ck_assert_int_eq(t->list.capacity, wanted->capacity);
    for (int64_t r = 0; r < wanted->batch * wanted->scopes * wanted->q_blocks; r++) {
        ck_assert_msg(counts[r] == wanted->counts[r], "%s: list %d has %d blocks, not %d", what, (int)r,
                      (int)counts[r], (int)wanted->counts[r]);
        const size_t bytes = sizeof *ids * (size_t)wanted->capacity;
        const bool same = !memcmp(ids + r * wanted->capacity, wanted->ids + r * wanted->capacity, bytes);
        if (same || (t->rounds && ref_list_is_close(&p, &s, wanted, r)))
            continue;
        for (int64_t j = r * wanted->capacity; j < (r + 1) * wanted->capacity; j++)
            ck_assert_msg(ids[j] == wanted->ids[j], "%s: list %d, entry %d is %d, not %d", what, (int)r,
                          (int)(j - r * wanted->capacity), (int)ids[j], (int)wanted->ids[j]);
    }
}

void select_trial_check(struct select_trial *t, const char *what)
{
    char message[CLATTN__MESSAGE_SIZE], log[4096] = "";
    clattn_status status = select_trial_run(t);
    clattn_context_message(select_ctx, message, sizeof message);
    if (status == CLATTN_BUILD_FAILED)
        clattn_context_build_log(select_ctx, log, sizeof log);
    ck_assert_msg(status == CLATTN_OK, "%s: %s %s %s", what, clattn_status_name(status), message, log);
    const struct ref_problem p = select_trial_problem(t);
    const struct ref_select s = select_trial_selection(t);
    struct ref_list wanted = ref_list_make(&p, &s);
    compare(t, &wanted, what);
    ref_list_free(&wanted);
}

void select_trial_once(struct select_trial *t, bool whole, const char *what)
{
    select_trial_fill(t, whole);
    select_trial_check(t, what);
    select_trial_free(t);
}

/* ---- cases ---- */
void select_trial_edges(select_trial_maker *make, int32_t method, int64_t dim)
{
    static const int64_t lengths[] = {0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40};
    for (size_t n = 0; n < CLATTN__LEN(lengths); n++)
        for (int near = 0; near < 8; near++) {
            char what[80];
            struct select_trial t = make(method, 1 + (int64_t)n % 3, lengths[n], dim);
            t.s.block_k = 8;
            t.s.stride_k = 1;
            select_trial_method(&t, method, 16);
            t.s.sink = near & 1 ? 5 : near & 4 ? 100 : 0;
            t.s.window = near & 2 ? 11 : 0;
            snprintf(what, sizeof what, "method %d, %d keys, near %d", (int)method, (int)lengths[n], near);
            select_trial_once(&t, false, what);
        }
}

void select_trial_unprobed(select_trial_maker *make, int32_t method, int64_t dim)
{
    enum { KEYS = 200 };
    unsigned char probed[KEYS] = {0};
    int32_t ids[64];
    struct select_trial t = make(method, 4, KEYS, dim);
    t.a.heads = t.a.kv_heads = 1;
    t.s.block_k = t.s.stride_k = 2;
    select_trial_method(&t, method, 12);
    select_trial_fill(&t, false);
    const struct ref_problem p = select_trial_problem(&t);
    const struct ref_select s = select_trial_selection(&t);
    struct ref_trace trace = {.probed = probed};
    ref_select(&p, &s, 0, 0, 0, ids, &trace);
    int poisoned = 0;
    for (int64_t k = 0; k < KEYS; k++) {
        poisoned += !probed[k];
        for (int64_t d = 0; d < dim && !probed[k]; d++)
            select_trial_put(&t, true, dim * k + d, NAN);
    }
    ck_assert_int_ge(poisoned, KEYS / 4);
    ck_assert_int_eq(select_trial_run(&t), CLATTN_OK);
    ck_assert(!memcmp(t.lists + t.list.ids_at / 4, ids, sizeof *ids * (size_t)t.lists[t.list.counts_at / 4]));
    select_trial_free(&t);
}

/* Counters of two scopes and three query blocks against the oracle's. */
static void compare_counters(const struct select_trial *t)
{
    int64_t candidates = 0, dots = 0;
    const struct ref_problem p = select_trial_problem(t);
    const struct ref_select s = select_trial_selection(t);
    for (int64_t scope = 0; scope < 2; scope++)
        for (int64_t m = 0; m < 3; m++) {
            int32_t ids[64];
            struct ref_trace trace = {0};
            ref_select(&p, &s, 0, scope, m, ids, &trace);
            candidates += trace.candidates;
            dots += trace.dots;
        }
    ck_assert_int_eq((int64_t)t->counters[0], candidates);
    ck_assert_int_eq((int64_t)t->counters[1], dots);
}

void select_trial_probes(select_trial_maker *make, int32_t method, int64_t dim)
{
    struct select_trial t = make(method, 40, 333, dim);
    t.s.flags |= CLATTN_COUNT_PROBES;
    t.s.block_k = 4;
    t.s.stride_k = 2;
    select_trial_method(&t, method, 24);
    select_trial_fill(&t, false);
    select_trial_check(&t, "counted");
    compare_counters(&t);
    select_trial_free(&t);
}
