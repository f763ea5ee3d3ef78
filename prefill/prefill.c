/* The prefill role. See prefill.h for the state table; one screen per event below. Runs on the
 * node's I/O thread, or in the simulator. */
#include "prefill/prefill.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/idmap.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/plant.h"
#include "wire/sampling.h"
#include "wire/tombs.h"

#define PREFILL_OUT_BYTES_MAX (16u << 20) /* messages of one step, to all routers */
#define PREFILL_TOMBS 16384u
#define PREFILL_NOTE_BYTES_MAX 2048u

enum prefill_state {
    PREFILL_COMPUTE, /* in the engine; prompt not done */
    PREFILL_WHOLE,   /* in the engine until its end; nothing is lent */
    PREFILL_HELD,    /* computed; waits for D */
    PREFILL_CLOSING, /* ended here; blocks wait until nothing can read them */
};

struct prefill_req {
    bool used;
    enum prefill_state state;
    struct wire_id req;
    uint32_t attempt;
    uint32_t generation;
    uint32_t link; /* of its router */
    uint64_t seq;
    uint64_t deadline_ns;
    uint64_t arrived_ns;
    uint64_t started_ns; /* its first step; 0 not yet */
    bool lent;           /* transfer-out holds on blocks, a record in kvt */
    uint32_t n_blocks;
    uint32_t *blocks; /* [kvt.blocks_max] */
};

struct prefill {
    struct prefill_cfg cfg;
    uint32_t eos[ENGINE_EOS_MAX]; /* [cfg.n_eos] */
    struct clock_awake awake;     /* all times in here */
    struct engine *engine;
    struct kvt *kvt;
    struct bond *bond;
    struct wire_out *out;
    struct wire_tombs *tombs;
    struct idmap *map; /* (request, attempt) -> index in reqs */
    struct prefill_req *reqs;
    uint32_t reqs_max; /* sequences of the engine + hand-overs that outlive theirs */
    uint32_t *blocks;  /* [reqs_max][kvt.blocks_max] */
    uint32_t n_reqs;
    struct engine_result *results;  /* [engine.batch_max] */
    const struct engine_step *step; /* planned, not yet taken by the shell */
    uint64_t step_started_ns;       /* 0: none runs */
    uint64_t ticks;
    size_t notes_seen; /* of kvt's list, since the last clear */
    bool draining;
};

enum status prefill_create(const struct prefill_cfg *cfg, struct prefill **out,
                           const char **why_out)
{
    const uint64_t hash_key[2] = {cfg->kvt.self, ~cfg->kvt.self};
    enum status status = STATUS_NO_MEMORY;
    struct prefill *prefill;

    *why_out = "a role needs a vocabulary and has at most 16 end ids";
    if (cfg->vocab == 0 || cfg->n_eos > ENGINE_EOS_MAX)
        return STATUS_INVALID;
    *why_out = "out of memory";
    prefill = mem_alloc_zero(1, sizeof(*prefill));
    if (!prefill)
        return STATUS_NO_MEMORY;
    prefill->cfg = *cfg;
    for (uint32_t i = 0; i < cfg->n_eos; i++)
        prefill->eos[i] = cfg->eos[i];
    prefill->reqs_max = cfg->engine.seqs_max + cfg->kvt.transfers_max;
    prefill->reqs = mem_alloc_zero(prefill->reqs_max, sizeof(*prefill->reqs));
    prefill->blocks =
        mem_alloc_zero((size_t)prefill->reqs_max * cfg->kvt.blocks_max, sizeof(*prefill->blocks));
    prefill->results = mem_alloc_zero(cfg->engine.batch_max, sizeof(*prefill->results));
    if (!prefill->reqs || !prefill->blocks || !prefill->results)
        goto fail;
    for (uint32_t i = 0; i < prefill->reqs_max; i++)
        prefill->reqs[i].blocks = prefill->blocks + (size_t)i * cfg->kvt.blocks_max;
    if ((status = engine_create(&cfg->engine, &prefill->engine, why_out)) != STATUS_OK ||
        (status = kvt_create(&cfg->kvt, &prefill->kvt)) != STATUS_OK ||
        (status = bond_create(&cfg->bond, &prefill->bond)) != STATUS_OK ||
        (status = wire_out_create(PREFILL_OUT_BYTES_MAX, &prefill->out)) != STATUS_OK ||
        (status = wire_tombs_create(PREFILL_TOMBS, &prefill->tombs)) != STATUS_OK ||
        (status = idmap_create(prefill->reqs_max, hash_key, &prefill->map)) != STATUS_OK)
        goto fail;
    *out = prefill;
    return STATUS_OK;
fail:
    prefill_destroy(prefill);
    return status;
}

