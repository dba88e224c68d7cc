/* SPDX-License-Identifier: MIT
 * tensors.c - .npy files and the tensors of a workload: shapes are those of the problem, places those of its
 * layouts. */
#include "tool/tool.h"

#include "tool/npy.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIT 0x1p-24

static const char *const file_words[] = {"float32", "float16", "int32", "int8", "bool"};
static const char *const type_words[] = {"f32", "f16", "bf16"};

/* One of a workload's tensors: where it is, and what shape its file has. */
struct tensor {
    const char *name;
    char *data;
    int32_t type;
    const clattn_layout *at;
    int64_t batch, heads, tokens, width;
    int64_t dims[4];
    int n_dims;
};

static int64_t element_bytes(const struct tensor *t)
{
    return workload_type_bytes(t->type);
}

/* The file's shape: [batch,] heads, tokens[, width]; a packed problem has one run of tokens for all entries.
 */
static void set_shape(struct tensor *t, bool packed)
{
    if (!packed)
        t->dims[t->n_dims++] = t->batch;
    t->batch = packed ? 1 : t->batch;
    t->dims[t->n_dims++] = t->heads;
    t->dims[t->n_dims++] = t->tokens;
    if (t->width)
        t->dims[t->n_dims++] = t->width;
}

static struct tensor tensor_of(const struct workload *w, char name)
{
    const clattn_attention *a = &w->problem;
    bool packed = a->flags & CLATTN_PACKED, keys = name == 'k' || name == 'v';
    struct tensor t = {.batch = a->batch, .heads = keys ? a->kv_heads : a->heads};
    t.tokens = keys ? packed ? a->kv_total : a->kv_len : packed ? a->q_total : a->q_len;
    switch (name) {
    case 'q': t.name = "q", t.data = w->q, t.type = a->type_q, t.at = &a->q, t.width = a->dim; break;
    case 'k': t.name = "k", t.data = w->k, t.type = a->type_k, t.at = &a->k, t.width = a->dim; break;
    case 'v': t.name = "v", t.data = w->v, t.type = a->type_v, t.at = &a->v, t.width = a->dim_v; break;
    case 'o': t.name = "o", t.data = w->o, t.type = a->type_o, t.at = &a->o, t.width = a->dim_v; break;
    default: t.name = "lse", t.data = (char *)w->lse, t.type = CLATTN_F32, t.at = &a->lse; break;
    }
    set_shape(&t, packed);
    t.width = t.width ? t.width : 1;
    return t;
}

/* Where a row of the file stands in the tensor. */
static int64_t row_at(const struct tensor *t, int64_t row)
{
    int64_t token = row % t->tokens, head = row / t->tokens % t->heads, batch = row / t->tokens / t->heads;
    return t->at->offset + batch * t->at->batch + head * t->at->head + token * t->at->token;
}

static int64_t row_count(const struct tensor *t)
{
    return t->batch * t->heads * t->tokens;
}

