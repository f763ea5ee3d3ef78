/* The router: admits requests, keeps what each needs to be done again elsewhere (prompt, emitted
 * ids, parameters, seed), places them on a prefill and a decode node, forwards their tokens in
 * order and once, and ends every one of them within its bound, whatever dies. A state machine: no
 * I/O, clock or entropy (a 32-byte key passed in at start makes its ids).
 *
 *   state      event                        next       what happens
 *   (none)     generate                     QUEUED     accepted, or failed (FULL, TOO_BIG, ...)
 *   QUEUED     a P can start, a D has room  PREFILL    job to both
 *   PREFILL    first token from P           HANDOVER   forwarded; goes into the emitted ids
 *   PREFILL,   token from D                 DECODE     its copy of the first is dropped
 *   HANDOVER
 *   PREFILL,   D failed or lost             same       another D is asked under a new generation;
 *   HANDOVER                                           P still holds the prompt
 *   PREFILL,   D failed: P has forgotten    QUEUED     a new attempt
 *   HANDOVER   no D and none reaches P      QUEUED     the same, after a second
 *   PREFILL    P failed or lost             QUEUED     a new attempt; D is told to forget
 *   HANDOVER   P failed                     QUEUED     the same
 *   HANDOVER   P lost                       HANDOVER   D may have it all, else it says so
 *   HANDOVER   P lost, no D asked           QUEUED     a new attempt
 *   DECODE     D failed or lost             QUEUED     a new attempt with the emitted ids
 *   any        done                         ENDED      the other node is told to forget
 *   any        a token completes a stop     ENDED      both nodes are told to forget; what they
 *              string                                  computed behind it is dropped
 *   any        cancel, deadline, gave up,   ENDED      both nodes are told to forget
 *              TOO_BIG, INVALID, two tokens
 *              for one place, two crashes
 *   ENDED      all sent, or client gone     (none) */
#pragma once

#include "router/prompt.h"
#include "wire/msg.h"
#include "wire/out.h"

struct router;
struct router_watch;

/* Which socket a link belongs to: what a client says is never taken for a node's word. */
enum router_door { ROUTER_DOOR_CLIENT, ROUTER_DOOR_NODE };

struct router_cfg {
    uint64_t self;               /* own incarnation */
    uint8_t key[32];             /* entropy for request ids, resume tokens and seeds */
    const char *server;          /* name and version, for welcome */
    const char *model;           /* the name clients ask for */
    const struct tokenizer *tok; /* of the model; outlives the router */
    const struct template *tmpl; /* of the model's chats, outlives the router; NULL: it has none */
    /* DICT of what its template sees beside the messages: bos_token, eos_token and so on, as texts;
     * outlives the router; NULL: nothing. */
    const struct tmpl_value *tmpl_vars;
    /* How the model's makers want it sampled, for clients that ask; outlives the router; NULL: they
     * have not said. samples: they made it for sampling. */
    const struct wire_sampling *defaults;
    bool samples;
    int64_t unix_offset_s; /* clock and this are Unix time: templates show the date; the shell sets
                              it */
    uint32_t vocab;        /* ids from here on are refused */
    uint32_t len_max;      /* tokens of the model's longest sequence; 0: as nodes say */
    uint32_t nodes_max;
    uint32_t requests_max;  /* all states */
    uint32_t queue_max;     /* of them QUEUED; more are refused with FULL and a retry hint */
    uint32_t prefill_depth; /* prompts at a P at once: one computing, one ready to start */
    uint32_t attempts_max;  /* failures of one request before it is given up */
    uint32_t deadline_ms;   /* default and largest */
    uint32_t queue_ms;      /* longest wait in the queue before FULL */
    uint32_t resume_ms;     /* how long a stream waits for its client to come back */
    const struct router_watch *watch; /* watch.h; outlives the router; NULL: nobody looks */
};

/* What of it reads prompts. */
struct prompt_reader router_reader(const struct router_cfg *cfg);

/* INVALID with *why_out set to a constant sentence. */
enum status router_create(const struct router_cfg *cfg, struct router **out, const char **why_out);
void router_destroy(struct router *router);

/* ---- input ---- */
void router_message(struct router *router, enum router_door door, uint32_t link,
                    const struct wire_msg *msg, uint64_t now_ns);
void router_link_down(struct router *router, enum router_door door, uint32_t link, uint64_t now_ns);
/* At least every 50 ms. */
void router_tick(struct router *router, uint64_t now_ns);
/* Admit nothing more; router_idle tells when the last request has ended. */
void router_drain(struct router *router);

/* ---- output, after every input ---- */
struct wire_out *router_out(struct router *router); /* to clients and nodes */
void router_clear(struct router *router);

/* ---- looking ---- */
bool router_idle(const struct router *router);
/* A P and a D that have verified a transfer between them, and neither drains. */
bool router_ready(const struct router *router);

/* Tokens of the longest sequence; 0: not known yet. */
uint32_t router_len_limit(const struct router *router);
/* The fleet's numerics identity; "": no node has joined yet. */
const char *router_numerics(const struct router *router);

/* name(value) for stats, metrics and tests. pairs, blocks and sequences are the nodes' own account,
 * as of their last heartbeat: of all routers' requests, not of ours alone. */
#define ROUTER_COUNTS(X)                                                                           \
    X(nodes)                                                                                       \
    X(nodes_ready)                                                                                 \
    X(pairs)                                                                                       \
    X(blocks)                                                                                      \
    X(blocks_free)                                                                                 \
    X(sequences)                                                                                   \
    X(requests)                                                                                    \
    X(queued)                                                                                      \
    X(admitted)                                                                                    \
    X(refused)                                                                                     \
    X(done)                                                                                        \
    X(failed)                                                                                      \
    X(cancelled)                                                                                   \
    X(tokens)                                                                                      \
    X(resubmitted)                                                                                 \
    X(rereserved)                                                                                  \
    X(nodes_joined)                                                                                \
    X(nodes_lost)                                                                                  \
    X(nodes_refused)                                                                               \
    X(sessions_broken)                                                                             \
    X(messages_stale)                                                                              \
    X(tokens_doubled)                                                                              \
    X(tokens_differing)                                                                            \
    X(quarantined)
struct router_counts {
#define X(name) uint64_t name;
    ROUTER_COUNTS(X)
#undef X
};
void router_counts(const struct router *router, struct router_counts *out);
