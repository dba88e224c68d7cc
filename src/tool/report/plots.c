/* SPDX-License-Identifier: MIT
 * plots.c - the pictures of clattn bench's page: roofline, time against length, devices side by side. */
#include "tool/report/plots.h"
#include "tool/report/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SERIES 8
#define MOST_POINTS 32
#define GOLDEN      0.5 /* height of a chart by its width, but for room below */

static const char *const classes[SVG_COLOURS] = {"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"};

/* Whether a value from a file of anyone's is one that something could have been measured as. */
static bool plottable(double value)
{
    return value > 1e-12 && value < 1e15;
}

/* The frame of a chart, with margins for the numbers of the ordinate and for the titles; svg_end ends it. */
static struct svg_chart begin_chart(FILE *to, double width, const char *title, const char *what,
                                    struct svg_axis x, struct svg_axis y)
{
    struct svg_chart c = {.to = to,
                          .width = width,
                          .height = width * GOLDEN + 40,
                          .left = 46,
                          .right = 8,
                          .top = 28,
                          .bottom = 36,
                          .x = x,
                          .y = y};
    svg_begin(to, c.width, c.height, title, what);
    svg_frame(&c);
    return c;
}

/* ---- roofline ---- */
static const char *const storages[] = {"f32", "f16", "bf16", "mixed"};
#define STORAGES 4
#define BF16     2

/* By the word after the first colon. */
static int storage_of(const char *problem)
{
    const char *word = strchr(problem, ':');
    const size_t n = word ? strcspn(word + 1, ":") : 0;
    for (int i = 0; i < STORAGES - 1; i++)
        if (n == strlen(storages[i]) && !strncmp(word + 1, storages[i], n))
            return i;
    return STORAGES - 1;
}

static bool has_place(const struct result *r, int64_t device)
{
    return r->device == device && !r->failed[0] && plottable(r->operations / r->bytes) &&
           plottable(r->gflops);
}

static void widen(double range[2], double value)
{
    range[0] = fmin(range[0], value);
    range[1] = fmax(range[1], value);
}

/* The best that was ever seen of the device's rates: they are measured again around each line, and a moment
 * may be a bad one. */
static void best_rates(const struct report *report, const struct report_device *d, double *peak, double *read)
{
    *peak = fmax(d->peak_gflops, d->peak_gflops_after);
    *read = d->read_gbytes;
    for (size_t i = 0; i < report->n_lines; i++) {
        const struct result *r = &report->lines[i];
        if (r->device != d->device || r->failed[0])
            continue;
        *read = fmax(*read, r->read_gbytes);
        if (storage_of(r->problem) != BF16) /* whose peak may be that of pairs */
            *peak = fmax(*peak, r->peak_gflops);
    }
}

static void draw_roof(struct svg_chart *c, const char *class, double peak, double read)
{
    const double ridge = peak / read, from = fmax(c->x.low, c->y.low / read);
    const double x[] = {from, fmax(ridge, from), c->x.high}, y[] = {fmin(read * from, peak), peak, peak};
    svg_line(c, class, x, y, 3);
}

/* What binds, on its side of the bend: the peak above its end, the rate of reading left of the slope's. */
static void name_roof(struct svg_chart *c, const char *what, double peak)
{
    char text[64];
    cell number;
    put_number(number, peak, 1);
    snprintf(text, sizeof text, "%s %s GFLOP/s", what, number);
    svg_words(c, c->width - c->right, svg_y(c, peak) - 6, text);
}

static void name_slope(struct svg_chart *c, double peak, double read)
{
    const double below = 18, part = below / (c->height - c->top - c->bottom);
    const double right = svg_x(c, peak / pow(c->y.high / c->y.low, part) / read) - 4;
    char text[64];
    cell number;
    put_number(number, read, 1);
    snprintf(text, sizeof text, "reading %s GB/s", number);
    if (right > c->left + 7 * (double)strlen(text))
        svg_words(c, right, svg_y(c, peak) + below, text);
}

static void draw_places(struct svg_chart *c, const struct report *report, int64_t device)
{
    char text[1200];
    for (size_t i = 0; i < report->n_lines; i++) {
        const struct result *r = &report->lines[i];
        if (!has_place(r, device))
            continue;
        snprintf(text, sizeof text, "%zu: %s, %.1f GFLOP/s", i + 1, r->problem, r->gflops);
        svg_mark(c, classes[storage_of(r->problem)], storage_of(r->problem), r->operations / r->bytes,
                 r->gflops, text);
    }
    for (size_t i = 0; i < report->n_lines; i++)
        if (has_place(&report->lines[i], device)) {
            snprintf(text, sizeof text, "%zu", i + 1);
            svg_label(c, report->lines[i].operations / report->lines[i].bytes, report->lines[i].gflops, text);
        }
}

