/* The server. Whatever ends a connection goes through doom, which only marks it; reap frees the
 * marked ones from an event of its own, so that no caller's connection vanishes under its hands.
 *
 *   state      what                          next
 *   READING    a request is complete         ANSWERING   handler.request
 *   READING    it is refused                 ANSWERING   handler.refused, and ends after it
 *   READING    too slow, too long idle       (doomed)
 *   ANSWERING  the answer is complete        READING, or CLOSING where it is the last one
 *   ANSWERING  the client leaves, or does    (doomed)    handler.gone
 *              not read
 *   CLOSING    all is sent                   our side is shut; what comes is read and dropped, so
 *                                            that the answer is not lost by a reset
 *   CLOSING    the client's end, or 2 s      (doomed) */
#include "router/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

#define BACKLOG 1024
#define TICK_MS 250u
#define CLOSING_MS 2000u
#define READ_AHEAD ((size_t)64 << 10) /* of requests behind the one that is being answered */
#define CODE_GONE 499u                /* as nginx has it: the client left before its answer */
#define HEAD_BYTES 1024u              /* of an answer's head, without the handler's headers */

enum conn_state { READING, ANSWERING, CLOSING };

struct http_conn {
    struct http_server *server;
    struct http_conn *prev, *next;
    struct bufferevent *bev;
    struct http_parser *parser;
    enum conn_state state;
    bool doomed;
    bool keep_alive, head, chunked; /* of the request being answered */
    bool shut;                      /* our side, in CLOSING */
    const char *why;                /* of doom, for gone; NULL: the handler knows */
    uint64_t since_ns;              /* of the state; READING: of the phase below */
    enum { IDLE, IN_HEAD, IN_BODY } phase;
    uint64_t n_written, n_drained; /* bytes given to the socket's buffer, and taken from it */
    uint64_t drained_ns;           /* when n_drained last grew, or the buffer was empty */
    void *user;
    uint32_t tag;
    bool parsed;   /* what came is a request */
    unsigned code; /* of its answer */
    char peer[HTTP_ENDPOINT_MAX];
};

struct http_server {
    struct http_server_cfg cfg;
    struct http_handler handler;
    struct loop *loop;
    struct evconnlistener *listener;
    struct event *reaper;
    struct loop_timer *tick;
    struct http_conn *conns;
    struct http_server_counts counts;
    bool draining;
    char endpoint[HTTP_ENDPOINT_MAX];
};

static uint64_t now_of(const struct http_conn *conn)
{
    return loop_now_ns(conn->server->loop);
}

/* ---- ends ---- */

static void doom(struct http_conn *conn, const char *why)
{
    if (conn->doomed)
        return;
    conn->doomed = true;
    conn->why = why;
    (void)bufferevent_disable(conn->bev, EV_READ | EV_WRITE);
    event_active(conn->server->reaper, EV_TIMEOUT, 0);
}

static void tell_answered(struct http_conn *conn, unsigned code)
{
    const struct http_handler *handler = &conn->server->handler;

    if (handler->answered)
        handler->answered(handler->ctx, conn,
                          conn->parsed ? http_parser_request(conn->parser) : NULL, code);
}

static void conn_free(struct http_conn *conn)
{
    struct http_server *server = conn->server;

    if (conn->prev)
        conn->prev->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    server->counts.open--;
    bufferevent_free(conn->bev);
    http_parser_destroy(conn->parser);
    mem_free(conn);
}

/* The handler may doom others meanwhile: the walk begins anew after each. */
static void on_reap(evutil_socket_t fd, short what, void *ctx)
{
    struct http_server *server = ctx;
    struct http_conn *conn = server->conns;

    (void)fd;
    (void)what;
    loop_woke(server->loop);
    while (conn) {
        struct http_conn *next = conn->next;

        if (!conn->doomed) {
            conn = next;
            continue;
        }
        if (conn->state == ANSWERING)
            tell_answered(conn, CODE_GONE);
        if (conn->state == ANSWERING && conn->why) {
            server->counts.cut++;
            server->handler.gone(server->handler.ctx, conn, conn->why);
        }
        conn_free(conn);
        conn = server->conns;
    }
}

static void begin_phase(struct http_conn *conn, int phase)
{
    conn->phase = phase;
    conn->since_ns = now_of(conn);
}

static void begin_closing(struct http_conn *conn)
{
    conn->state = CLOSING;
    conn->since_ns = now_of(conn);
    if (evbuffer_get_length(bufferevent_get_output(conn->bev)) == 0) {
        (void)shutdown(bufferevent_getfd(conn->bev), SHUT_WR);
        conn->shut = true;
    }
}

