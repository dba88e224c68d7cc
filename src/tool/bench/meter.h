/* SPDX-License-Identifier: MIT
 * meter.h - what the system tells of a device while it works: energy, clock.  Nothing here is needed for
 * anything else. */
#ifndef METER_H
#define METER_H

#include <clattn.h>

struct meter;
/* folder: where Linux has the counters of processors' energy, as /sys/class/powercap.  NULL if nothing is
 * told. */
struct meter *meter_open(cl_device_id device, const clattn_device_facts *facts, const char *folder);
void meter_close(struct meter *meter);
/* Joules since some time before; NAN if it is not told. */
double meter_joules(struct meter *meter);
/* The clock now, in MHz; NAN if it is not told. */
double meter_mhz(struct meter *meter);

#endif
