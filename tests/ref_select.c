/* SPDX-License-Identifier: MIT
 * ref_select.c - selection, a query block at a time, by ref_select.h's formulas; slow, plain on purpose. */
#include "tests/ref_select.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(int64_t count, size_t each)
{
    void *data = calloc((size_t)count + 1, each);
    if (!data)
        abort();
    return data;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- sizes ---- */
int64_t ref_scopes(const struct ref_problem *p, const struct ref_select *s)
{
    return s->scope == REF_HEAD ? p->heads : s->scope == REF_KV_GROUP ? p->kv_heads : 1;
}

int64_t ref_q_blocks(const struct ref_problem *p, const struct ref_select *s)
{
    return ceil_div(p->q_len, s->block_q);
}

int64_t ref_k_blocks(const struct ref_problem *p, const struct ref_select *s)
{
    return ceil_div(p->kv_len, s->block_k);
}

int64_t ref_capacity(const struct ref_problem *p, const struct ref_select *s)
{
    return s->method == REF_STREAMING ? 0 : least(ceil_div(s->budget, s->block_k), ref_k_blocks(p, s));
}

/* ---- order ---- */
static bool is_above(double a, double b)
{
    return isnan(b) ? !isnan(a) : a > b;
}

/* A maximum in that order; of nothing it is -inf. */
struct top {
    bool any;
    double value;
};

static void raise_top(struct top *top, double x)
{
    if (!top->any || is_above(x, top->value))
        top->value = x;
    top->any = true;
}

static double top_value(const struct top *top)
{
    return top->any ? top->value : -INFINITY;
}

struct ranked {
    double score;
    int64_t place;
    bool kept;
    double error; /* of the score */
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return is_above(x->score, y->score)   ? -1
           : is_above(y->score, x->score) ? 1
           : x->place < y->place          ? -1
                                          : 1;
}

static int by_place(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->place < y->place ? -1 : 1;
}

/* Whether rounding may let one that is not kept change places with one that is.  All that are -inf are so
 * exactly. */
static bool is_close(const struct ranked *list, int64_t n)
{
    double least_kept = INFINITY, most_left = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        if (list[i].kept)
            least_kept = fmin(least_kept, list[i].score - list[i].error);
        else if (list[i].score > -INFINITY)
            most_left = fmax(most_left, list[i].score + list[i].error);
    }
    return most_left > -INFINITY && !(least_kept > most_left);
}

/* Mark the best of n, which stay in the order of their places. */
static void keep_best(struct ranked *list, int64_t n, int64_t keep)
{
    qsort(list, (size_t)n, sizeof *list, by_rank);
    for (int64_t i = 0; i < n; i++)
        list[i].kept = i < keep;
    qsort(list, (size_t)n, sizeof *list, by_place);
}

/* ---- dot products ---- */
/* sum + x y as the arithmetic has it; operands of the last two are f32 numbers. */
static double add_product(int arithmetic, double sum, double x, double y)
{
    if (arithmetic == REF_DOUBLE)
        return sum + x * y;
    if (arithmetic == REF_FMA)
        return fmaf((float)x, (float)y, (float)sum);
    volatile float product = (float)x * (float)y; /* volatile: never one instruction with the sum */
    return (float)sum + product;
}

/* A score grows with scale times the dot product: only the sign of the scale matters. */
static double signed_by(double scale, double x)
{
    return scale < 0 ? -x : scale == 0 ? 0 : x;
}

/* ---- a query block ---- */
struct view {
    const struct ref_problem *p;
    const struct ref_select *s;
    int64_t b, scope, m, k_len;
    int64_t head0, heads; /* of the scope */
    int64_t row0, rows;   /* of the block */
    int64_t n_sampled, *sampled;
    int64_t n, *blocks; /* candidates */
    int64_t
        end; /* keys of all candidates, counted on over the holes between them, up to the last that matters */
    double *scores; /* [heads][k_len]: S(t) of a head */
    double *errors; /* the same: what that may be off; NULL unless it is asked for */
    int start;      /* STAGED: the first stage; what it begins with is kept in stages */
    struct ref_stages *stages; /* or NULL */
    struct ref_trace *trace;
};

static bool matters(const struct view *w, int64_t h, int64_t i, int64_t t)
{
    struct ref_point at = ref_point_of(w->p, w->b, h, i, t);
    return ref_visible(&w->p->rules, &at) && !ref_near(w->s, &at);
}

/* Where a search stands: which key's position, of how many chunks. */
struct turn {
    int64_t key, chunks;
};
static const struct turn no_turn = {0, 0};