void prefill_destroy(struct prefill *prefill)
{
    if (!prefill)
        return;
    idmap_destroy(prefill->map);
    wire_tombs_destroy(prefill->tombs);
    wire_out_destroy(prefill->out);
    bond_destroy(prefill->bond);
    kvt_destroy(prefill->kvt);
    engine_destroy(prefill->engine);
    mem_free(prefill->results);
    mem_free(prefill->blocks);
    mem_free(prefill->reqs);
    mem_free(prefill);
}

/* ---- records ---- */

static struct prefill_req *req_find(struct prefill *prefill, const struct wire_id *id,
                                    uint32_t attempt)
{
    const struct idmap_key key = idmap_key(id->byte, attempt);
    uint32_t idx;

    return idmap_find(prefill->map, &key, &idx) == STATUS_OK ? &prefill->reqs[idx] : NULL;
}

static struct prefill_req *req_add(struct prefill *prefill, const struct wire_id *id,
                                   uint32_t attempt)
{
    const struct idmap_key key = idmap_key(id->byte, attempt);

    for (uint32_t i = 0; i < prefill->reqs_max; i++) {
        struct prefill_req *req = &prefill->reqs[i];
        uint32_t *blocks = req->blocks;

        if (req->used)
            continue;
        *req = (struct prefill_req){.used = true, .req = *id, .attempt = attempt};
        req->blocks = blocks;
        CHECK(idmap_insert(prefill->map, &key, i) == STATUS_OK);
        prefill->n_reqs++;
        return req;
    }
    return NULL;
}

static void req_remove(struct prefill *prefill, struct prefill_req *req)
{
    const struct idmap_key key = idmap_key(req->req.byte, req->attempt);

    CHECK(idmap_remove(prefill->map, &key, NULL) == STATUS_OK);
    if (req->lent)
        blocks_drop(engine_blocks(prefill->engine), BLOCK_HOLDER_OUT, req->blocks, req->n_blocks);
    req->used = false;
    prefill->n_reqs--;
}

/* Ends the request here. Its blocks stay held while a peer may still read them. */
static void req_close(struct prefill *prefill, struct prefill_req *req, uint64_t now_ns)
{
    if (req->state == PREFILL_CLOSING)
        return;
    wire_tombs_add(prefill->tombs, &req->req, req->attempt);
    engine_close(prefill->engine, req->seq);
    req->state = PREFILL_CLOSING;
    if (!req->lent) {
        req_remove(prefill, req);
        return;
    }
    kvt_out_close(prefill->kvt, &req->req, req->attempt, now_ns);
    if (PLANTED(11))
        req_remove(prefill, req);
}

static void post(struct prefill *prefill, const struct prefill_req *req, struct wire_msg *msg)
{
    msg->req = req->req;
    msg->attempt = req->attempt;
    msg->generation = req->generation;
    bond_post(prefill->bond, req->link, prefill->out, msg);
}

static void post_failed(struct prefill *prefill, uint32_t link, const struct wire_msg *job,
                        enum status code, const char *why)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_FAILED);
    msg.req = job->req;
    msg.attempt = job->attempt;
    msg.generation = job->generation;
    msg.failed.code = code;
    msg.failed.text = wire_span_of(why);
    bond_post(prefill->bond, link, prefill->out, &msg);
}

/* ---- jobs ---- */

/* Lends the blocks: a second holder beside the sequence's, until kvt says that none can read. */
static enum status req_lend(struct prefill *prefill, struct prefill_req *req, uint64_t now_ns)
{
    struct engine_view view;
    enum status status;

    CHECK(engine_look(prefill->engine, req->seq, &view) == STATUS_OK);
    if (view.n_blocks > prefill->cfg.kvt.blocks_max)
        return STATUS_TOO_BIG;
    memcpy(req->blocks, view.blocks, view.n_blocks * sizeof(*req->blocks));
    req->n_blocks = view.n_blocks;
    status =
        kvt_out_open(prefill->kvt, &req->req, req->attempt, req->blocks, req->n_blocks, now_ns);
    if (status != STATUS_OK)
        return status;
    blocks_hold(engine_blocks(prefill->engine), BLOCK_HOLDER_OUT, req->blocks, req->n_blocks);
    req->lent = true;
    return STATUS_OK;
}

