/* The chaos driver: a fleet of real processes (fleet.c) under a load of real clients that know the
 * truth (load.c), faults at chosen moments (faults.c, scenes.c, network.c), a table (table.c). One
 * thread and one poll for everything: nothing here sleeps, each wait is for something seen, with a
 * deadline that makes it a violation. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <zmq.h>

#include "engine/oracle.h"
#include "wire/msg.h"

#define CHAOS_NODES_MAX 8u
#define CHAOS_ROUTERS_MAX 2u
#define CHAOS_LINKS_EACH 2u /* connections to each router */
#define CHAOS_LINKS_MAX (CHAOS_ROUTERS_MAX * CHAOS_LINKS_EACH)
#define CHAOS_STREAMS_MAX 256u
#define CHAOS_BOUND_MS 4000.0 /* a request ends within its deadline and this */
#define CHAOS_WAIT_MS 30000.0 /* for what the fleet should do soon; times `patience` */
#define CHAOS_FOLDER_MAX 64u
#define CHAOS_LINE_MAX 8192u

/* ---- fleet.c ---- */

enum chaos_role { CHAOS_ROUTER, CHAOS_PREFILL, CHAOS_DECODE };

struct chaos_node {
    char name[16];
    enum chaos_role role;
    pid_t pid;      /* when the round began: at the moment of a fault there is no time to look */
    bool doomed;    /* we kill it: its death is no violation */
    size_t n_files; /* descriptors when it was new and idle */
};

/* One line "node lost" of a router's log. */
struct chaos_loss {
    char router[16], node[16];
    double at_ms; /* by the line's own clock, CLOCK_REALTIME */
    uint32_t n_requests;
};

struct chaos_pipe {
    int fd; /* -1: closed */
    size_t len;
    char line[CHAOS_LINE_MAX];
};

/* A process we started: the supervisor, or one node. */
struct chaos_proc {
    char name[16]; /* of the node, "up" */
    pid_t pid;     /* 0: ended */
    int wait_status;
    struct chaos_pipe out, log;
};

struct chaos_fleet {
    struct chaos_node nodes[CHAOS_NODES_MAX];
    size_t n_nodes;
    struct chaos_proc procs[CHAOS_NODES_MAX];
    size_t n_procs; /* 1: a supervisor; more: a process for each node */
    char clients[CHAOS_ROUTERS_MAX][128];
    size_t n_routers;
    struct chaos_loss losses[256]; /* [n_losses] of this round */
    size_t n_losses;
    bool is_ready; /* a router said so */
    bool is_ending;
    FILE *log; /* all lines, kept when something is violated */
};

/* ---- load.c ---- */

/* What is asked and what must be answered; drawn once, asked many times. */
struct chaos_template {
    uint32_t *prompt, *truth;
    size_t n_prompt, n_truth;
    uint64_t seed;
    double temperature;
    uint32_t max_tokens;
    bool ignore_eos;
};

struct chaos_stream {
    bool used;
    bool accepted;
    bool is_probe;
    bool ended;  /* probes: to be looked at */
    bool failed; /* how */
    size_t link;
    const struct chaos_template *what;
    uint64_t label; /* of the last time it was asked */
    struct wire_id id, resume;
    uint32_t deadline_ms, n_got, code;
    double asked_ms, bound_ms;
};

/* A router's line "request placed": it may come before the client hears of the request. */
struct chaos_place {
    char req[33], prefill[16], decode[16];
    double at_ms;
};

struct chaos_link {
    size_t router;
    void *sock, *monitor; /* NULL: to be opened */
    bool greeted, welcome;
    double heard_ms, greeted_ms;
    struct wire_id over[256]; /* ring of requests that have ended here: nothing may follow */
    size_t n_over;
};

/* What the routers answered last; values by name. */
struct chaos_stats {
    double asked_ms, at_ms;
    uint64_t nodes_ready, pairs, blocks, blocks_free, sequences, requests, queued;
    uint64_t tokens_doubled, resubmitted, rereserved;
};

struct chaos_load {
    void *ctx;
    struct arena *arena;
    struct chaos_link links[CHAOS_LINKS_MAX];
    size_t n_links;
    struct chaos_stream streams[CHAOS_STREAMS_MAX];
    struct chaos_template *templates; /* [n_templates], then [n_probes] long ones */
    size_t n_templates, n_probes;
    struct chaos_stats stats[CHAOS_ROUTERS_MAX];
    uint64_t n_labels, n_done, n_failed, n_asked_again, n_tokens, n_broken_links;
    struct chaos_place places[1024]; /* ring */
    size_t n_places;
    size_t lanes;        /* streams to keep running; 0: none is started */
    size_t turn;         /* which link is next */
    double broken_at_ms; /* CLOCK_REALTIME of the last connection seen to break */
    uint32_t deadline_ms;
    bool may_fail; /* a typed error is an answer: no spare node is there */
};

