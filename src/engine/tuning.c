/* SPDX-License-Identifier: MIT
 * tuning.c - lines of tuning (clattn_tuning(5)): a strict reader, and a context's table of those for its
 * device.
 *
 *     clattn-tuning 1
 *     tune | DEVICE | DRIVER | CLASS | SETTING | DATE gain=N.NNN ...
 *     block | DEVICE | DRIVER | CLASS | SETTING | DATE why
 *
 * Lines are short, printable ASCII, and their number is bounded; what is not understood refuses the whole
 * text.  A last line without its end is a writer's that was stopped, and passed over. */
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LINE "clattn-tuning 1"
#define MOST_LINE 1023
#define MOST_LINES 16384
#define FIELDS 6
enum { WORD, DEVICE, DRIVER, CLASS, SETTING, RECORD };

/* A line's parts: fields point into the text. */
struct line {
    const char *field[FIELDS];
    size_t length[FIELDS];
    struct clattn__entry entry;
};

/* ---- classes of problems ---- */
static const char *const types[] = {"f32", "f16", "bf16"};
static const char *const phases[] = {"decode", "few", "narrow", "prefill"};
enum { DECODE, FEW, NARROW, PREFILL };

#define LEAST_KEYS 64
#define MOST_KEYS (1 << 20)

/* Four types of two bits each. */
static int32_t pack_types(int32_t q, int32_t k, int32_t v, int32_t o)
{
    return q | k << 2 | v << 4 | o << 6;
}

/* Rows that share keys and fit a tile of 64 count together.  Narrow: less than eight tiles of 64 rows for
 * each compute unit. */
void clattn__problem_class_of(const clattn_device_facts *facts, const struct clattn__task *task,
                              struct clattn__problem_class *class)
{
    const int64_t group = task->heads / task->kv_heads, packed = task->q_len <= 64 ? task->q_len * group : 65;
    const int64_t rows = packed <= 64 ? packed : task->q_len, tiles = clattn__ceil_div(task->q_len, 64);
    const int64_t heads = task->batch * task->heads; /* each may be 2^31 */
    const bool narrow = tiles == 0 || heads < clattn__ceil_div(8 * (int64_t)facts->compute_units, tiles);
    class->types = pack_types(task->type_q, task->type_k, task->type_v, task->type_o);
    class->dim = task->dim;
    class->dim_v = task->dim_v;
    class->phase = rows <= 4 ? DECODE : rows <= 64 ? FEW : narrow ? NARROW : PREFILL;
    for (class->keys = LEAST_KEYS; class->keys < MOST_KEYS && class->keys < task->kv_len;)
        class->keys *= 2;
}

static void print_types(int32_t packed, struct clattn__text *out)
{
    const int32_t q = packed & 3, k = packed >> 2 & 3, v = packed >> 4 & 3, o = packed >> 6 & 3;
    if (q == k && q == v)
        clattn__text_add(out, "%s%s%s", types[q], q == o ? "" : "-", q == o ? "" : types[o]);
    else
        clattn__text_add(out, "%s-%s-%s-%s", types[q], types[k], types[v], types[o]);
}

void clattn__problem_class_print(const struct clattn__problem_class *class, struct clattn__text *out)
{
    print_types(class->types, out);
    clattn__text_add(out, " d%d", (int)class->dim);
    if (class->dim_v != class->dim)
        clattn__text_add(out, "/%d", (int)class->dim_v);
    clattn__text_add(out, " %s k%d", phases[class->phase], (int)class->keys);
}

/* ---- the reader ---- */
static bool is_text(const char *text, size_t n, const char *word)
{
    return strlen(word) == n && !memcmp(text, word, n);
}

