/* SPDX-License-Identifier: MIT
 * compare.c - two reports of clattn bench: what got faster, slower, or neither for all that the times tell.
 *
 * Two medians differ if their ratio is further from 1 than LEAST, than what the intervals of both leave open,
 * and than the mean of both spreads: what is within a spread of its neighbours is noise of the machine.  If
 * the device's own peak has changed, so is what lies between no change and as much. */
#include "tool/bench/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST        0.02 /* two sittings of the same machine differ by as much */
#define RATE_CHANGED 0.05

struct change judge(const struct result *a, const struct result *b)
{
    struct change c = {.kind = CHANGE_NONE, .ratio = NAN, .noise = NAN, .rate = NAN};
    if (a->failed[0] || b->failed[0]) {
        c.kind = a->failed[0] && b->failed[0] ? CHANGE_STILL_FAILED
                 : a->failed[0]               ? CHANGE_MENDED
                                              : CHANGE_BROKEN;
        return c;
    }
    const double half_a = (a->high - a->low) / 2 / a->seconds, half_b = (b->high - b->low) / 2 / b->seconds;
    c.ratio = line_seconds(b) / line_seconds(a);
    c.rate = b->peak_gflops / a->peak_gflops;
    c.noise =
        fmax(fmax(LEAST, hypot(half_a, half_b)), (a->spread + b->spread) / 2); /* fmax passes a blank over */
    const double of_device = c.rate > 0 && fabs(c.rate - 1) > RATE_CHANGED ? -log(c.rate) : 0;
    if (!isfinite(c.ratio))
        c.kind = CHANGE_UNKNOWN;
    else if (log(c.ratio) > log1p(c.noise) + fmax(of_device, 0))
        c.kind = CHANGE_SLOWER;
    else if (-log(c.ratio) > log1p(c.noise) + fmax(-of_device, 0))
        c.kind = CHANGE_FASTER;
    return c;
}

void print_change(const struct change *c, bool colour)
{
    static const char *const words[] = {
        [CHANGE_NONE] = "within noise",    [CHANGE_FASTER] = "faster",
        [CHANGE_SLOWER] = "SLOWER",        [CHANGE_BROKEN] = "FAILED now",
        [CHANGE_MENDED] = "failed before", [CHANGE_STILL_FAILED] = "failed in both",
        [CHANGE_UNKNOWN] = "no times"};
    const bool bad = c->kind == CHANGE_SLOWER || c->kind == CHANGE_BROKEN;
    const char *paint = !colour ? "" : bad ? "\033[31;1m" : c->kind == CHANGE_FASTER ? "\033[32m" : "";
    printf("%s%s%s", paint, words[c->kind], paint[0] ? "\033[0m" : "");
    if (isfinite(c->ratio) && fabs(c->rate - 1) > RATE_CHANGED)
        printf(" (the device's own peak is %.2f times what it was)", c->rate);
    printf("\n");
}

/* ---- which lines belong together ---- */
/* How many devices of the same name come before a line's. */
static int occurrence(const struct report *r, const struct result *line)
{
    const struct report_device *d = device_of(r, line);
    int n = 0;
    for (size_t i = 0; d && i < r->n_devices && &r->devices[i] != d; i++)
        n += !strcmp(r->devices[i].name, d->name);
    return n;
}

static bool same_problem(const struct result *a, const struct result *b)
{
    return !strcmp(a->problem, b->problem) && !strcmp(a->options, b->options) &&
           !strcmp(a->tensors, b->tensors) && !strcmp(a->refresh, b->refresh);
}

/* Where both have one device, these are meant, whatever their names. */
static const struct result *counterpart(const struct report *from, const struct result *line,
                                        const struct report *to)
{
    const bool any_device = from->n_devices == 1 && to->n_devices == 1;
    for (size_t i = 0; i < to->n_lines; i++) {
        const struct result *other = &to->lines[i];
        if (same_problem(line, other) && (any_device || (!strcmp(line->device_name, other->device_name) &&
                                                         occurrence(from, line) == occurrence(to, other))))
            return other;
    }
    return NULL;
}

/* ---- the table ---- */
struct tally {
    int of[CHANGES], missing, ratios;
    double logs; /* sum of the ratios' logarithms */
};