static void take_job(struct prefill *prefill, uint32_t link, const struct wire_msg *msg,
                     uint64_t now_ns)
{
    const struct wire_job *in = &msg->job;
    const struct engine_job job = {
        .req = msg->req,
        .attempt = msg->attempt,
        .mode = in->peer ? ENGINE_PREFILL : ENGINE_WHOLE,
        .prompt = in->prompt,
        .emitted = in->emitted,
        .sampling = &in->sampling,
        .seed = in->seed,
        .suspect = in->suspect,
        .eos = prefill->eos,
        .n_eos = prefill->cfg.n_eos,
    };
    char why[WIRE_ERROR_MAX];
    struct prefill_req *req;
    enum status status = wire_job_check(in, prefill->cfg.vocab, why);
    const bool unfit = status != STATUS_OK;

    if (!unfit && prefill->draining)
        status = STATUS_DRAINING;
    if (wire_tombs_has(prefill->tombs, &msg->req, msg->attempt) ||
        req_find(prefill, &msg->req, msg->attempt))
        return;
    if (status == STATUS_OK) {
        req = req_add(prefill, &msg->req, msg->attempt);
        if (!req)
            status = STATUS_FULL;
    }
    if (status == STATUS_OK) {
        req->generation = msg->generation;
        req->link = link;
        req->arrived_ns = now_ns;
        req->deadline_ns = clock_add_ns(now_ns, in->deadline_ms * NS_PER_MS);
        req->state = in->peer ? PREFILL_COMPUTE : PREFILL_WHOLE;
        status = engine_open(prefill->engine, &job, &req->seq);
        if (status != STATUS_OK)
            req_remove(prefill, req);
    }
    if (status == STATUS_OK && in->peer) {
        status = req_lend(prefill, req, now_ns);
        if (status != STATUS_OK)
            req_close(prefill, req, now_ns);
    }
    if (status != STATUS_OK) {
        wire_tombs_add(prefill->tombs, &msg->req, msg->attempt);
        post_failed(prefill, link, msg, status, unfit ? why : status_text(status));
    }
}

static void take_cancel(struct prefill *prefill, uint32_t link, const struct wire_msg *msg,
                        uint64_t now_ns)
{
    struct prefill_req *req = req_find(prefill, &msg->req, msg->attempt);

    if (req && req->link == link)
        req_close(prefill, req, now_ns);
    else if (!req) /* a cancel may overtake its job: a late job is then a no-op */
        wire_tombs_add(prefill->tombs, &msg->req, msg->attempt);
}

static void router_lost(struct prefill *prefill, uint32_t link, uint64_t now_ns)
{
    for (uint32_t i = 0; i < prefill->reqs_max; i++)
        if (prefill->reqs[i].used && prefill->reqs[i].link == link)
            req_close(prefill, &prefill->reqs[i], now_ns);
}

/* ---- results of a step ---- */

/* Why the sequence has ended with this id; empty: it goes on. */
static struct wire_span end_of(const struct engine_result *result)
{
    if (result->state != ENGINE_ENDED)
        return wire_span_of("");
    return wire_span_of(result->stop ? "stop" : "length");
}

static void post_done(struct prefill *prefill, struct prefill_req *req,
                      const struct engine_result *result, uint64_t now_ns)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_DONE);
    msg.done.reason = end_of(result);
    msg.done.n_tokens = result->index + 1;
    if (req->started_ns)
        msg.done.ledger.decode_us = (now_ns - req->started_ns) / NS_PER_US;
    post(prefill, req, &msg);
}

/* The first token goes to the router at once, and into the seal: D's stream begins with it. */
static void take_first(struct prefill *prefill, struct prefill_req *req,
                       const struct engine_result *result, uint64_t now_ns)
{
    uint8_t note[PREFILL_NOTE_BYTES_MAX];
    struct engine_tops_room tops;
    struct wire_msg msg;
    size_t note_len;

    wire_msg_init(&msg, WIRE_KIND_FIRST);
    msg.first.index = result->index;
    msg.first.token = result->token;
    msg.first.logprob = result->logprob;
    msg.first.end = end_of(result);
    engine_result_tops(result, &tops, &msg.first.top_ids, &msg.first.top_logprobs);
    msg.first.ledger.prefill_queue_us = (req->started_ns - req->arrived_ns) / NS_PER_US;
    msg.first.ledger.prefill_us = (now_ns - req->started_ns) / NS_PER_US;
    post(prefill, req, &msg);
    if (result->state == ENGINE_ENDED) {
        post_done(prefill, req, result, now_ns);
        req_close(prefill, req, now_ns);
        return;
    }
    req->state = PREFILL_HELD;
    CHECK(wire_msg_encode(&msg, note, sizeof(note), &note_len) == STATUS_OK);
    kvt_out_seal(prefill->kvt, &req->req, req->attempt, note, note_len, now_ns);
}

