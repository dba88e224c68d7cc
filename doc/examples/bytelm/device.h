/* SPDX-License-Identifier: MIT
 * device.h - an OpenCL device as this program uses it: one queue, in order, and a few kernels.  Any failure
 * ends the program with a sentence. */
#ifndef BYTELM_DEVICE_H
#define BYTELM_DEVICE_H

#include <clattn.h>

/* The kernels of kernels.cl. */
enum kernel { WIDEN, EMBED, RMS_NORM, PLACE_HEADS, SWIGLU, ROW_BITS, BLOCK_SCORES, N_KERNELS };

struct device {
    clattn_context *clattn;
    cl_context cl; /* clattn's, and everybody's: buffers of one context serve clattn, CLBlast and us */
    cl_command_queue queue; /* in order, so that no step has to wait for an event of the one before */
    cl_program program;
    cl_kernel kernels[N_KERNELS];
};

/* The arguments of a launch, in order: buffers and numbers, as clSetKernelArg takes them. */
struct argument {
    size_t size;
    const void *value;
};
#define ARGUMENT(x) {sizeof(x), &(x)}
#define ARGUMENTS(...)                                                                                       \
    (const struct argument[]){__VA_ARGS__},                                                                  \
        sizeof((const struct argument[]){__VA_ARGS__}) / sizeof(struct argument)

/* selector as clattn_context_open takes it; NULL: the best there is.  type: how q, k, v are stored. */
void device_open(struct device *d, const char *selector, clattn_type type);
void device_close(struct device *d);

/* Memory of the device, with the bytes that data points to or, where it is NULL, with any. */
cl_mem device_buffer(const struct device *d, size_t bytes, const void *data);
void device_write(const struct device *d, cl_mem to, size_t bytes, const void *data);
void device_fill(const struct device *d, cl_mem to, int32_t value, size_t count);
void device_read(const struct device *d, cl_mem from, size_t bytes, void *data); /* waits */

/* size[3] work-items; group[3] of them in a work-group, NULL: some of a row. */
void device_launch(const struct device *d, enum kernel kernel, const size_t *size, const size_t *group,
                   const struct argument *arguments, size_t n);

/* What a group of RMS_NORM and ROW_BITS, which sums one row, has of work-items. */
#define GROUP 32

_Noreturn void stop(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check_cl(cl_int code, const char *call);
void check(const struct device *d, clattn_status status);

#endif
