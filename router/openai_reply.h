/* The answers of /v1/completions and /v1/chat/completions: from structs to the bytes that OpenAI's
 * clients read, whole or as events of a stream, with vLLM's additions (stop_reason, token_ids).
 * Every object, each chunk of a stream too, carries `system_fingerprint` (the numerics identity)
 * and `seed` (the one that was used, as a signed number): both sent back give the same answer
 * again.
 *
 * A stream is: chunks with text, each of which may hold several tokens (the first of a choice with
 * `first`, which brings the role); for each choice one with `finish`; if asked for, one of usage
 * alone; [DONE]. After an error event nothing follows. The server flushes; nothing here waits.
 *
 * Texts that are no UTF-8 leave with U+FFFD in place of what is wrong. All functions append one
 * whole object or nothing: TOO_BIG, NO_MEMORY. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "router/openai_request.h"
#include "wire/msg.h"

#define OPENAI_STOP_ID_NONE (-1)
#define OPENAI_LOGPROB_MIN (-9999.0) /* what stands for minus infinity in this API */

/* What all objects of one answer share. */
struct openai_answer {
    enum openai_api api; /* OPENAI_COMPLETIONS or OPENAI_CHAT */
    struct wire_span id; /* openai_id_write; the same in each chunk */
    struct wire_span model;
    struct wire_span fingerprint; /* empty: null */
    int64_t created;              /* Unix time in seconds; the same in each chunk */
    uint64_t seed;
    /* As the request asks. */
    bool logprobs, token_ids, tokens_as_ids;
    bool include_usage, continuous_usage;
};

/* Everything but id, model, fingerprint, created and seed. */
struct openai_answer openai_answer_of(const struct openai_request *req);

#define OPENAI_ID_MAX 160
/* "chatcmpl-" or "cmpl-" and the client's own request_id, else the request's id as hex. */
void openai_id_write(const struct openai_request *req, const struct wire_id *id,
                     char out[OPENAI_ID_MAX]);

struct openai_top {
    uint32_t id;
    struct wire_span text; /* of this id alone, as bytes */
    double logprob;
};

struct openai_token {
    uint32_t id;
    struct wire_span text; /* of this id alone, as bytes */
    double logprob;
    uint32_t offset;               /* characters (pen_chars) of the choice's text before it */
    const struct openai_top *tops; /* [n_tops], likeliest first */
    size_t n_tops;
};

/* In a stream the first chunk of a call has id and name, the others only arguments. */
struct openai_call {
    uint32_t index;
    struct wire_span id, name; /* both empty: more arguments of a call that has begun */
    struct wire_span arguments;
};

/* A choice: all of it, or what one chunk brings of it. */
struct openai_piece {
    uint32_t index; /* prompt's number times n, and the choice's */
    bool first;     /* its first chunk */
    struct wire_span text;
    const struct openai_token *tokens; /* [n_tokens]; read if logprobs or token_ids are asked for */
    size_t n_tokens;
    const struct openai_call *calls; /* [n_calls], of chats */
    size_t n_calls;
    const char *finish;         /* "stop", "length", "tool_calls"; NULL: goes on */
    struct wire_span stop_text; /* the stop string that ended it, or */
    int64_t stop_id;            /* the one of stop_token_ids; OPENAI_STOP_ID_NONE and "": neither */
    struct wire_u32s prompt_ids; /* written with the first chunk, if token_ids are asked for */
};

struct openai_usage {
    uint32_t prompt_tokens, completion_tokens;
    uint32_t cached_tokens; /* of the prompt's, not computed again */
};

/* The whole answer as one object: the body of a response. */
enum status openai_reply_whole(const struct openai_answer *answer,
                               const struct openai_piece *choices, size_t n,
                               const struct openai_usage *usage, struct buf *out);

/* One event of a stream. `usage` is read if continuous usage was asked for, and may be NULL. */
enum status openai_reply_chunk(const struct openai_answer *answer, const struct openai_piece *piece,
                               const struct openai_usage *usage, struct buf *out);
/* The event behind the last finish, if include_usage; then openai_reply_done. */
enum status openai_reply_usage(const struct openai_answer *answer, const struct openai_usage *usage,
                               struct buf *out);
enum status openai_reply_done(struct buf *out);
