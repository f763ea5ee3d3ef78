/* The Baton dialect: one prefill and one decode node with their sessions, and clients, all speaking
 * the protocol of wire/. Like a real decode node, this one sends the tokens of a step in one
 * message; what a client gets for each is read only as far as its place: the bench shares two
 * processors with the router it measures. */
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "base/rand.h"
#include "bench/load.h"
#include "wire/item.h"
#include "wire/msg.h"
#include "wire/out.h"
#include "wire/session.h"

#define P 0
#define D 1
#define OUT_BYTES_MAX (1u << 20)
#define GREET_NS (5 * NS_PER_S)
#define LOGPROB (-0.25)

#define SAMPLE_ID 0xc5 /* of the messages whose sizes are told */

struct node {
    struct wire_session session;
    void *socket;
    bool is_welcome;
};

/* The tokens of D's present step, as `tokens` carries them. */
struct step {
    uint32_t n;
    struct wire_id reqs[MIDDLE_STREAMS_MAX];
    uint32_t attempts[MIDDLE_STREAMS_MAX], generations[MIDDLE_STREAMS_MAX];
    uint32_t indexes[MIDDLE_STREAMS_MAX], tokens[MIDDLE_STREAMS_MAX];
    double logprobs[MIDDLE_STREAMS_MAX];
    uint8_t ends[MIDDLE_STREAMS_MAX];
};

struct baton {
    struct load *load;
    struct node nodes[2]; /* P, D */
    struct wire_out *out;
    struct arena *arena;
    struct idmap *map; /* request id -> stream */
    struct wire_id ids[MIDDLE_STREAMS_MAX];
    uint32_t generations[MIDDLE_STREAMS_MAX];
    uint32_t *prompt; /* [n_prompt], the first id is the stream */
    struct step step;
};

/* ---- saying ---- */

static bool send_out(struct baton *baton, void *socket)
{
    bool good = true;

    for (size_t i = 0; i < wire_out_count(baton->out); i++) {
        const struct wire_out_item item = wire_out_at(baton->out, i);

        good = good && zmq_send(socket, item.bytes, item.len, 0) >= 0;
    }
    wire_out_clear(baton->out);
    return good;
}

static bool node_post(struct baton *baton, struct node *node, struct wire_msg *msg)
{
    return wire_session_post(&node->session, baton->out, msg) == STATUS_OK &&
           send_out(baton, node->socket);
}

static void msg_init(const struct baton *baton, struct wire_msg *msg, enum wire_kind kind,
                     uint32_t stream)
{
    wire_msg_init(msg, kind);
    msg->req = baton->ids[stream];
    msg->attempt = 1;
    msg->generation = baton->generations[stream];
}

static bool baton_generate(void *ctx, uint32_t stream, uint32_t client, uint32_t n_tokens)
{
    struct baton *baton = ctx;
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    baton->prompt[0] = stream;
    msg.generate.label = wire_span_of("bench");
    msg.generate.model = wire_span_of(MIDDLE_MODEL);
    msg.generate.tokens = (struct wire_u32s){baton->prompt, baton->load->n_prompt};
    msg.generate.sampling.max_tokens = n_tokens;
    return wire_out_post(baton->out, 1, &msg) == STATUS_OK &&
           send_out(baton, baton->load->sockets[client]);
}

/* Ids with a text, for the router's tokenizer of bytes. */
static uint32_t letter(uint32_t index)
{
    return 'a' + index % 26;
}

static void fill_first(struct wire_msg *msg)
{
    msg->first.token = letter(0);
    msg->first.logprob = LOGPROB;
    msg->first.ledger.prefill_queue_us = 100;
    msg->first.ledger.prefill_us = 20000;
}

