/* SPDX-License-Identifier: MIT
 * report.h - the results of clattn bench as data: devices and lines with nothing but numbers and texts of
 * their own, so that they can be written, read back and sent from one process to another.
 *
 * What was not measured is blank: NAN, "", and -1 of a count.  Seconds, operations and bytes a second,
 * joules. */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define REPORT_DEVICES 16
#define REPORT_LINES   4096
#define REPORT_SCHEMA  "clattn-bench"
#define REPORT_VERSION 1

struct report_device {
    int64_t device; /* its number in `clattn devices' */
    char name[128], platform[128], vendor[96], driver[96], type[16];
    int64_t compute_units, clock_mhz;
    double peak_gflops, pair_gflops;    /* multiply-adds counted twice; pair: of bf16 products of pairs */
    double read_gbytes, launch_seconds; /* of an empty kernel */
    double peak_gflops_after;           /* measured again after the device's last line */
    char peers[512];                    /* which were there, and which were left out */
    char warning[256];
};

/* One problem on one device. */
struct result {
    int64_t device;
    char device_name[272], driver[96]; /* the name with its platform */
    char problem[1024], options[2048]; /* options: those beside the problem, as a shell takes them */
    char tensors[32];                  /* real ones: their folder under --data */
    char note[64], engine[32], tile[96];
    char failed[512];  /* "": measured; else a sentence */
    char warning[256]; /* why the times are not to be trusted as they stand */
    int64_t runs, repetitions;
    double seconds;       /* median over repetitions of the mean of a repetition's runs, by the wall clock */
    double low, high;     /* the median lies between with the confidence that doc/clattn-bench.1 states */
    double spread;        /* distance of the quartiles as a part of the median */
    double drift;         /* the second half's median over the first half's, less 1 */
    double event_seconds; /* by the device's clock, in a queue: from the end of the run before to its own */
    int64_t cold_bytes;   /* written before each run; 0: none, and caches hold what the run before left */
    double operations, bytes; /* of a run; bytes: q, k, v, o and lse once */
    double gflops, gbytes;
    double of_peak, peak_gflops, of_read, read_gbytes; /* of bf16 problems the peak of bf16 */
    double launch_seconds;                             /* of an empty kernel */
    double of_floor; /* that and the slower of operations at the peak, bytes at the read rate, by the time */
    double error, bound;
    double joules, watts, mhz; /* of a run; while it ran */
    double baseline_seconds, baseline_times;
    int64_t baseline_runs;
    char no_baseline[32]; /* a word or two: why there is none */
    char peer[64];        /* the fastest of the other libraries */
    double peer_seconds, peer_times;
    /* of a problem with a selection: of a step; parts; of the same problem without lists */
    char refresh[64];
    double select_seconds, visited, kept_mass, kept_mass_least, certified;
    int64_t delta; /* rows from one that corrects to the next */
    /* the first with the second in it */
    double delta_seconds, delta_rows_seconds, delta_distance, delta_distance_before;
    char dense_engine[32];
    double dense_seconds, dense_times;
};

struct report {
    char version[32]; /* of clattn */
    char date[32];    /* 2026-11-26T12:00:00Z */
    char preset[32], command[1024], host[128], warning[256];
    struct report_device devices[REPORT_DEVICES];
    size_t n_devices;
    struct result *lines; /* those of a device one after the other */
    size_t n_lines;
};

bool line_pruned(const struct result *r);    /* measured with a selection */
double line_seconds(const struct result *r); /* of a run, with its selection if there is one */
/* The device of a line, NULL if the report has none of its number. */
const struct report_device *device_of(const struct report *report, const struct result *r);

/* ---- columns.c: the fields by name ---- */
struct column {
    const char *name;
    enum column_kind { COLUMN_TEXT, COLUMN_COUNT, COLUMN_NUMBER } kind;
    enum column_role {
        COLUMN_KEY,
        COLUMN_SETTING,
        COLUMN_METRIC
    } role; /* two lines with the same keys may be compared */
    size_t offset, size;
    const char *what; /* one line */
};
extern const struct column report_columns[], device_columns[], line_columns[];
extern const size_t n_report_columns, n_device_columns, n_line_columns;
/* All fields blank. */
void blank_report(struct report *report);
void blank_device(struct report_device *device);
void blank_line(struct result *line);
const char *text_at(const void *record, const struct column *c);
int64_t count_at(const void *record, const struct column *c);
double number_at(const void *record, const struct column *c);
bool is_blank(const void *record, const struct column *c);
/* Text that may hold anything into a field: controls become blanks, what is too long is cut, and what is no
 * UTF-8 becomes '?'. */
void put_text(char *field, size_t size, const char *text);
#define PUT_TEXT(field, text) put_text(field, sizeof(field), text)

/* ---- json.c ---- */
void write_json(FILE *file, const struct report *report);
void write_schema(FILE *file);
/* A report from a file that nobody vouches for: 0, or EXIT_MISTAKE after a sentence.  The caller frees
 * report->lines. */
int read_report(const char *path, struct report *report);
int read_report_text(const char *name, const char *text, size_t size,
                     struct report *report); /* the same of text in memory */
/* stored.c: several as one; devices of the second and later ones get numbers of their own. */
int read_reports(struct report *report, const char *const *paths, int n);
/* One record as one line of text, and back: false if it is none. */
void send_record(FILE *to, const char *kind, const void *record, const struct column *columns, size_t n);
struct message {
    enum { MESSAGE_DEVICE, MESSAGE_BEGIN, MESSAGE_LINE, MESSAGE_END, MESSAGE_BAD } kind;
    struct report_device device; /* DEVICE, END */
    struct result line;
    int64_t number; /* BEGIN: of the line that is measured now */
};
void receive_message(const char *text, struct message *message);

/* ---- csv.c, markdown.c, html.c ---- */
void write_csv(FILE *file, const struct report *report);
void write_markdown(FILE *file, const struct report *report);
void write_html(FILE *file, const struct report *report);

/* ---- numbers for people, for all that show them ---- */
typedef char cell[24];
/* So many decimals, 3 or 1: fewer where the number is long, never more than 8 letters below 10^8; more where
 * three digits would not be seen (of one decimal: not one); "-" if blank. */
void put_number(cell to, double value, int decimals);
void put_fraction(cell to, double value);
void put_times(cell to, double value);
void put_percent(cell to, double value);

#endif
