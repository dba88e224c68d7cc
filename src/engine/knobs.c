/* SPDX-License-Identifier: MIT
 * knobs.c - what tuning may set of an engine's shape: the one table of knobs and their values, and settings
 * as text.
 *
 * The table says what is worth trying.  Whether a value can be, with the others, on a device and for a task,
 * is the engine's answer: clattn__engine_choose with the engine's name and the setting takes it or refuses it
 * with a reason.
 */
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(CLATTN_MAX_VALUES >= 12, "the longest list of values");

static const char *const names[] = {
#define KNOB_NAME(name, meaning) #name,
    CLATTN__KNOBS(KNOB_NAME)
#undef KNOB_NAME
};
static const char *const meanings[] = {
#define KNOB_MEANING(name, meaning) meaning,
    CLATTN__KNOBS(KNOB_MEANING)
#undef KNOB_MEANING
};

#define SET(name) CLATTN__KNOB_##name
static const struct {
    const char *engine;
    enum clattn__knob knob;
    int32_t values[CLATTN_MAX_VALUES]; /* 0 behind the last */
} knobs[] = {
    {"vector", SET(rows), {16, 32, 48, 64}}, /* whole vectors of sixteen */
    /* from 512 on of few rows; 256 of both */
    {"vector", SET(keys), {32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096}},
    {"vector", SET(step), {2, 3, 4, 5, 6, 8, 12, 16}},
    {"vector", SET(tiles), {1, 2, 3, 4, 6, 8, 12, 16}},
    {"vector", SET(depth), {1, 2}},
    {"vector", SET(splits), {1, 2, 4, 8, 16, 32, 64}},
    {"portable", SET(rows), {1, 2, 4, 8, 16, 32, 64}},
    {"portable", SET(keys), {8, 16, 32, 64}},
    {"portable", SET(items), {16, 32, 64, 128, 256}},
    {"portable", SET(splits), {1, 2, 4, 8, 16, 32, 64}},
    {"blocked", SET(rows), {32, 64}},
    {"blocked", SET(keys), {32, 64, 128}},
    {"blocked", SET(chunk), {8, 16}},
    {"blocked", SET(items), {32, 64, 128}},
    {"blocked", SET(splits), {1, 2, 4, 8, 16, 32, 64}},
    {"blocked-large", SET(splits), {1, 2, 4, 8}},
    {"matrix-mma", SET(rows), {64, 128}},
    {"matrix-mma", SET(keys), {16, 32, 48, 64}},
    {"matrix-mma", SET(splits), {1, 2, 4, 8}},
    {"matrix-small", SET(rows), {64, 128}},
    {"matrix-small", SET(keys), {16, 32, 48, 64}},
    {"matrix-small", SET(splits), {1, 2, 4, 8}},
    {"matrix-tf32x3", SET(keys), {16, 32, 64}},
    {"matrix-tf32x3", SET(splits), {1, 2, 4, 8}},
    {"matrix-wgmma", SET(rows), {64, 128, 192}},
    {"matrix-wgmma", SET(depth), {2, 3}},
    {"matrix-wgmma", SET(splits), {1, 2, 4, 8}},
    {"matrix-decode", SET(keys), {16, 32, 64}},
    {"matrix-decode", SET(tiles), {1, 2, 4, 8}},
    {"matrix-decode", SET(splits), {1, 2, 4, 8, 16, 32, 64, 128}},
    {"decode-small", SET(keys), {16, 32, 64}},
    {"decode-small", SET(tiles), {1, 2}},
    {"decode-small", SET(splits), {1, 2, 4, 8, 16, 32, 64, 128}},
};

const int32_t *clattn__knob_values(const char *engine, enum clattn__knob knob, int *count)
{
    for (size_t i = 0; i < CLATTN__LEN(knobs); i++)
        if (knobs[i].knob == knob && !strcmp(knobs[i].engine, engine)) {
            for (*count = 0; *count < CLATTN_MAX_VALUES && knobs[i].values[*count];)
                ++*count;
            return knobs[i].values;
        }
    *count = 0;
    return NULL;
}

void clattn__knob_words(enum clattn__knob knob, const char **name, const char **meaning)
{
    *name = names[knob];
    *meaning = meanings[knob];
}

bool clattn__setting_is_empty(const struct clattn__setting *setting)
{
    static const struct clattn__setting empty;
    return !memcmp(setting, &empty, sizeof empty);
}

/* ---- as text ---- */
static bool refuse(char *reason, size_t size, const char *what, const char *text, size_t n)
{
    snprintf(reason, size, "%s '%.*s'", what, (int)(n < 40 ? n : 40), text);
    return false;
}

/* The number of "NAME=", or CLATTN__N_KNOBS. */
static int knob_named(const char *text, size_t n)
{
    int knob = 0;
    while (knob < CLATTN__N_KNOBS && (strlen(names[knob]) != n || memcmp(names[knob], text, n)))
        knob++;
    return knob;
}

/* "NAME=VALUE" of an engine, behind knob number `after`. */
static bool parse_knob(const char *text, size_t n, const char *engine, int *after,
                       struct clattn__setting *setting, char *reason, size_t size)
{
    const char *equals = memchr(text, '=', n);
    const size_t name = equals ? (size_t)(equals - text) : n;
    const int knob = knob_named(text, name);
    int count, value = 0;
    if (!equals || knob == CLATTN__N_KNOBS || knob <= *after)
        return refuse(reason, size, "not a knob, or not in its place:", text, n);
    for (size_t i = name + 1; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || value > 99999 || (i > name + 1 && value == 0))
            return refuse(reason, size, "not a number:", text, n);
        value = 10 * value + text[i] - '0';
    }
    const int32_t *values = clattn__knob_values(engine, (enum clattn__knob)knob, &count);
    for (int i = 0; i < count; i++)
        if (values[i] == value) {
            setting->knob[knob] = value;
            *after = knob;
            return true;
        }
    return refuse(reason, size, "not a value of this engine's knobs:", text, n);
}

/* One that is chosen by itself. */
static bool is_engine(const char *name)
{
    for (size_t i = 0; clattn__engines[i]; i++)
        if (!clattn__engines[i]->by_name && !strcmp(clattn__engines[i]->name, name))
            return true;
    return false;
}

bool clattn__setting_parse(const char *text, size_t n, char *engine, struct clattn__setting *setting,
                           char *reason, size_t size)
{
    const char *blank = memchr(text, ' ', n);
    size_t at = blank ? (size_t)(blank - text) : n;
    int after = -1;
    memset(setting, 0, sizeof *setting);
    if (at == 0 || at >= CLATTN_NAME_SIZE)
        return refuse(reason, size, "not an engine:", text, n);
    memcpy(engine, text, at);
    engine[at] = 0;
    if (!is_engine(engine))
        return refuse(reason, size, "not an engine:", text, n);
    while (at < n) {
        const char *word = text + ++at, *end = memchr(word, ' ', n - at);
        const size_t length = end ? (size_t)(end - word) : n - at;
        if (!parse_knob(word, length, engine, &after, setting, reason, size))
            return false;
        at += length;
    }
    return true;
}

void clattn__setting_print(const char *engine, const struct clattn__setting *setting,
                           struct clattn__text *out)
{
    int count;
    clattn__text_add(out, "%s", engine);
    for (int knob = 0; knob < CLATTN__N_KNOBS; knob++)
        if (setting->knob[knob] && clattn__knob_values(engine, (enum clattn__knob)knob, &count))
            clattn__text_add(out, " %s=%d", names[knob], (int)setting->knob[knob]);
}