bool plot_roofline(FILE *to, const struct report *report, const struct report_device *d, double width)
{
    double peak, read;
    best_rates(report, d, &peak, &read);
    const double pairs = isfinite(d->pair_gflops) ? peak * d->pair_gflops / d->peak_gflops : peak;
    if (!plottable(peak) || !plottable(pairs) || !plottable(read))
        return false;
    double x[2] = {peak / read, pairs / read}, y[2] = {peak, pairs};
    for (size_t i = 0; i < report->n_lines; i++)
        if (has_place(&report->lines[i], d->device)) {
            widen(x, report->lines[i].operations / report->lines[i].bytes);
            widen(y, report->lines[i].gflops);
        }
    struct svg_axis density = {.title = "operations per byte", .log = true};
    struct svg_axis speed = {.title = "GFLOP/s", .log = true};
    svg_range(&density, x[0] / 2, x[1]);
    svg_range(&speed, y[0] / 1.3, y[1]);
    struct svg_chart c = begin_chart(
        to, width, "Roofline",
        "Operations a second of each problem by its operations per byte, under the device's rates", density,
        speed);
    draw_roof(&c, "roof", peak, read);
    name_roof(&c, "multiply-add", peak);
    name_slope(&c, peak, read);
    if (pairs > peak) {
        draw_roof(&c, "roof pairs", pairs, read);
        name_roof(&c, "bf16 pairs", pairs);
    }
    draw_places(&c, report, d->device);
    svg_end(to);
    return true;
}

/* A mark and its word, in an element of a list. */
static void write_key(FILE *to, const char *class, int shape, const char *text)
{
    struct svg_chart c = {.to = to, .width = 12, .height = 12, .x = {.high = 2}, .y = {.high = 2}};
    fputs("<li><svg viewBox=\"0 0 12 12\" width=\"12\" height=\"12\" aria-hidden=\"true\">", to);
    svg_mark(&c, class, shape, 1, 1, "");
    fputs("</svg> ", to);
    svg_text(to, text);
    fputs("</li>\n", to);
}

void plot_storage_legend(FILE *to, const struct report *report, const struct report_device *device)
{
    bool shown[STORAGES] = {false};
    for (size_t i = 0; i < report->n_lines; i++)
        if (has_place(&report->lines[i], device->device))
            shown[storage_of(report->lines[i].problem)] = true;
    fputs("<ul class=\"keys\">\n", to);
    for (int i = 0; i < STORAGES; i++)
        if (shown[i])
            write_key(to, classes[i], i, storages[i]);
    fputs("</ul>\n", to);
}

/* ---- time against length ---- */
struct series {
    char name[256];
    int64_t device;
    int n;
    double x[MOST_POINTS], y[MOST_POINTS];
};

/* The length behind a letter that begins a word of the problem; where its digits begin and end. */
static bool find_length(const char *problem, char letter, const char **from, const char **to)
{
    for (const char *p = strchr(problem, ':'); p; p = strchr(p + 1, ':')) {
        const size_t n = p[1] == letter ? strspn(p + 2, "0123456789") : 0;
        if (n > 0 && n < 10 && (p[2 + n] == ':' || !p[2 + n])) {
            *from = p + 2;
            *to = p + 2 + n;
            return true;
        }
    }
    return false;
}

bool series_of(const char *problem, char *name, size_t size, double *length)
{
    const char *q, *q_end, *k, *k_end;
    if (!find_length(problem, 'q', &q, &q_end) || !find_length(problem, 'k', &k, &k_end) || q > k)
        return false;
    *length = strtod(k, NULL);
    if (strtod(q, NULL) == *length)
        snprintf(name, size, "%.*sN%.*sN%s", (int)(q - problem), problem, (int)(k - q_end), q_end, k_end);
    else
        snprintf(name, size, "%.*sN%s", (int)(k - problem), problem, k_end);
    return true;
}

/* In the order of their lengths, each length once. */
static void add_point(struct series *s, double x, double y)
{
    int at = 0;
    while (at < s->n && s->x[at] < x)
        at++;
    if (s->n == MOST_POINTS || (at < s->n && s->x[at] == x))
        return;
    memmove(s->x + at + 1, s->x + at, (size_t)(s->n - at) * sizeof *s->x);
    memmove(s->y + at + 1, s->y + at, (size_t)(s->n - at) * sizeof *s->y);
    s->x[at] = x;
    s->y[at] = y;
    s->n++;
}

