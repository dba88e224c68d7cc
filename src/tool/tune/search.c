/* SPDX-License-Identifier: MIT
 * search.c - the best setting of a problem, from the library's own choice on.
 *
 * Knob by knob every value is tried for a few rounds with the others as they are, those next to the present
 * one first, since time may end; the best few are measured again for longer, and
 * where one is still better, the search goes on from it, until no knob brings anything.  The best four of all
 * are then measured again, twice as long each time, half of them left out each time.  With `patient' pairs of
 * knobs follow, from the best one. */
#include "tool/tune/tune.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_KNOBS 8
#define QUICK 3      /* rounds */
#define LONGER 9
#define FINAL 8      /* of the first final; each later one has twice as many */
#define MOST_FINAL 64
#define FINALISTS 4
#define BETTER 1.006 /* what a step has to bring */
#define WORTH 1.01   /* what a setting has to bring over the library's choice; in 3 of 4 rounds something */
#define SEARCHED 0.7 /* of the time; the rest is for the finals */

/* An engine's knobs with a value each; 0: the engine's. */
struct point {
    const char *engine;
    int n;
    clattn_knob knobs[MOST_KNOBS];
    int32_t value[MOST_KNOBS];
};

static struct point begin_point(const char *engine)
{
    static const clattn_knob init = CLATTN_KNOB_INIT;
    struct point p = {.engine = engine};
    for (p.knobs[0] = init;
         p.n < MOST_KNOBS && clattn_knob_describe(engine, (size_t)p.n, &p.knobs[p.n]) == CLATTN_OK;)
        if (++p.n < MOST_KNOBS)
            p.knobs[p.n] = init;
    return p;
}

static void print_point(const struct point *p, char text[SETTING_SIZE])
{
    size_t used = (size_t)snprintf(text, SETTING_SIZE, "%s", p->engine);
    for (int i = 0; i < p->n; i++)
        if (p->value[i] && used < SETTING_SIZE)
            used += (size_t)snprintf(text + used, SETTING_SIZE - used, " %s=%d", p->knobs[i].name,
                                     (int)p->value[i]);
}

/* ---- candidates ---- */
static bool out_of_time(const struct search *s)
{
    return s->deadline > 0 && now_seconds() >= s->deadline;
}

/* The number of the candidate of a setting, a new one if none comes to the same; -1: refused, -2: out of
 * memory. */
static int find_candidate(struct search *s, const char *setting)
{
    char resolved[512];
    if (clattn_tuning_resolve(s->facts, s->problem, setting, resolved, sizeof resolved) ||
        strlen(resolved) >= SETTING_SIZE) {
        s->n_refused++;
        return -1;
    }
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->candidates[i].resolved, resolved))
            return i;
    if (s->n == s->capacity) {
        const int capacity = s->capacity ? 2 * s->capacity : 64;
        struct candidate *more = realloc(s->candidates, (size_t)capacity * sizeof *more);
        if (!more)
            return -2;
        s->candidates = more;
        s->capacity = capacity;
    }
    struct candidate *c = &s->candidates[s->n];
    memset(c, 0, sizeof *c);
    strcpy(c->setting, setting);
    strcpy(c->resolved, resolved);
    return s->n++;
}

/* Whether a setting has all words, engine and values, of a blocked one of so many characters. */
static bool has_words(const char *setting, const char *blocked, size_t length)
{
    char word[128], words[512];
    snprintf(words, sizeof words, " %s ", setting);
    for (size_t at = 0, n; at < length; at += n + 1) {
        n = strcspn(blocked + at, " |\n");
        snprintf(word, sizeof word, " %.*s ", (int)n, blocked + at);
        if (n > 0 && !strstr(words, word))
            return false;
    }
    return true;
}

