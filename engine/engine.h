/* The engine: sequences, their blocks, and which of them run in the next step. Prefill, decode and
 * a prompt computed where it is decoded are one thing: a sequence knows n_tokens ids, has KV for
 * the first n_kv of them, and a step computes KV for some of the rest; when none is left the step
 * samples the next id. A state machine without I/O, clock or thread; the executor (exec.h) does the
 * computing, inline in the simulator, on the compute thread in a node.
 *
 *   state      event        next       what happens
 *   (none)     open         READY      PREFILL, WHOLE: blocks taken
 *   (none)     open         LANDING    DECODE: blocks taken; a peer's bytes come
 *   LANDING    landed       READY      D: all KV of the job's tokens is here; first id appended
 *   LANDING    landed       ENDED      that id ends it (P should have said so)
 *   READY      plan         RUNNING    goes into a step
 *   RUNNING    complete     READY      KV advanced; perhaps one id sampled
 *   RUNNING    complete     HELD       P: first id sampled; KV kept for the hand-over
 *   RUNNING    complete     ENDED      stop id or length reached, or no id was left to sample
 *   any        close        (gone)     blocks dropped; a RUNNING one leaves at complete
 *   LANDING    plan, dry    YIELDED    pool dry and this one is the youngest:
 *   READY      plan, dry    YIELDED    the role hands it back
 *
 * The oldest sequence never yields, and a pool smaller than one longest sequence is refused. */
#pragma once

#include "engine/blocks.h"
#include "wire/kvgeom.h"
#include "wire/msg.h"

#define ENGINE_SUSPECTS_MAX 8u /* suspects of a crash in one step */
#define ENGINE_YIELDS_MAX 16u  /* handed back after one plan; more wait for the next */
#define ENGINE_BATCH_MAX 4096u /* largest batch_max */
#define ENGINE_EOS_MAX 16u     /* end ids of a model */

/* Minus infinity, NaN and whatever lies below become -ENGINE_LOGPROB_MAX: what travels is finite.
 */
#define ENGINE_LOGPROB_MAX 1e30

/* An executor's out_token where there is no id to sample: every id was out, or a logit was not a
 * number. The sequence ends as failed; the other rows of the step are fine. */
#define ENGINE_NO_TOKEN UINT32_MAX
#define ENGINE_NO_TOKEN_WHY                                                                        \
    "no id was left to sample: allowed_ids, bad_ids or min_tokens rule out every one, or the "     \
    "model gave a logit that is not a number"

struct engine;

struct engine_cfg {
    struct kvgeom geom;
    uint32_t n_blocks;
    uint32_t seqs_max;  /* sequences at once, all states */
    uint32_t batch_max; /* sequences in a step */
    uint32_t chunk_max; /* prompt tokens in a step (512), whole blocks */
    uint32_t len_max;   /* tokens of one sequence: prompt, emitted and to come */
    uint32_t chunk_ms;  /* a chunk should last at most this long (500) */
};

enum engine_mode {
    ENGINE_PREFILL, /* compute the prompt, sample one id, hold */
    ENGINE_DECODE,  /* KV lands from a peer, then run to the end */
    ENGINE_WHOLE,   /* compute the prompt here, then run to the end */
};

enum engine_state {
    ENGINE_LANDING,
    ENGINE_READY,
    ENGINE_RUNNING,
    ENGINE_HELD,
    ENGINE_ENDED,
    ENGINE_YIELDED,
};

/* A job as the engine needs it; arrays are copied. */
struct engine_job {
    struct wire_id req;
    uint32_t attempt;
    enum engine_mode mode;
    struct wire_u32s prompt;
    struct wire_u32s emitted;
    const struct wire_sampling *sampling;
    uint64_t seed;
    bool suspect;
    const uint32_t *eos; /* [n_eos] the model's end ids; copied too */
    uint32_t n_eos;      /* at most ENGINE_EOS_MAX */
    uint32_t tag;        /* the role's own: comes back in results and views */
};

/* A likely id at a place, and its logprob. */
struct engine_top {
    uint32_t token;
    double logprob;
};

/* One row of a step: what the executor computes. Everything it points to stays as it is until
 * engine_complete. */
struct engine_row {
    uint64_t seq; /* handle */
    struct wire_id req;
    uint32_t attempt;
    const uint32_t *tokens; /* [first + n] ids of the sequence */
    const uint32_t *blocks; /* pool indices, [kvgeom_blocks(first + n)] */
    uint32_t first, n;      /* compute KV of positions [first, first + n) */
    uint32_t n_clear;       /* blocks from index `clear` on, first held now: zero them before */
    uint32_t clear;
    bool sample;       /* then sample the id at position first + n */
    bool digest;       /* P: report finished pieces */
    uint32_t n_prompt; /* the prompt/emitted border */
    const struct wire_sampling *sampling;
    uint64_t seed;
    uint32_t out_token; /* written by the executor when sample is set; or ENGINE_NO_TOKEN */
    double out_logprob;
    /* [sampling->logprobs] by the executor too: the likeliest ids, each once, likeliest first. All
     * are ENGINE_NO_TOKEN before; a vocabulary with fewer ids leaves the last ones so. NULL: none
     * are asked for. */
    struct engine_top *out_tops;
};

