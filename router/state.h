/* The router's inside: records of nodes and requests, and what its files call of each other.
 * nodes.c: sessions and health. place.c: which node. requests.c: a request's states. clients.c:
 * the client protocol. router.c: create, dispatch, tick. */
#pragma once

#include "base/clock.h"
#include "base/idmap.h"
#include "model/tokenizer.h"
#include "router/router.h"
#include "router/view.h"
#include "router/watch.h"
#include "wire/session.h"

#define ROUTER_OUT_BYTES_MAX (256u << 20) /* messages of one step, to all */
#define ROUTER_BACKOFF_MS 50u             /* a node that said FULL is left alone this long */
#define ROUTER_UNPAIRED_MS 1000u          /* a P whom no D reaches gives its prompts back after */
#define ROUTER_BEAT_MS 1000u              /* heartbeat to a client that waits */
#define ROUTER_QUARANTINE 64u             /* prompts kept out after crashing two nodes, */
#define ROUTER_QUARANTINE_MS 600000u      /* for this long */
#define ROUTER_STRIKES_MAX 2u             /* crashes in whose step a request was */
#define ROUTER_ALIVE_MS 600u /* who was heard from in this time has not been restarted */
#define ROUTER_NONE UINT32_MAX
#define ROUTER_TOPS_MAX (1u << 20) /* max_tokens x logprobs of a request: 12 MiB of its memory */
#define ROUTER_TOO_LONG "the request is longer than the fleet's longest sequence"

struct router_node {
    bool used;
    bool ready; /* beats, does not drain, its step keeps its bound */
    char name[WIRE_NAME_MAX + 1];
    char endpoint[WIRE_NAME_MAX + 1];
    char host[WIRE_NAME_MAX + 1];
    enum wire_role role;
    struct wire_session session;
    uint32_t blocks, seqs_max, len_max;
    uint32_t blocks_used; /* by this router's requests, as placed */
    uint32_t n_reqs;
    uint32_t n_computing; /* P: prompts there without a first token yet */
    uint64_t backoff_ns;  /* leave alone until then */
    uint64_t *paired;     /* D: [nodes_max] incarnations of its verified P */
    uint32_t n_paired;
    uint32_t blocks_free; /* as the last heartbeat said, */
    uint32_t n_seqs;      /* and this too */
};

enum router_req_state {
    ROUTER_QUEUED,
    ROUTER_PREFILL,
    ROUTER_HANDOVER,
    ROUTER_DECODE,
    ROUTER_ENDED,
};

struct router_req {
    bool used;
    bool suspect;
    enum router_req_state state;
    struct wire_id id;
    struct wire_id resume;
    char label[WIRE_NAME_MAX + 1];
    uint32_t client; /* link; WIRE_LINK_NONE: gone, may come back */
    uint64_t gone_ns;
    uint32_t credits; /* with limited */
    bool limited;
    uint64_t starved_ns; /* since when tokens wait for credits; 0: none wait */
    uint64_t beat_ns;

    /* the job */
    struct answer_text *writer;  /* has taken the ids before n_sent */
    struct answer_text *watcher; /* has taken all that came; NULL: no stop strings */
    void *memory;                /* holds the arrays below */
    uint32_t *prompt;
    uint32_t *emitted;    /* [sampling.max_tokens] */
    double *logprobs;     /* [sampling.max_tokens] */
    double *top_logprobs; /* [sampling.max_tokens][sampling.logprobs] */
    uint32_t *top_ids;    /* beside them */
    uint8_t *n_tops;      /* [sampling.max_tokens], each at most sampling.logprobs */
    uint32_t n_prompt, n_emitted, n_sent;
    uint32_t n_base; /* emitted when this attempt was placed */
    struct wire_sampling sampling;
    uint64_t seed;
    uint64_t print; /* of the prompt, for the quarantine */

    /* where it is */
    uint32_t attempt, generation;
    uint32_t p, d; /* node indices or ROUTER_NONE */
    uint32_t p_blocks, d_blocks;
    uint64_t lone_ns; /* since when a P holds it and no D is asked; 0: one is */
    uint32_t n_failures, n_strikes;
    uint32_t next, prev; /* queue */

    /* when */
    uint64_t admitted_ns, queued_ns;
    uint64_t token_ns;    /* of the newest id */
    uint64_t deadline_ns; /* of the clock that goes on in our sleep, as the client's does */
    uint64_t order;       /* of admission */

    /* how it ended */
    char end[16];       /* told with the last token; empty: more to come */
    enum wire_end said; /* what the node said with the last token */
    enum status code;
    char reason[WIRE_ERROR_MAX + 1];
    uint32_t retry_ms;
    struct wire_ledger ledger;
    char path[WIRE_NAME_MAX + 1];
    char p_name[WIRE_NAME_MAX + 1];
    char d_name[WIRE_NAME_MAX + 1];
};

struct router_quarantine {
    uint64_t print;
    uint64_t until_ns;
};

