/* See node.h. */
#include "tests/exact/node.h"

#include <string.h>

#include "base/check.h"
#include "tests/engine/sampling.h"

const uint32_t job_eos[JOB_N_EOS] = {1, 7, 30, 90, 200, 301};

/* ---- jobs ---- */

void job_init(struct job *job, uint32_t number, uint32_t n_prompt, uint32_t max_tokens)
{
    memset(job, 0, sizeof(*job));
    job->sampling = sampling_defaults();
    job->sampling.max_tokens = max_tokens;
    job->sampling.temperature = 0;
    memcpy(job->job.req.byte, &number, sizeof(number));
    job->job.req.byte[15] = 1;
    job->job.attempt = 1;
    job->job.mode = ENGINE_WHOLE;
    job->job.prompt = (struct wire_u32s){job->prompt, n_prompt};
    job->job.emitted = (struct wire_u32s){job->emitted, 0};
    job->job.sampling = &job->sampling;
    job->job.eos = job_eos;
    job->job.n_eos = JOB_N_EOS;
}

static struct wire_u32s choose_ids(struct rand *rng, uint32_t *ids, uint32_t vocab)
{
    const uint32_t n = (uint32_t)rand_between(rng, 1, JOB_LIST_MAX);

    for (uint32_t i = 0; i < n; i++)
        ids[i] = (uint32_t)rand_below(rng, vocab);
    return (struct wire_u32s){ids, n};
}

static void choose_lists(struct job *job, struct rand *rng, uint32_t vocab)
{
    struct wire_sampling *sampling = &job->sampling;

    if (rand_chance(rng, 1, 4))
        sampling->stop_ids = choose_ids(rng, job->stop_ids, vocab);
    if (rand_chance(rng, 1, 4))
        sampling->bad_ids = choose_ids(rng, job->bad_ids, vocab);
    if (rand_chance(rng, 1, 6))
        sampling->allowed_ids = choose_ids(rng, job->allowed_ids, vocab);
    if (rand_chance(rng, 1, 3)) {
        sampling->bias_ids = choose_ids(rng, job->bias_ids, vocab);
        for (size_t i = 0; i < sampling->bias_ids.n; i++)
            job->bias_values[i] = 12 * rand_unit(rng) - 6;
        job->bias_ids[0] = job_eos[0]; /* ends shall come, and be held back by min_tokens */
        job->bias_values[0] = 7;
        sampling->bias_values = (struct wire_f64s){job->bias_values, sampling->bias_ids.n};
    }
}

static uint32_t choose_prompt(struct rand *rng)
{
    if (rand_chance(rng, 1, 24))
        return (uint32_t)rand_between(rng, 300, JOB_PROMPT_MAX);
    if (rand_chance(rng, 1, 5))
        return (uint32_t)rand_between(rng, 1, 3) * KVGEOM_BLOCK_TOKENS - 2 +
               (uint32_t)rand_below(rng, 5);
    return (uint32_t)rand_between(rng, 1, 90);
}

void job_choose(struct job *job, uint64_t seed, uint32_t number, uint32_t vocab, uint32_t len_max)
{
    struct wire_sampling *sampling = &job->sampling;
    struct rand rng;
    uint32_t n_prompt, max_tokens;

    rand_init(&rng, seed);
    n_prompt = choose_prompt(&rng);
    max_tokens = (uint32_t)rand_between(&rng, 1, rand_chance(&rng, 1, 3) ? JOB_OUT_MAX : 24);
    if (n_prompt > len_max - max_tokens)
        n_prompt = len_max - max_tokens;
    job_init(job, number, n_prompt, max_tokens);
    for (uint32_t i = 0; i < n_prompt; i++)
        job->prompt[i] = (uint32_t)rand_below(&rng, vocab);
    job->job.seed = rand_u64(&rng);
    sampling->temperature = rand_chance(&rng, 1, 3) ? 0 : 0.3 + 1.2 * rand_unit(&rng);
    if (rand_chance(&rng, 1, 3))
        sampling->top_k = (uint32_t)rand_between(&rng, 1, 60);
    if (rand_chance(&rng, 1, 3))
        sampling->top_p = 0.3 + 0.7 * rand_unit(&rng);
    if (rand_chance(&rng, 1, 5))
        sampling->min_p = 0.1 * rand_unit(&rng);
    if (rand_chance(&rng, 1, 3)) {
        sampling->repetition_penalty = 0.7 + rand_unit(&rng);
        sampling->presence_penalty = rand_unit(&rng) - 0.3;
        sampling->frequency_penalty = rand_unit(&rng) - 0.3;
    }
    if (rand_chance(&rng, 1, 2))
        sampling->logprobs = (uint32_t)rand_between(&rng, 0, WIRE_TOPS_MAX);
    if (rand_chance(&rng, 1, 3))
        sampling->min_tokens = (uint32_t)rand_below(&rng, max_tokens);
    sampling->ignore_eos = rand_chance(&rng, 1, 3);
    choose_lists(job, &rng, vocab);
}

/* ---- a node ---- */

void node_open(struct node *node, const struct checkpoints *checkpoints, const struct setup *setup)
{
    const struct model_config *config;

    memset(node, 0, sizeof(*node));
    node->setup = *setup;
    node->model = setup_open(checkpoints, setup);
    config = model_config(node->model);
    node->cfg = (struct engine_cfg){
        .geom = model_kvgeom(config, setup->dtype),
        .n_blocks = JOB_BLOCKS_MAX + 1,
        .seqs_max = NODE_SEQS_MAX,
        .batch_max = 1,
        .chunk_max = 512,
        .len_max = JOB_LEN_MAX < config->positions_max ? JOB_LEN_MAX : config->positions_max,
        .chunk_ms = 500,
    };
}

void node_start(struct node *node)
{
    struct model_exec_cfg cfg = {
        .geom = node->cfg.geom,
        .n_blocks = node->cfg.n_blocks,
        .rows_max = node->cfg.chunk_max + node->cfg.batch_max,
        .batch_max = node->cfg.batch_max,
        .len_max = node->cfg.len_max,
        .n_eos = JOB_N_EOS,
    };
    const char *why = "";

    memcpy(cfg.eos, job_eos, sizeof(job_eos));
    if (engine_create(&node->cfg, &node->engine, &why) != STATUS_OK)
        CHECK_MSG(false, why);
    CHECK(model_exec_create(node->model, &cfg, &node->exec) == STATUS_OK);
    /* What blocks hold before they are cleared must not show. */
    memset(node->exec.ops->pool(node->exec.self), 0xff, model_exec_pool_bytes(&cfg));
}

void node_stop(struct node *node)
{
    engine_destroy(node->engine);
    node->exec.ops->destroy(node->exec.self);
}

void node_close(struct node *node)
{
    node_stop(node);
    model_close(node->model);
}

bool node_step(struct node *node, uint64_t took_ns, exec_piece_fn piece, void *ctx)
{
    node->step = engine_plan(node->engine);
    node->n_results = 0;
    if (node->step == NULL)
        return false;
    CHECK(node->exec.ops->run(node->exec.self, node->step, piece, ctx) == STATUS_OK);
    engine_complete(node->engine, took_ns, node->results, &node->n_results);
    return true;
}

uint8_t *node_block(const struct node *node, const struct engine_view *view, uint32_t i)
{
    CHECK(i < view->n_blocks);
    return node->exec.ops->pool(node->exec.self) +
           view->blocks[i] * kvgeom_block_bytes(&node->cfg.geom);
}
