/* The decode role. See decode.h for the state table. Runs on the node's I/O thread, or in the
 * simulator. */
#include "decode/decode.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/idmap.h"
#include "base/log.h"
#include "base/mem.h"
#include "decode/batch.h"
#include "decode/roster.h"
#include "wire/plant.h"
#include "wire/sampling.h"
#include "wire/tombs.h"

#define DECODE_OUT_BYTES_MAX (16u << 20) /* messages of one step, to all routers */
#define DECODE_TOMBS 16384u
#define DECODE_NOTE_ARENA (64u << 10)

enum decode_state {
    DECODE_LANDING, /* blocks held, bytes may land */
    DECODE_RUN,     /* in the engine's hands */
    DECODE_CLOSING, /* ended here; blocks wait until nothing can land */
};

struct decode_req {
    bool used;
    bool quiet; /* the router has ended it: no answer is owed */
    enum decode_state state;
    struct wire_id req;
    uint32_t attempt;
    uint32_t generation;
    uint32_t link; /* of its router */
    uint64_t seq;
    uint64_t deadline_ns;
    uint64_t arrived_ns;
    uint64_t landed_ns; /* 0 not yet */
    uint64_t first_ns;  /* end of its first step; 0 not yet */
    bool landing;       /* transfer-in holds on blocks, a record in kvt */
    struct wire_ledger ledger;
    uint32_t n_blocks;
    uint32_t *blocks; /* [kvt.blocks_max] */
};

struct decode {
    struct decode_cfg cfg;
    uint32_t eos[ENGINE_EOS_MAX]; /* [cfg.n_eos] */
    struct clock_awake awake;     /* all times in here */
    struct engine *engine;
    struct kvt *kvt;
    struct bond *bond;
    struct wire_out *out;
    struct wire_tombs *tombs; /* by generation: it grows over a request's whole life */
    struct idmap *map;        /* (request, generation) -> index in reqs */
    struct roster *roster;
    struct batch *batch;
    struct arena *note_arena;
    struct decode_req *reqs;
    uint32_t reqs_max; /* sequences of the engine + landings that outlive theirs */
    uint32_t *blocks;  /* [reqs_max][kvt.blocks_max] */
    uint32_t n_reqs;
    struct engine_result *results;  /* [engine.batch_max] */
    const struct engine_step *step; /* planned, not yet taken by the shell */
    uint64_t step_started_ns;       /* 0: none runs */
    uint64_t ticks;
    uint64_t *paired; /* [WIRE_NODES_MAX] scratch for heartbeats */
    size_t n_paired;  /* as of the last heartbeat */
    size_t notes_seen;
    bool draining;
};

enum status decode_create(const struct decode_cfg *cfg, struct decode **out, const char **why_out)
{
    const uint64_t hash_key[2] = {cfg->kvt.self, ~cfg->kvt.self};
    enum status status = STATUS_NO_MEMORY;
    struct decode *decode;

