/* SPDX-License-Identifier: MIT
 * device.c - facts about a device, gathered once; the list of this machine's devices. */
#include "core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads properties one after the other and keeps the first failure. */
struct gatherer {
    cl_device_id device;
    cl_int code;
};

static void get(struct gatherer *g, cl_device_info what, size_t size, void *value)
{
    memset(value, 0, size);
    if (g->code == CL_SUCCESS)
        g->code = clGetDeviceInfo(g->device, what, size, value, NULL);
}

/* A text property, cut to its field. */
static void get_text(struct gatherer *g, cl_device_info what, char *text, size_t size)
{
    char whole[1024];
    size_t used = 0;
    text[0] = 0;
    if (g->code != CL_SUCCESS)
        return;
    g->code = clGetDeviceInfo(g->device, what, 0, NULL, &used);
    if (g->code != CL_SUCCESS || used > sizeof whole)
        return;
    g->code = clGetDeviceInfo(g->device, what, used, whole, NULL);
    if (g->code == CL_SUCCESS && used > 0) {
        whole[used - 1] = 0;
        snprintf(text, size, "%.*s", (int)size - 1, whole);
    }
}

static void get_platform_text(struct gatherer *g, cl_platform_id platform, cl_platform_info what, char *text,
                              size_t size)
{
    char whole[1024] = "";
    if (g->code == CL_SUCCESS)
        g->code = clGetPlatformInfo(platform, what, sizeof whole - 1, whole, NULL);
    snprintf(text, size, "%.*s", (int)size - 1, whole);
}

static void gather_numbers(struct gatherer *g, clattn_device_facts *f)
{
    cl_uint units, clock, bits, width;
    cl_ulong global, largest, local, cache;
    cl_bool compiler, little;
    cl_device_fp_config floats;
    cl_device_local_mem_type local_type;
    size_t group;
    get(g, CL_DEVICE_TYPE, sizeof f->type, &f->type);
    get(g, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units);
    get(g, CL_DEVICE_MAX_CLOCK_FREQUENCY, sizeof clock, &clock);
    get(g, CL_DEVICE_ADDRESS_BITS, sizeof bits, &bits);
    get(g, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width);
    get(g, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof global, &global);
    get(g, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof largest, &largest);
    get(g, CL_DEVICE_LOCAL_MEM_SIZE, sizeof local, &local);
    get(g, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, sizeof cache, &cache);
    get(g, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group);
    get(g, CL_DEVICE_LOCAL_MEM_TYPE, sizeof local_type, &local_type);
    get(g, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler);
    get(g, CL_DEVICE_ENDIAN_LITTLE, sizeof little, &little);
    get(g, CL_DEVICE_SINGLE_FP_CONFIG, sizeof floats, &floats);
    f->compute_units = units;
    f->clock_mhz = clock;
    f->address_bits = bits;
    f->vector_width_float = width;
    f->global_bytes = global;
    f->largest_buffer_bytes = largest;
    f->local_bytes = local;
    f->cache_bytes = cache;
    f->largest_group = group;
    f->local_is_dedicated = local_type == CL_LOCAL;
    f->has_compiler = compiler != CL_FALSE;
    f->little_endian = little != CL_FALSE;
    f->has_fma = !!(floats & CL_FP_FMA);
}

clattn_status clattn__device_gather(cl_device_id device, clattn_device_facts *facts, cl_int *cl_error)
{
    static const clattn_device_facts init = CLATTN_DEVICE_FACTS_INIT;
    struct gatherer g = {device, CL_SUCCESS};
    cl_platform_id platform;
    char version[96];
    *facts = init;
    get(&g, CL_DEVICE_PLATFORM, sizeof platform, &platform);
    get_platform_text(&g, platform, CL_PLATFORM_NAME, facts->platform, sizeof facts->platform);
    get_platform_text(&g, platform, CL_PLATFORM_VERSION, facts->platform_version,
                      sizeof facts->platform_version);
    get_text(&g, CL_DEVICE_NAME, facts->name, sizeof facts->name);
    get_text(&g, CL_DEVICE_VENDOR, facts->vendor, sizeof facts->vendor);
    get_text(&g, CL_DRIVER_VERSION, facts->driver, sizeof facts->driver);
    get_text(&g, CL_DEVICE_VERSION, version, sizeof version);
    gather_numbers(&g, facts);
    *cl_error = g.code;
    if (g.code != CL_SUCCESS)
        return CLATTN_OPENCL_FAILED;
    unsigned major = 1, minor = 0;
    if (sscanf(version, "OpenCL %u.%u", &major, &minor) == 2) {
        facts->opencl_major = major;
        facts->opencl_minor = minor;
    }
    clattn__driver_facts(facts);
    facts->has_fma = clattn__has_fma(facts);
    facts->vector_registers = clattn__vector_registers(facts);
    facts->matrix_unit = clattn__matrix_unit(device, facts);
    facts->unit_local_bytes = clattn__unit_local_bytes(device, facts);
    facts->bf16_dot = clattn__has_bf16_dot(facts);
    return CLATTN_OK;
}

clattn_status clattn_device_describe(cl_device_id device, clattn_device_facts *facts)
{
    cl_int code;
    if (!device || !facts)
        return CLATTN_NULL_ARGUMENT;
    if (facts->size != sizeof *facts)
        return CLATTN_BAD_STRUCT_SIZE;
    return clattn__device_gather(device, facts, &code);
}

/* Devices of one platform, appended; a platform that fails is passed over. */
static void append_devices(cl_platform_id platform, cl_device_id *devices, size_t capacity, size_t *count)
{
    cl_uint n = 0;
    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, &n) != CL_SUCCESS || n == 0)
        return;
    cl_device_id *all = calloc(n, sizeof *all);
    if (all && clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, n, all, NULL) == CL_SUCCESS)
        for (cl_uint i = 0; i < n; i++, ++*count)
            if (*count < capacity)
                devices[*count] = all[i];
    free(all);
}

clattn_status clattn_list_devices(cl_device_id *devices, size_t capacity, size_t *count)
{
    cl_uint n = 0;
    if (!count || (!devices && capacity > 0))
        return CLATTN_NULL_ARGUMENT;
    *count = 0;
    if (clGetPlatformIDs(0, NULL, &n) != CL_SUCCESS || n == 0)
        return CLATTN_NO_PLATFORM;
    cl_platform_id *platforms = calloc(n, sizeof *platforms);
    if (!platforms)
        return CLATTN_OUT_OF_HOST_MEMORY;
    cl_int code = clGetPlatformIDs(n, platforms, NULL);
    for (cl_uint i = 0; code == CL_SUCCESS && i < n; i++)
        append_devices(platforms[i], devices, capacity, count);
    free(platforms);
    if (code != CL_SUCCESS)
        return CLATTN_NO_PLATFORM;
    return *count ? CLATTN_OK : CLATTN_NO_DEVICE;
}
