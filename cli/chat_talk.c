/* A conversation on a terminal. Each question goes with all that was said before; what has become
 * too long for the model loses its oldest turns, and nothing else is ever forgotten unasked. */
#include "cli/chat.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static const char commands[] = "  /new   begins a new conversation\n"
                               "  /quit  ends, as Ctrl-D does\n"
                               "Ctrl-C stops an answer; what has come of it counts as said.\n";

/* ---- what was said ---- */

/* Forgets n turns from `first` on. */
static void forget(struct chat *chat, size_t first, size_t n)
{
    for (size_t i = first; i < first + n; i++)
        mem_free((char *)chat->turns[i].content);
    chat->n_turns -= n;
    memmove(&chat->turns[first], &chat->turns[first + n],
            (chat->n_turns - first) * sizeof(chat->turns[0]));
}

static bool remember(struct chat *chat, const char *role, const char *text)
{
    char *copy = mem_strdup(text);

    if (copy)
        chat->turns[chat->n_turns++] = (struct baton_turn){.role = role, .content = copy};
    return copy != NULL;
}

/* ---- asking ---- */

/* With the system's words, without the n oldest turns. The answer has room if what may be left out
 * has been; only then it is shortened. */
static enum exit_code ask_without(struct chat *chat, struct baton *baton, size_t n)
{
    struct baton_turn messages[CHAT_TURNS_MAX];
    const size_t n_old = chat->n_turns - chat->n_kept - 1;
    const size_t first = chat->n_kept + n;

    memcpy(messages, chat->turns, chat->n_kept * sizeof(messages[0]));
    memcpy(messages + chat->n_kept, &chat->turns[first],
           (chat->n_turns - first) * sizeof(messages[0]));
    chat->request.messages = messages;
    chat->request.n_messages = chat->n_turns - n;
    chat->n_left_out = n;
    chat->shorter = n < n_old;
    chat->request.fit = !chat->shorter && !chat->tokens_are_given;
    return chat_ask(chat, baton);
}

/* The question is the last turn: what fails was not said. */
static void ask_on(struct chat *chat, struct baton *baton)
{
    const size_t question = chat->n_turns - 1;
    enum exit_code code = ask_without(chat, baton, 0);
    size_t n = 0;

    while (code == EXIT_FAILED && chat->is_too_long && chat->shorter) {
        n += 2; /* a question and its answer */
        code = ask_without(chat, baton, n);
    }
    if (code != EXIT_DONE || !remember(chat, "assistant", buf_text(&chat->answer)))
        forget(chat, question, chat->n_turns - question);
    else
        forget(chat, chat->n_kept, n);
}

static void answer(struct chat *chat, struct baton *baton)
{
    buf_clear(&chat->answer);
    if (chat_meet(chat, baton) != EXIT_DONE)
        return;
    if (chat->raw) {
        chat->request.text = chat->prompt;
        chat->request.fit = !chat->tokens_are_given;
        (void)chat_ask(chat, baton);
        return;
    }
    if (chat->n_turns + 2 > CHAT_TURNS_MAX)
        forget(chat, chat->n_kept, 2);
    if (remember(chat, "user", chat->prompt))
        ask_on(chat, baton);
}

/* ---- the terminal ---- */

/* The next line that is not empty, without its end; false at the end of the input. */
static bool read_line(struct chat *chat)
{
    for (;;) {
        chat_interrupts_forget();
        fputs("> ", stdout);
        fflush(stdout);
        errno = 0;
        if (!fgets(chat->prompt, CHAT_LINE_MAX, stdin)) {
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

/* Lines for us and not for the model. */
static bool is_command(struct chat *chat, bool *ends_out)
{
    const char *line = chat->prompt;

    *ends_out = strcmp(line, "/quit") == 0 || strcmp(line, "/exit") == 0;
    if (strcmp(line, "/help") == 0)
        fputs(commands, stdout);
    else if (strcmp(line, "/new") == 0)
        forget(chat, chat->n_kept, chat->n_turns - chat->n_kept);
    else
        return *ends_out;
    return true;
}

enum exit_code chat_talk(struct chat *chat, struct baton *baton)
{
    const enum exit_code code = chat_meet(chat, baton);
    bool ends = false;

    if (code != EXIT_DONE)
        return code;
    fprintf(stderr, "%s: Ctrl-C stops an answer, Ctrl-D ends, /help tells more\n",
            chat->model.name);
    while (!ends && read_line(chat))
        if (!is_command(chat, &ends))
            answer(chat, baton);
    forget(chat, chat->n_kept, chat->n_turns - chat->n_kept);
    return EXIT_DONE;
}
