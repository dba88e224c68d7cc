/* SPDX-License-Identifier: MIT
 * nvidia_text.c - for nvidia_offline.py: what the library gives to NVIDIA's compiler for an H200, and its
 * edits.
 *
 *     nvidia_text [OPTIONS] PROBLEM     as of `clattn explain': --engine, --mask, --score, --array ...
 *         the kernel's name; its options; what the editor is asked for, chip, items and bytes; the rules' text
 *     nvidia_text edit CHIP ITEMS BYTES
 *         assembly from the input, edited
 *
 * Exit status 2, with a sentence, after a mistake or if the engine refuses. */
#include "attention/attention.h"
#include "tool/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST (8u << 20)

static int edit(char **argv)
{
    const struct clattn__ptx_wish wish = {atoi(argv[0]), atoi(argv[1]), atoi(argv[2])};
    char *text = malloc(LARGEST), reason[160] = "";
    size_t size = text ? fread(text, 1, LARGEST, stdin) : 0;
    char *edited = text ? clattn__ptx_edit(text, &size, &wish, reason, sizeof reason) : NULL;
    free(text);
    if (!edited)
        return mistake("%s", reason);
    fputs(edited, stdout);
    free(edited);
    return 0;
}

static int print_text(const struct clattn__problem *problem, struct clattn__launch *launch)
{
    static char rules[512 * 1024], options[1024];
    struct clattn__text text = clattn__text_into(options, sizeof options);
    clattn__meaning_fill(launch, &problem->a);
    clattn__spec_options(&launch->spec, &text);
    if (clattn__expr_kernel_text(problem->rules, rules, sizeof rules))
        return mistake("the rules' text");
    printf("%s\n-DFMA=1 -DMIN_BY_MASK=0 %s\n%d %d %d\n%s", launch->kernel_text, options, (int)launch->wish.chip,
           (int)launch->wish.group, (int)launch->wish.local_bytes, rules);
    return 0;
}

static void fill_facts(clattn_device_facts *facts)
{
    *facts = (clattn_device_facts)CLATTN_DEVICE_FACTS_INIT;
    facts->type = CL_DEVICE_TYPE_GPU;
    facts->matrix_unit = CLATTN_MATRIX_WGMMA;
    facts->has_compiler = facts->has_fma = true;
    facts->compute_units = 132;
    facts->local_bytes = 48 << 10;
    facts->unit_local_bytes = 228 << 10;
    facts->largest_group = 1024;
}

static int text(const clattn_attention *a)
{
    clattn_device_facts facts;
    struct clattn__problem problem;
    struct clattn__launch launch = {0};
    struct clattn__task task;
    const struct clattn__engine *engine;
    char why[1024] = "";
    struct clattn__text reasons = clattn__text_into(why, sizeof why);
    if (clattn__problem_resolve(&problem, a, why, sizeof why))
        return mistake("%s", why);
    fill_facts(&facts);
    clattn__task_fill(&task, &problem);
    int failed = clattn__engine_choose(&facts, &task, a->engine, false, &engine, &launch, &reasons)
                     ? mistake("%s", why)
                     : print_text(&problem, &launch);
    clattn__problem_free(&problem);
    return failed;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {PROBLEM_OPTIONS, {NULL, 0, NULL, 0}};
    struct problem_options said = {.mask = NULL};
    clattn_attention a = CLATTN_ATTENTION_INIT;
    if (argc == 5 && !strcmp(argv[1], "edit"))
        return edit(argv + 2);
    for (int c; (c = next_option(argc, argv, options)) != -1;)
        if (c == '?' || c == OPTION_HELP || take_problem_option(&said, c))
            return EXIT_MISTAKE;
    if (optind + 1 != argc)
        return mistake("nvidia_text: one problem is wanted");
    return read_problem(&a, argv[optind], &said) ? EXIT_MISTAKE : text(&a);
}
