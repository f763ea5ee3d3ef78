/* Faults on a fleet that lives on: killed, crashed, stopped and resumed processes of each role, at
 * a moment chosen by a probe, a long request whose way the router's log shows. */
#include <signal.h>
#include <string.h>

#include "base/check.h"
#include "tests/chaos/chaos.h"

#define LANES 12u
#define DEEP_MS 15.0          /* into the probe's prefill */
#define BLINK_MS 1000.0       /* a stop that nobody may take for a death */
#define ROUTER_STOP_MS 3500.0 /* long enough for nodes to give the router up */
#define SHORT_DEADLINE_MS 2000u

enum what { KILL, FREEZE, CRASH, BLINK, KILL_ALL, FREEZE_ALL };
enum phase { IDLE, PREFILL, HANDOVER, DECODE };

static const char *const phase_names[] = {"idle", "prefill", "hand-over", "decode"};

struct kind {
    const char *name;
    enum what what;
    enum chaos_role role;
    const char *phases; /* digits of enum phase */
};

static const struct kind kinds[] = {
    {"kill prefill", KILL, CHAOS_PREFILL, "0123"},
    {"kill decode", KILL, CHAOS_DECODE, "0123"},
    {"kill router", KILL, CHAOS_ROUTER, "0123"},
    {"freeze prefill", FREEZE, CHAOS_PREFILL, "0123"},
    {"freeze decode", FREEZE, CHAOS_DECODE, "0123"},
    {"freeze router", FREEZE, CHAOS_ROUTER, "0123"},
    {"crash prefill", CRASH, CHAOS_PREFILL, "1"},
    {"crash decode", CRASH, CHAOS_DECODE, "3"},
    {"stop 1 s: prefill", BLINK, CHAOS_PREFILL, "1"},
    {"stop 1 s: decode", BLINK, CHAOS_DECODE, "3"},
    {"stop 1 s: router", BLINK, CHAOS_ROUTER, "3"},
    {"all prefill killed", KILL_ALL, CHAOS_PREFILL, "1"},
    {"all decode killed", KILL_ALL, CHAOS_DECODE, "3"},
    {"all decode stopped, deadline", FREEZE_ALL, CHAOS_DECODE, "1"},
};

struct round {
    const struct kind *kind;
    enum phase phase;
    size_t router; /* whose probe it is */
    struct chaos_stream *probe;
    const char *victims[CHAOS_NODES_MAX];
    size_t n_victims;
    pid_t pids[CHAOS_NODES_MAX];
    double hit_ms, hit_wall_ms;
    uint64_t n_broken_links; /* before */
};

/* ---- what the fleet must be like between rounds ---- */

static bool stats_settled(const struct chaos *chaos, const struct chaos_stats *stats, double since)
{
    size_t n_of[3] = {0, 0, 0};

    for (size_t i = 0; i < chaos->fleet.n_nodes; i++)
        n_of[chaos->fleet.nodes[i].role]++;
    return stats->at_ms > since && stats->nodes_ready == n_of[CHAOS_PREFILL] + n_of[CHAOS_DECODE] &&
           stats->pairs == n_of[CHAOS_PREFILL] * n_of[CHAOS_DECODE] && stats->requests == 0 &&
           stats->queued == 0 && stats->sequences == 0 && stats->blocks_free == stats->blocks;
}

static bool is_settled(struct chaos *chaos, const void *arg)
{
    bool settled = true;

    for (size_t i = 0; i < chaos->fleet.n_routers; i++) {
        load_ask_stats(chaos, i);
        settled &= stats_settled(chaos, &chaos->load.stats[i], *(const double *)arg);
    }
    return settled;
}

static bool none_open(struct chaos *chaos, const void *arg)
{
    (void)arg;
    return load_n_open(chaos) == 0;
}

static bool files_closed(struct chaos *chaos, const void *arg)
{
    (void)arg;
    for (size_t i = 0; i < chaos->fleet.n_nodes; i++) {
        struct chaos_node *node = &chaos->fleet.nodes[i];
        const size_t n = fleet_n_files(chaos, node->name);

        if (node->n_files > 0 && (n == 0 || n > node->n_files))
            return false;
    }
    return true;
}