static int64_t row_position(const struct view *w, int64_t i, struct turn turn)
{
    struct ref_point at = ref_point_of(w->p, w->b, 0, i, 0);
    if (w->s->rope != REF_ROPE_CHUNKS)
        return w->s->window + (w->s->rope == REF_ROPE_RELATIVE ? 1 : 0);
    return least(at.q, turn.chunks + w->s->window);
}

/* What one more term makes of a sum, and a factor of it. */
static double plus(const struct view *w, double sum, double x)
{
    return w->s->arithmetic == REF_DOUBLE ? sum + x : (float)(sum + x);
}

static double times(const struct view *w, double x, double y)
{
    return w->s->arithmetic == REF_DOUBLE ? x * y : (float)((float)x * (float)y);
}

/* Column d of a row of x: as it is, or of q the mean of the stride that ends there. */
static double column(const struct view *w, const struct ref_tensor *x, int64_t row, int64_t d)
{
    int64_t n = least(w->s->stride_q, w->rows);
    double sum = 0;
    if (x != &w->p->q || !w->s->mean_rows)
        return ref_widen(x->type, x->data, row + d);
    for (int64_t i = n - 1; i >= 0; i--)
        sum = plus(w, sum, ref_widen(x->type, x->data, row - i * x->token + d));
    return times(w, sum, w->s->arithmetic == REF_DOUBLE ? 1.0 / (double)n : (float)(1.0 / (double)n));
}

/* The same turned by a position. */
static double turned(const struct view *w, const struct ref_tensor *x, int64_t row, int64_t d,
                     int64_t position)
{
    int64_t half = w->p->dim / 2, last = w->s->rope_positions - 1, pair = d < half ? d : d - half;
    int64_t at = (position < 0 ? 0 : least(position, last)) * half + pair;
    double own = column(w, x, row, d), other = column(w, x, row, d < half ? d + half : pair);
    double product = add_product(w->s->arithmetic, 0, other, w->s->rope_sin[at]);
    return add_product(w->s->arithmetic, d < half ? -product : product, own, w->s->rope_cos[at]);
}

static double q_turned(const struct view *w, int64_t h, int64_t i, int64_t d, struct turn turn)
{
    int64_t row = ref_row_at(&w->p->q, w->p->q_offsets, w->b, h, i);
    if (w->s->rope == REF_ROPE_NONE)
        return column(w, &w->p->q, row, d);
    return turned(w, &w->p->q, row, d, row_position(w, i, turn));
}

static double q_element(const struct view *w, int64_t h, int64_t i, int64_t d)
{
    return q_turned(w, h, i, d, no_turn);
}

static double k_element(const struct view *w, int64_t h, int64_t t, int64_t d)
{
    int64_t g = h / (w->p->heads / w->p->kv_heads);
    return ref_widen(w->p->k.type, w->p->k.data, ref_row_at(&w->p->k, w->p->k_offsets, w->b, g, t) + d);
}

static double k_turned(const struct view *w, int64_t h, int64_t t, int64_t d, struct turn turn)
{
    int64_t g = h / (w->p->heads / w->p->kv_heads);
    if (w->s->rope != REF_ROPE_RELATIVE && w->s->rope != REF_ROPE_CHUNKS)
        return k_element(w, h, t, d);
    return turned(w, &w->p->k, ref_row_at(&w->p->k, w->p->k_offsets, w->b, g, t), d, turn.key);
}

static double dot(const struct view *w, int64_t h, int64_t i, int64_t t, struct turn turn)
{
    double sum = 0;
    for (int64_t d = 0; d < w->p->dim; d++)
        sum = add_product(w->s->arithmetic, sum, q_turned(w, h, i, d, turn), k_turned(w, h, t, d, turn));
    return signed_by(w->p->scale, sum);
}

static void find_heads(struct view *w)
{
    int64_t scopes = ref_scopes(w->p, w->s);
    w->heads = w->p->heads / scopes;
    w->head0 = w->scope * w->heads;
}

static void find_rows(struct view *w)
{
    int64_t q_len = ref_q_len(w->p, w->b), stride = w->s->stride_q;
    w->row0 = w->m * w->s->block_q;
    w->rows = least(w->s->block_q, q_len - w->row0);
    if (w->rows < 0)
        w->rows = 0;
    w->sampled = allocate(w->s->block_q, sizeof *w->sampled);
    for (int64_t i = stride - 1; i < w->rows; i += stride)
        w->sampled[w->n_sampled++] = w->row0 + i;
    if (w->n_sampled == 0 && w->rows > 0)
        w->sampled[w->n_sampled++] = w->row0 + w->rows - 1;
}

/* Whether a key matters to any row of the block. */
static bool matters_to_any(const struct view *w, int64_t t)
{
    for (int64_t h = w->head0; h < w->head0 + w->heads; h++)
        for (int64_t i = w->row0; i < w->row0 + w->rows; i++)
            if (matters(w, h, i, t))
                return true;
    return false;
}

