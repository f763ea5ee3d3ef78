/* The client protocol (wire/PROTOCOL.md): admission, streams with credits, cancel, taking over a
 * stream. The emitted ids are kept anyway, to do the request again elsewhere; so a slow or absent
 * client costs nothing more, and a stream is only an index into them. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "router/answer_text.h"
#include "router/prompt.h"
#include "router/state.h"
#include "wire/sampling.h"
#include "wire/siphash.h"

static enum status post(struct router *router, uint32_t link, struct wire_msg *msg)
{
    msg->from = router->cfg.self;
    return wire_out_post(router->out, link, msg);
}

static void refuse(struct router *router, uint32_t link, const struct wire_msg *about,
                   enum status code, uint32_t retry_ms, const char *text)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_FAILED);
    msg.req = about->req;
    if (about->kind == WIRE_KIND_GENERATE) {
        msg.failed.label = about->generate.label;
        router_watch_refused(router, link, about->generate.label, code, text);
    }
    msg.failed.code = code;
    msg.failed.text = wire_span_of(text);
    msg.failed.retry_ms = retry_ms;
    (void)post(router, link, &msg);
}

/* ---- streams ---- */

void router_req_memory_free(struct router_req *req)
{
    answer_text_destroy(req->writer);
    answer_text_destroy(req->watcher);
    mem_free(req->memory);
}

static void req_free(struct router *router, struct router_req *req)
{
    const struct idmap_key key = idmap_key(req->id.byte, 0);
    const uint32_t idx = (uint32_t)(req - router->reqs);

    CHECK(req->state == ROUTER_ENDED && req->p == ROUTER_NONE && req->d == ROUTER_NONE);
    CHECK(idmap_remove(router->map, &key, NULL) == STATUS_OK);
    router_watch_over(router, req);
    router_req_memory_free(req);
    *req = (struct router_req){.used = false};
    router->free_reqs[router->n_free_reqs++] = idx;
}

static enum status post_token(struct router *router, struct router_req *req)
{
    const bool last = req->end[0] && req->n_sent + 1 == req->n_emitted;
    char text[WIRE_PIECE_MAX];
    struct wire_msg msg;
    enum status status;

    if (wire_out_room(router->out) < 2 * WIRE_PIECE_MAX)
        return STATUS_AGAIN;
    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    msg.req = req->id;
    msg.token.index = req->n_sent;
    msg.token.token = req->emitted[req->n_sent];
    router_tops_fill(req, req->n_sent, &msg.token);
    if (last)
        msg.token.end = wire_span_of(req->end);
    msg.token.text.at = text;
    status = answer_text_take(req->writer, msg.token.token, last ? req->said : WIRE_END_NONE, text,
                              &msg.token.text.len);
    return status == STATUS_OK ? post(router, req->client, &msg) : status;
}

/* What has stopped the answer: a stop string, a stop or end id, or neither. */
static void stop_fill(const struct router_req *req, struct wire_done *done)
{
    if (req->watcher && answer_text_stopped(req->watcher, &done->stop_text))
        return;
    if (req->said == WIRE_END_STOP)
        done->stop_id = req->emitted[req->n_emitted - 1];
}

static bool post_end(struct router *router, struct router_req *req)
{
    struct wire_msg msg;

    wire_msg_init(&msg, req->code == STATUS_DONE ? WIRE_KIND_DONE : WIRE_KIND_FAILED);
    msg.req = req->id;
    if (req->code == STATUS_DONE) {
        msg.done.reason = wire_span_of(req->reason);
        msg.done.n_tokens = req->n_emitted;
        msg.done.seed = req->seed;
        stop_fill(req, &msg.done);
        msg.done.fingerprint = wire_span_of(router->numerics);
        msg.done.ledger = router_ledger(req);
    } else {
        msg.failed.label = wire_span_of(req->label);
        msg.failed.code = req->code;
        msg.failed.text = wire_span_of(req->reason);
        msg.failed.retry_ms = req->retry_ms;
    }
    return post(router, req->client, &msg) == STATUS_OK;
}

