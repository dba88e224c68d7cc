/* SPDX-License-Identifier: MIT
 * emit.c - the graph as kernel text: what cl/common/rule.clh completes.
 *
 * The text is made of fixed words and small decimal numbers alone: names become their place among the kernel
 * arguments, literals and scalars become n0, n1, ... of struct rule_numbers.  Each node is one statement, in
 * one of three families of functions: x1_ (one pair), x16_ (sixteen queries against a key, or a query against
 * sixteen keys), xi_ (intervals, for the class of a tile).
 *
 *     where a node depends on      it is computed                              and called
 *     neither q, h, k nor score    once a work-group, in RULE_ENV_FILL         e->u7
 *     q or h alone                 x16_: once a row, in rule_rows_fill         y->y7
 *     k alone                      x16_: once a key, as a scalar               s7
 *     more                         for each pair                               v7
 *
 * With sixteen keys rows and keys change places, and nothing is kept.  The x1_ family computes all but the
 * first kind for each pair.  An array that lies along the keys for each query, as bias[b, h, q, k] or bias[h,
 * k - q + n], is read by x16_ in runs of sixteen keys, which a row keeps (y->r7). */
#include "expr/emit.h"

static void say(const struct emitter *m, const char *fmt, int number)
{
    clattn__text_add(m->out, fmt, number);
}

/* ---- where a node is computed ---- */
static bool is_uniform(const struct node *n)
{
    return n->depends == 0;
}

static bool is_row(const struct node *n)
{
    return n->depends && !(n->depends & ~(DEPENDS_Q | DEPENDS_H));
}

static bool is_key(const struct node *n)
{
    return n->depends == DEPENDS_K;
}

/* Whether a node of an x16_ function is the same for all lanes. */
static bool is_scalar(const struct emitter *m, const struct node *n)
{
    return m->family == QUERIES ? is_key(n) : m->family == KEYS && is_row(n);
}

/* Whether rule_rows_fill keeps a node: of a row, and used by what is not, or a rule itself. */
static bool is_kept_row(const struct clattn__expr *e, int node)
{
    const struct node *n = &e->nodes[node];
    if (!is_row(n) || n->n_args == 0)
        return false;
    for (int u = 0; u < CLATTN__USES; u++)
        if (e->root[u] == node)
            return true;
    for (int i = node + 1; i < e->n_nodes; i++)
        for (int j = 0; j < e->nodes[i].n_args; j++)
            if (e->nodes[i].args[j] == node && !is_row(&e->nodes[i]))
                return true;
    return false;
}

/* How fast a number grows with k, or -1 if that is not known. */
static int slope(const struct clattn__expr *e, int node)
{
    const struct node *n = &e->nodes[node];
    if (!(n->depends & DEPENDS_K))
        return 0;
    if (n->kind == KIND_INDEX)
        return 1;
    if (n->kind != KIND_ADD && n->kind != KIND_SUB)
        return -1;
    int a = slope(e, n->args[0]), b = slope(e, n->args[1]);
    int sum = n->kind == KIND_ADD ? a + b : a - b;
    return a < 0 || b < 0 || sum < 0 || sum > 1 ? -1 : sum;
}

/* Whether a query reads an array element after element as k grows. */
static bool lies_along_keys(const struct clattn__expr *e, const struct node *n)
{
    if (n->kind != KIND_ARRAY || slope(e, n->args[n->n_args - 1]) != 1)
        return false;
    for (int i = 0; i < n->n_args - 1; i++)
        if (e->nodes[n->args[i]].depends & DEPENDS_K)
            return false;
    return true;
}

/* Whether sixteen queries each do so, and keep what they read.  Bits: at the same places for all queries. */
static bool is_run(const struct clattn__expr *e, const struct node *n)
{
    if (!lies_along_keys(e, n) || is_key(n))
        return false;
    return e->arrays[n->value].type != CLATTN_BITS || is_key(&e->nodes[n->args[n->n_args - 1]]);
}

/* A quotient by what is the same for a group is a product with its reciprocal, save where whole results
 * matter: in masks. */
static bool is_scaled(const struct clattn__expr *e, const struct node *n)
{
    return n->kind == KIND_DIV && n->depends & DEPENDS_SCORE && is_uniform(&e->nodes[n->args[1]]);
}

/* ---- names of values ---- */
static const char *const one_types[] = {"int", "float", "int"};
static const char *const lane_types[] = {"int16", "float16", "int16"};
static const char *const range_types[] = {"struct irange", "struct frange", "int"};
static const char *const prefixes[] = {"x1", "x16", "x16", "xi"};

