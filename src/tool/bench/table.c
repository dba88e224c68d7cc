/* SPDX-License-Identifier: MIT
 * table.c - the results of clattn bench for people: a table for each device while it is measured, and one
 * that compares them.
 *
 * Lines are printed as they are measured, so widths come from what is known before: texts, and numbers of
 * bounded length.  On a terminal that is too narrow for that, a problem has a line of its own above its
 * numbers, which fit into 80 columns. */
#include "tool/bench/bench.h"

#include <math.h>
#include <string.h>

enum { MS, SPREAD, GFLOPS, GBYTES, OF_PEAK, OF_READ, ERROR, UNFUSED, COLUMNS };
static const struct {
    const char *title;
    int width;
} columns[COLUMNS] = {{"ms", 8},      {"spread", 6},  {"GFLOP/s", 7}, {"GB/s", 6},
                      {"of peak", 7}, {"of read", 7}, {"error", 7},   {"unfused", 7}};

typedef cell cells[COLUMNS];

static int problem_width(const struct bench *b)
{
    size_t width = strlen("problem");
    for (size_t i = 0; i < b->n_lines; i++)
        if (strlen(b->lines[i].problem) > width)
            width = strlen(b->lines[i].problem);
    return (int)width;
}

static int engine_width(void)
{
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_engine_fit fit = CLATTN_ENGINE_FIT_INIT;
    size_t width = strlen("engine");
    for (size_t i = 0; clattn_engine_describe(&facts, i, &fit) == CLATTN_OK; i++)
        if (strlen(fit.engine) > width)
            width = strlen(fit.engine);
    return (int)width;
}

#define BAR 10

/* Of a line with its note; the bar is in it where there are colours. */
static int whole_width(const struct bench *b)
{
    int note = 0, width = problem_width(b) + 2 + engine_width() + (b->colour ? 2 + BAR : 0);
    for (int i = 0; i < COLUMNS; i++)
        width += 2 + columns[i].width;
    for (size_t i = 0; i < b->n_lines; i++)
        if ((int)strlen(b->lines[i].note) > note)
            note = (int)strlen(b->lines[i].note);
    return width + (note ? 2 + note : 0);
}

static bool narrow(const struct bench *b)
{
    return b->width > 0 && b->width < whole_width(b);
}

/* The words that begin a line, up to its numbers. */
static void print_begin(const struct bench *b, const char *problem, const char *note, const char *engine)
{
    if (narrow(b))
        printf("%s%s%s\n  %-*s", problem, note[0] ? "  " : "", note, engine_width(), engine);
    else
        printf("%-*s  %-*s", problem_width(b), problem, engine_width(), engine);
}

static void print_rates(const struct report_device *d)
{
    printf("multiply-add peak %.1f GFLOP/s, ", d->peak_gflops);
    if (isfinite(d->pair_gflops))
        printf("of bf16 pairs %.1f, ", d->pair_gflops);
    printf("read %.1f GB/s, launch of an empty kernel %.1f us\n", d->read_gbytes, d->launch_seconds * 1e6);
}

void print_device_head(const struct bench *b, const struct report_device *d)
{
    printf("\ndevice %d: %s (%s), driver %s\n", (int)d->device, d->name, d->platform, d->driver);
    if (isfinite(d->peak_gflops))
        print_rates(d);
    else
        printf("its peak is not measured: its compiler would take minutes for it, or failed\n");
    if (d->peers[0])
        printf("peers %s\n", d->peers);
    if (options_need_problem(&b->options) || b->options.engine) {
        printf("options");
        print_problem_options(stdout, &b->options);
        printf("\n");
    }
    print_begin(b, "problem", "", "engine");
    for (int i = 0; i < COLUMNS; i++)
        printf("%s%*s", narrow(b) ? " " : "  ", columns[i].width, columns[i].title);
    printf("\n");
    fflush(stdout);
}

void print_device_foot(const struct report_device *device)
{
    if (device->warning[0])
        printf("WARNING: %s\n", device->warning);
}

/* Why a line has no number from the unfused pipeline, after its note. */
static void print_note(const struct bench *b, const struct result *r)
{
    bool reason = r->no_baseline[0] && !b->no_baseline && !line_pruned(r);
    if (r->note[0] && !narrow(b))
        printf("  %s", r->note);
    if (reason)
        printf("%s(unfused: %s)", narrow(b) ? "\n    " : r->note[0] ? " " : "  ", r->no_baseline);
    printf("\n");
    if (r->warning[0])
        printf("    WARNING: %s\n", r->warning);
}

static void print_peer(const struct result *r)
{
    cell ms, times;
    put_number(ms, r->peer_seconds * 1e3, 3);
    put_times(times, r->peer_times);
    if (r->peer[0])
        printf("    %s: %s ms, %s\n", r->peer, ms, times);
}

/* What the system tells of the device's work, below the line. */
static void print_power(const struct result *r)
{
    if (!isfinite(r->joules) && !isfinite(r->mhz))
        return;
    printf("   ");
    if (isfinite(r->joules))
        printf(" %.3g J, %.0f W", r->joules, r->watts);
    if (isfinite(r->mhz))
        printf(" at %.0f MHz", r->mhz);
    printf("\n");
}

