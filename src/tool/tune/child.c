/* SPDX-License-Identifier: MIT
 * child.c - a worker of clattn tune, seen from the parent: begun, asked, ended when it says nothing. */
#include "tool/tune/tune.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REPLY_SIZE 1024
#define MOST_CATCHES 500 /* hundredths of a second that a killed process may take to go */

extern char **environ;

static void close_pipe(int pipe[2])
{
    close(pipe[0]);
    close(pipe[1]);
}

/* The same program as a worker.  posix_spawn: the parent has OpenCL's threads, which a fork would not
 * survive. */
static bool begin(struct child *c)
{
    int down[2], up[2];
    pid_t pid = 0;
    char *const argv[] = {"clattn", "tune", "--worker", "--device", (char *)(uintptr_t)c->device, NULL};
    posix_spawn_file_actions_t actions;
    if (pipe2(down, O_CLOEXEC))
        return false;
    if (pipe2(up, O_CLOEXEC)) {
        close_pipe(down);
        return false;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, down[0], 0);
    posix_spawn_file_actions_adddup2(&actions, up[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0); /* compilers' words */
    bool good = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    close(down[0]);
    close(up[1]);
    c->to = down[1];
    c->from = up[0];
    c->pid = pid;
    if (!good) {
        close(c->to);
        close(c->from);
        c->pid = 0;
    }
    return good;
}

void child_end(struct child *c)
{
    static const struct timespec hundredth = {0, 10000000};
    if (!c->pid)
        return;
    close(c->to);
    close(c->from);
    kill((pid_t)c->pid, SIGKILL);
    for (int i = 0; i < MOST_CATCHES && waitpid((pid_t)c->pid, NULL, WNOHANG) == 0; i++)
        nanosleep(&hundredth, NULL); /* one that a driver holds may never go */
    c->pid = 0;
}

static bool say(struct child *c, const char *line)
{
    for (size_t n = strlen(line); n > 0;) {
        ssize_t written = write(c->to, line, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        line += written;
        n -= (size_t)written;
    }
    return true;
}

/* A whole line of the worker's, without its end. */
static enum answer hear(struct child *c, char line[REPLY_SIZE])
{
    const double end = now_seconds() + c->timeout;
    for (size_t used = 0; used < REPLY_SIZE - 1;) {
        struct pollfd on = {c->from, POLLIN, 0};
        const double left = end - now_seconds();
        int ready = left > 0 ? poll(&on, 1, (int)(left * 1000) + 1) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0)
            return ANSWER_HUNG;
        if (read(c->from, line + used, 1) != 1)
            return ANSWER_CRASHED;
        if (line[used] == '\n') {
            line[used] = 0;
            return ANSWER_OK;
        }
        used++;
    }
    return ANSWER_CRASHED;
}

/* Ask one thing; a worker that gives no answer is ended. */
static enum answer ask(struct child *c, const char *line, char *rest, size_t size)
{
    static const char *const words[] = {"ok", "refused", "wrong", "failed"};
    char reply[REPLY_SIZE];
    enum answer heard = say(c, line) ? hear(c, reply) : ANSWER_CRASHED;
    snprintf(rest, size, "%s",
             heard == ANSWER_HUNG      ? "it hung"
             : heard == ANSWER_CRASHED ? "it ended its process"
                                       : "");
    if (heard != ANSWER_OK) {
        child_end(c);
        return heard;
    }
    const size_t n = strcspn(reply, " ");
    for (int i = 0; i < (int)(sizeof words / sizeof words[0]); i++)
        if (strlen(words[i]) == n && !memcmp(words[i], reply, n)) {
            snprintf(rest, size, "%s", reply[n] ? reply + n + 1 : "");
            return (enum answer)i;
        }
    child_end(c);
    snprintf(rest, size, "it said '%.80s'", reply);
    return ANSWER_CRASHED;
}

enum answer child_problem(struct child *c, const char *problem, char *rest, size_t size)
{
    char line[REPLY_SIZE];
    c->problem = NULL;
    if (!c->pid && !begin(c)) {
        snprintf(rest, size, "no process could be begun: %s", strerror(errno));
        return ANSWER_FAILED;
    }
    snprintf(line, sizeof line, "problem %s\n", problem);
    enum answer answer = ask(c, line, rest, size);
    if (answer == ANSWER_OK) {
        c->problem = problem;
        c->seconds = strtod(rest, NULL);
    }
    return answer;
}

enum answer child_try(struct child *c, int rounds, const char *setting, char *rest, size_t size)
{
    char line[REPLY_SIZE];
    const char *problem = c->problem;
    if (!c->pid) { /* the one before was ended */
        enum answer answer = child_problem(c, problem, rest, size);
        c->problem = problem;
        if (answer != ANSWER_OK)
            return ANSWER_FAILED;
    }
    snprintf(line, sizeof line, "try %d %s\n", rounds, setting);
    enum answer answer = ask(c, line, rest, size);
    if (answer == ANSWER_FAILED) /* on a GPU its contexts may be lost */
        child_end(c);
    return answer;
}
