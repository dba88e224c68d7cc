/* SPDX-License-Identifier: MIT
 * options.c - a problem from the command line: its text, and what the problem language cannot say. */
#include "tool/tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int read_count(const char *option, const char *text, long long least, long long *value)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    if (errno || end == text || *end || *value < least)
        return mistake("%s '%s' is not a whole number of %lld or more", option, text, least);
    return 0;
}

int read_seconds(const char *option, const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    if (end == text || *end || !(*value >= 0.01 && *value <= 1e6))
        return mistake("%s '%s' is no number of seconds from 0.01 to 1000000", option, text);
    return 0;
}

/* ---- the options themselves ---- */
/* What getopt_long did not take: it says '?' for all three. */
static void explain_option(const char *command, const char *given, const struct option *options)
{
    size_t n = strcspn(given, "="), matches = 0;
    for (int i = 0; !strncmp(given, "--", 2) && options[i].name; i++)
        matches += !strncmp(options[i].name, given + 2, n - 2);
    if (matches == 0)
        mistake("'%s' is not an option of `clattn %s'; `clattn %s --help' lists them", given, command,
                command);
    else if (matches == 1)
        mistake("%.*s takes no value, and '%s' is given", (int)n, given, given + n + (given[n] == '='));
    else
        mistake("'%s' begins several options of `clattn %s'; write it out", given, command);
}

int next_option(int argc, char **argv, const struct option *options)
{
    int before = optind;
    opterr = 0; /* getopt's own sentences do not say what would be right */
    int c = getopt_long(argc, argv, ":", options, NULL);
    if (c == ':')
        mistake("%s needs a value; `clattn %s --help' says which", argv[optind - 1], argv[0]);
    if (c == '?')
        explain_option(argv[0], argv[optind > before ? optind - 1 : optind], options);
    return c == ':' ? '?' : c;
}

static int add_name(const char **list, int *count, int most, const char *option)
{
    if (*count == most)
        return mistake("%s may be given %d times at most", option, most);
    list[(*count)++] = optarg;
    return 0;
}

int take_problem_option(struct problem_options *o, int option)
{
    switch (option) {
    case OPTION_ENGINE: o->engine = optarg; return 0;
    case OPTION_MECHANISM: o->mechanism = optarg; return 0;
    case OPTION_MASK: o->mask = optarg; return 0;
    case OPTION_CORNER: o->corner = optarg; return 0;
    case OPTION_SCORE: o->score = optarg; return 0;
    case OPTION_WEIGHT: o->weight = optarg; return 0;
    case OPTION_NORMALISER: o->normaliser = optarg; return 0;
    case OPTION_SCALAR: return add_name(o->scalars, &o->n_scalars, CLATTN_MAX_SCALARS, "--scalar");
    case OPTION_ARRAY: return add_name(o->arrays, &o->n_arrays, CLATTN_MAX_ARRAYS, "--array");
    default: return EXIT_MISTAKE; /* '?': next_option has said it */
    }
}

bool options_need_problem(const struct problem_options *o)
{
    return o->mechanism || o->mask || o->corner || o->score || o->weight || o->normaliser || o->n_scalars ||
           o->n_arrays;
}

static void print_quoted(FILE *to, const char *value)
{
    fputs(" '", to);
    for (; *value; value++)
        if (*value == '\'')
            fputs("'\\''", to);
        else
            fputc(*value, to);
    fputc('\'', to);
}

void print_word(FILE *to, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,+@%";
    if (word[0] && strspn(word, plain) == strlen(word))
        fprintf(to, " %s", word);
    else
        print_quoted(to, word);
}

static void print_option(FILE *to, const char *name, const char *value)
{
    fprintf(to, " %s", name);
    print_quoted(to, value);
}

void print_problem_options(FILE *to, const struct problem_options *o)
{
    if (o->engine)
        print_option(to, "--engine", o->engine);
    if (o->mechanism)
        print_option(to, "--mechanism", o->mechanism);
    if (o->mask)
        print_option(to, "--mask", o->mask);
    if (o->corner)
        print_option(to, "--corner", o->corner);
    if (o->score)
        print_option(to, "--score", o->score);
    if (o->weight)
        print_option(to, "--weight", o->weight);
    if (o->normaliser)
        print_option(to, "--normaliser", o->normaliser);
    for (int i = 0; i < o->n_scalars; i++)
        print_option(to, "--scalar", o->scalars[i]);
    for (int i = 0; i < o->n_arrays; i++)
        print_option(to, "--array", o->arrays[i]);
}

