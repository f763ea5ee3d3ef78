/* libbaton: talks to a Baton router over ZeroMQ. One connection carries any number of requests; it
 * is driven either by polling (baton_fd, baton_next) or by one blocking call (baton_complete). A
 * connection that breaks is made again by itself, and streams go on where they were.
 *
 * One connection belongs to one thread at a time. Functions that can fail return 0 or a negative
 * enum baton_error; baton_message then has a sentence. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_TEXT_MAX 16385 /* a token's text, a sentence, with the end */
#define BATON_NAME_MAX 129
#define BATON_TOPS_MAX 20  /* likeliest ids told with a token */
#define BATON_STOPS_MAX 16 /* stop strings of a request, */
#define BATON_STOP_MAX 513 /* each with its end */
#define BATON_NO_ID UINT32_MAX
#define BATON_STREAMS_MAX 1024 /* requests of one connection at once */

enum baton_error {
    BATON_OK = 0,
    BATON_INVALID = -1,     /* an argument is wrong */
    BATON_UNREACHABLE = -2, /* the router does not answer */
    BATON_FULL = -3,        /* too many requests, or the connection's queue is full */
    BATON_NO_MEMORY = -4,
    BATON_REFUSED = -5, /* the request failed at the router: see the event's code and text */
    BATON_SYSTEM = -6   /* ZeroMQ or the system */
};

struct baton;

struct baton_options {
    const char *endpoint; /* "tcp://127.0.0.1:5555"; also "127.0.0.1:5555" */
    const char *agent;    /* the program's name, for the router's log; may be NULL */
    /* CURVE, all three or none (Z85): the router's public key and the client's own pair. */
    const char *server_key;
    const char *public_key;
    const char *secret_key;
};

/* Connects in the background; the first event is BATON_WELCOME. */
int baton_open(const struct baton_options *options, struct baton **out);
/* Cancels what still runs. NULL is nothing. */
void baton_close(struct baton *baton);
/* The sentence of the last error. */
const char *baton_message(const struct baton *baton);

/* ---- requests ---- */

/* A message of a chat. */
struct baton_turn {
    const char *role;    /* "user", "assistant", "system", as the model's template knows them */
    const char *content; /* UTF-8 */
    size_t content_len;  /* 0: up to its end */
};

/* A text of bytes. */
struct baton_text {
    const char *text;
    size_t len; /* 0: up to its end */
};

struct baton_request {
    const char *model; /* NULL: the one that is served */
    /* The prompt, one of the three: a text as it is, ids, or a chat, which the router puts into the
     * model's chat template. */
    const char *text;
    size_t text_len; /* 0: up to its end */
    const uint32_t *tokens;
    size_t n_tokens;
    const struct baton_turn *messages;
    size_t n_messages;
    uint32_t max_tokens, min_tokens;
    double temperature, top_p, min_p;
    uint32_t top_k;
    double repetition_penalty, presence_penalty, frequency_penalty;
    const uint32_t *stop_ids;
    size_t n_stop_ids;
    const struct baton_text *stop; /* [n_stop] the first of these texts in the answer ends it */
    size_t n_stop;
    bool include_stop; /* what has ended the answer, a stop string or stop id, stays in its text */
    bool keep_special; /* special tokens have a text */
    const uint32_t *bias_ids;  /* [n_bias] ids, each once, whose logit gets */
    const double *bias_values; /* [n_bias] these added; -100 to 100 */
    size_t n_bias;
    const uint32_t *allowed_ids; /* no others may come; none: all may */
    size_t n_allowed_ids;
    const uint32_t *bad_ids; /* these may not come */
    size_t n_bad_ids;
    uint32_t logprobs; /* so many of the likeliest ids come with each token */
    bool ignore_eos;
    bool fit;    /* lower max_tokens to what the prompt leaves, instead of failing */
    bool seeded; /* else the router draws a seed, and tells it */
    uint64_t seed;
    uint32_t deadline_ms; /* 0: the router's */
    uint32_t credits;     /* tokens to send ahead of baton_credit; 0: no such limit */
};

/* The defaults of the protocol: 16 tokens, temperature 1, no penalties. */
void baton_request_init(struct baton_request *request);

