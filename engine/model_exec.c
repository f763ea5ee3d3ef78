/* The model executor: turns a step's rows into one ragged batch, its sampling parameters into the
 * kernels', and finished layers into digests of KV pieces. All arrays are sized at creation:
 *   tokens     rows_max
 *   seqs       batch_max
 *   blocks     batch_max x blocks of the longest sequence
 *   penalties  one for each token that the pool can hold: while no two sequences share a block,
 *              that is all their tokens (sharing must raise it)
 *   biases     batch_max x most biases of a request
 *   banned     batch_max x (end ids, stop ids, bad ids)
 * Runs on the compute thread. */
#include "engine/model_exec.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "engine/seq.h"
#include "model/forward.h"
#include "wire/kvdigest.h"

#define BLOCK KVGEOM_BLOCK_TOKENS

/* Limits of one floor that the next takes for granted. */
_Static_assert(OPS_LOGPROBS_MAX >= WIRE_TOPS_MAX, "as many logprobs as may be asked for");
_Static_assert(ENGINE_EOS_MAX >= MODEL_EOS_MAX, "all end ids of a model");
_Static_assert(KVGEOM_BLOCK_TOKENS == OPS_BLOCK_TOKENS, "one size of blocks");

struct model_exec {
    struct model *model;
    struct forward *forward;
    struct model_exec_cfg cfg;
    size_t block_bytes;
    void *pool;

    uint32_t *tokens;
    struct op_seq *seqs;
    uint32_t *blocks;
    uint32_t *sample_seqs;        /* [batch_max] */
    struct op_sampling *params;   /* [batch_max] */
    struct op_sampled *sampled;   /* [batch_max] */
    struct op_penalty *penalties; /* of all rows, one after the other */
    uint32_t *places;             /* [vocab] of an id in its row's penalties, + 1; 0 between rows */
    struct op_bias *biases;       /* of all rows, too */
    uint32_t *banned;
    uint32_t n_penalties, n_biases, n_banned;

    /* Of the running step. */
    const struct engine_step *step;
    exec_piece_fn piece;
    void *ctx;
};

/* ---- sizes ---- */

static size_t blocks_cap(const struct model_exec_cfg *cfg)
{
    return (size_t)cfg->batch_max * kvgeom_blocks(cfg->len_max);
}

static size_t penalties_cap(const struct model_exec_cfg *cfg)
{
    return (size_t)cfg->n_blocks * BLOCK;
}

static size_t banned_cap(const struct model_exec_cfg *cfg)
{
    return (size_t)cfg->batch_max * (MODEL_EOS_MAX + WIRE_STOP_IDS_MAX + WIRE_BAD_MAX);
}

static size_t biases_cap(const struct model_exec_cfg *cfg)
{
    return (size_t)cfg->batch_max * WIRE_BIAS_MAX;
}

static struct forward_args forward_args_of(const struct model_exec_cfg *cfg)
{
    return (struct forward_args){
        .rows_max = cfg->rows_max, .samples_max = cfg->batch_max, .geom = cfg->geom};
}

uint64_t model_exec_pool_bytes(const struct model_exec_cfg *cfg)
{
    return (uint64_t)cfg->n_blocks * kvgeom_block_bytes(&cfg->geom);
}

uint64_t model_exec_work_bytes(const struct model *model, const struct model_exec_cfg *cfg)
{
    const struct forward_args args = forward_args_of(cfg);

    return forward_bytes(model, &args) + cfg->rows_max * sizeof(uint32_t) +
           cfg->batch_max * (sizeof(struct op_seq) + sizeof(uint32_t) + sizeof(struct op_sampling) +
                             sizeof(struct op_sampled)) +
           blocks_cap(cfg) * sizeof(uint32_t) + penalties_cap(cfg) * sizeof(struct op_penalty) +
           model_config(model)->vocab * sizeof(uint32_t) + banned_cap(cfg) * sizeof(uint32_t) +
           biases_cap(cfg) * sizeof(struct op_bias);
}

/* ---- sampling parameters ---- */

static bool has_penalties(const struct wire_sampling *sampling)
{
    return sampling->repetition_penalty != 1.0 || sampling->presence_penalty != 0.0 ||
           sampling->frequency_penalty != 0.0;
}