static void fill_done(struct wire_msg *msg, uint32_t n_tokens)
{
    msg->done.reason = wire_span_of("length");
    msg->done.n_tokens = n_tokens;
    msg->done.ledger.transfer_us = 900;
    msg->done.ledger.transfer_bytes = 1 << 20;
    msg->done.ledger.transfer_path = wire_span_of("posix/memory, cma/memory");
    msg->done.ledger.decode_queue_us = 100;
    msg->done.ledger.first_step_us = 20000;
    msg->done.ledger.decode_us = 500000;
}

static bool baton_first(void *ctx, uint32_t stream)
{
    struct baton *baton = ctx;
    struct wire_msg msg;

    msg_init(baton, &msg, WIRE_KIND_FIRST, stream);
    fill_first(&msg);
    return node_post(baton, &baton->nodes[P], &msg);
}

/* A step of one token is a `token`, as of a real node. */
static bool post_only(struct baton *baton)
{
    const struct step *step = &baton->step;
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    msg.req = step->reqs[0];
    msg.attempt = step->attempts[0];
    msg.generation = step->generations[0];
    msg.token.index = step->indexes[0];
    msg.token.token = step->tokens[0];
    msg.token.logprob = step->logprobs[0];
    msg.token.end = wire_span_of(wire_end_name(step->ends[0]));
    return node_post(baton, &baton->nodes[D], &msg);
}

static bool baton_step_end(void *ctx)
{
    struct baton *baton = ctx;
    struct step *step = &baton->step;
    const size_t n = step->n;
    struct wire_msg msg;

    step->n = 0;
    if (n < 2)
        return n == 0 || post_only(baton);
    wire_msg_init(&msg, WIRE_KIND_TOKENS);
    msg.tokens.reqs = (struct wire_span){(const char *)step->reqs, n * sizeof(step->reqs[0])};
    msg.tokens.attempts = (struct wire_u32s){step->attempts, n};
    msg.tokens.generations = (struct wire_u32s){step->generations, n};
    msg.tokens.indexes = (struct wire_u32s){step->indexes, n};
    msg.tokens.tokens = (struct wire_u32s){step->tokens, n};
    msg.tokens.logprobs = (struct wire_span){(const char *)step->logprobs, n * sizeof(double)};
    msg.tokens.ends = (struct wire_span){(const char *)step->ends, n};
    return node_post(baton, &baton->nodes[D], &msg);
}

static bool baton_token(void *ctx, uint32_t stream, uint32_t index, bool is_last)
{
    struct baton *baton = ctx;
    struct step *step = &baton->step;
    uint32_t i;

    if (step->n == MIDDLE_STREAMS_MAX && !baton_step_end(baton))
        return false;
    i = step->n++;
    step->reqs[i] = baton->ids[stream];
    step->attempts[i] = 1;
    step->generations[i] = baton->generations[stream];
    step->indexes[i] = index;
    step->tokens[i] = letter(index);
    step->logprobs[i] = LOGPROB;
    step->ends[i] = is_last ? WIRE_END_LENGTH : WIRE_END_NONE;
    return true;
}

static bool baton_done(void *ctx, uint32_t stream, uint32_t n_tokens)
{
    struct baton *baton = ctx;
    struct wire_msg msg;

    msg_init(baton, &msg, WIRE_KIND_DONE, stream);
    fill_done(&msg, n_tokens);
    return baton_step_end(baton) && node_post(baton, &baton->nodes[D], &msg);
}

static bool post_beat(struct baton *baton, struct node *node, uint64_t now_ns)
{
    const uint64_t peer = baton->nodes[P].session.self;
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
    msg.heartbeat.blocks_free = UINT32_MAX;
    if (node == &baton->nodes[D])
        msg.heartbeat.peers = (struct wire_u64s){&peer, 1};
    node->session.beat_ns = now_ns;
    return node_post(baton, node, &msg);
}

