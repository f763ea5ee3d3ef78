/* Which metrics there are, and what happens. Tables name the histograms and what the ends of
 * requests count. Series whose labels come with time (a route with its code, a status; a node, in
 * meters_read.c) are made when they first occur, and their number has a limit. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "router/meters_inside.h"

/* ---- the tables ---- */

/* Own buckets: 100 us to 500 s, three to a decade. */
static const double fine_bounds[] = {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01,
                                     0.02,   0.05,   0.1,    0.2,   0.5,   1,     2,
                                     5,      10,     20,     50,    100,   200,   500};
/* vLLM's, for the three kinds of times that it has, and its 1-2-5 series for tokens. */
static const double first_bounds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                      0.25,  0.5,   0.75, 1,    2.5,  5,    7.5,  10,
                                      20,    40,    80,   160,  640,  2560};
static const double gap_bounds[] = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                    0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
static const double whole_bounds[] = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                      30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
static const double token_bounds[] = {1,     2,     5,     10,     20,     50,
                                      100,   200,   500,   1000,   2000,   5000,
                                      10000, 20000, 50000, 100000, 200000, 500000};

/* Those with vLLM's names have its label model_name. */
static const struct {
    const char *name, *help;
    const double *bounds;
    size_t n_bounds;
} histogram_rows[N_HISTOGRAMS] = {
#define ROW(bounds, name, help)                                                                    \
    {                                                                                              \
        name, help, bounds, N_OF(bounds)                                                           \
    }
    [H_FIRST] =
        ROW(fine_bounds, "baton_ttft_seconds", "From a request's admission to its first token."),
    [H_GAP] = ROW(fine_bounds, "baton_inter_token_seconds",
                  "From a token of an answer to its next, losses of nodes included."),
    [H_TOTAL] = ROW(fine_bounds, "baton_e2e_seconds",
                    "From admission to the end, of answers that "
                    "are done."),
    [H_ROUTER_QUEUE] =
        ROW(fine_bounds, "baton_router_queue_seconds", "Waiting in the router for a node."),
    [H_PREFILL_QUEUE] =
        ROW(fine_bounds, "baton_prefill_queue_seconds", "Waiting at the prefill node."),
    [H_PREFILL] = ROW(fine_bounds, "baton_prefill_seconds", "Computing the prompt."),
    [H_TRANSFER] =
        ROW(fine_bounds, "baton_transfer_seconds",
            "Moving the prompt's KV to the decode node, largely beside the prefill. Like the "
            "stages after it: of answers that end there, at no stop string."),
    [H_DECODE_QUEUE] = ROW(fine_bounds, "baton_decode_queue_seconds",
                           "Waiting at the decode node for a place in the batch."),
    [H_DECODE] = ROW(fine_bounds, "baton_decode_seconds",
                     "At the decode node, from its first step to the last token."),
    [H_V_FIRST] = ROW(first_bounds, "vllm:time_to_first_token_seconds", "As baton_ttft_seconds."),
    [H_V_GAP] =
        ROW(gap_bounds, "vllm:inter_token_latency_seconds", "As baton_inter_token_seconds."),
    [H_V_PER_TOKEN] =
        ROW(gap_bounds, "vllm:time_per_output_token_seconds", "The same under vLLM's older name."),
    [H_V_TOTAL] = ROW(whole_bounds, "vllm:e2e_request_latency_seconds", "As baton_e2e_seconds."),
    [H_V_QUEUE] = ROW(whole_bounds, "vllm:request_queue_time_seconds",
                      "Waiting in the router and at the prefill node."),
    [H_V_PREFILL] =
        ROW(whole_bounds, "vllm:request_prefill_time_seconds", "As baton_prefill_seconds."),
    [H_V_DECODE] = ROW(whole_bounds, "vllm:request_decode_time_seconds",
                       "From the first token to the end, hand-over included."),
    [H_V_INFERENCE] = ROW(whole_bounds, "vllm:request_inference_time_seconds",
                          "All but vllm:request_queue_time_seconds."),
    [H_V_MEAN] = ROW(gap_bounds, "vllm:request_time_per_output_token_seconds",
                     "Mean time per token after the first, of an answer."),
    [H_V_PROMPT] = ROW(token_bounds, "vllm:request_prompt_tokens", "Tokens of a prompt."),
    [H_V_GENERATION] = ROW(token_bounds, "vllm:request_generation_tokens", "Tokens of an answer."),
#undef ROW
};

