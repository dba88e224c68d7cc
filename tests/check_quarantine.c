/* SPDX-License-Identifier: MIT
 * check_quarantine.c - kernels that failed, remembered on disk: found by their own key, device, driver and
 * version alone, and a file that is not as it was written is no entry.  Files only; check_remembered.sh has
 * whole processes. */
#include "core/core.h"
#include "tests/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], where[128];
static clattn_context ctx; /* only what remembering looks at; no device */
static const struct clattn__cache_key key_a = {{1, 2, 3}}, key_b = {{0xff, 0, 9}};
static const clattn_device_facts no_facts = CLATTN_DEVICE_FACTS_INIT;
static const clattn_quarantine empty = CLATTN_QUARANTINE_INIT;
static const clattn_quarantine failure = {
    sizeof failure, "matrix-wgmma", "its numbers were wrong", "3 times what is allowed", "attn:f16:h2:q40:k70:d64", "", "",
};

static const char *path_of(const struct clattn__cache_key *key)
{
    static char path[256];
    int n = snprintf(path, sizeof path, "%s/", where);
    for (int i = 0; i < 32; i++)
        n += snprintf(path + n, sizeof path - (size_t)n, "%02x", key->sha256[i]);
    snprintf(path + n, sizeof path - (size_t)n, ".note");
    return path;
}

