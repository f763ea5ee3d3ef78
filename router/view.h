/* What the fleet's page shows, as one JSON object: nodes, pairs, paths with what moved on them, the
 * requests that run, and those that ended lately with their ledgers. Numbers, names, states; never
 * a prompt, an answer or an error's sentence.
 *
 * The core feeds it one record for each request's end and each node's coming and going (a copy into
 * a ring, no allocation); the JSON is made when somebody looks. Loop's thread. */
#pragma once

#include "base/buf.h"
#include "router/router.h"

/* What one object holds at most; with these limits it is under VIEW_BYTES_MAX. */
#define VIEW_ENDED_MAX 128u
#define VIEW_EVENTS_MAX 64u
#define VIEW_PATHS_MAX 64u
#define VIEW_NODES_MAX 256u
#define VIEW_PAIRS_MAX 1024u
#define VIEW_RUNNING_MAX 64u
#define VIEW_BYTES_MAX ((size_t)4 << 20)

struct view;
struct router_req;
struct router_node;

enum status view_create(struct view **out); /* NO_MEMORY */
void view_destroy(struct view *view);       /* NULL is nothing */

/* The core's hooks; times are the core's own. */
void view_req_ended(struct view *view, const struct router_req *req, uint64_t now_ns);
void view_node_joined(struct view *view, const struct router_node *node, uint64_t now_ns);
void view_node_lost(struct view *view, const struct router_node *node, enum status why,
                    uint64_t now_ns);

/* Appends the object, all or nothing. `since`: of the ended requests only those numbered higher
 * ("last" of an earlier object; 0, or a number not given out yet: all that are kept). NO_MEMORY,
 * TOO_BIG. */
enum status view_write(const struct router *router, uint64_t since, struct buf *out);
