/* SPDX-License-Identifier: MIT
 * workload_random.c - random problems for a sweep: tile edges, types, rules, layouts and flags from one
 * seed. */
#include "tool/workload.h"

#include <stdarg.h>
#include <stdio.h>
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

/* Distinct specialisations of a sweep: each costs a compilation; lengths, numbers in rules and layouts cost
 * none.  Rules are dealt by turn, so that each is there several times, in company that differs. */
#define SPECIALISATIONS 64

#define PICK(dice, ...) \
    pick(dice, (const int16_t[]){__VA_ARGS__}, sizeof((const int16_t[]){__VA_ARGS__}) / sizeof(int16_t))

/* Lengths at and around tile edges, else anything up to 300. */
static int64_t random_length(struct dice *dice)
{
    if (roll(dice, 4) == 0)
        return (int64_t)roll(dice, 300);
    return PICK(dice, 0, 1, 2, 3, 5, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 95, 96, 97, 127, 128, 129, 130,
                191, 255, 256, 257);
}

static void random_types(struct dice *dice, clattn_attention *a)
{
    static const int8_t rows[][4] = {{0, 0, 0, 0}, {1, 1, 1, 1}, {2, 2, 2, 2}, {1, 1, 1, 0}, {0, 1, 2, 0}};
    static const int16_t dims[][2] = {{64, 64}, {64, 64}, {128, 128}, {40, 24},
                                      {1, 3},   {7, 65},  {96, 100},  {192, 128}};
    size_t t = roll(dice, 5), d = roll(dice, 8);
    a->type_q = rows[t][0];
    a->type_k = rows[t][1];
    a->type_v = rows[t][2];
    a->type_o = rows[t][3];
    a->dim = dims[d][0];
    a->dim_v = dims[d][1];
}

/* ---- names ---- */
static int64_t at_least_1(int64_t x)
{
    return x > 0 ? x : 1;
}

static void name_array(clattn_attention *a, const char *name, int32_t type, int n_dims, const int64_t *dims)
{
    clattn_array *array = &a->arrays[a->n_arrays++];
    strcpy(array->name, name);
    array->type = type;
    array->n_dims = n_dims;
    for (int d = 0; d < n_dims; d++)
        array->dims[d] = at_least_1(dims[d]);
}
#define NAME_ARRAY(a, name, type, ...)                                                                    \
    name_array(a, name, type, (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),            \
               (const int64_t[]){__VA_ARGS__})

static void name_scalar(clattn_attention *a, const char *name, int32_t type, double value)
{
    clattn_scalar *scalar = &a->scalars[a->n_scalars++];
    strcpy(scalar->name, name);
    scalar->type = type;
    scalar->value = value;
}

/* A dimension that one row may serve for. */
static int64_t all_or_1(struct dice *dice, int64_t n)
{
    return roll(dice, 2) ? n : 1;
}

static int32_t float_type(struct dice *kind)
{
    static const int8_t types[] = {CLATTN_F32, CLATTN_F16, CLATTN_BF16};
    return types[roll(kind, 3)];
}

static int64_t longest(const clattn_attention *a)
{
    return a->q_len > a->kv_len ? a->q_len : a->kv_len;
}

struct text {
    char chars[CLATTN_PATTERN_TEXT];
};

__attribute__((format(printf, 1, 2))) static struct text text_of(const char *fmt, ...)
{
    struct text text;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text.chars, sizeof text.chars, fmt, args);
    va_end(args);
    return text;
}

/* ---- masks ---- */
struct mask {
    clattn_corner corner;
    int32_t n; /* a width, length or period */
};

#define PLAIN_MASKS 8
static clattn_pattern plain_mask(uint64_t number, const struct mask *m, clattn_attention *a)
{
    clattn_pattern causal = clattn_causal(m->corner);
    switch (number) {
    case 0:
        return clattn_full();
    case 1:
    case 2:
        return causal;
    case 3:
        return clattn_prefix(m->n, m->corner);
    case 4:
        return clattn_both(causal, clattn_window(m->n, 0, m->corner));
    case 5:
        return clattn_window(m->n, 1, m->corner);
    case 6:
        NAME_ARRAY(a, "len", CLATTN_I32, a->batch);
        return clattn_both(clattn_prefix_each("len", m->corner), clattn_mask("k != 3", CLATTN_NO_CORNER));
    default:
        name_scalar(a, "w", CLATTN_I32, m->n);
        return clattn_mask("k <= q & (q - k < w | k < 4) & !(k == 7)", m->corner);
    }
}

