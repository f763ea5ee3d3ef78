/* Opens and ends the process's ZeroMQ context. */
#include "wire/zctx.h"

#include <errno.h>
#include <stdatomic.h>
#include <zmq.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

struct zctx {
    void *handle;
    _Atomic uint64_t serial;
    _Atomic bool guarded;
};

enum status zctx_open(const struct zctx_cfg *cfg, struct zctx **out)
{
    if (cfg->io_threads < 1 || cfg->io_threads > 64 || cfg->sockets_max < 8 ||
        cfg->sockets_max > 65535) {
        return STATUS_INVALID;
    }
    struct zctx *ctx = mem_alloc_zero(1, sizeof(*ctx));
    if (!ctx) {
        return STATUS_NO_MEMORY;
    }
    ctx->handle = zmq_ctx_new();
    if (!ctx->handle || zmq_ctx_set(ctx->handle, ZMQ_IO_THREADS, (int)cfg->io_threads) ||
        zmq_ctx_set(ctx->handle, ZMQ_MAX_SOCKETS, (int)cfg->sockets_max) ||
        zmq_ctx_set(ctx->handle, ZMQ_BLOCKY, 0)) {
        LOG_ERROR("zmq", "no context", log_str("error", zmq_strerror(zmq_errno())));
        zctx_close(ctx);
        return STATUS_IO;
    }
    *out = ctx;
    return STATUS_OK;
}

void zctx_close(struct zctx *ctx)
{
    if (!ctx) {
        return;
    }
    while (ctx->handle && zmq_ctx_term(ctx->handle) != 0) {
        CHECK(zmq_errno() == EINTR);
    }
    mem_free(ctx);
}

void *zctx_handle(struct zctx *ctx)
{
    return ctx->handle;
}

uint64_t zctx_serial(struct zctx *ctx)
{
    return atomic_fetch_add(&ctx->serial, 1);
}

void zctx_guarded_set(struct zctx *ctx, bool guarded)
{
    atomic_store(&ctx->guarded, guarded);
}

bool zctx_guarded(const struct zctx *ctx)
{
    return atomic_load(&ctx->guarded);
}
