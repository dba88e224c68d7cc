/* SPDX-License-Identifier: MIT
 * plan.c - from a selection to something that can be enqueued: shape, lay out, build, launch once,
 * compare. */
#include "select/select.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRELUDE_SIZE (512 * 1024)
#define OPTIONS_SIZE 1024

clattn_status clattn__select_plan_check(const clattn_select_plan *plan)
{
    if (!plan)
        return CLATTN_NULL_ARGUMENT;
    if (plan->magic != CLATTN__SELECT_MAGIC)
        return CLATTN_BAD_HANDLE;
    return clattn__context_check(plan->ctx);
}

#define METHOD(name) (1u << CLATTN_##name)
static const struct {
    const char *text, *kernel; /* of the file and of the function in it */
    uint32_t methods;          /* that use it */
    bool asks;                 /* the pattern */
} kinds[CLATTN__SELECT_KERNELS] = {
    [CLATTN__CANDIDATES] = {"select_candidates", "candidates", ~METHOD(STREAMING), true},
    [CLATTN__ROWS] = {"select_rows", "rows",
                      METHOD(TREE) | METHOD(STAGED) | METHOD(MINMAX) | METHOD(POOL_MEAN), false},
    [CLATTN__SELECT_TREE] = {"select_tree", "tree", METHOD(TREE), true},
    [CLATTN__SCAN] = {"select_scan", "scan_chunks", METHOD(STAGED), true},
    [CLATTN__BLOCKS] = {"select_blocks", "blocks",
                        METHOD(MINMAX) | METHOD(POOL_MEAN) | METHOD(EXTERNAL_SCORE), true},
    [CLATTN__CERTIFY] = {"select_certify", "certify", METHOD(MINMAX), true},
    [CLATTN__CUT] = {"select_top", "top", METHOD(STAGED), false},
    [CLATTN__TOP] = {"select_top", "top",
                     METHOD(STAGED) | METHOD(MINMAX) | METHOD(POOL_MEAN) | METHOD(EXTERNAL_SCORE), false},
    [CLATTN__GIVEN] = {"select_given", "given", METHOD(EXTERNAL_LIST), false},
    [CLATTN__BOUNDS] = {"select_bounds", "bounds", METHOD(MINMAX) | METHOD(POOL_MEAN), false},
};

bool clattn__select_uses(const clattn_select *select, enum clattn__select_kernel kernel)
{
    return kinds[kernel].methods >> select->method & 1u &&
           (kernel != CLATTN__CERTIFY || select->flags & CLATTN_CERTIFY);
}

/* A group of these works on a list, of others on a part of one. */
bool clattn__select_of_list(enum clattn__select_kernel kernel)
{
    return kernel == CLATTN__CANDIDATES || kernel == CLATTN__SELECT_TREE || kernel == CLATTN__CERTIFY ||
           kernel == CLATTN__CUT || kernel == CLATTN__TOP;
}

bool clattn__select_by_tile(const struct clattn__select_shape *shape, enum clattn__select_kernel kernel)
{
    return shape->tile.items > 0 && (kernel == CLATTN__SELECT_TREE || kernel == CLATTN__SCAN);
}

int32_t clattn__select_items(const struct clattn__select_shape *shape, enum clattn__select_kernel kernel)
{
    if (clattn__select_by_tile(shape, kernel))
        return shape->tile.items;
    return clattn__select_of_list(kernel) ? shape->group_list : shape->group_strip;
}

bool clattn__select_ruled(const clattn_select *select, enum clattn__select_kernel kernel)
{
    return kinds[kernel].asks && !(kernel == CLATTN__BLOCKS && select->method == CLATTN_EXTERNAL_SCORE);
}

bool clattn__select_each(const clattn_select *select, enum clattn__select_kernel kernel)
{
    return select->flags & CLATTN_BUDGET_EACH && kernel >= CLATTN__ROWS && kernel <= CLATTN__TOP;
}

/* ---- the problem: of the caller's what selection reads, and a pattern that leaves out what is near ---- */
/* One text for all sinks and windows, where there are positions: their numbers are arguments, and programs
 * are few. */
