/* The oracle through the engine: whatever the batch, the chunks and the node, a job gives the
 * truth; and whatever byte of its KV is wrong, it does not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "tests/engine/rig.h"

#define N_JOBS 12u

static struct engine_cfg random_cfg(struct rand *rng)
{
    struct engine_cfg cfg = rig_cfg();
    cfg.batch_max = (uint32_t)rand_between(rng, 1, 24);
    cfg.chunk_max = 64 * (uint32_t)rand_between(rng, 1, 8);
    return cfg;
}

static void random_jobs(struct rand *rng, struct rig_job jobs[N_JOBS])
{
    static const uint32_t stop_ids[] = {'q', 'x'};
    for (uint32_t i = 0; i < N_JOBS; i++) {
        rig_job_init(&jobs[i], (uint32_t)rand_u64(rng), (uint32_t)rand_between(rng, 1, 300),
                     (uint32_t)rand_between(rng, 1, 100));
        jobs[i].sampling.temperature = rand_unit(rng);
        jobs[i].sampling.ignore_eos = rand_chance(rng, 1, 2);
        jobs[i].sampling.min_tokens = (uint32_t)rand_below(rng, 50);
        jobs[i].job.suspect = rand_chance(rng, 1, 4);
        if (rand_chance(rng, 1, 3))
            jobs[i].sampling.stop_ids = (struct wire_u32s){stop_ids, 2};
    }
}

static void copy_job(struct rig_job *to, const struct rig_job *from)
{
    *to = *from;
    to->job.prompt.at = to->prompt;
    to->job.emitted.at = to->emitted;
    to->job.sampling = &to->sampling;
}

/* WHOLE, in random company. */
static void test_whole_is_truth(void **state)
{
    (void)state;
    static struct rig_job jobs[N_JOBS];
    struct rand rng;
    rand_init(&rng, 1);
    for (int round = 0; round < 30; round++) {
        struct rig rig;
        struct engine_cfg cfg = random_cfg(&rng);
        uint64_t seqs[N_JOBS];
        rig_open(&rig, &cfg, round % 2);
        random_jobs(&rng, jobs);
        for (uint32_t i = 0; i < N_JOBS; i++) {
            seqs[i] = rig_add(&rig, &jobs[i], ENGINE_WHOLE);
            for (uint64_t n = rand_below(&rng, 4); n > 0; n--)
                rig_step(&rig, rand_below(&rng, 1000000000));
        }
        for (uint32_t i = 0; i < N_JOBS; i++) {
            assert_int_equal(rig_finish(&rig, seqs[i]).state, ENGINE_ENDED);
            rig_expect_truth(&rig, seqs[i], &jobs[i], true);
            rig_expect_sums(&rig);
        }
        rig_close(&rig);
    }
}

/* PREFILL here, DECODE there. The end by the first id is told by P. */
static void test_handed_over_is_truth(void **state)
{
    (void)state;
    static struct rig_job jobs[N_JOBS];
    struct rand rng;
    rand_init(&rng, 2);
    for (int round = 0; round < 30; round++) {
        struct rig p, d;
        struct engine_cfg p_cfg = random_cfg(&rng), d_cfg = random_cfg(&rng);
        uint64_t held[N_JOBS], landing[N_JOBS];
        rig_open(&p, &p_cfg, round % 2);
        rig_open(&d, &d_cfg, round % 3 == 0);
        random_jobs(&rng, jobs);
        for (uint32_t i = 0; i < N_JOBS; i++) {
            held[i] = rig_add(&p, &jobs[i], ENGINE_PREFILL);
            landing[i] = rig_add(&d, &jobs[i], ENGINE_DECODE);
        }
        for (uint32_t i = 0; i < N_JOBS; i++) {
            bool ended = rig_finish(&p, held[i]).state == ENGINE_ENDED;
            rig_expect_truth(&p, held[i], &jobs[i], ended);
            if (ended)
                engine_close(d.engine, landing[i]);
            else
                rig_hand_over(&p, held[i], &d, landing[i]);
            engine_close(p.engine, held[i]);
            if (!ended) {
                assert_int_equal(rig_finish(&d, landing[i]).state, ENGINE_ENDED);
                rig_expect_truth(&d, landing[i], &jobs[i], true);
            }
        }
        assert_int_equal(blocks_sum(engine_blocks(p.engine), BLOCK_HOLDER_SEQ), 0);
        rig_close(&p);
        rig_close(&d);
    }
}