static void shape_text(int n_dims, const int64_t *dims, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < n_dims && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? ", " : "", (long long)dims[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
}

/* The leading batch of 1 may be left out. */
static bool same_shape(const struct tensor *t, const struct npy *file)
{
    int skip = file->n_dims == t->n_dims - 1 && t->dims[0] == 1;
    return file->n_dims == t->n_dims - skip &&
           memcmp(file->dims, t->dims + skip, (size_t)file->n_dims * sizeof t->dims[0]) == 0;
}

static int check_shape(const char *path, const struct tensor *t, const struct npy *file)
{
    char have[256], want[128];
    if (same_shape(t, file))
        return 0;
    shape_text(file->n_dims, file->dims, have, sizeof have);
    shape_text(t->n_dims, t->dims, want, sizeof want);
    return mistake("%s: its shape is %s, and %s of this problem has %s", path, have, t->name, want);
}

/* ---- in ---- */
static int check_tensor(const char *path, const struct tensor *t, const struct npy *file)
{
    if (t->type == CLATTN_BF16)
        return mistake(
            "%s: %s of this problem is bf16, which .npy cannot hold; leave it random or choose another type",
            path, t->name);
    if (file->type != (t->type == CLATTN_F32 ? NPY_F4 : NPY_F2))
        return mistake("%s: it holds %s, and %s of this problem is %s", path, file_words[file->type], t->name,
                       type_words[t->type]);
    return check_shape(path, t, file);
}

int load_tensor(const char *path, struct workload *w, char name)
{
    struct tensor t = tensor_of(w, name);
    struct npy file;
    char message[512];
    if (!path)
        return 0;
    if (npy_read(&file, path, message, sizeof message))
        return mistake("%s", message);
    int code = check_tensor(path, &t, &file);
    size_t bytes = (size_t)(t.width * element_bytes(&t));
    for (int64_t row = 0; !code && row < row_count(&t); row++)
        memcpy(t.data + row_at(&t, row) * element_bytes(&t), (char *)file.data + (size_t)row * bytes, bytes);
    npy_free(&file);
    return code;
}

static int load_ints(const char *path, const char *name, int32_t *to, int64_t count)
{
    struct npy file;
    char message[512];
    if (npy_read(&file, path, message, sizeof message))
        return mistake("%s", message);
    int code = 0;
    if (file.type != NPY_I4)
        code = mistake("%s: it holds %s, and %s needs int32", path, file_words[file.type], name);
    else if (file.count != count)
        code = mistake("%s: it holds %lld elements, and %s needs %lld, one a batch entry", path,
                       (long long)file.count, name, (long long)count);
    else
        memcpy(to, file.data, (size_t)count * sizeof *to);
    npy_free(&file);
    return code;
}

int load_lengths(const char *path, struct workload *w)
{
    if (!path)
        return 0;
    if (!w->key_lengths)
        return mistake("--key-lengths needs the problem's option keylens");
    if (load_ints(path, "--key-lengths", w->key_lengths, w->problem.batch))
        return EXIT_MISTAKE;
    for (int64_t b = 0; b < w->problem.batch; b++)
        if (w->key_lengths[b] < 0 || w->key_lengths[b] > w->problem.kv_len)
            return mistake("%s: length %d of batch entry %lld is not from 0 to %lld", path,
                           (int)w->key_lengths[b], (long long)b, (long long)w->problem.kv_len);
    return 0;
}

/* ---- arrays that rules name ---- */
/* by enum npy_type */
static const int32_t array_types[] = {CLATTN_F32, CLATTN_F16, CLATTN_I32, CLATTN_I8, CLATTN_BITS};

static int check_array(const char *path, const struct npy *file)
{
    if (file->n_dims < 1 || file->n_dims > CLATTN_MAX_DIMS || file->count < 1)
        return mistake("%s: an array has 1 to %d dimensions of 1 or more", path, CLATTN_MAX_DIMS);
    return 0;
}

int describe_array(const char *path, clattn_array *array)
{
    struct npy file;
    char message[512];
    if (npy_read(&file, path, message, sizeof message))
        return mistake("%s", message);
    int code = check_array(path, &file);
    if (!code) {
        array->type = array_types[file.type];
        array->n_dims = file.n_dims;
        memcpy(array->dims, file.dims, (size_t)file.n_dims * sizeof file.dims[0]);
    }
    npy_free(&file);
    return code;
}

/* Bools to bits, every row of the last dimension from a new word on. */
static void pack_bits(const struct npy *file, uint32_t *words)
{
    int64_t width = file->dims[file->n_dims - 1], row_words = (width + 31) / 32;
    memset(words, 0, (size_t)(file->count / width * row_words) * sizeof *words);
    for (int64_t i = 0; i < file->count; i++)
        if (((const char *)file->data)[i])
            words[i / width * row_words + i % width / 32] |= 1u << (i % width % 32);
}

static int load_array(const char *path, const clattn_array *array, void *to)
{
    struct npy file;
    char message[512];
    if (npy_read(&file, path, message, sizeof message))
        return mistake("%s", message);
    int code = check_array(path, &file);
    bool same = !code && array_types[file.type] == array->type && file.n_dims == array->n_dims &&
                !memcmp(file.dims, array->dims, (size_t)file.n_dims * sizeof file.dims[0]);
    if (!code && !same)
        code = mistake("%s: it has changed since it was opened", path);
    else if (!code && array->type == CLATTN_BITS)
        pack_bits(&file, to);
    else if (!code)
        memcpy(to, file.data, (size_t)workload_array_bytes(array));
    npy_free(&file);
    return code;
}

int load_arrays(const struct problem_options *options, struct workload *w)
{
    for (int i = 0; i < options->n_arrays; i++) { /* a mechanism's own follow those of the options */
        const char *file = array_file(options->arrays[i]);
        if (file && load_array(file, &w->problem.arrays[i], w->arrays[i]))
            return EXIT_MISTAKE;
    }
    return 0;
}

/* ---- out ---- */
/* A file that is there must be writable, else its folder. */
static int may_write(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[4096] = ".";
    if (slash && slash - path < (ptrdiff_t)sizeof folder - 1)
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path) + 1, path);
    return access(access(path, F_OK) ? folder : path, W_OK)
               ? mistake("%s: it cannot be written: %s", path, strerror(errno))
               : 0;
}