    *why_out = "a role needs a vocabulary and has at most 16 end ids";
    if (cfg->vocab == 0 || cfg->n_eos > ENGINE_EOS_MAX)
        return STATUS_INVALID;
    *why_out = "out of memory";
    decode = mem_alloc_zero(1, sizeof(*decode));
    if (!decode)
        return STATUS_NO_MEMORY;
    decode->cfg = *cfg;
    for (uint32_t i = 0; i < cfg->n_eos; i++)
        decode->eos[i] = cfg->eos[i];
    decode->reqs_max = cfg->engine.seqs_max + cfg->kvt.transfers_max;
    decode->reqs = mem_alloc_zero(decode->reqs_max, sizeof(*decode->reqs));
    decode->blocks =
        mem_alloc_zero((size_t)decode->reqs_max * cfg->kvt.blocks_max, sizeof(*decode->blocks));
    decode->results = mem_alloc_zero(cfg->engine.batch_max, sizeof(*decode->results));
    decode->paired = mem_alloc_zero(WIRE_NODES_MAX, sizeof(*decode->paired));
    if (!decode->reqs || !decode->blocks || !decode->results || !decode->paired)
        goto fail;
    for (uint32_t i = 0; i < decode->reqs_max; i++)
        decode->reqs[i].blocks = decode->blocks + (size_t)i * cfg->kvt.blocks_max;
    if ((status = engine_create(&cfg->engine, &decode->engine, why_out)) != STATUS_OK ||
        (status = kvt_create(&cfg->kvt, &decode->kvt)) != STATUS_OK ||
        (status = bond_create(&cfg->bond, &decode->bond)) != STATUS_OK ||
        (status = wire_out_create(DECODE_OUT_BYTES_MAX, &decode->out)) != STATUS_OK ||
        (status = wire_tombs_create(DECODE_TOMBS, &decode->tombs)) != STATUS_OK ||
        (status = roster_create(&decode->roster)) != STATUS_OK ||
        (status = batch_create(cfg->engine.batch_max, &decode->batch)) != STATUS_OK ||
        (status = arena_create(4096, DECODE_NOTE_ARENA, &decode->note_arena)) != STATUS_OK ||
        (status = idmap_create(decode->reqs_max, hash_key, &decode->map)) != STATUS_OK)
        goto fail;
    *out = decode;
    return STATUS_OK;
fail:
    decode_destroy(decode);
    return status;
}

void decode_destroy(struct decode *decode)
{
    if (!decode)
        return;
    idmap_destroy(decode->map);
    arena_destroy(decode->note_arena);
    batch_destroy(decode->batch);
    roster_destroy(decode->roster);
    wire_tombs_destroy(decode->tombs);
    wire_out_destroy(decode->out);
    bond_destroy(decode->bond);
    kvt_destroy(decode->kvt);
    engine_destroy(decode->engine);
    mem_free(decode->paired);
    mem_free(decode->results);
    mem_free(decode->blocks);
    mem_free(decode->reqs);
    mem_free(decode);
}

/* ---- records ---- */

static struct decode_req *req_find(struct decode *decode, const struct wire_id *id,
                                   uint32_t generation)
{
    const struct idmap_key key = idmap_key(id->byte, generation);
    uint32_t idx;

    return idmap_find(decode->map, &key, &idx) == STATUS_OK ? &decode->reqs[idx] : NULL;
}

/* The record of an engine's sequence, or NULL where it is closing. */
static struct decode_req *req_of_seq(struct decode *decode, uint32_t tag, uint64_t seq)
{
    struct decode_req *req = &decode->reqs[tag];

    return req->used && req->seq == seq && req->state != DECODE_CLOSING ? req : NULL;
}

static struct decode_req *req_add(struct decode *decode, const struct wire_id *id,
                                  uint32_t generation)
{
    const struct idmap_key key = idmap_key(id->byte, generation);

    for (uint32_t i = 0; i < decode->reqs_max; i++) {
        struct decode_req *req = &decode->reqs[i];
        uint32_t *blocks = req->blocks;

        if (req->used)
            continue;
        *req = (struct decode_req){.used = true, .req = *id, .generation = generation};
        req->blocks = blocks;
        CHECK(idmap_insert(decode->map, &key, i) == STATUS_OK);
        decode->n_reqs++;
        return req;
    }
    return NULL;
}

static void req_remove(struct decode *decode, struct decode_req *req)
{
    const struct idmap_key key = idmap_key(req->req.byte, req->generation);

    CHECK(idmap_remove(decode->map, &key, NULL) == STATUS_OK);
    if (req->landing)
        blocks_drop(engine_blocks(decode->engine), BLOCK_HOLDER_IN, req->blocks, req->n_blocks);
    req->used = false;
    decode->n_reqs--;
}

static void post(struct decode *decode, const struct decode_req *req, struct wire_msg *msg)
{
    msg->req = req->req;
    msg->attempt = req->attempt;
    msg->generation = req->generation;
    bond_post(decode->bond, req->link, decode->out, msg);
}

static void post_failed(struct decode *decode, const struct decode_req *req, enum status code,
                        const char *why)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_FAILED);
    msg.failed.code = code;
    msg.failed.text = wire_span_of(why ? why : status_text(code));
    post(decode, req, &msg);
}

