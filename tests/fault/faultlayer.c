/* SPDX-License-Identifier: MIT
 * faultlayer.c - a layer of the OpenCL ICD loader that makes calls fail and counts objects.
 *
 * Use: OPENCL_LAYERS=/absolute/path/faultlayer.so ./program
 * The program finds the layer with dlopen(path, RTLD_NOLOAD) and arms it through the symbol fault_control
 * (fault.h). A call that is made to fail does nothing, except that releases and waits are carried out all the
 * same: an object whose release "failed" is still gone.  At exit the layer prints "[fault] injected N leaked
 * M" and "[fault] builds B".
 *
 * FAULT_GUISE=DRIVER in the environment makes every device say that it is a GPU of NVIDIA's with wgmma and a
 * driver of that version: engines are tried whose kernels cannot work there.
 *
 * FAULT_DIE=abort:BYTES, hang:BYTES or fail:BYTES makes the driver abort, never return, or refuse, when a
 * buffer of so many bytes is made; fail:0 when a context is; leave:BYTES makes it abort when the program ends
 * after such a buffer.
 *
 * FAULT_BUILD=abort:TEXT or hang:TEXT makes the build of a program whose options have TEXT end its process,
 * or never return: a compiler's faults. */
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl_layer.h>

#include "fault.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static cl_icd_dispatch ours;
static const cl_icd_dispatch *next;

/* All state is behind one lock: library and driver call from several threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool armed, forever;
static long target, calls, injected, total_injected, builds;
static int code;
static const char *first_name;

enum object { CONTEXT, QUEUE, MEMORY, PROGRAM, KERNEL, EVENT, OBJECTS };
static const char *const object_names[] = {"context", "queue", "buffer", "program", "kernel", "event"};
static long live[OBJECTS];

/* Whether this call shall fail, and with what. */
static bool hit(const char *name, cl_int *failure)
{
    bool fails = false;
    pthread_mutex_lock(&lock);
    if (armed) {
        calls++;
        fails = target > 0 && (calls == target || (forever && calls > target));
        if (fails) {
            if (!injected++)
                first_name = name;
            total_injected++;
            *failure = code;
        }
    }
    pthread_mutex_unlock(&lock);
    return fails;
}

static void count(enum object object, long change)
{
    pthread_mutex_lock(&lock);
    live[object] += change;
    pthread_mutex_unlock(&lock);
}

static void arm(long n, int failure, int for_good)
{
    pthread_mutex_lock(&lock);
    armed = true;
    forever = for_good;
    target = n;
    code = failure;
    calls = injected = 0;
    first_name = NULL;
    pthread_mutex_unlock(&lock);
}

static void disarm(struct fault_report *report)
{
    pthread_mutex_lock(&lock);
    armed = false;
    *report = (struct fault_report){calls, injected, first_name, 0};
    for (int i = 0; i < OBJECTS; i++)
        report->live += live[i];
    pthread_mutex_unlock(&lock);
}

#define EXPORT __attribute__((visibility("default")))

EXPORT const struct fault_control fault_control = {arm, disarm};

/* ---- wrappers: W(name, parameters, arguments) defines layer_NAME ---- */

