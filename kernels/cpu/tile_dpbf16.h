/* The bf16 tile with vdpbf16ps. Six rows by 64 columns are 24 sums, four registers of weights and
 * one of a broadcast pair: 29 of 32. A pair is broadcast once for its four products, not folded
 * into each as a memory operand: so there are 10 loads to 24 products, where a Zen 5 does two of
 * each a cycle. The empty asm keeps it so. Included by tile_table.h. */
#pragma once

#include "kernels/cpu/tile_kernel.h"

#if defined(__AVX512BF16__)

#define STEPS_PER_VISIT 4u

struct pairs {
    __m512i w0, w1, w2, w3;
};

TILE_INLINE struct span span_dot(int32_t a, struct pairs w, struct span s)
{
    __m512i pair = _mm512_set1_epi32(a);

    __asm__("" : "+v"(pair));
    s.v0 = v_pin(_mm512_dpbf16_ps(s.v0, (__m512bh)pair, (__m512bh)w.w0));
    s.v1 = v_pin(_mm512_dpbf16_ps(s.v1, (__m512bh)pair, (__m512bh)w.w1));
    s.v2 = v_pin(_mm512_dpbf16_ps(s.v2, (__m512bh)pair, (__m512bh)w.w2));
    s.v3 = v_pin(_mm512_dpbf16_ps(s.v3, (__m512bh)pair, (__m512bh)w.w3));
    return s;
}

TILE_INLINE struct sums sums_dot(struct sums s, const int32_t *a, const char *b, uint32_t rows)
{
    __asm__ volatile("" : : : "memory"); /* loads stay in their step */
    struct pairs w = {_mm512_load_si512(b), _mm512_load_si512(b + 64), _mm512_load_si512(b + 128),
                      _mm512_load_si512(b + 192)};

    s.r0 = span_dot(a[0], w, s.r0);
    if (rows > 1)
        s.r1 = span_dot(a[1], w, s.r1);
    if (rows > 2)
        s.r2 = span_dot(a[2], w, s.r2);
    if (rows > 3)
        s.r3 = span_dot(a[3], w, s.r3);
    if (rows > 4)
        s.r4 = span_dot(a[4], w, s.r4);
    if (rows > 5)
        s.r5 = span_dot(a[5], w, s.r5);
    return s;
}

/* a is [steps][rows] pairs. */
TILE_INLINE void tile_bf16(const struct cpu_tile *tile, uint32_t rows)
{
    const char *at = tile->ahead, *end = at + 64 * (size_t)tile->ahead_lines, *b = tile->b;
    const int32_t *a = tile->a;
    uint32_t visits = tile->steps / STEPS_PER_VISIT;
    uint32_t lines = tile->ahead_lines / (visits + 1) + 1;
    struct sums s = sums_begin(tile->c, tile->fresh, rows);

    for (uint32_t visit = 0; visit < visits; visit++) {
        s = sums_dot(s, a, b, rows);
        s = sums_dot(s, a + rows, b + 4 * OPS_PANEL, rows);
        s = sums_dot(s, a + 2 * rows, b + 8 * OPS_PANEL, rows);
        s = sums_dot(s, a + 3 * rows, b + 12 * OPS_PANEL, rows);
        a += STEPS_PER_VISIT * rows;
        b += STEPS_PER_VISIT * 4 * OPS_PANEL;
        at = tile_ahead(at, end, lines);
    }
    for (uint32_t i = 0; i < tile->steps % STEPS_PER_VISIT; i++, a += rows, b += 4 * OPS_PANEL)
        s = sums_dot(s, a, b, rows);
    sums_end(tile->c, s, rows);
}

static inline void pack_bf16(const void *const *x, uint32_t rows, uint32_t steps, void *a)
{
    uint32_t *out = a;

    for (uint32_t r = 0; r < rows; r++) {
        const char *row = x[r];

        for (uint32_t step = 0; step < steps; step++)
            memcpy(&out[step * rows + r], row + 4 * (size_t)step, 4);
    }
}

#endif
