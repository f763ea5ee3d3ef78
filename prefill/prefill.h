/* The prefill role: takes jobs from routers, computes their prompts chunk by chunk, sends the first
 * token to the router at once, and lends the KV to the D that asks for it. A state machine over
 * the engine, the transfer protocol and the bond with the routers; no I/O, clock or entropy.
 *
 * One request here (key: request and attempt):
 *
 *   state      event               next       what happens
 *   (none)     job                 COMPUTE    blocks held for the whole prompt; or failed(FULL), or
 *                                             failed(INVALID): an id outside the vocabulary
 *   COMPUTE    piece               COMPUTE    offered as soon as it is wanted
 *   COMPUTE    complete, not last  COMPUTE
 *   COMPUTE    complete, last      HELD       first token to the router and into the seal
 *   COMPUTE    first token ends it (gone)     done to the router; nothing is lent
 *   COMPUTE    no id was left      (gone)     failed(INVALID): it would be so anywhere
 *   HELD       landed              (gone)     D has it all
 *   HELD       refused             HELD       a newer want may come: no second prefill
 *   any        cancel, router lost, deadline  CLOSING; blocks stay until nothing can read them
 *   CLOSING    closed              (gone)
 *   (none)     job, peer 0         WHOLE      computed here to its end; nothing is lent
 *   WHOLE      complete            WHOLE      token to the router
 *   WHOLE      complete, the end   (gone)     token and done to the router
 *   WHOLE      no id was left      (gone)     failed(INVALID), as above
 *   WHOLE      pool dry, youngest  (gone)     failed(YIELDED) to the router
 *   WHOLE      cancel, router lost, deadline  (gone) */
#pragma once

#include "engine/exec.h"
#include "kvtransfer/kvt.h"
#include "wire/bond.h"

struct prefill;

struct prefill_cfg {
    struct engine_cfg engine;
    struct kvt_cfg kvt; /* pool, geometry, fingerprint, own incarnation */
    struct bond_cfg bond;
    const uint32_t *eos; /* [n_eos] the model's end ids, copied */
    uint32_t n_eos;      /* at most ENGINE_EOS_MAX */
    uint32_t vocab;      /* a job with an id from here on is refused */
};

/* INVALID with *why_out set to a constant sentence. */
enum status prefill_create(const struct prefill_cfg *cfg, struct prefill **out,
                           const char **why_out);
void prefill_destroy(struct prefill *prefill);

/* ---- input ---- */
void prefill_router_up(struct prefill *prefill, uint32_t link, uint64_t now_ns);
void prefill_link_down(struct prefill *prefill, uint32_t link, uint64_t now_ns);
void prefill_message(struct prefill *prefill, uint32_t link, const struct wire_msg *msg,
                     uint64_t now_ns);
void prefill_kvt_event(struct prefill *prefill, const struct kvt_event *event, uint64_t now_ns);
/* From the executor: a piece is final; the step is complete. */
void prefill_piece(struct prefill *prefill, const struct wire_id *req, uint32_t attempt,
                   uint32_t block, uint32_t group, uint64_t digest, uint64_t now_ns);
void prefill_complete(struct prefill *prefill, uint64_t took_ns, uint64_t now_ns);
/* At least every 50 ms. starved_ns: how long the running step has waited for a processor; it does
 * not count against the step's bound. */
void prefill_tick(struct prefill *prefill, uint64_t starved_ns, uint64_t now_ns);
/* Admit nothing more; prefill_n_requests tells when all is gone. */
void prefill_drain(struct prefill *prefill);

/* ---- output, after every input ---- */
struct wire_out *prefill_out(struct prefill *prefill); /* to routers */
struct kvt *prefill_kvt(struct prefill *prefill);      /* its messages to peers and actions */
/* The step to run now, once; NULL: none. */
const struct engine_step *prefill_step(struct prefill *prefill, uint64_t now_ns);
/* After all of it was carried out. */
void prefill_clear(struct prefill *prefill);

/* ---- looking ---- */
struct engine *prefill_engine(struct prefill *prefill);
struct bond *prefill_bond(struct prefill *prefill);
uint32_t prefill_n_requests(const struct prefill *prefill);
