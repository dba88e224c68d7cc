/* SPDX-License-Identifier: MIT
 * engine.h - the contract of an engine: a pure probe, legal shapes, launch geometry.
 *
 * An engine is a loop nest (cl/attention/forward_NAME.cl) and the arithmetic that fits it to a device.
 * Nothing here calls OpenCL: choosing is a function of facts and problem, and is tested on recorded devices.
 */
#ifndef CLATTN_ENGINE_H
#define CLATTN_ENGINE_H

#include "core/core.h"

/* A specialisation: what -D says.  One list gives the struct, the -D string, the cache and tuning key and the
 * reproduction line.  Meaning fields come from the problem, shape fields from the engine. */
#define CLATTN__SPEC_LIST(X)                                                                                \
    /* meaning */                                                                                           \
    X(T_Q) X(T_K) X(T_V) X(T_O) X(DIM) X(DIM_V) X(LSE) X(PACKED) X(KEY_LENGTHS) X(COUNT_TILES) X(NORMALISER)              \
    /* shape: rows of a group, keys of a block, items of a group */                                         \
    X(BQ) X(BK) X(GROUP)                                                                                 \
    /* shape of the vector engine: float16 vectors of queries, keys and value columns of a register tile, */ \
    /* tiles of a group, products that an instruction adds, whether the next block is fetched ahead */       \
    X(NQ) X(MK) X(MD) X(NT) X(DOT) X(AHEAD)                                                                 \
    /* of the matrix engines: which tile, whether rows start at multiples of 16 bytes; NQ, MK, MD: sixteens of DIM, BK and DIM_V; */ \
    /* NT: blocks in local memory; of forward_matrix and forward_decode NQ: those of DIM that stay in registers, MK: of the keys of a */ \
    /* piece, NT: teams; of forward_stream whether groups take tiles by a counter, blocks from a tile's last to its first, and whether what */ \
    /* is read is read once and leaves the second-level cache first */                                      \
    X(MATRIX) X(ALIGNED) X(COUNTED) X(BACKWARD) X(READ_ONCE)                                                 \
    /* of the decode engine: whether copies go through the first-level cache; bytes of local memory that a group takes at least; */ \
    /* what of a tile's parts its last group joins: 0 nothing, 1 o, 2 also lse; and to what type */         \
    X(CACHED) X(LOCAL) X(JOINS) X(T_JOINED)                                                                                        \
    /* of the blocked engine: NQ rows, MK keys, MD columns of an item, NT columns of a chunk; whether loops over registers are unrolled */ \
    X(UNROLLED)

struct clattn__spec {
#define CLATTN__SPEC_FIELD(name) int32_t name;
    CLATTN__SPEC_LIST(CLATTN__SPEC_FIELD)
#undef CLATTN__SPEC_FIELD
};
/* "-DT_Q=0 -DT_K=0 ..." */
void clattn__spec_options(const struct clattn__spec *spec, struct clattn__text *out);

/* ---- knobs.c: what tuning may set of an engine's shape ----
 * X(name, meaning).  Which engine has which, and the values that it may be given, is the table of knobs.c. */
#define CLATTN__KNOBS(X)                                                                                     \
    X(rows, "rows of a tile")                                                                                \
    X(keys, "keys of a block")                                                                               \
    X(step, "keys, and columns of values, of a register tile")                                               \
    X(tiles, "tiles of a group that share a block; of matrix-decode its teams")                              \
    X(depth, "blocks that are read or on their way at a time")                                               \
    X(chunk, "columns that pass through local memory at a time")                                             \
    X(items, "items of a group")                                                                             \
    X(splits, "parts of the keys, where the problem asks for no number")
enum clattn__knob {
#define CLATTN__KNOB_NUMBER(name, meaning) CLATTN__KNOB_##name,
    CLATTN__KNOBS(CLATTN__KNOB_NUMBER)
#undef CLATTN__KNOB_NUMBER
        CLATTN__N_KNOBS
};
/* A value for each; 0: it follows from the others, the device and the task, as without tuning. */
struct clattn__setting {
    int32_t knob[CLATTN__N_KNOBS];
};
#define CLATTN__KNOB(setting, name) ((setting)->knob[CLATTN__KNOB_##name])
bool clattn__setting_is_empty(const struct clattn__setting *setting);
/* The values that an engine's knob may be given, rising; *count is how many, 0 of a knob that it lacks. */
const int32_t *clattn__knob_values(const char *engine, enum clattn__knob knob, int *count);
/* "vector rows=32 keys=128": an engine's name and knobs in the order above, each with one of its values.  The
 * first n characters of text, all of them; false, with the reason.  engine is of CLATTN_NAME_SIZE. */
bool clattn__setting_parse(const char *text, size_t n, char *engine, struct clattn__setting *setting,
                           char *reason, size_t size);
