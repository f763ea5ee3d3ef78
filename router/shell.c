/* The router's sockets and loop. What one turn brings goes into the core message by message; what
 * the core posts is sent by the before-sleep hook, so that the tokens of one turn share it. */
#include "router/shell.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "router/access.h"
#include "router/clerk.h"
#include "router/meters.h"
#include "router/readings.h"

#define SHELL_TICK_MS 25u
#define SHELL_ARENA_BYTES (64u << 20)  /* arrays of one decoded message */
#define SHELL_NODE_QUEUE_MAX 100000u   /* messages to one node; over it the session is over */
#define SHELL_CLIENT_QUEUE_MAX 100000u /* messages to one client; over it it reads too slowly */
#define SHELL_CLIENT_UNREAD_MAX 16u    /* of one client, each up to 8 MiB; more waits at its side */
#define SHELL_LINGER_MS 1000u          /* the last answers, after a drain */
#define SHELL_RETRY_MS 1000u
#define SHELL_HEARTBEAT_MS 2000u /* ZMTP pings: a client whose machine is gone */

struct shell_door {
    struct router_shell *shell;
    enum router_door door;
    struct zsock *sock;
    char endpoint[ZSOCK_ENDPOINT_MAX];
    uint64_t n_malformed;
};

struct router_shell {
    struct router_shell_cfg cfg;
    struct loop *loop;
    struct router *core;
    struct shell_door doors[2]; /* by enum router_door */
    struct loop_timer *tick;
    struct loop_timer *stats;
    struct arena *arena;
    struct clerk *clerk;
    struct readings *readings;
    struct prompt_reader reader;
    struct http_door *http; /* NULL: none */
    struct router_watch watch;
    struct meters *meters;
    struct router_counts told; /* by the last line of counts */
    bool hooked;
    bool ready;
    bool draining;
    bool idle_told;
};

/* ---- sending ---- */

/* Sends one message. A link that does not take it is gone for socket and core alike: what follows
 * would arrive with a gap. */
static void send_item(struct router_shell *shell, struct wire_out_item item)
{
    struct shell_door *door = &shell->doors[ROUTER_DOOR_NODE];
    const uint32_t link = item.link;
    enum status status;

    if (shell->http && http_door_take(shell->http, link, item.bytes, item.len))
        return;
    if (!zsock_has(door->sock, link))
        door = &shell->doors[ROUTER_DOOR_CLIENT];
    if (!zsock_has(door->sock, link))
        return; /* gone since it was posted, and the core was told */
    status = zsock_send(door->sock, link, item.bytes, item.len);
    if (status == STATUS_OK)
        return;
    LOG_WARN("router", "a link is given up",
             log_str("door", door->door == ROUTER_DOOR_NODE ? "nodes" : "clients"),
             log_u64("link", link), log_status(status));
    zsock_drop(door->sock, link);
    router_link_down(shell->core, door->door, link, loop_now_ns(shell->loop));
}

/* What the core wants sent; it may want more at each link that is found gone. */
static void flush(struct router_shell *shell)
{
    struct wire_out *out = router_out(shell->core);
    bool ready;

    for (size_t i = 0; i < wire_out_count(out); i++)
        send_item(shell, wire_out_at(out, i));
    router_clear(shell->core);
    ready = router_ready(shell->core);
    if (ready != shell->ready) {
        shell->ready = ready;
        if (shell->cfg.on_ready)
            shell->cfg.on_ready(shell->cfg.ctx, ready);
    }
    if (shell->draining && !shell->idle_told && router_idle(shell->core) &&
        clerk_n_jobs(shell->clerk) == 0 && !(shell->http && http_door_busy(shell->http))) {
        shell->idle_told = true;
        if (shell->cfg.on_idle)
            shell->cfg.on_idle(shell->cfg.ctx);
    }
}

static void on_sleep(void *ctx)
{
    flush(ctx);
}

/* ---- receiving ---- */

static void on_up(void *ctx, uint32_t link)
{
    (void)ctx; /* the core learns of a link by its first message */
    (void)link;
}

static void on_down(void *ctx, uint32_t link)
{
    struct shell_door *door = ctx;

    router_link_down(door->shell->core, door->door, link, loop_now_ns(door->shell->loop));
}

