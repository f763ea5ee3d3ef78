/* Sampling: the scalar table against a sort in fp64 and against the chances that it should give,
 * every other table against the scalar one, rows against the same rows in other batches and on
 * other threads. */
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
#include "kernels/cpu/sample.h"
#include "tests/kernels/rig.h"

#define TABLES_MAX 8u
#define LIST_MAX 40u

/* Parameters of one row and the lists that they point to. */
struct request {
    struct op_sampling params;
    struct op_penalty penalties[LIST_MAX];
    struct op_bias biases[LIST_MAX];
    uint32_t allowed[LIST_MAX], banned[LIST_MAX];
};

static const struct op_sampling NEUTRAL = {
    .seed = 1, .position = 1, .temperature = 1.0f, .top_p = 1.0f, .repetition = 1.0f};

/* Outputs are poisoned: what a row does not set must stay, also past n_logprobs. */
static struct op_sampled *run(struct device *dev, const struct rig_tensor *logits, uint32_t n_rows,
                              uint32_t vocab, const struct op_sampling *params)
{
    struct rig_tensor copy = rig_tensor_make(logits->n, OP_F32);
    struct op_sampled *out = malloc((n_rows + 1) * sizeof(*out));
    struct op_sample op = {.logits = copy.data,
                           .n_rows = n_rows,
                           .stride = (uint32_t)(logits->n / n_rows),
                           .vocab = vocab,
                           .params = params,
                           .out = out};

    CHECK(out != NULL);
    memcpy(copy.data, logits->data, rig_bytes(logits));
    memset(out, 0x5a, (n_rows + 1) * sizeof(*out));
    device_ops(dev)->sample(dev, &op);
    CHECK(device_wait(dev) == STATUS_OK);
    for (size_t i = 0; i < sizeof(*out); i++)
        CHECK(((const uint8_t *)&out[n_rows])[i] == 0x5a);
    for (uint32_t row = 0; row < n_rows; row++) {
        uint32_t n = params[row].n_logprobs;
        const uint8_t *rest = (const uint8_t *)(out[row].top_tokens + n);

        for (size_t i = 0; i < (OPS_LOGPROBS_MAX - n) * sizeof(uint32_t); i++)
            CHECK(rest[i] == 0x5a);
        for (uint32_t at = vocab; at < op.stride; at++)
            CHECK(f32_bits(rig_get(&copy, row * op.stride + at)) ==
                  f32_bits(rig_get(logits, row * op.stride + at)));
    }
    rig_tensor_drop(&copy);
    return out;
}

static uint32_t token_of(struct device *dev, const struct rig_tensor *logits,
                         const struct op_sampling *params)
{
    struct op_sampled *out = run(dev, logits, 1, (uint32_t)logits->n, params);
    uint32_t token = out->token;

    free(out);
    return token;
}

/* ---- the definition ---- */

static const double *sort_values;

static int descending(const void *a, const void *b)
{
    double x = sort_values[*(const uint32_t *)a], y = sort_values[*(const uint32_t *)b];

    return x < y ? 1 : x > y ? -1 : 0;
}

/* How many ids, from the largest on, are left by the filters: between *least and *most, as fp64 and
 * 40 bits may see a border differently. */
static void filtered_by_sort(const double *chance, const uint32_t *order, uint32_t n,
                             const struct op_sampling *params, uint32_t *least, uint32_t *most)
{
    uint32_t left[2];

    for (int side = 0; side < 2; side++) {
        double slack = side ? 1e-5 : -1e-5, sum = 0, total = 0;
        uint32_t k = 0, kept = 0;

        while (k < n &&
               (params->min_p <= 0 ||
                chance[order[k]] >= chance[order[0]] * (double)params->min_p * (1 - slack)))
            k++;
        if (params->top_k > 0 && k > params->top_k)
            k = params->top_k;
        for (uint32_t i = 0; i < k; i++)
            total += chance[order[i]];
        while (kept < k && (params->top_p >= 1.0f || kept == 0 ||
                            sum < ((double)params->top_p + slack) * total))
            sum += chance[order[kept++]];
        left[side] = kept;
    }
    *least = left[0];
    *most = left[1];
}

/* The chances of a row at its temperature, and the order of its ids. */
static void softmax(const struct rig_tensor *logits, double temperature, double *chance,
                    uint32_t *order)
{
    double most = -INFINITY, sum = 0;

    for (uint32_t i = 0; i < logits->n; i++)
        most = fmax(most, (double)rig_get(logits, i));
    for (uint32_t i = 0; i < logits->n; i++) {
        chance[i] = exp(((double)rig_get(logits, i) - most) / temperature);
        sum += chance[i];
        order[i] = i;
    }
    for (uint32_t i = 0; i < logits->n; i++)
        chance[i] /= sum;
    sort_values = chance;
    qsort(order, logits->n, sizeof(*order), descending);
}

