/* SPDX-License-Identifier: MIT
 * markdown.c - clattn bench's results as a table of Markdown, to paste. */
#include "tool/report/report.h"

#include <math.h>
#include <string.h>

/* Text of others in a cell: nothing in it is a mark of Markdown or of HTML. */
static void write_plain(FILE *file, const char *text)
{
    for (; *text; text++) {
        if (*text == '<' || *text == '&') {
            fputs(*text == '<' ? "&lt;" : "&amp;", file);
            continue;
        }
        if (strchr("|\\`*_[]#~", *text))
            fputc('\\', file);
        fputc(*text, file);
    }
}

static void write_rates(FILE *file, const struct report_device *d)
{
    cell fma, pairs, read;
    put_number(fma, d->peak_gflops, 1);
    put_number(pairs, d->pair_gflops, 1);
    put_number(read, d->read_gbytes, 1);
    if (!isfinite(d->peak_gflops))
        return;
    fprintf(file, ": multiply-add peak %s GFLOP/s, ", fma);
    if (isfinite(d->pair_gflops))
        fprintf(file, "of bf16 pairs %s, ", pairs);
    fprintf(file, "read %s GB/s", read);
}

static void write_warning(FILE *file, const char *warning)
{
    if (warning[0]) {
        fputs(" (", file);
        write_plain(file, warning);
        fputs(")", file);
    }
}

static void write_device(FILE *file, const struct report_device *d)
{
    fprintf(file, "\n**device %d: ", (int)d->device);
    write_plain(file, d->name);
    fputs("** (", file);
    write_plain(file, d->platform);
    fputs(", driver ", file);
    write_plain(file, d->driver);
    fputs(")", file);
    write_rates(file, d);
    write_warning(file, d->warning);
    fputs("\n\n| problem | engine | ms | spread | GFLOP/s | GB/s | of peak | of read | error | unfused |\n"
          "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
          file);
}

static void write_measured(FILE *file, const struct result *r)
{
    cell c[8];
    put_number(c[0], r->seconds * 1e3, 3);
    put_percent(c[1], r->spread);
    put_number(c[2], r->gflops, 1);
    put_number(c[3], r->gbytes, 1);
    put_fraction(c[4], r->of_peak);
    put_fraction(c[5], r->of_read);
    snprintf(c[6], sizeof c[6], "%.1e", r->error);
    put_times(c[7], r->baseline_times);
    write_plain(file, r->engine);
    for (int i = 0; i < 7; i++)
        fprintf(file, " | %s", c[i]);
    fputs(" | ", file);
    write_plain(file, isfinite(r->baseline_times) || !r->no_baseline[0] ? c[7] : r->no_baseline);
    fputs(" |\n", file);
}

static void write_pruned(FILE *file, const struct result *r)
{
    cell select, dense, times;
    put_number(select, r->select_seconds * 1e3, 3);
    put_number(dense, r->dense_seconds * 1e3, 3);
    put_times(times, r->dense_times);
    fprintf(file, "| with selection %s ms; dense %s ms: %s; visited %.2f %%", select, dense, times,
            r->visited * 100);
    if (isfinite(r->kept_mass))
        fprintf(file, ", kept mass %.4f", r->kept_mass);
    fputs(" | | | | | | | | | |\n", file);
}

static void write_line(FILE *file, const struct result *r)
{
    fputs("| ", file);
    write_plain(file, r->problem);
    fputs(r->options[0] ? " " : "", file);
    write_plain(file, r->options);
    fputs(" | ", file);
    if (r->failed[0]) {
        fputs("FAILED: ", file);
        write_plain(file, r->failed);
        fputs(" | | | | | | | | |\n", file);
        return;
    }
    write_measured(file, r);
    if (line_pruned(r))
        write_pruned(file, r);
}

void write_markdown(FILE *file, const struct report *report)
{
    char day[11]; /* the first ten characters of a date */
    fputs("clattn ", file);
    write_plain(file, report->version);
    fputs(", ", file);
    PUT_TEXT(day, report->date);
    write_plain(file, day);
    fputs(", ", file);
    write_plain(file, report->host);
    write_warning(file, report->warning);
    fputs("\n", file);
    for (size_t i = 0; i < report->n_devices; i++) {
        write_device(file, &report->devices[i]);
        for (size_t line = 0; line < report->n_lines; line++)
            if (report->lines[line].device == report->devices[i].device)
                write_line(file, &report->lines[line]);
    }
}
