#include "tests/kernels/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kernels/bf16.h"

#define GUARD_BYTE 0xa5

uint64_t rig_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

uint32_t rig_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)((rig_random(state) >> 32) * n >> 32);
}

float rig_number(uint64_t *state, float scale)
{
    uint32_t kind = rig_below(state, 64);
    float sum = 0.0f;

    if (kind == 0)
        return rig_below(state, 2) ? -0.0f : 0.0f;
    for (int i = 0; i < 4; i++)
        sum += (float)(int32_t)(rig_random(state) >> 32) * 0x1p-31f;
    if (kind == 1)
        return sum * scale * 64.0f;
    return kind == 2 ? sum * scale * 0x1p-20f : sum * scale;
}

struct device *rig_device(const char *table, uint32_t n_threads)
{
    const struct device_cfg cfg = {.table = table, .n_threads = n_threads, .k_max = RIG_K_MAX};
    char why[DEVICE_WHY_MAX];
    struct device *dev;
    enum status status = device_open(&cfg, &dev, why);

    if (status != STATUS_OK)
        (void)fprintf(stderr, "device_open: %s\n", why);
    CHECK(status == STATUS_OK);
    return dev;
}

static size_t element_bytes(enum op_dtype dtype)
{
    return dtype == OP_F32 ? 4 : 2;
}

size_t rig_bytes(const struct rig_tensor *tensor)
{
    return tensor->n * element_bytes(tensor->dtype);
}

struct rig_tensor rig_tensor_make(size_t n, enum op_dtype dtype)
{
    size_t guard = RIG_GUARD * element_bytes(dtype), bytes = n * element_bytes(dtype);
    struct rig_tensor tensor = {.n = n, .dtype = dtype};

    tensor.memory = aligned_alloc(64, (bytes + 2 * guard + 63) / 64 * 64);
    CHECK(tensor.memory != NULL);
    memset(tensor.memory, GUARD_BYTE, bytes + 2 * guard);
    tensor.data = (uint8_t *)tensor.memory + guard;
    return tensor;
}

struct rig_tensor rig_tensor_random(size_t n, enum op_dtype dtype, float scale, uint64_t seed)
{
    struct rig_tensor tensor = rig_tensor_make(n, dtype);
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (size_t i = 0; i < n; i++) {
        float x = rig_number(&state, scale);

        if (dtype == OP_F32)
            ((float *)tensor.data)[i] = x;
        else
            ((uint16_t *)tensor.data)[i] = bf16_of_f32(x);
    }
    return tensor;
}

void rig_tensor_drop(struct rig_tensor *tensor)
{
    size_t guard = RIG_GUARD * element_bytes(tensor->dtype), bytes = rig_bytes(tensor);
    const uint8_t *memory = tensor->memory;

    for (size_t i = 0; i < guard; i++) {
        CHECK(memory[i] == GUARD_BYTE);
        CHECK(memory[guard + bytes + i] == GUARD_BYTE);
    }
    free(tensor->memory);
}

float rig_get(const struct rig_tensor *tensor, size_t at)
{
    if (tensor->dtype == OP_F32)
        return ((const float *)tensor->data)[at];
    return f32_of_bf16(((const uint16_t *)tensor->data)[at]);
}

struct op_weight rig_weight(struct device *dev, const struct rig_tensor *rows, uint32_t n,
                            uint32_t k, enum op_dtype dtype, bool paired)
{
    const struct ops *ops = device_ops(dev);
    struct op_weight w = {.n = n, .k = k, .dtype = dtype, .paired = paired};
    uint32_t half = n / 2;
    void *data;

    CHECK(device_alloc(dev, ops->weight_bytes(&w), &data) == STATUS_OK);
    /* In two parts, as q, k and v or gate and up come. */
    struct op_pack pack = {
        .dst = data, .src = rows->data, .dtype = rows->dtype, .n_rows = half, .row = 0};
    ops->pack(dev, &w, &pack);
    pack.src = (const uint8_t *)rows->data + (size_t)half * k * element_bytes(rows->dtype);
    pack.n_rows = n - half;
    pack.row = half;
    ops->pack(dev, &w, &pack);
    w.data = data;
    return w;
}

void rig_weight_drop(struct device *dev, struct op_weight *w)
{
    void *data = (void *)(uintptr_t)w->data;

    device_free(dev, data, device_ops(dev)->weight_bytes(w));
}
