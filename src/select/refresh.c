/* SPDX-License-Identifier: MIT
 * refresh.c - when a sequence selects again, and how old the list is that it uses. */
#include "select/select.h"

static clattn_status check_schedule(const clattn_refresh *r, char *text, size_t size)
{
    if (r->size != sizeof *r)
        return clattn__refuse(text, size, CLATTN_BAD_STRUCT_SIZE,
                              "clattn_refresh.size is %zu, this library's is %zu", r->size, sizeof *r);
    if (r->flags & ~CLATTN_LATE_LISTS)
        return clattn__refuse(text, size, CLATTN_BAD_FLAGS, "flags is 0x%x", (unsigned)r->flags);
    if (r->n_stages < 1 || r->n_stages > CLATTN_MAX_STAGES)
        return clattn__refuse(text, size, CLATTN_BAD_COUNT, "n_stages is %d; 1 to %d are possible",
                              (int)r->n_stages, CLATTN_MAX_STAGES);
    for (int i = 0; i < r->n_stages; i++)
        if (r->intervals[i] < 1)
            return clattn__refuse(text, size, CLATTN_BAD_COUNT, "intervals[%d] is %d; it must be 1 or more",
                                  i, (int)r->intervals[i]);
    if (r->dense_below < 0)
        return clattn__refuse(text, size, CLATTN_BAD_COUNT, "dense_below is %lld", (long long)r->dense_below);
    return CLATTN_OK;
}

clattn_status clattn_refresh_check(const clattn_refresh *refresh, const clattn_select *select, char *text,
                                   size_t size)
{
    if (text && size)
        text[0] = 0;
    if (!refresh || !select)
        return clattn__refuse(text, size, CLATTN_NULL_ARGUMENT, "refresh or select");
    clattn_status status = check_schedule(refresh, text, size);
    if (!status && select->size != sizeof *select)
        status =
            clattn__refuse(text, size, CLATTN_BAD_STRUCT_SIZE,
                           "clattn_select.size is %zu, this library's is %zu", select->size, sizeof *select);
    if (status)
        return status;
    const int32_t stages = select->method == CLATTN_STAGED ? select->n_stages : 1;
    if (refresh->n_stages != stages)
        return clattn__refuse(text, size, CLATTN_BAD_COUNT, "n_stages is %d, and the selection has %d",
                              (int)refresh->n_stages, (int)stages);
    if (refresh->dense_below != select->dense_below)
        return clattn__refuse(text, size, CLATTN_BAD_COUNT,
                              "dense_below is %lld, and the selection's is %lld",
                              (long long)refresh->dense_below, (long long)select->dense_below);
    return CLATTN_OK;
}

/* ---- a step ---- */
static int32_t find_start(const clattn_refresh *r, const clattn_refresh_state *s, int32_t length)
{
    if (length < r->dense_below)
        return CLATTN_REUSE;
    if (s->steps == 0 || s->stale)
        return 0;
    for (int32_t i = 0; i < r->n_stages; i++)
        if (s->steps % r->intervals[i] == 0)
            return i;
    return CLATTN_REUSE;
}

/* Which list serves from now on: the one that this step makes, or with late lists the newest before it. */
static int32_t use_list(clattn_refresh_state *s, bool late, int32_t length, int32_t start)
{
    const bool fresh = s->steps == 0 || s->stale || !late;
    const int64_t made = s->made;
    const int32_t made_at = s->made_at;
    s->made = s->steps;
    s->made_at = start == 0 ? length : made_at;
    s->used = fresh ? s->made : made;
    s->used_at = fresh ? s->made_at : made_at;
    s->stale = 0;
    return !late ? 0 : fresh ? CLATTN_TAKE_AFTER : CLATTN_TAKE_BEFORE;
}

static int32_t age_of(const clattn_refresh_state *s, int64_t length)
{
    return length > s->used_at ? (int32_t)(length - s->used_at) : 0;
}

static clattn_status check_step(const clattn_refresh *refresh, const clattn_refresh_state *states, int64_t n,
                                const int32_t *lengths, const int32_t *starts, const int32_t *ages,
                                const int32_t *takes)
{
    if (!refresh)
        return CLATTN_NULL_ARGUMENT;
    const clattn_status status = check_schedule(refresh, NULL, 0);
    if (status || n < 0)
        return status ? status : CLATTN_BAD_COUNT;
    if (n > 0 && (!states || !lengths || !starts || !ages || (refresh->flags & CLATTN_LATE_LISTS && !takes)))
        return CLATTN_NULL_ARGUMENT;
    for (int64_t b = 0; b < n; b++)
        if (lengths[b] < 0)
            return CLATTN_BAD_COUNT;
    return CLATTN_OK;
}

clattn_status clattn_refresh_step(const clattn_refresh *refresh, clattn_refresh_state *states, int64_t n,
                                  const int32_t *lengths, int32_t *starts, int32_t *ages, int32_t *takes)
{
    clattn_status status = check_step(refresh, states, n, lengths, starts, ages, takes);
    if (status)
        return status;
    for (int64_t b = 0; b < n; b++) {
        clattn_refresh_state *s = &states[b];
        const int32_t start = find_start(refresh, s, lengths[b]);
        const int32_t take =
            start == CLATTN_REUSE ? 0 : use_list(s, refresh->flags & CLATTN_LATE_LISTS, lengths[b], start);
        starts[b] = start;
        ages[b] = lengths[b] < refresh->dense_below ? 0 : age_of(s, lengths[b]);
        s->stale |= lengths[b] < refresh->dense_below; /* what is listed is of another time, or nothing */
        if (takes)
            takes[b] = take;
        s->began[start]++;
        s->steps++;
    }
    return CLATTN_OK;
}

/* ---- what has changed, what is known ---- */
clattn_status clattn_refresh_invalidate(clattn_refresh_state *state, const clattn_select *select,
                                        int64_t first)
{
    if (!state || !select)
        return CLATTN_NULL_ARGUMENT;
    if (select->size != sizeof *select)
        return CLATTN_BAD_STRUCT_SIZE;
    const int64_t at = state->made_at > state->used_at ? state->made_at : state->used_at;
    if (first < at - select->window)
        state->stale = 1;
    return CLATTN_OK;
}

/* Keys past the sinks that lie before the last row's window and not before the candidates' end. */
static int64_t count_uncovered(const clattn_refresh_state *s, const clattn_select *select, int64_t length)
{
    const int64_t end = length - select->window, candidates_end = s->used_at - select->window;
    const int64_t begin = candidates_end > select->sink ? candidates_end : select->sink;
    if (length < select->dense_below)
        return 0;
    return s->steps > 0 && end > begin && !(select->flags & CLATTN_GROW_WINDOW) ? end - begin : 0;
}

clattn_status clattn_refresh_describe(const clattn_refresh_state *state, const clattn_select *select,
                                      int64_t length, clattn_refresh_report *report)
{
    if (!state || !select || !report)
        return CLATTN_NULL_ARGUMENT;
    if (select->size != sizeof *select)
        return CLATTN_BAD_STRUCT_SIZE;
    report->steps = state->steps;
    for (int i = 0; i <= CLATTN_MAX_STAGES; i++)
        report->began[i] = state->began[i];
    report->list_age = state->steps > 0 ? state->steps - 1 - state->used : 0;
    report->age = length < select->dense_below ? 0 : age_of(state, length);
    report->uncovered = count_uncovered(state, select, length);
    return CLATTN_OK;
}
