/* The job is one 64-bit ticket: its number in the upper half, the tasks left in the lower. A thread
 * takes a task by lowering the ticket with a compare-and-swap. It reads what the job is before; had
 * the job changed meanwhile, so would have its number, and the swap fails. So a job ends when its
 * tasks are done, without a barrier: a worker that the system does not run costs nothing. */
#include "kernels/pool.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "kernels/fpmode.h"

#define SPIN_NS 20000
#define SPINS_PER_CLOCK 32 /* pauses between two looks at the clock */

struct worker {
    struct pool *pool;
    pthread_t thread;
    uint32_t idx;
};

struct pool {
    _Alignas(64) _Atomic uint64_t ticket; /* number << 32 | tasks left */
    _Alignas(64) _Atomic uint32_t n_done; /* tasks of this job that have ended */
    _Atomic uint32_t owner_sleeps;
    _Alignas(64) _Atomic uint32_t wake; /* workers sleep on this word */
    _Atomic uint32_t n_asleep;
    _Alignas(64) _Atomic(pool_fn) fn;
    _Atomic(void *) ctx;
    _Atomic uint32_t n_tasks;
    _Atomic bool stop;
    uint32_t number;
    uint32_t n_threads, n_started;
    struct worker workers[];
};

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Takes one task and runs it; false where none is left. */
static bool take_task(struct pool *pool, uint32_t thread)
{
    uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);

    while ((uint32_t)ticket != 0) {
        pool_fn fn = atomic_load_explicit(&pool->fn, memory_order_relaxed);
        void *ctx = atomic_load_explicit(&pool->ctx, memory_order_relaxed);
        uint32_t n_tasks = atomic_load_explicit(&pool->n_tasks, memory_order_relaxed);

        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket - 1,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        fn(ctx, thread, n_tasks - (uint32_t)ticket);
        if (atomic_fetch_add_explicit(&pool->n_done, 1, memory_order_seq_cst) + 1 == n_tasks &&
            atomic_load_explicit(&pool->owner_sleeps, memory_order_seq_cst) != 0)
            futex_wake(&pool->n_done, 1);
        return true;
    }
    return false;
}

static bool has_work(struct pool *pool)
{
    return (uint32_t)atomic_load_explicit(&pool->ticket, memory_order_seq_cst) != 0 ||
           atomic_load_explicit(&pool->stop, memory_order_seq_cst);
}

/* Spins, then sleeps, until there is a task or the end. */
static void wait_for_work(struct pool *pool)
{
    uint64_t until = now_ns() + SPIN_NS;
    uint32_t seen;

    do {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
            if (has_work(pool))
                return;
            cpu_relax();
        }
    } while (now_ns() < until);
    seen = atomic_load_explicit(&pool->wake, memory_order_seq_cst);
    atomic_fetch_add_explicit(&pool->n_asleep, 1, memory_order_seq_cst);
    if (!has_work(pool))
        futex_wait(&pool->wake, seen);
    atomic_fetch_sub_explicit(&pool->n_asleep, 1, memory_order_seq_cst);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct pool *pool = worker->pool;

    (void)fpmode_enter();
    while (!atomic_load_explicit(&pool->stop, memory_order_acquire)) {
        if (!take_task(pool, worker->idx))
            wait_for_work(pool);
    }
    return NULL;
}

static void wake_workers(struct pool *pool)
{
    if (atomic_load_explicit(&pool->n_asleep, memory_order_seq_cst) == 0)
        return;
    atomic_fetch_add_explicit(&pool->wake, 1, memory_order_seq_cst);
    futex_wake(&pool->wake, (int)pool->n_threads);
}

static void wait_for_end(struct pool *pool, uint32_t n_tasks)
{
    uint64_t until = now_ns() + SPIN_NS;
    uint32_t done;

    for (uint32_t i = 1;; i++) {
        if (atomic_load_explicit(&pool->n_done, memory_order_acquire) == n_tasks)
            return;
        cpu_relax();
        if (i % SPINS_PER_CLOCK == 0 && now_ns() >= until)
            break;
    }
    atomic_store_explicit(&pool->owner_sleeps, 1, memory_order_seq_cst);
    while ((done = atomic_load_explicit(&pool->n_done, memory_order_seq_cst)) != n_tasks)
        futex_wait(&pool->n_done, done);
    atomic_store_explicit(&pool->owner_sleeps, 0, memory_order_relaxed);
}

