/* SPDX-License-Identifier: MIT
 * check_ptx.c - the editor of NVIDIA's assembly, on texts of two compilers: what it edits, that it edits
 * nothing else, what it refuses.
 *
 * Both are the kernel for one head of size 16.  tests/ptx/forward_stream-580.159.ptx is as the driver
 * 580.159.04 compiled it for an H200.  tests/ptx/forward_stream-clang-14.ptx is no driver's: LLVM 14 made it,
 * over stand-ins for OpenCL's own functions, and writes PTX as compilers years apart from that driver do
 * (other comments, labels and order of lines).  It knows neither that chip nor its version of PTX, and leaves
 * out the size of the work-group: the test says these three. */
#include "engine/engine.h"
#include "door.clh"
#include "tests/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct clattn__ptx_wish wish = {.chip = 90, .group = 256, .local_bytes = 106496};

static char *recorded;
static size_t recorded_size;

static void read_recorded(const char *name)
{
    char path[4096];
    const char *root = getenv("top_srcdir");
    snprintf(path, sizeof path, "%s/tests/ptx/%s.ptx", root ? root : ".", name);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    recorded = calloc(1, 1 << 20);
    recorded_size = fread(recorded, 1, (1 << 20) - 1, file);
    fclose(file);
    while (recorded_size > 0 && recorded[recorded_size - 1] == 0)
        recorded_size--;
    ck_assert_uint_gt(recorded_size, 100000);
}

static char *with(const char *what, const char *other);

static void set_up_driver(void)
{
    read_recorded("forward_stream-580.159");
}

static void set_up_clang(void)
{
    static const char *const said[][2] = {
        {".version 7.2\n", ".version 8.1\n"}, {".target sm_80,", ".target sm_90,"}, {"\n)\n{\n", "\n)\n.reqntid 256, 1, 1\n{\n"},
    };
    read_recorded("forward_stream-clang-14");
    for (size_t i = 0; i < CLATTN__LEN(said); i++) {
        char *changed = with(said[i][0], said[i][1]);
        free(recorded);
        recorded = changed;
        recorded_size = strlen(recorded);
    }
}

static void tear_down(void)
{
    free(recorded);
}

static char *edit(const char *text, size_t size, const struct clattn__ptx_wish *w, char reason[160])
{
    strcpy(reason, "");
    char *out = clattn__ptx_edit(text, &size, w, reason, 160);
    ck_assert(!out || size == strlen(out));
    ck_assert_msg(!out == !!reason[0], "%s without the other", out ? "a text" : "a reason");
    return out;
}

