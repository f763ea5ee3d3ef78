/* Philox4x32-10, the counter-based generator behind sampling noise: four words from a 128-bit
 * counter and a 64-bit key, with no state. Shared with CUDA (C17 and C++17). */
#pragma once

#include <stdint.h>

#include "kernels/bf16.h"

struct philox_words {
    uint32_t word[4];
};

KERNELS_INLINE struct philox_words philox4x32_10(struct philox_words ctr, uint64_t key)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);

    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * ctr.word[0], b = (uint64_t)0xCD9E8D57u * ctr.word[2];
        uint32_t c1 = ctr.word[1], c3 = ctr.word[3];

        ctr.word[0] = (uint32_t)(b >> 32) ^ c1 ^ k0;
        ctr.word[1] = (uint32_t)b;
        ctr.word[2] = (uint32_t)(a >> 32) ^ c3 ^ k1;
        ctr.word[3] = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return ctr;
}
