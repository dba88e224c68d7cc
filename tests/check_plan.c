/* SPDX-License-Identifier: MIT
 * check_plan.c - the choice of an engine and the geometry of a launch, on recorded devices (tests/devices);
 * no OpenCL.
 *
 * Choosing is a pure function of facts and task, so a phone's GPU is tested on a build machine.  The geometry
 * is checked by brute force against the arithmetic of cl/common/forward.clh: every row of every head meets
 * every key once. */
#include "attention/attention.h"
#include "door.clh"
#include "tests/suite.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEVICES = 32, RANDOM_TASKS = 400 };

struct recorded {
    char file[64];
    clattn_device_facts facts;
    char engine[32]; /* expected; "none" */
    int slow_wide_vectors, caches_programs;
};

static struct recorded devices[MOST_DEVICES];
static int n_devices;

/* ---- reading tests/devices ---- */

static cl_device_type device_type(const char *word)
{
    if (!strcmp(word, "cpu"))
        return CL_DEVICE_TYPE_CPU;
    if (!strcmp(word, "gpu"))
        return CL_DEVICE_TYPE_GPU;
    if (!strcmp(word, "accelerator"))
        return CL_DEVICE_TYPE_ACCELERATOR;
    ck_assert_str_eq(word, "all"); /* a simulator's answer: every bit of OpenCL 1.1 */
    return CL_DEVICE_TYPE_DEFAULT | CL_DEVICE_TYPE_CPU | CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_ACCELERATOR;
}

static bool set_text(struct recorded *r, const char *key, const char *value)
{
    clattn_device_facts *f = &r->facts;
    const struct {
        const char *key;
        char *at;
        size_t size;
    } texts[] = {
        {"platform", f->platform, sizeof f->platform},
        {"platform_version", f->platform_version, sizeof f->platform_version},
        {"name", f->name, sizeof f->name},
        {"vendor", f->vendor, sizeof f->vendor},
        {"driver", f->driver, sizeof f->driver},
        {"expect_engine", r->engine, sizeof r->engine},
    };
    for (size_t i = 0; i < CLATTN__LEN(texts); i++)
        if (!strcmp(key, texts[i].key)) {
            snprintf(texts[i].at, texts[i].size, "%s", value);
            return true;
        }
    return false;
}

static bool set_number(struct recorded *r, const char *key, uint64_t value)
{
    clattn_device_facts *f = &r->facts;
#define NUMBER(field)                                                                                        \
    if (!strcmp(key, #field)) {                                                                              \
        f->field = value;                                                                                    \
        return true;                                                                                         \
    }
#define NARROW(type, key_text, field)                                                                        \
    if (!strcmp(key, key_text)) {                                                                            \
        field = (type)value;                                                                                 \
        return true;                                                                                         \
    }
    NUMBER(global_bytes)
    NUMBER(largest_buffer_bytes)
    NUMBER(local_bytes)
    NUMBER(cache_bytes)
    NUMBER(largest_group)
    NARROW(uint32_t, "opencl_major", f->opencl_major)
    NARROW(uint32_t, "opencl_minor", f->opencl_minor)
    NARROW(uint32_t, "compute_units", f->compute_units)
    NARROW(uint32_t, "clock_mhz", f->clock_mhz)
    NARROW(uint32_t, "address_bits", f->address_bits)
    NARROW(uint32_t, "vector_width_float", f->vector_width_float)
    NARROW(int32_t, "local_is_dedicated", f->local_is_dedicated)
    NARROW(int32_t, "has_compiler", f->has_compiler)
    NARROW(int32_t, "little_endian", f->little_endian)
    NARROW(int, "expect_slow_wide_vectors", r->slow_wide_vectors)
    NARROW(int, "expect_caches_programs", r->caches_programs)
#undef NUMBER
#undef NARROW
    return false;
}

static void read_device(struct recorded *r, const char *path)
{
    char line[256];
    int fields = 0;
    FILE *in = fopen(path, "r");
    ck_assert_msg(in != NULL, "%s cannot be read", path);
    while (fgets(line, sizeof line, in)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#' || !line[0])
            continue;
        char *value = strchr(line, '=');
        ck_assert_msg(value != NULL, "%s: '%s' has no '='", path, line);
        *value++ = 0;
        if (!strcmp(line, "type"))
            r->facts.type = device_type(value);
        else if (!set_text(r, line, value))
            ck_assert_msg(set_number(r, line, strtoull(value, NULL, 10)), "%s: unknown key '%s'", path, line);
        fields++;
    }
    fclose(in);
    ck_assert_msg(fields == 23, "%s has %d of 23 fields", path, fields);
    r->facts.size = sizeof r->facts;
    clattn__driver_facts(&r->facts);
}

static void read_devices(void)
{
    const char *srcdir = getenv("srcdir");
    char folder[1024], path[2048];
    snprintf(folder, sizeof folder, "%s/tests/devices", srcdir ? srcdir : ".");
    DIR *dir = opendir(folder);
    ck_assert_msg(dir != NULL, "%s cannot be opened", folder);
    n_devices = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);
        if (length < 5 || strcmp(entry->d_name + length - 4, ".txt"))
            continue;
        ck_assert_int_lt(n_devices, MOST_DEVICES);
        struct recorded *r = &devices[n_devices++];
        memset(r, 0, sizeof *r);
        snprintf(r->file, sizeof r->file, "%.63s", entry->d_name);
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        read_device(r, path);
    }
    closedir(dir);
    ck_assert_int_ge(n_devices, 8);
}

static clattn_device_facts recorded_h200(void)
{
    const struct recorded *r = devices;
    while (r < devices + n_devices && strcmp(r->file, "nvidia-h200.txt"))
        r++;
    ck_assert(r < devices + n_devices);
    return r->facts;
}

/* ---- tasks ---- */

