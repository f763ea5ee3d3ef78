/* The pre-scan against a plain recursive reader and against msgpack-c, over all short inputs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "wire/msg.h"
#include "wire/scan.h"

/* The reference: straight from the format's table, no cleverness. Returns the bytes used, or 0. */
static size_t reference(const uint8_t *at, size_t len, uint32_t depth);

static size_t reference_many(const uint8_t *at, size_t len, size_t head, uint64_t n, uint32_t depth)
{
    size_t used = head;
    if (depth == WIRE_DEPTH_MAX) {
        return 0;
    }
    for (uint64_t i = 0; i < n; i++) {
        size_t one = used < len ? reference(at + used, len - used, depth + 1) : 0;
        if (one == 0) {
            return 0;
        }
        used += one;
    }
    return used;
}

static uint64_t big_endian(const uint8_t *at, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        value = value * 256 + at[i];
    }
    return value;
}

static size_t reference(const uint8_t *at, size_t len, uint32_t depth)
{
    uint8_t f = at[0];
    size_t size = 0; /* bytes of a length behind the format */
    if (f <= 0x7f || f >= 0xe0 || f == 0xc0 || f == 0xc2 || f == 0xc3) {
        return 1;
    }
    if (f <= 0x8f) {
        return reference_many(at, len, 1, 2 * (f - 0x80u), depth);
    }
    if (f <= 0x9f) {
        return reference_many(at, len, 1, f - 0x90u, depth);
    }
    if (f <= 0xbf) {
        size = 1 + (f - 0xa0u);
        return size <= len ? size : 0;
    }
    switch (f) {
    case 0xcc:
    case 0xd0:
        return len >= 2 ? 2 : 0;
    case 0xcd:
    case 0xd1:
        return len >= 3 ? 3 : 0;
    case 0xca:
    case 0xce:
    case 0xd2:
        return len >= 5 ? 5 : 0;
    case 0xcb:
    case 0xcf:
    case 0xd3:
        return len >= 9 ? 9 : 0;
    case 0xc4:
    case 0xd9:
        size = 1;
        break;
    case 0xc5:
    case 0xda:
    case 0xdc:
    case 0xde:
        size = 2;
        break;
    case 0xc6:
    case 0xdb:
    case 0xdd:
    case 0xdf:
        size = 4;
        break;
    default:
        return 0;
    }
    if (len < 1 + size) {
        return 0;
    }
    uint64_t n = big_endian(at + 1, size);
    if (f >= 0xdc) {
        return reference_many(at, len, 1 + size, f >= 0xde ? 2 * n : n, depth);
    }
    return n <= len - 1 - size ? 1 + size + n : 0;
}

static void agree(const uint8_t *bytes, size_t len)
{
    bool expected = len > 0 && reference(bytes, len, 0) == len;
    const char *why = NULL;
    enum status found = wire_scan(bytes, len, &why);
    if ((found == STATUS_OK) != expected || (found != STATUS_OK && !why)) {
        char text[64] = "";
        for (size_t i = 0; i < len && i < 16; i++) {
            snprintf(text + 3 * i, 4, "%02x ", bytes[i]);
        }
        fail_msg("%s: expected %s, found %s", text, expected ? "good" : "bad", status_name(found));
    }
}

static void all_inputs_of_three_bytes(void **state)
{
    (void)state;
    uint8_t bytes[3] = {0};
    agree(bytes, 0);
    for (uint32_t i = 0; i < 1u << 24; i++) {
        bytes[0] = (uint8_t)(i >> 16);
        bytes[1] = (uint8_t)(i >> 8);
        bytes[2] = (uint8_t)i;
        agree(bytes, 3);
        if (bytes[2] == 0) {
            agree(bytes, 2);
            agree(bytes, 1);
        }
    }
}

/* One byte of each kind that the format knows, in all orders up to five. */
static void all_inputs_of_five_kinds(void **state)
{
    (void)state;
    static const uint8_t kinds[] = {0x00, 0x02, 0x80, 0x81, 0x90, 0x92, 0xa0, 0xa1, 0xc0, 0xc1,
                                    0xc4, 0xc7, 0xcc, 0xcd, 0xd0, 0xd4, 0xd9, 0xdc, 0xde, 0xff};
    const size_t n = sizeof(kinds);
    uint8_t bytes[5] = {0};
    for (size_t len = 3; len <= 5; len++) {
        size_t total = 1;
        for (size_t i = 0; i < len; i++) {
            total *= n;
        }
        for (size_t code = 0; code < total; code++) {
            size_t left = code;
            for (size_t i = 0; i < len; i++) {
                bytes[i] = kinds[left % n];
                left /= n;
            }
            agree(bytes, len);
        }
    }
}

