/* SPDX-License-Identifier: MIT
 * fuzz_files.c - a libFuzzer target: whatever is in the files of our other formats, their readers keep their
 * promises: entries and notes of the cache of programs, .npy files, lists, files of tuning.
 *
 * The first byte of an input chooses the reader, the rest is the file, or what one is made of.  Files lie in
 * a folder of this process in $TMPDIR, best in memory. */
#include "core/core.h"
#include "tool/npy.h"
#include "tool/selection.h"
#include "tool/tune/tune.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MUST(condition)                                                             \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "fuzz_files.c:%d: not so: %s\n", __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)
#define KEY "aa55aa55aa55aa55aa55aa55aa55aa55aa55aa55aa55aa55aa55aa55aa55aa55"
#define HEADER_BYTES 80 /* of an entry */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- what the readers call and these readings do not need ---- */
static char sentence[8192];

int mistake(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    MUST(vsnprintf(sentence, sizeof sentence, fmt, args) > 0);
    va_end(args);
    return EXIT_MISTAKE;
}

int failed(const clattn_context *ctx, clattn_status status, const char *what)
{
    (void)ctx;
    return mistake("%s: %s", what, clattn_status_text(status));
}

int close_written(FILE *file, const char *path)
{
    return fclose(file) ? mistake("%s", path) : 0;
}

const char *clattn__context_folder(clattn_context *ctx, char path[CLATTN__PATH_SIZE])
{
    (void)ctx;
    (void)path;
    return NULL;
}

clattn_status clattn_attention_check(const clattn_attention *problem, char *text, size_t size)
{
    (void)problem;
    (void)text;
    (void)size;
    return CLATTN_NULL_ARGUMENT;
}

const struct clattn__kernel_text clattn__kernel_texts[] = {{0}};

/* ---- files ---- */
static char folder[256];
static int folder_fd;
static struct clattn__cache *cache;
static struct clattn__cache_key key;
static const clattn_device_facts facts = {.size = sizeof facts, .platform = "p", .name = "n", .vendor = "v",
                                          .driver = "d"};

static void open_folder(void)
{
    const char *root = getenv("TMPDIR");
    MUST(snprintf(folder, sizeof folder, "%s/clattn-fuzz.XXXXXX", root ? root : "/tmp") <
             (int)sizeof folder &&
         mkdtemp(folder));
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
    cache = clattn__cache_open(folder);
    for (int i = 0; i < 32; i++)
        key.sha256[i] = i % 2 ? 0x55 : 0xaa;
    MUST(folder_fd >= 0 && cache);
}

