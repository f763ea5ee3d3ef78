/* Sockets over loopback: links up and down, sending to the gone and the full, malformed parts,
 * closing from inside, and where a socket may listen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "tests/wire/zpair.h"
#include "wire/zsock_internal.h"

#define LONG_MS 10000

struct pair {
    struct zhouse house;
    struct seen router;
    struct seen dealer;
    char endpoint[ZSOCK_ENDPOINT_MAX];
};

static void pair_open(struct pair *pair, const char *endpoint, const struct zsock_cfg *router_cfg)
{
    char why[ZSOCK_WHY_MAX] = "";
    memset(&pair->router, 0, sizeof(pair->router));
    memset(&pair->dealer, 0, sizeof(pair->dealer));
    zhouse_open(&pair->house);
    struct zsock_cfg router = zhouse_cfg(&pair->house, ZSOCK_ROUTER);
    if (router_cfg) {
        router = *router_cfg;
        router.numbers = &pair->house.numbers;
    }
    struct zsock_cfg dealer = zhouse_cfg(&pair->house, ZSOCK_DEALER);
    zhouse_sock(&pair->house, &router, &pair->router);
    zhouse_sock(&pair->house, &dealer, &pair->dealer);
    assert_int_equal(zsock_bind(pair->router.sock, endpoint, pair->endpoint, why), STATUS_OK);
    assert_int_equal(zsock_connect(pair->dealer.sock, pair->endpoint, why), STATUS_OK);
    assert_true(zhouse_until(&pair->house, &pair->dealer.n_up, 1, LONG_MS));
}

/* libzmq closes in the background: the port may be taken for a moment. */
static void bind_again(struct zhouse *house, struct seen *router, const char *endpoint)
{
    char real[ZSOCK_ENDPOINT_MAX], why[ZSOCK_WHY_MAX];
    uint64_t end = loop_now_ns(house->loop) + LONG_MS * NS_PER_MS;
    enum status status = STATUS_EXISTS;
    while (status == STATUS_EXISTS && loop_now_ns(house->loop) < end) {
        status = zsock_bind(router->sock, endpoint, real, why);
        loop_turn(house->loop, NS_PER_MS);
    }
    assert_int_equal(status, STATUS_OK);
}

static void pair_close(struct pair *pair)
{
    zsock_close(pair->dealer.sock);
    zsock_close(pair->router.sock);
    zhouse_close(&pair->house);
}

static void messages_go_both_ways(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"tcp://127.0.0.1:0", "tcp://127.0.0.1:*"};
    for (size_t i = 0; i < 2; i++) {
        struct pair pair;
        pair_open(&pair, endpoints[i], NULL);
        assert_string_not_equal(pair.endpoint, endpoints[i]);
        pair.router.echo = true;
        uint32_t n = 0;
        while (n < 500) { /* few at once: the echo must find room in its queue */
            if (n - pair.dealer.n_messages >= 50) {
                loop_turn(pair.house.loop, NS_PER_MS);
                continue;
            }
            assert_int_equal(zsock_send(pair.dealer.sock, pair.dealer.link, "hello", 5), STATUS_OK);
            n++;
            loop_turn(pair.house.loop, 0);
        }
        assert_true(zhouse_until(&pair.house, &pair.dealer.n_messages, n, LONG_MS));
        assert_int_equal(pair.router.n_messages, n);
        assert_int_equal(pair.router.n_up, 1);
        assert_int_equal(pair.dealer.len, 5);
        assert_memory_equal(pair.dealer.last, "hello", 5);
        assert_int_not_equal(pair.router.link, pair.dealer.link);
        assert_string_equal(zsock_user(pair.router.sock, pair.router.link), "");
        pair_close(&pair);
    }
}

