/* SPDX-License-Identifier: MIT
 * workload.c - a problem's tensors on the host: made from a seed, guarded, run. */
#include "tool/workload.h"

#include "tests/ref.h"
#include "tool/parallel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GUARD_BYTES 256 /* before and after each tensor */
#define GUARD_FILL 0xa5
#define MOST_DRAWN ((int64_t)1 << 21) /* numbers of a tensor that are drawn one by one; 65536 at least */
#define COPIED ((int64_t)1 << 20)     /* those after them that one thread fills in at a time */

/* One guarded allocation. */
struct block {
    unsigned char *base;
    size_t bytes;
};

enum { BLOCK_Q, BLOCK_K, BLOCK_V, BLOCK_O, BLOCK_LSE, BLOCKS };
struct state {
    struct block blocks[BLOCKS];
};

int workload_type_bytes(int32_t type)
{
    static const int8_t bytes[] = {4, 2, 2, 4, 1};
    return bytes[type];
}

static void *guarded(struct block *block, int64_t elements, int bytes_each)
{
    block->bytes = (size_t)elements * (size_t)bytes_each;
    block->base = calloc(block->bytes + 2 * GUARD_BYTES, 1);
    if (!block->base)
        return NULL;
    memset(block->base, GUARD_FILL, GUARD_BYTES);
    memset(block->base + GUARD_BYTES + block->bytes, GUARD_FILL, GUARD_BYTES);
    return block->base + GUARD_BYTES;
}

/* ---- random numbers: splitmix64, so that a seed means the same everywhere ---- */
#define STEP 0x9e3779b97f4a7c15u /* of the state, so n numbers later it is n steps further */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += STEP;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static double next_uniform(uint64_t *state)
{
    return (double)(next_random(state) >> 11) * 0x1p-53;
}

static double next_normal(uint64_t *state)
{
    double u = next_uniform(state), v = next_uniform(state);
    return sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v);
}

/* The elements after the first MOST_DRAWN, each one of 65536 of these: four by each number. */
struct copies {
    char *data; /* the tensor's */
    int64_t count;
    int bytes; /* of an element */
    uint64_t state;
};

static void fill_copies(void *context, int64_t part)
{
    const struct copies *c = context;
    const int64_t first = MOST_DRAWN + part * COPIED;
    const int64_t end = first + COPIED < c->count ? first + COPIED : c->count;
    uint64_t state = c->state + (uint64_t)part * (COPIED / 4) * STEP, roll = 0;
    for (int64_t i = first; i < end; i++, roll >>= 16) {
        roll = i % 4 ? roll : next_random(&state);
        if (c->bytes == 2) /* sizes that the compiler knows */
            memcpy(c->data + 2 * i, c->data + 2 * (roll & 0xffff), 2);
        else
            memcpy(c->data + 4 * i, c->data + 4 * (roll & 0xffff), 4);
    }
}

/* Beyond MOST_DRAWN elements, which takes seconds, elements are drawn from the first ones. */
static void fill(void *data, int32_t type, int64_t count, double size, uint64_t *state)
{
    const int64_t drawn = count < MOST_DRAWN ? count : MOST_DRAWN, left = count - drawn;
    for (int64_t i = 0; i < drawn; i++)
        ref_narrow(type, size * next_normal(state), data, i);
    struct copies copies = {data, count, workload_type_bytes(type), *state};
    in_parallel((left + COPIED - 1) / COPIED, fill_copies, &copies);
    *state += (uint64_t)((left + 3) / 4) * STEP;
}

static void fill_constant(void *data, int32_t type, int64_t count, double value)
{
    const int64_t bytes = workload_type_bytes(type);
    if (count > 0)
        ref_narrow(type, value, data, 0);
    for (int64_t done = 1; done < count; done *= 2)
        memcpy((char *)data + done * bytes, data,
               (size_t)((done < count - done ? done : count - done) * bytes));
}

/* ---- lengths and arrays ---- */
static int32_t *rising_offsets(int64_t batch, int64_t longest, int64_t total, uint64_t *state)
{
    int32_t *offsets = calloc((size_t)batch + 1, sizeof *offsets);
    for (int64_t b = 0; offsets && b < batch; b++) {
        int64_t left = total - offsets[b], most = longest < left ? longest : left;
        offsets[b + 1] = offsets[b] + (int32_t)(next_random(state) % (uint64_t)(most + 1));
    }
    return offsets;
}

