/* SPDX-License-Identifier: MIT
 * parallel.c - threads that take part after part; the caller is one of them. */
#include "tool/parallel.h"

#include <pthread.h>
#include <unistd.h>

#define MOST_THREADS 64
#define MOST_PARTS 256
#define LEAST_WORK 4e6 /* operations of a part: some milliseconds, where a thread takes 50 us to begin */

struct work {
    pthread_mutex_t lock;
    int64_t next, parts; /* next: the first that nobody has begun */
    void (*run)(void *context, int64_t part);
    void *context;
};

static int64_t take_part(struct work *w)
{
    pthread_mutex_lock(&w->lock);
    const int64_t part = w->next++;
    pthread_mutex_unlock(&w->lock);
    return part;
}

static void *work_through(void *work)
{
    struct work *w = work;
    for (int64_t part; (part = take_part(w)) < w->parts;)
        w->run(w->context, part);
    return NULL;
}

static int64_t cores(void)
{
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n < MOST_THREADS ? n : MOST_THREADS;
}

/* A thread that cannot be made is no failure: the others take its parts. */
void in_parallel(int64_t parts, void (*run)(void *context, int64_t part), void *context)
{
    struct work work = {PTHREAD_MUTEX_INITIALIZER, 0, parts, run, context};
    pthread_t threads[MOST_THREADS];
    const int64_t most = cores(), wanted = parts < most ? parts : most;
    int n = 0;
    while (n < wanted - 1 && !pthread_create(&threads[n], NULL, work_through, &work))
        n++;
    work_through(&work);
    while (n > 0)
        pthread_join(threads[--n], NULL);
    pthread_mutex_destroy(&work.lock);
}

int64_t part_begin(int64_t n, int64_t parts, int64_t part)
{
    return n / parts * part + n % parts * part / parts;
}

int64_t parts_worth(int64_t n, double each)
{
    const double parts = (double)n * each / LEAST_WORK;
    const int64_t most = n < MOST_PARTS ? n : MOST_PARTS;
    return parts < 1 || most < 1 ? 1 : parts < (double)most ? (int64_t)parts : most;
}
