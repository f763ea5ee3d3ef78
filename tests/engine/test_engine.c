/* The states of a sequence, and what engine_open accepts. Planning is test_plan.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include <math.h>

#include "base/mem.h"
#include "tests/engine/rig.h"

static void expect_bad(struct engine_cfg cfg, const char *word)
{
    struct engine *engine;
    const char *why = NULL;
    assert_int_equal(engine_create(&cfg, &engine, &why), STATUS_INVALID);
    assert_non_null(why);
    assert_non_null(strstr(why, word));
}

static void test_bad_cfg(void **state)
{
    (void)state;
    struct engine_cfg cfg = rig_cfg();
#define BAD(member, value, word)                                                                   \
    do {                                                                                           \
        struct engine_cfg bad = cfg;                                                               \
        bad.member = (value);                                                                      \
        expect_bad(bad, word);                                                                     \
    } while (0)
    BAD(geom.head_dim, 0, "geometry");
    BAD(seqs_max, 0, "seqs_max");
    BAD(batch_max, 0, "batch_max");
    BAD(batch_max, ENGINE_BATCH_MAX + 1, "batch_max");
    BAD(chunk_max, 100, "chunk_max");
    BAD(chunk_max, 0, "chunk_max");
    BAD(chunk_ms, 0, "chunk_ms");
    BAD(len_max, 1, "len_max");
    BAD(len_max, WIRE_TOKENS_MAX + 1, "len_max");
    BAD(n_blocks, kvgeom_blocks(cfg.len_max) - 1, "pool");
#undef BAD
}

static void test_create_no_memory(void **state)
{
    (void)state;
    struct engine_cfg cfg = rig_cfg();
    int64_t live = mem_live();
    enum status status = STATUS_NO_MEMORY;
    int n = 0;
    for (; status != STATUS_OK; n++) {
        struct engine *engine;
        const char *why;
        mem_fail_after(n);
        status = engine_create(&cfg, &engine, &why);
        mem_fail_after(MEM_FAIL_NEVER);
        if (status == STATUS_OK)
            engine_destroy(engine);
        else
            assert_int_equal(status, STATUS_NO_MEMORY);
        assert_int_equal(mem_live(), live);
    }
    assert_true(n > 6);
}

static void test_open_refuses(void **state)
{
    (void)state;
    static struct rig_job job, other;
    struct engine_cfg cfg = rig_cfg();
    struct rig rig;
    uint64_t seq, found;
    cfg.len_max = 1000;
    cfg.n_blocks = 16;
    cfg.seqs_max = 2;
    rig_open(&rig, &cfg, true);
    rig_job_init(&job, 1, 100, 10);
    job.job.prompt.n = 0;
    assert_int_equal(engine_open(rig.engine, &job.job, &seq), STATUS_INVALID);
    job.job.prompt.n = 100;
    job.job.emitted.n = 10; /* nothing left to sample */
    assert_int_equal(engine_open(rig.engine, &job.job, &seq), STATUS_INVALID);
    job.job.emitted.n = 0;
    job.sampling.max_tokens = 901;
    assert_int_equal(engine_open(rig.engine, &job.job, &seq), STATUS_TOO_BIG);
    job.sampling.max_tokens = UINT32_MAX;
    assert_int_equal(engine_open(rig.engine, &job.job, &seq), STATUS_TOO_BIG);
    job.sampling.max_tokens = 10;
    job.sampling.stop_ids = (struct wire_u32s){job.prompt, WIRE_STOP_IDS_MAX + 1};
    assert_int_equal(engine_open(rig.engine, &job.job, &seq), STATUS_TOO_BIG);
    job.sampling.stop_ids.n = 0;
    job.sampling.allowed_ids = (struct wire_u32s){job.prompt, WIRE_ALLOWED_MAX + 1};
    assert_int_equal(engine_open(rig.engine, &job.job, &seq), STATUS_TOO_BIG);
    job.sampling.allowed_ids.n = 0;
    job.sampling.logprobs = WIRE_TOPS_MAX + 1;
    assert_int_equal(engine_open(rig.engine, &job.job, &seq), STATUS_TOO_BIG);
    job.sampling.logprobs = 0;
    job.job.n_eos = ENGINE_EOS_MAX + 1;
    assert_int_equal(engine_open(rig.engine, &job.job, &seq), STATUS_TOO_BIG);
    job.job.n_eos = 0;

    assert_int_equal(engine_find(rig.engine, &job.job.req, &found), STATUS_NOT_FOUND);
    seq = rig_add(&rig, &job, ENGINE_WHOLE);
    assert_int_equal(engine_find(rig.engine, &job.job.req, &found), STATUS_OK);
    assert_true(found == seq);
    job.job.attempt = 2;
    assert_int_equal(engine_open(rig.engine, &job.job, &found), STATUS_EXISTS);

    rig_job_init(&other, 2, 960, 10);
    other.job.mode = ENGINE_PREFILL;
    assert_int_equal(engine_open(rig.engine, &other.job, &found), STATUS_FULL); /* blocks */
    rig_job_init(&other, 2, 100, 10);
    mem_fail_after(0);
    assert_int_equal(engine_open(rig.engine, &other.job, &found), STATUS_NO_MEMORY);
    mem_fail_after(MEM_FAIL_NEVER);
    rig_add(&rig, &other, ENGINE_WHOLE);
    rig_job_init(&other, 3, 10, 10);
    assert_int_equal(engine_open(rig.engine, &other.job, &found), STATUS_FULL); /* records */
    rig_expect_sums(&rig);
    rig_close(&rig);
}

