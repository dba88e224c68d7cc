/* SPDX-License-Identifier: MIT
 * npy.h - read and write NumPy's .npy files (format 1.0 and 2.0): C order, little endian f2, f4, i4, and i1,
 * b1. */
#ifndef NPY_H
#define NPY_H

#include <stddef.h>
#include <stdint.h>

enum npy_type { NPY_F4, NPY_F2, NPY_I4, NPY_I1, NPY_B1 };

struct npy {
    enum npy_type type;
    int n_dims;
    int64_t dims[8];
    int64_t count; /* product of dims */
    void *data;    /* owned; npy_free */
};

/* Return 0, or -1 with a sentence in message.  Nothing in the file is trusted: sizes are checked against the
 * file's own. */
int npy_read(struct npy *array, const char *path, char *message, size_t size);
int npy_write(const char *path, enum npy_type type, int n_dims, const int64_t *dims, const void *data,
              char *message, size_t size);
void npy_free(struct npy *array);

#endif