static void put(const char *name, const uint8_t *data, size_t size)
{
    const int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

static bool is_there(const char *name)
{
    struct stat st;
    return fstatat(folder_fd, name, &st, 0) == 0;
}

static const char *path_of(char path[512], const char *name)
{
    snprintf(path, 512, "%s/%s", folder, name);
    return path;
}

/* ---- entries of the cache ---- */
/* A file of any bytes: refused and removed, or its payload as it stands there. */
static void read_entry(const uint8_t *data, size_t size)
{
    unsigned char *payload;
    size_t n;
    put(KEY, data, size);
    const bool good = clattn__cache_read(cache, &key, &payload, &n);
    MUST(is_there(KEY) == good);
    if (good)
        MUST(n + HEADER_BYTES == size && !memcmp(payload, data + HEADER_BYTES, n));
    free(payload);
}

/* A good entry with a bit or more of one byte turned is refused, and with none it is taken. */
static void read_changed_entry(const uint8_t *data, size_t size)
{
    unsigned char *payload, byte;
    char path[512];
    size_t n;
    if (size < 4)
        return;
    MUST(clattn__cache_write(cache, &key, data + 3, size - 3));
    const int fd = open(path_of(path, KEY), O_RDWR);
    const off_t at = (data[0] | data[1] << 8) % (HEADER_BYTES + (int)size - 3);
    MUST(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= data[2];
    MUST(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
    const bool good = clattn__cache_read(cache, &key, &payload, &n);
    MUST(good == !data[2] && is_there(KEY) == good);
    if (good)
        MUST(n == size - 3 && !memcmp(payload, data + 3, n));
    free(payload);
}

/* ---- notes of failed kernels ---- */
static void check_field(const char *text, size_t size)
{
    MUST(memchr(text, 0, size));
    for (; *text; text++)
        MUST(*text >= ' ' && *text <= '~');
}

/* What is in the folder is an entry of the device or none, and goes with all others. */
static void check_note(void)
{
    clattn_quarantine entry = CLATTN_QUARANTINE_INIT;
    size_t count;
    const clattn_status status = clattn_quarantine_describe(&facts, folder, 0, &entry);
    MUST(status == CLATTN_OK || status == CLATTN_BAD_COUNT);
    if (!status) {
        check_field(entry.engine, sizeof entry.engine);
        check_field(entry.fault, sizeof entry.fault);
        check_field(entry.details, sizeof entry.details);
        check_field(entry.problem, sizeof entry.problem);
        check_field(entry.date, sizeof entry.date);
        MUST(entry.engine[0] && entry.fault[0] && strlen(entry.date) == 10);
        MUST(clattn_quarantine_describe(&facts, folder, 1, &entry) == CLATTN_BAD_COUNT);
        MUST(clattn_quarantine_forget(&facts, folder, &count) == CLATTN_OK && count == 1);
    }
    MUST(clattn_quarantine_forget(NULL, folder, &count) == CLATTN_OK);
    MUST(!is_there(KEY ".note"));
}

static void read_note(const uint8_t *data, size_t size)
{
    put(KEY ".note", data, size);
    check_note();
}

/* A note's text in a good file; behind an odd byte it is what follows the lines of our device. */
static void read_note_text(const uint8_t *data, size_t size)
{
    static const char owner[] =
        "clattn quarantine 1\nlibrary " CLATTN_VERSION "\nplatform p\ndevice n\nvendor v\ndriver d\n";
    char text[CLATTN__NOTE_SIZE];
    if (size == 0)
        return;
    const bool ours = data[0] & 1;
    snprintf(text, sizeof text, "%s%.*s", ours ? owner : "", (int)size - 1, (const char *)data + 1);
    if (clattn__cache_write_note(cache, &key, text))
        check_note();
}

/* A file of any name: a note's is 64 small hexadecimal digits and ".note", and nothing else is touched. */
static void read_name(const uint8_t *data, size_t size)
{
    char name[160];
    size_t n = 0, count;
    if (size == 0)
        return;
    if (data[0] & 1)
        n = (size_t)snprintf(name, sizeof name, "%.*s", data[0] / 2 % 70, KEY ".note");
    for (size_t i = 1; i < size && n < sizeof name - 1; i++, n++)
        name[n] = data[i] == 0 || data[i] == '/' ? '_' : (char)data[i];
    name[n] = 0;
    if (n == 0 || !strcmp(name, ".") || !strcmp(name, ".."))
        return;
    const bool is_note = n == 69 && strspn(name, "0123456789abcdef") == 64 && !strcmp(name + 64, ".note");
    put(name, data, 1);
    MUST(clattn_quarantine_forget(NULL, folder, &count) == CLATTN_OK && count == is_note);
    MUST(is_there(name) == !is_note);
    unlinkat(folder_fd, name, 0);
}

/* ---- arrays and lists ---- */
static const int element_bytes[] = {[NPY_F4] = 4, [NPY_F2] = 2, [NPY_I4] = 4, [NPY_I1] = 1, [NPY_B1] = 1};

static void read_array(const uint8_t *data, size_t size)
{
    struct npy array, again;
    char path[512], message[512] = "";
    int64_t count = 1;
    put("a.npy", data, size);
    if (npy_read(&array, path_of(path, "a.npy"), message, sizeof message)) {
        MUST(!array.data && strstr(message, "a.npy: "));
        return;
    }
    for (int i = 0; i < array.n_dims; i++)
        count *= array.dims[i];
    const size_t bytes = (size_t)count * (size_t)element_bytes[array.type];
    MUST(array.n_dims <= 8 && count == array.count && bytes < size);
    MUST(!memcmp(array.data, data + size - bytes, bytes));
    MUST(npy_write(path, array.type, array.n_dims, array.dims, array.data, message, sizeof message) == 0);
    MUST(npy_read(&again, path, message, sizeof message) == 0);
    MUST(again.type == array.type && again.n_dims == array.n_dims &&
         !memcmp(again.dims, array.dims, sizeof array.dims));
    MUST(!memcmp(again.data, array.data, bytes));
    npy_free(&again);
    npy_free(&array);
}

/* Signed bytes as an array of numbers. */
static void put_numbers(const char *name, const uint8_t *data, size_t size)
{
    char path[512];
    int32_t numbers[64];
    const int64_t n = size < 64 ? (int64_t)size : 64;
    for (int64_t i = 0; i < n; i++)
        numbers[i] = (int8_t)data[i];
    MUST(npy_write(path_of(path, name), NPY_I4, 1, &n, numbers, NULL, 0) == 0);
}

/* Behind an odd byte two files, cut where the next says, else numbers: 13 starts, then ids. */
static void read_list(const uint8_t *data, size_t size)
{
    static const clattn_list list = {.size = sizeof list, .batch = 2, .scopes = 2, .q_blocks = 3,
                                     .k_blocks = 11, .capacity = 4, .block_q = 8, .block_k = 4,
                                     .counts_at = 0, .ids_at = 48};
    enum { LISTS = 12, NUMBERS = LISTS + 4 * LISTS };
    char stem[512];
    if (size < 2)
        return;
    const bool raw = data[0] & 1;
    const size_t left = size - 2, first = raw ? left * data[1] / 256 : left < LISTS + 1 ? left : LISTS + 1;
    (raw ? put : put_numbers)("l-starts.npy", data + 2, first);
    (raw ? put : put_numbers)("l-ids.npy", data + 2 + first, left - first);
    int32_t *lists = calloc(NUMBERS, sizeof *lists), again[NUMBERS] = {0};
    MUST(lists);
    if (read_lists(path_of(stem, "l"), &list, lists)) {
        MUST(!memcmp(lists, again, sizeof again)); /* as before */
    } else {
        MUST(clattn_list_check(&list, lists, NULL, 0) == CLATTN_OK);
        MUST(write_lists(stem, &list, lists) == 0 && read_lists(stem, &list, again) == 0);
        MUST(!memcmp(lists, again, sizeof again));
    }
    free(lists);
}

/* ---- tuning ---- */
/* What is taken is read whole, and merging leaves it as it is. */
static void read_tuning(const uint8_t *data, size_t size)
{
    static const char head[] = "clattn-tuning 1\n";
    char path[512];
    if (size == 0)
        return;
    char *own = malloc(sizeof head + size), *again = malloc(sizeof head + size);
    MUST(own && again);
    const size_t before = data[0] & 1 ? sizeof head - 1 : 0, n = before + size - 1;
    memcpy(own, head, before);
    memcpy(own + before, data + 1, size - 1);
    put("tuning", (const uint8_t *)own, n);
    char *text = tuning_read(path_of(path, "tuning"));
    if (text) {
        MUST(!memchr(own, 0, n) && strlen(text) <= n);
        MUST(clattn_tuning_merge(text, NULL, again, n + 1, NULL, 0) == CLATTN_OK && !strcmp(text, again));
    }
    const int fd = openat(folder_fd, "tuning", O_RDONLY);
    char *whole = clattn__read_text(fd);
    MUST(!whole == !!memchr(own, 0, n) && (!whole || (strlen(whole) == n && !memcmp(whole, own, n))));
    close(fd);
    free(whole);
    free(text);
    free(again);
    free(own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(const uint8_t *, size_t) = {read_entry, read_changed_entry, read_note, read_note_text,
                                                               read_name,  read_array,         read_list, read_tuning};
    if (!cache)
        open_folder();
    if (size == 0)
        return 0;
    uint8_t *own = malloc(size - 1 ? size - 1 : 1); /* so that a read past its end is seen */
    MUST(own);
    memcpy(own, data + 1, size - 1);
    readers[data[0] % CLATTN__LEN(readers)](own, size - 1);
    free(own);
    return 0;
}
