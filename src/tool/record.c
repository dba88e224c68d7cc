/* SPDX-License-Identifier: MIT
 * record.c - the results of clattn bench for programs: CSV and JSON of the same columns, in seconds and
 * operations a second. */
#include "tool/bench.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A number that was measured, else null. */
static json_t *number(bool measured, double value)
{
    return measured && isfinite(value) ? json_real(value) : json_null();
}

static json_t *text(const char *string)
{
    json_t *value = string ? json_string(string) : json_null();
    return value ? value : json_string("(no UTF-8)");
}

/* The options as a shell takes them. */
static json_t *options_text(const struct bench *b)
{
    char *words = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&words, &size);
    if (!memory)
        return json_string("");
    print_problem_options(memory, &b->options);
    fclose(memory);
    json_t *value = text(words && words[0] ? words + 1 : "");
    free(words);
    return value;
}

/* The columns of pruned problems. */
static void add_pruned(const struct result *r, json_t *o)
{
    const struct pruned *p = &r->pruned;
    const bool good = r->is_pruned && !r->why[0], dense = p->dense_seconds > 0;
    json_object_set_new(o, "refresh", text(p->refresh));
    json_object_set_new(o, "select_seconds", number(good, p->select_seconds));
    json_object_set_new(o, "visited", number(good, p->visited));
    json_object_set_new(o, "kept_mass", number(good, p->mass.mean));
    json_object_set_new(o, "kept_mass_least", number(good, p->mass.least));
    json_object_set_new(o, "certified", number(good && p->certified >= 0, p->certified));
    json_object_set_new(o, "dense_engine", text(p->dense_engine));
    json_object_set_new(o, "dense_seconds", number(dense, p->dense_seconds));
    json_object_set_new(o, "dense_times", number(dense, p->dense_times));
}

/* The columns, in their order. */
static json_t *record_of(const struct bench *b, const struct result *r)
{
    bool good = !r->why[0];
    json_t *o = json_object();
    json_object_set_new(o, "device", json_integer(r->device));
    json_object_set_new(o, "device_name", text(r->device_name));
    json_object_set_new(o, "problem", text(r->problem));
    json_object_set_new(o, "options", options_text(b));
    json_object_set_new(o, "engine", text(r->engine));
    json_object_set_new(o, "failed", good ? json_null() : text(r->why));
    json_object_set_new(o, "runs", json_integer(r->runs));
    json_object_set_new(o, "median_seconds", number(good, r->seconds));
    json_object_set_new(o, "spread", number(good, r->spread));
    json_object_set_new(o, "gflops", number(good, r->gflops));
    json_object_set_new(o, "gbytes", number(good && r->gbytes > 0, r->gbytes));
    json_object_set_new(o, "fraction_of_peak", number(good && r->of_peak > 0, r->of_peak));
    json_object_set_new(o, "peak_gflops", number(good && r->peak_gflops > 0, r->peak_gflops));
    json_object_set_new(o, "fraction_of_read", number(good && r->of_read > 0, r->of_read));
    json_object_set_new(o, "launch_seconds", number(good && r->launch_seconds > 0, r->launch_seconds));
    json_object_set_new(o, "fraction_of_floor", number(good && r->launch_seconds > 0, r->of_floor));
    json_object_set_new(o, "error", number(r->bound > 0, r->error));
    json_object_set_new(o, "bound", number(r->bound > 0, r->bound));
    json_object_set_new(o, "baseline_seconds", number(r->baseline.seconds > 0, r->baseline.seconds));
    json_object_set_new(o, "baseline_times", number(r->baseline_times > 0, r->baseline_times));
    json_object_set_new(o, "baseline_runs", json_integer(r->baseline.runs));
    json_object_set_new(o, "no_baseline", text(r->baseline.why));
    add_pruned(r, o);
    return o;
}

/* ---- CSV ---- */
static void write_text(FILE *file, const char *value)
{
    fputc('"', file);
    for (; *value; value++) {
        if (*value == '"')
            fputc('"', file);
        fputc(*value, file);
    }
    fputc('"', file);
}

/* null is an empty field. */
static void write_field(FILE *file, const json_t *value)
{
    if (json_is_string(value))
        write_text(file, json_string_value(value));
    else if (json_is_integer(value))
        fprintf(file, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        fprintf(file, "%.9g", json_real_value(value));
}

static void write_csv(FILE *file, json_t *all)
{
    size_t i;
    json_t *record, *value;
    const char *key, *comma = "";
    json_object_foreach(json_array_get(all, 0), key, value) {
        fprintf(file, "%s%s", comma, key);
        comma = ",";
    }
    json_array_foreach(all, i, record) {
        comma = "\n";
        json_object_foreach(record, key, value) {
            fprintf(file, "%s", comma);
            write_field(file, value);
            comma = ",";
        }
    }
    fprintf(file, "\n");
}

/* ---- files ---- */
static FILE *open_record(const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file)
        mistake("%s: it cannot be written: %s", path, strerror(errno));
    return file;
}

int open_records(struct bench *b)
{
    if (b->csv && !(b->csv_file = open_record(b->csv)))
        return EXIT_MISTAKE;
    if (b->json && !(b->json_file = open_record(b->json)))
        return EXIT_MISTAKE;
    return 0;
}

int write_records(struct bench *b)
{
    int code = 0;
    json_t *all = json_array();
    for (size_t i = 0; i < b->n_results; i++)
        json_array_append_new(all, record_of(b, &b->results[i]));
    if (b->csv_file) {
        write_csv(b->csv_file, all);
        code |= close_written(b->csv_file, b->csv);
    }
    if (b->json_file) {
        json_dumpf(all, b->json_file, JSON_INDENT(2));
        fputc('\n', b->json_file);
        code |= close_written(b->json_file, b->json);
    }
    json_decref(all);
    return code;
}
