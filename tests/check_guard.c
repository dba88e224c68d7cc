/* SPDX-License-Identifier: MIT
 * check_guard.c - buffers of exact size between pages that may not be touched: a kernel that reads or writes
 * one element too far ends this program; a row that is not written stays NaN; an element between rows that is
 * written stops being NaN.
 *
 *     end:    | no access | ....data |  no access |        begin:   | no access | data.... | no access |
 *
 * Meaningful only where OpenCL uses the host's memory itself; elsewhere the tests are skipped by name.  The
 * weights are those of a mean, so every result lies between the smallest and the largest value, whatever the
 * rounding. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tests/fresh_context.h"
#include "tests/suite.h"

#include <clattn.h>

#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

static clattn_context *ctx;
static cl_context cl;
static cl_command_queue queue;
static bool zero_copy;
static int problems_run;

/* ---- guarded memory ---- */

enum side { AT_END, AT_BEGIN };

struct fenced {
    unsigned char *map, *data;
    size_t map_bytes, bytes;
    cl_mem mem;
};

static bool fence_make(struct fenced *f, size_t bytes, enum side side)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (bytes + page - 1) / page * page;
    if (body == 0)
        body = page;
    f->bytes = bytes;
    f->map_bytes = body + 2 * page;
    f->map = mmap(NULL, f->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (f->map == MAP_FAILED)
        return false;
    if (mprotect(f->map, page, PROT_NONE) || mprotect(f->map + page + body, page, PROT_NONE))
        return false;
    f->data = side == AT_END ? f->map + page + body - bytes : f->map + page;
    f->mem = NULL;
    return true;
}

