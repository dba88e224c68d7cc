/* SPDX-License-Identifier: MIT
 * columns.c - the fields of clattn bench's results by name: what every format writes, and what is read back.
 */
#include "tool/report/report.h"

#include <math.h>
#include <string.h>

#define FIELD(record, kind, role, name, field, what)                                                         \
    {                                                                                                        \
        name, COLUMN_##kind, COLUMN_##role, offsetof(struct record, field),                                  \
            sizeof(((struct record *)0)->field), what                                                        \
    }

const struct column report_columns[] = {
    FIELD(report, TEXT, SETTING, "clattn", version, "version of clattn"),
    FIELD(report, TEXT, SETTING, "date", date, "when it began, UTC"),
    FIELD(report, TEXT, SETTING, "preset", preset, "blank: problems from the command line"),
    FIELD(report, TEXT, SETTING, "command", command, "the call"),
    FIELD(report, TEXT, SETTING, "host", host, "system and processor"),
    FIELD(report, TEXT, SETTING, "warning", warning, "what the whole machine did"),
};
const size_t n_report_columns = sizeof report_columns / sizeof report_columns[0];

#define DEVICE(...) FIELD(report_device, __VA_ARGS__)
const struct column device_columns[] = {
    DEVICE(COUNT, KEY, "device", device, "number in `clattn devices'"),
    DEVICE(TEXT, KEY, "name", name, ""),
    DEVICE(TEXT, SETTING, "platform", platform, "the OpenCL implementation"),
    DEVICE(TEXT, SETTING, "vendor", vendor, ""),
    DEVICE(TEXT, SETTING, "driver", driver, "version"),
    DEVICE(TEXT, SETTING, "type", type, "cpu, gpu or accelerator"),
    DEVICE(COUNT, SETTING, "compute_units", compute_units, ""),
    DEVICE(COUNT, SETTING, "clock_mhz", clock_mhz, "as the driver says"),
    DEVICE(NUMBER, METRIC, "peak_gflops", peak_gflops, "multiply-adds, two operations each, 10^9/s"),
    DEVICE(NUMBER, METRIC, "pair_gflops", pair_gflops, "the same by products of bf16 pairs"),
    DEVICE(NUMBER, METRIC, "read_gbytes", read_gbytes, "reading, 10^9 B/s"),
    DEVICE(NUMBER, METRIC, "launch_seconds", launch_seconds, "an empty kernel, from enqueue to finish"),
    DEVICE(NUMBER, METRIC, "peak_gflops_after", peak_gflops_after, "peak_gflops again, after the last line"),
    DEVICE(TEXT, SETTING, "peers", peers, "other libraries that were there, and those left out"),
    DEVICE(TEXT, METRIC, "warning", warning, "what the device did in between"),
};
const size_t n_device_columns = sizeof device_columns / sizeof device_columns[0];

