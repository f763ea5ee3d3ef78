/* The engine's outer face: create, open, land, close, complete, look. Planning is plan.c, the
 * records are seq.c. Called by the roles on the node's I/O thread, and by the simulator. */
#include "engine/engine.h"

#include "base/check.h"
#include "base/handles.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "base/objpool.h"
#include "engine/plan.h"
#include "engine/seq.h"

/* ---- create ---------------------------------------------------------------------------------- */

static const char *cfg_fault(const struct engine_cfg *cfg)
{
    if (!kvgeom_valid(&cfg->geom))
        return "the KV geometry has a zero or is too large";
    if (cfg->seqs_max == 0 || cfg->batch_max == 0)
        return "seqs_max and batch_max must be at least 1";
    if (cfg->batch_max > ENGINE_BATCH_MAX)
        return "batch_max is over 4096";
    if (cfg->chunk_max == 0 || cfg->chunk_max % KVGEOM_BLOCK_TOKENS != 0)
        return "chunk_max must be a multiple of the block, 64 tokens";
    if (cfg->chunk_ms == 0)
        return "chunk_ms must be at least 1";
    if (cfg->len_max < 2 || cfg->len_max > WIRE_TOKENS_MAX)
        return "len_max must be from 2 to 1048576 tokens";
    if (cfg->n_blocks < kvgeom_blocks(cfg->len_max))
        return "the pool is smaller than one sequence of len_max tokens";
    return NULL;
}

enum status engine_create(const struct engine_cfg *cfg, struct engine **out, const char **why_out)
{
    /* Request ids are drawn at random by our own routers, so nobody can make them collide and the
     * map's key need not be secret; a constant keeps the engine free of entropy. */
    static const uint64_t map_key[2] = {UINT64_C(0x6261746f6e2d656e), UINT64_C(0x67696e652d6d6170)};
    const char *fault = cfg_fault(cfg);
    if (fault != NULL) {
        *why_out = fault;
        return STATUS_INVALID;
    }
    struct engine *engine = mem_alloc_zero(1, sizeof *engine);
    if (engine == NULL)
        return STATUS_NO_MEMORY;
    engine->cfg = *cfg;
    engine->step.rows = mem_alloc_zero(cfg->batch_max, sizeof *engine->step.rows);
    engine->row_seqs = mem_alloc_zero(cfg->batch_max, sizeof *engine->row_seqs);
    enum status status = STATUS_NO_MEMORY;
    engine->tops = mem_alloc_zero((size_t)cfg->batch_max * WIRE_TOPS_MAX, sizeof *engine->tops);
    if (engine->step.rows == NULL || engine->row_seqs == NULL || engine->tops == NULL)
        goto fail;
    status = blocks_create(cfg->n_blocks, &engine->blocks);
    if (status != STATUS_OK)
        goto fail;
    status = objpool_create("engine.seqs", sizeof(struct seq), cfg->seqs_max, &engine->seqs);
    if (status != STATUS_OK)
        goto fail;
    status = handles_create(cfg->seqs_max, &engine->handles);
    if (status != STATUS_OK)
        goto fail;
    status = idmap_create(cfg->seqs_max, map_key, &engine->requests);
    if (status != STATUS_OK)
        goto fail;
    *out = engine;
    return STATUS_OK;
fail:
    engine_destroy(engine);
    return status;
}

void engine_destroy(struct engine *engine)
{
    if (engine == NULL)
        return;
    while (engine->first[SEQ_ADMISSION] != NULL)
        seq_leave(engine, engine->first[SEQ_ADMISSION]);
    idmap_destroy(engine->requests);
    handles_destroy(engine->handles);
    objpool_destroy(engine->seqs);
    blocks_destroy(engine->blocks);
    mem_free(engine->tops);
    mem_free(engine->row_seqs);
    mem_free(engine->step.rows);
    mem_free(engine);
}

struct blocks *engine_blocks(struct engine *engine)
{
    return engine->blocks;
}

/* ---- sequences come and go ------------------------------------------------------------------- */

static struct idmap_key request_key(const struct wire_id *req)
{
    return idmap_key(req->byte, 0);
}

/* The limits of the codec, for jobs that come from elsewhere. */
static bool sampling_in_limits(const struct wire_sampling *sampling)
{
    return sampling->logprobs <= WIRE_TOPS_MAX && sampling->stop_ids.n <= WIRE_STOP_IDS_MAX &&
           sampling->bias_ids.n <= WIRE_BIAS_MAX && sampling->bias_values.n <= WIRE_BIAS_MAX &&
           sampling->allowed_ids.n <= WIRE_ALLOWED_MAX && sampling->bad_ids.n <= WIRE_BAD_MAX;
}