static void fence_to_device(struct fenced *f)
{
    cl_int code;
    f->mem = clCreateBuffer(cl, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, f->bytes, f->data, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
}

static void fence_free(struct fenced *f)
{
    if (f->mem)
        clReleaseMemObject(f->mem);
    if (f->map)
        munmap(f->map, f->map_bytes);
    memset(f, 0, sizeof *f);
}

/* Whether the device works on our memory itself, at an address as odd as those of the tests. */
static bool probe_zero_copy(void)
{
    bool same = true;
    for (int side = AT_END; side <= AT_BEGIN; side++) {
        struct fenced f;
        cl_int code;
        ck_assert(fence_make(&f, 4098, side));
        fence_to_device(&f);
        void *mapped =
            clEnqueueMapBuffer(queue, f.mem, CL_TRUE, CL_MAP_READ, 0, f.bytes, 0, NULL, NULL, &code);
        same = same && code == CL_SUCCESS && mapped == f.data;
        if (code == CL_SUCCESS)
            clEnqueueUnmapMemObject(queue, f.mem, mapped, 0, NULL, NULL);
        clFinish(queue);
        fence_free(&f);
    }
    return same;
}

static void set_up(void)
{
    cl_int code;
    ctx = fresh_context();
    cl = clattn_context_cl(ctx);
    queue = clCreateCommandQueue(cl, clattn_context_device(ctx), 0, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    cl_device_type type = 0;
    clGetDeviceInfo(clattn_context_device(ctx), CL_DEVICE_TYPE, sizeof type, &type, NULL);
    zero_copy = type & CL_DEVICE_TYPE_CPU && probe_zero_copy();
}

static void tear_down(void)
{
    clReleaseCommandQueue(queue);
    clattn_context_close(ctx);
}

/* ---- elements of any storage ---- */

static size_t type_bytes(int32_t type)
{
    return type == CLATTN_F32 ? 4 : 2;
}

/* One of -1, -0.5, 0.5, 1, 1.5 in bits: exact in every storage. */
static void store_sample(int32_t type, void *data, int64_t i, uint32_t seed)
{
    static const uint32_t f32[] = {0xbf800000u, 0xbf000000u, 0x3f000000u, 0x3f800000u, 0x3fc00000u};
    static const uint16_t f16[] = {0xbc00, 0xb800, 0x3800, 0x3c00, 0x3e00};
    uint32_t hash = ((uint32_t)i + seed) * 2654435761u, n = (hash >> 16) % 5;
    if (type == CLATTN_F32)
        ((uint32_t *)data)[i] = f32[n];
    else
        ((uint16_t *)data)[i] = type == CLATTN_F16 ? f16[n] : (uint16_t)(f32[n] >> 16);
}

static double load(int32_t type, const void *data, int64_t i)
{
    float value;
    if (type == CLATTN_F32)
        return (double)((const float *)data)[i];
    uint32_t bits = ((const uint16_t *)data)[i];
    if (type == CLATTN_BF16) {
        bits <<= 16;
        memcpy(&value, &bits, sizeof value);
        return (double)value;
    }
    uint32_t exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double size = exponent == 31  ? (mantissa ? (double)NAN : (double)INFINITY)
                  : exponent == 0 ? ldexp(mantissa, -24)
                                  : ldexp(mantissa + 1024, (int)exponent - 25);
    return bits & 0x8000 ? -size : size;
}

/* ---- one problem between fences ---- */

struct case_io {
    struct fenced q, k, v, o, lse, q_offsets, k_offsets, lengths, array, list, workspace;
};

static void make_tensor(struct fenced *f, const clattn_attention *a, char tensor, int32_t type,
                        enum side side)
{
    int64_t elements;
    ck_assert_int_eq(clattn_attention_extent(a, tensor, &elements), CLATTN_OK);
    size_t bytes = (size_t)elements * type_bytes(type);
    if (bytes == 0)
        return;
    ck_assert(fence_make(f, bytes, side));
    memset(f->data, 0xff, bytes); /* NaN in every storage: gaps of inputs too */
}

/* Visit every element that belongs to a tensor. */
static void fill_rows(struct fenced *f, const clattn_attention *a, const clattn_layout *l, int64_t heads,
                      int64_t tokens, int64_t width, int32_t type, uint32_t seed)
{
    int64_t batch = a->flags & CLATTN_PACKED ? 1 : a->batch;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t t = 0; t < tokens; t++)
                for (int64_t d = 0; d < width; d++)
                    store_sample(type, f->data, l->offset + b * l->batch + h * l->head + t * l->token + d,
                                 seed);
}

static void make_ints(struct fenced *f, const int32_t *values, size_t n, enum side side)
{
    ck_assert(fence_make(f, n * sizeof *values, side));
    memcpy(f->data, values, n * sizeof *values);
    fence_to_device(f);
}

static void make_lengths(struct case_io *c, const clattn_attention *a, enum side side)
{
    int32_t q_offsets[9] = {0}, k_offsets[9] = {0}, lengths[8];
    for (int64_t b = 0; b < a->batch; b++) { /* entry 0 is full, the others rise to the totals */
        bool last = b + 1 == a->batch;
        q_offsets[b + 1] = (int32_t)(last ? a->q_total : a->q_len + b * (a->q_total - a->q_len) / a->batch);
        k_offsets[b + 1] =
            (int32_t)(last ? a->kv_total : a->kv_len + b * (a->kv_total - a->kv_len) / a->batch);
        lengths[b] = (int32_t)(b == 0 ? a->kv_len : a->kv_len / 2);
    }
    if (a->flags & CLATTN_PACKED) {
        make_ints(&c->q_offsets, q_offsets, (size_t)a->batch + 1, side);
        make_ints(&c->k_offsets, k_offsets, (size_t)a->batch + 1, side);
    }
    if (a->flags & CLATTN_KEY_LENGTHS)
        make_ints(&c->lengths, lengths, (size_t)a->batch, side);
    if (a->n_arrays)
        make_ints(&c->array, lengths, (size_t)a->arrays[0].dims[0], side);
}

/* Lists that are none: half of their counts and ids are out of range. */
static void make_list(struct fenced *f, const clattn_list *l, enum side side)
{
    static const int32_t odd[] = {0, 2, INT32_MAX, 1, INT32_MIN, 3, -1, 1 << 28};
    uint64_t bytes;
    ck_assert_int_eq(clattn_list_bytes(l, &bytes), CLATTN_OK);
    ck_assert(fence_make(f, bytes, side));
    for (uint64_t i = 0; i < bytes / 4; i++)
        ((int32_t *)f->data)[i] = odd[i * 2654435761u >> 9 & 7];
    fence_to_device(f);
}

static void make_case(struct case_io *c, const clattn_attention *a, uint64_t workspace, enum side side)
{
    bool packed = a->flags & CLATTN_PACKED;
    int64_t q_tokens = packed ? a->q_total : a->q_len, k_tokens = packed ? a->kv_total : a->kv_len;
    memset(c, 0, sizeof *c);
    make_tensor(&c->q, a, 'q', a->type_q, side);
    make_tensor(&c->k, a, 'k', a->type_k, side);
    make_tensor(&c->v, a, 'v', a->type_v, side);
    make_tensor(&c->o, a, 'o', a->type_o, side);
    if (a->flags & CLATTN_WANT_LSE)
        make_tensor(&c->lse, a, 'l', CLATTN_F32, side);
    if (c->q.map)
        fill_rows(&c->q, a, &a->q, a->heads, q_tokens, a->dim, a->type_q, 1);
    if (c->k.map)
        fill_rows(&c->k, a, &a->k, a->kv_heads, k_tokens, a->dim, a->type_k, 2);
    if (c->v.map)
        fill_rows(&c->v, a, &a->v, a->kv_heads, k_tokens, a->dim_v, a->type_v, 3);
    struct fenced *tensors[] = {&c->q, &c->k, &c->v, &c->o, &c->lse};
    for (size_t i = 0; i < LEN(tensors); i++)
        if (tensors[i]->map)
            fence_to_device(tensors[i]);
    make_lengths(c, a, side);
    if (a->list.size > 0)
        make_list(&c->list, &a->list, side);
    if (workspace) {
        ck_assert(fence_make(&c->workspace, (size_t)workspace, side));
        memset(c->workspace.data, 0xff, (size_t)workspace);
        fence_to_device(&c->workspace);
    }
}

static void free_case(struct case_io *c)
{
    struct fenced *all = (struct fenced *)c;
    for (size_t i = 0; i < sizeof *c / sizeof *all; i++)
        fence_free(&all[i]);
}

/* Every element of the rows is a mean of values from -1 to 1.5, or 0; every other element is untouched. */
static void check_rows(const char *name, const struct case_io *c, const clattn_attention *a)
{
    bool packed = a->flags & CLATTN_PACKED;
    int64_t tokens = packed ? a->q_total : a->q_len, batch = packed ? 1 : a->batch,
            size = (int64_t)type_bytes(a->type_o);
    unsigned char *ours = calloc(c->o.bytes, 1);
    ck_assert_ptr_nonnull(ours);
    for (int64_t b = 0; b < batch; b++)
        for (int64_t h = 0; h < a->heads; h++)
            for (int64_t t = 0; t < tokens; t++)
                for (int64_t d = 0; d < a->dim_v; d++) {
                    int64_t i = a->o.offset + b * a->o.batch + h * a->o.head + t * a->o.token + d;
                    double value = load(a->type_o, c->o.data, i);
                    memset(ours + i * size, 1, (size_t)size);
                    ck_assert_msg(value >= -1.0001 && value <= 1.5001,
                                  "%s: o[b=%lld h=%lld i=%lld d=%lld] is %g", name, (long long)b,
                                  (long long)h, (long long)t, (long long)d, value);
                }
    for (size_t i = 0; i < c->o.bytes; i++)
        ck_assert_msg(ours[i] || c->o.data[i] == 0xff, "%s: byte %zu of o, between rows, was written", name,
                      i);
    free(ours);
    for (size_t i = 0; i < c->lse.bytes / sizeof(float); i++)
        ck_assert_msg(!isnan(((const float *)c->lse.data)[i]), "%s: lse[%zu] was not written", name, i);
}

static void map_and_check(const char *name, const struct case_io *c, const clattn_attention *a)
{
    cl_int code;
    void *o = clEnqueueMapBuffer(queue, c->o.mem, CL_TRUE, CL_MAP_READ, 0, c->o.bytes, 0, NULL, NULL, &code);
    ck_assert_msg(code == CL_SUCCESS && o == c->o.data, "%s: o is not mapped in place", name);
    check_rows(name, c, a);
    clEnqueueUnmapMemObject(queue, c->o.mem, o, 0, NULL, NULL);
    clFinish(queue);
}

static void run_case(const char *name, clattn_plan *plan, const clattn_attention *a, enum side side)
{
    struct case_io c;
    char text[512] = "";
    uint64_t workspace = 0;
    clattn_io io = CLATTN_IO_INIT;
    ck_assert_int_eq(clattn_workspace_size(plan, &workspace), CLATTN_OK);
    make_case(&c, a, workspace, side);
    io.q = c.q.mem;
    io.k = c.k.mem;
    io.v = c.v.mem;
    io.o = c.o.mem;
    io.lse = c.lse.mem;
    io.q_offsets = c.q_offsets.mem;
    io.k_offsets = c.k_offsets.mem;
    io.key_lengths = c.lengths.mem;
    io.arrays[0] = c.array.mem;
    io.list = c.list.mem;
    io.workspace = c.workspace.mem;
    clattn_status status = clattn_enqueue_forward(plan, queue, &io, 0, NULL, NULL);
    clattn_context_message(ctx, text, sizeof text);
    ck_assert_msg(status == CLATTN_OK, "%s: %s", name, text);
    ck_assert_int_eq(clFinish(queue), CL_SUCCESS);
    map_and_check(name, &c, a);
    free_case(&c);
    problems_run++;
}

/* ---- the problems: few kernels, many edges ---- */

/* Strides with gaps of 3 elements after rows and more after heads and batches, and an offset. */
static void spread(clattn_layout *l, int64_t heads, int64_t tokens, int64_t width)
{
    l->offset = 5;
    l->token = width + 3;
    l->head = tokens * l->token + 7;
    l->batch = heads * l->head + 11;
}

static void dense(clattn_layout *l, int64_t heads, int64_t tokens, int64_t width)
{
    l->offset = 0;
    l->token = width;
    l->head = tokens * width;
    l->batch = heads * l->head;
}

struct kernel_case {
    const char *name;
    int32_t type_q, type_k, type_v, type_o;
    int64_t heads, kv_heads, dim, dim_v;
    uint32_t flags;
    bool strided, array; /* with an array a list too */
    int64_t splits;
};

static const struct kernel_case kernels[] = {
    {"f32 dense", 0, 0, 0, 0, 2, 1, 16, 16, 0, false, false, 1},
    {"f32 odd widths, lse, strided", 0, 0, 0, 0, 3, 3, 5, 7, CLATTN_WANT_LSE, true, false, 1},
    {"f16 dense, grouped", 1, 1, 1, 1, 4, 2, 40, 24, 0, false, false, 1},
    {"bf16 in, f32 out, strided, key lengths", 2, 2, 2, 0, 2, 2, 33, 17, CLATTN_KEY_LENGTHS, true, false, 1},
    {"mixed storages, packed, lse", 0, 1, 2, 1, 2, 1, 9, 3, CLATTN_PACKED | CLATTN_WANT_LSE, false, false, 1},
    {"f32 split, array, lse", 0, 0, 0, 0, 2, 1, 16, 1, CLATTN_WANT_LSE, true, true, 3},
};
static const struct {
    int64_t q, k;
} lengths[] = {{1, 1}, {1, 129}, {15, 16}, {17, 127}, {33, 128}, {64, 63}, {65, 257}, {70, 31}};

static clattn_attention make_problem(const struct kernel_case *c, int64_t q_len, int64_t kv_len,
                                     const char *engine)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    bool packed = c->flags & CLATTN_PACKED;
    void (*layout)(clattn_layout *, int64_t, int64_t, int64_t) = c->strided ? spread : dense;
    a.batch = 2;
    a.heads = c->heads;
    a.kv_heads = c->kv_heads;
    a.type_q = c->type_q;
    a.type_k = c->type_k;
    a.type_v = c->type_v;
    a.type_o = c->type_o;
    a.q_len = q_len;
    a.kv_len = kv_len;
    a.q_total = packed ? q_len + q_len / 2 : 0;
    a.kv_total = packed ? kv_len + kv_len / 3 : 0;
    a.dim = c->dim;
    a.dim_v = c->dim_v;
    a.splits = c->splits;
    a.flags = c->flags | CLATTN_NO_SELF_TEST | (c->splits > 1 ? CLATTN_CALLER_WORKSPACE : 0);
    int64_t q_tokens = packed ? a.q_total : q_len, k_tokens = packed ? a.kv_total : kv_len;
    layout(&a.q, a.heads, q_tokens, a.dim);
    layout(&a.k, a.kv_heads, k_tokens, a.dim);
    layout(&a.v, a.kv_heads, k_tokens, a.dim_v);
    layout(&a.o, a.heads, q_tokens, a.dim_v);
    a.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
    if (c->array) {
        strcpy(a.arrays[0].name, "seen");
        a.arrays[0].type = CLATTN_I32;
        a.arrays[0].n_dims = 1;
        a.arrays[0].dims[0] = a.batch;
        a.n_arrays = 1;
        a.pattern = clattn_both(clattn_either(a.pattern, clattn_valid_keys("seen")),
                                clattn_mask("listed | k < 2", CLATTN_NO_CORNER));
        a.list.size = sizeof a.list;
        ck_assert_int_eq(clattn_list_fit(&a.list, &a, CLATTN_SCOPE_HEAD, 12, 8, 5), CLATTN_OK);
    }
    strcpy(a.engine, engine);
    return a;
}

