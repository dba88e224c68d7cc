/* SPDX-License-Identifier: MIT
 * plan.c - from a problem to something that can be enqueued: choose, build, launch once, compare. */
#include "attention/attention.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRELUDE_SIZE (512 * 1024)
#define OPTIONS_SIZE 1024

clattn_status clattn__plan_check(const clattn_plan *plan)
{
    if (!plan)
        return CLATTN_NULL_ARGUMENT;
    if (plan->magic != CLATTN__PLAN_MAGIC)
        return CLATTN_BAD_HANDLE;
    return clattn__context_check(plan->ctx);
}

static void copy_layout(cl_long at[4], const clattn_layout *layout, bool packed)
{
    at[0] = layout->offset;
    at[1] = packed ? 0 : layout->batch; /* packed: the offsets say where an entry begins */
    at[2] = layout->head;
    at[3] = layout->token;
}

void clattn__forward_args_fill(struct forward_args *args, const struct clattn__problem *problem,
                               const struct clattn__launch *launch)
{
    const clattn_attention *a = &problem->a;
    bool packed = a->flags & CLATTN_PACKED;
    memset(args, 0, sizeof *args);
    copy_layout(args->q_at, &a->q, packed);
    copy_layout(args->k_at, &a->k, packed);
    copy_layout(args->v_at, &a->v, packed);
    copy_layout(args->o_at, &a->o, packed);
    copy_layout(args->lse_at, &a->lse, packed);
    args->q_total = a->q_total;
    args->kv_total = a->kv_total;
    args->batch = (cl_int)a->batch;
    args->heads = (cl_int)a->heads;
    args->kv_heads = (cl_int)a->kv_heads;
    args->q_len = (cl_int)a->q_len;
    args->kv_len = (cl_int)a->kv_len;
    args->q_tiles = launch->q_tiles;
    args->tiles = (cl_int)(cl_uint)launch->tiles;
    args->pack = launch->pack;
    args->splits = launch->splits;
    args->split_keys = launch->split_keys;
    args->section = launch->section;
    args->bottom_right = problem->bottom_right;
    bool base_2 = a->normaliser == CLATTN_SOFTMAX && !clattn__expr_has(problem->rules, CLATTN__SCORE);
    args->scale = (cl_float)(a->scale * (base_2 ? 1.44269504088896340736 : 1.0));
}

/* With splits the parts go to a workspace of [part][batch][head][token][dim_v] f32, then
 * [part][batch][head][token] lse.  Returns how many words that is. */
static int64_t fill_split_args(struct forward_args *args, struct merge_args *merge,
                               const struct clattn__problem *problem, const struct clattn__launch *launch)
{
    const clattn_attention *a = &problem->a;
    int64_t rows = a->batch * a->heads * a->q_len, width = a->dim_v;
    int64_t lse_first = rows * width * launch->splits;
    memset(merge, 0, sizeof *merge);
    memcpy(merge->o_at, args->o_at, sizeof merge->o_at);
    memcpy(merge->lse_at, args->lse_at, sizeof merge->lse_at);
    merge->part_o_at = 0;
    merge->part_lse_at = lse_first;
    merge->part_o_stride = rows * width;
    merge->part_lse_stride = rows;
    merge->row_stride = width;
    merge->q_total = a->q_total;
    merge->parts = launch->splits;
    merge->batch = (cl_int)a->batch;
    merge->heads = (cl_int)a->heads;
    merge->q_len = (cl_int)a->q_len;

    const cl_long o_at[5] = {0, a->heads * a->q_len * width, a->q_len * width, width, rows * width};
    const cl_long lse_at[5] = {lse_first, a->heads * a->q_len, a->q_len, 1, rows};
    memcpy(args->o_at, o_at, sizeof o_at);
    memcpy(args->lse_at, lse_at, sizeof lse_at);
    args->by_entry = 1;
    return rows * (width + 1) * launch->splits;
}

/* From word `first` of the workspace on two counters, and what the groups need for themselves, which
 * kernels move to the next multiple of 128 bytes.  Returns how many words that is. */
