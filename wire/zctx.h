/* One ZeroMQ context for a process: its I/O threads and the room for sockets. Thread-safe; the
 * sockets are not (see zsock.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct zctx;

struct zctx_cfg {
    uint32_t io_threads;
    uint32_t sockets_max; /* a zsock takes three: itself and both ends of its monitor */
};

/* INVALID for numbers that ZeroMQ refuses, NO_MEMORY, IO. */
enum status zctx_open(const struct zctx_cfg *cfg, struct zctx **out);
/* Every socket must be closed before; waits for messages that linger. NULL is nothing. */
void zctx_close(struct zctx *ctx);
/* libzmq's own context, for the few places that make a socket. */
void *zctx_handle(struct zctx *ctx);
/* A number that was never given before in this context: for names that libzmq may keep for a while
 * after they are closed. Any thread. */
uint64_t zctx_serial(struct zctx *ctx);
/* Whether an allow-list (zap.h) is served in this context; set by it alone. */
void zctx_guarded_set(struct zctx *ctx, bool guarded);
bool zctx_guarded(const struct zctx *ctx);
