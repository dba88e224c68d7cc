/* SPDX-License-Identifier: MIT
 * pattern.c - rules as values: the named patterns, each of which writes its condition in the expression
 * language, and free texts.
 *
 * An empty text is the condition that always holds: clattn_both leaves it out, clattn_either gives it back.
 */
#include "expr/expr.h"

#include <string.h>

#define LONGEST_NAME (CLATTN_NAME_SIZE - 1)

static clattn_pattern start(clattn_corner corner)
{
    clattn_pattern p = {.corner = (int32_t)corner};
    if (corner != CLATTN_NO_CORNER && corner != CLATTN_TOP_LEFT && corner != CLATTN_BOTTOM_RIGHT)
        p.error = CLATTN_BAD_CORNER;
    return p;
}

static struct clattn__text text_of(clattn_pattern *p)
{
    return clattn__text_into(p->text, sizeof p->text);
}

/* A text that does not fit is no text: the error is all that remains. */
static clattn_pattern finish(clattn_pattern p, bool cut)
{
    if (cut && !p.error)
        p.error = CLATTN_EXPR_LIMIT;
    if (p.error)
        memset(p.text, 0, sizeof p.text);
    return p;
}

clattn_pattern clattn_full(void)
{
    return start(CLATTN_NO_CORNER);
}

clattn_pattern clattn_causal(clattn_corner corner)
{
    clattn_pattern p = start(corner);
    struct clattn__text out = text_of(&p);
    clattn__text_add(&out, "k <= q");
    return finish(p, out.cut);
}

clattn_pattern clattn_window(int32_t width, int both_sides, clattn_corner corner)
{
    clattn_pattern p = start(corner);
    struct clattn__text out = text_of(&p);
    clattn__text_add(&out, "q - k < %d", (int)width);
    if (both_sides)
        clattn__text_add(&out, " & k - q < %d", (int)width);
    return finish(p, out.cut);
}

clattn_pattern clattn_prefix(int32_t length, clattn_corner corner)
{
    clattn_pattern p = start(corner);
    struct clattn__text out = text_of(&p);
    clattn__text_add(&out, "k < %d | k <= q", (int)length);
    return finish(p, out.cut);
}

static clattn_pattern with_array(const char *name, const char *rest, clattn_corner corner)
{
    clattn_pattern p = start(corner);
    struct clattn__text out = text_of(&p);
    if (!p.error)
        p.error = name ? clattn__name_check(name) : CLATTN_NULL_ARGUMENT;
    if (!p.error)
        clattn__text_add(&out, "k < %.*s[b]%s", LONGEST_NAME, name, rest);
    return finish(p, out.cut);
}

clattn_pattern clattn_prefix_each(const char *name, clattn_corner corner)
{
    return with_array(name, " | k <= q", corner);
}

clattn_pattern clattn_valid_keys(const char *name)
{
    return with_array(name, "", CLATTN_NO_CORNER);
}

clattn_pattern clattn_mask(const char *condition, clattn_corner corner)
{
    clattn_pattern p = start(corner);
    if (!condition) {
        p.error = p.error ? p.error : CLATTN_NULL_ARGUMENT;
        return p;
    }
    condition += strspn(condition, " \t");
    size_t n = strnlen(condition, sizeof p.text);
    if (n < sizeof p.text)
        memcpy(p.text, condition, n);
    return finish(p, n >= sizeof p.text);
}

static clattn_rule rule_of(const char *expression)
{
    clattn_rule rule;
    /* the same trimming and the same limit */
    clattn_pattern text = clattn_mask(expression, CLATTN_NO_CORNER);
    memset(&rule, 0, sizeof rule);
    rule.error = text.error;
    memcpy(rule.text, text.text, sizeof rule.text);
    return rule;
}

clattn_rule clattn_score(const char *expression)
{
    return rule_of(expression);
}

clattn_rule clattn_weight(const char *expression)
{
    return rule_of(expression);
}

/* Whether text keeps its meaning between parentheses: terminated, and none of its own closes early. */
static clattn_status check_operand(const clattn_pattern *p)
{
    if (p->error)
        return (clattn_status)p->error;
    if (!memchr(p->text, 0, sizeof p->text))
        return CLATTN_EXPR_LIMIT;
    int open = 0;
    for (const char *c = p->text; *c && open >= 0; c++)
        open += (*c == '(') - (*c == ')');
    return open ? CLATTN_EXPR_SYNTAX : CLATTN_OK;
}

static clattn_pattern combine(const clattn_pattern *a, const clattn_pattern *b, char operator)
{
    clattn_pattern p = start((clattn_corner)(a->corner ? a->corner : b->corner));
    clattn_status status = check_operand(a);
    if (!status)
        status = check_operand(b);
    if (!status && a->corner && b->corner && a->corner != b->corner)
        status = CLATTN_CORNERS_DIFFER;
    if (status) {
        p.error = status;
        return p;
    }
    struct clattn__text out = text_of(&p);
    if (a->text[0] && b->text[0])
        clattn__text_add(&out, "(%s) %c (%s)", a->text, operator, b->text);
    else if (operator == '&')
        clattn__text_add(&out, "%s", a->text[0] ? a->text : b->text);
    return finish(p, out.cut);
}

clattn_pattern clattn_both(clattn_pattern a, clattn_pattern b)
{
    return combine(&a, &b, '&');
}

clattn_pattern clattn_either(clattn_pattern a, clattn_pattern b)
{
    return combine(&a, &b, '|');
}
