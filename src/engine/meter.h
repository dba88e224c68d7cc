/* SPDX-License-Identifier: MIT
 * meter.h - what a vendor's own library tells of a device while it works.  For the benchmark alone: nothing of it
 * is in the library. */
#ifndef CLATTN_ENGINE_METER_H
#define CLATTN_ENGINE_METER_H

#include <clattn.h>

struct clattn__meter_source {
    /* A handle, which the others take; NULL: it does not tell of this device. */
    void *(*open)(cl_device_id device, const clattn_device_facts *facts);
    void (*close)(void *handle);
    double (*joules)(void *handle); /* since some time before; NAN if it is not told */
    double (*mhz)(void *handle);    /* the clock now; NAN likewise */
};
extern const struct clattn__meter_source clattn__nvml;

#endif
