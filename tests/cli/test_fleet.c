/* A fleet of real processes, undisturbed but for what its doors have to stand: right answers, right
 * refusals, a clean end. One fleet serves most tests here, so each also shows that what the one
 * before did left no trace. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#include "tests/cli/ask.h"
#include "base/status.h"
#include "tests/cli/run.h"

#define ROOM (64 * 1024)
#define FLEET                                                                                      \
    ASK_MODEL "nodes:\n"                                                                           \
              "- { name: r, role: router, clients: '127.0.0.1:0' }\n"                              \
              "- { name: p, role: prefill }\n- { name: d, role: decode }\n"

static struct run *fleet;
static char clients[128];
static char out[ROOM], err[ROOM];

static void stream_is_the_truth(void **state)
{
    static struct ask_answer answer;
    struct baton *baton = ask_open(clients);
    struct baton_request request;
    static char prompt[3001];

    (void)state;
    memset(prompt, 'x', sizeof(prompt) - 1);
    for (size_t len = 1; len < sizeof(prompt); len = len * 3 + 1) {
        ask_request(&request, prompt, len, 40);
        request.text_len = len;
        ask_well(baton, &request, &answer);
        assert_int_equal(answer.last.ledger.prompt_tokens, len);
        assert_string_equal(answer.last.ledger.prefill_node, "p");
        assert_string_equal(answer.last.ledger.decode_node, "d");
        assert_string_equal(answer.last.ledger.transfer_path, "shared memory");
    }
    baton_close(baton);
}

/* Many at once on one connection; each must be its own truth. */
static void streams_beside_each_other(void **state)
{
    enum { N = 24 };
    static struct ask_answer answers[N];
    struct baton_request requests[N];
    uint64_t streams[N];
    struct baton *baton = ask_open(clients);
    char prompts[N][32];
    size_t n_ended = 0;

    (void)state;
    for (size_t i = 0; i < N; i++) {
        snprintf(prompts[i], sizeof(prompts[i]), "prompt number %zu", i);
        ask_request(&requests[i], prompts[i], i * 7, 30 + (uint32_t)i * 3);
        assert_int_equal(baton_generate(baton, &requests[i], &streams[i]), BATON_OK);
    }
    while (n_ended < N) {
        struct baton_event event;

        ask_next(baton, &event);
        for (size_t i = 0; i < N; i++)
            if (streams[i] == event.stream)
                n_ended += ask_take(&answers[i], &event);
    }
    for (size_t i = 0; i < N; i++)
        ask_expect_true(&requests[i], &answers[i]);
    baton_close(baton);
}

static void chat_prints_it(void **state)
{
    static struct ask_answer truth;
    struct baton_request request;
    char expected[128] = "";
    struct stat at;

    (void)state;
    ask_request(&request, "Pass the baton.", 3, 64);
    request.temperature = 0; /* chat's default, and the oracle looks at everything */
    ask_truth(&request, &truth);
    for (size_t i = 0; i < truth.n; i++)
        expected[i] = (char)truth.tokens[i];
    expected[truth.n] = '\n';
    assert_int_equal(run_once(out, err, ROOM, "chat", "--config", run_file("fleet.yaml", FLEET),
                              "--connect", clients, "--tokens", "64", "--seed", "3", "--ignore-eos",
                              "--ledger", "Pass", "the baton.", NULL),
                     0);
    assert_string_equal(out, expected);
    assert_non_null(strstr(err, "length after 64 tokens, seed 3"));
    assert_non_null(strstr(err, "shared memory"));
    for (const char *line = err; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 80);
    assert_int_equal(stat(run_folder(), &at), 0);
}

