/* One question and its answer, through libbaton: see chat.h. */
#include "cli/chat.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "cli/ledger.h"
#include "cli/process.h"
#include "cli/words.h"

#define PATIENCE_AFTER_CANCEL_MS 3000
#define MODEL_MS 10000 /* the router answers between two steps */

static volatile sig_atomic_t interrupted; /* the stop flag */

static void on_interrupt(int signum)
{
    (void)signum;
    interrupted = 1;
}

void chat_catch_interrupts(void)
{
    const struct sigaction action = {.sa_handler = on_interrupt};

    sigaction(SIGINT, &action, NULL);
}

bool chat_interrupted(void)
{
    return interrupted != 0;
}

void chat_interrupts_forget(void)
{
    interrupted = 0;
}

/* ---- the router ---- */

/* Waits for it; Ctrl-C ends that too. */
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

static enum exit_code learn_model(struct chat *chat, struct baton *baton)
{
    struct baton_event event;

    if (baton_ask_model(baton) != BATON_OK) {
        process_complain("%s", baton_message(baton));
        return EXIT_FAILED;
    }
    for (int left_ms = MODEL_MS; left_ms > 0 && !interrupted;) {
        const int got = baton_next(baton, &event, 100);

        if (got < 0) {
            process_complain("%s", baton_message(baton));
            return EXIT_FAILED;
        }
        left_ms -= got == 0 ? 100 : 0;
        if (got > 0 && event.kind == BATON_MODEL) {
            chat->model = event.model;
            return EXIT_DONE;
        }
    }
    if (interrupted)
        process_complain("interrupted");
    else
        process_complain("the router at %s has fallen silent", chat->endpoint);
    return EXIT_FAILED;
}

/* How a model wants to be sampled its makers have said, and the router tells. */
static void take_sampling(struct chat *chat)
{
    const struct baton_model *model = &chat->model;
    struct baton_request *request = &chat->request;

    if (!chat->temperature_is_given)
        request->temperature = model->samples ? model->temperature : 0;
    request->top_p = model->top_p;
    request->min_p = model->min_p;
    request->top_k = model->top_k;
    request->repetition_penalty = model->repetition_penalty;
}

enum exit_code chat_meet(struct chat *chat, struct baton *baton)
{
    const int result = await_router(chat, baton);
    char path[PATH_MAX + 16];
    enum exit_code code;

    if (interrupted) {
        process_complain("interrupted");
        return EXIT_FAILED;
    }
    if (result == BATON_UNREACHABLE) {
        process_complain("no router answers at %s within %d ms. Is the fleet up? Start it with\n"
                         "  baton up %s\n"
                         "If it is up, this file may name another address or other keys than its.",
                         chat->endpoint, chat->wait_ms,
                         words_quote(chat->config, path, sizeof(path)));
        return EXIT_UNREACHABLE;
    }
    if (result != BATON_OK) {
        process_complain("%s", baton_message(baton));
        return EXIT_FAILED;
    }
    code = learn_model(chat, baton);
    if (code != EXIT_DONE)
        return code;
    take_sampling(chat);
    if (chat->raw || chat->model.chats)
        return EXIT_DONE;
    process_complain(
        "%s has no chat template, so it takes texts and no chats: add --raw, and it goes "
        "on from your text",
        chat->model.name);
    return EXIT_FAILED;
}

/* ---- the answer ---- */

static void print_token(struct chat *chat, const struct baton_event *event)
{
    fwrite(event->text, 1, event->text_len, stdout);
    fflush(stdout);
    if (chat->talk)
        (void)buf_append(&chat->answer, event->text, event->text_len);
}

/* The protocol's name of an option becomes ours. */
static void print_failure(const struct baton_event *event)
{
    static const char theirs[] = "max_tokens", ours[] = "--tokens";
    const char *at = strstr(event->text, theirs);

    if (at)
        process_complain("%.*s%s%s%s", (int)(at - event->text), event->text, ours,
                         at + strlen(theirs), interrupted ? " (Ctrl-C)" : "");
    else
        process_complain("%s%s", event->text, interrupted ? " (Ctrl-C)" : "");
    if (event->retry_ms)
        process_complain("try again in %u ms", event->retry_ms);
}

/* Scripts and the curious get all that it takes to have the same answer again. */
static void print_footer(const struct chat *chat, const struct baton_event *event)
{
    const bool is_cut = strcmp(event->reason, "length") == 0 && !chat->tokens_are_given;
    const bool in_full = chat->ledger || chat->verbose || !chat->is_terminal;

    if (in_full && (!chat->talk || chat->ledger || chat->verbose))
        fprintf(stderr, "\n%s after %u tokens, seed %llu, %s\n", event->reason, event->n_tokens,
                (unsigned long long)event->seed, event->fingerprint);
    else if (is_cut)
        fprintf(stderr, "\ncut after %u tokens, %.1f s; --tokens N allows more\n", event->n_tokens,
                (double)event->ledger.total_us / 1e6);
    else if (!chat->talk)
        fprintf(stderr, "\n%u tokens, %.1f s\n", event->n_tokens,
                (double)event->ledger.total_us / 1e6);
    if (chat->ledger)
        ledger_print(stderr, &event->ledger);
}

static enum exit_code print_end(struct chat *chat, const struct baton_event *event)
{
    chat->is_too_long = event->kind == BATON_FAILED && event->code == STATUS_TOO_BIG;
    if (chat->is_too_long && chat->shorter)
        return EXIT_FAILED; /* is asked again, with less before it */
    putchar('\n');
    fflush(stdout);
    if (event->kind == BATON_FAILED && chat->talk && interrupted)
        return EXIT_DONE;
    if (event->kind == BATON_FAILED) {
        print_failure(event);
        return EXIT_FAILED;
    }
    print_footer(chat, event);
    return EXIT_DONE;
}

static void say_accepted(const struct chat *chat)
{
    if (chat->n_left_out > 0)
        fprintf(stderr, "(too long: the oldest %zu messages are forgotten)\n", chat->n_left_out);
    if (!chat->model.ready && chat->is_terminal)
        fputs("waiting: the fleet's nodes are not ready yet\n", stderr);
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
        if (event.kind == BATON_ACCEPTED)
            say_accepted(chat);
        else if (event.kind == BATON_TOKEN)
            print_token(chat, &event);
        else if (event.kind == BATON_DONE || event.kind == BATON_FAILED)
            return print_end(chat, &event);
    }
    return EXIT_FAILED;
}

enum exit_code chat_ask(struct chat *chat, struct baton *baton)
{
    uint64_t stream;

    chat->is_too_long = false;
    if (interrupted) {
        process_complain("interrupted");
        return EXIT_FAILED;
    }
    if (baton_generate(baton, &chat->request, &stream) == BATON_OK)
        return follow(chat, baton, stream);
    process_complain("%s", baton_message(baton));
    return EXIT_FAILED;
}
