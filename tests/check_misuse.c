/* SPDX-License-Identifier: MIT
 * check_misuse.c - named misuses of every public call: each has its own status and a sentence that names the
 * culprit, and nothing is enqueued: after every refused enqueue the outputs still hold what they held.
 *
 * The lists are in misuse.h. */
#include "tests/misuse.h"
#include "tests/suite.h"

#include <clattn.h>

#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

/* ---- fixture: a context, a stranger, three plans and their buffers ---- */
enum {
    HEADS = 2,
    ROWS = 3,
    KEYS = 300,
    DIM = 8,
    N_Q = HEADS * ROWS * DIM,
    N_K = KEYS * DIM,
    LSE_ROWS = HEADS * ROWS
};
enum { SENTINEL = 0x5a, BIG = 65536 };

static clattn_context *ctx;
static cl_context cl, other_cl;
static cl_device_id device;
static cl_command_queue queue, other_queue;
static clattn_plan *plain, *full, *packed; /* no flags; every flag but packed, keys split; packed */
static clattn_merge_plan *merger;
static cl_mem input, words, o, lse, counters, workspace, read_only, small, tiny, empty_ish, foreign, image;
static cl_event good_event, failed_event, foreign_event;
static uint64_t workspace_bytes;

static char sentence[1024]; /* of the call under test, where it gives one itself */

static clattn_attention base_problem(void)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    a.heads = HEADS;
    a.q_len = ROWS;
    a.kv_len = KEYS;
    a.dim = a.dim_v = DIM;
    return a;
}

static cl_mem make_buffer(cl_context context, cl_mem_flags flags, size_t bytes)
{
    cl_int code;
    void *data = calloc(1, bytes);
    ck_assert_ptr_nonnull(data);
    memset(data, SENTINEL, bytes);
    cl_mem mem = clCreateBuffer(context, flags | CL_MEM_COPY_HOST_PTR, bytes, data, &code);
    free(data);
    ck_assert_int_eq(code, CL_SUCCESS);
    return mem;
}