struct router {
    struct router_cfg cfg;
    struct wire_out *out;
    struct router_node *nodes; /* [nodes_max] */
    uint64_t *paired;          /* [nodes_max][nodes_max] */
    struct router_req *reqs;   /* [requests_max] */
    uint32_t *free_reqs;       /* [n_free_reqs] stack */
    uint32_t n_free_reqs;
    struct idmap *map;   /* request id -> index in reqs */
    struct idmap *links; /* link of a node -> index in nodes */
    uint32_t queue_head, queue_tail, n_queued;
    uint32_t n_lone; /* requests whose P holds them and that no D has taken */
    struct tokenizer_workspace *work;
    char fingerprint[WIRE_NAME_MAX + 1]; /* of the fleet; empty: no node yet */
    char numerics[WIRE_NAME_MAX + 1];
    uint64_t draws; /* from the key */
    uint64_t order;
    struct clock_awake awake; /* all times in here but deadlines */
    bool draining;
    bool roster_changed;
    struct router_quarantine quarantine[ROUTER_QUARANTINE];
    struct router_counts counts;
    struct view *view; /* for the page */
};

/* ---- router.c ---- */
/* 16 fresh bytes from the key. */
void router_draw(struct router *router, struct wire_id *out);

/* ---- nodes.c ---- */
void router_node_message(struct router *router, uint32_t link, const struct wire_msg *msg,
                         uint64_t now_ns);
void router_node_link_down(struct router *router, uint32_t link, uint64_t now_ns);
void router_nodes_tick(struct router *router, uint64_t now_ns);
/* Sends to a node; a message that cannot be sent breaks the session at the next tick. */
void router_node_post(struct router *router, uint32_t node, struct wire_msg *msg);
void router_roster_flush(struct router *router);
/* Whether the D has verified a transfer with that P. */
bool router_paired(const struct router *router, uint32_t p, const struct router_node *d);
/* Smallest length limit of the fleet's nodes; 0: none is there. */
uint32_t router_len_max(const struct router *router);

/* ---- place.c ---- */
/* Places what can be placed, oldest first. */
void router_place(struct router *router, uint64_t now_ns);
void router_queue_push(struct router *router, uint32_t idx);
void router_queue_remove(struct router *router, uint32_t idx);
/* After a node has joined: ends what was admitted before and is longer than any node's sequences.
 * It would stay first in the queue, and all others behind it. */
void router_queue_trim(struct router *router, uint64_t now_ns);
/* Finds a D for a request whose P goes on holding the prompt, under a new generation. */
void router_rereserve(struct router *router, struct router_req *req, uint64_t now_ns);
/* Whether any ready D has verified a transfer with that P. */
bool router_reachable(const struct router *router, uint32_t p);
/* Takes the request off its nodes, and tells them when `say`. */
void router_unplace_p(struct router *router, struct router_req *req, bool say);
void router_unplace_d(struct router *router, struct router_req *req, bool say);
/* P is no longer computing it; to be called before the state leaves PREFILL. */
void router_computed(struct router *router, struct router_req *req);

/* ---- requests.c ---- */
struct router_req *router_req_find(struct router *router, const struct wire_id *id);
/* Until its deadline; 0: it has passed. */
uint64_t router_left_ns(const struct router *router, const struct router_req *req);
void router_req_message(struct router *router, uint32_t node, const struct wire_msg *msg,
                        uint64_t now_ns);
/* A node is gone (its index is still valid, its session is not). */
void router_req_node_lost(struct router *router, struct router_req *req, uint32_t node,
                          uint64_t now_ns);
void router_req_crashed(struct router *router, const struct wire_id *id, uint64_t now_ns);
/* Ends it with an error (or STATUS_DONE), and frees both nodes. text may be NULL. */
void router_req_end(struct router *router, struct router_req *req, enum status code,
                    const char *text, uint64_t now_ns);
/* Whether this prompt is kept out for having crashed nodes. */
bool router_quarantined(const struct router *router, uint64_t print, uint64_t now_ns);
void router_reqs_tick(struct router *router, uint64_t now_ns);

/* ---- tops.c ---- */
/* Keeps the logprobs of the id at idx. False where a node may not say that. */
bool router_tops_keep(struct router_req *req, uint32_t idx, const struct wire_token *token);
/* Whether the id at idx came with just these. */
bool router_tops_equal(const struct router_req *req, uint32_t idx, const struct wire_token *token);
/* Puts those of the id at idx into the message. */
void router_tops_fill(const struct router_req *req, uint32_t idx, struct wire_token *token);

/* ---- clients.c ---- */
void router_client_message(struct router *router, uint32_t link, const struct wire_msg *msg,
                           uint64_t now_ns);
void router_client_link_down(struct router *router, uint32_t link, uint64_t now_ns);
/* Sends what may be sent; frees the record after the last message. */
void router_client_flush(struct router *router, struct router_req *req, uint64_t now_ns);
/* Patience with an absent or slow client; heartbeats. May free the record. */
void router_client_tick(struct router *router, struct router_req *req, uint64_t now_ns);
/* What the record holds beside itself. */
void router_req_memory_free(struct router_req *req);