static int32_t *random_lengths(int64_t count, int64_t longest, uint64_t *state)
{
    int32_t *lengths = calloc((size_t)count + 1, sizeof *lengths);
    for (int64_t i = 0; lengths && i < count; i++)
        lengths[i] = (int32_t)(next_random(state) % (uint64_t)(longest + 1));
    return lengths;
}

static int64_t element_count(const clattn_array *array)
{
    int64_t count = 1;
    for (int d = 0; d < array->n_dims; d++)
        count *= array->dims[d] > 0 ? array->dims[d] : 0;
    return count;
}

int64_t workload_array_bytes(const clattn_array *array)
{
    if (array->n_dims < 1 || array->n_dims > CLATTN_MAX_DIMS || element_count(array) == 0)
        return 0;
    int64_t last = array->dims[array->n_dims - 1];
    return array->type == CLATTN_BITS ? element_count(array) / last * ((last + 31) / 32) * 4
                                      : element_count(array) * workload_type_bytes(array->type);
}

static void store_whole(int32_t type, int64_t value, void *data, int64_t index)
{
    if (type == CLATTN_I32)
        ((int32_t *)data)[index] = (int32_t)value;
    else
        ((int8_t *)data)[index] = (int8_t)(value < 127 ? value : 127);
}

/* Documents where the last index runs over positions, else lengths. */
static void fill_whole(const clattn_attention *a, const clattn_array *array, void *data, uint64_t *state)
{
    int64_t last = array->dims[array->n_dims - 1], value = 0;
    bool positions = last > 1 && last >= (a->q_len < a->kv_len ? a->q_len : a->kv_len) &&
                     (array->n_dims > 1 || last > a->batch);
    for (int64_t i = 0; i < element_count(array); i++) {
        if (i % last == 0)
            value = 0;
        uint64_t roll = next_random(state);
        value = positions ? value + (roll % 24 == 0) : (int64_t)(roll % (uint64_t)(a->kv_len + 1));
        store_whole(array->type, value, data, i);
    }
}

static void *random_array(const clattn_attention *a, const clattn_array *array, uint64_t *state)
{
    int64_t bytes = workload_array_bytes(array);
    void *data = calloc((size_t)bytes + 1, 1);
    if (!data || bytes == 0)
        return data;
    if (array->type == CLATTN_BITS)
        for (int64_t i = 0; i < bytes / 4; i++) /* those after a row's end too: nobody may read them */
            ((uint32_t *)data)[i] = (uint32_t)(next_random(state) | next_random(state));
    else if (array->type == CLATTN_I32 || array->type == CLATTN_I8)
        fill_whole(a, array, data, state);
    else
        fill(data, array->type, element_count(array), 0.5, state);
    return data;
}

/* n of the blocks, each as likely as any other. */
static void draw_blocks(int32_t *ids, int64_t n, int64_t blocks, uint64_t *state)
{
    for (int64_t block = 0; n > 0; block++)
        if ((int64_t)(next_random(state) % (uint64_t)(blocks - block)) < n) {
            *ids++ = (int32_t)block;
            n--;
        }
}

static int32_t *random_list(const clattn_list *l, uint64_t *state)
{
    uint64_t bytes;
    int32_t *data = clattn_list_bytes(l, &bytes) ? NULL : calloc(bytes + 4, 1);
    for (int64_t r = 0; data && r < l->batch * l->scopes * l->q_blocks; r++) {
        int32_t *ids = data + l->ids_at / 4 + r * l->capacity;
        const uint64_t roll = next_random(state);
        const int64_t n = roll % 8 == 0   ? 0
                          : roll % 4 == 0 ? l->capacity
                                          : (int64_t)(roll / 8 % (uint64_t)(l->capacity + 1));
        data[l->counts_at / 4 + r] = (int32_t)n;
        for (int64_t i = 0; i < l->capacity; i++)
            ids[i] = -1;
        draw_blocks(ids, n, l->k_blocks, state);
    }
    return data;
}

