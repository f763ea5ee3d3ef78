/* The functions of the numerics contract, in their exact order of operations: this file is part of
 * kernels/NUMERICS.md. No libm: its results differ between versions and machines. Shared with CUDA
 * (C17 and C++17); every vector path has a twin of each and is compared bit for bit.
 *
 * fp32 functions are for kernels, which run with FTZ and DAZ. fp64 functions are for tables made
 * once (rope); they use only + - * / in the order written. Coefficients are minimax fits; errors
 * stated are the largest seen over all inputs (fp32) or a fine grid (fp64). */
#pragma once

#include <stdint.h>
#include <string.h>

#include "kernels/bf16.h"

/* a * b + c, rounded once. Without the instruction: the product is exact in fp64, the sum is
 * rounded to odd there, so the last rounding to fp32 sees on which side of a tie it lies. */
#if defined(__CUDA_ARCH__)
KERNELS_INLINE float math_fma(float a, float b, float c)
{
    return __fmaf_rn(a, b, c);
}
#elif defined(__FMA__) || defined(__aarch64__)
KERNELS_INLINE float math_fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}
#else
KERNELS_INLINE float math_fma(float a, float b, float c)
{
    double p = (double)a * (double)b, sum, part, error;
    float narrow = (float)p;
    uint64_t bits;

    if ((double)narrow == p)
        return narrow + c; /* the product is an fp32: one rounding is left */
    sum = p + (double)c;
    part = sum - p;
    error = (p - (sum - part)) + ((double)c - part);
    if (!(error > 0 || error < 0))
        return (float)sum; /* exact, or not finite */
    memcpy(&bits, &sum, sizeof(bits));
    if ((bits & 1u) == 0)
        bits = (error > 0) == (sum > 0) ? bits + 1 : bits - 1;
    memcpy(&sum, &bits, sizeof(sum));
    return (float)sum;
}
#endif

#define MATH_LOG2E 1.44269502f /* fp32 of log2(e): 0x1.715476p+0 */

#define MATH_EXP2_C1 0x1.62e430p-1f
#define MATH_EXP2_C2 0x1.ebfbdcp-3f
#define MATH_EXP2_C3 0x1.c6aee6p-5f
#define MATH_EXP2_C4 0x1.3b2d52p-7f
#define MATH_EXP2_C5 0x1.5f3fdap-10f
#define MATH_EXP2_C6 0x1.41fa34p-13f
#define MATH_EXP2_MIN -125.0f
#define MATH_EXP2_MAX 127.0f
#define MATH_ROUND 12582912.0f /* 1.5 * 2^23: adding and subtracting it rounds to an integer */

/* 2^x. Below -125 exactly +0; above 127 as 127; 2^n exact for integers n; NaN gives NaN. */
KERNELS_INLINE float math_exp2(float x)
{
    float shifted, n, r, p;

    if (x < MATH_EXP2_MIN)
        return 0.0f;
    if (x > MATH_EXP2_MAX)
        x = MATH_EXP2_MAX;
    shifted = x + MATH_ROUND;
    n = shifted - MATH_ROUND;
    r = x - n;
    p = MATH_EXP2_C6;
    p = math_fma(p, r, MATH_EXP2_C5);
    p = math_fma(p, r, MATH_EXP2_C4);
    p = math_fma(p, r, MATH_EXP2_C3);
    p = math_fma(p, r, MATH_EXP2_C2);
    p = math_fma(p, r, MATH_EXP2_C1);
    p = math_fma(p, r, 1.0f);
    /* The low bits of `shifted` are n; as the exponent of a float they are 2^n. */
    return p * f32_of_bits((f32_bits(shifted) + 127u) << 23);
}

#define MATH_LOG_C0 0x1.555546p-2f
#define MATH_LOG_C1 -0x1.ffffeep-3f
#define MATH_LOG_C2 0x1.99a53ep-3f
#define MATH_LOG_C3 -0x1.5562d2p-3f
#define MATH_LOG_C4 0x1.233330p-3f
#define MATH_LOG_C5 -0x1.fb45cep-4f
#define MATH_LOG_C6 0x1.e64e18p-4f
#define MATH_LOG_C7 -0x1.e2d99ep-4f
#define MATH_LOG_C8 0x1.1b3300p-4f
#define MATH_LN2_HI 0x1.62e000p-1f  /* 12 bits: times an exponent it is exact */
#define MATH_LN2_LO 0x1.0bfbe8p-15f /* the rest */
#define MATH_SQRT_HALF_BITS 0x3f3504f3u

/* log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1]. */
KERNELS_INLINE float math_log1p_small(float f)
{
    float p = MATH_LOG_C8, z = f * f;

    p = math_fma(p, f, MATH_LOG_C7);
    p = math_fma(p, f, MATH_LOG_C6);
    p = math_fma(p, f, MATH_LOG_C5);
    p = math_fma(p, f, MATH_LOG_C4);
    p = math_fma(p, f, MATH_LOG_C3);
    p = math_fma(p, f, MATH_LOG_C2);
    p = math_fma(p, f, MATH_LOG_C1);
    p = math_fma(p, f, MATH_LOG_C0);
    return math_fma(z, math_fma(p, f, -0.5f), f);
}

