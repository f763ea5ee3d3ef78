/* A request's states, as router.h tables them: what nodes say of it, losses, its end. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "router/answer_text.h"
#include "router/state.h"
#include "wire/kvgeom.h"
#include "wire/plant.h"

struct router_req *router_req_find(struct router *router, const struct wire_id *id)
{
    const struct idmap_key key = idmap_key(id->byte, 0);
    uint32_t idx;

    return idmap_find(router->map, &key, &idx) == STATUS_OK ? &router->reqs[idx] : NULL;
}

uint64_t router_left_ns(const struct router *router, const struct router_req *req)
{
    const uint64_t now_ns = router->awake.last_ns;

    return req->deadline_ns > now_ns ? req->deadline_ns - now_ns : 0;
}

/* ---- ends and new attempts ---- */

void router_req_end(struct router *router, struct router_req *req, enum status code,
                    const char *text, uint64_t now_ns)
{
    if (req->state == ROUTER_ENDED)
        return;
    if (req->state == ROUTER_QUEUED)
        router_queue_remove(router, (uint32_t)(req - router->reqs));
    router_unplace_p(router, req, true);
    router_unplace_d(router, req, true);
    req->state = ROUTER_ENDED;
    req->code = code;
    if (code != STATUS_DONE)
        snprintf(req->reason, sizeof(req->reason), "%s", text ? text : status_text(code));
    req->ledger.total_us = (now_ns - req->admitted_ns) / NS_PER_US;
    req->starved_ns = 0;
    if (code == STATUS_DONE)
        router->counts.done++;
    else if (code == STATUS_CANCELLED)
        router->counts.cancelled++;
    else
        router->counts.failed++;
    view_req_ended(router->view, req, now_ns);
    LOG_DEBUG("router", "request ended", log_req(req->id.byte), log_status(code),
              log_u64("emitted", req->n_emitted), log_u64("attempts", req->attempt));
    router_client_flush(router, req, now_ns);
}

/* Once more from the queue, at its old place, with what it has emitted so far; unless only the
 * node's last word is missing. */
static void resubmit(struct router *router, struct router_req *req, uint64_t now_ns)
{
    if (req->end[0] && !PLANTED(20)) {
        memcpy(req->reason, req->end, sizeof(req->end));
        router_req_end(router, req, STATUS_DONE, NULL, now_ns);
        return;
    }
    router_unplace_p(router, req, true);
    router_unplace_d(router, req, true);
    req->attempt++;
    req->state = ROUTER_QUEUED;
    req->queued_ns = now_ns;
    router->counts.resubmitted++;
    router_queue_push(router, (uint32_t)(req - router->reqs));
}

/* Counts a failure that is the request's own or nobody's; gives up after attempts_max. */
static bool give_up(struct router *router, struct router_req *req, enum status code,
                    uint64_t now_ns)
{
    char text[WIRE_ERROR_MAX];

    if (++req->n_failures < router->cfg.attempts_max)
        return false;
    snprintf(text, sizeof(text), "gave up after %u failures, the last one on '%s': %s",
             req->n_failures, req->d_name, status_text(code));
    router_req_end(router, req, code, text, now_ns);
    return true;
}

static void retry(struct router *router, struct router_req *req, enum status code, uint64_t now_ns)
{
    if (req->end[0] || !give_up(router, req, code, now_ns))
        resubmit(router, req, now_ns);
}

/* ---- tokens ---- */

/* What a node may say of the id at index: more to come, a stop, or that it is the last one asked
 * for. */
static bool end_sound(const struct router_req *req, uint32_t index, struct wire_span end)
{
    return end.len == 0 || wire_span_equal(end, wire_span_of("stop")) ||
           (wire_span_equal(end, wire_span_of("length")) && index + 1 == req->sampling.max_tokens);
}

/* Puts the id behind the others. False: it could not be read as text, or it is the last one of the
 * answer because a stop string is complete with it. What a node has computed behind it is of an
 * ended request then, and nothing of it is kept that could be submitted again. */
