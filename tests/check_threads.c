/* SPDX-License-Identifier: MIT
 * check_threads.c - one plan and many threads, queues and events: always the bits of a single thread.
 *
 * Four plans: whole keys; split keys with the plan's own workspace, whose users take turns; split keys with
 * a workspace of each caller's own; split keys of few rows, joined by whichever group is last. */
#include "tests/suite.h"

#include <clattn.h>

#include <check.h>
#include <pthread.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

enum { THREADS = 4, ROUNDS = 12, HEADS = 4, KV_HEADS = 2, ROWS = 37, FEW_ROWS = 7, KEYS = 500, DIM = 24, DIM_V = 20 };
enum {
    N_Q = HEADS * ROWS * DIM,
    N_K = KV_HEADS * KEYS * DIM,
    N_V = KV_HEADS * KEYS * DIM_V,
    N_O = HEADS * ROWS * DIM_V
};

enum kind { WHOLE, SPLIT, SPLIT_CALLER, JOINED, KINDS };
static const char *const kind_names[] = {"whole", "split", "split with the caller's workspace", "joined"};

static clattn_context *ctx;
static cl_context cl;
static cl_device_id device;
static clattn_plan *plans[KINDS];
static uint64_t workspace_bytes;
static cl_mem q, k, v;
static float host_q[N_Q], host_k[N_K], host_v[N_V];
static float expected[KINDS][N_O]; /* by one thread */

static void fill(float *data, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (float)((int)(seed >> 12) % 4001 - 2000) / 1000.0f;
    }
}

static int64_t rows_of(enum kind kind)
{
    return kind == JOINED ? FEW_ROWS : ROWS;
}

/* Numbers of an output. */
static size_t count(enum kind kind)
{
    return (size_t)(HEADS * rows_of(kind) * DIM_V);
}

static clattn_attention describe(enum kind kind)
{
    clattn_attention a = CLATTN_ATTENTION_INIT;
    a.heads = HEADS;
    a.kv_heads = KV_HEADS;
    a.q_len = rows_of(kind);
    a.kv_len = KEYS;
    a.dim = DIM;
    a.dim_v = DIM_V;
    a.splits = kind == WHOLE ? 1 : 3;
    a.flags = kind == SPLIT_CALLER ? CLATTN_CALLER_WORKSPACE : 0;
    if (kind != JOINED)
        a.pattern = clattn_causal(CLATTN_BOTTOM_RIGHT);
    else /* as its plain tile does without a mask */
        snprintf(a.engine, sizeof a.engine, "decode-generic");
    return a;
}