static void find_candidates(struct view *w)
{
    int64_t block = w->s->block_k;
    w->blocks = allocate(ceil_div(w->k_len, block), sizeof *w->blocks);
    for (int64_t t = 0; t < w->k_len; t++) {
        if (!matters_to_any(w, t))
            continue;
        if (w->n == 0 || w->blocks[w->n - 1] != t / block)
            w->blocks[w->n++] = t / block;
        w->end = (w->n - 1) * block + t % block + 1;
    }
}

static double key_score(const struct view *w, int64_t h, int64_t t, struct turn turn)
{
    struct top top = {false, 0};
    for (int64_t i = 0; i < w->n_sampled; i++)
        if (matters(w, w->head0 + h, w->sampled[i], t))
            raise_top(&top, dot(w, w->head0 + h, w->sampled[i], t, turn));
    return top_value(&top);
}

/* What S(t) may be off where products of 16 bits, which are exact, are summed in f32: a step adds 16 of them
 * to the sum so far and cuts off all 17 at 2^-23 of the largest, which is no larger than the sum of
 * magnitudes until then; that one grows evenly, as doc/numerics.md has it.  A chain of sums by fma is off by
 * half as much. */
static double key_error(const struct view *w, int64_t h, int64_t t)
{
    double most = 0;
    for (int64_t i = 0; i < w->n_sampled; i++) {
        double sum = 0;
        for (int64_t d = 0; d < w->p->dim; d++)
            sum += fabs(q_element(w, w->head0 + h, w->sampled[i], d) * k_element(w, w->head0 + h, t, d));
        most = fmax(most, sum);
    }
    return 17.0 * (double)(ceil_div(w->p->dim, 16) + 1) * 0x1p-24 * most;
}

static void find_errors(struct view *w)
{
    w->errors = allocate(w->heads * w->k_len, sizeof *w->errors);
    for (int64_t h = 0; h < w->heads; h++)
        for (int64_t t = 0; t < w->k_len; t++)
            w->errors[h * w->k_len + t] = key_error(w, h, t);
}

static void find_scores(struct view *w)
{
    w->scores = allocate(w->heads * w->k_len, sizeof *w->scores);
    for (int64_t h = 0; h < w->heads && w->s->rope == REF_ROPE_NONE; h++)
        for (int64_t t = 0; t < w->k_len; t++)
            w->scores[h * w->k_len + t] = key_score(w, h, t, no_turn);
}

static struct view open_view(const struct ref_problem *p, const struct ref_select *s, int64_t b,
                             int64_t scope, int64_t m, struct ref_trace *trace)
{
    struct view w = {
        .p = p, .s = s, .b = b, .scope = scope, .m = m, .k_len = ref_k_len(p, b), .trace = trace};
    find_heads(&w);
    find_rows(&w);
    find_candidates(&w);
    find_scores(&w);
    if (trace->judges)
        find_errors(&w);
    return w;
}

static void close_view(struct view *w)
{
    free(w->sampled);
    free(w->blocks);
    free(w->scores);
    free(w->errors);
}

/* S(t) of one head, and the cost of asking for it. */
static double ask(const struct view *w, int64_t h, int64_t t, struct turn turn)
{
    w->trace->dots += w->n_sampled;
    if (w->trace->probed)
        w->trace->probed[t] = 1;
    return w->s->rope == REF_ROPE_NONE ? w->scores[h * w->k_len + t] : key_score(w, h, t, turn);
}

/* The score of a block: of its sampled keys, for all heads of the scope. */
static double block_score(const struct view *w, int64_t candidate, struct turn turn)
{
    struct top top = {false, 0};
    int64_t first = w->blocks[candidate] * w->s->block_k, last = least(first + w->s->block_k, w->k_len);
    for (int64_t h = 0; h < w->heads; h++)
        for (int64_t t = first + w->s->stride_k - 1; t < last; t += w->s->stride_k)
            raise_top(&top, ask(w, h, t, turn));
    return top_value(&top);
}

static double block_error(const struct view *w, int64_t candidate)
{
    double most = 0;
    int64_t first = w->blocks[candidate] * w->s->block_k, last = least(first + w->s->block_k, w->k_len);
    for (int64_t h = 0; h < w->heads && w->errors; h++)
        for (int64_t t = first + w->s->stride_k - 1; t < last; t += w->s->stride_k)
            most = fmax(most, w->errors[h * w->k_len + t]);
    return most;
}

/* ---- methods: each writes the numbers of the candidates that it keeps, rising ---- */
struct node {
    int64_t start, size;
    bool right; /* half of a node that had two */
};

