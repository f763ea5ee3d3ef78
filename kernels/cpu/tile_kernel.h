/* Tiles of a matrix product over vec.h: what they share, and DOT in f32. The sums of VEC_TILE
 * vectors by up to 6 rows stay in registers: every loop around them has constant bounds and is
 * unrolled away. Included by tile_table.h. */
#pragma once

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vec.h"

#ifdef VEC_ANY

#if defined(__AVX512F__)
#define VEC_TILE 4u /* vectors across: 6 x 4 of 32 registers */
#else
#define VEC_TILE 1u /* AVX2: 6 x 2 of 16; NEON: 6 x 4 of 32 */
#endif

#define TILE_INLINE static inline __attribute__((always_inline))

TILE_INLINE void tile_load(v16 sum[CPU_TILE_ROWS][VEC_TILE], const struct cpu_tile *tile,
                           uint32_t rows, uint32_t column)
{
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t v = 0; v < VEC_TILE; v++)
            sum[r][v] = tile->fresh ? v_zero() : v_load(tile->c + r * OPS_PANEL + column + 16 * v);
}

TILE_INLINE void tile_store(v16 sum[CPU_TILE_ROWS][VEC_TILE], const struct cpu_tile *tile,
                            uint32_t rows, uint32_t column)
{
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t v = 0; v < VEC_TILE; v++)
            v_store(tile->c + r * OPS_PANEL + column + 16 * v, sum[r][v]);
}

/* Touches the tile's share of the memory to come, a few lines at each of `steps` visits. */
TILE_INLINE const char *tile_ahead(const char *at, const char *end, uint32_t lines)
{
    for (uint32_t i = 0; i < lines && at < end; i++, at += 64)
        __builtin_prefetch(at, 0, 2);
    return at;
}

TILE_INLINE void tile_f32(const struct cpu_tile *tile, uint32_t rows)
{
    const char *at = tile->ahead, *end = at + 64 * (size_t)tile->ahead_lines;
    uint32_t lines = tile->ahead_lines / (tile->steps + 1) + 1;

    for (uint32_t column = 0; column < OPS_PANEL; column += 16 * VEC_TILE) {
        const float *a = tile->a, *b = (const float *)tile->b + column;
        v16 sum[CPU_TILE_ROWS][VEC_TILE];

        tile_load(sum, tile, rows, column);
        for (uint32_t step = 0; step < tile->steps; step++, a += rows, b += OPS_PANEL) {
            v16 w[VEC_TILE];

            for (uint32_t v = 0; v < VEC_TILE; v++)
                w[v] = v_load(b + 16 * v);
            for (uint32_t r = 0; r < rows; r++)
                for (uint32_t v = 0; v < VEC_TILE; v++)
                    sum[r][v] = v_fma(v_set1(a[r]), w[v], sum[r][v]);
            at = tile_ahead(at, end, lines);
        }
        tile_store(sum, tile, rows, column);
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
