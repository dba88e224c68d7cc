/* SPDX-License-Identifier: MIT
 * check_misuse.c - named misuses of every public call: each has its own status and a sentence that names the culprit,
 * and nothing is enqueued: after every refused enqueue the outputs still hold what they held.
 *
 * A row is X(name, what is done wrong, status, part of the sentence).  The lists stand in the order of the headers. */
#include <clattn.h>

#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

/* ---- fixture: a context, a stranger, three plans and their buffers ---- */
enum { HEADS = 2, ROWS = 3, KEYS = 300, DIM = 8, N_Q = HEADS * ROWS * DIM, N_K = KEYS * DIM, LSE_ROWS = HEADS * ROWS };
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
    a.arrays[0].count = 2;
    a.pattern = clattn_valid_keys("valid");
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

static void expect(const char *name, clattn_status got, clattn_status wanted, const char *text, const char *part)
{
    ck_assert_msg(got == wanted, "%s: %s instead of %s (sentence: '%s')", name, clattn_status_name(got),
                  clattn_status_name(wanted), text);
    ck_assert_msg(!text || strstr(text, clattn_status_text(wanted)), "%s: the sentence '%s' lacks '%s'", name, text,
                  clattn_status_text(wanted));
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
    strncpy(a->arrays[a->n_arrays].name, name, CLATTN_NAME_SIZE);
    a->arrays[a->n_arrays++].count = count;
}

