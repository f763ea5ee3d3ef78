/* What goes into a step: order, chunks, fairness, suspects, and who yields when the pool is dry.
 * The executor's place is taken by hand: each sampled id is 'a'. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/engine/rig.h"

#define MS UINT64_C(1000000)

static struct rig_job jobs[64];
static struct rig rig;

static uint64_t add(uint32_t number, enum engine_mode mode, uint32_t n_prompt, uint32_t max_tokens)
{
    rig_job_init(&jobs[number], number, n_prompt, max_tokens);
    jobs[number].job.n_eos = 0;
    return rig_add(&rig, &jobs[number], mode);
}

/* One that decodes: its prompt has landed. */
static uint64_t add_decode(uint32_t number, uint32_t n_prompt, uint32_t max_tokens)
{
    uint64_t seq = add(number, ENGINE_DECODE, n_prompt, max_tokens);
    engine_landed(rig.engine, seq, 'a');
    return seq;
}

static void complete(const struct engine_step *step, uint64_t took_ns)
{
    for (uint32_t i = 0; i < step->n_rows; i++)
        step->rows[i].out_token = 'a';
    engine_complete(rig.engine, took_ns, rig.results, &rig.n_results);
}

static const struct engine_row *row_of(const struct engine_step *step, uint64_t seq)
{
    for (uint32_t i = 0; step != NULL && i < step->n_rows; i++) {
        if (step->rows[i].seq == seq)
            return &step->rows[i];
    }
    return NULL;
}

static void open_rig(uint32_t n_blocks, uint32_t batch_max, uint32_t len_max)
{
    struct engine_cfg cfg = rig_cfg();
    cfg.n_blocks = n_blocks;
    cfg.batch_max = batch_max;
    cfg.len_max = len_max;
    rig_open(&rig, &cfg, true);
}

/* Lets the engine know that chunks cost nothing. */
static void warm_up(void)
{
    uint64_t seq = add(63, ENGINE_PREFILL, 2, 2);
    complete(engine_plan(rig.engine), 0);
    engine_close(rig.engine, seq);
}

static void test_chunks(void **state)
{
    (void)state;
    open_rig(256, 32, 1280);
    uint64_t a = add(1, ENGINE_PREFILL, 700, 2), b = add(2, ENGINE_WHOLE, 130, 2);
    uint64_t c = add(3, ENGINE_WHOLE, 10, 2);
    const struct engine_step *step = engine_plan(rig.engine);
    assert_int_equal(step->bound_ms, 10000); /* the first: one block, nobody knows how long */
    assert_int_equal(step->n_rows, 1);
    assert_int_equal(row_of(step, a)->n, 64);
    complete(step, 0);
    step = engine_plan(rig.engine);
    assert_int_equal(step->bound_ms, 1000);
    assert_int_equal(step->n_rows, 1);
    assert_int_equal(row_of(step, a)->first, 64);
    assert_int_equal(row_of(step, a)->n, 512);
    assert_int_equal(row_of(step, a)->clear, 1);
    assert_int_equal(row_of(step, a)->n_clear, 8);
    assert_false(row_of(step, a)->sample);
    complete(step, 0);
    step = engine_plan(rig.engine); /* 124 + 130 + 10 of 512 */
    assert_int_equal(step->n_rows, 3);
    assert_int_equal(row_of(step, a)->n, 124);
    assert_true(row_of(step, a)->sample && row_of(step, a)->digest);
    assert_int_equal(row_of(step, b)->n, 130);
    assert_false(row_of(step, b)->digest);
    assert_int_equal(row_of(step, c)->n, 10);
    complete(step, 264 * 10 * MS); /* 10 ms a token: 50 tokens last 500 ms */
    assert_int_equal(rig_look(&rig, a).state, ENGINE_HELD);
    uint64_t d = add(4, ENGINE_PREFILL, 300, 2);
    step = engine_plan(rig.engine);
    assert_int_equal(row_of(step, d)->n, 64); /* at least a block */
    assert_int_equal(step->n_rows, 3);        /* and the decode rows */
    assert_int_equal(step->bound_ms, 4 * (640 + 640));
    assert_int_equal(step->number, 4);
    complete(step, 0);
    rig_close(&rig);
}

