/* How Baton sets UCX up. Every setting that our safety or speed rests on is written here and wins
 * over UCX_* variables and /etc/ucx/ucx.conf; variables that we do not set still act, and each is
 * named in the log, so that nothing acts silently.
 *
 * UCX reads its process-wide options in a library constructor, before main: too early for setenv.
 * So they are changed afterwards, by the functions that libucs and libucm export for it. The
 * constructor has then already installed handlers for SIGSEGV and friends (which would hide our
 * crash from the supervisor behind minutes of backtrace) and for SIGHUP (which switches UCX to
 * debug logging); they are taken away again.
 *
 * I/O thread, at start. */
#include "kvtransfer/ucx_context.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ucm/api/ucm.h>
#include <ucs/config/global_opts.h>
#include <ucs/debug/debug.h>

#include "base/log.h"

#define NAMES_MAX 16    /* devices or transports in a list */
#define NAME_BYTES 64   /* one of them */
#define LIST_BYTES 1024 /* the whole list */

extern char **environ;

struct setting {
    const char *name, *value;
};

/* get_zcopy: the receiver reads (or, over TCP, copies); a put could land after the fence.
 * RNDV_THRESH 0: eager payloads would be buffered by UCX. KEEPALIVE: heartbeats are our own.
 * PROTO_ENABLE: the protocol engine these promises were tried with. */
static const struct setting settings_both[] = {
    {"RNDV_SCHEME", "get_zcopy"},
    {"RNDV_THRESH", "0"},
    {"KEEPALIVE_INTERVAL", "inf"},
    {"PROTO_ENABLE", "n"},
};

/* Options of transports go by their names inside UCX's own tables: with the prefix of the
 * environment variable (UCX_POSIX_, UCX_TCP_) ucp_config_modify accepts them too and they do
 * nothing. RX_BUFS_GROW: a pair starts with 1 MiB of /dev/shm instead of 4 MiB (containers often
 * have 64 MiB in all) and takes more only while offers lie unread, 8 KiB each. */
static const struct setting settings_local[] = {
    {"MM_RX_BUFS_GROW", "128"},
};

/* ZCOPY_THRESH: when a peer closes the connection in the middle of a zero-copy TCP send, UCX 1.13.1
 * completes that send twice (uct_tcp_ep_sendv) and its assertion aborts the sender: a fence at D
 * would kill P. Copied sends do not have that path; with segments of 256 KiB they are also faster
 * (loopback: 6-7 GB/s against 4-5 GB/s zero-copy in the default segments). */
static const struct setting settings_network[] = {
    {"ZCOPY_THRESH", "inf"},
    {"TX_SEG_SIZE", "256k"},
    {"RX_SEG_SIZE", "256k"},
};

