/* `baton chat` as a person has it: on a terminal, with the demo model. What it takes from the
 * router and not from files, what it says and when, and what a conversation remembers. */
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

#include <cmocka.h>

#include "tests/cli/ask.h"
#include "tests/cli/run.h"

#define ROOM (64 * 1024)
#define PATH_ROOM 512
#define LEN_MAX 320
#define FLEET_OF(model, more)                                                                      \
    "model: " model "\nkv: { memory: 32MiB }\n" more "nodes:\n"                                    \
    "- { name: r, role: router, clients: '127.0.0.1:0' }\n"                                        \
    "- { name: p, role: prefill }\n- { name: d, role: decode }\n"
#define FLEET FLEET_OF("demo", "engine: { len_max: 320 }\n")

static struct run *fleet;
static char clients[128];
static char out[ROOM], err[ROOM];

static const char *in_folder(const char *name)
{
    static char paths[4][PATH_ROOM];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, PATH_ROOM, "%s/%.400s", run_folder(), name);
    return path;
}

/* A copy of the demo model that says this about its sampling. */
static void copy_demo(const char *name, const char *generation)
{
    char command[3 * PATH_ROOM], file[PATH_ROOM];

    snprintf(command, sizeof(command), "cp -rL %s/demo %s", getenv("BATON_BUILD"), in_folder(name));
    assert_int_equal(system(command), 0); /* NOLINT */
    snprintf(file, sizeof(file), "%.60s/generation_config.json", name);
    (void)run_file(file, generation);
}

/* ---- one question ---- */

static int ask_with(const char *option, const char *value, const char *prompt)
{
    return run_once(out, err, ROOM, "chat", "--config", in_folder("fleet.yaml"), "--connect",
                    clients, "--seed", "3", prompt, option, value, NULL);
}