/* A token without its text would be a wrong answer: the stream ends with an error. */
static void no_text(struct router *router, struct router_req *req, enum status status,
                    uint64_t now_ns)
{
    if (req->state == ROUTER_ENDED)
        req->code = status;
    snprintf(req->reason, sizeof(req->reason), "%s", status_text(status));
    req->n_sent = req->n_emitted;
    router_req_end(router, req, status, NULL, now_ns);
    if (req->used && req->state == ROUTER_ENDED && post_end(router, req))
        req_free(router, req);
}

void router_client_flush(struct router *router, struct router_req *req, uint64_t now_ns)
{
    if (req->client == WIRE_LINK_NONE)
        return;
    while (req->n_sent < req->n_emitted && (!req->limited || req->credits > 0)) {
        const enum status status = post_token(router, req);

        if (status == STATUS_AGAIN)
            return; /* the list of this step is full: at the next tick */
        if (status != STATUS_OK) {
            no_text(router, req, status, now_ns);
            return;
        }
        req->n_sent++;
        req->credits -= req->limited;
        req->beat_ns = now_ns;
        req->starved_ns = 0;
    }
    if (req->n_sent < req->n_emitted) {
        if (req->starved_ns == 0)
            req->starved_ns = now_ns;
        /* An error does not wait for a reader who does not read. */
        if (req->state != ROUTER_ENDED || req->code == STATUS_DONE)
            return;
    }
    if (req->state == ROUTER_ENDED && post_end(router, req))
        req_free(router, req);
}

/* Tokens wait too long for credits, or the deadline has passed while they are read drop by drop. */
static bool too_slow(const struct router *router, const struct router_req *req, uint64_t now_ns)
{
    if (req->starved_ns && now_ns - req->starved_ns >= router->cfg.resume_ms * NS_PER_MS)
        return true;
    return req->state == ROUTER_ENDED && req->code == STATUS_DONE &&
           router_left_ns(router, req) == 0;
}

void router_client_tick(struct router *router, struct router_req *req, uint64_t now_ns)
{
    const uint64_t patience_ns = router->cfg.resume_ms * NS_PER_MS;
    struct wire_msg msg;

    if (req->client == WIRE_LINK_NONE) {
        if (now_ns - req->gone_ns < patience_ns)
            return;
        router_req_end(router, req, STATUS_CANCELLED, "the client did not come back", now_ns);
        req_free(router, req);
        return;
    }
    if (too_slow(router, req, now_ns)) {
        if (req->state == ROUTER_ENDED) /* computed, but not read in time */
            req->code = STATUS_SLOW_READER;
        snprintf(req->reason, sizeof(req->reason), "%s", status_text(STATUS_SLOW_READER));
        router_req_end(router, req, STATUS_SLOW_READER, NULL, now_ns);
        if (req->used)
            router_client_flush(router, req, now_ns);
        return;
    }
    router_client_flush(router, req, now_ns);
    if (!req->used || now_ns - req->beat_ns < ROUTER_BEAT_MS * NS_PER_MS)
        return;
    req->beat_ns = now_ns; /* shows a waiting client that all is well, and us that it is there */
    wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
    msg.req = req->id;
    (void)post(router, req->client, &msg);
}

void router_client_link_down(struct router *router, uint32_t link, uint64_t now_ns)
{
    for (uint32_t i = 0; i < router->cfg.requests_max; i++) {
        struct router_req *req = &router->reqs[i];

        if (!req->used || req->client != link)
            continue;
        req->client = WIRE_LINK_NONE;
        req->gone_ns = now_ns;
        req->starved_ns = 0;
    }
}

/* ---- admission ---- */