static bool make_lengths(struct workload *w, uint64_t *state)
{
    const clattn_attention *a = &w->problem;
    bool good = true;
    if (a->flags & CLATTN_PACKED) {
        w->q_offsets = rising_offsets(a->batch, a->q_len, a->q_total, state);
        w->k_offsets = rising_offsets(a->batch, a->kv_len, a->kv_total, state);
        good = w->q_offsets && w->k_offsets;
    }
    if (a->flags & CLATTN_KEY_LENGTHS) {
        w->key_lengths = random_lengths(a->batch, a->kv_len, state);
        good = good && w->key_lengths;
    }
    for (int i = 0; i < a->n_arrays; i++) {
        w->arrays[i] = random_array(a, &a->arrays[i], state);
        good = good && w->arrays[i];
    }
    if (a->list.size > 0) {
        w->arrays[a->n_arrays] = w->list = random_list(&a->list, state);
        good = good && w->list;
    }
    return good;
}

/* ---- poison: NaN and infinities where no row, or only some rows, may see them ---- */
static struct ref_rules rules_of(const struct workload *w)
{
    const clattn_attention *a = &w->problem;
    struct ref_rules rules = {.mask = a->pattern.text, .score = a->score.text, .weight = a->weight.text,
                              .bottom_right = a->pattern.corner == CLATTN_BOTTOM_RIGHT,
                              .normaliser = a->normaliser, .n_scalars = a->n_scalars,
                              .n_arrays = a->n_arrays};
    for (int i = 0; i < a->n_scalars; i++)
        rules.scalars[i] = (struct ref_scalar){a->scalars[i].name, a->scalars[i].type, a->scalars[i].value};
    for (int i = 0; i < a->n_arrays; i++) {
        rules.arrays[i] = (struct ref_array){.name = a->arrays[i].name, .type = a->arrays[i].type,
                                             .n_dims = a->arrays[i].n_dims, .data = w->arrays[i]};
        memcpy(rules.arrays[i].dims, a->arrays[i].dims, sizeof rules.arrays[i].dims);
    }
    if (w->list) {
        const clattn_list *l = &a->list;
        rules.list = (struct ref_blocks){
            w->list + l->counts_at / 4, w->list + l->ids_at / 4, l->scopes, l->q_blocks, l->capacity,
            l->block_q, l->block_k, a->heads / l->scopes};
    }
    return rules;
}

struct ref_problem workload_reference(const struct workload *w)
{
    const clattn_attention *a = &w->problem;
    struct ref_problem p = {
        .batch = a->batch, .heads = a->heads, .kv_heads = a->kv_heads, .q_len = a->q_len, .kv_len = a->kv_len,
        .dim = a->dim, .dim_v = a->dim_v, .scale = a->scale,
        .q = {w->q, a->type_q, a->q.offset, a->q.batch, a->q.head, a->q.token},
        .k = {w->k, a->type_k, a->k.offset, a->k.batch, a->k.head, a->k.token},
        .v = {w->v, a->type_v, a->v.offset, a->v.batch, a->v.head, a->v.token},
        .rules = rules_of(w), .key_lengths = w->key_lengths, .q_offsets = w->q_offsets,
        .k_offsets = w->k_offsets,
    };
    return p;
}

/* Whether any row of any head of the group sees a key. */
static bool key_is_seen(const struct ref_problem *p, int64_t b, int64_t g, int64_t k)
{
    int64_t group = p->heads / p->kv_heads, q_len = ref_q_len(p, b);
    for (int64_t h = g * group; h < (g + 1) * group; h++)
        for (int64_t i = 0; i < q_len; i++) {
            struct ref_point at = ref_point_of(p, b, h, i, k);
            if (ref_visible(&p->rules, &at))
                return true;
        }
    return false;
}

static void poison_row(const struct ref_problem *p, const struct ref_tensor *t, void *data, int64_t width,
                       int64_t b, int64_t g, int64_t k, double value)
{
    int64_t first = t->offset + g * t->head +
                    (p->k_offsets ? (p->k_offsets[b] + k) * t->token : b * t->batch + k * t->token);
    for (int64_t d = 0; d < width; d++)
        ref_narrow(t->type, value, data, first + d);
}

/* The rows of a tensor: who owns which elements. */
struct rows {
    const clattn_layout *at;
    const int32_t *offsets; /* NULL: not packed */
    int64_t batch, heads, tokens, width;
};

/* Marks in `owned` (one byte an element) the elements that rows own. */
static void mark_rows(const struct rows *r, unsigned char *owned)
{
    for (int64_t b = 0; b < r->batch; b++)
        for (int64_t h = 0; h < r->heads; h++) {
            int64_t first = r->offsets ? r->offsets[b] : 0, end = r->offsets ? r->offsets[b + 1] : r->tokens;
            for (int64_t token = first; token < end; token++)
                memset(owned + r->at->offset + (r->offsets ? 0 : b * r->at->batch) + h * r->at->head +
                           token * r->at->token,
                       1, (size_t)r->width);
        }
}

