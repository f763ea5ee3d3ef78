/* The oracle executor. Everything it computes is a function of the job and of the KV bytes as they
 * lie in the row's blocks:
 *   KV bytes   a splitmix stream, keyed by model seed, layer, kv head, K|V, position and the
 *              rolling hash of all ids up to the position;
 *   next id    a hash over all valid KV bytes in the order of the sequence's blocks, then over the
 *              border, the position, the seed, the emitted ids and every sampling field.
 * A row's result therefore cannot depend on its batch or chunk, unless an engine or a transfer put
 * wrong bytes or a wrong row before it: that is what it is for. No state but the pool; the hash of
 * the ids is computed anew for each row, because that is cheaper than keeping it right.
 *
 * The hash is our own and not the one of wire/kvdigest.h, so that no single mistake blinds both.
 * Its steps are bijective in each word: one wrong byte always changes it, several nearly always.
 * Sampling fields are hashed one by one, never as a struct (padding), and -0.0 as 0.0, since the
 * wire leaves out what equals its default. */
#include "engine/oracle.h"

#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "engine/seq.h"
#include "wire/kvdigest.h"

#define BLOCK KVGEOM_BLOCK_TOKENS
#define POOL_ALIGNMENT 4096u
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)
#define EOS_ONE_IN 256u
#define LETTERS 26u
#define SPACES 4u       /* of LETTERS + SPACES choices */
#define TOPS_STRIDE 37u /* odd, so that the first ORACLE_VOCAB of them differ */

const uint32_t oracle_eos[ORACLE_N_EOS] = {ORACLE_EOS};

struct oracle {
    struct oracle_cfg cfg;
    size_t block_bytes;
    uint8_t *pool;
    uint64_t poison; /* number of blocks poisoned: no two get the same garbage */
};

/* Where a row's KV lies: block i of the sequence at pool + blocks[i] * block bytes. */
struct place {
    const struct kvgeom *geom;
    size_t block_bytes;
    uint8_t *pool;
    const uint32_t *blocks;
};

/* ---- the mix --------------------------------------------------------------------------------- */

static uint64_t finish(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    return finish((hash + GOLDEN) ^ finish(word + GOLDEN));
}

static void fill(uint8_t *at, size_t len, uint64_t key)
{
    for (size_t i = 0; i < len; i += sizeof key) {
        key += GOLDEN;
        uint64_t word = finish(key);
        memcpy(at + i, &word, len - i < sizeof word ? len - i : sizeof word);
    }
}

static uint64_t hash_ids(uint64_t hash, const uint32_t *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        hash = mix(hash, ids[i]);
    return hash;
}

/* ---- the hash -------------------------------------------------------------------------------- */

#define LANES 4u

/* Lanes run independently, so that long runs go at memory speed. */
struct hash {
    uint64_t lane[LANES];
};

static uint64_t step_lane(uint64_t lane, uint64_t word)
{
    lane = (lane ^ word) * UINT64_C(0x9fb21c651e98df25);
    return lane << 29 | lane >> 35;
}

static struct hash hash_init(void)
{
    return (struct hash){{GOLDEN, 2 * GOLDEN, 3 * GOLDEN, 4 * GOLDEN}};
}

static void hash_u64(struct hash *hash, uint64_t word)
{
    hash->lane[0] = step_lane(hash->lane[0], word);
}

/* One stripe; spelled out, because a loop over lanes is vectorised to something slower. */
static void hash_stripe(struct hash *hash, const uint8_t *at)
{
    uint64_t words[LANES];
    memcpy(words, at, sizeof words);
    hash->lane[0] = step_lane(hash->lane[0], words[0]);
    hash->lane[1] = step_lane(hash->lane[1], words[1]);
    hash->lane[2] = step_lane(hash->lane[2], words[2]);
    hash->lane[3] = step_lane(hash->lane[3], words[3]);
}

static void hash_bytes(struct hash *hash, const uint8_t *at, size_t len)
{
    uint8_t rest[LANES * sizeof(uint64_t)] = {0};
    struct hash now = *hash; /* in registers */
    size_t i = 0;
    for (; len - i >= sizeof rest; i += sizeof rest)
        hash_stripe(&now, at + i);
    memcpy(rest, at + i, len - i);
    hash_stripe(&now, rest);
    *hash = now;
    hash_u64(hash, len);
}

