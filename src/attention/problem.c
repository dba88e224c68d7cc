/* SPDX-License-Identifier: MIT
 * problem.c - the problem language: fields between colons, each a letter or word with its numbers.
 *
 *     attn : TYPES : bB : hH[/KV] : qN : kN : dD[/DV] : PATTERN : options
 *     TYPES    f32 | f16 | bf16, one; two, inputs-output; or four, q-k-v-o
 *     PATTERN  words joined by '-': full causal prefixN windowN aroundN, and the corner tl or br; all must
 *              hold, save that a prefix is seen beside what causal shows
 *     options  lse  packed  keylens  strict  count  splits=N  engine=NAME  layout=bhtd|bthd  scale=X
 *              qtotal=N  ktotal=N */
#include "attention/attention.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- parsing ---- */
struct reader {
    const char *text; /* the whole, for columns */
    char *message;
    size_t size;
    bool bthd;
};

static clattn_status syntax(const struct reader *r, const char *at, const char *wanted)
{
    if (r->message && r->size)
        snprintf(r->message, r->size, "%s: column %d: expected %s", clattn_status_text(CLATTN_PROBLEM_SYNTAX),
                 (int)(at - r->text) + 1, wanted);
    return CLATTN_PROBLEM_SYNTAX;
}

/* Read digits; false if there are none or too many. */
static bool read_number(const char **at, int64_t *value)
{
    const char *p = *at;
    int64_t v = 0;
    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (v > INT64_MAX / 10 - 10)
            return false;
        v = v * 10 + (*p - '0');
    }
    *value = v;
    *at = p;
    return true;
}

static bool read_word(const char **at, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*at, word, n))
        return false;
    *at += n;
    return true;
}

static bool at_end(const char *at)
{
    return *at == 0 || *at == ':';
}

static const char *const type_words[] = {"f32", "f16", "bf16"};

static clattn_status read_types(const struct reader *r, const char **at, clattn_attention *a)
{
    int32_t types[4];
    int n = 0;
    do {
        int t = 0;
        while (t < 3 && !read_word(at, type_words[t]))
            t++;
        if (t == 3 || n == 4)
            return syntax(r, *at, "f32, f16 or bf16; one type, two (inputs-output) or four (q-k-v-o)");
        types[n++] = t;
    } while (read_word(at, "-"));
    if (n == 3)
        return syntax(r, *at, "one type, two (inputs-output) or four (q-k-v-o)");
    a->type_q = types[0];
    a->type_k = n == 4 ? types[1] : types[0];
    a->type_v = n == 4 ? types[2] : types[0];
    a->type_o = types[n - 1];
    return CLATTN_OK;
}

/* One of b, h, q, k, d with its numbers.  false: the field is something else. */
static bool read_size(const char **at, clattn_attention *a)
{
    const char *p = *at;
    char letter = *p;
    int64_t first, second;
    if (letter == 0 || (p++, !read_number(&p, &first))) /* a text may end here */
        return false;
    second = first;
    if ((letter == 'h' || letter == 'd') && *p == '/') {
        p++;
        if (!read_number(&p, &second))
            return false;
    }
    if (!at_end(p))
        return false;
    if (letter == 'b')
        a->batch = first;
    else if (letter == 'h')
        a->heads = first, a->kv_heads = second;
    else if (letter == 'q')
        a->q_len = first;
    else if (letter == 'k')
        a->kv_len = first;
    else if (letter == 'd')
        a->dim = first, a->dim_v = second;
    else
        return false;
    *at = p;
    return true;
}

struct pattern_words {
    bool causal, prefix, window, around;
    int64_t prefix_keys, window_keys, around_keys;
    clattn_corner corner;
};

static bool read_pattern_word(const char **at, struct pattern_words *words)
{
    if (read_word(at, "full"))
        return true;
    if (read_word(at, "causal"))
        return words->causal = true;
    if (read_word(at, "tl"))
        return words->corner = CLATTN_TOP_LEFT, true;
    if (read_word(at, "br"))
        return words->corner = CLATTN_BOTTOM_RIGHT, true;
    if (read_word(at, "prefix"))
        return words->prefix = read_number(at, &words->prefix_keys);
    if (read_word(at, "window"))
        return words->window = read_number(at, &words->window_keys);
    if (read_word(at, "around"))
        return words->around = read_number(at, &words->around_keys);
    return false;
}

