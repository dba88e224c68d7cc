/* SPDX-License-Identifier: MIT
 * bench.c - clattn bench: problems on devices; the command. */
#include "tool/bench.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_LINES 64
#define MAX_LISTED 64

/* A context's number in `clattn devices'. */
static int device_number(const clattn_context *ctx)
{
    cl_device_id devices[MAX_LISTED];
    size_t count = 0;
    clattn_list_devices(devices, MAX_LISTED, &count);
    for (size_t i = 0; i < count && i < MAX_LISTED; i++)
        if (devices[i] == clattn_context_device(ctx))
            return (int)i;
    return -1;
}

/* name: of the device, the caller's */
static int bench_lines(struct bench *b, clattn_context *ctx, struct peak *peak, const char *name)
{
    int code = EXIT_GOOD;
    for (size_t i = 0; i < b->n_lines && !code; i++) {
        const struct bench_line *line = &b->lines[i];
        struct result *result = &b->results[b->n_results++];
        *result = (struct result){
            .device = device_number(ctx), .device_name = name, .problem = line->problem, .note = line->note};
        if (b->progress)
            fprintf(stderr, "clattn bench: problem %zu of %zu ...\r", i + 1, b->n_lines);
        code = measure_line(b, ctx, peak, line, result);
        if (b->progress)
            fprintf(stderr, "\033[2K\r");
        if (!code)
            print_result(b, result);
    }
    return code;
}

static int bench_device(struct bench *b, const char *selector, char *name, size_t size)
{
    clattn_context *ctx;
    struct peak *peak;
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_status status = clattn_context_open(&ctx, selector);
    if (status)
        return failed(NULL, status, selector);
    clattn_device_describe(clattn_context_device(ctx), &facts);
    snprintf(name, size, "%s (%s)", facts.name, facts.platform);
    peak_open(&peak, ctx);
    print_device_head(b, device_number(ctx), name, peak);
    int code = bench_lines(b, ctx, peak, name);
    peak_close(peak);
    clattn_context_close(ctx);
    return code;
}

static bool any_failed(const struct bench *b)
{
    for (size_t i = 0; i < b->n_results; i++)
        if (b->results[i].why[0])
            return true;
    return false;
}

static int bench_devices(struct bench *b)
{
    static char names[BENCH_DEVICES][256];
    int code = EXIT_GOOD;
    for (int i = 0; i < b->n_selectors && !code; i++)
        code = bench_device(b, b->selectors[i], names[i], sizeof names[i]);
    if (code)
        return code;
    print_comparison(b);
    print_legend(b);
    code = write_records(b);
    return code ? code : any_failed(b) ? EXIT_CHECK_FAILED : EXIT_GOOD;
}

/* Without --device, every device. */
static int select_devices(struct bench *b)
{
    static char numbers[BENCH_DEVICES][16];
    size_t count = 0;
    clattn_status status = clattn_list_devices(NULL, 0, &count);
    if (status)
        return mistake("%s", clattn_status_text(status));
    if (b->n_selectors)
        return 0;
    for (size_t i = 0; i < count && i < BENCH_DEVICES; i++) {
        snprintf(numbers[i], sizeof numbers[i], "%zu", i);
        b->selectors[b->n_selectors++] = numbers[i];
    }
    return 0;
}

/* The problems, and that each of them is one before the first is measured. */
static int read_lines(struct bench *b, struct bench_line *lines, int n_texts, char **texts)
{
    clattn_attention problem;
    clattn_select select;
    if (n_texts > MAX_LINES)
        return mistake("bench takes %d problems at most", MAX_LINES);
    for (int i = 0; i < n_texts; i++)
        lines[i] = (struct bench_line){texts[i], NULL, ""};
    b->n_lines = n_texts ? (size_t)n_texts : preset_lines(b->preset, lines, MAX_LINES);
    b->lines = lines;
    if (b->n_lines == 0)
        return mistake("--preset takes attention, cpu, quick or standard, not '%s'", b->preset);
    if (n_texts == 0 && options_need_problem(&b->options))
        return mistake("--mechanism, --mask, --scalar and the like go with a problem, and none is given");
    for (size_t i = 0; i < b->n_lines; i++)
        if (read_selector(&problem, &select, lines[i].problem, &b->options))
            return EXIT_MISTAKE;
    return 0;
}