static bool append_id(struct router *router, struct router_req *req, const struct wire_token *token,
                      uint64_t now_ns)
{
    const enum wire_end said = wire_end_code(token->end);
    char text[WIRE_PIECE_MAX];
    size_t len;

    if (req->watcher) {
        const enum status status = answer_text_take(req->watcher, token->token, said, text, &len);

        if (status != STATUS_OK) {
            router_req_end(router, req, status, NULL, now_ns);
            return false;
        }
    }
    if (req->n_emitted == 0)
        req->ledger.first_token_us = (now_ns - req->admitted_ns) / NS_PER_US;
    router_watch_token(router, req, now_ns);
    req->emitted[req->n_emitted++] = token->token;
    snprintf(req->end, sizeof(req->end), "%s", wire_end_name(said));
    req->said = said;
    router->counts.tokens++;
    if (!req->watcher || !answer_text_stopped(req->watcher, NULL) || PLANTED(26))
        return true;
    snprintf(req->end, sizeof(req->end), "%s", wire_end_name(WIRE_END_STOP));
    memcpy(req->reason, req->end, sizeof(req->end));
    router_req_end(router, req, STATUS_DONE, NULL, now_ns);
    return false;
}

/* Takes the id at its place in the stream, once. False: the request has ended or starts again. */
static bool take_id(struct router *router, struct router_req *req, const struct wire_token *token,
                    uint64_t now_ns)
{
    uint32_t index = token->index;

    if (PLANTED(18) && index + 1 == req->n_emitted && req->n_emitted < req->sampling.max_tokens)
        index++; /* the copy of the first token is taken for the next one */
    if (index < req->n_emitted) {
        router->counts.tokens_doubled++;
        if (req->emitted[index] == token->token && router_tops_equal(req, index, token))
            return true;
        router->counts.tokens_differing++;
        LOG_ERROR("router", "two nodes computed different tokens or logprobs",
                  log_req(req->id.byte), log_u64("index", index),
                  log_u64("first", req->emitted[index]), log_u64("second", token->token),
                  log_str("prefill", req->p_name), log_str("decode", req->d_name));
        router_req_end(router, req, STATUS_MISMATCH,
                       "two nodes computed different tokens or logprobs for one place; see the "
                       "router's log",
                       now_ns);
        return false;
    }
    if (index > req->n_emitted || index >= req->sampling.max_tokens || req->end[0] ||
        token->token >= router->cfg.vocab || !end_sound(req, index, token->end) ||
        !router_tops_keep(req, index, token)) {
        retry(router, req, STATUS_PROTOCOL, now_ns);
        return false;
    }
    return append_id(router, req, token, now_ns);
}

static void take_first(struct router *router, struct router_req *req,
                       const struct wire_first *first, uint64_t now_ns)
{
    const struct wire_token token = {.index = first->index,
                                     .token = first->token,
                                     .logprob = first->logprob,
                                     .end = first->end,
                                     .top_ids = first->top_ids,
                                     .top_logprobs = first->top_logprobs};

    req->ledger.prefill_queue_us += first->ledger.prefill_queue_us;
    req->ledger.prefill_us += first->ledger.prefill_us;
    if (req->state == ROUTER_PREFILL) {
        router_computed(router, req);
        req->state = ROUTER_HANDOVER;
    }
    if (take_id(router, req, &token, now_ns))
        router_client_flush(router, req, now_ns);
}

/* D's pool fills as the sequence grows; the account follows. */
static void account_growth(struct router *router, struct router_req *req)
{
    const uint32_t blocks = kvgeom_blocks(req->n_prompt + req->n_emitted) + 1; /* as placed */

    if (req->d == ROUTER_NONE || blocks <= req->d_blocks)
        return;
    router->nodes[req->d].blocks_used += blocks - req->d_blocks;
    req->d_blocks = blocks;
}

static void take_token(struct router *router, struct router_req *req, bool from_d,
                       const struct wire_token *token, uint64_t now_ns)
{
    if (from_d && req->state != ROUTER_DECODE) {
        /* P has let go when D said so, but that word may be lost with their session. */
        router_unplace_p(router, req, true);
        req->state = ROUTER_DECODE;
    }
    if (!take_id(router, req, token, now_ns))
        return;
    account_growth(router, req);
    router_client_flush(router, req, now_ns);
}