/* The answer as the model's makers want it sampled, whatever model the client's file names. */
static void sampling_comes_from_the_router(void **state)
{
    static char plain[ROOM];
    struct baton_event event;
    struct run *up;
    struct baton *baton;

    (void)state;
    copy_demo("warm", "{\"do_sample\":true,\"temperature\":1.5,\"eos_token_id\":0}");
    copy_demo("cold", "{\"do_sample\":false,\"temperature\":1.5,\"eos_token_id\":0}");
    (void)run_file("fleet.yaml", FLEET_OF("nowhere", ""));
    up = run_start("up", in_folder("fleet.yaml"), "--model", in_folder("warm"), NULL);
    run_clients(up, clients, sizeof(clients));
    assert_int_equal(ask_with(NULL, NULL, "What is a KV cache?"), 0);
    snprintf(plain, sizeof(plain), "%s", out);
    assert_int_equal(ask_with("--temperature", "1.5", "What is a KV cache?"), 0);
    assert_string_equal(out, plain);
    assert_int_equal(ask_with("--temperature", "0", "What is a KV cache?"), 0);
    assert_string_not_equal(out, plain);
    snprintf(plain, sizeof(plain), "%s", out);
    assert_int_equal(run_stop(up, SIGTERM), 0);

    up = run_start("up", in_folder("fleet.yaml"), "--model", in_folder("cold"), NULL);
    run_clients(up, clients, sizeof(clients));
    assert_int_equal(ask_with(NULL, NULL, "What is a KV cache?"), 0);
    assert_string_equal(out, plain);
    /* For who asks over HTTP without a temperature, which knows no `samples`, it is 0 too. */
    baton = ask_open(clients);
    assert_int_equal(baton_ask_model(baton), BATON_OK);
    do
        ask_next(baton, &event);
    while (event.kind != BATON_MODEL);
    assert_string_equal(event.model.name, "cold");
    assert_true(event.model.temperature == 0 && !event.model.samples);
    assert_true(event.model.ready && event.model.chats);
    baton_close(baton);
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* No template, or one that is not understood: what is said leads on. */
static void templates_that_are_not_there(void **state)
{
    struct run *up;

    (void)state;
    copy_demo("mute", "{}");
    (void)run_file("mute/chat_template.jinja", "{% wrong %}");
    (void)run_file("fleet.yaml", FLEET_OF("mute", ""));
    assert_int_equal(run_once(out, err, ROOM, "up", in_folder("fleet.yaml"), NULL), 3);
    assert_non_null(strstr(err, "--raw, /v1/completions) remove chat_template.jinja"));
    assert_int_equal(unlink(in_folder("mute/chat_template.jinja")), 0);
    (void)run_file("mute/tokenizer_config.json", "{}");
    up = run_start("up", in_folder("fleet.yaml"), NULL);
    run_clients(up, clients, sizeof(clients));
    assert_int_equal(ask_with(NULL, NULL, "hi"), 1);
    assert_non_null(strstr(err, "mute has no chat template"));
    assert_non_null(strstr(err, "--raw"));
    assert_int_equal(ask_with("--raw", NULL, "hi"), 0);
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* A default is no wish: it gives way to the prompt. A wish is refused by its name here. */
static void lengths_that_do_not_fit(void **state)
{
    char prompt[1200];

    (void)state;
    memset(prompt, 0, sizeof(prompt));
    for (size_t i = 0; i < 150; i++) /* some 150 tokens */
        strcat(prompt, " a");
    assert_int_equal(ask_with("--ignore-eos", NULL, prompt), 0);
    assert_non_null(strstr(err, "length after "));
    assert_null(strstr(err, "length after 256"));
    assert_int_equal(ask_with("--tokens", "256", prompt), 1);
    assert_non_null(strstr(err, "--tokens 256"));
    assert_null(strstr(err, "max_tokens"));
    for (size_t i = 0; i < 400; i++)
        strcat(prompt, " a");
    assert_int_equal(ask_with(NULL, NULL, prompt), 1);
    assert_non_null(strstr(err, "shorten it"));
    assert_null(strstr(err, "--tokens"));
}

/* ---- a conversation ---- */

static struct run *converse(const char *option, const char *value)
{
    struct run *chat =
        run_start_terminal("chat", "--config", in_folder("fleet.yaml"), "--connect", clients,
                           "--ledger", "--temperature", "0", option, value, NULL);

    run_await_out(chat, "Ctrl-C stops an answer, Ctrl-D ends");
    return chat;
}

/* Asks, and gives the tokens that went with it: all that was said before counts. */
static unsigned n_tokens_of(struct run *chat, const char *line)
{
    const char *row;

    run_forget(chat);
    run_type(chat, line);
    run_await_out(chat, "attempts: ");
    row = strstr(chat->out.text, "\n  prefill  ");
    assert_non_null(row);
    row += strcspn(row + 1, "\n");
    while (row[-1] != ' ' || row[0] < '0' || row[0] > '9')
        row--;
    return (unsigned)strtoul(row, NULL, 10);
}

static void conversations_remember(void **state)
{
    struct run *chat = converse(NULL, NULL);
    char too_long[1000] = "";
    unsigned first, second, third;

    (void)state;
    run_type(chat, "/help\n");
    run_await_out(chat, "/quit");
    first = n_tokens_of(chat, "What is a KV cache?\n");
    run_await_out(chat, "> ");
    second = n_tokens_of(chat, "What is a KV cache?\n");
    assert_true(second > 2 * first);
    /* What fails was not said, and takes nothing with it. */
    run_forget(chat);
    for (size_t i = 0; i < 450; i++)
        strcat(too_long, " a");
    strcat(too_long, "\n");
    run_type(chat, too_long);
    run_await_out(chat, "shorten it");
    third = n_tokens_of(chat, "What is a KV cache?\n");
    assert_true(third > second || strstr(chat->out.text, "are forgotten)"));
    assert_true(third > first);
    run_forget(chat);
    run_type(chat, "/new\n");
    run_await_out(chat, "> ");
    assert_int_equal(n_tokens_of(chat, "What is a KV cache?\n"), first);
    run_type(chat, "/quit\n");
    assert_int_equal(run_end(chat), 0);
    run_free(chat);
}

/* The oldest make room, and it is said; the answer keeps its length. */
static void the_oldest_turns_make_room(void **state)
{
    struct run *chat = converse("--tokens", "60");
    unsigned n = 0, before;

    (void)state;
    for (size_t i = 0; i < 12; i++) {
        before = n;
        n = n_tokens_of(chat, "What is a KV cache? What is a baton? What is a prefill node?\n");
        assert_true(n + 60 <= LEN_MAX);
        if (strstr(chat->out.text, " messages are forgotten)"))
            break;
        assert_true(n > before);
    }
    assert_non_null(strstr(chat->out.text, "(too long: the oldest 2 messages are forgotten)"));
    assert_true(n > 60); /* not all of them */
    run_type(chat, "\4");
    assert_int_equal(run_end(chat), 0);
    run_free(chat);
}

static void ctrl_c_stops_the_answer(void **state)
{
    struct run *chat = converse("--ignore-eos", NULL);

    (void)state;
    run_forget(chat);
    run_type(chat, "What is a KV cache?\n");
    run_await_out(chat, "?\r\n");
    run_type(chat, "\3");
    run_await_out(chat, "> ");
    run_type(chat, "/quit\n");
    assert_int_equal(run_end(chat), 0);
    run_free(chat);
}

/* A person gets what a person wants to know. */
static void people_get_a_short_footer(void **state)
{
    struct run *chat = run_start_terminal("chat", "--config", in_folder("fleet.yaml"), "--connect",
                                          clients, "What is a KV cache?", NULL);

    (void)state;
    assert_int_equal(run_end(chat), 0);
    assert_non_null(strstr(chat->out.text, " tokens, "));
    assert_null(strstr(chat->out.text, "seed"));
    assert_null(strstr(chat->out.text, "waiting"));
    run_free(chat);
    chat = run_start_terminal("chat", "--config", in_folder("fleet.yaml"), "--connect", clients,
                              "-v", "What is a KV cache?", NULL);
    assert_int_equal(run_end(chat), 0);
    assert_non_null(strstr(chat->out.text, "seed "));
    run_free(chat);
}

/* ---- before the fleet is ready ---- */

/* A router alone: the question waits, and the person knows why. */
static void waiting_is_said(void **state)
{
    const char *path = run_file("alone.yaml", FLEET);
    struct run *router, *chat;
    char endpoint[128];
    const char *at;

    (void)state;
    router = run_start("router", path, "--name", "r", "--run-folder", run_folder(), NULL);
    at = run_await_out(router, "clients=") + strlen("clients=");
    snprintf(endpoint, sizeof(endpoint), "%.*s", (int)strcspn(at, " \n"), at);
    chat = run_start_terminal("chat", "--config", path, "--connect", endpoint, "hello", NULL);
    run_await_out(chat, "waiting: the fleet's nodes are not ready yet");
    run_type(chat, "\3");
    assert_int_equal(run_end(chat), 1);
    run_free(chat);
    assert_int_equal(run_stop(router, SIGTERM), 0);
}

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
    return code;
}

int main(void)
{
    const struct CMUnitTest with_fleet[] = {
        cmocka_unit_test(lengths_that_do_not_fit),    cmocka_unit_test(conversations_remember),
        cmocka_unit_test(the_oldest_turns_make_room), cmocka_unit_test(ctrl_c_stops_the_answer),
        cmocka_unit_test(people_get_a_short_footer),
    };
    const struct CMUnitTest alone[] = {
        cmocka_unit_test(sampling_comes_from_the_router),
        cmocka_unit_test(templates_that_are_not_there),
        cmocka_unit_test(waiting_is_said),
    };
    int failed = cmocka_run_group_tests(with_fleet, setup, teardown);

    failed += cmocka_run_group_tests(alone, NULL, NULL);
    run_folder_remove();
    return failed;
}