static uint64_t hash_value(const struct hash *hash)
{
    uint64_t value = 0;
    for (uint32_t k = 0; k < LANES; k++)
        value = mix(value, hash->lane[k]);
    return value;
}

/* ---- KV -------------------------------------------------------------------------------------- */

/* Writes the KV of one position; hash is that of ids 0..position. */
static void write_kv(const struct place *place, uint32_t position, uint64_t hash)
{
    const struct kvgeom *geom = place->geom;
    uint8_t *block = place->pool + place->blocks[position / BLOCK] * place->block_bytes;
    uint64_t key = mix(hash, position);
    for (uint32_t layer = 0; layer < geom->n_layers; layer++) {
        for (uint32_t head = 0; head < geom->n_kv_heads; head++) {
            for (uint32_t value = 0; value < 2; value++) {
                size_t at = kvgeom_row(geom, layer, head, value, position % BLOCK);
                uint64_t row = mix(key, (uint64_t)layer << 32 | (uint64_t)head << 1 | value);
                fill(block + at, (size_t)geom->head_dim * geom->elem_bytes, row);
            }
        }
    }
}

/* All KV bytes of positions [0, n) as they lie: whole blocks at once, of the last one the rows
 * before n only. */
static void hash_kv(struct hash *hash, const struct place *place, uint32_t n)
{
    const struct kvgeom *geom = place->geom;
    uint32_t n_whole = n / BLOCK, n_rest = n % BLOCK;
    for (uint32_t i = 0; i < n_whole; i++)
        hash_bytes(hash, place->pool + place->blocks[i] * place->block_bytes, place->block_bytes);
    if (n_rest == 0)
        return;
    const uint8_t *block = place->pool + place->blocks[n_whole] * place->block_bytes;
    size_t len = (size_t)n_rest * geom->head_dim * geom->elem_bytes;
    for (uint32_t layer = 0; layer < geom->n_layers; layer++) {
        for (uint32_t head = 0; head < geom->n_kv_heads; head++) {
            for (uint32_t value = 0; value < 2; value++)
                hash_bytes(hash, block + kvgeom_row(geom, layer, head, value, 0), len);
        }
    }
}

/* ---- the sampler ----------------------------------------------------------------------------- */

static void hash_f64(struct hash *hash, double value)
{
    uint64_t word;
    value += 0.0; /* turns -0.0 into 0.0 */
    memcpy(&word, &value, sizeof word);
    hash_u64(hash, word);
}

static void hash_u32(struct hash *hash, uint32_t value)
{
    hash_u64(hash, value);
}

static void hash_flag(struct hash *hash, bool value)
{
    hash_u64(hash, value);
}

static void hash_u32s(struct hash *hash, struct wire_u32s values)
{
    hash_u64(hash, values.n);
    for (size_t i = 0; i < values.n; i++)
        hash_u64(hash, values.at[i]);
}

static void hash_f64s(struct hash *hash, struct wire_f64s values)
{
    hash_u64(hash, values.n);
    for (size_t i = 0; i < values.n; i++)
        hash_f64(hash, values.at[i]);
}

static void hash_sampling(struct hash *hash, const struct wire_sampling *sampling)
{
#define FIELD(type, member, key, limit, dflt) hash_##type(hash, sampling->member);
    WIRE_SAMPLING(FIELD)
#undef FIELD
}

/* Ids that may not come, one bit each. */
struct ids_out {
    uint64_t bits[ORACLE_VOCAB / 64];
};

static void ids_set(struct ids_out *out, struct wire_u32s ids, bool is_out)
{
    for (size_t i = 0; i < ids.n; i++) {
        uint64_t bit = UINT64_C(1) << (ids.at[i] % 64);
        if (ids.at[i] >= ORACLE_VOCAB)
            continue;
        if (is_out)
            out->bits[ids.at[i] / 64] |= bit;
        else
            out->bits[ids.at[i] / 64] &= ~bit;
    }
}

static bool ids_has(const struct ids_out *out, uint32_t id)
{
    return out->bits[id / 64] >> (id % 64) & 1;
}

