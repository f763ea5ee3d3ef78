/* Sixteen 32-bit integers beside vec.h's sixteen floats: what sampling needs. */
#pragma once

#include "kernels/cpu/vec.h"

#if defined(__AVX512F__)

typedef __m512i w16;

static inline w16 w_set1(uint32_t x)
{
    return _mm512_set1_epi32((int)x);
}
static inline w16 w_load(const uint32_t *p)
{
    return _mm512_loadu_si512(p);
}
static inline void w_store(uint32_t *p, w16 x)
{
    _mm512_storeu_si512(p, x);
}
static inline w16 w_add(w16 a, w16 b)
{
    return _mm512_add_epi32(a, b);
}
static inline w16 w_and(w16 a, w16 b)
{
    return _mm512_and_si512(a, b);
}
static inline w16 w_xor(w16 a, w16 b)
{
    return _mm512_xor_si512(a, b);
}
static inline w16 w_half(w16 a)
{
    return _mm512_srli_epi32(a, 1);
}
static inline w16 w_add_where(m16 mask, w16 a, w16 b)
{
    return _mm512_mask_add_epi32(a, mask, a, b);
}
/* Signed. */
static inline v16 v_of_int(w16 a)
{
    return _mm512_cvtepi32_ps(a);
}
/* Truncates; |x| < 2^31. */
static inline w16 w_of_float(v16 x)
{
    return _mm512_cvttps_epi32(x);
}
static inline w16 w_bits(v16 x)
{
    return _mm512_castps_si512(x);
}
static inline m16 v_at_least(v16 a, v16 b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}
static inline m16 m_both(m16 a, m16 b)
{
    return a & b;
}
/* Lane i as bit i. */
static inline uint32_t m_bits(m16 mask)
{
    return mask;
}
/* 32 x 32 to 64 bits, lower and upper half. */
static inline void w_multiply(w16 a, uint32_t b, w16 *low, w16 *high)
{
    __m512i by = _mm512_set1_epi64(b);
    __m512i even = _mm512_mul_epu32(a, by), odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), by);

    *low = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
    *high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
}
/* Four by four numbers in each quarter: w[k] lane 4q + j to w[j] lane 4q + k. */
static inline void w_transpose(w16 w[4])
{
    __m512i a = _mm512_unpacklo_epi32(w[0], w[1]), b = _mm512_unpackhi_epi32(w[0], w[1]);
    __m512i c = _mm512_unpacklo_epi32(w[2], w[3]), d = _mm512_unpackhi_epi32(w[2], w[3]);

    w[0] = _mm512_unpacklo_epi64(a, c);
    w[1] = _mm512_unpackhi_epi64(a, c);
    w[2] = _mm512_unpacklo_epi64(b, d);
    w[3] = _mm512_unpackhi_epi64(b, d);
}

#elif defined(__AVX2__)

typedef struct {
    __m256i lo, hi;
} w16;

static inline w16 w_make(__m256i lo, __m256i hi)
{
    w16 w = {lo, hi};
    return w;
}
static inline w16 w_set1(uint32_t x)
{
    return w_make(_mm256_set1_epi32((int)x), _mm256_set1_epi32((int)x));
}
static inline w16 w_load(const uint32_t *p)
{
    return w_make(_mm256_loadu_si256((const __m256i *)(const void *)p),
                  _mm256_loadu_si256((const __m256i *)(const void *)(p + 8)));
}
static inline void w_store(uint32_t *p, w16 x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, x.lo);
    _mm256_storeu_si256((__m256i *)(void *)(p + 8), x.hi);
}
static inline w16 w_add(w16 a, w16 b)
{
    return w_make(_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi));
}
static inline w16 w_and(w16 a, w16 b)
{
    return w_make(_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi));
}
static inline w16 w_xor(w16 a, w16 b)
{
    return w_make(_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi));
}
static inline w16 w_half(w16 a)
{
    return w_make(_mm256_srli_epi32(a.lo, 1), _mm256_srli_epi32(a.hi, 1));
}
static inline w16 w_bits(v16 x)
{
    return w_make(_mm256_castps_si256(x.lo), _mm256_castps_si256(x.hi));
}
static inline w16 w_add_where(m16 mask, w16 a, w16 b)
{
    return w_add(a, w_and(w_bits(mask), b));
}
static inline v16 v_of_int(w16 a)
{
    return v_make(_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi));
}
static inline w16 w_of_float(v16 x)
{
    return w_make(_mm256_cvttps_epi32(x.lo), _mm256_cvttps_epi32(x.hi));
}
static inline m16 v_at_least(v16 a, v16 b)
{
    return v_make(_mm256_cmp_ps(a.lo, b.lo, _CMP_GE_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GE_OQ));
}
static inline m16 m_both(m16 a, m16 b)
{
    return v_make(_mm256_and_ps(a.lo, b.lo), _mm256_and_ps(a.hi, b.hi));
}
static inline uint32_t m_bits(m16 mask)
{
    return (uint32_t)_mm256_movemask_ps(mask.lo) | (uint32_t)_mm256_movemask_ps(mask.hi) << 8;
}
static inline void w_multiply_half(__m256i a, __m256i by, __m256i *low, __m256i *high)
{
    __m256i even = _mm256_mul_epu32(a, by), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), by);

    *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}