/* Natural logarithm of a finite normal x > 0; anything else gives an unspecified number. */
KERNELS_INLINE float math_log(float x)
{
    uint32_t above = f32_bits(x) - MATH_SQRT_HALF_BITS;
    float e = (float)((int32_t)above >> 23);
    float m = f32_of_bits((above & 0x7fffffu) + MATH_SQRT_HALF_BITS);

    return math_fma(e, MATH_LN2_HI, math_fma(e, MATH_LN2_LO, math_log1p_small(m - 1.0f)));
}

/* 1 / (1 + e^-x) times x: the activation silu. */
KERNELS_INLINE float math_silu(float x)
{
    return x / (1.0f + math_exp2(x * -MATH_LOG2E));
}

#define MATH_TANH_C0 -0x1.555534p-2f
#define MATH_TANH_C1 0x1.11076cp-3f
#define MATH_TANH_C2 -0x1.b844a2p-5f
#define MATH_TANH_C3 0x1.5258cap-6f
#define MATH_TANH_C4 -0x1.76b3cep-8f
#define MATH_TANH_SMALL 0.625f
#define MATH_TWO_LOG2E 2.88539004f /* fp32 of 2 log2(e): 0x1.715476p+1 */

KERNELS_INLINE float math_tanh(float x)
{
    float a = f32_of_bits(f32_bits(x) & 0x7fffffffu), z, p;
    uint32_t sign = f32_bits(x) & 0x80000000u;

    if (a < MATH_TANH_SMALL) {
        z = x * x;
        p = MATH_TANH_C4;
        p = math_fma(p, z, MATH_TANH_C3);
        p = math_fma(p, z, MATH_TANH_C2);
        p = math_fma(p, z, MATH_TANH_C1);
        p = math_fma(p, z, MATH_TANH_C0);
        return math_fma(x * z, p, x);
    }
    p = 1.0f - 2.0f / (math_exp2(a * MATH_TWO_LOG2E) + 1.0f);
    return f32_of_bits(f32_bits(p) | sign);
}

#define MATH_GELU_A 0.797884583f /* fp32 of sqrt(2 / pi) */
#define MATH_GELU_B 0.044715f

/* gelu in its tanh form. */
KERNELS_INLINE float math_gelu_tanh(float x)
{
    float cube = x * x * x;
    float t = math_tanh(MATH_GELU_A * math_fma(MATH_GELU_B, cube, x));
    float half = 0.5f * x;

    return math_fma(half, t, half);
}

/* ---- fp64, for tables ---- */

#define MATH_LN2_D 0x1.62e42fefa39efp-1

/* 2^x for |x| <= 1000. */
KERNELS_INLINE double math_exp2_d(double x)
{
    double n = (double)(int64_t)(x < 0 ? x - 0.5 : x + 0.5);
    double r = (x - n) * MATH_LN2_D, p = 1.0, scale;
    uint64_t bits = (uint64_t)((int64_t)n + 1023) << 52;

    for (int i = 15; i >= 1; i--)
        p = 1.0 + p * r / i;
    memcpy(&scale, &bits, sizeof(scale));
    return p * scale;
}

/* log2(x) of a finite normal x > 0. */
KERNELS_INLINE double math_log2_d(double x)
{
    uint64_t bits;
    double m, s, z, p = 0.0;
    int64_t e;

    memcpy(&bits, &x, sizeof(bits));
    bits -= UINT64_C(0x3fe6a09e667f3bcd); /* sqrt(1/2) */
    e = (int64_t)bits >> 52;
    bits = (bits & UINT64_C(0xfffffffffffff)) + UINT64_C(0x3fe6a09e667f3bcd);
    memcpy(&m, &bits, sizeof(m));
    s = (m - 1.0) / (m + 1.0);
    z = s * s;
    for (int i = 23; i >= 3; i -= 2)
        p = (p + 1.0 / i) * z;
    return (double)e + (2.0 / MATH_LN2_D) * (s + s * p);
}

#define MATH_PIO2_HI 0x1.921fb544p+0 /* 33 bits: times n <= 2^20 it is exact */
#define MATH_PIO2_LO 0x1.0b4611a626331p-34
#define MATH_2_OVER_PI 0x1.45f306dc9c883p-1
#define MATH_ANGLE_MAX 1.6e6

struct math_angle {
    double sin, cos;
};

/* Sine and cosine of 0 <= x <= MATH_ANGLE_MAX radians, within 2^-50. */
KERNELS_INLINE struct math_angle math_sincos_d(double x)
{
    int64_t n = (int64_t)(x * MATH_2_OVER_PI + 0.5);
    double r = (x - (double)n * MATH_PIO2_HI) - (double)n * MATH_PIO2_LO;
    double z = r * r, s = 1.0, c = 1.0;
    struct math_angle out;

    for (int i = 18; i >= 2; i -= 2) {
        s = 1.0 - s * z / (i * (i + 1));
        c = 1.0 - c * z / (i * (i - 1));
    }
    s = s * r;
    out.sin = n & 1 ? c : s;
    out.cos = n & 1 ? s : c;
    if (n & 2)
        out.sin = -out.sin;
    if ((n + 1) & 2)
        out.cos = -out.cos;
    return out;
}
