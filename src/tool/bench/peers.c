/* SPDX-License-Identifier: MIT
 * peers.c - other libraries on the same problem: bench/peers/peers.py answers a problem a line with the
 * seconds of each.
 *
 * A worker asks right after its own measurement, so that both meet the same machine.  What does not answer in
 * time is ended, and the lines that follow have no peer. */
#include "tool/bench/peers.h"
#include "tool/tool.h"

#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_SECONDS 120 /* importing PyTorch may take half of them */
#define MOST_ANSWER    4096

extern char **environ;

struct peers {
    pid_t pid;
    int to, from;
};

/* As installed, or beside the build folder that this program lies in: never one of the folder where it is
 * called, which may be anyone's. */
static bool find_script(char *path, size_t size)
{
    static const char *const ups[] = {"../../bench", "../bench"};
    char program[2048];
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    snprintf(path, size, "%s", PRESET_DIR "/peers/peers.py");
    if (access(path, R_OK) == 0)
        return true;
    program[n > 0 ? n : 0] = 0;
    char *slash = strrchr(program, '/');
    for (int i = 0; slash && i < 2; i++) {
        snprintf(path, size, "%.*s/%s/peers/peers.py", (int)(slash - program), program, ups[i]);
        if (access(path, R_OK) == 0)
            return true;
    }
    return false;
}

static int start(struct peers *p, char *script)
{
    char *words[] = {"python3", script, "--serve", NULL};
    int in[2], out[2];
    posix_spawn_file_actions_t actions;
    if (pipe(in))
        return -1;
    if (pipe(out)) {
        close(in[0]);
        close(in[1]);
        return -1;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    for (int i = 0; i < 2; i++) {
        posix_spawn_file_actions_addclose(&actions, in[i]);
        posix_spawn_file_actions_addclose(&actions, out[i]);
    }
    const int code = posix_spawnp(&p->pid, words[0], &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    p->to = in[1];
    p->from = out[0];
    return code;
}

/* One line of an answer; false if none came in time. */
static bool answer(struct peers *p, char text[MOST_ANSWER])
{
    const double begin = now_seconds();
    for (size_t n = 0; n < MOST_ANSWER - 1;) {
        struct pollfd ready = {.fd = p->from, .events = POLLIN};
        const double left = ANSWER_SECONDS - (now_seconds() - begin);
        if (left <= 0 || poll(&ready, 1, (int)(left * 1000)) <= 0 || read(p->from, text + n, 1) != 1)
            return false;
        if (text[n++] == '\n') {
            text[n] = 0;
            return true;
        }
    }
    return false;
}

static void list_names(FILE *to, const json_t *names)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        fprintf(to, "%s%s", i ? "; " : "",
                json_string_value(json_array_get(names, i)) ? json_string_value(json_array_get(names, i))
                                                            : "");
}

/* "OpenBLAS 0.3.21, unfused; left out: PyTorch (No module named 'torch')" */
static bool read_greeting(const char *text, char *what, size_t size)
{
    json_t *all = json_loads(text, 0, NULL), *there = json_object_get(all, "peers"),
           *missing = json_object_get(all, "left_out");
    const bool any = json_array_size(there) > 0;
    char *words = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&words, &n);
    if (memory) {
        list_names(memory, there);
        fputs(json_array_size(missing) ? any ? "; left out: " : "left out: " : "", memory);
        list_names(memory, missing);
        fclose(memory);
        put_text(what, size, words);
        free(words);
    }
    json_decref(all);
    return any;
}

struct peers *peers_open(char *what, size_t size)
{
    char text[MOST_ANSWER], script[4096];
    const bool found = find_script(script, sizeof script);
    struct peers *p = calloc(1, sizeof *p);
    snprintf(what, size, "left out: all; peers.py is not found");
    if (!p || !found || start(p, script)) {
        if (found)
            snprintf(what, size, "left out: all; python3 does not start");
        free(p);
        return NULL;
    }
    signal(SIGPIPE, SIG_IGN); /* its end is an answer that does not come */
    if (!answer(p, text))
        snprintf(what, size, "left out: all; peers.py did not answer");
    else if (read_greeting(text, what, size))
        return p;
    peers_close(p);
    return NULL;
}

void peers_measure(struct peers *p, struct result *r)
{
    char text[MOST_ANSWER];
    const char *name;
    json_t *value;
    if (!p || p->to < 0 || r->failed[0] || r->options[0] || r->tensors[0] || line_pruned(r))
        return;
    snprintf(text, sizeof text, "%s\n", r->problem);
    if (write(p->to, text, strlen(text)) != (ssize_t)strlen(text) || !answer(p, text)) {
        close(p->to);
        p->to = -1;
        return;
    }
    json_t *all = json_loads(text, 0, NULL);
    json_object_foreach(all, name, value) if (json_number_value(value) > 0 &&
                                              !(r->peer_seconds <= json_number_value(value)))
    {
        r->peer_seconds = json_number_value(value);
        r->peer_times = r->peer_seconds / r->seconds;
        PUT_TEXT(r->peer, name);
    }
    json_decref(all);
}

void peers_close(struct peers *p)
{
    if (!p)
        return;
    if (p->to >= 0)
        close(p->to);
    close(p->from);
    kill(p->pid, SIGKILL); /* it keeps nothing */
    waitpid(p->pid, NULL, 0);
    free(p);
}