/* A job that comes back with k emitted ids goes on as if nothing had happened, for every k. */
static void test_resubmission_goes_on(void **state)
{
    (void)state;
    static struct rig_job job, again;
    struct rig rig, other;
    struct engine_cfg cfg = rig_cfg();
    uint32_t truth[RIG_OUT_MAX], rest[RIG_OUT_MAX];
    rig_job_init(&job, 77, 100, 90);
    job.sampling.ignore_eos = true;
    job.sampling.repetition_penalty = 1.1;
    size_t n = rig_truth(&job, truth);
    assert_int_equal(n, 90);
    rig_open(&rig, &cfg, true);
    rig_open(&other, &cfg, true);
    for (size_t k = 0; k < n; k++) {
        copy_job(&again, &job);
        again.job.emitted.n = k;
        again.job.attempt = (uint32_t)k + 1;
        memcpy(again.emitted, truth, k * sizeof *truth);
        assert_int_equal(rig_truth(&again, rest), n - k);
        assert_memory_equal(rest, truth + k, (n - k) * sizeof *truth);
        uint64_t whole = rig_add(&rig, &again, ENGINE_WHOLE);
        rig_finish(&rig, whole);
        rig_expect_truth(&rig, whole, &again, true);
        engine_close(rig.engine, whole);
        uint64_t held = rig_add(&rig, &again, ENGINE_PREFILL);
        if (rig_finish(&rig, held).state == ENGINE_HELD) {
            uint64_t landing = rig_add(&other, &again, ENGINE_DECODE);
            rig_hand_over(&rig, held, &other, landing);
            rig_finish(&other, landing);
            rig_expect_truth(&other, landing, &again, true);
            engine_close(other.engine, landing);
        }
        engine_close(rig.engine, held);
    }
    rig_close(&rig);
    rig_close(&other);
}

static void expect_other_stream(const struct rig_job *job, const uint32_t *truth)
{
    uint32_t changed[RIG_OUT_MAX];
    size_t n = rig_truth(job, changed);
    assert_true(n > 8); /* enough to differ by more than chance */
    assert_memory_not_equal(changed, truth, (n < 30 ? n : 30) * sizeof *truth);
}

/* Any part of the job gives another stream, also a moved border. */
static void test_all_of_the_job_matters(void **state)
{
    (void)state;
    static struct rig_job job, other;
    static const uint32_t stop_ids[] = {1}, all_ids[] = {'a', 'b', 'c', 1};
    static const double biases[] = {0.5};
    uint32_t truth[RIG_OUT_MAX], same[RIG_OUT_MAX];
    rig_job_init(&job, 5, 70, 40);
    job.sampling.ignore_eos = true;
    assert_int_equal(rig_truth(&job, truth), 40);
#define CHANGE(member, value)                                                                      \
    do {                                                                                           \
        copy_job(&other, &job);                                                                    \
        other.member = value;                                                                      \
        expect_other_stream(&other, truth);                                                        \
    } while (0)
    CHANGE(job.seed, 1);
    CHANGE(prompt[0], job.prompt[0] ^ 1);
    CHANGE(sampling.max_tokens, 41);
    CHANGE(sampling.min_tokens, 3);
    CHANGE(sampling.temperature, 0.5);
    CHANGE(sampling.top_k, 7);
    CHANGE(sampling.top_p, 0.5);
    CHANGE(sampling.min_p, 0.5);
    CHANGE(sampling.repetition_penalty, 2);
    CHANGE(sampling.presence_penalty, 1);
    CHANGE(sampling.frequency_penalty, 1);
    CHANGE(sampling.stop_ids, ((struct wire_u32s){stop_ids, 1}));
    CHANGE(sampling.ignore_eos, false);
    CHANGE(sampling.logprobs, 1);
    CHANGE(sampling.bias_ids, ((struct wire_u32s){stop_ids, 1}));
    CHANGE(sampling.bias_values, ((struct wire_f64s){biases, 1}));
    CHANGE(sampling.allowed_ids, ((struct wire_u32s){all_ids, 4}));
    CHANGE(sampling.bad_ids, ((struct wire_u32s){stop_ids, 1}));
#undef CHANGE
    static const double values[] = {0.5, -0.5}; /* as many, but others */
    copy_job(&other, &job);
    other.sampling.bias_ids = (struct wire_u32s){stop_ids, 1};
    other.sampling.bias_values = (struct wire_f64s){values, 1};
    uint32_t biased[RIG_OUT_MAX];
    rig_truth(&other, biased);
    other.sampling.bias_values.at++;
    expect_other_stream(&other, biased);
    copy_job(&other, &job); /* the first emitted id counted as prompt */
    other.prompt[70] = truth[0];
    other.job.prompt.n = 71;
    expect_other_stream(&other, truth + 1);
    copy_job(&other, &job); /* the border moved the other way */
    other.job.prompt.n = 69;
    other.emitted[0] = other.prompt[69];
    other.job.emitted.n = 1;
    expect_other_stream(&other, truth);
    copy_job(&other, &job); /* equals the default, so the wire would not keep its sign */
    other.sampling.min_p = -0.0;
    assert_int_equal(rig_truth(&other, same), 40);
    assert_memory_equal(same, truth, 40 * sizeof *truth);
}