/* What lies between the rows of an input becomes NaN. */
static void poison_gaps(const struct rows *r, void *data, int32_t type, int64_t count)
{
    unsigned char *owned = calloc((size_t)count + 1, 1);
    if (!owned)
        return;
    mark_rows(r, owned);
    for (int64_t i = 0; i < count; i++)
        if (!owned[i])
            ref_narrow(type, NAN, data, i);
    free(owned);
}

/* Keys and values that nobody sees become NaN; a value near the causal edge that some rows see becomes NaN
 * too (those rows turn NaN, the others must not), and in every second kv head its key. */
static void poison(struct workload *w)
{
    const clattn_attention *a = &w->problem;
    struct ref_problem p = workload_reference(w);
    poison_gaps(&(struct rows){&a->q, w->q_offsets, a->batch, a->heads, a->q_len, a->dim}, w->q, a->type_q,
                w->q_count);
    poison_gaps(&(struct rows){&a->k, w->k_offsets, a->batch, a->kv_heads, a->kv_len, a->dim}, w->k,
                a->type_k, w->k_count);
    poison_gaps(&(struct rows){&a->v, w->k_offsets, a->batch, a->kv_heads, a->kv_len, a->dim_v}, w->v,
                a->type_v, w->v_count);
    for (int64_t b = 0; b < p.batch; b++)
        for (int64_t g = 0; g < p.kv_heads; g++) {
            int64_t k_len = ref_k_len(&p, b), longest = w->k_offsets ? k_len : p.kv_len;
            for (int64_t k = 0; k < longest; k++) {
                bool partly = k == k_len / 2 && k_len > 1;
                if (k < k_len && !partly && key_is_seen(&p, b, g, k))
                    continue;
                if (!partly || g % 2)
                    poison_row(&p, &p.k, w->k, p.dim, b, g, k, k % 2 ? NAN : INFINITY);
                poison_row(&p, &p.v, w->v, p.dim_v, b, g, k, k % 3 ? NAN : -INFINITY);
            }
        }
}

/* ---- making and freeing ---- */
static clattn_status resolve(struct workload *w)
{
    clattn_attention *a = &w->problem;
    clattn_layout *layouts[] = {&a->q, &a->k, &a->v, &a->o, &a->lse};
    int64_t *counts[] = {&w->q_count, &w->k_count, &w->v_count, &w->o_count, &w->lse_count};
    const int64_t widths[] = {a->dim, a->dim, a->dim_v, a->dim_v, 1};
    bool packed = a->flags & CLATTN_PACKED;
    for (int i = 0; i < 5; i++) {
        clattn_status status = clattn_attention_extent(&w->problem, "qkvol"[i], counts[i]);
        if (status)
            return status;
    }
    for (int i = 0; i < 5; i++) { /* dense strides as numbers */
        bool keys = i == 1 || i == 2;
        int64_t heads = keys ? a->kv_heads : a->heads;
        int64_t tokens = keys ? (packed ? a->kv_total : a->kv_len) : (packed ? a->q_total : a->q_len);
        if (layouts[i]->token == CLATTN_DENSE)
            layouts[i]->token = widths[i];
        if (layouts[i]->head == CLATTN_DENSE)
            layouts[i]->head = tokens * widths[i];
        if (layouts[i]->batch == CLATTN_DENSE)
            layouts[i]->batch = heads * tokens * widths[i];
    }
    if (a->scale == CLATTN_DEFAULT_SCALE)
        a->scale = 1 / sqrt((double)a->dim);
    return CLATTN_OK;
}

