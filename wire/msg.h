/* Every message of Baton, as tables. One line here is one field: it gives the struct member, the
 * encoder, the decoder with its limits, the printer and the specification in wire/README.md.
 *
 * A message is one msgpack map. The envelope's keys are single letters, all other keys are words.
 * A field equal to its default is not sent; an unknown key is skipped (so that a newer peer can
 * add one); a known key of the wrong type or over its limit makes the message malformed. Arrays,
 * texts and bytes of a decoded message point into the receive buffer or the decoder's arena.
 *
 * Only durations travel, never clock times. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct arena;

#define WIRE_VERSION_MIN 1
#define WIRE_VERSION_MAX 1

#define WIRE_CONTROL_BYTES_MAX (8u << 20) /* any message between our own processes */
#define WIRE_TOKEN_BYTES_MAX (64u << 10)  /* a token message to a client */
#define WIRE_TOKENS_MAX (1u << 20)        /* ids in one array */
#define WIRE_TEXT_MAX (4u << 20)          /* bytes in one text */
#define WIRE_NAME_MAX 128                 /* names, labels, endpoints, reasons */
#define WIRE_ERROR_MAX 1024               /* an error's sentence */
#define WIRE_PIECE_MAX 16384              /* bytes of one token's text, with what was held back */
#define WIRE_BATCH_MAX 4096               /* tokens of one step */
#define WIRE_NODES_MAX 4096               /* nodes in a roster */
#define WIRE_ADDRESS_MAX 8192             /* a UCX worker address */
#define WIRE_STOP_IDS_MAX 64
#define WIRE_STOPS_MAX 16       /* stop strings of one request, */
#define WIRE_STOP_BYTES_MAX 512 /* each of 1 to so many bytes */
#define WIRE_NO_ID UINT32_MAX
#define WIRE_BIAS_MAX 1024    /* ids whose logit gets a bias, */
#define WIRE_ALLOWED_MAX 1024 /* ids that alone may come, */
#define WIRE_BAD_MAX 1024     /* ids that may not come: of one request each */
#define WIRE_TOPS_MAX 20      /* likeliest ids told with a token */
#define WIRE_TURNS_MAX 4096   /* messages of a chat */
#define WIRE_DEPTH_MAX 4      /* nested maps and arrays */
#define WIRE_KEYS_MAX 64      /* of one map, unknown ones included */

/* 128-bit request id, drawn by the router. */
struct wire_id {
    uint8_t byte[16];
};

/* Field types of the tables:
 *   u32 u64 f64 flag            a number or truth value
 *   text bytes                  a span (text is UTF-8 by convention, never trusted to be)
 *   id                          16 bytes
 *   u32s u64s f64s              arrays of numbers
 *   texts bodies                arrays of texts
 *   sampling ledger             a nested map, tables below */
struct wire_span {
    const char *at;
    size_t len;
};
struct wire_u32s {
    const uint32_t *at; /* [n] */
    size_t n;
};
struct wire_u64s {
    const uint64_t *at; /* [n] */
    size_t n;
};
struct wire_f64s {
    const double *at; /* [n] */
    size_t n;
};
struct wire_texts {
    const struct wire_span *at; /* [n] */
    size_t n;
};

/* F(type, member, key, limit, default): limit is the largest value (of f64: either way from 0),
 * length or count; the default of spans, ids and arrays is empty and written 0. A text of `texts`
 * is at most WIRE_NAME_MAX bytes, one of `bodies` at most WIRE_TEXT_MAX. */

/* What the sampler may know. The job's prompt/emitted border comes beside it. bias_values is
 * parallel to bias_ids. What must hold beyond the limits of single fields: wire/sampling.h. */
