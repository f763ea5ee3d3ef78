/* Rope with append, and attention: the scalar table against fp64, every other table against the
 * scalar one, and every way to cut a sequence into steps against one step, bit for bit. The digests
 * at the end are the same for every compiler, table and number of threads. */
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
#include "tests/kernels/kv_rig.h"

#define TABLES_MAX 8u

static const struct kv_feed AT_ONCE = {
    .rows_max = 1u << 20, .seqs_max = KV_SEQS_MAX, .exact = true, .seed = 1};

static void print_difference(const char *what, const struct kv_shape *shape,
                             const struct rig_tensor *a, const struct rig_tensor *truth)
{
    for (size_t i = 0; i < a->n; i++) {
        float x = rig_get(a, i), y = rig_get(truth, i);

        if (f32_bits(x) == f32_bits(y))
            continue;
        (void)fprintf(stderr,
                      "%s: dtype %d, heads %u/%u of %u, rot %u, window %u, cap %g, norm %d: "
                      "[%zu of %zu] is %a, not %a\n",
                      what, shape->dtype, shape->n_heads, shape->n_kv_heads, shape->head_dim,
                      shape->rot_dim, shape->window, (double)shape->softcap, shape->qk_norm, i,
                      a->n, (double)x, (double)y);
        return;
    }
}

static void assert_same(const char *table, const struct kv_shape *shape,
                        const struct kv_result *result, const struct kv_result *truth)
{
    if (memcmp(result->q.data, truth->q.data, rig_bytes(&truth->q)) != 0) {
        print_difference(table, shape, &result->q, &truth->q);
        fail_msg("q differs");
    }
    if (memcmp(result->kv.data, truth->kv.data, rig_bytes(&truth->kv)) != 0) {
        print_difference(table, shape, &result->kv, &truth->kv);
        fail_msg("KV differs");
    }
    if (memcmp(result->y.data, truth->y.data, rig_bytes(&truth->y)) != 0) {
        print_difference(table, shape, &result->y, &truth->y);
        fail_msg("attention differs");
    }
}

/* ---- fp64 ---- */

/* One head of one row: normed and rotated. */
static void turn_head(const struct kv_world *world, size_t at, const struct rig_tensor *norm,
                      uint32_t position, double *out)
{
    const struct kv_shape *shape = &world->shape;
    uint32_t half = shape->rot_dim / 2;
    double x[OPS_HEAD_DIM_MAX], sum = 0;

    for (uint32_t i = 0; i < shape->head_dim; i++) {
        x[i] = (double)rig_get(&world->qkv, at + i);
        sum += x[i] * x[i];
    }
    for (uint32_t i = 0; i < shape->head_dim; i++) {
        if (shape->qk_norm)
            x[i] *= (double)rig_get(norm, i) / sqrt(sum / shape->head_dim + 1e-6);
        out[i] = x[i];
    }
    for (uint32_t i = 0; i < half; i++) {
        double angle = (double)((float)position * rig_get(&world->freqs, i));

        out[i] = x[i] * cos(angle) - x[i + half] * sin(angle);
        out[i + half] = x[i + half] * cos(angle) + x[i] * sin(angle);
    }
}

