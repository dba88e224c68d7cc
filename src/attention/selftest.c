/* SPDX-License-Identifier: MIT
 * selftest.c - the first launch of a plan's kernels, on a tiny problem, compared with a scalar computation.
 *
 * Compilers are wrong now and then, and some generate code only at the first launch: both come to light here,
 * inside clattn_plan_create.  The tiny problem has the plan's specialisation (types, head sizes, flags,
 * rules, tile) and lengths one past a tile; engines whose blocks are on their way side by side get more
 * blocks than that, and a key in the middle whose scores are far above those before it, so that sums have to
 * be rescaled.  A softmax's log-sum-exp is compared as well, if it is asked for.  Values are multiples of 1/8
 * from -1 to 1 (of that key from -8 to 8), exact in every storage; arrays have dimensions of 8 at most, since
 * indices are clamped. */
#include "attention/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_DIM 8 /* of an array */
#define TOP_KEY 8     /* times the first query's values are the values of the key that stands out */
#define SAMPLE 16     /* rows compared of a problem of many blocks */

/* The tiny problem with its tensors, here and on the device. */
struct tiny {
    struct clattn__problem problem; /* shares the plan's parsed rules */
    struct clattn__launch launch;
    struct forward_args args;
    struct merge_args merge_args;
    struct clattn__tables tables; /* laid out anew; the kernels are the plan's */
    int64_t workspace_bytes;
    int64_t top_key; /* the key that stands out, or -1 */
    unsigned char *tensor[CLATTN__TENSORS];
    cl_mem mem[CLATTN__TENSORS];
    cl_int lengths[2]; /* offsets {0, q_len}; or the key length in [0] */
    cl_int k_offsets_values[2];
    unsigned char *array[CLATTN_MAX_ARRAYS];
    int32_t *list;
    struct clattn__lists lists; /* for the host */
    cl_mem array_mem[CLATTN_MAX_ARRAYS];
    cl_mem q_offsets, k_offsets, key_lengths, counters, list_mem, workspace, arrivals;
    cl_command_queue queue;
};

static double value_at(enum clattn__tensor tensor, int64_t index)
{
    uint32_t hash = ((uint32_t)index + 977u * (uint32_t)tensor) * 2654435761u;
    return (double)((int)(hash >> 20) % 17 - 8) / 8.0;
}

static double key_value(const struct tiny *t, int64_t key, int64_t d)
{
    int64_t dim = t->problem.a.dim;
    return key == t->top_key ? TOP_KEY * value_at(CLATTN__Q, d) : value_at(CLATTN__K, key * dim + d);
}

/* Store a multiple of 1/8 in [-8, 8]: no rounding in any storage. */
static void store_exact(int32_t type, double value, void *data, int64_t index)
{
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (type == CLATTN_F32)
        ((float *)data)[index] = f;
    else if (type == CLATTN_BF16)
        ((uint16_t *)data)[index] = (uint16_t)(bits >> 16);
    else
        ((uint16_t *)data)[index] =
            (uint16_t)(value == 0.0 ? 0
                                    : (bits >> 16 & 0x8000u) | (((bits >> 23 & 0xffu) - 112u) << 10) |
                                          (bits >> 13 & 0x3ffu));
}

