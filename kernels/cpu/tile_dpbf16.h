/* The bf16 tile with vdpbf16ps. Six rows by 64 columns are 24 sums, four registers of weights and
 * one of a broadcast pair: 29 of 32. A pair is broadcast once for its four products, not folded
 * into each as a memory operand: so there are 10 loads to 24 products, where a Zen 5 does two of
 * each a cycle. The empty asm keeps it so. Included by tile_table.h. */
#pragma once

#include "kernels/cpu/tile_kernel.h"

#if defined(__AVX512BF16__)

#define STEPS_PER_VISIT 4u

TILE_INLINE void tile_step(v16 sum[CPU_TILE_ROWS][VEC_TILE], const int32_t *a, const char *b,
                           uint32_t rows)
{
    __m512i w[VEC_TILE];

    for (uint32_t v = 0; v < VEC_TILE; v++)
        w[v] = _mm512_load_si512(b + 64 * v);
    for (uint32_t r = 0; r < rows; r++) {
        __m512i pair = _mm512_set1_epi32(a[r]);

        __asm__("" : "+v"(pair));
        for (uint32_t v = 0; v < VEC_TILE; v++)
            sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)pair, (__m512bh)w[v]);
    }
}

/* a is [steps][rows] pairs. */
TILE_INLINE void tile_bf16(const struct cpu_tile *tile, uint32_t rows)
{
    const char *at = tile->ahead, *end = at + 64 * (size_t)tile->ahead_lines;
    const char *b = tile->b;
    const int32_t *a = tile->a;
    uint32_t visits = tile->steps / STEPS_PER_VISIT;
    uint32_t lines = (tile->ahead_lines + visits) / (visits + 1) + 1;
    v16 sum[CPU_TILE_ROWS][VEC_TILE];

    tile_load(sum, tile, rows, 0);
    for (uint32_t visit = 0; visit < visits; visit++) {
        for (uint32_t i = 0; i < STEPS_PER_VISIT; i++)
            tile_step(sum, a + i * rows, b + i * 4 * OPS_PANEL, rows);
        a += STEPS_PER_VISIT * rows;
        b += STEPS_PER_VISIT * 4 * OPS_PANEL;
        at = tile_ahead(at, end, lines);
    }
    for (uint32_t i = 0; i < tile->steps % STEPS_PER_VISIT; i++, a += rows, b += 4 * OPS_PANEL)
        tile_step(sum, a, b, rows);
    tile_store(sum, tile, rows, 0);
}

static inline void pack_bf16(const void *const *x, uint32_t rows, uint32_t steps, void *a)
{
    uint32_t *out = a;

    for (uint32_t r = 0; r < rows; r++) {
        const char *row = x[r];

        for (uint32_t step = 0; step < steps; step++)
            memcpy(&out[step * rows + r], row + 4 * step, 4);
    }
}

#endif
