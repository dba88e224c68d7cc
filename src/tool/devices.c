/* SPDX-License-Identifier: MIT
 * devices.c - clattn devices: what is there, which engines fit, and what is known about the drivers. */
#include "tool/tool.h"

#include <jansson.h>
#include <stdlib.h>

#define MAX_DEVICES 64

static const char *type_word(cl_device_type type)
{
    return type & CL_DEVICE_TYPE_GPU ? "gpu" : type & CL_DEVICE_TYPE_CPU ? "cpu" : "accelerator";
}

/* 4.2 GiB, 512 MiB, 32 KiB. */
static const char *size_text(uint64_t bytes, char text[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1024 && unit < 4; unit++)
        value /= 1024;
    snprintf(text, 32, value < 10 && unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

/* ---- for people ---- */
static void print_engines(const clattn_device_facts *f)
{
    clattn_engine_fit fit = CLATTN_ENGINE_FIT_INIT;
    int width = 0;
    for (size_t i = 0; clattn_engine_describe(f, i, &fit) == CLATTN_OK; i++) {
        int n = snprintf(NULL, 0, "%s", fit.engine);
        width = n > width ? n : width;
    }
    for (size_t i = 0; clattn_engine_describe(f, i, &fit) == CLATTN_OK; i++)
        printf("  engine    %-*s  %s: %s\n", width, fit.engine, fit.fits ? "fits" : "does not fit",
               fit.reason);
}

static void print_quarantine(const clattn_device_facts *f)
{
    clattn_quarantine entry = CLATTN_QUARANTINE_INIT;
    for (size_t i = 0; clattn_quarantine_describe(f, NULL, i, &entry) == CLATTN_OK; i++)
        printf("  quarantined  %s: %s (driver %s, %s), in %s\n               %s\n", entry.engine, entry.fault,
               f->driver, entry.date, entry.problem, entry.file);
}

static void print_blocks(const clattn_device_facts *f)
{
    clattn_tuning_block block = CLATTN_TUNING_BLOCK_INIT;
    for (size_t i = 0; clattn_tuning_block_describe(f, i, &block) == CLATTN_OK; i++)
        printf("  blocked      %s: %s (%s), of %s\n               %s\n", block.setting,
               block.reason[0] ? block.reason : "no reason is given", block.date, block.problems,
               block.file[0] ? block.file : "built in");
}

static void print_device(size_t index, const clattn_device_facts *f)
{
    char memory[32], buffer[32], local[32];
    printf("%sdevice %zu  %s\n", index ? "\n" : "", index, f->name);
    printf("  platform  %s, driver %s\n", f->platform, f->driver);
    printf("  hardware  %s by %s; OpenCL %u.%u; %u compute units at %u MHz\n", type_word(f->type), f->vendor,
           f->opencl_major, f->opencl_minor, f->compute_units, f->clock_mhz);
    printf("  memory    %s, largest buffer %s; local %s (%s)\n", size_text(f->global_bytes, memory),
           size_text(f->largest_buffer_bytes, buffer), size_text(f->local_bytes, local),
           f->local_is_dedicated ? "its own" : "in global memory");
    printf("  limits    groups of %llu items%s\n", (unsigned long long)f->largest_group,
           f->has_compiler ? "" : "; no compiler: only binaries made elsewhere run");
    print_engines(f);
    print_quarantine(f);
    print_blocks(f);
    for (size_t i = 0; clattn_device_trap(f, i); i++)
        printf("  trap      %s\n", clattn_device_trap(f, i));
}

/* ---- for programs ---- */
/* A driver's text may be no UTF-8, which JSON must be. */
static json_t *text_json(const char *text)
{
    json_t *string = json_string(text);
    char plain[256];
    size_t n = 0;
    if (string)
        return string;
    for (; text[n] && n < sizeof plain - 1; n++)
        plain[n] = text[n];
    plain[n] = 0;
    for (size_t i = 0; i < n; i++)
        if (plain[i] & 0x80)
            plain[i] = '?';
    return json_string(plain);
}

static json_t *engines_json(const clattn_device_facts *f)
{
    clattn_engine_fit fit = CLATTN_ENGINE_FIT_INIT;
    json_t *list = json_array();
    for (size_t i = 0; clattn_engine_describe(f, i, &fit) == CLATTN_OK; i++)
        json_array_append_new(list, json_pack("{s:s, s:b, s:o}", "engine", fit.engine, "fits", fit.fits,
                                              "reason", text_json(fit.reason)));
    return list;
}

static json_t *quarantine_json(const clattn_device_facts *f)
{
    clattn_quarantine entry = CLATTN_QUARANTINE_INIT;
    json_t *list = json_array();
    for (size_t i = 0; clattn_quarantine_describe(f, NULL, i, &entry) == CLATTN_OK; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "engine", entry.engine, "fault",
                                        entry.fault, "details", entry.details, "problem", entry.problem,
                                        "date", entry.date, "file", text_json(entry.file)));
    return list;
}

static json_t *blocks_json(const clattn_device_facts *f)
{
    clattn_tuning_block block = CLATTN_TUNING_BLOCK_INIT;
    json_t *list = json_array();
    for (size_t i = 0; clattn_tuning_block_describe(f, i, &block) == CLATTN_OK; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:o?}", "setting", block.setting,
                                              "problems", block.problems, "date", block.date, "reason",
                                              block.reason, "layer",
                                              block.layer == CLATTN_TUNING_USER     ? "user"
                                              : block.layer == CLATTN_TUNING_SYSTEM ? "system"
                                                                                    : "built-in",
                                              "file", block.file[0] ? text_json(block.file) : NULL));
    return list;
}

