/* SPDX-License-Identifier: MIT
 * core.h - what every room of the library shares: failures, facts, layouts, programs.
 *
 * Rooms include downwards only: core <- expr <- engine <- families (attention, ...) <- tool.
 */
#ifndef CLATTN_CORE_H
#define CLATTN_CORE_H

#include <clattn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define CLATTN__LEN(array) (sizeof(array) / sizeof((array)[0]))

#define CLATTN__MESSAGE_SIZE 1024
#define CLATTN__BUILD_LOG_SIZE 65536

#define CLATTN__CONTEXT_MAGIC 0x636c6378u
#define CLATTN__PLAN_MAGIC 0x636c706cu
#define CLATTN__MERGE_MAGIC 0x636c6d67u
#define CLATTN__SELECT_MAGIC 0x636c7365u
#define CLATTN__DELTA_MAGIC 0x636c6461u
#define CLATTN__EXTEND_MAGIC 0x636c6578u

/* ---- kept.c: programs that a context has built ---- */
#define CLATTN__MAX_KEPT 64
struct clattn__cache_key {
    unsigned char sha256[32];
};
struct clattn__kept {
    struct clattn__cache_key key;
    cl_program program;
    bool proved; /* a first launch of it gave right numbers */
};
/* retained; NULL: none */
cl_program clattn__kept_find(clattn_context *ctx, const struct clattn__cache_key *key);
void clattn__kept_add(clattn_context *ctx, const struct clattn__cache_key *key, cl_program program);
bool clattn__kept_is_proved(clattn_context *ctx, cl_program program);
void clattn__kept_prove(clattn_context *ctx, cl_program program);
void clattn__kept_free(clattn_context *ctx);

/* ---- context.c ---- */
struct clattn_context {
    uint32_t magic;
    int references; /* plans hold one each; guarded by lock */
    long pid;       /* OpenCL does not survive fork */
    cl_context cl;
    cl_device_id device;
    clattn_device_facts facts;
    pthread_mutex_t lock; /* guards all that follows */
    clattn_log_callback log;
    void *log_cookie;
    clattn_cache_mode cache_mode;
    char *cache_directory; /* NULL: the default of env.c */
    bool build_report;     /* the compiler is asked for it, and nothing is kept */
    char message[CLATTN__MESSAGE_SIZE];
    cl_int cl_error;
    char *build_log; /* NULL until a build fails */
    char *helper;                   /* program that makes plans first; NULL: none */
    uint32_t helper_seconds;
    uint32_t tuning_layers;         /* CLATTN_TUNING_... */
    bool tuning_is_read;            /* the layers before the added one */
    struct clattn__tuning *tuning;  /* NULL: no line of any layer */
    int n_kept, oldest_kept;
    struct clattn__kept kept[CLATTN__MAX_KEPT];
};

/* Whether programs and failures are kept at all. */
bool clattn__context_keeps(clattn_context *ctx);
/* The folder for what is kept on disk, copied into path; NULL: nothing is kept there. */
#define CLATTN__PATH_SIZE 4096
const char *clattn__context_folder(clattn_context *ctx, char path[CLATTN__PATH_SIZE]);
/* CLATTN_OK if ctx is alive and of this process, else NULL_ARGUMENT, BAD_HANDLE or FORKED. */
clattn_status clattn__context_check(const clattn_context *ctx);
void clattn__context_retain(clattn_context *ctx);
void clattn__context_release(clattn_context *ctx);

/* ---- failure.c ---- */
/* Keep a failure on the context and return its status.  The sentence is the status's own, then ": ", then the
 * details of fmt (which may be "").  cl_error is CL_SUCCESS if OpenCL was not the cause. */
