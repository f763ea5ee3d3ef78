/* The worker's shell. worker_run fills the role's configuration, opens everything, runs the loop
 * and closes everything; between these a few handlers, each of which puts one input into the role
 * and then carries out what it wants. */
#include "cli/worker.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/allow.h"
#include "cli/host.h"
#include "cli/worker_model.h"

#define WORKER_TICK_MS 50u
#define WORKER_ARENA_BYTES (64u << 20) /* arrays of one decoded message */
#define WORKER_QUEUE_MAX 10000u        /* messages to one other process */
#define WORKER_LINGER_MS 500u          /* the last words, at the end */
#define WORKER_RECONNECT_MS 50u
#define WORKER_ZMTP_MS 2000u  /* ZMTP pings; death is noticed by our own heartbeats before */
#define WORKER_ALONE_MS 5000u /* without a router for so long is worth a line */
#define WORKER_PEERS_MAX 1024u
#define WORKER_DEALERS_MAX (BOND_ROUTERS_MAX + WORKER_PEERS_MAX)

struct worker;

/* A connection that this node keeps up: to a router, or of a decode node to a prefill node. */
struct worker_dealer {
    struct worker *worker;
    struct zsock *sock;
    uint64_t peer; /* incarnation of a prefill node; 0: a router */
    uint32_t link; /* 0 while down */
    char endpoint[WIRE_NAME_MAX + 1];
};

struct worker {
    struct process *process;
    struct worker_role role;
    struct worker_model model;
    struct compute *compute;
    struct kvt_ucx *mover;
    struct loop_source *mover_source;
    struct loop_timer *tick;
    struct arena *arena;
    struct zsock *door; /* of a prefill node, for its peers; else NULL */
    char door_endpoint[ZSOCK_ENDPOINT_MAX];
    char host[HOST_TEXT_MAX];
    char reach[WIRE_NAME_MAX + 1]; /* where peers reach it */
    struct worker_dealer *dealers[WORKER_DEALERS_MAX];
    size_t n_dealers;
    uint64_t peers_version;
    uint64_t alone_ns; /* since when no router answers, or when that was logged; 0: one does */
    bool leaving;      /* said bye; nothing more is carried out */
};

static uint64_t now_of(const struct worker *worker)
{
    return loop_now_ns(worker->process->loop);
}

/* ---- connections ---- */

static void settle(struct worker *worker);
static void dealer_reopen(struct worker_dealer *dealer);

static void on_dealer_up(void *ctx, uint32_t link)
{
    struct worker_dealer *dealer = ctx;
    struct worker *worker = dealer->worker;

    dealer->link = link;
    if (dealer->peer == 0)
        worker->role.ops->router_up(worker->role.self, link, now_of(worker));
    else
        worker->role.ops->peer_up(worker->role.self, dealer->peer, link, now_of(worker));
    settle(worker);
}

static void on_dealer_down(void *ctx, uint32_t link)
{
    struct worker_dealer *dealer = ctx;
    struct worker *worker = dealer->worker;

    dealer->link = 0;
    worker->role.ops->link_down(worker->role.self, link, now_of(worker));
    settle(worker);
}

static void take_message(struct worker *worker, uint32_t link, const void *bytes, size_t len)
{
    const char *why = "out of memory";
    struct wire_msg msg;

    arena_reset(worker->arena);
    if (wire_msg_decode(bytes, len, worker->arena, &msg, &why) != STATUS_OK) {
        /* Its session notices the gap. */
        LOG_WARN("node", "a malformed message was dropped", log_u64("link", link),
                 log_str("why", why));
        return;
    }
    worker->role.ops->message(worker->role.self, link, &msg, now_of(worker));
    settle(worker);
}

static void on_dealer_message(void *ctx, uint32_t link, const void *bytes, size_t len)
{
    take_message(((struct worker_dealer *)ctx)->worker, link, bytes, len);
}

/* The public key of whoever listens there; the fleet file must know it. */
static enum status key_of(const struct worker *worker, const char *endpoint,
                          char key[KEYS_Z85_LEN + 1])
{
    const struct fleet *fleet = worker->process->fleet;
    const struct fleet_node *node = fleet_find_endpoint(fleet, endpoint);
    char why[FLEET_WHY_MAX] = "the fleet file has no node there: give all machines the same file";
    enum status status = STATUS_NOT_FOUND;

    if (node)
        status = allow_find(fleet, node->name, key, why);
    if (status != STATUS_OK)
        LOG_ERROR("node", "a node is not connected to", log_str("endpoint", endpoint),
                  log_str("why", why));
    return status;
}