/* Draws at many positions: only ids that are left come, and as often as they should. */
static void check_draws(struct device *dev, const struct rig_tensor *logits,
                        struct op_sampling params)
{
    enum { N = 50, DRAWS = 2000 };
    double chance[N], total = 0, chi = 0;
    uint32_t order[N], least, most, seen[N] = {0};

    CHECK(logits->n == N);
    softmax(logits, (double)params.temperature, chance, order);
    filtered_by_sort(chance, order, N, &params, &least, &most);
    assert_int_equal(least, most); /* else choose other numbers */
    for (uint32_t i = 0; i < DRAWS; i++) {
        params.position = i;
        seen[token_of(dev, logits, &params)]++;
    }
    for (uint32_t i = 0; i < least; i++)
        total += chance[order[i]];
    for (uint32_t i = 0; i < N; i++) {
        double expected = chance[order[i]] / total * DRAWS;

        if (i >= least)
            assert_int_equal(seen[order[i]], 0);
        else
            chi += (seen[order[i]] - expected) * (seen[order[i]] - expected) / expected;
    }
    /* Four deviations of a chi square with least - 1 degrees of freedom. */
    assert_true(chi < least - 1 + 4 * sqrt(2.0 * least) + 4);
}

static void draws_have_their_chances(void **state)
{
    struct device *dev = rig_device("scalar", 1);
    struct rig_tensor logits = rig_tensor_make(50, OP_F32);

    (void)state;
    for (uint32_t i = 0; i < 50; i++) /* no two equal, none rare beyond counting */
        ((float *)logits.data)[i] = (float)(i * 37 % 50) * 0.07f;
    for (uint32_t i = 0; i < 8; i++) {
        struct op_sampling params = NEUTRAL;

        params.seed = UINT64_C(0x123456789abcdef) * (i + 1);
        params.temperature = i % 2 ? 0.7f : 1.0f;
        params.top_k = i & 1 ? 7 : 0;
        params.top_p = i & 2 ? 0.6f : 1.0f;
        params.min_p = i & 4 ? 0.3f : 0.0f;
        check_draws(dev, &logits, params);
    }
    rig_tensor_drop(&logits);
    device_close(dev);
}

static void logprobs_are_those_of_the_softmax(void **state)
{
    enum { N = 3000 };
    struct device *dev = rig_device("scalar", 1);
    struct rig_tensor logits = rig_tensor_random(N, OP_F32, 6.0f, 5);
    static double chance[N];
    static uint32_t order[N];
    struct op_sampling params = NEUTRAL;
    struct op_sampled *out;

    (void)state;
    for (uint32_t i = 0; i < N; i++) /* no outliers: fp64 must tell the chances apart */
        ((float *)logits.data)[i] = fmodf(rig_get(&logits, i), 16.0f);
    params.n_logprobs = 20;
    params.temperature = 0.5f; /* must not show */
    out = run(dev, &logits, 1, N, &params);
    softmax(&logits, 1.0, chance, order);
    assert_true(fabs(out->logprob - log(chance[out->token])) < 2e-6);
    for (uint32_t i = 0; i < 20; i++) {
        assert_true(rig_get(&logits, out->top_tokens[i]) == rig_get(&logits, order[i]));
        assert_true(fabs(out->top_logprobs[i] - log(chance[order[i]])) < 2e-6);
    }
    free(out);
    rig_tensor_drop(&logits);
    device_close(dev);
}

