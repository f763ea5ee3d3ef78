/* A fixed set of threads that runs the tasks of one job at a time. Which thread runs which task is
 * open; a task writes only what is its own, so results never depend on it. Idle threads spin for at
 * most 20 us, then sleep. All tasks run with the floating-point mode of NUMERICS.md (FTZ and DAZ);
 * the caller's mode is as before when pool_run returns. One owner thread calls everything here. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

#define POOL_THREADS_MAX 256u

struct pool;

/* Task `task` of [0, n_tasks) on thread `thread` of [0, n_threads); 0 is the owner. */
typedef void (*pool_fn)(void *ctx, uint32_t thread, uint32_t task);

/* n_threads counts the owner; 0: one for each CPU this process may use. pin binds the new threads
 * to CPUs of their own. INVALID, NO_MEMORY, IO. */
enum status pool_create(uint32_t n_threads, bool pin, struct pool **out);
/* NULL is nothing. */
void pool_destroy(struct pool *pool);
uint32_t pool_n_threads(const struct pool *pool);
/* Runs every task once and returns when the last is done. Tasks are begun in ascending order; a
 * thread that sleeps through the whole job is not waited for. */
void pool_run(struct pool *pool, uint32_t n_tasks, pool_fn fn, void *ctx);
