/* vec.h for AVX2: two halves of eight lanes. Included by vec.h only. */
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__) && !defined(__AVX512F__)

#include <immintrin.h>

#define VEC_ANY 1

typedef struct {
    __m256 lo, hi;
} v16;
typedef v16 m16; /* all ones or all zeros in each lane */

static inline v16 v_make(__m256 lo, __m256 hi)
{
    v16 v = {lo, hi};
    return v;
}
static inline v16 v_pin(v16 x)
{
    __asm__ volatile("" : "+x"(x.lo), "+x"(x.hi));
    return x;
}
static inline v16 v_set1(float x)
{
    return v_make(_mm256_set1_ps(x), _mm256_set1_ps(x));
}
static inline v16 v_load(const float *p)
{
    return v_make(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
}
static inline v16 v_load_part(const float *p, uint32_t n)
{
    float lane[16] = {0};

    memcpy(lane, p, n * sizeof(lane[0]));
    return v_load(lane);
}
static inline void v_store(float *p, v16 x)
{
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}
static inline void v_store_part(float *p, v16 x, uint32_t n)
{
    float lane[16];

    v_store(lane, x);
    memcpy(p, lane, n * sizeof(lane[0]));
}
static inline v16 v_add(v16 a, v16 b)
{
    return v_make(_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi));
}
static inline v16 v_sub(v16 a, v16 b)
{
    return v_make(_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi));
}
static inline v16 v_mul(v16 a, v16 b)
{
    return v_make(_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi));
}
static inline v16 v_div(v16 a, v16 b)
{
    return v_make(_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi));
}
static inline v16 v_fma(v16 a, v16 b, v16 c)
{
    return v_make(_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi));
}
static inline v16 v_min(v16 a, v16 b)
{
    return v_make(_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi));
}
static inline v16 v_max(v16 a, v16 b)
{
    return v_make(_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi));
}
static inline m16 v_less(v16 a, v16 b)
{
    return v_make(_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ));
}
static inline v16 v_select(m16 mask, v16 a, v16 b)
{
    return v_make(_mm256_blendv_ps(b.lo, a.lo, mask.lo), _mm256_blendv_ps(b.hi, a.hi, mask.hi));
}
static inline v16 v_abs(v16 x)
{
    __m256 keep = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));

    return v_make(_mm256_and_ps(x.lo, keep), _mm256_and_ps(x.hi, keep));
}
static inline v16 v_copysign(v16 x, v16 sign)
{
    __m256 high = _mm256_castsi256_ps(_mm256_set1_epi32((int)0x80000000u));

    return v_make(_mm256_or_ps(x.lo, _mm256_and_ps(sign.lo, high)),
                  _mm256_or_ps(x.hi, _mm256_and_ps(sign.hi, high)));
}
static inline __m256 v_power_half(__m256 shifted)
{
    __m256i n = _mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127));

    return _mm256_castsi256_ps(_mm256_slli_epi32(n, 23));
}
static inline v16 v_power(v16 shifted)
{
    return v_make(v_power_half(shifted.lo), v_power_half(shifted.hi));
}
static inline __m256 v_widen_half(const uint16_t *p)
{
    __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);

    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
static inline v16 v_load_bf16(const uint16_t *p)
{
    return v_make(v_widen_half(p), v_widen_half(p + 8));
}
static inline __m256i v_narrow_half(__m256 x)
{
    __m256i bits = _mm256_castps_si256(x), zero = _mm256_setzero_si256();
    __m256i low = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i near = _mm256_add_epi32(bits, _mm256_add_epi32(low, _mm256_set1_epi32(0x7fff)));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    __m256i exponent = _mm256_and_si256(bits, _mm256_set1_epi32(0x7f800000));
    __m256i tiny = _mm256_cmpeq_epi32(exponent, zero);
    __m256i sign = _mm256_and_si256(bits, _mm256_set1_epi32((int)0x80000000u));

    near = _mm256_blendv_epi8(near, quiet, nan);
    near = _mm256_blendv_epi8(near, sign, tiny);
    return _mm256_srli_epi32(near, 16);
}
static inline void v_store_bf16(uint16_t *p, v16 x)
{
    __m256i packed = _mm256_packus_epi32(v_narrow_half(x.lo), v_narrow_half(x.hi));

    packed = _mm256_permute4x64_epi64(packed, 0xd8);
    _mm256_storeu_si256((__m256i *)(void *)p, packed);
}
static inline float v_sum(v16 x)
{
    __m256 h = _mm256_add_ps(x.lo, x.hi);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));

    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

#endif
