/* The digest of a KV piece: XXH3-64 of every 4 KiB leaf, seeded with (request, attempt, block,
 * first layer, leaf), and XXH3-64 over the leaf digests (as little-endian words). The writer hashes
 * while the data is warm; the reader checks before the first token that uses it. A piece that was
 * meant for another request, attempt or place never verifies. */
#pragma once

#include "wire/msg.h"

/* block: index within the sequence, not in any pool. len need not be a multiple of the leaf. */
uint64_t kvdigest_piece(const struct wire_id *req, uint32_t attempt, uint32_t block,
                        uint32_t first_layer, const void *bytes, size_t len);
