/* SPDX-License-Identifier: MIT
 * html.c - clattn bench's results as one page that needs nothing else: no script, no other file, light
 * or dark as the reader's system is, for a phone and for a desk.
 *
 * Each picture is drawn twice, wide and narrow, and the page shows the one that fits: letters keep their
 * size. */
#include "tool/report/plots.h"
#include "tool/report/svg.h"

#include <math.h>
#include <string.h>

#define WIDE   968
#define NARROW 400

static void write_style(FILE *to)
{
    fprintf(to, "<style>\n%s", report_style);
    for (int i = 0; i < SVG_COLOURS; i++)
        fprintf(to, ".m.s%d,.b.s%d{fill:var(--s%d)}.l.s%d{stroke:var(--s%d)}\n", i, i, i, i, i);
    fputs(".m.t{fill:var(--quiet)}\n</style>\n", to);
}

/* <NAME CLASS>text</NAME> */
static void write_element(FILE *to, const char *name, const char *class, const char *text)
{
    fprintf(to, "<%s%s%s%s>", name, class[0] ? " class=\"" : "", class, class[0] ? "\"" : "");
    svg_text(to, text);
    fprintf(to, "</%s>", name);
}

static void write_warning(FILE *to, const char *warning)
{
    if (warning[0]) {
        write_element(to, "p", "warn", warning);
        fputs("\n", to);
    }
}

/* A problem or a call as code, which a narrow page breaks between its words. */
static void write_code(FILE *to, const char *text)
{
    char word[256];
    fputs("<code>", to);
    while (*text) {
        const size_t n = strcspn(text, ":"), whole = text[n] ? n + 1 : n, part = whole < 255 ? whole : 255;
        snprintf(word, sizeof word, "%.*s", (int)part, text);
        svg_text(to, word);
        text += part;
        if (*text && word[part - 1] == ':')
            fputs("<wbr>", to);
    }
    fputs("</code>", to);
}

/* ---- head and devices ---- */
/* 9 problems on 1 device: none failed, 2 have a warning. */
static void write_summary(FILE *to, const struct report *report)
{
    size_t failed = 0, warned = 0;
    for (size_t i = 0; i < report->n_lines; i++) {
        failed += report->lines[i].failed[0] != 0;
        warned += report->lines[i].warning[0] != 0;
    }
    fputs("<p>How fast clattn computes attention, softmax(scale q k<sup>T</sup> + mask) v: ", to);
    fprintf(to, "%zu measurement%s on %zu device%s; ", report->n_lines, report->n_lines == 1 ? "" : "s",
            report->n_devices, report->n_devices == 1 ? "" : "s");
    fprintf(to, failed ? "%zu FAILED" : "none failed", failed);
    if (warned)
        fprintf(to, ", %zu with a warning", warned);
    fputs(".</p>\n", to);
}

/* To the minute; a file of anyone's may hold any text there. */
static void write_date(FILE *to, const char *date)
{
    char day[11], time[6];
    PUT_TEXT(day, date);
    PUT_TEXT(time, strlen(date) > 11 ? date + 11 : "");
    svg_text(to, day);
    fputs(" ", to);
    svg_text(to, time);
}

static void write_head(FILE *to, const struct report *report)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>clattn bench, ",
          to);
    svg_text(to, report->host);
    fputs("</title>\n", to);
    write_style(to);
    fputs("</head>\n<body>\n<main>\n<h1>Attention on OpenCL devices</h1>\n", to);
    write_summary(to, report);
    fputs("<p class=\"quiet\">clattn ", to);
    svg_text(to, report->version);
    fputs(", ", to);
    write_date(to, report->date);
    fputs(" UTC, ", to);
    svg_text(to, report->host);
    fputs("</p>\n<p class=\"quiet\">", to);
    write_code(to, report->command);
    fputs("</p>\n", to);
    write_warning(to, report->warning);
}

static void write_device(FILE *to, const struct report_device *d)
{
    fprintf(to, "<div class=\"card\"><h3>device %d: ", (int)d->device);
    svg_text(to, d->name);
    fputs("</h3>\n<p class=\"quiet\">", to);
    svg_text(to, d->platform);
    fputs(", driver ", to);
    svg_text(to, d->driver);
    fputs("; ", to);
    svg_text(to, d->type);
    fprintf(to, ", %d compute units</p>\n<p>", (int)d->compute_units);
    if (isfinite(d->peak_gflops)) {
        fprintf(to, "multiply-add peak %.1f GFLOP/s", d->peak_gflops);
        if (isfinite(d->pair_gflops))
            fprintf(to, ", of bf16 pairs %.1f", d->pair_gflops);
        fprintf(to, "; read %.1f GB/s; launch of an empty kernel %.1f µs", d->read_gbytes,
                d->launch_seconds * 1e6);
    } else
        fputs("its peak was not measured", to);
    fputs("</p>\n", to);
    if (d->peers[0]) {
        fputs("<p class=\"quiet\">peers ", to);
        svg_text(to, d->peers);
        fputs("</p>\n", to);
    }
    write_warning(to, d->warning);
    fputs("</div>\n", to);
}

