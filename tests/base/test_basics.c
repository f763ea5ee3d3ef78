/* Status texts, CHECK, clocks and random numbers. */
#include "base/check.h"
#include "base/clock.h"
#include "base/rand.h"
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_status(void **state)
{
    (void)state;
    assert_string_equal(status_name(STATUS_MISMATCH), "MISMATCH");
    assert_string_equal(status_text(STATUS_OK), "ok");
    assert_string_equal(status_text((enum status)9999), "unknown status");
    assert_string_equal(status_name((enum status)9999), "UNKNOWN");
}

/* CHECK names the place and the condition, and the process dies by SIGABRT. */
static void test_check(void **state)
{
    (void)state;
    int ends[2];
    char text[512] = "";
    CHECK(1 + 1 == 2);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        CHECK_MSG(ends[0] < 0, "look here");
        _exit(0);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    close(ends[0]);
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT);
    assert_true(n > 0 && text[n - 1] == '\n');
    assert_non_null(strstr(text, "test_basics.c:"));
    assert_non_null(strstr(text, "CHECK(ends[0] < 0) failed: look here"));
}

static void test_clock(void **state)
{
    (void)state;
    struct clock monotonic = clock_monotonic();
    uint64_t before = clock_now_ns(&monotonic);
    assert_true(before > 0);
    assert_true(clock_now_ns(&monotonic) >= before);
    uint64_t now_ns = 5;
    struct clock manual = clock_manual(&now_ns);
    assert_int_equal(clock_now_ns(&manual), 5);
    now_ns = 7 * NS_PER_MS;
    assert_int_equal(clock_now_ns(&manual), 7000000);
    assert_true(clock_add_ns(CLOCK_NEVER, 1) == CLOCK_NEVER);
    assert_true(clock_add_ns(CLOCK_NEVER - 1, 5) == CLOCK_NEVER);
    assert_int_equal(clock_add_ns(2, 3), 5);
}

/* The published first outputs of xoshiro256** from the state {1, 2, 3, 4}. */
static void test_rand_vectors(void **state)
{
    (void)state;
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240};
    struct rand rng = {{1, 2, 3, 4}};
    for (size_t i = 0; i < 4; i++) {
        assert_true(rand_u64(&rng) == expected[i]);
    }
    rand_init(&rng, 0); /* splitmix64 of seed 0 begins with this */
    assert_true(rng.s[0] == UINT64_C(0xe220a8397b1dcdaf));
}

static void test_rand_ranges(void **state)
{
    (void)state;
    struct rand rng;
    uint32_t hits[10] = {0};
    rand_init(&rng, 42);
    for (int i = 0; i < 100000; i++) {
        hits[rand_below(&rng, 10)]++;
        uint64_t x = rand_between(&rng, 5, 7);
        assert_in_range(x, 5, 7);
        double unit = rand_unit(&rng);
        assert_true(unit >= 0 && unit < 1);
    }
    for (size_t i = 0; i < 10; i++) {
        assert_in_range(hits[i], 9500, 10500);
    }
    assert_true(rand_chance(&rng, 1, 1));
    assert_false(rand_chance(&rng, 0, 1));
    assert_int_equal(rand_between(&rng, 3, 3), 3);
    (void)rand_between(&rng, 0, UINT64_MAX);
}

static void test_rand_repeats(void **state)
{
    (void)state;
    struct rand a;
    struct rand b;
    uint8_t bytes_a[13];
    uint8_t bytes_b[13];
    rand_init(&a, 9);
    rand_init(&b, 9);
    rand_bytes(&a, bytes_a, sizeof(bytes_a));
    rand_bytes(&b, bytes_b, sizeof(bytes_b));
    assert_memory_equal(bytes_a, bytes_b, sizeof(bytes_a));
    rand_init(&b, 10);
    assert_true(rand_u64(&a) != rand_u64(&b));
}

static void test_entropy(void **state)
{
    (void)state;
    uint8_t a[1000] = {0};
    uint8_t b[1000] = {0};
    rand_entropy(a, sizeof(a));
    rand_entropy(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a + 984, b + 984, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),      cmocka_unit_test(test_check),
        cmocka_unit_test(test_clock),       cmocka_unit_test(test_rand_vectors),
        cmocka_unit_test(test_rand_ranges), cmocka_unit_test(test_rand_repeats),
        cmocka_unit_test(test_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
