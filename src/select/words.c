/* SPDX-License-Identifier: MIT
 * words.c - selections as words behind a problem's text, and those that have names.
 *
 *     METHOD   tree=N minmax=N mean=N scores=N given=N, N tokens of a list; staged=CHUNK.KEEP/CHUNK.KEEP...;
 *              streaming; or the name of a preset, which the words after it change
 *     mass=X  margin=X  ratio=X: a budget_mode and its value
 *     bq=N[/STRIDE]  bk=N[/STRIDE]  sink=N  near=N  scope=head|group|all  rep=center|first|last
 *     count  keep  grow  certify  each  rows=last|mean  search=plain|matrix
 *     rope=relative|chunks|infllm/N  N rows of the tables
 *     extend=streaming/N|self/N/LENGTH/SHARE|dynamic/N/LENGTH
 *     dense=N, dense=measured */
#include "select/select.h"

#include <stdio.h>
#include <string.h>

/* ---- presets ---- */
#define STAGES_3K {{256, 32768}, {32, 8192}, {8, 2048}}, 3
#define STAGES_5K {{64, 32768}, {32, 16384}, {16, 4096}}, 3
#define STAGES_16K {{32, 16384}}, 1
/* what presets do not speak of */
#define USUAL_BUT(rows) CLATTN_TOP_K, 0, CLATTN_ROPE_NONE, rows, 0, 0, CLATTN_EXTEND_NONE, 0, 0
#define USUAL USUAL_BUT(CLATTN_ROWS_LAST)
static const struct {
    const char *name, *meaning;
    clattn_select select;
} presets[] = {
    {"hip", "HiP: a tree search for 512 keys in blocks of 2",
     {sizeof(clattn_select), 0, CLATTN_TREE, CLATTN_SCOPE_HEAD, CLATTN_CENTER, 64, 2, 2, 1, 512, 16, 256, {{0, 0}}, 0, USUAL}},
    {"hip-ruler", "HiP as measured on long retrieval: 2048 keys, wider sinks and window",
     {sizeof(clattn_select), 0, CLATTN_TREE, CLATTN_SCOPE_HEAD, CLATTN_CENTER, 64, 2, 2, 1, 2048, 128, 1024, {{0, 0}}, 0, USUAL}},
    {"pairs-192", "a tree search over pairs of keys for 192; on doc/examples/bytelm better than dense attention (doc/pruning.md)",
     {sizeof(clattn_select), 0, CLATTN_TREE, CLATTN_SCOPE_HEAD, CLATTN_CENTER, 64, 1, 2, 2, 192, 32, 64, {{0, 0}}, 0, USUAL}},
    {"pairs-256", "the same for 256 keys by every second query, which is faster",
     {sizeof(clattn_select), 0, CLATTN_TREE, CLATTN_SCOPE_HEAD, CLATTN_CENTER, 64, 2, 2, 2, 256, 32, 64, {{0, 0}}, 0, USUAL}},
    {"means-256", "the same by means of two queries, which finds better keys",
     {sizeof(clattn_select), 0, CLATTN_TREE, CLATTN_SCOPE_HEAD, CLATTN_CENTER, 64, 2, 2, 2, 256, 32, 64, {{0, 0}}, 0, USUAL_BUT(CLATTN_ROWS_MEAN)}},
    {"infinitehip-3k", "InfiniteHiP: three stages, 2048 keys in blocks of 8 for all heads",
     {sizeof(clattn_select), 0, CLATTN_STAGED, CLATTN_SCOPE_ALL, CLATTN_CENTER, 64, 4, 8, 1, 2048, 256, 1024, STAGES_3K, USUAL}},
    {"infinitehip-5k", "InfiniteHiP: three stages, 4096 keys in blocks of 16 for all heads",
     {sizeof(clattn_select), 0, CLATTN_STAGED, CLATTN_SCOPE_ALL, CLATTN_CENTER, 64, 4, 16, 1, 4096, 256, 1024, STAGES_5K, USUAL}},
    {"infinitehip-16k-shallow", "InfiniteHiP: one stage, 16384 keys in blocks of 32 for all heads",
     {sizeof(clattn_select), 0, CLATTN_STAGED, CLATTN_SCOPE_ALL, CLATTN_CENTER, 64, 4, 32, 1, 16384, 256, 1024, STAGES_16K, USUAL}},
    {"quest", "Quest: bounds of pages of 16 keys, 4096 keys a group, for decoding",
     {sizeof(clattn_select), 0, CLATTN_MINMAX, CLATTN_SCOPE_GROUP, CLATTN_CENTER, 1, 1, 16, 1, 4096, 0, 0, {{0, 0}}, 0, USUAL}},
    {"streaming-llm", "StreamingLLM: 4 sinks and a window of 1020, and no list",
     {sizeof(clattn_select), 0, CLATTN_STREAMING, CLATTN_SCOPE_ALL, CLATTN_CENTER, 64, 1, 8, 1, 0, 4, 1020, {{0, 0}}, 0, USUAL}},
};

