/* The router's sessions with its nodes: join, heartbeat, loss, roster. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "router/state.h"

/* ---- looking ---- */

static struct idmap_key link_key(uint32_t link)
{
    const uint8_t none[IDMAP_ID_BYTES] = {0};

    return idmap_key(none, link);
}

static struct router_node *node_of_link(struct router *router, uint32_t link)
{
    const struct idmap_key key = link_key(link);
    uint32_t idx;

    return idmap_find(router->links, &key, &idx) == STATUS_OK ? &router->nodes[idx] : NULL;
}

static struct router_node *node_of_name(struct router *router, struct wire_span name)
{
    for (uint32_t i = 0; i < router->cfg.nodes_max; i++)
        if (router->nodes[i].used && wire_span_equal(wire_span_of(router->nodes[i].name), name))
            return &router->nodes[i];
    return NULL;
}

static struct router_node *node_of_incarnation(struct router *router, uint64_t incarnation)
{
    for (uint32_t i = 0; i < router->cfg.nodes_max; i++)
        if (router->nodes[i].used && router->nodes[i].session.peer == incarnation)
            return &router->nodes[i];
    return NULL;
}

uint32_t router_len_max(const struct router *router)
{
    uint32_t len_max = 0;

    for (uint32_t i = 0; i < router->cfg.nodes_max; i++) {
        const struct router_node *node = &router->nodes[i];

        if (node->used && (len_max == 0 || node->len_max < len_max))
            len_max = node->len_max;
    }
    return len_max;
}

bool router_paired(const struct router *router, uint32_t p, const struct router_node *d)
{
    const uint64_t incarnation = router->nodes[p].session.peer;

    for (uint32_t i = 0; i < d->n_paired; i++)
        if (d->paired[i] == incarnation)
            return true;
    return false;
}

/* ---- saying ---- */

void router_node_post(struct router *router, uint32_t idx, struct wire_msg *msg)
{
    struct router_node *node = &router->nodes[idx];

    /* What could not be posted was lost: the node must not go on as if it had been told. */
    if (node->used && wire_session_post(&node->session, router->out, msg) != STATUS_OK)
        node->session.broken = true;
}

/* Outside of any session of ours: about the one that the message named. */
static void bye(struct router *router, uint32_t link, const struct wire_msg *about,
                enum status code, const char *text)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_BYE);
    msg.session = about->session;
    msg.from = router->cfg.self;
    msg.to = about->from;
    msg.bye.code = code;
    msg.bye.text = wire_span_of(text);
    (void)wire_out_post(router->out, link, &msg);
}

/* ---- loss ---- */

static void node_lose(struct router *router, struct router_node *node, enum status why,
                      uint64_t now_ns)
{
    const uint32_t idx = (uint32_t)(node - router->nodes);
    const struct idmap_key key = link_key(node->session.link);

    LOG_WARN("router", "node lost", log_str("node", node->name), log_status(why),
             log_u64("requests", node->n_reqs));
    node->used = false;
    CHECK(idmap_remove(router->links, &key, NULL) == STATUS_OK);
    router->counts.nodes_lost++;
    view_node_lost(router->view, node, why, now_ns);
    router->roster_changed = true;
    for (uint32_t i = 0; i < router->cfg.requests_max; i++) {
        struct router_req *req = &router->reqs[i];

        if (req->used && (req->p == idx || req->d == idx))
            router_req_node_lost(router, req, idx, now_ns);
    }
    CHECK(node->n_reqs == 0);
}

/* The node is alive but its session is over: it is told, and joins again. */
static void node_break(struct router *router, struct router_node *node, enum status why,
                       uint64_t now_ns)
{
    const struct wire_msg about = {.session = node->session.number, .from = node->session.peer};
    const uint32_t link = node->session.link;

    router->counts.sessions_broken++;
    node_lose(router, node, why, now_ns);
    bye(router, link, &about, why, status_text(why));
}

void router_node_link_down(struct router *router, uint32_t link, uint64_t now_ns)
{
    struct router_node *node = node_of_link(router, link);

    if (node)
        node_lose(router, node, STATUS_LOST, now_ns);
}

/* ---- joining ---- */