static enum status dealer_connect(struct worker_dealer *dealer)
{
    struct worker *worker = dealer->worker;
    struct process *process = worker->process;
    char key[KEYS_Z85_LEN + 1];
    char why[ZSOCK_WHY_MAX];
    const struct zsock_cfg cfg = {.type = ZSOCK_DEALER,
                                  .name = dealer->peer ? "peer" : "router",
                                  .numbers = &process->numbers,
                                  .queue_max = WORKER_QUEUE_MAX,
                                  .bytes_max = WIRE_CONTROL_BYTES_MAX,
                                  .linger_ms = WORKER_LINGER_MS,
                                  .reconnect_ms = WORKER_RECONNECT_MS,
                                  .heartbeat_ms = WORKER_ZMTP_MS,
                                  .own = process->zap ? &process->own : NULL,
                                  .server_key = process->zap ? key : NULL};
    const struct zsock_handler handler = {
        .up = on_dealer_up, .down = on_dealer_down, .message = on_dealer_message, .ctx = dealer};
    enum status status = process->zap ? key_of(worker, dealer->endpoint, key) : STATUS_OK;

    if (status == STATUS_OK)
        status = zsock_open(process->zctx, &cfg, process->loop, &handler, &dealer->sock);
    if (status != STATUS_OK)
        return status;
    status = zsock_connect(dealer->sock, dealer->endpoint, why);
    if (status != STATUS_OK)
        LOG_ERROR("node", "a node is not connected to", log_str("why", why));
    return status;
}

static void dealer_close(struct worker_dealer *dealer)
{
    struct worker *worker = dealer->worker;

    for (size_t i = 0; i < worker->n_dealers; i++)
        if (worker->dealers[i] == dealer)
            worker->dealers[i] = worker->dealers[--worker->n_dealers];
    zsock_close(dealer->sock);
    mem_free(dealer);
}

static enum status dealer_open(struct worker *worker, const char *endpoint, uint64_t peer)
{
    struct worker_dealer *dealer;
    enum status status;

    if (worker->n_dealers == WORKER_DEALERS_MAX)
        return STATUS_FULL;
    dealer = mem_alloc_zero(1, sizeof(*dealer));
    if (!dealer)
        return STATUS_NO_MEMORY;
    dealer->worker = worker;
    dealer->peer = peer;
    snprintf(dealer->endpoint, sizeof(dealer->endpoint), "%s", endpoint);
    worker->dealers[worker->n_dealers++] = dealer;
    status = dealer_connect(dealer);
    if (status != STATUS_OK)
        dealer_close(dealer);
    return status;
}

/* A queue that is full is a connection that does not work: the next one starts with none. */
static void dealer_reopen(struct worker_dealer *dealer)
{
    struct worker *worker = dealer->worker;
    char endpoint[WIRE_NAME_MAX + 1];
    const uint64_t peer = dealer->peer;
    enum status status;

    snprintf(endpoint, sizeof(endpoint), "%s", dealer->endpoint);
    dealer_close(dealer);
    status = dealer_open(worker, endpoint, peer);
    if (status != STATUS_OK && peer == 0)
        process_fatal(worker->process, "a router's socket cannot be opened again", status);
}

/* ---- the door of a prefill node ---- */

static void on_door_up(void *ctx, uint32_t link)
{
    (void)ctx; /* a peer is known by its first message */
    (void)link;
}

static void on_door_down(void *ctx, uint32_t link)
{
    struct worker *worker = ctx;

    worker->role.ops->link_down(worker->role.self, link, now_of(worker));
    settle(worker);
}

static void on_door_message(void *ctx, uint32_t link, const void *bytes, size_t len)
{
    take_message(ctx, link, bytes, len);
}

static enum status door_open(struct worker *worker)
{
    struct process *process = worker->process;
    const struct zsock_cfg cfg = {.type = ZSOCK_ROUTER,
                                  .name = "peers",
                                  .numbers = &process->numbers,
                                  .queue_max = WORKER_QUEUE_MAX,
                                  .bytes_max = WIRE_CONTROL_BYTES_MAX,
                                  .links_max = WORKER_PEERS_MAX,
                                  .linger_ms = WORKER_LINGER_MS,
                                  .heartbeat_ms = WORKER_ZMTP_MS,
                                  .own = process->zap ? &process->own : NULL,
                                  .domain = ZAP_DOMAIN_NODES};
    const struct zsock_handler handler = {
        .up = on_door_up, .down = on_door_down, .message = on_door_message, .ctx = worker};
    char why[ZSOCK_WHY_MAX];
    enum status status = zsock_open(process->zctx, &cfg, process->loop, &handler, &worker->door);