int check_saving(const char *path, const struct workload *w, char name)
{
    if (!path)
        return 0;
    if (tensor_of(w, name).type == CLATTN_BF16)
        return mistake("--o: .npy cannot hold bf16; ask for f32 output, as in attn:bf16-f32:...");
    if (w->problem.flags & CLATTN_PACKED)
        return mistake("--o and --lse do not go with packed problems");
    return may_write(path);
}

int save_tensor(const char *path, const struct workload *w, char name)
{
    struct tensor t = tensor_of(w, name);
    char message[512];
    if (!path)
        return 0;
    size_t bytes = (size_t)(t.width * element_bytes(&t));
    char *rows = malloc((size_t)row_count(&t) * bytes + 1);
    if (!rows)
        return mistake("%s: out of memory", path);
    for (int64_t row = 0; row < row_count(&t); row++)
        memcpy(rows + (size_t)row * bytes, t.data + row_at(&t, row) * element_bytes(&t), bytes);
    int code = npy_write(path, t.type == CLATTN_F32 ? NPY_F4 : NPY_F2, t.n_dims, t.dims, rows, message,
                         sizeof message);
    free(rows);
    return code ? mistake("%s", message) : 0;
}

/* ---- comparison ---- */
/* What an element may be off by beyond its row's f32 arithmetic: one rounding to its type, and that of the
 * file to f32; for lse its own size. */
static double element_slack(const struct tensor *t, bool lse, double want)
{
    static const double unit[] = {0, 0x1p-11, 0x1p-8};
    return (lse ? 16 * UNIT * (1 + fabs(want)) : unit[t->type] * fabs(want)) + UNIT * fabs(want);
}

/* The largest difference of a row, and the largest as a part of what it may be; a NaN stays. */
static struct comparison compare_row(const struct tensor *t, const float *want, int64_t row, bool lse,
                                     double bound)
{
    struct comparison c = {.pass = true};
    for (int64_t d = 0; d < t->width; d++) {
        double x = (double)want[row * t->width + d], got = ref_widen(t->type, t->data, row_at(t, row) + d);
        double error = got == x || (isnan(got) && isnan(x)) ? 0 : fabs(got - x);
        double part = error == 0 ? 0 : error / (bound + element_slack(t, lse, x));
        c.error = error <= c.error ? c.error : error;
        c.part = part <= c.part ? c.part : part;
    }
    return c;
}

/* The spread takes as long as the row's reference: only rows that need it are given it. */
static void compare_rows(const struct tensor *t, const struct workload *w, const float *want, bool lse,
                         struct comparison *all)
{
    double bar = 0;
    for (int64_t row = 0; row < row_count(t); row++) {
        int64_t head = row / t->tokens, b = head / t->heads, h = head % t->heads, i = row % t->tokens;
        if (!lse && i == 0)
            bar = workload_bar(w, b, h);
        struct comparison c = compare_row(t, want, row, lse, bar);
        if (!(c.part <= 1))
            c = compare_row(t, want, row, lse,
                            lse ? workload_lse_spread(w, b, h, i) : workload_f32_bound(w, b, h, i));
        all->error = c.error <= all->error ? all->error : c.error;
        all->part = c.part <= all->part ? all->part : c.part;
    }
    all->pass = all->part <= 1;
}

int compare_tensor(const char *path, const struct workload *w, char name, struct comparison *c)
{
    struct tensor t = tensor_of(w, name);
    struct npy file;
    char message[512];
    *c = (struct comparison){.pass = true};
    if (!path)
        return 0;
    if (w->problem.flags & CLATTN_PACKED)
        return mistake("--check and --check-lse do not go with packed problems");
    if (npy_read(&file, path, message, sizeof message))
        return mistake("%s", message);
    int code = file.type == NPY_F4
                   ? check_shape(path, &t, &file)
                   : mistake("%s: it holds %s, and a comparison needs float32", path, file_words[file.type]);
    if (!code)
        compare_rows(&t, w, file.data, name == 'l', c);
    npy_free(&file);
    return code;
}