static void add_scalar(clattn_attention *a, const char *name)
{
    strncpy(a->scalars[a->n_scalars++].name, name, CLATTN_NAME_SIZE);
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

#define FAR ((int64_t)1 << 61)
#define PROBLEM_MISUSES(X)                                                                                \
    X(struct_size_zero, a->size = 0, BAD_STRUCT_SIZE, "clattn_attention.size is 0")                       \
    X(struct_size_odd, a->size -= 1, BAD_STRUCT_SIZE, "clattn_attention.size")                            \
    X(struct_size_huge, a->size = (size_t)-1, BAD_STRUCT_SIZE, "clattn_attention.size")                   \
    X(batch_negative, a->batch = -1, BAD_BATCH, "batch is -1")                                            \
    X(batch_overflows_int, a->batch = (int64_t)1 << 32, BAD_BATCH, "batch is 4294967296")                 \
    X(heads_zero, a->heads = 0, BAD_HEADS, "heads is 0")                                                  \
    X(heads_negative, a->heads = -4, BAD_HEADS, "heads is -4")                                            \
    X(heads_huge, a->heads = INT64_MAX, BAD_HEADS, "heads is 9223372036854775807")                        \
    X(kv_heads_zero, a->kv_heads = 0, BAD_KV_HEADS, "kv_heads is 0")                                      \
    X(kv_heads_negative, a->kv_heads = -1, BAD_KV_HEADS, "kv_heads is -1")                                \
    X(heads_not_divisible, (a->heads = 6, a->kv_heads = 4), HEADS_NOT_DIVISIBLE, "heads is 6 and kv_heads is 4") \
    X(more_kv_heads_than_heads, (a->heads = 2, a->kv_heads = 4), HEADS_NOT_DIVISIBLE, "kv_heads is 4")    \
    X(q_len_negative, a->q_len = -1, BAD_Q_LEN, "q_len is -1")                                            \
    X(q_len_too_long, a->q_len = ((int64_t)1 << 30) + 1, BAD_Q_LEN, "2^30")                               \
    X(kv_len_negative, a->kv_len = -7, BAD_KV_LEN, "kv_len is -7")                                        \
    X(kv_len_too_long, a->kv_len = INT64_MIN, BAD_KV_LEN, "kv_len")                                       \
    X(dim_zero, a->dim = 0, BAD_DIM, "dim is 0")                                                          \
    X(dim_too_large, a->dim = 577, BAD_DIM, "1 to 576")                                                   \
    X(dim_v_zero, a->dim_v = 0, BAD_DIM_V, "dim_v is 0")                                                  \
    X(dim_v_too_large, a->dim_v = 1000000, BAD_DIM_V, "1 to 576")                                         \
    X(scale_nan, a->scale = NAN, BAD_SCALE, "scale")                                                      \
    X(scale_infinite, a->scale = -INFINITY, BAD_SCALE, "finite")                                          \
    X(type_q_unknown, a->type_q = 3, BAD_TYPE, "type_q is 3")                                             \
    X(type_k_negative, a->type_k = -1, BAD_TYPE, "type_k is -1")                                          \
    X(type_v_unknown, a->type_v = 77, BAD_TYPE, "type_v is 77")                                           \
    X(type_o_unknown, a->type_o = 3, BAD_TYPE, "type_o is 3")                                             \
    X(flag_unknown, a->flags = 0x80000000u, BAD_FLAGS, "flags is 0x80000000")                             \
    X(reserved_not_zero, a->reserved = 1, BAD_FLAGS, "reserved is 1")                                     \
    X(q_stride_negative, a->q.token = -2, BAD_STRIDE, "q.token is -2")                                    \
    X(k_stride_negative, a->k.head = -100, BAD_STRIDE, "k.head is -100")                                  \
    X(v_stride_negative, a->v.batch = INT64_MIN, BAD_STRIDE, "v.batch")                                   \
    X(q_offset_negative, a->q.offset = -1, BAD_OFFSET, "q.offset is -1")                                  \
    X(o_offset_negative, a->o.offset = -5, BAD_OFFSET, "o.offset is -5")                                  \
    X(lse_offset_negative, (a->flags = CLATTN_WANT_LSE, a->lse.offset = -5), BAD_OFFSET, "lse.offset is -5") \
    X(o_rows_overlap, a->o.token = DIM - 1, OVERLAPPING_OUTPUT, "o has strides")                          \
    X(o_heads_overlap, a->o.head = DIM, OVERLAPPING_OUTPUT, "o has strides")                              \
    X(o_broadcast, (a->batch = 2, a->o.batch = 0), OVERLAPPING_OUTPUT, "o has strides")                   \
    X(lse_rows_overlap, (a->flags = CLATTN_WANT_LSE, a->lse.token = 0), OVERLAPPING_OUTPUT, "lse has strides") \
    X(q_offset_overflows, a->q.offset = INT64_MAX, SIZE_OVERFLOW, "q")                                    \
    X(k_stride_overflows, a->k.token = FAR, SIZE_OVERFLOW, "k")                                           \
    X(v_bytes_overflow, (a->v.offset = FAR, a->v.token = DIM), SIZE_OVERFLOW, "v")                        \
    X(o_stride_overflows, a->o.head = INT64_MAX, SIZE_OVERFLOW, "o")                                      \
    X(packed_and_key_lengths, a->flags = CLATTN_PACKED | CLATTN_KEY_LENGTHS, LENGTHS_CONFLICT, "CLATTN_PACKED") \
    X(packed_q_total_negative, (a->flags = CLATTN_PACKED, a->q_total = -1), BAD_TOTAL, "q_total is -1")   \
    X(packed_kv_total_large, (a->flags = CLATTN_PACKED, a->kv_total = (int64_t)1 << 31), BAD_TOTAL, "kv_total is 2147483648") \
    X(splits_negative, a->splits = -1, BAD_COUNT, "splits is -1")                                         \
    X(splits_huge, a->splits = INT64_MAX, BAD_COUNT, "splits")                                            \
    X(too_many_scalars, a->n_scalars = CLATTN_MAX_SCALARS + 1, BAD_COUNT, "n_scalars is 9")               \
    X(scalars_negative, a->n_scalars = -1, BAD_COUNT, "n_scalars is -1")                                  \
    X(too_many_arrays, a->n_arrays = CLATTN_MAX_ARRAYS + 1, BAD_COUNT, "n_arrays is 5")                   \
    X(array_shorter_than_batch, (a->batch = 3, add_array(a, "len", 2)), BAD_COUNT, "'len' has count 2")   \
    X(array_count_negative, add_array(a, "len", -1), BAD_COUNT, "count -1")                               \
    X(name_empty, add_scalar(a, ""), BAD_NAME, "''")                                                      \
    X(name_starts_with_digit, add_scalar(a, "2nd"), BAD_NAME, "'2nd'")                                    \
    X(name_with_space, add_scalar(a, "my name"), BAD_NAME, "'my name'")                                   \
    X(name_with_code, add_scalar(a, "x);abort("), BAD_NAME, "letter")                                     \
    X(name_unterminated, add_scalar(a, "sixteen_letters_"), BAD_NAME, "number 0")                         \
    X(name_twice, (add_scalar(a, "width"), add_array(a, "width", 1)), DUPLICATE_NAME, "'width'")          \
    X(name_of_an_index, add_scalar(a, "k_len"), DUPLICATE_NAME, "'k_len'")                                \
    X(engine_unknown, strcpy(a->engine, "warp"), BAD_ENGINE, "'warp'")                                    \
    X(engine_unterminated, memset(a->engine, 'v', sizeof a->engine), BAD_ENGINE, "engine")                \
    X(corner_unknown, a->pattern.corner = 3, BAD_CORNER, "corner is 3")                                   \
    X(corner_missing, a->pattern = clattn_causal(CLATTN_NO_CORNER), BAD_CORNER, "CLATTN_TOP_LEFT or CLATTN_BOTTOM_RIGHT") \
    X(corners_differ, a->pattern = clattn_both(clattn_causal(CLATTN_TOP_LEFT), clattn_causal(CLATTN_BOTTOM_RIGHT)), \
      CORNERS_DIFFER, "corners")                                                                          \
    X(corners_differ_either, a->pattern = clattn_either(clattn_window(4, 0, CLATTN_BOTTOM_RIGHT),         \
                                                        clattn_causal(CLATTN_TOP_LEFT)),                  \
      CORNERS_DIFFER, "corners")                                                                          \
    X(mask_null, a->pattern = clattn_mask(NULL, CLATTN_TOP_LEFT), NULL_ARGUMENT, "NULL")                  \
    X(mask_too_long, long_mask(a, "k <= q & ", 90, "k <= q"), EXPR_LIMIT, "longer")                       \
    X(mask_unterminated, no_terminator(a), EXPR_LIMIT, "terminated")                                      \
    X(mask_too_deep, long_mask(a, "(", 200, "k"), EXPR_LIMIT, "deeper")                                   \
    X(mask_unclosed, mask(a, "(k <= q"), EXPR_SYNTAX, "column")                                           \
    X(mask_empty_operand, mask(a, "k <="), EXPR_SYNTAX, "column")                                         \
    X(mask_two_operators, mask(a, "k < < q"), EXPR_SYNTAX, "column")                                      \
    X(mask_trailing_text, mask(a, "k < q k"), EXPR_SYNTAX, "column")                                      \
    X(mask_with_include, mask(a, "#include \"/etc/passwd\""), EXPR_SYNTAX, "column")                      \
    X(mask_with_semicolon, mask(a, "k < q;"), EXPR_SYNTAX, "column")                                      \
    X(mask_array_unclosed, (add_array(a, "len", 1), mask(a, "k < len[b")), EXPR_SYNTAX, "column")         \
    X(mask_is_a_number, mask(a, "k + q"), EXPR_TYPE, "condition")                                         \
    X(mask_adds_conditions, mask(a, "(k < q) + 1 < 2"), EXPR_TYPE, "column")                              \
    X(mask_negates_a_number, mask(a, "!k"), EXPR_TYPE, "column")                                          \
    X(mask_ands_a_number, mask(a, "k & q < 2"), EXPR_TYPE, "column")                                      \
    X(mask_unknown_name, mask(a, "k < get_global_id"), EXPR_NAME, "get_global_id")                        \
    X(mask_undeclared_array, mask(a, "k < len[b]"), EXPR_NAME, "len")                                     \
    X(mask_number_too_large, mask(a, "k < 2147483648"), EXPR_NUMBER, "32 bits")                           \
    X(mask_number_huge, mask(a, "k < 99999999999999999999999"), EXPR_NUMBER, "32 bits")                   \
    X(prefix_of_a_bad_name, a->pattern = clattn_prefix_each("no good", CLATTN_TOP_LEFT), BAD_NAME, "name") \
    X(prefix_of_a_null_name, a->pattern = clattn_prefix_each(NULL, CLATTN_TOP_LEFT), NULL_ARGUMENT, "NULL") \
    X(valid_keys_undeclared, a->pattern = clattn_valid_keys("seen"), EXPR_NAME, "seen")

#define SPOIL(name, code, status, part)                                                                   \
    static void spoil_problem_##name(clattn_attention *a) { code; }
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

#define USE_PACKED (c->plan = packed, c->io.lse = c->io.key_lengths = c->io.counters = c->io.workspace = NULL,     \
                    c->io.arrays[0] = NULL, c->io.q_offsets = c->io.k_offsets = words)
