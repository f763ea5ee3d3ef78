/* What a run has compared, and the first differences in words. A comparison is one result that two
 * ways have computed: a sampled row (all bits of its logits, its id, its logprobs), or the KV bytes
 * of a sequence. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tally {
    uint64_t n_rows, n_kvs, n_differ;
    uint64_t n_sequences;                     /* computed a second way */
    uint64_t n_rows_max;                      /* most rows of one step */
    uint64_t n_hand_overs, n_losses, n_kills; /* of the engine's rounds */
    /* Of the round that runs. */
    const char *part; /* "forward", "engine" */
    uint64_t seed;
    char setup[80];
};

/* Counts a difference and prints the first ones: what it is, and how to see it again. */
__attribute__((format(printf, 2, 3))) void tally_differ(struct tally *tally, const char *format,
                                                        ...);
uint64_t tally_n(const struct tally *tally);
/* The first byte that differs, or n. */
size_t bytes_differ(const void *a, const void *b, size_t n);
