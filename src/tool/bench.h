/* SPDX-License-Identifier: MIT
 * bench.h - what the parts of clattn bench share: a line to measure, its result, who makes and shows it. */
#ifndef BENCH_H
#define BENCH_H

#include "tool/selection.h"

#define BENCH_DEVICES 16
#define SAMPLE_ROWS 24 /* rows compared with the double reference */

/* ---- presets.c: which problems ---- */
struct bench_line {
    const char *problem, *data, *note; /* data: folder of real tensors under tests/data, or NULL */
};
/* The lines of a preset; how many, 0 if there is no such preset. */
size_t preset_lines(const char *preset, struct bench_line *lines, size_t capacity);
void list_presets(void);
/* A line's tensors into the workload, if it has any: 0, or EXIT_MISTAKE after a sentence. */
int load_line(const struct bench_line *line, const char *folder, struct workload *w);
/* Compares with what is stored beside a line's tensors; the sentence of what differs goes to why. */
bool line_agrees(const struct bench_line *line, const char *folder, const struct workload *w, char *why,
                 size_t size);

/* ---- peak.c: a device's own rates, measured in this process ---- */
struct peak;
clattn_status peak_open(struct peak **peak, clattn_context *ctx);
void peak_close(struct peak *peak);
double peak_flops(struct peak *peak); /* multiply-adds a second, times 2; 0 on failure */
double peak_pair_factor(const struct peak *peak); /* what products of bf16 pairs reach, as a multiple of that; 1: there are none */
double peak_bytes(struct peak *peak); /* bytes read a second */
double peak_launch(struct peak *peak, int n); /* seconds from enqueue to finish of an empty kernel, the mean of n */

/* ---- baseline.c: the unfused pipeline, two matrix products by CLBlast with a softmax between ---- */
struct baseline {
    double seconds;  /* median of one run; 0: see why */
    double peak_operations; /* median of what the peak makes in the time of a run; 0: it is not known */
    int runs;
    const char *why; /* a word or two: why there is none */
};
/* w holds our result, which the pipeline's must agree with. */
struct baseline measure_baseline(clattn_context *ctx, struct peak *peak, const struct workload *w);

/* ---- pruned.c: a problem with a selection, beside the dense one ---- */
struct pruned {
    const char *refresh;   /* the schedule of a problem of one query, or NULL */
    double select_seconds; /* of a step, metadata of its keys included; 0: nothing is selected */
    double visited;        /* pairs, as a part of the dense problem's */
    struct kept_mass mass;
    double certified;      /* a part of the listed blocks; below 0: not asked */
    const char *dense_engine;
    double dense_seconds; /* 0: not measured */
    double dense_times;   /* how many times as long it takes as selection and attention */
};
/* Steps between selections, "N" or "N/N..." from each stage on: 0, or EXIT_MISTAKE after a sentence. */
int read_refresh(const char *text, clattn_refresh *refresh);

/* ---- measure.c ---- */
struct result {
    int device; /* its number in `clattn devices' */
    const char *device_name, *problem, *engine, *note;
    char why[512]; /* "": measured; else a sentence */
    int runs;
    double seconds, spread, gflops, gbytes, error, bound;
    double of_peak, peak_gflops, of_read; /* 0: the device's peak is not known; of bf16 problems that of bf16 */
    double launch_seconds; /* of an empty kernel */
    double of_floor; /* that, and the slower of the arithmetic at the peak and the bytes at the rate of reading, by the time */
    double of_fma; /* of the multiply-add peak, whatever the storage */
    struct baseline baseline;
    double baseline_times; /* how many times as long the baseline takes; 0: there is none */
    bool is_pruned;
    struct pruned pruned;
};
struct bench {
    struct problem_options options;
    const char *preset, *csv, *json, *data;
    const char *selectors[BENCH_DEVICES];
    int n_selectors;
    long long seconds;
    const char *refresh; /* as given, or NULL */
    bool no_baseline, progress;
    const struct bench_line *lines; /* the same for every device */
    size_t n_lines;
    struct result *results; /* n_lines of each device, one device after the other */
    size_t n_results;
    FILE *csv_file, *json_file;
};
/* 0, or EXIT_MISTAKE after a sentence; a failure of the device or of a comparison is a result. */
int measure_line(const struct bench *b, clattn_context *ctx, struct peak *peak, const struct bench_line *line,
                 struct result *result);
double quantile(double *values, int n, double at); /* sorts them */
/* Whether n repetitions that took so long are enough. */
bool enough(int n, double gone, double seconds);
/* The parts of a line: its problem alone, checked and timed; why it has no result. */
void measure_workload(const struct bench *b, clattn_context *ctx, struct peak *peak, const struct bench_line *line,
                      struct workload *w, double flops, struct result *result);
void refuse(struct result *result, const clattn_context *ctx, clattn_status status);
/* pruned.c: w is of the problem without lists. */
void measure_pruned(const struct bench *b, clattn_context *ctx, struct peak *peak, const struct bench_line *line,
                    const clattn_select *select, struct workload *w, struct result *result);

/* ---- table.c: for people ---- */
void print_device_head(const struct bench *b, int device, const char *name, struct peak *peak);
void print_result(const struct bench *b, const struct result *r);
void print_comparison(const struct bench *b); /* device by problem, if there are several devices */
void print_legend(const struct bench *b);

/* ---- record.c: for programs ---- */
int open_records(struct bench *b); /* before anything is measured; 0, or EXIT_MISTAKE after a sentence */
int write_records(struct bench *b);

#endif
