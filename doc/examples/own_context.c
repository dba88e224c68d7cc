/* SPDX-License-Identifier: MIT
 * own_context.c - a program that has OpenCL already: clattn works in its context, on its queue and buffers,
 * between its events, and allocates nothing on the device.
 *
 *     write k, v --copied--> attention --attended--> read o
 *
 * One token of generation: a single query against KEYS cached keys, of which key_lengths says how many are
 * filled. */
#include <clattn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 4, KV_HEADS = 2, KEYS = 512, FILLED = 300, DIM = 64 };
enum { N_Q = HEADS * DIM, N_K = KV_HEADS * KEYS * DIM };

static float q[N_Q], k[N_K], v[N_K], o[N_Q];

static void check_cl(cl_int code, const char *call)
{
    if (code == CL_SUCCESS)
        return;
    fprintf(stderr, "own_context: %s gave %d\n", call, (int)code);
    exit(1);
}

static void check(const clattn_context *ctx, clattn_status status)
{
    char message[512] = "";
    if (status == CLATTN_OK)
        return;
    if (ctx)
        clattn_context_message(ctx, message, sizeof message);
    fprintf(stderr, "own_context: %s\n", message[0] ? message : clattn_status_text(status));
    exit(1);
}

/* The first device of the first platform that has one. */
static cl_device_id first_device(void)
{
    cl_device_id device;
    cl_platform_id platforms[16];
    cl_uint count = 0, i;
    check_cl(clGetPlatformIDs(16, platforms, &count), "clGetPlatformIDs");
    for (i = 0; i < count && i < 16; i++)
        if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &device, NULL) == CL_SUCCESS)
            return device;
    check_cl(CL_DEVICE_NOT_FOUND, "clGetDeviceIDs");
    return NULL;
}

static cl_mem make_buffer(cl_context cl, cl_mem_flags flags, size_t bytes, void *host)
{
    cl_int code;
    cl_mem mem = clCreateBuffer(cl, flags | (host ? CL_MEM_COPY_HOST_PTR : 0), bytes, host, &code);
    check_cl(code, "clCreateBuffer");
    return mem;
}

static clattn_plan *make_plan(clattn_context *ctx, uint64_t *workspace_bytes)
{
    clattn_plan *plan;
    clattn_attention a = CLATTN_ATTENTION_INIT;
    a.heads = HEADS;
    a.kv_heads = KV_HEADS;
    a.q_len = 1;
    a.kv_len = KEYS;
    a.dim = a.dim_v = DIM;
    a.flags = CLATTN_KEY_LENGTHS | CLATTN_CALLER_WORKSPACE;
    check(ctx, clattn_plan_create(&plan, ctx, &a));
    check(ctx, clattn_workspace_size(plan, workspace_bytes));
    printf("own_context: engine %s, %lu bytes of workspace\n", clattn_plan_engine(plan),
           (unsigned long)*workspace_bytes);
    return plan;
}

static void run(cl_context cl, cl_command_queue queue, clattn_context *ctx)
{
    int32_t filled = FILLED;
    uint64_t bytes;
    cl_event copied[2], attended;
    clattn_plan *plan = make_plan(ctx, &bytes);
    clattn_io io = CLATTN_IO_INIT;

    io.q = make_buffer(cl, CL_MEM_READ_ONLY, sizeof q, q);
    io.k = make_buffer(cl, CL_MEM_READ_ONLY, sizeof k, NULL);
    io.v = make_buffer(cl, CL_MEM_READ_ONLY, sizeof v, NULL);
    io.o = make_buffer(cl, CL_MEM_WRITE_ONLY, sizeof o, NULL);
    io.key_lengths = make_buffer(cl, CL_MEM_READ_ONLY, sizeof filled, &filled);
    io.workspace = bytes ? make_buffer(cl, CL_MEM_READ_WRITE, (size_t)bytes, NULL) : NULL;

    check_cl(clEnqueueWriteBuffer(queue, io.k, CL_FALSE, 0, sizeof k, k, 0, NULL, &copied[0]),
             "clEnqueueWriteBuffer");
    check_cl(clEnqueueWriteBuffer(queue, io.v, CL_FALSE, 0, sizeof v, v, 0, NULL, &copied[1]),
             "clEnqueueWriteBuffer");
    check(ctx, clattn_enqueue_forward(plan, queue, &io, 2, copied, &attended));
    check_cl(clEnqueueReadBuffer(queue, io.o, CL_TRUE, 0, sizeof o, o, 1, &attended, NULL),
             "clEnqueueReadBuffer");

    clReleaseEvent(copied[0]);
    clReleaseEvent(copied[1]);
    clReleaseEvent(attended);
    clReleaseMemObject(io.q);
    clReleaseMemObject(io.k);
    clReleaseMemObject(io.v);
    clReleaseMemObject(io.o);
    clReleaseMemObject(io.key_lengths);
    if (io.workspace)
        clReleaseMemObject(io.workspace);
    clattn_plan_destroy(plan);
}

/* Keys are all alike, so a row of o is the mean of the filled values, 0 .. FILLED-1. */
static int count_wrong(void)
{
    int wrong = 0, i;
    for (i = 0; i < N_Q; i++)
        wrong += !(fabs((double)o[i] - (FILLED - 1) / 2.0) < 1e-2);
    return wrong;
}

int main(void)
{
    cl_int code;
    cl_device_id device = first_device();
    cl_context cl = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    cl_command_queue queue;
    clattn_context *ctx;
    int i, wrong;

    check_cl(code, "clCreateContext");
    queue = clCreateCommandQueue(cl, device, 0, &code);
    check_cl(code, "clCreateCommandQueue");
    check(NULL, clattn_context_wrap(&ctx, cl, device));
    for (i = 0; i < N_Q; i++)
        q[i] = 1.0f;
    for (i = 0; i < N_K; i++) {
        int key = i / DIM % KEYS;
        k[i] = key < FILLED ? 0.25f : (float)NAN; /* what lies past the filled keys never matters */
        v[i] = key < FILLED ? (float)key : (float)NAN;
    }
    run(cl, queue, ctx);
    clattn_context_close(ctx);
    clReleaseCommandQueue(queue);
    clReleaseContext(cl);
    wrong = count_wrong();
    printf("own_context: %d wrong\n", wrong);
    return wrong != 0;
}
