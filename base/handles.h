/* Handles: names for objects that may be gone when the name comes back (from another thread, a
 * timer, a library's callback). A handle is a slot number and that slot's generation; removing
 * the object raises the generation, so an old handle finds nothing instead of a stranger.
 * One thread owns a table. */
#pragma once

#include <stdint.h>

#include "base/status.h"

/* A handle is (generation << 32) | slot. Generations start at 1, so 0 never names anything. */
#define HANDLE_NONE UINT64_C(0)

struct handles;

/* Room for `capacity` objects. NO_MEMORY; INVALID for a capacity of 0 or above 2^28. */
enum status handles_create(uint32_t capacity, struct handles **out);

/* Frees the table, not the objects; NULL is nothing. */
void handles_destroy(struct handles *handles);

/* Names `object`, which must not be NULL and stays the caller's. FULL at capacity. */
enum status handles_insert(struct handles *handles, void *object, uint64_t *out);

/* The object, or NULL if the handle is stale or never was one. */
void *handles_find(const struct handles *handles, uint64_t handle);

/* Forgets the object and returns it, or NULL as above. A slot whose generations are used up is
 * retired: after 2^32 removals the capacity shrinks by one, and no handle ever comes twice. */
void *handles_remove(struct handles *handles, uint64_t handle);

/* The slot of a handle: below the capacity, for arrays beside the table. */
uint32_t handle_slot(uint64_t handle);

/* Objects named now. */
uint32_t handles_count(const struct handles *handles);