static void wrong_requests_get_a_sentence(void **state)
{
    static struct ask_answer answer;
    struct baton *baton = ask_open(clients);
    struct baton_request request;
    static char prompt[6000];

    (void)state;
    memset(prompt, 'y', sizeof(prompt) - 1);
    ask_request(&request, prompt, 1, 10);
    assert_int_equal(ask(baton, &request, &answer), BATON_REFUSED);
    assert_int_equal(answer.last.code, STATUS_TOO_BIG);
    assert_non_null(strstr(answer.last.text, "4096"));
    ask_request(&request, "x", 1, 10);
    request.model = "gpt";
    assert_int_equal(ask(baton, &request, &answer), BATON_REFUSED);
    assert_int_equal(answer.last.code, STATUS_NOT_FOUND);
    ask_request(&request, "x", 1, 0);
    assert_int_equal(ask(baton, &request, &answer), BATON_REFUSED);
    assert_int_equal(answer.last.code, STATUS_INVALID);
    ask_request(&request, "x", 1, 3000);
    request.deadline_ms = 1;
    assert_int_equal(ask(baton, &request, &answer), BATON_REFUSED);
    assert_int_equal(answer.last.code, STATUS_DEADLINE);
    ask_request(&request, "and a good one", 1, 10);
    ask_well(baton, &request, &answer);
    baton_close(baton);
}

static void cancelled_streams_end(void **state)
{
    static struct ask_answer answer;
    struct baton *baton = ask_open(clients);
    struct baton_request request;
    struct baton_event event;
    uint64_t stream;

    (void)state;
    ask_request(&request, "never to its end", 1, 3000);
    assert_int_equal(baton_generate(baton, &request, &stream), BATON_OK);
    do
        ask_next(baton, &event);
    while (event.kind != BATON_TOKEN);
    assert_int_equal(baton_cancel(baton, stream), BATON_OK);
    do
        ask_next(baton, &event);
    while (event.kind == BATON_TOKEN);
    assert_int_equal(event.kind, BATON_FAILED);
    assert_int_equal(event.code, STATUS_CANCELLED);
    /* The pool has room for this one only if the other's blocks are free again. */
    ask_request(&request, "to its end", 2, 300);
    ask_well(baton, &request, &answer);
    baton_close(baton);
}

/* ---- the doors ---- */

struct stranger {
    void *ctx;
    void *socket;
};

static void stranger_open(struct stranger *stranger, const char *endpoint)
{
    const int linger = 0;

    stranger->ctx = zmq_ctx_new();
    stranger->socket = zmq_socket(stranger->ctx, ZMQ_DEALER);
    zmq_setsockopt(stranger->socket, ZMQ_LINGER, &linger, sizeof(linger));
    assert_int_equal(zmq_connect(stranger->socket, endpoint), 0);
}

static void stranger_close(struct stranger *stranger)
{
    zmq_close(stranger->socket);
    zmq_ctx_term(stranger->ctx);
}

/* Sends the bytes and expects a `failed` whose text has the part; NULL: expects nothing. */
static void stranger_says(struct stranger *stranger, const void *bytes, size_t len,
                          const char *part)
{
    const int timeout_ms = 10000;
    char answer[4096];
    int n;

    assert_int_equal(zmq_send(stranger->socket, bytes, len, 0), len);
    if (!part)
        return;
    zmq_setsockopt(stranger->socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof(timeout_ms));
    n = zmq_recv(stranger->socket, answer, sizeof(answer) - 1, 0);
    assert_true(n > 0);
    assert_non_null(memmem(answer, (size_t)n, "failed", 6));
    if (!memmem(answer, (size_t)n, part, strlen(part)))
        fail_msg("expected '%s' in %.*s", part, n, answer);
}

