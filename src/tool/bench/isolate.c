/* SPDX-License-Identifier: MIT
 * isolate.c - a process for each device (worker.c), and what becomes of the report when one crashes or is
 * silent.
 *
 * This process never calls OpenCL: no driver can take it down.  A worker is the same program with the same
 * words, called anew rather than forked, because an OpenCL runtime does not survive fork. */
#include "tool/bench/bench.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHANNEL      3 /* the worker's descriptor for records */
#define MOST_TEXT    ((size_t)1 << 20)
#define KILL_SECONDS 10

extern char **environ;

struct worker {
    pid_t pid;
    int fd;
    char *text; /* read and not yet taken, used bytes; MOST_TEXT */
    size_t used;
    bool silent; /* it was ended because it said nothing */
};

/* ---- a process ---- */
static void program_path(char *path, size_t size)
{
    const ssize_t n = readlink("/proc/self/exe", path, size - 1);
    if (n > 0)
        path[n] = 0;
    else
        snprintf(path, size, "clattn"); /* by PATH */
}

static int spawn(struct worker *w, const struct bench *b, const char *task)
{
    char path[4096], option[64];
    int ends[2];
    posix_spawn_file_actions_t actions;
    const char **words = calloc((size_t)b->n_words + 4, sizeof *words);
    *w = (struct worker){.text = malloc(MOST_TEXT)};
    if (!words || !w->text || pipe(ends)) {
        free(words);
        return mistake("no process for a device: %s", strerror(errno));
    }
    program_path(path, sizeof path);
    snprintf(option, sizeof option, "--worker=%d:%s", CHANNEL, task);
    words[0] = path;
    words[1] = b->words[0];
    words[2] = option;
    for (int i = 1; i < b->n_words; i++)
        words[i + 2] = b->words[i];
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, 2, 1); /* what drivers print is no part of the table */
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    if (ends[1] != CHANNEL) {
        posix_spawn_file_actions_adddup2(&actions, ends[1], CHANNEL);
        posix_spawn_file_actions_addclose(&actions, ends[1]);
    }
    fflush(NULL);
    const int code = posix_spawnp(&w->pid, path, &actions, NULL, (char **)(uintptr_t)words, environ);
    posix_spawn_file_actions_destroy(&actions);
    free(words);
    close(ends[1]);
    w->fd = ends[0];
    return code ? mistake("no process for a device: %s: %s", path, strerror(code)) : 0;
}

/* The next whole line of a worker, without its end; NULL after the last or a silence of limit seconds. */
static bool next_text(struct worker *w, long long limit, char *line)
{
    for (;;) {
        char *end = memchr(w->text, '\n', w->used);
        if (end) {
            const size_t n = (size_t)(end - w->text);
            memcpy(line, w->text, n);
            line[n] = 0;
            w->used -= n + 1;
            memmove(w->text, end + 1, w->used);
            return true;
        }
        struct pollfd p = {.fd = w->fd, .events = POLLIN};
        const int ready = poll(&p, 1, limit > 2000000 ? -1 : (int)limit * 1000);
        if (ready < 0 && errno == EINTR)
            continue;
        w->silent = ready == 0;
        const ssize_t n = ready > 0 && w->used < MOST_TEXT - 1
                              ? read(w->fd, w->text + w->used, MOST_TEXT - 1 - w->used)
                              : 0;
        if (n <= 0)
            return false;
        w->used += (size_t)n;
    }
}

static bool next_message(struct worker *w, long long limit, struct message *m)
{
    char *line = malloc(MOST_TEXT);
    const bool any = line && next_text(w, limit, line);
    if (any)
        receive_message(line, m);
    free(line);
    return any;
}

/* Waits for its end, which a process that was killed may take some seconds for; -1 if it does not come. */
static int wait_for(pid_t pid)
{
    int status;
    for (int i = 0; i < KILL_SECONDS * 100; i++) {
        const pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid)
            return status;
        if (ended < 0 && errno != EINTR)
            break;
        usleep(10000);
    }
    return -1;
}

