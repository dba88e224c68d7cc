/* SPDX-License-Identifier: MIT
 * tune.h - measured choices: which engine, in which shape, serves a class of problems best on a device.
 *
 * Tuning is lines of text (clattn_tuning(5)).  A context reads them in layers, each before the one above it:
 *     built-in      what the library brings
 *     system        $sysconfdir/clattn/tuning
 *     user          $CLATTN_TUNING, else $XDG_CONFIG_HOME/clattn/tuning, else $HOME/.config/clattn/tuning
 *     added         clattn_context_add_tuning
 * and a line that blocks something always wins, from whichever layer.  A plan takes the best line of its
 * class; its kernel is compared with the host at its first launch whatever the problem's flags, and where it
 * fails, the next best is taken, at the end what the library chooses by itself.  `clattn tune' measures and
 * writes such lines.  This part of the interface is younger than the rest: knobs and their values follow the
 * engines. */
#ifndef CLATTN_TUNE_H
#define CLATTN_TUNE_H

#include <clattn/attention.h>
#include <clattn/device.h>

#define CLATTN_MAX_VALUES 12

/* Something of an engine's shape that a line may set. */
typedef struct clattn_knob {
    size_t size;         /* sizeof(clattn_knob), set by CLATTN_KNOB_INIT */
    const char *name;    /* static */
    const char *meaning; /* static */
    int32_t count;       /* of values */
    int32_t values[CLATTN_MAX_VALUES]; /* what it may be given, rising */
} clattn_knob;
#define CLATTN_KNOB_INIT {sizeof(clattn_knob), NULL, NULL, 0, {0}}

/* Layers of a context, bits of clattn_context_set_tuning. */
#define CLATTN_TUNING_BUILT_IN 0x1u
#define CLATTN_TUNING_SYSTEM 0x2u
#define CLATTN_TUNING_USER 0x4u
#define CLATTN_TUNING_ADDED 0x8u
#define CLATTN_TUNING_ALL 0xfu

/* A line that blocks a setting on a device, and where it stands. */
typedef struct clattn_tuning_block {
    size_t size;       /* sizeof(clattn_tuning_block), set by CLATTN_TUNING_BLOCK_INIT */
    uint32_t layer;    /* CLATTN_TUNING_BUILT_IN, _SYSTEM or _USER */
    char problems[64]; /* their class: "f32 d64 prefill k2048", "* * * *" */
    char setting[192]; /* an engine, and values of knobs */
    char date[16];     /* 2026-11-26 */
    char reason[1024]; /* what stands behind the date: "", or why */
    char file[4096];   /* "": built in */
} clattn_tuning_block;
#define CLATTN_TUNING_BLOCK_INIT {sizeof(clattn_tuning_block), 0, "", "", "", "", ""}

CLATTN_BEGIN
/* Read knob number index (0, 1, ...) of an engine.  BAD_COUNT past its last one, and of an engine that has
 * none.  NULL_ARGUMENT, BAD_STRUCT_SIZE. */
CLATTN_API clattn_status clattn_knob_describe(const char *engine, size_t index, clattn_knob *knob);

/* Write what a setting ("vector rows=32 keys=128"; NULL: the library's own choice) comes to for a problem on
 * a device: the engine with the value of every knob.  Pure: nothing is built, no line of tuning is looked at.
 * Where it cannot be, the reason is written.  BAD_TUNING: it is no setting; ENGINE_REFUSED, NO_ENGINE:
 * device, problem or engine refuse it; NULL_ARGUMENT, BAD_STRUCT_SIZE, BUFFER_TOO_SHORT, and what
 * clattn_attention_check gives. */
CLATTN_API clattn_status clattn_tuning_resolve(const clattn_device_facts *facts,
                                               const clattn_attention *problem, const char *setting,
                                               char *text, size_t size);

/* Write the fields of a line that say for which device and problems it is: "DEVICE | DRIVER | CLASS".
 * NULL_ARGUMENT, BAD_STRUCT_SIZE, BUFFER_TOO_SHORT, and what clattn_attention_check gives. */
CLATTN_API clattn_status clattn_tuning_key(const clattn_device_facts *facts, const clattn_attention *problem,
                                           char *text, size_t size);

/* Merge two texts of tuning, of which newer may be NULL: sorted; of lines that say the same of the same the
 * later one, comments left out.  merged needs strlen(older) + strlen(newer) + 1 bytes at most.  Where a text
 * is refused, the sentence goes to message (may be NULL, 0).  BAD_TUNING, NULL_ARGUMENT, BUFFER_TOO_SHORT,
 * OUT_OF_HOST_MEMORY. */
CLATTN_API clattn_status clattn_tuning_merge(const char *older, const char *newer, char *merged, size_t size,
                                             char *message, size_t message_size);

/* Write the path of the user's file, "" where there is none.  NULL_ARGUMENT, BUFFER_TOO_SHORT. */
CLATTN_API clattn_status clattn_tuning_path(char *text, size_t size);

/* Read line number index (0, 1, ...) of those that block something on a device: of the user's file, the
 * system's, and what is built in, as a context that is opened now would have them; a file that is not right
 * counts for nothing.  BAD_COUNT past the last line.  NULL_ARGUMENT, BAD_STRUCT_SIZE. */
CLATTN_API clattn_status clattn_tuning_block_describe(const clattn_device_facts *facts, size_t index,
                                                      clattn_tuning_block *block);

/* Say which layers the plans of a context use from now on (CLATTN_TUNING_ALL is the default); files are read
 * again, once. */
CLATTN_API clattn_status clattn_context_set_tuning(clattn_context *ctx, uint32_t layers);

/* Add lines to a context: a whole text of tuning with its first line.  Nothing of a text that is refused is
 * added.  BAD_TUNING with the number of the line, NULL_ARGUMENT, OUT_OF_HOST_MEMORY. */
CLATTN_API clattn_status clattn_context_add_tuning(clattn_context *ctx, const char *text);
CLATTN_END

#endif
