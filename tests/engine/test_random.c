/* Random operations on a small pool, with the invariants after each: no block with two owners, the
 * holds add up, the oldest never yields, tokens are the truth's. Then no more jobs come, and
 * everything must end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "tests/engine/rig.h"

#define N_OPS 500000
#define N_ROUNDS 50
#define N_JOBS 16u
#define N_HOLDS_MAX 8u

/* A job that is in the engine, or not now. */
struct slot {
    struct rig_job job;
    uint32_t truth[RIG_OUT_MAX];
    size_t n_truth;
    uint64_t seq;               /* 0: not in */
    uint32_t held[N_HOLDS_MAX]; /* blocks that the role holds beside the engine */
    uint32_t n_held;
    enum block_holder holder;
};

struct world {
    struct rand rng;
    struct rig rig, peer; /* peer computes what lands here */
    struct slot slots[N_JOBS];
    const struct engine_step *step; /* running */
    uint32_t next_number;
    uint64_t n_ended, n_yielded, n_full, n_landed;
};

static uint32_t below(struct world *world, uint32_t bound)
{
    return (uint32_t)rand_below(&world->rng, bound);
}

static void new_job(struct world *world, struct slot *slot)
{
    rig_job_init(&slot->job, ++world->next_number, 1 + below(world, 72), 1 + below(world, 200));
    slot->job.sampling.ignore_eos = below(world, 4) > 0;
    slot->job.job.suspect = below(world, 8) == 0;
    slot->n_truth = rig_truth(&slot->job, slot->truth);
}

/* Opens a job: a new one, or the old one with what it had emitted so far (kept in job.emitted). */
static void op_open(struct world *world, struct slot *slot)
{
    if (slot->seq != 0 || slot->n_held != 0)
        return;
    if (slot->n_truth == 0)
        new_job(world, slot);
    slot->job.job.mode = (enum engine_mode)below(world, 3);
    slot->job.job.attempt++;
    enum status status = engine_open(world->rig.engine, &slot->job.job, &slot->seq);
    if (status == STATUS_FULL)
        world->n_full++;
    else
        assert_int_equal(status, STATUS_OK);
}

/* Keeps what the stream has, compares it, and leaves. */
static void op_close(struct world *world, struct slot *slot)
{
    if (slot->seq == 0)
        return;
    struct engine_view view = rig_look(&world->rig, slot->seq);
    uint32_t n = view.n_tokens - view.n_prompt;
    assert_true(n <= slot->n_truth);
    assert_memory_equal(view.tokens + view.n_prompt, slot->truth, n * sizeof *slot->truth);
    memcpy(slot->job.emitted, slot->truth, n * sizeof *slot->truth);
    slot->job.job.emitted.n = n;
    if (view.state == ENGINE_ENDED) {
        assert_int_equal(n, slot->n_truth);
        world->n_ended++;
    }
    if (n == slot->n_truth)
        slot->n_truth = 0; /* over: the slot gets another job */
    engine_close(world->rig.engine, slot->seq);
    slot->seq = 0;
}

/* Fills the landing blocks from a peer that computes the job alone. */
static void op_land(struct world *world, struct slot *slot)
{
    if (slot->seq == 0 || rig_look(&world->rig, slot->seq).state != ENGINE_LANDING)
        return;
    uint64_t held = rig_add(&world->peer, &slot->job, ENGINE_PREFILL);
    struct engine_view view = rig_finish(&world->peer, held);
    if (view.state == ENGINE_HELD)
        rig_hand_over(&world->peer, held, &world->rig, slot->seq);
    else
        engine_landed(world->rig.engine, slot->seq, view.tokens[view.n_kv]);
    engine_close(world->peer.engine, held);
    world->n_landed++;
}

/* The role's own holds: a hand-over that outlives its sequence. */
static void op_hold(struct world *world, struct slot *slot)
{
    struct blocks *blocks = engine_blocks(world->rig.engine);
    if (slot->n_held > 0) {
        blocks_drop(blocks, slot->holder, slot->held, slot->n_held);
        slot->n_held = 0;
        return;
    }
    if (slot->seq == 0)
        return;
    struct engine_view view = rig_look(&world->rig, slot->seq);
    slot->n_held = view.n_blocks < N_HOLDS_MAX ? view.n_blocks : N_HOLDS_MAX;
    slot->holder = view.state == ENGINE_LANDING ? BLOCK_HOLDER_IN : BLOCK_HOLDER_OUT;
    memcpy(slot->held, view.blocks, slot->n_held * sizeof *slot->held);
    blocks_hold(blocks, slot->holder, slot->held, slot->n_held);
}