static void ipv6_by_need(void **state)
{
    (void)state;
    struct zhouse house;
    struct seen seen = {.sock = NULL};
    char endpoint[ZSOCK_ENDPOINT_MAX], why[ZSOCK_WHY_MAX];
    zhouse_open(&house);
    struct zsock_cfg cfg = zhouse_cfg(&house, ZSOCK_ROUTER);
    zhouse_sock(&house, &cfg, &seen);
    if (zsock_bind(seen.sock, "tcp://[::1]:0", endpoint, why) == STATUS_OK) {
        assert_non_null(strstr(endpoint, "[::1]"));
    } else {
        print_message("no IPv6 here: %s\n", why);
    }
    zsock_close(seen.sock);
    zhouse_close(&house);
}

/* The router learns of a broken connection at once, and a new one has a new number. */
static void a_break_takes_the_link_down(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "tcp://127.0.0.1:0", NULL);
    assert_int_equal(zsock_send(pair.dealer.sock, pair.dealer.link, "a", 1), STATUS_OK);
    assert_true(zhouse_until(&pair.house, &pair.router.n_messages, 1, LONG_MS));
    uint32_t old = pair.router.link;
    zsock_close(pair.dealer.sock);
    assert_true(zhouse_until(&pair.house, &pair.router.n_down, 1, 1000));
    assert_int_equal(pair.router.down, old);
    assert_false(zsock_has(pair.router.sock, old));
    assert_int_equal(zsock_n_links(pair.router.sock), 0);
    assert_int_equal(zsock_send(pair.router.sock, old, "b", 1), STATUS_UNREACHABLE);

    char why[ZSOCK_WHY_MAX];
    struct zsock_cfg cfg = zhouse_cfg(&pair.house, ZSOCK_DEALER);
    zhouse_sock(&pair.house, &cfg, &pair.dealer);
    assert_int_equal(zsock_connect(pair.dealer.sock, pair.endpoint, why), STATUS_OK);
    assert_true(zhouse_until(&pair.house, &pair.dealer.n_up, 2, LONG_MS));
    assert_int_equal(zsock_send(pair.dealer.sock, pair.dealer.link, "c", 1), STATUS_OK);
    assert_true(zhouse_until(&pair.house, &pair.router.n_messages, 2, LONG_MS));
    assert_true(pair.router.link > old);
    pair_close(&pair);
}

static void a_dealer_comes_back(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "tcp://127.0.0.1:0", NULL);
    uint32_t old = pair.dealer.link;
    zsock_close(pair.router.sock);
    assert_true(zhouse_until(&pair.house, &pair.dealer.n_down, 1, 1000));
    assert_int_equal(pair.dealer.down, old);
    assert_int_equal(zsock_n_links(pair.dealer.sock), 0);
    assert_int_equal(zsock_send(pair.dealer.sock, old, "x", 1), STATUS_UNREACHABLE);

    struct zsock_cfg cfg = zhouse_cfg(&pair.house, ZSOCK_ROUTER);
    zhouse_sock(&pair.house, &cfg, &pair.router);
    bind_again(&pair.house, &pair.router, pair.endpoint);
    assert_true(zhouse_until(&pair.house, &pair.dealer.n_up, 2, LONG_MS));
    assert_true(pair.dealer.link > old);
    assert_int_equal(zsock_send(pair.dealer.sock, old, "x", 1), STATUS_UNREACHABLE);
    assert_int_equal(zsock_send(pair.dealer.sock, pair.dealer.link, "y", 1), STATUS_OK);
    assert_true(zhouse_until(&pair.house, &pair.router.n_messages, 1, LONG_MS));
    assert_memory_equal(pair.router.last, "y", 1);
    pair_close(&pair);
}

