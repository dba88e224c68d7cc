/* SPDX-License-Identifier: MIT
 * check_refresh.c - decoding with lists of earlier steps: schedules, coverage, kept stages, late lists; named
 * after the acceptance tests of the specification. */
#include "tests/select_trial.h"
#include "tests/suite.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEN(array) ((int)CLATTN__LEN(array))
#define MOST_KEYS  1200

static clattn_refresh schedule(int stages, int a, int b, int c, uint32_t flags)
{
    clattn_refresh r = CLATTN_REFRESH_INIT;
    r.flags = flags;
    r.n_stages = stages;
    r.intervals[0] = a;
    r.intervals[1] = b;
    r.intervals[2] = c;
    return r;
}

/* ---- AT-21: when ---- */
static const int intervals[][3] = {{4, 2, 1}, {16, 8, 4}, {96, 24, 8}, {3, 7, 5}};

/* Where every step begins, by a sieve: later stages first, so that earlier ones write over them. */
static void sieve(int32_t table[200], const int of[3], int stages)
{
    for (int s = 0; s < 200; s++)
        table[s] = CLATTN_REUSE;
    for (int i = stages - 1; i >= 0; i--)
        for (int s = 0; s < 200; s += of[i])
            table[s] = i;
}

START_TEST(at_21_schedules)
{
    for (int stages = 1; stages <= 3; stages++) {
        const int *of = intervals[_i];
        const clattn_refresh r = schedule(stages, of[0], of[1], of[2], 0);
        clattn_refresh_state state = {0};
        clattn_refresh_report report;
        const clattn_select select = CLATTN_SELECT_INIT;
        int64_t began[CLATTN_MAX_STAGES + 1] = {0};
        int32_t wanted[200], start, age, length = 1000, at = 0, made = 0;
        sieve(wanted, of, stages);
        for (int s = 0; s < 200; s++, length++) {
            ck_assert_int_eq(clattn_refresh_step(&r, &state, 1, &length, &start, &age, NULL), CLATTN_OK);
            ck_assert_msg(start == wanted[s], "step %d begins at %d, not %d", s, start, wanted[s]);
            at = start == 0 ? s : at;
            made = start < CLATTN_REUSE ? s : made;
            began[start]++;
            ck_assert_int_eq(age, s - at);
            ck_assert_int_eq(clattn_refresh_describe(&state, &select, length, &report), CLATTN_OK);
            ck_assert(report.steps == s + 1 && report.age == s - at && report.list_age == s - made);
        }
        ck_assert_mem_eq(report.began, began, sizeof began);
    }
}
END_TEST

/* Sequences that begin later, move to another place, and begin anew. */
START_TEST(at_21_each_sequence_counts_for_itself)
{
    enum { N = 7 };
    const int *of = intervals[_i];
    const clattn_refresh r = schedule(3, of[0], of[1], of[2], 0);
    clattn_refresh_state states[N] = {{0}};
    int32_t wanted[200], starts[N], ages[N], lengths[N] = {0};
    int began[N] = {0};
    sieve(wanted, of, 3);
    for (int s = 0; s < 200; s++) {
        const int b = (int)select_below(N), other = (int)select_below(N);
        if (select_below(9) == 0) {
            states[b] = (clattn_refresh_state){0};
            began[b] = s;
        } else if (select_below(9) == 0) {
            states[b] = states[other];
            began[b] = began[other];
        }
        ck_assert_int_eq(clattn_refresh_step(&r, states, N, lengths, starts, ages, NULL), CLATTN_OK);
        for (int i = 0; i < N; i++)
            ck_assert_int_eq(starts[i], wanted[s - began[i]]);
    }
}
END_TEST

