/* SPDX-License-Identifier: MIT
 * explain.c - what a plan of a selection does, and how much that is. */
#include "select/select.h"

#include <string.h>

/* Rounds of TREE over n candidates. */
static int rounds(int64_t n, int64_t keep)
{
    int count = 0;
    for (int64_t largest = keep > 0 ? clattn__ceil_div(n, keep) : 0; largest > 1;
         largest = clattn__ceil_div(largest, 2))
        count++;
    return count;
}

static void explain_tree(const clattn_select_plan *plan, struct clattn__text *out)
{
    const clattn_list *l = &plan->list;
    const int n = rounds(l->k_blocks, l->capacity);
    clattn__text_add(
        out, "search     %lld nodes, %d rounds at most, %lld block scores of %d keys; nodes lie in %s\n",
        (long long)l->capacity, n, 2 * (long long)l->capacity * n,
        (int)(plan->select.block_k / plan->select.stride_k),
        plan->shape.nodes_global ? "the workspace" : "local memory");
}

static void explain_stages(const clattn_select_plan *plan, struct clattn__text *out)
{
    const clattn_list *l = &plan->list;
    int64_t tokens = l->k_blocks * l->block_k;
    for (int i = 0; i < plan->select.n_stages; i++) {
        const clattn_stage *s = &plan->select.stages[i];
        const int64_t chunks = clattn__ceil_div(tokens, s->chunk), kept = s->keep / s->chunk;
        clattn__text_add(
            out, "stage %d    %lld chunks of %lld at most, %d keys asked of each; %lld are kept\n", i + 1,
            (long long)chunks, (long long)s->chunk, s->chunk > 1 ? 2 * rounds(s->chunk, 1) : 1,
            (long long)(kept < chunks ? kept : chunks));
        tokens = s->keep < tokens ? s->keep : tokens;
    }
}

/* How the products of a search are made. */
static void explain_products(const clattn_select_plan *plan, struct clattn__text *out)
{
    const struct clattn__select_tile *t = &plan->shape.tile;
    if (t->items > 0)
        clattn__text_add(out,
                         "products   by %s: %d keys of %d teams with %d rows at a time; lists may differ "
                         "from those of the plain search where "
                         "scores do by no more than rounding\n",
                         clattn__team_of(t->matrix)->products, (int)t->keys, (int)t->teams,
                         16 * (int)t->pieces);
    else
        clattn__text_add(out, "products   one by one: %s\n", plan->shape.no_tile);
}

/* What makes lists shorter, and what is proved of them. */
static void explain_budget(const clattn_select *s, struct clattn__text *out)
{
    static const char *const words[][2] = {
        {"", ""}, {"the fewest with ", " of the estimated mass"}, {"those within ", " of the best scaled score"}, {"", " of the candidates"}};
    if (s->budget_mode != CLATTN_TOP_K) {
        clattn__text_add(out, "budget     %s", words[s->budget_mode][0]);
        clattn__print_decimal(out, s->budget_value);
        clattn__text_add(out, "%s, or as many as a list holds\n", words[s->budget_mode][1]);
    }
    if (s->flags & CLATTN_BUDGET_EACH)
        clattn__text_add(out, "each       scope has a budget of its own, no larger than this\n");
    if (s->flags & CLATTN_CERTIFY)
        clattn__text_add(out,
                         "certified  blocks with a product above the bounds of all that are not listed\n");
}

static void explain_rope(const clattn_select_plan *plan, struct clattn__text *out)
{
    static const char *const words[] = {
        "", "rows at window + 1, keys at 0 and 1",
        "rows at the number of chunks + window or before, keys at their chunk's number",
        "rows at window, keys as they are"};
    if (plan->select.rope)
        clattn__text_add(out, "rope       %s; tables of %lld positions; attention turns nothing\n",
                         words[plan->select.rope], (long long)plan->select.rope_positions);
}

