/* Reads a fleet file and checks what the table alone cannot: nodes, addresses, pool sizes, keys. */
#include "cli/fleet.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "cli/allow.h"
#include "cli/http_keys.h"
#include "kernels/device.h"
#include "wire/bond.h"
#include "wire/kvgeom.h"

enum status fleet_refuse(char why[FLEET_WHY_MAX], const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, FLEET_WHY_MAX, fmt, args);
    va_end(args);
    return STATUS_INVALID;
}

/* ---- addresses ---- */

enum status fleet_endpoint(const char *text, char out[WIRE_NAME_MAX + 1], char *why, size_t why_len)
{
    const bool has_scheme = strstr(text, "://") != NULL;
    const char *address = has_scheme ? strstr(text, "://") + 3 : text;
    const bool is_tcp = !has_scheme || strncmp(text, "tcp://", 6) == 0;
    const bool is_ipc = strncmp(text, "ipc://", 6) == 0;
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    const long port = colon ? strtol(colon + 1, &end, 10) : -1;

    if (!is_tcp && !is_ipc) {
        snprintf(why, why_len, "expected host:port, tcp://host:port or ipc://path, found '%.120s'",
                 text);
        return STATUS_INVALID;
    }
    if (is_tcp && (!colon || colon == address || end == colon + 1 || *end != '\0' || port < 0 ||
                   port > 65535)) {
        snprintf(why, why_len, "expected host:port with a port from 0 to 65535, found '%.120s'",
                 text);
        return STATUS_INVALID;
    }
    if (strlen(text) + 6 > WIRE_NAME_MAX) {
        snprintf(why, why_len, "an address has at most %d characters", WIRE_NAME_MAX - 6);
        return STATUS_INVALID;
    }
    snprintf(out, WIRE_NAME_MAX + 1, "%s%s", has_scheme ? "" : "tcp://", text);
    return STATUS_OK;
}

static bool is_wildcard(const char *endpoint)
{
    return strncmp(endpoint, "tcp://0.0.0.0:", 14) == 0 || strncmp(endpoint, "tcp://*:", 8) == 0 ||
           strncmp(endpoint, "tcp://[::]:", 11) == 0;
}

static bool has_port_0(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');

    return strncmp(endpoint, "tcp://", 6) == 0 && colon && strcmp(colon, ":0") == 0;
}

/* ---- nodes ---- */

static bool name_is_good(const char *name)
{
    return name[0] != '.' && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"
                                               "XYZ0123456789-_.")] == '\0';
}

/* One address option of a node, or nothing where it is not given. */
static enum status read_address(const struct cfg *item, const char *path, char *out, char *why)
{
    char reason[256];

    if (cfg_str(item, path)[0] == '\0')
        return STATUS_OK;
    if (fleet_endpoint(cfg_str(item, path), out, reason, sizeof(reason)) != STATUS_OK)
        return fleet_refuse(why, "%s: %s: %s", cfg_origin_text(item, path), path, reason);
    return STATUS_OK;
}

static enum status read_listen(const struct fleet *fleet, const struct cfg *item,
                               struct fleet_node *node, char *why)
{
    char path[PATH_MAX + 80];

    node->is_auto = strcmp(cfg_str(item, "listen"), "auto") == 0;
    if (node->role == OPTIONS_DECODE) {
        if (cfg_origin(item, "listen") != CFG_FROM_DEFAULT)
            return fleet_refuse(why, "%s: a decode node does not listen: remove this line",
                                cfg_origin_text(item, "listen"));
        node->is_auto = false;
        return STATUS_OK;
    }
    if (!node->is_auto)
        return read_address(item, "listen", node->listen, why);
    snprintf(path, sizeof(path), "ipc://%s/%s", fleet->run, node->name);
    if (strlen(path) > 100) /* a socket's path has 108 bytes */
        return fleet_refuse(
            why, "the folder for private sockets, %s, has too long a name: set TMPDIR", fleet->run);
    if (fleet->run[0])
        snprintf(node->listen, sizeof(node->listen), "%.100s", path);
    return STATUS_OK;
}

static enum status read_node(const struct fleet *fleet, const struct cfg *item,
                             struct fleet_node *node, char *why)
{
    enum status status;