clattn_pattern clattn__select_pattern(const clattn_select *s, const clattn_pattern *pattern)
{
    char text[128] = "";
    struct clattn__text out = clattn__text_into(text, sizeof text);
    const bool near = s->sink > 0 || s->window > 0;
    if (near)
        clattn__text_add(&out, "k >= %lld", (long long)s->sink);
    if (s->dense_below > 0)
        clattn__text_add(&out, "%sk_len >= %lld", near ? " & " : "", (long long)s->dense_below);
    if (near && (pattern->corner != CLATTN_NO_CORNER || s->window > 0))
        clattn__text_add(&out, " & (q - k >= %lld | k - q >= %lld)", (long long)s->window,
                         (long long)s->window);
    return clattn_both(*pattern, clattn_mask(text, (clattn_corner)pattern->corner));
}

/* What a list may hold does not depend on lists: the word `listed' becomes true. */
static void forget_lists(clattn_pattern *pattern)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    for (char *p = pattern->text; *p;) {
        const size_t n = strspn(p, letters);
        if (n == 6 && !memcmp(p, "listed", 6))
            memcpy(p, "true  ", 6);
        p += n ? n : 1;
    }
}

static clattn_status resolve(clattn_select_plan *plan, const clattn_attention *problem, char *details,
                             size_t size)
{
    static const clattn_layout dense = CLATTN_LAYOUT_DENSE;
    clattn_attention a = *problem;
    a.flags &= CLATTN_PACKED | CLATTN_KEY_LENGTHS | CLATTN_CALLER_WORKSPACE | CLATTN_NO_SELF_TEST;
    a.score = a.weight = (clattn_rule){.error = 0};
    a.normaliser = CLATTN_SOFTMAX;
    a.v = a.o = a.lse = dense;
    a.list.size = 0;
    forget_lists(&a.pattern);
    plan->pattern = a.pattern;
    a.pattern = clattn__select_pattern(&plan->select, &plan->pattern);
    return clattn__problem_resolve(&plan->problem, &a, details, size);
}

/* ---- building ---- */
/* What products.clh or scores.clh is told. */
static void write_scores(const struct clattn__select_shape *s, enum clattn__select_kernel kernel,
                         struct clattn__text *out)
{
    const struct clattn__select_tile *t = &s->tile;
    if (kernel == CLATTN__SELECT_TREE || kernel == CLATTN__SCAN)
        clattn__text_add(out, " -DPRODUCTS=%d", t->items > 0);
    if (clattn__select_by_tile(s, kernel))
        clattn__text_add(out, " -DMATRIX=%d -DBQ=%d -DNT=%d -DMK=%d -DNQ=%d -DALIGNED=%d", (int)t->matrix,
                         (int)t->keys, (int)t->teams, (int)t->pieces, (int)t->steps, t->aligned);
    else
        clattn__text_add(out, " -DLANES=%d -DVECTORS=%d -DKEYS=%d -DALIGNED=%d", (int)s->lanes,
                         (int)s->vectors, (int)s->keys, s->aligned);
}