static const char *const end_names[N_ENDS] = {"stop", "length", "abort", "error"};

/* ---- making ---- */

static struct metric_desc desc_of(const char *name, const char *help,
                                  const struct metric_label *labels, size_t n_labels)
{
    return (struct metric_desc){.name = name, .help = help, .labels = labels, .n_labels = n_labels};
}

enum status meters_make_counter(struct meters *meters, const char *name, const char *help,
                                const struct metric_label *labels, size_t n_labels,
                                struct metric_counter **out)
{
    const struct metric_desc desc = desc_of(name, help, labels, n_labels);

    return metric_counter_create(meters->registry, &desc, out);
}

enum status meters_make_gauge(struct meters *meters, const char *name, const char *help,
                              const struct metric_label *labels, size_t n_labels,
                              struct metric_gauge **out)
{
    const struct metric_desc desc = desc_of(name, help, labels, n_labels);

    return metric_gauge_create(meters->registry, &desc, out);
}

static enum status make_histograms(struct meters *meters)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; i < N_HISTOGRAMS && status == STATUS_OK; i++) {
        const struct metric_desc desc =
            desc_of(histogram_rows[i].name, histogram_rows[i].help, &meters->model, i >= H_V_FIRST);

        status = metric_histogram_create(meters->registry, &desc, histogram_rows[i].bounds,
                                         histogram_rows[i].n_bounds, &meters->histograms[i]);
    }
    return status;
}

static enum status make_ends(struct meters *meters)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; i < N_ENDS && status == STATUS_OK; i++) {
        const struct metric_label labels[] = {meters->model, {"finished_reason", end_names[i]}};

        status = meters_make_counter(meters, "vllm:request_success_total",
                                     "Requests that have ended, by their end.", labels, 2,
                                     &meters->ends[i]);
    }
    return status;
}

static enum status make_key(struct meters *meters, const char *name, struct meter_key *key)
{
    const struct metric_label label = {"key", name};
    enum status status =
        meters_make_counter(meters, "baton_key_requests_total",
                            "Answered HTTP requests by API key.", &label, 1, &key->requests);

    if (status == STATUS_OK)
        status = meters_make_counter(meters, "baton_key_prompt_tokens_total",
                                     "Prompt tokens by API key.", &label, 1, &key->prompt_tokens);
    if (status == STATUS_OK)
        status =
            meters_make_counter(meters, "baton_key_generation_tokens_total",
                                "Emitted tokens by API key.", &label, 1, &key->generation_tokens);
    return status;
}

static enum status make_keys(struct meters *meters, const struct meters_cfg *cfg)
{
    enum status status = STATUS_OK;

    meters->keys = mem_alloc_zero(cfg->n_keys + 1, sizeof(*meters->keys));
    if (!meters->keys)
        return STATUS_NO_MEMORY;
    meters->n_keys = cfg->n_keys;
    for (size_t i = 0; i < cfg->n_keys && status == STATUS_OK; i++)
        status = make_key(meters, cfg->keys[i].name, &meters->keys[i]);
    return status;
}

/* What has no table. */
static enum status make_rest(struct meters *meters)
{
    const struct metric_label *model = &meters->model;
    const struct {
        struct metric_counter **out;
        const char *name, *help;
        size_t n_labels;
    } counters[] = {
        {&meters->prompt_tokens, "vllm:prompt_tokens_total",
         "Prompt tokens of answers that have begun.", 1},
        {&meters->generation_tokens, "vllm:generation_tokens_total", "Tokens emitted.", 1},
        {&meters->transfer_bytes, "baton_transfer_bytes_total",
         "KV bytes moved to decode nodes, of answers that are done.", 0},
        {&meters->sent, "baton_tokens_sent_total",
         "Tokens that went to clients, of requests that are over.", 0},
        {&meters->conns_accepted, "baton_http_connections_total", "HTTP connections taken.", 0},
        {&meters->conns_refused, "baton_http_refused_total",
         "HTTP connections over the limit, and what came on others and was no request.", 0},
        {&meters->http_cut, "baton_http_cut_total",
         "HTTP answers whose reader left, or did not read.", 0},
    };
    const struct {
        struct metric_gauge **out;
        const char *name, *help;
        size_t n_labels;
    } gauges[] = {
        {&meters->ready, "baton_ready", "1 while requests can be served.", 0},
        {&meters->running, "vllm:num_requests_running", "Requests that are with a node.", 1},
        {&meters->waiting, "vllm:num_requests_waiting", "Requests waiting for a node.", 1},
        {&meters->kv_usage, "vllm:kv_cache_usage_perc",
         "Part of the decode nodes' KV blocks in use, 0 to 1.", 1},
        {&meters->gpu_cache_usage, "vllm:gpu_cache_usage_perc", "The same under vLLM's older name.",
         1},
        {&meters->conns, "baton_http_connections", "HTTP connections now.", 0},
        {&meters->resident, "process_resident_memory_bytes", "Resident memory of the router.", 0},
        {&meters->virtual, "process_virtual_memory_bytes", "Virtual memory of the router.", 0},
        {&meters->started, "process_start_time_seconds", "When the router started, Unix time.", 0},
    };
    enum status status = STATUS_OK;

