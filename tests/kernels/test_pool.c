/* The pool: every task once, on any number of threads; a job ends only when all are done; the
 * floating-point mode is set inside and as before outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "kernels/pool.h"

#define TASKS_MAX 1000u

struct job {
    uint32_t n_threads;
    _Atomic uint32_t ran[TASKS_MAX];
    _Atomic uint32_t wrong;
};

static void count_task(void *ctx, uint32_t thread, uint32_t task)
{
    struct job *job = ctx;
    volatile float tiny = 0x1p-126f;

    if (thread >= job->n_threads || task >= TASKS_MAX || tiny * 0.5f != 0.0f)
        atomic_fetch_add(&job->wrong, 1);
    else
        atomic_fetch_add(&job->ran[task], 1);
}

static void every_task_once(void **state)
{
    static struct job job;

    (void)state;
    for (uint32_t n_threads = 1; n_threads <= 5; n_threads++) {
        struct pool *pool;

        assert_int_equal(pool_create(n_threads, false, &pool), STATUS_OK);
        assert_int_equal(pool_n_threads(pool), n_threads);
        for (uint32_t round = 0; round < 2000; round++) {
            uint32_t n = round % 7 == 0 ? TASKS_MAX : round % 13;
            volatile float tiny = 0x1p-126f;

            memset(&job, 0, sizeof(job));
            job.n_threads = n_threads;
            pool_run(pool, n, count_task, &job);
            assert_int_equal(job.wrong, 0);
            for (uint32_t i = 0; i < TASKS_MAX; i++)
                assert_int_equal(job.ran[i], i < n);
            assert_true(tiny * 0.5f > 0.0f);
        }
        pool_destroy(pool);
    }
}

static void sleepers_wake(void **state)
{
    static struct job job;
    const struct timespec longer_than_spinning = {.tv_nsec = 200000};
    struct pool *pool;

    (void)state;
    assert_int_equal(pool_create(3, true, &pool), STATUS_OK);
    for (uint32_t round = 0; round < 500; round++) {
        memset(&job, 0, sizeof(job));
        job.n_threads = 3;
        pool_run(pool, 50, count_task, &job);
        for (uint32_t i = 0; i < 50; i++)
            assert_int_equal(job.ran[i], 1);
        nanosleep(&longer_than_spinning, NULL);
    }
    pool_destroy(pool);
}

static void bad_counts_are_refused(void **state)
{
    struct pool *pool;

    (void)state;
    assert_int_equal(pool_create(POOL_THREADS_MAX + 1, false, &pool), STATUS_INVALID);
    assert_int_equal(pool_create(0, false, &pool), STATUS_OK);
    assert_true(pool_n_threads(pool) >= 1);
    pool_destroy(pool);
    pool_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_once),
        cmocka_unit_test(sleepers_wake),
        cmocka_unit_test(bad_counts_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
