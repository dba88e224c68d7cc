/* SPDX-License-Identifier: MIT
 * tune.h - what the parts of clattn tune share.
 *
 * The parent searches and writes; it makes no plan.  A worker, a process of its own, builds, checks and
 * measures one candidate after the other, so that a compiler or a kernel that hangs or crashes costs a
 * candidate.  They speak in lines:
 *
 *     parent                worker
 *     problem TEXT          ok SECONDS                    of the library's own choice
 *     try ROUNDS SETTING    ok TIMES SECONDS LOW          how many times as fast as that, and how long it
 *                                                         takes: medians; LOW: the first quartile of TIMES
 *                           refused | wrong | failed WHY
 *
 * and a worker that says nothing in time, or nothing any more, is ended and begun anew. */
#ifndef TUNE_H
#define TUNE_H

#include "tool/tool.h"

#define SETTING_SIZE 192 /* of a setting as text */

/* ---- child.c: a worker, seen from the parent ---- */
enum answer { ANSWER_OK, ANSWER_REFUSED, ANSWER_WRONG, ANSWER_FAILED, ANSWER_HUNG, ANSWER_CRASHED, N_ANSWERS };
struct child {
    const char *device;   /* the selector */
    const char *problem;  /* that a new worker is told first; NULL: none yet */
    double seconds;       /* of its own choice */
    double timeout;       /* for one answer */
    long pid;             /* 0: none */
    int to, from;         /* pipes */
};
/* Each gives the answer; what stands behind its word goes to rest. */
enum answer child_problem(struct child *c, const char *problem, char *rest, size_t size);
enum answer child_try(struct child *c, int rounds, const char *setting, char *rest, size_t size);
void child_end(struct child *c);

/* ---- worker.c: what it does; its exit status ---- */
int tune_worker(const char *device);

/* ---- search.c: the best setting of a problem ---- */
struct candidate {
    char setting[SETTING_SIZE];  /* as a line has it */
    char resolved[SETTING_SIZE]; /* with every knob */
    enum answer answer;
    int rounds;
    double times, seconds, low;
};
typedef void found_visitor(void *cookie, const struct candidate *candidate);
struct search {
    const clattn_device_facts *facts;
    const clattn_attention *problem;
    const char *key, *known; /* the fields of its lines, and the lines there are */
    struct child *child;
    bool patient;
    double deadline; /* 0: none */
    found_visitor *failed; /* told of each candidate that is wrong, hangs or crashes */
    found_visitor *step;   /* told of each candidate, for the progress */
    void *cookie;
    /* results */
    struct candidate *candidates;
    int n, capacity;
    int n_refused;      /* by engine, device or problem, before anything was built */
    int count[N_ANSWERS];
    struct candidate best; /* the library's own choice: 1 time as fast */
    struct candidate worst;
};
/* 0, or EXIT_MISTAKE after a sentence. */
int search_best(struct search *s);
void search_free(struct search *s);

/* ---- file.c: the lines that are kept ---- */
/* The file's lines, sorted, malloc'ed; those of a file that is not there are none.  NULL after a sentence. */
char *tuning_read(const char *path);
/* Write them anew, so that whoever reads the file meanwhile has the old or the new ones; make its folder.  0,
 * or EXIT_MISTAKE after a sentence. */
int tuning_write(const char *path, const char *text);
/* Join one line, in *text and in the file; *text is malloc'ed anew. */
int tuning_join(const char *path, char **text, const char *line);
/* Print what several files say together. */
int tuning_merge_files(int n, char **paths);

#endif