static void scalar_name(const struct emitter *m, int node)
{
    const struct node *n = &m->e->nodes[node];
    if (is_uniform(n))
        say(m, "e->u%d", node);
    else if (n->kind == KIND_INDEX)
        clattn__text_add(m->out, "%s", clattn__expr_indices[n->value]);
    else
        say(m, m->family == ONE && !m->scalar ? "v%d" : "s%d", node);
}

static void lane_name(const struct emitter *m, int node)
{
    const struct node *n = &m->e->nodes[node];
    if (is_uniform(n) || is_scalar(m, n)) {
        clattn__text_add(m->out, "%s(",
                         n->type == TYPE_BOOL  ? "x16_bool"
                         : n->type == TYPE_INT ? "x16_int"
                                               : "x16_real");
        scalar_name(m, node);
        clattn__text_add(m->out, ")");
    } else if (n->kind == KIND_INDEX) {
        clattn__text_add(m->out, "%s", clattn__expr_indices[n->value]);
    } else if (m->family == QUERIES && is_row(n) && !m->filling_rows) {
        say(m, "y->y%d", node);
    } else {
        say(m, "v%d", node);
    }
}

static void range_name(const struct emitter *m, int node)
{
    const struct node *n = &m->e->nodes[node];
    static const char *const points[] = {"xi_int(e->u%d)", "xi_frange(e->u%d)", "xi_bool(e->u%d)"};
    if (is_uniform(n))
        say(m, points[n->type], node);
    else if (n->kind == KIND_INDEX)
        clattn__text_add(m->out, "xi_%s", clattn__expr_indices[n->value]);
    else
        say(m, "v%d", node);
}

void clattn__emit_name(const struct emitter *m, int node)
{
    if (m->family == ONE)
        scalar_name(m, node);
    else if (m->family == INTERVAL)
        range_name(m, node);
    else
        lane_name(m, node);
}

/* ---- arrays ---- */
static const char *const element_words[] = {"f32", "f16", "bf16", "i32", "i8", "bits"};
static const char *const element_types[] = {"float", "half", "ushort", "int", "char", "uint"};

/* "1, 1, e->n4, e->n5": the array's dimensions, leading ones filled up. */
static void emit_dims(const struct emitter *m, int array)
{
    int n_dims = m->e->arrays[array].n_dims;
    for (int d = 0; d < CLATTN_MAX_DIMS - n_dims; d++)
        clattn__text_add(m->out, ", 1");
    for (int d = 0; d < n_dims; d++)
        say(m, ", e->n%d", m->e->dims_slot[array] + d);
}

static void emit_indices(const struct emitter *m, const struct node *n)
{
    static const char *const zero[] = {", 0", ", x16_int(0)", ", x16_int(0)", ", xi_int(0)"};
    for (int d = 0; d < CLATTN_MAX_DIMS - n->n_args; d++)
        clattn__text_add(m->out, "%s", zero[m->family]);
    for (int d = 0; d < n->n_args; d++) {
        clattn__text_add(m->out, ", ");
        clattn__emit_name(m, n->args[d]);
    }
}

/* More than 2^31 elements need 64-bit positions. */
static bool is_far(const clattn_array *array)
{
    int64_t count = 1;
    for (int d = 0; d < array->n_dims; d++)
        if (!clattn__mul(count, array->dims[d] > 0 ? array->dims[d] + 31 : 1, &count) || count > INT32_MAX)
            return true;
    return false;
}

/* The ends of what an element may be. */
static const char *widest(int32_t type)
{
    switch (type) {
    case CLATTN_I32: return "INT_MIN, INT_MAX";
    case CLATTN_I8: return "-128, 127";
    case CLATTN_BITS: return "0, 1";
    default: return "-INFINITY, INFINITY";
    }
}

static void emit_lookup(const struct emitter *m, const struct node *n)
{
    const clattn_array *array = &m->e->arrays[n->value];
    const struct clattn__table table = clattn__expr_table(m->e, n->value);
    const char *kind = n->type == TYPE_BOOL ? "xi_btable" : n->type == TYPE_FLOAT ? "xi_ftable" : "xi_itable";
    clattn__text_add(m->out, "%s(e->t%d", kind, (int)n->value);
    emit_dims(m, n->value);
    clattn__text_add(m->out, ", %d, %d", (int)table.rows, (int)table.columns);
    emit_indices(m, n);
    clattn__text_add(m->out, ", %s)", widest(array->type));
}