static void tell_unsettled(struct chaos *chaos)
{
    for (size_t i = 0; i < chaos->fleet.n_routers; i++) {
        const struct chaos_stats *stats = &chaos->load.stats[i];

        fprintf(stderr,
                "  router %zu: nodes_ready %llu pairs %llu blocks %llu free %llu sequences %llu "
                "requests %llu queued %llu, %.0f ms ago\n",
                i, (unsigned long long)stats->nodes_ready, (unsigned long long)stats->pairs,
                (unsigned long long)stats->blocks, (unsigned long long)stats->blocks_free,
                (unsigned long long)stats->sequences, (unsigned long long)stats->requests,
                (unsigned long long)stats->queued, chaos_now_ms() - stats->at_ms);
    }
    for (size_t i = 0; i < chaos->fleet.n_nodes; i++)
        fprintf(stderr, "  %s: process %d, %zu descriptors, %zu when new\n",
                chaos->fleet.nodes[i].name, fleet_pid(chaos, chaos->fleet.nodes[i].name),
                fleet_n_files(chaos, chaos->fleet.nodes[i].name), chaos->fleet.nodes[i].n_files);
}

bool faults_settle(struct chaos *chaos)
{
    double since;
    bool settled;

    chaos->load.lanes = 0;
    /* Each stream has its own bound; this one only ends the wait. */
    settled = chaos_until(chaos, none_open, NULL, 1e9, "all streams to end");
    since = chaos_now_ms();
    settled = settled && chaos_until(chaos, is_settled, &since, CHAOS_WAIT_MS,
                                     "all nodes back, all blocks free, all pairs whole");
    settled = settled && chaos_until(chaos, files_closed, NULL, CHAOS_WAIT_MS,
                                     "as many descriptors as in the beginning");
    if (!settled)
        tell_unsettled(chaos);
    return settled;
}

static bool has_answered(struct chaos *chaos, const void *arg)
{
    return chaos->load.n_done >= *(const uint64_t *)arg;
}

void faults_baseline(struct chaos *chaos)
{
    const uint64_t wanted = chaos->load.n_done + 2 * LANES;

    chaos->load.lanes = LANES;
    chaos_until(chaos, has_answered, &wanted, CHAOS_WAIT_MS, "the first answers");
    faults_settle(chaos);
    for (size_t i = 0; i < chaos->fleet.n_nodes; i++)
        chaos->fleet.nodes[i].n_files = fleet_n_files(chaos, chaos->fleet.nodes[i].name);
}

/* ---- counting ---- */

void faults_begin(struct chaos *chaos, struct chaos_result *result)
{
    const struct chaos_load *load = &chaos->load;

    *result = (struct chaos_result){.n_done = load->n_done,
                                    .n_failed = load->n_failed,
                                    .n_asked_again = load->n_asked_again,
                                    .n_violations = chaos->n_violations};
    chaos->fleet.n_losses = 0;
}

void faults_end(struct chaos *chaos, struct chaos_result *result)
{
    const struct chaos_load *load = &chaos->load;

    result->n_done = load->n_done - result->n_done;
    result->n_failed = load->n_failed - result->n_failed;
    result->n_asked_again = load->n_asked_again - result->n_asked_again;
    result->n_violations = chaos->n_violations - result->n_violations;
}

/* ---- the moment ---- */

static bool is_running(struct chaos *chaos, const void *arg)
{
    size_t n = 0;

    (void)arg;
    for (size_t i = 0; i < CHAOS_STREAMS_MAX; i++)
        n += chaos->load.streams[i].used && chaos->load.streams[i].n_got > 0;
    return n >= LANES / 3;
}

static bool is_moment(struct chaos *chaos, const void *arg)
{
    const struct round *round = arg;
    const struct chaos_stream *probe = round->probe;
    const struct chaos_place *place = load_place(chaos, probe);

    if (probe->ended)
        return true; /* too late */
    if (!place)
        return false;
    if (round->phase == PREFILL)
        return probe->n_got > 0 || chaos_now_ms() - place->at_ms >= DEEP_MS;
    return probe->n_got >= (round->phase == HANDOVER ? 1 : 10);
}

