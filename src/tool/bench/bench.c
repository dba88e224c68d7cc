/* SPDX-License-Identifier: MIT
 * bench.c - clattn bench: problems on devices; the command. */
#include "tool/bench/bench.h"
#include "tool/extended.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define BUSY 0.4 /* of the processors, by others: measurements of a CPU suffer */

/* ---- what the report says of the machine and the call ---- */
static void put_words(const struct bench *b, char *field, size_t size)
{
    char *text = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&text, &n);
    if (!memory)
        return;
    fprintf(memory, "clattn");
    for (int i = 0; i < b->n_words; i++)
        print_word(memory, b->words[i]);
    fclose(memory);
    put_text(field, size, text);
    free(text);
}

/* "Linux 6.1.0 x86_64, Intel(R) Xeon(R) Processor" */
static void put_host(char *field, size_t size)
{
    struct utsname u;
    char line[256], host[512] = "";
    int n = uname(&u) < 0 ? 0 : snprintf(host, sizeof host, "%s %s %s", u.sysname, u.release, u.machine);
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "model name", 10) && strchr(line, ':')) {
            line[strcspn(line, "\n")] = 0;
            snprintf(host + n, sizeof host - (size_t)n, "%s%s", n ? ", " : "", strchr(line, ':') + 2);
            break;
        }
    if (file)
        fclose(file);
    put_text(field, size, host);
}

static void put_load(char *field, size_t size)
{
    double load;
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (getloadavg(&load, 1) == 1 && n > 0 && load > BUSY * (double)n)
        snprintf(field, size, "when it began, other programs kept %.1f of %ld processors busy", load, n);
}

