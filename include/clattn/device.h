/* SPDX-License-Identifier: MIT
 * device.h - the devices of this machine and what clattn knows about each. */
#ifndef CLATTN_DEVICE_H
#define CLATTN_DEVICE_H

#include <clattn/export.h>
#include <clattn/status.h>

/* Matrix units that clattn has a tile for. */
enum {
    CLATTN_MATRIX_NONE,
    CLATTN_MATRIX_MMA,  /* products of 16 x 8 x 16 by 32 work-items */
    CLATTN_MATRIX_WGMMA /* these, and products of 64 rows by 128 work-items, which run by themselves */
};

/* Facts about a device, gathered once.  Every choice of an engine is a function of these and of the
 * problem; tests/devices holds recorded ones.  Texts are cut to their fields and always terminated. */
typedef struct clattn_device_facts {
    size_t size; /* sizeof(clattn_device_facts), set by CLATTN_DEVICE_FACTS_INIT */
    char platform[64];
    char platform_version[96];
    char name[128];
    char vendor[96];
    char driver[96];
    cl_device_type type;
    uint32_t opencl_major, opencl_minor; /* of the device */
    uint32_t compute_units;
    uint32_t clock_mhz;
    uint32_t address_bits;
    uint32_t vector_width_float; /* native, in floats; 0 unknown */
    uint32_t vector_registers;   /* of a CPU, of that width; 0 unknown */
    uint64_t global_bytes;
    uint64_t largest_buffer_bytes;
    uint64_t local_bytes;      /* of a work-group, as OpenCL grants */
    uint64_t unit_local_bytes; /* of a compute unit, for all groups on it:
                                  kernels may have more than OpenCL grants; 0: no more */
    uint64_t cache_bytes; /* of the global memory cache, 0 unknown */
    uint64_t largest_group;
    int32_t local_is_dedicated; /* 1: local memory is its own memory, 0: it is global memory */
    int32_t has_compiler;
    int32_t little_endian;
    int32_t has_fma;           /* 1: an instruction of its own for a b + c rounded once, f32 */
    int32_t caches_programs;   /* 1: the driver keeps compiled programs on disk by itself */
    int32_t slow_wide_vectors; /* 1: its compiler takes minutes for float16 kernels        */
    int32_t wrong_nested_min;  /* 1: its compiler gets min(a, min(b, -c)) of integers wrong */
    int32_t matrix_unit;       /* CLATTN_MATRIX_...: what the matrix engines may use */
    int32_t bf16_dot;          /* 1: kernels may use the CPU's instruction for products of bf16 pairs */
} clattn_device_facts;

#define CLATTN_DEVICE_FACTS_INIT                                                                          \
    {                                                                                                     \
        sizeof(clattn_device_facts), "", "", "", "", "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 \
    }

/* One engine's answer for one device. */
typedef struct clattn_engine_fit {
    size_t size; /* sizeof(clattn_engine_fit), set by CLATTN_ENGINE_FIT_INIT */
    const char *engine; /* the name that clattn_attention.engine takes; static */
    int32_t fits;
    char reason[160]; /* one line: why, or why not */
} clattn_engine_fit;

#define CLATTN_ENGINE_FIT_INIT {sizeof(clattn_engine_fit), NULL, 0, ""}

/* A kernel that failed on a device (of an engine that may fail, of a line of tuning, in a build helper),
 * remembered in the folder of compiled programs so that no later plan tries it again there, with this driver
 * and this version of clattn; other kernels of the engine are not concerned. */
typedef struct clattn_quarantine {
    size_t size; /* sizeof(clattn_quarantine), set by CLATTN_QUARANTINE_INIT */
    char engine[32];
    char fault[48];    /* "its kernel did not build", "its numbers were wrong", "its first launch failed",
                          "its compiler ended the process", "its compiler hung" */
    char details[256]; /* what the failed call said */
    char problem[512]; /* of the plan, as clattn_problem_print writes it: without rules */
    char date[16];     /* 2026-11-26, UTC */
    char file[4096];   /* in which that is remembered */
} clattn_quarantine;

#define CLATTN_QUARANTINE_INIT {sizeof(clattn_quarantine), "", "", "", "", "", ""}

CLATTN_BEGIN
/* List the devices of all platforms, in the ICD loader's order, into devices[0 .. capacity-1] (may be NULL
 * when capacity is 0); *count is how many there are.  Platforms that fail are passed over.
 * NULL_ARGUMENT, NO_PLATFORM, NO_DEVICE. */
CLATTN_API clattn_status clattn_list_devices(cl_device_id *devices, size_t capacity, size_t *count);

/* Gather a device's facts.  NULL_ARGUMENT, BAD_STRUCT_SIZE, OPENCL_FAILED. */
CLATTN_API clattn_status clattn_device_describe(cl_device_id device, clattn_device_facts *facts);

/* Ask engine number index (0, 1, ...) whether it fits a device; pure.  BAD_COUNT past the last engine. */
CLATTN_API clattn_status clattn_engine_describe(const clattn_device_facts *facts, size_t index,
                                                clattn_engine_fit *fit);

/* Return sentence number index about a known trap of this device's driver, or NULL past the last, and of
 * facts whose size is not this library's.  Static. */
CLATTN_API const char *clattn_device_trap(const clattn_device_facts *facts, size_t index);

/* Read entry number index (0, 1, ...) of a device's quarantine.  directory as for clattn_context_set_cache.
 * BAD_COUNT past the last entry, and where there is no folder.  NULL_ARGUMENT, BAD_STRUCT_SIZE. */
CLATTN_API clattn_status clattn_quarantine_describe(const clattn_device_facts *facts, const char *directory,
                                                    size_t index, clattn_quarantine *entry);

/* Forget a device's quarantine, so that its engines are tried again; facts NULL: every entry, those of other
 * drivers and versions too.  *count (may be NULL) is how many there were.  BAD_STRUCT_SIZE. */
CLATTN_API clattn_status clattn_quarantine_forget(const clattn_device_facts *facts, const char *directory,
                                                  size_t *count);
CLATTN_END

#endif
