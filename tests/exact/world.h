/* An open model with a forward pass and a pool of its own, and the sequences that are computed with
 * it: the least of an engine that can cut and mix rows in every way that the contract allows. */
#pragma once

#include "model/forward.h"
#include "tests/exact/checkpoints.h"
#include "tests/exact/line.h"

#define WORLD_SEQS_MAX 96u /* of a batch: more than FORWARD_LOGITS_ROWS */
#define WORLD_ROWS_MAX 1024u
#define WORLD_PATTERN 0xffu /* of blocks that no one holds: NaN */

struct world {
    struct setup setup;
    struct model *model;
    struct forward *forward;
    struct kvgeom geom;
    size_t block_bytes;
    uint32_t vocab, len_max;
    uint8_t *pool;
    uint32_t n_blocks, n_taken, rows_max;
    uint32_t *order; /* [n_blocks] shuffled; the first n_taken are held */

    /* The step that is put together. */
    uint32_t n_rows, n_seqs, n_entries, n_samples;
    uint32_t tokens[WORLD_ROWS_MAX];
    struct op_seq seqs[WORLD_SEQS_MAX];
    uint32_t entries[WORLD_SEQS_MAX * LINE_BLOCKS_MAX];
    uint32_t sample_seqs[WORLD_SEQS_MAX];
    struct op_sampling params[WORLD_SEQS_MAX];
    struct op_sampled sampled[WORLD_SEQS_MAX];
    struct line_lists lists[WORLD_SEQS_MAX];
    float *logits; /* [WORLD_SEQS_MAX][vocab] */
};

/* A sequence in a world: a line's first `at` tokens are in its blocks. */
struct place {
    const struct line *line;
    uint32_t at, n_blocks;
    uint32_t blocks[LINE_BLOCKS_MAX];
};

struct world *world_open(const struct checkpoints *checkpoints, const struct setup *setup,
                         uint32_t n_blocks, uint32_t rows_max, struct rand *rng);
void world_close(struct world *world);
/* No block is held any more. */
void world_clear(struct world *world);
/* A block, zeroed. */
uint32_t world_take(struct world *world);
uint8_t *world_block(const struct world *world, uint32_t block);

/* Adds the next n tokens of a place to the step; sample: also the id that follows them, whose
 * result then is the returned index into `sampled` and `logits`. */
uint32_t world_add(struct world *world, struct place *place, uint32_t n, bool sample);
/* Computes the step and begins a new one; results stay until the next world_add. */
void world_run(struct world *world);
/* The first block that no one holds and that is not as it was, or UINT32_MAX. */
uint32_t world_touched(const struct world *world);
