/* SPDX-License-Identifier: MIT
 * npy.c - NumPy's file format: magic, version, header length, a Python dictionary as text, the data. */
#include "tool/npy.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "\x93NUMPY"
#define MAX_HEADER 65536
#define MAX_ELEMENTS ((int64_t)1 << 40)

static const char *const type_words[] = {"<f4", "<f2", "<i4", "|i1", "|b1"};
static const int type_bytes[] = {4, 2, 4, 1, 1};
#define N_TYPES (sizeof type_words / sizeof type_words[0])

/* Where the sentence about a file goes. */
struct reason {
    const char *path;
    char *message;
    size_t size;
};

static int refuse(struct reason *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct reason *why, const char *fmt, ...)
{
    va_list args;
    int n = why->message && why->size ? snprintf(why->message, why->size, "%s: ", why->path) : -1;
    va_start(args, fmt);
    if (n >= 0 && (size_t)n < why->size)
        vsnprintf(why->message + n, why->size - (size_t)n, fmt, args);
    va_end(args);
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

/* The type's word, "<f4", out of its quotes; "" if it is not a plain word. */
static void read_word(const char *at, char word[8])
{
    size_t n = 0;
    if (*at == '\'' || *at == '"')
        n = strcspn(at + 1, "'\"");
    if (n >= 8 || n == 0 || at[n + 1] != *at ||
        strspn(at + 1, "<>|=abcdefghijklmnopqrstuvwxyzSUVOM0123456789") < n)
        n = 0;
    memcpy(word, at + 1, n);
    word[n] = 0;
}

static int parse_header(struct npy *array, const char *header, struct reason *why)
{
    const char *descr = value_of(header, "descr"), *order = value_of(header, "fortran_order"),
               *shape = value_of(header, "shape");
    char word[8];
    if (!descr || !order || !shape)
        return refuse(why, "its header lacks descr, fortran_order or shape");
    read_word(descr, word);
    size_t type = 0;
    while (type < N_TYPES && strcmp(word, type_words[type]))
        type++;
    if (type == N_TYPES)
        return refuse(
            why, "its type is %s, not little-endian float32 (<f4), float16 (<f2), int32 (<i4), int8 or bool",
            word[0] ? word : "no plain one");
    array->type = (enum npy_type)type;
    if (strncmp(order, "False", 5))
        return refuse(why, "it is in Fortran order; save it in C order (numpy.ascontiguousarray)");
    return parse_shape(array, shape) ? refuse(why, "its shape cannot be read, or has more than 8 dimensions")
                                     : 0;
}

/* The length of the header, from the file's first bytes; more than MAX_HEADER if they are cut short. */
static size_t header_length(const unsigned char start[10], FILE *file)
{
    unsigned char more[2];
    size_t length = start[8] | (size_t)start[9] << 8;
    if (start[6] == 1)
        return length;
    return fread(more, 1, 2, file) == 2 ? length | (size_t)more[0] << 16 | (size_t)more[1] << 24
                                        : MAX_HEADER + 1;
}

/* The header's text, at the file's start; NULL with the reason. */
static char *read_header(FILE *file, struct reason *why)
{
    unsigned char start[10];
    size_t n = fread(start, 1, sizeof start, file);
    if (ferror(file)) {
        refuse(why, "%s", strerror(errno));
        return NULL;
    }
    if (n != sizeof start || memcmp(start, MAGIC, 6) || start[6] < 1 || start[6] > 2) {
        refuse(why, "it is not a .npy file of format 1.0 or 2.0");
        return NULL;
    }
    size_t length = header_length(start, file);
    char *header = length <= MAX_HEADER ? malloc(length + 1) : NULL;
    if (!header || fread(header, 1, length, file) != length) {
        free(header);
        refuse(why, "its header is cut short or too long");
        return NULL;
    }
    header[length] = 0;
    return header;
}

static int read_data(struct npy *array, FILE *file, struct reason *why)
{
    long first = ftell(file);
    if (first < 0 || fseek(file, 0, SEEK_END))
        return refuse(why, "it is a pipe or the like, not a file");
    long last = ftell(file);
    size_t bytes = (size_t)array->count * (size_t)type_bytes[array->type];
    if (last < first || (size_t)(last - first) != bytes)
        return refuse(why, "its shape asks for %zu bytes of data, and it has %ld", bytes, last - first);
    if (fseek(file, first, SEEK_SET))
        return refuse(why, "%s", strerror(errno));
    array->data = malloc(bytes + 1);
    if (!array->data)
        return refuse(why, "out of memory");
    return fread(array->data, 1, bytes, file) == bytes ? 0 : refuse(why, "it cannot be read to its end");
}

int npy_read(struct npy *array, const char *path, char *message, size_t size)
{
    struct reason why = {path, message, size};
    memset(array, 0, sizeof *array);
    FILE *file = fopen(path, "rb");
    if (!file)
        return refuse(&why, "%s", strerror(errno));
    char *header = read_header(file, &why);
    int code = header ? parse_header(array, header, &why) : -1;
    if (!code)
        code = read_data(array, file, &why);
    free(header);
    fclose(file);
    if (code)
        npy_free(array);
    return code;
}

int npy_write(const char *path, enum npy_type type, int n_dims, const int64_t *dims, const void *data,
              char *message, size_t size)
{
    char text[512], shape[256] = "";
    int64_t count = 1;
    size_t used = 0;
    for (int i = 0; i < n_dims; i++) {
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%lld, ", (long long)dims[i]);
        count *= dims[i];
    }
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                     type_words[type], shape);
    int padded = (10 + n + 1 + 63) / 64 * 64 - 10; /* data begin at a multiple of 64 */
    unsigned char start[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(padded & 255), (unsigned char)(padded >> 8)};
    memset(text + n, ' ', (size_t)(padded - n));
    text[padded - 1] = '\n';
    struct reason why = {path, message, size};
    FILE *file = fopen(path, "wb");
    if (!file)
        return refuse(&why, "it cannot be written: %s", strerror(errno));
    size_t bytes = (size_t)count * (size_t)type_bytes[type];
    errno = 0;
    int good = fwrite(start, 1, 10, file) == 10 && fwrite(text, 1, (size_t)padded, file) == (size_t)padded &&
               fwrite(data, 1, bytes, file) == bytes;
    good = fclose(file) == 0 && good;
    return good ? 0 : refuse(&why, "it cannot be written: %s", strerror(errno));
}

void npy_free(struct npy *array)
{
    free(array->data);
    array->data = NULL;
}
