/* What the metrics mirror, read when somebody asks: the core's counts, its nodes, the HTTP server,
 * the process. And the text. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "router/meters_inside.h"

/* A row for each of ROUTER_COUNTS. Levels are gauges, the rest only grows. */
static const struct {
    size_t offset;
    bool level;
    const char *name, *help;
} count_rows[] = {
#define ROW(member, level, name, help)                                                             \
    {                                                                                              \
        offsetof(struct router_counts, member), level, name, help                                  \
    }
    ROW(nodes, true, "baton_nodes", "Nodes that have joined this router."),
    ROW(nodes_ready, true, "baton_nodes_ready", "Of these, ready to serve."),
    ROW(pairs, true, "baton_pairs",
        "Pairs of a prefill and a decode node with a verified "
        "transfer."),
    ROW(blocks, true, "baton_kv_blocks", "KV blocks of all nodes."),
    ROW(blocks_free, true, "baton_kv_blocks_free", "Of these, free."),
    ROW(sequences, true, "baton_sequences", "Sequences on all nodes, of all routers."),
    ROW(requests, true, "baton_requests", "Requests that this router holds, in all states."),
    ROW(queued, true, "baton_requests_queued", "Of these, waiting for a node."),
    ROW(admitted, false, "baton_requests_admitted_total", "Requests that were taken."),
    ROW(refused, false, "baton_requests_refused_total",
        "Requests that were refused at once; bodies that HTTP refuses are in "
        "baton_http_requests_total."),
    ROW(done, false, "baton_requests_done_total", "Requests computed to their end."),
    ROW(failed, false, "baton_requests_failed_total", "Requests that ended with an error."),
    ROW(cancelled, false, "baton_requests_cancelled_total",
        "Requests that were cancelled, or whose client left."),
    ROW(tokens, false, "baton_tokens_total", "Tokens emitted."),
    ROW(resubmitted, false, "baton_requests_resubmitted_total",
        "New attempts of requests, after a loss or for want of room."),
    ROW(rereserved, false, "baton_requests_rereserved_total",
        "Requests that another decode node was asked for."),
    ROW(nodes_joined, false, "baton_nodes_joined_total", "Joins of nodes."),
    ROW(nodes_lost, false, "baton_nodes_lost_total", "Nodes that were lost, or left."),
    ROW(nodes_refused, false, "baton_nodes_refused_total",
        "Nodes refused for another model, numerics or protocol."),
    ROW(sessions_broken, false, "baton_sessions_broken_total",
        "Sessions with nodes that the router ended."),
    ROW(messages_stale, false, "baton_messages_stale_total",
        "Messages of nodes that came too late and were dropped."),
    ROW(tokens_doubled, false, "baton_tokens_doubled_total",
        "Copies of tokens that were there already."),
    ROW(tokens_differing, false, "baton_tokens_differing_total",
        "Of these, with another value: must be 0."),
    ROW(quarantined, false, "baton_prompts_quarantined_total",
        "Prompts kept out for having crashed nodes."),
#undef ROW
};
_Static_assert(N_OF(count_rows) == METERS_COUNTS, "a row for each count");

enum status meters_make_counts(struct meters *meters)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; i < N_OF(count_rows) && status == STATUS_OK; i++)
        status = count_rows[i].level
                     ? meters_make_gauge(meters, count_rows[i].name, count_rows[i].help, NULL, 0,
                                         &meters->counts[i].gauge)
                     : meters_make_counter(meters, count_rows[i].name, count_rows[i].help, NULL, 0,
                                           &meters->counts[i].counter);
    return status;
}

/* ---- when somebody asks ---- */

/* Brings a counter to what others count. */
static void mirror(struct metric_counter *counter, uint64_t value)
{
    const uint64_t before = metric_counter_value(counter);

    metric_counter_add(counter, value > before ? value - before : 0);
}

static void read_counts(struct meters *meters, const struct router *core)
{
    struct router_counts counts;

    router_counts(core, &counts);
    counts.refused += meters->n_texts_refused;
    for (size_t i = 0; i < N_OF(count_rows); i++) {
        uint64_t value;

        memcpy(&value, (const char *)&counts + count_rows[i].offset, sizeof(value));
        if (count_rows[i].level)
            metric_gauge_set(meters->counts[i].gauge, (double)value);
        else
            mirror(meters->counts[i].counter, value);
    }
    metric_gauge_set(meters->ready, router_ready(core));
    metric_gauge_set(meters->running, router_n_running(core));
    metric_gauge_set(meters->waiting, (double)counts.queued);
}

