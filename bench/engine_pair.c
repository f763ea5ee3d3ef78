/* Each child counts its units of work in memory that it shares with the parent, which says who
 * works when. A round is: prefill alone, decode alone, both. Rates are taken between the ends of
 * units within a phase, so no unit is counted in part. Together, each side does some share of what
 * it does alone; two processes that took turns would have shares of 1 together. What lacks to 1 is
 * the loss. */
#include "bench/engine_pair.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/engine_rig.h"
#include "bench/now.h"

#define ROUNDS_MAX 3u
#define UNITS_MIN 6u     /* of each side in a phase */
#define PHASE_SLICES 50u /* least length of a phase */
#define LOOK_MS 2u       /* between two looks at the children */
#define STARTING_MS 600000u
#define LOSS_MAX 0.10

enum side { SIDE_PREFILL, SIDE_DECODE, N_SIDES };

/* A chunk in the middle of a prompt, and a step of a batch in the middle of its answers. */
static const struct rig_step units[N_SIDES] = {
    {.n_seqs = 1, .n_rows = 256, .position = 256, .len = 512},
    {.n_seqs = 8, .n_rows = 1, .position = 255, .len = 256, .sample = true},
};

struct lane {
    _Atomic bool ready, failed, go, busy;
    /* Ends of the first and last unit of this phase, and what the process had computed by then. */
    _Atomic uint64_t first_ns, last_ns, first_cpu_ns, last_cpu_ns;
    _Atomic uint32_t n_units; /* that ended after the first */
};

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void sleep_ms(uint32_t ms)
{
    const struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};

    nanosleep(&time, NULL);
}

/* One phase: units until told to stop. */
static enum status work(struct rig *rig, const struct rig_step *unit, struct lane *lane)
{
    uint32_t n = 0;

    while (atomic_load(&lane->go)) {
        const enum status status = rig_run(rig, unit);

        if (status != STATUS_OK)
            return status;
        atomic_store(n == 0 ? &lane->first_ns : &lane->last_ns, bench_now_ns());
        atomic_store(n == 0 ? &lane->first_cpu_ns : &lane->last_cpu_ns, cpu_ns());
        atomic_store(&lane->n_units, n++);
    }
    return STATUS_OK;
}

static void child(const struct bench_options *options, enum side side, struct lane *lane)
{
    const uint32_t n_blocks = units[side].n_seqs * kvgeom_blocks(units[side].len);
    struct rig *rig;
    enum status status;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    status = rig_open(options, n_blocks, &rig);
    if (status == STATUS_OK)
        status = rig_run(rig, &units[side]);
    atomic_store(&lane->ready, true);
    while (status == STATUS_OK) {
        while (!atomic_load(&lane->go))
            sleep_ms(1);
        status = work(rig, &units[side], lane);
        atomic_store(&lane->busy, false); /* the parent set it with go */
    }
    atomic_store(&lane->failed, true);
    _exit(1);
}

/* A child has failed, or is no more: while it is measured it never ends by itself. */
static bool lanes_failed(struct lane *lanes)
{
    siginfo_t ended = {.si_pid = 0};

    (void)waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT);
    return ended.si_pid != 0 || atomic_load(&lanes[SIDE_PREFILL].failed) ||
           atomic_load(&lanes[SIDE_DECODE].failed);
}

static bool has_enough(struct lane *lanes, const bool works[N_SIDES])
{
    for (int i = 0; i < N_SIDES; i++)
        if (works[i] && atomic_load(&lanes[i].n_units) < UNITS_MIN)
            return false;
    return true;
}

/* What a side did in a phase. */
struct work_done {
    double units, wall_s, cpu_s;
};

/* Lets the sides work, at least for so long. */
static enum status phase(struct lane *lanes, const bool works[N_SIDES], uint32_t ms,
                         struct work_done done[N_SIDES])
{
    const uint64_t end_ns = bench_now_ns() + ms * NS_PER_MS;

    for (int i = 0; i < N_SIDES; i++) {
        atomic_store(&lanes[i].n_units, 0);
        atomic_store(&lanes[i].busy, works[i]);
        atomic_store(&lanes[i].go, works[i]);
    }
    while ((bench_now_ns() < end_ns || !has_enough(lanes, works)) && !lanes_failed(lanes))
        sleep_ms(LOOK_MS);
    for (int i = 0; i < N_SIDES; i++) { /* before either stops: what it does alone is no share */
        struct lane *lane = &lanes[i];
        const uint64_t cpu = atomic_load(&lane->last_cpu_ns) - atomic_load(&lane->first_cpu_ns);

        if (works[i])
            done[i] = (struct work_done){
                atomic_load(&lane->n_units),
                (double)(atomic_load(&lane->last_ns) - atomic_load(&lane->first_ns)) / NS_PER_S,
                (double)cpu / NS_PER_S};
    }
    for (int i = 0; i < N_SIDES; i++)
        atomic_store(&lanes[i].go, false);
    for (int i = 0; i < N_SIDES; i++)
        while (works[i] && atomic_load(&lanes[i].busy) && !lanes_failed(lanes))
            sleep_ms(LOOK_MS);
    return lanes_failed(lanes) ? STATUS_LOST : STATUS_OK;
}

