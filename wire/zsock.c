/* The socket itself: receiving on the loop, links coming up and going down, sending. How it is set
 * up is in zsock_open.c, what its monitor says is in zsock_monitor.c.
 *
 * A ROUTER is told of a broken connection only by its descriptor's number, which the system uses
 * again at once. libzmq reports the break before it closes the descriptor, so whoever reads the
 * monitor before it believes in a new routing id cannot mistake one connection for another. */
#include "wire/zsock_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <zmq.h>

#include "base/check.h"
#include "base/log.h"

/* ---- links ---------------------------------------------------------------------------------- */

/* Handlers may close the socket; it then ends when the outermost call is done with it. */
void zsock_enter(struct zsock *sock)
{
    sock->depth++;
}

bool zsock_leave(struct zsock *sock)
{
    if (--sock->depth > 0 || !sock->closing) {
        return !sock->closing;
    }
    zsock_finish(sock);
    return false;
}

void zsock_link_down(struct zsock *sock, uint32_t number)
{
    sock->handler.down(sock->handler.ctx, number);
}

static uint32_t router_link_add(struct zsock *sock, const void *bytes, size_t len, int fd,
                                const char *user)
{
    struct zlink *link;
    uint32_t evicted;
    if (zlink_add(sock->links, bytes, len, fd, user ? user : "", &link, &evicted) != STATUS_OK) {
        LOG_ERROR("zmq", "no more link numbers: restart this process",
                  log_str("socket", sock->name));
        return 0;
    }
    uint32_t number = link->number;
    if (evicted) {
        LOG_WARN("zmq", "a quiet connection made room", log_str("socket", sock->name),
                 log_u64("links_max", zlink_count(sock->links)));
        zsock_link_down(sock, evicted);
    }
    if (!sock->closing) {
        sock->handler.up(sock->handler.ctx, number);
    }
    return number;
}

/* The link of a message's sender, made if it is new; 0 where the message is to be dropped. */
static uint32_t router_link(struct zsock *sock, zmq_msg_t *id, zmq_msg_t *payload)
{
    const void *bytes = zmq_msg_data(id);
    size_t len = zmq_msg_size(id);
    int fd = zmq_msg_get(payload, ZMQ_SRCFD);
    struct zlink *link = zlink_by_id(sock->links, bytes, len);
    /* libzmq's own ids begin with a zero byte and are new for each connection. An id that the peer
     * chose may come again, even on the same descriptor. */
    bool chosen = *(const uint8_t *)bytes != 0;
    if (!link || link->fd != fd || chosen) {
        while (!sock->closing && zsock_monitor_drain(sock)) {
        }
        link = sock->closing ? NULL : zlink_by_id(sock->links, bytes, len);
    }
    if (link && link->fd == fd) {
        zlink_use(sock->links, link);
        return link->number;
    }
    if (link) { /* the same id on another connection, whose break was not told */
        uint32_t old = link->number;
        zlink_drop(sock->links, link);
        zsock_link_down(sock, old);
    }
    return sock->closing ? 0
                         : router_link_add(sock, bytes, len, fd, zmq_msg_gets(payload, "User-Id"));
}

/* A message while the link is down is of the connection that broke, unless the monitor knows
 * better. */
static uint32_t dealer_link(struct zsock *sock)
{
    while (!sock->closing && sock->number == 0 && zsock_monitor_drain(sock)) {
    }
    return sock->number;
}

/* ---- receiving ------------------------------------------------------------------------------ */

static void drop_rest(struct zsock *sock, zmq_msg_t *part)
{
    LOG_WARN("zmq", "dropped a message of many parts: expected one", log_str("socket", sock->name));
    while (zmq_msg_more(part) && zmq_msg_recv(part, sock->handle, ZMQ_DONTWAIT) >= 0) {
    }
}

static void take_payload(struct zsock *sock, zmq_msg_t *id, zmq_msg_t *payload)
{
    if (zmq_msg_more(payload)) {
        drop_rest(sock, payload);
        return;
    }
    uint32_t number = id ? router_link(sock, id, payload) : dealer_link(sock);
    if (number != 0 && !sock->closing && zsock_has(sock, number)) {
        sock->handler.message(sock->handler.ctx, number, zmq_msg_data(payload),
                              zmq_msg_size(payload));
    }
}

