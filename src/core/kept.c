/* SPDX-License-Identifier: MIT
 * kept.c - the programs that a context has built and keeps, so that plans of one specialisation build it
 * once. */
#include "core/core.h"

#include <string.h>

/* The lock is held. */
static struct clattn__kept *find_program(clattn_context *ctx, cl_program program)
{
    for (int i = 0; i < ctx->n_kept; i++)
        if (ctx->kept[i].program == program)
            return &ctx->kept[i];
    return NULL;
}

cl_program clattn__kept_find(clattn_context *ctx, const struct clattn__cache_key *key)
{
    cl_program found = NULL;
    pthread_mutex_lock(&ctx->lock);
    for (int i = 0; i < ctx->n_kept && !found; i++)
        if (!memcmp(&ctx->kept[i].key, key, sizeof *key) &&
            clRetainProgram(ctx->kept[i].program) == CL_SUCCESS)
            found = ctx->kept[i].program;
    pthread_mutex_unlock(&ctx->lock);
    return found;
}

void clattn__kept_add(clattn_context *ctx, const struct clattn__cache_key *key, cl_program program)
{
    cl_program old = NULL;
    if (clRetainProgram(program) != CL_SUCCESS)
        return;
    pthread_mutex_lock(&ctx->lock);
    int at = 0;
    while (at < ctx->n_kept && memcmp(&ctx->kept[at].key, key, sizeof *key))
        at++;
    if (at < ctx->n_kept) { /* built anew by another thread, or because the first could not be retained */
        old = ctx->kept[at].program;
    } else if (at == CLATTN__MAX_KEPT) { /* the oldest makes room */
        at = ctx->oldest_kept;
        ctx->oldest_kept = (at + 1) % CLATTN__MAX_KEPT;
        old = ctx->kept[at].program;
    } else {
        ctx->n_kept++;
    }
    ctx->kept[at] = (struct clattn__kept){*key, program, false};
    pthread_mutex_unlock(&ctx->lock);
    if (old)
        clReleaseProgram(old);
}

bool clattn__kept_is_proved(clattn_context *ctx, cl_program program)
{
    pthread_mutex_lock(&ctx->lock);
    const struct clattn__kept *kept = find_program(ctx, program);
    bool proved = kept && kept->proved;
    pthread_mutex_unlock(&ctx->lock);
    return proved;
}

void clattn__kept_prove(clattn_context *ctx, cl_program program)
{
    pthread_mutex_lock(&ctx->lock);
    struct clattn__kept *kept = find_program(ctx, program);
    if (kept)
        kept->proved = true;
    pthread_mutex_unlock(&ctx->lock);
}

void clattn__kept_free(clattn_context *ctx)
{
    for (int i = 0; i < ctx->n_kept; i++)
        clReleaseProgram(ctx->kept[i].program);
    ctx->n_kept = 0;
}
