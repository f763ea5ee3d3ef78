/* Embedding, norm, angles, routing and the sum of experts: the scalar table against fp64, the other
 * tables against the scalar one, bit for bit, over shapes, threads and places in a batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kernels/bf16.h"
#include "tests/kernels/rig.h"

#define TABLES_MAX 8u

struct tables {
    const char *names[TABLES_MAX];
    struct device *devs[TABLES_MAX];
    size_t n;
};

static struct tables open_tables(void)
{
    struct tables tables;

    tables.n = device_tables(tables.names, TABLES_MAX);
    CHECK(tables.n <= TABLES_MAX);
    for (size_t t = 0; t < tables.n; t++)
        tables.devs[t] = rig_device(tables.names[t], 1 + (uint32_t)t);
    return tables;
}

static void close_tables(struct tables *tables)
{
    for (size_t t = 0; t < tables->n; t++)
        device_close(tables->devs[t]);
}

static void assert_same(const char *table, const char *what, const struct rig_tensor *y,
                        const struct rig_tensor *truth)
{
    for (size_t i = 0; i < y->n; i++)
        if (f32_bits(rig_get(y, i)) != f32_bits(rig_get(truth, i)))
            fail_msg("%s: %s[%zu] is %a, not %a", table, what, i, (double)rig_get(y, i),
                     (double)rig_get(truth, i));
}

static enum op_dtype any_dtype(uint64_t *random)
{
    return rig_below(random, 2) ? OP_F32 : OP_BF16;
}

/* Half a unit in the last place of the dtype, relative. */
static double rounding_of(enum op_dtype dtype)
{
    return dtype == OP_F32 ? 0x1p-24 : 0x1p-8;
}

/* ---- embed ---- */

static void embed_gathers_and_scales(void **state)
{
    struct tables tables = open_tables();
    uint64_t random = 3;

    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        uint32_t vocab = 2 + rig_below(&random, 300), k = 2 + 2 * rig_below(&random, 100);
        uint32_t n_rows = 1 + rig_below(&random, 64), tokens[64];
        enum op_dtype dtype = any_dtype(&random);
        float scale = i % 3 ? 1.0f : 11.3125f;
        struct rig_tensor rows = rig_tensor_random((size_t)vocab * k, dtype, 1.0f, i);

        for (uint32_t r = 0; r < n_rows; r++)
            tokens[r] = rig_below(&random, vocab);
        for (size_t t = 0; t < tables.n; t++) {
            struct rig_tensor y = rig_tensor_make((size_t)n_rows * k, dtype);
            struct op_weight w = rig_weight(tables.devs[t], &rows, vocab, k, dtype, false);
            struct op_embed op = {
                .tokens = tokens, .w = w, .scale = scale, .n_rows = n_rows, .y = y.data};

            device_ops(tables.devs[t])->embed(tables.devs[t], &op);
            for (size_t at = 0; at < y.n; at++) {
                float x = rig_get(&rows, (size_t)tokens[at / k] * k + at % k) * scale;

                x = dtype == OP_F32 ? x : f32_of_bf16(bf16_of_f32(x));
                assert_true(f32_bits(rig_get(&y, at)) == f32_bits(x));
            }
            rig_weight_drop(tables.devs[t], &w);
            rig_tensor_drop(&y);
        }
        rig_tensor_drop(&rows);
    }
    close_tables(&tables);
}

/* ---- norm ---- */

struct norm_case {
    struct rig_tensor x, w, residual;
    uint32_t rows[64], n_rows, n;
    enum op_dtype dtype;
    bool gather, adds, in_place;
};

static struct rig_tensor run_norm(struct device *dev, struct norm_case *in)
{
    struct rig_tensor y = rig_tensor_make((size_t)in->n_rows * in->n, in->dtype);
    struct op_norm op = {.x = in->x.data,
                         .rows = in->gather ? in->rows : NULL,
                         .w = in->w.data,
                         .residual = in->adds ? in->residual.data : NULL,
                         .eps = 1e-5f,
                         .n_rows = in->n_rows,
                         .n = in->n,
                         .dtype = in->dtype,
                         .y = y.data};

    if (in->in_place) { /* y is x, or the residual: both are allowed */
        memcpy(y.data, op.residual != NULL ? op.residual : op.x, rig_bytes(&y));
        if (op.residual != NULL)
            op.residual = y.data;
        else
            op.x = y.data;
    }
    device_ops(dev)->norm(dev, &op);
    CHECK(device_wait(dev) == STATUS_OK);
    return y;
}