void clattn__setting_print(const char *engine, const struct clattn__setting *setting,
                           struct clattn__text *out);
void clattn__knob_words(enum clattn__knob knob, const char **name, const char **meaning); /* static */

/* What an engine needs to know of a problem to choose a shape. */
struct clattn__task {
    int64_t batch, heads, kv_heads, q_len, kv_len;
    int32_t dim, dim_v;
    int32_t type_q, type_k, type_v, type_o;
    double scale;
    bool softmax;  /* the weights are a softmax's */
    bool masked;   /* rows may see fewer keys than there are */
    bool ragged;   /* batch entries have lengths of their own */
    bool uneven;   /* arrays say what rows see: nobody knows beforehand which tiles are heavy */
    bool aligned;  /* rows of q, k, v and o start at multiples of 16 bytes, if their buffers do */
    int64_t packed_tokens; /* of queries or keys, whichever are more; 0: not packed */
    int32_t list_rows, list_heads, list_keys; /* lists say which keys: each of so many queries and heads,
                                                 in blocks of so many keys; 0: none do */
    int64_t splits; /* asked for; 0: the engine chooses */
    bool named;      /* the engine was named: it refuses only what it cannot do */
    uint32_t failed; /* bit i: engine number i did not build or gave wrong numbers here, and is passed over */
    struct clattn__setting setting; /* for the engine that is named; what cannot be set so is refused */
};

/* What the editor of NVIDIA's assembly is asked for (ptx.c). */
struct clattn__ptx_wish {
    int32_t chip;        /* of which the instructions are: 90; 0: none beyond what the compiler takes */
    int32_t group;       /* items of a work-group */
    int32_t local_bytes; /* of local memory, in place of DOOR_BYTES */
};
clattn__rewrite clattn__ptx_edit; /* wish: a struct clattn__ptx_wish */

/* How an engine runs a task. */
struct clattn__launch {
    const char *kernel_text;  /* stem of the forward kernel */
    struct clattn__spec spec; /* shape fields filled in */
    int32_t pack;             /* query heads that share a tile */
    int32_t splits, split_keys;
    int32_t q_tiles;
    int32_t section;          /* forward_args.clh */
    size_t tiles;             /* in all: of rows, parts, head tiles and batch entries */
    size_t groups;            /* work-groups of spec.GROUP items: one a tile, or n that take them in turn */
    bool in_turn;             /* the kernel can do the latter */
    bool can_join;            /* the kernel can join a tile's parts by itself: spec.JOINS */
    int64_t scratch;          /* 4-byte words of the workspace that a group needs for itself; then two counters */
                              /* stand before them, which tables.cl sets to 0 if spec.COUNTED */
    clattn__rewrite *rewrite; /* of the forward kernel's program, or NULL */
    struct clattn__ptx_wish wish;
    struct clattn__setting setting; /* the value of every knob that this engine has for this task */
};

struct clattn__engine {
    const char *name;
    bool by_name; /* never chosen unless it is named */
    bool few_rows; /* for them alone: where it refuses, the next engine is the device's best */
    bool of_16_bits; /* for f16 and bf16 alone: likewise, for f32 */
    bool may_fail; /* a driver may refuse it or compile it to something else: then the next engine serves */
    int32_t test_blocks; /* whole blocks of keys in the self-test: more than are under way at once; 0: one */
    bool (*fits)(const clattn_device_facts *facts, char *reason, size_t size);
    /* false, with the reason, if no legal shape exists (local memory, group size). */
    bool (*launch)(const clattn_device_facts *facts, const struct clattn__task *task,
                   struct clattn__launch *launch, char *reason, size_t size);
};

extern const struct clattn__engine clattn__engine_portable, clattn__engine_vector, clattn__engine_decode,
    clattn__engine_decode_small, clattn__engine_wgmma, clattn__engine_mma, clattn__engine_mma_small,
    clattn__engine_tf32, clattn__engine_blocked_large, clattn__engine_blocked, clattn__engine_generic,
    clattn__engine_decode_generic;
extern const struct clattn__engine *const clattn__engines[]; /* best first; ends with NULL */
size_t clattn__engine_number(const struct clattn__engine *engine); /* its place there */

/* Choose: the forced engine (or the first of a family: "matrix" is "matrix-decode", "matrix-wgmma" ...), or
 * the first that fits.  *why gets a line for each engine looked at.  strict: the engine that fits the device
 * best must also take the task.  Pure. */
clattn_status clattn__engine_choose(const clattn_device_facts *facts, const struct clattn__task *task,
                                    const char *forced, bool strict, const struct clattn__engine **engine,
                                    struct clattn__launch *launch, struct clattn__text *why);

#define CLATTN__LEAST_PART 512 /* keys of a part, where queries are many */

