/* The text of one answer, id by id: the detokenizer with the stop strings behind it, and what a
 * stop id leaves. A function of the ids and of what a node said with the last one, nothing else:
 * two of them that take the same ids give the same pieces.
 *
 * That is how a stream stops in time and can still be sent late, or twice. A request with stop
 * strings has two of them. One watches: it takes each id as it arrives, and what it gives is
 * dropped; so a match ends the request at once, however slowly the client reads. The other writes:
 * it takes each id as its message leaves, and starts again from the first id when a client takes
 * the stream over. Keeping the pieces instead would cost a growing buffer per request, of a size
 * that only the model knows; taking an id twice costs less than a microsecond. A request without
 * stop strings has no watcher.
 *
 * Belongs to one request and its thread; nothing is allocated after create, but for the few bytes
 * of a detokenizer. At most 3 x WIRE_STOPS_MAX x WIRE_STOP_BYTES_MAX bytes and the detokenizer. */
#pragma once

#include <stdbool.h>

#include "base/status.h"
#include "wire/msg.h"

struct answer_text;
struct tokenizer;

/* Whether the request's stop strings are sound: INVALID or TOO_BIG with a sentence of at most
 * WIRE_ERROR_MAX bytes in why. */
enum status answer_text_check(const struct wire_generate *in, char *why);

/* Of a request whose stop strings are sound; nothing of `in` is kept. `tok` outlives it. NO_MEMORY.
 */
enum status answer_text_create(const struct tokenizer *tok, const struct wire_generate *in,
                               struct answer_text **out);
void answer_text_destroy(struct answer_text *text);

/* Back to the beginning of the stream. */
void answer_text_reset(struct answer_text *text);

/* Takes the next id; `end` is what the node said with it. What may be sent with this id, whole
 * characters only and nothing that may still become a stop string, goes into out [WIRE_PIECE_MAX];
 * with the last id also what was held back. A stop id leaves no text of its own, unless
 * include_stop. The first min_tokens ids are not looked at for stop strings. TOO_BIG, NO_MEMORY. */
enum status answer_text_take(struct answer_text *text, uint32_t id, enum wire_end end, char *out,
                             size_t *len_out);

/* Whether a stop string is complete: then the id taken last is the answer's last. string_out may be
 * NULL; else it gets the string, which lives as long as this. */
bool answer_text_stopped(const struct answer_text *text, struct wire_span *string_out);
