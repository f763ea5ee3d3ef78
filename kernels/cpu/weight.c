/* Packed weights: [panel][k/2][64][2] bf16 or [panel][k][64] fp32. Packing runs on all threads, a
 * group of source rows each: it reads the file's mapping once, in order. */
#include <string.h>

#include "base/check.h"
#include "kernels/cpu/cpu.h"
#include "kernels/bf16.h"

#define ROWS_TASK 32u
#define K_TASK                                                                                     \
    512u /* 64 columns x 512 x 2 bytes: the part of a panel being written stays cached             \
          */

size_t cpu_panel_bytes(const struct op_weight *w)
{
    return (size_t)w->k * OPS_PANEL * cpu_dtype_bytes(w->dtype);
}

size_t cpu_weight_bytes(const struct op_weight *w)
{
    CHECK(w->k % 2 == 0 && w->k > 0 && w->n > 0 && (!w->paired || w->n % 2 == 0));
    CHECK(w->dtype == OP_BF16 || w->dtype == OP_F32);
    return cpu_panel_bytes(w) * cpu_n_panels(w);
}

struct packing {
    const struct op_weight *w;
    const struct op_pack *op;
};

static float source_number(const uint8_t *p, enum op_dtype dtype)
{
    uint16_t half;
    float full;

    if (dtype == OP_F32) {
        memcpy(&full, p, sizeof(full));
        return full;
    }
    memcpy(&half, p, sizeof(half));
    return dtype == OP_F16 ? f32_of_f16(half) : f32_of_bf16(half);
}

/* k .. end of one source row, as they lie in a panel from `column`. */
static void pack_row_bf16(uint16_t *panel, uint32_t column, const uint8_t *src, uint32_t k,
                          uint32_t end, enum op_dtype dtype)
{
    uint16_t *out = panel + (size_t)k * OPS_PANEL + 2 * (size_t)column;

    for (; k < end; k += 2, out += 2 * OPS_PANEL) {
        if (dtype == OP_BF16) {
            memcpy(out, src + 2 * (size_t)k, 4);
        } else {
            size_t bytes = cpu_dtype_bytes(dtype);

            out[0] = bf16_of_f32(source_number(src + k * bytes, dtype));
            out[1] = bf16_of_f32(source_number(src + (k + 1) * bytes, dtype));
        }
    }
}

static void pack_row_f32(float *panel, uint32_t column, const uint8_t *src, uint32_t k,
                         uint32_t end, enum op_dtype dtype)
{
    size_t bytes = cpu_dtype_bytes(dtype);

    for (; k < end; k++)
        panel[(size_t)k * OPS_PANEL + column] = source_number(src + k * bytes, dtype);
}

static void pack_task(void *ctx, uint32_t thread, uint32_t task)
{
    const struct packing *packing = ctx;
    const struct op_weight *w = packing->w;
    const struct op_pack *op = packing->op;
    uint32_t from = task * ROWS_TASK;
    uint32_t to = op->n_rows - from < ROWS_TASK ? op->n_rows : from + ROWS_TASK;
    size_t src_bytes = w->k * cpu_dtype_bytes(op->dtype);

    (void)thread;
    for (uint32_t k = 0; k < w->k; k += K_TASK) {
        uint32_t end = w->k - k < K_TASK ? w->k : k + K_TASK;

        for (uint32_t row = from; row < to; row++) {
            struct cpu_place place = cpu_weight_place(w, op->row + row);
            uint8_t *panel = (uint8_t *)op->dst + place.panel * cpu_panel_bytes(w);
            const uint8_t *src = (const uint8_t *)op->src + row * src_bytes;

            if (w->dtype == OP_BF16)
                pack_row_bf16((uint16_t *)(void *)panel, place.column, src, k, end, op->dtype);
            else
                pack_row_f32((float *)(void *)panel, place.column, src, k, end, op->dtype);
        }
    }
}

void cpu_pack(struct device *dev, const struct op_weight *w, const struct op_pack *op)
{
    struct packing packing = {w, op};

    CHECK(op->row <= w->n && op->n_rows <= w->n - op->row);
    CHECK(op->dtype == OP_BF16 || op->dtype == OP_F16 || op->dtype == OP_F32);
    pool_run(dev->pool, (op->n_rows + ROWS_TASK - 1) / ROWS_TASK, pack_task, &packing);
}