/* Ends the request here, with an answer to its router unless `quiet`. A landing one answers when
 * nothing can land any more, so that the router never places it again over live bytes. */
static void req_close(struct decode *decode, struct decode_req *req, enum status why, bool quiet,
                      uint64_t now_ns)
{
    req->quiet |= quiet;
    if (req->state == DECODE_CLOSING)
        return;
    wire_tombs_add(decode->tombs, &req->req, req->generation);
    /* A sequence that yields stays until its blocks are free, or another would yield for them. */
    if (req->state != DECODE_LANDING || why != STATUS_YIELDED)
        engine_close(decode->engine, req->seq);
    if (req->state == DECODE_LANDING) {
        const struct kvt_key key = {req->req, req->attempt, req->generation};

        req->state = DECODE_CLOSING;
        kvt_in_close(decode->kvt, &key, why, now_ns);
        if (PLANTED(12))
            req_remove(decode, req);
        return;
    }
    if (!req->quiet)
        post_failed(decode, req, why, NULL);
    req_remove(decode, req);
}

/* ---- jobs ---- */

/* Holds the landing blocks a second time, until kvt says that nothing can land, and asks P. */
static enum status req_ask(struct decode *decode, struct decode_req *req, uint64_t peer,
                           uint64_t now_ns)
{
    const struct kvt_key key = {req->req, req->attempt, req->generation};
    struct engine_view view;
    enum status status;

    CHECK(engine_look(decode->engine, req->seq, &view) == STATUS_OK);
    req->n_blocks = kvgeom_blocks(view.n_tokens); /* without the room for what is to come */
    if (req->n_blocks > decode->cfg.kvt.blocks_max)
        return STATUS_TOO_BIG;
    memcpy(req->blocks, view.blocks, req->n_blocks * sizeof(*req->blocks));
    status = kvt_in_open(decode->kvt, peer, &key, req->blocks, req->n_blocks, 0, now_ns);
    if (status != STATUS_OK)
        return status;
    blocks_hold(engine_blocks(decode->engine), BLOCK_HOLDER_IN, req->blocks, req->n_blocks);
    req->landing = true;
    return STATUS_OK;
}

static enum status req_start(struct decode *decode, struct decode_req *req,
                             const struct wire_msg *msg, uint64_t now_ns)
{
    const struct wire_job *in = &msg->job;
    const struct engine_job job = {
        .req = msg->req,
        .attempt = msg->attempt,
        .mode = in->peer ? ENGINE_DECODE : ENGINE_WHOLE,
        .prompt = in->prompt,
        .emitted = in->emitted,
        .sampling = &in->sampling,
        .seed = in->seed,
        .suspect = in->suspect,
        .eos = decode->eos,
        .n_eos = decode->cfg.n_eos,
        .tag = (uint32_t)(req - decode->reqs),
    };
    enum status status = engine_open(decode->engine, &job, &req->seq);

    if (status != STATUS_OK)
        return status;
    req->state = in->peer ? DECODE_LANDING : DECODE_RUN;
    if (!in->peer)
        return STATUS_OK;
    status = req_ask(decode, req, in->peer, now_ns);
    if (status != STATUS_OK)
        engine_close(decode->engine, req->seq);
    return status;
}

/* A newer reservation of the same request ends the older ones here. */
static void close_older(struct decode *decode, const struct wire_msg *msg, uint64_t now_ns)
{
    for (uint32_t i = 0; i < decode->reqs_max; i++) {
        struct decode_req *req = &decode->reqs[i];

        if (req->used && wire_id_equal(&req->req, &msg->req) && req->generation < msg->generation)
            req_close(decode, req, STATUS_STALE, true, now_ns);
    }
}

