/* SPDX-License-Identifier: MIT
 * helper.c - a plan made first in a process of its own, so that a compiler that crashes or hangs costs that
 * process.
 *
 * Compilers work when a program is built, or at its first launch, or both; so the helper does all that
 * clattn_plan_create does, the first launch and its comparison too.  It is asked once for each program that
 * has not been built well on this machine: what went well is marked in the folder of compiled programs, what
 * did not is quarantined there.
 *
 * It is begun by posix_spawn and never by a fork, which a process with threads, locks and a driver's memory
 * does not survive whole. Request and answer go through a socket, whose write brings no SIGPIPE, and the
 * answer is a byte: a host that waits for all its children, or ignores SIGCHLD, may take the helper's exit
 * status before us. */
#include "attention/attention.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "clattn-request"
#define LINE_SIZE 1024
#define MOST_DEVICES 64
#define GOOD 'g'   /* the plan was made */
#define FAILED 'f' /* it was refused, as it will be here */

extern char **environ;

/* What the helper is told; both sides are of one version of the library. */
struct request {
    char magic[16], version[32];
    uint64_t bytes;
    clattn_device_facts facts;
    clattn_attention problem; /* that names the engine */
    int32_t cache_mode;
    char directory[CLATTN__PATH_SIZE]; /* "": the default */
    char line[LINE_SIZE];              /* "": not tuned */
};

/* ---- the host's side ---- */
static void fill_request(const clattn_plan *plan, struct request *r)
{
    clattn_context *ctx = plan->ctx;
    memset(r, 0, sizeof *r);
    strcpy(r->magic, MAGIC);
    snprintf(r->version, sizeof r->version, "%s", CLATTN_VERSION);
    r->bytes = sizeof *r;
    r->facts = ctx->facts;
    r->problem = plan->problem.a;
    strcpy(r->problem.engine, plan->engine->name);
    pthread_mutex_lock(&ctx->lock);
    r->cache_mode = ctx->cache_mode;
    snprintf(r->directory, sizeof r->directory, "%s", ctx->cache_directory ? ctx->cache_directory : "");
    pthread_mutex_unlock(&ctx->lock);
    if (!plan->is_tuned)
        return;
    struct clattn__task task;
    struct clattn__problem_class class;
    struct clattn__text line = clattn__text_into(r->line, sizeof r->line);
    clattn__task_fill(&task, &plan->problem);
    clattn__problem_class_of(&ctx->facts, &task, &class);
    clattn__text_add(&line, "clattn-tuning 1\ntune | ");
    clattn__tuning_key(&ctx->facts, &class, &line);
    clattn__text_add(&line, " | ");
    clattn__setting_print(plan->engine->name, &plan->tuned_setting, &line);
    clattn__text_add(&line, " | 2000-01-01 gain=1.000\n");
}

/* Begin it with our end of the socket in *fd; 0 or an errno. */
static int begin(const char *program, int *fd, pid_t *pid)
{
    int ends[2];
    char *const argv[] = {(char *)(uintptr_t)program, "build-helper", NULL};
    posix_spawn_file_actions_t actions;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return errno;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0); /* not the host's output */
    int code = posix_spawn(pid, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    *fd = ends[0];
    if (code)
        close(ends[0]);
    return code;
}

static bool send_all(int fd, const void *data, size_t size)
{
    for (const char *at = data; size > 0;) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static int64_t milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Its answer; NULL, or what it did instead. */
static const char *hear(int fd, uint32_t seconds, char *answer)
{
    const int64_t end = milliseconds() + 1000 * (int64_t)seconds;
    for (;;) {
        struct pollfd on = {fd, POLLIN, 0};
        const int64_t left = end - milliseconds();
        int ready = left > 0 ? poll(&on, 1, left < INT32_MAX ? (int)left : INT32_MAX) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0 && milliseconds() >= end)
            return "its compiler hung";
        if (ready > 0)
            return read(fd, answer, 1) == 1 && (*answer == GOOD || *answer == FAILED)
                       ? NULL
                       : "its compiler ended the process";
    }
}

/* Whether it goes within a second.  One that somebody else waited for is gone too. */
static bool goes(pid_t pid)
{
    static const struct timespec hundredth = {0, 10000000};
    int i = 0;
    for (; i < 100 && waitpid(pid, NULL, WNOHANG) == 0; i++)
        nanosleep(&hundredth, NULL);
    return i < 100;
}

/* One that hung has to be ended; a process that a driver holds may not go even then, and is left to the
 * system. */
static void end_helper(pid_t pid, bool hung)
{
    if (!hung && goes(pid))
        return;
    kill(pid, SIGKILL);
    goes(pid);
}

static bool is_known(clattn_context *ctx, const struct clattn__cache_key *key)
{
    char path[CLATTN__PATH_SIZE];
    cl_program program = clattn__context_keeps(ctx) ? clattn__kept_find(ctx, key) : NULL;
    if (program) {
        clReleaseProgram(program);
        return true;
    }
    const char *folder = clattn__context_folder(ctx, path);
    struct clattn__cache *cache = folder ? clattn__cache_find(folder) : NULL;
    bool good = cache && clattn__cache_is_good(cache, key);
    clattn__cache_close(cache);
    return good;
}

static void mark_good(clattn_context *ctx, const struct clattn__cache_key *key)
{
    char path[CLATTN__PATH_SIZE];
    const char *folder = clattn__context_folder(ctx, path);
    struct clattn__cache *cache = folder ? clattn__cache_open(folder) : NULL;
    if (cache)
        clattn__cache_mark_good(cache, key);
    clattn__cache_close(cache);
}