/* Greedy shows each change of the logits by who wins. */
static void lists_change_what_they_name(void **state)
{
    static const float values[8] = {1.0f, 5.0f, 4.5f, -3.0f, 4.0f, 3.5f, 0.0f, -1.0f};
    static const uint32_t ban[] = {1, 2, 99}, allow[] = {3, 7}, first[] = {1};
    static const struct op_bias biases[] = {{7, 7.0f}, {1000000, 50.0f}};
    static const struct op_penalty one[] = {{1, 0}}, all[] = {{1, 3}, {2, 1}, {4, 0}};
    struct device *dev = rig_device("scalar", 1);
    struct rig_tensor logits = rig_tensor_make(8, OP_F32);
    struct op_sampling greedy = NEUTRAL, p;
    struct op_sampled *out;

    (void)state;
    memcpy(logits.data, values, sizeof(values));
    greedy.temperature = 0.0f;
    assert_int_equal(token_of(dev, &logits, &greedy), 1);
    p = greedy, p.banned = ban, p.n_banned = 3;
    assert_int_equal(token_of(dev, &logits, &p), 4);
    p = greedy, p.allowed = allow, p.n_allowed = 2;
    assert_int_equal(token_of(dev, &logits, &p), 7);
    p.banned = allow, p.n_banned = 2;
    assert_int_equal(token_of(dev, &logits, &p), UINT32_MAX);
    p = greedy, p.allowed = first, p.n_allowed = 0;
    assert_int_equal(token_of(dev, &logits, &p), UINT32_MAX);
    p = greedy, p.biases = biases, p.n_biases = 2;
    assert_int_equal(token_of(dev, &logits, &p), 7); /* -1 + 7 */
    p = greedy, p.penalties = one, p.n_penalties = 1, p.repetition = 1.2f;
    assert_int_equal(token_of(dev, &logits, &p), 2); /* 5 / 1.2 < 4.5: the prompt counts */
    p.repetition = 1.0f, p.presence = 2.0f, p.frequency = 2.0f;
    assert_int_equal(token_of(dev, &logits, &p), 1); /* here it does not */
    p.penalties = all, p.n_penalties = 3, p.presence = 0.0f, p.frequency = 0.3f;
    assert_int_equal(token_of(dev, &logits, &p), 2); /* 5 - 0.9 < 4.5 - 0.3 */
    p.frequency = 0.0f, p.presence = 1.1f;
    assert_int_equal(token_of(dev, &logits, &p), 4); /* 3.9, 3.4 < 4 */
    out = run(dev, &logits, 1, 8, &p);
    assert_true(fabs(out->logprob - (4.0 - log(exp(1) + exp(5) + exp(4.5) + exp(-3) + exp(4) +
                                               exp(3.5) + 1 + exp(-1)))) < 1e-6);
    free(out);
    ((float *)logits.data)[6] = (float)NAN;
    assert_int_equal(token_of(dev, &logits, &greedy), UINT32_MAX);
    ((float *)logits.data)[6] = INFINITY;
    assert_int_equal(token_of(dev, &logits, &greedy), UINT32_MAX);
    rig_tensor_drop(&logits);
    device_close(dev);
}

/* ---- tables and batches ---- */

static float any_of(uint64_t *random, const float *values, uint32_t n)
{
    return values[rig_below(random, n)];
}

static void random_lists(struct request *request, uint64_t *random, uint32_t vocab)
{
    struct op_sampling *p = &request->params;
    uint32_t start = rig_below(random, vocab);

    p->n_biases = rig_below(random, 3) ? 0 : rig_below(random, LIST_MAX);
    p->n_penalties = rig_below(random, 3) ? 0 : rig_below(random, LIST_MAX);
    p->n_banned = rig_below(random, 3) ? 0 : rig_below(random, LIST_MAX);
    p->n_allowed = rig_below(random, 8) ? 0 : 1 + rig_below(random, LIST_MAX - 1);
    for (uint32_t i = 0; i < LIST_MAX; i++) {
        request->biases[i] = (struct op_bias){rig_below(random, vocab), rig_number(random, 5.0f)};
        request->penalties[i] = (struct op_penalty){(start + i) % vocab, rig_below(random, 4)};
        request->banned[i] = rig_below(random, vocab);
        request->allowed[i] = rig_below(random, vocab);
    }
    if (p->n_penalties > vocab)
        p->n_penalties = vocab;
    p->biases = request->biases;
    p->penalties = request->penalties;
    p->banned = request->banned;
    p->allowed = p->n_allowed > 0 ? request->allowed : NULL;
}

static void random_request(struct request *request, uint64_t *random, uint32_t vocab)
{
    static const float temperatures[] = {0.0f, 0.0f, 1.0f, 1.0f, 0.7f, 0.3f, 1.7f, 0.01f, 50.0f};
    static const float top_ps[] = {1.0f, 1.0f, 0.95f, 0.9f, 0.5f, 0.999f, 0.0f, 1e-6f};
    static const float min_ps[] = {0.0f, 0.0f, 0.0f, 0.05f, 0.5f, 1.0f, 1e-7f};
    struct op_sampling *p = &request->params;

    *p = NEUTRAL;
    p->seed = rig_random(random);
    p->position = rig_below(random, 1u << 20);
    p->temperature = any_of(random, temperatures, 9);
    p->top_p = any_of(random, top_ps, 8);
    p->min_p = any_of(random, min_ps, 7);
    p->top_k = rig_below(random, 2) ? 0 : 1 + rig_below(random, rig_below(random, 2) ? 50 : vocab);
    p->repetition = rig_below(random, 2) ? 1.0f : 1.3f;
    p->presence = rig_below(random, 2) ? 0.0f : rig_number(random, 1.0f);
    p->frequency = rig_below(random, 2) ? 0.0f : rig_number(random, 1.0f);
    p->n_logprobs = rig_below(random, 2) ? 0 : rig_below(random, OPS_LOGPROBS_MAX + 1);
    random_lists(request, random, vocab);
}

