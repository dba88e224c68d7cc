/* SPDX-License-Identifier: MIT
 * nvidia.c - what only NVIDIA's driver can be asked. */
#include "engine/engine.h"

#define COMPUTE_CAPABILITY_MAJOR 0x4000 /* CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV, cl_nv_device_attribute_query */

int32_t clattn__matrix_unit(cl_device_id device, const clattn_device_facts *facts)
{
    cl_uint major = 0;
    if (!clattn__driver_takes_ptx(facts) ||
        clGetDeviceInfo(device, COMPUTE_CAPABILITY_MAJOR, sizeof major, &major, NULL) != CL_SUCCESS)
        return CLATTN_MATRIX_NONE;
    return major == 9 ? CLATTN_MATRIX_WGMMA : major >= 8 ? CLATTN_MATRIX_MMA : CLATTN_MATRIX_NONE;
}