/* The send itself finds the peer gone, before the loop has heard of it. */
static void a_send_finds_the_peer_gone(void **state)
{
    (void)state;
    struct pair pair;
    struct zhouse none;
    struct zsock_cfg cfg = zhouse_cfg(&none, ZSOCK_ROUTER);
    cfg.queue_max = 10000000; /* never full, for that would be the answer then */
    pair_open(&pair, "tcp://127.0.0.1:0", &cfg);
    void *ctx = zmq_ctx_new();
    void *peer = zmq_socket(ctx, ZMQ_DEALER);
    assert_int_equal(zmq_connect(peer, pair.endpoint), 0);
    assert_int_equal(zmq_send(peer, "hi", 2, 0), 2);
    assert_true(zhouse_until(&pair.house, &pair.router.n_messages, 1, LONG_MS));
    uint32_t link = pair.router.link;
    int zero = 0;
    zmq_setsockopt(peer, ZMQ_LINGER, &zero, sizeof(zero));
    zmq_close(peer);
    zmq_ctx_term(ctx);
    uint64_t end = loop_now_ns(pair.house.loop) + LONG_MS * NS_PER_MS;
    enum status status = STATUS_OK;
    while (status != STATUS_UNREACHABLE && loop_now_ns(pair.house.loop) < end) {
        status = zsock_send(pair.router.sock, link, "x", 1);
    }
    assert_int_equal(status, STATUS_UNREACHABLE);
    assert_false(zsock_has(pair.router.sock, link));
    assert_int_equal(zsock_n_links(pair.router.sock), 0);
    zhouse_turn(&pair.house, 50);
    assert_int_equal(pair.router.n_down, 0);
    pair_close(&pair);
}

/* The other side breaks the protocol: libzmq would never connect again, the socket does. */
static void a_dealer_survives_a_bad_router(void **state)
{
    (void)state;
    struct zhouse house;
    struct seen dealer = {.sock = NULL};
    char endpoint[ZSOCK_ENDPOINT_MAX], why[ZSOCK_WHY_MAX], id[ZLINK_ID_MAX], byte[1];
    size_t len = sizeof(endpoint), big = 2u << 20;
    zhouse_open(&house);
    void *ctx = zmq_ctx_new();
    void *router = zmq_socket(ctx, ZMQ_ROUTER);
    int linger = 0, patience_ms = LONG_MS;
    zmq_setsockopt(router, ZMQ_LINGER, &linger, sizeof(linger));
    zmq_setsockopt(router, ZMQ_RCVTIMEO, &patience_ms, sizeof(patience_ms));
    assert_int_equal(zmq_bind(router, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &len), 0);
    struct zsock_cfg cfg = zhouse_cfg(&house, ZSOCK_DEALER);
    zhouse_sock(&house, &cfg, &dealer);
    assert_int_equal(zsock_connect(dealer.sock, endpoint, why), STATUS_OK);
    assert_int_equal(zsock_connect(dealer.sock, endpoint, why), STATUS_INVALID);
    char *bytes = calloc(1, big);
    assert_non_null(bytes);
    for (uint32_t round = 1; round <= 2; round++) {
        assert_true(zhouse_until(&house, &dealer.n_up, round, LONG_MS));
        assert_int_equal(zsock_send(dealer.sock, dealer.link, "x", 1), STATUS_OK);
        int id_len = zmq_recv(router, id, sizeof(id), 0);
        assert_true(id_len > 0);
        assert_int_equal(zmq_recv(router, byte, 1, 0), 1);
        assert_int_equal(zmq_send(router, id, (size_t)id_len, ZMQ_SNDMORE), id_len);
        assert_int_equal(zmq_send(router, bytes, big, 0), (int)big);
        assert_true(zhouse_until(&house, &dealer.n_down, round, LONG_MS));
    }
    assert_true(zhouse_until(&house, &dealer.n_up, 3, LONG_MS));
    assert_int_equal(dealer.n_messages, 0);
    free(bytes);
    zsock_close(dealer.sock);
    zmq_close(router);
    zmq_ctx_term(ctx);
    zhouse_close(&house);
}

