/* What a socket keeps of one peer while its loop has no time: so much and no more, and nothing of
 * it is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "tests/wire/zpair.h"

#define LONG_MS 20000
#define BIG (1u << 20)
#define KERNEL_HOLDS 64u /* such messages at most, in the buffers of both ends */

/* Sends until nothing was taken for a while; the count. */
static uint32_t send_all(struct zhouse *house, struct seen *dealer, const char *big, uint32_t max)
{
    uint64_t last_ns = loop_now_ns(house->loop);
    uint32_t n = 0;
    while (n < max && loop_now_ns(house->loop) - last_ns < 300 * NS_PER_MS) {
        if (zsock_send(dealer->sock, dealer->link, big, BIG) == STATUS_OK) {
            last_ns = loop_now_ns(house->loop);
            n++;
        }
    }
    return n;
}

static void unread_messages_are_bounded(void **state)
{
    (void)state;
    char endpoint[ZSOCK_ENDPOINT_MAX], why[ZSOCK_WHY_MAX];
    struct seen router = {.n_up = 0}, dealer = {.n_up = 0};
    char *big = calloc(1, BIG);
    struct zhouse house;
    zhouse_open(&house);
    struct zsock_cfg router_cfg = zhouse_cfg(&house, ZSOCK_ROUTER);
    struct zsock_cfg dealer_cfg = zhouse_cfg(&house, ZSOCK_DEALER);
    router_cfg.queue_max = 10000;
    router_cfg.unread_max = 4;
    router_cfg.heartbeat_ms = dealer_cfg.heartbeat_ms = 0;
    dealer_cfg.queue_max = 1;
    assert_non_null(big);
    zhouse_sock(&house, &router_cfg, &router);
    assert_int_equal(zsock_bind(router.sock, "tcp://127.0.0.1:*", endpoint, why), STATUS_OK);
    zhouse_sock(&house, &dealer_cfg, &dealer);
    assert_int_equal(zsock_connect(dealer.sock, endpoint, why), STATUS_OK);
    assert_true(zhouse_until(&house, &dealer.n_up, 1, LONG_MS));
    uint32_t n = send_all(&house, &dealer, big, 500);
    assert_in_range(n, 4, 4 + 1 + KERNEL_HOLDS);
    assert_true(zhouse_until(&house, &router.n_messages, n, LONG_MS));
    zsock_close(dealer.sock);
    zsock_close(router.sock);
    zhouse_close(&house);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(unread_messages_are_bounded)};
    const struct log_options silent = {.level = LOG_LEVEL_OFF};
    (void)log_open(&silent);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