/* A whole number without leading zeros, up to 2^20. */
static bool read_number(const char **at, const char *end, int32_t *value)
{
    const char *p = *at;
    for (*value = 0; p < end && *p >= '0' && *p <= '9' && *value <= MOST_KEYS && !(*value == 0 && p > *at);
         p++)
        *value = 10 * *value + *p - '0';
    const bool good = p > *at && *value > 0 && *value <= MOST_KEYS;
    *at = p;
    return good;
}

static bool read_type(const char **at, const char *end, int32_t *type)
{
    for (*type = 0; *type < (int32_t)CLATTN__LEN(types); ++*type) {
        const size_t n = strlen(types[*type]);
        if ((size_t)(end - *at) >= n && !memcmp(*at, types[*type], n)) {
            *at += n;
            return true;
        }
    }
    return false;
}

static bool read_types(const char *at, const char *end, int32_t *packed)
{
    int32_t type[4], n = 0;
    for (bool more = true; more; n++) {
        if (n == 4 || !read_type(&at, end, &type[n]))
            return false;
        more = at < end;
        if (more && *at++ != '-')
            return false;
    }
    *packed = n == 4 ? pack_types(type[0], type[1], type[2], type[3])
                     : pack_types(type[0], type[0], type[0], type[n - 1]);
    return n != 3;
}

/* "d64" or "d128/64". */
static bool read_dims(const char *at, const char *end, struct clattn__problem_class *class)
{
    if (*at++ != 'd' || !read_number(&at, end, &class->dim))
        return false;
    class->dim_v = class->dim;
    return at == end ||
           (*at++ == '/' && read_number(&at, end, &class->dim_v) && at == end && class->dim_v != class->dim);
}

static bool read_phase(const char *at, const char *end, int32_t *phase)
{
    for (*phase = 0; *phase < (int32_t)CLATTN__LEN(phases); ++*phase)
        if (is_text(at, (size_t)(end - at), phases[*phase]))
            return true;
    return false;
}

static bool read_keys(const char *at, const char *end, int32_t *keys)
{
    return *at++ == 'k' && read_number(&at, end, keys) && at == end && *keys >= LEAST_KEYS &&
           !(*keys & (*keys - 1));
}

/* Four words, each of which may be '*'. */
static bool read_class(const char *text, size_t n, struct clattn__problem_class *class)
{
    const char *at = text, *end = text + n;
    *class = (struct clattn__problem_class){CLATTN__ANY, CLATTN__ANY, CLATTN__ANY, CLATTN__ANY, CLATTN__ANY};
    for (int word = 0; word < 4; word++) {
        const char *blank = at < end ? memchr(at, ' ', (size_t)(end - at)) : NULL,
                   *stop = word == 3 ? end : blank;
        if (!stop || stop == at || (word == 3 && blank))
            return false;
        const bool any = is_text(at, (size_t)(stop - at), "*");
        if (!any && !(word == 0   ? read_types(at, stop, &class->types)
                      : word == 1 ? read_dims(at, stop, class)
                      : word == 2 ? read_phase(at, stop, &class->phase)
                                  : read_keys(at, stop, &class->keys)))
            return false;
        at = stop + 1;
    }
    return true;
}

static bool is_date(const char *text, size_t n)
{
    static const char form[] = "0000-00-00";
    for (size_t i = 0; i < sizeof form - 1; i++)
        if (i >= n || (form[i] == '-' ? text[i] != '-' : text[i] < '0' || text[i] > '9'))
            return false;
    return n == sizeof form - 1 || text[sizeof form - 1] == ' ';
}

/* Behind the date " gain=N.NNN", in thousandths. */
static bool read_gain(const char *text, size_t n, int32_t *gain)
{
    static const char word[] = "0000-00-00 gain=";
    const size_t first = sizeof word - 1;
    size_t at = first, point = 0;
    if (n <= first || memcmp(text + 10, word + 10, first - 10))
        return false;
    for (*gain = 0; at < n && text[at] != ' '; at++) {
        if (text[at] == '.' && !point && at > first)
            point = at;
        else if (text[at] < '0' || text[at] > '9' || *gain > 99999999)
            return false;
        else
            *gain = 10 * *gain + text[at] - '0';
    }
    return point && at == point + 4;
}

