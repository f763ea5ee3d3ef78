/* bf16 and fp16 as bits, and the only conversions that kernels use. Shared with CUDA (C17 and
 * C++17). A bf16 is the upper half of an fp32: widening is exact. Narrowing rounds to nearest, ties
 * to even; an fp32 below the smallest normal becomes a zero of its sign (what vcvtneps2bf16 does);
 * a NaN stays a NaN and becomes quiet. */
#pragma once

#include <stdint.h>
#include <string.h>

#ifndef KERNELS_INLINE
#ifdef __CUDACC__
#define KERNELS_INLINE static __host__ __device__ __forceinline__
#else
#define KERNELS_INLINE static inline
#endif
#endif

KERNELS_INLINE uint32_t f32_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

KERNELS_INLINE float f32_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

KERNELS_INLINE float f32_of_bf16(uint16_t h)
{
    return f32_of_bits((uint32_t)h << 16);
}

KERNELS_INLINE uint16_t bf16_of_f32(float x)
{
    uint32_t bits = f32_bits(x);

    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    if ((bits & 0x7f800000u) == 0)
        return (uint16_t)(bits >> 16 & 0x8000u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* Exact; by integers alone, so that FTZ and DAZ do not change the small ones. */
KERNELS_INLINE float f32_of_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, m = h & 0x3ffu;

    if (exponent == 31)
        return f32_of_bits(sign | 0x7f800000u | m << 13);
    if (exponent != 0)
        return f32_of_bits(sign | (exponent + 112u) << 23 | m << 13);
    if (m == 0)
        return f32_of_bits(sign);
    for (exponent = 113; (m & 0x400u) == 0; exponent--)
        m <<= 1;
    return f32_of_bits(sign | exponent << 23 | (m & 0x3ffu) << 13);
}
