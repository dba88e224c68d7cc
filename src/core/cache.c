/* SPDX-License-Identifier: MIT
 * cache.c - compiled programs on disk, authenticated before a driver sees them.
 *
 * Drivers crash on bad blobs, so nothing is handed on unless folder and file are private to this user, the
 * header repeats the key, the length is exact and the SHA-256 of the payload agrees.  An entry is a file
 * named by its key:
 *
 *     magic[8]  key[32]  length[8, little endian]  sha256(payload)[32]  payload[length]
 *
 * A note is a short text about the program of a key, KEY.note, of the same form (quarantine.c).  All are
 * written aside and renamed.  While a driver loads an entry, a file KEY.loading lies beside it, held by a
 * shared lock; one that nobody holds means that the load killed its process, and the entry goes.
 * Every failure means "no cache". */
#include "core/core.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "CLATTNP1"
#define HEADER_BYTES (8 + 32 + 8 + 32)
#define MAX_PAYLOAD ((size_t)64 << 20)
#define PROGRAM "" /* suffixes of names */
#define NOTE ".note"
#define MARK ".good"
#define MARK_TEXT "good\n"
#define MOST_ASIDE 32       /* writers of one entry at a time */
#define ABANDONED_SECONDS 3600

struct clattn__cache {
    int fd;   /* the folder */
    int mark; /* the loading mark, held; -1 for none */
};

/* Make the folders of a path that do not exist, private. */
static void make_folders(char *path)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(path, 0700);
            *p = '/';
        }
    mkdir(path, 0700);
}

