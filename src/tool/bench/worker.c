/* SPDX-License-Identifier: MIT
 * worker.c - the process in which one device is measured, so that a driver that crashes or hangs costs one
 * line and not the report.
 *
 * It says what it does as records, one a line, on a descriptor of their own: the device with its rates, the
 * number of the line that begins, the line, the device again at the end.  After a line that failed it ends,
 * and the next begins in a new process: what is left of a context after a failed call is the driver's secret.
 */
#include "tool/bench/bench.h"

#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_LISTED 64
#define LAUNCHES   1000
#define PEAK_DRIFT 0.05

/* ---- devices by selector: their number, type, or a part of their name, vendor or platform ---- */
static bool contains(const char *text, const char *part)
{
    const size_t n = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < n && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == n)
            return true;
    }
    return false;
}

static const char *type_word(cl_device_type type)
{
    return type & CL_DEVICE_TYPE_GPU ? "gpu" : type & CL_DEVICE_TYPE_CPU ? "cpu" : "accelerator";
}

static bool answers(const clattn_device_facts *facts, size_t index, const char *selector)
{
    char number[24];
    snprintf(number, sizeof number, "%zu", index);
    if (selector[0] && strspn(selector, "0123456789") == strlen(selector))
        return !strcmp(number, selector);
    if (!strcmp(selector, "cpu") || !strcmp(selector, "gpu") || !strcmp(selector, "accelerator"))
        return !strcmp(type_word(facts->type), selector);
    return contains(facts->name, selector) || contains(facts->vendor, selector) ||
           contains(facts->platform, selector) || contains(facts->platform_version, selector);
}

static void describe(struct report_device *d, const clattn_device_facts *facts, int64_t index)
{
    blank_device(d);
    d->device = index;
    PUT_TEXT(d->name, facts->name);
    PUT_TEXT(d->platform, facts->platform);
    PUT_TEXT(d->vendor, facts->vendor);
    PUT_TEXT(d->driver, facts->driver);
    PUT_TEXT(d->type, type_word(facts->type));
    d->compute_units = facts->compute_units;
    d->clock_mhz = facts->clock_mhz;
}

static void send_device(FILE *to, const char *kind, const struct report_device *d)
{
    send_record(to, kind, d, device_columns, n_device_columns);
}

/* Sends those that answer, in the order of the selectors, each once; without a selector all. */
static int list(const struct bench *b, FILE *to)
{
    cl_device_id devices[MAX_LISTED];
    size_t count = 0;
    bool sent[MAX_LISTED] = {false};
    clattn_status status = clattn_list_devices(devices, MAX_LISTED, &count);
    if (status)
        return mistake("%s", clattn_status_text(status));
    for (int s = 0; s < b->n_selectors || (s == 0 && b->n_selectors == 0); s++) {
        bool any = false;
        for (size_t i = 0; i < count && i < MAX_LISTED; i++) {
            clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
            struct report_device d;
            if (clattn_device_describe(devices[i], &facts) ||
                (b->n_selectors && !answers(&facts, i, b->selectors[s])))
                continue;
            describe(&d, &facts, (int64_t)i);
            if (!sent[i])
                send_device(to, "device", &d);
            any = sent[i] = true;
        }
        if (!any)
            return failed(NULL, CLATTN_DEVICE_NOT_FOUND, b->n_selectors ? b->selectors[s] : "bench");
    }
    return EXIT_GOOD;
}

/* ---- lines ---- */
static double best_peak(struct peak *peak)
{
    double fma = 0;
    for (int i = 0; i < 3; i++) /* a runtime may bring its threads up late */
        fma = fmax(fma, peak_flops(peak) * 1e-9);
    return fma > 0 ? fma : NAN;
}

static void measure_rates(struct report_device *d, struct peak *peak)
{
    if (!peak)
        return;
    const double read = peak_bytes(peak) * 1e-9, launch = peak_launch(peak, LAUNCHES);
    d->peak_gflops = best_peak(peak);
    d->pair_gflops = peak_pair_factor(peak) > 1 ? d->peak_gflops * peak_pair_factor(peak) : NAN;
    d->read_gbytes = read > 0 ? read : NAN;
    d->launch_seconds = launch > 0 ? launch : NAN;
}