/* A router that is not there yet: tried by libzmq and by us, connected once. */
static void a_late_router_is_found_once(void **state)
{
    (void)state;
    struct zhouse house;
    struct seen dealer = {.sock = NULL}, router = {.sock = NULL};
    char endpoint[ZSOCK_ENDPOINT_MAX], why[ZSOCK_WHY_MAX];
    zhouse_open(&house);
    struct zsock_cfg cfg = zhouse_cfg(&house, ZSOCK_ROUTER);
    zhouse_sock(&house, &cfg, &router);
    assert_int_equal(zsock_bind(router.sock, "tcp://127.0.0.1:0", endpoint, why), STATUS_OK);
    zsock_close(router.sock); /* now the port is known, and nobody there */
    struct zsock_cfg dealer_cfg = zhouse_cfg(&house, ZSOCK_DEALER);
    zhouse_sock(&house, &dealer_cfg, &dealer);
    assert_int_equal(zsock_connect(dealer.sock, endpoint, why), STATUS_OK);
    zhouse_turn(&house, 2500);
    assert_int_equal(zsock_n_links(dealer.sock), 0);
    uint32_t before = dealer.n_up; /* the closing port may have been found once more */
    assert_int_equal(dealer.n_down, before);
    zhouse_sock(&house, &cfg, &router);
    bind_again(&house, &router, endpoint);
    assert_true(zhouse_until(&house, &dealer.n_up, before + 1, LONG_MS));
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(zsock_send(dealer.sock, dealer.link, "x", 1), STATUS_OK);
    }
    assert_true(zhouse_until(&house, &router.n_messages, 20, LONG_MS));
    zhouse_turn(&house, 1200);
    assert_int_equal(router.n_up, 1);
    assert_int_equal(dealer.n_up, before + 1);
    assert_int_equal(dealer.n_down, before);
    zsock_close(dealer.sock);
    zsock_close(router.sock);
    zhouse_close(&house);
}

/* What waited for a connection that broke does not go to the next one. */
static void nothing_outlives_its_connection(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "tcp://127.0.0.1:0", NULL);
    size_t len = 100000;
    char *big = calloc(1, len);
    assert_non_null(big);
    enum status status = STATUS_OK;
    for (uint32_t n = 0; n < 100000 && status == STATUS_OK; n++) {
        status = zsock_send(pair.dealer.sock, pair.dealer.link, big, len);
    }
    free(big);
    assert_int_equal(status, STATUS_AGAIN);
    zsock_close(pair.router.sock);
    assert_true(zhouse_until(&pair.house, &pair.dealer.n_down, 1, LONG_MS));
    memset(&pair.router, 0, sizeof(pair.router));
    struct zsock_cfg cfg = zhouse_cfg(&pair.house, ZSOCK_ROUTER);
    zhouse_sock(&pair.house, &cfg, &pair.router);
    bind_again(&pair.house, &pair.router, pair.endpoint);
    assert_true(zhouse_until(&pair.house, &pair.dealer.n_up, 2, LONG_MS));
    assert_int_equal(zsock_send(pair.dealer.sock, pair.dealer.link, "new", 3), STATUS_OK);
    assert_true(zhouse_until(&pair.house, &pair.router.n_messages, 1, LONG_MS));
    assert_int_equal(pair.router.len, 3);
    zhouse_turn(&pair.house, 50);
    assert_int_equal(pair.router.n_messages, 1);
    pair_close(&pair);
}

/* A router's peer that does not read: AGAIN, and everything that was taken arrives. */
static void a_full_queue_says_so(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "tcp://127.0.0.1:0", NULL);
    assert_int_equal(zsock_send(pair.dealer.sock, pair.dealer.link, "a", 1), STATUS_OK);
    assert_true(zhouse_until(&pair.house, &pair.router.n_messages, 1, LONG_MS));
    size_t len = 100000;
    char *big = calloc(1, len);
    assert_non_null(big);
    uint32_t n = 0;
    enum status status = STATUS_OK;
    while (n < 100000 && status == STATUS_OK) {
        status = zsock_send(pair.router.sock, pair.router.link, big, len);
        n += status == STATUS_OK;
    }
    assert_int_equal(status, STATUS_AGAIN);
    assert_true(zsock_has(pair.router.sock, pair.router.link));
    assert_true(zhouse_until(&pair.house, &pair.dealer.n_messages, n, LONG_MS));
    zhouse_turn(&pair.house, 20);
    assert_int_equal(pair.dealer.n_messages, n);
    assert_int_equal(zsock_send(pair.router.sock, pair.router.link, big, (1 << 20) + 1),
                     STATUS_TOO_BIG);
    free(big);
    pair_close(&pair);
}

