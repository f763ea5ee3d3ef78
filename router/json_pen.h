/* Writes JSON into memory of known size: numbers, and texts escaped, valid UTF-8 whatever comes in.
 * No tree, no allocation. A writer runs twice over the same data: first with a pen without paper,
 * which only measures, then with one over exactly reserved room; so an object is in the buffer
 * whole or not at all. Used for every token that leaves through HTTP. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/msg.h"

struct json_pen {
    uint8_t *to; /* [cap]; NULL: only measures */
    size_t cap;  /* a write past it is our own bug */
    size_t n;    /* bytes written or measured; measuring may say more than writing */
};

/* Bytes as they are. */
void pen_raw(struct json_pen *pen, const void *bytes, size_t len);
void pen_str(struct json_pen *pen, const char *json);

/* A string with its quotes. What is no UTF-8 (surrogates, overlong forms and what was cut off
 * included) becomes U+FFFD, one for each maximal wrong part. */
void pen_text(struct json_pen *pen, struct wire_span text);

/* "name":"text", and the same with null for an empty text. */
void pen_member(struct json_pen *pen, const char *name, struct wire_span text);
void pen_member_or_null(struct json_pen *pen, const char *name, struct wire_span text);

void pen_u64(struct json_pen *pen, uint64_t value);
void pen_i64(struct json_pen *pen, int64_t value);
/* With as many digits as a double has. Not a number: null; beyond the largest: the largest. */
void pen_f64(struct json_pen *pen, double value);
/* [1,2,3] */
void pen_u32s(struct json_pen *pen, struct wire_u32s values);
/* The bytes of a text as an array of numbers. */
void pen_bytes(struct json_pen *pen, struct wire_span text);

/* Runs `write` twice as said above and appends to `out`, all or nothing. TOO_BIG, NO_MEMORY. */
enum status pen_append(struct buf *out, void (*write)(struct json_pen *pen, const void *what),
                       const void *what);

/* Characters (code points) of the text as pen_text writes it. */
size_t pen_chars(struct wire_span text);
/* Whether pen_text writes the same for both. */
bool pen_equal(struct wire_span a, struct wire_span b);
