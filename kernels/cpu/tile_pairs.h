/* The bf16 tile where there is no instruction for a pair: it is two fma in fp32, odd element first.
 * Included by tile_table.h. */
#pragma once

#include "kernels/cpu/tile_kernel.h"

#if defined(VEC_ANY) && !defined(__AVX512BF16__)

#if defined(__AVX512F__)

/* The even or the odd elements of a span of pairs as fp32. */
TILE_INLINE v16 pairs_even(__m512i pairs)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}

TILE_INLINE v16 pairs_odd(__m512i pairs)
{
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u)));
}

TILE_INLINE struct span span_even(const uint32_t *b)
{
    struct span s = {pairs_even(_mm512_loadu_si512(b)), pairs_even(_mm512_loadu_si512(b + 16)),
                     pairs_even(_mm512_loadu_si512(b + 32)),
                     pairs_even(_mm512_loadu_si512(b + 48))};
    return s;
}

TILE_INLINE struct span span_odd(const uint32_t *b)
{
    struct span s = {pairs_odd(_mm512_loadu_si512(b)), pairs_odd(_mm512_loadu_si512(b + 16)),
                     pairs_odd(_mm512_loadu_si512(b + 32)), pairs_odd(_mm512_loadu_si512(b + 48))};
    return s;
}

#elif defined(__AVX2__)

TILE_INLINE struct span span_even(const uint32_t *b)
{
    __m256i lo = _mm256_loadu_si256((const __m256i *)(const void *)b);
    __m256i hi = _mm256_loadu_si256((const __m256i *)(const void *)(b + 8));
    struct span s = {v_make(_mm256_castsi256_ps(_mm256_slli_epi32(lo, 16)),
                            _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16)))};
    return s;
}

TILE_INLINE struct span span_odd(const uint32_t *b)
{
    __m256 lo = _mm256_loadu_ps((const float *)(const void *)b);
    __m256 hi = _mm256_loadu_ps((const float *)(const void *)(b + 8));
    __m256 high = _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000u));
    struct span s = {v_make(_mm256_and_ps(lo, high), _mm256_and_ps(hi, high))};

    return s;
}

#else

TILE_INLINE struct span span_even(const uint32_t *b)
{
    struct span s;

    for (int i = 0; i < 4; i++)
        s.v0.q[i] = vreinterpretq_f32_u32(vshlq_n_u32(vld1q_u32(b + 4 * i), 16));
    return s;
}

TILE_INLINE struct span span_odd(const uint32_t *b)
{
    uint32x4_t high = vdupq_n_u32(0xffff0000u);
    struct span s;

    for (int i = 0; i < 4; i++)
        s.v0.q[i] = vreinterpretq_f32_u32(vandq_u32(vld1q_u32(b + 4 * i), high));
    return s;
}

#endif

/* a is [steps][rows][odd, even] fp32. */
TILE_INLINE void tile_bf16(const struct cpu_tile *tile, uint32_t rows)
{
    const char *at = tile->ahead, *end = at + 64 * (size_t)tile->ahead_lines;
    uint32_t lines = tile->ahead_lines / (tile->steps + 1) + 1;

    for (uint32_t column = 0; column < OPS_PANEL; column += SPAN) {
        const float *a = tile->a;
        const uint32_t *b = (const uint32_t *)tile->b + column;
        struct sums s = sums_begin(tile->c + column, tile->fresh, rows);

        for (uint32_t step = 0; step < tile->steps; step++, a += 2 * rows, b += OPS_PANEL) {
            s = sums_fma(s, a, 2, span_odd(b), rows);
            __asm__ volatile("" : : : "memory"); /* not both halves of a span at once: registers */
            s = sums_fma(s, a + 1, 2, span_even(b), rows);
            __asm__ volatile("" : : : "memory");
            at = tile_ahead(at, end, lines);
        }
        sums_end(tile->c + column, s, rows);
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