/* PREFILL: just the known ids. Others: one block more, but not beyond their whole life. */
static void test_blocks_at_open(void **state)
{
    (void)state;
    static const struct {
        enum engine_mode mode;
        uint32_t n_prompt, max_tokens, n_blocks;
    } rows[] = {
        {ENGINE_PREFILL, 64, 100, 1}, {ENGINE_PREFILL, 65, 100, 2}, {ENGINE_DECODE, 64, 100, 2},
        {ENGINE_WHOLE, 65, 100, 3},   {ENGINE_WHOLE, 1, 64, 1},     {ENGINE_WHOLE, 1, 65, 2},
        {ENGINE_DECODE, 64, 1, 1},    {ENGINE_DECODE, 64, 2, 2},
    };
    static struct rig_job job;
    struct engine_cfg cfg = rig_cfg();
    struct rig rig;
    rig_open(&rig, &cfg, true);
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig_job_init(&job, i, rows[i].n_prompt, rows[i].max_tokens);
        uint64_t seq = rig_add(&rig, &job, rows[i].mode);
        assert_int_equal(rig_look(&rig, seq).n_blocks, rows[i].n_blocks);
    }
    rig_close(&rig);
}

/* The whole pool for one sequence of len_max: it must run to its end alone. */
static void test_longest_fits(void **state)
{
    (void)state;
    static struct rig_job job;
    struct engine_cfg cfg = rig_cfg();
    struct rig rig;
    cfg.len_max = 256;
    cfg.n_blocks = 4;
    rig_open(&rig, &cfg, true);
    for (uint32_t n_prompt = 1; n_prompt < 256; n_prompt += 51) {
        rig_job_init(&job, n_prompt, n_prompt, 256 - n_prompt);
        job.sampling.ignore_eos = true;
        uint64_t seq = rig_add(&rig, &job, ENGINE_WHOLE);
        assert_int_equal(rig_finish(&rig, seq).state, ENGINE_ENDED);
        rig_expect_truth(&rig, seq, &job, true);
        engine_close(rig.engine, seq);
    }
    assert_int_equal(blocks_n_free(engine_blocks(rig.engine)), 4);
    rig_close(&rig);
}

static void test_results(void **state)
{
    (void)state;
    static struct rig_job whole, prefill;
    struct engine_cfg cfg = rig_cfg();
    struct rig rig;
    uint32_t truth[RIG_OUT_MAX];
    struct engine_counts counts;
    rig_open(&rig, &cfg, true);
    rig_job_init(&whole, 1, 65, 3);
    rig_job_init(&prefill, 2, 10, 3);
    whole.sampling.ignore_eos = prefill.sampling.ignore_eos = true;
    whole.emitted[0] = 'x';
    whole.job.emitted.n = 1;
    assert_int_equal(rig_truth(&whole, truth), 2);
    uint64_t a = rig_add(&rig, &whole, ENGINE_WHOLE);
    uint64_t b = rig_add(&rig, &prefill, ENGINE_PREFILL);

    assert_true(rig_step(&rig, 0)); /* one block of a; b does not fit any more */
    assert_int_equal(rig.n_results, 1);
    assert_true(rig.results[0].seq == a && !rig.results[0].sampled);
    assert_int_equal(rig.results[0].state, ENGINE_READY);
    assert_true(rig_step(&rig, 0)); /* the rest of both */
    assert_int_equal(rig.n_results, 2);
    assert_true(rig.results[0].seq == a && rig.results[0].sampled);
    assert_int_equal(rig.results[0].index, 1);
    assert_int_equal(rig.results[0].token, truth[0]);
    assert_int_equal(rig.results[0].state, ENGINE_READY);
    assert_true(rig.results[1].seq == b && rig.results[1].state == ENGINE_HELD);
    assert_int_equal(rig.results[1].index, 0);
    assert_memory_equal(&rig.results[1].req, &prefill.job.req, sizeof prefill.job.req);
    assert_true(rig_step(&rig, 0));
    assert_int_equal(rig.n_results, 1);
    assert_true(rig.results[0].state == ENGINE_ENDED && !rig.results[0].stop);
    assert_int_equal(rig.results[0].index, 2);
    assert_int_equal(rig.results[0].token, truth[1]);
    assert_false(rig_step(&rig, 0));

    engine_counts(rig.engine, &counts);
    assert_int_equal(counts.steps, 3);
    assert_int_equal(counts.tokens_sampled, 3);
    assert_int_equal(counts.tokens_computed, 66 + 1 + 10);
    assert_int_equal(counts.n_seqs, 2);
    assert_int_equal(counts.n_held, 1);
    assert_int_equal(counts.step_running, 0);
    assert_true(engine_next(rig.engine, 0) == a && engine_next(rig.engine, a) == b);
    assert_int_equal(engine_next(rig.engine, b), 0);
    rig_close(&rig);
}