#define USE_PLAIN (USE_PACKED, c->plan = plain, c->io.q_offsets = c->io.k_offsets = NULL)

#define ENQUEUE_MISUSES(X)                                                                                \
    X(io_null, c->io_at = NULL, NULL_ARGUMENT, "io")                                                      \
    X(io_size_zero, c->io.size = 0, BAD_STRUCT_SIZE, "clattn_io.size is 0")                               \
    X(io_size_odd, c->io.size++, BAD_STRUCT_SIZE, "clattn_io.size")                                       \
    X(queue_null, c->queue = NULL, NULL_QUEUE, "queue")                                                   \
    X(queue_of_another_context, c->queue = other_queue, WRONG_QUEUE, "context")                           \
    X(wait_null, c->n_wait = 1, BAD_WAIT_LIST, "n_wait is 1")                                             \
    X(wait_without_count, c->wait = &good_event, BAD_WAIT_LIST, "n_wait is 0")                            \
    X(wait_null_event, (c->n_wait = 1, c->wait = null_event), BAD_WAIT_LIST, "wait[0]")                   \
    X(wait_second_null, (c->n_wait = 2, c->wait = two_events(NULL)), BAD_WAIT_LIST, "wait[1]")            \
    X(wait_foreign_event, (c->n_wait = 2, c->wait = two_events(foreign_event)), WRONG_CONTEXT, "wait[1]") \
    X(wait_failed_event, (c->n_wait = 2, c->wait = two_events(failed_event)), DEPENDENCY_FAILED, "wait[1] ended with -42") \
    X(q_null, c->io.q = NULL, NULL_BUFFER, "io.q")                                                        \
    X(k_null, c->io.k = NULL, NULL_BUFFER, "io.k")                                                        \
    X(v_null, c->io.v = NULL, NULL_BUFFER, "io.v")                                                        \
    X(o_null, c->io.o = NULL, NULL_BUFFER, "io.o")                                                        \
    X(lse_null, c->io.lse = NULL, NULL_BUFFER, "lse")                                                     \
    X(key_lengths_null, c->io.key_lengths = NULL, NULL_BUFFER, "key_lengths")                             \
    X(array_null, c->io.arrays[0] = NULL, NULL_BUFFER, "valid")                                           \
    X(counters_null, c->io.counters = NULL, NULL_BUFFER, "counters")                                      \
    X(packed_q_offsets_null, (USE_PACKED, c->io.q_offsets = NULL), NULL_BUFFER, "q_offsets")              \
    X(packed_k_offsets_null, (USE_PACKED, c->io.k_offsets = NULL), NULL_BUFFER, "k_offsets")              \
    X(workspace_null, c->io.workspace = NULL, WORKSPACE_MISSING, "workspace")                             \
    X(workspace_short, c->io.workspace = tiny, WORKSPACE_TOO_SMALL, "workspace has 3 bytes")              \
    X(workspace_offset_too_far, c->io.workspace_offset = 4, WORKSPACE_TOO_SMALL, "workspace")             \
    X(workspace_offset_odd, c->io.workspace_offset = 2, BAD_OFFSET, "workspace_offset is 2")              \
    X(workspace_offset_negative, c->io.workspace_offset = -4, BAD_OFFSET, "workspace_offset is -4")       \
    X(workspace_offset_overflows, c->io.workspace_offset = INT64_MAX - 3, BAD_OFFSET, "workspace_offset") \
    X(workspace_unasked, (USE_PLAIN, c->io.workspace = workspace), UNUSED_BUFFER, "workspace")            \
    X(lse_unasked, (USE_PLAIN, c->io.lse = lse), UNUSED_BUFFER, "lse")                                    \
    X(counters_unasked, (USE_PLAIN, c->io.counters = counters), UNUSED_BUFFER, "counters")                \
    X(q_offsets_unasked, (USE_PLAIN, c->io.q_offsets = words), UNUSED_BUFFER, "q_offsets")                \
    X(k_offsets_unasked, (USE_PLAIN, c->io.k_offsets = words), UNUSED_BUFFER, "k_offsets")                \
    X(key_lengths_unasked, (USE_PLAIN, c->io.key_lengths = words), UNUSED_BUFFER, "key_lengths")          \
    X(array_unasked, c->io.arrays[1] = words, UNUSED_BUFFER, "arrays[1]")                                 \
    X(q_short, c->io.q = small, Q_TOO_SMALL, "191 bytes and needs 192")                                   \
    X(k_short, c->io.k = empty_ish, K_TOO_SMALL, "9599 bytes and needs 9600")                             \
    X(v_short, c->io.v = empty_ish, V_TOO_SMALL, "9599 bytes and needs 9600")                             \
    X(o_short, c->io.o = small, O_TOO_SMALL, "191 bytes and needs 192")                                   \
    X(lse_short, c->io.lse = tiny, LSE_TOO_SMALL, "lse has 3 bytes and needs 24")                         \
    X(key_lengths_short, c->io.key_lengths = tiny, LENGTHS_TOO_SMALL, "key_lengths has 3 bytes")          \
    X(q_offsets_short, (USE_PACKED, c->io.q_offsets = tiny), LENGTHS_TOO_SMALL, "q_offsets has 3 bytes")  \
    X(k_offsets_short, (USE_PACKED, c->io.k_offsets = tiny), LENGTHS_TOO_SMALL, "k_offsets has 3 bytes")  \
    X(array_short, c->io.arrays[0] = tiny, ARRAY_TOO_SMALL, "valid has 3 bytes and needs 8")              \
    X(counters_short, c->io.counters = tiny, COUNTERS_TOO_SMALL, "counters has 3 bytes")                  \
    X(q_foreign, c->io.q = foreign, WRONG_CONTEXT, "q")                                                   \
    X(v_foreign, c->io.v = foreign, WRONG_CONTEXT, "v")                                                   \
    X(o_foreign, c->io.o = foreign, WRONG_CONTEXT, "o")                                                   \
    X(array_foreign, c->io.arrays[0] = foreign, WRONG_CONTEXT, "valid")                                   \
    X(workspace_foreign, c->io.workspace = foreign, WRONG_CONTEXT, "workspace")                           \
    X(o_read_only, c->io.o = read_only, BUFFER_READ_ONLY, "o")                                            \
    X(lse_read_only, c->io.lse = read_only, BUFFER_READ_ONLY, "lse")                                      \
    X(o_is_q, c->io.q = o, OUTPUT_ALIASES_INPUT, "o")                                                     \
    X(o_is_v, c->io.v = o, OUTPUT_ALIASES_INPUT, "o and v")                                               \
    X(lse_is_key_lengths, c->io.key_lengths = lse, OUTPUT_ALIASES_INPUT, "lse and key_lengths")           \
    X(o_is_lse, c->io.lse = o, OUTPUT_ALIASES_INPUT, "o")                                                 \
    X(workspace_is_key_lengths, c->io.workspace = words, OUTPUT_ALIASES_INPUT, "workspace and key_lengths")

