/* Tiles of a matrix product over vec.h: what they share, and DOT in f32. A tile is up to six rows
 * of spans; a span is 64 columns where there are 32 wide registers, else 16. The sums are named
 * one by one and not kept in an array, which GCC 12 would send through the stack before and after
 * the loop; every product is pinned in its place, or clang 14 sinks them all to the loop's end,
 * past the loads of several steps, and spills. Included by tile_table.h. */
#pragma once

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vec.h"

#ifdef VEC_ANY

#define TILE_INLINE static inline __attribute__((always_inline))

/* ---- spans ---- */

#if defined(__AVX512F__)

#define SPAN 64u

struct span {
    v16 v0, v1, v2, v3;
};

/* Zeros where fresh; no branch, as that would again lead through the stack. */
TILE_INLINE struct span span_begin(const float *c, bool fresh)
{
    __mmask16 mask = fresh ? 0 : 0xffff;
    struct span s = {
        _mm512_maskz_load_ps(mask, c),
        _mm512_maskz_load_ps(mask, c + 16),
        _mm512_maskz_load_ps(mask, c + 32),
        _mm512_maskz_load_ps(mask, c + 48),
    };
    return s;
}

TILE_INLINE struct span span_load(const float *p)
{
    struct span s = {v_load(p), v_load(p + 16), v_load(p + 32), v_load(p + 48)};
    return s;
}

TILE_INLINE void span_store(float *p, struct span s)
{
    v_store(p, s.v0);
    v_store(p + 16, s.v1);
    v_store(p + 32, s.v2);
    v_store(p + 48, s.v3);
}

/* s + a * w */
TILE_INLINE struct span span_fma(float a, struct span w, struct span s)
{
    v16 all = v_set1(a);

    s.v0 = v_pin(v_fma(all, w.v0, s.v0));
    s.v1 = v_pin(v_fma(all, w.v1, s.v1));
    s.v2 = v_pin(v_fma(all, w.v2, s.v2));
    s.v3 = v_pin(v_fma(all, w.v3, s.v3));
    return s;
}

#else

#define SPAN 16u

struct span {
    v16 v0;
};

TILE_INLINE struct span span_load(const float *p)
{
    struct span s = {v_load(p)};
    return s;
}

TILE_INLINE struct span span_begin(const float *c, bool fresh)
{
    struct span s = {fresh ? v_zero() : v_load(c)};
    return s;
}

TILE_INLINE void span_store(float *p, struct span s)
{
    v_store(p, s.v0);
}

TILE_INLINE struct span span_fma(float a, struct span w, struct span s)
{
    s.v0 = v_pin(v_fma(v_set1(a), w.v0, s.v0));
    return s;
}

#endif

/* ---- the sums of a tile; `rows` is a constant wherever these are inlined ---- */

struct sums {
    struct span r0, r1, r2, r3, r4, r5;
};

TILE_INLINE struct sums sums_begin(const float *c, bool fresh, uint32_t rows)
{
    struct sums s = {0};

    s.r0 = span_begin(c, fresh);
    if (rows > 1)
        s.r1 = span_begin(c + OPS_PANEL, fresh);
    if (rows > 2)
        s.r2 = span_begin(c + 2 * OPS_PANEL, fresh);
    if (rows > 3)
        s.r3 = span_begin(c + 3 * OPS_PANEL, fresh);
    if (rows > 4)
        s.r4 = span_begin(c + 4 * OPS_PANEL, fresh);
    if (rows > 5)
        s.r5 = span_begin(c + 5 * OPS_PANEL, fresh);
    return s;
}

TILE_INLINE void sums_end(float *c, struct sums s, uint32_t rows)
{
    span_store(c, s.r0);
    if (rows > 1)
        span_store(c + OPS_PANEL, s.r1);
    if (rows > 2)
        span_store(c + 2 * OPS_PANEL, s.r2);
    if (rows > 3)
        span_store(c + 3 * OPS_PANEL, s.r3);
    if (rows > 4)
        span_store(c + 4 * OPS_PANEL, s.r4);
    if (rows > 5)
        span_store(c + 5 * OPS_PANEL, s.r5);
}

/* Adds a[row * stride] * w to each row's sums. */
TILE_INLINE struct sums sums_fma(struct sums s, const float *a, uint32_t stride, struct span w,
                                 uint32_t rows)
{
    s.r0 = span_fma(a[0], w, s.r0);
    if (rows > 1)
        s.r1 = span_fma(a[stride], w, s.r1);
    if (rows > 2)
        s.r2 = span_fma(a[2 * stride], w, s.r2);
    if (rows > 3)
        s.r3 = span_fma(a[3 * stride], w, s.r3);
    if (rows > 4)
        s.r4 = span_fma(a[4 * stride], w, s.r4);
    if (rows > 5)
        s.r5 = span_fma(a[5 * stride], w, s.r5);
    return s;
}

/* Touches up to `lines` lines of the memory to come. */
TILE_INLINE const char *tile_ahead(const char *at, const char *end, uint32_t lines)
{
    for (uint32_t i = 0; i < lines && at < end; i++, at += 64)
        __builtin_prefetch(at, 0, 3);
    return at;
}

/* ---- f32 ---- */

TILE_INLINE void tile_f32(const struct cpu_tile *tile, uint32_t rows)
{
    const char *at = tile->ahead, *end = at + 64 * (size_t)tile->ahead_lines;
    uint32_t lines = tile->ahead_lines / (tile->steps + 1) + 1;

    for (uint32_t column = 0; column < OPS_PANEL; column += SPAN) {
        const float *a = tile->a, *b = (const float *)tile->b + column;
        struct sums s = sums_begin(tile->c + column, tile->fresh, rows);

        for (uint32_t step = 0; step < tile->steps; step++, a += rows, b += OPS_PANEL) {
            s = sums_fma(s, a, 1, span_load(b), rows);
            at = tile_ahead(at, end, lines);
        }
        sums_end(tile->c + column, s, rows);
    }
}

static inline void pack_f32(const void *const *x, uint32_t rows, uint32_t steps, void *a)
{
    float *out = a;

    for (uint32_t r = 0; r < rows; r++) {
        const float *row = x[r];

        for (uint32_t step = 0; step < steps; step++)
            out[step * rows + r] = row[step];
    }
}

#endif
