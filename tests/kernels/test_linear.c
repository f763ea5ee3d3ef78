/* linear and moe_linear: the scalar table against sums written out here from unpacked rows, and
 * every other table against the scalar one, bit for bit, over shapes, epilogues and threads; and
 * rows against the same rows in another batch. Guards stand around every output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "kernels/fpmode.h"
#include "kernels/mathfn.h"
#include "tests/kernels/rig.h"

#define TABLES_MAX 8u

struct shape {
    uint32_t m, n, k;
    enum op_dtype dtype, y_dtype;
    enum op_act act;
    bool bias, residual, softcap, gather;
};

/* What a shape is computed from; the same for every table. */
struct operands {
    struct shape shape;
    struct rig_tensor x, rows, bias, residual;
    uint32_t gather[64];
    uint32_t x_stride, y_stride;
};

static struct operands make_operands(const struct shape *shape, uint64_t seed)
{
    struct operands in = {.shape = *shape};
    uint32_t n = shape->act != OP_ACT_NONE ? shape->n / 2 : shape->n;
    uint64_t random = seed + 1;

    in.x_stride = shape->k + 6;
    in.y_stride = n + 3;
    in.x = rig_tensor_random((size_t)(shape->m + 2) * in.x_stride, shape->dtype, 1.0f, seed + 1);
    in.rows = rig_tensor_random((size_t)shape->n * shape->k, shape->dtype, 0.1f, seed + 2);
    in.bias = rig_tensor_random(shape->n, OP_F32, 0.5f, seed + 3);
    in.residual = rig_tensor_random((size_t)shape->m * in.y_stride, shape->dtype, 2.0f, seed + 4);
    for (uint32_t i = 0; i < 64; i++)
        in.gather[i] = rig_below(&random, shape->m + 2);
    return in;
}

static void drop_operands(struct operands *in)
{
    rig_tensor_drop(&in->x);
    rig_tensor_drop(&in->rows);
    rig_tensor_drop(&in->bias);
    rig_tensor_drop(&in->residual);
}

static struct op_linear make_op(struct operands *in, const struct op_weight *w,
                                struct rig_tensor *y)
{
    const struct shape *shape = &in->shape;
    struct op_linear op = {
        .x = in->x.data,
        .rows = shape->gather ? in->gather : NULL,
        .x_stride = in->x_stride,
        .y_stride = in->y_stride,
        .n_rows = shape->m,
        .w = *w,
        .bias = shape->bias ? in->bias.data : NULL,
        .softcap = shape->softcap ? 1.5f : 0.0f,
        .act = shape->act,
        .residual = shape->residual ? in->residual.data : NULL,
        .y_dtype = shape->y_dtype,
        .y = y->data,
    };

    return op;
}

static struct rig_tensor run_linear(struct device *dev, struct operands *in)
{
    const struct shape *shape = &in->shape;
    struct rig_tensor y = rig_tensor_make((size_t)shape->m * in->y_stride, shape->y_dtype);
    struct op_weight w =
        rig_weight(dev, &in->rows, shape->n, shape->k, shape->dtype, shape->act != OP_ACT_NONE);
    struct op_linear op = make_op(in, &w, &y);

    device_ops(dev)->linear(dev, &op);
    assert_int_equal(device_wait(dev), STATUS_OK);
    rig_weight_drop(dev, &w);
    return y;
}

/* ---- the sums, written out ---- */

static float sum_of(const struct operands *in, uint32_t row, uint32_t column)
{
    const struct shape *shape = &in->shape;
    size_t x = (size_t)(shape->gather ? in->gather[row] : row) * in->x_stride;
    size_t w = (size_t)column * shape->k;
    float sum = 0.0f;

    if (shape->dtype == OP_F32) {
        for (uint32_t k = 0; k < shape->k; k++)
            sum = math_fma(rig_get(&in->x, x + k), rig_get(&in->rows, w + k), sum);
        return sum;
    }
    for (uint32_t k = 0; k < shape->k; k += 2) {
        sum = math_fma(rig_get(&in->x, x + k + 1), rig_get(&in->rows, w + k + 1), sum);
        sum = math_fma(rig_get(&in->x, x + k), rig_get(&in->rows, w + k), sum);
    }
    return sum;
}

static float output_of(const struct operands *in, uint32_t row, uint32_t column)
{
    const struct shape *shape = &in->shape;
    float a = sum_of(in, row, column), up;

    if (shape->bias)
        a = a + rig_get(&in->bias, column);
    if (shape->softcap)
        a = 1.5f * math_tanh(a / 1.5f);
    if (shape->act != OP_ACT_NONE) {
        up = sum_of(in, row, shape->n / 2 + column);
        a = (shape->act == OP_ACT_SILU_MUL ? math_silu(a) : math_gelu_tanh(a)) * up;
    }
    if (shape->residual)
        a = a + rig_get(&in->residual, (size_t)row * in->y_stride + column);
    return a;
}

