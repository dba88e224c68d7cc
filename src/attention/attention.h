/* SPDX-License-Identifier: MIT
 * attention.h - what the files of the attention room share: the resolved problem and the plan. */
#ifndef CLATTN_ATTENTION_ROOM_H
#define CLATTN_ATTENTION_ROOM_H

#include "core/core.h"
#include "engine/engine.h"
#include "expr/expr.h"

#define I64 cl_long
#define I32 cl_int
#define F32 cl_float
#include "forward_args.clh"
#include "list_args.clh"
#include "merge_args.clh"
#include "tables_args.clh"
#undef I64
#undef I32
#undef F32
_Static_assert(offsetof(struct forward_args, by_entry) + sizeof(cl_int) == sizeof(struct forward_args),
               "rusticl knows no padding at a struct's end");

enum clattn__tensor { CLATTN__Q, CLATTN__K, CLATTN__V, CLATTN__O, CLATTN__LSE, CLATTN__TENSORS };

/* ---- check.c ---- */
/* A problem that has passed every check: no default scale, no dense strides, the rules parsed. */
struct clattn__problem {
    clattn_attention a;
    struct clattn__expr *rules;
    bool bottom_right;
    bool reads_list;                  /* rules say `listed' */
    struct list_args list_args;
    int64_t extents[CLATTN__TENSORS]; /* elements, offset included */
    int n_numbers;
    int32_t numbers[CLATTN__EXPR_MAX_NUMBERS];
};
/* On failure the details (not the status's own sentence) go to message. */
clattn_status clattn__problem_resolve(struct clattn__problem *problem, const clattn_attention *a,
                                      char *message, size_t size);
/* Whether the scalars and arrays that a problem declares are ones that rules may name. */
clattn_status clattn__declared_check(const clattn_attention *a, char *message, size_t size);
/* Fill numbers again, after a change of array dimensions; list_args, after one of the list or the heads. */
void clattn__problem_numbers(struct clattn__problem *problem);
void clattn__problem_list(struct clattn__problem *problem);
int64_t clattn__list_bytes(const clattn_attention *a); /* of its buffer */
/* What `listed' reads on the host. */
struct clattn__lists clattn__problem_lists(const struct clattn__problem *problem, const void *data);
int64_t clattn__array_bytes(const clattn_array *array); /* of its buffer */
void clattn__problem_free(struct clattn__problem *problem);
struct clattn__shape clattn__tensor_shape(const clattn_attention *a, enum clattn__tensor tensor);
clattn_layout *clattn__tensor_layout(clattn_attention *a, enum clattn__tensor tensor);
int32_t clattn__tensor_type(const clattn_attention *a, enum clattn__tensor tensor);

/* ---- launch.c: kernels with their arguments, without any check ---- */
struct clattn__kernel {
    cl_program program;
    cl_kernel kernel;
};
clattn_status clattn__kernel_build(clattn_context *ctx, const struct clattn__program_request *request,
                                   struct clattn__kernel *kernel);
void clattn__kernel_free(struct clattn__kernel *kernel);

/* ---- setter.c: a kernel's arguments, one after the other; code is the first failure ---- */
struct clattn__setter {
    cl_kernel kernel;
    cl_uint next;
    cl_int code;
};
void clattn__set(struct clattn__setter *s, size_t size, const void *value);
void clattn__set_buffer(struct clattn__setter *s, cl_mem mem);
/* An empty tensor may come without a buffer; the kernel never reads it, but wants an address: the other's. */
void clattn__set_either(struct clattn__setter *s, cl_mem mem, cl_mem other);

struct clattn__wait {
    cl_uint count;
    const cl_event *events;
};

/* One forward launch.  Unused buffers are NULL. */
struct clattn__forward_run {
    const struct clattn__problem *problem; /* whose numbers and arrays the rules read */
    const struct forward_args *args;
    size_t groups;
    cl_mem q, k, v, o, lse, q_offsets, k_offsets, key_lengths, counters, list;
    cl_mem arrays[CLATTN_MAX_ARRAYS];
    cl_mem tables; /* the buffer of args->table_at */
    cl_mem scratch; /* of args->scratch_at */
    /* if spec.JOINS: where the joined results go, and how many parts of each tile are done: 0 before and after */
    const struct merge_args *merge_args;
    cl_mem joined_o, joined_lse, arrivals;
};
struct clattn_plan;
cl_int clattn__launch_forward(const struct clattn_plan *plan, cl_command_queue queue,
                              const struct clattn__forward_run *run, struct clattn__wait wait,
                              cl_event *event);