/* Whether an array's last index is the key, which is never below 0. */
static bool is_by_key(const struct emitter *m, const struct node *n)
{
    const struct node *last = &m->e->nodes[n->args[n->n_args - 1]];
    return m->family == ONE && last->kind == KIND_INDEX && last->depends == DEPENDS_K &&
           m->e->arrays[n->value].type != CLATTN_BITS;
}

static void emit_element(const struct emitter *m, const struct node *n)
{
    const clattn_array *array = &m->e->arrays[n->value];
    bool run = m->family == QUERIES && is_run(m->e, n), line = m->family == KEYS && lies_along_keys(m->e, n);
    const char *how = run               ? "run_"
                      : line            ? "line_"
                      : is_far(array)   ? "far_"
                      : is_by_key(m, n) ? "key_"
                                        : "";
    clattn__text_add(m->out, "%s_%s%s(e->a%d", prefixes[m->family], how, element_words[array->type],
                     (int)n->value);
    emit_dims(m, n->value);
    emit_indices(m, n);
    if (run)
        say(m, ", &y->r%d, k", (int)(n - m->e->nodes));
    clattn__text_add(m->out, ")");
}

/* ---- lists ---- */
/* A tile's class of it is an argument, so that loops can ask what is seen where nothing is listed. */
static void emit_listed(const struct emitter *m)
{
    static const char *const calls[] = {"x1_listed(&e->lists, q, h, k)",
                                        "x16_listed(&e->lists, &y->listed, k)",
                                        "x16_listed_keys(&e->lists, q, h, k)", "xi_l"};
    clattn__text_add(m->out, "%s", calls[m->family]);
}

/* ---- statements ---- */
static void emit_value(const struct emitter *m, int node)
{
    const struct node *n = &m->e->nodes[node];
    const struct kind_facts *facts = &clattn__expr_kinds[n->kind];
    static const char letters[] = "ifb";
    if (n->kind == KIND_ARRAY) {
        (m->family == INTERVAL ? emit_lookup : emit_element)(m, n);
        return;
    }
    if (n->kind == KIND_LISTED) {
        emit_listed(m);
        return;
    }
    if (m->family != INTERVAL && is_scaled(m->e, n)) {
        clattn__text_add(m->out, "%s_fmul(", prefixes[m->family]);
        clattn__emit_name(m, n->args[0]);
        say(m, m->family == ONE ? ", 1.0f / e->u%d)" : ", x16_real(1.0f / e->u%d))", n->args[1]);
        return;
    }
    bool typed =
        facts->signature == SIGN_SAME || facts->signature == SIGN_COMPARE || facts->signature == SIGN_CHOICE;
    clattn__text_add(m->out, "%s_", prefixes[m->family]);
    if (typed)
        say(m, "%c", letters[clattn__operand_type(m->e, n)]);
    clattn__text_add(m->out, "%s(", facts->word);
    for (int i = 0; i < n->n_args; i++) {
        clattn__text_add(m->out, "%s", i ? ", " : "");
        clattn__emit_name(m, n->args[i]);
    }
    clattn__text_add(m->out, ")");
}

static void emit_statement(const struct emitter *m, int node)
{
    const struct node *n = &m->e->nodes[node];
    struct emitter as = *m;
    as.scalar = is_scalar(m, n);
    if (as.scalar)
        as.family = ONE;
    const char *const *types = as.family == INTERVAL ? range_types
                               : as.family == ONE    ? one_types
                                                     : lane_types;
    clattn__text_add(m->out, "    const %s %c%d = ", types[n->type], as.scalar ? 's' : 'v', node);
    emit_value(&as, node);
    clattn__text_add(m->out, "; \\\n");
}

/* Which nodes a rule's function computes. */
static void mark(const struct emitter *m, int root, bool wanted[CLATTN__EXPR_MAX_NODES])
{
    for (int i = 0; i < CLATTN__EXPR_MAX_NODES; i++)
        wanted[i] = i == root;
    for (int i = root; i >= 0; i--) {
        const struct node *n = &m->e->nodes[i];
        bool given =
            is_uniform(n) || n->kind == KIND_INDEX || (m->family == QUERIES && !m->filling_rows && is_row(n));
        if (wanted[i] && given)
            wanted[i] = false;
        for (int j = 0; wanted[i] && j < n->n_args; j++)
            wanted[n->args[j]] = true;
    }
}

void clattn__emit_statements(const struct emitter *m, int root)
{
    bool wanted[CLATTN__EXPR_MAX_NODES];
    mark(m, root, wanted);
    for (int i = 0; i <= root; i++)
        if (wanted[i])
            emit_statement(m, i);
}