static enum status req_texts(struct router *router, struct router_req *req,
                             const struct wire_generate *in)
{
    const struct tokenizer *tok = router->cfg.tok;
    enum status status = answer_text_create(tok, in, &req->writer);

    if (status == STATUS_OK && in->stop.n > 0)
        status = answer_text_create(tok, in, &req->watcher);
    return status;
}

/* One allocation for all that grows with the request, and its texts; they die with it. */
static enum status req_memory(struct router *router, struct router_req *req,
                              const struct wire_u32s *prompt, const struct wire_generate *in)
{
    const struct wire_sampling *sampling = &in->sampling;
    const size_t n = sampling->max_tokens, n_tops = n * sampling->logprobs;
    const size_t sampling_bytes = wire_sampling_bytes(sampling);
    uint8_t *at = mem_alloc(sampling_bytes + (n + n_tops) * (sizeof(double) + sizeof(uint32_t)) +
                            prompt->n * sizeof(uint32_t) + n);

    req->memory = at;
    if (!at || req_texts(router, req, in) != STATUS_OK) {
        router_req_memory_free(req);
        *req = (struct router_req){.used = false};
        return STATUS_NO_MEMORY;
    }
    req->sampling = wire_sampling_copy(sampling, at);
    req->logprobs = (double *)(void *)(at + sampling_bytes);
    req->top_logprobs = req->logprobs + n;
    req->emitted = (uint32_t *)(void *)(req->top_logprobs + n_tops);
    req->top_ids = req->emitted + n;
    req->prompt = req->top_ids + n_tops;
    req->n_tops = (uint8_t *)(req->prompt + prompt->n);
    req->n_prompt = (uint32_t)prompt->n;
    memcpy(req->prompt, prompt->at, prompt->n * sizeof(uint32_t));
    return STATUS_OK;
}

static uint64_t prompt_print(const struct router *router, const struct wire_u32s *prompt)
{
    struct siphash_key key;

    memcpy(key.byte, router->cfg.key, sizeof(key.byte));
    return siphash_64(&key, prompt->at, prompt->n * sizeof(uint32_t));
}

static void req_admit(struct router *router, struct router_req *req, uint32_t link,
                      const struct wire_generate *in, uint64_t now_ns)
{
    const uint32_t limit = router->cfg.deadline_ms;
    const uint32_t deadline = in->deadline_ms && in->deadline_ms < limit ? in->deadline_ms : limit;
    struct wire_id drawn;

    req->used = true;
    req->state = ROUTER_QUEUED;
    req->p = req->d = req->next = req->prev = ROUTER_NONE;
    router_draw(router, &req->id);
    router_draw(router, &req->resume);
    router_draw(router, &drawn);
    memcpy(&req->seed, drawn.byte, sizeof(req->seed));
    if (in->seeded)
        req->seed = in->seed;
    snprintf(req->label, sizeof(req->label), "%.*s", (int)in->label.len, in->label.at);
    req->client = link;
    req->limited = in->credits > 0;
    req->credits = in->credits;
    req->attempt = 1;
    req->order = ++router->order;
    req->admitted_ns = req->queued_ns = req->beat_ns = now_ns;
    req->deadline_ns = router->awake.last_ns + deadline * NS_PER_MS;
}

static void accept_answer(struct router *router, const struct router_req *req)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_ACCEPTED);
    msg.req = req->id;
    msg.accepted.label = wire_span_of(req->label);
    msg.accepted.resume = req->resume;
    msg.accepted.seed = req->seed;
    msg.accepted.prompt_tokens = req->n_prompt;
    (void)post(router, req->client, &msg);
}

/* In a full queue who waits comes before who has left: that client may ask again, nothing of its
 * answer is lost. */
