/* Processes that die. Where a spare node is, the client sees nothing; where none is, it gets an
 * answer or a sentence within its bound; nothing is left over in any case. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/cli/ask.h"
#include "base/status.h"
#include "tests/cli/run.h"

#define FLEET                                                                                      \
    ASK_MODEL "nodes:\n"                                                                           \
              "- { name: r, role: router, clients: '127.0.0.1:0' }\n"                              \
              "- { name: p0, role: prefill }\n- { name: p1, role: prefill }\n"                     \
              "- { name: d0, role: decode }\n- { name: d1, role: decode }\n"
#define SMALL                                                                                      \
    ASK_MODEL "nodes:\n"                                                                           \
              "- { name: r, role: router, clients: '127.0.0.1:0' }\n"                              \
              "- { name: p, role: prefill }\n- { name: d, role: decode }\n"

/* The name of the only one of the two nodes that computes now: the busier one. */
static uint64_t ticks_of(pid_t pid)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    FILE *file;
    size_t n;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    assert_non_null(file);
    n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    assert_int_equal(sscanf(strrchr(text, ')') + 2,
                            "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system),
                     2);
    return user + system;
}

/* Takes events until so many tokens are there. */
static void stream_until(struct baton *baton, struct ask_answer *answer, size_t n)
{
    struct baton_event event;

    while (answer->n < n) {
        ask_next(baton, &event);
        if (ask_take(answer, &event))
            fail_msg("it ended early: %s", event.text);
    }
}

static void stream_to_end(struct baton *baton, struct ask_answer *answer)
{
    struct baton_event event;

    do
        ask_next(baton, &event);
    while (!ask_take(answer, &event));
}