static void set_up(void)
{
    snprintf(root, sizeof root, "/tmp/clattn-check.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(where, sizeof where, "%s/cache", root);
    memset(&ctx, 0, sizeof ctx);
    pthread_mutex_init(&ctx.lock, NULL);
    ctx.cache_directory = where;
    ctx.facts = no_facts;
    ctx.facts.caches_programs = 1; /* which is no reason to forget failures */
    strcpy(ctx.facts.platform, "NVIDIA CUDA");
    strcpy(ctx.facts.name, "NVIDIA H200");
    strcpy(ctx.facts.driver, "580.159.04");
}

static void tear_down(void)
{
    char command[256];
    pthread_mutex_destroy(&ctx.lock);
    snprintf(command, sizeof command, "chmod -R u+rwx '%s' && rm -rf '%s'", root, root);
    ck_assert_int_eq(system(command), 0);
}

static bool find(const struct clattn__cache_key *key)
{
    clattn_quarantine entry = empty;
    bool found = clattn__quarantine_find(&ctx, key, &entry);
    ck_assert(found == !!entry.engine[0]);
    return found;
}

static size_t count(const clattn_device_facts *facts)
{
    clattn_quarantine entry = empty;
    size_t n = 0;
    clattn_status status;
    while ((status = clattn_quarantine_describe(facts, where, n, &entry)) == CLATTN_OK)
        n++;
    ck_assert_int_eq(status, CLATTN_BAD_COUNT);
    return n;
}

START_TEST(round_trip)
{
    clattn_quarantine entry = empty;
    struct stat st;
    ck_assert(!find(&key_a));
    ck_assert_uint_eq(count(&ctx.facts), 0);
    ck_assert_int_ne(stat(where, &st), 0); /* who only looks makes no folder */
    clattn__quarantine_add(&ctx, &key_a, &failure);
    ck_assert(stat(where, &st) == 0 && (st.st_mode & 0777) == 0700);
    ck_assert(stat(path_of(&key_a), &st) == 0 && (st.st_mode & 0777) == 0600);
    ck_assert(find(&key_a) && !find(&key_b));
    ck_assert_int_eq(clattn_quarantine_describe(&ctx.facts, where, 0, &entry), CLATTN_OK);
    ck_assert_str_eq(entry.engine, failure.engine);
    ck_assert_str_eq(entry.fault, failure.fault);
    ck_assert_str_eq(entry.details, failure.details);
    ck_assert_str_eq(entry.problem, failure.problem);
    ck_assert(strlen(entry.date) == 10 && entry.date[4] == '-' && entry.date[7] == '-');
    ck_assert_str_eq(entry.file, path_of(&key_a));
    clattn__quarantine_add(&ctx, &key_a, &failure);
    ck_assert_uint_eq(count(&ctx.facts), 1);
    clattn__quarantine_add(&ctx, &key_b, &failure);
    ck_assert_uint_eq(count(&ctx.facts), 2);
    setenv("CLATTN_CACHE_DIR", where, 1); /* directory NULL */
    ck_assert_int_eq(clattn_quarantine_describe(&ctx.facts, NULL, 1, &entry), CLATTN_OK);
    unsetenv("CLATTN_CACHE_DIR");
}
END_TEST

/* Whose an entry is: platform, device, vendor, driver.  Another's is neither used nor shown, nor forgotten
 * with ours. */
START_TEST(owners)
{
    char *const fields[] = {ctx.facts.platform, ctx.facts.name, ctx.facts.vendor, ctx.facts.driver};
    size_t forgotten = 0;
    clattn__quarantine_add(&ctx, &key_a, &failure);
    for (size_t i = 0; i < CLATTN__LEN(fields); i++) {
        fields[i][0]++;
        ck_assert(!find(&key_a));
        ck_assert_uint_eq(count(&ctx.facts), 0);
        ck_assert_int_eq(clattn_quarantine_forget(&ctx.facts, where, &forgotten), CLATTN_OK);
        ck_assert_uint_eq(forgotten, 0);
        fields[i][0]--;
        ck_assert(find(&key_a));
    }
    clattn_device_facts other = ctx.facts;
    strcpy(ctx.facts.driver, "590.1");
    clattn__quarantine_add(&ctx, &key_b, &failure);
    ck_assert(count(&ctx.facts) == 1 && count(&other) == 1);
    ck_assert_int_eq(clattn_quarantine_forget(&other, where, &forgotten), CLATTN_OK);
    ck_assert(forgotten == 1 && count(&ctx.facts) == 1 && count(&other) == 0);
    ck_assert_int_eq(clattn_quarantine_forget(NULL, where, NULL), CLATTN_OK);
    ck_assert(count(&ctx.facts) == 0 && !find(&key_b));
}
END_TEST

START_TEST(arguments)
{
    clattn_quarantine entry = empty;
    clattn_device_facts facts = ctx.facts;
    ck_assert_int_eq(clattn_quarantine_describe(NULL, where, 0, &entry), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_quarantine_describe(&facts, where, 0, NULL), CLATTN_NULL_ARGUMENT);
    ck_assert_int_eq(clattn_quarantine_describe(&facts, "relative", 0, &entry), CLATTN_BAD_COUNT);
    entry.size--;
    ck_assert_int_eq(clattn_quarantine_describe(&facts, where, 0, &entry), CLATTN_BAD_STRUCT_SIZE);
    facts.size--;
    entry.size++;
    ck_assert_int_eq(clattn_quarantine_describe(&facts, where, 0, &entry), CLATTN_BAD_STRUCT_SIZE);
    ck_assert_int_eq(clattn_quarantine_forget(&facts, where, NULL), CLATTN_BAD_STRUCT_SIZE);
}
END_TEST

/* Switched off or unusable, there is no memory and no failure. */
START_TEST(no_folder)
{
    ctx.cache_mode = CLATTN_CACHE_OFF;
    clattn__quarantine_add(&ctx, &key_a, &failure);
    ck_assert_int_ne(access(where, F_OK), 0);
    ctx.cache_mode = CLATTN_CACHE_AUTO;
    clattn__quarantine_add(&ctx, &key_a, &failure);
    ck_assert(find(&key_a));
    ctx.cache_mode = CLATTN_CACHE_OFF;
    ck_assert(!find(&key_a));
    ctx.cache_mode = CLATTN_CACHE_AUTO;
    ctx.build_report = true; /* which wants all built */
    ck_assert(!find(&key_a));
    ctx.build_report = false;
    chmod(where, 0777); /* everyone could write there */
    ck_assert(!find(&key_a));
    ck_assert_uint_eq(count(&ctx.facts), 0);
    chmod(where, 0700);
    ctx.cache_directory = "/proc/clattn";
    clattn__quarantine_add(&ctx, &key_a, &failure);
    ck_assert(!find(&key_a));
}
END_TEST

/* Texts of drivers and callers are made printable, and cut. */
START_TEST(odd_texts)
{
    clattn_quarantine odd = failure;
    memset(odd.details, 'x', sizeof odd.details - 1);
    strcpy(odd.problem, "attn:\n\033[31m\377");
    strcpy(ctx.facts.vendor, "Caf\303\251\n");
    clattn__quarantine_add(&ctx, &key_a, &odd);
    ck_assert(find(&key_a));
    ck_assert_int_eq(clattn_quarantine_describe(&ctx.facts, where, 0, &odd), CLATTN_OK);
    ck_assert_str_eq(odd.problem, "attn:??[31m?");
    ck_assert_uint_eq(strlen(odd.details), sizeof odd.details - 1);
}
END_TEST

/* ---- files that are not as they were written ---- */
#define HEAD "clattn quarantine 1\nlibrary " CLATTN_VERSION "\nplatform NVIDIA CUDA\ndevice NVIDIA H200\nvendor \ndriver 580.159.04\n"
#define TAIL "engine e\nfault f\ndetails \nproblem \ndate 2026-11-26\n"
static const char *const texts[] = {
    HEAD TAIL, /* the only good one */
    "", "\n", HEAD, TAIL, HEAD TAIL "\n", HEAD TAIL "more text\n", "x" HEAD TAIL, TAIL HEAD, HEAD HEAD TAIL,
    "clattn quarantine 2\nlibrary " CLATTN_VERSION "\nplatform NVIDIA CUDA\ndevice NVIDIA H200\nvendor \ndriver 580.159.04\n" TAIL,
    "clattn quarantine 1\nlibrary 0.0.1\nplatform NVIDIA CUDA\ndevice NVIDIA H200\nvendor \ndriver 580.159.04\n" TAIL,
    HEAD "engine \nfault f\ndetails \nproblem \ndate 2026-11-26\n",
    HEAD "engine e\nfault \ndetails \nproblem \ndate 2026-11-26\n",
    HEAD "engine e\nfault f\ndetails \nproblem \ndate 2026\n",
    HEAD "engine e\nfault f\ndetails\nproblem \ndate 2026-11-26\n",
    HEAD "engine e\nfault f\ndetails \nproblem \ndate 2026-11-26",
    HEAD "engine e\nfault f\001\ndetails \nproblem \ndate 2026-11-26\n",
    HEAD "engine e\nfault f\033[31m\ndetails \nproblem \ndate 2026-11-26\n",
    HEAD "engine e\nfault \377\ndetails \nproblem \ndate 2026-11-26\n",
    HEAD "engine e\rfault f\ndetails \nproblem \ndate 2026-11-26\n",
};

START_TEST(odd_notes)
{
    struct clattn__cache *cache = clattn__cache_open(where);
    ck_assert_ptr_nonnull(cache);
    for (size_t i = 0; i < CLATTN__LEN(texts); i++) {
        clattn__cache_remove_note(cache, &key_a);
        clattn__cache_write_note(cache, &key_a, texts[i]);
        ck_assert_msg(find(&key_a) == (i == 0) && count(&ctx.facts) == (i == 0), "%s", texts[i]);
    }
    char text[CLATTN__NOTE_SIZE + 1];
    for (int size = 500; size < 520; size++) { /* a line of up to 511 characters */
        snprintf(text, sizeof text, HEAD "engine e\nfault f\ndetails %0*d\nproblem \ndate 2026-11-26\n", size,
                 0);
        ck_assert(clattn__cache_write_note(cache, &key_a, text));
        ck_assert(find(&key_a) == (size < 512));
    }
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    ck_assert(!clattn__cache_write_note(cache, &key_a, text));
    size_t forgotten;
    clattn__cache_write_note(cache, &key_a, "something else\n");
    clattn_quarantine_forget(NULL, where, &forgotten); /* what is no entry goes too */
    ck_assert(forgotten == 1 && access(path_of(&key_a), F_OK) != 0);
    clattn__cache_close(cache);
}
END_TEST

/* The bytes of an entry, written anew with one bit changed or some missing, or under another name. */
static void write_file(const char *path, const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    ck_assert(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0 && chmod(path, 0600) == 0);
}

START_TEST(injured_files)
{
    unsigned char bytes[CLATTN__NOTE_SIZE + 80];
    clattn__quarantine_add(&ctx, &key_a, &failure);
    FILE *file = fopen(path_of(&key_a), "rb");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        write_file(path_of(&key_a), bytes, size);
        ck_assert_msg(!find(&key_a), "bit %zu", bit);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++) {
        write_file(path_of(&key_a), bytes, cut);
        ck_assert(!find(&key_a));
    }
    write_file(path_of(&key_b), bytes, size); /* of another key */
    ck_assert(!find(&key_b) && count(&ctx.facts) == 0);
    write_file(path_of(&key_a), bytes, size);
    ck_assert(find(&key_a));
    chmod(path_of(&key_a), 0666);
    ck_assert(!find(&key_a));
    write_file(path_of(&key_b), bytes, size);
    char target[256];
    strcpy(target, path_of(&key_b));
    ck_assert(symlink(target, path_of(&key_a)) == 0 && !find(&key_a));
    ck_assert(mkdir(path_of(&key_a), 0700) == 0 && !find(&key_a) && count(&ctx.facts) == 0);
    rmdir(path_of(&key_a));
    ck_assert(mkfifo(path_of(&key_a), 0600) == 0 && !find(&key_a));
}
END_TEST