#define WIRE_SAMPLING(F)                                                                           \
    F(u32, max_tokens, "max_tokens", WIRE_TOKENS_MAX, 16)                                          \
    F(u32, min_tokens, "min_tokens", WIRE_TOKENS_MAX, 0)                                           \
    F(f64, temperature, "temperature", 100, 1.0)                                                   \
    F(u32, top_k, "top_k", UINT32_MAX, 0)                                                          \
    F(f64, top_p, "top_p", 1, 1.0)                                                                 \
    F(f64, min_p, "min_p", 1, 0.0)                                                                 \
    F(f64, repetition_penalty, "repetition_penalty", 100, 1.0)                                     \
    F(f64, presence_penalty, "presence_penalty", 100, 0.0)                                         \
    F(f64, frequency_penalty, "frequency_penalty", 100, 0.0)                                       \
    F(u32s, stop_ids, "stop_ids", WIRE_STOP_IDS_MAX, 0)                                            \
    F(flag, ignore_eos, "ignore_eos", 1, 0)                                                        \
    F(u32, logprobs, "logprobs", WIRE_TOPS_MAX, 0)                                                 \
    F(u32s, bias_ids, "bias_ids", WIRE_BIAS_MAX, 0)                                                \
    F(f64s, bias_values, "bias_values", WIRE_BIAS_MAX, 0)                                          \
    F(u32s, allowed_ids, "allowed_ids", WIRE_ALLOWED_MAX, 0)                                       \
    F(u32s, bad_ids, "bad_ids", WIRE_BAD_MAX, 0)

/* One request's latency ledger. Durations in microseconds. */
#define WIRE_LEDGER(F)                                                                             \
    F(u64, router_queue_us, "router_queue_us", UINT64_MAX, 0)                                      \
    F(u64, prefill_queue_us, "prefill_queue_us", UINT64_MAX, 0)                                    \
    F(u64, prefill_us, "prefill_us", UINT64_MAX, 0)                                                \
    F(u64, transfer_us, "transfer_us", UINT64_MAX, 0)                                              \
    F(u64, transfer_bytes, "transfer_bytes", UINT64_MAX, 0)                                        \
    F(text, transfer_path, "transfer_path", WIRE_NAME_MAX, 0)                                      \
    F(u64, decode_queue_us, "decode_queue_us", UINT64_MAX, 0)                                      \
    F(u64, first_step_us, "first_step_us", UINT64_MAX, 0)                                          \
    F(u64, decode_us, "decode_us", UINT64_MAX, 0)                                                  \
    F(u64, first_token_us, "first_token_us", UINT64_MAX, 0)                                        \
    F(u64, total_us, "total_us", UINT64_MAX, 0)                                                    \
    F(u32, prompt_tokens, "prompt_tokens", WIRE_TOKENS_MAX, 0)                                     \
    F(u32, emitted_tokens, "emitted_tokens", WIRE_TOKENS_MAX, 0)                                   \
    F(u32, attempts, "attempts", UINT32_MAX, 0)                                                    \
    F(text, prefill_node, "prefill_node", WIRE_NAME_MAX, 0)                                        \
    F(text, decode_node, "decode_node", WIRE_NAME_MAX, 0)

/* ---- client and router --------------------------------------------------------------------- */

/* client -> router, first message. */
#define WIRE_HELLO(F)                                                                              \
    F(u32, version_min, "version_min", UINT32_MAX, 0)                                              \
    F(u32, version_max, "version_max", UINT32_MAX, 0)                                              \
    F(text, agent, "agent", WIRE_NAME_MAX, 0)

/* router -> client, router -> node: the session stands. */
#define WIRE_WELCOME(F)                                                                            \
    F(u32, version, "version", UINT32_MAX, 0)                                                      \
    F(u32, heartbeat_ms, "heartbeat_ms", 60000, 250)                                               \
    F(text, server, "server", WIRE_NAME_MAX, 0)

