/* A file of tests/model/golden as golden.py writes it: a tiny model's config and seed, a prompt,
 * and what the reference computes from them. */
#pragma once

#include <stdint.h>

#define GOLDEN_PROMPT_MAX 200u
#define GOLDEN_GREEDY_MAX 64u
#define GOLDEN_ROWS_MAX 8u
#define GOLDEN_COLUMNS 64u

struct golden_row {
    uint32_t position;
    float scale; /* the row's largest absolute logit */
    float logits[GOLDEN_COLUMNS];
};

struct golden_step {
    uint32_t token;
    float logit, margin; /* of the token; to the next one */
    float scale;
};

struct golden {
    char *text;         /* the file; config lies in it */
    const char *config; /* JSON */
    uint64_t seed;
    uint32_t len_max;
    /* The reference's own error in bf16: largest and root mean square over the rows below, relative
     * to the row's scale; and the largest absolute one of the greedy tokens' rows. */
    float bf16_max, bf16_rms, bf16_abs;
    uint32_t n_prompt, n_rows, n_greedy;
    uint32_t prompt[GOLDEN_PROMPT_MAX];
    struct golden_row rows[GOLDEN_ROWS_MAX];
    struct golden_step greedy[GOLDEN_GREEDY_MAX];
};

/* Reads golden/NAME.txt of the tree; aborts where it is not as expected. */
void golden_open(const char *name, struct golden *out);
void golden_close(struct golden *golden);

/* The id of a row's column. */
uint32_t golden_id(uint32_t column, uint32_t vocab);
