/* Where every byte of the KV cache lies: [block][layer][kv_head][K|V][token 64][dim], block first.
 * The same bytes on CPU and GPU. A piece is one (block, layer group): it is contiguous, and it is
 * what one offer moves. Plain index arithmetic; shared with CUDA (C17 and C++17). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVGEOM_BLOCK_TOKENS 64u
#define KVGEOM_PIECE_BYTES_MIN (512u << 10) /* aim of the choice of a layer group, */
#define KVGEOM_PIECE_BYTES_MAX (4u << 20)   /* where the model is large enough */
#define KVGEOM_LEAF_BYTES 4096u             /* unit of the digest */

struct kvgeom {
    uint32_t n_layers;
    uint32_t n_kv_heads; /* of this node: heads / TP degree */
    uint32_t head_dim;
    uint32_t elem_bytes;   /* 1, 2 or 4 */
    uint32_t group_layers; /* layers of one piece; the last group may have fewer */
};

/* False where a number is zero, not a power of two where it must be, or the block passes 2^31. */
bool kvgeom_valid(const struct kvgeom *geom);
/* Layers per group so that a piece is 0.5-4 MiB where it can be; a small model: all layers. */
uint32_t kvgeom_choose_group(const struct kvgeom *geom);
size_t kvgeom_block_bytes(const struct kvgeom *geom);
size_t kvgeom_layer_bytes(const struct kvgeom *geom); /* of one layer within one block */
uint32_t kvgeom_n_groups(const struct kvgeom *geom);
/* Blocks for n tokens. */
uint32_t kvgeom_blocks(uint32_t n_tokens);
/* The piece's place within its block. */
void kvgeom_piece(const struct kvgeom *geom, uint32_t group, size_t *offset_out, size_t *len_out);
/* Offset within a block of (layer, head, K=0|V=1, token in block), the start of head_dim elements.
 */
size_t kvgeom_row(const struct kvgeom *geom, uint32_t layer, uint32_t kv_head, uint32_t value,
                  uint32_t token);
/* "L16.H8.D64.E2.G4.B64": equal texts, equal layouts. Needs 64 bytes. */
void kvgeom_print(const struct kvgeom *geom, char text[64]);

#ifdef __cplusplus
}
#endif
