/* Which node a request goes to. Prompts wait here and not in the nodes: a P gets one only when it
 * can start it, so the choice is made with the newest knowledge. First come, first served; a
 * request that is done again keeps its place. */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "router/state.h"
#include "wire/kvgeom.h"
#include "wire/plant.h"

/* ---- the queue: a list ordered by admission ---- */

void router_queue_push(struct router *router, uint32_t idx)
{
    struct router_req *req = &router->reqs[idx];
    uint32_t after = router->queue_tail;

    /* Nearly always the end; a resubmitted one walks to its old place. */
    while (after != ROUTER_NONE && router->reqs[after].order > req->order)
        after = router->reqs[after].prev;
    router->n_queued++;
    req->prev = after;
    req->next = after == ROUTER_NONE ? router->queue_head : router->reqs[after].next;
    if (req->next == ROUTER_NONE)
        router->queue_tail = idx;
    else
        router->reqs[req->next].prev = idx;
    if (after == ROUTER_NONE)
        router->queue_head = idx;
    else
        router->reqs[after].next = idx;
}

void router_queue_remove(struct router *router, uint32_t idx)
{
    struct router_req *req = &router->reqs[idx];

    router->n_queued--;
    if (req->prev == ROUTER_NONE)
        router->queue_head = req->next;
    else
        router->reqs[req->prev].next = req->next;
    if (req->next == ROUTER_NONE)
        router->queue_tail = req->prev;
    else
        router->reqs[req->next].prev = req->prev;
    req->next = req->prev = ROUTER_NONE;
}

/* ---- choosing ---- */

static bool node_can(const struct router_node *node, enum wire_role role, uint32_t blocks,
                     uint64_t now_ns)
{
    return node->used && node->ready && node->role == role && now_ns >= node->backoff_ns &&
           node->blocks_used + blocks <= node->blocks && node->n_reqs < node->seqs_max;
}

/* The D with most room that has verified a transfer with p. */
static uint32_t choose_d(const struct router *router, uint32_t p, uint32_t blocks, uint64_t now_ns)
{
    uint32_t best = ROUTER_NONE, best_room = 0;

    for (uint32_t i = 0; i < router->cfg.nodes_max; i++) {
        const struct router_node *node = &router->nodes[i];

        if (!node_can(node, WIRE_ROLE_DECODE, blocks, now_ns) || !router_paired(router, p, node))
            continue;
        if (best == ROUTER_NONE || node->blocks - node->blocks_used > best_room) {
            best = i;
            best_room = node->blocks - node->blocks_used;
        }
    }
    return best;
}

/* The P with the shortest queue that can start it and has a D for it. */
static bool choose(const struct router *router, uint32_t p_blocks, uint32_t d_blocks,
                   uint64_t now_ns, uint32_t *p_out, uint32_t *d_out)
{
    uint32_t best = ROUTER_NONE;

    for (uint32_t i = 0; i < router->cfg.nodes_max; i++) {
        const struct router_node *node = &router->nodes[i];
        uint32_t d;

        if (!node_can(node, WIRE_ROLE_PREFILL, p_blocks, now_ns) ||
            node->n_computing >= router->cfg.prefill_depth)
            continue;
        if (best != ROUTER_NONE && (node->n_computing > router->nodes[best].n_computing ||
                                    (node->n_computing == router->nodes[best].n_computing &&
                                     node->blocks_used >= router->nodes[best].blocks_used)))
            continue;
        d = choose_d(router, i, d_blocks, now_ns);
        if (d == ROUTER_NONE)
            continue;
        best = i;
        *d_out = d;
    }
    *p_out = best;
    return best != ROUTER_NONE;
}

/* ---- placing ---- */

static void job_fill(const struct router *router, const struct router_req *req,
                     struct wire_msg *msg, uint32_t peer)
{
    wire_msg_init(msg, WIRE_KIND_JOB);
    msg->req = req->id;
    msg->attempt = req->attempt;
    msg->generation = req->generation;
    msg->job.prompt = (struct wire_u32s){req->prompt, req->n_prompt};
    msg->job.emitted = (struct wire_u32s){req->emitted, req->n_emitted};
    msg->job.sampling = req->sampling;
    msg->job.seed = req->seed;
    /* 0: it has passed since the last tick, and the next will end the request. */
    msg->job.deadline_ms = (uint32_t)(router_left_ns(router, req) / NS_PER_MS) + 1;
    msg->job.peer = router->nodes[peer].session.peer;
    msg->job.suspect = req->suspect;
    if (PLANTED(15)) { /* border lost: prompt and emitted lie in one array */
        msg->job.prompt.n += req->n_emitted;
        msg->job.emitted.n = 0;
    }
}

