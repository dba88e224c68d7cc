/* SPDX-License-Identifier: MIT
 * softmax_rows.cl - the middle of the unfused baseline: rows of a score matrix to weights, in place.
 * One item a row; scores are [rows][columns], f32; causal hides columns past the row's own.
 */
__kernel void softmax_rows(__global float *scores, int columns, int q_len, int causal, int shift)
{
    size_t row = get_global_id(0);
    __global float *s = scores + row * (size_t)columns;
    int n = causal ? min(columns, (int)(row % (size_t)q_len) + 1 + shift) : columns;
    float largest = -INFINITY, sum = 0.0f;
    for (int i = 0; i < n; i++)
        largest = fmax(largest, s[i]);
    for (int i = 0; i < n; i++) {
        s[i] = exp(s[i] - largest);
        sum += s[i];
    }
    for (int i = 0; i < columns; i++)
        s[i] = i < n ? s[i] / sum : 0.0f;
}