static struct ids_out ids_ruled_out(const struct wire_sampling *sampling, uint32_t n_emitted)
{
    struct ids_out out = {{0}};
    if (sampling->allowed_ids.n > 0) {
        memset(&out, 0xff, sizeof out);
        ids_set(&out, sampling->allowed_ids, false);
    }
    ids_set(&out, sampling->bad_ids, true);
    if (n_emitted < sampling->min_tokens) {
        ids_set(&out, sampling->stop_ids, true);
        if (!sampling->ignore_eos)
            ids_set(&out, (struct wire_u32s){oracle_eos, ORACLE_N_EOS}, true);
    }
    return out;
}

/* The id that the hash chooses, or the next one that is not out, or ENGINE_NO_TOKEN. */
static uint32_t choose(uint64_t value, const struct wire_sampling *sampling, uint32_t n_emitted)
{
    struct ids_out out = ids_ruled_out(sampling, n_emitted);
    uint64_t choice = value & UINT32_MAX, rare = value >> 32;
    uint32_t token = ' ';
    if (choice % (LETTERS + SPACES) < LETTERS)
        token = 'a' + (uint32_t)(choice % (LETTERS + SPACES));
    if (!sampling->ignore_eos && rare % EOS_ONE_IN == 0 && !ids_has(&out, ORACLE_EOS))
        token = ORACLE_EOS;
    for (uint32_t i = 0; i < ORACLE_VOCAB; i++) {
        if (!ids_has(&out, (token + i) % ORACLE_VOCAB))
            return (token + i) % ORACLE_VOCAB;
    }
    return ENGINE_NO_TOKEN;
}

/* As many tops as are asked for, from the sampled id down; no two of them are equal. */
static void fill_tops(struct engine_top *tops, uint32_t n, uint64_t value, uint32_t token,
                      double logprob)
{
    for (uint32_t i = 0; i < n; i++) {
        tops[i] = (struct engine_top){(token + i * TOPS_STRIDE) % ORACLE_VOCAB, logprob};
        logprob -= (double)(mix(value, i) % 1024) / 1024.0;
    }
}

/* The id at position n, from KV of [0, n), into the row's out fields. */
static void sample(const struct place *place, struct engine_row *row, uint32_t n)
{
    struct hash hash = hash_init();
    hash_kv(&hash, place, n);
    hash_u64(&hash, row->n_prompt);
    hash_u64(&hash, n);
    hash_u64(&hash, row->seed);
    for (uint32_t i = row->n_prompt; i < n; i++) /* what penalties would look at */
        hash_u64(&hash, row->tokens[i]);
    hash_sampling(&hash, row->sampling);
    uint64_t value = hash_value(&hash);
    row->out_token = choose(value, row->sampling, n - row->n_prompt);
    row->out_logprob = -(double)(value % 4096) / 1024.0;
    if (row->out_tops != NULL && row->out_token != ENGINE_NO_TOKEN)
        fill_tops(row->out_tops, row->sampling->logprobs, value, row->out_token, row->out_logprob);
}

/* ---- pretended time -------------------------------------------------------------------------- */

/* The time that a step shall take up to some point. */
struct pace {
    uint64_t start_ns, due_ns;
};

static void pace_add(struct pace *pace, uint64_t us)
{
    if (us == 0)
        return;
    pace->due_ns += us * NS_PER_US;
    uint64_t until = pace->start_ns + pace->due_ns;
    struct timespec due = {
        .tv_sec = (time_t)(until / NS_PER_S),
        .tv_nsec = (long)(until % NS_PER_S),
    };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) != 0)
        continue; /* interrupted by a signal */
}

uint64_t oracle_step_ns(const struct oracle_cfg *cfg, const struct engine_step *step)
{
    uint64_t us = cfg->step_us;
    for (uint32_t i = 0; i < step->n_rows; i++) {
        us += cfg->row_us;
        if (step->rows[i].n > 1)
            us += (uint64_t)cfg->token_us * step->rows[i].n;
    }
    return us * NS_PER_US;
}

/* ---- the executor ---------------------------------------------------------------------------- */

/* Zeros, or garbage: nobody may see the difference. */
static void clear_blocks(struct oracle *oracle, const struct engine_row *row)
{
    for (uint32_t i = row->clear; i < row->clear + row->n_clear; i++) {
        CHECK(row->blocks[i] < oracle->cfg.n_blocks);
        uint8_t *block = oracle->pool + row->blocks[i] * oracle->block_bytes;
        if (oracle->cfg.poison_tails)
            fill(block, oracle->block_bytes, finish(++oracle->poison));
        else
            memset(block, 0, oracle->block_bytes);
    }
}

