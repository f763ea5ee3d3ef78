/* Makes a socket: every option on purpose, keys, monitor, the loop's sources; and binds, connects
 * and closes it. */
#include "wire/zsock_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

/* Connections that the kernel may hold before libzmq accepts them. */
#define BACKLOG 1024
/* A handshake that takes longer is given up; a connect attempt too. */
#define HANDSHAKE_MS 5000
/* A peer that answers no ping for so many periods is gone. */
#define HEARTBEATS_MISSED 5
#define RECONNECT_GROWTH 10
/* libzmq reconnects by itself after a break, but gives up for ever after what it takes for an error
 * of protocol: a refused key, a message over the limit, something else behind the port. */
#define RETRY_MS 1000

struct option {
    int name;
    int value;
};

static int set_ints(void *handle, const struct option *options, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (zmq_setsockopt(handle, options[i].name, &options[i].value, sizeof(int)) != 0) {
            return -1;
        }
    }
    return 0;
}

static int set_common(void *handle, const struct zsock_cfg *cfg)
{
    const struct option options[] = {
        {ZMQ_SNDHWM, (int)cfg->queue_max},
        {ZMQ_RCVHWM, (int)(cfg->unread_max > 0 ? cfg->unread_max : cfg->queue_max)},
        {ZMQ_LINGER, (int)cfg->linger_ms},
        {ZMQ_IMMEDIATE, 1}, /* nothing queues for a connection that does not stand */
        {ZMQ_CONFLATE, 0},
        {ZMQ_BACKLOG, BACKLOG},
        {ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS},
        {ZMQ_CONNECT_TIMEOUT, HANDSHAKE_MS},
        {ZMQ_RECONNECT_IVL, (int)cfg->reconnect_ms},
        {ZMQ_RECONNECT_IVL_MAX, (int)(cfg->reconnect_ms * RECONNECT_GROWTH)},
        {ZMQ_HEARTBEAT_IVL, (int)cfg->heartbeat_ms},
        {ZMQ_HEARTBEAT_TIMEOUT, (int)(cfg->heartbeat_ms * HEARTBEATS_MISSED)},
        {ZMQ_HEARTBEAT_TTL, (int)(cfg->heartbeat_ms * HEARTBEATS_MISSED)},
        {ZMQ_TCP_KEEPALIVE, 0}, /* it notices neither a frozen process nor a slow one */
    };
    int64_t bytes_max = cfg->bytes_max;
    if (zmq_setsockopt(handle, ZMQ_MAXMSGSIZE, &bytes_max, sizeof(bytes_max)) != 0) {
        return -1;
    }
    return set_ints(handle, options, sizeof(options) / sizeof(options[0]));
}

static int set_type(void *handle, const struct zsock_cfg *cfg)
{
    const struct option router[] = {
        {ZMQ_ROUTER_MANDATORY, 1}, /* a send to nobody fails instead of vanishing */
        {ZMQ_ROUTER_HANDOVER, 0},  /* a routing id cannot be taken from its owner */
        {ZMQ_ROUTER_RAW, 0},
        {ZMQ_PROBE_ROUTER, 0},
    };
    const struct option dealer[] = {{ZMQ_PROBE_ROUTER, 0}};
    return cfg->type == ZSOCK_ROUTER ? set_ints(handle, router, sizeof(router) / sizeof(router[0]))
                                     : set_ints(handle, dealer, 1);
}

static int set_key(void *handle, int option, const char *z85)
{
    return zmq_setsockopt(handle, option, z85, KEYS_Z85_LEN + 1);
}

static int set_keys(void *handle, const struct zsock_cfg *cfg)
{
    if (!cfg->own) {
        return 0;
    }
    if (cfg->type == ZSOCK_DEALER) {
        return set_key(handle, ZMQ_CURVE_SERVERKEY, cfg->server_key) ||
               set_key(handle, ZMQ_CURVE_PUBLICKEY, cfg->own->public_key) ||
               set_key(handle, ZMQ_CURVE_SECRETKEY, cfg->own->secret_key);
    }
    const struct option server[] = {{ZMQ_CURVE_SERVER, 1}};
    return set_ints(handle, server, 1) ||
           set_key(handle, ZMQ_CURVE_SECRETKEY, cfg->own->secret_key) ||
           zmq_setsockopt(handle, ZMQ_ZAP_DOMAIN, cfg->domain, strlen(cfg->domain));
}

