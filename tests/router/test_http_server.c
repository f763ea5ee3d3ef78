/* The HTTP server over real sockets: answers, streams, keep-alive and pipelining, clients that
 * leave, dribble, or do not read. The loop is turned by the test itself; waiting is turning. */
#include "router/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

#define TURNS_MAX 20000
#define BIG ((size_t)8 << 20)

static uint64_t now_ns;

static struct world {
    struct loop *loop;
    struct http_server *server;
    struct http_conn *conn; /* being answered later */
    unsigned n_requests, n_gone, n_refused;
    char why[HTTP_WHY_MAX];
    char got[65536]; /* what a client has read */
    size_t n_got;
} world;

/* ---- the handler: /now answers, /later keeps the connection ---- */

static void on_request(void *ctx, struct http_conn *conn, const struct http_request *req)
{
    (void)ctx;
    world.n_requests++;
    if (http_span_is(req->path, "/later"))
        world.conn = conn;
    else
        http_reply(conn, 200, "text/plain", "X-Test: yes\r\n", req->body.at, req->body.len);
}

static void on_refused(void *ctx, struct http_conn *conn, unsigned code, const char *why)
{
    (void)ctx;
    world.n_refused++;
    http_reply(conn, code, "text/plain", "", why, strlen(why));
}

static void on_gone(void *ctx, struct http_conn *conn, const char *why)
{
    (void)ctx;
    assert_ptr_equal(conn, world.conn);
    world.conn = NULL;
    world.n_gone++;
    snprintf(world.why, sizeof(world.why), "%s", why);
}

/* ---- the rig ---- */

