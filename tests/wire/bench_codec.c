/* How fast one core encodes and decodes a token message; no test, run by hand. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "wire/msg.h"

#define ROUNDS 2000000u

int main(void)
{
    struct clock clock = clock_monotonic();
    struct arena *arena;
    struct wire_msg msg, back;
    char buf[256];
    size_t len = 0, sum = 0;
    if (arena_create(4096, 1 << 20, &arena) != STATUS_OK) {
        return EXIT_FAILURE;
    }
    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    msg.session = 3;
    msg.from = UINT64_C(0x123456789abcdef0);
    msg.to = UINT64_C(0xfedcba9876543210);
    msg.req.byte[0] = 1;
    msg.attempt = 1;
    msg.token.text = wire_span_of(" token");
    msg.token.logprob = -0.25;
    msg.token.step_us = 12000;
    uint64_t start = clock_now_ns(&clock);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        msg.seq = i;
        msg.token.index = i & 0xffff;
        msg.token.token = i;
        if (wire_msg_encode(&msg, buf, sizeof(buf), &len) != STATUS_OK) {
            return EXIT_FAILURE;
        }
        sum += len;
    }
    uint64_t middle = clock_now_ns(&clock);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (wire_msg_decode(buf, len, arena, &back, NULL) != STATUS_OK) {
            return EXIT_FAILURE;
        }
        sum += back.token.token;
    }
    uint64_t end = clock_now_ns(&clock);
    printf("token message of %zu bytes: %.2f million encodes/s, %.2f million decodes/s (%zu)\n",
           len, 1e3 * ROUNDS / (double)(middle - start), 1e3 * ROUNDS / (double)(end - middle),
           sum);
    arena_destroy(arena);
    return EXIT_SUCCESS;
}
