/* The loop's timers: a binary heap by due time, then by order of starting. Only loop.c includes
 * this; the public functions on one timer (loop_timer_*) are in loop_timers.c. */
#pragma once

#include <stdint.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/status.h"

struct loop_timers {
    struct clock clock;
    struct loop_timer **heap; /* [n_running], room for n_created */
    uint32_t n_running;
    uint32_t n_created;
    uint32_t capacity;
    uint64_t n_starts; /* numbers the starts */
};

/* Frees the heap; all timers must be destroyed. */
void loop_timers_fini(struct loop_timers *timers);

/* When the next timer is due, or CLOCK_NEVER. */
uint64_t loop_timers_next_ns(const struct loop_timers *timers);

/* Runs what is due at `now_ns`, each timer at most once. */
void loop_timers_run(struct loop_timers *timers, uint64_t now_ns);

/* The timers of a loop. */
struct loop_timers *loop_timers_of(struct loop *loop);