/* ---- pictures ---- */
/* A picture in both widths; of a roofline the device's. */
static bool write_picture(FILE *to, const struct report *report, const struct report_device *device,
                          bool (*plot)(FILE *, const struct report *, double))
{
    static const struct {
        const char *class;
        double width;
    } forms[] = {{"wide", WIDE}, {"narrow", NARROW}};
    bool any = false;
    for (int i = 0; i < 2; i++) {
        fprintf(to, "<div class=\"%s\">", forms[i].class);
        any = plot ? plot(to, report, forms[i].width) : plot_roofline(to, report, device, forms[i].width);
        fputs("</div>\n", to);
    }
    return any;
}

static bool any_series(const struct report *report)
{
    char name[2][256];
    double length[2];
    for (size_t i = 0; i < report->n_lines; i++)
        for (size_t j = 0; j < i; j++)
            if (series_of(report->lines[i].problem, name[0], sizeof name[0], &length[0]) &&
                series_of(report->lines[j].problem, name[1], sizeof name[1], &length[1]) &&
                !strcmp(name[0], name[1]) && length[0] != length[1])
                return true;
    return false;
}

static void write_pictures(FILE *to, const struct report *report)
{
    if (report->n_devices > 1) {
        fputs("<h2>Devices side by side</h2>\n<p class=\"quiet\">The longer, the faster: a bar's length is "
              "the speed as a part of the fastest device's. Beside it are the time, and how many times as "
              "long that is as on the fastest.</p>\n",
              to);
        plot_devices_legend(to, report);
    } else
        fputs("<h2>How near to the device's limit</h2>\n<p class=\"quiet\">The longer, the better: a part of "
              "the device's multiply-add peak, or of its rate of reading where that is the nearer limit. "
              "What lies in a cache may be read faster than that.</p>\n",
              to);
    write_picture(to, report, NULL, plot_devices);
    if (any_series(report)) {
        fputs("<h2>Time against length</h2>\n<p class=\"quiet\">The lower, the faster: problems that differ "
              "in their lengths alone are joined. Twice the keys are twice the work for one query, and four "
              "times where there are as many queries as keys.</p>\n",
              to);
        plot_lengths_legend(to, report);
        write_picture(to, report, NULL, plot_lengths);
    }
}

/* ---- tables ---- */
static void write_number(FILE *to, const char *text)
{
    fprintf(to, "<td>%s</td>", text);
}

static void write_extra(FILE *to, const struct result *r)
{
    cell c[3];
    if (line_pruned(r)) {
        put_number(c[0], r->select_seconds * 1e3, 3);
        fprintf(to, "<tr><td></td><td class=\"w s\" colspan=\"11\"><div>and a selection of %s ms; ", c[0]);
        if (r->dense_seconds > 0) {
            put_number(c[1], r->dense_seconds * 1e3, 3);
            put_times(c[2], r->dense_times);
            fprintf(to, "dense %s ms: %s as long; ", c[1], c[2]);
        }
        fprintf(to, "%.2f %% of its pairs visited", r->visited * 100);
        if (isfinite(r->kept_mass))
            fprintf(to, ", kept mass %.4f", r->kept_mass);
        fputs("</div></td></tr>\n", to);
    }
    if (r->peer[0]) {
        put_number(c[0], r->peer_seconds * 1e3, 3);
        put_times(c[1], r->peer_times);
        fputs("<tr><td></td><td class=\"w s quiet\" colspan=\"11\"><div>", to);
        svg_text(to, r->peer);
        fprintf(to, ": %s ms, %s as long</div></td></tr>\n", c[0], c[1]);
    }
    if (isfinite(r->joules) || isfinite(r->mhz)) {
        fputs("<tr><td></td><td class=\"w s quiet\" colspan=\"11\"><div>", to);
        if (isfinite(r->joules))
            fprintf(to, "%.3g J a run, %.0f W ", r->joules, r->watts);
        if (isfinite(r->mhz))
            fprintf(to, "at %.0f MHz", r->mhz);
        fputs("</div></td></tr>\n", to);
    }
    if (r->warning[0]) {
        fputs("<tr><td></td><td class=\"w s warn\" colspan=\"11\"><div>", to);
        svg_text(to, r->warning);
        fputs("</div></td></tr>\n", to);
    }
}

static void write_measured(FILE *to, const struct result *r)
{
    cell c;
    write_element(to, "td", "w", r->engine);
    put_number(c, r->seconds * 1e3, 3);
    write_number(to, c);
    put_percent(c, (r->high - r->low) / 2 / r->seconds);
    write_number(to, c);
    put_percent(c, r->spread);
    write_number(to, c);
    put_number(c, r->gflops, 1);
    write_number(to, c);
    put_number(c, r->gbytes, 1);
    write_number(to, c);
    put_fraction(c, r->of_peak);
    write_number(to, c);
    put_fraction(c, r->of_read);
    write_number(to, c);
    snprintf(c, sizeof c, "%.1e", isfinite(r->error) ? r->error : 0);
    write_number(to, c);
    if (isfinite(r->baseline_times) || !r->no_baseline[0]) {
        put_times(c, r->baseline_times);
        write_number(to, c);
    } else
        write_element(to, "td", "quiet", r->no_baseline);
}

