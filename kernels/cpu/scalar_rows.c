/* The contract of the row ops in plain C: norm, rope with append, the sum of experts. It is the
 * definition that the vector tables are compared with; it is not meant to be fast. The scalar table
 * also names the definitions of scalar_attn.c and scalar_sample.c. */
#include "kernels/cpu/rows.h"

#include <string.h>

#include "kernels/cpu/scalar.h"
#include "kernels/mathfn.h"

const struct cpu_rows rows_scalar = {
    .norm = scalar_norm,
    .rope = scalar_rope,
    .moe_sum = scalar_moe_sum,
    .attention = scalar_attention,
    .sample = scalar_sample,
};

/* 1 / sqrt(mean of squares + eps) */
static float rms_factor(const void *x, size_t at, uint32_t n, float eps, enum op_dtype dtype)
{
    float lane[64] = {0};

    for (uint32_t i = 0; i < n; i++) {
        float v = scalar_read(x, at + i, dtype);

        lane[i % 64] = math_fma(v, v, lane[i % 64]);
    }
    return 1.0f / row_sqrt(scalar_tree(lane) / (float)n + eps);
}

void scalar_norm(const struct op_norm *op, uint32_t row, uint32_t n_rows)
{
    for (uint32_t r = row; r < row + n_rows; r++) {
        size_t from = (size_t)(op->rows != NULL ? op->rows[r] : r) * op->n;
        size_t to = (size_t)r * op->n;
        float factor = rms_factor(op->x, from, op->n, op->eps, op->dtype);

        for (uint32_t i = 0; i < op->n; i++) {
            float v = scalar_read(op->x, from + i, op->dtype) * factor * op->w[i];

            if (op->residual != NULL)
                v = v + scalar_read(op->residual, to + i, op->dtype);
            scalar_write(op->y, to + i, v, op->dtype);
        }
    }
}

/* One head from x to y, which may be the same. */
static void rope_head(const struct op_rope *op, const float *angles, const float *norm,
                      const void *x, void *y)
{
    float v[OPS_HEAD_DIM_MAX], factor = 1.0f;
    uint32_t half = op->rot_dim / 2;

    if (norm != NULL)
        factor = rms_factor(x, 0, op->head_dim, op->eps, op->dtype);
    for (uint32_t i = 0; i < op->head_dim; i++) {
        v[i] = scalar_read(x, i, op->dtype);
        if (norm != NULL)
            v[i] = v[i] * factor * norm[i];
    }
    for (uint32_t i = 0; i < half; i++) {
        float a = v[i], b = v[i + half], cosine = angles[2 * i], sine = angles[2 * i + 1];

        v[i] = math_fma(-b, sine, a * cosine);
        v[i + half] = math_fma(a, sine, b * cosine);
    }
    for (uint32_t i = 0; i < op->head_dim; i++)
        scalar_write(y, i, v[i], op->dtype);
}

void scalar_rope(const struct op_rope *op, uint32_t row, uint32_t n_rows)
{
    size_t head_bytes = op->head_dim * scalar_bytes(op->dtype);

    for (uint32_t r = row; r < row + n_rows; r++) {
        const struct op_seq *seq = batch_seq(&op->batch, r);
        uint32_t position = seq->position + (r - seq->row), token = position % OPS_BLOCK_TOKENS;
        const float *angles = op->angles + (size_t)r * op->rot_dim;
        uint8_t *q = (uint8_t *)op->qkv + (size_t)r * op->stride * scalar_bytes(op->dtype);
        uint8_t *k = q + op->n_heads * head_bytes, *v = k + op->n_kv_heads * head_bytes;

        for (uint32_t h = 0; h < op->n_heads; h++)
            rope_head(op, angles, op->q_norm, q + h * head_bytes, q + h * head_bytes);
        for (uint32_t h = 0; h < op->n_kv_heads; h++) {
            uint8_t *to = kv_tile(&op->batch, &op->kv, seq, h, position) + token * head_bytes;

            rope_head(op, angles, op->k_norm, k + h * head_bytes, to);
            memcpy(to + op->kv.value_bytes, v + h * head_bytes, head_bytes);
        }
    }
}

void scalar_moe_sum(const struct op_moe_sum *op, uint32_t row, uint32_t n_rows)
{
    for (uint32_t r = row; r < row + n_rows; r++) {
        const float *weights = op->weights + (size_t)r * op->top_k;
        const uint32_t *places = op->places + (size_t)r * op->top_k;

        for (uint32_t i = 0; i < op->n; i++) {
            size_t to = (size_t)r * op->n + i;
            float a = 0.0f;

            for (uint32_t j = 0; j < op->top_k; j++) {
                float x = scalar_read(op->x, (size_t)places[j] * op->n + i, op->x_dtype);

                a = math_fma(weights[j], x, a);
            }
            if (op->residual != NULL)
                a = a + scalar_read(op->residual, to, op->dtype);
            scalar_write(op->y, to, a, op->dtype);
        }
    }
}
