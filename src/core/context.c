/* SPDX-License-Identifier: MIT
 * context.c - open, wrap and close a context; its log, cache settings and latest failure. */
#include "core/core.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_DEVICES 64

clattn_status clattn__context_check(const clattn_context *ctx)
{
    if (!ctx)
        return CLATTN_NULL_ARGUMENT;
    if (ctx->magic != CLATTN__CONTEXT_MAGIC)
        return CLATTN_BAD_HANDLE;
    return ctx->pid == (long)getpid() ? CLATTN_OK : CLATTN_FORKED;
}

/* ---- choosing a device ---- */
static bool contains(const char *text, const char *part)
{
    size_t n = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < n && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == n)
            return true;
    }
    return false;
}

static cl_device_type type_of_word(const char *word)
{
    return !strcmp(word, "cpu")           ? CL_DEVICE_TYPE_CPU
           : !strcmp(word, "gpu")         ? CL_DEVICE_TYPE_GPU
           : !strcmp(word, "accelerator") ? CL_DEVICE_TYPE_ACCELERATOR
                                          : 0;
}

/* How well a device answers a selector: 0 not at all, else the larger the better. */
static int rate(const clattn_device_facts *facts, size_t index, const char *selector)
{
    char number[24];
    cl_device_type type = type_of_word(selector);
    snprintf(number, sizeof number, "%zu", index);
    bool all_digits = selector[0] && strspn(selector, "0123456789") == strlen(selector);
    if (all_digits)
        return !strcmp(number, selector);
    if (type && !(facts->type & type))
        return 0;
    if (!type && selector[0] && !contains(facts->name, selector) && !contains(facts->vendor, selector) &&
        !contains(facts->platform, selector) &&
        !contains(facts->platform_version, selector)) /* which says "PoCL" */
        return 0;
    int rating = facts->type & CL_DEVICE_TYPE_GPU ? 6 : facts->type & CL_DEVICE_TYPE_ACCELERATOR ? 4 : 2;
    return rating + !facts->slow_wide_vectors; /* among equals the driver without that trap */
}

static clattn_status choose_device(const char *selector, cl_device_id *chosen)
{
    cl_device_id devices[MAX_DEVICES];
    size_t count;
    int best = 0;
    clattn_status status = clattn_list_devices(devices, MAX_DEVICES, &count);
    if (status)
        return status;
    for (size_t i = 0; i < count && i < MAX_DEVICES; i++) {
        clattn_device_facts facts;
        cl_int code;
        if (clattn__device_gather(devices[i], &facts, &code))
            continue;
        int rating = rate(&facts, i, selector);
        if (rating > best) {
            best = rating;
            *chosen = devices[i];
        }
    }
    return best ? CLATTN_OK : CLATTN_DEVICE_NOT_FOUND;
}

/* ---- life ---- */
/* cl is taken over: released on failure too. */
static clattn_status make_context(clattn_context **out, cl_context cl, cl_device_id device)
{
    cl_int code;
    clattn_context *ctx = calloc(1, sizeof *ctx);
    clattn_status status = CLATTN_OUT_OF_HOST_MEMORY;
    if (ctx)
        status = clattn__device_gather(device, &ctx->facts, &code);
    if (status) {
        free(ctx);
        clReleaseContext(cl);
        return status;
    }
    ctx->magic = CLATTN__CONTEXT_MAGIC;
    ctx->references = 1;
    ctx->pid = (long)getpid();
    ctx->cl = cl;
    ctx->device = device;
    ctx->tuning_layers = CLATTN_TUNING_ALL;
    pthread_mutex_init(&ctx->lock, NULL);
    *out = ctx;
    return CLATTN_OK;
}

clattn_status clattn_context_open(clattn_context **ctx, const char *selector)
{
    cl_device_id device = NULL;
    cl_int code;
    if (!ctx)
        return CLATTN_NULL_ARGUMENT;
    *ctx = NULL;
    clattn_status status = choose_device(selector ? selector : "", &device);
    if (status)
        return status;
    cl_context cl = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    if (code != CL_SUCCESS)
        return code == CL_OUT_OF_HOST_MEMORY ? CLATTN_OUT_OF_HOST_MEMORY : CLATTN_OPENCL_FAILED;
    return make_context(ctx, cl, device);
}

/* Whether the device is one of the context's. */
static clattn_status check_member(cl_context context, cl_device_id device)
{
    cl_device_id devices[MAX_DEVICES];
    size_t bytes = 0;
    if (clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof devices, devices, &bytes) != CL_SUCCESS)
        return CLATTN_OPENCL_FAILED;
    for (size_t i = 0; i < bytes / sizeof devices[0]; i++)
        if (devices[i] == device)
            return CLATTN_OK;
    return CLATTN_DEVICE_NOT_IN_CONTEXT;
}

clattn_status clattn_context_wrap(clattn_context **ctx, cl_context context, cl_device_id device)
{
    if (!ctx)
        return CLATTN_NULL_ARGUMENT;
    *ctx = NULL;
    if (!context || !device)
        return CLATTN_NULL_ARGUMENT;
    clattn_status status = check_member(context, device);
    if (status)
        return status;
    if (clRetainContext(context) != CL_SUCCESS)
        return CLATTN_OPENCL_FAILED;
    return make_context(ctx, context, device);
}

