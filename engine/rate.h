/* How long steps take: what was measured, what the next one will take, and how many prompt tokens
 * fit into a chunk. Exponential averages over completed steps; no clock in here. Used by plan.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RATE_BOUND_MIN_MS 1000u      /* no step is called stuck before this */
#define RATE_BOUND_UNKNOWN_MS 10000u /* bound of the first step, whose length nobody knows */
#define RATE_BOUND_FACTOR 4u         /* times predicted */

struct rate {
    bool chunks;      /* a step with a chunk has completed: token_ns means something */
    bool decodes;     /* a step without has completed: row_ns and decode_ns do */
    double token_ns;  /* per prompt token of a chunk */
    double row_ns;    /* per decode row, from steps without chunks */
    double decode_ns; /* of a whole step without chunks */
};

/* What a step consists of. */
struct rate_load {
    uint32_t n_rows;   /* decode rows */
    uint32_t n_tokens; /* prompt tokens */
};

/* took_ns 0: nobody measured; the kind then counts as known, and as fast. */
void rate_learn(struct rate *rate, struct rate_load load, uint64_t took_ns);
/* Prompt tokens of the next step: whole blocks that last at most chunk_ms, at least one block and
 * at most chunk_max. One block before the first chunk was measured. */
uint32_t rate_chunk(const struct rate *rate, uint32_t chunk_max, uint32_t chunk_ms);
/* max(RATE_BOUND_MIN_MS, RATE_BOUND_FACTOR x predicted). Before the first decode step it counts as
 * a block of prompt, before the first chunk its tokens count as so many decode rows. */
uint32_t rate_bound_ms(const struct rate *rate, struct rate_load load);