clattn_status clattn_select_preset(clattn_select *select, const char *name)
{
    if (!select || !name)
        return CLATTN_NULL_ARGUMENT;
    if (select->size != sizeof *select)
        return CLATTN_BAD_STRUCT_SIZE;
    for (size_t i = 0; i < CLATTN__LEN(presets); i++)
        if (!strcmp(presets[i].name, name)) {
            *select = presets[i].select;
            return CLATTN_OK;
        }
    return CLATTN_BAD_SELECTOR;
}

const char *clattn_select_preset_name(size_t index, const char **meaning)
{
    if (index >= CLATTN__LEN(presets))
        return NULL;
    if (meaning)
        *meaning = presets[index].meaning;
    return presets[index].name;
}

/* ---- reading ---- */
static bool read_number(const char **at, int64_t most, int64_t *value)
{
    int64_t v = 0;
    const char *p = *at;
    for (; *p >= '0' && *p <= '9'; p++) {
        v = v * 10 + (*p - '0');
        if (v > most)
            return false;
    }
    if (p == *at)
        return false;
    *value = v;
    *at = p;
    return true;
}

static bool read_word(const char **at, const char *word)
{
    const size_t n = strlen(word);
    if (strncmp(*at, word, n))
        return false;
    *at += n;
    return true;
}

static bool at_end(const char *at)
{
    return *at == 0 || *at == ':';
}

static const char *const method_words[] = {
    "tree=", "staged=", "minmax=", "mean=", "scores=", "given=", "streaming"};

static bool read_stages(const char **at, clattn_select *s)
{
    s->n_stages = 0;
    do {
        if (s->n_stages == CLATTN_MAX_STAGES)
            return false;
        clattn_stage *stage = &s->stages[s->n_stages++];
        if (!read_number(at, INT32_MAX, &stage->chunk) || !read_word(at, ".") ||
            !read_number(at, INT32_MAX, &stage->keep))
            return false;
    } while (read_word(at, "/"));
    s->block_k = (int32_t)s->stages[s->n_stages - 1].chunk;
    s->budget = s->stages[s->n_stages - 1].keep;
    return true;
}

/* A preset, whose name may begin as a method does, or a method; false: the word is neither. */
static bool read_method(const char **at, clattn_select *s)
{
    for (size_t i = 0; i < CLATTN__LEN(presets); i++) {
        const char *p = *at;
        if (read_word(&p, presets[i].name) && at_end(p)) {
            *s = presets[i].select;
            *at = p;
            return true;
        }
    }
    for (int32_t m = CLATTN_TREE; m <= CLATTN_STREAMING; m++) {
        if (!read_word(at, method_words[m]))
            continue;
        memset(s->stages, 0, sizeof s->stages);
        s->method = m;
        s->n_stages = 0;
        s->budget = 0;
        return m == CLATTN_STREAMING ||
               (m == CLATTN_STAGED ? read_stages(at, s) : read_number(at, INT32_MAX, &s->budget));
    }
    return false;
}

/* N[/STRIDE]; a stride that is not said is 1, or what it was if that is less than the block. */
static bool read_block(const char **at, int32_t *block, int32_t *stride)
{
    int64_t n, each = 1;
    if (!read_number(at, INT32_MAX, &n) || (read_word(at, "/") && !read_number(at, INT32_MAX, &each)))
        return false;
    *block = (int32_t)n;
    *stride = (int32_t)each;
    return true;
}

/* One of n words; *choice: its number. */
static bool read_choice(const char **at, const char *const *words, int32_t n, int32_t *choice)
{
    for (int32_t i = 0; i < n; i++)
        if (read_word(at, words[i])) {
            *choice = i;
            return true;
        }
    return false;
}

static const char *const
    scope_words[] = {"head", "group", "all"},
    *const representative_words[] = {"center", "first", "last"}, *const rows_words[] = {"last", "mean"},
    *const rope_words[] = {"relative/", "chunks/", "infllm/"}; /* from CLATTN_ROPE_RELATIVE on */

static bool read_rope(const char **at, clattn_select *s)
{
    if (!read_choice(at, rope_words, 3, &s->rope) || !read_number(at, INT32_MAX, &s->rope_positions))
        return false;
    s->rope += CLATTN_ROPE_RELATIVE;
    return true;
}