/* Everything about a job that does not depend on the engine's present load. */
static enum status job_check(const struct engine *engine, const struct engine_job *job)
{
    uint32_t max_tokens = job->sampling->max_tokens;
    if (job->prompt.n == 0 || job->emitted.n >= max_tokens)
        return STATUS_INVALID;
    if (job->n_eos > ENGINE_EOS_MAX || !sampling_in_limits(job->sampling))
        return STATUS_TOO_BIG;
    if (job->prompt.n > engine->cfg.len_max || max_tokens > engine->cfg.len_max - job->prompt.n)
        return STATUS_TOO_BIG;
    return STATUS_OK;
}

enum status engine_open(struct engine *engine, const struct engine_job *job, uint64_t *seq_out)
{
    enum status status = job_check(engine, job);
    if (status != STATUS_OK)
        return status;
    struct idmap_key key = request_key(&job->req);
    uint32_t idx;
    if (idmap_find(engine->requests, &key, &idx) == STATUS_OK)
        return STATUS_EXISTS;
    uint32_t n_blocks = seq_blocks_at_open(job, (uint32_t)(job->prompt.n + job->emitted.n));
    if ((uint64_t)n_blocks + engine->n_needy > blocks_n_free(engine->blocks))
        return STATUS_FULL;
    struct seq *seq;
    status = seq_create(engine, job, &seq);
    if (status != STATUS_OK)
        return status;
    status = handles_insert(engine->handles, seq, &seq->handle);
    if (status != STATUS_OK)
        goto fail_seq;
    status = idmap_insert(engine->requests, &key, objpool_index(engine->seqs, seq));
    if (status != STATUS_OK)
        goto fail_handle;
    CHECK(n_blocks <= seq->blocks_cap);
    CHECK(blocks_take(engine->blocks, BLOCK_HOLDER_SEQ, n_blocks, seq->blocks) == STATUS_OK);
    seq->n_blocks = n_blocks;
    for (enum seq_list list = 0; list < SEQ_N_LISTS; list++)
        seq_append(engine, list, seq);
    *seq_out = seq->handle;
    return STATUS_OK;
fail_handle:
    handles_remove(engine->handles, seq->handle);
fail_seq:
    seq_destroy(engine, seq);
    return status;
}

enum status engine_find(const struct engine *engine, const struct wire_id *req, uint64_t *seq_out)
{
    struct idmap_key key = request_key(req);
    uint32_t idx;
    enum status status = idmap_find(engine->requests, &key, &idx);
    if (status != STATUS_OK)
        return status;
    const struct seq *seq = objpool_at(engine->seqs, idx);
    *seq_out = seq->handle;
    return STATUS_OK;
}

void engine_landed(struct engine *engine, uint64_t handle, uint32_t token)
{
    struct seq *seq = handles_find(engine->handles, handle);
    if (seq == NULL || seq->state == ENGINE_YIELDED)
        return;
    CHECK(seq->state == ENGINE_LANDING);
    bool stop;
    bool ends =
        seq_ends(&seq->sampling, seq->eos, seq->n_eos, seq->n_tokens - seq->n_prompt, token, &stop);
    seq->n_kv = seq->n_tokens;
    seq->n_clean = kvgeom_blocks(seq->n_kv);
    seq_add_token(seq, token);
    seq->state = ends ? ENGINE_ENDED : ENGINE_READY;
}

void engine_close(struct engine *engine, uint64_t handle)
{
    struct seq *seq = handles_find(engine->handles, handle);
    if (seq == NULL || seq->closed)
        return;
    struct idmap_key key = request_key(&seq->req);
    CHECK(idmap_remove(engine->requests, &key, NULL) == STATUS_OK);
    if (seq->state == ENGINE_RUNNING)
        seq->closed = true;
    else
        seq_leave(engine, seq);
}

/* ---- steps ----------------------------------------------------------------------------------- */

const struct engine_step *engine_plan(struct engine *engine)
{
    if (engine->running || plan_rows(engine) == 0)
        return NULL;
    engine->running = true;
    engine->step.number++;
    engine->step.bound_ms = rate_bound_ms(&engine->rate, engine->load);
    return &engine->step;
}

size_t engine_yielded(const struct engine *engine, uint64_t *seqs, size_t max)
{
    size_t n = 0;
    for (const struct seq *seq = engine->first[SEQ_ADMISSION]; seq != NULL && n < max;
         seq = seq->link[SEQ_ADMISSION].next) {
        if (seq->state == ENGINE_YIELDED)
            seqs[n++] = seq->handle;
    }
    return n;
}

static double finite_logprob(double logprob)
{
    return logprob >= -ENGINE_LOGPROB_MAX && logprob <= ENGINE_LOGPROB_MAX ? logprob
                                                                           : -ENGINE_LOGPROB_MAX;
}

