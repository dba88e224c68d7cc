/* SPDX-License-Identifier: MIT
 * peak.c - a device's multiply-add rate and read bandwidth, measured in this process: what results are
 * fractions of. */
#include "tool/bench/bench.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#define READS 8 /* loads on their way at once */
#define READ_BYTES ((size_t)256 << 20)

extern const char clattn__cl_peak[];

struct peak {
    clattn_context *ctx;
    cl_command_queue queue;
    cl_program program;
    cl_kernel fma, dot, read, nothing; /* dot: NULL where kernels have no products of pairs */
    cl_mem out, from;
    size_t group, width, chains, fma_groups, read_groups, read_bytes;
    cl_int rounds, count;
    int products; /* that an instruction adds at most */
    double pair_factor;
    bool is_cpu;
};

static cl_int build(struct peak *p, const clattn_device_facts *facts)
{
    const char *text = clattn__cl_peak;
    char options[128];
    cl_int code;
    cl_device_id device = clattn_context_device(p->ctx);
    snprintf(options, sizeof options,
             "-cl-std=CL1.2 -DFMA=%d -DGROUP=%zu -DWIDTH=%zu -DCHAINS=%zu -DREADS=%d -DDOT=%d",
             !!facts->has_fma, p->group, p->width, p->chains, READS, p->products);
    p->program = clCreateProgramWithSource(clattn_context_cl(p->ctx), 1, &text, NULL, &code);
    if (code == CL_SUCCESS)
        code = clBuildProgram(p->program, 1, &device, options, NULL, NULL);
    if (code == CL_SUCCESS)
        p->fma = clCreateKernel(p->program, "fma_rate", &code);
    if (code == CL_SUCCESS && p->products > 1)
        p->dot = clCreateKernel(p->program, "dot_rate", &code);
    if (code == CL_SUCCESS)
        p->read = clCreateKernel(p->program, "read_rate", &code);
    if (code == CL_SUCCESS)
        p->nothing = clCreateKernel(p->program, "nothing", &code);
    return code;
}

static cl_int set_rate_arguments(struct peak *p, cl_kernel kernel)
{
    const float a = 0.999f, b = 0.001f;
    cl_int code = clSetKernelArg(kernel, 0, sizeof p->out, &p->out);
    code |= clSetKernelArg(kernel, 1, sizeof p->rounds, &p->rounds);
    code |= clSetKernelArg(kernel, 2, sizeof a, &a);
    return code | clSetKernelArg(kernel, 3, sizeof b, &b);
}

static cl_int set_up(struct peak *p, const clattn_device_facts *facts)
{
    cl_int code;
    float zero = 0.0f;
    cl_context cl = clattn_context_cl(p->ctx);
    const bool cpu = p->is_cpu = facts->type & CL_DEVICE_TYPE_CPU;
    p->group = cpu ? 1 : facts->largest_group < 256 ? (size_t)facts->largest_group : 256;
    bool lanes = cpu && !facts->slow_wide_vectors; /* CHAINS vectors and two more fit an item's registers */
    p->width = !lanes || facts->vector_width_float < 8 ? 4 : facts->vector_width_float < 16 ? 8 : 16;
    p->chains = !lanes ? 8 : facts->vector_registers >= 32 ? 24 : 12;
    p->products = lanes && facts->bf16_dot ? 2 : 1;
    p->fma_groups = (size_t)facts->compute_units * (cpu ? 4 : 16);
    p->read_bytes =
        facts->largest_buffer_bytes / 4 < READ_BYTES ? (size_t)facts->largest_buffer_bytes / 4 : READ_BYTES;
    p->read_groups = cpu ? (p->read_bytes >> 19) + 1 : (size_t)facts->compute_units * 16;
    p->count = (cl_int)(p->read_bytes / (p->read_groups * p->group * p->width * 4) / READS * READS);
    p->rounds = 1000;
    size_t items = p->group * (p->fma_groups > p->read_groups ? p->fma_groups : p->read_groups);
    p->queue = clCreateCommandQueue(cl, clattn_context_device(p->ctx), 0, &code);
    if (code == CL_SUCCESS)
        p->out = clCreateBuffer(cl, CL_MEM_READ_WRITE, (items + p->chains) * sizeof(float), NULL, &code);
    if (code == CL_SUCCESS)
        p->from = clCreateBuffer(cl, CL_MEM_READ_WRITE, p->read_bytes, NULL, &code);
    if (code == CL_SUCCESS)
        code = build(p, facts);
    if (code == CL_SUCCESS)
        code = clEnqueueFillBuffer(p->queue, p->out, &zero, sizeof zero, 0,
                                   (items + p->chains) * sizeof(float), 0, NULL, NULL);
    if (code == CL_SUCCESS)
        code = clEnqueueFillBuffer(p->queue, p->from, &zero, sizeof zero, 0, p->read_bytes / 4 * 4, 0, NULL,
                                   NULL);
    if (code != CL_SUCCESS)
        return code;
    code = set_rate_arguments(p, p->fma);
    code |= clSetKernelArg(p->nothing, 0, sizeof p->out, &p->out);
    code |= clSetKernelArg(p->read, 0, sizeof p->from, &p->from);
    code |= clSetKernelArg(p->read, 1, sizeof p->out, &p->out);
    code |= clSetKernelArg(p->read, 2, sizeof p->count, &p->count);
    return code;
}