void clattn__context_retain(clattn_context *ctx)
{
    pthread_mutex_lock(&ctx->lock);
    ctx->references++;
    pthread_mutex_unlock(&ctx->lock);
}

void clattn__context_release(clattn_context *ctx)
{
    bool ours = ctx->pid == (long)getpid(); /* after fork the lock may be another thread's for ever */
    if (ours)
        pthread_mutex_lock(&ctx->lock);
    int left = --ctx->references;
    if (ours)
        pthread_mutex_unlock(&ctx->lock);
    if (left > 0)
        return;
    ctx->magic = 0;
    if (ours) {
        clattn__kept_free(ctx);
        clReleaseContext(ctx->cl);
        pthread_mutex_destroy(&ctx->lock);
    }
    free(ctx->cache_directory);
    free(ctx->build_log);
    free(ctx->helper);
    clattn__tuning_free(ctx->tuning);
    free(ctx);
}

void clattn_context_close(clattn_context *ctx)
{
    if (ctx && ctx->magic == CLATTN__CONTEXT_MAGIC)
        clattn__context_release(ctx);
}

/* ---- what it holds ---- */
cl_context clattn_context_cl(const clattn_context *ctx)
{
    return ctx ? ctx->cl : NULL;
}

cl_device_id clattn_context_device(const clattn_context *ctx)
{
    return ctx ? ctx->device : NULL;
}

clattn_status clattn_context_set_log(clattn_context *ctx, clattn_log_callback log, void *cookie)
{
    clattn_status status = clattn__context_check(ctx);
    if (status)
        return status;
    pthread_mutex_lock(&ctx->lock);
    ctx->log = log;
    ctx->log_cookie = cookie;
    pthread_mutex_unlock(&ctx->lock);
    return CLATTN_OK;
}

clattn_status clattn_context_set_cache(clattn_context *ctx, clattn_cache_mode mode, const char *directory)
{
    clattn_status status = clattn__context_check(ctx);
    if (status)
        return status;
    if (mode < CLATTN_CACHE_AUTO || mode > CLATTN_CACHE_ALWAYS)
        return clattn__fail(ctx, CLATTN_BAD_FLAGS, CL_SUCCESS, "the cache mode is %d", (int)mode);
    char *copy = directory ? strdup(directory) : NULL;
    if (directory && !copy)
        return clattn__fail(ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "cache directory");
    pthread_mutex_lock(&ctx->lock);
    free(ctx->cache_directory);
    ctx->cache_directory = copy;
    ctx->cache_mode = mode;
    pthread_mutex_unlock(&ctx->lock);
    return CLATTN_OK;
}

clattn_status clattn_context_set_build_report(clattn_context *ctx, int on)
{
    clattn_status status = clattn__context_check(ctx);
    if (status)
        return status;
    pthread_mutex_lock(&ctx->lock);
    ctx->build_report = on != 0;
    pthread_mutex_unlock(&ctx->lock);
    return CLATTN_OK;
}

bool clattn__context_keeps(clattn_context *ctx)
{
    pthread_mutex_lock(&ctx->lock);
    bool keeps = ctx->cache_mode != CLATTN_CACHE_OFF && !ctx->build_report;
    pthread_mutex_unlock(&ctx->lock);
    return keeps;
}

const char *clattn__context_folder(clattn_context *ctx, char path[CLATTN__PATH_SIZE])
{
    const char *folder = NULL;
    if (!clattn__context_keeps(ctx))
        return NULL;
    pthread_mutex_lock(&ctx->lock);
    if (!ctx->cache_directory)
        folder = clattn__env_cache_directory(path, CLATTN__PATH_SIZE);
    else if (strlen(ctx->cache_directory) < CLATTN__PATH_SIZE)
        folder = strcpy(path, ctx->cache_directory);
    pthread_mutex_unlock(&ctx->lock);
    return folder;
}

/* The lock of a context that the caller only reads. */
static pthread_mutex_t *lock_of(const clattn_context *ctx)
{
    return &((clattn_context *)(uintptr_t)ctx)->lock;
}

/* Copy a text that the lock guards. */
static clattn_status copy_text(const clattn_context *ctx, bool build_log, char *text, size_t size)
{
    clattn_status status = clattn__context_check(ctx);
    if (status)
        return status;
    if (!text || size == 0)
        return CLATTN_NULL_ARGUMENT;
    pthread_mutex_lock(lock_of(ctx));
    const char *from = build_log ? (ctx->build_log ? ctx->build_log : "") : ctx->message;
    int n = snprintf(text, size, "%s", from);
    pthread_mutex_unlock(lock_of(ctx));
    return n >= 0 && (size_t)n < size ? CLATTN_OK : CLATTN_BUFFER_TOO_SHORT;
}

clattn_status clattn_context_message(const clattn_context *ctx, char *text, size_t size)
{
    return copy_text(ctx, false, text, size);
}

clattn_status clattn_context_build_log(const clattn_context *ctx, char *text, size_t size)
{
    return copy_text(ctx, true, text, size);
}

cl_int clattn_context_cl_error(const clattn_context *ctx)
{
    if (clattn__context_check(ctx))
        return CL_SUCCESS;
    pthread_mutex_lock(lock_of(ctx));
    cl_int code = ctx->cl_error;
    pthread_mutex_unlock(lock_of(ctx));
    return code;
}