/* The program and its seconds; "" : none. */
static uint32_t helper_of(clattn_context *ctx, char program[CLATTN__PATH_SIZE])
{
    pthread_mutex_lock(&ctx->lock);
    snprintf(program, CLATTN__PATH_SIZE, "%s", ctx->helper ? ctx->helper : "");
    uint32_t seconds = ctx->helper_seconds;
    pthread_mutex_unlock(&ctx->lock);
    return seconds;
}

clattn_status clattn__build_elsewhere(clattn_plan *plan)
{
    char program[CLATTN__PATH_SIZE], answer = 0;
    pid_t pid;
    int fd = -1;
    const uint32_t seconds = helper_of(plan->ctx, program);
    if (!program[0] || is_known(plan->ctx, &plan->key))
        return CLATTN_OK;
    struct request *request = malloc(sizeof *request);
    if (!request)
        return clattn__fail(plan->ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "%s", "build helper");
    fill_request(plan, request);
    int code = begin(program, &fd, &pid);
    if (code) {
        free(request);
        return clattn__fail(plan->ctx, CLATTN_BAD_HELPER, CL_SUCCESS, "%s: %s", program, strerror(code));
    }
    const char *fault = send_all(fd, request, sizeof *request) ? hear(fd, seconds, &answer) : "its compiler ended the process";
    free(request);
    close(fd);
    end_helper(pid, fault != NULL);
    if (fault) {
        plan->fault = fault;
        plan->died = true;
        return clattn__fail(plan->ctx, CLATTN_BUILD_FAILED, CL_SUCCESS, "engine %s, in the build helper: %s",
                            plan->engine->name, fault);
    }
    clattn__log(plan->ctx, "engine %s: the build helper %s", plan->engine->name,
                answer == GOOD ? "made the plan" : "gave no plan, but lives");
    if (answer == GOOD)
        mark_good(plan->ctx, &plan->key);
    return CLATTN_OK;
}

clattn_status clattn_context_set_build_helper(clattn_context *ctx, const char *program, uint32_t seconds)
{
    clattn_status status = clattn__context_check(ctx);
    if (status)
        return status;
    if (program && (program[0] != '/' || strlen(program) >= CLATTN__PATH_SIZE || access(program, X_OK)))
        return clattn__fail(ctx, CLATTN_BAD_HELPER, CL_SUCCESS, "'%.200s' is no absolute path of a program",
                            program);
    if (program && seconds == 0)
        return clattn__fail(ctx, CLATTN_BAD_COUNT, CL_SUCCESS, "%s", "seconds is 0");
    char *copy = program ? strdup(program) : NULL;
    if (program && !copy)
        return clattn__fail(ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "%s", "build helper");
    pthread_mutex_lock(&ctx->lock);
    free(ctx->helper);
    ctx->helper = copy;
    ctx->helper_seconds = seconds;
    pthread_mutex_unlock(&ctx->lock);
    return CLATTN_OK;
}

/* ---- the helper's side ---- */
static bool receive(int fd, struct request *r)
{
    size_t used = 0;
    while (used < sizeof *r) {
        ssize_t n = read(fd, (char *)r + used, sizeof *r - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        used += (size_t)n;
    }
    r->directory[sizeof r->directory - 1] = r->line[sizeof r->line - 1] = 0;
    r->problem.engine[sizeof r->problem.engine - 1] = 0;
    return !memcmp(r->magic, MAGIC, sizeof MAGIC) &&
           !strncmp(r->version, CLATTN_VERSION, sizeof r->version) && r->bytes == sizeof *r;
}

/* A device like the host's; of several alike any will do, since they have one compiler. */
static cl_device_id find_device(const clattn_device_facts *wanted)
{
    cl_device_id devices[MOST_DEVICES];
    size_t count = 0;
    clattn_list_devices(devices, MOST_DEVICES, &count);
    for (size_t i = 0; i < count && i < MOST_DEVICES; i++) {
        clattn_device_facts f = CLATTN_DEVICE_FACTS_INIT;
        if (clattn_device_describe(devices[i], &f) == CLATTN_OK &&
            !memcmp(f.name, wanted->name, sizeof f.name) &&
            !memcmp(f.driver, wanted->driver, sizeof f.driver) &&
            !memcmp(f.platform, wanted->platform, sizeof f.platform))
            return devices[i];
    }
    return NULL;
}

static clattn_status serve(const struct request *r)
{
    cl_int code;
    clattn_context *ctx = NULL;
    clattn_plan *plan = NULL;
    cl_device_id device = find_device(&r->facts);
    cl_context cl = device ? clCreateContext(NULL, 1, &device, NULL, NULL, &code) : NULL;
    clattn_status status = cl ? clattn_context_wrap(&ctx, cl, device) : CLATTN_DEVICE_NOT_FOUND;
    if (cl)
        clReleaseContext(cl);
    if (!status)
        status = clattn_context_set_cache(ctx, (clattn_cache_mode)r->cache_mode,
                                          r->directory[0] ? r->directory : NULL);
    if (!status)
        status = clattn_context_set_tuning(ctx, r->line[0] ? CLATTN_TUNING_ADDED : 0);
    if (!status && r->line[0])
        status = clattn_context_add_tuning(ctx, r->line);
    if (!status)
        status = clattn_plan_create(&plan, ctx, &r->problem);
    clattn_plan_destroy(plan);
    clattn_context_close(ctx);
    return status;
}

int clattn_build_helper(int input)
{
    struct request *request = malloc(sizeof *request);
    bool understood = request && receive(input, request);
    const char answer = understood && serve(request) == CLATTN_OK ? GOOD : FAILED;
    free(request);
    if (understood)
        (void)!write(input, &answer, 1);
    return understood ? 0 : 2;
}