static int64_t fill_scratch(struct forward_args *args, const struct clattn__launch *launch, int64_t first)
{
    args->scratch_at = first;
    const int64_t words = 2 + 128 / (int64_t)sizeof(cl_int);
    return launch->scratch ? words + launch->scratch * (int64_t)launch->groups : 0;
}

int64_t clattn__workspace_fill(struct forward_args *args, struct merge_args *merge,
                               struct clattn__tables *tables, const struct clattn__problem *problem,
                               const struct clattn__launch *launch)
{
    int64_t words = launch->splits > 1 ? fill_split_args(args, merge, problem, launch) : 0;
    clattn__tables_fill(tables, problem, words, args);
    words += tables->ints;
    words += fill_scratch(args, launch, words);
    if (launch->spec.COUNTED)
        clattn__tables_counters(tables, args->scratch_at);
    return words * (int64_t)sizeof(cl_float);
}

void clattn__shift_workspace(struct forward_args *args, struct merge_args *merge, int64_t words)
{
    args->o_at[0] += words;
    args->lse_at[0] += words;
    merge->part_o_at += words;
    merge->part_lse_at += words;
}

/* Whether rows of all tensors start at multiples of 16 bytes in their buffers. */
static bool is_aligned(clattn_attention a)
{
    for (enum clattn__tensor t = CLATTN__Q; t <= CLATTN__O; t++) {
        const clattn_layout *layout = clattn__tensor_layout(&a, t);
        int64_t elements = 16 / clattn__type_bytes(clattn__tensor_type(&a, t));
        if (layout->offset % elements || layout->batch % elements || layout->head % elements ||
            layout->token % elements)
            return false;
    }
    return true;
}

/* Then the tables' kernel runs before the forward kernel. */
static bool has_tables(const struct clattn__problem *problem)
{
    bool needed = false;
    for (int i = 0; i < problem->a.n_arrays; i++)
        needed |= clattn__expr_table(problem->rules, i).needed;
    return needed;
}

void clattn__task_fill(struct clattn__task *task, const struct clattn__problem *problem)
{
    const clattn_attention *a = &problem->a;
    *task = (struct clattn__task){
        .batch = a->batch, .heads = a->heads, .kv_heads = a->kv_heads, .q_len = a->q_len, .kv_len = a->kv_len,
        .dim = (int32_t)a->dim, .dim_v = (int32_t)a->dim_v, .type_q = a->type_q, .type_k = a->type_k,
        .type_v = a->type_v, .type_o = a->type_o, .scale = a->scale,
        .softmax = a->normaliser == CLATTN_SOFTMAX, .aligned = is_aligned(*a),
        .masked = clattn__expr_has(problem->rules, CLATTN__MASK),
        .ragged = a->flags & (CLATTN_PACKED | CLATTN_KEY_LENGTHS), .uneven = has_tables(problem),
        .splits = a->splits,
        .packed_tokens = !(a->flags & CLATTN_PACKED) ? 0
                         : a->q_total > a->kv_total  ? a->q_total
                                                     : a->kv_total,
    };
    if (clattn__expr_rule_uses_list(problem->rules, CLATTN__MASK)) {
        task->list_rows = a->list.block_q;
        task->list_heads = problem->list_args.heads;
        task->list_keys = a->list.block_k;
    }
}

void clattn__meaning_fill(struct clattn__launch *launch, const clattn_attention *a)
{
    struct clattn__spec *spec = &launch->spec;
    bool split = launch->splits > 1;
    spec->T_Q = a->type_q;
    spec->T_K = a->type_k;
    spec->T_V = a->type_v;
    spec->T_O = split ? CLATTN_F32 : a->type_o;
    spec->DIM = (int32_t)a->dim;
    spec->DIM_V = (int32_t)a->dim_v;
    spec->LSE = split || a->flags & CLATTN_WANT_LSE;
    spec->PACKED = !!(a->flags & CLATTN_PACKED);
    spec->KEY_LENGTHS = !!(a->flags & CLATTN_KEY_LENGTHS);
    spec->COUNT_TILES = !!(a->flags & CLATTN_COUNT_TILES);
    spec->NORMALISER = a->normaliser;
    /* of its own workspace nobody else counts arrivals */
    if (split && launch->can_join && !(a->flags & CLATTN_CALLER_WORKSPACE))
        spec->JOINS = a->flags & CLATTN_WANT_LSE ? 2 : 1;
    spec->T_JOINED = a->type_o;
}