/* Rope is within one rounding of the dtype, and fp32's own ones. */
static void check_rope(const struct kv_world *world, const struct kv_result *result)
{
    const struct kv_shape *shape = &world->shape;
    uint32_t dim = shape->head_dim, heads = shape->n_heads + 2 * shape->n_kv_heads;
    double rounding = shape->dtype == OP_F32 ? 0x1p-24 : 0x1p-8, y[OPS_HEAD_DIM_MAX];

    for (uint32_t s = 0; s < shape->n_seqs; s++)
        for (uint32_t t = 0; t < shape->length[s]; t++)
            for (uint32_t h = 0; h < shape->n_heads + shape->n_kv_heads; h++) {
                size_t row = world->first[s] + t;
                bool is_k = h >= shape->n_heads;
                size_t kv = (row * shape->n_kv_heads + (h - shape->n_heads)) * 2 * dim;
                double size = 0;

                turn_head(world, (row * heads + h) * dim, is_k ? &world->k_norm : &world->q_norm, t,
                          y);
                for (uint32_t i = 0; i < dim; i++)
                    size = fmax(size, fabs(y[i]));
                for (uint32_t i = 0; i < dim; i++) {
                    double got =
                        (double)(is_k ? rig_get(&result->kv, kv + i)
                                      : rig_get(&result->q, (row * shape->n_heads + h) * dim + i));

                    assert_true(fabs(got - y[i]) <= rounding * fabs(y[i]) + 1e-6 * size + 1e-37);
                }
            }
}

struct place {
    uint32_t seq, token, head;
};

/* One output row, from the q and the KV that the op itself read; returns the largest error. */
static double attention_error(const struct kv_world *world, const struct kv_result *result,
                              const struct place *at)
{
    const struct kv_shape *shape = &world->shape;
    uint32_t dim = shape->head_dim, group = shape->n_heads / shape->n_kv_heads;
    size_t q = ((size_t)(world->first[at->seq] + at->token) * shape->n_heads + at->head) * dim;
    uint32_t begin =
        shape->window > 0 && at->token >= shape->window ? at->token - shape->window + 1 : 0;
    double *p = malloc((at->token + 1) * sizeof(*p)), most = -1e300, sum = 0, error = 0, size = 0;

    CHECK(p != NULL);
    for (uint32_t t = begin; t <= at->token; t++) {
        size_t kv = world->first[at->seq] + t, k;
        double s = 0;

        k = (kv * shape->n_kv_heads + at->head / group) * 2 * dim;
        for (uint32_t i = 0; i < dim; i++)
            s += (double)rig_get(&result->q, q + i) * (double)rig_get(&result->kv, k + i);
        s *= (double)shape->scale;
        if (shape->softcap > 0)
            s = (double)shape->softcap * tanh(s / (double)shape->softcap);
        p[t] = s;
        most = fmax(most, s);
    }
    for (uint32_t t = begin; t <= at->token; t++)
        sum += p[t] = exp(p[t] - most);
    for (uint32_t i = 0; i < dim; i++) {
        double y = 0;

        for (uint32_t t = begin; t <= at->token; t++) {
            size_t kv = world->first[at->seq] + t;
            double v = (double)rig_get(
                &result->kv, ((kv * shape->n_kv_heads + at->head / group) * 2 + 1) * dim + i);

            y += p[t] / sum * v;
            size = fmax(size, fabs(v));
        }
        error = fmax(error, fabs(y - (double)rig_get(&result->y, q + i)));
    }
    free(p);
    return size > 0 ? error / size : error;
}

/* Errors are relative to the largest |v| seen: 2e-5 in fp32; in bf16 p and y are rounded to 8 bits,
 * each by up to 2^-8, and one row's roundings of p do not all go one way: 2^-7. */
static void scalar_is_attention(void **state)
{
    struct device *dev = rig_device("scalar", 2);

    (void)state;
    for (uint32_t i = 0; i < 16; i++) {
        struct kv_shape shape = {
            .dtype = i % 2 ? OP_F32 : OP_BF16,
            .n_heads = 2 + 2 * (i % 3),
            .n_kv_heads = 1 + i % 2,
            .head_dim = 16 + 16 * (i % 5),
            .rot_dim = i % 4 == 3 ? 8 : 16,
            .window = i % 4 == 1 ? 48 : 0,
            .softcap = i % 4 == 2 ? 3.0f : 0.0f,
            .scale = 0.3f,
            .qk_norm = i % 3 == 1,
            .spread = 2.0f,
            .n_seqs = 2,
            .length = {i < 2 ? 1200 : 100 + i, 3},
        };
        struct kv_world world = kv_world_make(&shape, i * 100);
        struct kv_result result = kv_run(dev, &world, &AT_ONCE);
        double error = 0;

        check_rope(&world, &result);
        for (uint32_t token = 0; token < shape.length[0]; token += i < 2 ? 97 : 7) {
            struct place at = {0, token, token % shape.n_heads};

            error = fmax(error, attention_error(&world, &result, &at));
        }
        for (uint32_t token = 0; token < 3; token++)
            error = fmax(error, attention_error(&world, &result, &(struct place){1, token, 0}));
        if (error > (shape.dtype == OP_F32 ? 2e-5 : 0x1p-7))
            fail_msg("shape %u: error %g of the largest value", i, error);
        kv_result_drop(&result);
        kv_world_drop(&world);
    }
    device_close(dev);
}