static void emit_body(const struct emitter *m, int root)
{
    clattn__emit_statements(m, root);
    clattn__text_add(m->out, "    return ");
    clattn__emit_name(m, root);
    clattn__text_add(m->out, "; \\\n} \\\n");
}

/* ---- the parts ---- */
static const char *const use_names[] = {"mask", "score", "weight"};
static const char *const use_macros[] = {"MASK_RULE", "SCORE_RULE", "WEIGHT_RULE"};

static void emit_params(struct clattn__text *out, const struct clattn__expr *e)
{
    clattn__text_add(out, "#define RULE_NUMBERS %d\n#define RULE_PARAMS ", e->n_numbers);
    if (e->n_numbers)
        clattn__text_add(out, ", const struct rule_numbers rule_n");
    for (int i = 0; i < e->n_arrays; i++)
        if (e->dims_slot[i] >= 0)
            clattn__text_add(out, ", __global const %s *rule_a%d", element_types[e->arrays[i].type], i);
    if (clattn__expr_uses_list(e))
        clattn__text_add(out, ", const struct list_args rule_lists, __global const int *rule_list");
    for (int i = 0; i < e->n_arrays; i++)
        if (clattn__expr_table(e, i).needed) {
            clattn__text_add(out, ", __global const int *rule_tables");
            break;
        }
    clattn__text_add(out, "\n");
}

static void emit_env_fields(struct clattn__text *out, const struct clattn__expr *e)
{
    clattn__text_add(out, "#define RULE_ENV_FIELDS \\\n");
    for (int i = 0; i < e->n_numbers; i++)
        clattn__text_add(out, "    int n%d; \\\n", i);
    for (int i = 0; i < e->n_nodes; i++)
        if (is_uniform(&e->nodes[i]))
            clattn__text_add(out, "    %s u%d; \\\n", one_types[e->nodes[i].type], i);
    for (int i = 0; i < e->n_arrays; i++) {
        if (e->dims_slot[i] >= 0)
            clattn__text_add(out, "    __global const %s *a%d; \\\n", element_types[e->arrays[i].type], i);
        if (clattn__expr_table(e, i).needed)
            clattn__text_add(out, "    __global const int *t%d; \\\n", i);
    }
    if (clattn__expr_uses_list(e))
        clattn__text_add(out, "    struct lists lists; \\\n");
    clattn__text_add(out, "\n");
}

static void emit_uniform(const struct emitter *m, int node)
{
    const struct node *n = &m->e->nodes[node];
    say(m, "    e->u%d = ", node);
    if (n->kind == KIND_INDEX)
        clattn__text_add(m->out, "e->%s", clattn__expr_indices[n->value]);
    else if (n->slot >= 0)
        say(m, n->type == TYPE_FLOAT ? "as_float(e->n%d)" : "e->n%d", n->slot);
    else if (n->kind == KIND_LITERAL)
        say(m, "%d", (int)n->value);
    else
        emit_value(m, node);
    clattn__text_add(m->out, "; \\\n");
}

static void emit_env_fill(struct clattn__text *out, const struct clattn__expr *e)
{
    const struct emitter m = {.out = out, .e = e, .family = ONE};
    clattn__text_add(out, "#define RULE_ENV_FILL(e) \\\n");
    for (int i = 0; i < e->n_numbers; i++)
        clattn__text_add(out, "    e->n%d = rule_n.n[%d]; \\\n", i, i);
    for (int i = 0; i < e->n_arrays; i++) {
        if (e->dims_slot[i] >= 0)
            clattn__text_add(out, "    e->a%d = rule_a%d; \\\n", i, i);
        if (clattn__expr_table(e, i).needed)
            clattn__text_add(out, "    e->t%d = rule_tables + a.table_at[%d]; \\\n", i, i);
    }
    if (clattn__expr_uses_list(e))
        clattn__text_add(out, "    e->lists = find_lists(rule_list, &rule_lists, e->b, a.bottom_right * "
                              "(e->k_len - e->q_len)); \\\n");
    for (int i = 0; i < e->n_nodes; i++)
        if (is_uniform(&e->nodes[i]))
            emit_uniform(&m, i);
    clattn__text_add(out, "\n");
}

static const char *const run_words[] = {"int", "float", "bits"};

