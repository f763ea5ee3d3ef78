/* The engine's inside: the record of a sequence and the lists it stands in. Private to engine.c,
 * seq.c and plan.c; oracle.c asks seq_ends, so that its truth ends where a sequence does.
 *
 * Two lists hold every record. ADMISSION never changes its order: it says who is oldest. TURN has
 * the one that ran longest ago in front: whoever runs goes to its end, so no one starves. */
#pragma once

#include "engine/engine.h"
#include "engine/rate.h"

enum seq_list { SEQ_ADMISSION, SEQ_TURN, SEQ_N_LISTS };

struct seq {
    struct {
        struct seq *prev, *next;
    } link[SEQ_N_LISTS];
    uint64_t handle;
    struct wire_id req;
    uint32_t attempt;
    uint32_t tag;
    enum engine_mode mode;
    enum engine_state state;
    bool closed;  /* leaves when the running step completes */
    bool needy;   /* READY, but without a block for its next token */
    bool suspect; /* of a crash */
    uint64_t seed;
    uint32_t eos[ENGINE_EOS_MAX];
    uint32_t n_eos;
    struct wire_sampling sampling; /* its arrays lie in memory */

    void *memory; /* one allocation: sampling's arrays, tokens, blocks */
    uint32_t *tokens;
    uint32_t n_prompt, n_tokens, tokens_cap;
    uint32_t n_kv; /* KV of tokens [0, n_kv) is in the blocks */
    uint32_t *blocks;
    uint32_t n_blocks, blocks_cap;
    uint32_t n_clean; /* blocks that were cleared or have landed; the rest is still foreign */
};

struct engine {
    struct engine_cfg cfg;
    struct blocks *blocks;
    struct objpool *seqs;
    struct handles *handles; /* -> struct seq */
    struct idmap *requests;  /* request -> its record in seqs; closed ones are not in it */
    struct seq *first[SEQ_N_LISTS], *last[SEQ_N_LISTS];
    uint32_t n_needy; /* free blocks that newcomers must leave alone */

    struct engine_step step; /* rows[batch_max] */
    struct seq **row_seqs;   /* [batch_max] beside the rows */
    struct engine_top *tops; /* [batch_max][WIRE_TOPS_MAX] of the rows */
    bool running;
    struct rate_load load; /* of the running step */
    struct rate rate;
    uint64_t tokens_computed, tokens_sampled, yields;
};

void seq_append(struct engine *engine, enum seq_list list, struct seq *seq);
void seq_unlink(struct engine *engine, enum seq_list list, struct seq *seq);

/* Whether a sequence ends with this id after n_emitted others: by length, or by a stop id (then
 * *stop_out is true). Neither those nor the end ids count before min_tokens: an executor does not
 * sample them there. */
bool seq_ends(const struct wire_sampling *sampling, const uint32_t *eos, uint32_t n_eos,
              uint32_t n_emitted, uint32_t token, bool *stop_out);

/* Blocks that a job takes when it is opened. known: its prompt and emitted ids. */
uint32_t seq_blocks_at_open(const struct engine_job *job, uint32_t known);

/* A record for the job, not yet in any list or table, with its memory and no blocks. FULL,
 * NO_MEMORY. */
enum status seq_create(struct engine *engine, const struct engine_job *job, struct seq **out);
/* Gives back the memory and the record. */
void seq_destroy(struct engine *engine, struct seq *seq);
/* Takes it out of lists and tables, drops its blocks, destroys it. */
void seq_leave(struct engine *engine, struct seq *seq);

void seq_set_needy(struct engine *engine, struct seq *seq, bool needy);
/* Appends a sampled id. */
void seq_add_token(struct seq *seq, uint32_t token);