/* The halves of every node that is more than one block. */
static int64_t halve(const struct node *nodes, int64_t n, struct node *halves)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t left = nodes[i].size / 2;
        if (left > 0)
            halves[count++] = (struct node){nodes[i].start, left, false};
        halves[count++] = (struct node){nodes[i].start + left, nodes[i].size - left, left > 0};
    }
    return count;
}

static int64_t representative(const struct view *w, struct node node)
{
    int which = w->s->representative;
    return node.start + (which == REF_FIRST ? 0 : which == REF_CENTER ? node.size / 2 : node.size - 1);
}

static int64_t keep_nodes(const struct view *w, const struct node *halves, int64_t count, int64_t keep,
                          struct node *nodes)
{
    struct ranked *ranked = allocate(count, sizeof *ranked);
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++) {
        struct turn turn = {w->s->rope == REF_ROPE_RELATIVE ? halves[i].right : i, 2 * keep};
        ranked[i] = (struct ranked){block_score(w, representative(w, halves[i]), turn), i, false,
                                    block_error(w, representative(w, halves[i]))};
    }
    keep_best(ranked, count, keep);
    w->trace->close += w->errors && is_close(ranked, count);
    for (int64_t i = 0; i < count; i++)
        if (ranked[i].kept)
            nodes[n++] = halves[i];
    free(ranked);
    return n;
}

static int64_t tree_rounds(int64_t blocks, int64_t keep)
{
    int64_t largest = ceil_div(blocks, keep), rounds = 0;
    for (; largest > 1; largest = ceil_div(largest, 2))
        rounds++;
    return rounds;
}

static int64_t tree(const struct view *w, int64_t keep, int64_t *kept)
{
    struct node *nodes = allocate(keep, sizeof *nodes), *halves = allocate(2 * keep, sizeof *halves);
    for (int64_t i = 0; i < keep; i++)
        nodes[i] = (struct node){i * w->n / keep, (i + 1) * w->n / keep - i * w->n / keep, false};
    w->trace->rounds = tree_rounds(w->n, keep);
    for (int64_t round = 0; round < w->trace->rounds; round++)
        keep_nodes(w, halves, halve(nodes, keep, halves), keep, nodes);
    for (int64_t i = 0; i < keep; i++)
        kept[i] = nodes[i].start;
    free(nodes);
    free(halves);
    return keep;
}

static int64_t key_of_number(const struct view *w, int64_t number)
{
    return w->blocks[number / w->s->block_k] * w->s->block_k + number % w->s->block_k;
}

/* S of the key with this number among the candidates' keys. */
static double ask_number(const struct view *w, int64_t h, int64_t number, struct turn turn)
{
    int64_t t = key_of_number(w, number);
    return t < w->k_len ? ask(w, h, t, turn) : -INFINITY;
}

static double error_of_number(const struct view *w, int64_t h, int64_t number)
{
    int64_t t = key_of_number(w, number);
    return w->errors && t < w->k_len ? w->errors[h * w->k_len + t] : 0;
}

/* The largest score met on the way to one key of a chunk: the half whose middle is better is cut again. */
static double search_chunk(const struct view *w, int64_t h, int64_t left, int64_t right, struct turn turn,
                           double *error)
{
    struct top top = {false, 0};
    *error = error_of_number(w, h, left);
    struct turn of_right = turn;
    if (w->s->rope == REF_ROPE_RELATIVE) {
        turn.key = 0;
        of_right.key = 1;
    }
    if (right - left == 1)
        raise_top(&top, ask_number(w, h, left, turn));
    while (right - left > 1) {
        int64_t middle = (left + right) / 2;
        double a = ask_number(w, h, (left + middle) / 2, turn);
        double b = ask_number(w, h, (middle + right) / 2, of_right);
        double of_a = error_of_number(w, h, (left + middle) / 2),
               of_b = error_of_number(w, h, (middle + right) / 2);
        raise_top(&top, a);
        raise_top(&top, b);
        *error = fmax(*error, fmax(of_a, of_b));
        w->trace->close += w->errors && fmax(a, b) > -INFINITY && !(fabs(a - b) > of_a + of_b);
        if (is_above(b, a))
            left = middle;
        else
            right = middle;
    }
    return top_value(&top);
}

/* Keep the best chunks, of which all begin before w->end.  Returns how many. */
static int64_t keep_chunks(const struct view *w, int64_t *chunks, int64_t n, int64_t size, int64_t keep)
{
    if (n <= keep)
        return n;
    struct ranked *ranked = allocate(n, sizeof *ranked);
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        struct top top = {false, 0};
        double most = 0, error;
        for (int64_t h = 0; h < w->heads; h++) {
            raise_top(&top, search_chunk(w, h, chunks[i], least(chunks[i] + size, w->end),
                                         (struct turn){i, n}, &error));
            most = fmax(most, error);
        }
        ranked[i] = (struct ranked){top_value(&top), i, false, most};
    }
    keep_best(ranked, n, keep);
    w->trace->close += w->errors && is_close(ranked, n);
    for (int64_t i = 0; i < n; i++)
        if (ranked[i].kept)
            chunks[count++] = chunks[i];
    free(ranked);
    w->trace->rounds++;
    return count;
}

