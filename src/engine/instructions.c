/* SPDX-License-Identifier: MIT
 * instructions.c - what a CPU can do that OpenCL has no word for, and whether a driver's compiler lets
 * kernels use it. */
#include "engine/engine.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
/* AVX512_BF16 (leaf 7, subleaf 1), of a processor whose wide registers the system keeps. */
static bool host_has_bf16_dot(void)
{
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx512f") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}

static bool host_has_fma(void)
{
    return __builtin_cpu_supports("fma");
}
#else
static bool host_has_fma(void)
{
    return false;
}

static bool host_has_bf16_dot(void)
{
    return false;
}
#endif

bool clattn__has_fma(const clattn_device_facts *facts)
{
    const bool hidden = facts->type == CL_DEVICE_TYPE_CPU && clattn__driver_hides_fma(facts);
    return hidden ? host_has_fma() : facts->has_fma;
}

/* Of a CPU, which is this machine's: its driver takes assembly, and compiles for registers of sixteen
 * floats. */
bool clattn__has_bf16_dot(const clattn_device_facts *facts)
{
    return facts->type == CL_DEVICE_TYPE_CPU && clattn__driver_takes_assembly(facts) &&
           facts->vector_width_float == 16 && host_has_bf16_dot();
}

uint32_t clattn__vector_registers(const clattn_device_facts *facts)
{
    if (facts->type != CL_DEVICE_TYPE_CPU)
        return 0;
#if defined(__aarch64__)
    return 32;
#elif defined(__x86_64__)
    return facts->vector_width_float == 16 ? 32 : 16; /* AVX-512 brought sixteen more */
#else
    return 0;
#endif
}
