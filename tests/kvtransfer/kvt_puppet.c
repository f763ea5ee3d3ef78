/* See kvt_puppet.h. */
#include "tests/kvtransfer/kvt_puppet.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "wire/kvdigest.h"

struct puppet *puppet_create(void)
{
    struct puppet *puppet = calloc(1, sizeof(*puppet));
    CHECK(puppet);
    puppet->cfg = (struct kvt_cfg){
        .self = PUPPET_SELF,
        .name = "puppet",
        .fingerprint = "model-a",
        .numerics = "numerics-a",
        .geom = {.n_layers = 3, .n_kv_heads = 1, .head_dim = 8, .elem_bytes = 1, .group_layers = 2},
        .n_blocks = PUPPET_BLOCKS,
        .peers_max = 2,
        .transfers_max = PUPPET_TRANSFERS,
        .blocks_max = PUPPET_BLOCKS_MAX,
        .fetch_bytes = 4096,
        .session_base = 100,
    };
    puppet->pool = calloc(PUPPET_BLOCKS, kvgeom_block_bytes(&puppet->cfg.geom));
    CHECK(puppet->pool);
    puppet->cfg.pool = puppet->pool;
    puppet->now_ns = NS_PER_S;
    puppet->next_handle = 1;
    CHECK(kvt_create(&puppet->cfg, &puppet->kvt) == STATUS_OK);
    CHECK(arena_create(1 << 16, 1 << 22, &puppet->arena) == STATUS_OK);
    return puppet;
}

void puppet_destroy(struct puppet *puppet)
{
    kvt_destroy(puppet->kvt);
    arena_destroy(puppet->arena);
    free(puppet->pool);
    free(puppet);
}

void puppet_drain(struct puppet *puppet)
{
    struct kvt *kvt = puppet->kvt;
    for (size_t i = 0; i < kvt_n_acts(kvt); i++) {
        CHECK(puppet->n_acts < PUPPET_LIST_MAX);
        puppet->acts[puppet->n_acts++] = *kvt_act_at(kvt, i);
    }
    for (size_t i = 0; i < wire_out_count(kvt_out(kvt)); i++) {
        struct wire_out_item item = wire_out_at(kvt_out(kvt), i);
        void *bytes = arena_memdup(puppet->arena, item.bytes, item.len);
        CHECK(bytes && puppet->n_msgs < PUPPET_LIST_MAX);
        struct wire_msg *msg = &puppet->msgs[puppet->n_msgs];
        puppet->links[puppet->n_msgs++] = item.link;
        CHECK(wire_msg_decode(bytes, item.len, puppet->arena, msg, NULL) == STATUS_OK);
    }
    for (size_t i = 0; i < kvt_n_notes(kvt); i++) {
        CHECK(puppet->n_notes < PUPPET_LIST_MAX);
        puppet->notes[puppet->n_notes++] = *kvt_note_at(kvt, i);
    }
    kvt_clear(kvt);
}

void puppet_clear(struct puppet *puppet)
{
    puppet->n_acts = puppet->n_msgs = puppet->n_notes = 0;
    arena_reset(puppet->arena);
}

void puppet_wait(struct puppet *puppet, uint32_t ms, bool alive)
{
    for (uint32_t passed = 0; passed < ms; passed += 50) {
        puppet->now_ns += 50 * NS_PER_MS;
        if (alive && passed % 250 == 0 && puppet->seq > 0) {
            puppet_say_heartbeat(puppet, false);
        }
        kvt_tick(puppet->kvt, puppet->now_ns);
        puppet_drain(puppet);
    }
}

size_t puppet_n_acts(const struct puppet *puppet, enum kvt_act_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < puppet->n_acts; i++) {
        n += puppet->acts[i].kind == kind;
    }
    return n;
}

const struct kvt_act *puppet_act(const struct puppet *puppet, enum kvt_act_kind kind)
{
    size_t i = puppet->n_acts;
    while (i > 0 && puppet->acts[i - 1].kind != kind) {
        i--;
    }
    CHECK_MSG(i > 0, "the action that the test expects did not come");
    return &puppet->acts[i - 1];
}

size_t puppet_n_msgs(const struct puppet *puppet, enum wire_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < puppet->n_msgs; i++) {
        n += puppet->msgs[i].kind == kind;
    }
    return n;
}

const struct wire_msg *puppet_msg(const struct puppet *puppet, enum wire_kind kind)
{
    size_t i = puppet->n_msgs;
    while (i > 0 && puppet->msgs[i - 1].kind != kind) {
        i--;
    }
    CHECK_MSG(i > 0, "the message that the test expects did not come");
    return &puppet->msgs[i - 1];
}