clattn_status workload_make(struct workload *w, const clattn_attention *problem, uint64_t seed,
                            enum workload_fill kind)
{
    memset(w, 0, sizeof *w);
    w->problem = *problem;
    w->seed = seed;
    clattn_status status = resolve(w);
    if (status)
        return status;
    const clattn_attention *a = &w->problem;
    struct state *state = calloc(1, sizeof *state);
    uint64_t random = seed * 0x2545f4914f6cdd1du + 1;
    w->private_state = state;
    if (state) {
        w->q = guarded(&state->blocks[BLOCK_Q], w->q_count, workload_type_bytes(a->type_q));
        w->k = guarded(&state->blocks[BLOCK_K], w->k_count, workload_type_bytes(a->type_k));
        w->v = guarded(&state->blocks[BLOCK_V], w->v_count, workload_type_bytes(a->type_v));
        w->o = guarded(&state->blocks[BLOCK_O], w->o_count, workload_type_bytes(a->type_o));
        w->lse = guarded(&state->blocks[BLOCK_LSE], w->lse_count, 4);
    }
    if (!w->q || !w->k || !w->v || !w->o || !w->lse || !make_lengths(w, &random)) {
        workload_free(w);
        return CLATTN_OUT_OF_HOST_MEMORY;
    }
    double size = kind == WORKLOAD_LARGE ? sqrt(1e4 / fabs(a->scale) / (3 * sqrt((double)a->dim))) : 1;
    fill(w->q, a->type_q, w->q_count, size, &random);
    fill(w->k, a->type_k, w->k_count, size, &random);
    if (kind == WORKLOAD_CONSTANT_V)
        fill_constant(w->v, a->type_v, w->v_count, 0.75);
    else
        fill(w->v, a->type_v, w->v_count, 1, &random);
    fill_constant(w->o, a->type_o, w->o_count, NAN);
    fill_constant(w->lse, CLATTN_F32, w->lse_count, NAN);
    if (kind == WORKLOAD_POISON)
        poison(w);
    return CLATTN_OK;
}

clattn_status workload_join_list(struct workload *w, const clattn_list *list, clattn_pattern condition)
{
    clattn_attention *a = &w->problem;
    uint64_t bytes;
    clattn_status status = clattn_list_bytes(list, &bytes);
    if (status)
        return status;
    a->pattern = clattn_both(a->pattern, condition);
    a->list = *list;
    w->arrays[a->n_arrays] = w->list = calloc(1, bytes + 4);
    return w->list ? clattn_attention_check(a, NULL, 0) : CLATTN_OUT_OF_HOST_MEMORY;
}

void workload_free(struct workload *w)
{
    struct state *state = w->private_state;
    for (int i = 0; state && i < BLOCKS; i++)
        free(state->blocks[i].base);
    free(state);
    free(w->q_offsets);
    free(w->k_offsets);
    free(w->key_lengths);
    for (int i = 0; i <= CLATTN_MAX_ARRAYS; i++)
        free(w->arrays[i]);
    memset(w, 0, sizeof *w);
}

clattn_status workload_run(struct workload *w, clattn_plan *plan, double *seconds)
{
    uint32_t counters[4] = {0, 0, 0, 0};
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    io.q = w->q;
    io.k = w->k;
    io.v = w->v;
    io.o = w->o;
    io.lse = w->lse;
    io.q_offsets = w->q_offsets;
    io.k_offsets = w->k_offsets;
    io.key_lengths = w->key_lengths;
    for (int i = 0; i < w->problem.n_arrays; i++)
        io.arrays[i] = w->arrays[i];
    io.list = w->list;
    io.counters = counters;
    clattn_status status = clattn_run_forward(plan, &io);
    if (seconds)
        *seconds = io.seconds;
    return status;
}

/* ---- guards ---- */
/* Between rows every element still holds the NaN that it was filled with. */
static bool gaps_intact(const struct rows *r, const void *data, int32_t type, int64_t count)
{
    unsigned char *owned = calloc((size_t)count + 1, 1);
    bool intact = owned != NULL;
    if (owned)
        mark_rows(r, owned);
    for (int64_t i = 0; intact && i < count; i++)
        intact = owned[i] || isnan(ref_widen(type, data, i));
    free(owned);
    return intact;
}

bool workload_guards_intact(const struct workload *w)
{
    const struct state *state = w->private_state;
    for (int i = 0; i < BLOCKS; i++) {
        const struct block *block = &state->blocks[i];
        for (size_t j = 0; j < GUARD_BYTES; j++)
            if (block->base[j] != GUARD_FILL || block->base[GUARD_BYTES + block->bytes + j] != GUARD_FILL)
                return false;
    }
    const clattn_attention *a = &w->problem;
    const struct rows o = {&a->o, w->q_offsets, a->batch, a->heads, a->q_len, a->dim_v};
    const struct rows lse = {&a->lse, w->q_offsets, a->batch, a->heads, a->q_len, 1};
    return gaps_intact(&o, w->o, a->type_o, w->o_count) &&
           (!(a->flags & CLATTN_WANT_LSE) || gaps_intact(&lse, w->lse, CLATTN_F32, w->lse_count));
}
