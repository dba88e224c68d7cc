/* SPDX-License-Identifier: MIT
 * csv.c - clattn bench's lines as CSV (RFC 4180 with plain line ends): a blank is an empty field. */
#include "tool/report/report.h"

#include <inttypes.h>

static void write_text(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', file);
        fputc(*text, file);
    }
    fputc('"', file);
}

static void write_field(FILE *file, const struct result *line, const struct column *c)
{
    if (is_blank(line, c))
        return;
    if (c->kind == COLUMN_TEXT)
        write_text(file, text_at(line, c));
    else if (c->kind == COLUMN_COUNT)
        fprintf(file, "%" PRId64, count_at(line, c));
    else
        fprintf(file, "%.9g", number_at(line, c));
}

void write_csv(FILE *file, const struct report *report)
{
    for (size_t i = 0; i < n_line_columns; i++)
        fprintf(file, "%s%s", i ? "," : "", line_columns[i].name);
    fputc('\n', file);
    for (size_t line = 0; line < report->n_lines; line++) {
        for (size_t i = 0; i < n_line_columns; i++) {
            if (i)
                fputc(',', file);
            write_field(file, &report->lines[line], &line_columns[i]);
        }
        fputc('\n', file);
    }
}