size_t puppet_n_notes(const struct puppet *puppet, enum kvt_note_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < puppet->n_notes; i++) {
        n += puppet->notes[i].kind == kind;
    }
    return n;
}

const struct kvt_note *puppet_note(const struct puppet *puppet, enum kvt_note_kind kind)
{
    size_t i = puppet->n_notes;
    while (i > 0 && puppet->notes[i - 1].kind != kind) {
        i--;
    }
    CHECK_MSG(i > 0, "the note that the test expects did not come");
    return &puppet->notes[i - 1];
}

void puppet_say_raw(struct puppet *puppet, uint32_t link, const struct wire_msg *msg)
{
    kvt_message(puppet->kvt, link, msg, puppet->now_ns);
    puppet_drain(puppet);
}

void puppet_say(struct puppet *puppet, struct wire_msg *msg)
{
    msg->session = puppet->session;
    msg->seq = ++puppet->seq;
    msg->from = PUPPET_PEER;
    msg->to = PUPPET_SELF;
    puppet_say_raw(puppet, PUPPET_LINK, msg);
}

void puppet_say_heartbeat(struct puppet *puppet, bool verified)
{
    static const uint64_t self = PUPPET_SELF;
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
    msg.heartbeat.peers = (struct wire_u64s){&self, verified};
    puppet_say(puppet, &msg);
}

struct wire_msg puppet_pair_msg(const struct puppet *puppet, uint32_t session)
{
    static char layout[64];
    kvgeom_print(&puppet->cfg.geom, layout);
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_PAIR);
    msg.session = session;
    msg.seq = 1;
    msg.from = PUPPET_PEER;
    msg.to = PUPPET_SELF;
    msg.pair.version_min = WIRE_VERSION_MIN;
    msg.pair.version_max = WIRE_VERSION_MAX;
    msg.pair.name = wire_span_of("the-peer");
    msg.pair.fingerprint = wire_span_of(puppet->cfg.fingerprint);
    msg.pair.numerics = wire_span_of(puppet->cfg.numerics);
    msg.pair.layout = wire_span_of(layout);
    memset(msg.pair.secret.byte, 0x5a, sizeof(msg.pair.secret.byte));
    msg.pair.local = true;
    msg.pair.address = wire_span_of("address-of-d");
    return msg;
}

void puppet_say_pair(struct puppet *puppet, uint32_t session)
{
    struct wire_msg msg = puppet_pair_msg(puppet, session);
    puppet->session = session;
    puppet->seq = 1;
    memcpy(puppet->secret, msg.pair.secret.byte, sizeof(puppet->secret));
    puppet_say_raw(puppet, PUPPET_LINK, &msg);
}

void puppet_say_bye(struct puppet *puppet, enum status code, const char *text)
{
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_BYE);
    msg.session = puppet->session;
    msg.from = PUPPET_PEER;
    msg.to = PUPPET_SELF;
    msg.bye.code = (uint32_t)code;
    msg.bye.text = wire_span_of(text);
    puppet_say_raw(puppet, PUPPET_LINK, &msg);
}

void puppet_event(struct puppet *puppet, const struct kvt_event *event)
{
    kvt_event(puppet->kvt, event, puppet->now_ns);
    puppet_drain(puppet);
}

void puppet_opened(struct puppet *puppet)
{
    static const uint8_t address[] = "address-of-self";
    struct kvt_event event = {.kind = KVT_EVENT_OPENED,
                              .pair = puppet->pair,
                              .address = address,
                              .address_len = sizeof(address)};
    memset(event.secret, 0x77, sizeof(event.secret));
    puppet_event(puppet, &event);
}

void puppet_posted(struct puppet *puppet, uint64_t op)
{
    struct kvt_event event = {.kind = KVT_EVENT_POSTED, .pair = puppet->pair, .op = op};
    puppet_event(puppet, &event);
}

void puppet_posted_all(struct puppet *puppet)
{
    size_t n = puppet->n_acts;
    for (size_t i = 0; i < n; i++) {
        if (puppet->acts[i].kind == KVT_ACT_POST) {
            puppet_posted(puppet, puppet->acts[i].op);
        }
    }
}

void puppet_fetched(struct puppet *puppet, uint64_t op, enum status status)
{
    struct kvt_event event = {
        .kind = KVT_EVENT_FETCHED, .pair = puppet->pair, .op = op, .status = status};
    puppet_event(puppet, &event);
}

