/* See zpair.h. */
#include "tests/wire/zpair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static void on_up(void *ctx, uint32_t link)
{
    struct seen *seen = ctx;
    seen->link = link;
    seen->n_up++;
    if (seen->close_on_up) {
        zsock_close(seen->sock);
        seen->sock = NULL;
    }
}

static void on_down(void *ctx, uint32_t link)
{
    struct seen *seen = ctx;
    seen->down = link;
    seen->n_down++;
}

static void on_message(void *ctx, uint32_t link, const void *bytes, size_t len)
{
    struct seen *seen = ctx;
    seen->n_messages++;
    seen->len = len;
    seen->last_link = link;
    memcpy(seen->last, bytes, len < sizeof(seen->last) ? len : sizeof(seen->last));
    if (seen->echo) {
        assert_int_equal(zsock_send(seen->sock, link, bytes, len), STATUS_OK);
    }
    if (seen->close_on_message) {
        zsock_close(seen->sock);
        seen->sock = NULL;
    }
}

static void on_refused(void *ctx, const char *why)
{
    struct seen *seen = ctx;
    seen->n_refused++;
    snprintf(seen->refused, sizeof(seen->refused), "%s", why);
}

void zhouse_open(struct zhouse *house)
{
    *house = (struct zhouse){.numbers = 0};
    const struct loop_options options = {.name = "test", .clock = clock_monotonic()};
    const struct zctx_cfg cfg = {.io_threads = 1, .sockets_max = 64};
    assert_int_equal(loop_create(&options, &house->loop), STATUS_OK);
    assert_int_equal(zctx_open(&cfg, &house->ctx), STATUS_OK);
}

void zhouse_close(struct zhouse *house)
{
    zctx_close(house->ctx);
    loop_destroy(house->loop);
}

struct zsock_cfg zhouse_cfg(struct zhouse *house, enum zsock_type type)
{
    return (struct zsock_cfg){.type = type,
                              .name = type == ZSOCK_ROUTER ? "router" : "dealer",
                              .numbers = &house->numbers,
                              .queue_max = 100,
                              .bytes_max = 1 << 20,
                              .links_max = 16,
                              .reconnect_ms = 20,
                              .heartbeat_ms = 1000};
}

void zhouse_sock(struct zhouse *house, const struct zsock_cfg *cfg, struct seen *seen)
{
    const struct zsock_handler handler = {
        .up = on_up, .down = on_down, .message = on_message, .refused = on_refused, .ctx = seen};
    assert_int_equal(zsock_open(house->ctx, cfg, house->loop, &handler, &seen->sock), STATUS_OK);
}

bool zhouse_until(struct zhouse *house, const uint32_t *counter, uint32_t least, uint32_t limit_ms)
{
    uint64_t end = loop_now_ns(house->loop) + limit_ms * NS_PER_MS;
    while (*counter < least && loop_now_ns(house->loop) < end) {
        assert_int_equal(loop_turn(house->loop, 5 * NS_PER_MS), STATUS_OK);
    }
    return *counter >= least;
}

void zhouse_turn(struct zhouse *house, uint32_t ms)
{
    uint32_t never = 0;
    (void)zhouse_until(house, &never, 1, ms);
}