    snprintf(node->name, sizeof(node->name), "%s", cfg_str(item, "name"));
    node->role = (enum options_role)cfg_enum(item, "role");
    node->where = cfg_origin_text(item, "");
    if (!name_is_good(node->name))
        return fleet_refuse(why, "%s: name: expected letters, digits, '-', '_' and '.', found '%s'",
                            cfg_origin_text(item, "name"), node->name);
    if (node->role != OPTIONS_ROUTER && cfg_origin(item, "clients") != CFG_FROM_DEFAULT)
        return fleet_refuse(why, "%s: only a router has clients: remove this line",
                            cfg_origin_text(item, "clients"));
    if (node->role != OPTIONS_ROUTER && cfg_origin(item, "http") != CFG_FROM_DEFAULT)
        return fleet_refuse(why, "%s: only a router speaks HTTP: remove this line",
                            cfg_origin_text(item, "http"));
    status = read_listen(fleet, item, node, why);
    if (status == STATUS_OK)
        status = read_address(item, "advertise", node->advertise, why);
    if (status == STATUS_OK)
        status = read_address(item, "clients", node->clients, why);
    if (status == STATUS_OK)
        status = read_address(item, "http", node->http, why);
    if (status != STATUS_OK)
        return status;
    if (node->role == OPTIONS_ROUTER && !node->clients[0])
        snprintf(node->clients, sizeof(node->clients), "tcp://%s", FLEET_CLIENTS_DEFAULT);
    if (is_wildcard(node->listen) && !node->advertise[0])
        return fleet_refuse(why,
                            "%s: listen on every address leaves open where others connect to: give "
                            "'advertise' too, such as advertise: 10.0.0.5:7000",
                            cfg_origin_text(item, "listen"));
    if (has_port_0(node->listen) && node->role == OPTIONS_ROUTER)
        return fleet_refuse(why, "%s: nodes must know a router's port: give one, or use auto",
                            cfg_origin_text(item, "listen"));
    return STATUS_OK;
}

/* Whether both cannot be bound: the same address, of one machine also the same port where one of
 * them takes it on every address. Nodes of several machines may well look the same with those. */
static bool collide(const char *a, const char *b, bool one_machine)
{
    const char *a_port = strrchr(a, ':'), *b_port = strrchr(b, ':');

    if (!a[0] || !b[0] || has_port_0(a) || has_port_0(b))
        return false;
    if (!is_wildcard(a) && !is_wildcard(b))
        return strcmp(a, b) == 0;
    return one_machine && strncmp(a, "tcp://", 6) == 0 && strncmp(b, "tcp://", 6) == 0 && a_port &&
           b_port && strcmp(a_port, b_port) == 0;
}

/* What would be found only when one of two cannot start. */
static enum status check_pair(const struct fleet_node *a, const struct fleet_node *b, char *why)
{
    static const char *const names[] = {"listen", "clients", "http"};
    static const char *const others[] = {"127.0.0.1:7001", "127.0.0.1:5556", "127.0.0.1:8001"};
    const char *const of_a[] = {a->listen, a->clients, a->http};
    const char *const of_b[] = {b->listen, b->clients, b->http};

    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < (a == b ? i : 3); k++)
            if (collide(of_a[i], of_b[k], a == b))
                return fleet_refuse(why,
                                    "%s: node '%s': %s: %s is also %s of '%s': give each its own "
                                    "address, such as %s: %s",
                                    a->where, a->name, names[i], of_a[i], names[k], b->name,
                                    names[i], others[i]);
    return STATUS_OK;
}

static enum status check_distinct(const struct fleet *fleet, char *why)
{
    for (size_t i = 0; i < fleet->n_nodes; i++) {
        for (size_t k = 0; k <= i; k++) {
            enum status status = check_pair(&fleet->nodes[i], &fleet->nodes[k], why);

            if (status != STATUS_OK)
                return status;
        }
    }
    return STATUS_OK;
}

static enum status read_nodes(struct fleet *fleet, char *why)
{
    uint32_t n_of[3] = {0, 0, 0};

