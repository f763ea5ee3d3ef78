/* The bf16 tile where there is no instruction for a pair: it is two fma in fp32, odd element first.
 * Included by tile_table.h. */
#pragma once

#include "kernels/cpu/tile_kernel.h"

#if defined(VEC_ANY) && !defined(__AVX512BF16__)

/* The even and odd elements of sixteen pairs as fp32. */
TILE_INLINE void tile_pairs(const uint32_t *b, v16 *even, v16 *odd)
{
#if defined(__AVX512F__)
    __m512i pairs = _mm512_loadu_si512(b);

    *even = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
    *odd = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u)));
#elif defined(__AVX2__)
    __m256i lo = _mm256_loadu_si256((const __m256i *)(const void *)b);
    __m256i hi = _mm256_loadu_si256((const __m256i *)(const void *)(b + 8));
    __m256i high = _mm256_set1_epi32((int)0xffff0000u);

    even->lo = _mm256_castsi256_ps(_mm256_slli_epi32(lo, 16));
    even->hi = _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16));
    odd->lo = _mm256_castsi256_ps(_mm256_and_si256(lo, high));
    odd->hi = _mm256_castsi256_ps(_mm256_and_si256(hi, high));
#else
    for (int i = 0; i < 4; i++) {
        uint32x4_t pairs = vld1q_u32(b + 4 * i);

        even->q[i] = vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16));
        odd->q[i] = vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000u)));
    }
#endif
}

/* a is [steps][rows][odd, even] fp32. */
TILE_INLINE void tile_bf16(const struct cpu_tile *tile, uint32_t rows)
{
    const char *at = tile->ahead, *end = at + 64 * (size_t)tile->ahead_lines;
    uint32_t lines = tile->ahead_lines / (tile->steps + 1) + 1;

    for (uint32_t column = 0; column < OPS_PANEL; column += 16 * VEC_TILE) {
        const float *a = tile->a;
        const uint32_t *b = (const uint32_t *)tile->b + column;
        v16 sum[CPU_TILE_ROWS][VEC_TILE];

        tile_load(sum, tile, rows, column);
        for (uint32_t step = 0; step < tile->steps; step++, a += 2 * rows, b += OPS_PANEL) {
            v16 even[VEC_TILE], odd[VEC_TILE];

            for (uint32_t v = 0; v < VEC_TILE; v++)
                tile_pairs(b + 16 * v, &even[v], &odd[v]);
            for (uint32_t r = 0; r < rows; r++)
                for (uint32_t v = 0; v < VEC_TILE; v++)
                    sum[r][v] = v_fma(v_set1(a[2 * r]), odd[v], sum[r][v]);
            for (uint32_t r = 0; r < rows; r++)
                for (uint32_t v = 0; v < VEC_TILE; v++)
                    sum[r][v] = v_fma(v_set1(a[2 * r + 1]), even[v], sum[r][v]);
            at = tile_ahead(at, end, lines);
        }
        tile_store(sum, tile, rows, column);
    }
}

static inline void pack_bf16(const void *const *x, uint32_t rows, uint32_t steps, void *a)
{
    float *out = a;

    for (uint32_t r = 0; r < rows; r++) {
        const uint16_t *row = x[r];

        for (uint32_t step = 0; step < steps; step++) {
            out[2 * (step * rows + r)] = f32_of_bf16(row[2 * step + 1]);
            out[2 * (step * rows + r) + 1] = f32_of_bf16(row[2 * step]);
        }
    }
}

#endif
