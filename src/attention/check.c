/* SPDX-License-Identifier: MIT
 * check.c - a caller's problem to a resolved one: every field is checked here, and nowhere else. */
#include "attention/attention.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_LENGTH ((int64_t)1 << 30)
#define MAX_DIM 576
#define KNOWN_FLAGS                                                                                       \
    (CLATTN_WANT_LSE | CLATTN_PACKED | CLATTN_KEY_LENGTHS | CLATTN_CALLER_WORKSPACE | CLATTN_STRICT |      \
     CLATTN_COUNT_TILES | CLATTN_NO_SELF_TEST)

/* Where a failed check puts its details. */
struct details {
    char *text;
    size_t size;
};

static clattn_status refuse(struct details d, clattn_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static clattn_status refuse(struct details d, clattn_status status, const char *fmt, ...)
{
    if (d.text && d.size) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(d.text, d.size, fmt, args);
        va_end(args);
    }
    return status;
}

static const char *const tensor_names[] = {"q", "k", "v", "o", "lse"};

clattn_layout *clattn__tensor_layout(clattn_attention *a, enum clattn__tensor tensor)
{
    clattn_layout *const layouts[] = {&a->q, &a->k, &a->v, &a->o, &a->lse};
    return layouts[tensor];
}

int32_t clattn__tensor_type(const clattn_attention *a, enum clattn__tensor tensor)
{
    const int32_t types[] = {a->type_q, a->type_k, a->type_v, a->type_o, CLATTN_F32};
    return types[tensor];
}

struct clattn__shape clattn__tensor_shape(const clattn_attention *a, enum clattn__tensor tensor)
{
    bool of_keys = tensor == CLATTN__K || tensor == CLATTN__V;
    bool packed = a->flags & CLATTN_PACKED;
    const int64_t widths[] = {a->dim, a->dim, a->dim_v, a->dim_v, 1};
    struct clattn__shape shape = {
        .batch = packed ? 1 : a->batch,
        .heads = of_keys ? a->kv_heads : a->heads,
        .tokens = of_keys ? (packed ? a->kv_total : a->kv_len) : (packed ? a->q_total : a->q_len),
        .width = widths[tensor],
    };
    return shape;
}

static clattn_status check_sizes(const clattn_attention *a, struct details d)
{
    if (a->batch < 0 || a->batch > INT32_MAX - 1)
        return refuse(d, CLATTN_BAD_BATCH, "batch is %lld", (long long)a->batch);
    if (a->heads < 1 || a->heads > 65536)
        return refuse(d, CLATTN_BAD_HEADS, "heads is %lld, and 65536 are the most", (long long)a->heads);
    if (a->kv_heads < 1 || a->kv_heads > 65536)
        return refuse(d, CLATTN_BAD_KV_HEADS, "kv_heads is %lld, and 65536 are the most", (long long)a->kv_heads);
    if (a->heads % a->kv_heads)
        return refuse(d, CLATTN_HEADS_NOT_DIVISIBLE, "heads is %lld and kv_heads is %lld", (long long)a->heads,
                      (long long)a->kv_heads);
    if (a->q_len < 0 || a->q_len > MAX_LENGTH)
        return refuse(d, CLATTN_BAD_Q_LEN, "q_len is %lld", (long long)a->q_len);
    if (a->kv_len < 0 || a->kv_len > MAX_LENGTH)
        return refuse(d, CLATTN_BAD_KV_LEN, "kv_len is %lld", (long long)a->kv_len);
    if (a->dim < 1 || a->dim > MAX_DIM)
        return refuse(d, CLATTN_BAD_DIM, "dim is %lld", (long long)a->dim);
    if (a->dim_v < 1 || a->dim_v > MAX_DIM)
        return refuse(d, CLATTN_BAD_DIM_V, "dim_v is %lld", (long long)a->dim_v);
    if (a->splits < 0 || a->splits > 65536)
        return refuse(d, CLATTN_BAD_COUNT, "splits is %lld; 0 lets the library choose, 65536 is the most",
                      (long long)a->splits);
    return CLATTN_OK;
}

