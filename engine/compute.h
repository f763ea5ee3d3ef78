/* The compute thread of a node: takes one step at a time from the I/O thread, runs the executor,
 * and gives back finished pieces and the completed step through rings. */
#pragma once

#include "engine/exec.h"

struct compute;
struct loop;

enum compute_event_kind { COMPUTE_PIECE, COMPUTE_COMPLETE };

struct compute_event {
    enum compute_event_kind kind;
    struct wire_id req; /* PIECE */
    uint32_t attempt;
    uint32_t block, group;
    uint64_t digest;
    uint64_t took_ns; /* COMPLETE */
    enum status status;
};

/* on_event is called on the loop's thread. crashbox may be NULL: memory shared with the supervisor
 * into which the requests of the step are written before it runs, under this incarnation
 * (crashbox.h). The executor and the crash box stay the caller's. NO_MEMORY, IO. */
typedef void (*compute_event_fn)(void *ctx, const struct compute_event *event);
struct crashbox;

enum status compute_create(struct loop *loop, struct exec exec, struct crashbox *crashbox,
                           uint64_t incarnation, compute_event_fn on_event, void *ctx,
                           struct compute **out);
/* Waits for a running step, then joins the thread; events not yet told are dropped. NULL is
 * nothing. */
void compute_destroy(struct compute *compute);
/* Hands over the step; one at a time (CHECK): the next after COMPLETE was told. */
void compute_post(struct compute *compute, const struct engine_step *step);
/* How long the thread has waited for a processor during the running step, as the kernel tells it; 0
 * when idle or unknown. Call at every tick: a step's first tick may count up to one tick of before.
 * A machine with too much to do makes no step stuck. */
uint64_t compute_starved_ns(struct compute *compute);
