/* SPDX-License-Identifier: MIT
 * fuzz_report.c - a libFuzzer target: whatever is in a file of results, clattn bench refuses it or has a
 * report that it can write in every format, that is the same after reading again, and whose text has no
 * controls.
 *
 * An input that begins with 'J' is the file.  Any other is edits of a good file: of a record's number, a
 * column's, that of a value from a list or the length of a text that follows, which takes the value's place.
 */
#include "tool/report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "fuzz_report.c:%d: not so: %s\n", __LINE__, #condition);                         \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)
#define RECORDS      4 /* the report, a device, two lines */
#define MOST_COLUMNS 80
#define MOST_VALUE   64

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

/* ---- a good file with edits ---- */
struct edits {
    char values[RECORDS][MOST_COLUMNS][MOST_VALUE];
};

static void put_record(FILE *to, const struct edits *edits, int record, const struct column *columns,
                       size_t n)
{
    static const char *const good[] = {"\"attn:f32:h8:q512:k512:d64\"", "7", "0.25"};
    for (size_t i = 0; i < n; i++) {
        const char *edit = edits->values[record][i], *value = edit[0] ? edit
                                                              : i == 0 && columns[i].kind == COLUMN_COUNT
                                                                  ? "0"
                                                                  : good[columns[i].kind];
        /* most fields are shorter than that problem */
        if (!edit[0] && columns[i].kind == COLUMN_TEXT && columns[i].size < 64)
            value = strcmp(columns[i].name, "failed") ? "\"word\"" : "null";
        if (!edit[0] && !strcmp(columns[i].name, "failed"))
            value = "null";
        fprintf(to, "%s\"%s\":%s", i ? "," : "", columns[i].name, value);
    }
}

/* What has broken readers of numbers and of text, and good values that numbers and picture meet rarely. */
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
                                    "\"<script>\"",
                                    "\"|`*&<>\\\"'\"",
                                    "\"attn:f32:q1:k9:d8\"",
                                    "\"attn:bf16:q99:k99:d8\"",
                                    "\"attn:f16:q999999999:k999999999\"",
                                    "\":::::q:k\"",
                                    "1e3",
                                    "7e-5"};
#define KNOWN (sizeof known / sizeof known[0])

static char *edited(const uint8_t *data, size_t size, size_t *length)
{
    static struct edits edits;
    char *text = NULL;
    memset(&edits, 0, sizeof edits);
    while (size > 3) {
        char *value = edits.values[data[0] % RECORDS][data[1] % MOST_COLUMNS];
        const bool listed = data[2] < KNOWN;
        const size_t most = listed ? 0 : data[2] % MOST_VALUE, n = most < size - 3 ? most : size - 3;
        memcpy(value, data + 3, n);
        if (listed)
            snprintf(value, MOST_VALUE, "%s", known[data[2]]);
        else
            value[n] = 0;
        data += 3 + n;
        size -= 3 + n;
    }
    FILE *to = open_memstream(&text, length);
    MUST(to);
    fprintf(to, "{\"schema\":\"" REPORT_SCHEMA "\",\"schema_version\":%d,", REPORT_VERSION);
    put_record(to, &edits, 0, report_columns, n_report_columns);
    fprintf(to, ",\"devices\":[{");
    put_record(to, &edits, 1, device_columns, n_device_columns);
    fprintf(to, "}],\"lines\":[{");
    put_record(to, &edits, 2, line_columns, n_line_columns);
    fprintf(to, "},{");
    put_record(to, &edits, 3, line_columns, n_line_columns);
    fprintf(to, "}]}");
    fclose(to);
    return text;
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

static void check_report(const struct report *report)
{
    static void (*const others[])(FILE *, const struct report *) = {write_csv, write_markdown, write_html};
    struct report *again = malloc(sizeof *again);
    size_t size, size_again;
    char *text = written(write_json, report, &size);
    MUST(again && read_report_text("again", text, size, again) == 0);
    MUST(again->n_lines == report->n_lines && again->n_devices == report->n_devices);
    char *text_again = written(write_json, again, &size_again);
    MUST(size == size_again && !memcmp(text, text_again, size));
    for (int i = 0; i < 3; i++) {
        char *other = written(others[i], report, &size);
        MUST(i < 2 || (!strstr(other, "<script") && strstr(other, "</html>")));
        free(other);
    }
    free(text_again);
    free(text);
    free(again->lines);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct report *report = malloc(sizeof *report);
    const bool raw = size > 0 && data[0] == 'J';
    size_t length = raw ? size - 1 : 0;
    char *text = raw ? NULL : edited(data, size, &length);
    MUST(report);
    const int code = read_report_text("input", raw ? (const char *)data + 1 : text, length, report);
    MUST(code || size > 0 || report->n_lines == 2); /* without edits it is good */
    MUST(size > 0 || code == 0);
    if (!code && (size == 0 || size > 3))
        check_report(report);
    if (!code)
        free(report->lines);
    free(text);
    free(report);
    return 0;
}
