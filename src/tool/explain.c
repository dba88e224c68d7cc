/* SPDX-License-Identifier: MIT
 * explain.c - clattn explain: what the library makes of a problem's rules, and which tiles a mask leaves;
 * what a compiler makes of its kernels. */
#include "tool/extended.h"

#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 64 /* of the picture in text */
#define MAX_ROWS 32
#define KERNEL_TEXT ((size_t)1 << 20)

struct explain {
    struct problem_options options;
    const char *svg;
    long long tile_q, tile_k, batch, head;
    bool default_tile; /* --tile is not given */
    bool kernel, build_log;
    const char *device;
};

/* The classes of one batch entry's and head's tiles. */
struct map {
    size_t rows, columns;
    uint8_t *class;
};

/* ---- text ---- */
static void print_rule(const clattn_attention *problem, clattn_use use, const char *label)
{
    static const char *const none[] = {"every key is visible", "a score is its own", ""};
    char text[4 * CLATTN_PATTERN_TEXT], derivative[8 * CLATTN_PATTERN_TEXT];
    int32_t cost = 0;
    if (clattn_rule_print(problem, use, text, sizeof text) || clattn_rule_cost(problem, use, &cost))
        return;
    if (!text[0]) {
        if (none[use][0])
            printf("%-11s %s\n", label, none[use]);
        return;
    }
    printf("%-11s %s\n", label, text);
    if (use != CLATTN_MASK_RULE && !clattn_rule_derivative(problem, use, derivative, sizeof derivative))
        printf("%-11s %s\n", "  d/dscore", derivative[0] ? derivative : "0");
    printf("%-11s about %d operations a pair\n", "  cost", (int)cost);
}

static int print_kernel_text(const clattn_attention *problem)
{
    char *text = malloc(KERNEL_TEXT);
    if (!text || clattn_rule_kernel_text(problem, text, KERNEL_TEXT)) {
        free(text);
        return mistake("the kernel text is longer than %zu bytes", KERNEL_TEXT);
    }
    printf("\n%s", text);
    free(text);
    return 0;
}

/* ---- tiles ---- */
static int classify(const struct explain *e, const struct workload *w, struct map *map)
{
    const clattn_attention *a = &w->problem;
    map->rows = (size_t)((a->q_len + e->tile_q - 1) / e->tile_q);
    map->columns = (size_t)((a->kv_len + e->tile_k - 1) / e->tile_k);
    map->class = malloc(map->rows * map->columns + 1);
    clattn_status status =
        map->class ? clattn_tile_map(a, (const void *const *)w->arrays, e->batch, e->head, e->tile_q,
                                     e->tile_k, map->class, map->rows * map->columns)
                   : CLATTN_OUT_OF_HOST_MEMORY;
    return status == CLATTN_BAD_COUNT ? mistake("--batch or --head is beyond the problem's")
           : status                   ? failed(NULL, status, "tiles")
                                      : 0;
}

static void print_shares(const struct explain *e, const struct map *map)
{
    size_t count[3] = {0, 0, 0}, all = map->rows * map->columns;
    for (size_t i = 0; i < all; i++)
        count[map->class[i]]++;
    printf("tiles       %zu, each %lld queries x %lld keys; batch entry %lld, head %lld: %zu EMPTY (%.1f "
           "%%), %zu PARTIAL (%.1f %%), "
           "%zu FULL (%.1f %%)\n",
           all, e->tile_q, e->tile_k, e->batch, e->head, count[0],
           all ? 100.0 * (double)count[0] / (double)all : 0, count[1],
           all ? 100.0 * (double)count[1] / (double)all : 0, count[2],
           all ? 100.0 * (double)count[2] / (double)all : 0);
}

/* The class of a cell of the picture: that of all its tiles, or PARTIAL. */
static uint8_t cell_class(const struct map *map, size_t rows, size_t columns, size_t i, size_t j)
{
    size_t i0 = i * map->rows / rows, i1 = (i + 1) * map->rows / rows, j0 = j * map->columns / columns;
    size_t j1 = (j + 1) * map->columns / columns;
    uint8_t class = map->class[i0 * map->columns + j0];
    for (size_t r = i0; r < i1; r++)
        for (size_t c = j0; c < j1; c++)
            class = map->class[r * map->columns + c] == class ? class : CLATTN_TILE_PARTIAL;
    return class;
}

static void print_picture(const struct map *map)
{
    size_t rows = map->rows < MAX_ROWS ? map->rows : MAX_ROWS,
           columns = map->columns < MAX_COLUMNS ? map->columns : MAX_COLUMNS;
    for (size_t i = 0; i < rows; i++) {
        printf("    |");
        for (size_t j = 0; j < columns; j++)
            putchar(".+#"[cell_class(map, rows, columns, i, j)]);
        printf("|\n");
    }
    printf("    queries downwards, keys to the right: . EMPTY (not visited), + PARTIAL (tested), # FULL (no "
           "test)\n");
}