/* No mask compares floats that rounding may change: the reference could not say which pairs are visible. */
/* Lists of any blocks, the first keys, and near ones. */
static clattn_pattern listed_mask(const struct mask *m, struct dice *dice, clattn_attention *a)
{
    static const clattn_list init = CLATTN_LIST_INIT;
    const clattn_scope scope = (clattn_scope)roll(dice, 3);
    const int32_t block_q = (int32_t)PICK(dice, 1, 2, 7, 16, 64, 100),
                  block_k = (int32_t)PICK(dice, 1, 2, 8, 8, 12, 64);
    a->list = init;
    if (clattn_list_fit(&a->list, a, scope, block_q, block_k, PICK(dice, 0, 1, 2, 5, 9, 40, 300)))
        a->list.size = 0;
    return clattn_mask(
        text_of("k <= q & (listed | k < %d | q - k < %d & k - q < %d)", m->n % 5, m->n, m->n).chars,
        m->corner);
}

#define ARRAY_MASKS 10
static clattn_pattern array_mask(uint64_t number, const struct mask *m, struct dice *dice,
                                 clattn_attention *a)
{
    int64_t batch = all_or_1(dice, a->batch), heads = all_or_1(dice, a->heads);
    switch (number) {
    case 0:
        NAME_ARRAY(a, "doc", CLATTN_I32, batch, longest(a));
        return clattn_mask("doc[b, q] == doc[b, k] & k <= q", m->corner);
    case 1:
        NAME_ARRAY(a, "keep", CLATTN_BITS, batch, a->kv_len);
        return clattn_mask("keep[b, k]", CLATTN_NO_CORNER);
    case 2:
        NAME_ARRAY(a, "seen", CLATTN_BITS, batch, heads, all_or_1(dice, a->q_len), a->kv_len);
        return clattn_mask("seen[b, h, q, k]", m->corner);
    case 3:
        NAME_ARRAY(a, "span", CLATTN_I8, batch, longest(a));
        return clattn_mask("k <= q | span[b, q] == span[b, k] & span[b, k] % 2 == 0", m->corner);
    case 4:
        return clattn_mask(text_of("k <= q & (q - k) %% %d == 0 & q - k < 150", m->n % 7 + 1).chars,
                           m->corner);
    case 5:
        return clattn_mask(text_of("q // %d == k // %d | (k // 16) %% 4 == 1", m->n, m->n).chars, m->corner);
    case 6:
        NAME_ARRAY(a, "gate", CLATTN_F16, heads, a->kv_len);
        return clattn_mask("gate[h, k] > -0.25 | k == q", m->corner);
    case 7:
        return listed_mask(m, dice, a);
    case 8:
        return clattn_mask(text_of("h %% 2 == 0 ? k <= q : (k < q ^ k %% %d == 2)", m->n % 9 + 3).chars,
                           m->corner);
    default:
        NAME_ARRAY(a, "rank", CLATTN_I8, a->kv_len);
        return clattn_mask("rank[k] <= rank[min(q, k_len // 2)]", m->corner);
    }
}

/* ---- score rules, weights, normalisers ---- */
#define SCORES 9
static clattn_rule random_score(uint64_t number, struct dice *dice, struct dice *kind, clattn_attention *a)
{
    int32_t n = (int32_t)PICK(dice, 1, 2, 8, 16, 33, 64);
    switch (number) {
    case 0:
        NAME_ARRAY(a, "slope", CLATTN_F32, all_or_1(dice, a->heads));
        return clattn_score("score - slope[h] * abs(q - k)");
    case 1:
        name_scalar(a, "cap", CLATTN_F32, (double)n + 0.3);
        return clattn_score("cap * tanh(score / cap)");
    case 2:
        NAME_ARRAY(a, "bias", float_type(kind), all_or_1(dice, a->batch), all_or_1(dice, a->heads),
                   all_or_1(dice, a->q_len), all_or_1(dice, a->kv_len));
        return clattn_score("score + bias[b, h, q, k]");
    case 3:
        NAME_ARRAY(a, "table", float_type(kind), all_or_1(dice, a->heads), 2 * n + 1);
        return clattn_score(text_of("score + table[h, min(max(k - q + %d, 0), %d)]", n, 2 * n).chars);
    case 4:
        return clattn_score(text_of("score * 0.75 + (k < %d ? 1.5 : -0.25)", n).chars);
    case 5:
        return clattn_score(text_of("q // %d == k // %d ? score : 0.5 * score - 2.0", n, n).chars);
    case 6:
        return clattn_score(
            text_of("score * log2(2 + k_len / %d) - 0.125 * floor(log2(1 + abs(q - k)) + 0.01)", n).chars);
    default:
        return clattn_score("");
    }
}

