/* What the engine's tests share: an engine beside an oracle, random jobs, and the loop that a role
 * would run. Each rig is one pretended node; hand-overs between two are a copy of bytes. */
#pragma once

#include "base/rand.h"
#include "engine/oracle.h"

#define RIG_PROMPT_MAX 1024u
#define RIG_OUT_MAX 256u
#define RIG_BATCH_MAX 64u

struct rig {
    struct engine *engine;
    struct exec exec;
    struct oracle_cfg oracle_cfg;
    struct engine_result results[RIG_BATCH_MAX];
    size_t n_results;
    uint32_t n_pieces; /* reported by the last step, each checked against the bytes */
};

/* A job with its own memory. */
struct rig_job {
    struct engine_job job;
    struct wire_sampling sampling;
    uint32_t prompt[RIG_PROMPT_MAX];
    uint32_t emitted[RIG_OUT_MAX];
};

struct kvgeom rig_geom(void);
/* 2 layers of one group each, room for everything a test wants; change, then rig_open. */
struct engine_cfg rig_cfg(void);
void rig_open(struct rig *rig, const struct engine_cfg *cfg, bool poison_tails);
void rig_close(struct rig *rig);

/* Ids from a seed; eos is the oracle's, sampling the defaults but max_tokens. number names it. */
void rig_job_init(struct rig_job *job, uint32_t number, uint32_t n_prompt, uint32_t max_tokens);
/* The truth, at most RIG_OUT_MAX ids. */
size_t rig_truth(const struct rig_job *job, uint32_t tokens_out[RIG_OUT_MAX]);

/* Opens it and expects success. */
uint64_t rig_add(struct rig *rig, struct rig_job *job, enum engine_mode mode);
/* One step, if there is anything to run. */
bool rig_step(struct rig *rig, uint64_t took_ns);
/* Steps until the sequence is in none of LANDING, READY, RUNNING; expects that it gets there. */
struct engine_view rig_finish(struct rig *rig, uint64_t seq);
struct engine_view rig_look(struct rig *rig, uint64_t seq);
/* The bytes of a sequence's i-th block. */
uint8_t *rig_block(struct rig *rig, uint64_t seq, uint32_t i);
/* Copies the held sequence's KV into the landing one and lands it with the first id. */
void rig_hand_over(struct rig *from, uint64_t held, struct rig *to, uint64_t landing);
/* The ids after the job's own are the truth's, all of it if whole. */
void rig_expect_truth(struct rig *rig, uint64_t seq, const struct rig_job *job, bool whole);
/* Holders add up: every block is free or held by the sequences that name it, once each. */
void rig_expect_sums(struct rig *rig);
