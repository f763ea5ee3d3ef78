/* CPUs and memory, from the kernel and from the control group that a container runs in. */
#include "cli/machine.h"

#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#define CPUS_MAX 4096 /* of the affinity mask; more are counted by the system's own number */

/* Two numbers of a control group's file; false where there is none or it says "max". */
static bool read_limit(const char *path, uint64_t *first, uint64_t *second)
{
    FILE *file = fopen(path, "re");
    int n;

    if (!file)
        return false;
    n = fscanf(file, "%" SCNu64 " %" SCNu64, first, second);
    fclose(file);
    return n >= 1;
}

static uint32_t allowed_cpus(void)
{
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    const size_t bytes = CPU_ALLOC_SIZE(CPUS_MAX);
    long n = 0;

    if (set && sched_getaffinity(0, bytes, set) == 0)
        n = CPU_COUNT_S(bytes, set);
    if (set)
        CPU_FREE(set);
    if (n <= 0)
        n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}

uint32_t machine_cpus(void)
{
    const uint32_t n = allowed_cpus();
    uint64_t quota = 0, period = 0;

    if (read_limit("/sys/fs/cgroup/cpu.max", &quota, &period) && period > 0 &&
        (quota + period - 1) / period < n)
        return quota < period ? 1 : (uint32_t)((quota + period - 1) / period);
    return n;
}

uint64_t machine_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
    uint64_t limit, none;

    if ((read_limit("/sys/fs/cgroup/memory.max", &limit, &none) ||
         read_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes", &limit, &none)) &&
        limit < bytes)
        bytes = limit;
    return bytes;
}
