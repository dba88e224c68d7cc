/* SPDX-License-Identifier: MIT
 * fuzz_report.c - a libFuzzer target: whatever is in a file of results, clattn bench refuses it or has a
 * report that it can write in every format, that is the same after reading again, and whose text has no
 * controls.
 *
 * An input that begins with 'J' is the file, with 'M' a worker's message.  Any other is edits of a good file:
 * of a record's number, a column's, that of a value from a list or the length of a text that follows, which
 * takes the value's place.  Of the file's records those stand in it that an edit names, and all if there is
 * none or one alone.  With the empty input, which libFuzzer tries first, each field in turn is a mark of
 * HTML.
 *
 * What keeps it fast: writing takes far longer than reading, so that one in 64 inputs is written, by a sum of
 * its bytes; and jansson, whose hundreds of small allocations an input took a third of the time, has an
 * arena. */
#include "tool/bench/bench.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "fuzz_report.c:%d: not so: %s\n", __LINE__, #condition);                         \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)
#define RECORDS      4 /* the report, a device, two lines */
#define LAST         (RECORDS - 1)
#define MOST_COLUMNS 80
#define MOST_VALUE   64
#define MOST_TEXT    (RECORDS * MOST_COLUMNS * 2 * MOST_VALUE)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int mistake(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The program's, which would print each. */
int mistake(const char *fmt, ...)
{
    char text[8192];
    va_list args;
    va_start(args, fmt);
    MUST(vsnprintf(text, sizeof text, fmt, args) > 0);
    va_end(args);
    return 2;
}

/* ---- jansson's memory ---- */
/* Nothing lies twice at one place while an input is read, and whatever is not allocated is poisoned: a read
 * past an end or after free is found as with malloc, and a leak by the count.  A block: its size, itself,
 * room to the next that is at least GAP. */
#define ARENA ((size_t)64 << 20)
#define GAP   ((size_t)16)
static _Alignas(16) char arena[ARENA];
static size_t arena_end, arena_blocks;

/* The size before a block is poisoned as all else. */
__attribute__((no_sanitize("address"))) static size_t *size_before(void *block)
{
    return (size_t *)(void *)((char *)block - GAP);
}

__attribute__((no_sanitize("address"))) static void *arena_take(size_t size)
{
    char *block = arena + arena_end + GAP;
    MUST(size < ARENA && ARENA - size > arena_end + 4 * GAP);
    arena_end += (size + 3 * GAP - 1) / GAP * GAP;
    arena_blocks++;
    *size_before(block) = size;
    __asan_unpoison_memory_region(block, size);
    return block;
}

__attribute__((no_sanitize("address"))) static void arena_give(void *block)
{
    if (!block)
        return;
    MUST(arena_blocks > 0 && !__asan_address_is_poisoned(block)); /* twice? */
    arena_blocks--;
    __asan_poison_memory_region(block, *size_before(block));
}

static void arena_empty(void)
{
    MUST(arena_blocks == 0);
    __asan_poison_memory_region(arena, arena_end);
    arena_end = 0;
}

/* ---- a good file with edits ---- */
struct piece {
    const char *text;
    size_t length;
};

static const struct {
    const char *before; /* what stands before a record, whether it is there or not */
    const struct column *columns;
    const size_t *n;
} records[RECORDS] = {
    {"{\"schema\":\"" REPORT_SCHEMA "\",\"schema_version\":1,", report_columns, &n_report_columns},
    {",\"devices\":[", device_columns, &n_device_columns},
    {"],\"lines\":[", line_columns, &n_line_columns},
    {"", line_columns, &n_line_columns}};

/* Most fields are shorter than that problem. */
static const char *good_value(const struct column *c, size_t number)
{
    if (c->kind == COLUMN_TEXT)
        return !strcmp(c->name, "failed") ? "null"
               : c->size < 64             ? "\"word\""
                                          : "\"attn:f32:h8:q512:k512:d64\"";
    return c->kind == COLUMN_NUMBER ? "0.25" : number == 0 ? "0" : "7";
}

static struct piece put_piece(char **at, const char *fmt, const char *text, bool comma)
{
    const struct piece piece = {*at, (size_t)sprintf(*at, fmt, comma ? "," : "", text)};
    *at += piece.length;
    return piece;
}

/* A record's names and good values, made once. */
static struct piece names[RECORDS][MOST_COLUMNS], good[RECORDS][MOST_COLUMNS];

