/* SPDX-License-Identifier: MIT
 * kernels.cl - what the model does beside products and attention.  Rows are tokens; tensors are f32
 * [row][column], but for q and the cache, which are f16 with -D STORES_HALF. */

#ifdef STORES_HALF
typedef half stored;
#define LOAD(at, p) vload_half(at, p)
#define STORE(at, p, x) vstore_half(x, at, p)
#else
typedef float stored;
#define LOAD(at, p) ((p)[at])
#define STORE(at, p, x) ((p)[at] = (x))
#endif

/* to[first + i] = from[i], f16 to f32. */
kernel void widen(global const half *from, global float *to, uint first)
{
    size_t i = get_global_id(0);
    to[first + i] = vload_half(i, from);
}

/* x[row] = table[tokens[row]].  Items: columns, rows. */
kernel void embed(global const int *tokens, global const float *table, global float *x)
{
    size_t column = get_global_id(0), width = get_global_size(0), row = get_global_id(1);
    x[row * width + column] = table[(size_t)tokens[row] * width + column];
}

/* The sum, or the maximum, of what the items of a group bring; parts: local, GROUP of them. */
#define REDUCE(parts, mine, OPERATION)                                                                    \
    parts[get_local_id(0)] = mine;                                                                        \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                         \
    for (int step = GROUP / 2; step > 0; step /= 2) {                                                     \
        if (get_local_id(0) < step)                                                                       \
            parts[get_local_id(0)] = OPERATION(parts[get_local_id(0)], parts[get_local_id(0) + step]);    \
        barrier(CLK_LOCAL_MEM_FENCE);                                                                     \
    }                                                                                                     \
    mine = parts[0];                                                                                      \
    barrier(CLK_LOCAL_MEM_FENCE)
#define SUM(a, b) ((a) + (b))

/* y = x / sqrt(mean of x^2 + 1e-5) * weight, row by row.  A group a row. */
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void rms_norm(global const float *x, global const float *weight, global float *y, int width)
{
    local float parts[GROUP];
    size_t first = get_group_id(0) * (size_t)width;
    float sum = 0;
    for (int c = get_local_id(0); c < width; c += GROUP)
        sum += x[first + c] * x[first + c];
    REDUCE(parts, sum, SUM);
    float scale = 1.0f / sqrt(sum / width + 1e-5f);
    for (int c = get_local_id(0); c < width; c += GROUP)
        y[first + c] = x[first + c] * scale * weight[c];
}

/* From the product's rows [q heads | k heads | v heads] to where attention reads them:
 *     q        [head][row of rows][2 half_dim]
 *     k, v     [head][token of capacity][2 half_dim]    rows go to tokens `seen' and on
 * Heads of q and k are turned: (u, v) = (column c, column c + half_dim) by the angle of the token's position,
 * turns[token][c] = (cosine, sine).  Keys are kept turned, so that nothing has to be done for them again.
 * Items: half_dim, heads + 2 kv_heads, rows. */
kernel void place_heads(global const float *qkv, global const float2 *turns, global stored *q,
                        global stored *k, global stored *v, int heads, int kv_heads, int capacity, int seen)
{
    size_t c = get_global_id(0), half_dim = get_global_size(0);
    size_t row = get_global_id(2), rows = get_global_size(2);
    int head = get_global_id(1);
    global const float *from = qkv + (row * get_global_size(1) + head) * 2 * half_dim;
    float2 turn = head < heads + kv_heads ? turns[(seen + row) * half_dim + c] : (float2)(1, 0);
    float first = from[c], second = from[c + half_dim];
    global stored *to = head < heads ? q : head < heads + kv_heads ? k : v;
    size_t place = head < heads ? head * rows + row
                                : (head - heads) % kv_heads * (size_t)capacity + seen + row;
    STORE(place * 2 * half_dim + c, to, first * turn.x - second * turn.y);
    STORE(place * 2 * half_dim + c + half_dim, to, second * turn.x + first * turn.y);
}

/* hidden = a / (1 + exp(-a)) * b of rows [a | b].  Items: columns, rows. */
kernel void swiglu(global const float *ab, global float *hidden)
{
    size_t column = get_global_id(0), width = get_global_size(0), row = get_global_id(1);
    float a = ab[row * 2 * width + column], b = ab[row * 2 * width + width + column];
    hidden[row * width + column] = a / (1.0f + exp(-a)) * b;
}

/* The next byte's cost: bits[row] = log2(sum of exp(logits)) - logits[next[row]] log2(e).  A group a row. */
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void row_bits(global const float *logits, global const int *next, global float *bits, int width)
{
    local float parts[GROUP];
    size_t row = get_group_id(0);
    global const float *from = logits + row * width;
    float most = -INFINITY, sum = 0;
    for (int c = get_local_id(0); c < width; c += GROUP)
        most = fmax(most, from[c]);
    REDUCE(parts, most, fmax);
    for (int c = get_local_id(0); c < width; c += GROUP)
        sum += exp(from[c] - most);
    REDUCE(parts, sum, SUM);
    if (get_local_id(0) == 0)
        bits[row] = log2(sum) - (from[next[row]] - most) * M_LOG2E_F;
}

float product(global const stored *a, global const stored *b, int dim)
{
    float sum = 0;
    for (int c = 0; c < dim; c++)
        sum += LOAD(c, a) * LOAD(c, b);
    return sum;
}

/* The largest product that a block of rows has with a block of keys, of pairs that are seen and not near, for
 * CLATTN_EXTERNAL_SCORE.  Plain and slow, for it is here to tell how good a selector could be.
 *     scores   [scope][block of rows][block of keys]
 *     rows     how many, and of a block;  keys: so far, and of a block;  cache: its tokens
 *     heads    of a scope, of a kv head, and their size
 *     near     prefix, sink, window
 * Items: blocks of keys, blocks of rows, scopes. */
kernel void block_scores(global const stored *q, global const stored *k, global float *scores, int2 rows,
                         int2 keys, int cache, int4 heads, int4 near)
{
    int n = get_global_id(0), m = get_global_id(1), scope = get_global_id(2);
    float most = -INFINITY;
    for (int head = scope * heads.x; head < (scope + 1) * heads.x; head++)
        for (int row = m * rows.y; row < min((m + 1) * rows.y, rows.x); row++)
            for (int key = n * keys.y; key < min((n + 1) * keys.y, keys.x); key++) {
                int position = row + keys.x - rows.x;
                if ((key <= position || key < near.x) && key >= near.y && abs(position - key) >= near.z)
                    most = fmax(most, product(q + ((size_t)head * rows.x + row) * heads.z,
                                              k + ((size_t)(head / heads.y) * cache + key) * heads.z,
                                              heads.z));
            }
    scores[((size_t)scope * get_global_size(1) + m) * get_global_size(0) + n] = most;
}
