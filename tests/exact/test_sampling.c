/* What sampling parameters do, through the engine and the model executor, against computations of
 * this file's own. That they do the same in every batch is test_exact's part. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "model/make_model.h"
#include "tests/exact/node.h"
#include "tests/exact/world.h"

#define N_JOBS 12u
#define OUT 12u

static struct checkpoints checkpoints;
static const struct setup setup = {.kind = EXACT_MOE, .dtype = OP_BF16, .n_threads = 1};
static struct node node;
static uint32_t vocab;

/* What came of a job. */
struct told {
    uint32_t n, tokens[JOB_OUT_MAX], n_tops[JOB_OUT_MAX];
    double logprobs[JOB_OUT_MAX];
    struct engine_top tops[JOB_OUT_MAX][WIRE_TOPS_MAX];
    bool stop, failed;
};

static struct told run_on(struct node *on, const struct job *job)
{
    struct told told = {0};
    struct engine_view view = {.state = ENGINE_READY};
    uint64_t seq;

    assert_int_equal(engine_open(on->engine, &job->job, &seq), STATUS_OK);
    while (view.state != ENGINE_ENDED) {
        assert_true(node_step(on, 0, NULL, NULL));
        for (size_t i = 0; i < on->n_results; i++) {
            const struct engine_result *result = &on->results[i];

            told.failed |= result->failed;
            told.stop |= result->stop;
            if (!result->sampled)
                continue;
            told.tokens[told.n] = result->token;
            told.logprobs[told.n] = result->logprob;
            told.n_tops[told.n] = result->n_tops;
            for (uint32_t k = 0; k < result->n_tops; k++)
                told.tops[told.n][k] = result->tops[k];
            told.n++;
        }
        assert_int_equal(engine_look(on->engine, seq, &view), STATUS_OK);
    }
    engine_close(on->engine, seq);
    return told;
}

/* Random prompts, greedy on even numbers, no end ids. */
static void start_job(struct job *job, uint32_t number)
{
    struct rand rng;

    rand_init(&rng, number);
    job_init(job, number, (uint32_t)rand_between(&rng, 1, 80), OUT);
    for (uint32_t i = 0; i < job->job.prompt.n; i++)
        job->prompt[i] = (uint32_t)rand_below(&rng, vocab);
    job->job.seed = number;
    job->sampling.ignore_eos = true;
    job->sampling.temperature = number % 2 == 0 ? 0 : 1.2;
}

static bool has(const struct told *told, uint32_t id)
{
    for (uint32_t i = 0; i < told->n; i++)
        if (told->tokens[i] == id)
            return true;
    return false;
}

static void test_bad_ids(void **state)
{
    static struct job job;

    (void)state;
    for (uint32_t number = 0; number < N_JOBS; number++) {
        uint32_t bad[6 * OUT];

        start_job(&job, number);
        for (uint32_t n = 0; n + OUT <= sizeof(bad) / sizeof(bad[0]); n += OUT) {
            struct told told;

            job.sampling.bad_ids = (struct wire_u32s){bad, n};
            told = run_on(&node, &job);
            assert_int_equal(told.n, OUT);
            for (uint32_t i = 0; i < n; i++)
                assert_false(has(&told, bad[i]));
            memcpy(bad + n, told.tokens, sizeof(*bad) * OUT);
        }
    }
}

static void test_allowed_ids(void **state)
{
    static const uint32_t allowed[] = {3, 77, 511, 200, 4096, 3};
    static const uint32_t bad[] = {77};
    static struct job job;

    (void)state;
    for (uint32_t number = 0; number < N_JOBS; number++) {
        struct told told;

        start_job(&job, number);
        job.sampling.allowed_ids = (struct wire_u32s){allowed, 6};
        job.sampling.bad_ids = (struct wire_u32s){bad, 1};
        told = run_on(&node, &job);
        assert_int_equal(told.n, OUT);
        for (uint32_t i = 0; i < OUT; i++)
            assert_true(told.tokens[i] == 3 || told.tokens[i] == 511 || told.tokens[i] == 200);
        /* None is left: the request fails, and says so. */
        job.sampling.allowed_ids = (struct wire_u32s){bad, 1};
        told = run_on(&node, &job);
        assert_true(told.failed && told.n == 0);
    }
}