/* Smooth, all equal, steps with many ties, one peak, with -inf, of zeros of both signs. */
static struct rig_tensor random_logits(uint64_t *random, uint32_t n)
{
    struct rig_tensor logits = rig_tensor_random(n, OP_F32, 4.0f, rig_random(random) >> 8);
    uint32_t kind = rig_below(random, 10);
    float *z = logits.data;

    for (uint32_t i = 0; i < n; i++) {
        if (kind == 0)
            z[i] = -2.5f;
        else if (kind == 1)
            z[i] = (float)(int)(z[i] * 2.0f);
        else if (kind == 2)
            z[i] = z[i] * 1e-3f - 30.0f + (i == n / 2 ? 40.0f : 0.0f);
        else if (kind == 3 && rig_below(random, 3))
            z[i] = -INFINITY;
        else if (kind == 4)
            z[i] = rig_below(random, 2) ? 0.0f : -0.0f;
        else if (kind == 5)
            z[i] = 1.75f + 0x1p-23f * (float)rig_below(random, 9); /* T 1.7: some u are equal */
        else if (kind == 6)
            z[i] = 1e8f; /* the noise is below a unit in the last place */
        else if (kind == 7)
            z[i] = i % 1000 == 0 ? 1.0f : 1.0f - 0x1p-24f; /* masses with all bits set */
    }
    return logits;
}

static void print_request(const char *table, uint32_t vocab, const struct op_sampling *p,
                          const struct op_sampled *a, const struct op_sampled *b)
{
    (void)fprintf(stderr,
                  "%s: vocabulary %u, T %g, top_p %g, min_p %g, top_k %u, lists %u %u %u %u, "
                  "logprobs %u: %u (%.17g), not %u (%.17g)\n",
                  table, vocab, (double)p->temperature, (double)p->top_p, (double)p->min_p,
                  p->top_k, p->n_biases, p->n_penalties, p->n_banned, p->n_allowed, p->n_logprobs,
                  a->token, a->logprob, b->token, b->logprob);
}

static void assert_same(const char *table, uint32_t vocab, const struct op_sampling *params,
                        uint32_t n_rows, const struct op_sampled *a, const struct op_sampled *b)
{
    for (uint32_t row = 0; row < n_rows; row++)
        if (memcmp(&a[row], &b[row], sizeof(*a)) != 0) {
            print_request(table, vocab, &params[row], &a[row], &b[row]);
            fail_msg("row %u differs", row);
        }
}

static void tables_agree(void **state)
{
    const char *names[TABLES_MAX];
    struct device *devs[TABLES_MAX];
    size_t n = device_tables(names, TABLES_MAX);
    static struct request requests[16];
    struct op_sampling params[16];
    uint64_t random = 12;

    (void)state;
    CHECK(n <= TABLES_MAX);
    for (size_t t = 0; t < n; t++)
        devs[t] = rig_device(names[t], 1 + (uint32_t)t);
    for (uint32_t i = 0; i < 250; i++) {
        uint32_t vocab = 20 + rig_below(&random, i % 10 == 0 ? 20000 : 700);
        uint32_t n_rows = 1 + rig_below(&random, 16), stride = vocab + rig_below(&random, 5);
        struct rig_tensor logits = random_logits(&random, stride * n_rows);
        struct op_sampled *truth;

        for (uint32_t row = 0; row < n_rows; row++) {
            random_request(&requests[row], &random, vocab);
            params[row] = requests[row].params;
        }
        truth = run(devs[0], &logits, n_rows, vocab, params);
        for (size_t t = 1; t < n; t++) {
            struct op_sampled *out = run(devs[t], &logits, n_rows, vocab, params);

            assert_same(names[t], vocab, params, n_rows, out, truth);
            free(out);
        }
        free(truth);
        rig_tensor_drop(&logits);
    }
    for (size_t t = 0; t < n; t++)
        device_close(devs[t]);
}

