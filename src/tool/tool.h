/* SPDX-License-Identifier: MIT
 * tool.h - what the commands of the program clattn share. */
#ifndef TOOL_H
#define TOOL_H

#include "tool/workload.h"

#include <clattn.h>
#include <getopt.h>
#include <stdio.h>

/* Exit codes: 0 good, 1 a comparison failed, 2 a mistake in the call or an error. */
enum { EXIT_GOOD = 0, EXIT_CHECK_FAILED = 1, EXIT_MISTAKE = 2 };

int command_devices(int argc, char **argv);
int command_run(int argc, char **argv);
int command_verify(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_tune(int argc, char **argv);
int command_select(int argc, char **argv);
int command_rules(int argc, char **argv);
int command_mechanisms(int argc, char **argv);

/* ---- say.c ---- */
/* One sentence on stderr, "clattn: ...", and EXIT_MISTAKE. */
int mistake(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same for a failed call: the context's sentence if there is a context. */
int failed(const clattn_context *ctx, clattn_status status, const char *what);
/* Closes a file that was written: 0, or EXIT_MISTAKE after a sentence if not all of it arrived. */
int close_written(FILE *file, const char *path);

/* ---- options.c: what run, verify and bench say about a problem ---- */
struct problem_options {
    const char *mechanism, *mask, *corner, *score, *weight, *normaliser, *engine;
    int n_scalars, n_arrays;
    const char *scalars[CLATTN_MAX_SCALARS]; /* "NAME=V" as given */
    const char *arrays[CLATTN_MAX_ARRAYS];   /* "NAME=FILE" or "NAME=TYPE[dims]" as given */
};
/* The options beside a problem: rows for getopt_long, lines for --help.  Another such option is a word here,
 * a row, a line, and a case in take_problem_option. */
enum {
    OPTION_ENGINE = 256, OPTION_MECHANISM, OPTION_MASK, OPTION_CORNER, OPTION_SCORE, OPTION_WEIGHT, OPTION_NORMALISER,
    OPTION_SCALAR, OPTION_ARRAY, OPTION_HELP
};
#define PROBLEM_OPTIONS                                                                                      \
    {"engine", required_argument, NULL, OPTION_ENGINE},                                                      \
        {"mechanism", required_argument, NULL, OPTION_MECHANISM}, {"mask", required_argument, NULL, OPTION_MASK}, \
        {"corner", required_argument, NULL, OPTION_CORNER}, {"score", required_argument, NULL, OPTION_SCORE}, \
        {"weight", required_argument, NULL, OPTION_WEIGHT},                                                  \
        {"normaliser", required_argument, NULL, OPTION_NORMALISER},                                          \
        {"scalar", required_argument, NULL, OPTION_SCALAR},                                                  \
        {"array", required_argument, NULL, OPTION_ARRAY},                                                    \
    {                                                                                                        \
        "help", no_argument, NULL, OPTION_HELP                                                               \
    }
#define PROBLEM_HELP                                                                                         \
    "  --engine E         force an engine; `clattn devices' names them\n"                                    \
    "  --mechanism NAME   attention as a paper names it; `clattn mechanisms' lists them\n"                     \
    "  --mask EXPR        a condition beside the problem's pattern, as 'k <= q & q - k < w' "                \
    "(clattn_expr(7))\n"                                                                                     \
    "  --corner tl|br     where query 0 stands for the mask: top left, or so that the ends meet, bottom "    \
    "right\n"                                                                                                \
    "  --score EXPR       a new score from `score', as '30 * tanh(score / 30)'\n"                              \
    "  --weight EXPR      a weight from `score' instead of the softmax, as 'softplus(score)'\n"                \
    "  --normaliser N     what weights are divided by: softmax, l1 (with --weight the default), count, none\n" \
    "  --scalar NAME=V    a number that these name: whole, or with a point a real one\n"                       \
    "  --array NAME=A     an array that these name: a .npy file (int32, int8, float32, float16; bool: bits), or\n" \
    "                     random as i32[b,k], f32[h], bits[1,h,q,k] (types f32 f16 bf16 i32 i8 bits)\n"
#define HELP_HELP "  --help             this\n"

extern const char *const normaliser_words[4]; /* of --normaliser, by clattn_normaliser */
/* The file of an --array NAME=FILE, NULL of NAME=TYPE[dims] and of a NAME alone. */
const char *array_file(const char *option);

/* The next option as getopt_long gives it, -1 after the last; '?' after a sentence about one that is not
 * right. */
int next_option(int argc, char **argv, const struct option *options);
/* Takes one of PROBLEM_OPTIONS (help excepted): 0, or EXIT_MISTAKE after a sentence. */
int take_problem_option(struct problem_options *options, int option);
/* Whether any option speaks of one problem, so that it cannot stand beside a sweep or a preset. */
bool options_need_problem(const struct problem_options *options);
/* Prints the options as a shell takes them, each after a blank. */
void print_problem_options(FILE *to, const struct problem_options *options);
/* Prints a word as a shell takes it, after a blank. */
void print_word(FILE *to, const char *word);

/* A problem from its text and the options beside it; 0, or EXIT_MISTAKE after a sentence. */
int read_problem(clattn_attention *problem, const char *text, const struct problem_options *options);
int read_count(const char *option, const char *text, long long least,
               long long *value);
/* 0, or EXIT_MISTAKE */
int read_seconds(const char *option, const char *text, double *value); /* 0.01 to 1e6 */
double now_seconds(void);

/* ---- tensors.c: .npy files and the tensors of a workload ---- */
/* Each returns 0, or EXIT_MISTAKE after a sentence.  A NULL path is nothing to do. */
int load_tensor(const char *path, struct workload *w, char name); /* 'q', 'k', 'v' */
int load_lengths(const char *path, struct workload *w);
int load_arrays(const struct problem_options *options, struct workload *w); /* those that name a file */
int describe_array(const char *path, clattn_array *array); /* type and dimensions of a file */
/* before the work: whether save_tensor can */
int check_saving(const char *path, const struct workload *w, char name);
int save_tensor(const char *path, const struct workload *w, char name); /* 'o', 'l' (lse) */

struct comparison {
    bool pass;
    double error; /* largest difference */
    double part;  /* largest difference as a part of what its row may be off by */
};
/* Compares o or lse with a float32 file; a row is given more than the bar (doc/numerics.md) only if it needs
 * it. */
int compare_tensor(const char *path, const struct workload *w, char name, struct comparison *c);

#endif
