/* What /metrics says of requests whose every step has a known time: a hand-made fleet under a clock
 * of the test's own. What a live fleet says is in tests/deploy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "router/meters.h"
#include "tests/router/rig.h"

static const struct http_key keys[] = {{"alice", "secret-of-alice-0123"}, {"b\"o\\b", "secret-2"}};
static const struct meters_cfg meters_cfg = {
    .model = "oracle", .version = "1", .keys = keys, .n_keys = 2};

static struct meters *meters;
static struct rig rig;
static size_t n_over;
static struct router_over last;

/* ---- watching ---- */

static void on_first(void *ctx, uint64_t after_ns, uint32_t n_prompt)
{
    (void)ctx;
    meters_first(meters, after_ns, n_prompt);
}

static void on_token(void *ctx, uint64_t after_ns)
{
    (void)ctx;
    meters_token(meters, after_ns);
}

static void on_over(void *ctx, const struct router_over *over)
{
    (void)ctx;
    n_over++;
    last = *over;
    meters_over(meters, over, 0);
}

static void on_refused(void *ctx, uint32_t link, struct wire_span label, enum status code,
                       const char *why)
{
    (void)ctx;
    assert_int_equal(link, RIG_CLIENT_LINK);
    assert_int_equal(label.len, 0);
    assert_int_equal(code, STATUS_TOO_BIG);
    assert_non_null(strstr(why, "longest sequence"));
}

static const struct router_watch watch = {
    .first = on_first, .token = on_token, .over = on_over, .refused = on_refused};

static void watched(struct router_cfg *cfg)
{
    cfg->watch = &watch;
}

/* ---- reading ---- */

/* The value of one series, written as it is printed; "" where there is none. */
static const char *value_of(const char *series)
{
    static const struct http_server_counts http = {.accepted = 7, .open = 3};
    static char value[64];
    const size_t len = strlen(series);
    const char *line;
    struct buf text;

    value[0] = '\0';
    buf_init(&text, METERS_TEXT_MAX);
    assert_int_equal(meters_print(meters, rig.router, &http, &text), STATUS_OK);
    for (line = buf_text(&text); line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, series, len) == 0 && line[len] == ' ')
            snprintf(value, sizeof(value), "%.*s", (int)strcspn(line + len + 1, "\n"),
                     line + len + 1);
    }
    buf_fini(&text);
    return value;
}

#define assert_value(series, value) assert_string_equal(value_of(series), value)

static int setup(void **state)
{
    (void)state;
    n_over = 0;
    assert_int_equal(meters_create(&meters_cfg, &meters), STATUS_OK);
    rig_init(&rig, watched);
    rig_fleet(&rig, 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_fini(&rig);
    meters_destroy(meters);
    return 0;
}

/* ---- requests ---- */

/* The job of the request that was generated last, and who has it. */
static struct wire_msg job_of(uint32_t *link_out)
{
    const struct wire_msg *d = rig_answer(&rig, RIG_D_LINK, WIRE_KIND_JOB);

    *link_out = d ? RIG_D_LINK : RIG_D2_LINK;
    d = d ? d : rig_answer(&rig, RIG_D2_LINK, WIRE_KIND_JOB);
    assert_non_null(d);
    return *d;
}

static uint64_t incarnation_of(uint32_t link)
{
    return link == RIG_D_LINK ? RIG_D : RIG_D2;
}

static void done(uint32_t link, const struct wire_msg *job, uint32_t n_tokens)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_DONE);
    msg.req = job->req;
    msg.attempt = job->attempt;
    msg.generation = job->generation;
    msg.done.reason = wire_span_of("length");
    msg.done.n_tokens = n_tokens;
    msg.done.ledger.prefill_us = 70000;
    msg.done.ledger.transfer_us = 3000;
    msg.done.ledger.transfer_bytes = 4096;
    msg.done.ledger.transfer_path = wire_span_of("tcp");
    msg.done.ledger.decode_queue_us = 1000;
    msg.done.ledger.decode_us = 250000;
    rig_node(&rig, link, incarnation_of(link), &msg);
}

