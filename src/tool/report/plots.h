/* SPDX-License-Identifier: MIT
 * plots.h - the pictures of clattn bench's page.  A line's number is its place in the report, from 1. */
#ifndef PLOTS_H
#define PLOTS_H

#include "tool/report/report.h"

/* Operations a byte against operations a second, under the device's own rates; false, and nothing, where
 * these are unknown. */
bool plot_roofline(FILE *to, const struct report *report, const struct report_device *device, double width);
/* Time against the number of keys, of problems that differ in lengths alone; false if there are none. */
bool plot_lengths(FILE *to, const struct report *report, double width);
/* Each problem's speed on each device as a part of the fastest; of one device how near it comes to its own
 * limit. */
bool plot_devices(FILE *to, const struct report *report, double width);
/* The lists above: what colours and shapes mean. */
void plot_storage_legend(FILE *to, const struct report *report, const struct report_device *device);
void plot_devices_legend(FILE *to, const struct report *report);
void plot_lengths_legend(FILE *to, const struct report *report);

/* What lines that a chart of lengths joins have in common, and their length; false of a text that has none.
 */
bool series_of(const char *problem, char *name, size_t size, double *length);

/* report_style.c: the style sheet of the page. */
extern const char report_style[];

#endif