static json_t *traps_json(const clattn_device_facts *f)
{
    json_t *list = json_array();
    for (size_t i = 0; clattn_device_trap(f, i); i++)
        json_array_append_new(list, json_string(clattn_device_trap(f, i)));
    return list;
}

static void set_number(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *device_json(size_t index, const clattn_device_facts *f)
{
    json_t *d =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:s}", "name", text_json(f->name), "vendor",
                  text_json(f->vendor), "platform", text_json(f->platform), "platform_version",
                  text_json(f->platform_version), "driver", text_json(f->driver), "type", type_word(f->type));
    set_number(d, "index", index);
    set_number(d, "opencl_major", f->opencl_major);
    set_number(d, "opencl_minor", f->opencl_minor);
    set_number(d, "compute_units", f->compute_units);
    set_number(d, "clock_mhz", f->clock_mhz);
    set_number(d, "address_bits", f->address_bits);
    set_number(d, "vector_width_float", f->vector_width_float);
    set_number(d, "vector_registers", f->vector_registers);
    set_number(d, "global_bytes", f->global_bytes);
    set_number(d, "largest_buffer_bytes", f->largest_buffer_bytes);
    set_number(d, "local_bytes", f->local_bytes);
    set_number(d, "unit_local_bytes", f->unit_local_bytes);
    set_number(d, "cache_bytes", f->cache_bytes);
    set_number(d, "largest_group", f->largest_group);
    json_object_set_new(d, "local_is_dedicated", json_boolean(f->local_is_dedicated));
    json_object_set_new(d, "has_compiler", json_boolean(f->has_compiler));
    json_object_set_new(d, "little_endian", json_boolean(f->little_endian));
    json_object_set_new(d, "has_fma", json_boolean(f->has_fma));
    json_object_set_new(d, "caches_programs", json_boolean(f->caches_programs));
    json_object_set_new(d, "slow_wide_vectors", json_boolean(f->slow_wide_vectors));
    json_object_set_new(d, "wrong_nested_min", json_boolean(f->wrong_nested_min));
    set_number(d, "matrix_unit", (uint64_t)f->matrix_unit);
    json_object_set_new(d, "bf16_dot", json_boolean(f->bf16_dot));
    json_object_set_new(d, "engines", engines_json(f));
    json_object_set_new(d, "quarantine", quarantine_json(f));
    json_object_set_new(d, "blocked", blocks_json(f));
    json_object_set_new(d, "traps", traps_json(f));
    return d;
}

static int list_devices(bool as_json)
{
    cl_device_id devices[MAX_DEVICES];
    size_t count;
    clattn_status status = clattn_list_devices(devices, MAX_DEVICES, &count);
    if (status)
        return mistake("%s (drivers are found through the .icd files of %s)", clattn_status_text(status),
                       getenv("OCL_ICD_VENDORS") ? getenv("OCL_ICD_VENDORS") : "/etc/OpenCL/vendors");
    json_t *list = json_array();
    for (size_t i = 0; i < count && i < MAX_DEVICES; i++) {
        clattn_device_facts facts = CLATTN_DEVICE_FACTS_INIT;
        status = clattn_device_describe(devices[i], &facts);
        if (status)
            fprintf(stderr, "clattn: device %zu: %s\n", i, clattn_status_text(status));
        else if (as_json)
            json_array_append_new(list, device_json(i, &facts));
        else
            print_device(i, &facts);
    }
    if (as_json) {
        json_dumpf(list, stdout, JSON_INDENT(2));
        printf("\n");
    }
    json_decref(list);
    return EXIT_GOOD;
}

static int forget(void)
{
    size_t count;
    clattn_status status = clattn_quarantine_forget(NULL, NULL, &count);
    if (status)
        return failed(NULL, status, "--forget");
    printf("%zu kernel%s forgotten\n", count, count == 1 ? "" : "s");
    return EXIT_GOOD;
}

static const char help[] =
    "usage: clattn devices [--json | --forget]\n\n"
    "Lists every OpenCL device: its limits, which engines fit it and why not, which of their kernels are\n"
    "quarantined because they failed, which lines of tuning block, and known traps of its driver.\n\n"
    "  --json             the same and more as JSON\n"
    "  --forget           lists nothing: ends the quarantine of all kernels, so that they are tried "
    "again\n" HELP_HELP "\nExit status: 0, or 2 when there is no device or after a mistake in the call.\n";

int command_devices(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"forget", no_argument, NULL, 'f'}, {"help", no_argument, NULL, OPTION_HELP}, {0}};
    bool as_json = false, forgets = false;
    for (int c; (c = next_option(argc, argv, options)) != -1;) {
        if (c == OPTION_HELP) {
            printf("%s", help);
            return EXIT_GOOD;
        }
        if (c != 'j' && c != 'f')
            return EXIT_MISTAKE;
        as_json |= c == 'j';
        forgets |= c == 'f';
    }
    if (optind < argc)
        return mistake("devices takes no arguments, and '%s' is given", argv[optind]);
    if (as_json && forgets)
        return mistake("--forget lists nothing, and --json is given");
    return forgets ? forget() : list_devices(as_json);
}