void pool_run(struct pool *pool, uint32_t n_tasks, pool_fn fn, void *ctx)
{
    struct fpmode mode = fpmode_enter();

    if (pool->n_threads == 1 || n_tasks == 1) {
        for (uint32_t task = 0; task < n_tasks; task++)
            fn(ctx, 0, task);
    } else if (n_tasks > 0) {
        pool->number++;
        atomic_store_explicit(&pool->n_done, 0, memory_order_relaxed);
        atomic_store_explicit(&pool->fn, fn, memory_order_relaxed);
        atomic_store_explicit(&pool->ctx, ctx, memory_order_relaxed);
        atomic_store_explicit(&pool->n_tasks, n_tasks, memory_order_relaxed);
        atomic_store_explicit(&pool->ticket, (uint64_t)pool->number << 32 | n_tasks,
                              memory_order_seq_cst);
        wake_workers(pool);
        while (take_task(pool, 0))
            ;
        wait_for_end(pool, n_tasks);
    }
    fpmode_leave(mode);
}

uint32_t pool_n_threads(const struct pool *pool)
{
    return pool->n_threads;
}

/* The idx-th CPU that this process may use. */
static void pin_thread(pthread_t thread, uint32_t idx)
{
    cpu_set_t allowed, one;
    uint32_t seen = 0;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || seen++ != idx)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)pthread_setaffinity_np(thread, sizeof(one), &one); /* only a wish */
        return;
    }
}

static uint32_t count_cpus(void)
{
    cpu_set_t allowed;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return 1;
    uint32_t n = (uint32_t)CPU_COUNT(&allowed);
    return n < POOL_THREADS_MAX ? n : POOL_THREADS_MAX;
}

enum status pool_create(uint32_t n_threads, bool pin, struct pool **out)
{
    struct pool *pool;
    size_t bytes;

    if (n_threads > POOL_THREADS_MAX)
        return STATUS_INVALID;
    if (n_threads == 0)
        n_threads = count_cpus();
    bytes = (sizeof(*pool) + n_threads * sizeof(pool->workers[0]) + 63) / 64 * 64;
    pool = aligned_alloc(64, bytes);
    if (pool == NULL)
        return STATUS_NO_MEMORY;
    atomic_init(&pool->ticket, 0);
    atomic_init(&pool->n_done, 0);
    atomic_init(&pool->owner_sleeps, 0);
    atomic_init(&pool->wake, 0);
    atomic_init(&pool->n_asleep, 0);
    atomic_init(&pool->fn, NULL);
    atomic_init(&pool->ctx, NULL);
    atomic_init(&pool->n_tasks, 0);
    atomic_init(&pool->stop, false);
    pool->number = 0;
    pool->n_threads = n_threads;
    for (pool->n_started = 1; pool->n_started < n_threads; pool->n_started++) {
        struct worker *worker = &pool->workers[pool->n_started];

        worker->pool = pool;
        worker->idx = pool->n_started;
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
            pool_destroy(pool);
            return STATUS_IO;
        }
        if (pin)
            pin_thread(worker->thread, worker->idx);
    }
    *out = pool;
    return STATUS_OK;
}

void pool_destroy(struct pool *pool)
{
    if (pool == NULL)
        return;
    atomic_store_explicit(&pool->stop, true, memory_order_seq_cst);
    atomic_fetch_add_explicit(&pool->wake, 1, memory_order_seq_cst);
    futex_wake(&pool->wake, (int)pool->n_threads);
    for (uint32_t i = 1; i < pool->n_started; i++)
        CHECK(pthread_join(pool->workers[i].thread, NULL) == 0);
    free(pool);
}
