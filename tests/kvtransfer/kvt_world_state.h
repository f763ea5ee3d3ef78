/* The inside of kvt_world.h, shared by its physics (kvt_world.c) and its roles (kvt_script.c). */
#pragma once

#include "base/arena.h"
#include "base/rand.h"
#include "tests/kvtransfer/kvt_world.h"
#include "kvtransfer/kvt.h"
#include "kvtransfer/local_mover.h"

#define N_P 2u
#define N_D 2u
#define N_NODES (N_P + N_D)
#define N_WIRES (N_P * N_D)
#define N_BLOCKS 96u
#define PEERS_MAX 4u
#define TRANSFERS_MAX 8u
#define REQUEST_BLOCKS_MAX 8u
#define GROUPS 2u
#define PIECES_MAX (REQUEST_BLOCKS_MAX * GROUPS)
#define JOBS_MAX 100u
#define WANTS_MAX 400u
#define FLIGHTS_MAX 1024u
#define SEEN_MAX 32u
#define GRAVES_MAX 64u
#define STEPS_PER_TICK 50u /* of 1 ms */
#define QUIET_MS 14000u
#define GARBAGE_BYTES 4096u

struct node {
    uint32_t idx;
    uint32_t life; /* of the process */
    bool alive, frozen;
    uint64_t frozen_at_ns, thaw_ns;
    uint64_t debt_ns; /* slept away in this life: not counted into its bounds */
    uint64_t self;
    struct kvt *kvt;
    uint8_t *pool;
    bool held[N_BLOCKS];
    uint32_t next_block;
};

struct wire {
    uint32_t ends[2];  /* D, P */
    uint32_t links[2]; /* as D and P know it */
    enum kvt_path path;
    bool up;
    uint64_t restore_ns;
};

struct flight {
    uint64_t at_ns;
    uint32_t node;
    uint32_t life;
    uint32_t link;
    size_t len;
    void *bytes;
};

enum job_state { JOB_NEW, JOB_OPEN, JOB_SEALED, JOB_CLOSING, JOB_ENDED };

/* P's side of a request. */
struct job {
    enum job_state state;
    struct wire_id req;
    uint32_t attempt;
    uint32_t p;
    uint32_t n_blocks;
    uint32_t blocks[REQUEST_BLOCKS_MAX];
    uint8_t order[PIECES_MAX];
    uint32_t n_ready;
    uint32_t generation; /* the last one given out */
    uint32_t posted;     /* the newest generation that P has offered for */
    bool ended_here;     /* P ended it in this life */
    uint64_t close_ns, close_debt_ns;
};

enum want_state { WANT_FREE, WANT_OPEN, WANT_CLOSING, WANT_ENDED };

/* D's side of a hand-over. */
struct want {
    enum want_state state;
    uint32_t job;
    uint32_t d;
    uint32_t life;
    struct kvt_key key;
    uint32_t n_have;
    uint32_t blocks[REQUEST_BLOCKS_MAX];
    uint32_t n_answers;
    uint64_t open_ns, close_ns, close_debt_ns;
};

/* A genuine offer that has reached its D: what a forger may know. */
struct seen {
    uint32_t node;
    uint32_t life;
    uint32_t pair;
    struct kvt_header header;
};

struct world {
    struct rand rng;
    bool verbose;
    bool violated;
    char violation[256];
    uint64_t now_ns;
    uint64_t n_steps;
    uint32_t next_link;
    uint32_t chance_drop, chance_double, chance_reorder; /* in 1000 */
    struct local_mover *mover;
    struct arena *arena;
    struct node nodes[N_NODES]; /* P first */
    struct wire wires[N_WIRES];
    struct flight flights[FLIGHTS_MAX];
    uint32_t n_flights;
    uint64_t graves[GRAVES_MAX]; /* incarnations that have ended */
    uint32_t n_graves;
    struct job jobs[JOBS_MAX];
    uint32_t n_jobs;
    struct want wants[WANTS_MAX];
    uint32_t n_wants;
    struct seen seen[SEEN_MAX];
    uint32_t n_seen;
    uint8_t garbage[GARBAGE_BYTES];
    struct world_sums sums;
};

extern const struct kvgeom world_geom;

/* ---- kvt_world.c ---- */
void world_log(const struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void world_violate(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
uint8_t *world_block(const struct node *node, uint32_t block);
bool world_hold(struct world *world, struct node *node, uint32_t n, uint32_t *blocks);
void world_drop(struct world *world, struct node *node, uint32_t n, const uint32_t *blocks);
void world_start(struct world *world, struct node *node);
void world_wire_cut(struct world *world, struct wire *wire, uint64_t until_ns);
void world_drain(struct world *world, struct node *node);
void world_kill(struct world *world, struct node *node);
void world_freeze(struct world *world, struct node *node, uint64_t until_ns);

/* ---- kvt_script.c ---- */
void script_step(struct world *world, bool busy);
void script_act(struct world *world, struct node *node, const struct kvt_act *act);
void script_note(struct world *world, struct node *node, const struct kvt_note *note);
void script_event(struct world *world, struct node *node, const struct kvt_event *event);
void script_said(struct world *world, struct node *node, const struct wire_out_item *item);
void script_killed(struct world *world, struct node *node);
void script_end(struct world *world);
void script_check_end(struct world *world);
