/* The pool of KV blocks: counts of holds per block and name, and a stack of the free ones. The
 * block freed last is taken first: it is warm in the cache, and a stale writer to it is found
 * soonest. Called by the engine and by the roles, on the node's I/O thread. */
#include "engine/blocks.h"

#include "base/check.h"
#include "base/mem.h"

struct blocks {
    uint32_t n;
    uint32_t n_free;
    uint32_t n_free_low;
    uint32_t *free;                    /* [n], the first n_free are free */
    uint32_t (*held)[BLOCK_N_HOLDERS]; /* [n] */
    uint64_t sum[BLOCK_N_HOLDERS];
};

enum status blocks_create(uint32_t n_blocks, struct blocks **out)
{
    if (n_blocks == 0)
        return STATUS_INVALID;
    struct blocks *blocks = mem_alloc_zero(1, sizeof *blocks);
    if (blocks == NULL)
        return STATUS_NO_MEMORY;
    blocks->free = mem_alloc_zero(n_blocks, sizeof *blocks->free);
    blocks->held = mem_alloc_zero(n_blocks, sizeof *blocks->held);
    if (blocks->free == NULL || blocks->held == NULL) {
        blocks_destroy(blocks);
        return STATUS_NO_MEMORY;
    }
    blocks->n = blocks->n_free = blocks->n_free_low = n_blocks;
    for (uint32_t i = 0; i < n_blocks; i++)
        blocks->free[i] = n_blocks - 1 - i;
    *out = blocks;
    return STATUS_OK;
}

void blocks_destroy(struct blocks *blocks)
{
    if (blocks == NULL)
        return;
    mem_free(blocks->held);
    mem_free(blocks->free);
    mem_free(blocks);
}

static bool block_is_free(const struct blocks *blocks, uint32_t idx)
{
    for (uint32_t h = 0; h < BLOCK_N_HOLDERS; h++) {
        if (blocks->held[idx][h] != 0)
            return false;
    }
    return true;
}

enum status blocks_take(struct blocks *blocks, enum block_holder holder, uint32_t n,
                        uint32_t *idx_out)
{
    CHECK(holder < BLOCK_N_HOLDERS);
    if (n > blocks->n_free)
        return STATUS_FULL;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t idx = blocks->free[--blocks->n_free];
        CHECK(block_is_free(blocks, idx));
        blocks->held[idx][holder] = 1;
        idx_out[i] = idx;
    }
    blocks->sum[holder] += n;
    if (blocks->n_free < blocks->n_free_low)
        blocks->n_free_low = blocks->n_free;
    return STATUS_OK;
}

void blocks_hold(struct blocks *blocks, enum block_holder holder, const uint32_t *idx, uint32_t n)
{
    CHECK(holder < BLOCK_N_HOLDERS);
    for (uint32_t i = 0; i < n; i++) {
        CHECK(idx[i] < blocks->n);
        CHECK_MSG(!block_is_free(blocks, idx[i]), "a free block is taken, not held");
        blocks->held[idx[i]][holder]++;
    }
    blocks->sum[holder] += n;
}

void blocks_drop(struct blocks *blocks, enum block_holder holder, const uint32_t *idx, uint32_t n)
{
    CHECK(holder < BLOCK_N_HOLDERS);
    for (uint32_t i = 0; i < n; i++) {
        CHECK(idx[i] < blocks->n);
        CHECK_MSG(blocks->held[idx[i]][holder] > 0, "this holder does not hold the block");
        blocks->held[idx[i]][holder]--;
        if (block_is_free(blocks, idx[i]))
            blocks->free[blocks->n_free++] = idx[i];
    }
    blocks->sum[holder] -= n;
}

uint32_t blocks_n(const struct blocks *blocks)
{
    return blocks->n;
}

uint32_t blocks_n_free(const struct blocks *blocks)
{
    return blocks->n_free;
}

uint32_t blocks_n_free_low(const struct blocks *blocks)
{
    return blocks->n_free_low;
}

uint32_t blocks_holds(const struct blocks *blocks, enum block_holder holder, uint32_t idx)
{
    CHECK(holder < BLOCK_N_HOLDERS && idx < blocks->n);
    return blocks->held[idx][holder];
}

uint64_t blocks_sum(const struct blocks *blocks, enum block_holder holder)
{
    CHECK(holder < BLOCK_N_HOLDERS);
    return blocks->sum[holder];
}
