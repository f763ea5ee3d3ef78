/* Messages with random contents within the limits, for round trips, bounds and the corpus. */
#pragma once

#include "base/arena.h"
#include "base/rand.h"
#include "wire/msg.h"

/* Fills msg of this kind; arrays and texts live in the arena and have at most `n_max` elements or
 * bytes, or `n_max` tells 0: every field is at its default. */
void sample_msg(struct rand *rng, struct arena *arena, enum wire_kind kind, size_t n_max,
                struct wire_msg *msg);