clattn_status clattn__fail(clattn_context *ctx, clattn_status status, cl_int cl_error, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for an OpenCL call that failed: CL_OUT_OF_HOST_MEMORY, CL_MEM_OBJECT_ALLOCATION_FAILURE and
 * CL_OUT_OF_RESOURCES map to the memory statuses, all others to OPENCL_FAILED. */
clattn_status clattn__fail_cl(clattn_context *ctx, const char *call, cl_int cl_error);
void clattn__log(clattn_context *ctx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A growing sentence in a fixed buffer: never overflows, always terminated, locale-free for what we print. */
struct clattn__text {
    char *at;
    size_t size, used;
    bool cut; /* true once something did not fit */
};
struct clattn__text clattn__text_into(char *buffer, size_t size);
void clattn__text_add(struct clattn__text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- checked.c: 64-bit arithmetic that says when it overflows ---- */
bool clattn__add(int64_t a, int64_t b, int64_t *sum);     /* false on overflow */
bool clattn__mul(int64_t a, int64_t b, int64_t *product);
int64_t clattn__ceil_div(int64_t a, int64_t b);           /* a / b rounded up; a >= 0, b > 0; no overflow */

/* ---- layout.c ---- */
/* The shape of a tensor, for its layout. */
struct clattn__shape {
    int64_t batch, heads, tokens, width; /* packed: batch = 1, tokens = total */
};
/* Replace CLATTN_DENSE strides by numbers.  false: overflow.  The two after it want strides and offset of 0
 * or more. */
bool clattn__layout_resolve(clattn_layout *layout, const struct clattn__shape *shape);
/* Last element + 1, 0 for an empty tensor.  false: overflow or larger than 2^62 bytes of type_bytes each. */
bool clattn__layout_extent(const clattn_layout *layout, const struct clattn__shape *shape, int type_bytes,
                           int64_t *extent);
/* Whether every (batch, head, token) owns its own elements: never true when two share one.  Axes must lie
 * inside one another, in any order; strides that weave them like a comb count as shared. */
bool clattn__layout_disjoint(const clattn_layout *layout, const struct clattn__shape *shape);
int clattn__type_bytes(int32_t type); /* 0 for an unknown type */
const char *clattn__type_name(int32_t type);

/* ---- env.c: the only reader of the environment; everything NULL in a setuid program ---- */
const char *clattn__env_cache_directory(char *buffer, size_t size); /* NULL: no cache */
const char *clattn__env_kernel_directory(void);                    /* NULL: built-in texts */
const char *clattn__env_tuning_file(char *buffer, size_t size);    /* the user's; NULL: none */
bool clattn__env_wants_tuning(void);                               /* false: no files of tuning at all */

/* ---- text.c: kernel texts ---- */
struct clattn__kernel_text {
    const char *name; /* stem of the .cl file */
    const char *text; /* flattened, with #line marks */
};
extern const struct clattn__kernel_text clattn__kernel_texts[]; /* generated; ends with {0, 0} */
/* Find a kernel text: the override folder's NAME.cl, else the built-in one.  *owned (if not NULL) must be
 * freed. */
clattn_status clattn__kernel_text(clattn_context *ctx, const char *name, const char **text, char **owned);

/* The whole text of a regular file of modest size that not everyone may write, malloc'ed; NULL on any
 * trouble, and for a zero in it. */
char *clattn__read_text(int fd);

/* ---- program.c, cache.c ---- */
/* An edit of a built program's binary of *size bytes, to be built again: the new one, malloc'ed, and its
 * size, or NULL with the reason. */
typedef char *clattn__rewrite(const char *binary, size_t *size, const void *wish, char *reason,
                              size_t reason_size);
struct clattn__program_request {
    const char *name;    /* stem of the kernel text */
    const char *options; /* "-D..." of the specialisation; no user text ever */
    const char *prelude; /* generated #define lines put before the text; NULL for none */
    const char *kernel;  /* name of the kernel that the program must hold */
    clattn__rewrite *rewrite; /* NULL: the program is as the compiler makes it */
    const void *wish;         /* what the rewrite is told; a function of the options */
};
/* Build a program for the context's device: from the cache where it may, else from text.  The caller releases
 * *program. */
clattn_status clattn__program_build(clattn_context *ctx, const struct clattn__program_request *request,
                                    cl_program *program);
/* The key of what it would build: text, options and prelude, device, driver, version of this library. */
clattn_status clattn__program_key(clattn_context *ctx, const struct clattn__program_request *request,
                                  struct clattn__cache_key *key);

/* The program cache: entries are files named by key, authenticated before the driver sees them. */
struct clattn__cache;
struct clattn__cache *clattn__cache_open(const char *directory); /* NULL: unusable, which is no error */
struct clattn__cache *clattn__cache_find(const char *directory); /* the same, but makes no folder */
void clattn__cache_close(struct clattn__cache *cache);
/* *payload is malloc'ed; false for any trouble (a bad entry is removed). */
bool clattn__cache_read(struct clattn__cache *cache, const struct clattn__cache_key *key,
                        unsigned char **payload, size_t *size);
bool clattn__cache_write(struct clattn__cache *cache, const struct clattn__cache_key *key,
                         const unsigned char *payload, size_t size);
void clattn__cache_remove(struct clattn__cache *cache, const struct clattn__cache_key *key);
/* A mark beside an entry while the driver loads it, held by this process: one that nobody holds means that
 * the load killed its process.  false: no mark could be made, and the entry must not be loaded.  One a cache
 * at a time. */
bool clattn__cache_mark_loading(struct clattn__cache *cache, const struct clattn__cache_key *key);
void clattn__cache_clear_loading(struct clattn__cache *cache, const struct clattn__cache_key *key);
/* Notes: short texts beside the entries, authenticated alike. */
#define CLATTN__NOTE_SIZE 4096 /* of a text with its end */
typedef void clattn__note_visitor(void *cookie, struct clattn__cache *cache,
                                  const struct clattn__cache_key *key);
bool clattn__cache_read_note(struct clattn__cache *cache, const struct clattn__cache_key *key,
                             char text[CLATTN__NOTE_SIZE]);
bool clattn__cache_write_note(struct clattn__cache *cache, const struct clattn__cache_key *key,
                              const char *text);
void clattn__cache_remove_note(struct clattn__cache *cache, const struct clattn__cache_key *key);
#define CLATTN__NAME_SIZE 80
/* of its file */
void clattn__cache_note_name(const struct clattn__cache_key *key, char name[CLATTN__NAME_SIZE]);
/* A mark that a program was built and launched well on this machine. */
bool clattn__cache_is_good(struct clattn__cache *cache, const struct clattn__cache_key *key);
void clattn__cache_mark_good(struct clattn__cache *cache, const struct clattn__cache_key *key);
void clattn__cache_each_note(struct clattn__cache *cache, clattn__note_visitor *visit, void *cookie);

/* ---- quarantine.c: programs that failed here, remembered on disk ---- */
/* Remember one, with engine, fault, details and problem of entry; without a cache nothing happens. */
void clattn__quarantine_add(clattn_context *ctx, const struct clattn__cache_key *key,
                            const clattn_quarantine *entry);
bool clattn__quarantine_find(clattn_context *ctx, const struct clattn__cache_key *key,
                             clattn_quarantine *entry);

/* ---- device.c ---- */
/* What is known about drivers (src/engine/traps.c): fills what no query tells; the option for a compiler's
 * report, or "". */
void clattn__driver_facts(clattn_device_facts *facts);
const char *clattn__driver_report_option(const clattn_device_facts *facts);
/* its compiler says this of every kernel */
bool clattn__driver_says_idly(const clattn_device_facts *facts, const char *line);
bool clattn__has_fma(const clattn_device_facts *facts); /* this machine's, where a CPU's driver hides it */
uint32_t clattn__vector_registers(const clattn_device_facts *facts); /* of this machine */
int32_t clattn__matrix_unit(cl_device_id device, const clattn_device_facts *facts);
uint64_t clattn__unit_local_bytes(cl_device_id device, const clattn_device_facts *facts);
bool clattn__has_bf16_dot(const clattn_device_facts *facts);
struct clattn__tuning;
void clattn__tuning_free(struct clattn__tuning *table); /* src/engine/tuning.c; NULL is allowed */
clattn_status clattn__device_gather(cl_device_id device, clattn_device_facts *facts, cl_int *cl_error);

#endif