static int bench(struct bench *b, int n_texts, char **texts)
{
    struct bench_line lines[MAX_LINES];
    if (read_lines(b, lines, n_texts, texts) || select_devices(b) || open_records(b))
        return EXIT_MISTAKE;
    b->results = calloc(b->n_lines * (size_t)b->n_selectors, sizeof *b->results);
    int code = b->results ? bench_devices(b) : mistake("out of memory");
    free(b->results);
    return code;
}

static const char help[] =
    "usage: clattn bench [OPTIONS] [PROBLEM[:SELECTION]...]\n\n"
    "Measures problems on every device, beside the device's own peak and an unfused pipeline; those with a selection\n"
    "behind them beside the dense problem, and what they keep of its softmax.\n\n"
    "  --preset P         without PROBLEM: quick (the default), standard (quick and more), attention\n"
    "                     (real), cpu (what decides the speed of CPUs: some minutes)\n"
    "  --list             print the presets' problems\n"
    "  --device S         only this device: number, cpu, gpu, accelerator, part of a name; may be repeated\n" PROBLEM_HELP
    "  --seconds S        time a problem for S seconds (1)\n"
    "  --no-baseline      leave out the unfused pipeline, and the dense problem beside a pruned one\n"
    "  --refresh N[/N...] selections of one query: steps between selections, from each stage on (1)\n"
    "  --delta N          correct pruned attention by dense attention of every N-th row; its time and distance\n"
    "  --csv F --json F   write the results to files\n"
    "  --data DIR         folder of the real tensors (tests/data)\n" HELP_HELP
    "\nExit status: 0, 1 if a problem failed, 2 after a mistake in the call or an error.\n";

static int add_device(struct bench *b)
{
    if (b->n_selectors == BENCH_DEVICES)
        return mistake("--device may be given %d times at most", BENCH_DEVICES);
    b->selectors[b->n_selectors++] = optarg;
    return 0;
}

static int take_option(struct bench *b, int c)
{
    clattn_refresh ignored;
    switch (c) {
    case 'p': b->preset = optarg; return 0;
    case 'd': return add_device(b);
    case 's': return read_count("--seconds", optarg, 1, &b->seconds);
    case 'n': b->no_baseline = true; return 0;
    case 'r': b->refresh = optarg; return read_refresh(optarg, &ignored);
    case 'N': return read_count("--delta", optarg, 1, &b->delta);
    case 'c': b->csv = optarg; return 0;
    case 'j': b->json = optarg; return 0;
    case 'D': b->data = optarg; return 0;
    default: return take_problem_option(&b->options, c);
    }
}

int command_bench(int argc, char **argv)
{
    static const struct option options[] = {
        {"preset", required_argument, NULL, 'p'},  {"list", no_argument, NULL, 'l'},
        {"device", required_argument, NULL, 'd'},  {"seconds", required_argument, NULL, 's'},
        {"no-baseline", no_argument, NULL, 'n'},   {"csv", required_argument, NULL, 'c'},
        {"json", required_argument, NULL, 'j'},    {"data", required_argument, NULL, 'D'},
        {"refresh", required_argument, NULL, 'r'}, {"delta", required_argument, NULL, 'N'}, PROBLEM_OPTIONS, {0}};
    struct bench b = {.seconds = 1, .progress = isatty(2)};
    for (int c; (c = next_option(argc, argv, options)) != -1;) {
        if (c == OPTION_HELP)
            printf("%s", help);
        if (c == 'l')
            list_presets();
        if (c == OPTION_HELP || c == 'l')
            return EXIT_GOOD;
        if (take_option(&b, c))
            return EXIT_MISTAKE;
    }
    if (b.preset && optind < argc)
        return mistake("--preset and problems exclude each other, and '%s' is given", argv[optind]);
    if (!b.preset)
        b.preset = "quick";
    return bench(&b, argc - optind, argv + optind);
}