/* The oldest of those that could yield. */
static uint64_t oldest(struct world *world)
{
    uint64_t seq = engine_next(world->rig.engine, 0);
    for (; seq != 0; seq = engine_next(world->rig.engine, seq)) {
        struct engine_view view = rig_look(&world->rig, seq);
        if (view.state == ENGINE_LANDING || view.state == ENGINE_READY)
            break;
    }
    return seq;
}

static void op_plan(struct world *world)
{
    if (world->step != NULL)
        return;
    uint64_t before = oldest(world);
    world->step = engine_plan(world->rig.engine);
    if (before != 0)
        assert_int_not_equal(rig_look(&world->rig, before).state, ENGINE_YIELDED);
}

static void op_complete(struct world *world)
{
    struct rig *rig = &world->rig;
    if (world->step == NULL)
        return;
    struct exec exec = rig->exec;
    bool digest = false;
    for (uint32_t i = 0; i < world->step->n_rows; i++) {
        digest = digest || world->step->rows[i].digest;
        world->step->rows[i].digest = false; /* test_oracle.c looks at pieces */
    }
    assert_int_equal(exec.ops->run(exec.self, world->step, NULL, NULL), STATUS_OK);
    engine_complete(rig->engine, rand_below(&world->rng, 100000000), rig->results, &rig->n_results);
    world->step = NULL;
}

/* Nothing more will run: HELD, ENDED or YIELDED. */
static bool is_over(struct world *world, const struct slot *slot)
{
    return slot->seq != 0 && rig_look(&world->rig, slot->seq).state >= ENGINE_HELD;
}

static void op_random(struct world *world)
{
    struct slot *slot = &world->slots[below(world, N_JOBS)];
    uint32_t what = below(world, 1000);
    if (what < 60)
        op_open(world, slot);
    else if (what < 120)
        op_land(world, slot);
    else if (what < 200 && is_over(world, slot))
        op_close(world, slot);
    else if (what < 205)
        op_hold(world, slot);
    else if (what < 207)
        op_close(world, slot);
    else if (world->step != NULL)
        op_complete(world);
    else
        op_plan(world);
}

/* No newcomers: all that is in must come to an end, and nothing may be left. */
static void wind_up(struct world *world)
{
    for (uint32_t i = 0; i < N_JOBS; i++) {
        if (world->slots[i].n_held > 0)
            op_hold(world, &world->slots[i]);
    }
    uint32_t n_idle = 0;
    while (engine_next(world->rig.engine, 0) != 0) {
        for (uint32_t i = 0; i < N_JOBS; i++) {
            struct slot *slot = &world->slots[i];
            op_land(world, slot);
            if (is_over(world, slot))
                op_close(world, slot);
        }
        op_plan(world);
        n_idle = world->step == NULL ? n_idle + 1 : 0;
        assert_true(n_idle < 3);
        op_complete(world);
        rig_expect_sums(&world->rig);
    }
    assert_int_equal(blocks_n_free(engine_blocks(world->rig.engine)),
                     blocks_n(engine_blocks(world->rig.engine)));
}

static void run_world(struct world *world, uint64_t seed)
{
    struct engine_cfg cfg = rig_cfg();
    rand_init(&world->rng, seed);
    rig_open(&world->peer, &cfg, false);
    cfg.len_max = 272;
    cfg.n_blocks = 5 + below(world, 20);
    cfg.batch_max = 1 + below(world, 12);
    cfg.seqs_max = 4 + below(world, 16);
    cfg.chunk_max = 64 * (1 + below(world, 3));
    rig_open(&world->rig, &cfg, true);
    for (int n = 0; n < N_OPS / N_ROUNDS; n++) {
        op_random(world);
        rig_expect_sums(&world->rig);
    }
    wind_up(world);
    struct engine_counts counts;
    engine_counts(world->rig.engine, &counts);
    world->n_yielded = counts.yields;
    rig_close(&world->rig);
    rig_close(&world->peer);
}

static void test_random(void **state)
{
    (void)state;
    static struct world world;
    uint64_t n_ended = 0, n_yielded = 0, n_full = 0, n_landed = 0;
    for (uint64_t seed = 0; seed < N_ROUNDS; seed++) {
        memset(&world, 0, sizeof world);
        run_world(&world, seed);
        n_ended += world.n_ended;
        n_yielded += world.n_yielded;
        n_full += world.n_full;
        n_landed += world.n_landed;
    }
    print_message("%d operations: %lu ended, %lu yielded, %lu full, %lu landed\n", N_OPS, n_ended,
                  n_yielded, n_full, n_landed);
    assert_true(n_ended > 100 && n_yielded > 100 && n_full > 100 && n_landed > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
