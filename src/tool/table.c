/* SPDX-License-Identifier: MIT
 * table.c - the results of clattn bench for people: a table for each device while it is measured, and one
 * that compares them.
 *
 * Lines are printed as they are measured, so widths come from what is known before: texts, and numbers of
 * bounded length. */
#include "tool/bench.h"

#include <math.h>
#include <string.h>

enum { MS, SPREAD, GFLOPS, GBYTES, OF_PEAK, OF_READ, ERROR, UNFUSED, COLUMNS };
static const struct {
    const char *title;
    int width;
} columns[COLUMNS] = {{"ms", 8},      {"spread", 6},  {"GFLOP/s", 7}, {"GB/s", 6},
                      {"of peak", 7}, {"of read", 7}, {"error", 7},   {"unfused", 7}};

typedef char cells[COLUMNS][16];

/* Three decimals, fewer where the number is long: never more than 8 letters below 10^8. */
static void put_number(char cell[16], double value, int decimals)
{
    for (double limit = 1e3; decimals > 0 && value >= limit; limit *= 10)
        decimals--;
    snprintf(cell, 16, "%.*f", decimals, value);
}

static void put_fraction(char cell[16], double value)
{
    if (value > 0)
        snprintf(cell, 16, "%.2f", value);
    else
        snprintf(cell, 16, "-");
}

static void put_times(char cell[16], double value)
{
    if (value > 0)
        snprintf(cell, 16, value < 999.95 ? "%.1fx" : "%.0fx", value);
    else
        snprintf(cell, 16, "-");
}

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

#define LAUNCHES 1000

static void print_peaks(struct peak *peak)
{
    double fma = 0;
    for (int i = 0; i < 3; i++) /* a runtime may bring its threads up late */
        fma = fmax(fma, peak_flops(peak) * 1e-9);
    printf("multiply-add peak %.1f GFLOP/s, ", fma);
    if (peak_pair_factor(peak) > 1)
        printf("of bf16 pairs %.1f, ", fma * peak_pair_factor(peak));
    printf("read %.1f GB/s, launch of an empty kernel %.1f us\n", peak_bytes(peak) * 1e-9, peak_launch(peak, LAUNCHES) * 1e6);
}

void print_device_head(const struct bench *b, int device, const char *name, struct peak *peak)
{
    printf("\ndevice %d: %s\n", device, name);
    if (peak)
        print_peaks(peak);
    else
        printf("its peak is not measured: its compiler would take minutes for it, or failed\n");
    if (options_need_problem(&b->options) || b->options.engine) {
        printf("options");
        print_problem_options(stdout, &b->options);
        printf("\n");
    }
    printf("%-*s  %-*s", problem_width(b), "problem", engine_width(), "engine");
    for (int i = 0; i < COLUMNS; i++)
        printf("  %*s", columns[i].width, columns[i].title);
    printf("\n");
    fflush(stdout);
}

/* Why a line has no number from the unfused pipeline, after its note. */
static void print_note(const struct bench *b, const struct result *r)
{
    bool reason = r->baseline.why && !b->no_baseline && !r->is_pruned;
    if (r->note[0] || reason)
        printf("  %s", r->note);
    if (reason)
        printf("%s(unfused: %s)", r->note[0] ? " " : "", r->baseline.why);
    printf("\n");
}

/* The line below a pruned problem's, whose own is of its attention. */
static void print_pruned(const struct result *r)
{
    const struct pruned *p = &r->pruned;
    cells c;
    put_number(c[0], p->select_seconds * 1e3, 3);
    printf("    selection %s ms", c[0]);
    if (p->dense_seconds > 0) {
        put_number(c[0], p->dense_seconds * 1e3, 3);
        put_times(c[1], p->dense_times);
        printf(", dense %s ms by %s: %s", c[0], p->dense_engine, c[1]);
    }
    printf("; %.2f%% of its pairs visited, kept mass %.4f, least head %.4f", 100 * p->visited, p->mass.mean, p->mass.least);
    if (p->certified >= 0)
        printf(", %.1f%% of the listed blocks certified", 100 * p->certified);
    printf("\n");
}

void print_result(const struct bench *b, const struct result *r)
{
    cells c;
    printf("%-*s  ", problem_width(b), r->problem);
    if (r->why[0]) {
        printf("FAILED: %s\n", r->why);
        return;
    }
    put_number(c[MS], r->seconds * 1e3, 3);
    snprintf(c[SPREAD], sizeof c[0], "%.0f%%", r->spread * 100);
    put_number(c[GFLOPS], r->gflops, 1);
    if (r->gbytes > 0)
        put_number(c[GBYTES], r->gbytes, 1);
    else
        snprintf(c[GBYTES], sizeof c[0], "-");
    put_fraction(c[OF_PEAK], r->of_peak);
    put_fraction(c[OF_READ], r->of_read);
    snprintf(c[ERROR], sizeof c[0], "%.1e", r->error);
    put_times(c[UNFUSED], r->baseline_times);
    printf("%-*s", engine_width(), r->engine);
    for (int i = 0; i < COLUMNS; i++)
        printf("  %*s", columns[i].width, c[i]);
    print_note(b, r);
    if (r->is_pruned)
        print_pruned(r);
    fflush(stdout);
}

/* ---- several devices ---- */
static double fastest(const struct bench *b, size_t line)
{
    double least = 0;
    for (size_t i = line; i < b->n_results; i += b->n_lines)
        if (!b->results[i].why[0] && (least == 0 || b->results[i].seconds < least))
            least = b->results[i].seconds;
    return least;
}

void print_comparison(const struct bench *b)
{
    if (b->n_results <= b->n_lines)
        return;
    printf("\nms, and how many times as long as on the fastest device\n%-*s", problem_width(b), "problem");
    for (size_t i = 0; i < b->n_results; i += b->n_lines)
        printf("  %*s %d", columns[MS].width + (b->results[i].device < 10 ? 6 : 5), "device",
               b->results[i].device);
    printf("\n");
    for (size_t line = 0; line < b->n_lines; line++) {
        printf("%-*s", problem_width(b), b->lines[line].problem);
        for (size_t i = line; i < b->n_results; i += b->n_lines) {
            char ms[16] = "failed", times[16] = "-";
            if (!b->results[i].why[0]) {
                put_number(ms, b->results[i].seconds * 1e3, 3);
                put_times(times, b->results[i].seconds / fastest(b, line));
            }
            printf("  %*s %7s", columns[MS].width, ms, times);
        }
        printf("\n");
    }
}

static bool any_pruned(const struct bench *b)
{
    for (size_t i = 0; i < b->n_results; i++)
        if (b->results[i].is_pruned)
            return true;
    return false;
}

void print_legend(const struct bench *b)
{
    printf("\nms: median from enqueue to finish, with the spread of the middle half; of peak, of read: "
           "fraction of the device's\n"
           "rates, measured around each repetition; error: largest against double precision, on %d rows "
           "(stored results of\n"
           "real tensors are compared whole); unfused: how many times as long two CLBlast products with a "
           "softmax between\n"
           "take on the same numbers in f32, both by the peaks measured around them.\n",
           SAMPLE_ROWS);
    if (any_pruned(b))
        printf("selection: of a step, apart from the attention in the line above; dense: the same problem without lists, "
               "and how many\n"
               "times as long it takes as selection and attention; kept mass: the part of rows' softmax on visited keys, "
               "in double\n"
               "precision on some rows of each head.\n");
}