static void write_options(const clattn_select_plan *plan, enum clattn__select_kernel kernel,
                          struct clattn__text *out)
{
    const clattn_attention *a = &plan->problem.a;
    const struct clattn__select_shape *s = &plan->shape;
    const bool ruled = clattn__select_ruled(&plan->select, kernel);
    const bool counts =
        plan->select.flags & CLATTN_COUNT_PROBES && (kernel == CLATTN__SELECT_TREE || kernel == CLATTN__SCAN);
    clattn__text_add(out, "-DPACKED=%d -DKEY_LENGTHS=%d", !!(a->flags & CLATTN_PACKED),
                     !!(a->flags & CLATTN_KEY_LENGTHS));
    if (kernel == CLATTN__ROWS)
        clattn__text_add(out, " -DT_Q=%d -DMEAN_ROWS=%d", (int)a->type_q,
                         plan->select.rows == CLATTN_ROWS_MEAN);
    if (kernel == CLATTN__BOUNDS || (kernel >= CLATTN__SELECT_TREE && kernel <= CLATTN__CERTIFY))
        clattn__text_add(out, " -DT_K=%d", (int)a->type_k);
    if (kernel == CLATTN__BOUNDS || (kernel >= CLATTN__ROWS && kernel <= CLATTN__CERTIFY))
        clattn__text_add(out, " -DDIM=%d", (int)a->dim);
    clattn__text_add(out, " -DCOUNT_PROBES=%d -DEACH=%d -DMASK_BY_HEAD=%d -DGROUP=%d", counts,
                     clattn__select_each(&plan->select, kernel), ruled && s->by_head,
                     (int)clattn__select_items(s, kernel));
    if (kernel == CLATTN__CANDIDATES)
        clattn__text_add(out, " -DWORDS=%d -DNEEDS_END=%d", (int)s->words,
                         plan->select.method == CLATTN_STAGED);
    if (kernel >= CLATTN__ROWS && kernel <= CLATTN__CERTIFY)
        clattn__text_add(out, " -DROWS=%d -DROPE=%d",
                         (int)(clattn__select_by_tile(s, kernel) ? s->tile.rows : s->rows),
                         (int)plan->select.rope);
    if (kernel >= CLATTN__SELECT_TREE && kernel <= CLATTN__CERTIFY) {
        write_scores(s, kernel, out);
        clattn__text_add(out, " -DSTRIP=%d", (int)s->strip);
    }
    if (kernel == CLATTN__CUT || kernel == CLATTN__TOP ||
        (kernel >= CLATTN__ROWS && kernel <= CLATTN__BLOCKS))
        clattn__text_add(out, " -DBUDGET=%d", (int)plan->select.budget_mode);
    if (kernel == CLATTN__SELECT_TREE)
        clattn__text_add(out, " -DNODES_GLOBAL=%d", s->nodes_global);
    if (kernel == CLATTN__BLOCKS || kernel == CLATTN__BOUNDS)
        clattn__text_add(out, " -DMETHOD=%d", (int)plan->select.method);
    if (kernel == CLATTN__CUT || kernel == CLATTN__TOP)
        clattn__text_add(out, " -DOUT=%d", kernel == CLATTN__CUT ? 1 : plan->select.method == CLATTN_STAGED ? 2 : 0);
}

/* What a failure of the tile's kernel may be put down to: of another kernel, or of the device, it is none. */
static bool is_of_kernel(clattn_status status)
{
    return status == CLATTN_BUILD_FAILED || status == CLATTN_SELF_TEST_FAILED ||
           status == CLATTN_ENGINE_REFUSED;
}

/* Whether the plain search may take the place of the tile's. */
static bool has_substitute(const clattn_select_plan *plan)
{
    return plan->shape.tile.items > 0 && !(plan->select.flags & CLATTN_MATRIX_SEARCH);
}

/* Build the tile's kernel, unless it is known to fail. */
static clattn_status build_by_tile(clattn_select_plan *plan, const struct clattn__program_request *request,
                                   struct clattn__kernel *kernel)
{
    clattn_quarantine entry = CLATTN_QUARANTINE_INIT;
    clattn_status status = clattn__program_key(plan->ctx, request, &plan->tile_key);
    if (status)
        return status;
    plan->quarantined = has_substitute(plan) && clattn__quarantine_find(plan->ctx, &plan->tile_key, &entry);
    if (plan->quarantined)
        return clattn__fail(plan->ctx, CLATTN_ENGINE_REFUSED, CL_SUCCESS,
                            "the search by a tile is quarantined: %s on %s", entry.fault, entry.date);
    status = clattn__kernel_build(plan->ctx, request, kernel);
    if (status == CLATTN_BUILD_FAILED)
        plan->fault = "its kernel did not build";
    return status;
}

/* Let later processes know that the tile's kernel failed in this one. */
static void quarantine(const clattn_select_plan *plan)
{
    clattn_quarantine entry = CLATTN_QUARANTINE_INIT;
    struct clattn__text problem = clattn__text_into(entry.problem, sizeof entry.problem);
    char words[512];
    snprintf(entry.engine, sizeof entry.engine, "search-%s", clattn__team_of(plan->shape.tile.matrix)->name);
    snprintf(entry.fault, sizeof entry.fault, "%s", plan->fault);
    clattn_context_message(plan->ctx, entry.details, sizeof entry.details);
    if (clattn_problem_print(&plan->problem.a, words, sizeof words) == CLATTN_OK)
        clattn__text_add(&problem, "%s:", words);
    if (clattn_select_print(&plan->select, words, sizeof words) == CLATTN_OK)
        clattn__text_add(&problem, "%s", words);
    clattn__quarantine_add(plan->ctx, &plan->tile_key, &entry);
}