static clattn_pattern pattern_of(const struct pattern_words *words)
{
    clattn_pattern pattern = clattn_full();
    if (words->prefix)
        pattern = clattn_prefix((int32_t)words->prefix_keys, words->corner);
    else if (words->causal)
        pattern = clattn_causal(words->corner);
    if (words->window)
        pattern = clattn_both(pattern, clattn_window((int32_t)words->window_keys, 0, words->corner));
    if (words->around)
        pattern = clattn_both(pattern, clattn_window((int32_t)words->around_keys, 1, words->corner));
    return pattern;
}

static bool read_pattern(const char **at, clattn_attention *a)
{
    struct pattern_words words = {.corner = CLATTN_NO_CORNER};
    const char *p = *at;
    do {
        if (!read_pattern_word(&p, &words))
            return false;
    } while (read_word(&p, "-"));
    if (!at_end(p) || words.prefix_keys > INT32_MAX || words.window_keys > INT32_MAX ||
        words.around_keys > INT32_MAX)
        return false;
    a->pattern = pattern_of(&words);
    *at = p;
    return true;
}

/* A decimal fraction, or '#' and the 16 hexadecimal digits of the double: neither depends on the locale. */
bool clattn__read_decimal(const char **at, double *value)
{
    static const char hex[] = "0123456789abcdef";
    int64_t whole, part = 0;
    if (read_word(at, "#")) {
        uint64_t bits = 0;
        for (int i = 0; i < 16; i++, ++*at) {
            const char *digit = **at ? strchr(hex, **at) : NULL;
            if (!digit)
                return false;
            bits = bits << 4 | (uint64_t)(digit - hex);
        }
        memcpy(value, &bits, sizeof *value);
        return true;
    }
    if (!read_number(at, &whole))
        return false;
    *value = (double)whole;
    if (read_word(at, ".")) {
        const char *first = *at;
        if (!read_number(at, &part))
            return false;
        const double ones = pow(10.0, (double)(*at - first));
        *value = ((double)whole * ones + (double)part) / ones;
    }
    return true;
}

/* The shortest fraction of 9 digits at most that is read as the number, or the double's digits. */
void clattn__print_decimal(struct clattn__text *out, double value)
{
    uint64_t bits;
    for (int digits = 0; digits <= 9 && value >= 0 && value < 1e6; digits++) {
        char text[32];
        const char *at = text;
        double read;
        const long long ones = (long long)pow(10.0, digits), n = (long long)rint(value * (double)ones);
        const int length = snprintf(text, sizeof text, "%lld", n / ones);
        if (digits > 0)
            snprintf(text + length, sizeof text - (size_t)length, ".%0*lld", digits, n % ones);
        if (clattn__read_decimal(&at, &read) && read == value) {
            clattn__text_add(out, "%s", text);
            return;
        }
    }
    memcpy(&bits, &value, sizeof bits);
    clattn__text_add(out, "#%016llx", (unsigned long long)bits);
}

static bool read_option(const char **at, clattn_attention *a, struct reader *r)
{
    static const struct {
        const char *word;
        uint32_t flag;
    } flags[] = {{"lse", CLATTN_WANT_LSE}, {"packed", CLATTN_PACKED}, {"keylens", CLATTN_KEY_LENGTHS},
                 {"strict", CLATTN_STRICT}, {"count", CLATTN_COUNT_TILES}, {"stay", CLATTN_ARRAYS_STAY}};
    for (size_t i = 0; i < CLATTN__LEN(flags); i++)
        if (read_word(at, flags[i].word)) {
            a->flags |= flags[i].flag;
            return true;
        }
    if (read_word(at, "splits="))
        return read_number(at, &a->splits);
    if (read_word(at, "qtotal="))
        return read_number(at, &a->q_total);
    if (read_word(at, "ktotal="))
        return read_number(at, &a->kv_total);
    if (read_word(at, "layout=bthd"))
        return r->bthd = true;
    if (read_word(at, "layout=bhtd"))
        return true;
    if (read_word(at, "engine=")) {
        size_t n = strcspn(*at, ":");
        if (n == 0 || n >= sizeof a->engine)
            return false;
        memcpy(a->engine, *at, n);
        a->engine[n] = 0;
        *at += n;
        return true;
    }
    return read_word(at, "scale=") && clattn__read_decimal(at, &a->scale);
}

