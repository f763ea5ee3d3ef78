/* The decode role as its shell sees it. */
#include "cli/worker.h"
#include "decode/decode.h"

static void role_destroy(void *self)
{
    decode_destroy(self);
}

static void role_router_up(void *self, uint32_t link, uint64_t now_ns)
{
    decode_router_up(self, link, now_ns);
}

static void role_peer_up(void *self, uint64_t peer, uint32_t link, uint64_t now_ns)
{
    decode_peer_up(self, peer, link, now_ns);
}

static void role_link_down(void *self, uint32_t link, uint64_t now_ns)
{
    decode_link_down(self, link, now_ns);
}

static void role_message(void *self, uint32_t link, const struct wire_msg *msg, uint64_t now_ns)
{
    decode_message(self, link, msg, now_ns);
}

static void role_kvt_event(void *self, const struct kvt_event *event, uint64_t now_ns)
{
    decode_kvt_event(self, event, now_ns);
}

static void role_compute_event(void *self, const struct compute_event *event, uint64_t now_ns)
{
    if (event->kind == COMPUTE_COMPLETE)
        decode_complete(self, event->took_ns, now_ns);
}

static void role_tick(void *self, uint64_t starved_ns, uint64_t now_ns)
{
    decode_tick(self, starved_ns, now_ns);
}

static void role_drain(void *self)
{
    decode_drain(self);
}

static const struct engine_step *role_step(void *self, uint64_t now_ns)
{
    return decode_step(self, now_ns);
}

static size_t role_peers(void *self, struct worker_peer *peers, size_t max, uint64_t *version_out)
{
    const struct decode_peer *all;
    size_t n = decode_peers(self, &all, version_out);

    n = n < max ? n : max;
    for (size_t i = 0; i < n; i++)
        peers[i] = (struct worker_peer){all[i].incarnation, all[i].endpoint};
    return n;
}

static void role_clear(void *self)
{
    decode_clear(self);
}

enum status worker_decode_create(const struct worker_setup *setup, struct worker_role *out,
                                 const char **why_out)
{
    static const struct worker_ops ops = {
        .destroy = role_destroy,
        .router_up = role_router_up,
        .peer_up = role_peer_up,
        .link_down = role_link_down,
        .message = role_message,
        .kvt_event = role_kvt_event,
        .compute_event = role_compute_event,
        .tick = role_tick,
        .drain = role_drain,
        .step = role_step,
        .peers = role_peers,
        .clear = role_clear,
    };
    const struct decode_cfg cfg = {.engine = setup->engine,
                                   .kvt = setup->kvt,
                                   .bond = setup->bond,
                                   .eos = setup->eos,
                                   .n_eos = setup->n_eos,
                                   .vocab = setup->vocab,
                                   .host = setup->host};
    struct decode *decode;
    enum status status = decode_create(&cfg, &decode, why_out);

    if (status != STATUS_OK)
        return status;
    *out = (struct worker_role){.ops = &ops,
                                .self = decode,
                                .out = decode_out(decode),
                                .kvt = decode_kvt(decode),
                                .bond = decode_bond(decode),
                                .engine = decode_engine(decode)};
    return STATUS_OK;
}
