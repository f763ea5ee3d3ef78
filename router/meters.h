/* What /metrics tells, in Prometheus' text format: own names (baton_*), and vLLM's with its
 * buckets, so that gateways, autoscalers and dashboards made for it work unchanged. Counts that
 * others keep (the core, its nodes, the HTTP server, the process) are read when somebody asks; the
 * rest is fed here as it happens, without memory, lock or system call per token. All on the loop's
 * thread. */
#pragma once

#include "base/buf.h"
#include "router/http_door.h"
#include "router/http_server.h"
#include "router/watch.h"

#define METERS_TEXT_MAX ((size_t)16 << 20)

struct meters;

struct meters_cfg {
    const char *model;
    const char *version;
    const struct http_key *keys; /* [n_keys]; only their names are used */
    size_t n_keys;
};

/* NO_MEMORY. */
enum status meters_create(const struct meters_cfg *cfg, struct meters **out);
void meters_destroy(struct meters *meters); /* NULL is nothing */

/* ---- what happens; all ignore a NULL ---- */
/* As of struct router_watch. */
void meters_first(struct meters *meters, uint64_t after_ns, uint32_t n_prompt);
void meters_token(struct meters *meters, uint64_t after_ns);
/* key: its place in cfg.keys; cfg.n_keys or more: none. */
void meters_over(struct meters *meters, const struct router_over *over, size_t key);
/* A text was refused before the core saw it. */
void meters_refused(struct meters *meters);
/* An HTTP request is answered. `route` is constant text. */
void meters_answered(struct meters *meters, const char *route, unsigned code, size_t key);

/* Appends all. TOO_BIG, NO_MEMORY. */
enum status meters_print(struct meters *meters, const struct router *core,
                         const struct http_server_counts *http, struct buf *out);
