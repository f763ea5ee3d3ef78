/* A ZeroMQ socket with every option set on purpose, in the terms of the cores: links with numbers
 * that come up, carry single messages, and go down. Default sockets drop silently; this one never
 * does: a message is sent, or its sender learns that it was not.
 *
 * A ROUTER (always bound) has a link for each peer that has spoken. A DEALER (always connected, to
 * one endpoint) has one link while its handshake stands, and a new number after each reconnect.
 * Everything belongs to the loop's thread it is attached to. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/status.h"
#include "wire/keys.h"
#include "wire/zctx.h"

#define ZSOCK_ENDPOINT_MAX 256
#define ZSOCK_WHY_MAX 320

struct zsock;

enum zsock_type { ZSOCK_ROUTER, ZSOCK_DEALER };

struct zsock_cfg {
    enum zsock_type type;
    const char *name;       /* constant text, for the log and the loop */
    uint32_t *numbers;      /* the process's counter of link numbers */
    uint32_t queue_max;     /* messages, each way, for each peer */
    uint32_t unread_max;    /* of these, ways in; 0: queue_max. Times bytes_max is memory */
    uint32_t bytes_max;     /* of one message; a peer that sends more is cut off */
    uint32_t links_max;     /* of a ROUTER; the longest quiet makes room */
    uint32_t linger_ms;     /* how long close may go on sending */
    uint32_t reconnect_ms;  /* of a DEALER: first pause, doubled up to ten times that */
    uint32_t heartbeat_ms;  /* ZMTP pings, so that a vanished host is noticed at all; 0: none */
    const struct keys *own; /* CURVE, or NULL: plain */
    const char *server_key; /* of a DEALER with keys: the other side's public key (Z85) */
    /* Of a ROUTER with keys: the allow-list's domain (zap.h). The allow-list must be open in this
     * context, and is closed after the socket: without one libzmq lets everybody in. */
    const char *domain;
};

/* What happens on the socket, called from the loop. Any of them may send, and may close the socket.
 * Bytes are good until the call returns. */
struct zsock_handler {
    void (*up)(void *ctx, uint32_t link);
    /* The connection broke, or made room. Not called for a link that a send found UNREACHABLE, nor
     * by zsock_close. */
    void (*down)(void *ctx, uint32_t link);
    void (*message)(void *ctx, uint32_t link, const void *bytes, size_t len);
    /* DEALER: the other side refused the handshake (keys); tried again for ever. May be NULL. */
    void (*refused)(void *ctx, const char *why);
    void *ctx;
};

/* Opens and attaches to the loop. INVALID with a logged sentence; NO_MEMORY; IO. */
enum status zsock_open(struct zctx *ctx, const struct zsock_cfg *cfg, struct loop *loop,
                       const struct zsock_handler *handler, struct zsock **out);
/* NULL is nothing. */
void zsock_close(struct zsock *sock);

/* Binds a ROUTER; port 0 or * takes a free one. *endpoint_out is the real endpoint. INVALID,
 * EXISTS (in use) or IO, and then `why` is a sentence for the user. */
enum status zsock_bind(struct zsock *sock, const char *endpoint,
                       char endpoint_out[ZSOCK_ENDPOINT_MAX], char why[ZSOCK_WHY_MAX]);
/* Connects a DEALER, once; returns before there is a connection, and goes on trying for ever, also
 * where libzmq gives up (a refused key, a broken peer). INVALID and `why` as above. */
enum status zsock_connect(struct zsock *sock, const char *endpoint, char why[ZSOCK_WHY_MAX]);

/* Sends one message without waiting. AGAIN: that peer's queue is full, nothing was sent.
 * UNREACHABLE: the link is gone, now for the caller too. TOO_BIG: over bytes_max. */
enum status zsock_send(struct zsock *sock, uint32_t link, const void *bytes, size_t len);
/* Whether the link is one of this socket's. */
bool zsock_has(const struct zsock *sock, uint32_t link);
/* Forgets a link of a ROUTER; if the peer speaks again, it comes up under a new number. */
void zsock_drop(struct zsock *sock, uint32_t link);
/* The peer's public key (Z85) as the allow-list has it, "" on a plain socket or unknown link. */
const char *zsock_user(const struct zsock *sock, uint32_t link);
size_t zsock_n_links(const struct zsock *sock);

/* Whether it is right to bind there: OK on loopback, with keys, or when the user said --insecure;
 * else DENIED, and `why` says what to do. */
enum status zsock_check_exposure(const char *endpoint, bool has_keys, bool insecure,
                                 char why[ZSOCK_WHY_MAX]);
