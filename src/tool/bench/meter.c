/* SPDX-License-Identifier: MIT
 * meter.c - energy and clock: of a CPU by Linux' files (RAPL's counters, cpufreq), of others by their vendor's
 * library. */
#include "tool/bench/meter.h"
#include "engine/meter.h"

#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PACKAGES 16
#define MOST_CPUS     512

/* Vendors' own libraries. */
static const struct clattn__meter_source *const sources[] = {&clattn__nvml};

struct meter {
    bool is_cpu;
    int n_packages;
    struct package {
        char path[512]; /* of its counter */
        double range, before,
            wrapped; /* microjoules: the counter's end, its last value, what its turns add */
    } packages[MOST_PACKAGES];
    const struct clattn__meter_source *source; /* or NULL */
    void *handle;                              /* of the source's */
};

/* ---- files ---- */
static double read_number(const char *path)
{
    double value = NAN;
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%lf", &value) != 1)
        value = NAN;
    if (file)
        fclose(file);
    return value;
}

static bool is_package(const char *folder, const char *entry)
{
    char path[512], name[32] = "";
    snprintf(path, sizeof path, "%s/%s/name", folder, entry);
    FILE *file = fopen(path, "r");
    if (file && !fgets(name, sizeof name, file))
        name[0] = 0;
    if (file)
        fclose(file);
    return !strncmp(name, "package-", 8);
}

/* Packages alone: cores and memory are parts of them, or of what they do not count. */
static void find_packages(struct meter *m, const char *folder)
{
    DIR *all = opendir(folder);
    if (!all)
        return;
    for (struct dirent *entry; m->n_packages < MOST_PACKAGES && (entry = readdir(all));) {
        struct package *p = &m->packages[m->n_packages];
        char range[512];
        if (entry->d_name[0] == '.' || strlen(folder) + strlen(entry->d_name) > 400 ||
            !is_package(folder, entry->d_name))
            continue;
        snprintf(p->path, sizeof p->path, "%s/%s/energy_uj", folder, entry->d_name);
        snprintf(range, sizeof range, "%s/%s/max_energy_range_uj", folder, entry->d_name);
        p->range = read_number(range);
        p->before = read_number(p->path);
        m->n_packages += isfinite(p->before); /* most systems show it to root alone */
    }
    closedir(all);
}

static double read_package(struct package *p)
{
    const double now = read_number(p->path);
    if (now < p->before)
        p->wrapped += p->range;
    p->before = now;
    return now + p->wrapped;
}

static double cpu_mhz(void)
{
    char path[96];
    double sum = 0;
    int n = 0;
    for (; n < MOST_CPUS; n++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", n);
        const double khz = read_number(path);
        if (!isfinite(khz))
            break;
        sum += khz;
    }
    return n ? sum / n * 1e-3 : NAN;
}

/* ---- the meter ---- */
static void find_source(struct meter *m, cl_device_id device, const clattn_device_facts *facts)
{
    for (size_t i = 0; i < sizeof sources / sizeof *sources && !m->source; i++)
        if ((m->handle = sources[i]->open(device, facts)))
            m->source = sources[i];
}

struct meter *meter_open(cl_device_id device, const clattn_device_facts *facts, const char *folder)
{
    struct meter *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->is_cpu = facts->type & CL_DEVICE_TYPE_CPU;
    if (m->is_cpu)
        find_packages(m, folder);
    else
        find_source(m, device, facts);
    return m;
}

void meter_close(struct meter *m)
{
    if (m && m->source)
        m->source->close(m->handle);
    free(m);
}

double meter_joules(struct meter *m)
{
    double sum = 0;
    if (m && m->source)
        return m->source->joules(m->handle);
    if (!m || m->n_packages == 0)
        return NAN;
    for (int i = 0; i < m->n_packages; i++)
        sum += read_package(&m->packages[i]);
    return sum * 1e-6;
}

double meter_mhz(struct meter *m)
{
    if (m && m->source)
        return m->source->mhz(m->handle);
    return m && m->is_cpu ? cpu_mhz() : NAN;
}