static void take_job(struct decode *decode, uint32_t link, const struct wire_msg *msg,
                     uint64_t now_ns)
{
    char why[WIRE_ERROR_MAX];
    struct decode_req *req;
    enum status status;
    bool unfit;

    if (wire_tombs_has(decode->tombs, &msg->req, msg->generation) ||
        req_find(decode, &msg->req, msg->generation))
        return;
    close_older(decode, msg, now_ns);
    req = req_add(decode, &msg->req, msg->generation);
    if (!req) {
        struct decode_req absent = {.req = msg->req, .link = link};

        absent.attempt = msg->attempt;
        absent.generation = msg->generation;
        post_failed(decode, &absent, STATUS_FULL, NULL);
        return;
    }
    req->attempt = msg->attempt;
    req->link = link;
    req->arrived_ns = now_ns;
    req->deadline_ns = clock_add_ns(now_ns, msg->job.deadline_ms * NS_PER_MS);
    status = wire_job_check(&msg->job, decode->cfg.vocab, why);
    unfit = status != STATUS_OK;
    if (!unfit)
        status = decode->draining ? STATUS_DRAINING : req_start(decode, req, msg, now_ns);
    if (status != STATUS_OK) {
        wire_tombs_add(decode->tombs, &msg->req, msg->generation);
        post_failed(decode, req, status, unfit ? why : NULL);
        req_remove(decode, req);
    }
}

static void take_cancel(struct decode *decode, uint32_t link, const struct wire_msg *msg,
                        uint64_t now_ns)
{
    struct decode_req *req = req_find(decode, &msg->req, msg->generation);

    if (req && req->link == link)
        req_close(decode, req, STATUS_CANCELLED, true, now_ns);
    else if (!req) /* a cancel may overtake its job: a late job is then a no-op */
        wire_tombs_add(decode->tombs, &msg->req, msg->generation);
}

static void router_lost(struct decode *decode, uint32_t link, uint64_t now_ns)
{
    for (uint32_t i = 0; i < decode->reqs_max; i++)
        if (decode->reqs[i].used && decode->reqs[i].link == link)
            req_close(decode, &decode->reqs[i], STATUS_LOST, true, now_ns);
}

/* ---- tokens ---- */

/* Why the sequence has ended with this id; empty: it goes on. */
static const char *end_of(const struct engine_result *result)
{
    if (result->state != ENGINE_ENDED)
        return "";
    return wire_end_name(result->stop ? WIRE_END_STOP : WIRE_END_LENGTH);
}

/* The stream begins with a copy of P's first token. */
static void post_copy(struct decode *decode, const struct decode_req *req,
                      const struct wire_first *first)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    msg.token.index = first->index;
    msg.token.token = first->token;
    msg.token.logprob = first->logprob;
    msg.token.top_ids = first->top_ids;
    msg.token.top_logprobs = first->top_logprobs;
    post(decode, req, &msg);
}

static void take_result(struct decode *decode, const struct engine_result *result, uint64_t now_ns)
{
    struct decode_req *req = req_of_seq(decode, result->tag, result->seq);
    struct engine_tops_room tops;
    struct wire_msg msg;

    CHECK(req && wire_id_equal(&req->req, &result->req));
    if (!req->first_ns) {
        const uint64_t ready_ns = req->landed_ns ? req->landed_ns : req->arrived_ns;

        req->first_ns = now_ns;
        req->ledger.decode_queue_us = (decode->step_started_ns - ready_ns) / NS_PER_US;
        req->ledger.first_step_us = (now_ns - decode->step_started_ns) / NS_PER_US;
    }
    if (!result->sampled)
        return;
    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    msg.req = req->req;
    msg.attempt = req->attempt;
    msg.generation = req->generation;
    msg.token.index = result->index;
    msg.token.token = result->token;
    msg.token.logprob = result->logprob;
    msg.token.end = wire_span_of(end_of(result));
    engine_result_tops(result, &tops, &msg.token.top_ids, &msg.token.top_logprobs);
    batch_add(decode->batch, decode->bond, decode->out, req->link, &msg);
}