    fleet->n_nodes = cfg_items(fleet->cfg, OPTIONS_NODES);
    fleet->nodes = mem_alloc_zero(fleet->n_nodes + 1, sizeof(*fleet->nodes));
    if (!fleet->nodes)
        return fleet_refuse(why, "out of memory");
    for (size_t i = 0; i < fleet->n_nodes; i++) {
        enum status status =
            read_node(fleet, cfg_item(fleet->cfg, OPTIONS_NODES, i), &fleet->nodes[i], why);

        if (status != STATUS_OK)
            return status;
        n_of[fleet->nodes[i].role]++;
    }
    for (size_t role = 0; role < 3; role++)
        if (n_of[role] == 0)
            return fleet_refuse(
                why,
                "%s: there is no %s node: a fleet needs a router, a prefill and a decode "
                "node, as  - { name: x, role: %s }  under nodes:",
                fleet->path, fleet_role_name((enum options_role)role),
                fleet_role_name((enum options_role)role));
    if (n_of[OPTIONS_ROUTER] > BOND_ROUTERS_MAX)
        return fleet_refuse(why, "%s: a fleet has at most %u routers", fleet->path,
                            BOND_ROUTERS_MAX);
    return check_distinct(fleet, why);
}

/* ---- what options mean together ---- */

static enum status check_sizes(struct fleet *fleet, char *why)
{
    const char *threads = cfg_str(fleet->cfg, "engine.threads");
    char *end = NULL;
    long n;

    if (cfg_int(fleet->cfg, "engine.chunk_max") % KVGEOM_BLOCK_TOKENS != 0)
        return fleet_refuse(why, "engine.chunk_max is %lld (%s): expected a multiple of 64",
                            (long long)cfg_int(fleet->cfg, "engine.chunk_max"),
                            cfg_origin_text(fleet->cfg, "engine.chunk_max"));
    if (strcmp(threads, "auto") == 0)
        return STATUS_OK;
    n = strtol(threads, &end, 10);
    if (end == threads || *end != '\0' || n < 1 || n > (long)DEVICE_THREADS_MAX)
        return fleet_refuse(
            why, "%s: engine.threads: expected auto or a number from 1 to %u, found '%s'",
            cfg_origin_text(fleet->cfg, "engine.threads"), DEVICE_THREADS_MAX, threads);
    fleet->n_threads = (uint32_t)n;
    return STATUS_OK;
}

static enum status check_network(const struct fleet *fleet, char *why)
{
    if (cfg_enum(fleet->cfg, "kv.network") == OPTIONS_NETWORK_PRIVATE)
        return STATUS_OK;
    for (size_t i = 0; i < cfg_list_count(fleet->cfg, "kv.devices"); i++)
        if (strcmp(cfg_list_at(fleet->cfg, "kv.devices", i), "lo") != 0)
            return fleet_refuse(
                why,
                "%s: kv.devices: '%s' reaches beyond loopback, and who reaches a UCX port "
                "can write into the process. Set kv.network: private if only trusted "
                "machines are on that network, else use lo",
                cfg_origin_text(fleet->cfg, "kv.devices"),
                cfg_list_at(fleet->cfg, "kv.devices", i));
    return STATUS_OK;
}

bool fleet_http_exposed(const struct fleet_node *node)
{
    char reason[ZSOCK_WHY_MAX];

    return node->http[0] && zsock_check_exposure(node->http, false, false, reason) != STATUS_OK;
}

static enum status check_exposure(const struct fleet *fleet, char *why)
{
    for (size_t i = 0; i < fleet->n_nodes; i++) {
        const struct fleet_node *node = &fleet->nodes[i];
        char reason[ZSOCK_WHY_MAX];

        if ((node->listen[0] && zsock_check_exposure(node->listen, fleet->keys[0] != '\0',
                                                     fleet->insecure, reason) != STATUS_OK) ||
            (node->clients[0] && zsock_check_exposure(node->clients, fleet->keys[0] != '\0',
                                                      fleet->insecure, reason) != STATUS_OK))
            return fleet_refuse(why, "%s: node '%s': %s", node->where, node->name, reason);
        if (fleet_http_exposed(node) && !http_keys_given(fleet) && !fleet->insecure)
            return fleet_refuse(
                why,
                "%s: node '%s': http: %s would answer anybody who can reach this "
                "machine. Name a file of API keys as http.keys, or set BATON_API_KEY; or "
                "listen at 127.0.0.1, or start with --insecure.",
                node->where, node->name, node->http + strlen("tcp://"));
    }
    return STATUS_OK;
}

