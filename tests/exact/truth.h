/* What a line gives when it is computed alone, token by token, on the best table with one thread:
 * the measure of all other ways. Made when first asked for, kept to the end. */
#pragma once

#include "tests/exact/tally.h"
#include "tests/exact/world.h"

#define TRUTH_LINES 64u

struct truth {
    struct line line;
    float *logits;              /* [n][vocab] after each token */
    struct op_sampled *sampled; /* [n] the id that follows each token */
    uint8_t *kv;                /* [blocks of n][block_bytes] */
};

/* Of one model and dtype. */
struct truths {
    struct world *world; /* NULL: nothing was asked for yet */
    uint64_t epoch;
    struct truth *lines[TRUTH_LINES];
};

const struct truth *truths_get(struct truths *truths, const struct checkpoints *checkpoints,
                               enum exact_kind kind, enum op_dtype dtype, uint32_t number);
void truths_fini(struct truths *truths);

/* Compare with what a world gave: the row after the line's first n tokens; the KV of a place. */
void truth_check_row(const struct truth *truth, const struct world *world, uint32_t n,
                     uint32_t result, struct tally *tally);
void truth_check_kv(const struct truth *truth, const struct world *world, const struct place *place,
                    struct tally *tally);
