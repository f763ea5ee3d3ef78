/* What the fleet's page is told: nodes, pairs, paths, running and ended requests, and who is gone.
 * The object is read back by a JSON parser that knows nothing of the writer. */
#include "router/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

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

static json_t *view(uint64_t since)
{
    struct buf body;
    json_t *root;

    buf_init(&body, VIEW_BYTES_MAX);
    assert_int_equal(view_write(rig.router, since, &body), STATUS_OK);
    root = json_loadb((const char *)buf_data(&body), buf_len(&body), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    buf_fini(&body);
    return root;
}

static json_int_t number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void assert_text(const json_t *object, const char *name, const char *expected)
{
    const json_t *value = json_object_get(object, name);

    assert_true(json_is_string(value));
    assert_string_equal(json_string_value(value), expected);
}

static void assert_flag(const json_t *object, const char *name, bool expected)
{
    const json_t *value = json_object_get(object, name);

    assert_true(json_is_boolean(value));
    assert_int_equal(json_is_true(value), expected);
}

/* The list of that name, and that it has n elements. */
static json_t *list(const json_t *root, const char *name, size_t n)
{
    json_t *array = json_object_get(root, name);

    assert_true(json_is_array(array));
    assert_int_equal(json_array_size(array), n);
    return array;
}

static json_t *node_of(const json_t *root, const char *name)
{
    json_t *node;
    size_t i;

    json_array_foreach(json_object_get(root, "nodes"), i,
                       node) if (strcmp(json_string_value(json_object_get(node, "name")), name) ==
                                 0) return node;
    return NULL;
}

static struct wire_msg job_at(uint32_t link)
{
    const struct wire_msg *job = rig_answer(&rig, link, WIRE_KIND_JOB);

    assert_non_null(job);
    return *job;
}

/* D's last word, with a ledger. */
static void say_done(const struct wire_msg *job, uint32_t n_tokens)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_DONE);
    msg.req = job->req;
    msg.attempt = job->attempt;
    msg.generation = job->generation;
    msg.done.reason = wire_span_of("length");
    msg.done.n_tokens = n_tokens;
    msg.done.ledger.transfer_us = 400;
    msg.done.ledger.transfer_bytes = 123456;
    msg.done.ledger.transfer_path = wire_span_of("shared \"memory\"");
    msg.done.ledger.decode_us = 900;
    rig_node(&rig, RIG_D_LINK, RIG_D, &msg);
}

static void run_one(void)
{
    struct wire_msg job;

    (void)rig_generate(&rig, 100, 2);
    job = job_at(RIG_P_LINK);
    rig_first(&rig, &job, 0, 'a');
    rig_token(&rig, RIG_D_LINK, RIG_D, &job, 1, 'b', "length");
    say_done(&job, 2);
}

/* ---- the tests ---- */

static void empty_fleet(void **state)
{
    json_t *root = view(0);

    (void)state;
    assert_text(root, "model", "oracle");
    assert_text(root, "version", "rig");
    assert_flag(root, "ready", false);
    assert_int_equal(number(root, "queue_max"), 4);
    assert_int_equal(number(json_object_get(root, "counts"), "nodes"), 0);
    list(root, "nodes", 0);
    list(root, "pairs", 0);
    list(root, "paths", 0);
    list(root, "events", 0);
    list(root, "running", 0);
    list(root, "ended", 0);
    json_decref(root);
}

static void nodes_and_pairs(void **state)
{
    json_t *root, *pair;
    const json_t *nodes, *node;
    size_t i;

    (void)state;
    rig_fleet(&rig, 2);
    root = view(0);
    assert_flag(root, "ready", true);
    nodes = list(root, "nodes", 3);
    json_array_foreach(list(root, "pairs", 2), i, pair)
    {
        node = json_array_get(nodes, (size_t)json_integer_value(json_array_get(pair, 0)));
        assert_text(node, "role", "prefill");
        node = json_array_get(nodes, (size_t)json_integer_value(json_array_get(pair, 1)));
        assert_text(node, "role", "decode");
        assert_flag(node, "ready", true);
        assert_true(number(node, "blocks") > 0);
    }
    list(root, "events", 3);
    json_decref(root);
}

static void running_request(void **state)
{
    json_t *root;
    const json_t *one;
    struct wire_msg job;

    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 100, 7);
    job = job_at(RIG_P_LINK);
    root = view(0);
    one = json_array_get(list(root, "running", 1), 0);
    assert_text(one, "state", "prefill");
    assert_int_equal(number(one, "prompt_tokens"), 100);
    assert_int_equal(number(one, "max_tokens"), 7);
    json_decref(root);
    rig.now_ns += 30 * NS_PER_MS;
    rig_first(&rig, &job, 0, 'a');
    root = view(0);
    one = json_array_get(list(root, "running", 1), 0);
    assert_text(one, "state", "hand-over");
    assert_int_equal(number(one, "age_us"), 30000);
    assert_int_equal(number(one, "first_token_us"), 30000);
    assert_int_equal(number(one, "emitted_tokens"), 1);
    list(root, "ended", 0);
    json_decref(root);
}