/* Foreign sockets: many parts, no payload, too big. Nothing of it reaches the handler, and the
 * good peer notices nothing. */
static void bad_peers_are_not_heard(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "tcp://127.0.0.1:0", NULL);
    void *ctx = zmq_ctx_new();
    void *bad = zmq_socket(ctx, ZMQ_DEALER);
    int zero = 0;
    zmq_setsockopt(bad, ZMQ_LINGER, &zero, sizeof(zero));
    assert_int_equal(zmq_connect(bad, pair.endpoint), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(zmq_send(bad, "x", 1, ZMQ_SNDMORE), 1);
        assert_int_equal(zmq_send(bad, "y", 1, ZMQ_SNDMORE), 1);
        assert_int_equal(zmq_send(bad, "z", 1, 0), 1);
    }
    assert_int_equal(zmq_send(bad, "good", 4, 0), 4);
    assert_true(zhouse_until(&pair.house, &pair.router.n_messages, 1, LONG_MS));
    assert_memory_equal(pair.router.last, "good", 4);
    size_t len = (1 << 20) + 1;
    char *big = calloc(1, len);
    assert_non_null(big);
    assert_int_equal(zmq_send(bad, big, len, 0), (int)len);
    assert_true(zhouse_until(&pair.house, &pair.router.n_down, 1, LONG_MS));
    free(big);
    assert_int_equal(pair.router.n_messages, 1);
    zmq_close(bad);
    zmq_ctx_term(ctx);
    assert_int_equal(pair.dealer.n_down, 0);
    assert_int_equal(zsock_send(pair.dealer.sock, pair.dealer.link, "a", 1), STATUS_OK);
    assert_true(zhouse_until(&pair.house, &pair.router.n_messages, 2, LONG_MS));
    pair_close(&pair);
}

/* A peer that keeps its routing id over reconnects is another link each time. */
static void a_kept_routing_id_is_a_new_link(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "tcp://127.0.0.1:0", NULL);
    uint32_t links[3];
    for (uint32_t i = 0; i < 3; i++) {
        void *ctx = zmq_ctx_new();
        void *peer = zmq_socket(ctx, ZMQ_DEALER);
        int zero = 0;
        zmq_setsockopt(peer, ZMQ_LINGER, &zero, sizeof(zero));
        assert_int_equal(zmq_setsockopt(peer, ZMQ_ROUTING_ID, "same", 4), 0);
        assert_int_equal(zmq_connect(peer, pair.endpoint), 0);
        zmq_send(peer, "hi", 2, 0);
        assert_true(zhouse_until(&pair.house, &pair.router.n_messages, i + 1, LONG_MS));
        links[i] = pair.router.link;
        zmq_close(peer);
        zmq_ctx_term(ctx);
        assert_true(zhouse_until(&pair.house, &pair.router.n_down, i + 1, LONG_MS));
        assert_int_equal(pair.router.down, links[i]);
    }
    assert_true(links[0] < links[1] && links[1] < links[2]);
    pair_close(&pair);
}

/* A plain peer under a routing id of its own says "hi" once; false if nothing was heard of it:
 * libzmq ignores a second owner of an id while it still knows the first. */
static bool say_hi(struct pair *pair)
{
    uint32_t before = pair->router.n_messages;
    uint64_t end = loop_now_ns(pair->house.loop) + 300 * NS_PER_MS;
    void *ctx = zmq_ctx_new();
    void *peer = zmq_socket(ctx, ZMQ_DEALER);
    int zero = 0;
    zmq_setsockopt(peer, ZMQ_LINGER, &zero, sizeof(zero));
    assert_int_equal(zmq_setsockopt(peer, ZMQ_ROUTING_ID, "same", 4), 0);
    assert_int_equal(zmq_connect(peer, pair->endpoint), 0);
    assert_int_equal(zmq_send(peer, "hi", 2, 0), 2);
    while (pair->router.n_messages == before && loop_now_ns(pair->house.loop) < end) {
        (void)zsock_drain(pair->router.sock);
    }
    zmq_close(peer);
    zmq_ctx_term(ctx);
    return pair->router.n_messages > before;
}

