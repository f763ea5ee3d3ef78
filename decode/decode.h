/* The decode role: reserves blocks for a job, asks P for the prompt's KV, and when all of it has
 * landed and verified, joins the sequence to the running batch and streams its tokens to the
 * router, beginning with a copy of the first one. A state machine over the engine, the transfer
 * protocol and the bond with the routers; no I/O, clock or entropy.
 *
 * One request here (key: request; one reservation, attempt and generation, at a time):
 *
 *   state      event                   next       what happens
 *   (none)     job                     LANDING    blocks held, want sent; or failed(FULL, LOST,
 *                                                 INVALID: an id outside the vocabulary)
 *   (none)     job, peer 0             RUN        the prompt is computed here
 *   LANDING    landed                  RUN        first token copied to the router
 *   LANDING    closed (any cause)      (gone)     failed(cause) to the router
 *   RUN        complete, not the end   RUN        token to the router
 *   RUN        complete, the end       (gone)     token and done to the router
 *   RUN        no id was left          (gone)     failed(INVALID): it would be so anywhere
 *   RUN        pool dry, youngest      (gone)     failed(YIELDED) to the router
 *   LANDING    cancel, router lost, deadline, pool dry   CLOSING   until nothing can land
 *   CLOSING    closed                  (gone)
 *   RUN        cancel, router lost, deadline             (gone) */
#pragma once

#include "engine/exec.h"
#include "kvtransfer/kvt.h"
#include "wire/bond.h"

struct decode;

struct decode_cfg {
    struct engine_cfg engine;
    struct kvt_cfg kvt; /* pool, geometry, fingerprint, own incarnation */
    struct bond_cfg bond;
    const uint32_t *eos; /* [n_eos] the model's end ids, copied */
    uint32_t n_eos;      /* at most ENGINE_EOS_MAX */
    uint32_t vocab;      /* a job with an id from here on is refused */
    const char *host;    /* equal to a P's: shared memory */
};

/* A prefill node that some router's roster names; the shell connects to its endpoint. One that
 * went and came back is another one to connect to: it has another `added`. */
struct decode_peer {
    uint64_t incarnation;
    uint64_t added; /* version of the list when it came in */
    bool absent;    /* no router names it any more, but its pair is well */
    char endpoint[WIRE_NAME_MAX + 1];
    bool local;
};

/* INVALID with *why_out set to a constant sentence. */
enum status decode_create(const struct decode_cfg *cfg, struct decode **out, const char **why_out);
void decode_destroy(struct decode *decode);

/* ---- input ---- */
void decode_router_up(struct decode *decode, uint32_t link, uint64_t now_ns);
/* The shell has a connection to this peer. */
void decode_peer_up(struct decode *decode, uint64_t peer, uint32_t link, uint64_t now_ns);
void decode_link_down(struct decode *decode, uint32_t link, uint64_t now_ns);
void decode_message(struct decode *decode, uint32_t link, const struct wire_msg *msg,
                    uint64_t now_ns);
void decode_kvt_event(struct decode *decode, const struct kvt_event *event, uint64_t now_ns);
/* From the executor: the step is complete. (Its pieces concern nobody here.) */
void decode_complete(struct decode *decode, uint64_t took_ns, uint64_t now_ns);
/* At least every 50 ms. starved_ns: how long the running step has waited for a processor; it does
 * not count against the step's bound. */
void decode_tick(struct decode *decode, uint64_t starved_ns, uint64_t now_ns);
/* Admit nothing more; decode_n_requests tells when all is gone. */
void decode_drain(struct decode *decode);

/* ---- output, after every input ---- */
struct wire_out *decode_out(struct decode *decode); /* to routers */
struct kvt *decode_kvt(struct decode *decode);      /* its messages to peers and actions */
/* The step to run now, once; NULL: none. */
const struct engine_step *decode_step(struct decode *decode, uint64_t now_ns);
/* The peers to be connected to. version_out grows at each change. */
size_t decode_peers(const struct decode *decode, const struct decode_peer **peers_out,
                    uint64_t *version_out);
/* After all of it was carried out. */
void decode_clear(struct decode *decode);

/* ---- looking ---- */
struct engine *decode_engine(struct decode *decode);
struct bond *decode_bond(struct decode *decode);
uint32_t decode_n_requests(const struct decode *decode);