/* Cut chunks into smaller ones, from the last on, in place: there is room for all of the candidates' blocks.
 */
static int64_t cut_chunks(const struct view *w, int64_t *chunks, int64_t n, int64_t size, int64_t smaller)
{
    int64_t *cut = allocate(n * (size / smaller), sizeof *cut), count = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t at = chunks[i]; at < least(chunks[i] + size, w->end); at += smaller)
            cut[count++] = at;
    memcpy(chunks, cut, (size_t)count * sizeof *cut);
    free(cut);
    return count;
}

static void keep_stage(const struct view *w, int i, const int64_t *chunks, int64_t n)
{
    if (!w->stages)
        return;
    free(w->stages->chunks[i]);
    w->stages->chunks[i] = allocate(n, sizeof *chunks);
    memcpy(w->stages->chunks[i], chunks, (size_t)n * sizeof *chunks);
    w->stages->counts[i] = n;
}

/* What a stage begins with when it is the first. */
static int64_t begin_stage(const struct view *w, int64_t *chunks)
{
    int64_t n = w->start > 0 ? w->stages->counts[w->start] : 0, size = w->s->stages[0].chunk;
    if (w->start > 0)
        memcpy(chunks, w->stages->chunks[w->start], (size_t)n * sizeof *chunks);
    for (int64_t at = 0; w->start == 0 && at < w->end; at += size)
        chunks[n++] = at;
    return n;
}

static int64_t staged(const struct view *w, int64_t keep, int64_t *kept)
{
    int64_t *chunks = allocate(w->n, sizeof *chunks), n = begin_stage(w, chunks);
    for (int i = w->start; i < w->s->n_stages; i++) {
        int64_t size = w->s->stages[i].chunk;
        if (i > w->start)
            n = cut_chunks(w, chunks, n, w->s->stages[i - 1].chunk, size);
        keep_stage(w, i, chunks, n);
        n = keep_chunks(w, chunks, n, size, i == w->s->n_stages - 1 ? keep : w->s->stages[i].keep / size);
    }
    for (int64_t i = 0; i < n; i++)
        kept[i] = chunks[i] / w->s->block_k;
    free(chunks);
    return n;
}

/* Whether a row sees a key of a block that is not near it. */
static bool block_matters(const struct view *w, int64_t h, int64_t i, int64_t first, int64_t last)
{
    for (int64_t t = first; t < last; t++)
        if (matters(w, h, i, t))
            return true;
    return false;
}

/* The most that the dot product with any key between a block's minima and maxima can be.  The masks of rows
 * leave keys out, not the block's metadata: these are made once, when keys are appended. */
static double largest_possible(const struct view *w, int64_t h, int64_t i, int64_t first, int64_t last)
{
    double sum = 0;
    for (int64_t d = 0; d < w->p->dim; d++) {
        double low = k_element(w, h, first, d), high = low, q = signed_by(w->p->scale, q_element(w, h, i, d));
        for (int64_t t = first + 1; t < last; t++) {
            low = fmin(low, k_element(w, h, t, d));
            high = fmax(high, k_element(w, h, t, d));
        }
        sum = add_product(w->s->arithmetic, sum, q, q < 0 ? low : high);
    }
    return sum;
}

static double with_mean(const struct view *w, int64_t h, int64_t i, int64_t first, int64_t last)
{
    double sum = 0;
    for (int64_t d = 0; d < w->p->dim; d++) {
        double total = 0, part = 1.0 / (double)(last - first);
        for (int64_t t = first; t < last; t++)
            total = w->s->arithmetic == REF_DOUBLE ? total + k_element(w, h, t, d)
                                                   : (float)(total + k_element(w, h, t, d));
        double mean = w->s->arithmetic == REF_DOUBLE ? total * part : (float)((float)total * (float)part);
        sum = add_product(w->s->arithmetic, sum, q_element(w, h, i, d), mean);
    }
    return signed_by(w->p->scale, sum);
}

/* A block's score from what is known of it as a whole. */
static double summary_score(const struct view *w, int64_t candidate)
{
    struct top top = {false, 0};
    int64_t first = w->blocks[candidate] * w->s->block_k, last = least(first + w->s->block_k, w->k_len);
    for (int64_t h = w->head0; h < w->head0 + w->heads; h++)
        for (int64_t i = 0; i < w->n_sampled; i++)
            if (block_matters(w, h, w->sampled[i], first, last))
                raise_top(&top, (w->s->method == REF_MINMAX ? largest_possible
                                                            : with_mean)(w, h, w->sampled[i], first, last));
    return top_value(&top);
}

