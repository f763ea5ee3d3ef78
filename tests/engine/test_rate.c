/* Chunks by measured rate, and bounds that never call a busy step stuck. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "engine/rate.h"

#define MS UINT64_C(1000000)

static const struct rate_load one_block = {.n_tokens = 64}, full = {.n_tokens = 512},
                              ten_rows = {.n_rows = 10};

static void test_unknown(void **state)
{
    (void)state;
    struct rate rate = {0};
    assert_int_equal(rate_chunk(&rate, 512, 500), 64);
    assert_int_equal(rate_bound_ms(&rate, full), RATE_BOUND_UNKNOWN_MS);
    rate_learn(&rate, one_block, 0); /* nobody measures: no limit */
    assert_int_equal(rate_chunk(&rate, 512, 500), 512);
    assert_int_equal(rate_bound_ms(&rate, full), RATE_BOUND_MIN_MS);
}

static void test_chunk_by_rate(void **state)
{
    (void)state;
    struct rate rate = {0};
    rate_learn(&rate, one_block, 64 * MS); /* 1 ms a token */
    assert_int_equal(rate_chunk(&rate, 512, 500), 448);
    assert_int_equal(rate_chunk(&rate, 512, 600), 512);
    assert_int_equal(rate_chunk(&rate, 512, 1), 64);
    assert_int_equal(rate_bound_ms(&rate, full), 4 * 512);
    assert_int_equal(rate_bound_ms(&rate, one_block), RATE_BOUND_MIN_MS);
    for (int i = 0; i < 40; i++)
        rate_learn(&rate, one_block, 640 * MS);
    assert_int_equal(rate_chunk(&rate, 512, 2000), 192);
    rate_learn(&rate, one_block, 64 * MS); /* one quick step is not the rule */
    assert_int_equal(rate_chunk(&rate, 512, 2000), 256);
}

static void test_decode(void **state)
{
    (void)state;
    struct rate rate = {0};
    rate_learn(&rate, one_block, 640 * MS);
    assert_int_equal(rate_bound_ms(&rate, ten_rows), 4 * 640); /* as a block */
    rate_learn(&rate, ten_rows, 1000 * MS);
    assert_int_equal(rate_bound_ms(&rate, ten_rows), 4 * 1000);
    assert_int_equal(rate_bound_ms(&rate, (struct rate_load){.n_rows = 1}), 4 * 1000);
    assert_int_equal(rate_bound_ms(&rate, (struct rate_load){.n_rows = 20}), 8 * 1000);
    assert_int_equal(rate_bound_ms(&rate, (struct rate_load){10, 100}), 4 * 2000);
    /* A mixed step: what the rows take is known, the rest is the chunk's. */
    rate = (struct rate){0};
    rate_learn(&rate, ten_rows, 100 * MS);
    assert_int_equal(rate_bound_ms(&rate, full), 4 * 5120); /* as so many rows */
    rate_learn(&rate, (struct rate_load){10, 100}, 1100 * MS);
    assert_int_equal(rate_bound_ms(&rate, (struct rate_load){.n_tokens = 100}), 4000);
}

static void test_no_overflow(void **state)
{
    (void)state;
    struct rate rate = {0};
    rate_learn(&rate, one_block, UINT64_MAX);
    assert_int_equal(rate_chunk(&rate, 512, 500), 64);
    assert_int_equal(rate_bound_ms(&rate, full), UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_chunk_by_rate),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_no_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