static clattn_status check_flags(const clattn_attention *a, struct details d)
{
    if (a->flags & ~KNOWN_FLAGS || a->reserved)
        return refuse(d, CLATTN_BAD_FLAGS, "flags is 0x%x, reserved is %d", (unsigned)a->flags, (int)a->reserved);
    if (!isfinite(a->scale))
        return refuse(d, CLATTN_BAD_SCALE, "scale is not finite; CLATTN_DEFAULT_SCALE means 1 / sqrt(dim)");
    for (int t = CLATTN__Q; t < CLATTN__LSE; t++)
        if (!clattn__type_bytes(clattn__tensor_type(a, t)))
            return refuse(d, CLATTN_BAD_TYPE, "type_%s is %d", tensor_names[t], (int)clattn__tensor_type(a, t));
    if (!(a->flags & CLATTN_PACKED))
        return CLATTN_OK;
    if (a->flags & CLATTN_KEY_LENGTHS)
        return refuse(d, CLATTN_LENGTHS_CONFLICT, "CLATTN_PACKED already gives every entry's number of keys");
    if (a->q_total < 0 || a->q_total > INT32_MAX || a->kv_total < 0 || a->kv_total > INT32_MAX)
        return refuse(d, CLATTN_BAD_TOTAL, "q_total is %lld and kv_total is %lld", (long long)a->q_total,
                      (long long)a->kv_total);
    return CLATTN_OK;
}

static clattn_status check_layout(struct clattn__problem *p, enum clattn__tensor tensor, struct details d)
{
    clattn_attention *a = &p->a;
    clattn_layout *layout = clattn__tensor_layout(a, tensor);
    struct clattn__shape shape = clattn__tensor_shape(a, tensor);
    const char *name = tensor_names[tensor];
    if (layout->offset < 0)
        return refuse(d, CLATTN_BAD_OFFSET, "%s.offset is %lld", name, (long long)layout->offset);
    const int64_t strides[] = {layout->batch, layout->head, layout->token};
    const char *const stride_names[] = {"batch", "head", "token"};
    for (int i = 0; i < 3; i++)
        if (strides[i] < CLATTN_DENSE)
            return refuse(d, CLATTN_BAD_STRIDE, "%s.%s is %lld", name, stride_names[i], (long long)strides[i]);
    if (!clattn__layout_resolve(layout, &shape) ||
        !clattn__layout_extent(layout, &shape, clattn__type_bytes(clattn__tensor_type(a, tensor)), &p->extents[tensor]))
        return refuse(d, CLATTN_SIZE_OVERFLOW, "%s", name);
    if (tensor >= CLATTN__O && !clattn__layout_disjoint(layout, &shape))
        return refuse(d, CLATTN_OVERLAPPING_OUTPUT, "%s has strides batch %lld, head %lld, token %lld for rows of %lld",
                      name, (long long)layout->batch, (long long)layout->head, (long long)layout->token,
                      (long long)shape.width);
    return CLATTN_OK;
}

static clattn_status check_layouts(struct clattn__problem *p, struct details d)
{
    for (int t = CLATTN__Q; t < CLATTN__TENSORS; t++) {
        if (t == CLATTN__LSE && !(p->a.flags & CLATTN_WANT_LSE))
            break;
        clattn_status status = check_layout(p, t, d);
        if (status)
            return status;
    }
    return CLATTN_OK;
}