/* client -> router. Exactly one of tokens, text and a chat: roles and contents, parallel. label is
 * the client's own name for the stream and comes back in accepted and failed. credits: token
 * messages the router may send before it waits for `credit`; 0 means no limit but the router's own.
 * stop: texts that end the answer; what has ended it stays in its text with include_stop only.
 * keep_special: special tokens have a text. These three concern text and stay in the router. fit:
 * the sampling's max_tokens may be lowered to what the prompt leaves of the longest sequence. */
#define WIRE_GENERATE(F)                                                                           \
    F(text, label, "label", WIRE_NAME_MAX, 0)                                                      \
    F(text, model, "model", WIRE_NAME_MAX, 0)                                                      \
    F(u32s, tokens, "tokens", WIRE_TOKENS_MAX, 0)                                                  \
    F(text, text, "text", WIRE_TEXT_MAX, 0)                                                        \
    F(texts, roles, "roles", WIRE_TURNS_MAX, 0)                                                    \
    F(bodies, contents, "contents", WIRE_TURNS_MAX, 0)                                             \
    F(sampling, sampling, "sampling", 0, 0)                                                        \
    F(flag, seeded, "seeded", 1, 0)                                                                \
    F(u64, seed, "seed", UINT64_MAX, 0)                                                            \
    F(u32, deadline_ms, "deadline_ms", 86400000, 0)                                                \
    F(u32, credits, "credits", UINT32_MAX, 0)                                                      \
    F(bodies, stop, "stop", WIRE_STOPS_MAX, 0)                                                     \
    F(flag, include_stop, "include_stop", 1, 0)                                                    \
    F(flag, keep_special, "keep_special", 1, 0)                                                    \
    F(flag, fit, "fit", 1, 0)

/* router -> client: admitted. resume is the capability for cancel, credit and attach. */
#define WIRE_ACCEPTED(F)                                                                           \
    F(text, label, "label", WIRE_NAME_MAX, 0)                                                      \
    F(id, resume, "resume", 16, 0)                                                                 \
    F(u64, seed, "seed", UINT64_MAX, 0)                                                            \
    F(u32, prompt_tokens, "prompt_tokens", WIRE_TOKENS_MAX, 0)

/* P or D -> router, router -> client. index counts emitted tokens from 0 over all attempts. end is
 * set with the last one, to done's reason: a node that dies before its done leaves nothing open.
 * top_ids, top_logprobs: the sampling's `logprobs` likeliest ids, likeliest first; 8 bytes each,
 * IEEE 754, little-endian. A logprob is always finite: -1e30 stands for minus infinity. */
#define WIRE_TOKEN(F)                                                                              \
    F(u32, index, "index", WIRE_TOKENS_MAX, 0)                                                     \
    F(u32, token, "token", UINT32_MAX, 0)                                                          \
    F(text, text, "text", WIRE_PIECE_MAX, 0)                                                       \
    F(f64, logprob, "logprob", 1e30, 0.0)                                                          \
    F(u32, step_us, "step_us", UINT32_MAX, 0)                                                      \
    F(text, end, "end", WIRE_NAME_MAX, 0)                                                          \
    F(u32s, top_ids, "top_ids", WIRE_TOPS_MAX, 0)                                                  \
    F(bytes, top_logprobs, "top_logprobs", 8 * WIRE_TOPS_MAX, 0)

/* D -> router: the tokens of one step. Parallel arrays; element i says what a `token` with the
 * envelope of that request would. logprobs: 8 bytes each, IEEE 754, little-endian; ends: one byte
 * each, enum wire_end. n_tops: one byte each, how many of top_ids and top_logprobs are its own, in
 * their order; all three empty: none has any. */
