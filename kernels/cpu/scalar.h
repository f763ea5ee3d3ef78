/* What the scalar definitions share: reading and writing a dtype, DOT and TREE of NUMERICS.md. */
#pragma once

#include <stddef.h>

#include "kernels/bf16.h"
#include "kernels/mathfn.h"
#include "kernels/ops.h"

static inline size_t scalar_bytes(enum op_dtype dtype)
{
    return dtype == OP_F32 ? 4 : 2;
}

static inline float scalar_read(const void *p, size_t at, enum op_dtype dtype)
{
    return dtype == OP_F32 ? ((const float *)p)[at] : f32_of_bf16(((const uint16_t *)p)[at]);
}

static inline void scalar_write(void *p, size_t at, float x, enum op_dtype dtype)
{
    if (dtype == OP_F32)
        ((float *)p)[at] = x;
    else
        ((uint16_t *)p)[at] = bf16_of_f32(x);
}

/* Rounds to the dtype and widens again. */
static inline float scalar_round(float x, enum op_dtype dtype)
{
    return dtype == OP_F32 ? x : f32_of_bf16(bf16_of_f32(x));
}

/* The index that is the i-th in a DOT: the odd one of each pair first in bf16. */
static inline uint32_t scalar_dot_order(uint32_t i, enum op_dtype dtype)
{
    return dtype == OP_F32 ? i : i ^ 1u;
}

/* TREE; changes its lanes. */
static inline float scalar_tree(float lane[64])
{
    for (int half = 32; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            lane[j] = lane[j] + lane[j + half];
    return lane[0];
}
