/* SPDX-License-Identifier: MIT
 * devices.c - clattn devices: what is there, which engines fit, and what is known about the drivers. */
#include "tool/tool.h"

#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>

#define MAX_DEVICES 64

static const char *type_word(cl_device_type type)
{
    return type & CL_DEVICE_TYPE_GPU ? "gpu" : type & CL_DEVICE_TYPE_CPU ? "cpu" : "accelerator";
}

static void print_device(size_t index, const clattn_device_facts *f)
{
    clattn_engine_fit fit = CLATTN_ENGINE_FIT_INIT;
    printf("device %zu   %s\n", index, f->name);
    printf("  platform  %s, OpenCL %u.%u, driver %s\n", f->platform, f->opencl_major, f->opencl_minor, f->driver);
    printf("  hardware  %s, %s; %u compute units at %u MHz; %.1f GiB memory, largest buffer %.1f GiB\n", type_word(f->type),
           f->vendor, f->compute_units, f->clock_mhz, (double)f->global_bytes / 0x1p30,
           (double)f->largest_buffer_bytes / 0x1p30);
    printf("  limits    groups of %llu items, %llu KiB local memory (%s), compiler: %s\n", (unsigned long long)f->largest_group,
           (unsigned long long)f->local_bytes / 1024, f->local_is_dedicated ? "its own" : "in global memory",
           f->has_compiler ? "yes" : "no");
    for (size_t i = 0; clattn_engine_describe(f, i, &fit) == CLATTN_OK; i++)
        printf("  engine    %-9s %s: %s\n", fit.engine, fit.fits ? "fits" : "does not fit", fit.reason);
    for (size_t i = 0; clattn_device_trap(f, i); i++)
        printf("  trap      %s\n", clattn_device_trap(f, i));
    printf("\n");
}

static json_t *engines_json(const clattn_device_facts *f)
{
    clattn_engine_fit fit = CLATTN_ENGINE_FIT_INIT;
    json_t *list = json_array();
    for (size_t i = 0; clattn_engine_describe(f, i, &fit) == CLATTN_OK; i++)
        json_array_append_new(list, json_pack("{s:s, s:b, s:s}", "engine", fit.engine, "fits", fit.fits, "reason", fit.reason));
    return list;
}

static json_t *traps_json(const clattn_device_facts *f)
{
    json_t *list = json_array();
    for (size_t i = 0; clattn_device_trap(f, i); i++)
        json_array_append_new(list, json_string(clattn_device_trap(f, i)));
    return list;
}

static json_t *device_json(size_t index, const clattn_device_facts *f)
{
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:b, s:o, s:o}", "index",
                     (json_int_t)index, "name", f->name, "vendor", f->vendor, "platform", f->platform, "platform_version",
                     f->platform_version, "driver", f->driver, "type", type_word(f->type), "compute_units",
                     (int)f->compute_units, "clock_mhz", (int)f->clock_mhz, "global_bytes", (json_int_t)f->global_bytes,
                     "largest_buffer_bytes", (json_int_t)f->largest_buffer_bytes, "local_bytes", (json_int_t)f->local_bytes,
                     "largest_group", (json_int_t)f->largest_group, "has_compiler", f->has_compiler, "engines",
                     engines_json(f), "traps", traps_json(f));
}

static int list_devices(int as_json)
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

int command_devices(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    int as_json = 0, c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'j') {
            as_json = 1;
        } else if (c == 'h') {
            printf("usage: clattn devices [--json]\n\nLists every OpenCL device, which engines fit it and why not, its limits, "
                   "and known traps of its driver.\n\n  --json   the same as JSON\n  --help   this\n");
            return EXIT_GOOD;
        } else {
            return EXIT_MISTAKE;
        }
    }
    return optind < argc ? mistake("devices takes no arguments, and '%s' was given", argv[optind]) : list_devices(as_json);
}