static void report_pieces(const struct oracle *oracle, const struct engine_row *row, uint32_t block,
                          exec_piece_fn piece, void *ctx)
{
    const struct kvgeom *geom = &oracle->cfg.geom;
    const uint8_t *at = oracle->pool + row->blocks[block] * oracle->block_bytes;
    for (uint32_t group = 0; group < kvgeom_n_groups(geom); group++) {
        size_t offset, len;
        kvgeom_piece(geom, group, &offset, &len);
        uint64_t digest = kvdigest_piece(&row->req, row->attempt, block, group * geom->group_layers,
                                         at + offset, len);
        piece(ctx, row, block, group, digest);
    }
}

/* Block by block, so that pieces are reported while the rest is still being computed. */
static void run_row(struct oracle *oracle, struct engine_row *row, struct pace *pace,
                    exec_piece_fn piece, void *ctx)
{
    struct place place = {
        .geom = &oracle->cfg.geom,
        .block_bytes = oracle->block_bytes,
        .pool = oracle->pool,
        .blocks = row->blocks,
    };
    uint32_t end = row->first + row->n;
    clear_blocks(oracle, row);
    pace_add(pace, oracle->cfg.row_us);
    uint64_t hash = hash_ids(oracle->cfg.model_seed, row->tokens, row->first);
    for (uint32_t position = row->first; position < end;) {
        uint32_t block = position / BLOCK, border = (block + 1) * BLOCK;
        uint32_t stop = border < end ? border : end;
        CHECK(row->blocks[block] < oracle->cfg.n_blocks);
        if (row->n > 1)
            pace_add(pace, (uint64_t)oracle->cfg.token_us * (stop - position));
        for (; position < stop; position++) {
            hash = mix(hash, row->tokens[position]);
            write_kv(&place, position, hash);
        }
        if (row->digest && (stop == border || row->sample))
            report_pieces(oracle, row, block, piece, ctx);
    }
    if (row->sample)
        sample(&place, row, end);
}

static enum status oracle_run(void *exec, const struct engine_step *step, exec_piece_fn piece,
                              void *ctx)
{
    struct oracle *oracle = exec;
    const struct oracle_cfg *cfg = &oracle->cfg;
    struct clock clock = clock_monotonic();
    struct pace pace = {0};
    if (cfg->step_us != 0 || cfg->row_us != 0 || cfg->token_us != 0)
        pace.start_ns = clock_now_ns(&clock);
    pace_add(&pace, cfg->step_us);
    for (uint32_t i = 0; i < step->n_rows; i++)
        run_row(oracle, &step->rows[i], &pace, piece, ctx);
    return STATUS_OK;
}

static uint8_t *oracle_pool(void *exec)
{
    struct oracle *oracle = exec;
    return oracle->pool;
}

static void oracle_destroy(void *exec)
{
    struct oracle *oracle = exec;
    if (oracle == NULL)
        return;
    mem_free(oracle->pool);
    mem_free(oracle);
}

static const struct exec_ops oracle_ops = {
    .name = "oracle",
    .run = oracle_run,
    .pool = oracle_pool,
    .destroy = oracle_destroy,
};

enum status oracle_create(const struct oracle_cfg *cfg, struct exec *out)
{
    if (!kvgeom_valid(&cfg->geom) || cfg->n_blocks == 0)
        return STATUS_INVALID;
    struct oracle *oracle = mem_alloc_zero(1, sizeof *oracle);
    if (oracle == NULL)
        return STATUS_NO_MEMORY;
    oracle->cfg = *cfg;
    oracle->block_bytes = kvgeom_block_bytes(&cfg->geom);
    if (cfg->n_blocks <= SIZE_MAX / oracle->block_bytes)
        oracle->pool = mem_alloc_aligned(POOL_ALIGNMENT, cfg->n_blocks * oracle->block_bytes);
    if (oracle->pool == NULL) {
        mem_free(oracle);
        return STATUS_NO_MEMORY;
    }
    *out = (struct exec){.ops = &oracle_ops, .self = oracle};
    return STATUS_OK;
}

