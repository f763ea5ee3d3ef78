/* A bump arena: many small allocations that die together, in one call (a request, a parsed file).
 * It grows by chunks up to a hard limit and gives NULL there, so one request cannot eat the
 * process. There is no free of a single allocation. One thread owns an arena. */
#pragma once

#include <stddef.h>

#include "base/status.h"

/* Every allocation is aligned to this. */
#define ARENA_ALIGNMENT 16

struct arena;

/* `chunk_bytes` is the usual size of a chunk (larger allocations get their own); `limit_bytes`
 * bounds the sum of all chunks. No memory but the arena's own struct is taken before the first
 * allocation. NO_MEMORY; INVALID if a size is 0 or the limit is below a chunk. */
enum status arena_create(size_t chunk_bytes, size_t limit_bytes, struct arena **out);

/* Frees everything; NULL is nothing. */
void arena_destroy(struct arena *arena);

/* Uninitialised memory, or NULL at the limit or out of memory. 0 bytes give a valid pointer. */
void *arena_alloc(struct arena *arena, size_t bytes);

/* A zeroed array, or NULL as above or when the product overflows. */
void *arena_alloc_zero(struct arena *arena, size_t count, size_t bytes_each);

/* A copy of `len` bytes, or NULL as above. */
void *arena_memdup(struct arena *arena, const void *data, size_t len);

/* A copy of `text` with its end, or NULL as above. */
char *arena_strdup(struct arena *arena, const char *text);

/* Forgets every allocation. The first chunk is kept for the next use, the others are freed. */
void arena_reset(struct arena *arena);

/* Bytes given out since the last reset, with the padding for alignment. */
size_t arena_used_bytes(const struct arena *arena);

/* The largest arena_used_bytes since creation. */
size_t arena_high_bytes(const struct arena *arena);
