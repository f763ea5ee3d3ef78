/* A hash map from a 24-byte key (a 128-bit id and 64 more bits: incarnation, attempt, peer) to a
 * 32-bit number, usually an index into a pool. Its capacity is fixed at creation. Ids come from
 * outside, so the hash is keyed (SipHash-1-3): nobody without the key can make ids collide.
 * Removal shifts entries back instead of leaving tombstones, so a map never decays with age.
 * One thread owns a map. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

#define IDMAP_ID_BYTES 16
#define IDMAP_KEY_BYTES 24

struct idmap;

/* Compared byte for byte. */
struct idmap_key {
    uint8_t bytes[IDMAP_KEY_BYTES];
};

/* The key of an id and whatever else tells two holders of the same id apart (0 if nothing). */
struct idmap_key idmap_key(const uint8_t id[IDMAP_ID_BYTES], uint64_t aux);

/* Room for `capacity` entries (1 to 2^28). `hash_key` is drawn from rand_entropy in production and
 * from the seed in the simulator. NO_MEMORY; INVALID for a capacity out of range. */
enum status idmap_create(uint32_t capacity, const uint64_t hash_key[2], struct idmap **out);

/* NULL is nothing. */
void idmap_destroy(struct idmap *map);

/* EXISTS if the key is there (its value stays), FULL at capacity. */
enum status idmap_insert(struct idmap *map, const struct idmap_key *key, uint32_t value);

/* NOT_FOUND if the key is not there. */
enum status idmap_find(const struct idmap *map, const struct idmap_key *key, uint32_t *value);

/* NOT_FOUND if the key is not there. `value` may be NULL. */
enum status idmap_remove(struct idmap *map, const struct idmap_key *key, uint32_t *value);

/* Entries now. */
uint32_t idmap_count(const struct idmap *map);

/* Walks all entries: start with *cursor = 0 and call until it returns false. The order is a
 * function of the hash key and the history alone. The map must not change during a walk; to
 * remove many, collect first. Outputs may be NULL. */
bool idmap_next(const struct idmap *map, uint32_t *cursor, struct idmap_key *key, uint32_t *value);
