/* SPDX-License-Identifier: MIT
 * select_report.c - what clattn select found: as text, with a table of the mass that each head keeps, and as
 * JSON. */
#include "tool/select_report.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int64_t head_count(const struct selection *x)
{
    return x->dense.problem.heads;
}

static struct ref_mass mean_of(const struct select_report *r)
{
    const int64_t n = head_count(r->x);
    struct ref_mass mean = {0, 0, 0, 0};
    for (int64_t h = 0; h < n; h++) {
        mean.rows += r->heads[h].rows;
        mean.kept += r->heads[h].kept / (double)n;
        mean.best += r->heads[h].best / (double)n;
        mean.window += r->heads[h].window / (double)n;
    }
    return mean;
}

static void print_mass(const struct select_report *r)
{
    const struct ref_mass mean = mean_of(r);
    const struct kept_mass kept = kept_mass_of(r->heads, head_count(r->x));
    printf("kept       %.4f of rows' softmax on average, %.4f of the head that keeps least\n", kept.mean,
           kept.least);
    printf("head         kept    best  window    of %lld rows each; best: as many blocks by their mass; "
           "window: as many keys\n",
           (long long)r->heads[0].rows);
    for (int64_t h = 0; h < head_count(r->x); h++)
        printf("%-8lld %8.4f%8.4f%8.4f\n", (long long)h, r->heads[h].kept, r->heads[h].best,
               r->heads[h].window);
    printf("%-8s %8.4f%8.4f%8.4f\n", "all", mean.kept, mean.best, mean.window);
}

void print_select_text(const struct select_report *r, bool explain)
{
    const struct selection *x = r->x;
    char text[4096], lists[128];
    if (clattn_select_plan_explain(x->plan, text, sizeof text) == CLATTN_OK)
        printf("%.*s", explain ? (int)strlen(text) : (int)(strchr(text, '\n') + 1 - text), text);
    printf("lists      %s\n", selection_text(x, lists));
    if (x->s.flags & CLATTN_COUNT_PROBES)
        printf("probes     %llu dot products, of %llu candidates\n", (unsigned long long)x->counters[1],
               (unsigned long long)x->counters[0]);
    printf("plan       %.3f s\ntime       %.3f ms", x->plan_seconds, r->stages[0] * 1e3);
    for (int stage = 1; stage < r->n_stages; stage++)
        printf(", from stage %d %.3f ms", stage, r->stages[stage] * 1e3);
    if (x->io.bounds)
        printf(", metadata %.3f ms", r->bounds * 1e3);
    printf("\n");
    if (r->heads)
        print_mass(r);
}

/* ---- for programs ---- */
static json_t *mass_json(const struct ref_mass *m)
{
    return json_pack("{s:I, s:f, s:f, s:f}", "rows", (json_int_t)m->rows, "kept", m->kept, "best", m->best,
                     "window", m->window);
}

static json_t *heads_json(const struct select_report *r)
{
    json_t *list = json_array();
    for (int64_t h = 0; h < head_count(r->x); h++)
        json_array_append_new(list, mass_json(&r->heads[h]));
    return list;
}

static json_t *lists_json(const struct selection *x)
{
    const struct list_lengths blocks = selection_lengths(x);
    json_t *lists = json_pack("{s:I, s:I, s:f, s:I, s:I}", "count", (json_int_t)selection_lists(x), "block_k",
                              (json_int_t)x->list.block_k, "blocks", blocks.mean, "least_blocks",
                              (json_int_t)blocks.least, "most_blocks", (json_int_t)blocks.most);
    if (x->certified)
        json_object_set_new(lists, "certified", json_real(selection_certified(x)));
    return lists;
}

void print_select_json(const struct select_report *r, const char *problem)
{
    const struct selection *x = r->x;
    json_t *stages = json_array();
    for (int stage = 0; stage < r->n_stages; stage++)
        json_array_append_new(stages, json_real(r->stages[stage]));
    json_t *all = json_pack("{s:s, s:o, s:f, s:o}", "problem", problem, "lists", lists_json(x),
                            "plan_seconds", x->plan_seconds, "seconds", stages);
    if (x->io.bounds)
        json_object_set_new(all, "metadata_seconds", json_real(r->bounds));
    if (x->s.flags & CLATTN_COUNT_PROBES) {
        json_object_set_new(all, "candidates", json_integer((json_int_t)x->counters[0]));
        json_object_set_new(all, "dot_products", json_integer((json_int_t)x->counters[1]));
    }
    if (r->heads) {
        const struct ref_mass mean = mean_of(r);
        json_object_set_new(all, "mass", mass_json(&mean));
        json_object_set_new(all, "heads", heads_json(r));
    }
    if (!all || json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)))
        fputs("null", stdout); /* out of memory, or a text that is no UTF-8 */
    printf("\n");
    json_decref(all);
}