/* A call that returns a status and makes or ends no object. */
#define PLAIN(name, params, args)                                                                            \
    static cl_int CL_API_CALL layer_##name params                                                            \
    {                                                                                                        \
        cl_int failure;                                                                                      \
        return hit(#name, &failure) ? failure : next->name args;                                             \
    }

/* A wait: it happens, whatever it then says. */
#define WAIT(name, params, args)                                                                             \
    static cl_int CL_API_CALL layer_##name params                                                            \
    {                                                                                                        \
        cl_int failure, status = next->name args;                                                            \
        return hit(#name, &failure) ? failure : status;                                                      \
    }

#define RETAIN(name, type, object)                                                                           \
    static cl_int CL_API_CALL layer_##name(type handle)                                                      \
    {                                                                                                        \
        cl_int failure;                                                                                      \
        if (hit(#name, &failure))                                                                            \
            return failure;                                                                                  \
        cl_int status = next->name(handle);                                                                  \
        count(object, status == CL_SUCCESS);                                                                 \
        return status;                                                                                       \
    }

#define RELEASE(name, type, object)                                                                          \
    static cl_int CL_API_CALL layer_##name(type handle)                                                      \
    {                                                                                                        \
        cl_int failure, status = next->name(handle);                                                         \
        count(object, -(long)(status == CL_SUCCESS));                                                        \
        return hit(#name, &failure) ? failure : status;                                                      \
    }

/* A call that returns an object and puts its status into *status, its last parameter. */
#define CREATE(name, type, object, params, args)                                                             \
    static type CL_API_CALL layer_##name params                                                              \
    {                                                                                                        \
        cl_int failure;                                                                                      \
        if (hit(#name, &failure)) {                                                                          \
            if (status)                                                                                      \
                *status = failure;                                                                           \
            return NULL;                                                                                     \
        }                                                                                                    \
        type made = next->name args;                                                                         \
        count(object, made != NULL);                                                                         \
        return made;                                                                                         \
    }

/* A command: its last parameter, event, may ask for an event object. */
#define COMMAND(name, params, args)                                                                          \
    static cl_int CL_API_CALL layer_##name params                                                            \
    {                                                                                                        \
        cl_int failure;                                                                                      \
        if (hit(#name, &failure))                                                                            \
            return failure;                                                                                  \
        cl_int status = next->name args;                                                                     \
        count(EVENT, event &&status == CL_SUCCESS);                                                          \
        return status;                                                                                       \
    }

#define INFO(name, type, key)                                                                                \
    PLAIN(name, (type handle, key what, size_t size, void *value, size_t *size_ret),                         \
          (handle, what, size, value, size_ret))

typedef void(CL_CALLBACK *context_notify)(const char *, const void *, size_t, void *);
typedef void(CL_CALLBACK *program_notify)(cl_program, void *);

PLAIN(clGetPlatformIDs, (cl_uint n, cl_platform_id *platforms, cl_uint *n_ret), (n, platforms, n_ret))
PLAIN(clGetDeviceIDs,
      (cl_platform_id platform, cl_device_type type, cl_uint n, cl_device_id *devices, cl_uint *n_ret),
      (platform, type, n, devices, n_ret))
INFO(clGetContextInfo, cl_context, cl_context_info)
INFO(clGetCommandQueueInfo, cl_command_queue, cl_command_queue_info)
INFO(clGetMemObjectInfo, cl_mem, cl_mem_info)
INFO(clGetProgramInfo, cl_program, cl_program_info)
INFO(clGetKernelInfo, cl_kernel, cl_kernel_info)
INFO(clGetEventInfo, cl_event, cl_event_info)
INFO(clGetEventProfilingInfo, cl_event, cl_profiling_info)
PLAIN(clGetProgramBuildInfo,
      (cl_program program, cl_device_id device, cl_program_build_info what, size_t size, void *value,
       size_t *size_ret),
      (program, device, what, size, value, size_ret))
PLAIN(clGetKernelWorkGroupInfo,
      (cl_kernel kernel, cl_device_id device, cl_kernel_work_group_info what, size_t size, void *value,
       size_t *size_ret),
      (kernel, device, what, size, value, size_ret))
PLAIN(clSetKernelArg, (cl_kernel kernel, cl_uint index, size_t size, const void *value),
      (kernel, index, size, value))
PLAIN(clSetUserEventStatus, (cl_event event, cl_int value), (event, value))
PLAIN(clFlush, (cl_command_queue queue), (queue))
WAIT(clFinish, (cl_command_queue queue), (queue))
WAIT(clWaitForEvents, (cl_uint n, const cl_event *events), (n, events))

RETAIN(clRetainContext, cl_context, CONTEXT)
RETAIN(clRetainCommandQueue, cl_command_queue, QUEUE)
RETAIN(clRetainMemObject, cl_mem, MEMORY)
RETAIN(clRetainProgram, cl_program, PROGRAM)
RETAIN(clRetainKernel, cl_kernel, KERNEL)
RETAIN(clRetainEvent, cl_event, EVENT)
RELEASE(clReleaseContext, cl_context, CONTEXT)
RELEASE(clReleaseCommandQueue, cl_command_queue, QUEUE)
RELEASE(clReleaseMemObject, cl_mem, MEMORY)
RELEASE(clReleaseProgram, cl_program, PROGRAM)
RELEASE(clReleaseKernel, cl_kernel, KERNEL)
RELEASE(clReleaseEvent, cl_event, EVENT)

CREATE(clCreateContext, cl_context, CONTEXT,
       (const cl_context_properties *properties, cl_uint n, const cl_device_id *devices,
        context_notify notify, void *data, cl_int *status),
       (properties, n, devices, notify, data, status))
CREATE(clCreateCommandQueue, cl_command_queue, QUEUE,
       (cl_context context, cl_device_id device, cl_command_queue_properties properties, cl_int *status),
       (context, device, properties, status))
CREATE(clCreateBuffer, cl_mem, MEMORY,
       (cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *status),
       (context, flags, size, host, status))
CREATE(clCreateSubBuffer, cl_mem, MEMORY,
       (cl_mem buffer, cl_mem_flags flags, cl_buffer_create_type type, const void *info, cl_int *status),
       (buffer, flags, type, info, status))
CREATE(clCreateProgramWithSource, cl_program, PROGRAM,
       (cl_context context, cl_uint n, const char **texts, const size_t *lengths, cl_int *status),
       (context, n, texts, lengths, status))
CREATE(clCreateProgramWithBinary, cl_program, PROGRAM,
       (cl_context context, cl_uint n, const cl_device_id *devices, const size_t *lengths,
        const unsigned char **binaries, cl_int *binary_status, cl_int *status),
       (context, n, devices, lengths, binaries, binary_status, status))
CREATE(clCreateKernel, cl_kernel, KERNEL, (cl_program program, const char *name, cl_int *status),
       (program, name, status))
CREATE(clCreateUserEvent, cl_event, EVENT, (cl_context context, cl_int *status), (context, status))

COMMAND(clEnqueueReadBuffer,
        (cl_command_queue queue, cl_mem mem, cl_bool blocking, size_t offset, size_t size, void *data,
         cl_uint n, const cl_event *wait, cl_event *event),
        (queue, mem, blocking, offset, size, data, n, wait, event))
COMMAND(clEnqueueWriteBuffer,
        (cl_command_queue queue, cl_mem mem, cl_bool blocking, size_t offset, size_t size, const void *data,
         cl_uint n, const cl_event *wait, cl_event *event),
        (queue, mem, blocking, offset, size, data, n, wait, event))
COMMAND(clEnqueueCopyBuffer,
        (cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset, size_t size,
         cl_uint n, const cl_event *wait, cl_event *event),
        (queue, from, to, from_offset, to_offset, size, n, wait, event))
COMMAND(clEnqueueFillBuffer,
        (cl_command_queue queue, cl_mem mem, const void *pattern, size_t pattern_size, size_t offset,
         size_t size, cl_uint n, const cl_event *wait, cl_event *event),
        (queue, mem, pattern, pattern_size, offset, size, n, wait, event))
COMMAND(clEnqueueUnmapMemObject,
        (cl_command_queue queue, cl_mem mem, void *mapped, cl_uint n, const cl_event *wait, cl_event *event),
        (queue, mem, mapped, n, wait, event))
COMMAND(clEnqueueNDRangeKernel,
        (cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset, const size_t *global,
         const size_t *local, cl_uint n, const cl_event *wait, cl_event *event),
        (queue, kernel, dims, offset, global, local, n, wait, event))
COMMAND(clEnqueueMarkerWithWaitList,
        (cl_command_queue queue, cl_uint n, const cl_event *wait, cl_event *event), (queue, n, wait, event))
COMMAND(clEnqueueBarrierWithWaitList,
        (cl_command_queue queue, cl_uint n, const cl_event *wait, cl_event *event), (queue, n, wait, event))

static void *CL_API_CALL layer_clEnqueueMapBuffer(cl_command_queue queue, cl_mem mem, cl_bool blocking,
                                                  cl_map_flags flags, size_t offset, size_t size, cl_uint n,
                                                  const cl_event *wait, cl_event *event, cl_int *status)
{
    cl_int failure;
    if (hit("clEnqueueMapBuffer", &failure)) {
        if (status)
            *status = failure;
        return NULL;
    }
    void *mapped =
        next->clEnqueueMapBuffer(queue, mem, blocking, flags, offset, size, n, wait, event, status);
    count(EVENT, event && mapped);
    return mapped;
}

static void misbehave(const char *options)
{
    const char *wish = getenv("FAULT_BUILD"), *text = wish ? strchr(wish, ':') : NULL;
    if (!text || !options || !strstr(options, text + 1))
        return;
    if (!strncmp(wish, "abort", 5))
        abort();
    for (;;)
        pause();
}

static cl_int CL_API_CALL layer_clBuildProgram(cl_program program, cl_uint n, const cl_device_id *devices,
                                               const char *options, program_notify notify, void *data)
{
    cl_int failure;
    pthread_mutex_lock(&lock);
    builds++;
    pthread_mutex_unlock(&lock);
    misbehave(options);
    return hit("clBuildProgram", &failure) ? failure
                                           : next->clBuildProgram(program, n, devices, options, notify, data);
}

/* ---- questions, and answers in disguise ---- */
#define CAPABILITY_MAJOR 0x4000 /* CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV, _MINOR_ */
#define CAPABILITY_MINOR 0x4001
#define PCI_BUS 0x4008 /* CL_DEVICE_PCI_BUS_ID_NV, and 0 for _SLOT_ and _DOMAIN_ */
#define PCI_DOMAIN 0x400A

static cl_int answer(const void *data, size_t bytes, size_t size, void *value, size_t *size_ret)
{
    if (value && size < bytes)
        return CL_INVALID_VALUE;
    if (value)
        memcpy(value, data, bytes);
    if (size_ret)
        *size_ret = bytes;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL layer_clGetPlatformInfo(cl_platform_id platform, cl_platform_info what, size_t size,
                                                  void *value, size_t *size_ret)
{
    static const char name[] = "NVIDIA CUDA";
    cl_int failure;
    if (hit("clGetPlatformInfo", &failure))
        return failure;
    if (what == CL_PLATFORM_NAME && getenv("FAULT_GUISE"))
        return answer(name, sizeof name, size, value, size_ret);
    return next->clGetPlatformInfo(platform, what, size, value, size_ret);
}

static cl_int CL_API_CALL layer_clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t size,
                                                void *value, size_t *size_ret)
{
    static const cl_device_type type = CL_DEVICE_TYPE_GPU;
    static const cl_uint major = 9, minor = 0, bus = 0x17, slot = 0;
    const char *driver = getenv("FAULT_GUISE");
    cl_int failure;
    if (hit("clGetDeviceInfo", &failure))
        return failure;
    if (driver && what == CL_DRIVER_VERSION)
        return answer(driver, strlen(driver) + 1, size, value, size_ret);
    if (driver && what == CL_DEVICE_TYPE)
        return answer(&type, sizeof type, size, value, size_ret);
    if (driver && what >= PCI_BUS && what <= PCI_DOMAIN)
        return answer(what == PCI_BUS ? &bus : &slot, sizeof bus, size, value, size_ret);
    if (driver && (what == CAPABILITY_MAJOR || what == CAPABILITY_MINOR))
        return answer(what == CAPABILITY_MAJOR ? &major : &minor, sizeof major, size, value, size_ret);
    return next->clGetDeviceInfo(device, what, size, value, size_ret);
}

/* ---- a driver that dies ---- */
static bool left;

static void leave(void)
{
    if (left)
        abort();
}

static cl_mem CL_API_CALL dying_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size,
                                               void *host, cl_int *status)
{
    const char *how = getenv("FAULT_DIE"), *bytes = strchr(how, ':');
    if (!bytes || size != strtoull(bytes + 1, NULL, 10))
        return layer_clCreateBuffer(context, flags, size, host, status);
    if (!strncmp(how, "abort", 5))
        abort();
    while (!strncmp(how, "hang", 4))
        pause();
    left = !strncmp(how, "leave", 5);
    if (left)
        return layer_clCreateBuffer(context, flags, size, host, status);
    *status = CL_OUT_OF_RESOURCES;
    return NULL;
}

static cl_context CL_API_CALL dying_clCreateContext(const cl_context_properties *properties, cl_uint n,
                                                    const cl_device_id *devices, context_notify notify,
                                                    void *data, cl_int *status)
{
    if (strcmp(getenv("FAULT_DIE"), "fail:0"))
        return layer_clCreateContext(properties, n, devices, notify, data, status);
    *status = CL_OUT_OF_RESOURCES;
    return NULL;
}

/* ---- the layer itself ---- */

#define WRAPPED(X)                                                                                           \
    X(clGetPlatformIDs)                                                                                      \
    X(clGetPlatformInfo) X(clGetDeviceIDs) X(clGetDeviceInfo) X(clCreateContext) X(clRetainContext)          \
        X(clReleaseContext) X(clGetContextInfo) X(clCreateCommandQueue) X(clRetainCommandQueue)              \
            X(clReleaseCommandQueue) X(clGetCommandQueueInfo) X(clCreateBuffer) X(clCreateSubBuffer)         \
                X(clRetainMemObject) X(clReleaseMemObject) X(clGetMemObjectInfo)                             \
                    X(clCreateProgramWithSource) X(clCreateProgramWithBinary) X(clRetainProgram)             \
                        X(clReleaseProgram) X(clBuildProgram) X(clGetProgramInfo) X(clGetProgramBuildInfo)   \
                            X(clCreateKernel) X(clRetainKernel) X(clReleaseKernel) X(clSetKernelArg)         \
                                X(clGetKernelInfo) X(clGetKernelWorkGroupInfo) X(clWaitForEvents)            \
                                    X(clGetEventInfo) X(clCreateUserEvent) X(clSetUserEventStatus)           \
                                        X(clRetainEvent) X(clReleaseEvent) X(clGetEventProfilingInfo)        \
                                            X(clFlush) X(clFinish) X(clEnqueueReadBuffer)                    \
                                                X(clEnqueueWriteBuffer) X(clEnqueueCopyBuffer)               \
                                                    X(clEnqueueFillBuffer) X(clEnqueueMapBuffer)             \
                                                        X(clEnqueueUnmapMemObject) X(clEnqueueNDRangeKernel) \
                                                            X(clEnqueueMarkerWithWaitList)                   \
                                                                X(clEnqueueBarrierWithWaitList)

static void report(void)
{
    long leaked = 0;
    for (int i = 0; i < OBJECTS; i++) {
        leaked += live[i];
        if (live[i])
            fprintf(stderr, "[fault] %ld %s objects are alive at exit\n", live[i], object_names[i]);
    }
    fprintf(stderr, "[fault] injected %ld leaked %ld\n", total_injected, leaked);
    fprintf(stderr, "[fault] builds %ld\n", builds);
}

EXPORT cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t size, void *value, size_t *size_ret)
{
    static const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    if (what == CL_LAYER_API_VERSION)
        return answer(&version, sizeof version, size, value, size_ret);
    if (what == CL_LAYER_NAME)
        return answer("fault", sizeof "fault", size, value, size_ret);
    return CL_INVALID_VALUE;
}

EXPORT cl_int CL_API_CALL clInitLayer(cl_uint n_entries, const cl_icd_dispatch *target_dispatch,
                                      cl_uint *n_ret, const cl_icd_dispatch **layer)
{
    const size_t known = sizeof ours / sizeof(void *);
    if (!target_dispatch || !n_ret || !layer || n_entries < known)
        return CL_INVALID_VALUE;
    next = target_dispatch;
    memcpy(&ours, target_dispatch, sizeof ours);
#define WRAP(name) ours.name = layer_##name;
    WRAPPED(WRAP)
#undef WRAP
    if (getenv("FAULT_DIE")) {
        ours.clCreateBuffer = dying_clCreateBuffer;
        ours.clCreateContext = dying_clCreateContext;
        atexit(leave);
    }
    atexit(report);
    *n_ret = (cl_uint)known;
    *layer = &ours;
    return CL_SUCCESS;
}
