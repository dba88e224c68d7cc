/* SPDX-License-Identifier: MIT
 * json.c - clattn bench's results as JSON: the file, its schema, its way back, and one record as one
 * line for a pipe.
 *
 * A file is read strictly: what is not as the schema says is an error, so that no comparison rests on a
 * guess. */
#include "tool/report/report.h"
#include "tool/tool.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)64 << 20) /* of a file */

static const char *const kind_words[] = {"string", "integer", "number"};
static const char *const role_words[] = {"key", "setting", "metric"};

/* ---- out ---- */
static json_t *value_of(const void *record, const struct column *c)
{
    if (is_blank(record, c))
        return json_null();
    return c->kind == COLUMN_TEXT    ? json_string(text_at(record, c))
           : c->kind == COLUMN_COUNT ? json_integer((json_int_t)count_at(record, c))
                                     : json_real(number_at(record, c));
}

static json_t *object_of(const void *record, const struct column *columns, size_t n)
{
    json_t *object = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(object, columns[i].name, value_of(record, &columns[i]));
    return object;
}

void write_json(FILE *file, const struct report *report)
{
    json_t *all = json_pack("{s:s, s:i}", "schema", REPORT_SCHEMA, "schema_version", REPORT_VERSION);
    json_t *rest = object_of(report, report_columns, n_report_columns), *devices = json_array(),
           *lines = json_array();
    for (size_t i = 0; i < report->n_devices; i++)
        json_array_append_new(devices, object_of(&report->devices[i], device_columns, n_device_columns));
    for (size_t i = 0; i < report->n_lines; i++)
        json_array_append_new(lines, object_of(&report->lines[i], line_columns, n_line_columns));
    json_object_update(all, rest);
    json_object_set_new(all, "devices", devices);
    json_object_set_new(all, "lines", lines);
    if (!all || json_dumpf(all, file, JSON_INDENT(2) | JSON_REAL_PRECISION(9)))
        fputs("null", file); /* out of memory */
    fputc('\n', file);
    json_decref(rest);
    json_decref(all);
}

void send_record(FILE *to, const char *kind, const void *record, const struct column *columns, size_t n)
{
    json_t *object = json_pack("{s:o}", kind, object_of(record, columns, n));
    json_dumpf(object, to, JSON_COMPACT);
    fputc('\n', to);
    fflush(to);
    json_decref(object);
}

/* ---- the schema: JSON Schema 2020-12, from the same columns ---- */
static json_t *schema_of(const struct column *columns, size_t n)
{
    json_t *properties = json_object(), *required = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *property = json_pack("{s:[s, s], s:s}", "type", kind_words[columns[i].kind], "null", "x-role",
                                     role_words[columns[i].role]);
        if (columns[i].what[0])
            json_object_set_new(property, "description", json_string(columns[i].what));
        if (columns[i].kind == COLUMN_TEXT)
            json_object_set_new(property, "maxLength", json_integer((json_int_t)columns[i].size - 1));
        json_object_set_new(properties, columns[i].name, property);
        json_array_append_new(required, json_string(columns[i].name));
    }
    return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required", required,
                     "additionalProperties", 0);
}

static json_t *list_of(json_t *items, int most)
{
    return json_pack("{s:s, s:i, s:o}", "type", "array", "maxItems", most, "items", items);
}

void write_schema(FILE *file)
{
    json_t *all = json_pack("{s:s, s:s}", "$schema", "https://json-schema.org/draft/2020-12/schema", "title",
                            "results of clattn bench");
    json_t *top = schema_of(report_columns, n_report_columns);
    json_t *properties = json_object_get(top, "properties"), *required = json_object_get(top, "required");
    json_object_set_new(properties, "schema", json_pack("{s:s}", "const", REPORT_SCHEMA));
    json_object_set_new(properties, "schema_version", json_pack("{s:i}", "const", REPORT_VERSION));
    json_object_set_new(properties, "devices",
                        list_of(schema_of(device_columns, n_device_columns), REPORT_DEVICES));
    json_object_set_new(properties, "lines", list_of(schema_of(line_columns, n_line_columns), REPORT_LINES));
    for (int i = 0; i < 4; i++)
        json_array_append_new(
            required, json_string(((const char *[]){"schema", "schema_version", "devices", "lines"})[i]));
    json_object_update(all, top);
    json_dumpf(all, file, JSON_INDENT(2));
    fputc('\n', file);
    json_decref(top);
    json_decref(all);
}

/* ---- in ---- */
static bool take_value(void *record, const struct column *c, const json_t *value)
{
    char *at = (char *)record + c->offset;
    if (json_is_null(value))
        return true;
    if (c->kind == COLUMN_TEXT) {
        if (!json_is_string(value) || json_string_length(value) >= c->size ||
            strlen(json_string_value(value)) != json_string_length(value))
            return false;
        put_text(at, c->size, json_string_value(value));
    } else if (c->kind == COLUMN_COUNT) {
        const int64_t count = json_integer_value(value);
        if (!json_is_integer(value) || count < 0)
            return false;
        memcpy(at, &count, sizeof count);
    } else {
        const double number = json_number_value(value);
        if (!json_is_number(value) || !isfinite(number))
            return false;
        memcpy(at, &number, sizeof number);
    }
    return true;
}

/* The name of the first column that is missing or not as it should be, or of the one that is not known; NULL:
 * all are good. known: how many more names the object may have. */
