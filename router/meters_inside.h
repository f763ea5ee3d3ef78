/* The inside of the meters, shared by meters.c (which there are, and what happens) and
 * meters_read.c (what is read when somebody asks). */
#pragma once

#include "base/metric.h"
#include "router/meters.h"
#include "router/router.h"

#define SERIES_MAX 256u /* routes and their codes; statuses */
#define METERS_COUNTS (sizeof(struct router_counts) / sizeof(uint64_t))
#define US_PER_S 1e6
#define N_OF(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Which histogram; those from H_V_FIRST on have vLLM's names. */
enum {
    H_FIRST,
    H_GAP,
    H_TOTAL,
    H_ROUTER_QUEUE,
    H_PREFILL_QUEUE,
    H_PREFILL,
    H_TRANSFER,
    H_DECODE_QUEUE,
    H_DECODE,
    H_V_FIRST,
    H_V_GAP,
    H_V_PER_TOKEN,
    H_V_TOTAL,
    H_V_QUEUE,
    H_V_PREFILL,
    H_V_DECODE,
    H_V_INFERENCE,
    H_V_MEAN,
    H_V_PROMPT,
    H_V_GENERATION,
    N_HISTOGRAMS
};

enum { END_STOP, END_LENGTH, END_ABORT, END_ERROR, N_ENDS };

struct series {
    const char *route; /* NULL: none known */
    unsigned code;     /* of HTTP, or a status */
    struct metric_counter *counter;
};

/* A role of a node: one that changes it is a second one. */
struct meter_node {
    struct meter_node *next;
    char name[WIRE_NAME_MAX + 1];
    enum wire_role role;
    bool seen; /* there, at this printing */
    struct metric_gauge *up, *ready, *blocks, *blocks_free, *seqs, *reqs;
};

struct meter_key {
    struct metric_counter *requests, *prompt_tokens, *generation_tokens;
};

struct meters {
    struct metric_registry *registry;
    struct metric_label model;
    union {
        struct metric_counter *counter;
        struct metric_gauge *gauge;
    } counts[METERS_COUNTS];
    struct metric_histogram *histograms[N_HISTOGRAMS];
    struct metric_counter *ends[N_ENDS];
    struct metric_counter *prompt_tokens, *generation_tokens, *transfer_bytes, *sent;
    struct metric_gauge *ready, *running, *waiting, *kv_usage, *gpu_cache_usage;
    struct metric_gauge *conns, *resident, *virtual, *started;
    struct metric_counter *conns_accepted, *conns_refused, *http_cut;
    struct series answers[SERIES_MAX], failures[SERIES_MAX];
    size_t n_answers, n_failures;
    struct meter_node *nodes;
    uint32_t n_nodes;
    struct meter_key *keys; /* [n_keys] */
    size_t n_keys;
    uint64_t n_texts_refused;
};

/* ---- meters.c ---- */
enum status meters_make_counter(struct meters *meters, const char *name, const char *help,
                                const struct metric_label *labels, size_t n_labels,
                                struct metric_counter **out);
enum status meters_make_gauge(struct meters *meters, const char *name, const char *help,
                              const struct metric_label *labels, size_t n_labels,
                              struct metric_gauge **out);

/* ---- meters_read.c ---- */
enum status meters_make_counts(struct meters *meters);
