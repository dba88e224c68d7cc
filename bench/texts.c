/* SPDX-License-Identifier: MIT
 * texts.c - kernel texts side by side: a problem with those of several folders, in turn, in batches of a few
 * milliseconds, so that what a noisy machine does it does to all of them.
 *
 *     texts [--device S] [--seconds S] [--keep DIR] [OPTIONS] --text FOLDER... PROBLEM...
 *
 * A FOLDER is what CLATTN_KERNEL_DIR takes, or "-": the texts built in.  OPTIONS as of `clattn bench':
 * --engine, --mask, --score, --array ...  Prints a line for each: ms of an enqueue by the clock, the median
 * and the quarters of the later two thirds of S seconds (0.2) for each text; how many times as fast as the
 * first; whether the output's bits are the first's; which engine serves, since one whose text is wrong is
 * passed over.  --keep leaves the forward programs' binaries in a folder, as PROBLEM-TEXT by number: of
 * NVIDIA's driver that is assembly.  Exit status 2 if a text gave no plan or its work failed. */
#include "attention/attention.h"
#include "tool/bench/statistics.h"
#include "tool/tool.h"
#include "tool/upload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 16
#define BATCHES 4096
#define BATCH_SECONDS 0.004

struct options {
    const char *device, *keep, *folders[MOST];
    int n_folders;
    double seconds;
    struct problem_options problem;
};

/* A text at work. */
struct text {
    const char *folder;
    clattn_plan *plan;
    int batch; /* enqueues */
    bool same;
    double seconds[BATCHES];
};

/* Seconds of an enqueue, of n one after the other; below 0 if one failed. */
static double run(const struct text *t, cl_command_queue queue, const clattn_io *io, int n)
{
    const double begin = now_seconds();
    for (int i = 0; i < n; i++)
        if (clattn_enqueue_forward(t->plan, queue, io, 0, NULL, NULL))
            return -1;
    return clFinish(queue) == CL_SUCCESS ? (now_seconds() - begin) / n : -1;
}

static void keep_binary(const struct text *t, int number, int problem, const char *folder)
{
    size_t size = 0;
    char path[512];
    clGetProgramInfo(t->plan->forward.program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL);
    unsigned char *bytes = malloc(size + 1), *all[] = {bytes};
    snprintf(path, sizeof path, "%s/%d-%d", folder, problem, number);
    if (bytes && clGetProgramInfo(t->plan->forward.program, CL_PROGRAM_BINARIES, sizeof all, all, NULL) ==
                     CL_SUCCESS) {
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(bytes, 1, size, file) != size || close_written(file, path))
            mistake("%s is not kept", path);
    }
    free(bytes);
}

/* Of the later two thirds of its batches. */
static double late(struct text *t, int batches, double part)
{
    return quantile(t->seconds + batches / 3, batches - batches / 3, part);
}

static void print_text(struct text *t, int batches, double first)
{
    const double median = late(t, batches, 0.5);
    printf("  %-24s %9.4f ms  %9.4f..%.4f  %6.3f times as fast  %s  %s\n", t->folder, 1e3 * median,
           1e3 * late(t, batches, 0.25), 1e3 * late(t, batches, 0.75), first / median,
           t->same ? "same bits" : "other bits", clattn_plan_engine(t->plan));
}

/* The output's bits beside the first text's, and how many enqueues are a batch. */
static bool begin_texts(struct text *texts, int n, cl_command_queue queue, const clattn_io *io, char *first,
                        char *other, size_t bytes)
{
    for (int i = 0; i < n; i++) {
        if (run(&texts[i], queue, io, 1) < 0 ||
            clEnqueueReadBuffer(queue, io->o, CL_TRUE, 0, bytes, i ? other : first, 0, NULL, NULL) !=
                CL_SUCCESS)
            return false;
        texts[i].same = i == 0 || !memcmp(first, other, bytes);
        texts[i].batch = (int)(BATCH_SECONDS / run(&texts[i], queue, io, 3)) + 1;
    }
    return true;
}

static void measure(struct text *texts, int n, cl_command_queue queue, const clattn_io *io, double seconds)
{
    const double begin = now_seconds();
    int batches = 0;
    for (; batches < BATCHES && (batches < 6 || now_seconds() - begin < seconds * n); batches++)
        for (int i = 0; i < n; i++) {
            struct text *t = &texts[(i + batches) % n];
            t->seconds[batches] = run(t, queue, io, t->batch);
        }
    for (int i = 0; i < n; i++)
        print_text(&texts[i], batches, late(&texts[0], batches, 0.5));
    fflush(stdout);
}