static clattn_status choose(clattn_plan *plan, const struct clattn__attempt *attempt,
                            struct clattn__text *why)
{
    const clattn_attention *a = &plan->problem.a;
    struct clattn__task task;
    clattn__task_fill(&task, &plan->problem);
    task.failed = attempt->failed;
    clattn_status status = clattn__tuned_choose(plan, &task, attempt->tuned_from, why);
    if (status == CLATTN_BAD_ENGINE)
        return clattn__fail(plan->ctx, status, CL_SUCCESS, "engine is '%s'", a->engine);
    if (status)
        return clattn__fail(plan->ctx, status, CL_SUCCESS, "%s", plan->why);
    if (plan->launch.tiles > UINT32_MAX)
        return clattn__fail(plan->ctx, CLATTN_SIZE_OVERFLOW, CL_SUCCESS, "%zu tiles", plan->launch.tiles);
    clattn__meaning_fill(&plan->launch, a);
    return CLATTN_OK;
}

/* Whether another engine may serve: where tuning made the choice, the next line, or the library's own choice.
 * Then what failed before is not tried again. */
static bool has_substitute(const clattn_plan *plan)
{
    return plan->is_tuned || !(plan->problem.a.engine[0] || plan->problem.a.flags & CLATTN_STRICT);
}

/* Whether what its kernel does wrong is remembered, and another engine serves.  That vector or portable do
 * not build or are wrong is an error; that they end a process is not waited for twice. */
static bool may_fail(const clattn_plan *plan)
{
    return plan->engine->may_fail || plan->is_tuned || plan->died;
}

/* The forward kernel of a request: built, unless it is known to fail. */
static clattn_status try_forward(clattn_plan *plan, const struct clattn__program_request *request)
{
    clattn_quarantine entry = CLATTN_QUARANTINE_INIT;
    clattn_status status = clattn__program_key(plan->ctx, request, &plan->key);
    if (status)
        return status;
    plan->quarantined = has_substitute(plan) && clattn__quarantine_find(plan->ctx, &plan->key, &entry);
    if (plan->quarantined)
        return clattn__fail(plan->ctx, CLATTN_ENGINE_REFUSED, CL_SUCCESS,
                            "engine %s is quarantined: %s on %s", plan->engine->name, entry.fault,
                            entry.date);
    status = clattn__build_elsewhere(plan);
    if (status)
        return status;
    status = clattn__kernel_build(plan->ctx, request, &plan->forward);
    if (status == CLATTN_BUILD_FAILED)
        plan->fault = "its kernel did not build";
    return status;
}

static clattn_status build_forward(clattn_plan *plan)
{
    char options[OPTIONS_SIZE];
    char *prelude = malloc(PRELUDE_SIZE);
    if (!prelude)
        return clattn__fail(plan->ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "%s", "plan");
    struct clattn__text text = clattn__text_into(options, sizeof options);
    clattn__spec_options(&plan->launch.spec, &text);
    clattn_status status = clattn__expr_kernel_text(plan->problem.rules, prelude, PRELUDE_SIZE);
    if (status || text.cut) {
        status = clattn__fail(plan->ctx, status ? status : CLATTN_INTERNAL, CL_SUCCESS, "%s",
                              "the rules' kernel text");
    } else {
        struct clattn__program_request request = {.name = plan->launch.kernel_text, .options = options,
                                                  .prelude = prelude, .kernel = "forward",
                                                  .rewrite = plan->launch.rewrite,
                                                  .wish = &plan->launch.wish};
        status = try_forward(plan, &request);
    }
    free(prelude);
    return status;
}

static clattn_status build_merge(clattn_plan *plan)
{
    const clattn_attention *a = &plan->problem.a;
    plan->merge_spec = (struct clattn__merge_spec){
        .type_parts = CLATTN_F32, .type_o = a->type_o, .dim_v = (int32_t)a->dim_v,
        .parts = plan->launch.splits, .lse = a->flags & CLATTN_WANT_LSE, .packed = a->flags & CLATTN_PACKED,
        .sum = a->normaliser == CLATTN_NO_NORMALISER,
    };
    return clattn__merge_build(plan->ctx, &plan->merge_spec, &plan->merge);
}

