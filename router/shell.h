/* The router's thin shell: two ROUTER sockets (one for nodes, one for clients), a timer and a hook
 * around the state machine of router.h. It decodes what comes, sends what the core posts, and tells
 * the core of every link that is gone. No decisions. Everything on the loop's thread. */
#pragma once

#include "base/loop.h"
#include "router/http_door.h"
#include "router/router.h"
#include "wire/zsock.h"

#define ROUTER_SHELL_WHY_MAX 512

struct router_shell;

struct router_shell_cfg {
    struct router_cfg core;
    struct zctx *zctx;
    uint32_t *numbers;         /* the process's counter of links */
    const char *nodes;         /* endpoint to bind for nodes */
    const char *clients;       /* endpoint to bind for clients */
    uint32_t clients_max;      /* client connections */
    struct http_door_cfg http; /* address NULL: no HTTP; reader, model and version are filled in */
    const struct keys *own;    /* CURVE on both doors, or NULL; the allow-list is open already */
    bool access_log;           /* a line for each request */
    uint32_t stats_ms;         /* how often to log the counts, where they have changed; 0: never */
    /* A request can be served now, or no more; called at each change. May be NULL. */
    void (*on_ready)(void *ctx, bool ready);
    /* After router_shell_drain: the last request has ended. May be NULL. */
    void (*on_idle)(void *ctx);
    void *ctx;
};

/* Creates the core and binds both doors. INVALID, EXISTS (address in use), IO, NO_MEMORY, and `why`
 * is a sentence for the user. */
enum status router_shell_open(const struct router_shell_cfg *cfg, struct loop *loop,
                              struct router_shell **out, char why[ROUTER_SHELL_WHY_MAX]);
/* NULL is nothing. */
void router_shell_close(struct router_shell *shell);
/* Admits nothing more; on_idle follows, at once or when the last request has ended. */
void router_shell_drain(struct router_shell *shell);
/* The real endpoints, with the port that was taken. */
const char *router_shell_nodes(const struct router_shell *shell);
const char *router_shell_clients(const struct router_shell *shell);
const char *router_shell_http(const struct router_shell *shell); /* "": there is none */