/* from CLATTN_EXTEND_STREAMING on */
static const char *const extend_words[] = {"streaming/", "self/", "dynamic/"};

/* streaming/N, self/N/LENGTH/SHARE, dynamic/N/LENGTH */
static bool read_extend(const char **at, clattn_select *s)
{
    int64_t share = 0;
    s->extend_length = 0;
    if (!read_choice(at, extend_words, 3, &s->extend) || !read_number(at, INT32_MAX, &s->rope_positions))
        return false;
    s->extend += CLATTN_EXTEND_STREAMING;
    if (s->extend != CLATTN_EXTEND_STREAMING &&
        (!read_word(at, "/") || !read_number(at, INT32_MAX, &s->extend_length)))
        return false;
    if (s->extend == CLATTN_EXTEND_SELF && (!read_word(at, "/") || !read_number(at, INT32_MAX, &share)))
        return false;
    s->extend_share = (int32_t)share;
    return true;
}

static const struct {
    const char *word;
    uint32_t flag;
} flag_words[] = {{"count", CLATTN_COUNT_PROBES},         {"keep", CLATTN_KEEP_STAGES},
                  {"grow", CLATTN_GROW_WINDOW},           {"certify", CLATTN_CERTIFY},
                  {"each", CLATTN_BUDGET_EACH},           {"search=plain", CLATTN_PLAIN_SEARCH},
                  {"search=matrix", CLATTN_MATRIX_SEARCH}};
static const char *const budget_words[] = {"", "mass=", "margin=", "ratio="};

#define MEASURED (-1) /* dense_below, until all words are read */

static bool read_field(const char **at, clattn_select *s)
{
    if (read_word(at, "bq="))
        return read_block(at, &s->block_q, &s->stride_q);
    if (read_word(at, "bk="))
        return read_block(at, &s->block_k, &s->stride_k);
    if (read_word(at, "sink="))
        return read_number(at, INT32_MAX, &s->sink);
    if (read_word(at, "near="))
        return read_number(at, INT32_MAX, &s->window);
    if (read_word(at, "scope="))
        return read_choice(at, scope_words, 3, &s->scope);
    if (read_word(at, "rep="))
        return read_choice(at, representative_words, 3, &s->representative);
    if (read_word(at, "rows="))
        return read_choice(at, rows_words, 2, &s->rows);
    for (int32_t mode = CLATTN_MASS; mode <= CLATTN_RATIO; mode++)
        if (read_word(at, budget_words[mode])) {
            s->budget_mode = mode;
            return clattn__read_decimal(at, &s->budget_value);
        }
    if (read_word(at, "rope="))
        return read_rope(at, s);
    if (read_word(at, "extend="))
        return read_extend(at, s);
    if (read_word(at, "dense=measured")) {
        s->dense_below = MEASURED;
        return true;
    }
    if (read_word(at, "dense="))
        return read_number(at, INT32_MAX, &s->dense_below);
    for (size_t i = 0; i < CLATTN__LEN(flag_words); i++)
        if (read_word(at, flag_words[i].word)) {
            s->flags |= flag_words[i].flag;
            return true;
        }
    return read_method(at, s);
}

static clattn_status syntax(const char *text, const char *at, char *message, size_t size)
{
    return clattn__refuse(message, size, CLATTN_PROBLEM_SYNTAX,
                          "column %d: expected a word of a selection: tree=N staged=CHUNK.KEEP/... minmax=N mean=N scores=N given=N "
                          "streaming, a preset, mass=X margin=X ratio=X bq=N/N bk=N/N sink=N near=N scope=head|group|all "
                          "rep=center|first|last rows=last|mean count keep grow certify each search=plain|matrix "
                          "rope=relative|chunks|infllm/N extend=streaming/N|self/N/N/N|dynamic/N/N dense=N|measured",
                          (int)(at - text) + 1);
}

/* Where the words of the selection begin: at the first field that is a method or a preset. */
static const char *find_selection(const char *text)
{
    clattn_select ignored = CLATTN_SELECT_INIT;
    const char *at = strchr(text, ':');
    while (at) {
        const char *field = at + 1;
        if (read_method(&field, &ignored))
            return at;
        for (int m = 0; m < CLATTN_STREAMING; m++) /* a method whose number does not read is still one */
            if (!strncmp(at + 1, method_words[m], strlen(method_words[m])))
                return at;
        at = strchr(at + 1, ':');
    }
    return NULL;
}

