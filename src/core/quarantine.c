/* SPDX-License-Identifier: MIT
 * quarantine.c - kernels that failed on this machine, remembered beside the program cache so that no later
 * plan tries them again.
 *
 * An entry is a note (cache.c) under the key of the program that failed.  The key is of kernel text, options,
 * device, driver and version of the library: another of these is another program, which is tried.  The note
 * says the device again, for lists.  Its lines are a word, a blank and a text, all of them, in this order;
 * anything else is no entry. */
#include "core/core.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define FORMAT "quarantine 1"

static const char *const words[] = {"clattn", "library", "platform", "device",  "vendor", "driver",
                                    "engine", "fault",   "details",  "problem", "date"};
enum { FORMAT_LINE, LIBRARY, PLATFORM, DEVICE, VENDOR, DRIVER, ENGINE, FAULT, DETAILS, PROBLEM, DATE, LINES };

/* Drivers and users write what they like: a line holds printable ASCII, and no more than this. */
#define LINE_SIZE 512

struct note {
    char line[LINES][LINE_SIZE];
};

static void set_line(struct note *note, int line, const char *text)
{
    size_t n = 0;
    for (; text[n] && n < LINE_SIZE - 1; n++)
        note->line[line][n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    note->line[line][n] = 0;
}

/* The lines that say whose an entry is. */
static void set_owner(struct note *note, const clattn_device_facts *facts)
{
    set_line(note, FORMAT_LINE, FORMAT);
    set_line(note, LIBRARY, CLATTN_VERSION);
    set_line(note, PLATFORM, facts->platform);
    set_line(note, DEVICE, facts->name);
    set_line(note, VENDOR, facts->vendor);
    set_line(note, DRIVER, facts->driver);
}

static bool same_owner(const struct note *a, const struct note *b)
{
    for (int i = FORMAT_LINE; i <= DRIVER; i++)
        if (strcmp(a->line[i], b->line[i]))
            return false;
    return true;
}

/* One line of a text, moved over; false if it is not a word and a printable text of fitting length. */
static bool read_line(const char **text, const char *word, char line[LINE_SIZE])
{
    size_t word_length = strlen(word), length = strcspn(*text, "\n");
    if ((*text)[length] != '\n' || length <= word_length || strncmp(*text, word, word_length) ||
        (*text)[word_length] != ' ')
        return false;
    const char *from = *text + word_length + 1;
    size_t n = length - word_length - 1;
    if (n >= LINE_SIZE)
        return false;
    for (size_t i = 0; i < n; i++)
        if (from[i] < ' ' || from[i] > '~')
            return false;
    memcpy(line, from, n);
    line[n] = 0;
    *text += length + 1;
    return true;
}

static bool read_note(struct clattn__cache *cache, const struct clattn__cache_key *key, struct note *note)
{
    char text[CLATTN__NOTE_SIZE];
    if (!clattn__cache_read_note(cache, key, text))
        return false;
    const char *at = text;
    for (int i = 0; i < LINES; i++)
        if (!read_line(&at, words[i], note->line[i]))
            return false;
    return !*at && note->line[ENGINE][0] && note->line[FAULT][0] &&
           strlen(note->line[DATE]) == strlen("2026-11-26");
}

static void fill_entry(const struct note *note, clattn_quarantine *entry)
{
    snprintf(entry->engine, sizeof entry->engine, "%.*s", (int)sizeof entry->engine - 1, note->line[ENGINE]);
    snprintf(entry->fault, sizeof entry->fault, "%.*s", (int)sizeof entry->fault - 1, note->line[FAULT]);
    snprintf(entry->details, sizeof entry->details, "%.*s", (int)sizeof entry->details - 1,
             note->line[DETAILS]);
    snprintf(entry->problem, sizeof entry->problem, "%.*s", (int)sizeof entry->problem - 1,
             note->line[PROBLEM]);
    snprintf(entry->date, sizeof entry->date, "%.*s", (int)sizeof entry->date - 1, note->line[DATE]);
}

/* ---- of a context ---- */
void clattn__quarantine_add(clattn_context *ctx, const struct clattn__cache_key *key,
                            const clattn_quarantine *entry)
{
    char path[CLATTN__PATH_SIZE], text[CLATTN__NOTE_SIZE], date[sizeof entry->date] = "0000-00-00";
    const char *folder = clattn__context_folder(ctx, path);
    struct clattn__cache *cache = folder ? clattn__cache_open(folder) : NULL;
    struct note note;
    struct tm day;
    time_t now = time(NULL);
    if (!cache)
        return;
    if (gmtime_r(&now, &day))
        strftime(date, sizeof date, "%Y-%m-%d", &day);
    set_owner(&note, &ctx->facts);
    set_line(&note, ENGINE, entry->engine);
    set_line(&note, FAULT, entry->fault);
    set_line(&note, DETAILS, entry->details);
    set_line(&note, PROBLEM, entry->problem);
    set_line(&note, DATE, date);
    struct clattn__text out = clattn__text_into(text, sizeof text);
    for (int i = 0; i < LINES; i++)
        clattn__text_add(&out, "%s %s\n", words[i], note.line[i]);
    if (!out.cut && clattn__cache_write_note(cache, key, text))
        clattn__log(ctx, "engine %s: its kernel for %s is quarantined, %s", entry->engine, entry->problem,
                    entry->fault);
    clattn__cache_close(cache);
}

bool clattn__quarantine_find(clattn_context *ctx, const struct clattn__cache_key *key,
                             clattn_quarantine *entry)
{
    char path[CLATTN__PATH_SIZE];
    const char *folder = clattn__context_folder(ctx, path);
    struct clattn__cache *cache = folder ? clattn__cache_find(folder) : NULL;
    struct note note, ours;
    if (!cache)
        return false;
    set_owner(&ours, &ctx->facts);
    bool found = read_note(cache, key, &note) && same_owner(&note, &ours);
    if (found)
        fill_entry(&note, entry);
    clattn__cache_close(cache);
    return found;
}

/* ---- of a device, for people ---- */
/* What is looked for in a folder, and what became of it. */
struct search {
    struct note owner;
    bool everyone; /* whoever's */
    bool forget;
    size_t index, count; /* entry number index; how many were seen */
    clattn_quarantine *entry;
    const char *folder;
};

static void fill_file(const char *folder, const struct clattn__cache_key *key, clattn_quarantine *entry)
{
    char name[CLATTN__NAME_SIZE];
    clattn__cache_note_name(key, name);
    const int n = snprintf(entry->file, sizeof entry->file, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof entry->file)
        entry->file[0] = 0;
}

static void visit(void *cookie, struct clattn__cache *cache, const struct clattn__cache_key *key)
{
    struct search *search = cookie;
    struct note note;
    bool whole = read_note(cache, key, &note);
    if (!search->everyone && !(whole && same_owner(&note, &search->owner)))
        return;
    if (search->forget)
        clattn__cache_remove_note(cache, key);
    else if (search->count == search->index) {
        fill_entry(&note, search->entry);
        fill_file(search->folder, key, search->entry);
    }
    search->count++;
}

static void look_through(const char *directory, struct search *search)
{
    char path[CLATTN__PATH_SIZE];
    const char *folder = directory ? directory : clattn__env_cache_directory(path, sizeof path);
    struct clattn__cache *cache = folder ? clattn__cache_find(folder) : NULL;
    search->folder = folder;
    if (cache)
        clattn__cache_each_note(cache, visit, search);
    clattn__cache_close(cache);
}

clattn_status clattn_quarantine_describe(const clattn_device_facts *facts, const char *directory,
                                         size_t index, clattn_quarantine *entry)
{
    if (!facts || !entry)
        return CLATTN_NULL_ARGUMENT;
    if (facts->size != sizeof *facts || entry->size != sizeof *entry)
        return CLATTN_BAD_STRUCT_SIZE;
    struct search search = {.index = index, .entry = entry};
    set_owner(&search.owner, facts);
    look_through(directory, &search);
    return index < search.count ? CLATTN_OK : CLATTN_BAD_COUNT;
}

clattn_status clattn_quarantine_forget(const clattn_device_facts *facts, const char *directory, size_t *count)
{
    if (facts && facts->size != sizeof *facts)
        return CLATTN_BAD_STRUCT_SIZE;
    struct search search = {.everyone = !facts, .forget = true};
    if (facts)
        set_owner(&search.owner, facts);
    look_through(directory, &search);
    if (count)
        *count = search.count;
    return CLATTN_OK;
}