/* ---- chain.c: kernels one after the other ---- */
struct clattn__chain {
    cl_command_queue queue;
    struct clattn__wait first; /* what the first one waits for */
    cl_event last;             /* of the latest one */
};
/* The event of the next kernel, or NULL, takes the place of the latest one's. */
void clattn__chain_follow(struct clattn__chain *c, cl_event next);
struct clattn__wait clattn__chain_wait(const struct clattn__chain *c); /* of the next kernel */
/* Enqueue what body puts into a chain.  busy: of a plan's own workspace, the event of the last work that uses
 * it, which is waited for and replaced; NULL: the workspace is the caller's. */
typedef cl_int clattn__chain_body(struct clattn__chain *c, void *cookie);
cl_int clattn__chain_enqueue(cl_event *busy, cl_command_queue queue, struct clattn__wait wait,
                             cl_event *event, clattn__chain_body *body, void *cookie);

/* ---- merge.c ---- */
struct clattn__merge_spec {
    int32_t type_parts, type_o, dim_v;
    int64_t parts; /* about as many: more or fewer are right too */
    bool lse, packed, sum; /* sum: of parts that nothing was divided by */
};
struct clattn__merge_run {
    const struct merge_args *args;
    cl_mem part_o, part_lse, o, lse, q_offsets;
};
clattn_status clattn__merge_build(clattn_context *ctx, const struct clattn__merge_spec *spec,
                                  struct clattn__kernel *kernel);
cl_int clattn__launch_merge(const clattn_device_facts *facts, cl_kernel kernel,
                            const struct clattn__merge_spec *spec, cl_command_queue queue,
                            const struct clattn__merge_run *run, struct clattn__wait wait, cl_event *event);

/* ---- tables.c: minima and maxima of arrays, for the classes of tiles ---- */
struct clattn__tables {
    int count;                              /* arrays that need one */
    int array[CLATTN_MAX_ARRAYS];           /* which */
    struct tables_args args[CLATTN_MAX_ARRAYS];
    size_t blocks[CLATTN_MAX_ARRAYS];       /* work-items of each */
    struct clattn__kernel kernel[CLATTN_MAX_ARRAYS];
    int64_t first, ints;                    /* where they begin in the workspace, and the ints they take */
};
/* Lay out the tables of a problem from int `first` of the workspace on, and tell the forward kernel. */
void clattn__tables_fill(struct clattn__tables *tables, const struct clattn__problem *problem, int64_t first,
                         struct forward_args *args);
/* Have them set the int `at' of the workspace to 0, if there are any. */
void clattn__tables_counters(struct clattn__tables *tables, int64_t at);
clattn_status clattn__tables_build(clattn_context *ctx, const struct clattn__problem *problem,
                                   struct clattn__tables *tables);
void clattn__tables_free(struct clattn__tables *tables);
/* Enqueue them all after `wait`; shift: ints that the workspace begins later.  *last is the event of the last
 * one. */
cl_int clattn__launch_tables(const clattn_context *ctx, const struct clattn__tables *tables,
                             cl_command_queue queue, const cl_mem *arrays, cl_mem workspace, int64_t shift,
                             struct clattn__wait wait, cl_event *last);

/* ---- buffers.c: checks of what an enqueue is given ---- */
struct clattn__buffer_rule {
    const char *name;
    cl_mem mem;
    int64_t first, last; /* bytes used: first <= byte < last */
    clattn_status too_small;
    bool output;
};
clattn_status clattn__check_buffer(clattn_context *ctx, const struct clattn__buffer_rule *rule);
clattn_status clattn__check_aliases(clattn_context *ctx, const struct clattn__buffer_rule *rules,
                                    size_t count);
/* Where a part of a caller's buffer begins; *last: its end. */
clattn_status clattn__check_place(clattn_context *ctx, const char *name, int64_t offset, int64_t bytes,
                                  int64_t *last);
clattn_status clattn__check_workspace(clattn_context *ctx, cl_mem workspace, int64_t offset, int64_t bytes,
                                      int64_t *last);
/* Where an enqueue goes and what it waits for. */
clattn_status clattn__check_order(clattn_context *ctx, cl_command_queue queue, struct clattn__wait wait);
/* The same, and before it the struct of buffers: type is its name, io->size has to be size. */
clattn_status clattn__check_call(clattn_context *ctx, const void *io, const char *type, size_t size,
                                 cl_command_queue queue, struct clattn__wait wait);