/* The same where the new connection speaks before the loop has read that the old one broke. */
static void a_taken_over_routing_id_is_a_new_link(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "tcp://127.0.0.1:0", NULL);
    uint32_t links[2] = {0, 0};
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t end = loop_now_ns(pair.house.loop) + LONG_MS * NS_PER_MS;
        bool heard = false;
        while (!heard && loop_now_ns(pair.house.loop) < end) {
            heard = say_hi(&pair);
        }
        assert_true(heard);
        links[i] = pair.router.last_link;
    }
    assert_int_not_equal(links[0], links[1]);
    assert_false(zsock_has(pair.router.sock, links[0]));
    assert_true(pair.router.n_down >= 1);
    pair_close(&pair);
}

/* ---- no wake-up is lost --------------------------------------------------------------------- */

#define ROUNDS 3000

/* A peer of plain libzmq that sends everything back, until it gets an empty message. */
static void *echo_thread(void *arg)
{
    char id[ZLINK_ID_MAX], bytes[64];
    for (;;) {
        int id_len = zmq_recv(arg, id, sizeof(id), 0);
        int len = zmq_recv(arg, bytes, sizeof(bytes), 0);
        if (id_len <= 0 || len <= 0) {
            return NULL;
        }
        zmq_send(arg, id, (size_t)id_len, ZMQ_SNDMORE);
        zmq_send(arg, bytes, (size_t)len, 0);
    }
}

struct pump {
    struct zhouse house;
    struct seen dealer;
    struct loop_timer *timer;
    struct loop_timer *watch;
    uint32_t n_sent;
    uint32_t n_before; /* messages at the last look of the watch */
    bool stuck;
};

static void pump_send(struct pump *pump)
{
    if (pump->n_sent - pump->dealer.n_messages < 3 &&
        zsock_send(pump->dealer.sock, pump->dealer.link, "ping", 4) == STATUS_OK) {
        pump->n_sent++;
    }
}

/* Sends outside of any drain. Sometimes it lingers, so that an answer is announced meanwhile, and
 * the next send swallows the announcement (libzmq looks at its commands once in a while only). */
static void on_pump(void *ctx)
{
    struct pump *pump = ctx;
    if (pump->dealer.n_messages >= ROUNDS) {
        loop_stop(pump->house.loop);
    }
    pump_send(pump);
    if (pump->n_sent % 16 == 0) {
        uint64_t end = loop_now_ns(pump->house.loop) + 2 * NS_PER_MS;
        while (loop_now_ns(pump->house.loop) < end) {
        }
        pump_send(pump);
    }
    loop_timer_after(pump->timer, pump->n_sent * 7919u % 40 * NS_PER_US);
}

static void on_watch(void *ctx)
{
    struct pump *pump = ctx;
    pump->stuck = pump->dealer.n_messages == pump->n_before;
    pump->n_before = pump->dealer.n_messages;
    if (pump->stuck) {
        loop_stop(pump->house.loop);
    }
}

