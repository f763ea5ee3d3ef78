/* `baton chat`: one prompt, its answer as it comes, through libbaton like any other client. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/allow.h"
#include "cli/commands.h"
#include "cli/ledger.h"
#include "cli/process.h"
#include "cli/words.h"
#include "clients/c/baton.h"

#define PROMPT_MAX (4u << 20)
#define WAIT_DEFAULT_S 5
#define PATIENCE_AFTER_CANCEL_MS 3000

static const char help[] =
    "Usage: baton chat --config FLEET.yaml [OPTION ...] [PROMPT]\n\n"
    "Asks the fleet and prints the answer as it comes. Without PROMPT it is read from\n"
    "stdin. Ctrl-C cancels the request.\n\n"
    "  --config FILE      the fleet file: where the router is, and the keys\n"
    "  --connect ADDRESS  another address than the file's, host:port\n"
    "  --wait S           how long to wait for the router (5)\n"
    "  --tokens N         longest answer in tokens (256)\n"
    "  --temperature T    0: always the likeliest token (1)\n"
    "  --seed N           the same seed gives the same answer; else one is drawn\n"
    "  --ignore-eos       go on to --tokens, whatever the model says\n"
    "  --ledger           show afterwards where the time went\n"
    "  --insecure         the fleet runs without keys\n";

struct chat {
    const char *config;
    const char *connect;
    bool ledger;
    int wait_ms;
    char *prompt;
    size_t prompt_len;
    struct baton_request request;
    struct keys keys;
    char server_key[KEYS_Z85_LEN + 1];
    char endpoint[WIRE_NAME_MAX + 1];
};

static volatile sig_atomic_t interrupted; /* the stop flag */

static void on_interrupt(int signum)
{
    (void)signum;
    interrupted = 1;
}

/* ---- the command line ---- */

static bool parse_number(const char *name, const char *text, double low, double high, double *out)
{
    char *end = NULL;

    if (!text)
        return true;
    errno = 0;
    *out = strtod(text, &end);
    if (end != text && *end == '\0' && errno == 0 && *out >= low && *out <= high)
        return true;
    process_complain("%s: expected a number from %.10g to %.10g, found '%.64s'", name, low, high,
                     text);
    return false;
}

static bool parse_seed(const char *text, struct baton_request *request)
{
    char *end = NULL;

    if (!text)
        return true;
    errno = 0;
    request->seed = strtoull(text, &end, 10);
    request->seeded = true;
    if (end != text && *end == '\0' && errno == 0 && text[0] != '-')
        return true;
    process_complain("--seed: expected a number from 0 to 2^64-1, found '%.64s'", text);
    return false;
}

static bool read_stdin(struct chat *chat)
{
    chat->prompt = mem_alloc(PROMPT_MAX + 1);
    if (!chat->prompt)
        return false;
    chat->prompt_len = fread(chat->prompt, 1, PROMPT_MAX + 1, stdin);
    if (chat->prompt_len > PROMPT_MAX) {
        process_complain("the prompt is over %u bytes", PROMPT_MAX);
        return false;
    }
    return true;
}

static bool take_prompt(struct chat *chat, const struct words *words)
{
    size_t room = 1;

    if (words->n == 0)
        return read_stdin(chat);
    for (int i = 0; i < words->n; i++)
        room += strlen(words->at[i]) + 1;
    chat->prompt = mem_alloc(room);
    if (!chat->prompt)
        return false;
    for (int i = 0; i < words->n; i++)
        chat->prompt_len +=
            (size_t)snprintf(chat->prompt + chat->prompt_len, room - chat->prompt_len, "%s%s",
                             i > 0 ? " " : "", words->at[i]);
    return true;
}

/* What is the command's own; false after a complaint. */
static bool parse(struct chat *chat, struct words *words)
{
    const char *const wait = words_value(words, "--wait");
    const char *const tokens = words_value(words, "--tokens");
    const char *const temperature = words_value(words, "--temperature");
    const char *const seed = words_value(words, "--seed");
    double wait_s = WAIT_DEFAULT_S, max_tokens = 256;

    baton_request_init(&chat->request);
    chat->ledger = words_flag(words, "--ledger");
    chat->request.ignore_eos = words_flag(words, "--ignore-eos");
    if (!parse_number("--wait", wait, 0, 86400, &wait_s) ||
        !parse_number("--tokens", tokens, 1, WIRE_TOKENS_MAX, &max_tokens) ||
        !parse_number("--temperature", temperature, 0, 100, &chat->request.temperature) ||
        !parse_seed(seed, &chat->request))
        return false;
    chat->wait_ms = (int)(wait_s * 1000);
    chat->request.max_tokens = (uint32_t)max_tokens;
    if (words_option(words)) {
        process_complain("chat: '%s' is not understood; see baton chat --help",
                         words_option(words));
        return false;
    }
    return true;
}

/* ---- where to ----  */

/* The first router of the file, its address and keys. */
static enum exit_code find_router(struct chat *chat, const struct fleet *fleet)
{
    const struct fleet_node *node = &fleet->nodes[0];
    char path[PATH_MAX + 80];
    char why[FLEET_WHY_MAX];

    while (node->role != OPTIONS_ROUTER) /* there is one: fleet_load has seen to it */
        node++;
    if (chat->connect) {
        if (fleet_endpoint(chat->connect, chat->endpoint, why, sizeof(why)) != STATUS_OK) {
            process_complain("--connect: %s", why);
            return EXIT_USAGE;
        }
    } else {
        snprintf(chat->endpoint, sizeof(chat->endpoint), "%s", node->clients);
    }
    if (!fleet->keys[0])
        return EXIT_DONE;
    snprintf(path, sizeof(path), "%s/%s.key", fleet->keys, ALLOW_CLIENT);
    if (keys_load(path, &chat->keys, why) != STATUS_OK ||
        allow_find(fleet, node->name, chat->server_key, why) != STATUS_OK) {
        process_complain("%s", why);
        return EXIT_CONFIG;
    }
    return EXIT_DONE;
}

