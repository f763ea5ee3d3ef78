/* What computes a step. Two real executors: the oracle (oracle.h) and the model. The executor owns
 * the pool's bytes. run may take long; it is called inline by the simulator and on the compute
 * thread by compute.h, never twice at once. */
#pragma once

#include "engine/engine.h"

/* A finished piece of a row that asked for digests: its bytes are final. Called from run, on the
 * thread that runs. block counts within the sequence. */
typedef void (*exec_piece_fn)(void *ctx, const struct engine_row *row, uint32_t block,
                              uint32_t group, uint64_t digest);

struct exec_ops {
    const char *name;
    /* Computes every row: clears, KV, sampled id (out_token, out_logprob, out_tops). Must give each
     * row what it would give alone. piece may be NULL where no row asks for digests. A status that
     * is not OK means that no row of the step can be used. */
    enum status (*run)(void *exec, const struct engine_step *step, exec_piece_fn piece, void *ctx);
    /* Base of the pool; geom as the executor lays it out. */
    uint8_t *(*pool)(void *exec);
    void (*destroy)(void *exec); /* frees the pool too; NULL is nothing */
};

struct exec {
    const struct exec_ops *ops;
    void *self;
};