/* First token after 100 ms, two more 50 ms and 250 ms later. */
static void each_stage_has_its_time(void **state)
{
    struct wire_msg job;
    uint32_t link;

    (void)state;
    rig_generate(&rig, 5, 3);
    job = job_of(&link);
    assert_value("vllm:num_requests_running{model_name=\"oracle\"}", "1");
    assert_value("baton_requests", "1");
    rig_wait(&rig, 100);
    rig_first(&rig, &job, 0, 65);
    assert_value("baton_ttft_seconds_sum", "0.1");
    assert_value("baton_ttft_seconds_bucket{le=\"0.05\"}", "0");
    assert_value("baton_ttft_seconds_bucket{le=\"0.1\"}", "1");
    assert_value("vllm:time_to_first_token_seconds_bucket{model_name=\"oracle\",le=\"0.08\"}", "0");
    assert_value("vllm:time_to_first_token_seconds_bucket{model_name=\"oracle\",le=\"0.1\"}", "1");
    assert_value("vllm:prompt_tokens_total{model_name=\"oracle\"}", "5");
    rig_token(&rig, link, incarnation_of(link), &job, 0, 65, ""); /* the copy is no token */
    rig_wait(&rig, 50);
    rig_token(&rig, link, incarnation_of(link), &job, 1, 66, "");
    rig_wait(&rig, 250);
    rig_token(&rig, link, incarnation_of(link), &job, 2, 67, "length");
    assert_value("baton_inter_token_seconds_count", "2");
    assert_value("baton_inter_token_seconds_sum", "0.3");
    assert_value("vllm:inter_token_latency_seconds_bucket{model_name=\"oracle\",le=\"0.05\"}", "1");
    assert_value("vllm:time_per_output_token_seconds_count{model_name=\"oracle\"}", "2");
    assert_value("baton_e2e_seconds_count", "0");
    assert_int_equal(n_over, 0);
    done(link, &job, 3);
    assert_int_equal(n_over, 1);
    assert_value("baton_e2e_seconds_sum", "0.4");
    assert_value("vllm:e2e_request_latency_seconds_bucket{model_name=\"oracle\",le=\"0.3\"}", "0");
    assert_value("vllm:e2e_request_latency_seconds_bucket{model_name=\"oracle\",le=\"0.5\"}", "1");
    assert_value("baton_prefill_seconds_sum", "0.07");
    assert_value("baton_transfer_seconds_sum", "0.003");
    assert_value("baton_transfer_bytes_total", "4096");
    assert_value("baton_decode_queue_seconds_sum", "0.001");
    assert_value("baton_decode_seconds_sum", "0.25");
    assert_value("vllm:request_decode_time_seconds_sum{model_name=\"oracle\"}", "0.3");
    assert_value("vllm:request_time_per_output_token_seconds_sum{model_name=\"oracle\"}", "0.15");
    assert_value("vllm:request_success_total{model_name=\"oracle\",finished_reason=\"length\"}",
                 "1");
    assert_value("baton_key_generation_tokens_total{key=\"alice\"}", "3");
    assert_value("baton_key_generation_tokens_total{key=\"b\\\"o\\\\b\"}", "0");
    assert_value("baton_http_connections", "3");
    assert_value("baton_http_connections_total", "7");
}

/* A stream that goes on elsewhere counts on: the loss is one long gap. */
static void a_loss_is_a_gap(void **state)
{
    struct wire_msg job;
    uint32_t link;

    (void)state;
    rig_generate(&rig, 5, 3);
    job = job_of(&link);
    rig_first(&rig, &job, 0, 65);
    rig_token(&rig, link, incarnation_of(link), &job, 0, 65, "");
    rig_link_down(&rig, ROUTER_DOOR_NODE, link);
    rig.seq[link] = 0; /* beats no more */
    job = job_of(&link);
    rig_wait(&rig, 150);
    rig_first(&rig, &job, 1, 66);
    assert_value("baton_ttft_seconds_count", "1");
    assert_value("baton_inter_token_seconds_sum", "0.15");
    assert_value("vllm:prompt_tokens_total{model_name=\"oracle\"}", "5");
    assert_value("baton_requests_resubmitted_total", "1");
    assert_value("baton_node_up{node=\"p\",role=\"prefill\"}", "1");
}

static void who_is_gone_shows(void **state)
{
    (void)state;
    assert_value("baton_node_up{node=\"d2\",role=\"decode\"}", "1");
    assert_value("baton_node_kv_blocks{node=\"d2\",role=\"decode\"}", "16");
    rig_link_down(&rig, ROUTER_DOOR_NODE, RIG_D2_LINK);
    assert_value("baton_node_up{node=\"d2\",role=\"decode\"}", "0");
    assert_value("baton_node_kv_blocks{node=\"d2\",role=\"decode\"}", "0");
    assert_value("baton_node_up{node=\"d\",role=\"decode\"}", "1");
    assert_value("baton_nodes", "2");
}

