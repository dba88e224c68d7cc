/* SPDX-License-Identifier: MIT
 * program.c - kernel text to cl_program: from the cache where it may, else from source. */
#include "core/core.h"

#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_FORMAT "clattn program 1"

/* What a build needs, and is freed by. */
struct build {
    clattn_context *ctx;
    const struct clattn__program_request *request;
    char *options;
    const char *text;
    char *owned; /* the text, when it came from the override folder */
};

static void hash_text(SHA2_CTX *sha, const char *text)
{
    SHA256Update(sha, (const uint8_t *)text, strlen(text) + 1); /* with its end: fields do not run together */
}

static void make_key(const struct build *b, struct clattn__cache_key *key)
{
    const clattn_device_facts *f = &b->ctx->facts;
    const char *prelude = b->request->prelude ? b->request->prelude : "";
    const char *const parts[] = {CACHE_FORMAT, CLATTN_VERSION, b->text, prelude, b->options, f->platform,
                                 f->platform_version, f->name, f->vendor, f->driver};
    const uint8_t pointer_bytes = sizeof(void *);
    SHA2_CTX sha;
    SHA256Init(&sha);
    for (size_t i = 0; i < CLATTN__LEN(parts); i++)
        hash_text(&sha, parts[i]);
    SHA256Update(&sha, &pointer_bytes, 1);
    SHA256Final(key->sha256, &sha);
}

static struct clattn__cache *open_cache(clattn_context *ctx)
{
    char path[CLATTN__PATH_SIZE];
    pthread_mutex_lock(&ctx->lock);
    bool on = ctx->cache_mode == CLATTN_CACHE_ALWAYS ||
              (ctx->cache_mode == CLATTN_CACHE_AUTO && !ctx->facts.caches_programs);
    pthread_mutex_unlock(&ctx->lock);
    const char *folder = on ? clattn__context_folder(ctx, path) : NULL;
    struct clattn__cache *cache = folder ? clattn__cache_open(folder) : NULL;
    if (folder && !cache)
        clattn__log(ctx, "program cache: %s cannot be used", folder);
    return cache;
}

static bool has_kernel(cl_program program, const char *name)
{
    cl_int code;
    cl_kernel kernel = clCreateKernel(program, name, &code);
    if (code == CL_SUCCESS)
        clReleaseKernel(kernel);
    return code == CL_SUCCESS;
}

/* The program of a cached binary, or NULL: then a bad entry is gone and the text is built. */
static cl_program load_cached(const struct build *b, struct clattn__cache *cache,
                              const struct clattn__cache_key *key)
{
    unsigned char *blob;
    size_t size;
    cl_int code, binary = CL_SUCCESS;
    if (!clattn__cache_read(cache, key, &blob, &size))
        return NULL;
    if (!clattn__cache_mark_loading(cache, key)) {
        free(blob);
        return NULL;
    }
    const unsigned char *blobs[] = {blob};
    cl_program program =
        clCreateProgramWithBinary(b->ctx->cl, 1, &b->ctx->device, &size, blobs, &binary, &code);
    bool good = code == CL_SUCCESS && binary == CL_SUCCESS &&
                clBuildProgram(program, 1, &b->ctx->device, b->options, NULL, NULL) == CL_SUCCESS &&
                has_kernel(program, b->request->kernel);
    free(blob);
    clattn__cache_clear_loading(cache, key);
    if (good)
        return program;
    if (code == CL_SUCCESS)
        clReleaseProgram(program);
    clattn__cache_remove(cache, key);
    return NULL;
}

/* A program's binary, malloc'ed, or NULL; *code is why, where OpenCL or memory is to blame. */
static unsigned char *read_binary(cl_program program, size_t *size, cl_int *code)
{
    *size = 0;
    *code = clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof *size, size, NULL);
    if (*code != CL_SUCCESS || *size == 0)
        return NULL;
    unsigned char *blob = malloc(*size);
    unsigned char *blobs[] = {blob};
    *code = blob ? clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof blobs, blobs, NULL)
                 : CL_OUT_OF_HOST_MEMORY;
    if (*code == CL_SUCCESS)
        return blob;
    free(blob);
    return NULL;
}