static void run_kernel_case(const struct kernel_case *c, const char *engine)
{
    for (size_t n = 0; n < LEN(lengths); n++) {
        clattn_attention a = make_problem(c, lengths[n].q, lengths[n].k, engine);
        char name[160], text[512] = "";
        clattn_plan *plan = NULL;
        clattn_status status = clattn_plan_create(&plan, ctx, &a);
        clattn_context_message(ctx, text, sizeof text);
        snprintf(name, sizeof name, "%s, %s, q%lld k%lld", engine, c->name, (long long)lengths[n].q,
                 (long long)lengths[n].k);
        ck_assert_msg(status == CLATTN_OK, "%s: %s", name, text);
        run_case(name, plan, &a, AT_END);
        run_case(name, plan, &a, AT_BEGIN);
        clattn_plan_destroy(plan);
    }
}

static bool engine_fits(const char *engine)
{
    clattn_device_facts facts;
    clattn_engine_fit fit = {.size = sizeof fit};
    facts.size = sizeof facts;
    ck_assert_int_eq(clattn_device_describe(clattn_context_device(ctx), &facts), CLATTN_OK);
    for (size_t i = 0; !clattn_engine_describe(&facts, i, &fit); i++)
        if (!strcmp(fit.engine, engine))
            return fit.fits;
    ck_abort_msg("there is no engine '%s'", engine);
    return false;
}

