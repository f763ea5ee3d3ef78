/* Two small functions that the loader and the encoder of BPE must agree on. */
#pragma once

#include <stdint.h>

#include "model/tok_bpe.h"

/* The class of a character, for the table of joins: ASCII and U+2581 (SentencePiece's space) have
 * one of their own, the others share what is left. */
static inline int tok_bpe_class(uint32_t c)
{
    return c < 0x80 ? (int)c : c == 0x2581 ? 0x80 : (int)(0x81 + (c ^ c >> 7) % 0x7f);
}

static inline uint32_t tok_bpe_pair_slot(const struct tok_bpe *bpe, uint64_t pair)
{
    uint64_t hash = pair * 0x9e3779b97f4a7c15u;
    return (uint32_t)((hash ^ hash >> 32) * 0xff51afd7ed558ccdu >> 32) & bpe->merge_mask;
}

static inline const struct tok_merge *tok_bpe_merge(const struct tok_bpe *bpe, uint32_t left,
                                                    uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    uint32_t slot = tok_bpe_pair_slot(bpe, pair);
    while (bpe->merges[slot].pair != pair) {
        if (bpe->merges[slot].pair == UINT64_MAX) {
            return NULL;
        }
        slot = (slot + 1) & bpe->merge_mask;
    }
    return &bpe->merges[slot];
}
