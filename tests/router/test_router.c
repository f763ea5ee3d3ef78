/* The router's state table, row by row, and what it refuses. The simulator covers the mixtures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

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

static void assert_failed(enum status code)
{
    const struct wire_msg *failed = rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_FAILED);

    assert_non_null(failed);
    assert_string_equal(status_name((enum status)failed->failed.code), status_name(code));
    assert_true(failed->failed.text.len > 0);
}

/* ---- the way of a request ---- */

static void happy_path(void **state)
{
    const struct wire_msg *done;
    struct wire_msg job;

    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 100, 3);
    job = job_at(RIG_P_LINK);
    assert_int_equal(job.job.peer, RIG_D);
    assert_int_equal(job_at(RIG_D_LINK).job.peer, RIG_P);
    assert_int_equal(job_at(RIG_D_LINK).job.prompt.n, 100);
    rig_first(&rig, &job, 0, 'a');
    assert_non_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 0, 'a', ""); /* the copy */
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 1, 'b', "");
    assert_int_equal(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN)->token.index, 1);
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 2, 'c', "length");
    rig_link_down(&rig, ROUTER_DOOR_NODE, RIG_D_LINK); /* dies before its done */
    done = rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_DONE);
    assert_non_null(done);
    assert_int_equal(done->done.n_tokens, 3);
    assert_memory_equal(done->done.reason.at, "length", 6);
    assert_true(router_idle(rig.router));
}

static void different_copy_is_an_error(void **state)
{
    struct wire_msg job;

    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 5);
    job = job_at(RIG_P_LINK);
    rig_first(&rig, &job, 0, 'a');
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 0, 'b', "");
    assert_failed(STATUS_MISMATCH);
    assert_non_null(rig_answer(&rig, RIG_D_LINK, WIRE_KIND_CANCEL));
}

static void lost_p_before_first_token_starts_again(void **state)
{
    struct wire_msg job;

    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 5);
    job = job_at(RIG_P_LINK);
    rig_link_down(&rig, ROUTER_DOOR_NODE, RIG_P_LINK);
    assert_non_null(rig_answer(&rig, RIG_D_LINK, WIRE_KIND_CANCEL));
    rig.seq[RIG_P_LINK] = 0;
    rig_join(&rig, RIG_P_LINK, RIG_P, WIRE_ROLE_PREFILL, "p");
    rig_wait(&rig, 100);
    assert_int_equal(job_at(RIG_P_LINK).attempt, job.attempt + 1);
    assert_int_equal(job_at(RIG_D_LINK).generation, job.generation + 1);
}

static void lost_d_in_decode_continues_elsewhere(void **state)
{
    struct wire_msg job, again;
    uint32_t link, other;
    uint64_t from, other_from;

    (void)state;
    rig_fleet(&rig, 2);
    (void)rig_generate(&rig, 10, 5);
    job = job_at(RIG_P_LINK);
    link = job.job.peer == RIG_D ? RIG_D_LINK : RIG_D2_LINK;
    other = link == RIG_D_LINK ? RIG_D2_LINK : RIG_D_LINK;
    from = job.job.peer;
    other_from = from == RIG_D ? RIG_D2 : RIG_D;
    rig_first(&rig, &job, 0, 'a');
    rig_token(&rig, link, from, &job, 0, 'a', "");
    rig_token(&rig, link, from, &job, 1, 'b', "");
    rig_link_down(&rig, ROUTER_DOOR_NODE, link);
    again = job_at(other);
    assert_int_equal(again.job.prompt.n, 10);
    assert_int_equal(again.job.emitted.n, 2);
    assert_int_equal(again.job.emitted.at[1], 'b');
    assert_int_equal(again.job.seed, job.job.seed);
    rig_token(&rig, other, other_from, &job, 2, 'x', ""); /* of the old reservation: dropped */
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
    rig_first(&rig, &again, 2, 'c');
    assert_int_equal(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN)->token.token, 'c');
}

static void full_d_costs_no_second_prefill(void **state)
{
    struct wire_msg job, again;
    uint32_t link, other;

    (void)state;
    rig_fleet(&rig, 2);
    (void)rig_generate(&rig, 10, 5);
    job = job_at(RIG_P_LINK);
    link = job.job.peer == RIG_D ? RIG_D_LINK : RIG_D2_LINK;
    other = link == RIG_D_LINK ? RIG_D2_LINK : RIG_D_LINK;
    rig_failed(&rig, link, job.job.peer, &job, STATUS_FULL);
    again = job_at(other);
    assert_int_equal(again.attempt, job.attempt);
    assert_int_equal(again.generation, job.generation + 1);
    assert_null(rig_answer(&rig, RIG_P_LINK, WIRE_KIND_JOB));
}