static void emit_rows(struct clattn__text *out, const struct clattn__expr *e)
{
    const struct emitter m = {.out = out, .e = e, .family = QUERIES, .filling_rows = true};
    clattn__text_add(out, "#define RULE_ROW_FIELDS \\\n");
    for (int i = 0; i < e->n_nodes; i++) {
        if (is_kept_row(e, i))
            clattn__text_add(out, "    %s y%d; \\\n", lane_types[e->nodes[i].type], i);
        if (is_run(e, &e->nodes[i]))
            clattn__text_add(out, "    struct x16_run_%s r%d; \\\n", run_words[e->nodes[i].type], i);
    }
    if (clattn__expr_uses_list(e))
        clattn__text_add(out, "    struct x16_listed listed; \\\n");
    clattn__text_add(out, "\n#define RULE_ROW_FILL \\\n");
    for (int i = 0; i < e->n_nodes; i++)
        if (is_row(&e->nodes[i]) && e->nodes[i].n_args > 0)
            emit_statement(&m, i);
    for (int i = 0; i < e->n_nodes; i++) {
        if (is_kept_row(e, i))
            clattn__text_add(out, "    y->y%d = v%d; \\\n", i, i);
        if (is_run(e, &e->nodes[i]))
            clattn__text_add(out, "    y->r%d.first = INT_MIN; \\\n", i);
    }
    if (clattn__expr_uses_list(e))
        clattn__text_add(out, "    y->listed = x16_find_lists(&e->lists, q, h); \\\n");
    clattn__text_add(out, "\n");
}

void clattn__emit_head(const struct emitter *m, const char *type, const char *name)
{
    static const char *const heads[] = {
        "%s_1(const struct rule_env *e, int q, int h, int k",
        "%s_16(const struct rule_env *e, struct rule_rows *y, int16 q, int16 h, int k",
        "%s_keys(const struct rule_env *e, int q, int h, int16 k",
        "%s_class_of(const struct rule_env *e, struct irange xi_q, struct irange xi_h, struct irange xi_k",
    };
    clattn__text_add(m->out, "static inline %s ", type);
    clattn__text_add(m->out, heads[m->family], name);
}

static void emit_functions(struct clattn__text *out, const struct clattn__expr *e, enum family family)
{
    struct emitter m = {.out = out, .e = e, .family = family};
    static const char *const macros[] = {"RULE_FUNCTIONS_1", "RULE_FUNCTIONS_16", "RULE_FUNCTIONS_KEYS",
                                         "RULE_FUNCTIONS_CLASS"};
    clattn__text_add(out, "#define %s \\\n", macros[family]);
    for (int u = 0; u < CLATTN__USES; u++) {
        if (e->root[u] < 0 || (family == INTERVAL && u != CLATTN__MASK))
            continue;
        const bool lanes = family == QUERIES || family == KEYS;
        const enum type type = u == CLATTN__MASK ? TYPE_BOOL : TYPE_FLOAT;
        clattn__emit_head(&m, (lanes ? lane_types : one_types)[type], use_names[u]);
        const bool lists = family == INTERVAL && clattn__expr_rule_uses_list(e, CLATTN__MASK);
        clattn__text_add(out, "%s%s) \\\n{ \\\n", lists ? ", int xi_l" : "",
                         u == CLATTN__MASK ? "" : lanes ? ", float16 score" : ", float score");
        emit_body(&m, e->root[u]);
    }
    if (family == ONE)
        clattn__emit_bias(&m);
    clattn__text_add(out, "\n");
}

static int count_tables(const struct clattn__expr *e)
{
    int count = 0;
    for (int i = 0; i < e->n_arrays; i++)
        count += clattn__expr_table(e, i).needed;
    return count;
}

clattn_status clattn__expr_kernel_text(const struct clattn__expr *expr, char *text, size_t size)
{
    if (!expr || !text || size == 0)
        return CLATTN_NULL_ARGUMENT;
    struct clattn__text out = clattn__text_into(text, size);
    clattn__text_add(&out, "#define RULES\n");
    for (int u = 0; u < CLATTN__USES; u++)
        clattn__text_add(&out, "#define %s %d\n", use_macros[u], expr->root[u] >= 0);
    clattn__text_add(&out, "#define SCORE_BIAS %d\n#define BIAS_STEP %d\n", clattn__has_bias(expr),
                     clattn__has_bias_step(expr));
    clattn__text_add(&out, "#define MASK_LISTS %d\n#define MASK_TABLES %d\n",
                     clattn__expr_rule_uses_list(expr, CLATTN__MASK), count_tables(expr));
    emit_params(&out, expr);
    emit_env_fields(&out, expr);
    emit_env_fill(&out, expr);
    emit_rows(&out, expr);
    emit_functions(&out, expr, ONE);
    emit_functions(&out, expr, QUERIES);
    emit_functions(&out, expr, KEYS);
    emit_functions(&out, expr, INTERVAL);
    return out.cut ? CLATTN_BUFFER_TOO_SHORT : CLATTN_OK;
}