    for (size_t i = 0; i < N_OF(counters) && status == STATUS_OK; i++)
        status = meters_make_counter(meters, counters[i].name, counters[i].help, model,
                                     counters[i].n_labels, counters[i].out);
    for (size_t i = 0; i < N_OF(gauges) && status == STATUS_OK; i++)
        status = meters_make_gauge(meters, gauges[i].name, gauges[i].help, model,
                                   gauges[i].n_labels, gauges[i].out);
    return status;
}

static enum status make_build(struct meters *meters, const struct meters_cfg *cfg)
{
    const struct metric_label labels[] = {{"version", cfg->version}, {"model", cfg->model}};
    struct metric_gauge *build;
    const enum status status = meters_make_gauge(
        meters, "baton_build_info", "Always 1; what runs is in the labels.", labels, 2, &build);

    if (status == STATUS_OK)
        metric_gauge_set(build, 1);
    return status;
}

enum status meters_create(const struct meters_cfg *cfg, struct meters **out)
{
    struct meters *meters = mem_alloc_zero(1, sizeof(*meters));
    enum status status;

    if (!meters)
        return STATUS_NO_MEMORY;
    meters->model = (struct metric_label){"model_name", cfg->model};
    status = metric_registry_create(&meters->registry);
    if (status == STATUS_OK)
        status = make_build(meters, cfg);
    if (status == STATUS_OK)
        status = meters_make_counts(meters);
    if (status == STATUS_OK)
        status = make_ends(meters);
    if (status == STATUS_OK)
        status = make_rest(meters);
    if (status == STATUS_OK)
        status = make_histograms(meters);
    if (status == STATUS_OK)
        status = make_keys(meters, cfg);
    if (status != STATUS_OK) {
        meters_destroy(meters);
        return status;
    }
    metric_gauge_set(meters->started, (double)time(NULL));
    *out = meters;
    return STATUS_OK;
}

void meters_destroy(struct meters *meters)
{
    if (!meters)
        return;
    while (meters->nodes) {
        struct meter_node *node = meters->nodes;

        meters->nodes = node->next;
        mem_free(node);
    }
    metric_registry_destroy(meters->registry);
    mem_free(meters->keys);
    mem_free(meters);
}

/* ---- what happens ---- */

static void observe_us(struct meters *meters, size_t histogram, uint64_t us)
{
    metric_histogram_observe(meters->histograms[histogram], (double)us / US_PER_S);
}

void meters_first(struct meters *meters, uint64_t after_ns, uint32_t n_prompt)
{
    const double after_s = (double)after_ns / (double)NS_PER_S;

    if (!meters)
        return;
    metric_histogram_observe(meters->histograms[H_FIRST], after_s);
    metric_histogram_observe(meters->histograms[H_V_FIRST], after_s);
    metric_counter_add(meters->prompt_tokens, n_prompt);
    metric_counter_add(meters->generation_tokens, 1);
}

void meters_token(struct meters *meters, uint64_t after_ns)
{
    const double after_s = (double)after_ns / (double)NS_PER_S;

    if (!meters)
        return;
    metric_histogram_observe(meters->histograms[H_GAP], after_s);
    metric_histogram_observe(meters->histograms[H_V_GAP], after_s);
    metric_histogram_observe(meters->histograms[H_V_PER_TOKEN], after_s);
    metric_counter_add(meters->generation_tokens, 1);
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0; /* parts are measured on two machines */
}