#define LINE(...) FIELD(result, __VA_ARGS__)
const struct column line_columns[] = {
    LINE(COUNT, KEY, "device", device, "number in `clattn devices'"),
    LINE(TEXT, KEY, "device_name", device_name, "with its platform"),
    LINE(TEXT, SETTING, "driver", driver, "version"),
    LINE(TEXT, KEY, "problem", problem, "clattn_problem(7)"),
    LINE(TEXT, KEY, "options", options, "beside the problem, as a shell takes them"),
    LINE(TEXT, KEY, "tensors", tensors, "folder of real tensors; blank: random ones"),
    LINE(TEXT, SETTING, "note", note, "what the problem stands for"),
    LINE(TEXT, SETTING, "engine", engine, ""),
    LINE(TEXT, SETTING, "tile", tile, "as the plan says it"),
    LINE(TEXT, METRIC, "failed", failed, "the sentence; blank: measured"),
    LINE(TEXT, METRIC, "warning", warning, "why the times are not to be trusted as they stand"),
    LINE(COUNT, METRIC, "runs", runs, "timed"),
    LINE(COUNT, METRIC, "repetitions", repetitions,
         "series of runs, between measurements of the device's rates"),
    LINE(NUMBER, METRIC, "median_seconds", seconds, "a run, by the wall clock; from memory (cold_bytes): by the device's"),
    LINE(NUMBER, METRIC, "median_low", low, "the median's interval, 95 % confidence"),
    LINE(NUMBER, METRIC, "median_high", high, ""),
    LINE(NUMBER, METRIC, "spread", spread, "distance of the quartiles, part of the median"),
    LINE(NUMBER, METRIC, "drift", drift, "second half's median over the first half's, less 1"),
    LINE(NUMBER, METRIC, "event_seconds", event_seconds, "a run, by the device's clock"),
    LINE(COUNT, KEY, "cold_bytes", cold_bytes,
         "written over the device's caches before each run; 0: none"),
    LINE(NUMBER, METRIC, "operations", operations, "of a run"),
    LINE(NUMBER, METRIC, "bytes", bytes, "q, k, v, o and lse once"),
    LINE(NUMBER, METRIC, "gflops", gflops, "10^9 operations/s"),
    LINE(NUMBER, METRIC, "gbytes", gbytes, "10^9 B/s"),
    LINE(NUMBER, METRIC, "fraction_of_peak", of_peak, "of peak_gflops"),
    LINE(NUMBER, METRIC, "peak_gflops", peak_gflops,
         "of the device around the line; of bf16 problems that of bf16"),
    LINE(NUMBER, METRIC, "fraction_of_read", of_read, "of read_gbytes"),
    LINE(NUMBER, METRIC, "read_gbytes", read_gbytes, "of the device around the line"),
    LINE(NUMBER, METRIC, "launch_seconds", launch_seconds, "an empty kernel, from enqueue to finish"),
    LINE(NUMBER, METRIC, "fraction_of_floor", of_floor,
         "launch and the slower of arithmetic and reading, by the time"),
    LINE(NUMBER, METRIC, "error", error, "largest difference from double precision"),
    LINE(NUMBER, METRIC, "bound", bound, "what it may be"),
    LINE(NUMBER, METRIC, "joules", joules, "of a run"),
    LINE(NUMBER, METRIC, "watts", watts, ""),
    LINE(NUMBER, METRIC, "mhz", mhz, "clock"),
    LINE(NUMBER, METRIC, "baseline_seconds", baseline_seconds, "two CLBlast products and a softmax"),
    LINE(NUMBER, METRIC, "baseline_times", baseline_times, "how many times as long they take"),
    LINE(COUNT, METRIC, "baseline_runs", baseline_runs, ""),
    LINE(TEXT, METRIC, "no_baseline", no_baseline, "why there is none"),
    LINE(TEXT, METRIC, "peer", peer, "the fastest of the other libraries"),
    LINE(NUMBER, METRIC, "peer_seconds", peer_seconds, "its time by its own clock"),
    LINE(NUMBER, METRIC, "peer_times", peer_times, "how many times as long it takes"),
    LINE(TEXT, KEY, "refresh", refresh, "steps between selections"),
    LINE(NUMBER, METRIC, "select_seconds", select_seconds, "of a step, apart from attention"),
    LINE(NUMBER, METRIC, "visited", visited, "pairs, part of the dense problem's"),
    LINE(NUMBER, METRIC, "kept_mass", kept_mass, "softmax on visited keys, mean of rows"),
    LINE(NUMBER, METRIC, "kept_mass_least", kept_mass_least, "of the head that keeps least"),
    LINE(NUMBER, METRIC, "certified", certified, "listed blocks that are proved to be the best, part of all"),
    LINE(COUNT, KEY, "delta", delta, "rows from one dense row that corrects to the next"),
    LINE(NUMBER, METRIC, "delta_seconds", delta_seconds, "dense rows and correction"),
    LINE(NUMBER, METRIC, "delta_rows_seconds", delta_rows_seconds, "dense rows alone"),
    LINE(NUMBER, METRIC, "delta_distance", delta_distance, "from dense attention, part of its length"),
    LINE(NUMBER, METRIC, "delta_distance_before", delta_distance_before, "the same without the correction"),
    LINE(TEXT, METRIC, "dense_engine", dense_engine, ""),
    LINE(NUMBER, METRIC, "dense_seconds", dense_seconds, "the same problem without lists"),
    LINE(NUMBER, METRIC, "dense_times", dense_times, "how many times as long it takes"),
};
const size_t n_line_columns = sizeof line_columns / sizeof line_columns[0];

/* ---- access ---- */
const char *text_at(const void *record, const struct column *c)
{
    return (const char *)record + c->offset;
}

