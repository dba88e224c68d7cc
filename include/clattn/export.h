/* SPDX-License-Identifier: MIT
 * export.h - what every clattn header needs: OpenCL's types and the export mark. */
#ifndef CLATTN_EXPORT_H
#define CLATTN_EXPORT_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#ifdef __APPLE__
#include <OpenCL/opencl.h>
#else
#include <CL/cl.h>
#endif
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define CLATTN_API
#elif defined(__GNUC__)
#define CLATTN_API __attribute__((visibility("default")))
#else
#define CLATTN_API
#endif

#ifdef __cplusplus
#define CLATTN_BEGIN extern "C" {
#define CLATTN_END }
#else
#define CLATTN_BEGIN
#define CLATTN_END
#endif

#endif