/* Malformed and oversized messages at both doors, while a stream runs that must not notice. */
static void doors_stand_it(void **state)
{
    static struct ask_answer answer;
    static char big[9 << 20];
    struct baton *baton = ask_open(clients);
    struct baton_request request;
    struct stranger client, node;
    struct baton_event event;
    char nodes[256], line[256];
    uint64_t stream;

    (void)state;
    snprintf(line, sizeof(line), "%s", strstr(fleet->err.text, " nodes=ipc://"));
    line[strcspn(line + 1, " \n") + 1] = '\0';
    snprintf(nodes, sizeof(nodes), "%s", line + strlen(" nodes="));
    stranger_open(&client, clients);
    stranger_open(&node, nodes);
    answer.n = 0;
    ask_request(&request, "undisturbed", 4, 400);
    assert_int_equal(baton_generate(baton, &request, &stream), BATON_OK);
    stranger_says(&client, "\xc1", 1, "");
    stranger_says(&client, "nonsense", 8, "");
    stranger_says(&client, "\xdd\xff\xff\xff\xff", 5, "");
    stranger_says(&client, "\x81\xa1t\xa3job", 7, "");
    stranger_says(&client, "\x82\xa1t\xa8generate\xa4text\x05", 18, "text");
    for (size_t i = 0; i < 50; i++) {
        stranger_says(&node, "\xdd\xff\xff\xff\xff", 5, NULL);
        stranger_says(&node, "\x81\xa1t\xa4join", 8, NULL);
        stranger_says(&node, "\x81\xa1t\xa5token", 9, NULL);
    }
    stranger_says(&client, big, sizeof(big), NULL);
    stranger_says(&node, big, sizeof(big), NULL);
    do
        ask_next(baton, &event);
    while (!ask_take(&answer, &event));
    ask_expect_true(&request, &answer);
    stranger_close(&client);
    stranger_close(&node);
    baton_close(baton);
    assert_null(strstr(fleet->err.text, "node lost"));
}

/* ---- other fleets ---- */

static void another_model_is_refused(void **state)
{
    const char *path;
    static struct ask_answer answer;
    struct baton_request request;
    struct run *other;
    struct baton *baton;
    char run_dir[256];
    char *slash;

    (void)state;
    snprintf(run_dir, sizeof(run_dir), "%s",
             strstr(fleet->err.text, " nodes=ipc://") + strlen(" nodes=ipc://"));
    run_dir[strcspn(run_dir, " \n")] = '\0';
    slash = strrchr(run_dir, '/');
    assert_non_null(slash);
    *slash = '\0';
    /* A node of the same place but with another seed, under a name of its own. */
    path = run_file("other.yaml", FLEET "- { name: d9, role: decode }\n");
    other =
        run_start("decode", path, "--name", "d9", "--run-folder", run_dir, "--oracle.seed=2", NULL);
    run_await_err(other, "a router refused this node");
    assert_non_null(strstr(other->err.text, "INCOMPATIBLE"));
    run_await_err(fleet, "node refused");
    baton = ask_open(clients);
    ask_request(&request, "the others go on", 1, 20);
    ask_well(baton, &request, &answer);
    baton_close(baton);
    assert_int_equal(run_stop(other, SIGTERM), 0);
}

/* What only a node can find out stops the fleet, and its sentence comes last. */
static void port_in_use(void **state)
{
    const char *at;
    char text[1024];

    (void)state;
    snprintf(text, sizeof(text),
             "nodes:\n- { name: r, role: router, clients: '%s' }\n"
             "- { name: p, role: prefill }\n- { name: d, role: decode }\n",
             clients);
    assert_int_equal(run_once(out, err, ROOM, "up", run_file("second.yaml", text), NULL), 4);
    at = strstr(err, "\nbaton: node 'r': ");
    assert_non_null(at);
    assert_non_null(strstr(at, "in use"));
    assert_non_null(strstr(at, clients));
    assert_null(strchr(at + 1, '\n')[1] ? at : NULL);
}

static void nobody_answers(void **state)
{
    const char *path = run_file("fleet.yaml", FLEET);

    (void)state;
    assert_int_equal(run_once(out, err, ROOM, "chat", "--config", path, "--connect",
                              "ipc:///tmp/baton-test-nobody", "--wait", "0.3", "x", NULL),
                     5);
    assert_non_null(strstr(err, "no router answers"));
    assert_non_null(strstr(err, "baton up"));
}