static void queue_make_room(struct router *router, uint64_t now_ns)
{
    uint32_t i = router->queue_head;

    while (i != ROUTER_NONE &&
           (router->reqs[i].client != WIRE_LINK_NONE || router->reqs[i].n_emitted > 0))
        i = router->reqs[i].next;
    if (i == ROUTER_NONE)
        return;
    router_req_end(router, &router->reqs[i], STATUS_CANCELLED, "the client has left", now_ns);
    req_free(router, &router->reqs[i]);
}

/* Why the request cannot be taken, or OK. text_out gets a sentence of at most WIRE_ERROR_MAX. */
static enum status admission(struct router *router, const struct wire_generate *in,
                             const struct wire_u32s *prompt, uint64_t now_ns, char *text,
                             uint32_t *retry_ms_out)
{
    const struct wire_sampling *sampling = &in->sampling;
    const uint32_t len_max = router_len_limit(router);
    enum status status;

    *retry_ms_out = 0;
    if (wire_sampling_check(sampling, router->cfg.vocab, text) != STATUS_OK)
        return STATUS_INVALID;
    if ((status = answer_text_check(in, text)) != STATUS_OK)
        return status;
    if (in->fit && len_max > 0 && prompt->n + 1 > len_max) {
        snprintf(text, WIRE_ERROR_MAX,
                 "the prompt has %zu tokens, and prompt and answer together at most %u in this "
                 "fleet: shorten it",
                 prompt->n, len_max);
        return STATUS_TOO_BIG;
    }
    if (len_max > 0 && prompt->n + sampling->max_tokens > len_max) {
        snprintf(text, WIRE_ERROR_MAX,
                 "prompt of %zu tokens and max_tokens %u are over this fleet's longest sequence, "
                 "%u tokens: shorten one of them",
                 prompt->n, sampling->max_tokens, len_max);
        return STATUS_TOO_BIG;
    }
    if ((uint64_t)sampling->max_tokens * sampling->logprobs > ROUTER_TOPS_MAX) {
        snprintf(text, WIRE_ERROR_MAX,
                 "max_tokens %u with logprobs %u are more than %u likeliest ids in all: ask for "
                 "less of one of them",
                 sampling->max_tokens, sampling->logprobs, ROUTER_TOPS_MAX);
        return STATUS_TOO_BIG;
    }
    if (router_quarantined(router, prompt_print(router, prompt), now_ns)) {
        snprintf(text, WIRE_ERROR_MAX, "%s", status_text(STATUS_POISONED));
        return STATUS_POISONED;
    }
    *retry_ms_out = ROUTER_BEAT_MS;
    if (router->n_queued >= router->cfg.queue_max)
        queue_make_room(router, now_ns);
    if (router->n_queued >= router->cfg.queue_max || router->n_free_reqs == 0) {
        snprintf(text, WIRE_ERROR_MAX, "%u requests wait already: try again later",
                 router->n_queued);
        return STATUS_FULL;
    }
    if (router->draining) {
        snprintf(text, WIRE_ERROR_MAX, "this router is shutting down: use another one");
        return STATUS_DRAINING;
    }
    return STATUS_OK;
}

/* Lowers max_tokens to what the prompt leaves, where the client lets us, but not below 1. */
static void fit(const struct router *router, size_t n_prompt, struct wire_generate *in)
{
    const uint32_t len_max = router_len_limit(router);
    struct wire_sampling *sampling = &in->sampling;

    if (!in->fit || n_prompt + 1 > len_max || n_prompt + sampling->max_tokens <= len_max)
        return;
    sampling->max_tokens = len_max - (uint32_t)n_prompt;
    if (sampling->min_tokens > sampling->max_tokens)
        sampling->min_tokens = sampling->max_tokens;
}

