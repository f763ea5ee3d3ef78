/* The table of the recently ended: entries in a fixed array, found by hash chains, and a list from
 * oldest to newest through the same entries. All by index, all memory at the start. One owner. */
#include "wire/tombs.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define NONE UINT32_MAX

struct tomb {
    struct wire_id req;
    uint32_t attempt;
    uint32_t next;  /* in the hash chain */
    uint32_t older; /* in the list by age */
    uint32_t newer;
};

struct wire_tombs {
    struct tomb *tombs; /* [capacity] */
    uint32_t capacity;
    uint32_t n;
    uint32_t oldest;
    uint32_t newest;
    uint32_t mask;
    uint32_t *heads; /* [mask + 1] */
};

enum status wire_tombs_create(size_t capacity, struct wire_tombs **out)
{
    CHECK(capacity > 0 && capacity < UINT32_MAX / 4);
    struct wire_tombs *tombs = mem_alloc_zero(1, sizeof(*tombs));
    if (!tombs) {
        return STATUS_NO_MEMORY;
    }
    size_t n_heads = 1;
    while (n_heads < capacity) {
        n_heads *= 2;
    }
    tombs->capacity = (uint32_t)capacity;
    tombs->mask = (uint32_t)n_heads - 1;
    tombs->oldest = NONE;
    tombs->newest = NONE;
    tombs->tombs = mem_alloc(capacity * sizeof(*tombs->tombs));
    tombs->heads = mem_alloc(n_heads * sizeof(*tombs->heads));
    if (!tombs->tombs || !tombs->heads) {
        wire_tombs_destroy(tombs);
        return STATUS_NO_MEMORY;
    }
    memset(tombs->heads, 0xff, n_heads * sizeof(*tombs->heads));
    *out = tombs;
    return STATUS_OK;
}

void wire_tombs_destroy(struct wire_tombs *tombs)
{
    if (!tombs) {
        return;
    }
    mem_free(tombs->tombs);
    mem_free(tombs->heads);
    mem_free(tombs);
}

/* Ids are drawn at random by the router, so any mix of their words spreads well. */
static uint32_t *head_of(const struct wire_tombs *tombs, const struct wire_id *req)
{
    uint64_t word[2];
    memcpy(word, req, sizeof(word));
    uint64_t mixed = (word[0] ^ (word[1] << 1)) * UINT64_C(0x9e3779b97f4a7c15);
    return &tombs->heads[(uint32_t)(mixed >> 32) & tombs->mask];
}

static uint32_t find(const struct wire_tombs *tombs, const struct wire_id *req)
{
    uint32_t idx = *head_of(tombs, req);
    while (idx != NONE && !wire_id_equal(&tombs->tombs[idx].req, req)) {
        idx = tombs->tombs[idx].next;
    }
    return idx;
}

static void list_remove(struct wire_tombs *tombs, uint32_t idx)
{
    struct tomb *tomb = &tombs->tombs[idx];
    *(tomb->older == NONE ? &tombs->oldest : &tombs->tombs[tomb->older].newer) = tomb->newer;
    *(tomb->newer == NONE ? &tombs->newest : &tombs->tombs[tomb->newer].older) = tomb->older;
}

static void list_append(struct wire_tombs *tombs, uint32_t idx)
{
    struct tomb *tomb = &tombs->tombs[idx];
    tomb->older = tombs->newest;
    tomb->newer = NONE;
    *(tombs->newest == NONE ? &tombs->oldest : &tombs->tombs[tombs->newest].newer) = idx;
    tombs->newest = idx;
}

static void chain_remove(struct wire_tombs *tombs, uint32_t idx)
{
    uint32_t *link = head_of(tombs, &tombs->tombs[idx].req);
    while (*link != idx) {
        link = &tombs->tombs[*link].next;
    }
    *link = tombs->tombs[idx].next;
}

/* A free entry: a fresh one, or the oldest taken out of both lists. */
static uint32_t take_entry(struct wire_tombs *tombs)
{
    if (tombs->n < tombs->capacity) {
        return tombs->n++;
    }
    uint32_t idx = tombs->oldest;
    chain_remove(tombs, idx);
    list_remove(tombs, idx);
    return idx;
}

void wire_tombs_add(struct wire_tombs *tombs, const struct wire_id *req, uint32_t attempt)
{
    uint32_t idx = find(tombs, req);
    if (idx != NONE) {
        struct tomb *tomb = &tombs->tombs[idx];
        tomb->attempt = attempt > tomb->attempt ? attempt : tomb->attempt;
        list_remove(tombs, idx);
        list_append(tombs, idx);
        return;
    }
    idx = take_entry(tombs);
    uint32_t *head = head_of(tombs, req);
    tombs->tombs[idx] = (struct tomb){.req = *req, .attempt = attempt, .next = *head};
    *head = idx;
    list_append(tombs, idx);
}

bool wire_tombs_has(const struct wire_tombs *tombs, const struct wire_id *req, uint32_t attempt)
{
    uint32_t idx = find(tombs, req);
    return idx != NONE && tombs->tombs[idx].attempt >= attempt;
}
