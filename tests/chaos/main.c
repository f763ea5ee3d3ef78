/* chaos [--quick | --rounds N] [--only FAULT] [--soak SECONDS] [--verbose]
 *
 * Kills, stops, cuts and drains the processes of a fleet under load, and checks what its clients
 * see. The program is $BATON_BUILD/baton. Exit status 0: nothing was violated. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/chaos/chaos.h"

static volatile sig_atomic_t stopped;

static void on_signal(int signum)
{
    stopped = signum;
}

double chaos_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

double chaos_wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

void chaos_violation(struct chaos *chaos, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (chaos->n_violations++ == 0)
        memcpy(chaos->first_violation, text, sizeof(text));
    fprintf(stderr, "chaos: VIOLATION: %s\n", text);
    if (chaos->fleet.log)
        fprintf(chaos->fleet.log, "VIOLATION: %s\n", text);
}

void chaos_turn(struct chaos *chaos, double timeout_ms)
{
    zmq_pollitem_t items[2 * CHAOS_LINKS_MAX + 2 * CHAOS_NODES_MAX];
    size_t n = load_poll_items(&chaos->load, items);

    if (stopped) {
        fleet_kill_all(chaos);
        network_clean();
        fprintf(stderr, "chaos: stopped; %s is left\n", chaos->folder);
        _exit(128 + stopped);
    }
    n += fleet_poll_items(&chaos->fleet, items + n);
    if (zmq_poll(items, (int)n, (long)(timeout_ms < 10 ? timeout_ms : 10)) < 0)
        CHECK(zmq_errno() == EINTR);
    load_pump(chaos);
    fleet_pump(chaos);
}

bool chaos_until(struct chaos *chaos, bool (*done)(struct chaos *chaos, const void *arg),
                 const void *arg, double ms, const char *what)
{
    const double end = chaos_now_ms() + ms * (done ? chaos->patience : 1);

    for (;;) {
        const double left = end - chaos_now_ms();

        if (done && done(chaos, arg))
            return true;
        if (left <= 0)
            break;
        chaos_turn(chaos, left);
    }
    if (done)
        chaos_violation(chaos, "waited %.1f s in vain for %s", ms * chaos->patience / 1e3, what);
    return !done;
}

/* ---- what is run ---- */

struct plan {
    uint32_t n_rounds;
    double soak_s;
    const char *only;
};

static bool begin_fleet(struct chaos *chaos)
{
    if (!fleet_up(chaos))
        return false;
    load_open(chaos);
    faults_baseline(chaos);
    return true;
}

static void end_fleet(struct chaos *chaos)
{
    load_close(chaos);
    fleet_down(chaos);
}

static bool is_wanted(const struct plan *plan, const char *name)
{
    return !plan->only || strstr(name, plan->only);
}

static void run_scenes(struct chaos *chaos, const struct plan *plan, struct table *table)
{
    struct chaos_result result;

    for (uint32_t i = 0; i < plan->n_rounds; i++) {
        if (is_wanted(plan, "drain") && begin_fleet(chaos)) {
            scene_drain(chaos, &result);
            table_add(table, "drain: decode, prefill, all", "load", &result);
        }
        if (is_wanted(plan, "supervisor killed") && begin_fleet(chaos)) {
            scene_supervisor_killed(chaos, &result);
            table_add(table, "supervisor killed", "load", &result);
        }
        if (!is_wanted(plan, "prefill cut from decode"))
            continue;
        if (!network_cut(chaos, &result))
            return;
        table_add(table, "prefill cut from decode", "load", &result);
    }
}

static void run_plan(struct chaos *chaos, const struct plan *plan)
{
    const double begin = chaos_now_ms();
    struct table *table = table_create();

    if (plan->soak_s > 0) {
        if (begin_fleet(chaos)) {
            scene_soak(chaos, plan->soak_s);
            end_fleet(chaos);
        }
    } else {
        if (begin_fleet(chaos)) {
            faults_run(chaos, table, plan->n_rounds, plan->only);
            end_fleet(chaos);
        }
        run_scenes(chaos, plan, table);
        table_print(table, stdout);
    }
    printf("%llu streams completed, %llu failed, %llu tokens, %llu violations, %.0f s\n",
           (unsigned long long)chaos->load.n_done, (unsigned long long)chaos->load.n_failed,
           (unsigned long long)chaos->load.n_tokens, (unsigned long long)chaos->n_violations,
           (chaos_now_ms() - begin) / 1e3);
    table_destroy(table);
}

static bool read_args(int argc, char **argv, struct plan *plan, struct chaos *chaos)
{
    static const struct option options[] = {{"quick", no_argument, NULL, 'q'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"only", required_argument, NULL, 'o'},
                                            {"soak", required_argument, NULL, 's'},
                                            {"patience", required_argument, NULL, 'p'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'q')
            plan->n_rounds = 1;
        else if (c == 'r')
            plan->n_rounds = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'o')
            plan->only = optarg;
        else if (c == 's')
            plan->soak_s = strtod(optarg, NULL);
        else if (c == 'p')
            chaos->patience = strtod(optarg, NULL);
        else if (c == 'v')
            chaos->is_verbose = true;
        else
            return false;
    }
    return optind == argc && plan->n_rounds > 0 && chaos->patience > 0;
}

static void remove_folder(const struct chaos *chaos)
{
    static const char *const names[] = {"fleet.yaml", "fleet.log", "network.yaml"};
    char path[128];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", chaos->folder, names[i]);
        unlink(path);
    }
    if (rmdir(chaos->folder) != 0)
        fprintf(stderr, "chaos: %s is not empty: %s\n", chaos->folder, strerror(errno));
}

int main(int argc, char **argv)
{
    static struct chaos chaos = {
        .patience = 1,
        .rng_seed = 1,
        .oracle = {.geom = {.n_layers = 4, .n_kv_heads = 2, .head_dim = 64, .elem_bytes = 2},
                   .n_blocks = 256,
                   .model_seed = 7,
                   .step_us = 4000,
                   .row_us = 50,
                   .token_us = 40},
        .load = {.deadline_ms = 20000}};
    struct plan plan = {.n_rounds = 1};
    const char *build = getenv("BATON_BUILD");
    char program[4096];

    if (!read_args(argc, argv, &plan, &chaos)) {
        fprintf(stderr, "usage: chaos [--quick | --rounds N] [--only FAULT] [--soak SECONDS]\n"
                        "             [--patience FACTOR] [--verbose]\n");
        return 2;
    }
    snprintf(program, sizeof(program), "%s/baton", build ? build : "build");
    chaos.program = realpath(program, NULL);
    snprintf(chaos.folder, sizeof(chaos.folder), "/tmp/baton-chaos-XXXXXX");
    if (!chaos.program || !mkdtemp(chaos.folder)) {
        fprintf(stderr, "chaos: %s: %s\n", program, strerror(errno));
        return 2;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    chaos.load.deadline_ms = (uint32_t)(chaos.load.deadline_ms * chaos.patience);
    chaos.oracle.geom.group_layers = 1;
    chaos.oracle.geom.group_layers = kvgeom_choose_group(&chaos.oracle.geom);
    load_init(&chaos, 96, 24);
    run_plan(&chaos, &plan);
    load_fini(&chaos);
    if (chaos.n_violations == 0)
        remove_folder(&chaos);
    else
        fprintf(stderr, "chaos: first violation: %s\nchaos: the log is %s/fleet.log\n",
                chaos.first_violation, chaos.folder);
    free(chaos.program);
    return chaos.n_violations == 0 ? 0 : 1;
}
