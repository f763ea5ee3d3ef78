/* A prefill node cut from the decode nodes, as where a switch fails: the router and p1 here, p0 in
 * one network namespace, the decode nodes in another, a bridge between. The cut: each side takes
 * the other's hardware address for one that nobody has. No device goes down, nothing is refused, no
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
    "- { name: p0, role: prefill, listen: '198.18.%u.2:%d' }\n"
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

static unsigned subnet(void)
{
    return (unsigned)getpid() % 250;
}

/* A namespace with a device c at 198.18.N.host, on the bridge. */
static bool plug(char which, unsigned host)
{
    const int id = getpid();

    return ip("netns add bc%c-%d", which, id) &&
           ip("link add b%c-%d type veth peer name c netns bc%c-%d", which, id, which, id) &&
           ip("link set b%c-%d master bb-%d up", which, id, id) &&
           ip("-n bc%c-%d addr add 198.18.%u.%u/24 dev c", which, id, subnet(), host) &&
           ip("-n bc%c-%d link set c up", which, id);
}

static bool lay_cables(void)
{
    const int id = getpid();

    return ip("link add bb-%d type bridge", id) &&
           ip("addr add 198.18.%u.1/24 dev bb-%d", subnet(), id) && ip("link set bb-%d up", id) &&
           plug('p', 2) && plug('d', 3);
}

void network_clean(void)
{
    const int id = getpid();

    (void)ip("netns del bcp-%d", id);
    (void)ip("netns del bcd-%d", id);
    (void)ip("link del bp-%d", id);
    (void)ip("link del bd-%d", id);
    (void)ip("link del bb-%d", id);
}

static void cut_cables(bool cut)
{
    const char *how = cut ? "replace" : "del";
    const char *nobody = cut ? "lladdr 02:00:00:00:00:99 nud permanent" : "";
    const int id = getpid();

    CHECK(ip("-n bcp-%d neigh %s 198.18.%u.3 %s dev c", id, how, subnet(), nobody));
    CHECK(ip("-n bcd-%d neigh %s 198.18.%u.2 %s dev c", id, how, subnet(), nobody));
}

/* ---- the fleet ---- */

/* In the namespace of that letter; 0: here. */
static void start(struct chaos *chaos, const char *role, const char *name, char which)
{
    char path[256], netns[64], option[64];
    char *args[] = {(char *)"baton", (char *)role, path, (char *)"--name",
                    (char *)name,    option,       NULL};

    snprintf(path, sizeof(path), "%s/network.yaml", chaos->folder);
    snprintf(netns, sizeof(netns), "/run/netns/bc%c-%d", which, getpid());
    if (which)
        snprintf(option, sizeof(option), "--kv.devices=c");
    else
        snprintf(option, sizeof(option), "--kv.devices=bb-%d", getpid());
    fleet_start(chaos, name, args, which ? netns : NULL);
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
    char text[4096], path[256];

    memset(fleet, 0, sizeof(*fleet));
    fleet->n_routers = 1;
    snprintf(fleet->clients[0], sizeof(fleet->clients[0]), "ipc://%s/clients", chaos->folder);
    snprintf(text, sizeof(text), network_yaml, oracle->geom.n_layers, oracle->geom.n_kv_heads,
             oracle->geom.head_dim, oracle->geom.elem_bytes, (unsigned long long)oracle->model_seed,
             oracle->step_us, oracle->row_us, oracle->token_us, subnet(), fleet_free_port(),
             fleet->clients[0], subnet(), fleet_free_port(), subnet(), fleet_free_port());
    fleet_write(chaos, "network.yaml", text, path);
    snprintf(path, sizeof(path), "%s/fleet.log", chaos->folder);
    fleet->log = fopen(path, "ae");
    start(chaos, "router", "r0", 0);
    start(chaos, "prefill", "p0", 'p');
    start(chaos, "prefill", "p1", 0);
    start(chaos, "decode", "d0", 'd');
    start(chaos, "decode", "d1", 'd');
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
    cut_cables(true);
    result->has_detected =
        chaos_until(chaos, is_cut, NULL, CHAOS_WAIT_MS, "the pairs of p0 to be given up");
    result->detected_ms = chaos_now_ms() - begin;
    wanted = chaos->load.n_done + 2 * LANES;
    chaos_until(chaos, has_done, &wanted, CHAOS_WAIT_MS, "answers while p0 is cut");
    cut_cables(false);
    chaos_until(chaos, serves, NULL, CHAOS_WAIT_MS, "the pairs of p0 to stand again");
    faults_settle(chaos);
    if (chaos->fleet.n_losses > 0)
        chaos_violation(chaos, "the router lost a node that it could reach");
    faults_end(chaos, result);
}

bool network_cut(struct chaos *chaos, struct chaos_result *result)
{
    faults_begin(chaos, result);
    if (!lay_cables()) {
        fprintf(stderr, "chaos: skipped: this system refuses network namespaces\n");
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
