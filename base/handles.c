/* Slots with a generation each, free ones in a list threaded through the slots. */
#include "base/handles.h"

#include <stddef.h>

#include "base/check.h"
#include "base/mem.h"

#define HANDLES_CAPACITY_MAX (UINT32_C(1) << 28)
#define NO_SLOT UINT32_MAX

struct slot {
    void *object; /* NULL: free or retired */
    uint32_t generation;
    uint32_t next_free;
};

struct handles {
    struct slot *slots; /* [capacity] */
    uint32_t capacity;
    uint32_t first_free;
    uint32_t count;
};

enum status handles_create(uint32_t capacity, struct handles **out)
{
    if (capacity == 0 || capacity > HANDLES_CAPACITY_MAX) {
        return STATUS_INVALID;
    }
    struct handles *handles = mem_alloc_zero(1, sizeof(*handles));
    if (handles == NULL) {
        return STATUS_NO_MEMORY;
    }
    handles->slots = mem_alloc_zero(capacity, sizeof(*handles->slots));
    if (handles->slots == NULL) {
        mem_free(handles);
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < capacity; i++) {
        handles->slots[i].generation = 1;
        handles->slots[i].next_free = i + 1 < capacity ? i + 1 : NO_SLOT;
    }
    handles->capacity = capacity;
    *out = handles;
    return STATUS_OK;
}

void handles_destroy(struct handles *handles)
{
    if (handles != NULL) {
        mem_free(handles->slots);
        mem_free(handles);
    }
}

enum status handles_insert(struct handles *handles, void *object, uint64_t *out)
{
    CHECK(object != NULL);
    uint32_t idx = handles->first_free;
    if (idx == NO_SLOT) {
        return STATUS_FULL;
    }
    struct slot *slot = &handles->slots[idx];
    handles->first_free = slot->next_free;
    slot->object = object;
    handles->count++;
    *out = (uint64_t)slot->generation << 32 | idx;
    return STATUS_OK;
}

/* The slot that `handle` names now, or NULL. */
static struct slot *slot_of(const struct handles *handles, uint64_t handle)
{
    uint32_t idx = handle_slot(handle);
    if (idx >= handles->capacity) {
        return NULL;
    }
    struct slot *slot = &handles->slots[idx];
    return slot->generation == handle >> 32 && slot->object != NULL ? slot : NULL;
}

void *handles_find(const struct handles *handles, uint64_t handle)
{
    const struct slot *slot = slot_of(handles, handle);
    return slot == NULL ? NULL : slot->object;
}

void *handles_remove(struct handles *handles, uint64_t handle)
{
    struct slot *slot = slot_of(handles, handle);
    if (slot == NULL) {
        return NULL;
    }
    void *object = slot->object;
    slot->object = NULL;
    handles->count--;
    if (slot->generation < UINT32_MAX) {
        slot->generation++;
        slot->next_free = handles->first_free;
        handles->first_free = handle_slot(handle);
    }
    return object;
}

uint32_t handle_slot(uint64_t handle)
{
    return (uint32_t)handle;
}

uint32_t handles_count(const struct handles *handles)
{
    return handles->count;
}
