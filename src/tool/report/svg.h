/* SPDX-License-Identifier: MIT
 * svg.h - small charts as SVG: two axes, lines, marks, bars, words.
 *
 * Colours are the page's: classes s0 to s7 of series, g of the grid, t of quiet text. */
#ifndef SVG_H
#define SVG_H

#include <stdbool.h>
#include <stdio.h>

#define SVG_COLOURS 8
#define SVG_LABELS  256

struct svg_axis {
    const char *title;
    double low, high; /* the whole range, 0 < low < high */
    bool log, binary; /* binary: logarithmic, with ticks at powers of two */
};
struct svg_chart {
    FILE *to;
    double width, height, left, right, top, bottom; /* of the picture; margins around what the axes span */
    struct svg_axis x, y;
    struct svg_box {
        double left, top, right, bottom;
    } labels[SVG_LABELS]; /* what is taken, so that svg_label writes beside it: draw all marks first */
    int n_labels;
};

void svg_text(FILE *to, const char *text); /* with <, &, " as HTML wants them */
/* Begins a picture; title and what it shows are for those who do not see it. */
void svg_begin(FILE *to, double width, double height, const char *title, const char *what);
void svg_end(FILE *to);
/* Range of an axis with room around the values between low and high. */
void svg_range(struct svg_axis *axis, double low, double high);
/* Grid, numbers and titles. */
void svg_frame(struct svg_chart *c);
double svg_x(const struct svg_chart *c, double value);
double svg_y(const struct svg_chart *c, double value);
/* n points joined, cut off at the frame. */
void svg_line(struct svg_chart *c, const char *class, const double *x, const double *y, int n);
/* One of four shapes. */
void svg_mark(struct svg_chart *c, const char *class, int shape, double x, double y, const char *tip);
/* Words that end at a place of the picture, in its own units; svg_label keeps off them. */
void svg_words(struct svg_chart *c, double right, double bottom, const char *text);
/* A word beside a point, where no other stands. */
void svg_label(struct svg_chart *c, double x, double y, const char *text);

#endif