/* Whether an earlier run found that it, or all settings with some of its values, are wrong, hang or crash. */
static bool is_blocked(const struct search *s, const char *setting)
{
    char begin[1024];
    const int n = snprintf(begin, sizeof begin, "\nblock | %s | ", s->key);
    for (const char *line = s->known; (line = strstr(line, begin)) != NULL;) {
        line += n;
        if (has_words(setting, line, strcspn(line, "|\n")))
            return true;
    }
    return false;
}

/* Measure one for at least so many rounds; false if it is no candidate any more. */
static bool measure(struct search *s, int number, int rounds)
{
    struct candidate *c = &s->candidates[number];
    char rest[512], *end;
    const bool first = c->rounds == 0;
    if (c->answer != ANSWER_OK)
        return false;
    if (c->rounds >= rounds)
        return true;
    c->answer = first && is_blocked(s, c->setting)
                    ? ANSWER_REFUSED
                    : child_try(s->child, rounds, c->setting, rest, sizeof rest);
    c->rounds = rounds;
    if (first)
        s->count[c->answer]++;
    if (c->answer != ANSWER_OK) {
        if (c->answer != ANSWER_REFUSED) {
            struct candidate told = *c;
            snprintf(told.resolved, sizeof told.resolved, "%.*s", (int)sizeof told.resolved - 1, rest);
            s->failed(s->cookie, &told);
        }
        return false;
    }
    c->times = strtod(rest, &end);
    c->seconds = strtod(end, &end);
    c->low = strtod(end, NULL);
    if (c->times > 0 && (s->worst.times <= 0 || c->times < s->worst.times))
        s->worst = *c;
    s->step(s->cookie, c);
    return true;
}

static double times_of(const struct search *s, int number)
{
    return number >= 0 && s->candidates[number].answer == ANSWER_OK ? s->candidates[number].times : 0;
}

/* ---- the search ---- */
/* The value of a knob in a setting as text; 0: it has none. */
static int value_in(const char *setting, const char *knob)
{
    char word[32];
    snprintf(word, sizeof word, " %s=", knob);
    const char *at = strstr(setting, word);
    return at ? atoi(at + strlen(word)) : 0;
}

/* A knob's values put into an order: that which is nearest to the present one first, as a quotient. */
static void sort_values(clattn_knob *knob, int present)
{
    for (int i = 1; i < knob->count && present > 0; i++)
        for (int k = i; k > 0; k--) {
            const double x = fabs(log((double)knob->values[k] / present)),
                         y = fabs(log((double)knob->values[k - 1] / present));
            const int32_t swap = knob->values[k];
            if (x >= y)
                break;
            knob->values[k] = knob->values[k - 1];
            knob->values[k - 1] = swap;
        }
}

/* Try the values of one knob, or of two; moves the point where that is better.  Returns whether it moved, or
 * EXIT_MISTAKE's -2. */
static int try_knobs(struct search *s, struct point *p, int *at, int i, int j)
{
    struct point best = *p;
    int best_number = -1;
    sort_values(&p->knobs[i], value_in(s->candidates[*at].resolved, p->knobs[i].name));
    for (int a = -1; a < p->knobs[i].count; a++)
        for (int b = -1; b < (j < 0 ? 0 : p->knobs[j].count); b++) {
            struct point next = *p;
            char text[SETTING_SIZE];
            next.value[i] = a < 0 ? 0 : p->knobs[i].values[a];
            if (j >= 0)
                next.value[j] = b < 0 ? 0 : p->knobs[j].values[b];
            print_point(&next, text);
            if (out_of_time(s))
                return 0;
            const int number = find_candidate(s, text);
            if (number == -2)
                return -2;
            if (number >= 0 && number != *at && measure(s, number, QUICK) &&
                times_of(s, number) > times_of(s, best_number)) {
                best_number = number;
                best = next;
            }
        }
    if (times_of(s, best_number) < BETTER * times_of(s, *at) || !measure(s, *at, LONGER) ||
        !measure(s, best_number, LONGER) || times_of(s, best_number) < BETTER * times_of(s, *at))
        return 0;
    *p = best;
    *at = best_number;
    return 1;
}