static void make_pieces(void)
{
    static char store[MOST_TEXT];
    char *at = store;
    for (int r = 0; r < RECORDS; r++)
        for (size_t i = 0; i < *records[r].n; i++) {
            MUST(*records[r].n <= MOST_COLUMNS && at + 2 * MOST_VALUE < store + sizeof store);
            names[r][i] = put_piece(&at, "%s\"%s\":", records[r].columns[i].name, i > 0);
            good[r][i] = put_piece(&at, "%s%s", good_value(&records[r].columns[i], i), false);
        }
}

static void append(char **at, struct piece piece)
{
    memcpy(*at, piece.text, piece.length);
    *at += piece.length;
}

static void append_text(char **at, const char *text)
{
    append(at, (struct piece){text, strlen(text)});
}

/* What has broken readers of numbers and of text, and good values that numbers and picture meet rarely. */
#define MARK "\"<script>\""
static const char *const known[] = {"null",
                                    "0",
                                    "1",
                                    "-1",
                                    "0.5",
                                    "1e308",
                                    "1e-308",
                                    "-1e308",
                                    "1e999",
                                    "1e15",
                                    "1e-12",
                                    "9223372036854775807",
                                    "9223372036854775808",
                                    "true",
                                    "[]",
                                    "{}",
                                    "\"\"",
                                    "\"x\"",
                                    "\"\\u0000\"",
                                    "\"\\u0007\"",
                                    "\"\\u009b\"",
                                    "\"\\ud800\"",
                                    MARK,
                                    "\"|`*&<>\\\"'\"",
                                    "\"attn:f32:q1:k9:d8\"",
                                    "\"attn:bf16:q99:k99:d8\"",
                                    "\"attn:f16:q999999999:k999999999\"",
                                    "\":::::q:k\"",
                                    "1e3",
                                    "7e-5"};
#define KNOWN (sizeof known / sizeof known[0])

/* All but the report's are objects in lists. */
static void append_record(char **at, int r, const struct piece *edits, const char *open)
{
    append_text(at, open);
    for (size_t i = 0; i < *records[r].n; i++) {
        append(at, names[r][i]);
        append(at, edits[i].text ? edits[i] : good[r][i]);
    }
    append_text(at, r > 0 ? "}" : "");
}

/* The text, of its own length, so that a read past its end is seen. */
static char *edited(const uint8_t *data, size_t size, size_t *length)
{
    static char text[MOST_TEXT];
    struct piece edits[RECORDS][MOST_COLUMNS];
    const bool whole = size <= 4;
    bool stands[RECORDS] = {true, whole, whole, whole};
    char *at = text;
    memset(edits, 0, sizeof edits);
    while (size > 3) {
        const bool listed = data[2] < KNOWN;
        const size_t most = listed ? 0 : data[2] % MOST_VALUE, n = most < size - 3 ? most : size - 3;
        edits[data[0] % RECORDS][data[1] % MOST_COLUMNS] =
            listed ? (struct piece){known[data[2]], strlen(known[data[2]])}
                   : (struct piece){(const char *)data + 3, n};
        stands[data[0] % RECORDS] = true;
        data += 3 + n;
        size -= 3 + n;
    }
    if (!names[0][0].text)
        make_pieces();
    for (int r = 0; r < RECORDS; r++) {
        append_text(&at, records[r].before);
        if (stands[r])
            append_record(&at, r, edits[r], r == 0 ? "" : r == LAST && stands[r - 1] ? ",{" : "{");
    }
    append_text(&at, "]}");
    *length = (size_t)(at - text);
    char *own = malloc(*length);
    MUST(own);
    return memcpy(own, text, *length);
}

/* ---- what must hold ---- */
static char *written(void (*write)(FILE *, const struct report *), const struct report *report, size_t *size)
{
    char *text = NULL;
    FILE *to = open_memstream(&text, size);
    MUST(to);
    write(to, report);
    fclose(to);
    for (size_t i = 0; i < *size; i++)
        MUST((unsigned char)text[i] >= 0x20 || text[i] == '\n');
    return text;
}

/* A file of its text, under a name that may be opened any number of times. */
static int file_of(const char *text, size_t size, char name[32])
{
    const int fd = memfd_create("results", 0);
    MUST(fd >= 0 && write(fd, text, size) == (ssize_t)size);
    snprintf(name, 32, "/proc/self/fd/%d", fd);
    return fd;
}