static void check_norm(const struct norm_case *in, const struct rig_tensor *y)
{
    for (uint32_t r = 0; r < in->n_rows; r++) {
        size_t from = (size_t)(in->gather ? in->rows[r] : r) * in->n, to = (size_t)r * in->n;
        double sum = 0;

        for (uint32_t i = 0; i < in->n; i++)
            sum += (double)rig_get(&in->x, from + i) * (double)rig_get(&in->x, from + i);
        for (uint32_t i = 0; i < in->n; i++) {
            double part = (double)rig_get(&in->x, from + i) / sqrt(sum / in->n + 1e-5) *
                          (double)rig_get(&in->w, i);
            double more = in->adds ? (double)rig_get(&in->residual, to + i) : 0.0;
            double error = fabs((double)rig_get(y, to + i) - (part + more));

            assert_true(error <= rounding_of(in->dtype) * fabs(part + more) +
                                     1e-6 * (fabs(part) + fabs(more)) + 1e-37);
        }
    }
}

static void norm_is_what_it_says(void **state)
{
    struct tables tables = open_tables();
    uint64_t random = 8;

    (void)state;
    for (uint32_t i = 0; i < 200; i++) {
        struct norm_case in = {.n_rows = i < 64 ? i + 1 : 1 + rig_below(&random, 64),
                               .n = 1 + rig_below(&random, i % 4 ? 300 : 3000),
                               .dtype = any_dtype(&random),
                               .gather = rig_below(&random, 3) == 0,
                               .adds = rig_below(&random, 2)};
        struct rig_tensor truth;

        in.in_place = !in.gather && rig_below(&random, 2);
        in.x = rig_tensor_random((size_t)(in.n_rows + 3) * in.n, in.dtype, 2.0f, i);
        in.w = rig_tensor_random(in.n, OP_F32, 1.0f, i + 1000);
        in.residual = rig_tensor_random((size_t)in.n_rows * in.n, in.dtype, 1.0f, i + 2000);
        for (uint32_t r = 0; r < in.n_rows; r++)
            in.rows[r] = rig_below(&random, in.n_rows + 3);
        truth = run_norm(tables.devs[0], &in);
        check_norm(&in, &truth);
        for (size_t t = 1; t < tables.n; t++) {
            struct rig_tensor y = run_norm(tables.devs[t], &in);

            assert_same(tables.names[t], "norm", &y, &truth);
            rig_tensor_drop(&y);
        }
        rig_tensor_drop(&truth);
        rig_tensor_drop(&in.x);
        rig_tensor_drop(&in.w);
        rig_tensor_drop(&in.residual);
    }
    close_tables(&tables);
}

/* ---- angles ---- */

static void angles_are_sines_and_cosines(void **state)
{
    enum { ROWS = 200, FREQS = 64 };
    struct device *dev = rig_device(NULL, 2);
    struct rig_tensor freqs = rig_tensor_make(FREQS, OP_F32);
    struct rig_tensor y = rig_tensor_make((size_t)ROWS * FREQS * 2, OP_F32);
    uint32_t positions[ROWS];
    struct op_angles op = {.positions = positions,
                           .freqs = freqs.data,
                           .scale = 1.25f,
                           .n_rows = ROWS,
                           .n_freqs = FREQS,
                           .y = y.data};
    uint64_t random = 1;

    (void)state;
    for (uint32_t i = 0; i < FREQS; i++)
        ((float *)freqs.data)[i] = (float)pow(500000.0, -(double)i / FREQS);
    for (uint32_t r = 0; r < ROWS; r++)
        positions[r] = r < 100 ? r : rig_below(&random, 1u << 20);
    device_ops(dev)->angles(dev, &op);
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t i = 0; i < FREQS; i++) {
            double t = (double)((float)positions[r] * rig_get(&freqs, i));
            size_t at = 2 * ((size_t)r * FREQS + i);

            assert_true(fabs((double)rig_get(&y, at) - 1.25 * cos(t)) < 2e-7);
            assert_true(fabs((double)rig_get(&y, at + 1) - 1.25 * sin(t)) < 2e-7);
        }
    rig_tensor_drop(&freqs);
    rig_tensor_drop(&y);
    device_close(dev);
}

/* ---- mixtures ---- */

struct route {
    struct rig_tensor weights;
    uint32_t first[129], rows[64 * 8], places[64 * 8];
};