static double external_score(const struct view *w, int64_t candidate)
{
    int64_t q_blocks = ref_q_blocks(w->p, w->s), k_blocks = ref_k_blocks(w->p, w->s);
    int64_t row = (w->b * ref_scopes(w->p, w->s) + w->scope) * q_blocks + w->m;
    return w->s->scores[row * k_blocks + w->blocks[candidate]];
}

/* ---- budgets ---- */
/* How far a score is below the best, times a unit, as f32 has it. */
static float distance(double best, double score, double unit)
{
    volatile float difference = (float)best - (float)score;
    volatile float scaled = difference * (float)unit;
    return scaled;
}

uint64_t ref_block_mass(const struct ref_problem *p, double best, double score)
{
    uint64_t weight = 1 << 30;
    if (score == best || (isnan(score) && isnan(best)))
        return weight;
    float x = distance(best, score, fabs(p->scale) / log(2.0));
    if (isnan(score) || isnan(x) || x >= 30)
        return 1;
    double whole = floor(x), part = floor((x - whole) * 65536);
    for (int j = 1; j <= 16; j++) {
        double half = ldexp(1, 16 - j);
        if (part < half)
            continue;
        part -= half;
        weight = weight * (uint64_t)floor(ldexp(pow(2, -ldexp(1, -j)), 32)) / ((uint64_t)1 << 32);
    }
    weight >>= (int)whole;
    return weight > 0 ? weight : 1;
}

/* A share of a number, rounded up: both are below 2^62, and 2^32 is 1. */
static uint64_t share_of(double value, uint64_t whole)
{
    uint64_t share = (uint64_t)fmax(1, rint(ldexp(value, 32))), high = whole >> 32,
             low = (whole & UINT32_MAX) * share;
    return high * share + (low >> 32) + ((low & UINT32_MAX) > 0);
}

/* How many of n, in the order of their ranks. */
static int64_t count_of_budget(const struct view *w, const struct ranked *list, int64_t n, int64_t keep)
{
    uint64_t all = 0, mass = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        all += ref_block_mass(w->p, list[0].score, list[i].score);
    for (; count < least(n, keep); count++) {
        double score = list[count].score;
        if (w->s->budget_mode == REF_MASS && mass >= share_of(w->s->budget_value, all))
            break;
        if (w->s->budget_mode == REF_MARGIN &&
            !(score == list[0].score || (isnan(score) && isnan(list[0].score))) &&
            !(distance(list[0].score, score, fabs(w->p->scale)) <= (float)fmin(w->s->budget_value, FLT_MAX)))
            break;
        mass += ref_block_mass(w->p, list[0].score, score);
    }
    return count;
}

static int64_t best_of_all(const struct view *w, int64_t keep, int64_t *kept)
{
    struct ranked *ranked = allocate(w->n, sizeof *ranked);
    int64_t n = 0;
    for (int64_t j = 0; j < w->n; j++) {
        double score = w->s->method == REF_BEST             ? block_score(w, j, no_turn)
                       : w->s->method == REF_EXTERNAL_SCORE ? external_score(w, j)
                                                            : summary_score(w, j);
        ranked[j] = (struct ranked){score, j, false, 0};
    }
    qsort(ranked, (size_t)w->n, sizeof *ranked, by_rank);
    keep_best(ranked, w->n, count_of_budget(w, ranked, w->n, keep));
    for (int64_t j = 0; j < w->n; j++)
        if (ranked[j].kept)
            kept[n++] = j;
    free(ranked);
    return n;
}

static int64_t keep_all(const struct view *w, int64_t *kept)
{
    for (int64_t j = 0; j < w->n; j++)
        kept[j] = j;
    return w->n;
}

static int64_t keep_some(const struct view *w, int64_t *kept)
{
    int64_t keep = ceil_div(w->s->budget, w->s->block_k),
            own = w->s->budgets ? w->s->budgets[w->scope] : w->s->budget;
    keep = least(keep, own > 0 ? ceil_div(own, w->s->block_k) : 0);
    if (w->s->budget_mode == REF_RATIO)
        keep = least(keep, (int64_t)share_of(w->s->budget_value, (uint64_t)w->n));
    if (w->s->method == REF_STREAMING || keep == 0)
        return 0;
    if (w->n <= keep && (w->s->budget_mode == REF_TOP_K || w->s->budget_mode == REF_RATIO))
        return keep_all(w, kept);
    if (w->s->method == REF_TREE)
        return tree(w, keep, kept);
    return w->s->method == REF_STAGED ? staged(w, keep, kept) : best_of_all(w, keep, kept);
}

