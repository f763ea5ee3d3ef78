/* What can be seen of the router while it runs: its nodes, each token as it comes, and each request
 * when its last word has been said. For metrics, the access log and the page; the router works the
 * same whether anybody looks or not. */
#pragma once

#include "wire/msg.h"

struct router;
struct router_req;

/* A request whose record is about to go: all was sent, or nobody is there to send it to. */
struct router_over {
    struct wire_id id;
    const char *label;         /* as the client gave it */
    uint32_t link;             /* of the client; WIRE_LINK_NONE: it has left */
    enum status code;          /* DONE, or why not */
    const char *reason;        /* of DONE "stop" or "length", else a sentence */
    uint32_t n_sent;           /* tokens that the client got */
    struct wire_ledger ledger; /* with all that done tells a client, also of what is not DONE */
};

/* Called from within an input, so they must not call the router; what they are given lives until
 * they return. Every generate is told of by `refused` or by `over`, once. */
struct router_watch {
    /* An answer's first token, so long after the request was admitted. */
    void (*first)(void *ctx, uint64_t after_ns, uint32_t n_prompt);
    /* Another one, so long after the one before. */
    void (*token)(void *ctx, uint64_t after_ns);
    void (*over)(void *ctx, const struct router_over *over);
    void (*refused)(void *ctx, uint32_t link, struct wire_span label, enum status code,
                    const char *why);
    void *ctx;
};

struct router_node_view {
    const char *name; /* until the next input */
    enum wire_role role;
    bool ready;
    uint32_t blocks, blocks_free, n_seqs; /* as its last heartbeat said, of all routers' requests */
    uint32_t n_reqs;                      /* of this router's */
};

uint32_t router_nodes_max(const struct router *router);
/* The node at idx, from 0 to router_nodes_max; false: there is none. */
bool router_node_view(const struct router *router, uint32_t idx, struct router_node_view *out);
/* Requests that are with a node. */
uint32_t router_n_running(const struct router *router);

/* ---- what the router's files call; nothing where nobody watches ---- */
/* What a client is told of the request's way. */
struct wire_ledger router_ledger(const struct router_req *req);
void router_watch_token(const struct router *router, struct router_req *req, uint64_t now_ns);
void router_watch_over(const struct router *router, const struct router_req *req);
void router_watch_refused(const struct router *router, uint32_t link, struct wire_span label,
                          enum status code, const char *why);