/* An id given by hand, in place of the oracle's. */
static struct engine_result sample(struct rig *rig, uint32_t token)
{
    const struct engine_step *step = engine_plan(rig->engine);
    assert_non_null(step);
    assert_int_equal(step->n_rows, 1);
    assert_true(step->rows[0].sample);
    step->rows[0].out_token = token;
    engine_complete(rig->engine, 0, rig->results, &rig->n_results);
    assert_int_equal(rig->n_results, 1);
    return rig->results[0];
}

static void test_stops(void **state)
{
    (void)state;
    static struct rig_job job;
    static const uint32_t stop_ids[] = {500, 501}, eos[] = {9, 7};
    struct engine_cfg cfg = rig_cfg();
    struct rig rig;
    rig_open(&rig, &cfg, true);
    rig_job_init(&job, 1, 10, 10);
    job.sampling.stop_ids = (struct wire_u32s){stop_ids, 2};
    job.sampling.min_tokens = 2;
    job.job.eos = eos;
    job.job.n_eos = 2;
    rig_add(&rig, &job, ENGINE_WHOLE);
    assert_int_equal(sample(&rig, 501).state, ENGINE_READY); /* before min_tokens */
    assert_int_equal(sample(&rig, 7).state, ENGINE_READY);
    assert_int_equal(sample(&rig, 1).state, ENGINE_READY);
    struct engine_result result = sample(&rig, 501);
    assert_true(result.state == ENGINE_ENDED && result.stop && result.index == 3);

    rig_job_init(&job, 2, 10, 10);
    job.job.eos = eos;
    job.job.n_eos = 2;
    rig_add(&rig, &job, ENGINE_PREFILL);
    result = sample(&rig, 7); /* P says so itself */
    assert_true(result.state == ENGINE_ENDED && result.stop);

    rig_job_init(&job, 3, 10, 2);
    job.job.n_eos = 0;
    rig_add(&rig, &job, ENGINE_WHOLE);
    assert_int_equal(sample(&rig, 7).state, ENGINE_READY);
    result = sample(&rig, 1);
    assert_true(result.state == ENGINE_ENDED && !result.stop);

    rig_job_init(&job, 4, 10, 2);
    job.job.eos = eos;
    job.job.n_eos = 2;
    job.sampling.ignore_eos = true;
    rig_add(&rig, &job, ENGINE_WHOLE);
    assert_int_equal(sample(&rig, 7).state, ENGINE_READY);
    rig_close(&rig);
}

/* Without an id the sequence ends as failed, and another one of the step goes on. */
static void test_no_token(void **state)
{
    (void)state;
    static struct rig_job jobs[2];
    static const enum engine_mode modes[] = {ENGINE_WHOLE, ENGINE_PREFILL};
    struct engine_cfg cfg = rig_cfg();
    struct rig rig;
    for (int i = 0; i < 2; i++) {
        rig_open(&rig, &cfg, true);
        rig_job_init(&jobs[0], 1, 10, 10);
        rig_job_init(&jobs[1], 2, 10, 10);
        uint64_t bad = rig_add(&rig, &jobs[0], modes[i]);
        uint64_t good = rig_add(&rig, &jobs[1], ENGINE_WHOLE);
        const struct engine_step *step = engine_plan(rig.engine);
        assert_int_equal(step->n_rows, 2);
        step->rows[0].out_token = ENGINE_NO_TOKEN;
        step->rows[1].out_token = 'a';
        engine_complete(rig.engine, 0, rig.results, &rig.n_results);
        assert_int_equal(rig.n_results, 2);
        assert_true(rig.results[0].seq == bad && rig.results[0].failed);
        assert_true(!rig.results[0].sampled && !rig.results[0].stop);
        assert_int_equal(rig.results[0].state, ENGINE_ENDED);
        assert_true(rig.results[1].seq == good && rig.results[1].sampled);
        assert_int_equal(rig.results[1].state, ENGINE_READY);
        engine_close(rig.engine, bad);
        assert_int_equal(sample(&rig, 'b').seq, good);
        rig_close(&rig);
    }
}

