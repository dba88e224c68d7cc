/* SPDX-License-Identifier: MIT
 * tune.c - clattn tune: the command. */
#include "tool/tune/tune.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_PROBLEMS 64

/* What people run: prefill of several head sizes and types, a long one, many short ones, few queries,
 * decode. */
static char *const standard[] = {
    "attn:f32:h8:q2048:k2048:d64",
    "attn:f32:h8:q2048:k2048:d64:causal-tl",
    "attn:f32:h8:q2048:k2048:d128:causal-tl",
    "attn:f16:h8:q2048:k2048:d64",
    "attn:bf16:h8:q2048:k2048:d64",
    "attn:f32:h32:q512:k512:d64",
    "attn:f32:b8:h12:q128:k128:d64",
    "attn:f32:h8:q2048:k2048:d80",
    "attn:f32:h8:q2048:k2048:d256",
    "attn:f32:h32/8:q1:k8192:d128",
    "attn:f16:h32/8:q1:k8192:d128",
    "attn:f32:h32/8:q4:k8192:d128:causal-br",
};
#define N_STANDARD ((int)(sizeof standard / sizeof standard[0]))

enum effort { ESTIMATE, MEASURE, PATIENT };

struct tuning {
    const char *device, *path, *effort_word;
    enum effort effort;
    long long budget, timeout;
    bool again, progress, merge, worker;
    clattn_device_facts facts;
    char index[24]; /* the device by number, for workers */
    char *lines;    /* of the file */
    struct child child;
    double begin;
    int number, n, failures, tuned; /* the problem in work, how many there are; how many failed, were tuned */
    double log_gain, log_worst;
    char key[512];
    const struct search *search;
    bool lost; /* a line could not be written */
};

/* ---- lines ---- */
static void today(char date[16])
{
    struct tm day;
    time_t now = time(NULL);
    strcpy(date, "2000-01-01");
    if (gmtime_r(&now, &day))
        strftime(date, 16, "%Y-%m-%d", &day);
}

/* Whether the file has a line for the key; its setting and record go to text. */
static bool has_line(const struct tuning *t, char *text, size_t size)
{
    char head[640];
    snprintf(head, sizeof head, "\ntune | %s | ", t->key);
    const char *at = strstr(t->lines, head);
    if (at)
        snprintf(text, size, "%.*s", (int)strcspn(at + strlen(head), "\n"), at + strlen(head));
    return at != NULL;
}

static void keep(struct tuning *t, const char *word, const char *setting, const char *record)
{
    char line[1024], date[16];
    today(date);
    snprintf(line, sizeof line, "%s | %s | %s | %s %s", word, t->key, setting, date, record);
    t->lost |= tuning_join(t->path, &t->lines, line) != 0;
}

/* What is wrong, hangs or ends its process is never tried again: neither here nor by a plan. */
static void block(void *cookie, const struct candidate *c)
{
    struct tuning *t = cookie;
    char record[SETTING_SIZE + 16];
    static const char *const words[N_ANSWERS] = {"", "", "wrong: ", "failed: ", "", ""};
    snprintf(record, sizeof record, "%s%s", words[c->answer], c->resolved);
    for (char *p = record; *p; p++)
        if (*p < ' ' || *p > '~' || *p == '|')
            *p = '?';
    if (c->answer != ANSWER_FAILED) /* that may be for want of memory */
        keep(t, "block", c->setting, record);
    if (t->progress)
        fprintf(stderr, "\033[2K\r");
    fprintf(stderr, "clattn tune: %s: %s\n", c->setting, record);
}

static void show_step(void *cookie, const struct candidate *c)
{
    const struct tuning *t = cookie;
    double best = 1;
    if (!t->progress)
        return;
    for (int i = 0; i < t->search->n; i++)
        if (t->search->candidates[i].answer == ANSWER_OK && t->search->candidates[i].times > best)
            best = t->search->candidates[i].times;
    const double gone = now_seconds() - t->begin;
    fprintf(stderr, "\033[2K\rclattn tune: problem %d of %d, candidate %d, best %.3f, ", t->number, t->n,
            t->search->n, best);
    if (t->effort == MEASURE)
        fprintf(stderr, "%.0f s left, ", gone < (double)t->budget ? (double)t->budget - gone : 0);
    else
        fprintf(stderr, "%.0f s, ", gone);
    fprintf(stderr, "%.60s", c->setting);
}

/* ---- one problem ---- */
static void report_result(const struct tuning *t, const char *problem, const struct search *s, double seconds)
{
    const int wrong =
        s->count[ANSWER_WRONG] + s->count[ANSWER_FAILED] + s->count[ANSWER_HUNG] + s->count[ANSWER_CRASHED];
    printf("%-40s %9.3f ms %6.3f %6.3f %5d %5d %5d %6.1f s  %s\n", problem, t->child.seconds * 1e3,
           s->best.times, s->worst.times > 0 ? s->worst.times : 1, s->count[ANSWER_OK],
           s->n_refused + s->count[ANSWER_REFUSED], wrong, seconds, s->best.setting);
    fflush(stdout);
}