/* Which rows are asked, and where no tile multiplies them, how. */
static void explain_rows(const clattn_select_plan *plan, struct clattn__text *out)
{
    const struct clattn__select_shape *s = &plan->shape;
    clattn__text_add(out, "rows       %d of each %d of %d heads together%s",
                     (int)(plan->select.block_q / plan->select.stride_q), (int)plan->select.block_q,
                     (int)s->set_heads, plan->select.rows ? ", means of their strides" : "");
    if (s->tile.items == 0)
        clattn__text_add(out, ", %s; %d vector%s of %d lanes, %d keys at a time",
                         plan->ctx->facts.has_fma ? "by fma" : "by products and sums", (int)s->vectors,
                         s->vectors > 1 ? "s" : "", (int)s->lanes, (int)s->keys);
    clattn__text_add(out, "\n");
}

static void explain_method(const clattn_select_plan *plan, struct clattn__text *out)
{
    if (plan->select.method == CLATTN_TREE)
        explain_tree(plan, out);
    else if (plan->select.method == CLATTN_STAGED)
        explain_stages(plan, out);
    else if (plan->shape.max_keys > 0)
        clattn__text_add(out, "search     %lld block scores at most, of which %lld are kept%s\n",
                         (long long)plan->list.k_blocks, (long long)plan->list.capacity,
                         plan->select.budget_mode == CLATTN_TOP_K ? "" : " at most");
    if (plan->select.method == CLATTN_TREE || plan->select.method == CLATTN_STAGED)
        explain_products(plan, out);
    explain_budget(&plan->select, out);
    if (plan->shape.scored)
        explain_rows(plan, out);
}

clattn_status clattn_select_plan_explain(const clattn_select_plan *plan, char *text, size_t size)
{
    char words[512], problem[512], rule[4 * CLATTN_PATTERN_TEXT];
    clattn_status status = clattn__select_plan_check(plan);
    if (status)
        return status;
    if (!text || size == 0)
        return clattn__fail(plan->ctx, CLATTN_NULL_ARGUMENT, CL_SUCCESS, "%s", "text");
    clattn_attention own = plan->problem.a;
    own.pattern = plan->pattern;
    if (clattn_select_print(&plan->select, words, sizeof words) ||
        clattn_problem_print(&own, problem, sizeof problem))
        words[0] = problem[0] = 0;
    if (clattn__expr_print(plan->problem.rules, CLATTN__MASK, rule, sizeof rule))
        rule[0] = 0;
    struct clattn__text out = clattn__text_into(text, size);
    clattn__text_add(&out, "selection  %s:%s\ncandidates %s%s\ndevice     %s\n", problem, words,
                     rule[0] ? rule : "every key", plan->shape.by_head ? ", head by head" : "",
                     plan->ctx->facts.name);
    explain_method(plan, &out);
    explain_rope(plan, &out);
    if (plan->select.dense_below > 0)
        clattn__text_add(
            &out, "dense      entries of fewer than %lld keys: nothing is searched, and no key left out\n",
            (long long)plan->select.dense_below);
    clattn__text_add(
        &out,
        "launch     %lld of %lld query blocks of all batch entries at a time, groups of %d and %d items\n",
        (long long)plan->tile, (long long)plan->pairs, (int)plan->shape.group_list,
        (int)plan->shape.group_strip);
    clattn__text_add(&out, "workspace  %lld bytes", (long long)plan->workspace_bytes);
    if (clattn__bounds_bytes(plan) > 0)
        clattn__text_add(&out, "; %lld of metadata", (long long)clattn__bounds_bytes(plan));
    if (plan->kept_bytes > 0)
        clattn__text_add(&out, "; %lld kept for later steps", (long long)plan->kept_bytes);
    clattn__text_add(&out, "\nlists      %lld of %lld blocks at most\n",
                     (long long)(plan->pairs * plan->list.scopes), (long long)plan->list.capacity);
    return out.cut ? clattn__fail(plan->ctx, CLATTN_BUFFER_TOO_SHORT, CL_SUCCESS, "%zu bytes", size)
                   : CLATTN_OK;
}