static struct clattn__task plain_task(void)
{
    struct clattn__task task = {
        .batch = 2, .heads = 8, .kv_heads = 2, .q_len = 333, .kv_len = 777, .dim = 64, .dim_v = 64};
    return task;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int64_t pick(uint64_t *state, const int64_t *values, size_t n)
{
    return values[next_random(state) % n];
}
#define PICK(state, ...)                                                                                     \
    pick((state), (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static struct clattn__task random_task(uint64_t *state)
{
    struct clattn__task task = {0};
    task.batch = PICK(state, 0, 1, 2, 3);
    task.kv_heads = PICK(state, 1, 2, 3);
    task.heads = task.kv_heads * PICK(state, 1, 2, 4, 7);
    task.q_len =
        PICK(state, 0, 1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128, 129, 200);
    task.kv_len =
        PICK(state, 0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000, 1024, 5000);
    task.dim = (int32_t)PICK(state, 1, 2, 3, 8, 40, 64, 80, 128, 129, 256, 575, 576);
    task.dim_v = (int32_t)PICK(state, 1, 3, 16, 64, 96, 128, 192, 512, 576);
    task.type_k = (int32_t)PICK(state, CLATTN_F32, CLATTN_F16, CLATTN_BF16);
    task.type_v = (int32_t)PICK(state, CLATTN_F32, CLATTN_F16, CLATTN_BF16);
    task.splits = PICK(state, 0, 0, 0, 1, 2, 3, 5, 100, 65536);
    return task;
}

struct choice {
    clattn_status status;
    const struct clattn__engine *engine;
    struct clattn__launch launch;
    char why[1024];
};

static struct choice choose(const clattn_device_facts *facts, const struct clattn__task *task,
                            const char *forced, bool strict)
{
    struct choice c;
    memset(&c, 0, sizeof c);
    struct clattn__text why = clattn__text_into(c.why, sizeof c.why);
    c.status = clattn__engine_choose(facts, task, forced, strict, &c.engine, &c.launch, &why);
    ck_assert_msg(!why.cut, "the reasons do not fit: %s", c.why);
    return c;
}

/* Every line says which engine and, after a colon, why. */
static int check_reasons(const char *file, const char *why)
{
    int lines = 0;
    for (const char *at = why; *at; at = strchr(at, '\n') + 1) {
        const char *end = strchr(at, '\n'), *colon = strchr(at, ':');
        ck_assert_msg(end != NULL, "%s: unterminated line in '%s'", file, why);
        ck_assert_msg(!strncmp(at, "takes ", 6) || !strncmp(at, "refuses ", 8), "%s: '%s'", file, at);
        ck_assert_msg(colon && colon < end && end - colon > 10, "%s: no reason in '%s'", file, at);
        lines++;
    }
    return lines;
}

/* ---- geometry ---- */

static void check_launch_fields(const char *where, const clattn_device_facts *facts,
                                const struct clattn__task *task, const struct clattn__launch *l)
{
    const struct clattn__spec *s = &l->spec;
    ck_assert_msg(s->BQ > 0 && s->BK > 0 && s->GROUP > 0, "%s: BQ %d BK %d GROUP %d", where, s->BQ, s->BK,
                  s->GROUP);
    ck_assert_msg((uint64_t)s->GROUP <= facts->largest_group, "%s: group of %d items, %llu allowed", where,
                  s->GROUP, (unsigned long long)facts->largest_group);
    ck_assert_msg(l->pack > 0 && task->heads / task->kv_heads % l->pack == 0, "%s: pack %d", where, l->pack);
    int64_t rows = task->q_len * l->pack;
    ck_assert_msg((int64_t)l->q_tiles * s->BQ >= rows &&
                      ((int64_t)l->q_tiles - 1) * s->BQ < (rows ? rows : 1),
                  "%s: %d tiles of %d for %lld rows", where, l->q_tiles, s->BQ, (long long)rows);
    ck_assert_msg(l->splits >= 1 && l->split_keys > 0 &&
                      (l->split_keys % s->BK == 0 || (s->BK > 128 && l->split_keys % 128 == 0)),
                  "%s: %d splits of %d keys, BK %d", where, l->splits, l->split_keys, s->BK);
    ck_assert_msg((int64_t)l->splits * l->split_keys >= task->kv_len, "%s: %d splits of %d miss keys of %lld",
                  where, l->splits, l->split_keys, (long long)task->kv_len);
    ck_assert_msg((l->splits - (int64_t)1) * l->split_keys < (task->kv_len ? task->kv_len : 1),
                  "%s: a part without keys", where);
    if (task->splits)
        ck_assert_msg(l->splits <= task->splits, "%s: %d splits, asked for %lld", where, l->splits,
                      (long long)task->splits);
    ck_assert_msg(l->tiles ==
                      (size_t)(task->batch * (task->heads / l->pack) * l->splits) * (size_t)l->q_tiles,
                  "%s: %zu tiles", where, l->tiles);
    ck_assert_msg(l->section >= 1 && l->groups <= l->tiles && !l->groups == !l->tiles,
                  "%s: %zu groups for %zu tiles, sections of %d", where, l->groups, l->tiles, l->section);
}

/* Walk the work-groups as find_place of cl/common/forward.clh does and count every row of every part. */
static void check_cover(const char *where, const struct clattn__task *task, const struct clattn__launch *l)
{
    size_t tokens = (size_t)task->q_len, heads = (size_t)task->heads, splits = (size_t)l->splits;
    size_t cells = (size_t)task->batch * heads * tokens * splits, seen = 0;
    unsigned char *count = calloc(cells ? cells : 1, 1);
    ck_assert_ptr_nonnull(count);
    for (size_t g = 0; g < l->tiles; g++) {
        size_t tiles = (size_t)l->q_tiles, head_tiles = heads / (size_t)l->pack,
               pairs = (size_t)task->batch * head_tiles;
        size_t section = (size_t)l->section, first = g / (tiles * splits * section) * section;
        size_t width = pairs - first < section ? pairs - first : section, rest = g - first * tiles * splits;
        size_t pair = first + rest % width, tile = tiles - 1 - rest / width % tiles,
               split = rest / width / tiles;
        size_t head0 = pair % head_tiles * (size_t)l->pack, batch = pair / head_tiles;
        ck_assert_msg(batch < (size_t)task->batch, "%s: group %zu lies outside the batch", where, g);
        ck_assert_msg(head0 * (size_t)task->kv_heads / heads ==
                          (head0 + (size_t)l->pack - 1) * (size_t)task->kv_heads / heads,
                      "%s: a tile of heads of two kv heads", where);
        size_t end = (tile + 1) * (size_t)l->spec.BQ, rows = tokens * (size_t)l->pack;
        for (size_t row = tile * (size_t)l->spec.BQ; row < end && row < rows; row++) {
            size_t token = row / (size_t)l->pack, head = head0 + row % (size_t)l->pack;
            size_t cell = ((batch * heads + head) * tokens + token) * splits + split;
            ck_assert_msg(!count[cell]++, "%s: row %zu of head %zu is computed twice", where, token, head);
            seen++;
        }
    }
    free(count);
    ck_assert_msg(seen == cells, "%s: %zu of %zu rows are computed", where, seen, cells);
}

/* ---- tests ---- */

START_TEST(expected_engine)
{
    for (int i = 0; i < n_devices; i++) {
        const struct recorded *r = &devices[i];
        clattn_device_facts before = r->facts;
        struct clattn__task task = plain_task();
        struct choice c = choose(&r->facts, &task, "", false), again = choose(&r->facts, &task, NULL, false);
        const char *name = c.engine ? c.engine->name : "none";
        ck_assert_msg(!strcmp(name, r->engine), "%s: %s instead of %s\n%s", r->file, name, r->engine, c.why);
        ck_assert_msg((c.status == CLATTN_OK) == (c.engine != NULL), "%s: status %s", r->file,
                      clattn_status_name(c.status));
        ck_assert_msg(c.engine || c.status == CLATTN_NO_ENGINE, "%s: status %s", r->file,
                      clattn_status_name(c.status));
        ck_assert_int_ge(check_reasons(r->file, c.why), 1);
        ck_assert_msg(!memcmp(&before, &r->facts, sizeof before), "%s: choosing changed the facts", r->file);
        ck_assert_msg(c.status == again.status && c.engine == again.engine && !strcmp(c.why, again.why) &&
                          !memcmp(&c.launch, &again.launch, sizeof c.launch),
                      "%s: two choices differ", r->file);
    }
}
END_TEST

START_TEST(driver_facts)
{
    int asked_for_fma = 0;
    for (int i = 0; i < n_devices; i++) {
        const struct recorded *r = &devices[i];
        ck_assert_msg(r->facts.slow_wide_vectors == r->slow_wide_vectors, "%s: slow_wide_vectors", r->file);
        ck_assert_msg(r->facts.caches_programs == r->caches_programs, "%s: caches_programs", r->file);
        clattn_device_facts other = r->facts; /* what a driver says of fma counts, but for Intel's of a CPU */
        const bool asked =
            r->facts.type == CL_DEVICE_TYPE_CPU && strstr(r->facts.platform, "Intel(R) OpenCL");
        other.has_fma = !other.has_fma;
        ck_assert_msg((clattn__has_fma(&other) == clattn__has_fma(&r->facts)) == asked, "%s: has_fma",
                      r->file);
        asked_for_fma += asked;
    }
    ck_assert_int_ge(asked_for_fma, 1);
}
END_TEST

/* What a compiler is asked for, and which of its words say nothing: NVIDIA's alone. */
START_TEST(compilers_words)
{
    static const char idle[] = "(): Warning: Function forward is a kernel, so overriding noinline attribute. "
                               "The function may be inlined when called.";
    int with_report = 0;
    for (int i = 0; i < n_devices; i++) {
        const clattn_device_facts *f = &devices[i].facts;
        bool nvidia = strstr(f->platform, "NVIDIA") != NULL;
        ck_assert_str_eq(clattn__driver_report_option(f), nvidia ? "-cl-nv-verbose" : "");
        ck_assert_int_eq(clattn__driver_says_idly(f, idle), nvidia);
        ck_assert(!clattn__driver_says_idly(f, "warning : (C7510) Potential Performance Loss"));
        with_report += nvidia;
    }
    ck_assert_int_ge(with_report, 1);
}
END_TEST

START_TEST(describe_agrees_with_choice)
{
    for (int i = 0; i < n_devices; i++) {
        const struct recorded *r = &devices[i];
        struct clattn__task task = plain_task();
        const char *first = "none";
        size_t n = 0;
        for (;; n++) {
            clattn_engine_fit fit = CLATTN_ENGINE_FIT_INIT;
            clattn_status status = clattn_engine_describe(&r->facts, n, &fit);
            if (status) {
                ck_assert_int_eq(status, CLATTN_BAD_COUNT);
                break;
            }
            ck_assert_msg(fit.reason[0] && !strchr(fit.reason, '\n'), "%s: reason '%s'", r->file, fit.reason);
            if (fit.fits && !strcmp(first, "none"))
                first = fit.engine;
            struct choice c = choose(&r->facts, &task, fit.engine, false);
            bool by_name = clattn__engines[n]->by_name;
            ck_assert_msg(fit.fits || by_name || c.status == CLATTN_ENGINE_REFUSED,
                          "%s: %s does not fit and was taken", r->file, fit.engine);
            ck_assert(!(fit.fits && by_name));
        }
        ck_assert_uint_ge(n, 2);
        ck_assert_msg(!strcmp(first, r->engine), "%s: the first that fits is %s", r->file, first);
    }
}
END_TEST

/* Products of bf16 pairs: only where the device has them and every part of the task allows weights in
 * bf16. */
START_TEST(pairs_of_bf16)
{
    struct clattn__task pairs = plain_task();
    pairs.type_q = pairs.type_k = pairs.type_v = pairs.type_o = CLATTN_BF16;
    pairs.softmax = true;
    pairs.scale = 0.125;
    struct clattn__task others[] = {pairs, pairs, pairs, pairs, pairs, pairs, pairs};
    others[0].type_q = CLATTN_F16;
    others[1].type_k = CLATTN_F32;
    others[2].type_v = CLATTN_F32;
    others[3].type_o = CLATTN_F32; /* who wants f32 wants its accuracy */
    others[4].softmax = false;
    others[5].scale = -0.125;
    others[6].scale = 0;
    clattn_device_facts facts = {0};
    for (int i = 0; i < n_devices; i++)
        if (!strcmp(devices[i].file, "pocl-avx512.txt"))
            facts = devices[i].facts;
    ck_assert_int_eq(choose(&facts, &pairs, "vector", false).launch.spec.DOT, 1);
    facts.bf16_dot = 1;
    ck_assert_int_eq(choose(&facts, &pairs, "vector", false).launch.spec.DOT, 2);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        ck_assert_int_eq(choose(&facts, &others[i], "vector", false).launch.spec.DOT, 1);
}
END_TEST

/* Few rows stream keys, more share tiles; who cannot take a request for a cache line gets none. */
START_TEST(few_rows)
{
    static const int64_t lengths[] = {1, 4, 5, 16, 17, 64, 65};
    static const int queries[] = {1, 4, 16, 16, 32, 64, 0}; /* rows of a group; 0: 64 or a multiple */
    for (int i = 0; i < n_devices; i++) {
        bool takes = strcmp(devices[i].facts.platform, "Oclgrind") != 0;
        for (size_t n = 0; n < sizeof lengths / sizeof lengths[0]; n++) {
            struct clattn__task task = plain_task();
            task.kv_heads = task.heads;
            task.q_len = lengths[n];
            task.kv_len = 4000;
            struct choice c = choose(&devices[i].facts, &task, "vector", false);
            if (c.status)
                continue;
            ck_assert_int_eq(!strcmp(c.launch.kernel_text, "forward_few"), lengths[n] <= 4);
            ck_assert_int_eq(queries[n] ? c.launch.spec.BQ : c.launch.spec.BQ % 64, queries[n]);
            ck_assert_int_eq(c.launch.spec.AHEAD, lengths[n] > 4 && takes);
        }
    }
}
END_TEST

/* A register tile: accumulators, sixteen rows of an operand and a broadcast one fit the registers. */
START_TEST(registers)
{
    static const struct {
        uint32_t width, registers, floats;
    } cpus[] = {{16, 32, 512}, {8, 16, 128}, {4, 32, 128}, {4, 16, 64}, {8, 0, 128},
                {16, 0, 512},  {4, 0, 64},   {1, 0, 16},   {0, 0, 16}};
    for (size_t i = 0; i < CLATTN__LEN(cpus); i++)
        for (int64_t rows = 5; rows <= 2000; rows += rows / 3 + 1) {
            clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
            struct clattn__task task = plain_task();
            facts.type = CL_DEVICE_TYPE_CPU;
            facts.has_compiler = 1;
            facts.compute_units = 2;
            facts.vector_width_float = cpus[i].width;
            facts.vector_registers = cpus[i].registers;
            task.kv_heads = task.heads;
            task.q_len = rows;
            struct choice c = choose(&facts, &task, "vector", false);
            const struct clattn__spec *s = &c.launch.spec;
            ck_assert_int_eq(c.status, CLATTN_OK);
            ck_assert_int_eq(s->BK % s->MK, 0);
            if (cpus[i].floats >= 64)
                ck_assert_msg(16 * s->NQ * (uint32_t)(s->MK + 1) < cpus[i].floats &&
                                  16 * s->NQ * (uint32_t)(s->MD + 1) < cpus[i].floats,
                              "width %u: %d x %d, %d", cpus[i].width, s->NQ, s->MK, s->MD);
            if (cpus[i].floats >= 128) /* two units of latency 4 are busy */
                ck_assert_int_ge(s->NQ * s->MK * 16, 8 * (int)cpus[i].width);
        }
}
END_TEST

/* The matrix engines take what their tiles can: 16 bits throughout, a softmax; a tile fits local memory and
 * its items' registers. */
static bool is_engine(const struct clattn__engine *engine, const char *name)
{
    return engine && !strcmp(engine->name, name);
}

/* Blocks, queries and output fit local memory, sums and weights an item's registers; the editor is asked for
 * as much as is wanted. */
static void check_mma(const struct choice *c, const struct clattn__task *task, int64_t most)
{
    const struct clattn__spec *s = &c->launch.spec;
    const bool pairs = s->GROUP == 256; /* of warps, which share 32 rows */
    int64_t steps = (task->dim + 15) / 16, pitch = 16 * steps, queries = s->BQ * pitch;
    int64_t steps_v = pairs ? (steps + 1) / 2 * 2 : steps, blocks = 2 * s->BK * (pitch + 16 * steps_v); /* dim_v = dim */
    int64_t bytes =
        2 * s->NT *
        (s->NQ < steps ? blocks + queries : blocks / 2 + (blocks / 2 > queries ? blocks / 2 : queries));
    if (pairs) /* weights of each row and key, 32 bytes a row, 8 barriers */
        bytes += s->BQ * (2 * s->BK + 32) + 64;
    ck_assert(!pairs || (s->BQ == 128 && s->BK == 64 && s->NQ == 0));
    const int64_t of_pairs = 2 * (128 * 16 * (steps + (steps + 1) / 2 * 2) + 128 * pitch + 128 * 80) + 64;
    ck_assert_int_eq(pairs, task->dim > 128 && task->q_len > 96 && of_pairs + 64 + 1024 <= most);
    ck_assert_int_ge(bytes, 2 * s->NT * (queries + s->BQ)); /* the output's place */
    ck_assert_int_le(bytes + 1024, most);
    ck_assert(bytes > DOOR_BYTES ? c->launch.rewrite && c->launch.wish.local_bytes == bytes &&
                                       c->launch.wish.group == s->GROUP
                                 : !c->launch.rewrite);
    ck_assert((s->GROUP == 128 * s->NT || pairs) && (s->BQ == 64 || s->BQ == 128));
    ck_assert(s->BQ / 64 * (8 * steps + 4 * s->NQ + s->BK / 4 + 8 * s->MK) / (pairs ? 2 : 1) < 240 &&
              s->BK % (16 * s->MK) == 0);
    ck_assert_int_eq(s->ALIGNED, task->dim % 8 == 0);
}

/* f32 by products of TF32: two groups share a unit's local memory, where it holds them. */
static void check_tf32(const struct choice *c, const clattn_device_facts *facts, const struct clattn__task *task)
{
    const struct clattn__spec *s = &c->launch.spec;
    const int64_t eights = (task->dim + 7) / 8, sixteens = (task->dim + 15) / 16;
    const int64_t bytes = 4 * (2 * s->BK * (8 * eights + 8 + 16 * sixteens + 4) + s->BQ * (8 * eights + 8));
    const int64_t more = 4 * (4 * s->BK * (8 * eights + 8 + 16 * sixteens + 4) + s->BQ * (8 * eights + 8));
    const int64_t unit = (int64_t)facts->unit_local_bytes - 1024;
    ck_assert(bytes + 64 <= unit && (s->BK == 64 || 2 * (more + 1024) > unit));
    ck_assert(bytes > DOOR_BYTES ? c->launch.rewrite && c->launch.wish.local_bytes == bytes &&
                                       c->launch.wish.group == 128 && !c->launch.wish.chip
                                 : !c->launch.rewrite);
    ck_assert(s->GROUP == 128 && s->BQ == 64 && s->BK == 16 * s->MK && s->MATRIX == CLATTN_MATRIX_MMA);
    ck_assert(s->ALIGNED);
}

START_TEST(f32_units)
{
    clattn_device_facts facts = recorded_h200();
    for (int32_t unit = CLATTN_MATRIX_NONE; unit <= CLATTN_MATRIX_WGMMA; unit++)
        for (int64_t kib = 100; kib <= 228; kib += 64)
            for (int32_t dim = 1; dim <= 300; dim++) {
                struct clattn__task task = plain_task();
                task.softmax = task.aligned = true;
                task.scale = 0.125;
                task.dim = task.dim_v = dim;
                facts.matrix_unit = unit;
                facts.unit_local_bytes = (uint64_t)kib << 10;
                struct choice c = choose(&facts, &task, "", false);
                const bool named = is_engine(c.engine, "matrix-tf32x3");
                const int64_t key_pitch = (dim + 7) / 8 * 8 + 8, value_pitch = (dim + 15) / 16 * 16 + 4;
                const int64_t least = 4 * (32 * (key_pitch + value_pitch) + 64 * key_pitch) + 64 + 1024;
                const bool fits = dim <= 192 && dim % 4 == 0 && least <= kib << 10;
                ck_assert_msg(named == (unit != CLATTN_MATRIX_NONE && fits), "d %d: %s", dim, c.why);
                if (!named)
                    continue;
                check_tf32(&c, &facts, &task);
                /* engines of 16 bits are not the best one that refuses */
                ck_assert(choose(&facts, &task, "", true).engine == c.engine);
                task.type_o = CLATTN_F16;
                ck_assert(strncmp(choose(&facts, &task, "", false).engine->name, "matrix", 6));
                task.type_o = CLATTN_F32;
                task.softmax = false;
                ck_assert(strncmp(choose(&facts, &task, "", false).engine->name, "matrix", 6));
            }
}
END_TEST

/* A launch as text: what a plan takes from it. */
static const char *launch_text(const struct clattn__launch *l)
{
    static char text[2][1024];
    static int turn;
    turn = !turn;
    struct clattn__text out = clattn__text_into(text[turn], sizeof text[turn]);
    clattn__spec_options(&l->spec, &out);
    clattn__text_add(&out, " %s pack %d splits %d of %d, %d in turn %d, joins %d, scratch %d, rewrite %d %d %d %d",
                     l->kernel_text, (int)l->pack, (int)l->splits, (int)l->split_keys, (int)l->groups,
                     l->in_turn, l->can_join, (int)l->scratch, l->rewrite != NULL, (int)l->wish.chip,
                     (int)l->wish.group, (int)l->wish.local_bytes);
    ck_assert(!out.cut);
    return text[turn];
}

/* Of an engine that was passed over nothing is left in the launch of the next one. */
START_TEST(one_engine_after_another)
{
    clattn_device_facts facts = recorded_h200();
    static const struct {
        int32_t type, dim;
        int64_t q_len, kv_len;
    } shapes[] = {{CLATTN_F32, 40, 300, 500}, {CLATTN_F16, 128, 2048, 2048}, {CLATTN_F16, 128, 1, 8192}};
    int engines = 0;
    facts.matrix_unit = CLATTN_MATRIX_WGMMA;
    facts.unit_local_bytes = 228 << 10;
    for (size_t i = 0; i < CLATTN__LEN(shapes); i++) {
        struct clattn__task task = plain_task();
        struct clattn__launch used;
        task.softmax = task.aligned = true;
        task.scale = 0.125;
        task.type_q = task.type_k = task.type_v = task.type_o = shapes[i].type;
        task.dim = task.dim_v = shapes[i].dim;
        task.q_len = shapes[i].q_len;
        task.kv_len = shapes[i].kv_len;
        memset(&used, 0x55, sizeof used);
        for (;;) {
            char reasons[1024];
            struct clattn__text why = clattn__text_into(reasons, sizeof reasons);
            const struct clattn__engine *engine;
            if (clattn__engine_choose(&facts, &task, "", false, &engine, &used, &why))
                break;
            const struct choice fresh = choose(&facts, &task, "", false);
            ck_assert(fresh.engine == engine);
            ck_assert_str_eq(launch_text(&used), launch_text(&fresh.launch));
            task.failed |= 1u << clattn__engine_number(engine);
            engines++;
        }
    }
    ck_assert_int_ge(engines, 10);
}
END_TEST

/* Inputs leave a GPU's second-level cache first where each is read once, all are more than it holds, and the output
 * alone is less. */
START_TEST(read_once)
{
    static const struct {
        int64_t batch, kv_heads, q_len, kv_len;
        bool ragged, once;
    } cases[] = {
        {64, 16, 128, 128, false, true},  {32, 16, 128, 128, false, false},  {128, 16, 128, 128, false, false},
        {64, 16, 128, 1000, false, true}, {64, 16, 256, 128, false, false},  {64, 4, 128, 128, false, false},
        {64, 16, 128, 128, true, false},  {1, 16, 100, 65536, false, false},
    };
    clattn_device_facts facts = recorded_h200();
    facts.matrix_unit = CLATTN_MATRIX_WGMMA;
    for (size_t i = 0; i < CLATTN__LEN(cases); i++) {
        struct clattn__task task = plain_task();
        task.softmax = task.aligned = true;
        task.scale = 0.125;
        task.type_q = task.type_k = task.type_v = task.type_o = CLATTN_F16;
        task.dim = task.dim_v = 64;
        task.heads = 16;
        task.batch = cases[i].batch;
        task.kv_heads = cases[i].kv_heads;
        task.q_len = cases[i].q_len;
        task.kv_len = cases[i].kv_len;
        task.ragged = cases[i].ragged;
        const struct choice c = choose(&facts, &task, "matrix-wgmma", false);
        ck_assert_int_eq(c.status, CLATTN_OK);
        ck_assert_msg(c.launch.spec.READ_ONCE == cases[i].once, "case %d", (int)i);
    }
}
END_TEST

START_TEST(matrix_units)
{
    int units = 0;
    for (int i = 0; i < n_devices; i++) {
        clattn_device_facts with_unit = devices[i].facts, *facts = &with_unit;
        with_unit.matrix_unit = strstr(facts->platform, "NVIDIA") ? CLATTN_MATRIX_WGMMA : CLATTN_MATRIX_NONE;
        for (int32_t type = CLATTN_F16; type <= CLATTN_BF16; type++)
            for (int32_t dim = 1; dim <= 300; dim += 7) {
                struct clattn__task task = plain_task();
                task.softmax = task.aligned = true;
                task.scale = 0.125;
                task.type_q = task.type_k = task.type_v = task.type_o = type;
                task.dim = task.dim_v = dim;
                struct choice c = choose(facts, &task, "", false);
                const struct clattn__spec *s = &c.launch.spec;
                bool streams = facts->matrix_unit && dim <= 256 && dim % 8 == 0;
                ck_assert_msg(streams == is_engine(c.engine, "matrix-wgmma"), "%s, d %d: %s", devices[i].file,
                              dim, c.why);
                if (streams) {
                    int64_t panels = (dim + 63) / 64, ones = (dim + 15) / 16 == 4 ? 16 : 1;
                    int64_t bytes = 128 * (panels * (s->BQ + 2 * s->NT * s->BK) + ones);
                    ck_assert(c.launch.wish.local_bytes == bytes && bytes + 1024 <= 232448 &&
                              c.launch.wish.group == s->GROUP);
                    ck_assert(s->BQ == 64 || s->BQ == 128 || (s->BQ == 192 && dim <= 64));
                    /* in registers, of which a consumer has so many: */
                    int64_t queries = s->NQ > 8 ? 0 : 4 * s->NQ;
                    ck_assert(s->BK / 2 + s->BK / 4 + queries + s->MD * 8 < (s->BQ == 192 ? 140 : 210));
                    ck_assert(s->NQ == (dim + 15) / 16 && s->MD == s->NQ && s->BK == 16 * s->MK);
                }
                with_unit.matrix_unit = facts->matrix_unit ? CLATTN_MATRIX_MMA : CLATTN_MATRIX_NONE;
                for (int u = 0; u < 4; u++) {
                    /* of a compute unit; 0: no more than OpenCL grants */
                    static const int64_t kib[] = {228, 164, 100, 0};
                    with_unit.unit_local_bytes = (uint64_t)kib[u] << 10;
                    task.q_len = dim % 2 ? 1000 : 50;
                    c = choose(facts, &task, "", false);
                    const bool small = u == 3, takes = facts->matrix_unit && dim <= (small ? 240 : 256);
                    ck_assert_msg(takes == is_engine(c.engine, small ? "matrix-small" : "matrix-mma"),
                                  "%s, d %d: %s", devices[i].file, dim, c.why);
                    if (takes)
                        check_mma(&c, &task, small ? 48 << 10 : kib[u] << 10);
                }
                with_unit.unit_local_bytes = 0;
                with_unit.matrix_unit = facts->matrix_unit ? CLATTN_MATRIX_WGMMA : CLATTN_MATRIX_NONE;
                if (!facts->matrix_unit || dim > 256)
                    continue;
                units++;
                task.type_o = CLATTN_F32;
                ck_assert(strncmp(choose(facts, &task, "", false).engine->name, "matrix", 6));
                task.type_o = type;
                task.softmax = false;
                ck_assert(strncmp(choose(facts, &task, "", false).engine->name, "matrix", 6));
                task.softmax = true;
                task.scale = -1;
                ck_assert(strncmp(choose(facts, &task, "", false).engine->name, "matrix", 6));
            }
    }
    ck_assert_int_gt(units, 0);
}
END_TEST

/* How long groups of causal tiles take, of which the device runs `most' at a time, the next one as soon as one is done,
 * beside their mean; a tile takes as long as it has blocks of keys, and two more. */
static double unevenness(const struct clattn__launch *l, size_t pairs, size_t most)
{
    double until[1024] = {0}, all = 0, last = 0;
    const size_t tiles = (size_t)l->q_tiles, section = (size_t)l->section;
    ck_assert(most <= CLATTN__LEN(until) && l->splits == 1);
    for (size_t number = 0; number < l->tiles; number++) {
        const size_t first = number / (tiles * section) * section,
                     width = pairs - first < section ? pairs - first : section;
        const size_t tile = tiles - 1 - (number - first * tiles) / width % tiles;
        const double cost = (double)(tile + 1) * l->spec.BQ / l->spec.BK + 2;
        size_t free = 0;
        for (size_t i = 1; i < most; i++)
            free = until[i] < until[free] ? i : free;
        until[free] += cost;
        all += cost;
        last = until[free] > last ? until[free] : last;
    }
    return last * (double)most / all;
}

/* Where the device hands out groups, heavy tiles of the heads that its cache holds come first. */
START_TEST(heavy_tiles_first)
{
    static const struct {
        int64_t batch, heads, kv_heads, length;
        int32_t dim;
    } shapes[] = {{8, 8, 8, 2048, 256}, {8, 16, 16, 2048, 96}, {8, 32, 32, 2048, 64}, {4, 32, 8, 4096, 128}};
    clattn_device_facts facts = recorded_h200();
    facts.matrix_unit = CLATTN_MATRIX_MMA;
    facts.unit_local_bytes = 228 << 10;
    for (size_t s = 0; s < CLATTN__LEN(shapes); s++) {
        struct clattn__task task = plain_task();
        task.softmax = task.aligned = task.masked = true;
        task.scale = 0.125;
        task.type_q = task.type_k = task.type_v = task.type_o = CLATTN_F16;
        task.dim = task.dim_v = shapes[s].dim;
        task.batch = shapes[s].batch;
        task.heads = shapes[s].heads;
        task.kv_heads = shapes[s].kv_heads;
        task.q_len = task.kv_len = shapes[s].length;
        struct choice c = choose(&facts, &task, "matrix-mma", false);
        ck_assert(is_engine(c.engine, "matrix-mma"));
        const size_t pairs = (size_t)(task.batch * task.heads), most = 2 * (size_t)facts.compute_units;
        const int64_t held = (int64_t)c.launch.section * task.kv_len * 4 * task.dim * task.kv_heads / task.heads;
        const double now = unevenness(&c.launch, pairs, most);
        ck_assert_msg(held <= CLATTN__HELD_BYTES && now < 1.06, "shape %d, sections of %d: %.3f", (int)s,
                      (int)c.launch.section, now);
        c.launch.section = 1; /* as before: the heaviest tile of the last head begins last */
        ck_assert_msg(unevenness(&c.launch, pairs, most) > now, "shape %d", (int)s);
        task.masked = false;
        ck_assert_int_eq(choose(&facts, &task, "matrix-mma", false).launch.section, 1);
    }
}
END_TEST

/* Causal tiles of a head differ, and every group has its fixed ones: none may have much more to do than the
 * mean. */
START_TEST(even_work)
{
    static const struct {
        int64_t batch, heads, kv_heads, length;
        int32_t dim;
    } shapes[] = {{1, 16, 16, 16384, 128}, {8, 16, 16, 2048, 128}, {1, 32, 32, 16384, 64},
                  {8, 32, 32, 2048, 64},   {4, 32, 8, 4096, 128},  {16, 16, 16, 4096, 256}};
    clattn_device_facts facts = recorded_h200();
    facts.matrix_unit = CLATTN_MATRIX_WGMMA;
    for (size_t s = 0; s < CLATTN__LEN(shapes); s++) {
        struct clattn__task task = plain_task();
        task.batch = shapes[s].batch;
        task.heads = shapes[s].heads;
        task.kv_heads = shapes[s].kv_heads;
        task.q_len = task.kv_len = shapes[s].length;
        task.dim = task.dim_v = shapes[s].dim;
        task.softmax = task.aligned = task.masked = true;
        task.scale = 0.125;
        task.type_q = task.type_k = task.type_v = task.type_o = CLATTN_F16;
        struct choice c = choose(&facts, &task, "", false);
        const struct clattn__launch *l = &c.launch;
        ck_assert(is_engine(c.engine, "matrix-wgmma") && l->in_turn && l->groups == facts.compute_units &&
                  l->groups <= 512);
        double load[512] = {0}, all = 0;
        for (size_t number = 0; number < l->tiles; number++) {
            size_t tiles = (size_t)l->q_tiles, pairs = (size_t)(task.batch * task.heads),
                   first = number / (tiles * (size_t)l->section) * (size_t)l->section;
            size_t width = pairs - first < (size_t)l->section ? pairs - first : (size_t)l->section,
                   rest = (number - first * tiles) / width;
            size_t group = number / l->groups % 2 ? l->groups - 1 - number % l->groups : number % l->groups;
            double blocks = (double)((tiles - rest) * (size_t)l->spec.BQ) / l->spec.BK + 2;
            load[group] += blocks;
            all += blocks;
        }
        for (size_t g = 0; g < l->groups; g++)
            ck_assert_msg(load[g] * (double)l->groups <= 1.06 * all,
                          "shape %d, section %d: group %d has %.0f of %.0f", (int)s, (int)l->section, (int)g,
                          load[g], all);
    }
}
END_TEST

/* Of documents nobody knows beforehand which tiles are heavy: groups take them by a counter, which the tables'
 * kernel sets to 0, as the last group does, and which stands between the tables and the groups' maps. */
START_TEST(counted_tiles)
{
    static const struct {
        const char *mask, *problem;
        bool counted;
    } cases[] = {{"k <= q & doc[b,q] == doc[b,k]", "attn:f16:b2:h16:q8192:k8192:d128", true},
                 {"k <= q & doc[b,q] == doc[b,k]", "attn:f16:h8:q2048:k2048:d128", false}, /* a tile each */
                 {"doc[b,q] == doc[b,k]", "attn:f16:b2:h32:q2048:k2048:d64:keylens", false},
                 {"k <= q", "attn:f16:b2:h16:q8192:k8192:d128", false}};
    clattn_device_facts facts = recorded_h200();
    facts.matrix_unit = CLATTN_MATRIX_WGMMA;
    for (size_t i = 0; i < CLATTN__LEN(cases); i++) {
        clattn_attention a = CLATTN_ATTENTION_INIT;
        struct clattn__problem problem;
        struct clattn__task task;
        struct forward_args args;
        struct merge_args merge_args;
        struct clattn__tables tables;
        char text[200];
        ck_assert_int_eq(clattn_problem_parse(&a, cases[i].problem, text, sizeof text), CLATTN_OK);
        a.pattern = clattn_mask(cases[i].mask, CLATTN_TOP_LEFT);
        a.n_arrays = strstr(cases[i].mask, "doc") != NULL;
        a.arrays[0] = (clattn_array){"doc", CLATTN_I32, 2, {a.batch, a.kv_len}};
        ck_assert_int_eq(clattn__problem_resolve(&problem, &a, text, sizeof text), CLATTN_OK);
        clattn__task_fill(&task, &problem);
        const struct choice c = choose(&facts, &task, "", false);
        const struct clattn__launch *l = &c.launch;
        ck_assert(is_engine(c.engine, "matrix-wgmma") && task.uneven == (a.n_arrays > 0));
        ck_assert_msg(l->spec.COUNTED == cases[i].counted, "%s", cases[i].problem);
        clattn__forward_args_fill(&args, &problem, l);
        const int64_t words = clattn__workspace_fill(&args, &merge_args, &tables, &problem, l) / 4;
        ck_assert(words >= args.scratch_at + 1 + 32 + l->scratch * (int64_t)l->groups);
        for (int t = 0; t < tables.count; t++) {
            ck_assert(tables.args[t].counters_at == (cases[i].counted && t == 0 ? args.scratch_at : -1));
            ck_assert(tables.args[t].at + 2 * (int64_t)tables.blocks[t] <= args.scratch_at);
        }
        ck_assert(!cases[i].counted || (tables.count > 0 && l->section >= 32)); /* all heads side by side */
        clattn__problem_free(&problem);
    }
}
END_TEST

/* The blocked engines: a tile covers the head, its chunks and weights fit local memory, its items' numbers
 * their registers. */
static void check_tile(const clattn_device_facts *facts, int64_t q_len, int32_t dim, const char *name,
                       int *taken)
{
    struct clattn__task task = plain_task();
    task.kv_heads = task.heads;
    task.q_len = q_len;
    task.dim = task.dim_v = dim;
    const struct choice c = choose(facts, &task, name, false);
    const struct clattn__spec *s = &c.launch.spec;
    const bool large = !strcmp(name, "blocked-large"),
               room = facts->has_compiler && facts->local_bytes >= 32768 && !facts->slow_wide_vectors;
    const bool taken_large = dim <= 128 && facts->largest_group >= 128 &&
                             (facts->unit_local_bytes > 170 << 10 || facts->local_bytes > 170 << 10);
    const bool wanted = large ? taken_large : dim <= 256;
    ck_assert_msg(!room || (c.status == CLATTN_OK) == wanted, "%s, %d rows, d %d, unit %d: %s", facts->name,
                  (int)q_len, dim, (int)facts->unit_local_bytes, c.why);
    if (c.status)
        return;
    const int32_t across = s->BK / s->MK, down = s->BQ / s->NQ;
    const int32_t columns = (s->BQ + s->BK + 8) * s->NT, values = down * across * s->MD;
    const uint64_t bytes = 4 * (uint64_t)(2 * (columns > values ? columns : values) + s->BK * (s->BQ + 4));
    ck_assert_int_eq(s->GROUP, across * down);
    ck_assert(across % 8 == 0 && down % 4 == 0 && s->NQ % 4 == 0 && s->MK % 4 == 0 && s->MD % 4 == 0 &&
              across * s->MD >= dim);
    ck_assert(s->NQ * s->MK <= 128 && s->NQ * s->MD <= 128 && s->GROUP <= (int32_t)facts->largest_group);
    ck_assert_int_le(s->BQ, !large && (q_len <= 32 || facts->largest_group < 128) ? 32 : large ? 128 : 64);
    ck_assert(!c.launch.rewrite == (bytes + 16 <= facts->local_bytes) && (large || !c.launch.rewrite));
    ck_assert_uint_eq(bytes, (uint64_t)(c.launch.rewrite ? c.launch.wish.local_bytes : s->LOCAL));
    ck_assert(!c.launch.rewrite ||
              (c.launch.wish.group == s->GROUP && 2 * (bytes + 16 + 1024) <= facts->unit_local_bytes));
    ++*taken;
}

START_TEST(register_tiles)
{
    static const int64_t lengths[] = {1, 32, 33, 64, 65, 130, 500}, kib[] = {0, 100, 164, 228};
    int small = 0, large = 0;
    for (int i = 0; i < n_devices; i++)
        for (int32_t dim = 1; dim <= 300; dim += 7)
            for (size_t n = 0; n < CLATTN__LEN(lengths); n++) {
                clattn_device_facts facts = devices[i].facts;
                check_tile(&facts, lengths[n], dim, "blocked", &small);
                for (size_t u = 0; u < CLATTN__LEN(kib); u++) {
                    facts.unit_local_bytes = (uint64_t)kib[u] << 10;
                    check_tile(&facts, lengths[n], dim, "blocked-large", &large);
                }
            }
    clattn_device_facts gpu = recorded_h200();
    gpu.unit_local_bytes = 228 << 10;
    /* by itself only where all units have work */
    for (int64_t q_len = 1; q_len < 3000; q_len += q_len / 4 + 1) {
        struct clattn__task task = plain_task();
        task.q_len = q_len;
        const bool filled = q_len > 64 && task.batch * task.heads * ((q_len + 127) / 128) > gpu.compute_units;
        ck_assert(is_engine(choose(&gpu, &task, "", false).engine, filled ? "blocked-large" : "blocked"));
    }
    ck_assert_int_gt(small, 1000);
    ck_assert_int_gt(large, 300);
}
END_TEST

/* Few rows of a key head: the decode engine, where its tile takes them, with all units at work and no round
 * half empty. */
/* Lists of small blocks go where keys are gathered, of large ones where tiles are read. */
START_TEST(lists)
{
    static const struct {
        int32_t dim, keys;
        int64_t queries;
        const char *engine;
    } rows[] = {
        {128, 2, 1, "matrix-mma"},     {128, 4, 1, "matrix-mma"},      {128, 8, 1, "matrix-decode"},
        {128, 16, 1, "matrix-decode"}, {64, 8, 1, "matrix-mma"},       {64, 16, 1, "matrix-decode"},
        {128, 2, 4096, "matrix-mma"},  {128, 64, 4096, "matrix-mma"},  {128, 128, 4096, "matrix-wgmma"},
        {64, 64, 4096, "matrix-mma"},  {64, 128, 4096, "matrix-wgmma"},
    };
    for (size_t i = 0; i < CLATTN__LEN(rows); i++) {
        clattn_device_facts facts = recorded_h200();
        struct clattn__task task = plain_task();
        facts.matrix_unit = CLATTN_MATRIX_WGMMA;
        facts.unit_local_bytes = 228 << 10;
        task.softmax = task.aligned = task.masked = true;
        task.scale = 0.125;
        task.type_q = task.type_k = task.type_v = task.type_o = CLATTN_F16;
        task.dim = task.dim_v = rows[i].dim;
        task.heads = 4 * task.kv_heads;
        task.q_len = rows[i].queries;
        task.kv_len = 131072;
        task.list_rows = rows[i].queries == 1 ? 1 : 64;
        task.list_heads = 4;
        task.list_keys = rows[i].keys;
        const struct choice c = choose(&facts, &task, "", false);
        ck_assert_msg(is_engine(c.engine, rows[i].engine), "row %d: %s", (int)i, c.engine ? c.engine->name : c.why);
        if (!strcmp(rows[i].engine, "matrix-mma"))
            ck_assert(c.launch.spec.BQ == 64 && c.launch.pack == 4);
    }
}
END_TEST

START_TEST(decode)
{
    clattn_device_facts facts = recorded_h200();
    ck_assert_int_eq(facts.compute_units, 132);
    for (int unit = CLATTN_MATRIX_NONE; unit <= CLATTN_MATRIX_WGMMA; unit++)
        for (int64_t q_len = 1; q_len <= 33; q_len += 4)
            for (int32_t dim = 4; dim <= 264; dim += 4)
                for (int64_t group = 1; group <= 8; group *= 2) {
                    struct clattn__task task = plain_task();
                    int64_t rows = q_len * group;
                    facts.matrix_unit = unit;
                    task.softmax = task.aligned = true;
                    task.scale = 0.125;
                    task.type_q = task.type_k = task.type_v = task.type_o = CLATTN_F16;
                    task.dim = task.dim_v = dim;
                    task.q_len = q_len;
                    task.heads = task.kv_heads * group;
                    struct choice c = choose(&facts, &task, "", false);
                    bool takes = unit && dim % 8 == 0 && rows <= (dim <= 128 ? 32 : dim <= 256 ? 16 : 0);
                    ck_assert_msg(takes == is_engine(c.engine, "matrix-decode"), "%d rows, d %d: %s",
                                  (int)rows, dim, c.why);
                    if (!takes)
                        continue;
                    const struct clattn__spec *s = &c.launch.spec;
                    int64_t pitch = (dim + 15) / 16 * 16, place = 4 * s->BK * pitch,
                            before = (2 * s->BK + s->BQ) * pitch;
                    const bool large = s->NT > 2; /* through the editor of assembly */
                    ck_assert((large ? c.launch.rewrite && unit == CLATTN_MATRIX_WGMMA && c.launch.wish.local_bytes == s->LOCAL
                                     : !c.launch.rewrite));
                    ck_assert(s->GROUP / 32 * (place > before ? place : before) * 2 <=
                              (large ? (int64_t)s->LOCAL : (int64_t)facts.local_bytes));
                    /* eight teams fill a unit */
                    ck_assert(s->LOCAL * (8 / (large ? s->NT : 2)) == (unit == CLATTN_MATRIX_WGMMA ? 180 << 10 : 0));
                    ck_assert(s->NQ == (dim + 15) / 16 && s->BK == 16 * s->MK && s->GROUP == 32 * s->NT);
                    ck_assert(s->BQ >= rows && c.launch.pack == group && c.launch.q_tiles == 1);
                    ck_assert(s->BQ / 16 * (dim + 15) / 16 * 12 + s->BQ / 16 * s->BK / 2 < 255);
                    ck_assert_int_eq(c.launch.split_keys % (s->GROUP / 32 * s->BK), 0);
                }
    facts.matrix_unit = CLATTN_MATRIX_WGMMA;
    /* of many keys the units' work differs by little */
    for (int64_t heads = 1; heads <= 1000; heads += heads / 4 + 1) {
        struct clattn__task task = plain_task();
        task.softmax = task.aligned = true;
        task.scale = 0.125;
        task.type_q = task.type_k = task.type_v = task.type_o = CLATTN_F16;
        task.dim = task.dim_v = 128;
        task.batch = task.q_len = 1;
        task.heads = task.kv_heads = heads;
        task.kv_len = 32768;
        struct choice c = choose(&facts, &task, "", false);
        int64_t most = (int64_t)facts.compute_units * 8 / c.launch.spec.NT, groups = (int64_t)c.launch.groups;
        int64_t rounds = (groups + most - 1) / most;
        ck_assert_msg(is_engine(c.engine, "matrix-decode") && 10 * groups >= 8 * rounds * most,
                      "%d heads: %d groups, %d at a time", (int)heads, (int)groups, (int)most);
        task.failed = 1u << clattn__engine_number(&clattn__engine_decode); /* no editor: what OpenCL grants */
        c = choose(&facts, &task, "", false);
        ck_assert(is_engine(c.engine, "decode-small") && !c.launch.rewrite && c.launch.spec.NT <= 2);
        task.failed = 0;
        task.q_len = 100; /* its refusal is none of the best engine's */
        ck_assert(is_engine(choose(&facts, &task, "", true).engine, "matrix-wgmma"));
    }
}
END_TEST

/* One head: keys are cut if there are many, tiles are smaller if there are few. */
START_TEST(idle_units)
{
    clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
    struct clattn__task task = plain_task();
    facts.type = CL_DEVICE_TYPE_CPU;
    facts.has_compiler = 1;
    facts.compute_units = 8;
    facts.vector_width_float = 16;
    task.batch = task.heads = task.kv_heads = 1;
    task.q_len = 64;
    task.kv_len = 32768;
    struct choice c = choose(&facts, &task, "vector", false);
    ck_assert(c.launch.spec.BQ == 64 && c.launch.groups >= 16 && c.launch.split_keys >= CLATTN__LEAST_PART);
    task.kv_len = 1030;
    c = choose(&facts, &task, "vector", false);
    ck_assert(c.launch.splits == 2 && c.launch.split_keys >= CLATTN__LEAST_PART);
    task.kv_len = 700;
    c = choose(&facts, &task, "vector", false);
    ck_assert(c.launch.splits == 1 && c.launch.spec.BQ == 16 && c.launch.groups == 4);
    task.heads = task.kv_heads = 64;
    c = choose(&facts, &task, "vector", false);
    ck_assert(c.launch.splits == 1 && c.launch.spec.BQ == 64 && c.launch.groups == 64);
}
END_TEST

START_TEST(forced_engine)
{
    for (int i = 0; i < n_devices; i++) {
        const struct recorded *r = &devices[i];
        struct clattn__task task = plain_task();
        struct choice unknown = choose(&r->facts, &task, "no-such-engine", false);
        ck_assert_int_eq(unknown.status, CLATTN_BAD_ENGINE);
        ck_assert_ptr_null(unknown.engine);
        for (size_t e = 0; clattn__engines[e]; e++) {
            struct choice c = choose(&r->facts, &task, clattn__engines[e]->name, false);
            ck_assert_int_eq(check_reasons(r->file, c.why), 1);
            ck_assert_ptr_nonnull(strstr(c.why, clattn__engines[e]->name));
            if (c.status)
                ck_assert_msg(c.status == CLATTN_ENGINE_REFUSED && !c.engine, "%s: %s", r->file,
                              clattn_status_name(c.status));
            else
                ck_assert_ptr_eq(c.engine, clattn__engines[e]);
        }
        if (strcmp(r->engine, "none")) {
            struct choice c = choose(&r->facts, &task, "portable", false);
            ck_assert_msg(c.status == CLATTN_OK, "%s: portable runs on every device with a compiler: %s",
                          r->file, c.why);
        }
    }
}
END_TEST

/* Strict never changes an engine, it only refuses; and it refuses when the best fitting engine cannot take
 * the task. */
START_TEST(strict)
{
    uint64_t state = 17;
    for (int i = 0; i < n_devices; i++)
        for (int n = 0; n < 50; n++) {
            const struct recorded *r = &devices[i];
            struct clattn__task task = random_task(&state);
            struct choice loose = choose(&r->facts, &task, "", false),
                          tight = choose(&r->facts, &task, "", true);
            if (tight.status == CLATTN_OK)
                ck_assert_ptr_eq(tight.engine, loose.engine);
            else
                ck_assert_ptr_null(tight.engine);
            bool best = loose.engine && !strcmp(loose.engine->name, r->engine);
            ck_assert_msg((tight.status == CLATTN_OK) == best, "%s: strict gives %s where the choice is %s",
                          r->file, clattn_status_name(tight.status),
                          loose.engine ? loose.engine->name : "none");
        }
}
END_TEST

/* A device below the floor is refused with a reason, not given an illegal shape. */
START_TEST(too_little_of_everything)
{
    struct clattn__task task = plain_task();
    int checked = 0;
    for (int i = 0; i < n_devices; i++) {
        clattn_device_facts facts = devices[i].facts;
        if (!strcmp(devices[i].engine, "none") || !strcmp(devices[i].engine, "vector"))
            continue;
        facts.local_bytes = 64;
        struct choice loose = choose(&facts, &task, "", false), tight = choose(&facts, &task, "", true);
        ck_assert_msg(loose.status == CLATTN_NO_ENGINE, "%s with 64 bytes of local memory: %s",
                      devices[i].file, loose.why);
        ck_assert_msg(tight.status != CLATTN_OK, "%s with 64 bytes of local memory: strict", devices[i].file);
        check_reasons(devices[i].file, loose.why);
        checked++;
    }
    ck_assert_int_ge(checked, 3);
}
END_TEST

START_TEST(every_row_and_key_once)
{
    uint64_t state = 2024;
    int taken = 0;
    for (int i = 0; i < n_devices; i++)
        for (int n = 0; n < RANDOM_TASKS; n++) {
            struct clattn__task task = random_task(&state);
            for (size_t e = 0; clattn__engines[e]; e++) {
                char where[256];
                const clattn_device_facts *facts = &devices[i].facts;
                struct choice c = choose(facts, &task, clattn__engines[e]->name, false);
                if (c.status)
                    continue;
                snprintf(where, sizeof where, "%.63s %s b%lld h%lld/%lld q%lld k%lld d%d/%d splits=%lld",
                         devices[i].file, c.engine->name, (long long)task.batch, (long long)task.heads,
                         (long long)task.kv_heads, (long long)task.q_len, (long long)task.kv_len, task.dim,
                         task.dim_v, (long long)task.splits);
                check_launch_fields(where, facts, &task, &c.launch);
                check_cover(where, &task, &c.launch);
                taken++;
            }
        }
    ck_assert_int_gt(taken, RANDOM_TASKS * 8);
}
END_TEST

/* ---- settings ---- */
/* A value, or none, for each knob of an engine. */
static struct clattn__setting random_setting(const char *engine, uint64_t *state)
{
    struct clattn__setting setting = {{0}};
    for (int knob = 0; knob < CLATTN__N_KNOBS; knob++) {
        int count;
        const int32_t *values = clattn__knob_values(engine, (enum clattn__knob)knob, &count);
        if (count && next_random(state) % 3)
            setting.knob[knob] = values[next_random(state) % (uint64_t)count];
    }
    return setting;
}

/* What the kernels' heads ask of a shape, whoever chose it. */
static void check_kernel_limits(const char *where, const struct clattn__task *task,
                                const struct clattn__launch *l)
{
    const struct clattn__spec *s = &l->spec;
    if (!strcmp(l->kernel_text, "forward_vector"))
        ck_assert_msg(s->BQ == 16 * s->NQ * s->NT && s->BK > 0 && s->BK % s->MK == 0 &&
                          s->MD <= task->dim_v && s->NQ >= 1 && s->NQ <= 6 && s->MK * s->NQ <= 24 &&
                          s->MD * s->NQ <= 24 && (s->DOT == 1 || s->MK % 2 == 0) && s->GROUP == 1,
                      "%s: NQ %d MK %d MD %d NT %d BK %d", where, s->NQ, s->MK, s->MD, s->NT, s->BK);
    else if (!strcmp(l->kernel_text, "forward_few"))
        ck_assert_msg(s->BQ >= 1 && s->BQ <= 4 && s->BK % 16 == 0 && s->GROUP == 1, "%s: BQ %d BK %d", where,
                      s->BQ, s->BK);
    else if (!strcmp(l->kernel_text, "forward_blocked")) {
        const int32_t across = s->BK / s->MK, down = s->BQ / s->NQ;
        ck_assert_msg(s->GROUP == across * down && across % 8 == 0 && down % 4 == 0 && s->MK % 4 == 0 &&
                          s->MD % 4 == 0 && across * s->MD >= task->dim_v && s->NQ * s->MK <= 128 &&
                          s->NQ * s->MD <= 128 && (s->NT == 8 || s->NT == 16),
                      "%s: BQ %d BK %d MK %d MD %d GROUP %d", where, s->BQ, s->BK, s->MK, s->MD, s->GROUP);
    }
}

/* A setting that is taken is kept: what it leaves open alone is chosen. */
static void check_kept(const char *where, const struct clattn__task *task, const struct clattn__setting *set,
                       const struct clattn__launch *l)
{
    for (int knob = 0; knob < CLATTN__N_KNOBS; knob++) {
        const int32_t asked = set->knob[knob], got = l->setting.knob[knob];
        bool kept = got == asked;
        if (knob == CLATTN__KNOB_splits)
            kept = got <= (task->splits ? task->splits : asked); /* no part without keys */
        else if (knob == CLATTN__KNOB_keys && !strcmp(l->kernel_text, "forward_vector"))
            kept = got == asked / l->spec.MK * l->spec.MK;
        else if (knob == CLATTN__KNOB_rows && !strcmp(l->kernel_text, "forward_portable"))
            kept = got <= asked; /* no empty rows */
        ck_assert_msg(!asked || kept, "%s: knob %d is %d, asked for %d", where, knob, (int)got, (int)asked);
    }
}

/* Every value of every knob with any others: a legal launch that covers all, or a refusal with its reason. */
START_TEST(settings)
{
    uint64_t state = 77;
    int taken = 0, refused = 0, tuned[16] = {0};
    for (int i = 0; i < n_devices; i++)
        for (int n = 0; n < 6 * RANDOM_TASKS; n++) {
            clattn_device_facts facts = devices[i].facts;
            struct clattn__task task = random_task(&state);
            const size_t e = next_random(&state) % 9;
            const char *name = clattn__engines[e]->name;
            if (strstr(facts.platform, "NVIDIA")) {
                facts.matrix_unit = CLATTN_MATRIX_WGMMA;
                facts.unit_local_bytes = 228 << 10;
                task.softmax = task.aligned = true;
                task.scale = 0.125;
                task.type_q = task.type_k = task.type_v = task.type_o =
                    !strcmp(name, "matrix-tf32x3") ? CLATTN_F32 : CLATTN_F16;
                task.dim = task.dim_v = (int32_t)PICK(&state, 32, 64, 128, 192, 256);
            }
            const struct choice built_in = choose(&facts, &task, name, false);
            task.setting = random_setting(name, &state);
            const struct choice c = choose(&facts, &task, name, false);
            char where[256];
            snprintf(where, sizeof where,
                     "%.40s %s h%lld/%lld q%lld k%lld d%d/%d, setting %d %d %d %d %d %d %d %d",
                     devices[i].file, name, (long long)task.heads, (long long)task.kv_heads,
                     (long long)task.q_len, (long long)task.kv_len, task.dim, task.dim_v,
                     task.setting.knob[0], task.setting.knob[1], task.setting.knob[2], task.setting.knob[3],
                     task.setting.knob[4], task.setting.knob[5], task.setting.knob[6], task.setting.knob[7]);
            check_reasons(where, c.why);
            if (c.status) {
                ck_assert_msg(c.status == CLATTN_ENGINE_REFUSED, "%s: %s", where,
                              clattn_status_name(c.status));
                refused++;
                continue;
            }
            ck_assert_msg(!built_in.status, "%s: taken where the engine refuses without a setting", where);
            if (clattn__setting_is_empty(&task.setting))
                ck_assert(!memcmp(&c.launch, &built_in.launch, sizeof c.launch));
            check_launch_fields(where, &facts, &task, &c.launch);
            check_cover(where, &task, &c.launch);
            check_kernel_limits(where, &task, &c.launch);
            check_kept(where, &task, &task.setting, &c.launch);
            tuned[e] += memcmp(&c.launch.spec, &built_in.launch.spec, sizeof c.launch.spec) != 0;
            taken++;
        }
    ck_assert_int_gt(taken, 2000);
    ck_assert_int_gt(refused, 2000);
    for (int e = 0; e < 9; e++) /* some settings of each make another kernel; blocked-large has only parts */
        ck_assert_msg(tuned[e] > 20 || clattn__engines[e] == &clattn__engine_blocked_large, "%s: %d",
                      clattn__engines[e]->name, tuned[e]);
}
END_TEST

/* ---- the numbers that are built in (doc/tuning.md has the same table) ---- */
static const struct {
    const char *file;
    int32_t matrix_unit;
    int kib; /* of local memory of a compute unit, beyond what OpenCL tells */
    int64_t q_len, kv_len;
    int32_t dim, type;
    const char *setting;
} built_in[] = {
    {"pocl-avx512.txt", CLATTN_MATRIX_NONE, 0, 2048, 2048, 64, CLATTN_F32, "vector rows=64 keys=128 step=4 tiles=2 depth=2 splits=1"},
    {"pocl-avx512.txt", CLATTN_MATRIX_NONE, 0, 2048, 2048, 128, CLATTN_F32, "vector rows=64 keys=128 step=4 tiles=4 depth=2 splits=1"},
    {"pocl-avx512.txt", CLATTN_MATRIX_NONE, 0, 16, 8192, 128, CLATTN_F32, "vector rows=64 keys=128 step=4 tiles=1 depth=2 splits=1"},
    {"pocl-avx512.txt", CLATTN_MATRIX_NONE, 0, 1, 8192, 128, CLATTN_F32, "vector keys=1024 splits=1"},
    {"pocl-avx2.txt", CLATTN_MATRIX_NONE, 0, 2048, 2048, 64, CLATTN_F32, "vector rows=16 keys=126 step=6 tiles=8 depth=2 splits=1"},
    {"pocl-avx2.txt", CLATTN_MATRIX_NONE, 0, 2048, 2048, 128, CLATTN_F32, "vector rows=16 keys=126 step=6 tiles=16 depth=2 splits=1"},
    {"pocl-avx2.txt", CLATTN_MATRIX_NONE, 0, 16, 8192, 128, CLATTN_F32, "vector rows=16 keys=126 step=6 tiles=4 depth=2 splits=4"},
    {"pocl-avx2.txt", CLATTN_MATRIX_NONE, 0, 1, 8192, 128, CLATTN_F32, "vector keys=1024 splits=4"},
    {"intel-cpu-runtime-epyc.txt", CLATTN_MATRIX_NONE, 0, 2048, 2048, 64, CLATTN_F32, "vector rows=16 keys=126 step=6 tiles=8 depth=2 splits=1"},
    {"intel-cpu-runtime-epyc.txt", CLATTN_MATRIX_NONE, 0, 2048, 2048, 128, CLATTN_F32, "vector rows=16 keys=126 step=6 tiles=16 depth=2 splits=1"},
    {"intel-cpu-runtime-epyc.txt", CLATTN_MATRIX_NONE, 0, 16, 8192, 128, CLATTN_F32, "vector rows=16 keys=126 step=6 tiles=4 depth=2 splits=2"},
    {"intel-cpu-runtime-epyc.txt", CLATTN_MATRIX_NONE, 0, 1, 8192, 128, CLATTN_F32, "vector keys=1024 splits=2"},
    {"rusticl-llvmpipe.txt", CLATTN_MATRIX_NONE, 0, 2048, 2048, 64, CLATTN_F32, "portable rows=32 keys=32 items=64 splits=1"},
    {"rusticl-llvmpipe.txt", CLATTN_MATRIX_NONE, 0, 2048, 2048, 128, CLATTN_F32, "portable rows=32 keys=32 items=64 splits=1"},
    {"rusticl-llvmpipe.txt", CLATTN_MATRIX_NONE, 0, 16, 8192, 128, CLATTN_F32, "portable rows=16 keys=32 items=64 splits=2"},
    {"rusticl-llvmpipe.txt", CLATTN_MATRIX_NONE, 0, 1, 8192, 128, CLATTN_F32, "portable rows=4 keys=32 items=64 splits=8"},
    {"nvidia-h200.txt", CLATTN_MATRIX_WGMMA, 228, 2048, 2048, 64, CLATTN_F16, "matrix-wgmma rows=192 depth=3 splits=1"},
    {"nvidia-h200.txt", CLATTN_MATRIX_WGMMA, 228, 2048, 2048, 128, CLATTN_F16, "matrix-wgmma rows=128 depth=3 splits=1"},
    {"nvidia-h200.txt", CLATTN_MATRIX_WGMMA, 228, 16, 8192, 128, CLATTN_F16, "matrix-wgmma rows=64 depth=3 splits=16"},
    {"nvidia-h200.txt", CLATTN_MATRIX_WGMMA, 228, 1, 8192, 128, CLATTN_F16, "matrix-decode keys=16 tiles=8 splits=16"},
    {"nvidia-h200.txt", CLATTN_MATRIX_MMA, 164, 2048, 2048, 64, CLATTN_F16, "matrix-mma rows=128 keys=64 splits=1"},
    {"nvidia-h200.txt", CLATTN_MATRIX_MMA, 164, 2048, 2048, 128, CLATTN_F16, "matrix-mma rows=128 keys=64 splits=1"},
    {"nvidia-h200.txt", CLATTN_MATRIX_MMA, 164, 16, 8192, 128, CLATTN_F16, "matrix-mma rows=64 keys=64 splits=32"},
    {"nvidia-h200.txt", CLATTN_MATRIX_MMA, 164, 1, 8192, 128, CLATTN_F16, "matrix-decode keys=16 tiles=2 splits=64"},
    {"nvidia-h200.txt", CLATTN_MATRIX_WGMMA, 228, 2048, 2048, 64, CLATTN_F32, "matrix-tf32x3 keys=64 splits=1"},
    {"nvidia-h200.txt", CLATTN_MATRIX_WGMMA, 228, 2048, 2048, 128, CLATTN_F32, "matrix-tf32x3 keys=32 splits=1"},
    {"nvidia-h200.txt", CLATTN_MATRIX_WGMMA, 228, 16, 8192, 128, CLATTN_F32, "matrix-tf32x3 keys=32 splits=64"},
    {"nvidia-h200.txt", CLATTN_MATRIX_WGMMA, 228, 1, 8192, 128, CLATTN_F32, "matrix-tf32x3 keys=32 splits=64"},
    {"amd-rx580.txt", CLATTN_MATRIX_NONE, 0, 2048, 2048, 64, CLATTN_F32, "blocked rows=64 keys=64 chunk=8 items=64 splits=1"},
    {"amd-rx580.txt", CLATTN_MATRIX_NONE, 0, 2048, 2048, 128, CLATTN_F32, "blocked rows=64 keys=64 chunk=8 items=128 splits=1"},
    {"amd-rx580.txt", CLATTN_MATRIX_NONE, 0, 16, 8192, 128, CLATTN_F32, "blocked rows=64 keys=64 chunk=8 items=128 splits=16"},
    {"amd-rx580.txt", CLATTN_MATRIX_NONE, 0, 1, 8192, 128, CLATTN_F32, "blocked rows=32 keys=64 chunk=16 items=64 splits=16"},
    {"apple-m1-pro.txt", CLATTN_MATRIX_NONE, 0, 2048, 2048, 64, CLATTN_F32, "blocked rows=64 keys=64 chunk=8 items=64 splits=1"},
    {"apple-m1-pro.txt", CLATTN_MATRIX_NONE, 0, 2048, 2048, 128, CLATTN_F32, "blocked rows=64 keys=64 chunk=8 items=128 splits=1"},
    {"apple-m1-pro.txt", CLATTN_MATRIX_NONE, 0, 16, 8192, 128, CLATTN_F32, "blocked rows=64 keys=64 chunk=8 items=128 splits=7"},
    {"apple-m1-pro.txt", CLATTN_MATRIX_NONE, 0, 1, 8192, 128, CLATTN_F32, "blocked rows=32 keys=64 chunk=16 items=64 splits=7"},
};

/* Each family's choice, for a head size and a number of rows: a change of it is a decision, not an
 * accident. */
START_TEST(built_in_numbers)
{
    for (size_t n = 0; n < CLATTN__LEN(built_in); n++) {
        char text[192];
        struct clattn__text out = clattn__text_into(text, sizeof text);
        clattn_device_facts facts = {0};
        for (int i = 0; i < n_devices; i++)
            if (!strcmp(devices[i].file, built_in[n].file))
                facts = devices[i].facts;
        ck_assert_msg(facts.size != 0, "no %s", built_in[n].file);
        facts.matrix_unit = built_in[n].matrix_unit;
        facts.unit_local_bytes = (uint64_t)built_in[n].kib << 10;
        struct clattn__task task = {.batch = 1, .heads = 32, .kv_heads = 8, .q_len = built_in[n].q_len,
                                    .kv_len = built_in[n].kv_len, .dim = built_in[n].dim,
                                    .dim_v = built_in[n].dim, .scale = 0.125, .softmax = true,
                                    .aligned = true};
        task.type_q = task.type_k = task.type_v = task.type_o = built_in[n].type;
        const struct choice c = choose(&facts, &task, "", false);
        ck_assert_msg(c.status == CLATTN_OK, "%s: %s", built_in[n].file, c.why);
        clattn__setting_print(c.engine->name, &c.launch.setting, &out);
        ck_assert_msg(!strcmp(text, built_in[n].setting), "%s, %d queries, d %d: %s instead of %s",
                      built_in[n].file, (int)built_in[n].q_len, built_in[n].dim, text, built_in[n].setting);
    }
}
END_TEST

/* What an engine answers is a setting of the same launch, where its values are ones of the table. */
START_TEST(settings_as_text)
{
    static const struct {
        const char *text;
        bool good;
    } texts[] = {
        {"vector", true}, {"vector rows=32", true}, {"vector rows=32 keys=128 step=8 tiles=1 depth=2 splits=1", true},
        {"portable rows=8 items=64", true}, {"matrix-wgmma depth=2", true}, {"", false}, {"vectors", false}, {"vector ", false},
        {"vector  rows=32", false}, {"vector rows=32 ", false}, {"vector rows=33", false}, {"vector rows=", false}, {"vector rows", false},
        {"vector rows=032", false}, {"vector rows=+32", false}, {"vector rows=32 rows=32", false}, {"vector keys=128 rows=32", false},
        {"vector chunk=8", false}, {"vector rows=99999999999999999999", false}, {"blocked depth=2", false}, {"matrix", false},
        {"matrix-generic", false}, {"vector row=32", false}, {"vector rowss=32", false}, {" vector", false}, {"vector rows=0", false},
    };
    for (size_t i = 0; i < CLATTN__LEN(texts); i++) {
        char engine[CLATTN_NAME_SIZE], reason[160] = "", again[160];
        struct clattn__setting setting;
        char *text = strdup(texts[i].text); /* of its own length: a checker sees a read past its end */
        bool good = clattn__setting_parse(text, strlen(text), engine, &setting, reason, sizeof reason);
        ck_assert_msg(good == texts[i].good && !reason[0] == good, "'%s': %s", text, reason);
        struct clattn__text out = clattn__text_into(again, sizeof again);
        if (good)
            clattn__setting_print(engine, &setting, &out);
        ck_assert(!good || !strcmp(again, text));
        free(text);
    }
    /* every knob has values, which rise, and no engine named alone has any */
    for (size_t e = 0; clattn__engines[e]; e++)
        for (int knob = 0; knob < CLATTN__N_KNOBS; knob++) {
            int count;
            const int32_t *values =
                clattn__knob_values(clattn__engines[e]->name, (enum clattn__knob)knob, &count);
            ck_assert(count == 0 || (count >= 2 && !clattn__engines[e]->by_name));
            for (int i = 1; i < count; i++)
                ck_assert_int_gt(values[i], values[i - 1]);
        }
}
END_TEST

/* The largest problems overflow nothing. */
START_TEST(largest_lengths)
{
    static const int64_t lengths[] = {1, 16, 17, (int64_t)1 << 20, ((int64_t)1 << 30) - 1, (int64_t)1 << 30};
    int taken = 0;
    for (int i = 0; i < n_devices; i++)
        for (size_t q = 0; q < CLATTN__LEN(lengths); q++)
            for (size_t k = 0; k < CLATTN__LEN(lengths); k++) {
                struct clattn__task task = plain_task();
                task.q_len = lengths[q];
                task.kv_len = lengths[k];
                struct choice c = choose(&devices[i].facts, &task, "", false);
                if (c.status)
                    continue;
                check_launch_fields(devices[i].file, &devices[i].facts, &task, &c.launch);
                taken++;
            }
    ck_assert_int_gt(taken, 8 * 36 - 1);
}
END_TEST

/* What the library says about a driver ends, and every sentence is one. */
START_TEST(traps)
{
    int sentences = 0;
    for (int i = 0; i < n_devices; i++)
        for (size_t n = 0;; n++) {
            const char *text = clattn_device_trap(&devices[i].facts, n);
            if (!text)
                break;
            ck_assert_uint_gt(strlen(text), 20);
            ck_assert_uint_lt(n, 20);
            sentences++;
        }
    ck_assert_int_ge(sentences, 5);
    ck_assert_ptr_null(clattn_device_trap(NULL, 0));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plan choice");
    TCase *cases = tcase_create("recorded devices");
    tcase_add_unchecked_fixture(cases, read_devices, NULL);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, expected_engine);
    tcase_add_test(cases, driver_facts);
    tcase_add_test(cases, compilers_words);
    tcase_add_test(cases, describe_agrees_with_choice);
    tcase_add_test(cases, pairs_of_bf16);
    tcase_add_test(cases, few_rows);
    tcase_add_test(cases, registers);
    tcase_add_test(cases, idle_units);
    tcase_add_test(cases, one_engine_after_another);
    tcase_add_test(cases, read_once);
    tcase_add_test(cases, matrix_units);
    tcase_add_test(cases, f32_units);
    tcase_add_test(cases, register_tiles);
    tcase_add_test(cases, even_work);
    tcase_add_test(cases, heavy_tiles_first);
    tcase_add_test(cases, counted_tiles);
    tcase_add_test(cases, decode);
    tcase_add_test(cases, lists);
    tcase_add_test(cases, forced_engine);
    tcase_add_test(cases, strict);
    tcase_add_test(cases, too_little_of_everything);
    tcase_add_test(cases, every_row_and_key_once);
    tcase_add_test(cases, settings);
    tcase_add_test(cases, settings_as_text);
    tcase_add_test(cases, built_in_numbers);
    tcase_add_test(cases, largest_lengths);
    tcase_add_test(cases, traps);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
