/* Open addressing with linear probing over at least twice as many slots as entries. A removal walks
 * the run behind the hole and shifts back every entry that may stand there, so probing never meets
 * a tombstone. The hash is stored beside the entry: the walk needs no rehashing. */
#include "base/idmap.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

#define IDMAP_CAPACITY_MAX (UINT32_C(1) << 28)

struct entry {
    struct idmap_key key;
    uint32_t value;
    uint32_t hash; /* 0: the slot is empty */
};

struct idmap {
    struct entry *slots; /* [mask + 1] */
    uint32_t mask;
    uint32_t capacity;
    uint32_t count;
    uint64_t hash_key[2];
};

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate_left(v[1], 13) ^ v[0];
    v[0] = rotate_left(v[0], 32);
    v[2] += v[3];
    v[3] = rotate_left(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate_left(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate_left(v[1], 17) ^ v[2];
    v[2] = rotate_left(v[2], 32);
}

/* SipHash-1-3 of the 24 bytes, folded to 32 bits, never 0. Words are taken in the machine's byte
 * order: the hash never leaves the process. */
static uint32_t key_hash(const struct idmap *map, const struct idmap_key *key)
{
    uint64_t k0 = map->hash_key[0];
    uint64_t k1 = map->hash_key[1];
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    uint64_t words[IDMAP_KEY_BYTES / 8 + 1];
    memcpy(words, key->bytes, IDMAP_KEY_BYTES);
    words[IDMAP_KEY_BYTES / 8] = (uint64_t)IDMAP_KEY_BYTES << 56;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        v[3] ^= words[i];
        sip_round(v);
        v[0] ^= words[i];
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) {
        sip_round(v);
    }
    uint64_t hash = v[0] ^ v[1] ^ v[2] ^ v[3];
    uint32_t folded = (uint32_t)(hash ^ hash >> 32);
    return folded == 0 ? 1 : folded;
}

struct idmap_key idmap_key(const uint8_t id[IDMAP_ID_BYTES], uint64_t aux)
{
    struct idmap_key key;
    memcpy(key.bytes, id, IDMAP_ID_BYTES);
    memcpy(key.bytes + IDMAP_ID_BYTES, &aux, sizeof(aux));
    return key;
}

enum status idmap_create(uint32_t capacity, const uint64_t hash_key[2], struct idmap **out)
{
    if (capacity == 0 || capacity > IDMAP_CAPACITY_MAX) {
        return STATUS_INVALID;
    }
    uint32_t n_slots = 4;
    while (n_slots < 2 * capacity) {
        n_slots *= 2;
    }
    struct idmap *map = mem_alloc_zero(1, sizeof(*map));
    if (map == NULL) {
        return STATUS_NO_MEMORY;
    }
    map->slots = mem_alloc_zero(n_slots, sizeof(*map->slots));
    if (map->slots == NULL) {
        mem_free(map);
        return STATUS_NO_MEMORY;
    }
    map->mask = n_slots - 1;
    map->capacity = capacity;
    map->hash_key[0] = hash_key[0];
    map->hash_key[1] = hash_key[1];
    *out = map;
    return STATUS_OK;
}

void idmap_destroy(struct idmap *map)
{
    if (map != NULL) {
        mem_free(map->slots);
        mem_free(map);
    }
}

/* The slot of `key`, or the empty one where its run ends. There always is an empty one. */
static uint32_t slot_of(const struct idmap *map, const struct idmap_key *key, uint32_t hash)
{
    uint32_t i = hash & map->mask;
    while (map->slots[i].hash != 0) {
        if (map->slots[i].hash == hash &&
            memcmp(map->slots[i].key.bytes, key->bytes, IDMAP_KEY_BYTES) == 0) {
            break;
        }
        i = (i + 1) & map->mask;
    }
    return i;
}

enum status idmap_insert(struct idmap *map, const struct idmap_key *key, uint32_t value)
{
    uint32_t hash = key_hash(map, key);
    struct entry *entry = &map->slots[slot_of(map, key, hash)];
    if (entry->hash != 0) {
        return STATUS_EXISTS;
    }
    if (map->count == map->capacity) {
        return STATUS_FULL;
    }
    *entry = (struct entry){.key = *key, .value = value, .hash = hash};
    map->count++;
    return STATUS_OK;
}

enum status idmap_find(const struct idmap *map, const struct idmap_key *key, uint32_t *value)
{
    const struct entry *entry = &map->slots[slot_of(map, key, key_hash(map, key))];
    if (entry->hash == 0) {
        return STATUS_NOT_FOUND;
    }
    *value = entry->value;
    return STATUS_OK;
}

enum status idmap_remove(struct idmap *map, const struct idmap_key *key, uint32_t *value)
{
    uint32_t hole = slot_of(map, key, key_hash(map, key));
    if (map->slots[hole].hash == 0) {
        return STATUS_NOT_FOUND;
    }
    if (value != NULL) {
        *value = map->slots[hole].value;
    }
    /* An entry may move into the hole if its home is not between the hole and itself. */
    for (uint32_t i = (hole + 1) & map->mask; map->slots[i].hash != 0; i = (i + 1) & map->mask) {
        uint32_t from_home = (i - map->slots[i].hash) & map->mask;
        uint32_t from_hole = (i - hole) & map->mask;
        if (from_home >= from_hole) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole].hash = 0;
    map->count--;
    return STATUS_OK;
}

uint32_t idmap_count(const struct idmap *map)
{
    return map->count;
}

bool idmap_next(const struct idmap *map, uint32_t *cursor, struct idmap_key *key, uint32_t *value)
{
    for (uint32_t i = *cursor; i <= map->mask; i++) {
        if (map->slots[i].hash == 0) {
            continue;
        }
        if (key != NULL) {
            *key = map->slots[i].key;
        }
        if (value != NULL) {
            *value = map->slots[i].value;
        }
        *cursor = i + 1;
        return true;
    }
    *cursor = map->mask + 1;
    return false;
}
