/* SPDX-License-Identifier: MIT
 * mechanism.c - attention as papers name it: one table, one row a mechanism, and what writes a row into a
 * problem. */
#include "attention/attention.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WHOLE(word, number) {word, CLATTN_I32, 0, number}
#define REAL(word, number) {word, CLATTN_F32, 0, number}

static const clattn_mechanism mechanisms[] = {
    /* the plain ones */
    {.name = "full", .title = "bidirectional attention", .paper = "1810.04805", .mask = "full",
     .note = "Hide padding: CLATTN_KEY_LENGTHS, or valid() and kept()."},
    {.name = "causal", .title = "causal attention", .paper = "1706.03762", .mask = "causal",
     .corner = CLATTN_BOTTOM_RIGHT,
     .note = "The corner matters as soon as there are fewer queries than keys."},
    {.name = "prefix", .title = "prefix attention, one length a batch entry", .paper = "1910.10683",
     .mask = "prefix_each(n)", .arrays = "n=i32[b]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "Keys of the prefix depend on all of it: a cache of a shorter prefix cannot be reused."},
    {.name = "sliding_window", .title = "causal sliding window", .paper = "2310.06825",
     .mask = "causal & window(width)", .scalars = {WHOLE("width", 4096)}, .n_scalars = 1,
     .corner = CLATTN_BOTTOM_RIGHT, .note = "The width counts the query's own key."},
    {.name = "dilated_window", .title = "causal dilated window", .paper = "2004.05150",
     .mask = "causal & dilated(width, step)", .scalars = {WHOLE("width", 64), WHOLE("step", 2)},
     .n_scalars = 2, .corner = CLATTN_BOTTOM_RIGHT,
     .note = "The width counts keys seen, so the window spans width * step positions; the defaults are of no paper."},
    {.name = "documents", .title = "several causal texts in one sequence", .paper = "2107.02027",
     .mask = "causal & documents(doc)", .arrays = "doc=i32[b,k]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "Positions for rotary or learned embeddings begin anew in each text; the mask does not see to that."},
    {.name = "image_spans", .title = "images seen whole inside a causal text", .paper = "2408.11039",
     .mask = "image_spans(span)", .arrays = "span=i32[b,k]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "Two images side by side need different numbers; text has one below 0."},
    {.name = "soft_cap", .title = "scores bounded by a cap", .paper = "2408.00118", .score = "soft_cap(cap)",
     .scalars = {REAL("cap", 50)}, .n_scalars = 1,
     .note = "The cap comes before the mask and after the scale."},
    {.name = "alibi", .title = "a penalty by distance", .paper = "2108.12409", .mask = "causal",
     .score = "alibi(slope)", .arrays = "slope=f32[h]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "clattn_alibi_slopes; for heads that are no power of two they are not a geometric series."},
    {.name = "t5_encoder", .title = "T5, mT5, SAP: encoder self-attention", .paper = "1910.10683", .mask = "full",
     .score = "bucketed(bias, bucket, 128)", .scale = 1, .arrays = "bias=f32[h,32] bucket=i32[257]",
     .corner = CLATTN_BOTTOM_RIGHT,
     .note = "Scores are not divided by sqrt(dim); clattn_t5_buckets(bucket, 128, 1), one bias for all layers."},
    {.name = "t5_decoder", .title = "T5, mT5, SAP: decoder self-attention", .paper = "1910.10683", .mask = "causal",
     .score = "bucketed(bias, bucket, 128)", .scale = 1, .arrays = "bias=f32[h,32] bucket=i32[257]",
     .corner = CLATTN_BOTTOM_RIGHT,
     .note = "Scores are not divided by sqrt(dim); clattn_t5_buckets(bucket, 128, 0), another bias than the "
             "encoder's."},
    {.name = "t5_cross", .title = "T5, mT5, SAP: cross attention", .paper = "1910.10683", .mask = "full", .scale = 1,
     .note = "Neither a bias nor a division by sqrt(dim)."},
    /* masks */
    {.name = "croc", .title = "Croc: mixed attention of the paper", .paper = "2410.14332", .mask = "image_spans(span)",
     .arrays = "span=i32[b,k]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "For the comprehension stage only; fine-tuning and inference are causal."},
    {.name = "croc_released", .title = "Croc: the released code's prefix", .paper = "2410.14332",
     .mask = "k < prompt[b] | k <= q & keep[b, k]", .arrays = "prompt=i32[b] keep=bits[b,k]",
     .corner = CLATTN_BOTTOM_RIGHT,
     .note = "Everything before the first label is seen by all, the question too, and padding there is not hidden."},
    {.name = "ee_mllm", .title = "EE-MLLM: composite attention", .paper = "2408.11795",
     .mask = "image[b, q] ? k == q : k <= q", .arrays = "image=bits[b,k]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "An image token sees itself alone (its output is its value) and text sees images, not the other way "
             "round."},
    {.name = "aki", .title = "AKI: modality-mutual attention, one image", .paper = "2503.02597",
     .mask = "k <= q | bounds[b, 0] <= q & q < bounds[b, 1] & bounds[b, 1] <= k & k < bounds[b, 2]",
     .arrays = "bounds=i32[b,3]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "bounds: first image token, one past the last, one past the question and the answer's marker; no loss on "
             "question tokens, they leak."},
    {.name = "aki_roles", .title = "AKI: modality-mutual attention by roles", .paper = "2503.02597",
     .mask = "k <= q | k < answer[b] & reads[role[b, q], role[b, k]]",
     .arrays = "answer=i32[b] role=i8[b,k] reads=bits[8,8]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "answer: where the current answer begins, else it leaks into the input; earlier answers need a role "
             "that no other reads."},
    {.name = "bico_denoise", .title = "BICO: denoising mode", .paper = "2311.07468", .mask = "kept(keep)",
     .arrays = "keep=bits[b,k]",
     .note = "keep: neither padding nor masked; a masked token's query still runs, and does not see its own key."},
    {.name = "bico_ntp", .title = "BICO: next-token mode", .paper = "2311.07468", .mask = "causal & kept(keep)",
     .arrays = "keep=bits[b,k]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "The whole batch is in one mode; padding is on the left, so its rows see nothing and give 0."},
    {.name = "gbc_self", .title = "graph-based captioning: self-attention in a caption", .paper = "2407.06723",
     .mask = "spans(caption)", .arrays = "caption=i32[b,k]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "Padding has a caption below 0."},
    {.name = "gbc_self_causal", .title = "graph-based captioning: causal self-attention in a caption",
     .paper = "2407.06723", .mask = "spans(caption) & causal", .arrays = "caption=i32[b,k]",
     .corner = CLATTN_BOTTOM_RIGHT, .note = "For text models that are causal, as CLIP's."},
    {.name = "gbc_cross", .title = "graph-based captioning: tokens to a child caption", .paper = "2407.06723",
     .mask = "covered[b, q] & keep[b, k]", .arrays = "covered=bits[b,q] keep=bits[b,k]",
     .corner = CLATTN_TOP_LEFT,
     .note = "A batch entry is an edge, once; a token's results are summed and divided by max(1, edges that cover "
             "it), not min."},
    {.name = "pyramid_ernie", .title = "Pyramid-ERNIE: two texts apart in the lower layers", .paper = "2105.11108",
     .mask = "layer >= low | documents(part)", .arrays = "part=i32[b,k]",
     .scalars = {WHOLE("layer", 0), WHOLE("low", 9)}, .n_scalars = 2, .corner = CLATTN_BOTTOM_RIGHT,
     .note = "layer is counted from 0, and low is not known from the paper; lower layers are cheaper as two packed "
             "sequences."},
    {.name = "croco_self", .title = "CroCo: decoder self-attention", .paper = "2210.10716", .mask = "full",
     .note = "The encoder's masked patches are left out of its sequence, not hidden."},
    {.name = "croco_cross", .title = "CroCo: decoder cross attention", .paper = "2210.10716", .mask = "full",
     .note = "Every block reads the same features of the second image."},
    {.name = "bert4rec", .title = "BERT4Rec", .paper = "1904.06690", .mask = "kept(keep)", .arrays = "keep=bits[b,k]",
     .note = "Only padding is hidden, [MASK] is not; hidden is hidden, where the reference adds -10000."},
    {.name = "bpdec", .title = "DrBERT, BPDec: [MASK] opened layer by layer", .paper = "2401.15861",
     .mask = "k == q | order[b, k] < opened[b]", .arrays = "order=i32[b,k] opened=i32[b]",
     .corner = CLATTN_BOTTOM_RIGHT,
     .note = "order: a [MASK] token's rank, -1 for any other; opened: how many are open in this layer, never fewer in "
             "a later one."},
    {.name = "xlnet_content", .title = "permutation order, content stream", .paper = "1906.08237",
     .mask = "ranks(rank)", .arrays = "rank=i32[b,k]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "The content stream sees its own token."},
    {.name = "xlnet_query", .title = "permutation order, query stream", .paper = "1906.08237",
     .mask = "earlier_ranks(rank)", .arrays = "rank=i32[b,k]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "The first of the order sees nothing and gives 0."},
    {.name = "cab_ns", .title = "CAB: noncausal self", .paper = "2210.07661", .mask = "full",
     .note = "The same operator as full."},
    {.name = "cab_cs", .title = "CAB: causal self", .paper = "2210.07661", .mask = "causal",
     .corner = CLATTN_BOTTOM_RIGHT, .note = "The same operator as causal."},
    {.name = "cab_nc", .title = "CAB: noncausal cross", .paper = "2210.07661", .mask = "full",
     .note = "The same operator as full."},
    {.name = "cab_cc", .title = "CAB: causal cross", .paper = "2210.07661", .mask = "full",
     .note = "Causal is said of the queries: every key is seen, and what mixes no queries satisfies it."},
    /* weights */
    {.name = "lssa_causal", .title = "LSSA: length-scaled softplus attention, causal", .paper = "2501.13428",
     .mask = "causal", .score = "log_length", .weight = "softplus(score)", .scale = CLATTN_LOG_DIM_SCALE,
     .normaliser = CLATTN_L1, .corner = CLATTN_BOTTOM_RIGHT,
     .note = "The caller brings q and k of length 1; only where row q sees q + 1 keys, so without padding on the "
             "left."},
    {.name = "lssa", .title = "LSSA: length-scaled softplus attention under any mask", .paper = "2501.13428",
     .score = "score * log(float(seen[b, q]))", .weight = "softplus(score)", .scale = CLATTN_LOG_DIM_SCALE,
     .normaliser = CLATTN_L1, .arrays = "seen=i32[b,q]", .corner = CLATTN_BOTTOM_RIGHT,
     .note = "The caller brings q and k of length 1, and in seen how many keys each row sees."},
    {.name = "relu_count", .title = "active-dormant heads: ReLU attention", .paper = "2410.13835", .mask = "causal",
     .weight = "relu(score)", .normaliser = CLATTN_COUNT, .corner = CLATTN_BOTTOM_RIGHT,
     .note = "Divided by how many keys are visible, those of weight 0 among them; rows do not sum to 1."},
    {.name = "imbalanced", .title = "fixing imbalanced attention: louder image tokens in the last row",
     .paper = "2501.12206", .mask = "causal",
     .score = "q != k_len - 1 ? score : kind[b, k] == 1 ? score + alpha * abs(score) : "
              "kind[b, k] == 2 ? score + beta * abs(score) : score",
     .arrays = "kind=i8[b,k]", .scalars = {REAL("alpha", 0.7), REAL("beta", 0.3)}, .n_scalars = 2,
     .corner = CLATTN_BOTTOM_RIGHT,
     .note = "kind: 1 local, 2 summary, else neither; negative scores rise too; layers 0 and 1 stay causal."},
};

static const char *text_or_none(const char *text)
{
    return text ? text : "";
}

clattn_status clattn_mechanism_describe(size_t index, clattn_mechanism *mechanism)
{
    if (!mechanism)
        return CLATTN_NULL_ARGUMENT;
    if (mechanism->size != sizeof *mechanism)
        return CLATTN_BAD_STRUCT_SIZE;
    if (index >= CLATTN__LEN(mechanisms))
        return CLATTN_BAD_COUNT;
    *mechanism = mechanisms[index];
    mechanism->size = sizeof *mechanism;
    mechanism->mask = text_or_none(mechanism->mask);
    mechanism->score = text_or_none(mechanism->score);
    mechanism->weight = text_or_none(mechanism->weight);
    mechanism->arrays = text_or_none(mechanism->arrays);
    return CLATTN_OK;
}

/* ---- names ---- */
static bool has_scalar(const clattn_attention *a, const char *name)
{
    for (int i = 0; i < a->n_scalars; i++)
        if (!strncmp(a->scalars[i].name, name, CLATTN_NAME_SIZE))
            return true;
    return false;
}

static bool has_array(const clattn_attention *a, const char *name)
{
    for (int i = 0; i < a->n_arrays; i++)
        if (!strncmp(a->arrays[i].name, name, CLATTN_NAME_SIZE))
            return true;
    return false;
}

static clattn_status declare_scalar(clattn_attention *a, const clattn_scalar *scalar)
{
    if (has_array(a, scalar->name))
        return CLATTN_DUPLICATE_NAME;
    if (has_scalar(a, scalar->name))
        return CLATTN_OK;
    if (a->n_scalars >= CLATTN_MAX_SCALARS)
        return CLATTN_BAD_COUNT;
    a->scalars[a->n_scalars++] = *scalar;
    return CLATTN_OK;
}

static clattn_status declare_array(clattn_attention *a, const clattn_array *array)
{
    if (has_scalar(a, array->name))
        return CLATTN_DUPLICATE_NAME;
    if (has_array(a, array->name))
        return CLATTN_OK;
    if (a->n_arrays >= CLATTN_MAX_ARRAYS)
        return CLATTN_BAD_COUNT;
    a->arrays[a->n_arrays++] = *array;
    return CLATTN_OK;
}

/* A letter or a number of the table's text.  Queries stand at positions 0 to kv_len - 1 when the last has the
 * last key's. */
static int64_t read_dimension(const clattn_attention *a, const char **at)
{
    static const char letters[] = "bhgqk";
    const int64_t q = a->pattern.corner == CLATTN_BOTTOM_RIGHT ? a->kv_len : a->q_len;
    const int64_t sizes[] = {a->batch, a->heads, a->kv_heads, q, a->kv_len};
    const char *letter = strchr(letters, **at);
    int64_t size = 0;
    if (letter) {
        size = sizes[letter - letters];
        ++*at;
    }
    for (; !letter && **at >= '0' && **at <= '9'; ++*at)
        size = 10 * size + (**at - '0');
    return size > 0 ? size : 1;
}

/* Read one "name=type[dimensions]" of the table; returns what follows it and a blank. */
static const char *read_array(const clattn_attention *a, const char *text, clattn_array *array)
{
    static const char *const types[] = {"f32", "f16", "bf16", "i32", "i8", "bits"};
    const char *type = strchr(text, '=') + 1, *at = strchr(type, '[');
    memset(array, 0, sizeof *array);
    snprintf(array->name, sizeof array->name, "%.*s", (int)(type - 1 - text), text);
    while (strncmp(types[array->type], type, (size_t)(at - type)))
        array->type++;
    do {
        at++;
        array->dims[array->n_dims++] = read_dimension(a, &at);
    } while (*at == ',');
    at++;
    return at + strspn(at, " ");
}

static clattn_status declare_names(clattn_attention *a, const clattn_mechanism *m)
{
    clattn_status status = CLATTN_OK;
    for (int i = 0; !status && i < m->n_scalars; i++)
        status = declare_scalar(a, &m->scalars[i]);
    for (const char *p = text_or_none(m->arrays); !status && *p;) {
        clattn_array array;
        p = read_array(a, p, &array);
        status = declare_array(a, &array);
    }
    return status;
}

/* ---- into a problem ---- */
static clattn_status write_rules(clattn_attention *a, const clattn_mechanism *m)
{
    int32_t corner = a->pattern.corner ? a->pattern.corner : m->corner;
    if (m->scale == CLATTN_LOG_DIM_SCALE && a->dim <= 1)
        return CLATTN_BAD_DIM;
    if (m->mask)
        a->pattern = clattn_mask(m->mask, (clattn_corner)corner);
    a->pattern.corner = corner;
    if (m->score)
        a->score = clattn_score(m->score);
    if (m->weight)
        a->weight = clattn_weight(m->weight);
    if (m->normaliser)
        a->normaliser = m->normaliser;
    if (m->scale != CLATTN_DEFAULT_SCALE)
        a->scale = m->scale == CLATTN_LOG_DIM_SCALE ? log((double)a->dim) : m->scale;
    return CLATTN_OK;
}

static const clattn_mechanism *find_mechanism(const char *name)
{
    for (size_t i = 0; i < CLATTN__LEN(mechanisms); i++)
        if (!strcmp(mechanisms[i].name, name))
            return &mechanisms[i];
    return NULL;
}

static void explain(clattn_status status, const char *name, char *message, size_t size)
{
    struct clattn__text text = clattn__text_into(message, size);
    clattn__text_add(&text, "%s: %s", clattn_status_text(status), name);
    for (size_t i = 0; status == CLATTN_UNKNOWN_MECHANISM && i < CLATTN__LEN(mechanisms); i++)
        clattn__text_add(&text, "%s%s", i ? ", " : "; there are ", mechanisms[i].name);
}

clattn_status clattn_mechanism_apply(clattn_attention *problem, const char *name, char *message, size_t size)
{
    if (message && size)
        message[0] = 0;
    if (!problem || !name)
        return CLATTN_NULL_ARGUMENT;
    if (problem->size != sizeof *problem)
        return CLATTN_BAD_STRUCT_SIZE;
    const clattn_mechanism *m = find_mechanism(name);
    clattn_attention a = *problem;
    clattn_status status = m ? write_rules(&a, m) : CLATTN_UNKNOWN_MECHANISM;
    if (!status && (a.n_scalars < 0 || a.n_scalars > CLATTN_MAX_SCALARS || a.n_arrays < 0 ||
                    a.n_arrays > CLATTN_MAX_ARRAYS))
        status = CLATTN_BAD_COUNT;
    if (!status)
        status = declare_names(&a, m);
    if (!status)
        *problem = a;
    else if (message && size)
        explain(status, name, message, size);
    return status;
}

/* ---- what fills their arrays ---- */
/* Half of the buckets hold one distance each; these are the first distances of the others.  Thresholds,
 * because logarithms round differently on different machines. */
static const int32_t far_both_ways[] = {8, 12, 16, 23, 32, 46, 64, 91};
static const int32_t far_back[] = {16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113};

static int32_t bucket_of(int64_t distance, const int32_t *far, size_t count)
{
    size_t passed = 0;
    while (passed < count && far[passed] <= distance)
        passed++;
    return (int32_t)(passed ? count + passed - 1 : (size_t)distance);
}

clattn_status clattn_t5_buckets(int32_t *table, int64_t n, int bidirectional)
{
    if (!table)
        return CLATTN_NULL_ARGUMENT;
    if (n < 0 || n > INT32_MAX / 2)
        return CLATTN_BAD_COUNT;
    for (int64_t r = -n; r <= n; r++)
        if (bidirectional)
            table[r + n] =
                bucket_of(r < 0 ? -r : r, far_both_ways, CLATTN__LEN(far_both_ways)) + (r > 0 ? 16 : 0);
        else
            table[r + n] = bucket_of(r < 0 ? -r : 0, far_back, CLATTN__LEN(far_back));
    return CLATTN_OK;
}

clattn_status clattn_alibi_slopes(float *slopes, int64_t heads)
{
    int64_t power = 1;
    if (!slopes)
        return CLATTN_NULL_ARGUMENT;
    if (heads < 1 || heads > 65536)
        return CLATTN_BAD_HEADS;
    while (2 * power <= heads)
        power *= 2;
    for (int64_t i = 0; i < heads; i++)
        slopes[i] = (float)(i < power ? exp2(-8.0 * (double)(i + 1) / (double)power)
                                      : exp2(-4.0 * (double)(2 * (i - power) + 1) / (double)power));
    return CLATTN_OK;
}