static bool cfg_valid(const struct zctx *ctx, const struct zsock_cfg *cfg)
{
    bool sizes = cfg->queue_max > 0 && cfg->queue_max < INT32_MAX && cfg->bytes_max > 0 &&
                 cfg->unread_max <= cfg->queue_max && cfg->linger_ms <= 60000 &&
                 cfg->heartbeat_ms <= 60000 && cfg->numbers;
    bool router = cfg->type == ZSOCK_ROUTER && cfg->links_max > 0 &&
                  (!cfg->own || (zctx_guarded(ctx) && cfg->domain && cfg->domain[0]));
    bool dealer = cfg->type == ZSOCK_DEALER && cfg->reconnect_ms > 0 &&
                  cfg->reconnect_ms <= 60000 &&
                  (!cfg->own || (cfg->server_key && keys_valid(cfg->server_key)));
    return sizes && (router || dealer);
}

static enum status add_source(struct zsock *sock, struct loop *loop, void *handle,
                              bool (*drain)(void *ctx), bool (*arm)(void *ctx),
                              struct loop_source **out)
{
    int fd = -1;
    size_t len = sizeof(fd);
    if (zmq_getsockopt(handle, ZMQ_FD, &fd, &len) != 0) {
        return STATUS_IO;
    }
    const struct loop_source_desc desc = {
        .name = sock->name, .fd = fd, .drain = drain, .arm = arm, .ctx = sock, .budget = 256};
    return loop_source_add(loop, &desc, out);
}

static enum status sock_setup(struct zsock *sock, struct zctx *ctx, const struct zsock_cfg *cfg,
                              struct loop *loop)
{
    if (cfg->type == ZSOCK_ROUTER) {
        enum status status = zlink_create(cfg->links_max, cfg->numbers, &sock->links);
        if (status != STATUS_OK) {
            return status;
        }
    }
    sock->handle =
        zmq_socket(zctx_handle(ctx), cfg->type == ZSOCK_ROUTER ? ZMQ_ROUTER : ZMQ_DEALER);
    if (!sock->handle || set_common(sock->handle, cfg) || set_type(sock->handle, cfg) ||
        set_keys(sock->handle, cfg)) {
        LOG_ERROR("zmq", "cannot make a socket", log_str("socket", cfg->name),
                  log_str("error", zmq_strerror(zmq_errno())));
        return STATUS_IO;
    }
    enum status status = zsock_monitor_open(sock, ctx);
    if (status == STATUS_OK && !sock->links) {
        status = loop_timer_create(loop, zsock_retry, sock, &sock->retry);
    }
    if (status == STATUS_OK) {
        status = add_source(sock, loop, sock->monitor, zsock_monitor_drain, zsock_monitor_arm,
                            &sock->monitor_source);
    }
    if (status == STATUS_OK) {
        status = add_source(sock, loop, sock->handle, zsock_drain, zsock_arm, &sock->source);
    }
    return status;
}

enum status zsock_open(struct zctx *ctx, const struct zsock_cfg *cfg, struct loop *loop,
                       const struct zsock_handler *handler, struct zsock **out)
{
    CHECK(handler->up && handler->down && handler->message);
    if (!cfg_valid(ctx, cfg)) {
        LOG_ERROR("zmq",
                  "a socket's configuration is incomplete or over a limit, or it has keys and "
                  "there is no allow-list",
                  log_str("socket", cfg->name));
        return STATUS_INVALID;
    }
    struct zsock *sock = mem_alloc_zero(1, sizeof(*sock));
    if (!sock) {
        return STATUS_NO_MEMORY;
    }
    sock->handler = *handler;
    sock->name = cfg->name;
    sock->numbers = cfg->numbers;
    sock->bytes_max = cfg->bytes_max;
    sock->loop = loop;
    enum status status = sock_setup(sock, ctx, cfg, loop);
    if (status != STATUS_OK) {
        zsock_finish(sock);
        return status;
    }
    *out = sock;
    return STATUS_OK;
}

void zsock_finish(struct zsock *sock)
{
    loop_timer_destroy(sock->retry);
    loop_source_remove(sock->source);
    loop_source_remove(sock->monitor_source);
    if (sock->handle) {
        zsock_monitor_close(sock);
        zmq_close(sock->handle);
    }
    zlink_destroy(sock->links);
    mem_free(sock);
}

void zsock_close(struct zsock *sock)
{
    if (!sock) {
        return;
    }
    sock->closing = true;
    if (sock->depth == 0) {
        zsock_finish(sock);
    }
}

/* IPv6 by need: a socket that speaks both would also listen on both. */
static void set_ipv6(struct zsock *sock, const char *endpoint)
{
    int ipv6 = strchr(endpoint, '[') != NULL;
    CHECK(zmq_setsockopt(sock->handle, ZMQ_IPV6, &ipv6, sizeof(ipv6)) == 0);
}