static int write_svg(const struct explain *e, const struct map *map)
{
    static const char *const colours[] = {"#f4f4f2", "#e8a33d", "#2b5d8a"};
    size_t size = map->columns > map->rows ? map->columns : map->rows;
    double unit = size ? 640.0 / (double)size : 1;
    FILE *file = fopen(e->svg, "w");
    if (!file)
        return mistake("%s: cannot be written", e->svg);
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\">\n"
            "<title>tiles of %lld queries x %lld keys</title>\n",
            unit * (double)map->columns, unit * (double)map->rows, e->tile_q, e->tile_k);
    for (size_t i = 0; i < map->rows; i++)
        for (size_t j = 0, end; j < map->columns; j = end) { /* a run of one class is one rectangle */
            uint8_t class = map->class[i * map->columns + j];
            for (end = j + 1; end < map->columns && map->class[i * map->columns + end] == class; end++)
                ;
            fprintf(file, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\"/>\n",
                    unit * (double)j, unit * (double)i, unit * (double)(end - j), unit, colours[class]);
        }
    fprintf(file, "</svg>\n");
    return close_written(file, e->svg);
}

/* ---- the compiler's report ---- */
static void print_report_line(void *cookie, const char *line)
{
    if (strstr(line, ": compiler: ")) {
        printf("%s\n", line);
        ++*(long *)cookie;
    }
}

static int print_build_log(const struct explain *e, const clattn_attention *problem)
{
    char text[4096];
    long lines = 0;
    clattn_context *ctx;
    clattn_plan *plan;
    clattn_status status = clattn_context_open(&ctx, e->device);
    if (status)
        return failed(NULL, status, e->device ? e->device : "devices");
    clattn_context_set_log(ctx, print_report_line, &lines);
    clattn_context_set_build_report(ctx, true);
    printf("\n");
    status = clattn_plan_create(&plan, ctx, problem);
    int code = status ? failed(ctx, status, "build") : 0;
    if (!status) {
        if (!lines)
            printf("compiler   has no report of what it built\n");
        clattn_plan_explain(plan, text, sizeof text);
        char *device = strstr(text, "device ");
        printf("%s", device ? device : text);
        clattn_plan_destroy(plan);
    }
    clattn_context_close(ctx);
    return code;
}

/* ---- pruned attention ---- */
static int print_attention_plan(clattn_context *ctx, const clattn_attention *problem)
{
    char text[4096];
    clattn_plan *plan;
    clattn_status status = clattn_plan_create(&plan, ctx, problem);
    if (status)
        return failed(ctx, status, "plan");
    clattn_plan_explain(plan, text, sizeof text);
    char *device = strstr(text, "device "); /* the rules stand above */
    printf("\n%s", device ? device : text);
    clattn_plan_destroy(plan);
    return 0;
}

/* What a row visits is the mean over all rows of all heads, at full lengths. */
static void print_visited(const struct selection *x)
{
    const clattn_attention *a = &x->dense.problem;
    const double rows = (double)(a->batch * a->heads * a->q_len), pair = 2.0 * (double)(a->dim + a->dim_v);
    const double seen =
        rows > 0 ? clattn_problem_flops(a, (const void *const *)x->dense.arrays) / pair / rows : 0;
    const double part = selection_visited(x);
    printf("%-11s %.1f of %.1f keys a row on average, %.2f %%\n", "visited", part * seen, seen, 100 * part);
}

static int print_extended_plan(const struct selection *x)
{
    clattn_extend_plan *plan;
    char text[4096];
    clattn_status status = clattn_extend_plan_create(&plan, x->ctx, &x->s, &x->dense.problem);
    if (status)
        return failed(x->ctx, status, "extend");
    clattn_extend_plan_explain(plan, text, sizeof text);
    printf("\n%s", text);
    clattn_extend_plan_destroy(plan);
    return 0;
}

static int print_selection(const struct selection *x, clattn_context *ctx, const clattn_attention *problem)
{
    char text[4096], lists[128];
    clattn_select_plan_explain(x->plan, text, sizeof text);
    printf("\n%s%-11s %s\n", text, "made", selection_text(x, lists));
    print_visited(x);
    return x->s.extend ? print_extended_plan(x) : print_attention_plan(ctx, problem);
}

/* Which tiles there are follows from the lists, so they are made first, of random input. */
static int open_selection(const struct explain *e, struct selection *x, clattn_context **ctx,
                          const clattn_select *s, struct workload *w)
{
    clattn_status status = clattn_context_open(ctx, e->device);
    if (status)
        return failed(NULL, status, e->device ? e->device : "devices");
    status = selection_of(x, s, w, *ctx);
    return status ? failed(*ctx, status, "selection") : 0;
}

