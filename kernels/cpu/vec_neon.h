/* vec.h for Arm's NEON: four quarters of four lanes. Included by vec.h only. Compiled for, not yet
 * run on, hardware: NUMERICS.md makes Arm a class of its own until it was compared. */
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__aarch64__)

#include <arm_neon.h>

#define VEC_ANY 1

typedef struct {
    float32x4_t q[4];
} v16;
typedef struct {
    uint32x4_t q[4];
} m16;

static inline v16 v_pin(v16 x)
{
    __asm__ volatile("" : "+w"(x.q[0]), "+w"(x.q[1]), "+w"(x.q[2]), "+w"(x.q[3]));
    return x;
}
static inline v16 v_set1(float x)
{
    float32x4_t q = vdupq_n_f32(x);
    v16 v = {{q, q, q, q}};
    return v;
}
static inline v16 v_load(const float *p)
{
    v16 v = {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
    return v;
}
static inline v16 v_load_part(const float *p, uint32_t n)
{
    float lane[16] = {0};

    memcpy(lane, p, n * sizeof(lane[0]));
    return v_load(lane);
}
static inline void v_store(float *p, v16 x)
{
    for (int i = 0; i < 4; i++)
        vst1q_f32(p + 4 * i, x.q[i]);
}
static inline void v_store_part(float *p, v16 x, uint32_t n)
{
    float lane[16];

    v_store(lane, x);
    memcpy(p, lane, n * sizeof(lane[0]));
}
static inline v16 v_add(v16 a, v16 b)
{
    for (int i = 0; i < 4; i++)
        a.q[i] = vaddq_f32(a.q[i], b.q[i]);
    return a;
}
static inline v16 v_sub(v16 a, v16 b)
{
    for (int i = 0; i < 4; i++)
        a.q[i] = vsubq_f32(a.q[i], b.q[i]);
    return a;
}
static inline v16 v_mul(v16 a, v16 b)
{
    for (int i = 0; i < 4; i++)
        a.q[i] = vmulq_f32(a.q[i], b.q[i]);
    return a;
}
static inline v16 v_div(v16 a, v16 b)
{
    for (int i = 0; i < 4; i++)
        a.q[i] = vdivq_f32(a.q[i], b.q[i]);
    return a;
}
static inline v16 v_fma(v16 a, v16 b, v16 c)
{
    for (int i = 0; i < 4; i++)
        c.q[i] = vfmaq_f32(c.q[i], a.q[i], b.q[i]);
    return c;
}
static inline m16 v_less(v16 a, v16 b)
{
    m16 m;

    for (int i = 0; i < 4; i++)
        m.q[i] = vcltq_f32(a.q[i], b.q[i]);
    return m;
}
static inline v16 v_select(m16 mask, v16 a, v16 b)
{
    for (int i = 0; i < 4; i++)
        a.q[i] = vbslq_f32(mask.q[i], a.q[i], b.q[i]);
    return a;
}
static inline v16 v_min(v16 a, v16 b)
{
    return v_select(v_less(a, b), a, b);
}
static inline v16 v_max(v16 a, v16 b)
{
    return v_select(v_less(b, a), a, b);
}
static inline v16 v_abs(v16 x)
{
    for (int i = 0; i < 4; i++)
        x.q[i] = vabsq_f32(x.q[i]);
    return x;
}
static inline v16 v_copysign(v16 x, v16 sign)
{
    for (int i = 0; i < 4; i++)
        x.q[i] = vbslq_f32(vdupq_n_u32(0x7fffffffu), x.q[i], sign.q[i]);
    return x;
}
static inline v16 v_power(v16 shifted)
{
    for (int i = 0; i < 4; i++) {
        uint32x4_t n = vaddq_u32(vreinterpretq_u32_f32(shifted.q[i]), vdupq_n_u32(127));

        shifted.q[i] = vreinterpretq_f32_u32(vshlq_n_u32(n, 23));
    }
    return shifted;
}
static inline v16 v_load_bf16(const uint16_t *p)
{
    v16 v;

    for (int i = 0; i < 4; i++)
        v.q[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16));
    return v;
}
static inline uint16x4_t v_narrow_quarter(float32x4_t x)
{
    uint32x4_t bits = vreinterpretq_u32_f32(x), one = vdupq_n_u32(1);
    uint32x4_t low = vandq_u32(vshrq_n_u32(bits, 16), one);
    uint32x4_t near = vaddq_u32(bits, vaddq_u32(low, vdupq_n_u32(0x7fff)));
    uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    uint32x4_t exponent = vandq_u32(bits, vdupq_n_u32(0x7f800000));
    uint32x4_t sign = vandq_u32(bits, vdupq_n_u32(0x80000000u));

    near = vbslq_u32(vceqq_f32(x, x), near, quiet);
    near = vbslq_u32(vceqq_u32(exponent, vdupq_n_u32(0)), sign, near);
    return vshrn_n_u32(near, 16);
}
static inline void v_store_bf16(uint16_t *p, v16 x)
{
    for (int i = 0; i < 4; i++)
        vst1_u16(p + 4 * i, v_narrow_quarter(x.q[i]));
}
static inline float v_sum(v16 x)
{
    float32x4_t q = vaddq_f32(vaddq_f32(x.q[0], x.q[2]), vaddq_f32(x.q[1], x.q[3]));
    float32x2_t d = vadd_f32(vget_low_f32(q), vget_high_f32(q));

    return vget_lane_f32(d, 0) + vget_lane_f32(d, 1);
}

#endif