/* What the scan lets pass, msgpack-c reads too, to its end. */
static void what_passes_is_msgpack(void **state)
{
    (void)state;
    struct rand rng;
    rand_init(&rng, 5);
    static const uint8_t heads[] = {0x81, 0x82, 0x92, 0x93, 0xa2, 0xc4, 0xca, 0xcb, 0xcd,
                                    0xd3, 0xd9, 0xdc, 0xde, 0x01, 0xc0, 0xc3, 0xe0, 0x90};
    uint32_t n_good = 0;
    for (uint32_t round = 0; round < 300000; round++) {
        uint8_t bytes[24];
        size_t len = 1 + rand_below(&rng, sizeof(bytes));
        for (size_t i = 0; i < len; i++) {
            bytes[i] = rand_chance(&rng, 1, 2) ? heads[rand_below(&rng, sizeof(heads))]
                                               : (uint8_t)rand_below(&rng, 4);
        }
        size_t used = reference(bytes, len, 0);
        len = used ? used : len;
        agree(bytes, len);
        if (wire_scan(bytes, len, NULL) != STATUS_OK) {
            continue;
        }
        msgpack_unpacked result;
        size_t offset = 0;
        msgpack_unpacked_init(&result);
        assert_int_equal(msgpack_unpack_next(&result, (const char *)bytes, len, &offset),
                         MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(offset, len);
        msgpack_unpacked_destroy(&result);
        n_good++;
    }
    assert_true(n_good > 10000);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    uint8_t bytes[WIRE_DEPTH_MAX + 2];
    for (size_t depth = 0; depth <= WIRE_DEPTH_MAX; depth++) {
        memset(bytes, 0x91, depth);
        bytes[depth] = 0xc0;
        assert_int_equal(wire_scan(bytes, depth + 1, NULL), STATUS_OK);
    }
    memset(bytes, 0x91, sizeof(bytes));
    bytes[sizeof(bytes) - 1] = 0xc0;
    assert_int_equal(wire_scan(bytes, sizeof(bytes), NULL), STATUS_TOO_BIG);
}

static void size_is_bounded(void **state)
{
    (void)state;
    size_t len = WIRE_CONTROL_BYTES_MAX;
    uint8_t *bytes = calloc(1, len + 1);
    assert_non_null(bytes);
    uint64_t n = len - 5;
    bytes[0] = 0xdd;
    for (size_t i = 0; i < 4; i++) {
        bytes[1 + i] = (uint8_t)(n >> (24 - 8 * i));
    }
    assert_int_equal(wire_scan(bytes, len, NULL), STATUS_OK);
    assert_int_equal(wire_scan(bytes, len + 1, NULL), STATUS_TOO_BIG);
    bytes[4]++;
    assert_int_equal(wire_scan(bytes, len, NULL), STATUS_MALFORMED);
    free(bytes);
}

/* Each key is looked for among the known ones: millions of them would keep a loop busy. */
static void keys_are_bounded(void **state)
{
    (void)state;
    uint8_t bytes[3 + 2 * (WIRE_KEYS_MAX + 1)] = {0xde, 0, WIRE_KEYS_MAX};
    const char *why = "";
    assert_int_equal(wire_scan(bytes, 3 + 2 * WIRE_KEYS_MAX, NULL), STATUS_OK);
    bytes[2]++;
    assert_int_equal(wire_scan(bytes, sizeof(bytes), &why), STATUS_TOO_BIG);
    assert_non_null(strstr(why, "64 keys"));
}

/* What is still owed outside counts too: each of these arrays alone would fit. */
static void nested_promises_add_up(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x94, 0x94, 0, 0, 0, 0, 0};
    const char *why = "";
    assert_int_equal(wire_scan(bytes, sizeof(bytes), &why), STATUS_MALFORMED);
    assert_non_null(strstr(why, "more elements than bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_inputs_of_three_bytes), cmocka_unit_test(all_inputs_of_five_kinds),
        cmocka_unit_test(what_passes_is_msgpack),    cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(size_is_bounded),           cmocka_unit_test(keys_are_bounded),
        cmocka_unit_test(nested_promises_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