static void store_binary(struct clattn__cache *cache, const struct clattn__cache_key *key, cl_program program)
{
    size_t size;
    cl_int code;
    unsigned char *blob = read_binary(program, &size, &code);
    if (blob)
        clattn__cache_write(cache, key, blob, size);
    free(blob);
}

/* The compiler's words: bounded, without control characters; NULL if it has none.  The caller frees them. */
static char *read_build_log(const struct build *b, cl_program program)
{
    size_t size = 0;
    cl_device_id device = b->ctx->device;
    if (clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size) != CL_SUCCESS ||
        size == 0)
        return NULL;
    char *log = malloc(size + 1);
    if (!log ||
        clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, size, log, NULL) != CL_SUCCESS) {
        free(log);
        return NULL;
    }
    if (size >= CLATTN__BUILD_LOG_SIZE)
        size = CLATTN__BUILD_LOG_SIZE - 1;
    log[size] = 0;
    for (char *p = log; *p; p++)
        if (((unsigned char)*p < ' ' && *p != '\n' && *p != '\t') || *p == 0x7f)
            *p = ' ';
    return log;
}

static void keep_build_log(const struct build *b, cl_program program)
{
    char *log = read_build_log(b, program);
    if (!log)
        return;
    pthread_mutex_lock(&b->ctx->lock);
    free(b->ctx->build_log);
    b->ctx->build_log = log;
    pthread_mutex_unlock(&b->ctx->lock);
}

/* What a compiler says of a program that it built, to the log line by line: warnings, for which our kernels
 * give no reason, and its report where it was asked for. */
static void tell_build_log(const struct build *b, cl_program program, bool edited)
{
    char *log = read_build_log(b, program), *rest = NULL;
    for (char *line = log ? strtok_r(log, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest))
        if (line[strspn(line, " \t")] && !clattn__driver_says_idly(&b->ctx->facts, line))
            clattn__log(b->ctx, "program %s%s: compiler: %s", b->request->name, edited ? ", edited" : "",
                        line);
    free(log);
}

/* What may be otherwise in a moment, and is no word on the program. */
static bool is_shortage(cl_int code)
{
    return code == CL_OUT_OF_HOST_MEMORY || code == CL_OUT_OF_RESOURCES;
}

/* Compile a program, which is *program then or released; edited: its binary is no compiler's. */
static clattn_status compile(const struct build *b, cl_program made, bool edited, cl_program *program)
{
    cl_int code = clBuildProgram(made, 1, &b->ctx->device, b->options, NULL, NULL);
    if (code == CL_SUCCESS) {
        tell_build_log(b, made, edited);
        *program = made;
        return CLATTN_OK;
    }
    keep_build_log(b, made);
    clReleaseProgram(made);
    if (is_shortage(code))
        return clattn__fail_cl(b->ctx, "clBuildProgram", code);
    return clattn__fail(b->ctx, CLATTN_BUILD_FAILED, code, "%s%s, OpenCL code %d", b->request->name,
                        edited ? ", its edited binary" : "", (int)code);
}

static clattn_status build_edited(const struct build *b, const char *text, size_t size, cl_program *program)
{
    const unsigned char *blobs[] = {(const unsigned char *)text};
    cl_int code, binary = CL_SUCCESS;
    cl_program made = clCreateProgramWithBinary(b->ctx->cl, 1, &b->ctx->device, &size, blobs, &binary, &code);
    if (is_shortage(code))
        return clattn__fail_cl(b->ctx, "clCreateProgramWithBinary", code);
    if (code != CL_SUCCESS)
        return clattn__fail(b->ctx, CLATTN_BUILD_FAILED, code, "%s: the driver refuses its edited binary",
                            b->request->name);
    return compile(b, made, true, program);
}

