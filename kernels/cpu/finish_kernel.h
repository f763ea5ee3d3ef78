/* What follows the sums of a linear (NUMERICS.md: bias, soft cap, gate, residual, rounding), over
 * vec.h. Included by isa_*.c. */
#pragma once

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vec_math.h"

#ifdef VEC_ANY

static inline v16 finish_read(const void *p, size_t at, enum op_dtype dtype, uint32_t n)
{
    if (dtype == OP_F32)
        return v_load_part((const float *)p + at, n);
    return n == 16 ? v_load_bf16((const uint16_t *)p + at)
                   : v_load_bf16_part((const uint16_t *)p + at, n);
}

static inline void finish_write(void *p, size_t at, v16 x, enum op_dtype dtype, uint32_t n)
{
    if (dtype == OP_F32)
        v_store_part((float *)p + at, x, n);
    else if (n == 16)
        v_store_bf16((uint16_t *)p + at, x);
    else
        v_store_bf16_part((uint16_t *)p + at, x, n);
}

static inline v16 finish_act(const struct cpu_finish *f, const float *c)
{
    v16 gate = v_load(c), up = v_load(c + OPS_PANEL / 2);

    return v_mul(f->act == OP_ACT_SILU_MUL ? v_silu(gate) : v_gelu_tanh(gate), up);
}

static inline v16 finish_plain(const struct cpu_finish *f, const float *c, uint32_t column,
                               uint32_t n)
{
    v16 a = v_load(c), cap = v_set1(f->softcap);

    if (f->bias != NULL)
        a = v_add(a, v_load_part(f->bias + column, n));
    if (f->softcap > 0.0f)
        a = v_mul(cap, v_tanh(v_div(a, cap)));
    return a;
}

static inline void finish_tile(const struct cpu_finish *f)
{
    for (uint32_t row = 0; row < f->rows; row++) {
        for (uint32_t column = 0; column < f->n; column += 16) {
            const float *c = f->c + row * OPS_PANEL + column;
            size_t at = (size_t)row * f->stride + column;
            uint32_t n = f->n - column < 16 ? f->n - column : 16;
            v16 a = f->act != OP_ACT_NONE ? finish_act(f, c) : finish_plain(f, c, column, n);

            if (f->residual != NULL)
                a = v_add(a, finish_read(f->residual, at, f->dtype, n));
            finish_write(f->y, at, a, f->y_dtype, n);
        }
    }
}

#endif