/* Hands over, lets `spoil` change D's bytes, and tells whether the stream is still the truth. */
static bool survives(struct rig *p, struct rig *d, struct rig_job *job,
                     void (*spoil)(struct rig *d, uint64_t seq, struct rand *rng), struct rand *rng)
{
    uint32_t truth[RIG_OUT_MAX];
    size_t n = rig_truth(job, truth);
    uint64_t held = rig_add(p, job, ENGINE_PREFILL);
    rig_finish(p, held);
    uint64_t landing = rig_add(d, job, ENGINE_DECODE);
    rig_hand_over(p, held, d, landing);
    spoil(d, landing, rng);
    struct engine_view view = rig_finish(d, landing);
    bool same = view.n_tokens - view.n_prompt == n &&
                memcmp(view.tokens + view.n_prompt, truth, n * sizeof *truth) == 0;
    engine_close(p->engine, held);
    engine_close(d->engine, landing);
    return same;
}

/* A place within a random row of layer, head, K|V: of the valid tokens, or of the tail. */
static uint8_t *random_byte(struct rig *d, uint64_t seq, struct rand *rng, bool tail)
{
    const struct kvgeom *geom = &d->oracle_cfg.geom;
    struct engine_view view = rig_look(d, seq);
    uint32_t n_kv = view.n_kv, end = kvgeom_blocks(n_kv) * KVGEOM_BLOCK_TOKENS;
    uint32_t position =
        tail ? (uint32_t)rand_between(rng, n_kv, end - 1) : (uint32_t)rand_below(rng, n_kv);
    size_t at = kvgeom_row(geom, (uint32_t)rand_below(rng, geom->n_layers),
                           (uint32_t)rand_below(rng, geom->n_kv_heads),
                           (uint32_t)rand_below(rng, 2), position % KVGEOM_BLOCK_TOKENS);
    return rig_block(d, seq, position / KVGEOM_BLOCK_TOKENS) + at +
           rand_below(rng, geom->head_dim * geom->elem_bytes);
}

static void spoil_nothing(struct rig *d, uint64_t seq, struct rand *rng)
{
    (void)d, (void)seq, (void)rng;
}

static void spoil_bit(struct rig *d, uint64_t seq, struct rand *rng)
{
    *random_byte(d, seq, rng, false) ^= (uint8_t)(1u << rand_below(rng, 8));
}

static void spoil_tail(struct rig *d, uint64_t seq, struct rand *rng)
{
    *random_byte(d, seq, rng, true) ^= 1;
}

static void spoil_swap(struct rig *d, uint64_t seq, struct rand *rng)
{
    uint8_t *a = rig_block(d, seq, 0), *b = rig_block(d, seq, 1);
    size_t n = kvgeom_block_bytes(&d->oracle_cfg.geom);
    (void)rng;
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = a[i];
        a[i] = b[i];
        b[i] = byte;
    }
}

static void test_wrong_bytes_show(void **state)
{
    (void)state;
    static struct rig_job job;
    struct engine_cfg cfg = rig_cfg();
    struct rig p, d;
    struct rand rng;
    rand_init(&rng, 3);
    rig_open(&p, &cfg, true);
    rig_open(&d, &cfg, true);
    for (uint32_t i = 0; i < 300; i++) {
        rig_job_init(&job, 1000 + i, (uint32_t)rand_between(&rng, 129, 191), 14);
        job.sampling.ignore_eos = true;
        assert_true(survives(&p, &d, &job, spoil_nothing, &rng));
        assert_true(survives(&p, &d, &job, spoil_tail, &rng));
        assert_false(survives(&p, &d, &job, spoil_bit, &rng));
        assert_false(survives(&p, &d, &job, spoil_swap, &rng));
    }
    rig_close(&p);
    rig_close(&d);
}

/* Each finished piece is reported once, in time, and the last with the tail. rig.c compares the
 * digest with the bytes. */
