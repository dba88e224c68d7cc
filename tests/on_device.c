/* SPDX-License-Identifier: MIT
 * on_device.c - kernels of a test's own over cl/common, on the first OpenCL device. */
#include "on_device.h"

#include "engine/engine.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct on_device on = {.facts = CLATTN_DEVICE_FACTS_INIT};

bool on_device_find(void)
{
    cl_platform_id platforms[16];
    cl_uint n = 0;
    cl_device_fp_config config = 0;
    char reason[160];
    clGetPlatformIDs(16, platforms, &n);
    for (cl_uint i = 0; i < n && i < 16; i++)
        if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &on.device, NULL) == CL_SUCCESS) {
            clGetDeviceInfo(on.device, CL_DEVICE_SINGLE_FP_CONFIG, sizeof config, &config, NULL);
            if (clattn_device_describe(on.device, &on.facts))
                continue;
            on.vector = clattn__engine_vector.fits(&on.facts, reason, sizeof reason);
            on.wide = !on.facts.slow_wide_vectors;
            on.denormals = (config & CL_FP_DENORM) != 0;
            on.exact_division = (config & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
            return true;
        }
    return false;
}

void on_device_open(void)
{
    cl_int code;
    on.context = clCreateContext(NULL, 1, &on.device, NULL, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    on.queue = clCreateCommandQueue(on.context, on.device, 0, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
}

void on_device_close(void)
{
    clReleaseCommandQueue(on.queue);
    clReleaseContext(on.context);
}

/* ---- texts ---- */
/* The files in a kernel's text: each stands once, where it is first included, as in the library's kernels. */
struct files {
    char names[24][40];
    int n;
};

static bool is_new(struct files *in, const char *name)
{
    for (int i = 0; i < in->n; i++)
        if (!strcmp(in->names[i], name))
            return false;
    ck_assert_int_lt(in->n, 24);
    snprintf(in->names[in->n++], sizeof in->names[0], "%s", name);
    return true;
}

/* Add a file of cl/common with what it includes. */
static void add_common(struct clattn__text *to, struct files *in, const char *name)
{
    const char *srcdir = getenv("srcdir");
    char path[1024], line[1024], included[40];
    if (!is_new(in, name))
        return;
    snprintf(path, sizeof path, "%s/cl/common/%s", srcdir ? srcdir : "..", name);
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "cannot open %s", path);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "#include \"%39[^\"]\"", included) == 1)
            add_common(to, in, included);
        else
            clattn__text_add(to, "%s", line);
    fclose(file);
}

/* what: of the text, for the message of a failure. */
static cl_kernel build(const char *name, const char *text, const char *options, const char *what)
{
    static char log[4096]; /* Check's messages hold 8192 bytes */
    cl_int code;
    cl_program program = clCreateProgramWithSource(on.context, 1, &text, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    code = clBuildProgram(program, 1, &on.device, options, NULL, NULL);
    if (code != CL_SUCCESS)
        clGetProgramBuildInfo(program, on.device, CL_PROGRAM_BUILD_LOG, sizeof log - 1, log, NULL);
    ck_assert_msg(code == CL_SUCCESS, "%d: %s\n%s", (int)code, what, log);
    cl_kernel kernel = clCreateKernel(program, name, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    clReleaseProgram(program);
    return kernel;
}

cl_kernel on_device_build(const char *name, const char *text, const char *options)
{
    return build(name, text, options, options);
}

cl_kernel on_device_kernel(const char *name, const char *prelude, const char *text)
{
    static char source[4 << 20];
    struct clattn__text to = clattn__text_into(source, sizeof source);
    struct files in = {.n = 0};
    clattn__text_add(&to, "#define RULE_LANES %d\n%s\n", on.wide ? 16 : 0, prelude);
    add_common(&to, &in, "storage.clh");
    add_common(&to, &in, "exp2.clh");
    add_common(&to, &in, "rule.clh");
    clattn__text_add(&to, "%s", text);
    ck_assert(!to.cut);
    char options[64];
    snprintf(options, sizeof options, "-cl-std=CL1.2 -DFMA=%d -DMIN_BY_MASK=%d", on.facts.has_fma,
             on.facts.wrong_nested_min);
    return build(name, source, options, prelude);
}

/* ---- buffers and launches ---- */
cl_mem on_device_buffer(const void *data, size_t size)
{
    cl_int code;
    cl_mem buffer = clCreateBuffer(on.context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, size,
                                   (void *)(uintptr_t)data, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return buffer;
}

void on_device_argument(cl_kernel kernel, cl_uint argument, size_t size, const void *value)
{
    ck_assert_int_eq(clSetKernelArg(kernel, argument, size, value), CL_SUCCESS);
}

void on_device_run(cl_kernel kernel, size_t items, size_t group)
{
    ck_assert_int_eq(
        clEnqueueNDRangeKernel(on.queue, kernel, 1, NULL, &items, group ? &group : NULL, 0, NULL, NULL),
        CL_SUCCESS);
}

void on_device_write(cl_mem buffer, const void *data, size_t size)
{
    ck_assert_int_eq(clEnqueueWriteBuffer(on.queue, buffer, CL_TRUE, 0, size, data, 0, NULL, NULL),
                     CL_SUCCESS);
}

void on_device_read(cl_mem buffer, void *data, size_t size)
{
    ck_assert_int_eq(clEnqueueReadBuffer(on.queue, buffer, CL_TRUE, 0, size, data, 0, NULL, NULL),
                     CL_SUCCESS);
}