static inline void w_multiply(w16 a, uint32_t b, w16 *low, w16 *high)
{
    __m256i by = _mm256_set1_epi64x(b);

    w_multiply_half(a.lo, by, &low->lo, &high->lo);
    w_multiply_half(a.hi, by, &low->hi, &high->hi);
}
static inline void w_transpose_half(__m256i *w0, __m256i *w1, __m256i *w2, __m256i *w3)
{
    __m256i a = _mm256_unpacklo_epi32(*w0, *w1), b = _mm256_unpackhi_epi32(*w0, *w1);
    __m256i c = _mm256_unpacklo_epi32(*w2, *w3), d = _mm256_unpackhi_epi32(*w2, *w3);

    *w0 = _mm256_unpacklo_epi64(a, c);
    *w1 = _mm256_unpackhi_epi64(a, c);
    *w2 = _mm256_unpacklo_epi64(b, d);
    *w3 = _mm256_unpackhi_epi64(b, d);
}
static inline void w_transpose(w16 w[4])
{
    w_transpose_half(&w[0].lo, &w[1].lo, &w[2].lo, &w[3].lo);
    w_transpose_half(&w[0].hi, &w[1].hi, &w[2].hi, &w[3].hi);
}

#elif defined(__aarch64__)

typedef m16 w16;

static inline w16 w_set1(uint32_t x)
{
    uint32x4_t q = vdupq_n_u32(x);
    w16 w = {{q, q, q, q}};
    return w;
}
static inline w16 w_load(const uint32_t *p)
{
    w16 w = {{vld1q_u32(p), vld1q_u32(p + 4), vld1q_u32(p + 8), vld1q_u32(p + 12)}};
    return w;
}
static inline void w_store(uint32_t *p, w16 x)
{
    for (int i = 0; i < 4; i++)
        vst1q_u32(p + 4 * i, x.q[i]);
}
static inline w16 w_add(w16 a, w16 b)
{
    for (int i = 0; i < 4; i++)
        a.q[i] = vaddq_u32(a.q[i], b.q[i]);
    return a;
}
static inline w16 w_and(w16 a, w16 b)
{
    for (int i = 0; i < 4; i++)
        a.q[i] = vandq_u32(a.q[i], b.q[i]);
    return a;
}
static inline w16 w_xor(w16 a, w16 b)
{
    for (int i = 0; i < 4; i++)
        a.q[i] = veorq_u32(a.q[i], b.q[i]);
    return a;
}
static inline w16 w_half(w16 a)
{
    for (int i = 0; i < 4; i++)
        a.q[i] = vshrq_n_u32(a.q[i], 1);
    return a;
}
static inline w16 w_bits(v16 x)
{
    w16 w;

    for (int i = 0; i < 4; i++)
        w.q[i] = vreinterpretq_u32_f32(x.q[i]);
    return w;
}
static inline w16 w_add_where(m16 mask, w16 a, w16 b)
{
    return w_add(a, w_and(mask, b));
}
static inline v16 v_of_int(w16 a)
{
    v16 v;

    for (int i = 0; i < 4; i++)
        v.q[i] = vcvtq_f32_s32(vreinterpretq_s32_u32(a.q[i]));
    return v;
}
static inline w16 w_of_float(v16 x)
{
    w16 w;

    for (int i = 0; i < 4; i++)
        w.q[i] = vreinterpretq_u32_s32(vcvtq_s32_f32(x.q[i]));
    return w;
}
static inline m16 v_at_least(v16 a, v16 b)
{
    m16 m;

    for (int i = 0; i < 4; i++)
        m.q[i] = vcgeq_f32(a.q[i], b.q[i]);
    return m;
}
static inline m16 m_both(m16 a, m16 b)
{
    return w_and(a, b);
}
static inline uint32_t m_bits(m16 mask)
{
    static const uint32_t weights[4] = {1, 2, 4, 8};
    uint32x4_t weight = vld1q_u32(weights);
    uint32_t bits = 0;

    for (int i = 0; i < 4; i++)
        bits |= vaddvq_u32(vandq_u32(mask.q[i], weight)) << 4 * i;
    return bits;
}
static inline void w_multiply(w16 a, uint32_t b, w16 *low, w16 *high)
{
    uint32x2_t by = vdup_n_u32(b);

    for (int i = 0; i < 4; i++) {
        uint32x4_t x = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(a.q[i]), by));
        uint32x4_t y = vreinterpretq_u32_u64(vmull_u32(vget_high_u32(a.q[i]), by));

        low->q[i] = vuzp1q_u32(x, y);
        high->q[i] = vuzp2q_u32(x, y);
    }
}
static inline void w_transpose(w16 w[4])
{
    for (int i = 0; i < 4; i++) {
        uint32x4_t a = vzip1q_u32(w[0].q[i], w[2].q[i]), b = vzip2q_u32(w[0].q[i], w[2].q[i]);
        uint32x4_t c = vzip1q_u32(w[1].q[i], w[3].q[i]), d = vzip2q_u32(w[1].q[i], w[3].q[i]);

        w[0].q[i] = vzip1q_u32(a, c);
        w[1].q[i] = vzip2q_u32(a, c);
        w[2].q[i] = vzip1q_u32(b, d);
        w[3].q[i] = vzip2q_u32(b, d);
    }
}

#endif