/* Strides of [batch][token][head][d] for q, k, v and o. */
static void set_bthd(clattn_attention *a)
{
    for (int t = CLATTN__Q; t < CLATTN__LSE; t++) {
        struct clattn__shape shape = clattn__tensor_shape(a, t);
        clattn_layout *layout = clattn__tensor_layout(a, t);
        layout->head = shape.width;
        layout->token = shape.heads * shape.width;
        layout->batch = shape.tokens * layout->token;
    }
}

static clattn_status read_fields(struct reader *r, const char *at, clattn_attention *a)
{
    while (*at == ':') {
        const char *field = ++at;
        if (!read_size(&at, a) && !(at = field, read_pattern(&at, a)) &&
            !(at = field, read_option(&at, a, r)))
            return syntax(
                r, field,
                "bN, hN, hN/N, qN, kN, dN, dN/N, a pattern (full causal prefixN windowN aroundN, with "
                "-tl or -br) or an option (lse packed keylens strict count splits= engine= layout= "
                "scale= qtotal= ktotal=)");
        if (!at_end(at))
            return syntax(r, at, "':' or the end");
    }
    return CLATTN_OK;
}

clattn_status clattn_problem_parse(clattn_attention *problem, const char *text, char *message, size_t size)
{
    static const clattn_attention init = CLATTN_ATTENTION_INIT;
    struct reader r = {text, message, size, false};
    if (message && size)
        message[0] = 0;
    if (!problem || !text)
        return CLATTN_NULL_ARGUMENT;
    if (problem->size != sizeof *problem)
        return CLATTN_BAD_STRUCT_SIZE;
    *problem = init;
    problem->dim = problem->dim_v = 64;
    const char *at = text;
    if (!read_word(&at, "attn:"))
        return syntax(&r, at, "'attn:'");
    clattn_status status = read_types(&r, &at, problem);
    if (!status && !at_end(at))
        status = syntax(&r, at, "':' after the types");
    if (!status)
        status = read_fields(&r, at, problem);
    if (status)
        return status;
    if (problem->flags & CLATTN_PACKED && problem->q_total == 0 && problem->kv_total == 0) {
        /* what a batch of full length takes */
        if (!clattn__mul(problem->batch, problem->q_len, &problem->q_total) ||
            !clattn__mul(problem->batch, problem->kv_len, &problem->kv_total))
            problem->q_total = problem->kv_total = INT64_MAX; /* refused by its size */
    }
    status = clattn_attention_check(problem, message, size);
    if (!status && r.bthd)
        set_bthd(problem);
    return status;
}

/* ---- printing ---- */
static void print_types(struct clattn__text *out, const clattn_attention *a)
{
    bool same_inputs = a->type_q == a->type_k && a->type_q == a->type_v;
    clattn__text_add(out, "attn:%s", type_words[a->type_q]);
    if (!same_inputs)
        clattn__text_add(out, "-%s-%s", type_words[a->type_k], type_words[a->type_v]);
    if (!same_inputs || a->type_o != a->type_q)
        clattn__text_add(out, "-%s", type_words[a->type_o]);
}