/* What the file names is relative to its own folder. */
static void find_keys(const struct fleet *fleet, const char *option, char out[PATH_MAX])
{
    const char *keys = cfg_str(fleet->cfg, option);
    const char *slash = strrchr(fleet->path, '/');

    if (keys[0] == '\0')
        return;
    if (keys[0] == '/' || !slash)
        snprintf(out, PATH_MAX, "%s", keys);
    else
        snprintf(out, PATH_MAX, "%.*s/%s", (int)(slash - fleet->path), fleet->path, keys);
}

bool fleet_is_listed(const char *list, const char *name)
{
    const size_t len = strlen(name);

    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == '\0'))
            return true;
    }
    return !list;
}

uint32_t fleet_count(const struct fleet *fleet, const char *list, bool routers)
{
    uint32_t n = 0;

    for (size_t i = 0; i < fleet->n_nodes; i++)
        n += (fleet->nodes[i].role == OPTIONS_ROUTER) == routers &&
             fleet_is_listed(list, fleet->nodes[i].name);
    return n;
}

static enum status check_keys_of(const struct fleet *fleet, const char *name, char *why)
{
    char path[PATH_MAX + 80];
    char key[KEYS_Z85_LEN + 1];
    char reason[KEYS_WHY_MAX];
    struct keys keys;
    enum status status;

    snprintf(path, sizeof(path), "%s/%s.key", fleet->keys, name);
    status = keys_load(path, &keys, reason);
    if (status != STATUS_OK)
        return fleet_refuse(why, "%s", reason);
    keys_wipe(&keys);
    return allow_find(fleet, name, key, why);
}

static enum status check_http_keys(const struct fleet *fleet, char *why)
{
    struct http_keys keys = {.n = 0};
    const enum status status = http_keys_load(fleet, &keys, why);

    http_keys_wipe(&keys);
    return status;
}

enum status fleet_check_keys(const struct fleet *fleet, const char *only, char why[FLEET_WHY_MAX])
{
    enum status status = STATUS_OK;

    for (size_t i = 0; i < fleet->n_nodes && fleet->keys[0] && status == STATUS_OK; i++)
        if (fleet_is_listed(only, fleet->nodes[i].name))
            status = check_keys_of(fleet, fleet->nodes[i].name, why);
    for (size_t i = 0; i < fleet->n_nodes && status == STATUS_OK; i++)
        if (fleet->nodes[i].http[0] && fleet_is_listed(only, fleet->nodes[i].name))
            status = check_http_keys(fleet, why);
    return status == STATUS_OK ? STATUS_OK : STATUS_INVALID;
}

/* ---- loading ---- */

static enum status load_sources(struct fleet *fleet, int n_args, char *const *args, char **rest,
                                int *n_rest, char *why)
{
    struct cfg_error error;
    enum status status = cfg_load_file(fleet->cfg, fleet->path, &error);

    if (status == STATUS_OK)
        status = cfg_load_env(fleet->cfg, environ, &error);
    if (status == STATUS_OK)
        status = cfg_load_args(fleet->cfg, n_args, args, rest, n_rest, &error);
    if (status == STATUS_OK)
        status = cfg_finish(fleet->cfg, &error);
    if (status != STATUS_OK)
        snprintf(why, FLEET_WHY_MAX, "%s", error.text);
    return status;
}

/* Takes --insecure out of the words that are left. */
static bool take_insecure(char **rest, int *n_rest)
{
    int n = 0;
    bool found = false;

    for (int i = 0; i < *n_rest; i++) {
        if (strcmp(rest[i], "--insecure") == 0)
            found = true;
        else
            rest[n++] = rest[i];
    }
    *n_rest = n;
    return found;
}

