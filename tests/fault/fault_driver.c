/* SPDX-License-Identifier: MIT
 * fault_driver.c - every OpenCL call of every stage of the library fails in turn; nothing may crash, leak or
 * lie.
 *
 * Use: OPENCL_LAYERS=LAYER fault_driver LAYER once|forever CODE CACHE
 *     CACHE is "off", or a folder that holds compiled programs.
 *
 * A stage is one call of the library.  For n = 1, 2, ... the nth OpenCL call inside it fails (once: only that
 * one; forever: all from it on) until a run in which nothing was left to fail.  Each time: a failure must
 * come with its status, sentence and OpenCL code, and no object; a success must give right numbers; the
 * objects alive are as many as before; and the same call succeeds, with right numbers, when the fault is
 * gone. */
#include "fault.h"

#include <clattn.h>
#include <dlfcn.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEADS = 2, ROWS = 3, KEYS = 300, DIM = 8, DIM_V = 5, PARTS = 3 };
enum {
    N_Q = HEADS * ROWS * DIM,
    N_K = KEYS * DIM,
    N_V = KEYS * DIM_V,
    N_O = HEADS * ROWS * DIM_V,
    N_LSE = HEADS * ROWS
};
enum { MOST_LISTS = 256 }; /* ints of all lists, and of their certificates */
enum { STAGED, CERTIFIED, SELECTIONS };
enum { MOST_CALLS = 5000, SECONDS_EACH = 60 };

static const struct fault_control *fault;
static const char *cache;
static int failure_code;
static int forever;
static long injections, absorbed, refused, mistakes;

struct fixture {
    clattn_context *ctx;
    cl_command_queue queue;
    cl_mem q, k, v, o, lse, valid, part_o, part_lse, merged;
    cl_event gate;                      /* complete; stands in wait lists */
    clattn_plan *split, *whole, *guest; /* guest: its callers bring the workspace */
    clattn_merge_plan *merge;
    clattn_select_plan *select[SELECTIONS];
    clattn_list list; /* the shape of both */
    cl_mem lists, bounds, certified;
    int32_t host_lists[MOST_LISTS], expected_lists[SELECTIONS][MOST_LISTS];
    float host_q[N_Q], host_k[N_K], host_v[N_V], host_o[N_O], host_lse[N_LSE];
    double expected[N_O], expected_lse[N_LSE];
    int32_t valid_keys;
    /* what the stage under test makes */
    clattn_context *new_ctx;
    clattn_plan *new_plan;
    clattn_merge_plan *new_merge;
    clattn_delta_plan *delta, *new_delta;
    clattn_extend_plan *extend, *new_extend;
    float extended[N_O];
    cl_event event;
};