#define SPOIL(name, code, status, part)                                                                   \
    static void spoil_enqueue_##name(struct call *c) { code; }
ENQUEUE_MISUSES(SPOIL)
#undef SPOIL
static void spoil_with_image(struct call *c) { c->io.q = image; }

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
    io.key_lengths = io.arrays[0] = words;
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
    static const struct enqueue_misuse q_image = {"q_is_an_image", spoil_with_image, CLATTN_BAD_MEM_OBJECT, "q"};
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
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    io.q = missing == 'q' ? NULL : q;
    io.k = missing == 'k' ? NULL : k;
    io.v = missing == 'v' ? NULL : k;
    io.o = missing == 'o' ? NULL : out;
    io.lse = missing == 'l' ? NULL : out_lse;
    io.key_lengths = missing == 'n' ? NULL : lengths;
    io.arrays[0] = missing == 'a' ? NULL : lengths;
    io.counters = missing == 'c' ? NULL : tiles;
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

static clattn_status enqueue_merge(cl_command_queue q, cl_mem part_o, cl_mem part_lse, cl_mem out, cl_mem out_lse,
                                   cl_uint n_wait, const cl_event *wait)
{
    return clattn_enqueue_merge(merger, q, part_o, part_lse, out, out_lse, n_wait, wait, NULL);
}