/* Sends a request; its events carry *stream_out. FULL, UNREACHABLE (not connected: wait for
 * BATON_WELCOME). */
int baton_generate(struct baton *baton, const struct baton_request *request, uint64_t *stream_out);
/* Ends a stream; BATON_FAILED follows. */
int baton_cancel(struct baton *baton, uint64_t stream);
/* Lets the router send so many tokens more. */
int baton_credit(struct baton *baton, uint64_t stream, uint32_t credits);
/* Asks what is served; BATON_MODEL follows. FULL, UNREACHABLE. */
int baton_ask_model(struct baton *baton);

/* ---- events ---- */

enum baton_event_kind {
    BATON_WELCOME,  /* the router answers; again after each reconnect */
    BATON_ACCEPTED, /* seed, prompt_tokens */
    BATON_TOKEN,    /* index, token, logprob, tops, text */
    BATON_DONE,     /* reason, stop_text or stop_id, n_tokens, seed, fingerprint, ledger */
    BATON_FAILED,   /* code, text, retry_ms; stream 0: about the connection */
    BATON_MODEL     /* model */
};

/* What a router serves, and how its makers want it sampled. */
struct baton_model {
    char name[BATON_NAME_MAX];
    uint32_t len_max; /* tokens of the longest sequence */
    uint32_t samples; /* 1: made for sampling; 0: temperature 0 suits it */
    uint32_t chats;   /* 1: it has a chat template */
    uint32_t ready;   /* 1: there are nodes to serve it; 0: requests wait */
    double temperature, top_p, min_p, repetition_penalty;
    uint32_t top_k;
};

/* Where the time went, in microseconds. */
struct baton_ledger {
    uint64_t router_queue_us, prefill_queue_us, prefill_us;
    uint64_t transfer_us, transfer_bytes;
    uint64_t decode_queue_us, first_step_us, decode_us, first_token_us, total_us;
    uint32_t prompt_tokens, emitted_tokens, attempts;
    char transfer_path[BATON_NAME_MAX], prefill_node[BATON_NAME_MAX], decode_node[BATON_NAME_MAX];
};

struct baton_top {
    uint32_t token;
    double logprob; /* -1e30: none */
};

struct baton_event {
    enum baton_event_kind kind;
    uint64_t stream;
    uint32_t index, token;
    double logprob;
    uint32_t n_tops; /* as asked for by `logprobs`, likeliest first */
    struct baton_top tops[BATON_TOPS_MAX];
    size_t text_len;           /* of TOKEN: bytes, perhaps a part of a character */
    char text[BATON_TEXT_MAX]; /* TOKEN, FAILED; ends with a zero */
    uint64_t seed;
    uint32_t prompt_tokens, n_tokens;
    char reason[BATON_NAME_MAX]; /* "stop" or "length" */
    size_t stop_text_len;
    char stop_text[BATON_STOP_MAX]; /* the stop string that ended the answer; else empty */
    uint32_t stop_id;               /* the stop id or the model's own end that did; BATON_NO_ID */
    char fingerprint[BATON_NAME_MAX];
    char server[BATON_NAME_MAX]; /* WELCOME */
    uint32_t code;               /* the protocol's status number (wire/PROTOCOL.md) */
    uint32_t retry_ms;
    struct baton_ledger ledger;
    struct baton_model model;
};

/* Readable when baton_next may have something. It fires once: call baton_next with timeout 0 until
 * it gives 0 before you sleep on it, and at least once a second. */
int baton_fd(const struct baton *baton);
/* 1: an event. 0: none came within timeout_ms (-1: for ever). Else an error. */
int baton_next(struct baton *baton, struct baton_event *event, int timeout_ms);

/* ---- blocking ---- */

/* Waits until the router has answered. UNREACHABLE after timeout_ms, REFUSED. */
int baton_wait(struct baton *baton, int timeout_ms);
/* One request from start to end: on_event gets each of its events; returning non-zero cancels. The
 * last one is DONE or FAILED and also in *last. Do not mix with other streams. REFUSED if it
 * failed. on_event may be NULL. */
int baton_complete(struct baton *baton, const struct baton_request *request,
                   int (*on_event)(void *ctx, const struct baton_event *event), void *ctx,
                   struct baton_event *last);

#ifdef __cplusplus
}
#endif
