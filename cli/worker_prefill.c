/* The prefill role as its shell sees it. */
#include "cli/worker.h"
#include "prefill/prefill.h"

static void role_destroy(void *self)
{
    prefill_destroy(self);
}

static void role_router_up(void *self, uint32_t link, uint64_t now_ns)
{
    prefill_router_up(self, link, now_ns);
}

/* Decode nodes come to us. */
static void role_peer_up(void *self, uint64_t peer, uint32_t link, uint64_t now_ns)
{
    (void)self;
    (void)peer;
    (void)link;
    (void)now_ns;
}

static void role_link_down(void *self, uint32_t link, uint64_t now_ns)
{
    prefill_link_down(self, link, now_ns);
}

static void role_message(void *self, uint32_t link, const struct wire_msg *msg, uint64_t now_ns)
{
    prefill_message(self, link, msg, now_ns);
}

static void role_kvt_event(void *self, const struct kvt_event *event, uint64_t now_ns)
{
    prefill_kvt_event(self, event, now_ns);
}

static void role_compute_event(void *self, const struct compute_event *event, uint64_t now_ns)
{
    if (event->kind == COMPUTE_PIECE)
        prefill_piece(self, &event->req, event->attempt, event->block, event->group, event->digest,
                      now_ns);
    else
        prefill_complete(self, event->took_ns, now_ns);
}

static void role_tick(void *self, uint64_t starved_ns, uint64_t now_ns)
{
    prefill_tick(self, starved_ns, now_ns);
}

static void role_drain(void *self)
{
    prefill_drain(self);
}

static const struct engine_step *role_step(void *self, uint64_t now_ns)
{
    return prefill_step(self, now_ns);
}

static size_t role_peers(void *self, struct worker_peer *peers, size_t max, uint64_t *version_out)
{
    (void)self;
    (void)peers;
    (void)max;
    *version_out = 0;
    return 0;
}

static void role_clear(void *self)
{
    prefill_clear(self);
}

enum status worker_prefill_create(const struct worker_setup *setup, struct worker_role *out,
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
    const struct prefill_cfg cfg = {.engine = setup->engine,
                                    .kvt = setup->kvt,
                                    .bond = setup->bond,
                                    .eos = setup->eos,
                                    .n_eos = setup->n_eos,
                                    .vocab = setup->vocab};
    struct prefill *prefill;
    enum status status = prefill_create(&cfg, &prefill, why_out);

    if (status != STATUS_OK)
        return status;
    *out = (struct worker_role){.ops = &ops,
                                .self = prefill,
                                .out = prefill_out(prefill),
                                .kvt = prefill_kvt(prefill),
                                .bond = prefill_bond(prefill),
                                .engine = prefill_engine(prefill)};
    return STATUS_OK;
}