/* Those that have ended, after all tokens of the step. */
static void take_end(struct decode *decode, const struct engine_result *result, uint64_t now_ns)
{
    struct decode_req *req = req_of_seq(decode, result->tag, result->seq);
    struct wire_msg msg;

    if (result->state != ENGINE_ENDED)
        return;
    if (result->failed) {
        post_failed(decode, req, STATUS_INVALID, ENGINE_NO_TOKEN_WHY);
        req_close(decode, req, STATUS_INVALID, true, now_ns);
        return;
    }
    wire_msg_init(&msg, WIRE_KIND_DONE);
    msg.done.reason = wire_span_of(end_of(result));
    msg.done.n_tokens = result->index + 1;
    msg.done.ledger = req->ledger;
    msg.done.ledger.decode_us = (now_ns - req->first_ns) / NS_PER_US;
    post(decode, req, &msg);
    req_close(decode, req, STATUS_DONE, true, now_ns);
}

/* Everything is here and verified: the stream begins with a copy of P's first token. */
static void take_landed(struct decode *decode, struct decode_req *req, const struct kvt_note *note,
                        uint64_t now_ns)
{
    struct engine_view view;
    struct wire_msg first;

    arena_reset(decode->note_arena);
    CHECK(engine_look(decode->engine, req->seq, &view) == STATUS_OK);
    if (wire_msg_decode(note->note, note->note_len, decode->note_arena, &first, NULL) !=
            STATUS_OK ||
        first.kind != WIRE_KIND_FIRST || !wire_id_equal(&first.req, &req->req) ||
        first.attempt != req->attempt || first.first.index != view.n_tokens - view.n_prompt ||
        first.first.token >= decode->cfg.vocab) {
        LOG_ERROR("decode", "the seal's note does not fit its request", log_req(req->req.byte));
        blocks_drop(engine_blocks(decode->engine), BLOCK_HOLDER_IN, req->blocks, req->n_blocks);
        req->landing = false;
        req->state = DECODE_RUN;
        req_close(decode, req, STATUS_PROTOCOL, false, now_ns);
        return;
    }
    /* P tells the router too, but D's stream may overtake it. */
    req->ledger.prefill_queue_us = first.first.ledger.prefill_queue_us;
    req->ledger.prefill_us = first.first.ledger.prefill_us;
    req->ledger.transfer_us = note->transfer_us;
    req->ledger.transfer_bytes = note->bytes;
    req->ledger.transfer_path =
        wire_span_of(note->path == KVT_PATH_LOCAL ? "shared memory" : "network");
    req->landed_ns = now_ns;
    req->state = DECODE_RUN;
    blocks_drop(engine_blocks(decode->engine), BLOCK_HOLDER_IN, req->blocks, req->n_blocks);
    req->landing = false;
    post_copy(decode, req, &first.first);
    engine_landed(decode->engine, req->seq, first.first.token);
    CHECK(engine_look(decode->engine, req->seq, &view) == STATUS_OK);
    if (view.state == ENGINE_ENDED) /* P should have ended it */
        req_close(decode, req, STATUS_PROTOCOL, false, now_ns);
}

static bool was_paired(const struct decode *decode, uint64_t peer)
{
    for (size_t i = 0; i < decode->n_paired; i++)
        if (decode->paired[i] == peer)
            return true;
    return false;
}

/* A pair that does not come about must say why: the fleet would look idle and well. */
static void log_pair(const struct decode *decode, const struct kvt_note *note)
{
    char text[WIRE_ERROR_MAX];

    if (note->kind == KVT_NOTE_PAIR_READY) {
        LOG_INFO("decode", "paired with a prefill node", log_hex("peer", note->peer));
        return;
    }
    snprintf(text, sizeof(text), "%.*s", (int)note->note_len,
             note->note_len > 0 ? (const char *)note->note : "");
    /* Nodes end, and whether this one should have the router knows. */
    if (decode->draining || (note->status == STATUS_LOST && was_paired(decode, note->peer))) {
        LOG_INFO("decode", "a prefill node is gone", log_hex("peer", note->peer));
        return;
    }
    LOG_WARN("decode", "no pair with a prefill node", log_hex("peer", note->peer),
             log_status(note->status), log_str("why", text));
}