static void measure_rates_again(struct report_device *d, struct peak *peak)
{
    d->peak_gflops_after = best_peak(peak);
    const double change = d->peak_gflops_after / d->peak_gflops - 1;
    if (fabs(change) > PEAK_DRIFT)
        snprintf(d->warning, sizeof d->warning,
                 "the multiply-add peak is %.1f GFLOP/s after the last line (%+.0f%%): its clock changed, or "
                 "something else runs on it",
                 d->peak_gflops_after, change * 100);
}

static void begin_line(struct result *r, const struct bench_line *line, const struct bench *b,
                       const struct report_device *d)
{
    char *words = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&words, &size);
    blank_line(r);
    r->device = d->device;
    snprintf(r->device_name, sizeof r->device_name, "%s (%s)", d->name, d->platform);
    PUT_TEXT(r->driver, d->driver);
    PUT_TEXT(r->problem, line->problem);
    PUT_TEXT(r->note, line->note);
    PUT_TEXT(r->tensors, line->data ? line->data : "");
    if (memory) {
        print_problem_options(memory, &b->options);
        fclose(memory);
        PUT_TEXT(r->options, words && words[0] ? words + 1 : "");
    }
    free(words);
}

static int measure_lines(const struct bench *b, size_t first, clattn_context *ctx, struct report_device *d,
                         FILE *to)
{
    struct peak *peak;
    struct result r;
    int code = EXIT_GOOD;
    peak_open(&peak, ctx);
    measure_rates(d, peak);
    send_device(to, "device", d);
    r.failed[0] = 0;
    for (size_t i = first; i < b->n_lines && !code && !r.failed[0]; i++) {
        fprintf(to, "{\"begin\": %zu}\n", i);
        fflush(to);
        begin_line(&r, &b->lines[i], b, d);
        code = measure_line(b, ctx, peak, &b->lines[i], &r);
        if (!code)
            peers_measure(b->peers, &r);
        if (!code)
            send_record(to, "line", &r, line_columns, n_line_columns);
    }
    if (!code && !r.failed[0] && peak) {
        measure_rates_again(d, peak);
        send_device(to, "end", d);
    }
    peak_close(peak);
    return code;
}

static int measure(struct bench *b, const char *device, size_t first, FILE *to)
{
    clattn_context *ctx;
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    struct report_device d;
    clattn_status status = clattn_context_open(&ctx, device);
    if (status) { /* the report has the other devices yet */
        failed(NULL, status, device);
        return EXIT_CHECK_FAILED;
    }
    clattn_device_describe(clattn_context_device(ctx), &facts);
    describe(&d, &facts, strtoll(device, NULL, 10));
    if (b->with_peers && facts.type & CL_DEVICE_TYPE_CPU)
        b->peers = peers_open(d.peers, sizeof d.peers);
    else if (b->with_peers)
        PUT_TEXT(d.peers, "left out: all; bench/peers/peers.py --gpu is for GPUs");
    b->meter = meter_open(clattn_context_device(ctx), &facts, b->powercap);
    int code = measure_lines(b, first, ctx, &d, to);
    meter_close(b->meter);
    peers_close(b->peers);
    clattn_context_close(ctx);
    return code;
}

int run_worker(struct bench *b, const char *text)
{
    int fd, n = 0;
    unsigned device, first;
    if (sscanf(text, "%d:%n", &fd, &n) != 1 || !n)
        return mistake("--worker is for `clattn bench' alone");
    FILE *to = fdopen(fd, "w");
    if (!to || fcntl(fd, F_SETFD, FD_CLOEXEC)) /* a driver's own processes must not hold it open */
        return mistake("--worker is for `clattn bench' alone");
    if (!strcmp(text + n, "list"))
        return list(b, to);
    if (sscanf(text + n, "%u:%u", &device, &first) != 2)
        return mistake("--worker is for `clattn bench' alone");
    char number[16];
    snprintf(number, sizeof number, "%u", device);
    return measure(b, number, first, to);
}
