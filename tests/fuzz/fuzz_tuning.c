/* SPDX-License-Identifier: MIT
 * fuzz_tuning.c - a libFuzzer target: whatever the text, the reader of tuning keeps its promises
 * (clattn_tuning(5)).
 *
 * The first byte of an input says where the rest is cut in two.  A refused text changes no table and has a
 * sentence that may be shown.  Taken ones merge to a text that is sorted, taken too, that nothing is lost
 * from, and that merging leaves as it is; every entry found has a setting that prints and reads as itself. */
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                              \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "fuzz_tuning.c:%d: not so: %s\n", __LINE__, #condition); \
            abort();                                                                 \
        }                                                                            \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct clattn__problem_class class = {0, 64, 64, 3, 2048};
static const clattn_device_facts facts = {.size = sizeof facts, .name = "dev", .driver = "1.0"};

/* A text of its own length, so that a read past its end is seen. */
static char *text_of(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    MUST(text != NULL);
    memcpy(text, data, size);
    text[size] = 0;
    return text;
}

static void check_entries(const struct clattn__tuning *table)
{
    struct clattn__entry entry, last = {.layer = CLATTN__LAYERS};
    for (int i = 0; clattn__tuning_find(table, &class, i, &entry); i++) {
        char text[256], reason[160], engine[CLATTN_NAME_SIZE];
        struct clattn__setting again;
        struct clattn__text out = clattn__text_into(text, sizeof text);
        clattn__setting_print(entry.engine, &entry.setting, &out);
        MUST(!out.cut && clattn__setting_parse(text, strlen(text), engine, &again, reason, sizeof reason));
        MUST(!strcmp(engine, entry.engine) && !memcmp(&again, &entry.setting, sizeof again));
        MUST(!entry.block && entry.gain >= 0 && entry.layer <= last.layer);
        last = entry;
    }
    clattn__tuning_blocks(table, &class, "vector", &last.setting);
}

/* The first lines that block, as people see them. */
static void check_blocks(const char *text, bool good)
{
    clattn_tuning_block block = CLATTN_TUNING_BLOCK_INIT;
    char engine[CLATTN_NAME_SIZE], reason[160];
    struct clattn__setting setting;
    for (size_t i = 0, index = 0; i < 3 && clattn__tuning_block(&facts, text, &index, &block); index = ++i) {
        MUST(good && index == i && strlen(block.date) == 10 && block.problems[0] && !block.file[0]);
        MUST(clattn__setting_parse(block.setting, strlen(block.setting), engine, &setting, reason,
                                   sizeof reason));
        MUST(!block.reason[0] || strstr(text, block.reason));
    }
}

static bool fill(struct clattn__tuning *table, const char *text, int layer)
{
    char message[256] = "", tiny[2] = "x";
    bool good = clattn__tuning_fill(table, &facts, text, layer, message, sizeof message);
    MUST(good == !message[0] && (good || !strncmp(message, "line ", 5)));
    for (const char *c = message; *c; c++)
        MUST(*c >= ' ' && *c <= '~');
    if (!good)
        MUST(!clattn__tuning_fill(table, &facts, text, layer, tiny, 1) && tiny[1] == 0);
    return good;
}

static size_t lines_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void check_merged(const char *a, const char *b)
{
    const size_t room = strlen(a) + strlen(b) + 1;
    char *merged = malloc(room), *again = malloc(room);
    struct clattn__tuning *table = clattn__tuning_new();
    MUST(merged && again && table);
    MUST(clattn_tuning_merge(a, b, merged, room, NULL, 0) == CLATTN_OK);
    MUST(fill(table, merged, 0) && lines_of(merged) <= lines_of(a) + lines_of(b));
    MUST(clattn_tuning_merge(merged, merged, again, room, NULL, 0) == CLATTN_OK && !strcmp(merged, again));
    MUST(clattn_tuning_merge(merged, a, again, room, NULL, 0) == CLATTN_OK && !strcmp(merged, again));
    MUST(clattn_tuning_merge(b, merged, again, room, NULL, 0) == CLATTN_OK && !strcmp(merged, again));
    clattn__tuning_free(table);
    free(merged);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const size_t first = data[0] == 0 ? size - 1 : (size - 1) * data[0] / 256;
    char *a = text_of(data + 1, first), *b = text_of(data + 1 + first, size - 1 - first);
    struct clattn__tuning *table = clattn__tuning_new();
    MUST(table != NULL);
    bool good_a = fill(table, a, CLATTN__LAYER_SYSTEM), good_b = fill(table, b, CLATTN__LAYER_USER);
    check_entries(table);
    clattn__tuning_free(table);
    check_blocks(a, good_a);
    if (good_a)
        check_merged(a, good_b ? b : "clattn-tuning 1\n");
    free(a);
    free(b);
    return 0;
}