/* Says to a client what was wrong with its message. Nodes run our own code: theirs is logged. */
static void answer_malformed(struct shell_door *door, uint32_t link, enum status status,
                             const char *why)
{
    uint8_t bytes[WIRE_ERROR_MAX + 256];
    struct wire_msg msg;
    size_t len;

    door->n_malformed++;
    LOG_WARN("router", "a malformed message was dropped",
             log_str("door", door->door == ROUTER_DOOR_NODE ? "nodes" : "clients"),
             log_u64("link", link), log_str("why", why));
    if (door->door == ROUTER_DOOR_NODE)
        return;
    wire_msg_init(&msg, WIRE_KIND_FAILED);
    msg.from = door->shell->cfg.core.self;
    msg.failed.code = status;
    msg.failed.text = wire_span_of(why);
    if (wire_msg_encode(&msg, bytes, sizeof(bytes), &len) == STATUS_OK)
        (void)zsock_send(door->sock, link, bytes, len);
}

/* ---- watching ---- */

/* Its key's place, or SIZE_MAX. What is no link of HTTP's is one of ZeroMQ's, or was. */
static size_t who_of(const struct router_shell *shell, uint32_t link, const char *label,
                     struct access_who *out)
{
    size_t key = SIZE_MAX;

    if (!shell->http || !http_door_who(shell->http, link, out, &key)) {
        out->door = "zmq";
        out->api = "generate";
        out->key = "";
        out->label = label;
        out->trace = "";
    }
    return key;
}

static void on_first(void *ctx, uint64_t after_ns, uint32_t n_prompt)
{
    meters_first(((struct router_shell *)ctx)->meters, after_ns, n_prompt);
}

static void on_token(void *ctx, uint64_t after_ns)
{
    meters_token(((struct router_shell *)ctx)->meters, after_ns);
}

static void on_over(void *ctx, const struct router_over *over)
{
    struct router_shell *shell = ctx;
    struct access_who who;
    const size_t key = who_of(shell, over->link, over->label, &who);

    meters_over(shell->meters, over, key);
    if (shell->cfg.access_log)
        access_over(&who, shell->cfg.core.model, over);
}

static void on_refused(void *ctx, uint32_t link, struct wire_span label, enum status code,
                       const char *why)
{
    struct router_shell *shell = ctx;
    char text[WIRE_NAME_MAX + 1];
    struct access_who who;

    snprintf(text, sizeof(text), "%.*s", (int)label.len, label.at);
    (void)who_of(shell, link, text, &who);
    if (shell->cfg.access_log)
        access_refused(&who, shell->cfg.core.model, code, why);
}

/* ---- texts ---- */

static void refuse(struct router_shell *shell, uint32_t link, const struct wire_msg *about,
                   enum status code, uint32_t retry_ms, const char *why)
{
    uint8_t bytes[2 * WIRE_ERROR_MAX + 256];
    struct wire_msg msg;
    size_t len;

    meters_refused(shell->meters);
    on_refused(shell, link, about->generate.label, code, why);
    wire_msg_init(&msg, WIRE_KIND_FAILED);
    msg.from = shell->cfg.core.self;
    msg.failed.label = about->generate.label;
    msg.failed.code = code;
    msg.failed.text = wire_span_of(why);
    msg.failed.retry_ms = retry_ms;
    if (wire_msg_encode(&msg, bytes, sizeof(bytes), &len) == STATUS_OK)
        (void)zsock_send(shell->doors[ROUTER_DOOR_CLIENT].sock, link, bytes, len);
}

/* The client may have gone meanwhile. */
static void on_read(void *ctx, uint32_t link, const struct wire_msg *msg, enum status status,
                    const char *why)
{
    struct router_shell *shell = ctx;

    if (!zsock_has(shell->doors[ROUTER_DOOR_CLIENT].sock, link))
        return;
    if (status != STATUS_OK)
        refuse(shell, link, msg, status, 0, why);
    else
        router_message(shell->core, ROUTER_DOOR_CLIENT, link, msg, loop_now_ns(shell->loop));
}

/* A request with text goes through the clerk first; as many wait for it as may wait for a node. */
static void read_first(struct router_shell *shell, uint32_t link, const struct wire_msg *msg,
                       const void *bytes, size_t len)
{
    const int64_t now_s =
        (int64_t)(loop_now_ns(shell->loop) / NS_PER_S) + shell->cfg.core.unix_offset_s;

    if (clerk_n_jobs(shell->clerk) >= shell->cfg.core.queue_max)
        refuse(shell, link, msg, STATUS_FULL, SHELL_RETRY_MS,
               "too many texts wait to be read: try again later");
    else if (readings_post(shell->readings, link, bytes, len, now_s) != STATUS_OK)
        refuse(shell, link, msg, STATUS_NO_MEMORY, SHELL_RETRY_MS, "the router is out of memory");
}

