/* A pretended node: an engine, a model executor and the loop that a role would run. And jobs with
 * memory of their own. */
#pragma once

#include "engine/engine.h"
#include "engine/model_exec.h"
#include "tests/exact/checkpoints.h"
#include "tests/exact/tally.h"

#define JOB_PROMPT_MAX 600u
#define JOB_OUT_MAX 150u /* beyond the block that a sequence gets in advance */
#define JOB_LIST_MAX 12u
#define JOB_LEN_MAX (JOB_PROMPT_MAX + JOB_OUT_MAX)
#define JOB_BLOCKS_MAX ((JOB_LEN_MAX + KVGEOM_BLOCK_TOKENS - 1) / KVGEOM_BLOCK_TOKENS)
#define JOB_N_EOS 6u
#define NODE_SEQS_MAX 64u

extern const uint32_t job_eos[JOB_N_EOS];

struct job {
    struct engine_job job;
    struct wire_sampling sampling;
    uint32_t prompt[JOB_PROMPT_MAX], emitted[JOB_OUT_MAX];
    uint32_t stop_ids[JOB_LIST_MAX], bias_ids[JOB_LIST_MAX], allowed_ids[JOB_LIST_MAX],
        bad_ids[JOB_LIST_MAX];
    double bias_values[JOB_LIST_MAX];
};

/* Every sampling parameter at its default, temperature 0, one id. */
void job_init(struct job *job, uint32_t number, uint32_t n_prompt, uint32_t max_tokens);
/* A random one, made by its seed alone. */
void job_choose(struct job *job, uint64_t seed, uint32_t number, uint32_t vocab, uint32_t len_max);

struct node {
    struct setup setup;
    struct model *model;
    struct engine_cfg cfg;
    struct engine *engine;
    struct exec exec;
    const struct engine_step *step; /* the last one */
    struct engine_result results[NODE_SEQS_MAX];
    size_t n_results;
};

/* Sizes for one sequence at a time; change, then node_start. */
void node_open(struct node *node, const struct checkpoints *checkpoints, const struct setup *setup);
void node_start(struct node *node);
void node_stop(struct node *node); /* all sequences are gone */
void node_close(struct node *node);
/* One step, if there is anything to run. */
bool node_step(struct node *node, uint64_t took_ns, exec_piece_fn piece, void *ctx);
/* A sequence's i-th block. */
uint8_t *node_block(const struct node *node, const struct engine_view *view, uint32_t i);