static bool baton_beat(void *ctx, uint64_t now_ns)
{
    struct baton *baton = ctx;
    bool good = true;

    for (int i = P; i <= D; i++)
        if (wire_session_beat_due(&baton->nodes[i].session, now_ns))
            good = good && post_beat(baton, &baton->nodes[i], now_ns);
    return good;
}

/* ---- hearing ---- */

static struct load_event broken(struct baton *baton, const char *why)
{
    baton->load->why = why;
    return (struct load_event){.heard = LOAD_BROKEN};
}

static struct load_event take_job(struct baton *baton, int which, const struct wire_msg *msg)
{
    const struct idmap_key key = idmap_key(msg->req.byte, 0);
    struct load_event event = {.heard = which == P ? LOAD_JOB_P : LOAD_JOB_D};
    enum status status;

    if (msg->job.prompt.n == 0 || msg->job.prompt.at[0] >= MIDDLE_STREAMS_MAX)
        return broken(baton, "a job came with a prompt that was never sent");
    if (msg->attempt != 1)
        return broken(baton, "the router resubmitted a request");
    event.stream = msg->job.prompt.at[0];
    baton->ids[event.stream] = msg->req;
    baton->generations[event.stream] = msg->generation;
    status = idmap_insert(baton->map, &key, event.stream); /* the second of P and D finds it */
    if (status != STATUS_OK && status != STATUS_EXISTS)
        return broken(baton, "more requests than were sent");
    return event;
}

static struct load_event read_node(struct baton *baton, int which, const void *bytes, size_t len)
{
    struct node *node = &baton->nodes[which];
    const struct clock clock = clock_monotonic();
    const char *why;
    struct wire_msg msg;

    arena_reset(baton->arena);
    if (wire_msg_decode(bytes, len, baton->arena, &msg, &why) != STATUS_OK)
        return broken(baton, "the router sent a malformed message");
    if (wire_session_take(&node->session, &msg, clock_now_ns(&clock)) != STATUS_OK)
        return broken(baton, "the session with the router has a gap");
    if (msg.kind == WIRE_KIND_JOB)
        return take_job(baton, which, &msg);
    if (msg.kind == WIRE_KIND_BYE)
        return broken(baton, "the router ended the session");
    node->is_welcome = node->is_welcome || msg.kind == WIRE_KIND_WELCOME;
    return (struct load_event){.heard = LOAD_NOTHING};
}

/* What a client needs of a token or done; false where the bytes are no message. */
struct glance {
    struct wire_item kind, id, index;
};

static bool glance_at(const uint8_t *at, const uint8_t *end, struct glance *out)
{
    struct wire_item map, key, value;

    *out = (struct glance){.index.type = WIRE_ITEM_UINT}; /* 0 is not sent */
    at = wire_item_read(at, end, &map);
    for (uint32_t i = 0; at && map.type == WIRE_ITEM_MAP && i < map.n; i++) {
        at = wire_item_read(at, end, &key);
        if (at)
            at = wire_item_read(at, end, &value);
        if (!at || key.type != WIRE_ITEM_TEXT || value.type >= WIRE_ITEM_ARRAY)
            break;
        if (key.n == 1 && key.at[0] == 't')
            out->kind = value;
        else if (key.n == 1 && key.at[0] == 'r')
            out->id = value;
        else if (key.n == 5 && memcmp(key.at, "index", 5) == 0)
            out->index = value;
        if (key.n == 5)
            break;
    }
    return out->kind.type == WIRE_ITEM_TEXT;
}

static bool is_kind(const struct glance *glance, enum wire_kind kind)
{
    const struct wire_span found = {(const char *)glance->kind.at, glance->kind.n};

    return wire_span_equal(found, wire_span_of(wire_kind_name(kind)));
}

static struct load_event read_client(struct baton *baton, const void *bytes, size_t len)
{
    struct load_event event = {.heard = LOAD_NOTHING};
    struct glance glance;
    struct idmap_key key;