bool clattn__merges_after(const struct clattn__launch *launch)
{
    return launch->splits > 1 && !launch->spec.JOINS;
}

cl_mem clattn__make_arrivals(clattn_context *ctx, const struct clattn__launch *launch, cl_int *code)
{
    /* one more than tiles, of which there may be none */
    const size_t bytes = (launch->tiles / (size_t)launch->splits + 1) * sizeof(cl_uint);
    void *zeros = calloc(1, bytes);
    cl_mem made = NULL;
    *code = CL_OUT_OF_HOST_MEMORY;
    if (zeros)
        made = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, bytes, zeros, code);
    free(zeros);
    return *code == CL_SUCCESS ? made : NULL;
}

/* Lay out the workspace, and make it unless every enqueue brings one. */
static clattn_status make_workspace(clattn_plan *plan)
{
    plan->workspace_bytes =
        clattn__workspace_fill(&plan->args, &plan->merge_args, &plan->tables, &plan->problem, &plan->launch);
    if (plan->problem.a.flags & CLATTN_CALLER_WORKSPACE || plan->workspace_bytes == 0)
        return CLATTN_OK;
    cl_int code;
    cl_mem made = clCreateBuffer(plan->ctx->cl, CL_MEM_READ_WRITE, (size_t)plan->workspace_bytes, NULL, &code);
    plan->workspace = code == CL_SUCCESS ? made : NULL;
    if (code == CL_SUCCESS && plan->launch.spec.JOINS)
        plan->arrivals = clattn__make_arrivals(plan->ctx, &plan->launch, &code);
    if (code == CL_SUCCESS)
        return CLATTN_OK;
    return clattn__fail_cl(plan->ctx, "clCreateBuffer for the workspace", code);
}

/* A plan's programs; unused ones are NULL. */
static void list_programs(const clattn_plan *plan, cl_program programs[2 + CLATTN_MAX_ARRAYS])
{
    programs[0] = plan->forward.program;
    programs[1] = plan->merge.program;
    for (int i = 0; i < CLATTN_MAX_ARRAYS; i++)
        programs[2 + i] = i < plan->tables.count ? plan->tables.kernel[i].program : NULL;
}

/* Whether an earlier plan of this context launched the same programs, and they gave right numbers. */
static bool is_proved(const clattn_plan *plan)
{
    cl_program programs[2 + CLATTN_MAX_ARRAYS];
    list_programs(plan, programs);
    for (size_t i = 0; i < CLATTN__LEN(programs); i++)
        if (programs[i] && !clattn__kept_is_proved(plan->ctx, programs[i]))
            return false;
    return true;
}

static void prove(const clattn_plan *plan)
{
    cl_program programs[2 + CLATTN_MAX_ARRAYS];
    list_programs(plan, programs);
    for (size_t i = 0; i < CLATTN__LEN(programs); i++)
        if (programs[i] && clattn__is_compared(plan))
            clattn__kept_prove(plan->ctx, programs[i]);
}

/* Let later processes know what failed in this one. */
static void quarantine(const clattn_plan *plan)
{
    clattn_quarantine entry = CLATTN_QUARANTINE_INIT;
    snprintf(entry.engine, sizeof entry.engine, "%s", plan->engine->name);
    snprintf(entry.fault, sizeof entry.fault, "%s", plan->fault);
    clattn_context_message(plan->ctx, entry.details, sizeof entry.details);
    clattn_problem_print(&plan->problem.a, entry.problem, sizeof entry.problem);
    clattn__quarantine_add(plan->ctx, &plan->key, &entry);
}

