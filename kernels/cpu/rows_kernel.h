/* Norm, rope with append, and the sum of experts over vec.h. Included by rows_ISA.c. A row is read
 * in blocks of 64 numbers, so that lane = index mod 64 is four vectors that add up in place. */
#pragma once

#include "kernels/cpu/rows.h"
#include "kernels/cpu/vec_math.h"

#ifdef VEC_ANY

static inline v16 row_read(const void *p, size_t at, enum op_dtype dtype, uint32_t n)
{
    if (dtype == OP_F32)
        return n == 16 ? v_load((const float *)p + at) : v_load_part((const float *)p + at, n);
    return n == 16 ? v_load_bf16((const uint16_t *)p + at)
                   : v_load_bf16_part((const uint16_t *)p + at, n);
}

static inline void row_write(void *p, size_t at, v16 x, enum op_dtype dtype, uint32_t n)
{
    if (dtype == OP_F32 && n == 16)
        v_store((float *)p + at, x);
    else if (dtype == OP_F32)
        v_store_part((float *)p + at, x, n);
    else if (n == 16)
        v_store_bf16((uint16_t *)p + at, x);
    else
        v_store_bf16_part((uint16_t *)p + at, x, n);
}

/* Numbers that are left from i on, at most 16. */
static inline uint32_t row_left(uint32_t i, uint32_t n)
{
    return n - i < 16 ? n - i : 16;
}

static inline float row_rms_factor(const void *x, size_t at, uint32_t n, float eps,
                                   enum op_dtype dtype)
{
    v16 lane[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    uint32_t i = 0;

    for (; n - i >= 64; i += 64)
        for (uint32_t v = 0; v < 4; v++) {
            v16 a = row_read(x, at + i + 16 * v, dtype, 16);

            lane[v] = v_fma(a, a, lane[v]);
        }
    /* The lanes past the end add a square of zero, which changes nothing. */
    for (uint32_t v = 0; v < 4 && i < n; v++, i += 16) {
        v16 a = row_read(x, at + i, dtype, row_left(i, n));

        lane[v] = v_fma(a, a, lane[v]);
    }
    return 1.0f / row_sqrt(v_tree(lane[0], lane[1], lane[2], lane[3]) / (float)n + eps);
}

static void rows_norm(const struct op_norm *op, uint32_t row, uint32_t n_rows)
{
    for (uint32_t r = row; r < row + n_rows; r++) {
        size_t from = (size_t)(op->rows != NULL ? op->rows[r] : r) * op->n;
        size_t to = (size_t)r * op->n;
        v16 factor = v_set1(row_rms_factor(op->x, from, op->n, op->eps, op->dtype));

        for (uint32_t i = 0; i < op->n; i += 16) {
            uint32_t n = row_left(i, op->n);
            v16 a = v_mul(row_read(op->x, from + i, op->dtype, n), factor);

            a = v_mul(a, row_read(op->w, i, OP_F32, n));
            if (op->residual != NULL)
                a = v_add(a, row_read(op->residual, to + i, op->dtype, n));
            row_write(op->y, to + i, a, op->dtype, n);
        }
    }
}

/* What all heads of a row share. */
struct rope_row {
    const struct op_rope *op;
    float cosine[OPS_HEAD_DIM_MAX / 2 + 16], sine[OPS_HEAD_DIM_MAX / 2 + 16];
};

static void rope_row_head(const struct rope_row *row, const float *norm, const void *x, void *y)
{
    const struct op_rope *op = row->op;
    uint32_t half = op->rot_dim / 2;
    float v[OPS_HEAD_DIM_MAX];
    v16 factor = v_set1(1.0f);

    if (norm != NULL)
        factor = v_set1(row_rms_factor(x, 0, op->head_dim, op->eps, op->dtype));
    for (uint32_t i = 0; i < op->head_dim; i += 16) {
        v16 a = row_read(x, i, op->dtype, 16);

        if (norm != NULL)
            a = v_mul(v_mul(a, factor), v_load(norm + i));
        v_store(v + i, a);
    }
    for (uint32_t i = 0; i < half; i += 16) {
        uint32_t n = row_left(i, half);
        v16 a = row_read(v, i, OP_F32, n), b = row_read(v, i + half, OP_F32, n);
        v16 cosine = v_load(row->cosine + i), sine = v_load(row->sine + i);

        row_write(v, i, v_fma(v_sub(v_set1(-0.0f), b), sine, v_mul(a, cosine)), OP_F32, n);
        row_write(v, i + half, v_fma(a, sine, v_mul(b, cosine)), OP_F32, n);
    }
    for (uint32_t i = 0; i < op->head_dim; i += 16)
        row_write(y, i, v_load(v + i), op->dtype, 16);
}

static void rows_rope(const struct op_rope *op, uint32_t row, uint32_t n_rows)
{
    size_t number = op->dtype == OP_F32 ? 4 : 2, head_bytes = op->head_dim * number;
    struct rope_row at = {.op = op};

    for (uint32_t r = row; r < row + n_rows; r++) {
        const struct op_seq *seq = batch_seq(&op->batch, r);
        uint32_t position = seq->position + (r - seq->row), token = position % OPS_BLOCK_TOKENS;
        const float *angles = op->angles + (size_t)r * op->rot_dim;
        uint8_t *q = (uint8_t *)op->qkv + (size_t)r * op->stride * number;
        uint8_t *k = q + op->n_heads * head_bytes, *v = k + op->n_kv_heads * head_bytes;

        for (uint32_t i = 0; i < op->rot_dim / 2; i++) {
            at.cosine[i] = angles[2 * i];
            at.sine[i] = angles[2 * i + 1];
        }
        for (uint32_t h = 0; h < op->n_heads; h++)
            rope_row_head(&at, op->q_norm, q + h * head_bytes, q + h * head_bytes);
        for (uint32_t h = 0; h < op->n_kv_heads; h++) {
            uint8_t *to = kv_tile(&op->batch, &op->kv, seq, h, position) + token * head_bytes;

            rope_row_head(&at, op->k_norm, k + h * head_bytes, to);
            memcpy(to + op->kv.value_bytes, v + h * head_bytes, head_bytes);
        }
    }
}

static void rows_moe_sum(const struct op_moe_sum *op, uint32_t row, uint32_t n_rows)
{
    for (uint32_t r = row; r < row + n_rows; r++) {
        const float *weights = op->weights + (size_t)r * op->top_k;
        const uint32_t *places = op->places + (size_t)r * op->top_k;

        for (uint32_t i = 0; i < op->n; i += 16) {
            size_t to = (size_t)r * op->n + i;
            uint32_t n = row_left(i, op->n);
            v16 a = v_zero();

            for (uint32_t j = 0; j < op->top_k; j++)
                a = v_fma(v_set1(weights[j]),
                          row_read(op->x, (size_t)places[j] * op->n + i, op->x_dtype, n), a);
            if (op->residual != NULL)
                a = v_add(a, row_read(op->residual, to, op->dtype, n));
            row_write(op->y, to, a, op->dtype, n);
        }
    }
}

#endif