/* Chunks end on block borders, and together never pass the budget. */
static void test_chunk_borders(void **state)
{
    (void)state;
    struct rand rng;
    rand_init(&rng, 4);
    for (int round = 0; round < 200; round++) {
        open_rig(256, (uint32_t)rand_between(&rng, 1, 12), 1280);
        for (uint32_t i = 0; i < 10; i++)
            add(i, i % 2 ? ENGINE_PREFILL : ENGINE_WHOLE, (uint32_t)rand_between(&rng, 1, 400), 3);
        const struct engine_step *step;
        while ((step = engine_plan(rig.engine)) != NULL) {
            uint32_t n_tokens = 0;
            for (uint32_t i = 0; i < step->n_rows; i++) {
                const struct engine_row *row = &step->rows[i];
                uint32_t end = row->first + row->n;
                assert_true(row->n == 1 || row->first % 64 == 0);
                assert_true(row->sample || end % 64 == 0);
                n_tokens += row->n > 1 ? row->n : 0;
            }
            assert_true(n_tokens <= 512);
            complete(step, rand_below(&rng, 400 * MS));
        }
        for (uint64_t seq = engine_next(rig.engine, 0); seq; seq = engine_next(rig.engine, seq))
            assert_true(rig_look(&rig, seq).state >= ENGINE_HELD);
        rig_close(&rig);
    }
}

/* Ten streams, room for four, and prompts one after the other: nobody waits longer than a round. */
static void test_no_starvation(void **state)
{
    (void)state;
    open_rig(256, 4, 1280);
    warm_up();
    uint64_t decodes[10], prompt = 0;
    uint32_t last[10] = {0}, n_prompts = 0;
    for (uint32_t i = 0; i < 10; i++)
        decodes[i] = add_decode(i, 20, 256);
    for (uint32_t n = 1; n < 200; n++) {
        if (prompt == 0)
            prompt = add(20 + n % 2, ENGINE_PREFILL, 100, 2);
        const struct engine_step *step = engine_plan(rig.engine);
        assert_int_equal(step->n_rows, 4);
        assert_non_null(row_of(step, prompt)); /* its row is kept */
        for (uint32_t i = 0; i < 10; i++) {
            if (row_of(step, decodes[i]) != NULL)
                last[i] = n;
            assert_true(n - last[i] <= 4);
        }
        complete(step, 0);
        engine_close(rig.engine, prompt);
        prompt = 0;
        n_prompts++;
    }
    assert_int_equal(n_prompts, 199);
    rig_close(&rig);
}

/* A batch of one: streams and the prompt take turns. */
static void test_batch_of_one(void **state)
{
    (void)state;
    open_rig(64, 1, 1280);
    warm_up();
    uint64_t a = add_decode(1, 20, 200), b = add_decode(2, 20, 200);
    uint64_t prompt = add(3, ENGINE_WHOLE, 700, 5);
    uint32_t n_a = 0, n_b = 0, n = 0;
    for (; rig_look(&rig, prompt).n_tokens == 700; n++) {
        const struct engine_step *step = engine_plan(rig.engine);
        assert_int_equal(step->n_rows, 1);
        n_a += row_of(step, a) != NULL;
        n_b += row_of(step, b) != NULL;
        complete(step, 0);
    }
    assert_int_equal(n, 6); /* a, b, 512, a, b, 188 */
    assert_int_equal(n_a, 2);
    assert_int_equal(n_b, 2);
    rig_close(&rig);
}

static void test_suspects(void **state)
{
    (void)state;
    open_rig(256, 32, 1280);
    warm_up();
    uint64_t seqs[24];
    uint32_t n_runs[24] = {0};
    for (uint32_t i = 0; i < 24; i++) {
        rig_job_init(&jobs[i], i, i < 12 ? 20 : 100, 100);
        jobs[i].job.n_eos = 0;
        jobs[i].job.suspect = i % 6 != 0;
        seqs[i] = rig_add(&rig, &jobs[i], i < 12 ? ENGINE_DECODE : ENGINE_WHOLE);
        if (i < 12)
            engine_landed(rig.engine, seqs[i], 'a');
    }
    for (uint32_t n = 0; n < 60; n++) {
        const struct engine_step *step = engine_plan(rig.engine);
        uint32_t n_suspects = 0;
        for (uint32_t i = 0; i < 24; i++) {
            bool runs = row_of(step, seqs[i]) != NULL;
            n_suspects += runs && jobs[i].job.suspect;
            n_runs[i] += runs;
        }
        assert_true(n_suspects <= ENGINE_SUSPECTS_MAX);
        assert_true(step->n_rows >= ENGINE_SUSPECTS_MAX);
        complete(step, 0);
    }
    for (uint32_t i = 0; i < 24; i++)
        assert_in_range(n_runs[i], jobs[i].job.suspect ? 15 : 58, 60);
    rig_close(&rig);
}

