/* A mover in one process: carries out the protocol's actions (mover.h) between objects that share
 * an address space, in virtual time and with faults that a seed draws. For the simulator and tests;
 * the real one is ucx_mover.h. It keeps the real one's promises and no others:
 *
 * - only the receiver's fetch moves bytes, in two halves at two moments, so that a close or a kill
 *   may leave a torn piece;
 * - after CLOSE nothing of that pair lands or is read, and no event of it comes any more;
 * - a pair whose other side has closed or died gets ERROR on the network path and nothing at all on
 *   the local path;
 * - an offer that reaches a worker which has not connected to its sender is thrown away, and its
 *   sender is told that it is done;
 * - events of one pair may overtake one another.
 *
 * One caller, one thread, no clock of its own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvtransfer/mover.h"

struct local_mover;

/* Chances are in a million. */
struct local_mover_faults {
    uint32_t delay_min_us; /* of each step: opening, offer, half a fetch, completion */
    uint32_t delay_max_us;
    uint32_t open_error;  /* the worker cannot be created: ERROR */
    uint32_t fetch_error; /* a fetch ends with an error after its first half */
    uint32_t flip;        /* a fetch lands with one bit inverted */
    uint32_t stall;       /* a fetch stays at its first half until the close */
    uint32_t lose_offer;  /* an offer never arrives; its post stays pending until the close */
};

/* Told of every copy, before it happens; for checks of who owns what. */
typedef void local_mover_watch(void *ctx, uint32_t from_node, const void *from, uint32_t to_node,
                               void *to, size_t bytes);
typedef void local_mover_deliver(void *ctx, uint32_t node, const struct kvt_event *event);

struct local_mover_cfg {
    uint32_t nodes_max;
    uint32_t workers_max; /* two a pair */
    uint32_t moves_max;   /* offers at once: KVT_POSTS_MAX a worker, and forged ones */
    uint64_t seed;
    struct local_mover_faults faults;
    local_mover_watch *watch; /* may be NULL */
    void *watch_ctx;
};

/* INVALID for a number that is zero, NO_MEMORY. */
enum status local_mover_create(const struct local_mover_cfg *cfg, struct local_mover **out);
void local_mover_destroy(struct local_mover *mover);

/* Carries out one action of the node's protocol. Events come from local_mover_run only. */
void local_mover_execute(struct local_mover *mover, uint32_t node, const struct kvt_act *act,
                         uint64_t now_ns);
/* When something is due; CLOCK_NEVER (UINT64_MAX) if nothing is. */
uint64_t local_mover_next_ns(const struct local_mover *mover);
/* Everything due up to now, in order. `deliver` may call back into execute. */
void local_mover_run(struct local_mover *mover, uint64_t now_ns, local_mover_deliver *deliver,
                     void *ctx);

/* From now on. */
void local_mover_set_faults(struct local_mover *mover, const struct local_mover_faults *faults);
/* The node's process dies: its workers are gone, no event reaches it. Its number may be given to a
 * new process, whose pairs may be numbered from 1 again. */
void local_mover_kill(struct local_mover *mover, uint32_t node, uint64_t now_ns);
/* Its events and fetches wait. Others go on reading its memory over the local path. */
void local_mover_freeze(struct local_mover *mover, uint32_t node, bool frozen, uint64_t now_ns);
/* An offer to (node, pair) that no protocol posted, under any header. `payload` outlives it.
 * `evil`: a fetch of it counts as a violation. False where that pair has no worker. */
bool local_mover_forge(struct local_mover *mover, uint32_t node, uint32_t pair,
                       const struct kvt_header *header, const void *payload, size_t bytes,
                       bool evil, uint64_t now_ns);

/* Whether the mover may still read or write any of these bytes, until a completion or a close. */
bool local_mover_touches(const struct local_mover *mover, const void *at, size_t bytes);

struct local_mover_counts {
    uint64_t workers, moves; /* now */
    uint64_t misuse;         /* actions that the contract forbids */
    uint64_t evil_fetched;
    uint64_t fetched, flipped, stalled, errors, torn, offers_lost, strangers;
};
void local_mover_counts(const struct local_mover *mover, struct local_mover_counts *out);