static void take_result(struct prefill *prefill, const struct engine_result *result,
                        uint64_t now_ns)
{
    struct prefill_req *req = req_find(prefill, &result->req, result->attempt);
    struct engine_tops_room tops;
    struct wire_msg msg;

    CHECK(req && req->seq == result->seq);
    if (!req->started_ns)
        req->started_ns = prefill->step_started_ns;
    if (result->failed) {
        wire_msg_init(&msg, WIRE_KIND_FAILED);
        msg.failed.code = STATUS_INVALID;
        msg.failed.text = wire_span_of(ENGINE_NO_TOKEN_WHY);
        post(prefill, req, &msg);
        req_close(prefill, req, now_ns);
    }
    if (!result->sampled)
        return;
    if (req->state == PREFILL_COMPUTE) {
        take_first(prefill, req, result, now_ns);
        return;
    }
    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    msg.token.index = result->index;
    msg.token.token = result->token;
    msg.token.logprob = result->logprob;
    msg.token.end = end_of(result);
    engine_result_tops(result, &tops, &msg.token.top_ids, &msg.token.top_logprobs);
    post(prefill, req, &msg);
    if (result->state == ENGINE_ENDED) {
        post_done(prefill, req, result, now_ns);
        req_close(prefill, req, now_ns);
    }
}

/* ---- notes of the transfer protocol ---- */

static void take_note(struct prefill *prefill, const struct kvt_note *note)
{
    struct prefill_req *req = req_find(prefill, &note->key.req, note->key.attempt);

    switch (note->kind) {
    case KVT_NOTE_OUT_LANDED: /* kvt has closed the hand-over itself */
        if (req && req->state == PREFILL_HELD) {
            wire_tombs_add(prefill->tombs, &req->req, req->attempt);
            engine_close(prefill->engine, req->seq);
        }
        if (req)
            req_remove(prefill, req);
        break;
    case KVT_NOTE_OUT_CLOSED:
        if (req && req->state == PREFILL_CLOSING)
            req_remove(prefill, req);
        break;
    case KVT_NOTE_OUT_REFUSED:
        LOG_DEBUG("prefill", "a want ended, the prompt is kept", log_req(note->key.req.byte),
                  log_status(note->status));
        break;
    case KVT_NOTE_PAIR_READY:
    case KVT_NOTE_PAIR_LOST:
    case KVT_NOTE_IN_LANDED:
    case KVT_NOTE_IN_CLOSED:
        break;
    }
}

/* Hands back sequences for which the pool ran dry (only whole ones: others hold all they need). */
static void hand_back(struct prefill *prefill, uint64_t now_ns)
{
    uint64_t seqs[ENGINE_YIELDS_MAX];
    size_t n = engine_yielded(prefill->engine, seqs, ENGINE_YIELDS_MAX);

    for (size_t i = 0; i < n; i++) {
        struct engine_view view;
        struct prefill_req *req;
        struct wire_msg msg;

        CHECK(engine_look(prefill->engine, seqs[i], &view) == STATUS_OK);
        req = req_find(prefill, &view.req, view.attempt);
        CHECK(req);
        wire_msg_init(&msg, WIRE_KIND_FAILED);
        msg.failed.code = STATUS_YIELDED;
        post(prefill, req, &msg);
        req_close(prefill, req, now_ns);
    }
}

static void follow_notes(struct prefill *prefill)
{
    while (prefill->notes_seen < kvt_n_notes(prefill->kvt)) {
        const struct kvt_note note = *kvt_note_at(prefill->kvt, prefill->notes_seen++);

        take_note(prefill, &note);
    }
}

/* What every input ends with: follow the notes, forget lost routers' requests, plan a step. What
 * is handed back gives notes of its own. */
static void settle(struct prefill *prefill, uint64_t now_ns)
{
    uint32_t link;

    while (bond_take_lost(prefill->bond, &link))
        router_lost(prefill, link, now_ns);
    follow_notes(prefill);
    if (prefill->step || prefill->step_started_ns)
        return;
    prefill->step = engine_plan(prefill->engine);
    hand_back(prefill, now_ns);
    follow_notes(prefill);
}

/* ---- input ---- */

void prefill_router_up(struct prefill *prefill, uint32_t link, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&prefill->awake, now_ns);
    if (bond_link_up(prefill->bond, link, prefill->out, now_ns) != STATUS_OK)
        LOG_WARN("prefill", "too many routers", log_u64("max", BOND_ROUTERS_MAX));
    settle(prefill, now_ns);
}

