/* SPDX-License-Identifier: MIT
 * meter.c - energy and clock: of a CPU by Linux' files (RAPL's counters, cpufreq), of an NVIDIA GPU by its
 * management library, which is opened if it is there. */
#include "tool/bench/meter.h"

#include <dirent.h>
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PACKAGES 16
#define MOST_CPUS     512

/* CL_DEVICE_PCI_BUS_ID_NV and the two behind it: cl_nv_device_attribute_query */
#define PCI_BUS_NV    0x4008
#define PCI_SLOT_NV   0x4009
#define PCI_DOMAIN_NV 0x400A
#define CLOCK_SM      1 /* NVML_CLOCK_SM */

struct nvml {
    void *library, *device;
    int (*energy)(void *device, unsigned long long *millijoules);
    int (*clock)(void *device, int which, unsigned *mhz);
};

struct meter {
    bool is_cpu;
    int n_packages;
    struct package {
        char path[512]; /* of its counter */
        double range, before,
            wrapped; /* microjoules: the counter's end, its last value, what its turns add */
    } packages[MOST_PACKAGES];
    struct nvml nvml;
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

/* ---- NVML ---- */
/* The library's functions, as pointers that ISO C does not let dlsym give. */
static bool find(struct nvml *n, const char *name, void *function)
{
    void *symbol = dlsym(n->library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol;
}

static bool pci_address(cl_device_id device, char address[32])
{
    cl_uint bus, slot, domain = 0;
    if (clGetDeviceInfo(device, PCI_BUS_NV, sizeof bus, &bus, NULL) != CL_SUCCESS ||
        clGetDeviceInfo(device, PCI_SLOT_NV, sizeof slot, &slot, NULL) != CL_SUCCESS)
        return false;
    if (clGetDeviceInfo(device, PCI_DOMAIN_NV, sizeof domain, &domain, NULL) != CL_SUCCESS)
        domain = 0;
    snprintf(address, 32, "%08x:%02x:%02x.0", domain, bus, slot);
    return true;
}

static void open_nvml(struct nvml *n, cl_device_id device)
{
    int (*init)(void), (*by_address)(const char *, void **);
    char address[32];
    n->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (n->library && pci_address(device, address) && find(n, "nvmlInit_v2", &init) &&
        find(n, "nvmlDeviceGetHandleByPciBusId_v2", &by_address) &&
        find(n, "nvmlDeviceGetTotalEnergyConsumption", &n->energy) &&
        find(n, "nvmlDeviceGetClockInfo", &n->clock) && init() == 0 && by_address(address, &n->device) == 0)
        return;
    if (n->library)
        dlclose(n->library);
    n->library = NULL;
}

/* ---- the meter ---- */
struct meter *meter_open(cl_device_id device, const clattn_device_facts *facts, const char *folder)
{
    struct meter *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->is_cpu = facts->type & CL_DEVICE_TYPE_CPU;
    if (m->is_cpu)
        find_packages(m, folder);
    else if (strstr(facts->platform, "NVIDIA"))
        open_nvml(&m->nvml, device);
    return m;
}

void meter_close(struct meter *m)
{
    if (m && m->nvml.library)
        dlclose(m->nvml.library);
    free(m);
}

double meter_joules(struct meter *m)
{
    unsigned long long millijoules;
    double sum = 0;
    if (m && m->nvml.library)
        return m->nvml.energy(m->nvml.device, &millijoules) == 0 ? (double)millijoules * 1e-3 : NAN;
    if (!m || m->n_packages == 0)
        return NAN;
    for (int i = 0; i < m->n_packages; i++)
        sum += read_package(&m->packages[i]);
    return sum * 1e-6;
}

double meter_mhz(struct meter *m)
{
    unsigned mhz;
    if (m && m->nvml.library)
        return m->nvml.clock(m->nvml.device, CLOCK_SM, &mhz) == 0 ? mhz : NAN;
    return m && m->is_cpu ? cpu_mhz() : NAN;
}