static void take_done(struct router *router, struct router_req *req, bool from_d,
                      const struct wire_done *done, uint64_t now_ns)
{
    if (done->n_tokens != req->n_emitted || !req->end[0]) {
        retry(router, req, STATUS_PROTOCOL, now_ns);
        return;
    }
    snprintf(req->reason, sizeof(req->reason), "%.*s", (int)done->reason.len, done->reason.at);
    snprintf(req->path, sizeof(req->path), "%.*s", (int)done->ledger.transfer_path.len,
             done->ledger.transfer_path.at);
    if (req->ledger.prefill_us == 0) { /* P's own word was overtaken */
        req->ledger.prefill_queue_us = done->ledger.prefill_queue_us;
        req->ledger.prefill_us = done->ledger.prefill_us;
    }
    req->ledger.transfer_us += done->ledger.transfer_us;
    req->ledger.transfer_bytes += done->ledger.transfer_bytes;
    req->ledger.decode_queue_us += done->ledger.decode_queue_us;
    req->ledger.first_step_us += done->ledger.first_step_us;
    req->ledger.decode_us += done->ledger.decode_us;
    if (from_d)
        router_unplace_d(router, req, false);
    else
        router_unplace_p(router, req, false);
    router_req_end(router, req, STATUS_DONE, NULL, now_ns);
}

/* ---- failures ---- */

static bool is_busy(enum status code)
{
    return code == STATUS_FULL || code == STATUS_DRAINING || code == STATUS_YIELDED ||
           code == STATUS_EXISTS;
}

static void backoff(struct router *router, uint32_t node, uint64_t now_ns)
{
    router->nodes[node].backoff_ns = now_ns + ROUTER_BACKOFF_MS * NS_PER_MS;
}

/* Ends a request that no node would take: it is too long, or the node says what is wrong with it.
 */
static bool end_unfit(struct router *router, struct router_req *req, enum status code,
                      struct wire_span why, uint64_t now_ns)
{
    char text[WIRE_ERROR_MAX + 1];

    if (code != STATUS_TOO_BIG && code != STATUS_INVALID)
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)why.len, why.at);
    router_req_end(router, req, code, code == STATUS_TOO_BIG ? ROUTER_TOO_LONG : text, now_ns);
    return true;
}

static void failed_p(struct router *router, struct router_req *req, enum status code,
                     struct wire_span why, uint64_t now_ns)
{
    if (is_busy(code))
        backoff(router, req->p, now_ns);
    router_unplace_p(router, req, false);
    if (end_unfit(router, req, code, why, now_ns) || req->state == ROUTER_DECODE)
        return; /* in DECODE D has all it needs */
    if (is_busy(code))
        resubmit(router, req, now_ns);
    else
        retry(router, req, code, now_ns);
}

static void failed_d(struct router *router, struct router_req *req, enum status code,
                     struct wire_span why, uint64_t now_ns)
{
    const bool p_forgot =
        code == STATUS_NOT_FOUND || code == STATUS_CANCELLED || code == STATUS_STALE;

    if (is_busy(code))
        backoff(router, req->d, now_ns);
    if (code == STATUS_LOST || code == STATUS_UNREACHABLE)
        router->nodes[req->d].n_paired = 0; /* until its next heartbeat tells anew */
    router_unplace_d(router, req, false);
    if (end_unfit(router, req, code, why, now_ns)) {
        return;
    } else if (req->state == ROUTER_DECODE || req->p == ROUTER_NONE || p_forgot) {
        if (is_busy(code))
            resubmit(router, req, now_ns);
        else
            retry(router, req, code, now_ns);
    } else if (is_busy(code) || !give_up(router, req, code, now_ns)) {
        router_rereserve(router, req, now_ns);
    }
}

/* What a node gives as the cause; a failure that calls itself a success is its bug. */
static enum status failure_of(const struct wire_failed *failed)
{
    return failed->code < STATUS_INVALID ? STATUS_PROTOCOL : (enum status)failed->code;
}

/* ---- what nodes say ---- */

void router_req_message(struct router *router, uint32_t node, const struct wire_msg *msg,
                        uint64_t now_ns)
{
    struct router_req *req = router_req_find(router, &msg->req);
    bool from_p, from_d;

    if (!req || req->state == ROUTER_ENDED || req->state == ROUTER_QUEUED) {
        router->counts.messages_stale++;
        return;
    }
    from_p = req->p == node && msg->attempt == req->attempt;
    from_d = req->d == node && msg->attempt == req->attempt && msg->generation == req->generation;
    if (PLANTED(17))
        from_d = !from_p;
    if (!from_p && !from_d) {
        router->counts.messages_stale++;
        return;
    }
    switch (msg->kind) {
    case WIRE_KIND_FIRST:
        if (from_p)
            take_first(router, req, &msg->first, now_ns);
        break;
    case WIRE_KIND_TOKEN:
        take_token(router, req, from_d, &msg->token, now_ns);
        break;
    case WIRE_KIND_DONE:
        take_done(router, req, from_d, &msg->done, now_ns);
        break;
    case WIRE_KIND_FAILED:
        LOG_DEBUG("router", "a node failed a request", log_req(req->id.byte),
                  log_str("node", router->nodes[node].name),
                  log_status((enum status)msg->failed.code));
        if (from_p)
            failed_p(router, req, failure_of(&msg->failed), msg->failed.text, now_ns);
        else
            failed_d(router, req, failure_of(&msg->failed), msg->failed.text, now_ns);
        break;
    default:
        router->counts.messages_stale++;
        break;
    }
}