static void guard_engine(const char *engine)
{
    if (!zero_copy || !engine_fits(engine)) {
        printf("# skip guard pages, %s: %s\n", engine,
               zero_copy ? "the engine does not fit this device"
                         : "this device does not work on the host's memory itself");
        return;
    }
    int before = problems_run;
    for (size_t i = 0; i < LEN(kernels); i++)
        run_kernel_case(&kernels[i], engine);
    ck_assert_int_eq(problems_run - before, (int)(2 * LEN(kernels) * LEN(lengths)));
}

START_TEST(portable)
{
    guard_engine("portable");
}
END_TEST

START_TEST(vector)
{
    guard_engine("vector");
}
END_TEST

/* ---- offsets beyond 4 GiB: sparse memory, of which a few pages are touched ---- */

enum { FAR_ROWS = 19, FAR_KEYS = 70, FAR_DIM = 8, FAR_V = FAR_KEYS * FAR_DIM, FAR_O = FAR_ROWS * FAR_DIM };
#define FAR_OFFSET (((int64_t)1 << 32) / 4 + 1027) /* elements: beyond 2^32 bytes */

static clattn_attention far_problem(int64_t offset, const char *engine)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    a.q_len = FAR_ROWS;
    a.kv_len = FAR_KEYS;
    a.dim = a.dim_v = FAR_DIM;
    a.flags = CLATTN_NO_SELF_TEST;
    a.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
    a.q.offset = a.k.offset = a.v.offset = a.o.offset = offset;
    strcpy(a.engine, engine);
    return a;
}