/* Options in libucs, by ucs_global_opts_set_value. */
static const struct setting settings_global[] = {
    {"HANDLE_ERRORS", "none"}, {"ERROR_SIGNALS", ""},  {"WARN_UNUSED_ENV_VARS", "n"},
    {"VFS_ENABLE", "n"},       {"MEMTYPE_CACHE", "n"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_among(const struct setting *settings, size_t n, const char *name, size_t len)
{
    for (size_t i = 0; i < n; i++) {
        if (strlen(settings[i].name) == len && memcmp(settings[i].name, name, len) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_ours(const char *name, size_t len)
{
    static const struct setting more[] = {{"TLS", ""},
                                          {"NET_DEVICES", ""},
                                          {"SHM_DEVICES", ""},
                                          {"DEBUG_SIGNO", ""},
                                          {"MEM_EVENTS", ""},
                                          {"POSIX_RX_BUFS_GROW", ""},
                                          {"SYSV_RX_BUFS_GROW", ""},
                                          {"TCP_TX_SEG_SIZE", ""},
                                          {"TCP_RX_SEG_SIZE", ""}};
    return is_among(settings_both, COUNT(settings_both), name, len) ||
           is_among(settings_local, COUNT(settings_local), name, len) ||
           is_among(settings_network, COUNT(settings_network), name, len) ||
           is_among(settings_global, COUNT(settings_global), name, len) ||
           is_among(more, COUNT(more), name, len);
}

/* Says which UCX_* variables are overruled and which act. */
static void report_environment(void)
{
    for (char **at = environ; at != NULL && *at != NULL; at++) {
        const char *equals = strchr(*at, '=');
        if (strncmp(*at, "UCX_", 4) != 0 || equals == NULL ||
            strcmp(*at, "UCX_MEM_EVENTS=n") == 0) { /* what the program itself starts with */
            continue;
        }
        char name[NAME_BYTES];
        size_t len = (size_t)(equals - *at);
        snprintf(name, sizeof(name), "%.*s", (int)len, *at);
        if (is_ours(*at + 4, len - 4)) {
            LOG_WARN("kv", "ignored: Baton sets this UCX option itself", log_str("variable", name));
        } else {
            LOG_WARN("kv", "UCX takes this option from the environment", log_str("variable", name));
        }
    }
}

/* Takes UCX's handlers away; what was installed before them comes back. */
static void drop_signal_handlers(void)
{
    static const int signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGHUP};
    for (size_t i = 0; i < COUNT(signals); i++) {
        ucs_debug_disable_signal(signals[i]);
    }
}

void ucx_process_setup(void)
{
    report_environment();
    /* UCX reports every lost peer as an error of its own; we log those ourselves. Who wants to see
     * inside sets UCX_LOG_LEVEL, the one option of ours that the environment may change. The level
     * goes first: it silences the complaint about signals that UCX never took. */
    if (getenv("UCX_LOG_LEVEL") == NULL) {
        ucs_global_opts_set_value("LOG_LEVEL", "fatal");
    }
    for (size_t i = 0; i < COUNT(settings_global); i++) {
        ucs_status_t status =
            ucs_global_opts_set_value(settings_global[i].name, settings_global[i].value);
        if (status != UCS_OK) {
            LOG_WARN("kv", "UCX does not know this option",
                     log_str("option", settings_global[i].name),
                     log_str("error", ucs_status_string(status)));
        }
    }
    drop_signal_handlers();
    ucm_global_opts.enable_events = 0;
    ucm_global_opts.enable_malloc_hooks = 0;
    ucm_global_opts.enable_malloc_reloc = 0;
}

/* ---- judging the configuration ---- */

struct names {
    char name[NAMES_MAX][NAME_BYTES];
    size_t n;
};

/* Splits "a,b"; spaces around names are allowed. False if it is not such a list. */
static bool names_parse(const char *list, struct names *out)
{
    static const char legal[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-";
    out->n = 0;
    for (const char *at = list;; at++) {
        at += strspn(at, " ");
        size_t len = strspn(at, legal);
        if (len == 0 || len >= NAME_BYTES || out->n == NAMES_MAX) {
            return false;
        }
        memcpy(out->name[out->n], at, len);
        out->name[out->n++][len] = '\0';
        at += len;
        at += strspn(at, " ");
        if (*at == '\0') {
            return true;
        }
        if (*at != ',') {
            return false;
        }
    }
}

static void names_join(const struct names *names, char text[LIST_BYTES])
{
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < names->n && len < LIST_BYTES; i++) {
        len += (size_t)snprintf(text + len, LIST_BYTES - len, "%s%s", i ? "," : "", names->name[i]);
    }
}

enum device_kind { DEVICE_NONE, DEVICE_LOOPBACK, DEVICE_NETWORK, DEVICE_RDMA };

static enum device_kind device_kind(const char *name)
{
    enum device_kind kind = DEVICE_NONE;
    struct ifaddrs *all;
    if (getifaddrs(&all) == 0) {
        for (struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
            if (strcmp(at->ifa_name, name) == 0) {
                kind = (at->ifa_flags & IFF_LOOPBACK) ? DEVICE_LOOPBACK : DEVICE_NETWORK;
            }
        }
        freeifaddrs(all);
    }
    if (kind == DEVICE_NONE) { /* "mlx5_0:1" is port 1 of the adapter mlx5_0 */
        char path[NAME_BYTES + 32];
        snprintf(path, sizeof(path), "/sys/class/infiniband/%.*s", (int)strcspn(name, ":"), name);
        if (strchr(name, '/') == NULL && access(path, F_OK) == 0) {
            kind = DEVICE_RDMA;
        }
    }
    return kind;
}

static enum status check_devices(const struct kvt_ucx_cfg *cfg, char *error)
{
    struct names devices;
    if (!names_parse(cfg->devices, &devices)) {
        snprintf(
            error, KVT_UCX_ERROR_MAX,
            "kv.devices: expected device names like \"lo\" or \"eth0,mlx5_0:1\", found \"%.100s\"",
            cfg->devices);
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < devices.n; i++) {
        enum device_kind kind = device_kind(devices.name[i]);
        if (kind == DEVICE_NONE) {
            snprintf(error, KVT_UCX_ERROR_MAX,
                     "kv.devices: this machine has no network device \"%s\"; `ip link` lists them, "
                     "and RDMA ports are named like mlx5_0:1",
                     devices.name[i]);
            return STATUS_INVALID;
        }
        if (kind != DEVICE_LOOPBACK && !cfg->network_private) {
            snprintf(
                error, KVT_UCX_ERROR_MAX,
                "kv.devices: \"%s\" reaches beyond this machine, and whoever reaches a UCX port "
                "can write into the process; if only trusted machines are on that network, say "
                "kv.network: private, else use kv.devices: lo",
                devices.name[i]);
            return STATUS_DENIED;
        }
    }
    return STATUS_OK;
}

/* Each name of `list` must be among `allowed` (NULL-terminated). */
static enum status check_tls(const char *key, const char *list, const char *const *allowed,
                             char *error)
{
    struct names tls;
    if (!names_parse(list, &tls)) {
        snprintf(error, KVT_UCX_ERROR_MAX,
                 "%s: expected transport names like \"%s\", found \"%.100s\"", key, allowed[0],
                 list);
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < tls.n; i++) {
        size_t k = 0;
        while (allowed[k] != NULL && strcmp(allowed[k], tls.name[i]) != 0) {
            k++;
        }
        if (allowed[k] == NULL) {
            int len = snprintf(error, KVT_UCX_ERROR_MAX,
                               "%s: \"%s\" is not possible here; choose from", key, tls.name[i]);
            for (k = 0; allowed[k] != NULL && len < KVT_UCX_ERROR_MAX; k++) {
                len += snprintf(error + len, KVT_UCX_ERROR_MAX - (size_t)len, " %s", allowed[k]);
            }
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}

enum status ucx_cfg_check(const struct kvt_ucx_cfg *cfg, char *error)
{
    /* xpmem and knem map or write memory from the sender's side: the fence was not tried there. */
    static const char *const local[] = {"posix", "sysv", "cma", NULL};
    static const char *const network[] = {"tcp",  "rc", "rc_v", "rc_x", "dc",
                                          "dc_x", "ud", "ud_v", "ud_x", NULL};
    enum status status = check_tls("kv.transports", cfg->tls, network, error);
    if (status == STATUS_OK) {
        status = check_tls("kv.local_transports", cfg->local_tls, local, error);
    }
    if (status == STATUS_OK) {
        status = check_devices(cfg, error);
    }
    if (status == STATUS_OK && (cfg->peers_max == 0 || cfg->peers_max > KVT_UCX_PEERS_MAX)) {
        snprintf(error, KVT_UCX_ERROR_MAX, "kv.peers_max: expected 1 to %u, found %u",
                 KVT_UCX_PEERS_MAX, cfg->peers_max);
        status = STATUS_INVALID;
    }
    return status;
}

/* ---- contexts ---- */

static enum status config_set(ucp_config_t *config, const char *name, const char *value,
                              char *error)
{
    ucs_status_t status = ucp_config_modify(config, name, value);
    if (status != UCS_OK) {
        snprintf(error, KVT_UCX_ERROR_MAX, "UCX refuses %s=%.200s: %s", name, value,
                 ucs_status_string(status));
        return STATUS_UNSUPPORTED;
    }
    return STATUS_OK;
}

static enum status config_set_all(ucp_config_t *config, const struct setting *settings, size_t n,
                                  char *error)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < n; i++) {
        status = config_set(config, settings[i].name, settings[i].value, error);
    }
    return status;
}

static enum status config_fill(ucp_config_t *config, const struct kvt_ucx_cfg *cfg,
                               enum kvt_path path, char *error)
{
    bool local = path == KVT_PATH_LOCAL;
    struct names names;
    char tls[LIST_BYTES], devices[LIST_BYTES];
    names_parse(local ? cfg->local_tls : cfg->tls, &names);
    names_join(&names, tls);
    names_parse(cfg->devices, &names);
    names_join(&names, devices);
    const struct setting lists[] = {
        {"TLS", tls}, {"NET_DEVICES", local ? "all" : devices}, {"SHM_DEVICES", "all"}};
    enum status status = config_set_all(config, lists, COUNT(lists), error);
    if (status == STATUS_OK) {
        status = config_set_all(config, settings_both, COUNT(settings_both), error);
    }
    if (status == STATUS_OK && local) {
        status = config_set_all(config, settings_local, COUNT(settings_local), error);
    }
    if (status == STATUS_OK && !local) {
        status = config_set_all(config, settings_network, COUNT(settings_network), error);
    }
    return status;
}

enum status ucx_context_open(const struct kvt_ucx_cfg *cfg, enum kvt_path path, char *error,
                             ucp_context_h *out)
{
    ucp_config_t *config;
    ucs_status_t result = ucp_config_read(NULL, NULL, &config);
    if (result != UCS_OK) {
        snprintf(error, KVT_UCX_ERROR_MAX,
                 "UCX cannot read its configuration: %s; look at the "
                 "UCX_* variables and /etc/ucx/ucx.conf",
                 ucs_status_string(result));
        return STATUS_UNSUPPORTED;
    }
    enum status status = config_fill(config, cfg, path, error);
    if (status == STATUS_OK) {
        ucp_params_t params = {
            .field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME,
            .features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP,
            .name = path == KVT_PATH_LOCAL ? "baton-local" : "baton-network",
        };
        result = ucp_init(&params, config, out);
        if (result != UCS_OK) {
            snprintf(error, KVT_UCX_ERROR_MAX,
                     "UCX finds no device for %s=\"%.100s\" on \"%.100s\": %s; `ucx_info -d` lists "
                     "what it has",
                     path == KVT_PATH_LOCAL ? "kv.local_transports" : "kv.transports",
                     path == KVT_PATH_LOCAL ? cfg->local_tls : cfg->tls,
                     path == KVT_PATH_LOCAL ? "shared memory" : cfg->devices,
                     ucs_status_string(result));
            status = STATUS_UNSUPPORTED;
        }
    }
    ucp_config_release(config);
    return status;
}
