/* The pre-scan: one pass with a stack of WIRE_DEPTH_MAX counters. It also keeps the sum of all
 * elements that open maps and arrays still owe: each needs a byte at least, so a sum over the bytes
 * that remain is refused at the head that announced it, not after the work. */
#include "wire/scan.h"

#include "wire/item.h"
#include "wire/msg.h"

static enum status refuse(enum status status, const char *why, const char **why_out)
{
    if (why_out) {
        *why_out = why;
    }
    return status;
}

enum status wire_scan(const void *buf, size_t len, const char **why_out)
{
    if (len > WIRE_CONTROL_BYTES_MAX) {
        return refuse(STATUS_TOO_BIG, "message: expected at most 8 MiB", why_out);
    }
    const uint8_t *at = buf;
    const uint8_t *end = at + len;
    uint64_t left[WIRE_DEPTH_MAX + 1] = {1}; /* elements owed at each depth */
    uint64_t owed = 1;                       /* their sum */
    uint32_t depth = 0;
    while (owed > 0) {
        struct wire_item item;
        const uint8_t *next = wire_item_read(at, end, &item);
        if (!next) {
            return refuse(STATUS_MALFORMED,
                          at == end ? "message: it ends before its last element"
                                    : "message: an element is cut off, an extension, or no msgpack",
                          why_out);
        }
        at = next;
        left[depth]--;
        owed--;
        if (item.type >= WIRE_ITEM_ARRAY) {
            uint64_t n = item.type == WIRE_ITEM_MAP ? 2 * (uint64_t)item.n : item.n;
            if (depth == WIRE_DEPTH_MAX) {
                return refuse(STATUS_TOO_BIG, "message: expected at most 4 nested maps and arrays",
                              why_out);
            }
            owed += n;
            if (owed > (uint64_t)(end - at)) {
                return refuse(STATUS_MALFORMED, "message: it announces more elements than bytes",
                              why_out);
            }
            if (item.type == WIRE_ITEM_MAP && item.n > WIRE_KEYS_MAX) {
                return refuse(STATUS_TOO_BIG, "message: expected at most 64 keys in a map",
                              why_out);
            }
            left[++depth] = n;
        }
        while (depth > 0 && left[depth] == 0) {
            depth--;
        }
    }
    if (at != end) {
        return refuse(STATUS_MALFORMED, "message: bytes follow its end", why_out);
    }
    return STATUS_OK;
}
