/* `baton chat`: one question, or a conversation, and the answers as they come, through libbaton
 * like any other client. What is said goes as messages of a chat, which the router puts into the
 * model's template; --raw sends the text as it is. */
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
#define LINE_MAX_BYTES (64u << 10) /* one question of a conversation */
#define TURNS_MAX 512u             /* of a conversation: then it starts anew */
#define WAIT_DEFAULT_S 5
#define PATIENCE_AFTER_CANCEL_MS 3000

static const char help[] =
    "Usage: baton chat --config FLEET.yaml [OPTION ...] [PROMPT]\n\n"
    "Asks the fleet and prints the answer as it comes. Without PROMPT it is read from\n"
    "stdin; on a terminal that is a conversation: Ctrl-C cancels an answer, Ctrl-D\n"
    "ends.\n\n"
    "  --config FILE      the fleet file: where the router is, and the keys\n"
    "  --connect ADDRESS  another address than the file's, host:port\n"
    "  --wait S           how long to wait for the router (5)\n"
    "  --system TEXT      said to the model before all else\n"
    "  --raw              send the text as it is, without the model's chat template\n"
    "  --tokens N         longest answer in tokens (256)\n"
    "  --temperature T    0: always the likeliest token. Else, with top-p and so on,\n"
    "                     what generation_config.json of the model says, if the model\n"
    "                     is on this machine and made for sampling; else 0\n"
    "  --seed N           the same seed gives the same answer; else one is drawn\n"
    "  --ignore-eos       go on to --tokens, whatever the model says\n"
    "  --ledger           show afterwards where the time went\n"
    "  --insecure         the fleet runs without keys\n";

struct chat {
    const char *config;
    const char *connect;
    bool ledger, raw, talk; /* talk: a conversation on a terminal */
    int wait_ms;
    char *prompt; /* of one question, or the line of a conversation that was read last */
    size_t prompt_len;
    struct baton_turn turns[TURNS_MAX]; /* [n_turns] */
    size_t n_turns;
    size_t n_kept; /* of them, what a new conversation begins with: the system's words */
    struct buf answer;
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

    if (words->n == 0 && isatty(STDIN_FILENO) == 1) {
        chat->talk = true;
        chat->prompt = mem_alloc(LINE_MAX_BYTES);
        return chat->prompt != NULL;
    }
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
    const char *const system = words_value(words, "--system");
    double wait_s = WAIT_DEFAULT_S, max_tokens = 256;

    chat->raw = words_flag(words, "--raw");
    chat->ledger = words_flag(words, "--ledger");
    chat->request.ignore_eos = words_flag(words, "--ignore-eos");
    if (!parse_number("--wait", wait, 0, 86400, &wait_s) ||
        !parse_number("--tokens", tokens, 1, WIRE_TOKENS_MAX, &max_tokens) ||
        !parse_number("--temperature", temperature, 0, 100, &chat->request.temperature) ||
        !parse_seed(seed, &chat->request))
        return false;
    if (chat->raw && system) {
        process_complain("chat: --system is a message of a chat, --raw sends none");
        return false;
    }
    if (system)
        chat->turns[chat->n_turns++] = (struct baton_turn){.role = "system", .content = system};
    chat->n_kept = chat->n_turns;
    chat->wait_ms = (int)(wait_s * 1000);
    chat->request.max_tokens = (uint32_t)max_tokens;
    if (words_option(words)) {
        process_complain("chat: '%s' is not understood; see baton chat --help",
                         words_option(words));
        return false;
    }
    return true;
}

/* How a model wants to be sampled it says itself, where its folder is at hand: a client's machine
 * need not have it. */
static void take_generation(struct baton_request *request, const struct fleet *fleet)
{
    char why[FLEET_WHY_MAX];
    struct served *served;

    baton_request_init(request);
    request->temperature = 0;
    if (served_open(fleet, &served, why) != STATUS_OK)
        return;
    if (served->generation.do_sample) {
        request->temperature = served->generation.temperature;
        request->top_p = served->generation.top_p;
        request->min_p = served->generation.min_p;
        request->top_k = served->generation.top_k;
        request->repetition_penalty = served->generation.repetition_penalty;
    }
    served_close(served);
}

