/* SPDX-License-Identifier: MIT
 * peak.cl - a device's own peaks, measured: multiply-add rate and read bandwidth.
 *
 * fma_rate: 24 independent float16 accumulators an item, x = x * a + b; 24 * 32 operations a round.
 * read_rate: every item sums `count` float16 from its own stretch.
 * -D GROUP: items of a group (1 on CPUs).  Results are stored, so that nothing is left out by the compiler.
 */
#define CHAINS 24
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void fma_rate(__global float *out, int rounds, float a, float b)
{
    float16 x[CHAINS];
    _Pragma("unroll") for (int i = 0; i < CHAINS; i++)
        x[i] = (float16)(out[i]);
    for (int r = 0; r < rounds; r++)
        _Pragma("unroll") for (int i = 0; i < CHAINS; i++)
            x[i] = fma(x[i], (float16)(a), (float16)(b));
    float16 sum = x[0];
    _Pragma("unroll") for (int i = 1; i < CHAINS; i++)
        sum += x[i];
    float total = 0.0f;
    float lanes[16];
    vstore16(sum, 0, lanes);
    for (int i = 0; i < 16; i++)
        total += lanes[i];
    out[CHAINS + get_global_id(0)] = total;
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void read_rate(__global const float *from, __global float *out, int count)
{
    __global const float *p = from + get_group_id(0) * (size_t)count * GROUP * 16;
    float16 sum[4];
    _Pragma("unroll") for (int i = 0; i < 4; i++)
        sum[i] = (float16)(0.0f);
    for (int r = 0; r < count; r += 4)
        _Pragma("unroll") for (int i = 0; i < 4; i++)
            sum[i] += vload16((size_t)(r + i) * GROUP + get_local_id(0), p);
    float lanes[16], total = 0.0f;
    vstore16(sum[0] + sum[1] + sum[2] + sum[3], 0, lanes);
    for (int i = 0; i < 16; i++)
        total += lanes[i];
    out[get_global_id(0)] = total;
}