static bool refuse(char *reason, size_t size, const char *what)
{
    snprintf(reason, size, "%s", what);
    return false;
}

/* Six fields, with " | " between them, none of which is empty or begins or ends with a blank. */
static bool split_fields(const char *text, size_t n, struct line *line)
{
    size_t at = 0;
    for (int i = 0; i < FIELDS; i++) {
        size_t end = at;
        while (end < n && text[end] != '|')
            end++;
        const bool last = i == FIELDS - 1, bar = end < n;
        if (last == bar ||
            (bar && (end == at || end + 1 >= n || text[end - 1] != ' ' || text[end + 1] != ' ')))
            return false;
        line->field[i] = text + at;
        line->length[i] = end - at - bar;
        if (line->length[i] == 0 || text[at] == ' ' || text[at + line->length[i] - 1] == ' ')
            return false;
        at = end + 2;
    }
    return true;
}

static bool parse_line(const char *text, size_t n, struct line *line, char *reason, size_t size)
{
    struct clattn__entry *entry = &line->entry;
    memset(entry, 0, sizeof *entry);
    for (size_t i = 0; i < n; i++)
        if (text[i] < ' ' || text[i] > '~')
            return refuse(reason, size, "not printable ASCII");
    if (n > MOST_LINE)
        return refuse(reason, size, "longer than 1023 characters");
    if (!split_fields(text, n, line))
        return refuse(reason, size, "not six fields with ' | ' between them");
    entry->block = is_text(line->field[WORD], line->length[WORD], "block");
    if (!entry->block && !is_text(line->field[WORD], line->length[WORD], "tune"))
        return refuse(reason, size, "the first field is neither tune nor block");
    if (line->length[DEVICE] >= sizeof((clattn_device_facts *)0)->name ||
        line->length[DRIVER] >= sizeof((clattn_device_facts *)0)->driver)
        return refuse(reason, size, "device or driver are longer than such names are");
    if (!read_class(line->field[CLASS], line->length[CLASS], &entry->class))
        return refuse(reason, size, "the fourth field is no class, as 'f16 d64 prefill k2048'");
    if (!clattn__setting_parse(line->field[SETTING], line->length[SETTING], entry->engine, &entry->setting,
                               reason, size))
        return false;
    if (!is_date(line->field[RECORD], line->length[RECORD]))
        return refuse(reason, size, "the last field begins with no date, as 2026-11-26");
    if (!entry->block && !read_gain(line->field[RECORD], line->length[RECORD], &entry->gain))
        return refuse(reason, size, "no ' gain=N.NNN' behind the date");
    return true;
}

typedef bool line_visitor(void *cookie, const struct line *line);

/* Visit the lines of a text; false, with a sentence, if it is none, or if a visitor says so. */
static bool each_line(const char *text, line_visitor *visit, void *cookie, char *message, size_t size)
{
    const size_t first = strlen(FIRST_LINE);
    char reason[160];
    int number = 1, taken = 0;
    if (strncmp(text, FIRST_LINE "\n", first + 1)) {
        snprintf(message, size, "line 1: not '%s'", FIRST_LINE);
        return false;
    }
    for (const char *at = text + first + 1, *end; (end = strchr(at, '\n')); at = end + 1) {
        struct line line;
        number++;
        if (at == end || *at == '#')
            continue;
        if (++taken > MOST_LINES) {
            snprintf(message, size, "line %d: more than %d lines", number, MOST_LINES);
            return false;
        }
        if (!parse_line(at, (size_t)(end - at), &line, reason, sizeof reason)) {
            snprintf(message, size, "line %d: %s", number, reason);
            return false;
        }
        if (!visit(cookie, &line)) {
            snprintf(message, size, "out of memory");
            return false;
        }
    }
    return true;
}