/* ---- the truth ------------------------------------------------------------------------------- */

/* Memory of a stream's computation: one sequence in a pool of its own. */
struct scratch {
    uint8_t *pool;
    uint32_t *tokens;
    uint32_t *blocks;
    uint32_t n_prompt, n, n_max; /* tokens */
};

static void scratch_fini(struct scratch *scratch)
{
    mem_free(scratch->blocks);
    mem_free(scratch->tokens);
    mem_free(scratch->pool);
}

static enum status scratch_init(struct scratch *scratch, const struct kvgeom *geom,
                                const struct engine_job *job)
{
    uint32_t n_prompt = (uint32_t)job->prompt.n;
    uint32_t n_max = n_prompt + job->sampling->max_tokens, n_blocks = kvgeom_blocks(n_max);
    *scratch = (struct scratch){
        .pool = mem_alloc_zero(n_blocks, kvgeom_block_bytes(geom)),
        .tokens = mem_alloc_zero(n_max, sizeof *scratch->tokens),
        .blocks = mem_alloc_zero(n_blocks, sizeof *scratch->blocks),
        .n_prompt = n_prompt,
        .n = n_prompt + (uint32_t)job->emitted.n,
        .n_max = n_max,
    };
    if (scratch->pool == NULL || scratch->tokens == NULL || scratch->blocks == NULL) {
        scratch_fini(scratch);
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < n_blocks; i++)
        scratch->blocks[i] = i;
    memcpy(scratch->tokens, job->prompt.at, job->prompt.n * sizeof *scratch->tokens);
    if (job->emitted.n > 0)
        memcpy(scratch->tokens + n_prompt, job->emitted.at,
               job->emitted.n * sizeof *scratch->tokens);
    return STATUS_OK;
}

/* Puts what was sampled into the stream. True: it has ended. */
static bool stream_add(struct oracle_stream *stream, const struct engine_job *job,
                       const struct engine_row *row, uint32_t n_emitted)
{
    bool stop;
    stream->failed = row->out_token == ENGINE_NO_TOKEN;
    if (stream->failed)
        return true;
    stream->tokens[stream->n] = row->out_token;
    if (stream->logprobs != NULL)
        stream->logprobs[stream->n] = row->out_logprob;
    stream->n++;
    return seq_ends(job->sampling, job->eos, job->n_eos, n_emitted, row->out_token, &stop) ||
           stream->n == stream->max;
}

enum status oracle_stream(const struct oracle_cfg *cfg, const struct engine_job *job,
                          struct oracle_stream *stream)
{
    uint32_t n_tops = job->sampling->logprobs;
    struct scratch scratch;
    enum status status = scratch_init(&scratch, &cfg->geom, job);
    if (status != STATUS_OK)
        return status;
    struct place place = {&cfg->geom, kvgeom_block_bytes(&cfg->geom), scratch.pool, scratch.blocks};
    struct engine_row row = {.tokens = scratch.tokens,
                             .n_prompt = scratch.n_prompt,
                             .sampling = job->sampling,
                             .seed = job->seed};
    uint64_t hash = cfg->model_seed;
    bool ends = scratch.n >= scratch.n_max || stream->max == 0;
    stream->n = 0;
    stream->failed = false;
    for (uint32_t position = 0; !ends; position++) {
        hash = mix(hash, scratch.tokens[position]);
        write_kv(&place, position, hash);
        if (position + 1 < scratch.n)
            continue;
        if (stream->tops != NULL)
            row.out_tops = stream->tops + stream->n * n_tops;
        sample(&place, &row, scratch.n);
        ends = stream_add(stream, job, &row, scratch.n - scratch.n_prompt);
        if (!ends)
            scratch.tokens[scratch.n++] = row.out_token;
    }
    scratch_fini(&scratch);
    return STATUS_OK;
}

enum status oracle_truth(const struct oracle_cfg *cfg, const struct engine_job *job,
                         uint32_t *tokens_out, size_t max, size_t *n_out)
{
    struct oracle_stream stream = {.tokens = tokens_out, .max = max};
    enum status status = oracle_stream(cfg, job, &stream);
    if (status == STATUS_OK)
        *n_out = stream.n;
    return status;
}