/* All four tensors in sparse maps of their own, at an offset; o goes to result. */
static void run_far(int64_t offset, const char *engine, float *result)
{
    clattn_attention a = far_problem(offset, engine);
    clattn_io io = CLATTN_IO_INIT;
    clattn_plan *plan = NULL;
    cl_mem *mems[] = {&io.q, &io.k, &io.v, &io.o};
    float *maps[4];
    size_t bytes = ((size_t)offset + FAR_V) * sizeof(float);
    ck_assert_int_eq(clattn_plan_create(&plan, ctx, &a), CLATTN_OK);
    for (int i = 0; i < 4; i++) {
        cl_int code;
        maps[i] =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        ck_assert_ptr_ne(maps[i], MAP_FAILED);
        for (int64_t j = 0; j < FAR_V; j++)
            store_sample(CLATTN_F32, maps[i] + offset, j, (uint32_t)i * 1000);
        *mems[i] = clCreateBuffer(cl, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, bytes, maps[i], &code);
        ck_assert_int_eq(code, CL_SUCCESS);
    }
    ck_assert_int_eq(clattn_enqueue_forward(plan, queue, &io, 0, NULL, NULL), CLATTN_OK);
    ck_assert_int_eq(clFinish(queue), CL_SUCCESS);
    memcpy(result, maps[3] + offset, FAR_O * sizeof *result);
    for (int i = 0; i < 4; i++) {
        clReleaseMemObject(*mems[i]);
        munmap(maps[i], bytes);
    }
    clattn_plan_destroy(plan);
}