static void add_to_series(struct series *all, int *n, int capacity, const struct result *r)
{
    char name[256];
    double length;
    int i = 0;
    if (r->failed[0] || !plottable(line_seconds(r)) || r->options[0] ||
        !series_of(r->problem, name, sizeof name, &length) || length <= 0)
        return;
    while (i < *n && (strcmp(all[i].name, name) || all[i].device != r->device))
        i++;
    if (i == capacity)
        return;
    if (i == *n) {
        all[(*n)++] = (struct series){.device = r->device};
        snprintf(all[i].name, sizeof all[i].name, "%s", name);
    }
    add_point(&all[i], length, line_seconds(r) * 1e3);
}

#define MOST_KINDS 256
/* Those of two lengths or more; how many.  The caller frees *found. */
static int find_series(const struct report *report, struct series **found)
{
    int n = 0, kept = 0;
    struct series *all = calloc(MOST_KINDS, sizeof *all);
    for (size_t i = 0; all && i < report->n_lines; i++)
        add_to_series(all, &n, MOST_KINDS, &report->lines[i]);
    for (int i = 0; i < n; i++)
        if (all[i].n > 1)
            all[kept++] = all[i];
    *found = all;
    return kept;
}

/* The number of a series' name among the names, and of its device among the devices: its colour and its
 * shape. */
static int colour_of(const struct series *all, int i)
{
    int colour = 0;
    for (int j = 0; j < i; j++) {
        bool seen = false;
        for (int k = 0; k < j; k++)
            seen |= !strcmp(all[k].name, all[j].name);
        if (!strcmp(all[j].name, all[i].name))
            return colour;
        colour += !seen;
    }
    return colour;
}

static int place_of(const struct report *report, int64_t device)
{
    for (size_t i = 0; i < report->n_devices; i++)
        if (report->devices[i].device == device)
            return (int)i;
    return 0;
}

static void draw_series(struct svg_chart *c, const struct report *report, const struct series *all, int n)
{
    char tip[320];
    for (int i = 0; i < n; i++) {
        const int colour = colour_of(all, i);
        if (colour >= MOST_SERIES)
            continue;
        svg_line(c, classes[colour], all[i].x, all[i].y, all[i].n);
        for (int k = 0; k < all[i].n; k++) {
            snprintf(tip, sizeof tip, "device %d, %s, N = %.0f: %.3g ms", (int)all[i].device, all[i].name,
                     all[i].x[k], all[i].y[k]);
            svg_mark(c, classes[colour], place_of(report, all[i].device), all[i].x[k], all[i].y[k], tip);
        }
    }
}

bool plot_lengths(FILE *to, const struct report *report, double width)
{
    struct series *all;
    const int n = find_series(report, &all);
    double x[2] = {HUGE_VAL, 0}, y[2] = {HUGE_VAL, 0};
    for (int i = 0; i < n; i++)
        for (int k = 0; k < all[i].n; k++) {
            widen(x, all[i].x[k]);
            widen(y, all[i].y[k]);
        }
    if (n > 0) {
        struct svg_axis keys = {.title = "keys N", .log = true, .binary = true};
        struct svg_axis time = {.title = "ms", .log = true};
        svg_range(&keys, x[0], x[1]);
        svg_range(&time, y[0], y[1]);
        struct svg_chart c =
            begin_chart(to, width, "Time against length",
                        "Milliseconds of problems that differ in their lengths alone", keys, time);
        draw_series(&c, report, all, n);
        svg_end(to);
    }
    free(all);
    return n > 0;
}

void plot_lengths_legend(FILE *to, const struct report *report)
{
    struct series *all;
    char text[256];
    const int n = find_series(report, &all);
    int next = 0;
    fputs("<ul class=\"keys\">\n", to);
    for (int i = 0; i < n && next < MOST_SERIES; i++)
        if (colour_of(all, i) == next)
            write_key(to, classes[next++], 0, all[i].name);
    for (size_t i = 0; report->n_devices > 1 && i < report->n_devices; i++) {
        snprintf(text, sizeof text, "device %d", (int)report->devices[i].device);
        write_key(to, "t", (int)i, text);
    }
    fputs("</ul>\n", to);
    free(all);
}

/* ---- devices side by side ---- */
#define ROW 16.0 /* height of a bar and of a word above bars */

static bool same_problem(const struct result *a, const struct result *b)
{
    return !strcmp(a->problem, b->problem) && !strcmp(a->options, b->options) &&
           !strcmp(a->tensors, b->tensors);
}

/* The same problem as line i, on a device; NULL if it was not measured there. */
static const struct result *twin(const struct report *report, size_t i, int64_t device)
{
    for (size_t j = 0; j < report->n_lines; j++)
        if (report->lines[j].device == device && same_problem(&report->lines[j], &report->lines[i]))
            return &report->lines[j];
    return NULL;
}