static uint64_t yielded(void)
{
    uint64_t seqs[4];
    size_t n = engine_yielded(rig.engine, seqs, 4);
    assert_true(n <= 1);
    return n == 0 ? 0 : seqs[0];
}

/* Steps until someone has yielded. */
static uint64_t run_dry(void)
{
    for (int i = 0; i < 300 && yielded() == 0; i++) {
        const struct engine_step *step = engine_plan(rig.engine);
        if (step != NULL)
            complete(step, 0);
    }
    return yielded();
}

static void test_youngest_yields(void **state)
{
    (void)state;
    uint64_t found;
    open_rig(6, 8, 384);
    uint64_t a = add_decode(1, 60, 250), b = add_decode(2, 60, 250), c = add_decode(3, 60, 250);
    assert_int_equal(blocks_n_free(engine_blocks(rig.engine)), 0);
    assert_true(run_dry() == c);
    assert_int_equal(rig_look(&rig, a).n_kv, 128);
    assert_int_equal(rig_look(&rig, c).state, ENGINE_YIELDED);
    /* All wait for its blocks: no one else yields meanwhile, and it does not run. */
    assert_null(engine_plan(rig.engine));
    assert_true(yielded() == c);
    engine_landed(rig.engine, c, 'a'); /* a late note of its hand-over: nothing */
    assert_int_equal(engine_find(rig.engine, &jobs[3].job.req, &found), STATUS_OK);
    engine_close(rig.engine, c);
    /* A newcomer may not take what a and b wait for. */
    rig_job_init(&jobs[4], 4, 60, 250);
    assert_int_equal(engine_open(rig.engine, &jobs[4].job, &found), STATUS_FULL);
    const struct engine_step *step = engine_plan(rig.engine);
    assert_int_equal(step->n_rows, 2);
    complete(step, 0);
    assert_true(run_dry() == b);
    step = engine_plan(rig.engine);
    assert_null(step);
    engine_close(rig.engine, b);
    while ((step = engine_plan(rig.engine)) != NULL) {
        complete(step, 0);
        assert_int_equal(yielded(), 0);
    }
    assert_int_equal(rig_look(&rig, a).state, ENGINE_ENDED);
    struct engine_counts counts;
    engine_counts(rig.engine, &counts);
    assert_int_equal(counts.yields, 2);
    rig_expect_sums(&rig);
    rig_close(&rig);
}

/* A landing one yields, a held one does not; and with one left that may, none does. */
static void test_who_may_yield(void **state)
{
    (void)state;
    open_rig(8, 8, 512);
    uint64_t held = add(1, ENGINE_PREFILL, 100, 10);
    complete(engine_plan(rig.engine), 0);
    complete(engine_plan(rig.engine), 0);
    assert_int_equal(rig_look(&rig, held).state, ENGINE_HELD);
    uint64_t a = add_decode(2, 100, 256), landing = add(3, ENGINE_DECODE, 10, 30);
    uint64_t young_held = add(4, ENGINE_PREFILL, 60, 10);
    assert_true(run_dry() == landing);
    assert_int_equal(rig_look(&rig, young_held).state, ENGINE_HELD);
    engine_close(rig.engine, landing);
    for (int i = 0; i < 250; i++) {
        const struct engine_step *step = engine_plan(rig.engine);
        if (step != NULL)
            complete(step, 0);
    }
    assert_int_equal(yielded(), 0); /* a is the oldest that could */
    struct engine_view view = rig_look(&rig, a);
    assert_true(view.state == ENGINE_READY && view.n_blocks == 5 && view.n_kv == 5 * 64);
    engine_close(rig.engine, held);
    assert_int_equal(rig_finish(&rig, a).state, ENGINE_ENDED);
    rig_close(&rig);
}

/* The needy one is itself the youngest. */
static void test_needy_yields_itself(void **state)
{
    (void)state;
    open_rig(4, 8, 256);
    uint64_t a = add_decode(1, 10, 150), b = add_decode(2, 60, 150);
    assert_true(run_dry() == b);
    const struct engine_step *step = engine_plan(rig.engine);
    assert_non_null(row_of(step, a));
    complete(step, 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks),        cmocka_unit_test(test_chunk_borders),
        cmocka_unit_test(test_no_starvation), cmocka_unit_test(test_batch_of_one),
        cmocka_unit_test(test_suspects),      cmocka_unit_test(test_youngest_yields),
        cmocka_unit_test(test_who_may_yield), cmocka_unit_test(test_needy_yields_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