static bool drain_router(struct zsock *sock)
{
    zmq_msg_t id, payload;
    zmq_msg_init(&id);
    zmq_msg_init(&payload);
    bool worked = zmq_msg_recv(&id, sock->handle, ZMQ_DONTWAIT) >= 0;
    /* The parts of a message arrive together, so this one does not wait either. */
    if (worked && zmq_msg_more(&id) && zmq_msg_recv(&payload, sock->handle, ZMQ_DONTWAIT) >= 0) {
        take_payload(sock, &id, &payload);
    }
    zmq_msg_close(&payload);
    zmq_msg_close(&id);
    return worked;
}

static bool drain_dealer(struct zsock *sock)
{
    zmq_msg_t payload;
    zmq_msg_init(&payload);
    bool worked = zmq_msg_recv(&payload, sock->handle, ZMQ_DONTWAIT) >= 0;
    if (worked) {
        take_payload(sock, NULL, &payload);
    }
    zmq_msg_close(&payload);
    return worked;
}

bool zsock_drain(void *ctx)
{
    struct zsock *sock = ctx;
    zsock_enter(sock);
    bool worked = sock->links ? drain_router(sock) : drain_dealer(sock);
    return zsock_leave(sock) && worked;
}

bool zsock_arm(void *ctx)
{
    struct zsock *sock = ctx;
    return !zsock_readable(sock->handle);
}

bool zsock_readable(void *handle)
{
    int events = 0;
    size_t len = sizeof(events);
    return zmq_getsockopt(handle, ZMQ_EVENTS, &events, &len) == 0 && (events & ZMQ_POLLIN);
}

/* ---- sending -------------------------------------------------------------------------------- */

static enum status send_part(struct zsock *sock, const void *bytes, size_t len, int flags)
{
    int n;
    do {
        n = zmq_send(sock->handle, bytes, len, ZMQ_DONTWAIT | flags);
    } while (n < 0 && zmq_errno() == EINTR);
    if (n >= 0) {
        return STATUS_OK;
    }
    switch (zmq_errno()) {
    case EAGAIN:
        return STATUS_AGAIN;
    case EHOSTUNREACH:
        return STATUS_UNREACHABLE;
    default:
        LOG_ERROR("zmq", "cannot send", log_str("socket", sock->name),
                  log_str("error", zmq_strerror(zmq_errno())));
        return STATUS_IO;
    }
}

static enum status send_router(struct zsock *sock, uint32_t number, const void *bytes, size_t len)
{
    struct zlink *link = zlink_by_number(sock->links, number);
    if (!link) {
        return STATUS_UNREACHABLE;
    }
    enum status status = send_part(sock, link->id, link->id_len, ZMQ_SNDMORE);
    if (status == STATUS_OK) {
        /* The id was taken, so there is room for the payload. */
        status = send_part(sock, bytes, len, 0);
        CHECK_MSG(status == STATUS_OK, "libzmq took the routing id but not the payload");
    } else if (status == STATUS_UNREACHABLE) {
        zlink_drop(sock->links, link);
    }
    return status;
}

enum status zsock_send(struct zsock *sock, uint32_t link, const void *bytes, size_t len)
{
    if (len > sock->bytes_max) {
        return STATUS_TOO_BIG;
    }
    if (sock->closing || !zsock_has(sock, link)) {
        return STATUS_UNREACHABLE;
    }
    enum status status =
        sock->links ? send_router(sock, link, bytes, len) : send_part(sock, bytes, len, 0);
    /* The send may have swallowed the announcement of input. */
    loop_touch(sock->source);
    return status;
}

bool zsock_has(const struct zsock *sock, uint32_t link)
{
    return link != 0 &&
           (sock->links ? zlink_by_number(sock->links, link) != NULL : sock->number == link);
}

void zsock_drop(struct zsock *sock, uint32_t link)
{
    struct zlink *entry = sock->links ? zlink_by_number(sock->links, link) : NULL;
    if (entry) {
        zlink_drop(sock->links, entry);
    }
}

const char *zsock_user(const struct zsock *sock, uint32_t link)
{
    const struct zlink *entry = sock->links ? zlink_by_number(sock->links, link) : NULL;
    return entry ? entry->user : "";
}

size_t zsock_n_links(const struct zsock *sock)
{
    return sock->links ? zlink_count(sock->links) : sock->number != 0;
}
