/* Sampling parameters as a whole: refusals name what is wrong and where, copies own their arrays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "tests/wire/equal.h"
#include "tests/wire/sample.h"
#include "wire/sampling.h"

#define VOCAB 1000u

static struct wire_sampling defaults(void)
{
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    return msg.generate.sampling;
}

/* Refused, and the sentence has both words. */
static void refused(const struct wire_sampling *sampling, const char *first, const char *second)
{
    char why[WIRE_ERROR_MAX] = "";
    assert_int_equal(wire_sampling_check(sampling, VOCAB, why), STATUS_INVALID);
    if (!strstr(why, first) || !strstr(why, second)) {
        fail_msg("expected \"%s\" and \"%s\" in: %s", first, second, why);
    }
}

static void good(const struct wire_sampling *sampling)
{
    char why[WIRE_ERROR_MAX] = "";
    if (wire_sampling_check(sampling, VOCAB, why) != STATUS_OK) {
        fail_msg("%s", why);
    }
}

static void numbers_have_a_range(void **state)
{
    (void)state;
    struct wire_sampling sampling = defaults();
    good(&sampling);
    sampling.max_tokens = 0;
    refused(&sampling, "max_tokens", "at least 1");
    sampling = defaults();
    sampling.min_tokens = sampling.max_tokens + 1;
    refused(&sampling, "min_tokens", "max_tokens");
    sampling = defaults();
    sampling.temperature = -0.1;
    refused(&sampling, "temperature", "negative");
    sampling = defaults();
    sampling.top_p = 0;
    refused(&sampling, "top_p", "above 0");
    sampling = defaults();
    sampling.min_p = -0.1;
    refused(&sampling, "min_p", "negative");
    sampling = defaults();
    sampling.repetition_penalty = 0;
    refused(&sampling, "repetition_penalty", "below 0.01");
}

static void ids_are_in_the_vocabulary(void **state)
{
    (void)state;
    static const uint32_t ids[] = {0, VOCAB - 1, VOCAB}, huge[] = {UINT32_MAX};
    static const double values[] = {1, 2, 3};
    const struct wire_u32s in = {ids, 2}, over = {ids, 3};
    struct wire_sampling sampling = defaults();
    sampling.stop_ids = sampling.allowed_ids = sampling.bad_ids = sampling.bias_ids = in;
    sampling.bias_values = (struct wire_f64s){values, 2};
    good(&sampling);
    sampling.stop_ids = over;
    refused(&sampling, "stop_ids[2] is 1000", "ends at 1000");
    sampling.stop_ids = in;
    sampling.allowed_ids = over;
    refused(&sampling, "allowed_ids[2]", "1000");
    sampling.allowed_ids = in;
    sampling.bad_ids = (struct wire_u32s){huge, 1};
    refused(&sampling, "bad_ids[0] is 4294967295", "1000");
    sampling.bad_ids = in;
    sampling.bias_ids = over;
    sampling.bias_values.n = 3;
    refused(&sampling, "bias_ids[2]", "1000");
}

static void a_bias_is_one_of_each(void **state)
{
    (void)state;
    static const uint32_t ids[] = {5, 6, 5};
    double values[] = {100, -100, 0};
    struct wire_sampling sampling = defaults();
    sampling.bias_ids = (struct wire_u32s){ids, 2};
    sampling.bias_values = (struct wire_f64s){values, 2};
    good(&sampling);
    sampling.bias_values.n = 1;
    refused(&sampling, "bias_ids has 2", "bias_values 1");
    sampling.bias_ids.n = 0;
    refused(&sampling, "bias_ids has 0", "bias_values 1");
    sampling.bias_ids.n = sampling.bias_values.n = 3;
    refused(&sampling, "bias_ids[0] and bias_ids[2]", "5");
    sampling.bias_ids.n = sampling.bias_values.n = 2;
    values[1] = -100.5;
    refused(&sampling, "bias_values[1] is -100.5", "-100 to 100");
}

static void jobs_are_checked_whole(void **state)
{
    (void)state;
    static const uint32_t ids[] = {1, VOCAB};
    char why[WIRE_ERROR_MAX];
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_JOB);
    msg.job.prompt = (struct wire_u32s){ids, 1};
    assert_int_equal(wire_job_check(&msg.job, VOCAB, why), STATUS_OK);
    msg.job.prompt.n = 2;
    assert_int_equal(wire_job_check(&msg.job, VOCAB, why), STATUS_INVALID);
    assert_non_null(strstr(why, "prompt[1] is 1000"));
    msg.job.prompt.n = 1;
    msg.job.emitted = (struct wire_u32s){ids, 2};
    assert_int_equal(wire_job_check(&msg.job, VOCAB, why), STATUS_INVALID);
    assert_non_null(strstr(why, "emitted[1] is 1000"));
    msg.job.emitted.n = 1;
    msg.job.sampling.bad_ids = (struct wire_u32s){ids, 2};
    assert_int_equal(wire_job_check(&msg.job, VOCAB, why), STATUS_INVALID);
    assert_non_null(strstr(why, "bad_ids[1]"));
}

/* A copy is equal, and still so when the original's arrays are gone. */
static void copies_own_their_arrays(void **state)
{
    (void)state;
    const struct wire_table *table = wire_table_nested(WIRE_TYPE_sampling);
    struct arena *arena;
    struct rand rng;
    rand_init(&rng, 9);
    assert_int_equal(arena_create(4096, 1 << 20, &arena), STATUS_OK);
    for (uint32_t i = 0; i < 2000; i++) {
        struct wire_msg msg, again;
        sample_msg(&rng, arena, WIRE_KIND_GENERATE, 9, &msg);
        const struct wire_sampling *from = &msg.generate.sampling;
        size_t bytes = wire_sampling_bytes(from);
        assert_int_equal(bytes % 8, 0);
        void *memory = malloc(bytes + 1);
        assert_non_null(memory);
        struct wire_sampling copy = wire_sampling_copy(from, memory);
        assert_true(equal_table(table, (const char *)&copy, (const char *)from));
        /* The same message once more, and the first one's memory overwritten. */
        void *own = malloc(bytes + 1);
        assert_non_null(own);
        again.generate.sampling = wire_sampling_copy(&copy, own);
        memset(memory, 0xa5, bytes);
        assert_true(equal_table(table, (const char *)&again.generate.sampling, (const char *)from));
        free(own);
        free(memory);
        arena_reset(arena);
    }
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_a_range),    cmocka_unit_test(ids_are_in_the_vocabulary),
        cmocka_unit_test(a_bias_is_one_of_each),   cmocka_unit_test(jobs_are_checked_whole),
        cmocka_unit_test(copies_own_their_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
