/* XXH3-64 of every leaf under a seed of its place, then XXH3-64 over the leaves' digests. In a
 * header because it is compiled once for each instruction set: XXH3 chooses its vectors when it is
 * compiled. Measured on Zen 5 at 1 MiB pieces: SSE2 11 GB/s, AVX2 27, AVX-512 no more. */
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"
#include "wire/kvdigest.h"
#include "wire/kvgeom.h"

#define LEAVES_AT_ONCE 64

/* Whose piece it is and where it belongs, packed without gaps. */
struct place {
    struct wire_id req;
    uint32_t attempt;
    uint32_t block;
    uint32_t first_layer;
    uint32_t zero;
};
_Static_assert(sizeof(struct place) == 32, "the place is hashed as bytes: no gaps");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "digests travel as little-endian words");

static inline uint64_t kvdigest_inline(const struct wire_id *req, uint32_t attempt, uint32_t block,
                                       uint32_t first_layer, const void *bytes, size_t len)
{
    const struct place place = {
        .req = *req, .attempt = attempt, .block = block, .first_layer = first_layer};
    const uint64_t seed = XXH3_64bits(&place, sizeof(place));
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    CHECK(XXH3_64bits_reset(&state) == XXH_OK);
    uint64_t leaves[LEAVES_AT_ONCE];
    size_t n = 0, leaf = 0;
    for (size_t at = 0; at < len; at += KVGEOM_LEAF_BYTES, leaf++) {
        size_t left = len - at < KVGEOM_LEAF_BYTES ? len - at : KVGEOM_LEAF_BYTES;
        leaves[n++] = XXH3_64bits_withSeed((const char *)bytes + at, left, seed + leaf);
        if (n == LEAVES_AT_ONCE) {
            CHECK(XXH3_64bits_update(&state, leaves, sizeof(leaves)) == XXH_OK);
            n = 0;
        }
    }
    CHECK(XXH3_64bits_update(&state, leaves, n * sizeof(leaves[0])) == XXH_OK);
    return XXH3_64bits_digest(&state);
}

/* The one for AVX2, where the machine and the compiler have it (kvdigest_avx2.c). */
uint64_t kvdigest_piece_avx2(const struct wire_id *req, uint32_t attempt, uint32_t block,
                             uint32_t first_layer, const void *bytes, size_t len);
