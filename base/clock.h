/* Time behind a pointer. Cores never read a clock: their shell asks this one and passes `now_ns`
 * in, so the simulator can run the same object code on virtual time. All times are nanoseconds of
 * a clock that never goes back; they mean nothing outside the process, and only durations travel
 * between processes. Safe on any thread, as long as the source behind it is. */
#pragma once

#include <stdint.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define MS_PER_S UINT64_C(1000)

/* A due time that never comes. */
#define CLOCK_NEVER UINT64_MAX

struct clock {
    uint64_t (*now_ns)(void *ctx);
    void *ctx;
};

/* The machine's monotonic clock (CLOCK_MONOTONIC). */
struct clock clock_monotonic(void);

/* A clock that stands still until its owner moves `*now_ns`; for the simulator and tests.
 * `now_ns` stays the caller's and must outlive the clock. */
struct clock clock_manual(uint64_t *now_ns);

/* The present time of `clock`. */
uint64_t clock_now_ns(const struct clock *clock);

/* Time during which a process was awake. One that was stopped, suspended or starved of CPU finds
 * its peers' messages unread beside clocks that all ran on; it must not take its own sleep for
 * their silence. Inputs come at least every tick (50 ms), so a longer gap was a sleep, and counts
 * as CLOCK_LATE_NS. Zero at start. */
#define CLOCK_LATE_NS (500 * NS_PER_MS)
struct clock_awake {
    uint64_t last_ns;  /* of the clock behind it */
    uint64_t slept_ns; /* to be left out */
};
/* Call with the present time at every input; never goes back. */
uint64_t clock_awake_ns(struct clock_awake *awake, uint64_t now_ns);

/* a + b, or CLOCK_NEVER where that would wrap: "now + a huge time-out" stays in the future. */
uint64_t clock_add_ns(uint64_t a_ns, uint64_t b_ns);
