/* Random worlds, many seeds: no violation with the protocol as it is. Built once more for each
 * planted fault: there a violation must be found within the same seeds. With a seed as argument it
 * prints that one run's log, with two it runs them and all between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/kvtransfer/kvt_world.h"

#define BUSY_MS 9000u

#ifdef BATON_PLANT
#define SEEDS 400u
#else
#define SEEDS 200u
#endif

static void add(struct world_sums *sums, struct world_sums one)
{
    uint64_t *into = (uint64_t *)sums;
    const uint64_t *from = (const uint64_t *)&one;
    for (size_t i = 0; i < sizeof(one) / sizeof(uint64_t); i++) {
        into[i] += from[i];
    }
}

static void print(const struct world_sums *sums)
{
    printf("landed %llu closed %llu, at P landed %llu closed %llu refused %llu; fences %llu "
           "stalls %llu mismatches %llu\n",
           (unsigned long long)sums->landed, (unsigned long long)sums->closed,
           (unsigned long long)sums->outs_landed, (unsigned long long)sums->outs_closed,
           (unsigned long long)sums->refused, (unsigned long long)sums->fences,
           (unsigned long long)sums->stalls, (unsigned long long)sums->mismatches);
    printf("kills %llu freezes %llu cuts %llu forged %llu lost %llu doubled %llu\n",
           (unsigned long long)sums->kills, (unsigned long long)sums->freezes,
           (unsigned long long)sums->cuts, (unsigned long long)sums->forged,
           (unsigned long long)sums->lost, (unsigned long long)sums->doubled);
}

/* The violation is printed with its seed. */
static bool run_seed(uint64_t seed, bool verbose, struct world_sums *sums)
{
    struct world *world = world_create(seed, verbose);
    world_run(world, BUSY_MS);
    const char *violation = world_violation(world);
    if (violation) {
        printf("seed %llu: %s\n", (unsigned long long)seed, violation);
    }
    add(sums, world_sums(world));
    world_destroy(world);
    return violation == NULL;
}

#ifdef BATON_PLANT
/* In a process of its own: a planted fault may as well run into one of the protocol's CHECKs. */
static bool run_apart(uint64_t seed)
{
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct world_sums sums = {0};
        bool good = run_seed(seed, false, &sums);
        fflush(stdout);
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void test_seeds(void **state)
{
    (void)state;
    bool good = true;
    for (uint64_t seed = 1; seed <= SEEDS && good; seed++) {
        good = run_apart(seed);
    }
    assert_false(good);
}
#else
static void test_seeds(void **state)
{
    (void)state;
    struct world_sums sums = {0};
    bool good = true;
    for (uint64_t seed = 1; seed <= SEEDS && good; seed++) {
        good = run_seed(seed, false, &sums);
    }
    print(&sums);
    assert_true(good);
    /* The worlds were neither idle nor hopeless. */
    assert_true(sums.landed > 10 * SEEDS && sums.closed > 10 * SEEDS);
    assert_true(sums.stalls > 0 && sums.mismatches > 0 && sums.outs_closed > 0);
}
#endif

int main(int argc, char **argv)
{
    if (argc > 1) {
        struct world_sums sums = {0};
        uint64_t first = strtoull(argv[1], NULL, 10);
        uint64_t last = argc > 2 ? strtoull(argv[2], NULL, 10) : first;
        bool good = true;
        for (uint64_t seed = first; seed <= last && good; seed++) {
            good = run_seed(seed, argc == 2, &sums);
        }
        print(&sums);
        return good ? 0 : 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
