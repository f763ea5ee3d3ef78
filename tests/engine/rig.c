/* See rig.h. */
#include "tests/engine/rig.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "tests/engine/sampling.h"
#include "wire/kvdigest.h"

#define RIG_STEPS_MAX 100000

struct kvgeom rig_geom(void)
{
    return (struct kvgeom){
        .n_layers = 2, .n_kv_heads = 2, .head_dim = 4, .elem_bytes = 2, .group_layers = 1};
}

struct engine_cfg rig_cfg(void)
{
    return (struct engine_cfg){
        .geom = rig_geom(),
        .n_blocks = 256,
        .seqs_max = 64,
        .batch_max = 32,
        .chunk_max = 512,
        .len_max = RIG_PROMPT_MAX + RIG_OUT_MAX,
        .chunk_ms = 500,
    };
}

void rig_open(struct rig *rig, const struct engine_cfg *cfg, bool poison_tails)
{
    const char *why = NULL;
    *rig = (struct rig){.oracle_cfg = {
                            .geom = cfg->geom,
                            .n_blocks = cfg->n_blocks,
                            .model_seed = 42,
                            .poison_tails = poison_tails,
                        }};
    assert_true(cfg->batch_max <= RIG_BATCH_MAX);
    assert_int_equal(engine_create(cfg, &rig->engine, &why), STATUS_OK);
    assert_int_equal(oracle_create(&rig->oracle_cfg, &rig->exec), STATUS_OK);
}

void rig_close(struct rig *rig)
{
    engine_destroy(rig->engine);
    rig->exec.ops->destroy(rig->exec.self);
}

void rig_job_init(struct rig_job *job, uint32_t number, uint32_t n_prompt, uint32_t max_tokens)
{
    struct rand rng;
    rand_init(&rng, number);
    assert_true(n_prompt <= RIG_PROMPT_MAX && max_tokens <= RIG_OUT_MAX);
    memset(job, 0, sizeof *job);
    job->sampling = sampling_defaults();
    job->sampling.max_tokens = max_tokens;
    for (uint32_t i = 0; i < n_prompt; i++)
        job->prompt[i] = (uint32_t)rand_below(&rng, ORACLE_VOCAB);
    memcpy(job->job.req.byte, &number, sizeof number);
    job->job.req.byte[15] = 1;
    job->job.attempt = 1;
    job->job.prompt = (struct wire_u32s){job->prompt, n_prompt};
    job->job.emitted = (struct wire_u32s){job->emitted, 0};
    job->job.sampling = &job->sampling;
    job->job.seed = rand_u64(&rng);
    job->job.eos = oracle_eos;
    job->job.n_eos = ORACLE_N_EOS;
}

size_t rig_truth(const struct rig_job *job, uint32_t tokens_out[RIG_OUT_MAX])
{
    struct oracle_cfg cfg = {.geom = rig_geom(), .model_seed = 42};
    size_t n;
    assert_int_equal(oracle_truth(&cfg, &job->job, tokens_out, RIG_OUT_MAX, &n), STATUS_OK);
    return n;
}

uint64_t rig_add(struct rig *rig, struct rig_job *job, enum engine_mode mode)
{
    uint64_t seq = 0;
    job->job.mode = mode;
    assert_int_equal(engine_open(rig->engine, &job->job, &seq), STATUS_OK);
    assert_int_not_equal(seq, 0);
    return seq;
}

struct piece_ctx {
    struct rig *rig;
    const struct engine_step *step;
};

/* Every reported digest must be that of the bytes as they lie. */
static void on_piece(void *ctx, const struct engine_row *row, uint32_t block, uint32_t group,
                     uint64_t digest)
{
    struct piece_ctx *piece = ctx;
    const struct kvgeom *geom = &piece->rig->oracle_cfg.geom;
    const uint8_t *pool = piece->rig->exec.ops->pool(piece->rig->exec.self);
    size_t offset, len;
    kvgeom_piece(geom, group, &offset, &len);
    const uint8_t *at = pool + row->blocks[block] * kvgeom_block_bytes(geom) + offset;
    assert_true(row->digest);
    assert_true(digest == kvdigest_piece(&row->req, row->attempt, block, group * geom->group_layers,
                                         at, len));
    piece->rig->n_pieces++;
}