/* Seconds of one launch, finished; 0 on failure. */
static double launch_seconds(struct peak *p, cl_kernel kernel, size_t groups)
{
    size_t global = groups * p->group;
    double begin = now_seconds();
    if (clEnqueueNDRangeKernel(p->queue, kernel, 1, NULL, &global, &p->group, 0, NULL, NULL) != CL_SUCCESS ||
        clFinish(p->queue) != CL_SUCCESS)
        return 0;
    return now_seconds() - begin;
}

/* As many rounds as a launch of 20 ms has. */
static bool calibrate(struct peak *p)
{
    for (;;) {
        double t = launch_seconds(p, p->fma, p->fma_groups);
        if (t <= 0 || t >= 0.02 || p->rounds >= 1 << 26)
            return t > 0;
        p->rounds *= 2;
        if (clSetKernelArg(p->fma, 1, sizeof p->rounds, &p->rounds) != CL_SUCCESS)
            return false;
    }
}

#define NO_FASTER 1.05 /* what noise alone makes of a factor of 1 */

/* How many times as many operations a second products of pairs make, by the best of five launches each; never
 * less than 1: a problem of bf16 may be computed in f32 just as well. */
static double measure_pairs(struct peak *p)
{
    double pairs = HUGE_VAL, single = HUGE_VAL;
    if (!p->dot || set_rate_arguments(p, p->dot) != CL_SUCCESS ||
        launch_seconds(p, p->dot, p->fma_groups) <= 0)
        return 1;
    for (int i = 0; i < 5; i++) {
        single = fmin(single, launch_seconds(p, p->fma, p->fma_groups));
        pairs = fmin(pairs, launch_seconds(p, p->dot, p->fma_groups));
    }
    const double factor = pairs > 0 && single > 0 ? 2 * single / pairs : 1;
    return factor > NO_FASTER ? factor : 1;
}

clattn_status peak_open(struct peak **peak, clattn_context *ctx)
{
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_status status = clattn_device_describe(clattn_context_device(ctx), &facts);
    *peak = NULL;
    if (status)
        return status;
    struct peak *p = calloc(1, sizeof *p);
    if (!p)
        return CLATTN_OUT_OF_HOST_MEMORY;
    p->ctx = ctx;
    /* the first launch of a kernel may compile it: it is not timed */
    if (set_up(p, &facts) != CL_SUCCESS || launch_seconds(p, p->read, p->read_groups) <= 0 ||
        launch_seconds(p, p->fma, p->fma_groups) <= 0 || launch_seconds(p, p->nothing, p->fma_groups) <= 0 ||
        !calibrate(p)) {
        peak_close(p);
        return CLATTN_OPENCL_FAILED;
    }
    p->pair_factor = measure_pairs(p);
    *peak = p;
    return CLATTN_OK;
}

void peak_close(struct peak *p)
{
    if (!p)
        return;
    if (p->fma)
        clReleaseKernel(p->fma);
    if (p->dot)
        clReleaseKernel(p->dot);
    if (p->read)
        clReleaseKernel(p->read);
    if (p->nothing)
        clReleaseKernel(p->nothing);
    if (p->program)
        clReleaseProgram(p->program);
    if (p->out)
        clReleaseMemObject(p->out);
    if (p->from)
        clReleaseMemObject(p->from);
    if (p->queue)
        clReleaseCommandQueue(p->queue);
    free(p);
}

double peak_flops(struct peak *p)
{
    double t = p ? launch_seconds(p, p->fma, p->fma_groups) : 0;
    return t > 0
               ? (double)p->fma_groups * (double)p->group * p->rounds * (double)(p->chains * p->width * 2) / t
               : 0;
}

double peak_change(const struct peak *p, double before, double after)
{
    return p->is_cpu && before > 0 && after > 0 ? after / before : 1;
}

double peak_pair_factor(const struct peak *p)
{
    return p ? p->pair_factor : 1;
}

double peak_bytes(struct peak *p)
{
    double t = p ? launch_seconds(p, p->read, p->read_groups) : 0;
    return t > 0 ? (double)p->read_groups * (double)p->group * p->count * (double)(p->width * 4) / t : 0;
}

double peak_launch(struct peak *p, int n)
{
    double total = 0;
    for (int i = 0; p && i < n; i++)
        total += launch_seconds(p, p->nothing, p->fma_groups);
    return n > 0 ? total / n : 0;
}
