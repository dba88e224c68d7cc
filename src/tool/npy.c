/* SPDX-License-Identifier: MIT
 * npy.c - NumPy's file format: magic, version, header length, a Python dictionary as text, the data. */
#include "tool/npy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "\x93NUMPY"
#define MAX_HEADER 65536
#define MAX_ELEMENTS ((int64_t)1 << 40)

static const char *const type_words[] = {"<f4", "<f2", "<i4"};
static const int type_bytes[] = {4, 2, 4};

static int fail(char *message, size_t size, const char *path, const char *what)
{
    if (message && size)
        snprintf(message, size, "%s: %s", path, what);
    return -1;
}

/* Text after "'KEY':" in the header. */
static const char *value_of(const char *header, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(header, quoted);
    if (!at)
        return NULL;
    at += strlen(quoted);
    while (*at == ' ')
        at++;
    return at;
}

static int parse_shape(struct npy *array, const char *at)
{
    array->count = 1;
    if (*at++ != '(')
        return -1;
    for (;;) {
        char *end;
        while (*at == ' ' || *at == ',')
            at++;
        if (*at == ')')
            return 0;
        if (*at < '0' || *at > '9' || array->n_dims == 8)
            return -1;
        errno = 0;
        long long n = strtoll(at, &end, 10);
        if (errno || n > MAX_ELEMENTS || (n > 0 && array->count > MAX_ELEMENTS / n))
            return -1;
        array->dims[array->n_dims++] = n;
        array->count *= n;
        at = end;
    }
}

static const char *parse_header(struct npy *array, const char *header)
{
    const char *descr = value_of(header, "descr"), *order = value_of(header, "fortran_order"), *shape = value_of(header, "shape");
    if (!descr || !order || !shape)
        return "its header lacks descr, fortran_order or shape";
    int type = 0;
    while (type < 3 && strncmp(descr + 1, type_words[type], 3))
        type++;
    if (type == 3)
        return "its type is not little-endian float32 (<f4), float16 (<f2) or int32 (<i4)";
    array->type = (enum npy_type)type;
    if (strncmp(order, "False", 5))
        return "it is in Fortran order; save it in C order";
    return parse_shape(array, shape) ? "its shape cannot be read" : NULL;
}

/* The header's text, at the file's start; NULL with *what. */
static char *read_header(FILE *file, const char **what)
{
    unsigned char start[12];
    if (fread(start, 1, 10, file) != 10 || memcmp(start, MAGIC, 6) || start[6] < 1 || start[6] > 2) {
        *what = "it is not a .npy file of format 1.0 or 2.0";
        return NULL;
    }
    size_t length = start[8] | (size_t)start[9] << 8;
    if (start[6] == 2) {
        if (fread(start + 10, 1, 2, file) != 2)
            length = MAX_HEADER + 1;
        else
            length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    }
    char *header = length <= MAX_HEADER ? malloc(length + 1) : NULL;
    if (!header || fread(header, 1, length, file) != length) {
        free(header);
        *what = "its header is cut short or too long";
        return NULL;
    }
    header[length] = 0;
    return header;
}

static const char *read_data(struct npy *array, FILE *file)
{
    long first = ftell(file);
    if (first < 0 || fseek(file, 0, SEEK_END))
        return "it cannot be read";
    long last = ftell(file);
    size_t bytes = (size_t)array->count * (size_t)type_bytes[array->type];
    if (last < first || (size_t)(last - first) != bytes)
        return "its size does not agree with its shape";
    if (fseek(file, first, SEEK_SET))
        return "it cannot be read";
    array->data = malloc(bytes + 1);
    if (!array->data)
        return "out of memory";
    return fread(array->data, 1, bytes, file) == bytes ? NULL : "it cannot be read to its end";
}

int npy_read(struct npy *array, const char *path, char *message, size_t size)
{
    const char *what = NULL;
    memset(array, 0, sizeof *array);
    FILE *file = fopen(path, "rb");
    if (!file)
        return fail(message, size, path, strerror(errno));
    char *header = read_header(file, &what);
    if (header)
        what = parse_header(array, header);
    if (!what)
        what = read_data(array, file);
    free(header);
    fclose(file);
    if (!what)
        return 0;
    npy_free(array);
    return fail(message, size, path, what);
}

int npy_write(const char *path, enum npy_type type, int n_dims, const int64_t *dims, const void *data, char *message, size_t size)
{
    char text[512], shape[256] = "";
    int64_t count = 1;
    size_t used = 0;
    for (int i = 0; i < n_dims; i++) {
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%lld, ", (long long)dims[i]);
        count *= dims[i];
    }
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", type_words[type], shape);
    int padded = (10 + n + 1 + 63) / 64 * 64 - 10; /* data begin at a multiple of 64 */
    unsigned char start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(padded & 255), (unsigned char)(padded >> 8)};
    memset(text + n, ' ', (size_t)(padded - n));
    text[padded - 1] = '\n';
    FILE *file = fopen(path, "wb");
    if (!file)
        return fail(message, size, path, strerror(errno));
    size_t bytes = (size_t)count * (size_t)type_bytes[type];
    int good = fwrite(start, 1, 10, file) == 10 && fwrite(text, 1, (size_t)padded, file) == (size_t)padded &&
               fwrite(data, 1, bytes, file) == bytes;
    good = fclose(file) == 0 && good;
    return good ? 0 : fail(message, size, path, "it cannot be written");
}

void npy_free(struct npy *array)
{
    free(array->data);
    array->data = NULL;
}
