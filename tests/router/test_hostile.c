/* What clients and nodes can say to harm others: each of these once did. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
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

static struct wire_msg job_at(uint32_t link)
{
    const struct wire_msg *job = rig_answer(&rig, link, WIRE_KIND_JOB);

    assert_non_null(job);
    return *job;
}

/* A request whose deadline has passed since the last tick must not travel with a deadline that went
 * round the corner: no node takes that, and the router would break its sessions with both. */
static void expired_request_breaks_no_session(void **state)
{
    static const uint32_t ids[] = {1, 2, 3};
    struct wire_msg job, msg;

    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 5);
    job = job_at(RIG_P_LINK);
    (void)rig_generate(&rig, 10, 5); /* P has two now, which is all it takes */
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.tokens = (struct wire_u32s){ids, 3};
    msg.generate.deadline_ms = 1;
    rig_client(&rig, &msg);
    rig.now_ns += 10 * NS_PER_MS; /* no tick in between */
    rig_first(&rig, &job, 0, 'a');
    assert_non_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
    rig_wait(&rig, 50);
    assert_null(rig_answer(&rig, RIG_P_LINK, WIRE_KIND_BYE));
    assert_null(rig_answer(&rig, RIG_D_LINK, WIRE_KIND_BYE));
    assert_non_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_FAILED));
    assert_int_equal(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_FAILED)->failed.code,
                     STATUS_DEADLINE);
}

/* Admitted while no node was there to tell how long a sequence may be. */
static void too_long_request_blocks_no_queue(void **state)
{
    const struct wire_msg *failed;

    (void)state;
    (void)rig_generate(&rig, 10, 1u << 20);
    (void)rig_generate(&rig, 500, 500);
    (void)rig_generate(&rig, 10, 5);
    rig_join(&rig, RIG_P_LINK, RIG_P, WIRE_ROLE_PREFILL, "p");
    failed = rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_FAILED);
    assert_non_null(failed);
    assert_int_equal(failed->failed.code, STATUS_TOO_BIG);
    rig_join(&rig, RIG_D_LINK, RIG_D, WIRE_ROLE_DECODE, "d");
    rig_wait(&rig, 50);
    assert_int_equal(job_at(RIG_P_LINK).job.prompt.n, 10);
    assert_int_equal(job_at(RIG_P_LINK).job.sampling.max_tokens, 5);
}

/* "Failed: done" from a broken node must not become a good end with tokens missing. */
static void failure_is_never_a_good_end(void **state)
{
    const struct wire_msg *failed;
    struct wire_msg job;

    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 5);
    for (int i = 0; i < 3; i++) {
        job = job_at(RIG_P_LINK);
        rig_failed(&rig, RIG_P_LINK, RIG_P, &job, STATUS_DONE);
    }
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_DONE));
    failed = rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_FAILED);
    assert_non_null(failed);
    assert_int_equal(failed->failed.code, STATUS_PROTOCOL);
}

static void say_done(const struct wire_msg *job, uint32_t n_tokens, const char *reason)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_DONE);
    msg.req = job->req;
    msg.attempt = job->attempt;
    msg.generation = job->generation;
    msg.done.n_tokens = n_tokens;
    msg.done.reason = wire_span_of(reason);
    rig_node(&rig, RIG_D_LINK, RIG_D, &msg);
}

/* A broken node's early or unknown end is a failure, and the request goes on elsewhere. */
static void only_a_marked_last_token_ends(void **state)
{
    struct wire_msg job;

    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 5);
    job = job_at(RIG_D_LINK);
    rig_first(&rig, &job, 0, 'a');
    say_done(&job, 1, "stop"); /* no token has said so */
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_DONE));
    job = job_at(RIG_D_LINK);
    assert_int_equal(job.attempt, 2);
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 1, 'b', "because");
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
    job = job_at(RIG_D_LINK);
    assert_int_equal(job.attempt, 3);
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 1, 'b', "length"); /* three are missing */
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
    assert_int_equal(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_FAILED)->failed.code,
                     STATUS_PROTOCOL);
}

/* Clients that ask and vanish keep their place for resume_ms, but not against those who stay. */
static void vanished_clients_keep_nobody_out(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        (void)rig_generate(&rig, 10, 5);
    rig_link_down(&rig, ROUTER_DOOR_CLIENT, RIG_CLIENT_LINK);
    for (int i = 0; i < 4; i++)
        (void)rig_generate(&rig, 20, 5);
    rig_fleet(&rig, 1);
    assert_int_equal(job_at(RIG_P_LINK).job.prompt.n, 20);
}

/* A router that was stopped does not take its own sleep for its nodes' silence; but the client's
 * time has gone on. */
static void deadline_passes_in_sleep(void **state)
{
    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 5); /* deadline_ms is 10000 */
    rig.now_ns += 9 * NS_PER_S;
    rig_wait(&rig, 500);
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_FAILED));
    assert_null(rig_answer(&rig, RIG_P_LINK, WIRE_KIND_BYE));
    rig_wait(&rig, 600);
    assert_non_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_FAILED));
    assert_int_equal(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_FAILED)->failed.code,
                     STATUS_DEADLINE);
}

/* A join that is not the first message of its session is refused, and costs nobody anything. */
static void join_out_of_turn_is_refused(void **state)
{
    (void)state;
    rig.seq[RIG_P_LINK] = 4;
    rig_join(&rig, RIG_P_LINK, RIG_P, WIRE_ROLE_PREFILL, "p");
    assert_null(rig_answer(&rig, RIG_P_LINK, WIRE_KIND_WELCOME));
    assert_non_null(rig_answer(&rig, RIG_P_LINK, WIRE_KIND_BYE));
    rig.seq[RIG_P_LINK] = 0;
    rig_fleet(&rig, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(expired_request_breaks_no_session), T(too_long_request_blocks_no_queue),
        T(failure_is_never_a_good_end),       T(vanished_clients_keep_nobody_out),
        T(deadline_passes_in_sleep),          T(join_out_of_turn_is_refused),
        T(only_a_marked_last_token_ends),
    };
    const struct log_options silent = {.level = LOG_LEVEL_OFF};

    (void)log_open(&silent);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