static cl_mem make_buffer(size_t bytes, void *data)
{
    cl_int code;
    cl_mem mem =
        clCreateBuffer(cl, CL_MEM_READ_WRITE | (data ? CL_MEM_COPY_HOST_PTR : 0), bytes, data, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return mem;
}

static cl_command_queue make_queue(cl_command_queue_properties properties)
{
    cl_int code;
    cl_command_queue queue = clCreateCommandQueue(cl, device, properties, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return queue;
}

/* One caller: its output, its workspace, what it got. */
struct caller {
    cl_command_queue queue;
    clattn_io io;
    float got[N_O];
};

static void caller_make(struct caller *c, cl_command_queue queue, enum kind kind)
{
    c->queue = queue;
    c->io = (clattn_io)CLATTN_IO_INIT;
    c->io.q = q;
    c->io.k = k;
    c->io.v = v;
    c->io.o = make_buffer(sizeof c->got, NULL);
    if (kind == SPLIT_CALLER)
        c->io.workspace = make_buffer((size_t)workspace_bytes, NULL);
}

static void caller_free(struct caller *c)
{
    clReleaseMemObject(c->io.o);
    if (c->io.workspace)
        clReleaseMemObject(c->io.workspace);
}

static bool poison(struct caller *c)
{
    memset(c->got, 0xff, sizeof c->got); /* NaN */
    return clEnqueueWriteBuffer(c->queue, c->io.o, CL_TRUE, 0, sizeof c->got, c->got, 0, NULL, NULL) ==
           CL_SUCCESS;
}

static bool read_back(struct caller *c, cl_event after)
{
    cl_uint n = after ? 1 : 0;
    return clEnqueueReadBuffer(c->queue, c->io.o, CL_TRUE, 0, sizeof c->got, c->got, n, n ? &after : NULL,
                               NULL) == CL_SUCCESS;
}

static bool same_bits(const struct caller *c, enum kind kind)
{
    return !memcmp(c->got, expected[kind], count(kind) * sizeof(float));
}

/* One enqueue with an event, and its bits compared. */
static bool one_round(struct caller *c, enum kind kind)
{
    cl_event event = NULL;
    if (!poison(c) || clattn_enqueue_forward(plans[kind], c->queue, &c->io, 0, NULL, &event))
        return false;
    bool right = read_back(c, event) && same_bits(c, kind);
    clReleaseEvent(event);
    return right;
}

static void set_up(void)
{
    ck_assert_int_eq(clattn_context_open(&ctx, getenv("CLATTN_TEST_DEVICE")), CLATTN_OK);
    cl = clattn_context_cl(ctx);
    device = clattn_context_device(ctx);
    fill(host_q, N_Q, 1);
    fill(host_k, N_K, 2);
    fill(host_v, N_V, 3);
    q = make_buffer(sizeof host_q, host_q);
    k = make_buffer(sizeof host_k, host_k);
    v = make_buffer(sizeof host_v, host_v);
    for (int kind = 0; kind < KINDS; kind++) {
        clattn_attention a = describe(kind);
        clattn_host_io io = CLATTN_HOST_IO_INIT;
        io.q = host_q;
        io.k = host_k;
        io.v = host_v;
        io.o = expected[kind];
        ck_assert_int_eq(clattn_plan_create(&plans[kind], ctx, &a), CLATTN_OK);
        ck_assert_int_eq(clattn_run_forward(plans[kind], &io), CLATTN_OK);
        for (size_t i = 0; i < count(kind); i++)
            ck_assert_msg(expected[kind][i] >= -2 && expected[kind][i] <= 2 && expected[kind][0] != 0,
                          "not a result");
    }
    ck_assert_int_eq(clattn_workspace_size(plans[SPLIT_CALLER], &workspace_bytes), CLATTN_OK);
    ck_assert_uint_gt(workspace_bytes, 0);
}

static void tear_down(void)
{
    for (int kind = 0; kind < KINDS; kind++)
        clattn_plan_destroy(plans[kind]);
    clReleaseMemObject(q);
    clReleaseMemObject(k);
    clReleaseMemObject(v);
    clattn_context_close(ctx);
}

/* ---- threads ---- */

struct job {
    pthread_t thread;
    enum kind kind;
    cl_command_queue queue;
    int right; /* rounds */
    const char *trouble;
};

static void run_jobs(struct job *jobs, void *(*work)(void *))
{
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&jobs[i].thread, NULL, work, &jobs[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(jobs[i].thread, NULL);
}

static void *enqueue_rounds(void *data)
{
    struct job *job = data;
    static _Thread_local struct caller c;
    caller_make(&c, job->queue, job->kind);
    for (int i = 0; i < ROUNDS; i++)
        job->right += one_round(&c, job->kind);
    caller_free(&c);
    return NULL;
}

static void one_plan_many_threads(enum kind kind, bool shared)
{
    struct job jobs[THREADS] = {{.kind = kind}};
    cl_command_queue common = make_queue(0);
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){.kind = kind, .queue = shared ? common : make_queue(0)};
    }
    run_jobs(jobs, enqueue_rounds);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_msg(jobs[i].right == ROUNDS, "%s, %s queue: thread %d had the right bits %d of %d times",
                      kind_names[kind], shared ? "one" : "own", i, jobs[i].right, ROUNDS);
        if (!shared)
            clReleaseCommandQueue(jobs[i].queue);
    }
    clReleaseCommandQueue(common);
}

START_TEST(own_queues)
{
    for (int kind = 0; kind < KINDS; kind++)
        one_plan_many_threads(kind, false);
}
END_TEST

START_TEST(one_queue)
{
    for (int kind = 0; kind < KINDS; kind++)
        one_plan_many_threads(kind, true);
}
END_TEST

/* All plans at once: each thread takes them in turn. */
static void *enqueue_all_plans(void *data)
{
    struct job *job = data;
    static _Thread_local struct caller c;
    for (int i = 0; i < ROUNDS; i++) {
        enum kind kind = (enum kind)((i + (int)job->kind) % KINDS);
        caller_make(&c, job->queue, kind);
        job->right += one_round(&c, kind);
        caller_free(&c);
    }
    return NULL;
}

