/* The forward pass: ragged rows of several sequences through all layers over a paged KV pool.
 * Prefill chunks, decode rows and mixtures of both are one function. Written once for all families
 * (flags of the config say what is computed) and for every backend (kernels/ops.h). What a row
 * gives depends on nothing but its own sequence (kernels/NUMERICS.md).
 *
 * The caller owns the pool (device memory, kvgeom's layout) and has cleared new blocks. The batch's
 * arrays are plain host memory, which the CPU's device reads as it is; another backend must copy
 * them first, and wait before layer_done. Used by the thread that owns the model's device. */
#pragma once

#include "kernels/ops.h"
#include "model/model.h"

#define FORWARD_LOGITS_ROWS 64u /* rows whose logits are in memory at once */

struct forward;

struct forward_args {
    uint32_t rows_max;    /* of a batch */
    uint32_t samples_max; /* rows of a batch that are sampled */
    struct kvgeom geom;   /* the pool's: model_kvgeom, the group may differ */
};

struct forward_batch {
    const uint32_t *tokens; /* [n_rows] of op_batch; each below the vocabulary (CHECK) */
    struct op_batch rows;
    uint8_t *pool; /* device memory; 64-byte aligned */

    uint32_t n_samples;
    const uint32_t
        *sample_seqs; /* [n_samples] ascending; the last row of that sequence is sampled */
    const struct op_sampling *params; /* [n_samples] */
    struct op_sampled *sampled;       /* [n_samples], written */
    float *logits; /* NULL, or [n_samples][vocab]: a copy of what the sampler sees; for tests */

    /* NULL, or called when the KV of a layer is final, layers ascending, on the caller's thread. */
    void (*layer_done)(void *ctx, uint32_t layer);
    void *ctx;
};

/* Allocates the workspaces. INVALID (a size of zero, a geometry that is not the model's),
 * NO_MEMORY. The model must outlive it. */
enum status forward_create(struct model *model, const struct forward_args *args,
                           struct forward **out);
void forward_destroy(struct forward *forward); /* NULL is nothing */
/* Bytes of the workspaces: a sum over the model's rows; see forward.c. */
uint64_t forward_bytes(const struct model *model, const struct forward_args *args);

/* Computes the batch: KV of every row, and an id for each sampled row. The device's error, or OK.
 */
enum status forward_run(struct forward *forward, const struct forward_batch *batch);
