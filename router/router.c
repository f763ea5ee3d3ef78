/* The router: create, dispatch, tick. See router.h for the state table, state.h for the files. Runs
 * on the router's loop, or in the simulator. */
#include "router/router.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "model/tmpl_value.h"
#include "router/state.h"
#include "wire/siphash.h"

static enum status cfg_check(const struct router_cfg *cfg, const char **why_out)
{
    *why_out = "router: nodes_max, requests_max, queue_max, prefill_depth, attempts_max and "
               "deadline_ms must not be 0";
    if (!cfg->nodes_max || !cfg->requests_max || !cfg->queue_max || !cfg->prefill_depth ||
        !cfg->attempts_max || !cfg->deadline_ms)
        return STATUS_INVALID;
    *why_out = "router: the model has no tokenizer or no vocabulary";
    if (!cfg->tok || !cfg->vocab)
        return STATUS_INVALID;
    *why_out = "router: the variables of the chat template are no dict";
    if (cfg->tmpl_vars && cfg->tmpl_vars->kind != TMPL_DICT)
        return STATUS_INVALID;
    *why_out = "router: nodes_max is over the roster's limit of 4096";
    if (cfg->nodes_max > WIRE_NODES_MAX)
        return STATUS_INVALID;
    *why_out = "out of memory";
    return STATUS_OK;
}

struct prompt_reader router_reader(const struct router_cfg *cfg)
{
    return (struct prompt_reader){
        .tok = cfg->tok, .tmpl = cfg->tmpl, .tmpl_vars = cfg->tmpl_vars, .vocab = cfg->vocab};
}

enum status router_create(const struct router_cfg *cfg, struct router **out, const char **why_out)
{
    const uint64_t hash_key[2] = {cfg->self, ~cfg->self};
    enum status status = cfg_check(cfg, why_out);
    struct router *router;

    if (status != STATUS_OK)
        return status;
    router = mem_alloc_zero(1, sizeof(*router));
    if (!router)
        return STATUS_NO_MEMORY;
    status = STATUS_NO_MEMORY;
    router->cfg = *cfg;
    router->queue_head = router->queue_tail = ROUTER_NONE;
    router->nodes = mem_alloc_zero(cfg->nodes_max, sizeof(*router->nodes));
    router->paired =
        mem_alloc_zero((size_t)cfg->nodes_max * cfg->nodes_max, sizeof(*router->paired));
    router->reqs = mem_alloc_zero(cfg->requests_max, sizeof(*router->reqs));
    router->free_reqs = mem_alloc_zero(cfg->requests_max, sizeof(*router->free_reqs));
    if (!router->nodes || !router->paired || !router->reqs || !router->free_reqs)
        goto fail;
    for (uint32_t i = 0; i < cfg->nodes_max; i++)
        router->nodes[i].paired = router->paired + (size_t)i * cfg->nodes_max;
    for (uint32_t i = 0; i < cfg->requests_max; i++)
        router->free_reqs[router->n_free_reqs++] = cfg->requests_max - 1 - i;
    if ((status = tokenizer_workspace_create(cfg->tok, &router->work)) != STATUS_OK ||
        (status = wire_out_create(ROUTER_OUT_BYTES_MAX, &router->out)) != STATUS_OK ||
        (status = view_create(&router->view)) != STATUS_OK ||
        (status = idmap_create(cfg->requests_max, hash_key, &router->map)) != STATUS_OK ||
        (status = idmap_create(cfg->nodes_max, hash_key, &router->links)) != STATUS_OK)
        goto fail;
    *out = router;
    return STATUS_OK;
fail:
    router_destroy(router);
    return status;
}

