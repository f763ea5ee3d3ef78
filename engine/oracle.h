/* The oracle: a stand-in for a model that makes any wrong KV byte visible. Its KV bytes are a keyed
 * function of (model seed, layer, kv head, K|V, position, hash of tokens 0..position); its next id
 * is a hash over all KV bytes of the sequence as they lie in its blocks, and over the sampling
 * parameters, seed and prompt/emitted border. One lost, stale, torn, foreign or swapped byte
 * changes the stream. Its vocabulary is the 256 bytes; it emits letters and spaces, and, unless
 * ignore_eos is set or min_tokens are not reached, the end id about once in 256. What allowed_ids,
 * bad_ids and min_tokens rule out it replaces by the next id that is left, if any is. */
#pragma once

#include "engine/exec.h"

#define ORACLE_VOCAB 256u
#define ORACLE_EOS 0u

/* A job's end ids. */
#define ORACLE_N_EOS 1u
extern const uint32_t oracle_eos[ORACLE_N_EOS];

struct oracle_cfg {
    struct kvgeom geom;
    uint32_t n_blocks;
    uint64_t model_seed;
    uint32_t token_us; /* pretended compute time: per token of a row of several tokens, */
    uint32_t row_us;   /* per row of a step, */
    uint32_t step_us;  /* and per step */
    bool poison_tails; /* fill unused tails with garbage before each hold instead of zero, to prove
                          that nothing reads them */
};

/* INVALID for a bad geometry or no blocks, NO_MEMORY. */
enum status oracle_create(const struct oracle_cfg *cfg, struct exec *out);
/* The compute time that the cfg pretends for the step; the simulator adds it to its virtual clock.
 */
uint64_t oracle_step_ns(const struct oracle_cfg *cfg, const struct engine_step *step);
/* What follows a job's emitted ids. Arrays are the caller's; those that may be NULL are not asked
 * for. */
struct oracle_stream {
    uint32_t *tokens;        /* [max] */
    double *logprobs;        /* [max] or NULL */
    struct engine_top *tops; /* [max][sampling->logprobs] or NULL */
    size_t max;
    size_t n;    /* out */
    bool failed; /* out: after them no id was left */
};
/* The stream an undisturbed oracle gives for a job: the truth of all fault tests. Computes KV in a
 * buffer of its own, one token after the other, up to and with the id that ends it, at most max.
 * n_blocks of cfg does not matter. NO_MEMORY. */
enum status oracle_stream(const struct oracle_cfg *cfg, const struct engine_job *job,
                          struct oracle_stream *stream);
/* The same, ids only. */
enum status oracle_truth(const struct oracle_cfg *cfg, const struct engine_job *job,
                         uint32_t *tokens_out, size_t max, size_t *n_out);