static void complain(const char *stage, long n, const char *call, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void complain(const char *stage, long n, const char *call, const char *fmt, ...)
{
    va_list args;
    mistakes++;
    printf("MISTAKE %s, call %ld (%s) fails with %d %s: ", stage, n, call ? call : "-", failure_code,
           forever ? "for good" : "once");
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
}

static void must(bool condition, const char *what)
{
    if (condition)
        return;
    printf("fault_driver: %s\n", what);
    exit(2);
}

/* ---- the problem and its answer ---- */

static void describe(clattn_attention *a, int64_t splits)
{
    *a = (clattn_attention)CLATTN_ATTENTION_INIT;
    a->heads = HEADS;
    a->q_len = ROWS;
    a->kv_len = KEYS;
    a->dim = DIM;
    a->dim_v = DIM_V;
    a->splits = splits;
    a->flags = CLATTN_WANT_LSE;
    a->n_arrays = 1;
    strcpy(a->arrays[0].name, "valid");
    a->arrays[0].type = CLATTN_I32;
    a->arrays[0].n_dims = 1;
    a->arrays[0].dims[0] = 1;
    a->pattern = clattn_both(clattn_causal(CLATTN_BOTTOM_RIGHT), clattn_valid_keys("valid"));
    /* always: it wants a table */
    a->pattern = clattn_both(a->pattern, clattn_mask("valid[k] > 0", CLATTN_NO_CORNER));
}

static float sample(uint32_t index)
{
    uint32_t hash = index * 2654435761u;
    hash ^= hash >> 15;
    return (float)((int)(hash % 2001) - 1000) / 500.0f;
}

static void answer(struct fixture *f)
{
    for (int row = 0; row < HEADS * ROWS; row++) {
        double weights[KEYS], largest = -INFINITY, sum = 0;
        for (int k = 0; k < KEYS; k++) {
            weights[k] = -INFINITY;
            if (k > row % ROWS + KEYS - ROWS || k >= f->valid_keys)
                continue;
            weights[k] = 0;
            for (int d = 0; d < DIM; d++)
                weights[k] += (double)f->host_q[row * DIM + d] * (double)f->host_k[k * DIM + d] / sqrt(DIM);
            largest = fmax(largest, weights[k]);
        }
        for (int k = 0; k < KEYS; k++)
            sum += weights[k] = exp(weights[k] - largest);
        for (int d = 0; d < DIM_V; d++) {
            double o = 0;
            for (int k = 0; k < KEYS; k++)
                o += weights[k] * (double)f->host_v[k * DIM_V + d];
            f->expected[row * DIM_V + d] = o / sum;
        }
        f->expected_lse[row] = largest + log(sum);
    }
}

/* |v| <= 2; the f32 bound of doc/numerics.md is 16 * 2^-24 * max|v|. */
static bool right_numbers(const float *o, const double *expected)
{
    for (int i = 0; i < N_O; i++)
        if (!(fabs((double)o[i] - expected[i]) <= 16 * 0x1p-24 * 2))
            return false;
    return true;
}

static void poison(struct fixture *f, cl_mem mem)
{
    float nan[N_O];
    for (int i = 0; i < N_O; i++)
        nan[i] = NAN;
    must(!clEnqueueWriteBuffer(f->queue, mem, CL_TRUE, 0, sizeof nan, nan, 0, NULL, NULL),
         "writing an output failed");
}

static bool device_numbers_right(struct fixture *f, cl_mem mem)
{
    float o[N_O];
    must(!clFinish(f->queue), "clFinish failed");
    must(!clEnqueueReadBuffer(f->queue, mem, CL_TRUE, 0, sizeof o, o, 0, NULL, NULL),
         "reading an output failed");
    return right_numbers(o, f->expected);
}

/* ---- the stages ---- */

struct stage {
    const char *name;
    void (*before)(struct fixture *f);       /* not under faults; NULL for none */
    clattn_status (*act)(struct fixture *f); /* under faults */
    bool (*made)(const struct fixture *f);   /* whether act left an object behind; NULL: it makes none */
    bool (*right)(struct fixture *f);        /* after success: are the numbers right?  NULL: there are none */
    void (*after)(struct fixture *f);        /* removes what act made */
    bool silent;                             /* act cannot report: it destroys */
};

static clattn_io buffers(const struct fixture *f)
{
    clattn_io io = CLATTN_IO_INIT;
    io.q = f->q;
    io.k = f->k;
    io.v = f->v;
    io.o = f->o;
    io.lse = f->lse;
    io.arrays[0] = f->valid;
    return io;
}

static void open_context(clattn_context **ctx)
{
    must(!clattn_context_open(ctx, getenv("CLATTN_TEST_DEVICE")), "opening a device failed without a fault");
}

static void make_plan(struct fixture *f)
{
    clattn_attention a;
    describe(&a, PARTS);
    must(!clattn_plan_create(&f->new_plan, f->ctx, &a), "making a plan failed without a fault");
}

static clattn_status act_list(struct fixture *f)
{
    size_t count = 0;
    cl_device_id device = NULL;
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    (void)f;
    clattn_status status = clattn_list_devices(&device, 1, &count);
    return status ? status : clattn_device_describe(device, &facts);
}

static clattn_status act_open(struct fixture *f)
{
    f->new_ctx = (clattn_context *)f; /* must become NULL on failure */
    return clattn_context_open(&f->new_ctx, getenv("CLATTN_TEST_DEVICE"));
}
static clattn_status act_wrap(struct fixture *f)
{
    f->new_ctx = (clattn_context *)f;
    return clattn_context_wrap(&f->new_ctx, clattn_context_cl(f->ctx), clattn_context_device(f->ctx));
}
static bool made_ctx(const struct fixture *f)
{
    return f->new_ctx != NULL;
}
static void after_ctx(struct fixture *f)
{
    clattn_context_close(f->new_ctx);
}

static clattn_status act_close(struct fixture *f)
{
    clattn_context_close(f->new_ctx);
    return CLATTN_OK;
}
static void before_close(struct fixture *f)
{
    open_context(&f->new_ctx);
}

static clattn_status act_plan(struct fixture *f)
{
    clattn_attention a;
    describe(&a, PARTS);
    f->new_plan = (clattn_plan *)f;
    return clattn_plan_create(&f->new_plan, f->ctx, &a);
}
static bool made_plan(const struct fixture *f)
{
    return f->new_plan != NULL;
}
static void after_plan(struct fixture *f)
{
    clattn_plan_destroy(f->new_plan);
}
static bool plan_right(struct fixture *f)
{
    clattn_io io = buffers(f);
    poison(f, f->o);
    return !clattn_enqueue_forward(f->new_plan, f->queue, &io, 0, NULL, NULL) &&
           device_numbers_right(f, f->o);
}

static clattn_status act_destroy(struct fixture *f)
{
    clattn_plan_destroy(f->new_plan);
    return CLATTN_OK;
}

static void before_enqueue(struct fixture *f)
{
    f->event = NULL;
    poison(f, f->o);
}
static clattn_status act_enqueue_split(struct fixture *f)
{
    clattn_io io = buffers(f);
    return clattn_enqueue_forward(f->split, f->queue, &io, 1, &f->gate, &f->event);
}
static clattn_status act_enqueue_whole(struct fixture *f)
{
    clattn_io io = buffers(f);
    return clattn_enqueue_forward(f->whole, f->queue, &io, 1, &f->gate, &f->event);
}
static bool made_event(const struct fixture *f)
{
    return f->event != NULL;
}
static bool enqueue_right(struct fixture *f)
{
    return !clWaitForEvents(1, &f->event) && device_numbers_right(f, f->o);
}
static void after_event(struct fixture *f)
{
    if (f->event)
        clReleaseEvent(f->event);
    f->event = NULL;
}

static clattn_status act_run(struct fixture *f)
{
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    io.q = f->host_q;
    io.k = f->host_k;
    io.v = f->host_v;
    io.o = f->host_o;
    io.lse = f->host_lse;
    io.arrays[0] = &f->valid_keys;
    for (int i = 0; i < N_O; i++)
        f->host_o[i] = NAN;
    return clattn_run_forward(f->guest, &io);
}
static bool run_right(struct fixture *f)
{
    for (int i = 0; i < N_LSE; i++) /* |lse| < 16, so 32 units in its last place */
        if (!(fabs((double)f->host_lse[i] - f->expected_lse[i]) <= 32 * 0x1p-20))
            return false;
    return right_numbers(f->host_o, f->expected);
}

static clattn_merge merge_problem(void)
{
    clattn_merge m = CLATTN_MERGE_INIT;
    m.parts = 2;
    m.rows = HEADS * ROWS;
    m.dim_v = DIM_V;
    return m;
}
static clattn_status act_merge_plan(struct fixture *f)
{
    clattn_merge m = merge_problem();
    f->new_merge = (clattn_merge_plan *)f;
    return clattn_merge_plan_create(&f->new_merge, f->ctx, &m);
}
static bool made_merge(const struct fixture *f)
{
    return f->new_merge != NULL;
}
static void after_merge(struct fixture *f)
{
    clattn_merge_plan_destroy(f->new_merge);
}
static bool merge_plan_right(struct fixture *f)
{
    poison(f, f->merged);
    return !clattn_enqueue_merge(f->new_merge, f->queue, f->part_o, f->part_lse, f->merged, NULL, 0, NULL,
                                 NULL) &&
           device_numbers_right(f, f->merged);
}
static void before_merge(struct fixture *f)
{
    f->event = NULL;
    poison(f, f->merged);
}
static clattn_status act_merge(struct fixture *f)
{
    return clattn_enqueue_merge(f->merge, f->queue, f->part_o, f->part_lse, f->merged, NULL, 1, &f->gate,
                                &f->event);
}
static bool merge_right(struct fixture *f)
{
    return !clWaitForEvents(1, &f->event) && device_numbers_right(f, f->merged);
}

/* Right numbers as anchors of every row. */
static clattn_status act_delta_plan(struct fixture *f)
{
    clattn_attention a;
    describe(&a, 1);
    f->new_delta = (clattn_delta_plan *)f;
    return clattn_delta_plan_create(&f->new_delta, f->ctx, &a, 1);
}
static bool made_delta(const struct fixture *f)
{
    return f->new_delta != NULL;
}
static void after_delta(struct fixture *f)
{
    clattn_delta_plan_destroy(f->new_delta);
}
static bool delta_plan_right(struct fixture *f)
{
    poison(f, f->merged);
    return !clattn_enqueue_delta(f->new_delta, f->queue, f->part_o, f->merged, 0, NULL, NULL) &&
           device_numbers_right(f, f->merged);
}
static clattn_status act_delta(struct fixture *f)
{
    return clattn_enqueue_delta(f->delta, f->queue, f->part_o, f->merged, 1, &f->gate, &f->event);
}

/* Right numbers in the shape of lists: counts, then ids, of as many entries. */
static clattn_status act_copy_lists(struct fixture *f)
{
    static const int32_t marks[] = {1, 1, 1, 1, 1};
    clattn_list list = CLATTN_LIST_INIT;
    list.batch = sizeof marks / sizeof *marks;
    list.scopes = list.q_blocks = 1;
    list.k_blocks = list.capacity = N_O / list.batch - 1;
    list.ids_at = list.batch * 4;
    return clattn_enqueue_list_copy(f->ctx, f->queue, &list, f->part_o, f->merged, marks, 1, 1, &f->gate,
                                    &f->event);
}

/* Selections of the same q and k, with the pattern whose array wants a table: in stages; by mass, with
 * certificates. */
static clattn_select selection(int which)
{
    clattn_select s = CLATTN_SELECT_INIT;
    s.budget = 32;
    s.sink = 5;
    s.window = 20;
    if (which == CERTIFIED) {
        s.method = CLATTN_MINMAX;
        s.flags = CLATTN_CERTIFY;
        s.budget_mode = CLATTN_MASS;
        s.budget_value = 0.9;
        return s;
    }
    s.method = CLATTN_STAGED;
    s.n_stages = 2;
    s.stages[0] = (clattn_stage){32, 64};
    s.stages[1] = (clattn_stage){8, 32};
    return s;
}
static bool lists_right(struct fixture *f, int which)
{
    const size_t lists = (size_t)(f->list.batch * f->list.scopes * f->list.q_blocks) * sizeof *f->host_lists;
    uint64_t bytes;
    must(!clFinish(f->queue) && !clattn_list_bytes(&f->list, &bytes) && bytes + lists <= sizeof f->host_lists,
         "lists");
    must(!clEnqueueReadBuffer(f->queue, f->lists, CL_TRUE, 0, bytes, f->host_lists, 0, NULL, NULL),
         "reading lists failed");
    must(!clEnqueueReadBuffer(f->queue, f->certified, CL_TRUE, 0, lists, f->host_lists + bytes / 4, 0, NULL,
                              NULL),
         "reading certificates failed");
    return !memcmp(f->host_lists, f->expected_lists[which], bytes + (which == CERTIFIED ? lists : 0));
}
static clattn_status enqueue_select(struct fixture *f, int which)
{
    clattn_select_io io = CLATTN_SELECT_IO_INIT;
    io.q = f->q;
    io.k = f->k;
    io.arrays[0] = f->valid;
    io.list = f->lists;
    io.bounds = which == CERTIFIED ? f->bounds : NULL;
    io.certified = which == CERTIFIED ? f->certified : NULL;
    return clattn_enqueue_select(f->select[which], f->queue, &io, 1, &f->gate, &f->event);
}
static void before_select(struct fixture *f)
{
    memset(f->host_lists, 0x5a, sizeof f->host_lists);
    f->event = NULL;
    must(!clEnqueueWriteBuffer(f->queue, f->lists, CL_TRUE, 0, sizeof f->host_lists, f->host_lists, 0, NULL,
                               NULL),
         "writing lists failed");
    must(!clEnqueueWriteBuffer(f->queue, f->certified, CL_TRUE, 0, sizeof f->host_lists, f->host_lists, 0,
                               NULL, NULL),
         "writing certificates failed");
}
static clattn_status act_select(struct fixture *f)
{
    return enqueue_select(f, STAGED);
}
static bool select_right(struct fixture *f)
{
    return !clWaitForEvents(1, &f->event) && lists_right(f, STAGED);
}
static clattn_status act_certify(struct fixture *f)
{
    return enqueue_select(f, CERTIFIED);
}
static bool certify_right(struct fixture *f)
{
    return !clWaitForEvents(1, &f->event) && lists_right(f, CERTIFIED);
}

/* Attention over lists of noise, which are empty, at positions of its own; the tables are numbers too. */
static clattn_select extension(void)
{
    clattn_select s = selection(STAGED);
    s.block_q = 2;
    s.extend = CLATTN_EXTEND_STREAMING;
    s.rope_positions = KEYS;
    return s;
}
static clattn_status make_extend(struct fixture *f, clattn_extend_plan **plan)
{
    clattn_attention a;
    const clattn_select s = extension();
    describe(&a, 1);
    a.flags = a.n_arrays = 0;
    a.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
    return clattn_extend_plan_create(plan, f->ctx, &s, &a);
}
static clattn_status enqueue_extend(struct fixture *f, clattn_extend_plan *plan)
{
    clattn_extend_io io = CLATTN_EXTEND_IO_INIT;
    io.q = f->q;
    io.k = f->k;
    io.v = f->v;
    io.o = f->o;
    io.list = f->lists;
    io.rope_cos = io.rope_sin = f->k;
    return clattn_enqueue_extend(plan, f->queue, &io, 1, &f->gate, &f->event);
}
static void before_extend(struct fixture *f)
{
    before_select(f);
    poison(f, f->o);
}
static clattn_status act_extend_plan(struct fixture *f)
{
    f->new_extend = (clattn_extend_plan *)f;
    return make_extend(f, &f->new_extend);
}
static bool made_extend(const struct fixture *f)
{
    return f->new_extend != NULL;
}
static void after_extend(struct fixture *f)
{
    clattn_extend_plan_destroy(f->new_extend);
}
static clattn_status act_extend(struct fixture *f)
{
    return enqueue_extend(f, f->extend);
}
static bool extend_right(struct fixture *f)
{
    float o[N_O];
    must(!clFinish(f->queue) && !clEnqueueReadBuffer(f->queue, f->o, CL_TRUE, 0, sizeof o, o, 0, NULL, NULL),
         "reading an output failed");
    return !memcmp(o, f->extended, sizeof o);
}
static bool extend_plan_right(struct fixture *f)
{
    before_extend(f);
    const bool right = !enqueue_extend(f, f->new_extend) && extend_right(f);
    after_event(f);
    return right;
}

static const struct stage stages[] = {
    {"list devices", NULL, act_list, NULL, NULL, NULL, false},
    {"context open", NULL, act_open, made_ctx, NULL, after_ctx, false},
    {"context wrap", NULL, act_wrap, made_ctx, NULL, after_ctx, false},
    {"context close", before_close, act_close, NULL, NULL, NULL, true},
    {"plan create", NULL, act_plan, made_plan, plan_right, after_plan, false},
    {"plan destroy", make_plan, act_destroy, NULL, NULL, NULL, true},
    {"enqueue split", before_enqueue, act_enqueue_split, made_event, enqueue_right, after_event, false},
    {"enqueue whole", before_enqueue, act_enqueue_whole, made_event, enqueue_right, after_event, false},
    {"run on host memory", NULL, act_run, NULL, run_right, NULL, false},
    {"merge plan create", NULL, act_merge_plan, made_merge, merge_plan_right, after_merge, false},
    {"enqueue merge", before_merge, act_merge, made_event, merge_right, after_event, false},
    {"delta plan create", NULL, act_delta_plan, made_delta, delta_plan_right, after_delta, false},
    {"enqueue delta", before_merge, act_delta, made_event, merge_right, after_event, false},
    {"copy lists", before_merge, act_copy_lists, made_event, merge_right, after_event, false},
    {"enqueue select", before_select, act_select, made_event, select_right, after_event, false},
    {"extend plan create", NULL, act_extend_plan, made_extend, extend_plan_right, after_extend, false},
    {"enqueue extend", before_extend, act_extend, made_event, extend_right, after_event, false},
    {"enqueue certified", before_select, act_certify, made_event, certify_right, after_event, false},
};

/* ---- one injection ---- */

/* Calls that only ask, push on, end or keep something may fail without harm: then the numbers decide.  With a
 * program cache a binary that does not build is built from text instead. */
static bool may_be_absorbed(const char *call)
{
    if (strcmp(cache, "off") && !forever &&
        (!strcmp(call, "clBuildProgram") || !strcmp(call, "clCreateKernel")))
        return true;
    static const char *const starts[] = {
        "clRelease",          "clGetPlatform", "clGetDevice", "clGetProgram", "clCreateProgramWithBinary",
        "clGetMemObjectInfo", "clFlush", "clRetainProgram"};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (!strncmp(call, starts[i], strlen(starts[i])))
            return true;
    return false;
}

static bool before_context(const struct stage *stage)
{
    return stage->act == act_list || stage->act == act_open || stage->act == act_wrap;
}

/* Before there is a context the headers promise OPENCL_FAILED and the statuses of the search for a device. */
static bool status_fits(const struct stage *stage, clattn_status status, const char *call)
{
    if (before_context(stage) && (status == CLATTN_OPENCL_FAILED || status == CLATTN_NO_PLATFORM ||
                                  status == CLATTN_NO_DEVICE || status == CLATTN_DEVICE_NOT_FOUND))
        return true;
    if (status ==
        (failure_code == CL_OUT_OF_HOST_MEMORY ? CLATTN_OUT_OF_HOST_MEMORY : CLATTN_OUT_OF_DEVICE_MEMORY))
        return true;
    return status == CLATTN_BUILD_FAILED && (!strcmp(call, "clBuildProgram") || forever);
}

static void judge_failure(const struct stage *stage, struct fixture *f, long n, clattn_status status,
                          const char *call)
{
    char text[1024] = "";
    refused++;
    if (!status_fits(stage, status, call))
        complain(stage->name, n, call, "status is %s", clattn_status_name(status));
    if (stage->made && stage->made(f))
        complain(stage->name, n, call, "it failed and left an object");
    if (before_context(stage))
        return; /* there is no context yet that could keep the sentence */
    clattn_context_message(f->ctx, text, sizeof text);
    if (!strstr(text, clattn_status_text(status)))
        complain(stage->name, n, call, "the sentence is '%s'", text);
    if (status != CLATTN_BUILD_FAILED && clattn_context_cl_error(f->ctx) != failure_code)
        complain(stage->name, n, call, "the OpenCL code is %d", clattn_context_cl_error(f->ctx));
}

static void judge(const struct stage *stage, struct fixture *f, long n, clattn_status status,
                  const char *call)
{
    if (status) {
        judge_failure(stage, f, n, status, call);
        return;
    }
    absorbed++;
    if (!stage->silent && !may_be_absorbed(call))
        complain(stage->name, n, call, "the failure was not reported");
    if (stage->right && !stage->right(f))
        complain(stage->name, n, call, "it reported success and the numbers are wrong");
    if (stage->after)
        stage->after(f);
}

static long live_objects(void)
{
    struct fault_report report;
    fault->disarm(&report);
    return report.live;
}

/* The same call without a fault. */
static void retry(const struct stage *stage, struct fixture *f, long n, const char *call)
{
    if (stage->before)
        stage->before(f);
    clattn_status status = stage->act(f);
    if (status)
        complain(stage->name, n, call, "the retry gave %s", clattn_status_name(status));
    else if (stage->right && !stage->right(f))
        complain(stage->name, n, call, "the retry gave wrong numbers");
    if (!status && stage->after)
        stage->after(f);
}

/* Returns whether anything was left to fail. */
static bool inject(const struct stage *stage, struct fixture *f, long n)
{
    struct fault_report report;
    long before = live_objects();
    alarm(SECONDS_EACH);
    if (stage->before)
        stage->before(f);
    fault->arm(n, failure_code, forever);
    clattn_status status = stage->act(f);
    fault->disarm(&report);
    if (report.injected == 0) {
        if (status || (stage->right && !stage->right(f)))
            complain(stage->name, n, NULL, "no fault, and still %s",
                     status ? clattn_status_name(status) : "wrong numbers");
        if (!status && stage->after)
            stage->after(f);
        return false;
    }
    injections += report.injected;
    judge(stage, f, n, status, report.first);
    retry(stage, f, n, report.first);
    clFinish(f->queue);
    long leaked = live_objects() - before;
    if (leaked)
        complain(stage->name, n, report.first, "%ld objects leaked", leaked);
    return true;
}

/* ---- fixture ---- */

static cl_mem device_copy(struct fixture *f, size_t bytes, void *data)
{
    cl_int code;
    cl_mem mem = clCreateBuffer(clattn_context_cl(f->ctx),
                                CL_MEM_READ_WRITE | (data ? CL_MEM_COPY_HOST_PTR : 0), bytes, data, &code);
    must(code == CL_SUCCESS, "clCreateBuffer failed without a fault");
    return mem;
}

static void make_buffers(struct fixture *f)
{
    float parts[2 * N_O] = {0}, parts_lse[2 * N_LSE];
    f->q = device_copy(f, sizeof f->host_q, f->host_q);
    f->k = device_copy(f, sizeof f->host_k, f->host_k);
    f->v = device_copy(f, sizeof f->host_v, f->host_v);
    f->o = device_copy(f, sizeof f->host_o, NULL);
    f->lse = device_copy(f, sizeof f->host_lse, NULL);
    f->valid = device_copy(f, sizeof f->valid_keys, &f->valid_keys);
    for (int i = 0; i < N_O; i++)
        parts[i] = (float)f->expected[i]; /* the other part sees nothing */
    for (int i = 0; i < N_LSE; i++) {
        parts_lse[i] = (float)f->expected_lse[i];
        parts_lse[N_LSE + i] = -INFINITY;
    }
    f->part_o = device_copy(f, sizeof parts, parts);
    f->part_lse = device_copy(f, sizeof parts_lse, parts_lse);
    f->merged = device_copy(f, sizeof f->host_o, NULL);
}

static void make_bounds(struct fixture *f)
{
    uint64_t bytes;
    clattn_select_io io = CLATTN_SELECT_IO_INIT;
    must(!clattn_select_bounds_size(f->select[CERTIFIED], &bytes), "size of bounds");
    f->bounds = device_copy(f, (size_t)bytes, NULL);
    io.k = f->k;
    io.bounds = f->bounds;
    must(!clattn_enqueue_bounds(f->select[CERTIFIED], f->queue, &io, 0, KEYS, 0, NULL, NULL),
         "bounds failed without a fault");
}

/* What a selection lists when nothing fails. */
static void make_selection(struct fixture *f, int which)
{
    clattn_attention a;
    const clattn_select s = selection(which);
    describe(&a, 1);
    f->list = (clattn_list)CLATTN_LIST_INIT;
    must(!clattn_select_plan_create(&f->select[which], f->ctx, &s, &a),
         "making the selection failed without a fault");
    must(!clattn_select_list(&f->list, &s, &a), "shaping lists");
    if (which == CERTIFIED)
        make_bounds(f);
    before_select(f);
    must(!enqueue_select(f, which) && !clWaitForEvents(1, &f->event), "selecting failed without a fault");
    lists_right(f, which);
    memcpy(f->expected_lists[which], f->host_lists, sizeof f->host_lists);
    must(f->host_lists[0] > 0, "the lists are empty");
    after_event(f);
}

static void make_fixture(struct fixture *f)
{
    cl_int code;
    clattn_attention a;
    clattn_merge m = merge_problem();
    memset(f, 0, sizeof *f);
    f->valid_keys = KEYS - 20;
    for (uint32_t i = 0; i < N_Q; i++)
        f->host_q[i] = sample(i);
    for (uint32_t i = 0; i < N_K; i++)
        f->host_k[i] = sample(i + 10007);
    for (uint32_t i = 0; i < N_V; i++)
        f->host_v[i] = sample(i + 20011);
    answer(f);
    open_context(&f->ctx);
    bool off = !strcmp(cache, "off");
    must(!clattn_context_set_cache(f->ctx, off ? CLATTN_CACHE_OFF : CLATTN_CACHE_ALWAYS, off ? NULL : cache),
         "set_cache");
    f->queue = clCreateCommandQueue(clattn_context_cl(f->ctx), clattn_context_device(f->ctx), 0, &code);
    must(code == CL_SUCCESS, "clCreateCommandQueue failed without a fault");
    make_buffers(f);
    f->gate = clCreateUserEvent(clattn_context_cl(f->ctx), &code);
    must(code == CL_SUCCESS && !clSetUserEventStatus(f->gate, CL_COMPLETE), "user event");
    describe(&a, PARTS);
    must(!clattn_plan_create(&f->split, f->ctx, &a), "making the split plan failed without a fault");
    a.flags |= CLATTN_CALLER_WORKSPACE;
    must(!clattn_plan_create(&f->guest, f->ctx, &a), "making the guest plan failed without a fault");
    describe(&a, 1);
    must(!clattn_plan_create(&f->whole, f->ctx, &a), "making the whole plan failed without a fault");
    must(!clattn_merge_plan_create(&f->merge, f->ctx, &m), "making the merge plan failed without a fault");
    f->lists = device_copy(f, sizeof f->host_lists, NULL);
    f->certified = device_copy(f, sizeof f->host_lists, NULL);
    for (int i = 0; i < SELECTIONS; i++)
        make_selection(f, i);
    must(!clattn_delta_plan_create(&f->delta, f->ctx, &a, 1), "making the delta plan failed without a fault");
    must(!make_extend(f, &f->extend), "making the extend plan failed without a fault");
    before_extend(f);
    must(!act_extend(f) && !clFinish(f->queue), "extended attention failed without a fault");
    must(!clEnqueueReadBuffer(f->queue, f->o, CL_TRUE, 0, sizeof f->extended, f->extended, 0, NULL, NULL),
         "reading it failed");
    must(f->extended[0] == f->extended[0], "extended attention wrote nothing");
    after_event(f);
}

static void free_fixture(struct fixture *f)
{
    cl_mem all[] = {f->q,      f->k,        f->v,      f->o,     f->lse,    f->valid,
                    f->part_o, f->part_lse, f->merged, f->lists, f->bounds, f->certified};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        clReleaseMemObject(all[i]);
    clattn_plan_destroy(f->split);
    clattn_plan_destroy(f->whole);
    clattn_plan_destroy(f->guest);
    clattn_merge_plan_destroy(f->merge);
    for (int i = 0; i < SELECTIONS; i++)
        clattn_select_plan_destroy(f->select[i]);
    clattn_delta_plan_destroy(f->delta);
    clattn_extend_plan_destroy(f->extend);
    clReleaseEvent(f->gate);
    clReleaseCommandQueue(f->queue);
    clattn_context_close(f->ctx);
}

int main(int argc, char **argv)
{
    static struct fixture f;
    must(argc == 5, "usage: fault_driver LAYER once|forever CODE off|CACHE");
    cl_uint platforms;
    must(!clGetPlatformIDs(0, NULL, &platforms),
         "clGetPlatformIDs failed without a fault"); /* loads the layer */
    void *layer = dlopen(argv[1], RTLD_NOLOAD | RTLD_NOW);
    must(layer != NULL, "the fault layer is not loaded; set OPENCL_LAYERS to it");
    fault = (const struct fault_control *)dlsym(layer, FAULT_CONTROL_SYMBOL);
    must(fault != NULL, "the layer has no " FAULT_CONTROL_SYMBOL);
    forever = !strcmp(argv[2], "forever");
    failure_code = atoi(argv[3]);
    cache = argv[4];
    alarm(10 * SECONDS_EACH); /* the first compilation may be cold */
    make_fixture(&f);
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        long n = 1;
        retry(&stages[i], &f, 0, NULL); /* what a first use keeps is no leak */
        while (n < MOST_CALLS && inject(&stages[i], &f, n))
            n++;
        printf("%-20s %4ld calls made to fail\n", stages[i].name, n - 1);
        if (n == 1 || n == MOST_CALLS)
            complain(stages[i].name, n, NULL, n == 1 ? "nothing was injected" : "it never came to an end");
    }
    free_fixture(&f);
    if (live_objects())
        complain("exit", 0, NULL, "%ld objects are alive", live_objects());
    printf("injected %ld reported %ld absorbed %ld mistakes %ld\n", injections, refused, absorbed, mistakes);
    dlclose(layer);
    return mistakes != 0;
}