static bool private_to_us(const struct stat *st)
{
    return st->st_uid == geteuid() && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

static struct clattn__cache *open_folder(const char *directory, bool make)
{
    struct stat st;
    char path[PATH_MAX];
    size_t n = directory ? strlen(directory) : 0;
    if (n == 0 || n >= sizeof path || directory[0] != '/')
        return NULL;
    memcpy(path, directory, n + 1);
    while (n > 1 && path[n - 1] == '/') /* a slash at the end would follow a link */
        path[--n] = 0;
    if (make)
        make_folders(path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct clattn__cache *cache = malloc(sizeof *cache);
    if (!cache || fstat(fd, &st) || !private_to_us(&st)) {
        free(cache);
        close(fd);
        return NULL;
    }
    cache->fd = fd;
    cache->mark = -1;
    return cache;
}

struct clattn__cache *clattn__cache_open(const char *directory)
{
    return open_folder(directory, true);
}

struct clattn__cache *clattn__cache_find(const char *directory)
{
    return open_folder(directory, false);
}

void clattn__cache_close(struct clattn__cache *cache)
{
    if (!cache)
        return;
    if (cache->mark >= 0)
        close(cache->mark);
    close(cache->fd);
    free(cache);
}

static void entry_name(const struct clattn__cache_key *key, const char *suffix, char name[CLATTN__NAME_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 32; i++) {
        name[2 * i] = digits[key->sha256[i] >> 4];
        name[2 * i + 1] = digits[key->sha256[i] & 15];
    }
    snprintf(name + 64, CLATTN__NAME_SIZE - 64, "%s", suffix);
}

static bool read_all(int fd, unsigned char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = read(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

static bool write_all(int fd, const unsigned char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

static void digest(const unsigned char *data, size_t size, unsigned char out[32])
{
    SHA2_CTX sha;
    SHA256Init(&sha);
    SHA256Update(&sha, data, size);
    SHA256Final(out, &sha);
}

static void make_header(const struct clattn__cache_key *key, const unsigned char *payload, size_t size,
                        unsigned char header[HEADER_BYTES])
{
    memcpy(header, MAGIC, 8);
    memcpy(header + 8, key->sha256, 32);
    for (int i = 0; i < 8; i++)
        header[40 + i] = (unsigned char)((uint64_t)size >> (8 * i));
    digest(payload, size, header + 48);
}

/* The payload of an open entry, or NULL.  The header is made again from what was read. */
static unsigned char *read_entry(int fd, const struct clattn__cache_key *key, size_t most, size_t *size)
{
    struct stat st;
    unsigned char header[HEADER_BYTES], expected[HEADER_BYTES];
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || !private_to_us(&st) || st.st_nlink != 1 ||
        st.st_size <= HEADER_BYTES || (uint64_t)st.st_size > HEADER_BYTES + most)
        return NULL;
    *size = (size_t)st.st_size - HEADER_BYTES;
    unsigned char *payload = malloc(*size), extra;
    if (payload && read_all(fd, header, sizeof header) && read_all(fd, payload, *size) &&
        read(fd, &extra, 1) == 0) {
        make_header(key, payload, *size, expected);
        if (!memcmp(header, expected, sizeof header))
            return payload;
    }
    free(payload);
    return NULL;
}

static int open_mark(const struct clattn__cache *cache, const struct clattn__cache_key *key, int create)
{
    char name[CLATTN__NAME_SIZE];
    entry_name(key, ".loading", name);
    return openat(cache->fd, name, O_RDWR | create | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
}

/* Whether there is a loading mark that no living process holds. */
static bool load_died(const struct clattn__cache *cache, const struct clattn__cache_key *key)
{
    int fd = open_mark(cache, key, 0);
    if (fd < 0)
        return errno != ENOENT;
    bool held = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return !held;
}

/* The payload of a file, or NULL; a bad one is taken away. */
static unsigned char *read_file(const struct clattn__cache *cache, const struct clattn__cache_key *key,
                                const char *suffix, size_t most, size_t *size)
{
    char name[CLATTN__NAME_SIZE];
    entry_name(key, suffix, name);
    int fd = openat(cache->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    unsigned char *payload = fd < 0 ? NULL : read_entry(fd, key, most, size);
    if (!payload && (fd >= 0 || errno != ENOENT))
        unlinkat(cache->fd, name, 0);
    if (fd >= 0)
        close(fd);
    return payload;
}

bool clattn__cache_read(struct clattn__cache *cache, const struct clattn__cache_key *key,
                        unsigned char **payload, size_t *size)
{
    *payload = NULL;
    if (load_died(cache, key))
        clattn__cache_remove(cache, key);
    else
        *payload = read_file(cache, key, PROGRAM, MAX_PAYLOAD, size);
    return *payload != NULL;
}

/* Open a new file beside an entry; what a killed writer left there is taken away when it is old. */
static int open_aside(const struct clattn__cache *cache, const struct clattn__cache_key *key,
                      char aside[CLATTN__NAME_SIZE])
{
    struct stat st;
    char suffix[16];
    for (int i = 0; i < MOST_ASIDE; i++) {
        snprintf(suffix, sizeof suffix, ".new%02d", i);
        entry_name(key, suffix, aside);
        if (fstatat(cache->fd, aside, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            time(NULL) - st.st_mtime > ABANDONED_SECONDS)
            unlinkat(cache->fd, aside, 0);
        int fd = openat(cache->fd, aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

/* A file past this process's limit would bring the signal SIGXFSZ. */
static bool within_file_limit(size_t size)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           (limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur);
}

static bool write_file(const struct clattn__cache *cache, const struct clattn__cache_key *key,
                       const char *suffix, const unsigned char *payload, size_t size)
{
    char name[CLATTN__NAME_SIZE], aside[CLATTN__NAME_SIZE];
    unsigned char header[HEADER_BYTES];
    if (size == 0 || !within_file_limit(HEADER_BYTES + size))
        return false;
    entry_name(key, suffix, name);
    make_header(key, payload, size, header);
    int fd = open_aside(cache, key, aside);
    if (fd < 0)
        return false;
    bool good = write_all(fd, header, sizeof header) && write_all(fd, payload, size);
    good = close(fd) == 0 && good && renameat(cache->fd, aside, cache->fd, name) == 0;
    if (!good)
        unlinkat(cache->fd, aside, 0);
    return good;
}

bool clattn__cache_write(struct clattn__cache *cache, const struct clattn__cache_key *key,
                         const unsigned char *payload, size_t size)
{
    return size <= MAX_PAYLOAD && write_file(cache, key, PROGRAM, payload, size);
}

static void unlink_mark(struct clattn__cache *cache, const struct clattn__cache_key *key)
{
    char name[CLATTN__NAME_SIZE];
    entry_name(key, ".loading", name);
    unlinkat(cache->fd, name, 0);
}

void clattn__cache_remove(struct clattn__cache *cache, const struct clattn__cache_key *key)
{
    char name[CLATTN__NAME_SIZE];
    entry_name(key, PROGRAM, name);
    unlinkat(cache->fd, name, 0);
    unlink_mark(cache, key);
}

bool clattn__cache_mark_loading(struct clattn__cache *cache, const struct clattn__cache_key *key)
{
    struct stat st;
    int fd = open_mark(cache, key, O_CREAT);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || flock(fd, LOCK_SH)) {
        close(fd);
        return false;
    }
    cache->mark = fd;
    return true;
}

void clattn__cache_clear_loading(struct clattn__cache *cache, const struct clattn__cache_key *key)
{
    if (cache->mark < 0)
        return;
    if (flock(cache->mark, LOCK_EX | LOCK_NB) == 0) /* no other process is loading it */
        unlink_mark(cache, key);
    close(cache->mark);
    cache->mark = -1;
}

/* ---- notes ---- */
bool clattn__cache_read_note(struct clattn__cache *cache, const struct clattn__cache_key *key,
                             char text[CLATTN__NOTE_SIZE])
{
    size_t size;
    unsigned char *payload = read_file(cache, key, NOTE, CLATTN__NOTE_SIZE - 1, &size);
    if (!payload)
        return false;
    memcpy(text, payload, size);
    text[size] = 0;
    free(payload);
    return strlen(text) == size;
}

bool clattn__cache_write_note(struct clattn__cache *cache, const struct clattn__cache_key *key,
                              const char *text)
{
    return strlen(text) < CLATTN__NOTE_SIZE &&
           write_file(cache, key, NOTE, (const unsigned char *)text, strlen(text));
}

void clattn__cache_remove_note(struct clattn__cache *cache, const struct clattn__cache_key *key)
{
    char name[CLATTN__NAME_SIZE];
    entry_name(key, NOTE, name);
    unlinkat(cache->fd, name, 0);
}

void clattn__cache_note_name(const struct clattn__cache_key *key, char name[CLATTN__NAME_SIZE])
{
    entry_name(key, NOTE, name);
}

/* ---- marks ---- */
bool clattn__cache_is_good(struct clattn__cache *cache, const struct clattn__cache_key *key)
{
    size_t size;
    unsigned char *payload = read_file(cache, key, MARK, sizeof MARK_TEXT - 1, &size);
    free(payload);
    return payload != NULL;
}

void clattn__cache_mark_good(struct clattn__cache *cache, const struct clattn__cache_key *key)
{
    write_file(cache, key, MARK, (const unsigned char *)MARK_TEXT, sizeof MARK_TEXT - 1);
}

/* Whether a name is a note's, and of which key. */
static bool is_note(const char *name, struct clattn__cache_key *key)
{
    char again[CLATTN__NAME_SIZE];
    for (int i = 0; i < 32; i++) {
        unsigned byte;
        if (!isxdigit((unsigned char)name[2 * i]) || !isxdigit((unsigned char)name[2 * i + 1]) ||
            sscanf(name + 2 * i, "%2x", &byte) != 1)
            return false;
        key->sha256[i] = (unsigned char)byte;
    }
    entry_name(key, NOTE, again);
    return !strcmp(name, again);
}

void clattn__cache_each_note(struct clattn__cache *cache, clattn__note_visitor *visit, void *cookie)
{
    struct clattn__cache_key key;
    int fd = openat(cache->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !folder)
        close(fd);
    for (struct dirent *file = folder ? readdir(folder) : NULL; file; file = readdir(folder))
        if (is_note(file->d_name, &key))
            visit(cookie, cache, &key);
    if (folder)
        closedir(folder);
}