/* A sentence of what does not fit, or false. */
static bool join_unfit(const struct router *router, const struct wire_join *join, char *text,
                       size_t max)
{
    if (join->version_min > WIRE_VERSION_MAX || join->version_max < WIRE_VERSION_MIN) {
        snprintf(text, max,
                 "node speaks protocol %u to %u, this router %u to %u: update the older one",
                 join->version_min, join->version_max, WIRE_VERSION_MIN, WIRE_VERSION_MAX);
        return true;
    }
    if (join->name.len == 0 || join->block_tokens == 0 || join->blocks == 0 ||
        join->seqs_max == 0 || join->len_max == 0 ||
        (join->role != WIRE_ROLE_PREFILL && join->role != WIRE_ROLE_DECODE)) {
        snprintf(text, max, "join without name, role, blocks, sequences or length");
        return true;
    }
    if (router->fingerprint[0] && router_len_max(router) != 0 &&
        !wire_span_equal(wire_span_of(router->fingerprint), join->fingerprint)) {
        snprintf(text, max,
                 "the fleet serves '%s', node '%.*s' serves '%.*s': give all nodes the same "
                 "model, KV layout and numerics",
                 router->fingerprint, (int)join->name.len, join->name.at,
                 (int)join->fingerprint.len, join->fingerprint.at);
        return true;
    }
    return false;
}

static void span_keep(char *text, size_t max, struct wire_span span)
{
    snprintf(text, max, "%.*s", (int)span.len, span.at);
}

static struct router_node *node_add(struct router *router, const struct wire_join *join)
{
    for (uint32_t i = 0; i < router->cfg.nodes_max; i++) {
        struct router_node *node = &router->nodes[i];
        uint64_t *paired = node->paired;

        if (node->used)
            continue;
        *node = (struct router_node){.used = true,
                                     .role = (enum wire_role)join->role,
                                     .paired = paired,
                                     .blocks = join->blocks,
                                     .blocks_free = join->blocks,
                                     .seqs_max = join->seqs_max,
                                     .len_max = join->len_max};
        span_keep(node->name, sizeof(node->name), join->name);
        span_keep(node->endpoint, sizeof(node->endpoint), join->endpoint);
        span_keep(node->host, sizeof(node->host), join->host);
        return node;
    }
    return NULL;
}

/* Loses whom the joining node replaces: itself under a lower session, a dead one of its name, and
 * whoever was behind its link. False: the name is taken. */
static bool join_replaces(struct router *router, uint32_t link, const struct wire_msg *msg,
                          uint64_t now_ns)
{
    struct router_node *node = node_of_incarnation(router, msg->from);

    if (node) /* itself again */
        node_lose(router, node, STATUS_LOST, now_ns);
    node = node_of_name(router, msg->join.name);
    if (node && now_ns - node->session.heard_ns < ROUTER_ALIVE_MS * NS_PER_MS) {
        bye(router, link, msg, STATUS_EXISTS,
            "a node of this name is alive here: give each node a name of its own");
        return false;
    }
    if (node) /* its process has died, and this one takes its place */
        node_lose(router, node, STATUS_LOST, now_ns);
    if ((node = node_of_link(router, link)))
        node_lose(router, node, STATUS_LOST, now_ns);
    return true;
}

static void welcome(struct router *router, const struct router_node *node)
{
    struct wire_msg answer;

    wire_msg_init(&answer, WIRE_KIND_WELCOME);
    answer.welcome.version = WIRE_VERSION_MAX;
    answer.welcome.heartbeat_ms = WIRE_HEARTBEAT_MS;
    answer.welcome.server = wire_span_of(router->cfg.server);
    router_node_post(router, (uint32_t)(node - router->nodes), &answer);
}

