/* Scenes that end a fleet, or only watch one. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/chaos/chaos.h"

#define LANES 12u
#define SOAK_LANES 48u

static bool has_begun(struct chaos *chaos, const void *arg)
{
    size_t n = 0;

    (void)arg;
    for (size_t i = 0; i < CHAOS_STREAMS_MAX; i++)
        n += chaos->load.streams[i].used && chaos->load.streams[i].n_got > 0;
    return n >= LANES / 2;
}

static bool none_runs(struct chaos *chaos, const void *arg)
{
    (void)arg;
    return fleet_n_processes(chaos) == 0;
}

/* A supervisor that dies takes its nodes with it: nobody is left to find and stop them. */
void scene_supervisor_killed(struct chaos *chaos, struct chaos_result *result)
{
    double begin;

    faults_begin(chaos, result);
    chaos->load.lanes = LANES;
    chaos_until(chaos, has_begun, NULL, CHAOS_WAIT_MS, "the load to run");
    result->n_hit = load_n_open(chaos);
    begin = chaos_now_ms();
    kill(chaos->fleet.procs[0].pid, SIGKILL);
    chaos->load.lanes = 0;
    result->has_detected = chaos_until(chaos, none_runs, NULL, 1000, "no orphan");
    result->detected_ms = chaos_now_ms() - begin;
    load_close(chaos); /* its streams have nobody to end them */
    fleet_reap(chaos, true);
    faults_end(chaos, result);
}

static bool node_gone(struct chaos *chaos, const void *arg)
{
    return fleet_pid(chaos, arg) == 0;
}

static void drain_node(struct chaos *chaos, const char *name)
{
    struct chaos_node *node = fleet_node(&chaos->fleet, name);

    chaos_until(chaos, has_begun, NULL, CHAOS_WAIT_MS, "the load to run");
    kill(fleet_pid(chaos, name), SIGTERM);
    chaos_until(chaos, node_gone, name, CHAOS_WAIT_MS, "a drained node to end");
    /* An ended node is not started again. */
    *node = chaos->fleet.nodes[--chaos->fleet.n_nodes];
}

static bool none_open(struct chaos *chaos, const void *arg)
{
    (void)arg;
    return load_n_open(chaos) == 0;
}

/* A decode node, a prefill node, then the whole fleet are asked to stop under load. */
void scene_drain(struct chaos *chaos, struct chaos_result *result)
{
    faults_begin(chaos, result);
    chaos->load.lanes = LANES;
    drain_node(chaos, "d1");
    drain_node(chaos, "p1");
    faults_settle(chaos);
    chaos->load.lanes = LANES;
    chaos_until(chaos, has_begun, NULL, CHAOS_WAIT_MS, "the load to run");
    result->n_hit = load_n_open(chaos);
    chaos->load.lanes = 0;
    chaos->fleet.is_ending = true;
    kill(chaos->fleet.procs[0].pid, SIGTERM);
    chaos_until(chaos, none_open, NULL, 1e9, "all streams to end");
    load_close(chaos);
    fleet_reap(chaos, false);
    faults_end(chaos, result);
}

/* Full load and no fault: nothing may be taken for one. */
void scene_soak(struct chaos *chaos, double seconds)
{
    const double begin = chaos_now_ms();
    struct chaos_result result;
    uint64_t n_tokens = chaos->load.n_tokens;

    faults_begin(chaos, &result);
    chaos->load.lanes = SOAK_LANES;
    while (chaos_now_ms() - begin < seconds * 1e3 && chaos->n_violations == 0)
        chaos_until(chaos, NULL, NULL, 1000, "");
    n_tokens = chaos->load.n_tokens - n_tokens;
    faults_settle(chaos);
    faults_end(chaos, &result);
    if (chaos->fleet.n_losses > 0)
        chaos_violation(chaos, "%zu ejections without a fault", chaos->fleet.n_losses);
    printf("%u streams for %.0f s: %llu completed, %llu failed, %llu tokens, %.0f tokens/s, "
           "%zu ejections, %llu violations\n",
           SOAK_LANES, seconds, (unsigned long long)result.n_done,
           (unsigned long long)result.n_failed, (unsigned long long)n_tokens,
           (double)n_tokens / seconds, chaos->fleet.n_losses,
           (unsigned long long)chaos->n_violations);
}
