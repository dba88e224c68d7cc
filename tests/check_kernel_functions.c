/* SPDX-License-Identifier: MIT
 * check_kernel_functions.c - the operators of cl/common/rule_pairs.clh on a device, against double and 64-bit
 * arithmetic.
 *
 * Functions of our own: 2^24 f32 numbers spread over all bit patterns, and a dense sample where the results
 * are ordinary.  The bounds are those of the text's head.  Division of whole numbers: all pairs of edges, and
 * ten million others. */
#include "expr/tree.h"
#include "tests/on_device.h"
#include "tests/random_rule.h"
#include "tests/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 16, CHUNKS = 256, DENSE_CHUNKS = 8, PAIR_CHUNKS = 160, LANES = 16, BUFFERS = 4 };

#define UNIT 0x1p-24

static cl_mem buffers[BUFFERS];

static void open_buffers(void)
{
    static const int32_t zeros[2 * CHUNK];
    on_device_open();
    for (int i = 0; i < BUFFERS; i++)
        buffers[i] = on_device_buffer(zeros, sizeof zeros);
}

static void close_buffers(void)
{
    for (int i = 0; i < BUFFERS; i++)
        clReleaseMemObject(buffers[i]);
    on_device_close();
}

/* ---- functions ---- */
static double exact_sigmoid(double x)
{
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}

static double exact_softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static const struct function {
    const char *name;
    double (*of)(double);
    double units;    /* the bound on the relative error, in units of 2^-24 */
    float low, high; /* where the dense sample lies */
    double argument; /* so many units more for each unit of the argument */
} functions[] = {
    {"exp", exp, 2, -88, 89, 0},
    {"exp2", exp2, 2, -127, 128, 0},
    {"tanh", tanh, 6, -10, 10, 0},
    {"sigmoid", exact_sigmoid, 6, -88, 20, 0},
    {"softplus", exact_softplus, 7, -88, 89, 0},
    {"native_exp", exp, 4, -88, 88, 2},
    {"native_exp2", exp2, 4, -127, 128, 0},
    {"native_tanh", tanh, 8, -10, 10, 0},
    {"native_sigmoid", exact_sigmoid, 8, -88, 20, 2},
};

/* Rules call it by the name behind that. */
#define NATIVE "native_"
static bool is_native(const char *name)
{
    return !strncmp(name, NATIVE, strlen(NATIVE));
}

static const char function_kernel[] =
    "kernel void values(global const float *x, global float *one, global float *lanes)\n"
    "{\n"
    "    size_t first = get_global_id(0) * 16;\n"
    "    for (int i = 0; i < 16; i++)\n"
    "        one[first + i] = FUNCTION_1(x[first + i]);\n"
    "#if RULE_LANES == 16\n"
    "    vstore16(FUNCTION_16(vload16(0, x + first)), 0, lanes + first);\n"
    "#else\n"
    "    vstore16(vload16(0, one + first), 0, lanes + first);\n"
    "#endif\n"
    "}\n";

static cl_kernel build_function(const char *name)
{
    /* stand-ins as good as a device's own have to be, which OpenCL's native functions need not be */
    static const char natives[] = "#define NATIVE_RULES 1\n"
                                  "static inline float x1_exp2(float x);\n"
                                  "static inline float native_power(float x) { return x1_exp2(x); }\n"
                                  "static inline float native_inverse(float x) { return 1.0f / x; }\n";
    char prelude[512];
    if (is_native(name)) /* of a pair alone */
        snprintf(prelude, sizeof prelude, "%s#define FUNCTION_1 x1_%s\n#define FUNCTION_16(x) (x)\n", natives,
                 name + strlen(NATIVE));
    else
        snprintf(prelude, sizeof prelude, "#define FUNCTION_1 x1_%s\n#define FUNCTION_16 x16_%s\n", name, name);
    return on_device_kernel("values", prelude, function_kernel);
}

/* Results of CHUNK or LANES numbers. */
static void run_function(cl_kernel kernel, const float *x, float *one, float *lanes, size_t count)
{
    const size_t size = count * sizeof *x;
    for (cl_uint i = 0; i < 3; i++)
        on_device_argument(kernel, i, sizeof buffers[i], &buffers[i]);
    on_device_write(buffers[0], x, size);
    on_device_run(kernel, count / LANES, count / LANES < 64 ? 1 : 64);
    on_device_read(buffers[1], one, size);
    on_device_read(buffers[2], lanes, size);
}