#define WIRE_TOKENS(F)                                                                             \
    F(bytes, reqs, "reqs", 16 * WIRE_BATCH_MAX, 0)                                                 \
    F(u32s, attempts, "attempts", WIRE_BATCH_MAX, 0)                                               \
    F(u32s, generations, "generations", WIRE_BATCH_MAX, 0)                                         \
    F(u32s, indexes, "indexes", WIRE_BATCH_MAX, 0)                                                 \
    F(u32s, tokens, "tokens", WIRE_BATCH_MAX, 0)                                                   \
    F(bytes, logprobs, "logprobs", 8 * WIRE_BATCH_MAX, 0)                                          \
    F(bytes, ends, "ends", WIRE_BATCH_MAX, 0)                                                      \
    F(bytes, n_tops, "n_tops", WIRE_BATCH_MAX, 0)                                                  \
    F(u32s, top_ids, "top_ids", WIRE_TOPS_MAX *WIRE_BATCH_MAX, 0)                                  \
    F(bytes, top_logprobs, "top_logprobs", 8 * WIRE_TOPS_MAX * WIRE_BATCH_MAX, 0)

/* P -> router, and as the role's note inside the seal P -> D: the first id of an attempt, with P's
 * part of the ledger. */
#define WIRE_FIRST(F)                                                                              \
    F(u32, index, "index", WIRE_TOKENS_MAX, 0)                                                     \
    F(u32, token, "token", UINT32_MAX, 0)                                                          \
    F(text, end, "end", WIRE_NAME_MAX, 0)                                                          \
    F(f64, logprob, "logprob", 1e30, 0.0)                                                          \
    F(u32s, top_ids, "top_ids", WIRE_TOPS_MAX, 0)                                                  \
    F(bytes, top_logprobs, "top_logprobs", 8 * WIRE_TOPS_MAX, 0)                                   \
    F(ledger, ledger, "ledger", 0, 0)

/* P or D -> router, router -> client: the request ended well. Why it stopped only the router says:
 * stop_text is the stop string that was found, stop_id the stop or end id; or neither. */
#define WIRE_DONE(F)                                                                               \
    F(text, reason, "reason", WIRE_NAME_MAX, 0)      /* "stop" or "length" */                      \
    F(u32, n_tokens, "n_tokens", WIRE_TOKENS_MAX, 0) /* emitted in all */                          \
    F(u64, seed, "seed", UINT64_MAX, 0)                                                            \
    F(text, fingerprint, "fingerprint", WIRE_NAME_MAX, 0)                                          \
    F(text, stop_text, "stop_text", WIRE_STOP_BYTES_MAX, 0)                                        \
    F(u32, stop_id, "stop_id", UINT32_MAX, WIRE_NO_ID)                                             \
    F(ledger, ledger, "ledger", 0, 0)

/* any direction: this request ended with an error here. code is an enum status. */
#define WIRE_FAILED(F)                                                                             \
    F(text, label, "label", WIRE_NAME_MAX, 0)                                                      \
    F(u32, code, "code", 255, 0)                                                                   \
    F(text, text, "text", WIRE_ERROR_MAX, 0)                                                       \
    F(u32, retry_ms, "retry_ms", 86400000, 0)

/* client -> router (with resume), router -> node (without). */
#define WIRE_CANCEL(F)                                                                             \
    F(id, resume, "resume", 16, 0)                                                                 \
    F(u32, code, "code", 255, STATUS_CANCELLED)

/* client -> router. */
#define WIRE_CREDIT(F)                                                                             \
    F(id, resume, "resume", 16, 0)                                                                 \
    F(u32, credits, "credits", UINT32_MAX, 0)

/* client -> router: take over a stream, from token `next` on. */
#define WIRE_ATTACH(F)                                                                             \
    F(id, resume, "resume", 16, 0)                                                                 \
    F(u32, next, "next", WIRE_TOKENS_MAX, 0)                                                       \
    F(u32, credits, "credits", UINT32_MAX, 0)

#define WIRE_MODELS(F) F(flag, verbose, "verbose", 1, 0)
/* sampling: how the model's makers want it sampled (temperature, top_p, min_p, top_k and
 * repetition_penalty; the other fields say nothing); samples: they made it for sampling, else a
 * client that has no wish of its own takes temperature 0. chats: it has a chat template. ready:
 * there are nodes to serve it; else requests wait. */
