/* SPDX-License-Identifier: MIT
 * check_program.c - kernel texts become programs on the default device; the log tells the cache hits. */
#include "core/core.h"
#include "tests/suite.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];   /* a fresh folder for each test: kernel texts */
static char where[128]; /* inside it: the cache */

static int count_files(const char *directory)
{
    int n = 0;
    DIR *dir = opendir(directory);
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void spill(const char *path, const unsigned char *bytes, size_t size)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

/* Remove a folder and what it holds: plain files and empty folders. */
static void remove_folder(const char *path)
{
    char inner[PATH_MAX];
    DIR *dir = opendir(path);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) {
            snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
            remove(inner);
        }
    if (dir)
        closedir(dir);
    rmdir(path);
}

static const char probe_text[] = "#if VALUE != 7 || PRELUDE != 3\n"
                                 "#error VALUE and PRELUDE are wrong\n"
                                 "#endif\n"
                                 "kernel void probe(global int *x) { x[0] = VALUE; }\n";
static int hits, builds, kept;
static bool forget = true; /* what the context keeps in memory, so that the cache on disk is asked */
static clattn_context *ctx;

static void count_line(void *cookie, const char *line)
{
    ck_assert_ptr_eq(cookie, &hits);
    hits += !strcmp(line, "program probe: cache hit");
    builds += !strcmp(line, "program probe: built");
    kept += !strcmp(line, "program probe: kept");
}