static bool same(float a, float b)
{
    return a == b || (a != a && b != b);
}

struct worst {
    double units;
    float at;
};

/* A result is infinite from the largest f32 on, whichever way it rounds there, and may be 0 below FLT_MIN.
 * libcheck writes a line for each assertion: so none is made for what is right. */
static void judge(const struct function *f, float x, float got, struct worst *worst)
{
    double want = f->of(x), size = fabs(want);
    const double units = fabs((double)got - want) / (size * UNIT) - f->argument * fabs((double)x);
    bool large = size > 3.4028230e38, good = true;
    if (want != want || got != got)
        good = want != want && got != got;
    else if (size < 0x1p-126)
        good = fabs((double)got - want) <= 0x1p-126;
    else if (large || !isfinite(got))
        good = large && (double)got > 3.4028230e38;
    else if (units > worst->units)
        *worst = (struct worst){units, x};
    if (!good)
        ck_abort_msg("%s(%a) is %a, not %a", f->name, (double)x, (double)got, want);
}

static float sample(const struct function *f, int chunk, int i)
{
    uint32_t place = (uint32_t)(chunk * CHUNK + i);
    if (chunk < CHUNKS)
        return bits_float(wrap(place * 257u)); /* an odd step: all exponents, both signs, NaN */
    return f->low + (f->high - f->low) * (float)(place - CHUNKS * CHUNK) / (float)(DENSE_CHUNKS * CHUNK);
}

static void check_function(const struct function *f)
{
    static float x[CHUNK], one[CHUNK], lanes[CHUNK];
    struct worst worst = {0, 0};
    cl_kernel kernel = build_function(f->name);
    const int step = is_native(f->name) ? 4 : 1; /* a fourth of them is enough for a formula of one family */
    for (int chunk = 0; chunk < CHUNKS + DENSE_CHUNKS; chunk += step) {
        for (int i = 0; i < CHUNK; i++)
            x[i] = sample(f, chunk, i);
        run_function(kernel, x, one, lanes, CHUNK);
        for (int i = 0; i < CHUNK; i++) {
            if (!is_native(f->name) && !same(one[i], lanes[i]))
                ck_abort_msg("%s(%a): x1 %a, x16 %a", f->name, (double)x[i], (double)one[i],
                             (double)lanes[i]);
            judge(f, x[i], one[i], &worst);
        }
    }
    clReleaseKernel(kernel);
    printf("# %s: at most %.3f units of 2^-24, at %.9g\n", f->name, worst.units, (double)worst.at);
    double bound = f->units + (f->units > 2 && !on.exact_division ? 5 : 0);
    ck_assert_msg(worst.units <= bound, "%s(%a) is off by %.3f units, more than %g", f->name,
                  (double)worst.at, worst.units, bound);
}

START_TEST(functions_keep_their_bounds)
{
    for (size_t i = 0; i < CLATTN__LEN(functions); i++)
        check_function(&functions[i]);
}
END_TEST

/* What a function gives at the ends of the numbers. */
START_TEST(ends_of_functions)
{
    static const struct {
        const char *name;
        float x, y;
    } rows[] = {
        {"exp", -INFINITY, 0}, {"exp", INFINITY, INFINITY}, {"exp", 0, 1}, {"exp", -0.0f, 1}, {"exp", 100, INFINITY},
        {"exp", -200, 0},
        {"exp", NAN, NAN},
        {"exp2", -INFINITY, 0}, {"exp2", INFINITY, INFINITY}, {"exp2", 0, 1}, {"exp2", 10, 1024}, {"exp2", -3, 0.125f},
        {"exp2", -126, 0x1p-126f}, {"exp2", 127, 0x1p127f}, {"exp2", 128, INFINITY}, {"exp2", -200, 0},
        {"exp2", NAN, NAN},
        {"tanh", INFINITY, 1}, {"tanh", -INFINITY, -1}, {"tanh", 0, 0}, {"tanh", 50, 1}, {"tanh", -50, -1},
        {"tanh", NAN, NAN},
        {"sigmoid", INFINITY, 1}, {"sigmoid", -INFINITY, 0}, {"sigmoid", 0, 0.5f}, {"sigmoid", 50, 1},
        {"sigmoid", -200, 0},
        {"sigmoid", NAN, NAN},
        {"softplus", INFINITY, INFINITY}, {"softplus", -INFINITY, 0}, {"softplus", 100, 100}, {"softplus", -200, 0},
        {"softplus", NAN, NAN},
    };
    cl_kernel kernel = NULL;
    for (size_t i = 0; i < CLATTN__LEN(rows); i++) {
        float x[LANES], one[LANES], lanes[LANES];
        if (i == 0 || strcmp(rows[i].name, rows[i - 1].name)) {
            if (kernel)
                clReleaseKernel(kernel);
            kernel = build_function(rows[i].name);
        }
        for (int j = 0; j < LANES; j++)
            x[j] = rows[i].x;
        run_function(kernel, x, one, lanes, LANES);
        for (int j = 0; j < LANES; j++)
            ck_assert_msg(same(one[j], rows[i].y) && same(lanes[j], rows[i].y), "%s(%g) is %.9g and %.9g",
                          rows[i].name, (double)rows[i].x, (double)one[j], (double)lanes[j]);
    }
    clReleaseKernel(kernel);
}
END_TEST