void router_req_node_lost(struct router *router, struct router_req *req, uint32_t node,
                          uint64_t now_ns)
{
    if (req->p == node) {
        router_unplace_p(router, req, false);
        /* With the first token sent, D may hold everything: it tells, or its pair fails. */
        if ((req->state == ROUTER_PREFILL || req->d == ROUTER_NONE) && !PLANTED(13)) {
            resubmit(router, req, now_ns);
            return;
        }
    }
    if (req->d == node) {
        router_unplace_d(router, req, false);
        if (req->state == ROUTER_DECODE || req->p == ROUTER_NONE)
            resubmit(router, req, now_ns);
        else
            router_rereserve(router, req, now_ns);
    }
}

/* ---- poison ---- */

static void quarantine(struct router *router, uint64_t print, uint64_t now_ns)
{
    struct router_quarantine *oldest = &router->quarantine[0];

    for (size_t i = 1; i < ROUTER_QUARANTINE; i++)
        if (router->quarantine[i].until_ns < oldest->until_ns)
            oldest = &router->quarantine[i];
    oldest->print = print;
    oldest->until_ns = now_ns + ROUTER_QUARANTINE_MS * NS_PER_MS;
}

bool router_quarantined(const struct router *router, uint64_t print, uint64_t now_ns)
{
    for (size_t i = 0; i < ROUTER_QUARANTINE; i++)
        if (router->quarantine[i].print == print && router->quarantine[i].until_ns > now_ns)
            return true;
    return false;
}

void router_req_crashed(struct router *router, const struct wire_id *id, uint64_t now_ns)
{
    struct router_req *req = router_req_find(router, id);

    if (!req || req->state == ROUTER_ENDED)
        return;
    req->suspect = true;
    if (++req->n_strikes < ROUTER_STRIKES_MAX || PLANTED(19))
        return;
    router->counts.quarantined++;
    quarantine(router, req->print, now_ns);
    LOG_ERROR("router", "a request was in the step of two crashes, its prompt is quarantined",
              log_req(req->id.byte), log_hex("prompt", req->print));
    router_req_end(router, req, STATUS_POISONED, NULL, now_ns);
}

/* ---- time ---- */

static void req_tick(struct router *router, struct router_req *req, uint64_t now_ns)
{
    if (router_left_ns(router, req) == 0) {
        router_req_end(router, req, STATUS_DEADLINE, NULL, now_ns);
    } else if (req->state == ROUTER_QUEUED &&
               now_ns - req->queued_ns >= router->cfg.queue_ms * NS_PER_MS) {
        req->retry_ms = ROUTER_BEAT_MS;
        router_req_end(router, req, STATUS_FULL,
                       router_ready(router)
                           ? "no node had room for the request in time; try again later"
                           : "no prefill and decode node are ready; look at the nodes' logs",
                       now_ns);
    } else if ((req->state == ROUTER_PREFILL || req->state == ROUTER_HANDOVER) &&
               req->d == ROUTER_NONE) {
        router_rereserve(router, req, now_ns);
        if (req->d == ROUTER_NONE && now_ns - req->lone_ns >= ROUTER_UNPAIRED_MS * NS_PER_MS &&
            !router_reachable(router, req->p))
            retry(router, req, STATUS_UNREACHABLE, now_ns);
    }
}

void router_reqs_tick(struct router *router, uint64_t now_ns)
{
    for (uint32_t i = 0; i < router->cfg.requests_max; i++) {
        struct router_req *req = &router->reqs[i];

        if (!req->used)
            continue;
        if (req->state != ROUTER_ENDED)
            req_tick(router, req, now_ns);
        if (req->used)
            router_client_tick(router, req, now_ns);
    }
}
