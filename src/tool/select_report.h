/* SPDX-License-Identifier: MIT
 * select_report.h - what clattn select found, for people and for programs. */
#ifndef SELECT_REPORT_H
#define SELECT_REPORT_H

#include "tool/selection.h"

struct select_report {
    const struct selection *x;
    double bounds, stages[CLATTN_MAX_STAGES]; /* seconds of the best run: all metadata, from each stage on */
    int n_stages;
    struct ref_mass *heads; /* NULL: not asked */
};
void print_select_text(const struct select_report *r, bool explain);
void print_select_json(const struct select_report *r, const char *problem);

#endif