static int measure_problem(struct tuning *t, const char *text, const clattn_attention *problem)
{
    char rest[512], record[128];
    const double begin = now_seconds(), left = t->begin + (double)t->budget - begin;
    if (child_problem(&t->child, text, rest, sizeof rest) != ANSWER_OK) {
        printf("%-40s FAILED: %s\n", text, rest);
        t->failures++;
        return 0;
    }
    struct search s = {.facts = &t->facts,
                       .problem = problem,
                       .child = &t->child,
                       .patient = t->effort == PATIENT,
                       .failed = block,
                       .step = show_step,
                       .cookie = t,
                       .key = t->key,
                       .known = t->lines};
    if (t->effort == MEASURE)
        s.deadline = begin + (left > 0 ? left : 0) / (t->n - t->number + 1);
    char *known = strdup(t->lines); /* joining a line makes the lines anew */
    s.known = known ? known : "";
    t->search = &s;
    int code = search_best(&s);
    if (t->progress)
        fprintf(stderr, "\033[2K\r");
    if (!code) {
        snprintf(record, sizeof record, "gain=%.3f ms=%.3f clattn=%s effort=%s", s.best.times,
                 s.best.seconds * 1e3, clattn_version(), t->effort_word);
        keep(t, "tune", s.best.setting, record);
        report_result(t, text, &s, now_seconds() - begin);
        t->tuned++;
        t->log_gain += log(s.best.times);
        t->log_worst += log(s.worst.times > 0 && s.worst.times < 1 ? s.worst.times : 1);
    }
    search_free(&s);
    free(known);
    return code ? code : t->lost ? EXIT_MISTAKE : 0;
}

/* What would serve it, from the lines there are. */
static int estimate_problem(const struct tuning *t, const char *text, const clattn_attention *problem)
{
    char explanation[8192] = "", resolved[512];
    clattn_context *ctx;
    clattn_plan *plan;
    clattn_status status = clattn_context_open(&ctx, t->index);
    if (status)
        return failed(NULL, status, "device");
    if (clattn_tuning_resolve(&t->facts, problem, NULL, resolved, sizeof resolved))
        snprintf(resolved, sizeof resolved, "nothing");
    status = clattn_plan_create(&plan, ctx, problem);
    if (!status) {
        clattn_plan_explain(plan, explanation, sizeof explanation);
        clattn_plan_destroy(plan);
    } else {
        clattn_context_message(ctx, explanation, sizeof explanation);
    }
    clattn_context_close(ctx);
    const char *tuned = strstr(explanation, "\ntuned by ");
    printf("%s\n  class    %s\n  untuned  %s\n  serves   %.*s\n", text, t->key, resolved,
           status  ? (int)strcspn(explanation, "\n")
           : tuned ? (int)strcspn(tuned + 1, "\n")
                   : (int)strlen("the untuned"),
           status ? explanation : tuned ? tuned + 1 : "the untuned");
    return 0;
}

static int tune_problem(struct tuning *t, const char *text)
{
    static const struct problem_options none;
    clattn_attention problem;
    char line[640];
    if (read_problem(&problem, text, &none))
        return EXIT_MISTAKE;
    clattn_status status = clattn_tuning_key(&t->facts, &problem, t->key, sizeof t->key);
    if (status)
        return failed(NULL, status, text);
    if (t->effort == ESTIMATE)
        return estimate_problem(t, text, &problem);
    if (!t->again && has_line(t, line, sizeof line)) {
        printf("%-40s is tuned (--again measures it): %s\n", text, line);
        return 0;
    }
    return measure_problem(t, text, &problem);
}

/* ---- the command ---- */
static int find_device(struct tuning *t)
{
    static const clattn_device_facts init = CLATTN_DEVICE_FACTS_INIT;
    cl_device_id devices[64];
    size_t count = 0;
    clattn_context *ctx;
    clattn_status status = clattn_context_open(&ctx, t->device);
    if (status)
        return failed(NULL, status, t->device ? t->device : "devices");
    t->facts = init;
    status = clattn_device_describe(clattn_context_device(ctx), &t->facts);
    clattn_list_devices(devices, sizeof devices / sizeof devices[0], &count);
    for (size_t i = 0; i < count && i < sizeof devices / sizeof devices[0]; i++)
        if (devices[i] == clattn_context_device(ctx))
            snprintf(t->index, sizeof t->index, "%zu", i);
    clattn_context_close(ctx);
    return status ? failed(NULL, status, "device") : 0;
}

static void report_all(const struct tuning *t)
{
    if (t->tuned)
        printf("%d problem%s: %.3f times as fast as untuned in the mean (worst candidates: %.3f), in %.1f s; "
               "kept in %s\n",
               t->tuned, t->tuned == 1 ? "" : "s", exp(t->log_gain / t->tuned), exp(t->log_worst / t->tuned),
               now_seconds() - t->begin, t->path);
}