    if (status != STATUS_OK)
        return status;
    status = zsock_bind(worker->door, process->node->listen, worker->door_endpoint, why);
    if (status != STATUS_OK) {
        process_complain("node '%s': %s", process->node->name, why);
        process->exit_code = EXIT_ADDRESS;
        return status;
    }
    snprintf(worker->reach, sizeof(worker->reach), "%.*s", WIRE_NAME_MAX,
             process->node->advertise[0] ? process->node->advertise : worker->door_endpoint);
    return STATUS_OK;
}

/* ---- carrying out ---- */

static struct worker_dealer *dealer_of(struct worker *worker, uint32_t link)
{
    for (size_t i = 0; i < worker->n_dealers; i++)
        if (worker->dealers[i]->link == link)
            return worker->dealers[i];
    return NULL;
}

/* A link that does not take a message is gone, for its socket and for the role. */
static void send_item(struct worker *worker, struct wire_out_item item)
{
    struct worker_dealer *dealer = dealer_of(worker, item.link);
    struct zsock *sock = dealer ? dealer->sock : worker->door;
    const uint32_t link = item.link;
    enum status status;

    if (!sock || !zsock_has(sock, link))
        return; /* gone since it was posted, and the role was told */
    status = zsock_send(sock, link, item.bytes, item.len);
    if (status == STATUS_OK)
        return;
    LOG_WARN("node", "a link is given up", log_u64("link", link), log_status(status));
    if (!dealer)
        zsock_drop(sock, link);
    else if (status == STATUS_UNREACHABLE)
        dealer->link = 0;
    else
        dealer_reopen(dealer);
    worker->role.ops->link_down(worker->role.self, link, now_of(worker));
}

/* Actions come first at any time: a list may grow while another is carried out. */
static void carry_out(struct worker *worker)
{
    struct kvt *kvt = worker->role.kvt;
    size_t n_acts = 0, n_peers = 0, n_routers = 0;

    for (;;) {
        if (n_acts < kvt_n_acts(kvt)) {
            kvt_ucx_act(worker->mover, kvt_act_at(kvt, n_acts++));
            loop_touch(worker->mover_source);
        } else if (n_peers < wire_out_count(kvt_out(kvt))) {
            send_item(worker, wire_out_at(kvt_out(kvt), n_peers++));
        } else if (n_routers < wire_out_count(worker->role.out)) {
            send_item(worker, wire_out_at(worker->role.out, n_routers++));
        } else {
            break;
        }
    }
    worker->role.ops->clear(worker->role.self);
}

/* Connects to the peers that the role wants, and to no other. */
static void reconcile(struct worker *worker)
{
    static const size_t max = WORKER_PEERS_MAX;
    struct worker_peer peers[WORKER_PEERS_MAX];
    uint64_t version;
    const size_t n = worker->role.ops->peers(worker->role.self, peers, max, &version);

    if (version == worker->peers_version)
        return;
    worker->peers_version = version;
    for (size_t i = worker->n_dealers; i-- > 0;) {
        struct worker_dealer *dealer = worker->dealers[i];
        bool wanted = dealer->peer == 0;

        for (size_t k = 0; k < n && !wanted; k++)
            wanted = peers[k].incarnation == dealer->peer;
        if (!wanted)
            dealer_close(dealer);
    }
    for (size_t k = 0; k < n; k++) {
        bool known = false;

        for (size_t i = 0; i < worker->n_dealers && !known; i++)
            known = worker->dealers[i]->peer == peers[k].incarnation;
        if (!known && dealer_open(worker, peers[k].endpoint, peers[k].incarnation) != STATUS_OK)
            LOG_ERROR("node", "no connection to a prefill node",
                      log_str("endpoint", peers[k].endpoint));
    }
}

static bool is_idle(const struct worker *worker)
{
    struct engine_counts engine;
    struct kvt_counts kvt;

    engine_counts(worker->role.engine, &engine);
    kvt_counts(worker->role.kvt, &kvt);
    return engine.n_seqs == 0 && kvt.outs == 0 && kvt.ins == 0;
}

/* After every input: out with everything, until the role is quiet. */
static void settle(struct worker *worker)
{
    const struct engine_step *step;

    if (worker->leaving)
        return;
    carry_out(worker);
    step = worker->role.ops->step(worker->role.self, now_of(worker));
    if (step)
        compute_post(worker->compute, step);
    reconcile(worker);
    if (worker->process->draining && is_idle(worker)) {
        worker->leaving = true;
        bond_leave(worker->role.bond, STATUS_DRAINING, worker->role.out);
        carry_out(worker);
        LOG_INFO("node", "nothing is left, ends");
        process_end(worker->process, EXIT_DONE);
    }
}

