/* SPDX-License-Identifier: MIT
 * tables.cl - the table of an array's minima and maxima, from which masks tell that a tile is EMPTY or FULL:
 *
 *     table[a][b][r][c][0 and 1] = least and most of array[a][b][i][j] over rows i, columns j of block r, c
 *
 * SHARE work-items a block, each every SHARE-th of a row's elements (words of bits), so that neighbours read
 * neighbours; blocks in the table's order: dims[0] * dims[1] * ceil(dims[2] / rows) * ceil(dims[3] / columns).
 * Floats are kept as their bits; a block that holds a NaN is -inf .. inf.  Readers: xi_itable and others in
 * rule_interval.clh.  The first item also sets the counters of the kernel that follows.
 * -D parameters: ELEMENT clattn_type of the array (0 f32, 1 f16, 2 bf16, 3 i32, 4 i8, 5 bits: 32 a word from
 * the lowest bit on, rows begin with a word); LANES 16, or 1 where wide vectors are slow; GROUP items of a
 * work-group, a multiple of SHARE; SHARE a power of two, with LANES 16 just 1.
 */
#if !defined(ELEMENT) || !defined(LANES) || !defined(GROUP) || !defined(SHARE)
#error "tables.cl: ELEMENT, LANES, GROUP, SHARE must be defined"
#endif
#include "storage.clh"
#define I64 long
#define I32 int
#include "tables_args.clh"

#if ELEMENT == 5
#define STORED_ELEMENT uint
#elif ELEMENT == 4
#define STORED_ELEMENT char
#elif ELEMENT == 3
#define STORED_ELEMENT int
#else
#define STORED_ELEMENT STORED(ELEMENT)
#endif

#if ELEMENT <= 2
#define NUMBER float
#define NUMBER16 float16
#define LEAST INFINITY
#define MOST (-INFINITY)
#define READ1(p, i) LOAD1(ELEMENT, p, i)
#define READ16(p, i) LOAD16(ELEMENT, p, i)
#define BITS(x) as_int(x)
#else
#define NUMBER int
#define NUMBER16 int16
#define LEAST INT_MAX
#define MOST INT_MIN
#define READ1(p, i) ((int)(p)[i])
#define READ16(p, i) convert_int16(vload16(0, (p) + (i)))
#define BITS(x) (x)
#endif

struct bounds {
    NUMBER lo, hi;
    int has_nan;
};

#if ELEMENT == 5
/* Bits from..to-1 of a row: words whole, but for the first and the last.  Of the words those of item `mine`. */
static inline void look(struct bounds *b, __global const uint *row, int from, int to, int mine)
{
    uint any_0 = 0u, any_1 = 0u;
    for (int w = (from >> 5) + mine; w <= (to - 1) >> 5; w += SHARE) {
        uint mask = 0xffffffffu;
        mask = from > 32 * w ? mask << (from - 32 * w) : mask;
        mask = to - 32 * w < 32 ? mask & ~(0xffffffffu << (to - 32 * w)) : mask;
        any_0 |= ~row[w] & mask;
        any_1 |= row[w] & mask;
    }
    b->lo = min(b->lo, any_0 == 0u ? 1 : 0);
    b->hi = max(b->hi, any_1 != 0u ? 1 : 0);
}
#else
static inline void look_1(struct bounds *b, NUMBER x)
{
#if ELEMENT <= 2
    b->has_nan |= isnan(x);
#endif
    b->lo = x < b->lo ? x : b->lo;
    b->hi = x > b->hi ? x : b->hi;
}

/* Elements from..to-1 of a row, of these item `mine`'s. */
static inline void look(struct bounds *b, __global const STORED_ELEMENT *row, int from, int to, int mine)
{
    int i = from + mine;
#if LANES == 16
    if (to - i >= 16) {
        NUMBER16 lo = READ16(row, i), hi = lo;
#if ELEMENT <= 2
        int16 nan = isnan(lo);
#endif
        for (i += 16; i + 16 <= to; i += 16) {
            NUMBER16 x = READ16(row, i);
#if ELEMENT <= 2
            nan |= isnan(x);
#endif
            lo = min(lo, x);
            hi = max(hi, x);
        }
        NUMBER los[16], his[16];
        vstore16(lo, 0, los);
        vstore16(hi, 0, his);
        for (int j = 0; j < 16; j++) {
            look_1(b, los[j]);
            look_1(b, his[j]);
        }
#if ELEMENT <= 2
        b->has_nan |= any(nan);
#endif
    }
#endif
    for (; i < to; i += SHARE)
        look_1(b, READ1(row, i));
}
#endif

#if SHARE > 1
/* What the items of a block found, for the first of them. */
static inline struct bounds join(struct bounds b, __local struct bounds *found, int item, int mine)
{
    found[item] = b;
    for (int far = SHARE / 2; far > 0; far /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (mine < far) {
            const struct bounds other = found[item + far];
            b.lo = other.lo < b.lo ? other.lo : b.lo;
            b.hi = other.hi > b.hi ? other.hi : b.hi;
            b.has_nan |= other.has_nan;
            found[item] = b;
        }
    }
    return b;
}
#endif

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
tables(__global const STORED_ELEMENT *array, __global int *table, const struct tables_args a)
{
    const int height = a.dims[2], width = a.dims[3];
    const int across = (width - 1) / a.columns + 1, down = (height - 1) / a.rows + 1;
    const int item = (int)get_local_id(0), mine = item % SHARE;
    const long block = (long)get_global_id(0) / SHARE, matrix = block / ((long)across * down);
    const int there = matrix < (long)a.dims[0] * a.dims[1];
    const int in_matrix = (int)(block - matrix * across * down);
    const int row = in_matrix / across * a.rows, column = in_matrix % across * a.columns;
    const int row_end = row + min(a.rows, height - row), column_end = column + min(a.columns, width - column);
    const long row_size = ELEMENT == 5 ? (width - 1) / 32 + 1 : width;
    __global int *to = table + a.at + 2 * block;
    struct bounds b = {LEAST, MOST, 0};
    if (block == 0 && mine == 0 && a.counters_at >= 0)
        table[a.counters_at] = table[a.counters_at + 1] = 0;
    for (int i = row; there && i < row_end; i++)
        look(&b, array + (matrix * height + i) * row_size, column, column_end, mine);
#if SHARE > 1
    __local struct bounds found[GROUP];
    b = join(b, found, item, mine);
#endif
    if (!there || mine != 0)
        return;
#if ELEMENT <= 2
    b.lo = b.has_nan ? -INFINITY : b.lo;
    b.hi = b.has_nan ? INFINITY : b.hi;
#endif
    to[0] = BITS(b.lo);
    to[1] = BITS(b.hi);
}
