/* `baton router|prefill|decode FLEET.yaml --name NAME`: one node in the foreground, for systemd,
 * Slurm, Kubernetes, and for `baton up`, which adds the options that are not in the help. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/machine.h"
#include "cli/routing.h"
#include "cli/words.h"
#include "cli/worker.h"

/* ZeroMQ sockets of a node: its doors, or its door and all it connects to. */
#define NODE_SOCKETS_EXTRA 4u

static const char help[] =
    "Usage: baton %s FLEET.yaml --name NAME [--OPTION VALUE ...]\n\n"
    "Runs one node of the fleet in the foreground until SIGTERM; then it finishes\n"
    "what it has and ends. Its status lines go to stdout, its log to stderr.\n\n"
    "  --name NAME      which node; not needed where the file has one of this role\n"
    "  --insecure       listen beyond loopback without keys\n"
    "  --OPTION VALUE   any option of the file: see configs/reference.yaml\n";

/* The node to run: named, or the only one of its role. NULL after a complaint. */
static const struct fleet_node *choose(const struct fleet *fleet, enum options_role role,
                                       const char *name)
{
    const struct fleet_node *found = NULL;
    size_t n = 0;

    for (size_t i = 0; i < fleet->n_nodes; i++) {
        const struct fleet_node *node = &fleet->nodes[i];

        if (node->role != role || (name && strcmp(node->name, name) != 0))
            continue;
        found = node;
        n++;
    }
    if (n == 1)
        return found;
    if (name)
        process_complain("%s has no %s node named '%s'", fleet->path, fleet_role_name(role), name);
    else
        process_complain("%s has %zu %s nodes: say which one with --name", fleet->path, n,
                         fleet_role_name(role));
    return NULL;
}

/* Sockets that lie in the folder of `baton up` are known to nobody else. */
static bool addresses_known(const struct fleet *fleet, const struct fleet_node *own)
{
    for (size_t i = 0; i < fleet->n_nodes; i++) {
        const struct fleet_node *node = &fleet->nodes[i];

        if (fleet_reach(node)[0] || !node->is_auto || (node != own && node->role != OPTIONS_ROUTER))
            continue;
        process_complain("%s: node '%s' has no address, and 'auto' is known to `baton up` alone: "
                         "give it one, as  listen: 10.0.0.5:7000",
                         node->where, node->name);
        return false;
    }
    return true;
}

/* Threads of a worker: as told, else its share as `baton up` has reckoned it, else all. */
static uint32_t threads_of(const struct fleet *fleet, const char *share)
{
    const uint32_t n = fleet->n_threads ? fleet->n_threads
                       : share          ? (uint32_t)strtoul(share, NULL, 10)
                                        : machine_cpus();

    return n < 1 ? 1 : n > DEVICE_THREADS_MAX ? DEVICE_THREADS_MAX : n;
}

/* What `baton up` adds is taken out of the words. */
static struct process_args args_of(const struct fleet *fleet, enum options_role role,
                                   struct words *words)
{
    const uint64_t peers = (uint64_t)cfg_int(fleet->cfg, "kv.peers_max");
    const char *crashbox = words_value(words, "--crashbox-fd");
    const char *parent = words_value(words, "--supervised");
    const bool alone = words_flag(words, "--alone-here");
    struct process_args args = {.parent = parent ? atol(parent) : 0,
                                .crashbox_fd = crashbox ? atoi(crashbox) : -1,
                                .n_threads = threads_of(fleet, words_value(words, "--share"))};

    args.pin = alone && args.n_threads < machine_cpus(); /* one is left for the I/O thread */
    if (role == OPTIONS_ROUTER) {
        args.sockets_max = NODE_SOCKETS_EXTRA;
        /* ZeroMQ's connections and HTTP's. */
        args.descriptors = 2 * (uint64_t)cfg_int(fleet->cfg, "router.clients_max") +
                           (uint64_t)cfg_int(fleet->cfg, "router.nodes_max");
        return args;
    }
    args.sockets_max = NODE_SOCKETS_EXTRA + BOND_ROUTERS_MAX + (uint32_t)peers;
    args.descriptors = peers * (KVT_UCX_DESCRIPTORS_EACH + 6) + 6 * BOND_ROUTERS_MAX;
    return args;
}

static enum exit_code run_node(const struct fleet *fleet, enum options_role role,
                               struct words *words)
{
    const char *name = words_value(words, "--name");
    struct process_args args = args_of(fleet, role, words);
    const struct fleet_node *node;
    struct process process;
    struct served *served;
    char why[FLEET_WHY_MAX];
    enum exit_code code;

    if (words->n > 0) {
        process_complain("%s: '%s' is not understood; see baton %s --help", fleet_role_name(role),
                         words->at[0], fleet_role_name(role));
        return EXIT_USAGE;
    }
    node = choose(fleet, role, name);
    if (!node || !addresses_known(fleet, node))
        return node ? EXIT_CONFIG : EXIT_USAGE;
    if (served_open(fleet, &served, why) != STATUS_OK) {
        process_complain("%s", why);
        return EXIT_CONFIG;
    }
    args.served = served;
    if (process_open(&process, fleet, node, &args) == STATUS_OK) {
        code = role == OPTIONS_ROUTER ? routing_run(&process) : worker_run(&process);
        process_close(&process);
    } else {
        code = process.exit_code;
    }
    served_close(served);
    return code;
}

static enum exit_code command_node(enum options_role role, int n_args, char **args)
{
    char **rest = mem_alloc_zero((size_t)n_args + 1, sizeof(*rest));
    struct words words = {.at = args, .n = n_args};
    enum exit_code code = EXIT_USAGE;
    char why[FLEET_WHY_MAX];
    struct fleet *fleet;
    const char *run;
    int n_rest = 0;

    if (n_args == 0 || words_flag(&words, "--help") || args[0][0] == '-' || !rest) {
        fprintf(n_args == 0 ? stderr : stdout, help, fleet_role_name(role));
        mem_free(rest);
        return n_args == 0 ? EXIT_USAGE : EXIT_DONE;
    }
    run = words_value(&words, "--run-folder");
    if (fleet_load(args[0], run, words.n - 1, args + 1, rest, &n_rest, &fleet, why) != STATUS_OK) {
        process_complain("%s", why);
        code = EXIT_CONFIG;
    } else {
        struct words left = {.at = rest, .n = n_rest};

        code = run_node(fleet, role, &left);
        fleet_destroy(fleet);
    }
    mem_free(rest);
    return code;
}

enum exit_code command_router(int n_args, char **args)
{
    return command_node(OPTIONS_ROUTER, n_args, args);
}

enum exit_code command_prefill(int n_args, char **args)
{
    return command_node(OPTIONS_PREFILL, n_args, args);
}

enum exit_code command_decode(int n_args, char **args)
{
    return command_node(OPTIONS_DECODE, n_args, args);
}