static void send_d(struct router *router, struct router_req *req, uint32_t d, uint32_t n_emitted)
{
    struct router_node *node = &router->nodes[d];
    struct wire_msg msg;

    if (!PLANTED(16) || req->generation == 0)
        req->generation++;
    req->d = d;
    router->n_lone -= req->lone_ns != 0;
    req->lone_ns = 0;
    req->d_blocks = kvgeom_blocks(req->n_prompt + n_emitted) + 1;
    node->n_reqs++;
    node->blocks_used += req->d_blocks;
    memcpy(req->d_name, node->name, sizeof(req->d_name));
    job_fill(router, req, &msg, req->p);
    msg.job.emitted.n = n_emitted; /* as P computed it: its first token may be here already */
    router_node_post(router, d, &msg);
}

static void send_p(struct router *router, struct router_req *req, uint32_t p)
{
    struct router_node *node = &router->nodes[p];
    struct wire_msg msg;

    memcpy(req->p_name, node->name, sizeof(req->p_name));
    job_fill(router, req, &msg, req->d);
    router_node_post(router, p, &msg);
}

static bool place_one(struct router *router, struct router_req *req, uint64_t now_ns)
{
    const uint32_t blocks = kvgeom_blocks(req->n_prompt + req->n_emitted);
    struct router_node *node;
    uint32_t p, d;

    if (!choose(router, blocks, blocks + 1, now_ns, &p, &d))
        return false;
    router_queue_remove(router, (uint32_t)(req - router->reqs));
    req->state = ROUTER_PREFILL;
    req->n_base = req->n_emitted;
    req->ledger.router_queue_us += (now_ns - req->queued_ns) / NS_PER_US;
    req->p = p;
    req->p_blocks = blocks;
    node = &router->nodes[p];
    node->n_reqs++;
    node->n_computing++;
    node->blocks_used += blocks;
    send_d(router, req, d, req->n_base);
    send_p(router, req, p);
    LOG_DEBUG("router", "request placed", log_req(req->id.byte), log_u64("attempt", req->attempt),
              log_str("prefill", req->p_name), log_str("decode", req->d_name));
    return true;
}

void router_place(struct router *router, uint64_t now_ns)
{
    /* Who is computed and waits for a D comes first, or those behind take its room for ever. */
    while (router->n_lone == 0 && router->queue_head != ROUTER_NONE)
        if (!place_one(router, &router->reqs[router->queue_head], now_ns))
            break;
}

void router_queue_trim(struct router *router, uint64_t now_ns)
{
    const uint32_t len_max = router_len_max(router);

    for (uint32_t i = router->queue_head; i != ROUTER_NONE;) {
        struct router_req *req = &router->reqs[i];

        i = req->next;
        if (req->n_prompt + req->sampling.max_tokens > len_max)
            router_req_end(router, req, STATUS_TOO_BIG, ROUTER_TOO_LONG, now_ns);
    }
}

void router_rereserve(struct router *router, struct router_req *req, uint64_t now_ns)
{
    const uint32_t blocks = kvgeom_blocks(req->n_prompt + req->n_base) + 1;
    uint32_t d;

    CHECK(req->p != ROUTER_NONE && req->d == ROUTER_NONE);
    d = choose_d(router, req->p, blocks, now_ns);
    if (d == ROUTER_NONE) { /* asked again at the next tick */
        if (req->lone_ns == 0) {
            req->lone_ns = now_ns;
            router->n_lone++;
        }
        return;
    }
    router->counts.rereserved++;
    send_d(router, req, d, req->n_base);
}

bool router_reachable(const struct router *router, uint32_t p)
{
    for (uint32_t i = 0; i < router->cfg.nodes_max; i++) {
        const struct router_node *node = &router->nodes[i];

        if (node->used && node->ready && node->role == WIRE_ROLE_DECODE &&
            router_paired(router, p, node))
            return true;
    }
    return false;
}

/* ---- taking off ---- */

static void tell(struct router *router, const struct router_req *req, uint32_t node)
{
    struct wire_msg msg;

    if (!router->nodes[node].used)
        return;
    wire_msg_init(&msg, WIRE_KIND_CANCEL);
    msg.req = req->id;
    msg.attempt = req->attempt;
    msg.generation = req->generation;
    router_node_post(router, node, &msg);
}

void router_computed(struct router *router, struct router_req *req)
{
    if (req->p != ROUTER_NONE && req->state == ROUTER_PREFILL)
        router->nodes[req->p].n_computing--;
}

void router_unplace_p(struct router *router, struct router_req *req, bool say)
{
    struct router_node *node;

    if (req->p == ROUTER_NONE)
        return;
    router_computed(router, req);
    node = &router->nodes[req->p];
    node->n_reqs--;
    node->blocks_used -= req->p_blocks;
    if (say)
        tell(router, req, req->p);
    req->p = ROUTER_NONE;
    router->n_lone -= req->lone_ns != 0;
    req->lone_ns = 0;
}

void router_unplace_d(struct router *router, struct router_req *req, bool say)
{
    struct router_node *node;

    if (req->d == ROUTER_NONE)
        return;
    node = &router->nodes[req->d];
    node->n_reqs--;
    node->blocks_used -= req->d_blocks;
    if (say && !PLANTED(14))
        tell(router, req, req->d);
    req->d = ROUTER_NONE;
}
