/* A pool of equal objects, all allocated at start. Its size is a sum whose terms name the holders
 * (see each caller), so running dry is an answer (NULL, "FULL"), never a surprise in malloc.
 * Foreign and double gives are our own bugs and abort. One thread owns a pool. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct objpool;

/* What a pool reports about itself. */
struct objpool_stats {
    const char *name;
    size_t object_bytes;
    uint32_t n_objects; /* all */
    uint32_t n_used;    /* taken now */
    uint32_t n_high;    /* most ever taken at once */
    uint64_t n_refused; /* takes that found the pool dry */
};

/* `name` is constant text that outlives the pool. Objects are aligned to 16 bytes and zero before
 * their first take. NO_MEMORY; INVALID if a size is 0 or the whole does not fit size_t. */
enum status objpool_create(const char *name, size_t object_bytes, uint32_t n_objects,
                           struct objpool **out);

/* Frees the memory. All objects must have been given back, unless the process ends anyway: use
 * objpool_used to check. NULL is nothing. */
void objpool_destroy(struct objpool *pool);

/* An object as its last holder left it, or NULL if all are taken. */
void *objpool_take(struct objpool *pool);

/* Gives an object back. */
void objpool_give(struct objpool *pool, void *object);

/* The place of an object in the pool, and back: small numbers for rings, logs and bit sets. */
uint32_t objpool_index(const struct objpool *pool, const void *object);
void *objpool_at(const struct objpool *pool, uint32_t idx);

/* Objects taken now. */
uint32_t objpool_used(const struct objpool *pool);

/* Writes what metrics and the start-up report show. */
void objpool_stats(const struct objpool *pool, struct objpool_stats *out);
