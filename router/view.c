/* See view.h. Times leave as ages, for the reader's clock is not ours. A node that was lost and is
 * not back is found in the events, the newest first. */
#include "router/view.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "router/json_pen.h"
#include "router/state.h"

struct view_ended {
    struct wire_id id;
    uint64_t number; /* 1, 2, ...; 0: never used */
    uint64_t at_ns;
    enum status code;
    char end[16];
    struct wire_ledger ledger; /* its texts are the arrays below */
    char path[WIRE_NAME_MAX + 1];
    char p_name[WIRE_NAME_MAX + 1];
    char d_name[WIRE_NAME_MAX + 1];
};

struct view_event {
    uint64_t number;
    uint64_t at_ns;
    bool joined;
    enum status why;
    enum wire_role role;
    char node[WIRE_NAME_MAX + 1];
};

/* What moved from one node to another on one path. */
struct view_path {
    uint64_t used_ns; /* 0: free */
    char p_name[WIRE_NAME_MAX + 1];
    char d_name[WIRE_NAME_MAX + 1];
    char path[WIRE_NAME_MAX + 1];
    uint64_t n, bytes, us;
    uint64_t last_bytes, last_us;
};

struct view {
    struct view_ended ended[VIEW_ENDED_MAX];
    struct view_event events[VIEW_EVENTS_MAX];
    struct view_path paths[VIEW_PATHS_MAX];
    uint64_t n_ended, n_events; /* ever */
};

enum status view_create(struct view **out)
{
    struct view *view = mem_alloc_zero(1, sizeof(*view));

    if (!view)
        return STATUS_NO_MEMORY;
    *out = view;
    return STATUS_OK;
}

void view_destroy(struct view *view)
{
    mem_free(view);
}

/* ---- taking ---- */

/* The path's record; a new one in place of that which was idle longest. */
static struct view_path *path_of(struct view *view, const struct router_req *req)
{
    struct view_path *oldest = &view->paths[0];

    for (size_t i = 0; i < VIEW_PATHS_MAX; i++) {
        struct view_path *path = &view->paths[i];

        if (path->used_ns && strcmp(path->p_name, req->p_name) == 0 &&
            strcmp(path->d_name, req->d_name) == 0 && strcmp(path->path, req->path) == 0)
            return path;
        if (path->used_ns < oldest->used_ns)
            oldest = path;
    }
    *oldest = (struct view_path){0};
    memcpy(oldest->p_name, req->p_name, sizeof(oldest->p_name));
    memcpy(oldest->d_name, req->d_name, sizeof(oldest->d_name));
    memcpy(oldest->path, req->path, sizeof(oldest->path));
    return oldest;
}

static void take_transfer(struct view *view, const struct router_req *req, uint64_t now_ns)
{
    struct view_path *path = path_of(view, req);

    path->used_ns = now_ns;
    path->n++;
    path->bytes += req->ledger.transfer_bytes;
    path->us += req->ledger.transfer_us;
    path->last_bytes = req->ledger.transfer_bytes;
    path->last_us = req->ledger.transfer_us;
}

/* The request's own part of the ledger; what it holds elsewhere is filled in as for `done`. */
static struct wire_ledger ledger_of(const struct router_req *req)
{
    struct wire_ledger ledger = req->ledger;

    ledger.prompt_tokens = req->n_prompt;
    ledger.emitted_tokens = req->n_emitted;
    ledger.attempts = req->attempt;
    return ledger;
}

void view_req_ended(struct view *view, const struct router_req *req, uint64_t now_ns)
{
    struct view_ended *ended = &view->ended[view->n_ended % VIEW_ENDED_MAX];

    ended->number = ++view->n_ended;
    ended->at_ns = now_ns;
    ended->id = req->id;
    ended->code = req->code;
    memcpy(ended->end, req->end, sizeof(ended->end));
    ended->ledger = ledger_of(req);
    memcpy(ended->path, req->path, sizeof(ended->path));
    memcpy(ended->p_name, req->p_name, sizeof(ended->p_name));
    memcpy(ended->d_name, req->d_name, sizeof(ended->d_name));
    if (req->ledger.transfer_bytes > 0)
        take_transfer(view, req, now_ns);
}

static void take_event(struct view *view, const struct router_node *node, bool joined,
                       enum status why, uint64_t now_ns)
{
    struct view_event *event = &view->events[view->n_events % VIEW_EVENTS_MAX];

