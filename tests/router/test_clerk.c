/* The clerk: a tenant's jobs in their order, tenants in turns, nothing lost at the end. */
#include "router/clerk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/loop.h"

#define JOBS_MAX 4000

struct job {
    struct clerk_job job;
    unsigned number;
};

static struct job jobs[JOBS_MAX];
static unsigned ran[JOBS_MAX], done[JOBS_MAX]; /* numbers, in order */
static atomic_uint n_ran;
static unsigned n_done, n_dropped;
static atomic_bool gate; /* the first job waits for it */
static struct clerk *clerk;
static struct loop *loop;

static void on_run(struct clerk_job *job)
{
    const unsigned n = atomic_load(&n_ran);

    while (n == 0 && !atomic_load(&gate))
        continue;
    ran[n] = ((struct job *)job)->number;
    atomic_store(&n_ran, n + 1);
}

static void on_done(struct clerk_job *job)
{
    done[n_done++] = ((struct job *)job)->number;
}

static void on_drop(struct clerk_job *job)
{
    (void)job;
    n_dropped++;
}

static void post(unsigned number, uint64_t tenant)
{
    jobs[number] =
        (struct job){.job = {.run = on_run, .done = on_done, .drop = on_drop, .tenant = tenant},
                     .number = number};
    clerk_post(clerk, &jobs[number].job);
}

static int setup(void **state)
{
    const struct loop_options options = {.name = "test", .clock = clock_monotonic()};

    (void)state;
    n_ran = n_done = n_dropped = 0;
    gate = false;
    assert_int_equal(loop_create(&options, &loop), STATUS_OK);
    assert_int_equal(clerk_create(loop, &clerk), STATUS_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clerk_destroy(clerk);
    loop_destroy(loop);
    return 0;
}

static void turn_until_done(unsigned n)
{
    while (n_done < n)
        assert_int_equal(loop_turn(loop, 100 * NS_PER_MS), STATUS_OK);
}

/* One with many jobs, then two with few: after what is with the thread already, turns. */
static void test_turns(void **state)
{
    static const unsigned expected[] = {0, 1, 2, 100, 200, 3, 101, 201, 4, 5, 6, 7, 8, 9};

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        post(i, 7);
    for (unsigned i = 0; i < 2; i++) {
        post(100 + i, 8);
        post(200 + i, 9);
    }
    assert_int_equal(clerk_n_jobs(clerk), 14);
    atomic_store(&gate, true);
    turn_until_done(14);
    assert_int_equal(clerk_n_jobs(clerk), 0);
    for (unsigned i = 0; i < 14; i++) {
        assert_int_equal(ran[i], expected[i]);
        assert_int_equal(done[i], expected[i]);
    }
}

/* Many, from random tenants: each tenant's in order, all of them. */
static void test_many(void **state)
{
    unsigned last[16] = {0}, random = 1;

    (void)state;
    atomic_store(&gate, true);
    for (unsigned i = 0; i < JOBS_MAX; i++) {
        random = random * 1664525u + 1013904223u;
        post(i, random >> 28);
        if (random % 7 == 0)
            assert_int_equal(loop_turn(loop, 0), STATUS_OK);
    }
    turn_until_done(JOBS_MAX);
    for (unsigned i = 0; i < JOBS_MAX; i++) {
        const uint64_t tenant = jobs[done[i]].job.tenant;

        assert_true(last[tenant] == 0 || done[i] > last[tenant]);
        last[tenant] = done[i];
    }
    assert_int_equal(n_dropped, 0);
}

static void test_dropped(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++)
        post(i, i % 3);
    atomic_store(&gate, true);
    clerk_destroy(clerk);
    clerk = NULL;
    assert_int_equal(n_done, 0);
    assert_int_equal(n_dropped, 100);
    assert_true(atomic_load(&n_ran) <= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dropped, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
