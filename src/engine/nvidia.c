/* SPDX-License-Identifier: MIT
 * nvidia.c - what only NVIDIA's driver can be asked. */
#include "engine/engine.h"

/* of cl_nv_device_attribute_query: CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV, _MINOR_NV */
#define COMPUTE_CAPABILITY_MAJOR 0x4000
#define COMPUTE_CAPABILITY_MINOR 0x4001

/* Ten times the major number and the minor; 0: it is not known. */
static cl_uint capability(cl_device_id device, const clattn_device_facts *facts)
{
    cl_uint major = 0, minor = 0;
    if (!clattn__driver_takes_ptx(facts) ||
        clGetDeviceInfo(device, COMPUTE_CAPABILITY_MAJOR, sizeof major, &major, NULL) != CL_SUCCESS ||
        clGetDeviceInfo(device, COMPUTE_CAPABILITY_MINOR, sizeof minor, &minor, NULL) != CL_SUCCESS)
        return 0;
    return 10 * major + minor;
}

int32_t clattn__matrix_unit(cl_device_id device, const clattn_device_facts *facts)
{
    cl_uint chip = capability(device, facts);
    return chip / 10 == 9 ? CLATTN_MATRIX_WGMMA : chip >= 80 ? CLATTN_MATRIX_MMA : CLATTN_MATRIX_NONE;
}

/* 228 KiB from 9.0 to 11.x, 164 of 8.0 and 8.7, 100 of all others since 8.0. */
uint64_t clattn__unit_local_bytes(cl_device_id device, const clattn_device_facts *facts)
{
    cl_uint chip = capability(device, facts);
    uint64_t kib = chip < 80 ? 0 : chip >= 90 && chip < 120 ? 228 : chip == 80 || chip == 87 ? 164 : 100;
    return kib << 10;
}