    event->number = ++view->n_events;
    event->at_ns = now_ns;
    event->joined = joined;
    event->why = why;
    event->role = node->role;
    memcpy(event->node, node->name, sizeof(event->node));
}

void view_node_joined(struct view *view, const struct router_node *node, uint64_t now_ns)
{
    take_event(view, node, true, STATUS_OK, now_ns);
}

void view_node_lost(struct view *view, const struct router_node *node, enum status why,
                    uint64_t now_ns)
{
    take_event(view, node, false, why, now_ns);
}

/* ---- writing ---- */

struct sight {
    const struct router *router;
    const struct view *view;
    uint64_t since, now_ns;
};

/* "name":value, with a comma before it unless it opens the object. */
static void pen_number(struct json_pen *pen, const char *before, const char *name, uint64_t value)
{
    pen_str(pen, before);
    pen_str(pen, "\"");
    pen_str(pen, name);
    pen_str(pen, "\":");
    pen_u64(pen, value);
}

static void pen_name(struct json_pen *pen, const char *before, const char *name, const char *text)
{
    pen_str(pen, before);
    pen_member(pen, name, wire_span_of(text));
}

static void pen_flag(struct json_pen *pen, const char *before, const char *name, bool value)
{
    pen_str(pen, before);
    pen_str(pen, "\"");
    pen_str(pen, name);
    pen_str(pen, value ? "\":true" : "\":false");
}

static void pen_id(struct json_pen *pen, const char *before, const struct wire_id *id)
{
    char text[33];

    wire_id_print(id, text);
    pen_name(pen, before, "id", text);
}

static uint64_t age_us(const struct sight *sight, uint64_t at_ns)
{
    return sight->now_ns > at_ns ? (sight->now_ns - at_ns) / NS_PER_US : 0;
}