/* What travels is finite, and only what the executor has written. */
static void test_logprobs_are_finite(void **state)
{
    (void)state;
    static const double given[] = {-0.5, -INFINITY, NAN, INFINITY, -2e30};
    static struct rig_job job;
    struct engine_cfg cfg = rig_cfg();
    struct rig rig;
    rig_open(&rig, &cfg, true);
    rig_job_init(&job, 1, 10, 10);
    job.sampling.logprobs = 8;
    rig_add(&rig, &job, ENGINE_WHOLE);
    const struct engine_step *step = engine_plan(rig.engine);
    assert_non_null(step->rows[0].out_tops);
    step->rows[0].out_token = 1;
    step->rows[0].out_logprob = -INFINITY;
    for (uint32_t i = 0; i < 5; i++)
        step->rows[0].out_tops[i] = (struct engine_top){i, given[i]};
    engine_complete(rig.engine, 0, rig.results, &rig.n_results);
    const struct engine_result *result = &rig.results[0];
    assert_true(result->logprob == -ENGINE_LOGPROB_MAX);
    assert_int_equal(result->n_tops, 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(result->tops[i].token, i);
        assert_true(result->tops[i].logprob == (i == 0 ? -0.5 : -ENGINE_LOGPROB_MAX));
    }
    struct engine_tops_room room;
    struct wire_u32s ids;
    struct wire_span logprobs;
    engine_result_tops(result, &room, &ids, &logprobs);
    assert_int_equal(ids.n, 5);
    assert_int_equal(ids.at[4], 4);
    assert_int_equal(logprobs.len, 40);
    assert_memory_equal(logprobs.at, given, sizeof given[0]);
    rig_close(&rig);

    rig_open(&rig, &cfg, true); /* none asked for */
    rig_job_init(&job, 2, 10, 10);
    rig_add(&rig, &job, ENGINE_WHOLE);
    assert_null(engine_plan(rig.engine)->rows[0].out_tops);
    rig_close(&rig);
}

/* The record's own copies: the job's arrays may go. */
static void test_arrays_are_copied(void **state)
{
    (void)state;
    static struct rig_job job;
    uint32_t eos[] = {7, 9}, ids[] = {1, 2, 3, 4};
    double values[] = {0.25, -1};
    struct engine_cfg cfg = rig_cfg();
    struct rig rig;
    rig_open(&rig, &cfg, true);
    rig_job_init(&job, 1, 10, 10);
    job.job.eos = eos;
    job.job.n_eos = 2;
    job.sampling.stop_ids = (struct wire_u32s){ids, 1};
    job.sampling.bias_ids = (struct wire_u32s){ids, 2};
    job.sampling.bias_values = (struct wire_f64s){values, 2};
    job.sampling.allowed_ids = (struct wire_u32s){ids, 4};
    job.sampling.bad_ids = (struct wire_u32s){ids + 1, 3};
    rig_add(&rig, &job, ENGINE_WHOLE);
    memset(ids, 0xff, sizeof ids);
    memset(values, 0xff, sizeof values);
    memset(eos, 0xff, sizeof eos);
    const struct engine_step *step = engine_plan(rig.engine);
    const struct wire_sampling *sampling = step->rows[0].sampling;
    assert_true(sampling->stop_ids.n == 1 && sampling->stop_ids.at[0] == 1);
    assert_true(sampling->bias_ids.n == 2 && sampling->bias_ids.at[1] == 2);
    assert_true(sampling->bias_values.n == 2 && sampling->bias_values.at[1] == -1);
    assert_true(sampling->allowed_ids.n == 4 && sampling->allowed_ids.at[3] == 4);
    assert_true(sampling->bad_ids.n == 3 && sampling->bad_ids.at[0] == 2);
    step->rows[0].out_token = 9;
    engine_complete(rig.engine, 0, rig.results, &rig.n_results);
    assert_true(rig.results[0].state == ENGINE_ENDED && rig.results[0].stop);
    rig_close(&rig);
}