static void take_join(struct router *router, uint32_t link, const struct wire_msg *msg,
                      uint64_t now_ns)
{
    struct router_node *node = node_of_incarnation(router, msg->from);
    const struct idmap_key key = link_key(link);
    char text[WIRE_ERROR_MAX];
    struct wire_session session;

    if (msg->from == 0 || (node && msg->session <= node->session.number))
        return; /* a late or doubled join */
    wire_session_open(&session, link, msg->session, router->cfg.self, msg->from, now_ns);
    if (wire_session_take(&session, msg, now_ns) != STATUS_OK) {
        bye(router, link, msg, STATUS_PROTOCOL, "a join is the first message of its session");
        return;
    }
    if (!join_replaces(router, link, msg, now_ns))
        return;
    if (join_unfit(router, &msg->join, text, sizeof(text))) {
        router->counts.nodes_refused++;
        LOG_WARN("router", "node refused", log_str("why", text));
        bye(router, link, msg, STATUS_INCOMPATIBLE, text);
        return;
    }
    if (router_len_max(router) == 0) { /* the first one there: the fleet is what it serves */
        span_keep(router->fingerprint, sizeof(router->fingerprint), msg->join.fingerprint);
        span_keep(router->numerics, sizeof(router->numerics), msg->join.numerics);
    }
    node = node_add(router, &msg->join);
    if (!node) {
        bye(router, link, msg, STATUS_FULL,
            "the router's limit router.nodes_max is reached: raise it in the fleet file");
        return;
    }
    CHECK(idmap_insert(router->links, &key, (uint32_t)(node - router->nodes)) == STATUS_OK);
    node->session = session;
    welcome(router, node);
    router->counts.nodes_joined++;
    view_node_joined(router->view, node, now_ns);
    router->roster_changed = true;
    router_queue_trim(router, now_ns);
    LOG_INFO("router", "node joined", log_str("node", node->name),
             log_str("role", wire_role_name(node->role)), log_u64("blocks", node->blocks),
             log_hex("incarnation", msg->from));
}

/* ---- messages of a session ---- */

static void take_heartbeat(struct router *router, struct router_node *node,
                           const struct wire_heartbeat *beat, uint64_t now_ns)
{
    const bool stuck = beat->step_ms > beat->bound_ms && beat->bound_ms > 0;

    node->ready = !beat->draining && !stuck;
    node->blocks_free = beat->blocks_free;
    node->n_seqs = beat->n_seqs;
    node->n_paired = 0;
    for (size_t i = 0; i < beat->peers.n && node->n_paired < router->cfg.nodes_max; i++)
        node->paired[node->n_paired++] = beat->peers.at[i];
    if (stuck && node->n_reqs > 0)
        node_break(router, node, STATUS_STUCK, now_ns);
}

static void take_crash(struct router *router, const struct wire_crash *crash, uint64_t now_ns)
{
    struct router_node *node = node_of_incarnation(router, crash->incarnation);

    for (size_t i = 0; i + 1 < crash->requests.n; i += 2) {
        struct wire_id id;

        memcpy(id.byte, &crash->requests.at[i], 16);
        router_req_crashed(router, &id, now_ns);
    }
    if (node)
        node_lose(router, node, STATUS_LOST, now_ns);
}

#define LOGPROB_MAX 1e30

/* Whether the likeliest ids are as many as the counts say. */
static bool tops_sound(const struct wire_tokens *tokens)
{
    size_t n = 0;

    for (size_t i = 0; i < tokens->n_tops.len; i++)
        n += (uint8_t)tokens->n_tops.at[i];
    return (tokens->n_tops.len == 0 || tokens->n_tops.len == tokens->tokens.n) &&
           tokens->top_ids.n == n && tokens->top_logprobs.len == n * sizeof(double);
}

/* A step's tokens, each as if it had come alone. */
static void take_tokens(struct router *router, struct router_node *node,
                        const struct wire_tokens *tokens, uint64_t now_ns)
{
    const size_t n = tokens->tokens.n;
    size_t n_tops = 0; /* of those before */

    if (tokens->reqs.len != n * sizeof(struct wire_id) || tokens->attempts.n != n ||
        tokens->generations.n != n || tokens->indexes.n != n ||
        tokens->logprobs.len != n * sizeof(double) || tokens->ends.len != n ||
        !tops_sound(tokens)) {
        node_break(router, node, STATUS_PROTOCOL, now_ns);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct wire_msg one;

        wire_msg_init(&one, WIRE_KIND_TOKEN);
        memcpy(one.req.byte, tokens->reqs.at + i * sizeof(one.req), sizeof(one.req));
        one.attempt = tokens->attempts.at[i];
        one.generation = tokens->generations.at[i];
        one.token.index = tokens->indexes.at[i];
        one.token.token = tokens->tokens.at[i];
        memcpy(&one.token.logprob, tokens->logprobs.at + i * sizeof(double), sizeof(double));
        if (!(fabs(one.token.logprob) <= LOGPROB_MAX)) { /* as the codec has it for a `token` */
            node_break(router, node, STATUS_PROTOCOL, now_ns);
            return;
        }
        one.token.end = wire_span_of(wire_end_name((uint8_t)tokens->ends.at[i]));
        if (tokens->n_tops.len > 0) {
            const size_t own = (uint8_t)tokens->n_tops.at[i];

            one.token.top_ids = (struct wire_u32s){tokens->top_ids.at + n_tops, own};
            one.token.top_logprobs = (struct wire_span){
                tokens->top_logprobs.at + n_tops * sizeof(double), own * sizeof(double)};
            n_tops += own;
        }
        router_req_message(router, (uint32_t)(node - router->nodes), &one, now_ns);
    }
}