/* From a point on, until no knob brings anything; 0, or -2. */
static int descend(struct search *s, struct point *p, int *at)
{
    int moved = 1;
    while (moved == 1 && !out_of_time(s)) {
        moved = 0;
        for (int i = 0; i < p->n && moved >= 0; i++) {
            int one = try_knobs(s, p, at, i, -1);
            moved = one < 0 ? one : moved | one;
        }
        for (int i = 0; s->patient && moved == 0 && i < p->n; i++)
            for (int j = i + 1; j < p->n && moved == 0; j++)
                moved = try_knobs(s, p, at, i, j);
    }
    return moved < 0 ? moved : 0;
}

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    const double t = x->answer == ANSWER_OK ? x->times : 0, u = y->answer == ANSWER_OK ? y->times : 0;
    return t > u ? -1 : t < u;
}

/* The best of all, measured for longer and longer. */
static void hold_finals(struct search *s)
{
    int left = s->n < FINALISTS ? s->n : FINALISTS, rounds = FINAL;
    const int most = s->patient ? MOST_FINAL : MOST_FINAL / 2;
    qsort(s->candidates, (size_t)s->n, sizeof *s->candidates, compare_candidates);
    for (; left > 0 && rounds <= most && !out_of_time(s); left = left > 1 ? left / 2 : 1, rounds *= 2) {
        for (int i = 0; i < left && !out_of_time(s); i++)
            measure(s, i, rounds);
        qsort(s->candidates, (size_t)left, sizeof *s->candidates, compare_candidates);
    }
    const struct candidate *best = &s->candidates[0];
    if (s->n && best->answer == ANSWER_OK && best->rounds >= FINAL && best->times >= WORTH && best->low > 1)
        s->best = *best;
}

/* Each other engine once by its own choice; one that is better is searched too. */
static int try_engines(struct search *s, const char *own)
{
    clattn_engine_fit fit = CLATTN_ENGINE_FIT_INIT;
    double best = 1;
    for (size_t e = 0; clattn_engine_describe(s->facts, e, &fit) == CLATTN_OK && !out_of_time(s); e++) {
        int number = fit.fits && strcmp(fit.engine, own) ? find_candidate(s, fit.engine) : -1;
        if (number == -2)
            return number;
        if (number < 0 || !measure(s, number, QUICK) || times_of(s, number) < best)
            continue;
        struct point p = begin_point(fit.engine);
        if (descend(s, &p, &number))
            return -2;
        best = times_of(s, number);
    }
    return 0;
}

int search_best(struct search *s)
{
    char engine[SETTING_SIZE];
    const double deadline = s->deadline, begin = now_seconds();
    if (clattn_tuning_resolve(s->facts, s->problem, NULL, s->best.resolved, sizeof s->best.resolved))
        return mistake("the library's own choice does not resolve: %s", s->best.resolved);
    snprintf(engine, sizeof engine, "%.*s", (int)strcspn(s->best.resolved, " "), s->best.resolved);
    s->best = (struct candidate){.times = 1, .seconds = s->child->seconds};
    strcpy(s->best.setting, engine);
    if (deadline > 0)
        s->deadline = begin + SEARCHED * (deadline - begin);
    struct point p = begin_point(engine);
    int at = find_candidate(s, engine), status = at < 0 ? -2 : 0;
    if (!status) {
        s->candidates[at].times = 1;
        s->candidates[at].rounds = INT_MAX; /* against itself there is nothing to measure */
        s->candidates[at].seconds = s->child->seconds;
        status = descend(s, &p, &at);
    }
    if (!status && (s->patient || !(s->facts->type & CL_DEVICE_TYPE_CPU)))
        status = try_engines(s, engine);
    s->deadline = deadline;
    if (!status)
        hold_finals(s);
    return status ? mistake("out of memory") : 0;
}

void search_free(struct search *s)
{
    free(s->candidates);
    s->candidates = NULL;
    s->n = s->capacity = 0;
}
