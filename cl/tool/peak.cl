/* SPDX-License-Identifier: MIT
 * peak.cl - a device's own peaks, measured: multiply-add rate and read bandwidth.
 *
 * fma_rate: CHAINS independent accumulators of WIDTH lanes an item, x = x * a + b; CHAINS * WIDTH * 2
 * operations a round.  dot_rate, where DOT is 2: the same with products of bf16 pairs, CHAINS * 16 * 4
 * operations a round.  nothing: what a launch costs by itself.
 * read_rate: a group sums `count` rounds of its own stretch, GROUP * WIDTH floats a round, side by side.
 * -D GROUP: items of a group (1 on CPUs); WIDTH: of the registers of CPUs, 4 where items are lanes
 * themselves; CHAINS; READS loads on their way at once, of which `count` is a multiple; DOT 1, or 2 if
 * kernels may use such products.  Results are stored, so that nothing is left out by the compiler.
 */
#include "multiply_add.clh"
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define VECTOR PASTE(float, WIDTH)
#define VLOAD PASTE(vload, WIDTH)
#define VSTORE PASTE(vstore, WIDTH)

static inline float total_of(VECTOR x)
{
    float lanes[WIDTH], total = 0.0f;
    VSTORE(x, 0, lanes);
    for (int i = 0; i < WIDTH; i++)
        total += lanes[i];
    return total;
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void fma_rate(__global float *out, int rounds, float a, float b)
{
    VECTOR x[CHAINS];
    _Pragma("unroll") for (int i = 0; i < CHAINS; i++)
        x[i] = (VECTOR)(out[i]);
    for (int r = 0; r < rounds; r++)
        _Pragma("unroll") for (int i = 0; i < CHAINS; i++)
            x[i] = MULTIPLY_ADD(x[i], (VECTOR)(a), (VECTOR)(b));
    VECTOR sum = x[0];
    _Pragma("unroll") for (int i = 1; i < CHAINS; i++)
        sum += x[i];
    out[CHAINS + get_global_id(0)] = total_of(sum);
}

#if DOT == 2
#include "dot_x86.clh"
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void dot_rate(__global float *out, int rounds, float a, float b)
{
    const uint16 x = (uint16)(as_uint(a)), y = (uint16)(as_uint(b));
    float16 sum[CHAINS];
    _Pragma("unroll") for (int i = 0; i < CHAINS; i++)
        sum[i] = (float16)(out[i]);
    for (int r = 0; r < rounds; r++)
        _Pragma("unroll") for (int i = 0; i < CHAINS; i++)
            sum[i] = dot2_16(sum[i], x, y);
    _Pragma("unroll") for (int i = 1; i < CHAINS; i++)
        sum[0] += sum[i];
    out[CHAINS + get_global_id(0)] = total_of(sum[0]);
}
#endif

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void nothing(__global float *out)
{
    if (get_group_id(0) == (size_t)-1)
        out[0] = 0.0f;
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void read_rate(__global const float *from, __global float *out, int count)
{
    __global const float *p = from + get_group_id(0) * (size_t)count * GROUP * WIDTH;
    VECTOR sum[READS];
    _Pragma("unroll") for (int i = 0; i < READS; i++)
        sum[i] = (VECTOR)(0.0f);
    for (int r = 0; r < count; r += READS)
        _Pragma("unroll") for (int i = 0; i < READS; i++)
            sum[i] += VLOAD((size_t)(r + i) * GROUP + get_local_id(0), p);
    _Pragma("unroll") for (int i = 1; i < READS; i++)
        sum[0] += sum[i];
    out[get_global_id(0)] = total_of(sum[0]);
}