static int tune(struct tuning *t, int n_texts, char *const *texts)
{
    static const struct problem_options none;
    clattn_attention problem;
    if (n_texts > MOST_PROBLEMS)
        return mistake("tune takes %d problems at most", MOST_PROBLEMS);
    for (int i = 0; i < n_texts; i++) /* before the first is measured */
        if (read_problem(&problem, texts[i], &none))
            return EXIT_MISTAKE;
    if (find_device(t) || !(t->lines = tuning_read(t->path)))
        return EXIT_MISTAKE;
    signal(SIGPIPE, SIG_IGN); /* a worker may be gone */
    t->child = (struct child){.device = t->index, .timeout = (double)t->timeout};
    t->begin = now_seconds();
    t->n = n_texts;
    printf("%s (%s, driver %s)\n", t->facts.name, t->facts.platform, t->facts.driver);
    if (t->effort != ESTIMATE)
        printf("%-40s %12s %6s %6s %5s %5s %5s %8s  %s\n", "problem", "untuned", "gain", "worst", "right",
               "not", "bad", "time", "setting");
    int code = 0;
    for (int i = 0; i < n_texts && !code; i++) {
        t->number = i + 1;
        code = tune_problem(t, texts[i]);
    }
    child_end(&t->child);
    report_all(t);
    free(t->lines);
    return code ? code : t->failures ? EXIT_CHECK_FAILED : EXIT_GOOD;
}

static const char help[] =
    "usage: clattn tune [OPTIONS] [PROBLEM...]\n"
    "       clattn tune --merge FILE...\n\n"
    "Finds which engine, in which shape, serves problems best on a device, and keeps it as lines of text that every later\n"
    "plan takes (clattn_tuning(5)).  Without PROBLEM: a dozen of usual ones.\n\n"
    "  --device S         number, cpu, gpu, accelerator, or part of a name\n"
    "  --effort E         estimate: measure nothing, say what serves; measure (the default): within --budget;\n"
    "                     patient: pairs of knobs and other engines too, however long that takes\n"
    "  --budget S         seconds for all problems together (60)\n"
    "  --timeout S        end a candidate that takes longer to build and measure (30)\n"
    "  --again            measure problems that have a line already\n"
    "  --output FILE      keep the lines there instead of in the user's file\n"
    "  --merge            print the lines of several files as one text; of two about the same, the later\n"
    "  --worker           what the command starts for each device: measures what it reads on standard "
    "input\n" HELP_HELP
    "\nExit status: 0, 1 if a problem failed, 2 after a mistake in the call or an error.\n";

static int read_effort(struct tuning *t)
{
    static const char *const words[] = {"estimate", "measure", "patient"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(t->effort_word, words[i])) {
            t->effort = (enum effort)i;
            return 0;
        }
    return mistake("--effort takes estimate, measure or patient, not '%s'", t->effort_word);
}

static int take_option(struct tuning *t, int c)
{
    switch (c) {
    case 'd': t->device = optarg; return 0;
    case 'e': t->effort_word = optarg; return read_effort(t);
    case 'b': return read_count("--budget", optarg, 1, &t->budget);
    case 't': return read_count("--timeout", optarg, 1, &t->timeout);
    case 'o': t->path = optarg; return 0;
    case 'a': t->again = true; return 0;
    case 'm': t->merge = true; return 0;
    case 'w': t->worker = true; return 0;
    default: return EXIT_MISTAKE;
    }
}

int command_tune(int argc, char **argv)
{
    static const struct option options[] = {
        {"device", required_argument, NULL, 'd'}, {"effort", required_argument, NULL, 'e'},
        {"budget", required_argument, NULL, 'b'}, {"timeout", required_argument, NULL, 't'},
        {"output", required_argument, NULL, 'o'}, {"again", no_argument, NULL, 'a'},
        {"merge", no_argument, NULL, 'm'},        {"worker", no_argument, NULL, 'w'},
        {"help", no_argument, NULL, OPTION_HELP}, {0}};
    static char user[4096];
    struct tuning t = {.effort = MEASURE, .effort_word = "measure", .budget = 60, .timeout = 30,
                       .progress = isatty(2)};
    for (int c; (c = next_option(argc, argv, options)) != -1;) {
        if (c == OPTION_HELP) {
            printf("%s", help);
            return EXIT_GOOD;
        }
        if (take_option(&t, c))
            return EXIT_MISTAKE;
    }
    if (t.worker)
        return tune_worker(t.device);
    if (t.merge)
        return optind < argc ? tuning_merge_files(argc - optind, argv + optind)
                             : mistake("--merge needs files");
    clattn_tuning_path(user, sizeof user);
    if (!t.path)
        t.path = user;
    if (!t.path[0] && t.effort != ESTIMATE)
        return mistake(
            "there is no file to keep lines in: name one with --output, or by CLATTN_TUNING or HOME");
    return optind < argc ? tune(&t, argc - optind, argv + optind) : tune(&t, N_STANDARD, standard);
}