static void take_generate(struct router *router, uint32_t link, const struct wire_msg *msg,
                          uint64_t now_ns)
{
    struct wire_generate in = msg->generate;
    char text[WIRE_ERROR_MAX];
    struct router_req *req;
    struct wire_u32s prompt;
    struct idmap_key key;
    const struct prompt_reader reader = router_reader(&router->cfg);
    const int64_t now_unix_s =
        (int64_t)(router->awake.last_ns / NS_PER_S) + router->cfg.unix_offset_s;
    uint32_t retry_ms = 0;
    enum status status;

    if (in.model.len > 0 && !wire_span_equal(in.model, wire_span_of(router->cfg.model))) {
        snprintf(text, sizeof(text), "model '%.*s' is not served here, '%s' is", (int)in.model.len,
                 in.model.at, router->cfg.model);
        status = STATUS_NOT_FOUND;
    } else if ((status = prompt_read(&reader, router->work, now_unix_s, &in, &prompt, text)) ==
               STATUS_OK) {
        fit(router, prompt.n, &in);
        status = admission(router, &in, &prompt, now_ns, text, &retry_ms);
    }
    if (status != STATUS_OK) {
        router->counts.refused++;
        refuse(router, link, msg, status, retry_ms, text);
        return;
    }
    req = &router->reqs[router->free_reqs[router->n_free_reqs - 1]];
    if (req_memory(router, req, &prompt, &in) != STATUS_OK) {
        router->counts.refused++;
        refuse(router, link, msg, STATUS_NO_MEMORY, ROUTER_BEAT_MS, "the router is out of memory");
        return;
    }
    router->n_free_reqs--;
    req_admit(router, req, link, &in, now_ns);
    req->print = prompt_print(router, &prompt);
    key = idmap_key(req->id.byte, 0);
    CHECK(idmap_insert(router->map, &key, (uint32_t)(req - router->reqs)) == STATUS_OK);
    router->counts.admitted++;
    accept_answer(router, req);
    router_queue_push(router, (uint32_t)(req - router->reqs));
}

/* ---- the other messages ---- */

/* Without a branch on the bytes: how much of a guess was right must not show. */
static bool resume_equal(const struct wire_id *a, const struct wire_id *b)
{
    unsigned differ = 0;

    for (size_t i = 0; i < sizeof(a->byte); i++)
        differ |= (unsigned)(a->byte[i] ^ b->byte[i]);
    return differ == 0;
}

/* NULL where there is none or it is not the asker's. Credit and cancel may well come after the end,
 * so they are not answered; attach is. */
static struct router_req *req_of_client(struct router *router, const struct wire_msg *msg,
                                        const struct wire_id *resume)
{
    struct router_req *req = router_req_find(router, &msg->req);

    return req && resume_equal(&req->resume, resume) ? req : NULL;
}

/* Brings the text's state to before the token `next`. */
static enum status text_rewind(struct router_req *req, uint32_t next)
{
    char text[WIRE_PIECE_MAX];
    size_t len;