static void ended_request(void **state)
{
    json_t *root;
    const json_t *one;

    (void)state;
    rig_fleet(&rig, 1);
    run_one();
    root = view(0);
    list(root, "running", 0);
    assert_int_equal(number(root, "last"), 1);
    one = json_array_get(list(root, "ended", 1), 0);
    assert_int_equal(number(one, "number"), 1);
    assert_flag(one, "ok", true);
    assert_text(one, "end", "length");
    assert_text(one, "path", "shared \"memory\"");
    assert_int_equal(number(one, "transfer_bytes"), 123456);
    assert_int_equal(number(one, "decode_us"), 900);
    assert_int_equal(number(one, "emitted_tokens"), 2);
    assert_int_equal(number(one, "attempts"), 1);
    one = json_array_get(list(root, "paths", 1), 0);
    assert_int_equal(number(one, "transfers"), 1);
    assert_int_equal(number(one, "bytes"), 123456);
    assert_int_equal(number(one, "last_us"), 400);
    json_decref(root);
}

static void failed_request_without_its_words(void **state)
{
    json_t *root;
    const json_t *one;
    struct wire_msg job;

    (void)state;
    rig_fleet(&rig, 1);
    (void)rig_generate(&rig, 10, 2);
    job = job_at(RIG_P_LINK);
    rig_failed(&rig, RIG_P_LINK, RIG_P, &job, STATUS_INVALID);
    root = view(0);
    one = json_array_get(list(root, "ended", 1), 0);
    assert_flag(one, "ok", false);
    assert_text(one, "status", status_name(STATUS_INVALID));
    assert_null(json_object_get(one, "reason"));
    json_decref(root);
}

/* The ring keeps the newest; `since` asks for what is newer than that. */
static void ring_and_since(void **state)
{
    const json_int_t n = VIEW_ENDED_MAX + 10;
    json_t *root, *ended;

    (void)state;
    rig_fleet(&rig, 1);
    for (json_int_t i = 0; i < n; i++)
        run_one();
    root = view(0);
    assert_int_equal(number(root, "last"), n);
    ended = list(root, "ended", VIEW_ENDED_MAX);
    assert_int_equal(number(json_array_get(ended, 0), "number"), 11);
    assert_int_equal(number(json_array_get(ended, VIEW_ENDED_MAX - 1), "number"), n);
    assert_int_equal(number(json_array_get(list(root, "paths", 1), 0), "transfers"), n);
    json_decref(root);
    root = view((uint64_t)n - 3);
    assert_int_equal(number(json_array_get(list(root, "ended", 3), 0), "number"), n - 2);
    json_decref(root);
    root = view((uint64_t)n);
    list(root, "ended", 0);
    json_decref(root);
    root = view((uint64_t)n + 1); /* of another life of the router */
    list(root, "ended", VIEW_ENDED_MAX);
    json_decref(root);
    root = view(2); /* older than what is kept */
    list(root, "ended", VIEW_ENDED_MAX);
    json_decref(root);
}

/* A lost node is in the events until it is back, also after its place was given to another. */
static void lost_node(void **state)
{
    json_t *root;
    const json_t *event;

    (void)state;
    rig_fleet(&rig, 2);
    rig_link_down(&rig, ROUTER_DOOR_NODE, RIG_D_LINK);
    root = view(0);
    assert_null(node_of(root, "d"));
    list(root, "nodes", 2);
    event = json_array_get(list(root, "events", 4), 0);
    assert_text(event, "what", "lost");
    assert_text(event, "role", "decode");
    assert_flag(event, "gone", true);
    assert_true(json_string_length(json_object_get(event, "why")) > 0);
    json_decref(root);
    rig.seq[RIG_D_LINK] = 0;
    rig_join(&rig, RIG_D_LINK, RIG_D + 100, WIRE_ROLE_DECODE, "another");
    root = view(0);
    event = json_array_get(list(root, "events", 5), 1);
    assert_text(event, "what", "lost");
    assert_flag(event, "gone", true);
    json_decref(root);
}

static void returned_node(void **state)
{
    char name[WIRE_NAME_MAX + 1];
    json_t *root;
    const json_t *event;

    (void)state;
    rig_fleet(&rig, 2);
    rig_link_down(&rig, ROUTER_DOOR_NODE, RIG_D_LINK);
    root = view(0);
    event = json_array_get(list(root, "events", 4), 0);
    strcpy(name, json_string_value(json_object_get(event, "node")));
    json_decref(root);
    rig.seq[RIG_D_LINK] = 0;
    rig_join(&rig, RIG_D_LINK, RIG_D + 100, WIRE_ROLE_DECODE, name);
    root = view(0);
    assert_non_null(node_of(root, name));
    event = json_array_get(list(root, "events", 5), 1);
    assert_text(event, "what", "lost");
    assert_flag(event, "gone", false);
    json_decref(root);
}

/* The rings go round many times; what is written stays within its limit. */
static void many_events(void **state)
{
    json_t *root;

    (void)state;
    for (uint64_t i = 0; i < 2 * VIEW_EVENTS_MAX; i++) {
        rig.seq[RIG_D_LINK] = 0;
        rig_join(&rig, RIG_D_LINK, RIG_D + i, WIRE_ROLE_DECODE, "\xFF\"<script>");
        rig_link_down(&rig, ROUTER_DOOR_NODE, RIG_D_LINK);
    }
    root = view(0);
    assert_int_equal(number(json_array_get(list(root, "events", VIEW_EVENTS_MAX), 0), "number"),
                     4 * VIEW_EVENTS_MAX);
    assert_text(json_array_get(json_object_get(root, "events"), 0), "node",
                "\xEF\xBF\xBD\"<script>");
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(empty_fleet),
        T(nodes_and_pairs),
        T(running_request),
        T(ended_request),
        T(failed_request_without_its_words),
        T(ring_and_since),
        T(lost_node),
        T(returned_node),
        T(many_events),
#undef T
    };
    const struct log_options silent = {.level = LOG_LEVEL_OFF};

    (void)log_open(&silent);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
