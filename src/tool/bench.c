/* SPDX-License-Identifier: MIT
 * bench.c - clattn bench: problems on devices, as medians and as fractions of each device's own peak.
 *
 * A repetition is: peak, problem (as often as 50 ms take), peak.  Its fraction is the problem's rate over the mean of the two peaks:
 * a machine whose clock or neighbours change between repetitions shows it in the peaks too.  The median of the fractions is
 * printed.  Times are wall clock from enqueue to finish. */
#include "tool/tool.h"

#include "tool/npy.h"

#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_DEVICES 16
#define MAX_RUNS 200
#define SAMPLE_ROWS 24 /* rows compared with the double reference */

struct preset_line {
    const char *preset, *problem, *data, *note; /* data: folder of real tensors under tests/data, or NULL */
};

static const struct preset_line presets[] = {
    {"attention", "attn:f16-f32:h6/2:q512:k512:d64:causal-tl", "causal", "a language model reading"},
    {"attention", "attn:f16-f32:h6/2:q896:k896:d64:prefix768-tl", "mixed", "a prefix seen whole, then causal"},
    {"attention", "attn:f16-f32:h3/1:q1000:k1000:d64", "bidirectional", "an encoder"},
    {"attention", "attn:f16-f32:h6/2:q548:k1500:d64", "cross", "queries of one text, keys of another"},
    {"attention", "attn:f32:h8:q2048:k2048:d64", NULL, "random"},
    {"attention", "attn:f32:h32/8:q1:k8192:d128", NULL, "one token of generation"},
    {"quick", "attn:f32:h8:q2048:k2048:d64", NULL, ""},
    {"quick", "attn:f32:h8:q2048:k2048:d64:causal-tl", NULL, ""},
    {"quick", "attn:f32:h8:q2048:k2048:d128", NULL, ""},
    {"quick", "attn:f32:h8:q2048:k2048:d128:causal-tl", NULL, ""},
    {"quick", "attn:f16:h8:q2048:k2048:d64", NULL, ""},
    {"quick", "attn:bf16:h8:q2048:k2048:d64", NULL, ""},
    {"quick", "attn:f32:h32/8:q1:k8192:d128", NULL, ""},
    {"standard", "attn:f32:h32:q512:k512:d64", NULL, ""},
    {"standard", "attn:f32:b8:h12:q128:k128:d64", NULL, ""},
    {"standard", "attn:f32:h8:q8192:k8192:d64:causal-tl", NULL, ""},
    {"standard", "attn:f32:h8:q2048:k2048:d80", NULL, ""},
    {"standard", "attn:f32:h8:q2048:k2048:d256", NULL, ""},
    {"standard", "attn:f32:h8:q2048:k2048:d64:window512-causal-tl", NULL, ""},
    {"standard", "attn:f32:h1:q64:k64:d64", NULL, ""},
    {"standard", "attn:f16:h32/8:q1:k8192:d128", NULL, ""},
    {"standard", "attn:f32:h32/8:q4:k8192:d128:causal-br", NULL, ""},
};
#define N_PRESETS (sizeof presets / sizeof presets[0])

struct result {
    const char *device, *problem, *engine, *note;
    const char *why; /* NULL: measured; else why not */
    char why_text[512];
    int runs;
    double seconds, spread, gflops, gbytes, of_peak, peak_gflops, of_read, error, bound, baseline;
    const char *no_baseline;
};