/* Whether no line before has the problem of line i. */
static bool is_first(const struct report *report, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (same_problem(&report->lines[j], &report->lines[i]))
            return false;
    return true;
}

#define BESIDE 96.0 /* room for the words behind the longest bar */

static void draw_bar(FILE *to, const char *class, double y, double length)
{
    fprintf(to, "<path class=\"b %s\" d=\"M0 %.1fh%.1fv12h-%.1fz\"/>", class, y, length, length);
}

/* Behind a bar what it says, or that there is none. */
static void draw_words(FILE *to, bool good, double x, double y, const char *text)
{
    fprintf(to, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", good ? "t" : "bad", x, y);
    svg_text(to, text);
    fputs("</text>\n", to);
}

static bool has_time(const struct result *r)
{
    return r && !r->failed[0] && plottable(line_seconds(r));
}

static void bar_text(char *text, size_t size, const struct result *r, double fastest)
{
    cell ms;
    if (!has_time(r)) {
        snprintf(text, size, r ? "FAILED" : "not measured");
        return;
    }
    put_number(ms, line_seconds(r) * 1e3, 3);
    if (line_seconds(r) > fastest)
        snprintf(text, size, "%s ms, %.1fx", ms, line_seconds(r) / fastest);
    else
        snprintf(text, size, "%s ms", ms);
}

/* The problem above its bars, and what it stands for where there is room. */
static void draw_title(FILE *to, const struct result *r, size_t number, double width, double y)
{
    const double room = width - 24 - 7.0 * (double)strlen(r->problem);
    fprintf(to, "<text x=\"0\" y=\"%.1f\"%s>%zu: ", y, room < 0 ? " class=\"small\"" : "", number);
    svg_text(to, r->problem);
    if (r->note[0] && room > 7.0 * (double)(strlen(r->note) + 2)) {
        fputs("<tspan class=\"t\" dx=\"8\">", to);
        svg_text(to, r->note);
        fputs("</tspan>", to);
    }
    fputs("</text>\n", to);
}

static void draw_problem(FILE *to, const struct report *report, size_t line, double width, double y)
{
    double fastest = HUGE_VAL;
    char text[64];
    draw_title(to, &report->lines[line], line + 1, width, y + 11);
    for (size_t i = 0; i < report->n_devices; i++) {
        const struct result *r = twin(report, line, report->devices[i].device);
        if (has_time(r))
            fastest = fmin(fastest, line_seconds(r));
    }
    for (size_t i = 0; i < report->n_devices; i++) {
        const struct result *r = twin(report, line, report->devices[i].device);
        const double most = width - BESIDE, at = y + ROW * (double)(i + 1);
        double length = has_time(r) ? fastest / line_seconds(r) : 0, words = length;
        bar_text(text, sizeof text, r, fastest);
        if (report->n_devices == 1 && length > 0) {
            length = fmin(1, fmax(0, fmax(r->of_peak, r->of_read)));
            snprintf(text, sizeof text, "%.2f of %s", fmax(r->of_peak, r->of_read),
                     r->of_read > r->of_peak ? "read" : "peak");
            draw_bar(to, "limit", at, most);
            words = 1;
        }
        draw_bar(to, classes[i % SVG_COLOURS], at, length * most);
        draw_words(to, has_time(r), words * most + 6, at + 10, text);
    }
}

bool plot_devices(FILE *to, const struct report *report, double width)
{
    const double height = ROW * (double)(report->n_devices + 1) + 8;
    size_t n = 0;
    for (size_t i = 0; i < report->n_lines; i++)
        n += is_first(report, i);
    if (n == 0 || report->n_devices == 0)
        return false;
    svg_begin(to, width, height * (double)n, "Devices side by side",
              report->n_devices > 1 ? "Speed of each problem on each device, as a part of the fastest"
                                    : "How near each problem comes to the device's limit");
    for (size_t i = 0, row = 0; i < report->n_lines; i++)
        if (is_first(report, i))
            draw_problem(to, report, i, width, height * (double)row++);
    svg_end(to);
    return true;
}

void plot_devices_legend(FILE *to, const struct report *report)
{
    char text[160];
    fputs("<ul class=\"keys\">\n", to);
    for (size_t i = 0; i < report->n_devices; i++) {
        snprintf(text, sizeof text, "device %d: %s", (int)report->devices[i].device, report->devices[i].name);
        write_key(to, classes[i % SVG_COLOURS], 1, text);
    }
    fputs("</ul>\n", to);
}