    if (!glance_at(bytes, (const uint8_t *)bytes + len, &glance))
        return broken(baton, "the router sent a malformed message");
    if (is_kind(&glance, WIRE_KIND_TOKEN))
        event.heard = LOAD_TOKEN;
    else if (is_kind(&glance, WIRE_KIND_DONE))
        event.heard = LOAD_DONE;
    else if (is_kind(&glance, WIRE_KIND_FAILED))
        return broken(baton, "the router refused or failed a request");
    else
        return event;
    if (glance.id.type != WIRE_ITEM_BYTES || glance.id.n != sizeof(struct wire_id))
        return broken(baton, "the router sent a token without its request");
    key = idmap_key(glance.id.at, 0);
    if (idmap_find(baton->map, &key, &event.stream) != STATUS_OK)
        return broken(baton, "the router sent a token of an unknown request");
    event.index = (uint32_t)glance.index.u;
    if (event.heard == LOAD_DONE)
        (void)idmap_remove(baton->map, &key, NULL);
    return event;
}

static struct load_event baton_read(void *ctx, uint32_t idx, const void *bytes, size_t len)
{
    struct baton *baton = ctx;

    if (idx < baton->load->n_clients)
        return read_client(baton, bytes, len);
    return read_node(baton, idx == baton->load->n_clients ? P : D, bytes, len);
}

/* ---- life ---- */

static void baton_close(void *ctx)
{
    struct baton *baton = ctx;

    wire_out_destroy(baton->out);
    arena_destroy(baton->arena);
    idmap_destroy(baton->map);
    mem_free(baton->prompt);
    mem_free(baton);
}

static const struct load_dialect baton_dialect = {
    .generate = baton_generate,
    .first = baton_first,
    .token = baton_token,
    .done = baton_done,
    .step_end = baton_step_end,
    .read = baton_read,
    .beat = baton_beat,
    .close = baton_close,
};

static bool join(struct baton *baton, int which, uint64_t now_ns)
{
    struct node *node = &baton->nodes[which];
    uint64_t self;
    struct wire_msg msg;

    rand_entropy(&self, sizeof(self));
    node->socket = baton->load->sockets[baton->load->n_clients + (uint32_t)which];
    wire_session_open(&node->session, 1, 1, self, 0, now_ns);
    wire_msg_init(&msg, WIRE_KIND_JOIN);
    msg.join.version_min = WIRE_VERSION_MIN;
    msg.join.version_max = WIRE_VERSION_MAX;
    msg.join.name = wire_span_of(which == P ? "p0" : "d0");
    msg.join.role = which == P ? WIRE_ROLE_PREFILL : WIRE_ROLE_DECODE;
    msg.join.fingerprint = wire_span_of("bench");
    msg.join.numerics = wire_span_of("bench");
    msg.join.model = wire_span_of(MIDDLE_MODEL);
    msg.join.endpoint = wire_span_of("tcp://127.0.0.1:1");
    msg.join.host = wire_span_of("bench");
    msg.join.block_tokens = 64;
    msg.join.blocks = UINT32_MAX / 2;
    msg.join.seqs_max = 2 * MIDDLE_STREAMS_MAX;
    msg.join.len_max = MIDDLE_LEN_MAX;
    return node_post(baton, node, &msg) && post_beat(baton, node, now_ns);
}

static enum status greet(struct baton *baton)
{
    const struct clock clock = clock_monotonic();
    const uint64_t begin = clock_now_ns(&clock);
    zmq_msg_t msg;

    if (!join(baton, P, begin) || !join(baton, D, begin))
        return STATUS_LOST;
    zmq_msg_init(&msg);
    for (int i = P; i <= D; i++) {
        while (!baton->nodes[i].is_welcome && clock_now_ns(&clock) - begin < GREET_NS)
            if (zmq_msg_recv(&msg, baton->nodes[i].socket, ZMQ_DONTWAIT) >= 0)
                (void)read_node(baton, i, zmq_msg_data(&msg), zmq_msg_size(&msg));
    }
    zmq_msg_close(&msg);
    return baton->nodes[P].is_welcome && baton->nodes[D].is_welcome ? STATUS_OK : STATUS_LOST;
}