#define WIRE_MODEL_LIST(F)                                                                         \
    F(texts, names, "names", 64, 0)                                                                \
    F(u32, len_max, "len_max", WIRE_TOKENS_MAX, 0)                                                 \
    F(text, fingerprint, "fingerprint", WIRE_NAME_MAX, 0)                                          \
    F(sampling, sampling, "sampling", 0, 0)                                                        \
    F(flag, samples, "samples", 1, 0)                                                              \
    F(flag, chats, "chats", 1, 0)                                                                  \
    F(flag, ready, "ready", 1, 0)

#define WIRE_STATS(F) F(flag, verbose, "verbose", 1, 0)
#define WIRE_STATS_LIST(F) /* parallel arrays */                                                   \
    F(texts, names, "names", 4096, 0)                                                              \
    F(u64s, values, "values", 4096, 0)

/* ---- node and router ------------------------------------------------------------------------ */

/* node -> router: opens a session. `to` of the envelope may be 0 (not yet known). */
#define WIRE_JOIN(F)                                                                               \
    F(u32, version_min, "version_min", UINT32_MAX, 0)                                              \
    F(u32, version_max, "version_max", UINT32_MAX, 0)                                              \
    F(text, name, "name", WIRE_NAME_MAX, 0)                                                        \
    F(u32, role, "role", 2, 0) /* enum wire_role */                                                \
    F(text, fingerprint, "fingerprint", WIRE_NAME_MAX, 0)                                          \
    F(text, numerics, "numerics", WIRE_NAME_MAX, 0)                                                \
    F(text, model, "model", WIRE_NAME_MAX, 0)                                                      \
    F(text, endpoint, "endpoint", WIRE_NAME_MAX, 0) /* P: where D reaches it */                    \
    F(text, host, "host", WIRE_NAME_MAX, 0)         /* equal texts: one machine, shared memory */  \
    F(u32, block_tokens, "block_tokens", 65536, 0)                                                 \
    F(u32, blocks, "blocks", UINT32_MAX, 0)                                                        \
    F(u32, seqs_max, "seqs_max", UINT32_MAX, 0)                                                    \
    F(u32, len_max, "len_max", WIRE_TOKENS_MAX, 0)

/* both ways on every session between our own processes, every 250 ms. */
#define WIRE_HEARTBEAT(F)                                                                          \
    F(u64, tick, "tick", UINT64_MAX, 0)         /* turns of the sender's loop */                   \
    F(u64, step, "step", UINT64_MAX, 0)         /* number of the compute step, 0 none yet */       \
    F(u32, step_ms, "step_ms", UINT32_MAX, 0)   /* how long it has run; 0: idle */                 \
    F(u32, bound_ms, "bound_ms", UINT32_MAX, 0) /* its own bound */                                \
    F(u32, blocks_free, "blocks_free", UINT32_MAX, 0)                                              \
    F(u32, n_seqs, "n_seqs", UINT32_MAX, 0)                                                        \
    F(u32, n_waiting, "n_waiting", UINT32_MAX, 0)                                                  \
    F(u64s, peers, "peers", WIRE_NODES_MAX, 0) /* D: incarnations of verified P */                 \
    F(flag, draining, "draining", 1, 0)

/* any -> any: this session is over (unknown, broken, or refused); join again under a new one. */
#define WIRE_BYE(F)                                                                                \
    F(u32, code, "code", 255, 0)                                                                   \
    F(text, text, "text", WIRE_ERROR_MAX, 0)

/* router -> node: who is there; sent whole at each change. Parallel arrays. */
#define WIRE_ROSTER(F)                                                                             \
    F(texts, names, "names", WIRE_NODES_MAX, 0)                                                    \
    F(u64s, incarnations, "incarnations", WIRE_NODES_MAX, 0)                                       \
    F(u32s, roles, "roles", WIRE_NODES_MAX, 0)                                                     \
    F(texts, endpoints, "endpoints", WIRE_NODES_MAX, 0)                                            \
    F(texts, hosts, "hosts", WIRE_NODES_MAX, 0)

