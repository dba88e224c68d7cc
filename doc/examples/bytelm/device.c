/* SPDX-License-Identifier: MIT
 * device.c - a device through clattn, and what every OpenCL program does: buffers, launches, failures. */
#include "device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x

extern const char kernels_text[]; /* made of kernels.cl */
static const char *const kernel_names[N_KERNELS] = {"widen",       "embed",  "rms_norm",
                                                    "place_heads", "swiglu", "row_bits", "block_scores"};

/* ---- failures ---- */
/* Sentences may quote a file, which shall not command the terminal. */
void stop(const char *format, ...)
{
    char text[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' && *c != '\n')
            *c = '?';
    fflush(stdout);
    fprintf(stderr, "bytelm: %s\n", text);
    exit(1);
}

void check_cl(cl_int code, const char *call)
{
    if (code != CL_SUCCESS)
        stop("%s gave %d", call, (int)code);
}

void check(const struct device *d, clattn_status status)
{
    char message[1024] = "";
    if (status == CLATTN_OK)
        return;
    if (d->clattn)
        clattn_context_message(d->clattn, message, sizeof message);
    stop("%s", message[0] ? message : clattn_status_text(status));
}

/* ---- the device ---- */
static void build_kernels(struct device *d, cl_device_id id, clattn_type type)
{
    char log[4096] = "";
    const char *text = kernels_text, *options = "-cl-std=CL1.2 -D GROUP=" TEXT(GROUP);
    cl_int code;
    if (type == CLATTN_F16)
        options = "-cl-std=CL1.2 -D GROUP=" TEXT(GROUP) " -D STORES_HALF";
    d->program = clCreateProgramWithSource(d->cl, 1, &text, NULL, &code);
    check_cl(code, "clCreateProgramWithSource");
    if (clBuildProgram(d->program, 1, &id, options, NULL, NULL) != CL_SUCCESS) {
        clGetProgramBuildInfo(d->program, id, CL_PROGRAM_BUILD_LOG, sizeof log, log, NULL);
        stop("kernels.cl does not build:\n%s", log);
    }
    for (int i = 0; i < N_KERNELS; i++) {
        d->kernels[i] = clCreateKernel(d->program, kernel_names[i], &code);
        check_cl(code, "clCreateKernel");
    }
}

void device_open(struct device *d, const char *selector, clattn_type type)
{
    cl_int code;
    *d = (struct device){.clattn = NULL};
    check(d, clattn_context_open(&d->clattn, selector));
    d->cl = clattn_context_cl(d->clattn);
    cl_device_id id = clattn_context_device(d->clattn);
    d->queue = clCreateCommandQueue(d->cl, id, CL_QUEUE_PROFILING_ENABLE, &code);
    check_cl(code, "clCreateCommandQueue");
    build_kernels(d, id, type);
}

void device_close(struct device *d)
{
    for (int i = 0; i < N_KERNELS; i++)
        clReleaseKernel(d->kernels[i]);
    clReleaseProgram(d->program);
    clReleaseCommandQueue(d->queue);
    clattn_context_close(d->clattn); /* and with it the cl_context */
}

/* ---- memory ---- */
cl_mem device_buffer(const struct device *d, size_t bytes, const void *data)
{
    cl_int code;
    cl_mem mem = clCreateBuffer(d->cl, CL_MEM_READ_WRITE | (data ? CL_MEM_COPY_HOST_PTR : 0), bytes,
                                (void *)data, &code);
    check_cl(code, "clCreateBuffer");
    return mem;
}

void device_write(const struct device *d, cl_mem to, size_t bytes, const void *data)
{
    check_cl(clEnqueueWriteBuffer(d->queue, to, CL_TRUE, 0, bytes, data, 0, NULL, NULL),
             "clEnqueueWriteBuffer");
}

void device_fill(const struct device *d, cl_mem to, int32_t value, size_t count)
{
    check_cl(clEnqueueFillBuffer(d->queue, to, &value, sizeof value, 0, count * sizeof value, 0, NULL, NULL),
             "clEnqueueFillBuffer");
}

void device_read(const struct device *d, cl_mem from, size_t bytes, void *data)
{
    check_cl(clEnqueueReadBuffer(d->queue, from, CL_TRUE, 0, bytes, data, 0, NULL, NULL),
             "clEnqueueReadBuffer");
}

/* ---- launches ---- */
void device_launch(const struct device *d, enum kernel kernel, const size_t *size, const size_t *group,
                   const struct argument *arguments, size_t n)
{
    /* the largest power of two that divides the first size, and few: a group that followed the number of rows
     * would have some drivers compile the kernel for each */
    const size_t divides = size[0] & (~size[0] + 1), own[3] = {divides < 64 ? divides : 64, 1, 1};
    for (size_t i = 0; i < n; i++)
        check_cl(clSetKernelArg(d->kernels[kernel], (cl_uint)i, arguments[i].size, arguments[i].value),
                 kernel_names[kernel]);
    group = group ? group : own;
    check_cl(clEnqueueNDRangeKernel(d->queue, d->kernels[kernel], 3, NULL, size, group, 0, NULL, NULL),
             kernel_names[kernel]);
}