static struct rig_tensor write_out(const struct operands *in)
{
    const struct shape *shape = &in->shape;
    struct rig_tensor y = rig_tensor_make((size_t)shape->m * in->y_stride, shape->y_dtype);
    uint32_t n = shape->act != OP_ACT_NONE ? shape->n / 2 : shape->n;
    struct fpmode mode = fpmode_enter();

    for (uint32_t row = 0; row < shape->m; row++) {
        for (uint32_t column = 0; column < n; column++) {
            size_t at = (size_t)row * in->y_stride + column;
            float a = output_of(in, row, column);

            if (shape->y_dtype == OP_F32)
                ((float *)y.data)[at] = a;
            else
                ((uint16_t *)y.data)[at] = bf16_of_f32(a);
        }
    }
    fpmode_leave(mode);
    return y;
}

/* ---- tests ---- */

static struct shape random_shape(uint64_t *random)
{
    struct shape shape = {
        .m = 1 + rig_below(random, 20),
        .n = 1 + rig_below(random, 200),
        .k = 2 + 2 * rig_below(random, 150),
        .dtype = rig_below(random, 3) == 0 ? OP_F32 : OP_BF16,
        .residual = rig_below(random, 2),
        .gather = rig_below(random, 3) == 0,
    };

    if (rig_below(random, 8) == 0)
        shape.k += 600; /* several blocks of K */
    if (rig_below(random, 3) == 0) {
        shape.act = rig_below(random, 2) ? OP_ACT_SILU_MUL : OP_ACT_GELU_TANH_MUL;
        shape.n += shape.n % 2;
    } else {
        shape.bias = rig_below(random, 2);
        shape.softcap = rig_below(random, 4) == 0;
    }
    shape.y_dtype = rig_below(random, 4) == 0 ? OP_F32 : shape.dtype;
    if (shape.y_dtype != shape.dtype)
        shape.residual = false;
    return shape;
}

static void assert_same(const char *table, const struct shape *shape, const struct rig_tensor *y,
                        const struct rig_tensor *truth)
{
    if (memcmp(y->data, truth->data, rig_bytes(y)) == 0)
        return;
    for (size_t i = 0; i < y->n; i++) {
        float a = rig_get(y, i), b = rig_get(truth, i);

        if (f32_bits(a) != f32_bits(b)) {
            (void)fprintf(stderr, "%s: m %u n %u k %u dtype %d act %d: [%zu] is %a, not %a\n",
                          table, shape->m, shape->n, shape->k, shape->dtype, shape->act, i,
                          (double)a, (double)b);
            break;
        }
    }
    fail_msg("bits differ");
}

static void scalar_is_the_contract(void **state)
{
    struct device *dev = rig_device("scalar", 2);
    uint64_t random = 4711;

    (void)state;
    for (uint32_t i = 0; i < 120; i++) {
        struct shape shape = random_shape(&random);
        struct operands in = make_operands(&shape, i * 10);
        struct rig_tensor y = run_linear(dev, &in), truth = write_out(&in);

        assert_same("scalar", &shape, &y, &truth);
        rig_tensor_drop(&y);
        rig_tensor_drop(&truth);
        drop_operands(&in);
    }
    device_close(dev);
}

static void compare_tables(const struct shape *shape, uint64_t seed, struct device *const *devs,
                           size_t n_devs, const char *const *names)
{
    struct operands in = make_operands(shape, seed);
    struct rig_tensor truth = run_linear(devs[0], &in);

    for (size_t i = 1; i < n_devs; i++) {
        struct rig_tensor y = run_linear(devs[i], &in);

        assert_same(names[i], shape, &y, &truth);
        rig_tensor_drop(&y);
    }
    rig_tensor_drop(&truth);
    drop_operands(&in);
}

static void tables_agree(void **state)
{
    const char *names[TABLES_MAX];
    struct device *devs[TABLES_MAX];
    size_t n = device_tables(names, TABLES_MAX);
    uint64_t random = 99;

    (void)state;
    CHECK(n <= TABLES_MAX);
    for (size_t i = 0; i < n; i++)
        devs[i] = rig_device(names[i], 1 + (uint32_t)i % 4);
    for (uint32_t i = 0; i < 250; i++) {
        struct shape shape = random_shape(&random);

        compare_tables(&shape, i * 10 + 5, devs, n, names);
    }
    for (uint32_t m = 1; m <= 64; m++) {
        struct shape shape = {.m = m, .n = 65, .k = 258, .residual = true};

        shape.dtype = shape.y_dtype = m % 2 ? OP_BF16 : OP_F32;
        compare_tables(&shape, m, devs, n, names);
        shape.dtype = shape.y_dtype = m % 2 ? OP_F32 : OP_BF16;
        compare_tables(&shape, m, devs, n, names);
    }
    for (size_t i = 0; i < n; i++)
        device_close(devs[i]);
}

