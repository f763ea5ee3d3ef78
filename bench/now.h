/* The time, for those who measure. */
#pragma once

#include <stdint.h>

#include "base/clock.h"

static inline uint64_t bench_now_ns(void)
{
    const struct clock clock = clock_monotonic();

    return clock_now_ns(&clock);
}
