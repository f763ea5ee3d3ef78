/* What this machine lets the process use. Any thread. */
#pragma once

#include <stdint.h>

/* CPUs: those that the process may run on, fewer where its control group has a quota. At least 1.
 */
uint32_t machine_cpus(void);
/* Bytes of memory: the machine's, or its control group's limit where that is lower. */
uint64_t machine_memory(void);