/* Whichever decode node has the stream, it dies in the middle; and then the other one. */
static void decode_nodes_die_in_mid_stream(void **state)
{
    struct run *up = run_start("up", run_file("fleet.yaml", FLEET), NULL);
    static struct ask_answer answer;
    struct baton_request request;
    char endpoint[128];
    struct baton *baton;
    pid_t first, second;
    uint64_t stream;

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    baton = ask_open(endpoint);
    answer.n = 0;
    ask_request(&request, "who holds the baton?", 9, 1200);
    assert_int_equal(baton_generate(baton, &request, &stream), BATON_OK);
    stream_until(baton, &answer, 200);
    first = run_node(up, "d0");
    second = run_node(up, "d1");
    assert_true(first > 0 && second > 0);
    if (ticks_of(second) > ticks_of(first)) {
        pid_t swap = first;

        first = second;
        second = swap;
    }
    assert_int_equal(kill(first, SIGKILL), 0);
    stream_until(baton, &answer, 600);
    run_await_err(up, "node lost");
    assert_int_equal(kill(second, SIGKILL), 0);
    stream_to_end(baton, &answer);
    ask_expect_true(&request, &answer);
    assert_true(answer.last.ledger.attempts >= 2);
    baton_close(baton);
    assert_false(run_is_alive(first));
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* No spare: the node comes back, and the request with it. */
static void the_only_nodes_die(void **state)
{
    struct run *up = run_start("up", run_file("small.yaml", SMALL), NULL);
    static const char *const names[] = {"p", "d", "p", "d"};
    static struct ask_answer answer;
    struct baton_request request;
    char endpoint[128];
    struct baton *baton;

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    baton = ask_open(endpoint);
    for (size_t i = 0; i < 4; i++) {
        uint64_t stream;
        pid_t pid;

        answer.n = 0;
        ask_request(&request, "alone", i, 300);
        assert_int_equal(baton_generate(baton, &request, &stream), BATON_OK);
        stream_until(baton, &answer, 50);
        pid = run_node(up, names[i]);
        assert_true(pid > 0);
        assert_int_equal(kill(pid, SIGKILL), 0);
        stream_to_end(baton, &answer);
        ask_expect_true(&request, &answer);
    }
    baton_close(baton);
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* The request is lost with its router; the client is told, and the same request gives the same
 * tokens from the next router, on nodes that have forgotten the first one. */
static void the_router_dies(void **state)
{
    struct run *up = run_start("up", run_file("router.yaml", SMALL), NULL);
    static struct ask_answer answer;
    struct baton_request request;
    char endpoint[128], again[128];
    struct baton *baton;
    uint64_t stream;
    const char *at;

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    baton = ask_open(endpoint);
    answer.n = 0;
    ask_request(&request, "lost", 1, 3000);
    assert_int_equal(baton_generate(baton, &request, &stream), BATON_OK);
    stream_until(baton, &answer, 50);
    assert_int_equal(kill(run_node(up, "r"), SIGKILL), 0);
    baton_close(baton);
    at = run_await_out(up, "ready clients=");
    run_await_err(up, "signal=KILL");
    /* The second readiness: the new router has a port of its own. */
    while (!(at = strstr(up->err.text, "signal=KILL")) || !(at = strstr(at, "clients=")) ||
           !strchr(at, '\n'))
        run_await_err(up, "\n");
    snprintf(again, sizeof(again), "%.*s", (int)strcspn(at + 8, " \n"), at + 8);
    baton = ask_open(again);
    ask_request(&request, "lost", 1, 100);
    ask_well(baton, &request, &answer);
    baton_close(baton);
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* A router that comes back at the same address tells the client what has become of its stream. */
static void the_client_learns_of_it(void **state)
{
    char text[1024], endpoint[128];
    struct run *up;
    struct baton_event event;
    struct baton_request request;
    static struct ask_answer answer;
    struct baton *baton;
    uint64_t stream;

    (void)state;
    snprintf(text, sizeof(text),
             ASK_MODEL "nodes:\n"
                       "- { name: r, role: router, clients: 'ipc://%s/door' }\n"
                       "- { name: p, role: prefill }\n- { name: d, role: decode }\n",
             run_folder());
    up = run_start("up", run_file("door.yaml", text), NULL);
    run_clients(up, endpoint, sizeof(endpoint));
    baton = ask_open(endpoint);
    answer.n = 0;
    ask_request(&request, "lost", 1, 3000);
    assert_int_equal(baton_generate(baton, &request, &stream), BATON_OK);
    stream_until(baton, &answer, 50);
    assert_int_equal(kill(run_node(up, "r"), SIGKILL), 0);
    do
        ask_next(baton, &event);
    while (event.kind != BATON_FAILED);
    assert_int_equal(event.stream, stream);
    assert_int_equal(event.code, STATUS_LOST);
    assert_non_null(strstr(event.text, "same seed"));
    /* The same connection serves on. */
    ask_request(&request, "lost", 1, 100);
    ask_well(baton, &request, &answer);
    baton_close(baton);
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* The supervisor is killed: its nodes go with it. */
static void no_orphans(void **state)
{
    static const char *const names[] = {"r", "p", "d"};
    struct run *up = run_start("up", run_file("orphans.yaml", SMALL), NULL);
    char endpoint[128];
    pid_t pids[3];
    const double end = run_now_ms() + RUN_DEADLINE_MS;

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    for (size_t i = 0; i < 3; i++)
        assert_true((pids[i] = run_node(up, names[i])) > 0);
    kill(up->pid, SIGKILL);
    assert_int_equal(run_end(up), 128 + SIGKILL); /* its nodes hold the pipe until they end */
    for (size_t i = 0; i < 3; i++)
        while (run_is_alive(pids[i]))
            assert_true(run_now_ms() < end);
    run_free(up);
}

/* Frozen nodes do not hold up the end: the second signal kills. */
static void a_second_signal_does_not_wait(void **state)
{
    struct run *up = run_start("up", run_file("frozen.yaml", SMALL), NULL);
    char endpoint[128];
    pid_t frozen;

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    frozen = run_node(up, "d");
    assert_int_equal(kill(frozen, SIGSTOP), 0);
    kill(up->pid, SIGTERM);
    run_await_err(up, "a node has ended\" node=p");
    while (up->pid && run_is_alive(up->pid)) { /* signals that come too soon are one */
        kill(up->pid, SIGTERM);
        run_pump(up);
        if (strstr(up->err.text, "asked to stop twice"))
            break;
    }
    assert_int_equal(run_end(up), 0);
    assert_false(run_is_alive(frozen));
    assert_null(strstr(up->err.text, "ERROR")); /* what it kills itself is no accident */
    run_free(up);
}

/* How often it has been printed on stderr by now. */
static size_t n_printed(struct run *run, const char *text)
{
    size_t n = 0;

    run_pump(run);
    for (const char *at = run->err.text; (at = strstr(at, text)) != NULL; at++)
        n++;
    return n;
}

/* A crash (not a kill) is reported with the requests of the step that ran; two of them, and the
 * request is out of service, while others go on. */
static void crashes_are_told(void **state)
{
    struct run *up =
        run_start("up", run_file("crash.yaml", SMALL), "--oracle.step_us=200000", NULL);
    static struct ask_answer answer;
    struct baton_request request;
    struct baton_event event;
    char endpoint[128];
    struct baton *baton;
    uint64_t stream;

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    baton = ask_open(endpoint);
    answer.n = 0;
    ask_request(&request, "poison", 1, 60);
    assert_int_equal(baton_generate(baton, &request, &stream), BATON_OK);
    /* A death between two steps is nobody's fault and not told: then once more. */
    for (size_t n_deaths = 1; n_printed(up, "a crash was told") < 2; n_deaths++) {
        assert_true(n_deaths <= 5);
        stream_until(baton, &answer, answer.n + 3);
        assert_int_equal(kill(run_node(up, "d"), SIGABRT), 0);
        while (n_printed(up, "a node starts again") < n_deaths)
            run_await_err(up, "\n");
    }
    do
        ask_next(baton, &event);
    while (event.kind == BATON_TOKEN);
    assert_int_equal(event.kind, BATON_FAILED);
    assert_int_equal(event.code, STATUS_POISONED);
    ask_request(&request, "poison", 2, 10);
    assert_int_equal(ask(baton, &request, &answer), BATON_REFUSED);
    assert_int_equal(answer.last.code, STATUS_POISONED);
    ask_request(&request, "wholesome", 1, 5);
    ask_well(baton, &request, &answer);
    baton_close(baton);
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

static int teardown(void **state)
{
    (void)state;
    run_folder_remove();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_nodes_die_in_mid_stream),
        cmocka_unit_test(the_only_nodes_die),
        cmocka_unit_test(the_router_dies),
        cmocka_unit_test(the_client_learns_of_it),
        cmocka_unit_test(no_orphans),
        cmocka_unit_test(a_second_signal_does_not_wait),
        cmocka_unit_test(crashes_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