/* Each id of the sequence once, with how often it was emitted. */
static void list_penalties(struct model_exec *exec, const struct engine_row *row,
                           struct op_sampling *out)
{
    struct op_penalty *list = exec->penalties + exec->n_penalties;
    const uint32_t n = row->first + row->n;
    uint32_t n_list = 0;

    for (uint32_t i = 0; i < n; i++) {
        const uint32_t token = row->tokens[i];

        CHECK(token < model_config(exec->model)->vocab);
        if (exec->places[token] == 0) {
            CHECK(exec->n_penalties + n_list < penalties_cap(&exec->cfg));
            list[n_list++] = (struct op_penalty){.token = token};
            exec->places[token] = n_list;
        }
        if (i >= row->n_prompt)
            list[exec->places[token] - 1].emitted++;
    }
    for (uint32_t i = 0; i < n_list; i++)
        exec->places[list[i].token] = 0;
    out->penalties = list;
    out->n_penalties = n_list;
    exec->n_penalties += n_list;
}

static void list_biases(struct model_exec *exec, const struct wire_sampling *sampling,
                        struct op_sampling *out)
{
    struct op_bias *list = exec->biases + exec->n_biases;
    const uint32_t n = (uint32_t)sampling->bias_ids.n;

    CHECK(exec->n_biases + n <= biases_cap(&exec->cfg) && sampling->bias_values.n == n);
    for (uint32_t i = 0; i < n; i++)
        list[i] = (struct op_bias){.token = sampling->bias_ids.at[i],
                                   .bias = (float)sampling->bias_values.at[i]};
    out->biases = list;
    out->n_biases = n;
    exec->n_biases += n;
}

/* Bad ids never come; what would end the sequence not before min_tokens. */
static void list_banned(struct model_exec *exec, const struct engine_row *row,
                        struct op_sampling *out)
{
    const struct wire_sampling *sampling = row->sampling;
    uint32_t *list = exec->banned + exec->n_banned, n = 0;

    CHECK(exec->n_banned + sampling->bad_ids.n + sampling->stop_ids.n + exec->cfg.n_eos <=
          banned_cap(&exec->cfg));
    for (size_t i = 0; i < sampling->bad_ids.n; i++)
        list[n++] = sampling->bad_ids.at[i];
    if (row->first + row->n - row->n_prompt < sampling->min_tokens) {
        for (size_t i = 0; i < sampling->stop_ids.n; i++)
            list[n++] = sampling->stop_ids.at[i];
        for (uint32_t i = 0; i < exec->cfg.n_eos && !sampling->ignore_eos; i++)
            list[n++] = exec->cfg.eos[i];
    }
    out->banned = list;
    out->n_banned = n;
    exec->n_banned += n;
}

/* A vocabulary may have fewer ids than are asked for. */
static uint32_t n_tops_of(const struct model_exec *exec, const struct wire_sampling *sampling)
{
    const uint32_t vocab = model_config(exec->model)->vocab;

    return sampling->logprobs < vocab ? sampling->logprobs : vocab;
}

static void fill_sampling(struct model_exec *exec, const struct engine_row *row,
                          struct op_sampling *out)
{
    const struct wire_sampling *sampling = row->sampling;

    *out = (struct op_sampling){
        .seed = row->seed,
        .position = row->first + row->n,
        .temperature = (float)sampling->temperature,
        .top_p = (float)sampling->top_p,
        .min_p = (float)sampling->min_p,
        .top_k = sampling->top_k,
        .repetition = (float)sampling->repetition_penalty,
        .presence = (float)sampling->presence_penalty,
        .frequency = (float)sampling->frequency_penalty,
        .allowed = sampling->allowed_ids.n > 0 ? sampling->allowed_ids.at : NULL,
        .n_allowed = (uint32_t)sampling->allowed_ids.n,
    };
    out->n_logprobs = n_tops_of(exec, sampling);
    if (has_penalties(sampling))
        list_penalties(exec, row, out);
    list_biases(exec, sampling, out);
    list_banned(exec, row, out);
}

/* ---- a step ---- */

