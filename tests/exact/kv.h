/* KV bytes of a sequence, block by block, as this folder compares and copies them. */
#pragma once

#include <stdint.h>

#include "tests/exact/tally.h"
#include "wire/kvgeom.h"

/* The first n_rows token rows of one block: the same bytes, and zeros behind them. `block` and
 * `number` are for the words. Returns whether they are. */
bool kv_check_block(const struct kvgeom *geom, const uint8_t *expected, const uint8_t *found,
                    uint32_t n_rows, uint32_t block, uint32_t number, struct tally *tally);
/* Copies the first n_rows token rows of a block. */
void kv_copy_rows(const struct kvgeom *geom, uint8_t *dst, const uint8_t *src, uint32_t n_rows);
