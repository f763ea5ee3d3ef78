/* See kv.h. */
#include "tests/exact/kv.h"

#include <string.h>

#define BLOCK KVGEOM_BLOCK_TOKENS

static bool is_zero(const uint8_t *bytes, size_t n)
{
    return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

/* One head's K or V. */
static bool check_rows(const struct kvgeom *geom, const uint8_t *expected, const uint8_t *found,
                       uint32_t n_rows, size_t *at, bool *tail)
{
    const size_t row = (size_t)geom->head_dim * geom->elem_bytes;

    *at = bytes_differ(expected, found, n_rows * row);
    *tail = *at == n_rows * row && !is_zero(found + n_rows * row, (BLOCK - n_rows) * row);
    return *at == n_rows * row && !*tail;
}

bool kv_check_block(const struct kvgeom *geom, const uint8_t *expected, const uint8_t *found,
                    uint32_t n_rows, uint32_t block, uint32_t number, struct tally *tally)
{
    const size_t row = (size_t)geom->head_dim * geom->elem_bytes;

    for (uint32_t layer = 0; layer < geom->n_layers; layer++) {
        for (uint32_t i = 0; i < 2 * geom->n_kv_heads; i++) {
            const size_t offset = kvgeom_row(geom, layer, i / 2, i % 2, 0);
            size_t at;
            bool tail;

            if (check_rows(geom, expected + offset, found + offset, n_rows, &at, &tail))
                continue;
            tally_differ(tally, "%s of sequence %u, layer %u, head %u, token %u, element %u%s",
                         i % 2 ? "V" : "K", number, layer, i / 2,
                         block * BLOCK + (uint32_t)(at / row),
                         (uint32_t)(at % row / geom->elem_bytes),
                         tail ? ": a row past the end is not zero" : "");
            return false;
        }
    }
    return true;
}

void kv_copy_rows(const struct kvgeom *geom, uint8_t *dst, const uint8_t *src, uint32_t n_rows)
{
    for (uint32_t layer = 0; layer < geom->n_layers; layer++) {
        for (uint32_t i = 0; i < 2 * geom->n_kv_heads; i++) {
            const size_t offset = kvgeom_row(geom, layer, i / 2, i % 2, 0);

            memcpy(dst + offset, src + offset, (size_t)n_rows * geom->head_dim * geom->elem_bytes);
        }
    }
}
