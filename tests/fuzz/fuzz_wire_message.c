/* Bytes from anywhere into the message decoder. What it takes, it must be able to say again: the
 * encoding fits the bound, decodes to an equal message, and every length of print is safe. What it
 * refuses, it refuses with a sentence and without touching the result. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "tests/wire/equal.h"
#include "wire/scan.h"

#define ARENA_BYTES (64u << 20)
#define ENCODED_MAX (1u << 20)

static char encoded[ENCODED_MAX];

static void print_all(const struct wire_msg *msg)
{
    char text[512];
    for (size_t capacity = 1; capacity <= sizeof(text); capacity *= 2) {
        wire_msg_print(msg, text, capacity);
        CHECK(strnlen(text, capacity) < capacity);
    }
}

static void say_again(struct arena *arena, const struct wire_msg *msg)
{
    struct wire_msg back;
    const char *why = "";
    size_t len = 0, bound = wire_msg_bound(msg);
    if (bound > sizeof(encoded)) {
        return;
    }
    CHECK(wire_msg_encode(msg, encoded, bound, &len) == STATUS_OK);
    CHECK_MSG(wire_msg_decode(encoded, len, arena, &back, &why) == STATUS_OK, why);
    CHECK(equal_msg(msg, &back));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena;
    struct wire_msg msg, before;
    const char *why = NULL;
    CHECK(arena_create(4096, ARENA_BYTES, &arena) == STATUS_OK);
    memset(&msg, 0x5a, sizeof(msg));
    before = msg;
    enum status status = wire_msg_decode(data, size, arena, &msg, &why);
    if (status == STATUS_OK) {
        CHECK(wire_scan(data, size, NULL) == STATUS_OK);
        print_all(&msg);
        say_again(arena, &msg);
    } else {
        CHECK(status == STATUS_MALFORMED || status == STATUS_TOO_BIG);
        CHECK(why && why[0]);
        CHECK(memcmp(&msg, &before, sizeof(msg)) == 0);
    }
    arena_destroy(arena);
    return 0;
}
