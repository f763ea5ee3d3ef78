/* A prefill node cut from the decode nodes, as where a switch fails: the router and two prefill
 * nodes here, two decode nodes in a network namespace, and two cables between. All but p0 is
 * reached over the first one; the second one is pulled and put back. Nothing is refused and no
 * connection breaks: there is only silence. */
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/chaos/chaos.h"

#define LANES 12u
#define WORDS_MAX 16

static const char network_yaml[] =
    "model: oracle\n"
    "oracle: { layers: %u, kv_heads: %u, head_dim: %u, elem_bytes: %u, seed: %llu,\n"
    "          step_us: %u, row_us: %u, token_us: %u }\n"
    "kv: { blocks: 512, network: private, shared_memory: false }\n"
    "engine: { len_max: 4096 }\n"
    "router: { resume: 3s, stats: 1s }\n"
    "drain: 20s\n"
    "security: { insecure: true }\n" /* the cables reach nobody else */
    "log: { level: debug, site_lines_per_s: 0 }\n"
    "nodes:\n"
    "- { name: r0, role: router, listen: '198.18.%u.1:%d', clients: '%s' }\n"
    "- { name: p0, role: prefill, listen: '198.18.%u.1:%d' }\n"
    "- { name: p1, role: prefill, listen: '198.18.%u.1:%d' }\n"
    "- { name: d0, role: decode }\n- { name: d1, role: decode }\n";

/* ---- cables ---- */

/* Runs `ip` with the words of the text; false if it fails. */
__attribute__((format(printf, 1, 2))) static bool ip(const char *fmt, ...)
{
    char text[256];
    char *words[WORDS_MAX + 1] = {(char *)"ip"};
    char *save = NULL;
    int n = 1, wait_status = -1;
    va_list list;
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;

    va_start(list, fmt);
    vsnprintf(text, sizeof(text), fmt, list);
    va_end(list);
    for (char *word = strtok_r(text, " ", &save); word && n < WORDS_MAX;
         word = strtok_r(NULL, " ", &save))
        words[n++] = word;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", 1, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", 1, 0);
    if (posix_spawnp(&pid, "ip", &actions, NULL, words, environ) == 0)
        while (waitpid(pid, &wait_status, 0) < 0) {
        }
    posix_spawn_file_actions_destroy(&actions);
    return wait_status == 0;
}

static unsigned subnet(unsigned cable)
{
    return 2 * ((unsigned)getpid() % 100) + cable;
}

static bool lay_cable(unsigned cable)
{
    const int id = getpid();

    return ip("link add bc%u-%d type veth peer name bd%u-%d netns baton-chaos-%d", cable, id, cable,
              id, id) &&
           ip("addr add 198.18.%u.1/24 dev bc%u-%d", subnet(cable), cable, id) &&
           ip("link set bc%u-%d up", cable, id) &&
           ip("-n baton-chaos-%d addr add 198.18.%u.2/24 dev bd%u-%d", id, subnet(cable), cable,
              id) &&
           ip("-n baton-chaos-%d link set bd%u-%d up", id, cable, id);
}

void network_clean(void)
{
    const int id = getpid();

    (void)ip("link del bc0-%d", id);
    (void)ip("link del bc1-%d", id);
    (void)ip("netns del baton-chaos-%d", id);
}

/* ---- the fleet ---- */

static void start(struct chaos *chaos, const char *role, const char *name, const char *devices)
{
    const bool inside = strcmp(role, "decode") == 0;
    char path[256], netns[64], option[128];
    char *args[] = {(char *)"baton",         (char *)role, path, (char *)"--name", (char *)name,
                    devices ? option : NULL, NULL};

    snprintf(path, sizeof(path), "%s/network.yaml", chaos->folder);
    snprintf(netns, sizeof(netns), "/run/netns/baton-chaos-%d", getpid());
    snprintf(option, sizeof(option), "--kv.devices=%s", devices ? devices : "");
    fleet_start(chaos, name, args, inside ? netns : NULL);
}

static bool serves(struct chaos *chaos, const void *arg)
{
    (void)arg;
    load_ask_stats(chaos, 0);
    return chaos->load.stats[0].pairs == 4;
}