static int widest_problem(const struct report *r)
{
    size_t width = strlen("problem");
    for (size_t i = 0; i < r->n_lines; i++)
        width = strlen(r->lines[i].problem) > width ? strlen(r->lines[i].problem) : width;
    return (int)width;
}

static void put_ms(cell to, const struct result *r)
{
    if (r->failed[0])
        snprintf(to, sizeof(cell), "FAILED");
    else
        put_number(to, line_seconds(r) * 1e3, 3);
}

static void print_pair(const struct result *a, const struct result *b, int width, bool colour,
                       struct tally *tally)
{
    const struct change c = judge(a, b);
    cell before, after, ratio = "-", noise = "-";
    put_ms(before, a);
    put_ms(after, b);
    if (isfinite(c.ratio)) {
        snprintf(ratio, sizeof ratio, "%.3f", c.ratio);
        snprintf(noise, sizeof noise, "%.0f%%", c.noise * 100);
        tally->logs += log(c.ratio);
        tally->ratios++;
    }
    tally->of[c.kind]++;
    printf("%-*s  %8s  %8s  %6s  %5s  ", width, a->problem, before, after, ratio, noise);
    print_change(&c, colour);
    if (c.kind == CHANGE_BROKEN)
        printf("    %s\n", b->failed);
}

static void print_missing(const struct report *from, const struct report *to, const char *where,
                          struct tally *tally)
{
    for (size_t i = 0; i < from->n_lines; i++)
        if (!counterpart(from, &from->lines[i], to)) {
            printf("%s only: %s%s%s, on %s\n", where, from->lines[i].problem,
                   from->lines[i].options[0] ? " " : "", from->lines[i].options, from->lines[i].device_name);
            tally->missing++;
        }
}

static void print_pairs(const struct report *a, const struct report *b, bool colour, struct tally *tally)
{
    const int width = widest_problem(a);
    for (size_t d = 0; d < a->n_devices; d++) {
        printf("%sdevice %d: %s (%s)\n%-*s  %8s  %8s  %6s  %5s\n", d ? "\n" : "", (int)a->devices[d].device,
               a->devices[d].name, a->devices[d].platform, width, "problem", "ms then", "ms now", "ratio",
               "noise");
        for (size_t i = 0; i < a->n_lines; i++) {
            const struct result *other =
                device_of(a, &a->lines[i]) == &a->devices[d] ? counterpart(a, &a->lines[i], b) : NULL;
            if (other)
                print_pair(&a->lines[i], other, width, colour, tally);
        }
    }
    printf("\n");
}

static void print_tally(const struct tally *t)
{
    printf("%d faster, %d slower, %d within noise, %d failed now, %d failed before, %d failed in both, %d in "
           "one alone",
           t->of[CHANGE_FASTER], t->of[CHANGE_SLOWER], t->of[CHANGE_NONE] + t->of[CHANGE_UNKNOWN],
           t->of[CHANGE_BROKEN], t->of[CHANGE_MENDED], t->of[CHANGE_STILL_FAILED], t->missing);
    if (t->ratios)
        printf("; geometric mean of the ratios %.3f", exp(t->logs / t->ratios));
    printf("\n");
}

static int compare(const struct report *a, const struct report *b, bool colour)
{
    struct tally tally = {.missing = 0};
    printf("then: clattn %s, %s; now: clattn %s, %s\n\n", a->version, a->date, b->version, b->date);
    print_pairs(a, b, colour, &tally);
    print_missing(a, b, "then", &tally);
    print_missing(b, a, "now", &tally);
    print_tally(&tally);
    return tally.of[CHANGE_SLOWER] || tally.of[CHANGE_BROKEN] ? EXIT_CHECK_FAILED : EXIT_GOOD;
}

int compare_files(const char *before, const char *after, bool colour)
{
    struct report *reports = calloc(2, sizeof *reports);
    int code = reports ? read_report(before, &reports[0]) : mistake("out of memory");
    if (!code && !(code = read_report(after, &reports[1]))) {
        code = compare(&reports[0], &reports[1], colour);
        free(reports[1].lines);
    }
    if (reports)
        free(reports[0].lines);
    free(reports);
    return code;
}