static void pen_fleet(struct json_pen *pen, const struct sight *sight)
{
    const struct router_cfg *cfg = &sight->router->cfg;
    struct router_counts counts;
    const char *before = "";

    router_counts(sight->router, &counts);
    pen_name(pen, "{", "model", cfg->model);
    pen_name(pen, ",", "version", cfg->server);
    pen_name(pen, ",", "numerics", sight->router->numerics);
    pen_flag(pen, ",", "ready", router_ready(sight->router));
    pen_flag(pen, ",", "draining", sight->router->draining);
    pen_number(pen, ",", "len_max", router_len_limit(sight->router));
    pen_number(pen, ",", "requests_max", cfg->requests_max);
    pen_number(pen, ",", "queue_max", cfg->queue_max);
    pen_str(pen, ",\"counts\":{");
#define X(name)                                                                                    \
    pen_number(pen, before, #name, counts.name);                                                   \
    before = ",";
    ROUTER_COUNTS(X)
#undef X
    pen_str(pen, "}");
}

static void pen_node(struct json_pen *pen, const struct sight *sight,
                     const struct router_node *node)
{
    pen_name(pen, "{", "name", node->name);
    pen_name(pen, ",", "role", wire_role_name(node->role));
    pen_name(pen, ",", "host", node->host);
    pen_flag(pen, ",", "ready", node->ready);
    pen_number(pen, ",", "heard_us", age_us(sight, node->session.heard_ns));
    pen_number(pen, ",", "blocks", node->blocks);
    pen_number(pen, ",", "blocks_free", node->blocks_free);
    pen_number(pen, ",", "sequences", node->n_seqs);
    pen_number(pen, ",", "sequences_max", node->seqs_max);
    pen_number(pen, ",", "requests", node->n_reqs);
    pen_number(pen, ",", "computing", node->n_computing);
    pen_number(pen, ",", "len_max", node->len_max);
    pen_str(pen, "}");
}

static void pen_nodes(struct json_pen *pen, const struct sight *sight)
{
    const struct router *router = sight->router;
    uint32_t n = 0;

    pen_str(pen, ",\"nodes\":[");
    for (uint32_t i = 0; i < router->cfg.nodes_max && n < VIEW_NODES_MAX; i++) {
        if (!router->nodes[i].used)
            continue;
        pen_str(pen, n++ > 0 ? "," : "");
        pen_node(pen, sight, &router->nodes[i]);
    }
    pen_str(pen, "]");
}

/* Verified pairs by their nodes' places in the list of nodes: [[P, D], ...]. */
static void pen_pairs(struct json_pen *pen, const struct sight *sight)
{
    const struct router *router = sight->router;
    uint32_t listed[VIEW_NODES_MAX];
    uint32_t n = 0, n_pairs = 0;

    for (uint32_t i = 0; i < router->cfg.nodes_max && n < VIEW_NODES_MAX; i++)
        if (router->nodes[i].used)
            listed[n++] = i;
    pen_str(pen, ",\"pairs\":[");
    for (uint32_t i = 0; i < n * n && n_pairs < VIEW_PAIRS_MAX; i++) {
        const uint32_t p = i / n, d = i % n;

        if (router->nodes[listed[p]].role != WIRE_ROLE_PREFILL ||
            router->nodes[listed[d]].role != WIRE_ROLE_DECODE ||
            !router_paired(router, listed[p], &router->nodes[listed[d]]))
            continue;
        pen_str(pen, n_pairs++ > 0 ? ",[" : "[");
        pen_u64(pen, p);
        pen_str(pen, ",");
        pen_u64(pen, d);
        pen_str(pen, "]");
    }
    pen_str(pen, "]");
}

/* The newest event but `nth`; NULL: there are no more. */
static const struct view_event *event_at(const struct view *view, uint64_t nth)
{
    if (nth >= view->n_events || nth >= VIEW_EVENTS_MAX)
        return NULL;
    return &view->events[(view->n_events - 1 - nth) % VIEW_EVENTS_MAX];
}

static bool is_newest_of_node(const struct view *view, uint64_t nth)
{
    for (uint64_t i = 0; i < nth; i++)
        if (strcmp(event_at(view, i)->node, event_at(view, nth)->node) == 0)
            return false;
    return true;
}

/* `gone`: the event's node was lost by it and is not back: whoever joins makes a newer event. */
static void pen_events(struct json_pen *pen, const struct sight *sight)
{
    const struct view_event *event;

    pen_str(pen, ",\"events\":[");
    for (uint64_t i = 0; (event = event_at(sight->view, i)); i++) {
        pen_str(pen, i > 0 ? "," : "");
        pen_number(pen, "{", "number", event->number);
        pen_number(pen, ",", "age_us", age_us(sight, event->at_ns));
        pen_name(pen, ",", "what", event->joined ? "joined" : "lost");
        pen_name(pen, ",", "node", event->node);
        pen_name(pen, ",", "role", wire_role_name(event->role));
        pen_name(pen, ",", "why", event->joined ? "" : status_text(event->why));
        pen_flag(pen, ",", "gone", !event->joined && is_newest_of_node(sight->view, i));
        pen_str(pen, "}");
    }
    pen_str(pen, "]");
}

static void pen_paths(struct json_pen *pen, const struct sight *sight)
{
    bool first = true;

    pen_str(pen, ",\"paths\":[");
    for (size_t i = 0; i < VIEW_PATHS_MAX; i++) {
        const struct view_path *path = &sight->view->paths[i];

        if (!path->used_ns)
            continue;
        pen_name(pen, first ? "{" : ",{", "from", path->p_name);
        pen_name(pen, ",", "to", path->d_name);
        pen_name(pen, ",", "path", path->path);
        pen_number(pen, ",", "age_us", age_us(sight, path->used_ns));
        pen_number(pen, ",", "transfers", path->n);
        pen_number(pen, ",", "bytes", path->bytes);
        pen_number(pen, ",", "us", path->us);
        pen_number(pen, ",", "last_bytes", path->last_bytes);
        pen_number(pen, ",", "last_us", path->last_us);
        pen_str(pen, "}");
        first = false;
    }
    pen_str(pen, "]");
}

static void pen_ledger(struct json_pen *pen, const struct wire_ledger *ledger)
{
    pen_number(pen, ",", "prompt_tokens", ledger->prompt_tokens);
    pen_number(pen, ",", "emitted_tokens", ledger->emitted_tokens);
    pen_number(pen, ",", "attempts", ledger->attempts);
    pen_number(pen, ",", "router_queue_us", ledger->router_queue_us);
    pen_number(pen, ",", "prefill_queue_us", ledger->prefill_queue_us);
    pen_number(pen, ",", "prefill_us", ledger->prefill_us);
    pen_number(pen, ",", "transfer_us", ledger->transfer_us);
    pen_number(pen, ",", "transfer_bytes", ledger->transfer_bytes);
    pen_number(pen, ",", "decode_queue_us", ledger->decode_queue_us);
    pen_number(pen, ",", "first_step_us", ledger->first_step_us);
    pen_number(pen, ",", "decode_us", ledger->decode_us);
    pen_number(pen, ",", "first_token_us", ledger->first_token_us);
}

static const char *state_name(enum router_req_state state)
{
    static const char *const names[] = {"queued", "prefill", "hand-over", "decode", "ended"};

    return names[state];
}

static void pen_running_one(struct json_pen *pen, const struct sight *sight,
                            const struct router_req *req)
{
    const struct wire_ledger ledger = ledger_of(req);
    const bool queued = req->state == ROUTER_QUEUED;

    pen_id(pen, "{", &req->id);
    pen_name(pen, ",", "state", state_name(req->state));
    pen_number(pen, ",", "age_us", age_us(sight, req->admitted_ns));
    pen_number(pen, ",", "max_tokens", req->sampling.max_tokens);
    pen_ledger(pen, &ledger);
    pen_name(pen, ",", "prefill_node", queued ? "" : req->p_name);
    pen_name(pen, ",", "decode_node", queued || req->d == ROUTER_NONE ? "" : req->d_name);
    pen_str(pen, "}");
}

static void pen_running(struct json_pen *pen, const struct sight *sight)
{
    const struct router *router = sight->router;
    uint32_t left = router->cfg.requests_max - router->n_free_reqs, n = 0;

    pen_str(pen, ",\"running\":[");
    for (uint32_t i = 0; left > 0 && n < VIEW_RUNNING_MAX; i++) {
        const struct router_req *req = &router->reqs[i];

        if (!req->used)
            continue;
        left--;
        if (req->state == ROUTER_ENDED)
            continue; /* its answer is still being read; it is among the others */
        pen_str(pen, n++ > 0 ? "," : "");
        pen_running_one(pen, sight, req);
    }
    pen_str(pen, "]");
}

static void pen_ended_one(struct json_pen *pen, const struct sight *sight,
                          const struct view_ended *ended)
{
    pen_number(pen, "{", "number", ended->number);
    pen_id(pen, ",", &ended->id);
    pen_number(pen, ",", "age_us", age_us(sight, ended->at_ns));
    pen_flag(pen, ",", "ok", ended->code == STATUS_DONE);
    pen_name(pen, ",", "status", status_name(ended->code));
    pen_name(pen, ",", "end", ended->end);
    pen_ledger(pen, &ended->ledger);
    pen_number(pen, ",", "total_us", ended->ledger.total_us);
    pen_name(pen, ",", "path", ended->path);
    pen_name(pen, ",", "prefill_node", ended->p_name);
    pen_name(pen, ",", "decode_node", ended->d_name);
    pen_str(pen, "}");
}

/* Oldest first. */
static void pen_ended(struct json_pen *pen, const struct sight *sight)
{
    const struct view *view = sight->view;
    const uint64_t kept = view->n_ended < VIEW_ENDED_MAX ? view->n_ended : VIEW_ENDED_MAX;
    uint64_t first = view->n_ended - kept;

    if (sight->since <= view->n_ended && sight->since > first)
        first = sight->since;
    pen_number(pen, ",", "last", view->n_ended);
    pen_str(pen, ",\"ended\":[");
    for (uint64_t i = first; i < view->n_ended; i++) {
        pen_str(pen, i > first ? "," : "");
        pen_ended_one(pen, sight, &view->ended[i % VIEW_ENDED_MAX]);
    }
    pen_str(pen, "]}");
}

static void write_sight(struct json_pen *pen, const void *what)
{
    const struct sight *sight = what;

    pen_fleet(pen, sight);
    pen_nodes(pen, sight);
    pen_pairs(pen, sight);
    pen_paths(pen, sight);
    pen_events(pen, sight);
    pen_running(pen, sight);
    pen_ended(pen, sight);
}

enum status view_write(const struct router *router, uint64_t since, struct buf *out)
{
    const struct clock_awake *awake = &router->awake;
    const struct sight sight = {.router = router,
                                .view = router->view,
                                .since = since,
                                .now_ns = awake->last_ns - awake->slept_ns};

    return pen_append(out, write_sight, &sight);
}