#define WEIGHTS 7
static const struct {
    const char *text;
    clattn_normaliser normaliser;
} weights[WEIGHTS] = {{"softplus(score)", CLATTN_L1},
                      {"relu(score)", CLATTN_COUNT},
                      {"sigmoid(score)", CLATTN_NO_NORMALISER},
                      {"relu(score) * relu(score)", CLATTN_COUNT},
                      {"exp(min(score, 4.0))", CLATTN_L1},
                      {"sigmoid(score - 0.5) + 0.01", CLATTN_L1},
                      {"exp2(-abs(score)) / (1 + sqrt(abs(score)))", CLATTN_NO_NORMALISER}};

static void random_rules(uint64_t number, struct dice *dice, struct dice *kind, clattn_attention *a)
{
    struct mask mask = {roll(dice, 2) ? CLATTN_TOP_LEFT : CLATTN_BOTTOM_RIGHT,
                        (int32_t)PICK(dice, 1, 2, 16, 33, 64, 100, 128, 200)};
    uint64_t turn = number % (PLAIN_MASKS + ARRAY_MASKS);
    a->pattern =
        turn < PLAIN_MASKS ? plain_mask(turn, &mask, a) : array_mask(turn - PLAIN_MASKS, &mask, dice, a);
    a->pattern.corner = (int32_t)mask.corner; /* score rules speak of q too */
    a->score = random_score(number % SCORES, dice, kind, a);
    if (number % 4 == 1) {
        a->weight = clattn_weight(weights[number / 4 % WEIGHTS].text);
        a->normaliser = (int32_t)weights[number / 4 % WEIGHTS].normaliser;
    }
}

static void random_layout(struct dice *dice, clattn_layout *layout, int64_t heads, int64_t tokens,
                          int64_t width)
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

static struct dice dice_of(uint64_t seed)
{
    return (struct dice){seed * 0x2545f4914f6cdd1du + 99};
}

