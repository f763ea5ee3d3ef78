/* Sixteen-lane twins of kernels/mathfn.h, operation by operation. */
#pragma once

#include "kernels/cpu/vec.h"
#include "kernels/mathfn.h"

#ifdef VEC_ANY

static inline v16 v_exp2(v16 x)
{
    m16 under = v_less(x, v_set1(MATH_EXP2_MIN));
    v16 capped = v_min(v_set1(MATH_EXP2_MAX), x);
    v16 shifted = v_add(capped, v_set1(MATH_ROUND));
    v16 r = v_sub(capped, v_sub(shifted, v_set1(MATH_ROUND)));
    v16 p = v_fma(v_set1(MATH_EXP2_C6), r, v_set1(MATH_EXP2_C5));

    p = v_fma(p, r, v_set1(MATH_EXP2_C4));
    p = v_fma(p, r, v_set1(MATH_EXP2_C3));
    p = v_fma(p, r, v_set1(MATH_EXP2_C2));
    p = v_fma(p, r, v_set1(MATH_EXP2_C1));
    p = v_fma(p, r, v_set1(1.0f));
    return v_select(under, v_zero(), v_mul(p, v_power(shifted)));
}

static inline v16 v_silu(v16 x)
{
    return v_div(x, v_add(v_set1(1.0f), v_exp2(v_mul(x, v_set1(-MATH_LOG2E)))));
}

static inline v16 v_tanh(v16 x)
{
    v16 a = v_abs(x), z = v_mul(x, x), one = v_set1(1.0f);
    v16 p = v_fma(v_set1(MATH_TANH_C4), z, v_set1(MATH_TANH_C3)), big;

    p = v_fma(p, z, v_set1(MATH_TANH_C2));
    p = v_fma(p, z, v_set1(MATH_TANH_C1));
    p = v_fma(p, z, v_set1(MATH_TANH_C0));
    p = v_fma(v_mul(x, z), p, x);
    big = v_add(v_exp2(v_mul(a, v_set1(MATH_TWO_LOG2E))), one);
    big = v_copysign(v_sub(one, v_div(v_set1(2.0f), big)), x);
    return v_select(v_less(a, v_set1(MATH_TANH_SMALL)), p, big);
}

static inline v16 v_gelu_tanh(v16 x)
{
    v16 cube = v_mul(v_mul(x, x), x), half = v_mul(v_set1(0.5f), x);
    v16 inner = v_fma(v_set1(MATH_GELU_B), cube, x);

    return v_fma(half, v_tanh(v_mul(v_set1(MATH_GELU_A), inner)), half);
}

#endif
