/* A line: the ids of a sequence, and how each of its places is sampled; all of it follows from a
 * seed. The ids are given, not sampled, so that one line can be cut and mixed in any way. Four
 * lines in a row are siblings: they begin with the same ids. */
#pragma once

#include "kernels/ops.h"

#define LINE_MAX 704u /* tokens: beyond one chunk of attention */
#define LINE_BLOCKS_MAX (LINE_MAX / OPS_BLOCK_TOKENS)
#define LINE_SIBLINGS 4u
#define LINE_LIST_MAX 24u

struct line {
    uint32_t n, n_shared; /* ids, and those that siblings share */
    uint64_t seed;
    uint32_t ids[LINE_MAX];
};

void line_make(struct line *line, uint64_t epoch, uint32_t number, uint32_t vocab,
               uint32_t len_max);
/* Ids with which both begin; of siblings. */
uint32_t line_common(const struct line *a, const struct line *b);

/* What an op_sampling points to. */
struct line_lists {
    struct op_penalty penalties[LINE_MAX];
    struct op_bias biases[LINE_LIST_MAX];
    uint32_t allowed[LINE_LIST_MAX], banned[LINE_LIST_MAX];
};
/* How the id at `position` is sampled, after ids[0, position). */
void line_sampling(const struct line *line, uint32_t position, uint32_t vocab,
                   struct line_lists *lists, struct op_sampling *out);
