/* SPDX-License-Identifier: MIT
 * tuned.c - a context's layers of tuning, and which line serves a plan. */
#include "attention/attention.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSTEM_FILE SYSCONFDIR "/clattn/tuning"

static const char *const layer_names[CLATTN__LAYERS] = {"built in", "the system's file", "the user's file",
                                                        "the program"};

/* ---- layers ---- */
/* A file's text; NULL if there is none that may be read. */
static char *read_file(const char *path)
{
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    char *text = fd >= 0 ? clattn__read_text(fd) : NULL;
    if (fd >= 0)
        close(fd);
    return text;
}

/* A file that is not right is as good as none, and the log says so. */
static void add_file(clattn_context *ctx, struct clattn__tuning *table, const char *path, int layer)
{
    char message[256];
    char *text = read_file(path);
    if (text && !clattn__tuning_fill(table, &ctx->facts, text, layer, message, sizeof message))
        clattn__log(ctx, "tuning: %s is not used: %s", path, message);
    free(text);
}

/* The layers below the added one. */
static void read_layers(clattn_context *ctx, struct clattn__tuning *table, uint32_t layers)
{
    char path[CLATTN__PATH_SIZE], message[256];
    if (layers & CLATTN_TUNING_BUILT_IN &&
        !clattn__tuning_fill(table, &ctx->facts, clattn__tuning_built_in, CLATTN__LAYER_BUILT_IN, message,
                             sizeof message))
        clattn__log(ctx, "tuning: what is built in is not used: %s", message);
    if (layers & CLATTN_TUNING_SYSTEM && clattn__env_wants_tuning())
        add_file(ctx, table, SYSTEM_FILE, CLATTN__LAYER_SYSTEM);
    if (layers & CLATTN_TUNING_USER)
        add_file(ctx, table, clattn__env_tuning_file(path, sizeof path), CLATTN__LAYER_USER);
}

clattn_status clattn_tuning_path(char *text, size_t size)
{
    char path[CLATTN__PATH_SIZE];
    if (!text || size == 0)
        return CLATTN_NULL_ARGUMENT;
    const char *user = clattn__env_tuning_file(path, sizeof path);
    int n = snprintf(text, size, "%s", user ? user : "");
    return n >= 0 && (size_t)n < size ? CLATTN_OK : CLATTN_BUFFER_TOO_SHORT;
}

clattn_status clattn_tuning_block_describe(const clattn_device_facts *facts, size_t index,
                                           clattn_tuning_block *block)
{
    char user[CLATTN__PATH_SIZE];
    if (!facts || !block)
        return CLATTN_NULL_ARGUMENT;
    if (facts->size != sizeof *facts || block->size != sizeof *block)
        return CLATTN_BAD_STRUCT_SIZE;
    const struct {
        uint32_t layer;
        const char *path;
    } files[] = {{CLATTN_TUNING_USER, clattn__env_tuning_file(user, sizeof user)},
                 {CLATTN_TUNING_SYSTEM, clattn__env_wants_tuning() ? SYSTEM_FILE : NULL}};
    for (size_t i = 0; i < CLATTN__LEN(files); i++) {
        char *text = read_file(files[i].path);
        const bool found = text && clattn__tuning_block(facts, text, &index, block);
        free(text);
        if (!found)
            continue;
        block->layer = files[i].layer;
        snprintf(block->file, sizeof block->file, "%s", files[i].path);
        return CLATTN_OK;
    }
    block->layer = CLATTN_TUNING_BUILT_IN;
    return clattn__tuning_block(facts, clattn__tuning_built_in, &index, block) ? CLATTN_OK : CLATTN_BAD_COUNT;
}

/* The first plan reads the layers; of several threads the first to be done counts.  false: out of memory. */
static bool read_once(clattn_context *ctx)
{
    pthread_mutex_lock(&ctx->lock);
    bool is_read = ctx->tuning_is_read;
    uint32_t layers = ctx->tuning_layers;
    pthread_mutex_unlock(&ctx->lock);
    struct clattn__tuning *table = is_read ? NULL : clattn__tuning_new();
    if (!table)
        return is_read;
    read_layers(ctx, table, layers);
    pthread_mutex_lock(&ctx->lock);
    if (!ctx->tuning_is_read && ctx->tuning_layers == layers) {
        ctx->tuning_is_read = true;
        ctx->tuning = table;
        table = NULL;
    }
    pthread_mutex_unlock(&ctx->lock);
    clattn__tuning_free(table);
    return true;
}

