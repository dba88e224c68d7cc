/* SPDX-License-Identifier: MIT
 * nvml.c - stands in for NVIDIA's management library: a GPU at 00000000:17:00.0 that takes 250 W at 1755 MHz.
 *
 * FAULT_NVML=init, handle, energy or clock: that call fails, and writes rubbish. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

static int initialised, gpu;

EXPORT int nvmlInit_v2(void);
EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device);
EXPORT int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules);
EXPORT int nvmlDeviceGetClockInfo(void *device, int which, unsigned *mhz);

static int fails(const char *call)
{
    const char *which = getenv("FAULT_NVML");
    return which && !strcmp(which, call) ? 999 : 0; /* NVML_ERROR_UNKNOWN */
}

int nvmlInit_v2(void)
{
    initialised = !fails("init");
    return fails("init");
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device)
{
    *device = &gpu;
    return initialised && !fails("handle") && !strcmp(address, "00000000:17:00.0") ? 0 : 6; /* not found */
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    /* to the millijoule: steps of whole milliseconds would be a part of a short repetition */
    *millijoules = 250000 * (unsigned long long)t.tv_sec + 250 * (unsigned long long)t.tv_nsec / 1000000;
    return device == &gpu ? fails("energy") : 2;
}

int nvmlDeviceGetClockInfo(void *device, int which, unsigned *mhz)
{
    *mhz = which == 1 ? 1755 : 0;
    return device == &gpu ? fails("clock") : 2;
}