static void take_note(struct decode *decode, const struct kvt_note *note, uint64_t now_ns)
{
    struct decode_req *req = req_find(decode, &note->key.req, note->key.generation);

    if (note->kind == KVT_NOTE_IN_LANDED && req && req->state == DECODE_LANDING) {
        take_landed(decode, req, note, now_ns);
    } else if (note->kind == KVT_NOTE_IN_CLOSED && req && req->landing) {
        wire_tombs_add(decode->tombs, &req->req, req->generation);
        engine_close(decode->engine, req->seq);
        /* What P calls invalid is what D asked it for, not the request. */
        if (!req->quiet && !PLANTED(23))
            post_failed(decode, req,
                        note->status == STATUS_INVALID ? STATUS_PROTOCOL : note->status, NULL);
        req_remove(decode, req);
    } else if (note->kind == KVT_NOTE_PAIR_READY || note->kind == KVT_NOTE_PAIR_LOST) {
        log_pair(decode, note);
    }
}

/* The pool is dry: the youngest go back to their routers, which place them again. */
static void hand_back(struct decode *decode, uint64_t now_ns)
{
    uint64_t seqs[ENGINE_YIELDS_MAX];
    size_t n = engine_yielded(decode->engine, seqs, ENGINE_YIELDS_MAX);

    for (size_t i = 0; i < n; i++) {
        struct engine_view view;
        struct decode_req *req;

        CHECK(engine_look(decode->engine, seqs[i], &view) == STATUS_OK);
        req = req_of_seq(decode, view.tag, seqs[i]);
        if (req) /* else it is closing already */
            req_close(decode, req, STATUS_YIELDED, false, now_ns);
    }
}

static void follow_notes(struct decode *decode, uint64_t now_ns)
{
    while (decode->notes_seen < kvt_n_notes(decode->kvt)) {
        const struct kvt_note note = *kvt_note_at(decode->kvt, decode->notes_seen++);

        take_note(decode, &note, now_ns);
    }
}

/* What every input ends with: follow the notes, forget lost routers' requests, plan a step. What
 * is handed back gives notes of its own. */
static void settle(struct decode *decode, uint64_t now_ns)
{
    uint32_t link;

    while (bond_take_lost(decode->bond, &link))
        router_lost(decode, link, now_ns);
    follow_notes(decode, now_ns);
    if (decode->step || decode->step_started_ns)
        return;
    decode->step = engine_plan(decode->engine);
    hand_back(decode, now_ns);
    follow_notes(decode, now_ns);
}

/* ---- input ---- */

void decode_router_up(struct decode *decode, uint32_t link, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&decode->awake, now_ns);
    if (bond_link_up(decode->bond, link, decode->out, now_ns) != STATUS_OK)
        LOG_WARN("decode", "too many routers", log_u64("max", BOND_ROUTERS_MAX));
    settle(decode, now_ns);
}

void decode_peer_up(struct decode *decode, uint64_t peer, uint32_t link, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&decode->awake, now_ns);
    const struct decode_peer *known = roster_find(decode->roster, peer);

    if (known)
        kvt_peer_up(decode->kvt, peer, link, known->local ? KVT_PATH_LOCAL : KVT_PATH_NETWORK,
                    now_ns);
    settle(decode, now_ns);
}

void decode_link_down(struct decode *decode, uint32_t link, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&decode->awake, now_ns);
    if (bond_has(decode->bond, link))
        bond_link_down(decode->bond, link);
    else
        kvt_link_down(decode->kvt, link, now_ns);
    settle(decode, now_ns);
}

static void drop_gone(struct decode *decode, uint64_t now_ns)
{
    uint64_t peer;

    while ((peer = roster_take_gone(decode->roster, decode->kvt)) != 0)
        kvt_peer_gone(decode->kvt, peer, now_ns);
}

void decode_message(struct decode *decode, uint32_t link, const struct wire_msg *msg,
                    uint64_t now_ns)
{
    now_ns = clock_awake_ns(&decode->awake, now_ns);
    if (!bond_has(decode->bond, link)) {
        kvt_message(decode->kvt, link, msg, now_ns);
    } else if (bond_take(decode->bond, link, msg, decode->out, now_ns) == STATUS_OK) {
        if (msg->kind == WIRE_KIND_JOB)
            take_job(decode, link, msg, now_ns);
        else if (msg->kind == WIRE_KIND_CANCEL)
            take_cancel(decode, link, msg, now_ns);
        else if (msg->kind == WIRE_KIND_ROSTER)
            roster_take(decode->roster, decode->bond, link, &msg->roster, decode->cfg.host);
        else if (msg->kind == WIRE_KIND_DRAIN)
            decode_drain(decode);
    }
    settle(decode, now_ns);
}

