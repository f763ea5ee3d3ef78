/* A fleet file that has been read and checked as a whole: its nodes, where each is reached, who has
 * which key, and the configurations that the parts below want. Everything that can be wrong with a
 * file is said here, as one sentence with the place in the file; what depends on the model it names
 * is said by served.h, where the model is. Read-only after fleet_load. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "cli/options.h"
#include "kvtransfer/ucx_mover.h"
#include "router/router.h"
#include "wire/msg.h"
#include "wire/zsock.h"

#define FLEET_NAME_MAX 63
#define FLEET_WHY_MAX 1200
#define FLEET_CLIENTS_DEFAULT "127.0.0.1:5555"

struct fleet_node {
    char name[FLEET_NAME_MAX + 1];
    enum options_role role;
    char listen[WIRE_NAME_MAX + 1];    /* endpoint to bind; "": does not listen */
    char advertise[WIRE_NAME_MAX + 1]; /* endpoint to connect to; "": the one bound */
    char clients[WIRE_NAME_MAX + 1];   /* routers: endpoint to bind; else "" */
    char http[WIRE_NAME_MAX + 1];      /* routers: endpoint to bind; "": no HTTP */
    bool is_auto;                      /* `listen` lies in the run folder */
    const char *where;                 /* "fleet.yaml:12:5" */
};

struct fleet {
    struct cfg *cfg;
    char path[PATH_MAX];
    char run[PATH_MAX];       /* folder of the auto sockets; "": there is none */
    char keys[PATH_MAX];      /* folder of the keys; "": none */
    char http_keys[PATH_MAX]; /* file of the API keys; "": none */
    bool insecure;
    uint32_t n_threads;       /* of engine.threads; 0: auto */
    struct fleet_node *nodes; /* [n_nodes] */
    size_t n_nodes;
};

/* Reads the file, the environment and the options among args; what is left of args goes to rest as
 * cfg_load_args says, without --insecure. `run` may be NULL. INVALID, NOT_FOUND, ... with a
 * sentence in why. */
enum status fleet_load(const char *path, const char *run, int n_args, char *const *args,
                       char **rest, int *n_rest, struct fleet **out, char why[FLEET_WHY_MAX]);
/* NULL is nothing. */
void fleet_destroy(struct fleet *fleet);

/* NULL if there is none of this name. */
const struct fleet_node *fleet_find(const struct fleet *fleet, const char *name);
/* The node that others reach at this endpoint, or NULL. */
const struct fleet_node *fleet_find_endpoint(const struct fleet *fleet, const char *endpoint);
/* Where to connect to reach the node; of a router, `clients` asks for its other door. */
const char *fleet_reach(const struct fleet_node *node);
/* The router's name for its role; "router", "prefill", "decode". */
const char *fleet_role_name(enum options_role role);

/* Writes the sentence, cut to fit, and returns INVALID. */
__attribute__((format(printf, 2, 3))) enum status fleet_refuse(char why[FLEET_WHY_MAX],
                                                               const char *fmt, ...);

/* "host:port" gets tcp:// in front; what has a scheme stays. INVALID and a sentence. */
enum status fleet_endpoint(const char *text, char out[WIRE_NAME_MAX + 1], char *why,
                           size_t why_len);

/* Can the keys be read that these nodes need: their own, those on the list of everybody, and those
 * of HTTP?
 * INVALID and a sentence. NULL: every node of the file. */
enum status fleet_check_keys(const struct fleet *fleet, const char *only, char why[FLEET_WHY_MAX]);
/* Does its HTTP listen beyond loopback? */
bool fleet_http_exposed(const struct fleet_node *node);
/* Is the name in a list of names with commas, or the list NULL? */
bool fleet_is_listed(const char *list, const char *name);
/* Routers of the list, or what is no router: prefill and decode nodes. */
uint32_t fleet_count(const struct fleet *fleet, const char *list, bool routers);

/* ---- what the parts below want ---- */

/* devices, tls and local_tls are the joined lists, kept in `fleet`'s memory. */
struct kvt_ucx_cfg fleet_ucx_cfg(const struct fleet *fleet, char texts[3][1024]);
/* Everything but what the model says (cli/served.h), self, key and server. */
struct router_cfg fleet_router_cfg(const struct fleet *fleet);