START_TEST(mistakes)
{
    char text[200];
    clattn_refresh_state state = {0}, before = {0};
    int32_t start = 9, age = 9, length = 5, wrong = -1;
    clattn_select select = CLATTN_SELECT_INIT;
    const struct {
        clattn_refresh r;
        clattn_status status;
        const char *words;
    } cases[] = {{schedule(1, 4, 0, 0, 0), CLATTN_OK, ""},
                 {schedule(1, 0, 0, 0, 0), CLATTN_BAD_COUNT, "intervals[0] is 0"},
                 {schedule(3, 4, -2, 1, 0), CLATTN_BAD_COUNT, "intervals[1] is -2"},
                 {schedule(0, 4, 2, 1, 0), CLATTN_BAD_COUNT, "n_stages is 0"},
                 {schedule(5, 4, 2, 1, 0), CLATTN_BAD_COUNT, "n_stages is 5"},
                 {schedule(1, 4, 2, 1, 2), CLATTN_BAD_FLAGS, "flags is 0x2"},
                 {{0}, CLATTN_BAD_STRUCT_SIZE, "clattn_refresh.size is 0"}};
    for (int i = 0; i < LEN(cases); i++) {
        ck_assert_int_eq(clattn_refresh_check(&cases[i].r, &select, text, sizeof text), cases[i].status);
        ck_assert_ptr_nonnull(strstr(text, cases[i].words));
        if (i > 0)
            ck_assert_int_eq(clattn_refresh_step(&cases[i].r, &state, 1, &length, &start, &age, NULL),
                             cases[i].status);
    }
    const clattn_refresh three = schedule(3, 4, 2, 1, 0), late = schedule(1, 4, 0, 0, CLATTN_LATE_LISTS);
    ck_assert_int_eq(clattn_refresh_check(&three, &select, text, sizeof text), CLATTN_BAD_COUNT);
    ck_assert_ptr_nonnull(strstr(text, "n_stages is 3, and the selection has 1"));
    ck_assert_int_eq(clattn_refresh_check(NULL, &select, NULL, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_refresh_step(&three, &state, 1, &wrong, &start, &age, NULL), CLATTN_BAD_COUNT);
    ck_assert_int_eq(clattn_refresh_step(&three, &state, -1, &length, &start, &age, NULL), CLATTN_BAD_COUNT);
    ck_assert_int_eq(clattn_refresh_step(&three, NULL, 1, &length, &start, &age, NULL), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_refresh_step(&late, &state, 1, &length, &start, &age, NULL),
                     CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_refresh_step(&three, NULL, 0, NULL, NULL, NULL, NULL), CLATTN_OK);
    ck_assert_int_eq(clattn_refresh_invalidate(NULL, &select, 0), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_refresh_describe(&state, &select, 5, NULL), CLATTN_NULL_ARGUMENT);
    ck_assert(start == 9 && age == 9);
    ck_assert_mem_eq(&state, &before, sizeof state);
}
END_TEST

/* ---- AT-22: no key is in neither window nor candidates ---- */
/* One sequence, by brute force: which keys were candidates for the newest list, and for the one in use. */
struct walk {
    clattn_select select;
    clattn_refresh refresh;
    clattn_refresh_state state;
    int32_t length, rows, start, age, take;
    bool newest[MOST_KEYS], used[MOST_KEYS];
};

static bool is_near(const struct walk *w, int64_t q, int64_t k, int64_t age)
{
    return k < w->select.sink || q - k < w->select.window + age;
}

static void step_walk(struct walk *w)
{
    ck_assert_int_eq(clattn_refresh_step(&w->refresh, &w->state, 1, &w->length, &w->start, &w->age, &w->take),
                     CLATTN_OK);
    if (w->take == CLATTN_TAKE_BEFORE)
        memcpy(w->used, w->newest, sizeof w->used);
    for (int k = 0; w->start == 0 && k < MOST_KEYS; k++) {
        w->newest[k] = false;
        for (int q = w->length - w->rows; q < w->length; q++)
            w->newest[k] |= k <= q && !is_near(w, q, k, 0);
    }
    if (w->take == CLATTN_TAKE_AFTER || !(w->refresh.flags & CLATTN_LATE_LISTS))
        memcpy(w->used, w->newest, sizeof w->used);
}

/* Keys that a row sees and neither its window, grown by age, nor the candidates have. */
static int count_gap(const struct walk *w, int q, int64_t age)
{
    int gap = 0;
    for (int k = 0; k <= q; k++)
        gap += !is_near(w, q, k, age) && !w->used[k];
    return gap;
}

/* Tokens come by ones and more, and some are taken back. */
static void grow(struct walk *w)
{
    w->rows = 1 + (int32_t)select_below(4);
    w->length += w->rows;
    if (select_below(5) > 0)
        return;
    w->length -= (int32_t)select_below(w->rows);
    w->rows = 1;
    ck_assert_int_eq(clattn_refresh_invalidate(&w->state, &w->select, w->length), CLATTN_OK);
}

START_TEST(at_22_coverage)
{
    int gaps = 0;
    for (int n = 0; n < 12; n++) {
        const int *of = intervals[n % 4];
        struct walk w = {.select = CLATTN_SELECT_INIT, .length = (int32_t)select_below(60), .rows = 1};
        w.refresh = schedule(3, of[0], of[1], of[2], _i & 1 ? CLATTN_LATE_LISTS : 0);
        w.select.flags = _i & 2 ? CLATTN_GROW_WINDOW : 0;
        w.select.sink = n % 3 * 5;
        w.select.window = n % 5 * 8;
        for (int s = 0; s < 250; s++) {
            clattn_refresh_report report;
            grow(&w);
            step_walk(&w);
            for (int q = w.length - w.rows; q < w.length; q++)
                ck_assert_int_eq(count_gap(&w, q, w.age), 0);
            const int gap = count_gap(&w, w.length - 1, 0);
            ck_assert_int_eq(clattn_refresh_describe(&w.state, &w.select, w.length, &report), CLATTN_OK);
            ck_assert_int_eq(report.uncovered, _i & 2 ? 0 : gap);
            gaps += gap > 0;
        }
    }
    ck_assert_int_ge(gaps, 500);
}
END_TEST

/* Keys that no list depends on may change, others not. */
START_TEST(at_22_changed_keys)
{
    const clattn_refresh r = schedule(1, 8, 0, 0, 0);
    clattn_select select = CLATTN_SELECT_INIT;
    for (int64_t first = 740; first <= 750; first++) {
        clattn_refresh_state state = {0};
        int32_t length = 1000, start, age;
        for (int s = 0; s < 3; s++, length++)
            ck_assert_int_eq(clattn_refresh_step(&r, &state, 1, &length, &start, &age, NULL), CLATTN_OK);
        ck_assert_int_eq(clattn_refresh_invalidate(&state, &select, first), CLATTN_OK);
        ck_assert_int_eq(clattn_refresh_step(&r, &state, 1, &length, &start, &age, NULL), CLATTN_OK);
        ck_assert_int_eq(start, first < 1000 - 256 ? 0 : CLATTN_REUSE); /* the last candidate is key 743 */
        ck_assert_int_eq(age, start == 0 ? 0 : 3);
        ck_assert_int_eq(clattn_refresh_step(&r, &state, 1, &length, &start, &age, NULL), CLATTN_OK);
        ck_assert_int_eq(start, CLATTN_REUSE);
    }
}
END_TEST

/* ---- AT-32: while a sequence is short ---- */
/* Nothing begins below the threshold, stage 0 at it and whenever it is reached again, with late lists too. */
START_TEST(at_32_short_sequences)
{
    clattn_refresh r = schedule(3, 16, 8, 4, _i ? CLATTN_LATE_LISTS : 0);
    clattn_select select = CLATTN_SELECT_INIT;
    clattn_refresh_state state = {0};
    clattn_refresh_report report;
    char text[200];
    select.method = CLATTN_STAGED;
    select.n_stages = 3;
    select.dense_below = 1000;
    ck_assert_int_eq(clattn_refresh_check(&r, &select, text, sizeof text), CLATTN_BAD_COUNT);
    ck_assert_msg(strstr(text, "dense_below is 0, and the selection's is 1000") != NULL, "%s", text);
    r.dense_below = 1000;
    ck_assert_int_eq(clattn_refresh_check(&r, &select, text, sizeof text), CLATTN_OK);
    for (int n = 0; n < 60; n++) { /* 990 to 1019, then drafts are taken back: 995 to 1024 */
        int32_t length = n < 30 ? 990 + n : 965 + n, start, age, take;
        ck_assert_int_eq(clattn_refresh_step(&r, &state, 1, &length, &start, &age, &take), CLATTN_OK);
        ck_assert_int_eq(clattn_refresh_describe(&state, &select, length, &report), CLATTN_OK);
        if (length < 1000)
            ck_assert(start == CLATTN_REUSE && age == 0 && take == 0 && report.age == 0 &&
                      report.uncovered == 0);
        else if (length == 1000)
            ck_assert(start == 0 && age == 0 && take == (_i ? CLATTN_TAKE_AFTER : 0));
        else
            ck_assert_int_eq(start, n % 16 == 0 ? 0 : n % 8 == 0 ? 1 : n % 4 == 0 ? 2 : CLATTN_REUSE);
    }
    r.dense_below = -1;
    ck_assert_int_eq(clattn_refresh_check(&r, &select, text, sizeof text), CLATTN_BAD_COUNT);
}
END_TEST

/* ---- sequences on the device ---- */
#define MOST_ENTRIES 70

/* A batch of growing sequences, and by the oracle what each list has to be. */
struct decoder {
    struct select_trial t;
    struct select_session session;
    clattn_refresh refresh;
    clattn_refresh_state states[MOST_ENTRIES];
    int32_t starts[MOST_ENTRIES], ages[MOST_ENTRIES], takes[MOST_ENTRIES];
    struct ref_stages stages[MOST_ENTRIES * 4];
    int32_t *wanted; /* as t.lists */
    size_t bytes;
};

static void open_decoder(struct decoder *d, int batch, const char *mask, int32_t method, uint32_t flags)
{
    uint64_t bytes;
    struct select_trial *t = &d->t;
    memset(d, 0, sizeof *d);
    *t = select_trial_new(4, 2, 2, 400, 3);
    t->a.batch = batch;
    t->a.flags |= CLATTN_KEY_LENGTHS;
    t->key_lengths = calloc((size_t)batch, sizeof *t->key_lengths);
    for (int b = 0; b < batch; b++)
        t->key_lengths[b] = (int32_t)(100 + select_below(200));
    select_trial_mask(t, mask, CLATTN_BOTTOM_RIGHT);
    t->s.flags = flags;
    t->s.block_q = 2;
    t->s.stride_q = 1;
    t->s.block_k = 4;
    t->s.sink = 3;
    t->s.window = 20;
    select_trial_method(t, method, 20);
    select_trial_fill(t, false);
    ck_assert_int_eq(clattn_list_bytes(&t->list, &bytes), CLATTN_OK);
    d->bytes = bytes;
    d->wanted = calloc(1, bytes);
    d->refresh = method == CLATTN_STAGED ? schedule(3, 8, 4, 2, 0) : schedule(1, 3, 0, 0, 0);
    ck_assert_int_eq(select_trial_open(t, &d->session), CLATTN_OK);
}

static void close_decoder(struct decoder *d)
{
    select_trial_close(&d->session);
    for (int i = 0; i < LEN(d->stages); i++)
        ref_stages_free(&d->stages[i]);
    free(d->wanted);
    select_trial_free(&d->t);
}

/* New queries, a token or two more. */
static void feed(struct decoder *d)
{
    for (int64_t i = 0; i < d->t.a.batch * 4 * 2 * 3; i++)
        select_trial_put(&d->t, false, i, (double)select_below(1 << 24) / (1 << 22) - 2.0);
    for (int b = 0; b < d->t.a.batch; b++)
        d->t.key_lengths[b] += 1 + (int32_t)select_below(2);
}

static void by_schedule(struct decoder *d)
{
    ck_assert_int_eq(clattn_refresh_step(&d->refresh, d->states, d->t.a.batch, d->t.key_lengths, d->starts,
                                         d->ages, d->takes),
                     CLATTN_OK);
}

/* What the starts ask for, by the oracle: the lists of entries that reuse theirs stay. */
static void ask_oracle(struct decoder *d)
{
    const struct ref_problem p = select_trial_problem(&d->t);
    const struct ref_select s = select_trial_selection(&d->t);
    const clattn_list *l = &d->t.list;
    for (int64_t r = 0; r < l->batch * l->scopes; r++) { /* one query block */
        const int start = d->starts[r / l->scopes];
        int32_t *ids = d->wanted + l->ids_at / 4 + r * l->capacity;
        if (start == CLATTN_REUSE)
            continue;
        const int64_t n = ref_select_from(&p, &s, r / l->scopes, r % l->scopes, 0, start, &d->stages[r], ids);
        d->wanted[l->counts_at / 4 + r] = (int32_t)n;
        for (int64_t j = n; j < l->capacity; j++)
            ids[j] = -1;
    }
}

static void compare(const struct decoder *d, const int32_t *wanted, const char *what, int step)
{
    const clattn_list *l = &d->t.list;
    const int64_t lists = l->batch * l->scopes;
    for (int64_t i = 0; i < lists * (1 + l->capacity); i++) {
        const int64_t at = i < lists ? l->counts_at / 4 + i : l->ids_at / 4 + i - lists;
        ck_assert_msg(d->t.lists[at] == wanted[at], "%s, step %d: number %d is %d, not %d", what, step,
                      (int)i, (int)d->t.lists[at], (int)wanted[at]);
    }
}

static void step_decoder(struct decoder *d, const char *what, int step)
{
    d->session.io.starts = d->starts;
    ck_assert_int_eq(select_trial_step(&d->t, &d->session), CLATTN_OK);
    ask_oracle(d);
    compare(d, d->wanted, what, step);
}

/* A mask with holes, that moves along and differs by head. */
static const char moving[] = "k <= q & q - k < 150 & (k + h) // 20 % 3 != 0";

/* Sequences that begin at different steps; groups of many items once. */
START_TEST(at_21_kept_stages)
{
    static const char *const masks[] = {"k <= q", moving, "k <= q"};
    struct decoder d;
    if (_i == 2) {
        select_ctx->facts.type = CL_DEVICE_TYPE_GPU;
        select_ctx->facts.largest_group = 16;
    }
    open_decoder(&d, 5, masks[_i], CLATTN_STAGED, CLATTN_KEEP_STAGES);
    for (int s = 0; s < 24; s++) {
        feed(&d);
        if (s % 3 == 0 && s < 15)
            d.states[s / 3] = (clattn_refresh_state){0};
        by_schedule(&d);
        step_decoder(&d, masks[_i], s);
    }
    close_decoder(&d);
}
END_TEST

/* More entries than a launch has bits for, beginning anywhere. */
START_TEST(at_21_any_starts)
{
    static const int32_t methods[] = {CLATTN_STAGED, CLATTN_TREE};
    struct decoder d;
    open_decoder(&d, MOST_ENTRIES, "k <= q", methods[_i], CLATTN_KEEP_STAGES);
    for (int s = 0; s < 4; s++) {
        feed(&d);
        for (int b = 0; b < MOST_ENTRIES; b++) {
            const int start = (int)select_below(4);
            d.starts[b] = s == 0 ? 0 : start == 3 || (_i && start) ? CLATTN_REUSE : start;
        }
        step_decoder(&d, "any starts", s);
    }
    for (int b = 0; b < MOST_ENTRIES; b++)
        d.starts[b] = CLATTN_REUSE;
    step_decoder(&d, "none", 4);
    close_decoder(&d);
}
END_TEST

/* What is kept is anybody's memory: lists are wrong then, and their counts in range. */
START_TEST(at_21_nothing_kept)
{
    struct decoder d;
    open_decoder(&d, 5, _i ? moving : "k <= q", CLATTN_STAGED, CLATTN_KEEP_STAGES);
    uint64_t bytes;
    ck_assert_int_eq(clattn_select_kept_size(d.session.plan, &bytes), CLATTN_OK);
    int32_t *junk = malloc(bytes);
    for (int s = 0; s < 12; s++) {
        for (uint64_t i = 0; i < bytes / 4; i++)
            junk[i] = s == 0   ? -1
                      : s == 1 ? INT32_MAX
                               : (int32_t)((uint64_t)select_below((int64_t)1 << 32) >> select_below(32));
        ck_assert_int_eq(
            clEnqueueWriteBuffer(select_queue, d.session.io.kept, CL_TRUE, 0, bytes, junk, 0, NULL, NULL),
            CL_SUCCESS);
        for (int b = 0; b < 5; b++)
            d.starts[b] = 1 + s % 2;
        d.session.io.starts = d.starts;
        ck_assert_int_eq(select_trial_step(&d.t, &d.session), CLATTN_OK);
        for (int64_t r = 0; r < 10; r++)
            ck_assert(d.t.lists[d.t.list.counts_at / 4 + r] >= 0 &&
                      d.t.lists[d.t.list.counts_at / 4 + r] <= d.t.list.capacity);
    }
    free(junk);
    close_decoder(&d);
}
END_TEST

START_TEST(wrong_starts_and_buffers)
{
    struct decoder d;
    open_decoder(&d, 5, "k <= q", CLATTN_STAGED, CLATTN_KEEP_STAGES);
    d.session.io.starts = d.starts;
    d.starts[3] = 3;
    ck_assert_int_eq(select_trial_step(&d.t, &d.session), CLATTN_BAD_COUNT);
    d.starts[3] = -1;
    ck_assert_int_eq(select_trial_step(&d.t, &d.session), CLATTN_BAD_COUNT);
    d.starts[3] = 2;
    d.session.io.kept_offset = 4;
    ck_assert_int_eq(select_trial_step(&d.t, &d.session), CLATTN_KEPT_TOO_SMALL);
    d.session.io.kept_offset = 2;
    ck_assert_int_eq(select_trial_step(&d.t, &d.session), CLATTN_BAD_OFFSET);
    d.session.io.kept_offset = 0;
    cl_mem kept = d.session.io.kept;
    d.session.io.kept = NULL;
    ck_assert_int_eq(select_trial_step(&d.t, &d.session), CLATTN_NULL_BUFFER);
    d.session.io.kept = kept;
    close_decoder(&d);
    open_decoder(&d, 5, "k <= q", CLATTN_STAGED, 0);
    d.session.io.starts = d.starts;
    d.starts[0] = 1;
    ck_assert_int_eq(select_trial_step(&d.t, &d.session), CLATTN_BAD_COUNT);
    close_decoder(&d);
}
END_TEST

/* ---- attention over lists of earlier steps; values are the keys ---- */
static cl_mem make(const void *data, size_t bytes)
{
    cl_int code;
    cl_mem mem = clCreateBuffer(select_ctx->cl, CL_MEM_READ_WRITE | (data ? CL_MEM_COPY_HOST_PTR : 0), bytes,
                                (void *)(uintptr_t)data, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return mem;
}

/* Before a trial's attention reads its q from the last of q_len rows alone. */
static void take_last_row(clattn_attention *a)
{
    const int64_t row = a->dim, head = a->q_len * row;
    a->q = (clattn_layout){.offset = head - row, .batch = a->heads * head, .head = head, .token = row};
    a->q_len = 1;
}

/* A trial's attention, by an engine whose sums do not depend on what is left out. */
static void attend(const struct select_trial *t, const clattn_select_io *from, const int32_t *ages,
                   bool pruned, float *o)
{
    clattn_plan *plan;
    clattn_attention a = t->a;
    clattn_io io = CLATTN_IO_INIT;
    const size_t bytes = (size_t)(a.batch * a.heads * a.q_len * a.dim) * sizeof *o;
    a.dim_v = a.dim;
    a.flags &= ~CLATTN_CALLER_WORKSPACE;
    strcpy(a.engine, "portable");
    io.q = from->q;
    io.k = io.v = from->k;
    io.key_lengths = from->key_lengths;
    io.o = make(NULL, bytes);
    if (pruned) {
        a.pattern = clattn_both(a.pattern, clattn_selected(&t->s, CLATTN_BOTTOM_RIGHT));
        a.list = t->list;
        io.list = from->list;
    }
    if (pruned && t->s.flags & CLATTN_GROW_WINDOW) {
        a.arrays[a.n_arrays++] = (clattn_array){"age", CLATTN_I32, 1, {a.batch}};
        io.arrays[0] = make(ages, 4 * (size_t)a.batch);
    }
    ck_assert_int_eq(clattn_plan_create(&plan, select_ctx, &a), CLATTN_OK);
    ck_assert_int_eq(clattn_enqueue_forward(plan, select_queue, &io, 0, NULL, NULL), CLATTN_OK);
    ck_assert_int_eq(clEnqueueReadBuffer(select_queue, io.o, CL_TRUE, 0, bytes, o, 0, NULL, NULL),
                     CL_SUCCESS);
    clReleaseMemObject(io.o);
    if (io.arrays[0])
        clReleaseMemObject(io.arrays[0]);
    clattn_plan_destroy(plan);
}

/* A list of all candidates is dense attention as long as the window grows, and no longer without. */
START_TEST(at_22_attention_reads_every_key)
{
    struct decoder d;
    float dense[5 * 4 * 2 * 3], pruned[5 * 4 * 2 * 3];
    int differ = 0;
    open_decoder(&d, 5, "k <= q", CLATTN_TREE, CLATTN_GROW_WINDOW);
    select_trial_close(&d.session);
    d.t.s.budget = 400;
    d.t.s.flags = _i ? CLATTN_GROW_WINDOW : 0;
    free(d.t.lists);
    ck_assert_int_eq(clattn_select_list(&d.t.list, &d.t.s, &d.t.a), CLATTN_OK);
    uint64_t bytes;
    ck_assert_int_eq(clattn_list_bytes(&d.t.list, &bytes), CLATTN_OK);
    d.t.lists = calloc(1, bytes);
    ck_assert_int_eq(select_trial_open(&d.t, &d.session), CLATTN_OK);
    d.session.io.starts = d.starts;
    for (int s = 0; s < 6; s++) {
        feed(&d);
        if (s < 3)
            d.states[s] = (clattn_refresh_state){0};
        by_schedule(&d);
        ck_assert_int_eq(select_trial_step(&d.t, &d.session), CLATTN_OK);
        attend(&d.t, &d.session.io, d.ages, false, dense);
        attend(&d.t, &d.session.io, d.ages, true, pruned);
        differ += memcmp(dense, pruned, sizeof dense) != 0;
    }
    ck_assert(_i ? differ == 0 : differ > 0);
    close_decoder(&d);
}
END_TEST

/* ---- AT-23 ---- */
START_TEST(at_23_refresh_of_one_is_no_cache)
{
    struct decoder d;
    struct select_session plain;
    int32_t *kept_lists;
    open_decoder(&d, 5, "k <= q", CLATTN_STAGED, CLATTN_KEEP_STAGES);
    d.refresh = schedule(3, 1, 1, 1, 0);
    kept_lists = malloc(d.bytes);
    d.t.s.flags = 0;
    ck_assert_int_eq(select_trial_open(&d.t, &plain), CLATTN_OK);
    for (int s = 0; s < 6; s++) {
        feed(&d);
        by_schedule(&d);
        d.session.io.starts = d.starts;
        ck_assert_int_eq(select_trial_step(&d.t, &d.session), CLATTN_OK);
        memcpy(kept_lists, d.t.lists, d.bytes);
        ck_assert_int_eq(select_trial_step(&d.t, &plain), CLATTN_OK);
        compare(&d, kept_lists, "refresh of one", s);
        for (int b = 0; b < 5; b++)
            ck_assert(d.starts[b] == 0 && d.ages[b] == 0);
    }
    select_trial_close(&plain);
    free(kept_lists);
    close_decoder(&d);
}
END_TEST

/* Rows of a prefill, each with a list of its own, and the same rows one by one. */
START_TEST(at_23_prefill_then_decode)
{
    static const int32_t methods[] = {CLATTN_TREE, CLATTN_STAGED};
    enum { ROWS = 12, KEYS = 300 };
    struct select_trial t = select_trial_new(4, 2, ROWS, KEYS, 3), one = select_trial_new(4, 2, 1, KEYS, 3);
    struct select_trial *both[] = {&t, &one};
    struct select_session session;
    float of_rows[4 * ROWS * 3], of_row[4 * 3];
    for (int i = 0; i < 2; i++) {
        both[i]->s.block_q = both[i]->s.stride_q = 1;
        both[i]->s.block_k = 4;
        both[i]->s.sink = 3;
        both[i]->s.window = 20;
        both[i]->a.flags |= CLATTN_KEY_LENGTHS; /* of both, so that they share programs */
        both[i]->key_lengths = calloc(1, sizeof(int32_t));
        select_trial_method(both[i], methods[_i], 24);
    }
    t.key_lengths[0] = KEYS;
    select_trial_fill(&t, false);
    select_trial_fill(&one, false);
    memcpy(one.k, t.k, 2 * KEYS * 3 * sizeof(float));
    ck_assert_int_eq(select_trial_open(&t, &session), CLATTN_OK);
    ck_assert_int_eq(select_trial_step(&t, &session), CLATTN_OK);
    attend(&t, &session.io, NULL, true, of_rows);
    select_trial_close(&session);
    ck_assert_int_eq(select_trial_open(&one, &session), CLATTN_OK);
    for (int i = 0; i < ROWS; i++) {
        one.key_lengths[0] = KEYS - ROWS + 1 + i;
        for (int h = 0; h < 4; h++)
            memcpy((float *)one.q + 3 * h, (float *)t.q + 3 * (h * ROWS + i), 3 * sizeof(float));
        ck_assert_int_eq(select_trial_step(&one, &session), CLATTN_OK);
        attend(&one, &session.io, NULL, true, of_row);
        for (int h = 0; h < 4; h++)
            ck_assert_mem_eq(of_row + 3 * h, of_rows + 3 * (h * ROWS + i), 3 * sizeof(float));
        for (int u = 0; u < 2; u++)
            ck_assert_mem_eq(one.lists + one.list.ids_at / 4 + u * one.list.capacity,
                             t.lists + t.list.ids_at / 4 + (u * ROWS + i) * t.list.capacity,
                             4 * (size_t)t.list.capacity);
    }
    select_trial_close(&session);
    select_trial_free(&t);
    select_trial_free(&one);
}
END_TEST

/* ---- AT-24 ---- */
static void read_lists(struct decoder *d, cl_mem lists)
{
    ck_assert_int_eq(
        clEnqueueReadBuffer(select_queue, lists, CL_TRUE, 0, d->bytes, d->t.lists, 0, NULL, NULL),
        CL_SUCCESS);
}

static void take(struct decoder *d, cl_mem used, int32_t when)
{
    cl_event event;
    ck_assert_int_eq(clattn_enqueue_list_copy(select_ctx, select_queue, &d->t.list, d->session.io.list, used,
                                              d->takes, when, 0, NULL, &event),
                     CLATTN_OK);
    clReleaseEvent(event);
}

/* The lists of an entry go from one buffer's contents to another's. */
static void copy_entry(const struct decoder *d, int b, int32_t *to, const int32_t *from)
{
    const clattn_list *l = &d->t.list;
    const int64_t ids = l->ids_at / 4 + b * l->scopes * l->capacity;
    memcpy(to + l->counts_at / 4 + b * l->scopes, from + l->counts_at / 4 + b * l->scopes,
           4 * (size_t)l->scopes);
    memcpy(to + ids, from + ids, 4 * (size_t)(l->scopes * l->capacity));
}

START_TEST(at_24_late_lists)
{
    struct decoder d;
    cl_int code;
    open_decoder(&d, 5, "k <= q", CLATTN_STAGED, CLATTN_KEEP_STAGES);
    d.refresh.flags = _i ? CLATTN_LATE_LISTS : 0;
    cl_mem used = clCreateBuffer(select_ctx->cl, CL_MEM_READ_WRITE, d.bytes, NULL, &code);
    int32_t *latest = calloc(1, d.bytes),
            *before = calloc(1, d.bytes); /* of the last refresh's query, and of that before */
    for (int s = 0; s < 24; s++) {
        feed(&d);
        if (s % 4 == 0 && s < 20)
            d.states[s / 4] = (clattn_refresh_state){0};
        by_schedule(&d);
        take(&d, used, CLATTN_TAKE_BEFORE);
        step_decoder(&d, "made", s);
        take(&d, used, CLATTN_TAKE_AFTER);
        for (int b = 0; b < 5; b++) {
            const bool begins = d.states[b].steps == 1;
            if (d.starts[b] < CLATTN_REUSE)
                copy_entry(&d, b, before, begins ? d.wanted : latest);
            copy_entry(&d, b, latest, d.wanted);
            ck_assert_int_eq(d.takes[b], !_i || d.starts[b] == CLATTN_REUSE ? 0
                                         : begins                           ? CLATTN_TAKE_AFTER
                                                                            : CLATTN_TAKE_BEFORE);
        }
        if (_i) {
            read_lists(&d, used);
            compare(&d, before, "used", s);
        }
    }
    clReleaseMemObject(used);
    free(latest);
    free(before);
    close_decoder(&d);
}
END_TEST

START_TEST(wrong_copies)
{
    struct decoder d;
    cl_int code;
    open_decoder(&d, 5, "k <= q", CLATTN_STAGED, 0);
    cl_mem lists = d.session.io.list,
           small = clCreateBuffer(select_ctx->cl, CL_MEM_READ_WRITE, d.bytes - 4, NULL, &code);
    clattn_list wrong = d.t.list;
    wrong.size--;
    ck_assert_int_eq(
        clattn_enqueue_list_copy(select_ctx, select_queue, &d.t.list, lists, lists, NULL, 0, 0, NULL, NULL),
        CLATTN_OUTPUT_ALIASES_INPUT);
    ck_assert_int_eq(
        clattn_enqueue_list_copy(select_ctx, select_queue, &d.t.list, lists, small, NULL, 0, 0, NULL, NULL),
        CLATTN_LIST_TOO_SMALL);
    ck_assert_int_eq(
        clattn_enqueue_list_copy(select_ctx, select_queue, &d.t.list, NULL, lists, NULL, 0, 0, NULL, NULL),
        CLATTN_NULL_BUFFER);
    ck_assert_int_eq(
        clattn_enqueue_list_copy(select_ctx, select_queue, &wrong, small, lists, NULL, 0, 0, NULL, NULL),
        CLATTN_BAD_STRUCT_SIZE);
    clReleaseMemObject(small);
    close_decoder(&d);
}
END_TEST

/* A list of the last eight queries is that of the block of a prefill that they are, and what the last one
 * alone reads by it is what it read among them. */
START_TEST(query_history)
{
    enum { N = 8, KEYS = 200, HEADS = 4, DIM = 3 };
    struct select_trial all = select_trial_new(HEADS, 2, KEYS, KEYS, DIM),
                        last = select_trial_new(HEADS, 2, N, KEYS, DIM);
    struct select_session session;
    float of_eight[HEADS * N * DIM], of_one[HEADS * DIM];
    draw_selection(&all, _i ? CLATTN_STAGED : CLATTN_TREE);
    all.s.block_q = N;
    all.s.scope = CLATTN_SCOPE_HEAD;
    last.s = all.s;
    select_trial_fill(&all, false);
    select_trial_fill(&last, false);
    memcpy(last.k, all.k, sizeof(float) * 2 * KEYS * DIM);
    for (int h = 0; h < HEADS; h++)
        memcpy((float *)last.q + h * N * DIM, (float *)all.q + ((h + 1) * KEYS - N) * DIM,
               sizeof(float) * N * DIM);
    select_trial_check(&all, "prefill");
    ck_assert_int_eq(select_trial_open(&last, &session), CLATTN_OK);
    ck_assert_int_eq(select_trial_step(&last, &session), CLATTN_OK);
    const size_t blocks = (size_t)last.list.capacity, q_blocks = (size_t)all.list.q_blocks;
    for (size_t h = 0; h < HEADS; h++)
        ck_assert_mem_eq(last.lists + last.list.ids_at / 4 + h * blocks,
                         all.lists + all.list.ids_at / 4 + ((h + 1) * q_blocks - 1) * blocks,
                         sizeof(int32_t) * blocks);
    attend(&last, &session.io, NULL, true, of_eight);
    take_last_row(&last.a);
    attend(&last, &session.io, NULL, true, of_one);
    for (int h = 0; h < HEADS; h++)
        ck_assert_mem_eq(of_one + h * DIM, of_eight + ((h + 1) * N - 1) * DIM, sizeof(float) * DIM);
    select_trial_close(&session);
    select_trial_free(&all);
    select_trial_free(&last);
}
END_TEST

/* Of a sequence that is shorter, what stands where its earlier queries would does not matter. */
START_TEST(short_query_history)
{
    struct select_trial t = select_trial_new(4, 2, 8, 5, 3);
    t.s.block_q = 8;
    t.s.stride_q = t.s.block_k = t.s.stride_k = 1;
    select_trial_method(&t, _i ? CLATTN_STAGED : CLATTN_TREE, 2);
    select_trial_fill(&t, false);
    for (int i = 0; i < 4 * 8 * 3; i++)
        if (i / 3 % 8 < 3)
            ((float *)t.q)[i] = NAN;
    select_trial_check(&t, "short");
    for (int r = 0; r < 2; r++)
        ck_assert_int_eq(t.lists[t.list.counts_at / 4 + r], 2);
    select_trial_free(&t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("refresh");
    TCase *host = tcase_create("host"), *device = tcase_create("device");
    tcase_add_checked_fixture(device, select_trial_set_up, select_trial_tear_down);
    tcase_add_loop_test(host, at_21_schedules, 0, LEN(intervals));
    tcase_add_loop_test(host, at_21_each_sequence_counts_for_itself, 0, LEN(intervals));
    tcase_add_test(host, mistakes);
    tcase_add_loop_test(host, at_22_coverage, 0, 4);
    tcase_add_test(host, at_22_changed_keys);
    tcase_add_loop_test(host, at_32_short_sequences, 0, 2);
    tcase_add_loop_test(device, at_21_kept_stages, 0, 3);
    tcase_add_loop_test(device, at_21_any_starts, 0, 2);
    tcase_add_loop_test(device, at_21_nothing_kept, 0, 2);
    tcase_add_test(device, wrong_starts_and_buffers);
    tcase_add_test(device, at_23_refresh_of_one_is_no_cache);
    tcase_add_loop_test(device, at_23_prefill_then_decode, 0, 2);
    tcase_add_loop_test(device, at_24_late_lists, 0, 2);
    tcase_add_test(device, wrong_copies);
    tcase_add_loop_test(device, at_22_attention_reads_every_key, 0, 2);
    TCase *history = tcase_create("history");
    tcase_add_checked_fixture(history, select_trial_set_up, select_trial_tear_down);
    tcase_add_loop_test(history, query_history, 0, 2);
    tcase_add_loop_test(history, short_query_history, 0, 2);
    suite_add_tcase(suite, host);
    suite_add_tcase(suite, history);
    suite_add_tcase(suite, device);
    return run_suite(suite);
}