static bool network_up(struct chaos *chaos)
{
    struct chaos_fleet *fleet = &chaos->fleet;
    const struct oracle_cfg *oracle = &chaos->oracle;
    const int id = getpid();
    char text[4096], path[256], near0[32], near1[32], far[64];

    memset(fleet, 0, sizeof(*fleet));
    fleet->n_routers = 1;
    snprintf(fleet->clients[0], sizeof(fleet->clients[0]), "ipc://%s/clients", chaos->folder);
    snprintf(text, sizeof(text), network_yaml, oracle->geom.n_layers, oracle->geom.n_kv_heads,
             oracle->geom.head_dim, oracle->geom.elem_bytes, (unsigned long long)oracle->model_seed,
             oracle->step_us, oracle->row_us, oracle->token_us, subnet(0), fleet_free_port(),
             fleet->clients[0], subnet(1), fleet_free_port(), subnet(0), fleet_free_port());
    fleet_write(chaos, "network.yaml", text, path);
    snprintf(path, sizeof(path), "%s/fleet.log", chaos->folder);
    fleet->log = fopen(path, "ae");
    snprintf(near0, sizeof(near0), "bc0-%d", id);
    snprintf(near1, sizeof(near1), "bc1-%d", id);
    snprintf(far, sizeof(far), "bd0-%d,bd1-%d", id, id);
    start(chaos, "router", "r0", NULL);
    start(chaos, "prefill", "p0", near1);
    start(chaos, "prefill", "p1", near0);
    start(chaos, "decode", "d0", far);
    start(chaos, "decode", "d1", far);
    fleet_add(fleet, "r0", CHAOS_ROUTER);
    fleet_add(fleet, "p0", CHAOS_PREFILL);
    fleet_add(fleet, "p1", CHAOS_PREFILL);
    fleet_add(fleet, "d0", CHAOS_DECODE);
    fleet_add(fleet, "d1", CHAOS_DECODE);
    load_open(chaos);
    return chaos_until(chaos, serves, NULL, CHAOS_WAIT_MS, "the fleet over the network");
}

/* ---- the scene ---- */

static bool has_begun(struct chaos *chaos, const void *arg)
{
    size_t n = 0;

    (void)arg;
    for (size_t i = 0; i < CHAOS_STREAMS_MAX; i++)
        n += chaos->load.streams[i].used && chaos->load.streams[i].n_got > 0;
    return n >= LANES / 2;
}

static bool is_cut(struct chaos *chaos, const void *arg)
{
    (void)arg;
    load_ask_stats(chaos, 0);
    return chaos->load.stats[0].pairs == 2;
}

static bool has_done(struct chaos *chaos, const void *arg)
{
    return chaos->load.n_done >= *(const uint64_t *)arg;
}

static void cut(struct chaos *chaos, struct chaos_result *result)
{
    uint64_t wanted;
    double begin;

    faults_baseline(chaos);
    faults_begin(chaos, result);
    chaos->load.lanes = LANES;
    chaos_until(chaos, has_begun, NULL, CHAOS_WAIT_MS, "the load to run");
    result->n_hit = load_n_open(chaos);
    begin = chaos_now_ms();
    CHECK(ip("link set bc1-%d down", getpid()));
    result->has_detected =
        chaos_until(chaos, is_cut, NULL, CHAOS_WAIT_MS, "the pairs of p0 to be given up");
    result->detected_ms = chaos_now_ms() - begin;
    wanted = chaos->load.n_done + 2 * LANES;
    chaos_until(chaos, has_done, &wanted, CHAOS_WAIT_MS, "answers while p0 is cut");
    CHECK(ip("link set bc1-%d up", getpid()));
    chaos_until(chaos, serves, NULL, CHAOS_WAIT_MS, "the pairs of p0 to stand again");
    faults_settle(chaos);
    if (chaos->fleet.n_losses > 0)
        chaos_violation(chaos, "the router lost a node that it could reach");
    faults_end(chaos, result);
}

bool network_cut(struct chaos *chaos, struct chaos_result *result)
{
    bool laid;

    faults_begin(chaos, result);
    if (!ip("netns add baton-chaos-%d", getpid())) {
        fprintf(stderr, "chaos: skipped: this system refuses network namespaces\n");
        return false;
    }
    laid = lay_cable(0) && lay_cable(1);
    if (!laid) {
        fprintf(stderr, "chaos: skipped: no cable into a network namespace\n");
        network_clean();
        return false;
    }
    if (network_up(chaos))
        cut(chaos, result);
    load_close(chaos);
    fleet_down(chaos);
    network_clean();
    return true;
}
