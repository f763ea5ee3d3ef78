/* Stop strings of one stream: takes the text of each token as it comes and gives out what is surely
 * no part of a stop string. It knows no tokens' ids, no detokenizer and no request. One thread owns
 * a stream's matcher; nothing is allocated after create.
 *
 * What is held back is always the beginning of one of the strings, and the longest there is: so
 * nothing waits that could go, and nothing is kept but a length. Bytes are compared, UTF-8 is
 * neither read nor split where the strings are whole characters.
 *
 * The stream stops at the first byte at which any of the strings is complete; if several are
 * complete there, the one that began first (the longest) counts. How the text was cut into tokens
 * plays no part: the same text stops at the same place. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "wire/msg.h"

#define STOP_STRINGS_MAX ((size_t)WIRE_STOPS_MAX)    /* of one request */
#define STOP_BYTES_MAX ((size_t)WIRE_STOP_BYTES_MAX) /* of one string */

struct stop_text;

/* `strings` [n], copied. `include`: the text ends with the stop string instead of before it.
 * INVALID for none, more than STOP_STRINGS_MAX or an empty one; TOO_BIG for a string over
 * STOP_BYTES_MAX; NO_MEMORY. */
enum status stop_text_create(const struct wire_span *strings, size_t n, bool include,
                             struct stop_text **out);
void stop_text_destroy(struct stop_text *stop);

/* Back to the beginning of a stream: to send it again from its first token. */
void stop_text_reset(struct stop_text *stop);

/* The text of the next token, perhaps empty. *out_len gets what may be sent with this very token:
 * what earlier tokens had to hold back comes first. So each token has its message at once, with its
 * text or an empty one, and the texts of all messages together are the text. `out` [cap] may not
 * overlap `text`; TOO_BIG, and nothing has happened, unless cap is at least len and
 * stop_text_held. After the match everything else is swallowed.
 *
 * Tokens that come before a stream may stop (min_tokens) are not pushed: their text goes out as it
 * is, and a string that begins in it is not found. */
enum status stop_text_push(struct stop_text *stop, const char *text, size_t len, char *out,
                           size_t cap, size_t *out_len);

/* The end of a stream that no string has stopped: what was held back, which belongs to the message
 * of the last token. TOO_BIG as above. After it only a reset is of use. */
enum status stop_text_flush(struct stop_text *stop, char *out, size_t cap, size_t *out_len);

/* Bytes held back now: at most STOP_BYTES_MAX - 1. */
size_t stop_text_held(const struct stop_text *stop);

struct stop_match {
    uint32_t string; /* its place in the list given to create */
    uint32_t token;  /* which push completed it, from 0: the last token of the answer */
    size_t text_len; /* bytes given out in all, over all pushes */
};

/* False: nothing has stopped the stream so far. */
bool stop_text_matched(const struct stop_text *stop, struct stop_match *out);
/* One of the strings given to create; lives as long as the matcher. */
struct wire_span stop_text_string(const struct stop_text *stop, uint32_t string);