struct engine_step {
    uint64_t number;   /* from 1, never skipped */
    uint32_t bound_ms; /* 4 x predicted, at least 1 s; told in heartbeats */
    uint32_t n_rows;
    struct engine_row *rows; /* [batch_max] */
};

/* What became of a row, for the role. */
struct engine_result {
    uint64_t seq;
    struct wire_id req;
    uint32_t attempt;
    uint32_t tag;
    enum engine_state state; /* READY, HELD, ENDED */
    bool sampled;
    uint32_t index; /* of the sampled id among the emitted ones */
    uint32_t token;
    double logprob;                /* finite, at least -ENGINE_LOGPROB_MAX; so are those of tops */
    const struct engine_top *tops; /* [n_tops] until the next plan */
    uint32_t n_tops;
    bool stop;   /* ENDED by a stop id (else by length) */
    bool failed; /* ENDED without an id: ENGINE_NO_TOKEN; not sampled */
};

/* INVALID with *why_out set to a constant sentence for a bad cfg. */
enum status engine_create(const struct engine_cfg *cfg, struct engine **out, const char **why_out);
void engine_destroy(struct engine *engine);
struct blocks *engine_blocks(struct engine *engine);

/* Admits a job and takes its blocks: PREFILL all of the known ids; DECODE and WHOLE one block more
 * room than them, but no more than the whole sequence will need. FULL: no record or block free now
 * (a sequence that waits for a block comes first). TOO_BIG: it could never fit, or has too many
 * stop or end ids. EXISTS: the request is here already. INVALID: no prompt, or nothing left to
 * sample. NO_MEMORY. */
enum status engine_open(struct engine *engine, const struct engine_job *job, uint64_t *seq_out);
/* The sequence of a request, or NOT_FOUND. */
enum status engine_find(const struct engine *engine, const struct wire_id *req, uint64_t *seq_out);
/* DECODE: KV of all known ids is in the blocks; token is the id that follows them. If that id ends
 * the sequence it is ENDED (no result tells it). A no-op for one that has yielded or is gone. */
void engine_landed(struct engine *engine, uint64_t seq, uint32_t token);
/* Drops the sequence and its holds; one in the running step leaves when that completes, but its
 * request can be opened anew at once. Close a YIELDED one when its hand-over can no longer land:
 * until then its blocks count as coming, and no other must yield for them. No-op when gone. */
void engine_close(struct engine *engine, uint64_t seq);

/* The next step, or NULL: nothing to run, or one is running. Sequences that had to yield are then
 * in engine_yielded until they are closed: look there after every plan, also one that gave NULL. */
const struct engine_step *engine_plan(struct engine *engine);
size_t engine_yielded(const struct engine *engine, uint64_t *seqs, size_t max);
/* The executor has run the step, which took that long (0: unknown; used to size chunks). Fills
 * results[batch_max], one for each row; rows of closed sequences give none. Where the executor
 * failed, close the step's sequences first. */
void engine_complete(struct engine *engine, uint64_t took_ns, struct engine_result *results,
                     size_t *n_out);

/* A result's tops as a message carries them; room must live as long as the two that are set. */
struct engine_tops_room {
    uint32_t ids[WIRE_TOPS_MAX];
    double logprobs[WIRE_TOPS_MAX];
};
void engine_result_tops(const struct engine_result *result, struct engine_tops_room *room,
                        struct wire_u32s *ids, struct wire_span *logprobs);

struct engine_view {
    enum engine_state state;
    struct wire_id req;
    uint32_t attempt;
    uint32_t tag;
    uint32_t n_prompt, n_tokens, n_kv;
    const uint32_t *tokens; /* [n_tokens] */
    const uint32_t *blocks; /* [n_blocks] */
    uint32_t n_blocks;
    bool running; /* in the step that runs now */
    bool closed;  /* closed, and leaves when that step completes */
};
enum status engine_look(const struct engine *engine, uint64_t seq, struct engine_view *out);

struct engine_counts {
    uint32_t n_seqs, n_landing, n_ready, n_held, n_running;
    uint64_t steps, tokens_computed, tokens_sampled, yields;
    uint64_t step_running; /* number of the running step, 0 none */
    uint32_t bound_ms;
};
void engine_counts(const struct engine *engine, struct engine_counts *out);
/* Stable order (admission), for the simulator's invariants: next handle after seq (0: first), or 0.
 * Includes those that wait for the running step to leave. */
uint64_t engine_next(const struct engine *engine, uint64_t seq);