/* Its exit status, or -1 with the sentence of what became of it. */
static int close_worker(struct worker *w, long long limit, char *why, size_t size)
{
    if (w->silent && w->pid > 0)
        kill(w->pid, SIGKILL);
    const int status = w->pid > 0 ? wait_for(w->pid) : -1;
    close(w->fd);
    free(w->text);
    if (w->silent)
        snprintf(why, size, "nothing came from its process for %lld s (--limit), and it was ended", limit);
    else if (status >= 0 && WIFSIGNALED(status))
        snprintf(why, size, "its process ended by signal %d: %s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (status < 0 || WEXITSTATUS(status) > EXIT_MISTAKE)
        snprintf(why, size, "its process ended with status %d", status < 0 ? -1 : WEXITSTATUS(status));
    else
        return WEXITSTATUS(status);
    return -1;
}

/* ---- which devices ---- */
int find_devices(struct bench *b)
{
    struct worker w;
    struct message *m = malloc(sizeof *m);
    char why[256];
    if (!m)
        return mistake("out of memory");
    int code = spawn(&w, b, "list");
    while (!code && next_message(&w, b->limit, m))
        if (m->kind == MESSAGE_DEVICE && b->report.n_devices < REPORT_DEVICES)
            b->report.devices[b->report.n_devices++] = m->device;
    free(m);
    if (code)
        return code;
    code = close_worker(&w, b->limit, why, sizeof why);
    return code >= 0 ? code : mistake("listing the devices: %s", why);
}

/* ---- one device ---- */
struct progress {
    struct report_device *device;
    size_t next;   /* the line that comes next */
    bool begun;    /* and that it has begun */
    bool has_head; /* of the table */
    double begin;
};

static void print_head_once(const struct bench *b, struct progress *p)
{
    if (!p->has_head && b->progress)
        fprintf(stderr, "\033[2K\r");
    if (!p->has_head)
        print_device_head(b, p->device);
    p->has_head = true;
}

static void show_progress(const struct bench *b, const struct progress *p)
{
    const double gone = now_seconds() - p->begin;
    if (!b->progress)
        return;
    fprintf(stderr, "\033[2K\rclattn bench: device %d, problem %zu of %zu", (int)p->device->device,
            p->next + 1, b->n_lines);
    if (p->next)
        fprintf(stderr, ", %.0f s to go on it", gone / (double)p->next * (double)(b->n_lines - p->next));
    fprintf(stderr, " ...\r");
}

static void add_result(struct bench *b, struct progress *p, const struct result *r)
{
    if (b->progress)
        fprintf(stderr, "\033[2K\r");
    print_head_once(b, p);
    b->report.lines[b->report.n_lines++] = *r;
    print_result(b, r);
    p->next++;
    p->begun = false;
}

static void add_failed(struct bench *b, struct progress *p, const char *why)
{
    struct result r;
    blank_line(&r);
    r.device = p->device->device;
    snprintf(r.device_name, sizeof r.device_name, "%.120s (%.120s)", p->device->name, p->device->platform);
    PUT_TEXT(r.driver, p->device->driver);
    PUT_TEXT(r.problem, b->lines[p->next].problem);
    PUT_TEXT(r.tensors, b->lines[p->next].data ? b->lines[p->next].data : "");
    PUT_TEXT(r.note, b->lines[p->next].note);
    PUT_TEXT(r.failed, why);
    add_result(b, p, &r);
}

static void take_message(struct bench *b, struct progress *p, const struct message *m)
{
    if (m->kind == MESSAGE_DEVICE && !p->has_head) {
        *p->device = m->device;
        print_head_once(b, p);
    } else if (m->kind == MESSAGE_BEGIN) {
        p->begun = true;
        show_progress(b, p);
    } else if (m->kind == MESSAGE_LINE && p->begun)
        add_result(b, p, &m->line);
    else if (m->kind == MESSAGE_END) { /* the rates before are those of the first process */
        p->device->peak_gflops_after = m->device.peak_gflops_after;
        PUT_TEXT(p->device->warning, m->device.warning);
    }
}

/* One worker, from the next line on; 0, or EXIT_MISTAKE. */
static int run_once(struct bench *b, struct progress *p, struct message *m)
{
    struct worker w;
    char task[32], why[256];
    const size_t before = p->next;
    snprintf(task, sizeof task, "%d:%zu", (int)p->device->device, p->next);
    if (spawn(&w, b, task))
        return EXIT_MISTAKE;
    while (next_message(&w, b->limit, m))
        take_message(b, p, m);
    const int code = close_worker(&w, b->limit, why, sizeof why);
    if (code == EXIT_MISTAKE)
        return EXIT_MISTAKE; /* after its own sentence */
    if (code == EXIT_CHECK_FAILED)
        snprintf(why, sizeof why, "the device could not be opened");
    else if (code == EXIT_GOOD && p->next == before)
        snprintf(why, sizeof why, "its process ended without a result");
    else if (code == EXIT_GOOD)
        return 0;
    if (p->next >= b->n_lines)
        snprintf(p->device->warning, sizeof p->device->warning, "after its last line %.200s", why);
    else if (p->begun)
        add_failed(b, p, why);
    else if (p->next == before) /* not even opened: the others would fare no better */
        while (p->next < b->n_lines)
            add_failed(b, p, why);
    return 0;
}

int measure_device(struct bench *b, struct report_device *device)
{
    struct progress p = {.device = device, .begin = now_seconds()};
    struct message *m = malloc(sizeof *m);
    int code = m ? 0 : mistake("out of memory");
    if (b->progress)
        fprintf(stderr, "clattn bench: device %d, its own rates ...\r", (int)device->device);
    while (!code && p.next < b->n_lines)
        code = run_once(b, &p, m);
    free(m);
    if (!code)
        print_device_foot(device);
    return code;
}
