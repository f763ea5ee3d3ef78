/* Checks JSON byte by byte, as the model writes it: where a value ends, and that it is one. Keeps
 * no values and no text. Strict (RFC 8259) but for two things: bytes above 0x7f are not read as
 * UTF-8, which the detokenizer has made of them, and a lone surrogate in \u is let through, as
 * Python's and JavaScript's readers do. Plain state, no memory; used by tool_calls.c. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define TOOL_JSON_DEPTH_MAX 64 /* objects and arrays inside one another */

struct tool_json {
    uint64_t objects; /* bit d: the container at depth d is an object */
    uint8_t depth;    /* open containers */
    uint8_t state;
    uint8_t in_key;       /* the string being read is a key */
    uint8_t n_hex;        /* digits of \u still to come */
    const char *expected; /* rest of true, false or null */
};

enum tool_json_result {
    TOOL_JSON_MORE,
    TOOL_JSON_DONE,   /* the value ends with this byte */
    TOOL_JSON_BEFORE, /* it ended before it: a number, which only its follower ends */
    TOOL_JSON_BAD,    /* not JSON, or too deep */
};

/* To read one value from its first byte on (blanks before it are allowed). */
void tool_json_init(struct tool_json *json);
/* After DONE, BEFORE or BAD only init. */
enum tool_json_result tool_json_step(struct tool_json *json, uint8_t byte);

/* The text of a checked string, given without its quotes. MALFORMED for half a surrogate pair or a
 * control character; TOO_BIG over `cap`. */
enum status tool_json_text(const char *raw, size_t len, char *out, size_t cap, size_t *out_len);
