/* SPDX-License-Identifier: MIT
 * choose.c - which engine runs a task on a device: a pure function, with a reason for each refusal. */
#include "engine/engine.h"

#include <string.h>

const struct clattn__engine *const clattn__engines[] = {
    &clattn__engine_vector,   &clattn__engine_decode,        &clattn__engine_decode_small,   &clattn__engine_wgmma,
    &clattn__engine_mma,      &clattn__engine_mma_small,     &clattn__engine_tf32,           &clattn__engine_blocked_large,
    &clattn__engine_blocked,  &clattn__engine_portable,      &clattn__engine_generic,        &clattn__engine_decode_generic,
    NULL,
};

static bool is_an_engine(const char *name)
{
    size_t i = 0;
    while (clattn__engines[i] && strcmp(clattn__engines[i]->name, name))
        i++;
    return clattn__engines[i];
}

/* Whether an engine has the name; or, if none has, is chosen by itself and of that family. */
static bool is_named(const struct clattn__engine *engine, const char *name)
{
    size_t length = strlen(name);
    bool of_family = !engine->by_name && !strncmp(engine->name, name, length) && engine->name[length] == '-';
    return is_an_engine(name) ? !strcmp(engine->name, name) : of_family;
}

/* Whether an engine takes the device and the task; the reason goes to why as one line. */
static bool try_engine(const struct clattn__engine *engine, const clattn_device_facts *facts,
                       const struct clattn__task *task, struct clattn__launch *launch, bool *suits_device,
                       struct clattn__text *why)
{
    char reason[160] = "";
    memset(launch, 0, sizeof *launch); /* of an engine that was tried before nothing stays */
    *suits_device = engine->fits(facts, reason, sizeof reason);
    bool taken = *suits_device && engine->launch(facts, task, launch, reason, sizeof reason);
    clattn__text_add(why, "%s %s: %s\n", taken ? "takes" : "refuses", engine->name, reason);
    return taken;
}

size_t clattn__engine_number(const struct clattn__engine *engine)
{
    size_t i = 0;
    while (clattn__engines[i] != engine)
        i++;
    return i;
}

clattn_status clattn__engine_choose(const clattn_device_facts *facts, const struct clattn__task *task,
                                    const char *forced, bool strict, const struct clattn__engine **engine,
                                    struct clattn__launch *launch, struct clattn__text *why)
{
    bool suits;
    *engine = NULL;
    bool by_name = forced && forced[0], found = false;
    struct clattn__task asked = *task;
    asked.named = by_name;
    if (asked.splits == 0)
        asked.splits = CLATTN__KNOB(&task->setting, splits);
    for (size_t i = 0; clattn__engines[i]; i++) {
        if (by_name ? !is_named(clattn__engines[i], forced) : clattn__engines[i]->by_name)
            continue;
        found = true;
        if (task->failed >> i & 1) {
            clattn__text_add(
                why, "refuses %s: its kernel does not build or gives wrong numbers with this driver\n",
                clattn__engines[i]->name);
            continue;
        }
        if (try_engine(clattn__engines[i], facts, &asked, launch, &suits, why)) {
            *engine = clattn__engines[i];
            return CLATTN_OK;
        }
        const bool for_others = clattn__engines[i]->few_rows ||
                                (clattn__engines[i]->of_16_bits && task->type_k == CLATTN_F32);
        if (strict && suits && !by_name && !for_others)
            return CLATTN_ENGINE_REFUSED; /* the best engine of the device does not take the task */
    }
    return !by_name ? CLATTN_NO_ENGINE : found ? CLATTN_ENGINE_REFUSED : CLATTN_BAD_ENGINE;
}

clattn_status clattn_engine_describe(const clattn_device_facts *facts, size_t index, clattn_engine_fit *fit)
{
    if (!facts || !fit)
        return CLATTN_NULL_ARGUMENT;
    if (facts->size != sizeof *facts || fit->size != sizeof *fit)
        return CLATTN_BAD_STRUCT_SIZE;
    if (index >= CLATTN__LEN(clattn__engines) - 1)
        return CLATTN_BAD_COUNT;
    fit->engine = clattn__engines[index]->name;
    const struct clattn__engine *engine = clattn__engines[index];
    fit->fits = engine->fits(facts, fit->reason, sizeof fit->reason) && !engine->by_name;
    return CLATTN_OK;
}
