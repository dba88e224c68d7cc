/* SPDX-License-Identifier: MIT
 * ref_mask.c - the oracle's own reading of a mask text: evaluates while it reads, with no tree; 32-bit wrapping integers.
 *
 *     or := and ('|' and)*   and := not ('&' not)*   not := '!' not | comparison   comparison := sum (OP sum)?
 *     sum := product (('+'|'-') product)*   product := unary ('*' unary)*   unary := '-' unary | primary
 * Conditions and numbers are both int32 here: the library has refused texts that mix them. */
#include "tests/ref.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    const char *at;
    const struct ref_mask *mask;
    const struct ref_point *point;
};

static int32_t read_or(struct reading *r);

static int32_t wrap(int64_t x)
{
    return (int32_t)(uint32_t)(uint64_t)x;
}

static void skip_blanks(struct reading *r)
{
    while (*r->at == ' ' || *r->at == '\t')
        r->at++;
}

static bool take(struct reading *r, const char *symbol)
{
    skip_blanks(r);
    size_t n = strlen(symbol);
    if (strncmp(r->at, symbol, n))
        return false;
    r->at += n;
    return true;
}

static void fail(const struct reading *r)
{
    fprintf(stderr, "ref_mask: cannot read '%s' at '%s'\n", r->mask->text, r->at);
    abort();
}

static void need(struct reading *r, const char *symbol)
{
    if (!take(r, symbol))
        fail(r);
}

static int32_t named(struct reading *r, const char *name)
{
    const struct ref_point *p = r->point;
    const struct {
        const char *name;
        int64_t value;
    } indices[] = {{"q", p->q}, {"k", p->k}, {"b", p->b}, {"h", p->h}, {"g", p->g}, {"q_len", p->q_len}, {"k_len", p->k_len}};
    for (int i = 0; i < 7; i++)
        if (!strcmp(name, indices[i].name))
            return wrap(indices[i].value);
    for (int i = 0; i < r->mask->n_scalars; i++)
        if (!strcmp(name, r->mask->scalar_names[i]))
            return r->mask->scalar_values[i];
    for (int i = 0; i < r->mask->n_arrays; i++)
        if (!strcmp(name, r->mask->array_names[i])) {
            need(r, "[");
            int32_t index = read_or(r);
            need(r, "]");
            return r->mask->arrays[i][index];
        }
    if (!strcmp(name, "min") || !strcmp(name, "max")) {
        need(r, "(");
        int32_t a = read_or(r);
        need(r, ",");
        int32_t b = read_or(r);
        need(r, ")");
        return (name[1] == 'i') == (a < b) ? a : b;
    }
    fail(r);
    return 0;
}

static int32_t read_primary(struct reading *r)
{
    char name[32];
    size_t n = 0;
    if (take(r, "(")) {
        int32_t x = read_or(r);
        need(r, ")");
        return x;
    }
    if (isdigit((unsigned char)*r->at)) {
        char *end;
        long long x = strtoll(r->at, &end, 10);
        r->at = end;
        return wrap(x);
    }
    while ((isalnum((unsigned char)*r->at) || *r->at == '_') && n + 1 < sizeof name)
        name[n++] = *r->at++;
    name[n] = 0;
    return named(r, name);
}

static int32_t read_unary(struct reading *r)
{
    return take(r, "-") ? wrap(-(int64_t)read_unary(r)) : read_primary(r);
}

static int32_t read_product(struct reading *r)
{
    int32_t x = read_unary(r);
    while (take(r, "*"))
        x = wrap((int64_t)x * read_unary(r));
    return x;
}

static int32_t read_sum(struct reading *r)
{
    int32_t x = read_product(r);
    for (;;) {
        if (take(r, "+"))
            x = wrap((int64_t)x + read_product(r));
        else if (take(r, "-"))
            x = wrap((int64_t)x - read_product(r));
        else
            return x;
    }
}

static int32_t read_comparison(struct reading *r)
{
    int32_t x = read_sum(r);
    if (take(r, "<="))
        return x <= read_sum(r);
    if (take(r, ">="))
        return x >= read_sum(r);
    if (take(r, "=="))
        return x == read_sum(r);
    if (take(r, "!="))
        return x != read_sum(r);
    if (take(r, "<"))
        return x < read_sum(r);
    if (take(r, ">"))
        return x > read_sum(r);
    return x;
}

static int32_t read_not(struct reading *r)
{
    skip_blanks(r);
    if (r->at[0] == '!' && r->at[1] != '=') {
        r->at++;
        return !read_not(r);
    }
    return read_comparison(r);
}

static int32_t read_and(struct reading *r)
{
    int32_t x = read_not(r);
    while (take(r, "&")) {
        int32_t y = read_not(r);
        x = x && y;
    }
    return x;
}

static int32_t read_or(struct reading *r)
{
    int32_t x = read_and(r);
    while (take(r, "|")) {
        int32_t y = read_and(r);
        x = x || y;
    }
    return x;
}

bool ref_visible(const struct ref_mask *mask, const struct ref_point *at)
{
    if (!mask->text || !mask->text[0])
        return true;
    struct reading r = {mask->text, mask, at};
    int32_t x = read_or(&r);
    skip_blanks(&r);
    if (*r.at)
        fail(&r);
    return x != 0;
}
