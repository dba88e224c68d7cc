/* SPDX-License-Identifier: MIT
 * selection.c - hip:METHOD,BUDGET[,KEY=VALUE]...
 *
 *     METHOD         tree, staged, minmax, mean (clattn/select.h), or best: scores of block_scores in kernels.cl
 *     BUDGET         tokens that a row reads beside the first and the nearest ones
 *     block=N[/S]    keys of a block (8), of which the last of every S counts (1)
 *     rows=N[/S]     rows that share a list (64), of which the last of every S counts (1)
 *     sink=N near=N  the first and the nearest tokens, which all rows read (32, 64)
 *     scope=head     group, all: heads that share a list
 *     rep=center     first, last: what tree looks at
 *     stages=A.B/..  staged: chunks of A tokens, of which the best B tokens stay; the last B is the budget
 *     refresh=N      single tokens that a list serves (1); sensible up to `near' */
#include "selection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- words ---- */
/* The place of a word in a list that ends with NULL. */
static int32_t find_word(const char *word, const char *const *words)
{
    for (int32_t i = 0; words[i]; i++)
        if (!strcmp(word, words[i]))
            return i;
    stop("--attention hip: '%s' is not one of its words", word);
}

/* "N" or "N/S"; at most 2^30, which the library checks further. */
static void read_pair(const char *text, int64_t *n, int64_t *s)
{
    int used = 0;
    long first, second = *s;
    if (sscanf(text, "%9ld%n/%9ld%n", &first, &used, &second, &used) < 1 || text[used] || first < 0)
        stop("--attention hip: '%s' is not a number or two", text);
    *n = first;
    *s = second;
}

static void read_stages(const char *text, clattn_select *select)
{
    int used = 0;
    long chunk, keep;
    for (select->n_stages = 0; *text; text += used + (text[used] == '/')) {
        if (select->n_stages == CLATTN_MAX_STAGES || sscanf(text, "%9ld.%9ld%n", &chunk, &keep, &used) != 2 ||
            !strchr("/", text[used]))
            stop("--attention hip: stages=%s is not CHUNK.KEEP, %d times at most", text, CLATTN_MAX_STAGES);
        select->stages[select->n_stages++] = (clattn_stage){chunk, keep};
    }
}

static void read_key(struct selection *s, const char *key, const char *value)
{
    static const char *const keys[] = {"block", "rows", "sink", "near", "scope", "rep", "stages", "refresh", NULL};
    static const char *const scopes[] = {"head", "group", "all", NULL};
    static const char *const representatives[] = {"center", "first", "last", NULL};
    clattn_select *select = &s->select;
    int64_t n = 0, stride = 1, none = 0;
    int32_t which = find_word(key, keys);
    if (which < 4 || which == 7)
        read_pair(value, &n, which < 2 ? &stride : &none);
    switch (which) {
    case 0: select->block_k = (int32_t)n, select->stride_k = (int32_t)stride; break;
    case 1: select->block_q = (int32_t)n, select->stride_q = (int32_t)stride; break;
    case 2: select->sink = n; break;
    case 3: select->window = n; break;
    case 4: select->scope = find_word(value, scopes); break;
    case 5: select->representative = find_word(value, representatives); break;
    case 6: read_stages(value, select); break;
    default: s->refresh = n > 0 ? n : 1;
    }
}

/* Chunks of 64, 32 and 8 keys: an eighth of them stays, then a quarter, then half. */
static void default_stages(clattn_select *select)
{
    int64_t b = select->budget;
    select->n_stages = 3;
    select->stages[0] = (clattn_stage){64, 8 * b < 4096 ? 8 * b : 4096};
    select->stages[1] = (clattn_stage){32, 2 * b};
    select->stages[2] = (clattn_stage){8, b};
}

void selection_open(struct selection *s, const char *words, int32_t prefix)
{
    static const char *const methods[] = {"tree", "staged", "minmax", "mean", "best", NULL};
    char text[256], *rest = text, *word, *value;
    int64_t none = 0;
    if (strlen(words) >= sizeof text)
        stop("--attention hip:%s is too long", words);
    strcpy(text, words);
    *s = (struct selection){.select = CLATTN_SELECT_INIT, .refresh = 1, .prefix = prefix};
    clattn_select *select = &s->select;
    select->scope = CLATTN_SCOPE_HEAD;
    select->stride_q = 1;
    select->sink = 32;
    select->window = 64;
    word = strtok_r(rest, ",", &rest);
    select->method = find_word(word ? word : "", methods); /* "best" stands where EXTERNAL_SCORE does */
    s->best = select->method == CLATTN_EXTERNAL_SCORE;
    word = strtok_r(NULL, ",", &rest);
    read_pair(word ? word : "", &select->budget, &none);
    while ((word = strtok_r(NULL, ",", &rest))) {
        value = strchr(word, '=');
        if (!value)
            stop("--attention hip: '%s' is not KEY=VALUE", word);
        *value++ = 0;
        read_key(s, word, value);
    }
    if (select->method == CLATTN_STAGED && select->n_stages == 0)
        default_stages(select);
}
