/* What this machine can do without Baton: the limits beside which KV transfers stand. Each measures
 * one slice; callers take the best of several. Pieces lie in a ring of `window`, as in the bench of
 * the mover, so caches help both alike. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct limit_shape {
    size_t bytes; /* of a piece */
    uint32_t n;   /* pieces */
    uint32_t window;
};

/* Each: *gb_per_s_out is in 1e9 bytes a second. IO, NO_MEMORY, LOST, DENIED (process_vm_readv is
 * not allowed here). */

/* memcpy within one thread. */
enum status limit_memcpy(const struct limit_shape *shape, double *gb_per_s_out);
/* process_vm_readv out of a child: the kernel's copy between two processes, which UCX's cma is. */
enum status limit_vm_readv(const struct limit_shape *shape, double *gb_per_s_out);
/* One TCP connection over loopback, from a child: blocking calls of a whole piece. With a window of
 * 1 each piece is answered by a byte before the next. */
enum status limit_tcp(const struct limit_shape *shape, double *gb_per_s_out);
