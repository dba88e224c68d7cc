/* SPDX-License-Identifier: MIT
 * safetensors.c - reads the file whole and checks all of its header before anybody may ask for a tensor. */
#include "safetensors.h"

#include "device.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_FILE ((long)1 << 30)
#define MOST_HEADER ((uint64_t)100000000) /* the format's own limit */

static const struct {
    const char *word;
    int64_t bytes;
} types[] = {{"F16", 2}, {"BF16", 2}, {"F32", 4}, {"F64", 8}, {"I64", 8},
             {"I32", 4}, {"I16", 2},  {"I8", 1},  {"U8", 1},  {"BOOL", 1}};

static unsigned char *read_whole(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    long length = -1;
    unsigned char *bytes = NULL;
    if (f && !fseek(f, 0, SEEK_END))
        length = ftell(f);
    if (length < 0 || fseek(f, 0, SEEK_SET))
        stop("%s: it cannot be read", path);
    if (length < 8 || length > MOST_FILE)
        stop("%s: %ld bytes are no safetensors file of 1 GiB at most", path, length);
    bytes = malloc((size_t)length);
    if (!bytes || fread(bytes, 1, (size_t)length, f) != (size_t)length)
        stop("%s: it cannot be read", path);
    fclose(f);
    *size = (size_t)length;
    return bytes;
}

/* ---- one tensor of the header ---- */
/* Entry i of an array of numbers, 0 or more; -1 if it is not one. */
static int64_t number_at(const json_t *array, size_t i)
{
    const json_t *n = json_array_get(array, i);
    return json_is_integer(n) && json_integer_value(n) >= 0 ? (int64_t)json_integer_value(n) : -1;
}

/* The bytes that type and shape ask for; -1 if they do not make sense or are more than `most'. */
static int64_t wanted_bytes(const json_t *tensor, int64_t most)
{
    const char *word = json_string_value(json_object_get(tensor, "dtype"));
    const json_t *shape = json_object_get(tensor, "shape");
    int64_t bytes = 0;
    for (size_t i = 0; word && i < sizeof types / sizeof types[0]; i++)
        if (!strcmp(word, types[i].word))
            bytes = types[i].bytes;
    if (!bytes || !json_is_array(shape))
        return -1;
    for (size_t i = 0; i < json_array_size(shape); i++) {
        int64_t n = number_at(shape, i);
        if (n < 0 || (n > 0 && bytes > most / n))
            return -1;
        bytes *= n;
    }
    return bytes;
}

/* How many bytes are the tensor's; offsets must lie in the data, and be as far apart as the shape says. */
static int64_t check_tensor(const struct safetensors *file, const char *name, const json_t *tensor)
{
    const json_t *offsets = json_object_get(tensor, "data_offsets");
    int64_t first = number_at(offsets, 0), end = number_at(offsets, 1), most = (int64_t)file->data_bytes;
    if (json_array_size(offsets) != 2 || first < 0 || end < first || end > most)
        stop("%s: tensor '%s' does not lie in the file's data", file->path, name);
    if (wanted_bytes(tensor, most) != end - first)
        stop("%s: tensor '%s' has offsets that are not its type's and shape's", file->path, name);
    return end - first;
}

/* ---- the file ---- */
void safetensors_open(struct safetensors *file, const char *path)
{
    size_t size;
    uint64_t n = 0;
    int64_t used = 0;
    json_error_t error;
    const char *name;
    json_t *tensor;
    *file = (struct safetensors){.path = path, .bytes = read_whole(path, &size)};
    for (int i = 0; i < 8; i++)
        n |= (uint64_t)file->bytes[i] << 8 * i;
    if (n > MOST_HEADER || n > size - 8)
        stop("%s: its header is longer than the file; it is no safetensors file", path);
    file->header = json_loadb((const char *)file->bytes + 8, (size_t)n, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(file->header))
        stop("%s: its header is not a JSON object: %s", path, error.text);
    file->data = file->bytes + 8 + n;
    file->data_bytes = size - 8 - (size_t)n;
    json_object_foreach (file->header, name, tensor)
        if (strcmp(name, "__metadata__") != 0)
            used += check_tensor(file, name, tensor);
    if (used != (int64_t)file->data_bytes)
        stop("%s: its tensors do not fill its data", path);
}

void safetensors_close(struct safetensors *file)
{
    json_decref(file->header);
    free(file->bytes);
}

const void *safetensors_find(const struct safetensors *file, const char *name, int64_t rows, int64_t columns)
{
    const json_t *tensor = json_object_get(file->header, name), *shape = json_object_get(tensor, "shape");
    const char *type = json_string_value(json_object_get(tensor, "dtype"));
    if (!type || strcmp(type, "F16") != 0 || json_array_size(shape) != (columns ? 2 : 1) ||
        number_at(shape, 0) != rows || (columns && number_at(shape, 1) != columns))
        stop("%s: there is no tensor '%s' of type F16 and shape [%ld%s%.0ld]", file->path, name, (long)rows,
             columns ? ", " : "", (long)columns);
    return file->data + number_at(json_object_get(tensor, "data_offsets"), 0);
}