struct chaos {
    char *program; /* the built `baton` */
    char folder[CHAOS_FOLDER_MAX];
    struct chaos_fleet fleet;
    struct chaos_load load;
    struct oracle_cfg oracle;
    uint64_t rng_seed;
    double patience; /* times all waits: sanitizers are slow */
    uint64_t n_violations;
    char first_violation[512];
    bool is_verbose;
};

/* ---- main.c ---- */
__attribute__((format(printf, 2, 3))) void chaos_violation(struct chaos *chaos, const char *fmt,
                                                           ...);
/* One turn: clients, logs, chores; waits at most timeout_ms for something to come. */
void chaos_turn(struct chaos *chaos, double timeout_ms);
/* Turns until done(chaos, arg); false, and a violation, when that takes longer than ms. NULL is
 * never done: then it only lets time pass, and is true. */
bool chaos_until(struct chaos *chaos, bool (*done)(struct chaos *chaos, const void *arg),
                 const void *arg, double ms, const char *what);
double chaos_now_ms(void);
double chaos_wall_ms(void); /* as logs tell it */

/* ---- fleet.c ---- */
/* The usual fleet: 2 routers, 2 prefill, 2 decode nodes under `baton up`. Returns when it serves.
 */
bool fleet_up(struct chaos *chaos);
/* SIGTERM, and waits: exit status 0, no process, no file left. */
void fleet_down(struct chaos *chaos);
/* The end of processes that ended or were killed; nothing may be left of them. */
void fleet_reap(struct chaos *chaos, bool killed);
void fleet_add(struct chaos_fleet *fleet, const char *name, enum chaos_role role);
/* A process of ours in a network namespace (a file, or NULL). */
bool fleet_start(struct chaos *chaos, const char *name, char *const *args, const char *netns);
const char *fleet_write(struct chaos *chaos, const char *name, const char *text, char path[256]);
int fleet_free_port(void);
struct chaos_node *fleet_node(struct chaos_fleet *fleet, const char *name);
/* The process that runs the node now; 0: none. */
pid_t fleet_pid(struct chaos *chaos, const char *name);
size_t fleet_n_files(struct chaos *chaos, const char *name);
/* Processes whose arguments name our folder. */
size_t fleet_n_processes(struct chaos *chaos);
/* For the poll, and what it brings. */
size_t fleet_poll_items(struct chaos_fleet *fleet, zmq_pollitem_t *items);
void fleet_pump(struct chaos *chaos);
void fleet_kill_all(struct chaos *chaos);

/* ---- load.c ---- */
bool load_init(struct chaos *chaos, size_t n_templates, size_t n_probes);
void load_fini(struct chaos *chaos);
/* Connects to the routers of the fleet, and lets go of them. */
void load_open(struct chaos *chaos);
void load_close(struct chaos *chaos);
/* Starts a long request on a router; its stream stays until load_drop. */
struct chaos_stream *load_probe(struct chaos *chaos, size_t router, uint32_t deadline_ms);
void load_drop(struct chaos_stream *stream);
size_t load_n_open(const struct chaos *chaos);
/* Streams on a router's connections that have begun. */
size_t load_n_on(const struct chaos *chaos, size_t router);
void load_ask_stats(struct chaos *chaos, size_t router);
size_t load_poll_items(struct chaos_load *load, zmq_pollitem_t *items);
void load_pump(struct chaos *chaos);
/* The router's log: where a request went. */
void load_placed(struct chaos *chaos, const struct chaos_place *place);
/* Where a stream is by the newest such line; NULL: none has come. */
const struct chaos_place *load_place(const struct chaos *chaos, const struct chaos_stream *stream);

/* ---- faults.c ---- */
struct chaos_result {
    bool has_detected;
    double detected_ms;
    uint64_t n_hit, n_done, n_failed, n_asked_again, n_violations;
    bool missed; /* the phase was over before the fault came */
};

/* Nothing runs; every node is back; all blocks, pairs, descriptors as in the beginning. */
bool faults_settle(struct chaos *chaos);
void faults_begin(struct chaos *chaos, struct chaos_result *result);
void faults_end(struct chaos *chaos, struct chaos_result *result);
/* Notes what each node has open while nothing runs. */
void faults_baseline(struct chaos *chaos);

struct table;
/* All rounds of all faults on one fleet. */
void faults_run(struct chaos *chaos, struct table *table, uint32_t n_rounds, const char *only);

/* ---- scenes.c: those that end a fleet ---- */
void scene_supervisor_killed(struct chaos *chaos, struct chaos_result *result);
void scene_drain(struct chaos *chaos, struct chaos_result *result);
void scene_soak(struct chaos *chaos, double seconds);

/* ---- network.c ---- */
/* False: the system refuses network namespaces; why is printed. */
bool network_cut(struct chaos *chaos, struct chaos_result *result);
void network_clean(void);

/* ---- table.c ---- */
struct table *table_create(void);
void table_destroy(struct table *table);
void table_add(struct table *table, const char *fault, const char *phase,
               const struct chaos_result *result);
void table_print(const struct table *table, FILE *out);