static void no_wake_up_is_lost(void **state)
{
    (void)state;
    static struct pump pump;
    char endpoint[ZSOCK_ENDPOINT_MAX], why[ZSOCK_WHY_MAX];
    size_t len = sizeof(endpoint);
    pthread_t thread;
    memset(&pump, 0, sizeof(pump));
    zhouse_open(&pump.house);
    void *ctx = zmq_ctx_new();
    void *echo = zmq_socket(ctx, ZMQ_ROUTER);
    int patience_ms = LONG_MS; /* a lost word ends the test and does not hang it */
    zmq_setsockopt(echo, ZMQ_RCVTIMEO, &patience_ms, sizeof(patience_ms));
    assert_int_equal(zmq_bind(echo, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(echo, ZMQ_LAST_ENDPOINT, endpoint, &len), 0);
    assert_int_equal(pthread_create(&thread, NULL, echo_thread, echo), 0);
    struct zsock_cfg cfg = zhouse_cfg(&pump.house, ZSOCK_DEALER);
    zhouse_sock(&pump.house, &cfg, &pump.dealer);
    assert_int_equal(zsock_connect(pump.dealer.sock, endpoint, why), STATUS_OK);
    assert_true(zhouse_until(&pump.house, &pump.dealer.n_up, 1, LONG_MS));
    assert_int_equal(loop_timer_create(pump.house.loop, on_pump, &pump, &pump.timer), STATUS_OK);
    assert_int_equal(loop_timer_create(pump.house.loop, on_watch, &pump, &pump.watch), STATUS_OK);
    loop_timer_after(pump.timer, 0);
    loop_timer_every(pump.watch, 3 * NS_PER_S);
    assert_int_equal(loop_run(pump.house.loop), STATUS_OK);
    assert_false(pump.stuck);
    assert_true(pump.dealer.n_messages >= ROUNDS);
    while (zsock_send(pump.dealer.sock, pump.dealer.link, "", 0) == STATUS_AGAIN) {
        loop_turn(pump.house.loop, NS_PER_MS);
    }
    pthread_join(thread, NULL);
    loop_timer_destroy(pump.timer);
    loop_timer_destroy(pump.watch);
    zsock_close(pump.dealer.sock);
    zmq_close(echo);
    zmq_ctx_term(ctx);
    zhouse_close(&pump.house);
}

static void the_quietest_makes_room(void **state)
{
    (void)state;
    struct pair pair;
    struct zhouse none;
    struct zsock_cfg cfg = zhouse_cfg(&none, ZSOCK_ROUTER);
    cfg.links_max = 2;
    pair_open(&pair, "tcp://127.0.0.1:0", &cfg);
    struct seen others[2] = {{.sock = NULL}, {.sock = NULL}};
    uint32_t links[2];
    char why[ZSOCK_WHY_MAX];
    for (size_t i = 0; i < 2; i++) {
        struct zsock_cfg dealer = zhouse_cfg(&pair.house, ZSOCK_DEALER);
        zhouse_sock(&pair.house, &dealer, &others[i]);
        assert_int_equal(zsock_connect(others[i].sock, pair.endpoint, why), STATUS_OK);
        assert_true(zhouse_until(&pair.house, &others[i].n_up, 1, LONG_MS));
        assert_int_equal(zsock_send(others[i].sock, others[i].link, "x", 1), STATUS_OK);
        assert_true(zhouse_until(&pair.house, &pair.router.n_messages, (uint32_t)i + 1, LONG_MS));
        links[i] = pair.router.link;
    }
    assert_int_equal(zsock_send(pair.dealer.sock, pair.dealer.link, "y", 1), STATUS_OK);
    assert_true(zhouse_until(&pair.house, &pair.router.n_messages, 3, LONG_MS));
    assert_int_equal(pair.router.n_down, 1);
    assert_int_equal(pair.router.down, links[0]);
    assert_int_equal(zsock_n_links(pair.router.sock), 2);
    zsock_drop(pair.router.sock, links[1]);
    assert_false(zsock_has(pair.router.sock, links[1]));
    zsock_close(others[0].sock);
    zsock_close(others[1].sock);
    pair_close(&pair);
}

static void handlers_may_close(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "tcp://127.0.0.1:0", NULL);
    pair.router.close_on_message = true;
    assert_int_equal(zsock_send(pair.dealer.sock, pair.dealer.link, "x", 1), STATUS_OK);
    assert_true(zhouse_until(&pair.house, &pair.router.n_messages, 1, LONG_MS));
    assert_null(pair.router.sock);
    assert_true(zhouse_until(&pair.house, &pair.dealer.n_down, 1, LONG_MS));
    zsock_close(pair.dealer.sock);

    pair.dealer.close_on_up = true;
    pair.router.close_on_message = false;
    pair.router.close_on_up = true;
    char why[ZSOCK_WHY_MAX];
    struct zsock_cfg cfg = zhouse_cfg(&pair.house, ZSOCK_ROUTER);
    zhouse_sock(&pair.house, &cfg, &pair.router);
    assert_int_equal(zsock_bind(pair.router.sock, "tcp://127.0.0.1:0", pair.endpoint, why),
                     STATUS_OK);
    cfg = zhouse_cfg(&pair.house, ZSOCK_DEALER);
    zhouse_sock(&pair.house, &cfg, &pair.dealer);
    assert_int_equal(zsock_connect(pair.dealer.sock, pair.endpoint, why), STATUS_OK);
    assert_true(zhouse_until(&pair.house, &pair.dealer.n_up, 2, LONG_MS));
    assert_null(pair.dealer.sock);
    pair_close(&pair);
}