/* Fill pack, splits, split_keys, q_tiles and groups from BQ and the task: the same arithmetic for every
 * engine.  grain: keys of which a part is a multiple; wanted_groups: with few rows the keys are split until
 * there are about so many. */
void clattn__launch_geometry(const struct clattn__task *task, int32_t pack, int32_t grain,
                             int64_t wanted_groups, struct clattn__launch *launch);

/* Of a launch whose groups the device takes as others end, where a mask makes some heavier: let the heavy ones of as
 * many heads come first as a GPU's second-level cache holds, so that light ones are left for the end.  Of a
 * section of one head the heaviest would begin last. */
#define CLATTN__HELD_BYTES (32 << 20) /* of keys and values, while their tiles run */
void clattn__launch_sections(const struct clattn__task *task, struct clattn__launch *launch);
/* Have the editor of assembly make a kernel's local memory of so many bytes, where that is beyond the door. */
void clattn__launch_memory(struct clattn__launch *launch, int64_t bytes);

/* ---- tuning.c: lines of tuning ---- */
/* A class of problems, or a pattern of classes, where a field is CLATTN__ANY. */
#define CLATTN__ANY (-1)
struct clattn__problem_class {
    int32_t types; /* of q, k, v and o, two bits each */
    int32_t dim, dim_v;
    int32_t phase; /* of a word of tuning.c */
    int32_t keys;  /* rounded up to a power of two */
};
void clattn__problem_class_of(const clattn_device_facts *facts, const struct clattn__task *task,
                              struct clattn__problem_class *class);
void clattn__problem_class_print(const struct clattn__problem_class *class, struct clattn__text *out);
/* The fields of a line for a device's problems of a class. */
void clattn__tuning_key(const clattn_device_facts *facts, const struct clattn__problem_class *class,
                        struct clattn__text *out);

/* A line that holds for a context's device. */
enum { CLATTN__LAYER_BUILT_IN, CLATTN__LAYER_SYSTEM, CLATTN__LAYER_USER, CLATTN__LAYER_ADDED, CLATTN__LAYERS };
struct clattn__entry {
    bool block;
    int32_t layer, exactness, order;
    int32_t gain; /* thousandths */
    struct clattn__problem_class class;
    char engine[CLATTN_NAME_SIZE];
    struct clattn__setting setting;
};
struct clattn__tuning *clattn__tuning_new(void); /* an empty table, or NULL */
/* Add what holds for a device of a text; false, with a sentence, and nothing added, if the text is
 * refused. */
bool clattn__tuning_fill(struct clattn__tuning *table, const clattn_device_facts *facts, const char *text,
                         int layer, char *message, size_t size);
/* The best line but `index` of a class; table may be NULL. */
bool clattn__tuning_find(const struct clattn__tuning *table, const struct clattn__problem_class *class,
                         int index, struct clattn__entry *entry);
/* Whether a line blocks an engine's launch with such knobs. */
bool clattn__tuning_blocks(const struct clattn__tuning *table, const struct clattn__problem_class *class,
                           const char *engine, const struct clattn__setting *setting);
/* Describe line number *index of those of a text that block something on a device, but for layer and file;
 * false past the last one, whose number is taken from *index, and of a text that is refused. */
bool clattn__tuning_block(const clattn_device_facts *facts, const char *text, size_t *index,
                          clattn_tuning_block *block);
extern const char clattn__tuning_built_in[]; /* built_in.c */

/* ---- matrix.c: what its tiles take; a refusal is NULL or the reason ---- */
const char *clattn__matrix_refusal(const struct clattn__task *task);       /* of products of 16 bits */
const char *clattn__matrix_plain_refusal(const struct clattn__task *task); /* of the plain tile */
bool clattn__matrix_is_aligned(const struct clattn__task *task);           /* rows by chunks of 16 bytes */

/* ---- team.c: the tiles by which a team of items multiplies what lies in local memory ---- */
struct clattn__team {
    int32_t matrix;       /* MATRIX of kernels: which tile */
    int32_t items;        /* that run as one */
    const char *name;     /* in names of engines */
    const char *products; /* for people */
};
/* the plain one where there is none; static */
const struct clattn__team *clattn__team_of(int32_t matrix_unit);
/* elements from a row to the next in local memory, of tiles of 16-bit products and of the plain one */
int64_t clattn__row_pitch(int64_t dim);

/* ---- traps.c: what is known about drivers; the only place of the library that knows vendors' names ---- */
bool clattn__driver_hides_fma(const clattn_device_facts *facts); /* of a CPU */
bool clattn__driver_takes_assembly(const clattn_device_facts *facts);
bool clattn__driver_takes_ptx(const clattn_device_facts *facts);
bool clattn__driver_takes_fetches(const clattn_device_facts *facts);

#endif