struct bench {
    struct problem_options options;
    const char *preset, *csv, *json, *data;
    const char *devices[MAX_DEVICES];
    int n_devices;
    double seconds;
    bool no_baseline, progress;
    json_t *all;
    FILE *table;
    int failures;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double quantile(double *values, int n, double at)
{
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    return values[(int)(at * (n - 1) + 0.5)];
}

/* ---- one measurement ---- */
struct device_run {
    clattn_context *ctx;
    clattn_plan *plan;
    cl_command_queue queue;
    clattn_io io;
    cl_mem mems[8 + CLATTN_MAX_ARRAYS];
    int n_mems;
};

static cl_mem upload(struct device_run *r, const void *data, size_t bytes, clattn_status *status)
{
    cl_int code;
    if (*status || bytes == 0 || !data)
        return NULL;
    cl_mem mem = clCreateBuffer(clattn_context_cl(r->ctx), CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, bytes,
                                (void *)(uintptr_t)data, &code);
    if (code != CL_SUCCESS) {
        *status = CLATTN_OUT_OF_DEVICE_MEMORY;
        return NULL;
    }
    return r->mems[r->n_mems++] = mem;
}

static clattn_status open_run(struct device_run *r, const struct workload *w)
{
    static const clattn_io init = CLATTN_IO_INIT;
    const clattn_attention *a = &w->problem;
    clattn_status status = CLATTN_OK;
    cl_int code;
    uint32_t zero[4] = {0, 0, 0, 0};
    size_t lengths = (size_t)a->batch * sizeof(int32_t);
    r->io = init;
    r->io.q = upload(r, w->q, (size_t)w->q_count * (a->type_q ? 2 : 4), &status);
    r->io.k = upload(r, w->k, (size_t)w->k_count * (a->type_k ? 2 : 4), &status);
    r->io.v = upload(r, w->v, (size_t)w->v_count * (a->type_v ? 2 : 4), &status);
    r->io.o = upload(r, w->o, (size_t)w->o_count * (a->type_o ? 2 : 4), &status);
    if (a->flags & CLATTN_WANT_LSE)
        r->io.lse = upload(r, w->lse, (size_t)w->lse_count * 4, &status);
    r->io.q_offsets = upload(r, w->q_offsets, lengths + sizeof(int32_t), &status);
    r->io.k_offsets = upload(r, w->k_offsets, lengths + sizeof(int32_t), &status);
    r->io.key_lengths = upload(r, w->key_lengths, lengths, &status);
    for (int i = 0; i < a->n_arrays; i++)
        r->io.arrays[i] = upload(r, w->arrays[i], (size_t)a->arrays[i].count * sizeof(int32_t), &status);
    if (a->flags & CLATTN_COUNT_TILES)
        r->io.counters = upload(r, zero, sizeof zero, &status);
    if (status)
        return status;
    r->queue = clCreateCommandQueue(clattn_context_cl(r->ctx), clattn_context_device(r->ctx), 0, &code);
    return code == CL_SUCCESS ? CLATTN_OK : CLATTN_OPENCL_FAILED;
}

static void close_run(struct device_run *r)
{
    for (int i = 0; i < r->n_mems; i++)
        clReleaseMemObject(r->mems[i]);
    if (r->queue)
        clReleaseCommandQueue(r->queue);
    clattn_plan_destroy(r->plan);
}

/* Seconds of n enqueues, each finished; negative on failure. */
static double time_runs(struct device_run *r, int n)
{
    double begin = now_seconds();
    for (int i = 0; i < n; i++)
        if (clattn_enqueue_forward(r->plan, r->queue, &r->io, 0, NULL, NULL) || clFinish(r->queue) != CL_SUCCESS)
            return -1;
    return now_seconds() - begin;
}

static clattn_status measure(const struct bench *b, struct device_run *r, struct peak *peak, const clattn_attention *problem,
                             struct result *result)
{
    double times[MAX_RUNS], of_peak[MAX_RUNS], of_read[MAX_RUNS], peaks[MAX_RUNS];
    double flops = clattn_problem_flops(problem), bytes = clattn_problem_bytes(problem);
    double once = time_runs(r, 1); /* warm */
    if (once < 0 || (once = time_runs(r, 1)) < 0)
        return CLATTN_OPENCL_FAILED;
    int inner = once < 0.05 ? (int)(0.05 / (once + 1e-6)) + 1 : 1, n = 0;
    double begin = now_seconds();
    while (n < MAX_RUNS && (n < 5 || now_seconds() - begin < b->seconds)) {
        double before = peak_flops(peak), read = peak_bytes(peak), t = time_runs(r, inner) / inner, after = peak_flops(peak);
        if (t <= 0)
            return CLATTN_OPENCL_FAILED;
        times[n] = t;
        peaks[n] = (before + after) / 2;
        of_peak[n] = peaks[n] > 0 ? flops / t / peaks[n] : 0;
        of_read[n] = read > 0 ? bytes / t / read : 0;
        n++;
    }
    result->runs = n * inner;
    result->seconds = quantile(times, n, 0.5);
    result->spread = (quantile(times, n, 0.75) - quantile(times, n, 0.25)) / result->seconds;
    result->gflops = flops / result->seconds * 1e-9;
    result->gbytes = bytes / result->seconds * 1e-9;
    result->of_peak = quantile(of_peak, n, 0.5);
    result->of_read = quantile(of_read, n, 0.5);
    result->peak_gflops = quantile(peaks, n, 0.5) * 1e-9;
    return CLATTN_OK;
}

/* ---- real tensors ---- */
static const char *data_path(const struct bench *b, const char *folder, const char *file, char *path, size_t size)
{
    const char *places[] = {b->data, "tests/data", "../tests/data", PRESET_DIR "/data"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (!places[i])
            continue;
        snprintf(path, size, "%s/%s/%s.npy", places[i], folder, file);
        if (access(path, R_OK) == 0)
            return path;
    }
    return NULL;
}

static bool load_real(const struct bench *b, const char *folder, struct workload *w)
{
    static const char *const files[] = {"q", "k", "v"};
    void *to[] = {w->q, w->k, w->v};
    const int64_t counts[] = {w->q_count, w->k_count, w->v_count};
    char path[1024], message[512];
    for (int i = 0; i < 3; i++) {
        struct npy array;
        if (!data_path(b, folder, files[i], path, sizeof path) || npy_read(&array, path, message, sizeof message))
            return false;
        bool good = array.type == NPY_F2 && array.count == counts[i];
        if (good)
            memcpy(to[i], array.data, (size_t)counts[i] * 2);
        npy_free(&array);
        if (!good)
            return false;
    }
    return true;
}

/* ---- one line ---- */
static void refuse(struct result *result, const clattn_context *ctx, clattn_status status)
{
    char message[400] = "";
    if (ctx)
        clattn_context_message(ctx, message, sizeof message);
    snprintf(result->why_text, sizeof result->why_text, "%s", message[0] ? message : clattn_status_text(status));
    result->why = result->why_text;
}

static void bench_workload(const struct bench *b, clattn_context *ctx, struct peak *peak, struct workload *w,
                           struct result *result)
{
    struct device_run r = {.ctx = ctx};
    struct verdict verdict;
    clattn_status status = clattn_plan_create(&r.plan, ctx, &w->problem);
    if (status) {
        refuse(result, ctx, status);
        return;
    }
    result->engine = clattn_plan_engine(r.plan);
    status = workload_run(w, r.plan, NULL);
    if (!status) {
        workload_check(w, SAMPLE_ROWS, &verdict);
        result->error = verdict.error;
        result->bound = verdict.bound;
        if (!verdict.pass) {
            snprintf(result->why_text, sizeof result->why_text, "wrong: %s", verdict.where);
            result->why = result->why_text;
        }
        status = open_run(&r, w);
    }
    if (!status && !result->why)
        status = measure(b, &r, peak, &w->problem, result);
    if (status)
        refuse(result, ctx, status);
    close_run(&r);
}

static void bench_problem(const struct bench *b, clattn_context *ctx, struct peak *peak, const clattn_attention *problem,
                          const char *data, struct result *result)
{
    struct workload w;
    clattn_status status = workload_make(&w, problem, 1, WORKLOAD_NORMAL);
    if (status) {
        refuse(result, NULL, status);
        return;
    }
    if (data && !load_real(b, data, &w))
        result->why = "the real tensors of tests/data are not found; call from the source folder or give --data";
    if (!result->why)
        bench_workload(b, ctx, peak, &w, result);
    workload_free(&w);
    result->no_baseline = "off";
    if (!result->why && !b->no_baseline)
        result->baseline = baseline_seconds(ctx, problem, &result->no_baseline);
}

/* ---- output ---- */
static void print_result(const struct bench *b, const struct result *r)
{
    if (r->why) {
        fprintf(b->table, "%-50s FAILED: %s\n", r->problem, r->why);
        return;
    }
    fprintf(b->table, "%-50s %-9s %9.3f %6.1f%% %9.1f %8.1f %8.2f %8.2f %9.1e ", r->problem, r->engine, r->seconds * 1e3,
            r->spread * 100, r->gflops, r->gbytes, r->of_peak, r->of_read, r->error);
    if (r->baseline > 0)
        fprintf(b->table, "%7.1fx", r->baseline / r->seconds);
    else
        fprintf(b->table, "%8s", "-");
    fprintf(b->table, "  %s\n", r->note);
}

static void keep_result(struct bench *b, const struct result *r)
{
    json_array_append_new(b->all, json_pack("{s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "device",
                                            r->device, "problem", r->problem, "engine", r->engine ? r->engine : "", "failed",
                                            r->why ? r->why : "", "runs", r->runs, "median_seconds", r->seconds, "spread",
                                            r->spread, "gflops", r->gflops, "gbytes", r->gbytes, "fraction_of_peak", r->of_peak,
                                            "peak_gflops", r->peak_gflops, "fraction_of_read", r->of_read, "error", r->error,
                                            "bound", r->bound, "baseline_seconds", r->baseline));
    b->failures += r->why != NULL;
}

static int write_csv(const struct bench *b)
{
    static const char *const columns[] = {"device", "problem", "engine", "failed", "runs", "median_seconds", "spread", "gflops",
                                          "gbytes", "fraction_of_peak", "peak_gflops", "fraction_of_read", "error", "bound",
                                          "baseline_seconds"};
    size_t n = sizeof columns / sizeof columns[0], line;
    json_t *result;
    FILE *file = fopen(b->csv, "w");
    if (!file)
        return mistake("%s: cannot be written", b->csv);
    for (size_t i = 0; i < n; i++)
        fprintf(file, "%s%s", i ? "," : "", columns[i]);
    fprintf(file, "\n");
    json_array_foreach(b->all, line, result) {
        for (size_t i = 0; i < n; i++) {
            json_t *value = json_object_get(result, columns[i]);
            if (json_is_string(value))
                fprintf(file, "%s\"%s\"", i ? "," : "", json_string_value(value));
            else
                fprintf(file, "%s%.9g", i ? "," : "", json_number_value(value));
        }
        fprintf(file, "\n");
    }
    return fclose(file) ? mistake("%s: cannot be written", b->csv) : 0;
}

/* ---- devices and presets ---- */
static int bench_lines(struct bench *b, clattn_context *ctx, const char *device, int n_texts, char **texts)
{
    struct peak *peak;
    int printed = 0;
    peak_open(&peak, ctx);
    fprintf(b->table, "\n%s: multiply-add peak %.1f GFLOP/s, read %.1f GB/s\n", device, peak_flops(peak) * 1e-9,
            peak_bytes(peak) * 1e-9);
    fprintf(b->table, "%-50s %-9s %9s %7s %9s %8s %8s %8s %9s %8s\n", "problem", "engine", "ms", "spread", "GFLOP/s", "GB/s",
            "of peak", "of read", "error", "unfused");
    size_t n = n_texts ? (size_t)n_texts : N_PRESETS;
    for (size_t i = 0; i < n; i++) {
        clattn_attention problem;
        struct preset_line line = n_texts ? (struct preset_line){"", texts[i], NULL, ""} : presets[i];
        if (!n_texts && strcmp(line.preset, b->preset) && !(strcmp(b->preset, "standard") == 0 && !strcmp(line.preset, "quick")))
            continue;
        if (read_problem(&problem, line.problem, &b->options))
            return EXIT_MISTAKE;
        if (b->progress)
            fprintf(stderr, "clattn bench: %s, problem %d: %s ...\r", device, ++printed, line.problem);
        struct result result = {.device = device, .problem = line.problem, .note = line.note};
        bench_problem(b, ctx, peak, &problem, line.data, &result);
        if (b->progress)
            fprintf(stderr, "\033[2K\r");
        print_result(b, &result);
        fflush(b->table);
        keep_result(b, &result);
    }
    peak_close(peak);
    return EXIT_GOOD;
}

static int bench_device(struct bench *b, const char *selector, int n_texts, char **texts)
{
    clattn_context *ctx;
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_status status = clattn_context_open(&ctx, selector);
    if (status)
        return failed(NULL, status, selector);
    char device[256];
    clattn_device_describe(clattn_context_device(ctx), &facts);
    snprintf(device, sizeof device, "%s (%s)", facts.name, facts.platform);
    int code = bench_lines(b, ctx, device, n_texts, texts);
    clattn_context_close(ctx);
    return code;
}

static int bench_all(struct bench *b, int n_texts, char **texts)
{
    int code = EXIT_GOOD;
    size_t count = 0;
    clattn_status status = clattn_list_devices(NULL, 0, &count);
    if (status)
        return mistake("%s", clattn_status_text(status));
    for (int i = 0; i < b->n_devices && code == EXIT_GOOD; i++)
        code = bench_device(b, b->devices[i], n_texts, texts);
    for (size_t i = 0; b->n_devices == 0 && i < count && code == EXIT_GOOD; i++) {
        char selector[32];
        snprintf(selector, sizeof selector, "%zu", i);
        code = bench_device(b, selector, n_texts, texts);
    }
    if (code)
        return code;
    fprintf(b->table, "\nms: median from enqueue to finish, with the spread of the middle half; of peak, of read: fraction of the rates\n"
                      "above, measured around each repetition; error: largest against double precision, on %d rows; unfused: how many\n"
                      "times longer two CLBlast products with a softmax between take.\n", SAMPLE_ROWS);
    if (b->csv)
        code = write_csv(b);
    if (!code && b->json && json_dump_file(b->all, b->json, JSON_INDENT(2)))
        code = mistake("%s: cannot be written", b->json);
    return code ? code : b->failures ? EXIT_CHECK_FAILED : EXIT_GOOD;
}

static int list_presets(void)
{
    for (size_t i = 0; i < N_PRESETS; i++)
        printf("%-10s %-50s %s\n", presets[i].preset, presets[i].problem, presets[i].note);
    return EXIT_GOOD;
}

static const char help[] =
    "usage: clattn bench [OPTIONS] [PROBLEM...]\n\n"
    "Measures problems on every device, beside the device's own peak and an unfused pipeline.\n\n"
    "  --preset P       attention (real tensors), quick (the default), standard (quick and more)\n"
    "  --list           print the presets' problems\n"
    "  --device S       only this device: number, cpu, gpu, or part of a name; may be repeated\n"
    "  --engine E       force an engine\n"
    "  --seconds S      time a problem for S seconds (1)\n"
    "  --no-baseline    leave out the unfused pipeline\n"
    "  --csv F --json F write the results to files\n"
    "  --data DIR       folder of the real tensors (tests/data)\n"
    "  --help           this\n\n"
    "Exit status: 0, 1 if a problem failed, 2 after a mistake in the call.\n";

int command_bench(int argc, char **argv)
{
    static const struct option options[] = {
        {"preset", required_argument, NULL, 'p'}, {"list", no_argument, NULL, 'l'},
        {"device", required_argument, NULL, 'd'}, {"engine", required_argument, NULL, 'e'},
        {"seconds", required_argument, NULL, 's'}, {"no-baseline", no_argument, NULL, 'n'},
        {"csv", required_argument, NULL, 'c'},    {"json", required_argument, NULL, 'j'},
        {"data", required_argument, NULL, 'D'},   {"help", no_argument, NULL, 'h'},
        {0}};
    struct bench b = {.preset = "quick", .seconds = 1, .table = stdout};
    long long seconds;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 'p': b.preset = optarg; break;
        case 'l': return list_presets();
        case 'd':
            if (b.n_devices == MAX_DEVICES)
                return mistake("%d --device are the most", MAX_DEVICES);
            b.devices[b.n_devices++] = optarg;
            break;
        case 'e': b.options.engine = optarg; break;
        case 's':
            if (read_count(optarg, 1, &seconds))
                return EXIT_MISTAKE;
            b.seconds = (double)seconds;
            break;
        case 'n': b.no_baseline = true; break;
        case 'c': b.csv = optarg; break;
        case 'j': b.json = optarg; break;
        case 'D': b.data = optarg; break;
        case 'h': printf("%s", help); return EXIT_GOOD;
        default: return EXIT_MISTAKE;
        }
    }
    if (strcmp(b.preset, "quick") && strcmp(b.preset, "standard") && strcmp(b.preset, "attention"))
        return mistake("--preset takes attention, quick or standard");
    b.progress = isatty(2);
    b.all = json_array();
    int code = bench_all(&b, argc - optind, argv + optind);
    json_decref(b.all);
    return code;
}
