/* Runs seeds through the simulator.
 *
 *   test_sim [--seeds N] [--from SEED] [--jobs N]    many seeds, a line of figures
 *   test_sim --seed SEED                             one seed with its event log
 *   test_sim --expect-failure [--seeds N]            succeeds when a violation is found: for the
 *                                                    libraries with a planted bug
 *
 * A failing seed is printed with the command that replays it. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/sim/sim.h"

struct totals {
    uint64_t n_seeds, n_violations, first_bad;
    struct sim_report sum;
    char why[512];
};

static void add(struct totals *totals, const struct sim_report *report)
{
    totals->n_seeds++;
    totals->sum.now_ms += report->now_ms;
    totals->sum.n_events += report->n_events;
    totals->sum.n_done += report->n_done;
    totals->sum.n_failed += report->n_failed;
    totals->sum.n_tokens += report->n_tokens;
    totals->sum.n_tops += report->n_tops;
    totals->sum.n_invalid += report->n_invalid;
    totals->sum.n_stopped += report->n_stopped;
    totals->sum.n_kills += report->n_kills;
    totals->sum.n_resubmitted += report->n_resubmitted;
    totals->sum.n_rereserved += report->n_rereserved;
    totals->sum.n_mismatches += report->n_mismatches;
    totals->sum.n_fences += report->n_fences;
    totals->sum.n_yields += report->n_yields;
}

static void run_range(uint64_t from, uint64_t n, uint64_t stride, bool stop_early,
                      struct totals *totals)
{
    memset(totals, 0, sizeof(*totals));
    for (uint64_t i = 0; i < n; i += stride) {
        const struct sim_options options = {.seed = from + i, .faults = SIM_FAULT_ALL};
        struct sim_report report;

        sim_run(&options, &report);
        add(totals, &report);
        if (!report.failed)
            continue;
        if (totals->n_violations++ == 0) {
            totals->first_bad = options.seed;
            memcpy(totals->why, report.why, sizeof(totals->why));
        }
        if (stop_early)
            return;
    }
}

static void merge(struct totals *into, const struct totals *from)
{
    if (from->n_violations && !into->n_violations) {
        into->first_bad = from->first_bad;
        memcpy(into->why, from->why, sizeof(into->why));
    }
    into->n_violations += from->n_violations;
    add(into, &from->sum);
    into->n_seeds += from->n_seeds - 1;
}

/* The seeds are spread over processes: one simulator has one thread. */
static bool run_jobs(uint64_t from, uint64_t n, unsigned jobs, bool stop_early,
                     struct totals *totals)
{
    int pipes[16][2];
    bool good = true;

    memset(totals, 0, sizeof(*totals));
    for (unsigned i = 0; i < jobs; i++) {
        if (pipe(pipes[i]) != 0)
            return false;
        if (fork() == 0) {
            struct totals own;

            run_range(from + i, n > i ? n - i : 0, jobs, stop_early, &own);
            _exit(write(pipes[i][1], &own, sizeof(own)) == (ssize_t)sizeof(own) ? 0 : 1);
        }
        close(pipes[i][1]);
    }
    for (unsigned i = 0; i < jobs; i++) {
        struct totals own;
        size_t len = 0;
        ssize_t got;

        while (len < sizeof(own) &&
               (got = read(pipes[i][0], (char *)&own + len, sizeof(own) - len)) > 0)
            len += (size_t)got;
        close(pipes[i][0]);
        if (len == sizeof(own))
            merge(totals, &own);
        else
            good = false;
    }
    while (wait(NULL) > 0) {
    }
    return good;
}

static int run_one(uint64_t seed)
{
    const struct sim_options options = {.seed = seed, .faults = SIM_FAULT_ALL, .trace = stdout};
    struct sim_report report;

    sim_run(&options, &report);
    printf("seed %llu: %s\n", (unsigned long long)seed, report.failed ? report.why : "good");
    return report.failed ? 1 : 0;
}

static int run_many(uint64_t from, uint64_t n, unsigned jobs, bool expect_failure, const char *self)
{
    struct timespec start, end;
    struct totals totals;
    double seconds;
    bool good;

    clock_gettime(CLOCK_MONOTONIC, &start);
    good = run_jobs(from, n, jobs, expect_failure, &totals);
    clock_gettime(CLOCK_MONOTONIC, &end);
    seconds = (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    printf("%llu seeds in %.1f s (%.0f seeds/s, %.0f s of fleet time), %llu violations\n"
           "%llu events, %llu requests done (%llu by a stop string), %llu failed (%llu without an "
           "id to sample), %llu tokens, "
           "%llu likeliest ids, %llu kills, "
           "%llu resubmitted, %llu asked another D, %llu digests differed, %llu fences, "
           "%llu yields\n",
           (unsigned long long)totals.n_seeds, seconds, (double)totals.n_seeds / seconds,
           (double)totals.sum.now_ms / 1000, (unsigned long long)totals.n_violations,
           (unsigned long long)totals.sum.n_events, (unsigned long long)totals.sum.n_done,
           (unsigned long long)totals.sum.n_stopped, (unsigned long long)totals.sum.n_failed,
           (unsigned long long)totals.sum.n_invalid, (unsigned long long)totals.sum.n_tokens,
           (unsigned long long)totals.sum.n_tops, (unsigned long long)totals.sum.n_kills,
           (unsigned long long)totals.sum.n_resubmitted,
           (unsigned long long)totals.sum.n_rereserved, (unsigned long long)totals.sum.n_mismatches,
           (unsigned long long)totals.sum.n_fences, (unsigned long long)totals.sum.n_yields);
    if (totals.n_violations)
        printf("first: seed %llu: %s\nreplay: %s --seed %llu\n",
               (unsigned long long)totals.first_bad, totals.why, self,
               (unsigned long long)totals.first_bad);
    if (expect_failure) /* a crash of the planted library (CHECK) is a find too */
        return totals.n_violations || !good ? 0 : 1;
    return totals.n_violations || !good ? 1 : 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 'n'},    {"from", required_argument, NULL, 'f'},
        {"jobs", required_argument, NULL, 'j'},     {"seed", required_argument, NULL, 's'},
        {"expect-failure", no_argument, NULL, 'x'}, {NULL, 0, NULL, 0}};
    const struct log_options silent = {.level = LOG_LEVEL_OFF};
    uint64_t n = 10000, from = 1;
    bool expect_failure = false;
    unsigned jobs = 2;
    int option;

    (void)log_open(&silent);
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'n')
            n = strtoull(optarg, NULL, 10);
        else if (option == 'f')
            from = strtoull(optarg, NULL, 10);
        else if (option == 'j')
            jobs = (unsigned)strtoul(optarg, NULL, 10) % 16;
        else if (option == 's')
            return run_one(strtoull(optarg, NULL, 10));
        else if (option == 'x')
            expect_failure = true;
        else
            return 2;
    }
    return run_many(from, n, jobs ? jobs : 1, expect_failure, argv[0]);
}