/* ---- division of whole numbers ---- */
static const char division_kernel[] =
    "kernel void divide(global const int *a, global const int *b, global int *one, global int *lanes)\n"
    "{\n"
    "    size_t first = get_global_id(0) * 16;\n"
    "    for (int i = 0; i < 16; i++) {\n"
    "        one[2 * first + i] = x1_idiv(a[first + i], b[first + i]);\n"
    "        one[2 * first + 16 + i] = x1_imod(a[first + i], b[first + i]);\n"
    "    }\n"
    "#if RULE_LANES == 16\n"
    "    vstore16(x16_idiv(vload16(0, a + first), vload16(0, b + first)), 0, lanes + 2 * first);\n"
    "    vstore16(x16_imod(vload16(0, a + first), vload16(0, b + first)), 0, lanes + 2 * first + 16);\n"
    "#else\n"
    "    for (int i = 0; i < 32; i++)\n"
    "        lanes[2 * first + i] = one[2 * first + i];\n"
    "#endif\n"
    "}\n";

static int32_t a[CHUNK], b[CHUNK], one[2 * CHUNK], lanes[2 * CHUNK];

static void check_division(cl_kernel kernel)
{
    for (cl_uint i = 0; i < 4; i++)
        on_device_argument(kernel, i, sizeof buffers[i], &buffers[i]);
    on_device_write(buffers[0], a, sizeof a);
    on_device_write(buffers[1], b, sizeof b);
    on_device_run(kernel, CHUNK / LANES, 64);
    on_device_read(buffers[2], one, sizeof one);
    on_device_read(buffers[3], lanes, sizeof lanes);
    for (int i = 0; i < CHUNK; i++) {
        int64_t x = a[i], y = b[i], down = y == 0 ? 0 : x / y - (x % y != 0 && (x < 0) != (y < 0));
        int32_t quotient = wrap((uint32_t)(uint64_t)down), rest = y == 0 ? 0 : (int32_t)(x - down * y);
        int at = i / LANES * 2 * LANES + i % LANES;
        if (one[at] != quotient || one[at + LANES] != rest)
            ck_abort_msg("%d by %d: x1 %d rest %d", (int)a[i], (int)b[i], (int)one[at], (int)one[at + LANES]);
        if (lanes[at] != quotient || lanes[at + LANES] != rest)
            ck_abort_msg("%d by %d: x16 %d rest %d", (int)a[i], (int)b[i], (int)lanes[at],
                         (int)lanes[at + LANES]);
    }
}

/* 0, both ends, and a power of two with its neighbours, of either sign. */
static int make_edges(int32_t edges[256])
{
    int n = 0;
    edges[n++] = 0;
    edges[n++] = INT32_MIN;
    edges[n++] = INT32_MAX;
    edges[n++] = INT32_MIN + 1;
    for (int bit = 0; bit < 31; bit++)
        for (int side = -1; side <= 1; side++) {
            int32_t edge = (int32_t)((1u << bit) + (uint32_t)side);
            edges[n++] = edge;
            edges[n++] = -edge;
        }
    return n;
}

START_TEST(division_of_edges)
{
    int32_t edges[256];
    int n = make_edges(edges);
    cl_kernel kernel = on_device_kernel("divide", "", division_kernel);
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    ck_assert_int_le(n * n, CHUNK);
    for (int i = 0; i < n * n; i++) {
        a[i] = edges[i / n];
        b[i] = edges[i % n];
    }
    check_division(kernel);
    clReleaseKernel(kernel);
}
END_TEST

