/* Reads what libzmq's I/O thread tells about a socket's connections: handshakes that stood or
 * failed, and breaks. On the loop's thread. */
#include "wire/zsock_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "base/log.h"

#define FAILED                                                                                     \
    (ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |                  \
     ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)

enum status zsock_monitor_open(struct zsock *sock, struct zctx *ctx)
{
    char endpoint[64];
    snprintf(endpoint, sizeof(endpoint), "inproc://zsock-monitor-%" PRIu64, zctx_serial(ctx));
    int events = ZMQ_EVENT_DISCONNECTED | FAILED;
    events |= sock->links ? 0 : ZMQ_EVENT_CONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
    if (zmq_socket_monitor(sock->handle, endpoint, events) != 0) {
        return STATUS_IO;
    }
    sock->monitor = zmq_socket(zctx_handle(ctx), ZMQ_PAIR);
    /* No bound on waiting events: libzmq's I/O thread would block on one, and all sockets with
     * it. The loop reads them each turn. */
    int none = 0;
    if (!sock->monitor || zmq_setsockopt(sock->monitor, ZMQ_RCVHWM, &none, sizeof(none)) ||
        zmq_setsockopt(sock->monitor, ZMQ_LINGER, &none, sizeof(none)) ||
        zmq_connect(sock->monitor, endpoint)) {
        return STATUS_IO;
    }
    return STATUS_OK;
}

void zsock_monitor_close(struct zsock *sock)
{
    zmq_socket_monitor(sock->handle, NULL, 0);
    if (sock->monitor) {
        zmq_close(sock->monitor);
        sock->monitor = NULL;
    }
}

static const char *failure_text(uint16_t event, uint32_t value)
{
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) {
        return value == 400 ? "the server does not allow this public key (status 400)"
                            : "the server refused this key";
    }
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) {
        return value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
                   ? "one side expects keys (CURVE) and the other has none"
                   : "the peer does not speak the handshake that was expected";
    }
    return "the connection broke in the handshake";
}

static void take_failure(struct zsock *sock, uint16_t event, uint32_t value, const char *endpoint)
{
    const char *why = failure_text(event, value);
    LOG_WARN("zmq", "a handshake failed", log_str("socket", sock->name),
             log_str("endpoint", endpoint), log_str("why", why), log_u64("code", value));
    if (!sock->links && sock->handler.refused) {
        sock->handler.refused(sock->handler.ctx, why);
    }
}

static void take_break(struct zsock *sock, uint32_t value)
{
    uint32_t number = sock->number;
    if (sock->links) {
        struct zlink *link = zlink_by_fd(sock->links, (int)value);
        number = link ? link->number : 0;
        if (link) {
            zlink_drop(sock->links, link);
        }
    } else {
        sock->number = 0;
    }
    if (number != 0) {
        zsock_link_down(sock, number);
    }
}

static void take_success(struct zsock *sock)
{
    if (sock->number != 0) { /* its break was not told; the new connection is another link */
        take_break(sock, 0);
    }
    uint32_t number;
    if (sock->closing) {
        return;
    }
    if (zlink_number_next(sock->numbers, &number) != STATUS_OK) {
        LOG_ERROR("zmq", "no more link numbers: restart this process",
                  log_str("socket", sock->name));
        return;
    }
    sock->number = number;
    sock->handler.up(sock->handler.ctx, number);
}

static void take_event(struct zsock *sock, uint16_t event, uint32_t value, const char *endpoint)
{
    sock->handshake_ns = event == ZMQ_EVENT_CONNECTED ? loop_now_ns(sock->loop) : 0;
    if (event & FAILED) {
        take_failure(sock, event, value, endpoint);
    } else if (event == ZMQ_EVENT_DISCONNECTED) {
        take_break(sock, value);
    } else if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
        take_success(sock);
    }
}

/* An event is two parts: number and value in native byte order, then the endpoint. */
bool zsock_monitor_drain(void *ctx)
{
    struct zsock *sock = ctx;
    char head[8], endpoint[ZSOCK_ENDPOINT_MAX];
    int n = zmq_recv(sock->monitor, head, sizeof(head), ZMQ_DONTWAIT);
    if (n < 0) {
        return zmq_errno() == EINTR;
    }
    int len = zmq_recv(sock->monitor, endpoint, sizeof(endpoint) - 1, ZMQ_DONTWAIT);
    if (n != 6 || len < 0) {
        return true;
    }
    endpoint[(size_t)len < sizeof(endpoint) ? (size_t)len : sizeof(endpoint) - 1] = '\0';
    uint16_t event;
    uint32_t value;
    memcpy(&event, head, sizeof(event));
    memcpy(&value, head + sizeof(event), sizeof(value));
    zsock_enter(sock);
    take_event(sock, event, value, endpoint);
    return zsock_leave(sock);
}

bool zsock_monitor_arm(void *ctx)
{
    struct zsock *sock = ctx;
    return !zsock_readable(sock->monitor);
}