static const char *take_object(void *record, const struct column *columns, size_t n, const json_t *object,
                               size_t known)
{
    const char *key;
    json_t *value;
    for (size_t i = 0; i < n; i++) {
        value = json_object_get(object, columns[i].name);
        if (!value || !take_value(record, &columns[i], value))
            return columns[i].name;
    }
    if (json_object_size(object) == n + known)
        return NULL;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;
        while (i < n && strcmp(columns[i].name, key))
            i++;
        if (i == n && known == 0)
            return key;
    }
    return "a name that is not of the schema";
}

static int refuse_column(const char *path, const char *what, size_t number, const char *column)
{
    char plain[64];
    PUT_TEXT(plain, column);
    return mistake("%s: %s %zu: '%s' is missing or not as `clattn bench --schema' says", path, what, number,
                   plain);
}

static int take_devices(const char *path, struct report *report, const json_t *devices)
{
    if (!json_is_array(devices) || json_array_size(devices) > REPORT_DEVICES)
        return mistake("%s: devices is no list of %d or fewer", path, REPORT_DEVICES);
    for (size_t i = 0; i < json_array_size(devices); i++, report->n_devices++) {
        blank_device(&report->devices[i]);
        const char *column =
            take_object(&report->devices[i], device_columns, n_device_columns, json_array_get(devices, i), 0);
        if (column)
            return refuse_column(path, "device", i, column);
    }
    return 0;
}

static int take_lines(const char *path, struct report *report, const json_t *lines)
{
    if (!json_is_array(lines) || json_array_size(lines) > REPORT_LINES)
        return mistake("%s: lines is no list of %d or fewer", path, REPORT_LINES);
    report->lines = calloc(json_array_size(lines) + 1, sizeof *report->lines);
    if (!report->lines)
        return mistake("out of memory");
    for (size_t i = 0; i < json_array_size(lines); i++, report->n_lines++) {
        blank_line(&report->lines[i]);
        const char *column =
            take_object(&report->lines[i], line_columns, n_line_columns, json_array_get(lines, i), 0);
        if (column)
            return refuse_column(path, "line", i + 1, column);
    }
    return 0;
}

static int take_report(const char *path, struct report *report, const json_t *all)
{
    const char *schema = json_string_value(json_object_get(all, "schema"));
    const json_t *version = json_object_get(all, "schema_version");
    if (!schema || strcmp(schema, REPORT_SCHEMA))
        return mistake("%s is not from `clattn bench --json': its schema is not " REPORT_SCHEMA, path);
    if (!json_is_integer(version) || json_integer_value(version) != REPORT_VERSION)
        return mistake("%s has another version of the schema than %d, which this clattn reads", path,
                       REPORT_VERSION);
    const char *column = take_object(report, report_columns, n_report_columns, all, 4);
    if (column)
        return refuse_column(path, "report", 1, column);
    return take_devices(path, report, json_object_get(all, "devices")) ||
                   take_lines(path, report, json_object_get(all, "lines"))
               ? EXIT_MISTAKE
               : 0;
}

/* All of a file, closed with a zero; NULL after a sentence. */
static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    *size = 0;
    if (!file) {
        mistake("%s: %s", path, strerror(errno));
        return NULL;
    }
    for (size_t room = 1 << 16; room <= MOST_BYTES; room *= 2) {
        char *more = realloc(text, room);
        if (!more)
            break;
        text = more;
        *size += fread(text + *size, 1, room - 1 - *size, file);
        if (*size < room - 1)
            break;
    }
    const bool whole = text && feof(file) && !ferror(file);
    if (!whole)
        mistake("%s: %s", path,
                ferror(file) ? strerror(errno) : "it is longer than any result of clattn bench");
    fclose(file);
    if (whole)
        text[*size] = 0;
    else
        free(text);
    return whole ? text : NULL;
}

int read_report_text(const char *name, const char *text, size_t size, struct report *report)
{
    json_error_t error;
    blank_report(report);
    json_t *all = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    int code =
        all ? take_report(name, report, all) : mistake("%s: line %d: %s", name, error.line, error.text);
    json_decref(all);
    if (code) {
        free(report->lines);
        report->lines = NULL;
    }
    return code;
}

int read_report(const char *path, struct report *report)
{
    size_t size;
    char *text = read_file(path, &size);
    int code = text ? read_report_text(path, text, size, report) : EXIT_MISTAKE;
    free(text);
    return code;
}

void receive_message(const char *text, struct message *m)
{
    json_error_t error;
    json_t *all = json_loads(text, JSON_REJECT_DUPLICATES, &error), *inner;
    m->kind = MESSAGE_BAD;
    blank_device(&m->device);
    blank_line(&m->line);
    if ((inner = json_object_get(all, "line")) &&
        !take_object(&m->line, line_columns, n_line_columns, inner, 0))
        m->kind = MESSAGE_LINE;
    else if ((inner = json_object_get(all, "device")) &&
             !take_object(&m->device, device_columns, n_device_columns, inner, 0))
        m->kind = MESSAGE_DEVICE;
    else if ((inner = json_object_get(all, "end")) &&
             !take_object(&m->device, device_columns, n_device_columns, inner, 0))
        m->kind = MESSAGE_END;
    else if (json_is_integer(inner = json_object_get(all, "begin"))) {
        m->number = json_integer_value(inner);
        m->kind = MESSAGE_BEGIN;
    }
    json_decref(all);
}