/* Of an answer that is done: its ledger is whole. Without a path no decode node took part. */
static void observe_ledger(struct meters *meters, const struct wire_ledger *ledger)
{
    const uint64_t queue_us = ledger->router_queue_us + ledger->prefill_queue_us;
    const uint64_t after_us = less(ledger->total_us, ledger->first_token_us);

    observe_us(meters, H_TOTAL, ledger->total_us);
    observe_us(meters, H_ROUTER_QUEUE, ledger->router_queue_us);
    observe_us(meters, H_PREFILL_QUEUE, ledger->prefill_queue_us);
    observe_us(meters, H_PREFILL, ledger->prefill_us);
    observe_us(meters, H_V_TOTAL, ledger->total_us);
    observe_us(meters, H_V_QUEUE, queue_us);
    observe_us(meters, H_V_PREFILL, ledger->prefill_us);
    observe_us(meters, H_V_DECODE, after_us);
    observe_us(meters, H_V_INFERENCE, less(ledger->total_us, queue_us));
    if (ledger->emitted_tokens > 1)
        observe_us(meters, H_V_MEAN, after_us / (ledger->emitted_tokens - 1));
    metric_histogram_observe(meters->histograms[H_V_PROMPT], ledger->prompt_tokens);
    metric_histogram_observe(meters->histograms[H_V_GENERATION], ledger->emitted_tokens);
    if (ledger->transfer_path.len == 0)
        return;
    observe_us(meters, H_TRANSFER, ledger->transfer_us);
    observe_us(meters, H_DECODE_QUEUE, ledger->decode_queue_us);
    observe_us(meters, H_DECODE, ledger->decode_us);
    metric_counter_add(meters->transfer_bytes, ledger->transfer_bytes);
}

/* The series of this route and code, made if this is its first; NULL where there is no room. */
static struct metric_counter *series_of(struct meters *meters, struct series *all, size_t *n,
                                        const char *route, unsigned code)
{
    struct series *one = &all[*n];
    char text[16];
    struct metric_label labels[] = {{"code", text}, {"route", route}};
    enum status status;

    for (size_t i = 0; i < *n; i++)
        if (all[i].code == code &&
            (all[i].route == route || (route && all[i].route && strcmp(all[i].route, route) == 0)))
            return all[i].counter;
    if (*n == SERIES_MAX)
        return NULL;
    *one = (struct series){.route = route, .code = code};
    if (route) {
        snprintf(text, sizeof(text), "%u", code);
        status = meters_make_counter(meters, "baton_http_requests_total",
                                     "HTTP requests by route and status code; 499: the client left "
                                     "before its answer was complete.",
                                     labels, 2, &one->counter);
    } else {
        labels[0] = (struct metric_label){"status", status_name((enum status)code)};
        status = meters_make_counter(meters, "baton_request_errors_total",
                                     "Admitted requests that did not end well, by cause.", labels,
                                     1, &one->counter);
    }
    if (status != STATUS_OK)
        return NULL;
    (*n)++;
    return one->counter;
}

static size_t end_of(const struct router_over *over)
{
    if (over->code == STATUS_DONE)
        return strcmp(over->reason, "length") == 0 ? END_LENGTH : END_STOP;
    return over->code == STATUS_CANCELLED ? END_ABORT : END_ERROR;
}

void meters_over(struct meters *meters, const struct router_over *over, size_t key)
{
    if (!meters)
        return;
    metric_counter_add(meters->ends[end_of(over)], 1);
    metric_counter_add(meters->sent, over->n_sent);
    if (over->code == STATUS_DONE)
        observe_ledger(meters, &over->ledger);
    else
        metric_counter_add(
            series_of(meters, meters->failures, &meters->n_failures, NULL, (unsigned)over->code),
            1);
    if (key >= meters->n_keys)
        return;
    if (over->ledger.emitted_tokens > 0)
        metric_counter_add(meters->keys[key].prompt_tokens, over->ledger.prompt_tokens);
    metric_counter_add(meters->keys[key].generation_tokens, over->ledger.emitted_tokens);
}

void meters_refused(struct meters *meters)
{
    if (meters)
        meters->n_texts_refused++;
}

void meters_answered(struct meters *meters, const char *route, unsigned code, size_t key)
{
    if (!meters)
        return;
    metric_counter_add(series_of(meters, meters->answers, &meters->n_answers, route, code), 1);
    if (key < meters->n_keys)
        metric_counter_add(meters->keys[key].requests, 1);
}