static void test_pieces(void **state)
{
    (void)state;
    static struct rig_job job;
    struct engine_cfg cfg = rig_cfg();
    struct rig rig;
    cfg.chunk_max = 128;
    rig_open(&rig, &cfg, false);
    rig_job_init(&job, 9, 300, 4);
    uint64_t seq = rig_add(&rig, &job, ENGINE_PREFILL);
    const uint32_t expected[] = {2, 4, 4}; /* two groups; the first chunk is one block */
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(rig_step(&rig, 0));
        assert_int_equal(rig.n_pieces, expected[i]);
        assert_int_equal(rig.results[0].sampled, i == 2);
    }
    assert_int_equal(rig_look(&rig, seq).state, ENGINE_HELD);
    assert_int_equal(rig_look(&rig, seq).n_kv, 300);
    rig_close(&rig);
}

/* Zeros past the end, unless the test wants garbage; whatever the block held before. */
static void test_tails_are_zero(void **state)
{
    (void)state;
    static struct rig_job job;
    struct engine_cfg cfg = rig_cfg();
    struct rig rig;
    rig_open(&rig, &cfg, false);
    size_t bytes = kvgeom_block_bytes(&cfg.geom);
    memset(rig.exec.ops->pool(rig.exec.self), 0xee, bytes * cfg.n_blocks);
    rig_job_init(&job, 10, 70, 80);
    job.sampling.ignore_eos = true;
    uint64_t seq = rig_add(&rig, &job, ENGINE_WHOLE);
    for (uint32_t n = 0; rig_look(&rig, seq).state != ENGINE_ENDED; n++) {
        assert_true(rig_step(&rig, 0));
        struct engine_view view = rig_look(&rig, seq);
        for (uint32_t at = view.n_kv; at < kvgeom_blocks(view.n_kv) * KVGEOM_BLOCK_TOKENS; at++) {
            const uint8_t *row =
                rig_block(&rig, seq, at / KVGEOM_BLOCK_TOKENS) +
                kvgeom_row(&cfg.geom, n % 2, n / 2 % 2, n / 4 % 2, at % KVGEOM_BLOCK_TOKENS);
            for (uint32_t i = 0; i < cfg.geom.head_dim * cfg.geom.elem_bytes; i++)
                assert_int_equal(row[i], 0);
        }
    }
    rig_close(&rig);
}

/* Streams end by the end id now and then, and never before min_tokens. */
static void test_eos(void **state)
{
    (void)state;
    static struct rig_job job;
    uint32_t tokens[RIG_OUT_MAX], n_stopped = 0;
    for (uint32_t i = 0; i < 200; i++) {
        rig_job_init(&job, 5000 + i, 10, 100);
        job.sampling.min_tokens = 20;
        size_t n = rig_truth(&job, tokens);
        assert_true(n > 20);
        n_stopped += n < 100;
        for (size_t k = 0; k + 1 < n; k++)
            assert_true((tokens[k] >= 'a' && tokens[k] <= 'z') || tokens[k] == ' ');
        job.sampling.ignore_eos = true;
        assert_int_equal(rig_truth(&job, tokens), 100);
    }
    assert_in_range(n_stopped, 20, 100);
}

static bool is_in(struct wire_u32s ids, uint32_t id)
{
    for (size_t i = 0; i < ids.n; i++) {
        if (ids.at[i] == id)
            return true;
    }
    return false;
}

/* What the lists rule out does not come; where they leave nothing, nothing comes. */
static void test_lists(void **state)
{
    (void)state;
    static struct rig_job job;
    static const uint32_t few[] = {'x', 7, 0, 300}, bad[] = {'x'}, stop[] = {'x', 'y', 'a', 'e', 7};
    uint32_t tokens[RIG_OUT_MAX];
    struct oracle_cfg cfg = {.geom = rig_geom(), .model_seed = 42};
    struct oracle_stream stream = {.tokens = tokens, .max = RIG_OUT_MAX};
    size_t n_stopped = 0;
    for (uint32_t i = 0; i < 100; i++) {
        rig_job_init(&job, 7000 + i, 10, 40);
        job.sampling.ignore_eos = true;
        job.sampling.allowed_ids = (struct wire_u32s){few, 4};
        job.sampling.bad_ids = (struct wire_u32s){bad, i % 2};
        assert_int_equal(rig_truth(&job, tokens), 40);
        for (size_t k = 0; k < 40; k++)
            assert_true(is_in(job.sampling.allowed_ids, tokens[k]) &&
                        !is_in(job.sampling.bad_ids, tokens[k]));

        rig_job_init(&job, 7000 + i, 10, 40);
        job.sampling.stop_ids = (struct wire_u32s){stop, 5};
        job.sampling.min_tokens = 15;
        size_t n = rig_truth(&job, tokens);
        assert_true(n > 15);
        for (size_t k = 0; k < 15; k++)
            assert_true(!is_in(job.sampling.stop_ids, tokens[k]) && tokens[k] != ORACLE_EOS);
        n_stopped += n < 40;
    }
    assert_true(n_stopped > 50);

    rig_job_init(&job, 1, 10, 40);
    job.sampling.allowed_ids = job.sampling.bad_ids = (struct wire_u32s){bad, 1};
    assert_int_equal(oracle_stream(&cfg, &job.job, &stream), STATUS_OK);
    assert_true(stream.failed && stream.n == 0);
    job.sampling.bad_ids.n = 0; /* it ends the stream as soon as it may come, which is never */
    job.sampling.stop_ids = (struct wire_u32s){bad, 1};
    job.sampling.min_tokens = 3;
    assert_int_equal(oracle_stream(&cfg, &job.job, &stream), STATUS_OK);
    assert_true(stream.failed && stream.n == 0);
    job.sampling.min_tokens = 0;
    assert_int_equal(oracle_stream(&cfg, &job.job, &stream), STATUS_OK);
    assert_true(!stream.failed && stream.n == 1 && tokens[0] == 'x');
}