/* Those that the executor has written, made finite. */
static uint32_t n_tops_of(const struct engine_row *row)
{
    uint32_t n = 0, n_max = row->out_tops != NULL ? row->sampling->logprobs : 0;
    while (n < n_max && row->out_tops[n].token != ENGINE_NO_TOKEN) {
        row->out_tops[n].logprob = finite_logprob(row->out_tops[n].logprob);
        n++;
    }
    return n;
}

/* What the row did to its sequence; the sequence is not closed. */
static struct engine_result row_result(struct engine *engine, const struct engine_row *row,
                                       struct seq *seq)
{
    struct engine_result result = {
        .seq = seq->handle, .req = seq->req, .attempt = seq->attempt, .tag = seq->tag};
    seq->state = ENGINE_READY;
    if (row->sample && row->out_token == ENGINE_NO_TOKEN) {
        seq->state = ENGINE_ENDED;
        result.failed = true;
    } else if (row->sample) {
        uint32_t n_emitted = seq->n_tokens - seq->n_prompt;
        bool ends =
            seq_ends(&seq->sampling, seq->eos, seq->n_eos, n_emitted, row->out_token, &result.stop);
        seq_add_token(seq, row->out_token);
        seq->state = ends ? ENGINE_ENDED : seq->mode == ENGINE_PREFILL ? ENGINE_HELD : ENGINE_READY;
        engine->tokens_sampled++;
        result.sampled = true;
        result.index = n_emitted;
        result.token = row->out_token;
        result.logprob = finite_logprob(row->out_logprob);
        result.tops = row->out_tops;
        result.n_tops = n_tops_of(row);
    }
    result.state = seq->state;
    return result;
}

void engine_complete(struct engine *engine, uint64_t took_ns, struct engine_result *results,
                     size_t *n_out)
{
    CHECK_MSG(engine->running, "no step is running");
    size_t n = 0;
    for (uint32_t i = 0; i < engine->step.n_rows; i++) {
        const struct engine_row *row = &engine->step.rows[i];
        struct seq *seq = engine->row_seqs[i];
        CHECK(seq->state == ENGINE_RUNNING && seq->n_kv == row->first);
        seq->n_kv += row->n;
        engine->tokens_computed += row->n;
        if (seq->closed)
            seq_leave(engine, seq);
        else
            results[n++] = row_result(engine, row, seq);
    }
    engine->running = false;
    rate_learn(&engine->rate, engine->load, took_ns);
    *n_out = n;
}

void engine_result_tops(const struct engine_result *result, struct engine_tops_room *room,
                        struct wire_u32s *ids, struct wire_span *logprobs)
{
    for (uint32_t i = 0; i < result->n_tops; i++) {
        room->ids[i] = result->tops[i].token;
        room->logprobs[i] = result->tops[i].logprob;
    }
    *ids = (struct wire_u32s){room->ids, result->n_tops};
    *logprobs = (struct wire_span){(const char *)room->logprobs, result->n_tops * sizeof(double)};
}

/* ---- looking --------------------------------------------------------------------------------- */

enum status engine_look(const struct engine *engine, uint64_t handle, struct engine_view *out)
{
    const struct seq *seq = handles_find(engine->handles, handle);
    if (seq == NULL)
        return STATUS_NOT_FOUND;
    *out = (struct engine_view){
        .state = seq->state,
        .req = seq->req,
        .attempt = seq->attempt,
        .tag = seq->tag,
        .n_prompt = seq->n_prompt,
        .n_tokens = seq->n_tokens,
        .n_kv = seq->n_kv,
        .tokens = seq->tokens,
        .blocks = seq->blocks,
        .n_blocks = seq->n_blocks,
        .running = seq->state == ENGINE_RUNNING,
        .closed = seq->closed,
    };
    return STATUS_OK;
}

void engine_counts(const struct engine *engine, struct engine_counts *out)
{
    *out = (struct engine_counts){
        .steps = engine->step.number - engine->running,
        .tokens_computed = engine->tokens_computed,
        .tokens_sampled = engine->tokens_sampled,
        .yields = engine->yields,
        .step_running = engine->running ? engine->step.number : 0,
        .bound_ms = engine->running ? engine->step.bound_ms : 0,
    };
    for (const struct seq *seq = engine->first[SEQ_ADMISSION]; seq != NULL;
         seq = seq->link[SEQ_ADMISSION].next) {
        out->n_seqs++;
        out->n_landing += seq->state == ENGINE_LANDING;
        out->n_ready += seq->state == ENGINE_READY;
        out->n_held += seq->state == ENGINE_HELD;
        out->n_running += seq->state == ENGINE_RUNNING;
    }
}

uint64_t engine_next(const struct engine *engine, uint64_t handle)
{
    const struct seq *next = engine->first[SEQ_ADMISSION];
    if (handle != HANDLE_NONE) {
        const struct seq *seq = handles_find(engine->handles, handle);
        next = seq == NULL ? NULL : seq->link[SEQ_ADMISSION].next;
    }
    return next == NULL ? HANDLE_NONE : next->handle;
}
