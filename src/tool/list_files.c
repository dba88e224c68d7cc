/* SPDX-License-Identifier: MIT
 * list_files.c - lists as files: STEM-starts.npy and STEM-ids.npy, int32; list r is ids[starts[r]] to
 * ids[starts[r + 1] - 1]. */
#include "tool/npy.h"
#include "tool/selection.h"

#include <stdlib.h>

static int64_t list_count(const clattn_list *list)
{
    return list->batch * list->scopes * list->q_blocks;
}

static const char *file_name(char name[4096], const char *stem, const char *what)
{
    snprintf(name, 4096, "%s-%s.npy", stem, what);
    return name;
}

/* ---- in ---- */
static int read_ints(struct npy *array, const char *stem, const char *what)
{
    char name[4096], message[512];
    if (npy_read(array, file_name(name, stem, what), message, sizeof message))
        return mistake("%s: %s", name, message);
    if (array->type == NPY_I4 && array->n_dims == 1)
        return 0;
    npy_free(array);
    return mistake("%s: it is not int32 of one dimension", name);
}

static int import_lists(const char *stem, const clattn_list *list, const struct npy *starts,
                        const struct npy *ids, int32_t *lists)
{
    char message[1024];
    const int64_t n = list_count(list);
    if (starts->count != n + 1)
        return mistake("%s-starts.npy has %lld numbers, and there are %lld lists", stem,
                       (long long)starts->count, (long long)n);
    int64_t *wide = malloc((size_t)(n + 1) * sizeof *wide);
    if (!wide)
        return failed(NULL, CLATTN_OUT_OF_HOST_MEMORY, stem);
    for (int64_t i = 0; i <= n; i++)
        wide[i] = ((int32_t *)starts->data)[i];
    clattn_status status =
        clattn_list_import(list, lists, wide, ids->data, ids->count, 0, message, sizeof message);
    free(wide);
    return status ? mistake("%s: %s", stem, message) : 0;
}

int read_lists(const char *stem, const clattn_list *list, int32_t *lists)
{
    struct npy starts, ids;
    if (!stem)
        return 0;
    if (read_ints(&starts, stem, "starts"))
        return EXIT_MISTAKE;
    int code = read_ints(&ids, stem, "ids");
    if (!code) {
        code = import_lists(stem, list, &starts, &ids, lists);
        npy_free(&ids);
    }
    npy_free(&starts);
    return code;
}

/* ---- out ---- */
static int write_ints(const char *stem, const char *what, const int32_t *data, int64_t n)
{
    char name[4096], message[512];
    return npy_write(file_name(name, stem, what), NPY_I4, 1, &n, data, message, sizeof message)
               ? mistake("%s: %s", name, message)
               : 0;
}

/* starts: list_count + 1 of 64 bits, and room for as many of 32 behind them */
static int write_rows(const char *stem, const clattn_list *list, const int32_t *lists, int64_t *starts)
{
    const int64_t n = list_count(list);
    int32_t *narrow = (int32_t *)(starts + n + 1), *ids;
    clattn_status status = clattn_list_export(list, lists, starts, NULL, 0);
    if (!status && starts[n] > INT32_MAX)
        status = CLATTN_SIZE_OVERFLOW;
    if (status)
        return failed(NULL, status, stem);
    for (int64_t i = 0; i <= n; i++)
        narrow[i] = (int32_t)starts[i];
    if (!(ids = malloc((size_t)starts[n] * sizeof *ids + 1)))
        return failed(NULL, CLATTN_OUT_OF_HOST_MEMORY, stem);
    status = clattn_list_export(list, lists, starts, ids, starts[n]);
    int code = status ? failed(NULL, status, stem)
                      : write_ints(stem, "starts", narrow, n + 1) || write_ints(stem, "ids", ids, starts[n]);
    free(ids);
    return code ? EXIT_MISTAKE : 0;
}

int write_lists(const char *stem, const clattn_list *list, const int32_t *lists)
{
    if (!stem)
        return 0;
    int64_t *starts = malloc((size_t)(list_count(list) + 1) * (sizeof *starts + sizeof(int32_t)));
    int code = starts ? write_rows(stem, list, lists, starts) : failed(NULL, CLATTN_OUT_OF_HOST_MEMORY, stem);
    free(starts);
    return code;
}