/* *program as the request's rewrite makes it. */
static clattn_status rewrite(const struct build *b, cl_program *program)
{
    size_t size;
    cl_int code;
    char reason[160] = "the driver gives no binary";
    unsigned char *binary = read_binary(*program, &size, &code);
    char *text =
        binary ? b->request->rewrite((const char *)binary, &size, b->request->wish, reason, sizeof reason)
               : NULL;
    clReleaseProgram(*program);
    *program = NULL;
    free(binary);
    if (is_shortage(code))
        return clattn__fail_cl(b->ctx, "clGetProgramInfo", code);
    if (!text)
        return clattn__fail(b->ctx, CLATTN_BUILD_FAILED, CL_SUCCESS, "%s: %s", b->request->name, reason);
    clattn_status status = build_edited(b, text, size, program);
    free(text);
    return status;
}

static clattn_status build_source(const struct build *b, cl_program *program)
{
    cl_int code;
    const char *texts[] = {b->request->prelude ? b->request->prelude : "", b->text};
    if (!b->ctx->facts.has_compiler)
        return clattn__fail(b->ctx, CLATTN_BUILD_FAILED, CL_COMPILER_NOT_AVAILABLE,
                            "%s: the device has no compiler, and the cache holds no program for it",
                            b->request->name);
    cl_program made = clCreateProgramWithSource(b->ctx->cl, 2, texts, NULL, &code);
    if (code != CL_SUCCESS)
        return clattn__fail_cl(b->ctx, "clCreateProgramWithSource", code);
    return compile(b, made, false, program);
}

static clattn_status build_or_load(const struct build *b, cl_program *program)
{
    struct clattn__cache_key key;
    clattn_status status = CLATTN_OK;
    bool keep = clattn__context_keeps(b->ctx);
    make_key(b, &key);
    *program = keep ? clattn__kept_find(b->ctx, &key) : NULL;
    if (*program) {
        clattn__log(b->ctx, "program %s: kept", b->request->name);
        return CLATTN_OK;
    }
    struct clattn__cache *cache = open_cache(b->ctx);
    if (cache)
        *program = load_cached(b, cache, &key);
    if (*program) {
        clattn__log(b->ctx, "program %s: cache hit", b->request->name);
    } else {
        status = build_source(b, program);
        if (!status && b->request->rewrite)
            status = rewrite(b, program);
        if (!status)
            clattn__log(b->ctx, "program %s: built", b->request->name);
        if (!status && cache)
            store_binary(cache, &key, *program);
    }
    clattn__cache_close(cache);
    if (!status && keep)
        clattn__kept_add(b->ctx, &key, *program);
    return status;
}

/* What holds for all kernels of a device. */
#define DEVICE_OPTIONS "-cl-std=CL1.2 -DFMA=%d -DMIN_BY_MASK=%d %s %s"

static void end_build(struct build *b)
{
    free(b->options);
    free(b->owned);
}

static clattn_status begin_build(struct build *b, clattn_context *ctx,
                                 const struct clattn__program_request *request)
{
    *b = (struct build){.ctx = ctx, .request = request};
    clattn_status status = clattn__kernel_text(ctx, request->name, &b->text, &b->owned);
    if (status)
        return status;
    pthread_mutex_lock(&ctx->lock);
    const char *report = ctx->build_report ? clattn__driver_report_option(&ctx->facts) : "";
    pthread_mutex_unlock(&ctx->lock);
    size_t size = sizeof DEVICE_OPTIONS + strlen(report) + strlen(request->options);
    b->options = malloc(size);
    if (b->options) {
        /* never a fast-math flag: doc/numerics.md */
        snprintf(b->options, size, DEVICE_OPTIONS, !!ctx->facts.has_fma, !!ctx->facts.wrong_nested_min,
                 report, request->options);
        return CLATTN_OK;
    }
    end_build(b);
    return clattn__fail(ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "program %s", request->name);
}

clattn_status clattn__program_build(clattn_context *ctx, const struct clattn__program_request *request,
                                    cl_program *program)
{
    struct build b;
    clattn_status status = begin_build(&b, ctx, request);
    if (status)
        return status;
    status = build_or_load(&b, program);
    end_build(&b);
    return status;
}

clattn_status clattn__program_key(clattn_context *ctx, const struct clattn__program_request *request,
                                  struct clattn__cache_key *key)
{
    struct build b;
    clattn_status status = begin_build(&b, ctx, request);
    if (status)
        return status;
    make_key(&b, key);
    end_build(&b);
    return CLATTN_OK;
}
