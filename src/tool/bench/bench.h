/* SPDX-License-Identifier: MIT
 * bench.h - what the parts of clattn bench share: a line to measure, its result, who makes and shows it. */
#ifndef BENCH_H
#define BENCH_H

#include "tool/delta.h"
#include "tool/bench/meter.h"
#include "tool/bench/peers.h"
#include "tool/report/report.h"
#include "tool/selection.h"
#include "tool/bench/statistics.h"

#define BENCH_LINES 96
#define SAMPLE_ROWS 24 /* rows compared with the double reference */
#define DEFAULT_SECONDS 1 /* to time a problem for */

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
double peak_pair_factor(const struct peak *peak); /* products of bf16 pairs, times that; 1: there are none */
double peak_bytes(struct peak *peak); /* bytes read a second */
/* By what factor the device became faster between two lines whose peaks these are.  1 on other devices than
 * CPUs: a GPU's clock follows from what it does, most of all from the load that is measured. */
double peak_change(const struct peak *peak, double before, double after);
double peak_launch(struct peak *peak, int n); /* mean seconds of n empty kernels, from enqueue to finish */

/* ---- baseline.c: the unfused pipeline, two matrix products by CLBlast with a softmax between ---- */
struct baseline {
    double seconds;  /* median of one run; 0: see why */
    double peak_operations; /* median of what the peak makes in the time of a run; 0: it is not known */
    int runs;
    const char *why; /* a word or two: why there is none */
};
/* w holds our result, which the pipeline's must agree with. */
struct baseline measure_baseline(clattn_context *ctx, struct peak *peak, const struct workload *w);
/* How long that takes where the pipeline makes rate operations a second; 0 of a problem that it refuses. */
double expect_baseline(const clattn_attention *a, double rate);

/* ---- pruned.c: a problem with a selection, beside the dense one ---- */
/* Steps between selections, "N" or "N/N..." from each stage on: 0, or EXIT_MISTAKE after a sentence. */
int read_refresh(const char *text, clattn_refresh *refresh);

/* ---- measure.c ---- */
enum { FORMAT_CSV, FORMAT_JSON, FORMAT_MARKDOWN, FORMAT_HTML, FORMATS };
struct bench {
    struct problem_options options;
    const char *preset, *data, *tensors, *powercap;
    const char *selectors[REPORT_DEVICES];
    int n_selectors;
    double seconds;  /* to time a problem for */
    long long limit; /* seconds that a device may be silent */
    const char *refresh; /* as given, or NULL */
    long long delta;     /* 0: not given */
    bool no_baseline, with_peers, cold, progress, colour;
    int width; /* of the terminal that the table goes to; 0: it goes elsewhere */
    struct bench_line lines[BENCH_LINES]; /* the same for every device */
    size_t n_lines;
    const char *paths[FORMATS]; /* NULL: not asked for */
    const char *stored[REPORT_DEVICES]; /* files to read instead of measuring */
    int n_stored;
    bool compares;
    long long reproduce; /* the number of a line of a file, or 0 */
    const struct result *reproduced; /* the line that is measured again, or NULL */
    FILE *files[FORMATS];
    char **words; /* of the call, from the command's name on: a device's process is called with the same */
    int n_words;
    struct meter *meter; /* of the device, in a worker; or NULL */
    struct peers *peers; /* the same */
    struct report report;
};
/* 0, or EXIT_MISTAKE after a sentence; a failure of the device or of a comparison is a result. */
int measure_line(const struct bench *b, clattn_context *ctx, struct peak *peak, const struct bench_line *line,
                 struct result *result);
/* Whether n repetitions that took so long are enough. */
bool enough(int n, double gone, double seconds);
/* How long timing a problem takes whose run takes so long. */
double expect_measure(double run, double seconds);
/* The parts of a line: its problem alone, checked and timed; why it has no result. */
void measure_workload(const struct bench *b, clattn_context *ctx, struct peak *peak,
                      const struct bench_line *line, struct workload *w, double flops, struct result *result);
/* The same of attention at positions of its own, over the lists of x. */
void measure_extended(const struct bench *b, struct peak *peak, const struct bench_line *line,
                      const struct selection *x, double flops, struct result *result);
void refuse(struct result *result, const clattn_context *ctx, clattn_status status);
/* pruned.c: w is of the problem without lists. */
void measure_pruned(const struct bench *b, clattn_context *ctx, struct peak *peak,
                    const struct bench_line *line, const clattn_select *select, struct workload *w,
                    struct result *result);

/* ---- worker.c: the process in which one device is measured, or in which devices are listed ---- */
/* text: "FD:list", or "FD:DEVICE:FIRST" for the lines from number FIRST on; messages go to that descriptor.
 */
int run_worker(struct bench *b, const char *text);

/* ---- isolate.c: what starts such processes, and outlives them ---- */
/* The devices that were asked for into the report, without rates: 0, or EXIT_MISTAKE after a sentence. */
int find_devices(struct bench *b);
/* One of them: its lines join the report and are printed as they come.  A process that crashes or is silent
 * for too long costs the line that it was at. */
int measure_device(struct bench *b, struct report_device *device);

/* ---- table.c: for people ---- */
void print_device_head(const struct bench *b, const struct report_device *device);
void print_device_foot(const struct report_device *device); /* its warning */
void print_result(const struct bench *b, const struct result *r);
void print_comparison(const struct bench *b); /* device by problem, if there are several devices */
void print_legend(const struct bench *b);

/* ---- compare.c: two results of one problem ---- */
struct change {
    enum change_kind {
        CHANGE_NONE,
        CHANGE_FASTER,
        CHANGE_SLOWER,
        CHANGE_BROKEN,
        CHANGE_MENDED,
        CHANGE_STILL_FAILED,
        CHANGE_UNKNOWN,
        CHANGES
    } kind;
    double ratio; /* now over then, with the selection if there is one */
    double noise; /* by which it may be off 1 for nothing */
    double rate;  /* of the device's own peak */
};
struct change judge(const struct result *then, const struct result *now);
void print_change(const struct change *change, bool colour); /* a word, and the end of the line */
/* Prints both: EXIT_CHECK_FAILED if anything is slower or fails now; EXIT_MISTAKE after a sentence. */
int compare_files(const char *then, const char *now, bool colour);

/* ---- reproduce.c ---- */
/* Makes line number of a file the call of b, which borrows from kept: 0, or EXIT_MISTAKE after a sentence.
 * The caller frees kept->lines. */
int take_stored_line(struct bench *b, long long number, const char *path, struct report *kept);
void print_call(const struct bench *b, const struct result *r);

/* ---- files.c: for programs and for reading later ---- */
int open_files(struct bench *b); /* before anything is measured; 0, or EXIT_MISTAKE after a sentence */
int write_files(struct bench *b);

#endif