/* ---- where to ---- */

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

static void print_token(struct chat *chat, const struct baton_event *event)
{
    fwrite(event->text, 1, event->text_len, stdout);
    fflush(stdout);
    if (chat->talk)
        (void)buf_append(&chat->answer, event->text, event->text_len);
}

static enum exit_code print_end(const struct chat *chat, const struct baton_event *event)
{
    putchar('\n');
    fflush(stdout);
    if (event->kind == BATON_FAILED && chat->talk && interrupted)
        return EXIT_DONE;
    if (event->kind == BATON_FAILED) {
        process_complain("%s%s", event->text, interrupted ? " (Ctrl-C)" : "");
        if (event->retry_ms)
            process_complain("try again in %u ms", event->retry_ms);
        return EXIT_FAILED;
    }
    if (!chat->talk)
        fprintf(stderr, "\n%s after %u tokens, seed %llu, %s\n", event->reason, event->n_tokens,
                (unsigned long long)event->seed, event->fingerprint);
    if (chat->ledger)
        ledger_print(stderr, &event->ledger);
    return EXIT_DONE;
}

/* Follows the stream to its end, or for a while after Ctrl-C. */
static enum exit_code follow(struct chat *chat, struct baton *baton, uint64_t stream)
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
        if (event.stream != stream && event.stream != 0)
            continue; /* of an answer that was given up */
        if (event.kind == BATON_TOKEN)
            print_token(chat, &event);
        else if (event.kind == BATON_DONE || event.kind == BATON_FAILED)
            return print_end(chat, &event);
    }
    return EXIT_FAILED;
}

/* Waits for the router; Ctrl-C ends that too. */
static int await_router(const struct chat *chat, struct baton *baton)
{
    int result = BATON_UNREACHABLE;

    for (int left_ms = chat->wait_ms; result == BATON_UNREACHABLE && !interrupted; left_ms -= 250) {
        result = baton_wait(baton, left_ms < 250 ? left_ms : 250);
        if (left_ms <= 250)
            break;
    }
    return result;
}

/* One question: what the request holds now. */
static enum exit_code ask(struct chat *chat, struct baton *baton)
{
    int result = await_router(chat, baton);
    uint64_t stream;

    if (result == BATON_OK && !interrupted)
        result = baton_generate(baton, &chat->request, &stream);
    if (result == BATON_OK && !interrupted)
        return follow(chat, baton, stream);
    if (interrupted) {
        process_complain("interrupted");
        return EXIT_FAILED;
    }
    if (result != BATON_UNREACHABLE) {
        process_complain("%s", baton_message(baton));
        return EXIT_FAILED;
    }
    process_complain("no router answers at %s within %d ms. Is the fleet up? Start it with\n"
                     "  baton up %s\n"
                     "If it is up, this file may name another address or other keys than its.",
                     chat->endpoint, chat->wait_ms, chat->config);
    return EXIT_UNREACHABLE;
}

static enum exit_code ask_once(struct chat *chat, struct baton *baton)
{
    if (chat->raw) {
        chat->request.text = chat->prompt;
        chat->request.text_len = chat->prompt_len;
        return ask(chat, baton);
    }
    chat->turns[chat->n_turns++] = (struct baton_turn){
        .role = "user", .content = chat->prompt, .content_len = chat->prompt_len};
    chat->request.messages = chat->turns;
    chat->request.n_messages = chat->n_turns;
    return ask(chat, baton);
}

/* ---- a conversation ---- */

/* Forgets the turns from `n` on. */
static void forget(struct chat *chat, size_t n)
{
    while (chat->n_turns > n)
        mem_free((char *)chat->turns[--chat->n_turns].content);
}

static bool remember(struct chat *chat, const char *role, const char *text)
{
    char *copy = mem_strdup(text);

    if (copy)
        chat->turns[chat->n_turns++] = (struct baton_turn){.role = role, .content = copy};
    return copy != NULL;
}