/* The rarest noise wins from far below: an id that a bound on it must not leave out. */
static void rare_noise_wins(void **state)
{
    enum { N = 4096 };
    const char *names[TABLES_MAX];
    size_t n = device_tables(names, TABLES_MAX);
    struct rig_tensor logits = rig_tensor_make(N, OP_F32);
    uint32_t found = 0;

    (void)state;
    for (uint32_t position = 0; found < 4; position++) {
        for (uint32_t token = 1; token < N; token++) {
            struct op_sampling params = NEUTRAL;
            float noise = sample_noise(params.seed, position, token);

            if (noise < 13.0f)
                continue;
            params.position = position;
            params.temperature = 1.5f;
            for (uint32_t i = 0; i < N; i++)
                ((float *)logits.data)[i] = -100.0f;
            ((float *)logits.data)[0] = 0.0f;
            ((float *)logits.data)[token] =
                -1.5f * (noise - sample_noise(params.seed, position, 0) - 1e-3f);
            for (size_t t = 0; t < n; t++) {
                struct device *dev = rig_device(names[t], 1);

                assert_int_equal(token_of(dev, &logits, &params), token);
                device_close(dev);
            }
            found++;
        }
    }
    rig_tensor_drop(&logits);
}

/* A vocabulary of its true size: the scalar table is too slow for many, so the vector tables are
 * also compared with one another. And a row alone gives what it gives in a batch of 64. */
static void rows_do_not_know_each_other(void **state)
{
    enum { VOCAB = 128256, ROWS = 64 };
    const char *names[TABLES_MAX];
    size_t n = device_tables(names, TABLES_MAX);
    static struct request requests[ROWS];
    static struct op_sampling params[ROWS];
    uint64_t random = 5;
    struct rig_tensor logits = rig_tensor_random((size_t)ROWS * VOCAB, OP_F32, 5.0f, 3);
    struct op_sampled *truth = NULL;

    (void)state;
    for (uint32_t row = 0; row < ROWS; row++) {
        random_request(&requests[row], &random, VOCAB);
        params[row] = requests[row].params;
    }
    for (size_t t = n - 1; t > 0; t--) {
        struct device *dev = rig_device(names[t], 1 + (uint32_t)t);
        struct op_sampled *out = run(dev, &logits, ROWS, VOCAB, params);

        if (truth == NULL)
            truth = out;
        else
            assert_same(names[t], VOCAB, params, ROWS, out, truth);
        for (uint32_t row = 0; row < ROWS && out == truth; row++) {
            struct rig_tensor one = logits;
            struct op_sampled *alone;

            one.n = VOCAB;
            one.data = (float *)logits.data + (size_t)row * VOCAB;
            alone = run(dev, &one, 1, VOCAB, &params[row]);
            assert_same("alone", VOCAB, &params[row], 1, alone, &truth[row]);
            free(alone);
        }
        if (out != truth)
            free(out);
        device_close(dev);
    }
    free(truth);
    rig_tensor_drop(&logits);
}

/* What the scalar table gave for these rows when contract version 1 was written, whatever the
 * compiler; tables_agree says the same of the others. A new version brings a new number. */
#define CONTRACT_1_HASH UINT64_C(0x92e000b759b516b3)

static void bits_are_those_of_the_contract(void **state)
{
    enum { VOCAB = 500, ROWS = 100 };
    static struct request request;
    struct device *dev = rig_device("scalar", 2);
    uint64_t random = 77, hash = UINT64_C(0xcbf29ce484222325);

    (void)state;
    for (uint32_t i = 0; i < ROWS; i++) {
        struct rig_tensor logits = random_logits(&random, VOCAB);
        struct op_sampled *out;

        random_request(&request, &random, VOCAB);
        out = run(dev, &logits, 1, VOCAB, &request.params);
        for (size_t at = 0; at < sizeof(*out); at++)
            hash = (hash ^ ((const uint8_t *)out)[at]) * UINT64_C(0x100000001b3);
        free(out);
        rig_tensor_drop(&logits);
    }
    if (hash != CONTRACT_1_HASH)
        fail_msg("the hash is 0x%016llx", (unsigned long long)hash);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_have_their_chances),
        cmocka_unit_test(logprobs_are_those_of_the_softmax),
        cmocka_unit_test(lists_change_what_they_name),
        cmocka_unit_test(tables_agree),
        cmocka_unit_test(rare_noise_wins),
        cmocka_unit_test(rows_do_not_know_each_other),
        cmocka_unit_test(bits_are_those_of_the_contract),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