void router_destroy(struct router *router)
{
    if (!router)
        return;
    for (uint32_t i = 0; router->reqs && i < router->cfg.requests_max; i++)
        router_req_memory_free(&router->reqs[i]);
    tokenizer_workspace_destroy(router->work);
    idmap_destroy(router->links);
    idmap_destroy(router->map);
    wire_out_destroy(router->out);
    view_destroy(router->view);
    mem_free(router->free_reqs);
    mem_free(router->reqs);
    mem_free(router->paired);
    mem_free(router->nodes);
    mem_free(router);
}

void router_draw(struct router *router, struct wire_id *out)
{
    struct siphash_key key;
    uint8_t block[24];

    /* Half of the key is the hash's key, the other half and a counter its message: who sees ids
     * learns nothing about the next. */
    memcpy(key.byte, router->cfg.key, sizeof(key.byte));
    memcpy(block, router->cfg.key + 16, 16);
    router->draws++;
    memcpy(block + 16, &router->draws, 8);
    siphash_128(&key, block, sizeof(block), out->byte);
}

/* ---- input ---- */

static void settle(struct router *router, uint64_t now_ns)
{
    router_place(router, now_ns);
    router_roster_flush(router);
}

void router_message(struct router *router, enum router_door door, uint32_t link,
                    const struct wire_msg *msg, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&router->awake, now_ns);
    if (door == ROUTER_DOOR_NODE)
        router_node_message(router, link, msg, now_ns);
    else
        router_client_message(router, link, msg, now_ns);
    settle(router, now_ns);
}

void router_link_down(struct router *router, enum router_door door, uint32_t link, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&router->awake, now_ns);
    if (door == ROUTER_DOOR_NODE)
        router_node_link_down(router, link, now_ns);
    else
        router_client_link_down(router, link, now_ns);
    settle(router, now_ns);
}

void router_tick(struct router *router, uint64_t now_ns)
{
    now_ns = clock_awake_ns(&router->awake, now_ns);
    router_nodes_tick(router, now_ns);
    router_reqs_tick(router, now_ns);
    settle(router, now_ns);
}

void router_drain(struct router *router)
{
    router->draining = true;
}

/* ---- output ---- */

struct wire_out *router_out(struct router *router)
{
    return router->out;
}

void router_clear(struct router *router)
{
    wire_out_clear(router->out);
}

/* ---- looking ---- */

bool router_idle(const struct router *router)
{
    return router->n_free_reqs == router->cfg.requests_max;
}

static bool has_ready_peer(const struct router *router, const struct router_node *d)
{
    for (uint32_t p = 0; p < router->cfg.nodes_max; p++)
        if (router->nodes[p].used && router->nodes[p].ready && router_paired(router, p, d))
            return true;
    return false;
}

bool router_ready(const struct router *router)
{
    if (router->draining)
        return false;
    for (uint32_t i = 0; i < router->cfg.nodes_max; i++) {
        const struct router_node *node = &router->nodes[i];

        if (node->used && node->ready && node->role == WIRE_ROLE_DECODE &&
            has_ready_peer(router, node))
            return true;
    }
    return false;
}

uint32_t router_len_limit(const struct router *router)
{
    const uint32_t nodes = router_len_max(router), model = router->cfg.len_max;

    return nodes == 0 || (model != 0 && model < nodes) ? model : nodes;
}

const char *router_numerics(const struct router *router)
{
    return router->numerics;
}

void router_counts(const struct router *router, struct router_counts *out)
{
    *out = router->counts;
    out->nodes = out->nodes_ready = 0;
    out->queued = router->n_queued;
    out->pairs = out->blocks = out->blocks_free = out->sequences = 0;
    for (uint32_t i = 0; i < router->cfg.nodes_max; i++) {
        const struct router_node *node = &router->nodes[i];

        if (!node->used)
            continue;
        out->nodes++;
        out->nodes_ready += node->ready;
        out->pairs += node->n_paired;
        out->blocks += node->blocks;
        out->blocks_free += node->blocks_free;
        out->sequences += node->n_seqs;
    }
    out->requests = router->cfg.requests_max - router->n_free_reqs;
}