/* The next line that is not empty, without its end; false at the end of the input. */
static bool read_line(struct chat *chat)
{
    for (;;) {
        interrupted = 0;
        fputs("> ", stdout);
        fflush(stdout);
        errno = 0;
        if (!fgets(chat->prompt, LINE_MAX_BYTES, stdin)) {
            putchar('\n');
            if (errno != EINTR)
                return false;
            clearerr(stdin); /* Ctrl-C: the line is given up */
            continue;
        }
        chat->prompt[strcspn(chat->prompt, "\n")] = '\0';
        if (chat->prompt[strspn(chat->prompt, " \t\r")] != '\0')
            return true;
    }
}

/* The question goes with all that was said before; what fails was not said. */
static enum exit_code ask_on(struct chat *chat, struct baton *baton)
{
    const size_t before = chat->n_turns;
    enum exit_code code = EXIT_FAILED;

    buf_clear(&chat->answer);
    if (chat->raw) {
        chat->request.text = chat->prompt;
        return ask(chat, baton);
    }
    if (remember(chat, "user", chat->prompt)) {
        chat->request.messages = chat->turns;
        chat->request.n_messages = chat->n_turns;
        code = ask(chat, baton);
    }
    if (code != EXIT_DONE || !remember(chat, "assistant", buf_text(&chat->answer)))
        forget(chat, before);
    if (chat->n_turns > chat->n_kept &&
        (chat->n_turns + 2 > TURNS_MAX || (code == EXIT_FAILED && !interrupted))) {
        forget(chat, chat->n_kept);
        fputs("(the conversation starts anew)\n", stderr);
    }
    return code;
}

static enum exit_code talk(struct chat *chat, struct baton *baton)
{
    enum exit_code code = EXIT_DONE;

    while (code != EXIT_UNREACHABLE && read_line(chat))
        code = ask_on(chat, baton);
    forget(chat, chat->n_kept);
    return code == EXIT_UNREACHABLE ? code : EXIT_DONE;
}

/* ---- the command ---- */

static enum exit_code connect_and_ask(struct chat *chat)
{
    const bool has_keys = chat->server_key[0] != '\0';
    const struct baton_options options = {.endpoint = chat->endpoint,
                                          .agent = "baton chat",
                                          .server_key = has_keys ? chat->server_key : NULL,
                                          .public_key = has_keys ? chat->keys.public_key : NULL,
                                          .secret_key = has_keys ? chat->keys.secret_key : NULL};
    struct baton *baton = NULL;
    enum exit_code code;

    if (baton_open(&options, &baton) != BATON_OK) {
        process_complain("%s", baton_message(baton));
        baton_close(baton);
        return EXIT_UNREACHABLE;
    }
    code = chat->talk ? talk(chat, baton) : ask_once(chat, baton);
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
        take_generation(&chat->request, fleet);
        if (code == EXIT_DONE && (!parse(chat, &left) || !take_prompt(chat, &left)))
            code = EXIT_USAGE;
        if (code == EXIT_DONE && chat->prompt_len == 0 && !chat->talk) {
            process_complain("chat: the prompt is empty");
            code = EXIT_USAGE;
        }
        if (code == EXIT_DONE)
            code = connect_and_ask(chat);
        fleet_destroy(fleet);
    }
    mem_free(rest);
    return code;
}

enum exit_code command_chat(int n_args, char **args)
{
    struct words words = {.at = args, .n = n_args};
    const struct sigaction action = {.sa_handler = on_interrupt};
    struct chat *chat;
    enum exit_code code = EXIT_USAGE;

    if (words_flag(&words, "--help")) {
        fputs(help, stdout);
        return EXIT_DONE;
    }
    chat = mem_alloc_zero(1, sizeof(*chat));
    if (!chat)
        return EXIT_FAILED;
    buf_init(&chat->answer, PROMPT_MAX);
    chat->config = words_value(&words, "--config");
    chat->connect = words_value(&words, "--connect");
    if (chat->config) {
        sigaction(SIGINT, &action, NULL);
        signal(SIGPIPE, SIG_IGN); /* NOLINT */
        code = chat_run(chat, &words);
    } else {
        process_complain("chat: which fleet? Add --config FLEET.yaml");
    }
    buf_fini(&chat->answer);
    mem_free(chat->prompt);
    keys_wipe(&chat->keys);
    mem_free(chat);
    return code;
}
