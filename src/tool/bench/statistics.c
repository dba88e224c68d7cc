/* SPDX-License-Identifier: MIT
 * statistics.c - medians, their interval, spread and drift of repeated times. */
#include "tool/bench/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST 256
#define LEAST_FOR_INTERVAL                                                                                   \
    6 /* 2 / 2^6 < 1 - CONFIDENCE: the smallest and the largest of six are an interval */
#define CONFIDENCE  0.95
#define LEAST_DRIFT 0.05 /* less is not worth a warning */
#define CHANCE      2.5  /* standard deviations: steady halves are as far apart in one series of 80 */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double quantile(double *values, int n, double at)
{
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    const double place = at * (n - 1);
    const int below = (int)place, above = below + 1 < n ? below + 1 : below;
    return values[below] + (place - below) * (values[above] - values[below]);
}

/* How many of n values are below the median is binomial with p = 1/2, whatever the distribution: the k-th
 * smallest and the k-th largest hold the median but for twice the chance of fewer than k.  The largest k
 * whose chance is small enough. */
static int interval_rank(int n)
{
    double chance = pow(0.5, n), below = 0;
    int k = 0;
    while (2 * (below + chance) <= 1 - CONFIDENCE) {
        below += chance;
        chance *= (double)(n - k) / (k + 1);
        k++;
    }
    return k;
}

/* How far apart two halves are by Mann and Whitney: pairs in which the second's is the larger, in standard
 * deviations from a half of them; less 1/2 for its steps. */
static double separation(const double *first, const double *second, int n)
{
    double larger = 0, pairs = (double)n * n;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            larger += second[k] > first[i] ? 1 : second[k] == first[i] ? 0.5 : 0;
    return fmax(0, fabs(larger - pairs / 2) - 0.5) / sqrt(pairs * (2 * n + 1) / 12);
}

static double relative_spread(double *values, int n)
{
    return (quantile(values, n, 0.75) - quantile(values, n, 0.25)) / quantile(values, n, 0.5);
}

struct summary summarise(const double *times, int n)
{
    struct summary s = {.low = NAN, .high = NAN, .drift = NAN, .separation = NAN};
    double values[MOST];
    n = n > MOST ? MOST : n;
    memcpy(values, times, (size_t)n * sizeof *values);
    if (n >= LEAST_FOR_INTERVAL) {
        const int half = n / 2; /* the one in the middle is in neither */
        double *second = values + (n - half);
        s.separation = separation(values, second, half);
        s.drift = quantile(second, half, 0.5) / quantile(values, half, 0.5) - 1;
    }
    s.median = quantile(values, n, 0.5);
    s.spread = relative_spread(values, n);
    if (n >= LEAST_FOR_INTERVAL) {
        const int k = interval_rank(n);
        s.low = values[k - 1];
        s.high = values[n - k];
    }
    return s;
}

int has_drifted(const struct summary *s)
{
    return fabs(s->drift) > LEAST_DRIFT && s->separation > CHANCE;
}

double uncertainty(const struct summary *s)
{
    return (s->high - s->low) / 2 / s->median;
}
