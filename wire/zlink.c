/* Entries in a fixed array, found by three hash chains (id, number, descriptor) and kept in a list
 * from the longest quiet to the last heard. All by index, all memory at the start. */
#include "wire/zlink.h"

#include <stdbool.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rand.h"
#include "wire/siphash.h"

#define NONE UINT32_MAX

enum key { KEY_ID, KEY_NUMBER, KEY_FD, N_KEYS };

struct entry {
    struct zlink link; /* first, so that a link's address is its entry's */
    uint32_t next[N_KEYS];
    uint32_t older;
    uint32_t newer; /* also the list of free entries */
};

struct zlink_table {
    struct entry *entries; /* [capacity] */
    uint32_t capacity;
    uint32_t count;
    uint32_t free;
    uint32_t oldest;
    uint32_t newest;
    uint32_t mask;
    uint32_t *heads[N_KEYS]; /* [mask + 1] each */
    uint32_t *numbers;
    struct siphash_key key; /* peers choose their routing ids: no guessing which ones collide */
};

enum status zlink_create(size_t capacity, uint32_t *numbers, struct zlink_table **out)
{
    CHECK(capacity > 0 && capacity < UINT32_MAX / 4);
    struct zlink_table *table = mem_alloc_zero(1, sizeof(*table));
    if (!table) {
        return STATUS_NO_MEMORY;
    }
    size_t n_heads = 1;
    while (n_heads < capacity) {
        n_heads *= 2;
    }
    table->capacity = (uint32_t)capacity;
    table->mask = (uint32_t)n_heads - 1;
    table->oldest = NONE;
    table->newest = NONE;
    table->free = NONE;
    table->numbers = numbers;
    rand_entropy(&table->key, sizeof(table->key));
    table->entries = mem_alloc_zero(capacity, sizeof(*table->entries));
    bool failed = !table->entries;
    for (uint32_t key = 0; key < N_KEYS; key++) {
        table->heads[key] = mem_alloc(n_heads * sizeof(uint32_t));
        failed = failed || !table->heads[key];
        if (table->heads[key]) {
            memset(table->heads[key], 0xff, n_heads * sizeof(uint32_t));
        }
    }
    if (failed) {
        zlink_destroy(table);
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = table->capacity; i-- > 0;) {
        table->entries[i].newer = table->free;
        table->free = i;
    }
    *out = table;
    return STATUS_OK;
}

void zlink_destroy(struct zlink_table *table)
{
    if (!table) {
        return;
    }
    for (uint32_t key = 0; key < N_KEYS; key++) {
        mem_free(table->heads[key]);
    }
    mem_free(table->entries);
    mem_free(table);
}

/* ---- lists ---------------------------------------------------------------------------------- */

/* Only ids are chosen by peers. Numbers and descriptors are small and dense, and spread as they
 * are. */
static uint32_t *head_of_id(const struct zlink_table *table, const void *id, size_t len)
{
    return &table->heads[KEY_ID][(uint32_t)siphash_64(&table->key, id, len) & table->mask];
}

static uint32_t *head_of_number(const struct zlink_table *table, uint32_t number)
{
    return &table->heads[KEY_NUMBER][number & table->mask];
}

static uint32_t *head_of_fd(const struct zlink_table *table, int fd)
{
    return &table->heads[KEY_FD][(uint32_t)fd & table->mask];
}

static uint32_t *head_of_link(const struct zlink_table *table, enum key key,
                              const struct zlink *link)
{
    switch (key) {
    case KEY_ID:
        return head_of_id(table, link->id, link->id_len);
    case KEY_NUMBER:
        return head_of_number(table, link->number);
    case KEY_FD:
    case N_KEYS:
        break;
    }
    return head_of_fd(table, link->fd);
}

static void list_remove(struct zlink_table *table, uint32_t idx)
{
    struct entry *entry = &table->entries[idx];
    *(entry->older == NONE ? &table->oldest : &table->entries[entry->older].newer) = entry->newer;
    *(entry->newer == NONE ? &table->newest : &table->entries[entry->newer].older) = entry->older;
}