static enum status explain(int error, const char *verb, const char *endpoint, char *why)
{
    switch (error) {
    case EADDRINUSE:
        snprintf(why, ZSOCK_WHY_MAX,
                 "Cannot %s %s: the address is in use. Stop the other program or choose another "
                 "port.",
                 verb, endpoint);
        return STATUS_EXISTS;
    case EACCES:
        snprintf(why, ZSOCK_WHY_MAX,
                 "Cannot %s %s: not permitted. Choose a port above 1023 or a path of your own.",
                 verb, endpoint);
        return STATUS_IO;
    case EINVAL:
    case EPROTONOSUPPORT:
    case ENOCOMPATPROTO:
    case EADDRNOTAVAIL:
    case ENODEV:
        snprintf(why, ZSOCK_WHY_MAX,
                 "Cannot %s %s: expected an endpoint such as tcp://127.0.0.1:5555, of this machine "
                 "where it is bound (%s).",
                 verb, endpoint, zmq_strerror(error));
        return STATUS_INVALID;
    default:
        snprintf(why, ZSOCK_WHY_MAX, "Cannot %s %s: %s.", verb, endpoint, zmq_strerror(error));
        return STATUS_IO;
    }
}

/* libzmq takes tcp://127.0.0.1:99999 and listens on 34463. */
static bool port_valid(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    if (strncmp(endpoint, "tcp://", 6) != 0 || (colon && strcmp(colon, ":*") == 0)) {
        return true;
    }
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    return digits >= 1 && digits <= 5 && colon[1 + digits] == '\0' && atoi(colon + 1) <= 65535;
}

enum status zsock_bind(struct zsock *sock, const char *endpoint,
                       char endpoint_out[ZSOCK_ENDPOINT_MAX], char why[ZSOCK_WHY_MAX])
{
    CHECK(sock->links);
    if (!port_valid(endpoint)) {
        return explain(EINVAL, "bind", endpoint, why);
    }
    set_ipv6(sock, endpoint);
    char real[ZSOCK_ENDPOINT_MAX];
    size_t len = sizeof(real);
    if (zmq_bind(sock->handle, endpoint) != 0) {
        return explain(zmq_errno(), "bind", endpoint, why);
    }
    if (zmq_getsockopt(sock->handle, ZMQ_LAST_ENDPOINT, real, &len) != 0) {
        return explain(zmq_errno(), "bind", endpoint, why);
    }
    memcpy(endpoint_out, real, len);
    loop_touch(sock->source);
    return STATUS_OK;
}

enum status zsock_connect(struct zsock *sock, const char *endpoint, char why[ZSOCK_WHY_MAX])
{
    CHECK(!sock->links);
    size_t len = strlen(endpoint);
    if (!port_valid(endpoint) || len >= sizeof(sock->endpoint) || sock->endpoint[0]) {
        return explain(EINVAL, "connect to", endpoint, why);
    }
    set_ipv6(sock, endpoint);
    if (zmq_connect(sock->handle, endpoint) != 0) {
        return explain(zmq_errno(), "connect to", endpoint, why);
    }
    memcpy(sock->endpoint, endpoint, len + 1);
    loop_timer_every(sock->retry, RETRY_MS * NS_PER_MS);
    loop_touch(sock->source);
    return STATUS_OK;
}

void zsock_retry(void *ctx)
{
    struct zsock *sock = ctx;
    zsock_enter(sock);
    while (!sock->closing && zsock_monitor_drain(sock)) {
    }
    if (!zsock_leave(sock) || sock->number != 0) {
        return;
    }
    if (sock->handshake_ns &&
        loop_now_ns(sock->loop) < sock->handshake_ns + HANDSHAKE_MS * NS_PER_MS) {
        return; /* libzmq is at it */
    }
    /* Whether libzmq still has the old attempt or not, afterwards there is exactly one. */
    if (zmq_disconnect(sock->handle, sock->endpoint) != 0 && zmq_errno() != ENOENT) {
        LOG_WARN("zmq", "cannot give up an attempt", log_str("socket", sock->name),
                 log_str("error", zmq_strerror(zmq_errno())));
    }
    if (zmq_connect(sock->handle, sock->endpoint) != 0) {
        LOG_WARN("zmq", "cannot connect", log_str("socket", sock->name),
                 log_str("endpoint", sock->endpoint), log_str("error", zmq_strerror(zmq_errno())));
    }
    loop_touch(sock->source);
}
