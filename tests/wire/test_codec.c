/* The codec: round trips of every kind, the defaults, the limits, the refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "wire/msg.h"

static void token_comes_back(void **state)
{
    (void)state;
    struct arena *arena;
    assert_int_equal(arena_create(4096, 1 << 20, &arena), STATUS_OK);
    struct wire_msg msg, back;
    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    msg.req.byte[3] = 7;
    msg.seq = 300;
    msg.token.index = 5;
    msg.token.token = 70000;
    msg.token.text = wire_span_of("a");
    msg.token.logprob = -1.5;
    char buf[256];
    size_t len;
    assert_int_equal(wire_msg_encode(&msg, buf, sizeof(buf), &len), STATUS_OK);
    assert_true(len <= wire_msg_bound(&msg));
    const char *why = "";
    assert_int_equal(wire_msg_decode(buf, len, arena, &back, &why), STATUS_OK);
    assert_int_equal(back.kind, WIRE_KIND_TOKEN);
    assert_int_equal(back.token.index, 5);
    assert_int_equal(back.token.token, 70000);
    assert_true(back.token.logprob == -1.5);
    assert_true(wire_span_equal(back.token.text, msg.token.text));
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(token_comes_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