/* ---- a context's table ---- */
/* A device's name or driver as a line has it: printable, without what lines mean something by, without blanks
 * at the ends. */
static void clean_name(const char *name, char *out, size_t size)
{
    size_t n = 0;
    while (*name == ' ')
        name++;
    for (; name[n] && n + 1 < size; n++)
        out[n] = name[n] < ' ' || name[n] > '~' || name[n] == '|' || name[n] == '*' ? '?' : name[n];
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = 0;
    if (n == 0)
        snprintf(out, size, "?");
}

/* Whether a name is as a pattern of n characters says, in which '*' stands for any characters. */
static bool matches(const char *pattern, size_t n, const char *name)
{
    size_t p = 0, i = 0, star = SIZE_MAX, again = 0;
    while (name[i]) {
        if (p < n && pattern[p] == '*') {
            star = p++;
            again = i;
        } else if (p < n && pattern[p] == name[i]) {
            p++;
            i++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            i = ++again;
        } else {
            return false;
        }
    }
    while (p < n && pattern[p] == '*')
        p++;
    return p == n;
}

static int literals(const char *pattern, size_t n)
{
    int count = 0;
    for (size_t i = 0; i < n; i++)
        count += pattern[i] != '*';
    return count;
}

struct clattn__tuning {
    size_t n, capacity;
    struct clattn__entry *entries; /* best first */
};

/* What goes into a table while a text is read. */
struct filling {
    struct clattn__tuning *table;
    const char *device, *driver;
    int layer;
};

static int exactness(const struct line *line)
{
    const struct clattn__problem_class *c = &line->entry.class;
    const int words = (c->types != CLATTN__ANY) + (c->dim != CLATTN__ANY) + (c->phase != CLATTN__ANY) +
                      (c->keys != CLATTN__ANY);
    return words * 1000 + literals(line->field[DEVICE], line->length[DEVICE]) +
           literals(line->field[DRIVER], line->length[DRIVER]);
}

static bool fill(void *cookie, const struct line *line)
{
    struct filling *f = cookie;
    struct clattn__tuning *table = f->table;
    if (!matches(line->field[DEVICE], line->length[DEVICE], f->device) ||
        !matches(line->field[DRIVER], line->length[DRIVER], f->driver))
        return true;
    if (table->n == table->capacity) {
        const size_t capacity = table->capacity ? 2 * table->capacity : 16;
        struct clattn__entry *more = realloc(table->entries, capacity * sizeof *more);
        if (!more)
            return false;
        table->entries = more;
        table->capacity = capacity;
    }
    table->entries[table->n] = line->entry;
    table->entries[table->n].layer = f->layer;
    table->entries[table->n].exactness = exactness(line);
    table->entries[table->n].order = (int32_t)table->n;
    table->n++;
    return true;
}

/* The later layer, then what is said more exactly, then what gains more, then what stands first. */
static int compare_entries(const void *a, const void *b)
{
    const struct clattn__entry *x = a, *y = b;
    return x->layer != y->layer         ? y->layer - x->layer
           : x->exactness != y->exactness ? y->exactness - x->exactness
           : x->gain != y->gain         ? (x->gain < y->gain ? 1 : -1)
                                        : x->order - y->order;
}

void clattn__tuning_free(struct clattn__tuning *table)
{
    if (table)
        free(table->entries);
    free(table);
}

struct clattn__tuning *clattn__tuning_new(void)
{
    return calloc(1, sizeof(struct clattn__tuning));
}