/* Logprobs are those of the stream, whoever computes it; tops fall and differ. */
static void test_tops(void **state)
{
    (void)state;
    static struct rig_job job;
    static struct engine_top tops[RIG_OUT_MAX * WIRE_TOPS_MAX];
    static double logprobs[RIG_OUT_MAX];
    uint32_t tokens[RIG_OUT_MAX];
    struct oracle_cfg cfg = {.geom = rig_geom(), .model_seed = 42};
    struct oracle_stream stream = {tokens, logprobs, tops, RIG_OUT_MAX, 0, false};
    struct engine_cfg engine = rig_cfg();
    struct rig rig;
    rig_open(&rig, &engine, true);
    rig_job_init(&job, 3, 100, 20);
    job.sampling.ignore_eos = true;
    job.sampling.logprobs = 7;
    assert_int_equal(oracle_stream(&cfg, &job.job, &stream), STATUS_OK);
    assert_int_equal(stream.n, 20);
    rig_add(&rig, &job, ENGINE_WHOLE);
    for (uint32_t i = 0; i < 20;) {
        assert_true(rig_step(&rig, 0));
        const struct engine_result *result = &rig.results[0];
        if (!result->sampled)
            continue;
        assert_int_equal(result->token, tokens[i]);
        assert_true(result->logprob == logprobs[i]);
        assert_int_equal(result->n_tops, 7);
        for (uint32_t k = 0; k < 7; k++) {
            const struct engine_top *top = &tops[i * 7 + k];
            assert_int_equal(result->tops[k].token, top->token);
            assert_true(result->tops[k].logprob == top->logprob);
            assert_true(top->token < ORACLE_VOCAB && top->logprob <= 0);
            for (uint32_t m = 0; m < k; m++)
                assert_true(tops[i * 7 + m].token != top->token &&
                            tops[i * 7 + m].logprob >= top->logprob);
        }
        i++;
    }
    rig_close(&rig);
}

static void test_pretended_time(void **state)
{
    (void)state;
    struct oracle_cfg cfg = {.token_us = 3, .row_us = 50, .step_us = 1000};
    struct engine_row rows[] = {{.n = 1}, {.n = 100}, {.n = 64}};
    struct engine_step step = {.n_rows = 3, .rows = rows};
    assert_int_equal(oracle_step_ns(&cfg, &step), (1000 + 150 + 3 * 164) * 1000);
}

static void test_bad_cfg(void **state)
{
    (void)state;
    struct oracle_cfg cfg = {.geom = rig_geom(), .n_blocks = 4};
    struct exec exec;
    cfg.geom.n_layers = 0;
    assert_int_equal(oracle_create(&cfg, &exec), STATUS_INVALID);
    cfg.geom = rig_geom();
    int64_t live = mem_live();
    for (int n = 0; n < 2; n++) {
        mem_fail_after(n);
        assert_int_equal(oracle_create(&cfg, &exec), STATUS_NO_MEMORY);
        mem_fail_after(MEM_FAIL_NEVER);
        assert_int_equal(mem_live(), live);
    }
    cfg.n_blocks = 0;
    assert_int_equal(oracle_create(&cfg, &exec), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_is_truth),
        cmocka_unit_test(test_handed_over_is_truth),
        cmocka_unit_test(test_resubmission_goes_on),
        cmocka_unit_test(test_all_of_the_job_matters),
        cmocka_unit_test(test_wrong_bytes_show),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_tails_are_zero),
        cmocka_unit_test(test_eos),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_tops),
        cmocka_unit_test(test_pretended_time),
        cmocka_unit_test(test_bad_cfg),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
