/* The pool of KV blocks: who holds which. A block counts its holders by name and is free only when
 * no one holds it. No bytes here, only ownership; the bytes lie at base + index * block bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum block_holder {
    BLOCK_HOLDER_SEQ,    /* a sequence computes or reads it */
    BLOCK_HOLDER_PREFIX, /* the prefix index keeps it */
    BLOCK_HOLDER_OUT,    /* offered to a peer: it may still be read */
    BLOCK_HOLDER_IN,     /* a peer's bytes may still land in it */
    BLOCK_N_HOLDERS
};

struct blocks;

enum status blocks_create(uint32_t n_blocks, struct blocks **out);
void blocks_destroy(struct blocks *blocks);
/* Takes n free blocks, each held once by `holder`. FULL leaves the pool as it was. */
enum status blocks_take(struct blocks *blocks, enum block_holder holder, uint32_t n,
                        uint32_t *idx_out);
/* Adds or removes one hold. Dropping a hold that is not there is a bug (CHECK). */
void blocks_hold(struct blocks *blocks, enum block_holder holder, const uint32_t *idx, uint32_t n);
void blocks_drop(struct blocks *blocks, enum block_holder holder, const uint32_t *idx, uint32_t n);

uint32_t blocks_n(const struct blocks *blocks);
uint32_t blocks_n_free(const struct blocks *blocks);
uint32_t blocks_n_free_low(const struct blocks *blocks); /* low-water mark */
uint32_t blocks_holds(const struct blocks *blocks, enum block_holder holder, uint32_t idx);
/* Sum of holds by name; with it the simulator checks that holders add up to the pool. */
uint64_t blocks_sum(const struct blocks *blocks, enum block_holder holder);
