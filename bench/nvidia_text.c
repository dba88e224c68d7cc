/* SPDX-License-Identifier: MIT
 * nvidia_text.c - for nvidia_offline.py: what the library gives to NVIDIA's compiler for an H200, and its edits.
 *
 *     nvidia_text text PROBLEM [ENGINE [MASK [SCORE [ARRAY...]]]]
 *         the kernel's name; its options; what the editor is asked for, chip, items and bytes; the rules' text.
 *         The mask's corner is top left; an ARRAY is doc=i32[b,k] or slope=f32[h]
 *     nvidia_text edit CHIP ITEMS BYTES
 *         assembly from the input, edited
 *
 * Exit status 1, with a sentence, after a mistake or if the engine refuses. */
#include "attention/attention.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST (8u << 20)

static int refuse(const char *why)
{
    fprintf(stderr, "nvidia_text: %s\n", why);
    return 1;
}

static int edit(char **argv)
{
    const struct clattn__ptx_wish wish = {atoi(argv[0]), atoi(argv[1]), atoi(argv[2])};
    char *text = malloc(LARGEST), reason[160] = "";
    size_t size = text ? fread(text, 1, LARGEST, stdin) : 0;
    char *edited = text ? clattn__ptx_edit(text, &size, &wish, reason, sizeof reason) : NULL;
    free(text);
    if (!edited)
        return refuse(reason);
    fputs(edited, stdout);
    free(edited);
    return 0;
}

/* name=i32[b,k]: whole numbers or floats, of the problem's sizes. */
static void add_array(clattn_attention *a, const char *text)
{
    clattn_array *array = &a->arrays[a->n_arrays++];
    const char *at = strchr(text, '=');
    snprintf(array->name, sizeof array->name, "%.*s", at ? (int)(at - text) : 0, text);
    array->type = at && !strncmp(at, "=f32", 4) ? CLATTN_F32 : CLATTN_I32;
    for (at = strchr(text, '['); at && *at && *at != ']'; at++)
        if (strchr("bhqk", *at))
            array->dims[array->n_dims++] = *at == 'b'   ? a->batch
                                           : *at == 'h' ? a->heads
                                           : *at == 'q' ? a->q_len
                                                        : a->kv_len;
}

static int print_text(const struct clattn__problem *problem, struct clattn__launch *launch)
{
    static char rules[512 * 1024], options[1024];
    struct clattn__text text = clattn__text_into(options, sizeof options);
    clattn__meaning_fill(launch, &problem->a);
    clattn__spec_options(&launch->spec, &text);
    if (clattn__expr_kernel_text(problem->rules, rules, sizeof rules))
        return refuse("the rules' text");
    printf("%s\n-DFMA=1 -DMIN_BY_MASK=0 %s\n%d %d %d\n%s", launch->kernel_text, options, (int)launch->wish.chip,
           (int)launch->wish.group, (int)launch->wish.local_bytes, rules);
    return 0;
}

static int text(int argc, char **argv)
{
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    clattn_attention a = CLATTN_ATTENTION_INIT;
    struct clattn__problem problem;
    struct clattn__launch launch = {0};
    struct clattn__task task;
    const struct clattn__engine *engine;
    char why[1024] = "";
    struct clattn__text reasons = clattn__text_into(why, sizeof why);
    facts.type = CL_DEVICE_TYPE_GPU;
    facts.matrix_unit = CLATTN_MATRIX_WGMMA;
    facts.has_compiler = facts.has_fma = true;
    facts.compute_units = 132;
    facts.local_bytes = 48 << 10;
    facts.unit_local_bytes = 228 << 10;
    facts.largest_group = 1024;
    if (clattn_problem_parse(&a, argv[0], why, sizeof why))
        return refuse(why);
    if (argc > 2 && argv[2][0])
        a.pattern = clattn_mask(argv[2], CLATTN_TOP_LEFT);
    if (argc > 3)
        snprintf(a.score.text, sizeof a.score.text, "%s", argv[3]);
    for (int i = 4; i < argc && a.n_arrays < CLATTN_MAX_ARRAYS; i++)
        add_array(&a, argv[i]);
    if (clattn__problem_resolve(&problem, &a, why, sizeof why))
        return refuse(why);
    clattn__task_fill(&task, &problem);
    task.named = argc > 1 && argv[1][0];
    int failed = clattn__engine_choose(&facts, &task, task.named ? argv[1] : "", false, &engine, &launch, &reasons)
                     ? refuse(why)
                     : print_text(&problem, &launch);
    clattn__problem_free(&problem);
    return failed;
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "text"))
        return text(argc - 2, argv + 2);
    if (argc == 5 && !strcmp(argv[1], "edit"))
        return edit(argv + 2);
    return refuse("text PROBLEM [ENGINE [MASK [SCORE [ARRAY...]]]], or edit CHIP ITEMS BYTES");
}
