/* What one message is apart from its bytes: starting values, names, and the small conveniences of
 * spans and ids. Any thread. */
#include "wire/msg.h"

#include <string.h>

#include "base/check.h"
#include "wire/table.h"

void wire_msg_init(struct wire_msg *msg, enum wire_kind kind)
{
    memset(msg, 0, WIRE_BODY_OFFSET);
    msg->kind = kind;
    wire_table_init(wire_table_of(kind), (char *)msg + WIRE_BODY_OFFSET);
}

const char *wire_kind_name(enum wire_kind kind)
{
    return (unsigned)kind < WIRE_N_KINDS ? wire_table_of(kind)->name : "unknown";
}

const char *wire_role_name(enum wire_role role)
{
    switch (role) {
    case WIRE_ROLE_ROUTER:
        return "router";
    case WIRE_ROLE_PREFILL:
        return "prefill";
    case WIRE_ROLE_DECODE:
        return "decode";
    }
    return "unknown";
}

struct wire_span wire_span_of(const char *text)
{
    return (struct wire_span){.at = text, .len = strlen(text)};
}

bool wire_span_equal(struct wire_span a, struct wire_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool wire_id_equal(const struct wire_id *a, const struct wire_id *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

bool wire_id_is_zero(const struct wire_id *id)
{
    uint64_t word[2];
    memcpy(word, id, sizeof(word));
    return (word[0] | word[1]) == 0;
}

void wire_id_print(const struct wire_id *id, char text[33])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof(id->byte); i++) {
        text[2 * i] = digits[id->byte[i] >> 4];
        text[2 * i + 1] = digits[id->byte[i] & 15];
    }
    text[32] = '\0';
}

const char *wire_end_name(unsigned end)
{
    return end == WIRE_END_STOP ? "stop" : end == WIRE_END_LENGTH ? "length" : "";
}

enum wire_end wire_end_code(struct wire_span name)
{
    if (wire_span_equal(name, wire_span_of("stop")))
        return WIRE_END_STOP;
    return wire_span_equal(name, wire_span_of("length")) ? WIRE_END_LENGTH : WIRE_END_NONE;
}