/* The named patterns are found again by writing each candidate and comparing texts. */
static void print_pattern(struct clattn__text *out, const clattn_pattern *pattern)
{
    static const char *const corners[] = {"", "-tl", "-br"};
    struct pattern_words words = {.corner = (clattn_corner)pattern->corner};
    int prefix = 0, window = 0, around = 0;
    const char *p = strstr(pattern->text, "k < ");
    const char *w = strstr(pattern->text, "q - k < ");
    const char *s = strstr(pattern->text, "k - q < ");
    if (pattern->text[0] == 0)
        return;
    words.prefix = p && sscanf(p, "k < %d | k <= q", &prefix) == 1 && strstr(p, "| k <= q");
    words.causal = !words.prefix && strstr(pattern->text, "k <= q");
    words.around = w && s && sscanf(w, "q - k < %d", &around) == 1;
    words.window = w && !words.around && sscanf(w, "q - k < %d", &window) == 1;
    words.prefix_keys = prefix;
    words.window_keys = window;
    words.around_keys = around;
    clattn_pattern again = pattern_of(&words);
    if (strcmp(again.text, pattern->text))
        return; /* a free text: said by --mask beside the problem */
    char text[64];
    struct clattn__text part = clattn__text_into(text, sizeof text);
    if (words.prefix)
        clattn__text_add(&part, "-prefix%d", prefix);
    if (words.causal)
        clattn__text_add(&part, "-causal");
    if (words.window)
        clattn__text_add(&part, "-window%d", window);
    if (words.around)
        clattn__text_add(&part, "-around%d", around);
    clattn__text_add(out, ":%s%s", text + 1, corners[pattern->corner]);
}

static bool is_bthd(const clattn_attention *a)
{
    clattn_attention other = *a;
    set_bthd(&other);
    clattn_attention dense = *a;
    bool same = true, same_as_dense = true;
    for (int t = CLATTN__Q; t < CLATTN__LSE; t++) {
        clattn_layout *have = clattn__tensor_layout(&dense, t), *want = clattn__tensor_layout(&other, t);
        struct clattn__shape shape = clattn__tensor_shape(a, t);
        clattn_layout plain = CLATTN_LAYOUT_DENSE;
        if (!clattn__layout_resolve(have, &shape) || !clattn__layout_resolve(&plain, &shape))
            return false;
        same = same && have->batch == want->batch && have->head == want->head && have->token == want->token;
        same_as_dense = same_as_dense && have->batch == plain.batch && have->head == plain.head &&
                        have->token == plain.token;
    }
    return same && !same_as_dense;
}

static void print_options(struct clattn__text *out, const clattn_attention *a)
{
    if (a->flags & CLATTN_WANT_LSE)
        clattn__text_add(out, ":lse");
    if (a->flags & CLATTN_PACKED)
        clattn__text_add(out, ":packed:qtotal=%lld:ktotal=%lld", (long long)a->q_total,
                         (long long)a->kv_total);
    if (a->flags & CLATTN_KEY_LENGTHS)
        clattn__text_add(out, ":keylens");
    if (a->flags & CLATTN_STRICT)
        clattn__text_add(out, ":strict");
    if (a->flags & CLATTN_COUNT_TILES)
        clattn__text_add(out, ":count");
    if (a->flags & CLATTN_ARRAYS_STAY)
        clattn__text_add(out, ":stay");
    if (a->splits)
        clattn__text_add(out, ":splits=%lld", (long long)a->splits);
    if (a->engine[0])
        clattn__text_add(out, ":engine=%s", a->engine);
    if (is_bthd(a))
        clattn__text_add(out, ":layout=bthd");
    if (a->scale != CLATTN_DEFAULT_SCALE && a->scale != 1.0 / sqrt((double)a->dim)) {
        uint64_t bits;
        memcpy(&bits, &a->scale, sizeof bits);
        clattn__text_add(out, ":scale=#%016llx", (unsigned long long)bits);
    }
}

clattn_status clattn_problem_print(const clattn_attention *a, char *text, size_t size)
{
    if (!a || !text || size == 0)
        return CLATTN_NULL_ARGUMENT;
    clattn_status status = clattn_attention_check(a, NULL, 0);
    if (status)
        return status;
    struct clattn__text out = clattn__text_into(text, size);
    print_types(&out, a);
    clattn__text_add(&out, ":b%lld:h%lld", (long long)a->batch, (long long)a->heads);
    if (a->kv_heads != a->heads)
        clattn__text_add(&out, "/%lld", (long long)a->kv_heads);
    clattn__text_add(&out, ":q%lld:k%lld:d%lld", (long long)a->q_len, (long long)a->kv_len,
                     (long long)a->dim);
    if (a->dim_v != a->dim)
        clattn__text_add(&out, "/%lld", (long long)a->dim_v);
    print_pattern(&out, &a->pattern);
    print_options(&out, a);
    return out.cut ? CLATTN_BUFFER_TOO_SHORT : CLATTN_OK;
}