#define CALL_MISUSES(X)                                                                                   \
    X(open_null, clattn_context_open(NULL, NULL), NULL_ARGUMENT, NOWHERE, "")                             \
    X(open_unknown_name, open_device("no such device anywhere"), DEVICE_NOT_FOUND, NOWHERE, "")           \
    X(open_index_past_end, open_device("4000000000"), DEVICE_NOT_FOUND, NOWHERE, "")                      \
    X(open_negative_index, open_device("-1"), DEVICE_NOT_FOUND, NOWHERE, "")                              \
    X(wrap_null, clattn_context_wrap(NULL, cl, device), NULL_ARGUMENT, NOWHERE, "")                       \
    X(wrap_null_context, wrap(NULL, device), NULL_ARGUMENT, NOWHERE, "")                                  \
    X(wrap_null_device, wrap(cl, NULL), NULL_ARGUMENT, NOWHERE, "")                                       \
    X(log_null_context, clattn_context_set_log(NULL, NULL, NULL), NULL_ARGUMENT, NOWHERE, "")             \
    X(cache_null_context, clattn_context_set_cache(NULL, CLATTN_CACHE_OFF, NULL), NULL_ARGUMENT, NOWHERE, "") \
    X(cache_mode_unknown, clattn_context_set_cache(ctx, (clattn_cache_mode)9, NULL), BAD_FLAGS, CONTEXT, "mode is 9") \
    X(message_null_context, clattn_context_message(NULL, sentence, 9), NULL_ARGUMENT, NOWHERE, "")        \
    X(message_null_text, clattn_context_message(ctx, NULL, 9), NULL_ARGUMENT, NOWHERE, "")                \
    X(message_no_room, clattn_context_message(ctx, sentence, 0), NULL_ARGUMENT, NOWHERE, "")              \
    X(message_short, clattn_context_message(ctx, sentence, 5), BUFFER_TOO_SHORT, NOWHERE, "")             \
    X(build_log_null_context, clattn_context_build_log(NULL, sentence, 9), NULL_ARGUMENT, NOWHERE, "")    \
    X(build_log_null_text, clattn_context_build_log(ctx, NULL, 9), NULL_ARGUMENT, NOWHERE, "")            \
    X(list_null_count, clattn_list_devices(NULL, 0, NULL), NULL_ARGUMENT, NOWHERE, "")                    \
    X(list_null_devices, clattn_list_devices(NULL, 3, &(size_t){0}), NULL_ARGUMENT, NOWHERE, "")          \
    X(describe_null_device, describe(NULL, sizeof(clattn_device_facts)), NULL_ARGUMENT, NOWHERE, "")      \
    X(describe_null_facts, clattn_device_describe(device, NULL), NULL_ARGUMENT, NOWHERE, "")              \
    X(describe_bad_size, describe(device, 3), BAD_STRUCT_SIZE, NOWHERE, "")                               \
    X(engine_past_end, engine(sizeof(clattn_device_facts), 99, sizeof(clattn_engine_fit)), BAD_COUNT, NOWHERE, "") \
    X(engine_bad_facts, engine(1, 0, sizeof(clattn_engine_fit)), BAD_STRUCT_SIZE, NOWHERE, "")            \
    X(engine_bad_fit, engine(sizeof(clattn_device_facts), 0, 1), BAD_STRUCT_SIZE, NOWHERE, "")            \
    X(engine_null, clattn_engine_describe(NULL, 0, NULL), NULL_ARGUMENT, NOWHERE, "")                     \
    X(check_null, clattn_attention_check(NULL, sentence, sizeof sentence), NULL_ARGUMENT, TEXT, "problem") \
    X(extent_null, clattn_attention_extent(NULL, 'q', &(int64_t){0}), NULL_ARGUMENT, NOWHERE, "")         \
    X(extent_null_answer, extent('q', NULL), NULL_ARGUMENT, NOWHERE, "")                                  \
    X(extent_of_no_tensor, extent('x', &(int64_t){0}), BAD_COUNT, NOWHERE, "")                            \
    X(extent_of_nul, extent(0, &(int64_t){0}), BAD_COUNT, NOWHERE, "")                                    \
    X(plan_null, clattn_plan_create(NULL, ctx, NULL), NULL_ARGUMENT, NOWHERE, "")                         \
    X(plan_null_context, plan_create(&(clattn_attention)CLATTN_ATTENTION_INIT, NULL), NULL_ARGUMENT, NOWHERE, "") \
    X(plan_null_problem, plan_create(NULL, ctx), NULL_ARGUMENT, CONTEXT, "problem")                       \
    X(plan_forced_engine_refused, forced_engine(), ENGINE_REFUSED, NOWHERE, "")                           \
    X(explain_null, clattn_plan_explain(NULL, sentence, 9), NULL_ARGUMENT, NOWHERE, "")                   \
    X(explain_null_text, clattn_plan_explain(plain, NULL, 9), NULL_ARGUMENT, CONTEXT, "text")             \
    X(explain_no_room, clattn_plan_explain(plain, sentence, 0), NULL_ARGUMENT, CONTEXT, "text")           \
    X(explain_short, clattn_plan_explain(plain, sentence, 20), BUFFER_TOO_SHORT, CONTEXT, "20 bytes")     \
    X(workspace_null_plan, clattn_workspace_size(NULL, &(uint64_t){0}), NULL_ARGUMENT, NOWHERE, "")       \
    X(workspace_null_answer, clattn_workspace_size(plain, NULL), NULL_ARGUMENT, CONTEXT, "bytes")         \
    X(enqueue_null_plan, clattn_enqueue_forward(NULL, queue, NULL, 0, NULL, NULL), NULL_ARGUMENT, NOWHERE, "") \
    X(run_null_plan, clattn_run_forward(NULL, NULL), NULL_ARGUMENT, NOWHERE, "")                          \
    X(run_null_io, clattn_run_forward(plain, NULL), NULL_ARGUMENT, CONTEXT, "io")                         \
    X(run_bad_size, run_without('s'), BAD_STRUCT_SIZE, CONTEXT, "clattn_host_io.size")                    \
    X(run_without_q, run_without('q'), NULL_ARGUMENT, CONTEXT, "io.q")                                    \
    X(run_without_k, run_without('k'), NULL_ARGUMENT, CONTEXT, "io.k")                                    \
    X(run_without_v, run_without('v'), NULL_ARGUMENT, CONTEXT, "io.v")                                    \
    X(run_without_o, run_without('o'), NULL_ARGUMENT, CONTEXT, "io.o")                                    \
    X(run_without_lse, run_without('l'), NULL_ARGUMENT, CONTEXT, "io.lse")                                \
    X(run_without_key_lengths, run_without('n'), NULL_ARGUMENT, CONTEXT, "io.key_lengths")                \
    X(run_without_array, run_without('a'), NULL_ARGUMENT, CONTEXT, "valid")                               \
    X(run_without_counters, run_without('c'), NULL_ARGUMENT, CONTEXT, "io.counters")                      \
    X(parse_null, clattn_problem_parse(NULL, "attn:f32", NULL, 0), NULL_ARGUMENT, NOWHERE, "")            \
    X(parse_null_text, parse(NULL, sizeof(clattn_attention)), NULL_ARGUMENT, NOWHERE, "")                 \
    X(parse_bad_size, parse("attn:f32", 1), BAD_STRUCT_SIZE, NOWHERE, "")                                 \
    X(parse_empty, parse("", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT, "column 1")                 \
    X(parse_other_operator, parse("conv:f32", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT, "column 1") \
    X(parse_unknown_type, parse("attn:f64:q4", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT, "column 6") \
    X(parse_three_types, parse("attn:f32-f32-f32:q4", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT, "two (inputs-output)") \
    X(parse_unknown_field, parse("attn:f32:z4", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT, "column 10") \
    X(parse_number_missing, parse("attn:f32:q:k4", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT, "column 10") \
    X(parse_number_huge, parse("attn:f32:q99999999999999999999", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT, "column") \
    X(parse_trailing, parse("attn:f32:q4:k4:d8:", sizeof(clattn_attention)), PROBLEM_SYNTAX, TEXT, "column") \
    X(parse_bad_value, parse("attn:f32:q4:k4:d1000", sizeof(clattn_attention)), BAD_DIM, TEXT, "dim is 1000") \
    X(parse_bad_heads, parse("attn:f32:h5/2:q4:k4:d8", sizeof(clattn_attention)), HEADS_NOT_DIVISIBLE, TEXT, "heads is 5") \
    X(parse_no_corner, parse("attn:f32:q4:k5:d8:causal", sizeof(clattn_attention)), BAD_CORNER, TEXT, "CLATTN_TOP_LEFT") \
    X(print_null, clattn_problem_print(NULL, sentence, 9), NULL_ARGUMENT, NOWHERE, "")                    \
    X(print_short_text, print_short(), BUFFER_TOO_SHORT, NOWHERE, "")                                     \
    X(merge_null, clattn_merge_plan_create(NULL, ctx, NULL), NULL_ARGUMENT, NOWHERE, "")                  \
    X(merge_bad_size, merge_size(0), BAD_STRUCT_SIZE, CONTEXT, "clattn_merge.size")                       \
    X(merge_no_parts, merge(0, 4, 4, 0, 0), BAD_COUNT, CONTEXT, "parts is 0")                             \
    X(merge_parts_negative, merge(-3, 4, 4, 0, 0), BAD_COUNT, CONTEXT, "parts is -3")                     \
    X(merge_rows_negative, merge(1, -1, 4, 0, 0), BAD_COUNT, CONTEXT, "rows is -1")                       \
    X(merge_overflows, merge((int64_t)1 << 40, (int64_t)1 << 40, 4, 0, 0), BAD_COUNT, CONTEXT, "parts is 1099511627776") \
    X(merge_rows_many, merge(1, (int64_t)1 << 31, 4, 0, 0), BAD_COUNT, CONTEXT, "rows is 2147483648")     \
    X(merge_dim_v_zero, merge(2, 4, 0, 0, 0), BAD_DIM_V, CONTEXT, "dim_v is 0")                           \
    X(merge_dim_v_large, merge(2, 4, 577, 0, 0), BAD_DIM_V, CONTEXT, "dim_v is 577")                      \
    X(merge_type_parts, merge(2, 4, 4, 9, 0), BAD_TYPE, CONTEXT, "type_parts is 9")                       \
    X(merge_type_o, merge(2, 4, 4, 0, -1), BAD_TYPE, CONTEXT, "type_o is -1")                             \
    X(merge_enqueue_null, clattn_enqueue_merge(NULL, queue, input, input, o, NULL, 0, NULL, NULL), NULL_ARGUMENT, NOWHERE, "") \
    X(merge_null_queue, enqueue_merge(NULL, input, input, o, NULL, 0, NULL), NULL_QUEUE, CONTEXT, "queue") \
    X(merge_wrong_queue, enqueue_merge(other_queue, input, input, o, NULL, 0, NULL), WRONG_QUEUE, CONTEXT, "context") \
    X(merge_null_parts, enqueue_merge(queue, NULL, input, o, NULL, 0, NULL), NULL_BUFFER, CONTEXT, "part_o") \
    X(merge_null_part_lse, enqueue_merge(queue, input, NULL, o, NULL, 0, NULL), NULL_BUFFER, CONTEXT, "part_lse") \
    X(merge_null_o, enqueue_merge(queue, input, input, NULL, NULL, 0, NULL), NULL_BUFFER, CONTEXT, "o")   \
    X(merge_short_parts, enqueue_merge(queue, tiny, input, o, NULL, 0, NULL), O_TOO_SMALL, CONTEXT, "part_o has 3 bytes") \
    X(merge_short_part_lse, enqueue_merge(queue, input, tiny, o, NULL, 0, NULL), LSE_TOO_SMALL, CONTEXT, "part_lse has 3") \
    X(merge_short_o, enqueue_merge(queue, input, input, small, NULL, 0, NULL), O_TOO_SMALL, CONTEXT, "o has 191 bytes") \
    X(merge_short_lse, enqueue_merge(queue, input, input, o, tiny, 0, NULL), LSE_TOO_SMALL, CONTEXT, "lse has 3 bytes") \
    X(merge_foreign, enqueue_merge(queue, foreign, input, o, NULL, 0, NULL), WRONG_CONTEXT, CONTEXT, "part_o") \
    X(merge_read_only, enqueue_merge(queue, input, input, read_only, NULL, 0, NULL), BUFFER_READ_ONLY, CONTEXT, "o") \
    X(merge_alias, enqueue_merge(queue, o, input, o, NULL, 0, NULL), OUTPUT_ALIASES_INPUT, CONTEXT, "o")  \
    X(merge_wait_null, enqueue_merge(queue, input, input, o, NULL, 2, NULL), BAD_WAIT_LIST, CONTEXT, "n_wait is 2") \
    X(merge_wait_failed, enqueue_merge(queue, input, input, o, NULL, 1, &failed_event), DEPENDENCY_FAILED, CONTEXT, "-42")

#define CALL(name, expression, status, where, part)                                                       \
    static clattn_status call_##name(void) { return expression; }
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
        const char *text = call_misuses[i].where == CONTEXT ? message() : call_misuses[i].where == TEXT ? sentence : NULL;
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
    ck_assert(!(clattn_problem_flops(NULL) > 0) && !(clattn_problem_bytes(NULL) > 0));
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

/* Plans that were fine stay fine after all of that. */
START_TEST(plans_still_work)
{
    clattn_io io = CLATTN_IO_INIT;
    io.q = io.k = io.v = input;
    io.o = o;
    ck_assert_int_eq(clattn_enqueue_forward(plain, queue, &io, 1, &good_event, NULL), CLATTN_OK);
    ck_assert_int_eq(clFinish(queue), CL_SUCCESS);
    float value;
    ck_assert_int_eq(clEnqueueReadBuffer(queue, o, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL), CL_SUCCESS);
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
    tcase_add_test(cases, unusable_cache);
    tcase_add_test(cases, statuses);
    tcase_add_test(cases, plans_still_work);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    printf("# %zu misuses\n", LEN(problem_misuses) + LEN(enqueue_misuses) + LEN(call_misuses));
    return failed != 0;
}