static double load(int32_t type, const void *data, int64_t index)
{
    if (type == CLATTN_F32)
        return ((const float *)data)[index];
    uint16_t half = ((const uint16_t *)data)[index];
    if (type == CLATTN_BF16) {
        uint32_t bits = (uint32_t)half << 16;
        float f;
        memcpy(&f, &bits, sizeof f);
        return f;
    }
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double magnitude = exponent == 31  ? (mantissa ? NAN : INFINITY)
                       : exponent == 0 ? ldexp(mantissa, -24)
                                       : ldexp(mantissa + 1024, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

/* Lists for the tiny problem: the plan's blocks, and dense places. */
static void shape_lists(struct tiny *t, const clattn_attention *plans)
{
    clattn_attention *a = &t->problem.a;
    clattn_list *l = &a->list;
    l->batch = 1;
    l->scopes = plans->list.scopes == plans->heads ? a->heads : 1;
    l->q_blocks = clattn__ceil_div(a->q_len, l->block_q);
    l->capacity = l->k_blocks = clattn__ceil_div(a->kv_len, l->block_k);
    l->counts_at = 0;
    l->ids_at = l->scopes * l->q_blocks * (int64_t)sizeof *t->list;
    clattn__problem_list(&t->problem);
}

/* The tiny problem: one batch entry, the heads of one tile, lengths one past a tile, dense tensors. */
static bool shape_tiny(const clattn_plan *plan, struct tiny *t)
{
    static const clattn_layout dense = CLATTN_LAYOUT_DENSE;
    clattn_attention *a = &t->problem.a;
    const struct clattn__spec *spec = &plan->launch.spec;
    const int32_t blocks = plan->engine->test_blocks > 0 ? plan->engine->test_blocks : 1;
    t->problem = plan->problem;
    t->launch = plan->launch;
    a->batch = 1;
    a->heads = plan->launch.pack;
    a->kv_heads = 1;
    a->q_len = plan->launch.pack == 1 ? spec->BQ + 1 : plan->problem.a.q_len > 0 ? plan->problem.a.q_len : 1;
    a->kv_len = blocks * spec->BK + 3;
    t->top_key = blocks > 1 ? blocks / 2 * spec->BK + 1 : -1;
    a->q_total = a->q_len;
    a->kv_total = a->kv_len;
    a->type_o = plan->problem.a.type_o;
    for (int i = CLATTN__Q; i < CLATTN__TENSORS; i++) {
        clattn_layout *layout = clattn__tensor_layout(a, i);
        struct clattn__shape shape = clattn__tensor_shape(a, i);
        *layout = dense;
        if (!clattn__layout_resolve(layout, &shape) ||
            !clattn__layout_extent(layout, &shape, clattn__type_bytes(clattn__tensor_type(a, i)),
                                   &t->problem.extents[i]))
            return false;
    }
    t->launch.splits = plan->launch.splits > 1 ? 2 : 1;
    /* of one block: the parts are it and 3 keys */
    t->launch.split_keys = (t->launch.splits > 1 ? blocks / 2 + 1 : blocks + 1) * spec->BK;
    t->launch.q_tiles = (int32_t)((a->q_len * plan->launch.pack + spec->BQ - 1) / spec->BQ);
    t->launch.tiles = (size_t)(t->launch.q_tiles * t->launch.splits);
    t->launch.groups = plan->launch.in_turn ? 1 : t->launch.tiles;
    clattn__forward_args_fill(&t->args, &t->problem, &t->launch);
    for (int i = 0; i < a->n_arrays; i++)
        for (int d = 0; d < a->arrays[i].n_dims; d++)
            a->arrays[i].dims[d] = a->arrays[i].dims[d] < LARGEST_DIM ? a->arrays[i].dims[d] : LARGEST_DIM;
    clattn__problem_numbers(&t->problem);
    if (t->problem.reads_list)
        shape_lists(t, &plan->problem.a);
    t->tables = plan->tables;
    t->workspace_bytes =
        clattn__workspace_fill(&t->args, &t->merge_args, &t->tables, &t->problem, &t->launch);
    t->lengths[0] = a->flags & CLATTN_PACKED ? 0 : (cl_int)a->kv_len - 1;
    t->lengths[1] = (cl_int)a->q_len;
    t->k_offsets_values[1] = (cl_int)a->kv_len;
    return true;
}

/* Whole numbers around `about`, halves from -1 on, or bits of which two in three are set. */
static unsigned char *make_array(const clattn_array *array, int64_t about)
{
    int64_t bytes = clattn__array_bytes(array);
    static const int element_bytes[] = {4, 2, 2, 4, 1, 1};
    unsigned char *data = malloc((size_t)bytes);
    for (int64_t i = 0; data && i < bytes / element_bytes[array->type]; i++) {
        int whole = (int)(about + i % 5);
        if (array->type <= CLATTN_BF16)
            store_exact(array->type, (double)(i % 5) / 2 - 1, data, i);
        else if (array->type == CLATTN_I32)
            memcpy(data + 4 * i, &whole, 4);
        else
            data[i] = (unsigned char)(array->type == CLATTN_I8 ? whole % 100 : 0xb6);
    }
    return data;
}

/* Of each list two blocks in three, each list from another one on. */
static int32_t *make_list(const clattn_attention *a)
{
    const clattn_list *l = &a->list;
    const int64_t lists = l->scopes * l->q_blocks;
    int32_t *data = malloc((size_t)clattn__list_bytes(a));
    for (int64_t r = 0; data && r < lists; r++) {
        int32_t count = 0;
        for (int64_t block = 0; block < l->k_blocks; block++)
            if ((block + r) % 3 != 1)
                data[lists + r * l->capacity + count++] = (int32_t)block;
        data[r] = count;
    }
    return data;
}

static bool fill_tiny(struct tiny *t)
{
    const clattn_attention *a = &t->problem.a;
    for (int i = CLATTN__Q; i < CLATTN__TENSORS; i++) {
        int32_t type = clattn__tensor_type(a, i);
        t->tensor[i] = calloc((size_t)t->problem.extents[i], (size_t)clattn__type_bytes(type));
        if (!t->tensor[i])
            return false;
        for (int64_t j = 0; i < CLATTN__O && j < t->problem.extents[i]; j++)
            store_exact(type, i == CLATTN__K ? key_value(t, j / a->dim, j % a->dim) : value_at(i, j),
                        t->tensor[i], j);
    }
    for (int i = 0; i < a->n_arrays; i++)
        if (!(t->array[i] = make_array(&a->arrays[i], a->kv_len / 2)))
            return false;
    if (t->problem.reads_list && !(t->list = make_list(a)))
        return false;
    t->lists = clattn__problem_lists(&t->problem, t->list);
    return true;
}

static cl_mem buffer(const clattn_plan *plan, size_t bytes, void *data, cl_int *code)
{
    if (*code != CL_SUCCESS)
        return NULL;
    cl_mem_flags flags = CL_MEM_READ_WRITE | (data ? CL_MEM_COPY_HOST_PTR : 0);
    cl_mem mem = clCreateBuffer(plan->ctx->cl, flags, bytes, data, code);
    return *code == CL_SUCCESS ? mem : NULL;
}

static cl_int make_buffers(const clattn_plan *plan, struct tiny *t)
{
    const clattn_attention *a = &t->problem.a;
    cl_int code = CL_SUCCESS, zero[4] = {0, 0, 0, 0};
    for (int i = CLATTN__Q; i < CLATTN__TENSORS; i++)
        t->mem[i] =
            buffer(plan, (size_t)(t->problem.extents[i] * clattn__type_bytes(clattn__tensor_type(a, i))),
                   t->tensor[i], &code);
    if (a->flags & CLATTN_PACKED) {
        t->q_offsets = buffer(plan, sizeof t->lengths, t->lengths, &code);
        t->k_offsets = buffer(plan, sizeof t->k_offsets_values, t->k_offsets_values, &code);
    }
    if (a->flags & CLATTN_KEY_LENGTHS)
        t->key_lengths = buffer(plan, sizeof t->lengths[0], t->lengths, &code);
    if (a->flags & CLATTN_COUNT_TILES)
        t->counters = buffer(plan, sizeof zero, zero, &code);
    for (int i = 0; i < a->n_arrays; i++)
        t->array_mem[i] = buffer(plan, (size_t)clattn__array_bytes(&a->arrays[i]), t->array[i], &code);
    if (t->problem.reads_list)
        t->list_mem = buffer(plan, (size_t)clattn__list_bytes(a), t->list, &code);
    if (t->workspace_bytes)
        t->workspace = buffer(plan, (size_t)t->workspace_bytes, NULL, &code);
    if (code == CL_SUCCESS && t->launch.spec.JOINS)
        t->arrivals = clattn__make_arrivals(plan->ctx, &t->launch, &code);
    if (code == CL_SUCCESS) {
        cl_command_queue queue = clCreateCommandQueue(plan->ctx->cl, plan->ctx->device, 0, &code);
        t->queue = code == CL_SUCCESS ? queue : NULL;
    }
    return code;
}

static cl_int launch_tiny(const clattn_plan *plan, struct tiny *t)
{
    struct clattn__forward_run run = {
        .problem = &t->problem, .args = &t->args, .groups = t->launch.groups, .q = t->mem[CLATTN__Q],
        .k = t->mem[CLATTN__K], .v = t->mem[CLATTN__V], .o = t->mem[CLATTN__O], .lse = t->mem[CLATTN__LSE],
        .q_offsets = t->q_offsets, .k_offsets = t->k_offsets, .key_lengths = t->key_lengths,
        .counters = t->counters, .list = t->list_mem, .merge_args = &t->merge_args,
        .joined_o = t->mem[CLATTN__O], .joined_lse = t->mem[CLATTN__LSE], .arrivals = t->arrivals,
    };
    memcpy(run.arrays, t->array_mem, sizeof run.arrays);
    bool split = t->launch.splits > 1;
    if (split)
        run.o = run.lse = t->workspace;
    if (t->tables.count)
        run.tables = t->workspace;
    run.scratch = t->workspace;
    cl_event ready = NULL, parts = NULL;
    cl_int code = clattn__launch_tables(plan->ctx, &t->tables, t->queue, run.arrays, t->workspace, 0,
                                        (struct clattn__wait){0, NULL}, &ready);
    if (code == CL_SUCCESS)
        code = clattn__launch_forward(plan, t->queue, &run, (struct clattn__wait){ready != NULL, &ready},
                                      split ? &parts : NULL);
    if (ready)
        clReleaseEvent(ready);
    if (code == CL_SUCCESS && clattn__merges_after(&t->launch)) {
        struct clattn__merge_run merge = {&t->merge_args, t->workspace, t->workspace, t->mem[CLATTN__O],
                                          t->mem[CLATTN__LSE], t->q_offsets};
        code = clattn__launch_merge(&plan->ctx->facts, plan->merge.kernel, &plan->merge_spec, t->queue,
                                    &merge, (struct clattn__wait){1, &parts}, NULL);
    }
    if (parts)
        clReleaseEvent(parts);
    cl_int finished = clFinish(t->queue);
    if (code == CL_SUCCESS)
        code = finished;
    for (int i = CLATTN__O; code == CL_SUCCESS && i < CLATTN__TENSORS; i++) {
        size_t bytes = (size_t)(t->problem.extents[i] * clattn__type_bytes(clattn__tensor_type(&t->problem.a, i)));
        code = clEnqueueReadBuffer(t->queue, t->mem[i], CL_TRUE, 0, bytes, t->tensor[i], 0, NULL, NULL);
    }
    return code;
}

static struct clattn__expr_values values_of(const struct tiny *t)
{
    const clattn_attention *a = &t->problem.a;
    return (struct clattn__expr_values){a->scalars, a->arrays, (const void *const *)t->array, &t->lists};
}

/* A row's pairs by the formula. */
struct pairs {
    double *weight; /* scores, then weights; NaN: hidden */
    double slack;   /* what f32 may move a score by, before rules */
    double moved;   /* what that moves the edited scores by at most (softmax), or the weights by in sum */
    double lse;     /* log-sum-exp of the scores (softmax) */
};

static double edited(const struct tiny *t, struct clattn__expr_point *at, double score)
{
    const struct clattn__expr_values values = values_of(t);
    at->score = score;
    at->score = clattn__expr_eval(t->problem.rules, CLATTN__SCORE, at, &values, true);
    return t->problem.a.normaliser == CLATTN_SOFTMAX
               ? at->score
               : clattn__expr_eval(t->problem.rules, CLATTN__WEIGHT, at, &values, true);
}

static void score_pair(const struct tiny *t, int64_t head, int64_t row, int64_t key, int64_t k_len,
                       struct pairs *pairs)
{
    const clattn_attention *a = &t->problem.a;
    const struct clattn__expr_values values = values_of(t);
    double dot = 0;
    for (int64_t d = 0; d < a->dim; d++)
        dot += value_at(CLATTN__Q, (head * a->q_len + row) * a->dim + d) * key_value(t, key, d);
    struct clattn__expr_point at = {
        .q = (int32_t)(row + (t->problem.bottom_right ? k_len - a->q_len : 0)), .k = (int32_t)key,
        .h = (int32_t)head, .q_len = (int32_t)a->q_len, .k_len = (int32_t)k_len,
    };
    pairs->weight[key] = NAN;
    if (clattn__expr_eval(t->problem.rules, CLATTN__MASK, &at, &values, false) == 0)
        return;
    double score = dot * a->scale, x = edited(t, &at, score);
    double slack = key == t->top_key ? TOP_KEY * pairs->slack : pairs->slack;
    double low = fabs(edited(t, &at, score - slack) - x), high = fabs(edited(t, &at, score + slack) - x);
    double moved = fmax(low, high) + 4 * 0x1p-24 * fabs(x); /* the last is the rule's own rounding */
    pairs->moved = a->normaliser == CLATTN_SOFTMAX ? fmax(pairs->moved, moved) : pairs->moved + moved;
    pairs->weight[key] = x;
}

/* Scores of a row to weights, hidden ones to 0; returns what the output is divided by. */
static double normalise(const struct tiny *t, struct pairs *pairs, int64_t k_len)
{
    double *weights = pairs->weight, largest = -INFINITY, sum = 0;
    int32_t normaliser = t->problem.a.normaliser;
    for (int64_t k = 0; k < k_len; k++)
        largest = fmax(largest, weights[k]); /* NaN is left out */
    for (int64_t k = 0; k < k_len; k++) {
        bool hidden = isnan(weights[k]);
        if (normaliser == CLATTN_SOFTMAX)
            weights[k] = largest == -INFINITY ? 0 : exp(weights[k] - largest);
        weights[k] = hidden ? 0 : weights[k];
        sum += normaliser <= CLATTN_L1 ? weights[k] : !hidden;
    }
    pairs->lse = largest + log(sum);
    return normaliser == CLATTN_NO_NORMALISER && sum > 0 ? 1 : sum;
}

/* The same of a row's log-sum-exp, if it is asked for: it moves by what its scores do, and by the rounding of k_len
 * weights' sum. */
static double compare_lse(const struct tiny *t, const struct pairs *pairs, int64_t row, int64_t k_len)
{
    const clattn_attention *a = &t->problem.a;
    const double lse = pairs->lse, allowed = pairs->moved + (double)(32 + k_len) * 0x1p-24 * (1 + fabs(lse));
    if (!(a->flags & CLATTN_WANT_LSE) || a->normaliser != CLATTN_SOFTMAX || isnan(lse))
        return 0;
    const double got = load(CLATTN_F32, t->tensor[CLATTN__LSE], row);
    return isfinite(lse) ? fabs(got - lse) / allowed : got == lse ? 0 : INFINITY;
}

/* One row in double; weights needs kv_len elements.  Returns the largest difference from what the device
 * gave, as a part of what it may be: with |v| <= 1 a softmax moves by twice what its scores do, sums by what
 * their terms do. */
static double compare_row(const struct tiny *t, int64_t head, int64_t row, double *weights)
{
    static const double unit[] = {0x1p-24, 0x1p-11, 0x1p-8};
    const clattn_attention *a = &t->problem.a;
    int64_t k_len = a->flags & CLATTN_KEY_LENGTHS ? t->lengths[0] : a->kv_len,
            first = (head * a->q_len + row);
    struct pairs pairs = {weights, 32 * 0x1p-24 * (1 + fabs(a->scale) * (double)a->dim), 0, 0};
    for (int64_t k = 0; k < k_len; k++)
        score_pair(t, head, row, k, k_len, &pairs);
    double sum = normalise(t, &pairs, k_len), worst = 0;
    double allowed = a->normaliser == CLATTN_SOFTMAX ? 2 * pairs.moved
                     : sum != 0                      ? 2 * pairs.moved / fabs(sum)
                                                     : 0;
    for (int64_t d = 0; d < a->dim_v; d++) {
        double o = 0, got = load(a->type_o, t->tensor[CLATTN__O], first * a->dim_v + d);
        for (int64_t k = 0; k < k_len; k++)
            o += weights[k] * value_at(CLATTN__V, k * a->dim_v + d);
        o = sum != 0 ? o / sum : 0.0;
        if (isnan(o) || fabs(o) > 3e4)
            continue; /* beyond what a storage holds: nothing to compare */
        double part = fabs(o - got) / (unit[a->type_o] * fmax(1, fabs(o)) + allowed + 16 * 0x1p-24);
        worst = part <= worst ? worst : part; /* a NaN stays */
    }
    double part = compare_lse(t, &pairs, first, k_len);
    return part <= worst ? worst : part;
}

static clattn_status compare(clattn_plan *plan, struct tiny *t)
{
    const clattn_attention *a = &t->problem.a;
    double *weights = malloc((size_t)a->kv_len * sizeof *weights);
    if (!weights)
        return clattn__fail(plan->ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "%s", "self-test");
    double worst = 0;
    int64_t step = t->top_key >= 0 && a->q_len > SAMPLE ? a->q_len / SAMPLE : 1;
    for (int64_t head = 0; head < a->heads; head++)
        for (int64_t row = 0; row < a->q_len; row++) {
            if (row % step != 0 && row != a->q_len - 1)
                continue;
            double part = compare_row(t, head, row, weights);
            worst = part <= worst ? worst : part;
        }
    free(weights);
    if (worst <= 1)
        return CLATTN_OK;
    plan->fault = "its numbers were wrong";
    return clattn__fail(plan->ctx, CLATTN_SELF_TEST_FAILED, CL_SUCCESS,
                        "engine %s, an error of %g times what is allowed", plan->engine->name, worst);
}

static void release_tiny(struct tiny *t)
{
    cl_mem others[] = {t->q_offsets, t->k_offsets, t->key_lengths, t->counters, t->list_mem,
                       t->workspace, t->arrivals};
    for (size_t i = 0; i < CLATTN__LEN(others); i++)
        if (others[i])
            clReleaseMemObject(others[i]);
    for (int i = CLATTN__Q; i < CLATTN__TENSORS; i++) {
        if (t->mem[i])
            clReleaseMemObject(t->mem[i]);
        free(t->tensor[i]);
    }
    if (t->queue)
        clReleaseCommandQueue(t->queue);
    for (int i = 0; i < CLATTN_MAX_ARRAYS; i++) {
        if (t->array_mem[i])
            clReleaseMemObject(t->array_mem[i]);
        free(t->array[i]);
    }
    free(t->list);
}

bool clattn__is_compared(const clattn_plan *plan)
{
    return plan->is_tuned || !(plan->problem.a.flags & CLATTN_NO_SELF_TEST);
}

clattn_status clattn__self_test(clattn_plan *plan)
{
    struct tiny *t = calloc(1, sizeof *t);
    clattn_status status = CLATTN_OUT_OF_HOST_MEMORY;
    if (t && shape_tiny(plan, t) && fill_tiny(t)) {
        cl_int code = make_buffers(plan, t);
        if (code == CL_SUCCESS)
            code = clFinish(t->queue); /* fails where the device was lost before */
        bool sound = code == CL_SUCCESS;
        if (sound)
            code = launch_tiny(plan, t);
        status = code == CL_SUCCESS ? CLATTN_OK : clattn__fail_cl(plan->ctx, "the first launch", code);
        if (sound && status == CLATTN_OPENCL_FAILED) /* not for want of memory */
            plan->fault = "its first launch failed";
        if (!status && clattn__is_compared(plan))
            status = compare(plan, t);
    } else {
        clattn__fail(plan->ctx, status, CL_SUCCESS, "%s", "self-test");
    }
    if (t)
        release_tiny(t);
    free(t);
    return status;
}