/* router -> P and D. D's copy names the P it must ask (peer), P's copy the D (for its log only).
 * peer 0: compute all of it here (conditional disaggregation). A job with a higher generation and
 * the same attempt is a new reservation: only D gets it. */
#define WIRE_JOB(F)                                                                                \
    F(u32s, prompt, "prompt", WIRE_TOKENS_MAX, 0)                                                  \
    F(u32s, emitted, "emitted", WIRE_TOKENS_MAX, 0)                                                \
    F(sampling, sampling, "sampling", 0, 0)                                                        \
    F(u64, seed, "seed", UINT64_MAX, 0)                                                            \
    F(u32, deadline_ms, "deadline_ms", 86400000, 0)                                                \
    F(u64, peer, "peer", UINT64_MAX, 0)                                                            \
    F(flag, suspect, "suspect", 1, 0)

/* router -> node: stop admitting, finish, then exit. */
#define WIRE_DRAIN(F) F(u32, code, "code", 255, STATUS_DRAINING)

/* supervisor -> router: that incarnation crashed while it computed these requests. */
#define WIRE_CRASH(F)                                                                              \
    F(u64, incarnation, "incarnation", UINT64_MAX, 0)                                              \
    F(u64, step, "step", UINT64_MAX, 0)                                                            \
    F(u64s, requests, "requests", 8192, 0) /* two words an id, first byte lowest */

/* ---- P and D -------------------------------------------------------------------------------- */

/* D -> P: opens a session and a pair. The secret marks every active message of this pair. */
#define WIRE_PAIR(F)                                                                               \
    F(u32, version_min, "version_min", UINT32_MAX, 0)                                              \
    F(u32, version_max, "version_max", UINT32_MAX, 0)                                              \
    F(text, name, "name", WIRE_NAME_MAX, 0)                                                        \
    F(text, fingerprint, "fingerprint", WIRE_NAME_MAX, 0)                                          \
    F(text, numerics, "numerics", WIRE_NAME_MAX, 0)                                                \
    F(text, layout, "layout", WIRE_NAME_MAX, 0)                                                    \
    F(id, secret, "secret", 16, 0)                                                                 \
    F(flag, local, "local", 1, 0) /* shared memory; else network */                                \
    F(bytes, address, "address", WIRE_ADDRESS_MAX, 0)

/* P -> D: the answer; a probe piece follows, and the pair is ready when it has verified. */
#define WIRE_PAIRED(F)                                                                             \
    F(u32, version, "version", UINT32_MAX, 0)                                                      \
    F(bytes, address, "address", WIRE_ADDRESS_MAX, 0)

/* D -> P: send me these blocks of this request. have: blocks I already hold, ascending. */
#define WIRE_WANT(F)                                                                               \
    F(text, layout, "layout", WIRE_NAME_MAX, 0)                                                    \
    F(u32, n_blocks, "n_blocks", WIRE_TOKENS_MAX, 0)                                               \
    F(u32s, have, "have", WIRE_TOKENS_MAX, 0)

/* P -> D: everything has been offered. digests: one per piece, block-major. note: the role's own
 * bytes (first token, ledger); kvtransfer does not read them. */
#define WIRE_SEAL(F)                                                                               \
    F(u64s, digests, "digests", WIRE_TOKENS_MAX, 0)                                                \
    F(bytes, note, "note", WIRE_TOKEN_BYTES_MAX, 0)

/* D -> P: the one answer to a want; after it D touches no memory of P's for this request. */
#define WIRE_LANDED(F) F(u64, bytes, "bytes", UINT64_MAX, 0)
/* D -> P (gave up), or P -> D (will not serve this want). */
#define WIRE_REFUSED(F)                                                                            \
    F(u32, code, "code", 255, 0)                                                                   \
    F(text, text, "text", WIRE_ERROR_MAX, 0)