static clattn_status prepare(clattn_plan *plan, const clattn_attention *a,
                             const struct clattn__attempt *attempt)
{
    char details[CLATTN__MESSAGE_SIZE];
    clattn_status status = clattn__problem_resolve(&plan->problem, a, details, sizeof details);
    if (status)
        return clattn__fail(plan->ctx, status, CL_SUCCESS, "%s", details);
    struct clattn__text why = clattn__text_into(plan->why, sizeof plan->why);
    status = choose(plan, attempt, &why);
    if (status)
        return status;
    clattn__forward_args_fill(&plan->args, &plan->problem, &plan->launch);
    status = make_workspace(plan);
    if (!status)
        status = build_forward(plan);
    if (!status && clattn__merges_after(&plan->launch))
        status = build_merge(plan);
    if (!status)
        status = clattn__tables_build(plan->ctx, &plan->problem, &plan->tables);
    if (!status && !is_proved(plan))
        status = clattn__self_test(plan);
    if (!status)
        prove(plan);
    else if (plan->fault && may_fail(plan))
        quarantine(plan);
    return status;
}

/* Whether a failure is of one kernel alone, so that another may serve. */
static bool is_of_kernel(clattn_status status)
{
    return status == CLATTN_BUILD_FAILED || status == CLATTN_SELF_TEST_FAILED ||
           status == CLATTN_ENGINE_REFUSED;
}

/* What to try after a plan that failed: the line behind the one that it was of, or without its engine; false:
 * nothing else. */
static bool next_attempt(const clattn_plan *failed, clattn_status status, struct clattn__attempt *attempt)
{
    if (!is_of_kernel(status) || !failed->engine || !has_substitute(failed) ||
        !(may_fail(failed) || failed->quarantined))
        return false;
    if (failed->is_tuned)
        attempt->tuned_from = failed->tuned_number + 1;
    else
        attempt->failed |= 1u << clattn__engine_number(failed->engine);
    clattn__log(failed->ctx, "%s %s failed: %s; the next one is taken",
                failed->is_tuned ? "tuned engine" : "engine", failed->engine->name,
                clattn_status_text(status));
    return true;
}

/* A plan by what is best but for what an attempt passes over; NULL with the status, and whether there is a
 * next attempt. */
static clattn_plan *make_plan(clattn_context *ctx, const clattn_attention *problem,
                              struct clattn__attempt *attempt, bool *go_on, clattn_status *status)
{
    clattn_plan *made = calloc(1, sizeof *made);
    *go_on = false;
    if (!made) {
        *status = clattn__fail(ctx, CLATTN_OUT_OF_HOST_MEMORY, CL_SUCCESS, "%s", "plan");
        return NULL;
    }
    made->magic = CLATTN__PLAN_MAGIC;
    made->ctx = ctx;
    clattn__context_retain(ctx);
    pthread_mutex_init(&made->lock, NULL);
    *status = prepare(made, problem, attempt);
    if (!*status)
        return made;
    *go_on = next_attempt(made, *status, attempt);
    clattn_plan_destroy(made);
    return NULL;
}

clattn_status clattn_plan_create(clattn_plan **plan, clattn_context *ctx, const clattn_attention *problem)
{
    if (!plan)
        return CLATTN_NULL_ARGUMENT;
    *plan = NULL;
    clattn_status status = clattn__context_check(ctx);
    if (status)
        return status;
    struct clattn__attempt attempt = {0, 0};
    bool go_on = true;
    while (!*plan && go_on)
        *plan = make_plan(ctx, problem, &attempt, &go_on, &status);
    return status;
}

void clattn_plan_destroy(clattn_plan *plan)
{
    if (!plan || plan->magic != CLATTN__PLAN_MAGIC)
        return;
    plan->magic = 0;
    if (plan->busy)
        clReleaseEvent(plan->busy);
    if (plan->workspace)
        clReleaseMemObject(plan->workspace);
    if (plan->arrivals)
        clReleaseMemObject(plan->arrivals);
    clattn__kernel_free(&plan->forward);
    clattn__kernel_free(&plan->merge);
    clattn__tables_free(&plan->tables);
    clattn__problem_free(&plan->problem);
    pthread_mutex_destroy(&plan->lock);
    clattn__context_release(plan->ctx);
    free(plan);
}

