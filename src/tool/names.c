/* SPDX-License-Identifier: MIT
 * names.c - clattn rules, clattn mechanisms: what the library knows by name.  Needs no device. */
#include "tool/tool.h"

#include <jansson.h>
#include <string.h>

static const char *const corners[] = {"", "tl", "br"};

/* ---- rules ---- */
static const char rules_help[] = "usage: clattn rules\n\n"
                                 "Lists the rules that have names, for --mask, --score and --weight; [] "
                                 "stands behind a parameter that is an array.\n\n" HELP_HELP;

int command_rules(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, OPTION_HELP}, {0}};
    static const char *const uses[] = {"mask", "score", "weight"};
    clattn_named_rule rule = CLATTN_NAMED_RULE_INIT;
    int c = next_option(argc, argv, options);
    if (c == OPTION_HELP) {
        printf("%s", rules_help);
        return EXIT_GOOD;
    }
    if (c != -1)
        return EXIT_MISTAKE;
    if (argc > optind)
        return mistake("rules takes no argument");
    for (size_t i = 0; clattn_named_rule_describe(i, &rule) == CLATTN_OK; i++) {
        char call[96];
        snprintf(call, sizeof call, "%s%s%s%s", rule.name, rule.parameters[0] ? "(" : "", rule.parameters,
                 rule.parameters[0] ? ")" : "");
        printf("%-7s %-20s %-46s %s\n", uses[rule.use], call, rule.text, rule.meaning);
    }
    return EXIT_GOOD;
}

/* ---- mechanisms ---- */
static void print_line(const char *label, const char *text)
{
    if (text[0])
        printf("  %-11s %s\n", label, text);
}

static void print_mechanism(const clattn_mechanism *m)
{
    printf("%s: %s (arXiv %s)\n", m->name, m->title, m->paper);
    print_line("mask", m->mask);
    print_line("corner", corners[m->corner]);
    print_line("score", m->score);
    print_line("weight", m->weight);
    print_line("normaliser", m->normaliser == CLATTN_SOFTMAX ? "" : normaliser_words[m->normaliser]);
    if (m->scale == CLATTN_LOG_DIM_SCALE)
        print_line("scale", "log(dim)");
    else if (m->scale != CLATTN_DEFAULT_SCALE)
        printf("  %-11s %g\n", "scale", m->scale);
    print_line("arrays", m->arrays);
    for (int i = 0; i < m->n_scalars; i++)
        printf("  %-11s %s=%g\n", i ? "" : "scalars", m->scalars[i].name, m->scalars[i].value);
    print_line("mind", m->note);
    printf("  %-11s clattn_mechanism_apply(&problem, \"%s\", message, sizeof message);\n", "in C", m->name);
    printf("  %-11s clattn explain --mechanism %s attn:f32:h8:q2048:k2048:d64\n", "try", m->name);
}

static json_t *mechanism_json(const clattn_mechanism *m)
{
    json_t *scalars = json_object();
    for (int i = 0; i < m->n_scalars; i++)
        json_object_set_new(scalars, m->scalars[i].name, m->scalars[i].type == CLATTN_I32
                                                             ? json_integer((json_int_t)m->scalars[i].value)
                                                             : json_real(m->scalars[i].value));
    json_t *scale = m->scale == CLATTN_LOG_DIM_SCALE   ? json_string("log(dim)")
                    : m->scale == CLATTN_DEFAULT_SCALE ? json_string("1/sqrt(dim)")
                                                       : json_real(m->scale);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "name", m->name, "title",
                     m->title, "arxiv", m->paper, "mask", m->mask, "score", m->score, "weight", m->weight,
                     "normaliser", normaliser_words[m->normaliser], "corner", corners[m->corner], "arrays",
                     m->arrays, "note", m->note, "scale", scale, "scalars", scalars);
}

/* All of them, or the one called name. */
static int list_mechanisms(const char *name, bool as_json)
{
    clattn_mechanism m = CLATTN_MECHANISM_INIT;
    json_t *list = json_array();
    bool found = false;
    for (size_t i = 0; clattn_mechanism_describe(i, &m) == CLATTN_OK; i++) {
        if (name && strcmp(name, m.name))
            continue;
        found = true;
        if (as_json)
            json_array_append_new(list, mechanism_json(&m));
        else if (name)
            print_mechanism(&m);
        else
            printf("%-18s %-11s %s\n", m.name, m.paper, m.title);
    }
    if (as_json && found && json_dumpf(list, stdout, JSON_INDENT(2)) == 0)
        printf("\n");
    json_decref(list);
    return found ? EXIT_GOOD : mistake("'%s' is not a mechanism; `clattn mechanisms' lists them", name);
}

static const char mechanisms_help[] = "usage: clattn mechanisms [--json] [NAME]\n\n"
                                      "Lists attention as papers name it, for --mechanism, with the arXiv "
                                      "number of the paper; with NAME, all about one.\n\n"
                                      "  --json             the same and more as JSON\n" HELP_HELP;

int command_mechanisms(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, OPTION_HELP}, {0}};
    bool as_json = false;
    for (int c; (c = next_option(argc, argv, options)) != -1;) {
        if (c == OPTION_HELP) {
            printf("%s", mechanisms_help);
            return EXIT_GOOD;
        }
        if (c != 'j')
            return EXIT_MISTAKE;
        as_json = true;
    }
    if (argc - optind > 1)
        return mistake("mechanisms takes one name, and '%s' is given too", argv[optind + 1]);
    return list_mechanisms(argv[optind], as_json);
}
