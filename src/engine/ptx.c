/* SPDX-License-Identifier: MIT
 * ptx.c - the editor of NVIDIA's assembly (PTX): text in, text out; it refuses what it does not recognise.
 *
 * A kernel asks by what cl/engine/door.clh describes.  Edited are, each of which has to occur just once:
 *
 *     .target sm_90, ...             .target sm_90a, ...               instructions of that chip alone
 *     .shared ... memory[47552];     .shared ... memory[wanted];       local memory beyond what OpenCL grants
 *     .reqntid 384, 1, 1             .maxntid 384, 1, 1  .minnctapersm 1   or setmaxnreg is ignored
 *
 * and every mark "//@ " in front of an instruction is taken away.
 */
#include "engine/engine.h"
#include "door.clh"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_(x) #x
#define DIGITS(x) DIGITS_(x)
#define LARGEST (8u << 20) /* bytes of a text; ours have 100,000 */
#define GROWTH 256         /* that the single edits add at most */

struct edit {
    const struct clattn__ptx_wish *wish;
    struct clattn__text out;
    int versions, targets, entries, groups, memories, marks;
    const char *refusal;
};

static bool starts(const char *line, const char *with)
{
    return !strncmp(line, with, strlen(with));
}

/* "8.0" and later: what the instructions behind the door are known to. */
static bool version_is_known(const char *text)
{
    char *end;
    long major = strtol(text, &end, 10);
    return end != text && *end == '.' && major >= 8 && major <= 99;
}

/* .target sm_90, texmode_independent */
static void edit_target(struct edit *e, const char *line)
{
    char *end;
    const char *chip = line + strlen(".target sm_");
    long number = strtol(chip, &end, 10);
    e->targets++;
    if (end == chip || (*end && *end != ',')) {
        e->refusal = "its chip is not sm_ and a number";
    } else if (!e->wish->chip) {
        clattn__text_add(&e->out, "%s\n", line);
    } else if (number != e->wish->chip) {
        e->refusal = "it is for another chip than the kernel";
    } else {
        clattn__text_add(&e->out, ".target sm_%lda%s\n", number, end);
    }
}

/* .reqntid 384, 1, 1 */
static void edit_group(struct edit *e, const char *line)
{
    int items, y, z, length = 0;
    e->groups++;
    if (sscanf(line, ".reqntid %d, %d, %d%n", &items, &y, &z, &length) != 3 || line[length] ||
        items != e->wish->group || y != 1 || z != 1)
        e->refusal = "its work-group is not the kernel's";
    else if (e->wish->chip)
        clattn__text_add(&e->out, ".maxntid %d, 1, 1\n.minnctapersm 1\n", items);
    else
        clattn__text_add(&e->out, "%s\n", line);
}

static void edit_memory(struct edit *e, const char *line, const char *size)
{
    e->memories++;
    clattn__text_add(&e->out, "%.*s[%d];\n", (int)(size - line), line, (int)e->wish->local_bytes);
}

static void edit_line(struct edit *e, const char *line)
{
    static const char size[] = "[" DIGITS(DOOR_BYTES) "];";
    const char *text = line + strspn(line, " \t"), *found = strstr(text, size);
    if (starts(text, ".version ")) {
        e->versions++;
        if (!version_is_known(text + strlen(".version ")))
            e->refusal = "its version is not known";
        clattn__text_add(&e->out, "%s\n", line);
    } else if (starts(text, ".target sm_")) {
        edit_target(e, text);
    } else if (starts(text, ".reqntid ")) {
        edit_group(e, text);
    } else if (starts(text, ".shared ") && found && !found[strlen(size)]) {
        edit_memory(e, line, found);
    } else if (starts(text, DOOR)) {
        e->marks++;
        clattn__text_add(&e->out, "\t%s\n", text + strlen(DOOR));
    } else {
        e->entries += strstr(text, ".entry ") != NULL;
        clattn__text_add(&e->out, "%s\n", line);
    }
}

static const char *why_refused(const struct edit *e)
{
    if (e->refusal)
        return e->refusal;
    if (e->versions != 1 || e->targets != 1 || e->entries != 1 || e->groups != 1)
        return "it is not one kernel with one version, chip and work-group";
    if (e->memories != 1)
        return "the local memory to be enlarged is not there once";
    if (!e->marks != !e->wish->chip)
        return "the kernel's marked instructions are not as expected";
    return e->out.cut ? "it is too long" : NULL;
}

/* Whether the bytes are a text, but for zeros at the end. */
static bool is_text(const char *text, size_t *size)
{
    while (*size > 0 && text[*size - 1] == 0)
        --*size;
    for (size_t i = 0; i < *size; i++)
        if (!isprint((unsigned char)text[i]) && text[i] != '\n' && text[i] != '\t')
            return false;
    return *size > 0 && *size < LARGEST && text[*size - 1] == '\n';
}

char *clattn__ptx_edit(const char *text, size_t *bytes, const void *wish, char *reason, size_t reason_size)
{
    size_t size = *bytes;
    struct edit e = {.wish = wish};
    char *copy = NULL, *out = NULL;
    const char *why = NULL;
    if (!is_text(text, &size)) {
        why = "it is not a text";
    } else {
        copy = malloc(size + 1);
        out = malloc(size + GROWTH);
    }
    if (copy && out) {
        memcpy(copy, text, size);
        copy[size] = 0;
        e.out = clattn__text_into(out, size + GROWTH);
        char *rest = copy;
        while (*rest && !e.refusal) {
            char *line = rest, *end = strchr(line, '\n');
            rest = end + 1;
            *end = 0;
            edit_line(&e, line);
        }
        why = why_refused(&e);
    } else if (!why) {
        why = "no memory";
    }
    free(copy);
    if (!why) {
        *bytes = strlen(out);
        return out;
    }
    free(out);
    snprintf(reason, reason_size, "the driver's assembly: %s", why);
    return NULL;
}