int64_t ref_select(const struct ref_problem *p, const struct ref_select *s, int64_t b, int64_t scope,
                   int64_t m, int32_t *ids, struct ref_trace *trace)
{
    struct ref_trace unwanted = {0};
    struct view w = open_view(p, s, b, scope, m, trace ? trace : &unwanted);
    int64_t *kept = allocate(w.n, sizeof *kept), n = keep_some(&w, kept);
    w.trace->candidates = w.n;
    for (int64_t j = 0; j < n; j++)
        ids[j] = (int32_t)w.blocks[kept[j]];
    free(kept);
    close_view(&w);
    return n;
}

/* A view's candidates go to what is kept, or come from it. */
static void keep_candidates(struct view *w)
{
    struct ref_stages *stages = w->stages;
    int64_t **from = w->start > 0 ? &stages->blocks : &w->blocks,
            **to = w->start > 0 ? &w->blocks : &stages->blocks;
    if (w->start > 0) {
        w->n = stages->n;
        w->end = stages->end;
    }
    stages->n = w->n;
    stages->end = w->end;
    free(*to);
    *to = allocate(w->n, sizeof **to);
    memcpy(*to, *from, (size_t)w->n * sizeof **to);
}

int64_t ref_select_from(const struct ref_problem *p, const struct ref_select *s, int64_t b, int64_t scope,
                        int64_t m, int start, struct ref_stages *stages, int32_t *ids)
{
    struct ref_trace unwanted = {0};
    struct view w = open_view(p, s, b, scope, m, &unwanted);
    w.start = start;
    w.stages = stages;
    keep_candidates(&w);
    int64_t *kept = allocate(w.n, sizeof *kept), n = keep_some(&w, kept);
    for (int64_t j = 0; j < n; j++)
        ids[j] = (int32_t)w.blocks[kept[j]];
    free(kept);
    close_view(&w);
    return n;
}

void ref_stages_free(struct ref_stages *stages)
{
    free(stages->blocks);
    for (int i = 0; i < REF_MAX_STAGES; i++)
        free(stages->chunks[i]);
}

int64_t ref_block_scores(const struct ref_problem *p, const struct ref_select *s, int64_t b, int64_t scope,
                         int64_t m, int32_t *blocks, double *scores)
{
    struct ref_trace unwanted = {0};
    struct view w = open_view(p, s, b, scope, m, &unwanted);
    int64_t n = w.n;
    for (int64_t j = 0; j < n; j++) {
        blocks[j] = (int32_t)w.blocks[j];
        scores[j] = block_score(&w, j, no_turn);
    }
    close_view(&w);
    return n;
}

/* The largest candidate after the first halving has `size` blocks; in any round j lies in one no larger,
 * whose representative is at most `before` or `after` away.  Representatives of different nodes are different
 * blocks, so at most as many rank before it as there are blocks no worse than the worst it may have. */
bool ref_certified(const double *scores, int64_t n, int64_t keep, int representative, int64_t j)
{
    int64_t size = ceil_div(ceil_div(n, keep), 2), no_worse = 0;
    int64_t before = representative == REF_FIRST ? size - 1 : representative == REF_CENTER ? size / 2 : 0;
    int64_t after = representative == REF_FIRST ? 0 : representative == REF_CENTER ? size / 2 : size - 1;
    double worst = scores[j];
    for (int64_t i = j - before; i <= j + after; i++)
        if (i >= 0 && i < n && is_above(worst, scores[i]))
            worst = scores[i];
    for (int64_t i = 0; i < n; i++)
        no_worse += !is_above(worst, scores[i]);
    return no_worse <= keep;
}

/* ---- certificates ---- */
/* The largest sum_d |q_d| max |k_d| of the sampled rows, over all keys. */
static double largest_magnitude(const struct view *w)
{
    double most = 0;
    for (int64_t h = w->head0; h < w->head0 + w->heads; h++)
        for (int64_t i = 0; i < w->n_sampled; i++) {
            double sum = 0;
            for (int64_t d = 0; d < w->p->dim; d++) {
                double largest = 0;
                for (int64_t t = 0; t < w->k_len; t++)
                    largest = fmax(largest, fabs(k_element(w, h, t, d)));
                sum += fabs(q_element(w, h, w->sampled[i], d)) * largest;
            }
            most = fmax(most, sum);
        }
    return most;
}

static double largest_product(const struct view *w, int64_t candidate)
{
    struct top top = {false, 0};
    int64_t first = w->blocks[candidate] * w->s->block_k, last = least(first + w->s->block_k, w->k_len);
    for (int64_t h = 0; h < w->heads; h++)
        for (int64_t t = first; t < last; t++)
            raise_top(&top, w->scores[h * w->k_len + t]);
    return top_value(&top);
}