bool clattn__tuning_fill(struct clattn__tuning *table, const clattn_device_facts *facts, const char *text,
                         int layer, char *message, size_t size)
{
    char device[sizeof facts->name], driver[sizeof facts->driver];
    const size_t before = table->n;
    clean_name(facts->name, device, sizeof device);
    clean_name(facts->driver, driver, sizeof driver);
    struct filling filling = {table, device, driver, layer};
    if (!each_line(text, fill, &filling, message, size)) {
        table->n = before; /* not sorted yet: what was added stands at the end */
        return false;
    }
    if (table->n)
        qsort(table->entries, table->n, sizeof *table->entries, compare_entries);
    for (size_t i = 0; i < table->n; i++)
        table->entries[i].order = (int32_t)i;
    return true;
}

static bool is_in_class(const struct clattn__problem_class *pattern,
                        const struct clattn__problem_class *class)
{
    return (pattern->types == CLATTN__ANY || pattern->types == class->types) &&
           (pattern->dim == CLATTN__ANY || (pattern->dim == class->dim && pattern->dim_v == class->dim_v)) &&
           (pattern->phase == CLATTN__ANY || pattern->phase == class->phase) &&
           (pattern->keys == CLATTN__ANY || pattern->keys == class->keys);
}

bool clattn__tuning_find(const struct clattn__tuning *table, const struct clattn__problem_class *class,
                         int index, struct clattn__entry *entry)
{
    for (size_t i = 0; table && i < table->n; i++)
        if (!table->entries[i].block && is_in_class(&table->entries[i].class, class) && index-- == 0) {
            *entry = table->entries[i];
            return true;
        }
    return false;
}

bool clattn__tuning_blocks(const struct clattn__tuning *table, const struct clattn__problem_class *class,
                           const char *engine, const struct clattn__setting *setting)
{
    for (size_t i = 0; table && i < table->n; i++) {
        const struct clattn__entry *entry = &table->entries[i];
        bool same = entry->block && !strcmp(entry->engine, engine) && is_in_class(&entry->class, class);
        for (int knob = 0; same && knob < CLATTN__N_KNOBS; knob++)
            same = entry->setting.knob[knob] == 0 || entry->setting.knob[knob] == setting->knob[knob];
        if (same)
            return true;
    }
    return false;
}

/* ---- lines that block, for people ---- */
struct looking {
    char device[sizeof((clattn_device_facts *)0)->name], driver[sizeof((clattn_device_facts *)0)->driver];
    size_t index, seen;
    clattn_tuning_block *block;
};

static void copy_field(char *to, size_t size, const char *text, size_t n)
{
    snprintf(to, size, "%.*s", (int)n, text);
}

static bool look(void *cookie, const struct line *line)
{
    struct looking *l = cookie;
    const size_t date = strlen("0000-00-00"), n = line->length[RECORD];
    if (!line->entry.block || !matches(line->field[DEVICE], line->length[DEVICE], l->device) ||
        !matches(line->field[DRIVER], line->length[DRIVER], l->driver) || l->seen++ != l->index)
        return true;
    copy_field(l->block->problems, sizeof l->block->problems, line->field[CLASS], line->length[CLASS]);
    copy_field(l->block->setting, sizeof l->block->setting, line->field[SETTING], line->length[SETTING]);
    copy_field(l->block->date, sizeof l->block->date, line->field[RECORD], date);
    copy_field(l->block->reason, sizeof l->block->reason, line->field[RECORD] + (n > date ? date + 1 : n),
               n > date ? n - date - 1 : 0);
    return true;
}

bool clattn__tuning_block(const clattn_device_facts *facts, const char *text, size_t *index,
                          clattn_tuning_block *block)
{
    char message[256];
    clattn_tuning_block found = CLATTN_TUNING_BLOCK_INIT;
    struct looking looking = {.index = *index, .block = &found};
    clean_name(facts->name, looking.device, sizeof looking.device);
    clean_name(facts->driver, looking.driver, sizeof looking.driver);
    if (!each_line(text, look, &looking, message, sizeof message))
        return false;
    if (looking.seen > *index)
        *block = found;
    else
        *index -= looking.seen;
    return looking.seen > looking.index;
}

