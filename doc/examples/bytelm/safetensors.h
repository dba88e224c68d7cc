/* SPDX-License-Identifier: MIT
 * safetensors.h - a file of tensors:
 *
 *     8 bytes     n, little endian
 *     n bytes     JSON: {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [first, end]}, ...}
 *     the rest    the tensors' data; offsets count from here, every byte belongs to one tensor
 *
 * The file is not trusted: whatever does not fit ends the program with a sentence. */
#ifndef BYTELM_SAFETENSORS_H
#define BYTELM_SAFETENSORS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct safetensors {
    const char *path;
    unsigned char *bytes; /* the whole file */
    const unsigned char *data;
    size_t data_bytes;
    json_t *header;
};

void safetensors_open(struct safetensors *file, const char *path);
void safetensors_close(struct safetensors *file);

/* The data of an f16 tensor that must be there in this shape; columns 0: it has one dimension. */
const void *safetensors_find(const struct safetensors *file, const char *name, int64_t rows, int64_t columns);

#endif
