/* What a core wants sent: a list of encoded messages, each for one link. A core posts at once
 * encoded bytes, so nothing in the list points into its state; the shell sends the list after the
 * step and clears it. The simulator carries the same bytes.
 *
 * A link is a number that the shell gives to a connection (a ZeroMQ routing id, a DEALER socket,
 * a simulated wire). A number is never used again for another connection of the process. */
#pragma once

#include "wire/msg.h"

#define WIRE_LINK_NONE 0u

struct wire_out;

struct wire_out_item {
    uint32_t link;
    const void *bytes;
    size_t len;
};

/* bytes_max bounds the sum of all messages of one step; over it post fails with TOO_BIG, which
 * the core treats as that link broken. */
enum status wire_out_create(size_t bytes_max, struct wire_out **out);
void wire_out_destroy(struct wire_out *out);
enum status wire_out_post(struct wire_out *out, uint32_t link, const struct wire_msg *msg);
/* Bytes that still fit. */
size_t wire_out_room(const struct wire_out *out);
size_t wire_out_count(const struct wire_out *out);
struct wire_out_item wire_out_at(const struct wire_out *out, size_t idx);
void wire_out_clear(struct wire_out *out);
