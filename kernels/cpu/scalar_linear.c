/* The definition of linear (NUMERICS.md): one output at a time, one accumulator, k ascending. */
#include "base/check.h"
#include "kernels/cpu/cpu.h"
#include "kernels/mathfn.h"

static float read_number(const void *p, size_t at, enum op_dtype dtype)
{
    return dtype == OP_F32 ? ((const float *)p)[at] : f32_of_bf16(((const uint16_t *)p)[at]);
}

static float scalar_dot(const struct op_weight *w, const void *x, uint32_t row)
{
    struct cpu_place place = cpu_weight_place(w, row);
    const uint8_t *panel = (const uint8_t *)w->data + place.panel * cpu_panel_bytes(w);
    float acc = 0.0f;

    if (w->dtype == OP_F32) {
        for (uint32_t k = 0; k < w->k; k++)
            acc = math_fma(((const float *)x)[k],
                           ((const float *)panel)[(size_t)k * OPS_PANEL + place.column], acc);
        return acc;
    }
    for (uint32_t k = 0; k < w->k; k += 2) {
        const uint16_t *pair = (const uint16_t *)panel + (size_t)k * OPS_PANEL + 2 * place.column;
        const uint16_t *at = (const uint16_t *)x + k;

        acc = math_fma(f32_of_bf16(at[1]), f32_of_bf16(pair[1]), acc);
        acc = math_fma(f32_of_bf16(at[0]), f32_of_bf16(pair[0]), acc);
    }
    return acc;
}

static float gated(const struct op_linear *op, const void *x, uint32_t column)
{
    float gate = scalar_dot(&op->w, x, column);
    float up = scalar_dot(&op->w, x, op->w.n / 2 + column);

    return (op->act == OP_ACT_SILU_MUL ? math_silu(gate) : math_gelu_tanh(gate)) * up;
}

static float plain(const struct op_linear *op, const void *x, uint32_t column)
{
    float a = scalar_dot(&op->w, x, column);

    if (op->bias != NULL)
        a = a + op->bias[column];
    if (op->softcap > 0.0f)
        a = op->softcap * math_tanh(a / op->softcap);
    return a;
}

static void linear_row(void *ctx, uint32_t thread, uint32_t row)
{
    const struct op_linear *op = ctx;
    uint32_t from = op->rows != NULL ? op->rows[row] : row;
    uint32_t n = op->act != OP_ACT_NONE ? op->w.n / 2 : op->w.n;
    const uint8_t *x =
        (const uint8_t *)op->x + (size_t)from * op->x_stride * cpu_dtype_bytes(op->w.dtype);

    (void)thread;
    for (uint32_t column = 0; column < n; column++) {
        size_t at = (size_t)row * op->y_stride + column;
        float a = op->act != OP_ACT_NONE ? gated(op, x, column) : plain(op, x, column);

        if (op->residual != NULL)
            a = a + read_number(op->residual, at, op->w.dtype);
        if (op->y_dtype == OP_F32)
            ((float *)op->y)[at] = a;
        else
            ((uint16_t *)op->y)[at] = bf16_of_f32(a);
    }
}

void scalar_linear(struct device *dev, const struct op_linear *op)
{
    struct op_linear copy = *op;

    CHECK(op->w.k % 2 == 0 && op->w.k > 0 && op->w.k <= dev->k_max && op->w.n > 0);
    CHECK(op->act == OP_ACT_NONE || (op->w.paired && op->bias == NULL && op->softcap == 0.0f));
    pool_run(dev->pool, op->n_rows, linear_row, &copy);
}

void scalar_moe_linear(struct device *dev, const struct op_moe_linear *op)
{
    for (uint32_t e = 0; e < op->n_experts; e++) {
        uint32_t from = op->first[e];
        size_t y_at = (size_t)from * op->y_stride * cpu_dtype_bytes(op->y_dtype);
        size_t x_at = (size_t)from * op->x_stride * cpu_dtype_bytes(op->w[e].dtype);
        struct op_linear linear = {
            .x = (const uint8_t *)op->x + (op->rows == NULL ? x_at : 0),
            .rows = op->rows != NULL ? op->rows + from : NULL,
            .x_stride = op->x_stride,
            .y_stride = op->y_stride,
            .n_rows = op->first[e + 1] - from,
            .w = op->w[e],
            .act = op->act,
            .y_dtype = op->y_dtype,
            .y = (uint8_t *)op->y + y_at,
        };

        scalar_linear(dev, &linear);
    }
}