bool rig_step(struct rig *rig, uint64_t took_ns)
{
    const struct engine_step *step = engine_plan(rig->engine);
    struct piece_ctx piece = {rig, step};
    rig->n_pieces = 0;
    rig->n_results = 0;
    if (step == NULL)
        return false;
    assert_int_equal(rig->exec.ops->run(rig->exec.self, step, on_piece, &piece), STATUS_OK);
    engine_complete(rig->engine, took_ns, rig->results, &rig->n_results);
    return true;
}

struct engine_view rig_look(struct rig *rig, uint64_t seq)
{
    struct engine_view view;
    assert_int_equal(engine_look(rig->engine, seq, &view), STATUS_OK);
    return view;
}

struct engine_view rig_finish(struct rig *rig, uint64_t seq)
{
    for (int i = 0; i < RIG_STEPS_MAX; i++) {
        struct engine_view view = rig_look(rig, seq);
        if (view.state >= ENGINE_HELD)
            return view;
        assert_true(rig_step(rig, 0));
    }
    fail_msg("the sequence does not end");
    return rig_look(rig, seq);
}

uint8_t *rig_block(struct rig *rig, uint64_t seq, uint32_t i)
{
    struct engine_view view = rig_look(rig, seq);
    assert_true(i < view.n_blocks);
    return rig->exec.ops->pool(rig->exec.self) +
           view.blocks[i] * kvgeom_block_bytes(&rig->oracle_cfg.geom);
}

void rig_hand_over(struct rig *from, uint64_t held, struct rig *to, uint64_t landing)
{
    struct engine_view view = rig_look(from, held);
    assert_int_equal(view.state, ENGINE_HELD);
    assert_int_equal(view.n_kv + 1, view.n_tokens);
    for (uint32_t i = 0; i < kvgeom_blocks(view.n_kv); i++)
        memcpy(rig_block(to, landing, i), rig_block(from, held, i),
               kvgeom_block_bytes(&from->oracle_cfg.geom));
    engine_landed(to->engine, landing, view.tokens[view.n_kv]);
}

void rig_expect_truth(struct rig *rig, uint64_t seq, const struct rig_job *job, bool whole)
{
    uint32_t truth[RIG_OUT_MAX];
    size_t n = rig_truth(job, truth);
    size_t known = job->job.prompt.n + job->job.emitted.n;
    struct engine_view view = rig_look(rig, seq);
    assert_int_equal(view.n_prompt, job->job.prompt.n);
    assert_true(view.n_tokens >= known);
    assert_true(view.n_tokens - known <= n);
    if (whole)
        assert_int_equal(view.n_tokens - known, n);
    assert_memory_equal(view.tokens, job->prompt, job->job.prompt.n * sizeof *truth);
    for (size_t i = known; i < view.n_tokens; i++)
        assert_int_equal(view.tokens[i], truth[i - known]);
}

void rig_expect_sums(struct rig *rig)
{
    struct blocks *blocks = engine_blocks(rig->engine);
    uint32_t n = blocks_n(blocks), n_held = 0;
    uint64_t sum[BLOCK_N_HOLDERS] = {0}, n_named = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t holds = 0;
        for (enum block_holder h = 0; h < BLOCK_N_HOLDERS; h++) {
            sum[h] += blocks_holds(blocks, h, i);
            holds += blocks_holds(blocks, h, i);
        }
        assert_true(blocks_holds(blocks, BLOCK_HOLDER_SEQ, i) <= 1);
        n_held += holds > 0;
    }
    for (enum block_holder h = 0; h < BLOCK_N_HOLDERS; h++)
        assert_true(sum[h] == blocks_sum(blocks, h));
    assert_int_equal(n_held + blocks_n_free(blocks), n);
    /* All named blocks are held, and none is named twice: then the sums would differ. */
    for (uint64_t seq = engine_next(rig->engine, 0); seq != 0;
         seq = engine_next(rig->engine, seq)) {
        struct engine_view view = rig_look(rig, seq);
        for (uint32_t i = 0; i < view.n_blocks; i++)
            assert_int_equal(blocks_holds(blocks, BLOCK_HOLDER_SEQ, view.blocks[i]), 1);
        n_named += view.n_blocks;
        assert_true(view.n_kv <= view.n_tokens);
        assert_true(kvgeom_blocks(view.n_kv) <= view.n_blocks);
    }
    assert_true(n_named == sum[BLOCK_HOLDER_SEQ]);
}