static void explain_rules(const clattn_plan *plan, struct clattn__text *out)
{
    static const char *const labels[] = {"mask       ", "score      ", "weight     "};
    static const char *const normalisers[] = {"softmax", "sum of the weights", "number of visible keys",
                                              "none"};
    char text[4 * CLATTN_PATTERN_TEXT];
    for (int use = CLATTN__MASK; use < CLATTN__USES; use++) {
        if (use != CLATTN__MASK && !clattn__expr_has(plan->problem.rules, (enum clattn__use)use))
            continue;
        if (clattn__expr_print(plan->problem.rules, (enum clattn__use)use, text, sizeof text))
            text[0] = 0;
        clattn__text_add(out, "%s%s\n", labels[use],
                         clattn__expr_has(plan->problem.rules, (enum clattn__use)use) ? text : "every key");
    }
    const clattn_list *l = &plan->problem.a.list;
    if (plan->problem.reads_list)
        clattn__text_add(out,
                         "listed     %lld list%s of a batch entry: %lld x %lld, blocks of %d queries, up to "
                         "%lld blocks of %d keys\n",
                         (long long)(l->scopes * l->q_blocks), l->scopes * l->q_blocks == 1 ? "" : "s",
                         (long long)l->scopes, (long long)l->q_blocks, (int)l->block_q,
                         (long long)l->capacity, (int)l->block_k);
    clattn__text_add(out, "normaliser %s\n", normalisers[plan->problem.a.normaliser]);
}

clattn_status clattn_plan_explain(const clattn_plan *plan, char *text, size_t size)
{
    clattn_status status = clattn__plan_check(plan);
    if (status)
        return status;
    if (!text || size == 0)
        return clattn__fail(plan->ctx, CLATTN_NULL_ARGUMENT, CL_SUCCESS, "%s", "text");
    char problem[512];
    if (clattn_problem_print(&plan->problem.a, problem, sizeof problem))
        problem[0] = 0;
    const struct clattn__launch *launch = &plan->launch;
    struct clattn__text out = clattn__text_into(text, size);
    clattn__text_add(&out, "problem    %s\n", problem);
    explain_rules(plan, &out);
    clattn__text_add(&out, "device     %s\n", plan->ctx->facts.name);
    clattn__text_add(&out, "engine     %s: tile of %d rows x %d keys, groups of %d items\n",
                     plan->engine->name, (int)launch->spec.BQ, (int)launch->spec.BK, (int)launch->spec.GROUP);
    clattn__text_add(&out, "launch     %zu groups, %zu tiles; %d query heads a tile; keys in %d part%s\n",
                     launch->groups, launch->tiles, (int)launch->pack, (int)launch->splits,
                     launch->splits == 1            ? ""
                     : clattn__merges_after(launch) ? "s, merged in a fixed order"
                                                    : "s, joined by the last one's group in a fixed order");
    clattn__text_add(&out, "workspace  %lld bytes", (long long)plan->workspace_bytes);
    clattn__text_add(&out, plan->tables.count ? ", %d table%s of minima and maxima\n" : "\n",
                     plan->tables.count, plan->tables.count > 1 ? "s" : "");
    clattn__text_add(&out, "kernels    %s%s%s, options ", launch->kernel_text,
                     clattn__merges_after(launch) ? ", merge" : "", plan->tables.count ? ", tables" : "");
    char options[OPTIONS_SIZE];
    struct clattn__text spec = clattn__text_into(options, sizeof options);
    clattn__spec_options(&launch->spec, &spec);
    clattn__text_add(&out, "%s\n%s", options, plan->why);
    return out.cut ? clattn__fail(plan->ctx, CLATTN_BUFFER_TOO_SHORT, CL_SUCCESS, "%zu bytes", size)
                   : CLATTN_OK;
}

const char *clattn_plan_engine(const clattn_plan *plan)
{
    return plan && plan->magic == CLATTN__PLAN_MAGIC ? plan->engine->name : NULL;
}

clattn_status clattn_workspace_size(const clattn_plan *plan, uint64_t *bytes)
{
    clattn_status status = clattn__plan_check(plan);
    if (status)
        return status;
    if (!bytes)
        return clattn__fail(plan->ctx, CLATTN_NULL_ARGUMENT, CL_SUCCESS, "%s", "bytes");
    *bytes = (uint64_t)plan->workspace_bytes;
    return CLATTN_OK;
}