clattn_status clattn_select_parse(clattn_select *select, clattn_attention *problem, const char *text,
                                  char *message, size_t size)
{
    static const clattn_select init = CLATTN_SELECT_INIT;
    char own[1024];
    if (message && size)
        message[0] = 0;
    if (!select || !problem || !text)
        return clattn__refuse(message, size, CLATTN_NULL_ARGUMENT, "select, problem or text");
    if (select->size != sizeof *select)
        return CLATTN_BAD_STRUCT_SIZE;
    const char *at = find_selection(text);
    if (!at) {
        syntax(text, text + strlen(text), message, size);
        return CLATTN_BAD_SELECTOR;
    }
    const int n = snprintf(own, sizeof own, "%.*s", (int)(at - text), text);
    if (n < 0 || n >= (int)sizeof own)
        return clattn__refuse(message, size, CLATTN_PROBLEM_SYNTAX,
                              "the problem is longer than %zu characters", sizeof own - 1);
    clattn_status status = clattn_problem_parse(problem, own, message, size);
    *select = init;
    while (!status && *at == ':') {
        const char *field = ++at;
        if (!read_field(&at, select) || !at_end(at))
            return syntax(text, field, message, size);
    }
    if (!status && select->dense_below == MEASURED) {
        select->dense_below = 0;
        clattn_select_dense_below(select, problem, &select->dense_below);
    }
    return status ? status : clattn_select_check(select, problem, message, size);
}

/* ---- printing ---- */
static void print_method(struct clattn__text *out, const clattn_select *s)
{
    clattn__text_add(out, "%s", method_words[s->method]);
    for (int i = 0; i < s->n_stages; i++)
        clattn__text_add(out, "%s%lld.%lld", i ? "/" : "", (long long)s->stages[i].chunk,
                         (long long)s->stages[i].keep);
    if (s->method != CLATTN_STAGED && s->method != CLATTN_STREAMING)
        clattn__text_add(out, "%lld", (long long)s->budget);
    if (s->budget_mode == CLATTN_TOP_K)
        return;
    clattn__text_add(out, ":%s", budget_words[s->budget_mode]);
    clattn__print_decimal(out, s->budget_value);
}

clattn_status clattn_select_print(const clattn_select *s, char *text, size_t size)
{
    if (!s || !text || size == 0)
        return CLATTN_NULL_ARGUMENT;
    if (s->size != sizeof *s)
        return CLATTN_BAD_STRUCT_SIZE;
    if (s->method < CLATTN_TREE || s->method > CLATTN_STREAMING || s->scope < 0 ||
        s->scope > CLATTN_SCOPE_ALL || s->representative < 0 || s->representative > CLATTN_LAST ||
        s->n_stages < 0 || s->n_stages > CLATTN_MAX_STAGES || s->budget_mode < CLATTN_TOP_K ||
        s->budget_mode > CLATTN_RATIO || s->rope < 0 || s->rope > CLATTN_ROPE_INFLLM ||
        s->rows < CLATTN_ROWS_LAST || s->rows > CLATTN_ROWS_MEAN || s->extend < CLATTN_EXTEND_NONE ||
        s->extend > CLATTN_EXTEND_DYNAMIC)
        return CLATTN_BAD_SELECTOR;
    struct clattn__text out = clattn__text_into(text, size);
    print_method(&out, s);
    clattn__text_add(&out, ":bq=%d/%d:bk=%d/%d:sink=%lld:near=%lld:scope=%s:rep=%s", (int)s->block_q,
                     (int)s->stride_q, (int)s->block_k, (int)s->stride_k, (long long)s->sink,
                     (long long)s->window, scope_words[s->scope], representative_words[s->representative]);
    if (s->rows)
        clattn__text_add(&out, ":rows=%s", rows_words[s->rows]);
    for (size_t i = 0; i < CLATTN__LEN(flag_words); i++)
        if (s->flags & flag_words[i].flag)
            clattn__text_add(&out, ":%s", flag_words[i].word);
    if (s->rope)
        clattn__text_add(&out, ":rope=%s%lld", rope_words[s->rope - CLATTN_ROPE_RELATIVE],
                         (long long)s->rope_positions);
    if (s->extend)
        clattn__text_add(&out, ":extend=%s%lld", extend_words[s->extend - CLATTN_EXTEND_STREAMING],
                         (long long)s->rope_positions);
    if (s->extend > CLATTN_EXTEND_STREAMING)
        clattn__text_add(&out, "/%lld", (long long)s->extend_length);
    if (s->extend == CLATTN_EXTEND_SELF)
        clattn__text_add(&out, "/%d", (int)s->extend_share);
    if (s->dense_below)
        clattn__text_add(&out, ":dense=%lld", (long long)s->dense_below);
    return out.cut ? CLATTN_BUFFER_TOO_SHORT : CLATTN_OK;
}