/* X(KIND, member, name on the wire, table, request): request says that the envelope must carry a
 * request id. The order is ours; the names are the protocol. */
#define WIRE_MESSAGES(X)                                                                           \
    X(HELLO, hello, "hello", WIRE_HELLO, 0)                                                        \
    X(WELCOME, welcome, "welcome", WIRE_WELCOME, 0)                                                \
    X(GENERATE, generate, "generate", WIRE_GENERATE, 0)                                            \
    X(ACCEPTED, accepted, "accepted", WIRE_ACCEPTED, 1)                                            \
    X(TOKEN, token, "token", WIRE_TOKEN, 1)                                                        \
    X(FIRST, first, "first", WIRE_FIRST, 1)                                                        \
    X(DONE, done, "done", WIRE_DONE, 1)                                                            \
    X(FAILED, failed, "failed", WIRE_FAILED, 0)                                                    \
    X(CANCEL, cancel, "cancel", WIRE_CANCEL, 1)                                                    \
    X(CREDIT, credit, "credit", WIRE_CREDIT, 1)                                                    \
    X(ATTACH, attach, "attach", WIRE_ATTACH, 1)                                                    \
    X(MODELS, models, "models", WIRE_MODELS, 0)                                                    \
    X(MODEL_LIST, model_list, "model_list", WIRE_MODEL_LIST, 0)                                    \
    X(STATS, stats, "stats", WIRE_STATS, 0)                                                        \
    X(STATS_LIST, stats_list, "stats_list", WIRE_STATS_LIST, 0)                                    \
    X(TOKENS, tokens, "tokens", WIRE_TOKENS, 0)                                                    \
    X(JOIN, join, "join", WIRE_JOIN, 0)                                                            \
    X(HEARTBEAT, heartbeat, "heartbeat", WIRE_HEARTBEAT, 0)                                        \
    X(BYE, bye, "bye", WIRE_BYE, 0)                                                                \
    X(ROSTER, roster, "roster", WIRE_ROSTER, 0)                                                    \
    X(JOB, job, "job", WIRE_JOB, 1)                                                                \
    X(DRAIN, drain, "drain", WIRE_DRAIN, 0)                                                        \
    X(CRASH, crash, "crash", WIRE_CRASH, 0)                                                        \
    X(PAIR, pair, "pair", WIRE_PAIR, 0)                                                            \
    X(PAIRED, paired, "paired", WIRE_PAIRED, 0)                                                    \
    X(WANT, want, "want", WIRE_WANT, 1)                                                            \
    X(SEAL, seal, "seal", WIRE_SEAL, 1)                                                            \
    X(LANDED, landed, "landed", WIRE_LANDED, 1)                                                    \
    X(REFUSED, refused, "refused", WIRE_REFUSED, 1)

enum wire_kind {
#define X(KIND, member, name, table, request) WIRE_KIND_##KIND,
    WIRE_MESSAGES(X)
#undef X
        WIRE_N_KINDS
};

/* Why a stream ends with a token. */
enum wire_end { WIRE_END_NONE, WIRE_END_STOP, WIRE_END_LENGTH };

enum wire_role { WIRE_ROLE_ROUTER, WIRE_ROLE_PREFILL, WIRE_ROLE_DECODE };

