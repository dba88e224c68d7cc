/* SPDX-License-Identifier: MIT
 * check_cache.c - the program cache under injury: whatever lies in the folder, only what was written returns.
 *
 * Files only: the tests fork, which OpenCL does not survive.  check_program.c builds programs over it. */
#include "tests/draw.h"
#include "core/core.h"
#include "tests/suite.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sha2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 80, PAYLOAD = 4000, SOMEONE_ELSE = 65534, PROCESSES = 4, ROUNDS = 50 };

static char root[64]; /* a fresh folder for each test */
static char where[128];
static struct clattn__cache *cache;
static const struct clattn__cache_key key_a = {{1, 2, 3}}, key_b = {{0xff, 0, 9}};
static unsigned char payload_a[PAYLOAD], payload_b[PAYLOAD];

/* ---- the folder from outside ---- */

static const char *path_of(const struct clattn__cache_key *key, const char *suffix)
{
    static char path[256];
    int n = snprintf(path, sizeof path, "%s/", where);
    for (int i = 0; i < 32; i++)
        n += snprintf(path + n, sizeof path - (size_t)n, "%02x", key->sha256[i]);
    snprintf(path + n, sizeof path - (size_t)n, "%s", suffix);
    return path;
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

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

static size_t slurp(const char *path, unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    size_t n = fread(bytes, 1, size, file);
    fclose(file);
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

static void remove_tree(const char *path)
{
    struct stat st;
    char inner[PATH_MAX];
    if (lstat(path, &st))
        return;
    if (!S_ISDIR(st.st_mode)) {
        unlink(path);
        return;
    }
    chmod(path, 0700);
    DIR *dir = opendir(path);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) {
            snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
            remove_tree(inner);
        }
    if (dir)
        closedir(dir);
    rmdir(path);
}

/* ---- reading and writing ---- */

/* Read an entry: 0 a miss, 1 exactly the expected payload; all else is the failure this file looks for. */
static int look(const struct clattn__cache_key *key, const unsigned char *expected)
{
    unsigned char *payload = NULL;
    size_t size = 0;
    if (!clattn__cache_read(cache, key, &payload, &size)) {
        ck_assert_ptr_null(payload);
        return 0;
    }
    ck_assert_uint_eq(size, PAYLOAD);
    ck_assert_int_eq(memcmp(payload, expected, PAYLOAD), 0);
    free(payload);
    return 1;
}

/* An injured entry must be a miss, be taken away, and give place to a new one. */
static void expect_removed_and_rebuilt(void)
{
    ck_assert_int_eq(look(&key_a, payload_a), 0);
    ck_assert(!exists(path_of(&key_a, "")));
    ck_assert(clattn__cache_write(cache, &key_a, payload_a, PAYLOAD));
    ck_assert_int_eq(look(&key_a, payload_a), 1);
}

static void set_up(void)
{
    snprintf(root, sizeof root, "/tmp/clattn-check.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(where, sizeof where, "%s/deep/cache", root);
    for (size_t i = 0; i < PAYLOAD; i++) {
        payload_a[i] = (unsigned char)below(256);
        payload_b[i] = (unsigned char)below(256);
    }
    cache = clattn__cache_open(where);
    ck_assert_ptr_nonnull(cache);
    ck_assert(clattn__cache_write(cache, &key_a, payload_a, PAYLOAD));
    ck_assert(clattn__cache_write(cache, &key_b, payload_b, PAYLOAD));
}

static void tear_down(void)
{
    clattn__cache_close(cache);
    cache = NULL;
    remove_tree(root);
}

START_TEST(round_trip)
{
    struct stat st;
    const struct clattn__cache_key unknown = {{7}};
    ck_assert_int_eq(stat(where, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0700);
    ck_assert_int_eq(stat(path_of(&key_a, ""), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(st.st_size, HEADER + PAYLOAD);
    ck_assert_int_eq(count_files(where), 2); /* nothing is left aside */
    ck_assert_int_eq(look(&key_a, payload_a), 1);
    ck_assert_int_eq(look(&key_b, payload_b), 1);
    ck_assert_int_eq(look(&unknown, payload_a), 0);
    ck_assert(!clattn__cache_write(cache, &unknown, payload_a, 0));
    ck_assert(!clattn__cache_write(cache, &unknown, payload_a, ((size_t)64 << 20) + 1));
    clattn__cache_remove(cache, &key_a);
    ck_assert_int_eq(look(&key_a, payload_a), 0);
    ck_assert_int_eq(look(&key_b, payload_b), 1);
    clattn__cache_close(NULL);
}
END_TEST

START_TEST(truncated)
{
    unsigned char whole[HEADER + PAYLOAD + 1] = {0};
    ck_assert_uint_eq(slurp(path_of(&key_a, ""), whole, sizeof whole), HEADER + PAYLOAD);
    for (size_t i = 0; i <= HEADER + 100; i++) {
        spill(path_of(&key_a, ""), whole, i <= HEADER ? i : (size_t)below(HEADER + PAYLOAD));
        expect_removed_and_rebuilt();
    }
    spill(path_of(&key_a, ""), whole, HEADER + PAYLOAD + 1); /* one byte too many */
    expect_removed_and_rebuilt();
}
END_TEST

START_TEST(flipped_bits)
{
    unsigned char whole[HEADER + PAYLOAD];
    ck_assert_uint_eq(slurp(path_of(&key_a, ""), whole, sizeof whole), sizeof whole);
    for (size_t i = 0; i < HEADER * 8 + 1000; i++) {
        size_t bit = i < HEADER * 8 ? i : HEADER * 8 + (size_t)below(PAYLOAD * 8);
        whole[bit / 8] ^= (unsigned char)(1u << bit % 8);
        spill(path_of(&key_a, ""), whole, sizeof whole);
        ck_assert_msg(look(&key_a, payload_a) == 0, "bit %zu", bit);
        ck_assert(!exists(path_of(&key_a, "")));
        whole[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    spill(path_of(&key_a, ""), whole, sizeof whole); /* unhurt it is taken: the flips were why */
    ck_assert_int_eq(look(&key_a, payload_a), 1);
}
END_TEST

START_TEST(swapped_entries)
{
    char a[256], b[256], aside[256];
    snprintf(a, sizeof a, "%s", path_of(&key_a, ""));
    snprintf(b, sizeof b, "%s", path_of(&key_b, ""));
    snprintf(aside, sizeof aside, "%s/aside", where);
    ck_assert_int_eq(rename(a, aside) | rename(b, a) | rename(aside, b), 0);
    ck_assert_int_eq(look(&key_b, payload_b), 0);
    ck_assert(!exists(b));
    expect_removed_and_rebuilt();
}
END_TEST

START_TEST(links_as_entries)
{
    char other[256], path[256];
    snprintf(path, sizeof path, "%s", path_of(&key_a, ""));
    snprintf(other, sizeof other, "%s/elsewhere", root);
    ck_assert_int_eq(rename(path, other), 0); /* a good entry, but behind a link */
    ck_assert_int_eq(symlink(other, path), 0);
    expect_removed_and_rebuilt();
    ck_assert(exists(other)); /* the link went, not what it named */
    unlink(path);
    ck_assert_int_eq(symlink("/nonexistent/clattn", path), 0);
    expect_removed_and_rebuilt();
    unlink(other);
    ck_assert_int_eq(link(path, other), 0); /* a second name somebody else may hold */
    expect_removed_and_rebuilt();
}
END_TEST

START_TEST(odd_files_as_entries)
{
    char path[256];
    snprintf(path, sizeof path, "%s", path_of(&key_a, ""));
    unlink(path);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    expect_removed_and_rebuilt();
    unlink(path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(look(&key_a, payload_a), 0);
    ck_assert(!clattn__cache_write(cache, &key_a, payload_a, PAYLOAD));
    ck_assert_int_eq(look(&key_a, payload_a), 0);
    ck_assert_int_eq(count_files(where), 2); /* nothing is left aside */
    ck_assert_int_eq(rmdir(path), 0);
    expect_removed_and_rebuilt();
    ck_assert_int_eq(chmod(path, 0620), 0);
    expect_removed_and_rebuilt();
    ck_assert_int_eq(chmod(path, 0602), 0);
    expect_removed_and_rebuilt();
    if (geteuid() == 0) {
        ck_assert_int_eq(chown(path, SOMEONE_ELSE, (gid_t)-1), 0);
        expect_removed_and_rebuilt();
    }
}
END_TEST

/* An entry past the cap that is otherwise good, zeros with their right length and digest. */
START_TEST(too_large)
{
    static const unsigned char zeros[1 << 16];
    const uint64_t size = ((uint64_t)64 << 20) + 1;
    unsigned char header[HEADER];
    SHA2_CTX sha;
    SHA256Init(&sha);
    for (uint64_t left = size; left > 0; left -= left < sizeof zeros ? left : sizeof zeros)
        SHA256Update(&sha, zeros, left < sizeof zeros ? (size_t)left : sizeof zeros);
    ck_assert_uint_eq(slurp(path_of(&key_a, ""), header, HEADER), HEADER);
    for (int i = 0; i < 8; i++)
        header[40 + i] = (unsigned char)(size >> (8 * i));
    SHA256Final(header + 48, &sha);
    spill(path_of(&key_a, ""), header, HEADER);
    ck_assert_int_eq(truncate(path_of(&key_a, ""), (off_t)(HEADER + size)), 0);
    expect_removed_and_rebuilt();
}
END_TEST

START_TEST(bad_folders)
{
    char path[256];
    static const mode_t modes[] = {0720, 0702, 0777, 01777};
    for (size_t i = 0; i < CLATTN__LEN(modes); i++) {
        ck_assert_int_eq(chmod(where, modes[i]), 0);
        ck_assert_ptr_null(clattn__cache_open(where));
    }
    ck_assert_int_eq(chmod(where, 0700), 0);
    snprintf(path, sizeof path, "%s/link", root);
    ck_assert_int_eq(symlink(where, path), 0);
    ck_assert_ptr_null(clattn__cache_open(path));
    strcat(path, "//"); /* a slash at the end would follow the link */
    ck_assert_ptr_null(clattn__cache_open(path));
    snprintf(path, sizeof path, "%s/file", root);
    spill(path, payload_a, 10);
    ck_assert_ptr_null(clattn__cache_open(path));
    strcat(path, "/below");
    ck_assert_ptr_null(clattn__cache_open(path));
    snprintf(path, sizeof path, "%s/fifo", root);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_ptr_null(clattn__cache_open(path));
    ck_assert_ptr_null(clattn__cache_open(NULL));
    ck_assert_ptr_null(clattn__cache_open(""));
    ck_assert_ptr_null(clattn__cache_open("relative/folder"));
    if (geteuid() == 0)
        ck_assert_int_eq(chown(where, SOMEONE_ELSE, (gid_t)-1), 0);
    ck_assert_ptr_null(clattn__cache_open(geteuid() == 0 ? where : "/usr")); /* another's folder */
}
END_TEST

START_TEST(long_path)
{
    char path[PATH_MAX + 10];
    memset(path, 'x', sizeof path);
    for (size_t i = 0; i < sizeof path; i += 100)
        path[i] = '/';
    path[sizeof path - 1] = 0;
    ck_assert_ptr_null(clattn__cache_open(path));
}
END_TEST

/* ---- the environment ---- */

START_TEST(environment)
{
    char text[PATH_MAX];
    static const char *const off[] = {"", "relative", "./here", "/tmp/../tmp/x", "/tmp/x/.."};
    setenv("XDG_CACHE_HOME", root, 1);
    setenv("HOME", "/home/nobody", 1);
    for (size_t i = 0; i < CLATTN__LEN(off); i++) {
        setenv("CLATTN_CACHE_DIR", off[i], 1);
        ck_assert_ptr_null(clattn__env_cache_directory(text, sizeof text));
    }
    setenv("CLATTN_CACHE_DIR", where, 1);
    ck_assert_str_eq(clattn__env_cache_directory(text, sizeof text), where);
    ck_assert_ptr_null(clattn__env_cache_directory(text, strlen(where)));
    unsetenv("CLATTN_CACHE_DIR");
    ck_assert_ptr_nonnull(clattn__env_cache_directory(text, sizeof text));
    ck_assert_int_eq(strncmp(text, root, strlen(root)), 0);
    ck_assert_str_eq(text + strlen(root), "/clattn");
    setenv("XDG_CACHE_HOME", "relative", 1);
    ck_assert_str_eq(clattn__env_cache_directory(text, sizeof text), "/home/nobody/.cache/clattn");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    ck_assert_ptr_null(clattn__env_cache_directory(text, sizeof text));
    ck_assert_ptr_null(clattn__env_kernel_directory());
    setenv("CLATTN_KERNEL_DIR", "relative", 1);
    ck_assert_ptr_null(clattn__env_kernel_directory());
    setenv("CLATTN_KERNEL_DIR", "/kernels", 1);
    ck_assert_str_eq(clattn__env_kernel_directory(), "/kernels");
    unsetenv("CLATTN_KERNEL_DIR");
}
END_TEST

/* ---- other processes ---- */

/* Run a function in a child; its answer is the child's exit status, or 1000 + a signal. */
static int in_child(int (*body)(void))
{
    int how;
    pid_t child = fork();
    if (child == 0)
        _exit(body());
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(waitpid(child, &how, 0), child);
    return WIFEXITED(how) ? WEXITSTATUS(how) : 1000 + WTERMSIG(how);
}

static int mark_and_die(void)
{
    clattn__cache_mark_loading(cache, &key_a);
    raise(SIGKILL);
    return 0;
}

START_TEST(mark_of_the_dead)
{
    ck_assert_int_eq(in_child(mark_and_die), 1000 + SIGKILL);
    ck_assert(exists(path_of(&key_a, ".loading")));
    expect_removed_and_rebuilt();
    ck_assert(!exists(path_of(&key_a, ".loading")));
    ck_assert_int_eq(look(&key_b, payload_b), 1); /* the others stay */
}
END_TEST

START_TEST(mark_of_the_living)
{
    struct clattn__cache *other = clattn__cache_open(where);
    ck_assert_ptr_nonnull(other);
    ck_assert(clattn__cache_mark_loading(other, &key_a));
    ck_assert_int_eq(look(&key_a, payload_a), 1); /* a load under way elsewhere is no sign of death */
    ck_assert(clattn__cache_mark_loading(cache, &key_a));
    clattn__cache_clear_loading(other, &key_a);
    ck_assert(exists(path_of(&key_a, ".loading"))); /* the second load has not ended */
    clattn__cache_clear_loading(cache, &key_a);
    ck_assert(!exists(path_of(&key_a, ".loading")));
    ck_assert_int_eq(look(&key_a, payload_a), 1);
    clattn__cache_close(other);
}
END_TEST

START_TEST(odd_marks)
{
    char mark[256];
    snprintf(mark, sizeof mark, "%s", path_of(&key_a, ".loading"));
    ck_assert_int_eq(symlink("/nonexistent/clattn", mark), 0);
    expect_removed_and_rebuilt();
    ck_assert_int_eq(mkfifo(mark, 0600), 0);
    expect_removed_and_rebuilt();
    ck_assert_int_eq(mkdir(mark, 0700), 0);
    ck_assert_int_eq(look(&key_a, payload_a), 0);
    ck_assert(!clattn__cache_mark_loading(cache, &key_a));
}
END_TEST

/* As somebody whom modes bind: read-only folders let read and refuse the rest. */
static int use_read_only(void)
{
    unsigned char *payload = NULL;
    size_t size = 0;
    if (geteuid() == 0 && (setgid(SOMEONE_ELSE) || setuid(SOMEONE_ELSE)))
        return 10;
    struct clattn__cache *mine = clattn__cache_open(where);
    if (!mine)
        return 11;
    if (clattn__cache_write(mine, &key_a, payload_b, PAYLOAD))
        return 12;
    if (clattn__cache_mark_loading(mine, &key_a))
        return 13;
    if (!clattn__cache_read(mine, &key_a, &payload, &size) || size != PAYLOAD ||
        memcmp(payload, payload_a, PAYLOAD))
        return 14;
    free(payload);
    clattn__cache_close(mine);
    return 0;
}

START_TEST(read_only_folder)
{
    if (geteuid() == 0) {
        char deep[128];
        snprintf(deep, sizeof deep, "%s/deep", root);
        ck_assert_int_eq(chmod(root, 0711) | chmod(deep, 0711), 0);
        ck_assert_int_eq(chown(path_of(&key_a, ""), SOMEONE_ELSE, SOMEONE_ELSE), 0);
        ck_assert_int_eq(chown(where, SOMEONE_ELSE, SOMEONE_ELSE), 0);
    }
    ck_assert_int_eq(chmod(where, 0500), 0);
    ck_assert_int_eq(in_child(use_read_only), 0);
    ck_assert_int_eq(count_files(where), 2);
}
END_TEST

static int write_past_limit(void)
{
    const struct rlimit limit = {HEADER + PAYLOAD - 1, HEADER + PAYLOAD - 1};
    if (setrlimit(RLIMIT_FSIZE, &limit))
        return 10;
    return clattn__cache_write(cache, &key_a, payload_a, PAYLOAD) ? 11 : 0;
}

START_TEST(file_size_limit)
{
    clattn__cache_remove(cache, &key_a);
    ck_assert_int_eq(in_child(write_past_limit), 0); /* and no SIGXFSZ */
    ck_assert_int_eq(look(&key_a, payload_a), 0);
    ck_assert_int_eq(count_files(where), 1);
}
END_TEST

static int write_for_ever(void)
{
    for (;;)
        if (!clattn__cache_write(cache, &key_a, payload_a, PAYLOAD))
            return 0;
}

START_TEST(killed_writers)
{
    int how, hits = 0;
    for (int i = 0; i < 40; i++) {
        const struct timespec nap = {0, (long)below(3000000)};
        pid_t child = fork();
        if (child == 0)
            _exit(write_for_ever());
        nanosleep(&nap, NULL);
        ck_assert_int_eq(kill(child, SIGKILL), 0);
        ck_assert_int_eq(waitpid(child, &how, 0), child);
        ck_assert(WIFSIGNALED(how)); /* it was writing until then */
        hits += look(&key_a, payload_a);
    }
    ck_assert_int_eq(hits, 40);
}
END_TEST

/* What a killed writer left is taken away once it is old, and never keeps others from writing. */
START_TEST(abandoned_files)
{
    const struct timespec old[2] = {{time(NULL) - 7200, 0}, {time(NULL) - 7200, 0}};
    char suffix[16];
    for (int i = 0; i < 32; i++) {
        snprintf(suffix, sizeof suffix, ".new%02d", i);
        spill(path_of(&key_a, suffix), payload_a, 17);
    }
    ck_assert(!clattn__cache_write(cache, &key_a, payload_a, PAYLOAD)); /* 32 writers seem to be at it */
    ck_assert_int_eq(utimensat(AT_FDCWD, path_of(&key_a, ".new05"), old, AT_SYMLINK_NOFOLLOW), 0);
    ck_assert(clattn__cache_write(cache, &key_a, payload_a, PAYLOAD));
    ck_assert(!exists(path_of(&key_a, ".new05")));
    ck_assert_int_eq(look(&key_a, payload_a), 1);
}
END_TEST

/* A payload that tells its key: its size and every byte follow from two numbers at its start. */
static size_t make_tale(unsigned char which, unsigned char round, unsigned char *bytes)
{
    size_t size = 2 + 37 * (size_t)round;
    bytes[0] = which;
    bytes[1] = round;
    for (size_t i = 2; i < size; i++)
        bytes[i] = (unsigned char)(which * 31 + round * 17 + i);
    return size;
}

static int work_on_three_keys(void)
{
    unsigned char expected[2 + 37 * 256], *payload;
    size_t size, hits = 0;
    random_state ^= (uint64_t)getpid() << 20;
    struct clattn__cache *mine = clattn__cache_open(where);
    for (int i = 0; mine && i < ROUNDS; i++) {
        const struct clattn__cache_key key = {{0xaa, (unsigned char)below(3)}};
        size = make_tale(key.sha256[1], (unsigned char)below(256), expected);
        if (!clattn__cache_write(mine, &key, expected, size))
            return 10;
        if (clattn__cache_read(mine, &key, &payload, &size)) {
            hits++;
            if (size < 2 || payload[0] != key.sha256[1] ||
                size != make_tale(payload[0], payload[1], expected) || memcmp(payload, expected, size))
                return 11;
            if (!clattn__cache_mark_loading(mine, &key))
                return 12;
            clattn__cache_clear_loading(mine, &key);
            free(payload);
        }
        if (below(10) == 0)
            clattn__cache_remove(mine, &key);
    }
    clattn__cache_close(mine);
    return hits > ROUNDS / 4 ? 0 : 13;
}

START_TEST(many_processes)
{
    int how;
    for (int i = 0; i < PROCESSES; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(work_on_three_keys());
        ck_assert_int_gt(child, 0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        ck_assert_int_gt(wait(&how), 0);
        ck_assert(WIFEXITED(how));
        ck_assert_int_eq(WEXITSTATUS(how), 0);
    }
    ck_assert_int_eq(look(&key_a, payload_a), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("program cache");
    TCase *cases = tcase_create("files");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, round_trip);
    tcase_add_test(cases, truncated);
    tcase_add_test(cases, flipped_bits);
    tcase_add_test(cases, swapped_entries);
    tcase_add_test(cases, links_as_entries);
    tcase_add_test(cases, odd_files_as_entries);
    tcase_add_test(cases, too_large);
    tcase_add_test(cases, bad_folders);
    tcase_add_test(cases, long_path);
    tcase_add_test(cases, environment);
    tcase_add_test(cases, mark_of_the_dead);
    tcase_add_test(cases, mark_of_the_living);
    tcase_add_test(cases, odd_marks);
    tcase_add_test(cases, read_only_folder);
    tcase_add_test(cases, file_size_limit);
    tcase_add_test(cases, killed_writers);
    tcase_add_test(cases, abandoned_files);
    tcase_add_test(cases, many_processes);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