static void bad_ends_have_their_cause(void **state)
{
    const struct wire_msg accepted = rig_generate(&rig, 5, 3);
    struct wire_msg msg;

    (void)state;
    wire_msg_init(&msg, WIRE_KIND_CANCEL);
    msg.req = accepted.req;
    msg.cancel.resume = accepted.accepted.resume;
    rig_client(&rig, &msg);
    assert_int_equal(n_over, 1);
    assert_int_equal(last.code, STATUS_CANCELLED);
    assert_int_equal(last.link, RIG_CLIENT_LINK);
    assert_value("vllm:request_success_total{model_name=\"oracle\",finished_reason=\"abort\"}",
                 "1");
    assert_value("baton_request_errors_total{status=\"CANCELLED\"}", "1");
    assert_value("baton_key_prompt_tokens_total{key=\"alice\"}", "0"); /* nothing was computed */
    rig_generate(&rig, 5, 3);
    rig_wait(&rig, 10050); /* its deadline */
    assert_value("baton_request_errors_total{status=\"DEADLINE\"}", "1");
    assert_value("vllm:request_success_total{model_name=\"oracle\",finished_reason=\"error\"}",
                 "1");
    assert_value("baton_e2e_seconds_count", "0");
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.tokens = (struct wire_u32s){(const uint32_t[]){1}, 1};
    msg.generate.sampling.max_tokens = 5000;
    rig_client(&rig, &msg);
    assert_value("baton_requests_refused_total", "1");
    meters_refused(meters);
    assert_value("baton_requests_refused_total", "2");
    assert_int_equal(n_over, 2);
}

static void http_answers_have_route_and_code(void **state)
{
    (void)state;
    assert_value("baton_http_requests_total{code=\"200\",route=\"/a\"}", "");
    meters_answered(meters, "/a", 200, SIZE_MAX);
    meters_answered(meters, "/a", 200, 1);
    meters_answered(meters, "/a", 499, 0);
    meters_answered(meters, "none", 200, 2);
    assert_value("baton_http_requests_total{code=\"200\",route=\"/a\"}", "2");
    assert_value("baton_http_requests_total{code=\"499\",route=\"/a\"}", "1");
    assert_value("baton_http_requests_total{code=\"200\",route=\"none\"}", "1");
    assert_value("baton_key_requests_total{key=\"alice\"}", "1");
    for (unsigned code = 0; code < 1000; code++) /* more than there is room for: not counted */
        meters_answered(meters, "/many", code, SIZE_MAX);
    assert_value("baton_http_requests_total{code=\"100\",route=\"/many\"}", "1");
    assert_value("baton_http_requests_total{code=\"999\",route=\"/many\"}", "");
}

static void lack_of_memory_leaves_nothing(void **state)
{
    static const struct http_server_counts http;
    const int64_t live = mem_live();
    struct meters *short_lived;
    enum status status = STATUS_NO_MEMORY;
    struct buf text;

    (void)state;
    for (int64_t n = 0; status != STATUS_OK; n++) {
        mem_fail_after(n);
        status = meters_create(&meters_cfg, &short_lived);
        mem_fail_after(MEM_FAIL_NEVER);
        assert_true(status == STATUS_OK || mem_live() == live);
        assert_true(status == STATUS_OK || status == STATUS_NO_MEMORY);
    }
    for (int64_t n = 0; n < 60; n++) {
        buf_init(&text, METERS_TEXT_MAX);
        mem_fail_after(n);
        (void)meters_print(short_lived, rig.router, &http, &text);
        meters_answered(short_lived, "/a", 200, 0);
        mem_fail_after(MEM_FAIL_NEVER);
        buf_fini(&text);
    }
    meters_destroy(short_lived);
    assert_int_equal(mem_live(), live);
    meters_first(NULL, 1, 1);
    meters_token(NULL, 1);
    meters_refused(NULL);
    meters_answered(NULL, "/", 200, 0);
    meters_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_stage_has_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_loss_is_a_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_gone_shows, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_ends_have_their_cause, setup, teardown),
        cmocka_unit_test_setup_teardown(http_answers_have_route_and_code, setup, teardown),
        cmocka_unit_test_setup_teardown(lack_of_memory_leaves_nothing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
