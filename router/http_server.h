/* An HTTP/1.1 server on the loop: connections, limits, answers. It knows nothing of what is asked.
 *
 * libevent's own (evhttp 2.1) is not used: while an answer is being made it does not look at the
 * socket, so that a client who leaves in the middle of a stream costs tokens until a write fails;
 * what it refuses by itself it answers in HTML; and it has no limit on how long a request may
 * dribble in.
 *
 * A connection is READING, ANSWERING, or CLOSING. The handler's `request` answers, at once or
 * later, with one http_reply, or with http_stream_begin, writes and http_stream_end. While it is
 * ANSWERING a client that leaves is told by `gone`, unless the answer was completed before that
 * word: exactly one of http_reply, http_stream_end, http_conn_cut and `gone` ends each request, and
 * after it conn and the request's spans are the server's again. All on the loop's thread; nothing
 * here calls `gone` or frees a connection from within an answer. */
#pragma once

#include "base/loop.h"
#include "router/http_parse.h"

#define HTTP_WHY_MAX 256
#define HTTP_ENDPOINT_MAX 128

struct http_server;
struct http_conn;

struct http_handler {
    void (*request)(void *ctx, struct http_conn *conn, const struct http_request *req);
    /* What came is no request that can be answered: an http_reply with this code must follow at
     * once; the connection ends after it. */
    void (*refused)(void *ctx, struct http_conn *conn, unsigned code, const char *why);
    /* The client left, or was cut, before the answer was complete. The last word about conn. */
    void (*gone)(void *ctx, struct http_conn *conn, const char *why);
    /* The answer is complete, or (499) will never be: once for each request, before `gone`. req is
     * NULL where what came was none. May be NULL. */
    void (*answered)(void *ctx, struct http_conn *conn, const struct http_request *req,
                     unsigned code);
    void *ctx;
};

struct http_server_cfg {
    const char *address; /* "127.0.0.1:8000", "[::1]:8000", "*:8000"; port 0: any */
    size_t body_max;
    uint32_t conns_max;  /* over it a newcomer gets 503 */
    size_t unsent_max;   /* a stream whose reader leaves more than this unread is cut */
    uint32_t head_ms;    /* from a request's first byte to its empty line */
    uint32_t body_ms;    /* from there to the body's last byte */
    uint32_t idle_ms;    /* between requests */
    uint32_t stalled_ms; /* a reader that takes nothing for so long is cut */
};

/* INVALID (an address), EXISTS (in use), DENIED, IO, NO_MEMORY, with a sentence. */
enum status http_server_open(const struct http_server_cfg *cfg, struct loop *loop,
                             const struct http_handler *handler, struct http_server **out,
                             char why[HTTP_WHY_MAX]);
/* Cuts all connections without another word to the handler. NULL is nothing. */
void http_server_close(struct http_server *server);
/* The address with the port that was taken. */
const char *http_server_endpoint(const struct http_server *server);
/* Takes no more connections; those that are idle end, others after their answer. */
void http_server_drain(struct http_server *server);

struct http_server_counts {
    uint64_t accepted, refused, requests, cut;
    uint32_t open;
};
void http_server_counts(const struct http_server *server, struct http_server_counts *out);

/* The handler's own, NULL at each request's start. */
void http_conn_set_user(struct http_conn *conn, void *user);
void *http_conn_user(const struct http_conn *conn);
/* The same of a number, which stays until the request is answered; 0 at each start. */
void http_conn_set_tag(struct http_conn *conn, uint32_t tag);
uint32_t http_conn_tag(const struct http_conn *conn);
/* "127.0.0.1:40312" */
const char *http_conn_peer(const struct http_conn *conn);

/* Headers beside those that the server writes: "Name: value\r\n"..., or "". */
void http_reply(struct http_conn *conn, unsigned code, const char *type, const char *headers,
                const void *body, size_t len);
void http_stream_begin(struct http_conn *conn, unsigned code, const char *type,
                       const char *headers);
/* False: the reader is too slow, or gone; `gone` follows. */
bool http_stream_write(struct http_conn *conn, const void *bytes, size_t len);
void http_stream_end(struct http_conn *conn);
/* Cuts a connection whose answer can no longer be made right; no `gone`. */
void http_conn_cut(struct http_conn *conn);