START_TEST(far_offsets)
{
    static const char *const engines[] = {"portable", "vector"};
    cl_ulong largest = 0;
    clGetDeviceInfo(clattn_context_device(ctx), CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof largest, &largest, NULL);
    if (!zero_copy || largest < ((cl_ulong)FAR_OFFSET + FAR_V) * 4) {
        printf("# skip far_offsets: the largest buffer of this device is %llu bytes%s\n",
               (unsigned long long)largest,
               zero_copy ? "" : ", and it does not work on the host's memory itself");
        return;
    }
    for (size_t i = 0; i < LEN(engines); i++) {
        float near_by[FAR_O], far_away[FAR_O];
        if (!engine_fits(engines[i]))
            continue;
        run_far(0, engines[i], near_by);
        run_far(FAR_OFFSET, engines[i], far_away);
        ck_assert_msg(!memcmp(near_by, far_away, sizeof near_by), "%s: other bits beyond 4 GiB", engines[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guard pages");
    TCase *cases = tcase_create("exact buffers");
    tcase_add_unchecked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 600);
    tcase_add_test(cases, portable);
    tcase_add_test(cases, vector);
    tcase_add_test(cases, far_offsets);
    suite_add_tcase(suite, cases);
    int failed = run_suite(suite);
    printf("# %d problems between guard pages\n", problems_run);
    return failed;
}