/* The lines below a pruned problem's, whose own is of its attention. */
static void print_pruned(const struct result *r)
{
    cells c;
    put_number(c[0], r->select_seconds * 1e3, 3);
    printf("    selection %s ms", c[0]);
    if (r->dense_seconds > 0) {
        put_number(c[0], r->dense_seconds * 1e3, 3);
        put_times(c[1], r->dense_times);
        printf(", dense %s ms by %s: %s", c[0], r->dense_engine, c[1]);
    }
    printf("\n    %.2f%% of its pairs visited", 100 * r->visited);
    if (isfinite(r->kept_mass))
        printf(", kept mass %.4f, least head %.4f", r->kept_mass, r->kept_mass_least);
    if (isfinite(r->certified))
        printf(", %.1f%% of the listed blocks certified", 100 * r->certified);
    printf("\n");
    if (isfinite(r->delta_seconds))
        printf("    correction by every %lld. row %.3f ms, of which the dense rows %.3f ms\n"
               "    distance from dense attention %.4f, before %.4f\n",
               (long long)r->delta, r->delta_seconds * 1e3, r->delta_rows_seconds * 1e3, r->delta_distance,
               r->delta_distance_before);
}

/* How much of the device's limit is reached, the nearer of the two: a bar of eighths. */
static void print_bar(const struct result *r)
{
    static const char *const eighths[] = {" ", "\342\226\217", "\342\226\216", "\342\226\215", "\342\226\214",
                                          "\342\226\213", "\342\226\212", "\342\226\211", "\342\226\210"};
    const double part = fmin(1, fmax(0, fmax(r->of_peak, r->of_read)));
    const int n = (int)(part * BAR * 8 + 0.5);
    printf("  \033[36m");
    for (int i = 0; i < BAR; i++)
        printf("%s", eighths[n >= 8 * i + 8 ? 8 : n > 8 * i ? n - 8 * i : 0]);
    printf("\033[0m");
}

void print_result(const struct bench *b, const struct result *r)
{
    cells c;
    if (r->failed[0]) {
        printf(narrow(b) ? "%-*s\n    " : "%-*s  ", problem_width(b), r->problem);
        printf("%sFAILED%s: %s\n", b->colour ? "\033[31;1m" : "", b->colour ? "\033[0m" : "", r->failed);
        fflush(stdout);
        return;
    }
    put_number(c[MS], r->seconds * 1e3, 3);
    put_percent(c[SPREAD], r->spread);
    put_number(c[GFLOPS], r->gflops, 1);
    put_number(c[GBYTES], r->gbytes, 1);
    put_fraction(c[OF_PEAK], r->of_peak);
    put_fraction(c[OF_READ], r->of_read);
    if (isfinite(r->error))
        snprintf(c[ERROR], sizeof c[0], "%.1e", r->error);
    else
        snprintf(c[ERROR], sizeof c[0], "0");
    put_times(c[UNFUSED], r->baseline_times);
    print_begin(b, r->problem, r->note, r->engine);
    for (int i = 0; i < COLUMNS; i++)
        printf("%s%*s", narrow(b) ? " " : "  ", columns[i].width, c[i]);
    if (b->colour && !narrow(b))
        print_bar(r);
    print_note(b, r);
    print_peer(r);
    print_power(r);
    if (line_pruned(r))
        print_pruned(r);
    fflush(stdout);
}

/* ---- several devices ---- */
static double fastest(const struct bench *b, size_t line)
{
    double least = 0;
    for (size_t i = line; i < b->report.n_lines; i += b->n_lines)
        if (!b->report.lines[i].failed[0] && (least == 0 || line_seconds(&b->report.lines[i]) < least))
            least = line_seconds(&b->report.lines[i]);
    return least;
}

void print_comparison(const struct bench *b)
{
    const struct report *report = &b->report;
    if (report->n_lines <= b->n_lines)
        return;
    printf("\nms, and how many times as long as on the fastest device\n%-*s", problem_width(b), "problem");
    for (size_t i = 0; i < report->n_lines; i += b->n_lines)
        printf("  %*s %d", columns[MS].width + (report->lines[i].device < 10 ? 6 : 5), "device",
               (int)report->lines[i].device);
    printf("\n");
    for (size_t line = 0; line < b->n_lines; line++) {
        printf("%-*s", problem_width(b), b->lines[line].problem);
        for (size_t i = line; i < report->n_lines; i += b->n_lines) {
            const struct result *r = &report->lines[i];
            cell ms = "failed", times = "-";
            if (!r->failed[0]) {
                put_number(ms, line_seconds(r) * 1e3, 3);
                put_times(times, line_seconds(r) / fastest(b, line));
            }
            printf("  %*s %7s", columns[MS].width, ms, times);
        }
        printf("\n");
    }
}

static bool any_pruned(const struct bench *b)
{
    for (size_t i = 0; i < b->report.n_lines; i++)
        if (line_pruned(&b->report.lines[i]))
            return true;
    return false;
}

void print_legend(const struct bench *b)
{
    printf("\nms       median of a run, %s; spread: of the middle half\n"
           "of peak  GFLOP/s as a part of the device's own multiply-add rate, and\n"
           "of read  GB/s of its rate of reading, measured around each repetition; what lies\n"
           "         in a cache may be read faster, and be above 1\n"
           "error    the largest against double precision, on %d rows (of real tensors: all)\n"
           "unfused  how many times as long two CLBlast products with a softmax between take\n"
           "         on the same numbers in f32, both by the peaks measured around them\n",
           b->cold ? "from memory, by the device's clock" : "from enqueue to finish", SAMPLE_ROWS);
    if (any_pruned(b))
        printf("selection  of a step, apart from the attention in the line above\n"
               "dense      the same problem without lists, and how many times as long it takes\n"
               "           as selection and attention\n"
               "kept mass  the part of rows' softmax on visited keys, in double precision, on\n"
               "           some rows of each head; of random numbers, in which there is nothing\n"
               "           to find, about the part of pairs visited\n");
}