/* ---- the other inputs ---- */

static bool on_mover(void *ctx)
{
    struct worker *worker = ctx;
    bool worked = kvt_ucx_drain(worker->mover);
    struct kvt_event event;

    while (kvt_ucx_event_next(worker->mover, &event)) {
        worked = true;
        worker->role.ops->kvt_event(worker->role.self, &event, now_of(worker));
        settle(worker);
    }
    return worked;
}

static bool on_mover_arm(void *ctx)
{
    return kvt_ucx_arm(((struct worker *)ctx)->mover);
}

static void on_compute(void *ctx, const struct compute_event *event)
{
    struct worker *worker = ctx;

    if (event->kind == COMPUTE_COMPLETE && event->status != STATUS_OK) {
        worker->leaving = true;
        process_fatal(worker->process, "a compute step failed", event->status);
        return;
    }
    worker->role.ops->compute_event(worker->role.self, event, now_of(worker));
    settle(worker);
}

/* A wrong address looks like a router that is not up yet: nothing happens. So it is said. */
static void watch_routers(struct worker *worker, uint64_t now_ns)
{
    if (bond_n_up(worker->role.bond) > 0) {
        worker->alone_ns = 0;
    } else if (worker->alone_ns == 0) {
        worker->alone_ns = now_ns;
    } else if (now_ns - worker->alone_ns >= WORKER_ALONE_MS * NS_PER_MS) {
        worker->alone_ns = now_ns;
        for (size_t i = 0; i < worker->n_dealers; i++)
            if (worker->dealers[i]->peer == 0)
                LOG_WARN("node", "no router answers: is it up, is its address right?",
                         log_str("endpoint", worker->dealers[i]->endpoint));
    }
}

static void on_tick(void *ctx)
{
    struct worker *worker = ctx;

    watch_routers(worker, now_of(worker));
    worker->role.ops->tick(worker->role.self, compute_starved_ns(worker->compute), now_of(worker));
    settle(worker);
}

static void on_drain(void *ctx)
{
    struct worker *worker = ctx;

    worker->role.ops->drain(worker->role.self);
    settle(worker);
}

/* ---- opening ---- */

static void fill_setup(struct worker *worker, struct worker_setup *setup)
{
    struct process *process = worker->process;
    const struct fleet *fleet = process->fleet;
    const struct fleet_node *node = process->node;
    const struct worker_model *model = &worker->model;
    const struct engine_cfg engine = model->engine;

    host_identity(worker->host, cfg_bool(fleet->cfg, "kv.shared_memory"));
    *setup = (struct worker_setup){.engine = engine,
                                   .eos = model->eos,
                                   .n_eos = model->n_eos,
                                   .vocab = model->vocab,
                                   .host = worker->host};
    setup->kvt =
        (struct kvt_cfg){.self = process->incarnation,
                         .name = node->name,
                         .fingerprint = model->fingerprint,
                         .numerics = model->numerics,
                         .geom = engine.geom,
                         .pool = model->exec.ops->pool(model->exec.self),
                         .n_blocks = engine.n_blocks,
                         .peers_max = (uint32_t)cfg_int(fleet->cfg, "kv.peers_max"),
                         .transfers_max = (uint32_t)cfg_int(fleet->cfg, "kv.transfers_max"),
                         .blocks_max = kvgeom_blocks(engine.len_max),
                         .fetch_bytes = cfg_size(fleet->cfg, "kv.fetch_bytes")};
    setup->bond.self = process->incarnation;
    setup->bond.join = (struct wire_join){.version_min = WIRE_VERSION_MIN,
                                          .version_max = WIRE_VERSION_MAX,
                                          .name = wire_span_of(node->name),
                                          .role = node->role == OPTIONS_PREFILL ? WIRE_ROLE_PREFILL
                                                                                : WIRE_ROLE_DECODE,
                                          .fingerprint = wire_span_of(model->fingerprint),
                                          .numerics = wire_span_of(model->numerics),
                                          .model = wire_span_of(process->served->name),
                                          .endpoint = wire_span_of(worker->reach),
                                          .host = wire_span_of(worker->host),
                                          .block_tokens = KVGEOM_BLOCK_TOKENS,
                                          .blocks = engine.n_blocks,
                                          .seqs_max = engine.seqs_max,
                                          .len_max = engine.len_max};
}

static enum status open_mover(struct worker *worker)
{
    char texts[3][1024];
    char error[KVT_UCX_ERROR_MAX];
    const struct kvt_ucx_cfg cfg = fleet_ucx_cfg(worker->process->fleet, texts);
    enum status status = kvt_ucx_create(&cfg, error, &worker->mover);