#define WIRE_MEMBER_u32(member) uint32_t member;
#define WIRE_MEMBER_u64(member) uint64_t member;
#define WIRE_MEMBER_f64(member) double member;
#define WIRE_MEMBER_flag(member) bool member;
#define WIRE_MEMBER_text(member) struct wire_span member;
#define WIRE_MEMBER_bytes(member) struct wire_span member;
#define WIRE_MEMBER_id(member) struct wire_id member;
#define WIRE_MEMBER_u32s(member) struct wire_u32s member;
#define WIRE_MEMBER_u64s(member) struct wire_u64s member;
#define WIRE_MEMBER_f64s(member) struct wire_f64s member;
#define WIRE_MEMBER_texts(member) struct wire_texts member;
#define WIRE_MEMBER_bodies(member) struct wire_texts member;
#define WIRE_MEMBER_sampling(member) struct wire_sampling member;
#define WIRE_MEMBER_ledger(member) struct wire_ledger member;
#define WIRE_MEMBER(type, member, key, limit, dflt) WIRE_MEMBER_##type(member)

struct wire_sampling {
    WIRE_SAMPLING(WIRE_MEMBER)
};
struct wire_ledger {
    WIRE_LEDGER(WIRE_MEMBER)
};
#define X(KIND, member, name, table, request)                                                      \
    struct wire_##member {                                                                         \
        table(WIRE_MEMBER)                                                                         \
    };
WIRE_MESSAGES(X)
#undef X

/* The envelope: keys of one letter. "t", the message's name, comes first and is not a member. */
#define WIRE_ENVELOPE(F)                                                                           \
    F(u32, session, "n", UINT32_MAX, 0)                                                            \
    F(u64, seq, "s", UINT64_MAX, 0)                                                                \
    F(u64, from, "f", UINT64_MAX, 0)                                                               \
    F(u64, to, "o", UINT64_MAX, 0)                                                                 \
    F(id, req, "r", 16, 0)                                                                         \
    F(u32, attempt, "a", UINT32_MAX, 0)                                                            \
    F(u32, generation, "g", UINT32_MAX, 0)

/* A message with its envelope. from/to: incarnations; a process drops what is not for its own.
 * session/seq: wire/session.h. Fields that a kind does not use are zero and not sent. */
struct wire_msg {
    enum wire_kind kind;
    WIRE_ENVELOPE(WIRE_MEMBER)
    union {
#define X(KIND, member, name, table, request) struct wire_##member member;
        WIRE_MESSAGES(X)
#undef X
    };
};

/* A zeroed envelope and every field of the kind at its default. */
void wire_msg_init(struct wire_msg *msg, enum wire_kind kind);

/* Bytes needed at most to encode msg. */
size_t wire_msg_bound(const struct wire_msg *msg);
/* Encodes into buf[capacity]. TOO_BIG where it does not fit, or a field is over its limit or not
 * finite; INVALID where the kind needs a request id and has none. */
enum status wire_msg_encode(const struct wire_msg *msg, void *buf, size_t capacity,
                            size_t *len_out);
/* Pre-scans (depth, lengths, counts: wire/scan.h), then decodes. Spans point into buf, arrays
 * into arena. MALFORMED, TOO_BIG or NO_MEMORY; why_out (may be NULL) then gets a sentence that
 * names the field, what was expected and found; it is constant or lives in the arena. Nothing is
 * written to *out otherwise. */
enum status wire_msg_decode(const void *buf, size_t len, struct arena *arena, struct wire_msg *out,
                            const char **why_out);
/* One readable line, cut at capacity; secrets, resume tokens and prompts are shown as lengths. */
void wire_msg_print(const struct wire_msg *msg, char *text, size_t capacity);

const char *wire_kind_name(enum wire_kind kind);
const char *wire_role_name(enum wire_role role);
/* "", "stop", "length", and back; anything else is none. */
const char *wire_end_name(unsigned end);
enum wire_end wire_end_code(struct wire_span name);

/* Small conveniences for spans and ids. */
struct wire_span wire_span_of(const char *text);
bool wire_span_equal(struct wire_span a, struct wire_span b);
bool wire_id_equal(const struct wire_id *a, const struct wire_id *b);
bool wire_id_is_zero(const struct wire_id *id);
/* 32 hexadecimal digits and a zero. */
void wire_id_print(const struct wire_id *id, char text[33]);
