/* Which node gets a request and when: the depth of a P, the order of the queue, the room of a D.
 * A wrong choice gives right tokens all the same, so the simulator does not see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "tests/router/rig.h"

static struct rig rig;

static int setup(void **state)
{
    (void)state;
    rig_init(&rig, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_fini(&rig);
    return 0;
}

/* The job that the last input brought to the link. */
static struct wire_msg job_at(uint32_t link)
{
    const struct wire_msg *job = rig_answer(&rig, link, WIRE_KIND_JOB);

    assert_non_null(job);
    return *job;
}

/* Asks for n ids; true when a job went to that link. */
static bool asks_for(uint32_t n_prompt, uint32_t link)
{
    (void)rig_generate(&rig, n_prompt, 5);
    return rig_answer(&rig, link, WIRE_KIND_JOB) != NULL;
}

/* One prompt that P computes and one that is ready to start; the third waits here, where it can
 * still go elsewhere. */
static void prefill_gets_two_prompts_at_once(void **state)
{
    struct wire_msg first;

    (void)state;
    rig_fleet(&rig, 1);
    assert_true(asks_for(10, RIG_P_LINK));
    first = job_at(RIG_P_LINK);
    assert_true(asks_for(20, RIG_P_LINK));
    assert_false(asks_for(30, RIG_P_LINK));
    rig_first(&rig, &first, 0, 'a');
    assert_int_equal(job_at(RIG_P_LINK).job.prompt.n, 30);
}

/* Who is done again stands before those who came later. */
static void resubmitted_request_keeps_its_place(void **state)
{
    struct wire_msg first;

    (void)state;
    rig_fleet(&rig, 1);
    assert_true(asks_for(10, RIG_P_LINK));
    first = job_at(RIG_P_LINK);
    assert_true(asks_for(20, RIG_P_LINK));
    assert_false(asks_for(30, RIG_P_LINK));
    rig_failed(&rig, RIG_P_LINK, RIG_P, &first, STATUS_FULL);
    rig_wait(&rig, 200); /* P is left alone for a while */
    assert_int_equal(job_at(RIG_P_LINK).job.prompt.n, 10);
}

static void decode_with_more_room_is_chosen(void **state)
{
    (void)state;
    rig_fleet(&rig, 2);
    assert_true(asks_for(200, RIG_D_LINK)); /* all alike: the first */
    assert_true(asks_for(10, RIG_D2_LINK));
}

/* A stream that has grown takes room in the router's account too. */
static void stream_grows_in_the_account(void **state)
{
    struct wire_msg old, job;

    (void)state;
    rig_fleet(&rig, 2);
    (void)rig_generate(&rig, 60, 200);
    old = job_at(RIG_P_LINK);
    rig_first(&rig, &old, 0, 'a');
    assert_true(asks_for(100, RIG_D2_LINK)); /* 3 blocks there, 2 with the old one */
    job = job_at(RIG_P_LINK);
    rig_first(&rig, &job, 0, 'a');
    for (uint32_t i = 1; i < 140; i++)
        rig_token(&rig, RIG_D_LINK, RIG_D, &old, i, 'a', "");
    assert_true(asks_for(10, RIG_D2_LINK)); /* 60 + 140 ids and one block to come: 5 */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(prefill_gets_two_prompts_at_once),
        T(resubmitted_request_keeps_its_place),
        T(decode_with_more_room_is_chosen),
        T(stream_grows_in_the_account),
    };
    const struct log_options silent = {.level = LOG_LEVEL_OFF};

    (void)log_open(&silent);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