    if (status != STATUS_OK) {
        process_complain("node '%s': %s", worker->process->node->name, error);
        worker->process->exit_code =
            status == STATUS_DENIED || status == STATUS_INVALID ? EXIT_CONFIG : EXIT_ADDRESS;
        return status;
    }
    const struct loop_source_desc desc = {.name = "ucx",
                                          .fd = kvt_ucx_fd(worker->mover),
                                          .drain = on_mover,
                                          .arm = on_mover_arm,
                                          .ctx = worker};
    return loop_source_add(worker->process->loop, &desc, &worker->mover_source);
}

static enum status open_role(struct worker *worker)
{
    struct worker_setup setup;
    const char *why = "";
    enum status status;

    fill_setup(worker, &setup);
    status = worker->process->node->role == OPTIONS_PREFILL
                 ? worker_prefill_create(&setup, &worker->role, &why)
                 : worker_decode_create(&setup, &worker->role, &why);
    if (status != STATUS_OK) {
        process_complain("node '%s': %s", worker->process->node->name, why);
        worker->process->exit_code = status == STATUS_INVALID ? EXIT_CONFIG : EXIT_FATAL;
    }
    return status;
}

static enum status open_routers(struct worker *worker)
{
    const struct fleet *fleet = worker->process->fleet;

    for (size_t i = 0; i < fleet->n_nodes; i++) {
        enum status status;

        if (fleet->nodes[i].role != OPTIONS_ROUTER)
            continue;
        status = dealer_open(worker, fleet_reach(&fleet->nodes[i]), 0);
        if (status != STATUS_OK) {
            worker->process->exit_code = EXIT_CONFIG;
            return status;
        }
    }
    return STATUS_OK;
}

/* In an order in which each thing finds what it needs. */
static enum status worker_open(struct worker *worker)
{
    struct process *process = worker->process;
    enum status status = arena_create(64 * 1024, WORKER_ARENA_BYTES, &worker->arena);

    /* The door before the model: an address in use is found before seconds of loading. What comes
     * to it waits until the loop runs. */
    if (status == STATUS_OK && process->node->role == OPTIONS_PREFILL)
        status = door_open(worker);
    if (status == STATUS_OK)
        status = worker_model_open(process, &worker->model);
    if (status == STATUS_OK)
        status = open_role(worker);
    if (status == STATUS_OK)
        status = open_mover(worker);
    if (status == STATUS_OK)
        status = compute_create(process->loop, worker->model.exec, process->crashbox,
                                process->incarnation, on_compute, worker, &worker->compute);
    if (status == STATUS_OK)
        status = loop_timer_create(process->loop, on_tick, worker, &worker->tick);
    if (status == STATUS_OK)
        status = open_routers(worker);
    if (status == STATUS_OK)
        loop_timer_every(worker->tick, WORKER_TICK_MS * NS_PER_MS);
    return status;
}

static void worker_close(struct worker *worker)
{
    worker->leaving = true;
    loop_timer_destroy(worker->tick);
    while (worker->n_dealers > 0)
        dealer_close(worker->dealers[worker->n_dealers - 1]);
    zsock_close(worker->door);
    compute_destroy(worker->compute);
    /* The fence of every pair: after it nothing lands in the pool, which may go. */
    loop_source_remove(worker->mover_source);
    kvt_ucx_destroy(worker->mover);
    if (worker->role.ops)
        worker->role.ops->destroy(worker->role.self);
    arena_destroy(worker->arena);
    worker_model_close(&worker->model);
    mem_free(worker);
}

enum exit_code worker_run(struct process *process)
{
    struct worker *worker = mem_alloc_zero(1, sizeof(*worker));
    enum status status;

    if (!worker)
        return EXIT_FATAL;
    worker->process = process;
    process->on_drain = on_drain;
    process->ctx = worker;
    process->exit_code = EXIT_FATAL;
    status = worker_open(worker);
    if (status != STATUS_OK) {
        LOG_ERROR("node", "cannot start", log_str("node", process->node->name), log_status(status));
        worker_close(worker);
        return process->exit_code;
    }
    process->exit_code = EXIT_DONE;
    LOG_INFO("node", "started", log_str("node", process->node->name),
             log_str("role", fleet_role_name(process->node->role)),
             log_hex("incarnation", process->incarnation), log_str("endpoint", worker->reach));
    process_say("listening peers=%s", worker->reach[0] ? worker->reach : "-");
    process_run(process);
    worker_close(worker);
    return process->exit_code;
}