/* Of any number of bits; every fourth dividend is at or beside a multiple of its divisor, where rounding
 * decides. */
START_TEST(division_of_random_pairs)
{
    uint64_t seed = 1;
    cl_kernel kernel = on_device_kernel("divide", "", division_kernel);
    for (int chunk = 0; chunk < PAIR_CHUNKS; chunk++) {
        for (int i = 0; i < CHUNK; i++) {
            uint32_t high = random_below(&seed, 1u << 16) << 16, low = random_below(&seed, 1u << 16),
                     bits = random_below(&seed, 32);
            b[i] = wrap(high | low) >> bits;
            high = random_below(&seed, 1u << 16) << 16;
            a[i] = wrap(high | random_below(&seed, 1u << 16)) >> random_below(&seed, 32);
            if (i % 4 == 0 && b[i])
                a[i] = wrap((uint32_t)a[i] - (uint32_t)(a[i] % (b[i] == -1 ? 1 : b[i])) +
                            random_below(&seed, 3) - 1u);
        }
        check_division(kernel);
    }
    clReleaseKernel(kernel);
}
END_TEST

/* ---- minima of whole numbers ---- */
static const char minima_kernel[] =
    "kernel void minima(global const int *a, global const int *b, global int *one, global int *lanes)\n"
    "{\n"
    "    size_t i = get_global_id(0);\n"
    "    one[2 * i] = x1_imin(a[i], b[i]);\n"
    "    one[2 * i + 1] = x1_imin(a[i], x1_imin(b[i], x1_ineg(a[i])));\n"
    "    lanes[2 * i] = x1_imax(a[i], b[i]);\n"
    "    lanes[2 * i + 1] = x1_imax(x1_iabs(b[i]), x1_imax(x1_irelu(a[i]), x1_ineg(a[i])));\n"
    "}\n";

static int32_t least(int32_t x, int32_t y)
{
    return x < y ? x : y;
}

static int32_t most(int32_t x, int32_t y)
{
    return x > y ? x : y;
}

static void check_minima(void)
{
    cl_kernel kernel = on_device_kernel("minima", "", minima_kernel);
    for (cl_uint i = 0; i < 4; i++)
        on_device_argument(kernel, i, sizeof buffers[i], &buffers[i]);
    on_device_write(buffers[0], a, sizeof a);
    on_device_write(buffers[1], b, sizeof b);
    on_device_run(kernel, CHUNK, 64);
    on_device_read(buffers[2], one, sizeof one);
    on_device_read(buffers[3], lanes, sizeof lanes);
    for (int i = 0; i < CHUNK; i++) {
        int32_t x = a[i], y = b[i], minus_x = wrap(0u - (uint32_t)x),
                size = y < 0 ? wrap(0u - (uint32_t)y) : y;
        ck_assert_int_eq(one[2 * i], least(x, y));
        ck_assert_msg(one[2 * i + 1] == least(x, least(y, minus_x)), "min(%d, min(%d, -a)): %d", (int)x,
                      (int)y, (int)one[2 * i + 1]);
        ck_assert_int_eq(lanes[2 * i], most(x, y));
        ck_assert_msg(lanes[2 * i + 1] == most(size, most(most(x, 0), minus_x)), "max(|%d|, ...): %d", (int)y,
                      (int)lanes[2 * i + 1]);
    }
    clReleaseKernel(kernel);
}

/* As this device is given them, and by masks, which are for devices whose compilers get the third form
 * wrong. */
START_TEST(minima_of_edges)
{
    int32_t edges[256], masks = on.facts.wrong_nested_min;
    int n = make_edges(edges);
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    for (int i = 0; i < n * n; i++) {
        a[i] = edges[i / n];
        b[i] = edges[i % n];
    }
    check_minima();
    on.facts.wrong_nested_min = 1;
    check_minima();
    on.facts.wrong_nested_min = masks;
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kernel functions");
    TCase *cases = tcase_create("kernel functions");
    if (!on_device_find()) {
        puts("1..0 # SKIP no OpenCL device");
        return 0;
    }
    tcase_set_timeout(cases, 300);
    tcase_add_unchecked_fixture(cases, open_buffers, close_buffers);
    tcase_add_test(cases, functions_keep_their_bounds);
    tcase_add_test(cases, ends_of_functions);
    tcase_add_test(cases, division_of_edges);
    tcase_add_test(cases, division_of_random_pairs);
    tcase_add_test(cases, minima_of_edges);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
