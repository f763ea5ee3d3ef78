/* Tool calls in what a model writes: turns its text, as it comes, into content and calls. Knows the
 * output styles below, nothing of HTTP, of the tools on offer or of tokens. One thread owns a
 * parser; what it holds is bounded by TOOL_CALL_BYTES_MAX.
 *
 *   HERMES   <tool_call>{"name": .., "arguments": {..}}</tool_call>, any number of them. Hermes,
 *            Qwen 2.5 and 3.
 *   LLAMA    {"name": .., "parameters": {..}} as the whole answer, or behind <|python_tag|>; more
 *            may follow, with ; between. Llama 3.1 to 3.3.
 *   MISTRAL  [TOOL_CALLS][{"name": .., "arguments": {..}}, ..], and the newer
 *            [TOOL_CALLS]name{..}, also with [CALL_ID]id and [ARGS] behind the name.
 *
 * <|python_tag|> and Mistral's words are special tokens: the text must come from a detokenizer that
 * does not skip these (a Llama's bare object needs none).
 *
 * What is no call is content, byte for byte: a marker without a call behind it, broken JSON, a call
 * that the end cuts, one over a limit. Only the frame of calls is dropped: markers, commas, and
 * blanks between calls, before the first (if nothing else is there) and behind the last. How the
 * text was cut into pushes changes nothing but the cuts of content and arguments. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define TOOL_CALLS_MAX 64u                /* of one answer; what comes after is content */
#define TOOL_CALL_BYTES_MAX (256u * 1024) /* of one call, with its frame */
#define TOOL_NAME_MAX 128u
#define TOOL_ID_MAX 64u
#define TOOL_BLANKS_MAX 64u /* blanks held back because a call may follow */

enum tool_style { TOOL_STYLE_NONE, TOOL_STYLE_HERMES, TOOL_STYLE_LLAMA, TOOL_STYLE_MISTRAL };

/* "none", "hermes", "qwen", "llama" or "mistral". NOT_FOUND. */
enum status tool_style_named(const char *name, enum tool_style *out);
/* The style whose marks are in a chat template's source; NONE if there are none, or those of a
 * style that this parser does not know (Qwen 3 Coder, GLM). */
enum tool_style tool_style_of_template(const char *source, size_t len);

enum tool_event_kind {
    TOOL_CONTENT,
    TOOL_CALL_BEGIN,  /* text is the tool's name */
    TOOL_CALL_ARGS,   /* text is the next part of the arguments: JSON as the model wrote it */
    TOOL_CALL_END,    /* the arguments are a whole JSON object */
    TOOL_CALL_BROKEN, /* only after an early BEGIN: it was no call; text is all of it, with frame */
};

struct tool_event {
    enum tool_event_kind kind;
    uint32_t index;   /* of the call, from 0 */
    const char *text; /* [len], valid during the call of on_event */
    size_t len;
    const char *id; /* [id_len] of BEGIN: the model's own; empty: see tool_id_write */
    size_t id_len;
};

struct tool_calls;

/* `early` false: a call is told when it is whole (BEGIN, ARGS once, END), and all else is content:
 * exact. `early` true: BEGIN as soon as name and first byte of the arguments are there, then ARGS
 * with each push; a call that breaks afterwards ends with BROKEN instead, and an id that the model
 * writes behind the arguments comes too late. on_event must not call the parser. NO_MEMORY. */
enum status tool_calls_create(enum tool_style style, bool early,
                              void (*on_event)(void *ctx, const struct tool_event *event),
                              void *ctx, struct tool_calls **out);
void tool_calls_destroy(struct tool_calls *calls);

/* The next text: any length, cut anywhere. Only NO_MEMORY; then all that is left to do is destroy.
 */
enum status tool_calls_push(struct tool_calls *calls, const char *text, size_t len);
/* The end of the text. A call of HERMES that lacks nothing but its closing mark counts: the mark
 * may be what stopped the model. */
void tool_calls_finish(struct tool_calls *calls);

/* Calls told so far, broken ones included: the next index. */
uint32_t tool_calls_n(const struct tool_calls *calls);

/* An id for a call that has none: "call_" and 24 characters, or for MISTRAL the nine letters and
 * digits that its templates insist on. From random bytes. */
void tool_id_write(enum tool_style style, const uint8_t random[16], char out[TOOL_ID_MAX + 1]);