/* The answer is complete, but for what waits in the socket's buffer. */
static void end_answer(struct http_conn *conn)
{
    CHECK(conn->state == ANSWERING);
    tell_answered(conn, conn->code);
    conn->user = NULL;
    http_parser_reset(conn->parser);
    if (!conn->keep_alive || conn->server->draining) {
        begin_closing(conn);
        return;
    }
    conn->state = READING;
    begin_phase(conn, IDLE);
    if (evbuffer_get_length(bufferevent_get_input(conn->bev)) > 0)
        bufferevent_trigger(conn->bev, EV_READ,
                            BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

/* ---- requests ---- */

static void on_complete(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    const struct http_request *req = http_parser_request(conn->parser);

    conn->state = ANSWERING;
    conn->parsed = true;
    conn->tag = 0;
    conn->since_ns = conn->drained_ns = now_of(conn);
    conn->keep_alive = req->keep_alive;
    conn->head = req->head;
    conn->chunked = req->keep_alive; /* HTTP/1.0: the end of the connection is the end of it */
    server->counts.requests++;
    server->handler.request(server->handler.ctx, conn, req);
}

static void on_refused(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    const unsigned code = http_parser_code(conn->parser);
    const char *why = http_parser_why(conn->parser);

    conn->state = ANSWERING;
    conn->parsed = conn->keep_alive = conn->head = false;
    conn->tag = 0;
    server->counts.refused++;
    server->handler.refused(server->handler.ctx, conn, code, why);
    if (conn->state == ANSWERING) /* it must not go on */
        doom(conn, NULL);
}

static void on_bytes(struct http_conn *conn, const void *bytes, size_t len, size_t *taken_out)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const enum http_parse result = http_parser_feed(conn->parser, bytes, len, taken_out);
    int phase = http_parser_in_body(conn->parser) ? IN_BODY
                : http_parser_begun(conn->parser) ? IN_HEAD
                                                  : IDLE;

    if (result == HTTP_PARSE_BAD) {
        on_refused(conn);
    } else if (result == HTTP_PARSE_DONE) {
        on_complete(conn);
    } else {
        if (result == HTTP_PARSE_CONTINUE) {
            conn->n_written += sizeof(go_on) - 1;
            (void)bufferevent_write(conn->bev, go_on, sizeof(go_on) - 1);
        }
        if (phase != (int)conn->phase)
            begin_phase(conn, phase);
    }
}

static void on_read(struct bufferevent *bev, void *ctx)
{
    struct http_conn *conn = ctx;
    struct evbuffer *input = bufferevent_get_input(bev);

    loop_woke(conn->server->loop);
    while (!conn->doomed && conn->state == READING && evbuffer_get_length(input) > 0) {
        struct evbuffer_iovec piece;
        size_t taken;

        if (evbuffer_peek(input, -1, NULL, &piece, 1) < 1)
            return;
        on_bytes(conn, piece.iov_base, piece.iov_len, &taken);
        (void)evbuffer_drain(input, taken);
    }
    if (conn->state == CLOSING)
        (void)evbuffer_drain(input, evbuffer_get_length(input));
}

/* All that was written is with the kernel. */
static void on_written(struct bufferevent *bev, void *ctx)
{
    struct http_conn *conn = ctx;

    loop_woke(conn->server->loop);
    if (conn->state != CLOSING || conn->shut)
        return;
    (void)shutdown(bufferevent_getfd(bev), SHUT_WR);
    conn->shut = true;
}

static void on_event(struct bufferevent *bev, short what, void *ctx)
{
    struct http_conn *conn = ctx;

    (void)bev;
    loop_woke(conn->server->loop);
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        doom(conn, "the client has left");
}

/* ---- answers ---- */

static const char *reason_of(unsigned code)
{
    static const struct {
        unsigned code;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {413, "Content Too Large"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].code == code)
            return reasons[i].text;
    return "Status";
}

static void put(struct http_conn *conn, const void *bytes, size_t len)
{
    if (conn->doomed || len == 0)
        return;
    if (conn->n_drained == conn->n_written)
        conn->drained_ns = now_of(conn);
    conn->n_written += len;
    if (bufferevent_write(conn->bev, bytes, len) != 0)
        doom(conn, "out of memory");
}

/* `length`: "Content-Length: 12\r\n" or what else ends the body. */
static void put_head(struct http_conn *conn, unsigned code, const char *type, const char *headers,
                     const char *length)
{
    const bool last = !conn->keep_alive || conn->server->draining;
    const time_t now = time(NULL);
    char text[HEAD_BYTES], date[40];
    struct tm utc;
    int n;

    conn->code = code;
    (void)gmtime_r(&now, &utc);
    (void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    n = snprintf(text, sizeof(text),
                 "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: %s\r\n%sConnection: %s\r\n", code,
                 reason_of(code), date, type, length, last ? "close" : "keep-alive");
    CHECK(n > 0 && (size_t)n < sizeof(text));
    put(conn, text, (size_t)n);
    put(conn, headers, strlen(headers));
    put(conn, "\r\n", 2);
}

void http_reply(struct http_conn *conn, unsigned code, const char *type, const char *headers,
                const void *body, size_t len)
{
    char length[48];

    CHECK(conn->state == ANSWERING);
    if (conn->doomed) {
        conn->why = NULL;
        return;
    }
    snprintf(length, sizeof(length), "Content-Length: %zu\r\n", len);
    put_head(conn, code, type, headers, length);
    if (!conn->head)
        put(conn, body, len);
    end_answer(conn);
}

void http_stream_begin(struct http_conn *conn, unsigned code, const char *type, const char *headers)
{
    CHECK(conn->state == ANSWERING);
    put_head(conn, code, type, headers, conn->chunked ? "Transfer-Encoding: chunked\r\n" : "");
}

/* Whether the reader leaves too much unread. Before it is said the socket takes what it can: what
 * one turn writes may be more than the limit. */
static bool reads_too_slowly(struct http_conn *conn)
{
    struct evbuffer *output = bufferevent_get_output(conn->bev);
    const size_t limit = conn->server->cfg.unsent_max;

    if (evbuffer_get_length(output) <= limit)
        return false;
    (void)evbuffer_unfreeze(output, 1); /* a bufferevent keeps its front to itself */
    while (evbuffer_get_length(output) > 0 &&
           evbuffer_write(output, bufferevent_getfd(conn->bev)) > 0)
        continue;
    (void)evbuffer_freeze(output, 1);
    return evbuffer_get_length(output) > limit;
}

/* Sends at once what the socket takes, if nothing waits before it: an event of a stream costs one
 * system call then, and no turn through the poll. Returns the bytes that were taken. */
static size_t send_now(struct http_conn *conn, const struct iovec *pieces, size_t n)
{
    const struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = n};
    ssize_t taken;

    if (conn->doomed || evbuffer_get_length(bufferevent_get_output(conn->bev)) > 0)
        return 0;
    taken = sendmsg(bufferevent_getfd(conn->bev), &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
        doom(conn, "the client has left");
    if (taken <= 0)
        return 0;
    conn->n_written += (size_t)taken;
    return (size_t)taken;
}

static void put_pieces(struct http_conn *conn, const struct iovec *pieces, size_t n)
{
    size_t taken = send_now(conn, pieces, n);

    for (size_t i = 0; i < n; i++) {
        const size_t skip = taken < pieces[i].iov_len ? taken : pieces[i].iov_len;

        put(conn, (const char *)pieces[i].iov_base + skip, pieces[i].iov_len - skip);
        taken -= skip;
    }
}

bool http_stream_write(struct http_conn *conn, const void *bytes, size_t len)
{
    struct iovec pieces[3];
    char size[24];

    CHECK(conn->state == ANSWERING);
    if (conn->doomed)
        return false;
    if (len == 0 || conn->head)
        return true;
    pieces[0] = (struct iovec){size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", len)};
    pieces[1] = (struct iovec){(void *)(uintptr_t)bytes, len};
    pieces[2] = (struct iovec){"\r\n", 2};
    if (conn->chunked)
        put_pieces(conn, pieces, 3);
    else
        put_pieces(conn, &pieces[1], 1);
    if (reads_too_slowly(conn))
        doom(conn, "the client reads too slowly");
    return !conn->doomed;
}

void http_stream_end(struct http_conn *conn)
{
    CHECK(conn->state == ANSWERING);
    if (conn->doomed) {
        conn->why = NULL;
        return;
    }
    if (conn->chunked && !conn->head)
        put(conn, "0\r\n\r\n", 5);
    end_answer(conn);
}

void http_conn_cut(struct http_conn *conn)
{
    doom(conn, NULL);
    conn->why = NULL; /* it may have been lost before */
}

void http_conn_set_user(struct http_conn *conn, void *user)
{
    conn->user = user;
}

void *http_conn_user(const struct http_conn *conn)
{
    return conn->user;
}

void http_conn_set_tag(struct http_conn *conn, uint32_t tag)
{
    conn->tag = tag;
}

uint32_t http_conn_tag(const struct http_conn *conn)
{
    return conn->tag;
}

const char *http_conn_peer(const struct http_conn *conn)
{
    return conn->peer;
}

/* ---- patience ---- */

static bool is_over(uint64_t since_ns, uint64_t now_ns, uint32_t limit_ms)
{
    return now_ns > since_ns && now_ns - since_ns >= limit_ms * NS_PER_MS;
}

/* Does the reader take what is written? */
static void watch_reader(struct http_conn *conn, uint64_t now_ns)
{
    const size_t unsent = evbuffer_get_length(bufferevent_get_output(conn->bev));
    const uint64_t drained = conn->n_written - unsent;

    if (unsent == 0 || drained > conn->n_drained) {
        conn->n_drained = drained;
        conn->drained_ns = now_ns;
    } else if (is_over(conn->drained_ns, now_ns, conn->server->cfg.stalled_ms)) {
        doom(conn, "the client reads nothing");
    }
}

static void watch(struct http_conn *conn, uint64_t now_ns)
{
    const struct http_server_cfg *cfg = &conn->server->cfg;
    const uint32_t limits[] = {
        [IDLE] = cfg->idle_ms, [IN_HEAD] = cfg->head_ms, [IN_BODY] = cfg->body_ms};

    watch_reader(conn, now_ns);
    if (conn->state == READING && is_over(conn->since_ns, now_ns, limits[conn->phase]))
        doom(conn, NULL);
    else if (conn->state == READING && conn->phase == IDLE && conn->server->draining)
        begin_closing(conn);
    else if (conn->state == CLOSING && conn->shut && is_over(conn->since_ns, now_ns, CLOSING_MS))
        doom(conn, NULL);
}

static void on_tick(void *ctx)
{
    struct http_server *server = ctx;
    const uint64_t now_ns = loop_now_ns(server->loop);

    for (struct http_conn *conn = server->conns; conn; conn = conn->next)
        if (!conn->doomed)
            watch(conn, now_ns);
    if (!server->draining)
        (void)evconnlistener_enable(server->listener); /* after a shortage of descriptors */
}

/* ---- connections ---- */

static void print_address(const struct sockaddr *address, char out[HTTP_ENDPOINT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;

        (void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        snprintf(out, HTTP_ENDPOINT_MAX, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;

        (void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(out, HTTP_ENDPOINT_MAX, "%s:%u", host, ntohs(in->sin_port));
    }
}

static struct http_conn *conn_create(struct http_server *server, evutil_socket_t fd)
{
    struct http_conn *conn = mem_alloc_zero(1, sizeof(*conn));

    if (!conn)
        return NULL;
    if (http_parser_create(server->cfg.body_max, &conn->parser) != STATUS_OK)
        goto fail_parser;
    conn->bev = bufferevent_socket_new(loop_base(server->loop), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!conn->bev)
        goto fail_bev;
    conn->server = server;
    conn->next = server->conns;
    if (conn->next)
        conn->next->prev = conn;
    server->conns = conn;
    server->counts.open++;
    conn->drained_ns = loop_now_ns(server->loop);
    begin_phase(conn, IDLE);
    return conn;
fail_bev:
    http_parser_destroy(conn->parser);
fail_parser:
    mem_free(conn);
    return NULL;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *ctx)
{
    static const char full[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                               "Retry-After: 1\r\nConnection: close\r\n\r\n";
    struct http_server *server = ctx;
    struct http_conn *conn = NULL;
    int on = 1;

    (void)listener;
    (void)len;
    loop_woke(server->loop);
    if (server->counts.open < server->cfg.conns_max)
        conn = conn_create(server, fd);
    if (!conn) {
        server->counts.refused++;
        (void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)evutil_closesocket(fd);
        return;
    }
    server->counts.accepted++;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    print_address(address, conn->peer);
    bufferevent_setcb(conn->bev, on_read, on_written, on_event, conn);
    bufferevent_setwatermark(conn->bev, EV_READ, 0, READ_AHEAD);
    (void)bufferevent_enable(conn->bev, EV_READ | EV_WRITE);
}

/* No descriptor is left: without a pause the loop would spin. The tick enables it again. */
static void on_accept_error(struct evconnlistener *listener, void *ctx)
{
    (void)ctx;
    (void)evconnlistener_disable(listener);
}

/* ---- life ---- */

/* "host:port" into its parts; the host of IPv6 stands in brackets. */
static bool split_address(const char *text, char host[INET6_ADDRSTRLEN], uint16_t *port_out)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    unsigned long port;
    char *end;

    if (len == 0 || colon[1] < '0' || colon[1] > '9')
        return false;
    port = strtoul(colon + 1, &end, 10);
    if (*end || port > UINT16_MAX)
        return false;
    if (text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (len >= INET6_ADDRSTRLEN)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    *port_out = (uint16_t)port;
    return true;
}

static enum status parse_address(const char *text, struct sockaddr_storage *out, int *len,
                                 char why[HTTP_WHY_MAX])
{
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)out;
    char host[INET6_ADDRSTRLEN];
    uint16_t port;

    memset(out, 0, sizeof(*out));
    if (!split_address(text, host, &port))
        goto fail;
    if (text[0] == '[' && inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        *len = sizeof(*in6);
        return STATUS_OK;
    }
    if (inet_pton(AF_INET, strcmp(host, "*") == 0 ? "0.0.0.0" : host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        *len = sizeof(*in);
        return STATUS_OK;
    }
fail:
    snprintf(why, HTTP_WHY_MAX,
             "'%.100s' is not an address for HTTP: expected 127.0.0.1:8000, [::1]:8000 or *:8000",
             text);
    return STATUS_INVALID;
}

static enum status listen_at(struct http_server *server, char why[HTTP_WHY_MAX])
{
    const unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC;
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    int address_len;
    enum status status = parse_address(server->cfg.address, &address, &address_len, why);

    if (status != STATUS_OK)
        return status;
    server->listener =
        evconnlistener_new_bind(loop_base(server->loop), on_accept, server, flags, BACKLOG,
                                (const struct sockaddr *)&address, address_len);
    if (!server->listener) {
        const int error = errno;

        if (error == EADDRINUSE)
            snprintf(why, HTTP_WHY_MAX,
                     "Cannot listen for HTTP at %.100s: the address is in use. Stop the other "
                     "program or choose another port.",
                     server->cfg.address);
        else
            snprintf(why, HTTP_WHY_MAX, "Cannot listen for HTTP at %.100s: %s", server->cfg.address,
                     strerror(error));
        return error == EADDRINUSE ? STATUS_EXISTS : error == EACCES ? STATUS_DENIED : STATUS_IO;
    }
    evconnlistener_set_error_cb(server->listener, on_accept_error);
    if (getsockname(evconnlistener_get_fd(server->listener), (struct sockaddr *)&address, &len))
        return STATUS_IO;
    print_address((const struct sockaddr *)&address, server->endpoint);
    return STATUS_OK;
}

enum status http_server_open(const struct http_server_cfg *cfg, struct loop *loop,
                             const struct http_handler *handler, struct http_server **out,
                             char why[HTTP_WHY_MAX])
{
    struct http_server *server = mem_alloc_zero(1, sizeof(*server));
    enum status status;

    snprintf(why, HTTP_WHY_MAX, "out of memory");
    if (!server)
        return STATUS_NO_MEMORY;
    server->cfg = *cfg;
    server->handler = *handler;
    server->loop = loop;
    server->reaper = event_new(loop_base(loop), -1, 0, on_reap, server);
    status = server->reaper ? STATUS_OK : STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = loop_timer_create(loop, on_tick, server, &server->tick);
    if (status == STATUS_OK)
        status = listen_at(server, why);
    if (status != STATUS_OK) {
        http_server_close(server);
        return status;
    }
    loop_timer_every(server->tick, TICK_MS * NS_PER_MS);
    *out = server;
    return STATUS_OK;
}

void http_server_close(struct http_server *server)
{
    if (!server)
        return;
    if (server->listener)
        evconnlistener_free(server->listener);
    while (server->conns)
        conn_free(server->conns);
    loop_timer_destroy(server->tick);
    if (server->reaper)
        event_free(server->reaper);
    mem_free(server);
}

const char *http_server_endpoint(const struct http_server *server)
{
    return server->endpoint;
}

void http_server_drain(struct http_server *server)
{
    server->draining = true;
    (void)evconnlistener_disable(server->listener);
}

void http_server_counts(const struct http_server *server, struct http_server_counts *out)
{
    *out = server->counts;
}
