/* SPDX-License-Identifier: MIT
 * svg.c - small charts as SVG. */
#include "tool/report/svg.h"

#include <math.h>
#include <string.h>

#define DIGIT  6.2  /* width of a figure at the size of labels */
#define LETTER 11.0 /* their height */

void svg_text(FILE *to, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '<':
            fputs("&lt;", to);
            break;
        case '>':
            fputs("&gt;", to);
            break;
        case '&':
            fputs("&amp;", to);
            break;
        case '"':
            fputs("&quot;", to);
            break;
        default:
            fputc(*text, to);
        }
}

void svg_begin(FILE *to, double width, double height, const char *title, const char *what)
{
    fprintf(to, "<svg viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" role=\"img\"><title>", width,
            height, width, height);
    svg_text(to, title);
    fputs("</title><desc>", to);
    svg_text(to, what);
    fputs("</desc>\n", to);
}

void svg_end(FILE *to)
{
    fputs("</svg>\n", to);
}

/* ---- axes ---- */
void svg_range(struct svg_axis *axis, double low, double high)
{
    axis->low = axis->log ? low / 1.5 : 0;
    axis->high = axis->log ? high * 1.5 : high * 1.05;
}

static double part(const struct svg_axis *axis, double value)
{
    return axis->log ? log(value / axis->low) / log(axis->high / axis->low)
                     : (value - axis->low) / (axis->high - axis->low);
}

double svg_x(const struct svg_chart *c, double value)
{
    return c->left + part(&c->x, value) * (c->width - c->left - c->right);
}

double svg_y(const struct svg_chart *c, double value)
{
    return c->height - c->bottom - part(&c->y, value) * (c->height - c->top - c->bottom);
}

/* Powers of two, every second or third where they are many. */
static int binary_ticks(const struct svg_axis *axis, double *ticks, int capacity)
{
    const int first = (int)ceil(log2(axis->low)), last = (int)floor(log2(axis->high)),
              step = (last - first) / 7 + 1;
    int n = 0;
    for (int power = first; power <= last && n < capacity; power += step)
        ticks[n++] = exp2(power);
    return n;
}

/* The ticks of a logarithmic axis: 1, 2 and 5 times powers of ten, or powers alone where they are many. */
static int log_ticks(const struct svg_axis *axis, double *ticks, int capacity)
{
    static const double steps[] = {1, 2, 5};
    const bool few = axis->high / axis->low < 300;
    int n = 0;
    for (int power = (int)floor(log10(axis->low)); power <= (int)ceil(log10(axis->high)); power++)
        for (int i = 0; i < (few ? 3 : 1); i++) {
            const double tick = steps[i] * pow(10, power);
            if (tick >= axis->low && tick <= axis->high && n < capacity)
                ticks[n++] = tick;
        }
    return n;
}

/* Some five round ticks of a linear axis. */
static int linear_ticks(const struct svg_axis *axis, double *ticks, int capacity)
{
    const double rough = (axis->high - axis->low) / 5, power = pow(10, floor(log10(rough)));
    const double step = power * (rough / power < 1.5   ? 1
                                 : rough / power < 3.5 ? 2
                                 : rough / power < 7.5 ? 5
                                                       : 10);
    int n = 0;
    for (double tick = ceil(axis->low / step) * step; tick <= axis->high && n < capacity; tick += step)
        ticks[n++] = tick;
    return n;
}

/* 0.05, 20, 20k, 2M; 512, 2k = 2048 of a binary axis */
static void print_tick(FILE *to, const struct svg_axis *axis, double value)
{
    if (axis->binary && value >= 1024)
        fprintf(to, value < 1048576 ? "%gk" : "%gM", value < 1048576 ? value / 1024 : value / 1048576);
    else if (value >= 1e6)
        fprintf(to, "%gM", value / 1e6);
    else if (value >= 1e4)
        fprintf(to, "%gk", value / 1e3);
    else
        fprintf(to, "%g", value);
}

static void draw_tick(struct svg_chart *c, bool vertical, double value)
{
    const double right = c->width - c->right, bottom = c->height - c->bottom;
    if (vertical) {
        const double y = svg_y(c, value);
        fprintf(c->to,
                "<path class=\"g\" d=\"M%.1f %.1fH%.1f\"/><text class=\"t\" x=\"%.1f\" y=\"%.1f\" "
                "text-anchor=\"end\">",
                c->left, y, right, c->left - 6, y + 4);
    } else {
        const double x = svg_x(c, value);
        fprintf(c->to,
                "<path class=\"g\" d=\"M%.1f %.1fV%.1f\"/><text class=\"t\" x=\"%.1f\" y=\"%.1f\" "
                "text-anchor=\"middle\">",
                x, c->top, bottom, x, bottom + 15);
    }
    print_tick(c->to, vertical ? &c->y : &c->x, value);
    fputs("</text>\n", c->to);
}

