/* The model executor: computes the engine's steps with a real model (model/forward.h). Owns the
 * pool; the model stays the caller's. */
#pragma once

#include "engine/exec.h"
#include "model/model.h"

struct model_exec_cfg {
    struct kvgeom geom; /* model_kvgeom of the model */
    uint32_t n_blocks;
    uint32_t rows_max;  /* tokens of a step: chunk_max + batch_max of the engine */
    uint32_t batch_max; /* rows of a step */
    uint32_t len_max;
    uint32_t n_eos;
    uint32_t eos[MODEL_EOS_MAX]; /* ids that may not come before min_tokens */
};

/* INVALID, NO_MEMORY. */
enum status model_exec_create(struct model *model, const struct model_exec_cfg *cfg,
                              struct exec *out);
/* Bytes beside the weights: the pool and the workspaces. */
uint64_t model_exec_pool_bytes(const struct model_exec_cfg *cfg);
uint64_t model_exec_work_bytes(const struct model *model, const struct model_exec_cfg *cfg);
