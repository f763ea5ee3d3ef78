/* One call of /v1/completions, /v1/chat/completions, /tokenize or /detokenize, from its body to the
 * last byte of its answer.
 *
 *   state    event                    next      what happens
 *   (none)   body is complete         READING   to the clerk: JSON, template, ids
 *   READING  read                     RUNNING   a generate for each choice, to the core
 *   READING  refused, or tokenize     (none)    the whole answer
 *   RUNNING  accepted, token          RUNNING   kept, or sent as an event at once
 *   RUNNING  done, of the last choice (none)    the rest of the answer
 *   RUNNING  failed, of any choice    ENDING    an error: as the answer, or as an event; the others
 *                                               are cancelled
 *   any      the client leaves        ENDING    the same without words
 *   ENDING   the last choice ends     (none)
 *
 * Private to http_door.c, http_call.c and http_read.c. */
#pragma once

#include "base/arena.h"
#include "router/http_door.h"
#include "router/openai_reply.h"

struct idmap;

#define HTTP_TRACE_LEN 55u /* of a traceparent, version 00 */
#define CALL_ARENA_CHUNK ((size_t)16 << 10)
#define CALL_TEXT_MAX ((size_t)64 << 20) /* of a choice that is answered as a whole */

/* A connection's tag, for its line in the log and for metrics: the route, whose key, and whether it
 * is the core that tells what has become of it. */
#define TAG_ROUTE(tag) ((tag)&0xFFu) /* and 1; 0: none */
#define TAG_CORE (1u << 8)
#define TAG_KEY(tag) ((tag) >> 16) /* and 1; 0: none */
#define TAG_OF(route, key) ((uint32_t)((route) | (key) << 16))

enum call_state { CALL_READING, CALL_RUNNING, CALL_ENDING };

/* One answer of a call. */
struct choice {
    struct wire_id req, resume; /* once accepted */
    bool accepted, ended;
    bool begun; /* a chunk of it was sent */
    uint64_t seed;
    uint32_t prompt;   /* which */
    uint32_t n_prompt; /* tokens */
    uint32_t n_tokens;
    uint32_t n_chars; /* of text so far */
    const char *finish;
    struct wire_span stop_text; /* in the arena */
    int64_t stop_id;
    struct tool_calls *tools; /* NULL: text is content */

    /* What has come and was not sent: all of it where the answer is whole. Texts lie in the arena.
     */
    struct buf text;
    struct openai_token *tokens; /* [n_kept], room for cap_kept */
    size_t n_kept, cap_kept;
    struct openai_call *calls; /* [n_calls] */
    size_t n_calls;
};

struct call_prompt {
    struct wire_u32s ids;
    struct wire_span text; /* echoed before the answer */
};

struct call {
    struct clerk_job job; /* while READING */
    struct http_door *door;
    enum call_state state;
    struct http_conn *conn; /* NULL: the client has left */
    uint32_t link;
    struct arena *arena; /* all that lives as long as the call */
    enum openai_api api;
    struct wire_span body;          /* until it is read */
    struct wire_span label;         /* X-Request-Id; empty: none */
    uint32_t tag;                   /* of its connection */
    int64_t created;                /* Unix time */
    char trace[HTTP_TRACE_LEN + 1]; /* traceparent; "": none */
    uint32_t len_max;               /* of the fleet's sequences */

    /* What the clerk makes of the body. */
    enum status status;
    struct openai_error error; /* unless OK */
    struct openai_request req;
    struct call_prompt *prompts; /* [req.n_prompts], or one of a chat */
    size_t n_prompts;
    struct buf reply; /* of tokenize and detokenize */

    struct openai_answer answer;
    char id[OPENAI_ID_MAX];
    bool streaming; /* the head of the answer is out */
    struct choice *choices;
    uint32_t n_choices, n_ended;
    void *sink; /* of the tool calls' events, while one is pushed */
};

struct http_door {
    struct http_door_cfg cfg;
    struct loop *loop;
    struct router *core;
    struct clerk *clerk;
    struct http_server *server;
    struct tokenizer_workspace *work; /* the clerk's thread's */
    struct detokenizer *clerk_detok;  /* the same */
    struct detokenizer *detok;        /* of single ids, the loop's */
    struct arena *message;            /* arrays of one decoded message */
    struct arena *scratch;            /* what is made of one message */
    struct buf out;                   /* one event */
    struct idmap *links;              /* link -> index in calls */
    struct call **calls;              /* [calls_cap] */
    uint32_t *free_calls, n_free_calls, calls_cap;
    uint32_t n_reading;
    int64_t started_unix_s;
};

/* ---- http_call.c ---- */
/* Takes the request over: exactly one answer follows. */
void call_begin(struct http_door *door, struct http_conn *conn, const struct http_request *req,
                enum openai_api api);
void call_gone(struct call *call);
/* The request's X-Request-Id, if it can be echoed; empty: none. Lies in the request. */
struct wire_span call_label(const struct http_request *req);
/* A message of the core. */
void call_take(struct call *call, const struct wire_msg *msg);
void call_free(struct call *call);
/* Answers with an error. */
void call_refuse(struct http_conn *conn, const struct openai_error *error, struct wire_span label);

/* ---- http_read.c, on the clerk's thread ---- */
void call_read(struct clerk_job *job);
/* The text of one id alone, until the detokenizer's next use. */
struct wire_span call_id_text(struct detokenizer *detok, uint32_t id);
