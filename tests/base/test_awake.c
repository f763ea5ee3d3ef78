/* The waking clock: gaps between inputs count as 500 ms at most, and time never goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static void sleeps_are_left_out(void **state)
{
    struct clock_awake awake = {0};

    (void)state;
    assert_int_equal(clock_awake_ns(&awake, 1000 * NS_PER_S), 1000 * NS_PER_S);
    assert_int_equal(clock_awake_ns(&awake, 1000 * NS_PER_S + 500 * NS_PER_MS),
                     1000 * NS_PER_S + 500 * NS_PER_MS);
    assert_int_equal(clock_awake_ns(&awake, 1010 * NS_PER_S), 1001 * NS_PER_S);
    assert_int_equal(clock_awake_ns(&awake, 1010 * NS_PER_S + 1), 1001 * NS_PER_S + 1);
}

static void never_goes_back(void **state)
{
    struct clock_awake awake = {0};

    (void)state;
    assert_int_equal(clock_awake_ns(&awake, 7 * NS_PER_S), 7 * NS_PER_S);
    assert_int_equal(clock_awake_ns(&awake, 6 * NS_PER_S), 7 * NS_PER_S);
    assert_int_equal(clock_awake_ns(&awake, 7 * NS_PER_S + 1), 7 * NS_PER_S + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sleeps_are_left_out),
                                       cmocka_unit_test(never_goes_back)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