static clattn_status build_kernels(clattn_select_plan *plan)
{
    clattn_status status = CLATTN_OK;
    char *prelude = malloc(PRELUDE_SIZE);
    if (!prelude)
        return clattn__fail(plan->ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "%s", "plan");
    if (clattn__expr_kernel_text(plan->problem.rules, prelude, PRELUDE_SIZE))
        status = clattn__fail(plan->ctx, CLATTN_INTERNAL, CL_SUCCESS, "%s", "the rules' kernel text");
    for (int i = 0; !status && i < CLATTN__SELECT_KERNELS; i++) {
        char options[OPTIONS_SIZE];
        struct clattn__text text = clattn__text_into(options, sizeof options);
        if (!clattn__select_uses(&plan->select, i) || (i == CLATTN__CUT && plan->select.n_stages == 1) ||
            (i == CLATTN__ROWS && plan->shape.tile.items > 0))
            continue;
        write_options(plan, i, &text);
        const struct clattn__program_request request = {
            .name = kinds[i].text, .options = options, .kernel = kinds[i].kernel,
            .prelude = clattn__select_ruled(&plan->select, i) ? prelude : NULL,
        };
        status = clattn__select_by_tile(&plan->shape, i)
                     ? build_by_tile(plan, &request, &plan->kernels[i])
                     : clattn__kernel_build(plan->ctx, &request, &plan->kernels[i]);
    }
    free(prelude);
    return status ? status : clattn__tables_build(plan->ctx, &plan->problem, &plan->tables);
}

static clattn_status make_workspace(clattn_select_plan *plan)
{
    cl_int code;
    if (plan->problem.a.flags & CLATTN_CALLER_WORKSPACE || plan->workspace_bytes == 0)
        return CLATTN_OK;
    plan->workspace =
        clCreateBuffer(plan->ctx->cl, CL_MEM_READ_WRITE, (size_t)plan->workspace_bytes, NULL, &code);
    if (code == CL_SUCCESS)
        return CLATTN_OK;
    plan->workspace = NULL;
    return clattn__fail_cl(plan->ctx, "clCreateBuffer for the workspace", code);
}

/* Whether earlier plans of this context launched the same programs, and their lists were right. */
static bool is_proved(const clattn_select_plan *plan)
{
    for (int i = 0; i < CLATTN__SELECT_KERNELS; i++)
        if (plan->kernels[i].program && !clattn__kept_is_proved(plan->ctx, plan->kernels[i].program))
            return false;
    return true;
}

static void prove(const clattn_select_plan *plan)
{
    for (int i = 0; i < CLATTN__SELECT_KERNELS; i++)
        if (plan->kernels[i].program && !(plan->problem.a.flags & CLATTN_NO_SELF_TEST))
            clattn__kept_prove(plan->ctx, plan->kernels[i].program);
}

static clattn_status prepare(clattn_select_plan *plan, const clattn_select *select,
                             const clattn_attention *problem)
{
    char details[CLATTN__MESSAGE_SIZE];
    clattn_status status = clattn_select_check(select, problem, details, sizeof details);
    if (status)
        return clattn__fail(plan->ctx, status, CL_SUCCESS, "%s",
                            strchr(details, ':') ? strchr(details, ':') + 2 : details);
    plan->select = *select;
    plan->list = (clattn_list)CLATTN_LIST_INIT;
    status = clattn_select_list(&plan->list, select, problem);
    details[0] = 0;
    if (!status)
        status = resolve(plan, problem, details, sizeof details);
    if (status)
        return clattn__fail(plan->ctx, status, CL_SUCCESS, "%s", details);
    clattn__select_shape(&plan->shape, &plan->ctx->facts, &plan->select, &plan->list, &plan->problem);
    if (plan->shape.no_tile && plan->select.flags & CLATTN_MATRIX_SEARCH)
        return clattn__fail(plan->ctx, CLATTN_ENGINE_REFUSED, CL_SUCCESS, "search=matrix: %s",
                            plan->shape.no_tile);
    if (!clattn__select_layout(plan))
        return clattn__fail(plan->ctx, CLATTN_SIZE_OVERFLOW, CL_SUCCESS, "%s", "the workspace");
    status = build_kernels(plan);
    if (!status)
        status = make_workspace(plan);
    if (status || is_proved(plan))
        return status;
    status = clattn__select_self_test(plan);
    if (!status)
        prove(plan);
    return status;
}

