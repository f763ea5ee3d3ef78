/* The monotonic clock and the manual one. */
#include "base/clock.h"

#include <stddef.h>
#include <time.h>

#include "base/check.h"

static uint64_t monotonic_now_ns(void *ctx)
{
    (void)ctx;
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t manual_now_ns(void *ctx)
{
    return *(const uint64_t *)ctx;
}

struct clock clock_monotonic(void)
{
    return (struct clock){.now_ns = monotonic_now_ns, .ctx = NULL};
}

struct clock clock_manual(uint64_t *now_ns)
{
    return (struct clock){.now_ns = manual_now_ns, .ctx = now_ns};
}

uint64_t clock_now_ns(const struct clock *clock)
{
    return clock->now_ns(clock->ctx);
}

uint64_t clock_add_ns(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns > CLOCK_NEVER - b_ns ? CLOCK_NEVER : a_ns + b_ns;
}

uint64_t clock_awake_ns(struct clock_awake *awake, uint64_t now_ns)
{
    if (awake->last_ns != 0 && now_ns > awake->last_ns + CLOCK_LATE_NS)
        awake->slept_ns += now_ns - awake->last_ns - CLOCK_LATE_NS;
    if (now_ns > awake->last_ns)
        awake->last_ns = now_ns;
    return awake->last_ns - awake->slept_ns;
}
