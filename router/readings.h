/* Texts and chats of ZeroMQ clients on their way through the clerk: a `generate` with text goes in,
 * the same with ids comes out. Loop's thread. */
#pragma once

#include "router/clerk.h"
#include "router/prompt.h"

struct readings;

/* The message's arrays live until the call returns. On another status than OK its generate has no
 * ids, and why says what is wrong. */
typedef void (*readings_done_fn)(void *ctx, uint32_t link, const struct wire_msg *msg,
                                 enum status status, const char *why);

/* The clerk must outlive all that was posted, and be destroyed before the readings. NO_MEMORY. */
enum status readings_create(struct clerk *clerk, const struct prompt_reader *reader,
                            readings_done_fn on_done, void *ctx, struct readings **out);
void readings_destroy(struct readings *readings); /* NULL is nothing */

/* bytes: an encoded message that wire_msg_decode has accepted; copied. Links take turns. NO_MEMORY.
 */
enum status readings_post(struct readings *readings, uint32_t link, const void *bytes, size_t len,
                          int64_t now_unix_s);