/* The recorded text with one text in place of another, which it has. */
static char *with(const char *what, const char *other)
{
    /* zeros at the end */
    char *at = strstr(recorded, what), *changed = calloc(1, recorded_size + strlen(other) + 3);
    ck_assert_msg(at != NULL, "%s", what);
    sprintf(changed, "%.*s%s%s", (int)(at - recorded), recorded, other, at + strlen(what));
    return changed;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

static void next_line(const char **text, char line[4096])
{
    const char *end = strchr(*text, '\n');
    ck_assert(end && end - *text < 4096);
    sprintf(line, "%.*s", (int)(end - *text), *text);
    *text = end + 1;
}

/* Line by line: the four edits, and everything else as it was. */
START_TEST(edits)
{
    char reason[160], before[4096], after[4096];
    char *out = edit(recorded, recorded_size, &wish, reason);
    ck_assert_msg(out != NULL, "%s", reason);
    const char *a = recorded, *b = out;
    int marks = 0, others = 0;
    while (*a) {
        next_line(&a, before);
        next_line(&b, after);
        const char *text = before + strspn(before, " \t");
        if (!strncmp(text, DOOR, strlen(DOOR))) {
            ck_assert_str_eq(after + 1, text + strlen(DOOR));
            marks++;
        } else if (!strcmp(before, ".target sm_90, texmode_independent")) {
            ck_assert_str_eq(after, ".target sm_90a, texmode_independent");
            others++;
        } else if (!strcmp(before, ".reqntid 256, 1, 1")) {
            ck_assert_str_eq(after, ".maxntid 256, 1, 1");
            next_line(&b, after);
            ck_assert_str_eq(after, ".minnctapersm 1");
            others++;
        } else if (strstr(before, "[47552]")) {
            ck_assert_str_eq(after, "\t.shared .align 1024 .b8 forward_$_memory[106496];");
            others++;
        } else {
            ck_assert_str_eq(after, before);
        }
    }
    ck_assert(*b == 0 && marks > 40 && others == 3);
    ck_assert_uint_eq(count(out, DOOR), 0);
    ck_assert_uint_ge(count(out, "wgmma.mma_async"), 4);
    free(out);
}
END_TEST

/* A driver hands out the text with a zero behind it, or without. */
START_TEST(zeros_at_the_end)
{
    char reason[160];
    for (size_t zeros = 0; zeros < 3; zeros++) {
        char *out = edit(recorded, recorded_size + zeros, &wish, reason);
        ck_assert_msg(out != NULL, "%s", reason);
        free(out);
    }
}
END_TEST

static const struct {
    const char *what, *other, *reason;
} changes[] = {
    {".version ", ".version 7.8 and ", "version"},
    {".version ", ".version nine ", "version"},
    {".version ", "", "not one kernel"},
    {".target sm_90,", ".target sm_100,", "another chip"},
    {".target sm_90,", ".target sm_90a,", "not sm_"},
    {".target sm_90,", ".target sm_,", "not sm_"},
    {".target sm_90,", ".target compute_90,", "not one kernel"},
    {".reqntid 256, 1, 1", ".reqntid 384, 1, 1", "work-group"},
    {".reqntid 256, 1, 1", ".reqntid 256, 2, 1", "work-group"},
    {".reqntid 256, 1, 1", ".reqntid 256, 1, 1 // and more", "work-group"},
    {".reqntid 256, 1, 1", ".reqntid", "not one kernel"},
    {".reqntid 256, 1, 1", ".reqntid 256, 1, 1\n.reqntid 256, 1, 1", "not one kernel"},
    {".entry forward(", ".func forward(", "not one kernel"},
    {".entry forward(", ".entry other()\n.entry forward(", "not one kernel"},
    {"[47552]", "[47553]", "local memory"},
    {"_memory[47552];", "_memory[47552];\n\t.shared .align 4 .b8 x[47552];", "local memory"},
    {".address_size 64", ".address_size \001", "not a text"},
    {".address_size 64", ".address_size \377", "not a text"},
};

START_TEST(refusals)
{
    char reason[160];
    char *changed = with(changes[_i].what, changes[_i].other);
    char *out = edit(changed, strlen(changed), &wish, reason);
    ck_assert_msg(!out && strstr(reason, changes[_i].reason), "'%s' for '%s': %s", changes[_i].other,
                  changes[_i].what, reason);
    free(changed);
}
END_TEST

/* A compiler that does not know the chip: refused as it is. */
START_TEST(lesser_compiler)
{
    char reason[160];
    read_recorded("forward_stream-clang-14");
    ck_assert_ptr_null(edit(recorded, recorded_size, &wish, reason));
    ck_assert_ptr_nonnull(strstr(reason, "version is not known"));
}
END_TEST

/* Instructions of a chip are not let through unless they were asked for, nor asked for where there are
 * none. */
START_TEST(marks_and_chips_go_together)
{
    char reason[160];
    const struct clattn__ptx_wish no_chip = {.group = 256, .local_bytes = 65536};
    ck_assert_ptr_null(edit(recorded, recorded_size, &no_chip, reason));
    ck_assert_ptr_nonnull(strstr(reason, "marked"));
    char *plain = strdup(recorded);
    for (char *at = plain; (at = strstr(at, DOOR));)
        memset(at, '/', strlen(DOOR));
    ck_assert_ptr_null(edit(plain, strlen(plain), &wish, reason));
    ck_assert_ptr_nonnull(strstr(reason, "marked"));
    char *out = edit(plain, strlen(plain), &no_chip, reason);
    ck_assert_msg(out != NULL, "%s", reason);
    ck_assert(strstr(out, ".target sm_90, ") && strstr(out, ".reqntid 256, 1, 1\n") &&
              strstr(out, "[65536]"));
    free(out);
    free(plain);
}
END_TEST

/* Cut anywhere, the text is refused, or it is whole lines and only instructions are missing, which the
 * assembler refuses. */
START_TEST(cut_texts)
{
    char reason[160];
    size_t head = (size_t)(strstr(recorded, "[47552]") - recorded), refused = 0, cuts = 0;
    for (size_t size = 0; size < recorded_size; size += size < 2 * head ? 1 : 509, cuts++) {
        char *copy = malloc(size + 1); /* of just that size, for checkers of memory */
        memcpy(copy, recorded, size);
        char *out = edit(copy, size, &wish, reason);
        ck_assert(!out || (size > head && recorded[size - 1] == '\n'));
        refused += !out;
        free(out);
        free(copy);
    }
    ck_assert_uint_gt(refused, cuts * 9 / 10);
}
END_TEST

/* Bytes changed at random: a text or a reason, and never a chip, group or size that was not asked for. */
START_TEST(random_texts)
{
    char reason[160];
    uint64_t random = 88172645463325252u;
    size_t head = (size_t)(strstr(recorded, "[47552]") - recorded) + 400;
    for (int i = 0; i < 3000; i++) {
        char *copy = malloc(recorded_size);
        memcpy(copy, recorded, recorded_size);
        for (int n = 0; n < 3; n++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            copy[random % (i % 2 ? head : recorded_size)] = (char)(random >> 32);
        }
        char *out = edit(copy, recorded_size, &wish, reason);
        if (out)
            ck_assert(count(out, ".target sm_90a,") == 1 && count(out, ".maxntid 256, 1, 1\n") == 1 &&
                      count(out, "[106496];\n") == 1);
        free(out);
        free(copy);
    }
}
END_TEST

static TCase *tests_of(const char *name, SFun set_up)
{
    TCase *cases = tcase_create(name);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, edits);
    tcase_add_test(cases, zeros_at_the_end);
    tcase_add_loop_test(cases, refusals, 0, (int)CLATTN__LEN(changes));
    tcase_add_test(cases, marks_and_chips_go_together);
    tcase_add_test(cases, cut_texts);
    tcase_add_test(cases, random_texts);
    return cases;
}

int main(void)
{
    Suite *suite = suite_create("ptx");
    TCase *lesser = tcase_create("LLVM 14, as it is");
    tcase_add_checked_fixture(lesser, NULL, tear_down);
    tcase_add_test(lesser, lesser_compiler);
    suite_add_tcase(suite, tests_of("driver 580.159", set_up_driver));
    suite_add_tcase(suite, tests_of("LLVM 14", set_up_clang));
    suite_add_tcase(suite, lesser);
    return run_suite(suite);
}