/* A plan, whose search has no tile if no_tile says why; NULL with the status, and whether it is to be tried
 * without one. */
static clattn_select_plan *make_plan(clattn_context *ctx, const clattn_select *select,
                                     const clattn_attention *problem, const char *no_tile, bool *go_on,
                                     clattn_status *status)
{
    clattn_select_plan *made = calloc(1, sizeof *made);
    *go_on = false;
    if (!made) {
        *status = clattn__fail(ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "%s", "plan");
        return NULL;
    }
    made->magic = CLATTN__SELECT_MAGIC;
    made->ctx = ctx;
    made->shape.no_tile = no_tile;
    clattn__context_retain(ctx);
    pthread_mutex_init(&made->lock, NULL);
    *status = prepare(made, select, problem);
    if (!*status)
        return made;
    *go_on = is_of_kernel(*status) && has_substitute(made);
    if (made->fault && has_substitute(made))
        quarantine(made);
    if (*go_on)
        clattn__log(ctx, "the search by a tile failed: %s; the plain search is taken",
                    clattn_status_text(*status));
    clattn_select_plan_destroy(made);
    return NULL;
}

clattn_status clattn_select_plan_create(clattn_select_plan **plan, clattn_context *ctx,
                                        const clattn_select *select, const clattn_attention *problem)
{
    if (!plan)
        return CLATTN_NULL_ARGUMENT;
    *plan = NULL;
    bool go_on;
    clattn_status status = clattn__context_check(ctx);
    if (status)
        return status;
    *plan = make_plan(ctx, select, problem, NULL, &go_on, &status);
    if (go_on)
        *plan = make_plan(ctx, select, problem, "its kernel failed here", &go_on, &status);
    return status;
}

void clattn_select_plan_destroy(clattn_select_plan *plan)
{
    if (!plan || plan->magic != CLATTN__SELECT_MAGIC)
        return;
    plan->magic = 0;
    if (plan->busy)
        clReleaseEvent(plan->busy);
    if (plan->workspace)
        clReleaseMemObject(plan->workspace);
    for (int i = 0; i < CLATTN__SELECT_KERNELS; i++)
        clattn__kernel_free(&plan->kernels[i]);
    clattn__tables_free(&plan->tables);
    clattn__problem_free(&plan->problem);
    pthread_mutex_destroy(&plan->lock);
    clattn__context_release(plan->ctx);
    free(plan);
}

static clattn_status check_question(const clattn_select_plan *plan, const uint64_t *bytes)
{
    clattn_status status = clattn__select_plan_check(plan);
    return status || bytes ? status
                           : clattn__fail(plan->ctx, CLATTN_NULL_ARGUMENT, CL_SUCCESS, "%s", "bytes");
}

clattn_status clattn_select_workspace_size(const clattn_select_plan *plan, uint64_t *bytes)
{
    const clattn_status status = check_question(plan, bytes);
    if (!status)
        *bytes = (uint64_t)plan->workspace_bytes;
    return status;
}

clattn_status clattn_select_kept_size(const clattn_select_plan *plan, uint64_t *bytes)
{
    const clattn_status status = check_question(plan, bytes);
    if (!status)
        *bytes = (uint64_t)plan->kept_bytes;
    return status;
}

clattn_status clattn_select_bounds_size(const clattn_select_plan *plan, uint64_t *bytes)
{
    const clattn_status status = check_question(plan, bytes);
    if (!status)
        *bytes = (uint64_t)clattn__bounds_bytes(plan);
    return status;
}