static int run_texts(struct text *texts, int n, clattn_context *ctx, const struct workload *w, double seconds)
{
    const size_t bytes = (size_t)(w->o_count * workload_type_bytes(w->problem.type_o));
    char *first = malloc(bytes), *other = malloc(bytes);
    cl_int code;
    struct upload u;
    cl_command_queue queue =
        clCreateCommandQueue(clattn_context_cl(ctx), clattn_context_device(ctx), 0, &code);
    clattn_status status = upload_workload(&u, ctx, w);
    bool good = !status && first && other && code == CL_SUCCESS &&
                begin_texts(texts, n, queue, &u.io, first, other, bytes);
    if (good)
        measure(texts, n, queue, &u.io, seconds);
    upload_release(&u);
    if (code == CL_SUCCESS)
        clReleaseCommandQueue(queue);
    free(first);
    free(other);
    return good ? 0 : failed(ctx, CLATTN_OPENCL_FAILED, "the first runs");
}

/* Plans to come take their texts from a folder; whether it is one. */
static bool use_texts(const char *folder)
{
    if (!strcmp(folder, "-"))
        return unsetenv("CLATTN_KERNEL_DIR") == 0;
    char *path = realpath(folder, NULL); /* a relative one would not be taken */
    const bool good = path && setenv("CLATTN_KERNEL_DIR", path, 1) == 0;
    free(path);
    return good;
}

static int make_plans(struct text *texts, const struct options *o, clattn_context *ctx,
                      const clattn_attention *a, int problem)
{
    int n = 0;
    for (int i = 0; i < o->n_folders; i++) {
        if (!use_texts(o->folders[i])) {
            mistake("%s is no folder", o->folders[i]);
            continue;
        }
        texts[n] = (struct text){.folder = o->folders[i]};
        if (clattn_plan_create(&texts[n].plan, ctx, a)) {
            failed(ctx, CLATTN_OK, o->folders[i]);
            continue;
        }
        if (o->keep)
            keep_binary(&texts[n], i, problem, o->keep);
        n++;
    }
    return n;
}

static int compare(const struct options *o, clattn_context *ctx, const char *problem, int number)
{
    static struct text texts[MOST];
    clattn_attention a = CLATTN_ATTENTION_INIT;
    struct workload w;
    if (read_problem(&a, problem, &o->problem))
        return EXIT_MISTAKE;
    const int n = make_plans(texts, o, ctx, &a, number);
    int exit_status = n < o->n_folders ? EXIT_MISTAKE : 0;
    printf("%s\n", problem);
    clattn_status status = workload_make(&w, &a, 1, WORKLOAD_NORMAL);
    if (status) {
        exit_status = failed(NULL, status, problem);
    } else {
        if (n > 0)
            exit_status |= load_arrays(&o->problem, &w) ? EXIT_MISTAKE
                                                        : run_texts(texts, n, ctx, &w, o->seconds);
        workload_free(&w);
    }
    for (int i = 0; i < n; i++)
        clattn_plan_destroy(texts[i].plan);
    return exit_status;
}

static int take_options(int argc, char **argv, struct options *o)
{
    enum { DEVICE = 1, SECONDS, KEEP, TEXT };
    static const struct option options[] = {PROBLEM_OPTIONS, {"device", required_argument, NULL, DEVICE},
                                            {"seconds", required_argument, NULL, SECONDS},
                                            {"keep", required_argument, NULL, KEEP},
                                            {"text", required_argument, NULL, TEXT}, {NULL, 0, NULL, 0}};
    for (int c; (c = next_option(argc, argv, options)) != -1;) {
        if (c == DEVICE)
            o->device = optarg;
        else if (c == SECONDS && read_seconds("--seconds", optarg, &o->seconds))
            return EXIT_MISTAKE;
        else if (c == KEEP)
            o->keep = optarg;
        else if (c == TEXT && o->n_folders < MOST)
            o->folders[o->n_folders++] = optarg;
        else if (c == TEXT || c == '?' || c == OPTION_HELP)
            return mistake("bench/texts.c says how; %d texts at most", MOST);
        else if (c != SECONDS && take_problem_option(&o->problem, c))
            return EXIT_MISTAKE;
    }
    if (!o->n_folders)
        o->folders[o->n_folders++] = "-";
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = {.device = "gpu", .seconds = 0.2};
    clattn_context *ctx;
    int exit_status = take_options(argc, argv, &o);
    if (exit_status)
        return exit_status;
    clattn_status status = clattn_context_open(&ctx, o.device);
    if (status)
        return failed(NULL, status, o.device);
    for (int i = optind; i < argc; i++)
        exit_status |= compare(&o, ctx, argv[i], i - optind);
    clattn_context_close(ctx);
    return exit_status;
}