    answer_text_reset(req->writer);
    for (req->n_sent = 0; req->n_sent < next; req->n_sent++) {
        const uint32_t id = req->emitted[req->n_sent];
        const enum status status = answer_text_take(req->writer, id, WIRE_END_NONE, text, &len);

        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static void take_attach(struct router *router, uint32_t link, const struct wire_msg *msg,
                        uint64_t now_ns)
{
    struct router_req *req = req_of_client(router, msg, &msg->attach.resume);
    enum status status;

    if (!req) {
        refuse(router, link, msg, STATUS_NOT_FOUND, 0,
               "no such request, or it is not yours: it may have ended");
        return;
    }
    if (msg->attach.next > req->n_emitted) {
        refuse(router, link, msg, STATUS_INVALID, 0, "attach: next is past the last token");
        return;
    }
    req->client = link;
    status = text_rewind(req, msg->attach.next);
    if (status != STATUS_OK) {
        no_text(router, req, status, now_ns);
        return;
    }
    req->limited = msg->attach.credits > 0;
    req->credits = msg->attach.credits;
    req->starved_ns = 0;
    accept_answer(router, req);
    router_client_flush(router, req, now_ns);
}

static void take_credit(struct router *router, uint32_t link, const struct wire_msg *msg,
                        uint64_t now_ns)
{
    struct router_req *req = req_of_client(router, msg, &msg->credit.resume);

    if (!req || req->client != link)
        return;
    if (req->credits > UINT32_MAX - msg->credit.credits)
        req->credits = UINT32_MAX;
    else
        req->credits += msg->credit.credits;
    router_client_flush(router, req, now_ns);
}

static void take_cancel(struct router *router, const struct wire_msg *msg, uint64_t now_ns)
{
    struct router_req *req = req_of_client(router, msg, &msg->cancel.resume);

    if (req)
        router_req_end(router, req, STATUS_CANCELLED, NULL, now_ns);
}

static void take_hello(struct router *router, uint32_t link, const struct wire_msg *msg)
{
    struct wire_msg answer;

    if (msg->hello.version_min > WIRE_VERSION_MAX || msg->hello.version_max < WIRE_VERSION_MIN) {
        refuse(router, link, msg, STATUS_INCOMPATIBLE, 0,
               "no common protocol version: this router speaks version 1");
        return;
    }
    wire_msg_init(&answer, WIRE_KIND_WELCOME);
    answer.welcome.version = WIRE_VERSION_MAX;
    answer.welcome.heartbeat_ms = ROUTER_BEAT_MS;
    answer.welcome.server = wire_span_of(router->cfg.server);
    (void)post(router, link, &answer);
}

static void answer_models(struct router *router, uint32_t link)
{
    const struct wire_span name = wire_span_of(router->cfg.model);
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_MODEL_LIST);
    msg.model_list.names = (struct wire_texts){&name, 1};
    msg.model_list.len_max = router_len_limit(router);
    msg.model_list.fingerprint = wire_span_of(router->numerics);
    if (router->cfg.defaults)
        msg.model_list.sampling = *router->cfg.defaults;
    msg.model_list.samples = router->cfg.samples;
    msg.model_list.chats = router->cfg.tmpl != NULL;
    msg.model_list.ready = router_ready(router);
    (void)post(router, link, &msg);
}

static void answer_stats(struct router *router, uint32_t link)
{
    struct router_counts counts;
    struct wire_span names[sizeof(struct router_counts) / sizeof(uint64_t)];
    uint64_t values[sizeof(struct router_counts) / sizeof(uint64_t)];
    struct wire_msg msg;
    size_t n = 0;

    router_counts(router, &counts);
#define X(name)                                                                                    \
    names[n] = wire_span_of(#name);                                                                \
    values[n++] = counts.name;
    ROUTER_COUNTS(X)
#undef X
    wire_msg_init(&msg, WIRE_KIND_STATS_LIST);
    msg.stats_list.names = (struct wire_texts){names, n};
    msg.stats_list.values = (struct wire_u64s){values, n};
    (void)post(router, link, &msg);
}

void router_client_message(struct router *router, uint32_t link, const struct wire_msg *msg,
                           uint64_t now_ns)
{
    switch (msg->kind) {
    case WIRE_KIND_HELLO:
        take_hello(router, link, msg);
        break;
    case WIRE_KIND_GENERATE:
        take_generate(router, link, msg, now_ns);
        break;
    case WIRE_KIND_CANCEL:
        take_cancel(router, msg, now_ns);
        break;
    case WIRE_KIND_CREDIT:
        take_credit(router, link, msg, now_ns);
        break;
    case WIRE_KIND_ATTACH:
        take_attach(router, link, msg, now_ns);
        break;
    case WIRE_KIND_MODELS:
        answer_models(router, link);
        break;
    case WIRE_KIND_STATS:
        answer_stats(router, link);
        break;
    case WIRE_KIND_HEARTBEAT:
        break;
    default:
        refuse(router, link, msg, STATUS_DENIED, 0,
               "this message is not for clients; see wire/PROTOCOL.md");
        break;
    }
}