START_TEST(all_plans_at_once)
{
    struct job jobs[THREADS];
    for (int i = 0; i < THREADS; i++)
        jobs[i] = (struct job){.kind = (enum kind)(i % KINDS), .queue = make_queue(0)};
    run_jobs(jobs, enqueue_all_plans);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_msg(jobs[i].right == ROUNDS, "thread %d had the right bits %d of %d times", i,
                      jobs[i].right, ROUNDS);
        clReleaseCommandQueue(jobs[i].queue);
    }
}
END_TEST

static const char *run_new_plan(clattn_context *c, enum kind kind)
{
    static _Thread_local float o[N_O];
    clattn_attention a = describe(kind);
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    clattn_plan *plan;
    io.q = host_q;
    io.k = host_k;
    io.v = host_v;
    io.o = o;
    memset(o, 0xff, sizeof o);
    if (clattn_plan_create(&plan, c, &a))
        return "clattn_plan_create";
    clattn_status status = clattn_run_forward(plan, &io);
    clattn_plan_destroy(plan);
    if (status)
        return "clattn_run_forward";
    return memcmp(o, expected[kind], count(kind) * sizeof(float)) ? "other bits" : NULL;
}

static void *create_plans(void *data)
{
    struct job *job = data;
    for (int i = 0; !job->trouble && i < KINDS; i++)
        job->trouble = run_new_plan(ctx, (enum kind)((i + (int)job->kind) % KINDS));
    return NULL;
}

static void *own_context(void *data)
{
    struct job *job = data;
    clattn_context *own;
    if (clattn_context_open(&own, getenv("CLATTN_TEST_DEVICE"))) {
        job->trouble = "clattn_context_open";
        return NULL;
    }
    job->trouble = run_new_plan(own, job->kind);
    clattn_context_close(own);
    return NULL;
}

static void expect_no_trouble(void *(*work)(void *))
{
    struct job jobs[THREADS];
    for (int i = 0; i < THREADS; i++)
        jobs[i] = (struct job){.kind = (enum kind)(i % KINDS)};
    run_jobs(jobs, work);
    for (int i = 0; i < THREADS; i++)
        ck_assert_msg(!jobs[i].trouble, "thread %d: %s", i, jobs[i].trouble);
}

START_TEST(plans_made_at_once)
{
    expect_no_trouble(create_plans);
}
END_TEST

START_TEST(contexts_of_their_own)
{
    expect_no_trouble(own_context);
}
END_TEST

/* A context may be closed before its plans. */
START_TEST(context_closed_first)
{
    clattn_context *own;
    clattn_plan *plan;
    clattn_attention a = describe(WHOLE);
    static struct caller c;
    clattn_host_io io = CLATTN_HOST_IO_INIT;
    io.q = host_q;
    io.k = host_k;
    io.v = host_v;
    io.o = c.got;
    ck_assert_int_eq(clattn_context_wrap(&own, cl, device), CLATTN_OK);
    ck_assert_int_eq(clattn_plan_create(&plan, own, &a), CLATTN_OK);
    clattn_context_close(own);
    ck_assert_int_eq(clattn_run_forward(plan, &io), CLATTN_OK);
    ck_assert(same_bits(&c, WHOLE));
    clattn_plan_destroy(plan);
}
END_TEST

/* ---- queues and events ---- */

/* Many enqueues in a row without waiting, all into outputs of their own. */
START_TEST(burst)
{
    enum { BURST = 16 };
    static struct caller callers[BURST];
    for (int kind = 0; kind < KINDS; kind++) {
        cl_command_queue queues[] = {make_queue(0), make_queue(0)};
        for (int i = 0; i < BURST; i++) {
            caller_make(&callers[i], queues[i % 2], kind);
            ck_assert(poison(&callers[i]));
        }
        for (int i = 0; i < BURST; i++)
            ck_assert_int_eq(
                clattn_enqueue_forward(plans[kind], callers[i].queue, &callers[i].io, 0, NULL, NULL),
                CLATTN_OK);
        for (int i = 0; i < BURST; i++) {
            ck_assert_int_eq(clFinish(callers[i].queue), CL_SUCCESS);
            ck_assert(read_back(&callers[i], NULL));
            ck_assert_msg(same_bits(&callers[i], kind), "%s: enqueue %d of a burst", kind_names[kind], i);
            caller_free(&callers[i]);
        }
        clReleaseCommandQueue(queues[0]);
        clReleaseCommandQueue(queues[1]);
    }
}
END_TEST