/* ---- from options to a problem ---- */
/* Splits "NAME=REST"; returns REST, "" where there is no '=', or NULL if the name is too long or empty. */
static const char *split_name(const char *text, char name[CLATTN_NAME_SIZE])
{
    size_t n = strcspn(text, "=");
    if (n == 0 || n >= CLATTN_NAME_SIZE)
        return NULL;
    memcpy(name, text, n);
    name[n] = 0;
    return text + n + (text[n] == '=');
}

static int read_scalar(clattn_scalar *scalar, const char *text)
{
    const char *rest = split_name(text, scalar->name);
    char *end;
    if (!rest || !strchr(text, '='))
        return mistake("--scalar '%s' is not NAME=VALUE with a name of 15 letters at most", text);
    scalar->value = strtod(rest, &end);
    scalar->type = rest[strspn(rest, "+-0123456789")] ? CLATTN_F32 : CLATTN_I32;
    if (end == rest || *end)
        return mistake("--scalar '%s': the value is neither a whole number nor a decimal one", text);
    return 0; /* the library says what does not fit */
}

static const char *const element_words[] = {"f32", "f16", "bf16", "i32", "i8", "bits"};

/* Whether what stands behind NAME= is TYPE[dims] or nothing. */
static bool is_declared_array(const char *rest)
{
    size_t n = strcspn(rest, "[");
    for (size_t i = 0; i < sizeof element_words / sizeof element_words[0]; i++)
        if (rest[n] && strlen(element_words[i]) == n && !strncmp(rest, element_words[i], n))
            return true;
    return rest[0] == 0;
}

const char *array_file(const char *option)
{
    const char *file = strchr(option, '=');
    return file && !is_declared_array(file + 1) ? file + 1 : NULL;
}

/* A dimension: a number, or b h g q k of the problem. */
static const char *read_dimension(const clattn_attention *problem, const char *p, int64_t *dimension)
{
    const int64_t sizes[] = {problem->batch, problem->heads, problem->kv_heads, problem->q_len,
                             problem->kv_len};
    const char *letter = *p ? strchr("bhgqk", *p) : NULL;
    char *end;
    if (letter) {
        int64_t size = sizes[letter - "bhgqk"];
        *dimension = size > 0 ? size : 1;
        return p + 1;
    }
    *dimension = strtoll(p, &end, 10);
    return end > p ? end : NULL;
}

/* "TYPE[d0,d1,...]" */
static int declare_array(const clattn_attention *problem, clattn_array *array, const char *rest)
{
    const char *p = rest + strcspn(rest, "[");
    while (array->type < CLATTN_BITS && strncmp(rest, element_words[array->type], (size_t)(p - rest)))
        array->type++;
    do {
        if (array->n_dims == CLATTN_MAX_DIMS)
            return mistake("--array ...=%s: four dimensions are the most", rest);
        p = read_dimension(problem, p + 1, &array->dims[array->n_dims++]);
    } while (p && *p == ',');
    if (!p || strcmp(p, "]"))
        return mistake(
            "--array ...=%s: dimensions are numbers or b h g q k between '[' and ']', as in i32[b,k]", rest);
    return 0;
}

/* NAME=FILE.npy takes type and dimensions from the file (load_arrays its content); NAME=TYPE[dims] is
 * random. */
static int read_array(const clattn_attention *problem, clattn_array *array, const char *text)
{
    const char *rest = split_name(text, array->name), *file = array_file(text);
    if (!rest)
        return mistake(
            "--array '%s' is not NAME=FILE.npy or NAME=TYPE[dims] with a name of 15 letters at most", text);
    return file ? describe_array(file, array) : declare_array(problem, array, rest[0] ? rest : "i32[b]");
}

static int read_names(clattn_attention *problem, const struct problem_options *o)
{
    for (int i = 0; i < o->n_scalars; i++)
        if (read_scalar(&problem->scalars[i], o->scalars[i]))
            return EXIT_MISTAKE;
    problem->n_scalars = o->n_scalars;
    for (int i = 0; i < o->n_arrays; i++)
        if (read_array(problem, &problem->arrays[i], o->arrays[i]))
            return EXIT_MISTAKE;
    problem->n_arrays = o->n_arrays;
    return 0;
}

static int read_corner(clattn_corner *corner, const struct problem_options *o)
{
    *corner = CLATTN_NO_CORNER;
    if (o->corner && !strcmp(o->corner, "tl"))
        *corner = CLATTN_TOP_LEFT;
    else if (o->corner && !strcmp(o->corner, "br"))
        *corner = CLATTN_BOTTOM_RIGHT;
    else if (o->corner)
        return mistake("--corner takes tl or br, not '%s'", o->corner);
    if (o->corner && !o->mechanism && !o->mask && !o->score && !o->weight)
        return mistake("--corner goes with --mechanism, --mask, --score or --weight; the problem's own "
                       "pattern ends in its corner, "
                       "as causal-%s",
                       o->corner);
    return 0;
}