/* More rows than a block, so that a thread packs twice; and a row alone gives the same. */
static void rows_do_not_know_each_other(void **state)
{
    struct shape shape = {
        .m = 1100, .n = 70, .k = 516, .dtype = OP_BF16, .y_dtype = OP_BF16, .residual = true};
    struct operands in = make_operands(&shape, 3);
    struct rig_tensor truth;

    (void)state;
    for (uint32_t n_threads = 1; n_threads <= 4; n_threads++) {
        struct device *dev = rig_device(NULL, n_threads);
        struct rig_tensor y = run_linear(dev, &in);

        if (n_threads == 1)
            truth = y;
        else
            assert_same("auto", &shape, &y, &truth);
        for (uint32_t row = 0; row < shape.m && n_threads == 2; row += 37) {
            struct operands one = in;
            struct rig_tensor alone;

            one.shape.m = 1;
            one.x.data = (uint16_t *)in.x.data + (size_t)row * in.x_stride;
            one.residual.data = (uint16_t *)in.residual.data + (size_t)row * in.y_stride;
            alone = run_linear(dev, &one);
            assert_memory_equal(alone.data, (uint16_t *)y.data + (size_t)row * in.y_stride,
                                shape.n * 2);
            rig_tensor_drop(&alone);
        }
        if (n_threads > 1)
            rig_tensor_drop(&y);
        device_close(dev);
    }
    rig_tensor_drop(&truth);
    drop_operands(&in);
}

static void flushing_agrees(void **state)
{
    const char *names[TABLES_MAX];
    size_t n = device_tables(names, TABLES_MAX);
    struct shape shape = {.m = 7, .n = 130, .k = 64, .dtype = OP_BF16, .y_dtype = OP_F32};
    struct operands in = make_operands(&shape, 12);
    uint64_t random = 5;
    struct rig_tensor truth;

    (void)state;
    /* Products and sums around the smallest normal number. */
    for (size_t i = 0; i < in.x.n; i++)
        ((uint16_t *)in.x.data)[i] =
            (uint16_t)((rig_random(&random) & 0x807f) | (rig_below(&random, 70) << 7));
    for (size_t i = 0; i < in.rows.n; i++)
        ((uint16_t *)in.rows.data)[i] =
            (uint16_t)((rig_random(&random) & 0x807f) | ((60 + rig_below(&random, 12)) << 7));
    for (size_t i = 0; i < n; i++) {
        struct device *dev = rig_device(names[i], 2);
        struct rig_tensor y = run_linear(dev, &in);

        if (i == 0)
            truth = y;
        else
            assert_same(names[i], &shape, &y, &truth);
        if (i > 0)
            rig_tensor_drop(&y);
        device_close(dev);
    }
    rig_tensor_drop(&truth);
    drop_operands(&in);
}

#define EXPERTS 5u

static void experts_are_linears(void **state)
{
    const char *names[TABLES_MAX];
    size_t n_names = device_tables(names, TABLES_MAX);
    const uint32_t first[EXPERTS + 1] = {0, 3, 3, 20, 21, 30}, n = 96, k = 300, n_places = 30;
    struct rig_tensor x = rig_tensor_random(40 * k, OP_BF16, 1.0f, 1);
    uint32_t rows[30];
    uint64_t random = 8;

    (void)state;
    for (uint32_t i = 0; i < n_places; i++)
        rows[i] = rig_below(&random, 40);
    for (size_t t = 0; t < n_names; t++) {
        struct device *dev = rig_device(names[t], 3);
        struct rig_tensor y = rig_tensor_make(n_places * n / 2, OP_BF16);
        struct rig_tensor truth = rig_tensor_make(n_places * n / 2, OP_BF16);
        struct op_weight w[EXPERTS];

        for (uint32_t e = 0; e < EXPERTS; e++) {
            struct rig_tensor source = rig_tensor_random(n * k, OP_BF16, 0.1f, e + 30);

            w[e] = rig_weight(dev, &source, n, k, OP_BF16, true);
            rig_tensor_drop(&source);
        }
        struct op_moe_linear op = {.x = x.data,
                                   .rows = rows,
                                   .x_stride = k,
                                   .y_stride = n / 2,
                                   .n_experts = EXPERTS,
                                   .n_places = n_places,
                                   .first = first,
                                   .w = w,
                                   .act = OP_ACT_SILU_MUL,
                                   .y_dtype = OP_BF16,
                                   .y = y.data};
        device_ops(dev)->moe_linear(dev, &op);
        for (uint32_t e = 0; e < EXPERTS; e++) {
            struct op_linear one = {.x = x.data,
                                    .rows = rows + first[e],
                                    .x_stride = k,
                                    .y_stride = n / 2,
                                    .n_rows = first[e + 1] - first[e],
                                    .w = w[e],
                                    .act = OP_ACT_SILU_MUL,
                                    .y_dtype = OP_BF16,
                                    .y = (uint16_t *)truth.data + first[e] * n / 2};

            device_ops(dev)->linear(dev, &one);
            rig_weight_drop(dev, &w[e]);
        }
        assert_memory_equal(y.data, truth.data, rig_bytes(&y));
        rig_tensor_drop(&y);
        rig_tensor_drop(&truth);
        device_close(dev);
    }
    rig_tensor_drop(&x);
}