/* ---- the key of a line, and merging ---- */
void clattn__tuning_key(const clattn_device_facts *facts, const struct clattn__problem_class *class,
                        struct clattn__text *out)
{
    char device[sizeof facts->name], driver[sizeof facts->driver];
    clean_name(facts->name, device, sizeof device);
    clean_name(facts->driver, driver, sizeof driver);
    clattn__text_add(out, "%s | %s | ", device, driver);
    clattn__problem_class_print(class, out);
}

struct merging {
    size_t n, capacity;
    struct line *lines;
};

static bool collect(void *cookie, const struct line *line)
{
    struct merging *m = cookie;
    if (m->n == m->capacity) {
        const size_t capacity = m->capacity ? 2 * m->capacity : 64;
        struct line *more = realloc(m->lines, capacity * sizeof *more);
        if (!more)
            return false;
        m->lines = more;
        m->capacity = capacity;
    }
    m->lines[m->n++] = *line;
    return true;
}

static int compare_fields(const struct line *a, const struct line *b, int n)
{
    for (int i = 0; i < n; i++) {
        const size_t shorter = a->length[i] < b->length[i] ? a->length[i] : b->length[i];
        const int order = memcmp(a->field[i], b->field[i], shorter);
        if (order || a->length[i] != b->length[i])
            return order ? order : a->length[i] < b->length[i] ? -1 : 1;
    }
    return 0;
}

/* By all fields; the record, which begins with the date, comes last. */
static int compare_lines(const void *a, const void *b)
{
    return compare_fields(a, b, FIELDS);
}

clattn_status clattn_tuning_merge(const char *older, const char *newer, char *merged, size_t size,
                                  char *message, size_t message_size)
{
    char sentence[256];
    if (!older || !merged || size == 0)
        return CLATTN_NULL_ARGUMENT;
    struct merging m = {0, 0, NULL};
    clattn_status status = CLATTN_OK;
    if (!each_line(older, collect, &m, sentence, sizeof sentence) ||
        (newer && !each_line(newer, collect, &m, sentence, sizeof sentence)))
        status = strcmp(sentence, "out of memory") ? CLATTN_BAD_TUNING : CLATTN_OUT_OF_HOST_MEMORY;
    if (status && message && message_size)
        snprintf(message, message_size, "%s: %s", clattn_status_text(status), sentence);
    struct clattn__text out = clattn__text_into(merged, size);
    if (!status && m.n)
        qsort(m.lines, m.n, sizeof *m.lines, compare_lines);
    clattn__text_add(&out, "%s\n", FIRST_LINE);
    for (size_t i = 0; !status && i < m.n; i++)
        if (i + 1 == m.n || compare_fields(&m.lines[i], &m.lines[i + 1], RECORD)) {
            const struct line *line = &m.lines[i];
            const size_t whole = (size_t)(line->field[RECORD] + line->length[RECORD] - line->field[WORD]);
            clattn__text_add(&out, "%.*s\n", (int)whole, line->field[WORD]);
        }
    free(m.lines);
    return status ? status : out.cut ? CLATTN_BUFFER_TOO_SHORT : CLATTN_OK;
}

clattn_status clattn_knob_describe(const char *engine, size_t index, clattn_knob *knob)
{
    if (!engine || !knob)
        return CLATTN_NULL_ARGUMENT;
    if (knob->size != sizeof *knob)
        return CLATTN_BAD_STRUCT_SIZE;
    for (int i = 0; i < CLATTN__N_KNOBS; i++) {
        int count;
        const int32_t *values = clattn__knob_values(engine, (enum clattn__knob)i, &count);
        if (count == 0 || index-- > 0)
            continue;
        clattn__knob_words((enum clattn__knob)i, &knob->name, &knob->meaning);
        knob->count = count;
        memcpy(knob->values, values, (size_t)count * sizeof *values);
        return CLATTN_OK;
    }
    return CLATTN_BAD_COUNT;
}
