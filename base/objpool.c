/* Objects in one array, free ones in a stack of indices (the last given is taken first: it is still
 * in the cache), and a byte per object that says who has it, so that a wrong give is seen. */
#include "base/objpool.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define OBJPOOL_ALIGNMENT 16

struct objpool {
    const char *name;
    uint8_t *objects;    /* [n_objects][stride] */
    uint32_t *free_list; /* [n_objects], the first n_free are valid */
    uint8_t *is_taken;   /* [n_objects] */
    size_t object_bytes;
    size_t stride;
    uint32_t n_objects;
    uint32_t n_free;
    uint32_t n_high;
    uint64_t n_refused;
};

enum status objpool_create(const char *name, size_t object_bytes, uint32_t n_objects,
                           struct objpool **out)
{
    if (object_bytes == 0 || n_objects == 0 || object_bytes > SIZE_MAX - OBJPOOL_ALIGNMENT) {
        return STATUS_INVALID;
    }
    size_t stride = (object_bytes + OBJPOOL_ALIGNMENT - 1) / OBJPOOL_ALIGNMENT * OBJPOOL_ALIGNMENT;
    size_t bytes;
    if (__builtin_mul_overflow(stride, (size_t)n_objects, &bytes)) {
        return STATUS_INVALID;
    }
    struct objpool *pool = mem_alloc_zero(1, sizeof(*pool));
    if (pool == NULL) {
        return STATUS_NO_MEMORY;
    }
    *pool = (struct objpool){.name = name,
                             .object_bytes = object_bytes,
                             .stride = stride,
                             .n_objects = n_objects,
                             .n_free = n_objects};
    pool->objects = mem_alloc_zero(1, bytes);
    pool->free_list = mem_alloc_zero(n_objects, sizeof(*pool->free_list));
    pool->is_taken = mem_alloc_zero(n_objects, 1);
    if (pool->objects == NULL || pool->free_list == NULL || pool->is_taken == NULL) {
        objpool_destroy(pool);
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < n_objects; i++) {
        pool->free_list[i] = n_objects - 1 - i; /* so that object 0 is taken first */
    }
    *out = pool;
    return STATUS_OK;
}

void objpool_destroy(struct objpool *pool)
{
    if (pool == NULL) {
        return;
    }
    mem_free(pool->is_taken);
    mem_free(pool->free_list);
    mem_free(pool->objects);
    mem_free(pool);
}

uint32_t objpool_used(const struct objpool *pool)
{
    return pool->n_objects - pool->n_free;
}

void *objpool_take(struct objpool *pool)
{
    if (pool->n_free == 0) {
        pool->n_refused++;
        return NULL;
    }
    pool->n_free--;
    uint32_t idx = pool->free_list[pool->n_free];
    pool->is_taken[idx] = 1;
    if (objpool_used(pool) > pool->n_high) {
        pool->n_high = objpool_used(pool);
    }
    return pool->objects + (size_t)idx * pool->stride;
}

void objpool_give(struct objpool *pool, void *object)
{
    uint32_t idx = objpool_index(pool, object);
    CHECK_MSG(pool->is_taken[idx], "an object was given back twice");
    pool->is_taken[idx] = 0;
    pool->free_list[pool->n_free] = idx;
    pool->n_free++;
}

uint32_t objpool_index(const struct objpool *pool, const void *object)
{
    uintptr_t offset = (uintptr_t)object - (uintptr_t)pool->objects;
    CHECK_MSG(offset % pool->stride == 0 && offset / pool->stride < pool->n_objects,
              "the object is not of this pool");
    return (uint32_t)(offset / pool->stride);
}

void *objpool_at(const struct objpool *pool, uint32_t idx)
{
    CHECK(idx < pool->n_objects);
    return pool->objects + (size_t)idx * pool->stride;
}

void objpool_stats(const struct objpool *pool, struct objpool_stats *out)
{
    *out = (struct objpool_stats){.name = pool->name,
                                  .object_bytes = pool->object_bytes,
                                  .n_objects = pool->n_objects,
                                  .n_used = objpool_used(pool),
                                  .n_high = pool->n_high,
                                  .n_refused = pool->n_refused};
}