static enum status node_gauges(struct meters *meters, struct meter_node *node)
{
    const struct metric_label labels[] = {{"node", node->name},
                                          {"role", wire_role_name(node->role)}};
    const struct {
        struct metric_gauge **out;
        const char *name, *help;
    } rows[] = {
        {&node->up, "baton_node_up", "1 while the node has joined this router."},
        {&node->ready, "baton_node_ready", "1 while it beats, does not drain and is not stuck."},
        {&node->blocks, "baton_node_kv_blocks", "KV blocks of the node."},
        {&node->blocks_free, "baton_node_kv_blocks_free", "Of these, free."},
        {&node->seqs, "baton_node_sequences", "Sequences there, of all routers."},
        {&node->reqs, "baton_node_requests", "Requests of this router that are with it."},
    };
    enum status status = STATUS_OK;

    for (size_t i = 0; i < N_OF(rows) && status == STATUS_OK; i++)
        status = meters_make_gauge(meters, rows[i].name, rows[i].help, labels, 2, rows[i].out);
    return status;
}

/* Kept when the node has gone, so that its `up` of 0 shows. A node more than the limit has no
 * gauges: whoever renames nodes all day has them in the log. */
static struct meter_node *node_find(struct meters *meters, const struct router_node_view *view)
{
    struct meter_node *node = meters->nodes;

    while (node && (node->role != view->role || strcmp(node->name, view->name) != 0))
        node = node->next;
    if (node || meters->n_nodes == WIRE_NODES_MAX)
        return node;
    node = mem_alloc_zero(1, sizeof(*node));
    if (!node)
        return NULL;
    snprintf(node->name, sizeof(node->name), "%s", view->name);
    node->role = view->role;
    node->next = meters->nodes;
    meters->nodes = node;
    meters->n_nodes++;
    if (node_gauges(meters, node) != STATUS_OK)
        LOG_WARN("router", "no metrics for a node: out of memory", log_str("node", node->name));
    return node;
}

static void read_nodes(struct meters *meters, const struct router *core, uint32_t nodes_max)
{
    uint64_t blocks = 0, blocks_free = 0;
    struct router_node_view view;

    for (struct meter_node *node = meters->nodes; node; node = node->next)
        node->seen = false;
    for (uint32_t i = 0; i < nodes_max; i++) {
        struct meter_node *node;

        if (!router_node_view(core, i, &view))
            continue;
        if (view.role == WIRE_ROLE_DECODE) {
            blocks += view.blocks;
            blocks_free += view.blocks_free;
        }
        node = node_find(meters, &view);
        if (!node)
            continue;
        node->seen = true;
        metric_gauge_set(node->ready, view.ready);
        metric_gauge_set(node->blocks, view.blocks);
        metric_gauge_set(node->blocks_free, view.blocks_free);
        metric_gauge_set(node->seqs, view.n_seqs);
        metric_gauge_set(node->reqs, view.n_reqs);
    }
    for (struct meter_node *node = meters->nodes; node; node = node->next) {
        metric_gauge_set(node->up, node->seen);
        if (node->seen)
            continue;
        metric_gauge_set(node->ready, 0);
        metric_gauge_set(node->blocks, 0);
        metric_gauge_set(node->blocks_free, 0);
        metric_gauge_set(node->seqs, 0);
        metric_gauge_set(node->reqs, 0);
    }
    metric_gauge_set(meters->kv_usage,
                     blocks > 0 ? (double)(blocks - blocks_free) / (double)blocks : 0);
    metric_gauge_set(meters->gpu_cache_usage, metric_gauge_value(meters->kv_usage));
}

static void read_http(struct meters *meters, const struct http_server_counts *http)
{
    metric_gauge_set(meters->conns, http->open);
    mirror(meters->conns_accepted, http->accepted);
    mirror(meters->conns_refused, http->refused);
    mirror(meters->http_cut, http->cut);
}

static void read_memory(struct meters *meters)
{
    const long page = sysconf(_SC_PAGESIZE);
    unsigned long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return;
    if (fscanf(file, "%lu %lu", &pages, &resident) == 2) {
        metric_gauge_set(meters->virtual, (double)pages * (double)page);
        metric_gauge_set(meters->resident, (double)resident * (double)page);
    }
    fclose(file);
}

/* By hand: a counter that is no whole number. */
static enum status print_cpu(struct buf *out)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return STATUS_OK;
    return buf_printf(out,
                      "# HELP process_cpu_seconds_total CPU time of the router, user and system.\n"
                      "# TYPE process_cpu_seconds_total counter\n"
                      "process_cpu_seconds_total %.6f\n",
                      (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                          (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / US_PER_S);
}

enum status meters_print(struct meters *meters, const struct router *core,
                         const struct http_server_counts *http, struct buf *out)
{
    enum status status;

    read_counts(meters, core);
    read_nodes(meters, core, router_nodes_max(core));
    read_http(meters, http);
    read_memory(meters);
    status = metric_print(meters->registry, out);
    return status == STATUS_OK ? print_cpu(out) : status;
}
