/* SPDX-License-Identifier: MIT
 * failure.c - sentences: the latest failure of a context, the log, text that never overflows. */
#include "core/core.h"

#include <stdio.h>
#include <string.h>

struct clattn__text clattn__text_into(char *buffer, size_t size)
{
    struct clattn__text text = {buffer, size, 0, size == 0};
    if (size)
        buffer[0] = 0;
    return text;
}

void clattn__text_add(struct clattn__text *text, const char *fmt, ...)
{
    if (text->cut)
        return;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text->at + text->used, text->size - text->used, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= text->size - text->used) {
        text->cut = true;
        text->used = strlen(text->at);
    } else {
        text->used += (size_t)n;
    }
}

void clattn__log(clattn_context *ctx, const char *fmt, ...)
{
    char line[CLATTN__MESSAGE_SIZE];
    pthread_mutex_lock(&ctx->lock);
    clattn_log_callback log = ctx->log;
    void *cookie = ctx->log_cookie;
    pthread_mutex_unlock(&ctx->lock);
    if (!log)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    log(cookie, line);
}

clattn_status clattn__fail(clattn_context *ctx, clattn_status status, cl_int cl_error, const char *fmt, ...)
{
    char message[CLATTN__MESSAGE_SIZE], details[CLATTN__MESSAGE_SIZE];
    struct clattn__text text = clattn__text_into(message, sizeof message);
    va_list args;
    va_start(args, fmt);
    vsnprintf(details, sizeof details, fmt, args);
    va_end(args);
    clattn__text_add(&text, "%s%s", clattn_status_text(status), details[0] ? ": " : "");
    size_t left = sizeof message - text.used;
    snprintf(message + text.used, left, "%.*s", (int)left - 1, details);
    pthread_mutex_lock(&ctx->lock);
    memcpy(ctx->message, message, sizeof message);
    ctx->cl_error = cl_error;
    pthread_mutex_unlock(&ctx->lock);
    /* a log has lines */
    clattn__log(ctx, "%s: %.*s", clattn_status_name(status), (int)strcspn(message, "\n"), message);
    return status;
}

clattn_status clattn__fail_cl(clattn_context *ctx, const char *call, cl_int cl_error)
{
    clattn_status status = CLATTN_OPENCL_FAILED;
    if (cl_error == CL_OUT_OF_HOST_MEMORY)
        status = CLATTN_OUT_OF_HOST_MEMORY;
    else if (cl_error == CL_MEM_OBJECT_ALLOCATION_FAILURE || cl_error == CL_OUT_OF_RESOURCES ||
             cl_error == CL_INVALID_BUFFER_SIZE)
        status = CLATTN_OUT_OF_DEVICE_MEMORY;
    return clattn__fail(ctx, status, cl_error, "%s gave OpenCL code %d", call, (int)cl_error);
}