static void test_landing(void **state)
{
    (void)state;
    static struct rig_job job;
    struct engine_cfg cfg = rig_cfg();
    struct rig rig;
    rig_open(&rig, &cfg, true);
    rig_job_init(&job, 1, 64, 10);
    uint64_t seq = rig_add(&rig, &job, ENGINE_DECODE);
    assert_int_equal(rig_look(&rig, seq).state, ENGINE_LANDING);
    assert_null(engine_plan(rig.engine));
    engine_landed(rig.engine, seq, 'a');
    struct engine_view view = rig_look(&rig, seq);
    assert_true(view.state == ENGINE_READY && view.n_kv == 64 && view.n_tokens == 65);
    const struct engine_step *step = engine_plan(rig.engine);
    assert_true(step->n_rows == 1 && step->rows[0].first == 64 && step->rows[0].n == 1);
    assert_true(step->rows[0].clear == 1 && step->rows[0].n_clear == 1);
    assert_true(step->rows[0].sample && !step->rows[0].digest);
    assert_int_equal(step->rows[0].n_prompt, 64);
    step->rows[0].out_token = 'b';
    engine_complete(rig.engine, 0, rig.results, &rig.n_results);
    step = engine_plan(rig.engine);
    assert_non_null(step);
    assert_int_equal(step->rows[0].n_clear, 0);
    engine_complete(rig.engine, 0, rig.results, &rig.n_results);
    engine_close(rig.engine, seq);
    engine_landed(rig.engine, seq, 'a'); /* late: nothing */

    rig_job_init(&job, 2, 64, 10);
    seq = rig_add(&rig, &job, ENGINE_DECODE);
    engine_landed(rig.engine, seq, ORACLE_EOS); /* a peer that did not say so */
    assert_int_equal(rig_look(&rig, seq).state, ENGINE_ENDED);
    assert_null(engine_plan(rig.engine));
    rig_close(&rig);
}

static void test_close(void **state)
{
    (void)state;
    static struct rig_job job;
    struct engine_cfg cfg = rig_cfg();
    struct rig rig;
    struct engine_view view;
    uint64_t found;
    rig_open(&rig, &cfg, true);
    struct blocks *blocks = engine_blocks(rig.engine);
    rig_job_init(&job, 1, 100, 10);
    uint64_t seq = rig_add(&rig, &job, ENGINE_PREFILL);
    const struct engine_step *step = engine_plan(rig.engine);
    assert_int_equal(step->number, 1);
    assert_null(engine_plan(rig.engine)); /* one at a time */
    engine_close(rig.engine, seq);
    engine_close(rig.engine, seq);
    assert_int_equal(engine_find(rig.engine, &job.job.req, &found), STATUS_NOT_FOUND);
    view = rig_look(&rig, seq);
    assert_true(view.closed && view.running);
    assert_int_equal(blocks_sum(blocks, BLOCK_HOLDER_SEQ), 2); /* still being written */
    uint64_t again = rig_add(&rig, &job, ENGINE_PREFILL);
    assert_true(again != seq);
    rig_expect_sums(&rig);
    assert_memory_equal(step->rows[0].tokens, job.prompt, 100 * sizeof *job.prompt);
    engine_complete(rig.engine, 0, rig.results, &rig.n_results);
    assert_int_equal(rig.n_results, 0);
    assert_int_equal(engine_look(rig.engine, seq, &view), STATUS_NOT_FOUND);
    assert_int_equal(blocks_sum(blocks, BLOCK_HOLDER_SEQ), 2);
    assert_int_equal(engine_find(rig.engine, &job.job.req, &found), STATUS_OK);
    assert_true(found == again);
    assert_true(rig_step(&rig, 0));
    engine_close(rig.engine, seq); /* stale */
    engine_close(rig.engine, again);
    engine_close(rig.engine, 12345);
    assert_int_equal(blocks_n_free(blocks), cfg.n_blocks);
    assert_int_equal(engine_next(rig.engine, 0), 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_cfg),           cmocka_unit_test(test_create_no_memory),
        cmocka_unit_test(test_open_refuses),      cmocka_unit_test(test_blocks_at_open),
        cmocka_unit_test(test_longest_fits),      cmocka_unit_test(test_results),
        cmocka_unit_test(test_no_token),          cmocka_unit_test(test_logprobs_are_finite),
        cmocka_unit_test(test_arrays_are_copied), cmocka_unit_test(test_stops),
        cmocka_unit_test(test_landing),           cmocka_unit_test(test_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
