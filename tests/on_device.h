/* SPDX-License-Identifier: MIT
 * on_device.h - kernels of a test's own over cl/common, on the first OpenCL device. */
#ifndef ON_DEVICE_H
#define ON_DEVICE_H

#include "core/core.h"

struct on_device {
    cl_device_id device;
    clattn_device_facts facts;
    cl_context context;
    cl_command_queue queue;
    bool vector;    /* the vector engine fits */
    bool wide;      /* rusticl takes minutes for vectors of 16 */
    bool denormals; /* numbers below FLT_MIN are not taken for 0 */
    bool exact_division;
};
extern struct on_device on;

bool on_device_find(void); /* false: there is no device */
void on_device_open(void);
void on_device_close(void);

/* The kernel `name' of prelude, the texts of cl/common/rule.clh, and text, in this order. */
cl_kernel on_device_kernel(const char *name, const char *prelude, const char *text);

/* The kernel `name' of a text built with options. */
cl_kernel on_device_build(const char *name, const char *text, const char *options);

/* A buffer of its own that begins with a copy of data. */
cl_mem on_device_buffer(const void *data, size_t size);
void on_device_argument(cl_kernel kernel, cl_uint argument, size_t size, const void *value);
void on_device_run(cl_kernel kernel, size_t items, size_t group); /* group 0: the runtime's choice */
void on_device_write(cl_mem buffer, const void *data, size_t size);
void on_device_read(cl_mem buffer, void *data, size_t size);

#endif