static void list_append(struct zlink_table *table, uint32_t idx)
{
    struct entry *entry = &table->entries[idx];
    entry->older = table->newest;
    entry->newer = NONE;
    *(table->newest == NONE ? &table->oldest : &table->entries[table->newest].newer) = idx;
    table->newest = idx;
}

static uint32_t idx_of(const struct zlink_table *table, const struct zlink *link)
{
    return (uint32_t)((const struct entry *)link - table->entries);
}

/* ---- the calls ------------------------------------------------------------------------------ */

struct zlink *zlink_by_id(struct zlink_table *table, const void *id, size_t len)
{
    uint32_t idx = *head_of_id(table, id, len);
    while (idx != NONE) {
        struct entry *entry = &table->entries[idx];
        if (entry->link.id_len == len && memcmp(entry->link.id, id, len) == 0) {
            return &entry->link;
        }
        idx = entry->next[KEY_ID];
    }
    return NULL;
}

struct zlink *zlink_by_number(struct zlink_table *table, uint32_t number)
{
    uint32_t idx = *head_of_number(table, number);
    while (idx != NONE && table->entries[idx].link.number != number) {
        idx = table->entries[idx].next[KEY_NUMBER];
    }
    return idx == NONE ? NULL : &table->entries[idx].link;
}

struct zlink *zlink_by_fd(struct zlink_table *table, int fd)
{
    uint32_t idx = fd == ZLINK_NO_FD ? NONE : *head_of_fd(table, fd);
    while (idx != NONE && table->entries[idx].link.fd != fd) {
        idx = table->entries[idx].next[KEY_FD];
    }
    return idx == NONE ? NULL : &table->entries[idx].link;
}

void zlink_use(struct zlink_table *table, struct zlink *link)
{
    uint32_t idx = idx_of(table, link);
    if (table->newest != idx) {
        list_remove(table, idx);
        list_append(table, idx);
    }
}

enum status zlink_number_next(uint32_t *numbers, uint32_t *out)
{
    if (*numbers == UINT32_MAX) {
        return STATUS_FULL;
    }
    *out = ++*numbers;
    return STATUS_OK;
}

enum status zlink_add(struct zlink_table *table, const void *id, size_t len, int fd,
                      const char *user, struct zlink **out, uint32_t *evicted_out)
{
    CHECK(len > 0 && len <= ZLINK_ID_MAX && !zlink_by_id(table, id, len));
    uint32_t number;
    enum status status = zlink_number_next(table->numbers, &number);
    if (status != STATUS_OK) {
        return status;
    }
    uint32_t evicted = 0;
    if (table->free == NONE) {
        struct zlink *quiet = &table->entries[table->oldest].link;
        evicted = quiet->number;
        zlink_drop(table, quiet);
    }
    uint32_t idx = table->free;
    struct entry *entry = &table->entries[idx];
    table->free = entry->newer;
    struct zlink *link = &entry->link;
    *link = (struct zlink){.number = number, .fd = fd, .id_len = (uint8_t)len};
    memcpy(link->id, id, len);
    size_t user_len = strnlen(user, ZLINK_USER_MAX);
    memcpy(link->user, user, user_len);
    for (uint32_t key = 0; key < N_KEYS; key++) {
        uint32_t *head = head_of_link(table, key, link);
        entry->next[key] = *head;
        *head = idx;
    }
    list_append(table, idx);
    table->count++;
    *out = link;
    *evicted_out = evicted;
    return STATUS_OK;
}

void zlink_drop(struct zlink_table *table, struct zlink *link)
{
    uint32_t idx = idx_of(table, link);
    for (uint32_t key = 0; key < N_KEYS; key++) {
        uint32_t *at = head_of_link(table, key, link);
        while (*at != idx) {
            at = &table->entries[*at].next[key];
        }
        *at = table->entries[idx].next[key];
    }
    list_remove(table, idx);
    table->entries[idx].newer = table->free;
    table->free = idx;
    table->count--;
}

size_t zlink_count(const struct zlink_table *table)
{
    return table->count;
}