static size_t encoded_len(const struct wire_msg *msg)
{
    uint8_t bytes[8 * LOAD_PROMPT_MAX];
    size_t len = 0;

    return wire_msg_encode(msg, bytes, sizeof(bytes), &len) == STATUS_OK ? len : 0;
}

/* As the nodes send them; a request's id and the session's numbers are in each. */
static struct load_sizes sizes_of(const struct baton *baton)
{
    struct load_sizes sizes = {0};
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.label = wire_span_of("bench");
    msg.generate.model = wire_span_of(MIDDLE_MODEL);
    msg.generate.tokens = (struct wire_u32s){baton->prompt, baton->load->n_prompt};
    sizes.generate = encoded_len(&msg);
    wire_msg_init(&msg, WIRE_KIND_FIRST);
    fill_first(&msg);
    msg.from = baton->nodes[P].session.self;
    msg.to = baton->nodes[P].session.peer;
    memset(&msg.req, SAMPLE_ID, sizeof(msg.req));
    sizes.first = encoded_len(&msg) + 16;
    wire_msg_init(&msg, WIRE_KIND_DONE);
    fill_done(&msg, 16);
    msg.from = baton->nodes[D].session.self;
    msg.to = baton->nodes[D].session.peer;
    memset(&msg.req, SAMPLE_ID, sizeof(msg.req));
    sizes.done = encoded_len(&msg) + 16;
    /* A token as a client gets it, with the envelope of one that comes alone from a node. */
    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    msg.session = msg.attempt = msg.generation = 1;
    msg.seq = 100000;
    msg.from = baton->nodes[D].session.self;
    msg.to = baton->nodes[D].session.peer;
    memset(&msg.req, SAMPLE_ID, sizeof(msg.req));
    msg.token.index = 300;
    msg.token.token = 70000;
    msg.token.logprob = LOGPROB;
    sizes.token = encoded_len(&msg);
    return sizes;
}

static enum status baton_init(struct baton *baton, struct load *load)
{
    uint64_t hash_key[2];

    rand_entropy(hash_key, sizeof(hash_key));
    baton->load = load;
    baton->prompt = mem_alloc_zero(load->n_prompt, sizeof(*baton->prompt));
    if (!baton->prompt || wire_out_create(OUT_BYTES_MAX, &baton->out) != STATUS_OK ||
        arena_create(64 * 1024, OUT_BYTES_MAX, &baton->arena) != STATUS_OK ||
        idmap_create(2 * MIDDLE_STREAMS_MAX, hash_key, &baton->map) != STATUS_OK)
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < load->n_prompt; i++)
        baton->prompt[i] = 1000 + 17 * i; /* ids of a vocabulary, not of bytes */
    return STATUS_OK;
}

enum status load_open_baton(struct load *load, const struct middle *middle, uint32_t n_clients,
                            uint32_t n_prompt, struct load_sizes *sizes_out)
{
    struct baton *baton;
    enum status status;

    load->n_clients = n_clients;
    load->n_prompt = n_prompt;
    status = load_connect(load, middle, false);
    if (status != STATUS_OK)
        return status;
    load->why = "out of memory";
    baton = mem_alloc_zero(1, sizeof(*baton));
    if (!baton)
        return STATUS_NO_MEMORY;
    load->dialect = &baton_dialect;
    load->ctx = baton;
    status = baton_init(baton, load);
    if (status != STATUS_OK)
        return status;
    load->why = "the router does not welcome the bench's nodes";
    if (greet(baton) != STATUS_OK)
        return STATUS_LOST;
    load->why = NULL;
    *sizes_out = sizes_of(baton);
    return STATUS_OK;
}