void workload_random_problem(uint64_t seed, clattn_attention *a)
{
    static const clattn_attention init = CLATTN_ATTENTION_INIT;
    struct dice dice = dice_of(seed);
    uint64_t number = roll(&dice, SPECIALISATIONS);
    struct dice kind = {number}; /* rolls what the kernel is compiled for */
    *a = init;
    random_types(&kind, a);
    a->batch = PICK(&dice, 1, 1, 1, 2, 3, 0);
    a->kv_heads = PICK(&dice, 1, 2, 3);
    /* rows decide the tile's shape, which is compiled: few queries of one number, or any number that fills a
     * tile */
    int64_t few = PICK(&kind, 0, 0, 0, 1, 1, 2, 3, 5, 8, 9, 16, 17, 31);
    a->heads = a->kv_heads * PICK(&kind, 1, 1, 2, 3, 4);
    a->q_len =
        few ? few : PICK(&dice, 65, 66, 79, 80, 81, 95, 96, 97, 127, 128, 129, 130, 191, 255, 256, 257);
    a->kv_len = random_length(&dice);
    if (roll(&dice, 4) == 0)
        a->kv_len = a->q_len;
    if (a->q_len <= 4 && roll(&dice, 3) == 0) /* few queries take longer blocks */
        a->kv_len = PICK(&dice, 1000, 1023, 1024, 1025, 1040, 2047, 2049, 3500);
    random_rules(number, &dice, &kind, a);
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

/* ---- selections ---- */
/* What kernels are compiled for: method, rows, scope, how lists become shorter. */
static void random_method(uint64_t number, struct dice *kind, clattn_select *s)
{
    static const int8_t methods[] = {CLATTN_TREE,           CLATTN_STAGED,    CLATTN_MINMAX,
                                     CLATTN_TREE,           CLATTN_POOL_MEAN, CLATTN_STAGED,
                                     CLATTN_EXTERNAL_SCORE, CLATTN_STREAMING};
    s->method = methods[(number / 8 + number % 8) % 8];
    s->scope = (int32_t)roll(kind, 3);
    s->block_q = (int32_t)PICK(kind, 1, 8, 16, 16, 64);
    s->stride_q = (int32_t)PICK(kind, 1, 2, 4, 5, 8);
    s->stride_q = s->stride_q < s->block_q ? s->stride_q : s->block_q;
    if (s->method <= CLATTN_POOL_MEAN && roll(kind, 3) == 0)
        s->rows = CLATTN_ROWS_MEAN;
    if (s->method == CLATTN_MINMAX && !s->rows && roll(kind, 2))
        s->flags |= CLATTN_CERTIFY;
    if (s->method <= CLATTN_STAGED && roll(kind, 3) == 0)
        s->flags |= CLATTN_COUNT_PROBES;
    if (s->method <= CLATTN_EXTERNAL_SCORE && roll(kind, 4) == 0)
        s->flags |= CLATTN_BUDGET_EACH;
    if (s->method <= CLATTN_STAGED)
        s->budget_mode = roll(kind, 3) ? CLATTN_TOP_K : CLATTN_RATIO;
    else if (s->method != CLATTN_STREAMING)
        s->budget_mode = (int32_t)roll(kind, 4);
    s->n_stages = s->method == CLATTN_STAGED ? 1 + (int32_t)roll(kind, 3) : 0;
}

/* Stages of 4, 2 and 1 blocks, or the last of them, each keeping twice what the next does. */
static void random_budget(struct dice *dice, clattn_select *s)
{
    s->block_k = (int32_t)PICK(dice, 1, 2, 4, 5, 8, 16);
    s->stride_k = 1 + (int32_t)roll(dice, (uint64_t)s->block_k);
    s->budget = s->method == CLATTN_STREAMING ? 0 : PICK(dice, 1, 8, 17, 40, 100, 300);
    if (s->n_stages > 0)
        s->budget = (s->budget + s->block_k - 1) / s->block_k * s->block_k;
    for (int i = 0; i < s->n_stages; i++)
        s->stages[i] =
            (clattn_stage){(int64_t)s->block_k << (s->n_stages - 1 - i), s->budget << (s->n_stages - 1 - i)};
    s->budget_value = s->budget_mode == CLATTN_TOP_K    ? 0
                      : s->budget_mode == CLATTN_MARGIN ? (double)roll(dice, 100) / 16
                                                        : (double)(1 + roll(dice, 64)) / 64;
}

static void random_near(struct dice *dice, struct dice *kind, const clattn_attention *a, clattn_select *s)
{
    const bool near = roll(kind, 4) != 0;
    s->sink = near ? 1 + (int64_t)roll(dice, 20) : 0;
    s->window = near ? (int64_t)roll(dice, 40) : 0;
    s->dense_below = roll(kind, 3) == 0 ? 1 + (int64_t)roll(dice, (uint64_t)a->kv_len + 2) : 0;
}

/* Tables have more positions than any search asks for. */
static void random_rope(uint64_t number, const clattn_attention *a, clattn_select *s)
{
    const int32_t rope = (int32_t)(number / 8 % 4);
    s->rope = a->dim % 2 || s->method > CLATTN_POOL_MEAN ? CLATTN_ROPE_NONE
              : s->method <= CLATTN_STAGED               ? rope
              : rope % 2                                 ? CLATTN_ROPE_NONE
                                                         : CLATTN_ROPE_INFLLM;
    s->rope_positions = s->rope ? a->kv_len + 2 * s->budget + s->window + 64 : 0;
}

/* Pairs that the reference asks the mask about, and columns that it multiplies, several times slower where
 * they turn. */
static bool is_slow(const clattn_attention *a, const clattn_select *s)
{
    const double pairs = (double)a->batch * (double)a->heads * (double)a->q_len * (double)a->kv_len;
    const double columns = (double)a->dim / s->stride_q * (s->rope ? 6 : 1);
    return pairs * (columns + 60) > 1.5e8;
}

bool workload_random_selection(uint64_t seed, bool always, const clattn_attention *a, clattn_select *s)
{
    static const clattn_select init = CLATTN_SELECT_INIT;
    struct dice dice = dice_of(seed);
    const uint64_t number = roll(&dice, SPECIALISATIONS);
    struct dice kind = {number + 1000};
    *s = init;
    random_method(number, &kind, s);
    random_budget(&dice, s);
    random_near(&dice, &kind, a, s);
    random_rope(number, a, s);
    s->representative = (int32_t)roll(&dice, 3);
    return (always || number % 8 == 2) && a->list.size == 0 && !is_slow(a, s);
}