static void on_message(void *ctx, uint32_t link, const void *bytes, size_t len)
{
    struct shell_door *door = ctx;
    struct router_shell *shell = door->shell;
    const char *why = "out of memory";
    struct wire_msg msg;
    enum status status;

    arena_reset(shell->arena);
    status = wire_msg_decode(bytes, len, shell->arena, &msg, &why);
    if (status != STATUS_OK)
        answer_malformed(door, link, status, why);
    else if (door->door == ROUTER_DOOR_CLIENT && msg.kind == WIRE_KIND_GENERATE &&
             msg.generate.tokens.n == 0)
        read_first(shell, link, &msg, bytes, len);
    else
        router_message(shell->core, door->door, link, &msg, loop_now_ns(shell->loop));
}

/* ---- time ---- */

static void on_tick(void *ctx)
{
    struct router_shell *shell = ctx;

    router_tick(shell->core, loop_now_ns(shell->loop));
}

static void on_stats(void *ctx)
{
    struct router_shell *shell = ctx;
    struct router_counts now;

    router_counts(shell->core, &now);
    if (memcmp(&now, &shell->told, sizeof(now)) == 0)
        return;
    LOG_INFO("router", "counts", log_u64("nodes_ready", now.nodes_ready),
             log_u64("requests", now.requests), log_u64("queued", now.queued),
             log_u64("admitted", now.admitted), log_u64("refused", now.refused),
             log_u64("done", now.done), log_u64("failed", now.failed),
             log_u64("cancelled", now.cancelled), log_u64("tokens", now.tokens),
             log_u64("resubmitted", now.resubmitted), log_u64("rereserved", now.rereserved),
             log_u64("nodes_lost", now.nodes_lost));
    shell->told = now;
}

/* ---- life ---- */

static enum status door_open(struct router_shell *shell, enum router_door which,
                             const char *endpoint, char why[ROUTER_SHELL_WHY_MAX])
{
    const bool is_node = which == ROUTER_DOOR_NODE;
    struct shell_door *door = &shell->doors[which];
    const struct zsock_cfg cfg = {
        .type = ZSOCK_ROUTER,
        .name = is_node ? "nodes" : "clients",
        .numbers = shell->cfg.numbers,
        .queue_max = is_node ? SHELL_NODE_QUEUE_MAX : SHELL_CLIENT_QUEUE_MAX,
        .unread_max = is_node ? 0 : SHELL_CLIENT_UNREAD_MAX,
        .bytes_max = WIRE_CONTROL_BYTES_MAX,
        .links_max = is_node ? shell->cfg.core.nodes_max + 64 : shell->cfg.clients_max,
        .linger_ms = SHELL_LINGER_MS,
        .heartbeat_ms = SHELL_HEARTBEAT_MS,
        .own = shell->cfg.own,
        .domain = is_node ? "nodes" : "clients",
    };
    const struct zsock_handler handler = {
        .up = on_up, .down = on_down, .message = on_message, .ctx = door};
    char reason[ZSOCK_WHY_MAX];
    enum status status;

    door->shell = shell;
    door->door = which;
    status = zsock_open(shell->cfg.zctx, &cfg, shell->loop, &handler, &door->sock);
    if (status != STATUS_OK) {
        snprintf(why, ROUTER_SHELL_WHY_MAX, "no socket for %s: %s", cfg.name, status_text(status));
        return status;
    }
    status = zsock_bind(door->sock, endpoint, door->endpoint, reason);
    if (status != STATUS_OK)
        snprintf(why, ROUTER_SHELL_WHY_MAX, "%s", reason);
    return status;
}

static enum status http_open(struct router_shell *shell, char why[ROUTER_SHELL_WHY_MAX])
{
    struct http_door_cfg cfg = shell->cfg.http;

    cfg.reader = &shell->reader;
    cfg.model = shell->cfg.core.model;
    cfg.version = shell->cfg.core.server;
    cfg.calls_max = shell->cfg.core.queue_max;
    cfg.numbers = shell->cfg.numbers;
    cfg.unix_offset_s = shell->cfg.core.unix_offset_s;
    cfg.meters = shell->meters;
    cfg.access_log = shell->cfg.access_log;
    return http_door_open(&cfg, shell->loop, shell->core, shell->clerk, &shell->http, why);
}