static void write_line(FILE *to, const struct result *r, size_t number)
{
    char words[sizeof r->problem + sizeof r->options + 1];
    snprintf(words, sizeof words, "%s%s%s", r->problem, r->options[0] ? " " : "", r->options);
    fprintf(to, "<tr><td>%zu</td><td class=\"w\">", number);
    write_code(to, words);
    if (r->note[0]) {
        fputs("<br>", to);
        write_element(to, "span", "quiet", r->note);
    }
    fputs("</td>", to);
    if (r->failed[0]) {
        fputs("<td class=\"w s bad\" colspan=\"10\"><div>FAILED: ", to);
        svg_text(to, r->failed);
        fputs("</div></td></tr>\n", to);
        return;
    }
    write_measured(to, r);
    fputs("</tr>\n", to);
    write_extra(to, r);
}

static void write_table(FILE *to, const struct report *report, const struct report_device *d)
{
    fprintf(to, "<h2>Device %d: ", (int)d->device);
    svg_text(to, d->name);
    fputs("</h2>\n", to);
    if (d->peak_gflops > 0 && d->read_gbytes > 0) {
        fputs("<p class=\"quiet\">The nearer to the line, the better: it is what the device can do, at the "
              "best of the times that this was measured. Left of its bend the rate of reading is the limit, "
              "right of it that of arithmetic. Each number is a problem of the table below.</p>\n",
              to);
        plot_storage_legend(to, report, d);
        write_picture(to, report, d, NULL);
    }
    fputs(
        "<p class=\"quiet\">What the problems and the columns say is at the end of the page.</p>\n"
        "<div class=\"scroll\"><table>\n<tr><th></th><th class=\"w\">problem</th><th "
        "class=\"w\">engine</th><th>ms</th><th>±</th><th>spread</th>"
        "<th>GFLOP/s</th><th>GB/s</th><th>of peak</th><th>of read</th><th>error</th><th>unfused</th></tr>\n",
        to);
    for (size_t i = 0; i < report->n_lines; i++)
        if (report->lines[i].device == d->device)
            write_line(to, &report->lines[i], i + 1);
    fputs("</table></div>\n", to);
}

static const char legend[] =
    "<h2>What a problem says</h2>\n<p class=\"quiet\"><code>attn:f16:h32/8:q1:k8192:d128</code> is attention "
    "of numbers stored as f16, with 32 heads of queries that share 8 heads of keys and values, 1 query, 8192 "
    "keys, and 128 numbers a head.</p>\n<dl>\n"
    "<dt>b8</dt><dd>a batch of 8 of them</dd>\n"
    "<dt>causal-tl, causal-br</dt><dd>no query sees a later key: the first query stands at the first key "
    "(top left), or the last at the last (bottom right)</dd>\n"
    "<dt>window512</dt><dd>a query sees the 512 keys before it</dd>\n"
    "<dt>lse</dt><dd>the logarithm of the softmax's sum is stored too, as training wants it</dd>\n"
    "<dt>pairs-256</dt><dd>and other words at the end: a selection; a row reads some 256 keys, those that "
    "matter most</dd>\n</dl>\n"
    "<h2>What the columns say</h2>\n<dl>\n"
    "<dt>engine</dt><dd>the family of kernels that was chosen</dd>\n"
    "<dt>ms</dt><dd>median time of a run, from enqueue to finish; with <code>--cold</code> by the device's clock, its caches written over before</dd>\n"
    "<dt>±</dt><dd>half of the interval that holds the median with 95 % confidence, as a part of it</dd>\n"
    "<dt>spread</dt><dd>the distance of the quartiles, as a part of the median</dd>\n"
    "<dt>GFLOP/s</dt><dd>two operations for each multiply-add of the two products over visible pairs</dd>\n"
    "<dt>GB/s</dt><dd>queries, keys, values and results each moved once</dd>\n"
    "<dt>of peak, of read</dt><dd>these over the device's own rates, measured around each repetition; what "
    "lies in a cache may be read faster, and be above 1</dd>\n"
    "<dt>error</dt><dd>the largest difference from double precision on sampled rows</dd>\n"
    "<dt>unfused</dt><dd>how many times as long two CLBlast products with a softmax between take, or why "
    "that is not known</dd>\n"
    "<dt>-</dt><dd>not measured</dd>\n"
    "<dt>FAILED</dt><dd>it could not be measured, or its result was wrong</dd>\n</dl>\n";

void write_html(FILE *to, const struct report *report)
{
    write_head(to, report);
    fputs("<div class=\"cards\">\n", to);
    for (size_t i = 0; i < report->n_devices; i++)
        write_device(to, &report->devices[i]);
    fputs("</div>\n", to);
    write_pictures(to, report);
    for (size_t i = 0; i < report->n_devices; i++)
        write_table(to, report, &report->devices[i]);
    fputs(legend, to);
    fputs("</main>\n</body>\n</html>\n", to);
}
