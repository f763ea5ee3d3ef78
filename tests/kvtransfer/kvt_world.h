/* A world for the transfer protocol: P and D nodes with real protocol objects, block pools, lossy
 * wires and the in-process mover, one seed and virtual time. Roles are played by random scripts.
 * It watches what must never happen; the first violation is kept as a sentence. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct world;

struct world *world_create(uint64_t seed, bool verbose);
void world_destroy(struct world *world);
/* Faults and load for `busy_ms`, then no more faults until everything must have ended. */
void world_run(struct world *world, uint32_t busy_ms);
/* The first violation, or NULL. */
const char *world_violation(const struct world *world);

struct world_sums {
    uint64_t landed, closed, outs_landed, outs_closed, refused, fences, stalls, mismatches;
    uint64_t kills, freezes, cuts, forged, lost, doubled;
};
struct world_sums world_sums(const struct world *world);