static enum status watch_init(struct router_shell *shell)
{
    const struct meters_cfg cfg = {.model = shell->cfg.core.model,
                                   .version = shell->cfg.core.server,
                                   .keys = shell->cfg.http.keys,
                                   .n_keys = shell->cfg.http.n_keys};

    shell->watch = (struct router_watch){
        .first = on_first, .token = on_token, .over = on_over, .refused = on_refused, .ctx = shell};
    shell->cfg.core.watch = &shell->watch;
    return meters_create(&cfg, &shell->meters);
}

static enum status shell_init(struct router_shell *shell, char why[ROUTER_SHELL_WHY_MAX])
{
    const char *core_why = "out of memory";
    enum status status = watch_init(shell);

    if (status == STATUS_OK)
        status = router_create(&shell->cfg.core, &shell->core, &core_why);
    if (status != STATUS_OK) {
        snprintf(why, ROUTER_SHELL_WHY_MAX, "%s", core_why);
        return status;
    }
    snprintf(why, ROUTER_SHELL_WHY_MAX, "out of memory");
    if ((status = arena_create(64 * 1024, SHELL_ARENA_BYTES, &shell->arena)) != STATUS_OK ||
        (status = clerk_create(shell->loop, &shell->clerk)) != STATUS_OK ||
        (status = readings_create(shell->clerk, &shell->reader, on_read, shell,
                                  &shell->readings)) != STATUS_OK ||
        (status = loop_timer_create(shell->loop, on_tick, shell, &shell->tick)) != STATUS_OK ||
        (status = loop_timer_create(shell->loop, on_stats, shell, &shell->stats)) != STATUS_OK ||
        (status = loop_hook_add(shell->loop, on_sleep, shell)) != STATUS_OK)
        return status;
    shell->hooked = true;
    status = door_open(shell, ROUTER_DOOR_NODE, shell->cfg.nodes, why);
    if (status == STATUS_OK)
        status = door_open(shell, ROUTER_DOOR_CLIENT, shell->cfg.clients, why);
    if (status == STATUS_OK && shell->cfg.http.address)
        status = http_open(shell, why);
    return status;
}

enum status router_shell_open(const struct router_shell_cfg *cfg, struct loop *loop,
                              struct router_shell **out, char why[ROUTER_SHELL_WHY_MAX])
{
    struct router_shell *shell = mem_alloc_zero(1, sizeof(*shell));
    enum status status;

    snprintf(why, ROUTER_SHELL_WHY_MAX, "out of memory");
    if (!shell)
        return STATUS_NO_MEMORY;
    shell->cfg = *cfg;
    shell->cfg.core.unix_offset_s = (int64_t)time(NULL) - (int64_t)(loop_now_ns(loop) / NS_PER_S);
    shell->reader = router_reader(&shell->cfg.core);
    shell->loop = loop;
    status = shell_init(shell, why);
    if (status != STATUS_OK) {
        router_shell_close(shell);
        return status;
    }
    loop_timer_every(shell->tick, SHELL_TICK_MS * NS_PER_MS);
    if (cfg->stats_ms > 0)
        loop_timer_every(shell->stats, cfg->stats_ms * NS_PER_MS);
    *out = shell;
    return STATUS_OK;
}

void router_shell_close(struct router_shell *shell)
{
    if (!shell)
        return;
    if (shell->hooked)
        loop_hook_remove(shell->loop, on_sleep, shell);
    loop_timer_destroy(shell->tick);
    loop_timer_destroy(shell->stats);
    for (size_t i = 0; i < 2; i++)
        zsock_close(shell->doors[i].sock);
    clerk_destroy(shell->clerk);
    http_door_close(shell->http);
    readings_destroy(shell->readings);
    arena_destroy(shell->arena);
    router_destroy(shell->core);
    meters_destroy(shell->meters);
    mem_free(shell);
}

void router_shell_drain(struct router_shell *shell)
{
    shell->draining = true;
    router_drain(shell->core);
    if (shell->http)
        http_door_drain(shell->http);
}

const char *router_shell_nodes(const struct router_shell *shell)
{
    return shell->doors[ROUTER_DOOR_NODE].endpoint;
}

const char *router_shell_clients(const struct router_shell *shell)
{
    return shell->doors[ROUTER_DOOR_CLIENT].endpoint;
}

const char *router_shell_http(const struct router_shell *shell)
{
    return shell->http ? http_door_endpoint(shell->http) : "";
}