static void describe_report(struct bench *b)
{
    const time_t now = time(NULL);
    struct report *r = &b->report;
    PUT_TEXT(r->version, clattn_version());
    strftime(r->date, sizeof r->date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    PUT_TEXT(r->preset, b->preset ? b->preset : "");
    put_words(b, r->command, sizeof r->command);
    put_host(r->host, sizeof r->host);
    put_load(r->warning, sizeof r->warning);
}

/* ---- the call ---- */
static bool any_failed(const struct report *report)
{
    for (size_t i = 0; i < report->n_lines; i++)
        if (report->lines[i].failed[0])
            return true;
    return false;
}

static void print_reproduced(const struct bench *b)
{
    if (!b->reproduced || b->report.n_lines == 0)
        return;
    const struct change c = judge(b->reproduced, &b->report.lines[0]);
    cell then, now;
    put_number(then, line_seconds(b->reproduced) * 1e3, 3);
    put_number(now, line_seconds(&b->report.lines[0]) * 1e3, 3);
    printf("then %s ms, now %s ms: ", then, now);
    print_change(&c, b->colour);
}

static int bench_devices(struct bench *b)
{
    int code = EXIT_GOOD;
    for (size_t i = 0; i < b->report.n_devices && !code; i++)
        code = measure_device(b, &b->report.devices[i]);
    if (code)
        return code;
    print_comparison(b);
    print_legend(b);
    print_reproduced(b);
    if (b->report.warning[0])
        printf("WARNING: %s\n", b->report.warning);
    code = write_files(b);
    return code ? code : any_failed(&b->report) ? EXIT_CHECK_FAILED : EXIT_GOOD;
}

/* The problems, and that each of them is one before the first is measured. */
static int read_lines(struct bench *b, int n_texts, char **texts)
{
    clattn_attention problem;
    clattn_select select;
    if (n_texts > BENCH_LINES)
        return mistake("bench takes %d problems at most", BENCH_LINES);
    for (int i = 0; i < n_texts; i++)
        b->lines[i] = (struct bench_line){texts[i], b->tensors, ""};
    b->n_lines = n_texts ? (size_t)n_texts : preset_lines(b->preset, b->lines, BENCH_LINES);
    if (b->n_lines == 0)
        return mistake("--preset takes quick, standard, full, chat, encoder, vision, long, training, "
                       "attention or cpu, not '%s'",
                       b->preset);
    if (n_texts == 0 && options_need_problem(&b->options))
        return mistake("--mechanism, --mask, --scalar and the like go with a problem, and none is given");
    for (size_t i = 0; i < b->n_lines; i++)
        if (read_selector(&problem, &select, b->lines[i].problem, &b->options) ||
            (b->delta && refuse_extended(&select, "bench --delta")))
            return EXIT_MISTAKE;
    return 0;
}

static int bench(struct bench *b, const char *worker, int n_texts, char **texts)
{
    if (read_lines(b, n_texts, texts))
        return EXIT_MISTAKE;
    if (worker)
        return run_worker(b, worker);
    blank_report(&b->report);
    describe_report(b);
    if (find_devices(b) || open_files(b))
        return EXIT_MISTAKE;
    b->report.lines = calloc(b->n_lines * b->report.n_devices + 1, sizeof *b->report.lines);
    int code = b->report.lines ? bench_devices(b) : mistake("out of memory");
    free(b->report.lines);
    return code;
}

/* The formats of what was measured before. */
static int convert(struct bench *b)
{
    int code = read_reports(&b->report, b->stored, b->n_stored);
    if (!code)
        code = open_files(b);
    if (!code && !(b->paths[FORMAT_CSV] || b->paths[FORMAT_JSON] || b->paths[FORMAT_MARKDOWN] ||
                   b->paths[FORMAT_HTML]))
        write_markdown(stdout, &b->report);
    if (!code)
        code = write_files(b);
    free(b->report.lines);
    return code;
}

static const char help[] =
    "usage: clattn bench [OPTIONS] [PROBLEM[:SELECTION]...]\n\n"
    "Measures problems on every device, beside the device's own peak and an unfused pipeline; those with a selection\n"
    "behind them beside the dense problem, and what they keep of its softmax.\n\n"
    "  --preset P         without PROBLEM: quick (the default, a minute), standard (quick and more), full (that and these),\n"
    "                     chat, encoder, vision, long, training (by use), attention (real tensors), cpu (what decides the\n"
    "                     speed of CPUs: some minutes)\n"
    "  --list             print the presets' problems\n"
    "  --device S         only these devices: number, cpu, gpu, accelerator, part of a name, vendor or platform; may be\n"
    "                     repeated\n" PROBLEM_HELP
    "  --seconds S        time a problem for S seconds (1), up to three times as long if that leaves its median unsure\n"
    "  --limit S          end a device's process that says nothing for S seconds (600)\n"
    "  --cold             write over the device's caches before each run, as decoding finds them; by the device's clock\n"
    "  --no-baseline      leave out the unfused pipeline, and the dense problem beside a pruned one\n"
    "  --peers            on CPUs also PyTorch, ONNX Runtime and OpenBLAS, those of them that Python has\n"
    "  --refresh N[/N...] selections of one query: steps between selections, from each stage on (1)\n"
    "  --delta N          correct pruned attention by dense attention of every N-th row; its time and distance\n"
    "  --csv F --json F --markdown F --html F\n"
    "                     write the results to files\n"
    "  --read F           measure nothing: write what --json F has kept in these formats, or as Markdown here; may be repeated\n"
    "  --compare F G      measure nothing: what is faster, slower or neither in G beside F, both from --json\n"
    "  --reproduce N F    print the call of line N of F, from --json, measure it, and compare\n"
    "  --schema           print the schema of the JSON\n"
    "  --tensors NAME     the real tensors of this folder for the problems, as causal; random ones without\n"
    "  --powercap DIR     folder of Linux' counters of energy (/sys/class/powercap)\n"
    "  --data DIR         where that folder is (tests/data)\n" HELP_HELP
    "\nExit status: 0, 1 if a problem failed or with --compare is slower, 2 after a mistake in the call or "
    "an error.\n";

static int add_device(struct bench *b)
{
    if (b->n_selectors == REPORT_DEVICES)
        return mistake("--device may be given %d times at most", REPORT_DEVICES);
    b->selectors[b->n_selectors++] = optarg;
    return 0;
}

static int add_stored(struct bench *b)
{
    if (b->n_stored == REPORT_DEVICES)
        return mistake("--read may be given %d times at most", REPORT_DEVICES);
    b->stored[b->n_stored++] = optarg;
    return 0;
}

static int take_option(struct bench *b, int c)
{
    clattn_refresh ignored;
    switch (c) {
    case 'p': b->preset = optarg; return 0;
    case 'd': return add_device(b);
    case 's': return read_seconds("--seconds", optarg, &b->seconds);
    case 'E': b->with_peers = true; return 0;
    case 'n': b->no_baseline = true; return 0;
    case 'O': b->cold = true; return 0;
    case 'r': b->refresh = optarg; return read_refresh(optarg, &ignored);
    case 'X': return read_count("--delta", optarg, 1, &b->delta);
    case 'L': return read_count("--limit", optarg, 1, &b->limit);
    case 'c': b->paths[FORMAT_CSV] = optarg; return 0;
    case 'j': b->paths[FORMAT_JSON] = optarg; return 0;
    case 'm': b->paths[FORMAT_MARKDOWN] = optarg; return 0;
    case 'h': b->paths[FORMAT_HTML] = optarg; return 0;
    case 'R': return add_stored(b);
    case 'T': b->tensors = optarg; return 0;
    case 'C': b->compares = true; return 0;
    case 'N': return read_count("--reproduce", optarg, 1, &b->reproduce);
    case 'P': b->powercap = optarg; return 0;
    case 'D': b->data = optarg; return 0;
    default: return take_problem_option(&b->options, c);
    }
}

/* Options that print and end. */
static bool print_and_end(int c)
{
    if (c == OPTION_HELP)
        printf("%s", help);
    if (c == 'l')
        list_presets();
    if (c == 'S')
        write_schema(stdout);
    return c == OPTION_HELP || c == 'l' || c == 'S';
}

/* Columns of the terminal behind standard output; 0: there is none, or it does not say. */
static int terminal_width(void)
{
    struct winsize size;
    return isatty(1) && ioctl(1, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static int reproduce(struct bench *b, const char *worker, int n_texts, char **texts)
{
    struct report *kept = calloc(1, sizeof *kept);
    if (!kept)
        return mistake("out of memory");
    int code = n_texts == 1 ? take_stored_line(b, b->reproduce, texts[0], kept)
                            : mistake("--reproduce takes the number of a line and one file of --json");
    if (!code && !worker)
        print_call(b, b->reproduced);
    if (!code) {
        char *problem = kept->lines[b->reproduce - 1].problem;
        code = bench(b, worker, 1, &problem);
    }
    free(kept->lines);
    free(kept);
    return code;
}

/* What the options ask for, of the words behind them. */
static int act(struct bench *b, const char *worker, int n_texts, char **texts)
{
    const int modes = b->compares + (b->reproduce > 0) + (b->n_stored > 0);
    if (b->cold && b->with_peers)
        return mistake("--cold and --peers exclude each other: peers are timed by the clock");
    if (modes > 1 || (modes && b->preset))
        return mistake("--compare, --reproduce, --read and --preset exclude each other");
    if (b->compares)
        return n_texts == 2 ? compare_files(texts[0], texts[1], b->colour)
                            : mistake("--compare takes two files of --json");
    if (b->reproduce)
        return reproduce(b, worker, n_texts, texts);
    if (b->n_stored)
        return n_texts ? mistake("--read measures nothing, and '%s' is given", texts[0]) : convert(b);
    if (b->preset && n_texts)
        return mistake("--preset and problems exclude each other, and '%s' is given", texts[0]);
    if (b->tensors && !n_texts)
        return mistake("--tensors goes with a problem, and none is given");
    if (!b->preset && !n_texts)
        b->preset = "quick";
    return bench(b, worker, n_texts, texts);
}

static const struct option options[] = {
    {"preset", required_argument, NULL, 'p'},
    {"list", no_argument, NULL, 'l'},
    {"device", required_argument, NULL, 'd'},
    {"seconds", required_argument, NULL, 's'},
    {"no-baseline", no_argument, NULL, 'n'},
    {"cold", no_argument, NULL, 'O'},
    {"csv", required_argument, NULL, 'c'},
    {"json", required_argument, NULL, 'j'},
    {"data", required_argument, NULL, 'D'},
    {"refresh", required_argument, NULL, 'r'},
    {"delta", required_argument, NULL, 'X'},
    {"limit", required_argument, NULL, 'L'},
    {"markdown", required_argument, NULL, 'm'},
    {"html", required_argument, NULL, 'h'},
    {"read", required_argument, NULL, 'R'},
    {"compare", no_argument, NULL, 'C'},
    {"reproduce", required_argument, NULL, 'N'},
    {"tensors", required_argument, NULL, 'T'},
    {"peers", no_argument, NULL, 'E'},
    {"powercap", required_argument, NULL, 'P'},
    {"schema", no_argument, NULL, 'S'},
    {"worker", required_argument, NULL, 'w'}, /* isolate.c's: in no help */
    PROBLEM_OPTIONS,
    {0}};

int command_bench(int argc, char **argv)
{
    struct bench b = {.seconds = DEFAULT_SECONDS,
                      .limit = 600,
                      .powercap = "/sys/class/powercap",
                      .progress = isatty(2),
                      .colour = isatty(1) && !getenv("NO_COLOR"),
                      .width = terminal_width(),
                      .n_words = argc};
    const char *worker = NULL;
    b.words = malloc((size_t)argc * sizeof *b.words); /* getopt_long moves those of argv */
    if (!b.words)
        return mistake("out of memory");
    memcpy(b.words, argv, (size_t)argc * sizeof *b.words);
    int code = -1;
    for (int c; code < 0 && (c = next_option(argc, argv, options)) != -1;) {
        if (print_and_end(c))
            code = EXIT_GOOD;
        else if (c == 'w')
            worker = optarg;
        else if (take_option(&b, c))
            code = EXIT_MISTAKE;
    }
    if (code < 0)
        code = act(&b, worker, argc - optind, argv + optind);
    free(b.words);
    return code;
}