static bool is_listed(const int32_t *ids, int64_t count, int64_t block)
{
    for (int64_t j = 0; j < count; j++)
        if (ids[j] == block)
            return true;
    return false;
}

struct ref_proof ref_proof_of(const struct ref_problem *p, const struct ref_select *s, int64_t b,
                              int64_t scope, int64_t m, const int32_t *ids, int64_t count, double *products)
{
    struct ref_trace unwanted = {0};
    struct ref_select exact = *s;
    exact.arithmetic = REF_DOUBLE;
    exact.method = REF_MINMAX;
    struct view w = open_view(p, &exact, b, scope, m, &unwanted);
    struct ref_proof proof = {-INFINITY, -INFINITY, largest_magnitude(&w)};
    for (int64_t j = 0; j < w.n; j++) {
        double product = largest_product(&w, j);
        if (is_listed(ids, count, w.blocks[j])) {
            *products++ = product;
            continue;
        }
        proof.left = fmax(proof.left, product);
        proof.bound = fmax(proof.bound, summary_score(&w, j));
    }
    close_view(&w);
    return proof;
}

/* ---- all lists ---- */
int64_t ref_list_at(const struct ref_list *list, int64_t b, int64_t scope, int64_t m)
{
    return (b * list->scopes + scope) * list->q_blocks + m;
}

struct ref_list ref_list_open(const struct ref_problem *p, const struct ref_select *s)
{
    struct ref_list list = {p->batch, ref_scopes(p, s), ref_q_blocks(p, s), ref_capacity(p, s), NULL, NULL};
    const int64_t lists = ref_list_count(&list);
    list.counts = allocate(lists, sizeof *list.counts);
    list.ids = allocate(lists * list.capacity, sizeof *list.ids);
    for (int64_t i = 0; i < lists * list.capacity; i++)
        list.ids[i] = -1;
    return list;
}

int64_t ref_list_count(const struct ref_list *list)
{
    return list->batch * list->scopes * list->q_blocks;
}

void ref_list_fill(const struct ref_problem *p, const struct ref_select *s, const struct ref_list *list,
                   int64_t r, struct ref_trace *trace)
{
    const int64_t pair = r / list->q_blocks;
    list->counts[r] = (int32_t)ref_select(p, s, pair / list->scopes, pair % list->scopes, r % list->q_blocks,
                                          list->ids + r * list->capacity, trace);
}

struct ref_list ref_list_make(const struct ref_problem *p, const struct ref_select *s)
{
    const struct ref_list list = ref_list_open(p, s);
    for (int64_t r = 0; r < ref_list_count(&list); r++)
        ref_list_fill(p, s, &list, r, NULL);
    return list;
}

bool ref_list_is_close(const struct ref_problem *p, const struct ref_select *s, const struct ref_list *list,
                       int64_t r)
{
    struct ref_trace trace = {.judges = true};
    ref_list_fill(p, s, list, r, &trace);
    return trace.close > 0;
}

void ref_list_free(struct ref_list *list)
{
    free(list->counts);
    free(list->ids);
}

/* ---- attention over what is kept ---- */
bool ref_near(const struct ref_select *s, const struct ref_point *at)
{
    return at->k < s->sink || llabs(at->q - at->k) < s->window || at->k_len < s->dense_below;
}

void ref_kept_pairs(const struct ref_problem *p, const struct ref_select *s, const struct ref_list *list,
                    int64_t b, int64_t h, int64_t i, struct ref_pair *pairs)
{
    int64_t at = ref_list_at(list, b, h / (p->heads / list->scopes), i / s->block_q);
    ref_pairs(p, b, h, i, pairs);
    for (int64_t k = 0; k < ref_k_len(p, b); k++) {
        struct ref_point point = ref_point_of(p, b, h, i, k);
        if (!ref_near(s, &point) &&
            !is_listed(list->ids + at * list->capacity, list->counts[at], k / s->block_k))
            pairs[k] = (struct ref_pair){false, 0, 0, 0};
    }
}

double ref_kept_mass(const struct ref_problem *p, const struct ref_select *s, const struct ref_list *list,
                     int64_t b, int64_t h, int64_t i)
{
    struct ref_pair *pairs = allocate(ref_k_len(p, b), sizeof *pairs);
    double *o = allocate(p->dim_v, sizeof *o), all, kept;
    ref_row(p, b, h, i, NULL, o, &all);
    ref_kept_pairs(p, s, list, b, h, i, pairs);
    ref_row(p, b, h, i, pairs, o, &kept);
    free(pairs);
    free(o);
    return all == -INFINITY ? 1 : exp(kept - all);
}