static void set_up(void)
{
    char path[256];
    snprintf(root, sizeof root, "/tmp/clattn-check.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(where, sizeof where, "%s/cache", root);
    ck_assert_int_eq(mkdir(where, 0700), 0);
    snprintf(path, sizeof path, "%s/probe.cl", root);
    spill(path, (const unsigned char *)probe_text, sizeof probe_text - 1);
    setenv("CLATTN_KERNEL_DIR", root, 1);
    unsetenv("CLATTN_CACHE_DIR");
    ck_assert_int_eq(clattn_context_open(&ctx, getenv("CLATTN_TEST_DEVICE")), CLATTN_OK);
    ck_assert_int_eq(clattn_context_set_log(ctx, count_line, &hits), CLATTN_OK);
    ck_assert_int_eq(clattn_context_set_cache(ctx, CLATTN_CACHE_ALWAYS, where), CLATTN_OK);
}

static void tear_down(void)
{
    clattn_context_close(ctx);
    unsetenv("CLATTN_KERNEL_DIR");
    remove_folder(where);
    remove_folder(root);
}

static clattn_status build(const char *name, const char *options, const char *prelude, const char *kernel)
{
    const struct clattn__program_request request = {.name = name, .options = options, .prelude = prelude,
                                                    .kernel = kernel};
    cl_program program = NULL;
    hits = builds = 0;
    if (forget)
        clattn__kept_free(ctx);
    clattn_status status = clattn__program_build(ctx, &request, &program);
    ck_assert_int_eq(status == CLATTN_OK, program != NULL);
    if (program)
        clReleaseProgram(program);
    return status;
}

static void expect(int wanted_hits, int wanted_builds)
{
    ck_assert_int_eq(build("probe", "-DVALUE=7", "#define PRELUDE 3\n", "probe"), CLATTN_OK);
    ck_assert_int_eq(hits, wanted_hits);
    ck_assert_int_eq(builds, wanted_builds);
}

/* The path of the only entry. */
static const char *only_entry(void)
{
    static char path[PATH_MAX];
    ck_assert_int_eq(count_files(where), 1);
    DIR *dir = opendir(where);
    struct dirent *entry = readdir(dir);
    while (entry->d_name[0] == '.')
        entry = readdir(dir);
    snprintf(path, sizeof path, "%s/%s", where, entry->d_name);
    closedir(dir);
    return path;
}

START_TEST(second_build_hits)
{
    expect(0, 1);
    expect(1, 0);
    clattn_context_close(ctx); /* another context of the same device */
    ck_assert_int_eq(clattn_context_open(&ctx, getenv("CLATTN_TEST_DEVICE")), CLATTN_OK);
    clattn_context_set_log(ctx, count_line, &hits);
    ck_assert_int_eq(clattn_context_set_cache(ctx, CLATTN_CACHE_ALWAYS, where), CLATTN_OK);
    expect(1, 0);
    ck_assert_int_eq(build("probe", "-DVALUE=7 -DMORE=1", "#define PRELUDE 3\n", "probe"), CLATTN_OK);
    ck_assert_int_eq(builds, 1); /* other options, another entry */
    ck_assert_int_eq(build("probe", "-DVALUE=7", "#define PRELUDE 3\n#define MORE 1\n", "probe"), CLATTN_OK);
    ck_assert_int_eq(builds, 1); /* another prelude, another entry */
    ck_assert_int_eq(count_files(where), 3);
}
END_TEST

/* The context itself keeps what it built; with the cache off it keeps nothing. */
START_TEST(context_keeps_programs)
{
    forget = false;
    kept = 0;
    expect(0, 1);
    expect(0, 0);
    ck_assert_int_eq(kept, 1);
    clattn_context_set_cache(ctx, CLATTN_CACHE_OFF, where);
    expect(0, 1);
    expect(0, 1);
    clattn_context_set_cache(ctx, CLATTN_CACHE_ALWAYS, where);
    for (int i = 0; i < 2 * CLATTN__MAX_KEPT; i++) { /* more than it keeps: the oldest go */
        struct clattn__cache_key key = {{(unsigned char)i, 1}};
        cl_program program = clattn__kept_find(ctx, &key);
        ck_assert_ptr_null(program);
        ck_assert_int_eq(build("probe", "-DVALUE=7", "#define PRELUDE 3\n", "probe"), CLATTN_OK);
        const struct clattn__program_request request = {
            .name = "probe", .options = "-DVALUE=7", .prelude = "#define PRELUDE 3\n", .kernel = "probe",
        };
        ck_assert_int_eq(clattn__program_build(ctx, &request, &program), CLATTN_OK);
        clattn__kept_add(ctx, &key, program);
        ck_assert_ptr_eq(clattn__kept_find(ctx, &key), program);
        clReleaseProgram(program);
        clReleaseProgram(program);
    }
    ck_assert_int_eq(ctx->n_kept, CLATTN__MAX_KEPT);
    forget = true;
}
END_TEST

/* A report of builds is one of builds: nothing is taken from what is kept, and nothing goes there. */
START_TEST(reported_builds)
{
    forget = false;
    kept = 0;
    expect(0, 1);
    ck_assert_int_eq(clattn_context_set_build_report(ctx, 1), CLATTN_OK);
    expect(0, 1);
    expect(0, 1);
    ck_assert(kept == 0 && count_files(where) == 1);
    ck_assert_int_eq(clattn_context_set_build_report(ctx, 0), CLATTN_OK);
    expect(0, 0);
    ck_assert_int_eq(kept, 1);
    ck_assert_int_eq(clattn_context_set_build_report(NULL, 1), CLATTN_NULL_ARGUMENT);
    forget = true;
}
END_TEST

/* ---- rewrites of binaries ---- */
static char *copy_binary(const char *binary, size_t *size, const void *wish, char *reason, size_t reason_size)
{
    (void)reason, (void)reason_size;
    ++*(int *)(uintptr_t)wish;
    return memcpy(malloc(*size), binary, *size);
}

static char *spoil_binary(const char *binary, size_t *size, const void *wish, char *reason,
                          size_t reason_size)
{
    char *copy = copy_binary(binary, size, wish, reason, reason_size);
    memset(copy, 'x', *size);
    return copy;
}

static char *refuse_binary(const char *binary, size_t *size, const void *wish, char *reason,
                           size_t reason_size)
{
    (void)binary, (void)size, (void)wish;
    snprintf(reason, reason_size, "it is not to my taste");
    return NULL;
}

static clattn_status build_rewritten(clattn__rewrite *rewrite, int *calls)
{
    const struct clattn__program_request request = {
        .name = "probe", .options = "-DVALUE=7", .prelude = "#define PRELUDE 3\n", .kernel = "probe",
        .rewrite = rewrite, .wish = calls,
    };
    cl_program program = NULL;
    clattn__kept_free(ctx);
    hits = builds = 0;
    clattn_status status = clattn__program_build(ctx, &request, &program);
    ck_assert_int_eq(status == CLATTN_OK, program != NULL);
    if (program)
        clReleaseProgram(program);
    return status;
}

/* A rewritten program is cached as it became; one that fails is a build that failed, and leaves nothing
 * behind. */
START_TEST(rewritten_binaries)
{
    int calls = 0;
    char message[512];
    ck_assert_int_eq(build_rewritten(refuse_binary, &calls), CLATTN_BUILD_FAILED);
    clattn_context_message(ctx, message, sizeof message);
    ck_assert_msg(strstr(message, "it is not to my taste") != NULL, "%s", message);
    ck_assert_int_eq(build_rewritten(spoil_binary, &calls), CLATTN_BUILD_FAILED);
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(count_files(where), 0);
    ck_assert_int_eq(build_rewritten(copy_binary, &calls), CLATTN_OK);
    ck_assert(calls == 2 && builds == 1);
    ck_assert_int_eq(build_rewritten(copy_binary, &calls), CLATTN_OK);
    ck_assert(calls == 2 && hits == 1 && builds == 0);
}
END_TEST

START_TEST(injured_entry_is_rebuilt)
{
    expect(0, 1);
    const char *path = only_entry();
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    int fd = open(path, O_RDWR);
    unsigned char byte;
    ck_assert_int_eq(pread(fd, &byte, 1, st.st_size - 1), 1);
    byte ^= 1;
    ck_assert_int_eq(pwrite(fd, &byte, 1, st.st_size - 1), 1);
    close(fd);
    expect(0, 1);
    expect(1, 0);
}
END_TEST

START_TEST(entry_of_another_program_is_rebuilt)
{
    expect(0, 1);
    ck_assert_int_eq(build("probe", "-DVALUE=7", "#define PRELUDE 3\n", "absent"), CLATTN_OK);
    ck_assert_int_eq(builds, 1); /* a good entry, but without the kernel that was asked for */
    expect(1, 0);
}
END_TEST

START_TEST(modes)
{
    clattn_context_set_cache(ctx, CLATTN_CACHE_OFF, where);
    expect(0, 1);
    ck_assert_int_eq(count_files(where), 0);
    clattn_context_set_cache(ctx, CLATTN_CACHE_AUTO, where);
    ctx->facts.caches_programs = 1;
    expect(0, 1);
    ck_assert_int_eq(count_files(where), 0);
    ctx->facts.caches_programs = 0;
    expect(0, 1);
    ck_assert_int_eq(count_files(where), 1);
    setenv("CLATTN_CACHE_DIR", "", 1);
    clattn_context_set_cache(ctx, CLATTN_CACHE_ALWAYS, NULL);
    expect(0, 1); /* empty: off */
    setenv("CLATTN_CACHE_DIR", where, 1);
    expect(1, 0);
    unsetenv("CLATTN_CACHE_DIR");
    clattn_context_set_cache(ctx, CLATTN_CACHE_ALWAYS, "/proc/clattn");
    expect(0, 1); /* an unusable folder only costs time */
    ck_assert_int_eq(clattn_context_set_cache(ctx, (clattn_cache_mode)3, where), CLATTN_BAD_FLAGS);
}
END_TEST

START_TEST(no_compiler)
{
    expect(0, 1);
    ctx->facts.has_compiler = 0;
    expect(1, 0);
    char text[CLATTN__MESSAGE_SIZE];
    clattn_status status = build("probe", "-DVALUE=7 -DMORE=1", "#define PRELUDE 3\n", "probe");
    ck_assert_int_eq(status, CLATTN_BUILD_FAILED);
    ck_assert_int_eq(clattn_context_message(ctx, text, sizeof text), CLATTN_OK);
    ck_assert_ptr_nonnull(strstr(text, "no compiler"));
}
END_TEST

START_TEST(build_log)
{
    static char text[CLATTN__BUILD_LOG_SIZE];
    ck_assert_int_eq(build("probe", "-DVALUE=8", "#define PRELUDE 3\n", "probe"), CLATTN_BUILD_FAILED);
    ck_assert_int_ne(clattn_context_cl_error(ctx), CL_SUCCESS);
    ck_assert_int_eq(clattn_context_build_log(ctx, text, sizeof text), CLATTN_OK);
    ck_assert_ptr_nonnull(strstr(text, "VALUE and PRELUDE are wrong"));
    for (const char *p = text; *p; p++)
        ck_assert((unsigned char)*p >= ' ' || *p == '\n' || *p == '\t');
    ck_assert_int_eq(count_files(where), 0);
}
END_TEST

START_TEST(override_texts)
{
    char path[256], other[256];
    ck_assert_int_eq(build("nowhere", "", NULL, "probe"), CLATTN_KERNEL_TEXT);
    snprintf(path, sizeof path, "%s/nowhere.cl", root);
    snprintf(other, sizeof other, "%s/probe.cl", root);
    ck_assert_int_eq(symlink(other, path), 0);
    ck_assert_int_eq(build("nowhere", "-DVALUE=7", "#define PRELUDE 3\n", "probe"), CLATTN_KERNEL_TEXT);
    unlink(path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(build("nowhere", "-DVALUE=7", "#define PRELUDE 3\n", "probe"), CLATTN_KERNEL_TEXT);
    ck_assert_int_eq(truncate(other, (4 << 20) + 1), 0);
    ck_assert_int_eq(build("probe", "-DVALUE=7", "#define PRELUDE 3\n", "probe"), CLATTN_KERNEL_TEXT);
    spill(other, (const unsigned char *)probe_text, sizeof probe_text - 1);
    ck_assert_int_eq(chmod(other, 0666), 0);
    ck_assert_int_eq(build("probe", "-DVALUE=7", "#define PRELUDE 3\n", "probe"), CLATTN_KERNEL_TEXT);
    ck_assert_int_eq(chmod(other, 0644), 0);
    expect(0, 1);
    setenv("CLATTN_KERNEL_DIR", "relative", 1);
    ck_assert_int_eq(build("probe", "-DVALUE=7", "#define PRELUDE 3\n", "probe"), CLATTN_KERNEL_TEXT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("programs");
    TCase *cases = tcase_create("programs");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, second_build_hits);
    tcase_add_test(cases, context_keeps_programs);
    tcase_add_test(cases, reported_builds);
    tcase_add_test(cases, rewritten_binaries);
    tcase_add_test(cases, injured_entry_is_rebuilt);
    tcase_add_test(cases, entry_of_another_program_is_rebuilt);
    tcase_add_test(cases, modes);
    tcase_add_test(cases, no_compiler);
    tcase_add_test(cases, build_log);
    tcase_add_test(cases, override_texts);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