uint64_t puppet_offered(struct puppet *puppet, const struct kvt_header *header, size_t bytes)
{
    struct kvt_event event = {.kind = KVT_EVENT_OFFERED,
                              .pair = puppet->pair,
                              .header = *header,
                              .bytes = bytes,
                              .handle = puppet->next_handle++};
    puppet_event(puppet, &event);
    return event.handle;
}

/* P's probe, as D sees it. */
static void offer_probe(struct puppet *puppet)
{
    uint8_t probe[4096];
    for (uint32_t i = 0; i < sizeof(probe); i++) {
        probe[i] = (uint8_t)(i * 167 + i / 256);
    }
    struct wire_id none = {{0}};
    struct kvt_key key = {none, puppet->session, 0};
    struct kvt_header header = puppet_header(puppet, &key, 0, 0);
    header.bytes = sizeof(probe);
    header.digest = kvdigest_piece(&none, puppet->session, 0, 0, probe, sizeof(probe));
    puppet_offered(puppet, &header, sizeof(probe));
    const struct kvt_act *fetch = puppet_act(puppet, KVT_ACT_FETCH);
    memcpy(fetch->at, probe, sizeof(probe));
    puppet_fetched(puppet, fetch->op, STATUS_OK);
}

static void bring_d(struct puppet *puppet, enum puppet_stage stage)
{
    kvt_peer_up(puppet->kvt, PUPPET_PEER, PUPPET_LINK, KVT_PATH_LOCAL, puppet->now_ns);
    puppet_drain(puppet);
    puppet->pair = puppet_act(puppet, KVT_ACT_OPEN)->pair;
    if (stage == PUPPET_D_IDLE) {
        struct kvt_event error = {
            .kind = KVT_EVENT_ERROR, .pair = puppet->pair, .status = STATUS_IO};
        puppet_event(puppet, &error);
    }
    if (stage >= PUPPET_D_ASKED) {
        puppet_opened(puppet);
        puppet->session = puppet_msg(puppet, WIRE_KIND_PAIR)->session;
        puppet->seq = 0;
        memset(puppet->secret, 0x77, sizeof(puppet->secret));
    }
    if (stage >= PUPPET_D_PROBING) {
        struct wire_msg msg;
        wire_msg_init(&msg, WIRE_KIND_PAIRED);
        msg.paired.version = WIRE_VERSION_MAX;
        msg.paired.address = wire_span_of("address-of-p");
        puppet_say(puppet, &msg);
    }
    if (stage >= PUPPET_D_READY) {
        offer_probe(puppet);
    }
}

void puppet_bring(struct puppet *puppet, enum puppet_stage stage)
{
    if (stage <= PUPPET_D_READY) {
        bring_d(puppet, stage);
        puppet_clear(puppet);
        return;
    }
    puppet_say_pair(puppet, puppet->session + 1);
    puppet->pair = puppet_act(puppet, KVT_ACT_OPEN)->pair;
    if (stage >= PUPPET_P_PAIRED) {
        puppet_opened(puppet);
    }
    if (stage >= PUPPET_P_PROBING) {
        puppet_say_heartbeat(puppet, false);
    }
    if (stage >= PUPPET_P_READY) {
        puppet_posted_all(puppet);
        puppet_say_heartbeat(puppet, true);
    }
    puppet_clear(puppet);
}

uint64_t puppet_pairs(const struct puppet *puppet)
{
    struct kvt_counts counts;
    kvt_counts(puppet->kvt, &counts);
    return counts.pairs;
}

struct wire_id puppet_req(uint8_t number)
{
    struct wire_id req = {{number, 1, 2, 3}};
    return req;
}

size_t puppet_piece_len(uint32_t group)
{
    struct kvgeom geom = {
        .n_layers = 3, .n_kv_heads = 1, .head_dim = 8, .elem_bytes = 1, .group_layers = 2};
    size_t offset;
    size_t len;
    kvgeom_piece(&geom, group, &offset, &len);
    return len;
}

struct kvt_header puppet_header(const struct puppet *puppet, const struct kvt_key *key,
                                uint32_t block, uint32_t group)
{
    struct kvt_header header = {
        .magic = KVT_HEADER_MAGIC,
        .version = KVT_HEADER_VERSION,
        .from = PUPPET_PEER,
        .to = PUPPET_SELF,
        .attempt = key->attempt,
        .generation = key->generation,
        .block = block,
        .group = group,
        .bytes = puppet_piece_len(group % PUPPET_GROUPS),
    };
    memcpy(header.secret, puppet->secret, sizeof(header.secret));
    memcpy(header.req, key->req.byte, sizeof(header.req));
    return header;
}