static uint8_t *block_at(const struct model_exec *exec, uint32_t block)
{
    CHECK(block < exec->cfg.n_blocks);
    return (uint8_t *)exec->pool + block * exec->block_bytes;
}

/* The row as rows of the batch. */
static void add_row(struct model_exec *exec, const struct engine_row *row,
                    struct forward_batch *batch, uint32_t *n_blocks)
{
    const uint32_t n = kvgeom_blocks(row->first + row->n), vocab = model_config(exec->model)->vocab;
    struct op_batch *rows = &batch->rows;

    CHECK(rows->n_rows + row->n <= exec->cfg.rows_max && rows->n_seqs < exec->cfg.batch_max);
    CHECK(*n_blocks + n <= blocks_cap(&exec->cfg));
    for (uint32_t i = row->clear; i < row->clear + row->n_clear; i++)
        device_clear(model_device(exec->model), block_at(exec, row->blocks[i]), exec->block_bytes);
    for (uint32_t i = row->first; i < row->first + row->n; i++)
        CHECK(row->tokens[i] < vocab);
    for (uint32_t i = 0; i < n; i++)
        CHECK(row->blocks[i] < exec->cfg.n_blocks);
    exec->seqs[rows->n_seqs] = (struct op_seq){
        .row = rows->n_rows, .n_rows = row->n, .position = row->first, .block = *n_blocks};
    memcpy(exec->tokens + rows->n_rows, row->tokens + row->first, row->n * sizeof(*row->tokens));
    memcpy(exec->blocks + *n_blocks, row->blocks, n * sizeof(*row->blocks));
    if (row->sample) {
        exec->sample_seqs[batch->n_samples] = rows->n_seqs;
        fill_sampling(exec, row, &exec->params[batch->n_samples]);
        batch->n_samples++;
    }
    rows->n_seqs++;
    rows->n_rows += row->n;
    *n_blocks += n;
}

/* The group that ends with this layer is final: in blocks that are full, and in the last one when
 * the prompt ends in it. */
static void on_layer(void *ctx, uint32_t layer)
{
    struct model_exec *exec = ctx;
    const struct kvgeom *geom = &exec->cfg.geom;
    const uint32_t group = layer / geom->group_layers, first_layer = group * geom->group_layers;
    size_t offset, len;

    if (layer + 1 != geom->n_layers && layer + 1 != first_layer + geom->group_layers)
        return;
    kvgeom_piece(geom, group, &offset, &len);
    for (uint32_t i = 0; i < exec->step->n_rows; i++) {
        const struct engine_row *row = &exec->step->rows[i];
        const uint32_t end = row->first + row->n;
        const uint32_t n_final = row->sample ? kvgeom_blocks(end) : end / BLOCK;

        for (uint32_t block = row->first / BLOCK; row->digest && block < n_final; block++) {
            const uint8_t *at = block_at(exec, row->blocks[block]) + offset;

            exec->piece(exec->ctx, row, block, group,
                        kvdigest_piece(&row->req, row->attempt, block, first_layer, at, len));
        }
    }
}

static void take_samples(const struct model_exec *exec, const struct engine_step *step)
{
    const struct op_sampled *sampled = exec->sampled;

    for (uint32_t i = 0; i < step->n_rows; i++) {
        struct engine_row *row = &step->rows[i];

        if (!row->sample)
            continue;
        row->out_token = sampled->token;
        row->out_logprob = sampled->logprob;
        for (uint32_t k = 0; k < n_tops_of(exec, row->sampling); k++)
            row->out_tops[k] = (struct engine_top){.token = sampled->top_tokens[k],
                                                   .logprob = sampled->top_logprobs[k]};
        sampled++;
    }
}

