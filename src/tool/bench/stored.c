/* SPDX-License-Identifier: MIT
 * stored.c - results that were measured before: several files as one report, to write it in other formats or
 * to put machines side by side. */
#include "tool/bench/bench.h"

#include <stdlib.h>
#include <string.h>

/* Devices of a further file get numbers of their own. */
static void renumber(struct report *more, int64_t by)
{
    for (size_t i = 0; i < more->n_devices; i++)
        more->devices[i].device += by;
    for (size_t i = 0; i < more->n_lines; i++)
        more->lines[i].device += by;
}

/* The first number that no device has, and no line whose device is missing. */
static int64_t next_number(const struct report *report)
{
    int64_t next = 0;
    for (size_t i = 0; i < report->n_devices; i++)
        next = report->devices[i].device >= next ? report->devices[i].device + 1 : next;
    for (size_t i = 0; i < report->n_lines; i++)
        next = report->lines[i].device >= next ? report->lines[i].device + 1 : next;
    return next;
}

static bool is_number(int64_t device)
{
    return device >= 0 && device < INT32_MAX;
}

/* Whether new numbers can be told from the old ones: none is blank, and none is so large that sums
 * overflow. */
static int check_numbers(const struct report *report, const char *path)
{
    bool good = true;
    for (size_t i = 0; i < report->n_devices; i++)
        good = good && is_number(report->devices[i].device);
    for (size_t i = 0; i < report->n_lines; i++)
        good = good && is_number(report->lines[i].device);
    return good ? 0
                : mistake("%s: a device's number is blank or beyond 2^31, and it goes beside other files",
                          path);
}

static int join(struct report *report, const struct report *more, const char *path)
{
    struct result *lines = realloc(report->lines, (report->n_lines + more->n_lines + 1) * sizeof *lines);
    if (lines)
        report->lines = lines;
    if (!lines || report->n_lines + more->n_lines > REPORT_LINES ||
        report->n_devices + more->n_devices > REPORT_DEVICES)
        return mistake("%s: with it there are more than %d devices or %d lines", path, REPORT_DEVICES,
                       REPORT_LINES);
    memcpy(report->devices + report->n_devices, more->devices, more->n_devices * sizeof *more->devices);
    memcpy(report->lines + report->n_lines, more->lines, more->n_lines * sizeof *more->lines);
    report->n_devices += more->n_devices;
    report->n_lines += more->n_lines;
    return 0;
}

static int read_more(struct report *report, struct report *more, const char *path)
{
    int code = read_report(path, more);
    if (code)
        return code;
    code = check_numbers(more, path);
    if (!code) {
        renumber(more, next_number(report));
        code = join(report, more, path);
    }
    free(more->lines);
    return code;
}

int read_reports(struct report *report, const char *const *paths, int n)
{
    struct report *more = malloc(sizeof *more);
    int code = more ? read_report(paths[0], report) : mistake("out of memory");
    if (!code && n > 1)
        code = check_numbers(report, paths[0]);
    for (int i = 1; i < n && !code; i++)
        code = read_more(report, more, paths[i]);
    free(more);
    return code;
}
