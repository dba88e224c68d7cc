/* SPDX-License-Identifier: MIT
 * nvml.c - energy and clock of an NVIDIA GPU by its management library, which is opened if it is there. */
#include "engine/meter.h"

#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CL_DEVICE_PCI_BUS_ID_NV and the two behind it: cl_nv_device_attribute_query */
#define PCI_BUS    0x4008
#define PCI_SLOT   0x4009
#define PCI_DOMAIN 0x400A
#define CLOCK_SM   1 /* NVML_CLOCK_SM */

struct nvml {
    void *library, *device;
    int (*energy)(void *device, unsigned long long *millijoules);
    int (*clock)(void *device, int which, unsigned *mhz);
};

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
    if (clGetDeviceInfo(device, PCI_BUS, sizeof bus, &bus, NULL) != CL_SUCCESS ||
        clGetDeviceInfo(device, PCI_SLOT, sizeof slot, &slot, NULL) != CL_SUCCESS)
        return false;
    if (clGetDeviceInfo(device, PCI_DOMAIN, sizeof domain, &domain, NULL) != CL_SUCCESS)
        domain = 0;
    snprintf(address, 32, "%08x:%02x:%02x.0", domain, bus, slot);
    return true;
}

static bool open_device(struct nvml *n, cl_device_id device)
{
    int (*init)(void), (*by_address)(const char *, void **);
    char address[32];
    return n->library && pci_address(device, address) && find(n, "nvmlInit_v2", &init) &&
           find(n, "nvmlDeviceGetHandleByPciBusId_v2", &by_address) &&
           find(n, "nvmlDeviceGetTotalEnergyConsumption", &n->energy) &&
           find(n, "nvmlDeviceGetClockInfo", &n->clock) && init() == 0 && by_address(address, &n->device) == 0;
}

static void close_nvml(void *handle)
{
    struct nvml *n = handle;
    if (n->library)
        dlclose(n->library);
    free(n);
}

static void *open_nvml(cl_device_id device, const clattn_device_facts *facts)
{
    struct nvml *n = strstr(facts->platform, "NVIDIA") ? calloc(1, sizeof *n) : NULL;
    if (!n)
        return NULL;
    n->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (open_device(n, device))
        return n;
    close_nvml(n);
    return NULL;
}

static double read_joules(void *handle)
{
    const struct nvml *n = handle;
    unsigned long long millijoules;
    return n->energy(n->device, &millijoules) == 0 ? (double)millijoules * 1e-3 : NAN;
}

static double read_mhz(void *handle)
{
    const struct nvml *n = handle;
    unsigned mhz;
    return n->clock(n->device, CLOCK_SM, &mhz) == 0 ? mhz : NAN;
}

const struct clattn__meter_source clattn__nvml = {open_nvml, close_nvml, read_joules, read_mhz};