/* ---- tables and feeds ---- */

static struct kv_shape random_shape(uint64_t *random)
{
    static const uint32_t dims[] = {16, 32, 48, 64, 80, 96, 128, 256};
    static const uint32_t groups[] = {1, 1, 2, 3, 4, 5, 7, 8, 12, 36};
    struct kv_shape shape = {
        .dtype = rig_below(random, 3) == 0 ? OP_F32 : OP_BF16,
        .n_kv_heads = 1 + rig_below(random, 3),
        .head_dim = dims[rig_below(random, 8)],
        .softcap = rig_below(random, 4) == 0 ? 20.0f : 0.0f,
        .scale = rig_below(random, 2) ? 0.125f : 0.3f,
        .qk_norm = rig_below(random, 3) == 0,
        .spread = rig_below(random, 4) == 0 ? 8.0f : 1.0f,
        .n_seqs = 1 + rig_below(random, 4),
    };

    shape.n_heads = shape.n_kv_heads * groups[rig_below(random, 10)];
    shape.rot_dim =
        rig_below(random, 3) == 0 ? 2 * rig_below(random, shape.head_dim / 2 + 1) : shape.head_dim;
    if (rig_below(random, 3) == 0)
        shape.window = 1 + rig_below(random, 150);
    for (uint32_t s = 0; s < shape.n_seqs; s++)
        shape.length[s] = 1 + rig_below(random, 90);
    /* The definition is slow: long sequences only where heads are few and small. */
    if (shape.n_heads * shape.head_dim <= 192 && rig_below(random, 4) == 0)
        shape.length[0] = 400 + rig_below(random, 800);
    return shape;
}

static void tables_and_feeds_agree(void **state)
{
    const char *names[TABLES_MAX];
    struct device *devs[TABLES_MAX];
    size_t n = device_tables(names, TABLES_MAX);
    uint64_t random = 4;

    (void)state;
    CHECK(n <= TABLES_MAX);
    for (size_t i = 0; i < n; i++)
        devs[i] = rig_device(names[i], 1 + (uint32_t)i);
    for (uint32_t i = 0; i < 90; i++) {
        struct kv_shape shape = random_shape(&random);
        struct kv_world world = kv_world_make(&shape, i * 100);
        struct kv_result truth = kv_run(devs[0], &world, &AT_ONCE);

        for (size_t t = 1; t < n; t++) {
            struct kv_feed feed = {1 + rig_below(&random, 130), 1 + rig_below(&random, 4), false,
                                   rig_random(&random)};
            struct kv_result result = kv_run(devs[t], &world, &AT_ONCE);

            assert_same(names[t], &shape, &result, &truth);
            kv_result_drop(&result);
            result = kv_run(devs[t], &world, &feed);
            assert_same(names[t], &shape, &result, &truth);
            kv_result_drop(&result);
        }
        kv_result_drop(&truth);
        kv_world_drop(&world);
    }
    for (size_t i = 0; i < n; i++)
        device_close(devs[i]);
}