static void who_waits_for_a_d_comes_first(void **state)
{
    struct wire_msg job;

    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 5);
    job = job_at(RIG_P_LINK);
    rig_first(&rig, &job, 0, 'a');
    rig_failed(&rig, RIG_D_LINK, RIG_D, &job, STATUS_FULL);
    (void)rig_generate(&rig, 20, 5); /* would take the room that the first one needs */
    assert_null(rig_answer(&rig, RIG_D_LINK, WIRE_KIND_JOB));
    rig_wait(&rig, 100);
    assert_int_equal(job_at(RIG_D_LINK).job.prompt.n, 10);
    assert_int_equal(job_at(RIG_P_LINK).job.prompt.n, 20);
}

static void gives_up_after_attempts_max(void **state)
{
    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 5);
    for (int i = 0; i < 3; i++) {
        const struct wire_msg job = job_at(RIG_P_LINK);

        rig_failed(&rig, RIG_P_LINK, RIG_P, &job, STATUS_MISMATCH);
    }
    assert_failed(STATUS_MISMATCH);
    assert_true(router_idle(rig.router));
}

static void two_crashes_quarantine_the_prompt(void **state)
{
    struct wire_msg accepted, msg;
    uint64_t words[2];

    (void)state;
    rig_fleet(&rig, 1);
    accepted = rig_generate(&rig, 10, 5);
    memcpy(words, accepted.req.byte, 16);
    for (int i = 0; i < 2; i++) {
        wire_msg_init(&msg, WIRE_KIND_CRASH);
        msg.crash.incarnation = 99;
        msg.crash.requests = (struct wire_u64s){words, 2};
        rig_node(&rig, 30, 5, &msg);
    }
    assert_failed(STATUS_POISONED);
    msg.kind = WIRE_KIND_GENERATE;
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.tokens = (struct wire_u32s){(const uint32_t[10]){1, 2, 3}, 10};
    rig_client(&rig, &msg);
    assert_failed(STATUS_POISONED);
}

/* ---- clients ---- */

/* Who leaves it to the router gets what the prompt leaves, and at least a token of it. */
static void answers_fit(void **state)
{
    const uint32_t ids[512] = {1};
    const struct wire_msg *job;
    struct wire_msg msg;

    (void)state;
    rig_fleet(&rig, 1); /* of 512 tokens */
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.fit = true;
    msg.generate.tokens = (struct wire_u32s){ids, 500};
    msg.generate.sampling.max_tokens = 100;
    msg.generate.sampling.min_tokens = 50;
    rig_client(&rig, &msg);
    job = rig_answer(&rig, RIG_P_LINK, WIRE_KIND_JOB);
    assert_non_null(job);
    assert_int_equal(job->job.sampling.max_tokens, 12);
    assert_int_equal(job->job.sampling.min_tokens, 12);
    msg.generate.tokens.n = 512;
    rig_client(&rig, &msg);
    assert_failed(STATUS_TOO_BIG);
    msg.generate.tokens.n = 100;
    rig_client(&rig, &msg);
    job = rig_answer(&rig, RIG_P_LINK, WIRE_KIND_JOB);
    assert_non_null(job);
    assert_int_equal(job->job.sampling.max_tokens, 100);
}

static void with_defaults(struct router_cfg *cfg)
{
    static struct wire_sampling defaults;
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    defaults = msg.generate.sampling;
    defaults.temperature = 0.6;
    defaults.top_k = 20;
    cfg->defaults = &defaults;
    cfg->samples = true;
}

/* The router knows the model: clients need not. */
static void the_model_is_told(void **state)
{
    const struct wire_model_list *list;
    const struct wire_msg *answer;
    struct wire_msg msg;

    (void)state;
    for (int round = 0; round < 2; round++) {
        wire_msg_init(&msg, WIRE_KIND_MODELS);
        rig_client(&rig, &msg);
        answer = rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_MODEL_LIST);
        assert_non_null(answer);
        list = &answer->model_list;
        assert_int_equal(list->names.n, 1);
        assert_int_equal(list->samples, round > 0);
        assert_true(list->sampling.temperature == (round > 0 ? 0.6 : 1.0));
        assert_int_equal(list->sampling.top_k, round > 0 ? 20 : 0);
        assert_false(list->ready || list->chats);
        rig_fini(&rig);
        rig_init(&rig, with_defaults);
    }
    rig_fleet(&rig, 1);
    rig_client(&rig, &msg);
    assert_true(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_MODEL_LIST)->model_list.ready);
}

