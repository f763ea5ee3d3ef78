/* The load: the clients, one prefill and one decode node of the bench, all in one thread, with
 * nothing to compute. A request goes the way of DESIGN section 3: generate, a job to P and to D,
 * the first token from P, its copy and the others from D, done. What the messages are is the
 * dialect's: Baton's protocol, or raw messages of the same number and sizes. All else is the same
 * code, so two loads differ only in what stands in the middle. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "bench/middle.h"
#include "bench/report.h"

#define LOAD_CLIENTS_MAX 64u
#define LOAD_WHY_MAX 256
#define LOAD_PROMPT_MAX 4096u

enum load_heard {
    LOAD_NOTHING, /* nothing that concerns a request's way */
    LOAD_JOB_P,
    LOAD_JOB_D,
    LOAD_TOKEN,
    LOAD_DONE,
    LOAD_BROKEN, /* `why` of the dialect says what */
};

struct load_event {
    enum load_heard heard;
    uint32_t stream;
    uint32_t index; /* TOKEN */
};

/* One of the bench's sockets, in the order of `sockets`: the clients, then P, then D. */
struct load_dialect {
    /* Each sends one message (tokens may wait for the step's end); false when it cannot be sent,
     * `why` says so. */
    bool (*generate)(void *ctx, uint32_t stream, uint32_t client, uint32_t n_tokens);
    bool (*first)(void *ctx, uint32_t stream);
    bool (*token)(void *ctx, uint32_t stream, uint32_t index, bool is_last);
    bool (*done)(void *ctx, uint32_t stream, uint32_t n_tokens);
    /* The tokens since the last call were one step of D. */
    bool (*step_end)(void *ctx);
    /* Understands what came on socket `idx`. */
    struct load_event (*read)(void *ctx, uint32_t idx, const void *bytes, size_t len);
    /* Called at least every 50 ms. */
    bool (*beat)(void *ctx, uint64_t now_ns);
    void (*close)(void *ctx);
};

/* Bytes of the messages, so that the raw load can send as many. */
struct load_sizes {
    size_t generate, first, token, done;
};

struct load_stream {
    bool is_open;
    bool has_d; /* D has the job */
    uint32_t client;
    uint32_t n_total;
    uint32_t n_decoded; /* sent by D, the copy of the first included */
    uint32_t n_seen;    /* by the client */
    uint64_t sent_ns;   /* of the token whose way is timed; 0: none */
};

struct load {
    const struct load_dialect *dialect;
    void *ctx;      /* of the dialect, owned */
    void *zmq;      /* ZeroMQ's context, owned */
    void **sockets; /* [n_clients + 2], owned */
    uint32_t n_clients;
    uint32_t n_prompt;
    const char *why; /* why it failed; constant text */
    struct load_stream streams[MIDDLE_STREAMS_MAX];
    uint32_t active[MIDDLE_STREAMS_MAX]; /* streams that D decodes */
    uint32_t n_active;
    uint32_t turn; /* where in `active` the next step begins */
    uint32_t n_open;
    uint32_t in_flight; /* tokens on their way to clients */
    uint64_t n_tokens;  /* seen by clients */
    uint64_t n_requests;
    struct samples *samples; /* NULL: nothing is timed */
};

/* Opens sockets to the middle and greets it. The load must be zeroed before. On failure load->why
 * is set, and the load still wants load_close. */
enum status load_open_baton(struct load *load, const struct middle *middle, uint32_t n_clients,
                            uint32_t n_prompt, struct load_sizes *sizes_out);
enum status load_open_raw(struct load *load, const struct middle *middle, uint32_t n_clients,
                          uint32_t n_prompt, const struct load_sizes *sizes);
void load_close(struct load *load);

/* What to keep up: `n_streams` requests of `n_tokens` each. */
struct load_shape {
    uint32_t n_streams;
    uint32_t n_tokens;
    uint32_t window; /* tokens on their way at once, at most */
};

/* As fast as it goes for `ns`. *seconds_out is how long it was. LOST with load->why when the middle
 * lost, doubled or swapped something, or nothing moves any more. */
enum status load_rate(struct load *load, const struct load_shape *shape, uint64_t ns,
                      double *seconds_out);
/* For `ns`: a step of `n_step` tokens (of one stream each), wait until all are there, pause. The
 * time of each token's way goes to `samples`. */
enum status load_latency(struct load *load, const struct load_shape *shape, uint32_t n_step,
                         uint64_t pause_ns, uint64_t ns, struct samples *samples);
/* Lets what is on its way arrive. */
enum status load_quiet(struct load *load);
/* Lets all open requests end. */
enum status load_drain(struct load *load);

/* For dialects: sockets to `nodes` and `clients`; id: routing ids of the raw protocol. */
enum status load_connect(struct load *load, const struct middle *middle, bool with_ids);