/* prefill(n) = prefill(k) + decode(n - k), whatever k, batch and threads: on the best table. */
static void decode_goes_on_where_prefill_ends(void **state)
{
    struct kv_shape shape = {.dtype = OP_BF16,
                             .n_heads = 8,
                             .n_kv_heads = 2,
                             .head_dim = 64,
                             .rot_dim = 64,
                             .scale = 0.125f,
                             .spread = 3.0f,
                             .n_seqs = 64};
    struct kv_world world;
    struct kv_result truth;

    (void)state;
    for (uint32_t s = 0; s < shape.n_seqs; s++)
        shape.length[s] = 1 + s * 19; /* up to 1198: three chunks */
    world = kv_world_make(&shape, 7);
    for (uint32_t n_threads = 1; n_threads <= 4; n_threads++) {
        const struct kv_feed feeds[] = {
            {1, 64, true, n_threads},    /* decode alone, in batches of up to 64 */
            {512, 3, true, n_threads},   /* prefill in chunks */
            {64, 8, true, n_threads},    /* whole blocks */
            {700, 64, false, n_threads}, /* ragged */
            {4, 16, false, n_threads},   /* verify */
        };
        struct device *dev = rig_device(NULL, n_threads);

        if (n_threads == 1)
            truth = kv_run(dev, &world, &AT_ONCE);
        for (uint32_t i = 0; i < sizeof(feeds) / sizeof(feeds[0]); i++) {
            struct kv_result result = kv_run(dev, &world, &feeds[i]);

            assert_same("auto", &shape, &result, &truth);
            kv_result_drop(&result);
        }
        device_close(dev);
    }
    kv_result_drop(&truth);
    kv_world_drop(&world);
}

static uint64_t digest(uint64_t hash, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* What these inputs gave when contract version 1 was written. Other bits on any compiler or machine
 * are a fault; a new contract version brings new numbers. */
static void bits_are_those_of_the_contract(void **state)
{
    static const uint64_t expected[] = {UINT64_C(0x5f861c2a08aba4f4), UINT64_C(0xf124204005843033),
                                        UINT64_C(0x711ef9db5024e3b8), UINT64_C(0x6a25ff9168fa33c2)};
    const char *names[TABLES_MAX];
    size_t n = device_tables(names, TABLES_MAX), n_wrong = 0;

    (void)state;
    for (size_t t = 0; t < n; t++) {
        struct device *dev = rig_device(names[t], 2);

        for (uint32_t i = 0; i < 4; i++) {
            struct kv_shape shape = {.dtype = i % 2 ? OP_F32 : OP_BF16,
                                     .n_heads = 6,
                                     .n_kv_heads = 2,
                                     .head_dim = 32,
                                     .rot_dim = 32,
                                     .window = i / 2 * 100,
                                     .softcap = 10.0f * (float)(i >> 1),
                                     .scale = 0.2f,
                                     .qk_norm = i / 2 == 1,
                                     .spread = 2.0f,
                                     .n_seqs = 2,
                                     .length = {600, 33}};
            struct kv_world world = kv_world_make(&shape, i);
            struct kv_feed feed = {100, 2, false, i};
            struct kv_result result = kv_run(dev, &world, &feed);
            uint64_t hash = UINT64_C(0xcbf29ce484222325);

            hash = digest(hash, result.kv.data, rig_bytes(&result.kv));
            hash = digest(hash, result.y.data, rig_bytes(&result.y));
            if (hash != expected[i])
                (void)fprintf(stderr, "%s, case %u: digest 0x%016llx\n", names[t], i,
                              (unsigned long long)hash);
            n_wrong += hash != expected[i];
            kv_result_drop(&result);
            kv_world_drop(&world);
        }
        device_close(dev);
    }
    assert_int_equal(n_wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalar_is_attention),
        cmocka_unit_test(tables_and_feeds_agree),
        cmocka_unit_test(decode_goes_on_where_prefill_ends),
        cmocka_unit_test(bits_are_those_of_the_contract),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