START_TEST(out_of_order_queue)
{
    cl_command_queue_properties properties = 0;
    clGetDeviceInfo(device, CL_DEVICE_QUEUE_PROPERTIES, sizeof properties, &properties, NULL);
    if (!(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)) {
        printf("# skip out_of_order_queue: this device has none\n");
        return;
    }
    cl_command_queue queue = make_queue(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    static struct caller callers[THREADS];
    for (int kind = 0; kind < KINDS; kind++) {
        cl_event done[THREADS];
        for (int i = 0; i < THREADS; i++) {
            caller_make(&callers[i], queue, kind);
            ck_assert(poison(&callers[i]));
        }
        for (int i = 0; i < THREADS; i++)
            ck_assert_int_eq(clattn_enqueue_forward(plans[kind], queue, &callers[i].io, i ? 1 : 0,
                                                    i ? &done[i - 1] : NULL, &done[i]),
                             CLATTN_OK);
        for (int i = 0; i < THREADS; i++) {
            ck_assert(read_back(&callers[i], done[i]));
            ck_assert_msg(same_bits(&callers[i], kind), "%s: number %d", kind_names[kind], i);
            clReleaseEvent(done[i]);
            caller_free(&callers[i]);
        }
    }
    clReleaseCommandQueue(queue);
}
END_TEST

static cl_event user_event(void)
{
    cl_int code;
    cl_event event = clCreateUserEvent(cl, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return event;
}

static cl_int event_state(cl_event event)
{
    cl_int state = -1;
    ck_assert_int_eq(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL),
                     CL_SUCCESS);
    return state;
}

/* Nothing starts before the wait list is complete; a second enqueue in line does not overtake. */
START_TEST(wait_list_gates)
{
    static struct caller c, second;
    for (int kind = 0; kind < KINDS; kind++) {
        cl_event gates[] = {user_event(), user_event()}, done = NULL, done2 = NULL;
        caller_make(&c, make_queue(0), kind);
        caller_make(&second, make_queue(0), kind);
        ck_assert(poison(&c) && poison(&second));
        ck_assert_int_eq(clattn_enqueue_forward(plans[kind], c.queue, &c.io, 2, gates, &done), CLATTN_OK);
        ck_assert_int_eq(clattn_enqueue_forward(plans[kind], second.queue, &second.io, 1, &done, &done2),
                         CLATTN_OK);
        ck_assert_int_eq(clSetUserEventStatus(gates[0], CL_COMPLETE), CL_SUCCESS);
        ck_assert_msg(event_state(done) > CL_COMPLETE && event_state(done2) > CL_COMPLETE,
                      "%s: it did not wait", kind_names[kind]);
        ck_assert_int_eq(clSetUserEventStatus(gates[1], CL_COMPLETE), CL_SUCCESS);
        ck_assert_int_eq(clFlush(c.queue), CL_SUCCESS);
        ck_assert(read_back(&second, done2) && read_back(&c, done));
        ck_assert_msg(same_bits(&c, kind) && same_bits(&second, kind), "%s: other bits", kind_names[kind]);
        ck_assert_int_eq(event_state(done2), CL_COMPLETE);
        cl_event all[] = {gates[0], gates[1], done, done2};
        for (size_t i = 0; i < LEN(all); i++)
            clReleaseEvent(all[i]);
        clReleaseCommandQueue(c.queue);
        clReleaseCommandQueue(second.queue);
        caller_free(&c);
        caller_free(&second);
    }
}
END_TEST

/* An event that has already failed refuses the enqueue; the plan works on. */
START_TEST(failed_dependency)
{
    static struct caller c;
    for (int kind = 0; kind < KINDS; kind++) {
        cl_event failed = user_event(), none = NULL;
        ck_assert_int_eq(clSetUserEventStatus(failed, -99), CL_SUCCESS);
        caller_make(&c, make_queue(0), kind);
        ck_assert_int_eq(clattn_enqueue_forward(plans[kind], c.queue, &c.io, 1, &failed, &none),
                         CLATTN_DEPENDENCY_FAILED);
        ck_assert_ptr_null(none);
        ck_assert_msg(one_round(&c, kind), "%s: the plan is spoilt", kind_names[kind]);
        clReleaseEvent(failed);
        clReleaseCommandQueue(c.queue);
        caller_free(&c);
    }
}
END_TEST

/* A chain of two commands, the first one's event released, behind an event that fails: plain OpenCL.  Some
 * drivers end the process over it (PoCL 3.1: "PTHREAD ERROR in pocl_update_event_failed"), so this runs in a
 * child; some run the second command all the same (Intel's CPU runtime 2026.2).  What a driver does to plain
 * commands it does to ours. */
#define PROBE "probe-failing-chain"
enum chain { CHAIN_FAILS = 0, CHAIN_RUNS = 40, CHAIN_KILLS = 1 };
static int probe_failing_chain(void)
{
    static const cl_int zero = 0;
    cl_event first, second;
    cl_int code;
    if (clattn_context_open(&ctx, getenv("CLATTN_TEST_DEVICE")))
        return 1;
    cl_command_queue queue =
        clCreateCommandQueue(clattn_context_cl(ctx), clattn_context_device(ctx), 0, &code);
    cl_mem mem = clCreateBuffer(clattn_context_cl(ctx), CL_MEM_READ_WRITE, 4096, NULL, &code);
    cl_event gate = clCreateUserEvent(clattn_context_cl(ctx), &code);
    if (code || clEnqueueFillBuffer(queue, mem, &zero, sizeof zero, 0, 4096, 1, &gate, &first) ||
        clEnqueueFillBuffer(queue, mem, &zero, sizeof zero, 0, 4096, 1, &first, &second))
        return 1;
    clReleaseEvent(first);
    clSetUserEventStatus(gate, -99);
    clFlush(queue);
    cl_int state = 0, waited = clWaitForEvents(1, &second);
    clGetEventInfo(second, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    clReleaseEvent(second);
    clReleaseEvent(gate);
    return waited == CL_SUCCESS && state == CL_COMPLETE ? CHAIN_RUNS : CHAIN_FAILS;
}

static enum chain failing_chain(void)
{
    extern char **environ;
    char *arguments[] = {"check_threads", PROBE, NULL};
    pid_t child;
    int state = 0;
    ck_assert_int_eq(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    if (!WIFEXITED(state))
        return CHAIN_KILLS;
    ck_assert_int_ne(WEXITSTATUS(state), CHAIN_KILLS); /* the probe itself went wrong */
    return WEXITSTATUS(state) == CHAIN_RUNS ? CHAIN_RUNS : CHAIN_FAILS;
}

/* An event that fails while work waits for it: the work ends in failure, and the plan works on with another
 * queue. */
START_TEST(dependency_fails_later)
{
    static struct caller c, after;
    enum chain chain = failing_chain();
    for (int kind = 0; kind < KINDS; kind++) {
        if (kind != WHOLE && chain == CHAIN_KILLS) {
            printf(
                "# skip dependency_fails_later, %s: this driver dies of a failing chain of plain commands\n",
                kind_names[kind]);
            continue;
        }
        cl_event gate = user_event(), done = NULL;
        caller_make(&c, make_queue(0), kind);
        ck_assert_int_eq(clattn_enqueue_forward(plans[kind], c.queue, &c.io, 1, &gate, &done), CLATTN_OK);
        ck_assert_int_eq(clSetUserEventStatus(gate, -99), CL_SUCCESS);
        clFlush(c.queue);
        bool failed = clWaitForEvents(1, &done) != CL_SUCCESS || event_state(done) < 0;
        ck_assert_msg(failed || (kind != WHOLE && chain == CHAIN_RUNS), "%s: it ran all the same",
                      kind_names[kind]);
        caller_make(&after, make_queue(0), kind);
        ck_assert_msg(one_round(&after, kind), "%s: the plan is spoilt", kind_names[kind]);
        clReleaseEvent(gate);
        clReleaseEvent(done);
        clReleaseCommandQueue(c.queue);
        clReleaseCommandQueue(after.queue);
        caller_free(&c);
        caller_free(&after);
    }
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], PROBE))
        return probe_failing_chain();
    Suite *suite = suite_create("threads");
    TCase *cases = tcase_create("threads, queues, events");
    tcase_add_unchecked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 300);
    tcase_add_test(cases, own_queues);
    tcase_add_test(cases, one_queue);
    tcase_add_test(cases, all_plans_at_once);
    tcase_add_test(cases, plans_made_at_once);
    tcase_add_test(cases, contexts_of_their_own);
    tcase_add_test(cases, context_closed_first);
    tcase_add_test(cases, burst);
    tcase_add_test(cases, out_of_order_queue);
    tcase_add_test(cases, wait_list_gates);
    tcase_add_test(cases, failed_dependency);
    tcase_add_test(cases, dependency_fails_later);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
