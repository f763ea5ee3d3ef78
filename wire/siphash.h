/* SipHash-2-4: a keyed hash. Who does not know the key cannot find two inputs of one hash, so no
 * tenant can aim a prompt at another's cached blocks. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_BYTES 16

struct siphash_key {
    uint8_t byte[SIPHASH_KEY_BYTES];
};

/* The 64-bit and the 128-bit form are two functions: one is no prefix of the other. Outputs are
 * little-endian, as in the published vectors. */
uint64_t siphash_64(const struct siphash_key *key, const void *data, size_t len);
void siphash_128(const struct siphash_key *key, const void *data, size_t len, uint8_t out[16]);
