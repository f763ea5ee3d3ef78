/* The oracle: a stand-in for a model that makes any wrong KV byte visible. Its KV bytes are a keyed
 * function of (model seed, layer, kv head, K|V, position, hash of tokens 0..position); its next id
 * is a hash over all KV bytes of the sequence as they lie in its blocks, and over the sampling
 * parameters, seed and prompt/emitted border. One lost, stale, torn, foreign or swapped byte
 * changes the stream. Its vocabulary is the 256 bytes; it emits printable letters. */
#pragma once

#include "engine/exec.h"

struct oracle_cfg {
    struct kvgeom geom;
    uint32_t n_blocks;
    uint64_t model_seed;
    uint32_t token_us; /* pretended compute time: per prompt token, */
    uint32_t row_us;   /* per row of a step, */
    uint32_t step_us;  /* and per step */
    bool poison_tails; /* fill unused tails with garbage before each hold instead of zero, to prove
                          that nothing reads them */
};

enum status oracle_create(const struct oracle_cfg *cfg, struct exec *out);
/* The stream an undisturbed oracle gives for a job: the truth of all fault tests. Computes KV in a
 * buffer of its own, one token after the other. */
enum status oracle_truth(const struct oracle_cfg *cfg, const struct engine_job *job,
                         uint32_t *tokens_out, size_t max, size_t *n_out);
