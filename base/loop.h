/* The loop: one thread, one libevent base, and the order of a turn (DESIGN, "Threads and the
 * loop"). libevent alone is not enough, because the descriptors of ZeroMQ and UCX are not plain:
 * they fire once, and what they announced must be drained and armed before it is safe to sleep.
 *
 * One turn:
 *     1. timers that are due
 *     2. every ready source is drained until it is quiet or its budget for this turn is spent, in
 *        drains or in time (LOOP_SLICE_NS); a source is ready when its descriptor fired, when it
 * was touched, or when it was not armed
 *     3. before-sleep hooks (flush replies); what they touch is drained again
 *     4. arm every source that is not armed; one that says "there is more" is ready again
 *     5. poll: blocks until the next timer if all sources are armed and none is ready, else not
 * Who sends on a source's library (a ZeroMQ send, a UCX post) touches the source, because the
 * send may have swallowed the only announcement of input.
 *
 * All functions belong to the loop's thread, except loop_post, loop_stop, loop_turns and
 * loop_longest_turn_ns. Callbacks may add and remove sources, hooks and timers, also themselves. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/metric.h"
#include "base/status.h"

struct event_base;
struct loop;
struct loop_source;
struct loop_timer;

#define LOOP_NAME_MAX 32
#define LOOP_SOURCES_MAX 4096
#define LOOP_HOOKS_MAX 16
#define LOOP_POSTS_MAX 1024
#define LOOP_BUDGET_DEFAULT 64
#define LOOP_SLICE_NS (1 * NS_PER_MS) /* who has drained for so long waits for the next turn */

struct loop_options {
    const char *name;                /* constant text; the label loop="..." */
    struct clock clock;              /* of timers; monotonic in production */
    struct metric_registry *metrics; /* may be NULL */
};

/* NO_MEMORY, IO. */
enum status loop_create(const struct loop_options *options, struct loop **out);

/* All sources and timers must be gone. NULL is nothing. */
void loop_destroy(struct loop *loop);

/* Turns until loop_stop; IO if libevent fails. A stop before the run ends it after one turn. */
enum status loop_run(struct loop *loop);

/* One turn that blocks at most `block_ns` (0: not at all); for tests and hosts with their own
 * loop. IO if libevent fails. */
enum status loop_turn(struct loop *loop, uint64_t block_ns);

/* Any thread, and signal-safe: loop_run returns after its present turn. */
void loop_stop(struct loop *loop);

/* Any thread: `fn(ctx)` runs on the loop's thread, in the order posted by each thread. FULL if
 * LOOP_POSTS_MAX wait already. Posts that were never run are dropped by loop_destroy. */
enum status loop_post(struct loop *loop, void (*fn)(void *ctx), void *ctx);

/* The present time of the loop's clock. */
uint64_t loop_now_ns(const struct loop *loop);

/* For libevent's own users (HTTP). Their callbacks call loop_woke first, so that the length of the
 * turn counts from there and not from before the sleep. */
struct event_base *loop_base(struct loop *loop);
void loop_woke(struct loop *loop);

/* ---- sources ---- */

struct loop_source_desc {
    const char *name; /* constant text */
    int fd;           /* polled for reading, stays the caller's; -1: only touches make it ready */
    /* Does a bounded piece of work (one message, one progress); true if there was any. It must
     * take the announcement of `fd` away, or the loop spins. */
    bool (*drain)(void *ctx);
    /* Asks the library to announce the next input on `fd`; true if it is quiet and the loop may
     * sleep, false if there is more to drain. NULL: always quiet (a plain descriptor). */
    bool (*arm)(void *ctx);
    void *ctx;
    uint32_t budget; /* drains per turn; 0: LOOP_BUDGET_DEFAULT */
};

/* A new source is ready. FULL at LOOP_SOURCES_MAX, NO_MEMORY, IO. */
enum status loop_source_add(struct loop *loop, const struct loop_source_desc *desc,
                            struct loop_source **out);

/* Removes before the descriptor is closed. No callback of it runs after this. NULL is nothing. */
void loop_source_remove(struct loop_source *source);

/* Makes the source ready and unarmed: call it after every send through its library. */
void loop_touch(struct loop_source *source);

/* ---- hooks ---- */

/* `fn(ctx)` runs at least once a turn, after the drains. FULL at LOOP_HOOKS_MAX. */
enum status loop_hook_add(struct loop *loop, void (*fn)(void *ctx), void *ctx);
void loop_hook_remove(struct loop *loop, void (*fn)(void *ctx), void *ctx);

/* ---- timers ---- */

/* A timer that is not running yet. Starting and stopping never fail, because its place is taken
 * here. NO_MEMORY. */
enum status loop_timer_create(struct loop *loop, void (*fn)(void *ctx), void *ctx,
                              struct loop_timer **out);

/* NULL is nothing. */
void loop_timer_destroy(struct loop_timer *timer);

/* (Re)starts it: once at a time of the loop's clock, once after a delay, or again and again (at
 * least one period apart; periods missed by a long turn are not made up for). */
void loop_timer_at(struct loop_timer *timer, uint64_t due_ns);
void loop_timer_after(struct loop_timer *timer, uint64_t delay_ns);
void loop_timer_every(struct loop_timer *timer, uint64_t period_ns);

/* Stops it; nothing if it is not running. */
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_running(const struct loop_timer *timer);

/* ---- signals ---- */

/* `fn(ctx, signum)` runs on the loop's thread when the process gets the signal, until the loop is
 * destroyed. Only one loop of a process may watch signals. FULL, INVALID, IO. */
enum status loop_signal_watch(struct loop *loop, int signum, void (*fn)(void *ctx, int signum),
                              void *ctx);

/* ---- what the loop knows about itself; any thread ---- */

/* Turns so far. The tick of heartbeats is not this: roles know no loop and count their own. */
uint64_t loop_turns(const struct loop *loop);

/* The longest turn since the last call with `reset`, without the sleep. */
uint64_t loop_longest_turn_ns(struct loop *loop, bool reset);
