/* See rig.h. */
#include "tests/router/rig.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"

void rig_init(struct rig *rig, void (*change)(struct router_cfg *cfg))
{
    memset(rig, 0, sizeof(*rig));
    CHECK(tokenizer_open_bytes(&rig->tok) == STATUS_OK);
    struct router_cfg cfg = {.self = 0x77,
                             .server = "rig",
                             .model = "oracle",
                             .tok = rig->tok,
                             .vocab = 256,
                             .nodes_max = 4,
                             .requests_max = 8,
                             .queue_max = 4,
                             .prefill_depth = 2,
                             .attempts_max = 3,
                             .deadline_ms = 10000,
                             .queue_ms = 5000,
                             .resume_ms = 2000};
    const char *why;

    memset(cfg.key, 7, sizeof(cfg.key));
    if (change)
        change(&cfg);
    rig->now_ns = NS_PER_S;
    CHECK(arena_create(4096, 16 << 20, &rig->arena) == STATUS_OK);
    CHECK(router_create(&cfg, &rig->router, &why) == STATUS_OK);
}

void rig_fini(struct rig *rig)
{
    router_destroy(rig->router);
    tokenizer_close(rig->tok);
    arena_destroy(rig->arena);
}

static void collect(struct rig *rig, bool anew)
{
    struct wire_out *out = router_out(rig->router);

    if (anew) {
        rig->n_answers = 0;
        arena_reset(rig->arena);
    }
    for (size_t i = 0; i < wire_out_count(out); i++) {
        const struct wire_out_item item = wire_out_at(out, i);
        void *bytes = arena_memdup(rig->arena, item.bytes, item.len);
        struct wire_msg msg;

        CHECK(wire_msg_decode(bytes, item.len, rig->arena, &msg, NULL) == STATUS_OK);
        if (msg.kind == WIRE_KIND_HEARTBEAT || rig->n_answers == RIG_ANSWERS_MAX)
            continue;
        rig->answers[rig->n_answers].link = item.link;
        rig->answers[rig->n_answers++].msg = msg;
    }
    router_clear(rig->router);
}

void rig_node(struct rig *rig, uint32_t link, uint64_t from, struct wire_msg *msg)
{
    const bool join = msg->kind == WIRE_KIND_JOIN;

    msg->from = from;
    msg->to = join ? 0 : 0x77;
    msg->session = 1;
    msg->seq = ++rig->seq[link];
    router_message(rig->router, ROUTER_DOOR_NODE, link, msg, rig->now_ns);
    collect(rig, true);
}

void rig_client(struct rig *rig, const struct wire_msg *msg)
{
    router_message(rig->router, ROUTER_DOOR_CLIENT, RIG_CLIENT_LINK, msg, rig->now_ns);
    collect(rig, true);
}

void rig_link_down(struct rig *rig, enum router_door door, uint32_t link)
{
    router_link_down(rig->router, door, link, rig->now_ns);
    collect(rig, true);
}

static void beat(struct rig *rig, uint32_t link, uint64_t from)
{
    const uint64_t peers[] = {RIG_P};
    struct wire_msg msg;

    if (rig->seq[link] == 0)
        return;
    wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
    if (from != RIG_P)
        msg.heartbeat.peers = (struct wire_u64s){peers, 1};
    msg.from = from;
    msg.to = 0x77;
    msg.session = 1;
    msg.seq = ++rig->seq[link];
    router_message(rig->router, ROUTER_DOOR_NODE, link, &msg, rig->now_ns);
    collect(rig, false);
}

void rig_wait(struct rig *rig, uint64_t ms)
{
    rig->n_answers = 0;
    arena_reset(rig->arena);
    for (uint64_t i = 0; i < ms; i += 50) {
        rig->now_ns += 50 * NS_PER_MS;
        beat(rig, RIG_P_LINK, RIG_P);
        beat(rig, RIG_D_LINK, RIG_D);
        beat(rig, RIG_D2_LINK, RIG_D2);
        router_tick(rig->router, rig->now_ns);
        collect(rig, false);
    }
}

const struct wire_msg *rig_answer(const struct rig *rig, uint32_t link, enum wire_kind kind)
{
    for (size_t i = 0; i < rig->n_answers; i++)
        if (rig->answers[i].link == link && rig->answers[i].msg.kind == kind)
            return &rig->answers[i].msg;
    return NULL;
}

void rig_join(struct rig *rig, uint32_t link, uint64_t from, enum wire_role role, const char *name)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_JOIN);
    msg.join.version_min = msg.join.version_max = 1;
    msg.join.name = wire_span_of(name);
    msg.join.role = role;
    msg.join.fingerprint = wire_span_of("f");
    msg.join.numerics = wire_span_of("n");
    msg.join.block_tokens = 64;
    msg.join.blocks = 16;
    msg.join.seqs_max = 4;
    msg.join.len_max = 512;
    rig_node(rig, link, from, &msg);
}

void rig_fleet(struct rig *rig, size_t n_decodes)
{
    rig_join(rig, RIG_P_LINK, RIG_P, WIRE_ROLE_PREFILL, "p");
    rig_join(rig, RIG_D_LINK, RIG_D, WIRE_ROLE_DECODE, "d");
    if (n_decodes > 1)
        rig_join(rig, RIG_D2_LINK, RIG_D2, WIRE_ROLE_DECODE, "d2");
    rig_wait(rig, 50);
    CHECK(router_ready(rig->router));
}

struct wire_msg rig_generate(struct rig *rig, uint32_t n_prompt, uint32_t max_tokens)
{
    static const uint32_t ids[512] = {1, 2, 3};
    const struct wire_msg *accepted;
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.tokens = (struct wire_u32s){ids, n_prompt};
    msg.generate.sampling.max_tokens = max_tokens;
    rig_client(rig, &msg);
    accepted = rig_answer(rig, RIG_CLIENT_LINK, WIRE_KIND_ACCEPTED);
    CHECK(accepted);
    return *accepted;
}

void rig_first(struct rig *rig, const struct wire_msg *job, uint32_t index, uint32_t token)
{
    const struct wire_msg copy = *job;
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_FIRST);
    msg.req = copy.req;
    msg.attempt = copy.attempt;
    msg.generation = copy.generation;
    msg.first.index = index;
    msg.first.token = token;
    rig_node(rig, RIG_P_LINK, RIG_P, &msg);
}

void rig_token(struct rig *rig, uint32_t link, uint64_t from, const struct wire_msg *job,
               uint32_t index, uint32_t token, const char *end)
{
    const struct wire_msg copy = *job;
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    msg.req = copy.req;
    msg.attempt = copy.attempt;
    msg.generation = copy.generation;
    msg.token.index = index;
    msg.token.token = token;
    msg.token.end = wire_span_of(end);
    rig_node(rig, link, from, &msg);
}

void rig_failed(struct rig *rig, uint32_t link, uint64_t from, const struct wire_msg *job,
                enum status code)
{
    const struct wire_msg copy = *job;
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_FAILED);
    msg.req = copy.req;
    msg.attempt = copy.attempt;
    msg.generation = copy.generation;
    msg.failed.code = code;
    rig_node(rig, link, from, &msg);
}