static void test_bias(void **state)
{
    static const double up[] = {100}, down[] = {-100};
    static struct job job;

    (void)state;
    for (uint32_t number = 0; number < N_JOBS; number++) {
        const uint32_t id = 37 * number;
        struct told told;

        start_job(&job, number);
        job.sampling.bias_ids = (struct wire_u32s){&id, 1};
        job.sampling.bias_values = (struct wire_f64s){up, 1};
        told = run_on(&node, &job);
        for (uint32_t i = 0; i < OUT; i++)
            assert_int_equal(told.tokens[i], id);
        job.sampling.bias_values = (struct wire_f64s){down, 1};
        told = run_on(&node, &job);
        assert_false(has(&told, id));
    }
}

/* An id that wants to come ends the sequence at min_tokens and not before, an end id of the model
 * or of the request; with ignore_eos the former does not end it at all. */
static void test_min_tokens(void **state)
{
    static const double up[] = {100};
    static struct job job;

    (void)state;
    for (uint32_t number = 0; number < N_JOBS; number++) {
        const uint32_t min_tokens = number % 5;
        const uint32_t id = number % 3 == 0 ? 444 : job_eos[number % JOB_N_EOS];
        struct told told;

        start_job(&job, number);
        job.sampling.ignore_eos = false;
        job.sampling.min_tokens = min_tokens;
        job.sampling.bias_ids = (struct wire_u32s){&id, 1};
        job.sampling.bias_values = (struct wire_f64s){up, 1};
        if (id == 444)
            job.sampling.stop_ids = (struct wire_u32s){&id, 1};
        told = run_on(&node, &job);
        assert_true(told.stop);
        assert_int_equal(told.n, min_tokens + 1);
        assert_int_equal(told.tokens[min_tokens], id);
        for (uint32_t i = 0; i < min_tokens; i++)
            assert_int_not_equal(told.tokens[i], id);
        job.sampling.ignore_eos = true;
        told = run_on(&node, &job);
        assert_int_equal(told.n, id == 444 ? min_tokens + 1 : OUT);
        assert_int_equal(told.tokens[0], id == 444 && min_tokens > 0 ? told.tokens[0] : id);
    }
}

/* The logits after a prompt and the first n ids, from the forward pass itself. */
static const float *logits_after(struct world *world, const struct job *job,
                                 const struct told *told, uint32_t n)
{
    static struct line line;
    struct place place = {.line = &line};

    line.n = (uint32_t)job->job.prompt.n + n;
    memcpy(line.ids, job->prompt, job->job.prompt.n * sizeof(uint32_t));
    memcpy(line.ids + job->job.prompt.n, told->tokens, n * sizeof(uint32_t));
    world_clear(world);
    (void)world_add(world, &place, line.n, true);
    world_run(world);
    return world->logits;
}

static uint32_t count(const uint32_t *ids, size_t n, uint32_t id)
{
    uint32_t found = 0;

    for (size_t i = 0; i < n; i++)
        found += ids[i] == id;
    return found;
}

static uint32_t greedy(const float *z, const struct job *job, const struct told *told, uint32_t n)
{
    const struct wire_sampling *sampling = &job->sampling;
    uint32_t best = 0;
    float most = -INFINITY;

    for (uint32_t id = 0; id < vocab; id++) {
        const uint32_t emitted = count(told->tokens, n, id);
        float x = z[id];

        if (emitted > 0 || count(job->prompt, job->job.prompt.n, id) > 0)
            x = x > 0 ? x / (float)sampling->repetition_penalty
                      : x * (float)sampling->repetition_penalty;
        if (emitted > 0)
            x = x - (float)sampling->frequency_penalty * (float)emitted -
                (float)sampling->presence_penalty;
        if (x > most) {
            most = x;
            best = id;
        }
    }
    return best;
}

static void test_penalties(void **state)
{
    struct world *world = world_open(&checkpoints, &setup, LINE_BLOCKS_MAX, 200, NULL);
    static struct job job;
    uint32_t n_moved = 0;

    (void)state;
    for (uint32_t number = 0; number < N_JOBS; number++) {
        struct told plain, told;

        start_job(&job, 2 * number);
        plain = run_on(&node, &job);
        job.sampling.repetition_penalty = number % 3 == 0 ? 1 : 0.6 + 0.1 * number;
        job.sampling.frequency_penalty = number % 3 == 1 ? 0 : 0.3 * (double)(number % 4) - 0.4;
        job.sampling.presence_penalty = number % 2 == 0 ? 0 : 0.7;
        told = run_on(&node, &job);
        assert_int_equal(told.n, OUT);
        n_moved += memcmp(plain.tokens, told.tokens, sizeof(plain.tokens)) != 0;
        for (uint32_t n = 0; n < OUT; n++)
            assert_int_equal(told.tokens[n],
                             greedy(logits_after(world, &job, &told, n), &job, &told, n));
    }
    assert_true(n_moved > N_JOBS / 2);
    world_close(world);
}