static bool terminated(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

/* Names are C strings inside their fields, legal, and all different. */
static clattn_status check_names(const clattn_attention *a, struct clattn__names *names, struct details d)
{
    if (a->n_scalars < 0 || a->n_scalars > CLATTN_MAX_SCALARS || a->n_arrays < 0 || a->n_arrays > CLATTN_MAX_ARRAYS)
        return refuse(d, CLATTN_BAD_COUNT, "n_scalars is %d (at most %d) and n_arrays is %d (at most %d)",
                      (int)a->n_scalars, CLATTN_MAX_SCALARS, (int)a->n_arrays, CLATTN_MAX_ARRAYS);
    const char *all[CLATTN_MAX_SCALARS + CLATTN_MAX_ARRAYS];
    int n = 0;
    for (int i = 0; i < a->n_scalars; i++)
        all[n++] = names->scalars[names->n_scalars++] = a->scalars[i].name;
    for (int i = 0; i < a->n_arrays; i++)
        all[n++] = names->arrays[names->n_arrays++] = a->arrays[i].name;
    for (int i = 0; i < n; i++) {
        if (!terminated(all[i], CLATTN_NAME_SIZE))
            return refuse(d, CLATTN_BAD_NAME, "scalar or array number %d", i);
        clattn_status status = clattn__name_check(all[i]);
        if (status)
            return refuse(d, status, "'%s'", all[i]);
        for (int j = 0; j < i; j++)
            if (!strcmp(all[i], all[j]))
                return refuse(d, CLATTN_DUPLICATE_NAME, "'%s'", all[i]);
    }
    return CLATTN_OK;
}

static clattn_status check_arrays(const struct clattn__problem *p, struct details d)
{
    for (int i = 0; i < p->a.n_arrays; i++) {
        int64_t count = p->a.arrays[i].count;
        if (count < p->a.batch || count < 1 || count > INT32_MAX)
            return refuse(d, CLATTN_BAD_COUNT, "array '%s' has count %lld; it needs one element a batch entry at least",
                          p->a.arrays[i].name, (long long)count);
    }
    return CLATTN_OK;
}

static clattn_status check_pattern(struct clattn__problem *p, struct details d)
{
    const clattn_attention *a = &p->a;
    const clattn_pattern *pattern = &a->pattern;
    struct clattn__names names = {0};
    clattn_status status = check_names(a, &names, d);
    if (status)
        return status;
    if (pattern->error)
        return refuse(d, (clattn_status)pattern->error, "pattern");
    if (pattern->corner < CLATTN_NO_CORNER || pattern->corner > CLATTN_BOTTOM_RIGHT)
        return refuse(d, CLATTN_BAD_CORNER, "pattern.corner is %d", (int)pattern->corner);
    if (!terminated(pattern->text, sizeof pattern->text))
        return refuse(d, CLATTN_EXPR_LIMIT, "pattern.text is not terminated");
    status = clattn__expr_parse(&p->pattern, pattern->text, &names, d.text, d.size);
    if (status)
        return status;
    bool square = a->q_len == a->kv_len && !(a->flags & (CLATTN_PACKED | CLATTN_KEY_LENGTHS));
    if (clattn__expr_uses_index(p->pattern, CLATTN__INDEX_Q) && pattern->corner == CLATTN_NO_CORNER && !square)
        return refuse(d, CLATTN_BAD_CORNER, "the pattern speaks of q, and queries and keys may differ in number");
    p->bottom_right = pattern->corner == CLATTN_BOTTOM_RIGHT;
    return check_arrays(p, d);
}

void clattn__problem_numbers(struct clattn__problem *p)
{
    int32_t scalars[CLATTN_MAX_SCALARS] = {0};
    int64_t counts[CLATTN_MAX_ARRAYS] = {0};
    for (int i = 0; i < p->a.n_scalars; i++)
        scalars[i] = p->a.scalars[i].value;
    for (int i = 0; i < p->a.n_arrays; i++)
        counts[i] = p->a.arrays[i].count;
    p->n_numbers = clattn__expr_numbers(p->pattern, scalars, counts, p->numbers);
}

clattn_status clattn__problem_resolve(struct clattn__problem *problem, const clattn_attention *a, char *message, size_t size)
{
    struct details d = {message, size};
    if (message && size)
        message[0] = 0;
    memset(problem, 0, sizeof *problem);
    if (!a)
        return refuse(d, CLATTN_NULL_ARGUMENT, "problem");
    if (a->size != sizeof *a)
        return refuse(d, CLATTN_BAD_STRUCT_SIZE, "clattn_attention.size is %zu, this library's is %zu", a->size, sizeof *a);
    problem->a = *a;
    clattn_status status = check_sizes(a, d);
    if (!status)
        status = check_flags(a, d);
    if (!status && !terminated(a->engine, sizeof a->engine))
        status = refuse(d, CLATTN_BAD_ENGINE, "engine is not terminated");
    if (!status)
        status = check_pattern(problem, d);
    if (!status)
        status = check_layouts(problem, d);
    if (status) {
        clattn__problem_free(problem);
        return status;
    }
    if (problem->a.scale == CLATTN_DEFAULT_SCALE)
        problem->a.scale = 1.0 / sqrt((double)problem->a.dim);
    clattn__problem_numbers(problem);
    return CLATTN_OK;
}

void clattn__problem_free(struct clattn__problem *problem)
{
    clattn__expr_free(problem->pattern);
    problem->pattern = NULL;
}

clattn_status clattn_attention_check(const clattn_attention *problem, char *text, size_t size)
{
    struct clattn__problem resolved;
    char details[CLATTN__MESSAGE_SIZE];
    clattn_status status = clattn__problem_resolve(&resolved, problem, details, sizeof details);
    if (!status)
        clattn__problem_free(&resolved);
    if (text && size)
        snprintf(text, size, "%s%s%s", status ? clattn_status_text(status) : "", status && details[0] ? ": " : "",
                 status ? details : "");
    return status;
}

clattn_status clattn_attention_extent(const clattn_attention *problem, char tensor, int64_t *elements)
{
    static const char letters[] = "qkvol";
    const char *found = tensor ? strchr(letters, tensor) : NULL;
    if (!elements)
        return CLATTN_NULL_ARGUMENT;
    if (!found)
        return CLATTN_BAD_COUNT;
    struct clattn__problem resolved;
    clattn_status status = clattn__problem_resolve(&resolved, problem, NULL, 0);
    if (status)
        return status;
    *elements = resolved.extents[found - letters];
    clattn__problem_free(&resolved);
    return CLATTN_OK;
}