int64_t count_at(const void *record, const struct column *c)
{
    int64_t value;
    memcpy(&value, (const char *)record + c->offset, sizeof value);
    return value;
}

double number_at(const void *record, const struct column *c)
{
    double value;
    memcpy(&value, (const char *)record + c->offset, sizeof value);
    return value;
}

bool is_blank(const void *record, const struct column *c)
{
    return c->kind == COLUMN_TEXT    ? !text_at(record, c)[0]
           : c->kind == COLUMN_COUNT ? count_at(record, c) < 0
                                     : !isfinite(number_at(record, c));
}

static void blank(void *record, const struct column *columns, size_t n)
{
    const int64_t none = -1;
    const double nan = NAN;
    for (size_t i = 0; i < n; i++) {
        char *at = (char *)record + columns[i].offset;
        if (columns[i].kind == COLUMN_TEXT)
            *at = 0;
        else
            memcpy(at, columns[i].kind == COLUMN_COUNT ? (const void *)&none : (const void *)&nan,
                   columns[i].size);
    }
}

void blank_report(struct report *report)
{
    memset(report, 0, sizeof *report);
    blank(report, report_columns, n_report_columns);
}

void blank_device(struct report_device *device)
{
    memset(device, 0, sizeof *device);
    blank(device, device_columns, n_device_columns);
}

void blank_line(struct result *line)
{
    memset(line, 0, sizeof *line);
    blank(line, line_columns, n_line_columns);
}

/* Bytes of the UTF-8 letter that begins here, 0 if it is none or a control; shortest forms alone, no halves
 * of pairs. */
static int letter_bytes(const unsigned char *p)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const int n = *p < 0x80 ? 1 : *p < 0xC0 ? 0 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : *p < 0xF8 ? 4 : 0;
    if (n < 2)
        return n == 1 && *p >= 0x20 && *p != 0x7F;
    uint32_t code = *p & (0x7Fu >> n);
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3Fu);
    }
    const bool control = code < 0xA0, half = code >= 0xD800 && code < 0xE000;
    return code < least[n] || control || half || code > 0x10FFFF ? 0 : n;
}

void put_text(char *field, size_t size, const char *text)
{
    size_t n = 0;
    while (*text) {
        const int bytes = letter_bytes((const unsigned char *)text);
        if (n + (size_t)(bytes ? bytes : 1) >= size)
            break;
        if (!bytes)
            field[n++] = (unsigned char)*text < 0x20 ? ' ' : '?';
        for (int i = 0; i < bytes; i++)
            field[n++] = text[i];
        text += bytes ? bytes : 1;
    }
    field[n] = 0;
}

bool line_pruned(const struct result *r)
{
    return isfinite(r->visited);
}

double line_seconds(const struct result *r)
{
    return isfinite(r->select_seconds) ? r->seconds + r->select_seconds : r->seconds;
}

const struct report_device *device_of(const struct report *report, const struct result *r)
{
    for (size_t i = 0; i < report->n_devices; i++)
        if (report->devices[i].device == r->device)
            return &report->devices[i];
    return NULL;
}

/* ---- numbers for people ---- */
void put_number(cell to, double value, int decimals)
{
    const int most = decimals + 3;
    const double least = pow(10, decimals > 1 ? 2 - decimals : -decimals);
    for (double limit = 1e3; decimals > 0 && value >= limit; limit *= 10)
        decimals--;
    for (double limit = least; decimals > 0 && decimals < most && value > 0 && value < limit; limit /= 10)
        decimals++;
    if (isfinite(value))
        snprintf(to, sizeof(cell), "%.*f", decimals, value);
    else
        snprintf(to, sizeof(cell), "-");
}

void put_fraction(cell to, double value)
{
    if (value > 0)
        snprintf(to, sizeof(cell), "%.2f", value);
    else
        snprintf(to, sizeof(cell), "-");
}

void put_times(cell to, double value)
{
    if (value > 0)
        snprintf(to, sizeof(cell), value < 999.95 ? "%.1fx" : "%.0fx", value);
    else
        snprintf(to, sizeof(cell), "-");
}

void put_percent(cell to, double value)
{
    if (isfinite(value))
        snprintf(to, sizeof(cell), "%.0f%%", value * 100);
    else
        snprintf(to, sizeof(cell), "-");
}
