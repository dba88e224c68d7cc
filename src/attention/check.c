/* SPDX-License-Identifier: MIT
 * check.c - a caller's problem to a resolved one: every field is checked here, and nowhere else. */
#include "attention/attention.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_LENGTH ((int64_t)1 << 30)
#define MAX_DIM 576
#define KNOWN_FLAGS                                                                                       \
    (CLATTN_WANT_LSE | CLATTN_PACKED | CLATTN_KEY_LENGTHS | CLATTN_CALLER_WORKSPACE | CLATTN_STRICT |      \
     CLATTN_COUNT_TILES | CLATTN_NO_SELF_TEST | CLATTN_ARRAYS_STAY)

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
        return refuse(d, CLATTN_BAD_KV_HEADS, "kv_heads is %lld, and 65536 are the most",
                      (long long)a->kv_heads);
    if (a->heads % a->kv_heads)
        return refuse(d, CLATTN_HEADS_NOT_DIVISIBLE, "heads is %lld and kv_heads is %lld",
                      (long long)a->heads, (long long)a->kv_heads);
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
        return refuse(d, CLATTN_BAD_FLAGS, "flags is 0x%x, reserved is %d", (unsigned)a->flags,
                      (int)a->reserved);
    if (a->flags & CLATTN_ARRAYS_STAY && a->flags & CLATTN_CALLER_WORKSPACE)
        return refuse(d, CLATTN_BAD_FLAGS, "CLATTN_ARRAYS_STAY wants a workspace of the plan's own");
    if (!isfinite(a->scale))
        return refuse(d, CLATTN_BAD_SCALE, "scale is not finite; CLATTN_DEFAULT_SCALE means 1 / sqrt(dim)");
    for (int t = CLATTN__Q; t < CLATTN__LSE; t++)
        if (!clattn__type_bytes(clattn__tensor_type(a, t)))
            return refuse(d, CLATTN_BAD_TYPE, "type_%s is %d", tensor_names[t],
                          (int)clattn__tensor_type(a, t));
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
            return refuse(d, CLATTN_BAD_STRIDE, "%s.%s is %lld", name, stride_names[i],
                          (long long)strides[i]);
    if (!clattn__layout_resolve(layout, &shape) ||
        !clattn__layout_extent(layout, &shape, clattn__type_bytes(clattn__tensor_type(a, tensor)),
                               &p->extents[tensor]))
        return refuse(d, CLATTN_SIZE_OVERFLOW, "%s", name);
    if (tensor >= CLATTN__O && !clattn__layout_disjoint(layout, &shape))
        return refuse(d, CLATTN_OVERLAPPING_OUTPUT,
                      "%s has strides batch %lld, head %lld, token %lld for rows of %lld", name,
                      (long long)layout->batch, (long long)layout->head, (long long)layout->token,
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
static clattn_status check_names(const clattn_attention *a, struct details d)
{
    if (a->n_scalars < 0 || a->n_scalars > CLATTN_MAX_SCALARS || a->n_arrays < 0 ||
        a->n_arrays > CLATTN_MAX_ARRAYS)
        return refuse(d, CLATTN_BAD_COUNT, "n_scalars is %d (at most %d) and n_arrays is %d (at most %d)",
                      (int)a->n_scalars, CLATTN_MAX_SCALARS, (int)a->n_arrays, CLATTN_MAX_ARRAYS);
    const char *all[CLATTN_MAX_SCALARS + CLATTN_MAX_ARRAYS];
    int n = 0;
    for (int i = 0; i < a->n_scalars; i++)
        all[n++] = a->scalars[i].name;
    for (int i = 0; i < a->n_arrays; i++)
        all[n++] = a->arrays[i].name;
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

static clattn_status check_scalars(const clattn_attention *a, struct details d)
{
    for (int i = 0; i < a->n_scalars; i++) {
        const clattn_scalar *s = &a->scalars[i];
        if ((s->type != CLATTN_I32 && s->type != CLATTN_F32) || s->reserved)
            return refuse(d, CLATTN_BAD_SCALAR, "'%s' has type %d; CLATTN_I32 or CLATTN_F32", s->name,
                          (int)s->type);
        bool whole = s->value >= INT32_MIN && s->value <= INT32_MAX && s->value == floor(s->value);
        if (s->type == CLATTN_I32 ? !whole : !(fabs(s->value) <= FLT_MAX))
            return refuse(d, CLATTN_BAD_SCALAR, "'%s' is %g, which is no %s", s->name, s->value,
                          s->type == CLATTN_I32 ? "whole number of 32 bits" : "finite f32");
    }
    return CLATTN_OK;
}

static clattn_status check_arrays(const clattn_attention *a, struct details d)
{
    for (int i = 0; i < a->n_arrays; i++) {
        const clattn_array *array = &a->arrays[i];
        if (array->type < CLATTN_F32 || array->type > CLATTN_BITS)
            return refuse(d, CLATTN_BAD_ARRAY, "array '%s' has type %d", array->name, (int)array->type);
        if (array->n_dims < 1 || array->n_dims > CLATTN_MAX_DIMS)
            return refuse(d, CLATTN_BAD_ARRAY, "array '%s' has %d dimensions; from 1 to %d", array->name,
                          (int)array->n_dims, CLATTN_MAX_DIMS);
        for (int j = 0; j < array->n_dims; j++)
            if (array->dims[j] < 1 || array->dims[j] > INT32_MAX)
                return refuse(d, CLATTN_BAD_ARRAY, "dims[%d] of array '%s' is %lld; from 1 to 2^31 - 1", j,
                              array->name, (long long)array->dims[j]);
        if (clattn__array_bytes(array) < 0)
            return refuse(d, CLATTN_SIZE_OVERFLOW, "array '%s'", array->name);
    }
    return CLATTN_OK;
}

clattn_status clattn__declared_check(const clattn_attention *a, char *message, size_t size)
{
    const struct details d = {message, size};
    clattn_status status = check_names(a, d);
    if (!status)
        status = check_scalars(a, d);
    return status ? status : check_arrays(a, d);
}

static clattn_status check_normaliser(const clattn_attention *a, struct details d)
{
    bool weighted = a->weight.text[0] != 0;
    if (a->normaliser < CLATTN_SOFTMAX || a->normaliser > CLATTN_NO_NORMALISER || a->reserved2)
        return refuse(d, CLATTN_BAD_NORMALISER, "normaliser is %d, reserved2 is %d", (int)a->normaliser,
                      (int)a->reserved2);
    if (a->normaliser == CLATTN_SOFTMAX && weighted)
        return refuse(d, CLATTN_BAD_NORMALISER,
                      "a weight rule needs CLATTN_L1, CLATTN_COUNT or CLATTN_NO_NORMALISER");
    if (a->normaliser == CLATTN_L1 && !weighted)
        return refuse(d, CLATTN_BAD_NORMALISER, "CLATTN_L1 needs a weight rule, such as softplus(score)");
    return CLATTN_OK;
}

/* The rules' texts are C strings, and their constructors made no mistake. */
static clattn_status check_texts(const clattn_attention *a, struct details d)
{
    const struct {
        const char *name, *text;
        int32_t error;
    } texts[] = {{"pattern", a->pattern.text, a->pattern.error}, {"score", a->score.text, a->score.error},
                 {"weight", a->weight.text, a->weight.error}};
    for (size_t i = 0; i < CLATTN__LEN(texts); i++) {
        if (texts[i].error)
            return refuse(d, (clattn_status)texts[i].error, "%s", texts[i].name);
        if (!terminated(texts[i].text, CLATTN_PATTERN_TEXT))
            return refuse(d, CLATTN_EXPR_LIMIT, "%s.text is not terminated", texts[i].name);
    }
    return CLATTN_OK;
}

static clattn_status parse_rules(struct clattn__problem *p, struct details d)
{
    const clattn_attention *a = &p->a;
    const struct clattn__names names = {a->n_scalars, a->n_arrays, a->scalars, a->arrays};
    const char *const texts[] = {a->pattern.text, a->score.text, a->weight.text};
    clattn_status status = clattn__expr_create(&p->rules, &names, d.text, d.size);
    for (int use = CLATTN__MASK; !status && use < CLATTN__USES; use++)
        status = clattn__expr_add(p->rules, (enum clattn__use)use, texts[use], d.text, d.size);
    return status;
}

static clattn_status check_list(struct clattn__problem *p, struct details d)
{
    const clattn_attention *a = &p->a;
    const clattn_list *l = &a->list;
    uint64_t bytes;
    p->reads_list = clattn__expr_uses_list(p->rules);
    if (l->size == 0)
        return p->reads_list ? refuse(d, CLATTN_BAD_LIST, "a rule says 'listed', and the problem has no list")
                             : CLATTN_OK;
    clattn_status status = clattn_list_bytes(l, &bytes);
    if (status)
        return refuse(d, status, "list, of %zu bytes", l->size);
    if (l->batch != a->batch || (l->scopes != a->heads && l->scopes != a->kv_heads && l->scopes != 1) ||
        l->q_blocks != clattn__ceil_div(a->q_len, l->block_q) ||
        l->k_blocks != clattn__ceil_div(a->kv_len, l->block_k))
        return refuse(d, CLATTN_BAD_LIST,
                      "list.batch is %lld, scopes %lld, q_blocks %lld of %d, k_blocks %lld of %d",
                      (long long)l->batch, (long long)l->scopes, (long long)l->q_blocks, (int)l->block_q,
                      (long long)l->k_blocks, (int)l->block_k);
    if (l->scopes * l->q_blocks > INT32_MAX) /* kernels number them */
        return refuse(d, CLATTN_SIZE_OVERFLOW, "the lists of a batch entry are %lld",
                      (long long)(l->scopes * l->q_blocks));
    return CLATTN_OK;
}

static clattn_status check_rules(struct clattn__problem *p, struct details d)
{
    const clattn_attention *a = &p->a;
    clattn_status status = clattn__declared_check(a, d.text, d.size);
    if (!status)
        status = check_texts(a, d);
    if (!status && (a->pattern.corner < CLATTN_NO_CORNER || a->pattern.corner > CLATTN_BOTTOM_RIGHT))
        status = refuse(d, CLATTN_BAD_CORNER, "pattern.corner is %d", (int)a->pattern.corner);
    if (!status)
        status = check_normaliser(a, d);
    if (!status)
        status = parse_rules(p, d);
    if (status)
        return status;
    bool square = a->q_len == a->kv_len && !(a->flags & (CLATTN_PACKED | CLATTN_KEY_LENGTHS));
    if (clattn__expr_uses_index(p->rules, CLATTN__INDEX_Q) && a->pattern.corner == CLATTN_NO_CORNER &&
        !square)
        return refuse(d, CLATTN_BAD_CORNER, "a rule speaks of q, and queries and keys may differ in number; "
                                            "a pattern in text ends in -tl or -br, as causal-br");
    p->bottom_right = a->pattern.corner == CLATTN_BOTTOM_RIGHT;
    return check_list(p, d);
}

/* -1 if it overflows. */
int64_t clattn__array_bytes(const clattn_array *array)
{
    int64_t width = array->dims[array->n_dims - 1],
            elements = array->type == CLATTN_BITS ? (width + 31) / 32 : width;
    static const int bytes[] = {4, 2, 2, 4, 1, 4};
    for (int d = 0; d < array->n_dims - 1; d++)
        if (!clattn__mul(elements, array->dims[d], &elements))
            return -1;
    return elements <= (int64_t)1 << 60 ? elements * bytes[array->type] : -1;
}

void clattn__problem_numbers(struct clattn__problem *p)
{
    p->n_numbers = clattn__expr_numbers(p->rules, p->a.scalars, p->a.arrays, p->numbers);
}

void clattn__problem_list(struct clattn__problem *p)
{
    const clattn_list *l = &p->a.list;
    if (p->reads_list)
        p->list_args = (struct list_args){
            .counts_at = l->counts_at / 4, .ids_at = l->ids_at / 4, .scopes = (cl_int)l->scopes,
            .q_blocks = (cl_int)l->q_blocks, .capacity = (cl_int)l->capacity,
            .heads = (cl_int)(p->a.heads / l->scopes), .block_q = l->block_q, .block_k = l->block_k,
        };
}

int64_t clattn__list_bytes(const clattn_attention *a)
{
    uint64_t bytes;
    return clattn_list_bytes(&a->list, &bytes) == CLATTN_OK ? (int64_t)bytes : 0;
}

struct clattn__lists clattn__problem_lists(const struct clattn__problem *p, const void *data)
{
    return (struct clattn__lists){&p->a.list, data, p->list_args.heads, p->bottom_right};
}

clattn_status clattn__problem_resolve(struct clattn__problem *problem, const clattn_attention *a,
                                      char *message, size_t size)
{
    struct details d = {message, size};
    if (message && size)
        message[0] = 0;
    memset(problem, 0, sizeof *problem);
    if (!a)
        return refuse(d, CLATTN_NULL_ARGUMENT, "problem");
    if (a->size != sizeof *a)
        return refuse(d, CLATTN_BAD_STRUCT_SIZE, "clattn_attention.size is %zu, this library's is %zu",
                      a->size, sizeof *a);
    problem->a = *a;
    clattn_status status = check_sizes(a, d);
    if (!status)
        status = check_flags(a, d);
    if (!status && !terminated(a->engine, sizeof a->engine))
        status = refuse(d, CLATTN_BAD_ENGINE, "engine is not terminated");
    if (!status)
        status = check_rules(problem, d);
    if (!status)
        status = check_layouts(problem, d);
    if (status) {
        clattn__problem_free(problem);
        return status;
    }
    if (problem->a.scale == CLATTN_DEFAULT_SCALE)
        problem->a.scale = 1.0 / sqrt((double)problem->a.dim);
    clattn__problem_numbers(problem);
    clattn__problem_list(problem);
    return CLATTN_OK;
}

void clattn__problem_free(struct clattn__problem *problem)
{
    clattn__expr_free(problem->rules);
    problem->rules = NULL;
}

clattn_status clattn_attention_check(const clattn_attention *problem, char *text, size_t size)
{
    struct clattn__problem resolved;
    char details[CLATTN__MESSAGE_SIZE];
    clattn_status status = clattn__problem_resolve(&resolved, problem, details, sizeof details);
    if (!status)
        clattn__problem_free(&resolved);
    if (text && size)
        snprintf(text, size, "%s%s%s", status ? clattn_status_text(status) : "",
                 status && details[0] ? ": " : "", status ? details : "");
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