/* Two files as one, where they may be: devices of the second have numbers of their own. */
static void check_joined(const struct report *report, const char *text, size_t size)
{
    static struct report joined;
    char name[32];
    const int fd = file_of(text, size, name);
    if (read_reports(&joined, (const char *const[]){name, name}, 2) == 0) {
        MUST(joined.n_lines == 2 * report->n_lines && joined.n_devices == 2 * report->n_devices);
        for (size_t i = 0; i < report->n_devices; i++)
            for (size_t j = 0; j < report->n_devices; j++)
                MUST(joined.devices[i].device != joined.devices[report->n_devices + j].device);
    }
    MUST(compare_files(name, name, false) <= 1);
    free(joined.lines);
    close(fd);
}

static void check_written(const struct report *report)
{
    static void (*const others[])(FILE *, const struct report *) = {write_csv, write_markdown, write_html};
    struct report *again = malloc(sizeof *again);
    size_t size, size_again;
    char *text = written(write_json, report, &size);
    MUST(again && read_report_text("again", text, size, again) == 0);
    MUST(again->n_lines == report->n_lines && again->n_devices == report->n_devices);
    char *text_again = written(write_json, again, &size_again);
    MUST(size == size_again && !memcmp(text, text_again, size));
    check_joined(report, text, size);
    for (int i = 0; i < 3; i++) {
        char *other = written(others[i], report, &size);
        MUST(i < 1 || !strstr(other, "<script")); /* CSV holds texts as they are */
        MUST(i < 2 || strstr(other, "</html>"));
        free(other);
    }
    free(text_again);
    free(text);
    free(again->lines);
    free(again);
}

/* What every field promises. */
static void check_record(const void *record, const struct column *columns, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct column *c = &columns[i];
        if (c->kind == COLUMN_TEXT)
            MUST(memchr(text_at(record, c), 0, c->size));
        else if (c->kind == COLUMN_COUNT)
            MUST(count_at(record, c) >= -1);
        else
            MUST(!isinf(number_at(record, c)));
    }
}

static void check_read(const struct report *report)
{
    MUST(report->n_devices <= REPORT_DEVICES && report->n_lines <= REPORT_LINES);
    check_record(report, report_columns, n_report_columns);
    for (size_t i = 0; i < report->n_devices; i++)
        check_record(&report->devices[i], device_columns, n_device_columns);
    for (size_t i = 0; i < report->n_lines; i++)
        check_record(&report->lines[i], line_columns, n_line_columns);
}

static void check_message(const uint8_t *data, size_t size)
{
    static struct message message;
    char *text = malloc(size + 1);
    MUST(text);
    memcpy(text, data, size);
    text[size] = 0;
    receive_message(text, &message);
    check_record(&message.device, device_columns, n_device_columns);
    check_record(&message.line, line_columns, n_line_columns);
    free(text);
}

/* FNV-1a's. */
static uint32_t sum_of(const uint8_t *data, size_t size)
{
    uint32_t sum = 2166136261u;
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ data[i]) * 16777619u;
    return sum;
}

static void check_report(const uint8_t *data, size_t size, bool writes)
{
    static struct report report;
    const bool raw = size > 0 && data[0] == 'J';
    size_t length = raw ? size - 1 : 0;
    char *text = raw ? NULL : edited(data, size, &length);
    const int code = read_report_text("input", raw ? (const char *)data + 1 : text, length, &report);
    MUST(size > 0 || (code == 0 && report.n_lines == 2)); /* without edits it is good */
    MUST(!code || !report.lines);
    if (!code) {
        check_read(&report);
        if (writes)
            check_written(&report);
        free(report.lines);
    }
    free(text);
}

static void check_marks(void)
{
    uint8_t mark = 0;
    while (strcmp(known[mark], MARK))
        mark++;
    for (uint8_t r = 0; r < RECORDS; r++)
        for (uint8_t i = 0; i < *records[r].n; i++)
            check_report((const uint8_t[]){r, i, mark, 0}, 4, true);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    __asan_poison_memory_region(arena, sizeof arena);
    json_set_alloc_funcs(arena_take, arena_give);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 'M')
        check_message(data + 1, size - 1);
    else
        check_report(data, size, size == 0 || (size > 3 && sum_of(data, size) / 64 % 64 == 0));
    if (size == 0)
        check_marks();
    arena_empty();
    return 0;
}