static enum status model_exec_run(void *self, const struct engine_step *step, exec_piece_fn piece,
                                  void *ctx)
{
    struct model_exec *exec = self;
    struct forward_batch batch = {
        .tokens = exec->tokens,
        .rows = {.seqs = exec->seqs, .blocks = exec->blocks},
        .pool = exec->pool,
        .sample_seqs = exec->sample_seqs,
        .params = exec->params,
        .sampled = exec->sampled,
        .layer_done = on_layer,
        .ctx = exec,
    };
    uint32_t n_blocks = 0;
    enum status status;

    exec->step = step;
    exec->piece = piece;
    exec->ctx = ctx;
    exec->n_penalties = exec->n_biases = exec->n_banned = 0;
    for (uint32_t i = 0; i < step->n_rows; i++)
        add_row(exec, &step->rows[i], &batch, &n_blocks);
    status = forward_run(exec->forward, &batch);
    if (status == STATUS_OK)
        take_samples(exec, step);
    return status;
}

/* ---- the executor ---- */

static uint8_t *model_exec_pool(void *self)
{
    return ((struct model_exec *)self)->pool;
}

static void model_exec_destroy(void *self)
{
    struct model_exec *exec = self;

    if (exec == NULL)
        return;
    forward_destroy(exec->forward);
    if (exec->pool != NULL)
        device_free(model_device(exec->model), exec->pool, model_exec_pool_bytes(&exec->cfg));
    mem_free(exec->tokens);
    mem_free(exec->seqs);
    mem_free(exec->blocks);
    mem_free(exec->sample_seqs);
    mem_free(exec->params);
    mem_free(exec->sampled);
    mem_free(exec->penalties);
    mem_free(exec->places);
    mem_free(exec->biases);
    mem_free(exec->banned);
    mem_free(exec);
}

static const struct exec_ops model_exec_ops = {
    .name = "model",
    .run = model_exec_run,
    .pool = model_exec_pool,
    .destroy = model_exec_destroy,
};

static bool alloc_arrays(struct model_exec *exec)
{
    const struct model_exec_cfg *cfg = &exec->cfg;

    exec->tokens = mem_alloc_zero(cfg->rows_max, sizeof(*exec->tokens));
    exec->seqs = mem_alloc_zero(cfg->batch_max, sizeof(*exec->seqs));
    exec->blocks = mem_alloc_zero(blocks_cap(cfg), sizeof(*exec->blocks));
    exec->sample_seqs = mem_alloc_zero(cfg->batch_max, sizeof(*exec->sample_seqs));
    exec->params = mem_alloc_zero(cfg->batch_max, sizeof(*exec->params));
    exec->sampled = mem_alloc_zero(cfg->batch_max, sizeof(*exec->sampled));
    exec->penalties = mem_alloc_zero(penalties_cap(cfg), sizeof(*exec->penalties));
    exec->places = mem_alloc_zero(model_config(exec->model)->vocab, sizeof(*exec->places));
    exec->biases = mem_alloc_zero(biases_cap(cfg), sizeof(*exec->biases));
    exec->banned = mem_alloc_zero(banned_cap(cfg), sizeof(*exec->banned));
    return exec->tokens != NULL && exec->seqs != NULL && exec->blocks != NULL &&
           exec->sample_seqs != NULL && exec->params != NULL && exec->sampled != NULL &&
           exec->penalties != NULL && exec->places != NULL && exec->biases != NULL &&
           exec->banned != NULL;
}

enum status model_exec_create(struct model *model, const struct model_exec_cfg *cfg,
                              struct exec *out)
{
    const struct forward_args args = forward_args_of(cfg);
    struct model_exec *exec;
    enum status status;

    if (cfg->n_blocks == 0 || cfg->batch_max == 0 || cfg->len_max == 0 ||
        cfg->n_eos > MODEL_EOS_MAX)
        return STATUS_INVALID;
    exec = mem_alloc_zero(1, sizeof(*exec));
    if (exec == NULL)
        return STATUS_NO_MEMORY;
    exec->model = model;
    exec->cfg = *cfg;
    exec->block_bytes = kvgeom_block_bytes(&cfg->geom);
    status = alloc_arrays(exec) ? STATUS_OK : STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = forward_create(model, &args, &exec->forward);
    if (status == STATUS_OK)
        status = device_alloc(model_device(model), model_exec_pool_bytes(cfg), &exec->pool);
    if (status != STATUS_OK) {
        model_exec_destroy(exec);
        return status;
    }
    *out = (struct exec){.ops = &model_exec_ops, .self = exec};
    return STATUS_OK;
}