/* True when the message belongs to an open session and is the next of it. */
static bool session_take(struct router *router, struct router_node *node, uint32_t link,
                         const struct wire_msg *msg, uint64_t now_ns)
{
    enum status status = node ? wire_session_take(&node->session, msg, now_ns) : STATUS_STALE;

    if (status == STATUS_STALE) {
        router->counts.messages_stale++;
        if (msg->kind != WIRE_KIND_BYE)
            bye(router, link, msg, STATUS_STALE, "this session is not known here, join again");
    } else if (status == STATUS_LOST) {
        node_break(router, node, STATUS_LOST, now_ns);
    }
    return status == STATUS_OK;
}

void router_node_message(struct router *router, uint32_t link, const struct wire_msg *msg,
                         uint64_t now_ns)
{
    struct router_node *node;

    if (msg->kind == WIRE_KIND_CRASH) {
        take_crash(router, &msg->crash, now_ns);
        return;
    }
    if (msg->kind == WIRE_KIND_JOIN) {
        take_join(router, link, msg, now_ns);
        return;
    }
    node = node_of_link(router, link);
    if (!session_take(router, node, link, msg, now_ns))
        return;
    if (msg->kind == WIRE_KIND_HEARTBEAT)
        take_heartbeat(router, node, &msg->heartbeat, now_ns);
    else if (msg->kind == WIRE_KIND_BYE)
        node_lose(router, node, STATUS_LOST, now_ns);
    else if (msg->kind == WIRE_KIND_TOKENS)
        take_tokens(router, node, &msg->tokens, now_ns);
    else
        router_req_message(router, (uint32_t)(node - router->nodes), msg, now_ns);
}

/* ---- time ---- */

void router_nodes_tick(struct router *router, uint64_t now_ns)
{
    for (uint32_t i = 0; i < router->cfg.nodes_max; i++) {
        struct router_node *node = &router->nodes[i];
        struct wire_msg msg;

        if (!node->used)
            continue;
        if (node->session.broken || wire_session_silent(&node->session, now_ns)) {
            node_break(router, node, STATUS_LOST, now_ns);
        } else if (wire_session_beat_due(&node->session, now_ns)) {
            node->session.beat_ns = now_ns;
            wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
            msg.heartbeat.draining = router->draining;
            router_node_post(router, i, &msg);
        }
    }
}

void router_roster_flush(struct router *router)
{
    struct wire_span names[WIRE_NODES_MAX], endpoints[WIRE_NODES_MAX], hosts[WIRE_NODES_MAX];
    uint64_t incarnations[WIRE_NODES_MAX];
    uint32_t roles[WIRE_NODES_MAX];
    size_t n = 0;

    if (!router->roster_changed)
        return;
    router->roster_changed = false;
    for (uint32_t i = 0; i < router->cfg.nodes_max; i++) {
        const struct router_node *node = &router->nodes[i];

        if (!node->used)
            continue;
        names[n] = wire_span_of(node->name);
        endpoints[n] = wire_span_of(node->endpoint);
        hosts[n] = wire_span_of(node->host);
        incarnations[n] = node->session.peer;
        roles[n++] = node->role;
    }
    for (uint32_t i = 0; i < router->cfg.nodes_max; i++) {
        struct wire_msg msg;

        if (!router->nodes[i].used)
            continue;
        wire_msg_init(&msg, WIRE_KIND_ROSTER);
        msg.roster.names = (struct wire_texts){names, n};
        msg.roster.endpoints = (struct wire_texts){endpoints, n};
        msg.roster.hosts = (struct wire_texts){hosts, n};
        msg.roster.incarnations = (struct wire_u64s){incarnations, n};
        msg.roster.roles = (struct wire_u32s){roles, n};
        router_node_post(router, i, &msg);
    }
}