static void errors_say_what_to_do(void **state)
{
    (void)state;
    struct pair pair;
    char why[ZSOCK_WHY_MAX] = "", endpoint[ZSOCK_ENDPOINT_MAX];
    pair_open(&pair, "tcp://127.0.0.1:0", NULL);
    struct seen second = {.sock = NULL};
    struct zsock_cfg cfg = zhouse_cfg(&pair.house, ZSOCK_ROUTER);
    zhouse_sock(&pair.house, &cfg, &second);
    assert_int_equal(zsock_bind(second.sock, pair.endpoint, endpoint, why), STATUS_EXISTS);
    assert_non_null(strstr(why, "in use"));
    assert_non_null(strstr(why, pair.endpoint));
    assert_int_equal(zsock_bind(second.sock, "127.0.0.1", endpoint, why), STATUS_INVALID);
    assert_non_null(strstr(why, "tcp://127.0.0.1:5555"));
    assert_int_equal(zsock_bind(second.sock, "tcp://127.0.0.1:99999", endpoint, why),
                     STATUS_INVALID);
    zsock_close(second.sock);
    pair_close(&pair);
}

static void exposure_is_refused(void **state)
{
    (void)state;
    static const char *const near[] = {
        "tcp://127.0.0.1:5555", "tcp://127.9.9.9:*", "tcp://[::1]:5555", "tcp://localhost:1",
        "tcp://lo:0",           "ipc:///run/x",      "inproc://x"};
    static const char *const far[] = {"tcp://*:5555",
                                      "tcp://0.0.0.0:5555",
                                      "tcp://[::]:5555",
                                      "tcp://10.0.0.1:5555",
                                      "tcp://eth0:5555",
                                      "tcp://127.0.0.1.example:5555",
                                      "tcp://[::ffff:10.0.0.1]:5555",
                                      "tcp://127.1:5555",
                                      "tcp://",
                                      "udp://127.0.0.1:5",
                                      ""};
    char why[ZSOCK_WHY_MAX];
    for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++) {
        assert_int_equal(zsock_check_exposure(near[i], false, false, why), STATUS_OK);
    }
    for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
        why[0] = '\0';
        assert_int_equal(zsock_check_exposure(far[i], false, false, why), STATUS_DENIED);
        assert_non_null(strstr(why, "baton keygen"));
        assert_non_null(strstr(why, "--insecure"));
        assert_int_equal(zsock_check_exposure(far[i], true, false, why), STATUS_OK);
        assert_int_equal(zsock_check_exposure(far[i], false, true, why), STATUS_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_go_both_ways),
        cmocka_unit_test(ipv6_by_need),
        cmocka_unit_test(a_break_takes_the_link_down),
        cmocka_unit_test(a_dealer_comes_back),
        cmocka_unit_test(a_send_finds_the_peer_gone),
        cmocka_unit_test(a_dealer_survives_a_bad_router),
        cmocka_unit_test(a_late_router_is_found_once),
        cmocka_unit_test(nothing_outlives_its_connection),
        cmocka_unit_test(a_full_queue_says_so),
        cmocka_unit_test(bad_peers_are_not_heard),
        cmocka_unit_test(a_kept_routing_id_is_a_new_link),
        cmocka_unit_test(a_taken_over_routing_id_is_a_new_link),
        cmocka_unit_test(no_wake_up_is_lost),
        cmocka_unit_test(the_quietest_makes_room),
        cmocka_unit_test(handlers_may_close),
        cmocka_unit_test(errors_say_what_to_do),
        cmocka_unit_test(exposure_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
