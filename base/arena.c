/* Chunks in a list, newest first, each a header and the bytes behind it. A chunk is never shared
 * between an ordinary run and one oversized allocation, so the ordinary run keeps its room. */
#include "base/arena.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

struct chunk {
    struct chunk *next;
    size_t cap;  /* bytes behind the header */
    size_t used; /* of them */
    size_t padding;
};
_Static_assert(sizeof(struct chunk) % ARENA_ALIGNMENT == 0, "what follows must stay aligned");

struct arena {
    struct chunk *current; /* ordinary chunks, the one in use first, the first ever made last */
    struct chunk *large;   /* one oversized allocation each */
    size_t chunk_bytes;
    size_t limit_bytes;
    size_t held_bytes; /* sum of cap over all chunks */
    size_t used_bytes;
    size_t high_bytes;
};

static uint8_t *chunk_bytes(struct chunk *chunk)
{
    return (uint8_t *)(chunk + 1);
}

enum status arena_create(size_t chunk_bytes_usual, size_t limit_bytes, struct arena **out)
{
    if (chunk_bytes_usual == 0 || limit_bytes < chunk_bytes_usual) {
        return STATUS_INVALID;
    }
    struct arena *arena = mem_alloc_zero(1, sizeof(*arena));
    if (arena == NULL) {
        return STATUS_NO_MEMORY;
    }
    arena->chunk_bytes = chunk_bytes_usual;
    arena->limit_bytes = limit_bytes;
    *out = arena;
    return STATUS_OK;
}

static void chunks_free(struct arena *arena, struct chunk *chunk)
{
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        arena->held_bytes -= chunk->cap;
        mem_free(chunk);
        chunk = next;
    }
}

void arena_destroy(struct arena *arena)
{
    if (arena == NULL) {
        return;
    }
    chunks_free(arena, arena->current);
    chunks_free(arena, arena->large);
    mem_free(arena);
}

/* A chunk of `cap` bytes at the head of `list`, or NULL at the limit. */
static struct chunk *chunk_add(struct arena *arena, struct chunk **list, size_t cap)
{
    if (cap > arena->limit_bytes - arena->held_bytes || cap > SIZE_MAX - sizeof(struct chunk)) {
        return NULL;
    }
    struct chunk *chunk = mem_alloc(sizeof(*chunk) + cap);
    if (chunk == NULL) {
        return NULL;
    }
    *chunk = (struct chunk){.next = *list, .cap = cap};
    *list = chunk;
    arena->held_bytes += cap;
    return chunk;
}

static struct chunk *chunk_with_room(struct arena *arena, size_t bytes)
{
    struct chunk *chunk = arena->current;
    if (chunk != NULL && bytes <= chunk->cap - chunk->used) {
        return chunk;
    }
    if (bytes > arena->chunk_bytes) {
        return chunk_add(arena, &arena->large, bytes);
    }
    return chunk_add(arena, &arena->current, arena->chunk_bytes);
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    if (bytes > arena->limit_bytes) {
        return NULL; /* also keeps the rounding below from wrapping in any real arena */
    }
    size_t rounded = (bytes + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
    if (rounded < bytes) {
        return NULL;
    }
    struct chunk *chunk = chunk_with_room(arena, rounded);
    if (chunk == NULL) {
        return NULL;
    }
    void *ptr = chunk_bytes(chunk) + chunk->used;
    chunk->used += rounded;
    arena->used_bytes += rounded;
    if (arena->used_bytes > arena->high_bytes) {
        arena->high_bytes = arena->used_bytes;
    }
    return ptr;
}

void *arena_alloc_zero(struct arena *arena, size_t count, size_t bytes_each)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, bytes_each, &bytes)) {
        return NULL;
    }
    void *ptr = arena_alloc(arena, bytes);
    return ptr == NULL ? NULL : memset(ptr, 0, bytes);
}

void *arena_memdup(struct arena *arena, const void *data, size_t len)
{
    void *copy = arena_alloc(arena, len);
    if (copy != NULL && len > 0) {
        memcpy(copy, data, len);
    }
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_memdup(arena, text, strlen(text) + 1);
}

void arena_reset(struct arena *arena)
{
    chunks_free(arena, arena->large);
    arena->large = NULL;
    struct chunk *kept = arena->current;
    if (kept != NULL) {
        chunks_free(arena, kept->next);
        kept->next = NULL;
        kept->used = 0;
    }
    arena->used_bytes = 0;
}

size_t arena_used_bytes(const struct arena *arena)
{
    return arena->used_bytes;
}

size_t arena_high_bytes(const struct arena *arena)
{
    return arena->high_bytes;
}