static void refusals_have_a_sentence(void **state)
{
    struct wire_msg msg;

    (void)state;
    rig_fleet(&rig, 1);
    wire_msg_init(&msg, WIRE_KIND_GENERATE); /* neither tokens nor text */
    rig_client(&rig, &msg);
    assert_failed(STATUS_INVALID);
    msg.generate.text = wire_span_of("hello");
    msg.generate.sampling.max_tokens = 600;
    rig_client(&rig, &msg);
    assert_failed(STATUS_TOO_BIG);
    msg.generate.sampling.max_tokens = 0;
    rig_client(&rig, &msg);
    assert_failed(STATUS_INVALID);
    msg.generate.sampling.max_tokens = 4;
    msg.generate.model = wire_span_of("gpt");
    rig_client(&rig, &msg);
    assert_failed(STATUS_NOT_FOUND);
    wire_msg_init(&msg, WIRE_KIND_JOIN); /* a client is no node */
    rig_client(&rig, &msg);
    assert_failed(STATUS_DENIED);
    router_drain(rig.router);
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.text = wire_span_of("hello");
    rig_client(&rig, &msg);
    assert_failed(STATUS_DRAINING);
}

static void queue_is_bounded_in_length_and_time(void **state)
{
    struct wire_msg msg;

    (void)state; /* no node at all: everything queues */
    for (int i = 0; i < 4; i++)
        (void)rig_generate(&rig, 10, 5);
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.text = wire_span_of("hello");
    rig_client(&rig, &msg);
    assert_failed(STATUS_FULL);
    assert_true(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_FAILED)->failed.retry_ms > 0);
    rig_wait(&rig, 5100);
    assert_failed(STATUS_FULL);
    assert_true(router_idle(rig.router));
}

static void an_overtaken_first_leaves_no_gap_in_the_ledger(void **state)
{
    struct wire_msg job, msg;

    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 2);
    job = job_at(RIG_P_LINK);
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 0, 'a', "");
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 1, 'b', "length");
    wire_msg_init(&msg, WIRE_KIND_DONE);
    msg.req = job.req;
    msg.attempt = msg.generation = 1;
    msg.done.n_tokens = 2;
    msg.done.ledger.prefill_us = 77;
    rig_node(&rig, RIG_D_LINK, RIG_D, &msg);
    assert_int_equal(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_DONE)->done.ledger.prefill_us, 77);
}

static void credits_hold_tokens_back(void **state)
{
    struct wire_msg job, msg, accepted;

    (void)state;
    rig_fleet(&rig, 1);
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.text = wire_span_of("hello");
    msg.generate.credits = 1;
    rig_client(&rig, &msg);
    accepted = *rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_ACCEPTED);
    job = job_at(RIG_P_LINK);
    rig_first(&rig, &job, 0, 'a');
    assert_non_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 1, 'b', "");
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
    wire_msg_init(&msg, WIRE_KIND_CREDIT);
    msg.req = accepted.req;
    msg.credit.resume = accepted.accepted.resume;
    msg.credit.credits = 1;
    rig_client(&rig, &msg);
    assert_int_equal(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN)->token.token, 'b');
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 2, 'c', "");
    rig_wait(&rig, 2100);
    assert_failed(STATUS_SLOW_READER);
}

static void attach_takes_a_stream_over(void **state)
{
    struct wire_msg job, msg, accepted;

    (void)state;
    rig_fleet(&rig, 1);
    accepted = rig_generate(&rig, 10, 5);
    job = job_at(RIG_P_LINK);
    rig_first(&rig, &job, 0, 'a');
    rig_link_down(&rig, ROUTER_DOOR_CLIENT, RIG_CLIENT_LINK);
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 1, 'b', "");
    assert_null(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN));
    wire_msg_init(&msg, WIRE_KIND_ATTACH);
    msg.req = accepted.req;
    rig_client(&rig, &msg); /* without the token it is as if there were none */
    assert_failed(STATUS_NOT_FOUND);
    msg.attach.resume = accepted.accepted.resume;
    msg.attach.next = 1;
    rig_client(&rig, &msg);
    assert_int_equal(rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN)->token.index, 1);
}

static void assert_text(const char *text)
{
    const struct wire_msg *token = rig_answer(&rig, RIG_CLIENT_LINK, WIRE_KIND_TOKEN);

    assert_non_null(token);
    assert_int_equal(token->token.text.len, strlen(text));
    assert_memory_equal(token->token.text.at, text, strlen(text));
}