static bool is_in_phase(const struct round *round)
{
    const uint32_t n_got = round->probe->n_got;

    if (round->probe->ended)
        return false;
    if (round->phase == PREFILL)
        return n_got == 0;
    return round->phase == HANDOVER ? n_got == 1 : n_got >= 10;
}

static void aim(struct chaos *chaos, struct round *round, struct chaos_result *result)
{
    const struct kind *kind = round->kind;
    const bool is_last = kind->what == FREEZE_ALL;
    const struct chaos_place *place;

    if (round->phase == IDLE)
        return;
    chaos->load.lanes = LANES;
    chaos_until(chaos, is_running, NULL, CHAOS_WAIT_MS, "the load to run");
    round->probe = load_probe(chaos, round->router, is_last ? SHORT_DEADLINE_MS : 0);
    chaos_until(chaos, is_moment, round, CHAOS_WAIT_MS, "the probe's phase");
    result->missed = !is_in_phase(round);
    place = load_place(chaos, round->probe);
    if (place && kind->role == CHAOS_PREFILL)
        round->victims[0] = fleet_node(&chaos->fleet, place->prefill)->name;
    if (place && kind->role == CHAOS_DECODE)
        round->victims[0] = fleet_node(&chaos->fleet, place->decode)->name;
}

static void choose(struct chaos *chaos, struct round *round, uint32_t number)
{
    const struct kind *kind = round->kind;
    const bool all = kind->what == KILL_ALL || kind->what == FREEZE_ALL;
    size_t n_seen = 0;

    if (round->victims[0] && !all) {
        round->n_victims = 1;
        return;
    }
    for (size_t i = 0; i < chaos->fleet.n_nodes; i++) {
        struct chaos_node *node = &chaos->fleet.nodes[i];

        if (node->role != kind->role)
            continue;
        if (all || n_seen == (kind->role == CHAOS_ROUTER ? round->router : number % 2))
            round->victims[round->n_victims++] = node->name;
        n_seen++;
    }
}

/* ---- the fault ---- */

static void strike(struct chaos *chaos, struct round *round, struct chaos_result *result)
{
    static const int signals[] = {[KILL] = SIGKILL,  [FREEZE] = SIGSTOP,   [CRASH] = SIGSEGV,
                                  [BLINK] = SIGSTOP, [KILL_ALL] = SIGKILL, [FREEZE_ALL] = SIGSTOP};
    const int signum = signals[round->kind->what];

    for (size_t i = 0; i < round->n_victims; i++) {
        struct chaos_node *node = fleet_node(&chaos->fleet, round->victims[i]);

        round->pids[i] = node->pid;
        CHECK_MSG(round->pids[i] > 0, "the node to be struck does not run");
        node->doomed = signum != SIGSTOP;
    }
    if (round->kind->role == CHAOS_ROUTER)
        result->n_hit = load_n_on(chaos, round->router);
    round->n_broken_links = chaos->load.n_broken_links;
    round->hit_ms = chaos_now_ms();
    round->hit_wall_ms = chaos_wall_ms();
    for (size_t i = 0; i < round->n_victims; i++)
        kill(round->pids[i], signum);
}

/* When the last of the routers lost the last of the victims; 0: not all have yet. */
static double lost_at(const struct chaos *chaos, const struct round *round)
{
    double last = 0;
    size_t n = 0;

    for (size_t i = 0; i < chaos->fleet.n_losses; i++) {
        const struct chaos_loss *loss = &chaos->fleet.losses[i];

        for (size_t k = 0; k < round->n_victims; k++) {
            if (strcmp(loss->node, round->victims[k]) != 0 || loss->at_ms < round->hit_wall_ms)
                continue;
            last = loss->at_ms > last ? loss->at_ms : last;
            n++;
        }
    }
    return n >= chaos->fleet.n_routers * round->n_victims ? last : 0;
}