static struct route run_route(struct device *dev, const struct rig_tensor *logits, uint32_t n_rows,
                              uint32_t n_experts, uint32_t top_k, bool renormalise)
{
    struct route route = {.weights = rig_tensor_make((size_t)n_rows * top_k, OP_F32)};
    struct op_moe_route op = {.logits = logits->data,
                              .n_rows = n_rows,
                              .n_experts = n_experts,
                              .top_k = top_k,
                              .renormalise = renormalise,
                              .scale = renormalise ? 1.0f : 2.5f,
                              .weights = route.weights.data,
                              .first = route.first,
                              .rows = route.rows,
                              .places = route.places};

    memset(route.first, 0xee, sizeof(route.first));
    memset(route.rows, 0xee, sizeof(route.rows));
    memset(route.places, 0xee, sizeof(route.places));
    device_ops(dev)->moe_route(dev, &op);
    assert_int_equal(route.first[n_experts], n_rows * top_k);
    if (n_experts < 128)
        assert_int_equal(route.first[n_experts + 1], 0xeeeeeeeeu);
    return route;
}

/* The experts of each row by a plain choice, and their places by going through them. */
static void check_route(const struct route *route, const struct rig_tensor *logits, uint32_t n_rows,
                        uint32_t n_experts, uint32_t top_k, bool renormalise)
{
    for (uint32_t r = 0; r < n_rows; r++) {
        double best = 0, sum = 0;
        bool taken[128] = {false};

        for (uint32_t j = 0; j < top_k; j++) {
            uint32_t place = route->places[r * top_k + j], expert = 0;

            while (route->first[expert + 1] <= place)
                expert++;
            assert_int_equal(route->rows[place], r);
            if (place > route->first[expert])
                assert_true(route->rows[place - 1] < r);
            taken[expert] = true;
            for (uint32_t e = 0; e < n_experts; e++) {
                float a = rig_get(logits, r * n_experts + e);
                float b = rig_get(logits, r * n_experts + expert);

                assert_true(taken[e] || a < b || (a == b && e > expert));
            }
            if (j == 0)
                best = (double)rig_get(logits, r * n_experts + expert);
            if (renormalise)
                sum += exp((double)rig_get(logits, r * n_experts + expert) - best);
        }
        for (uint32_t e = 0; e < n_experts && !renormalise; e++)
            sum += exp((double)rig_get(logits, r * n_experts + e) - best);
        for (uint32_t j = 0; j < top_k; j++) {
            uint32_t place = route->places[r * top_k + j], expert = 0;
            double below, weight;

            while (route->first[expert + 1] <= place)
                expert++;
            below = best - (double)rig_get(logits, r * n_experts + expert);
            weight = exp(-below) / sum;
            weight *= renormalise ? 1.0 : 2.5;
            /* The product with log2(e) is rounded: an error that grows with the exponent. */
            assert_true(fabs((double)rig_get(&route->weights, r * top_k + j) - weight) <=
                        (2e-6 + 2e-7 * below) * weight + 1e-37);
        }
    }
}

static struct rig_tensor run_sum(struct device *dev, const struct rig_tensor *x,
                                 const struct route *route, const struct rig_tensor *residual,
                                 uint32_t n_rows, uint32_t n, uint32_t top_k)
{
    struct rig_tensor y = rig_tensor_make((size_t)n_rows * n, residual->dtype);
    struct op_moe_sum op = {.x = x->data,
                            .weights = route->weights.data,
                            .places = route->places,
                            .residual = n % 2 ? residual->data : NULL,
                            .n_rows = n_rows,
                            .n = n,
                            .top_k = top_k,
                            .x_dtype = x->dtype,
                            .dtype = residual->dtype,
                            .y = y.data};

    device_ops(dev)->moe_sum(dev, &op);
    return y;
}

static void check_sum(const struct rig_tensor *y, const struct rig_tensor *x,
                      const struct route *route, const struct rig_tensor *residual, uint32_t n,
                      uint32_t top_k)
{
    for (size_t i = 0; i < y->n; i++) {
        double a = 0, size = 0;

        for (uint32_t j = 0; j < top_k; j++) {
            size_t slot = i / n * top_k + j;
            double part = (double)rig_get(&route->weights, slot) *
                          (double)rig_get(x, (size_t)route->places[slot] * n + i % n);

            a += part;
            size += fabs(part);
        }
        if (n % 2) {
            a += (double)rig_get(residual, i);
            size += fabs((double)rig_get(residual, i));
        }
        assert_true(fabs((double)rig_get(y, i) - a) <=
                    rounding_of(y->dtype) * fabs(a) + 2e-6 * size + 1e-37);
    }
}