/* KV over TCP on loopback, as between machines. */
static void over_the_network(void **state)
{
    struct run *up = run_start("up", run_file("tcp.yaml", FLEET), "--kv.shared_memory=false", NULL);
    static struct ask_answer answer;
    struct baton_request request;
    char endpoint[128];
    struct baton *baton;

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    baton = ask_open(endpoint);
    ask_request(&request, "over tcp", 1, 50);
    ask_well(baton, &request, &answer);
    assert_string_equal(answer.last.ledger.transfer_path, "network");
    baton_close(baton);
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* ---- the end ---- */

static size_t n_entries(const char *path)
{
    DIR *dir = opendir(path);
    size_t n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n - 2;
}

/* A stream that runs when the fleet is told to stop comes to its end; then nothing is left. */
static void drain_finishes_and_leaves_nothing(void **state)
{
    struct run *up = run_start("up", run_file("drain.yaml", FLEET), NULL);
    static struct ask_answer answer;
    struct baton_request request;
    struct baton_event event;
    char endpoint[128];
    struct baton *baton;
    pid_t pids[3];
    uint64_t stream;
    size_t n_files;

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    n_files = n_entries(run_folder());
    pids[0] = run_node(up, "r");
    pids[1] = run_node(up, "p");
    pids[2] = run_node(up, "d");
    baton = ask_open(endpoint);
    answer.n = 0;
    ask_request(&request, "to its end", 1, 400);
    assert_int_equal(baton_generate(baton, &request, &stream), BATON_OK);
    do
        ask_next(baton, &event);
    while (event.kind != BATON_TOKEN);
    (void)ask_take(&answer, &event);
    kill(up->pid, SIGTERM);
    do
        ask_next(baton, &event);
    while (!ask_take(&answer, &event));
    ask_expect_true(&request, &answer);
    baton_close(baton);
    assert_int_equal(run_end(up), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_true(pids[i] > 0);
        assert_false(run_is_alive(pids[i]));
    }
    assert_int_equal(n_entries(run_folder()), n_files - 1); /* the private sockets' folder */
    assert_null(strstr(up->err.text, "WARN"));              /* all as it should be */
    run_free(up);
}

/* The line can be pasted into a shell: quoted, and with what the file does not say. */
static void up_says_how_to_ask(void **state)
{
    struct run *up = run_start("up", run_file("my fleet.yaml", FLEET), "--insecure", NULL);
    char line[512], text[1024];

    (void)state;
    snprintf(line, sizeof(line),
             " chat --config '%s/my fleet.yaml' --connect tcp://127.0.0.1:", run_folder());
    run_await_out(up, line);
    run_await_out(up, " --insecure \"Hello\"");
    assert_int_equal(run_stop(up, SIGTERM), 0);
    snprintf(text, sizeof(text),
             ASK_MODEL "nodes:\n- { name: r, role: router, clients: 'ipc://%s/ask' }\n"
                       "- { name: p, role: prefill }\n- { name: d, role: decode }\n",
             run_folder());
    up = run_start("up", run_file("named.yaml", text), NULL);
    snprintf(line, sizeof(line), " chat --config %s/named.yaml \"Hello\"", run_folder());
    run_await_out(up, line);
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* ---- main ---- */

static int setup(void **state)
{
    (void)state;
    fleet = run_start("up", run_file("fleet.yaml", FLEET), NULL);
    run_clients(fleet, clients, sizeof(clients));
    return 0;
}

static int teardown(void **state)
{
    const int code = run_stop(fleet, SIGTERM);

    (void)state;
    run_folder_remove();
    return code;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_is_the_truth),
        cmocka_unit_test(streams_beside_each_other),
        cmocka_unit_test(chat_prints_it),
        cmocka_unit_test(wrong_requests_get_a_sentence),
        cmocka_unit_test(cancelled_streams_end),
        cmocka_unit_test(doors_stand_it),
        cmocka_unit_test(another_model_is_refused),
        cmocka_unit_test(port_in_use),
        cmocka_unit_test(nobody_answers),
        cmocka_unit_test(over_the_network),
        cmocka_unit_test(drain_finishes_and_leaves_nothing),
        cmocka_unit_test(up_says_how_to_ask),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