/* ---- plan.c ---- */
#define CLATTN__WHY_SIZE 1024
struct clattn_plan {
    uint32_t magic;
    clattn_context *ctx;
    struct clattn__problem problem;
    const struct clattn__engine *engine;
    struct clattn__launch launch;
    struct forward_args args;
    struct merge_args merge_args;
    struct clattn__kernel forward, merge; /* merge: if it follows */
    struct clattn__merge_spec merge_spec;
    struct clattn__tables tables;
    int64_t workspace_bytes; /* the parts' o and lse, the tables, the groups' scratch; all of 4-byte words */
    char why[CLATTN__WHY_SIZE];
    struct clattn__cache_key key; /* of the forward kernel's program, where its engine may fail */
    const char *fault;            /* what it did wrong: words of quarantine; NULL: nothing */
    bool quarantined;             /* for something earlier */
    bool died;                    /* its compiler did it to the build helper */
    bool is_tuned;                /* by a line of tuning, */
    int tuned_number;             /* this one of those of its class, */
    struct clattn__setting tuned_setting; /* which says this */
    pthread_mutex_t lock; /* guards the kernels' arguments and all that follows */
    cl_mem workspace;     /* the plan's own, NULL with CLATTN_CALLER_WORKSPACE */
    cl_mem arrivals;      /* of struct clattn__forward_run, if spec.JOINS */
    cl_event busy;        /* the last work that uses them */
    bool has_tables;      /* of arrays that stay the workspace holds the tables */
    bool dead;
};
clattn_status clattn__plan_check(const clattn_plan *plan);
/* The meaning fields of a launch's specialisation, from a resolved problem. */
void clattn__meaning_fill(struct clattn__launch *launch, const clattn_attention *a);
/* Arguments of a launch for a resolved problem. */
void clattn__forward_args_fill(struct forward_args *args, const struct clattn__problem *problem,
                               const struct clattn__launch *launch);
/* Lay out a launch's workspace, and tell all who use it: parts, tables, the groups' scratch.  Returns how
 * many bytes that is. */
int64_t clattn__workspace_fill(struct forward_args *args, struct merge_args *merge,
                               struct clattn__tables *tables, const struct clattn__problem *problem,
                               const struct clattn__launch *launch);
bool clattn__merges_after(const struct clattn__launch *launch); /* whether the merge kernel follows */
/* What a launch with spec.JOINS counts in, all 0. */
cl_mem clattn__make_arrivals(clattn_context *ctx, const struct clattn__launch *launch, cl_int *code);
/* Move a run's place in the workspace by words. */
void clattn__shift_workspace(struct forward_args *args, struct merge_args *merge, int64_t words);

/* ---- tuned.c: which line of tuning serves a plan ---- */
/* What an attempt at a plan passes over, because it failed. */
struct clattn__attempt {
    uint32_t failed; /* engines, a bit each */
    int tuned_from;  /* lines of tuning before this one */
};
void clattn__task_fill(struct clattn__task *task, const struct clattn__problem *problem); /* plan.c */
/* Choose a plan's engine and launch: by the best line of its class from number `from` on that engine and
 * device take, else as clattn__engine_choose does.  Engines and shapes that a line blocks are passed over,
 * unless the problem names the engine. */
clattn_status clattn__tuned_choose(clattn_plan *plan, const struct clattn__task *task, int from,
                                   struct clattn__text *why);

/* ---- helper.c ---- */
/* Where the context has a build helper and the plan's program is new here, have it make the plan first.
 * BUILD_FAILED, with plan->fault and plan->died, if that ended it. */
clattn_status clattn__build_elsewhere(clattn_plan *plan);

/* ---- selftest.c ---- */
/* Whether a plan's first launch is compared: where tuning made the choice, whatever the flags. */
bool clattn__is_compared(const clattn_plan *plan);
/* Launch a plan's kernels on a tiny problem and compare with a scalar computation on the host.  Sets
 * plan->fault if they are to blame. */
clattn_status clattn__self_test(clattn_plan *plan);

/* ---- problem.c: fractions in texts, the same in every locale ---- */
bool clattn__read_decimal(const char **at, double *value); /* at moves behind it; false: there is none */
void clattn__print_decimal(struct clattn__text *out, double value);

#endif