void prefill_link_down(struct prefill *prefill, uint32_t link, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&prefill->awake, now_ns);
    if (bond_has(prefill->bond, link))
        bond_link_down(prefill->bond, link);
    else
        kvt_link_down(prefill->kvt, link, now_ns);
    settle(prefill, now_ns);
}

void prefill_message(struct prefill *prefill, uint32_t link, const struct wire_msg *msg,
                     uint64_t now_ns)
{
    now_ns = clock_awake_ns(&prefill->awake, now_ns);
    if (!bond_has(prefill->bond, link)) {
        kvt_message(prefill->kvt, link, msg, now_ns);
    } else if (bond_take(prefill->bond, link, msg, prefill->out, now_ns) == STATUS_OK) {
        if (msg->kind == WIRE_KIND_JOB)
            take_job(prefill, link, msg, now_ns);
        else if (msg->kind == WIRE_KIND_CANCEL)
            take_cancel(prefill, link, msg, now_ns);
        else if (msg->kind == WIRE_KIND_DRAIN)
            prefill_drain(prefill);
    }
    settle(prefill, now_ns);
}

void prefill_kvt_event(struct prefill *prefill, const struct kvt_event *event, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&prefill->awake, now_ns);
    kvt_event(prefill->kvt, event, now_ns);
    settle(prefill, now_ns);
}

void prefill_piece(struct prefill *prefill, const struct wire_id *id, uint32_t attempt,
                   uint32_t block, uint32_t group, uint64_t digest, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&prefill->awake, now_ns);
    const struct prefill_req *req = req_find(prefill, id, attempt);

    if (req && req->state == PREFILL_COMPUTE)
        kvt_out_ready(prefill->kvt, id, attempt, block, group, digest, now_ns);
    settle(prefill, now_ns);
}

void prefill_complete(struct prefill *prefill, uint64_t took_ns, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&prefill->awake, now_ns);
    size_t n = 0;

    engine_complete(prefill->engine, took_ns, prefill->results, &n);
    for (size_t i = 0; i < n; i++)
        take_result(prefill, &prefill->results[i], now_ns);
    prefill->step_started_ns = 0;
    settle(prefill, now_ns);
}

void prefill_tick(struct prefill *prefill, uint64_t starved_ns, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&prefill->awake, now_ns);
    struct wire_msg beat;
    struct engine_counts counts;

    prefill->ticks++;
    for (uint32_t i = 0; i < prefill->reqs_max; i++) {
        struct prefill_req *req = &prefill->reqs[i];

        if (req->used && req->state != PREFILL_CLOSING && now_ns >= req->deadline_ns)
            req_close(prefill, req, now_ns);
    }
    kvt_tick(prefill->kvt, now_ns);
    engine_counts(prefill->engine, &counts);
    wire_msg_init(&beat, WIRE_KIND_HEARTBEAT);
    beat.heartbeat.tick = prefill->ticks;
    beat.heartbeat.step = counts.steps;
    if (prefill->step_started_ns) {
        const uint64_t ran_ns = now_ns - prefill->step_started_ns;

        beat.heartbeat.step_ms =
            1 + (uint32_t)((ran_ns > starved_ns ? ran_ns - starved_ns : 0) / NS_PER_MS);
        beat.heartbeat.bound_ms = counts.bound_ms;
    }
    beat.heartbeat.blocks_free = blocks_n_free(engine_blocks(prefill->engine));
    beat.heartbeat.n_seqs = counts.n_seqs;
    beat.heartbeat.n_waiting = counts.n_ready;
    beat.heartbeat.draining = prefill->draining;
    bond_tick(prefill->bond, &beat.heartbeat, prefill->out, now_ns);
    settle(prefill, now_ns);
}

void prefill_drain(struct prefill *prefill)
{
    prefill->draining = true;
}

/* ---- output ---- */

struct wire_out *prefill_out(struct prefill *prefill)
{
    return prefill->out;
}

struct kvt *prefill_kvt(struct prefill *prefill)
{
    return prefill->kvt;
}

const struct engine_step *prefill_step(struct prefill *prefill, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&prefill->awake, now_ns);
    const struct engine_step *step = prefill->step;

    prefill->step = NULL;
    if (step)
        prefill->step_started_ns = now_ns;
    return step;
}

void prefill_clear(struct prefill *prefill)
{
    wire_out_clear(prefill->out);
    kvt_clear(prefill->kvt);
    prefill->notes_seen = 0;
}

struct engine *prefill_engine(struct prefill *prefill)
{
    return prefill->engine;
}

struct bond *prefill_bond(struct prefill *prefill)
{
    return prefill->bond;
}

uint32_t prefill_n_requests(const struct prefill *prefill)
{
    return prefill->n_reqs;
}
