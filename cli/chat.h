/* `baton chat` in three files: chat.c reads the command line and finds the router, chat_ask.c asks
 * one question and prints the answer as it comes, chat_talk.c holds a conversation. One thread. */
#pragma once

#include "base/buf.h"
#include "cli/exits.h"
#include "clients/c/baton.h"
#include "wire/keys.h"
#include "wire/msg.h"

#define CHAT_PROMPT_MAX (4u << 20)
#define CHAT_LINE_MAX (64u << 10) /* bytes of one question of a conversation */
#define CHAT_TURNS_MAX 512u       /* of a conversation; the oldest make room */

struct chat {
    const char *config;
    const char *connect;
    bool ledger, verbose, raw;
    bool talk;                                   /* a conversation on a terminal */
    bool is_terminal;                            /* stderr: a person reads it */
    bool tokens_are_given, temperature_is_given; /* on the command line */
    int wait_ms;
    char *prompt; /* of one question, or the line of a conversation that was read last */
    size_t prompt_len;
    struct baton_turn turns[CHAT_TURNS_MAX]; /* [n_turns] */
    size_t n_turns;
    size_t n_kept; /* of them, what a new conversation begins with: the system's words */
    struct buf answer;
    struct baton_request request;
    struct baton_model model; /* what the router serves */
    size_t n_left_out;        /* turns of the conversation that do not go with this question */
    bool shorter;             /* there are more that may be left out, should it be too long */
    bool is_too_long;         /* the last question was refused for it */
    struct keys keys;
    char server_key[KEYS_Z85_LEN + 1];
    char endpoint[WIRE_NAME_MAX + 1];
};

/* ---- chat_ask.c ---- */

/* Ctrl-C is kept for chat_interrupted, instead of ending the program. */
void chat_catch_interrupts(void);
bool chat_interrupted(void);
void chat_interrupts_forget(void);

/* Waits for the router and learns what it serves; DONE, or an exit code after a complaint. */
enum exit_code chat_meet(struct chat *chat, struct baton *baton);
/* Asks what the request holds and prints the answer. DONE also for an answer of a conversation that
 * was stopped. */
enum exit_code chat_ask(struct chat *chat, struct baton *baton);

/* ---- chat_talk.c ---- */

enum exit_code chat_talk(struct chat *chat, struct baton *baton);
