/* `baton chat`: one question, or a conversation, and the answers as they come, through libbaton
 * like any other client. What is said goes as messages of a chat, which the router puts into the
 * model's template; --raw sends the text as it is. */
#include "cli/chat.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/allow.h"
#include "cli/commands.h"
#include "cli/fleet.h"
#include "cli/process.h"
#include "cli/words.h"

#define WAIT_DEFAULT_S 5
#define TOKENS_DEFAULT 256

static const char help[] =
    "Usage: baton chat --config FLEET.yaml [OPTION ...] [PROMPT]\n\n"
    "Asks the fleet and prints the answer as it comes. Without PROMPT it is read from\n"
    "stdin; on a terminal that is a conversation: Ctrl-C stops an answer, Ctrl-D\n"
    "ends, /help tells more.\n\n"
    "  --config FILE      the fleet file: where the router is, and the keys\n"
    "  --connect ADDRESS  another address than the file's, host:port\n"
    "  --wait S           how long to wait for the router (5)\n"
    "  --system TEXT      said to the model before all else\n"
    "  --raw              send the text as it is, without the model's chat template\n"
    "  --tokens N         longest answer in tokens (256, or what the prompt leaves)\n"
    "  --temperature T    0: always the likeliest token. Not given: as the model's\n"
    "                     generation_config.json has it, as top-p and so on; 0 where\n"
    "                     that does not say do_sample\n"
    "  --seed N           the same seed gives the same answer; else one is drawn\n"
    "  --ignore-eos       go on to --tokens, whatever the model says\n"
    "  -v                 show afterwards the seed, and the identity of the numbers\n"
    "  --ledger           the same, and where the time went\n"
    "  --insecure         the fleet runs without keys\n";

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
    chat->prompt = mem_alloc(CHAT_PROMPT_MAX + 1);
    if (!chat->prompt)
        return false;
    chat->prompt_len = fread(chat->prompt, 1, CHAT_PROMPT_MAX + 1, stdin);
    if (chat->prompt_len > CHAT_PROMPT_MAX) {
        process_complain("the prompt is over %u bytes", CHAT_PROMPT_MAX);
        return false;
    }
    return true;
}

static bool take_prompt(struct chat *chat, const struct words *words)
{
    size_t room = 1;

    if (words->n == 0 && isatty(STDIN_FILENO) == 1) {
        chat->talk = true;
        chat->prompt = mem_alloc(CHAT_LINE_MAX);
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
    double wait_s = WAIT_DEFAULT_S, max_tokens = TOKENS_DEFAULT;

    chat->raw = words_flag(words, "--raw");
    chat->ledger = words_flag(words, "--ledger");
    chat->verbose = words_flag(words, "-v");
    chat->tokens_are_given = tokens != NULL;
    chat->temperature_is_given = temperature != NULL;
    baton_request_init(&chat->request);
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

static enum exit_code ask_once(struct chat *chat, struct baton *baton)
{
    const enum exit_code code = chat_meet(chat, baton);

    if (code != EXIT_DONE)
        return code;
    chat->request.fit = !chat->tokens_are_given;
    if (chat->raw) {
        chat->request.text = chat->prompt;
        chat->request.text_len = chat->prompt_len;
        return chat_ask(chat, baton);
    }
    chat->turns[chat->n_turns++] = (struct baton_turn){
        .role = "user", .content = chat->prompt, .content_len = chat->prompt_len};
    chat->request.messages = chat->turns;
    chat->request.n_messages = chat->n_turns;
    return chat_ask(chat, baton);
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
    code = chat->talk ? chat_talk(chat, baton) : ask_once(chat, baton);
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
    struct chat *chat;
    enum exit_code code = EXIT_USAGE;

    if (words_flag(&words, "--help")) {
        fputs(help, stdout);
        return EXIT_DONE;
    }
    chat = mem_alloc_zero(1, sizeof(*chat));
    if (!chat)
        return EXIT_FAILED;
    buf_init(&chat->answer, CHAT_PROMPT_MAX);
    chat->config = words_value(&words, "--config");
    chat->connect = words_value(&words, "--connect");
    if (chat->config) {
        chat->is_terminal = isatty(STDERR_FILENO) == 1;
        chat_catch_interrupts();
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