void decode_kvt_event(struct decode *decode, const struct kvt_event *event, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&decode->awake, now_ns);
    kvt_event(decode->kvt, event, now_ns);
    settle(decode, now_ns);
}

void decode_complete(struct decode *decode, uint64_t took_ns, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&decode->awake, now_ns);
    size_t n = 0;

    engine_complete(decode->engine, took_ns, decode->results, &n);
    for (size_t i = 0; i < n; i++)
        take_result(decode, &decode->results[i], now_ns);
    batch_flush(decode->batch, decode->bond, decode->out);
    for (size_t i = 0; i < n; i++)
        take_end(decode, &decode->results[i], now_ns);
    decode->step_started_ns = 0;
    settle(decode, now_ns);
}

void decode_tick(struct decode *decode, uint64_t starved_ns, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&decode->awake, now_ns);
    struct wire_msg beat;
    struct engine_counts counts;

    decode->ticks++;
    for (uint32_t i = 0; i < decode->reqs_max; i++) {
        struct decode_req *req = &decode->reqs[i];

        if (req->used && req->state != DECODE_CLOSING && now_ns >= req->deadline_ns)
            req_close(decode, req, STATUS_DEADLINE, false, now_ns);
    }
    kvt_tick(decode->kvt, now_ns);
    drop_gone(decode, now_ns);
    engine_counts(decode->engine, &counts);
    wire_msg_init(&beat, WIRE_KIND_HEARTBEAT);
    beat.heartbeat.tick = decode->ticks;
    beat.heartbeat.step = counts.steps;
    if (decode->step_started_ns) {
        const uint64_t ran_ns = now_ns - decode->step_started_ns;

        beat.heartbeat.step_ms =
            1 + (uint32_t)((ran_ns > starved_ns ? ran_ns - starved_ns : 0) / NS_PER_MS);
        beat.heartbeat.bound_ms = counts.bound_ms;
    }
    beat.heartbeat.blocks_free = blocks_n_free(engine_blocks(decode->engine));
    beat.heartbeat.n_seqs = counts.n_seqs;
    beat.heartbeat.n_waiting = counts.n_landing;
    beat.heartbeat.peers.at = decode->paired;
    decode->n_paired = kvt_paired_list(decode->kvt, decode->paired, WIRE_NODES_MAX);
    beat.heartbeat.peers.n = decode->n_paired;
    beat.heartbeat.draining = decode->draining;
    bond_tick(decode->bond, &beat.heartbeat, decode->out, now_ns);
    settle(decode, now_ns);
}

void decode_drain(struct decode *decode)
{
    decode->draining = true;
}

/* ---- output ---- */

struct wire_out *decode_out(struct decode *decode)
{
    return decode->out;
}

struct kvt *decode_kvt(struct decode *decode)
{
    return decode->kvt;
}

const struct engine_step *decode_step(struct decode *decode, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&decode->awake, now_ns);
    const struct engine_step *step = decode->step;

    decode->step = NULL;
    if (step)
        decode->step_started_ns = now_ns;
    return step;
}

size_t decode_peers(const struct decode *decode, const struct decode_peer **peers_out,
                    uint64_t *version_out)
{
    return roster_peers(decode->roster, peers_out, version_out);
}

void decode_clear(struct decode *decode)
{
    wire_out_clear(decode->out);
    kvt_clear(decode->kvt);
    decode->notes_seen = 0;
}

struct engine *decode_engine(struct decode *decode)
{
    return decode->engine;
}

struct bond *decode_bond(struct decode *decode)
{
    return decode->bond;
}

uint32_t decode_n_requests(const struct decode *decode)
{
    return decode->n_reqs;
}