/* A file may hold fp16 or fp32 where the mode is bf16, and any of them where it is fp32. */
static void sources_are_converted(void **state)
{
    const enum op_dtype sources[] = {OP_BF16, OP_F16, OP_F32};
    struct device *dev = rig_device(NULL, 2);
    const uint32_t n = 70, k = 34;

    (void)state;
    for (uint32_t s = 0; s < 3; s++) {
        for (uint32_t d = 0; d < 2; d++) {
            enum op_dtype dtype = d ? OP_F32 : OP_BF16;
            struct rig_tensor source =
                rig_tensor_random(n * k, sources[s] == OP_F32 ? OP_F32 : OP_BF16, 1.0f, 7);
            source.dtype = sources[s];
            struct op_weight w = rig_weight(dev, &source, n, k, dtype, false);

            for (uint32_t row = 0; row < n; row++) {
                for (uint32_t i = 0; i < k; i++) {
                    uint16_t half = ((uint16_t *)source.data)[row * k + i];
                    float x = sources[s] == OP_F32   ? ((float *)source.data)[row * k + i]
                              : sources[s] == OP_F16 ? f32_of_f16(half)
                                                     : f32_of_bf16(half);
                    size_t panel = (size_t)(row / 64) * k * 64;
                    float got;

                    if (d)
                        got = ((const float *)w.data)[panel + i * 64 + row % 64];
                    else
                        got = f32_of_bf16(
                            ((const uint16_t *)w.data)[panel + i / 2 * 128 + row % 64 * 2 + i % 2]);
                    if (!d)
                        x = f32_of_bf16(bf16_of_f32(x));
                    if (x == x)
                        assert_int_equal(f32_bits(got), f32_bits(x));
                }
            }
            rig_weight_drop(dev, &w);
            rig_tensor_drop(&source);
        }
    }
    device_close(dev);
}

/* One number for the bits of many outputs. It is part of contract version 1: the same from every
 * compiler; if it must change, so must the version. */
#define CONTRACT_1_HASH UINT64_C(0x4aeed7499e25df35)

static void bits_are_those_of_the_contract(void **state)
{
    struct device *dev = rig_device(NULL, 2);
    uint64_t random = 2024, hash = UINT64_C(0xcbf29ce484222325);

    (void)state;
    for (uint32_t i = 0; i < 60; i++) {
        struct shape shape = random_shape(&random);
        struct operands in = make_operands(&shape, i + 500);
        struct rig_tensor y = run_linear(dev, &in);

        for (size_t at = 0; at < rig_bytes(&y); at++)
            hash = (hash ^ ((const uint8_t *)y.data)[at]) * UINT64_C(0x100000001b3);
        rig_tensor_drop(&y);
        drop_operands(&in);
    }
    device_close(dev);
    if (hash != CONTRACT_1_HASH)
        fail_msg("the hash is 0x%016llx", (unsigned long long)hash);
}

static void unknown_tables_are_refused(void **state)
{
    struct device_cfg cfg = {.table = "abacus", .n_threads = 1, .k_max = 64};
    char why[DEVICE_WHY_MAX];
    struct device *dev;

    (void)state;
    assert_int_equal(device_open(&cfg, &dev, why), STATUS_NOT_FOUND);
    assert_non_null(strstr(why, "abacus"));
    cfg.table = "scalar";
    cfg.k_max = 0;
    assert_int_equal(device_open(&cfg, &dev, why), STATUS_INVALID);
    device_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalar_is_the_contract),
        cmocka_unit_test(tables_agree),
        cmocka_unit_test(rows_do_not_know_each_other),
        cmocka_unit_test(flushing_agrees),
        cmocka_unit_test(experts_are_linears),
        cmocka_unit_test(sources_are_converted),
        cmocka_unit_test(bits_are_those_of_the_contract),
        cmocka_unit_test(unknown_tables_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
