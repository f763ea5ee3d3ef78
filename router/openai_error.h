/* Errors in the shape that OpenAI's clients know: {"error":{"message","type","param","code"}} with
 * a status of HTTP. Made from what is wrong in a request, or from an enum status of the router. No
 * I/O; any thread. */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "wire/msg.h"

#define OPENAI_PARAM_MAX 128 /* "messages[12].tool_calls[3].function.arguments", cut if longer */

struct openai_error {
    int http;                     /* 400, 401, 404, 413, 429, 500 or 503 */
    const char *type;             /* a constant; follows from http */
    const char *code;             /* a constant */
    uint32_t retry_s;             /* for Retry-After; 0: no such header */
    char param[OPENAI_PARAM_MAX]; /* the field; "": none, null in the body */
    char message[WIRE_ERROR_MAX]; /* what was expected, what was found */
};

/* `param` may be NULL. */
__attribute__((format(printf, 5, 6))) void openai_error_set(struct openai_error *error, int http,
                                                            const char *code, const char *param,
                                                            const char *format, ...);

/* What a router's `failed` (code, text, retry_ms) is in HTTP. An empty text: the status's own. */
void openai_error_of_status(enum status status, struct wire_span text, uint32_t retry_ms,
                            struct openai_error *error);

/* Appends the JSON object: a response's body. TOO_BIG, NO_MEMORY: nothing is appended. */
enum status openai_error_body(const struct openai_error *error, struct buf *out);

/* The same as an event of a stream that has begun. [DONE] does not follow it. */
enum status openai_error_event(const struct openai_error *error, struct buf *out);
