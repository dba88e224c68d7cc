/* SPDX-License-Identifier: MIT
 * select.h - what the files of the select room share: lists, and the plan of a selection. */
#ifndef CLATTN_SELECT_ROOM_H
#define CLATTN_SELECT_ROOM_H

#include "attention/attention.h"

#define I64 cl_long
#define I32 cl_int
#define F32 cl_float
#include "select_args.clh"
#undef I64
#undef I32
#undef F32
_Static_assert(offsetof(struct select_args, pad) + sizeof(cl_int) == sizeof(struct select_args),
               "no padding at a struct's end");

/* ---- check.c ---- */
/* that a list's rows read, at most: extend.c */
int64_t clattn__extended_keys(const clattn_select *select, const clattn_attention *problem);

/* ---- list.c ---- */
/* Write a status's sentence with details into text, if there is one, and return the status. */
clattn_status clattn__refuse(char *text, size_t size, clattn_status status, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Where each part of a list lies, in int32s of its buffer. */
struct clattn__list_places {
    int64_t lists; /* batch * scopes * q_blocks */
    int64_t counts, ids;
    int64_t end; /* of all */
};
clattn_status clattn__list_places(const clattn_list *list, struct clattn__list_places *places, char *text,
                                  size_t size);

/* ---- shape.c: how the kernels are made for a problem and a device ---- */
/* A search's tile: cl/select/products.clh. */
struct clattn__select_tile {
    int32_t items;          /* of a group; 0: there is none, products are those of scores.clh */
    int32_t matrix;         /* of which team: src/engine/team.c */
    int32_t teams, keys;    /* of a group; of a team */
    int32_t rows;           /* asked, and some of them again */
    int32_t pieces, steps;  /* sixteens of rows at a time; of columns of keys that stay in registers */
    bool aligned;           /* rows of q and k begin at multiples of 16 bytes */
    int64_t bytes;          /* of local memory, with what drivers keep, beside a tree's nodes */
};
struct clattn__select_shape {
    int32_t group_list, group_strip; /* items of a group: of a list; of a strip, a set, a block */
    int32_t lanes, vectors, keys;    /* scores.clh */
    int32_t sets, set_heads, rows;   /* rows.clh */
    int32_t strip;                   /* chunks or candidates of a group */
    int32_t words;                   /* select_candidates.cl */
    bool scored;                     /* by rows of q */
    bool aligned;                    /* scores.clh */
    bool by_head;                    /* the pattern is not the same for all heads */
    bool nodes_global;
    int64_t max_keys;                /* of a list that select_top.cl reads; 0: none */
    int64_t scratch;                 /* words of a group of select_tree.cl */
    struct clattn__select_tile tile;
    const char *no_tile;             /* why there is none; said before, none is chosen */
};
/* that it may have to search */
int64_t clattn__stage_chunks(const clattn_select *select, const clattn_list *list, int stage);
void clattn__select_shape(struct clattn__select_shape *shape, const clattn_device_facts *facts,
                          const clattn_select *select, const clattn_list *list,
                          const struct clattn__problem *problem);
/* What of it depends on blocks and budgets, for others. */
void clattn__select_sizes(struct clattn__select_shape *shape, const clattn_select *select,
                          const clattn_list *list);

/* ---- tile.c ---- */
/* Choose a search's tile, after sets and sizes.  Returns why there is none, or NULL. */
const char *clattn__select_tile(struct clattn__select_shape *shape, const clattn_device_facts *facts,
                                const clattn_select *select, const clattn_attention *a);

/* ---- delta.c ---- */
uint32_t clattn__stored_whole(int32_t type, float x); /* bits of a whole number from 0 to 7, for self-tests */

/* ---- plan.c ---- */
enum clattn__select_kernel {
    CLATTN__CANDIDATES, CLATTN__ROWS, CLATTN__SELECT_TREE, CLATTN__SCAN, CLATTN__BLOCKS, CLATTN__CERTIFY, CLATTN__CUT,
    CLATTN__TOP, CLATTN__GIVEN, CLATTN__BOUNDS, CLATTN__SELECT_KERNELS
};

struct clattn_select_plan {
    uint32_t magic;
    clattn_context *ctx;
    clattn_select select;
    clattn_list list;
    clattn_pattern pattern;         /* the caller's */
    struct clattn__problem problem; /* whose pattern is that and not near */
    struct clattn__select_shape shape;
    struct select_args args;        /* of the first tile */
    cl_long stages_at[CLATTN_MAX_STAGES];    /* STAGED: what a stage begins with, but the first */
    cl_int stage_words[CLATTN_MAX_STAGES];   /* of a list, and 1 */
    struct clattn__tables tables;
    struct clattn__kernel kernels[CLATTN__SELECT_KERNELS]; /* those that the method needs */
    struct clattn__cache_key tile_key; /* of the program that multiplies by a tile */
    bool quarantined;                  /* that failed before */
    const char *fault;                 /* what it or another kernel did wrong: words of quarantine, or NULL */
    int64_t pairs, tile;     /* of a batch entry and a query block: in all, and of a launch */
    int64_t workspace_bytes; /* tables, then what a tile needs, then the groups' scratch */
    int64_t kept_bytes;      /* candidates and chunks of all pairs, or 0: they lie in the workspace */
    size_t tree_groups;
    pthread_mutex_t lock;    /* guards the kernels' arguments and all that follows */
    cl_mem workspace;        /* the plan's own, NULL with CLATTN_CALLER_WORKSPACE */
    cl_event busy;
    bool dead;
};
clattn_status clattn__select_plan_check(const clattn_select_plan *plan);
bool clattn__select_uses(const clattn_select *select, enum clattn__select_kernel kernel);
bool clattn__select_of_list(enum clattn__select_kernel kernel);
/* its kernel reads the scopes' budgets */
bool clattn__select_each(const clattn_select *select, enum clattn__select_kernel kernel);
/* the kernel multiplies by it */
bool clattn__select_by_tile(const struct clattn__select_shape *shape, enum clattn__select_kernel kernel);
/* of a group */
int32_t clattn__select_items(const struct clattn__select_shape *shape, enum clattn__select_kernel kernel);
/* its kernel asks the pattern */
bool clattn__select_ruled(const clattn_select *select, enum clattn__select_kernel kernel);

/* A pattern, and not near: what selection is about. */
clattn_pattern clattn__select_pattern(const clattn_select *select, const clattn_pattern *pattern);

/* ---- layout.c ---- */
/* Lay out the workspace of a plan whose shape is known: args, tables, tile, workspace_bytes, kept_bytes.
 * false: overflow. */
bool clattn__select_layout(clattn_select_plan *plan);
int64_t clattn__bounds_bytes(const clattn_select_plan *plan);

/* ---- launch.c: the kernels of a selection with their arguments, without any check ---- */
struct clattn__select_run {
    const clattn_select_plan *plan;
    const clattn_select_io *io;
    cl_mem workspace, kept;
    int64_t shift, kept_shift; /* words before this enqueue's part of them */
    int64_t first, count; /* bounds: blocks */
    cl_long stages_at[CLATTN_MAX_STAGES]; /* of the tile at work */
};
/* In layout.c: the plan's args, and the run's stages_at, for the places of a run and for pairs from `first'
 * on. */
struct select_args clattn__select_place(struct clattn__select_run *run, int64_t first);
cl_int clattn__launch_select(struct clattn__chain *c, void *run);
cl_int clattn__launch_bounds(struct clattn__chain *c, void *run);

/* ---- selftest.c ---- */
/* Select for a tiny problem with ties and compare its lists with those of the host. */
clattn_status clattn__select_self_test(clattn_select_plan *plan);

#endif