struct shares {
    double alone[N_SIDES], together[N_SIDES]; /* units a second */
    double sum;
};

/* By the wall: what each side does of what it does alone. By CPU time, for a machine that others
 * use: the time that the work would have taken alone, of the time that it took. */
static struct shares compare(const struct work_done *alone, const struct work_done *together,
                             bool cpu, uint32_t n_threads)
{
    struct shares shares = {.sum = 0};
    double needed_s = 0, taken_s = 0;

    for (int i = 0; i < N_SIDES; i++) {
        const struct work_done *a = &alone[i], *t = &together[i];

        shares.alone[i] = a->units / (cpu ? a->cpu_s / n_threads : a->wall_s);
        shares.together[i] = t->units / (cpu ? t->cpu_s / n_threads : t->wall_s);
        shares.sum += shares.together[i] / shares.alone[i];
        needed_s += t->units * a->cpu_s / a->units;
        taken_s += t->cpu_s;
    }
    if (cpu)
        shares.sum = needed_s / taken_s;
    return shares;
}

static enum status measure(struct lane *lanes, const struct bench_options *options,
                           struct shares *out)
{
    static const bool only_prefill[N_SIDES] = {true, false}, only_decode[N_SIDES] = {false, true};
    static const bool both[N_SIDES] = {true, true};
    const uint32_t ms = PHASE_SLICES * options->slice_ms;
    struct work_done alone[N_SIDES], together[N_SIDES];
    enum status status = phase(lanes, only_prefill, ms, alone);

    if (status == STATUS_OK)
        status = phase(lanes, only_decode, ms, alone);
    if (status == STATUS_OK)
        status = phase(lanes, both, ms, together);
    if (status == STATUS_OK)
        *out = compare(alone, together, options->cpu_time,
                       options->n_threads ? options->n_threads : 1);
    return status;
}

static void print(struct report *report, const struct shares *shares)
{
    static const char *const names[N_SIDES] = {"prefill beside decode", "decode beside prefill"};
    struct report_row row = {.kind = REPORT_RATE, .unit = "tok/s"};

    for (int i = 0; i < N_SIDES; i++) {
        const double tokens = (double)units[i].n_seqs * units[i].n_rows;

        snprintf(row.name, sizeof(row.name), "%s", names[i]);
        row.value = shares->together[i] * tokens;
        row.limit = shares->alone[i] * tokens;
        report_add(report, &row);
    }
    row = (struct report_row){.kind = REPORT_RATE,
                              .name = "both, in shares of each alone",
                              .unit = "",
                              .value = shares->sum,
                              .limit = 1,
                              .target = 1 - LOSS_MAX};
    report_add(report, &row);
}

/* The round whose sum is the median. */
static const struct shares *median(const struct shares *rounds, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t below = 0;

        for (uint32_t k = 0; k < n; k++)
            below += rounds[k].sum < rounds[i].sum || (rounds[k].sum == rounds[i].sum && k < i);
        if (below == n / 2)
            return &rounds[i];
    }
    return &rounds[0];
}

/* Both have loaded, and computed once. */
static bool wait_ready(struct lane *lanes)
{
    const uint64_t end_ns = bench_now_ns() + STARTING_MS * NS_PER_MS;

    while (!atomic_load(&lanes[SIDE_PREFILL].ready) || !atomic_load(&lanes[SIDE_DECODE].ready)) {
        if (lanes_failed(lanes) || bench_now_ns() >= end_ns)
            return false;
        sleep_ms(LOOK_MS);
    }
    return !lanes_failed(lanes);
}

static enum status run_rounds(const struct bench_options *options, struct report *report,
                              struct lane *lanes)
{
    const uint32_t n = options->n_slices < ROUNDS_MAX ? options->n_slices : ROUNDS_MAX;
    struct shares rounds[ROUNDS_MAX];
    enum status status = STATUS_OK;

    if (!wait_ready(lanes))
        return lanes_failed(lanes) ? STATUS_LOST : STATUS_DEADLINE;
    for (uint32_t i = 0; i < n && status == STATUS_OK; i++)
        status = measure(lanes, options, &rounds[i]);
    if (status == STATUS_OK) {
        report_note(report, "two processes on the same CPUs, %s, the median of %u rounds",
                    options->cpu_time ? "CPU time" : "wall time", n);
        print(report, median(rounds, n));
    }
    return status;
}

enum status engine_pair(const struct bench_options *options, struct report *report)
{
    const size_t bytes = N_SIDES * sizeof(struct lane);
    struct lane *lanes =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[N_SIDES] = {-1, -1};
    enum status status = STATUS_OK;

    if (lanes == MAP_FAILED)
        return STATUS_NO_MEMORY;
    for (int i = 0; i < N_SIDES && status == STATUS_OK; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            child(options, (enum side)i, &lanes[i]);
        if (pids[i] < 0)
            status = STATUS_IO;
    }
    if (status == STATUS_OK)
        status = run_rounds(options, report, lanes);
    if (status != STATUS_OK)
        fprintf(stderr, "baton bench: engine --pair: %s\n", status_text(status));
    for (int i = 0; i < N_SIDES; i++)
        if (pids[i] > 0) {
            kill(pids[i], SIGKILL);
            waitpid(pids[i], NULL, 0);
        }
    munmap(lanes, bytes);
    return status;
}
