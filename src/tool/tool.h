/* SPDX-License-Identifier: MIT
 * tool.h - what the commands of the program clattn share. */
#ifndef TOOL_H
#define TOOL_H

#include "tool/workload.h"

#include <clattn.h>
#include <stdio.h>

/* Exit codes: 0 good, 1 a comparison failed, 2 a mistake in the call or an error. */
enum { EXIT_GOOD = 0, EXIT_CHECK_FAILED = 1, EXIT_MISTAKE = 2 };

int command_devices(int argc, char **argv);
int command_run(int argc, char **argv);
int command_verify(int argc, char **argv);
int command_bench(int argc, char **argv);

/* One sentence on stderr, "clattn: ...", and EXIT_MISTAKE. */
int mistake(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same for a failed call: the context's sentence if there is a context. */
int failed(const clattn_context *ctx, clattn_status status, const char *what);

/* ---- options.c: what run, verify and bench say about a problem ---- */
struct problem_options {
    const char *mask, *corner, *engine;
    int n_scalars, n_arrays;
    const char *scalars[CLATTN_MAX_SCALARS], *arrays[CLATTN_MAX_ARRAYS]; /* "NAME=..." as given */
};
/* A problem from its text and the options beside it; 0, or EXIT_MISTAKE after a sentence. */
int read_problem(clattn_attention *problem, const char *text, const struct problem_options *options);
int read_count(const char *text, long long least, long long *value); /* 0, or EXIT_MISTAKE */
double now_seconds(void);

/* ---- peak.c: a device's own rates, measured in this process ---- */
struct peak;
clattn_status peak_open(struct peak **peak, clattn_context *ctx);
void peak_close(struct peak *peak);
double peak_flops(struct peak *peak); /* multiply-adds a second, times 2; 0 on failure */
double peak_bytes(struct peak *peak); /* bytes read a second */

/* ---- baseline.c: the unfused pipeline, two matrix products by CLBlast with a softmax between ---- */
/* Median seconds of the same problem, or 0 with the reason in *why. */
double baseline_seconds(clattn_context *ctx, const clattn_attention *problem, const char **why);

#endif