static cl_event make_event(cl_context context, cl_int state)
{
    cl_int code;
    cl_event event = clCreateUserEvent(context, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    ck_assert_int_eq(clSetUserEventStatus(event, state), CL_SUCCESS);
    return event;
}

/* An image where the device has them, else NULL. */
static cl_mem make_image(void)
{
    cl_bool has_images = CL_FALSE;
    cl_image_format format = {CL_RGBA, CL_FLOAT};
    cl_image_desc desc = {.image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 64, .image_height = 64};
    cl_int code;
    clGetDeviceInfo(device, CL_DEVICE_IMAGE_SUPPORT, sizeof has_images, &has_images, NULL);
    if (!has_images)
        return NULL;
    cl_mem mem = clCreateImage(cl, CL_MEM_READ_WRITE, &format, &desc, NULL, &code);
    return code == CL_SUCCESS ? mem : NULL;
}

static clattn_plan *make_plan(const clattn_attention *a)
{
    clattn_plan *plan = NULL;
    char text[1024] = "";
    clattn_status status = clattn_plan_create(&plan, ctx, a);
    clattn_context_message(ctx, text, sizeof text);
    ck_assert_msg(status == CLATTN_OK, "%s: %s", clattn_status_name(status), text);
    return plan;
}

static void fit_list(clattn_attention *a)
{
    a->list.size = sizeof a->list;
    ck_assert_int_eq(clattn_list_fit(&a->list, a, CLATTN_SCOPE_GROUP, 4, 4, 2), CLATTN_OK);
}

static void make_plans(void)
{
    clattn_attention a = base_problem();
    clattn_merge m = CLATTN_MERGE_INIT;
    plain = make_plan(&a);
    a.flags = CLATTN_PACKED;
    a.q_total = ROWS;
    a.kv_total = KEYS;
    packed = make_plan(&a);
    a = base_problem();
    a.flags = CLATTN_WANT_LSE | CLATTN_KEY_LENGTHS | CLATTN_COUNT_TILES | CLATTN_CALLER_WORKSPACE;
    a.splits = 2;
    a.n_arrays = 1;
    strcpy(a.arrays[0].name, "valid");
    a.arrays[0].type = CLATTN_I32;
    a.arrays[0].n_dims = 1;
    a.arrays[0].dims[0] = 2;
    a.pattern = clattn_both(clattn_valid_keys("valid"), clattn_mask("listed | k < 3", CLATTN_NO_CORNER));
    fit_list(&a);
    full = make_plan(&a);
    ck_assert_int_eq(clattn_workspace_size(full, &workspace_bytes), CLATTN_OK);
    ck_assert_uint_gt(workspace_bytes, 64);
    m.parts = 2;
    m.rows = LSE_ROWS;
    m.dim_v = DIM;
    ck_assert_int_eq(clattn_merge_plan_create(&merger, ctx, &m), CLATTN_OK);
}

static void set_up(void)
{
    cl_int code;
    ck_assert_int_eq(clattn_context_open(&ctx, getenv("CLATTN_TEST_DEVICE")), CLATTN_OK);
    cl = clattn_context_cl(ctx);
    device = clattn_context_device(ctx);
    other_cl = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    queue = clCreateCommandQueue(cl, device, 0, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    other_queue = clCreateCommandQueue(other_cl, device, 0, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    make_plans();
    input = make_buffer(cl, CL_MEM_READ_ONLY, BIG);
    words = make_buffer(cl, CL_MEM_READ_WRITE, BIG);
    o = make_buffer(cl, CL_MEM_READ_WRITE, BIG);
    lse = make_buffer(cl, CL_MEM_READ_WRITE, BIG);
    counters = make_buffer(cl, CL_MEM_READ_WRITE, 16);
    workspace = make_buffer(cl, CL_MEM_READ_WRITE, (size_t)workspace_bytes);
    read_only = make_buffer(cl, CL_MEM_READ_ONLY, BIG);
    small = make_buffer(cl, CL_MEM_READ_WRITE, N_Q * sizeof(float) - 1); /* one byte less than q and o */
    tiny = make_buffer(cl, CL_MEM_READ_WRITE, 3);
    empty_ish = make_buffer(cl, CL_MEM_READ_WRITE, N_K * sizeof(float) - 1); /* one byte less than k and v */
    foreign = make_buffer(other_cl, CL_MEM_READ_WRITE, BIG);
    image = make_image();
    good_event = make_event(cl, CL_COMPLETE);
    failed_event = make_event(cl, -42);
    foreign_event = make_event(other_cl, CL_COMPLETE);
}

static void tear_down(void)
{
    cl_mem mems[] = {input, words, o, lse, counters, workspace, read_only, small, tiny, empty_ish, foreign};
    for (size_t i = 0; i < LEN(mems); i++)
        clReleaseMemObject(mems[i]);
    if (image)
        clReleaseMemObject(image);
    clReleaseEvent(good_event);
    clReleaseEvent(failed_event);
    clReleaseEvent(foreign_event);
    clattn_plan_destroy(plain);
    clattn_plan_destroy(full);
    clattn_plan_destroy(packed);
    clattn_merge_plan_destroy(merger);
    clReleaseCommandQueue(queue);
    clReleaseCommandQueue(other_queue);
    clReleaseContext(other_cl);
    clattn_context_close(ctx);
}

/* ---- what every misuse must give ---- */

static void expect(const char *name, clattn_status got, clattn_status wanted, const char *text,
                   const char *part)
{
    ck_assert_msg(got == wanted, "%s: %s instead of %s (sentence: '%s')", name, clattn_status_name(got),
                  clattn_status_name(wanted), text);
    ck_assert_msg(!text || strstr(text, clattn_status_text(wanted)), "%s: the sentence '%s' lacks '%s'", name,
                  text, clattn_status_text(wanted));
    ck_assert_msg(!text || strstr(text, part), "%s: the sentence '%s' does not name '%s'", name, text, part);
}

static const char *message(void)
{
    static char text[1024];
    ck_assert_int_eq(clattn_context_message(ctx, text, sizeof text), CLATTN_OK);
    return text;
}

static void expect_untouched(const char *name, cl_mem mem)
{
    size_t bytes = 0;
    clGetMemObjectInfo(mem, CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    unsigned char *data = malloc(bytes);
    ck_assert_ptr_nonnull(data);
    ck_assert_int_eq(clEnqueueReadBuffer(queue, mem, CL_TRUE, 0, bytes, data, 0, NULL, NULL), CL_SUCCESS);
    for (size_t i = 0; i < bytes; i++)
        ck_assert_msg(data[i] == SENTINEL, "%s: byte %zu was written", name, i);
    free(data);
}

static void expect_nothing_enqueued(const char *name)
{
    ck_assert_int_eq(clFinish(queue), CL_SUCCESS);
    expect_untouched(name, o);
    expect_untouched(name, lse);
    expect_untouched(name, counters);
    expect_untouched(name, workspace);
}

/* ---- the problem ---- */

static void add_array(clattn_attention *a, const char *name, int64_t count)
{
    clattn_array *array = &a->arrays[a->n_arrays++];
    strncpy(array->name, name, CLATTN_NAME_SIZE);
    array->type = CLATTN_I32;
    array->n_dims = 1;
    array->dims[0] = count;
}

/* 2^124 elements. */
static void huge_array(clattn_attention *a)
{
    add_array(a, "len", INT32_MAX);
    a->arrays[0].n_dims = 4;
    for (int d = 1; d < 4; d++)
        a->arrays[0].dims[d] = INT32_MAX;
}

static void add_scalar(clattn_attention *a, const char *name)
{
    a->scalars[a->n_scalars].type = CLATTN_I32;
    size_t n = strlen(name) + 1; /* a name that is too long has no end */
    memcpy(a->scalars[a->n_scalars++].name, name, n < CLATTN_NAME_SIZE ? n : CLATTN_NAME_SIZE);
}

static void mask(clattn_attention *a, const char *text)
{
    a->pattern = clattn_mask(text, CLATTN_BOTTOM_RIGHT);
}

/* text repeated n times, then end */
static void long_mask(clattn_attention *a, const char *text, int n, const char *end)
{
    char all[2 * CLATTN_PATTERN_TEXT] = "";
    for (int i = 0; i < n; i++)
        strcat(all, text);
    mask(a, strcat(all, end));
}

static void no_terminator(clattn_attention *a)
{
    memset(a->pattern.text, ' ', sizeof a->pattern.text);
}

#define SPOIL(name, code, status, part)                                                                      \
    static void spoil_problem_##name(clattn_attention *a)                                                    \
    {                                                                                                        \
        code;                                                                                                \
    }
PROBLEM_MISUSES(SPOIL)
#undef SPOIL

static const struct {
    const char *name;
    void (*spoil)(clattn_attention *a);
    clattn_status status;
    const char *part;
} problem_misuses[] = {
#define ROW(name, code, status, part) {#name, spoil_problem_##name, CLATTN_##status, part},
    PROBLEM_MISUSES(ROW)
#undef ROW
};

/* The check without a device, the extent and the plan all refuse, in the same words. */
START_TEST(problems)
{
    for (size_t i = 0; i < LEN(problem_misuses); i++) {
        const char *name = problem_misuses[i].name, *part = problem_misuses[i].part;
        clattn_status wanted = problem_misuses[i].status;
        clattn_attention a = base_problem();
        clattn_plan *plan = plain;
        int64_t elements = -77;
        problem_misuses[i].spoil(&a);
        if (strcmp(name, "engine_unknown")) { /* which engines there are is the plan's to know */
            memset(sentence, 'x', sizeof sentence);
            expect(name, clattn_attention_check(&a, sentence, sizeof sentence), wanted, sentence, part);
            expect(name, clattn_attention_check(&a, NULL, 0), wanted, NULL, NULL);
            expect(name, clattn_attention_extent(&a, 'q', &elements), wanted, NULL, NULL);
            ck_assert_int_eq(elements, -77);
        }
        clattn_status status = clattn_plan_create(&plan, ctx, &a);
        expect(name, status, wanted, message(), part);
        ck_assert_msg(plan == NULL, "%s: *plan is not NULL", name);
    }
    ck_assert_uint_ge(LEN(problem_misuses), 60);
}
END_TEST

/* ---- enqueue ---- */

struct call {
    clattn_plan *plan;
    cl_command_queue queue;
    clattn_io io;
    const clattn_io *io_at;
    cl_uint n_wait;
    const cl_event *wait;
};

static const cl_event null_event[1] = {NULL};
static cl_event events[2];

static const cl_event *two_events(cl_event second)
{
    events[0] = good_event;
    events[1] = second;
    return events;
}

#define SPOIL(name, code, status, part)                                                                      \
    static void spoil_enqueue_##name(struct call *c)                                                         \
    {                                                                                                        \
        code;                                                                                                \
    }
ENQUEUE_MISUSES(SPOIL)
#undef SPOIL
static void spoil_with_image(struct call *c)
{
    c->io.q = image;
}

struct enqueue_misuse {
    const char *name;
    void (*spoil)(struct call *c);
    clattn_status status;
    const char *part;
};
static const struct enqueue_misuse enqueue_misuses[] = {
#define ROW(name, code, status, part) {#name, spoil_enqueue_##name, CLATTN_##status, part},
    ENQUEUE_MISUSES(ROW)
#undef ROW
};

static void try_enqueue(const struct enqueue_misuse *m)
{
    cl_event event = (cl_event)&events;
    clattn_io io = CLATTN_IO_INIT;
    io.q = io.k = io.v = input;
    io.o = o;
    io.lse = lse;
    io.key_lengths = io.arrays[0] = io.list = words;
    io.counters = counters;
    io.workspace = workspace;
    struct call c = {full, queue, io, NULL, 0, NULL};
    c.io_at = &c.io;
    m->spoil(&c);
    clattn_status status = clattn_enqueue_forward(c.plan, c.queue, c.io_at, c.n_wait, c.wait, &event);
    expect(m->name, status, m->status, message(), m->part);
    ck_assert_msg(event == (cl_event)&events || !event, "%s: an event was given", m->name);
    expect_nothing_enqueued(m->name);
}

START_TEST(enqueues)
{
    static const struct enqueue_misuse q_image = {"q_is_an_image", spoil_with_image, CLATTN_BAD_MEM_OBJECT,
                                                  "q"};
    for (size_t i = 0; i < LEN(enqueue_misuses); i++)
        try_enqueue(&enqueue_misuses[i]);
    if (image)
        try_enqueue(&q_image);
    else
        printf("# skip q_is_an_image: this device has no images\n");
}
END_TEST

/* ---- all other calls ---- */

/* Where a call's sentence is to be found. */
enum where { NOWHERE, CONTEXT, TEXT };

static clattn_status plan_create(const clattn_attention *a, clattn_context *c)
{
    clattn_plan *plan = plain;
    clattn_status status = clattn_plan_create(&plan, c, a);
    ck_assert_ptr_null(plan);
    return status;
}

static clattn_status open_device(const char *selector)
{
    clattn_context *c = ctx;
    clattn_status status = clattn_context_open(&c, selector);
    ck_assert_ptr_null(c);
    return status;
}

static clattn_status wrap(cl_context context, cl_device_id dev)
{
    clattn_context *c = ctx;
    clattn_status status = clattn_context_wrap(&c, context, dev);
    ck_assert_ptr_null(c);
    return status;
}

/* The refused one of the two engines, forced. */
static clattn_status forced_engine(void)
{
    clattn_device_facts facts;
    facts.size = sizeof facts;
    clattn_attention a = base_problem();
    ck_assert_int_eq(clattn_device_describe(device, &facts), CLATTN_OK);
    for (size_t i = 0;; i++) {
        clattn_engine_fit fit = {.size = sizeof fit};
        if (clattn_engine_describe(&facts, i, &fit))
            break;
        if (fit.fits)
            continue;
        strcpy(a.engine, fit.engine);
        return plan_create(&a, ctx);
    }
    printf("# skip forced_engine: every engine fits this device\n");
    return CLATTN_ENGINE_REFUSED;
}

static clattn_status describe(cl_device_id dev, size_t size)
{
    clattn_device_facts facts;
    facts.size = size;
    return clattn_device_describe(dev, &facts);
}

static clattn_status engine(size_t facts_size, size_t index, size_t fit_size)
{
    clattn_device_facts facts;
    clattn_engine_fit fit = {.size = fit_size};
    memset(&facts, 0, sizeof facts);
    facts.size = facts_size;
    return clattn_engine_describe(&facts, index, &fit);
}

/* Of a device that is no CPU. */
static clattn_status resolve(const char *setting, char *text, size_t facts_size)
{
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_attention a = base_problem();
    facts.size = facts_size;
    facts.type = CL_DEVICE_TYPE_GPU;
    return clattn_tuning_resolve(&facts, &a, setting, text, sizeof sentence);
}

static clattn_status merge_tuning(const char *text)
{
    char merged[64];
    return clattn_tuning_merge(text, NULL, merged, sizeof merged, sentence, sizeof sentence);
}

static clattn_status parse(const char *text, size_t struct_size)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    a.size = struct_size;
    return clattn_problem_parse(&a, text, sentence, sizeof sentence);
}

static clattn_status print_short(void)
{
    clattn_attention a = base_problem();
    return clattn_problem_print(&a, sentence, 4);
}

static clattn_status extent(char tensor, int64_t *elements)
{
    clattn_attention a = base_problem();
    return clattn_attention_extent(&a, tensor, elements);
}

static clattn_status run_without(int missing)
{
    float q[N_Q] = {0}, out[N_Q], out_lse[LSE_ROWS];
    static float k[N_K];
    int32_t lengths[2] = {KEYS, KEYS};
    uint32_t tiles[4] = {0};
    static const int32_t list[1024];
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    io.q = missing == 'q' ? NULL : q;
    io.k = missing == 'k' ? NULL : k;
    io.v = missing == 'v' ? NULL : k;
    io.o = missing == 'o' ? NULL : out;
    io.lse = missing == 'l' ? NULL : out_lse;
    io.key_lengths = missing == 'n' ? NULL : lengths;
    io.arrays[0] = missing == 'a' ? NULL : lengths;
    io.counters = missing == 'c' ? NULL : tiles;
    io.list = missing == 'i' ? NULL : list;
    if (missing == 's')
        io.size--;
    memset(out, SENTINEL, sizeof out);
    clattn_status status = clattn_run_forward(full, &io);
    for (size_t i = 0; i < sizeof out; i++)
        ck_assert_int_eq(((unsigned char *)out)[i], SENTINEL);
    return status;
}

static clattn_status merge(int64_t parts, int64_t rows, int64_t dim_v, int32_t type_parts, int32_t type_o)
{
    clattn_merge m = {sizeof m, parts, rows, dim_v, type_parts, type_o};
    clattn_merge_plan *plan = merger;
    clattn_status status = clattn_merge_plan_create(&plan, ctx, &m);
    ck_assert_ptr_null(plan);
    return status;
}

static clattn_status merge_size(size_t size)
{
    clattn_merge m = CLATTN_MERGE_INIT;
    clattn_merge_plan *plan = merger;
    m.size = size;
    clattn_status status = clattn_merge_plan_create(&plan, ctx, &m);
    ck_assert_ptr_null(plan);
    return status;
}

static clattn_status enqueue_merge(cl_command_queue q, cl_mem part_o, cl_mem part_lse, cl_mem out,
                                   cl_mem out_lse, cl_uint n_wait, const cl_event *wait)
{
    return clattn_enqueue_merge(merger, q, part_o, part_lse, out, out_lse, n_wait, wait, NULL);
}

/* A selection of f32 that is sound but for its flags. */
static clattn_status search(int32_t method, uint32_t flags)
{
    clattn_attention a = base_problem();
    clattn_select s = CLATTN_SELECT_INIT;
    clattn_select_plan *plan = NULL;
    a.pattern = clattn_causal(CLATTN_TOP_LEFT);
    s.method = method;
    s.flags = flags;
    if (method == CLATTN_STREAMING)
        s.budget = 0;
    if (method == CLATTN_STAGED) {
        s.n_stages = 1;
        s.stages[0] = (clattn_stage){s.block_k, s.budget};
    }
    clattn_status status = clattn_select_plan_create(&plan, ctx, &s, &a);
    ck_assert_ptr_null(plan);
    return status;
}

#define CALL(name, expression, status, where, part)                                                          \
    static clattn_status call_##name(void)                                                                   \
    {                                                                                                        \
        return expression;                                                                                   \
    }
CALL_MISUSES(CALL)
#undef CALL

static const struct {
    const char *name;
    clattn_status (*call)(void);
    clattn_status status;
    enum where where;
    const char *part;
} call_misuses[] = {
#define ROW(name, expression, status, where, part) {#name, call_##name, CLATTN_##status, where, part},
    CALL_MISUSES(ROW)
#undef ROW
};

START_TEST(calls)
{
    for (size_t i = 0; i < LEN(call_misuses); i++) {
        clattn_status status = call_misuses[i].call();
        const char *text = call_misuses[i].where == CONTEXT ? message()
                           : call_misuses[i].where == TEXT  ? sentence
                                                            : NULL;
        expect(call_misuses[i].name, status, call_misuses[i].status, text, call_misuses[i].part);
    }
    expect_nothing_enqueued("calls");
}
END_TEST

/* ---- what is no error ---- */

START_TEST(null_is_allowed)
{
    clattn_context_close(NULL);
    clattn_plan_destroy(NULL);
    clattn_merge_plan_destroy(NULL);
    ck_assert_ptr_null(clattn_context_cl(NULL));
    ck_assert_ptr_null(clattn_context_device(NULL));
    ck_assert_ptr_null(clattn_plan_engine(NULL));
    ck_assert_ptr_null(clattn_device_trap(NULL, 0));
    ck_assert(!(clattn_problem_flops(NULL, NULL) > 0) && !(clattn_problem_bytes(NULL) > 0));
}
END_TEST

/* ---- rules without a plan ---- */
#define SCOPE_MISUSES(X)                                                                                             \
    X(struct_size, a.size--, BAD_STRUCT_SIZE)                                                                        \
    X(too_many, a.n_arrays = CLATTN_MAX_ARRAYS + 1, BAD_COUNT)                                                       \
    X(negative, a.n_scalars = -1, BAD_COUNT)                                                                         \
    X(no_name, add_scalar(&a, ""), BAD_NAME)                                                                         \
    X(endless_name, (add_scalar(&a, "w"), memset(a.scalars[0].name, 'w', CLATTN_NAME_SIZE)), BAD_NAME)               \
    X(two_of_one_name, (add_array(&a, "len", 2), add_scalar(&a, "len")), DUPLICATE_NAME)                             \
    X(scalar_type, (add_scalar(&a, "w"), a.scalars[0].type = CLATTN_BITS), BAD_SCALAR)                               \
    X(array_type, (add_array(&a, "len", 2), a.arrays[0].type = 6), BAD_ARRAY)                                        \
    X(no_dims, (add_array(&a, "len", 2), a.arrays[0].n_dims = 0), BAD_ARRAY)                                         \
    X(many_dims, (add_array(&a, "len", 2), a.arrays[0].n_dims = 500), BAD_ARRAY)                                     \
    X(empty_dim, add_array(&a, "len", 0), BAD_ARRAY)                                                                 \
    X(huge, huge_array(&a), SIZE_OVERFLOW)

/* What a scope declares is checked as a plan's problem is, before a text is read by it. */
START_TEST(scopes_of_patterns)
{
    clattn_pattern pattern;
    char message[700];
#define SCOPE_MISUSE(name, change, wanted)                                                                           \
    {                                                                                                                \
        clattn_attention a = base_problem();                                                                         \
        change;                                                                                                      \
        clattn_status status = clattn_pattern_parse(&pattern, "k <= q", CLATTN_TOP_LEFT, &a, message, sizeof message); \
        ck_assert_msg(status == CLATTN_##wanted, "%s: %s: %s", #name, clattn_status_name(status), message);          \
        ck_assert(pattern.error == status && !pattern.text[0]);                                                      \
        ck_assert_int_eq(clattn_pattern_parse(&pattern, "k <= q", CLATTN_TOP_LEFT, &a, NULL, 0), status);            \
    }
    SCOPE_MISUSES(SCOPE_MISUSE)
#undef SCOPE_MISUSE
    ck_assert_int_eq(clattn_pattern_parse(NULL, "k <= q", CLATTN_TOP_LEFT, NULL, NULL, 0),
                     CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_pattern_parse(&pattern, NULL, CLATTN_TOP_LEFT, NULL, NULL, 0),
                     CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_pattern_parse(&pattern, "k <= q", (clattn_corner)7, NULL, NULL, 0),
                     CLATTN_BAD_CORNER);
    ck_assert_int_eq(
        clattn_pattern_parse(&pattern, "k <= len[b]", CLATTN_TOP_LEFT, NULL, message, sizeof message),
        CLATTN_EXPR_NAME);
    ck_assert_msg(!strncmp(message, "column 6: 'len'", 15), "%s", message);
    clattn_attention good = base_problem();
    add_array(&good, "len", 2);
    ck_assert_int_eq(
        clattn_pattern_parse(&pattern, "k < len[b]", CLATTN_TOP_LEFT, &good, message, sizeof message),
        CLATTN_OK);
    ck_assert_str_eq(pattern.text, "k < len[b]");
}
END_TEST

/* A cache folder that cannot be written costs time, never success. */
START_TEST(unusable_cache)
{
    static const char *const folders[] = {"/proc/clattn", "/dev/null/clattn", "", "/dev/null"};
    for (size_t i = 0; i < LEN(folders); i++) {
        clattn_context *c;
        clattn_plan *plan;
        clattn_attention a = base_problem();
        ck_assert_int_eq(clattn_context_wrap(&c, cl, device), CLATTN_OK);
        ck_assert_int_eq(clattn_context_set_cache(c, CLATTN_CACHE_ALWAYS, folders[i]), CLATTN_OK);
        clattn_status status = clattn_plan_create(&plan, c, &a);
        ck_assert_msg(status == CLATTN_OK, "cache folder '%s': %s", folders[i], clattn_status_name(status));
        clattn_plan_destroy(plan);
        clattn_context_close(c);
    }
}
END_TEST

/* Every status has a name and a sentence of its own, and numbers that are none are said to be none. */
START_TEST(statuses)
{
    static const clattn_status all[] = {
#define ONE(name, code, text) CLATTN_##name,
        CLATTN_STATUS_LIST(ONE)
#undef ONE
    };
    for (size_t i = 0; i < LEN(all); i++) {
        ck_assert_int_eq(strncmp(clattn_status_name(all[i]), "CLATTN_", 7), 0);
        ck_assert_str_ne(clattn_status_name(all[i]), "CLATTN_UNKNOWN");
        ck_assert_uint_gt(strlen(clattn_status_text(all[i])), 6);
        for (size_t j = 0; j < i; j++) {
            ck_assert_int_ne(all[i], all[j]);
            ck_assert_str_ne(clattn_status_text(all[i]), clattn_status_text(all[j]));
        }
    }
    ck_assert_str_eq(clattn_status_name((clattn_status)-1), "CLATTN_UNKNOWN");
    ck_assert_ptr_nonnull(clattn_status_text((clattn_status)123456));
}
END_TEST

/* Every beginning of a problem's text, with nothing readable behind its end. */
START_TEST(no_text_is_read_past_its_end)
{
    static const char *const texts[] = {
        "attn:f32-f16-bf16-f32:b2:h6/2:q300:k400:d64/32:causal-window7-br:lse:count:scale=0.125:splits=3:engine=portable",
        "attn:f16:around20-tl:packed:qtotal=12:ktotal=13:scale=#3fc0000000000000:layout=bthd:strict",
        "attn:bf16-f32:prefix30-tl:keylens:layout=bhtd:full",
        "attn:f32:b9000000000000:q9000000000000:k9000000000000:packed",
    };
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int accepted = 0;
    ck_assert(pages != MAP_FAILED && !mprotect(pages + page, page, PROT_NONE));
    for (size_t i = 0; i < LEN(texts); i++)
        for (size_t n = 0; n <= strlen(texts[i]); n++) {
            char *text = pages + page - n - 1;
            memcpy(text, texts[i], n);
            text[n] = 0;
            accepted += parse(text, sizeof(clattn_attention)) == CLATTN_OK;
        }
    munmap(pages, 2 * page);
    ck_assert_int_gt(accepted, 30);
}
END_TEST

/* A struct that is shorter than this library's is refused, with nothing readable behind what it says of
 * itself. */
START_TEST(no_struct_is_read_past_its_size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = sizeof(size_t);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(pages != MAP_FAILED && !mprotect(pages + page, page, PROT_NONE));
    void *s = memcpy(pages + page - size, &size, size);
    int32_t data[64] = {0};
    clattn_attention a = base_problem();
    clattn_select select = CLATTN_SELECT_INIT;
    clattn_list list = CLATTN_LIST_INIT;
    clattn_refresh refresh = CLATTN_REFRESH_INIT;
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    a.pattern = clattn_causal(CLATTN_TOP_LEFT);
#define SHORT(name, call) expect(#name, call, CLATTN_BAD_STRUCT_SIZE, NULL, NULL);
    SHORT_STRUCTS(SHORT)
#undef SHORT
    ck_assert_ptr_null(clattn_device_trap(s, 0));
    ck_assert(!(clattn_problem_flops(s, NULL) > 0) && !(clattn_problem_bytes(s) > 0));
    munmap(pages, 2 * page);
}
END_TEST

/* Plans that were fine stay fine after all of that. */
START_TEST(plans_still_work)
{
    clattn_io io = CLATTN_IO_INIT;
    io.q = io.k = io.v = input;
    io.o = o;
    ck_assert_int_eq(clattn_enqueue_forward(plain, queue, &io, 1, &good_event, NULL), CLATTN_OK);
    ck_assert_int_eq(clFinish(queue), CL_SUCCESS);
    float value;
    ck_assert_int_eq(clEnqueueReadBuffer(queue, o, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL),
                     CL_SUCCESS);
    ck_assert_msg(isfinite(value), "o[0] is %g", (double)value);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("misuse");
    TCase *cases = tcase_create("misuse");
    tcase_add_unchecked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 300);
    tcase_add_test(cases, problems);
    tcase_add_test(cases, enqueues);
    tcase_add_test(cases, calls);
    tcase_add_test(cases, null_is_allowed);
    tcase_add_test(cases, scopes_of_patterns);
    tcase_add_test(cases, unusable_cache);
    tcase_add_test(cases, statuses);
    tcase_add_test(cases, no_text_is_read_past_its_end);
    tcase_add_test(cases, no_struct_is_read_past_its_size);
    tcase_add_test(cases, plans_still_work);
    suite_add_tcase(suite, cases);
    int failed = run_suite(suite);
    printf("# %zu misuses\n", LEN(problem_misuses) + LEN(enqueue_misuses) + LEN(call_misuses));
    return failed;
}