/* ---- asking ---- */

static void print_token(const struct baton_event *event)
{
    fwrite(event->text, 1, event->text_len, stdout);
    fflush(stdout);
}

static enum exit_code print_end(const struct chat *chat, const struct baton_event *event)
{
    putchar('\n');
    if (event->kind == BATON_FAILED) {
        process_complain("%s%s", event->text, interrupted ? " (Ctrl-C)" : "");
        if (event->retry_ms)
            process_complain("try again in %u ms", event->retry_ms);
        return EXIT_FAILED;
    }
    fprintf(stderr, "\n%s after %u tokens, seed %llu, %s\n", event->reason, event->n_tokens,
            (unsigned long long)event->seed, event->fingerprint);
    if (chat->ledger)
        ledger_print(stderr, &event->ledger);
    return EXIT_DONE;
}

/* Follows the stream to its end, or for a while after Ctrl-C. */
static enum exit_code follow(const struct chat *chat, struct baton *baton, uint64_t stream)
{
    bool cancelled = false;
    int patience_ms = PATIENCE_AFTER_CANCEL_MS;
    struct baton_event event;

    while (patience_ms > 0) {
        const int got = baton_next(baton, &event, 100);

        if (got < 0) {
            process_complain("%s", baton_message(baton));
            return EXIT_FAILED;
        }
        if (interrupted && !cancelled) {
            cancelled = true;
            (void)baton_cancel(baton, stream);
        }
        if (got == 0) {
            patience_ms -= cancelled ? 100 : 0;
            continue;
        }
        if (event.kind == BATON_TOKEN)
            print_token(&event);
        else if (event.kind == BATON_DONE || event.kind == BATON_FAILED)
            return print_end(chat, &event);
    }
    return EXIT_FAILED;
}

static enum exit_code ask(struct chat *chat)
{
    const bool has_keys = chat->server_key[0] != '\0';
    const struct baton_options options = {.endpoint = chat->endpoint,
                                          .agent = "baton chat",
                                          .server_key = has_keys ? chat->server_key : NULL,
                                          .public_key = has_keys ? chat->keys.public_key : NULL,
                                          .secret_key = has_keys ? chat->keys.secret_key : NULL};
    struct baton *baton = NULL;
    enum exit_code code = EXIT_UNREACHABLE;
    uint64_t stream;
    int result = baton_open(&options, &baton);

    for (int left_ms = chat->wait_ms; result == BATON_OK && !interrupted; left_ms -= 250) {
        result = baton_wait(baton, left_ms < 250 ? left_ms : 250);
        if (result == BATON_OK)
            break;
        if (result == BATON_UNREACHABLE && left_ms > 250)
            result = BATON_OK;
    }
    chat->request.text = chat->prompt;
    chat->request.text_len = chat->prompt_len;
    if (result == BATON_OK && !interrupted)
        result = baton_generate(baton, &chat->request, &stream);
    if (result == BATON_OK && !interrupted)
        code = follow(chat, baton, stream);
    else if (result == BATON_UNREACHABLE)
        process_complain("no router answers at %s within %d ms. Is the fleet up? Start it with\n"
                         "  baton up %s\n"
                         "If it is up, this file may name another address or other keys than its.",
                         chat->endpoint, chat->wait_ms, chat->config ? chat->config : "FLEET.yaml");
    else
        process_complain("%s", interrupted ? "interrupted" : baton_message(baton));
    baton_close(baton);
    return code;
}

static enum exit_code chat_run(struct chat *chat, struct words *words)
{
    char **rest = mem_alloc_zero((size_t)words->n + 1, sizeof(*rest));
    enum exit_code code = EXIT_CONFIG;
    char why[FLEET_WHY_MAX];
    struct fleet *fleet;
    int n_rest = 0;

    if (!rest)
        return EXIT_FAILED;
    if (fleet_load(chat->config, NULL, words->n, words->at, rest, &n_rest, &fleet, why) !=
        STATUS_OK) {
        process_complain("%s", why);
    } else {
        struct words left = {.at = rest, .n = n_rest};

        code = find_router(chat, fleet);
        if (code == EXIT_DONE && (!parse(chat, &left) || !take_prompt(chat, &left)))
            code = EXIT_USAGE;
        if (code == EXIT_DONE && chat->prompt_len == 0) {
            process_complain("chat: the prompt is empty");
            code = EXIT_USAGE;
        }
        if (code == EXIT_DONE)
            code = ask(chat);
        fleet_destroy(fleet);
    }
    mem_free(rest);
    return code;
}

enum exit_code command_chat(int n_args, char **args)
{
    struct words words = {.at = args, .n = n_args};
    const struct sigaction action = {.sa_handler = on_interrupt};
    struct chat chat = {.prompt = NULL};
    enum exit_code code = EXIT_USAGE;

    if (words_flag(&words, "--help")) {
        fputs(help, stdout);
        return EXIT_DONE;
    }
    chat.config = words_value(&words, "--config");
    chat.connect = words_value(&words, "--connect");
    if (!chat.config) {
        process_complain("chat: which fleet? Add --config FLEET.yaml");
        return EXIT_USAGE;
    }
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* NOLINT */
    code = chat_run(&chat, &words);
    mem_free(chat.prompt);
    keys_wipe(&chat.keys);
    return code;
}