static bool is_noticed(struct chaos *chaos, const void *arg)
{
    const struct round *round = arg;

    if (round->kind->role == CHAOS_ROUTER)
        return chaos->load.n_broken_links - round->n_broken_links >= CHAOS_LINKS_EACH;
    return lost_at(chaos, round) > 0;
}

static void await_notice(struct chaos *chaos, struct round *round, struct chaos_result *result)
{
    double at_ms;

    if (!chaos_until(chaos, is_noticed, round, 10000, "the fault to be noticed"))
        return;
    at_ms = round->kind->role == CHAOS_ROUTER ? chaos->load.broken_at_ms : lost_at(chaos, round);
    result->has_detected = true;
    result->detected_ms = at_ms - round->hit_wall_ms;
    for (size_t i = 0; i < chaos->fleet.n_losses && round->kind->role != CHAOS_ROUTER; i++)
        result->n_hit += chaos->fleet.losses[i].n_requests;
}

static void resume(const struct round *round)
{
    for (size_t i = 0; i < round->n_victims; i++)
        kill(round->pids[i], SIGCONT);
}

static bool probe_ended(struct chaos *chaos, const void *arg)
{
    (void)chaos;
    return ((const struct round *)arg)->probe->ended;
}

static void undergo(struct chaos *chaos, struct round *round, struct chaos_result *result)
{
    const enum what what = round->kind->what;

    if (what == BLINK) {
        chaos_until(chaos, NULL, NULL, BLINK_MS, "");
    } else if (what == FREEZE && round->kind->role == CHAOS_ROUTER) {
        chaos_until(chaos, NULL, NULL, ROUTER_STOP_MS, "");
    } else {
        await_notice(chaos, round, result);
    }
    if (what == FREEZE_ALL) {
        chaos_until(chaos, probe_ended, round, 1e9, "the probe to end");
        if (round->probe->code != STATUS_DEADLINE)
            chaos_violation(chaos, "no node was left: expected DEADLINE, found %s",
                            status_name((enum status)round->probe->code));
    }
    if (what == BLINK || what == FREEZE || what == FREEZE_ALL)
        resume(round);
}

static void run_round(struct chaos *chaos, const struct kind *kind, enum phase phase,
                      uint32_t number, struct chaos_result *result)
{
    struct round round = {.kind = kind, .phase = phase, .router = number % 2};

    faults_begin(chaos, result);
    for (size_t i = 0; i < chaos->fleet.n_nodes; i++)
        chaos->fleet.nodes[i].pid = fleet_pid(chaos, chaos->fleet.nodes[i].name);
    aim(chaos, &round, result);
    choose(chaos, &round, number);
    chaos->load.may_fail = kind->what == FREEZE_ALL;
    strike(chaos, &round, result);
    undergo(chaos, &round, result);
    if (round.probe) {
        chaos_until(chaos, probe_ended, &round, 1e9, "the probe to end");
        load_drop(round.probe);
    }
    faults_settle(chaos);
    if (kind->what == BLINK && chaos->fleet.n_losses > 0)
        chaos_violation(chaos, "a stop of 1 s of %s was taken for a death", round.victims[0]);
    chaos->load.may_fail = false;
    for (size_t i = 0; i < chaos->fleet.n_nodes; i++)
        chaos->fleet.nodes[i].doomed = false;
    faults_end(chaos, result);
}

void faults_run(struct chaos *chaos, struct table *table, uint32_t n_rounds, const char *only)
{
    struct chaos_result result;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const struct kind *kind = &kinds[i];

        if (only && !strstr(kind->name, only))
            continue;
        for (const char *at = kind->phases; *at; at++) {
            const enum phase phase = (enum phase)(*at - '0');
            const double begin = chaos_now_ms();

            for (uint32_t number = 0; number < n_rounds; number++) {
                run_round(chaos, kind, phase, number, &result);
                table_add(table, kind->name, phase_names[phase], &result);
            }
            fprintf(stderr, "chaos: %s, %s: %u rounds, %.1f s\n", kind->name, phase_names[phase],
                    n_rounds, (chaos_now_ms() - begin) / 1e3);
        }
    }
}