static int setup(void **state)
{
    const struct loop_options options = {.name = "test", .clock = clock_manual(&now_ns)};
    const struct http_handler handler = {
        .request = on_request, .refused = on_refused, .gone = on_gone};
    const struct http_server_cfg cfg = {.address = "127.0.0.1:0",
                                        .body_max = BIG,
                                        .conns_max = 8,
                                        .unsent_max = 256 << 10,
                                        .head_ms = 10000,
                                        .body_ms = 60000,
                                        .idle_ms = 75000,
                                        .stalled_ms = 30000};
    char why[HTTP_WHY_MAX];

    (void)state;
    memset(&world, 0, sizeof(world));
    now_ns = NS_PER_S;
    assert_int_equal(loop_create(&options, &world.loop), STATUS_OK);
    assert_int_equal(http_server_open(&cfg, world.loop, &handler, &world.server, why), STATUS_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_server_close(world.server);
    loop_destroy(world.loop);
    return 0;
}

static void turn(void)
{
    assert_int_equal(loop_turn(world.loop, 0), STATUS_OK);
}

#define TURN_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int n_turns = 0;                                                                           \
        while (!(condition)) {                                                                     \
            assert_int_equal(loop_turn(world.loop, NS_PER_MS), STATUS_OK);                         \
            if (++n_turns > TURNS_MAX)                                                             \
                fail_msg("never: %s; read so far: %s", #condition, world.got);                     \
        }                                                                                          \
    } while (0)

static int client(int receive_bytes)
{
    const char *colon = strrchr(http_server_endpoint(world.server), ':');
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(colon + 1)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (receive_bytes > 0)
        assert_int_equal(
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    world.n_got = 0;
    world.got[0] = '\0';
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Reads what there is; false at the end of the connection. */
static bool hear(int fd)
{
    const size_t room = sizeof(world.got) - 1 - world.n_got;
    const ssize_t n = recv(fd, world.got + world.n_got, room, 0);

    if (n > 0)
        world.n_got += (size_t)n;
    world.got[world.n_got] = '\0';
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static bool heard(int fd, const char *text)
{
    (void)hear(fd);
    return strstr(world.got, text) != NULL;
}

static struct http_server_counts counts(void)
{
    struct http_server_counts now;

    http_server_counts(world.server, &now);
    return now;
}

static void pass_s(uint64_t seconds)
{
    for (uint64_t i = 0; i < seconds * 2; i++) {
        now_ns += NS_PER_S / 2;
        turn();
    }
}

#define LATER "GET /later HTTP/1.1\r\nHost: h\r\n\r\n"
#define NOW(body, n) "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: " #n "\r\n\r\n" body

/* ---- tests ---- */

/* Two requests in one piece, the second's answer after the first's; the connection stays. */
static void test_pipelined(void **state)
{
    int fd = client(0);

    (void)state;
    say(fd, LATER NOW("second", 6));
    TURN_UNTIL(world.conn);
    for (int i = 0; i < 50; i++)
        turn();
    assert_int_equal(world.n_requests, 1);
    http_reply(world.conn, 404, "text/plain", "", "first", 5);
    world.conn = NULL;
    TURN_UNTIL(heard(fd, "second"));
    assert_non_null(strstr(world.got, "HTTP/1.1 404 Not Found\r\n"));
    assert_non_null(strstr(world.got, "Connection: keep-alive\r\n"));
    assert_non_null(strstr(world.got, "X-Test: yes\r\n"));
    assert_true(strstr(world.got, "first") < strstr(world.got, "second"));
    say(fd, NOW("third", 5));
    TURN_UNTIL(heard(fd, "third"));
    assert_int_equal(counts().open, 1);
    close(fd);
    TURN_UNTIL(counts().open == 0);
    assert_int_equal(world.n_gone, 0);
}

static void test_stream(void **state)
{
    int fd = client(0);

    (void)state;
    say(fd, LATER);
    TURN_UNTIL(world.conn);
    http_stream_begin(world.conn, 200, "text/event-stream", "");
    assert_true(http_stream_write(world.conn, "data: a\n\n", 9));
    TURN_UNTIL(heard(fd, "9\r\ndata: a\n\n\r\n"));
    assert_true(http_stream_write(world.conn, "0123456789abcdef", 16));
    http_stream_end(world.conn);
    TURN_UNTIL(heard(fd, "10\r\n0123456789abcdef\r\n0\r\n\r\n"));
    say(fd, NOW("again", 5));
    TURN_UNTIL(heard(fd, "again"));
    close(fd);
}

/* Without keep-alive the end of the connection is the end of the stream. */
static void test_old_client(void **state)
{
    int fd = client(0);

    (void)state;
    say(fd, "GET /later HTTP/1.0\r\n\r\n");
    TURN_UNTIL(world.conn);
    http_stream_begin(world.conn, 200, "text/plain", "");
    assert_true(http_stream_write(world.conn, "bare", 4));
    http_stream_end(world.conn);
    TURN_UNTIL(!hear(fd));
    assert_string_equal(strstr(world.got, "\r\n\r\n"), "\r\n\r\nbare");
    close(fd);
    TURN_UNTIL(counts().open == 0);
}

static void test_client_leaves(void **state)
{
    int fd = client(0);

    (void)state;
    say(fd, LATER);
    TURN_UNTIL(world.conn);
    http_stream_begin(world.conn, 200, "text/event-stream", "");
    close(fd);
    TURN_UNTIL(world.n_gone == 1);
    assert_string_equal(world.why, "the client has left");
    assert_int_equal(counts().open, 0);
}

/* Bytes that nobody reads: cut at the limit; and by the clock where they are fewer. */
static void test_slow_reader(void **state)
{
    static char block[32 << 10];
    int fd = client(4096);
    bool open = true;

    (void)state;
    say(fd, LATER);
    TURN_UNTIL(world.conn);
    http_stream_begin(world.conn, 200, "text/plain", "");
    for (int i = 0; open && i < 10000; i++) {
        open = http_stream_write(world.conn, block, sizeof(block));
        turn();
    }
    assert_false(open);
    TURN_UNTIL(world.n_gone == 1);
    assert_string_equal(world.why, "the client reads too slowly");
    close(fd);

    fd = client(4096);
    say(fd, LATER);
    TURN_UNTIL(world.conn);
    http_stream_begin(world.conn, 200, "text/plain", "");
    for (int i = 0; i < 200 && counts().cut == 1; i++) {
        size_t len = 1000;

        assert_true(http_stream_write(world.conn, block, len));
        turn();
    }
    pass_s(20);
    assert_non_null(world.conn); /* it may all lie in the kernel's buffers, or not: no haste */
    for (int i = 0; world.conn && i < 2000; i++)
        (void)http_stream_write(world.conn, block, 8 << 10);
    pass_s(40);
    assert_null(world.conn);
    assert_int_equal(world.n_gone, 2);
    close(fd);
}

/* Whoever cuts a connection hears no more of it, even if it was lost a moment before. */
static void test_cut_after_loss(void **state)
{
    static char block[32 << 10];
    int fd = client(4096);

    (void)state;
    say(fd, LATER);
    TURN_UNTIL(world.conn);
    http_stream_begin(world.conn, 200, "text/plain", "");
    for (int i = 0; http_stream_write(world.conn, block, sizeof(block)) && i < 10000; i++)
        continue;
    http_conn_cut(world.conn);
    TURN_UNTIL(counts().open == 0);
    assert_int_equal(world.n_gone, 0);
    close(fd);
}

/* Much in one turn is no sign of a slow reader: the socket takes it, or not. */
static void test_much_at_once(void **state)
{
    static char block[32 << 10];
    int fd = client(0);

    (void)state;
    say(fd, LATER);
    TURN_UNTIL(world.conn);
    http_stream_begin(world.conn, 200, "text/plain", "");
    for (int i = 0; i < 16; i++)
        assert_true(http_stream_write(world.conn, block, sizeof(block)));
    http_stream_end(world.conn);
    close(fd);
}

/* Who has said all and only listens gets what was asked for. */
static void test_half_closed(void **state)
{
    int fd = client(0);

    (void)state;
    say(fd, NOW("first", 5) NOW("second", 6));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    TURN_UNTIL(!hear(fd));
    assert_non_null(strstr(world.got, "first"));
    assert_non_null(strstr(world.got, "second"));
    TURN_UNTIL(counts().open == 0);
    close(fd);
}

/* A request that dribbles in; a connection on which nothing comes. */
static void test_dribble(void **state)
{
    int fd = client(0);
    int idle = client(0);

    (void)state;
    say(fd, "GET /");
    TURN_UNTIL(counts().open == 2);
    for (int i = 0; i < 100; i++)
        turn();
    for (int i = 0; i < 9; i++) {
        pass_s(1);
        say(fd, "x");
    }
    assert_int_equal(counts().open, 2);
    pass_s(2);
    assert_int_equal(counts().open, 1);
    pass_s(80);
    assert_int_equal(counts().open, 0);
    assert_int_equal(world.n_requests, 0);
    close(fd);
    close(idle);
}

/* What is refused is answered in the handler's words, and whole, though more bytes follow it. */
static void test_refused(void **state)
{
    static char junk[100 << 10];
    int fd = client(0);

    (void)state;
    memset(junk, 'j', sizeof(junk) - 1);
    say(fd, "GET / HTTP/1.1\r\n\r\n");
    (void)send(fd, junk, sizeof(junk) - 1, MSG_NOSIGNAL);
    TURN_UNTIL(!hear(fd));
    assert_non_null(strstr(world.got, "HTTP/1.1 400 Bad Request\r\n"));
    assert_non_null(strstr(world.got, "expected exactly one Host header"));
    assert_non_null(strstr(world.got, "Connection: close\r\n"));
    assert_int_equal(world.n_refused, 1);
    close(fd);
    TURN_UNTIL(counts().open == 0);
}

static void test_full(void **state)
{
    int fds[8], more;

    (void)state;
    for (int i = 0; i < 8; i++)
        fds[i] = client(0);
    TURN_UNTIL(counts().open == 8);
    more = client(0);
    TURN_UNTIL(!hear(more));
    assert_non_null(strstr(world.got, "HTTP/1.1 503"));
    close(more);
    close(fds[0]);
    TURN_UNTIL(counts().open == 7);
    more = client(0);
    say(more, NOW("room", 4));
    TURN_UNTIL(heard(more, "room"));
    close(more);
    for (int i = 1; i < 8; i++)
        close(fds[i]);
    TURN_UNTIL(counts().open == 0);
}

/* 100 Continue, a body in many pieces; HEAD has no body. */
static void test_body(void **state)
{
    int fd = client(0);

    (void)state;
    say(fd, "PUT /now HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    TURN_UNTIL(heard(fd, "HTTP/1.1 100 Continue\r\n\r\n"));
    say(fd, "a");
    for (int i = 0; i < 20; i++)
        turn();
    say(fd, "bc");
    TURN_UNTIL(heard(fd, "\r\n\r\nabc"));
    world.n_got = 0;
    say(fd, "HEAD /now HTTP/1.1\r\nHost: h\r\n\r\n");
    TURN_UNTIL(heard(fd, "\r\n\r\n"));
    assert_string_equal(strstr(world.got, "\r\n\r\n"), "\r\n\r\n");
    close(fd);
}

static void test_drain(void **state)
{
    int busy = client(0), idle;

    (void)state;
    say(busy, LATER);
    TURN_UNTIL(world.conn);
    idle = client(0);
    TURN_UNTIL(counts().open == 2);
    http_server_drain(world.server);
    pass_s(1);
    TURN_UNTIL(!hear(idle));
    world.n_got = 0;
    http_reply(world.conn, 200, "text/plain", "", "last", 4);
    TURN_UNTIL(!hear(busy));
    assert_non_null(strstr(world.got, "Connection: close\r\n"));
    assert_non_null(strstr(world.got, "last"));
    close(busy);
    close(idle);
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {"", "8000", "localhost:8000", "127.0.0.1", "1.2.3.4:99999"};
    struct http_server_cfg cfg = {.conns_max = 1};
    const struct http_handler handler = {.request = on_request};
    char why[HTTP_WHY_MAX];
    struct http_server *server;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cfg.address = bad[i];
        assert_int_equal(http_server_open(&cfg, world.loop, &handler, &server, why),
                         STATUS_INVALID);
        assert_non_null(strstr(why, "expected"));
    }
    cfg.address = http_server_endpoint(world.server);
    assert_int_equal(http_server_open(&cfg, world.loop, &handler, &server, why), STATUS_EXISTS);
    assert_non_null(strstr(why, "the address is in use. Stop the other program or choose another"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_pipelined),      TEST(test_stream),       TEST(test_old_client),
        TEST(test_client_leaves),  TEST(test_slow_reader),  TEST(test_dribble),
        TEST(test_cut_after_loss), TEST(test_much_at_once), TEST(test_half_closed),
        TEST(test_refused),        TEST(test_full),         TEST(test_body),
        TEST(test_drain),          TEST(test_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
