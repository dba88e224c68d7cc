/* SPDX-License-Identifier: MIT
 * extend.h - the plan of attention over lists at positions of its own, for extend.c and its self-test. */
#ifndef CLATTN_SELECT_EXTEND_H
#define CLATTN_SELECT_EXTEND_H

#include "select/select.h"

#define I64 cl_long
#define I32 cl_int
#include "extend_args.clh"
#undef I64
#undef I32
_Static_assert(offsetof(struct extend_args, strips) + sizeof(cl_int) == sizeof(struct extend_args),
               "no padding at a struct's end");

enum extend_kernel { GATHER, SCATTER, KERNELS };
/* Of a launch's lists: what attention reads, and writes where the caller's layout cannot be its own. */
enum extend_part { PART_Q, PART_K, PART_V, PART_O, PART_LSE, LENGTHS, PARTS };

struct clattn_extend_plan {
    uint32_t magic;
    clattn_context *ctx;
    clattn_select select;
    struct clattn__problem problem; /* with its list */
    struct extend_args args;        /* of the first launch */
    struct clattn__kernel kernels[KERNELS];
    clattn_plan *attention; /* of a launch's lists, a batch entry each; NULL: there are no rows */
    int64_t launch;         /* lists of a launch */
    int32_t group, strip;   /* items of a work-group; rows of one */
    bool direct;            /* attention writes to the caller's o and lse */
    int64_t bytes[PARTS];
    cl_mem parts[PARTS];
    pthread_mutex_t lock; /* guards the kernels' arguments and all that follows */
    cl_event busy;
};

/* ---- extend.c: the two launches round attention ---- */
cl_int clattn__extend_gather(const clattn_extend_plan *plan, const struct extend_args *args,
                             const clattn_extend_io *io, cl_command_queue queue, struct clattn__wait wait,
                             cl_event *event);
cl_int clattn__extend_scatter(const clattn_extend_plan *plan, const struct extend_args *args,
                              const clattn_extend_io *io, cl_command_queue queue, struct clattn__wait wait,
                              cl_event *event);

/* ---- extend_selftest.c ---- */
clattn_status clattn__extend_self_test(const clattn_extend_plan *plan);

#endif