static void experts_are_chosen_and_summed(void **state)
{
    struct tables tables = open_tables();
    uint64_t random = 21;

    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t n_rows = 1 + rig_below(&random, 64), n_experts = 8 + rig_below(&random, 121);
        uint32_t top_k = 1 + rig_below(&random, 8), n = 1 + rig_below(&random, 200);
        bool renormalise = rig_below(&random, 2);
        struct rig_tensor logits = rig_tensor_random(n_rows * n_experts, OP_F32, 2.0f, i);
        struct rig_tensor x =
            rig_tensor_random((size_t)n_rows * top_k * n, any_dtype(&random), 1.0f, i + 500);
        struct rig_tensor residual =
            rig_tensor_random((size_t)n_rows * n, any_dtype(&random), 1.0f, i + 900);
        struct route truth =
            run_route(tables.devs[0], &logits, n_rows, n_experts, top_k, renormalise);
        struct rig_tensor sum = run_sum(tables.devs[0], &x, &truth, &residual, n_rows, n, top_k);

        check_route(&truth, &logits, n_rows, n_experts, top_k, renormalise);
        check_sum(&sum, &x, &truth, &residual, n, top_k);
        for (size_t t = 1; t < tables.n; t++) {
            struct route route =
                run_route(tables.devs[t], &logits, n_rows, n_experts, top_k, renormalise);
            struct rig_tensor y = run_sum(tables.devs[t], &x, &route, &residual, n_rows, n, top_k);

            assert_same(tables.names[t], "weights", &route.weights, &truth.weights);
            assert_memory_equal(route.first, truth.first, sizeof(truth.first));
            assert_memory_equal(route.rows, truth.rows, sizeof(truth.rows));
            assert_memory_equal(route.places, truth.places, sizeof(truth.places));
            assert_same(tables.names[t], "sum", &y, &sum);
            rig_tensor_drop(&route.weights);
            rig_tensor_drop(&y);
        }
        rig_tensor_drop(&truth.weights);
        rig_tensor_drop(&sum);
        rig_tensor_drop(&logits);
        rig_tensor_drop(&x);
        rig_tensor_drop(&residual);
    }
    close_tables(&tables);
}

static uint64_t add_to_hash(uint64_t hash, const struct rig_tensor *y)
{
    for (size_t at = 0; at < rig_bytes(y); at++)
        hash = (hash ^ ((const uint8_t *)y->data)[at]) * UINT64_C(0x100000001b3);
    return hash;
}

/* What the scalar table gave when contract version 1 was written, whatever the compiler; the tests
 * above say the same of the others. A new version brings a new number. */
#define CONTRACT_1_HASH UINT64_C(0xe6851236f79b8a26)

static void bits_are_those_of_the_contract(void **state)
{
    struct device *dev = rig_device("scalar", 2);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct norm_case in = {
            .n_rows = 9, .n = 333, .dtype = i % 2 ? OP_F32 : OP_BF16, .adds = i / 2 == 1};
        struct rig_tensor logits = rig_tensor_random(20 * 50, OP_F32, 2.0f, i), y, sum;
        struct route route = run_route(dev, &logits, 20, 50, 4, i % 2);

        in.x = rig_tensor_random((size_t)in.n_rows * in.n, in.dtype, 2.0f, i + 10);
        in.w = rig_tensor_random(in.n, OP_F32, 1.0f, i + 20);
        in.residual = rig_tensor_random(in.x.n, in.dtype, 1.0f, i + 30);
        y = run_norm(dev, &in);
        sum = run_sum(dev, &in.x, &route, &in.residual, 20, 31, 4);
        hash = add_to_hash(add_to_hash(add_to_hash(hash, &y), &sum), &route.weights);
        rig_tensor_drop(&y);
        rig_tensor_drop(&sum);
        rig_tensor_drop(&route.weights);
        rig_tensor_drop(&logits);
        rig_tensor_drop(&in.x);
        rig_tensor_drop(&in.w);
        rig_tensor_drop(&in.residual);
    }
    if (hash != CONTRACT_1_HASH)
        fail_msg("the hash is 0x%016llx", (unsigned long long)hash);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embed_gathers_and_scales),
        cmocka_unit_test(norm_is_what_it_says),
        cmocka_unit_test(angles_are_sines_and_cosines),
        cmocka_unit_test(experts_are_chosen_and_summed),
        cmocka_unit_test(bits_are_those_of_the_contract),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
