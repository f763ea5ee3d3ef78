/* A loop, a context and callbacks that write down what happened: what the socket tests share. */
#pragma once

#include "base/loop.h"
#include "wire/zsock.h"

#define ZPAIR_SEEN_MAX 64

/* What one socket's handler has seen. */
struct seen {
    struct zsock *sock;
    uint32_t link; /* that came up last */
    uint32_t n_up;
    uint32_t n_down;
    uint32_t down; /* that went down last */
    uint32_t n_messages;
    size_t len; /* of the last message */
    char last[ZPAIR_SEEN_MAX];
    uint32_t last_link;
    uint32_t n_refused;
    char refused[128];
    bool echo;        /* answer each message with itself */
    bool close_on_up; /* close the socket from inside its handler */
    bool close_on_message;
};

struct zhouse {
    struct loop *loop;
    struct zctx *ctx;
    uint32_t numbers;
};

void zhouse_open(struct zhouse *house);
void zhouse_close(struct zhouse *house);
/* A plain configuration to start from. */
struct zsock_cfg zhouse_cfg(struct zhouse *house, enum zsock_type type);
void zhouse_sock(struct zhouse *house, const struct zsock_cfg *cfg, struct seen *seen);
/* Turns the loop until *counter is at least `least`; false after `limit_ms`. */
bool zhouse_until(struct zhouse *house, const uint32_t *counter, uint32_t least, uint32_t limit_ms);
/* Turns for a while in which nothing is expected. */
void zhouse_turn(struct zhouse *house, uint32_t ms);