clattn_status clattn_context_set_tuning(clattn_context *ctx, uint32_t layers)
{
    clattn_status status = clattn__context_check(ctx);
    if (status)
        return status;
    if (layers & ~CLATTN_TUNING_ALL)
        return clattn__fail(ctx, CLATTN_BAD_FLAGS, CL_SUCCESS, "the layers of tuning are 0x%x",
                            (unsigned)layers);
    pthread_mutex_lock(&ctx->lock);
    struct clattn__tuning *old = ctx->tuning;
    ctx->tuning = NULL;
    ctx->tuning_is_read = false;
    ctx->tuning_layers = layers;
    pthread_mutex_unlock(&ctx->lock);
    clattn__tuning_free(old);
    return CLATTN_OK;
}

clattn_status clattn_context_add_tuning(clattn_context *ctx, const char *text)
{
    char message[256] = "";
    clattn_status status = clattn__context_check(ctx);
    if (status)
        return status;
    if (!text)
        return clattn__fail(ctx, CLATTN_NULL_ARGUMENT, CL_SUCCESS, "%s", "text");
    bool there = false, wanted = false, good = false;
    while (!there && read_once(ctx)) { /* another thread may change the layers meanwhile */
        pthread_mutex_lock(&ctx->lock);
        there = ctx->tuning_is_read;
        wanted = ctx->tuning_layers & CLATTN_TUNING_ADDED;
        if (there && wanted)
            good = clattn__tuning_fill(ctx->tuning, &ctx->facts, text, CLATTN__LAYER_ADDED, message,
                                       sizeof message);
        pthread_mutex_unlock(&ctx->lock);
    }
    if (!there || !strcmp(message, "out of memory"))
        return clattn__fail(ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "%s", "tuning");
    if (!wanted)
        return clattn__fail(ctx, CLATTN_BAD_FLAGS, CL_SUCCESS, "%s",
                            "added lines are switched off (clattn_context_set_tuning)");
    return good ? CLATTN_OK : clattn__fail(ctx, CLATTN_BAD_TUNING, CL_SUCCESS, "%s", message);
}

static bool find(clattn_context *ctx, const struct clattn__problem_class *class, int index,
                 struct clattn__entry *entry)
{
    pthread_mutex_lock(&ctx->lock);
    bool found = clattn__tuning_find(ctx->tuning, class, index, entry);
    pthread_mutex_unlock(&ctx->lock);
    return found;
}

static bool blocks(clattn_context *ctx, const struct clattn__problem_class *class, const char *engine,
                   const struct clattn__setting *setting)
{
    pthread_mutex_lock(&ctx->lock);
    bool blocked = clattn__tuning_blocks(ctx->tuning, class, engine, setting);
    pthread_mutex_unlock(&ctx->lock);
    return blocked;
}

/* ---- the choice of a plan ---- */
/* Whether a line's engine may serve a problem that names one, or is strict about the device's best. */
static bool may_serve(const clattn_plan *plan, const struct clattn__task *task, const char *engine)
{
    const clattn_attention *a = &plan->problem.a;
    const struct clattn__engine *chosen;
    struct clattn__launch launch = {0};
    struct clattn__text nowhere = clattn__text_into(NULL, 0);
    if (!a->engine[0] && !(a->flags & CLATTN_STRICT))
        return true;
    return clattn__engine_choose(&plan->ctx->facts, task, a->engine, a->flags & CLATTN_STRICT, &chosen,
                                 &launch, &nowhere) == CLATTN_OK &&
           !strcmp(chosen->name, engine);
}

/* By line number `number`, if its engine takes it and none blocks it. */
static bool take_line(clattn_plan *plan, const struct clattn__task *task,
                      const struct clattn__problem_class *class, const struct clattn__entry *entry,
                      int number, struct clattn__text *why)
{
    char text[192];
    struct clattn__task set = *task;
    struct clattn__text setting = clattn__text_into(text, sizeof text);
    clattn__setting_print(entry->engine, &entry->setting, &setting);
    if (!may_serve(plan, task, entry->engine))
        return false;
    set.setting = entry->setting;
    if (clattn__engine_choose(&plan->ctx->facts, &set, entry->engine, false, &plan->engine, &plan->launch,
                              why))
        return false;
    if (blocks(plan->ctx, class, plan->engine->name, &plan->launch.setting)) {
        clattn__text_add(why, "refuses %s: a line of tuning blocks it\n", text);
        return false;
    }
    clattn__text_add(why, "tuned by %s: %s, %d.%03d times as fast\n", layer_names[entry->layer], text,
                     (int)entry->gain / 1000, (int)entry->gain % 1000);
    plan->is_tuned = true;
    plan->tuned_number = number;
    plan->tuned_setting = entry->setting;
    return true;
}

