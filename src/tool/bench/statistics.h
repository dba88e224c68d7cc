/* SPDX-License-Identifier: MIT
 * statistics.h - what clattn bench says of repeated times: all by order, so that outliers count as any other.
 */
#ifndef STATISTICS_H
#define STATISTICS_H

/* So much of n values, one or more, lies below it; sorts them. */
double quantile(double *values, int n, double at);

/* Of n > 0 times in the order in which they were taken. */
struct summary {
    double median;
    double low,
        high; /* hold the true median with 95 % confidence; NAN below 6 values, where no two of them do */
    double spread;     /* distance of the quartiles as a part of the median */
    double drift;      /* the second half's median over the first's, less 1; NAN below 6 values */
    double separation; /* of the halves, in standard deviations of chance */
};
struct summary summarise(const double *times, int n);
/* Whether the second half is slower or faster than chance makes it. */
int has_drifted(const struct summary *s);
/* Half the interval as a part of the median; NAN if there is none. */
double uncertainty(const struct summary *s);

#endif