enum status fleet_load(const char *path, const char *run, int n_args, char *const *args,
                       char **rest, int *n_rest, struct fleet **out, char why[FLEET_WHY_MAX])
{
    struct fleet *fleet = mem_alloc_zero(1, sizeof(*fleet));
    enum status status;

    snprintf(why, FLEET_WHY_MAX, "out of memory");
    if (!fleet)
        return STATUS_NO_MEMORY;
    snprintf(fleet->path, sizeof(fleet->path), "%s", path);
    snprintf(fleet->run, sizeof(fleet->run), "%s", run ? run : "");
    status = cfg_create(options_schema(), &fleet->cfg);
    if (status == STATUS_OK)
        status = load_sources(fleet, n_args, args, rest, n_rest, why);
    if (status == STATUS_OK) {
        fleet->insecure = take_insecure(rest, n_rest) || cfg_bool(fleet->cfg, "security.insecure");
        find_keys(fleet, "security.keys", fleet->keys);
        find_keys(fleet, "http.keys", fleet->http_keys);
        status = read_nodes(fleet, why);
    }
    if (status == STATUS_OK)
        status = check_sizes(fleet, why);
    if (status == STATUS_OK)
        status = check_network(fleet, why);
    if (status == STATUS_OK)
        status = check_exposure(fleet, why);
    if (status != STATUS_OK) {
        fleet_destroy(fleet);
        return status;
    }
    *out = fleet;
    return STATUS_OK;
}

void fleet_destroy(struct fleet *fleet)
{
    if (!fleet)
        return;
    cfg_destroy(fleet->cfg);
    mem_free(fleet->nodes);
    mem_free(fleet);
}

/* ---- looking ---- */

const struct fleet_node *fleet_find(const struct fleet *fleet, const char *name)
{
    for (size_t i = 0; i < fleet->n_nodes; i++)
        if (strcmp(fleet->nodes[i].name, name) == 0)
            return &fleet->nodes[i];
    return NULL;
}

const char *fleet_reach(const struct fleet_node *node)
{
    return node->advertise[0] ? node->advertise : node->listen;
}

const struct fleet_node *fleet_find_endpoint(const struct fleet *fleet, const char *endpoint)
{
    for (size_t i = 0; i < fleet->n_nodes; i++)
        if (strcmp(fleet_reach(&fleet->nodes[i]), endpoint) == 0)
            return &fleet->nodes[i];
    return NULL;
}

const char *fleet_role_name(enum options_role role)
{
    static const char *const names[] = {"router", "prefill", "decode"};

    return names[role];
}

/* ---- what the parts below want ---- */

static uint32_t number(const struct fleet *fleet, const char *path)
{
    return (uint32_t)cfg_int(fleet->cfg, path); /* the table's ranges fit */
}

static uint32_t millis(const struct fleet *fleet, const char *path)
{
    return (uint32_t)cfg_ms(fleet->cfg, path);
}

static const char *join_list(const struct cfg *cfg, const char *path, char text[1024])
{
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < cfg_list_count(cfg, path) && len < 1024; i++)
        len += (size_t)snprintf(text + len, 1024 - len, "%s%s", i > 0 ? "," : "",
                                cfg_list_at(cfg, path, i));
    return text;
}

struct kvt_ucx_cfg fleet_ucx_cfg(const struct fleet *fleet, char texts[3][1024])
{
    struct kvt_ucx_cfg cfg = kvt_ucx_cfg_default();

    cfg.devices = join_list(fleet->cfg, "kv.devices", texts[0]);
    cfg.tls = join_list(fleet->cfg, "kv.transports", texts[1]);
    cfg.local_tls = join_list(fleet->cfg, "kv.local_transports", texts[2]);
    cfg.network_private = cfg_enum(fleet->cfg, "kv.network") == OPTIONS_NETWORK_PRIVATE;
    cfg.peers_max = number(fleet, "kv.peers_max");
    return cfg;
}

struct router_cfg fleet_router_cfg(const struct fleet *fleet)
{
    return (struct router_cfg){.nodes_max = number(fleet, "router.nodes_max"),
                               .requests_max = number(fleet, "router.requests_max"),
                               .queue_max = number(fleet, "router.queue_max"),
                               .prefill_depth = number(fleet, "router.prefill_depth"),
                               .attempts_max = number(fleet, "router.attempts_max"),
                               .deadline_ms = millis(fleet, "router.deadline"),
                               .queue_ms = millis(fleet, "router.queue"),
                               .resume_ms = millis(fleet, "router.resume")};
}