/* A mechanism's mask would take the place of the problem's pattern: nobody who writes both means that. */
static int read_mechanism(clattn_attention *problem, const struct problem_options *o, clattn_corner corner)
{
    char message[1024];
    clattn_pattern own = problem->pattern;
    if (!o->mechanism)
        return 0;
    if (corner != CLATTN_NO_CORNER && own.corner == CLATTN_NO_CORNER)
        problem->pattern.corner = (int32_t)corner;
    if (clattn_mechanism_apply(problem, o->mechanism, message, sizeof message))
        return mistake("--mechanism: %s", message);
    if (own.text[0] && strcmp(own.text, problem->pattern.text))
        return mistake("--mechanism %s brings a mask, and the problem has the pattern '%s'; write that as "
                       "--mask to have both",
                       o->mechanism, own.text);
    return 0;
}

static void read_mask(clattn_attention *problem, const struct problem_options *o, clattn_corner corner)
{
    if (o->mask)
        problem->pattern = clattn_both(problem->pattern, clattn_mask(o->mask, corner));
    else if (problem->pattern.corner == CLATTN_NO_CORNER)
        problem->pattern.corner = (int32_t)corner;
}

const char *const normaliser_words[] = {"softmax", "l1", "count", "none"};

static int read_rules(clattn_attention *problem, const struct problem_options *o)
{
    if (o->score)
        problem->score = clattn_score(o->score);
    if (o->weight) {
        problem->weight = clattn_weight(o->weight);
        problem->normaliser = CLATTN_L1;
    }
    for (int i = 0; o->normaliser && i < 4; i++)
        if (!strcmp(o->normaliser, normaliser_words[i])) {
            problem->normaliser = i;
            return 0;
        }
    return o->normaliser ? mistake("--normaliser takes softmax, l1, count or none, not '%s'", o->normaliser)
                         : 0;
}

/* ---- named rules, written out: the reference reads the language, not the library's names ---- */
static bool is_word(const char *name, const char *word, size_t n)
{
    return strlen(name) == n && !strncmp(name, word, n);
}

/* A declared name hides a rule's. */
static bool names_rule(const clattn_attention *a, const char *word, size_t n)
{
    clattn_named_rule rule = CLATTN_NAMED_RULE_INIT;
    for (int i = 0; i < a->n_scalars; i++)
        if (is_word(a->scalars[i].name, word, n))
            return false;
    for (int i = 0; i < a->n_arrays; i++)
        if (is_word(a->arrays[i].name, word, n))
            return false;
    for (size_t i = 0; !clattn_named_rule_describe(i, &rule); i++)
        if (is_word(rule.name, word, n))
            return true;
    return false;
}

static bool has_named_rule(const clattn_attention *a, const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    for (const char *p = text; *p;) {
        size_t n = strspn(p, letters);
        if (n && (*p < '0' || *p > '9') && names_rule(a, p, n))
            return true;
        p += n ? n : 1;
    }
    return false;
}

static int write_out(clattn_attention *problem, clattn_use use, char *text)
{
    char whole[CLATTN_PATTERN_TEXT];
    if (!has_named_rule(problem, text))
        return 0;
    if (clattn_rule_print(problem, use, whole, sizeof whole))
        return mistake("'%s' is longer than %d characters when its named rules are written out", text,
                       CLATTN_PATTERN_TEXT - 1);
    strcpy(text, whole);
    return 0;
}

int read_problem(clattn_attention *problem, const char *text, const struct problem_options *o)
{
    static const clattn_attention init = CLATTN_ATTENTION_INIT;
    char message[1024];
    clattn_corner corner;
    *problem = init;
    clattn_status status = clattn_problem_parse(problem, text, message, sizeof message);
    if (status)
        return mistake("problem '%s': %s", text, message);
    if (read_names(problem, o) || read_corner(&corner, o) || read_mechanism(problem, o, corner))
        return EXIT_MISTAKE;
    read_mask(problem, o, corner);
    if (read_rules(problem, o))
        return EXIT_MISTAKE;
    if (o->engine) {
        if (strlen(o->engine) >= sizeof problem->engine)
            return mistake("--engine '%s' is not an engine; `clattn devices' lists them", o->engine);
        strcpy(problem->engine, o->engine);
    }
    status = clattn_attention_check(problem, message, sizeof message);
    if (status)
        return mistake("problem '%s': %s", text, message);
    clattn_attention given = *problem;
    return write_out(&given, CLATTN_MASK_RULE, problem->pattern.text) ||
                   write_out(&given, CLATTN_SCORE_RULE, problem->score.text) ||
                   write_out(&given, CLATTN_WEIGHT_RULE, problem->weight.text)
               ? EXIT_MISTAKE
               : 0;
}