/* The library's own choice among engines that no line blocks. */
static clattn_status choose_untuned(clattn_plan *plan, const struct clattn__task *task,
                                    const struct clattn__problem_class *class, struct clattn__text *why)
{
    const clattn_attention *a = &plan->problem.a;
    struct clattn__task left = *task;
    for (;;) {
        clattn_status status = clattn__engine_choose(
            &plan->ctx->facts, &left, a->engine, a->flags & CLATTN_STRICT, &plan->engine, &plan->launch, why);
        if (status || a->engine[0] || !blocks(plan->ctx, class, plan->engine->name, &plan->launch.setting))
            return status;
        clattn__text_add(why, "refuses %s: a line of tuning blocks it\n", plan->engine->name);
        if (a->flags & CLATTN_STRICT)
            return CLATTN_ENGINE_REFUSED;
        left.failed |= 1u << clattn__engine_number(plan->engine);
    }
}

clattn_status clattn__tuned_choose(clattn_plan *plan, const struct clattn__task *task, int from,
                                   struct clattn__text *why)
{
    struct clattn__problem_class class;
    struct clattn__entry entry;
    read_once(plan->ctx);
    clattn__problem_class_of(&plan->ctx->facts, task, &class);
    /* a selection's tiles follow its lists */
    for (int number = from; task->list_rows == 0 && find(plan->ctx, &class, number, &entry); number++)
        if (take_line(plan, task, &class, &entry, number, why))
            return CLATTN_OK;
    return choose_untuned(plan, task, &class, why);
}

/* ---- without a plan ---- */
/* The task of a problem; the caller frees the problem, whatever is returned. */
static clattn_status make_task(const clattn_device_facts *facts, const clattn_attention *a,
                               struct clattn__problem *problem, struct clattn__task *task, char *text,
                               size_t size)
{
    memset(problem, 0, sizeof *problem);
    if (!facts || !a || !text || size == 0)
        return CLATTN_NULL_ARGUMENT;
    if (facts->size != sizeof *facts)
        return CLATTN_BAD_STRUCT_SIZE;
    clattn_status status = clattn__problem_resolve(problem, a, text, size);
    if (!status)
        clattn__task_fill(task, problem);
    return status;
}

clattn_status clattn_tuning_key(const clattn_device_facts *facts, const clattn_attention *a, char *text,
                                size_t size)
{
    struct clattn__problem problem;
    struct clattn__task task;
    struct clattn__problem_class class;
    clattn_status status = make_task(facts, a, &problem, &task, text, size);
    if (!status) {
        struct clattn__text out = clattn__text_into(text, size);
        clattn__problem_class_of(facts, &task, &class);
        clattn__tuning_key(facts, &class, &out);
        status = out.cut ? CLATTN_BUFFER_TOO_SHORT : CLATTN_OK;
    }
    clattn__problem_free(&problem);
    return status;
}

/* A status with a reason: its first line, without the words before a colon. */
static clattn_status say_reason(clattn_status status, const char *why, char *text, size_t size)
{
    const char *colon = strncmp(why, "refuses ", 8) ? NULL : strchr(why, ':'),
               *reason = colon ? colon + 2 : why;
    snprintf(text, size, "%s: %.*s", clattn_status_text(status), (int)strcspn(reason, "\n"), reason);
    return status;
}

static clattn_status resolve(const clattn_device_facts *facts, const clattn_attention *a,
                             struct clattn__task *task, const char *setting, char *text, size_t size)
{
    char engine[CLATTN_NAME_SIZE] = "", reason[160], reasons[CLATTN__WHY_SIZE];
    const struct clattn__engine *chosen;
    struct clattn__launch launch = {0};
    struct clattn__text why = clattn__text_into(reasons, sizeof reasons), out = clattn__text_into(text, size);
    if (setting &&
        !clattn__setting_parse(setting, strlen(setting), engine, &task->setting, reason, sizeof reason))
        return say_reason(CLATTN_BAD_TUNING, reason, text, size);
    clattn_status status =
        clattn__engine_choose(facts, task, setting ? engine : a->engine, false, &chosen, &launch, &why);
    if (status)
        return say_reason(status, reasons, text, size);
    clattn__setting_print(chosen->name, &launch.setting, &out);
    return out.cut ? CLATTN_BUFFER_TOO_SHORT : CLATTN_OK;
}

clattn_status clattn_tuning_resolve(const clattn_device_facts *facts, const clattn_attention *a,
                                    const char *setting, char *text, size_t size)
{
    struct clattn__problem problem;
    struct clattn__task task;
    clattn_status status = make_task(facts, a, &problem, &task, text, size);
    if (!status)
        status = resolve(facts, a, &task, setting, text, size);
    clattn__problem_free(&problem);
    return status;
}
