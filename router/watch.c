/* Shows nodes and requests to who watches; decides nothing. */
#include "router/watch.h"

#include "router/state.h"

uint32_t router_nodes_max(const struct router *router)
{
    return router->cfg.nodes_max;
}

bool router_node_view(const struct router *router, uint32_t idx, struct router_node_view *out)
{
    const struct router_node *node = &router->nodes[idx];

    if (!node->used)
        return false;
    *out = (struct router_node_view){.name = node->name,
                                     .role = node->role,
                                     .ready = node->ready,
                                     .blocks = node->blocks,
                                     .blocks_free = node->blocks_free,
                                     .n_seqs = node->n_seqs,
                                     .n_reqs = node->n_reqs};
    return true;
}

uint32_t router_n_running(const struct router *router)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < router->cfg.requests_max; i++)
        n += router->reqs[i].used && router->reqs[i].state != ROUTER_QUEUED &&
             router->reqs[i].state != ROUTER_ENDED;
    return n;
}

void router_watch_token(const struct router *router, struct router_req *req, uint64_t now_ns)
{
    const struct router_watch *watch = router->cfg.watch;
    const uint64_t since_ns = req->n_emitted == 0 ? req->admitted_ns : req->token_ns;

    req->token_ns = now_ns;
    if (!watch)
        return;
    if (req->n_emitted == 0)
        watch->first(watch->ctx, now_ns - since_ns, req->n_prompt);
    else
        watch->token(watch->ctx, now_ns - since_ns);
}

struct wire_ledger router_ledger(const struct router_req *req)
{
    struct wire_ledger ledger = req->ledger;

    ledger.transfer_path = wire_span_of(req->path);
    ledger.prefill_node = wire_span_of(req->p_name);
    ledger.decode_node = wire_span_of(req->d_name);
    ledger.prompt_tokens = req->n_prompt;
    ledger.emitted_tokens = req->n_emitted;
    ledger.attempts = req->attempt;
    return ledger;
}

void router_watch_over(const struct router *router, const struct router_req *req)
{
    const struct router_watch *watch = router->cfg.watch;
    struct router_over over;

    if (!watch)
        return;
    over = (struct router_over){.id = req->id,
                                .label = req->label,
                                .link = req->client,
                                .code = req->code,
                                .reason = req->reason,
                                .n_sent = req->n_sent,
                                .ledger = router_ledger(req)};
    watch->over(watch->ctx, &over);
}

void router_watch_refused(const struct router *router, uint32_t link, struct wire_span label,
                          enum status code, const char *why)
{
    const struct router_watch *watch = router->cfg.watch;

    if (watch)
        watch->refused(watch->ctx, link, label, code, why);
}