/* Logprobs are those of the model's own distribution, whatever the penalties. */
static void test_logprobs(void **state)
{
    struct world *world = world_open(&checkpoints, &setup, LINE_BLOCKS_MAX, 200, NULL);
    static struct job job;

    (void)state;
    for (uint32_t number = 0; number < N_JOBS; number++) {
        struct told told;

        start_job(&job, number);
        job.sampling.logprobs = number + 1;
        job.sampling.presence_penalty = 1;
        told = run_on(&node, &job);
        for (uint32_t n = 0; n < OUT; n++) {
            const float *z = logits_after(world, &job, &told, n);
            double sum = 0;

            for (uint32_t id = 0; id < vocab; id++)
                sum += exp((double)z[id]);
            assert_int_equal(told.n_tops[n], number + 1);
            assert_true(fabs(told.logprobs[n] - (z[told.tokens[n]] - log(sum))) < 1e-5);
            for (uint32_t k = 0; k < told.n_tops[n]; k++) {
                const struct engine_top *top = &told.tops[n][k];

                assert_true(fabs(top->logprob - (z[top->token] - log(sum))) < 1e-5);
                assert_true(k == 0 || top->logprob <= top[-1].logprob);
            }
        }
    }
    world_close(world);
}

/* The noise is the seed's: another seed, other ids; the same seed, the same. */
static void test_seeds(void **state)
{
    static struct job job;
    uint32_t n_same = 0;

    (void)state;
    for (uint32_t number = 1; number < 2 * N_JOBS; number += 2) {
        struct told a, b;

        start_job(&job, number);
        a = run_on(&node, &job);
        b = run_on(&node, &job);
        assert_memory_equal(a.tokens, b.tokens, sizeof(a.tokens));
        job.job.seed += UINT64_C(1) << 40;
        b = run_on(&node, &job);
        n_same += memcmp(a.tokens, b.tokens, sizeof(a.tokens)) == 0;
    }
    assert_int_equal(n_same, 0);
}

/* A vocabulary smaller than the number of tops that is asked for. */
static void test_few_ids(void **state)
{
    static const char config[] =
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":32,"
        "\"intermediate_size\":64,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
        "\"num_key_value_heads\":1,\"vocab_size\":7,\"max_position_embeddings\":1024}";
    struct fixture source, made;
    struct checkpoints few = checkpoints;
    struct make_model_args args = {.seed = 1, .deviation = 0.2};
    struct make_model_result result;
    struct model_error error;
    static struct node small;
    static struct job job;
    struct told told;

    (void)state;
    fixture_init(&source);
    fixture_init(&made);
    fixture_write_text(&source, "config.json", config);
    args.config = source.folder;
    args.out = made.folder;
    assert_int_equal(make_model(&args, &error, &result), STATUS_OK);
    few.path[setup.kind] = made.folder;
    node_open(&small, &few, &setup);
    node_start(&small);
    start_job(&job, 0);
    for (uint32_t i = 0; i < job.job.prompt.n; i++)
        job.prompt[i] %= 7;
    /* What a fuller answer of the step before left must not show. */
    job.sampling.logprobs = 20;
    told = run_on(&small, &job);
    for (uint32_t i = 0; i < told.n; i++) {
        assert_int_equal(told.n_tops[i], 7);
        for (uint32_t k = 0; k < 7; k++)
            assert_true(told.tops[i][k].token < 7);
    }
    node_close(&small);
    fixture_fini(&source);
    fixture_fini(&made);
}

static int set_up(void **state)
{
    (void)state;
    checkpoints_init(&checkpoints, true);
    node_open(&node, &checkpoints, &setup);
    node_start(&node);
    vocab = model_config(node.model)->vocab;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    node_close(&node);
    checkpoints_fini(&checkpoints);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_ids),   cmocka_unit_test(test_allowed_ids),
        cmocka_unit_test(test_bias),      cmocka_unit_test(test_min_tokens),
        cmocka_unit_test(test_penalties), cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_seeds),     cmocka_unit_test(test_few_ids),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