void svg_frame(struct svg_chart *c)
{
    double ticks[32];
    for (int vertical = 0; vertical < 2; vertical++) {
        const struct svg_axis *axis = vertical ? &c->y : &c->x;
        const int n = axis->binary ? binary_ticks(axis, ticks, 32)
                      : axis->log  ? log_ticks(axis, ticks, 32)
                                   : linear_ticks(axis, ticks, 32);
        for (int i = 0; i < n; i++)
            draw_tick(c, vertical, ticks[i]);
    }
    fprintf(c->to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", c->width - c->right, c->height - 4);
    svg_text(c->to, c->x.title);
    fputs("</text>\n<text x=\"4\" y=\"12\">", c->to); /* a title that stands upright is read at once */
    svg_text(c->to, c->y.title);
    fputs("</text>\n", c->to);
}

/* ---- what is shown ---- */
void svg_line(struct svg_chart *c, const char *class, const double *x, const double *y, int n)
{
    fprintf(c->to, "<path class=\"l %s\" d=\"", class);
    for (int i = 0; i < n; i++)
        fprintf(c->to, "%s%.1f %.1f", i ? "L" : "M", svg_x(c, x[i]), svg_y(c, y[i]));
    fputs("\"/>\n", c->to);
}

static void occupy(struct svg_chart *c, struct svg_box box)
{
    if (c->n_labels < SVG_LABELS)
        c->labels[c->n_labels++] = box;
}

void svg_words(struct svg_chart *c, double right, double bottom, const char *text)
{
    fprintf(c->to, "<text class=\"t\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", right, bottom);
    svg_text(c->to, text);
    fputs("</text>\n", c->to);
    occupy(c, (struct svg_box){right - DIGIT * (double)strlen(text), bottom - LETTER, right, bottom + 3});
}

void svg_mark(struct svg_chart *c, const char *class, int shape, double x, double y, const char *tip)
{
    const double at_x = svg_x(c, x), at_y = svg_y(c, y);
    static const char *const shapes[] = {"m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", "m-4 -4h8v8h-8",
                                         "m0 -5l5 9h-10", "m0 -5l5 5l-5 5l-5 -5"};
    fprintf(c->to, "<path class=\"m %s\" d=\"M%.1f %.1f%sz\"><title>", class, at_x, at_y, shapes[shape % 4]);
    svg_text(c->to, tip);
    fputs("</title></path>\n", c->to);
    occupy(c, (struct svg_box){at_x - 5, at_y - 5, at_x + 5, at_y + 5});
}

static bool overlaps(const struct svg_chart *c, const struct svg_box *box)
{
    if (box->left < c->left || box->right > c->width - 1 || box->top < 18 ||
        box->bottom > c->height - c->bottom)
        return true;
    for (int i = 0; i < c->n_labels; i++) {
        const struct svg_box *other = &c->labels[i];
        if (box->left < other->right && other->left < box->right && box->top < other->bottom &&
            other->top < box->bottom)
            return true;
    }
    return false;
}

/* Round the point, further and further out, until there is room. */
void svg_label(struct svg_chart *c, double x, double y, const char *text)
{
    const double width = DIGIT * (double)strlen(text), px = svg_x(c, x), py = svg_y(c, y);
    struct svg_box box = {px + 6, py - LETTER / 2, px + 6 + width, py + LETTER / 2};
    for (int ring = 0; ring < 6; ring++)
        for (int step = 0; step < 12; step++) {
            const double angle = step * M_PI / 6, far = 11 + 8 * ring;
            const double cx = px + cos(angle) * (far + width / 2 - 3), cy = py - sin(angle) * far;
            const struct svg_box trial = {cx - width / 2, cy - LETTER / 2, cx + width / 2, cy + LETTER / 2};
            if (!overlaps(c, &trial)) {
                box = trial;
                ring = step = 12;
            }
        }
    occupy(c, box);
    fprintf(c->to, "<text class=\"n\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
            (box.left + box.right) / 2, box.bottom - 1);
    svg_text(c->to, text);
    fputs("</text>\n", c->to);
}