/* Only whole names of notes are looked at. */
START_TEST(other_files)
{
    static const char *const names[] = {"README",          ".note",          "zz.note",
                                        "0102030000.note", "KEY.note.new00", "A.note"};
    unsigned char bytes[] = "text";
    char path[512];
    clattn__quarantine_add(&ctx, &key_a, &failure);
    for (size_t i = 0; i < CLATTN__LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", where, names[i]);
        write_file(path, bytes, 4);
    }
    snprintf(path, sizeof path, "%s", path_of(&key_b));
    for (char *p = path + strlen(where); *p; p++)
        *p = (char)(*p >= 'a' && *p <= 'f' ? *p - 32 : *p); /* capital digits are not ours */
    write_file(path, bytes, 4);
    size_t forgotten;
    ck_assert_int_eq(clattn_quarantine_forget(NULL, where, &forgotten), CLATTN_OK);
    ck_assert(forgotten == 1 && access(path, F_OK) == 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quarantine");
    TCase *cases = tcase_create("files");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, round_trip);
    tcase_add_test(cases, owners);
    tcase_add_test(cases, arguments);
    tcase_add_test(cases, no_folder);
    tcase_add_test(cases, odd_texts);
    tcase_add_test(cases, odd_notes);
    tcase_add_test(cases, injured_files);
    tcase_add_test(cases, other_files);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