static void text_is_whole_characters(void **state)
{
    struct wire_msg job, msg, accepted;

    (void)state;
    rig_fleet(&rig, 1);
    accepted = rig_generate(&rig, 10, 9);
    job = job_at(RIG_P_LINK);
    rig_first(&rig, &job, 0, 0xc3); /* half a character */
    assert_text("");
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 1, 0xa9, "");
    assert_text("\xc3\xa9");
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 2, 0xe2, "");
    wire_msg_init(&msg, WIRE_KIND_ATTACH); /* in the middle of one */
    msg.req = accepted.req;
    msg.attach.resume = accepted.accepted.resume;
    msg.attach.next = 1;
    rig_client(&rig, &msg);
    assert_text("\xc3\xa9");
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 3, 'x', "stop"); /* a stop id has no text */
    assert_text("\xef\xbf\xbd");                              /* and what was held back comes out */
}

static void absent_client_is_cancelled(void **state)
{
    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 5);
    rig_link_down(&rig, ROUTER_DOOR_CLIENT, RIG_CLIENT_LINK);
    rig_wait(&rig, 2100);
    assert_non_null(rig_answer(&rig, RIG_P_LINK, WIRE_KIND_CANCEL));
    assert_true(router_idle(rig.router));
}

static void deadline_ends_a_request(void **state)
{
    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 5);
    rig_wait(&rig, 10100);
    assert_failed(STATUS_DEADLINE);
    assert_true(router_idle(rig.router));
}

/* ---- nodes ---- */

static void unfit_nodes_are_refused(void **state)
{
    const struct wire_msg *bye;
    struct wire_msg msg;

    (void)state;
    rig_fleet(&rig, 1);
    wire_msg_init(&msg, WIRE_KIND_JOIN);
    msg.join.version_min = msg.join.version_max = 1;
    msg.join.name = wire_span_of("other");
    msg.join.role = WIRE_ROLE_DECODE;
    msg.join.fingerprint = wire_span_of("another model");
    msg.join.block_tokens = 64;
    msg.join.blocks = msg.join.seqs_max = msg.join.len_max = 1;
    rig_node(&rig, 14, 0x3001, &msg);
    bye = rig_answer(&rig, 14, WIRE_KIND_BYE);
    assert_non_null(bye);
    assert_int_equal(bye->bye.code, STATUS_INCOMPATIBLE);
    assert_non_null(memmem(bye->bye.text.at, bye->bye.text.len, "another model", 13));
    msg.join.version_min = msg.join.version_max = 9;
    rig_node(&rig, 15, 0x3002, &msg);
    assert_int_equal(rig_answer(&rig, 15, WIRE_KIND_BYE)->bye.code, STATUS_INCOMPATIBLE);
}

static void a_living_name_is_taken(void **state)
{
    (void)state;
    rig_fleet(&rig, 1);
    rig_join(&rig, 14, 0x3001, WIRE_ROLE_DECODE, "d");
    assert_int_equal(rig_answer(&rig, 14, WIRE_KIND_BYE)->bye.code, STATUS_EXISTS);
    rig.seq[RIG_D_LINK] = 0; /* silent from now on: its process has been killed */
    rig_wait(&rig, 700);
    rig.seq[14] = 0;
    rig_join(&rig, 14, 0x3001, WIRE_ROLE_DECODE, "d");
    assert_non_null(rig_answer(&rig, 14, WIRE_KIND_WELCOME));
}

static void strangers_are_told_to_join(void **state)
{
    struct wire_msg msg;

    (void)state;
    wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
    rig_node(&rig, 14, 0x3001, &msg);
    assert_int_equal(rig_answer(&rig, 14, WIRE_KIND_BYE)->bye.code, STATUS_STALE);
    wire_msg_init(&msg, WIRE_KIND_BYE);
    rig_node(&rig, 14, 0x3001, &msg);
    assert_null(rig_answer(&rig, 14, WIRE_KIND_BYE));
}

static void a_gap_breaks_the_session(void **state)
{
    struct wire_msg msg;

    (void)state;
    rig_fleet(&rig, 1);
    rig.seq[RIG_D_LINK]++;
    wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
    rig_node(&rig, RIG_D_LINK, RIG_D, &msg);
    assert_int_equal(rig_answer(&rig, RIG_D_LINK, WIRE_KIND_BYE)->bye.code, STATUS_LOST);
    assert_false(router_ready(rig.router));
}

