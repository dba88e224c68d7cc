/* SPDX-License-Identifier: MIT
 * workload_random.c - random problems for a sweep: tile edges, types, patterns, layouts and flags from one seed. */
#include "tool/workload.h"

#include <string.h>

struct dice {
    uint64_t state;
};

static uint64_t roll(struct dice *dice, uint64_t sides)
{
    uint64_t z = dice->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % sides;
}

static int64_t pick(struct dice *dice, const int16_t *values, size_t count)
{
    return values[roll(dice, count)];
}

/* Distinct specialisations of a sweep: each costs a compilation, lengths and layouts cost none. */
#define SPECIALISATIONS 24

#define PICK(dice, ...) pick(dice, (const int16_t[]){__VA_ARGS__}, sizeof((const int16_t[]){__VA_ARGS__}) / sizeof(int16_t))

/* Lengths at and around tile edges, else anything up to 300. */
static int64_t random_length(struct dice *dice)
{
    if (roll(dice, 4) == 0)
        return (int64_t)roll(dice, 300);
    return PICK(dice, 0, 1, 2, 3, 5, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 95, 96, 97, 127, 128, 129, 130, 191, 255, 256, 257);
}

static void random_types(struct dice *dice, clattn_attention *a)
{
    static const int8_t rows[][4] = {{0, 0, 0, 0}, {1, 1, 1, 1}, {2, 2, 2, 2}, {1, 1, 1, 0}, {0, 1, 2, 0}};
    static const int16_t dims[][2] = {{64, 64}, {64, 64}, {128, 128}, {40, 24}, {1, 3}, {7, 65}, {96, 100}, {192, 128}};
    size_t t = roll(dice, 5), d = roll(dice, 8);
    a->type_q = rows[t][0];
    a->type_k = rows[t][1];
    a->type_v = rows[t][2];
    a->type_o = rows[t][3];
    a->dim = dims[d][0];
    a->dim_v = dims[d][1];
}

static clattn_pattern random_pattern(struct dice *dice, uint64_t kind, clattn_attention *a)
{
    clattn_corner corner = roll(dice, 2) ? CLATTN_TOP_LEFT : CLATTN_BOTTOM_RIGHT;
    clattn_pattern causal = clattn_causal(corner);
    int32_t n = (int32_t)PICK(dice, 1, 2, 16, 33, 64, 100, 128, 200);
    switch (kind) {
    case 0:
        return clattn_full();
    case 1:
    case 2:
        return causal;
    case 3:
        return clattn_prefix(n, corner);
    case 4:
        return clattn_both(causal, clattn_window(n, 0, corner));
    case 5:
        return clattn_window(n, 1, corner);
    case 6:
        strcpy(a->arrays[0].name, "len");
        a->arrays[0].count = a->batch > 0 ? a->batch : 1;
        a->n_arrays = 1;
        return clattn_both(clattn_prefix_each("len", corner), clattn_mask("k != 3", CLATTN_NO_CORNER));
    default:
        strcpy(a->scalars[0].name, "w");
        a->scalars[0].value = n;
        a->n_scalars = 1;
        return clattn_mask("k <= q & (q - k < w | k < 4) & !(k == 7)", corner);
    }
}

static void random_layout(struct dice *dice, clattn_layout *layout, int64_t heads, int64_t tokens, int64_t width)
{
    int64_t gap = (int64_t)roll(dice, 5);
    switch (roll(dice, 4)) {
    case 0: /* [batch][token][head][d] with a gap after each row */
        layout->head = width + gap;
        layout->token = heads * layout->head;
        layout->batch = tokens * layout->token + gap;
        layout->offset = (int64_t)roll(dice, 20);
        break;
    case 1: /* [batch][head][token][d] with gaps */
        layout->token = width + gap;
        layout->head = tokens * layout->token + gap;
        layout->batch = heads * layout->head;
        layout->offset = (int64_t)roll(dice, 3);
        break;
    default:
        break;
    }
}

void workload_random_problem(uint64_t seed, clattn_attention *a)
{
    static const clattn_attention init = CLATTN_ATTENTION_INIT;
    struct dice dice = {seed * 0x2545f4914f6cdd1du + 99};
    struct dice kind = {roll(&dice, SPECIALISATIONS)}; /* rolls what the kernel is compiled for */
    *a = init;
    random_types(&kind, a);
    a->batch = PICK(&dice, 1, 1, 1, 2, 3, 0);
    a->kv_heads = PICK(&dice, 1, 2, 3);
    a->heads = a->kv_heads * PICK(&dice, 1, 1, 2, 3, 4);
    a->q_len = roll(&dice, 3) == 0 ? (int64_t)roll(&dice, 17) : random_length(&dice);
    a->kv_len = random_length(&dice);
    if (roll(&dice, 4) == 0)
        a->kv_len = a->q_len;
    a->pattern = random_pattern(&dice, roll(&kind, 8), a);
    if (roll(&kind, 2))
        a->flags |= CLATTN_WANT_LSE;
    switch (roll(&kind, 6)) {
    case 0:
        a->flags |= CLATTN_PACKED;
        a->q_total = (a->batch * a->q_len * 3 + 3) / 4;
        a->kv_total = (a->batch * a->kv_len * 3 + 3) / 4;
        break;
    case 1:
        a->flags |= CLATTN_KEY_LENGTHS;
        break;
    default:
        break;
    }
    if (roll(&dice, 4) == 0)
        a->splits = 1 + (int64_t)roll(&dice, 5);
    if (roll(&dice, 6) == 0)
        a->scale = 0.3;
    bool packed = a->flags & CLATTN_PACKED;
    int64_t q_tokens = packed ? a->q_total : a->q_len, k_tokens = packed ? a->kv_total : a->kv_len;
    random_layout(&dice, &a->q, a->heads, q_tokens, a->dim);
    random_layout(&dice, &a->k, a->kv_heads, k_tokens, a->dim);
    random_layout(&dice, &a->v, a->kv_heads, k_tokens, a->dim_v);
    random_layout(&dice, &a->o, a->heads, q_tokens, a->dim_v);
}
