/* What the files of zsock share. Nobody else includes it. */
#pragma once

#include "wire/zlink.h"
#include "wire/zsock.h"

struct zsock {
    void *handle;  /* libzmq's socket */
    void *monitor; /* the reading end of its monitor */
    struct loop_source *source;
    struct loop_source *monitor_source;
    struct zsock_handler handler;
    const char *name;
    uint32_t *numbers;
    size_t bytes_max;
    struct zlink_table *links; /* of a ROUTER, else NULL */
    uint32_t number;           /* of a DEALER: its link while it stands, else 0, */
    uint64_t handshake_ns;     /* since when it shakes hands, 0: it does not */
    struct loop *loop;
    struct loop_timer *retry;          /* connects anew where libzmq has given up, */
    char endpoint[ZSOCK_ENDPOINT_MAX]; /* and where */
    bool has_keys;
    uint32_t depth; /* nested calls of the loop into this socket */
    bool closing;
};

/* Around everything that calls a handler. leave gives false when the socket is (being) closed. */
void zsock_enter(struct zsock *sock);
bool zsock_leave(struct zsock *sock);
/* Frees everything; nobody is inside. */
void zsock_finish(struct zsock *sock);

void zsock_link_down(struct zsock *sock, uint32_t number);

/* For the loop's timer and two sources. */
void zsock_retry(void *ctx);
bool zsock_drain(void *ctx);
bool zsock_arm(void *ctx);
bool zsock_monitor_drain(void *ctx);
bool zsock_monitor_arm(void *ctx);

/* Lets libzmq handle what waits, announce the next input on its descriptor, and tells whether there
 * is input now. */
bool zsock_readable(void *handle);

enum status zsock_monitor_open(struct zsock *sock, struct zctx *ctx);
void zsock_monitor_close(struct zsock *sock);