static void a_step_comes_in_one_message(void **state)
{
    const uint32_t attempts[] = {1, 1}, generations[] = {1, 1};
    const uint32_t indexes[] = {1, 2}, tokens[] = {'b', 'c'};
    double logprobs[] = {-1.0, -2.0};
    const uint8_t ends[] = {WIRE_END_NONE, WIRE_END_LENGTH};
    struct wire_msg job, msg;
    struct wire_id reqs[2];

    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 3);
    job = job_at(RIG_P_LINK);
    rig_first(&rig, &job, 0, 'a');
    reqs[0] = reqs[1] = job.req;
    wire_msg_init(&msg, WIRE_KIND_TOKENS);
    msg.tokens.reqs = (struct wire_span){(const char *)reqs, sizeof(reqs)};
    msg.tokens.attempts = (struct wire_u32s){attempts, 2};
    msg.tokens.generations = (struct wire_u32s){generations, 2};
    msg.tokens.indexes = (struct wire_u32s){indexes, 2};
    msg.tokens.tokens = (struct wire_u32s){tokens, 2};
    msg.tokens.logprobs = (struct wire_span){(const char *)logprobs, sizeof(logprobs)};
    msg.tokens.ends = (struct wire_span){(const char *)ends, 2};
    rig_node(&rig, RIG_D_LINK, RIG_D, &msg);
    assert_int_equal(rig.n_answers, 3); /* P may forget it; and two tokens */
    assert_int_equal(rig.answers[1].msg.token.token, 'b');
    assert_int_equal(rig.answers[2].msg.token.token, 'c');
    assert_memory_equal(rig.answers[2].msg.token.end.at, "length", 6);
    logprobs[0] = (double)NAN;
    rig_node(&rig, RIG_D_LINK, RIG_D, &msg); /* would be an answer that cannot be sent */
    assert_int_equal(rig_answer(&rig, RIG_D_LINK, WIRE_KIND_BYE)->bye.code, STATUS_PROTOCOL);
}

static void a_step_of_unequal_arrays_breaks_the_session(void **state)
{
    const uint32_t numbers[] = {1, 2};
    struct wire_msg msg;

    (void)state;
    rig_fleet(&rig, 1);
    wire_msg_init(&msg, WIRE_KIND_TOKENS);
    msg.tokens.tokens = (struct wire_u32s){numbers, 2};
    rig_node(&rig, RIG_D_LINK, RIG_D, &msg);
    assert_int_equal(rig_answer(&rig, RIG_D_LINK, WIRE_KIND_BYE)->bye.code, STATUS_PROTOCOL);
}

static void stuck_node_loses_its_requests(void **state)
{
    struct wire_msg job, msg;

    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 5);
    job = job_at(RIG_P_LINK);
    wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
    msg.heartbeat.step = 1;
    msg.heartbeat.step_ms = 900;
    msg.heartbeat.bound_ms = 1000;
    rig_node(&rig, RIG_P_LINK, RIG_P, &msg); /* busy is not stuck */
    assert_null(rig_answer(&rig, RIG_P_LINK, WIRE_KIND_BYE));
    msg.heartbeat.step_ms = 1001;
    rig_node(&rig, RIG_P_LINK, RIG_P, &msg);
    assert_int_equal(rig_answer(&rig, RIG_P_LINK, WIRE_KIND_BYE)->bye.code, STATUS_STUCK);
    assert_non_null(rig_answer(&rig, RIG_D_LINK, WIRE_KIND_CANCEL));
    (void)job;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(happy_path),
        T(different_copy_is_an_error),
        T(lost_p_before_first_token_starts_again),
        T(lost_d_in_decode_continues_elsewhere),
        T(full_d_costs_no_second_prefill),
        T(who_waits_for_a_d_comes_first),
        T(gives_up_after_attempts_max),
        T(two_crashes_quarantine_the_prompt),
        T(answers_fit),
        T(the_model_is_told),
        T(refusals_have_a_sentence),
        T(queue_is_bounded_in_length_and_time),
        T(an_overtaken_first_leaves_no_gap_in_the_ledger),
        T(credits_hold_tokens_back),
        T(attach_takes_a_stream_over),
        T(text_is_whole_characters),
        T(absent_client_is_cancelled),
        T(deadline_ends_a_request),
        T(unfit_nodes_are_refused),
        T(a_living_name_is_taken),
        T(strangers_are_told_to_join),
        T(a_gap_breaks_the_session),
        T(a_step_comes_in_one_message),
        T(a_step_of_unequal_arrays_breaks_the_session),
        T(stuck_node_loses_its_requests),
    };
    const struct log_options silent = {.level = LOG_LEVEL_OFF};

    (void)log_open(&silent);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