/* ---- the command ---- */
static void print_problem(const clattn_attention *problem, const struct selection *x)
{
    static const char *const normalisers[] = {"softmax", "sum of the weights", "number of visible keys",
                                              "none"};
    char text[1024];
    clattn_problem_print(x->w ? &x->dense.problem : problem, text, sizeof text);
    printf("%-11s %s", "problem", text);
    if (x->w && !clattn_select_print(&x->s, text, sizeof text))
        printf(":%s", text);
    printf("\n");
    print_rule(problem, CLATTN_MASK_RULE, "mask");
    print_rule(problem, CLATTN_SCORE_RULE, "score");
    print_rule(problem, CLATTN_WEIGHT_RULE, "weight");
    printf("%-11s %s\n", "normaliser", normalisers[problem->normaliser]);
}

static int print_tiles(const struct explain *e, const struct workload *w)
{
    struct map map = {0, 0, NULL};
    int code = classify(e, w, &map);
    if (!code) {
        print_shares(e, &map);
        print_picture(&map);
        if (e->default_tile)
            printf("    tiles of the size that --tile has by default, of no engine; --build-log says which "
                   "tile the engine has\n");
        code = e->svg ? write_svg(e, &map) : 0;
    }
    free(map.class);
    return code;
}

static int explain_workload(const struct explain *e, struct workload *w, const clattn_select *s)
{
    struct selection x = {.w = NULL};
    clattn_context *ctx = NULL;
    int code = s->size ? open_selection(e, &x, &ctx, s, w) : 0;
    if (!code) {
        print_problem(&w->problem, &x);
        code = print_tiles(e, w);
    }
    if (!code && e->kernel)
        code = print_kernel_text(&w->problem);
    if (!code && s->size)
        code = print_selection(&x, ctx, &w->problem);
    if (!code && e->build_log)
        code = print_build_log(e, &w->problem);
    selection_free(&x);
    if (ctx)
        clattn_context_close(ctx);
    return code;
}

static int explain_problem(const struct explain *e, const char *text)
{
    clattn_attention problem;
    clattn_select s;
    struct workload w;
    if (read_selector(&problem, &s, text, &e->options) ||
        (e->build_log && refuse_extended(&s, "explain --build-log")))
        return EXIT_MISTAKE;
    clattn_status status = workload_make(&w, &problem, 0, WORKLOAD_NORMAL);
    if (status)
        return failed(NULL, status, text);
    int code = load_arrays(&e->options, &w) ? EXIT_MISTAKE : explain_workload(e, &w, &s);
    workload_free(&w);
    return code;
}

static const char help[] =
    "usage: clattn explain [OPTIONS] PROBLEM[:SELECTION]\n\n"
    "Says what becomes of a problem's rules: canonical texts, derivatives, cost, which tiles are visited; with a selection\n"
    "behind the problem also both plans, and how many keys a row visits.  Needs a device for that and --build-log alone.\n\n"
    "  --tile QxK         size of a tile in the map (64x128, whatever engine would serve)\n"
    "  --batch N --head N whose tiles (0, 0)\n"
    "  --svg F            the map as a picture\n"
    "  --kernel           the lines of OpenCL C that the rules become\n"
    "  --build-log        build the problem's kernels, and print what the compiler says of them: registers, spills\n"
    "  --device S         where: number, cpu, gpu, accelerator, or part of a name\n" PROBLEM_HELP HELP_HELP;

static int read_tile(struct explain *e, const char *text)
{
    char end;
    if (sscanf(text, "%lldx%lld%c", &e->tile_q, &e->tile_k, &end) != 2 || e->tile_q < 1 || e->tile_k < 1 ||
        e->tile_q > 1 << 20 || e->tile_k > 1 << 20)
        return mistake("--tile '%s' is not QUERIESxKEYS, as 64x128", text);
    e->default_tile = false;
    return 0;
}

static int take_option(struct explain *e, int c)
{
    switch (c) {
    case 't': return read_tile(e, optarg);
    case 'b': return read_count("--batch", optarg, 0, &e->batch);
    case 'H': return read_count("--head", optarg, 0, &e->head);
    case 's': e->svg = optarg; return 0;
    case 'k': e->kernel = true; return 0;
    case 'l': e->build_log = true; return 0;
    case 'd': e->device = optarg; return 0;
    default: return take_problem_option(&e->options, c);
    }
}

int command_explain(int argc, char **argv)
{
    static const struct option options[] = {
        {"tile", required_argument, NULL, 't'}, {"batch", required_argument, NULL, 'b'}, {"head", required_argument, NULL, 'H'},
        {"svg", required_argument, NULL, 's'},  {"kernel", no_argument, NULL, 'k'},
        {"build-log", no_argument, NULL, 'l'},  {"device", required_argument, NULL, 'd'}, PROBLEM_OPTIONS, {0}};
    struct explain e = {.tile_q = 64, .tile_k = 128, .default_tile = true};
    int c;
    while ((c = next_option(argc, argv, options)) != -1) {
        if (c == OPTION_HELP) {
            printf("%s", help);
            return EXIT_GOOD;
        }
        if (take_option(&e, c))
            return EXIT_MISTAKE;
    }
    if (argc - optind != 1)
        return mistake("explain takes one problem, as attn:f32:h8:q2048:k2048:d64:causal-tl");
    return explain_problem(&e, argv[optind]);
}
