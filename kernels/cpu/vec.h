/* Sixteen fp32 lanes under one set of names, so that row kernels are written once: here for
 * AVX-512. The instruction set is that of the source which includes this; without any there is
 * nothing in here. Each function is one IEEE operation per lane; nothing fuses, nothing reorders.
 *
 * Partial loads give zero in lanes >= n; partial stores leave memory past n alone. */
#pragma once

#include <stdint.h>

#include "kernels/bf16.h"

#if defined(__AVX512F__)

#include <immintrin.h>

#define VEC_ANY 1

typedef __m512 v16;
typedef __mmask16 m16;

/* x itself, computed here: no compiler moves the computation past another pin. */
static inline v16 v_pin(v16 x)
{
    __asm__ volatile("" : "+v"(x));
    return x;
}
static inline v16 v_set1(float x)
{
    return _mm512_set1_ps(x);
}
static inline v16 v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline v16 v_load_part(const float *p, uint32_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
}
static inline void v_store(float *p, v16 x)
{
    _mm512_storeu_ps(p, x);
}
static inline void v_store_part(float *p, v16 x, uint32_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), x);
}
static inline v16 v_add(v16 a, v16 b)
{
    return _mm512_add_ps(a, b);
}
static inline v16 v_sub(v16 a, v16 b)
{
    return _mm512_sub_ps(a, b);
}
static inline v16 v_mul(v16 a, v16 b)
{
    return _mm512_mul_ps(a, b);
}
static inline v16 v_div(v16 a, v16 b)
{
    return _mm512_div_ps(a, b);
}
static inline v16 v_fma(v16 a, v16 b, v16 c)
{
    return _mm512_fmadd_ps(a, b, c);
}
/* Of equal numbers or with a NaN: b. */
static inline v16 v_min(v16 a, v16 b)
{
    return _mm512_min_ps(a, b);
}
static inline v16 v_max(v16 a, v16 b)
{
    return _mm512_max_ps(a, b);
}
static inline m16 v_less(v16 a, v16 b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
/* Lane by lane: mask ? a : b. */
static inline v16 v_select(m16 mask, v16 a, v16 b)
{
    return _mm512_mask_blend_ps(mask, b, a);
}
static inline v16 v_abs(v16 x)
{
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)));
}
static inline v16 v_copysign(v16 x, v16 sign)
{
    __m512i high = _mm512_set1_epi32((int)0x80000000u);

    return _mm512_castsi512_ps(
        _mm512_or_si512(_mm512_castps_si512(x), _mm512_and_si512(_mm512_castps_si512(sign), high)));
}
/* 2^n, n being the low bits of MATH_ROUND + n. */
static inline v16 v_power(v16 shifted)
{
    __m512i n = _mm512_add_epi32(_mm512_castps_si512(shifted), _mm512_set1_epi32(127));

    return _mm512_castsi512_ps(_mm512_slli_epi32(n, 23));
}
static inline v16 v_widen(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
static inline __m256i v_narrow(v16 x)
{
#if defined(__AVX512BF16__)
    return (__m256i)_mm512_cvtneps_pbh(x);
#else
    __m512i bits = _mm512_castps_si512(x),
            low = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i near = _mm512_add_epi32(bits, _mm512_add_epi32(low, _mm512_set1_epi32(0x7fff)));
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    __mmask16 tiny = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));

    near = _mm512_mask_or_epi32(near, nan, bits, _mm512_set1_epi32(0x400000));
    near = _mm512_mask_and_epi32(near, tiny, bits, _mm512_set1_epi32((int)0x80000000u));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(near, 16));
#endif
}
static inline v16 v_load_bf16(const uint16_t *p)
{
    return v_widen(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
static inline void v_store_bf16(uint16_t *p, v16 x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, v_narrow(x));
}
/* x[j] + x[j + 8], then + 4, + 2, + 1. */
static inline float v_sum(v16 x)
{
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(x),
                             _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));

    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

#elif defined(__AVX2__)

#include "kernels/cpu/vec_avx2.h"

#elif defined(__aarch64__)

#include "kernels/cpu/vec_neon.h"

#endif

#ifdef VEC_ANY

static inline v16 v_zero(void)
{
    return v_set1(0.0f);
}

static inline v16 v_load_bf16_part(const uint16_t *p, uint32_t n)
{
    uint16_t h[16] = {0};

    memcpy(h, p, n * sizeof(h[0]));
    return v_load_bf16(h);
}

static inline void v_store_bf16_part(uint16_t *p, v16 x, uint32_t n)
{
    uint16_t h[16];

    v_store_bf16(h, x);
    memcpy(p, h, n * sizeof(h[0]));
}

/* TREE of NUMERICS.md: 64 lanes to one number. */
static inline float v_tree(v16 a, v16 b, v16 c, v16 d)
{
    return v_sum(v_add(v_add(a, c), v_add(b, d)));
}

/* The largest lane; no NaN. */
static inline float v_largest(v16 x)
{
    float lane[16], most;

    v_store(lane, x);
    most = lane[0];
    for (int i = 1; i < 16; i++)
        most = lane[i] > most ? lane[i] : most;
    return most;
}

#endif
