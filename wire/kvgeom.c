/* Index arithmetic of the KV layout; see kvgeom.h. All sums are in size_t, and kvgeom_valid bounds
 * a block so that none wraps. */
#include "wire/kvgeom.h"

#include <stdio.h>

#include "base/check.h"

#define BLOCK_BYTES_MAX (UINT64_C(1) << 31)

/* Refuses early, factor by factor, so that no product can wrap. */
static bool product_fits(const uint64_t *factors, size_t n)
{
    uint64_t product = 1;
    for (size_t i = 0; i < n; i++) {
        if (factors[i] == 0 || factors[i] > BLOCK_BYTES_MAX) {
            return false;
        }
        product *= factors[i];
        if (product > BLOCK_BYTES_MAX) {
            return false;
        }
    }
    return true;
}

bool kvgeom_valid(const struct kvgeom *geom)
{
    const uint64_t factors[] = {2 * KVGEOM_BLOCK_TOKENS, geom->elem_bytes, geom->head_dim,
                                geom->n_kv_heads, geom->n_layers};
    bool elem_known = geom->elem_bytes == 1 || geom->elem_bytes == 2 || geom->elem_bytes == 4;
    return elem_known && geom->group_layers >= 1 && geom->group_layers <= geom->n_layers &&
           product_fits(factors, sizeof(factors) / sizeof(factors[0]));
}

size_t kvgeom_layer_bytes(const struct kvgeom *geom)
{
    return (size_t)geom->n_kv_heads * 2 * KVGEOM_BLOCK_TOKENS * geom->head_dim * geom->elem_bytes;
}

size_t kvgeom_block_bytes(const struct kvgeom *geom)
{
    return geom->n_layers * kvgeom_layer_bytes(geom);
}

/* The fewest layers that reach the least piece: the sooner a piece is full, the more of the
 * transfer hides behind the layers still being computed. The groups are then evened out, so that
 * the last is not a crumb: 16 layers at 5 a group become 6, 6, 4 and not 5, 5, 5, 1. */
uint32_t kvgeom_choose_group(const struct kvgeom *geom)
{
    size_t layer = kvgeom_layer_bytes(geom);
    CHECK(layer > 0 && geom->n_layers > 0);
    size_t least = (KVGEOM_PIECE_BYTES_MIN + layer - 1) / layer;
    if (least >= geom->n_layers) {
        return geom->n_layers;
    }
    uint32_t n_groups = geom->n_layers / (uint32_t)least;
    return (geom->n_layers + n_groups - 1) / n_groups;
}

uint32_t kvgeom_n_groups(const struct kvgeom *geom)
{
    return (geom->n_layers + geom->group_layers - 1) / geom->group_layers;
}

uint32_t kvgeom_blocks(uint32_t n_tokens)
{
    return n_tokens / KVGEOM_BLOCK_TOKENS + (n_tokens % KVGEOM_BLOCK_TOKENS != 0);
}

void kvgeom_piece(const struct kvgeom *geom, uint32_t group, size_t *offset_out, size_t *len_out)
{
    CHECK(group < kvgeom_n_groups(geom));
    uint32_t first = group * geom->group_layers;
    uint32_t left = geom->n_layers - first;
    size_t layer = kvgeom_layer_bytes(geom);
    *offset_out = first * layer;
    *len_out = (left < geom->group_layers ? left : geom->group_layers) * layer;
}

size_t kvgeom_row(const struct kvgeom *geom, uint32_t layer, uint32_t kv_head, uint32_t value,
                  uint32_t token)
{
    CHECK(layer < geom->n_layers && kv_head < geom->n_kv_heads && value < 2 &&
          token < KVGEOM_BLOCK_TOKENS);
    size_t row = ((size_t)layer * geom->n_kv_heads + kv_head) * 2 + value;
    return (row * KVGEOM_BLOCK_TOKENS + token) * geom->head_dim * geom->elem_bytes;
}

void kvgeom_print(const struct kvgeom *geom, char text[64])
{
    int n = snprintf(text, 64, "L%u.H%u.D%u.E%u.G%u.B%u", geom->n_layers, geom->n_kv_heads,
                     geom->head_dim, geom->elem_bytes, geom->group_layers, KVGEOM_BLOCK_TOKENS);
    CHECK(n > 0 && n < 64);
}
